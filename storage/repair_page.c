/* Putting page files right: headers, lengths, slots, names. */
#include "storage/repair.h"

/* ---- which items ---- */

static bool is_about_page(enum pfs_fault_kind kind)
{
	switch (kind) {
	case PFS_FAULT_FOREIGN:
	case PFS_FAULT_UNUSABLE:
	case PFS_FAULT_NUMBER:
	case PFS_FAULT_HEADER:
	case PFS_FAULT_TRAILER:
	case PFS_FAULT_LENGTH:
	case PFS_FAULT_UNREADABLE: return true;
	default: return false;
	}
}

/* It is renamed, or set aside as it is: it may be that it can't even be opened. */
static bool is_about_file(enum pfs_fault_kind kind)
{
	return kind == PFS_FAULT_UNUSABLE || kind == PFS_FAULT_FOREIGN || kind == PFS_FAULT_NUMBER;
}

static bool is_about_slot(enum pfs_fault_kind kind)
{
	switch (kind) {
	case PFS_FAULT_SLOT:
	case PFS_FAULT_VALUE:
	case PFS_FAULT_TOMBSTONE:
	case PFS_FAULT_SMALL:
	case PFS_FAULT_OVERLAP:
	case PFS_FAULT_DUPLICATE: return true;
	default: return false;
	}
}

bool pfs_repair_is_about_page(enum pfs_fault_kind kind)
{
	return is_about_page(kind) || is_about_slot(kind);
}

struct opened {
	struct pfs_file *file;
	uint32_t number;
	bool dirty;
};

static int close_page(struct opened *opened)
{
	int err = 0;

	if (!opened->file)
		return 0;
	if (opened->dirty)
		err = opened->file->ops->sync(opened->file);
	opened->file->ops->close(opened->file);
	*opened = (struct opened){0};
	return err;
}

/* The file of the page, which stays open for the items that follow. */
static int open_page(struct pfs_repair *repair, struct opened *opened, uint32_t number,
		     unsigned flags)
{
	char name[32];
	int err;

	if (opened->file && opened->number == number)
		return 0;
	err = close_page(opened);
	if (err)
		return err;
	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, number);
	err = repair->dir->ops->open(repair->dir, name, flags, &opened->file);
	if (err)
		opened->file = NULL;
	opened->number = number;
	return err;
}

/* ---- headers ---- */

/* Whether one turned bit makes it a header of this page. */
static bool mend_header(struct pfs_repair *repair, const struct pfs_checked_page *page,
			const struct pfs_page_disk *disk, struct pfs_page_header *header)
{
	struct pfs_page_disk copy = *disk;
	uint8_t *bytes = (uint8_t *)&copy;

	for (size_t i = 0; i < 8 * sizeof(copy); i++) {
		const char *why;
		bool ok;

		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
		ok = pfs_page_header_decode(header, &copy, repair->super.uuid, &why) == 0 &&
		     header->number == page->number;
		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
		if (ok)
			return true;
	}
	return false;
}

static int read_header(struct pfs_file *file, uint64_t off, struct pfs_page_disk *disk)
{
	ssize_t n = file->ops->read(file, disk, sizeof(*disk), off);

	return n == (ssize_t)sizeof(*disk) ? 0 : n < 0 ? (int)n : -EIO;
}

static int write_header(struct pfs_file *file, const struct pfs_page_header *header, uint64_t off)
{
	struct pfs_page_disk disk;

	pfs_page_header_encode(&disk, header);
	return file->ops->write(file, &disk, sizeof(disk), off);
}

/* Slots of a page whose header is lost: all up to the last that verifies, or whose container
 * can't be read, and what follows on it and may be one; and those behind it that can't be read, of
 * which the next round says whether they can be then. Between slots and containers are zeros (O5).
 */
static int count_slots(struct pfs_repair *repair, struct pfs_file *file,
		       struct pfs_page_header *header)
{
	uint64_t floor = header->page_size - PFS_PAGE_TRAILER_LEN, claimed = floor;
	struct pfs_check_reader reader;
	bool follows = false;
	int err = pfs_check_reader_new(&reader, file);

