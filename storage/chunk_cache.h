/* Rank 2: files of a published collection, read through a cache of chunks that are verified.
 *
 * A file (an object of the collection: its bytes never change, and its name says which they are) is
 * read in chunks of PFS_CHUNK_SIZE, whose CRC32Cs the caller knows beforehand. A chunk is taken
 * from memory, from the cache directory or from its origin, in this order; whenever it comes from
 * one of the last two it is verified before anyone sees a byte of it. So nothing has to be known
 * about a cache directory: what a process that was killed, a full disk or a stranger has left there
 * is a chunk if its CRC is right, and nothing otherwise.
 *
 * The directory may be shared by several processes and stays between them. It holds one sparse
 * file for each object; when it has grown beyond size_max, those that were not used for the longest
 * time are removed (each process measures when it has written a part of that, so what the directory
 * takes exceeds size_max by no more than a thirty-second of it for each process). Memory holds
 * memory_max of verified chunks, and those that are being read.
 *
 * Threads. Any function from any thread. However many readers want a chunk at once, it is fetched
 * once; they share the outcome, also when that is an error. A failed fetch is forgotten: the next
 * reader tries again. */
#ifndef PFS_CHUNK_CACHE_H
#define PFS_CHUNK_CACHE_H

#include <sys/types.h>

#include "storage/base.h"
#include "storage/io.h"
#include "storage/log.h"

#define PFS_CHUNK_SIZE 65536u
#define PFS_CHUNK_CACHE_DEFAULT PFS_GIB
#define PFS_CHUNK_MEMORY_DEFAULT (32 * PFS_MIB)
#define PFS_CHUNK_PREFETCH_MAX (16 * PFS_MIB) /* no sense in being further ahead of a reader */

struct pfs_chunk_cache;
struct pfs_cached;

struct pfs_chunk_cache_options {
	const char *dir;     /* made where it is missing; NULL: memory only */
	uint64_t size_max;   /* bytes of disk; 0: PFS_CHUNK_CACHE_DEFAULT */
	uint64_t memory_max; /* bytes of verified chunks; 0: PFS_CHUNK_MEMORY_DEFAULT */
	unsigned threads;    /* that prefetch, at most; 0: 8 */
	unsigned recency_ms; /* how exactly the order of use is kept; 0: 10 s */
	struct pfs_logger logger;
};

/* A directory that can't be used is not an error: the log says so, and memory is used alone.
 * -ENOMEM, -EAGAIN. */
int pfs_chunk_cache_open(struct pfs_chunk_cache **out,
			 const struct pfs_chunk_cache_options *options);

/* When all its files are closed. NULL is allowed. */
void pfs_chunk_cache_close(struct pfs_chunk_cache *cache);

struct pfs_chunk_cache_stat {
	uint64_t memory_hits;	/* chunks that were there */
	uint64_t disk_hits;	/* chunks that the directory had */
	uint64_t shared;	/* chunks that somebody else was fetching already */
	uint64_t fetched;	/* chunks that came from the origin */
	uint64_t fetches;	/* requests to the origin for them */
	uint64_t fetched_bytes; /* what these brought */
	uint64_t failed;	/* requests that brought an error */
	uint64_t wrong_fetched; /* requests that brought chunks which did not verify */
	uint64_t wrong_cached;	/* chunks from the directory that were written and did not verify */
	uint64_t evicted;	/* files that were removed for the sake of size_max */
	uint64_t memory_bytes;	/* of chunks now */
	uint64_t disk_bytes;	/* of the directory, as last measured and grown since */
	bool on_disk;		/* there is a directory */
};
void pfs_chunk_cache_stat(struct pfs_chunk_cache *cache, struct pfs_chunk_cache_stat *out);

/* The object `name` of size bytes. origin is its directory, of any backend, and outlives *out; so
 * do chunk_crcs, one for each begun PFS_CHUNK_SIZE. Asks nothing of the origin. -EINVAL: a name
 * that is not plain (io.h). -ENOMEM. */
int pfs_cached_open(struct pfs_chunk_cache *cache, struct pfs_dir *origin, const char *name,
		    uint64_t size, const uint32_t *chunk_crcs, struct pfs_cached **out);

/* Verified bytes: the count, short only at the end of the object. -EIO: they could not be had, or
 * those that came were wrong (logged with the place); -ESTALE: the origin has another object by
 * that name by now, or none; -EACCES: it refuses; -ENOMEM. What is missing of a range is one
 * request of the origin for each stretch of up to PFS_CHUNK_WINDOW chunks; of a longer range the
 * rest is prefetched. */
#define PFS_CHUNK_WINDOW 16
ssize_t pfs_cached_read(struct pfs_cached *file, void *buf, size_t len, uint64_t off);

/* Has the range brought into memory and the directory in the background, several requests at a
 * time. Returns at once; a hint, which is dropped when there are too many. */
void pfs_cached_prefetch(struct pfs_cached *file, uint64_t off, uint64_t len);

/* What was read did not make sense although it verified: it is forgotten, in memory and in the
 * directory, so that the next reader has it from the origin. */
void pfs_cached_drop(struct pfs_cached *file, uint64_t off, uint64_t len);

/* When nobody reads it any more. Waits for what is being prefetched of it. NULL is allowed. */
void pfs_cached_close(struct pfs_cached *file);

/* Small files that are kept whole in the directory, for openings while the origin can't be reached.
 * The name as above. keep replaces what was there, atomically; kept gives a malloc'ed copy, -ENOENT
 * where there is none, or none that is whole. Without a directory: 0, and -ENOENT. */
int pfs_chunk_cache_keep(struct pfs_chunk_cache *cache, const char *name, const void *data,
			 size_t len);
int pfs_chunk_cache_kept(struct pfs_chunk_cache *cache, const char *name, void **data, size_t *len);

#endif
