/* Rank 2: walking through the body of a journal record (FORMAT.md, "journal"). Pure; the bytes may
 * be anything. */
#ifndef PFS_RECORD_H
#define PFS_RECORD_H

#include "storage/format.h"
#include "storage/key.h"

/* Begin: of the record, its header included, so that padding is counted from there. Once bad, a
 * walk stays bad, and what it then takes is NULL or of kind NONE. */
struct pfs_record_walk {
	const uint8_t *begin, *at, *end;
	bool bad;
};

static inline size_t pfs_record_left(const struct pfs_record_walk *walk)
{
	return (size_t)(walk->end - walk->at);
}

/* The next len bytes, borrowed; NULL when there are not so many. */
const void *pfs_record_take(struct pfs_record_walk *walk, size_t len);

/* A key with its kind and length. */
void pfs_record_take_key(struct pfs_record_walk *walk, struct pfs_key *key);

/* Whether what a put says of its payload can be: the flags, both lengths, and the bytes that are
 * left in the record for the body. */
bool pfs_record_put_fits(unsigned flags, uint64_t raw_len, uint64_t body_len, size_t left);

/* The checksum of the len bytes, at least a header's, of a record: all but the checksum itself. */
uint32_t pfs_record_crc(uint32_t seed, const uint8_t *record, size_t len);

/* The padding to the next multiple of 8. */
void pfs_record_take_pad(struct pfs_record_walk *walk);

/* The keys of the whole record of len bytes, which has at least a header's: how many there are.
 * *end, if not NULL: the offset behind them. -EUCLEAN: it makes no sense, or has none (END). */
int pfs_record_keys(const uint8_t *record, size_t len, struct pfs_key keys[2], size_t *end);

#endif
