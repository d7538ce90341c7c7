/* How a change enters a store: the commit lock, the slowing of writers that are faster than the
 * checkpoints, and room on a full disk. */
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

#define RESERVE_AGAIN (8 * PFS_RESERVE_BYTES) /* free space at which the reserve is made anew */
#define ROOM_TRIES 3

/* Slowing: what a write of SLOW_BYTES waits when the journal is at its limit, the least that is
 * slept at once, and the most. */
#define SLOW_NS 8000000
#define SLOW_BYTES (16 * PFS_KIB)
#define SLEEP_NS_MIN 300000
#define SLEEP_NS_MAX 100000000

/* ---- room ---- */

static int open_reserve(struct pfs_store *store, struct pfs_file **file)
{
	return store->dir->ops->open(store->dir, PFS_RESERVE_NAME, PFS_IO_WRITE | PFS_IO_CREATE,
				     file);
}

/* What a failed attempt to make it larger has taken goes back. */
static int cut_reserve(struct pfs_file *file)
{
	int err = file->ops->truncate(file, PFS_RESERVE_CLOSED);

	return err ? err : file->ops->allocate(file, 0, PFS_RESERVE_CLOSED);
}

int pfs_make_reserve(struct pfs_store *store)
{
	struct pfs_file *file;
	int err = open_reserve(store, &file);

	if (err)
		return err;
	err = file->ops->allocate(file, 0, PFS_RESERVE_BYTES);
	if (err == -ENOSPC)
		(void)cut_reserve(file);
	file->ops->close(file);
	return err;
}

void pfs_give_up_reserve(struct pfs_store *store)
{
	store->reserve_dropped = true;
	store->dir->ops->unlink(store->dir, PFS_RESERVE_NAME);
	store->dir->ops->unlink(store->dir, PFS_INDEX_NAME);
}

void pfs_close_reserve(struct pfs_store *store)
{
	struct pfs_file *file;

	if (open_reserve(store, &file) != 0)
		return;
	/* What could be had of it is better than nothing. */
	(void)cut_reserve(file);
	file->ops->close(file);
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
		pfs_give_up_reserve(store);
	pthread_mutex_unlock(&store->commit);
}

/* ---- entering and leaving ---- */

void pfs_want_checkpoint(struct pfs_store *store, bool force)
{
	if (store->manual)
		return;
	pthread_mutex_lock(&store->wake_lock);
	__atomic_store_n(&store->checkpoint_wanted, true, __ATOMIC_RELEASE);
	store->force_wanted |= force;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
}

/* Wakes the thread that looks at the flag. */
static void wake_for(struct pfs_store *store, bool *flag)
{
	pthread_mutex_lock(&store->wake_lock);
	__atomic_store_n(flag, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
}

/* Slows all writers together to the pace at which checkpoints make room: what is waited for each
 * write grows with the square of how much of the way to the limit the journal has come, so that a
 * balance is found well before the end, and nobody has to wait there for a whole checkpoint. What
 * is too short to sleep is added up. */
static void slow_down(struct pfs_store *store, uint64_t journal, uint64_t to, size_t len)
{
	uint64_t from = to / PFS_JOURNAL_SLOW_DIV;
	struct timespec pause;
	double way;
	int64_t ns;

	if (journal <= from || to < PFS_JOURNAL_MAX_LOW)
		return;
	way = (double)(pfs_min_u64(journal, to) - from) / (double)(to - from);
	ns = (int64_t)(way * way * SLOW_NS *
		       (double)(1 + pfs_min_u64(len, PFS_WHOLE_WRITE_MAX) / SLOW_BYTES));
	ns += (int64_t)__atomic_fetch_add(&store->slow_debt_ns, (uint64_t)ns, __ATOMIC_RELAXED);
	if (ns < SLEEP_NS_MIN)
		return;
	ns = (int64_t)pfs_min_u64(__atomic_exchange_n(&store->slow_debt_ns, 0, __ATOMIC_RELAXED),
				  SLEEP_NS_MAX);
	pause = (struct timespec){0, (long)ns};
	nanosleep(&pause, NULL);
}

/* Waits until the writer thread's checkpoint has given segments back, or has ended without. */
static void wait_for_room(struct pfs_store *store)
{
	uint64_t made, done;

	pthread_mutex_lock(&store->wake_lock);
	made = store->room_made;
	done = store->checkpoints_done;
	__atomic_store_n(&store->checkpoint_wanted, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&store->wake);
	while (store->room_made == made && store->checkpoints_done == done)
		pthread_cond_wait(&store->wake, &store->wake_lock);
	pthread_mutex_unlock(&store->wake_lock);
}

void pfs_write_throttle(struct pfs_store *store, size_t len, bool large)
{
	uint64_t live, pinned, max;

	if (store->manual)
		return;
	pthread_mutex_lock(&store->commit);
	live = pfs_journal_live_bytes(store->journal);
	pinned = pfs_min_u64(pfs_max_u64(store->staged_bytes, store->journal_kept), live);
	max = store->journal_max;
	pthread_mutex_unlock(&store->commit);
	/* What documents under heavy writing keep in the journal is their writers' to wait for, not
	 * everybody's; another checkpoint would not free it, and leave one more segment half full.
	 */
	if (live > store->stage_journal_max)
		pfs_want_checkpoint(store, true);
	slow_down(store, live - pinned, max, len);
	if (live - pinned > max)
		wait_for_room(store);
	else if (large && live > store->stage_journal_max)
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
		    pfs_journal_live_bytes(store->journal) >
			    store->journal_kept + store->journal_max / PFS_JOURNAL_SOFT_DIV;
	bool spares = !__atomic_load_n(&store->spares_wanted, __ATOMIC_RELAXED) &&
		      pfs_journal_spares(store->journal) < PFS_SPARES_LOW;
	bool train = !__atomic_load_n(&store->train_wanted, __ATOMIC_RELAXED) &&
		     pfs_training_is_due(store);

	pfs_epoch_leave();
	pthread_mutex_unlock(&store->commit);
	if (want)
		pfs_want_checkpoint(store, false);
	if (train && !store->manual)
		wake_for(store, &store->train_wanted);
	if (spares && !store->manual)
		wake_for(store, &store->spares_wanted);
}

/* Whether to try again after err: the first times that there was no room, having made some. */
bool pfs_write_again(struct pfs_store *store, int err, unsigned *tries, bool privileged)
{
	if (err != -ENOSPC || ++*tries >= ROOM_TRIES)
		return false;
	pfs_make_room(store, privileged && *tries > 1);
	return true;
}
