/* storage/pager*.c: what a page is after each kind of beginning, and what comes of that. */
#include "storage/pager_internal.h"
#include "tests/unit/pager_helpers.h"

#define SIZE (64 * PFS_KIB)
#define COPY (SIZE - PFS_PAGE_TRAILER_LEN)
#define WRITTEN 12u /* documents */
#define AHEAD 2u    /* slots behind theirs that the header counts */

/* ---- headers ---- */

enum state { GOOD, JUNK, ZEROS };

struct beginning {
	bool newborn, read_only; /* newborn: it is not counted */
	enum state front, copy;
	int64_t more; /* bytes of the file than of the page */
};

/* A page in which more slots are counted than were written, and its file as it is to be. */
static struct world *begin(const struct beginning *b, uint64_t floors[2])
{
	static const uint8_t junk[PFS_PAGE_HEADER_LEN] = "junk", zeros[PFS_PAGE_HEADER_LEN];
	struct world *w = new_world(SIZE, 128);
	struct pfs_file *file;

	for (unsigned i = 0; i < WRITTEN; i++)
		assert_int_equal(give(w, 300), 0);
	write_all(w);
	floors[0] = pfs_pager_find(w->pager, 1)->floor;
	for (unsigned i = 0; i < AHEAD; i++)
		assert_int_equal(give(w, 300), 0);
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	floors[1] = pfs_pager_find(w->pager, 1)->floor;
	w->count = WRITTEN;
	pfs_pager_close(w->pager);
	if (b->front != GOOD)
		poke(w, 1, 0, b->front == JUNK ? junk : zeros, sizeof(junk));
	if (b->copy != GOOD)
		poke(w, 1, COPY, b->copy == JUNK ? junk : zeros, sizeof(junk));
	file = open_file(w->dir, page_name(1));
	assert_int_equal(file->ops->truncate(file, SIZE + (uint64_t)b->more), 0);
	file->ops->close(file);
	if (b->newborn)
		w->set = (struct pfs_page_set){0};
	return w;
}

static bool is_there(struct world *w, uint32_t number)
{
	struct pfs_file *file;
	int err = w->dir->ops->open(w->dir, page_name(number), 0, &file);

	if (!err)
		file->ops->close(file);
	return !err;
}

static void expect_page(struct world *w, const struct beginning *b, const uint64_t floors[2])
{
	const struct pfs_page *page = pfs_pager_find(w->pager, 1);
	bool by_copy = b->front != GOOD, cut = b->more < 0 && !b->newborn;
	uint32_t slots = by_copy ? WRITTEN : WRITTEN + AHEAD;
	bool has_copy = b->copy == GOOD && b->more == 0;

	assert_non_null(page);
	assert_int_equal(page->size, SIZE);
	assert_int_equal(page->file_size,
			 b->newborn && b->more < 0 ? SIZE : SIZE + (uint64_t)b->more);
	assert_int_equal(page->slot_count, slots);
	assert_int_equal(page->floor, floors[!by_copy]);
	assert_int_equal(page->disk_slot_count, slots);
	assert_int_equal(page->disk_floor, page->floor);
	assert_int_equal(page->low_reserved, pfs_slot_offset(slots));
	assert_int_equal(page->high_reserved, page->floor);
	assert_int_equal(page->base_seq, 1);
	assert_int_equal(page->base_mtime, 5);
	assert_int_equal(page->unusable, !b->newborn && (by_copy || cut));
	assert_int_equal(page->unborn, b->newborn || (!has_copy && !page->unusable));
	assert_false(page->loaded || page->closed || page->retiring || page->dirty);
	assert_int_equal(page->fit.room, 0);
	assert_int_equal(w->damaged, cut);
	for (size_t i = 0; i < WRITTEN; i++)
		assert_true(reads_right(w, &w->given[i]));
}

