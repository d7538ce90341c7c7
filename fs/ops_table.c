/* The handlers as libfuse calls them: each is timed, and what concerns the control directory goes
 * there. */
#include "fs/clock.h"
#include "fs/control.h"
#include "fs/name.h"
#include "fs/ops_impl.h"
#include "storage/monotonic.h"

/* A request that is being handled. */
struct timer {
	struct pfs_fs *fs;
	enum pfs_op op;
	bool control; /* counted apart from the requests to documents: they may take long */
	int64_t begun_ns;
};

static struct timer begin(fuse_req_t req, fuse_ino_t ino, enum pfs_op op)
{
	bool control = pfs_control_owns(ino);
	struct pfs_fs *fs = fuse_req_userdata(req);

	pfs_latency_note(fs->latency);
	return (struct timer){
		.fs = fs,
		.op = control ? PFS_OP_CONTROL : op,
		.control = control,
		.begun_ns = pfs_now_monotonic(),
	};
}

static void end(const struct timer *timer)
{
	pfs_histograms_add(timer->fs->latencies, timer->op,
			   (uint64_t)(pfs_now_monotonic() - timer->begun_ns));
}

/* name: of the handler in both pfs_op_ and pfs_control_. ino: the request's inode, which says whose
 * it is. */
#define TIMED(name, op, ino, parameters, ...)                               \
	static void timed_##name parameters                                 \
	{                                                                   \
		const struct timer timer = begin(req, ino, PFS_OP_##op);    \
                                                                            \
		if (timer.control)                                          \
			pfs_control_##name(timer.fs->control, __VA_ARGS__); \
		else                                                        \
			pfs_op_##name(__VA_ARGS__);                         \
		end(&timer);                                                \
	}

/* Those that the control directory answers like any other inode, or does not get. */
#define TIMED_SAME(name, op, ino, parameters, ...)                       \
	static void timed_##name parameters                              \
	{                                                                \
		const struct timer timer = begin(req, ino, PFS_OP_##op); \
                                                                         \
		pfs_op_##name(__VA_ARGS__);                              \
		end(&timer);                                             \
	}

/* Nothing is made, removed or moved in the control directory. */
#define TIMED_NAMES(name, op, ino, parameters, ...)                      \
	static void timed_##name parameters                              \
	{                                                                \
		const struct timer timer = begin(req, ino, PFS_OP_##op); \
                                                                         \
		if (timer.control)                                       \
			fuse_reply_err(req, EPERM);                      \
		else                                                     \
			pfs_op_##name(__VA_ARGS__);                      \
		end(&timer);                                             \
	}

TIMED(getattr, GETATTR, ino, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino,
      fi)
TIMED(setattr, SETATTR, ino,
      (fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi), req,
      ino, st, to_set, fi)
TIMED(read, READ, ino,
      (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), req, ino,
      size, off, fi)
TIMED(write, WRITE, ino,
      (fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
       struct fuse_file_info *fi),
      req, ino, buf, size, off, fi)
TIMED(fallocate, FALLOCATE, ino,
      (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi),
      req, ino, mode, off, len, fi)
TIMED(readdir, READDIR, ino,
      (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), req, ino,
      size, off, fi)
TIMED(readdirplus, READDIRPLUS, ino,
      (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), req, ino,
      size, off, fi)

TIMED_NAMES(mknod, MKNOD, parent,
	    (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev), req,
	    parent, name, mode, rdev)
TIMED_NAMES(unlink, UNLINK, parent, (fuse_req_t req, fuse_ino_t parent, const char *name), req,
	    parent, name)

TIMED_SAME(mkdir, REFUSED, parent,
	   (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode), req, parent, name,
	   mode)
TIMED_SAME(rmdir, REFUSED, parent, (fuse_req_t req, fuse_ino_t parent, const char *name), req,
	   parent, name)
TIMED_SAME(symlink, REFUSED, parent,
	   (fuse_req_t req, const char *link, fuse_ino_t parent, const char *name), req, link,
	   parent, name)
TIMED_SAME(link, REFUSED, ino,
	   (fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname), req, ino,
	   newparent, newname)
TIMED_SAME(open, OPEN, ino, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino,
	   fi)
TIMED_SAME(flush, FLUSH, ino, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino,
	   fi)
TIMED_SAME(release, RELEASE, ino, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req,
	   ino, fi)
TIMED_SAME(opendir, OPENDIR, ino, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req,
	   ino, fi)
TIMED_SAME(fsyncdir, FSYNCDIR, ino,
	   (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi), req, ino,
	   datasync, fi)
TIMED_SAME(statfs, STATFS, ino, (fuse_req_t req, fuse_ino_t ino), req, ino)
TIMED_SAME(ioctl, IOCTL, ino,
	   (fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	    unsigned flags, const void *in_buf, size_t in_size, size_t out_size),
	   req, ino, cmd, arg, fi, flags, in_buf, in_size, out_size)
TIMED_SAME(setxattr, XATTR, ino,
	   (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	    int flags),
	   req, ino, name, value, size, flags)
TIMED_SAME(getxattr, XATTR, ino, (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size),
	   req, ino, name, size)
TIMED_SAME(listxattr, XATTR, ino, (fuse_req_t req, fuse_ino_t ino, size_t size), req, ino, size)
TIMED_SAME(removexattr, XATTR, ino, (fuse_req_t req, fuse_ino_t ino, const char *name), req, ino,
	   name)

static void timed_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct timer timer = begin(req, parent, PFS_OP_LOOKUP);

	if (timer.control)
		pfs_control_lookup(timer.fs->control, req, parent, name);
	else if (parent == PFS_INODE_ROOT && strcmp(name, PFS_NAME_RESERVED) == 0)
		pfs_control_lookup_dir(timer.fs->control, req);
	else
		pfs_op_lookup(req, parent, name);
	end(&timer);
}

static void timed_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			 const char *newname, unsigned flags)
{
	const struct timer timer = begin(req, parent, PFS_OP_RENAME);

	if (timer.control || pfs_control_owns(newparent) || strcmp(name, PFS_NAME_RESERVED) == 0)
		fuse_reply_err(req, EPERM);
	else
		pfs_op_rename(req, parent, name, newparent, newname, flags);
	end(&timer);
}

/* Answered later, and timed until then. */
static void timed_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = fuse_req_userdata(req);

	pfs_latency_note(fs->latency);
	if (pfs_control_owns(ino))
		pfs_control_fsync(fs->control, req, ino);
	else
		pfs_op_fsync(req, ino, datasync, fi);
}

