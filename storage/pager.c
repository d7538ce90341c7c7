#include "storage/pager.h"

#include <stdio.h>
#include <stdlib.h>

#define TABLE_CHUNK 4096u
#define TABLE_CHUNKS ((PFS_PAGE_NUMBER_MAX + 1) / TABLE_CHUNK)
#define RESERVE_STEP_MAX PFS_MIB
#define RESERVE_STEP_MIN (4 * PFS_KIB)
#define PUNCH_MIN PFS_MIB /* free extents from this on are given back to the filesystem */
#define RECOVER_LEN (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)
/* Pages are tried that may or may not fit, depending on their base: without that, a hole which one
 * document leaves would not be found for another of the same length. */
#define NEAR_TRIES 32
#define RESERVE_STEPS 64 /* a page's space is reserved in about so many steps */

struct pfs_pager {
	struct pfs_dir *dir;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t page_size;
	uint32_t min_value_size;
	bool read_only;
	const struct pfs_logger *logger;

	struct pfs_page *
		*chunks[TABLE_CHUNKS]; /* published with release; pages are never taken out */
	uint32_t last;		       /* highest number, published with release */
	uint64_t *damaged;	       /* while opening */
	uint32_t skip_to; /* numbers up to this are taken by files that could not be used */

	struct pfs_fit fit; /* commit lock */
	bool dir_dirty;	    /* atomic: set under the commit lock, cleared by the writer */
};

static struct pfs_page *page_of(struct pfs_fit_node *node)
{
	return (struct pfs_page *)node;
}

/* ---- the table of pages ---- */

struct pfs_page *pfs_pager_find(struct pfs_pager *pager, uint32_t number)
{
	struct pfs_page **chunk;

	if (number > PFS_PAGE_NUMBER_MAX)
		return NULL;
	chunk = __atomic_load_n(&pager->chunks[number / TABLE_CHUNK], __ATOMIC_ACQUIRE);
	return chunk ? __atomic_load_n(&chunk[number % TABLE_CHUNK], __ATOMIC_ACQUIRE) : NULL;
}

uint32_t pfs_pager_last(const struct pfs_pager *pager)
{
	return __atomic_load_n(&pager->last, __ATOMIC_ACQUIRE);
}

static int publish(struct pfs_pager *pager, struct pfs_page *page)
{
	struct pfs_page **chunk = pager->chunks[page->number / TABLE_CHUNK];

	if (!chunk) {
		chunk = calloc(TABLE_CHUNK, sizeof(*chunk));
		if (!chunk)
			return -ENOMEM;
		__atomic_store_n(&pager->chunks[page->number / TABLE_CHUNK], chunk,
				 __ATOMIC_RELEASE);
	}
	__atomic_store_n(&chunk[page->number % TABLE_CHUNK], page, __ATOMIC_RELEASE);
	if (page->number > pager->last)
		__atomic_store_n(&pager->last, page->number, __ATOMIC_RELEASE);
	return 0;
}

static void page_free(struct pfs_page *page)
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

/* The longest container that the page can take together with a slot for it. */
static uint64_t room_of(const struct pfs_page *page)
{
	uint64_t gap = gap_of(page), hole = pfs_space_longest(&page->space);

	if (page->unusable)
		return 0;
	if (page->free_slot_count == 0) {
		if (gap < PFS_SLOT_LEN || page->slot_count > PFS_SLOT_NUMBER_MAX)
			return 0;
		gap -= PFS_SLOT_LEN;
	}
	return pfs_max_u64(gap, hole);
}

static void update_room(struct pfs_pager *pager, struct pfs_page *page)
{
	uint64_t room = room_of(page);

	if (room == page->fit.room)
		return;
	pfs_fit_remove(&pager->fit, &page->fit);
	page->fit.room = room;
	pfs_fit_insert(&pager->fit, &page->fit);
}

void pfs_pager_set_room(struct pfs_pager *pager, struct pfs_page *page, uint64_t room,
			uint64_t free_bytes, uint32_t free_slots)
{
	if (page->loaded)
		return;
	pfs_fit_remove(&pager->fit, &page->fit);
	page->fit.room = room;
	page->saved_free_bytes = free_bytes;
	page->saved_free_slots = free_slots;
	pfs_fit_insert(&pager->fit, &page->fit);
}

struct used_extent {
	uint64_t off, len;
};

