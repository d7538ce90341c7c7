/* The space of pages, making them, reading. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/pager_internal.h"

#define RESERVE_STEP_MAX PFS_MIB
#define RESERVE_STEP_MIN (4 * PFS_KIB)
#define PUNCH_MIN PFS_MIB /* free extents from this on are given back to the filesystem */
#define NEAR_TRIES 32
#define RESERVE_STEPS 64 /* a page's space is reserved in about so many steps */

static struct pfs_page *page_of(struct pfs_fit_node *node)
{
	return (struct pfs_page *)node;
}

void pfs_page_free(struct pfs_page *page)
{
	if (page->map)
		page->file->ops->unmap(page->file, page->map, page->size);
	if (page->file)
		page->file->ops->close(page->file);
	pfs_space_free(&page->space);
	free(page->free_slots);
	free(page);
}

/* ---- room ---- */

static uint64_t gap_of(const struct pfs_page *page)
{
	return page->floor - pfs_slot_offset(page->slot_count);
}

/* The longest container that fits into the page together with a slot for it. */
static uint64_t room_in(const struct pfs_page *page)
{
	uint64_t gap = gap_of(page), hole = pfs_space_longest(&page->space);

	if (page->free_slot_count == 0) {
		if (gap < PFS_SLOT_LEN || page->slot_count > PFS_SLOT_NUMBER_MAX)
			return 0;
		gap -= PFS_SLOT_LEN;
	}
	return pfs_max_u64(gap, hole);
}

/* The longest that it can take now. */
static uint64_t room_of(const struct pfs_page *page)
{
	return page->unusable || page->closed ? 0 : room_in(page);
}

void pfs_pager_update_room(struct pfs_pager *pager, struct pfs_page *page)
{
	uint64_t room = room_of(page);

	if (room == page->fit.room)
		return;
	pfs_fit_remove(&pager->fit, &page->fit);
	page->fit.room = room;
	pfs_fit_insert(&pager->fit, &page->fit);
}

void pfs_pager_set_saved(struct pfs_pager *pager, struct pfs_page *page,
			 const struct pfs_pager_saved *saved)
{
	if (page->loaded)
		return;
	pfs_fit_remove(&pager->fit, &page->fit);
	page->fit.room = page->unusable || page->closed ? 0 : saved->room;
	page->saved_room = saved->room;
	page->saved_free_bytes = saved->free_bytes;
	page->saved_free_slots = saved->free_slots;
	page->saved_slots_crc = saved->slots_crc;
	page->has_saved = true;
	pfs_fit_insert(&pager->fit, &page->fit);
}

/* The checksum of all slots up to the last that was ever used: the header may not say yet, or any
 * more, how many are behind it. */
static int sum_slots(const struct pfs_page *page, uint32_t *sum)
{
	static const uint8_t unused[PFS_SLOT_LEN];
	uint64_t off = PFS_PAGE_HEADER_LEN, end = pfs_slot_offset(page->slot_count);
	uint8_t bytes[256 * PFS_SLOT_LEN];
	uint32_t crc = 0;
	int err = 0;

	*sum = 0;
	while (off < end && !err) {
		size_t len = pfs_min_u64(sizeof(bytes), end - off);

		err = pfs_page_copy(page, bytes, off, len);
		for (size_t at = 0; at < len && !err; at += PFS_SLOT_LEN) {
			crc = pfs_crc32c(crc, bytes + at, PFS_SLOT_LEN);
			if (memcmp(bytes + at, unused, PFS_SLOT_LEN) != 0)
				*sum = crc;
		}
		off += len;
	}
	return err;
}

void pfs_pager_get_saved(const struct pfs_page *page, struct pfs_pager_saved *saved)
{
	bool as_before = !page->loaded || page->unusable;

	*saved = (struct pfs_pager_saved){
		.room = as_before ? page->saved_room : room_in(page),
		.free_bytes = as_before ? page->saved_free_bytes : page->space.free_bytes,
		.free_slots = as_before ? page->saved_free_slots : page->free_slot_count,
		.slots_crc = page->saved_slots_crc,
	};
	if (as_before && page->has_saved)
		return;
	if (sum_slots(page, &saved->slots_crc) != 0 || page->unusable)
		saved->slots_crc = ~saved->slots_crc;
}

