/* The changing half of the public interface: each function makes one record and publishes what it
 * says. */
#include <stdlib.h>

#include "storage/store_internal.h"

/* ---- building versions ---- */

static uint64_t next_seq(const struct pfs_store *store)
{
	return pfs_journal_next(store->journal);
}

static void set_attr(struct pfs_store *store, struct pfs_version *v, unsigned mask,
		     const struct pfs_attr *attr)
{
	const struct pfs_defaults *d = &store->defaults;

	if (!v->own_attr) {
		v->mode = d->mode;
		v->uid = d->uid;
		v->gid = d->gid;
	}
	if (mask & PFS_ATTR_MODE)
		v->mode = attr->mode & 07777;
	if (mask & PFS_ATTR_UID)
		v->uid = attr->uid;
	if (mask & PFS_ATTR_GID)
		v->gid = attr->gid;
	if (mask & PFS_ATTR_MTIME)
		v->mtime_ns = attr->mtime_ns;
	/* What equals the defaults costs nothing. */
	v->own_attr = v->mode != d->mode || v->uid != d->uid || v->gid != d->gid;
	if (!v->own_attr)
		v->mode = v->uid = v->gid = 0;
}

/* A version of the object under key with the attributes of view (NULL: none). moves: it will show
 * what the present one shows. */
static int begin_version(struct pfs_store *store, struct pfs_change *change, uint32_t object,
			 const struct pfs_key *key, const struct pfs_view *view, bool moves)
{
	int err;

	*change = (struct pfs_change){.object = object};
	err = moves ? 0 : pfs_snapshot_keep(store, key, object);
	if (!err)
		err = pfs_current(store, object, &change->current);
	if (err)
		return err;
	change->version = pfs_version_new(key);
	if (!change->version)
		return -ENOMEM;
	change->version->seq = next_seq(store);
	change->version->moved = moves;
	if (view)
		pfs_version_take_attr(change->version, view);
	return 0;
}

static int begin(struct pfs_store *store, struct pfs_change *change, uint32_t object,
		 const struct pfs_key *key, const struct pfs_view *view)
{
	return begin_version(store, change, object, key, view, false);
}

static void source_of_packed(struct pfs_source *source, const struct pfs_packed *packed)
{
	*source = (struct pfs_source){
		.kind = packed->raw_len ? PFS_SOURCE_RECORD : PFS_SOURCE_EMPTY,
		.size = packed->raw_len,
		.flags = packed->flags,
		.dict = packed->dict ? packed->dict->number : 0,
		.body_len = packed->body_len,
		.content = packed->content,
	};
}

/* Logs packed as the object's whole content. */
static int log_object(struct pfs_store *store, struct pfs_change *change,
		      const struct pfs_packed *packed, uint64_t displaced, bool privileged)
{
	struct pfs_version *v = change->version;
	int err;

	source_of_packed(&v->source, packed);
	v->size = packed->raw_len;
	err = pfs_change_place(store, change);
	if (!err)
		err = pfs_log_put(store, v, packed, displaced, privileged);
	if (err)
		pfs_change_drop(store, change);
	return err;
}

/* Puts packed as the object's whole content. */
static int put_object(struct pfs_store *store, struct pfs_change *change,
		      const struct pfs_packed *packed, uint64_t displaced, bool privileged)
{
	int err = log_object(store, change, packed, displaced, privileged);

	if (!err)
		pfs_change_publish(store, change, pfs_journal_appended(store->journal));
	return err;
}

int pfs_put_prepare(struct pfs_store *store, struct pfs_change *change, uint32_t object,
		    const struct pfs_key *key, const struct pfs_packed *packed,
		    const struct pfs_attr *attr, uint64_t displaced)
{
	int err = begin(store, change, object, key, NULL);

	if (err)
		return err;
	set_attr(store, change->version,
		 PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID | PFS_ATTR_MTIME, attr);
	return log_object(store, change, packed, displaced, false);
}

int pfs_put_object(struct pfs_store *store, uint32_t object, const struct pfs_key *key,
		   const struct pfs_packed *packed, const struct pfs_attr *attr, uint64_t displaced)
{
	struct pfs_change change;
	int err = pfs_put_prepare(store, &change, object, key, packed, attr, displaced);

	if (!err)
		pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	return err;
}

