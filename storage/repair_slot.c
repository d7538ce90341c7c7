/* What is to be done about one slot: is its document to be had again, or is it kept aside? */
#include "storage/identify.h"
#include "storage/repair.h"

#define IDENTIFY_BUDGET (16 * PFS_MIB) /* bytes that are summed in the search for a wrong bit */

/* ---- reading ---- */

struct source {
	struct pfs_repair *repair;
	struct pfs_file *file;
	const struct pfs_checked_page *page;
};

static int read_slot(const struct source *s, uint32_t number, struct pfs_slot_disk *disk)
{
	ssize_t n = s->file->ops->read(s->file, disk, sizeof(*disk), pfs_slot_offset(number));

	return n < 0 ? (int)n : n == (ssize_t)sizeof(*disk) ? 0 : -EIO;
}

static int read_page(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct source *s = arg;

	return s->file->ops->read(s->file, buf, len, off) == (ssize_t)len ? 0 : -EIO;
}

static bool decode(const struct source *s, const struct pfs_slot_disk *disk, struct pfs_slot *slot)
{
	const struct pfs_page_header *header = &s->page->header;

	return pfs_slot_decode(slot, disk, pfs_slot_offset(header->slot_count),
			       header->page_size - PFS_PAGE_TRAILER_LEN) == 0 &&
	       pfs_slot_is_live(slot);
}

static bool verifies(const struct source *s, const struct pfs_slot *slot,
		     struct pfs_check_value *value)
{
	return pfs_check_header(&s->repair->check, s->file, &s->page->header, slot, value);
}

/* ---- other containers ---- */

/* Whether the container of another live slot, which verifies, lies in [off, off + len). */
static bool is_taken(const struct source *s, uint32_t but, uint64_t off, uint64_t len)
{
	for (uint32_t i = 0; i < s->page->header.slot_count; i++) {
		struct pfs_check_value value;
		struct pfs_slot_disk disk;
		struct pfs_slot slot;

		if (i != but && read_slot(s, i, &disk) == 0 && decode(s, &disk, &slot) &&
		    slot.off < off + len && off < slot.off + slot.len && verifies(s, &slot, &value))
			return true;
	}
	return false;
}

/* ---- one wrong bit ---- */

/* The slot as it would be with one bit turned, if a container then verifies that no other slot has.
 *
 * A turned bit of the offset may also lead to what is left of an older version of the same
 * document, whose newest is damaged where the slot rightly says. So the place that the slot says
 * must be one where its container can't be: outside of the containers' part of the page, in another
 * one, or partly where the bytes of this one are. */
static bool try_bit(const struct source *s, uint32_t number, const struct pfs_slot_disk *disk,
		    unsigned bit, struct pfs_slot_disk *out, struct pfs_check_value *value)
{
	const struct pfs_page_header *header = &s->page->header;
	struct pfs_slot before, after;

	*out = *disk;
	((uint8_t *)out)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	if (!decode(s, out, &after) || !verifies(s, &after, value) ||
	    is_taken(s, number, after.off, value->c.header_len + value->c.body_len))
		return false;
	if (!decode(s, disk, &before) || before.off == after.off)
		return true;
	/* What is there would have been written over by the container that the slot seems to say.
	 */
	if (before.off < after.off + value->c.header_len + value->c.body_len &&
	    after.off < before.off + before.len)
		return true;
	return (s->repair->check.clean && before.off < header->floor) ||
	       is_taken(s, number, before.off, before.len);
}

/* A container's length is not in its checksum: where it has slack, any length may verify. What is
 * sure is what it needs. */
static void trim(const struct source *s, struct pfs_slot_disk *disk,
		 const struct pfs_check_value *value)
{
	uint64_t need = value->c.header_len + value->c.body_len;
	struct pfs_slot slot;

	if (!decode(s, disk, &slot) || slot.len == need)
		return;
	need = pfs_max_u64(need, s->repair->super.min_value_size);
	slot.len = pfs_min_u64(slot.len, pfs_slot_len_round(need));
	pfs_slot_encode(disk, &slot);
}

static bool mend(const struct source *s, uint32_t number, const struct pfs_slot_disk *disk,
		 struct pfs_repair_item *item)
{
	struct pfs_check_value value;

