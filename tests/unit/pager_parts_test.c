/* storage/pager.c: pages that are full to the last byte, memory and disk space that there is not,
 * and what is written, reserved and given back, to the byte. The file is included. */
#include <stdlib.h>
#include <string.h>

#include "storage/pager_internal.h"
#include "tests/unit/poisoned.h"

static void *fake_malloc(size_t size);
static void *fake_realloc(void *old, size_t size);
static int fake_space_add(struct pfs_space *space, uint64_t off, uint64_t len);
static int fake_space_reserve(struct pfs_space *space, uint32_t n);

#define malloc fake_malloc
#define realloc fake_realloc
#define free poisoned_free
#define pfs_space_add fake_space_add
#define pfs_space_reserve fake_space_reserve
#include "storage/pager.c"
#undef malloc
#undef realloc
#undef free
#undef pfs_space_add
#undef pfs_space_reserve

#include "tests/unit/pager_helpers.h"

#define SIZE (64 * PFS_KIB)

static bool refuses;
static unsigned extents_refused; /* from this free extent on none is added; 0: all are */

static void *fake_malloc(size_t size)
{
	return refuses ? NULL : calloc(1, size);
}

static void *fake_realloc(void *old, size_t size)
{
	return refuses ? NULL : realloc(old, size);
}

static int fake_space_add(struct pfs_space *space, uint64_t off, uint64_t len)
{
	if (refuses || (extents_refused && --extents_refused == 0))
		return -ENOMEM;
	return pfs_space_add(space, off, len);
}

static int fake_space_reserve(struct pfs_space *space, uint32_t n)
{
	assert_int_equal(n, 1);
	return refuses ? -ENOMEM : pfs_space_reserve(space, n);
}

/* A page with three documents, opened anew. */
static struct world *three_documents(void)
{
	struct world *w = new_world(SIZE, 128);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(w, 300), 0);
	write_all(w);
	return w;
}

/* Proves: containers that the header does not know of may begin right where the slots end, and not
 * a byte before. */
static void containers_begin_where_slots_end(void **state)
{
	(void)state;
	for (unsigned before = 0; before < 2; before++) {
		struct world *w = three_documents();
		struct pfs_slot slot = {.kind = PFS_KEY_NUM,
					.tag = w->given[1].key,
					.off = (uint32_t)pfs_slot_offset(3) - before,
					.len = 200};
		struct pfs_slot_disk disk;
		struct pfs_page *page;

		pfs_slot_encode(&disk, &slot);
		poke(w, 1, pfs_slot_offset(1), &disk, sizeof(disk));
		reopen(w);
		page = pfs_pager_find(w->pager, 1);
		assert_true(page->floor > slot.off);
		assert_int_equal(pfs_pager_load(w->pager, page), 0);
		assert_int_equal(page->unusable, before);
		if (!before) {
			assert_int_equal(page->floor, slot.off);
			assert_int_equal(page->high_reserved, slot.off);
		}
		free_world(w);
	}
}

/* Proves: a page that can't be used is known to have nothing once it was looked at. */
static void unusable_pages_have_nothing(void **state)
{
	static const uint8_t junk[PFS_PAGE_HEADER_LEN] = "junk";
	struct world *w = three_documents();
	struct pfs_page *page;

	(void)state;
	pfs_pager_close(w->pager);
	poke(w, 1, 0, junk, sizeof(junk));
	open_pager_as(w, false);
	page = pfs_pager_find(w->pager, 1);
	assert_true(page->unusable && !page->loaded);
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	assert_true(page->unusable && page->loaded);
	assert_int_equal(page->fit.room, 0);
	assert_int_equal(page->free_slot_count, 0);
	free_world(w);
}

/* Proves: without memory what was given back is said not to be used again, and the page is not
 * exact; it is counted anew when there is memory again, and not before. */
