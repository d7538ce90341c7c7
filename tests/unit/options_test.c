/* fs/options.c: the values of payloadfs's options, at their limits and beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/options.c"

/* Parses "payloadfs -o OPTION STORE MNT"; the caller frees *o. */
static int parse(struct pfs_options *o, const char *option, struct pfs_reason *reason)
{
	char *argv[] = {"payloadfs", "-o", (char *)(uintptr_t)option, "store", "mnt", NULL};

	return pfs_options_parse(o, 5, argv, reason);
}

enum pfs_field {
	COMMIT,
	PAGE_SIZE,
	MIN_VALUE_SIZE,
	OWNER_UID,
	OWNER_GID,
	UMASK,
	JSON,
	DICT,
	REFRESH,
	TIMEOUT,
	CACHE_SIZE,
};

static uint64_t field_of(const struct pfs_options *o, enum pfs_field field)
{
	switch (field) {
	case COMMIT: return o->commit_seconds;
	case PAGE_SIZE: return o->page_size;
	case MIN_VALUE_SIZE: return o->min_value_size;
	case OWNER_UID: return o->has_uid && !o->has_gid ? o->uid : UINT64_MAX;
	case OWNER_GID: return o->has_gid && !o->has_uid ? o->gid : UINT64_MAX;
	case UMASK: return o->has_umask ? o->umask : UINT64_MAX;
	case JSON: return o->json_check;
	case DICT: return o->dict;
	case REFRESH: return o->refresh_seconds;
	case TIMEOUT: return o->timeout_seconds;
	case CACHE_SIZE: return o->cache_size;
	}
	return UINT64_MAX;
}

/* Proves: the least and the greatest values, and each way of writing them, are taken and mean what
 * they say. */
static void take_values_at_their_limits(void **state)
{
	static const struct {
		const char *option;
		enum pfs_field field;
		uint64_t value;
	} cases[] = {
		{"commit=1", COMMIT, 1},
		{"commit=3600", COMMIT, 3600},
		{"page_size=64K", PAGE_SIZE, 65536},
		{"page_size=65536", PAGE_SIZE, 65536},
		{"page_size=64k", PAGE_SIZE, 65536},
		{"page_size=1G", PAGE_SIZE, 1073741824},
		{"page_size=1024M", PAGE_SIZE, 1073741824},
		{"min_value_size=16", MIN_VALUE_SIZE, 16},
		{"min_value_size=4096", MIN_VALUE_SIZE, 4096},
		{"min_value_size=4K", MIN_VALUE_SIZE, 4096},
		{"uid=0", OWNER_UID, 0},
		{"uid=4294967294", OWNER_UID, 4294967294},
		{"gid=0", OWNER_GID, 0},
		{"gid=4294967294", OWNER_GID, 4294967294},
		{"umask=0", UMASK, 0},
		{"umask=022", UMASK, 022},
		{"umask=0777", UMASK, 0777},
		{"json=check", JSON, true},
		{"json=off", JSON, false},
		{"dict=auto", DICT, PFS_DICT_AUTO},
		{"dict=off", DICT, PFS_DICT_OFF},
		{"refresh=1", REFRESH, 1},
		{"refresh=86400", REFRESH, 86400},
		{"timeout=1", TIMEOUT, 1},
		{"timeout=3600", TIMEOUT, 3600},
		{"cache_size=16M", CACHE_SIZE, 16777216},
		{"cache_size=16777216", CACHE_SIZE, 16777216},
		{"cache_size=1000G", CACHE_SIZE, 1073741824000},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason;
		struct pfs_options o;

		if (parse(&o, cases[i].option, &reason) != 0)
			fail_msg("-o %s: %s", cases[i].option, reason.text);
		if (field_of(&o, cases[i].field) != cases[i].value)
			fail_msg("-o %s is taken for another value", cases[i].option);
		pfs_options_free(&o);
	}
}

