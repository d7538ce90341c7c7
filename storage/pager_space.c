/* What is free in a page, closing pages, giving empty ones back. */
#include <stdio.h>

#include "storage/pager_internal.h"

/* ---- counting ---- */

void pfs_page_space(const struct pfs_page *page, struct pfs_page_space *out)
{
	uint64_t behind = page->size - PFS_PAGE_TRAILER_LEN - page->floor;
	uint64_t holes = page->loaded ? page->space.free_bytes : page->saved_free_bytes;

	holes = pfs_min_u64(holes, behind); /* saved ones are not to be relied on */
	*out = (struct pfs_page_space){
		.used = behind - holes,
		.holes = holes,
		.gap = page->floor - pfs_slot_offset(page->slot_count),
		.slots = page->slot_count,
		.free_slots = page->loaded ? page->free_slot_count : page->saved_free_slots,
		.ahead = page->low_reserved - pfs_slot_offset(page->slot_count) + page->floor -
			 page->high_reserved,
	};
	out->disk = page->size - out->gap + out->ahead;
	/* Holes that were punched take none. */
	if (page->loaded && page->punched) {
		uint64_t disk;

		if (page->file->ops->disk_usage(page->file, &disk) == 0)
			out->disk = pfs_max_u64(pfs_min_u64(disk, out->disk), out->used);
	}
}

uint64_t pfs_page_live(const struct pfs_page_space *space)
{
	uint32_t slots = space->slots > space->free_slots ? space->slots - space->free_slots : 0;

	return space->used + (uint64_t)slots * PFS_SLOT_LEN;
}

uint64_t pfs_page_dead(const struct pfs_page_space *space)
{
	uint64_t rest =
		pfs_page_live(space) + space->ahead + PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN;

	return space->disk > rest ? space->disk - rest : 0;
}

bool pfs_page_is_empty(const struct pfs_page *page)
{
	return page->loaded && !page->unusable && page->free_slot_count == page->slot_count &&
	       page->space.free_bytes == page->size - PFS_PAGE_TRAILER_LEN - page->floor;
}

int pfs_page_recount(const struct pfs_page *page, uint64_t *used, uint32_t *free_slots)
{
	*used = 0;
	*free_slots = 0;
	for (uint32_t i = 0; i < page->slot_count; i++) {
		struct pfs_slot slot;
		int err = pfs_page_read_slot(page, i, &slot);

		if (err)
			return err;
		if (pfs_slot_is_live(&slot))
			*used += slot.len;
		else
			++*free_slots;
	}
	return 0;
}

int pfs_pager_stat(struct pfs_pager *pager, struct pfs_pager_stat *out)
{
	*out = (struct pfs_pager_stat){0};
	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);
		struct pfs_page_space space;
		uint64_t disk = 0;
		int err;

		if (!page)
			continue;
		err = page->file->ops->disk_usage(page->file, &disk);
		if (err)
			return err;
		pfs_page_space(page, &space);
		out->pages++;
		out->size_bytes += page->size;
		out->disk_bytes += disk;
		out->free_bytes += pfs_page_dead(&space) + space.ahead;
		out->used_bytes += space.used;
		out->hole_bytes += space.holes;
		out->gap_bytes += space.gap;
	}
	return 0;
}

/* ---- closing and retiring ---- */

#define TRIM_UNIT (4 * PFS_KIB) /* no filesystem gives back less */

static void trim(struct pfs_page *page)
{
	uint64_t low = pfs_round_up(pfs_slot_offset(page->slot_count), TRIM_UNIT),
		 high = page->floor & ~(TRIM_UNIT - 1);

	if (page->unusable || page->unborn || low >= high)
		return;
	/* Where it can't be done the space stays reserved. */
	if (low < page->low_reserved &&
	    page->file->ops->punch(page->file, low, pfs_min_u64(page->low_reserved, high) - low) ==
		    0)
		page->low_reserved = low;
	if (high > page->high_reserved && page->high_reserved >= page->low_reserved &&
	    page->file->ops->punch(page->file, pfs_max_u64(page->high_reserved, low),
				   high - pfs_max_u64(page->high_reserved, low)) == 0)
		page->high_reserved = high;
}

void pfs_pager_trim(struct pfs_pager *pager)
{
	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (page)
			trim(page);
	}
}

void pfs_pager_close_page(struct pfs_pager *pager, struct pfs_page *page, bool closed)
{
	page->closed = closed || page->retiring;
	pfs_pager_update_room(pager, page);
}

/* From a saved index a page can only be seen to be empty when its slots were read. */
static bool looks_empty(const struct pfs_page *page)
{
	struct pfs_page_space space;

	if (page->loaded)
		return pfs_page_is_empty(page);
	pfs_page_space(page, &space);
	return space.used == 0;
}

struct pfs_page *pfs_pager_spare(struct pfs_pager *pager, bool keep)
{
	for (uint32_t n = pfs_pager_next(pager, 0); n && !pager->cannot_remove;
	     n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (!page || !looks_empty(page) || pfs_pager_load(pager, page) != 0 ||
		    !pfs_page_is_empty(page))
			continue;
		if (keep && !page->closed && page->size == pager->page_size) {
			keep = false;
			continue;
		}
		page->retiring = true;
		pfs_pager_close_page(pager, page, true);
		return page;
	}
	return NULL;
}

void pfs_pager_unpublish(struct pfs_pager *pager, struct pfs_page *page)
{
	pfs_fit_remove(&pager->fit, &page->fit);
	pfs_pager_withdraw(pager, page);
}

int pfs_pager_remove(struct pfs_pager *pager, struct pfs_page *page)
{
	char name[32];
	int err;

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, page->number);
	pfs_page_free(page);
	err = pager->dir->ops->unlink(pager->dir, name);
	if (err) {
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "%s holds nothing and can't be removed: %s", name, strerror(-err));
		pager->cannot_remove = true;
		return 0;
	}
	return pfs_dir_sync(pager->dir);
}
