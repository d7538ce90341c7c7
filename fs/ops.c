#include "fs/ops.h"

#include <sys/statvfs.h>

#include "fs/clock.h"
#include "fs/name.h"
#include "fs/ops_impl.h"

#define PFS_STATFS_BLOCK 4096
/* What a small document takes at least besides its container: df -i shows how many would still fit.
 */
#define PFS_STATFS_SLOT 24

/* ---- what the handlers share ---- */

void pfs_reply_err(fuse_req_t req, int err)
{
	fuse_reply_err(req, err == -EUCLEAN ? EIO : -err);
}

void pfs_stat_fill(struct stat *st, uint32_t object, const struct pfs_attr *attr)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = object;
	st->st_mode = S_IFREG | (attr->mode & 07777);
	st->st_nlink = attr->nlink;
	st->st_uid = attr->uid;
	st->st_gid = attr->gid;
	st->st_size = (off_t)attr->size;
	st->st_blksize = PFS_BLOCK_SIZE;
	st->st_blocks = (blkcnt_t)((attr->stored + 511) / 512);
	st->st_mtim = pfs_timespec_from_ns(attr->mtime_ns);
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
}

void pfs_stat_fill_root(struct pfs_fs *fs, struct stat *st)
{
	struct pfs_attr attr;

	pfs_root_get(&fs->root, &attr);
	pfs_stat_fill(st, (uint32_t)PFS_INODE_ROOT, &attr);
	st->st_mode = S_IFDIR | (attr.mode & 07777);
}

int pfs_entry_find(struct pfs_fs *fs, const struct pfs_key *key, struct fuse_entry_param *entry)
{
	struct pfs_attr attr;
	uint64_t nodeid;
	int err;

	memset(entry, 0, sizeof(*entry));
	err = pfs_inode_find(fs->inodes, key, &nodeid, &attr);
	if (err)
		return err;
	entry->ino = nodeid;
	entry->generation = pfs_inode_generation(nodeid);
	entry->attr_timeout = PFS_TIMEOUT_FOREVER;
	entry->entry_timeout = PFS_TIMEOUT_FOREVER;
	pfs_stat_fill(&entry->attr, pfs_inode_object(nodeid), &attr);
	return 0;
}

void pfs_reply_entry(fuse_req_t req, struct pfs_fs *fs, const struct fuse_entry_param *entry)
{
	if (fuse_reply_entry(req, entry) != 0)
		pfs_inode_forget(fs->inodes, entry->ino, 1);
}

/* ---- the session ---- */

void pfs_op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct pfs_fs *fs = userdata;

	fs->no_open = pfs_fuse_want(conn, FUSE_CAP_NO_OPEN_SUPPORT);
	fs->no_opendir = pfs_fuse_want(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
	fs->writeback = pfs_fuse_want(conn, FUSE_CAP_WRITEBACK_CACHE);
	fs->init_reply.parallel_dirops = pfs_fuse_want(conn, FUSE_CAP_PARALLEL_DIROPS);
	pfs_fuse_want(conn, FUSE_CAP_READDIRPLUS);
	pfs_fuse_want(conn, FUSE_CAP_READDIRPLUS_AUTO);
	pfs_fuse_want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	pfs_fuse_refuse(conn, FUSE_CAP_AUTO_INVAL_DATA);
	/* Truncation in OPEN would be lost: OPEN does not come. */
	pfs_fuse_refuse(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	/* The kernel itself clears set-user-id bits, by SETATTR, and applies the caller's umask. */
	pfs_fuse_refuse(conn, FUSE_CAP_HANDLE_KILLPRIV);
	pfs_fuse_refuse(conn, FUSE_CAP_DONT_MASK);
	/* Asynchronous reads share the kernel's background queue with write-back: a reader would
	 * wait behind writers that are held up. Sent synchronously they pass by. */
	pfs_fuse_refuse(conn, FUSE_CAP_ASYNC_READ);
	pfs_fuse_refuse(conn, FUSE_CAP_ASYNC_DIO);
	/* Requests and replies are small or are copied by the store anyway: pipes cost more than
	 * they save. */
	pfs_fuse_refuse(conn, FUSE_CAP_SPLICE_READ);
	pfs_fuse_refuse(conn, FUSE_CAP_SPLICE_WRITE);
	pfs_fuse_refuse(conn, FUSE_CAP_SPLICE_MOVE);
	conn->max_background = PFS_BACKGROUND_MAX;
	conn->max_write = (unsigned)PFS_WHOLE_WRITE_MAX;
	conn->time_gran = 1;
	if (fs->ready)
		fs->ready(fs->ready_arg);
}

/* ---- attributes ---- */

void pfs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	struct pfs_attr attr;
	struct stat st;
	uint32_t object;
	int err;

	(void)fi;
	if (ino == PFS_INODE_ROOT) {
		pfs_stat_fill_root(fs, &st);
		fuse_reply_attr(req, &st, PFS_TIMEOUT_FOREVER);
		return;
	}
	err = pfs_inode_resolve(fs->inodes, ino, &object);
	/* Given up: whoever came by a path has the kernel look the name up anew for this error. */
	if (err == -EIO)
		err = -ESTALE;
	if (!err)
		err = pfs_getattr(fs->store, object, &attr);
	if (err) {
		pfs_reply_err(req, err);
		return;
	}
	pfs_stat_fill(&st, object, &attr);
	fuse_reply_attr(req, &st, PFS_TIMEOUT_FOREVER);
}

