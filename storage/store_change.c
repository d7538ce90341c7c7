/* Versions: building them, finding them a place, making them what an object is. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/store_internal.h"

#define PACKED_LEN_MIN 8
/* Of a point whose attributes are the store's: checksum, flags, lengths, sequence, time, the rest
 * of a UUID. */
#define CONTAINER_HEADER_USUAL 24

void pfs_account(struct pfs_store *store, unsigned kind, uint64_t size, uint64_t container_len,
		 bool add)
{
	uint64_t one = add ? 1 : UINT64_MAX; /* modulo 2^64 */

	if (kind == PFS_KEY_TEMP || kind == PFS_KEY_NONE)
		return;
	if (kind == PFS_KEY_SCRATCH)
		store->scratch += one;
	else
		store->points += one;
	store->raw_bytes += add ? size : -size;
	store->container_bytes += add ? container_len : -container_len;
}

void pfs_source_ref(const struct pfs_source *source)
{
	if (source->kind == PFS_SOURCE_STAGE)
		source->stage->refs++;
}

void pfs_source_unref(struct pfs_store *store, const struct pfs_source *source)
{
	while (source->kind == PFS_SOURCE_STAGE) {
		struct pfs_stage *gone = pfs_stage_unref(source->stage);

		if (!gone)
			return;
		store->staged_bytes -= pfs_min_u64(store->staged_bytes, gone->logged);
		pfs_limbo_stage(store, gone);
		/* A stage holds a reference to the one below it. */
		source = &gone->base;
	}
}

void pfs_version_take_attr(struct pfs_version *v, const struct pfs_view *view)
{
	v->mtime_ns = view->mtime_ns;
	v->mode = view->mode;
	v->uid = view->uid;
	v->gid = view->gid;
	v->own_attr = view->own_attr;
}

void pfs_version_take(struct pfs_version *v, const struct pfs_view *view)
{
	pfs_version_take_attr(v, view);
	v->size = view->size;
	v->source = view->source;
	pfs_source_ref(&v->source);
}

void pfs_change_inherit(struct pfs_store *store, struct pfs_change *change,
			const struct pfs_view *view)
{
	const struct pfs_version *pending = change->current.pending;

	pfs_version_take(change->version, view);
	change->source_leaves = pending && pending->batch <= store->applying;
}

/* ---- packing ---- */

/* hc NULL: the fast way. */
static size_t pack_one(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
		       size_t raw_len, const struct pfs_codec_dict *dict)
{
	return hc ? pfs_codec_pack_hc(hc, out, cap, raw, raw_len, dict)
		  : pfs_codec_pack(out, cap, raw, raw_len, dict);
}

static int pack_blocks(struct pfs_store *store, struct pfs_packed *out, const uint8_t *data,
		       size_t len, struct pfs_codec_hc *hc)
{
	uint64_t blocks = pfs_block_count(len), table = blocks * PFS_BLOCK_ENTRY_LEN;
	uint8_t *body = malloc(pfs_blocks_bound(len));
	uint32_t end = 0;

	if (!body)
		return -ENOMEM;
	out->content = __atomic_fetch_add(&store->next_content, 1, __ATOMIC_RELAXED);
	for (uint64_t i = 0; i < blocks; i++) {
		const uint8_t *raw = data + i * PFS_BLOCK_LEN;
		uint32_t raw_len = pfs_block_raw_len(len, i);
		uint8_t *stored = body + table + end;
		size_t stored_len = pack_one(hc, stored, raw_len, raw, raw_len, NULL);

		if (stored_len == 0) {
			memcpy(stored, raw, raw_len);
			stored_len = raw_len;
		}
		end += (uint32_t)stored_len;
		pfs_put_le32(body + i * PFS_BLOCK_ENTRY_LEN, end);
		pfs_put_le32(body + i * PFS_BLOCK_ENTRY_LEN + 4,
			     pfs_block_crc(out->content, (uint32_t)i, end, stored, stored_len));
	}
	out->flags = PFS_CONTAINER_BLOCKS;
	out->body = out->owned = body;
	out->body_len = (uint32_t)(table + end);
	return 0;
}

bool pfs_is_worth_packing(const struct pfs_store *store, uint64_t len)
{
	return len > PACKED_LEN_MIN && len + CONTAINER_HEADER_USUAL > store->super.min_value_size;
}

uint64_t pfs_container_len_usual(const struct pfs_store *store, uint64_t body_len)
{
	return pfs_max_u64(body_len + CONTAINER_HEADER_USUAL, store->super.min_value_size);
}

