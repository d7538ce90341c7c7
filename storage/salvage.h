/* Rank 2: whose a damaged record of the journal was. Pure; the bytes may be anything. */
#ifndef PFS_SALVAGE_H
#define PFS_SALVAGE_H

#include "storage/format.h"
#include "storage/key.h"

/* The keys of a damaged record, of which is known that it is the len bytes at record and nothing
 * else (it is repaired there, as far as that goes), at which offset of its file it stood, what its
 * checksum is seeded with, and what sequence it has. One wrong bit is found by the checksum, and
 * *exact says that it was. Otherwise the keys are as they parse, if all else around them makes
 * sense and lies with them in one sector of the disk, which is whole or not. Their number, 0: not
 * known. */
struct pfs_salvage {
	uint64_t off;
	size_t len;
	uint32_t seed;
	uint64_t seq;
};
unsigned pfs_salvage_record(uint8_t *record, const struct pfs_salvage *what, struct pfs_key keys[2],
			    bool *exact);

#endif
