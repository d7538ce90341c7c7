/* The checkpoint: moves what is durable in the journal to the pages (FORMAT.md, "Writing", W1 to
 * W7).
 *
 *   taken -> written -> synced -> in slots -> synced -> flipped -> retired -> synced -> declared ->
 * synced -> reused
 *
 * CP1: nothing is written to a page before its record is durable (taken: the journal was synced).
 * CP2: nothing that a reader may still look at is overwritten: an epoch passes between unpublishing
 * and writing. CP3: an old slot becomes a tombstone only after the new one is synced; its space is
 * given to others only after the tombstone and a journal header that calls its records dead are
 * synced. CP4: a slot is written only after its container is synced: what the container stands over
 * may be another document's that is gone, which must not be taken for that of a damaged slot. A
 * checkpoint that fails for lack of space keeps its batch and tries again; any other
 * failure turns the store read-only. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_apply.h"
#include "storage/store_internal.h"

#define FLIP_STEP 256 /* versions a lock hold */

struct checkpoint {
	struct pfs_store *store;
	struct pfs_version **versions; /* the batch, by page and offset of their targets */
	size_t count;
	uint64_t below; /* segments that can be recycled */
	struct pfs_gather gather;
};

void pfs_commit_lock_cb(void *arg, bool on)
{
	struct pfs_store *store = arg;

	if (on)
		pthread_mutex_lock(&store->commit);
	else
		pthread_mutex_unlock(&store->commit);
}

/* ---- the batch ---- */

static bool in_place(const struct pfs_version *v)
{
	return v->target.page && v->target.page == v->home.page && v->target.slot == v->home.slot;
}

static int by_target(const void *a, const void *b)
{
	const struct pfs_version *x = *(struct pfs_version *const *)a,
				 *y = *(struct pfs_version *const *)b;
	int order = pfs_order(x->target.page, y->target.page);

	return order ? order : pfs_order(x->target.off, y->target.off);
}

static int by_slot(const void *a, const void *b)
{
	const struct pfs_version *x = *(struct pfs_version *const *)a,
				 *y = *(struct pfs_version *const *)b;
	int order = pfs_order(x->target.page, y->target.page);

	return order ? order : pfs_order(x->target.slot, y->target.slot);
}

static int by_home(const void *a, const void *b)
{
	const struct pfs_version *x = *(struct pfs_version *const *)a,
				 *y = *(struct pfs_version *const *)b;
	int order = pfs_order(x->home.page, y->home.page);

	return order ? order : pfs_order(x->home.slot, y->home.slot);
}

/* Stages that are still being written stay out, unless they must not any longer. */
static void leave_out_hot(struct pfs_store *store)
{
	struct pfs_list *item = store->batch.next, *next;
	bool too_long = pfs_journal_live_bytes(store->journal) > store->stage_journal_max;
	int64_t now = pfs_now_monotonic();

	for (; item != &store->batch; item = next) {
		struct pfs_version *v = (struct pfs_version *)item;

		next = item->next;
		if (v->source.kind != PFS_SOURCE_STAGE || too_long ||
		    v->source.stage->batch != store->batch_number ||
		    v->source.stage->count > PFS_STAGE_EXTENTS_MAX ||
		    now - v->source.stage->written_ns >= PFS_STAGE_QUIET_NS)
			continue;
		pfs_list_remove(item);
		pfs_list_append(&store->staged, item);
		v->batch = v->source.stage->batch = store->batch_number + 1;
	}
}

/* Takes everything that is logged. *below: segments that hold nothing else. *left: what is taken is
 * a batch that failed for lack of space or memory, which is finished before another is taken.
 * Otherwise this is the moment of the snapshot, if there is one. */
static int take(struct pfs_store *store, bool force, struct pfs_snapshot *snapshot, uint64_t *below,
		bool *left)
{
	int err = 0;

	pthread_mutex_lock(&store->commit);
	*left = !pfs_list_empty(&store->batch);
	if (!*left) {
		err = pfs_journal_rotate(store->journal);
		if (err && pfs_journal_has_failed(store->journal))
			err = pfs_store_fail(store, "beginning a journal segment", err);
		if (!err) {
			pfs_list_splice(&store->batch, &store->staged);
			if (!force)
				leave_out_hot(store);
			pfs_list_splice(&store->batch, &store->pending);
			store->applying = store->batch_number++;
			store->batch_below = pfs_journal_active(store->journal);
			if (snapshot)
				pfs_snapshot_begin(store, snapshot);
		}
	}
	*below = store->batch_below;
	pthread_mutex_unlock(&store->commit);
	return err;
}

