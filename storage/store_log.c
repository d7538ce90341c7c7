/* The records of changes, as they go to the journal. */
#include "storage/store_internal.h"

#define KEY_ROOM (2 + PFS_NAME_MAX)

/* kind, length, bytes */
static size_t encode_key(uint8_t out[KEY_ROOM], const struct pfs_key *key)
{
	out[0] = key->kind;
	if (key->kind == PFS_KEY_SCRATCH) {
		out[1] = key->name_len;
		memcpy(out + 2, key->name, key->name_len);
	} else if (key->kind == PFS_KEY_UUID) {
		out[1] = 16;
		memcpy(out + 2, key->uuid, 16);
	} else {
		out[1] = 8;
		pfs_put_le64(out + 2, key->num);
	}
	return 2u + out[1];
}

static void encode_attr(struct pfs_attr_disk *out, const struct pfs_version *v)
{
	pfs_put_le64(out->mtime.b, (uint64_t)v->mtime_ns);
	pfs_put_le32(out->mode.b, v->mode);
	pfs_put_le32(out->uid.b, v->uid);
	pfs_put_le32(out->gid.b, v->gid);
	pfs_put_le32(out->own.b, v->own_attr);
}

/* Says what is wrong with the journal. Returns the error. */
static int told(struct pfs_store *store, int err)
{
	if (err && pfs_journal_has_failed(store->journal))
		return pfs_store_fail(store, "writing to the journal", err);
	if (err && err != -ENOSPC && err != -ENOMEM && err != -EROFS && err != -ENOBUFS)
		pfs_logf(&store->logger, PFS_LOG_ERROR, "writing to the journal failed: %s",
			 strerror(-err));
	return err;
}

/* What a record is made of, and how many parts that is. */
#define PARTS(...) \
	(const struct iovec[]){__VA_ARGS__}, pfs_array_len(((const struct iovec[]){__VA_ARGS__}))

static int append(struct pfs_store *store, unsigned type, unsigned flags, const struct iovec *parts,
		  unsigned count, bool privileged, struct pfs_journal_pos *pos)
{
	int err = pfs_journal_append(store->journal, type, flags, parts, count, privileged, pos);

	if (!err)
		store->counters.records++;
	return told(store, err);
}

int pfs_log_release(struct pfs_store *store)
{
	return told(store, pfs_journal_release(store->journal));
}

/* Logs a put of packed under v's key and attributes, and makes the record v's source. */
int pfs_log_put(struct pfs_store *store, struct pfs_version *v, const struct pfs_packed *packed,
		uint64_t displaced, bool privileged)
{
	static const uint8_t zeros[8];
	struct pfs_put_disk put = {0};
	struct pfs_journal_pos pos;
	struct pfs_key key;
	uint8_t key_bytes[KEY_ROOM] = {0};
	size_t key_len, head, pad;
	int err;

	pfs_version_key(v, &key);
	key_len = encode_key(key_bytes, &key);
	head = PFS_RECORD_HEADER_LEN + sizeof(put) + key_len;
	pad = pfs_round_up(head, 8) - head;
	encode_attr(&put.attr, v);
	pfs_put_le64(put.raw_len.b, packed->raw_len);
	pfs_put_le64(put.content.b, packed->content);
	pfs_put_le32(put.dict.b, v->source.dict);
	pfs_put_le32(put.body_len.b, packed->body_len);
	pfs_put_le64(put.displaced.b, displaced);
	err = append(store, PFS_RECORD_PUT, packed->flags,
		     PARTS({&put, sizeof(put)}, {key_bytes, key_len},
			   {(void *)(uintptr_t)zeros, pad},
			   {(void *)(uintptr_t)packed->body, packed->body_len}),
		     privileged, &pos);
	if (err)
		return err;
	pfs_training_count(store, packed);
	if (v->source.kind == PFS_SOURCE_RECORD) {
		v->source.segment = pos.segment;
		v->source.record_off = pos.off;
		v->source.record_len = (uint32_t)pos.len;
		v->source.body_off = (uint32_t)(head + pad);
	}
	return 0;
}

int pfs_log_patch(struct pfs_store *store, const struct pfs_version *v, uint64_t base, uint64_t off,
		  uint64_t len, const void *data, bool privileged, struct pfs_journal_pos *pos,
		  uint32_t *data_off)
{
	static const uint8_t zeros[8];
	struct pfs_patch_disk patch = {0};
	struct pfs_key key;
	uint8_t key_bytes[KEY_ROOM] = {0};
	size_t key_len, head, pad;

	pfs_version_key(v, &key);
	key_len = encode_key(key_bytes, &key);
	head = PFS_RECORD_HEADER_LEN + sizeof(patch) + key_len;
	pad = pfs_round_up(head, 8) - head;
	encode_attr(&patch.attr, v);
	pfs_put_le64(patch.base.b, base);
	pfs_put_le64(patch.off.b, off);
	pfs_put_le64(patch.new_size.b, v->size);
	pfs_put_le64(patch.len.b, len);
	*data_off = (uint32_t)(head + pad);
	return append(store, PFS_RECORD_PATCH, data ? 0 : PFS_PATCH_ZERO,
		      PARTS({&patch, sizeof(patch)}, {key_bytes, key_len},
			    {(void *)(uintptr_t)zeros, pad},
			    {(void *)(uintptr_t)data, data ? len : 0}),
		      privileged, pos);
}

int pfs_log_attr(struct pfs_store *store, const struct pfs_version *v, uint64_t base,
		 bool privileged)
{
	struct pfs_setattr_disk setattr = {0};
	struct pfs_journal_pos pos;
	struct pfs_key key;
	uint8_t key_bytes[KEY_ROOM] = {0};

	pfs_version_key(v, &key);
	encode_attr(&setattr.attr, v);
	pfs_put_le64(setattr.base.b, base);
	return append(store, PFS_RECORD_ATTR, 0,
		      PARTS({&setattr, sizeof(setattr)}, {key_bytes, encode_key(key_bytes, &key)}),
		      privileged, &pos);
}

int pfs_log_remove(struct pfs_store *store, const struct pfs_key *key, uint64_t base)
{
	struct pfs_journal_pos pos;
	uint8_t key_bytes[KEY_ROOM] = {0};
	pfs_le64 base_disk;

	pfs_put_le64(base_disk.b, base);
	return append(
		store, PFS_RECORD_REMOVE, 0,
		PARTS({&base_disk, sizeof(base_disk)}, {key_bytes, encode_key(key_bytes, key)}),
		true, &pos);
}

int pfs_log_move(struct pfs_store *store, const struct pfs_key *from, uint64_t from_base,
		 const struct pfs_key *to, uint64_t to_base, uint64_t displaced, bool exchange)
{
	struct pfs_move_disk move = {0};
	struct pfs_journal_pos pos;
	uint8_t from_bytes[KEY_ROOM] = {0}, to_bytes[KEY_ROOM] = {0};

	pfs_put_le64(move.from_base.b, from_base);
	pfs_put_le64(move.to_base.b, to_base);
	pfs_put_le64(move.displaced.b, displaced);
	return append(store, PFS_RECORD_MOVE, exchange ? PFS_MOVE_EXCHANGE : 0,
		      PARTS({&move, sizeof(move)}, {from_bytes, encode_key(from_bytes, from)},
			    {to_bytes, encode_key(to_bytes, to)}),
		      true, &pos);
}
