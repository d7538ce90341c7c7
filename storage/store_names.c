/* Changes of names: removing, renaming, putting whole documents by key, releasing objects. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

static uint32_t hash_of(const struct pfs_key *key)
{
	return pfs_index_hash(key->kind, pfs_key_tag(key));
}

static struct pfs_key new_temp(struct pfs_store *store)
{
	return (struct pfs_key){.kind = PFS_KEY_TEMP, .num = store->next_temp++};
}

static struct pfs_version *held_version(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	return v && v->held ? v : NULL;
}

/* ---- losing a name ---- */

/* An object on its way out: prepared before the record is written, so that nothing can fail
 * afterwards. */
struct leaving {
	struct pfs_change change; /* version NULL: nothing of it needs doing (it was only held) */
	struct pfs_key key, temp;
	uint64_t base;	/* sequence of its last record, 0: none */
	bool orphan;	/* it stays readable under a temporary key */
	bool held_only; /* it was created and never logged */
};

/* What an orphan shows: its version under the temporary key. It needs no place of its own when a
 * page already has its bytes. */
static int orphan_version(struct pfs_store *store, struct leaving *l, const struct pfs_view *view)
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

/* Prepares the object's loss of its name. A damaged document can lose it too; then nobody can go on
 * reading it. */
static int leaving_prepare(struct pfs_store *store, struct leaving *l, uint32_t object,
			   const struct pfs_key *key)
{
	struct pfs_view view, base;
	int err;

	*l = (struct leaving){
		.key = *key, .change = {.object = object}, .orphan = store->hold_objects};
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
	l->temp = new_temp(store);
	l->change.version = pfs_version_new(l->orphan ? &l->temp : key);
	if (!l->change.version)
		return -ENOMEM;
	l->change.version->seq = pfs_journal_appended(store->journal) + 1;
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
static void leave_held_only(struct pfs_store *store, struct leaving *l)
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

/* The record is written (or none was needed): makes it so. The name's place in the hash and in the
 * listing is the caller's to give away first. */
static void leaving_finish(struct pfs_store *store, struct leaving *l, uint64_t seq)
{
	uint32_t object = l->change.object;

	if (l->held_only)
		leave_held_only(store, l);
	else
		pfs_change_publish(store, &l->change, seq);
	if (l->orphan)
		/* Reserved in prepare. */
		(void)pfs_index_insert(store->index, object, hash_of(&l->temp));
	else
		pfs_index_release(store->index, object);
}

/* ---- remove ---- */

static int remove_locked(struct pfs_store *store, const struct pfs_key *key, uint32_t *object)
{
	struct leaving l;
	uint64_t word;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = pfs_find(store, key, object, &word);
	if (!err)
		err = leaving_prepare(store, &l, *object, key);
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
	pfs_index_remove(store->index, *object, hash_of(key));
	leaving_finish(store, &l, pfs_journal_appended(store->journal));
	return 0;
}

int pfs_remove(struct pfs_store *store, const struct pfs_key *key, uint32_t *object)
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
	change->version->seq = pfs_journal_appended(store->journal) + 1;
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
	pfs_index_remove(store->index, a, hash_of(from));
	pfs_index_remove(store->index, b, hash_of(to));
	pfs_change_show(store, &ca, pfs_journal_appended(store->journal));
	pfs_change_show(store, &cb, pfs_journal_appended(store->journal));
	(void)pfs_index_insert(store->index, a, hash_of(to));
	(void)pfs_index_insert(store->index, b, hash_of(from));
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
	pfs_index_remove(store->index, a, hash_of(from));
	pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	return pfs_index_insert(store->index, a, hash_of(to));
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
	struct leaving l;
	uint64_t base;
	int err = moved_version(store, &change, a, to, &base);

	if (err)
		return err;
	err = leaving_prepare(store, &l, b, to);
	if (!err)
		err = pfs_log_move(store, from, base, to, l.base,
				   l.orphan && !l.held_only ? l.temp.num : 0, false);
	if (err) {
		pfs_change_drop(store, &l.change);
		pfs_change_drop(store, &change);
		return err;
	}
	pfs_index_moving(store->index);
	pfs_index_remove(store->index, a, hash_of(from));
	pfs_change_show(store, &change, pfs_journal_appended(store->journal));
	pfs_index_replace(store->index, b, a, hash_of(to));
	take_cookie(store, a, cookie_a, cookie_b);
	pfs_index_moving(store->index);
	pfs_change_settle(store, &change);
	leaving_finish(store, &l, pfs_journal_appended(store->journal));
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

int pfs_rename(struct pfs_store *store, const struct pfs_key *from, const struct pfs_key *to,
	       unsigned flags, uint32_t *replaced)
{
	uint32_t lost = PFS_OBJECT_NONE;
	unsigned tries = 0;
	int err;

	if ((flags & ~(unsigned)(PFS_RENAME_NOREPLACE | PFS_RENAME_EXCHANGE)) ||
	    flags == (PFS_RENAME_NOREPLACE | PFS_RENAME_EXCHANGE))
		return -EINVAL;
	do {
		pfs_write_enter(store);
		err = rename_locked(store, from, to, flags, &lost);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	if (replaced)
		*replaced = err ? PFS_OBJECT_NONE : lost;
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

int pfs_tidy(struct pfs_store *store, uint32_t object)
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

void pfs_release(struct pfs_store *store, uint32_t object)
{
	struct pfs_change change = {.object = object};
	struct pfs_key key;
	uint64_t word;

	pfs_write_enter(store);
	word = pfs_index_word(store->index, object);
	if (word == 0 || pfs_object_word_key(store, object, word, &key) != 0 ||
	    key.kind != PFS_KEY_TEMP)
		goto out;
	/* No record: temporary keys are dropped by the next opening anyway. */
	if (pfs_current(store, object, &change.current) != 0)
		goto out;
	change.version = pfs_version_new(&key);
	if (!change.version)
		goto out;
	change.version->removed = true;
	pfs_index_remove(store->index, object, hash_of(&key));
	pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	pfs_index_release(store->index, object);
out:
	pfs_write_leave(store);
}

/* ---- whole documents ---- */

static void default_attr(struct pfs_store *store, struct pfs_attr *attr)
{
	*attr = (struct pfs_attr){
		.mtime_ns = pfs_now_realtime(),
		.mode = store->defaults.mode,
		.uid = store->defaults.uid,
		.gid = store->defaults.gid,
	};
}

/* The attributes that a put gives: those asked for, else what the document has, else the defaults.
 */
static void put_attr(struct pfs_store *store, const struct pfs_attr *asked, uint64_t word,
		     struct pfs_attr *out)
{
	struct pfs_view view;

	default_attr(store, out);
	if (asked) {
		*out = *asked;
	} else if (word && pfs_view(store, word, &view) == 0) {
		int64_t now = out->mtime_ns;

		pfs_view_attr(store, &view, out);
		out->mtime_ns = now;
	}
}

static int put_fresh(struct pfs_store *store, const struct pfs_key *key,
		     const struct pfs_packed *packed, const struct pfs_attr *attr,
		     uint64_t displaced, bool takes_place, uint32_t *object)
{
	int err = pfs_index_reserve(store->index, 2);

	if (!err)
		err = pfs_index_alloc(store->index, object);
	if (err)
		return err;
	/* Its name is listed where it stands already. Reserved by the caller. */
	if (takes_place)
		(void)pfs_index_vacate(store->index, *object);
	err = pfs_put_object(store, *object, key, packed, attr, displaced);
	if (err)
		pfs_index_release(store->index, *object);
	return err;
}

static int put_locked(struct pfs_store *store, const struct pfs_key *key,
		      const struct pfs_packed *packed, const struct pfs_attr *asked, unsigned flags,
		      uint32_t *replaced)
{
	struct pfs_attr attr;
	struct leaving l;
	uint32_t object, there, cookie;
	uint64_t word = 0;
	int err, found;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	found = pfs_find(store, key, &there, &word);
	if (found && found != -ENOENT)
		return found;
	put_attr(store, asked, found ? 0 : word, &attr);
	if (found) {
		err = put_fresh(store, key, packed, &attr, 0, false, &object);
		return err ? err : pfs_index_insert(store->index, object, hash_of(key));
	}
	if (!(flags & PFS_PUT_NEW_OBJECT))
		return pfs_put_object(store, there, key, packed, &attr, 0);
	err = pfs_index_reserve_cookies(store->index);
	if (!err)
		err = leaving_prepare(store, &l, there, key);
	if (err)
		return err;
	err = put_fresh(store, key, packed, &attr, l.orphan && !l.held_only ? l.temp.num : 0, true,
			&object);
	if (err) {
		pfs_change_drop(store, &l.change);
		return err;
	}
	cookie = pfs_index_cookie(store->index, there);
	pfs_index_moving(store->index);
	pfs_index_replace(store->index, there, object, hash_of(key));
	(void)pfs_index_set_cookie(store->index, object, cookie);
	pfs_index_moving(store->index);
	leaving_finish(store, &l, pfs_journal_appended(store->journal));
	if (!store->hold_objects)
		(void)pfs_renumber(store, object);
	*replaced = there;
	return 0;
}

static int put_whole(struct pfs_store *store, const struct pfs_key *key, const void *data,
		     size_t len, const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	struct pfs_packed packed;
	unsigned tries = 0;
	int err = pfs_pack(store, &packed, data, len, true);

	if (err)
		return err;
	do {
		pfs_write_enter(store);
		err = put_locked(store, key, &packed, attr, flags, replaced);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, false));
	pfs_packed_free(&packed);
	return err;
}

struct pfs_put {
	struct pfs_store *store;
	struct pfs_key temp;
	uint32_t object;
	uint64_t len;
};

int pfs_put(struct pfs_store *store, const struct pfs_key *key, const void *data, size_t len,
	    const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	uint32_t lost = PFS_OBJECT_NONE;
	struct pfs_put *put;
	int err;

	if (replaced)
		*replaced = PFS_OBJECT_NONE;
	if (len > PFS_PAYLOAD_MAX)
		return -EFBIG;
	pfs_write_throttle(store, len > PFS_BLOCK_LEN);
	if (len <= PFS_WHOLE_WRITE_MAX) {
		err = put_whole(store, key, data, len, attr, flags, &lost);
		if (!err && replaced)
			*replaced = lost;
		return err;
	}
	err = pfs_put_begin(store, &put);
	if (err)
		return err;
	err = pfs_put_write(put, data, len);
	if (err) {
		pfs_put_abort(put);
		return err;
	}
	return pfs_put_commit(put, key, attr, flags, replaced);
}

int pfs_put_begin(struct pfs_store *store, struct pfs_put **out)
{
	struct pfs_put *put = calloc(1, sizeof(*put));
	struct pfs_attr attr;
	int err;

	*out = NULL;
	if (!put)
		return -ENOMEM;
	put->store = store;
	pthread_mutex_lock(&store->commit);
	put->temp = new_temp(store);
	pthread_mutex_unlock(&store->commit);
	default_attr(store, &attr);
	err = pfs_create(store, &put->temp, &attr, &put->object, NULL);
	if (err) {
		free(put);
		return err;
	}
	*out = put;
	return 0;
}

int pfs_put_write(struct pfs_put *put, const void *data, size_t len)
{
	int err;

	if (len > PFS_PAYLOAD_MAX - put->len)
		return -EFBIG;
	err = pfs_write(put->store, put->object, put->len, data, len, pfs_now_realtime());
	if (!err)
		put->len += len;
	return err;
}

int pfs_put_commit(struct pfs_put *put, const struct pfs_key *key, const struct pfs_attr *asked,
		   unsigned flags, uint32_t *replaced)
{
	struct pfs_store *store = put->store;
	struct pfs_attr attr;
	uint32_t object, lost = PFS_OBJECT_NONE;
	uint64_t word;
	int err;

	(void)flags; /* a document that arrives in pieces is a new object in any case */
	pfs_write_enter(store);
	put_attr(store, asked, pfs_find(store, key, &object, &word) == 0 ? word : 0, &attr);
	pfs_write_leave(store);
	err = pfs_setattr(store, put->object,
			  PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID | PFS_ATTR_MTIME, &attr,
			  NULL);
	if (!err)
		err = pfs_rename(store, &put->temp, key, 0, &lost);
	if (err) {
		pfs_put_abort(put);
		return err;
	}
	free(put);
	if (replaced)
		*replaced = lost;
	return 0;
}

void pfs_put_abort(struct pfs_put *put)
{
	if (!put)
		return;
	pfs_release(put->store, put->object);
	free(put);
}
