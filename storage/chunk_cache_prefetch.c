/* Prefetching: threads, made when there is something to do, that load windows nobody waits for. */
#include <signal.h>

#include "storage/chunk_cache_internal.h"

static void run_job(const struct pfs_prefetch_job *job)
{
	struct pfs_chunk_window w = {.file = job->file, .first = job->first, .count = job->count};

	if (pfs_chunk_window_claim(&w, true))
		return;
	pfs_chunk_fetch(&w);
	pfs_chunk_window_release(&w);
}

static void *prefetcher(void *arg)
{
	struct pfs_chunk_cache *cache = arg;

	pthread_mutex_lock(&cache->lock);
	while (!cache->stopping) {
		struct pfs_prefetch_job job;

		if (!cache->jobs_count) {
			cache->threads_idle++;
			pthread_cond_wait(&cache->work, &cache->lock);
			cache->threads_idle--;
			continue;
		}
		job = cache->jobs[cache->jobs_first];
		cache->jobs_first = (cache->jobs_first + 1) % PFS_PREFETCH_JOBS;
		cache->jobs_count--;
		pthread_mutex_unlock(&cache->lock);
		run_job(&job);
		pthread_mutex_lock(&cache->lock);
		if (--job.file->jobs == 0)
			pthread_cond_broadcast(&cache->done);
	}
	pthread_mutex_unlock(&cache->lock);
	return NULL;
}

/* Signals are for the program's own threads. One that can't be had is not missed. */
static void make_thread(struct pfs_chunk_cache *cache)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&cache->threads[cache->threads_made], NULL, prefetcher, cache) == 0)
		cache->threads_made++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void add_job(struct pfs_chunk_cache *cache, const struct pfs_prefetch_job *job)
{
	if (cache->jobs_count == PFS_PREFETCH_JOBS)
		return;
	if (cache->jobs_count >= cache->threads_idle && cache->threads_made < cache->threads_max)
		make_thread(cache);
	if (!cache->threads_made)
		return;
	cache->jobs[(cache->jobs_first + cache->jobs_count) % PFS_PREFETCH_JOBS] = *job;
	cache->jobs_count++;
	job->file->jobs++;
	pthread_cond_signal(&cache->work);
}

void pfs_cached_prefetch(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	uint64_t size = file->object->size, first, end;

	if (off >= size || len == 0)
		return;
	len = pfs_min_u64(len, PFS_CHUNK_PREFETCH_MAX);
	first = off / PFS_CHUNK_SIZE;
	end = (off + pfs_min_u64(len, size - off) - 1) / PFS_CHUNK_SIZE + 1;
	pthread_mutex_lock(&file->cache->lock);
	for (; first < end; first += PFS_CHUNK_WINDOW) {
		struct pfs_prefetch_job job = {
			.file = file,
			.first = (uint32_t)first,
			.count = (uint32_t)pfs_min_u64(PFS_CHUNK_WINDOW, end - first),
		};

		add_job(file->cache, &job);
	}
	pthread_mutex_unlock(&file->cache->lock);
}

void pfs_prefetch_forget(struct pfs_cached *file)
{
	struct pfs_chunk_cache *cache = file->cache;
	unsigned kept = 0;

	for (unsigned i = 0; i < cache->jobs_count; i++) {
		struct pfs_prefetch_job *job =
			&cache->jobs[(cache->jobs_first + i) % PFS_PREFETCH_JOBS];

		if (job->file == file)
			file->jobs--;
		else
			cache->jobs[(cache->jobs_first + kept++) % PFS_PREFETCH_JOBS] = *job;
	}
	cache->jobs_count = kept;
	while (file->jobs)
		pthread_cond_wait(&cache->done, &cache->lock);
}

void pfs_prefetch_stop(struct pfs_chunk_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	cache->stopping = true;
	pthread_cond_broadcast(&cache->work);
	pthread_mutex_unlock(&cache->lock);
	for (unsigned i = 0; i < cache->threads_made; i++)
		pthread_join(cache->threads[i], NULL);
}
