/* Pages: packing the documents of one, on several processors, and laying it out. */
#include <pthread.h>
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/export_line.h"
#include "storage/page.h"
#include "storage/publish_internal.h"

#define SMALL_MIN 16		  /* payloads below are not worth packing */
#define SHARE_MIN (256 * PFS_KIB) /* raw bytes for which a thread is worth while */

/* ---- packing ---- */

struct share {
	struct pfs_publish *p;
	struct pfs_codec_hc *hc;
	size_t from, to; /* documents */
	pthread_t thread;
	bool running;
};

/* Blocks as FORMAT.md describes them. What tells one document's from another's depends on nothing
 * but the document, so that the page is the same whenever it is made. */
static void pack_blocks(struct pfs_publish *p, struct publish_doc *doc, struct pfs_codec_hc *hc)
{
	const uint8_t *data = p->raw + doc->off;
	uint64_t blocks = pfs_block_count(doc->raw_len), table = blocks * PFS_BLOCK_ENTRY_LEN;
	uint8_t *body = p->packed + doc->body_off;
	uint32_t end = 0;

	doc->flags = PFS_CONTAINER_BLOCKS;
	doc->content = pfs_mix64(pfs_get_le64(doc->key) ^ pfs_get_le64(doc->key + 8)) ^
		       ((uint64_t)pfs_crc32c(0, data, doc->raw_len) << 32 | doc->raw_len);
	for (uint64_t i = 0; i < blocks; i++) {
		const uint8_t *raw = data + i * PFS_BLOCK_LEN;
		uint32_t raw_len = pfs_block_raw_len(doc->raw_len, i);
		uint8_t *stored = body + table + end;
		size_t len = pfs_codec_pack_hc(hc, stored, raw_len, raw, raw_len, NULL);

		if (len == 0) {
			memcpy(stored, raw, raw_len);
			len = raw_len;
		}
		end += (uint32_t)len;
		pfs_put_le32(body + i * PFS_BLOCK_ENTRY_LEN, end);
		pfs_put_le32(body + i * PFS_BLOCK_ENTRY_LEN + 4,
			     pfs_block_crc(doc->content, (uint32_t)i, end, stored, len));
	}
	doc->body_len = (uint32_t)(table + end);
}

static void pack_doc(struct pfs_publish *p, struct publish_doc *doc, struct pfs_codec_hc *hc)
{
	const uint8_t *data = p->raw + doc->off;
	size_t len = 0;

	doc->plain = pfs_line_is_plain(data, doc->raw_len);
	if (doc->raw_len > PFS_BLOCK_LEN) {
		pack_blocks(p, doc, hc);
		return;
	}
	if (doc->raw_len >= SMALL_MIN)
		len = pfs_codec_pack_hc(hc, p->packed + doc->body_off, doc->raw_len, data,
					doc->raw_len, p->dict);
	doc->flags = len ? PFS_CONTAINER_LZ4 : 0;
	doc->body_len = len ? (uint32_t)len : doc->raw_len;
	if (!len)
		memcpy(p->packed + doc->body_off, data, doc->raw_len);
}

static void *pack_share(void *arg)
{
	struct share *share = arg;

	for (size_t i = share->from; i < share->to; i++)
		pack_doc(share->p, &share->p->docs[i], share->hc);
	return NULL;
}

/* Room for each document's body, whatever it packs to. */
static int place_bodies(struct pfs_publish *p)
{
	uint64_t off = 0;

	for (size_t i = 0; i < p->doc_count; i++) {
		struct publish_doc *doc = &p->docs[i];

		doc->body_off = off;
		off += doc->raw_len > PFS_BLOCK_LEN ? pfs_blocks_bound(doc->raw_len) : doc->raw_len;
	}
	return publish_reserve(&p->packed, &p->packed_cap, off + 1);
}

