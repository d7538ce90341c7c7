/* storage/store_threads.c: the threads of a store and a time of day that is set back. The file is
 * included, with all that it includes, to show it the time before that. */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define SET_BACK_S 3600

/* Where the monotonic clock stands still; else 0. */
static int64_t stopped_ns;

/* What was read just before it was set back. */
static int clock_gettime_before(clockid_t clock, struct timespec *now)
{
	int err = clock_gettime(clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += SET_BACK_S;
	else if (stopped_ns)
		*now = (struct timespec){stopped_ns / 1000000000, stopped_ns % 1000000000};
	return err;
}

/* What was done for the last condition, in this order. */
static char cond_steps[8];

static void cond_step(char what)
{
	size_t len = 0;

	while (cond_steps[len])
		len++;
	if (len + 1 < sizeof(cond_steps))
		cond_steps[len] = what;
}

#define clock_gettime clock_gettime_before
#define pthread_condattr_init(attr) (cond_step('i'), pthread_condattr_init(attr))
#define pthread_condattr_setclock(attr, clock) \
	(cond_step('s'), pthread_condattr_setclock(attr, clock))
#define pthread_condattr_destroy(attr) (cond_step('d'), pthread_condattr_destroy(attr))
#define pthread_cond_init(cond, attr) (cond_step('c'), pthread_cond_init(cond, attr))
#include "storage/store_threads.c"
#undef clock_gettime
#undef pthread_condattr_init
#undef pthread_condattr_setclock
#undef pthread_condattr_destroy
#undef pthread_cond_init

#include "tests/unit/store_helpers.h"

#define HANG_S 60

/* Proves: ticks come on time (G2) whatever becomes of the time of day: what was put is durable soon
 * after, without a sync. */
static void ticks_come_whatever_the_time_of_day(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.commit_ms = 10, .io = pfs_sim_io(sim), .logger = quiet};
	int64_t until = pfs_now_monotonic() + HANG_S * PFS_NSEC_PER_SEC;
	const struct timespec pause = {0, 10000000};
	struct pfs_store_stat stat = {.sequence = 1};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_MIB, 128);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 1; i <= 3; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 100, i);
		do {
			nanosleep(&pause, NULL);
			assert_int_equal(pfs_store_stat(store, &stat), 0);
		} while (stat.durable_sequence < stat.sequence && pfs_now_monotonic() < until);
		assert_int_equal(stat.durable_sequence, stat.sequence);
		assert_int_equal(stat.syncs, 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static unsigned spares_of(struct pfs_store *store)
{
	unsigned spares;

	pthread_mutex_lock(&store->commit);
	spares = pfs_journal_spares(store->journal);
	pthread_mutex_unlock(&store->commit);
	return spares;
}

/* Proves: as many segments are made ahead as there are to be, once; where there is hardly room,
 * none that what must work on a full disk would miss. */
static void spares_are_made_once(void **state)
{
	const uint64_t enough = PFS_SEGMENT_SIZE + PFS_RESERVE_CLOSED;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	unsigned first;

	(void)state;
	create_store(sim, PFS_MIB, 128);
	store = open_store(sim);
	first = spares_of(store);
	assert_in_range(first, 0, PFS_SPARES_MADE - 2);
	store->reserve_dropped = true;
	pfs_sim_set_capacity(sim, pfs_sim_used(sim) + enough - 4096);
	make_spares(store);
	assert_int_equal(spares_of(store), first);
	pfs_sim_set_capacity(sim, pfs_sim_used(sim) + enough);
	make_spares(store);
	assert_int_equal(spares_of(store), first + 1);
	store->reserve_dropped = false;
	pfs_sim_set_capacity(sim, UINT64_MAX);
	for (unsigned i = 0; i < 2; i++) {
		make_spares(store);
		assert_int_equal(spares_of(store), PFS_SPARES_MADE);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a moment that is so many milliseconds ahead is that, counted from now, in seconds and
 * what is less than one; in milliseconds now is the same moment. */
static void moments_are_ahead(void **state)
{
	static const uint64_t ahead[] = {0, 1, 500, 999, 1000, 1001, 2999, 3600000, 3599999};

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		for (size_t i = 0; i < pfs_array_len(ahead); i++) {
			const int64_t ns = (int64_t)ahead[i] * 1000000;
			int64_t before = pfs_now_monotonic();
			const struct timespec t = pfs_monotonic_in_ms(ahead[i]);
			int64_t at = t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;

			assert_in_range(t.tv_nsec, 0, PFS_NSEC_PER_SEC - 1);
			assert_true(at >= before + ns && at <= pfs_now_monotonic() + ns);
			at = pfs_now_monotonic_ms();
			assert_true(at >= before / 1000000);
			assert_true(at <= pfs_now_monotonic() / 1000000);
		}
	}
}

/* Proves: a second is full when its last nanosecond is over. */
static void seconds_are_full(void **state)
{
	(void)state;
	for (unsigned ms = 0; ms <= 2000; ms++) {
		struct timespec t;

		stopped_ns = 7000000000 - (int64_t)ms * 1000000;
		t = pfs_monotonic_in_ms(ms);
		assert_true(t.tv_sec == 7 && t.tv_nsec == 0);
		stopped_ns--;
		t = pfs_monotonic_in_ms(ms);
		assert_true(t.tv_sec == 6 && t.tv_nsec == 999999999);
	}
	stopped_ns = 0;
}

/* Proves: a wait ends at a time of the monotonic clock, not of the day's. What says so is made
 * before it is used, and given back behind that, as other libraries need it. */
static void waits_end_by_that_clock(void **state)
{
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int64_t before = pfs_now_monotonic();
	const struct timespec until = pfs_monotonic_in_ms(20);
	int err;

	(void)state;
	pthread_mutex_init(&lock, NULL);
	memset(cond_steps, 0, sizeof(cond_steps));
	pfs_monotonic_cond_init(&cond);
	assert_string_equal(cond_steps, "iscd");
	pthread_mutex_lock(&lock);
	do
		err = pthread_cond_timedwait(&cond, &lock, &until);
	while (!err);
	pthread_mutex_unlock(&lock);
	assert_int_equal(err, ETIMEDOUT);
	assert_true(pfs_now_monotonic() - before >= 20000000);
	pthread_cond_destroy(&cond);
	pthread_mutex_destroy(&lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ticks_come_whatever_the_time_of_day),
		cmocka_unit_test(moments_are_ahead),
		cmocka_unit_test(seconds_are_full),
		cmocka_unit_test(waits_end_by_that_clock),
		cmocka_unit_test(spares_are_made_once),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
