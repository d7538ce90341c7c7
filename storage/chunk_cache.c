#include "storage/chunk_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/chunk_cache_internal.h"
#include "storage/crc.h"

#define READ_AHEAD (8 * PFS_MIB) /* within one long read */
#define RECENCY_MS_DEFAULT 10000
#define THREADS_DEFAULT 8

int64_t pfs_chunk_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;
}

/* ---- the cache ---- */

int pfs_chunk_cache_open(struct pfs_chunk_cache **out,
			 const struct pfs_chunk_cache_options *options)
{
	uint64_t size_max = options->size_max ? options->size_max : PFS_CHUNK_CACHE_DEFAULT;
	struct pfs_chunk_cache *cache = calloc(1, sizeof(*cache));
	struct pfs_reason reason = {.text = ""};

	*out = NULL;
	if (!cache)
		return -ENOMEM;
	cache->logger = options->logger;
	cache->memory_max = options->memory_max ? options->memory_max : PFS_CHUNK_MEMORY_DEFAULT;
	cache->recency_ns = (options->recency_ms ? options->recency_ms : RECENCY_MS_DEFAULT) *
			    (PFS_NSEC_PER_SEC / 1000);
	cache->threads_max = options->threads ? options->threads : THREADS_DEFAULT;
	if (cache->threads_max > PFS_PREFETCH_THREADS_MAX)
		cache->threads_max = PFS_PREFETCH_THREADS_MAX;
	cache->recent.next = cache->recent.prev = &cache->recent;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->done, NULL);
	pthread_cond_init(&cache->work, NULL);
	if (options->dir && pfs_cache_dir_open(&cache->dir, options->dir, size_max, &reason))
		pfs_logf(&cache->logger, PFS_LOG_WARNING,
			 "no cache directory, what was fetched is kept in memory only: %s",
			 reason.text[0] ? reason.text : options->dir);
	*out = cache;
	return 0;
}

static void free_chunk(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk);

static void unlink_recency(struct pfs_chunk *chunk)
{
	chunk->recency.next->prev = chunk->recency.prev;
	chunk->recency.prev->next = chunk->recency.next;
}

