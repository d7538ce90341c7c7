/* Checking the saved index against the slots. It counts only after a clean close; otherwise the
 * next opening ignores it. */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/index.h"

#define HEADER_CRC_AT 12
#define NAMED_MAX 1000 /* findings of one kind; the others are only counted */

struct index_check {
	struct pfs_check *check;
	struct pfs_check_reader reader;
	struct pfs_index_disk header;
	uint64_t objects, records, pages, dicts, objects_off, pages_off, dicts_off, crc_off;
	struct lost_page *lost; /* pages that the index has and the store lacks, ascending */
	size_t lost_count;
	uint64_t strays, twice, wrong;
};

struct lost_page {
	uint32_t number;
	uint64_t documents;
};

static void say(struct index_check *x, uint64_t off, const char *text)
{
	pfs_check_say(x->check, true, PFS_INDEX_NAME, off, NULL,
		      "%s; the next opening makes it anew", text);
}

/* Also what was verified may fail to be read again: then it is not compared to its end. */
static bool read_part(struct index_check *x, uint64_t off, size_t len, const uint8_t **bytes)
{
	bool ok = pfs_check_read(&x->reader, off, len, bytes) == 0;

	if (!ok)
		say(x, off, "it can't be read");
	return ok;
}

/* ---- the file ---- */

/* Whether it is to be checked. */
static bool read_header(struct index_check *x)
{
	struct pfs_check *check = x->check;
	const struct pfs_index_disk *disk;
	const uint8_t *bytes;
	uint64_t size, rest;

	if (pfs_check_read(&x->reader, 0, sizeof(*disk), &bytes) != 0) {
		say(x, 0, "it ends in its header or can't be read");
		return false;
	}
	memcpy(&x->header, bytes, sizeof(x->header));
	disk = &x->header;
	if (memcmp(disk->magic, PFS_INDEX_MAGIC, sizeof(disk->magic)) != 0 ||
	    pfs_get_le32(disk->crc.b) !=
		    pfs_crc32c(0, bytes + HEADER_CRC_AT, sizeof(*disk) - HEADER_CRC_AT) ||
	    memcmp(disk->uuid, check->super.uuid, PFS_UUID_LEN) != 0) {
		say(x, 0, "its header does not verify");
		return false;
	}
	if (pfs_get_le64(disk->epoch.b) != check->super.clean_epoch) {
		check->fault.kind = PFS_FAULT_STALE;
		pfs_check_say(check, false, PFS_INDEX_NAME, 16, NULL,
			      "it is older than the last close and not used");
		return false;
	}
	x->objects = pfs_get_le64(disk->objects.b);
	x->pages = pfs_get_le64(disk->pages.b);
	x->dicts = pfs_get_le32(disk->dicts.b);
	if (x->reader.file->ops->size(x->reader.file, &size) != 0 || x->objects > UINT32_MAX ||
	    x->pages > PFS_PAGE_NUMBER_MAX) {
		say(x, 40, "its counts are out of range");
		return false;
	}
	rest = sizeof(*disk) + x->pages * sizeof(struct pfs_index_page_disk) +
	       x->dicts * sizeof(struct pfs_index_dict_disk) + 4;
	if (size >= rest)
		x->records = (size - rest) / sizeof(struct pfs_index_object_disk);
	x->objects_off = sizeof(*disk);
	x->pages_off = x->objects_off + x->records * sizeof(struct pfs_index_object_disk);
	x->dicts_off = x->pages_off + x->pages * sizeof(struct pfs_index_page_disk);
	x->crc_off = x->dicts_off + x->dicts * sizeof(struct pfs_index_dict_disk);
	if (size != x->crc_off + 4 ||
	    (!(pfs_get_le32(disk->flags.b) & PFS_INDEX_RUNS) && x->records != x->objects)) {
		say(x, size, "its length is not what its header says");
		return false;
	}
	return true;
}

static bool verify_body(struct index_check *x)
{
	uint32_t crc = 0;
	const uint8_t *bytes;

	for (uint64_t off = x->objects_off; off < x->crc_off;) {
		size_t len = pfs_min_u64(x->crc_off - off, x->reader.cap);

		if (!read_part(x, off, len, &bytes))
			return false;
		crc = pfs_crc32c(crc, bytes, len);
		off += len;
		pfs_check_advance(x->check, len);
	}
	if (pfs_check_read(&x->reader, x->crc_off, 4, &bytes) != 0 || pfs_get_le32(bytes) != crc) {
		say(x, x->crc_off, "its checksum is wrong");
		return false;
	}
	return true;
}

