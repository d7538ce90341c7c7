/* Rank 1: makes up for libfuse versions that take a capability and forget to tell the kernel.
 *
 * libfuse 3.14 has FUSE_CAP_PARALLEL_DIROPS, but leaves it out of its reply to INIT: the kernel
 * then sends the lookups and listings of a directory one after the other, and all documents are in
 * one directory. So the reply is completed on its way to the kernel. Newer versions set the flag
 * themselves, and nothing is changed. */
#ifndef PFS_INIT_REPLY_H
#define PFS_INIT_REPLY_H

#include <stdatomic.h>

#include "fs/fuse_api.h"

/* First member of the session's userdata. */
struct pfs_init_reply {
	_Atomic bool sent;
	bool parallel_dirops; /* set by the handler of INIT: the kernel can do it and it is wanted
			       */
};

/* After fuse_session_mount and before the loop. -errno. */
int pfs_init_reply_watch(struct fuse_session *session);

#endif
