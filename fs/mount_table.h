/* Rank 1: mount points as the kernel lists them, and taking them away. */
#ifndef PFS_MOUNT_TABLE_H
#define PFS_MOUNT_TABLE_H

#include "storage/store.h"

#define PFS_MOUNT_TYPE "fuse.payloadfs"

/* A line of /proc/self/mountinfo. */
struct pfs_mount {
	unsigned major, minor; /* its device number: one a mount for FUSE */
	char *path, *type, *source;
};

/* The topmost mount at exactly this path (absolute, without links). -ENOENT: none. Free with
 * pfs_mount_free. */
int pfs_mount_at(struct pfs_mount *out, const char *path);

/* A payloadfs mount of this source, wherever it is. -ENOENT: none. */
int pfs_mount_of(struct pfs_mount *out, const char *source);

void pfs_mount_free(struct pfs_mount *mount);

enum pfs_unmount_how {
	PFS_UNMOUNT_IDLE,  /* only when nobody uses it */
	PFS_UNMOUNT_LAZY,  /* takes it out of the tree; what is in use goes on */
	PFS_UNMOUNT_FORCE, /* the same, and where the caller may, cuts what is in use off */
};

/* Unmounts what is topmost at path; as an ordinary user through fusermount3. Returns when
 * everything that the kernel had to write back is written. -EBUSY: in use; -EINVAL: nothing is
 * mounted there; -EPERM. */
int pfs_unmount(const char *path, enum pfs_unmount_how how);

/* Makes sure that path can be mounted on: a directory that answers. Detaches dead payloadfs mounts
 * that are on it. *out is its absolute path without links, malloc'ed. Negative errno, *reason says
 * what is wrong. */
int pfs_mountpoint_prepare(char **out, const char *path, struct pfs_reason *reason);

#endif
