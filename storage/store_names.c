/* Changes of names: removing, renaming, releasing objects. */
#include "storage/store_names.h"

#include <stdlib.h>

#include "storage/epoch.h"

static struct pfs_version *held_version(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	return v && v->held ? v : NULL;
}

/* ---- losing a name ---- */

/* What an orphan shows: its version under the temporary key. It needs no place of its own when a
 * page already has its bytes. */
static int orphan_version(struct pfs_store *store, struct pfs_leaving *l,
			  const struct pfs_view *view)
{
	struct pfs_change *change = &l->change;
	struct pfs_version *v = change->version;

	pfs_version_take(v, view);
	if (change->current.held)
		return 0;
	if (!change->current.pending || change->current.pending->batch <= store->applying ||
	    v->source.kind == PFS_SOURCE_CONTAINER)
		return 0;
	return pfs_change_place(store, change);
}

int pfs_leaving_prepare(struct pfs_store *store, struct pfs_leaving *l, uint32_t object,
			const struct pfs_key *key)
{
	struct pfs_view view, base;
	int err;

	*l = (struct pfs_leaving){
		.key = *key, .change = {.object = object}, .orphan = store->hold_objects};
	err = pfs_snapshot_keep(store, key, object);
	if (!err)
		err = pfs_current(store, object, &l->change.current);
	if (err)
		return err;
	l->held_only = l->change.current.held && !l->change.current.base_word;
	if (pfs_view(store, l->change.current.word, &view) != 0) {
		l->orphan = false;
		view = (struct pfs_view){0};
	}
	l->base = UINT64_MAX; /* damaged: not known */
	if (l->held_only)
		l->base = 0;
	else if (pfs_view(store, l->change.current.base_word, &base) == 0)
		l->base = base.seq;
	l->temp = pfs_key_new_temp(store);
	l->change.version = pfs_version_new(l->orphan ? &l->temp : key);
	if (!l->change.version)
		return -ENOMEM;
	l->change.version->seq = pfs_journal_next(store->journal);
	if (!l->orphan) {
		l->change.version->removed = true;
		return 0;
	}
	err = pfs_index_reserve(store->index, 2);
	if (!err)
		err = orphan_version(store, l, &view);
	if (err)
		pfs_change_drop(store, &l->change);
	return err;
}

/* A created and never written object: no record says it, so none says its end. */
static void leave_held_only(struct pfs_store *store, struct pfs_leaving *l)
{
	struct pfs_version *held = l->change.current.held, *v = l->change.version;

	pfs_account(store, held->kind, 0, 0, false);
	pfs_list_remove(&held->list);
	pfs_limbo(store, held);
	if (!l->orphan) {
		free(v);
		return;
	}
	v->held = true;
	v->object = l->change.object;
	pfs_index_set_word(store->index, l->change.object, pfs_word_version(v));
	pfs_list_append(&store->held, &v->list);
}

void pfs_leaving_finish(struct pfs_store *store, struct pfs_leaving *l, uint64_t seq)
{
	uint32_t object = l->change.object;

	if (l->held_only)
		leave_held_only(store, l);
	else
		pfs_change_publish(store, &l->change, seq);
	if (l->orphan)
		/* Reserved in prepare. */
		(void)pfs_index_insert(store->index, object, pfs_key_hash(&l->temp));
	else
		pfs_index_release(store->index, object);
}

/* ---- remove ---- */

static int remove_locked(struct pfs_store *store, const struct pfs_key *key, uint32_t *object)
{
	struct pfs_leaving l;
	uint64_t word;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = pfs_find(store, key, object, &word);
	if (!err)
		err = pfs_leaving_prepare(store, &l, *object, key);
	if (err)
		return err;
	if (l.held_only)
		err = 0;
	else if (l.orphan)
		err = pfs_log_move(store, key, l.base, &l.temp, 0, 0, false);
	else
		err = pfs_log_remove(store, key, l.base);
	if (err) {
		pfs_change_drop(store, &l.change);
		return err;
	}
	pfs_index_remove(store->index, *object, pfs_key_hash(key));
	pfs_leaving_finish(store, &l, pfs_journal_appended(store->journal));
	return 0;
}