/* ---- pages ---- */

static int by_number(const void *a, const void *b)
{
	const struct lost_page *x = a, *y = b;

	return pfs_order(x->number, y->number);
}

static struct lost_page *find_lost(struct index_check *x, uint32_t number)
{
	struct lost_page key = {.number = number};

	if (x->lost_count == 0)
		return NULL;
	return bsearch(&key, x->lost, x->lost_count, sizeof(key), by_number);
}

static int check_pages(struct index_check *x)
{
	x->lost = malloc((x->pages + 1) * sizeof(*x->lost));
	if (!x->lost)
		return -ENOMEM;
	for (uint64_t i = 0; i < x->pages; i++) {
		const struct pfs_index_page_disk *disk;
		uint64_t off = x->pages_off + i * sizeof(*disk);
		struct pfs_checked_page *page;
		const uint8_t *bytes;

		if (!read_part(x, off, sizeof(*disk), &bytes))
			break;
		disk = (const struct pfs_index_page_disk *)bytes;
		page = pfs_check_find_page(x->check, pfs_get_le32(disk->page.b));
		if (page) {
			page->in_index = true;
			page->index_slots_crc = pfs_get_le32(disk->slots_crc.b);
			page->index_room = pfs_get_le32(disk->largest.b);
			page->index_free_bytes = pfs_get_le64(disk->free_bytes.b);
			page->index_free_slots = pfs_get_le32(disk->free_slots.b);
		}
		if (!page || page->empty)
			x->lost[x->lost_count++] =
				(struct lost_page){.number = pfs_get_le32(disk->page.b)};
	}
	qsort(x->lost, x->lost_count, sizeof(*x->lost), by_number);
	return 0;
}

/* ---- objects ---- */

static void check_object(struct index_check *x, uint64_t off,
			 const struct pfs_index_object_disk *disk, uint8_t **found)
{
	uint32_t number = pfs_get_le32(disk->page.b), slot = pfs_get_le32(disk->slot.b);
	struct pfs_checked_page *page = pfs_check_find_page(x->check, number);
	struct lost_page *lost = find_lost(x, number);
	uint8_t *bits;
	char where[32];

	if (lost) {
		lost->documents++;
		return;
	}
	if (page && !page->usable)
		return; /* said of the page */
	if (!page || slot >= page->header.slot_count || !pfs_check_bit(page->live, slot)) {
		x->check->result->documents++;
		x->check->result->damaged++;
		if (page)
			page->said = true;
		if (x->strays++ >= NAMED_MAX)
			return;
		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, number);
		x->check->fault.kind = PFS_FAULT_GONE;
		pfs_check_say(x->check, true, where, pfs_slot_offset(slot), NULL,
			      "slot %u: the index has a document here, where there is none", slot);
		return;
	}
	bits = found[page - x->check->pages];
	if (pfs_check_bit(bits, slot)) {
		if (x->twice++ < NAMED_MAX)
			pfs_check_say(x->check, true, PFS_INDEX_NAME, off, NULL,
				      "it has page %u, slot %u twice", number, slot);
		return;
	}
	pfs_check_set_bit(bits, slot);
	if (!pfs_check_bit(page->odd, slot))
		page->index_sum += pfs_check_mark(slot, pfs_get_le32(disk->hash.b));
}

typedef void object_fn(struct index_check *x, uint64_t off,
		       const struct pfs_index_object_disk *disk, uint8_t **found);

/* Each object of a run as if it had an entry of its own. False: it is none. */
static bool each_of_run(struct index_check *x, uint64_t off, uint32_t page, uint32_t slot,
			uint8_t **found, object_fn *fn)
{
	const struct pfs_index_run_disk *run;
	const uint8_t *bytes;
	uint32_t count;
	uint64_t number;

	if (off + sizeof(*run) > x->pages_off ||
	    pfs_check_read(&x->reader, off, sizeof(*run), &bytes) != 0)
		return false;
	run = (const struct pfs_index_run_disk *)bytes;
	count = pfs_get_le32(run->count.b);
	number = pfs_get_le64(run->number.b);
	if (count > PFS_SLOT_NUMBER_MAX || slot > PFS_SLOT_NUMBER_MAX - count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct pfs_index_object_disk disk = {0};

		pfs_put_le32(disk.page.b, page & PFS_PAGE_NUMBER_MAX);
		pfs_put_le32(disk.slot.b, slot + i);
		pfs_put_le32(disk.hash.b, pfs_index_hash(PFS_KEY_NUM, number + i));
		fn(x, off, &disk, found);
	}
	return true;
}

