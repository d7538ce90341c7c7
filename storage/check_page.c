/* Checking one page file: header and its copy, slots, containers. */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/index.h"

#define UNUSED_RUN \
	256 /* never-used slots in a row, behind which a page without header is not searched */

/* A live slot, to be taken in the order of containers. */
struct live {
	struct pfs_slot slot;
	uint32_t number;
};

struct paging {
	struct pfs_check *check;
	struct pfs_checked_page *page;
	struct pfs_file *file;
	char name[32];
	struct pfs_check_reader reader;
	struct live *live;
	size_t count, cap;
	uint64_t end; /* of the containers so far */
	uint32_t end_slot;
	uint64_t advanced;
};

static void progress_to(struct paging *p, uint64_t off)
{
	if (off <= p->advanced)
		return;
	pfs_check_advance(p->check, off - p->advanced);
	p->advanced = off;
}

static bool is_excused(const struct pfs_check *check, unsigned kind, uint64_t tag)
{
	return !check->clean && pfs_check_set_has(&check->named, pfs_check_hash(kind, tag));
}

/* The next finding is about this page. */
static struct pfs_fault *fault(struct paging *p, enum pfs_fault_kind kind, uint32_t slot)
{
	p->page->said = true;
	p->check->fault = (struct pfs_fault){.kind = kind, .number = p->page->number, .slot = slot};
	return &p->check->fault;
}

/* ---- header ---- */

struct headers {
	struct pfs_page_disk disk;
	struct pfs_page_header front, back;
	const char *front_why, *back_why;
	bool front_zero, back_zero, front_ok, back_ok;
};

static void read_headers(struct paging *p, struct headers *h)
{
	struct pfs_page_disk back = {0};
	uint64_t size = p->page->file_size;
	const uint8_t *uuid = p->check->super.uuid;
	ssize_t n;

	*h = (struct headers){.front_why = "header can't be read", .back_why = "can't be read"};
	n = p->file->ops->read(p->file, &h->disk, sizeof(h->disk), 0);
	h->front_zero =
		n >= 0; /* what the file lacks is zeros; what can't be read may be anything */
	if (n == (ssize_t)sizeof(h->disk)) {
		h->front_zero = pfs_is_zero(&h->disk, sizeof(h->disk));
		h->front_ok = pfs_page_header_decode(&h->front, &h->disk, uuid, &h->front_why) == 0;
	}
	h->back_zero = size < PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN;
	if (!h->back_zero &&
	    p->file->ops->read(p->file, &back, sizeof(back), size - PFS_PAGE_TRAILER_LEN) ==
		    (ssize_t)sizeof(back)) {
		h->back_zero = pfs_is_zero(&back, sizeof(back));
		h->back_ok = pfs_page_header_decode(&h->back, &back, uuid, &h->back_why) == 0;
		if (h->back_ok && h->back.page_size != size) {
			h->back_ok = false;
			h->back_why = "it is another page's";
		}
	}
}

static bool same_page(const struct pfs_page_header *a, const struct pfs_page_header *b)
{
	return a->number == b->number && a->page_size == b->page_size &&
	       a->generation == b->generation && a->base_seq == b->base_seq &&
	       a->base_mtime == b->base_mtime;
}

/* How many slots a page without header has: up to the last one whose container verifies, or that
 * can't be read. *unread: something can't, so that there may be documents that are not seen. */
static uint32_t count_slots(struct paging *p, const struct pfs_page_header *header, bool *unread)
{
	uint64_t floor = header->page_size - PFS_PAGE_TRAILER_LEN, claimed = floor;
	uint32_t count = 0;

	for (uint32_t i = 0; i <= PFS_SLOT_NUMBER_MAX && pfs_slot_offset(i + 1) <= floor; i++) {
		struct pfs_check_value value;
		const uint8_t *bytes;
		struct pfs_slot slot;

		if (pfs_check_read(&p->reader, pfs_slot_offset(i), PFS_SLOT_LEN, &bytes) != 0) {
			*unread = true;
			/* The others of its sector can't be read either. */
			while (pfs_slot_offset(i + 1) % PFS_IO_SECTOR)
				i++;
			if (pfs_slot_offset(i + 1) <= claimed)
				count = i + 1;
			continue;
		}
		if (pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes,
				    pfs_slot_offset(i + 1), floor) != 0 ||
		    !pfs_slot_is_live(&slot))
			continue;
		if (!pfs_check_header(p->check, p->file, header, &slot, &value)) {
			*unread = *unread || value.unread;
			claimed = value.unread ? pfs_min_u64(claimed, slot.off) : claimed;
			continue;
		}
		count = i + 1;
		claimed = pfs_min_u64(claimed, slot.off);
		floor = pfs_min_u64(floor, slot.off);
	}
	return count;
}

