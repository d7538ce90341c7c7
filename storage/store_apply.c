/* Containers on their way to the pages: where the bytes of a version come from, how they are
 * packed, and writes that touch one another as one. When that may be done is the checkpoint's
 * affair. */
#include "storage/store_apply.h"

#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"

#define PACK_BLOCKS 16u /* blocks of a large document that are read at a time: a record's worth */

/* ---- gathering ---- */

/* Errors of writing are remembered, to be told from those of reading what is to be written. */
static int write_page(struct pfs_gather *g, struct pfs_page *page, const void *bytes, size_t len,
		      uint64_t off)
{
	int err = pfs_page_write(page, bytes, len, off);

	if (err)
		g->failed = true;
	return err;
}

int pfs_gather_flush(struct pfs_gather *g)
{
	int err = g->len ? write_page(g, g->page, g->buf, g->len, g->off) : 0;

	g->len = 0;
	return err;
}

/* Whether len bytes at off can go behind what is gathered. Over a short gap that goes by writing
 * again what stands there: nobody else writes to pages meanwhile, the bytes stay as they are
 * wherever a write is torn, and every disk block of the gap is also one of what it lies between. */
static bool bridge(struct pfs_gather *g, struct pfs_page *page, uint64_t off, size_t len)
{
	uint64_t end = g->off + g->len, gap = off - end;

	if (g->page != page || off < end || gap > PFS_GATHER_GAP ||
	    g->len + gap + len > PFS_GATHER_LEN ||
	    pfs_page_copy(page, g->buf + g->len, end, gap) != 0)
		return false;
	g->len += gap;
	return true;
}

int pfs_gather_room(struct pfs_gather *g, struct pfs_page *page, uint64_t off, size_t len,
		    uint8_t **out)
{
	int err = 0;

	if (g->len && !bridge(g, page, off, len))
		err = pfs_gather_flush(g);
	if (err)
		return err;
	if (g->len == 0) {
		g->page = page;
		g->off = off;
	}
	*out = g->buf + g->len;
	g->len += len;
	return 0;
}

/* ---- containers ---- */

static struct pfs_container container_of_version(const struct pfs_version *v)
{
	struct pfs_container c;

	(void)pfs_version_need(v, &c);
	return c;
}

/* Writes a container whose body is at hand. */
static int write_small(struct pfs_gather *g, struct pfs_version *v, struct pfs_container *c,
		       const uint8_t *body)
{
	struct pfs_page *page = pfs_pager_find(g->store->pager, v->target.page);
	struct pfs_container_base base = pfs_page_base(page, v->kind, v->tag);
	uint64_t len = v->target.len;
	uint8_t *out;
	size_t header;
	int err;

	/* What was reserved for a stage may be much more than it takes in the end. */
	len = pfs_min_u64(len, pfs_container_len(c, &base, g->store->super.min_value_size));
	if (PFS_NEVER(&g->store->logger, len > PFS_GATHER_LEN))
		return -EINVAL;
	err = pfs_gather_room(g, page, v->target.off, len, &out);
	if (err)
		return err;
	header = pfs_container_header_encode(out, c, &base, len);
	if (PFS_NEVER(&g->store->logger, header + c->body_len > len))
		return -EINVAL;
	if (c->body_len)
		memcpy(out + header, body, c->body_len);
	memset(out + header + c->body_len, 0, len - header - c->body_len);
	pfs_container_seal(out, header, c->body_len, out[4], c->seq, &base);
	v->applied_len = len;
	return 0;
}

/* The payload can't be had any more: the container says so, and every read of it is an error. */
static int write_lost(struct pfs_gather *g, struct pfs_version *v)
{
	struct pfs_container c = container_of_version(v);

	c.flags = (c.flags & PFS_CONTAINER_ATTR) | PFS_CONTAINER_LOST;
	c.body_len = 0;
	c.content = 0;
	pfs_logf(&g->store->logger, PFS_LOG_ERROR,
		 "a document's content is lost; reading it gives an error");
	return write_small(g, v, &c, NULL);
}

/* A body that fits one block: as it is stored where that is known (it is verified on its way, so
 * that no damage gets a fresh checksum), or packed from a stage that has shrunk. */
