#include "storage/record.h"

#include "storage/crc.h"
#include "storage/page.h"

const void *pfs_record_take(struct pfs_record_walk *walk, size_t len)
{
	const uint8_t *at = walk->at;

	if (walk->bad || len > pfs_record_left(walk)) {
		walk->bad = true;
		return NULL;
	}
	walk->at += len;
	return at;
}

void pfs_record_take_key(struct pfs_record_walk *walk, struct pfs_key *key)
{
	const uint8_t *head = pfs_record_take(walk, 2);
	const uint8_t *bytes = head ? pfs_record_take(walk, head[1]) : NULL;

	*key = (struct pfs_key){.kind = PFS_KEY_NONE};
	if (!bytes)
		return;
	if ((head[0] == PFS_KEY_NUM || head[0] == PFS_KEY_TEMP) && head[1] == 8) {
		*key = pfs_key_num(pfs_get_le64(bytes));
		key->kind = head[0];
	} else if (head[0] == PFS_KEY_UUID && head[1] == 16) {
		key->kind = PFS_KEY_UUID;
		memcpy(key->uuid, bytes, 16);
	} else if (head[0] != PFS_KEY_SCRATCH ||
		   pfs_key_parse(key, (const char *)bytes, head[1]) != 0 ||
		   key->kind != PFS_KEY_SCRATCH) {
		walk->bad = true;
		key->kind = PFS_KEY_NONE;
	}
}

bool pfs_record_put_fits(unsigned flags, uint64_t raw_len, uint64_t body_len, size_t left)
{
	bool lz4 = flags & PFS_PUT_LZ4, blocks = flags & PFS_PUT_BLOCKS;

	if (body_len > left || raw_len > PFS_GIB || (lz4 && blocks) ||
	    blocks != (raw_len > PFS_BLOCK_LEN))
		return false;
	if (blocks)
		return body_len >= pfs_block_count(raw_len) * PFS_BLOCK_ENTRY_LEN;
	return lz4 ? raw_len != 0 : body_len == raw_len;
}

void pfs_record_take_pad(struct pfs_record_walk *walk)
{
	size_t used = (size_t)(walk->at - walk->begin);

	(void)pfs_record_take(walk, pfs_round_up(used, 8) - used);
}

int pfs_record_keys(const uint8_t *record, size_t len, struct pfs_key keys[2], size_t *end)
{
	static const size_t heads[] = {
		[PFS_RECORD_PUT] = sizeof(struct pfs_put_disk),
		[PFS_RECORD_PATCH] = sizeof(struct pfs_patch_disk),
		[PFS_RECORD_ATTR] = sizeof(struct pfs_setattr_disk),
		[PFS_RECORD_REMOVE] = sizeof(pfs_le64),
		[PFS_RECORD_MOVE] = sizeof(struct pfs_move_disk),
	};
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)record;
	struct pfs_record_walk walk = {record, record + PFS_RECORD_HEADER_LEN, record + len, false};
	int count = head->type == PFS_RECORD_MOVE ? 2 : 1;

	keys[0] = keys[1] = (struct pfs_key){.kind = PFS_KEY_NONE};
	if (head->type >= pfs_array_len(heads) || !heads[head->type])
		return -EUCLEAN;
	(void)pfs_record_take(&walk, heads[head->type]);
	for (int i = 0; i < count; i++)
		pfs_record_take_key(&walk, &keys[i]);
	if (end)
		*end = (size_t)(walk.at - walk.begin);
	return walk.bad ? -EUCLEAN : count;
}

uint32_t pfs_record_crc(uint32_t seed, const uint8_t *record, size_t len)
{
	return pfs_crc32c(pfs_crc32c(seed, record, 4), record + 8, len - 8);
}