/* Documents in shares of about as many bytes, one for each thread. */
static unsigned divide(struct pfs_publish *p, struct share *shares)
{
	uint64_t each = pfs_max_u64(SHARE_MIN, p->weight / p->threads + 1), filled = 0;
	unsigned n = 0;

	shares[0] = (struct share){.p = p, .hc = p->hc[0]};
	for (size_t i = 0; i < p->doc_count; i++) {
		if (filled >= each && n + 1 < p->threads) {
			n++;
			shares[n] = (struct share){.p = p, .hc = p->hc[n], .from = i};
			filled = 0;
		}
		filled += p->docs[i].raw_len + (uint64_t)PUBLISH_WEIGHT_MORE;
		shares[n].to = i + 1;
	}
	return n + 1;
}

static int pack_all(struct pfs_publish *p)
{
	struct share shares[PUBLISH_THREADS_MAX];
	unsigned n;
	int err = place_bodies(p);

	if (err)
		return err;
	n = divide(p, shares);
	for (unsigned i = 1; i < n; i++)
		shares[i].running =
			pthread_create(&shares[i].thread, NULL, pack_share, &shares[i]) == 0;
	pack_share(&shares[0]);
	for (unsigned i = 1; i < n; i++) {
		/* Without a thread for it, it is done here. */
		if (shares[i].running)
			pthread_join(shares[i].thread, NULL);
		else
			pack_share(&shares[i]);
	}
	return 0;
}

/* ---- laying out ---- */

struct layout {
	struct pfs_publish *p;
	struct pfs_page_header header;
	uint64_t head, containers; /* bytes */
	uint8_t *bytes;		   /* the object: head, containers, trailer */
};

static void describe(const struct pfs_publish *p, const struct publish_doc *doc,
		     struct pfs_container *c, uint8_t room[8], struct pfs_key *key)
{
	pfs_key_from_bytes(key, doc->kind, doc->key);
	*c = (struct pfs_container){
		.flags = doc->flags | (doc->own_attr ? PFS_CONTAINER_ATTR : 0),
		.raw_len = doc->raw_len,
		.seq = PFS_PUBLISHED_SEQ,
		.mtime_ns = doc->mtime_ns,
		.mode = doc->mode,
		.uid = doc->uid,
		.gid = doc->gid,
		.dict = (doc->flags & PFS_CONTAINER_LZ4) && p->dict ? p->dict_number : 0,
		.content = doc->content,
		.body_len = doc->body_len,
		.tail = pfs_key_tail(key, room),
	};
}

static struct pfs_container_base base_of(const struct layout *l, const struct pfs_key *key)
{
	return (struct pfs_container_base){key->kind, pfs_key_tag(key), l->header.base_seq,
					   l->header.base_mtime};
}

static void measure(struct layout *l)
{
	struct pfs_publish *p = l->p;
	uint64_t size = PFS_PAGE_SIZE_MIN;

	l->header = (struct pfs_page_header){
		.number = PFS_PUBLISHED_PAGE,
		.base_seq = PFS_PUBLISHED_SEQ,
		.base_mtime = p->docs[0].mtime_ns,
		.slot_count = (uint32_t)p->doc_count,
	};
	memcpy(l->header.uuid, p->uuid, sizeof(l->header.uuid));
	l->head = pfs_slot_offset((uint32_t)p->doc_count);
	for (size_t i = 0; i < p->doc_count; i++) {
		struct pfs_container_base base;
		struct pfs_container c;
		struct pfs_key key;
		uint8_t room[8];

		describe(p, &p->docs[i], &c, room, &key);
		base = base_of(l, &key);
		p->docs[i].len = (uint32_t)pfs_container_len(&c, &base, PFS_PUBLISHED_VALUE_MIN);
		l->containers += p->docs[i].len;
	}
	while (size < l->head + l->containers + PFS_PAGE_TRAILER_LEN)
		size *= 2;
	l->header.page_size = size;
	l->header.floor = (uint32_t)(size - PFS_PAGE_TRAILER_LEN - l->containers);
}

