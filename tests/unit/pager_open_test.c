/* storage/pager.c: pages as crashes and damage leave them. */
#include <unistd.h>

#include "tests/unit/pager_helpers.h"

/* A written, reopened world of n documents of 300 bytes in one page or few. */
static struct world *written_world(unsigned n)
{
	struct world *w = new_world(64 * PFS_KIB, 128);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(give(w, 300), 0);
	write_all(w);
	return w;
}

static void expect_all_right(struct world *w)
{
	for (size_t i = 0; i < w->count; i++)
		assert_true(reads_right(w, &w->given[i]));
}

/* New documents must not be put over those that are there. */
static void fill_up_and_expect_right(struct world *w)
{
	for (unsigned i = 0; i < 400; i++)
		assert_int_equal(give(w, 200), 0);
	write_all(w);
	expect_all_right(w);
}

/* ---- headers ---- */

/* Proves: a page whose header is damaged, or zeroed, in any place is opened by the copy at its end,
 * with all its documents; what is behind the last of them can't be known, so that it takes nothing
 * and its header stays for the repair to see. A lost copy is written again. */
static void one_header_is_enough(void **state)
{
	static const uint8_t zeros[PFS_PAGE_HEADER_LEN];
	const uint64_t copy = 64 * PFS_KIB - PFS_PAGE_TRAILER_LEN;

	(void)state;
	for (unsigned what = 0; what < 4; what++) {
		struct world *w = written_world(40);

		pfs_pager_close(w->pager);
		poke(w, 1, what % 2 ? copy : 0, zeros, what < 2 ? 64 : 9);
		open_pager_as(w, false);
		assert_int_equal(w->damaged, 0);
		expect_all_right(w);
		assert_true(pfs_pager_find(w->pager, 1)->unusable == (what % 2 == 0));
		fill_up_and_expect_right(w);
		for (size_t i = 40; i < w->count; i++)
			assert_true(what % 2 || w->given[i].at.page > 1);
		pfs_pager_close(w->pager);
		/* Now without the other one. */
		if (what % 2)
			poke(w, 1, 0, zeros, 64);
		open_pager_as(w, false);
		expect_all_right(w);
		assert_true(pfs_pager_find(w->pager, 1)->unusable);
		free_world(w);
	}
}

/* Proves: without header and copy the page is left out and counted, its file stays, and its number
 * is not given again; the others serve. */
static void a_page_without_headers_is_left_out(void **state)
{
	static const uint8_t garbage[PFS_PAGE_HEADER_LEN] = "garbage";
	struct world *w = written_world(40);
	struct pfs_file *file;

	(void)state;
	pfs_pager_close(w->pager);
	poke(w, 1, 0, garbage, sizeof(garbage));
	poke(w, 1, 64 * PFS_KIB - PFS_PAGE_TRAILER_LEN, garbage, sizeof(garbage));
	open_pager_as(w, false);
	assert_int_equal(w->damaged, 1);
	assert_null(pfs_pager_find(w->pager, 1));
	w->count = 0;
	assert_int_equal(give(w, 300), 0);
	assert_int_equal(w->given[0].at.page, 2);
	assert_int_equal(w->dir->ops->open(w->dir, page_name(1), 0, &file), 0);
	file->ops->close(file);
	free_world(w);
}

/* Proves: bytes of old containers that look like slots are not taken for slots when these are
 * counted without a header: no document appears that was not there, and none is lost. */
