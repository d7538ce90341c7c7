/* Rank 5: snapshots, as the rest of the store sees them: what must be done before a change, when a
 * container is freed, and in a checkpoint. store_snapshot.c says how it works.
 *
 * Locks. Everything here is called under the commit lock, if nothing else is said. */
#ifndef PFS_STORE_SNAPSHOT_H
#define PFS_STORE_SNAPSHOT_H

#include <pthread.h>

#include "storage/former.h"

struct pfs_store;
struct pfs_snapshot;
struct pfs_version;
struct pfs_page;

struct pfs_snapshots {
	pthread_mutex_t lock; /* innermost: of the chain and all overlays; changes of both need the
				 commit lock, too */
	struct pfs_snapshot *oldest, *newest;
	uint64_t count;
	/* Commit lock. */
	struct pfs_pins pins;
};

/* Before a change of what `key` shows (its content, attributes, name, or that it is not there), and
 * before a place is looked for: every snapshot can go on showing what it shows. object: that has
 * the key, or 0. -ENOMEM: the change must not be made. To call it without making a change is
 * harmless. Not for a move, which leaves what is shown as it is: that sets the version's `moved`.
 */
int pfs_snapshot_keep(struct pfs_store *store, const struct pfs_key *key, uint32_t object);

/* Whether the version's home may not be written over by it, because a snapshot shows it, or may
 * come to. */
bool pfs_snapshot_pins_home(const struct pfs_store *store, const struct pfs_version *version);

/* Gives slot and container back for reuse, as pfs_pager_free; of a pinned container the slot now
 * and the bytes when it is not pinned any more. */
void pfs_snapshot_free(struct pfs_store *store, const struct pfs_extent_at *at);

/* Bytes of the page that only snapshots need. */
uint64_t pfs_snapshot_pinned(const struct pfs_store *store, uint32_t page);

/* The checkpoint takes everything that is logged: this is the snapshot's moment. */
void pfs_snapshot_begin(struct pfs_store *store, struct pfs_snapshot *snapshot);

/* The checkpoint failed: the snapshot gets no more entries, and is going to be closed. */
void pfs_snapshot_give_up(struct pfs_snapshot *snapshot);

/* The checkpoint has written the version, for which something was kept, to its target. */
void pfs_snapshot_written(struct pfs_store *store, struct pfs_version *version);

struct pfs_store_stat;
void pfs_snapshot_stat(const struct pfs_store *store, struct pfs_store_stat *out);

/* No lock. */
void pfs_snapshots_init(struct pfs_snapshots *snapshots);
/* Before the index is saved: frees those that were not closed, which is a fault of their owners. */
void pfs_snapshots_end(struct pfs_store *store);

#endif
