#include "storage/key_table.h"

#include "storage/crc.h"

#define CRC_LEN 4u

/* Flags of an entry, below its raw length. */
#define PLAIN 1u
#define MORE 2u /* a byte of the flags below follows */
#define LEN_SHIFT 2

#define MORE_MTIME 1u
#define MORE_ATTR 2u

#define LEN_MAX (4 * PFS_GIB - 1)

/* ---- keys ---- */

static uint64_t get_be64(const uint8_t *bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | bytes[i];
	return v;
}

static void put_be64(uint8_t *bytes, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (56 - 8 * i));
}

void pfs_key_to_bytes(uint8_t bytes[16], const struct pfs_key *key)
{
	if (key->kind == PFS_KEY_UUID) {
		memcpy(bytes, key->uuid, 16);
		return;
	}
	put_be64(bytes, key->num);
	memset(bytes + 8, 0, 8);
}

void pfs_key_from_bytes(struct pfs_key *key, unsigned kind, const uint8_t bytes[16])
{
	memset(key, 0, sizeof(*key));
	key->kind = (uint8_t)kind;
	if (kind == PFS_KEY_UUID)
		memcpy(key->uuid, bytes, 16);
	else
		key->num = get_be64(bytes);
}

static bool is_key(unsigned kind, const uint8_t bytes[16])
{
	return kind == PFS_KEY_UUID || (kind == PFS_KEY_NUM && pfs_is_zero(bytes + 8, 8));
}

/* ---- encoding ---- */

static size_t encode_entry(uint8_t *out, unsigned kind, const struct pfs_key_entry *e,
			   const struct pfs_key_entry *before)
{
	unsigned more = 0;
	size_t n = 0;

	if (before && kind == PFS_KEY_UUID) {
		memcpy(out, e->key, 16);
		n = 16;
	} else if (before) {
		n = pfs_put_varint(out, get_be64(e->key) - get_be64(before->key) - 1);
	}
	if (before && e->mtime_ns != before->mtime_ns)
		more |= MORE_MTIME;
	if (e->own_attr)
		more |= MORE_ATTR;
	n += pfs_put_varint(out + n, e->len);
	n += pfs_put_varint(out + n, (uint64_t)e->raw_len << LEN_SHIFT | (more ? MORE : 0) |
					     (e->plain ? PLAIN : 0));
	if (!more)
		return n;
	out[n++] = (uint8_t)more;
	if (more & MORE_MTIME)
		n += pfs_put_varint(out + n, pfs_zigzag((int64_t)((uint64_t)e->mtime_ns -
								  (uint64_t)before->mtime_ns)));
	if (more & MORE_ATTR) {
		n += pfs_put_varint(out + n, e->mode);
		n += pfs_put_varint(out + n, e->uid);
		n += pfs_put_varint(out + n, e->gid);
	}
	return n;
}

size_t pfs_key_block_encode(uint8_t *out, const struct pfs_key_block *block)
{
	struct pfs_key_block_disk *head = (struct pfs_key_block_disk *)out;
	size_t n = sizeof(*head);

	memset(head, 0, sizeof(*head));
	pfs_put_le16(head->count.b, (uint16_t)block->count);
	head->kind = block->kind;
	pfs_put_le32(head->first.b, block->first);
	pfs_put_le32(head->off.b, block->entries[0].off);
	pfs_put_le64(head->mtime.b, (uint64_t)block->entries[0].mtime_ns);
	memcpy(head->key, block->entries[0].key, sizeof(head->key));
	for (uint32_t i = 0; i < block->count; i++)
		n += encode_entry(out + n, block->kind, &block->entries[i],
				  i ? &block->entries[i - 1] : NULL);
	pfs_put_le32(head->crc.b, pfs_crc32c(0, out + CRC_LEN, n - CRC_LEN));
	return n;
}

/* ---- decoding ---- */

