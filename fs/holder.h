/* Rank 2: the daemon that holds a store, as others see it.
 *
 * A daemon that is killed while it tells the kernel to drop a name that a program is just changing
 * does not end: that thread waits in the kernel for the directory's lock, the program that has the
 * lock for a reply that will never come, and the connection is not closed as long as the thread is
 * there. Only cutting the connection from outside ends it. */
#ifndef PFS_HOLDER_H
#define PFS_HOLDER_H

#include <stdbool.h>

/* Does a daemon listen on the socket of the store in this directory? */
bool pfs_holder_is_served(const char *store);

/* Cuts the connection of the mount at path (absolute, without links; nothing is asked of the mount)
 * if its daemon was killed and can't end. True when it did: the mount is dead from then on, and the
 * store free as soon as the daemon is gone. */
bool pfs_holder_cut_mount(const char *path);

/* The same for the mount of this store, wherever it is. */
bool pfs_holder_cut_store(const char *store);

#endif
