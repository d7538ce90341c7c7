/* storage/key.c: names and what they stand for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/key.h"

static int parse(struct pfs_key *key, const char *text)
{
	return pfs_key_parse(key, text, strlen(text));
}

/* The key of a name that is known to be good. */
static struct pfs_key key_of(const char *text)
{
	struct pfs_key key;

	assert_int_equal(parse(&key, text), 0);
	return key;
}

/* Proves: every canonical name of a point is a point, at the ends of the range too, and is written
 * back unchanged. */
static void canonical_ids_round_trip(void **state)
{
	static const struct {
		const char *text;
		uint64_t num;
	} numbers[] = {
		{"0", 0},
		{"1", 1},
		{"42", 42},
		{"10", 10},
		{"9999999999999999999", UINT64_C(9999999999999999999)},
		{"18446744073709551614", UINT64_MAX - 1},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const uuids[] = {
		"00000000-0000-0000-0000-000000000000",
		"550e8400-e29b-41d4-a716-446655440000",
		"ffffffff-ffff-ffff-ffff-ffffffffffff",
		"12345678-1234-1234-1234-123456789012",
	};
	char text[PFS_NAME_MAX + 1];
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(numbers); i++) {
		key = key_of(numbers[i].text);
		assert_int_equal(key.kind, PFS_KEY_NUM);
		assert_true(key.num == numbers[i].num);
		assert_true(pfs_key_is_point(&key));
		assert_int_equal(pfs_key_format(text, &key), strlen(numbers[i].text));
		assert_string_equal(text, numbers[i].text);
	}
	for (size_t i = 0; i < pfs_array_len(uuids); i++) {
		key = key_of(uuids[i]);
		assert_int_equal(key.kind, PFS_KEY_UUID);
		assert_true(pfs_key_is_point(&key));
		assert_int_equal(pfs_key_format(text, &key), 36);
		assert_string_equal(text, uuids[i]);
	}
	key = key_of("550e8400-e29b-41d4-a716-446655440000");
	assert_memory_equal(key.uuid,
			    "\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00", 16);
}

/* Proves: a second way to write an id is refused, so that a point never has two names; as are names
 * that are none. */
static void other_spellings_of_ids_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		".",
		"..",
		"/",
		"a/b",
		"42/",
		"00",
		"007",
		"01",
		"000000000000000000000",
		"+1",
		"-1",
		"+0",
		"-0",
		"-007",
		"+18446744073709551616",
		"18446744073709551616",
		"18446744073709551620",
		"20000000000000000000",
		"99999999999999999999",
		"100000000000000000000000000000",
		"550E8400-E29B-41D4-A716-446655440000",
		"550e8400-e29b-41d4-a716-44665544000A",
		"550e8400-e29b-41d4-a716-44665544000F",
		"550e8400e29b41d4a716446655440000",
		"550E8400E29B41D4A716446655440000",
		"12345678123412341234123456789012",
	};
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(bad); i++) {
		memset(&key, 0xee, sizeof(key));
		if (parse(&key, bad[i]) != -EINVAL)
			fail_msg("'%s' was taken for a name", bad[i]);
		assert_int_equal(key.kind, PFS_KEY_NONE);
	}
	assert_int_equal(pfs_key_parse(&key, "a\0b", 3), -EINVAL);
	assert_int_equal(pfs_key_parse(&key, "12\0", 3), -EINVAL);
	/* Only len bytes count, whatever follows. */
	assert_int_equal(pfs_key_parse(&key, "550e8400-e29b-41d4-a716-446655440000A", 36), 0);
	assert_int_equal(pfs_key_parse(&key, "42junk", 2), 0);
	assert_true(key.kind == PFS_KEY_NUM && key.num == 42);
}

/* Proves: what editors and tools put beside the file they replace is a scratch name, kept byte for
 * byte. */