static void expect_opened(const struct beginning *b)
{
	bool has_copy = b->copy == GOOD && b->more == 0, good = b->front == GOOD;
	bool there = (good && !(b->newborn && b->more < 0 && b->read_only)) || (!good && has_copy);
	bool left_out = !good && !has_copy && !b->newborn;
	const char *expected = "";
	uint64_t floors[2];
	struct world *w = begin(b, floors);
	struct said said;

	if (good && b->more < 0 && !b->newborn)
		expected = "damage in page-00000001 at byte 65535: it ends early: 1 byte is "
			   "missing\n";
	else if (left_out)
		expected = "damage in page-00000001 at byte 0: not a page (magic), and so is its "
			   "copy\npage-00000001 can't be used: Structure needs cleaning; what it "
			   "holds can't be read\n";
	else if (!good && has_copy && !(b->newborn && b->front == ZEROS))
		expected = "damage in page-00000001 at byte 0: not a page (magic); the page is "
			   "opened by the copy of its header\n";
	assert_int_equal(open_saying(w, b->read_only, &said), 0);
	assert_string_equal(said.text, expected);
	assert_int_equal(is_there(w, 1), there || left_out || b->read_only);
	if (there) {
		expect_page(w, b, floors);
	} else {
		assert_null(pfs_pager_find(w->pager, 1));
		assert_int_equal(w->damaged, left_out);
	}
	if (!b->read_only) {
		struct pfs_page *page = pfs_pager_find(w->pager, 1);
		bool unusable = page && page->unusable;

		if (page)
			assert_int_equal(pfs_pager_load(w->pager, page), 0);
		assert_int_equal(give(w, 300), 0);
		assert_int_equal(w->given[WRITTEN].at.page, left_out || unusable ? 2 : 1);
	}
	free_world(w);
}

/* Proves: whatever header and copy of a page are, and however long its file is, counted or not, for
 * writing or for reading: the page is what these say, or left out, or removed; what is damage, and
 * nothing else, is said and counted, and nothing is put where it may be in the way. */
static void pages_are_what_their_headers_say(void **state)
{
	static const int64_t more[] = {-1, 0, 64};

	(void)state;
	for (unsigned i = 0; i < 2 * 2 * 3 * 3 * 3; i++) {
		struct beginning b = {
			.newborn = i % 2,
			.read_only = i / 2 % 2,
			.front = i / 4 % 3,
			.copy = i / 12 % 3,
			.more = more[i / 36],
		};

		expect_opened(&b);
	}
}

/* ---- sets ---- */

static struct pfs_page_set set_of(const char *numbers)
{
	struct pfs_page_set set = {0};

	for (; *numbers; numbers++)
		pfs_page_set_add(&set, (uint32_t)(*numbers - '0'));
	return set;
}

/* Proves: page files that are not those that are counted are said to be so, with the number of one
 * that is missing, or how many are; one too many, which holds nothing, is removed, when it is asked
 * for, and not before. */
static void files_are_compared_with_what_is_counted(void **state)
{
	static const struct {
		const char *counted;
		uint64_t damaged;
		const char *said;
		uint32_t removed;
	} cases[] = {
		{"1234", 0, "", 0},
		{"12345", 1, "damage in store at byte 0: page-00000005 is missing\n", 0},
		{"123456", 2, "damage in store at byte 0: 2 page files are missing\n", 0},
		{"1234569", 3, "damage in store at byte 0: 3 page files are missing\n", 0},
		{"1235", 1, "damage in store at byte 0: page files are missing\n", 0},
		{"1239", 1, "damage in store at byte 0: page files are missing\n", 0},
		{"124", 0, "", 3},
		{"234", 0, "", 1},
		{"24", 1, "damage in store at byte 0: page files are missing\n", 0},
		{"1256", 1, "damage in store at byte 0: page files are missing\n", 0},
		{"5", 1, "damage in store at byte 0: page files are missing\n", 0},
	};
	struct said said;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases) + 1; i++) {
		struct world *w = new_world(SIZE, 128);
		bool unknown = i == pfs_array_len(cases);

		for (unsigned n = 0; n < 4; n++)
			assert_int_equal(give(w, 40000), 0);
		write_all(w);
		pfs_pager_close(w->pager);
		w->set = set_of(unknown ? "12345" : cases[i].counted);
		w->set.mix ^= unknown; /* then it can't be told which one it is */
		assert_int_equal(open_saying(w, false, &said), 0);
		assert_string_equal(said.text, unknown ? "damage in store at byte 0: 1 page file "
							 "is missing\n"
						       : cases[i].said);
		assert_int_equal(w->damaged, unknown ? 1 : cases[i].damaged);
		for (uint32_t n = 1; n <= 4; n++)
			assert_true(is_there(w, n) && pfs_pager_find(w->pager, n));
		for (unsigned again = 0; again < 2; again++) {
			assert_int_equal(pfs_pager_remove_uncounted(w->pager), 0);
			for (uint32_t n = 1; n <= 4; n++) {
				bool gone = !unknown && n == cases[i].removed;

				assert_int_equal(is_there(w, n), !gone);
				assert_int_equal(pfs_pager_find(w->pager, n) == NULL, gone);
			}
		}
		free_world(w);
	}
}

/* ---- pages that are not exact, empty, or full ---- */

