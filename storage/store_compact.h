/* Rank 5: what emptying one page after the other (store_compact.c) and packing everything
 * (store_pack.c) share. Compact lock. */
#ifndef PFS_STORE_COMPACT_H
#define PFS_STORE_COMPACT_H

#include "storage/store_internal.h"

/* A lock hold, and what is moved between two checkpoints. */
#define PFS_COMPACT_GROUP_VALUES 32u
#define PFS_COMPACT_GROUP_BYTES (256 * PFS_KIB)
#define PFS_COMPACT_UNAPPLIED_BYTES (8 * PFS_MIB)
#define PFS_COMPACT_UNAPPLIED_VALUES 16384u

/* Commit lock. The object whose document stands in the slot; PFS_OBJECT_NONE: it is on its way
 * elsewhere, or the index does not have it. */
uint32_t pfs_compact_object_at(struct pfs_store *store, uint32_t page, uint32_t number,
			       const struct pfs_slot *slot);

/* Lets those go first who wait to change something. */
void pfs_compact_yield(struct pfs_store *store);

/* Brings what was moved into the pages. */
int pfs_compact_apply(struct pfs_store *store, bool force);

static inline bool pfs_compact_is_due(const struct pfs_store *store)
{
	return store->compaction.unapplied >= PFS_COMPACT_UNAPPLIED_BYTES ||
	       store->compaction.unapplied_values >= PFS_COMPACT_UNAPPLIED_VALUES;
}

/* Moves the next values of the victim. 1: it is not done, 0: it is: empty and gone, or given up. */
int pfs_compact_victim_step(struct pfs_store *store, bool force);

/* Bytes of documents in the pages, dead ones, and how many of these start compaction, or keep it
 * going. Commit lock. */
struct pfs_waste {
	uint64_t live, dead, dead_max;
};
void pfs_count_waste(struct pfs_store *store, bool running, struct pfs_waste *out);

/* Whether compaction at work would empty the page, after those with a greater dead share. Commit
 * lock. */
bool pfs_compact_is_worth(struct pfs_page *page, const struct pfs_page_space *space);

/* The victim is open again. stuck: it is not tried before something has left it. */
void pfs_compact_give_up(struct pfs_store *store, bool stuck);

#endif