static void old_bytes_are_not_taken_for_slots(void **state)
{
	static const uint8_t zeros[PFS_PAGE_HEADER_LEN];
	struct world *w = new_world(64 * PFS_KIB, 128);
	struct pfs_slot fake = {.kind = PFS_KEY_NUM, .tag = 4711};
	struct pfs_slot_disk disk;
	struct pfs_page *page;
	uint64_t slots_end;

	(void)state;
	while (pfs_pager_last(w->pager) < 2)
		assert_int_equal(give(w, 300), 0);
	w->count--;
	write_all(w);
	/* The lowest containers are removed; what they were looks like slots, of a container that
	 * is another's. */
	fake.off = w->given[0].at.off;
	fake.len = (uint32_t)w->given[0].at.len;
	pfs_slot_encode(&disk, &fake);
	for (unsigned i = 0; i < 5; i++) {
		struct given *g = &w->given[w->count - 1];

		write_tombstone(w, &g->at, g->key, 1000);
		for (uint64_t off = pfs_round_up(g->at.off, 16); off + 16 <= g->at.off + g->at.len;
		     off += 16)
			poke(w, 1, off, &disk, sizeof(disk));
		w->count--;
	}
	slots_end = pfs_slot_offset(pfs_pager_find(w->pager, 1)->slot_count);
	assert_int_equal(pfs_pager_sync(w->pager), 0);
	pfs_pager_close(w->pager);
	poke(w, 1, 0, zeros, sizeof(zeros));
	open_pager_as(w, false);
	page = pfs_pager_find(w->pager, 1);
	assert_non_null(page);
	assert_true(pfs_slot_offset(page->slot_count) <= slots_end);
	expect_all_right(w);
	fill_up_and_expect_right(w);
	free_world(w);
}

/* Proves: after a power cut that kept slots and containers but an older header, the containers
 * below its floor are neither gap nor hole: nothing is put over them, and once they are freed their
 * bytes are given out once. */
static void slots_newer_than_the_header_keep_their_place(void **state)
{
	struct world *w = written_world(20);
	uint8_t header[PFS_PAGE_HEADER_LEN];
	struct pfs_file *file = open_file(w->dir, page_name(1));
	struct pfs_page_space space;
	struct pfs_page *page;

	(void)state;
	assert_int_equal(file->ops->read(file, header, sizeof(header), 0), sizeof(header));
	file->ops->close(file);
	/* Slots of removed documents are used again, for containers from the gap. */
	for (unsigned i = 0; i < 5; i++) {
		pfs_pager_free(w->pager, &w->given[0].at);
		memmove(&w->given[0], &w->given[1], --w->count * sizeof(w->given[0]));
	}
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(give(w, 2000), 0);
		assert_true(w->given[w->count - 1].at.slot < 20);
	}
	write_all(w);
	pfs_pager_close(w->pager);
	poke(w, 1, 0, header, sizeof(header));
	open_pager_as(w, false);
	expect_all_right(w);
	page = pfs_pager_find(w->pager, 1);
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	/* What lies below the header's floor is in use, not reserved ahead. */
	pfs_page_space(page, &space);
	assert_int_equal(space.ahead, 0);
	assert_int_equal(space.disk, page->size - space.gap);
	assert_true(pfs_page_dead(&space) < space.disk);
	/* What is not trusted is freed, as at the end of a replay. */
	for (unsigned i = 0; i < 3; i++) {
		struct given *g = &w->given[--w->count];

		write_tombstone(w, &g->at, g->key, 1000);
		pfs_pager_free(w->pager, &g->at);
	}
	fill_up_and_expect_right(w);
	for (size_t i = 0; i < w->count; i++)
		for (size_t j = 0; j < i; j++)
			assert_true(w->given[i].at.page != w->given[j].at.page ||
				    w->given[i].at.off >= w->given[j].at.off + w->given[j].at.len ||
				    w->given[j].at.off >= w->given[i].at.off + w->given[i].at.len);
	free_world(w);
}

/* Fails the writing of the header of the page with this number. */
static int fail_header(void *arg, const struct pfs_sim_step *step)
{
	const uint32_t *number = arg;

	return step->kind == PFS_SIM_WRITE && step->off == 0 && step->len == PFS_PAGE_HEADER_LEN &&
			       strcmp(step->name, page_name(*number)) == 0
		       ? -ENOSPC
		       : 0;
}

/* Proves: a header that could not be written is written by the next attempt, although nothing else
 * was changed in the page. */
static void headers_are_tried_again(void **state)
{
	struct world *w = written_world(10);
	struct pfs_page *page = pfs_pager_find(w->pager, 1);
	uint64_t floor;

	(void)state;
	assert_int_equal(give(w, 300), 0);
	take_back(w, w->count - 1);
	floor = page->floor;
	assert_int_equal(page->slot_count, 11);
	pfs_sim_set_failed_writes(w->sim, PFS_SIM_FAILED_NOTHING);
	pfs_sim_on_step(w->sim, fail_header, &(uint32_t){1});
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), -ENOSPC);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	reopen(w);
	page = pfs_pager_find(w->pager, 1);
	assert_int_equal(page->slot_count, 11);
	assert_int_equal(page->floor, floor);
	expect_all_right(w);
	free_world(w);
}

