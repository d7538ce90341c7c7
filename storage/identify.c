#include "storage/identify.h"

#include "storage/crc.h"

static bool decode(const struct pfs_identify *by, const struct pfs_slot_disk *disk,
		   struct pfs_slot *slot)
{
	return pfs_slot_decode(slot, disk, PFS_PAGE_HEADER_LEN, by->page_size) == 0 &&
	       (slot->kind != PFS_SLOT_FREE || pfs_is_zero(disk, sizeof(*disk)));
}

static bool spend(struct pfs_identify *by, uint64_t bytes)
{
	if (by->budget < bytes)
		return false;
	by->budget -= bytes;
	return true;
}

/* Decodes what is at hand and verifies it. */
static bool verifies(struct pfs_identify *by, const struct pfs_slot *slot, size_t have,
		     struct pfs_container *c, struct pfs_key *key)
{
	struct pfs_container_base base = {slot->kind, slot->tag, by->base_seq, by->base_mtime};
	bool ok = pfs_container_header_decode(c, by->buf, have, slot->len, &base) == 0 &&
		  ((c->flags & PFS_CONTAINER_BLOCKS) || c->header_len + c->body_len <= have) &&
		  spend(by, have) && pfs_container_verify(c, by->buf, &base) == 0 &&
		  pfs_container_key(key, c, slot->kind, slot->tag) == 0;

	if (!ok)
		key->kind = PFS_KEY_NONE;
	return ok;
}

static size_t container_have(const struct pfs_slot *slot)
{
	return pfs_min_u64(slot->len, PFS_IDENTIFY_ROOM);
}

static bool load(struct pfs_identify *by, const struct pfs_slot *slot)
{
	return by->read(by->arg, slot->off, by->buf, container_have(slot)) == 0;
}

/* The checksum is over the tag, too: of a container that decodes it tells by itself which bit of
 * tag, header, body or checksum is wrong. */
static enum pfs_identity search_sum(struct pfs_identify *by, struct pfs_identified *out)
{
	/* Of what is summed before the flags; of the tag the bits. */
	enum { SEED_LEN = 17, CRC_LEN = 4, TAG_BEGIN = 8, TAG_END = TAG_BEGIN + 64 };
	struct pfs_slot *slot = &out->decoded;
	struct pfs_container_base base = {slot->kind, slot->tag, by->base_seq, by->base_mtime};
	size_t have = container_have(slot), covered;
	struct pfs_container c;
	uint8_t crc[CRC_LEN];
	uint32_t difference;
	uint64_t bit;

	if (pfs_container_header_decode(&c, by->buf, have, slot->len, &base) != 0 ||
	    (!(c.flags & PFS_CONTAINER_BLOCKS) && c.header_len + c.body_len > have) ||
	    !spend(by, have))
		return PFS_IDENTITY_UNKNOWN;
	covered = c.header_len - CRC_LEN + (c.flags & PFS_CONTAINER_BLOCKS ? 0 : c.body_len);
	memcpy(crc, by->buf, sizeof(crc));
	pfs_container_seal(by->buf, c.header_len, c.body_len, c.flags, c.seq, &base);
	difference = pfs_get_le32(by->buf) ^ pfs_get_le32(crc);
	memcpy(by->buf, crc, sizeof(crc));
	if (pfs_is_pow2(difference))
		bit = (unsigned)__builtin_ctz(difference);
	else
		bit = pfs_crc32c_wrong_bit(difference, SEED_LEN + covered);
	if (!pfs_is_pow2(difference) && bit >= TAG_BEGIN && bit < TAG_END) {
		slot->tag ^= UINT64_C(1) << (bit - TAG_BEGIN);
		pfs_put_le64(out->slot.tag.b, slot->tag);
		return pfs_container_key(&out->key, &c, slot->kind, slot->tag) == 0
			       ? PFS_IDENTITY_SLOT
			       : PFS_IDENTITY_UNKNOWN;
	}
	if (!pfs_is_pow2(difference)) {
		if (bit == UINT64_MAX || bit < 8 * SEED_LEN)
			return PFS_IDENTITY_UNKNOWN;
		bit = bit - 8 * SEED_LEN + 8 * CRC_LEN;
	}
	/* To be sure, and because a bit of the header says what it says. */
	by->buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	if (!verifies(by, slot, have, &c, &out->key))
		return PFS_IDENTITY_UNKNOWN;
	out->bit = bit;
	return PFS_IDENTITY_CONTAINER;
}

