/* Rank 1: json=check: tells which payloads are not one valid JSON value. Nothing is ever refused or
 * altered for it.
 *
 * Points that were changed are noted, which costs a request a short lock; a thread of its own looks
 * at those that have not been changed for PFS_JSON_QUIET_NS since, for a document that a program is
 * writing is half there. One that is written with longer pauses can be reported while it is
 * unfinished, until the look after its last change.
 *
 * Bounds. PFS_JSON_PENDING_MAX points are remembered as changed. Beyond them nothing is lost: the
 * whole store is gone through (as it is listed, without a snapshot), and what is not valid JSON in
 * it is noted like a change. Of those that are found invalid PFS_JSON_INVALID_MAX are remembered.
 *
 * Threads. All functions from any, but new, start, stop and free, which frame them. */
#ifndef PFS_JSON_CHECK_H
#define PFS_JSON_CHECK_H

#include "storage/store.h"

#define PFS_JSON_QUIET_NS (2 * PFS_NSEC_PER_SEC)
#define PFS_JSON_PENDING_MAX 65536
#define PFS_JSON_INVALID_MAX 16384
#define PFS_JSON_LOGGED_MAX 20 /* lines in PFS_JSON_LOG_WINDOW_NS, the rest is told by number */
#define PFS_JSON_LOG_WINDOW_NS (60 * PFS_NSEC_PER_SEC)

struct pfs_json_check;

struct pfs_json_stat {
	uint64_t checked;      /* looks at a payload */
	uint64_t invalid_seen; /* of them those that found it invalid, one a change */
	uint64_t invalid;      /* points that were invalid at the last look; up to
				  PFS_JSON_INVALID_MAX */
	struct pfs_key last;   /* the last that was found invalid; kind NONE: none yet */
	uint64_t last_off;     /* where, in bytes */
	const char *last_why;  /* a constant string */
};

/* The store and the logger are borrowed. -ENOMEM. */
int pfs_json_check_new(struct pfs_json_check **out, struct pfs_store *store,
		       const struct pfs_logger *logger);
/* Stopped before. May be NULL. */
void pfs_json_check_free(struct pfs_json_check *check);

/* Starts the thread, which blocks all signals. -EAGAIN. */
int pfs_json_check_start(struct pfs_json_check *check);

/* Ends the thread, while the store is open and nothing is changed any more. What is noted is looked
 * at before, for up to a second, and the log tells of how many that was not done. May be NULL, may
 * not have been started, and is called twice. */
void pfs_json_check_stop(struct pfs_json_check *check);

/* The key's document was made, changed, removed, or is another now. Scratch files are passed over.
 * Never waits. check may be NULL. */
void pfs_json_check_note(struct pfs_json_check *check, const struct pfs_key *key);

/* One step of the thread's work, as of a time of pfs_now_monotonic: true when there is more to do
 * at once. For the thread, and for tests instead of it. */
bool pfs_json_check_step(struct pfs_json_check *check, int64_t now_ns);

void pfs_json_check_stat(struct pfs_json_check *check, struct pfs_json_stat *out);

#endif
