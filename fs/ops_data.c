#include "fs/ops_impl.h"

#include <linux/falloc.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "storage/monotonic.h"

/* Up to this a READ is answered from the stack; the kernel's read-ahead asks for no more unless it
 * is tuned. */
#define PFS_READ_STACK (128 * PFS_KIB)

static void read_reply(fuse_req_t req, struct pfs_fs *fs, uint32_t object, char *buf, size_t size,
		       off_t off)
{
	ssize_t n = pfs_read(fs->store, object, (uint64_t)off, buf, size);

	if (n < 0)
		pfs_reply_err(req, (int)n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static __attribute__((noinline)) void read_on_stack(fuse_req_t req, struct pfs_fs *fs,
						    uint32_t object, size_t size, off_t off)
{
	char buf[PFS_READ_STACK];

	read_reply(req, fs, object, buf, size, off);
}

void pfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	uint32_t object;
	char *buf;
	int err;

	(void)fi;
	err = pfs_inode_resolve(fs->inodes, ino, &object);
	if (err) {
		pfs_reply_err(req, err);
		return;
	}
	if (size <= PFS_READ_STACK) {
		read_on_stack(req, fs, object, size, off);
		return;
	}
	buf = malloc(size);
	if (buf)
		read_reply(req, fs, object, buf, size, off);
	else
		pfs_reply_err(req, -ENOMEM);
	free(buf);
}

/* A write has failed: the kernel's pages, size and times of this document are no longer those of
 * the store. The kernel's inode is given up, so that nobody reads them and nothing that is still to
 * be written back is mixed into the old document; the next lookup of the name shows what the store
 * has. */
static void give_up_inode(struct pfs_fs *fs, uint32_t object, int err)
{
	struct pfs_invalidation item = {.gone = 0};
	char name[PFS_NAME_MAX + 1];

	pfs_inode_renew(fs->inodes, object);
	if (pfs_object_key(fs->store, object, &item.key) != 0)
		return; /* removed: no name leads to it */
	pfs_key_format(name, &item.key);
	pfs_logf(fs->logger, PFS_LOG_WARNING,
		 "%s: what was written to it is lost (%s); it keeps its last content", name,
		 strerror(-err));
	if (pfs_invalidate_later(fs->invalidator, &item) != 0)
		pfs_logf(fs->logger, PFS_LOG_WARNING,
			 "%s: no memory to invalidate it: it can't be opened until "
			 "the kernel forgets it",
			 name);
}

/* The modification time that a WRITE brings. With its write-back cache the kernel keeps the times
 * of a document and tells them by SETATTR, before or after the WRITE or not at all when they are
 * right already: one that was invented here would be another after the kernel has forgotten its
 * own. */
static int64_t write_time(const struct pfs_fs *fs)
{
	return fs->writeback ? PFS_MTIME_KEEP : pfs_now_ns();
}

/* One WRITE of a document at a time: when one fails, those that follow it must already see that the
 * inode was given up. Besides WRITEs only FALLOCATE waits here. */
static pthread_mutex_t *write_lock(struct pfs_fs *fs, uint64_t nodeid)
{
	return &fs->write_locks[pfs_inode_object(nodeid) % PFS_WRITE_STRIPES];
}

/* Of what comes past the kernel's cache (O_DIRECT). The kernel keeps the size of a document itself,
 * also after it was told an error. */
static uint64_t size_of(struct pfs_fs *fs, uint32_t object)
{
	struct pfs_attr attr;

	return pfs_getattr(fs->store, object, &attr) == 0 ? attr.size : UINT64_MAX;
}

void pfs_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		  struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	pthread_mutex_t *lock = write_lock(fs, ino);
	bool direct = fs->writeback && !fi->writepage;
	uint64_t before = 0;
	uint32_t object;
	int err;

	pthread_mutex_lock(lock);
	err = pfs_inode_resolve(fs->inodes, ino, &object);
	if (!err) {
		if (direct)
			before = size_of(fs, object);
		err = pfs_write(fs->store, object, (uint64_t)off, buf, size, write_time(fs));
		/* The truncation that was for it is cancelled, too. */
		if (err && (fi->writepage || (direct && size_of(fs, object) != before)))
			give_up_inode(fs, object, err);
	}
	pthread_mutex_unlock(lock);
	if (!err)
		pfs_content_changed(fs, object);
	if (err)
		pfs_reply_err(req, err);
	else
		fuse_reply_write(req, size);
}

/* A request that waits for a sync. */
struct fsync_wait {
	fuse_req_t req;
	struct pfs_fs *fs;
	int64_t begun_ns;
};

static void fsync_reply(void *arg, int err)
{
	struct fsync_wait *wait = arg;

	pfs_reply_err(wait->req, err);
	pfs_histograms_add(wait->fs->latencies, PFS_OP_FSYNC,
			   (uint64_t)(pfs_now_monotonic() - wait->begun_ns));
	free(wait);
}

/* Many at once wait for the same sync: one thread does it and replies to all. */
void pfs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	struct fsync_wait *wait = malloc(sizeof(*wait));
	uint32_t object;
	int err;

	(void)datasync;
	(void)fi;
	if (!wait) {
		pfs_reply_err(req, -ENOMEM);
		return;
	}
	*wait = (struct fsync_wait){.req = req, .fs = fs, .begun_ns = pfs_now_monotonic()};
	err = pfs_inode_resolve(fs->inodes, ino, &object);
	if (err)
		fsync_reply(wait, err);
	else
		pfs_sync_object_then(fs->store, object, fsync_reply, wait);
}

/* Makes the document at least size bytes long. Under its write lock: a WRITE in between that makes
 * it longer still would be cut off again. */
static int grow(struct pfs_fs *fs, uint32_t object, uint64_t size)
{
	struct pfs_attr attr;
	int err;

	err = pfs_getattr(fs->store, object, &attr);
	if (err || attr.size >= size)
		return err;
	attr.size = size;
	if (fs->writeback) /* as in write_time */
		return pfs_setattr(fs->store, object, PFS_ATTR_SIZE, &attr, NULL);
	attr.mtime_ns = pfs_now_ns();
	return pfs_setattr(fs->store, object, PFS_ATTR_SIZE | PFS_ATTR_MTIME, &attr, NULL);
}

static int zero(struct pfs_fs *fs, uint32_t object, uint64_t off, uint64_t len)
{
	struct pfs_attr attr = {.mtime_ns = pfs_now_ns()};
	int err = 0;

	if (fs->writeback) /* as in write_time */
		err = pfs_getattr(fs->store, object, &attr);
	return err ? err : pfs_zero(fs->store, object, off, len, attr.mtime_ns);
}

/* The kernel holds the inode's lock meanwhile and has written back what it had of the range. */
void pfs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		      struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	bool zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
	pthread_mutex_t *lock = write_lock(fs, ino);
	uint32_t object;
	int err;

	(void)fi;
	pthread_mutex_lock(lock);
	err = mode & ~known ? -EOPNOTSUPP : pfs_inode_resolve(fs->inodes, ino, &object);
	/* First what fails where it is too large, or there is no room: then nothing was zeroed.
	 * Space is not reserved ahead: the journal and the pages do that for all documents
	 * together. */
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE))
		err = grow(fs, object, (uint64_t)off + (uint64_t)len);
	if (!err && zeroes)
		err = zero(fs, object, (uint64_t)off, (uint64_t)len);
	pthread_mutex_unlock(lock);
	if (!err)
		pfs_content_changed(fs, object);
	pfs_reply_err(req, err);
}
