/* Where the segments are in what somebody names: a segment's directory, a shard's, a collection's,
 * or one of these out of an unpacked snapshot.
 *
 *	COLLECTION/config.json, COLLECTION/N/          a shard for each number N
 *	SHARD/segments/UUID/, SHARD/wal/
 *	SEGMENT/payload_storage/, SEGMENT/id_tracker.mappings, SEGMENT/segment.json,
 *SEGMENT/version.info snapshots of segments: UUID/files/ or UUID/snapshot/files/ hold what the
 *segment held
 *
 * As Qdrant does, it passes over segments that are marked as deleted (UUID.deleted), and over those
 * that were not completed (without version.info), unless they are named themselves. */
#ifndef TOOLS_QDRANT_FIND_H
#define TOOLS_QDRANT_FIND_H

#include "storage/log.h"
#include "tools/qdrant_file.h"

struct qdrant_shard {
	char *directory;
	char *wal;  /* its write-ahead log, which need not be there */
	bool whole; /* all of its segments are among the places */
};

struct qdrant_place {
	char *segment;	/* directory */
	uint32_t shard; /* index in shards */
};

struct qdrant_places {
	struct qdrant_shard *shards; /* by number */
	size_t shard_count;
	struct qdrant_place *segments; /* by shard and name */
	size_t count;
};

/* -ENOENT: nothing of Qdrant is there; -ENOTDIR, -EINVAL: it has to be unpacked or named otherwise
 * first; reason says what to do. -ENOMEM. On success *places has to be freed. */
int qdrant_find(struct qdrant_places *places, const char *path, const struct qdrant_notes *notes,
		struct pfs_reason *reason);
void qdrant_places_free(struct qdrant_places *places);

#endif
