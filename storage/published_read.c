/* Payloads: one container, verified and decoded; of a large one the blocks that are asked for. */
#include <stdlib.h>

#include "storage/page.h"
#include "storage/published.h"

#define SMALL_MAX (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)
#define SEQUENTIAL_GAP (256 * PFS_KIB) /* who leaves out no more than this reads one by one */
#define AHEAD (8 * PFS_MIB)
#define AHEAD_STEP (4 * PFS_MIB)
#define BEGINNING (PFS_MIB - PFS_CHUNK_LEN) /* of a large document; on no more than 16 chunks */

/* A container whose header, and body if it is a small one, is at hand. */
struct loaded {
	const struct pfs_manifest_block *block;
	const struct pfs_manifest_object *page;
	struct pfs_cached *file;
	uint64_t off; /* of the container in the object */
	struct pfs_container c;
	uint8_t *bytes; /* malloc'ed */
	size_t have;
};

static int damaged(struct pfs_published *p, const struct loaded *l, uint64_t off, uint64_t len,
		   const char *why)
{
	char name[PFS_OBJECT_NAME_MAX];

	pfs_cached_drop(l->file, off, len);
	pfs_object_name(name, l->page->role, l->page->hash);
	pfs_corrupt(&p->logger, name, off, "%s", why);
	return -EIO;
}

/* Whether it is read behind what was read before. Takes note of it. Lock. */
static bool goes_on(struct pfs_generation *g, uint32_t page, uint64_t off, uint64_t len)
{
	struct pfs_reading *r = &g->reading;
	bool same = page == r->page && off >= r->end && off - r->end <= SEQUENTIAL_GAP;
	bool next = page == r->page + 1 && off <= g->m.objects[page].head + SEQUENTIAL_GAP;

	if (!same)
		r->ahead = next && r->next_asked ? AHEAD : 0;
	if (!same)
		r->next_asked = false;
	r->page = page;
	r->end = off + len;
	r->ahead = pfs_max_u64(r->ahead, r->end);
	return same || next;
}

/* Who reads documents in their order is to find them there already. */
static void read_ahead(struct pfs_published *p, struct pfs_generation *g, uint32_t page,
		       uint64_t off, uint64_t len)
{
	uint64_t from = 0, to = 0, end = g->m.objects[page].len;
	struct pfs_reading *r = &g->reading;
	bool next = false;

	pthread_mutex_lock(&p->lock);
	if (goes_on(g, page, off, len)) {
		if (r->ahead < end && r->ahead - r->end < AHEAD - AHEAD_STEP) {
			from = r->ahead;
			to = r->ahead = pfs_min_u64(end, from + AHEAD_STEP);
		}
		next = r->ahead >= end && !r->next_asked && page + 1 < g->m.object_count;
		r->next_asked |= next;
	}
	pthread_mutex_unlock(&p->lock);
	if (to > from)
		pfs_cached_prefetch(g->files[page], from, to - from);
	if (next)
		pfs_cached_prefetch(g->files[page + 1], 0,
				    pfs_min_u64(AHEAD, g->m.objects[page + 1].len));
}

static struct pfs_container_base base_of(const struct loaded *l, const struct pfs_key *key)
{
	return (struct pfs_container_base){key->kind, pfs_key_tag(key), PFS_PUBLISHED_SEQ,
					   l->page->base_mtime};
}

/* That the container is the document's, and is what the table of keys says. */
static const char *verify(const struct loaded *l, const struct pfs_published_doc *doc)
{
	struct pfs_key key, found;
	struct pfs_container_base base;

	pfs_published_key(doc, &key);
	base = base_of(l, &key);
	if (pfs_container_verify(&l->c, l->bytes, &base) != 0)
		return "checksum of its container";
	if (pfs_container_key(&found, &l->c, key.kind, base.tag) != 0 ||
	    !pfs_key_equal(&found, &key) || l->c.raw_len != doc->entry.raw_len)
		return "the container is not what the table of keys says";
	return NULL;
}

