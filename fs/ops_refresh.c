/* Newer generations of a published collection.
 *
 * F1: from pfs_inodes_refreshed on no lookup adds a reference to an object of the former
 * generation; so those that have one then are all that the kernel can know. Their entries are
 * dropped after it: the kernel takes the directory's lock for that, so that a reply which was on
 * its way is in its cache before. F2: a generation is forgotten when none of its objects is
 * referenced. */
#include <stdlib.h>

#include "fs/ops_impl.h"

#define AT_ONCE 128 /* entries that are dropped with one waiting */

static int note_former(struct pfs_fs *fs, uint32_t first, uint32_t end)
{
	struct pfs_former_objects *grown =
		realloc(fs->former, (fs->former_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM; /* it stays until the store is closed */
	fs->former = grown;
	fs->former[fs->former_count++] = (struct pfs_former_objects){first, end};
	return 0;
}

/* What is dropped of an object that lost its name. Where the name can't be told any more the
 * kernel's inode is given up instead: asked for its attributes, the kernel learns that it is stale,
 * and looks the name up. True: that was so. */
static bool drop_entry(struct pfs_fs *fs, uint32_t object, struct pfs_invalidation *item)
{
	*item = (struct pfs_invalidation){.gone = 0};
	if (pfs_object_key(fs->store, object, &item->key) == 0)
		return false;
	*item = (struct pfs_invalidation){.gone = pfs_inode_known(fs->inodes, object)};
	pfs_inode_renew(fs->inodes, object);
	return true;
}

/* Drops what the kernel has cached of the names of [first, end), and the listing. */
static void drop_entries(struct pfs_fs *fs, uint32_t first, uint32_t end)
{
	struct pfs_invalidation items[AT_ONCE];
	uint32_t objects[AT_ONCE];
	uint64_t given_up = 0;
	size_t n;

	do {
		n = pfs_inodes_referenced(fs->inodes, first, end, objects, AT_ONCE);
		for (size_t i = 0; i < n; i++)
			given_up += drop_entry(fs, objects[i], &items[i]);
		pfs_invalidate(fs->invalidator, items, n);
		first = n ? objects[n - 1] + 1 : end;
	} while (n == AT_ONCE && first < end);
	if (given_up)
		pfs_logf(fs->logger, PFS_LOG_WARNING,
			 "%llu document%s of the former generation can't be told by name any more: "
			 "files of it that are open can't be read further",
			 (unsigned long long)given_up, given_up == 1 ? "" : "s");
}

static void forget_unused(struct pfs_fs *fs)
{
	size_t left = 0;

	for (size_t i = 0; i < fs->former_count; i++) {
		struct pfs_former_objects *former = &fs->former[i];
		uint32_t object;

		if (pfs_inodes_referenced(fs->inodes, former->first, former->end, &object, 1))
			fs->former[left++] = *former;
		else
			pfs_store_forget(fs->store, former->first);
	}
	fs->former_count = left;
}

int pfs_fs_refresh(struct pfs_fs *fs)
{
	struct pfs_refreshed refreshed;
	int err;

	pthread_mutex_lock(&fs->refresh_lock);
	err = pfs_store_refresh(fs->store, &refreshed);
	if (!err && refreshed.changed) {
		pfs_inodes_refreshed(fs->inodes);
		(void)note_former(fs, refreshed.first, refreshed.end);
		pfs_root_touch(&fs->root);
		drop_entries(fs, refreshed.first, refreshed.end);
		pfs_logf(fs->logger, PFS_LOG_INFO, "generation %u is read now",
			 refreshed.generation);
	}
	forget_unused(fs);
	pthread_mutex_unlock(&fs->refresh_lock);
	return err;
}
