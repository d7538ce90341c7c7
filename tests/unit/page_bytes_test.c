/* storage/page.c: what stands where, byte by byte, and checksums over what FORMAT.md says, put
 * together here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/page.h"

/* Proves: a header's fields stand at their offsets, and its checksum is that of what follows it. */
static void headers_are_these_bytes(void **state)
{
	struct pfs_page_header header = {.number = 0x00345678,
					 .page_size = 64 * PFS_KIB,
					 .generation = UINT64_C(0x1122334455667788),
					 .base_seq = UINT64_C(0x0102030405060708),
					 .base_mtime = -2,
					 .uuid = "abcdefghijklmno",
					 .slot_count = 0x0201,
					 .floor = 0x8765};
	struct pfs_page_disk disk;
	const uint8_t *bytes = (const uint8_t *)&disk;

	(void)state;
	memset(&disk, 0xee, sizeof(disk));
	pfs_page_header_encode(&disk, &header);
	assert_memory_equal(disk.magic, PFS_PAGE_MAGIC, sizeof(disk.magic));
	assert_int_equal(disk.size_log2, 16);
	assert_int_equal(pfs_get_le32(disk.number.b), header.number);
	assert_int_equal(pfs_get_le64(disk.generation.b), header.generation);
	assert_int_equal(pfs_get_le64(disk.base_seq.b), header.base_seq);
	assert_int_equal(pfs_get_le64(disk.base_mtime.b), UINT64_MAX - 1);
	assert_memory_equal(disk.uuid, header.uuid, PFS_UUID_LEN);
	assert_int_equal(pfs_get_le32(disk.slot_count.b), 0x0201);
	assert_int_equal(pfs_get_le32(disk.floor.b), 0x8765);
	assert_int_equal(pfs_get_le16(disk.flags.b), 0);
	assert_int_equal(pfs_get_le32(disk.crc.b), pfs_crc32c(0, bytes + 8, sizeof(disk) - 8));
}

static void expect_why(struct pfs_page_disk disk, const char *expected)
{
	struct pfs_page_header header = {.number = 4711}, was = header;
	const char *why;

	pfs_put_le32(disk.crc.b,
		     pfs_crc32c(0, (const uint8_t *)&disk + 8, sizeof(disk) - 8) ^ !*expected);
	assert_int_equal(
		pfs_page_header_decode(&header, &disk, (const uint8_t *)"abcdefghijklmno", &why),
		-EUCLEAN);
	assert_string_equal(why, *expected ? expected : "header checksum");
	assert_memory_equal(&header, &was, sizeof(was));
}

/* Proves: of a header that can't be used is said what is wrong with it. */
static void headers_are_refused_with_the_reason(void **state)
{
	struct pfs_page_header header = {.number = 1,
					 .page_size = 64 * PFS_KIB,
					 .uuid = "abcdefghijklmno",
					 .slot_count = 1,
					 .floor = 1000};
	struct pfs_page_disk whole, disk;

	(void)state;
	pfs_page_header_encode(&whole, &header);
	expect_why(whole, "");
	disk = whole;
	disk.magic[0]++;
	expect_why(disk, "not a page (magic)");
	disk = whole;
	disk.uuid[15]++;
	expect_why(disk, PFS_PAGE_FOREIGN);
	for (unsigned log2 = 0; log2 < 256; log2++) {
		disk = whole;
		disk.size_log2 = (uint8_t)log2;
		if (log2 < 12 || log2 > 31)
			expect_why(disk, "page size");
	}
	disk = whole;
	pfs_put_le32(disk.number.b, 0);
	expect_why(disk, "page number or base sequence out of range");
	disk = whole;
	pfs_put_le64(disk.base_seq.b, PFS_SEQ_MAX + 1);
	expect_why(disk, "page number or base sequence out of range");
	disk = whole;
	pfs_put_le32(disk.floor.b, 64 * PFS_KIB - PFS_PAGE_TRAILER_LEN + 1);
	expect_why(disk, "slots and containers overlap");
	disk = whole;
	pfs_put_le32(disk.slot_count.b, (1000 - PFS_PAGE_HEADER_LEN) / PFS_SLOT_LEN + 1);
	expect_why(disk, "slots and containers overlap");
}

/* Proves: a slot is these bytes; of a sequence that is too large for a tombstone nothing gets into
 * its kind. */
