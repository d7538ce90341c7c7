/* Qdrant's write-ahead log: how far it reaches. What its operations do is not read.
 *
 *	closed-N	a file that is complete; its first operation has the number N
 *	open-N		the file that is written to, or one prepared for later; the lowest N with
 *			operations comes first
 *	first-index	{"ack_index": N}: the operations before N are in the segments
 *
 * A file begins with "wal", a zero byte, and the u32 seed of its checksums. Operations follow: u64
 * length, the bytes, zeros up to 4 bytes before a multiple of 8, and a CRC32C of all this that
 * continues the one before. */
#ifndef TOOLS_QDRANT_WAL_H
#define TOOLS_QDRANT_WAL_H

#include "tools/qdrant_file.h"

struct qdrant_wal {
	uint64_t end; /* one more than the number of the last operation; 0: there is none */
	uint64_t ack; /* operations before this one are in the segments, 0 when not known */
	int lock;     /* keeps Qdrant out while it is held; -1: not held */
};

/* directory is a shard's `wal`. -EBUSY: a running Qdrant has it. -ENOMEM. It is no error if there
 * is no such directory. */
int qdrant_wal_open(struct qdrant_wal *wal, const char *directory,
		    const struct qdrant_notes *notes);
void qdrant_wal_close(struct qdrant_wal *wal);

#endif
