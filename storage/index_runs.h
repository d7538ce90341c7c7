/* Rank 4: runs of documents that lie in one page, one slot after the other, under numbers that
 * follow one another, as an import or a compaction leaves them. What an index says of each of them,
 * its word and its hash, can be worked out; so a store with millions is opened without touching
 * them, and takes no memory for them until they are changed.
 *
 * Made by an opening, before anybody else looks at the index; not changed afterwards. */
#ifndef PFS_INDEX_RUNS_H
#define PFS_INDEX_RUNS_H

#include "storage/base.h"

struct pfs_index_run {
	uint32_t first, count; /* objects */
	uint64_t word;	       /* of the first */
	uint64_t number;       /* that is the first one's key */
};

struct pfs_index_runs {
	struct pfs_index_run *at; /* ascending objects */
	uint32_t *by_number;	  /* places in `at`, by the numbers there */
	size_t count, cap;
};

/* Objects are above those of earlier runs. -ENOMEM. */
int pfs_index_runs_add(struct pfs_index_runs *runs, const struct pfs_index_run *run);

/* After the last. -EUCLEAN: a number is in two of them. -ENOMEM. */
int pfs_index_runs_finish(struct pfs_index_runs *runs);

void pfs_index_runs_free(struct pfs_index_runs *runs);

/* The run that the object is in; NULL: none. */
const struct pfs_index_run *pfs_index_runs_of(const struct pfs_index_runs *runs, uint32_t object);

/* The first run with an object at or above this one; NULL: none. */
const struct pfs_index_run *pfs_index_runs_from(const struct pfs_index_runs *runs, uint32_t object);

/* The object that had the number; 0: none. */
uint32_t pfs_index_runs_find(const struct pfs_index_runs *runs, uint64_t number);

#endif