/* What to_set asks for, as the store wants it. Access and change times are not kept: both read as
 * the modification time. */
static unsigned attr_from_stat(const struct pfs_fs *fs, struct pfs_attr *attr,
			       const struct stat *st, int to_set)
{
	unsigned mask = 0;

	memset(attr, 0, sizeof(*attr));
	if (to_set & FUSE_SET_ATTR_MODE) {
		attr->mode = st->st_mode & 07777;
		mask |= PFS_ATTR_MODE;
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		attr->uid = st->st_uid;
		mask |= PFS_ATTR_UID;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		attr->gid = st->st_gid;
		mask |= PFS_ATTR_GID;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		attr->size = (uint64_t)st->st_size;
		mask |= PFS_ATTR_SIZE;
	}
	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		attr->mtime_ns = pfs_now_ns();
		mask |= PFS_ATTR_MTIME;
	} else if (to_set & FUSE_SET_ATTR_MTIME) {
		attr->mtime_ns = pfs_ns_from_timespec(&st->st_mtim);
		mask |= PFS_ATTR_MTIME;
	} else if ((to_set & FUSE_SET_ATTR_SIZE) && !fs->writeback) {
		/* With its write-back cache the kernel keeps the time and says what it is to be. */
		attr->mtime_ns = pfs_now_ns();
		mask |= PFS_ATTR_MTIME;
	}
	return mask;
}

/* Takes from mask what the document has already. The kernel repeats the time of an inode at unlink,
 * rename and forgetting, and what needs no change needs no record in the journal. */
static unsigned without_repetitions(unsigned mask, const struct pfs_attr *wanted,
				    const struct pfs_attr *has)
{
	if (wanted->mode == has->mode)
		mask &= ~(unsigned)PFS_ATTR_MODE;
	if (wanted->uid == has->uid)
		mask &= ~(unsigned)PFS_ATTR_UID;
	if (wanted->gid == has->gid)
		mask &= ~(unsigned)PFS_ATTR_GID;
	if (wanted->mtime_ns == has->mtime_ns)
		mask &= ~(unsigned)PFS_ATTR_MTIME;
	return mask;
}

void pfs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		    struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	struct pfs_attr attr, result;
	unsigned mask = attr_from_stat(fs, &attr, st, to_set);
	uint32_t object;
	int err;

	(void)fi;
	if (ino == PFS_INODE_ROOT) {
		pfs_root_set(&fs->root, mask, &attr);
		pfs_stat_fill_root(fs, st);
		fuse_reply_attr(req, st, PFS_TIMEOUT_FOREVER);
		return;
	}
	err = pfs_inode_resolve(fs->inodes, ino, &object);
	if (!err)
		err = pfs_getattr(fs->store, object, &result);
	if (!err)
		mask = without_repetitions(mask, &attr, &result);
	if (!err && mask)
		err = pfs_setattr(fs->store, object, mask, &attr, &result);
	if (err) {
		pfs_reply_err(req, err);
		return;
	}
	if (mask & PFS_ATTR_SIZE)
		pfs_content_changed(fs, object);
	pfs_stat_fill(st, object, &result);
	fuse_reply_attr(req, st, PFS_TIMEOUT_FOREVER);
}

void pfs_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct pfs_fs *fs = pfs_request(req);
	struct pfs_store_stat stat;
	struct statvfs out;
	int err;

	(void)ino;
	err = pfs_store_stat(fs->store, &stat);
	if (err) {
		pfs_reply_err(req, err);
		return;
	}
	memset(&out, 0, sizeof(out));
	out.f_bsize = PFS_STATFS_BLOCK;
	out.f_frsize = PFS_STATFS_BLOCK;
	out.f_blocks = stat.space_total / PFS_STATFS_BLOCK;
	out.f_bavail = pfs_min_u64(stat.space_available, stat.space_total) / PFS_STATFS_BLOCK;
	out.f_bfree = out.f_bavail;
	out.f_favail = stat.space_available / (stat.min_value_size + PFS_STATFS_SLOT);
	out.f_ffree = out.f_favail;
	out.f_files = stat.points + stat.scratch + out.f_ffree;
	out.f_namemax = PFS_NAME_MAX;
	fuse_reply_statfs(req, &out);
}

/* ---- open files: the kernel keeps them itself ---- */

void pfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);

	(void)ino;
	if (fs->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

void pfs_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

/* Comes only from kernels that insist on OPEN. */
void pfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

void pfs_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		  struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_size,
		  size_t out_size)
{
	(void)ino;
	(void)cmd;
	(void)arg;
	(void)fi;
	(void)flags;
	(void)in_buf;
	(void)in_size;
	(void)out_size;
	fuse_reply_err(req, ENOTTY);
}

/* ---- extended attributes: ENOSYS once, and the kernel answers EOPNOTSUPP by itself from then on
 * ---- */

void pfs_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		     size_t size, int flags)
{
	(void)ino;
	(void)name;
	(void)value;
	(void)size;
	(void)flags;
	fuse_reply_err(req, ENOSYS);
}

void pfs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	(void)ino;
	(void)name;
	(void)size;
	fuse_reply_err(req, ENOSYS);
}

void pfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	(void)ino;
	(void)size;
	fuse_reply_err(req, ENOSYS);
}

void pfs_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino;
	(void)name;
	fuse_reply_err(req, ENOSYS);
}