void pfs_chunk_cache_close(struct pfs_chunk_cache *cache)
{
	if (!cache)
		return;
	pfs_prefetch_stop(cache);
	while (cache->recent.next != &cache->recent) {
		struct pfs_chunk *chunk = (struct pfs_chunk *)cache->recent.next;

		unlink_recency(chunk);
		free_chunk(cache, chunk);
	}
	if (cache->dir)
		pfs_cache_dir_close(cache->dir);
	pthread_cond_destroy(&cache->work);
	pthread_cond_destroy(&cache->done);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

void pfs_chunk_cache_stat(struct pfs_chunk_cache *cache, struct pfs_chunk_cache_stat *out)
{
	pthread_mutex_lock(&cache->lock);
	*out = cache->counts;
	out->memory_bytes = cache->memory_used;
	pthread_mutex_unlock(&cache->lock);
	out->on_disk = cache->dir != NULL;
	if (cache->dir)
		pfs_cache_dir_usage(cache->dir, &out->disk_bytes, &out->evicted);
}

int pfs_chunk_cache_keep(struct pfs_chunk_cache *cache, const char *name, const void *data,
			 size_t len)
{
	if (!pfs_name_is_plain(name))
		return -EINVAL;
	return cache->dir ? pfs_cache_dir_keep(cache->dir, name, data, len) : 0;
}

int pfs_chunk_cache_kept(struct pfs_chunk_cache *cache, const char *name, void **data, size_t *len)
{
	*data = NULL;
	*len = 0;
	if (!pfs_name_is_plain(name))
		return -EINVAL;
	return cache->dir ? pfs_cache_dir_kept(cache->dir, name, data, len) : -ENOENT;
}

/* ---- objects ---- */

static struct pfs_object **object_bucket(struct pfs_chunk_cache *cache, const char *name)
{
	return &cache->objects[pfs_crc32c(0, name, strlen(name)) % PFS_OBJECT_BUCKETS];
}

static void put_object(struct pfs_chunk_cache *cache, struct pfs_object *object)
{
	struct pfs_object **p = object_bucket(cache, object->name);

	if (--object->refs)
		return;
	/* The files that it was opened for have taken it back. */
	(void)PFS_NEVER(&cache->logger, object->kept != NULL);
	while (*p != object)
		p = &(*p)->next;
	*p = object->next;
	free(object);
}

static struct pfs_object *get_object(struct pfs_chunk_cache *cache, const char *name, uint64_t size,
				     uint32_t crcs_crc)
{
	struct pfs_object **bucket = object_bucket(cache, name), *object;

	for (object = *bucket; object; object = object->next)
		if (object->size == size && object->crcs_crc == crcs_crc &&
		    strcmp(object->name, name) == 0)
			break;
	if (!object) {
		object = calloc(1, sizeof(*object));
		if (!object)
			return NULL;
		object->size = size;
		object->crcs_crc = crcs_crc;
		snprintf(object->name, sizeof(object->name), "%s", name);
		object->next = *bucket;
		*bucket = object;
	}
	object->refs++;
	return object;
}

int pfs_cached_open(struct pfs_chunk_cache *cache, struct pfs_dir *origin, const char *name,
		    uint64_t size, const uint32_t *chunk_crcs, struct pfs_cached **out)
{
	uint64_t count = (size + PFS_CHUNK_SIZE - 1) / PFS_CHUNK_SIZE;
	uint8_t bytes[4];
	uint32_t crcs_crc = 0;
	struct pfs_cached *file;

	*out = NULL;
	if (!pfs_name_is_plain(name) || size > INT64_MAX || count > UINT32_MAX)
		return -EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++) {
		pfs_put_le32(bytes, chunk_crcs[i]);
		crcs_crc = pfs_crc32c(crcs_crc, bytes, sizeof(bytes));
	}
	*file = (struct pfs_cached){.cache = cache, .origin = origin, .crcs = chunk_crcs};
	pthread_mutex_lock(&cache->lock);
	file->object = get_object(cache, name, size, crcs_crc);
	pthread_mutex_unlock(&cache->lock);
	if (!file->object) {
		free(file);
		return -ENOMEM;
	}
	*out = file;
	return 0;
}

/* A descriptor of the origin that was kept belongs to the origin of one file; it must not outlive
 * that. */
static struct pfs_file *take_kept(struct pfs_cached *file)
{
	struct pfs_object *object = file->object;
	struct pfs_file *kept = object->kept;

	if (!kept || object->kept_from != file->origin)
		return NULL;
	object->kept = NULL;
	file->cache->origins_kept--;
	return kept;
}

void pfs_cached_close(struct pfs_cached *file)
{
	struct pfs_chunk_cache *cache;
	struct pfs_file *kept;

	if (!file)
		return;
	cache = file->cache;
	pthread_mutex_lock(&cache->lock);
	pfs_prefetch_forget(file);
	kept = take_kept(file);
	put_object(cache, file->object);
	pthread_mutex_unlock(&cache->lock);
	if (kept)
		kept->ops->close(kept);
	free(file);
}

/* ---- chunks ---- */

static struct pfs_chunk **chunk_bucket(struct pfs_chunk_cache *cache,
				       const struct pfs_object *object, uint32_t index)
{
	uint64_t hash = pfs_mix64((uint64_t)(uintptr_t)object ^ (uint64_t)index << 40);

	return &cache->chunks[hash % PFS_CHUNK_BUCKETS];
}

static struct pfs_chunk *find_chunk(struct pfs_chunk_cache *cache, const struct pfs_object *object,
				    uint32_t index)
{
	struct pfs_chunk *chunk = *chunk_bucket(cache, object, index);

	while (chunk && (chunk->object != object || chunk->index != index))
		chunk = chunk->next;
	return chunk;
}