/* ---- held versions ---- */

int pfs_log_held(struct pfs_store *store, uint32_t object, struct pfs_version *held)
{
	static const struct pfs_packed empty;
	struct pfs_change change;
	struct pfs_view view;
	struct pfs_key key;
	int err;

	view = (struct pfs_view){.mtime_ns = held->mtime_ns,
				 .mode = held->mode,
				 .uid = held->uid,
				 .gid = held->gid,
				 .own_attr = held->own_attr};
	pfs_version_key(held, &key);
	err = begin(store, &change, object, &key, &view);
	if (err)
		return err;
	return put_object(store, &change, &empty, 0, true);
}

/* Cancels a truncation that is held: the object is again what it was. A creation stays. */
static void cancel_held(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *held = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	if (!held || !held->held || !held->under)
		return;
	pfs_list_remove(&held->list);
	pfs_index_set_word(store->index, object, held->under);
	pfs_limbo(store, held);
}

/* Logs what is held of the object, if anything (C4). */
static int settle(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	return v && v->held ? pfs_log_held(store, object, v) : 0;
}

/* Holds an empty document over what the object is. */
static int hold(struct pfs_store *store, uint32_t object, const struct pfs_key *key, uint64_t under,
		const struct pfs_version *attr)
{
	struct pfs_version *v = pfs_version_new(key);

	if (!v)
		return -ENOMEM;
	v->object = object;
	v->held = true;
	v->under = under;
	v->source.kind = PFS_SOURCE_EMPTY;
	v->mtime_ns = attr->mtime_ns;
	v->mode = attr->mode;
	v->uid = attr->uid;
	v->gid = attr->gid;
	v->own_attr = attr->own_attr;
	v->seq = next_seq(store);
	pfs_index_set_word(store->index, object, pfs_word_version(v));
	pfs_list_append(&store->held, &v->list);
	return 0;
}

/* ---- creating and writing ---- */

static int create_locked(struct pfs_store *store, const struct pfs_key *key,
			 const struct pfs_attr *attr, uint32_t *object)
{
	struct pfs_version model = {0};
	int err;

	set_attr(store, &model, PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID | PFS_ATTR_MTIME, attr);
	err = pfs_index_alloc(store->index, object);
	if (err)
		return err;
	err = pfs_index_reserve(store->index, 1);
	if (!err)
		err = hold(store, *object, key, 0, &model);
	if (err) {
		pfs_index_release(store->index, *object);
		return err;
	}
	pfs_account(store, key->kind, 0, 0, true);
	return pfs_index_insert(store->index, *object, pfs_index_hash(key->kind, pfs_key_tag(key)));
}

/* Whether a document of this time could be placed now: a full disk is to be noticed when a file is
 * opened for writing, not when it is closed. A page that is made for it is a page for such times.
 */
static int probe_room(struct pfs_store *store, int64_t mtime_ns)
{
	struct pfs_container c = {
		.body_len = PFS_BLOCK_LEN, .seq = next_seq(store), .mtime_ns = mtime_ns};
	struct pfs_pager_need need = {&c, PFS_KEY_NUM, 0};

	return pfs_pager_probe(store->pager, &need);
}

int pfs_own_create(struct pfs_store *store, const struct pfs_key *key, const struct pfs_attr *attr,
		   uint32_t *object)
{
	unsigned tries = 0;
	uint32_t number;
	uint64_t word;
	int err;

	do {
		pfs_write_enter(store);
		err = pfs_find(store, key, &number, &word);
		if (!err) {
			err = -EEXIST;
		} else if (err == -ENOENT) {
			err = pfs_store_is_writable(store) ? probe_room(store, attr->mtime_ns)
							   : -EROFS;
			if (!err)
				err = create_locked(store, key, attr, &number);
		}
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, false));
	if (object)
		*object = err && err != -EEXIST ? PFS_OBJECT_NONE : number;
	return err;
}

/* The present content of a small document with data written over it. *out is malloc'ed, size bytes.
 */
