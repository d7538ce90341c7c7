/* The other side of the daemon's requests, for tests that make them without a kernel: a request is
 * a handler of pfs_fs_ops that is called, and what it is replied with stays in it. Takes the place
 * of libfuse's functions that reply and notify; to be included once in a program that is linked
 * with the daemon's objects.
 *
 * Like the kernel it counts what it was given of each node id, and gives it back when it is told to
 * (kernel_forget_all). Each request is replied to exactly once. */
#ifndef PFS_TEST_FAKE_KERNEL_H
#define PFS_TEST_FAKE_KERNEL_H

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/control_impl.h"
#include "fs/ops.h"
#include "tests/unit/store_helpers.h"

#define KERNEL_IDS_MAX 1024
#define KERNEL_TOLD_MAX 256
#define KERNEL_WAIT_S 60

/* What the daemon has told by itself: an entry is to be dropped, is gone for good, or of an inode
 * what lies from `off` on (`off` < 0: the attributes alone). */
struct kernel_told {
	enum { TOLD_ENTRY, TOLD_DELETE, TOLD_INODE } what;
	uint64_t ino; /* the directory of an entry */
	uint64_t child;
	char name[PFS_NAME_MAX + 1];
	off_t off, len;
};

/* What libfuse leaves to us. Valid until the next request is made with it. */
struct fuse_req {
	struct pfs_fs *fs;
	struct fuse_ctx caller;
	bool undeliverable; /* the kernel does not take the reply: the program is gone */
	bool interrupted;   /* atomic */
	sem_t replied;
	unsigned replies; /* atomic */
	/* The reply. */
	int err; /* 0 or a negative errno */
	struct fuse_entry_param entry;
	struct stat attr;
	double attr_timeout;
	struct fuse_file_info open;
	struct statvfs statfs;
	size_t len; /* written, or of buf */
	char *buf;
};

static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t ino, nlookup;
	} ids[KERNEL_IDS_MAX];
	size_t count;
	unsigned dropped; /* entries that it was told to drop */
	struct kernel_told told[KERNEL_TOLD_MAX];
	size_t told_count; /* what comes behind KERNEL_TOLD_MAX is only counted */
	int tell_err;	   /* what it says to that */
} kernel = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

/* ---- what libfuse would do ---- */

static inline int kernel_reply(fuse_req_t req, int err)
{
	/* Once it is posted the test may make another request with it. */
	int result = req->undeliverable ? -ENOENT : 0;

	req->err = err;
	__atomic_fetch_add(&req->replies, 1, __ATOMIC_SEQ_CST);
	sem_post(&req->replied);
	return result;
}

static inline void kernel_count(uint64_t ino)
{
	size_t i = 0;

	pthread_mutex_lock(&kernel.lock);
	while (i < kernel.count && kernel.ids[i].ino != ino)
		i++;
	assert_true(i < KERNEL_IDS_MAX);
	if (i == kernel.count) {
		kernel.count++;
		kernel.ids[i].ino = ino;
		kernel.ids[i].nlookup = 0;
	}
	kernel.ids[i].nlookup++;
	pthread_mutex_unlock(&kernel.lock);
}

int fuse_reply_err(fuse_req_t req, int err)
{
	assert_true(err >= 0);
	return kernel_reply(req, -err);
}

void fuse_reply_none(fuse_req_t req)
{
	kernel_reply(req, 0);
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	req->entry = *e;
	if (e->ino && e->ino != PFS_CONTROL_DIR && !req->undeliverable)
		kernel_count(e->ino);
	return kernel_reply(req, 0);
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	req->attr = *attr;
	req->attr_timeout = timeout;
	return kernel_reply(req, 0);
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->open = *fi;
	return kernel_reply(req, 0);
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	req->len = count;
	return kernel_reply(req, 0);
}

/* The test's own, not what a fault is to meet: it keeps to what there is room for. */
int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	assert_true(size <= PFS_MIB);
	if (size)
		memcpy(req->buf, buf, size);
	req->len = size;
	return kernel_reply(req, 0);
}

int fuse_reply_statfs(fuse_req_t req, const struct statvfs *stbuf)
{
	req->statfs = *stbuf;
	return kernel_reply(req, 0);
}

void *fuse_req_userdata(fuse_req_t req)
{
	return req->fs;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->caller;
}

int fuse_req_interrupted(fuse_req_t req)
{
	return __atomic_load_n(&req->interrupted, __ATOMIC_SEQ_CST);
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	if (func && fuse_req_interrupted(req))
		func(req, data);
}

static inline int kernel_keep_told(const struct kernel_told *told)
{
	int err;

	pthread_mutex_lock(&kernel.lock);
	if (kernel.told_count < KERNEL_TOLD_MAX)
		kernel.told[kernel.told_count] = *told;
	kernel.told_count++;
	err = kernel.tell_err;
	pthread_mutex_unlock(&kernel.lock);
	return err;
}

