/* fs/paths.c: the paths of payloadfs's command line. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned fails; /* which of the calls that get memory does, from 1; 0: none */

static bool has_memory(void)
{
	return !fails || --fails > 0;
}

/* What lies before and behind the last block, and must stay. */
#define GUARD 64

static struct {
	char *block;
	size_t size;
} guarded;

static void *get_guarded(size_t size)
{
	if (!has_memory())
		return NULL;
	assert_null(guarded.block);
	guarded.block = malloc(size + 2 * GUARD);
	assert_non_null(guarded.block);
	memset(guarded.block, 0x6b, size + 2 * GUARD);
	guarded.size = size;
	return guarded.block + GUARD;
}

static void free_guarded(void *block)
{
	if (!guarded.block || block != guarded.block + GUARD) {
		free(block);
		return;
	}
	for (size_t i = 0; i < GUARD; i++) {
		assert_int_equal(guarded.block[i], 0x6b);
		assert_int_equal(guarded.block[GUARD + guarded.size + i], 0x6b);
	}
	free(guarded.block);
	guarded.block = NULL;
}

static char *copy_or_fail(const char *text)
{
	return has_memory() ? strdup(text) : NULL;
}

/* Where it fails, what it was to fill is not defined. */
__attribute__((format(printf, 2, 3))) static int print_or_fail(char **out, const char *fmt, ...)
{
	va_list args;
	int n;

	if (!has_memory()) {
		*out = (char *)(uintptr_t) "undefined";
		return -1;
	}
	va_start(args, fmt);
	n = vasprintf(out, fmt, args);
	va_end(args);
	return n;
}

#undef strdup
#define malloc get_guarded
#define free free_guarded
#define strdup copy_or_fail
#define asprintf print_or_fail
#include "fs/paths.c"
#undef malloc
#undef free
#undef strdup
#undef asprintf

static char base[64]; /* a directory of this test, without links */

static int setup(void **state)
{
	char template[] = "/tmp/payloadfs-paths-XXXXXX";
	char *made = mkdtemp(template);
	char *real = made ? realpath(made, NULL) : NULL;

	(void)state;
	if (!real)
		return -1;
	snprintf(base, sizeof(base), "%s", real);
	free(real);
	return chdir(base) || mkdir("there", 0700) || symlink("there", "link");
}

static int teardown(void **state)
{
	(void)state;
	return unlink("link") || rmdir("there") || chdir("/") || rmdir(base);
}

static void check_resolve(const char *path, const char *below_base)
{
	char expected[PATH_MAX];
	char *out;

	assert_int_equal(pfs_path_resolve(&out, path), 0);
	snprintf(expected, sizeof(expected), "%s%s", base, below_base);
	assert_string_equal(out, expected);
	free(out);
}

/* Proves: the part of a path that exists loses its links, what does not exist yet is appended,
 * whatever the slashes. */
static void resolve_paths(void **state)
{
	char *out;

	(void)state;
	check_resolve("there", "/there");
	check_resolve("link", "/there");
	check_resolve("link/new", "/there/new");
	check_resolve("new", "/new");
	check_resolve("new/", "/new");
	check_resolve("./new//newer///", "/new/newer");
	check_resolve("there/../new", "/new");
	check_resolve(".", "");
	assert_int_equal(pfs_path_resolve(&out, "new/../there"), -EINVAL);
	assert_null(out);
	assert_int_equal(pfs_path_resolve(&out, "/dev/null/x"), -ENOTDIR);
	assert_null(out);
	assert_int_equal(pfs_path_resolve(&out, ""), -EINVAL);
	assert_null(out);
	assert_int_equal(pfs_path_resolve(&out, "/no-such-directory-here"), 0);
	assert_string_equal(out, "/no-such-directory-here");
	free(out);
}

/* Proves: "inside" is by components, not by characters. */
static void inside(void **state)
{
	(void)state;
	assert_true(pfs_path_inside("/a/b", "/a"));
	assert_true(pfs_path_inside("/a", "/a"));
	assert_true(pfs_path_inside("/a/b/c", "/a/b"));
	assert_true(pfs_path_inside("/a", "/"));
	assert_true(pfs_path_inside("/", "/"));
	assert_false(pfs_path_inside("/ab", "/a"));
	assert_false(pfs_path_inside("/a", "/a/b"));
	assert_false(pfs_path_inside("/b", "/a"));
}

