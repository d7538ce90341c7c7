/* For the tests of the chunk cache: an origin in memory that counts what it is asked, can be made
 * to wait, to fail and to lie. */
#ifndef PFS_TEST_CHUNK_CACHE_HELPERS_H
#define PFS_TEST_CHUNK_CACHE_HELPERS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/chunk_cache.h"
#include "storage/crc.h"

#define CHUNK ((uint64_t)PFS_CHUNK_SIZE)
#define OBJECTS_MAX 16

struct object {
	char name[32];
	uint64_t size;
	uint8_t *bytes;
	uint32_t *crcs;
};

struct origin {
	struct pfs_dir base; /* first member */
	struct object objects[OBJECTS_MAX];
	unsigned count;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut;	       /* reads wait */
	unsigned waiting;      /* reads that do */
	unsigned waiting_most; /* at once, ever */
	unsigned reads, opens, open_files;
	uint64_t read_bytes;
	int err; /* what reads give, fail_count of them */
	unsigned fail_count;
	unsigned lie_count;   /* reads whose last byte is wrong */
	unsigned short_count; /* reads that bring one byte less */
};

struct origin_file {
	struct pfs_file base;
	struct origin *origin;
	const struct object *object;
};

static int origin_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	struct origin *origin = (struct origin *)dir;

	assert_int_equal(flags, 0);
	*out = NULL;
	for (unsigned i = 0; i < origin->count; i++) {
		struct origin_file *file;

		if (strcmp(origin->objects[i].name, name) != 0)
			continue;
		file = malloc(sizeof(*file));
		*file = (struct origin_file){
			.base.ops = dir->ops, .origin = origin, .object = &origin->objects[i]};
		pthread_mutex_lock(&origin->lock);
		origin->opens++;
		origin->open_files++;
		pthread_mutex_unlock(&origin->lock);
		*out = &file->base;
		return 0;
	}
	return -ENOENT;
}

static void origin_close(struct pfs_file *base)
{
	struct origin *origin = ((struct origin_file *)base)->origin;

	pthread_mutex_lock(&origin->lock);
	origin->open_files--;
	pthread_mutex_unlock(&origin->lock);
	free(base);
}

static ssize_t origin_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	struct origin_file *file = (struct origin_file *)base;
	struct origin *origin = file->origin;
	ssize_t n;

	pthread_mutex_lock(&origin->lock);
	origin->reads++;
	if (++origin->waiting > origin->waiting_most)
		origin->waiting_most = origin->waiting;
	pthread_cond_broadcast(&origin->changed);
	while (origin->shut)
		pthread_cond_wait(&origin->changed, &origin->lock);
	origin->waiting--;
	assert_true(off < file->object->size);
	n = (ssize_t)pfs_min_u64(len, file->object->size - off);
	memcpy(buf, file->object->bytes + off, (size_t)n);
	origin->read_bytes += (uint64_t)n;
	if (origin->fail_count) {
		origin->fail_count--;
		n = origin->err;
	} else if (origin->lie_count) {
		origin->lie_count--;
		((uint8_t *)buf)[n - 1] ^= 1;
	} else if (origin->short_count) {
		origin->short_count--;
		n--;
	}
	pthread_mutex_unlock(&origin->lock);
	return n;
}

static const struct pfs_io_ops origin_ops = {
	.open = origin_open,
	.close = origin_close,
	.read = origin_read,
};

static void add_object(struct origin *origin, uint64_t size)
{
	struct object *object = &origin->objects[origin->count];
	uint64_t x = origin->count + 1;

	assert_true(origin->count < OBJECTS_MAX);
	snprintf(object->name, sizeof(object->name), "page-%04u.pfp", origin->count++);
	object->size = size;
	object->bytes = malloc(size + 1);
	object->crcs = malloc((size / CHUNK + 1) * sizeof(*object->crcs));
	for (uint64_t i = 0; i < size; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		object->bytes[i] = (uint8_t)(x >> 56);
	}
	for (uint64_t off = 0; off < size; off += CHUNK)
		object->crcs[off / CHUNK] =
			pfs_crc32c(0, object->bytes + off, pfs_min_u64(CHUNK, size - off));
}

static struct origin *make_origin(unsigned count, uint64_t size)
{
	struct origin *origin = calloc(1, sizeof(*origin));

	origin->base.ops = &origin_ops;
	pthread_mutex_init(&origin->lock, NULL);
	pthread_cond_init(&origin->changed, NULL);
	for (unsigned i = 0; i < count; i++)
		add_object(origin, size);
	return origin;
}

static void free_origin(struct origin *origin)
{
	assert_int_equal(origin->open_files, 0);
	for (unsigned i = 0; i < origin->count; i++) {
		free(origin->objects[i].bytes);
		free(origin->objects[i].crcs);
	}
	pthread_cond_destroy(&origin->changed);
	pthread_mutex_destroy(&origin->lock);
	free(origin);
}

static inline void set_shut(struct origin *origin, bool shut)
{
	pthread_mutex_lock(&origin->lock);
	origin->shut = shut;
	pthread_cond_broadcast(&origin->changed);
	pthread_mutex_unlock(&origin->lock);
}

static inline void wait_for_waiting(struct origin *origin, unsigned count)
{
	pthread_mutex_lock(&origin->lock);
	while (origin->waiting < count)
		pthread_cond_wait(&origin->changed, &origin->lock);
	pthread_mutex_unlock(&origin->lock);
}

static inline unsigned waiting_now(struct origin *origin)
{
	unsigned n;

	pthread_mutex_lock(&origin->lock);
	n = origin->waiting;
	pthread_mutex_unlock(&origin->lock);
	return n;
}

static struct pfs_cached *open_object(struct pfs_chunk_cache *cache, struct origin *origin,
				      unsigned i)
{
	const struct object *object = &origin->objects[i];
	struct pfs_cached *file;

	assert_int_equal(pfs_cached_open(cache, &origin->base, object->name, object->size,
					 object->crcs, &file),
			 0);
	return file;
}

/* The bytes of the object's range, or an error: which. */
static inline int read_right(struct pfs_cached *file, const struct object *object, uint64_t off,
			     size_t len)
{
	uint8_t *buf = malloc(len + 1);
	ssize_t n = pfs_cached_read(file, buf, len, off);

	if (n >= 0) {
		uint64_t there = off < object->size ? object->size - off : 0;

		assert_int_equal(n, pfs_min_u64(len, there));
		assert_memory_equal(buf, object->bytes + (there ? off : 0), (size_t)n);
	}
	free(buf);
	return n < 0 ? (int)n : 0;
}

/* Messages, counted. */
struct messages {
	pthread_mutex_t lock;
	unsigned count;
	char last[PFS_LOG_LINE_MAX];
};

static inline void take_message(void *arg, enum pfs_log_level level, const char *line)
{
	struct messages *messages = arg;

	(void)level;
	pthread_mutex_lock(&messages->lock);
	messages->count++;
	snprintf(messages->last, sizeof(messages->last), "%s", line);
	pthread_mutex_unlock(&messages->lock);
}

static inline struct pfs_chunk_cache *open_cache(const char *dir, uint64_t size_max,
						 uint64_t memory_max, struct messages *messages)
{
	const struct pfs_chunk_cache_options options = {
		.dir = dir,
		.size_max = size_max,
		.memory_max = memory_max,
		.recency_ms = 1,
		.logger = {.fn = take_message, .arg = messages},
	};
	struct pfs_chunk_cache *cache;

	assert_int_equal(pfs_chunk_cache_open(&cache, &options), 0);
	return cache;
}

#endif