static void leave_table(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk)
{
	struct pfs_chunk **p = chunk_bucket(cache, chunk->object, chunk->index);

	while (*p != chunk)
		p = &(*p)->next;
	*p = chunk->next;
	chunk->in_table = false;
	if (chunk->state == PFS_CHUNK_READY)
		cache->memory_used -= chunk->len;
}

/* Without reference, and out of the list of recency. A chunk keeps its object, so that the address
 * of another does not become its name. */
static void free_chunk(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk)
{
	if (chunk->in_table)
		leave_table(cache, chunk);
	put_object(cache, chunk->object);
	free(chunk);
}

static void shrink(struct pfs_chunk_cache *cache)
{
	while (cache->memory_used > cache->memory_max && cache->recent.prev != &cache->recent) {
		struct pfs_chunk *oldest = (struct pfs_chunk *)cache->recent.prev;

		unlink_recency(oldest);
		free_chunk(cache, oldest);
	}
}

static void put_chunk(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk)
{
	if (--chunk->refs)
		return;
	if (!chunk->in_table) {
		free_chunk(cache, chunk);
		return;
	}
	chunk->recency.next = cache->recent.next;
	chunk->recency.prev = &cache->recent;
	chunk->recency.next->prev = &chunk->recency;
	cache->recent.next = &chunk->recency;
	shrink(cache);
}

static struct pfs_chunk *new_chunk(struct pfs_cached *file, uint32_t index)
{
	struct pfs_chunk **bucket = chunk_bucket(file->cache, file->object, index);
	size_t len = pfs_chunk_len(file->object, index);
	struct pfs_chunk *chunk = malloc(sizeof(*chunk) + len);

	if (!chunk)
		return NULL;
	*chunk = (struct pfs_chunk){.object = file->object,
				    .index = index,
				    .state = PFS_CHUNK_LOADING,
				    .in_table = true,
				    .refs = 1,
				    .len = len,
				    .next = *bucket};
	file->object->refs++;
	*bucket = chunk;
	return chunk;
}

void pfs_chunk_settle(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk, int err)
{
	pthread_mutex_lock(&cache->lock);
	if (err) {
		leave_table(cache, chunk);
		chunk->state = PFS_CHUNK_FAILED;
		chunk->err = err;
	} else {
		chunk->state = PFS_CHUNK_READY;
		cache->memory_used += chunk->len;
	}
	pthread_cond_broadcast(&cache->done);
	pthread_mutex_unlock(&cache->lock);
}

/* ---- windows ---- */

static void claim_one(struct pfs_chunk_window *w, uint32_t i, bool only_missing, int *err)
{
	struct pfs_chunk_cache *cache = w->file->cache;
	struct pfs_chunk *chunk = find_chunk(cache, w->file->object, w->first + i);

	w->chunks[i] = NULL;
	w->own[i] = false;
	if (chunk && only_missing)
		return;
	if (!chunk) {
		w->chunks[i] = new_chunk(w->file, w->first + i);
		w->own[i] = w->chunks[i] != NULL;
		if (!w->chunks[i])
			*err = -ENOMEM;
		return;
	}
	if (chunk->refs++ == 0)
		unlink_recency(chunk);
	if (chunk->state == PFS_CHUNK_READY)
		cache->counts.memory_hits++;
	else
		cache->counts.shared++;
	w->chunks[i] = chunk;
}

int pfs_chunk_window_claim(struct pfs_chunk_window *w, bool only_missing)
{
	int err = 0;

	pthread_mutex_lock(&w->file->cache->lock);
	for (uint32_t i = 0; i < w->count; i++)
		claim_one(w, i, only_missing, &err);
	pthread_mutex_unlock(&w->file->cache->lock);
	if (!err)
		return 0;
	for (uint32_t i = 0; i < w->count; i++)
		if (w->own[i])
			pfs_chunk_settle(w->file->cache, w->chunks[i], err);
	pfs_chunk_window_release(w);
	return err;
}

