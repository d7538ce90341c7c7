#include "storage/page.h"

#include "storage/crc.h"

#define CRC_AT 8 /* header bytes before this are not part of its checksum */

static uint64_t le64(const pfs_le64 *v)
{
	return pfs_get_le64(v->b);
}

static uint32_t le32(const pfs_le32 *v)
{
	return pfs_get_le32(v->b);
}

void pfs_page_header_encode(struct pfs_page_disk *disk, const struct pfs_page_header *header)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, PFS_PAGE_MAGIC, sizeof(disk->magic));
	pfs_put_le32(disk->number.b, header->number);
	disk->size_log2 = (uint8_t)__builtin_ctzll(header->page_size);
	pfs_put_le64(disk->generation.b, header->generation);
	pfs_put_le64(disk->base_seq.b, header->base_seq);
	pfs_put_le64(disk->base_mtime.b, (uint64_t)header->base_mtime);
	memcpy(disk->uuid, header->uuid, PFS_UUID_LEN);
	pfs_put_le32(disk->slot_count.b, header->slot_count);
	pfs_put_le32(disk->floor.b, header->floor);
	pfs_put_le32(disk->crc.b,
		     pfs_crc32c(0, (const uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT));
}

int pfs_page_header_decode(struct pfs_page_header *header, const struct pfs_page_disk *disk,
			   const uint8_t uuid[PFS_UUID_LEN], const char **why)
{
	struct pfs_page_header h = {0};

	*why = "not a page (magic)";
	if (memcmp(disk->magic, PFS_PAGE_MAGIC, sizeof(disk->magic)) != 0)
		return -EUCLEAN;
	*why = "header checksum";
	if (le32(&disk->crc) !=
	    pfs_crc32c(0, (const uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT))
		return -EUCLEAN;
	h.number = le32(&disk->number);
	h.page_size = UINT64_C(1) << (disk->size_log2 & 63);
	h.generation = le64(&disk->generation);
	h.base_seq = le64(&disk->base_seq);
	h.base_mtime = (int64_t)le64(&disk->base_mtime);
	memcpy(h.uuid, disk->uuid, PFS_UUID_LEN);
	h.slot_count = le32(&disk->slot_count);
	h.floor = le32(&disk->floor);
	*why = PFS_PAGE_FOREIGN;
	if (memcmp(h.uuid, uuid, PFS_UUID_LEN) != 0)
		return -EUCLEAN;
	*why = "unknown page flags";
	if (pfs_get_le16(disk->flags.b) != 0 || disk->zero != 0)
		return -EUCLEAN;
	*why = "page size";
	if (disk->size_log2 > 31 || h.page_size < 4 * PFS_KIB)
		return -EUCLEAN;
	*why = "page number or base sequence out of range";
	if (h.number == 0 || h.number > PFS_PAGE_NUMBER_MAX || h.base_seq > PFS_SEQ_MAX)
		return -EUCLEAN;
	*why = "slots and containers overlap";
	if (h.slot_count > PFS_SLOT_NUMBER_MAX + 1u ||
	    h.floor > h.page_size - PFS_PAGE_TRAILER_LEN || pfs_slot_offset(h.slot_count) > h.floor)
		return -EUCLEAN;
	*why = "";
	*header = h;
	return 0;
}

uint64_t pfs_slot_len_round(uint64_t len)
{
	return len > PFS_SLOT_LEN_MASK ? pfs_round_up(len, PFS_SLOT_UNIT) : len;
}

void pfs_slot_encode(struct pfs_slot_disk *disk, const struct pfs_slot *slot)
{
	uint32_t word = slot->kind << PFS_SLOT_KIND_SHIFT;
	uint32_t low = slot->off;

	if (slot->kind == PFS_SLOT_TOMBSTONE) {
		low = (uint32_t)slot->seq;
		word |= (uint32_t)(slot->seq >> 32) & ((1u << PFS_SLOT_KIND_SHIFT) - 1);
	} else if (slot->len > PFS_SLOT_LEN_MASK) {
		word |= PFS_SLOT_UNIT_BIT | (uint32_t)(slot->len / PFS_SLOT_UNIT);
	} else {
		word |= (uint32_t)slot->len;
	}
	pfs_put_le64(disk->tag.b, slot->tag);
	pfs_put_le32(disk->low.b, low);
	pfs_put_le32(disk->word.b, word);
}

int pfs_slot_decode(struct pfs_slot *slot, const struct pfs_slot_disk *disk, uint64_t floor,
		    uint64_t page_size)
{
	uint32_t word = le32(&disk->word);
	struct pfs_slot s = {.kind = word >> PFS_SLOT_KIND_SHIFT, .tag = le64(&disk->tag)};

	if (s.kind == PFS_SLOT_FREE) {
		*slot = s;
		return 0;
	}
	if (s.kind == PFS_SLOT_TOMBSTONE) {
		s.seq = (uint64_t)(word & ((1u << PFS_SLOT_KIND_SHIFT) - 1)) << 32 |
			le32(&disk->low);
		*slot = s;
		return 0;
	}
	if (!pfs_slot_is_live(&s))
		return -EUCLEAN;
	s.off = le32(&disk->low);
	s.len = word & PFS_SLOT_LEN_MASK;
	if (word & PFS_SLOT_UNIT_BIT)
		s.len *= PFS_SLOT_UNIT;
	if (s.off < floor || s.len == 0 || s.off > page_size || s.len > page_size - s.off)
		return -EUCLEAN;
	*slot = s;
	return 0;
}

struct pfs_tail pfs_key_tail(const struct pfs_key *key, uint8_t room[8])
{
	struct pfs_tail tail = {NULL, 0};

	if (key->kind == PFS_KEY_UUID) {
		memcpy(room, key->uuid + 8, 8);
		tail = (struct pfs_tail){room, 8};
	} else if (key->kind == PFS_KEY_SCRATCH) {
		tail = (struct pfs_tail){(const uint8_t *)key->name, key->name_len};
	}
	return tail;
}

void pfs_key_from_tail(struct pfs_key *key, unsigned kind, uint64_t tag,
		       const struct pfs_tail *tail)
{
	memset(key, 0, sizeof(*key));
	key->kind = (uint8_t)kind;
	if (kind == PFS_KEY_UUID) {
		pfs_put_le64(key->uuid, tag ^ pfs_mix64(pfs_get_le64(tail->bytes)));
		memcpy(key->uuid + 8, tail->bytes, 8);
	} else if (kind == PFS_KEY_SCRATCH) {
		key->name_len = (uint8_t)tail->len;
		memcpy(key->name, tail->bytes, tail->len);
	} else {
		key->num = tag;
	}
}

size_t pfs_container_header_bound(const struct pfs_container *c, unsigned kind)
{
	size_t n =
		5 + 4 * PFS_VARINT_MAX; /* CRC, flags, raw length, sequence, mtime, body length */

	if (c->flags & PFS_CONTAINER_ATTR)
		n += 3 * 5;
	if (c->dict)
		n += 5;
	if (c->flags & PFS_CONTAINER_BLOCKS)
		n += PFS_VARINT_MAX;
	if (kind == PFS_KEY_UUID)
		n += 8;
	else if (kind == PFS_KEY_SCRATCH)
		n += 2 + c->tail.len;
	return n;
}

/* Everything up to the place where the body length stands, and from there on, are put by different
 * calls: whether the length is needed depends on how long the rest is. */
static size_t encode_fixed(uint8_t *out, const struct pfs_container *c,
			   const struct pfs_container_base *base)
{
	size_t n = 5;

	n += pfs_put_varint(out + n, c->raw_len);
	if (c->seq != base->base_seq)
		n += pfs_put_varint(out + n, pfs_zigzag((int64_t)(c->seq - base->base_seq)));
	if (c->mtime_ns != base->base_mtime)
		n += pfs_put_varint(out + n, pfs_zigzag((int64_t)((uint64_t)c->mtime_ns -
								  (uint64_t)base->base_mtime)));
	if (c->flags & PFS_CONTAINER_ATTR) {
		n += pfs_put_varint(out + n, c->mode);
		n += pfs_put_varint(out + n, c->uid);
		n += pfs_put_varint(out + n, c->gid);
	}
	if (c->dict)
		n += pfs_put_varint(out + n, c->dict);
	return n;
}

static size_t encode_rest(uint8_t *out, const struct pfs_container *c, unsigned kind)
{
	size_t n = 0;

	if (c->flags & PFS_CONTAINER_BLOCKS)
		n += pfs_put_varint(out, c->content);
	if (kind == PFS_KEY_SCRATCH)
		n += pfs_put_varint(out + n, c->tail.len);
	if (c->tail.len)
		memcpy(out + n, c->tail.bytes, c->tail.len);
	return n + c->tail.len;
}

uint64_t pfs_container_len(const struct pfs_container *c, const struct pfs_container_base *base,
			   uint64_t min)
{
	uint8_t scratch[PFS_CONTAINER_HEADER_MAX];
	uint64_t exact =
		encode_fixed(scratch, c, base) + encode_rest(scratch, c, base->kind) + c->body_len;
	uint64_t len = pfs_slot_len_round(pfs_max_u64(exact, min));
	uint64_t with_slack = exact + pfs_put_varint(scratch, c->body_len);

	/* A container that is not exact also says its body's length: it must have room for that. */
	if (len != exact && len < with_slack)
		len = pfs_slot_len_round(with_slack);
	return len;
}

/* A varint of at least `width` bytes: a header whose length is known before the length that it will
 * say. */
static size_t put_varint_wide(uint8_t *out, uint64_t v, unsigned width)
{
	size_t n = pfs_put_varint(out, v);

	while (n < width) {
		out[n - 1] |= 0x80;
		out[n++] = 0;
	}
	return n;
}

size_t pfs_container_header_encode(uint8_t *out, const struct pfs_container *c,
				   const struct pfs_container_base *base, uint64_t container_len)
{
	unsigned flags = c->flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR |
				     PFS_CONTAINER_LOST);
	uint8_t rest[PFS_VARINT_MAX + 2 + PFS_NAME_MAX];
	size_t rest_len = encode_rest(rest, c, base->kind);
	size_t n = encode_fixed(out, c, base);

	if (c->seq != base->base_seq)
		flags |= PFS_CONTAINER_SEQ;
	if (c->mtime_ns != base->base_mtime)
		flags |= PFS_CONTAINER_MTIME;
	if (c->dict)
		flags |= PFS_CONTAINER_DICT;
	if (c->len_width || n + rest_len + c->body_len != container_len) {
		flags |= PFS_CONTAINER_SLACK;
		n += put_varint_wide(out + n, c->body_len, c->len_width);
	}
	memcpy(out + n, rest, rest_len);
	out[4] = (uint8_t)flags;
	return n + rest_len;
}

