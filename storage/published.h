/* Rank 5: private, reading a published collection (FORMAT.md, "Published collections") from a
 * directory of any backend: generations and their objects, documents by key and by rank, payloads.
 * store_published.c makes a store of it.
 *
 * A generation is all that is read: what holds it sees nothing of others. Documents have the number
 * of their generation's base and their rank. In memory are the manifest (24 to 48 bytes for each
 * 1024 documents, 4 for each 64 KiB of objects), the dictionary, and a bounded number of decoded
 * blocks of keys; a document costs nothing.
 *
 * Threads: any function from any thread. `lock` guards what it says; nothing is read from the
 * origin under it. */
#ifndef PFS_PUBLISHED_H
#define PFS_PUBLISHED_H

#include <pthread.h>

#include "storage/chunk_cache.h"
#include "storage/codec.h"
#include "storage/manifest.h"
#include "storage/store.h"

struct pfs_published_block;

struct pfs_generation {
	struct pfs_generation *older;
	struct pfs_manifest m;
	uint32_t crc;		     /* of the manifest */
	uint32_t base;		     /* of object numbers */
	struct pfs_cached **files;   /* of the objects */
	struct pfs_codec_dict *dict; /* NULL: none */
	bool damaged_dict;	     /* there is one that can't be had */
	/* Lock of the collection: */
	unsigned refs;
	bool forgotten; /* nobody knows its numbers any more */
	struct pfs_reading {
		uint32_t page;	 /* object that was read last */
		bool next_asked; /* the beginning of the next one was asked for */
		uint64_t end;	 /* read up to here */
		uint64_t ahead;	 /* and asked for up to here */
	} reading;
};

#define PFS_PUBLISHED_BLOCKS 64u /* decoded ones that are kept */

struct pfs_published {
	struct pfs_dir *dir;
	struct pfs_chunk_cache *cache;
	struct pfs_logger logger;
	char *path;
	uint64_t path_hash; /* for names in the cache */

	pthread_mutex_t refresh_lock; /* outermost: one refresh at a time */
	bool unreachable;	      /* by the last refresh; under it */
	pthread_mutex_t lock;
	struct pfs_generation *newest; /* the current one, which is referenced */
	struct pfs_published_block *blocks[PFS_PUBLISHED_BLOCKS]; /* the last used first */
};

struct pfs_published_options {
	const struct pfs_io *io;
	const struct pfs_remote_options *remote; /* may be NULL */
	struct pfs_logger logger;
};

/* ---- published.c ---- */

/* Whether path is a URL, or a directory that has `current` and is no store. */
bool pfs_published_is_here(const char *path, const struct pfs_io *io);

/* -ENOENT, -ENOTDIR: there is none. -EUCLEAN, -EPROTONOSUPPORT, -EIO...: reason says more. */
int pfs_published_open(struct pfs_published **out, const char *path,
		       const struct pfs_published_options *options, struct pfs_reason *reason);
/* Nobody uses it any more. NULL is allowed. */
void pfs_published_close(struct pfs_published *p);

/* As pfs_store_refresh and pfs_store_forget. */
int pfs_published_refresh(struct pfs_published *p, struct pfs_refreshed *out);
void pfs_published_forget(struct pfs_published *p, uint32_t first);

/* A reference to the current generation; to the one that the object is of (NULL: there is none). */
struct pfs_generation *pfs_published_current(struct pfs_published *p);
struct pfs_generation *pfs_published_of(struct pfs_published *p, uint32_t object);
void pfs_generation_put(struct pfs_published *p, struct pfs_generation *g);

/* ---- published_find.c ---- */

/* A document, as the table of keys knows it. */
struct pfs_published_doc {
	uint32_t rank, block, slot; /* slot: in its page */
	uint8_t kind;
	struct pfs_key_entry entry;
};

/* -ENOENT; -EIO: that part of the table can't be had (logged). */
int pfs_published_find(struct pfs_published *p, struct pfs_generation *g, const struct pfs_key *key,
		       struct pfs_published_doc *doc);
/* -ENOENT: the rank is beyond the last. */
int pfs_published_at(struct pfs_published *p, struct pfs_generation *g, uint32_t rank,
		     struct pfs_published_doc *doc);

/* Keys from a rank on, up to max of them: how many. Reads ahead. */
ssize_t pfs_published_list(struct pfs_published *p, struct pfs_generation *g, uint32_t rank,
			   struct pfs_key *keys, size_t max);

void pfs_published_key(const struct pfs_published_doc *doc, struct pfs_key *key);
void pfs_published_attr(const struct pfs_generation *g, const struct pfs_published_doc *doc,
			struct pfs_attr *attr);

/* NULL: it is the block that the manifest speaks of, and its containers are in the page; else what
 * is wrong. */
const char *pfs_published_misfit(const struct pfs_generation *g, uint32_t number,
				 const struct pfs_key_block *block);

/* The generation is about to be freed. Lock. */
void pfs_published_drop_blocks(struct pfs_published *p, const struct pfs_generation *g);

/* ---- published_read.c ---- */

/* As pfs_read. -EIO: logged; -ESTALE, -EACCES: of the origin. */
ssize_t pfs_published_read(struct pfs_published *p, struct pfs_generation *g,
			   const struct pfs_published_doc *doc, uint64_t off, void *buf,
			   size_t len);

int pfs_published_place(struct pfs_published *p, struct pfs_generation *g,
			const struct pfs_published_doc *doc, struct pfs_place *out);

/* ---- published_check.c ---- */

/* Everything: bytes of all objects as the origin has them, pages, and the table of keys against
 * both. As pfs_store_check. */
int pfs_published_check(struct pfs_published *p, pfs_finding_fn *fn, pfs_progress_fn *progress,
			void *arg, const bool *stop, struct pfs_check_result *result);

#endif
