/* How a change enters a store: the commit lock, the slowing of writers that are faster than the
 * checkpoints, and room on a full disk. */
#include "storage/epoch.h"
#include "storage/store_internal.h"

#define RESERVE_AGAIN (8 * PFS_RESERVE_BYTES) /* free space at which the reserve is made anew */
#define ROOM_TRIES 3

/* ---- room ---- */

int pfs_make_reserve(struct pfs_store *store)
{
	struct pfs_file *file;
	int err = store->dir->ops->open(store->dir, PFS_RESERVE_NAME, PFS_IO_WRITE | PFS_IO_CREATE,
					&file);

	if (err)
		return err;
	err = file->ops->allocate(file, 0, PFS_RESERVE_BYTES);
	file->ops->close(file);
	return err;
}

/* The reserve's space becomes free for one change that must work on a full disk. */
static void open_reserve(struct pfs_store *store)
{
	store->reserve_dropped = true;
	store->dir->ops->unlink(store->dir, PFS_RESERVE_NAME);
}

void pfs_restore_reserve(struct pfs_store *store)
{
	struct pfs_io_space space;

	pthread_mutex_lock(&store->commit);
	if (store->reserve_dropped && store->dir->ops->space(store->dir, &space) == 0 &&
	    space.available > RESERVE_AGAIN && pfs_make_reserve(store) == 0)
		store->reserve_dropped = false;
	pthread_mutex_unlock(&store->commit);
}

void pfs_make_room(struct pfs_store *store, bool privileged)
{
	(void)pfs_checkpoint(store, true);
	pfs_compact_for_room(store);
	pthread_mutex_lock(&store->commit);
	pfs_compact_yield_room(store);
	pfs_journal_trim(store->journal, 3);
	if (privileged)
		open_reserve(store);
	pthread_mutex_unlock(&store->commit);
}

/* ---- entering and leaving ---- */

static void want_checkpoint(struct pfs_store *store, bool force)
{
	pthread_mutex_lock(&store->wake_lock);
	__atomic_store_n(&store->checkpoint_wanted, true, __ATOMIC_RELEASE);
	store->force_wanted = store->force_wanted || force;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
}

static void want_training(struct pfs_store *store)
{
	pthread_mutex_lock(&store->wake_lock);
	__atomic_store_n(&store->train_wanted, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
}

void pfs_write_throttle(struct pfs_store *store, bool large)
{
	uint64_t live, staged;

	if (store->manual)
		return;
	pthread_mutex_lock(&store->commit);
	live = pfs_journal_live_bytes(store->journal);
	staged = pfs_min_u64(store->staged_bytes, live);
	pthread_mutex_unlock(&store->commit);
	/* What documents under heavy writing keep in the journal is their writers' to wait for, not
	 * everybody's. */
	if (live > PFS_STAGE_JOURNAL_MAX)
		want_checkpoint(store, true);
	if (live - staged > store->journal_max)
		pfs_checkpoint(store, false);
	else if (large && live > PFS_STAGE_JOURNAL_MAX)
		pfs_checkpoint(store, true);
}

void pfs_write_enter(struct pfs_store *store)
{
	__atomic_add_fetch(&store->waiting, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&store->commit);
	__atomic_sub_fetch(&store->waiting, 1, __ATOMIC_RELAXED);
	pfs_epoch_enter();
}

void pfs_write_leave(struct pfs_store *store)
{
	bool want = !__atomic_load_n(&store->checkpoint_wanted, __ATOMIC_ACQUIRE) &&
		    pfs_journal_live_bytes(store->journal) > store->journal_kept + PFS_JOURNAL_SOFT;
	bool train = !__atomic_load_n(&store->train_wanted, __ATOMIC_RELAXED) &&
		     pfs_training_is_due(store);

	pfs_epoch_leave();
	pthread_mutex_unlock(&store->commit);
	if (want && !store->manual)
		want_checkpoint(store, false);
	if (train && !store->manual)
		want_training(store);
}

/* Whether to try again after err: the first times that there was no room, having made some. */
bool pfs_write_again(struct pfs_store *store, int err, unsigned *tries, bool privileged)
{
	if (err != -ENOSPC || ++*tries >= ROOM_TRIES)
		return false;
	pfs_make_room(store, privileged && *tries > 1);
	return true;
}