static void slots_are_these_bytes(void **state)
{
	static const struct {
		struct pfs_slot slot;
		uint8_t bytes[16];
	} cases[] = {
		{{.kind = PFS_KEY_NUM, .tag = 0x0102, .off = 0x00abcdef, .len = 0x1234},
		 {2, 1, 0, 0, 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0, 0x34, 0x12, 0, 0x10}},
		{{.kind = PFS_KEY_TEMP, .tag = UINT64_MAX, .off = 64, .len = PFS_SLOT_LEN_MASK},
		 {255, 255, 255, 255, 255, 255, 255, 255, 64, 0, 0, 0, 255, 255, 255, 0x47}},
		{{.kind = PFS_KEY_NUM, .off = 64, .len = PFS_SLOT_LEN_MASK + 1},
		 {0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0x80, 0, 0x18}},
		{{.kind = PFS_SLOT_TOMBSTONE, .tag = 5, .seq = UINT64_C(0x0fedcba987654321)},
		 {5, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb, 0xed, 0x8f}},
		{{.kind = PFS_SLOT_TOMBSTONE, .seq = UINT64_C(0xf000000000000000)},
		 {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80}},
		{{.kind = PFS_SLOT_FREE}, {0}},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_slot_disk disk;
		struct pfs_slot out = {.kind = 99};

		memset(&disk, 0xee, sizeof(disk));
		pfs_slot_encode(&disk, &cases[i].slot);
		assert_memory_equal(&disk, cases[i].bytes, sizeof(disk));
		assert_int_equal(pfs_slot_decode(&out, &disk, 64, UINT64_C(1) << 31), 0);
		assert_int_equal(out.kind, cases[i].slot.kind);
		assert_int_equal(out.tag, cases[i].slot.tag);
		assert_int_equal(out.off, cases[i].slot.off);
		assert_int_equal(out.len, cases[i].slot.len);
		assert_int_equal(out.seq, cases[i].slot.seq & PFS_SEQ_MAX);
	}
}

/* Proves: the bound on a header is what each part takes at most. */
static void bounds_are_exact(void **state)
{
	static const struct {
		unsigned kind, flags;
		uint32_t dict;
		size_t name_len, bound;
	} cases[] = {
		{PFS_KEY_NUM, 0, 0, 0, 45},
		{PFS_KEY_TEMP, 0, 0, 0, 45},
		{PFS_KEY_NUM, PFS_CONTAINER_ATTR, 0, 0, 60},
		{PFS_KEY_NUM, PFS_CONTAINER_LZ4, 0, 0, 45},
		{PFS_KEY_NUM, PFS_CONTAINER_LZ4, 1, 0, 50},
		{PFS_KEY_NUM, PFS_CONTAINER_BLOCKS, 0, 0, 55},
		{PFS_KEY_UUID, 0, 0, 8, 53},
		{PFS_KEY_SCRATCH, 0, 0, 1, 48},
		{PFS_KEY_SCRATCH, 0, 0, 255, 302},
		{PFS_KEY_UUID, PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR, UINT32_MAX, 8, 83},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_container c = {.flags = cases[i].flags,
					  .dict = cases[i].dict,
					  .tail = {.len = cases[i].name_len}};

		assert_int_equal(pfs_container_header_bound(&c, cases[i].kind), cases[i].bound);
	}
}

/* A container of all that can be: its header's bytes, by hand. */
static size_t full_header(uint8_t *out, const struct pfs_container_base *base, unsigned width,
			  uint64_t body_len)
{
	struct pfs_container c = {.flags = PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR,
				  .raw_len = 65537,
				  .seq = base->base_seq - 1,
				  .mtime_ns = base->base_mtime + 64,
				  .mode = 0644,
				  .uid = 1,
				  .gid = 300,
				  .dict = 5,
				  .content = 200,
				  .body_len = body_len,
				  .len_width = width,
				  .tail = {(const uint8_t *)".a", 2}};

	return pfs_container_header_encode(out, &c, base, 1000);
}

/* Proves: a header is these bytes; the length of the body takes as many as it is told to, or as
 * needed. */
static void containers_are_these_bytes(void **state)
{
	static const uint8_t before[] = {0x82,	    0x80 | 1, 0x80, 4,	  1, 0x80, 1,
					 0x80 | 36, 3,	      1,    0xac, 2, 5};
	static const uint8_t behind[] = {0x80 | 72, 1, 2, '.', 'a'};
	struct pfs_container_base base = {PFS_KEY_SCRATCH, 9, 100, 1000};

	(void)state;
	for (unsigned width = 0; width < 6; width++) {
		uint8_t bytes[PFS_CONTAINER_HEADER_MAX];
		size_t n = full_header(bytes, &base, width, 50), len = width ? width : 1;

		assert_int_equal(bytes[4], PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR |
						   PFS_CONTAINER_SEQ | PFS_CONTAINER_MTIME |
						   PFS_CONTAINER_DICT | PFS_CONTAINER_SLACK);
		assert_memory_equal(bytes + 5, before + 1, sizeof(before) - 1);
		assert_int_equal(n, 5 + sizeof(before) - 1 + len + sizeof(behind));
		for (size_t i = 0; i < len; i++)
			assert_int_equal(bytes[5 + sizeof(before) - 1 + i],
					 (i ? 0 : 50) | (i + 1 < len ? 0x80 : 0));
		assert_memory_equal(bytes + n - sizeof(behind), behind, sizeof(behind));
	}
}

/* Proves: a container's checksum is that of kind, tag, sequence and all from the flags to the end
 * of the body, or of the header alone where blocks have their own; and a block's is that of
 * content, place, end and bytes. */
