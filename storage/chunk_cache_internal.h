/* Rank 2: what the parts of the chunk cache share: chunk_cache.c (files and chunks in memory),
 * chunk_cache_fetch.c (where chunks come from), chunk_cache_prefetch.c (threads).
 *
 * A chunk in memory is one of
 *   LOADING  in the table; somebody (who holds a reference) gets its bytes, others wait for `done`
 *   READY    verified. In the table, or dropped from it and kept by its references alone
 *   FAILED   not in the table any more; err says why. Its references go, and it with them
 * LOADING -> READY | FAILED, once, by who made it. Bytes of a READY chunk never change.
 *
 * K1 a chunk is in the list of recency exactly when it is READY, in the table and without reference
 * K2 memory_used counts the READY chunks of the table
 *
 * One lock for all of it; nothing that waits for a disk or a network happens under it. */
#ifndef PFS_CHUNK_CACHE_INTERNAL_H
#define PFS_CHUNK_CACHE_INTERNAL_H

#include <pthread.h>

#include "storage/cache_dir.h"
#include "storage/chunk_cache.h"

/* Doubly linked, circular, with a head. */
struct pfs_chunk_link {
	struct pfs_chunk_link *next, *prev;
};

enum pfs_chunk_state { PFS_CHUNK_LOADING, PFS_CHUNK_READY, PFS_CHUNK_FAILED };

struct pfs_chunk {
	struct pfs_chunk_link recency; /* first member */
	struct pfs_chunk *next;	       /* of its bucket */
	struct pfs_object *object;
	uint32_t index; /* in the object */
	enum pfs_chunk_state state;
	int err;
	bool in_table;
	unsigned refs;
	size_t len;
	uint8_t data[];
};

/* What all files opened by one name share, whatever generation they belong to. */
struct pfs_object {
	struct pfs_object *next; /* of its bucket */
	unsigned refs;		 /* files and chunks; under the lock */
	uint64_t size;
	uint32_t crcs_crc;     /* of the CRCs: another name for the same bytes is another object */
	bool told_wrong;       /* of the directory's bytes, once */
	int64_t touched_ns;    /* the directory knows of the use so long ago */
	struct pfs_file *kept; /* of the origin, between fetches, for one of them at a time */
	struct pfs_dir *kept_from;
	char name[PFS_PLAIN_NAME_MAX + 1];
};

struct pfs_cached {
	struct pfs_chunk_cache *cache;
	struct pfs_object *object;
	struct pfs_dir *origin;
	const uint32_t *crcs;
	unsigned jobs; /* prefetches under way */
};

struct pfs_prefetch_job {
	struct pfs_cached *file;
	uint32_t first, count;
};
#define PFS_PREFETCH_JOBS 256

#define PFS_OBJECT_BUCKETS 4096
#define PFS_CHUNK_BUCKETS 4096
#define PFS_PREFETCH_THREADS_MAX 64

struct pfs_chunk_cache {
	struct pfs_cache_dir *dir; /* NULL: memory only */
	uint64_t memory_max;
	int64_t recency_ns;
	struct pfs_logger logger;
	struct pfs_log_limit limit;

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t done;  /* a chunk is not LOADING any more, or a file has no jobs */
	struct pfs_object *objects[PFS_OBJECT_BUCKETS];
	struct pfs_chunk *chunks[PFS_CHUNK_BUCKETS];
	struct pfs_chunk_link recent; /* head; next: used last */
	uint64_t memory_used;
	unsigned origins_kept;
	bool told_disk; /* that the directory takes no more */
	struct pfs_chunk_cache_stat counts;

	pthread_cond_t work; /* a job is there, or it ends */
	struct pfs_prefetch_job jobs[PFS_PREFETCH_JOBS];
	unsigned jobs_first, jobs_count;
	pthread_t threads[PFS_PREFETCH_THREADS_MAX];
	unsigned threads_max, threads_made, threads_idle;
	bool stopping;
};

static inline size_t pfs_chunk_len(const struct pfs_object *object, uint32_t index)
{
	return (size_t)pfs_min_u64(PFS_CHUNK_SIZE, object->size - (uint64_t)index * PFS_CHUNK_SIZE);
}

/* Up to PFS_CHUNK_WINDOW neighbouring chunks that somebody wants. */
struct pfs_chunk_window {
	struct pfs_cached *file;
	uint32_t first, count;
	struct pfs_chunk *chunks[PFS_CHUNK_WINDOW]; /* a reference to each; NULL: not claimed */
	bool own[PFS_CHUNK_WINDOW];		    /* it is ours to load */
};

/* Takes references to the window's chunks, making those that are missing; with only_missing to
 * those alone. -ENOMEM, then there are none. */
int pfs_chunk_window_claim(struct pfs_chunk_window *w, bool only_missing);
/* Waits until none is LOADING: 0, or the error of the first that failed. All are claimed. */
int pfs_chunk_window_wait(struct pfs_chunk_window *w);
void pfs_chunk_window_release(struct pfs_chunk_window *w);
/* The outcome of a chunk that is ours. */
void pfs_chunk_settle(struct pfs_chunk_cache *cache, struct pfs_chunk *chunk, int err);

/* Gets the bytes of the window's own chunks and settles each of them. */
void pfs_chunk_fetch(struct pfs_chunk_window *w);

int64_t pfs_chunk_now(void);

/* Ends the threads; jobs that are not begun are forgotten. */
void pfs_prefetch_stop(struct pfs_chunk_cache *cache);
/* Forgets the file's jobs, and waits for those under way. With the lock held. */
void pfs_prefetch_forget(struct pfs_cached *file);

#endif