static void pages_wait_for_memory(void **state)
{
	struct world *w = three_documents();
	struct pfs_page *page;
	uint64_t free_bytes;
	struct said said;

	(void)state;
	pfs_pager_close(w->pager);
	assert_int_equal(open_saying(w, false, &said), 0);
	page = pfs_pager_find(w->pager, 1);
	refuses = true;
	assert_int_equal(pfs_pager_load(w->pager, page), -ENOMEM);
	assert_false(page->loaded);
	refuses = false;
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	free_bytes = page->space.free_bytes;
	assert_string_equal(said.text, "");
	write_tombstone(w, &w->given[1].at, w->given[1].key, 1000);
	refuses = true;
	pfs_pager_free_bytes(w->pager, 1, w->given[1].at.off, w->given[1].at.len);
	assert_string_equal(said.text, "page 1: 308 free bytes are not reused until the next "
				       "opening: Cannot allocate memory\n");
	assert_int_equal(w->given[1].at.len, 308);
	assert_true(page->inexact);
	assert_int_equal(page->space.free_bytes, free_bytes);
	assert_int_equal(pfs_pager_reload(w->pager, page), -ENOMEM);
	assert_true(page->inexact);
	assert_false(page->loaded);
	refuses = false;
	page->loaded = true;
	assert_int_equal(pfs_pager_reload(w->pager, page), 0);
	assert_false(page->inexact);
	assert_int_equal(page->space.free_bytes, free_bytes + 308);
	free_world(w);
}

/* Proves: of many pages that are fuller, none hides the one that a document fits into exactly. */
static void full_pages_hide_no_exact_fit(void **state)
{
	struct world *w = new_world(SIZE, 128);
	struct pfs_page *fits;
	struct given *g;
	uint64_t len = 0;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(give(w, 60000 + (i == 20 ? 0 : 100)), 0);
	fits = pfs_pager_find(w->pager, w->given[20].at.page);
	g = &w->given[w->count];
	for (uint64_t body = fits->fit.room; len != fits->fit.room; body--) {
		*g = (struct given){.key = w->next_key + 1};
		g->c = (struct pfs_container){
			.raw_len = body, .body_len = body, .seq = w->next_key + 1, .mtime_ns = 5};
		len = pfs_pager_len(w->pager, fits,
				    &(struct pfs_pager_need){&g->c, PFS_KEY_NUM, g->key});
		assert_true(body > 4000);
	}
	assert_int_equal(give(w, g->c.body_len), 0);
	assert_int_equal(w->given[w->count - 1].at.page, fits->number);
	assert_int_equal(fits->fit.room, 0);
	free_world(w);
}

/* Proves: a slot that is given back is used again, if there is memory for that, which is said
 * otherwise; of a page that was not read nothing is. */
static void slots_are_given_back(void **state)
{
	struct world *w = three_documents();
	struct pfs_page *page;
	struct said said;

	(void)state;
	pfs_pager_close(w->pager);
	assert_int_equal(open_saying(w, false, &said), 0);
	page = pfs_pager_find(w->pager, 1);
	pfs_pager_free_slot(w->pager, &w->given[1].at);
	assert_int_equal(page->free_slot_count, 0);
	assert_int_equal(pfs_pager_extend(w->pager, &w->given[1].at, 8), -ENOSPC);
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	refuses = true;
	pfs_pager_free_slot(w->pager, &w->given[1].at);
	refuses = false;
	assert_string_equal(said.text, "page 1: slot 1 is not reused until the next opening\n");
	assert_true(page->inexact);
	assert_int_equal(page->free_slot_count, 0);
	for (uint32_t i = 0; i < 200; i++)
		pfs_pager_free_slot(w->pager, &(struct pfs_extent_at){.page = 1, .slot = i});
	assert_int_equal(page->free_slot_count, 200);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(page->free_slots[i], i);
	free_world(w);
}

/* Proves: what is free is counted whatever the order of slots is; from the beginning when there was
 * no memory for all of it. */
static void free_space_is_counted_in_any_order(void **state)
{
	struct world *w = three_documents();
	struct pfs_slot_disk disks[2];
	struct pfs_page *page;

	(void)state;
	/* The first slot has the lowest container, the last one the highest, with holes. */
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_slot slot = {.kind = PFS_KEY_NUM,
					.tag = w->given[2 * i].key,
					.off = w->given[2 - 2 * i].at.off,
					.len = w->given[2 - 2 * i].at.len - 50};

		pfs_slot_encode(&disks[i], &slot);
		poke(w, 1, pfs_slot_offset(2 * i), &disks[i], sizeof(disks[i]));
	}
	reopen(w);
	page = pfs_pager_find(w->pager, 1);
	extents_refused = 2;
	assert_int_equal(pfs_pager_load(w->pager, page), -ENOMEM);
	assert_false(page->loaded || page->unusable);
	assert_int_equal(page->space.free_bytes, 0);
	assert_int_equal(pfs_pager_load(w->pager, page), 0);
	assert_true(page->loaded && !page->unusable);
	assert_int_equal(page->space.free_bytes, 100);
	free_world(w);
}