int pfs_own_remove(struct pfs_store *store, const struct pfs_key *key, uint32_t *object)
{
	uint32_t gone = PFS_OBJECT_NONE;
	unsigned tries = 0;
	int err;

	do {
		pfs_write_enter(store);
		err = remove_locked(store, key, &gone);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	if (object)
		*object = err ? PFS_OBJECT_NONE : gone;
	return err;
}

/* ---- rename ---- */

/* The object's version under another key. */
static int moved_version(struct pfs_store *store, struct pfs_change *change, uint32_t object,
			 const struct pfs_key *to, uint64_t *base)
{
	struct pfs_view view;
	int err;

	*change = (struct pfs_change){.object = object};
	err = pfs_current(store, object, &change->current);
	if (!err)
		err = pfs_view(store, change->current.word, &view);
	if (err)
		return err;
	change->version = pfs_version_new(to);
	if (!change->version)
		return -ENOMEM;
	*base = view.seq;
	change->version->seq = pfs_journal_next(store->journal);
	pfs_change_inherit(store, change, &view);
	err = pfs_change_place(store, change);
	if (err)
		pfs_change_drop(store, change);
	return err;
}

static int exchange(struct pfs_store *store, const struct pfs_key *from, uint32_t a,
		    const struct pfs_key *to, uint32_t b)
{
	uint32_t cookie_a = pfs_index_cookie(store->index, a),
		 cookie_b = pfs_index_cookie(store->index, b);
	struct pfs_change ca, cb;
	uint64_t base_a, base_b;
	int err;

	err = moved_version(store, &ca, a, to, &base_a);
	if (err)
		return err;
	err = moved_version(store, &cb, b, from, &base_b);
	if (!err)
		err = pfs_log_move(store, from, base_a, to, base_b, 0, true);
	if (err) {
		pfs_change_drop(store, &cb);
		pfs_change_drop(store, &ca);
		return err;
	}
	pfs_index_moving(store->index);
	pfs_index_remove(store->index, a, pfs_key_hash(from));
	pfs_index_remove(store->index, b, pfs_key_hash(to));
	pfs_change_show(store, &ca, pfs_journal_appended(store->journal));
	pfs_change_show(store, &cb, pfs_journal_appended(store->journal));
	(void)pfs_index_insert(store->index, a, pfs_key_hash(to));
	(void)pfs_index_insert(store->index, b, pfs_key_hash(from));
	(void)pfs_index_set_cookie(store->index, a, cookie_b);
	(void)pfs_index_set_cookie(store->index, b, cookie_a);
	pfs_index_moving(store->index);
	pfs_change_settle(store, &ca);
	pfs_change_settle(store, &cb);
	return 0;
}

/* Moves object `a` from its name to a free one. The place in the listing goes with it. */
static int move_to_free(struct pfs_store *store, const struct pfs_key *from, uint32_t a,
			const struct pfs_key *to)
{
	struct pfs_change change;
	uint64_t base;
	int err = moved_version(store, &change, a, to, &base);

	if (err)
		return err;
	err = pfs_log_move(store, from, base, to, 0, 0, false);
	if (err) {
		pfs_change_drop(store, &change);
		return err;
	}
	pfs_index_remove(store->index, a, pfs_key_hash(from));
	pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	return pfs_index_insert(store->index, a, pfs_key_hash(to));
}

/* Object a takes the place of b in the listing; a's own place (if it had a name) is vacated. */
static void take_cookie(struct pfs_store *store, uint32_t a, uint32_t cookie_a, uint32_t cookie_b)
{
	/* Reserved by the caller. */
	(void)pfs_index_vacate(store->index, cookie_a);
	(void)pfs_index_set_cookie(store->index, a, cookie_b);
}

static int move_over(struct pfs_store *store, const struct pfs_key *from, uint32_t a,
		     const struct pfs_key *to, uint32_t b)
{
	uint32_t cookie_a = pfs_index_cookie(store->index, a),
		 cookie_b = pfs_index_cookie(store->index, b);
	struct pfs_change change;
	struct pfs_leaving l;
	uint64_t base;
	int err = moved_version(store, &change, a, to, &base);

	if (err)
		return err;
	err = pfs_leaving_prepare(store, &l, b, to);
	if (!err)
		err = pfs_log_move(store, from, base, to, l.base,
				   l.orphan && !l.held_only ? l.temp.num : 0, false);
	if (err) {
		pfs_change_drop(store, &l.change);
		pfs_change_drop(store, &change);
		return err;
	}
	pfs_index_moving(store->index);
	pfs_index_remove(store->index, a, pfs_key_hash(from));
	pfs_change_show(store, &change, pfs_journal_appended(store->journal));
	pfs_index_replace(store->index, b, a, pfs_key_hash(to));
	take_cookie(store, a, cookie_a, cookie_b);
	pfs_index_moving(store->index);
	pfs_change_settle(store, &change);
	pfs_leaving_finish(store, &l, pfs_journal_appended(store->journal));
	if (!store->hold_objects)
		(void)pfs_renumber(store, a);
	return 0;
}

static int rename_locked(struct pfs_store *store, const struct pfs_key *from,
			 const struct pfs_key *to, unsigned flags, uint32_t *replaced)
{
	uint32_t a, b = PFS_OBJECT_NONE;
	struct pfs_version *held;
	uint64_t word;
	int err, there;

	*replaced = PFS_OBJECT_NONE;
	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = pfs_find(store, from, &a, &word);
	if (err)
		return err;
	there = pfs_find(store, to, &b, &word);
	if (there && there != -ENOENT)
		return there;
	if ((flags & PFS_RENAME_EXCHANGE) && there)
		return -ENOENT;
	if ((flags & PFS_RENAME_NOREPLACE) && !there)
		return -EEXIST;
	if (!there && a == b)
		return 0;
	err = pfs_index_reserve(store->index, 4);
	if (!err)
		err = pfs_index_reserve_cookies(store->index);
	if (!err)
		err = pfs_snapshot_keep(store, from, a);
	if (!err)
		err = pfs_snapshot_keep(store, to, there ? PFS_OBJECT_NONE : b);
	/* What is held is logged before another change of the object. */
	held = held_version(store, a);
	if (!err && held)
		err = pfs_log_held(store, a, held);
	if (flags & PFS_RENAME_EXCHANGE) {
		held = held_version(store, b);
		if (!err && held)
			err = pfs_log_held(store, b, held);
		return err ? err : exchange(store, from, a, to, b);
	}
	if (err)
		return err;
	if (there)
		return move_to_free(store, from, a, to);
	*replaced = b;
	return move_over(store, from, a, to, b);
}

int pfs_own_rename(struct pfs_store *store, const struct pfs_key *from, const struct pfs_key *to,
		   unsigned flags, uint32_t *replaced)
{
	uint32_t lost = PFS_OBJECT_NONE;
	unsigned tries = 0;
	int err;

	if (replaced)
		*replaced = PFS_OBJECT_NONE;
	if ((flags & ~(unsigned)(PFS_RENAME_NOREPLACE | PFS_RENAME_EXCHANGE)) ||
	    flags == (PFS_RENAME_NOREPLACE | PFS_RENAME_EXCHANGE))
		return -EINVAL;
	do {
		pfs_write_enter(store);
		err = rename_locked(store, from, to, flags, &lost);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	if (replaced && !err)
		*replaced = lost;
	return err;
}

/* ---- release ---- */

int pfs_renumber(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	uint32_t number = PFS_OBJECT_NONE;

	/* A running checkpoint finds what came after its versions by the object's number. */
	if (!pfs_list_empty(&store->batch))
		return -EAGAIN;
	number = pfs_index_renumber(store->index, object);
	if (number == PFS_OBJECT_NONE)
		return -EALREADY;
	/* A held version and the one under it both say whose they are. */
	while (pfs_word_is_version(word)) {
		struct pfs_version *v = pfs_word_to_version(word);

		v->object = number;
		word = v->held ? v->under : 0;
	}
	return 0;
}

int pfs_own_tidy(struct pfs_store *store, uint32_t object)
{
	struct pfs_key key;
	uint64_t word;
	int err = -EALREADY;

	if (pthread_mutex_trylock(&store->commit) != 0)
		return -EAGAIN;
	pfs_epoch_enter();
	word = pfs_index_word(store->index, object);
	if (word && pfs_object_word_key(store, object, word, &key) == 0 && key.kind != PFS_KEY_TEMP)
		err = pfs_renumber(store, object);
	pfs_epoch_leave();
	pthread_mutex_unlock(&store->commit);
	return err;
}

void pfs_drop_temporary(struct pfs_store *store, uint32_t object)
{
	struct pfs_change change = {.object = object};
	struct pfs_key key;
	uint64_t word;

	pfs_write_enter(store);
	word = pfs_index_word(store->index, object);
	if (word == 0 || pfs_object_word_key(store, object, word, &key) != 0 ||
	    key.kind != PFS_KEY_TEMP || pfs_current(store, object, &change.current) != 0)
		goto out;
	/* No record: temporary keys are dropped by the next opening anyway. */
	change.version = pfs_version_new(&key);
	if (!change.version)
		goto out;
	change.version->removed = true;
	pfs_index_remove(store->index, object, pfs_key_hash(&key));
	pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	pfs_index_release(store->index, object);
out:
	pfs_write_leave(store);
}

void pfs_own_release(struct pfs_store *store, uint32_t object)
{
	/* Else the number went with the name: what has it now is another's, such as a put in
	 * pieces. */
	if (store->hold_objects)
		pfs_drop_temporary(store, object);
}