/* Proves: a page of which something free is not known is counted anew, once, and others are left
 * alone; of one that was not read before nothing is. */
static void inexact_pages_are_counted_anew(void **state)
{
	struct world *w = new_world(SIZE, 128);
	uint64_t off, free_bytes, room;
	struct pfs_page *page;

	(void)state;
	for (unsigned i = 0; i < WRITTEN; i++)
		assert_int_equal(give(w, 300), 0);
	write_all(w);
	page = pfs_pager_find(w->pager, 1);
	write_tombstone(w, &w->given[3].at, w->given[3].key, 1000);
	take_back(w, 3);
	free_bytes = page->space.free_bytes;
	room = page->fit.room;
	assert_int_equal(page->free_slot_count, 1);
	/* What is free is forgotten. */
	assert_int_equal(pfs_space_take(&page->space, 200, &off), 0);
	page->free_slot_count = 0;
	assert_int_equal(pfs_pager_reload(w->pager, page), 0);
	assert_int_equal(page->space.free_bytes, free_bytes - 200);
	assert_int_equal(page->free_slot_count, 0);
	page->inexact = true;
	assert_int_equal(pfs_pager_reload(w->pager, page), 0);
	assert_int_equal(page->space.free_bytes, free_bytes);
	assert_int_equal(page->free_slot_count, 1);
	assert_int_equal(page->fit.room, room);
	assert_true(page->loaded && !page->inexact && !page->has_saved && !page->unusable);
	/* Nor is one looked at that is damaged, or that nobody has read. */
	pfs_pager_make_unusable(w->pager, page);
	page->inexact = true;
	assert_int_equal(pfs_pager_reload(w->pager, page), 0);
	assert_true(page->inexact && page->unusable);
	assert_int_equal(page->space.free_bytes, 0);
	reopen(w);
	page = pfs_pager_find(w->pager, 1);
	page->inexact = true;
	assert_int_equal(pfs_pager_reload(w->pager, page), 0);
	assert_true(page->inexact && !page->loaded);
	free_world(w);
}

/* Proves (PG5): an empty page that is to be removed is closed, and takes nothing any more, also
 * where it is opened again for others; but for one where one is to be kept, the lowest, each empty
 * page is given once. */
static void empty_pages_are_closed_for_good(void **state)
{
	(void)state;
	for (unsigned keep = 0; keep < 2; keep++) {
		struct world *w = new_world(SIZE, 128);
		struct pfs_page *page;

		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(give(w, 40000), 0);
		assert_int_equal(give(w, 100000), 0); /* a larger page, which is not kept */
		write_all(w);
		assert_null(pfs_pager_spare(w->pager, keep));
		for (unsigned i = 0; i < 5; i++) {
			if (i != 2)
				pfs_pager_free(w->pager, &w->given[i].at);
		}
		page = pfs_pager_spare(w->pager, keep);
		assert_int_equal(page->number, keep ? 2 : 1);
		assert_true(page->closed && page->retiring);
		assert_int_equal(page->fit.room, 0);
		pfs_pager_close_page(w->pager, page, false);
		assert_true(page->closed);
		assert_int_equal(page->fit.room, 0);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(give(w, 20000), 0);
			assert_int_not_equal(w->given[w->count - 1].at.page, page->number);
			pfs_pager_free(w->pager, &w->given[--w->count].at);
		}
		free_world(w);
	}
}

/* Proves: of many pages that are nearly full, and too small for what comes, none hides the one that
 * it fits into best. */
static void full_pages_hide_none_that_fits(void **state)
{
	struct world *w = new_world(SIZE, 128);
	uint32_t fits;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(give(w, 60000 - (i == 40 ? 3000 : 0)), 0);
	fits = w->given[40].at.page;
	assert_int_equal(give(w, 30000), 0);
	for (unsigned i = 0; i < 50; i++) { /* what is left in the others is less */
		struct pfs_page *page = pfs_pager_find(w->pager, w->given[i].at.page);

		assert_true(w->given[i].at.page == fits ? page->fit.room > 7000
							: page->fit.room < 6000);
	}
	assert_int_equal(give(w, 6500), 0);
	assert_int_equal(w->given[w->count - 1].at.page, fits);
	assert_int_equal(give(w, 6500), 0);
	assert_int_equal(w->given[w->count - 1].at.page, w->given[50].at.page);
	free_world(w);
}

/* Proves: after a crash the copy of a header is written again where it is not that of this page,
 * and is otherwise left as it is; in a page that is damaged it is not touched. */
