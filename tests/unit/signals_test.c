/* fs/signals.c: which signal does what, also one that came before somebody waited for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "tests/unit/refused_calls.h"

#define pthread_create start_or_fail
#include "fs/signals.c"
#undef pthread_create

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
	assert_true(signals.running);
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

/* Leaves nothing of value where the next function has its own. */
__attribute__((noinline)) static void soil_the_stack(void)
{
	volatile unsigned char soil[4096];

	for (size_t i = 0; i < sizeof(soil); i++)
		soil[i] = 0xff;
}

/* Proves: those four are blocked and no others, SIGPIPE does not end the program; and where there
 * is no thread that is an error, with nothing to be stopped. */
static void four_signals_are_blocked(void **state)
{
	struct pfs_signals signals = {.end = on_end, .counters = on_counters, .arg = &hooks};
	unsigned blocked = 0;
	sigset_t none, set;

	(void)state;
	sigemptyset(&none);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &none, NULL), 0);
	signal(SIGPIPE, SIG_DFL);
	soil_the_stack();
	pfs_signals_block();
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
	for (int signo = 1; signo < SIGSYS; signo++)
		blocked += sigismember(&set, signo) == 1;
	assert_int_equal(blocked, 4);
	assert_true(sigismember(&set, SIGTERM) && sigismember(&set, SIGINT) &&
		    sigismember(&set, SIGHUP) && sigismember(&set, SIGUSR1));
	assert_ptr_equal(signal(SIGPIPE, SIG_DFL), SIG_IGN);

	thread_err = EAGAIN;
	assert_int_equal(pfs_signals_start(&signals), -EAGAIN);
	thread_err = 0;
	assert_false(signals.running);
	pfs_signals_stop(&signals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_do_what_they_are_for),
		cmocka_unit_test(four_signals_are_blocked),
	};

	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