static int merge_small(struct pfs_store *store, const struct pfs_view *view, uint64_t size,
		       uint64_t off, const void *data, size_t len, uint8_t **out)
{
	uint64_t keep = pfs_min_u64(view->size, size);
	uint8_t *bytes = calloc(1, size + 1);
	int err = 0;

	*out = NULL;
	if (!bytes)
		return -ENOMEM;
	if (keep && !(off == 0 && len >= keep))
		err = pfs_source_read(store, &view->source, 0, bytes, keep);
	if (err) {
		free(bytes);
		return err;
	}
	if (data)
		memcpy(bytes + off, data, len);
	else if (len)
		memset(bytes + off, 0, len);
	*out = bytes;
	return 0;
}

/* The stage that a patch goes to: the pending version's own, if no checkpoint has taken it, else a
 * new one over what is there. */
static int stage_for(struct pfs_store *store, const struct pfs_change *change,
		     const struct pfs_view *view, struct pfs_stage **out)
{
	struct pfs_segment *pinned = NULL;
	struct pfs_stage *stage;
	int err;

	if (!change->current.held && view->source.kind == PFS_SOURCE_STAGE &&
	    view->source.stage->batch == store->batch_number) {
		stage = view->source.stage;
		stage->refs++;
	} else {
		static const struct pfs_source empty = {.kind = PFS_SOURCE_EMPTY};
		bool bare = change->current.held || !change->current.base_word;

		stage = pfs_stage_new(bare ? &empty : &view->source, bare ? 0 : view->size);
		if (!stage)
			return -ENOMEM;
		stage->batch = store->batch_number;
		if (!bare)
			pfs_source_ref(&view->source);
		/* What the base still has only in the journal stays there as long as the stage
		 * does. */
		if (change->current.pending && change->current.pending->batch > store->applying)
			pinned = pfs_journal_oldest(store->journal);
	}
	err = pfs_stage_reserve(stage);
	if (!err && pinned)
		pfs_stage_pin(stage, pinned);
	if (!err)
		err = pfs_stage_reserve(stage);
	if (err) {
		pfs_source_unref(store,
				 &(struct pfs_source){.kind = PFS_SOURCE_STAGE, .stage = stage});
		return err;
	}
	*out = stage;
	return 0;
}

/* Changes a range of a large document, or its size, by a patch record. */
static int patch_object(struct pfs_store *store, struct pfs_change *change,
			const struct pfs_view *view, uint64_t new_size, uint64_t off, uint64_t len,
			const void *data, bool privileged)
{
	struct pfs_version *v = change->version;
	uint64_t base = change->current.held ? 0 : view->seq;
	struct pfs_journal_pos pos;
	uint32_t data_off;
	int err;

	v->size = new_size;
	v->source = (struct pfs_source){.kind = PFS_SOURCE_STAGE, .size = new_size};
	v->adding = data ? len : 0;
	err = stage_for(store, change, view, &v->source.stage);
	if (err) {
		v->source.kind = PFS_SOURCE_EMPTY;
		pfs_change_drop(store, change);
		return err;
	}
	err = pfs_change_place(store, change);
	if (!err)
		err = pfs_log_patch(store, v, base, off, len, data, privileged, &pos, &data_off);
	if (err) {
		pfs_change_drop(store, change);
		return err;
	}
	store->staged_bytes += data ? len : 0;
	pfs_stage_change(v->source.stage, new_size, off, len, &pos,
			 data ? data_off : PFS_STAGE_ZEROS);
	pfs_change_publish(store, change, pos.seq);
	return 0;
}

/* One change of an object's bytes: its size becomes new_size, then [off, off + len) is written
 * (data NULL: zeros). prepacked: the whole new content, if it was packed already. */
static int change_bytes(struct pfs_store *store, uint32_t object, uint64_t new_size, uint64_t off,
			uint64_t len, const void *data, unsigned mask, const struct pfs_attr *attr,
			const struct pfs_packed *prepacked, bool privileged)
{
	struct pfs_change change;
	struct pfs_packed packed;
	struct pfs_view now;
	struct pfs_key key;
	uint8_t *bytes = NULL;
	int err;

	err = pfs_view(store, pfs_index_word(store->index, object), &now);
	if (!err)
		err = pfs_object_word_key(store, object, pfs_index_word(store->index, object),
					  &key);
	if (!err)
		err = begin(store, &change, object, &key, &now);
	if (err)
		return err;
	set_attr(store, change.version, mask, attr);
	if (prepacked)
		return put_object(store, &change, prepacked, 0, privileged);
	if (new_size > PFS_BLOCK_LEN && !(off == 0 && len == new_size && data))
		return patch_object(store, &change, &now, new_size, off, len, data, privileged);
	err = merge_small(store, &now, new_size, off, data, len, &bytes);
	if (!err)
		err = pfs_pack(store, &packed, bytes, new_size, true);
	if (err) {
		pfs_change_drop(store, &change);
	} else {
		err = put_object(store, &change, &packed, 0, privileged);
		pfs_packed_free(&packed);
	}
	free(bytes);
	return err;
}

