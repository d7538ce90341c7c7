#include "storage/codec.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>

#define PACK_MAX PFS_GIB
#define AREA_OUT (64 * PFS_KIB) /* longer values are decoded in place */

_Static_assert(PACK_MAX <= LZ4_MAX_INPUT_SIZE, "codec.h promises 1 GiB");

struct pfs_codec_dict {
	uint64_t serial; /* no other dictionary of this process has or had it */
	size_t len;
	LZ4_stream_t loaded; /* refers to bytes */
	uint8_t bytes[];
};

int pfs_codec_dict_new(struct pfs_codec_dict **out, const void *bytes, size_t len)
{
	static uint64_t serials; /* atomic; says which one a thread has at hand, nothing else */
	size_t used = (size_t)pfs_min_u64(len, PFS_CODEC_DICT_MAX);
	struct pfs_codec_dict *dict = malloc(sizeof(*dict) + used);

	*out = NULL;
	if (!dict || !len) {
		free(dict);
		return len ? -ENOMEM : -EINVAL;
	}
	dict->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
	dict->len = used;
	memcpy(dict->bytes, (const uint8_t *)bytes + (len - used), used);
	LZ4_initStream(&dict->loaded, sizeof(dict->loaded));
	LZ4_loadDict(&dict->loaded, (const char *)dict->bytes, (int)used);
	*out = dict;
	return 0;
}

void pfs_codec_dict_free(struct pfs_codec_dict *dict)
{
	free(dict);
}

const uint8_t *pfs_codec_dict_bytes(const struct pfs_codec_dict *dict, size_t *len)
{
	*len = dict->len;
	return dict->bytes;
}

size_t pfs_codec_pack(uint8_t *out, size_t cap, const uint8_t *raw, size_t raw_len,
		      const struct pfs_codec_dict *dict)
{
	static _Thread_local LZ4_stream_t scratch; /* 16 KiB: too large for every caller's stack */
	int room, packed;

	if (raw_len < 2 || raw_len > PACK_MAX || cap == 0)
		return 0;
	room = (int)pfs_min_u64(cap, raw_len - 1);
	if (!dict) {
		packed = LZ4_compress_fast_extState(&scratch, (const char *)raw, (char *)out,
						    (int)raw_len, room, 1);
	} else {
		/* The copy takes a fifth of the time of the packing; LZ4_loadDict would take five
		 * times as long as that. */
		memcpy(&scratch, &dict->loaded, sizeof(scratch));
		packed = LZ4_compress_fast_continue(&scratch, (const char *)raw, (char *)out,
						    (int)raw_len, room, 1);
	}
	return packed > 0 ? (size_t)packed : 0;
}

/* A value is decoded behind the dictionary that it was packed with: matches then reach into it as
 * into what was decoded before, without a case of their own. What a thread has at hand stays there
 * for its next value. */
static int unpack_behind(uint8_t *out, size_t raw_len, const uint8_t *packed, size_t packed_len,
			 const struct pfs_codec_dict *dict)
{
	static _Thread_local struct {
		uint64_t serial;
		uint8_t bytes[PFS_CODEC_DICT_MAX + AREA_OUT];
	} area;
	uint8_t *behind = area.bytes + PFS_CODEC_DICT_MAX;
	int got;

	if (area.serial != dict->serial) {
		memcpy(behind - dict->len, dict->bytes, dict->len);
		area.serial = dict->serial;
	}
	got = LZ4_decompress_safe_usingDict((const char *)packed, (char *)behind, (int)packed_len,
					    (int)raw_len, (const char *)behind - dict->len,
					    (int)dict->len);
	if (got == (int)raw_len)
		memcpy(out, behind, raw_len);
	return got;
}

int pfs_codec_unpack(uint8_t *out, size_t raw_len, const uint8_t *packed, size_t packed_len,
		     const struct pfs_codec_dict *dict)
{
	int got;

	if (raw_len > PACK_MAX || packed_len == 0 || packed_len > INT_MAX)
		return -EUCLEAN;
	if (!dict)
		got = LZ4_decompress_safe((const char *)packed, (char *)out, (int)packed_len,
					  (int)raw_len);
	else if (raw_len <= AREA_OUT)
		got = unpack_behind(out, raw_len, packed, packed_len, dict);
	else
		got = LZ4_decompress_safe_usingDict((const char *)packed, (char *)out,
						    (int)packed_len, (int)raw_len,
						    (const char *)dict->bytes, (int)dict->len);
	return got >= 0 && (size_t)got == raw_len ? 0 : -EUCLEAN;
}

size_t pfs_codec_bound(size_t raw_len)
{
	return raw_len + raw_len / 255 + 16;
}