/* Turns the bits of the slot, one after the other, until a container verifies. Those of the tag are
 * left out: of a slot that is plausible search_sum tells them, and another they don't make so. */
static bool search_slot(struct pfs_identify *by, const struct pfs_slot_disk *disk,
			struct pfs_identified *out)
{
	struct pfs_container c;

	for (size_t i = 8 * sizeof(disk->tag); i < 8 * sizeof(*disk); i++) {
		out->slot = *disk;
		((uint8_t *)&out->slot)[i / 8] ^= (uint8_t)(1u << (i % 8));
		if (decode(by, &out->slot, &out->decoded) && pfs_slot_is_live(&out->decoded) &&
		    load(by, &out->decoded) &&
		    verifies(by, &out->decoded, container_have(&out->decoded), &c, &out->key))
			return true;
	}
	return false;
}

/* The same with the bits of the container's header, which the buffer holds: what they say decides
 * how the rest is read. */
static bool search_header(struct pfs_identify *by, struct pfs_identified *out)
{
	size_t have = container_have(&out->decoded);
	size_t bits = 8 * pfs_min_u64(have, PFS_CONTAINER_HEADER_MAX);

	for (out->bit = 0; out->bit < bits; out->bit++) {
		uint8_t *byte = &by->buf[out->bit / 8], turned = (uint8_t)(1u << (out->bit % 8));
		struct pfs_container c = {0};
		bool found;

		*byte ^= turned;
		found = verifies(by, &out->decoded, have, &c, &out->key);
		*byte ^= turned;
		if (found)
			return true;
		/* Behind the header its sum would have told. */
		if (c.header_len && out->bit / 8 >= c.header_len)
			return false;
	}
	return false;
}

/* Whether one turned bit makes it a slot without document. */
static bool search_none(struct pfs_identify *by, const struct pfs_slot_disk *disk,
			struct pfs_identified *out)
{
	for (size_t i = 0; i < 8 * sizeof(*disk); i++) {
		out->slot = *disk;
		((uint8_t *)&out->slot)[i / 8] ^= (uint8_t)(1u << (i % 8));
		if (decode(by, &out->slot, &out->decoded) && !pfs_slot_is_live(&out->decoded))
			return true;
	}
	return false;
}

/* Begins anew with the slot as it is. */
static bool begin(const struct pfs_identify *by, const struct pfs_slot_disk *slot,
		  struct pfs_identified *out)
{
	*out = (struct pfs_identified){.slot = *slot, .bit = UINT64_MAX};
	return decode(by, slot, &out->decoded);
}

/* The slot is a plausible one of a document. */
static enum pfs_identity identify_live(struct pfs_identify *by, const struct pfs_slot_disk *slot,
				       struct pfs_identified *out)
{
	bool readable = load(by, &out->decoded);
	enum pfs_identity identity = PFS_IDENTITY_UNKNOWN;
	struct pfs_container c;

	if (readable) {
		if (verifies(by, &out->decoded, container_have(&out->decoded), &c, &out->key))
			return PFS_IDENTITY_WHOLE;
		identity = search_sum(by, out);
	}
	if (identity != PFS_IDENTITY_UNKNOWN)
		return identity;
	if (search_slot(by, slot, out))
		return PFS_IDENTITY_SLOT;
	(void)begin(by, slot, out);
	if (!readable)
		return PFS_IDENTITY_UNREADABLE;
	if (load(by, &out->decoded) && search_header(by, out))
		return PFS_IDENTITY_CONTAINER;
	(void)begin(by, slot, out);
	return PFS_IDENTITY_UNKNOWN;
}

bool pfs_identify_slot(struct pfs_identify *by, const struct pfs_slot_disk *slot,
		       struct pfs_identified *out)
{
	if (begin(by, slot, out) && pfs_slot_is_live(&out->decoded) && load(by, &out->decoded) &&
	    search_sum(by, out) == PFS_IDENTITY_SLOT)
		return true;
	return search_slot(by, slot, out);
}

enum pfs_identity pfs_identify(struct pfs_identify *by, const struct pfs_slot_disk *slot,
			       struct pfs_identified *out)
{
	bool plausible = begin(by, slot, out);

	if (plausible && pfs_slot_is_live(&out->decoded))
		return identify_live(by, slot, out);
	if (plausible)
		return PFS_IDENTITY_WHOLE;
	if (search_slot(by, slot, out))
		return PFS_IDENTITY_SLOT;
	if (search_none(by, slot, out))
		return PFS_IDENTITY_NONE;
	(void)begin(by, slot, out);
	return PFS_IDENTITY_UNKNOWN;
}