static int write_locked(struct pfs_store *store, uint32_t object, uint64_t off, const void *data,
			size_t len, const struct pfs_attr *attr, const struct pfs_packed *prepacked)
{
	struct pfs_view view;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = pfs_view(store, pfs_index_word(store->index, object), &view);
	if (err)
		return err;
	/* It was whole when it was packed; it may have grown since. */
	if (prepacked && view.size > len)
		prepacked = NULL;
	return change_bytes(store, object, pfs_max_u64(view.size, off + len), off, len, data,
			    attr->mtime_ns == PFS_MTIME_KEEP ? 0 : PFS_ATTR_MTIME, attr, prepacked,
			    false);
}

static int write_part(struct pfs_store *store, uint32_t object, uint64_t off, const void *data,
		      size_t len, const struct pfs_attr *attr)
{
	struct pfs_packed packed = {0};
	struct pfs_attr now;
	unsigned tries = 0;
	bool whole;
	int err = 0;

	pfs_write_throttle(store, len, off + len > PFS_BLOCK_LEN);
	/* A write that replaces everything is packed before the lock is taken. */
	whole = off == 0 && pfs_getattr(store, object, &now) == 0 && now.size <= len;
	if (whole)
		err = pfs_pack(store, &packed, data, len, true);
	if (!err) {
		do {
			pfs_write_enter(store);
			err = write_locked(store, object, off, data, len, attr,
					   whole ? &packed : NULL);
			pfs_write_leave(store);
		} while (pfs_write_again(store, err, &tries, false));
	}
	pfs_packed_free(&packed);
	if (err && err != -ENOENT) {
		/* The truncation that this write was for must not empty the document. */
		pfs_write_enter(store);
		cancel_held(store, object);
		pfs_write_leave(store);
	}
	return err;
}

int pfs_own_write(struct pfs_store *store, uint32_t object, uint64_t off, const void *data,
		  size_t len, int64_t mtime_ns)
{
	struct pfs_attr attr = {.mtime_ns = mtime_ns};
	int err = 0;

	if (off > PFS_PAYLOAD_MAX || len > PFS_PAYLOAD_MAX - off)
		return -EFBIG;
	for (size_t done = 0; done < len && !err;) {
		size_t part = pfs_min_u64(len - done, PFS_WHOLE_WRITE_MAX);

		err = write_part(store, object, off + done, (const uint8_t *)data + done, part,
				 &attr);
		done += part;
	}
	return err;
}