int pfs_chunk_window_wait(struct pfs_chunk_window *w)
{
	struct pfs_chunk_cache *cache = w->file->cache;
	int err = 0;

	pthread_mutex_lock(&cache->lock);
	for (uint32_t i = 0; i < w->count && !err; i++) {
		while (w->chunks[i]->state == PFS_CHUNK_LOADING)
			pthread_cond_wait(&cache->done, &cache->lock);
		if (w->chunks[i]->state == PFS_CHUNK_FAILED)
			err = w->chunks[i]->err;
	}
	pthread_mutex_unlock(&cache->lock);
	return err;
}

void pfs_chunk_window_release(struct pfs_chunk_window *w)
{
	pthread_mutex_lock(&w->file->cache->lock);
	for (uint32_t i = 0; i < w->count; i++)
		if (w->chunks[i])
			put_chunk(w->file->cache, w->chunks[i]);
	pthread_mutex_unlock(&w->file->cache->lock);
}

/* ---- reading ---- */

static int read_window(struct pfs_chunk_window *w, uint8_t *buf, size_t len, uint64_t off)
{
	size_t done = 0;
	int err;

	err = pfs_chunk_window_claim(w, false);
	if (err)
		return err;
	pfs_chunk_fetch(w);
	err = pfs_chunk_window_wait(w);
	for (uint32_t i = 0; i < w->count && !err; i++) {
		size_t skip = i ? 0 : (size_t)(off % PFS_CHUNK_SIZE);
		size_t n = (size_t)pfs_min_u64(w->chunks[i]->len - skip, len - done);

		memcpy(buf + done, w->chunks[i]->data + skip, n);
		done += n;
	}
	pfs_chunk_window_release(w);
	return err;
}

ssize_t pfs_cached_read(struct pfs_cached *file, void *buf, size_t len, uint64_t off)
{
	uint64_t size = file->object->size, end, ahead;

	if (off >= size)
		return 0;
	len = (size_t)pfs_min_u64(len, size - off);
	end = ahead = off + len;
	if (len > PFS_CHUNK_WINDOW * PFS_CHUNK_SIZE)
		ahead = off + PFS_CHUNK_WINDOW * PFS_CHUNK_SIZE;
	for (uint64_t at = off; at < end;) {
		uint64_t first = at / PFS_CHUNK_SIZE;
		uint64_t stop =
			pfs_min_u64(end, (first + PFS_CHUNK_WINDOW) * (uint64_t)PFS_CHUNK_SIZE);
		struct pfs_chunk_window w = {.file = file, .first = (uint32_t)first};
		int err;

		w.count = (uint32_t)((stop - 1) / PFS_CHUNK_SIZE - first + 1);
		if (ahead < end && ahead < stop + READ_AHEAD) {
			uint64_t to = pfs_min_u64(end, stop + READ_AHEAD);

			ahead = pfs_max_u64(ahead, stop);
			if (to > ahead)
				pfs_cached_prefetch(file, ahead, to - ahead);
			ahead = pfs_max_u64(ahead, to);
		}
		err = read_window(&w, (uint8_t *)buf + (at - off), (size_t)(stop - at), at);
		if (err)
			return err;
		at = stop;
	}
	return (ssize_t)len;
}

void pfs_cached_drop(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	struct pfs_chunk_cache *cache = file->cache;
	uint64_t size = file->object->size, end, first;

	if (off >= size || len == 0)
		return;
	end = off + pfs_min_u64(len, size - off);
	first = off / PFS_CHUNK_SIZE;
	if (cache->dir)
		pfs_cache_dir_forget(cache->dir, file->object->name, first * PFS_CHUNK_SIZE,
				     end - first * PFS_CHUNK_SIZE);
	pthread_mutex_lock(&cache->lock);
	for (uint64_t i = first; i * PFS_CHUNK_SIZE < end; i++) {
		struct pfs_chunk *chunk = find_chunk(cache, file->object, (uint32_t)i);

		if (!chunk || chunk->state != PFS_CHUNK_READY)
			continue;
		if (chunk->refs) {
			leave_table(cache, chunk);
		} else {
			unlink_recency(chunk);
			free_chunk(cache, chunk);
		}
	}
	pthread_mutex_unlock(&cache->lock);
}
