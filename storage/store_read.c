#include "storage/store_internal.h"

#include <sched.h>
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"

#define READ_RETRIES 16
#define HEADER_PEEK 32 /* enough of a container to find its raw length */

/* ---- containers ---- */

static int damaged(struct pfs_store *store, uint32_t page, uint64_t off, const char *why)
{
	char where[32];

	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page);
	pfs_corrupt(&store->logger, where, off, "%s", why);
	return -EIO;
}

/* Copies, decodes and verifies the container that out->slot says, in out->page. */
static int load_container(struct pfs_loaded *out)
{
	int err;

	out->base = pfs_page_base(out->page, out->slot.kind, out->slot.tag);
	out->have = pfs_min_u64(out->slot.len, sizeof(out->bytes));
	err = pfs_page_copy(out->page, out->bytes, out->slot.off, out->have);
	if (!err)
		err = pfs_container_header_decode(&out->c, out->bytes, out->have, out->slot.len,
						  &out->base);
	if (!err && !(out->c.flags & PFS_CONTAINER_BLOCKS) &&
	    out->c.header_len + out->c.body_len > out->have)
		err = -EUCLEAN;
	return err ? err : pfs_container_verify(&out->c, out->bytes, &out->base);
}

/* The file ends before it, or the device does not give it. */
static int slot_unreadable(struct pfs_store *store, uint32_t page, uint32_t slot)
{
	return damaged(store, page, pfs_slot_offset(slot), "the slot can't be read");
}

int pfs_load(struct pfs_store *store, uint32_t page_number, uint32_t slot, struct pfs_loaded *out)
{
	int err;

	out->page = pfs_pager_find(store->pager, page_number);
	if (!out->page)
		return damaged(store, page_number, 0, "the page is missing or unusable");
	err = pfs_page_read_slot(out->page, slot, &out->slot);
	if (err == -EIO)
		return slot_unreadable(store, page_number, slot);
	if (err || !pfs_slot_is_live(&out->slot))
		return damaged(store, page_number, pfs_slot_offset(slot), "not a live slot");
	err = load_container(out);
	if (err == -EUCLEAN)
		return damaged(store, page_number, out->slot.off, "container does not verify");
	if (err == -EIO)
		return damaged(store, page_number, out->slot.off, "the container can't be read");
	return err;
}

int pfs_load_slot(struct pfs_page *page, const struct pfs_slot_disk *disk, struct pfs_loaded *out)
{
	int err;

	out->page = page;
	out->slot = (struct pfs_slot){.kind = PFS_SLOT_FREE};
	err = pfs_slot_decode(&out->slot, disk, PFS_PAGE_HEADER_LEN, page->size);
	return err ? err : load_container(out);
}

uint64_t pfs_peek_raw_len(const struct pfs_page *page, const struct pfs_slot *slot)
{
	uint8_t bytes[HEADER_PEEK];
	uint64_t raw_len = 0;
	size_t len = pfs_min_u64(sizeof(bytes), slot->len);

	if (len < 6 || pfs_page_copy(page, bytes, slot->off, len) != 0 ||
	    !pfs_get_varint(bytes + 5, bytes + len, &raw_len) || raw_len > PFS_PAYLOAD_MAX)
		return 0;
	return raw_len;
}

bool pfs_peek_container(struct pfs_page *page, const struct pfs_slot *slot, uint64_t *raw_len,
			uint32_t *dict)
{
	struct pfs_loaded loaded;

	*raw_len = 0;
	*dict = 0;
	loaded.page = page;
	loaded.slot = *slot;
	if (load_container(&loaded) != 0) {
		*raw_len = pfs_peek_raw_len(page, slot);
		return false;
	}
	*raw_len = loaded.c.raw_len;
	*dict = loaded.c.dict;
	return true;
}

/* ---- decoding ---- */

/* A body of body_len bytes that is a payload of up to a block. */
struct small {
	const uint8_t *body;
	uint64_t body_len, raw_len;
	unsigned flags;
	uint32_t dict;
};

