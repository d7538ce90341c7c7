/* Opening the page files of a store, and reading the headers that a crash or damage may have
 * spoilt. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/pager_internal.h"

#define RECOVER_LEN (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)

/* ---- opening ---- */

/* The copy of the header at the end of the page. */
static bool read_copy(const struct pfs_page *page, uint64_t size, const uint8_t *uuid,
		      struct pfs_page_header *header)
{
	struct pfs_page_disk disk;
	const char *why;

	return size >= PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN &&
	       page->file->ops->read(page->file, &disk, sizeof(disk),
				     size - PFS_PAGE_TRAILER_LEN) == (ssize_t)sizeof(disk) &&
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
	header->floor = (uint32_t)floor; /* loading lowers it to containers that do not verify */
	return 0;
}

/* 1: the file is a page; 0: it was being made and holds nothing; negative: damage or an error. */
static int read_header(struct pfs_pager *pager, struct pfs_page *page, const char *name)
{
	struct pfs_page_disk disk = {0};
	struct pfs_page_header header, copy;
	const char *why;
	uint64_t size;
	ssize_t n = page->file->ops->read(page->file, &disk, sizeof(disk), 0);
	int err = page->file->ops->size(page->file, &size);
	bool has_copy, damaged;

	if (n < 0)
		return (int)n;
	if (err)
		return err;
	has_copy = read_copy(page, size, pager->uuid, &copy);
	if (pfs_all_zero(&disk, sizeof(disk)) && !has_copy)
		return 0;
	damaged = pfs_page_header_decode(&header, &disk, pager->uuid, &why) != 0;
	if (damaged) {
		err = has_copy ? recover_header(page, &copy)
			       : pfs_corrupt(pager->logger, name, 0, "%s", why);
		if (err)
			return err;
		header = copy;
		/* Without slots it was cut off while it was made. */
		if (header.slot_count || !pfs_all_zero(&disk, sizeof(disk)))
			pfs_corrupt(pager->logger, name, 0,
				    "%s; the page is opened by the copy of its header", why);
	}
	if (header.number != page->number)
		return pfs_corrupt(pager->logger, name, 8, "it says it is page %u", header.number);
	if (size < header.page_size) {
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "%s ends early: %llu bytes are missing and read as zeros", name,
			 (unsigned long long)(header.page_size - size));
		err = pager->read_only ? 0
				       : page->file->ops->truncate(page->file, header.page_size);
		if (err)
			return err;
	}
	/* Both are written anew when one of them is gone. */
	page->unborn = damaged || !has_copy;
	page->size = header.page_size;
	page->generation = header.generation;
	page->base_seq = header.base_seq;
	page->base_mtime = header.base_mtime;
	page->slot_count = header.slot_count;
	page->floor = header.floor;
	page->low_reserved = pfs_slot_offset(header.slot_count);
	page->high_reserved = header.floor;
	return 1;
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
	if (have == 0 || have == -ENOMEM)
		return have;
	pfs_logf(pager->logger, PFS_LOG_ERROR, "%s can't be used: %s; what it holds can't be read",
		 name, strerror(-have));
	++*pager->damaged;
	return 0;
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
	err = pager->dir->ops->list(pager->dir, found_file, pager);
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
	for (uint32_t c = 0; c < TABLE_CHUNKS; c++) {
		for (uint32_t i = 0; pager->chunks[c] && i < TABLE_CHUNK; i++) {
			if (pager->chunks[c][i])
				pfs_page_free(pager->chunks[c][i]);
		}
		free(pager->chunks[c]);
	}
	free(pager);
}
