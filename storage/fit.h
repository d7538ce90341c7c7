/* Rank 2: pages ordered by how long a container they can take, so that the best-fitting one, the
 * page with the least room that still fits, is found in O(log n). A treap by (room, number) whose
 * nodes are embedded in the pages. Not locked: the owner is. */
#ifndef PFS_FIT_H
#define PFS_FIT_H

#include "storage/base.h"

struct pfs_fit_node {
	struct pfs_fit_node *left, *right;
	uint64_t room;
	uint32_t number, priority;
};

struct pfs_fit {
	struct pfs_fit_node *root;
};

/* node's room and number are set; its priority is worked out from the number. */
void pfs_fit_insert(struct pfs_fit *fit, struct pfs_fit_node *node);

/* node is in the tree with the room it was inserted with. */
void pfs_fit_remove(struct pfs_fit *fit, struct pfs_fit_node *node);

/* The first node that is not before (room, number), or NULL. pfs_fit_from(fit, need, 0) is the best
 * fit; pfs_fit_from(fit, node->room, node->number + 1) is the one after node. */
struct pfs_fit_node *pfs_fit_from(const struct pfs_fit *fit, uint64_t room, uint32_t number);

#endif