/* room: of len bytes, for what is up to a block; NULL: it is made. */
static int pack(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
		bool with_dict, struct pfs_codec_hc *hc, uint8_t *room)
{
	*out = (struct pfs_packed){.raw_len = len};
	if (len > PFS_BLOCK_LEN)
		return pack_blocks(store, out, data, len, hc);
	out->body = data;
	out->body_len = (uint32_t)len;
	if (!pfs_is_worth_packing(store, len))
		return 0;
	if (!room)
		room = out->owned = malloc(len);
	if (!room)
		return -ENOMEM;
	if (with_dict)
		out->dict = pfs_dict_hold(store);
	out->body_len =
		(uint32_t)pack_one(hc, room, len, data, len, out->dict ? out->dict->codec : NULL);
	if (out->body_len) {
		out->flags = PFS_CONTAINER_LZ4;
		out->body = room;
	} else {
		out->body_len = (uint32_t)len;
		pfs_dict_let_go(out->dict);
		out->dict = NULL;
	}
	return 0;
}

int pfs_pack(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
	     bool with_dict)
{
	return pack(store, out, data, len, with_dict, NULL, NULL);
}

void pfs_pack_small(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
		    uint8_t *room)
{
	(void)pack(store, out, data, len, true, NULL, room);
}

int pfs_repack(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
	       struct pfs_codec_hc *hc)
{
	int err = pack(store, out, data, len, true, hc, NULL);

	out->repacked = true;
	return err;
}

void pfs_packed_free(struct pfs_packed *packed)
{
	free(packed->owned);
	pfs_dict_let_go(packed->dict);
	packed->owned = NULL;
	packed->dict = NULL;
}

/* ---- what an object is now ---- */

static bool same_place(const struct pfs_extent_at *a, const struct pfs_extent_at *b)
{
	return a->page && a->page == b->page && a->slot == b->slot;
}

int pfs_current(struct pfs_store *store, uint32_t object, struct pfs_current *current)
{
	struct pfs_version *v;
	struct pfs_slot slot;
	struct pfs_page *page;
	int err;

	*current = (struct pfs_current){.word = pfs_index_word(store->index, object)};
	current->base_word = current->word;
	/* It is going to be changed. */
	err = pfs_index_touch(store->index, object);
	if (err)
		return err;
	v = pfs_word_is_version(current->word) ? pfs_word_to_version(current->word) : NULL;
	if (v && v->held) {
		current->held = v;
		current->base_word = v->under;
		current->counted_kind = v->under ? PFS_KEY_NONE : v->kind;
		v = pfs_word_is_version(v->under) ? pfs_word_to_version(v->under) : NULL;
	}
	if (v) {
		current->pending = v;
		current->home = v->home;
		if (v->batch <= store->applying) {
			if (v->target.page)
				current->home = v->target;
		} else if (v->target.page && !same_place(&v->target, &v->home)) {
			current->unused = v->target;
		} else if (v->target.page && v->target.len > v->home.len) {
			current->extended = v->target.len - v->home.len;
		}
		current->counted_size = v->size;
		current->counted_len = v->stored;
		current->counted_kind = v->kind;
		current->counted_dict = v->source.dict;
		return 0;
	}
	if (!pfs_word_is_page(current->base_word))
		return 0;
	page = pfs_pager_find(store->pager, pfs_word_page_number(current->base_word));
	if (!page)
		return -EIO;
	err = pfs_pager_load(store->pager, page);
	if (!err)
		err = pfs_page_read_slot(page, pfs_word_slot(current->base_word), &slot);
	if (err)
		return err == -EUCLEAN ? -EIO : err;
	/* In a damaged page the place that a slot names may be another document's: it is neither
	 * written over nor given to others. */
	current->home = (struct pfs_extent_at){page->number, pfs_word_slot(current->base_word),
					       slot.off, page->unusable ? 0 : slot.len};
	current->counted_len = slot.len;
	current->counted_kind = slot.kind;
	/* A damaged document can be replaced and removed too; but whose user it was is then not
	 * known any more. */
	if (store->dicts->count == 0)
		current->counted_size = pfs_peek_raw_len(page, &slot);
	else if (!pfs_peek_container(page, &slot, &current->counted_size, &current->counted_dict))
		store->dict_users_known = false;
	return 0;
}

/* ---- placing ---- */

/* The most that table and blocks of a staged document take: blocks of zeros take nothing. A change
 * that is being made is not in the stage yet, so `adding` stands for it. */