static inline int kernel_drop(struct kernel_told told, const char *name, size_t len)
{
	assert_true(len <= PFS_NAME_MAX);
	assert_int_equal(strlen(name), len);
	memcpy(told.name, name, len);
	__atomic_fetch_add(&kernel.dropped, 1, __ATOMIC_SEQ_CST);
	return kernel_keep_told(&told);
}

int fuse_lowlevel_notify_inval_entry(struct fuse_session *se, fuse_ino_t parent, const char *name,
				     size_t namelen)
{
	(void)se;
	return kernel_drop((struct kernel_told){.what = TOLD_ENTRY, .ino = parent}, name, namelen);
}

int fuse_lowlevel_notify_delete(struct fuse_session *se, fuse_ino_t parent, fuse_ino_t child,
				const char *name, size_t namelen)
{
	(void)se;
	return kernel_drop((struct kernel_told){.what = TOLD_DELETE, .ino = parent, .child = child},
			   name, namelen);
}

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino, off_t off, off_t len)
{
	(void)se;
	return kernel_keep_told(
		&(struct kernel_told){.what = TOLD_INODE, .ino = ino, .off = off, .len = len});
}

/* ---- for tests ---- */

static inline void request_init(struct fuse_req *req, struct pfs_fs *fs)
{
	memset(req, 0, sizeof(*req));
	req->fs = fs;
	req->caller.uid = 1000;
	req->caller.gid = 1000;
	sem_init(&req->replied, 0, 0);
	req->buf = malloc(PFS_MIB);
	assert_non_null(req->buf);
}

static inline void request_free(struct fuse_req *req)
{
	sem_destroy(&req->replied);
	free(req->buf);
}

/* Before a handler is called. */
static inline fuse_req_t begin_request(struct fuse_req *req)
{
	__atomic_store_n(&req->replies, 0, __ATOMIC_SEQ_CST);
	req->err = -EINPROGRESS;
	req->len = 0;
	memset(&req->entry, 0, sizeof(req->entry));
	memset(&req->attr, 0, sizeof(req->attr));
	return req;
}

/* The error that it is replied with, or 0. */
static inline int reply_of(struct fuse_req *req)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += KERNEL_WAIT_S;
	while (sem_timedwait(&req->replied, &until) != 0)
		if (errno == ETIMEDOUT)
			fail_msg("a request is not replied to");
	assert_int_equal(__atomic_load_n(&req->replies, __ATOMIC_SEQ_CST), 1);
	return req->err;
}

/* The error that a handler of pfs_fs_ops replies with: ask(&req, lookup, parent, name). */
#define ask(req, handler, ...) (pfs_fs_ops.handler(begin_request(req), __VA_ARGS__), reply_of(req))

static inline int look_up(struct fuse_req *req, const char *name, fuse_ino_t *ino)
{
	int err = ask(req, lookup, PFS_INODE_ROOT, name);

	*ino = req->entry.ino;
	return err ? err : *ino ? 0 : -ENOENT;
}

/* Of the control directory. */
static inline int look_up_control(struct fuse_req *req, const char *name, fuse_ino_t *ino)
{
	int err = ask(req, lookup, PFS_CONTROL_DIR, name);

	*ino = req->entry.ino;
	return err;
}

/* As when every file is closed and the caches are dropped. */
static inline void kernel_forget_all(struct fuse_req *req)
{
	for (size_t i = 0; i < kernel.count; i++)
		ask(req, forget, kernel.ids[i].ino, kernel.ids[i].nlookup);
	kernel.count = 0;
}

static inline bool is_forgotten(struct pfs_fs *fs)
{
	struct pfs_inodes_stat stat;
	bool empty = true;

	pfs_inodes_stat(fs->inodes, &stat);
	pthread_mutex_lock(&fs->control->lock);
	for (unsigned i = 0; i < PFS_CONTROL_BUCKETS; i++)
		empty = empty && !fs->control->buckets[i];
	pthread_mutex_unlock(&fs->control->lock);
	return empty && stat.referenced == 0;
}

/* Nothing is referenced any more, of documents and of the control directory, as soon as what is at
 * work for a request that was replied to has ended. */
static inline void expect_forgotten(struct pfs_fs *fs)
{
	const struct timespec while_it_ends = {.tv_nsec = 1000000};

	for (unsigned i = 0; !is_forgotten(fs); i++) {
		if (i == KERNEL_WAIT_S * 1000)
			fail_msg("what the kernel has forgotten is still there");
		nanosleep(&while_it_ends, NULL);
	}
}

#endif