static uint32_t container_crc(const uint8_t *bytes, size_t header_len, uint64_t body_len,
			      unsigned flags, uint64_t seq, const struct pfs_container_base *base)
{
	uint8_t seed[17];
	uint64_t covered = header_len;

	if (!(flags & PFS_CONTAINER_BLOCKS))
		covered += body_len;
	seed[0] = (uint8_t)base->kind;
	pfs_put_le64(seed + 1, base->tag);
	pfs_put_le64(seed + 9, seq);
	return pfs_crc32c(pfs_crc32c(0, seed, sizeof(seed)), bytes + 4, covered - 4);
}

void pfs_container_seal(uint8_t *container, size_t header_len, uint64_t body_len, unsigned flags,
			uint64_t seq, const struct pfs_container_base *base)
{
	pfs_put_le32(container, container_crc(container, header_len, body_len, flags, seq, base));
}

static void take_tail(struct pfs_cursor *c, struct pfs_tail *tail, unsigned kind)
{
	*tail = (struct pfs_tail){NULL, 0};
	if (kind == PFS_KEY_UUID)
		tail->len = 8;
	else if (kind == PFS_KEY_SCRATCH)
		tail->len = pfs_take_varint(c, PFS_NAME_MAX);
	else
		return;
	if (c->bad || tail->len == 0 || tail->len > (size_t)(c->end - c->at)) {
		c->bad = true;
		return;
	}
	tail->bytes = c->at;
	c->at += tail->len;
}