static void other_names_are_scratch_names(void **state)
{
	static const char *const names[] = {
		"sedXXXXXX",
		"550e8400-e29b-41d4-a716-44665544000G",
		".42.swp",
		"42~",
		".42.Xb3k9a",
		"tmp",
		"...",
		".x",
		"42.json",
		"4 2",
		" 42",
		"42 ",
		"1e5",
		"0x10",
		"1.0",
		"+",
		"-",
		"--1",
		"+-1",
		"\xff\xfe",
		"\xc3\xa9t\xc3\xa9",
		"a\nb",
		"temp:1",
		"550e8400-e29b-41d4-a716-44665544000",
		"550e8400-e29b-41d4-a716-4466554400000",
		"550e8400-e29b-41d4-a716-44665544000g",
		"550e8400e-29b-41d4-a716-446655440000",
		"550e8400e29b41d4a71644665544000",
		"g50e8400e29b41d4a716446655440000",
	};
	char text[PFS_NAME_MAX + 1];
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		key = key_of(names[i]);
		if (key.kind != PFS_KEY_SCRATCH)
			fail_msg("'%s' has kind %d", names[i], key.kind);
		assert_false(pfs_key_is_point(&key));
		assert_int_equal(key.name_len, strlen(names[i]));
		assert_string_equal(key.name, names[i]);
		assert_int_equal(pfs_key_format(text, &key), strlen(names[i]));
		assert_string_equal(text, names[i]);
	}
}

/* Proves: 255 bytes fit, 256 do not, for whatever they look like. */
static void length_limit(void **state)
{
	char name[300], text[PFS_NAME_MAX + 1];
	struct pfs_key key;

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_int_equal(pfs_key_parse(&key, name, 255), 0);
	assert_int_equal(key.name_len, 255);
	assert_int_equal(key.name[255], 0);
	assert_int_equal(pfs_key_format(text, &key), 255);
	assert_memory_equal(text, name, 255);
	assert_int_equal(text[255], 0);
	assert_int_equal(pfs_key_parse(&key, name, 256), -ENAMETOOLONG);
	assert_int_equal(key.kind, PFS_KEY_NONE);
	memset(name, '9', sizeof(name));
	assert_int_equal(pfs_key_parse(&key, name, 255), -EINVAL);
	assert_int_equal(pfs_key_parse(&key, name, 256), -ENAMETOOLONG);
}

/* Proves: the order is total: numbers by value (not by text), then UUIDs, then scratch names by
 * their bytes. */
static void order_is_total(void **state)
{
	static const char *const ascending[] = {
		"0",
		"9",
		"10",
		"100",
		"18446744073709551615",
		"00000000-0000-0000-0000-000000000001",
		"7fffffff-0000-0000-0000-000000000000",
		"80000000-0000-0000-0000-000000000000",
		"ffffffff-ffff-ffff-ffff-ffffffffffff",
		".a",
		"a",
		"a.",
		"aa",
		"b",
		"\x80",
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(ascending); i++) {
		struct pfs_key a = key_of(ascending[i]);

		for (size_t j = 0; j < pfs_array_len(ascending); j++) {
			struct pfs_key b = key_of(ascending[j]);
			int order = pfs_key_compare(&a, &b);

			assert_true(i < j ? order < 0 : i > j ? order > 0 : order == 0);
			assert_int_equal(pfs_key_equal(&a, &b), i == j);
		}
	}
}

/* Proves: bytes behind the part that counts do not make equal keys differ. */
static void equality_ignores_unused_bytes(void **state)
{
	struct pfs_key a, b;

	(void)state;
	memset(&a, 0x11, sizeof(a));
	memset(&b, 0x22, sizeof(b));
	assert_int_equal(parse(&a, "42"), 0);
	assert_int_equal(parse(&b, "42"), 0);
	assert_true(pfs_key_equal(&a, &b));
	memset(&a, 0x11, sizeof(a));
	memset(&b, 0x22, sizeof(b));
	assert_int_equal(parse(&a, "tmp"), 0);
	assert_int_equal(parse(&b, "tmp"), 0);
	assert_true(pfs_key_equal(&a, &b));
	assert_true(pfs_key_tag(&a) == pfs_key_tag(&b));
}

/* Proves: temporary keys are no points, differ from numbers of the same value, and print as what
 * they are. */
static void temporary_keys_are_apart(void **state)
{
	struct pfs_key temp = {.kind = PFS_KEY_TEMP}, num = pfs_key_num(7),
		       none = {.kind = PFS_KEY_NONE};
	char text[PFS_NAME_MAX + 1];

	(void)state;
	temp.num = 7;
	assert_false(pfs_key_is_point(&temp));
	assert_false(pfs_key_equal(&temp, &num));
	assert_true(pfs_key_tag(&temp) == 7);
	assert_int_equal(pfs_key_format(text, &temp), 6);
	assert_string_equal(text, "temp:7");
	assert_int_equal(pfs_key_format(text, &none), 0);
	assert_string_equal(text, "");
	assert_false(pfs_key_is_point(&none));
	assert_true(pfs_key_equal(&none, &none));
}

