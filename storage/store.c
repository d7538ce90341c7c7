/* What all of a store shares: its clock, its failure, memory that waits for readers; and what makes
 * its changes durable. */
#include <stdlib.h>
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

int64_t pfs_now_realtime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * PFS_NSEC_PER_SEC + now.tv_nsec;
}

int pfs_store_fail(struct pfs_store *store, const char *what, int err)
{
	if (!__atomic_exchange_n(&store->failed, true, __ATOMIC_ACQ_REL))
		pfs_logf(&store->logger, PFS_LOG_ERROR,
			 "%s failed (%s): the store is read-only from now on; what was not synced "
			 "before may be lost. "
			 "Look at the disk, then open the store again",
			 what, strerror(-err));
	return -EROFS;
}

/* ---- limbo ---- */

void pfs_limbo(struct pfs_store *store, struct pfs_version *version)
{
	pfs_list_append(&store->limbo, &version->list);
}

void pfs_limbo_stage(struct pfs_store *store, struct pfs_stage *stage)
{
	stage->limbo_next = store->stage_limbo;
	store->stage_limbo = stage;
}

void pfs_epoch_collect(struct pfs_store *store)
{
	struct pfs_list limbo;
	struct pfs_stage *stage;
	void *tables;

	pfs_list_init(&limbo);
	pthread_mutex_lock(&store->commit);
	pfs_list_splice(&limbo, &store->limbo);
	stage = store->stage_limbo;
	store->stage_limbo = NULL;
	tables = pfs_index_detach(store->index);
	pthread_mutex_unlock(&store->commit);
	pfs_epoch_wait();
	while (!pfs_list_empty(&limbo)) {
		struct pfs_list *item = limbo.next;

		pfs_list_remove(item);
		free(item);
	}
	while (stage) {
		struct pfs_stage *next = stage->limbo_next;

		pfs_stage_free(stage);
		stage = next;
	}
	pfs_index_reclaim(tables);
}

/* ---- durability ---- */

/* Held versions whose time has come are logged. -ENOSPC: some of them stay held. */
static int age_held(struct pfs_store *store, bool all)
{
	struct pfs_list *item, *next;
	int err = 0, no_room = 0;

	pfs_write_enter(store);
	for (item = store->held.next; item != &store->held && !err; item = next) {
		struct pfs_version *held = (struct pfs_version *)item;

		next = item->next;
		if (!all && ++held->ticks < PFS_HOLD_TICKS)
			continue;
		/* A removed object that was never logged needs no record either. */
		if (held->kind == PFS_KEY_TEMP && !held->under)
			continue;
		err = pfs_log_held(store, held->object, held);
		if (err == -ENOSPC) {
			no_room = err;
			err = 0;
		}
	}
	pfs_write_leave(store);
	return err ? err : no_room;
}

int pfs_log_all_held(struct pfs_store *store)
{
	unsigned tries = 0;
	int err;

	do {
		err = age_held(store, true);
	} while (pfs_write_again(store, err, &tries, true));
	return err;
}

int pfs_own_tick(struct pfs_store *store)
{
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = age_held(store, false);
	/* What there is no room for stays held: the next tick tries again. */
	if (err && err != -ENOSPC)
		return err;
	pfs_restore_reserve(store);
	err = pfs_journal_sync(store->journal, UINT64_MAX);
	return err ? pfs_store_fail(store, "syncing the journal", err) : 0;
}

int pfs_own_checkpoint(struct pfs_store *store)
{
	return pfs_checkpoint(store, false);
}

int pfs_own_sync(struct pfs_store *store)
{
	int err, held_err;

	if (store->opened_read_only)
		return 0;
	if (!pfs_store_is_writable(store))
		return -EROFS;
	held_err = pfs_log_all_held(store);
	pfs_count(&store->counters.syncs);
	/* What is in the journal becomes durable even if what is held has no place there. */
	err = pfs_journal_sync(store->journal, UINT64_MAX);
	return err ? pfs_store_fail(store, "syncing the journal", err) : held_err;
}

/* Logs what is held of the object. */
static int log_held_of(struct pfs_store *store, uint32_t object)
{
	unsigned tries = 0;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	do {
		uint64_t word;

		pfs_write_enter(store);
		word = pfs_index_word(store->index, object);
		err = word ? 0 : -ENOENT;
		if (pfs_word_is_version(word) && pfs_word_to_version(word)->held)
			err = pfs_log_held(store, object, pfs_word_to_version(word));
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	return err;
}

int pfs_own_sync_object(struct pfs_store *store, uint32_t object)
{
	int err;

	if (store->opened_read_only)
		return 0;
	err = log_held_of(store, object);
	if (err)
		return err;
	pfs_count(&store->counters.syncs);
	err = pfs_journal_sync(store->journal, UINT64_MAX);
	return err ? pfs_store_fail(store, "syncing the journal", err) : 0;
}

struct object_sync {
	struct pfs_sync_wait wait;
	struct pfs_store *store;
	pfs_synced_fn *fn;
	void *arg;
};

static void tell_synced(struct pfs_sync_wait *wait, int err)
{
	struct object_sync *sync = (struct object_sync *)wait;

	if (err)
		err = pfs_store_fail(sync->store, "syncing the journal", err);
	sync->fn(sync->arg, err);
	free(sync);
}

void pfs_own_sync_object_then(struct pfs_store *store, uint32_t object, pfs_synced_fn *fn,
			      void *arg)
{
	struct object_sync *sync;
	int err;

	if (store->opened_read_only) {
		fn(arg, 0);
		return;
	}
	sync = malloc(sizeof(*sync));
	err = sync ? log_held_of(store, object) : -ENOMEM;
	if (err) {
		free(sync);
		fn(arg, err);
		return;
	}
	*sync = (struct object_sync){
		.wait = {.seq = UINT64_MAX, .done = tell_synced},
		.store = store,
		.fn = fn,
		.arg = arg,
	};
	pfs_count(&store->counters.syncs);
	pfs_journal_sync_then(store->journal, &sync->wait);
}
