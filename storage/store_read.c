/* The reading half of the public interface, and what it looks at: who has a key, and what a word
 * says. */
#include <sched.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

/* ---- views ---- */

static void view_version(struct pfs_version *v, struct pfs_view *view)
{
	*view = (struct pfs_view){
		.version = v,
		.size = v->size,
		.seq = v->seq,
		.mtime_ns = v->mtime_ns,
		.mode = v->mode,
		.uid = v->uid,
		.gid = v->gid,
		.own_attr = v->own_attr,
		.kind = v->kind,
		.tag = v->tag,
		.source = v->source,
		.stored = v->stored,
	};
}

static void view_loaded(const struct pfs_loaded *l, uint32_t slot, struct pfs_view *view)
{
	*view = (struct pfs_view){
		.size = l->c.raw_len,
		.seq = l->c.seq,
		.mtime_ns = l->c.mtime_ns,
		.mode = l->c.mode,
		.uid = l->c.uid,
		.gid = l->c.gid,
		.own_attr = l->c.flags & PFS_CONTAINER_ATTR,
		.kind = l->slot.kind,
		.tag = l->slot.tag,
		.stored = l->slot.len,
		.at = {l->page->number, slot, l->slot.off, l->slot.len},
		.source =
			{
				.kind = PFS_SOURCE_CONTAINER,
				.size = l->c.raw_len,
				.flags = l->c.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS),
				.dict = l->c.dict,
				.body_len = l->c.body_len,
				.content = l->c.content,
				.page = l->page,
				.off = l->slot.off,
				.len = l->slot.len,
				.key_kind = l->slot.kind,
				.key_tag = l->slot.tag,
				.seq = l->c.seq,
			},
	};
	if (l->c.flags & PFS_CONTAINER_LOST)
		view->source.kind = PFS_SOURCE_LOST;
}

int pfs_view(struct pfs_store *store, uint64_t word, struct pfs_view *view)
{
	struct pfs_loaded loaded;
	int err;

	if (pfs_word_is_version(word)) {
		view_version(pfs_word_to_version(word), view);
		return 0;
	}
	if (!pfs_word_is_page(word))
		return -ENOENT;
	err = pfs_load(store, pfs_word_page_number(word), pfs_word_slot(word), &loaded);
	if (err)
		return err;
	view_loaded(&loaded, pfs_word_slot(word), view);
	return 0;
}

int pfs_view_at(struct pfs_store *store, uint32_t page, const struct pfs_slot *slot,
		struct pfs_view *view)
{
	struct pfs_loaded loaded;
	int err = pfs_load_at(store, page, slot, &loaded);

	if (!err)
		view_loaded(&loaded, 0, view);
	return err;
}

void pfs_view_attr(const struct pfs_store *store, const struct pfs_view *view,
		   struct pfs_attr *attr)
{
	const struct pfs_defaults *d = &store->defaults;

	*attr = (struct pfs_attr){
		.size = view->size,
		.stored = view->stored,
		.mtime_ns = view->mtime_ns,
		.mode = view->own_attr ? view->mode : d->mode,
		.uid = view->own_attr ? view->uid : d->uid,
		.gid = view->own_attr ? view->gid : d->gid,
		.nlink = view->kind == PFS_KEY_TEMP ? 0 : 1,
	};
}

void pfs_loaded_attr(const struct pfs_store *store, const struct pfs_loaded *loaded,
		     struct pfs_attr *attr)
{
	const struct pfs_container *c = &loaded->c;
	const struct pfs_defaults *d = &store->defaults;
	bool own = c->flags & PFS_CONTAINER_ATTR;

	*attr = (struct pfs_attr){
		.size = c->raw_len,
		.stored = loaded->slot.len,
		.mtime_ns = c->mtime_ns,
		.mode = own ? c->mode : d->mode,
		.uid = own ? c->uid : d->uid,
		.gid = own ? c->gid : d->gid,
		.nlink = loaded->slot.kind == PFS_KEY_TEMP ? 0 : 1,
	};
}

/* Whether the slot at the object's place, to which its word pointed, is not its own: the hash of
 * its key says so. The word is looked at again, because what is renamed or moved meanwhile may have
 * got another hash. */
static bool is_misplaced(const struct pfs_store *store, uint32_t object, uint64_t word,
			 const struct pfs_slot *slot)
{
	return pfs_index_hash(slot->kind, slot->tag) !=
		       pfs_index_stored_hash(store->index, object) &&
	       pfs_index_word(store->index, object) == word;
}

int pfs_object_word_key(struct pfs_store *store, uint32_t object, uint64_t word,
			struct pfs_key *key)
{
	struct pfs_loaded loaded;
	struct pfs_page *page;
	int err;

