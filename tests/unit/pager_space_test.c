/* storage/pager_space.c: what is counted of pages, what is given back of their gaps, and which of
 * them are empty. The file is included. */
#include "storage/pager_internal.h"

static void fake_page_free(struct pfs_page *page);

#define pfs_page_free fake_page_free
#include "storage/pager_space.c"
#undef pfs_page_free

#include "tests/unit/pager_helpers.h"

#define SIZE (64 * PFS_KIB)

/* What is given back has no number any more. */
static void fake_page_free(struct pfs_page *page)
{
	page->number = 0xdddddd;
	pfs_page_free(page);
}

/* ---- one page ---- */

static char calls[256];
static int punch_err;
static uint64_t usage;

static int fake_punch(struct pfs_file *file, uint64_t off, uint64_t len)
{
	size_t at = strlen(calls);

	(void)file;
	snprintf(calls + at, sizeof(calls) - at, "%llu+%llu ", (unsigned long long)off,
		 (unsigned long long)len);
	return punch_err;
}

static int fake_usage(struct pfs_file *file, uint64_t *out)
{
	(void)file;
	*out = usage;
	return usage ? 0 : -EIO;
}

static const struct pfs_io_ops fake_ops = {.punch = fake_punch, .disk_usage = fake_usage};
static struct pfs_file fake_file = {&fake_ops};

/* Proves: of what is reserved of a gap, whole pieces of 4 KiB are given back at both of its ends,
 * and nothing of the slots, the containers and what is between that was never reserved; what could
 * not be given back stays reserved. */
static void gaps_are_trimmed(void **state)
{
	static const struct {
		uint64_t floor, low, high; /* reserved up to low, and from high on */
		int err;
		bool unusable, unborn;
		const char *calls;
		uint64_t low_then, high_then;
	} cases[] = {
		{61000, 16384, 45056, 0, false, false, "4096+12288 45056+12288 ", 4096, 57344},
		{61000, 4096, 57344, 0, false, false, "", 4096, 57344},
		{61000, 4097, 57343, 0, false, false, "4096+1 57343+1 ", 4096, 57344},
		{61000, 200, 61000, 0, false, false, "", 200, 61000},
		{61440, 4096, 57344, 0, false, false, "57344+4096 ", 4096, 61440},
		{61439, 4096, 57344, 0, false, false, "", 4096, 57344},
		{8191, 8191, 8191, 0, false, false, "", 8191, 8191},
		{8192, 8192, 8192, 0, false, false, "4096+4096 ", 4096, 8192},
		{61000, 60000, 61000, 0, false, false, "4096+53248 ", 4096, 61000},
		{61000, 4096, 4096, 0, false, false, "4096+53248 ", 4096, 57344},
		{61000, 1000, 1000, 0, false, false, "4096+53248 ", 1000, 57344},
		{61000, 16384, 45056, -EOPNOTSUPP, false, false, "4096+12288 45056+12288 ", 16384,
		 45056},
		{61000, 16384, 8192, -EOPNOTSUPP, false, false, "4096+12288 ", 16384, 8192},
		{61000, 16384, 45056, 0, true, false, "", 16384, 45056},
		{61000, 16384, 45056, 0, false, true, "", 16384, 45056},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_page page = {
			.file = &fake_file,
			.size = SIZE,
			.slot_count = 4,
			.floor = cases[i].floor,
			.low_reserved = cases[i].low,
			.high_reserved = cases[i].high,
			.unusable = cases[i].unusable,
			.unborn = cases[i].unborn,
		};

		calls[0] = '\0';
		punch_err = cases[i].err;
		trim(&page);
		assert_string_equal(calls, cases[i].calls);
		assert_int_equal(page.low_reserved, cases[i].low_then);
		assert_int_equal(page.high_reserved, cases[i].high_then);
	}
}

/* Proves: a page takes of the disk what is not its gap, and what is reserved of that; where holes
 * were given back what the disk says, if that can be, but not less than is used. What is free of it
 * is what is neither used nor reserved ahead. */
static void pages_take_what_they_take(void **state)
{
	static const struct {
		bool loaded, punched;
		uint64_t usage, disk; /* of 65536 - 50000 + 3000 */
	} cases[] = {
		{false, false, 9000, 18536}, {false, true, 9000, 18536}, {true, false, 9000, 18536},
		{true, true, 9000, 14472},   {true, true, 15000, 15000}, {true, true, 30000, 18536},
		{true, true, 0, 18536},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_page page = {
			.file = &fake_file,
			.size = SIZE,
			.slot_count = 4,
			.floor = 128 + 50000,
			.low_reserved = 128 + 1000,
			.high_reserved = 128 + 48000,
			.loaded = cases[i].loaded,
			.punched = cases[i].punched,
			.space = {.free_bytes = 872},
			.free_slot_count = 3,
			.saved_free_bytes = 872,
			.saved_free_slots = 3,
		};
		struct pfs_page_space space;

		usage = cases[i].usage;
		pfs_page_space(&page, &space);
		assert_int_equal(space.used, 14472);
		assert_int_equal(space.holes, 872);
		assert_int_equal(space.gap, 50000);
		assert_int_equal(space.ahead, 3000);
		assert_int_equal(space.slots, 4);
		assert_int_equal(space.free_slots, 3);
		assert_int_equal(space.disk, cases[i].disk);
		assert_int_equal(pfs_page_live(&space), 14472 + 16);
		assert_int_equal(pfs_page_dead(&space),
				 cases[i].disk == 18536 ? 18536 - 14472 - 16 - 3000 - 128 : 0);
	}
}

