/* storage/record.c: walking through the bodies of journal records, which may be anything. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/page.h"
#include "storage/record.h"

static const uint8_t uuid[16] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xee};

static struct pfs_record_walk walk_of(const uint8_t *bytes, size_t len)
{
	return (struct pfs_record_walk){bytes, bytes, bytes + len, false};
}

/* Proves: what is taken is what comes next, to the last byte and no further; once that was asked
 * for, nothing is given any more. */
static void bytes_are_taken_in_order(void **state)
{
	uint8_t bytes[16];
	struct pfs_record_walk walk = walk_of(bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(pfs_record_left(&walk), 16);
	assert_ptr_equal(pfs_record_take(&walk, 0), bytes);
	assert_ptr_equal(pfs_record_take(&walk, 5), bytes);
	assert_ptr_equal(pfs_record_take(&walk, 10), bytes + 5);
	assert_int_equal(pfs_record_left(&walk), 1);
	assert_ptr_equal(pfs_record_take(&walk, 1), bytes + 15);
	assert_false(walk.bad);
	assert_ptr_equal(pfs_record_take(&walk, 0), bytes + 16);
	assert_null(pfs_record_take(&walk, 1));
	assert_true(walk.bad);
	assert_null(pfs_record_take(&walk, 0));

	walk = walk_of(bytes, 4);
	assert_null(pfs_record_take(&walk, SIZE_MAX));
	assert_true(walk.bad);
	assert_null(pfs_record_take(&walk, 1));
	assert_int_equal(pfs_record_left(&walk), 4);
}

/* Proves: padding goes to the next multiple of 8, counted from the record's beginning, and is none
 * where it is there already; where it is not, that is bad. */
static void padding_ends_at_a_multiple_of_eight(void **state)
{
	uint8_t bytes[40];

	(void)state;
	for (size_t used = 0; used <= 33; used++) {
		struct pfs_record_walk walk = walk_of(bytes, sizeof(bytes));

		assert_non_null(pfs_record_take(&walk, used));
		pfs_record_take_pad(&walk);
		assert_false(walk.bad);
		assert_ptr_equal(walk.at, bytes + (used + 7) / 8 * 8);
	}
	for (size_t len = 9; len <= 16; len++) {
		struct pfs_record_walk walk = walk_of(bytes, len);

		assert_non_null(pfs_record_take(&walk, 9));
		pfs_record_take_pad(&walk);
		assert_int_equal(walk.bad, len < 16);
	}
}

/* ---- keys ---- */

/* A key of `kind` with len bytes, as it stands in a record; the length. */
static size_t put_key(uint8_t *at, unsigned kind, const void *bytes, size_t len)
{
	at[0] = (uint8_t)kind;
	at[1] = (uint8_t)len;
	memcpy(at + 2, bytes, len);
	return 2 + len;
}

static void expect_key(unsigned kind, const void *bytes, size_t len, const struct pfs_key *expected)
{
	uint8_t at[300];
	size_t whole = put_key(at, kind, bytes, len);

	for (size_t cut = 0; cut <= whole + 1; cut++) {
		struct pfs_record_walk walk = walk_of(at, cut);
		struct pfs_key key = pfs_key_num(99);

		at[whole] = 0xee;
		pfs_record_take_key(&walk, &key);
		if (cut < whole || !expected) {
			assert_true(walk.bad);
			assert_int_equal(key.kind, PFS_KEY_NONE);
		} else {
			assert_false(walk.bad);
			assert_ptr_equal(walk.at, at + whole);
			assert_true(pfs_key_equal(&key, expected));
		}
	}
}

/* Proves: a key is read if it has the length of its kind, and is one; what is cut off anywhere, has
 * another length, another kind or a name that is no scratch file's is bad. */
static void keys_are_what_their_kind_says(void **state)
{
	struct pfs_key key = pfs_key_num(UINT64_C(0x0102030405060708)), scratch;
	uint8_t number[16];

	(void)state;
	pfs_put_le64(number, key.num);
	memset(number + 8, 0, 8);
	expect_key(PFS_KEY_NUM, number, 8, &key);
	expect_key(PFS_KEY_NUM, number, 7, NULL);
	expect_key(PFS_KEY_NUM, number, 9, NULL);
	expect_key(PFS_KEY_NUM, number, 16, NULL);
	expect_key(PFS_KEY_NUM, number, 0, NULL);
	key.kind = PFS_KEY_TEMP;
	expect_key(PFS_KEY_TEMP, number, 8, &key);
	expect_key(PFS_KEY_TEMP, number, 16, NULL);

	key = (struct pfs_key){.kind = PFS_KEY_UUID};
	memcpy(key.uuid, uuid, 16);
	expect_key(PFS_KEY_UUID, uuid, 16, &key);
	expect_key(PFS_KEY_UUID, uuid, 15, NULL);
	expect_key(PFS_KEY_UUID, uuid, 8, NULL);

	assert_int_equal(pfs_key_parse(&scratch, ".a", 2), 0);
	expect_key(PFS_KEY_SCRATCH, ".a", 2, &scratch);
	assert_int_equal(pfs_key_parse(&scratch, ".42.swp!", 8), 0);
	expect_key(PFS_KEY_SCRATCH, ".42.swp!", 8, &scratch);
	expect_key(PFS_KEY_SCRATCH, "42", 2, NULL); /* is a number */
	expect_key(PFS_KEY_SCRATCH, ".a/b", 4, NULL);
	expect_key(PFS_KEY_SCRATCH, ".", 1, NULL);
	expect_key(PFS_KEY_SCRATCH, "", 0, NULL);
	expect_key(PFS_KEY_NONE, ".a", 2, NULL);
	expect_key(PFS_KEY_NONE, number, 8, NULL);
	expect_key(9, number, 8, NULL);
	expect_key(9, ".a", 2, NULL);
}

/* ---- whole records ---- */

#define END 0xffff

/* Proves: of each kind of record the keys stand behind what is of one length there, two in a move
 * and one else; no other kind has any, and none is made up of bytes that are not there. */
static void keys_of_whole_records(void **state)
{
	static const size_t heads[] = {END, 56, 56, 32, 8, 24, END, END, END};
	uint8_t record[200] = {0};
	struct pfs_key first = pfs_key_num(7), second = {.kind = PFS_KEY_UUID};

	(void)state;
	memcpy(second.uuid, uuid, 16);
	for (unsigned type = 0; type < pfs_array_len(heads); type++) {
		size_t at = PFS_RECORD_HEADER_LEN + (heads[type] == END ? 8 : heads[type]), behind;
		unsigned count = type == PFS_RECORD_MOVE ? 2 : 1;
		uint8_t number[8];

		memset(record, 0, sizeof(record));
		((struct pfs_record_disk *)record)->type = (uint8_t)type;
		pfs_put_le64(number, 7);
		at += put_key(record + at, PFS_KEY_NUM, number, 8);
		behind = at + put_key(record + at, PFS_KEY_UUID, uuid, 16);
		if (count == 2)
			at = behind;
		for (size_t len = PFS_RECORD_HEADER_LEN; len <= behind + 8; len++) {
			struct pfs_key keys[2] = {pfs_key_num(1), pfs_key_num(2)};
			size_t end = END;
			bool whole = heads[type] != END && len >= at;

			assert_int_equal(pfs_record_keys(record, len, keys, &end),
					 whole ? (int)count : -EUCLEAN);
			assert_int_equal(pfs_record_keys(record, len, keys, NULL),
					 whole ? (int)count : -EUCLEAN);
			if (!whole)
				continue;
			assert_int_equal(end, at);
			assert_true(pfs_key_equal(&keys[0], &first));
			assert_true(count == 2 ? pfs_key_equal(&keys[1], &second)
					       : keys[1].kind == PFS_KEY_NONE);
		}
		if (heads[type] == END) {
			struct pfs_key keys[2];

			assert_int_equal(pfs_record_keys(record, sizeof(record), keys, NULL),
					 -EUCLEAN);
			assert_int_equal(keys[0].kind, PFS_KEY_NONE);
			assert_int_equal(keys[1].kind, PFS_KEY_NONE);
			/* Nor right behind the header. */
			(void)put_key(record + PFS_RECORD_HEADER_LEN, PFS_KEY_NUM, number, 8);
			assert_int_equal(pfs_record_keys(record, sizeof(record), keys, NULL),
					 -EUCLEAN);
			assert_int_equal(keys[0].kind, PFS_KEY_NONE);
		}
	}
}

static bool fits(unsigned flags, uint64_t raw_len, uint64_t body_len, size_t left)
{
	return pfs_record_put_fits(flags, raw_len, body_len, left);
}

/* Proves: a put's lengths fit to its flags and to the record, at both sides of every bound. */
static void lengths_of_puts(void **state)
{
	const uint64_t block = PFS_BLOCK_LEN;

	(void)state;
	assert_true(fits(0, 0, 0, 0));
	assert_true(fits(0, 10, 10, 10));
	assert_true(fits(0, 10, 10, 99));
	assert_false(fits(0, 10, 10, 9));
	assert_false(fits(0, 10, 9, 99));
	assert_false(fits(0, 9, 10, 99));
	assert_true(fits(0, block, block, SIZE_MAX));
	assert_false(fits(0, block + 1, block + 1, SIZE_MAX));

	assert_true(fits(PFS_PUT_LZ4, 10, 5, 5));
	assert_true(fits(PFS_PUT_LZ4, 1, 0, 0));
	assert_false(fits(PFS_PUT_LZ4, 0, 0, 0));
	assert_false(fits(PFS_PUT_LZ4, 10, 5, 4));
	assert_true(fits(PFS_PUT_LZ4, block, 5, 5));
	assert_false(fits(PFS_PUT_LZ4, block + 1, 5, 5));

	assert_true(fits(PFS_PUT_BLOCKS, block + 1, 2 * PFS_BLOCK_ENTRY_LEN, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS, block + 1, 2 * PFS_BLOCK_ENTRY_LEN - 1, SIZE_MAX));
	assert_true(fits(PFS_PUT_BLOCKS, 2 * block + 1, 3 * PFS_BLOCK_ENTRY_LEN, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS, 2 * block + 1, 3 * PFS_BLOCK_ENTRY_LEN - 1, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS, block, 1000, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS | PFS_PUT_LZ4, block + 1, 1000, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS | PFS_PUT_LZ4, block, 1000, SIZE_MAX));

	assert_true(fits(PFS_PUT_BLOCKS, PFS_GIB, PFS_GIB, SIZE_MAX));
	assert_false(fits(PFS_PUT_BLOCKS, PFS_GIB + 1, PFS_GIB, SIZE_MAX));
}

/* Proves: the checksum is that of all bytes but its own, begun with the seed. */
static void checksums_are_of_all_but_themselves(void **state)
{
	uint8_t record[48], without[44];

	(void)state;
	for (unsigned i = 0; i < sizeof(record); i++)
		record[i] = (uint8_t)(i * 7);
	memcpy(without, record, 4);
	memcpy(without + 4, record + 8, 40);
	assert_int_equal(pfs_record_crc(5, record, 48), pfs_crc32c(5, without, 44));
	assert_int_equal(pfs_record_crc(5, record, 40), pfs_crc32c(5, without, 36));
	assert_int_not_equal(pfs_record_crc(6, record, 48), pfs_crc32c(5, without, 44));
	record[5] ^= 1;
	assert_int_equal(pfs_record_crc(5, record, 48), pfs_crc32c(5, without, 44));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_taken_in_order),
		cmocka_unit_test(padding_ends_at_a_multiple_of_eight),
		cmocka_unit_test(keys_are_what_their_kind_says),
		cmocka_unit_test(keys_of_whole_records),
		cmocka_unit_test(lengths_of_puts),
		cmocka_unit_test(checksums_are_of_all_but_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
