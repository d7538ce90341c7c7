/* Rank 3: the page files: mapping, space, writing, syncing.
 *
 * PG1: a page's free extents, its gap [slots, floor) and the containers that are allocated in it
 * are disjoint and cover [slots, size). PG2: disk space of every allocated container and slot is
 * reserved before pfs_pager_alloc returns. PG3: base_seq, base_mtime and size of a page never
 * change after it was made. PG4: a closed page gives out no space, but for a container that grows
 * where it stands. PG5: a page is retired only when nothing is allocated in it and it is closed,
 * and it is freed an epoch after it was taken out of the table; its number is not used again.
 *
 * Locks. alloc, free, load, stat: the store's commit lock. write, header, sync, retire: the writer
 * thread only. Reading (find, next, slot, copy): any thread inside an epoch section, no lock. */
#ifndef PFS_PAGER_H
#define PFS_PAGER_H

#include "storage/fit.h"
#include "storage/io.h"
#include "storage/log.h"
#include "storage/page.h"
#include "storage/space.h"
#include "storage/super.h"

struct pfs_pager;

struct pfs_page {
	struct pfs_fit_node fit; /* first member; room kept current by the pager */
	uint32_t number;
	struct pfs_file *file;
	const uint8_t *map;
	uint64_t size;
	uint64_t file_size; /* less where the file was cut */
	uint64_t generation;
	uint64_t base_seq;
	int64_t base_mtime;

	/* Commit lock. */
	uint32_t slot_count;
	uint64_t floor;
	uint64_t low_reserved;	/* disk space is there for [0, low_reserved) */
	uint64_t high_reserved; /* and for [high_reserved, size) */
	struct pfs_space space; /* free extents between floor and size */
	uint32_t *free_slots;
	uint32_t free_slot_count, free_slot_cap;
	bool punched; /* disk space of some free extents was given back */
	bool loaded;  /* space and free_slots are known, not only the room */
	/* What is free in it can't be known, because it is damaged: until it is repaired it takes
	 * nothing, nothing in it is written over but the slots of documents that are removed, and
	 * its header stays as it is. */
	bool unusable;
	bool closed;	     /* takes nothing: its values are being moved away */
	bool retiring;	     /* closed for good, to be removed */
	bool inexact;	     /* for lack of memory something free is not known to be */
	uint64_t stuck_used; /* 1 + most used bytes since it could not be emptied; 0: it could */
	uint64_t packed_run; /* the full compaction that has dealt with it */
	/* From a saved index. */
	uint64_t saved_room, saved_free_bytes;
	uint32_t saved_free_slots;
	uint32_t saved_slots_crc;
	bool has_saved;

	/* Writer thread. */
	bool dirty, header_dirty;
	uint32_t disk_slot_count; /* what its header says */
	uint64_t disk_floor;
	bool unborn; /* its header was never synced: nothing else may be written to it yet */
};

struct pfs_pager_options {
	struct pfs_dir *dir;
	const uint8_t *uuid;
	uint64_t page_size;
	uint32_t min_value_size;
	bool read_only;
	struct pfs_page_set pages; /* what there must be */
	const struct pfs_logger *logger;
};

/* Opens every page file of the directory. Newborn files (not in the set) without a valid header are
 * removed, or left out when read-only. A damaged or missing page does not fail the opening: it
 * is reported and left out; one that ends early is used as far as it goes. *damaged counts all of
 * these: of what they held, slots may not be there to be read. A page that can't be read now, or
 * not with what there is, does fail it, unless read-only. */
int pfs_pager_open(struct pfs_pager **out, const struct pfs_pager_options *options,
		   uint64_t *damaged);
/* Removes the file of a page that was counted out, so that there is never more than one: before any
 * place is looked for, because nothing may be put there. After the superblock has been written and
 * synced anew: what was read of it may not be on the disk. */
int pfs_pager_remove_uncounted(struct pfs_pager *pager);
void pfs_pager_close(struct pfs_pager *pager);

