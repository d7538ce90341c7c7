/* Rank 0: paths of the command line. Changes nothing. */
#ifndef PFS_PATHS_H
#define PFS_PATHS_H

#include "storage/base.h"

/* The absolute path without links, also for a path whose last components do not exist yet. *out is
 * malloc'ed. Errors of realpath(3) for the part that exists; -EINVAL: "." or ".." behind what does
 * not exist. On error *out is NULL. */
int pfs_path_resolve(char **out, const char *path);

/* Both absolute and without links: path is dir, or lies below it. */
bool pfs_path_inside(const char *path, const char *dir);

/* The store of a mount point when none is named: below /var/lib for root, else below the user's
 * data directory. *out is malloc'ed. -ENOENT: neither XDG_DATA_HOME nor HOME is set. -ENOMEM. */
int pfs_path_default_store(char **out, const char *mountpoint, bool root);

/* Where what was fetched is kept when nobody says where: below XDG_CACHE_HOME or HOME, or for root
 * below /var/cache. *out is malloc'ed. -ENOENT: neither variable says where; -ENOMEM. */
int pfs_path_default_cache(char **out, bool root);

/* path, absolute. *out is malloc'ed. Nothing needs to be there. */
int pfs_path_absolute(char **out, const char *path);

#endif