	if (pfs_word_is_version(word)) {
		pfs_version_key(pfs_word_to_version(word), key);
		return 0;
	}
	if (!pfs_word_is_page(word))
		return -ENOENT;
	page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	if (!page || pfs_page_read_slot(page, pfs_word_slot(word), &loaded.slot) != 0)
		return pfs_slot_unreadable(store, pfs_word_page_number(word), pfs_word_slot(word));
	if (is_misplaced(store, object, word, &loaded.slot))
		return pfs_page_damaged(store, page->number, pfs_slot_offset(pfs_word_slot(word)),
					"the slot is not that of the document which was there");
	/* Numbers stand in the slot: no container is touched. */
	if (loaded.slot.kind == PFS_KEY_NUM || loaded.slot.kind == PFS_KEY_TEMP) {
		memset(key, 0, offsetof(struct pfs_key, name));
		key->kind = (uint8_t)loaded.slot.kind;
		key->num = loaded.slot.tag;
		return 0;
	}
	err = pfs_load(store, pfs_word_page_number(word), pfs_word_slot(word), &loaded);
	if (err)
		return err;
	if (pfs_container_key(key, &loaded.c, loaded.slot.kind, loaded.slot.tag) != 0)
		return pfs_page_damaged(store, loaded.page->number, loaded.slot.off,
					"the key does not belong to its slot");
	return 0;
}

/* 1: the object has the key, 0: it has another, -EIO: it may have. */
static int has_key(struct pfs_store *store, uint32_t object, uint64_t word,
		   const struct pfs_key *key)
{
	struct pfs_slot slot;
	struct pfs_page *page;
	struct pfs_key there;
	int err;

	if (pfs_word_is_version(word))
		return pfs_version_has_key(pfs_word_to_version(word), key);
	if (!pfs_word_is_page(word))
		return 0;
	page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	if (!page || pfs_page_read_slot(page, pfs_word_slot(word), &slot) != 0)
		return pfs_slot_unreadable(store, pfs_word_page_number(word), pfs_word_slot(word));
	/* Another key with the same hash is a rare chance; another hash is damage. */
	if (slot.kind != key->kind || slot.tag != pfs_key_tag(key))
		return is_misplaced(store, object, word, &slot) ? -EIO : 0;
	if (slot.kind == PFS_KEY_NUM || slot.kind == PFS_KEY_TEMP)
		return 1;
	err = pfs_object_word_key(store, object, word, &there);
	return err ? err : pfs_key_equal(&there, key);
}

static int find_once(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
		     uint64_t *word)
{
	struct pfs_probe probe;
	uint32_t hash = pfs_index_hash(key->kind, pfs_key_tag(key));
	bool in_doubt = store->doubt;

	pfs_probe_key(&probe, store->index, key->kind, pfs_key_tag(key));
	while ((*object = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		int match;

		*word = pfs_index_word(store->index, *object);
		match = has_key(store, *object, *word, key);
		if (match == 1)
			return 0;
		if (match < 0 && pfs_index_stored_hash(store->index, *object) == hash)
			in_doubt = true;
	}
	return in_doubt ? -EIO : -ENOENT;
}

int pfs_find(struct pfs_store *store, const struct pfs_key *key, uint32_t *object, uint64_t *word)
{
	for (;;) {
		uint64_t moves = pfs_index_moves(store->index);
		int err = find_once(store, key, object, word);

		/* It may have been passing from one object to another. */
		if (err != -ENOENT || !pfs_index_moved(store->index, moves))
			return err;
		sched_yield();
	}
}

/* ---- the public readers ---- */

/* Of a document that was lost with its size nothing can be told: as an empty one it would be read
 * without an error. */
static int view_whole(struct pfs_store *store, uint64_t word, struct pfs_view *view)
{
	int err = pfs_view(store, word, view);

	return !err && view->source.kind == PFS_SOURCE_LOST && view->size == 0 ? -EIO : err;
}

int pfs_own_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
		   struct pfs_attr *attr)
{
	struct pfs_view view;
	uint32_t found;
	uint64_t word;
	int err;

	pfs_epoch_enter();
	err = pfs_find(store, key, &found, &word);
	if (!err && attr) {
		err = view_whole(store, word, &view);
		if (!err)
			pfs_view_attr(store, &view, attr);
	}
	pfs_epoch_leave();
	if (object)
		*object = err ? PFS_OBJECT_NONE : found;
	return err;
}

int pfs_own_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr)
{
	struct pfs_view view;
	int err;

	pfs_epoch_enter();
	err = view_whole(store, pfs_index_word(store->index, object), &view);
	if (!err)
		pfs_view_attr(store, &view, attr);
	pfs_epoch_leave();
	return err;
}

int pfs_own_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key)
{
	int err;

	pfs_epoch_enter();
	err = pfs_object_word_key(store, object, pfs_index_word(store->index, object), key);
	pfs_epoch_leave();
	return !err && key->kind == PFS_KEY_TEMP ? -ENOENT : err;
}

