#include "fs/ops_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "fs/name.h"

/* Places in a listing: 1 is behind ".", 2 behind "..", above it the store's cookies, moved up by 2.
 */
#define PFS_OFF_DOT 1
#define PFS_OFF_DOTDOT 2
/* Names taken from the store at a time. */
#define PFS_LIST_BATCH 64
/* The smallest entries that READDIR and READDIRPLUS can have in their buffer. */
#define PFS_DIRENT_MIN 32
#define PFS_DIRENT_PLUS_MIN 160
/* The kernel asks for less; more would only be memory. */
#define PFS_LIST_BUFFER_MAX (256 * PFS_KIB)

/* ---- names ---- */

void pfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct pfs_fs *fs = pfs_request(req);
	struct fuse_entry_param entry;
	struct pfs_key key;
	int err;

	if (parent != PFS_INODE_ROOT) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	err = pfs_name_key(&key, name, PFS_NAME_FIND, fs->strict);
	if (!err)
		err = pfs_entry_find(fs, &key, &entry);
	if (err == -ENOENT) {
		/* Node id 0 and a timeout: the kernel remembers that there is none. */
		memset(&entry, 0, sizeof(entry));
		entry.entry_timeout = fs->published ? PFS_TIMEOUT_ABSENT : PFS_TIMEOUT_FOREVER;
		fuse_reply_entry(req, &entry);
	} else if (err) {
		pfs_reply_err(req, err);
	} else {
		pfs_reply_entry(req, fs, &entry);
	}
}

/* Also what open(O_CREAT) comes to. The umask of the caller is in mode already. */
void pfs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct pfs_fs *fs = pfs_request(req);
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	struct fuse_entry_param entry;
	struct pfs_attr attr, root;
	struct pfs_key key;
	uint32_t object;
	int err;

	(void)parent;
	(void)rdev;
	err = S_ISREG(mode) ? pfs_name_key(&key, name, PFS_NAME_MAKE, fs->strict) : -EPERM;
	if (!err) {
		pfs_root_get(&fs->root, &root);
		memset(&attr, 0, sizeof(attr));
		attr.mode = mode & 07777;
		attr.uid = caller->uid;
		attr.gid = root.mode & S_ISGID ? root.gid : caller->gid;
		attr.mtime_ns = pfs_now_ns();
		err = pfs_create(fs->store, &key, &attr, &object);
		if (!err) {
			pfs_json_check_note(fs->json_check, &key);
			pfs_root_touch(&fs->root);
			err = pfs_entry_find(fs, &key, &entry);
		}
		/* The kernel has looked the name up before: a client of the socket has made it, or
		 * removed what was made here. Told so the kernel looks again, and opens what is
		 * there, or says EEXIST where that was asked for. */
		if (err == -EEXIST || err == -ENOENT)
			err = -ESTALE;
	}
	if (err)
		pfs_reply_err(req, err);
	else
		pfs_reply_entry(req, fs, &entry);
}

void pfs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent;
	(void)name;
	(void)mode;
	fuse_reply_err(req, EPERM);
}

/* There is only the control directory to be removed. */
void pfs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

void pfs_op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

void pfs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	(void)newparent;
	(void)newname;
	fuse_reply_err(req, EPERM);
}

void pfs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct pfs_fs *fs = pfs_request(req);
	struct pfs_key key;
	uint32_t object;
	int err;

	(void)parent;
	err = pfs_name_key(&key, name, PFS_NAME_FIND, fs->strict);
	if (!err)
		err = pfs_remove(fs->store, &key, &object);
	if (!err) {
		pfs_json_check_note(fs->json_check, &key);
		pfs_inode_unnamed(fs->inodes, object);
		pfs_root_touch(&fs->root);
	}
	pfs_reply_err(req, err);
}

/* The document that has the name now was moved over another. */
static void moved_to(struct pfs_fs *fs, const struct pfs_key *key)
{
	uint32_t object;

	if (pfs_lookup(fs->store, key, &object, NULL) == 0)
		pfs_inode_moved(fs->inodes, object);
}

void pfs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		   const char *newname, unsigned flags)
{
	struct pfs_fs *fs = pfs_request(req);
	struct pfs_key from, to;
	uint32_t replaced = 0;
	unsigned how = 0;
	int err = 0;

	(void)parent;
	(void)newparent;
	if (flags & RENAME_NOREPLACE)
		how |= PFS_RENAME_NOREPLACE;
	if (flags & RENAME_EXCHANGE)
		how |= PFS_RENAME_EXCHANGE;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		err = -EINVAL;
	if (!err)
		err = pfs_name_key(&from, name, PFS_NAME_FIND, fs->strict);
	if (!err)
		err = pfs_name_key(&to, newname, PFS_NAME_MAKE, fs->strict);
	if (!err)
		err = pfs_rename(fs->store, &from, &to, how, &replaced);
	if (!err) {
		if (replaced || (how & PFS_RENAME_EXCHANGE))
			moved_to(fs, &to);
		if (how & PFS_RENAME_EXCHANGE)
			moved_to(fs, &from);
		pfs_json_check_note(fs->json_check, &from);
		pfs_json_check_note(fs->json_check, &to);
		pfs_inode_unnamed(fs->inodes, replaced);
		pfs_root_touch(&fs->root);
	}
	pfs_reply_err(req, err);
}