/* e is all zeros but for its time. */
static void take_key(struct pfs_cursor *c, unsigned kind, struct pfs_key_entry *e,
		     const struct pfs_key_entry *before)
{
	uint64_t last = get_be64(before->key), step;

	if (kind == PFS_KEY_NUM) {
		step = pfs_take_varint(c, UINT64_MAX);
		if (last == UINT64_MAX || step > UINT64_MAX - last - 1)
			c->bad = true;
		put_be64(e->key, last + step + 1);
		return;
	}
	if (c->bad || c->end - c->at < 16) {
		c->bad = true;
		return;
	}
	memcpy(e->key, c->at, 16);
	c->at += 16;
	if (memcmp(before->key, e->key, 16) >= 0)
		c->bad = true;
}

static void take_more(struct pfs_cursor *c, struct pfs_key_entry *e)
{
	unsigned more = c->bad || c->at == c->end ? 0 : *c->at++;

	if (more == 0 || (more & ~(MORE_MTIME | MORE_ATTR))) {
		c->bad = true;
		return;
	}
	if (more & MORE_MTIME)
		e->mtime_ns = (int64_t)((uint64_t)e->mtime_ns +
					(uint64_t)pfs_unzigzag(pfs_take_varint(c, UINT64_MAX)));
	e->own_attr = more & MORE_ATTR;
	if (e->own_attr) {
		e->mode = (uint32_t)pfs_take_varint(c, 07777);
		e->uid = (uint32_t)pfs_take_varint(c, UINT32_MAX);
		e->gid = (uint32_t)pfs_take_varint(c, UINT32_MAX);
	}
}

static void take_entry(struct pfs_cursor *c, struct pfs_key_block *block, uint32_t i)
{
	struct pfs_key_entry *e = &block->entries[i];
	const struct pfs_key_entry *before = i ? e - 1 : NULL;
	uint64_t word;

	if (before) {
		*e = (struct pfs_key_entry){.mtime_ns = before->mtime_ns};
		take_key(c, block->kind, e, before);
		if (before->len > LEN_MAX - before->off)
			c->bad = true;
		e->off = before->off + before->len;
	}
	e->len = (uint32_t)pfs_take_varint(c, LEN_MAX);
	word = pfs_take_varint(c, PFS_GIB << LEN_SHIFT | MORE | PLAIN);
	e->raw_len = (uint32_t)(word >> LEN_SHIFT);
	e->plain = word & PLAIN;
	if (word & MORE)
		take_more(c, e);
	if (e->len == 0)
		c->bad = true;
}

int pfs_key_block_decode(struct pfs_key_block *block, const uint8_t *bytes, size_t len)
{
	const struct pfs_key_block_disk *head = (const struct pfs_key_block_disk *)bytes;
	struct pfs_cursor c = {bytes + sizeof(*head), bytes + len, false};
	struct pfs_key_entry *first = &block->entries[0];

	block->count = 0;
	if (len < sizeof(*head) || len > PFS_KEY_BLOCK_LEN_MAX ||
	    pfs_get_le32(head->crc.b) != pfs_crc32c(0, bytes + CRC_LEN, len - CRC_LEN))
		return -EUCLEAN;
	block->kind = head->kind;
	block->first = pfs_get_le32(head->first.b);
	*first = (struct pfs_key_entry){.off = pfs_get_le32(head->off.b),
					.mtime_ns = (int64_t)pfs_get_le64(head->mtime.b)};
	memcpy(first->key, head->key, sizeof(first->key));
	block->count = pfs_get_le16(head->count.b);
	if (head->zero != 0 || block->count == 0 || block->count > PFS_KEY_BLOCK_MAX ||
	    !is_key(block->kind, first->key) || block->first > PFS_SLOT_NUMBER_MAX)
		return -EUCLEAN;
	for (uint32_t i = 0; i < block->count && !c.bad; i++)
		take_entry(&c, block, i);
	return c.bad || c.at != c.end ? -EUCLEAN : 0;
}
