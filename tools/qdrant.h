/* Reads the points that a stopped Qdrant, or a snapshot of it, holds on disk: for each id the
 * payload of the segment that has the highest version of it.
 *
 * Memory: 40 bytes a point, and what qdrant_pages.h says for one or two segments. Nothing is
 * written. One thread. */
#ifndef TOOLS_QDRANT_H
#define TOOLS_QDRANT_H

#include "storage/key.h"
#include "storage/log.h"
#include "tools/qdrant_file.h"

/* A point, or a thing that is none but must not be lost. What it points to is borrowed during the
 * call. */
struct qdrant_item {
	bool good;	    /* a point: key and payload are as Qdrant shows them */
	struct pfs_key key; /* kind NONE: not known */

	const uint8_t *payload; /* JSON object; NULL: it can't be decoded */
	size_t len;

	/* Of what is not good: where it lies, and why. */
	const char *file;
	uint64_t offset, length;
	const char *reason;
	const uint8_t *stored; /* the bytes there, as far as they could be read; NULL: none */
	size_t stored_len;
};

/* Returns non-zero to stop. done of total points were looked at. */
typedef int qdrant_item_fn(void *arg, const struct qdrant_item *item, uint64_t done,
			   uint64_t total);

struct qdrant_stat {
	size_t shards, segments;
	uint64_t points;     /* different ids */
	uint64_t superseded; /* older versions of points in other segments */
	uint64_t ownerless;  /* values that belong to no point, in segments that are not damaged */
	/* What was there in the end may be more than what was read: */
	uint64_t unversioned; /* points whose last change was interrupted */
	uint64_t unread;      /* operations in write-ahead logs that are in no segment */
	bool damaged;	      /* files are damaged so that points may be missing unseen */
};

struct qdrant;

/* path: a segment, a shard or a collection. offset_ids: of a single segment, the internal offsets
 * are taken as ids, and its id tracker is not read. -ENOENT, -ENOTDIR, -EINVAL, -EPROTONOSUPPORT,
 * -EBUSY (a running Qdrant has it): reason says what to do. -ENOMEM. The notes' function may be
 * called until the end. */
int qdrant_open(struct qdrant **out, const char *path, bool offset_ids,
		const struct qdrant_notes *notes, struct pfs_reason *reason);
void qdrant_close(struct qdrant *q);

/* Gives everything to fn, each point once. 0, what fn returned, or -ENOMEM. */
int qdrant_read(struct qdrant *q, qdrant_item_fn *fn, void *arg);

/* Complete after qdrant_read. */
const struct qdrant_stat *qdrant_stat(const struct qdrant *q);

#endif
