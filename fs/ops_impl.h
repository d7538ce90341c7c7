/* Rank 2: what the files of the filesystem's handlers share. For ops*.c only. */
#ifndef PFS_OPS_IMPL_H
#define PFS_OPS_IMPL_H

#include "fs/ops.h"

/* Nobody else changes the store: what the kernel has cached stays right. Some years, in seconds. */
#define PFS_TIMEOUT_FOREVER 1e9
/* That a name is not there, where others publish: in a newer generation it may be. */
#define PFS_TIMEOUT_ABSENT 1.0
/* What tools use as their buffer size. */
#define PFS_BLOCK_SIZE (128 * PFS_KIB)

static inline struct pfs_fs *pfs_request(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* err: 0 or a negative errno. Damage is told to programs as EIO. The sign flips here and nowhere
 * else. */
void pfs_reply_err(fuse_req_t req, int err);

void pfs_stat_fill(struct stat *st, uint32_t object, const struct pfs_attr *attr);
void pfs_stat_fill_root(struct pfs_fs *fs, struct stat *st);

/* Looks key up, counts a reference, fills the entry. On error nothing is counted. */
int pfs_entry_find(struct pfs_fs *fs, const struct pfs_key *key, struct fuse_entry_param *entry);

/* Replies with an entry that pfs_entry_find has filled; undoes the reference when the reply can't
 * be delivered. */
void pfs_reply_entry(fuse_req_t req, struct pfs_fs *fs, const struct fuse_entry_param *entry);

/* The object's bytes have changed: json=check is told the name that it has now. */
static inline void pfs_content_changed(struct pfs_fs *fs, uint32_t object)
{
	struct pfs_key key;

	if (fs->json_check && pfs_object_key(fs->store, object, &key) == 0)
		pfs_json_check_note(fs->json_check, &key);
}

/* The handlers; ops_table.c calls them. */

/* ops.c */
void pfs_op_init(void *userdata, struct fuse_conn_info *conn);
void pfs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pfs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		    struct fuse_file_info *fi);
void pfs_op_statfs(fuse_req_t req, fuse_ino_t ino);
void pfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pfs_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pfs_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		  struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_size,
		  size_t out_size);
void pfs_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		     size_t size, int flags);
void pfs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void pfs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void pfs_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ops_dir.c */
void pfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void pfs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void pfs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void pfs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void pfs_op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void pfs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void pfs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void pfs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		   const char *newname, unsigned flags);
void pfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void pfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi);
void pfs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* ops_data.c */
void pfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void pfs_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		  struct fuse_file_info *fi);
void pfs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void pfs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		      struct fuse_file_info *fi);

#endif
