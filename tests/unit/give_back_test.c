/* Disk space that is not needed any more: pages that hold nothing, segments that are spare. */
#include <pthread.h>
#include <unistd.h>

#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

enum { DOCS = 60, SEGMENTS = 28 };

static void put(struct pfs_store *store, uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(store, &key, 5000, 2 * number + 1);
}

static void remove_number(struct pfs_store *store, uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);

	assert_int_equal(pfs_remove(store, &key, NULL), 0);
}

static bool has_page(struct pfs_sim *sim, uint32_t number)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	bool has;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	has = dir->ops->open(dir, page_name(number), 0, &file) == 0;
	if (has)
		file->ops->close(file);
	dir->ops->close_dir(dir);
	return has;
}

/* Proves: a checkpoint gives back the pages that hold nothing, but for one, also if the power fails
 * right after it; compacting all gives back that one, too. */
static void empty_pages_are_removed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct pfs_compact_result result;
	struct pfs_store_stat stat;
	struct pfs_store *store;
	unsigned had = 0, left = 0;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (uint64_t i = 0; i < DOCS; i++)
		put(store, i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (uint32_t n = 1; n < 100; n++)
		had += has_page(sim, n);
	assert_true(had > 4);
	for (uint64_t i = 0; i < DOCS; i++)
		remove_number(store, i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	cut = pfs_sim_crash_index(sim, 0);
	for (uint32_t n = 1; n < 100; n++)
		left += has_page(cut, n);
	pfs_sim_free(cut);
	assert_true(left <= 1);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.pages, 0);
	for (uint32_t n = 1; n < 100; n++)
		assert_false(has_page(sim, n));
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Many live segments with a record each. */
static void fill_segments(struct pfs_store *store)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		put(store, i);
		pthread_mutex_lock(&store->commit);
		assert_int_equal(pfs_journal_rotate(store->journal), 0);
		pthread_mutex_unlock(&store->commit);
	}
}

static unsigned spares_of(struct pfs_store *store)
{
	unsigned spares;

	pthread_mutex_lock(&store->commit);
	spares = pfs_journal_spares(store->journal);
	pthread_mutex_unlock(&store->commit);
	return spares;
}

/* Proves: of the segments of a long journal a checkpoint leaves no more than the next ones need. */
static void checkpoints_trim_the_journal(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	fill_segments(store);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(spares_of(store) <=
		    pfs_max_u64(PFS_SPARES_MADE,
				store->journal_max / PFS_JOURNAL_SLOW_DIV / PFS_SEGMENT_SIZE));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a store that nobody changes keeps fewer of them. */
static void idle_stores_trim_more(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	fill_segments(store);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(spares_of(store) > PFS_SPARES_IDLE);
	/* Who waits in vain is ended by the alarm. */
	alarm(60);
	while (spares_of(store) > PFS_SPARES_IDLE) {
		put(store, 1);
		/* As if that had been long ago. */
		__atomic_store_n(&store->changed_ns, 0, __ATOMIC_RELAXED);
		usleep(100000);
	}
	alarm(0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_pages_are_removed),
		cmocka_unit_test(checkpoints_trim_the_journal),
		cmocka_unit_test(idle_stores_trim_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