static int list_batch(struct checkpoint *cp)
{
	struct pfs_list *item;
	size_t n = 0;

	for (item = cp->store->batch.next; item != &cp->store->batch; item = item->next)
		n++;
	cp->versions = malloc((n + 1) * sizeof(struct pfs_version *));
	if (!cp->versions)
		return -ENOMEM;
	for (item = cp->store->batch.next; item != &cp->store->batch; item = item->next)
		cp->versions[cp->count++] = (struct pfs_version *)item;
	return 0;
}

static int write_containers(struct checkpoint *cp)
{
	int err = 0;

	qsort(cp->versions, cp->count, sizeof(struct pfs_version *), by_target);
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];

		if (!v->target.page)
			continue;
		err = pfs_apply(&cp->gather, v);
		if (in_place(v))
			pfs_count(&cp->store->counters.in_place);
		else if (v->home.page)
			pfs_count(&cp->store->counters.relocations);
	}
	return err ? err : pfs_gather_flush(&cp->gather);
}

static int write_slots(struct checkpoint *cp)
{
	int err = 0;

	qsort(cp->versions, cp->count, sizeof(struct pfs_version *), by_slot);
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];
		struct pfs_slot slot = {.kind = v->kind,
					.tag = v->tag,
					.off = v->target.off,
					.len = v->applied_len};
		uint8_t *out;

		if (!v->target.page)
			continue;
		err = pfs_gather_room(&cp->gather, pfs_pager_find(cp->store->pager, v->target.page),
				      pfs_slot_offset(v->target.slot), PFS_SLOT_LEN, &out);
		if (!err)
			pfs_slot_encode((struct pfs_slot_disk *)out, &slot);
	}
	return err ? err : pfs_gather_flush(&cp->gather);
}

int pfs_write_tombstone(struct pfs_store *store, const struct pfs_extent_at *at, uint64_t tag,
			uint64_t seq)
{
	struct pfs_slot slot = {.kind = PFS_SLOT_TOMBSTONE, .tag = tag, .seq = seq};
	struct pfs_slot_disk disk;

	pfs_slot_encode(&disk, &slot);
	return pfs_page_write(pfs_pager_find(store->pager, at->page), &disk, sizeof(disk),
			      pfs_slot_offset(at->slot));
}

/* The source that the version's bytes have now that they are in its target. */
static struct pfs_source applied_source(struct pfs_store *store, const struct pfs_version *v)
{
	struct pfs_view view = {0};

	if (pfs_view(store, pfs_word_page(v->target.page, v->target.slot), &view) != 0)
		view.source = (struct pfs_source){.kind = PFS_SOURCE_LOST, .size = v->size};
	return view.source;
}

/* Readers of snapshots look at what a held version stands before. */
static void set_under(struct pfs_version *held, uint64_t word)
{
	__atomic_store_n(&held->under, word, __ATOMIC_RELEASE);
}

/* copy takes the place of the version `of` as what its object is. */
static void set_current(struct pfs_store *store, struct pfs_version *of, struct pfs_version *copy)
{
	uint64_t word = pfs_index_word(store->index, of->object);

	if (word == pfs_word_version(of))
		pfs_index_set_word(store->index, of->object, pfs_word_version(copy));
	else
		set_under(pfs_word_to_version(word), pfs_word_version(copy));
}

/* Whether a held version stands before what has come to this place. */
static bool is_under_held(uint64_t word, uint64_t place)
{
	return pfs_word_is_version(word) && pfs_word_to_version(word)->held &&
	       pfs_word_to_version(word)->under == place;
}

/* What a newer version took from v, which the journal will soon not have any more, is from now on
 * in v's target. */