/* The header is damaged, its copy is not. */
static void use_copy(struct paging *p, struct headers *h)
{
	struct pfs_page_header *header = &p->page->header;
	bool unread = false;

	*header = h->back;
	header->slot_count = count_slots(p, header, &unread);
	header->floor = (uint32_t)pfs_slot_offset(header->slot_count);
	p->page->usable = p->page->by_copy = true;
	/* It was being made when the power went: nothing was written to it before both were synced.
	 */
	if (h->front_zero && !p->check->clean && header->slot_count == 0 && !unread)
		return;
	fault(p, PFS_FAULT_HEADER, 0);
	pfs_check_say(p->check, true, p->name, 0, NULL, "%s; opened by the copy at its end",
		      h->front_why);
	/* Slots behind the last that verifies are not found. */
	p->check->counts_known = false;
}

static void check_copy(struct paging *p, const struct headers *h)
{
	uint64_t at = p->page->file_size - PFS_PAGE_TRAILER_LEN;

	if (p->page->file_size != h->front.page_size) {
		fault(p, PFS_FAULT_LENGTH, 0)->off = h->front.page_size;
		if (p->page->file_size < h->front.page_size)
			pfs_check_say(p->check, true, p->name, p->page->file_size, NULL,
				      "the file ends early: %llu byte%s missing",
				      (unsigned long long)(h->front.page_size - p->page->file_size),
				      h->front.page_size - p->page->file_size == 1 ? " is"
										   : "s are");
		else
			pfs_check_say(p->check, false, p->name, h->front.page_size, NULL,
				      "the file is longer than the page");
	} else if (!h->back_ok) {
		if (!p->check->clean && h->back_zero)
			return;
		fault(p, PFS_FAULT_TRAILER, 0);
		pfs_check_say(p->check, true, p->name, at, NULL, "copy of the header: %s",
			      h->back_why);
	} else if (!same_page(&h->front, &h->back)) {
		fault(p, PFS_FAULT_TRAILER, 0);
		pfs_check_say(p->check, true, p->name, at, NULL,
			      "copy of the header: it is another page's");
	}
}

/* Whether the page's making was cut off before it was counted: nothing was put into it. */
static bool is_unmade(const struct paging *p, const struct headers *h)
{
	if (p->page->number <= p->check->super.pages.highest)
		return false;
	return (h->front_zero && h->back_zero) ||
	       (h->front_ok && p->page->file_size < h->front.page_size);
}

/* Sets usable, empty and header. */
static void check_header(struct paging *p)
{
	struct pfs_checked_page *page = p->page;
	struct headers h;

	read_headers(p, &h);
	if (is_unmade(p, &h)) {
		page->empty = true;
		if (!p->check->clean)
			return;
		fault(p, PFS_FAULT_STALE, 0);
		pfs_check_say(p->check, false, p->name, 0, NULL, "it holds nothing");
		return;
	}
	if (!h.front_ok && h.back_ok) {
		use_copy(p, &h);
	} else if (h.front_ok) {
		page->header = h.front;
		page->usable = true;
		check_copy(p, &h);
	} else {
		page->foreign = strcmp(h.front_why, PFS_PAGE_FOREIGN) == 0;
		fault(p, page->foreign ? PFS_FAULT_FOREIGN : PFS_FAULT_UNUSABLE, 0);
		pfs_check_say(p->check, true, p->name, 0, NULL, "%s; what it holds can't be read",
			      h.front_why);
		return;
	}
	if (page->header.number != page->number) {
		fault(p, PFS_FAULT_NUMBER, 0)->off = page->header.number;
		pfs_check_say(p->check, true, p->name, 8, NULL,
			      "it says it is page %u; what it holds can't be read",
			      page->header.number);
		page->usable = false;
	}
}