static void lay_out_doc(struct layout *l, size_t i, uint64_t off)
{
	const struct publish_doc *doc = &l->p->docs[i];
	uint8_t *out = l->bytes + l->head + off;
	struct pfs_slot slot = {.off = l->header.floor + (uint32_t)off, .len = doc->len};
	struct pfs_container_base base;
	struct pfs_container c;
	struct pfs_key key;
	uint8_t room[8];
	size_t n;

	describe(l->p, doc, &c, room, &key);
	base = base_of(l, &key);
	slot.kind = base.kind;
	slot.tag = base.tag;
	pfs_slot_encode((struct pfs_slot_disk *)(l->bytes + pfs_slot_offset((uint32_t)i)), &slot);
	n = pfs_container_header_encode(out, &c, &base, doc->len);
	memcpy(out + n, l->p->packed + doc->body_off, doc->body_len);
	memset(out + n + doc->body_len, 0, doc->len - n - doc->body_len);
	pfs_container_seal(out, n, doc->body_len, doc->flags, c.seq, &base);
}

static int lay_out(struct layout *l)
{
	struct pfs_page_disk *head, *trailer;
	uint64_t off = 0;

	l->bytes = malloc(l->head + l->containers + PFS_PAGE_TRAILER_LEN);
	if (!l->bytes)
		return -ENOMEM;
	head = (struct pfs_page_disk *)l->bytes;
	trailer = (struct pfs_page_disk *)(l->bytes + l->head + l->containers);
	pfs_page_header_encode(head, &l->header);
	*trailer = *head;
	for (size_t i = 0; i < l->p->doc_count; i++) {
		lay_out_doc(l, i, off);
		off += l->p->docs[i].len;
	}
	return 0;
}

/* ---- keys ---- */

static int add_keys(struct pfs_publish *p)
{
	struct pfs_key_block *block = malloc(sizeof(*block));
	uint8_t *bytes = malloc(PFS_KEY_BLOCK_LEN_MAX);
	uint32_t off = 0;
	int err = block && bytes ? 0 : -ENOMEM;

	for (size_t i = 0; i < p->doc_count && !err;) {
		struct pfs_manifest_block about = {.kind = p->docs[i].kind};
		bool first = i == 0;

		block->kind = about.kind;
		block->first = (uint32_t)i;
		block->count = 0;
		for (; i < p->doc_count && p->docs[i].kind == about.kind &&
		       block->count < PFS_KEY_BLOCK_MAX;
		     i++) {
			const struct publish_doc *doc = &p->docs[i];
			struct pfs_key_entry *e = &block->entries[block->count++];

			*e = (struct pfs_key_entry){.off = off,
						    .len = doc->len,
						    .raw_len = doc->raw_len,
						    .mode = doc->mode,
						    .uid = doc->uid,
						    .gid = doc->gid,
						    .mtime_ns = doc->mtime_ns,
						    .own_attr = doc->own_attr,
						    .plain = doc->plain};
			memcpy(e->key, doc->key, sizeof(e->key));
			off += doc->len;
		}
		about.count = (uint16_t)block->count;
		memcpy(about.key, block->entries[0].key, sizeof(about.key));
		about.len = (uint32_t)pfs_key_block_encode(bytes, block);
		err = publish_add_block(p, &about, bytes, first);
	}
	free(block);
	free(bytes);
	return err;
}

int publish_pack_page(struct pfs_publish *p, const uint8_t digest[PFS_HASH_LEN])
{
	struct layout l = {.p = p};
	struct pfs_manifest_object about = {.role = PFS_OBJECT_PAGE,
					    .count = (uint32_t)p->doc_count};
	int err = pack_all(p);

	if (err)
		return err;
	measure(&l);
	err = lay_out(&l);
	if (!err) {
		memcpy(about.digest, digest, sizeof(about.digest));
		about.head = (uint32_t)l.head;
		about.base_mtime = l.header.base_mtime;
		about.size_log2 = (uint8_t)__builtin_ctzll(l.header.page_size);
		err = publish_object(p, &p->pages, &about, l.bytes,
				     l.head + l.containers + PFS_PAGE_TRAILER_LEN);
	}
	free(l.bytes);
	return err ? err : add_keys(p);
}
