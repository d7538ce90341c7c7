/* Packing everything: the values of all pages that are not as they should be, in the order of their
 * ids, each as small as it gets, into new pages without holes.
 *
 *   survey -> dictionary -> all pages closed -> the next ids listed -> values moved -> checkpoint
 *                                                          ^-------------------------------'
 *
 * A value that can be smaller is put anew, with all that it was; one that can't is touched as by
 * store_compact.c. Both are records of the journal like any other, so that W1 to W8 and O1 to O7
 * cover a power cut at any moment; what was done until then stays done, and the next survey leaves
 * it out. Pages are closed, also those that stay, so that what is laid down next to another has the
 * next id. Since a closed page takes nothing, and the ids of a pass only ascend, it ends.
 *
 * Ids: numbers ascending, then UUIDs and names in the order of their slot tags, which needs no
 * container to be read. BATCH_VALUES bounds the memory: of the ids behind those that are done the
 * lowest are listed by one look at all slots.
 *
 * In the worst case, when the ids of each page lie all over the store, the copy is complete before
 * the first page is empty. On a disk that lacks the room for that, pages with free space are
 * emptied one by one into others, and values stay as they are packed. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_pack.h"

#ifndef BATCH_VALUES /* tests have less */
#define BATCH_VALUES 1000000u
#endif
#define SLOTS_AT_ONCE 4096u
#define PASSES_MAX 3
#define OTHERS_DIV 8 /* points that the newest dictionary is of no use for: up to this part */
#define DEAD_DIV 32  /* dead bytes below this part of the live ones are left */

struct entry {
	uint64_t tag;
	uint32_t page, slot;
	uint32_t kind;
};

struct job {
	const struct entry *entry;
	struct pfs_repacked repacked;
};

struct run {
	struct pfs_store *store;
	struct pfs_repacker *repacker;
	struct entry *entries;
	size_t count, cap;
	bool begun; /* a pass, with the ids up to `done` */
	struct entry done;
	struct job jobs[PFS_COMPACT_GROUP_VALUES];
	unsigned job_count;
	struct pfs_packing_plan plan;
	uint64_t moved_before;
	pfs_progress_fn *progress;
	void *arg;
	const bool *stop;
};

static void tell_progress(const struct run *run)
{
	if (run->progress)
		run->progress(run->arg,
			      pfs_min_u64(run->store->compaction.moved - run->moved_before,
					  run->plan.total),
			      run->plan.total);
}

/* ---- the next ids ---- */

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = pfs_order(x->kind, y->kind);

	if (order == 0)
		order = pfs_order(x->tag, y->tag);
	if (order == 0)
		order = pfs_order(x->page, y->page);
	return order ? order : pfs_order(x->slot, y->slot);
}

/* Keeps the lowest half at most. */
static void keep_lowest(struct run *run)
{
	if (run->count)
		qsort(run->entries, run->count, sizeof(*run->entries), by_id);
	run->count = pfs_min_u64(run->count, run->cap / 2);
}

static void list_slots(struct run *run, uint32_t number, uint32_t from, uint32_t to, bool *full)
{
	const struct pfs_page *page;

	pfs_epoch_enter();
	page = pfs_pager_find(run->store->pager, number);
	for (uint32_t i = from; page && i < to; i++) {
		struct pfs_slot slot;
		struct entry entry;
		bool live;

		pfs_guess_begin();
		live = pfs_page_read_slot(page, i, &slot) == 0 && pfs_slot_is_live(&slot);
		pfs_guess_end();
		if (!live)
			continue;
		entry = (struct entry){slot.tag, number, i, slot.kind};
		if ((run->begun && by_id(&entry, &run->done) <= 0) ||
		    (*full && by_id(&entry, &run->entries[run->cap / 2 - 1]) > 0))
			continue;
		run->entries[run->count++] = entry;
		if (run->count == run->cap) {
			keep_lowest(run);
			*full = true;
		}
	}
	pfs_epoch_leave();
}

/* How many slots the page has, if it is to be emptied by this run. */
static uint32_t slots_to_move(struct run *run, uint32_t number)
{
	const struct pfs_page *page;
	uint32_t slots = 0;

	pthread_mutex_lock(&run->store->commit);
	page = pfs_pager_find(run->store->pager, number);
	if (page && page->packed_run == run->store->compaction.run && page->closed)
		slots = page->slot_count;
	pthread_mutex_unlock(&run->store->commit);
	return slots;
}

