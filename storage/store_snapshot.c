/* Snapshots.
 *
 * The moment. A snapshot begins when a checkpoint takes everything that is logged (under the commit
 * lock, hot stages too), and is given out when that checkpoint is done. So whatever it shows is a
 * container in a page: no journal segment, stage or heap copy is ever kept for it, and the journal
 * is recycled as always.
 *
 * What it shows. Before the first change of a key after the moment, an entry is put into the
 * *overlay*: where the container is that the key shows, or that there is none. A key without entry
 * shows what it shows now. Only the newest snapshot gets entries: an older one without an entry of
 * its own goes through the newer ones' overlays, in order, and then to the store. Closing a
 * snapshot hands its entries to the next older one, but for keys of which one in between has an
 * entry already; without an older one they are dropped.
 *
 * What stays. The container that an entry names is *pinned*: nothing is written over it in place
 * (SN3), and when the checkpoint that retires it would free it, only its slot becomes free; the
 * bytes are given back with the last entry that names it. The tombstone is written as always: after
 * a crash there are no snapshots, and the next opening finds the bytes free. A pin keeps its page
 * from being empty, and so from being retired.
 *
 * SN1: an entry is in the overlay before anything of the change can be seen, and it stays in the
 * chain until the snapshots that need it are closed. So who finds no entry, looks at the store, and
 * still finds none, has seen the key as it was at the moment. SN2: an entry says where the name
 * stood in the listing; a name that is not changed keeps its cookie, so at each cookie the snapshot
 * has one name at most, and a walk in the order of cookies meets each exactly once. SN3: a change
 * makes its entries before it looks for a place. SN4: a move (compaction) changes nothing that is
 * shown and needs no entry; an entry that is made before the move is in the pages names the place
 * it moves from. While there are snapshots a move is never made in place. SN5: a version of the
 * running checkpoint's batch is written to its target even if it is replaced meanwhile (V2), so an
 * entry may name a target before it is written (COMING); only the snapshot that begins with this
 * checkpoint can need such an entry, and it has no readers yet: in an older one the change that
 * made the version has an entry. SN6: while there are snapshots no dictionary is dropped. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

#define CLOSE_STEP 256 /* entries a lock hold */
#define LIST_STRIDE 64 /* cookies a lock hold */

struct pfs_snapshot {
	struct pfs_store *store;
	struct pfs_snapshot *older, *newer; /* commit lock and snapshots.lock */
	struct pfs_overlay overlay;	    /* the same */
	bool begun;			    /* commit lock: it is in the chain */
	bool closing;	  /* commit lock: it gets no entries any more, and nobody reads it */
	uint32_t end;	  /* of the cookies at its moment */
	int64_t began_ns; /* monotonic */
	struct pfs_snapshot_info info;
};

static void lock_chain(struct pfs_store *store)
{
	pthread_mutex_lock(&store->snapshots.lock);
}

static void unlock_chain(struct pfs_store *store)
{
	pthread_mutex_unlock(&store->snapshots.lock);
}

void pfs_snapshots_init(struct pfs_snapshots *snapshots)
{
	pthread_mutex_init(&snapshots->lock, NULL);
}

/* ---- what is kept ---- */

/* The entry that snapshots from `from` on to newer ones have for the key. Commit lock or that of
 * the chain. */
static struct pfs_former *find_entry(const struct pfs_snapshot *from, const struct pfs_key *key)
{
	struct pfs_former *former = NULL;

	for (; from && !former; from = from->newer)
		former = pfs_overlay_find(&from->overlay, key);
	return former;
}

/* Those that get no entries any more are gone through, but given none. */
static struct pfs_snapshot *newest_open(const struct pfs_store *store)
{
	struct pfs_snapshot *snapshot = store->snapshots.newest;

	while (snapshot && snapshot->closing)
		snapshot = snapshot->older;
	return snapshot;
}

static int keep_container(struct pfs_store *store, struct pfs_former *former, uint32_t page,
			  uint64_t off, uint64_t len)
{
	int err = pfs_pins_ref(&store->snapshots.pins, page, (uint32_t)off);

	if (err)
		return err;
	former->state = PFS_FORMER_CONTAINER;
	former->page = page;
	former->off = (uint32_t)off;
	former->len = (uint32_t)len;
	return 0;
}