	header->slot_count = 0;
	for (uint32_t i = 0; !err && i <= PFS_SLOT_NUMBER_MAX && pfs_slot_offset(i + 1) <= floor;
	     i++) {
		struct pfs_check_value value;
		const uint8_t *bytes;
		struct pfs_slot slot;

		if (pfs_check_read(&reader, pfs_slot_offset(i), PFS_SLOT_LEN, &bytes) != 0) {
			if (pfs_slot_offset(i + 1) <= claimed)
				header->slot_count = i + 1;
			continue;
		}
		if (pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes,
				    pfs_slot_offset(i + 1), floor) == 0 &&
		    pfs_slot_is_live(&slot) &&
		    (pfs_check_header(&repair->check, file, header, &slot, &value) ||
		     value.unread)) {
			floor = value.unread ? floor : pfs_min_u64(floor, slot.off);
			claimed = pfs_min_u64(claimed, slot.off);
			follows = true;
		} else if (pfs_is_zero(bytes, PFS_SLOT_LEN)) {
			follows = false;
		}
		if (follows)
			header->slot_count = i + 1;
	}
	header->floor = (uint32_t)floor;
	pfs_check_reader_free(&reader);
	return err;
}

/* The front header, from its own bytes with a bit turned or from the copy and the slots. *mended:
 * it is exactly what it was. */
static int find_front(struct pfs_repair *repair, struct pfs_file *file,
		      const struct pfs_checked_page *page, struct pfs_page_header *header,
		      bool *mended)
{
	const struct pfs_page_header *copy = &page->header;
	struct pfs_page_disk disk;

	*mended = read_header(file, 0, &disk) == 0 && mend_header(repair, page, &disk, header) &&
		  header->page_size == copy->page_size && header->base_seq == copy->base_seq &&
		  header->base_mtime == copy->base_mtime;
	if (*mended)
		return 0;
	*header = *copy;
	return count_slots(repair, file, header);
}

static int make_front(struct pfs_repair *repair, struct pfs_file *file,
		      const struct pfs_checked_page *page)
{
	struct pfs_page_header header;
	bool mended;
	int err = find_front(repair, file, page, &header, &mended);

	return err ? err : write_header(file, &header, 0);
}

/* Whether there is anything in the page behind its header. */
static int holds_bytes(struct pfs_file *file, uint64_t end, bool *any)
{
	struct pfs_check_reader reader;
	int err = pfs_check_reader_new(&reader, file);

	*any = false;
	for (uint64_t off = PFS_PAGE_HEADER_LEN; off < end && !err && !*any;
	     off += PFS_CHECK_WINDOW) {
		size_t len = pfs_min_u64(end - off, PFS_CHECK_WINDOW);
		const uint8_t *bytes;

		*any = pfs_check_read(&reader, off, len, &bytes) != 0 || !pfs_is_zero(bytes, len);
	}
	pfs_check_reader_free(&reader);
	return err;
}

/* A header that is gone may have taken slots with it: those in its sector are then zero. A page of
 * which no slot is left is set aside as it is. */
static int plan_front(struct pfs_repair *repair, struct pfs_file *file,
		      const struct pfs_checked_page *page, struct pfs_repair_item *item)
{
	struct pfs_page_header header;
	bool mended, any = false;
	int err = find_front(repair, file, page, &header, &mended);

	if (err || mended)
		return err;
	if (header.slot_count == 0) {
		err = holds_bytes(file, header.page_size - PFS_PAGE_TRAILER_LEN, &any);
		item->lost = !repair->check.clean;
	}
	if (any) {
		item->fault.kind = PFS_FAULT_UNUSABLE;
		item->deed = PFS_DEED_ASIDE;
	}
	/* After a clean close the index has said so. */
	for (uint32_t i = 0; i < header.slot_count && pfs_slot_offset(i) < PFS_IO_SECTOR && !err;
	     i++) {
		struct pfs_slot_disk disk;

		if (repair->check.clean)
			break;
		if (file->ops->read(file, &disk, sizeof(disk), pfs_slot_offset(i)) !=
			    (ssize_t)sizeof(disk) ||
		    pfs_is_zero(&disk, sizeof(disk)))
			item->lost = true;
	}
	return err;
}