/* Proves: tags are what the format specifies (worked out apart from this code), as stores on disk
 * hold them. */
static void tags_are_those_of_the_format(void **state)
{
	struct pfs_key key = pfs_key_num(UINT64_MAX);
	char name[255];

	(void)state;
	assert_true(pfs_key_tag(&key) == UINT64_MAX);
	key = key_of("0");
	assert_true(pfs_key_tag(&key) == 0);
	key = key_of("550e8400-e29b-41d4-a716-446655440000");
	assert_true(pfs_key_tag(&key) == UINT64_C(0x93edf404e219b0f8));
	/* The first half comes back from the tag and the second half. */
	assert_true((pfs_key_tag(&key) ^ pfs_mix64(pfs_get_le64(key.uuid + 8))) ==
		    UINT64_C(0xd4419be200840e55));
	key = key_of("a");
	assert_true(pfs_key_tag(&key) == UINT64_C(0x82a2a958a9bece5b));
	key = key_of(".42.swp");
	assert_true(pfs_key_tag(&key) == UINT64_C(0x3527651281e956b4));
	memset(name, 'x', sizeof(name));
	assert_int_equal(pfs_key_parse(&key, name, sizeof(name)), 0);
	assert_true(pfs_key_tag(&key) == UINT64_C(0x1915a56308b37f70));
}

/* ---- compared with what is plain ---- */

static bool consists_of(const char *text, size_t len, const char *characters)
{
	for (size_t i = 0; i < len; i++)
		if (!text[i] || !strchr(characters, text[i]))
			return false;
	return len > 0;
}

#define DIGITS "0123456789"
#define LOWER DIGITS "abcdef"
#define HEX LOWER "ABCDEF"

/* What kind of name it is; PFS_KEY_NONE: none. */
static unsigned plain_kind(const char *name, size_t len)
{
	static const size_t lengths[] = {8, 4, 4, 4, 12};
	char again[32];
	bool is_uuid = len == 36, is_lower = true;

	if (!len || memchr(name, '/', len) || memchr(name, '\0', len) ||
	    (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))))
		return PFS_KEY_NONE;
	if (consists_of(name, len, DIGITS)) {
		errno = 0;
		snprintf(again, sizeof(again), "%llu", strtoull(name, NULL, 10));
		return !errno && strcmp(again, name) == 0 ? PFS_KEY_NUM : PFS_KEY_NONE;
	}
	if (strchr("+-", name[0]) && consists_of(name + 1, len - 1, DIGITS))
		return PFS_KEY_NONE;
	for (size_t group = 0, at = 0; group < 5 && is_uuid; group++) {
		is_uuid = consists_of(name + at, lengths[group], HEX) &&
			  (group == 4 || name[at + lengths[group]] == '-');
		is_lower &= consists_of(name + at, lengths[group], LOWER);
		at += lengths[group] + 1;
	}
	if (is_uuid)
		return is_lower ? PFS_KEY_UUID : PFS_KEY_NONE;
	return len == 32 && consists_of(name, len, HEX) ? PFS_KEY_NONE : PFS_KEY_SCRATCH;
}

static void expect_kind(const char *name, size_t len)
{
	struct pfs_key key;
	char text[PFS_NAME_MAX + 1];
	unsigned kind = plain_kind(name, len);

	memset(&key, 0xee, sizeof(key));
	if (pfs_key_parse(&key, name, len) != (kind ? 0 : -EINVAL) || key.kind != kind)
		fail_msg("'%s' is a name of kind %u, not %u", name, key.kind, kind);
	if (!kind)
		return;
	memset(text, 'x', sizeof(text));
	assert_int_equal(pfs_key_format(text, &key), len);
	assert_memory_equal(text, name, len + 1);
}

/* Proves: of names that are points', or nearly, with any byte at any place, cut off anywhere, each
 * is what it is by the rules, and is written back as it was. */