static int keep_slot(struct pfs_store *store, struct pfs_former *former, uint64_t word)
{
	struct pfs_page *page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	struct pfs_slot slot;

	/* Damage: a change can do without it, and so must the snapshot. */
	if (!page || pfs_page_read_slot(page, pfs_word_slot(word), &slot) != 0 ||
	    !pfs_slot_is_live(&slot) || slot.kind != former->kind || slot.tag != former->tag)
		return 0;
	return keep_container(store, former, page->number, slot.off, slot.len);
}

static int keep_version(struct pfs_store *store, struct pfs_former *former, struct pfs_version *v)
{
	const struct pfs_extent_at *home = &v->home;
	int err;

	if (v->moved && (home->page != v->target.page || home->slot != v->target.slot))
		return keep_container(store, former, home->page, home->off, home->len);
	/* Anything else that is newer than the moment has an entry, and what has no place is under
	 * a temporary key, for which there are none. */
	if (PFS_NEVER(&store->logger, v->batch > store->applying || v->former || !v->target.page))
		return -EIO;
	err = keep_container(store, former, v->target.page, v->target.off, v->target.len);
	if (!err) {
		former->state = PFS_FORMER_COMING;
		v->former = former;
	}
	return err;
}

/* Fills the entry with what the key shows now, without what is held. */
static int keep_present(struct pfs_store *store, struct pfs_former *former, uint32_t object)
{
	uint64_t word = object ? pfs_index_word(store->index, object) : 0;

	word = pfs_word_unheld(word);
	if (!word)
		return 0;
	former->cookie = pfs_index_cookie(store->index, object);
	former->state = PFS_FORMER_LOST;
	if (pfs_word_is_version(word))
		return keep_version(store, former, pfs_word_to_version(word));
	return keep_slot(store, former, word);
}

int pfs_snapshot_keep(struct pfs_store *store, const struct pfs_key *key, uint32_t object)
{
	struct pfs_snapshot *snapshot = newest_open(store);
	struct pfs_former *former;
	int err;

	if (!snapshot || key->kind == PFS_KEY_TEMP || find_entry(snapshot, key))
		return 0;
	former = pfs_former_new(key);
	if (!former)
		return -ENOMEM;
	err = keep_present(store, former, object);
	if (err) {
		free(former);
		return err;
	}
	lock_chain(store);
	pfs_overlay_add(&snapshot->overlay, former);
	unlock_chain(store);
	return 0;
}

void pfs_snapshot_written(struct pfs_store *store, struct pfs_version *v)
{
	lock_chain(store);
	v->former->len = (uint32_t)v->applied_len;
	v->former->state = PFS_FORMER_CONTAINER;
	unlock_chain(store);
	v->former = NULL;
}

/* ---- what stays ---- */

bool pfs_snapshot_pins_home(const struct pfs_store *store, const struct pfs_version *v)
{
	const struct pfs_snapshots *all = &store->snapshots;

	return all->count && (v->moved || pfs_pins_find(&all->pins, v->home.page, v->home.off));
}

void pfs_snapshot_free(struct pfs_store *store, const struct pfs_extent_at *at)
{
	if (pfs_pins_free(&store->snapshots.pins, at))
		pfs_pager_free_slot(store->pager, at);
	else
		pfs_pager_free(store->pager, at);
}

uint64_t pfs_snapshot_pinned(const struct pfs_store *store, uint32_t page)
{
	return pfs_pins_of_page(&store->snapshots.pins, page);
}

static void drop_entry(struct pfs_store *store, struct pfs_former *former)
{
	struct pfs_extent_at gone;

	if ((former->state == PFS_FORMER_CONTAINER || former->state == PFS_FORMER_COMING) &&
	    pfs_pins_unref(&store->snapshots.pins, former->page, former->off, &gone))
		pfs_pager_free_bytes(store->pager, gone.page, gone.off, gone.len);
	free(former);
}

/* ---- opening and closing ---- */