/* The options of one kind that are refused, each with the reason for it. */
static void check_refused(const char *name, const char *expected, const char *const *values)
{
	for (; *values; values++) {
		struct pfs_reason reason;
		struct pfs_options o;
		char option[64], message[160];

		snprintf(option, sizeof(option), "%s=%s", name, *values);
		snprintf(message, sizeof(message), "-o %s: %s is expected", option, expected);
		if (parse(&o, option, &reason) != -EINVAL)
			fail_msg("-o %s is taken", option);
		assert_string_equal(reason.text, message);
		pfs_options_free(&o);
	}
}

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Proves: what lies beyond the limits, or is no such value, is refused and says what is expected.
 */
static void refuse_values_beyond(void **state)
{
	(void)state;
	check_refused("commit", "a number of seconds from 1 to 3600",
		      VALUES("0", "3601", "-1", "+1", "1s", "1.5", "0x10", "soon", "",
			     "18446744073709551617"));
	check_refused("page_size", "a power of two from 64K to 1G",
		      VALUES("32K", "65535", "96K", "2G", "1025M", "1T", "1KB", "64KK", "12345",
			     "18014398509481985K", "18446744073709617152"));
	check_refused("min_value_size", "a number of bytes from 16 to 4096",
		      VALUES("1", "15", "4097", "5K"));
	check_refused("uid", "a numeric id",
		      VALUES("4294967295", "4294967296", "-1", "root", "1K"));
	check_refused("gid", "a numeric id", VALUES("4294967295"));
	check_refused("umask", "an octal number up to 0777", VALUES("1000", "8", "-1"));
	check_refused("json", "check or off", VALUES("repair", ""));
	check_refused("dict", "auto or off", VALUES("on"));
	check_refused("refresh", "a number of seconds from 1 to 86400",
		      VALUES("0", "86401", "90000"));
	check_refused("timeout", "a number of seconds from 1 to 3600", VALUES("0", "3601", "x"));
	check_refused("cache_size", "a number of bytes from 16M on",
		      VALUES("16777215", "15M", "0", "9007199254740992K", "x"));
	check_refused("cache", "a directory, or off,", VALUES(""));
}

/* Proves: each option of published collections is named when the store is none, and no other. */
static void know_options_of_collections(void **state)
{
	static const char *const options[] = {
		"refresh=1",	    "refresh=86400",  "timeout=1",
		"timeout=3600",	    "cache_size=16M", "cache_size=16777216",
		"cache_size=1000G", "cache=off",      "cache=x",
	};
	struct pfs_reason reason;
	struct pfs_options o;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(options); i++) {
		const char *option = options[i];
		char message[128];

		snprintf(message, sizeof(message),
			 "-o %.*s=: is for published collections, and store is none",
			 (int)strcspn(option, "="), option);
		assert_int_equal(parse(&o, option, &reason), 0);
		assert_int_equal(pfs_options_check_own(&o, &reason), -EINVAL);
		assert_string_equal(reason.text, message);
		pfs_options_free(&o);
	}
	assert_int_equal(parse(&o, "commit=1,uid=1,umask=0,dict=off", &reason), 0);
	assert_int_equal(pfs_options_check_own(&o, &reason), 0);
	pfs_options_free(&o);
}

/* Proves: sizes are for a new store, which a read-only mount does not make; the last of ro and rw
 * counts. */
static void refuse_sizes_for_reading(void **state)
{
	static const char *const options[] = {"ro,page_size=64K", "ro,min_value_size=16"};
	struct pfs_reason reason;
	struct pfs_options o;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(options); i++) {
		assert_int_equal(parse(&o, options[i], &reason), -EINVAL);
		assert_non_null(strstr(reason.text, "makes no new store"));
		pfs_options_free(&o);
	}
	assert_int_equal(parse(&o, "ro,rw,page_size=64K", &reason), 0);
	assert_false(o.read_only);
	pfs_options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take_values_at_their_limits),
		cmocka_unit_test(refuse_values_beyond),
		cmocka_unit_test(know_options_of_collections),
		cmocka_unit_test(refuse_sizes_for_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
