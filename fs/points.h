/* Rank 1: all points of one moment as one stream of NDJSON, each line as `payloadctl export` writes
 * it, whose size is known before it is read, and which can be read from any place.
 *
 * The size. A line's length is known from its id, the length of its payload, and whether that is
 * one JSON value in one line (else it is in base64), which only its bytes tell. So the first look
 * goes through all payloads, which takes as long as an export. What it has found (two bits a name
 * of the listing, and a place for each 64 names: the *sums*) is kept: a store that has not changed
 * needs nothing more, and one that has only the bytes of the documents that have changed; of the
 * others a look at the header of each.
 *
 * Of a published collection the table of keys tells all of it, and no payload is read.
 *
 * A damaged point has the line {"id":...,"error":"damaged"}, which no import takes: what is lost is
 * to be seen, and what follows can be read.
 *
 * Threads. All functions from any; one look goes through the store at a time, the others wait for
 * it. */
#ifndef PFS_POINTS_H
#define PFS_POINTS_H

#include "storage/store.h"

struct pfs_points;

/* A stream: a snapshot that is open, with its sums. */
struct pfs_moment;

/* Whether the one who waits for a look does not want it any more. */
typedef bool pfs_points_stop_fn(void *arg);

/* The store and the logger are borrowed. -ENOMEM. */
int pfs_points_new(struct pfs_points **out, struct pfs_store *store,
		   const struct pfs_logger *logger);
/* All moments are released before. May be NULL. */
void pfs_points_free(struct pfs_points *points);

/* The moment that is now: one that somebody has already if nothing was changed since, else a new
 * one. -ECANCELED: stop said so; errors of pfs_snapshot_open; -ENOMEM. */
int pfs_moment_take(struct pfs_points *points, struct pfs_moment **out, pfs_points_stop_fn *stop,
		    void *arg);
void pfs_moment_release(struct pfs_points *points, struct pfs_moment *moment);

uint64_t pfs_moment_size(const struct pfs_moment *moment);
int64_t pfs_moment_time(const struct pfs_moment *moment); /* ns since the epoch */

/* Fills buf with the len bytes from off on; they lie within the size. -EIO: a document can't be
 * read any more. */
int pfs_moment_read(struct pfs_moment *moment, uint64_t off, void *buf, size_t len);

#endif