static void copies_are_restored(void **state)
{
	static const uint8_t junk[PFS_PAGE_HEADER_LEN] = "junk";

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t before[PFS_PAGE_HEADER_LEN], other[PFS_PAGE_HEADER_LEN], now[sizeof(other)];
		struct world *w = new_world(SIZE, 128);
		struct pfs_page *page;

		for (unsigned n = 0; n < 2; n++)
			assert_int_equal(give(w, 40000), 0);
		write_all(w);
		page = pfs_pager_find(w->pager, 1);
		assert_int_equal(pfs_page_copy(page, before, COPY, sizeof(before)), 0);
		assert_int_equal(
			pfs_page_copy(pfs_pager_find(w->pager, 2), other, COPY, sizeof(other)), 0);
		if (i)
			poke(w, 1, COPY, i == 2 ? other : junk, sizeof(junk));
		if (i == 3)
			pfs_pager_make_unusable(w->pager, page);
		page->dirty = false;
		assert_int_equal(pfs_pager_restore_trailer(w->pager, page, no_lock, NULL), 0);
		assert_int_equal(page->dirty, i == 1 || i == 2);
		assert_int_equal(pfs_page_copy(page, now, COPY, sizeof(now)), 0);
		if (i == 3) {
			assert_memory_equal(now, junk, sizeof(now));
		} else {
			struct pfs_page_header header;
			const char *why;

			assert_int_equal(pfs_page_header_decode(&header, (void *)now, uuid, &why),
					 0);
			assert_int_equal(header.number, 1);
			assert_int_equal(header.page_size, SIZE);
			assert_int_equal(header.base_seq, 1);
			if (i)
				assert_int_equal(header.slot_count, 1);
			else
				assert_memory_equal(now, before, sizeof(now));
		}
		free_world(w);
	}
}

/* ---- figures ---- */

/* Proves: what is saved of a page that nobody has read is its room, if it is open and whole, and
 * what it is said to have free, as far as that can be. */
static void saved_figures_are_taken_as_they_are(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct pfs_pager_saved saved = {5000, i & 4 ? PFS_MIB : 700, 3, 99}, again;
		struct world *w = new_world(SIZE, 128);
		struct pfs_page_space space;
		struct pfs_page *page;
		uint64_t behind;

		for (unsigned n = 0; n < WRITTEN; n++)
			assert_int_equal(give(w, 300), 0);
		write_all(w);
		page = pfs_pager_find(w->pager, 1);
		pfs_pager_set_saved(w->pager, page, &saved); /* it knows better */
		assert_false(page->has_saved);
		reopen(w);
		page = pfs_pager_find(w->pager, 1);
		behind = SIZE - PFS_PAGE_TRAILER_LEN - page->floor;
		pfs_pager_close_page(w->pager, page, i & 1);
		page->unusable = i & 2;
		pfs_pager_set_saved(w->pager, page, &saved);
		assert_int_equal(page->fit.room, i & 3 ? 0 : 5000);
		pfs_page_space(page, &space);
		assert_int_equal(space.holes, i & 4 ? behind : 700);
		assert_int_equal(space.used, behind - space.holes);
		assert_int_equal(space.free_slots, 3);
		assert_int_equal(space.slots, WRITTEN);
		assert_int_equal(space.gap, page->floor - pfs_slot_offset(WRITTEN));
		assert_int_equal(space.ahead, 0);
		assert_int_equal(space.disk, SIZE - space.gap);
		assert_int_equal(pfs_page_live(&space), space.used + (WRITTEN - 3) * PFS_SLOT_LEN);
		assert_int_equal(pfs_page_dead(&space), space.holes + 3 * PFS_SLOT_LEN);
		pfs_pager_get_saved(page, &again);
		assert_memory_equal(&again, &saved, sizeof(saved));
		free_world(w);
	}
}

/* Proves: a page takes the disk that its file does, less what of it was never used, and what of it
 * was given back, when that is known; live and dead bytes are the rest without what is ahead. */
