/* Opening the page files of a store, and reading the headers that a crash or damage may have
 * spoilt. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/pager_internal.h"

#define RECOVER_LEN (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)

/* ---- opening ---- */

/* The copy of the header at the end of the page: whether there is one, or a negative error. */
static int read_copy(const struct pfs_page *page, uint64_t size, const uint8_t *uuid,
		     struct pfs_page_header *header)
{
	struct pfs_page_disk disk;
	const char *why;
	ssize_t n;

	if (size < PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN)
		return 0;
	n = page->file->ops->read(page->file, &disk, sizeof(disk), size - PFS_PAGE_TRAILER_LEN);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)sizeof(disk) &&
	       pfs_page_header_decode(header, &disk, uuid, &why) == 0 && header->page_size == size;
}

/* Reads slot i and says whether its container verifies: bytes of an old container that look like a
 * slot do not pass. */
static bool verifies(const struct pfs_page *page, const struct pfs_page_header *header, uint32_t i,
		     uint64_t floor, uint8_t *buf, struct pfs_slot *slot)
{
	struct pfs_container_base base = {.base_seq = header->base_seq,
					  .base_mtime = header->base_mtime};
	struct pfs_slot_disk disk;
	struct pfs_container c;
	ssize_t have;

	if (page->file->ops->read(page->file, &disk, sizeof(disk), pfs_slot_offset(i)) !=
		    (ssize_t)sizeof(disk) ||
	    pfs_slot_decode(slot, &disk, floor, header->page_size) != 0 || !pfs_slot_is_live(slot))
		return false;
	have = page->file->ops->read(page->file, buf, pfs_min_u64(slot->len, RECOVER_LEN),
				     slot->off);
	base.kind = slot->kind;
	base.tag = slot->tag;
	return have > 0 &&
	       pfs_container_header_decode(&c, buf, (size_t)have, slot->len, &base) == 0 &&
	       (c.flags & PFS_CONTAINER_BLOCKS || c.header_len + c.body_len <= (size_t)have) &&
	       pfs_container_verify(&c, buf, &base) == 0;
}

/* The header is damaged, its copy is not: counts the slots anew, up to the last whose container
 * verifies. They end where the containers begin; free ones behind the last are not needed. */
static int recover_header(struct pfs_page *page, struct pfs_page_header *header)
{
	uint64_t floor = header->page_size - PFS_PAGE_TRAILER_LEN;
	uint8_t *buf = malloc(RECOVER_LEN);
	struct pfs_slot slot;

	if (!buf)
		return -ENOMEM;
	header->slot_count = 0;
	for (uint32_t i = 0; i <= PFS_SLOT_NUMBER_MAX && pfs_slot_offset(i + 1) <= floor; i++) {
		if (!verifies(page, header, i, pfs_slot_offset(i + 1), buf, &slot))
			continue;
		floor = pfs_min_u64(floor, slot.off);
		header->slot_count = i + 1;
	}
	free(buf);
	/* There may be others below it, which do not verify: the page takes nothing. */
	header->floor = (uint32_t)floor;
	return 0;
}

/* Whether the page is not in the set: its making was cut off, and it holds nothing. */
static bool is_newborn(const struct pfs_pager *pager, const struct pfs_page *page)
{
	return page->number > pager->set.highest;
}

/* The file ends before the page does. A newborn's is made longer; another's stays as it is. */
static int check_size(struct pfs_pager *pager, struct pfs_page *page, const char *name)
{
	if (page->file_size >= page->size)
		return 0;
	if (is_newborn(pager, page)) {
		page->file_size = page->size;
		return page->file->ops->truncate(page->file, page->size);
	}
	pfs_corrupt(pager->logger, name, page->file_size, "it ends early: %llu byte%s missing",
		    (unsigned long long)(page->size - page->file_size),
		    page->size - page->file_size == 1 ? " is" : "s are");
	page->unusable = true;
	++*pager->damaged;
	return 0;
}

/* Reads the header, or its copy, into *header. 1: there is one, *damaged: it is the copy's; 0:
 * there is none yet; negative: damage or an error. */
