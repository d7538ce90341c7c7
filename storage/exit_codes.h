/* Rank 0: exit codes of payloadfs and payloadctl. Where both can end with a code, it means the same
 * for both.
 *
 * Pure. The one-line texts are what --help prints. */
#ifndef PFS_EXIT_CODES_H
#define PFS_EXIT_CODES_H

#include "storage/base.h"

enum pfs_exit {
	PFS_EXIT_OK = 0,
	PFS_EXIT_SOME =
		1, /* payloadctl: done, but some items were not found, refused or are damaged */
	PFS_EXIT_USAGE = 2,    /* the command line is wrong; nothing was done */
	PFS_EXIT_NO_STORE = 3, /* the store is missing, or what is there is not a store */
	PFS_EXIT_LOCKED = 4,   /* another process holds the store */
	PFS_EXIT_DAMAGED = 5,  /* the store is damaged beyond opening */
	PFS_EXIT_NEWER = 6,    /* the store was written by a newer version */
	PFS_EXIT_IO =
		7, /* input or output failed: device error, no space, no permission, no memory */
	PFS_EXIT_TARGET = 8, /* payloadfs: the mount point can't be used; payloadctl: the daemon
				does not answer or refuses */
	PFS_EXIT_MOUNT = 9, /* mounting or unmounting failed (busy, time-out, the kernel refuses) */
	PFS_EXIT_REPAIRED = 10, /* payloadctl check --repair: repaired, every document is there */
	PFS_EXIT_LOST = 11,	/* the same, but what some documents held was beyond repair */
};

#define PFS_EXIT_HELP                                                                    \
	"Exit codes:\n"                                                                  \
	"  0  everything was done\n"                                                     \
	"  1  done, but some items were not found, refused, or are damaged\n"            \
	"  2  wrong command line; nothing was done\n"                                    \
	"  3  the store is missing, or what is there is not a store\n"                   \
	"  4  another process holds the store\n"                                         \
	"  5  the store is damaged: it can't be opened\n"                                \
	"  6  the store was written by a newer version\n"                                \
	"  7  input or output failed (device error, no space, no permission)\n"          \
	"  8  the mount point can't be used, or its daemon does not answer or refuses\n" \
	"  9  mounting or unmounting failed (busy, time-out)\n"                          \
	" 10  check --repair: repaired, every document is there\n"                       \
	" 11  check --repair: repaired, but documents were lost (they are kept aside)\n"

/* The exit code for an error of pfs_store_create or pfs_store_open (a negative errno). */
static inline int pfs_exit_of_open(int err)
{
	switch (err) {
	case 0: return PFS_EXIT_OK;
	case -ENOENT:
	case -ENOTDIR:
	case -ENOTEMPTY:
	case -EEXIST: return PFS_EXIT_NO_STORE;
	case -EBUSY: return PFS_EXIT_LOCKED;
	case -EUCLEAN: return PFS_EXIT_DAMAGED;
	case -EPROTONOSUPPORT: return PFS_EXIT_NEWER;
	case -EINVAL: return PFS_EXIT_USAGE;
	default: return PFS_EXIT_IO;
	}
}

#endif