static int unpack_small(struct pfs_store *store, const struct small *s, void *buf, uint64_t off,
			size_t len)
{
	const struct pfs_codec_dict *codec;
	uint8_t raw[PFS_BLOCK_LEN];
	int err;

	if (!(s->flags & PFS_CONTAINER_LZ4)) {
		if (s->body_len != s->raw_len || s->dict)
			return -EUCLEAN;
		memcpy(buf, s->body + off, len);
		return 0;
	}
	err = pfs_dict_codec(store, s->dict, &codec);
	if (err)
		return err;
	if (off == 0 && len == s->raw_len)
		return pfs_codec_unpack(buf, s->raw_len, s->body, s->body_len, codec);
	if (s->raw_len > sizeof(raw) ||
	    pfs_codec_unpack(raw, s->raw_len, s->body, s->body_len, codec) != 0)
		return -EUCLEAN;
	memcpy(buf, raw + off, len);
	return 0;
}

/* Table and blocks of a large payload, in a mapping. */
struct blocks {
	const uint8_t *map;
	uint64_t body_len, raw_len, content;
};

static int read_block(struct pfs_store *store, const struct blocks *b, uint64_t i, uint8_t *raw)
{
	uint64_t table = pfs_block_count(b->raw_len) * PFS_BLOCK_ENTRY_LEN;
	uint32_t raw_len = pfs_block_raw_len(b->raw_len, i);
	uint8_t entries[2 * PFS_BLOCK_ENTRY_LEN] = {0}, stored[PFS_BLOCK_LEN];
	uint32_t start, end;
	int err;

	if (i == 0)
		err = pfs_map_copy(entries + PFS_BLOCK_ENTRY_LEN, b->map, PFS_BLOCK_ENTRY_LEN);
	else
		err = pfs_map_copy(entries, b->map + (i - 1) * PFS_BLOCK_ENTRY_LEN,
				   sizeof(entries));
	if (err)
		return err;
	start = pfs_get_le32(entries);
	end = pfs_get_le32(entries + PFS_BLOCK_ENTRY_LEN);
	if (start > end || end > b->body_len - table || end - start > raw_len)
		return -EUCLEAN;
	err = pfs_map_copy(stored, b->map + table + start, end - start);
	if (err)
		return err;
	if (pfs_block_crc(b->content, (uint32_t)i, end, stored, end - start) !=
	    pfs_get_le32(entries + PFS_BLOCK_ENTRY_LEN + 4))
		return -EUCLEAN;
	pfs_count(&store->counters.blocks_decoded);
	if (end == start)
		memset(raw, 0, raw_len);
	else if (end - start == raw_len)
		memcpy(raw, stored, raw_len);
	else
		return pfs_codec_unpack(raw, raw_len, stored, end - start, NULL);
	return 0;
}

static int read_part_of_block(struct pfs_store *store, const struct blocks *b, uint64_t i,
			      uint64_t within, uint8_t *buf, size_t len)
{
	uint8_t raw[PFS_BLOCK_LEN];
	int err = read_block(store, b, i, raw);

	if (!err)
		memcpy(buf, raw + within, len);
	return err;
}

static int read_blocks(struct pfs_store *store, const struct blocks *b, uint64_t off, uint8_t *buf,
		       size_t len)
{
	while (len) {
		uint64_t i = off / PFS_BLOCK_LEN, within = off % PFS_BLOCK_LEN;
		uint32_t raw_len = pfs_block_raw_len(b->raw_len, i);
		size_t part = pfs_min_u64(len, raw_len - within);
		int err;

		if (part == raw_len)
			err = read_block(store, b, i, buf);
		else
			err = read_part_of_block(store, b, i, within, buf, part);
		if (err)
			return err;
		buf += part;
		off += part;
		len -= part;
	}
	return 0;
}

/* ---- sources ---- */

