/* storage/pager.c: pages that are full to the last byte, and memory that there is not. The file is
 * included. */
#include <stdlib.h>

#include "storage/pager_internal.h"

static void *fake_malloc(size_t size);
static int fake_space_add(struct pfs_space *space, uint64_t off, uint64_t len);

#define malloc fake_malloc
#define pfs_space_add fake_space_add
#include "storage/pager.c"
#undef malloc
#undef pfs_space_add

#include "tests/unit/pager_helpers.h"

#define SIZE (64 * PFS_KIB)

static bool refuses;

static void *fake_malloc(size_t size)
{
	return refuses ? NULL : malloc(size);
}

static int fake_space_add(struct pfs_space *space, uint64_t off, uint64_t len)
{
	return refuses ? -ENOMEM : pfs_space_add(space, off, len);
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
	pfs_sim_on_step(w->sim, fail_writes, &writes);
	assert_int_equal(pfs_page_clear_gap(page), -EIO);
	assert_int_equal(writes, 2);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_int_equal(pfs_page_clear_gap(page), 0);
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
		cmocka_unit_test(gaps_are_cleared_or_an_error),
	};

	return cmocka_run_group_tests_name("pages, part by part", tests, NULL, NULL);
}