	/* Bits of tag, length and kind first: they leave no choice of containers. */
	for (unsigned i = 0; i < 8 * sizeof(*disk); i++) {
		unsigned bit = i < 64 ? i : i < 96 ? i + 32 : i - 32;

		if (!try_bit(s, number, disk, bit, &item->bytes, &value))
			continue;
		trim(s, &item->bytes, &value);
		item->finding.key = value.key;
		item->deed = PFS_DEED_WRITE;
		item->corrected = value.key.kind != PFS_KEY_TEMP;
		return true;
	}
	return false;
}

/* ---- keeping ---- */

static int keep(const struct source *s, const struct pfs_slot_disk *disk, uint32_t number,
		const struct pfs_key *key, const char *reason)
{
	const struct pfs_page_header *header = &s->page->header;
	struct pfs_kept kept = {
		.key = key,
		.reason = reason,
		.slot = disk,
		.slot_number = number,
		.base_seq = header->base_seq,
		.base_mtime = header->base_mtime,
		.off = pfs_slot_offset(number),
		.len = sizeof(*disk),
	};
	struct pfs_slot slot;
	char where[32];

	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, s->page->number);
	kept.where = where;
	if (decode(s, disk, &slot)) {
		kept.off = slot.off;
		kept.len = slot.len;
	}
	return pfs_repair_keep(s->repair, &kept, s->file);
}

int pfs_repair_keep_slot(struct pfs_repair *repair, struct pfs_file *file,
			 const struct pfs_checked_page *page, uint32_t number,
			 const struct pfs_key *key, const char *reason)
{
	struct source s = {repair, file, page};
	struct pfs_slot_disk disk;
	int err = read_slot(&s, number, &disk);

	return err ? err : keep(&s, &disk, number, key, reason);
}

/* ---- deciding ---- */

static void make_tombstone(struct pfs_repair *repair, struct pfs_slot_disk *disk)
{
	struct pfs_slot slot = {
		.kind = PFS_SLOT_TOMBSTONE,
		.tag = pfs_get_le64(disk->tag.b),
		.seq = repair->super.sequence,
	};

	pfs_slot_encode(disk, &slot);
}

static int drop(const struct source *s, const struct pfs_slot_disk *disk,
		struct pfs_repair_item *item)
{
	const struct pfs_key *key = &item->finding.key;
	struct pfs_slot slot;
	bool temporary = decode(s, disk, &slot) && slot.kind == PFS_KEY_TEMP &&
			 item->fault.kind != PFS_FAULT_SLOT;

	item->deed = PFS_DEED_DROP;
	item->lost = item->fault.kind != PFS_FAULT_DUPLICATE && !temporary;
	item->bytes = *disk;
	make_tombstone(s->repair, &item->bytes);
	return keep(s, disk, item->fault.slot, key, item->finding.text);
}

/* What one bit makes a tombstone or an unused slot: of a document that a bit took its kind from,
 * the offset and length give a sequence that no store has seen. */
static bool held_nothing(const struct source *s, const struct pfs_identified *is)
{
	uint64_t newest = pfs_max_u64(s->repair->super.sequence, s->repair->check.seq_max);

	return is->decoded.kind == PFS_SLOT_FREE || is->decoded.seq <= newest;
}

/* Whether nothing is wrong with it: a device may fail to read what it reads at the next try. */
static bool is_whole_now(const struct source *s, const struct pfs_slot_disk *disk,
			 const struct pfs_repair_item *item)
{
	struct pfs_check *check = &s->repair->check;
	struct pfs_check_reader reader;
	struct pfs_check_value value;
	struct pfs_slot slot;
	bool whole;

	if (!decode(s, disk, &slot) || (check->clean && slot.off < s->page->header.floor))
		return false;
	if (item->fault.kind == PFS_FAULT_SLOT)
		return true; /* the next round looks at its container */
	if (pfs_check_reader_new(&reader, s->file) != 0)
		return false;
	whole = pfs_check_container(check, &reader, &s->page->header, &slot, &value) == 0;
	pfs_check_reader_free(&reader);
	return whole;
}

static int plan_damaged(const struct source *s, const struct pfs_slot_disk *disk,
			struct pfs_repair_item *item)
{
	struct pfs_identify by = {
		.read = read_page,
		.arg = (void *)s,
		.page_size = s->page->header.page_size,
		.base_seq = s->page->header.base_seq,
		.base_mtime = s->page->header.base_mtime,
		.buf = s->repair->check.probe,
		.budget = IDENTIFY_BUDGET,
	};
	struct pfs_identified is;
	enum pfs_identity identity;
	struct pfs_slot slot;

