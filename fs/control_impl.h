/* Rank 2: what the files of the control directory share. For control*.c only. */
#ifndef PFS_CONTROL_IMPL_H
#define PFS_CONTROL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/actions.h"
#include "fs/control.h"
#include "fs/importer.h"
#include "fs/invalidate.h"
#include "fs/jobs.h"
#include "fs/points.h"

enum pfs_control_file {
	PFS_CONTROL_STATS,
	PFS_CONTROL_POINTS,
	PFS_CONTROL_IMPORT,
	PFS_CONTROL_COMPACT,
	PFS_CONTROL_SYNC,
	PFS_CONTROL_TRAIN,
	PFS_CONTROL_FILES
};

/* What a LOOKUP has given to the kernel. */
struct pfs_control_inode {
	struct pfs_control_inode *next; /* in its bucket; control->lock, like the next two */
	uint64_t nlookup;
	unsigned users; /* jobs that work for it */
	enum pfs_control_file file;
	uint64_t nodeid;
	int64_t mtime_ns;
	_Atomic bool dropped; /* the kernel was told to drop the name once more, see below */

	/* Content; constant. */
	char *text;
	uint64_t len;
	struct pfs_moment *moment; /* of points.ndjson */

	struct pfs_import *import; /* of import, made with its first piece; control->lock, constant
				      afterwards */
	_Atomic bool acted; /* of the others: done by truncation already, what is written belongs to
			       it */
};

#define PFS_CONTROL_BUCKETS 256

struct pfs_control {
	struct pfs_control_env env;
	struct pfs_invalidator *invalidator;
	struct pfs_points *points;
	struct pfs_actions *actions;
	struct pfs_import_totals *imports;
	/* Threads for: points.ndjson; what is imported; the rest. */
	struct pfs_jobs *lookups, *importers, *doers;
	int64_t begun_ns, begun_realtime_ns;
	_Atomic bool stopping;

	pthread_mutex_t lock;
	pthread_cond_t quiet;
	unsigned slow_lookups; /* under lock, like the following */
	bool leaving;	       /* names are not dropped any more */
	uint64_t next_nodeid;
	struct pfs_control_inode *buckets[PFS_CONTROL_BUCKETS];
};

/* stats.json. *text is malloc'ed. -ENOMEM, or why the store could not tell. */
int pfs_control_stats(struct pfs_control *control, char **text, size_t *len);

/* A new inode, not yet known to the kernel, or NULL: no memory. */
struct pfs_control_inode *pfs_control_inode_new(struct pfs_control *control,
						enum pfs_control_file file);
/* Replies to a lookup with it, which counts. The inode is freed when that fails. */
void pfs_control_reply_entry(struct pfs_control *control, fuse_req_t req,
			     struct pfs_control_inode *inode);

/* What is imported through it so far, or NULL. */
struct pfs_import *pfs_control_stream(struct pfs_control *control,
				      const struct pfs_control_inode *inode);

/* The inode, with a user more; NULL: there is none of that number. */
struct pfs_control_inode *pfs_control_inode_get(struct pfs_control *control, fuse_ino_t ino);
void pfs_control_inode_put(struct pfs_control *control, struct pfs_control_inode *inode);

void pfs_control_stat(struct pfs_control *control, const struct pfs_control_inode *inode,
		      struct stat *st);

/* control_write.c: what writing does */
void pfs_control_act(struct pfs_control *control, fuse_req_t req, struct pfs_control_inode *inode,
		     size_t written);
void pfs_control_import(struct pfs_control *control, fuse_req_t req,
			struct pfs_control_inode *inode, const char *buf, size_t size, off_t off);
void pfs_control_lookup_points(struct pfs_control *control, fuse_req_t req);

#endif
