/* Rank 1: the directory of a chunk cache on the local disk: sparse files of bytes that somebody has
 * checksums for, and small files kept whole.
 *
 * Not a part of a store, and not reached through its table of operations: nothing in it is ever the
 * only copy, nothing is synced, and all that is here may be torn, cut off or gone at the next look.
 * Several processes may share it. Its files lie in a directory of their own below the one given
 * (`chunks`), which must belong to this user alone, since checksums keep nobody from forging.
 *
 * Files are opened for each call, so that any number of objects costs no descriptors and a file
 * that another process has removed is missed at once. Any function from any thread. */
#ifndef PFS_CACHE_DIR_H
#define PFS_CACHE_DIR_H

#include <sys/types.h>

#include "storage/base.h"
#include "storage/log.h"

struct pfs_cache_dir;

/* -EACCES: it belongs to others, or others may write to it (*reason says so); errors of the
 * filesystem. */
int pfs_cache_dir_open(struct pfs_cache_dir **out, const char *path, uint64_t size_max,
		       struct pfs_reason *reason);
void pfs_cache_dir_close(struct pfs_cache_dir *dir);

/* Bytes read, fewer where the file ends or is not there; holes read as zeros. touch: counts as a
 * use of the file. */
ssize_t pfs_cache_dir_read(struct pfs_cache_dir *dir, const char *name, void *buf, size_t len,
			   uint64_t off, bool touch);

/* Makes the file where needed; counts as a use. Now and then removes what was not used for the
 * longest time. On an error any part may have been written. */
int pfs_cache_dir_write(struct pfs_cache_dir *dir, const char *name, const void *buf, size_t len,
			uint64_t off);

/* The bytes read as zeros afterwards, or are gone. */
void pfs_cache_dir_forget(struct pfs_cache_dir *dir, const char *name, uint64_t off, uint64_t len);

/* Whole files, see chunk_cache.h. */
int pfs_cache_dir_keep(struct pfs_cache_dir *dir, const char *name, const void *data, size_t len);
int pfs_cache_dir_kept(struct pfs_cache_dir *dir, const char *name, void **data, size_t *len);

/* Bytes of disk when it was last measured, with what was written since; and files removed. */
void pfs_cache_dir_usage(struct pfs_cache_dir *dir, uint64_t *bytes, uint64_t *evicted);

#endif