/* ---- slots ---- */

static void blame(struct paging *p, uint64_t off, const struct pfs_key *key, const char *text)
{
	p->check->result->damaged++;
	pfs_check_say(p->check, true, p->name, off, key, "%s", text);
}

/* A slot that is no valid one: maybe its document can be named all the same. */
static void damaged_slot(struct paging *p, uint32_t number, const struct pfs_slot_disk *disk)
{
	struct pfs_slot_disk copy = *disk;
	struct pfs_key key = {.kind = PFS_KEY_NONE};

	pfs_check_set_bit(p->page->live, number);
	pfs_check_set_bit(p->page->odd, number);
	p->check->counts_known = false;
	(void)pfs_check_identify(p->check, p->file, &p->page->header, &copy, &key);
	fault(p, PFS_FAULT_SLOT, number);
	blame(p, pfs_slot_offset(number), &key, "its slot is damaged");
}

static int add_live(struct paging *p, const struct pfs_slot *slot, uint32_t number)
{
	size_t cap = p->cap ? 2 * p->cap : 256;
	struct live *grown;

	if (p->count == p->cap) {
		grown = realloc(p->live, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		p->live = grown;
		p->cap = cap;
	}
	p->live[p->count++] = (struct live){*slot, number};
	return 0;
}

static int check_slot(struct paging *p, uint32_t number, const struct pfs_slot_disk *disk)
{
	struct pfs_check *check = p->check;
	const struct pfs_page_header *header = &p->page->header;
	/* After an unclean end the header can be older than the slots. */
	uint64_t floor = check->clean ? header->floor : pfs_slot_offset(header->slot_count);
	struct pfs_slot slot;

	if (pfs_slot_decode(&slot, disk, floor, header->page_size - PFS_PAGE_TRAILER_LEN) != 0 ||
	    (slot.kind == PFS_SLOT_FREE && !pfs_is_zero(disk, sizeof(*disk)))) {
		damaged_slot(p, number, disk);
		return 0;
	}
	if (slot.kind == PFS_SLOT_TOMBSTONE && check->clean && slot.seq > check->super.sequence) {
		fault(p, PFS_FAULT_TOMBSTONE, number);
		pfs_check_say(check, true, p->name, pfs_slot_offset(number), NULL,
			      "slot %u: a tombstone newer than the last change", number);
	}
	if (slot.kind == PFS_SLOT_TOMBSTONE)
		check->tombstone_max = pfs_max_u64(check->tombstone_max, slot.seq);
	if (!pfs_slot_is_live(&slot)) {
		p->page->free_slots++;
		return 0;
	}
	pfs_check_set_bit(p->page->live, number);
	return add_live(p, &slot, number);
}

static int check_slots(struct paging *p)
{
	struct pfs_checked_page *page = p->page;
	uint32_t count = page->header.slot_count, crc = 0;
	int err = 0;

	page->live = calloc(count / 8 + 1, 1);
	page->odd = calloc(count / 8 + 1, 1);
	if (!page->live || !page->odd)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !err; i++) {
		const uint8_t *bytes;

		if (pfs_check_read(&p->reader, pfs_slot_offset(i), PFS_SLOT_LEN, &bytes) != 0) {
			p->check->counts_known = false;
			fault(p, PFS_FAULT_UNREADABLE, i)->len = count - i;
			pfs_check_say(p->check, true, p->name, pfs_slot_offset(i), NULL,
				      "slots %u to %u can't be read", i, count - 1);
			for (; i < count; i++) {
				pfs_check_set_bit(page->live, i);
				pfs_check_set_bit(page->odd, i);
			}
			break;
		}
		/* Up to the last that was ever used (FORMAT.md, "index"). */
		crc = pfs_crc32c(crc, bytes, PFS_SLOT_LEN);
		if (!pfs_is_zero(bytes, PFS_SLOT_LEN))
			page->slots_crc = crc;
		err = check_slot(p, i, (const struct pfs_slot_disk *)bytes);
	}
	progress_to(p, pfs_slot_offset(count));
	return err;
}

/* ---- containers ---- */

static int by_offset(const void *a, const void *b)
{
	const struct live *x = a, *y = b;
	int order = pfs_order(x->slot.off, y->slot.off);

	return order ? order : pfs_order(x->number, y->number);
}