/* ---- lengths, slots that can't be read ---- */

static uint64_t file_size(struct pfs_file *file)
{
	uint64_t size = 0;

	return file->ops->size(file, &size) == 0 ? size : 0;
}

/* What lies behind the page, if it is something. */
static int keep_surplus(struct pfs_repair *repair, struct pfs_file *file,
			const struct pfs_repair_item *item)
{
	uint64_t from = item->fault.off, to = file_size(file);
	struct pfs_check_reader reader;
	int err = pfs_check_reader_new(&reader, file);
	char where[32];

	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, item->fault.number);
	for (; from < to && !err; from += PFS_CHECK_WINDOW) {
		size_t len = pfs_min_u64(to - from, PFS_CHECK_WINDOW);
		struct pfs_kept kept = {
			.where = where, .off = from, .len = len, .reason = item->finding.text};
		const uint8_t *bytes;

		if (pfs_check_read(&reader, from, len, &bytes) != 0 || !pfs_is_zero(bytes, len))
			err = pfs_repair_keep(repair, &kept, file);
	}
	pfs_check_reader_free(&reader);
	return err;
}

static int set_length(struct pfs_file *file, const struct pfs_checked_page *page, uint64_t size)
{
	bool shorter = file_size(file) < size;
	int err = file->ops->truncate(file, size);

	return !err && shorter ? write_header(file, &page->header, size - PFS_PAGE_TRAILER_LEN)
			       : err;
}

/* Whether all of [from, end) is there now, sector by sector: a device may fail to read what it
 * reads at the next try. */
static bool can_be_read(struct pfs_file *file, uint64_t from, uint64_t end)
{
	uint8_t sector[PFS_IO_SECTOR];

	for (uint64_t off = from; off < end; off += PFS_IO_SECTOR - off % PFS_IO_SECTOR) {
		size_t len = pfs_min_u64(PFS_IO_SECTOR - off % PFS_IO_SECTOR, end - off);

		if (file->ops->read(file, sector, len, off) != (ssize_t)len)
			return false;
	}
	return true;
}

/* Slots that can't be read become unused ones. Where the header was with them the next round makes
 * it anew: what the check has by the copy does not say where the containers begin. */
static int clear_slots(struct pfs_file *file, const struct pfs_fault *fault)
{
	uint64_t end = pfs_slot_offset(fault->slot + (uint32_t)fault->len), cleared;

	return pfs_repair_clear_unreadable(file, pfs_slot_offset(fault->slot),
					   pfs_min_u64(end, file_size(file)), &cleared);
}

/* ---- planning ---- */

static int plan_page(struct pfs_repair *repair, struct pfs_file *file,
		     const struct pfs_checked_page *page, struct pfs_repair_item *item)
{
	struct pfs_kept kept = {.reason = item->finding.text};
	char where[32];
	int err;

	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, item->fault.number);
	kept.where = where;
	switch (item->fault.kind) {
	case PFS_FAULT_LENGTH: return keep_surplus(repair, file, item);
	case PFS_FAULT_HEADER:
		kept.len = PFS_IO_SECTOR;
		err = plan_front(repair, file, page, item);
		return err ? err : pfs_repair_keep(repair, &kept, file);
	case PFS_FAULT_TRAILER:
		kept.off = item->finding.offset;
		kept.len = PFS_PAGE_TRAILER_LEN;
		return pfs_repair_keep(repair, &kept, file);
	default: /* PFS_FAULT_UNREADABLE */
		kept.off = pfs_slot_offset(item->fault.slot);
		kept.len = item->fault.len * PFS_SLOT_LEN;
		if (can_be_read(file, kept.off, kept.off + kept.len)) {
			item->deed = PFS_DEED_NONE;
			return 0;
		}
		return pfs_repair_keep(repair, &kept, file);
	}
}

