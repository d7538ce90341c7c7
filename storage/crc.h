/* Rank 1: CRC32C (Castagnoli, reflected, as in iSCSI, ext4, btrfs), with SSE4.2 or the ARMv8
 * instruction where the processor has it (detected at run time), else slicing tables. */
#ifndef PFS_CRC_H
#define PFS_CRC_H

#include "storage/base.h"

/* Continues crc (0 to begin) over len bytes: pfs_crc32c(pfs_crc32c(0, a), b) is the CRC of a
 * followed by b. */
uint32_t pfs_crc32c(uint32_t crc, const void *data, size_t len);

/* What zero bytes, len of them, do to the difference of two CRCs: for any crc and len bytes of data
 * pfs_crc32c(crc, data, len) is pfs_crc32c_shift(crc, len) ^ pfs_crc32c(0, data, len). That takes a
 * few multiplications, however many the bytes are. */
uint32_t pfs_crc32c_shift(uint32_t crc, size_t len);

/* The CRC of the bytes between two places, len apart, of which is known what the CRC of all before
 * each is; continuing crc. */
static inline uint32_t pfs_crc32c_between(uint32_t crc, uint32_t before, uint32_t behind,
					  size_t len)
{
	return pfs_crc32c_shift(crc ^ before, len) ^ behind;
}

/* Of len bytes whose CRC differs from what it should be by `difference` (the XOR of both): the one
 * bit that explains it, counted from the first byte's lowest; UINT64_MAX when no single one does.
 * Of bytes with more than one wrong bit it names one by chance at a rate of 8 * len / 2^32. */
uint64_t pfs_crc32c_wrong_bit(uint32_t difference, size_t len);

#endif