static uint64_t stage_bound(const struct pfs_version *v)
{
	uint64_t dense = v->source.stage->dense + v->adding + 2 * PFS_BLOCK_LEN;

	return pfs_block_count(v->size) * PFS_BLOCK_ENTRY_LEN + pfs_min_u64(v->size, dense);
}

struct pfs_pager_need pfs_version_need(const struct pfs_version *v, struct pfs_container *c)
{
	const struct pfs_source *s = &v->source;

	*c = (struct pfs_container){
		.raw_len = v->size,
		.seq = v->seq,
		.mtime_ns = v->mtime_ns,
		.mode = v->mode,
		.uid = v->uid,
		.gid = v->gid,
		.dict = s->dict,
		.content = s->content,
		.body_len = s->body_len,
		.flags = v->own_attr ? PFS_CONTAINER_ATTR : 0,
		.tail = {v->tail, v->tail_len},
	};
	if (s->kind == PFS_SOURCE_STAGE) {
		/* Not packed yet: the most that it can take, with room for a header that says a
		 * shorter length. */
		c->body_len = stage_bound(v) + 2 * PFS_VARINT_MAX;
		c->content = UINT64_MAX;
		c->flags |= v->size > PFS_BLOCK_LEN ? PFS_CONTAINER_BLOCKS : 0;
	} else if (s->kind == PFS_SOURCE_LOST) {
		c->flags |= PFS_CONTAINER_LOST;
		c->body_len = 0;
	} else {
		c->flags |= s->flags;
	}
	return (struct pfs_pager_need){c, v->kind, v->tag};
}

/* The whole content is in the journal, so that a torn write over the old container can be done
 * again (W4). */
static bool may_go_in_place(const struct pfs_change *change)
{
	const struct pfs_source *s = &change->version->source;

	return !change->source_leaves &&
	       (s->kind == PFS_SOURCE_RECORD || s->kind == PFS_SOURCE_EMPTY);
}

static int place_stage(struct pfs_store *store, struct pfs_change *change,
		       struct pfs_pager_need *need, struct pfs_container *c)
{
	struct pfs_version *v = change->version;
	uint64_t exact = c->body_len, step = pfs_max_u64(PFS_BLOCK_LEN, exact / 4);
	int err;

	/* A growing document is not given a new place for each write: a quarter more than needed,
	 * if there is room. */
	c->body_len = exact + step;
	err = pfs_pager_alloc(store->pager, need, &v->target);
	if (err == -ENOSPC) {
		c->body_len = exact;
		err = pfs_pager_alloc(store->pager, need, &v->target);
	}
	return err;
}

/* Over the old container, which may grow into free bytes behind it. closed: also in a page that is
 * being emptied. */
static bool place_at_home(struct pfs_store *store, struct pfs_change *change,
			  const struct pfs_pager_need *need, bool closed)
{
	struct pfs_version *v = change->version;
	struct pfs_page *page;
	uint64_t len, have = v->home.len + change->current.extended;

	if (!v->home.page || !may_go_in_place(change) || pfs_snapshot_pins_home(store, v))
		return false;
	page = pfs_pager_find(store->pager, v->home.page);
	if (!page || (page->closed && !closed))
		return false;
	len = pfs_pager_len(store->pager, page, need);
	if (len > have) {
		struct pfs_extent_at at = v->home;

		at.len = have;
		if (pfs_pager_extend(store->pager, &at, len - have) != 0)
			return false;
		change->extended = len - have;
	}
	v->target = v->home;
	v->target.len = len;
	return true;
}

/* Where a version was to go that this one replaces before it was written. */
static bool place_at_unused(struct pfs_store *store, struct pfs_change *change,
			    const struct pfs_pager_need *need)
{
	const struct pfs_extent_at *unused = &change->current.unused;
	struct pfs_version *v = change->version;
	struct pfs_page *page;
	uint64_t len;

	if (!unused->page)
		return false;
	/* What is given out of it keeps the page. */
	page = pfs_pager_find(store->pager, unused->page);
	if (page->closed)
		return false;
	len = pfs_pager_len(store->pager, page, need);
	if (len > unused->len)
		return false;
	change->reused = true;
	v->target = *unused;
	if (v->source.kind != PFS_SOURCE_STAGE)
		v->target.len = len;
	return true;
}