static int find_header(struct pfs_pager *pager, struct pfs_page *page, const char *name,
		       struct pfs_page_header *header, bool *damaged)
{
	struct pfs_page_disk disk = {0};
	struct pfs_page_header copy;
	int has_copy = read_copy(page, page->file_size, pager->uuid, &copy);
	const char *why;
	bool zero;
	ssize_t n = page->file->ops->read(page->file, &disk, sizeof(disk), 0);
	int err;

	if (n < 0 || has_copy < 0)
		return n < 0 ? (int)n : has_copy;
	zero = pfs_is_zero(&disk, sizeof(disk));
	*damaged = pfs_page_header_decode(header, &disk, pager->uuid, &why) != 0;
	if (!*damaged) {
		page->unborn = !has_copy;
		return 1;
	}
	/* A newborn's may be torn: the write of it failed or was cut off. */
	if (!has_copy)
		return is_newborn(pager, page)
			       ? 0
			       : pfs_corrupt(pager->logger, name, 0, "%s, and so is its copy", why);
	err = recover_header(page, &copy);
	if (err)
		return err;
	*header = copy;
	/* Without slots it was cut off while it was made. */
	if (!is_newborn(pager, page) || !zero)
		pfs_corrupt(pager->logger, name, 0,
			    "%s; the page is opened by the copy of its header", why);
	page->unborn = true;
	return 1;
}

/* 1: the file is a page; 0: it was being made and holds nothing; negative: damage or an error. */
static int read_header(struct pfs_pager *pager, struct pfs_page *page, const char *name)
{
	struct pfs_page_header header;
	bool damaged = false;
	int have = page->file->ops->size(page->file, &page->file_size);

	if (!have)
		have = find_header(pager, page, name, &header, &damaged);
	if (have != 1)
		return have;
	if (header.number != page->number)
		return pfs_corrupt(pager->logger, name, 8, "it says it is page %u", header.number);
	page->size = header.page_size;
	page->generation = header.generation;
	page->base_seq = header.base_seq;
	page->base_mtime = header.base_mtime;
	page->slot_count = header.slot_count;
	page->floor = header.floor;
	page->disk_slot_count = header.slot_count;
	page->disk_floor = header.floor;
	page->low_reserved = pfs_slot_offset(header.slot_count);
	page->high_reserved = header.floor;
	/* Nothing is in it, and it can't be made whole now. */
	if (is_newborn(pager, page) && page->file_size < page->size && pager->read_only)
		return 0;
	/* Slots behind the last that verifies are not counted. */
	page->unusable = damaged && !is_newborn(pager, page);
	have = check_size(pager, page, name);
	/* Both headers are written anew when one of them is gone, and those of a newborn in any
	 * case: after the death of a process they, and the name, may be in the page cache only. */
	if (is_newborn(pager, page)) {
		page->unborn = true;
		pager->dir_dirty = true;
	}
	if (page->unusable)
		page->unborn = false;
	return have ? have : 1;
}

/* The file can never be a page of this store: it is left out, and what it held is lost. One that
 * could be read at another time may not be: what the journal changes in it, and what is put anew in
 * place of its documents, would not fit to it then. Who only reads can do without it. */
static bool is_left_out(const struct pfs_pager *pager, int err)
{
	return err == -EUCLEAN || err == -EISDIR || err == -ELOOP || err == -ENXIO ||
	       (err == -EIO && pager->read_only);
}

