/* Finds out what is mounted at a path, from /proc/self/mountinfo. */
#ifndef TOOLS_MOUNTINFO_H
#define TOOLS_MOUNTINFO_H

#include <stdio.h>

#include "storage/base.h"

#define MOUNT_TYPE "fuse.payloadfs"

/* Looks for the topmost mount whose mount point is exactly path (absolute, canonical) in a stream
 * of mountinfo's format. 1: it is one of payloadfs, *source (malloc'ed) is its source: the store's
 * directory. 0: it is not, or nothing is mounted there. -ENOMEM, -EIO. */
int mountinfo_search(FILE *mountinfo, const char *path, char **source);

/* The same for a path as a person gives it, which may be relative, go through symbolic links, or
 * lead to a mount whose daemon is dead. *canonical (malloc'ed) is set whenever 1 is returned. */
int mountinfo_find(const char *path, char **canonical, char **source);

#endif
