#include "storage/codec.h"

#include <limits.h>
#include <lz4.h>

#define PACK_MAX PFS_GIB
#define DICT_MAX (64 * PFS_KIB) /* LZ4 looks back no further */

_Static_assert(PACK_MAX <= LZ4_MAX_INPUT_SIZE, "codec.h promises 1 GiB");

/* The part of a dictionary that LZ4 can refer to: its end. Both directions must see the same bytes.
 */
static struct pfs_codec_dict usable(const struct pfs_codec_dict *dict)
{
	struct pfs_codec_dict d = {NULL, 0};

	if (!dict || !dict->len)
		return d;
	d.len = (size_t)pfs_min_u64(dict->len, DICT_MAX);
	d.bytes = dict->bytes + (dict->len - d.len);
	return d;
}

size_t pfs_codec_pack(uint8_t *out, size_t cap, const uint8_t *raw, size_t raw_len,
		      const struct pfs_codec_dict *dict)
{
	static _Thread_local LZ4_stream_t scratch; /* 16 KiB: too large for every caller's stack */
	struct pfs_codec_dict d = usable(dict);
	int room, packed;

	if (raw_len < 2 || raw_len > PACK_MAX || cap == 0)
		return 0;
	room = (int)pfs_min_u64(cap, raw_len - 1);
	if (!d.len) {
		packed = LZ4_compress_fast_extState(&scratch, (const char *)raw, (char *)out,
						    (int)raw_len, room, 1);
	} else {
		LZ4_initStream(&scratch, sizeof(scratch));
		LZ4_loadDict(&scratch, (const char *)d.bytes, (int)d.len);
		packed = LZ4_compress_fast_continue(&scratch, (const char *)raw, (char *)out,
						    (int)raw_len, room, 1);
	}
	return packed > 0 ? (size_t)packed : 0;
}

int pfs_codec_unpack(uint8_t *out, size_t raw_len, const uint8_t *packed, size_t packed_len,
		     const struct pfs_codec_dict *dict)
{
	struct pfs_codec_dict d = usable(dict);
	int got;

	if (raw_len > PACK_MAX || packed_len == 0 || packed_len > INT_MAX)
		return -EUCLEAN;
	if (!d.len)
		got = LZ4_decompress_safe((const char *)packed, (char *)out, (int)packed_len,
					  (int)raw_len);
	else
		got = LZ4_decompress_safe_usingDict((const char *)packed, (char *)out,
						    (int)packed_len, (int)raw_len,
						    (const char *)d.bytes, (int)d.len);
	return got >= 0 && (size_t)got == raw_len ? 0 : -EUCLEAN;
}

size_t pfs_codec_bound(size_t raw_len)
{
	return raw_len + raw_len / 255 + 16;
}