static void names_are_told_apart_by_each_byte(void **state)
{
	static const char *const names[] = {
		"550e8400-e29b-41d4-a716-446655440000",
		"ABCDEF00-e29b-41d4-a716-446655440000",
		"550e8400e29b41d4a716446655440000",
		"550E8400E29B41D4A71644665544000F",
		"18446744073709551615",
		"18446744073709551616",
		"9999999999999999999",
		"10000000000000000000",
		"-12",
		"+",
		"..x",
		"4",
	};
	char name[64];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		size_t len = strlen(names[i]);

		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				strcpy(name, names[i]);
				name[at] = (char)c;
				expect_kind(name, len);
			}
			strcpy(name, names[i]);
			name[at] = '\0';
			expect_kind(name, at);
			/* A byte more. */
			snprintf(name, sizeof(name), "%.*s%c%s", (int)at, names[i], names[i][at],
				 names[i] + at);
			expect_kind(name, len + 1);
		}
	}
}

/* Proves: numbers of every length are written as printf does it. */
static void numbers_are_written_in_decimal(void **state)
{
	uint64_t power = 1;

	(void)state;
	for (unsigned digits = 0; digits < 20; digits++, power *= 10) {
		for (unsigned i = 0; i < 20; i++) {
			struct pfs_key key =
				pfs_key_num(i < 3 ? power + i - 1 : pfs_mix64(i) % power);
			char text[PFS_NAME_MAX + 1], want[32];

			snprintf(want, sizeof(want), "%llu", (unsigned long long)key.num);
			assert_int_equal(pfs_key_format(text, &key), strlen(want));
			assert_string_equal(text, want);
			assert_int_equal(parse(&key, want), 0);
		}
	}
}

/* Proves: UUIDs and names differ by any byte of theirs, and by length; tags too. */
static void each_byte_counts(void **state)
{
	struct pfs_key a = key_of("550e8400-e29b-41d4-a716-446655440000"), b, name, other;
	char text[] = "abcdefgh";

	(void)state;
	for (unsigned at = 0; at < 16; at++) {
		b = a;
		b.uuid[at]++;
		assert_true(pfs_key_compare(&a, &b) < 0 && pfs_key_compare(&b, &a) > 0);
		assert_false(pfs_key_equal(&a, &b));
		assert_true(pfs_key_tag(&a) != pfs_key_tag(&b));
	}
	name = key_of(text);
	for (unsigned at = 0; at < 8; at++) {
		text[at]++;
		other = key_of(text);
		text[at]--;
		assert_true(pfs_key_compare(&name, &other) < 0);
		assert_true(pfs_key_compare(&other, &name) > 0);
		assert_true(pfs_key_tag(&name) != pfs_key_tag(&other));
		assert_int_equal(pfs_key_parse(&other, text, at + 1), 0);
		assert_int_equal(pfs_key_compare(&name, &other) > 0, at < 7);
		assert_int_equal(pfs_key_compare(&other, &name) < 0, at < 7);
		assert_int_equal(pfs_key_equal(&other, &name), at == 7);
	}
	a = (struct pfs_key){.kind = PFS_KEY_TEMP};
	b = a;
	a.num = 1;
	b.num = 2;
	assert_true(pfs_key_compare(&a, &b) < 0 && pfs_key_compare(&b, &a) > 0);
	assert_int_equal(pfs_key_compare(&a, &a), 0);
	b = pfs_key_num(0);
	assert_true(pfs_key_compare(&b, &a) < 0 && pfs_key_compare(&a, &b) > 0);
	a = (struct pfs_key){.kind = PFS_KEY_NONE};
	assert_int_equal(pfs_key_tag(&a), 0);
	assert_true(pfs_key_compare(&a, &b) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical_ids_round_trip),
		cmocka_unit_test(other_spellings_of_ids_are_refused),
		cmocka_unit_test(other_names_are_scratch_names),
		cmocka_unit_test(length_limit),
		cmocka_unit_test(order_is_total),
		cmocka_unit_test(equality_ignores_unused_bytes),
		cmocka_unit_test(temporary_keys_are_apart),
		cmocka_unit_test(tags_are_those_of_the_format),
		cmocka_unit_test(names_are_told_apart_by_each_byte),
		cmocka_unit_test(numbers_are_written_in_decimal),
		cmocka_unit_test(each_byte_counts),
	};

	return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
