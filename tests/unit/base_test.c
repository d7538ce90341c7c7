/* storage/base.h: the accessors that every disk structure stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/base.h"
#include "storage/exit_codes.h"

/* Proves: integers lie little-endian at any address, and are read back as they were put. */
static void integers_are_little_endian_at_any_address(void **state)
{
	static const uint8_t bytes[8] = {0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88};
	uint8_t room[16], expected[16];

	(void)state;
	for (size_t shift = 0; shift < 8; shift++) {
		uint8_t *p = room + shift;

		memset(room, 0xee, sizeof(room));
		memset(expected, 0xee, sizeof(expected));
		memcpy(expected + shift, bytes, 8);
		pfs_put_le64(p, UINT64_C(0x8807860584038201));
		assert_memory_equal(room, expected, sizeof(room));
		assert_true(pfs_get_le64(p) == UINT64_C(0x8807860584038201));
		assert_int_equal(pfs_get_le32(p), 0x84038201);
		assert_int_equal(pfs_get_le32(p + 4), 0x88078605);
		assert_int_equal(pfs_get_le16(p), 0x8201);

		memset(expected, 0xee, sizeof(expected));
		memcpy(expected + shift, bytes, 4);
		memset(room, 0xee, sizeof(room));
		pfs_put_le32(p, 0x84038201);
		assert_memory_equal(room, expected, sizeof(room));

		memset(expected + shift + 2, 0xee, 2);
		memset(room, 0xee, sizeof(room));
		pfs_put_le16(p, 0x8201);
		assert_memory_equal(room, expected, sizeof(room));
	}
}

/* Proves: varints have the length that their value needs, and come back unchanged, at every
 * boundary. */
static void varints_round_trip_at_every_boundary(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits <= 64; bits++) {
		uint64_t top = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;

		for (int delta = -1; delta <= 1; delta++) {
			uint64_t v = top + (uint64_t)(int64_t)delta, back = ~v;
			uint8_t p[PFS_VARINT_MAX + 1];
			size_t len, want = 1;

			while (want < PFS_VARINT_MAX && v >> (7 * want))
				want++;
			memset(p, 0xee, sizeof(p));
			len = pfs_put_varint(p, v);
			assert_int_equal(len, want);
			assert_int_equal(p[len], 0xee);
			assert_int_equal(pfs_get_varint(p, p + len, &back), len);
			assert_true(back == v);
			/* What follows does not matter, what is missing does. */
			assert_int_equal(pfs_get_varint(p, p + len + 1, &back), len);
			for (size_t cut = 0; cut < len; cut++)
				assert_int_equal(pfs_get_varint(p, p + cut, &back), 0);
		}
	}
}

/* Proves: bytes that encode more than 64 bits are refused, and not read beyond ten bytes. */
static void varints_beyond_64_bits_are_refused(void **state)
{
	uint8_t p[16];
	uint64_t v;

	(void)state;
	memset(p, 0xff, sizeof(p));
	assert_int_equal(pfs_get_varint(p, p + sizeof(p), &v), 0);
	p[9] = 0x02; /* bit 64 */
	assert_int_equal(pfs_get_varint(p, p + sizeof(p), &v), 0);
	p[9] = 0x81; /* an eleventh byte */
	p[10] = 0;
	assert_int_equal(pfs_get_varint(p, p + sizeof(p), &v), 0);
	p[9] = 0x01;
	assert_int_equal(pfs_get_varint(p, p + sizeof(p), &v), 10);
	assert_true(v == UINT64_MAX);
}

/* Proves: zigzag keeps small numbers of either sign small and loses none. */
static void zigzag_round_trips(void **state)
{
	static const int64_t numbers[] = {0, -1, 1, -2, 2, -64, 63, 64, INT64_MIN, INT64_MAX};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(numbers); i++)
		assert_true(pfs_unzigzag(pfs_zigzag(numbers[i])) == numbers[i]);
	assert_int_equal(pfs_zigzag(0), 0);
	assert_int_equal(pfs_zigzag(-1), 1);
	assert_int_equal(pfs_zigzag(1), 2);
	assert_true(pfs_zigzag(INT64_MIN) == UINT64_MAX);
	assert_true(pfs_zigzag(INT64_MAX) == UINT64_MAX - 1);
}

/* Proves: rounding and the power-of-two test at their edges. */
static void rounding_and_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(pfs_round_up(0, 4096), 0);
	assert_int_equal(pfs_round_up(1, 4096), 4096);
	assert_int_equal(pfs_round_up(4095, 4096), 4096);
	assert_int_equal(pfs_round_up(4096, 4096), 4096);
	assert_int_equal(pfs_round_up(4097, 4096), 8192);
	assert_int_equal(pfs_round_up(5, 1), 5);
	assert_false(pfs_is_pow2(0));
	assert_true(pfs_is_pow2(1));
	assert_true(pfs_is_pow2(2));
	assert_false(pfs_is_pow2(3));
	assert_true(pfs_is_pow2(UINT64_C(1) << 63));
	assert_false(pfs_is_pow2(UINT64_MAX));
	assert_int_equal(pfs_min_u64(1, 2), 1);
	assert_int_equal(pfs_min_u64(2, 1), 1);
	assert_int_equal(pfs_max_u64(1, 2), 2);
	assert_int_equal(pfs_max_u64(2, 1), 2);
}

