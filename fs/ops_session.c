#include "fs/ops.h"

#include <inttypes.h>
#include <unistd.h>

#include "fs/ops_impl.h"

/* Permissions of the root directory, from the defaults of documents: who may read may also list and
 * enter. */
static uint32_t root_mode(uint32_t document_mode)
{
	uint32_t readable = document_mode & 0444;

	return 0700 | readable | readable >> 2 | (document_mode & 0222);
}

int pfs_fs_init(struct pfs_fs *fs, struct pfs_store *store, const struct pfs_logger *logger)
{
	struct pfs_store_stat stat;
	int err;

	memset(fs, 0, sizeof(*fs));
	fs->store = store;
	fs->logger = logger;
	err = pfs_store_stat(store, &stat);
	if (!err)
		err = pfs_inodes_new(&fs->inodes, store);
	if (err)
		return err;
	pfs_root_init(&fs->root, root_mode(stat.defaults.mode), stat.defaults.uid,
		      stat.defaults.gid);
	for (int i = 0; i < PFS_WRITE_STRIPES; i++)
		pthread_mutex_init(&fs->write_locks[i], NULL);
	return 0;
}

void pfs_fs_destroy(struct pfs_fs *fs)
{
	if (!fs->inodes)
		return;
	for (int i = 0; i < PFS_WRITE_STRIPES; i++)
		pthread_mutex_destroy(&fs->write_locks[i]);
	pfs_root_destroy(&fs->root);
	pfs_inodes_free(fs->inodes);
	fs->inodes = NULL;
}

/* ---- invalidation ---- */

static int notify_entry(void *arg, const char *name, size_t len, uint64_t gone)
{
	struct pfs_fs *fs = arg;

	/* The second form also tells who still has the old document open that it has no name any
	 * more. */
	if (gone == 0)
		return fuse_lowlevel_notify_inval_entry(fs->session, PFS_INODE_ROOT, name, len);
	return fuse_lowlevel_notify_delete(fs->session, PFS_INODE_ROOT, gone, name, len);
}

static int notify_listing(void *arg)
{
	struct pfs_fs *fs = arg;

	return fuse_lowlevel_notify_inval_inode(fs->session, PFS_INODE_ROOT, 0, 0);
}

int pfs_fs_start_invalidator(struct pfs_fs *fs)
{
	const struct pfs_invalidate_ops ops = {
		.entry = notify_entry, .listing = notify_listing, .arg = fs};

	return pfs_invalidator_start(&fs->invalidator, &ops, fs->logger);
}

void pfs_fs_changed(struct pfs_fs *fs, const struct pfs_serve_change *changes, size_t count)
{
	struct pfs_invalidation items[PFS_SERVE_CHANGES_MAX];

	count = pfs_min_u64(count, PFS_SERVE_CHANGES_MAX);
	for (size_t i = 0; i < count; i++) {
		items[i].key = changes[i].key;
		items[i].gone =
			changes[i].replaced ? pfs_inode_known(fs->inodes, changes[i].replaced) : 0;
	}
	pfs_root_touch(&fs->root);
	pfs_invalidate(fs->invalidator, items, count);
	for (size_t i = 0; i < count; i++)
		pfs_inode_unnamed(fs->inodes, changes[i].replaced);
}

/* ---- counters ---- */

void pfs_fs_log_counters(struct pfs_fs *fs)
{
	static const char *const names[] = {
#define PFS_OP_NAME(id, text) [PFS_OP_##id] = text,
		PFS_OPS(PFS_OP_NAME)
#undef PFS_OP_NAME
	};
	struct pfs_inodes_stat inodes;

	for (int op = 0; op < PFS_OP_COUNT; op++) {
		uint64_t n = atomic_load(&fs->requests[op]);

		if (n > 0)
			pfs_logf(fs->logger, PFS_LOG_INFO, "requests: %s %" PRIu64, names[op], n);
	}
	pfs_inodes_stat(fs->inodes, &inodes);
	pfs_logf(fs->logger, PFS_LOG_INFO,
		 "inodes: referenced %" PRIu64 ", released %" PRIu64 ", table bytes %" PRIu64,
		 inodes.referenced, inodes.releases, inodes.bytes);
}