static void repoint(struct pfs_store *store, struct pfs_version *v, uint64_t word)
{
	struct pfs_version *newer = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;
	struct pfs_version *copy;
	struct pfs_source now, former;

	if (!newer)
		return;
	if (newer->held) {
		if (newer->under == pfs_word_version(v))
			set_under(newer, pfs_word_page(v->target.page, v->target.slot));
		else
			repoint(store, v, newer->under);
		return;
	}
	now = applied_source(store, v);
	if (newer->source.kind == PFS_SOURCE_STAGE &&
	    pfs_source_same(&newer->source.stage->base, &v->source)) {
		former = pfs_stage_rebase(newer->source.stage, &now);
		pfs_source_unref(store, &former);
		return;
	}
	if (!pfs_source_same(&newer->source, &v->source))
		return;
	copy = malloc(sizeof(*copy) + newer->tail_len);
	if (!copy) {
		pfs_store_fail(store, "finishing a checkpoint", -ENOMEM);
		return;
	}
	memcpy(copy, newer, sizeof(*copy) + newer->tail_len);
	copy->source = now;
	former = newer->source;
	pfs_list_replace(&newer->list, &copy->list);
	set_current(store, newer, copy);
	pfs_source_unref(store, &former);
	pfs_limbo(store, newer);
}

/* The version that stands for the object now, without what is held of it; NULL: it is in a page or
 * gone. */
static struct pfs_version *current_version(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	if (v && v->held)
		v = pfs_word_is_version(v->under) ? pfs_word_to_version(v->under) : NULL;
	return v;
}

/* An orphan whose bytes are in a page already, at its home: it stays a version. */
static bool is_pinned(const struct pfs_version *v)
{
	return !v->removed && !v->target.page;
}

/* What was reserved behind the container, and not needed, is free again: all beyond the target, and
 * within it what no newer version counts on as its home. */
static void settle_tail(struct pfs_store *store, struct pfs_version *v, bool is_current)
{
	struct pfs_version *newer = is_current ? NULL : current_version(store, v->object);
	uint64_t from = v->applied_len, to = v->target.len;

	if (in_place(v))
		to = pfs_max_u64(to, v->home.len);
	if (!is_current) {
		/* Who has the target as its home gives all of that back in the end. */
		if (newer && newer->home.page == v->target.page &&
		    newer->home.slot == v->target.slot && !in_place(newer))
			newer->home.len = v->applied_len;
		else
			from = v->target.len;
	}
	v->spare_off = v->target.off + from;
	v->spare_len = to - from;
}

/* Makes the pages what readers see. */
static void flip_one(struct pfs_store *store, struct pfs_version *v)
{
	uint64_t word = pfs_index_word(store->index, v->object);
	uint64_t place = pfs_word_page(v->target.page, v->target.slot);
	bool is_current = word == pfs_word_version(v);

	if (v->former)
		pfs_snapshot_written(store, v);
	if (v->removed || is_pinned(v))
		return;
	if (is_current) {
		pfs_index_set_word(store->index, v->object, place);
	} else {
		repoint(store, v, word);
		is_current = is_under_held(word, place);
	}
	if (is_current && v->kind != PFS_KEY_TEMP)
		store->container_bytes += v->applied_len - v->stored;
	settle_tail(store, v, is_current);
}

static void flip(struct checkpoint *cp)
{
	for (size_t i = 0; i < cp->count;) {
		pthread_mutex_lock(&cp->store->commit);
		pfs_epoch_enter();
		for (size_t n = 0; n < FLIP_STEP && i < cp->count; n++)
			flip_one(cp->store, cp->versions[i++]);
		pfs_epoch_leave();
		pthread_mutex_unlock(&cp->store->commit);
	}
}

/* ---- retiring ---- */

static bool has_old_home(const struct pfs_version *v)
{
	return v->home.page && !in_place(v);
}

static int write_tombstones(struct checkpoint *cp, bool *any)
{
	int err = 0;

	*any = false;
	qsort(cp->versions, cp->count, sizeof(struct pfs_version *), by_home);
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];
		struct pfs_slot slot = {.tag = v->tag};
		struct pfs_page *page;
		uint8_t *out;

		if (!has_old_home(v))
			continue;
		*any = true;
		page = pfs_pager_find(cp->store->pager, v->home.page);
		err = pfs_page_read_slot(page, v->home.slot, &slot);
		if (err == -EUCLEAN)
			err = 0;
		slot.kind = PFS_SLOT_TOMBSTONE;
		slot.seq = v->seq;
		if (!err)
			err = pfs_gather_room(&cp->gather, page, pfs_slot_offset(v->home.slot),
					      PFS_SLOT_LEN, &out);
		if (!err)
			pfs_slot_encode((struct pfs_slot_disk *)out, &slot);
	}
	return err ? err : pfs_gather_flush(&cp->gather);
}

