#include "fs/releaser.h"

#include <stdlib.h>

#include "fs/thread.h"

#define CAP_FIRST 64

struct pfs_releaser {
	struct pfs_store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running; /* under lock, like what follows: the thread takes what is noted */
	uint32_t *objects;
	size_t count, cap;
};

int pfs_releaser_new(struct pfs_releaser **out, struct pfs_store *store)
{
	struct pfs_releaser *r = calloc(1, sizeof(*r));

	*out = r;
	if (!r)
		return -ENOMEM;
	r->store = store;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	return 0;
}

void pfs_releaser_free(struct pfs_releaser *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r->objects);
	free(r);
}

static void *run(void *arg)
{
	struct pfs_releaser *r = arg;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		uint32_t *objects;
		size_t count;

		while (!r->count && r->running)
			pthread_cond_wait(&r->wake, &r->lock);
		if (!r->count)
			break;
		objects = r->objects;
		count = r->count;
		r->objects = NULL;
		r->count = r->cap = 0;
		pthread_mutex_unlock(&r->lock);
		for (size_t i = 0; i < count; i++)
			pfs_release(r->store, objects[i]);
		free(objects);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int pfs_releaser_start(struct pfs_releaser *r)
{
	int err;

	pthread_mutex_lock(&r->lock);
	err = pfs_thread_start(&r->thread, run, r);
	r->running = err == 0;
	pthread_mutex_unlock(&r->lock);
	return err;
}

void pfs_releaser_stop(struct pfs_releaser *r)
{
	bool running;

	pthread_mutex_lock(&r->lock);
	running = r->running;
	r->running = false;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
	if (running)
		pthread_join(r->thread, NULL);
}

/* Under lock. False: it can't be. */
static bool take_note(struct pfs_releaser *r, uint32_t object)
{
	if (!r->running)
		return false;
	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : CAP_FIRST;
		uint32_t *objects = realloc(r->objects, cap * sizeof(*objects));

		if (!objects)
			return false;
		r->objects = objects;
		r->cap = cap;
	}
	r->objects[r->count++] = object;
	if (r->count == 1)
		pthread_cond_signal(&r->wake);
	return true;
}

void pfs_releaser_add(struct pfs_releaser *r, uint32_t object)
{
	bool noted;

	pthread_mutex_lock(&r->lock);
	noted = take_note(r, object);
	pthread_mutex_unlock(&r->lock);
	if (!noted)
		pfs_release(r->store, object);
}
