/* Rank 3: one mount's life: from the open store to the closed one. */
#ifndef PFS_DAEMON_H
#define PFS_DAEMON_H

#include "fs/ops.h"
#include "fs/options.h"
#include "fs/refresher.h"
#include "fs/report.h"
#include "fs/signals.h"
#include "fs/startup.h"

/* How long SIGTERM waits for programs to close their files before it goes on without them. */
#define PFS_END_GRACE_MS 1000

struct pfs_daemon {
	/* Set by the caller. */
	const struct pfs_options *options;
	char *store_path, *mountpoint; /* absolute (or a URL); borrowed */
	char *cache_path;	       /* of what is fetched; NULL: memory only */
	uint32_t caller_umask;
	struct pfs_report *report;
	struct pfs_startup startup;

	/* The daemon's own. */
	struct pfs_fs fs;
	struct pfs_signals signals;
	struct pfs_refresher *refresher; /* NULL: there is none */
	struct fuse_session *session;
	struct pfs_serve *serve;
	pthread_t loop_thread;
	int store_dirfd;
	unsigned device_major, device_minor; /* of the mount */
	_Atomic bool loop_ended;
	_Atomic bool ending; /* the end was asked for */
};

/* Opens the store, mounts, serves until the mount is gone, closes the store. Returns the exit code
 * (storage/exit_codes.h), which a waiting parent has got if it came before the mount answered.
 * Signals are blocked (pfs_signals_block). */
int pfs_daemon_run(struct pfs_daemon *daemon);

#endif
