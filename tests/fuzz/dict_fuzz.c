/* Proves: whatever is in a dictionary's file, reading it gives one of the two dictionaries there,
 * or an error and nothing; written anew it is read the same, and undamaged. And decoding one value,
 * with a dictionary or without, never leaves its buffers and gives exactly the length that was
 * asked for or an error; what was packed is unpacked to the same. */
#include "storage/codec.h"
#include "storage/dict.h"
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/fuzz.h"

#define IS_FILE 0x80000000u
#define FIX 1u	  /* the checksums are made right */
#define BROKEN 2u /* thereafter one bit is turned */
#define LONGER 4u /* something stands behind the end */
#define FILE_MAX (PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN + PFS_DICT_LEN_MAX + 64)
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

static void check_value(struct fuzz_in *in, size_t raw_len)
{
	size_t dict_max = fuzz_u16(in), packed_len, dict_len;
	const uint8_t *dict_bytes = fuzz_bytes(in, dict_max, &dict_len);
	uint8_t *packed = copy_of(in->at, packed_len = fuzz_left(in));
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
}

static const uint8_t uuid[PFS_UUID_LEN] = "of a dictionary";

/* The copies begin with what the input has for both, the second differs where more of it says so.
 */
static struct mem_file *make_file(struct fuzz_in *in, unsigned flags)
{
	struct mem_file *file = mem_io_file("dict-00000001");
	size_t want = fuzz_u16(in), places = fuzz_u8(in) % 8, len;
	const uint8_t *bytes = fuzz_bytes(in, want, &len);
	uint64_t size = PFS_DICT_STRIDE + len;

	mem_io_put(file, 0, bytes, len);
	mem_io_put(file, PFS_DICT_STRIDE, bytes, len);
	for (size_t i = 0; i < places; i++) {
		uint64_t off = fuzz_u32(in) % FILE_MAX;
		uint8_t byte = fuzz_u8(in);

		mem_io_put(file, off, &byte, 1);
	}
	/* As the header says, or cut off, or longer. */
	if (len >= PFS_DICT_HEADER_LEN && (flags & FIX)) {
		uint32_t dict_len = pfs_get_le32(((const struct pfs_dict_disk *)bytes)->len.b);

		size = PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN +
		       pfs_min_u64(dict_len, PFS_DICT_LEN_MAX);
	}
	mem_io_set_size(file, size + (flags & LONGER ? 1 : 0) - fuzz_u8(in) % 16);
	return file;
}

static void check_same(struct pfs_dir *dir, const struct pfs_dict_file *dict)
{
	struct pfs_dict_file again;
	bool synced;

	FUZZ_CHECK(pfs_dict_write(dir, uuid, dict, &synced) == 0 && synced);
	FUZZ_CHECK(pfs_dict_read(dir, uuid, dict->number, &again) == 0);
	FUZZ_CHECK(again.bad_parts == 0 && again.number == dict->number && again.len == dict->len &&
		   again.raw == dict->raw && again.packed == dict->packed &&
		   again.created_ns == dict->created_ns);
	FUZZ_CHECK(memcmp(again.bytes, dict->bytes, dict->len) == 0);
	free(again.bytes);
}

static void check_file(struct fuzz_in *in)
{
	unsigned flags = fuzz_u8(in), bit = fuzz_u32(in);
	struct pfs_codec_dict *packing;
	struct pfs_dict_file dict;
	struct mem_file *file;
	struct pfs_dir *dir;
	bool served = false;
	int err;

	mem_io_reset();
	file = make_file(in, flags);
	if (flags & FIX)
		fixup_dict(file, 1, uuid);
	if ((flags & BROKEN) && mem_io_size(file))
		*mem_io_change(file, bit / 8 % mem_io_size(file), 1) ^= (uint8_t)(1u << bit % 8);
	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, "store", PFS_IO_WRITE, &dir) == 0);
	err = pfs_dict_read(dir, uuid, 1, &dict);
	FUZZ_CHECK(err == 0 || err == -EUCLEAN);
	FUZZ_CHECK((err == 0) == (dict.bytes != NULL));
	if (!err) {
		FUZZ_CHECK(dict.len > 0 && dict.len <= PFS_DICT_LEN_MAX && dict.number == 1);
		FUZZ_CHECK(dict.bad_parts < 2 * PFS_DICT_COPIES - 1);
		for (unsigned i = 0; i < PFS_DICT_COPIES; i++)
			served |= memcmp(mem_io_bytes(file) + i * PFS_DICT_STRIDE +
						 PFS_DICT_HEADER_LEN,
					 dict.bytes, dict.len) == 0;
		FUZZ_CHECK(served);
		FUZZ_CHECK(pfs_codec_dict_new(&packing, dict.bytes, dict.len) == 0);
		check_pack(in->at, fuzz_left(in), packing, pfs_codec_bound(fuzz_left(in)));
		pfs_codec_dict_free(packing);
		check_same(dir, &dict);
		free(dict.bytes);
	}
	dir->ops->close_dir(dir);
	FUZZ_CHECK(mem_io_open_count() == 0);
}

/* With IS_FILE in the first u32: u8 flags, u32 the bit that is turned, u16 length and u8 number of
 * differences, the beginning of both copies, the differences (u32 place, u8), u8 how much is cut
 * off; the rest is packed with what was read. Else u32 raw length, u16 length of the dictionary,
 * the dictionary, the packed bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	size_t raw_len = fuzz_u32(&in);

	if (raw_len & IS_FILE)
		check_file(&in);
	else
		check_value(&in, raw_len);
	return 0;
}