static const char *why_not(int err)
{
	return err == -EIO ? "a value can't be read" : "a value does not verify";
}

static int journal_damaged(struct pfs_store *store, const struct pfs_segment *segment, uint64_t off,
			   int err)
{
	pfs_corrupt(&store->logger, "journal", off, "segment %llu: %s",
		    (unsigned long long)(segment ? segment->number : 0), why_not(err));
	return -EIO;
}

static int source_damaged(struct pfs_store *store, const struct pfs_source *s, int err)
{
	if (s->kind == PFS_SOURCE_CONTAINER)
		return damaged(store, s->page->number, s->off, why_not(err));
	return journal_damaged(store, s->segment, s->record_off, err);
}

static int read_record(struct pfs_store *store, const struct pfs_source *s, uint64_t off, void *buf,
		       size_t len)
{
	uint8_t *record;
	int err;

	if (s->flags & PFS_CONTAINER_BLOCKS) {
		struct blocks b = {s->segment->map + s->record_off + s->body_off, s->body_len,
				   s->size, s->content};

		if (s->dict)
			return -EUCLEAN;
		return read_blocks(store, &b, off, buf, len);
	}
	record = malloc(s->record_len);
	if (!record)
		return -ENOMEM;
	err = pfs_journal_read(store->journal, s->segment, s->record_off, record, s->record_len);
	if (!err)
		err = unpack_small(store,
				   &(struct small){record + s->body_off, s->body_len, s->size,
						   s->flags, s->dict},
				   buf, off, len);
	free(record);
	return err;
}

static int read_loaded(struct pfs_store *store, const struct pfs_loaded *loaded, uint64_t off,
		       void *buf, size_t len)
{
	const struct pfs_container *c = &loaded->c;

	if (c->flags & PFS_CONTAINER_LOST)
		return -EIO;
	if (c->flags & PFS_CONTAINER_BLOCKS) {
		struct blocks b = {loaded->page->map + loaded->slot.off + c->header_len,
				   c->body_len, c->raw_len, c->content};

		if (c->dict)
			return -EUCLEAN;
		return read_blocks(store, &b, off, buf, len);
	}
	return unpack_small(store,
			    &(struct small){loaded->bytes + c->header_len, c->body_len, c->raw_len,
					    c->flags, c->dict},
			    buf, off, len);
}

/* Loads a container by its place instead of by its slot, which may be a tombstone by now. */
static int load_source(const struct pfs_source *s, struct pfs_loaded *out)
{
	int err;

	out->page = s->page;
	out->slot = (struct pfs_slot){
		.kind = s->key_kind, .tag = s->key_tag, .off = (uint32_t)s->off, .len = s->len};
	err = load_container(out);
	if (!err && (out->c.seq != s->seq || out->c.raw_len != s->size))
		err = -EUCLEAN;
	return err;
}

static int read_container(struct pfs_store *store, const struct pfs_source *s, uint64_t off,
			  void *buf, size_t len)
{
	struct pfs_loaded loaded;
	int err = load_source(s, &loaded);

	return err ? err : read_loaded(store, &loaded, off, buf, len);
}

const uint8_t *pfs_source_blocks(struct pfs_store *store, const struct pfs_source *s,
				 uint64_t *body_len, uint64_t *content)
{
	struct pfs_loaded loaded;

	(void)store;
	if (s->kind == PFS_SOURCE_RECORD && (s->flags & PFS_CONTAINER_BLOCKS)) {
		*body_len = s->body_len;
		*content = s->content;
		return s->segment->map + s->record_off + s->body_off;
	}
	if (s->kind != PFS_SOURCE_CONTAINER || load_source(s, &loaded) != 0 ||
	    !(loaded.c.flags & PFS_CONTAINER_BLOCKS))
		return NULL;
	*body_len = loaded.c.body_len;
	*content = loaded.c.content;
	return s->page->map + s->off + loaded.c.header_len;
}