/* ---- listing ---- */

void pfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);

	(void)ino;
	if (fs->no_opendir) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/* A reply to READDIR or READDIRPLUS in the making. */
struct pfs_listing {
	struct pfs_fs *fs;
	fuse_req_t req;
	bool plus;
	char *buf;
	size_t size, used;
	uint64_t *counted; /* node ids whose reference must be taken back if the reply is not
			      delivered */
	size_t counted_len;
};

/* Adds a name. attr is for READDIR, and for READDIRPLUS where entry has node id 0. Returns false
 * when it does not fit. */
static bool listing_add(struct pfs_listing *l, const char *name,
			const struct fuse_entry_param *entry, off_t off)
{
	size_t room = l->size - l->used;
	size_t need;

	need = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->used, room, name, entry, off)
		       : fuse_add_direntry(l->req, l->buf + l->used, room, name, &entry->attr, off);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static bool listing_add_dots(struct pfs_listing *l, off_t off)
{
	struct fuse_entry_param entry;

	memset(&entry, 0, sizeof(entry));
	entry.attr.st_ino = PFS_INODE_ROOT;
	entry.attr.st_mode = S_IFDIR;
	if (off < PFS_OFF_DOT && !listing_add(l, ".", &entry, PFS_OFF_DOT))
		return false;
	return off >= PFS_OFF_DOTDOT || listing_add(l, "..", &entry, PFS_OFF_DOTDOT);
}

/* Returns false when it does not fit. A name that has gone meanwhile is passed over; one whose
 * attributes can't be had is listed without them. */
static bool listing_add_document(struct pfs_listing *l, const struct pfs_listed *listed)
{
	struct fuse_entry_param entry;
	char name[PFS_NAME_MAX + 1];
	off_t off = (off_t)(listed->cookie + PFS_OFF_DOTDOT);
	int err;

	pfs_key_format(name, &listed->key);
	if (l->plus) {
		if (fuse_add_direntry_plus(l->req, NULL, 0, name, NULL, 0) > l->size - l->used)
			return false;
		err = pfs_entry_find(l->fs, &listed->key, &entry);
		if (err == -ENOENT)
			return true;
		if (!err)
			l->counted[l->counted_len++] = entry.ino;
	} else {
		memset(&entry, 0, sizeof(entry));
	}
	if (entry.ino == 0) {
		entry.attr.st_ino = listed->object;
		entry.attr.st_mode = S_IFREG;
	}
	return listing_add(l, name, &entry, off);
}

/* 0, or the error that comes before the first name. */
static int listing_fill(struct pfs_listing *l, off_t off)
{
	struct pfs_listed batch[PFS_LIST_BATCH];
	uint64_t after = off > PFS_OFF_DOTDOT ? (uint64_t)off - PFS_OFF_DOTDOT : 0;

	if (!listing_add_dots(l, off))
		return 0;
	for (;;) {
		size_t want =
			(l->size - l->used) / (l->plus ? PFS_DIRENT_PLUS_MIN : PFS_DIRENT_MIN) + 1;
		ssize_t n = pfs_list(l->fs->store, after, batch, pfs_min_u64(want, PFS_LIST_BATCH));

		if (n <= 0)
			return l->used == 0 ? (int)n : 0;
		for (ssize_t i = 0; i < n; i++)
			if (!listing_add_document(l, &batch[i]))
				return 0;
		after = batch[n - 1].cookie;
	}
}

static void list(fuse_req_t req, struct pfs_fs *fs, size_t size, off_t off, bool plus)
{
	struct pfs_listing l = {.fs = fs, .req = req, .plus = plus};
	int err = 0;

	l.size = pfs_min_u64(size, PFS_LIST_BUFFER_MAX);
	l.buf = malloc(l.size);
	if (plus)
		l.counted = malloc((l.size / PFS_DIRENT_PLUS_MIN + 1) * sizeof(*l.counted));
	if (!l.buf || (plus && !l.counted))
		err = -ENOMEM;
	if (!err)
		err = listing_fill(&l, off);
	if (err)
		pfs_reply_err(req, err);
	else if (fuse_reply_buf(req, l.buf, l.used) == 0)
		l.counted_len = 0;
	for (size_t i = 0; i < l.counted_len; i++)
		pfs_inode_forget(fs->inodes, l.counted[i], 1);
	free(l.counted);
	free(l.buf);
}

void pfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(req, pfs_request(req), size, off, false);
}

void pfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(req, pfs_request(req), size, off, true);
}

void pfs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct pfs_fs *fs = pfs_request(req);

	(void)ino;
	(void)datasync;
	(void)fi;
	pfs_reply_err(req, pfs_sync(fs->store));
}
