#include "storage/salvage.h"

#include "storage/crc.h"
#include "storage/io.h"
#include "storage/record.h"

/* A record's checksum leaves itself out: what is summed are bytes 0-3 and those from 8 on. */
#define CRC_AT 4
#define CRC_LEN 4

/* Finds the one wrong bit and turns it back. */
static bool mend(uint8_t *record, size_t len, uint32_t seed)
{
	uint32_t stored = pfs_get_le32(record + CRC_AT);
	uint32_t crc = pfs_crc32c(pfs_crc32c(seed, record, CRC_AT), record + CRC_AT + CRC_LEN,
				  len - CRC_AT - CRC_LEN);
	uint64_t bit;

	if (stored == crc)
		return true;
	bit = pfs_crc32c_wrong_bit(stored ^ crc, len - CRC_LEN);
	if (pfs_is_pow2(stored ^ crc)) {
		pfs_put_le32(record + CRC_AT, crc);
		return true;
	}
	if (bit == UINT64_MAX)
		return false;
	if (bit / 8 >= CRC_AT)
		bit += 8 * CRC_LEN;
	record[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	return true;
}

/* Whether what stands around the keys is what it must be: damage that changed them, and more than
 * one bit, would have to be very selective. */
static bool makes_sense(const uint8_t *record, size_t len, size_t keys_end)
{
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)record;
	const uint8_t *body = record + PFS_RECORD_HEADER_LEN;
	size_t data = pfs_round_up(keys_end, 8), data_len = 0;

	if (pfs_get_le64(head->durable.b) >= pfs_get_le64(head->seq.b) ||
	    !pfs_is_zero(head->zero, sizeof(head->zero)) || data > len ||
	    !pfs_is_zero(record + keys_end, data - keys_end))
		return false;
	if (head->type == PFS_RECORD_PUT)
		data_len = pfs_get_le32(((const struct pfs_put_disk *)body)->body_len.b);
	else if (head->type == PFS_RECORD_PATCH && !(head->flags & PFS_PATCH_ZERO))
		data_len = pfs_get_le64(((const struct pfs_patch_disk *)body)->len.b);
	return data_len <= len - data &&
	       pfs_max_u64(pfs_round_up(data + data_len, 8), PFS_RECORD_LEN_MIN) == len;
}

unsigned pfs_salvage_record(uint8_t *record, const struct pfs_salvage *what, struct pfs_key keys[2],
			    bool *exact)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	size_t keys_end;
	int count;

	*exact = false;
	keys[0] = keys[1] = (struct pfs_key){.kind = PFS_KEY_NONE};
	if (what->len < PFS_RECORD_LEN_MIN || what->len % 8 != 0)
		return 0;
	*exact = mend(record, what->len, what->seed);
	count = pfs_record_keys(record, what->len, keys, &keys_end);
	if (count > 0 && pfs_get_le32(head->len.b) == what->len &&
	    pfs_get_le64(head->seq.b) == what->seq &&
	    (*exact || (what->off / PFS_IO_SECTOR == (what->off + keys_end - 1) / PFS_IO_SECTOR &&
			makes_sense(record, what->len, keys_end))))
		return (unsigned)count;
	*exact = false;
	keys[0].kind = keys[1].kind = PFS_KEY_NONE;
	return 0;
}