static int apply_small(struct pfs_gather *g, struct pfs_version *v)
{
	struct pfs_container c = container_of_version(v);
	struct pfs_packed packed = {0};
	const uint8_t *body = NULL;
	int err;

	if (v->source.kind == PFS_SOURCE_EMPTY)
		return write_small(g, v, &c, NULL);
	if (v->source.kind == PFS_SOURCE_STAGE) {
		err = pfs_source_read(g->store, &v->source, 0, g->body, v->size);
		if (!err)
			err = pfs_pack(g->store, &packed, g->body, v->size, false);
		c.flags = (c.flags & PFS_CONTAINER_ATTR) | packed.flags;
		c.body_len = packed.body_len;
		c.content = 0;
		body = packed.body;
	} else {
		err = pfs_source_packed(g->store, &v->source, g->body, &body);
	}
	if (!err)
		err = write_small(g, v, &c, body);
	pfs_packed_free(&packed);
	return err;
}

/* Table and blocks that stand somewhere in stored form are copied as they are: their checksums are
 * bound to the content number, not to the key. */
static int copy_blocks(struct pfs_gather *g, struct pfs_page *page, uint64_t off,
		       const uint8_t *from, uint64_t len)
{
	uint8_t *buf = g->buf;
	int err = pfs_gather_flush(g);

	for (uint64_t done = 0; done < len && !err; done += PFS_GATHER_LEN) {
		size_t part = pfs_min_u64(PFS_GATHER_LEN, len - done);

		err = pfs_map_copy(buf, from + done, part);
		if (!err)
			err = write_page(g, page, buf, part, off + done);
	}
	return err;
}

struct packing {
	struct pfs_page *page;
	uint64_t at; /* where the next stored block goes */
	uint64_t content;
	uint32_t end;
	uint8_t *table;
	bool lost[PACK_BLOCKS]; /* of the blocks at hand, those that could not be read */
	uint8_t raw[PACK_BLOCKS * PFS_BLOCK_LEN], stored[PFS_BLOCK_LEN];
};

/* Reads n blocks from the first on; where that fails, one by one, to lose no more than is damaged.
 */
static int read_ahead(struct pfs_gather *g, struct pfs_version *v, struct packing *p,
		      uint64_t first, uint64_t n)
{
	uint64_t off = first * PFS_BLOCK_LEN;
	int err = pfs_source_read(g->store, &v->source, off, p->raw,
				  pfs_min_u64(n * PFS_BLOCK_LEN, v->size - off));

	memset(p->lost, 0, sizeof(p->lost));
	if (err != -EIO)
		return err;
	for (uint64_t i = 0; i < n; i++) {
		err = pfs_source_read(g->store, &v->source, off + i * PFS_BLOCK_LEN,
				      p->raw + i * PFS_BLOCK_LEN,
				      pfs_block_raw_len(v->size, first + i));
		if (err && err != -EIO)
			return err;
		p->lost[i] = err == -EIO;
	}
	return 0;
}

static int pack_block(struct pfs_gather *g, struct pfs_version *v, struct packing *p, uint32_t i)
{
	const uint64_t target_end = v->target.off + v->target.len;
	uint32_t raw_len = pfs_block_raw_len(v->size, i), crc;
	const uint8_t *raw = p->raw + (uint64_t)(i % PACK_BLOCKS) * PFS_BLOCK_LEN;
	const uint8_t *stored = p->stored;
	bool lost = p->lost[i % PACK_BLOCKS];
	size_t len = 0;
	int err;

	if (!lost && !pfs_is_zero(raw, raw_len)) {
		len = pfs_codec_pack(p->stored, raw_len, raw, raw_len, NULL);
		if (len == 0) {
			stored = raw;
			len = raw_len;
		}
	}
	if (PFS_NEVER(&g->store->logger, p->at + len > target_end))
		return -EINVAL;
	err = len ? write_page(g, p->page, stored, len, p->at) : 0;
	p->at += len;
	p->end += (uint32_t)len;
	crc = pfs_block_crc(p->content, i, p->end, stored, len);
	pfs_put_le32(p->table + (uint64_t)i * PFS_BLOCK_ENTRY_LEN, p->end);
	/* A block that could not be read must not verify. */
	pfs_put_le32(p->table + (uint64_t)i * PFS_BLOCK_ENTRY_LEN + 4, lost ? ~crc : crc);
	return err;
}