int pfs_own_zero(struct pfs_store *store, uint32_t object, uint64_t off, uint64_t len,
		 int64_t mtime_ns)
{
	struct pfs_attr attr = {.mtime_ns = mtime_ns};
	struct pfs_view view;
	unsigned tries = 0;
	int err;

	pfs_write_throttle(store, 0, off + len > PFS_BLOCK_LEN);
	do {
		pfs_write_enter(store);
		err = pfs_store_is_writable(store) ? 0 : -EROFS;
		if (!err)
			err = pfs_view(store, pfs_index_word(store->index, object), &view);
		if (!err && off < view.size && len)
			err = change_bytes(store, object, view.size, off,
					   pfs_min_u64(len, view.size - off), NULL, PFS_ATTR_MTIME,
					   &attr, NULL, true);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	return err;
}

/* ---- attributes ---- */

/* mask 0: a move. */
static int attr_object(struct pfs_store *store, uint32_t object, unsigned mask,
		       const struct pfs_attr *attr, bool privileged)
{
	struct pfs_change change;
	struct pfs_view view;
	struct pfs_key key;
	uint64_t word = pfs_index_word(store->index, object);
	int err = pfs_view(store, word, &view);

	if (!err)
		err = pfs_object_word_key(store, object, word, &key);
	if (!err)
		err = begin_version(store, &change, object, &key, &view, mask == 0);
	if (err)
		return err;
	pfs_change_inherit(store, &change, &view);
	set_attr(store, change.version, mask, attr);
	err = pfs_change_place(store, &change);
	if (!err)
		err = pfs_log_attr(store, change.version, view.seq, privileged);
	if (err)
		pfs_change_drop(store, &change);
	else
		pfs_change_publish(store, &change, pfs_journal_appended(store->journal));
	return err;
}

int pfs_touch_object(struct pfs_store *store, uint32_t object)
{
	return attr_object(store, object, 0, NULL, false);
}

int pfs_repack_object(struct pfs_store *store, uint32_t object, uint64_t seq,
		      const struct pfs_packed *packed)
{
	struct pfs_change change;
	struct pfs_view view;
	struct pfs_key key;
	uint64_t word = pfs_index_word(store->index, object);
	int err = pfs_view(store, word, &view);

	if (!err && (view.seq != seq || view.size != packed->raw_len))
		err = -EAGAIN;
	if (!err)
		err = pfs_object_word_key(store, object, word, &key);
	if (!err)
		err = begin_version(store, &change, object, &key, &view, true);
	return err ? err : put_object(store, &change, packed, 0, false);
}

/* Replaces a held version by one with other attributes. */
static int rehold(struct pfs_store *store, uint32_t object, struct pfs_version *held, unsigned mask,
		  const struct pfs_attr *attr)
{
	struct pfs_version model = *held;
	struct pfs_key key;
	int err;

	pfs_version_key(held, &key);
	set_attr(store, &model, mask, attr);
	err = hold(store, object, &key, held->under, &model);
	if (err)
		return err;
	pfs_list_remove(&held->list);
	pfs_limbo(store, held);
	return 0;
}

/* Truncation to zero of what is there: held. */
static int truncate_held(struct pfs_store *store, uint32_t object, const struct pfs_view *view,
			 unsigned mask, const struct pfs_attr *attr)
{
	struct pfs_current current;
	struct pfs_version model = {0};
	struct pfs_key key;
	int err = pfs_current(store, object, &current);

	if (!err)
		err = pfs_object_word_key(store, object, current.word, &key);
	if (err)
		return err;
	pfs_version_take_attr(&model, view);
	set_attr(store, &model, mask, attr);
	return hold(store, object, &key, current.base_word, &model);
}

static int setattr_locked(struct pfs_store *store, uint32_t object, unsigned mask,
			  const struct pfs_attr *attr)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;
	struct pfs_view view;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	err = pfs_view(store, word, &view);
	if (err)
		return err;
	if (!(mask & PFS_ATTR_SIZE)) {
		if (!mask)
			return 0;
		/* The kernel sets times between a truncation and the write that it is for: both
		 * stay held. */
		if (v && v->held && mask == PFS_ATTR_MTIME)
			return rehold(store, object, v, mask, attr);
		err = settle(store, object);
		return err ? err : attr_object(store, object, mask, attr, true);
	}
	if (attr->size > PFS_PAYLOAD_MAX)
		return -EFBIG;
	if (v && v->held && attr->size == 0)
		return rehold(store, object, v, mask, attr);
	if (attr->size == 0 && view.size > 0) {
		err = probe_room(store, view.mtime_ns);
		return err ? err : truncate_held(store, object, &view, mask, attr);
	}
	err = settle(store, object);
	if (!err && attr->size == view.size)
		return mask & ~(unsigned)PFS_ATTR_SIZE
			       ? attr_object(store, object, mask, attr, true)
			       : 0;
	if (!err)
		err = change_bytes(store, object, attr->size, pfs_min_u64(attr->size, view.size), 0,
				   NULL, mask, attr, NULL, true);
	return err;
}

int pfs_own_setattr(struct pfs_store *store, uint32_t object, unsigned mask,
		    const struct pfs_attr *attr, struct pfs_attr *out)
{
	struct pfs_view view;
	unsigned tries = 0;
	int err;

	do {
		pfs_write_enter(store);
		err = setattr_locked(store, object, mask, attr);
		if (!err && out) {
			err = pfs_view(store, pfs_index_word(store->index, object), &view);
			if (!err)
				pfs_view_attr(store, &view, out);
		}
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, true));
	return err;
}
