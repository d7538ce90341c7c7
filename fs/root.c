#include "fs/root.h"

#include "fs/clock.h"

void pfs_root_init(struct pfs_root *root, uint32_t mode, uint32_t uid, uint32_t gid)
{
	memset(root, 0, sizeof(*root));
	pthread_mutex_init(&root->lock, NULL);
	root->attr.mode = mode;
	root->attr.uid = uid;
	root->attr.gid = gid;
	root->attr.nlink = 2;
	root->attr.mtime_ns = pfs_now_ns();
}

void pfs_root_destroy(struct pfs_root *root)
{
	pthread_mutex_destroy(&root->lock);
}

void pfs_root_get(struct pfs_root *root, struct pfs_attr *out)
{
	pthread_mutex_lock(&root->lock);
	*out = root->attr;
	pthread_mutex_unlock(&root->lock);
}

void pfs_root_set(struct pfs_root *root, unsigned mask, const struct pfs_attr *attr)
{
	pthread_mutex_lock(&root->lock);
	if (mask & PFS_ATTR_MODE)
		root->attr.mode = attr->mode;
	if (mask & PFS_ATTR_UID)
		root->attr.uid = attr->uid;
	if (mask & PFS_ATTR_GID)
		root->attr.gid = attr->gid;
	if (mask & PFS_ATTR_MTIME)
		root->attr.mtime_ns = attr->mtime_ns;
	pthread_mutex_unlock(&root->lock);
}

void pfs_root_touch(struct pfs_root *root)
{
	const struct pfs_attr now = {.mtime_ns = pfs_now_ns()};

	pfs_root_set(root, PFS_ATTR_MTIME, &now);
}
