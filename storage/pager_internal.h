/* Rank 3: the inside of the pager, shared by the pager*.c files and by nobody else. */
#ifndef PFS_PAGER_INTERNAL_H
#define PFS_PAGER_INTERNAL_H

#include "storage/pager.h"

#define TABLE_CHUNK 4096u
#define TABLE_CHUNKS ((PFS_PAGE_NUMBER_MAX + 1) / TABLE_CHUNK)

/* 4096 bits, and for each 64 of them one that says whether any is set. A reader beside a change may
 * see it or not. Changes: commit lock. */
struct pfs_bits {
	uint64_t words[64], any;
};

_Static_assert(TABLE_CHUNK == 4096 && TABLE_CHUNKS == 4096, "struct pfs_bits");

struct pfs_table_chunk {
	struct pfs_page *pages[TABLE_CHUNK];
	struct pfs_bits there; /* the pages that are */
};

struct pfs_pager {
	struct pfs_dir *dir;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t page_size;
	uint32_t min_value_size;
	bool read_only;
	const struct pfs_logger *logger;

	struct pfs_table_chunk *chunks[TABLE_CHUNKS]; /* published with release */
	struct pfs_bits occupied;		      /* the chunks that have pages */
	uint32_t last;				      /* highest number, published with release */
#ifdef PFS_DEBUG
	uint64_t looks; /* atomic: into the table, for tests */
#endif
	uint64_t *damaged;	       /* while opening */
	struct pfs_page_set set, seen; /* what there must be; of that, what there is */
	struct pfs_page *uncounted;    /* whose file is there, though not in the set */
	uint32_t skip_to; /* numbers up to this are taken by files that could not be used */

	struct pfs_fit fit; /* commit lock */
	bool dir_dirty;	    /* atomic: set under the commit lock, cleared by the writer */
	bool cannot_remove; /* writer thread: the file of a page that was counted out is still
			       there; only one may be */
};

/* Puts the page into the table, where readers find it. -ENOMEM. */
int pfs_pager_publish(struct pfs_pager *pager, struct pfs_page *page);
/* Takes it out. */
void pfs_pager_withdraw(struct pfs_pager *pager, struct pfs_page *page);
void pfs_pager_update_room(struct pfs_pager *pager, struct pfs_page *page);
void pfs_page_free(struct pfs_page *page);

#endif