struct used_extent {
	uint64_t off, len;
};

static int by_offset(const void *a, const void *b)
{
	const struct used_extent *x = a, *y = b;

	return pfs_order(x->off, y->off);
}

static int push_free_slot(struct pfs_page *page, uint32_t slot)
{
	if (page->free_slot_count == page->free_slot_cap) {
		uint32_t cap = page->free_slot_cap ? page->free_slot_cap * 2 : 64;
		uint32_t *slots = realloc(page->free_slots, cap * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		page->free_slots = slots;
		page->free_slot_cap = cap;
	}
	page->free_slots[page->free_slot_count++] = slot;
	return 0;
}

/* Collects the containers of live slots, and the other slots as free. -EUCLEAN: a slot is damaged
 * (reported). */
static int collect(struct pfs_pager *pager, struct pfs_page *page, struct used_extent *used,
		   size_t *used_count)
{
	struct pfs_slot slot;
	char where[32];
	int err;

	for (uint32_t i = page->slot_count; i-- > 0;) {
		err = pfs_page_read_slot(page, i, &slot);
		if (err == -EUCLEAN) {
			snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
			return pfs_corrupt(pager->logger, where, pfs_slot_offset(i),
					   "slot %u is damaged", i);
		}
		if (err)
			return err;
		/* A header that did not reach the disk says less than its slots do. */
		if (pfs_slot_is_live(&slot) && slot.off < page->floor) {
			if (slot.off < pfs_slot_offset(page->slot_count))
				return -EUCLEAN;
			page->floor = slot.off;
			page->high_reserved = pfs_min_u64(page->high_reserved, slot.off);
		}
		if (pfs_slot_is_live(&slot))
			used[(*used_count)++] = (struct used_extent){slot.off, slot.len};
		else if (push_free_slot(page, i) != 0)
			return -ENOMEM;
	}
	return 0;
}

void pfs_pager_make_unusable(struct pfs_pager *pager, struct pfs_page *page)
{
	if (!page->unusable)
		pfs_logf(pager->logger, PFS_LOG_ERROR,
			 PFS_PAGE_NAME_FMT
			 " is damaged: nothing is put there until `payloadctl check --repair`",
			 page->number);
	page->free_slot_count = 0;
	pfs_space_free(&page->space);
	page->unusable = page->loaded = true;
	pfs_pager_update_room(pager, page);
}

/* What lies between the containers is free. -EUCLEAN: they overlap. */
static int free_between(struct pfs_page *page, struct used_extent *used, size_t count)
{
	uint64_t at = page->floor;
	bool in_order = true;
	int err = 0;

	/* As a page is filled they are in order. */
	for (size_t i = 1; i < count && in_order; i++)
		in_order = used[i - 1].off <= used[i].off;
	if (!in_order)
		qsort(used, count, sizeof(*used), by_offset);
	used[count] = (struct used_extent){page->size - PFS_PAGE_TRAILER_LEN, 0};
	for (size_t i = 0; i <= count && !err; i++) {
		if (used[i].off < at)
			return -EUCLEAN;
		if (used[i].off > at)
			err = pfs_space_add(&page->space, at, used[i].off - at);
		at = used[i].off + used[i].len;
	}
	return err;
}

int pfs_pager_load(struct pfs_pager *pager, struct pfs_page *page)
{
	struct used_extent *used;
	uint64_t disk;
	size_t count = 0;
	uint32_t crc;
	int err;

	if (page->loaded)
		return 0;
	if (page->unusable) {
		pfs_pager_make_unusable(pager, page);
		return 0;
	}
	used = malloc((page->slot_count + 1) * sizeof(*used));
	if (!used)
		return -ENOMEM;
	page->free_slot_count = 0;
	err = collect(pager, page, used, &count);
	if (!err)
		err = free_between(page, used, count);
	/* A slot that lost its document looks free. */
	if (!err && page->has_saved && sum_slots(page, &crc) == 0 && crc != page->saved_slots_crc)
		err = -EUCLEAN;
	free(used);
	if (!err) {
		/* Extents that were punched before this opening look like any others. */
		if (page->file->ops->disk_usage(page->file, &disk) != 0 ||
		    disk < page->size - gap_of(page))
			page->punched = true;
		page->loaded = true;
		pfs_pager_update_room(pager, page);
	} else if (err == -EIO || err == -EUCLEAN) {
		pfs_pager_make_unusable(pager, page);
		err = 0;
	} else {
		pfs_space_free(&page->space);
		page->free_slot_count = 0;
	}
	return err;
}

int pfs_pager_reload(struct pfs_pager *pager, struct pfs_page *page)
{
	int err;

	if (!page->inexact || !page->loaded || page->unusable)
		return 0;
	pfs_space_free(&page->space);
	page->has_saved = page->loaded = false;
	err = pfs_pager_load(pager, page);
	page->inexact = err != 0;
	return err;
}

/* ---- space ---- */

uint64_t pfs_pager_len(const struct pfs_pager *pager, const struct pfs_page *page,
		       const struct pfs_pager_need *need)
{
	struct pfs_container_base base = pfs_page_base(page, need->kind, need->tag);

	return pfs_container_len(need->container, &base, pager->min_value_size);
}

/* The most that the need can take in any page. */
static uint64_t len_bound(const struct pfs_pager *pager, const struct pfs_pager_need *need)
{
	uint64_t len = pfs_container_header_bound(need->container, need->kind) +
		       need->container->body_len + PFS_VARINT_MAX;

	return pfs_slot_len_round(pfs_max_u64(len, pager->min_value_size));
}

/* The least that it takes, in a page with the same base. */
static uint64_t len_least(const struct pfs_pager *pager, const struct pfs_pager_need *need)
{
	struct pfs_container_base base = {need->kind, need->tag, need->container->seq,
					  need->container->mtime_ns};

	return pfs_container_len(need->container, &base, pager->min_value_size);
}

/* Disk space for [from, to), where nothing is. What a failed attempt has got on a full disk goes
 * back, to whom it is enough for. */
static int back(struct pfs_page *page, uint64_t from, uint64_t to)
{
	struct pfs_file *file = page->file;
	int err = file->ops->allocate(file, from, to - from);

	if (err)
		(void)file->ops->punch(file, from, to - from);
	return err;
}

static int reserve_low(struct pfs_page *page, uint64_t low, uint64_t step)
{
	uint64_t to = pfs_min_u64(pfs_round_up(low, step), page->high_reserved);
	int err;

	to = pfs_max_u64(to, low);
	err = back(page, page->low_reserved, to);
	if (!err)
		page->low_reserved = to;
	return err;
}

static int reserve_high(struct pfs_page *page, uint64_t high, uint64_t step)
{
	uint64_t to = pfs_max_u64(high & ~(step - 1), page->low_reserved);
	int err;

	to = pfs_min_u64(to, high);
	err = back(page, to, page->high_reserved);
	if (!err)
		page->high_reserved = to;
	return err;
}

/* Reserves disk space so that [0, low) and [high, size) are backed: some ahead, where there is
 * room for that. */
static int reserve(struct pfs_page *page, uint64_t low, uint64_t high)
{
	uint64_t step = page->size / RESERVE_STEPS;
	int err = 0;

	step = pfs_max_u64(pfs_min_u64(step, RESERVE_STEP_MAX), RESERVE_STEP_MIN);
	if (low > page->low_reserved) {
		err = reserve_low(page, low, step);
		if (err == -ENOSPC && step > RESERVE_STEP_MIN)
			err = reserve_low(page, low, RESERVE_STEP_MIN);
	}
	if (!err && high < page->high_reserved) {
		err = reserve_high(page, high, step);
		if (err == -ENOSPC && step > RESERVE_STEP_MIN)
			err = reserve_high(page, high, RESERVE_STEP_MIN);
	}
	return err;
}

static int take_hole(struct pfs_page *page, uint64_t len, uint64_t *off)
{
	int err = pfs_space_reserve(&page->space, 1);

	if (!err)
		err = pfs_space_take(&page->space, len, off);
	if (err || !page->punched)
		return err;
	err = back(page, *off, *off + len);
	if (err)
		(void)pfs_space_add(&page->space, *off, len);
	return err;
}

int pfs_pager_extend(struct pfs_pager *pager, const struct pfs_extent_at *at, uint64_t more)
{
	struct pfs_page *page = pfs_pager_find(pager, at->page);
	uint64_t off = at->off + at->len;
	int err;

	if (!page || !page->loaded || page->unusable)
		return -ENOSPC;
	err = pfs_space_reserve(&page->space, 1);
	if (!err)
		err = pfs_space_take_at(&page->space, off, more);
	if (!err && page->punched) {
		err = back(page, off, off + more);
		if (err)
			(void)pfs_space_add(&page->space, off, more);
	}
	if (!err)
		pfs_pager_update_room(pager, page);
	return err;
}

/* *from_hole: it is among what was used before, not from the gap. */
static int take_from(struct pfs_pager *pager, struct pfs_page *page,
		     const struct pfs_pager_need *need, struct pfs_extent_at *out, bool *from_hole)
{
	uint64_t len = pfs_pager_len(pager, page, need), slots_end, off;
	bool new_slot = page->free_slot_count == 0;
	int err;

	slots_end = pfs_slot_offset(page->slot_count + (new_slot ? 1 : 0));
	if (page->unusable || page->closed || slots_end > page->floor)
		return -ENOSPC;
	*from_hole = pfs_space_longest(&page->space) >= len;
	if (!*from_hole && page->floor - slots_end < len)
		return -ENOSPC;
	err = reserve(page, slots_end, *from_hole ? page->floor : page->floor - len);
	if (!err && *from_hole)
		err = take_hole(page, len, &off);
	if (err)
		return err;
	if (!*from_hole) {
		page->floor -= len;
		off = page->floor;
	}
	out->page = page->number;
	out->slot = new_slot ? page->slot_count++ : page->free_slots[--page->free_slot_count];
	out->off = (uint32_t)off;
	out->len = len;
	pfs_pager_update_room(pager, page);
	return 0;
}

static int page_create(struct pfs_pager *pager, const struct pfs_pager_need *need,
		       struct pfs_page **out)
{
	uint64_t size = pager->page_size;
	struct pfs_page *page;
	char name[32];
	int err;

	*out = NULL;
	while (size <
	       PFS_PAGE_HEADER_LEN + PFS_SLOT_LEN + len_bound(pager, need) + PFS_PAGE_TRAILER_LEN)
		size *= 2;
	page = calloc(1, sizeof(*page));
	if (!page)
		return -ENOMEM;
	pfs_space_init(&page->space);
	page->number = page->fit.number = (uint32_t)pfs_max_u64(pager->last, pager->skip_to) + 1;
	if (page->number > PFS_PAGE_NUMBER_MAX) {
		free(page);
		return -ENOSPC;
	}
	page->size = page->file_size = page->high_reserved = size;
	page->floor = size - PFS_PAGE_TRAILER_LEN;
	page->unborn = true;
	page->base_seq = need->container->seq;
	page->base_mtime = need->container->mtime_ns;
	page->loaded = true;
	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, page->number);
	err = pager->dir->ops->open(pager->dir, name, PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_EXCL,
				    &page->file);
	if (!err) {
		err = page->file->ops->truncate(page->file, size);
		if (!err)
			err = page->file->ops->map(page->file, size, &page->map);
		if (!err)
			err = reserve(page, PFS_PAGE_HEADER_LEN + PFS_SLOT_LEN,
				      page->floor - len_bound(pager, need));
		if (!err)
			err = pfs_pager_publish(pager, page);
		if (err)
			pager->dir->ops->unlink(pager->dir, name);
	}
	if (err) {
		pfs_page_free(page);
		return err;
	}
	__atomic_store_n(&pager->dir_dirty, true, __ATOMIC_RELEASE);
	page->fit.room = room_of(page);
	pfs_fit_insert(&pager->fit, &page->fit);
	*out = page;
	return 0;
}

