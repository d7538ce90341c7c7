/* Bytes that seem to be heads of records, as anybody's payload may hold them. */
#ifndef PFS_TEST_FORGED_H
#define PFS_TEST_FORGED_H

#include "storage/format.h"

/* Fills [from, end) of the bytes of a segment. At half of all places, which is as many as there can
 * be, begins the head of a record that reaches up to end, or nearly, with a high sequence, and says
 * that all was durable. */
static inline void forge_heads(uint8_t *segment, uint64_t from, uint64_t end)
{
	for (uint64_t off = from, i = 0; off + 8 <= end; off += 8, i++) {
		uint64_t crc = pfs_mix64(off) >> 48 << 32;

		pfs_put_le64(segment + off, i % 6 < 3 ? crc | (end - off) / 8 * 8 : PFS_RECORD_PUT);
	}
}

#endif