static int by_offset(const void *a, const void *b)
{
	const struct used_extent *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
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

/* Collects the containers of live slots, and the other slots as free. */
static int collect(struct pfs_pager *pager, struct pfs_page *page, struct used_extent *used,
		   size_t *used_count)
{
	struct pfs_slot slot;
	char where[32];
	int err;

	for (uint32_t i = page->slot_count; i-- > 0;) {
		err = pfs_page_read_slot(page, i, &slot);
		if (err == -EUCLEAN) {
			/* Its container can't be told from free space; the slot itself stays taken.
			 */
			snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
			pfs_corrupt(pager->logger, where, pfs_slot_offset(i), "slot %u is damaged",
				    i);
			continue;
		}
		if (err)
			return err;
		/* A header that did not reach the disk says less than its slots do. */
		if (pfs_slot_is_live(&slot) && slot.off < page->floor) {
			if (slot.off < pfs_slot_offset(page->slot_count))
				continue;
			page->floor = slot.off;
		}
		if (pfs_slot_is_live(&slot))
			used[(*used_count)++] = (struct used_extent){slot.off, slot.len};
		else if (push_free_slot(page, i) != 0)
			return -ENOMEM;
	}
	return 0;
}

/* Which parts of the page are free can't be known: nothing is put there any more. */
static void make_unusable(struct pfs_pager *pager, struct pfs_page *page)
{
	pfs_logf(pager->logger, PFS_LOG_ERROR,
		 PFS_PAGE_NAME_FMT ": slots can't be read; nothing is written there", page->number);
	page->free_slot_count = 0;
	page->unusable = page->loaded = true;
	update_room(pager, page);
}

int pfs_pager_load(struct pfs_pager *pager, struct pfs_page *page)
{
	struct used_extent *used;
	size_t count = 0;
	uint64_t at;
	int err;

	if (page->loaded)
		return 0;
	used = malloc((page->slot_count + 1) * sizeof(*used));
	if (!used)
		return -ENOMEM;
	page->free_slot_count = 0;
	err = collect(pager, page, used, &count);
	if (err == -EIO) {
		make_unusable(pager, page);
		err = 0;
		goto out;
	}
	if (err)
		goto out;
	at = page->floor;
	qsort(used, count, sizeof(*used), by_offset);
	used[count] = (struct used_extent){page->size - PFS_PAGE_TRAILER_LEN, 0};
	for (size_t i = 0; i <= count && !err; i++) {
		/* Overlap is damage, which the check names; here it only must not be taken for free
		 * space. */
		if (used[i].off > at)
			err = pfs_space_add(&page->space, at, used[i].off - at);
		at = pfs_max_u64(at, used[i].off + used[i].len);
	}
	if (err)
		goto out;
	page->loaded = true;
	update_room(pager, page);
out:
	if (err) {
		pfs_space_free(&page->space);
		page->free_slot_count = 0;
	}
	free(used);
	return err;
}

/* ---- opening ---- */

static bool all_zero(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++) {
		if (b[i])
			return false;
	}
	return true;
}

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
	if (all_zero(&disk, sizeof(disk)) && !has_copy)
		return 0;
	damaged = pfs_page_header_decode(&header, &disk, pager->uuid, &why) != 0;
	if (damaged) {
		err = has_copy ? recover_header(page, &copy)
			       : pfs_corrupt(pager->logger, name, 0, "%s", why);
		if (err)
			return err;
		header = copy;
		/* Without slots it was cut off while it was made. */
		if (header.slot_count || !all_zero(&disk, sizeof(disk)))
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
			have = publish(pager, page);
		if (have == 0) {
			/* With no room until it is loaded. */
			pfs_fit_insert(&pager->fit, &page->fit);
			return 0;
		}
	}
	page_free(page);
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
				page_free(pager->chunks[c][i]);
		}
		free(pager->chunks[c]);
	}
	free(pager);
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