int pfs_container_header_decode(struct pfs_container *c, const uint8_t *bytes, size_t len,
				uint64_t container_len, const struct pfs_container_base *base)
{
	struct pfs_cursor at = {bytes + 5, bytes + pfs_min_u64(len, container_len), false};
	struct pfs_container out = {0};

	if (len < 5 || container_len < 5)
		return -EUCLEAN;
	out.crc = pfs_get_le32(bytes);
	out.flags = bytes[4];
	if ((out.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS)) ==
	    (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS))
		return -EUCLEAN;
	out.raw_len = pfs_take_varint(&at, PFS_GIB);
	out.seq = base->base_seq;
	if (out.flags & PFS_CONTAINER_SEQ)
		out.seq += (uint64_t)pfs_unzigzag(pfs_take_varint(&at, UINT64_MAX));
	out.mtime_ns = base->base_mtime;
	if (out.flags & PFS_CONTAINER_MTIME)
		out.mtime_ns = (int64_t)((uint64_t)out.mtime_ns +
					 (uint64_t)pfs_unzigzag(pfs_take_varint(&at, UINT64_MAX)));
	if (out.flags & PFS_CONTAINER_ATTR) {
		out.mode = (uint32_t)pfs_take_varint(&at, 07777);
		out.uid = (uint32_t)pfs_take_varint(&at, UINT32_MAX);
		out.gid = (uint32_t)pfs_take_varint(&at, UINT32_MAX);
	}
	if (out.flags & PFS_CONTAINER_DICT)
		out.dict = (uint32_t)pfs_take_varint(&at, UINT32_MAX);
	if (out.flags & PFS_CONTAINER_SLACK)
		out.body_len = pfs_take_varint(&at, container_len);
	if (out.flags & PFS_CONTAINER_BLOCKS)
		out.content = pfs_take_varint(&at, UINT64_MAX);
	take_tail(&at, &out.tail, base->kind);
	if (at.bad)
		return -EUCLEAN;
	out.header_len = (size_t)(at.at - bytes);
	if (!(out.flags & PFS_CONTAINER_SLACK))
		out.body_len = container_len - out.header_len;
	if (out.body_len > container_len - out.header_len || out.seq > PFS_SEQ_MAX)
		return -EUCLEAN;
	if (out.flags & PFS_CONTAINER_LOST) {
		if (out.body_len != 0)
			return -EUCLEAN;
	} else if (out.flags & PFS_CONTAINER_BLOCKS) {
		if (out.raw_len <= PFS_BLOCK_LEN ||
		    out.body_len < pfs_block_count(out.raw_len) * PFS_BLOCK_ENTRY_LEN)
			return -EUCLEAN;
	} else if (out.raw_len > PFS_BLOCK_LEN ||
		   (!(out.flags & PFS_CONTAINER_LZ4) && out.raw_len != out.body_len)) {
		return -EUCLEAN;
	}
	*c = out;
	return 0;
}