/* Whether what the journal has makes good for a damaged version under that key: none is needed, or
 * another one verifies. Where the document has been moved from there, that it is replaced under its
 * old key says nothing. */
static bool is_made_good(const struct pfs_check *check, uint64_t hash)
{
	bool moved = false;

	if (pfs_check_set_has(&check->sound, hash))
		return true;
	for (size_t i = 0; i < check->moved_count; i++) {
		if (check->moved[i].from != hash)
			continue;
		if (pfs_check_set_has(&check->renewed, check->moved[i].to))
			return true;
		moved = true;
	}
	return !moved &&
	       (pfs_check_set_has(&check->whole, hash) || pfs_check_set_has(&check->renewed, hash));
}

static void blame_suspect(struct pfs_check *check, const struct pfs_suspect *s)
{
	char name[32];

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, s->fault.number);
	if (is_made_good(check, s->hash)) {
		pfs_check_say(check, false, name, s->fault.off, &s->key,
			      "a change of it was not finished; the next opening does it again "
			      "from the journal");
		return;
	}
	check->fault = s->fault;
	check->result->damaged++;
	pfs_check_say(check, true, name, s->fault.off, &s->key,
		      "it does not verify, and the journal has only changes of it");
}

void pfs_check_suspects(struct pfs_check *check)
{
	for (size_t i = 0; i < check->suspect_count; i++)
		blame_suspect(check, &check->suspects[i]);
	check->suspect_count = 0;
}

static void suspect(struct pfs_check *check, uint64_t hash, const struct pfs_key *key)
{
	struct pfs_suspect s = {hash, check->fault, *key};
	size_t cap = check->suspect_cap ? 2 * check->suspect_cap : 64;
	struct pfs_suspect *grown;

	check->fault = (struct pfs_fault){.kind = PFS_FAULT_NONE};
	if (check->suspect_count == check->suspect_cap) {
		grown = realloc(check->suspects, cap * sizeof(*grown));
		if (!grown) {
			blame_suspect(check, &s);
			return;
		}
		check->suspects = grown;
		check->suspect_cap = cap;
	}
	check->suspects[check->suspect_count++] = s;
}

/* Whether it is the slot that is damaged, and another's: its own with another length may be a
 * container that was written over in place, before its slot was. */
static bool is_anothers(const struct live *live, enum pfs_identity identity,
			const struct pfs_key *key)
{
	return identity == PFS_IDENTITY_SLOT &&
	       (key->kind != live->slot.kind || pfs_key_tag(key) != live->slot.tag);
}

/* The container is not what the slot says. */
static void damaged_value(struct paging *p, const struct live *live,
			  const struct pfs_check_value *value)
{
	struct pfs_check *check = p->check;
	struct pfs_key key = value->key;
	enum pfs_identity identity = PFS_IDENTITY_WHOLE;
	struct pfs_slot_disk disk;
	char text[160];

	if (value->bad_blocks)
		snprintf(text, sizeof(text),
			 "%llu of its %llu blocks do not verify, the first at byte %llu of it",
			 (unsigned long long)value->bad_blocks, (unsigned long long)value->blocks,
			 (unsigned long long)(value->first_bad * PFS_BLOCK_LEN));
	else
		snprintf(text, sizeof(text), "%s", value->why);
	pfs_check_set_bit(p->page->odd, live->number);
	if (!value->verified)
		check->counts_known = false;
	pfs_slot_encode(&disk, &live->slot);
	if (!value->verified)
		identity = pfs_check_identify(check, p->file, &p->page->header, &disk, &key);
	if (key.kind == PFS_KEY_NONE)
		pfs_check_guess(check, p->file, &p->page->header, &live->slot, &key);
	fault(p, PFS_FAULT_VALUE, live->number)->off = live->slot.off;
	check->fault.len = live->slot.len;
	/* Blocks may be being written over in place: the header comes last. What was renamed can be
	 * written over under its new name, before its slot says that. */
	if ((!value->verified || value->bad_blocks) &&
	    is_excused(check, live->slot.kind, live->slot.tag) &&
	    (!is_anothers(live, identity, &key) ||
	     (check->identified_seq >= check->window &&
	      is_excused(check, key.kind, pfs_key_tag(&key))))) {
		suspect(check, pfs_check_hash(live->slot.kind, live->slot.tag), &key);
		return;
	}
	if (live->slot.kind == PFS_KEY_TEMP)
		pfs_check_say(check, false, p->name, live->slot.off, NULL,
			      "a document without a name is damaged (%s)", text);
	else
		blame(p, live->slot.off, &key, text);
}

