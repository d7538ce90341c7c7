/* Rank 1: tells the kernel that names and inodes it has cached have changed behind its back.
 *
 * The kernel takes the directory's lock for it, which may be held by a request that waits for the
 * daemon: sent from a thread that answers requests it deadlocks. So one thread of its own sends all
 * of them, in the order in which they were queued. Threads that answer requests only queue
 * (pfs_invalidate_later); others may wait (pfs_invalidate). */
#ifndef PFS_INVALIDATE_H
#define PFS_INVALIDATE_H

#include "storage/key.h"
#include "storage/log.h"

struct pfs_invalidator;

/* How the thread talks to the kernel; each returns 0 or a negative errno. -ENOENT (not cached) is
 * no error. */
struct pfs_invalidate_ops {
	/* Drops the entry, positive or negative. gone: the node id that lost the name for good, or
	 * 0. */
	int (*entry)(void *arg, const char *name, size_t len, uint64_t gone);
	/* Drops the attributes of a document: who needs them asks for them. */
	int (*attributes)(void *arg, uint64_t nodeid);
	/* Drops the listing and the attributes of the directory. */
	int (*listing)(void *arg);
	void *arg;
};

struct pfs_invalidation {
	struct pfs_key key; /* PFS_KEY_NONE: not known; the attributes of `gone` are dropped */
	uint64_t gone; /* node id of the document that lost the name, 0: there is none or it keeps
			  it */
};

/* -ENOMEM, -EAGAIN. The thread blocks all signals. */
int pfs_invalidator_start(struct pfs_invalidator **out, const struct pfs_invalidate_ops *ops,
			  const struct pfs_logger *logger);

/* Ends the thread: what is queued is dropped, who waits returns; what comes later is dropped at
 * once. Returns when what is being told has been told: requests must still be answered, or the
 * connection be gone. May be called several times, but not at once. May be NULL. */
void pfs_invalidator_end(struct pfs_invalidator *invalidator);

/* The same, and frees it. The caller has seen to it that no other call comes. */
void pfs_invalidator_stop(struct pfs_invalidator *invalidator);

/* Invalidates the names and the listing, returns when that is done (or the end has come). Never
 * from a thread that answers requests. */
void pfs_invalidate(struct pfs_invalidator *invalidator, const struct pfs_invalidation *items,
		    size_t count);

/* Queues one name, does not wait. -ENOMEM: nothing was queued. After the end nothing is either. */
int pfs_invalidate_later(struct pfs_invalidator *invalidator, const struct pfs_invalidation *item);

#endif