/* Proves: the mixer is the published one (its values are on disk), undone by its inverse. */
static void mixer_is_the_published_bijection(void **state)
{
	(void)state;
	assert_true(pfs_mix64(0) == 0);
	assert_true(pfs_mix64(1) == UINT64_C(0xb456bcfc34c2cb2c));
	assert_true(pfs_mix64(UINT64_MAX) == UINT64_C(0x64b5720b4b825f21));
	for (uint64_t x = 1; x; x <<= 1) {
		uint64_t y = pfs_mix64(x);

		assert_true(pfs_unmix64(y) == x);

		y ^= y >> 33;
		y *= UINT64_C(0x9cb4b2f8129337db); /* inverses modulo 2^64 of the two factors */
		y ^= y >> 33;
		y *= UINT64_C(0x4f74430c22a54005);
		y ^= y >> 33;
		assert_true(y == x);
	}
}

/* Proves: bytes are zeros when each is, however many they are, and whatever is around them. */
static void zeros_are_zeros(void **state)
{
	uint8_t bytes[40];

	(void)state;
	for (size_t len = 0; len < 32; len++) {
		memset(bytes, 1, sizeof(bytes));
		memset(bytes + 3, 0, len);
		assert_true(pfs_is_zero(bytes + 3, len));
		assert_false(pfs_is_zero(bytes + 3, len + 1));
		assert_false(pfs_is_zero(bytes + 2, len + 1));
		for (size_t i = 0; i < len; i++) {
			bytes[3 + i] = 0x80;
			assert_false(pfs_is_zero(bytes + 3, len));
			bytes[3 + i] = 0;
		}
	}
}

/* Proves: order, plural and flags say what they are for, at their borders. */
static void small_answers(void **state)
{
	static const uint64_t numbers[] = {0, 1, 2, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
	bool flag = false;

	(void)state;
	for (size_t a = 0; a < pfs_array_len(numbers); a++) {
		for (size_t b = 0; b < pfs_array_len(numbers); b++) {
			int order = pfs_order(numbers[a], numbers[b]);

			assert_true(a < b ? order < 0 : a > b ? order > 0 : order == 0);
			assert_int_equal(pfs_min_u64(numbers[a], numbers[b]),
					 numbers[a < b ? a : b]);
			assert_int_equal(pfs_max_u64(numbers[a], numbers[b]),
					 numbers[a > b ? a : b]);
		}
		assert_string_equal(pfs_plural(numbers[a]), numbers[a] == 1 ? "" : "s");
	}
	assert_false(pfs_is_set(NULL));
	assert_false(pfs_is_set(&flag));
	flag = true;
	assert_true(pfs_is_set(&flag));
}

/* Proves: numbers are taken one behind the other, up to what each may be; behind one that is cut
 * off or too large nothing is taken, and all is 0. */
static void cursors_stop_at_what_is_bad(void **state)
{
	(void)state;
	for (uint64_t max = 0; max < 400; max++) {
		uint8_t bytes[2 * PFS_VARINT_MAX];
		size_t first = pfs_put_varint(bytes, 200),
		       second = pfs_put_varint(bytes + first, 5);

		for (size_t len = 0; len <= first + second; len++) {
			struct pfs_cursor c = {bytes, bytes + len, false};
			bool whole = len >= first && max >= 200;

			assert_int_equal(pfs_take_varint(&c, max), whole ? 200 : 0);
			assert_int_equal(c.bad, !whole);
			assert_ptr_equal(c.at, bytes + (whole ? first : 0));
			whole = whole && len == first + second;
			assert_int_equal(pfs_take_varint(&c, 5), whole ? 5 : 0);
			assert_int_equal(c.bad, !whole);
		}
	}
}

/* Proves: each error of an opening has the exit code that is documented, and any other is one of
 * input or output. */
static void errors_have_their_exit_codes(void **state)
{
	static const struct {
		int err, code;
	} cases[] = {{0, PFS_EXIT_OK},
		     {-ENOENT, PFS_EXIT_NO_STORE},
		     {-ENOTDIR, PFS_EXIT_NO_STORE},
		     {-ENOTEMPTY, PFS_EXIT_NO_STORE},
		     {-EEXIST, PFS_EXIT_NO_STORE},
		     {-EBUSY, PFS_EXIT_LOCKED},
		     {-EUCLEAN, PFS_EXIT_DAMAGED},
		     {-EPROTONOSUPPORT, PFS_EXIT_NEWER},
		     {-EINVAL, PFS_EXIT_USAGE},
		     {-EIO, PFS_EXIT_IO},
		     {-ENOMEM, PFS_EXIT_IO},
		     {-EACCES, PFS_EXIT_IO}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++)
		assert_int_equal(pfs_exit_of_open(cases[i].err), cases[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeros_are_zeros),
		cmocka_unit_test(small_answers),
		cmocka_unit_test(cursors_stop_at_what_is_bad),
		cmocka_unit_test(errors_have_their_exit_codes),
		cmocka_unit_test(integers_are_little_endian_at_any_address),
		cmocka_unit_test(varints_round_trip_at_every_boundary),
		cmocka_unit_test(varints_beyond_64_bits_are_refused),
		cmocka_unit_test(zigzag_round_trips),
		cmocka_unit_test(rounding_and_powers_of_two),
		cmocka_unit_test(mixer_is_the_published_bijection),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
