/* Rank 2: the free extents of one page, in memory: exact, coalesced with their neighbours, every
 * operation O(log n). A treap by offset (Seidel and Aragon, 1996) in which each node knows the
 * longest extent below it. Not locked: the owner of the page is. */
#ifndef PFS_SPACE_H
#define PFS_SPACE_H

#include "storage/base.h"

struct pfs_space_node;

struct pfs_space {
	struct pfs_space_node *nodes; /* node 0 is none */
	uint32_t node_count, node_cap;
	uint32_t root, spare; /* spare: list of unused nodes */
	uint64_t free_bytes;
	uint32_t random;
};

void pfs_space_init(struct pfs_space *space);
void pfs_space_free(struct pfs_space *space);

/* Makes sure that n more extents can be added without allocating. -ENOMEM. */
int pfs_space_reserve(struct pfs_space *space, uint32_t n);

/* Adds [off, off + len), len > 0, which overlaps no free extent (-EUCLEAN if it does; nothing
 * changes then). -ENOMEM without a reservation. */
int pfs_space_add(struct pfs_space *space, uint64_t off, uint64_t len);

/* Takes len bytes from the lowest extent that is long enough: its offset in *off. -ENOSPC. */
int pfs_space_take(struct pfs_space *space, uint64_t len, uint64_t *off);

/* Takes the first len bytes of the extent that begins at off. -ENOSPC: none begins there, or it is
 * shorter. Needs no memory. */
int pfs_space_take_at(struct pfs_space *space, uint64_t off, uint64_t len);

/* The longest free extent, 0 when there is none. */
uint64_t pfs_space_longest(const struct pfs_space *space);

uint32_t pfs_space_extents(const struct pfs_space *space);

#endif