/* ---- all of them ---- */

static struct world *three_pages(uint64_t size)
{
	struct world *w = new_world(size, 128);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(w, size - 5000 - 100 * i), 0);
	write_all(w);
	return w;
}

/* Proves: figures are the sums of those of all pages; an error of one is one. */
static void figures_are_sums(void **state)
{
	struct world *w = three_pages(SIZE);
	struct pfs_pager_stat stat, sum = {.pages = 3};

	(void)state;
	pfs_pager_free(w->pager, &w->given[1].at);
	for (uint32_t n = 1; n < 4; n++) {
		struct pfs_page *page = pfs_pager_find(w->pager, n);
		struct pfs_page_space space;
		uint64_t disk;

		pfs_page_space(page, &space);
		assert_int_equal(page->file->ops->disk_usage(page->file, &disk), 0);
		sum.size_bytes += page->size;
		sum.disk_bytes += disk;
		sum.free_bytes += pfs_page_dead(&space) + space.ahead;
		sum.used_bytes += space.used;
		sum.hole_bytes += space.holes;
		sum.gap_bytes += space.gap;
	}
	assert_int_equal(pfs_pager_stat(w->pager, &stat), 0);
	assert_memory_equal(&stat, &sum, sizeof(stat));
	assert_true(sum.used_bytes > 100000 && sum.hole_bytes > 50000 && sum.gap_bytes > 10000 &&
		    sum.free_bytes > 50000 && sum.disk_bytes > 150000);
	free_world(w);
}

static int count_punches(void *arg, const struct pfs_sim_step *step)
{
	*(unsigned *)arg += step->kind == PFS_SIM_PUNCH;
	return 0;
}

/* Proves: all pages are trimmed. */
static void all_pages_are_trimmed(void **state)
{
	struct world *w = new_world(8 * PFS_MIB, 128);
	unsigned punches = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(w, 6 * PFS_MIB), 0);
	write_all(w);
	pfs_sim_on_step(w->sim, count_punches, &punches);
	pfs_pager_trim(w->pager);
	assert_true(punches >= 3);
	for (uint32_t n = 1; n < 4; n++)
		assert_int_equal(pfs_pager_find(w->pager, n)->low_reserved, 4096);
	punches = 0;
	pfs_pager_trim(w->pager);
	assert_int_equal(punches, 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	free_world(w);
}

/* Proves: an empty page is found by what was saved of it, and only that one is read; one of which
 * it was saved that it is empty is not believed to be. */
static void empty_pages_are_found_unread(void **state)
{
	(void)state;
	for (unsigned lie = 0; lie < 2; lie++) {
		struct world *w = three_pages(SIZE);
		struct pfs_pager_saved saved[4];
		struct pfs_page *spare;

		if (!lie) {
			write_tombstone(w, &w->given[1].at, w->given[1].key, 1000);
			pfs_pager_free(w->pager, &w->given[1].at);
		}
		for (uint32_t n = 1; n < 4; n++)
			pfs_pager_get_saved(pfs_pager_find(w->pager, n), &saved[n]);
		if (lie)
			saved[2].free_bytes = SIZE;
		reopen(w);
		for (uint32_t n = 1; n < 4; n++)
			pfs_pager_set_saved(w->pager, pfs_pager_find(w->pager, n), &saved[n]);
		spare = pfs_pager_spare(w->pager, false);
		assert_ptr_equal(spare, lie ? NULL : pfs_pager_find(w->pager, 2));
		assert_true(pfs_pager_find(w->pager, 2)->loaded);
		assert_false(pfs_pager_find(w->pager, 1)->loaded);
		assert_false(pfs_pager_find(w->pager, 3)->loaded);
		if (spare) {
			struct pfs_file *file;

			assert_true(spare->closed && spare->retiring);
			pfs_pager_unpublish(w->pager, spare);
			assert_null(pfs_pager_find(w->pager, 2));
			assert_int_equal(pfs_pager_remove(w->pager, spare), 0);
			assert_int_equal(w->dir->ops->open(w->dir, page_name(2), 0, &file),
					 -ENOENT);
			w->set = (struct pfs_page_set){0};
		}
		free_world(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gaps_are_trimmed),
		cmocka_unit_test(pages_take_what_they_take),
		cmocka_unit_test(figures_are_sums),
		cmocka_unit_test(all_pages_are_trimmed),
		cmocka_unit_test(empty_pages_are_found_unread),
	};

	return cmocka_run_group_tests_name("space of pages", tests, NULL, NULL);
}
