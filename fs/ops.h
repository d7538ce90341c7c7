/* Rank 2: the filesystem: answers the kernel's requests from the store.
 *
 * The daemon knows nothing of open files: OPEN, OPENDIR and FLUSH are answered with ENOSYS, after
 * which the kernel opens, caches and closes without asking. Entries (also negative ones),
 * attributes and pages stay in the kernel's caches for good, since nobody but this daemon changes
 * the store; what it changes itself is invalidated (pfs_fs_changed, and a document whose write-back
 * failed).
 *
 * Threads. Handlers run on the threads of libfuse's loop, several at once. Requests hold no lock
 * across a call of the store, with two exceptions: WRITEs of one document follow one another
 * (ops_data.c), which only FALLOCATE waits for besides; and a name that is looked up while numbers
 * are given up is looked up again under a lock of fs/inode.h, which no writer waits for. Handlers
 * never wait for the invalidation thread; that of FORGET waits for nobody at all (fs/releaser.h).
 * Each sends exactly one reply. */
#ifndef PFS_OPS_H
#define PFS_OPS_H

#include <pthread.h>

#include "fs/control.h"
#include "fs/fuse_api.h"
#include "fs/histogram.h"
#include "fs/init_reply.h"
#include "fs/inode.h"
#include "fs/invalidate.h"
#include "fs/json_check.h"
#include "fs/latency.h"
#include "fs/root.h"
#include "fs/serve.h"

/* Requests as they are counted and timed: a constant, and what the log and stats.json call it. */
/* clang-format off */
#define PFS_OPS(X) \
	X(LOOKUP, "lookup") \
	X(FORGET, "forget") \
	X(GETATTR, "getattr") \
	X(SETATTR, "setattr") \
	X(MKNOD, "mknod") \
	X(UNLINK, "unlink") \
	X(RENAME, "rename") \
	X(REFUSED, "refused") \
	X(OPEN, "open") \
	X(READ, "read") \
	X(WRITE, "write") \
	X(FLUSH, "flush") \
	X(RELEASE, "release") \
	X(FSYNC, "fsync") \
	X(FALLOCATE, "fallocate") \
	X(IOCTL, "ioctl") \
	X(OPENDIR, "opendir") \
	X(READDIR, "readdir") \
	X(READDIRPLUS, "readdirplus") \
	X(FSYNCDIR, "fsyncdir") \
	X(STATFS, "statfs") \
	X(XATTR, "xattr") \
	X(CONTROL, "control")

enum pfs_op {
#define PFS_OP_ENUM(id, text) PFS_OP_##id,
	PFS_OPS(PFS_OP_ENUM)
#undef PFS_OP_ENUM
	PFS_OP_COUNT
};
/* clang-format on */

#define PFS_WRITE_STRIPES 1024
/* The kernel sends at most this many WRITEs of write-back at once, in the order in which they were
 * written; each may be held up by the store. So many that those of one large file, of which the
 * kernel queues no more than a hundredth of its memory for dirty pages (some 45 MiB on a machine of
 * 24 GiB), do not stand before those of others: with 12 a small write beside a copy waited for a
 * checkpoint of the copy. */
#define PFS_BACKGROUND_MAX 64

struct pfs_former_objects {
	uint32_t first, end;
};

struct pfs_fs {
	struct pfs_init_reply init_reply; /* first: fs/init_reply.h */

	/* Set before the session starts. */
	struct pfs_store *store;
	struct pfs_inodes *inodes;
	struct pfs_invalidator *invalidator;
	const struct pfs_logger *logger;
	struct fuse_session *session;
	bool strict;		  /* no new scratch files */
	bool published;		  /* it is a published collection, which others make anew */
	void (*ready)(void *arg); /* called once, when the kernel has sent INIT */
	void *ready_arg;

	/* Set by INIT, constant afterwards. */
	bool no_open, no_opendir; /* the kernel stops asking after ENOSYS */
	bool writeback;

	struct pfs_root root;
	struct pfs_histograms *latencies; /* of each enum pfs_op, ns */
	struct pfs_control *control;
	struct pfs_json_check *json_check; /* NULL without json=check */
	struct pfs_latency *latency;	   /* NULL without low_latency */
	pthread_mutex_t write_locks[PFS_WRITE_STRIPES];

	/* Of a published collection: the former generations' objects that the kernel may know. */
	pthread_mutex_t refresh_lock;
	struct pfs_former_objects *former; /* under refresh_lock */
	size_t former_count;
};

/* Takes the store and makes what the handlers need; the session is set later. json_check,
 * low_latency: as the options json=check and low_latency. -ENOMEM. */
int pfs_fs_init(struct pfs_fs *fs, struct pfs_store *store, const struct pfs_logger *logger,
		bool json_check, bool low_latency);

/* Before the session's loop is left although the kernel has not let go of the mount, while it is
 * still at work: from now on the kernel is told nothing any more. A thread that told it something
 * would wait there for whoever has the directory's lock, who may wait for an answer that nobody
 * gives any more. May be called several times. */
void pfs_fs_leave(struct pfs_fs *fs);

/* After the session's loop, while the store is open: ends the threads, closes the snapshots. */
void pfs_fs_stop(struct pfs_fs *fs);

/* After the session's end. The store is left to the caller. */
void pfs_fs_destroy(struct pfs_fs *fs);

/* For fuse_session_new; its userdata is the pfs_fs. */
extern const struct fuse_lowlevel_ops pfs_fs_ops;

/* Starts the threads that invalidate, once the session is there. */
int pfs_fs_start(struct pfs_fs *fs);

/* For the hook of fs/serve.h. */
void pfs_fs_changed(struct pfs_fs *fs, const struct pfs_serve_change *changes, size_t count);

/* Takes up the generation of a published collection that is current now: names lead to its
 * documents, while who has old ones open reads these. Waits for the origin and for invalidations:
 * not from a thread that answers requests. An error is logged, and all stays as it was. */
int pfs_fs_refresh(struct pfs_fs *fs);

/* Logs how many requests of each kind came, one line a kind that came at all. */
void pfs_fs_log_counters(struct pfs_fs *fs);

#endif
