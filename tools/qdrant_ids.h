/* The id tracker of one Qdrant segment: which point has which internal offset, and its version.
 *
 * Mutable, a log of changes without a header, of which later entries win:
 *	mutable_id_tracker.mappings	u8 1, u64 id, u32 offset (insert)  u8 3, u64 id (delete)
 *					u8 2, UUID, u32 offset (insert)    u8 4, UUID (delete)
 *	mutable_id_tracker.versions	u64 for each offset
 * Immutable:
 *	id_tracker.mappings		u64 count, then for each offset from 0 up
 *					u8 0, u64 id, u32 offset  or  u8 1, UUID, u32 offset
 *	id_tracker.deleted		one bit for each offset, lowest first, 1: deleted
 *	id_tracker.versions		u64 for each offset
 *
 * There are no checksums. What is known nevertheless: an offset belongs to one id for ever; offsets
 * are given without gaps; an offset with a version was inserted. Behind an entry that can't be one,
 * reading goes on where several in a row can. */
#ifndef TOOLS_QDRANT_IDS_H
#define TOOLS_QDRANT_IDS_H

#include "storage/key.h"
#include "storage/log.h"
#include "tools/qdrant_file.h"

enum qdrant_doubt {
	QDRANT_CERTAIN = 0,
	QDRANT_SHARED,	/* two ids claim its offset */
	QDRANT_TWICE,	/* its id has two offsets */
	QDRANT_DELETED, /* it may have been deleted */
};

/* A point that is alive, 32 bytes. Names order like pfs_key_compare. */
struct qdrant_point {
	uint8_t id[16]; /* the number big-endian in the last 8 bytes, or the UUID */
	uint64_t version;
	uint32_t internal;
	uint32_t segment : 24, uuid : 1, doubt : 3 /* enum qdrant_doubt */;
};

#define QDRANT_SEGMENTS_MAX (1u << 24)

/* Bytes of a mapping that are no entries. */
struct qdrant_gap {
	uint64_t offset, length;
};

struct qdrant_ids {
	struct qdrant_point *points; /* in no order; segment is 0 */
	size_t count;
	uint8_t *known; /* a bit for each offset that some id had */
	uint64_t known_end;

	char *mapping; /* path of the file of ids */
	struct qdrant_gap *gaps;
	size_t gap_count;
	bool damaged;	      /* ids of values may be missing */
	uint64_t unversioned; /* points whose last change was not completed */
	uint64_t version_max; /* of all offsets */
};

/* directory is the segment. -EPROTONOSUPPORT: ids are kept in a way that is not known, reason says
 * in which. -ENOENT: there is no id tracker. -ENOMEM. On success *ids has to be freed. */
int qdrant_ids_read(struct qdrant_ids *ids, const char *directory, const struct qdrant_notes *notes,
		    struct pfs_reason *reason);
void qdrant_ids_free(struct qdrant_ids *ids);

/* Whether an id was ever read for this offset. */
bool qdrant_ids_known(const struct qdrant_ids *ids, uint64_t internal);

struct pfs_key qdrant_point_key(const struct qdrant_point *point);

#endif