static void check_default(const char *mountpoint, bool root, const char *expected)
{
	char *out;

	assert_int_equal(pfs_path_default_store(&out, mountpoint, root), 0);
	assert_string_equal(out, expected);
	free(out);
}

/* Proves: the default store is where the help says, and two mount points never share one. */
static void default_stores(void **state)
{
	char *out;

	(void)state;
	setenv("HOME", "/home/u", 1);
	unsetenv("XDG_DATA_HOME");
	check_default("/mnt/p", true, "/var/lib/payloadfs/mnt-p");
	check_default("/mnt/p", false, "/home/u/.local/share/payloadfs/mnt-p");
	check_default("/mnt-p", true, "/var/lib/payloadfs/mnt\\x2dp");
	check_default("/mnt/a b/.c/\\", true, "/var/lib/payloadfs/mnt-a\\x20b-.c-\\x5c");
	check_default("/.hidden", true, "/var/lib/payloadfs/\\x2ehidden");
	check_default("/\xc3\xa4", true, "/var/lib/payloadfs/\\xc3\\xa4");
	check_default("/", true, "/var/lib/payloadfs/-");
	/* Where each takes most room. */
	check_default("/ \t !?$%&", true,
		      "/var/lib/payloadfs/\\x20\\x09\\x20\\x21\\x3f\\x24\\x25\\x26");
	setenv("XDG_DATA_HOME", "/data", 1);
	check_default("/mnt/p", false, "/data/payloadfs/mnt-p");
	check_default("/mnt/p", true, "/var/lib/payloadfs/mnt-p");
	setenv("XDG_DATA_HOME", "relative", 1); /* the specification says: to be ignored */
	check_default("/mnt/p", false, "/home/u/.local/share/payloadfs/mnt-p");
	unsetenv("XDG_DATA_HOME");
	unsetenv("HOME");
	assert_int_equal(pfs_path_default_store(&out, "/mnt/p", false), -ENOENT);
	assert_null(out);
}

/* Proves: the same of the cache's directory; and that a path becomes absolute, whatever is there.
 */
static void default_caches(void **state)
{
	char *out, *here = getcwd(NULL, 0), expected[4200];

	(void)state;
	setenv("HOME", "/home/u", 1);
	setenv("XDG_CACHE_HOME", "/cache", 1);
	assert_int_equal(pfs_path_default_cache(&out, true), 0);
	assert_string_equal(out, "/var/cache/payloadfs");
	free(out);
	assert_int_equal(pfs_path_default_cache(&out, false), 0);
	assert_string_equal(out, "/cache/payloadfs");
	free(out);
	setenv("XDG_CACHE_HOME", "relative", 1);
	assert_int_equal(pfs_path_default_cache(&out, false), 0);
	assert_string_equal(out, "/home/u/.cache/payloadfs");
	free(out);
	unsetenv("HOME");
	assert_int_equal(pfs_path_default_cache(&out, false), -ENOENT);
	assert_null(out);
	assert_int_equal(pfs_path_absolute(&out, "not/there"), 0);
	snprintf(expected, sizeof(expected), "%s%snot/there", here, strcmp(here, "/") ? "/" : "");
	assert_string_equal(out, expected);
	free(out);
	assert_int_equal(pfs_path_absolute(&out, "/a/b"), 0);
	assert_string_equal(out, "/a/b");
	free(out);
	free(here);
}

/* Proves: of each byte of a mount point's path the default store has what systemd-escape makes of
 * it, at the beginning and within. */
static void each_byte_is_escaped(void **state)
{
	const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_";

	(void)state;
	for (unsigned byte = 1; byte < 256; byte++) {
		char path[8] = {'/', (char)byte, 'x', (char)byte, 'y', '\0'};
		char escaped[8], first[8], want[64];

		snprintf(escaped, sizeof(escaped), byte == '/' ? "-" : "\\x%02x", byte);
		if (strchr(plain, (int)byte) || byte == '.')
			snprintf(escaped, sizeof(escaped), "%c", (char)byte);
		snprintf(first, sizeof(first), "%s",
			 byte == '.'   ? "\\x2e"
			 : byte == '/' ? ""
				       : escaped);
		snprintf(want, sizeof(want), "/var/lib/payloadfs/%sx%sy", first, escaped);
		check_default(path, true, want);
	}
	check_default("//a", true, "/var/lib/payloadfs/a");
	check_default("/a/", true, "/var/lib/payloadfs/a-");
}

