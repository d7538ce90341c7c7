/* Rank 1: signals, handled by a thread of their own so that no handler interrupts anything.
 *
 * SIGTERM, SIGINT and SIGHUP ask for the end, SIGUSR1 for the counters. Where there is something to
 * be refreshed, SIGHUP asks for that. */
#ifndef PFS_SIGNALS_H
#define PFS_SIGNALS_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/base.h"

struct pfs_signals {
	void (*end)(void *arg); /* may take its time; called again at every further signal */
	void (*counters)(void *arg);
	void (*refresh)(void *arg); /* NULL: there is nothing */
	void *arg;
	/* the module's own: */
	pthread_t thread;
	bool running;
	_Atomic bool stopping;
};

/* Before any thread is started: all threads inherit it. SIGPIPE is ignored. */
void pfs_signals_block(void);

/* Has one that asks for the end come since pfs_signals_block? It stays pending. */
bool pfs_signals_end_pending(void);

/* The hooks are set by the caller; signals that came since pfs_signals_block are handled now.
 * -errno. */
int pfs_signals_start(struct pfs_signals *signals);

/* Ends the thread; waits for a hook that runs. */
void pfs_signals_stop(struct pfs_signals *signals);

#endif