/* Packs the payload block by block into its place; *body_len becomes known by it. */
static int pack_blocks(struct pfs_gather *g, struct pfs_version *v, struct pfs_page *page,
		       uint64_t off, uint64_t *body_len, uint64_t content)
{
	uint64_t blocks = pfs_block_count(v->size), table_len = blocks * PFS_BLOCK_ENTRY_LEN;
	struct packing *p = malloc(sizeof(*p));
	int err = pfs_gather_flush(g);

	if (!p)
		return -ENOMEM;
	p->page = page;
	p->at = off + table_len;
	p->content = content;
	p->end = 0;
	p->table = malloc(table_len);
	if (!p->table)
		err = -ENOMEM;
	for (uint64_t i = 0; i < blocks && !err; i++) {
		if (i % PACK_BLOCKS == 0)
			err = read_ahead(g, v, p, i, pfs_min_u64(PACK_BLOCKS, blocks - i));
		if (!err)
			err = pack_block(g, v, p, (uint32_t)i);
	}
	if (!err)
		err = write_page(g, page, p->table, table_len, off);
	*body_len = table_len + p->end;
	free(p->table);
	free(p);
	return err;
}

/* A stage's blocks are packed on their way to the page; the header is written last, in bytes whose
 * number is known before. */
static int apply_stage(struct pfs_gather *g, struct pfs_version *v, struct pfs_page *page,
		       struct pfs_container *c, const struct pfs_container_base *base)
{
	uint8_t header[PFS_CONTAINER_HEADER_MAX];
	uint64_t min = g->store->super.min_value_size;
	size_t header_len;
	int err;

	c->content = __atomic_fetch_add(&g->store->next_content, 1, __ATOMIC_RELAXED);
	c->body_len = pfs_min_u64(pfs_blocks_bound(v->size), v->target.len);
	c->len_width = (unsigned)pfs_put_varint(header, c->body_len);
	header_len = pfs_container_header_encode(header, c, base, v->target.len);
	err = pack_blocks(g, v, page, v->target.off + header_len, &c->body_len, c->content);
	if (err)
		return err;
	v->applied_len = pfs_slot_len_round(pfs_max_u64(header_len + c->body_len, min));
	if (PFS_NEVER(&g->store->logger, v->applied_len > v->target.len))
		return -EINVAL;
	pfs_container_header_encode(header, c, base, v->applied_len);
	pfs_container_seal(header, header_len, c->body_len, header[4], c->seq, base);
	return write_page(g, page, header, header_len, v->target.off);
}

static int apply_blocks(struct pfs_gather *g, struct pfs_version *v, struct pfs_page *page,
			struct pfs_container *c, const struct pfs_container_base *base)
{
	const uint8_t *blocks = pfs_source_blocks(&v->source, &c->body_len, &c->content);
	uint8_t header[PFS_CONTAINER_HEADER_MAX];
	size_t header_len;
	uint64_t len;
	int err;

	if (!blocks)
		return -EIO;
	len = pfs_min_u64(v->target.len,
			  pfs_container_len(c, base, g->store->super.min_value_size));
	header_len = pfs_container_header_encode(header, c, base, len);
	if (PFS_NEVER(&g->store->logger, header_len + c->body_len > len))
		return -EINVAL;
	err = copy_blocks(g, page, v->target.off + header_len, blocks, c->body_len);
	if (err)
		return err;
	pfs_container_seal(header, header_len, c->body_len, header[4], c->seq, base);
	v->applied_len = len;
	return write_page(g, page, header, header_len, v->target.off);
}

static int apply_large(struct pfs_gather *g, struct pfs_version *v)
{
	struct pfs_page *page = pfs_pager_find(g->store->pager, v->target.page);
	struct pfs_container_base base = pfs_page_base(page, v->kind, v->tag);
	struct pfs_container c = container_of_version(v);

	c.flags = (c.flags & PFS_CONTAINER_ATTR) | PFS_CONTAINER_BLOCKS;
	if (v->source.kind == PFS_SOURCE_STAGE)
		return apply_stage(g, v, page, &c, &base);
	return apply_blocks(g, v, page, &c, &base);
}

int pfs_apply(struct pfs_gather *g, struct pfs_version *v)
{
	int err;

	pfs_epoch_enter();
	if (v->source.kind == PFS_SOURCE_LOST)
		err = write_lost(g, v);
	else
		err = v->size > PFS_BLOCK_LEN ? apply_large(g, v) : apply_small(g, v);
	if (err == -EIO && !g->failed)
		err = write_lost(g, v);
	pfs_epoch_leave();
	return err;
}
