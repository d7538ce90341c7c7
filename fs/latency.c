#include "fs/latency.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/thread.h"
#include "storage/monotonic.h"

struct pfs_latency {
	const char *path;
	const struct pfs_logger *logger;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running; /* the thread was started; who starts and stops it */
	/* Atomic. Who notes sets the first before he looks at the second, the thread the other way
	 * round, so that no request is missed by both. */
	bool requests; /* some have come since the thread looked */
	bool asleep;   /* the thread waits to be woken */
	bool stopping; /* lock */
};

int pfs_latency_new(struct pfs_latency **out, const char *path, const struct pfs_logger *logger)
{
	struct pfs_latency *l = calloc(1, sizeof(*l));

	*out = l;
	if (!l)
		return -ENOMEM;
	l->path = path;
	l->logger = logger;
	pthread_mutex_init(&l->lock, NULL);
	pfs_monotonic_cond_init(&l->wake);
	return 0;
}

void pfs_latency_free(struct pfs_latency *l)
{
	if (!l)
		return;
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* -1: it is not to be had; logged. */
static int hold(const struct pfs_latency *l)
{
	const int32_t microseconds = 0;
	int fd = open(l->path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, &microseconds, sizeof(microseconds)) == sizeof(microseconds))
		return fd;
	pfs_logf(l->logger, PFS_LOG_WARNING,
		 "low_latency: %s can't be held (%s): processors sleep as they like", l->path,
		 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Waits for a request. Lock. */
static void sleep_until_request(struct pfs_latency *l)
{
	__atomic_store_n(&l->asleep, true, __ATOMIC_SEQ_CST);
	while (!l->stopping && !__atomic_load_n(&l->requests, __ATOMIC_SEQ_CST))
		pthread_cond_wait(&l->wake, &l->lock);
	__atomic_store_n(&l->asleep, false, __ATOMIC_SEQ_CST);
}

/* Returns when none has come for a while. Lock. */
static void stay_while_requests(struct pfs_latency *l)
{
	while (!l->stopping && __atomic_exchange_n(&l->requests, false, __ATOMIC_SEQ_CST)) {
		const struct timespec until = pfs_monotonic_in_ms(PFS_LATENCY_HOLD_MS);
		int err = 0;

		while (!l->stopping && err != ETIMEDOUT)
			err = pthread_cond_timedwait(&l->wake, &l->lock, &until);
	}
}

static void *keep(void *arg)
{
	struct pfs_latency *l = arg;
	int fd = hold(l);

	pthread_mutex_lock(&l->lock);
	while (fd >= 0 && !l->stopping) {
		stay_while_requests(l);
		close(fd);
		sleep_until_request(l);
		fd = l->stopping ? -1 : hold(l);
	}
	pthread_mutex_unlock(&l->lock);
	if (fd >= 0)
		close(fd);
	return NULL;
}

int pfs_latency_start(struct pfs_latency *l)
{
	int err = pfs_thread_start(&l->thread, keep, l);

	l->running = err == 0;
	return err;
}

void pfs_latency_stop(struct pfs_latency *l)
{
	if (!l || !l->running)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	l->running = false;
}

void pfs_latency_note(struct pfs_latency *l)
{
	if (!l)
		return;
	if (!__atomic_load_n(&l->requests, __ATOMIC_RELAXED))
		__atomic_store_n(&l->requests, true, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&l->asleep, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&l->lock);
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}