static void checksums_are_of_these_bytes(void **state)
{
	struct pfs_container_base base = {PFS_KEY_UUID, UINT64_C(0x0807060504030201), 50, 0};
	uint8_t container[40], all[17 + 36] = {PFS_KEY_UUID, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t block[16 + 6] = {7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x2c, 1, 0, 0};

	(void)state;
	for (unsigned i = 0; i < sizeof(container); i++)
		container[i] = (uint8_t)(i * 7);
	pfs_put_le64(all + 9, 0x1122);
	memcpy(all + 17, container + 4, 36);
	pfs_container_seal(container, 20, 20, 0, 0x1122, &base);
	assert_int_equal(pfs_get_le32(container), pfs_crc32c(0, all, 17 + 36));
	pfs_container_seal(container, 20, 20, PFS_CONTAINER_BLOCKS, 0x1122, &base);
	assert_int_equal(pfs_get_le32(container), pfs_crc32c(0, all, 17 + 16));
	memcpy(block + 16, "stored", 6);
	assert_int_equal(pfs_block_crc(7, 1, 300, "stored", 6), pfs_crc32c(0, block, 22));
}

/* Proves: a key goes through its tail and comes out as the same bytes, all of them, whatever was
 * where it is put; nothing is written beside the tail's room. */
static void keys_go_through_their_tails(void **state)
{
	static const char *const names[] = {"0", "18446744073709551615", ".a.swp",
					    "c0ffee00-0000-4000-8000-000000000002"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct {
			uint8_t room[8], behind[8];
		} r;
		struct pfs_key key = {0}, out;
		struct pfs_tail tail;
		struct pfs_container c = {.flags = 0};

		assert_int_equal(pfs_key_parse(&key, names[i], strlen(names[i])), 0);
		memset(&r, 0xee, sizeof(r));
		tail = pfs_key_tail(&key, r.room);
		for (unsigned k = 0; k < 8; k++)
			assert_int_equal(r.behind[k], 0xee);
		memset(&out, 0xdd, sizeof(out));
		pfs_key_from_tail(&out, key.kind, pfs_key_tag(&key), &tail);
		assert_true(pfs_key_equal(&out, &key));
		assert_int_equal(out.kind, key.kind);
		assert_memory_equal(out.name, key.name, sizeof(key.name));
		assert_memory_equal(out.uuid, key.uuid, sizeof(key.uuid));
		c.tail = tail;
		memset(&out, 0xdd, sizeof(out));
		assert_int_equal(pfs_container_key(&out, &c, key.kind, pfs_key_tag(&key)), 0);
		assert_true(pfs_key_equal(&out, &key));
	}
}

/* Proves: of a name that is none of a scratch file, or of another tag, there is no key left. */
static void no_key_is_left(void **state)
{
	static const struct pfs_key none;
	static const char *const names[] = {"123", "a/b", ".a.swp"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_container c = {.tail = {(const uint8_t *)names[i], strlen(names[i])}};
		struct pfs_key key, parsed = {0};

		(void)pfs_key_parse(&parsed, names[i], strlen(names[i]));
		memset(&key, 0xdd, sizeof(key));
		assert_int_equal(pfs_container_key(&key, &c, PFS_KEY_SCRATCH,
						   pfs_key_tag(&parsed) + (i == 2)),
				 -EUCLEAN);
		assert_memory_equal(&key, &none, sizeof(key));
	}
}

/* Proves: LZ4 and blocks at once, and a name of no bytes, are refused also where all else is as it
 * may be. */
static void one_fault_is_enough(void **state)
{
	static const uint8_t bytes[24] = {0, 0, 0, 0, 0x03, 0x81, 0x80, 4, 9};
	static const uint8_t nameless[7] = {0};
	struct pfs_container_base base = {PFS_KEY_NUM, 0, 1, 0};
	struct pfs_container c;

	(void)state;
	assert_int_equal(pfs_container_header_decode(&c, bytes, 24, 300, &base), -EUCLEAN);
	base.kind = PFS_KEY_SCRATCH;
	assert_int_equal(pfs_container_header_decode(&c, nameless, 7, 7, &base), -EUCLEAN);
	base.kind = PFS_KEY_NUM;
	assert_int_equal(pfs_container_header_decode(&c, nameless, 6, 6, &base), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_these_bytes),
		cmocka_unit_test(headers_are_refused_with_the_reason),
		cmocka_unit_test(slots_are_these_bytes),
		cmocka_unit_test(bounds_are_exact),
		cmocka_unit_test(containers_are_these_bytes),
		cmocka_unit_test(checksums_are_of_these_bytes),
		cmocka_unit_test(keys_go_through_their_tails),
		cmocka_unit_test(no_key_is_left),
		cmocka_unit_test(one_fault_is_enough),
	};

	return cmocka_run_group_tests_name("page-bytes", tests, NULL, NULL);
}