static int take(struct pfs_pager *pager, const struct pfs_pager_need *need,
		struct pfs_extent_at *out, bool *from_hole)
{
	struct pfs_page *page;
	struct pfs_fit_node *node;
	uint64_t bound = len_bound(pager, need);
	unsigned tries = 0;
	int err;

	*out = (struct pfs_extent_at){0};
	node = pfs_fit_from(&pager->fit, len_least(pager, need), 0);
	while (node) {
		uint64_t room = node->room;
		uint32_t number = node->number;

		if (room < bound && tries++ == NEAR_TRIES) {
			node = pfs_fit_from(&pager->fit, bound, 0);
			continue;
		}
		/* A page that was not loaded may turn out to have less room than was saved. On a
		 * full disk the gaps of pages can't be used, but their holes can: go on to the
		 * next. */
		page = page_of(node);
		err = pfs_pager_len(pager, page, need) > room ? -ENOSPC
							      : pfs_pager_load(pager, page);
		if (!err)
			err = take_from(pager, page, need, out, from_hole);
		if (!err)
			return 0;
		if (err != -ENOSPC)
			return err;
		node = pfs_fit_from(&pager->fit, room, number + 1);
	}
	err = page_create(pager, need, &page);
	return err ? err : take_from(pager, page, need, out, from_hole);
}

