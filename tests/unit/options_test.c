/* fs/options.c: the values of payloadfs's options, at their limits and beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool no_memory;

static char *copy_or_fail(const char *text)
{
	return no_memory ? NULL : strdup(text);
}

#undef strdup
#define strdup copy_or_fail
#include "fs/options.c"
#undef strdup
#include "tests/unit/stderr_helpers.h"

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
		{"cache_size=16777217", CACHE_SIZE, 16777217},
		{"cache_size=8589934591G", CACHE_SIZE, UINT64_C(8589934591) << 30},
		{"cache_size=9223372036854775807", CACHE_SIZE, INT64_MAX},
		{"min_value_size=17", MIN_VALUE_SIZE, 17},
		{"uid=10", OWNER_UID, 10},
		{"uid=010", OWNER_UID, 10},
		{"commit=9", COMMIT, 9},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason;
		struct pfs_options o;

		if (parse(&o, cases[i].option, &reason) != 0)
			fail_msg("-o %s: %s", cases[i].option, reason.text);
		if (field_of(&o, cases[i].field) != cases[i].value)
			fail_msg("-o %s is taken for another value", cases[i].option);
		assert_int_equal(o.fuse.argc, 1); /* it is not for libfuse */
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
		      VALUES("16777215", "15M", "0", "9007199254740992K", "x", "8589934592G",
			     "9223372036854775808", "16777216/", "16M:", "/1", ":1", "16T"));
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

/* Parses these words behind the program's name, up to NULL. */
static int parse_words(struct pfs_options *o, const char *const *words, struct pfs_reason *reason)
{
	char *argv[16] = {"payloadfs"};
	int argc = 1;

	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	return pfs_options_parse(o, argc, argv, reason);
}

/* What is left for libfuse behind the program's name, in one line. */
static const char *left_over(const struct pfs_options *o)
{
	static char text[256];

	assert_string_equal(o->fuse.argv[0], "payloadfs");
	text[0] = '\0';
	for (int i = 1; i < o->fuse.argc; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 1 ? " " : "",
			 o->fuse.argv[i]);
	return text;
}

/* Proves: each word that is no value sets what it says and nothing else; libfuse gets what is its
 * own, and none of the words that are for mount(8). */
static void words_mean_what_they_say(void **state)
{
	static const struct {
		const char *words[5];
		/* h V f d r s j l, each when it is set */
		const char *set, *left;
	} cases[] = {
		{{"mnt"}, "", ""},
		{{"-h"}, "h", ""},
		{{"--help"}, "h", ""},
		{{"-V"}, "V", ""},
		{{"--version", "-o", "ro,page_size=64K"}, "Vr", ""},
		{{"-h", "-V", "a", "b"}, "hV", ""},
		{{"-f", "mnt"}, "f", ""},
		{{"-d", "mnt"}, "fd", "-d"},
		{{"-o", "debug", "mnt"}, "fd", "-o debug"},
		{{"-o", "ro", "mnt"}, "r", ""},
		{{"-o", "ro,rw", "mnt"}, "", ""},
		{{"-o", "rw,ro", "mnt"}, "r", ""},
		{{"-o", "strict", "mnt"}, "s", ""},
		{{"-o", "json=check", "mnt"}, "j", ""},
		{{"-o", "json=check,json=off", "mnt"}, "", ""},
		{{"-o", "low_latency", "mnt"}, "l", ""},
		{{"-o", "allow_other,strict", "mnt"}, "s", "-o allow_other"},
		{{"-o", "default_permissions", "mnt"}, "", ""},
		{{"-o", "defaults,auto,noauto,nofail", "mnt"}, "", ""},
		{{"-o", "user,user=me,nouser,users,nousers", "mnt"}, "", ""},
		{{"-o", "owner,group,_netdev,comment=x", "mnt"}, "", ""},
		{{"-o", "x-systemd.automount,x-gvfs-hide", "mnt"}, "", ""},
		{{"-o", "xattr", "mnt"}, "", "-o xattr"}, /* libfuse's affair */
		{{"-o", "nosuch,nodev", "mnt"}, "", "-o nosuch,nodev"},
		{{"-x", "mnt"}, "", "-x"},
		{{"--nosuch", "mnt"}, "", "--nosuch"},
	};
	struct pfs_reason reason;
	struct pfs_options o;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char set[16];

		if (parse_words(&o, cases[i].words, &reason) != 0)
			fail_msg("%s: %s", cases[i].words[0], reason.text);
		assert_string_equal(reason.text, "");
		snprintf(set, sizeof(set), "%s%s%s%s%s%s%s%s", o.help ? "h" : "",
			 o.version ? "V" : "", o.foreground ? "f" : "", o.debug ? "d" : "",
			 o.read_only ? "r" : "", o.strict ? "s" : "", o.json_check ? "j" : "",
			 o.low_latency ? "l" : "");
		assert_string_equal(set, cases[i].set);
		assert_string_equal(left_over(&o), cases[i].left);
		assert_false(o.has_uid || o.has_gid || o.has_umask || o.published);
		assert_int_equal(o.commit_seconds, 0);
		assert_null(o.cache);
		pfs_options_free(&o);
	}
	assert_int_equal(parse(&o, "cache=/c", &reason), 0);
	assert_string_equal(left_over(&o), "");
	assert_string_equal(o.cache, "/c");
	pfs_options_free(&o);
}