	if (is_whole_now(s, disk, item)) {
		item->deed = PFS_DEED_NONE;
		return 0;
	}
	identity = pfs_identify(&by, disk, &is);
	if (is.key.kind != PFS_KEY_NONE)
		item->finding.key = is.key;
	/* The page's floor is too high, which the next opening puts right. */
	if (identity == PFS_IDENTITY_WHOLE && item->fault.kind == PFS_FAULT_SLOT &&
	    decode(s, disk, &slot)) {
		item->deed = PFS_DEED_NONE;
		item->corrected = true;
		return 0;
	}
	if (identity == PFS_IDENTITY_NONE && held_nothing(s, &is)) {
		item->deed = PFS_DEED_CLEAR;
		item->bytes = is.slot;
		return keep(s, disk, item->fault.slot, NULL, item->finding.text);
	}
	/* Twice, lest a read that failed once decides it. */
	for (unsigned i = 0;
	     i < 2 && identity != PFS_IDENTITY_CONTAINER && identity != PFS_IDENTITY_WHOLE; i++) {
		if (mend(s, item->fault.slot, disk, item))
			return 0;
	}
	return drop(s, disk, item);
}

/* The length is what a container of the store takes at least, or at most what it needs. */
static int plan_length(const struct source *s, const struct pfs_slot_disk *disk,
		       struct pfs_repair_item *item)
{
	uint32_t number = item->fault.slot;
	struct pfs_check_value value;
	struct pfs_slot slot;
	uint64_t len;

	item->deed = PFS_DEED_NONE;
	/* It did: a device may fail to read what it reads at the next try. */
	if (!decode(s, disk, &slot) || !verifies(s, &slot, &value))
		return 0;
	len = pfs_slot_len_round(pfs_max_u64(value.c.header_len + value.c.body_len,
					     s->repair->super.min_value_size));
	/* What has no slack is as long as its slot says. */
	if (!(value.c.flags & PFS_CONTAINER_SLACK) || len == slot.len ||
	    slot.off + len > s->page->header.page_size - PFS_PAGE_TRAILER_LEN ||
	    is_taken(s, number, slot.off, len)) {
		struct pfs_super *super = &s->repair->super;

		super->min_value_size = (uint32_t)pfs_max_u64(
			PFS_MIN_VALUE_MIN, pfs_min_u64(super->min_value_size, slot.len));
		return 0;
	}
	slot.len = len;
	item->bytes = *disk;
	pfs_slot_encode(&item->bytes, &slot);
	item->deed = PFS_DEED_WRITE;
	return 0;
}

/* Of two containers that overlap, one may say to be longer than it is. */
static int plan_overlap(const struct source *s, struct pfs_repair_item *item)
{
	uint32_t slots[] = {(uint32_t)item->fault.off, item->fault.slot};
	struct pfs_slot_disk disk;
	int err = 0;

	for (size_t i = 0; i < pfs_array_len(slots); i++) {
		struct pfs_check_value value;
		struct pfs_slot slot;

		err = read_slot(s, slots[i], &disk);
		if (err)
			return err;
		if (!decode(s, &disk, &slot) || !verifies(s, &slot, &value))
			continue;
		item->bytes = disk;
		trim(s, &item->bytes, &value);
		item->fault.slot = slots[i];
		item->deed = PFS_DEED_WRITE;
		if (memcmp(&item->bytes, &disk, sizeof(disk)) != 0)
			return 0;
	}
	item->fault.slot = slots[1];
	return drop(s, &disk, item);
}

int pfs_repair_plan_slot(struct pfs_repair *repair, struct pfs_file *file,
			 const struct pfs_checked_page *page, struct pfs_repair_item *item)
{
	struct source s = {repair, file, page};
	struct pfs_slot_disk disk;
	int err = read_slot(&s, item->fault.slot, &disk);

	if (err)
		return err;
	switch (item->fault.kind) {
	case PFS_FAULT_SLOT:
	case PFS_FAULT_VALUE: return plan_damaged(&s, &disk, item);
	case PFS_FAULT_TOMBSTONE:
		item->deed = PFS_DEED_CLEAR;
		item->bytes = disk;
		make_tombstone(repair, &item->bytes);
		return 0;
	case PFS_FAULT_SMALL: return plan_length(&s, &disk, item);
	case PFS_FAULT_OVERLAP: return plan_overlap(&s, item);
	default: return drop(&s, &disk, item);
	}
}