/* Lists the next values in the order of their ids. */
static void list_next(struct run *run)
{
	uint32_t last = pfs_pager_last(run->store->pager);
	bool full = false;

	run->count = 0;
	for (uint32_t n = pfs_pager_next(run->store->pager, 0); n && n <= last;
	     n = pfs_pager_next(run->store->pager, n)) {
		uint32_t slots = slots_to_move(run, n);

		for (uint32_t i = 0; i < slots; i += SLOTS_AT_ONCE)
			list_slots(run, n, i, (uint32_t)pfs_min_u64(i + SLOTS_AT_ONCE, slots),
				   &full);
	}
	keep_lowest(run);
	if (run->count) {
		run->done = run->entries[run->count - 1];
		run->begun = true;
	}
}

/* ---- moving ---- */

/* Packs the next values of the list from *at on; a group's worth. */
static int prepare(struct run *run, size_t *at)
{
	uint64_t bytes = 0;
	int err = 0;

	run->job_count = 0;
	while (!err && *at < run->count && run->job_count < PFS_COMPACT_GROUP_VALUES &&
	       bytes < PFS_COMPACT_GROUP_BYTES) {
		struct job *job = &run->jobs[run->job_count];

		job->entry = &run->entries[*at];
		err = pfs_repack_slot(run->repacker, job->entry->page, job->entry->slot,
				      job->entry->kind, job->entry->tag, &job->repacked);
		if (err)
			break;
		bytes += job->repacked.len;
		run->job_count++;
		++*at;
	}
	return err;
}

static void drop_jobs(struct run *run)
{
	for (unsigned i = 0; i < run->job_count; i++) {
		if (run->jobs[i].repacked.better)
			pfs_packed_free(&run->jobs[i].repacked.packed);
		run->jobs[i].repacked.better = false;
	}
	run->job_count = 0;
}

/* Commit lock. *len: bytes of container that are on their way. -EAGAIN: the page was opened
 * meanwhile, because its room was needed. */
static int move_one(struct pfs_store *store, const struct job *job, uint64_t *len)
{
	const struct entry *entry = job->entry;
	struct pfs_page *page = pfs_pager_find(store->pager, entry->page);
	struct pfs_slot slot;
	uint32_t object;
	int err = -EAGAIN;
	bool stands;

	*len = 0;
	if (!page)
		return 0; /* a checkpoint has found it empty */
	if (!page->closed)
		return -EAGAIN;
	/* A checkpoint may be writing it. Whose it is, its object's word has to say, too. */
	pfs_guess_begin();
	stands = pfs_page_read_slot(page, entry->slot, &slot) == 0 && slot.kind == entry->kind &&
		 slot.tag == entry->tag;
	pfs_guess_end();
	if (!stands)
		return 0;
	object = pfs_compact_object_at(store, entry->page, entry->slot, &slot);
	if (object == PFS_OBJECT_NONE)
		return 0;
	if (job->repacked.better)
		err = pfs_repack_object(store, object, job->repacked.seq, &job->repacked.packed);
	if (err == -EAGAIN)
		err = pfs_touch_object(store, object);
	if (!err)
		*len = slot.len;
	return err == -EIO ? 0 : err; /* it is damaged and stays */
}

/* *at: the first job that is not done. */
static int move_jobs(struct run *run, unsigned *at)
{
	struct pfs_store *store = run->store;
	struct pfs_compaction *c = &store->compaction;
	int err = 0;

	pfs_write_enter(store);
	if (!pfs_store_is_writable(store))
		err = -EROFS;
	while (!err && *at < run->job_count) {
		uint64_t len;

		err = move_one(store, &run->jobs[*at], &len);
		if (err)
			break;
		++*at;
		if (!len)
			continue;
		c->unapplied += len;
		c->unapplied_values++;
		c->moved += len;
		store->counters.moved_values++;
		store->counters.moved_bytes += len;
	}
	pfs_write_leave(store);
	pfs_compact_yield(store);
	return err;
}

/* Moves what was prepared; where there is no room, once more when all that was moved before is in
 * the pages, and what it leaves is free. */