/* Place of a container and its slot. page 0: none. */
struct pfs_extent_at {
	uint32_t page, slot;
	uint32_t off;
	uint64_t len;
};

/* What the pager must know to size a container for the page it finds: the header with body_len set,
 * the key. */
struct pfs_pager_need {
	const struct pfs_container *container;
	unsigned kind;
	uint64_t tag;
};

/* Finds the best-fitting page (made anew if none fits), takes a slot and a container and reserves
 * their disk space. -ENOSPC (nothing has changed), -ENOMEM, -EIO. */
int pfs_pager_alloc(struct pfs_pager *pager, const struct pfs_pager_need *need,
		    struct pfs_extent_at *out);

/* The container length that the need takes in this page. */
uint64_t pfs_pager_len(const struct pfs_pager *pager, const struct pfs_page *page,
		       const struct pfs_pager_need *need);

/* Gives slot and container back for reuse. */
void pfs_pager_free(struct pfs_pager *pager, const struct pfs_extent_at *at);

/* Whether the need could be placed: takes what alloc does and gives it back at once, so that the
 * gap of a page stays in one piece and what lies next to each other in time does so in the page,
 * too. The disk space stays reserved. Errors of alloc. */
int pfs_pager_probe(struct pfs_pager *pager, const struct pfs_pager_need *need);

/* Gives back only the slot. */
void pfs_pager_free_slot(struct pfs_pager *pager, const struct pfs_extent_at *at);

/* Gives back [off, off + len) of a container that shrank, or had only its slot given back. */
void pfs_pager_free_bytes(struct pfs_pager *pager, uint32_t page, uint64_t off, uint64_t len);

/* Makes the container at `at` longer by `more` bytes of the free extent that begins right behind
 * it. Closed pages too (PG4). -ENOSPC: none does, or it is shorter; -ENOMEM; nothing has changed.
 */
int pfs_pager_extend(struct pfs_pager *pager, const struct pfs_extent_at *at, uint64_t more);

/* Reads the page's slots and works out its free space, unless that is known. Before any slot of it
 * is retired. */
int pfs_pager_load(struct pfs_pager *pager, struct pfs_page *page);

/* The same anew, if it is not exact. Nothing is on its way to any page. */
int pfs_pager_reload(struct pfs_pager *pager, struct pfs_page *page);

/* What a saved index says of a page: lets it be used without reading its slots until it is
 * changed. */
struct pfs_pager_saved {
	uint64_t room, free_bytes;
	uint32_t free_slots, slots_crc;
};
void pfs_pager_set_saved(struct pfs_pager *pager, struct pfs_page *page,
			 const struct pfs_pager_saved *saved);
/* What is to be saved of it: exact, whether or not it is closed just now; of a page that was not
 * read, or could not be, what was saved before. If there was nothing, no slots have the checksum
 * that is saved of an unusable page. */
void pfs_pager_get_saved(const struct pfs_page *page, struct pfs_pager_saved *saved);

/* The page is damaged (see there). */
void pfs_pager_make_unusable(struct pfs_pager *pager, struct pfs_page *page);

/* ---- space of a page: commit lock ---- */

/* Exact at any moment, for pages with damaged slots a lower bound of `used`. */
struct pfs_page_space {
	uint64_t used;	/* bytes of containers that are allocated */
	uint64_t holes; /* free bytes between them */
	uint64_t gap;	/* bytes between slots and containers that were never used */
	uint32_t slots, free_slots;
	uint64_t disk;	/* bytes of disk that the page takes */
	uint64_t ahead; /* of the gap: bytes that were reserved ahead */
};
void pfs_page_space(const struct pfs_page *page, struct pfs_page_space *out);

/* Bytes of containers and slots in use. */
uint64_t pfs_page_live(const struct pfs_page_space *space);
/* Free bytes that take disk: holes and free slots that were not punched. Without what is reserved
 * ahead. */
uint64_t pfs_page_dead(const struct pfs_page_space *space);

/* Whether nothing is allocated in it. */
bool pfs_page_is_empty(const struct pfs_page *page);