/* Runs fn over all objects. */
static void each_object(struct index_check *x, uint8_t **found, object_fn *fn)
{
	bool runs = pfs_get_le32(x->header.flags.b) & PFS_INDEX_RUNS;

	for (uint64_t i = 0; i < x->records; i++) {
		uint64_t off = x->objects_off + i * sizeof(struct pfs_index_object_disk);
		struct pfs_index_object_disk disk;
		const uint8_t *bytes;
		uint32_t page;

		if (!read_part(x, off, sizeof(disk), &bytes))
			return;
		memcpy(&disk, bytes, sizeof(disk));
		page = pfs_get_le32(disk.page.b);
		if (!runs || !pfs_index_begins_run(page)) {
			fn(x, off, &disk, found);
		} else if (!each_of_run(x, off + sizeof(disk), page, pfs_get_le32(disk.slot.b),
					found, fn)) {
			say(x, off, "a run of entries makes no sense");
			return;
		} else {
			i++;
		}
	}
}

/* The objects that all entries stand for. */
static bool count_objects(struct index_check *x)
{
	bool runs = pfs_get_le32(x->header.flags.b) & PFS_INDEX_RUNS;
	uint64_t count = 0;
	const uint8_t *bytes;

	for (uint64_t i = 0; i < x->records; i++, count++) {
		uint64_t off = x->objects_off + i * sizeof(struct pfs_index_object_disk);

		if (!runs)
			continue;
		if (pfs_check_read(&x->reader, off, 4, &bytes) != 0)
			break;
		if (!pfs_index_begins_run(pfs_get_le32(bytes)))
			continue;
		if (pfs_check_read(&x->reader, off + sizeof(struct pfs_index_object_disk), 4,
				   &bytes) != 0)
			break;
		count += (uint64_t)pfs_get_le32(bytes) - 1;
		i++;
	}
	if (count == x->objects &&
	    count <= x->records + x->pages * (x->check->super.page_size / PFS_SLOT_LEN))
		return true;
	say(x, 40, "it has not as many entries as it says");
	return false;
}

/* ---- what is wrong in a page whose sums differ, or that has slots which the index lacks ---- */

static bool read_slot(struct pfs_check *check, const struct pfs_checked_page *page, uint32_t number,
		      struct pfs_slot *slot, struct pfs_key *key)
{
	struct pfs_slot_disk disk;
	struct pfs_file *file;
	char name[32];
	bool ok;

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, page->number);
	if (check->dir->ops->open(check->dir, name, 0, &file) != 0)
		return false;
	ok = file->ops->read(file, &disk, sizeof(disk), pfs_slot_offset(number)) ==
		     (ssize_t)sizeof(disk) &&
	     pfs_slot_decode(slot, &disk, PFS_PAGE_HEADER_LEN, page->header.page_size) == 0;
	if (ok)
		pfs_check_guess(check, file, &page->header, slot, key);
	file->ops->close(file);
	return ok;
}

static void check_hash(struct index_check *x, uint64_t off,
		       const struct pfs_index_object_disk *disk, uint8_t **found)
{
	uint32_t slot_number = pfs_get_le32(disk->slot.b);
	struct pfs_checked_page *page = pfs_check_find_page(x->check, pfs_get_le32(disk->page.b));
	struct pfs_key key = {.kind = PFS_KEY_NONE};
	struct pfs_slot slot;
	bool ok;

	(void)found;
	if (!page || !page->usable || page->live_sum == page->index_sum ||
	    slot_number >= page->header.slot_count || !pfs_check_bit(page->live, slot_number) ||
	    pfs_check_bit(page->odd, slot_number))
		return;
	ok = read_slot(x->check, page, slot_number, &slot, &key);
	if (ok && pfs_index_hash(slot.kind, slot.tag) == pfs_get_le32(disk->hash.b))
		return;
	if (x->wrong++ < NAMED_MAX)
		pfs_check_say(x->check, true, PFS_INDEX_NAME, off, &key,
			      ok ? "it can't be found: the index has another hash for page %u, "
				   "slot %u"
				 : "the index may have another hash for page %u, slot %u, which "
				   "can't be read",
			      page->number, slot_number);
}