static uint64_t usage;
static int usage_err;

static int fake_usage(struct pfs_file *file, uint64_t *out)
{
	(void)file;
	*out = usage;
	return usage_err;
}

/* Proves: a page that takes less of the disk than what is used of it, or of which that can't be
 * told, has holes that were given back. */
static void holes_are_known_by_what_a_page_takes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *w = three_documents();
		const struct pfs_io_ops *ops;
		struct pfs_io_ops with_usage;
		struct pfs_page *page;

		reopen(w);
		page = pfs_pager_find(w->pager, 1);
		ops = page->file->ops;
		with_usage = *ops;
		with_usage.disk_usage = fake_usage;
		usage = page->size - (page->floor - pfs_slot_offset(page->slot_count)) - (i == 1);
		usage_err = i == 2 ? -EIO : 0;
		page->file->ops = &with_usage;
		assert_int_equal(pfs_pager_load(w->pager, page), 0);
		assert_true(page->loaded && !page->unusable);
		assert_int_equal(page->punched, i > 0);
		page->file->ops = ops;
		assert_int_equal(pfs_pager_extend(w->pager, &(struct pfs_extent_at){.page = 9}, 8),
				 -ENOSPC);
		free_world(w);
	}
}

/* Proves: a hole is taken when there is memory for what may have to be given back. */
static void holes_are_taken_with_memory(void **state)
{
	struct world *w = three_documents();
	struct pfs_page *page = pfs_pager_find(w->pager, 1);
	uint64_t free_bytes;

	(void)state;
	pfs_pager_free(w->pager, &w->given[1].at);
	free_bytes = page->space.free_bytes;
	refuses = true;
	assert_int_equal(give(w, 300), -ENOMEM);
	refuses = false;
	assert_int_equal(page->space.free_bytes, free_bytes);
	assert_int_equal(page->free_slot_count, 1);
	page->punched = true;
	/* Behind the first there is the end of the page, behind the last the hole. */
	assert_int_equal(pfs_pager_extend(w->pager, &w->given[0].at, 8), -ENOSPC);
	assert_int_equal(pfs_pager_extend(w->pager, &w->given[2].at, 8), 0);
	assert_int_equal(page->space.free_bytes, free_bytes - 8);
	free_world(w);
}

/* ---- what is made, reserved, given back ---- */

/* Proves: a document gets a page of the store's size as long as it fits into that for certain. */
static void pages_are_as_large_as_needed(void **state)
{
	(void)state;
	for (unsigned more = 0; more < 2; more++) {
		struct world *w = new_world(SIZE, 128);
		struct pfs_container c = {.raw_len = 65000, .body_len = 65000, .seq = 1};
		uint64_t most = SIZE - PFS_PAGE_HEADER_LEN - PFS_SLOT_LEN - PFS_PAGE_TRAILER_LEN -
				PFS_VARINT_MAX - pfs_container_header_bound(&c, PFS_KEY_NUM);

		assert_int_equal(give(w, most + more), 0);
		assert_int_equal(pfs_pager_find(w->pager, 1)->size, SIZE << more);
		free_world(w);
	}
}

/* Proves: pages have numbers up to the last that there is, and all are given back. */
static void numbers_of_pages_end(void **state)
{
	struct world *w = new_world(SIZE, 128);

	(void)state;
	w->pager->skip_to = TABLE_CHUNK - 1;
	assert_int_equal(give(w, 60000), 0);
	assert_int_equal(w->given[0].at.page, TABLE_CHUNK);
	w->pager->skip_to = PFS_PAGE_NUMBER_MAX - 1;
	assert_int_equal(give(w, 60000), 0);
	assert_int_equal(w->given[1].at.page, PFS_PAGE_NUMBER_MAX);
	assert_int_equal(give(w, 60000), -ENOSPC);
	free_world(w);
}

struct disk {
	uint64_t len_max; /* longer pieces are not had */
	const char *full; /* nor any of this file; NULL: of none */
	char calls[512];  /* that reserve or give back */
	unsigned writes, syncs, fail_sync;
};