static int load(struct pfs_published *p, struct pfs_generation *g,
		const struct pfs_published_doc *doc, struct loaded *l)
{
	uint64_t want = doc->entry.len;
	struct pfs_container_base base;
	const char *why = "header of its container";
	struct pfs_key key;
	ssize_t n;

	*l = (struct loaded){.block = &g->m.blocks[doc->block]};
	l->page = &g->m.objects[l->block->page];
	l->file = g->files[l->block->page];
	l->off = pfs_page_containers(l->page) + doc->entry.off;
	if (doc->entry.raw_len > PFS_BLOCK_LEN)
		want = pfs_min_u64(want,
				   PFS_CONTAINER_HEADER_MAX + pfs_block_count(doc->entry.raw_len) *
								      PFS_BLOCK_ENTRY_LEN);
	want = pfs_min_u64(want, SMALL_MAX + PFS_MIB);
	l->bytes = malloc(want);
	if (!l->bytes)
		return -ENOMEM;
	n = pfs_cached_read(l->file, l->bytes, want, l->off);
	if (n != (ssize_t)want)
		return n < 0 ? (int)n : -EIO;
	l->have = want;
	pfs_published_key(doc, &key);
	base = base_of(l, &key);
	if (pfs_container_header_decode(&l->c, l->bytes, want, doc->entry.len, &base) == 0 &&
	    ((l->c.flags & PFS_CONTAINER_BLOCKS) || l->c.header_len + l->c.body_len <= want))
		why = verify(l, doc);
	if (why)
		return damaged(p, l, l->off, doc->entry.len, why);
	return l->c.flags & PFS_CONTAINER_LOST ? damaged(p, l, l->off, 0, "its content was lost")
					       : 0;
}

/* ---- small ones ---- */

static int read_small(struct pfs_published *p, struct pfs_generation *g, const struct loaded *l,
		      uint64_t off, uint8_t *buf, size_t len)
{
	const uint8_t *body = l->bytes + l->c.header_len;
	const struct pfs_codec_dict *dict = NULL;
	uint8_t *raw;
	int err;

	if (!(l->c.flags & PFS_CONTAINER_LZ4)) {
		memcpy(buf, body + off, len);
		return 0;
	}
	if (l->c.dict) {
		if (g->damaged_dict)
			return -EIO; /* which was said */
		if (!g->dict || l->c.dict != g->m.objects[0].count)
			return damaged(p, l, l->off, 0, "it needs a dictionary that is not there");
		dict = g->dict;
	}
	raw = off == 0 && len == l->c.raw_len ? buf : malloc(l->c.raw_len + 1);
	if (!raw)
		return -ENOMEM;
	err = pfs_codec_unpack(raw, l->c.raw_len, body, l->c.body_len, dict);
	if (err)
		err = damaged(p, l, l->off, l->have, "it does not decode");
	else if (raw != buf)
		memcpy(buf, raw + off, len);
	if (raw != buf)
		free(raw);
	return err;
}

/* ---- large ones ---- */

/* Room for one block, stored and raw. */
struct block_room {
	uint8_t stored[PFS_BLOCK_LEN], raw[PFS_BLOCK_LEN];
};

/* Bytes [from, to) of block i. */
static int read_block(struct pfs_published *p, const struct loaded *l, uint64_t i, uint32_t from,
		      uint32_t to, uint8_t *buf, struct block_room *room)
{
	uint64_t table_len = pfs_block_count(l->c.raw_len) * PFS_BLOCK_ENTRY_LEN;
	const uint8_t *entry = l->bytes + l->c.header_len + i * PFS_BLOCK_ENTRY_LEN;
	uint32_t start = i ? pfs_get_le32(entry - PFS_BLOCK_ENTRY_LEN) : 0;
	uint32_t end = pfs_get_le32(entry), raw_len = pfs_block_raw_len(l->c.raw_len, i);
	uint64_t at = l->off + l->c.header_len + table_len + start;
	size_t len;
	ssize_t n;

	if (start > end || end > l->c.body_len - table_len || end - start > raw_len)
		return damaged(p, l, l->off, l->have, "its table of blocks makes no sense");
	len = end - start;
	n = len ? pfs_cached_read(l->file, room->stored, len, at) : 0;
	if (n != (ssize_t)len)
		return n < 0 ? (int)n : -EIO;
	if (pfs_block_crc(l->c.content, (uint32_t)i, end, room->stored, len) !=
	    pfs_get_le32(entry + 4))
		return damaged(p, l, at, len, "checksum of a block");
	if (len == 0)
		memset(room->raw, 0, raw_len);
	else if (len == raw_len)
		memcpy(room->raw, room->stored, len);
	else if (pfs_codec_unpack(room->raw, raw_len, room->stored, len, NULL) != 0)
		return damaged(p, l, at, len, "a block does not decode");
	memcpy(buf, room->raw + from, to - from);
	return 0;
}

