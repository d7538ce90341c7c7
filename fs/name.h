/* Rank 0: what a file name in the mount stands for. Pure.
 *
 * A name is a point id, a scratch name (storage/key.h), reserved, or refused. */
#ifndef PFS_NAME_H
#define PFS_NAME_H

#include "storage/key.h"

/* Kept for the control directory: no document can have this name. */
#define PFS_NAME_RESERVED ".payloadfs"

enum pfs_name_use {
	PFS_NAME_FIND, /* lookup, removal, source of a rename */
	PFS_NAME_MAKE, /* creation, target of a rename */
};

/* Turns a file name into a key. strict: no scratch file is made (those that are there can still be
 * used and removed). -EINVAL: looks like an id but is not canonical, or a scratch name where strict
 * forbids it; -ENAMETOOLONG; for the reserved name -ENOENT when finding, -EPERM when making. On
 * error *key has kind NONE. */
int pfs_name_key(struct pfs_key *key, const char *name, enum pfs_name_use use, bool strict);

#endif