void pfs_snapshot_begin(struct pfs_store *store, struct pfs_snapshot *snapshot)
{
	const struct pfs_list *item;

	snapshot->info = (struct pfs_snapshot_info){
		.sequence = pfs_journal_appended(store->journal),
		.points = store->points,
		.scratch = store->scratch,
		.raw_bytes = store->raw_bytes,
		.opened_ns = pfs_now_realtime(),
	};
	/* Held creations are counted and not shown. */
	for (item = store->held.next; item != &store->held; item = item->next) {
		const struct pfs_version *held = (const struct pfs_version *)item;

		if (held->under || held->kind == PFS_KEY_TEMP)
			continue;
		if (held->kind == PFS_KEY_SCRATCH)
			snapshot->info.scratch--;
		else
			snapshot->info.points--;
	}
	snapshot->end = pfs_index_end(store->index);
	snapshot->began_ns = pfs_now_monotonic();
	snapshot->begun = true;
	lock_chain(store);
	snapshot->older = store->snapshots.newest;
	if (snapshot->older)
		snapshot->older->newer = snapshot;
	else
		store->snapshots.oldest = snapshot;
	store->snapshots.newest = snapshot;
	store->snapshots.count++;
	unlock_chain(store);
}

void pfs_snapshot_give_up(struct pfs_snapshot *snapshot)
{
	snapshot->closing = true;
}

/* Nothing changes in such a store any more. */
static void begin_in_read_only(struct pfs_store *store, struct pfs_snapshot *snapshot)
{
	pthread_mutex_lock(&store->commit);
	pfs_snapshot_begin(store, snapshot);
	pthread_mutex_unlock(&store->commit);
}

int pfs_own_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out)
{
	struct pfs_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	int err = 0;

	*out = NULL;
	if (!snapshot)
		return -ENOMEM;
	snapshot->store = store;
	if (pfs_store_is_writable(store))
		err = pfs_checkpoint_snapshot(store, snapshot);
	else
		begin_in_read_only(store, snapshot);
	if (err) {
		pfs_snapshot_close(snapshot);
		return err;
	}
	*out = snapshot;
	return 0;
}

/* Who needs the entry of a snapshot that is being closed: the next older one that is open, unless
 * it, or one in between, has an entry for the key. NULL: nobody. */
static struct pfs_snapshot *heir(const struct pfs_snapshot *snapshot,
				 const struct pfs_former *former)
{
	struct pfs_snapshot *older = snapshot->older;

	for (; older; older = older->older) {
		if (pfs_overlay_find_like(&older->overlay, former))
			return NULL;
		if (!older->closing)
			return former->state == PFS_FORMER_COMING ? NULL : older;
	}
	return NULL;
}

/* Hands some entries on, or drops them. False: there are none left. */
static bool close_step(struct pfs_snapshot *snapshot, uint64_t *at)
{
	struct pfs_store *store = snapshot->store;
	struct pfs_former *former = NULL;

	pthread_mutex_lock(&store->commit);
	for (unsigned n = 0; n < CLOSE_STEP; n++) {
		struct pfs_snapshot *to;

		former = pfs_overlay_any(&snapshot->overlay, at);
		if (!former)
			break;
		to = heir(snapshot, former);
		lock_chain(store);
		pfs_overlay_remove(&snapshot->overlay, former);
		if (to)
			pfs_overlay_add(&to->overlay, former);
		unlock_chain(store);
		if (!to)
			drop_entry(store, former);
	}
	pthread_mutex_unlock(&store->commit);
	return former != NULL;
}

static void unchain(struct pfs_snapshot *snapshot)
{
	struct pfs_snapshots *all = &snapshot->store->snapshots;

	pthread_mutex_lock(&snapshot->store->commit);
	lock_chain(snapshot->store);
	if (snapshot->older)
		snapshot->older->newer = snapshot->newer;
	else
		all->oldest = snapshot->newer;
	if (snapshot->newer)
		snapshot->newer->older = snapshot->older;
	else
		all->newest = snapshot->older;
	all->count--;
	unlock_chain(snapshot->store);
	pfs_pins_trim(&all->pins);
	pthread_mutex_unlock(&snapshot->store->commit);
}