/* Proves: a page that is counted is durable, also when the attempt that wrote its header failed at
 * another page, which is there no more. */
static void counted_pages_are_durable(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 128);
	struct pfs_page *page;
	struct pfs_sim *image;

	(void)state;
	assert_int_equal(give(w, 40000), 0);
	assert_int_equal(give(w, 40000), 0);
	assert_int_equal(w->given[1].at.page, 2);
	pfs_sim_on_step(w->sim, fail_header, &(uint32_t){2});
	assert_int_equal(pfs_pager_give_birth(w->pager, &w->set, no_lock, NULL), -ENOSPC);
	assert_int_equal(w->set.count, 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	take_back(w, 1);
	page = pfs_pager_spare(w->pager, false);
	assert_int_equal(page->number, 2);
	pfs_pager_unpublish(w->pager, page);
	assert_int_equal(pfs_pager_remove(w->pager, page), 0);
	assert_int_equal(pfs_pager_give_birth(w->pager, &w->set, no_lock, NULL), 0);
	assert_int_equal(w->set.count, 1);
	assert_int_equal(w->set.highest, 1);
	image = pfs_sim_crash_index(w->sim, 0);
	pfs_pager_close(w->pager);
	w->dir->ops->close_dir(w->dir);
	pfs_sim_free(w->sim);
	w->sim = image;
	w->dir = open_dir(image);
	open_pager_as(w, false);
	assert_int_equal(w->damaged, 0);
	assert_non_null(pfs_pager_find(w->pager, 1));
	free_world(w);
}

/* Proves: disk space that was reserved ahead goes back, and nothing else: documents stay as they
 * are, what is given out next has its space again. Of a page that is still to be made, none does.
 */
static void what_is_ahead_is_given_back(void **state)
{
	struct world *w = new_world(8 * PFS_MIB, 128);
	struct pfs_page_space space;
	struct pfs_page *page;
	uint64_t used;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(give(w, 3000), 0);
	page = pfs_pager_find(w->pager, 1);
	used = pfs_sim_used(w->sim);
	pfs_pager_trim(w->pager);
	assert_int_equal(pfs_sim_used(w->sim), used);
	write_all(w);
	pfs_page_space(page, &space);
	assert_true(space.ahead > 2 * PIECE);
	pfs_pager_trim(w->pager);
	pfs_page_space(page, &space);
	assert_true(space.ahead < 2 * PIECE);
	assert_true(pfs_sim_used(w->sim) + PIECE >= space.disk);
	assert_true(pfs_sim_used(w->sim) <= space.disk + PIECE);
	expect_all_right(w);
	/* Again: there is nothing more. */
	used = pfs_sim_used(w->sim);
	pfs_pager_trim(w->pager);
	assert_int_equal(pfs_sim_used(w->sim), used);
	pfs_sim_set_capacity(w->sim, used);
	assert_int_equal(give(w, 3 * PIECE), -ENOSPC);
	pfs_sim_set_capacity(w->sim, used + 5 * PIECE);
	assert_int_equal(give(w, 3 * PIECE), 0);
	pfs_sim_set_capacity(w->sim, 1);
	write_all(w);
	expect_all_right(w);
	free_world(w);
}

/* Proves: a header that says another number, or belongs to another store, makes the page unusable
 * and harms no other. */
static void foreign_pages_are_left_out(void **state)
{
	struct world *w = written_world(400);
	uint8_t *bytes = malloc(64 * PFS_KIB);
	struct pfs_file *file = open_file(w->dir, page_name(1));

	(void)state;
	assert_true(pfs_pager_last(w->pager) >= 2);
	assert_int_equal(file->ops->read(file, bytes, 64 * PFS_KIB, 0), 64 * PFS_KIB);
	file->ops->close(file);
	poke(w, 9, 0, bytes, 64 * PFS_KIB);
	reopen(w);
	assert_int_equal(w->damaged, 0); /* it is not in the set: nothing is missing with it */
	assert_null(pfs_pager_find(w->pager, 9));
	expect_all_right(w);
	free(bytes);
	free_world(w);
}

