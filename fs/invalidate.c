#include "fs/invalidate.h"

#include <stdlib.h>

#include "fs/thread.h"

/* Lives on the stack of the one who waits, or on the heap when nobody does. */
struct pfs_batch {
	struct pfs_batch *next;
	const struct pfs_invalidation *items;
	size_t count;
	bool waited; /* else freed by the thread */
	bool done;
};

struct pfs_invalidator {
	struct pfs_invalidate_ops ops;
	const struct pfs_logger *logger;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	struct pfs_batch *first, **last; /* under lock, like the next one */
	bool stopping;
	bool ended; /* the thread was joined; of who ends it */
};

struct pfs_later {
	struct pfs_batch batch;
	struct pfs_invalidation item;
};

/* What name (or "") keeps of it. ENODEV and ENOTCONN: the mount is going, and its caches with it.
 */
static void look_at(const struct pfs_invalidator *inv, int err, const char *name, const char *what)
{
	if (err && err != -ENOENT && err != -ENODEV && err != -ENOTCONN)
		pfs_logf(inv->logger, PFS_LOG_WARNING, "%s%scached %s not dropped: %s", name,
			 name[0] ? ": " : "", what, strerror(-err));
}

static void send_item(struct pfs_invalidator *inv, const struct pfs_invalidation *item)
{
	char name[PFS_NAME_MAX + 1];
	size_t len;

	if (item->key.kind == PFS_KEY_NONE) {
		look_at(inv, inv->ops.attributes(inv->ops.arg, item->gone), "", "attributes");
		return;
	}
	len = pfs_key_format(name, &item->key);
	look_at(inv, inv->ops.entry(inv->ops.arg, name, len, item->gone), name, "entry");
}

static void send_batch(struct pfs_invalidator *inv, const struct pfs_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		send_item(inv, &batch->items[i]);
	look_at(inv, inv->ops.listing(inv->ops.arg), "", "listing");
}

static void *run(void *arg)
{
	struct pfs_invalidator *inv = arg;

	pthread_mutex_lock(&inv->lock);
	for (;;) {
		struct pfs_batch *batch;

		while (!inv->first && !inv->stopping)
			pthread_cond_wait(&inv->wake, &inv->lock);
		batch = inv->first;
		if (!batch)
			break;
		inv->first = batch->next;
		if (!inv->first)
			inv->last = &inv->first;
		if (!inv->stopping) {
			pthread_mutex_unlock(&inv->lock);
			send_batch(inv, batch);
			pthread_mutex_lock(&inv->lock);
		}
		if (batch->waited) {
			batch->done = true;
			pthread_cond_broadcast(&inv->done);
		} else {
			free(batch);
		}
	}
	pthread_mutex_unlock(&inv->lock);
	return NULL;
}

static void free_invalidator(struct pfs_invalidator *inv)
{
	pthread_cond_destroy(&inv->done);
	pthread_cond_destroy(&inv->wake);
	pthread_mutex_destroy(&inv->lock);
	free(inv);
}

int pfs_invalidator_start(struct pfs_invalidator **out, const struct pfs_invalidate_ops *ops,
			  const struct pfs_logger *logger)
{
	struct pfs_invalidator *inv;
	int err;

	*out = NULL;
	inv = calloc(1, sizeof(*inv));
	if (!inv)
		return -ENOMEM;
	inv->ops = *ops;
	inv->logger = logger;
	inv->last = &inv->first;
	pthread_mutex_init(&inv->lock, NULL);
	pthread_cond_init(&inv->wake, NULL);
	pthread_cond_init(&inv->done, NULL);
	err = pfs_thread_start(&inv->thread, run, inv);
	if (err) {
		free_invalidator(inv);
		return err;
	}
	*out = inv;
	return 0;
}

void pfs_invalidator_end(struct pfs_invalidator *inv)
{
	if (!inv || inv->ended)
		return;
	pthread_mutex_lock(&inv->lock);
	inv->stopping = true;
	pthread_cond_signal(&inv->wake);
	pthread_mutex_unlock(&inv->lock);
	pthread_join(inv->thread, NULL);
	inv->ended = true;
}

void pfs_invalidator_stop(struct pfs_invalidator *inv)
{
	if (!inv)
		return;
	pfs_invalidator_end(inv);
	free_invalidator(inv);
}

/* Under lock. */
static void enqueue(struct pfs_invalidator *inv, struct pfs_batch *batch)
{
	*inv->last = batch;
	inv->last = &batch->next;
	pthread_cond_signal(&inv->wake);
}

void pfs_invalidate(struct pfs_invalidator *inv, const struct pfs_invalidation *items, size_t count)
{
	struct pfs_batch batch = {.items = items, .count = count, .waited = true};

	pthread_mutex_lock(&inv->lock);
	if (!inv->stopping) {
		enqueue(inv, &batch);
		while (!batch.done)
			pthread_cond_wait(&inv->done, &inv->lock);
	}
	pthread_mutex_unlock(&inv->lock);
}

int pfs_invalidate_later(struct pfs_invalidator *inv, const struct pfs_invalidation *item)
{
	struct pfs_later *later = calloc(1, sizeof(*later));
	bool queued;

	if (!later)
		return -ENOMEM;
	later->item = *item;
	later->batch.items = &later->item;
	later->batch.count = 1;
	pthread_mutex_lock(&inv->lock);
	queued = !inv->stopping;
	if (queued)
		enqueue(inv, &later->batch);
	pthread_mutex_unlock(&inv->lock);
	if (!queued)
		free(later);
	return 0;
}