static void pages_take_what_their_files_do(void **state)
{
	struct world *w = new_world(16 * PFS_MIB, 128);
	uint64_t disk, used = 0, slots = pfs_slot_offset(4);
	struct pfs_page_space space;
	struct pfs_page *page;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(give(w, i % 2 ? 300 : 3 * PFS_MIB), 0);
		used += w->given[i].at.len;
	}
	page = pfs_pager_find(w->pager, 1);
	pfs_page_space(page, &space);
	assert_int_equal(space.used, used);
	assert_int_equal(space.holes, 0);
	assert_int_equal(space.gap, page->floor - slots);
	assert_int_equal(space.ahead,
			 page->low_reserved - slots + page->floor - page->high_reserved);
	assert_int_equal(space.disk, page->size - space.gap + space.ahead);
	assert_int_equal(pfs_page_live(&space), used + 4 * PFS_SLOT_LEN);
	assert_int_equal(pfs_page_dead(&space), 0);
	write_all(w);
	pfs_pager_free_bytes(w->pager, 1, w->given[1].at.off, w->given[1].at.len);
	pfs_page_space(page, &space);
	assert_false(page->punched);
	assert_int_equal(space.holes, w->given[1].at.len);
	assert_int_equal(space.disk, page->size - space.gap + space.ahead);
	assert_int_equal(pfs_page_dead(&space), w->given[1].at.len);
	pfs_pager_free_bytes(w->pager, 1, w->given[0].at.off, w->given[0].at.len);
	assert_true(page->punched);
	assert_int_equal(page->file->ops->disk_usage(page->file, &disk), 0);
	assert_true(disk < page->size - space.gap + space.ahead - 2 * PFS_MIB);
	pfs_page_space(page, &space);
	assert_int_equal(space.used, used - w->given[0].at.len - w->given[1].at.len);
	assert_int_equal(space.disk, disk);
	assert_true(pfs_page_dead(&space) < 2 * PFS_MIB);
	free_world(w);
}

/* ---- the table ---- */

#define NUMBERS 400

/* Proves: of pages with any numbers, that come and go, each is found by its number and from any
 * other before it, and the highest there ever was is known. */
static void pages_are_found_by_their_numbers(void **state)
{
	static const uint32_t around[] = {1, 64, 128, 4095, 4096, 8191, 64 * 4096, 0xfffff0};
	struct pfs_pager *pager = calloc(1, sizeof(*pager));
	struct pfs_page *pages = calloc(NUMBERS, sizeof(*pages));
	bool there[NUMBERS] = {false};
	uint32_t last = 0;

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++) { /* some twice */
		uint64_t more = pfs_mix64(i) % (i % 3 ? 70 : 300000);

		pages[i].number = (uint32_t)pfs_min_u64(around[i % 8] + more, PFS_PAGE_NUMBER_MAX);
	}
	for (unsigned step = 0; step < 4000; step++) {
		unsigned i = (unsigned)(pfs_mix64(step) % NUMBERS), same = i;
		uint32_t probes[7];

		for (unsigned n = 0; n < NUMBERS; n++) { /* the first of those with this number */
			if (pages[n].number == pages[i].number && n < same)
				same = n;
		}
		i = same;
		if (there[i])
			pfs_pager_withdraw(pager, &pages[i]);
		else
			assert_int_equal(pfs_pager_publish(pager, &pages[i]), 0);
		there[i] = !there[i];
		last = (uint32_t)pfs_max_u64(last, pages[i].number);
		assert_int_equal(pfs_pager_last(pager), last);
		assert_ptr_equal(pfs_pager_find(pager, pages[i].number),
				 there[i] ? &pages[i] : NULL);
		memcpy(probes,
		       (uint32_t[]){0, pages[i].number - 1, pages[i].number, pages[i].number + 1,
				    pages[(i + 7) % NUMBERS].number, 0xffffff, 0x1000000},
		       sizeof(probes));
		for (unsigned p = 0; p < 7; p++) {
			struct pfs_page *next = NULL;

			for (unsigned n = 0; n < NUMBERS; n++) {
				if (there[n] && pages[n].number > probes[p] &&
				    (!next || pages[n].number < next->number))
					next = &pages[n];
			}
			assert_int_equal(pfs_pager_next(pager, probes[p]), next ? next->number : 0);
			assert_ptr_equal(pfs_pager_next_page(pager, probes[p]), next);
		}
	}
	assert_null(pfs_pager_find(pager, 0x1000000));
	for (unsigned i = 0; i < TABLE_CHUNKS; i++)
		free(pager->chunks[i]);
	free(pager);
	free(pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_what_their_headers_say),
		cmocka_unit_test(files_are_compared_with_what_is_counted),
		cmocka_unit_test(inexact_pages_are_counted_anew),
		cmocka_unit_test(empty_pages_are_closed_for_good),
		cmocka_unit_test(full_pages_hide_none_that_fits),
		cmocka_unit_test(copies_are_restored),
		cmocka_unit_test(saved_figures_are_taken_as_they_are),
		cmocka_unit_test(pages_take_what_their_files_do),
		cmocka_unit_test(pages_are_found_by_their_numbers),
	};

	return cmocka_run_group_tests_name("pager_state", tests, NULL, NULL);
}
