/* Rank 0: threads of the daemon. */
#ifndef PFS_THREAD_H
#define PFS_THREAD_H

#include <pthread.h>
#include <signal.h>

/* Starts a thread that gets no signals: those are for the one that waits for them (fs/signals.h).
 * To be joined or detached. -errno. */
static inline int pfs_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

#endif
