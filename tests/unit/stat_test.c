/* storage/store_stat.c: numbers of a store whose commit lock somebody holds for long. The waits of
 * the program for a mutex until a time go through this file. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

static pthread_mutex_t *busy; /* is not had in time */
static struct timespec until;

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *abstime)
{
	until = *abstime;
	return mutex == busy ? ETIMEDOUT : pthread_mutex_lock(mutex);
}

static int64_t now(void)
{
	struct timespec at;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &at), 0);
	return (int64_t)at.tv_sec * PFS_NSEC_PER_SEC + at.tv_nsec;
}

static void put(struct pfs_store *store, uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(store, &key, 100, number);
}

/* Proves (G8): who asks for numbers waits a moment for the commit lock, from now on and no longer,
 * and then gets those of the last time. */
static void numbers_of_the_last_time(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat stat;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	put(store, 1);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, 1);
	put(store, 2);
	busy = &store->commit;
	for (unsigned i = 0; i < 3; i++) {
		int64_t begun = now(), at;

		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.points, 1);
		at = (int64_t)until.tv_sec * PFS_NSEC_PER_SEC + until.tv_nsec;
		assert_true(until.tv_nsec >= 0 && until.tv_nsec < PFS_NSEC_PER_SEC);
		assert_true(at > begun && at <= now() + PFS_NSEC_PER_SEC);
	}
	busy = NULL;
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, 2);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a document that is put without a time gets that of now. */
static void times_are_now(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(7);
	struct pfs_store *store;
	struct pfs_attr attr;
	int64_t begun;
	uint32_t object;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	begun = now();
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, &attr), 0);
	assert_true(attr.mtime_ns >= begun && attr.mtime_ns <= now());
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_the_last_time),
		cmocka_unit_test(times_are_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