int pfs_source_packed(struct pfs_store *store, const struct pfs_source *s, uint8_t *buf,
		      const uint8_t **body)
{
	struct pfs_loaded loaded;
	int err = -EUCLEAN;

	if (s->kind == PFS_SOURCE_RECORD && s->record_len <= PFS_PACKED_ROOM) {
		err = pfs_journal_read(store->journal, s->segment, s->record_off, buf,
				       s->record_len);
		*body = buf + s->body_off;
	} else if (s->kind == PFS_SOURCE_CONTAINER) {
		err = load_source(s, &loaded);
		if (!err && loaded.c.body_len <= PFS_PACKED_ROOM)
			memcpy(buf, loaded.bytes + loaded.c.header_len, loaded.c.body_len);
		*body = buf;
	}
	return err ? source_damaged(store, s, err) : 0;
}

static int read_extent(struct pfs_store *store, const struct pfs_stage_extent *e, uint8_t *buf)
{
	uint8_t *record;
	int err;

	if (!e->segment) {
		memset(buf, 0, e->len);
		return 0;
	}
	record = malloc(e->record_len);
	if (!record)
		return -ENOMEM;
	err = pfs_journal_read(store->journal, e->segment, e->record_off, record, e->record_len);
	if (!err)
		memcpy(buf, record + e->data_off, e->len);
	else if (err != -ENOMEM)
		err = journal_damaged(store, e->segment, e->record_off, err);
	free(record);
	return err;
}

/* Base first, then what was written over it. The base can be a stage itself: that which a
 * checkpoint is applying. */
static int read_stage(struct pfs_store *store, struct pfs_stage *stage, uint64_t off, uint8_t *buf,
		      size_t len)
{
	struct pfs_stage_extent *extents;
	struct pfs_source base;
	uint64_t base_size, size, from_base = 0;
	size_t count;
	int err;

	err = pfs_stage_collect(stage, off, len, &extents, &count, &base, &base_size, &size);
	if (err)
		return err;
	if (off < base_size)
		from_base = pfs_min_u64(len, base_size - off);
	memset(buf + from_base, 0, len - from_base);
	/* A range that is written over as a whole needs nothing of the base. */
	if (from_base && !(count == 1 && extents[0].off == off && extents[0].len >= from_base))
		err = pfs_source_read(store, &base, off, buf, from_base);
	for (size_t i = 0; i < count && !err; i++)
		err = read_extent(store, &extents[i], buf + (extents[i].off - off));
	free(extents);
	return err;
}