static int move_group(struct run *run)
{
	unsigned at = 0;
	int err = move_jobs(run, &at);

	if (err == -ENOSPC) {
		err = pfs_compact_apply(run->store, true);
		if (!err)
			err = move_jobs(run, &at);
	}
	drop_jobs(run);
	return err;
}

static int move_listed(struct run *run)
{
	int err = 0;

	for (size_t at = 0; at < run->count && !err;) {
		if (pfs_is_set(run->stop))
			return -ECANCELED;
		err = prepare(run, &at);
		if (err)
			drop_jobs(run);
		else
			err = move_group(run);
		if (!err && pfs_compact_is_due(run->store))
			err = pfs_compact_apply(run->store, false);
		tell_progress(run);
	}
	return err;
}

/* Each pass moves what is there; another one is for what was being changed meanwhile. */
static int pack_by_id(struct run *run)
{
	struct pfs_compaction *c = &run->store->compaction;
	uint64_t before = UINT64_MAX;
	int err = 0;

	for (unsigned pass = 0; pass < PASSES_MAX && !err && c->moved != before; pass++) {
		before = c->moved;
		run->begun = false;
		do {
			list_next(run);
			err = move_listed(run);
		} while (!err && run->count);
		if (!err)
			err = pfs_compact_apply(run->store, true);
	}
	return err;
}

/* ---- closing pages ---- */

/* Closes the marked pages, or all, so that values go elsewhere, or opens them again. */
static void close_pages(struct pfs_store *store, bool marked_only, bool closed)
{
	pthread_mutex_lock(&store->commit);
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		if (page->loaded && (!marked_only || page->packed_run == store->compaction.run))
			pfs_pager_close_page(store->pager, page, closed);
	}
	pthread_mutex_unlock(&store->commit);
}

/* ---- page by page ---- */

/* The next marked page, that with the least in it, is the victim. */
static bool next_marked(struct pfs_store *store)
{
	struct pfs_compaction *c = &store->compaction;
	uint64_t least = UINT64_MAX;

	pthread_mutex_lock(&store->commit);
	c->victim = c->cursor = 0;
	c->passes = 0;
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_page_space space;

		if (page->packed_run != c->run || !page->closed)
			continue;
		pfs_page_space(page, &space);
		if (space.used < least) {
			least = space.used;
			c->victim = page->number;
		}
	}
	pthread_mutex_unlock(&store->commit);
	return c->victim != 0;
}

/* Full pages have nothing to give to others. */
static void unmark_full(struct pfs_store *store)
{
	pthread_mutex_lock(&store->commit);
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		if (page->packed_run == store->compaction.run && pfs_pack_is_full(store, page))
			page->packed_run = 0;
	}
	pthread_mutex_unlock(&store->commit);
}

static int pack_by_page(struct run *run)
{
	struct pfs_store *store = run->store;
	int err = 0;

	close_pages(store, false, false);
	unmark_full(store);
	close_pages(store, true, true);
	while (err >= 0 && next_marked(store)) {
		do {
			if (pfs_is_set(run->stop))
				return -ECANCELED;
			err = pfs_compact_victim_step(store, false);
			tell_progress(run);
		} while (err == 1);
	}
	return err;
}

/* ---- everything ---- */

static int give_back(struct pfs_store *store)
{
	int err;

	pthread_mutex_lock(&store->checkpoint_lock);
	err = pfs_retire_pages(store, false);
	pthread_mutex_lock(&store->commit);
	if (!err)
		pfs_pager_trim(store->pager);
	pthread_mutex_unlock(&store->commit);
	pthread_mutex_unlock(&store->checkpoint_lock);
	return err;
}

/* Whether as many pages would be there afterwards, and hardly less in them. */
static bool gains_nothing(const struct pfs_store *store, const struct pfs_packing_plan *plan)
{
	uint64_t room = store->super.page_size - PFS_PAGE_HEADER_LEN - PFS_PAGE_TRAILER_LEN;

	return plan->pages == 0 || (!plan->untidy && plan->dead < plan->live / DEAD_DIV &&
				    (plan->live + room - 1) / room >= plan->pages);
}

