/* Of the reader of what Qdrant leaves: what its two parts, loading and reading, share. */
#ifndef TOOLS_QDRANT_INTERNAL_H
#define TOOLS_QDRANT_INTERNAL_H

#include "tools/qdrant.h"
#include "tools/qdrant_find.h"
#include "tools/qdrant_ids.h"
#include "tools/qdrant_pages.h"
#include "tools/qdrant_wal.h"

struct segment {
	const char *directory; /* of q->places */
	uint32_t shard;
	struct qdrant_ids ids;	/* points are moved to q->points */
	bool opened, has_pages; /* its payload storage was looked at; is there */
	uint32_t *orphans;	/* offsets of values of which no id was ever read */
	size_t orphan_count;
};

struct open_pages {
	struct qdrant_pages *pages;
	size_t segment;
};

struct qdrant {
	struct qdrant_places places;
	struct qdrant_wal *wals; /* of each shard */
	size_t wal_count;
	struct segment *segments;
	bool offset_ids;

	struct qdrant_point *points; /* by id, the best of each id first */
	size_t count, cap;
	size_t *best; /* their places in points, in the order of the pages */
	size_t best_count;

	struct open_pages open[2]; /* the one that is read, and one looked into besides */
	const struct qdrant_notes *notes;
	struct qdrant_notes silent;
	struct qdrant_stat stat;
	char reason[512];

	/* While it is read. */
	qdrant_item_fn *fn;
	void *arg;
	uint64_t done, total;
};

/* The payload storage of a segment, NULL in *out: it has none. slot: which of the two that are held
 * open it takes the place of. The notes on it are told once. */
int qdrant_get_pages(struct qdrant *q, size_t number, unsigned slot, struct qdrant_pages **out,
		     struct pfs_reason *reason);

/* Whether both have the same id. */
bool qdrant_same_id(const struct qdrant_point *a, const struct qdrant_point *b);

uint32_t qdrant_shard_of(const struct qdrant *q, const struct qdrant_point *point);

#endif