int pfs_source_read(struct pfs_store *store, const struct pfs_source *source, uint64_t off,
		    void *buf, size_t len)
{
	int err = -EUCLEAN;

	if (len == 0)
		return 0;
	if (source->kind == PFS_SOURCE_STAGE)
		return read_stage(store, source->stage, off, buf, len);
	if (source->kind == PFS_SOURCE_LOST)
		return -EIO;
	if (off > source->size || len > source->size - off)
		return -EIO;
	if (source->kind == PFS_SOURCE_RECORD)
		err = read_record(store, source, off, buf, len);
	else if (source->kind == PFS_SOURCE_CONTAINER)
		err = read_container(store, source, off, buf, len);
	return err == -EUCLEAN || err == -EIO ? source_damaged(store, source, err) : err;
}

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
		return slot_unreadable(store, pfs_word_page_number(word), pfs_word_slot(word));
	if (is_misplaced(store, object, word, &loaded.slot))
		return damaged(store, page->number, pfs_slot_offset(pfs_word_slot(word)),
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
		return damaged(store, loaded.page->number, loaded.slot.off,
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
		return slot_unreadable(store, pfs_word_page_number(word), pfs_word_slot(word));
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
	bool in_doubt = store->doubt;

	pfs_probe_begin(&probe, store->index, pfs_index_hash(key->kind, pfs_key_tag(key)));
	while ((*object = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		int match;

		*word = pfs_index_word(store->index, *object);
		match = has_key(store, *object, *word, key);
		if (match == 1)
			return 0;
		if (match < 0)
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

int pfs_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
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

int pfs_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr)
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

int pfs_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key)
{
	int err;

	pfs_epoch_enter();
	err = pfs_object_word_key(store, object, pfs_index_word(store->index, object), key);
	pfs_epoch_leave();
	return !err && key->kind == PFS_KEY_TEMP ? -ENOENT : err;
}

/* The size that a read sees: of a stage the present one. */
static uint64_t present_size(const struct pfs_view *view)
{
	struct pfs_stage *stage = view->source.stage;
	uint64_t size;

	if (view->source.kind != PFS_SOURCE_STAGE)
		return view->size;
	pthread_mutex_lock(&stage->lock);
	size = stage->size;
	pthread_mutex_unlock(&stage->lock);
	return size;
}

static ssize_t read_version(struct pfs_store *store, uint64_t word, uint64_t off, void *buf,
			    size_t len)
{
	struct pfs_view view;
	uint64_t size;
	int err;

	view_version(pfs_word_to_version(word), &view);
	size = present_size(&view);
	if (view.source.kind == PFS_SOURCE_LOST)
		return -EIO;
	if (off >= size)
		return 0;
	len = pfs_min_u64(len, size - off);
	err = pfs_source_read(store, &view.source, off, buf, len);
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
	err = read_loaded(store, &loaded, off, buf, len);
	if (err == -EUCLEAN || (err == -EIO && !(loaded.c.flags & PFS_CONTAINER_LOST)))
		err = damaged(store, loaded.page->number, loaded.slot.off, why_not(err));
	return err ? err : (ssize_t)len;
}

ssize_t pfs_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf, size_t len)
{
	uint64_t word;
	ssize_t n = -ENOENT;

	pfs_epoch_enter();
	word = pfs_index_word(store->index, object);
	if (pfs_word_is_version(word))
		n = read_version(store, word, off, buf, len);
	else if (pfs_word_is_page(word))
		n = read_page(store, word, off, buf, len);
	pfs_epoch_leave();
	return n;
}

int pfs_get(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
	    struct pfs_attr *attr)
{
	*data = NULL;
	*len = 0;
	/* A large document that is being written may change its size under us. */
	for (unsigned i = 0; i < READ_RETRIES; i++) {
		struct pfs_attr now;
		uint32_t object;
		uint8_t *bytes;
		ssize_t n;
		int err = pfs_lookup(store, key, &object, &now);

		if (err)
			return err;
		bytes = malloc(now.size + 1);
		if (!bytes)
			return -ENOMEM;
		n = pfs_read(store, object, 0, bytes, now.size + 1);
		if (n == (ssize_t)now.size) {
			*data = bytes;
			*len = now.size;
			if (attr)
				*attr = now;
			return 0;
		}
		free(bytes);
		if (n < 0 && n != -ENOENT)
			return (int)n;
	}
	return -EAGAIN;
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

ssize_t pfs_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out, size_t max)
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

int pfs_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out)
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
		*out = (struct pfs_place){true,
					  0,
					  0,
					  0,
					  view.stored,
					  view.source.body_len,
					  view.seq,
					  view.source.dict,
					  0,
					  view.source.flags & PFS_CONTAINER_LZ4,
					  view.size > PFS_BLOCK_LEN ? pfs_block_count(view.size)
								    : 0};
	} else if (!err) {
		err = pfs_load(store, view.at.page, view.at.slot, &loaded);
		*out = (struct pfs_place){
			false,
			view.at.page,
			view.at.slot,
			view.at.off,
			view.at.len,
			view.source.body_len,
			view.seq,
			view.source.dict,
			err ? 0 : loaded.c.crc,
			view.source.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS),
			view.source.flags & PFS_CONTAINER_BLOCKS ? pfs_block_count(view.size) : 0};
	}
	pfs_epoch_leave();
	return err;
}
