/* Rank 5: writing the containers of versions into the pages, for a checkpoint. Checkpoint lock. */
#ifndef PFS_STORE_APPLY_H
#define PFS_STORE_APPLY_H

#include "storage/store_internal.h"

#define PFS_GATHER_LEN (256 * PFS_KIB)
/* Less than a block, so that no block is written in which nothing changes. A system call takes as
 * long as copying several times that. */
#define PFS_GATHER_GAP 1024u

/* Writes that lie close behind one another are gathered into one. */
struct pfs_gather {
	struct pfs_store *store;
	struct pfs_page *page;
	uint64_t off;
	size_t len;
	uint8_t *buf;  /* PFS_GATHER_LEN, the caller's */
	uint8_t *body; /* PFS_PACKED_ROOM, the caller's: the body that is on its way */
	bool failed;   /* a write to a page */
};

/* Writes what is gathered. An error is that of pfs_page_write. */
int pfs_gather_flush(struct pfs_gather *g);

/* Room for len bytes, up to PFS_GATHER_LEN, at off of page, where the caller puts them; they are
 * written at the latest by a flush. An error is that of writing what was gathered before. */
int pfs_gather_room(struct pfs_gather *g, struct pfs_page *page, uint64_t off, size_t len,
		    uint8_t **out);

/* Writes the container of the version, which has a target, in part into what is gathered, and sets
 * its applied_len. A payload that can't be read becomes one that is lost. -ENOSPC, -ENOMEM, -EIO.
 */
int pfs_apply(struct pfs_gather *g, struct pfs_version *v);

#endif
