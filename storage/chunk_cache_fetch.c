/* Where chunks come from: the directory, else the origin, which is asked once for neighbours. */
#include <inttypes.h>
#include <stdlib.h>

#include "storage/chunk_cache_internal.h"
#include "storage/crc.h"

/* Files of the origin that stay open between fetches: opening costs next to nothing, but what a
 * backend remembers of a file (a server's version of it) is lost with it. */
#define ORIGINS_KEPT_MAX 256

/* Neighbours of a window that are to be loaded, in one buffer. */
struct run {
	struct pfs_chunk_window *w;
	uint32_t from, to; /* positions in the window */
	uint8_t *buf;
};

static uint64_t run_off(const struct run *run)
{
	return (uint64_t)(run->w->first + run->from) * PFS_CHUNK_SIZE;
}

static size_t run_len(const struct run *run)
{
	uint64_t end = (uint64_t)(run->w->first + run->to) * PFS_CHUNK_SIZE;

	return (size_t)(pfs_min_u64(end, run->w->file->object->size) - run_off(run));
}

/* The chunk's bytes stand in the run, got bytes of which are there. */
static bool verifies(const struct run *run, uint32_t i, size_t got)
{
	size_t at = (size_t)(i - run->from) * PFS_CHUNK_SIZE;
	const struct pfs_chunk *chunk = run->w->chunks[i];

	return got >= at + chunk->len &&
	       pfs_crc32c(0, run->buf + at, chunk->len) == run->w->file->crcs[chunk->index];
}

static void take(const struct run *run, uint32_t i)
{
	struct pfs_chunk *chunk = run->w->chunks[i];

	memcpy(chunk->data, run->buf + (size_t)(i - run->from) * PFS_CHUNK_SIZE, chunk->len);
	run->w->own[i] = false; /* before it can be freed */
	pfs_chunk_settle(run->w->file->cache, chunk, 0);
}

static void fail(const struct run *run, int err)
{
	for (uint32_t i = run->from; i < run->to; i++)
		if (run->w->own[i]) {
			run->w->own[i] = false;
			pfs_chunk_settle(run->w->file->cache, run->w->chunks[i], err);
		}
}

static void count(struct pfs_chunk_cache *cache, uint64_t *counter, uint64_t n)
{
	pthread_mutex_lock(&cache->lock);
	*counter += n;
	pthread_mutex_unlock(&cache->lock);
}

/* ---- the directory ---- */

/* A chunk of zeros was never written, or is a hole again. */
static void tell_wrong(const struct run *run, uint32_t i, size_t got)
{
	size_t at = (size_t)(i - run->from) * PFS_CHUNK_SIZE;
	struct pfs_object *object = run->w->file->object;
	struct pfs_chunk_cache *cache = run->w->file->cache;
	bool tell;

	if (got <= at || pfs_is_zero(run->buf + at, (size_t)pfs_min_u64(got - at, PFS_CHUNK_SIZE)))
		return;
	pthread_mutex_lock(&cache->lock);
	cache->counts.wrong_cached++;
	tell = !object->told_wrong;
	object->told_wrong = true;
	pthread_mutex_unlock(&cache->lock);
	if (tell)
		pfs_logf(&cache->logger, PFS_LOG_WARNING,
			 "cache file of %s is damaged at byte %" PRIu64 ": fetched anew",
			 object->name, run_off(run) + at);
}

static bool is_due_for_touch(struct pfs_chunk_cache *cache, struct pfs_object *object)
{
	int64_t now = pfs_chunk_now();
	bool due;

	pthread_mutex_lock(&cache->lock);
	due = now - object->touched_ns >= cache->recency_ns || object->touched_ns == 0;
	if (due)
		object->touched_ns = now;
	pthread_mutex_unlock(&cache->lock);
	return due;
}

static void from_directory(const struct run *run)
{
	struct pfs_chunk_cache *cache = run->w->file->cache;
	struct pfs_object *object = run->w->file->object;
	uint64_t found = 0;
	ssize_t n;

	n = pfs_cache_dir_read(cache->dir, object->name, run->buf, run_len(run), run_off(run),
			       is_due_for_touch(cache, object));
	if (n <= 0)
		return;
	for (uint32_t i = run->from; i < run->to; i++) {
		if (verifies(run, i, (size_t)n)) {
			take(run, i);
			found++;
		} else {
			tell_wrong(run, i, (size_t)n);
		}
	}
	count(cache, &cache->counts.disk_hits, found);
}

static void to_directory(const struct run *run, const uint8_t *buf, uint64_t off, size_t len)
{
	struct pfs_chunk_cache *cache = run->w->file->cache;
	bool tell = false;
	int err;

	if (!cache->dir)
		return;
	err = pfs_cache_dir_write(cache->dir, run->w->file->object->name, buf, len, off);
	pthread_mutex_lock(&cache->lock);
	tell = err && !cache->told_disk;
	cache->told_disk = err != 0;
	pthread_mutex_unlock(&cache->lock);
	if (tell)
		pfs_logf(&cache->logger, PFS_LOG_WARNING,
			 "the cache directory takes no more, what was fetched is kept in memory "
			 "only: %s",
			 strerror(-err));
}

/* ---- the origin ---- */