int pfs_pager_alloc(struct pfs_pager *pager, const struct pfs_pager_need *need,
		    struct pfs_extent_at *out)
{
	bool from_hole;

	return take(pager, need, out, &from_hole);
}

void pfs_pager_free_bytes(struct pfs_pager *pager, uint32_t number, uint64_t off, uint64_t len)
{
	struct pfs_page *page = pfs_pager_find(pager, number);
	int err = 0;

	if (!page || !page->loaded || page->unusable || len == 0)
		return;
	if (len >= PUNCH_MIN) {
		uint64_t from = pfs_round_up(off, RESERVE_STEP_MIN),
			 to = (off + len) & ~(RESERVE_STEP_MIN - 1);

		if (page->file->ops->punch(page->file, from, to - from) == 0)
			page->punched = true;
	}
	err = pfs_space_add(&page->space, off, len);
	page->inexact = page->inexact || err;
	(void)PFS_NEVER(pager->logger, err == -EUCLEAN);
	if (err)
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "page %u: %llu free bytes are not reused until the next opening: %s",
			 number, (unsigned long long)len, strerror(-err));
	pfs_pager_update_room(pager, page);
}

void pfs_pager_free_slot(struct pfs_pager *pager, const struct pfs_extent_at *at)
{
	struct pfs_page *page = pfs_pager_find(pager, at->page);

	if (!page || !page->loaded || page->unusable)
		return;
	if (push_free_slot(page, at->slot) != 0) {
		page->inexact = true;
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "page %u: slot %u is not reused until the next opening", at->page,
			 at->slot);
	}
	pfs_pager_update_room(pager, page);
}

