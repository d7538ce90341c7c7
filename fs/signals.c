#include "fs/signals.h"

#include <signal.h>

static void handled_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
}

void pfs_signals_block(void)
{
	sigset_t set;

	handled_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool pfs_signals_end_pending(void)
{
	sigset_t set;

	sigpending(&set);
	return sigismember(&set, SIGTERM) || sigismember(&set, SIGINT) || sigismember(&set, SIGHUP);
}

static void *run(void *arg)
{
	struct pfs_signals *signals = arg;
	sigset_t set;
	int signo;

	handled_signals(&set);
	for (;;) {
		if (sigwait(&set, &signo) != 0)
			continue;
		if (atomic_load(&signals->stopping))
			return NULL;
		if (signo == SIGUSR1)
			signals->counters(signals->arg);
		else if (signo == SIGHUP && signals->refresh)
			signals->refresh(signals->arg);
		else
			signals->end(signals->arg);
	}
}

int pfs_signals_start(struct pfs_signals *signals)
{
	int err;

	atomic_init(&signals->stopping, false);
	err = pthread_create(&signals->thread, NULL, run, signals);
	signals->running = err == 0;
	return -err;
}

void pfs_signals_stop(struct pfs_signals *signals)
{
	if (!signals->running)
		return;
	atomic_store(&signals->stopping, true);
	pthread_kill(signals->thread, SIGTERM);
	pthread_join(signals->thread, NULL);
	signals->running = false;
}
