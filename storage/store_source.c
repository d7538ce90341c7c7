/* Bytes of documents, wherever they are: containers in pages, records of the journal, blocks of
 * either, and stages of several records. Each is verified on its way; what does not verify is
 * reported. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/store_internal.h"

#define HEADER_PEEK 32 /* enough of a container to find its raw length */

/* ---- containers ---- */

int pfs_page_damaged(struct pfs_store *store, uint32_t page, uint64_t off, const char *why)
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

int pfs_slot_unreadable(struct pfs_store *store, uint32_t page, uint32_t slot)
{
	return pfs_page_damaged(store, page, pfs_slot_offset(slot), "the slot can't be read");
}

/* The same, and reports what is wrong. */
static int load_verified(struct pfs_store *store, struct pfs_loaded *out)
{
	int err = load_container(out);

	if (err == -EUCLEAN)
		return pfs_page_damaged(store, out->page->number, out->slot.off,
					"container does not verify");
	if (err == -EIO)
		return pfs_page_damaged(store, out->page->number, out->slot.off,
					"the container can't be read");
	return err;
}

int pfs_load(struct pfs_store *store, uint32_t page_number, uint32_t slot, struct pfs_loaded *out)
{
	int err;

	out->page = pfs_pager_find(store->pager, page_number);
	if (!out->page)
		return pfs_page_damaged(store, page_number, 0, "the page is missing or unusable");
	err = pfs_page_read_slot(out->page, slot, &out->slot);
	if (err == -EIO)
		return pfs_slot_unreadable(store, page_number, slot);
	if (err || !pfs_slot_is_live(&out->slot))
		return pfs_page_damaged(store, page_number, pfs_slot_offset(slot),
					"not a live slot");
	return load_verified(store, out);
}

int pfs_load_at(struct pfs_store *store, uint32_t page_number, const struct pfs_slot *slot,
		struct pfs_loaded *out)
{
	out->page = pfs_pager_find(store->pager, page_number);
	out->slot = *slot;
	if (!out->page)
		return pfs_page_damaged(store, page_number, 0, "the page is missing or unusable");
	return load_verified(store, out);
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

bool pfs_peek_own_attr(const struct pfs_page *page, const struct pfs_slot *slot)
{
	uint8_t bytes[5];

	return slot->len >= sizeof(bytes) &&
	       pfs_page_copy(page, bytes, slot->off, sizeof(bytes)) == 0 &&
	       bytes[4] & PFS_CONTAINER_ATTR;
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
		return pfs_page_damaged(store, s->page->number, s->off, why_not(err));
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

/* Of a container that is not lost. */
static int read_loaded(struct pfs_store *store, const struct pfs_loaded *loaded, uint64_t off,
		       void *buf, size_t len)
{
	const struct pfs_container *c = &loaded->c;

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

int pfs_loaded_guess(struct pfs_store *store, const struct pfs_loaded *loaded, void *buf)
{
	uint32_t number = loaded->c.dict;
	const struct pfs_dict *dict = number ? pfs_dict_find(store, number) : NULL;

	if (number && !(dict && dict->codec))
		return -EIO;
	return read_loaded(store, loaded, 0, buf, loaded->c.raw_len);
}

int pfs_loaded_read(struct pfs_store *store, const struct pfs_loaded *loaded, uint64_t off,
		    void *buf, size_t len)
{
	int err = read_loaded(store, loaded, off, buf, len);

	if (err == -EUCLEAN || err == -EIO)
		err = pfs_page_damaged(store, loaded->page->number, loaded->slot.off, why_not(err));
	return err;
}

/* Whether the container is still the one that the source was made from, whose body is taken for
 * what it was then. */
static bool is_source(const struct pfs_container *c, const struct pfs_source *s)
{
	const unsigned form = PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_LOST;

	return c->seq == s->seq && c->raw_len == s->size && c->body_len == s->body_len &&
	       c->dict == s->dict && (c->flags & form) == s->flags;
}

/* Loads a container by its place instead of by its slot, which may be a tombstone by now. */
static int load_source(const struct pfs_source *s, struct pfs_loaded *out)
{
	int err;

	out->page = s->page;
	out->slot = (struct pfs_slot){
		.kind = s->key_kind, .tag = s->key_tag, .off = (uint32_t)s->off, .len = s->len};
	err = load_container(out);
	if (!err && !is_source(&out->c, s))
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

const uint8_t *pfs_source_blocks(const struct pfs_source *s, uint64_t *body_len, uint64_t *content)
{
	struct pfs_loaded loaded;

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
	else
		err = journal_damaged(store, e->segment, e->record_off, err);
	free(record);
	return err;
}

/* Base first, then what was written over it. The base can be a stage itself: that which a
 * checkpoint is applying. */
ssize_t pfs_stage_read(struct pfs_store *store, struct pfs_stage *stage, uint64_t off, void *buf,
		       size_t len)
{
	struct pfs_stage_extent *extents;
	struct pfs_source base;
	uint64_t base_size, size, from_base = 0;
	uint8_t *bytes = buf;
	size_t count;
	int err;

	err = pfs_stage_collect(stage, off, len, &extents, &count, &base, &base_size, &size);
	if (err)
		return err;
	len = off < size ? pfs_min_u64(len, size - off) : 0;
	if (off < base_size)
		from_base = pfs_min_u64(len, base_size - off);
	memset(bytes + from_base, 0, len - from_base);
	/* A range that is written over as a whole needs nothing of the base. */
	if (from_base && !(count == 1 && extents[0].off == off && extents[0].len >= from_base))
		err = pfs_source_read(store, &base, off, bytes, from_base);
	for (size_t i = 0; i < count && !err; i++)
		err = read_extent(store, &extents[i], bytes + (extents[i].off - off));
	free(extents);
	return err ? err : (ssize_t)len;
}

int pfs_source_read(struct pfs_store *store, const struct pfs_source *source, uint64_t off,
		    void *buf, size_t len)
{
	ssize_t n;
	int err;

	if (len == 0)
		return 0;
	if (source->kind == PFS_SOURCE_STAGE) {
		n = pfs_stage_read(store, source->stage, off, buf, len);
		if (n >= 0)
			memset((uint8_t *)buf + n, 0, len - (size_t)n);
		return n < 0 ? (int)n : 0;
	}
	if (source->kind == PFS_SOURCE_LOST)
		return -EIO;
	if (off > source->size || len > source->size - off)
		return -EIO;
	if (source->kind == PFS_SOURCE_RECORD)
		err = read_record(store, source, off, buf, len);
	else
		err = read_container(store, source, off, buf, len);
	return err == -EUCLEAN || err == -EIO ? source_damaged(store, source, err) : err;
}