static void count_value(struct paging *p, const struct live *live,
			const struct pfs_check_value *value)
{
	struct pfs_check *check = p->check;
	const struct pfs_slot *slot = &live->slot;

	if (slot->kind == PFS_KEY_TEMP)
		return;
	if (slot->kind == PFS_KEY_SCRATCH)
		check->scratch++;
	else
		check->points++;
	check->container_bytes += slot->len;
	check->raw_bytes += value->verified ? value->c.raw_len : 0;
}

static int remember_key(struct pfs_check *check, const struct pfs_slot *slot)
{
	uint64_t hash = pfs_check_hash(slot->kind, slot->tag);
	int fresh = pfs_check_set_add(&check->seen, hash);

	if (fresh == 0)
		return pfs_check_set_add(&check->twice, hash) < 0 ? -ENOMEM : 0;
	if (fresh == 1 && slot->kind != PFS_KEY_TEMP)
		check->result->documents++;
	return fresh < 0 ? fresh : 0;
}

static int check_value(struct paging *p, const struct live *live, struct pfs_key *key)
{
	struct pfs_check *check = p->check;
	struct pfs_check_value value;
	int err = pfs_check_container(check, &p->reader, &p->page->header, &live->slot, &value);

	if (err == -ENOMEM)
		return err;
	*key = value.key;
	if (!err && is_excused(check, live->slot.kind, live->slot.tag) &&
	    pfs_check_set_add(value.c.seq < check->window ? &check->sound : &check->renewed,
			      pfs_check_hash(live->slot.kind, live->slot.tag)) < 0)
		return -ENOMEM;
	count_value(p, live, &value);
	if (err)
		damaged_value(p, live, &value);
	else
		check->result->bytes += value.c.raw_len;
	if (!pfs_check_bit(p->page->odd, live->number))
		p->page->live_sum += pfs_check_mark(
			live->number, pfs_index_hash(live->slot.kind, live->slot.tag));
	if (value.verified) {
		struct pfs_checked_dict *dict = pfs_check_find_dict(check, value.c.dict);

		if (dict)
			dict->users++;
		check->seq_max = pfs_max_u64(check->seq_max, value.c.seq);
		check->content_max = pfs_max_u64(check->content_max, value.c.content);
		if (!check->container_min || live->slot.len < check->container_min)
			check->container_min = live->slot.len;
	}
	if (value.verified && check->clean && value.c.seq > check->super.sequence) {
		fault(p, PFS_FAULT_SEQUENCE, live->number);
		pfs_check_say(check, true, p->name, live->slot.off, key,
			      "it is newer (sequence %llu) than the last change of the store",
			      (unsigned long long)value.c.seq);
	}
	/* Of one that does not verify, the slot may say another length than it should. */
	if (value.verified && live->slot.len < check->super.min_value_size) {
		fault(p, PFS_FAULT_SMALL, live->number);
		pfs_check_say(check, false, p->name, live->slot.off, key,
			      "its container is smaller than the store's smallest");
	}
	return remember_key(check, &live->slot);
}

/* P2, of containers that verify: what the slot of another says of its place may be wrong. */
static void check_overlap(struct paging *p, const struct live *live, const struct pfs_key *key)
{
	uint64_t end = live->slot.off + live->slot.len;

	if (live->slot.off < p->end) {
		fault(p, PFS_FAULT_OVERLAP, live->number)->off = p->end_slot;
		pfs_check_say(p->check, true, p->name, live->slot.off, key,
			      "its container overlaps that of slot %u by %llu byte%s", p->end_slot,
			      (unsigned long long)(pfs_min_u64(p->end, end) - live->slot.off),
			      pfs_plural(pfs_min_u64(p->end, end) - live->slot.off));
	}
	if (end > p->end) {
		p->end = end;
		p->end_slot = live->number;
	}
}

