/* fs/refresher.c: calls come again and again until it is stopped. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "storage/monotonic.h"
#include "tests/unit/refused_calls.h"

static atomic_ullong wanted_ms;
static atomic_bool time_passes;

/* Now, or never. */
static struct timespec moment(uint64_t ms)
{
	wanted_ms = ms;
	return pfs_monotonic_in_ms(time_passes ? 0 : 3600000);
}

#define pfs_monotonic_in_ms moment
#define calloc get_or_fail
#define pthread_create start_or_fail
#include "fs/refresher.c"

static struct {
	sem_t called, let_go;
	atomic_uint calls;
} hook;

static void on_time(void *arg)
{
	assert_ptr_equal(arg, &hook);
	hook.calls++;
	sem_post(&hook.called);
	sem_wait(&hook.let_go);
}

static void *stop_it(void *arg)
{
	pfs_refresher_stop(arg);
	return NULL;
}

/* Proves: it calls when the time is over, and again after that; stopping waits for a call that is
 * under way, after which none comes; and none comes before the time. */
static void it_calls_until_it_is_stopped(void **state)
{
	struct pfs_refresher *r;
	pthread_t stopping;

	(void)state;
	sem_init(&hook.called, 0, 0);
	sem_init(&hook.let_go, 0, 0);
	time_passes = true;
	assert_int_equal(pfs_refresher_start(&r, 7, on_time, &hook), 0);
	sem_wait(&hook.called);
	assert_int_equal(wanted_ms, 7000);
	sem_post(&hook.let_go);
	sem_wait(&hook.called);
	assert_int_equal(pthread_create(&stopping, NULL, stop_it, r), 0);
	time_passes = false;
	sem_post(&hook.let_go);
	assert_int_equal(pthread_join(stopping, NULL), 0);
	assert_int_equal(hook.calls, 2);

	assert_int_equal(pfs_refresher_start(&r, 7, on_time, &hook), 0);
	pfs_refresher_stop(r);
	assert_int_equal(hook.calls, 2);
	pfs_refresher_stop(NULL);
	sem_destroy(&hook.let_go);
	sem_destroy(&hook.called);
}

/* Proves: without a thread there is none, and that is said. */
static void without_a_thread_there_is_none(void **state)
{
	struct pfs_refresher *r;

	(void)state;
	thread_err = EAGAIN;
	assert_int_equal(pfs_refresher_start(&r, 7, on_time, &hook), -EAGAIN);
	assert_null(r);
	thread_err = 0;
	no_memory = true;
	assert_int_equal(pfs_refresher_start(&r, 7, on_time, &hook), -ENOMEM);
	assert_null(r);
	no_memory = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_calls_until_it_is_stopped),
		cmocka_unit_test(without_a_thread_there_is_none),
	};

	return cmocka_run_group_tests_name("refresher", tests, NULL, NULL);
}