void pfs_own_snapshot_close(struct pfs_snapshot *snapshot)
{
	struct pfs_store *store = snapshot->store;
	uint64_t at = 0, pinned;

	if (snapshot->begun) {
		pthread_mutex_lock(&store->commit);
		snapshot->closing = true;
		pinned = store->snapshots.pins.freed_bytes;
		pthread_mutex_unlock(&store->commit);
		while (close_step(snapshot, &at))
			;
		unchain(snapshot);
		/* Pages that hold nothing now are given back by the next checkpoint. */
		if (pinned)
			pfs_want_checkpoint(store, false);
	}
	pfs_overlay_free(&snapshot->overlay);
	free(snapshot);
}

void pfs_snapshots_end(struct pfs_store *store)
{
	/* The store has no other thread any more. */
	while (PFS_NEVER(&store->logger, store->snapshots.newest))
		pfs_snapshot_close(store->snapshots.newest);
}

void pfs_own_snapshot_info(const struct pfs_snapshot *snapshot, struct pfs_snapshot_info *out)
{
	*out = snapshot->info;
}

void pfs_snapshot_stat(const struct pfs_store *store, struct pfs_store_stat *out)
{
	const struct pfs_snapshots *all = &store->snapshots;

	out->snapshots = all->count;
	out->pinned_bytes = all->pins.freed_bytes;
	out->snapshot_memory = all->pins.count * sizeof(struct pfs_pin) +
			       all->pins.size * sizeof(all->pins.buckets[0]);
	if (all->oldest)
		out->snapshot_age_ns = (uint64_t)(pfs_now_monotonic() - all->oldest->began_ns);
	for (const struct pfs_snapshot *s = all->oldest; s; s = s->newer)
		out->snapshot_memory += sizeof(*s) + s->overlay.bytes +
					2 * s->overlay.size * sizeof(s->overlay.by_key[0]);
}

/* ---- reading ---- */

/* A copy of the entry that the snapshot has for the key. */
static bool copy_entry(struct pfs_snapshot *snapshot, const struct pfs_key *key,
		       struct pfs_former *copy)
{
	const struct pfs_former *former;

	lock_chain(snapshot->store);
	former = find_entry(snapshot, key);
	if (former)
		*copy = *former;
	unlock_chain(snapshot->store);
	return former != NULL;
}

static int view_former(struct pfs_store *store, const struct pfs_former *former,
		       struct pfs_view *view)
{
	const struct pfs_slot slot = {
		.kind = former->kind, .tag = former->tag, .off = former->off, .len = former->len};

	if (former->state == PFS_FORMER_ABSENT)
		return -ENOENT;
	if (PFS_NEVER(&store->logger, former->state == PFS_FORMER_COMING) ||
	    former->state == PFS_FORMER_LOST)
		return -EIO;
	return pfs_view_at(store, former->page, &slot, view);
}

static int view_present(struct pfs_store *store, const struct pfs_key *key, struct pfs_view *view)
{
	uint32_t object;
	uint64_t word;
	int err = pfs_find(store, key, &object, &word);

	return err ? err : pfs_view(store, pfs_word_unheld(word), view);
}

/* What is wanted of a document, and what was found. */
struct look {
	uint64_t off;
	uint8_t *buf; /* NULL: `whole` is made */
	size_t len;   /* of buf; then what was read */
	bool whole;   /* everything, into a buffer of its own */
	struct pfs_view view;
};

static int take_look(struct pfs_store *store, struct look *look, size_t *got)
{
	const struct pfs_view *view = &look->view;
	uint64_t size = view->size;

	*got = 0;
	if (view->source.kind == PFS_SOURCE_LOST && (size == 0 || look->whole || look->buf))
		return -EIO;
	if (look->whole) {
		look->buf = malloc(size + 1);
		if (!look->buf)
			return -ENOMEM;
		*got = size;
	} else if (look->buf && look->off < size) {
		*got = pfs_min_u64(look->len, size - look->off);
	}
	return pfs_source_read(store, &view->source, look->off, look->buf, *got);
}