/* Reserves disk space so that [0, low) and [high, size) are backed. */
static int reserve(struct pfs_page *page, uint64_t low, uint64_t high)
{
	uint64_t step = page->size / RESERVE_STEPS;
	int err;

	step = pfs_max_u64(pfs_min_u64(step, RESERVE_STEP_MAX), RESERVE_STEP_MIN);
	if (low > page->low_reserved) {
		uint64_t to = pfs_min_u64(pfs_round_up(low, step), page->high_reserved);

		to = pfs_max_u64(to, low);
		err = page->file->ops->allocate(page->file, page->low_reserved,
						to - page->low_reserved);
		if (err)
			return err;
		page->low_reserved = to;
	}
	if (high < page->high_reserved) {
		uint64_t to = pfs_max_u64(high & ~(step - 1), page->low_reserved);

		to = pfs_min_u64(to, high);
		err = page->file->ops->allocate(page->file, to, page->high_reserved - to);
		if (err)
			return err;
		page->high_reserved = to;
	}
	return 0;
}

static int take_hole(struct pfs_page *page, uint64_t len, uint64_t *off)
{
	int err = pfs_space_reserve(&page->space, 1);

	if (!err)
		err = pfs_space_take(&page->space, len, off);
	if (err || !page->punched)
		return err;
	err = page->file->ops->allocate(page->file, *off, len);
	if (err)
		pfs_space_add(&page->space, *off, len);
	return err;
}

static int take_from(struct pfs_pager *pager, struct pfs_page *page,
		     const struct pfs_pager_need *need, struct pfs_extent_at *out)
{
	uint64_t len = pfs_pager_len(pager, page, need), slots_end, off;
	bool new_slot = page->free_slot_count == 0;
	bool from_hole;
	int err;

	slots_end = pfs_slot_offset(page->slot_count + (new_slot ? 1 : 0));
	if (page->unusable || slots_end > page->floor)
		return -ENOSPC;
	from_hole = pfs_space_longest(&page->space) >= len;
	if (!from_hole && page->floor - slots_end < len)
		return -ENOSPC;
	err = reserve(page, slots_end, from_hole ? page->floor : page->floor - len);
	if (!err && from_hole)
		err = take_hole(page, len, &off);
	if (err)
		return err;
	if (!from_hole) {
		page->floor -= len;
		off = page->floor;
	}
	out->page = page->number;
	out->slot = new_slot ? page->slot_count++ : page->free_slots[--page->free_slot_count];
	out->off = (uint32_t)off;
	out->len = len;
	update_room(pager, page);
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
	page->size = page->high_reserved = size;
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
			err = publish(pager, page);
		if (err)
			pager->dir->ops->unlink(pager->dir, name);
	}
	if (err) {
		page_free(page);
		return err;
	}
	__atomic_store_n(&pager->dir_dirty, true, __ATOMIC_RELEASE);
	page->fit.room = room_of(page);
	pfs_fit_insert(&pager->fit, &page->fit);
	*out = page;
	return 0;
}

int pfs_pager_alloc(struct pfs_pager *pager, const struct pfs_pager_need *need,
		    struct pfs_extent_at *out)
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
			err = take_from(pager, page, need, out);
		if (!err)
			return 0;
		if (err != -ENOSPC)
			return err;
		node = pfs_fit_from(&pager->fit, room, number + 1);
	}
	err = page_create(pager, need, &page);
	return err ? err : take_from(pager, page, need, out);
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
	if (err == -EUCLEAN)
		(void)PFS_NEVER(pager->logger, true);
	else if (err)
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "page %u: %llu free bytes are not reused until the next opening: %s",
			 number, (unsigned long long)len, strerror(-err));
	update_room(pager, page);
}

void pfs_pager_free(struct pfs_pager *pager, const struct pfs_extent_at *at)
{
	struct pfs_page *page = pfs_pager_find(pager, at->page);

	if (!page || !page->loaded || page->unusable)
		return;
	if (push_free_slot(page, at->slot) != 0)
		pfs_logf(pager->logger, PFS_LOG_WARNING,
			 "page %u: slot %u is not reused until the next opening", at->page,
			 at->slot);
	pfs_pager_free_bytes(pager, at->page, at->off, at->len);
	update_room(pager, page);
}

/* ---- reading ---- */

