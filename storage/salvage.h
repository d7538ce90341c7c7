/* Rank 2: whose a damaged record of the journal was. Pure; the bytes may be anything. */
#ifndef PFS_SALVAGE_H
#define PFS_SALVAGE_H

#include "storage/format.h"
#include "storage/key.h"

/* The keys of a damaged record, of which is known that it is the len bytes at record and nothing
 * else (it is repaired there, as far as that goes), what its checksum is seeded with, and what
 * sequence it has. One wrong bit is found by the checksum, and *exact says that it was. Otherwise
 * the keys are as they parse, if all else around them makes sense. Their number, 0: not known. */
unsigned pfs_salvage_record(uint8_t *record, size_t len, uint32_t seed, uint64_t seq,
			    struct pfs_key keys[2], bool *exact);

#endif