static ssize_t read_version(struct pfs_store *store, uint64_t word, uint64_t off, void *buf,
			    size_t len)
{
	const struct pfs_version *v = pfs_word_to_version(word);
	int err;

	if (v->source.kind == PFS_SOURCE_STAGE)
		return pfs_stage_read(store, v->source.stage, off, buf, len);
	if (v->source.kind == PFS_SOURCE_LOST)
		return -EIO;
	if (off >= v->size)
		return 0;
	len = pfs_min_u64(len, v->size - off);
	err = pfs_source_read(store, &v->source, off, buf, len);
	return err ? err : (ssize_t)len;
}

static ssize_t read_page(struct pfs_store *store, uint64_t word, uint64_t off, void *buf,
			 size_t len)
{
	struct pfs_loaded loaded;
	int err = pfs_load(store, pfs_word_page_number(word), pfs_word_slot(word), &loaded);

	if (err)
		return err;
	if (loaded.c.flags & PFS_CONTAINER_LOST)
		return -EIO;
	if (off >= loaded.c.raw_len)
		return 0;
	len = pfs_min_u64(len, loaded.c.raw_len - off);
	err = pfs_loaded_read(store, &loaded, off, buf, len);
	return err ? err : (ssize_t)len;
}

ssize_t pfs_read_word(struct pfs_store *store, uint64_t word, uint64_t off, void *buf, size_t len)
{
	if (pfs_word_is_version(word))
		return read_version(store, word, off, buf, len);
	return pfs_word_is_page(word) ? read_page(store, word, off, buf, len) : -ENOENT;
}

ssize_t pfs_own_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf, size_t len)
{
	ssize_t n;

	pfs_epoch_enter();
	n = pfs_read_word(store, pfs_index_word(store->index, object), off, buf, len);
	pfs_epoch_leave();
	return n;
}

/* The name that stands at the place. -ENOENT: none. */
static int list_one(struct pfs_store *store, uint32_t cookie, struct pfs_listed *out)
{
	for (;;) {
		uint64_t moves = pfs_index_moves(store->index);
		int err = -ENOENT;

		out->object = pfs_index_at_cookie(store->index, cookie);
		out->cookie = cookie;
		if (out->object != PFS_OBJECT_NONE)
			err = pfs_object_word_key(store, out->object,
						  pfs_index_word(store->index, out->object),
						  &out->key);
		if (!err && out->key.kind == PFS_KEY_TEMP)
			err = -ENOENT;
		/* It may have been passing from one object to another, or to another place. */
		if (!pfs_index_moved(store->index, moves))
			return err;
		sched_yield();
	}
}

int pfs_list_logged(struct pfs_store *store, uint32_t cookie, struct pfs_listed *out)
{
	int err = list_one(store, cookie, out);

	if (!err && !pfs_word_unheld(pfs_index_word(store->index, out->object)))
		err = -ENOENT;
	return err;
}

ssize_t pfs_own_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out, size_t max)
{
	uint32_t end = pfs_index_end(store->index);
	uint64_t cookie = pfs_max_u64(after + 1, PFS_OBJECT_FIRST);
	size_t n = 0;

	for (; cookie < end && n < max; cookie++) {
		pfs_epoch_enter();
		/* A damaged name can't be listed; the check names the place. */
		if (list_one(store, (uint32_t)cookie, &out[n]) == 0)
			n++;
		pfs_epoch_leave();
	}
	return (ssize_t)n;
}

int pfs_own_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out)
{
	struct pfs_view view;
	struct pfs_loaded loaded;
	uint32_t object;
	uint64_t word;
	int err;

	*out = (struct pfs_place){0};
	pfs_epoch_enter();
	err = pfs_find(store, key, &object, &word);
	if (!err)
		err = pfs_view(store, word, &view);
	if (!err && view.version) {
		*out = (struct pfs_place){
			true,
			0,
			0,
			0,
			view.stored,
			view.source.body_len,
			view.seq,
			view.source.dict,
			0,
			view.source.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS),
			view.size > PFS_BLOCK_LEN ? pfs_block_count(view.size) : 0};
	} else if (!err) {
		err = pfs_load(store, view.at.page, view.at.slot, &loaded);
		*out = (struct pfs_place){
			false,
			view.at.page,
			view.at.slot,
			view.at.off,
			view.at.len,
			err ? 0 : loaded.c.header_len + loaded.c.body_len,
			view.seq,
			view.source.dict,
			err ? 0 : loaded.c.crc,
			view.source.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS),
			view.source.flags & PFS_CONTAINER_BLOCKS ? pfs_block_count(view.size) : 0};
	}
	pfs_epoch_leave();
	return err;
}