/* Gives back the disk space that pages have reserved ahead; what they need later is reserved
 * anew. Checkpoint lock, too. */
void pfs_pager_trim(struct pfs_pager *pager);

/* Closes the page for new containers, or opens it again. */
void pfs_pager_close_page(struct pfs_pager *pager, struct pfs_page *page, bool closed);

/* Counts used bytes and free slots anew from the slots, as they are on disk. -EUCLEAN: some are
 * damaged, -EIO. */
int pfs_page_recount(const struct pfs_page *page, uint64_t *used, uint32_t *free_slots);

/* An empty page to be retired, now closed; NULL: there is none. keep: but one for what comes. */
struct pfs_page *pfs_pager_spare(struct pfs_pager *pager, bool keep);

/* Takes the page out of the table. It may be freed after an epoch. */
void pfs_pager_unpublish(struct pfs_pager *pager, struct pfs_page *page);

/* ---- reading ---- */

struct pfs_page *pfs_pager_find(struct pfs_pager *pager, uint32_t number);
uint32_t pfs_pager_last(const struct pfs_pager *pager); /* highest number, of former pages too */
/* The lowest number above `after` of a page that is there; 0: there is none. It takes the same time
 * whatever the numbers are, which are never used again and grow for as long as a store is used: who
 * looks at all pages goes by this. A page that comes or goes meanwhile may be met or not; without
 * the commit lock, what is met may not be found any more. */
uint32_t pfs_pager_next(const struct pfs_pager *pager, uint32_t after);
/* The page itself; NULL: there is none. Commit lock. */
struct pfs_page *pfs_pager_next_page(struct pfs_pager *pager, uint32_t after);

/* -EUCLEAN: not a valid slot, -EIO. */
int pfs_page_read_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *slot);
/* -EUCLEAN: outside of the page, -EIO: not in its file, or it can't be read. */
int pfs_page_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len);

static inline struct pfs_container_base pfs_page_base(const struct pfs_page *page, unsigned kind,
						      uint64_t tag)
{
	return (struct pfs_container_base){kind, tag, page->base_seq, page->base_mtime};
}

/* ---- writing ---- */

int pfs_page_write(struct pfs_page *page, const void *bytes, size_t len, uint64_t off);
/* Writes the headers of pages that have new slots or a lower floor. Takes the commit lock. */
int pfs_pager_write_headers(struct pfs_pager *pager, void (*lock)(void *arg, bool on), void *arg);
/* Writes and syncs header, trailer and name of pages that were made since the last call, so that a
 * page with an all-zero header is known to hold nothing, and adds them to the set, which must be
 * durable before the first other write to them. */
int pfs_pager_give_birth(struct pfs_pager *pager, struct pfs_page_set *set,
			 void (*lock)(void *arg, bool on), void *arg);
/* After a crash: writes the copy of the header again if the making of the page was cut off before
 * it. */
int pfs_pager_restore_trailer(struct pfs_pager *pager, struct pfs_page *page,
			      void (*lock)(void *arg, bool on), void *arg);
/* After a crash: zeroes what lies between the slots and the floor, so that bytes written there
 * under a header that did not reach the disk can't be taken for slots later. */
int pfs_page_clear_gap(struct pfs_page *page);
/* Syncs the pages written since the last call, and the directory if files are new. */
int pfs_pager_sync(struct pfs_pager *pager);

/* After unpublishing and an epoch: unmaps the page, removes its file, syncs the directory, frees
 * it. What can't be removed is left to the next opening; then none is spare any more until that. */
int pfs_pager_remove(struct pfs_pager *pager, struct pfs_page *page);

struct pfs_pager_stat {
	uint64_t pages, size_bytes, disk_bytes;
	uint64_t free_bytes;			    /* that take disk */
	uint64_t used_bytes, hole_bytes, gap_bytes; /* sums of pfs_page_space */
};
int pfs_pager_stat(struct pfs_pager *pager, struct pfs_pager_stat *out);

#endif
