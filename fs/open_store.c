#include "fs/open_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/holder.h"
#include "fs/mount_table.h"
#include "fs/signals.h"
#include "storage/exit_codes.h"
#include "storage/monotonic.h"

#define PFS_LOCK_POLL_MS 100
#define PFS_WAIT_TOLD_MS 1000 /* after this the user is told what is waited for */

/* The store is locked. True: somebody works with it and will go on doing so (*reason says who). */
static bool is_in_use(const char *path, int64_t waited_ms, struct pfs_reason *reason)
{
	struct pfs_mount mount;
	bool mounted;

	if (!pfs_holder_is_served(path) || pfs_holder_cut_store(path))
		return false;
	mounted = pfs_mount_of(&mount, path) == 0;
	if (mounted)
		snprintf(reason->text, sizeof(reason->text),
			 "%s: the store is in use, it is mounted at %s", path, mount.path);
	else
		snprintf(reason->text, sizeof(reason->text),
			 "%s: the store is in use by another payloadfs", path);
	pfs_mount_free(&mount);
	return mounted || waited_ms >= PFS_LEAVING_WAIT_MS;
}

static int open_waiting(struct pfs_store **out, const char *path,
			const struct pfs_open_options *how, struct pfs_reason *reason)
{
	int64_t start = pfs_now_monotonic_ms();
	bool told = false;

	for (;;) {
		int err = pfs_store_open(out, path, how, reason);
		int64_t waited = pfs_now_monotonic_ms() - start;

		if (err != -EBUSY || is_in_use(path, waited, reason))
			return err;
		if (waited >= PFS_CLOSING_WAIT_MS || pfs_signals_end_pending()) {
			snprintf(reason->text, sizeof(reason->text),
				 "%s: the store is held by another process (waited %d s)", path,
				 (int)(waited / 1000));
			return err;
		}
		if (!told && waited >= PFS_WAIT_TOLD_MS) {
			pfs_logf(&how->logger, PFS_LOG_INFO,
				 "%s: waiting for another process to close the store", path);
			told = true;
		}
		usleep(PFS_LOCK_POLL_MS * 1000);
	}
}

/* What was asked for must be what the store has: these can't be changed any more. */
static int check_given(const struct pfs_options *o, const struct pfs_store_stat *stat,
		       const char *path, struct pfs_reason *reason)
{
	const struct {
		const char *option;
		bool differs;
		uint64_t has, wanted;
	} checks[] = {
		{"page_size", o->page_size && o->page_size != stat->page_size, stat->page_size,
		 o->page_size},
		{"min_value_size", o->min_value_size && o->min_value_size != stat->min_value_size,
		 stat->min_value_size, o->min_value_size},
		{"uid", o->has_uid && o->uid != stat->defaults.uid, stat->defaults.uid, o->uid},
		{"gid", o->has_gid && o->gid != stat->defaults.gid, stat->defaults.gid, o->gid},
	};

	for (size_t i = 0; i < pfs_array_len(checks); i++) {
		if (!checks[i].differs)
			continue;
		snprintf(reason->text, sizeof(reason->text),
			 "%s: the store was made with %s=%" PRIu64 ", not %" PRIu64, path,
			 checks[i].option, checks[i].has, checks[i].wanted);
		return PFS_EXIT_USAGE;
	}
	/* Documents have no execute permission of their own accord, whatever the mask says of it.
	 */
	if (o->has_umask && (0666 & ~o->umask) != stat->defaults.mode) {
		snprintf(reason->text, sizeof(reason->text),
			 "%s: the store's documents have mode %04" PRIo32 ", umask=%03" PRIo32
			 " would make it %04" PRIo32,
			 path, stat->defaults.mode, o->umask, 0666 & ~o->umask);
		return PFS_EXIT_USAGE;
	}
	return PFS_EXIT_OK;
}

int pfs_open_store(struct pfs_store **out, const struct pfs_options *options, const char *path,
		   const char *cache_path, uint32_t caller_umask, const struct pfs_logger *logger,
		   struct pfs_reason *reason)
{
	const struct pfs_defaults defaults = {
		.mode = 0666 & ~(options->has_umask ? options->umask : caller_umask),
		.uid = options->has_uid ? options->uid : geteuid(),
		.gid = options->has_gid ? options->gid : getegid(),
	};
	const struct pfs_create_options create = {
		.page_size = options->page_size,
		.min_value_size = options->min_value_size,
		.dict_off = options->dict == PFS_DICT_OFF,
	};
	const struct pfs_remote_options remote = {
		.cache_dir = cache_path,
		.cache_size = options->cache_size,
		.timeout_ms = options->timeout_seconds * 1000,
	};
	const struct pfs_open_options how = {
		.read_only = options->read_only,
		.hold_objects = true,
		.dict = options->dict,
		.commit_ms = options->commit_seconds * 1000,
		.defaults = &defaults,
		.remote = &remote,
		.logger = *logger,
	};
	struct pfs_store_stat stat;
	int err, code;

	*out = NULL;
	err = open_waiting(out, path, &how, reason);
	if (err == -ENOENT && !options->read_only) {
		err = pfs_store_create(path, &create, reason);
		if (!err || err == -EEXIST) /* somebody else was quicker */
			err = open_waiting(out, path, &how, reason);
	}
	if (err) {
		if (!reason->text[0])
			snprintf(reason->text, sizeof(reason->text), "%s: %s", path,
				 strerror(-err));
		return pfs_exit_of_open(err);
	}
	err = pfs_store_stat(*out, &stat);
	if (err)
		snprintf(reason->text, sizeof(reason->text), "%s: %s", path, strerror(-err));
	code = err ? PFS_EXIT_IO : check_given(options, &stat, path, reason);
	if (code != PFS_EXIT_OK) {
		pfs_store_close(*out);
		*out = NULL;
	}
	return code;
}