int pfs_repair_plan_pages(struct pfs_repair *repair)
{
	struct opened opened = {0};
	int err = 0;

	for (size_t i = 0; i < repair->count && !err; i++) {
		struct pfs_repair_item *item = &repair->items[i];
		enum pfs_fault_kind kind = item->fault.kind;
		const struct pfs_checked_page *page =
			pfs_check_find_page(&repair->check, item->fault.number);

		if ((!is_about_page(kind) && !is_about_slot(kind)) || is_about_file(kind) ||
		    item->deed == PFS_DEED_LATER || PFS_NEVER(repair->logger, !page))
			continue;
		err = open_page(repair, &opened, item->fault.number, 0);
		if (!err && is_about_slot(kind))
			err = pfs_repair_plan_slot(repair, opened.file, page, item);
		else if (!err)
			err = plan_page(repair, opened.file, page, item);
	}
	(void)close_page(&opened);
	return err;
}

/* ---- whole files ---- */

/* One bit of one of the headers was wrong: then the page can be used. */
static int mend_unusable(struct pfs_repair *repair, const struct pfs_checked_page *page,
			 bool *mended)
{
	struct opened opened = {0};
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	int err = open_page(repair, &opened, page->number, PFS_IO_WRITE);

	const char *why;

	*mended = false;
	switch (err) {
	case 0: break;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EACCES:
	case -EPERM: return err; /* not the file's fault */
	default: return 0;
	}
	for (unsigned i = 0; i < 2 && !*mended && !err; i++) {
		uint64_t size = file_size(opened.file);

		if (size < PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN ||
		    read_header(opened.file, i ? size - PFS_PAGE_TRAILER_LEN : 0, &disk) != 0)
			continue;
		/* A device may fail to read what it reads at the next try. */
		if (pfs_page_header_decode(&header, &disk, repair->super.uuid, &why) == 0 &&
		    header.number == page->number && (!i || header.page_size == size)) {
			*mended = true;
			break;
		}
		if (!mend_header(repair, page, &disk, &header) || header.page_size != size)
			continue;
		if (i)
			err = count_slots(repair, opened.file, &header);
		if (!err)
			err = write_header(opened.file, &header, 0);
		opened.dirty = *mended = true;
	}
	return err ? (void)close_page(&opened), err : close_page(&opened);
}

static int rename_page(struct pfs_repair *repair, const char *name, const char *to)
{
	int err = repair->dir->ops->rename(repair->dir, name, to);

	return err ? err : repair->dir->ops->sync_dir(repair->dir);
}

static int set_aside(struct pfs_repair *repair, const struct pfs_repair_item *item)
{
	char name[32], aside[64];
	/* Where it has taken the place of one of this store's pages, that is gone. */
	bool lost = item->fault.kind != PFS_FAULT_FOREIGN ||
		    item->fault.number <= repair->check.super.pages.highest;
	int err;

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, item->fault.number);
	err = pfs_repair_aside_name(repair, name, aside);
	if (!err)
		err = rename_page(repair, name, aside);
	if (err)
		return err;
	repair->result->files++;
	repair->result->unknown += lost;
	pfs_repair_say(repair, lost, name, item->finding.offset, NULL,
		       "%s; the file is set aside as %s", item->finding.text, aside);
	return 0;
}

/* The page can be used after all: what was found of its documents is not so. */
static void spare(struct pfs_repair *repair, const char *name)
{
	for (size_t i = 0; i < repair->count; i++) {
		struct pfs_repair_item *item = &repair->items[i];

		if ((item->fault.kind == PFS_FAULT_GONE || item->fault.kind == PFS_FAULT_TOLD) &&
		    strcmp(item->finding.where, name) == 0)
			item->spared = true;
	}
}

static int do_unusable(struct pfs_repair *repair, const struct pfs_checked_page *page,
		       struct pfs_repair_item *item)
{
	bool mended = false;
	int err = item->deed == PFS_DEED_ASIDE ? 0 : mend_unusable(repair, page, &mended);

	if (err || !mended)
		return err ? err : set_aside(repair, item);
	spare(repair, item->finding.where);
	pfs_repair_say(repair, false, item->finding.where, item->finding.offset, NULL,
		       "%s; made right", item->finding.text);
	return 0;
}