/* Everything is durable: space, segments and versions are free for others. */
static void release(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;

	for (size_t i = 0; i < cp->count;) {
		pthread_mutex_lock(&store->commit);
		for (size_t n = 0; n < FLIP_STEP && i < cp->count; n++, i++) {
			struct pfs_version *v = cp->versions[i];

			pfs_list_remove(&v->list);
			if (is_pinned(v) && current_version(store, v->object) == v) {
				v->applied = true;
				continue;
			}
			if (v->spare_len)
				pfs_pager_free_bytes(store->pager, v->target.page, v->spare_off,
						     v->spare_len);
			if (has_old_home(v) && !is_pinned(v))
				pfs_snapshot_free(store, &v->home);
			pfs_limbo(store, v);
		}
		pthread_mutex_unlock(&store->commit);
	}
}

/* ---- the whole ---- */

int pfs_sync_pages(struct pfs_store *store)
{
	int err = pfs_pager_sync(store->pager);

	return err ? pfs_store_fail(store, "syncing pages", err) : 0;
}

/* New pages are durable, and then the set that counts them, before anything is put into one: a page
 * that is missing later is known to be. */
static int give_birth(struct pfs_store *store)
{
	struct pfs_page_set before = store->super.pages;
	int err =
		pfs_pager_give_birth(store->pager, &store->super.pages, pfs_commit_lock_cb, store);

	if (!err && store->super.pages.count != before.count)
		err = pfs_super_write(store->dir, &store->super);
	if (err)
		store->super.pages = before;
	return err;
}

/* Steps up to "synced": when they fail for lack of space, nothing that counts has changed. */
static int write_batch(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	int err = give_birth(store);

	if (!err)
		err = write_containers(cp);
	if (!err && pfs_sync_pages(store) != 0)
		return -EROFS;
	if (!err)
		err = write_slots(cp);
	if (!err)
		err = pfs_pager_write_headers(store->pager, pfs_commit_lock_cb, store);
	if (err && err != -ENOSPC && err != -ENOMEM)
		return pfs_store_fail(store, "writing pages", err);
	return err ? err : pfs_sync_pages(store);
}

int pfs_store_mark_journal(struct pfs_store *store)
{
	uint64_t before = store->super.journal_epoch;
	int err;

	if (before == store->super.open_epoch)
		return 0;
	store->super.journal_epoch = store->super.open_epoch;
	err = pfs_super_write(store->dir, &store->super);
	if (err)
		store->super.journal_epoch = before;
	return err;
}

static int recycle(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	int err;

	/* Nobody reads the versions any more: an epoch has passed since the flip. Their stages let
	 * go of the journal. Pinned ones may be read, and have nothing in it. */
	for (size_t i = 0; i < cp->count;) {
		pthread_mutex_lock(&store->commit);
		for (size_t n = 0; n < FLIP_STEP && i < cp->count; n++, i++) {
			struct pfs_version *v = cp->versions[i];

			if (is_pinned(v))
				continue;
			pfs_source_unref(store, &v->source);
			v->source.kind = PFS_SOURCE_EMPTY;
		}
		pthread_mutex_unlock(&store->commit);
	}
	pthread_mutex_lock(&store->commit);
	err = pfs_journal_declare(store->journal, cp->below);
	pthread_mutex_unlock(&store->commit);
	if (!err)
		err = pfs_journal_sync_declared(store->journal);
	if (!err)
		err = pfs_store_mark_journal(store);
	return err ? pfs_store_fail(store, "recycling the journal", err) : 0;
}

/* Bytes of segments that the checkpoint had to leave, because documents under heavy writing are in
 * them: no reason for another one. What came meanwhile is. Commit lock. */
static uint64_t not_recycled(const struct checkpoint *cp)
{
	const struct pfs_segment *oldest = pfs_journal_oldest(cp->store->journal);

	return oldest && oldest->number < cp->below
		       ? (cp->below - oldest->number) * PFS_SEGMENT_SIZE
		       : 0;
}

/* Spare segments are kept for as much journal as there is between checkpoints, so that none has to
 * be made while somebody waits. */