void pfs_pager_free(struct pfs_pager *pager, const struct pfs_extent_at *at)
{
	pfs_pager_free_slot(pager, at);
	pfs_pager_free_bytes(pager, at->page, at->off, at->len);
}

int pfs_pager_probe(struct pfs_pager *pager, const struct pfs_pager_need *need)
{
	struct pfs_extent_at at;
	bool from_hole;
	int err = take(pager, need, &at, &from_hole);

	if (err)
		return err;
	/* What was never used is so again. A hole stays one, also next to the gap (P1). */
	if (from_hole)
		pfs_pager_free_bytes(pager, at.page, at.off, at.len);
	else
		pfs_pager_find(pager, at.page)->floor += at.len;
	pfs_pager_free_slot(pager, &at);
	return 0;
}

/* ---- reading ---- */

int pfs_page_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len)
{
	if (off > page->size || len > page->size - off)
		return -EUCLEAN;
	if (off + len > page->file_size)
		return -EIO;
	return pfs_map_copy(dst, page->map + off, len);
}

int pfs_page_read_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *slot)
{
	struct pfs_slot_disk disk;
	int err = pfs_page_copy(page, &disk, pfs_slot_offset(number), sizeof(disk));

	if (err)
		return err;
	return pfs_slot_decode(slot, &disk, PFS_PAGE_HEADER_LEN, page->size);
}