/* ---- files that were being made ---- */

/* Proves: files without a header hold nothing: they are removed when writing, left alone when only
 * reading, and names that are no pages are never touched. */
static void unborn_pages_are_removed(void **state)
{
	static const char *const others[] = {"page-1", "page-0000000x", "page-00000000",
					     "page-01000000", "page-00000003.bak"};
	struct world *w = written_world(10);
	struct pfs_file *file;

	(void)state;
	poke(w, 2, 4096, "", 1); /* zeros */
	poke(w, 3, 0, "", 0);
	for (size_t i = 0; i < pfs_array_len(others); i++) {
		file = open_file(w->dir, others[i]);
		file->ops->close(file);
	}
	pfs_pager_close(w->pager);
	open_pager_as(w, true);
	assert_null(pfs_pager_find(w->pager, 2));
	assert_int_equal(w->dir->ops->open(w->dir, page_name(2), 0, &file), 0);
	file->ops->close(file);
	reopen(w);
	assert_int_equal(w->damaged, 0);
	assert_int_equal(w->dir->ops->open(w->dir, page_name(2), 0, &file), -ENOENT);
	assert_int_equal(w->dir->ops->open(w->dir, page_name(3), 0, &file), -ENOENT);
	for (size_t i = 0; i < pfs_array_len(others); i++) {
		assert_int_equal(w->dir->ops->open(w->dir, others[i], 0, &file), 0);
		file->ops->close(file);
	}
	expect_all_right(w);
	free_world(w);
}

struct birth {
	struct world *w;
	unsigned images;
};

/* Opens what a power cut leaves; the page of this number must then be there (0: none must). */
static void look_at(struct birth *b, struct pfs_sim *sim, uint32_t must)
{
	struct world image = {.sim = sim, .page_size = 64 * PFS_KIB, .min_value_size = 128};

	image.dir = open_dir(image.sim);
	open_pager_as(&image, false);
	/* A page is whole or has never been. */
	assert_int_equal(image.damaged, 0);
	if (must)
		assert_non_null(pfs_pager_find(image.pager, must));
	pfs_pager_close(image.pager);
	image.dir->ops->close_dir(image.dir);
	pfs_sim_free(image.sim);
	b->images++;
}

/* Nothing but headers may be written to a page before these are durable. */
static int watch_birth(void *arg, const struct pfs_sim_step *step)
{
	struct birth *b = arg;
	bool header = step->off == 0 || step->off == 64 * PFS_KIB - PFS_PAGE_TRAILER_LEN;
	unsigned number;

	if (step->kind == PFS_SIM_WRITE && !header && step->number % 16 == 0 &&
	    sscanf(step->name, "page-%8x", &number) == 1)
		look_at(b, pfs_sim_crash_index(b->w->sim, 0), number);
	if (step->kind == PFS_SIM_SYNC || step->kind == PFS_SIM_SYNC_DIR || header)
		for (uint64_t seed = 0; seed < 3; seed++)
			look_at(b, pfs_sim_crash_seed(b->w->sim, step->number * 3 + seed), 0);
	return 0;
}

/* Proves: a power cut at any point of making and writing pages leaves each of them whole, or as one
 * that holds nothing; after the sync all of it is there. */
static void power_cuts_leave_whole_pages(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 128);
	struct birth b = {.w = w};

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 300; i++)
			assert_int_equal(give(w, 250), 0);
		pfs_sim_on_step(w->sim, watch_birth, &b);
		write_all(w);
		pfs_sim_on_step(w->sim, NULL, NULL);
	}
	assert_true(b.images > 20);
	pfs_pager_close(w->pager);
	w->dir->ops->close_dir(w->dir);
	{
		struct pfs_sim *cut = pfs_sim_crash_index(w->sim, 0);

		pfs_sim_free(w->sim);
		w->sim = cut;
	}
	w->dir = open_dir(w->sim);
	open_pager_as(w, false);
	expect_all_right(w);
	free_world(w);
}

/* ---- what is said ---- */

struct refusal {
	enum pfs_sim_kind kind;
	int err;
};