static void trim_journal(struct pfs_store *store)
{
	uint64_t live, wanted;
	unsigned keep = PFS_SPARES_MADE;

	pthread_mutex_lock(&store->commit);
	live = pfs_journal_live_bytes(store->journal) / PFS_SEGMENT_SIZE;
	wanted = store->journal_max / PFS_JOURNAL_SLOW_DIV / PFS_SEGMENT_SIZE;
	pthread_mutex_unlock(&store->commit);
	if (live + keep < wanted)
		keep = (unsigned)(wanted - live);
	/* A file that can't be removed is one more for later. */
	(void)pfs_journal_trim_unlocked(store->journal, keep, pfs_commit_lock_cb, store);
}

static int run(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	bool any;
	int err = write_batch(cp);

	if (err)
		return err;
	flip(cp);
	/* Something could not be pointed to where it is now: the journal is still needed. */
	if (!pfs_store_is_writable(store))
		return -EROFS;
	pfs_epoch_collect(store);
	err = write_tombstones(cp, &any);
	if (err)
		return pfs_store_fail(store, "writing tombstones", err);
	if (any)
		err = pfs_sync_pages(store);
	if (!err)
		err = recycle(cp);
	if (err)
		return err;
	release(cp);
	pfs_epoch_collect(store);
	pthread_mutex_lock(&store->commit);
	pfs_journal_reuse(store->journal);
	store->counters.checkpoints++;
	store->journal_kept = not_recycled(cp);
	if (!store->journal_max_set)
		store->journal_max =
			pfs_min_u64(pfs_max_u64(store->container_bytes / PFS_JOURNAL_MAX_DIV,
						PFS_JOURNAL_MAX_LOW),
				    PFS_JOURNAL_MAX_HIGH);
	pthread_mutex_unlock(&store->commit);
	pthread_mutex_lock(&store->wake_lock);
	store->room_made++;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->wake_lock);
	trim_journal(store);
	pfs_dicts_drop(store);
	return pfs_retire_pages(store, true);
}

/* *more: a batch that an earlier checkpoint had to leave was finished, and what came after it is
 * still to be taken. */
static int checkpoint_batch(struct pfs_store *store, bool force, struct pfs_snapshot *snapshot,
			    bool *more)
{
	struct checkpoint cp = {.store = store, .gather = {.store = store}};
	int err = take(store, force, snapshot, &cp.below, more);

	if (!err) {
		err = pfs_journal_sync(store->journal, UINT64_MAX);
		if (err)
			err = pfs_store_fail(store, "syncing the journal", err);
	}
	if (!err) {
		pfs_epoch_collect(store);
		cp.gather.buf = malloc(PFS_GATHER_LEN);
		cp.gather.body = malloc(PFS_PACKED_ROOM);
		err = cp.gather.buf && cp.gather.body ? list_batch(&cp) : -ENOMEM;
	}
	if (!err)
		err = run(&cp);
	free(cp.gather.buf);
	free(cp.gather.body);
	free(cp.versions);
	return err;
}

/* What the failed checkpoint was going to write is not waited for by its snapshot any more, which
 * from now on must not come to wait for it again. */
static void forget_former(struct pfs_store *store, struct pfs_snapshot *snapshot)
{
	struct pfs_list *item;

	pthread_mutex_lock(&store->commit);
	pfs_snapshot_give_up(snapshot);
	for (item = store->batch.next; item != &store->batch; item = item->next)
		((struct pfs_version *)item)->former = NULL;
	pthread_mutex_unlock(&store->commit);
}

static int checkpoint(struct pfs_store *store, bool force, struct pfs_snapshot *snapshot)
{
	bool more;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	pthread_mutex_lock(&store->checkpoint_lock);
	do {
		err = checkpoint_batch(store, force, snapshot, &more);
	} while (!err && more);
	if (err && snapshot)
		forget_former(store, snapshot);
	pthread_mutex_unlock(&store->checkpoint_lock);
	return err;
}

int pfs_checkpoint(struct pfs_store *store, bool force)
{
	return checkpoint(store, force, NULL);
}

int pfs_checkpoint_snapshot(struct pfs_store *store, struct pfs_snapshot *snapshot)
{
	return checkpoint(store, true, snapshot);
}