/* SN1: until what was found in the store can't have been changed before. */
static int look_at(struct pfs_snapshot *snapshot, const struct pfs_key *key, struct look *look,
		   size_t *got)
{
	struct pfs_store *store = snapshot->store;
	struct pfs_former former;
	bool in_overlay = copy_entry(snapshot, key, &former), again;
	int err;

	do {
		pfs_epoch_enter();
		err = in_overlay ? view_former(store, &former, &look->view)
				 : view_present(store, key, &look->view);
		if (!err)
			err = take_look(store, look, got);
		pfs_epoch_leave();
		again = !in_overlay && copy_entry(snapshot, key, &former);
		in_overlay = again || in_overlay;
		if (look->whole && (again || err)) {
			free(look->buf);
			look->buf = NULL;
		}
	} while (again);
	return err;
}

static bool is_shown(const struct pfs_key *key)
{
	return key->kind != PFS_KEY_TEMP && key->kind != PFS_KEY_NONE;
}

int pfs_own_snapshot_lookup_change(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				   struct pfs_attr *attr, uint64_t *sequence)
{
	struct look look = {0};
	size_t got;
	int err = is_shown(key) ? look_at(snapshot, key, &look, &got) : -ENOENT;

	*sequence = err ? 0 : look.view.seq;
	if (!err && attr)
		pfs_view_attr(snapshot->store, &look.view, attr);
	return err;
}

ssize_t pfs_own_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			      uint64_t off, void *buf, size_t len)
{
	struct look look = {.off = off, .buf = buf, .len = len};
	size_t got = 0;
	int err = is_shown(key) ? look_at(snapshot, key, &look, &got) : -ENOENT;

	return err ? err : (ssize_t)got;
}

int pfs_own_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key, void **data,
			 size_t *len, struct pfs_attr *attr)
{
	struct look look = {.whole = true};
	int err;

	*data = NULL;
	*len = 0;
	err = is_shown(key) ? look_at(snapshot, key, &look, len) : -ENOENT;
	if (err) {
		*len = 0;
		return err;
	}
	*data = look.buf;
	if (attr)
		pfs_view_attr(snapshot->store, &look.view, attr);
	return 0;
}

/* ---- listing ---- */

/* The entry of a name that stood at the cookie at the snapshot's moment. Lock of the chain. */
static const struct pfs_former *entry_at(const struct pfs_snapshot *snapshot, uint32_t cookie)
{
	for (const struct pfs_snapshot *s = snapshot; s; s = s->newer) {
		const struct pfs_former *former = NULL;

		while ((former = pfs_overlay_at_cookie(&s->overlay, cookie, former))) {
			const struct pfs_snapshot *nearer = snapshot;

			while (nearer != s && !pfs_overlay_find_like(&nearer->overlay, former))
				nearer = nearer->newer;
			if (nearer == s)
				return former;
		}
	}
	return NULL;
}

ssize_t pfs_own_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
			      struct pfs_snapshot_name *out, size_t max)
{
	struct pfs_store *store = snapshot->store;
	struct pfs_listed present[LIST_STRIDE];
	uint64_t cookie = pfs_max_u64(after + 1, PFS_OBJECT_FIRST);
	size_t n = 0;

	while (cookie < snapshot->end && n < max) {
		size_t stride =
			pfs_min_u64(pfs_min_u64(LIST_STRIDE, max - n), snapshot->end - cookie);

		for (size_t i = 0; i < stride; i++) {
			pfs_epoch_enter();
			if (pfs_list_logged(store, (uint32_t)(cookie + i), &present[i]) != 0)
				present[i].key.kind = PFS_KEY_NONE;
			pfs_epoch_leave();
		}
		lock_chain(store);
		for (size_t i = 0; i < stride; i++, cookie++) {
			const struct pfs_former *former = entry_at(snapshot, (uint32_t)cookie);

			if (former)
				pfs_former_key(former, &out[n].key);
			else if (is_shown(&present[i].key) &&
				 !find_entry(snapshot, &present[i].key))
				out[n].key = present[i].key;
			else
				continue;
			out[n++].cookie = cookie;
		}
		unlock_chain(store);
	}
	return (ssize_t)n;
}