static int refuse(void *arg, const struct pfs_sim_step *step)
{
	const struct refusal *refusal = arg;

	return step->kind == refusal->kind && strncmp(step->name, "page-", 5) == 0 ? refusal->err
										   : 0;
}

/* Proves: of a page that is damaged, or missing, is said which, where, and what follows; it is
 * counted once. */
static void damaged_pages_are_named(void **state)
{
	static const uint8_t zeros[PFS_PAGE_HEADER_LEN];
	const uint64_t copy = 64 * PFS_KIB - PFS_PAGE_TRAILER_LEN;
	struct world *w = written_world(400);
	uint8_t *bytes = malloc(64 * PFS_KIB);
	struct pfs_file *file = open_file(w->dir, page_name(2));
	struct said said;

	(void)state;
	assert_true(pfs_pager_last(w->pager) >= 2);
	assert_int_equal(file->ops->read(file, bytes, 64 * PFS_KIB, 0), 64 * PFS_KIB);
	pfs_pager_close(w->pager);
	assert_int_equal(open_saying(w, false, &said), 0);
	assert_string_equal(said.text, "");
	pfs_pager_close(w->pager);

	poke(w, 2, 0, zeros, sizeof(zeros));
	assert_int_equal(open_saying(w, false, &said), 0);
	assert_int_equal(w->damaged, 0);
	assert_string_equal(said.text, "damage in page-00000002 at byte 0: not a page (magic); the "
				       "page is opened by the copy of its header\n");
	pfs_pager_close(w->pager);

	poke(w, 2, copy, zeros, sizeof(zeros));
	assert_int_equal(open_saying(w, false, &said), 0);
	assert_int_equal(w->damaged, 1);
	assert_string_equal(said.text,
			    "damage in page-00000002 at byte 0: not a page (magic), and "
			    "so is its copy\npage-00000002 can't be used: Structure needs "
			    "cleaning; what it holds can't be read\n");
	pfs_pager_close(w->pager);

	for (unsigned missing = 1; missing < 3; missing++) {
		poke(w, 2, 0, bytes, 64 * PFS_KIB);
		assert_int_equal(file->ops->truncate(file, 64 * PFS_KIB - missing), 0);
		assert_int_equal(open_saying(w, false, &said), 0);
		assert_int_equal(w->damaged, 1);
		assert_true(pfs_pager_find(w->pager, 2)->unusable);
		assert_string_equal(
			said.text,
			missing == 1 ? "damage in page-00000002 at byte 65535: it ends early: "
				       "1 byte is missing\n"
				     : "damage in page-00000002 at byte 65534: it ends early: "
				       "2 bytes are missing\n");
		pfs_pager_close(w->pager);
	}

	poke(w, 1, 0, bytes, 64 * PFS_KIB);
	poke(w, 2, 0, bytes, 64 * PFS_KIB);
	assert_int_equal(open_saying(w, true, &said), 0);
	assert_int_equal(w->damaged, 1);
	assert_null(pfs_pager_find(w->pager, 1));
	assert_string_equal(said.text, "damage in page-00000001 at byte 8: it says it is page 2\n"
				       "page-00000001 can't be used: Structure needs cleaning; "
				       "what it holds can't be read\n");
	pfs_pager_close(w->pager);
	file->ops->close(file);

	assert_int_equal(w->dir->ops->unlink(w->dir, page_name(1)), 0);
	assert_int_equal(open_saying(w, false, &said), 0);
	assert_int_equal(w->damaged, 1);
	assert_string_equal(said.text, "damage in store at byte 0: page-00000001 is missing\n");
	pfs_pager_close(w->pager);
	for (uint32_t number = 2; number <= w->set.highest; number++)
		assert_int_equal(w->dir->ops->unlink(w->dir, page_name(number)), 0);
	assert_int_equal(open_saying(w, false, &said), 0);
	assert_int_equal(w->damaged, w->set.count);
	snprintf((char *)bytes, 100, "damage in store at byte 0: %u page files are missing\n",
		 w->set.count);
	assert_string_equal(said.text, bytes);
	free(bytes);
	free_world(w);
}

/* Proves: a page that might be read at another time ends an opening for writing, with its error;
 * one that never can be, or that a reader can't read, is left out, and why is said. */
