/* Proves: decoding one value, with a dictionary or without, never leaves its buffers and gives
 * exactly the length that was asked for or an error; what was packed is unpacked to the same. */
#include "storage/codec.h"
#include "tests/fuzz/fuzz.h"

#define RAW_MAX (128 * PFS_KIB)

static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	FUZZ_CHECK(copy != NULL);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

static void check_pack(const uint8_t *raw, size_t raw_len, const struct pfs_codec_dict *dict,
		       size_t cap)
{
	uint8_t *packed = malloc(cap ? cap : 1), *again = malloc(raw_len ? raw_len : 1);
	size_t len;

	FUZZ_CHECK(packed && again);
	len = pfs_codec_pack(packed, cap, raw, raw_len, dict);
	FUZZ_CHECK(len <= cap && (len < raw_len || len == 0));
	if (len) {
		FUZZ_CHECK(pfs_codec_unpack(again, raw_len, packed, len, dict) == 0);
		FUZZ_CHECK(memcmp(again, raw, raw_len) == 0);
		/* It is not another length as well. */
		FUZZ_CHECK(raw_len == 1 ||
			   pfs_codec_unpack(again, raw_len - 1, packed, len, dict) == -EUCLEAN);
	}
	free(packed);
	free(again);
}

/* u32 raw length, u16 length of the dictionary, the dictionary, the packed bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	size_t raw_len = fuzz_u32(&in), dict_max = fuzz_u16(&in), packed_len, dict_len;
	const uint8_t *dict_bytes = fuzz_bytes(&in, dict_max, &dict_len);
	uint8_t *packed = copy_of(in.at, packed_len = fuzz_left(&in));
	struct pfs_codec_dict *dict = NULL;
	uint8_t *raw;

	FUZZ_CHECK(pfs_codec_dict_new(&dict, dict_bytes, dict_len) == (dict_len ? 0 : -EINVAL));
	raw_len %= RAW_MAX + 1;
	raw = malloc(raw_len ? raw_len : 1);
	FUZZ_CHECK(raw != NULL);
	if (pfs_codec_unpack(raw, raw_len, packed, packed_len, dict) == 0)
		check_pack(raw, raw_len, dict, pfs_codec_bound(raw_len));
	if (pfs_codec_unpack(raw, raw_len, packed, packed_len, NULL) == 0)
		check_pack(raw, raw_len, NULL, raw_len);
	/* The input as the text. */
	check_pack(packed, packed_len, dict, raw_len);
	check_pack(packed, packed_len, NULL, pfs_codec_bound(packed_len));
	free(raw);
	free(packed);
	pfs_codec_dict_free(dict);
	return 0;
}