/* Live slots that the index does not have: reading them by their key says that they are not there.
 */
static void name_missing(struct index_check *x, const struct pfs_checked_page *page,
			 const uint8_t *found)
{
	uint64_t missing = 0;
	char where[32];

	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
	for (uint32_t i = 0; i < page->header.slot_count; i++) {
		struct pfs_slot slot;
		struct pfs_key key = {.kind = PFS_KEY_NONE};

		if (!pfs_check_bit(page->live, i) || pfs_check_bit(page->odd, i) ||
		    pfs_check_bit(found, i))
			continue;
		if (missing++ >= NAMED_MAX)
			continue;
		(void)read_slot(x->check, page, i, &slot, &key);
		pfs_check_say(x->check, true, where, pfs_slot_offset(i), &key,
			      "it can't be found: the index lacks it");
	}
	if (missing > NAMED_MAX)
		pfs_check_say(x->check, true, where, PFS_PAGE_HEADER_LEN, NULL,
			      "the index lacks %llu documents of it", (unsigned long long)missing);
}

/* ---- counts ---- */

static void check_count(struct index_check *x, const pfs_le64 *disk, uint64_t counted,
			const char *what)
{
	uint64_t off = (uint64_t)((const uint8_t *)disk - (const uint8_t *)&x->header);

	if (pfs_get_le64(disk->b) != counted)
		pfs_check_say(x->check, true, PFS_INDEX_NAME, off, NULL,
			      "it says %llu %s, there are %llu",
			      (unsigned long long)pfs_get_le64(disk->b), what,
			      (unsigned long long)counted);
}

static void check_counts(struct index_check *x)
{
	const struct pfs_check *check = x->check;

	if (!check->counts_known)
		return;
	check_count(x, &x->header.points, check->points, "points");
	check_count(x, &x->header.scratch, check->scratch, "scratch files");
	check_count(x, &x->header.container_bytes, check->container_bytes, "bytes of containers");
	check_count(x, &x->header.raw_bytes, check->raw_bytes, "bytes of payloads");
}

/* Who names which dictionary: what is said too low could let one be removed that is needed. */
static void check_users(struct index_check *x)
{
	struct pfs_check *check = x->check;

	if (!check->counts_known || !(pfs_get_le32(x->header.flags.b) & PFS_INDEX_USERS_KNOWN))
		return;
	for (uint64_t i = 0; i < x->dicts; i++) {
		const struct pfs_index_dict_disk *disk;
		const struct pfs_checked_dict *dict;
		uint64_t off = x->dicts_off + i * sizeof(*disk), users;
		const uint8_t *bytes;

		if (!read_part(x, off, sizeof(*disk), &bytes))
			return;
		disk = (const struct pfs_index_dict_disk *)bytes;
		users = pfs_get_le64(disk->users.b);
		dict = pfs_check_find_dict(check, pfs_get_le32(disk->number.b));
		if (dict && dict->users != users)
			pfs_check_say(check, true, PFS_INDEX_NAME, off, NULL,
				      "it says that %llu document%s dictionary %u; there are %llu",
				      (unsigned long long)users, users == 1 ? " needs" : "s need",
				      dict->number, (unsigned long long)dict->users);
	}
}

/* ---- the whole ---- */

static void report_lost(struct index_check *x)
{
	for (size_t i = 0; i < x->lost_count; i++) {
		const struct pfs_checked_page *page =
			pfs_check_find_page(x->check, x->lost[i].number);
		char where[32];

		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, x->lost[i].number);
		x->check->counts_known = false;
		x->check->result->documents += x->lost[i].documents;
		x->check->result->damaged += x->lost[i].documents;
		x->check->fault.kind = PFS_FAULT_TOLD;
		pfs_check_say(x->check, true, where, 0, NULL,
			      "%s: it held %llu document%s, which can't be named",
			      page ? "its content is gone" : "it is missing",
			      (unsigned long long)x->lost[i].documents,
			      pfs_plural(x->lost[i].documents));
	}
}

/* Slots that are plausible, and not what they were when the index was saved: the store puts nothing
 * more into such a page. */
static void check_slot_sums(struct index_check *x)
{
	for (size_t i = 0; i < x->check->page_count; i++) {
		const struct pfs_checked_page *page = &x->check->pages[i];
		char where[32];

		if (!page->usable || !page->in_index || page->said ||
		    page->slots_crc == page->index_slots_crc)
			continue;
		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
		pfs_check_say(x->check, true, where, PFS_PAGE_HEADER_LEN, NULL,
			      "its slots are not what the index says: nothing is put into it");
	}
}