static void forget(struct pfs_fs *fs, fuse_ino_t ino, uint64_t nlookup)
{
	if (pfs_control_owns(ino))
		pfs_control_forget(fs->control, ino, nlookup);
	else
		pfs_inode_forget(fs->inodes, ino, nlookup);
}

static void timed_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	const struct timer timer = begin(req, PFS_INODE_ROOT, PFS_OP_FORGET);

	forget(timer.fs, ino, nlookup);
	fuse_reply_none(req);
	end(&timer);
}

static void timed_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	const struct timer timer = begin(req, PFS_INODE_ROOT, PFS_OP_FORGET);

	for (size_t i = 0; i < count; i++)
		forget(timer.fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
	end(&timer);
}

/* No create: the kernel then sends MKNOD and opens by itself. No locks: the kernel keeps them
 * locally. No lseek, copy_file_range, poll: the kernel's own do. */
const struct fuse_lowlevel_ops pfs_fs_ops = {
	.init = pfs_op_init,
	.lookup = timed_lookup,
	.forget = timed_forget,
	.forget_multi = timed_forget_multi,
	.getattr = timed_getattr,
	.setattr = timed_setattr,
	.mknod = timed_mknod,
	.mkdir = timed_mkdir,
	.symlink = timed_symlink,
	.link = timed_link,
	.unlink = timed_unlink,
	.rmdir = timed_rmdir,
	.rename = timed_rename,
	.open = timed_open,
	.read = timed_read,
	.write = timed_write,
	.flush = timed_flush,
	.release = timed_release,
	.fsync = timed_fsync,
	.fallocate = timed_fallocate,
	.ioctl = timed_ioctl,
	.opendir = timed_opendir,
	.releasedir = timed_release,
	.readdir = timed_readdir,
	.readdirplus = timed_readdirplus,
	.fsyncdir = timed_fsyncdir,
	.statfs = timed_statfs,
	.setxattr = timed_setxattr,
	.getxattr = timed_getxattr,
	.listxattr = timed_listxattr,
	.removexattr = timed_removexattr,
};