static int borrow_origin(struct pfs_cached *file, struct pfs_file **out)
{
	struct pfs_object *object = file->object;

	*out = NULL;
	pthread_mutex_lock(&file->cache->lock);
	if (object->kept && object->kept_from == file->origin) {
		*out = object->kept;
		object->kept = NULL;
		file->cache->origins_kept--;
	}
	pthread_mutex_unlock(&file->cache->lock);
	return *out ? 0 : file->origin->ops->open(file->origin, object->name, 0, out);
}

static void return_origin(struct pfs_cached *file, struct pfs_file *origin)
{
	struct pfs_object *object = file->object;

	pthread_mutex_lock(&file->cache->lock);
	if (!object->kept && file->cache->origins_kept < ORIGINS_KEPT_MAX) {
		object->kept = origin;
		object->kept_from = file->origin;
		file->cache->origins_kept++;
		origin = NULL;
	}
	pthread_mutex_unlock(&file->cache->lock);
	if (origin)
		origin->ops->close(origin);
}

/* Bytes, with the file of the origin that they are from, to be returned or closed; or an error, as
 * the origin has it. -ESTALE: what it has by that name is not what this file was before. */
static ssize_t ask(const struct run *run, struct pfs_file **origin)
{
	struct pfs_cached *file = run->w->file;
	ssize_t n;
	int err;

	err = borrow_origin(file, origin);
	if (err)
		return err;
	n = (*origin)->ops->read(*origin, run->buf, run_len(run), run_off(run));
	if (n < 0)
		(*origin)->ops->close(*origin);
	pthread_mutex_lock(&file->cache->lock);
	file->cache->counts.fetches++;
	if (n < 0)
		file->cache->counts.failed++;
	else
		file->cache->counts.fetched_bytes += (uint64_t)n;
	pthread_mutex_unlock(&file->cache->lock);
	return n;
}

/* Gives out what verifies, and says at which byte that ends. */
static uint64_t give_out(const struct run *run, size_t got)
{
	struct pfs_chunk_cache *cache = run->w->file->cache;
	uint64_t bad = UINT64_MAX, good = 0;
	uint32_t i = run->from;

	while (i < run->to) {
		uint32_t begin = i;
		size_t at = (size_t)(begin - run->from) * PFS_CHUNK_SIZE, end = at;

		for (; i < run->to && run->w->own[i] && verifies(run, i, got); i++) {
			end += run->w->chunks[i]->len;
			good++;
		}
		if (end > at)
			to_directory(run, run->buf + at, run_off(run) + at, end - at);
		for (uint32_t k = begin; k < i; k++)
			take(run, k);
		if (i < run->to && run->w->own[i] && bad == UINT64_MAX)
			bad = run_off(run) + (uint64_t)(i - run->from) * PFS_CHUNK_SIZE;
		if (i < run->to)
			i++;
	}
	count(cache, &cache->counts.fetched, good);
	return bad;
}

static int error_of(const struct pfs_cached *file, int err)
{
	if (err == -ENOENT)
		pfs_logf_limited(&file->cache->limit, &file->cache->logger, PFS_LOG_WARNING,
				 "%s is not there any more: its generation was removed",
				 file->object->name);
	switch (err) {
	case -ENOENT:
	case -ESTALE: return -ESTALE;
	case -EACCES:
	case -ENOMEM: return err;
	default: return -EIO;
	}
}

/* Bytes that do not verify are asked for once more, and past what was open: something on the way
 * may have mixed two versions of the object, and what is open may be one that has been replaced by
 * a good one since. */
static void from_origin(const struct run *run)
{
	struct pfs_cached *file = run->w->file;
	struct pfs_chunk_cache *cache = file->cache;
	uint64_t bad = run_off(run);
	bool other = false;

	for (unsigned attempt = 0; attempt < 2; attempt++) {
		struct pfs_file *origin;
		ssize_t n = ask(run, &origin);

		if (n == -ESTALE && !other) {
			other = true;
			continue;
		}
		if (n < 0) {
			fail(run, error_of(file, (int)n));
			return;
		}
		bad = give_out(run, (size_t)n);
		if (bad == UINT64_MAX) {
			return_origin(file, origin);
			return;
		}
		origin->ops->close(origin);
		count(cache, &cache->counts.wrong_fetched, 1);
	}
	pfs_logf_limited(
		&cache->limit, &cache->logger, PFS_LOG_ERROR,
		other ? "%s: another object is there by now, not the one that was "
			"published (byte %" PRIu64 ")"
		      : "damage in %s at byte %" PRIu64
			": what came does not have the checksum that it was published with",
		file->object->name, bad);
	fail(run, other ? -ESTALE : -EIO);
}

/* ---- both ---- */

static bool next_run(struct run *run)
{
	const struct pfs_chunk_window *w = run->w;

	for (run->from = run->to; run->from < w->count && !w->own[run->from]; run->from++)
		;
	for (run->to = run->from; run->to < w->count && w->own[run->to]; run->to++)
		;
	return run->from < w->count;
}

void pfs_chunk_fetch(struct pfs_chunk_window *w)
{
	struct run run = {.w = w};

	if (!next_run(&run))
		return;
	run.buf = malloc(PFS_CHUNK_WINDOW * (size_t)PFS_CHUNK_SIZE);
	if (!run.buf) {
		run.from = 0;
		run.to = w->count;
		fail(&run, -ENOMEM);
		return;
	}
	if (w->file->cache->dir) {
		do
			from_directory(&run);
		while (next_run(&run));
		run.to = 0;
	} else {
		run.to = 0;
	}
	while (next_run(&run))
		from_origin(&run);
	free(run.buf);
}
