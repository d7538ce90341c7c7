/* The threads of a store: the committer, which makes durable what is in the journal, at every tick,
 * and has segments ready for what comes; and the writer, which trains, compacts and makes
 * checkpoints. */
#include <time.h>

#include "storage/monotonic.h"
#include "storage/store_internal.h"
#include "storage/team.h"

#define COMPACT_STEPS_BETWEEN 16 /* checkpoints */

static void wait_ms(struct pfs_store *store, unsigned ms)
{
	const struct timespec until = pfs_monotonic_in_ms(ms);

	pthread_cond_timedwait(&store->wake, &store->wake_lock, &until);
}

/* An attempt that fails has taken all the room there is for that long. What is left where there was
 * none for the reserve is for what must work on a full disk: there, only what is sure to succeed is
 * tried. Of the reserve itself there is something left when a segment is taken. */
static bool is_spare_wanted(struct pfs_store *store)
{
	struct pfs_io_space space;
	bool wanted, scarce;

	pthread_mutex_lock(&store->commit);
	wanted = pfs_journal_spares(store->journal) < PFS_SPARES_MADE;
	scarce = store->reserve_dropped;
	pthread_mutex_unlock(&store->commit);
	if (!wanted || !scarce)
		return wanted;
	return store->dir->ops->space(store->dir, &space) == 0 &&
	       space.available >= PFS_SEGMENT_SIZE + PFS_RESERVE_CLOSED;
}

/* Segments that writers will need soon. On a full disk there may be none to be had: who needs one
 * says so. */
static void make_spares(struct pfs_store *store)
{
	int err = 0;

	while (!err && is_spare_wanted(store))
		err = pfs_journal_make_spare(store->journal, pfs_commit_lock_cb, store);
	if (err && pfs_journal_has_failed(store->journal))
		(void)pfs_store_fail(store, "syncing a journal segment", err);
}

static void *committer(void *arg)
{
	struct pfs_store *store = arg;
	int64_t next = pfs_now_monotonic();

	pthread_mutex_lock(&store->wake_lock);
	while (!store->stopping) {
		int64_t now = pfs_now_monotonic();

		if (store->spares_wanted) {
			pthread_mutex_unlock(&store->wake_lock);
			make_spares(store);
			pthread_mutex_lock(&store->wake_lock);
			__atomic_store_n(&store->spares_wanted, false, __ATOMIC_RELAXED);
			continue;
		}
		if (now < next) {
			wait_ms(store, (unsigned)((next - now) / 1000000) + 1);
			continue;
		}
		next = now + (int64_t)store->commit_ms * 1000000;
		pthread_mutex_unlock(&store->wake_lock);
		(void)pfs_store_tick(store);
		pthread_mutex_lock(&store->wake_lock);
	}
	pthread_mutex_unlock(&store->wake_lock);
	return NULL;
}

/* Whether there is something to move and nobody has changed anything for a while. */
static bool is_idle(struct pfs_store *store)
{
	int64_t quiet = pfs_now_monotonic() - __atomic_load_n(&store->changed_ns, __ATOMIC_RELAXED);
	bool work;

	pthread_mutex_lock(&store->commit);
	work = !pfs_list_empty(&store->pending) || !pfs_list_empty(&store->staged) ||
	       !pfs_list_empty(&store->batch);
	pthread_mutex_unlock(&store->commit);
	return work && quiet > PFS_IDLE_CHECKPOINT_NS;
}

/* Moves values out of wasteful pages, step by step, as long as nothing else is to be done; and some
 * steps when there is, because steady change wants one checkpoint after the other, and leaves more
 * and more waste where nobody clears it away. */
static void compact(struct pfs_store *store)
{
	unsigned steps = 0;
	bool stopping;

	do {
		if (pfs_store_compact_step(store, false) <= 0)
			return;
		pthread_mutex_lock(&store->wake_lock);
		stopping = store->stopping ||
			   (store->checkpoint_wanted && ++steps >= COMPACT_STEPS_BETWEEN);
		pthread_mutex_unlock(&store->wake_lock);
	} while (!stopping);
}

/* Gives back journal files that were kept for more of the same. */
static void trim_idle(struct pfs_store *store)
{
	(void)pfs_journal_trim_unlocked(store->journal, PFS_SPARES_IDLE, pfs_commit_lock_cb, store);
}

static void *writer(void *arg)
{
	struct pfs_store *store = arg;

	pthread_mutex_lock(&store->wake_lock);
	while (!store->stopping) {
		bool wanted, force, idle;

		if (store->train_wanted) {
			pthread_mutex_unlock(&store->wake_lock);
			pfs_training_run(store);
			pthread_mutex_lock(&store->wake_lock);
			__atomic_store_n(&store->train_wanted, false, __ATOMIC_RELAXED);
		}
		pthread_mutex_unlock(&store->wake_lock);
		compact(store);
		pthread_mutex_lock(&store->wake_lock);
		wanted = store->checkpoint_wanted;
		idle = false;
		if (!wanted) {
			if (!store->stopping && !store->checkpoint_wanted && !store->train_wanted)
				wait_ms(store, 1000);
			pthread_mutex_unlock(&store->wake_lock);
			idle = is_idle(store);
			pthread_mutex_lock(&store->wake_lock);
			wanted = idle || store->checkpoint_wanted;
		}
		if (!wanted || store->stopping)
			continue;
		force = store->force_wanted;
		store->force_wanted = false;
		pthread_mutex_unlock(&store->wake_lock);
		/* A failure has been logged; on a full disk the next try may find room. */
		(void)pfs_checkpoint(store, force);
		if (idle)
			trim_idle(store);
		pthread_mutex_lock(&store->wake_lock);
		__atomic_store_n(&store->checkpoint_wanted, false, __ATOMIC_RELEASE);
		store->checkpoints_done++;
		pthread_cond_broadcast(&store->wake);
	}
	pthread_mutex_unlock(&store->wake_lock);
	return NULL;
}

int pfs_threads_start(struct pfs_store *store)
{
	int err = -pthread_create(&store->committer, NULL, committer, store);

	if (err)
		return err;
	err = -pthread_create(&store->writer, NULL, writer, store);
	if (err) {
		pthread_mutex_lock(&store->wake_lock);
		store->stopping = true;
		pthread_cond_broadcast(&store->wake);
		pthread_mutex_unlock(&store->wake_lock);
		pthread_join(store->committer, NULL);
		return err;
	}
	pthread_mutex_lock(&store->wake_lock);
	store->threads_running = true;
	pthread_mutex_unlock(&store->wake_lock);
	return 0;
}

void pfs_threads_stop(struct pfs_store *store)
{
	if (!store->threads_running)
		return;
	pthread_mutex_lock(&store->wake_lock);
	store->stopping = true;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
	pthread_join(store->committer, NULL);
	pthread_join(store->writer, NULL);
	store->threads_running = false;
}

struct pfs_team *pfs_store_team(struct pfs_store *store)
{
	struct pfs_team *team;

	pthread_mutex_lock(&store->wake_lock);
	if (!store->team)
		(void)pfs_team_new(&store->team, store->manual ? 0 : PFS_TEAM_THREADS_MAX);
	team = store->team;
	pthread_mutex_unlock(&store->wake_lock);
	return team;
}
