/* fs/thread.h: threads that get no signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "tests/unit/refused_calls.h"

#define pthread_create start_or_fail
#include "fs/thread.h"
#undef pthread_create

/* Those that can be blocked: the two that can't, and glibc's own, are left out. */
static unsigned blocked_of(const sigset_t *set, unsigned *of)
{
	unsigned n = 0;

	*of = 0;
	for (int signo = 1; signo <= SIGRTMAX; signo++) {
		if (signo == SIGKILL || signo == SIGSTOP || (signo > SIGSYS && signo < SIGRTMIN))
			continue;
		++*of;
		n += sigismember(set, signo) == 1;
	}
	return n;
}

static void *look(void *arg)
{
	sigset_t *seen = arg;

	pthread_sigmask(SIG_SETMASK, NULL, seen);
	return seen;
}

/* Proves: a thread has every signal blocked, and its starter those that it had before, also when
 * there can't be a thread, of which it is told. */
static void threads_get_no_signals(void **state)
{
	sigset_t own, seen, after;
	unsigned n, of;
	pthread_t thread;
	void *result;

	(void)state;
	sigemptyset(&own);
	sigaddset(&own, SIGUSR2);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &own, NULL), 0);
	sigemptyset(&seen);
	assert_int_equal(pfs_thread_start(&thread, look, &seen), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &seen);
	n = blocked_of(&seen, &of);
	assert_int_equal(n, of);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_int_equal(blocked_of(&after, &of), 1);
	assert_int_equal(sigismember(&after, SIGUSR2), 1);

	thread_err = EAGAIN;
	assert_int_equal(pfs_thread_start(&thread, look, &seen), -EAGAIN);
	thread_err = 0;
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_int_equal(blocked_of(&after, &of), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_get_no_signals),
	};

	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
