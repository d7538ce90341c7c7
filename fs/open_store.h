/* Rank 2: opens the store of a mount: makes it when it is missing, waits for a holder that is
 * closing it. */
#ifndef PFS_OPEN_STORE_H
#define PFS_OPEN_STORE_H

#include "fs/options.h"

/* A holder that has ended its service and still closes the store is waited for so long. */
#define PFS_CLOSING_WAIT_MS 30000
/* One whose socket still answers although its mount is gone is believed to be about to close it so
 * long. */
#define PFS_LEAVING_WAIT_MS 2000

/* path: absolute, or a URL. cache_path: where what is fetched of a published collection is kept;
 * NULL: in memory only. caller_umask: that of the process that was started. Returns an exit code
 * (storage/exit_codes.h), PFS_EXIT_OK with *out open; otherwise *reason says in one line what is
 * wrong. */
int pfs_open_store(struct pfs_store **out, const struct pfs_options *options, const char *path,
		   const char *cache_path, uint32_t caller_umask, const struct pfs_logger *logger,
		   struct pfs_reason *reason);

#endif
