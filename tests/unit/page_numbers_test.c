/* storage/pager_table.c: numbers are never used again, so that a store which has been
 * used for long has few pages with high numbers. All of them are met, and what that takes goes by
 * how many there are. Counted, not timed. */
#include "storage/pager_internal.h"
#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

#define HIGH 0xfff000u /* 4095 below the highest number */
#define DOCS 600u
#define DOC_LEN 2000u

/* What a call may look into the table, with the few pages that there are. */
#define LOOKS_MAX 60000u

/* ---- the table ---- */

#define NUMBERS 400u

/* The next one, which is found with a look into its part of the table, and one into that before. */
static uint32_t next_of(struct pfs_pager *pager, uint32_t after)
{
	uint32_t number;

	pager->looks = 0;
	number = pfs_pager_next(pager, after);
	assert_in_range(pager->looks, number != 0, 2);
	return number;
}

static void expect_met(struct pfs_pager *pager, struct pfs_page *const *there)
{
	uint32_t before = 0;

	for (unsigned i = 0; i < NUMBERS; i++) {
		if (!there[i])
			continue;
		assert_int_equal(next_of(pager, before), there[i]->number);
		assert_int_equal(next_of(pager, there[i]->number - 1), there[i]->number);
		before = there[i]->number;
		assert_ptr_equal(pfs_pager_find(pager, before), there[i]);
	}
	assert_int_equal(next_of(pager, before), 0);
	assert_int_equal(next_of(pager, PFS_PAGE_NUMBER_MAX), 0);
	assert_int_equal(next_of(pager, UINT32_MAX), 0);
}

/* Proves: whatever pages come and go, those that are there, and no others, are met in the order of
 * their numbers, from any number on. */
static void all_that_are_there_are_met(void **state)
{
	static const uint32_t edges[] = {1,    2,    63,	64,	  65,	   4095,
					 4096, 4097, 4096 * 64, 0xfbffff, 0xffffff};
	struct pfs_pager *pager = calloc(1, sizeof(*pager));
	struct pfs_page *pages = calloc(NUMBERS, sizeof(*pages)), *there[NUMBERS] = {0};
	uint64_t random = 1;
	uint32_t number = 0;

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++) {
		uint32_t step = (uint32_t)(pfs_mix64(++random) % (i % 3 ? 8 : 100000)) + 1;

		number = i < pfs_array_len(edges) - 2 ? edges[i] : number + step;
		if (i >= NUMBERS - 2)
			number = edges[pfs_array_len(edges) - (NUMBERS - i)];
		assert_true(number <= PFS_PAGE_NUMBER_MAX);
		pages[i].number = number;
	}
	expect_met(pager, there);
	for (unsigned n = 0; n < 4000; n++) {
		unsigned i = (unsigned)(pfs_mix64(++random) % NUMBERS);

		/* Now many are there, now few. */
		if (pfs_mix64(++random) % 8 < (n / 800 % 2 ? 7 : 1)) {
			if (there[i])
				pfs_pager_withdraw(pager, there[i]);
			there[i] = NULL;
		} else if (!there[i]) {
			there[i] = &pages[i];
			assert_int_equal(pfs_pager_publish(pager, there[i]), 0);
		}
		if (n % 10 == 0)
			expect_met(pager, there);
	}
	for (unsigned c = 0; c < TABLE_CHUNKS; c++)
		free(pager->chunks[c]);
	free(pager);
	free(pages);
}

/* ---- a store ---- */

static struct pfs_sim *used_for_long(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	create_store(sim, 64 * PFS_KIB, 16);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, NULL), 0);
	super.pages.highest = HIGH;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
	return sim;
}

static void put(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = pfs_key_num(i);

	put_document(store, &key, DOC_LEN, 2 * (uint64_t)i + 1);
}

static void expect_documents(struct pfs_store *store)
{
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t want[DOC_LEN];
		size_t len;
		void *have;

		assert_int_equal(pfs_get(store, &key, &have, &len, NULL), i % 3 ? 0 : -ENOENT);
		if (i % 3 == 0)
			continue;
		fill_document(want, sizeof(want), 2 * (uint64_t)i + 1);
		assert_int_equal(len, sizeof(want));
		assert_memory_equal(have, want, len);
		free(have);
	}
}

/* Since the last call, or the opening. */
static void expect_few_looks(struct pfs_store *store, const char *what)
{
	uint64_t looks = __atomic_exchange_n(&store->pager->looks, 0, __ATOMIC_RELAXED);

	if (looks > LOOKS_MAX)
		fail_msg("%s looks into the table of pages %llu times", what,
			 (unsigned long long)looks);
	assert_true(looks > 0);
}

/* Proves: opening, after a clean close and after a crash, checkpoints, compaction, statistics,
 * checking and closing look at the pages that there are, however high their numbers; and that pages
 * with such numbers serve like any other. */
static void high_numbers_cost_nothing(void **state)
{
	struct pfs_sim *sim = used_for_long(), *crashed;
	struct pfs_compact_result compacted;
	struct pfs_check_result checked;
	struct pfs_store *store = open_store(sim);
	struct pfs_store_stat stat;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++)
		put(store, i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(pfs_pager_next(store->pager, 0) > HIGH);
	for (unsigned i = 0; i < DOCS; i += 3) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	crashed = pfs_sim_kill(sim);
	store->pager->looks = 0;
	assert_int_equal(pfs_store_checkpoint(store), 0);
	expect_few_looks(store, "a checkpoint");
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &compacted), 0);
	assert_true(compacted.values > 0);
	expect_few_looks(store, "a compaction");
	while (pfs_store_compact_step(store, true) == 1)
		;
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	expect_few_looks(store, "the statistics");
	assert_int_equal(stat.pages, compacted.pages_after);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, NULL, &checked), 0);
	assert_int_equal(checked.findings, 0);
	expect_few_looks(store, "a check");
	expect_documents(store);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	expect_few_looks(store, "an opening");
	expect_documents(store);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);

	store = open_store(crashed);
	expect_few_looks(store, "an opening after a crash");
	expect_documents(store);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(crashed);
	pfs_sim_free(crashed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_are_there_are_met),
		cmocka_unit_test(high_numbers_cost_nothing),
	};

	return cmocka_run_group_tests_name("page numbers", tests, NULL, NULL);
}
