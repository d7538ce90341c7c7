/* Finds out what is mounted at a path, from /proc/self/mountinfo. */
#ifndef TOOLS_MOUNTINFO_H
#define TOOLS_MOUNTINFO_H

#include <stdio.h>

#include "storage/base.h"

#define MOUNT_TYPE "fuse.payloadfs"

/* A mount of payloadfs. The strings are malloc'ed. */
struct mount {
	char *point;  /* canonical path of the mount point */
	char *source; /* the store's directory */
};

void mount_free(struct mount *mount);

/* Looks for the topmost mount whose mount point is exactly path (absolute, canonical) in a stream
 * of mountinfo's format. 1: it is one of payloadfs. 0: it is not, or nothing is mounted there;
 * *mount is empty. -ENOMEM, -EIO. */
int mountinfo_search(FILE *mountinfo, const char *path, struct mount *mount);

/* The same for a path as a person gives it, which may be relative, go through symbolic links, or
 * lead to a mount whose daemon is dead. */
int mountinfo_find(const char *path, struct mount *mount);

#endif