static void pages_that_can_not_be_opened_are_named(void **state)
{
	static const struct {
		struct refusal refusal;
		bool read_only, left_out;
		const char *why;
	} cases[] = {
		{{PFS_SIM_OPEN, -EACCES}, false, false, "Permission denied"},
		{{PFS_SIM_OPEN, -EMFILE}, true, false, "Too many open files"},
		{{PFS_SIM_OPEN, -EISDIR}, false, true, "Is a directory"},
		{{PFS_SIM_OPEN, -ELOOP}, false, true, "Too many levels of symbolic links"},
		{{PFS_SIM_OPEN, -ENXIO}, false, true, "No such device or address"},
		{{PFS_SIM_READ, -EIO}, false, false, "Input/output error"},
		{{PFS_SIM_READ, -EIO}, true, true, "Input/output error"},
		{{PFS_SIM_MAP, -ENOMEM}, true, false, "Cannot allocate memory"},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct world *w = written_world(10);
		char expected[200];
		struct said said;

		pfs_pager_close(w->pager);
		pfs_sim_on_look(w->sim, refuse, (void *)(uintptr_t)&cases[i].refusal);
		assert_int_equal(open_saying(w, cases[i].read_only, &said),
				 cases[i].left_out ? 0 : cases[i].refusal.err);
		pfs_sim_on_look(w->sim, NULL, NULL);
		snprintf(expected, sizeof(expected), "page-00000001 can't be used%s: %s%s\n",
			 cases[i].left_out ? "" : " now", cases[i].why,
			 cases[i].left_out ? "; what it holds can't be read" : "");
		assert_string_equal(said.text, expected);
		assert_int_equal(w->damaged, cases[i].left_out);
		assert_true((w->pager != NULL) == cases[i].left_out);
		if (w->pager) {
			assert_null(pfs_pager_find(w->pager, 1));
			pfs_pager_close(w->pager);
		}
		open_pager_as(w, false);
		expect_all_right(w);
		free_world(w);
	}
}

/* Proves: where the file of an empty page can't be removed that is said, once: it does no harm, and
 * no other is tried. */
static void pages_that_can_not_be_removed_stay(void **state)
{
	const struct refusal refusal = {PFS_SIM_UNLINK, -EACCES};
	struct world *w = new_world(64 * PFS_KIB, 128);
	struct pfs_page *page;
	struct said said;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(w, 40000), 0);
	write_all(w);
	pfs_pager_close(w->pager);
	assert_int_equal(open_saying(w, false, &said), 0);
	for (unsigned i = 0; i < 3; i++) {
		page = pfs_pager_find(w->pager, w->given[i].at.page);
		assert_int_equal(pfs_pager_load(w->pager, page), 0);
		write_tombstone(w, &w->given[i].at, w->given[i].key, 1000);
		pfs_pager_free(w->pager, &w->given[i].at);
	}
	w->count = 0;
	page = pfs_pager_spare(w->pager, false);
	assert_non_null(page);
	assert_int_equal(page->number, 1);
	pfs_pager_unpublish(w->pager, page);
	pfs_sim_on_step(w->sim, refuse, (void *)(uintptr_t)&refusal);
	assert_int_equal(pfs_pager_remove(w->pager, page), 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_string_equal(
		said.text, "page-00000001 holds nothing and can't be removed: Permission denied\n");
	assert_null(pfs_pager_spare(w->pager, false));
	free_world(w);
}

/* ---- clearing ---- */

/* Proves: clearing zeroes all between the slots and the floor, and not a byte beyond. */
static void clearing_the_gap_is_exact(void **state)
{
	struct world *w = written_world(60);
	struct pfs_page *page = pfs_pager_find(w->pager, 1);
	uint64_t from = pfs_slot_offset(page->slot_count), to = page->floor;
	uint8_t *bytes = malloc(64 * PFS_KIB), *before = malloc(64 * PFS_KIB);

	(void)state;
	memset(bytes, 0xcc, 64 * PFS_KIB);
	poke(w, 1, from, bytes, to - from);
	assert_int_equal(pfs_page_copy(page, before, 0, 64 * PFS_KIB), 0);
	assert_int_equal(pfs_page_clear_gap(page), 0);
	assert_int_equal(pfs_page_copy(page, bytes, 0, 64 * PFS_KIB), 0);
	memset(before + from, 0, to - from);
	assert_memory_equal(bytes, before, 64 * PFS_KIB);
	expect_all_right(w);
	free(bytes);
	free(before);
	free_world(w);
}

