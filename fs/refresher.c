#include "fs/refresher.h"

#include <stdlib.h>
#include <time.h>

#include "fs/thread.h"
#include "storage/monotonic.h"

struct pfs_refresher {
	unsigned seconds;
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool stopping;
};

/* True: the time is over; false: so is everything. */
static bool wait(struct pfs_refresher *r)
{
	const struct timespec until = pfs_monotonic_in_ms(UINT64_C(1000) * r->seconds);
	bool stopping;

	pthread_mutex_lock(&r->lock);
	while (!r->stopping && pthread_cond_timedwait(&r->stop, &r->lock, &until) == 0)
		;
	stopping = r->stopping;
	pthread_mutex_unlock(&r->lock);
	return !stopping;
}

static void *run(void *arg)
{
	struct pfs_refresher *r = arg;

	while (wait(r))
		r->fn(r->arg);
	return NULL;
}

int pfs_refresher_start(struct pfs_refresher **out, unsigned seconds, void (*fn)(void *arg),
			void *arg)
{
	struct pfs_refresher *r = calloc(1, sizeof(*r));
	int err;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->seconds = seconds;
	r->fn = fn;
	r->arg = arg;
	pthread_mutex_init(&r->lock, NULL);
	pfs_monotonic_cond_init(&r->stop);
	err = pfs_thread_start(&r->thread, run, r);
	if (err) {
		pthread_cond_destroy(&r->stop);
		pthread_mutex_destroy(&r->lock);
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void pfs_refresher_stop(struct pfs_refresher *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_signal(&r->stop);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_cond_destroy(&r->stop);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
