/* Rank 0: the attributes of the mount's only directory.
 *
 * The store holds documents and no directory, so these live as long as the mount: they start as the
 * mounting user's, tools that set them (rsync -a, tar x, touch) succeed, and the next mount starts
 * anew. */
#ifndef PFS_ROOT_H
#define PFS_ROOT_H

#include <pthread.h>

#include "storage/store.h"

struct pfs_root {
	pthread_mutex_t lock;
	struct pfs_attr attr; /* under lock; size and stored are unused */
};

/* mode: permission bits. */
void pfs_root_init(struct pfs_root *root, uint32_t mode, uint32_t uid, uint32_t gid);
void pfs_root_destroy(struct pfs_root *root);

void pfs_root_get(struct pfs_root *root, struct pfs_attr *out);

/* Sets what mask (enum pfs_attr_mask without SIZE) names. */
void pfs_root_set(struct pfs_root *root, unsigned mask, const struct pfs_attr *attr);

/* A name came, went or changed: the modification time is now. */
void pfs_root_touch(struct pfs_root *root);

#endif