/* Proves: nothing that is set is taken where it is empty, and what is set wins over what is not. */
static void empty_directories_are_none(void **state)
{
	char *out;

	(void)state;
	setenv("HOME", "", 1);
	setenv("XDG_DATA_HOME", "", 1);
	setenv("XDG_CACHE_HOME", "", 1);
	assert_int_equal(pfs_path_default_store(&out, "/m", false), -ENOENT);
	assert_int_equal(pfs_path_default_cache(&out, false), -ENOENT);
	setenv("HOME", "relative", 1);
	assert_int_equal(pfs_path_default_store(&out, "/m", false), -ENOENT);
	assert_int_equal(pfs_path_default_cache(&out, false), -ENOENT);
	setenv("XDG_DATA_HOME", "/d", 1);
	check_default("/m", false, "/d/payloadfs/m");
	setenv("HOME", "/h", 1);
	assert_int_equal(pfs_path_default_cache(&out, false), 0);
	assert_string_equal(out, "/h/.cache/payloadfs");
	free(out);
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_CACHE_HOME");
	check_default("/m", false, "/h/.local/share/payloadfs/m");
	assert_int_equal(pfs_path_default_cache(&out, false), 0);
	assert_string_equal(out, "/h/.cache/payloadfs");
	free(out);
}

/* Proves: a path is split at its last component, and put together, with one slash. */
static void paths_are_taken_apart(void **state)
{
	static const struct {
		const char *path, *dir, *name;
	} cases[] = {
		{"a/b/", "a", "b"},	 {"b", ".", "b"},    {"/b", "/", "b"},
		{"/", "/", ""},		 {"//", "/", ""},    {"a//b", "a/", "b"},
		{"/a/b/c", "/a/b", "c"}, {"b///", ".", "b"},
	};
	char *out;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char copy[16];
		const char *dir, *name;

		strcpy(copy, cases[i].path);
		split(copy, &dir, &name);
		assert_string_equal(dir, cases[i].dir);
		assert_string_equal(name, cases[i].name);
	}
	assert_int_equal(join(&out, "/", "a"), 0);
	assert_string_equal(out, "/a");
	free(out);
	assert_int_equal(join(&out, "/b", "a"), 0);
	assert_string_equal(out, "/b/a");
	free(out);
	assert_int_equal(pfs_path_resolve(&out, "/not-there/./x"), -EINVAL);
	assert_int_equal(pfs_path_resolve(&out, "/not-there/.."), -EINVAL);
	assert_int_equal(pfs_path_resolve(&out, "/not-there/.a"), 0);
	assert_string_equal(out, "/not-there/.a");
	free(out);
}

static int resolve(char **out)
{
	return pfs_path_resolve(out, "not-there/either");
}

static int default_store(char **out)
{
	return pfs_path_default_store(out, "/m", true);
}

static int default_cache(char **out)
{
	return pfs_path_default_cache(out, true);
}

static int absolute(char **out)
{
	return pfs_path_absolute(out, "/m");
}

static int made_absolute(char **out)
{
	return pfs_path_absolute(out, "m");
}

/* Proves: whichever memory is missing that is said, and no path is given. */
static void paths_need_memory(void **state)
{
	static const struct {
		int (*get)(char **out);
		unsigned calls;
	} cases[] = {{resolve, 4},
		     {default_store, 2},
		     {default_cache, 1},
		     {absolute, 1},
		     {made_absolute, 1}};
	char *out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned at = 1; at <= cases[i].calls; at++) {
			fails = at;
			assert_int_equal(cases[i].get(&out), -ENOMEM);
			assert_int_equal(fails, 0);
			assert_null(out);
		}
		fails = cases[i].calls + 1;
		assert_int_equal(cases[i].get(&out), 0);
		assert_int_equal(fails, 1);
		fails = 0;
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(resolve_paths, setup, teardown),
		cmocka_unit_test(inside),
		cmocka_unit_test(default_stores),
		cmocka_unit_test(default_caches),
		cmocka_unit_test(each_byte_is_escaped),
		cmocka_unit_test(empty_directories_are_none),
		cmocka_unit_test(paths_are_taken_apart),
		cmocka_unit_test_setup_teardown(paths_need_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
