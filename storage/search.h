/* Rank 2: the records among bytes of a segment, found without walking from each to the next: what
 * is behind damage, or behind a tail (FORMAT.md, O7). Pure; the bytes may be anything, also heads
 * of records that somebody has put there. Whatever they are, they are summed twice at most. */
#ifndef PFS_SEARCH_H
#define PFS_SEARCH_H

#include "storage/format.h"

/* A record that verifies. */
struct pfs_found {
	uint32_t off, len;
	uint64_t seq;
	/* It, or one behind it, proves that the records below this sequence were durable: each
	 * proves so up to the one that it says was, and nothing of later ones than itself. */
	uint64_t proof;
};

struct pfs_search {
	struct pfs_found *found; /* ascending, none within another */
	size_t count, cap;
	uint64_t summed, heads; /* bytes, and heads that looked like a record's: what it took */
};

/* Adds the records that lie whole in [from, end) of the bytes of a segment, whose checksums begin
 * with the seed. from: a multiple of 8, behind what was added before. zeros: from there on the
 * caller knows of nothing but zeros (end, when it knows nothing). -ENOMEM. */
int pfs_search_add(struct pfs_search *search, const uint8_t *bytes, uint64_t from, uint64_t end,
		   uint64_t zeros, uint32_t seed);
void pfs_search_free(struct pfs_search *search);

/* The first record at off or behind it, of the sequence or a later one; NULL: none. */
const struct pfs_found *pfs_search_next(const struct pfs_search *search, uint64_t off,
					uint64_t seq);

/* Below which sequence the records from off on prove that all were durable; 0: there are none. */
uint64_t pfs_search_proof(const struct pfs_search *search, uint64_t off);

#endif
