/* Rank 0: libfuse's low-level interface, one version of it for all files; what newer versions do
 * otherwise. */
#ifndef PFS_FUSE_API_H
#define PFS_FUSE_API_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

#include "storage/base.h"

#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 12)
#error "libfuse 3.12 or newer is needed"
#endif

/* Takes a capability when the kernel has it; returns whether it has. */
static inline bool pfs_fuse_want(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return fuse_set_feature_flag(conn, capability);
#else
	conn->want |= conn->capable & (unsigned)capability;
	return (conn->capable & (unsigned)capability) != 0;
#endif
}

static inline void pfs_fuse_refuse(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	fuse_unset_feature_flag(conn, capability);
#else
	conn->want &= ~(unsigned)capability;
#endif
}

#endif