static int found_file(void *arg, const char *name)
{
	struct pfs_pager *pager = arg;
	char canonical[32], rest;
	struct pfs_page *page;
	unsigned number;
	int have;

	if (sscanf(name, "page-%8x%c", &number, &rest) != 1 || number == 0 ||
	    number > PFS_PAGE_NUMBER_MAX)
		return 0;
	snprintf(canonical, sizeof(canonical), PFS_PAGE_NAME_FMT, number);
	if (strcmp(name, canonical) != 0)
		return 0;
	page = calloc(1, sizeof(*page));
	if (!page)
		return -ENOMEM;
	page->number = page->fit.number = number;
	pfs_space_init(&page->space);
	if (!is_newborn(pager, page))
		pfs_page_set_add(&pager->seen, number);
	have = pager->dir->ops->open(pager->dir, name, pager->read_only ? 0 : PFS_IO_WRITE,
				     &page->file);
	if (have == 0)
		have = read_header(pager, page, name);
	if (have == 1) {
		have = page->file->ops->map(page->file, page->size, &page->map);
		if (have == 0)
			have = pfs_pager_publish(pager, page);
		if (have == 0) {
			/* With no room until it is loaded. */
			pfs_fit_insert(&pager->fit, &page->fit);
			return 0;
		}
	}
	pfs_page_free(page);
	if (have == 0 && !pager->read_only)
		return pager->dir->ops->unlink(pager->dir, name);
	if (number > pager->skip_to)
		pager->skip_to = number;
	if (have == 0)
		return 0;
	if (!is_left_out(pager, have)) {
		pfs_logf(pager->logger, PFS_LOG_ERROR, "%s can't be used now: %s", name,
			 strerror(-have));
		return have;
	}
	pfs_logf(pager->logger, PFS_LOG_ERROR, "%s can't be used: %s; what it holds can't be read",
		 name, strerror(-have));
	*pager->damaged += number <= pager->set.highest; /* a newborn holds nothing */
	return 0;
}

/* Compares the files with those that there must be. A page is counted out before its file is
 * removed, one at a time: a crash in between leaves one file too many, which holds nothing. */
static void check_set(struct pfs_pager *pager)
{
	const struct pfs_page_set *set = &pager->set, *seen = &pager->seen;
	uint32_t missing = set->count - seen->count, number;
	struct pfs_page *page;

	if (missing == 0 && set->mix == seen->mix)
		return;
	number = pfs_page_set_difference(set, seen);
	page = number ? pfs_pager_find(pager, number) : NULL;
	if (seen->count == set->count + 1 && page) {
		pager->uncounted = page;
		return;
	}
	if (missing == 1 && number)
		pfs_corrupt(pager->logger, "store", 0, PFS_PAGE_NAME_FMT " is missing", number);
	else if (seen->count < set->count)
		pfs_corrupt(pager->logger, "store", 0, "%u page file%s missing", missing,
			    missing == 1 ? " is" : "s are");
	else
		pfs_corrupt(pager->logger, "store", 0, "page files are missing");
	*pager->damaged += seen->count < set->count ? missing : 1;
}

int pfs_pager_remove_uncounted(struct pfs_pager *pager)
{
	struct pfs_page *page = pager->uncounted;

	pager->uncounted = NULL;
	if (!page)
		return 0;
	pfs_pager_unpublish(pager, page);
	return pfs_pager_remove(pager, page);
}

int pfs_pager_open(struct pfs_pager **out, const struct pfs_pager_options *options,
		   uint64_t *damaged)
{
	struct pfs_pager *pager = calloc(1, sizeof(*pager));
	int err;

	*out = NULL;
	*damaged = 0;
	if (!pager)
		return -ENOMEM;
	pager->dir = options->dir;
	memcpy(pager->uuid, options->uuid, PFS_UUID_LEN);
	pager->page_size = options->page_size;
	pager->min_value_size = options->min_value_size;
	pager->read_only = options->read_only;
	pager->logger = options->logger;
	pager->damaged = damaged;
	pager->set = options->pages;
	pager->skip_to = options->pages.highest;
	err = pager->dir->ops->list(pager->dir, found_file, pager);
	if (!err)
		check_set(pager);
	pager->damaged = NULL;
	if (err) {
		pfs_pager_close(pager);
		return err;
	}
	*out = pager;
	return 0;
}

void pfs_pager_close(struct pfs_pager *pager)
{
	if (!pager)
		return;
	for (uint32_t c = 0; c <= pager->last / TABLE_CHUNK; c++) {
		for (uint32_t i = 0; pager->chunks[c] && i < TABLE_CHUNK; i++) {
			if (pager->chunks[c]->pages[i])
				pfs_page_free(pager->chunks[c]->pages[i]);
		}
		free(pager->chunks[c]);
	}
	free(pager);
}