static void count_free(struct pfs_checked_page *page, uint64_t from, uint64_t to)
{
	if (to <= from)
		return;
	page->free_bytes += to - from;
	page->longest_hole = pfs_max_u64(page->longest_hole, to - from);
}

/* What is free between the containers, which are sorted. */
static void count_holes(struct paging *p)
{
	uint64_t at = p->page->header.floor;

	for (size_t i = 0; i < p->count; i++) {
		const struct pfs_slot *slot = &p->live[i].slot;

		count_free(p->page, at, slot->off);
		at = pfs_max_u64(at, slot->off + slot->len);
	}
	count_free(p->page, at, p->page->header.page_size - PFS_PAGE_TRAILER_LEN);
}

static int check_values(struct paging *p)
{
	int err = 0;

	if (p->count)
		qsort(p->live, p->count, sizeof(*p->live), by_offset);
	count_holes(p);
	for (size_t i = 0; i < p->count && !err; i++) {
		const struct live *live = &p->live[i];
		struct pfs_key key;

		err = check_value(p, live, &key);
		if (!err && !pfs_check_bit(p->page->odd, live->number))
			check_overlap(p, live, &key);
		progress_to(p, live->slot.off);
	}
	return err;
}

/* ---- pages that can't be used ---- */

/* Names what a page held that has neither header nor copy: slots say the numbers, containers the
 * other keys. */
static void name_lost(struct paging *p)
{
	struct pfs_page_header any = {.base_seq = PFS_SEQ_MAX / 2};
	uint64_t floor = p->page->file_size;
	unsigned unused = 0;

	any.page_size = p->page->file_size;
	p->check->counts_known = false;
	for (uint32_t i = 0; i <= PFS_SLOT_NUMBER_MAX && pfs_slot_offset(i + 1) <= floor; i++) {
		struct pfs_check_value value;
		struct pfs_key key;
		const uint8_t *bytes;
		struct pfs_slot slot;

		if (unused == UNUSED_RUN ||
		    pfs_check_read(&p->reader, pfs_slot_offset(i), PFS_SLOT_LEN, &bytes) != 0)
			return;
		unused = pfs_is_zero(bytes, PFS_SLOT_LEN) ? unused + 1 : 0;
		if (pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes,
				    pfs_slot_offset(i + 1), floor) != 0 ||
		    !pfs_slot_is_live(&slot) || slot.kind == PFS_KEY_TEMP)
			continue;
		/* What a container's header looks like does not depend on the page; its checksum
		 * does. */
		(void)pfs_check_header(p->check, p->file, &any, &slot, &value);
		if (!value.decoded)
			continue;
		floor = pfs_min_u64(floor, slot.off);
		pfs_check_guess(p->check, p->file, &any, &slot, &key);
		p->check->result->documents++;
		fault(p, PFS_FAULT_GONE, i);
		blame(p, pfs_slot_offset(i), &key, "its page can't be used");
	}
}

/* ---- the whole ---- */

static int check_open_page(struct paging *p)
{
	int err = p->file->ops->size(p->file, &p->page->file_size);

	if (!err)
		err = pfs_check_reader_new(&p->reader, p->file);
	if (err)
		return err;
	check_header(p);
	if (p->page->empty)
		return 0;
	if (!p->page->usable) {
		if (!p->page->foreign)
			name_lost(p);
		return 0;
	}
	err = check_slots(p);
	return err ? err : check_values(p);
}

int pfs_check_page(struct pfs_check *check, struct pfs_checked_page *page)
{
	struct paging p = {.check = check, .page = page};
	uint64_t expected = page->file_size;
	int err;

	snprintf(p.name, sizeof(p.name), PFS_PAGE_NAME_FMT, page->number);
	err = check->dir->ops->open(check->dir, p.name, 0, &p.file);
	if (err && err != -ENOMEM) {
		check->counts_known = false;
		fault(&p, PFS_FAULT_UNUSABLE, 0);
		pfs_check_say(check, true, p.name, 0, NULL, "can't be opened: %s", strerror(-err));
		return 0;
	}
	if (!err) {
		err = check_open_page(&p);
		p.file->ops->close(p.file);
	}
	progress_to(&p, expected);
	pfs_check_reader_free(&p.reader);
	free(p.live);
	return err;
}
