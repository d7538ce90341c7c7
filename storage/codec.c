#include "storage/codec.h"

#include <limits.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdlib.h>

#define PACK_MAX PFS_GIB
#define AREA_OUT (64 * PFS_KIB) /* longer values are decoded in place */
#define MATCH_LEN_MIN 4		/* of LZ4's format */

/* Bytes and microseconds a document, with a dictionary of 64 KiB: 99 bytes of JSON become 49 (0.4
 * us) with fast LZ4, 33.4 (9.7) at level 9, 33.8 (11.7) at 10, 32.9 (27) at 11 and 32.9 (36) at 12;
 * 839 bytes become 387 (2), 291.5 (25), 290.0 (41), 289.9 (47) and 289.8 (58). So what is short is
 * given a level that gains something, and takes less time than a longer value all the same. */
static const int hc_levels[] = {10, 11};
#define HC_SHORT_LEN 256
#define HC_LEVELS (sizeof(hc_levels) / sizeof(hc_levels[0]))

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

/* ---- LZ4HC ---- */

struct pfs_codec_hc {
	uint64_t serial; /* of the dictionary in bytes; 0: none was */
	/* What it is loaded into, for each level: those of this serial are. */
	LZ4_streamHC_t loaded[HC_LEVELS];
	uint64_t loaded_serial[HC_LEVELS];
	LZ4_streamHC_t work;
	uint8_t bytes[PFS_CODEC_DICT_MAX]; /* the dictionary's */
};

int pfs_codec_hc_new(struct pfs_codec_hc **out)
{
	struct pfs_codec_hc *hc = malloc(sizeof(*hc));

	*out = hc;
	if (!hc)
		return -ENOMEM;
	hc->serial = 0;
	memset(hc->loaded_serial, 0, sizeof(hc->loaded_serial));
	LZ4_initStreamHC(&hc->work, sizeof(hc->work));
	return 0;
}

void pfs_codec_hc_free(struct pfs_codec_hc *hc)
{
	free(hc);
}

static void load_hc(struct pfs_codec_hc *hc, const struct pfs_codec_dict *dict, unsigned level)
{
	LZ4_streamHC_t *loaded = &hc->loaded[level];

	if (hc->serial != dict->serial)
		memcpy(hc->bytes, dict->bytes, dict->len);
	hc->serial = dict->serial;
	LZ4_initStreamHC(loaded, sizeof(*loaded));
	LZ4_resetStreamHC_fast(loaded, hc_levels[level]);
	LZ4_loadDictHC(loaded, (const char *)hc->bytes, (int)dict->len);
	hc->loaded_serial[level] = dict->serial;
}

size_t pfs_codec_pack_hc(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
			 size_t raw_len, const struct pfs_codec_dict *dict)
{
	unsigned level = raw_len <= HC_SHORT_LEN;
	int room, packed;

	if (raw_len < 2 || raw_len > PACK_MAX || cap == 0)
		return 0;
	room = (int)pfs_min_u64(cap, raw_len - 1);
	if (!dict) {
		packed = LZ4_compress_HC_extStateHC(&hc->work, (const char *)raw, (char *)out,
						    (int)raw_len, room, hc_levels[level]);
	} else {
		if (hc->serial != dict->serial || hc->loaded_serial[level] != dict->serial)
			load_hc(hc, dict, level);
		/* 256 KiB, which take 3 us. LZ4_attach_HC_dictionary would do without, but the
		 * shared library does not have it, and at this level it finds less. */
		memcpy(&hc->work, &hc->loaded[level], sizeof(hc->work));
		packed = LZ4_compress_HC_continue(&hc->work, (const char *)raw, (char *)out,
						  (int)raw_len, room);
	}
	return packed > 0 ? (size_t)packed : 0;
}

/* ---- decoding ---- */

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

/* A length of 15 goes on in bytes, up to the first that is not 255. */
static size_t take_length(const uint8_t **at, const uint8_t *end, unsigned nibble)
{
	size_t len = nibble;
	uint8_t more = nibble == 15 ? 255 : 0;

	while (more == 255 && *at < end) {
		more = *(*at)++;
		len += more;
	}
	return len;
}

void pfs_codec_count_uses(const uint8_t *packed, size_t packed_len, size_t dict_len, uint32_t *uses)
{
	const uint8_t *at = packed, *end = packed + packed_len;
	size_t pos = dict_len; /* counted from the beginning of the dictionary */

	while (at < end) {
		uint8_t token = *at++;
		size_t len = take_length(&at, end, token >> 4), from;

		if (len + 2 >= (size_t)(end - at))
			return; /* the last literals, which no match follows */
		at += len;
		pos += len;
		from = pos - pfs_get_le16(at);
		at += 2;
		len = take_length(&at, end, token & 15) + MATCH_LEN_MIN;
		for (size_t i = from; i < from + len && i < dict_len; i++)
			uses[i]++;
		pos += len;
	}
}

size_t pfs_codec_bound(size_t raw_len)
{
	return raw_len + raw_len / 255 + 16;
}