static int on_disk(void *arg, const struct pfs_sim_step *step)
{
	struct disk *d = arg;
	size_t len = strlen(d->calls);

	d->writes += step->kind == PFS_SIM_WRITE;
	if (step->kind == PFS_SIM_SYNC || step->kind == PFS_SIM_SYNC_DIR)
		return ++d->syncs == d->fail_sync ? -EIO : 0;
	if (step->kind != PFS_SIM_ALLOCATE && step->kind != PFS_SIM_PUNCH)
		return 0;
	snprintf(d->calls + len, sizeof(d->calls) - len, "%c%llu+%llu ",
		 step->kind == PFS_SIM_PUNCH ? 'p' : 'a', (unsigned long long)step->off,
		 (unsigned long long)step->len);
	if (step->kind == PFS_SIM_PUNCH)
		return 0;
	return step->len > d->len_max || (d->full && strcmp(step->name, d->full) == 0) ? -ENOSPC
										       : 0;
}

/* Proves: space is reserved in steps of a 64th of the page, but at least 4 KiB, at both ends of the
 * gap; smaller ones where the disk has no more. */
static void space_is_reserved_in_steps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct disk d = {.len_max = i == 2 ? 8000 : UINT64_MAX};
		struct world *w = new_world(i ? PFS_MIB : SIZE, 128);
		struct pfs_page *page;

		pfs_sim_on_step(w->sim, on_disk, &d);
		assert_int_equal(give(w, 300), 0);
		page = pfs_pager_find(w->pager, 1);
		assert_string_equal(d.calls, i == 0   ? "a0+4096 a61440+4096 "
					     : i == 1 ? "a0+16384 a1032192+16384 "
						      : "a0+16384 p0+16384 a0+4096 a1032192+16384 "
							"p1032192+16384 a1044480+4096 ");
		assert_int_equal(page->low_reserved, i == 1 ? 16384 : 4096);
		assert_int_equal(page->size - page->high_reserved, i == 1 ? 16384 : 4096);
		pfs_sim_on_step(w->sim, NULL, NULL);
		free_world(w);
	}
}

/* Proves: where a page can't be given more of the disk, the next one that has as much room is
 * taken. */
static void the_next_page_is_taken(void **state)
{
	struct disk d = {.len_max = UINT64_MAX, .full = "page-00000001"};
	struct world *w = new_world(SIZE, 128);

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(give(w, 40000), 0);
	assert_int_equal(pfs_pager_find(w->pager, 1)->fit.room,
			 pfs_pager_find(w->pager, 2)->fit.room);
	pfs_sim_on_step(w->sim, on_disk, &d);
	assert_int_equal(give(w, 20000), 0);
	assert_int_equal(w->given[2].at.page, 2);
	pfs_sim_on_step(w->sim, NULL, NULL);
	free_world(w);
}

/* Proves: of what is free from a mebibyte on the whole pieces of 4 KiB go back to the disk, and no
 * byte beside them. */
static void large_holes_are_given_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct disk d = {.len_max = UINT64_MAX};
		struct world *w = new_world(8 * PFS_MIB, 128);
		uint64_t off, len = i == 0 ? PFS_MIB - 1 : i == 1 ? PFS_MIB : PFS_MIB + 5000;
		char expected[64] = "";

		assert_int_equal(give(w, 2 * PFS_MIB), 0);
		off = w->given[0].at.off + 100;
		pfs_sim_on_step(w->sim, on_disk, &d);
		pfs_pager_free_bytes(w->pager, 1, off, len);
		if (i)
			snprintf(expected, sizeof(expected), "p%llu+%llu ",
				 (unsigned long long)((off + 4095) / 4096 * 4096),
				 (unsigned long long)((off + len) / 4096 * 4096 -
						      (off + 4095) / 4096 * 4096));
		assert_string_equal(d.calls, expected);
		assert_int_equal(pfs_pager_find(w->pager, 1)->punched, i > 0);
		pfs_sim_on_step(w->sim, NULL, NULL);
		free_world(w);
	}
}

/* ---- what is written and synced ---- */

/* Proves: headers are written of pages whose header says something else than the page is, or is to
 * be written anyway; not of those that are not born yet, or damaged. */
static void headers_are_written_when_they_lag(void **state)
{
	struct disk d = {.len_max = UINT64_MAX};
	struct world *w = three_documents();
	struct pfs_page *page = pfs_pager_find(w->pager, 1);

	(void)state;
	assert_int_equal(give(w, 65000), 0); /* not born */
	pfs_sim_on_step(w->sim, on_disk, &d);
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	assert_int_equal(d.writes, 0);
	assert_int_equal(give(w, 1000), 0);
	assert_int_equal(w->given[4].at.page, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
		assert_int_equal(d.writes, 1);
	}
	/* One more slot, or a lower floor, alone. */
	page->slot_count++;
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	assert_int_equal(d.writes, 2);
	page->floor -= 8;
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	assert_int_equal(d.writes, 3);
	page->header_dirty = true;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
		assert_int_equal(d.writes, 4);
		assert_false(page->header_dirty);
	}
	page->header_dirty = true;
	pfs_pager_make_unusable(w->pager, page);
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	assert_int_equal(d.writes, 4);
	pfs_sim_on_step(w->sim, NULL, NULL);
	free_world(w);
}