/* A page under another's name. */
static int do_number(struct pfs_repair *repair, struct pfs_repair_item *item)
{
	char name[32], right[32];
	int err;

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, item->fault.number);
	snprintf(right, sizeof(right), PFS_PAGE_NAME_FMT, (uint32_t)item->fault.off);
	err = pfs_repair_exists(repair, right);
	if (err)
		return err < 0 ? err : set_aside(repair, item);
	err = rename_page(repair, name, right);
	if (err)
		return err;
	spare(repair, name);
	spare(repair, right);
	pfs_repair_say(repair, false, name, item->finding.offset, NULL,
		       "it is page %u; renamed to %s", (uint32_t)item->fault.off, right);
	return 0;
}

/* ---- doing ---- */

static const char *deed_text(const struct pfs_repair_item *item)
{
	switch (item->deed) {
	case PFS_DEED_NONE:
		return item->corrected ? "corrected: the document is there again"
		       : item->fault.kind == PFS_FAULT_SMALL ? "the store's smallest is less now"
							     : "it was to be read at the next try";
	case PFS_DEED_WRITE:
		return item->corrected ? "corrected: the document is there again" : "corrected";
	case PFS_DEED_CLEAR: return "it held no document; cleared";
	case PFS_DEED_DROP:
		return item->lost ? "taken out and kept aside" : "kept aside, nothing is lost";
	default:
		return item->corrected ? "corrected: the document is there again"
		       : item->lost    ? "made right; what it held is not known"
				       : "made right";
	}
}

static void tell(struct pfs_repair *repair, const struct pfs_repair_item *item)
{
	const struct pfs_finding *found = &item->finding;
	bool known = found->key.kind != PFS_KEY_NONE;
	bool lost = item->lost && pfs_repair_count_lost(repair, &found->key);

	repair->result->corrected += item->corrected;
	pfs_repair_say(repair, lost, found->where, found->offset, known ? &found->key : NULL,
		       "%s; %s", found->text, deed_text(item));
}

static int do_item(struct pfs_repair *repair, struct pfs_file *file,
		   const struct pfs_checked_page *page, struct pfs_repair_item *item)
{
	switch (item->fault.kind) {
	case PFS_FAULT_HEADER: return make_front(repair, file, page);
	case PFS_FAULT_TRAILER:
		return write_header(file, &page->header,
				    page->header.page_size - PFS_PAGE_TRAILER_LEN);
	case PFS_FAULT_LENGTH: return set_length(file, page, item->fault.off);
	case PFS_FAULT_UNREADABLE:
		item->lost = item->deed != PFS_DEED_NONE;
		return item->lost ? clear_slots(file, &item->fault) : 0;
	default: break;
	}
	if (item->deed == PFS_DEED_NONE)
		return 0;
	return file->ops->write(file, &item->bytes, sizeof(item->bytes),
				pfs_slot_offset(item->fault.slot));
}

/* Renamings come last, so that the other items find their files. */
static int do_files(struct pfs_repair *repair)
{
	int err = 0;

	for (size_t i = 0; i < repair->count && !err; i++) {
		struct pfs_repair_item *item = &repair->items[i];

		if (item->fault.kind == PFS_FAULT_UNUSABLE)
			err = do_unusable(repair,
					  pfs_check_find_page(&repair->check, item->fault.number),
					  item);
		else if (item->fault.kind == PFS_FAULT_NUMBER)
			err = do_number(repair, item);
		else if (item->fault.kind == PFS_FAULT_FOREIGN)
			err = set_aside(repair, item);
	}
	return err;
}

int pfs_repair_pages(struct pfs_repair *repair)
{
	struct opened opened = {0};
	int err = 0;

	for (size_t i = 0; i < repair->count && !err; i++) {
		struct pfs_repair_item *item = &repair->items[i];
		enum pfs_fault_kind kind = item->fault.kind;

		if ((!is_about_page(kind) && !is_about_slot(kind)) || is_about_file(kind) ||
		    item->deed == PFS_DEED_LATER)
			continue;
		err = open_page(repair, &opened, item->fault.number, PFS_IO_WRITE);
		if (err)
			break;
		opened.dirty = true;
		err = do_item(repair, opened.file,
			      pfs_check_find_page(&repair->check, item->fault.number), item);
		if (!err)
			tell(repair, item);
	}
	if (err)
		(void)close_page(&opened);
	else
		err = close_page(&opened);
	return err ? err : do_files(repair);
}