int pfs_page_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len)
{
	if (off > page->size || len > page->size - off)
		return -EUCLEAN;
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

/* ---- writing ---- */

int pfs_pager_write(struct pfs_pager *pager, struct pfs_page *page, const void *bytes, size_t len,
		    uint64_t off)
{
	(void)pager;
	page->dirty = page->header_dirty = true;
	return page->file->ops->write(page->file, bytes, len, off);
}

static int write_header(struct pfs_pager *pager, struct pfs_page *page, uint64_t off,
			void (*lock)(void *arg, bool on), void *arg)
{
	struct pfs_page_header header = {
		.number = page->number,
		.page_size = page->size,
		.generation = page->generation,
		.base_seq = page->base_seq,
		.base_mtime = page->base_mtime,
	};
	struct pfs_page_disk disk;

	memcpy(header.uuid, pager->uuid, PFS_UUID_LEN);
	lock(arg, true);
	header.slot_count = page->slot_count;
	header.floor = (uint32_t)page->floor;
	lock(arg, false);
	pfs_page_header_encode(&disk, &header);
	page->dirty = true;
	return page->file->ops->write(page->file, &disk, sizeof(disk), off);
}

int pfs_pager_write_headers(struct pfs_pager *pager, void (*lock)(void *arg, bool on), void *arg)
{
	for (uint32_t n = 1; n <= pfs_pager_last(pager); n++) {
		struct pfs_page *page = pfs_pager_find(pager, n);
		int err;

		if (!page || !page->header_dirty)
			continue;
		err = write_header(pager, page, 0, lock, arg);
		if (err)
			return err;
		page->header_dirty = false;
	}
	return 0;
}

int pfs_pager_give_birth(struct pfs_pager *pager, void (*lock)(void *arg, bool on), void *arg)
{
	bool any = false;
	int err;

	for (uint32_t n = 1; n <= pfs_pager_last(pager); n++) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (!page || !page->unborn)
			continue;
		err = write_header(pager, page, 0, lock, arg);
		if (!err)
			err = write_header(pager, page, page->size - PFS_PAGE_TRAILER_LEN, lock,
					   arg);
		if (err)
			return err;
		page->unborn = false;
		any = true;
	}
	return any ? pfs_pager_sync(pager) : 0;
}

int pfs_pager_restore_trailer(struct pfs_pager *pager, struct pfs_page *page,
			      void (*lock)(void *arg, bool on), void *arg)
{
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	const char *why;
	int err = pfs_page_copy(page, &disk, page->size - PFS_PAGE_TRAILER_LEN, sizeof(disk));

	if (!err && pfs_page_header_decode(&header, &disk, pager->uuid, &why) == 0 &&
	    header.number == page->number)
		return 0;
	return write_header(pager, page, page->size - PFS_PAGE_TRAILER_LEN, lock, arg);
}

int pfs_pager_clear_gap(struct pfs_pager *pager, struct pfs_page *page)
{
	static const uint8_t zeros[4096];
	uint64_t off = pfs_slot_offset(page->slot_count);
	uint8_t chunk[sizeof(zeros)];
	int err = 0;

	while (off < page->floor && !err) {
		size_t len = pfs_min_u64(sizeof(chunk) - off % sizeof(chunk), page->floor - off);

		err = pfs_page_copy(page, chunk, off, len);
		if (!err && !all_zero(chunk, len))
			err = pfs_pager_write(pager, page, zeros, len, off);
		off += len;
	}
	return err;
}

int pfs_pager_sync(struct pfs_pager *pager)
{
	int err = 0;

	for (uint32_t n = 1; n <= pfs_pager_last(pager) && !err; n++) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (!page || !page->dirty)
			continue;
		err = page->file->ops->sync(page->file);
		if (!err)
			page->dirty = false;
	}
	if (!err && __atomic_exchange_n(&pager->dir_dirty, false, __ATOMIC_ACQ_REL))
		err = pager->dir->ops->sync_dir(pager->dir);
	return err;
}

int pfs_pager_stat(struct pfs_pager *pager, struct pfs_pager_stat *out)
{
	*out = (struct pfs_pager_stat){0};
	for (uint32_t n = 1; n <= pager->last; n++) {
		struct pfs_page *page = pfs_pager_find(pager, n);
		uint64_t disk = 0;
		int err;

		if (!page)
			continue;
		err = page->file->ops->disk_usage(page->file, &disk);
		if (err)
			return err;
		out->pages++;
		out->size_bytes += page->size;
		out->disk_bytes += disk;
		if (page->loaded && !page->punched)
			out->free_bytes +=
				page->space.free_bytes +
				page->free_slot_count * (uint64_t)PFS_SLOT_LEN +
				(page->low_reserved - pfs_slot_offset(page->slot_count)) +
				(page->floor - page->high_reserved);
		else if (!page->loaded)
			out->free_bytes += page->saved_free_bytes;
	}
	return 0;
}