/* Proves: pages that were written are synced, and the directory if there are new names, each once;
 * the first error ends it, and what is not synced is synced the next time. */
static void what_was_written_is_synced_once(void **state)
{
	static const uint8_t byte[1] = {1};

	(void)state;
	for (unsigned fail = 0; fail < 4; fail++) {
		struct disk d = {.len_max = UINT64_MAX, .fail_sync = fail};
		struct world *w = new_world(SIZE, 128);

		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(give(w, 60000), 0);
		for (uint32_t n = 1; n < 4; n += 2)
			assert_int_equal(
				pfs_page_write(pfs_pager_find(w->pager, n), byte, 1, 30000), 0);
		pfs_sim_on_step(w->sim, on_disk, &d);
		assert_int_equal(pfs_pager_sync(w->pager), fail ? -EIO : 0);
		assert_int_equal(d.syncs, fail ? fail : 3);
		assert_int_equal(pfs_pager_find(w->pager, 1)->dirty, fail == 1);
		assert_int_equal(pfs_pager_find(w->pager, 3)->dirty, fail == 1 || fail == 2);
		if (fail == 3)
			w->pager->dir_dirty = true; /* the store takes nothing more */
		assert_int_equal(pfs_pager_sync(w->pager), 0);
		assert_int_equal(d.syncs, fail ? 4 : 3);
		pfs_sim_on_step(w->sim, NULL, NULL);
		free_world(w);
	}
}

static int fail_writes(void *arg, const struct pfs_sim_step *step)
{
	unsigned *writes = arg;

	return step->kind == PFS_SIM_WRITE && (*writes)++ == 1 ? -EIO : 0;
}

/* Proves: a gap that can't be cleared to its end is an error. */
static void gaps_are_cleared_or_an_error(void **state)
{
	static const uint8_t junk[20000] = "junk";
	struct world *w = three_documents();
	struct pfs_page *page = pfs_pager_find(w->pager, 1);
	unsigned writes = 0;
	uint8_t left[8];

	(void)state;
	for (uint64_t off = 1000; off < 20000; off += 5000)
		poke(w, 1, off, junk, 4);
	pfs_sim_set_failed_writes(w->sim, PFS_SIM_FAILED_NOTHING);
	pfs_sim_on_step(w->sim, fail_writes, &writes);
	assert_int_equal(pfs_page_clear_gap(page), -EIO);
	assert_int_equal(writes, 2);
	writes = 2;
	assert_int_equal(pfs_page_clear_gap(page), 0);
	assert_int_equal(writes, 2 + 3);
	pfs_sim_on_step(w->sim, NULL, NULL);
	for (uint64_t off = 1000; off < 20000; off += 5000) {
		assert_int_equal(pfs_page_copy(page, left, off, sizeof(left)), 0);
		assert_true(pfs_is_zero(left, sizeof(left)));
	}
	free_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(containers_begin_where_slots_end),
		cmocka_unit_test(unusable_pages_have_nothing),
		cmocka_unit_test(pages_wait_for_memory),
		cmocka_unit_test(full_pages_hide_no_exact_fit),
		cmocka_unit_test(slots_are_given_back),
		cmocka_unit_test(free_space_is_counted_in_any_order),
		cmocka_unit_test(holes_are_known_by_what_a_page_takes),
		cmocka_unit_test(holes_are_taken_with_memory),
		cmocka_unit_test(pages_are_as_large_as_needed),
		cmocka_unit_test(numbers_of_pages_end),
		cmocka_unit_test(space_is_reserved_in_steps),
		cmocka_unit_test(the_next_page_is_taken),
		cmocka_unit_test(large_holes_are_given_back),
		cmocka_unit_test(headers_are_written_when_they_lag),
		cmocka_unit_test(what_was_written_is_synced_once),
		cmocka_unit_test(gaps_are_cleared_or_an_error),
	};

	return cmocka_run_group_tests_name("pages, part by part", tests, NULL, NULL);
}
