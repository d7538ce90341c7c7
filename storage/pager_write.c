/* Writing and syncing pages. */
#include "storage/pager_internal.h"

int pfs_page_write(struct pfs_page *page, const void *bytes, size_t len, uint64_t off)
{
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
	int err;

	memcpy(header.uuid, pager->uuid, PFS_UUID_LEN);
	lock(arg, true);
	header.slot_count = page->slot_count;
	header.floor = (uint32_t)page->floor;
	lock(arg, false);
	pfs_page_header_encode(&disk, &header);
	page->dirty = true;
	err = page->file->ops->write(page->file, &disk, sizeof(disk), off);
	if (!err && off == 0) {
		page->disk_slot_count = header.slot_count;
		page->disk_floor = header.floor;
	}
	return err;
}

/* Slots and containers that were given out and taken back without being written count, too: what is
 * free is then the same to whoever opens the page next. */
static bool header_lags(struct pfs_page *page, void (*lock)(void *arg, bool on), void *arg)
{
	bool lags;

	lock(arg, true);
	lags = page->slot_count != page->disk_slot_count || page->floor != page->disk_floor;
	lock(arg, false);
	return lags;
}

int pfs_pager_write_headers(struct pfs_pager *pager, void (*lock)(void *arg, bool on), void *arg)
{
	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);
		int err;

		if (!page || page->unusable || page->unborn ||
		    (!page->header_dirty && !header_lags(page, lock, arg)))
			continue;
		err = write_header(pager, page, 0, lock, arg);
		if (err)
			return err;
		page->header_dirty = false;
	}
	return 0;
}

int pfs_pager_give_birth(struct pfs_pager *pager, struct pfs_page_set *set,
			 void (*lock)(void *arg, bool on), void *arg)
{
	struct pfs_page_set born = *set;
	bool any = false;
	int err;

	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (!page)
			continue;
		/* Also one that an attempt which failed has written and not synced. */
		if (n > set->highest) {
			pfs_page_set_add(&born, n);
			any = true;
		}
		if (!page->unborn)
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
	err = any ? pfs_pager_sync(pager) : 0;
	if (!err)
		*set = born;
	return err;
}

int pfs_pager_restore_trailer(struct pfs_pager *pager, struct pfs_page *page,
			      void (*lock)(void *arg, bool on), void *arg)
{
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	const char *why;
	int err = 0;

	if (page->unusable)
		return 0;
	err = pfs_page_copy(page, &disk, page->size - PFS_PAGE_TRAILER_LEN, sizeof(disk));
	if (!err && pfs_page_header_decode(&header, &disk, pager->uuid, &why) == 0 &&
	    header.number == page->number)
		return 0;
	return write_header(pager, page, page->size - PFS_PAGE_TRAILER_LEN, lock, arg);
}

int pfs_page_clear_gap(struct pfs_page *page)
{
	static const uint8_t zeros[4096];
	uint64_t off = pfs_slot_offset(page->slot_count);
	uint8_t chunk[sizeof(zeros)];
	int err = 0;

	while (off < page->floor && !err && !page->unusable) {
		size_t len = pfs_min_u64(sizeof(chunk) - off % sizeof(chunk), page->floor - off);

		err = pfs_page_copy(page, chunk, off, len);
		if (!err && !pfs_is_zero(chunk, len))
			err = pfs_page_write(page, zeros, len, off);
		off += len;
	}
	return err;
}

int pfs_pager_sync(struct pfs_pager *pager)
{
	int err = 0;

	for (uint32_t n = pfs_pager_next(pager, 0); n && !err; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (!page || !page->dirty)
			continue;
		err = pfs_file_sync(page->file);
		if (!err)
			page->dirty = false;
	}
	if (!err && __atomic_exchange_n(&pager->dir_dirty, false, __ATOMIC_ACQ_REL))
		err = pfs_dir_sync(pager->dir);
	return err;
}