int pfs_container_verify(const struct pfs_container *c, const uint8_t *bytes,
			 const struct pfs_container_base *base)
{
	return container_crc(bytes, c->header_len, c->body_len, c->flags, c->seq, base) == c->crc
		       ? 0
		       : -EUCLEAN;
}

int pfs_container_key(struct pfs_key *key, const struct pfs_container *c, unsigned kind,
		      uint64_t tag)
{
	struct pfs_key parsed;

	memset(key, 0, sizeof(*key));
	if (kind == PFS_KEY_NUM || kind == PFS_KEY_TEMP || kind == PFS_KEY_UUID) {
		pfs_key_from_tail(key, kind, tag, &c->tail);
		return 0;
	}
	if (pfs_key_parse(&parsed, (const char *)c->tail.bytes, c->tail.len) != 0 ||
	    parsed.kind != PFS_KEY_SCRATCH || pfs_key_tag(&parsed) != tag)
		return -EUCLEAN;
	*key = parsed;
	return 0;
}

uint32_t pfs_block_crc(uint64_t content, uint32_t i, uint32_t end, const void *stored, size_t len)
{
	uint8_t seed[16];

	pfs_put_le64(seed, content);
	pfs_put_le32(seed + 8, i);
	pfs_put_le32(seed + 12, end);
	return pfs_crc32c(pfs_crc32c(0, seed, sizeof(seed)), stored, len);
}

uint64_t pfs_blocks_bound(uint64_t raw_len)
{
	return pfs_block_count(raw_len) * PFS_BLOCK_ENTRY_LEN + raw_len;
}