/* Whether nearly all that is there is packed with the dictionary of new values. */
static bool uses_newest_dict(struct pfs_store *store)
{
	struct pfs_dict *newest = pfs_dict_hold(store);
	bool uses;

	pthread_mutex_lock(&store->commit);
	uses = newest && store->dict_users_known &&
	       newest->users >= store->points - store->points / OTHERS_DIV;
	pthread_mutex_unlock(&store->commit);
	pfs_dict_let_go(newest);
	return uses;
}

/* Whether all that is marked fits beside itself, with the journal that it takes. */
static bool has_room_for_copy(struct run *run)
{
	struct pfs_store *store = run->store;
	struct pfs_io_space space;
	uint64_t need =
		run->plan.total + run->plan.values * PFS_SLOT_LEN + 2 * PFS_COMPACT_UNAPPLIED_BYTES;

	return store->dir->ops->space(store->dir, &space) == 0 && space.available >= need;
}

static int pack_marked(struct run *run)
{
	struct pfs_store *store = run->store;
	int err;

	run->cap = 2 * pfs_min_u64(run->plan.values + 1, BATCH_VALUES);
	run->entries = malloc(run->cap * sizeof(*run->entries));
	if (!run->entries)
		return -ENOMEM;
	if (run->progress)
		run->progress(run->arg, 0, run->plan.total);
	close_pages(store, false, true);
	err = has_room_for_copy(run) ? pack_by_id(run) : -ENOSPC;
	if (err == -ENOSPC)
		err = pack_by_page(run);
	close_pages(store, false, false);
	store->compaction.victim = 0;
	free(run->entries);
	/* Pages that were opened again, because their room was needed, are left. */
	return err == -EAGAIN ? -ENOSPC : err;
}

static int survey(struct run *run)
{
	run->store->compaction.run++;
	return pfs_pack_survey(run->repacker, &run->plan, run->stop);
}

static int pack_everything(struct run *run)
{
	struct pfs_store *store = run->store;
	struct pfs_compaction *c = &store->compaction;
	bool trained = false;
	int err;

	run->moved_before = c->moved;
	if (c->victim)
		pfs_compact_give_up(store, false);
	err = pfs_checkpoint(store, true);
	if (!err)
		err = give_back(store);
	if (!err)
		err = survey(run);
	/* What is packed already is not worth a training each time. */
	if (!err && !(gains_nothing(store, &run->plan) && uses_newest_dict(store)))
		err = pfs_train_to_pack(store, run->stop, &trained);
	if (!err && trained)
		err = survey(run);
	if (err || gains_nothing(store, &run->plan))
		return err;
	err = pack_marked(run);
	if (!err)
		err = give_back(store);
	if (!err && run->progress)
		run->progress(run->arg, run->plan.total, run->plan.total);
	return err;
}

static int stat_now(struct pfs_store *store, struct pfs_store_stat *out)
{
	int err;

	pthread_mutex_lock(&store->commit);
	err = pfs_stat_locked(store, out);
	pthread_mutex_unlock(&store->commit);
	return err;
}

int pfs_own_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg, const bool *stop,
		    struct pfs_compact_result *result)
{
	struct run run = {.store = store, .progress = progress, .arg = arg, .stop = stop};
	struct pfs_store_stat before, after;
	int err;

	*result = (struct pfs_compact_result){0};
	if (!pfs_store_is_writable(store))
		return -EROFS;
	if (__atomic_exchange_n(&store->packing, true, __ATOMIC_ACQ_REL))
		return -EBUSY;
	pthread_mutex_lock(&store->compact_lock);
	run.repacker = pfs_repacker_new(store);
	err = run.repacker ? stat_now(store, &before) : -ENOMEM;
	if (!err) {
		err = pack_everything(&run);
		if (stat_now(store, &after) == 0)
			*result = (struct pfs_compact_result){
				.values = after.moved_values - before.moved_values,
				.bytes = after.moved_bytes - before.moved_bytes,
				.pages_before = before.pages,
				.pages_after = after.pages,
				.disk_before = before.page_bytes,
				.disk_after = after.page_bytes,
			};
	}
	pfs_repacker_free(run.repacker);
	pthread_mutex_unlock(&store->compact_lock);
	__atomic_store_n(&store->packing, false, __ATOMIC_RELEASE);
	return err;
}
