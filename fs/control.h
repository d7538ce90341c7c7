/* Rank 2: the control directory, MOUNTPOINT/.payloadfs: its files as the kernel sees them.
 *
 * It answers when it is named and is in no listing. The kernel tells nothing of opens, so each
 * LOOKUP of a file in it answers a new inode, whose content and size are of that moment, and whose
 * name the kernel is told to drop as soon as it has it: then it looks it up again for the next
 * open, and sends FORGET when the last user has closed it. Only points.ndjson of a store that has
 * not changed meanwhile is the same inode again (and its bytes come from the kernel's cache).
 *
 * Threads. What takes long (a first look at points.ndjson, what is written to the files) is done on
 * threads of their own (fs/jobs.h), which reply when it is done; requests are only queued here. So
 * is what a FORGET leads to: the end of a snapshot, of an import. A
 * program that is interrupted while it waits gets EINTR. The directory's lock in the kernel is held
 * by whoever looks a name up in it; so while points.ndjson is being looked up, nothing that wants
 * this lock alone is asked for.
 *
 * Node ids have the highest bit set, which those of documents never have (fs/inode.h). */
#ifndef PFS_CONTROL_H
#define PFS_CONTROL_H

#include "fs/fuse_api.h"
#include "fs/histogram.h"
#include "fs/json_check.h"
#include "fs/root.h"
#include "fs/serve.h"

#define PFS_CONTROL_BIT (UINT64_C(1) << 63)
#define PFS_CONTROL_DIR (PFS_CONTROL_BIT | 1)

struct pfs_control;

/* What it works with; borrowed. */
struct pfs_control_env {
	struct pfs_store *store;
	struct pfs_root *root; /* whose owner its files have */
	const struct pfs_logger *logger;

	/* Latencies of the mount's requests: count histograms, and what each is called. */
	struct pfs_histograms *latencies;
	const char *const *names;
	unsigned count;

	struct pfs_json_check *json_check; /* NULL: it is off */

	/* Names were given to other documents, as the hook of fs/serve.h. */
	void (*changed)(void *arg, const struct pfs_serve_change *changes, size_t count);
	/* Has the kernel drop a name of a directory; on a thread of its own. 0 or -errno. */
	int (*drop)(void *arg, fuse_ino_t parent, const char *name, size_t len);
	void *arg;
};

static inline bool pfs_control_owns(fuse_ino_t ino)
{
	return (ino & PFS_CONTROL_BIT) != 0;
}

/* -ENOMEM. */
int pfs_control_new(struct pfs_control **out, const struct pfs_control_env *env);

/* Starts the thread that has names dropped, once the session is there. */
int pfs_control_start(struct pfs_control *control);

/* As pfs_fs_leave (fs/ops.h). */
void pfs_control_leave(struct pfs_control *control);

/* When no request comes any more: what is at work is told to end, and waited for; its snapshots are
 * closed. May be NULL, and called twice. */
void pfs_control_stop(struct pfs_control *control);
void pfs_control_free(struct pfs_control *control);

/* Requests; each is replied to, now or later. */
void pfs_control_lookup_dir(struct pfs_control *control, fuse_req_t req);
void pfs_control_lookup(struct pfs_control *control, fuse_req_t req, fuse_ino_t parent,
			const char *name);
void pfs_control_getattr(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			 struct fuse_file_info *fi);
void pfs_control_setattr(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			 struct stat *st, int to_set, struct fuse_file_info *fi);
void pfs_control_read(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, size_t size,
		      off_t off, struct fuse_file_info *fi);
void pfs_control_write(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, const char *buf,
		       size_t size, off_t off, struct fuse_file_info *fi);
void pfs_control_fallocate(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, int mode,
			   off_t off, off_t len, struct fuse_file_info *fi);
void pfs_control_fsync(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino);
void pfs_control_readdir(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, size_t size,
			 off_t off, struct fuse_file_info *fi);
void pfs_control_readdirplus(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			     size_t size, off_t off, struct fuse_file_info *fi);
/* No reply. */
void pfs_control_forget(struct pfs_control *control, fuse_ino_t ino, uint64_t nlookup);

#endif
