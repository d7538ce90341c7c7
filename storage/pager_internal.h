/* Rank 3: the inside of the pager, shared by the pager*.c files and by nobody else. */
#ifndef PFS_PAGER_INTERNAL_H
#define PFS_PAGER_INTERNAL_H

#include "storage/pager.h"

#define TABLE_CHUNK 4096u
#define TABLE_CHUNKS ((PFS_PAGE_NUMBER_MAX + 1) / TABLE_CHUNK)

struct pfs_pager {
	struct pfs_dir *dir;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t page_size;
	uint32_t min_value_size;
	bool read_only;
	const struct pfs_logger *logger;

	struct pfs_page **chunks[TABLE_CHUNKS]; /* published with release */
	uint32_t last;				/* highest number, published with release */
	uint64_t *damaged;			/* while opening */
	struct pfs_page_set set, seen;		/* what there must be; of that, what there is */
	struct pfs_page *uncounted;		/* whose file is there, though not in the set */
	uint32_t skip_to; /* numbers up to this are taken by files that could not be used */

	struct pfs_fit fit; /* commit lock */
	bool dir_dirty;	    /* atomic: set under the commit lock, cleared by the writer */
	bool cannot_remove; /* writer thread: the file of a page that was counted out is still
			       there; only one may be */
};

/* Puts the page into the table, where readers find it. -ENOMEM. */
int pfs_pager_publish(struct pfs_pager *pager, struct pfs_page *page);
void pfs_pager_update_room(struct pfs_pager *pager, struct pfs_page *page);
void pfs_page_free(struct pfs_page *page);

#endif