/* Who reads a document from one end to the other, too. */
static void read_ahead_blocks(struct pfs_published *p, struct pfs_generation *g,
			      const struct loaded *l, uint64_t off, size_t len)
{
	const uint8_t *table = l->bytes + l->c.header_len;
	uint64_t first = off / PFS_BLOCK_LEN, last = (off + len - 1) / PFS_BLOCK_LEN;
	uint64_t from = first ? pfs_get_le32(table + (first - 1) * PFS_BLOCK_ENTRY_LEN) : 0;
	uint64_t to = pfs_get_le32(table + last * PFS_BLOCK_ENTRY_LEN);
	uint64_t begin =
		l->off + l->c.header_len + pfs_block_count(l->c.raw_len) * PFS_BLOCK_ENTRY_LEN;

	if (from < to && to <= l->c.body_len)
		read_ahead(p, g, l->block->page, first ? begin + from : l->off,
			   to - from + (first ? 0 : begin - l->off));
}

static int read_large(struct pfs_published *p, struct pfs_generation *g, const struct loaded *l,
		      uint64_t off, uint8_t *buf, size_t len)
{
	struct block_room *room;
	int err = 0;

	/* A header that was decoded is followed by its table, and load has read so far. */
	read_ahead_blocks(p, g, l, off, len);
	room = malloc(sizeof(*room));
	if (!room)
		return -ENOMEM;
	while (len && !err) {
		uint64_t i = off / PFS_BLOCK_LEN;
		uint32_t from = (uint32_t)(off % PFS_BLOCK_LEN);
		uint32_t to = (uint32_t)pfs_min_u64(pfs_block_raw_len(l->c.raw_len, i), from + len);

		err = read_block(p, l, i, from, to, buf, room);
		buf += to - from;
		off += to - from;
		len -= to - from;
	}
	free(room);
	return err;
}

/* ---- both ---- */

ssize_t pfs_published_read(struct pfs_published *p, struct pfs_generation *g,
			   const struct pfs_published_doc *doc, uint64_t off, void *buf, size_t len)
{
	uint64_t size = doc->entry.raw_len;
	const struct pfs_manifest_block *block = &g->m.blocks[doc->block];
	uint64_t at = pfs_page_containers(&g->m.objects[block->page]) + doc->entry.off;
	struct loaded l;
	int err;

	if (off >= size)
		return 0;
	len = pfs_min_u64(len, size - off);
	/* The header and the first blocks of a large document, in one request. */
	if (size > PFS_BLOCK_LEN && off == 0)
		pfs_cached_prefetch(g->files[block->page], at,
				    pfs_min_u64(doc->entry.len, BEGINNING));
	if (size <= PFS_BLOCK_LEN && off == 0)
		read_ahead(p, g, block->page, at, doc->entry.len);
	err = load(p, g, doc, &l);
	if (!err && size > PFS_BLOCK_LEN)
		err = read_large(p, g, &l, off, buf, len);
	else if (!err)
		err = read_small(p, g, &l, off, buf, len);
	free(l.bytes);
	return err ? err : (ssize_t)len;
}

int pfs_published_place(struct pfs_published *p, struct pfs_generation *g,
			const struct pfs_published_doc *doc, struct pfs_place *out)
{
	struct loaded l;
	int err = load(p, g, doc, &l);

	*out = (struct pfs_place){0};
	if (!err)
		*out = (struct pfs_place){
			/* Pages are told by their place in the manifest. */
			.page = l.block->page + 1,
			.slot = doc->slot,
			.offset = l.off,
			.container_len = doc->entry.len,
			.packed_len = l.c.header_len + l.c.body_len,
			.sequence = l.c.seq,
			.dictionary = l.c.dict,
			.checksum = l.c.crc,
			.compressed = l.c.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS),
			.blocks =
				l.c.flags & PFS_CONTAINER_BLOCKS ? pfs_block_count(l.c.raw_len) : 0,
		};
	free(l.bytes);
	return err;
}