/* The longest container that fits into the page together with a slot for it. */
static uint64_t room_in(const struct pfs_checked_page *page)
{
	uint64_t gap = page->header.floor - pfs_slot_offset(page->header.slot_count);

	if (page->free_slots == 0) {
		if (gap < PFS_SLOT_LEN || page->header.slot_count > PFS_SLOT_NUMBER_MAX)
			return 0;
		gap -= PFS_SLOT_LEN;
	}
	return pfs_max_u64(gap, page->longest_hole);
}

static void check_free(struct index_check *x, const struct pfs_checked_page *page, uint64_t says,
		       uint64_t counted, const char *what)
{
	if (says != counted)
		pfs_check_say(x->check, true, PFS_INDEX_NAME, x->pages_off, NULL,
			      "it says %llu %s in page %u, there are %llu",
			      (unsigned long long)says, what, page->number,
			      (unsigned long long)counted);
}

/* What is free in pages that are as they were when the index was saved: what it says too low is not
 * used, what it says too high is tried in vain. */
static void check_spaces(struct index_check *x)
{
	for (size_t i = 0; i < x->check->page_count; i++) {
		const struct pfs_checked_page *page = &x->check->pages[i];

		if (!page->usable || !page->in_index || page->by_copy ||
		    page->slots_crc != page->index_slots_crc)
			continue;
		check_free(x, page, page->index_room, room_in(page), "bytes of room");
		check_free(x, page, page->index_free_bytes, page->free_bytes, "free bytes");
		check_free(x, page, page->index_free_slots, page->free_slots, "free slots");
	}
}

/* It has no document. */
static bool is_bare(const struct pfs_checked_page *page)
{
	return pfs_is_zero(page->live, page->header.slot_count / 8 + 1);
}

static int check_objects(struct index_check *x)
{
	struct pfs_check *check = x->check;
	uint8_t **found = calloc(check->page_count + 1, sizeof(*found));
	int err = found ? 0 : -ENOMEM;

	for (size_t i = 0; i < check->page_count && !err; i++) {
		if (check->pages[i].usable)
			found[i] = calloc(check->pages[i].header.slot_count / 8 + 1, 1);
		if (check->pages[i].usable && !found[i])
			err = -ENOMEM;
	}
	if (!err) {
		each_object(x, found, check_object);
		report_lost(x);
	}
	for (size_t i = 0; i < check->page_count && !err; i++) {
		const struct pfs_checked_page *page = &check->pages[i];
		char where[32];

		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
		if (page->usable && page->in_index)
			name_missing(x, page, found[i]);
		else if (page->usable && !(page->retired && is_bare(page)))
			pfs_check_say(check, true, where, 0, NULL,
				      "the index lacks the page: what it holds is not found");
	}
	if (!err) {
		each_object(x, found, check_hash);
		check_slot_sums(x);
		check_spaces(x);
	}
	for (size_t i = 0; found && i < check->page_count; i++)
		free(found[i]);
	free(found);
	return err;
}

static int check_file(struct index_check *x)
{
	int err;

	if (!read_header(x) || !verify_body(x) || !count_objects(x))
		return 0;
	err = check_pages(x);
	if (!err)
		err = check_objects(x);
	if (!err) {
		check_counts(x);
		check_users(x);
	}
	free(x->lost);
	return err;
}

int pfs_check_index(struct pfs_check *check)
{
	struct index_check x = {.check = check};
	struct pfs_file *file;
	int err;

	if (!check->clean)
		return 0;
	err = check->dir->ops->open(check->dir, PFS_INDEX_NAME, 0, &file);
	if (err == -ENOMEM)
		return err;
	if (err) {
		/* A store that was made and never opened has none. */
		if (err == -ENOENT && !check->super.clean_epoch)
			return 0;
		check->fault.kind = PFS_FAULT_STALE;
		pfs_check_say(check, err != -ENOENT, PFS_INDEX_NAME, 0, NULL,
			      "it can't be opened (%s); the next opening makes it anew",
			      strerror(-err));
		return 0;
	}
	err = pfs_check_reader_new(&x.reader, file);
	if (!err)
		err = check_file(&x);
	pfs_check_reader_free(&x.reader);
	file->ops->close(file);
	return err;
}