int pfs_change_place(struct pfs_store *store, struct pfs_change *change)
{
	struct pfs_version *v = change->version;
	struct pfs_container c;
	struct pfs_pager_need need = pfs_version_need(v, &c);
	int err;

	v->home = change->current.home;
	if (place_at_home(store, change, &need, false) || place_at_unused(store, change, &need))
		return 0;
	if (v->source.kind == PFS_SOURCE_STAGE)
		err = place_stage(store, change, &need, &c);
	else
		err = pfs_pager_alloc(store->pager, &need, &v->target);
	/* Emptying a page is no reason to refuse what it has room for. */
	if (err == -ENOSPC && place_at_home(store, change, &need, true))
		return 0;
	change->allocated = !err;
	return err;
}

void pfs_change_drop(struct pfs_store *store, struct pfs_change *change)
{
	if (!change->version)
		return;
	if (change->allocated)
		pfs_pager_free(store->pager, &change->version->target);
	if (change->extended)
		pfs_pager_free_bytes(store->pager, change->version->home.page,
				     change->version->home.off + change->version->home.len +
					     change->current.extended,
				     change->extended);
	pfs_source_unref(store, &change->version->source);
	free(change->version);
	change->version = NULL;
}

/* ---- publishing ---- */

/* Takes the versions that the change replaces out of the lists. */
static void supersede(struct pfs_store *store, struct pfs_current *current)
{
	struct pfs_version *pending = current->pending;

	if (current->held) {
		pfs_list_remove(&current->held->list);
		pfs_limbo(store, current->held);
	}
	if (!pending)
		return;
	/* One that a checkpoint has taken is written all the same: what replaces it may not be
	 * durable yet. Its list and its source belong to the checkpoint, unless that is done with
	 * it. */
	if (pending->batch <= store->applying && !pending->applied)
		return;
	pfs_list_remove(&pending->list);
	pfs_source_unref(store, &pending->source);
	pfs_limbo(store, pending);
}

/* Gives back what the replaced version had been promised and nothing was written to. */
static void give_back(struct pfs_store *store, const struct pfs_change *change)
{
	const struct pfs_extent_at *unused = &change->current.unused, *home = &change->current.home;
	const struct pfs_version *v = change->version;
	uint64_t kept = 0;

	if (unused->page && !change->reused)
		pfs_pager_free(store->pager, unused);
	else if (unused->page && v->target.len < unused->len)
		pfs_pager_free_bytes(store->pager, unused->page, unused->off + v->target.len,
				     unused->len - v->target.len);
	if (!change->current.extended)
		return;
	if (same_place(&v->target, home) && v->target.len > home->len)
		kept = pfs_min_u64(v->target.len - home->len, change->current.extended);
	pfs_pager_free_bytes(store->pager, home->page, home->off + home->len + kept,
			     change->current.extended - kept);
}

void pfs_change_show(struct pfs_store *store, struct pfs_change *change, uint64_t seq)
{
	struct pfs_version *v = change->version;

	v->seq = seq;
	v->object = change->object;
	v->batch = store->batch_number;
	v->home = change->current.home;
	v->stored = v->target.page ? v->target.len : v->home.len;
	if (v->source.kind == PFS_SOURCE_STAGE) {
		v->source.stage->written_ns = pfs_now_monotonic();
		v->stored = pfs_min_u64(v->stored, v->home.len + v->source.stage->logged);
	}
	if (!v->removed)
		pfs_index_set_word(store->index, change->object, pfs_word_version(v));
}

void pfs_change_settle(struct pfs_store *store, struct pfs_change *change)
{
	struct pfs_version *v = change->version;
	struct pfs_current *current = &change->current;
	bool staged = v->source.kind == PFS_SOURCE_STAGE;

	pfs_account(store, current->counted_kind, current->counted_size, current->counted_len,
		    false);
	pfs_dict_count(store, current->counted_dict, v->seq, false);
	if (!v->removed) {
		pfs_account(store, v->kind, v->size, v->stored, true);
		pfs_dict_count(store, v->source.dict, v->seq, true);
	}
	give_back(store, change);
	supersede(store, current);
	/* Removing what the disk never had leaves nothing to do. */
	if (v->removed && !v->home.page)
		pfs_limbo(store, v);
	else
		pfs_list_append(staged ? &store->staged : &store->pending, &v->list);
	__atomic_store_n(&store->changed_ns, pfs_now_monotonic(), __ATOMIC_RELAXED);
}

void pfs_change_publish(struct pfs_store *store, struct pfs_change *change, uint64_t seq)
{
	pfs_change_show(store, change, seq);
	pfs_change_settle(store, change);
}