/* ---- slots that are damaged, or can't be read ---- */

/* Proves: a damaged slot is not given out, and costs nothing but itself. */
static void damaged_slots_are_left_alone(void **state)
{
	struct world *w = written_world(40);
	struct given *hit = &w->given[7];
	const uint8_t word[4] = {1, 0, 0, 0xf0};

	(void)state;
	poke(w, 1, pfs_slot_offset(hit->at.slot) + 12, word, sizeof(word));
	reopen(w);
	assert_int_equal(pfs_pager_load(w->pager, pfs_pager_find(w->pager, 1)), 0);
	w->given[7] = w->given[--w->count];
	fill_up_and_expect_right(w);
	for (size_t i = 0; i < w->count; i++)
		assert_true(w->given[i].at.page != 1 || w->given[i].at.slot != 7);
	free_world(w);
}

/* Proves: on a real filesystem, a page file that is cut while it is in use gives errors for what is
 * gone, no crash; the page takes nothing more, and giving out goes on elsewhere. */
static void cut_files_give_errors(void **state)
{
	char path[] = "/tmp/pfs-pager-XXXXXX", name[64];
	struct world *w = calloc(1, sizeof(*w));
	struct pfs_page *page;
	struct pfs_slot slot;
	uint8_t byte;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, path, PFS_IO_WRITE, &w->dir), 0);
	w->page_size = 64 * PFS_KIB;
	w->min_value_size = 128;
	open_pager_as(w, false);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(give(w, 500), 0);
	write_all(w);
	reopen(w);
	page = pfs_pager_find(w->pager, 1);
	snprintf(name, sizeof(name), "%s/%s", path, page_name(1));
	assert_int_equal(truncate(name, 0), 0);
	assert_int_equal(pfs_page_read_slot(page, 3, &slot), -EIO);
	assert_int_equal(pfs_page_copy(page, &byte, 60000, 1), -EIO);
	assert_int_equal(pfs_page_copy(page, &byte, 64 * PFS_KIB, 1), -EUCLEAN);
	assert_int_equal(pfs_page_copy(page, &byte, UINT64_MAX, 1), -EUCLEAN);
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	assert_int_equal(page->fit.room, 0);
	pfs_pager_free(w->pager, &w->given[0].at); /* nothing comes of it */
	assert_int_equal(page->fit.room, 0);
	w->count = 0;
	assert_int_equal(give(w, 500), 0);
	assert_int_equal(w->given[0].at.page, 2);
	pfs_pager_close(w->pager);
	assert_int_equal(w->dir->ops->unlink(w->dir, page_name(1)), 0);
	assert_int_equal(w->dir->ops->unlink(w->dir, page_name(2)), 0);
	w->dir->ops->close_dir(w->dir);
	assert_int_equal(rmdir(path), 0);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: cmocka puts its own handler for SIGBUS before each test, ours comes with
		   the first reading. */
		cmocka_unit_test(cut_files_give_errors),
		cmocka_unit_test(one_header_is_enough),
		cmocka_unit_test(a_page_without_headers_is_left_out),
		cmocka_unit_test(old_bytes_are_not_taken_for_slots),
		cmocka_unit_test(slots_newer_than_the_header_keep_their_place),
		cmocka_unit_test(what_is_ahead_is_given_back),
		cmocka_unit_test(headers_are_tried_again),
		cmocka_unit_test(counted_pages_are_durable),
		cmocka_unit_test(foreign_pages_are_left_out),
		cmocka_unit_test(unborn_pages_are_removed),
		cmocka_unit_test(power_cuts_leave_whole_pages),
		cmocka_unit_test(damaged_pages_are_named),
		cmocka_unit_test(pages_that_can_not_be_opened_are_named),
		cmocka_unit_test(pages_that_can_not_be_removed_stay),
		cmocka_unit_test(clearing_the_gap_is_exact),
		cmocka_unit_test(damaged_slots_are_left_alone),
	};

	return cmocka_run_group_tests_name("pager_open", tests, NULL, NULL);
}
