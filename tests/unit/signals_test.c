/* fs/signals.c: which signal does what, also one that came before somebody waited for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <unistd.h>

#include "fs/signals.c"

static struct {
	sem_t called;
	atomic_uint ends, counters, refreshes;
} hooks;

static void on_end(void *arg)
{
	assert_ptr_equal(arg, &hooks);
	hooks.ends++;
	sem_post(&hooks.called);
}

static void on_counters(void *arg)
{
	(void)arg;
	hooks.counters++;
	sem_post(&hooks.called);
}

static void on_refresh(void *arg)
{
	(void)arg;
	hooks.refreshes++;
	sem_post(&hooks.called);
}

static void send_and_wait(int signo)
{
	assert_int_equal(kill(getpid(), signo), 0);
	sem_wait(&hooks.called);
}

/* Proves: a signal that came while they were blocked is handled when the thread is there; SIGUSR1
 * shows the counters; SIGHUP refreshes where there is something to be refreshed, and else ends, as
 * SIGTERM and SIGINT do; one that was never started can be stopped. */
static void signals_do_what_they_are_for(void **state)
{
	struct pfs_signals signals = {.end = on_end, .counters = on_counters, .arg = &hooks};

	(void)state;
	sem_init(&hooks.called, 0, 0);
	pfs_signals_block();
	pfs_signals_stop(&signals);
	assert_false(pfs_signals_end_pending());
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_false(pfs_signals_end_pending());
	assert_int_equal(kill(getpid(), SIGINT), 0);
	assert_true(pfs_signals_end_pending());
	assert_int_equal(pfs_signals_start(&signals), 0);
	sem_wait(&hooks.called);
	sem_wait(&hooks.called);
	assert_int_equal(hooks.ends, 1);
	assert_int_equal(hooks.counters, 1);
	send_and_wait(SIGTERM);
	send_and_wait(SIGHUP);
	assert_int_equal(hooks.ends, 3);
	pfs_signals_stop(&signals);
	assert_int_equal(hooks.ends, 3); /* that it ended by a signal is nobody's business */
	pfs_signals_stop(&signals);

	signals.refresh = on_refresh;
	assert_int_equal(pfs_signals_start(&signals), 0);
	send_and_wait(SIGHUP);
	assert_int_equal(hooks.refreshes, 1);
	assert_int_equal(hooks.ends, 3);
	pfs_signals_stop(&signals);
	sem_destroy(&hooks.called);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_do_what_they_are_for),
	};

	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