/* Proves: without memory for what is given that is an error with words, of a cache as of a path. */
static void options_need_memory(void **state)
{
	char *cache[] = {"payloadfs", "-o", "cache=/c", NULL}, *path[] = {"payloadfs", "mnt", NULL};
	struct pfs_reason reason;
	struct pfs_options o;

	(void)state;
	no_memory = true;
	assert_int_equal(pfs_options_parse(&o, 3, cache, &reason), -EINVAL);
	assert_string_equal(reason.text, "no memory");
	pfs_options_free(&o);
	assert_int_equal(pfs_options_parse(&o, 2, path, &reason), -EINVAL);
	assert_string_equal(reason.text, "no memory");
	pfs_options_free(&o);
	no_memory = false;
}

/* Proves: of one path it is the mount point, of two the first is the store; none at all, more, and
 * empty ones are refused with words. */
static void paths_have_their_places(void **state)
{
	static const struct {
		const char *words[5];
		const char *store, *mountpoint;
		const char *refused;
	} cases[] = {
		{{"mnt"}, NULL, "mnt", NULL},
		{{"store", "mnt"}, "store", "mnt", NULL},
		{{"-o", "ro", "store", "mnt"}, "store", "mnt", NULL},
		{{"store", "-f", "mnt", "-d"}, "store", "mnt", NULL},
		{{NULL}, NULL, NULL, "MOUNTPOINT is missing"},
		{{"-f"}, NULL, NULL, "MOUNTPOINT is missing"},
		{{"a", "b", "c"}, "a", "b", "c: one STORE and one MOUNTPOINT are all there can be"},
		{{""}, NULL, NULL, "a path is empty"},
		{{"store", ""}, NULL, "store", "a path is empty"},
		{{"mnt", "-o"}, NULL, "mnt", "wrong options"},
		{{"-o", "fsname=x", "mnt"},
		 NULL,
		 NULL,
		 "-o fsname=x: set by payloadfs itself, can't be chosen"},
		{{"-o", "subtype=x", "mnt"},
		 NULL,
		 NULL,
		 "-o subtype=x: set by payloadfs itself, can't be chosen"},
		{{"-o", "ro,page_size=64K", "mnt"},
		 NULL,
		 "mnt",
		 "-o ro makes no new store, so page_size= and min_value_size= can't be given with "
		 "it"},
	};
	struct pfs_reason reason;
	struct pfs_options o;
	char said[256];

	(void)state;
	begin_to_listen(); /* libfuse says what it misses */
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		assert_int_equal(parse_words(&o, cases[i].words, &reason),
				 cases[i].refused ? -EINVAL : 0);
		assert_string_equal(reason.text, cases[i].refused ? cases[i].refused : "");
		if (cases[i].store)
			assert_string_equal(o.store, cases[i].store);
		else
			assert_null(o.store);
		if (cases[i].mountpoint)
			assert_string_equal(o.mountpoint, cases[i].mountpoint);
		else
			assert_null(o.mountpoint);
		pfs_options_free(&o);
	}
	end_to_listen(said, sizeof(said));
	assert_non_null(strstr(said, "missing argument"));
}

/* Proves: the last of several caches counts; of a store that was left out the check says so. */
static void the_last_value_counts(void **state)
{
	static const char *const words[] = {"-o", "cache=/a,cache=/b,commit=5,commit=7", "mnt",
					    NULL};
	struct pfs_reason reason;
	struct pfs_options o;

	(void)state;
	assert_int_equal(parse_words(&o, words, &reason), 0);
	assert_string_equal(o.cache, "/b");
	assert_int_equal(o.commit_seconds, 7);
	assert_int_equal(pfs_options_check_own(&o, &reason), -EINVAL);
	assert_string_equal(reason.text,
			    "-o cache=: is for published collections, and the store is none");
	pfs_options_free(&o);
}

/* Proves: the help begins with how it is called, names every option of ours, then those of libfuse,
 * and ends with the exit codes. */
static void the_help_is_whole(void **state)
{
	static char text[32768];
	int true_stdout = dup(STDOUT_FILENO);
	FILE *file = tmpfile();
	size_t len;

	(void)state;
	assert_non_null(file);
	fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	pfs_options_help("the-program");
	fflush(stdout);
	assert_true(dup2(true_stdout, STDOUT_FILENO) >= 0);
	close(true_stdout);
	rewind(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	assert_memory_equal(text, "Usage: the-program [options] [STORE] MOUNTPOINT\n", 48);
	for (const struct fuse_opt *spec = option_specs; spec->templ; spec++) {
		char name[64];

		if (spec->value == PFS_OPT_OURS || spec->value == PFS_OPT_MOUNT_ONLY ||
		    spec->value == PFS_OPT_RW || spec->value == FUSE_OPT_KEY_DISCARD ||
		    strcmp(spec->templ, "debug") == 0)
			continue;
		snprintf(name, sizeof(name), "%s", spec->templ);
		if (!strstr(text, name))
			fail_msg("%s is missing", name);
	}
	assert_non_null(strstr(text, "\nOptions of libfuse:\n"));
	assert_non_null(strstr(text, "allow_other"));
	assert_true(len > strlen(PFS_EXIT_HELP));
	assert_string_equal(text + len - strlen(PFS_EXIT_HELP), PFS_EXIT_HELP);
	assert_int_equal(text[len - strlen(PFS_EXIT_HELP) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take_values_at_their_limits),
		cmocka_unit_test(refuse_values_beyond),
		cmocka_unit_test(know_options_of_collections),
		cmocka_unit_test(refuse_sizes_for_reading),
		cmocka_unit_test(words_mean_what_they_say),
		cmocka_unit_test(options_need_memory),
		cmocka_unit_test(paths_have_their_places),
		cmocka_unit_test(the_last_value_counts),
		cmocka_unit_test(the_help_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
