#include "fs/ops.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fs/ops_impl.h"

/* Permissions of the root directory, from the defaults of documents: who may read may also list and
 * enter. */
static uint32_t root_mode(uint32_t document_mode)
{
	uint32_t readable = document_mode & 0444;

	return 0700 | readable | readable >> 2 | (document_mode & 0222);
}

static const char *const op_names[] = {
#define PFS_OP_NAME(id, text) [PFS_OP_##id] = text,
	PFS_OPS(PFS_OP_NAME)
#undef PFS_OP_NAME
};

static void control_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	pfs_fs_changed(arg, changes, count);
}

static int control_drop(void *arg, fuse_ino_t parent, const char *name, size_t len)
{
	struct pfs_fs *fs = arg;

	return fuse_lowlevel_notify_inval_entry(fs->session, parent, name, len);
}

static int make_control(struct pfs_fs *fs)
{
	const struct pfs_control_env env = {
		.store = fs->store,
		.root = &fs->root,
		.logger = fs->logger,
		.latencies = fs->latencies,
		.names = op_names,
		.count = PFS_OP_COUNT,
		.json_check = fs->json_check,
		.changed = control_changed,
		.drop = control_drop,
		.arg = fs,
	};

	return pfs_control_new(&fs->control, &env);
}

int pfs_fs_init(struct pfs_fs *fs, struct pfs_store *store, const struct pfs_logger *logger,
		bool json_check, bool low_latency)
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
	err = pfs_histograms_new(&fs->latencies, PFS_OP_COUNT);
	if (err) {
		pfs_inodes_free(fs->inodes);
		fs->inodes = NULL;
		return err;
	}
	pfs_root_init(&fs->root, root_mode(stat.defaults.mode), stat.defaults.uid,
		      stat.defaults.gid);
	for (int i = 0; i < PFS_WRITE_STRIPES; i++)
		pthread_mutex_init(&fs->write_locks[i], NULL);
	pthread_mutex_init(&fs->refresh_lock, NULL);
	if (json_check)
		err = pfs_json_check_new(&fs->json_check, store, logger);
	if (!err && low_latency)
		err = pfs_latency_new(&fs->latency, PFS_LATENCY_DEVICE, logger);
	if (!err)
		err = make_control(fs);
	if (err)
		pfs_fs_destroy(fs);
	return err;
}

void pfs_fs_destroy(struct pfs_fs *fs)
{
	if (!fs->inodes)
		return;
	for (int i = 0; i < PFS_WRITE_STRIPES; i++)
		pthread_mutex_destroy(&fs->write_locks[i]);
	pthread_mutex_destroy(&fs->refresh_lock);
	free(fs->former);
	fs->former = NULL;
	fs->former_count = 0;
	pfs_control_free(fs->control);
	pfs_json_check_free(fs->json_check);
	pfs_latency_free(fs->latency);
	pfs_histograms_free(fs->latencies);
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

static int notify_attributes(void *arg, uint64_t nodeid)
{
	struct pfs_fs *fs = arg;

	return fuse_lowlevel_notify_inval_inode(fs->session, nodeid, -1, 0);
}

static int notify_listing(void *arg)
{
	struct pfs_fs *fs = arg;

	return fuse_lowlevel_notify_inval_inode(fs->session, PFS_INODE_ROOT, 0, 0);
}

int pfs_fs_start(struct pfs_fs *fs)
{
	const struct pfs_invalidate_ops ops = {.entry = notify_entry,
					       .attributes = notify_attributes,
					       .listing = notify_listing,
					       .arg = fs};
	int err = pfs_invalidator_start(&fs->invalidator, &ops, fs->logger);

	if (!err)
		err = pfs_inodes_start(fs->inodes);
	if (!err)
		err = pfs_control_start(fs->control);
	if (!err && fs->json_check)
		err = pfs_json_check_start(fs->json_check);
	if (!err && fs->latency)
		err = pfs_latency_start(fs->latency);
	return err;
}

void pfs_fs_leave(struct pfs_fs *fs)
{
	pfs_control_leave(fs->control);
	pfs_invalidator_end(fs->invalidator);
}

void pfs_fs_stop(struct pfs_fs *fs)
{
	/* In this order: an import waits for invalidations. */
	pfs_control_stop(fs->control);
	pfs_invalidator_stop(fs->invalidator);
	fs->invalidator = NULL;
	pfs_json_check_stop(fs->json_check);
	pfs_latency_stop(fs->latency);
	pfs_inodes_stop(fs->inodes);
}

void pfs_fs_changed(struct pfs_fs *fs, const struct pfs_serve_change *changes, size_t count)
{
	struct pfs_invalidation items[PFS_SERVE_CHANGES_MAX];

	count = pfs_min_u64(count, PFS_SERVE_CHANGES_MAX);
	for (size_t i = 0; i < count; i++) {
		pfs_json_check_note(fs->json_check, &changes[i].key);
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
	struct pfs_inodes_stat inodes;

	for (int op = 0; op < PFS_OP_COUNT; op++) {
		uint64_t n = pfs_histograms_count(fs->latencies, (unsigned)op);

		if (n > 0)
			pfs_logf(fs->logger, PFS_LOG_INFO, "requests: %s %" PRIu64, op_names[op],
				 n);
	}
	pfs_inodes_stat(fs->inodes, &inodes);
	pfs_logf(fs->logger, PFS_LOG_INFO,
		 "inodes: referenced %" PRIu64 ", released %" PRIu64 ", table bytes %" PRIu64,
		 inodes.referenced, inodes.releases, inodes.bytes);
}
