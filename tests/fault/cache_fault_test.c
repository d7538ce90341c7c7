/* The cache directory, whose system calls and memory fail one way after the other: nothing in it is
 * the only copy, so that what can't be had is not missed. And the hash that published objects have
 * their names from. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/calls.h"
#include "tests/fault/scenario.h"

#include "storage/cache_dir.h"
#include "storage/hash.h"

#define LEN 5000
#define SIZE_MAX_OF_CACHE (64 * PFS_MIB)
#define SMALL_CACHE PFS_MIB
#define FILES 12 /* of 128 KiB: more than fit in the small one */
#define FILE_LEN (128 * PFS_KIB)
#define TINY_FILES 70

struct place {
	char top[64], path[80];
	unsigned descriptors;
	struct pfs_cache_dir *dir;
	struct pfs_reason reason;
	uint8_t bytes[LEN];
	ssize_t got;
	void *kept;
	size_t kept_len;
	uint64_t used, evicted;
};

static const char text[] = "what is kept";

static uint8_t byte_at(size_t i)
{
	return (uint8_t)pfs_mix64(i + 1);
}

static struct place *new_place(void)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->top, sizeof(p->top), "%s/pfs-cache-XXXXXX", calls_where());
	assert_non_null(mkdtemp(p->top));
	snprintf(p->path, sizeof(p->path), "%s/cache", p->top);
	p->descriptors = calls_open_descriptors();
	return p;
}

static struct place *open_place(uint64_t size_max)
{
	struct place *p = new_place();

	assert_int_equal(pfs_cache_dir_open(&p->dir, p->path, size_max, &p->reason), 0);
	return p;
}

static void fill_file(const struct place *p, const char *name, size_t len, int64_t age_s)
{
	const struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = time(NULL) - age_s, .tv_nsec = (long)(len % 2)}};
	uint8_t *bytes = malloc(len);
	char path[160];
	int fd;

	memset(bytes, 'x', len);
	snprintf(path, sizeof(path), "%s/chunks/%s", p->path, name);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
	free(bytes);
}

static bool is_there(const struct place *p, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/chunks/%s", p->path, name);
	return access(path, F_OK) == 0;
}

static void end(void *state)
{
	struct place *p = state;
	char command[128];

	if (p->dir)
		pfs_cache_dir_close(p->dir);
	assert_int_equal(calls_open_descriptors(), p->descriptors);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->top);
	assert_int_equal(system(command), 0);
	free(p);
}

/* ---- opening ---- */

static void *not_opened(void)
{
	return new_place();
}

static int open_cache(void *state)
{
	struct place *p = state;

	p->reason.text[0] = '\0';
	return pfs_cache_dir_open(&p->dir, p->path, SIZE_MAX_OF_CACHE, &p->reason);
}

static void expect_opened(void *state, int err)
{
	const struct place *p = state;

	assert_int_equal(p->dir == NULL, err != 0);
	assert_true(p->reason.text[0] == '\0' || err);
	if (err && err != -ENOMEM)
		assert_non_null(strstr(p->reason.text, "/cache/chunks: "));
}

/* ---- chunks ---- */

static void *with_chunk(void)
{
	struct place *p = open_place(SIZE_MAX_OF_CACHE);

	for (size_t i = 0; i < LEN; i++)
		p->bytes[i] = byte_at(i);
	assert_int_equal(pfs_cache_dir_write(p->dir, "old", p->bytes, LEN, 0), 0);
	return p;
}

static void *with_large_cache(void)
{
	return open_place(SIZE_MAX_OF_CACHE);
}

static int write_chunk(void *state)
{
	struct place *p = state;
	uint8_t bytes[LEN];

	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i);
	return pfs_cache_dir_write(p->dir, "new", bytes, LEN, 100);
}

static void expect_written(void *state, int err)
{
	struct place *p = state;

	memset(p->bytes, 0, LEN);
	p->got = pfs_cache_dir_read(p->dir, "new", p->bytes, LEN, 100, true);
	assert_true(p->got >= 0);
	if (err)
		return;
	assert_int_equal(p->got, LEN);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(p->bytes[i], byte_at(i));
}

static int read_chunk(void *state)
{
	struct place *p = state;

	memset(p->bytes, 0, LEN);
	p->got = pfs_cache_dir_read(p->dir, "old", p->bytes, LEN, 0, true);
	return p->got < 0 ? (int)p->got : 0;
}

static void expect_read(void *state, int err)
{
	const struct place *p = state;

	if (err)
		return;
	assert_int_equal(p->got, LEN);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(p->bytes[i], byte_at(i));
}

/* Whoever forgets a chunk has found it to be wrong, and would find that again. */
static int forget_chunk(void *state)
{
	struct place *p = state;

	pfs_cache_dir_forget(p->dir, "old", 0, LEN);
	return 0;
}

static void expect_forgotten_or_whole(void *state, int err)
{
	struct place *p = state;

	(void)err;
	memset(p->bytes, 0, LEN);
	p->got = pfs_cache_dir_read(p->dir, "old", p->bytes, LEN, 0, false);
	assert_true(p->got == 0 || p->got == LEN);
	assert_true(p->got == 0 || pfs_is_zero(p->bytes, LEN) || p->bytes[0] == byte_at(0));
}

/* ---- files that are kept whole ---- */

static int keep_file(void *state)
{
	struct place *p = state;

	return pfs_cache_dir_keep(p->dir, "name", text, sizeof(text));
}

static void expect_kept(void *state, int err)
{
	struct place *p = state;
	int found = pfs_cache_dir_kept(p->dir, "name", &p->kept, &p->kept_len);

	assert_true(found == (err ? -ENOENT : 0));
	if (!found) {
		assert_int_equal(p->kept_len, sizeof(text));
		assert_memory_equal(p->kept, text, sizeof(text));
	}
	free(p->kept);
}

static void *with_kept(void)
{
	struct place *p = open_place(SIZE_MAX_OF_CACHE);

	assert_int_equal(keep_file(p), 0);
	return p;
}

static int get_kept(void *state)
{
	struct place *p = state;
	int err = pfs_cache_dir_kept(p->dir, "name", &p->kept, &p->kept_len);

	assert_int_equal(p->kept == NULL, err != 0);
	fault_forget(p->kept);
	return err;
}

static void expect_had(void *state, int err)
{
	struct place *p = state;

	if (!err) {
		assert_int_equal(p->kept_len, sizeof(text));
		assert_memory_equal(p->kept, text, sizeof(text));
	}
	free(p->kept);
	p->kept = NULL;
}

/* What can't be read is not there. */
static bool allows_absence(const struct fault *fault, int err)
{
	return err == (fault->kind == FAULT_MEMORY ? -ENOMEM : fault->err) || err == -ENOENT;
}

/* ---- eviction ---- */

/* Some were used in the same second, some of these at the same moment. */
static void *with_much(void)
{
	struct place *p = open_place(SMALL_CACHE);
	char path[160];

	for (unsigned i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u.c", i);
		fill_file(p, name, FILE_LEN + i % 2, 100 * (int64_t)(FILES - i / 4));
	}
	for (unsigned i = 0; i < TINY_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "tiny%u.k", i);
		fill_file(p, name, 1, 0);
	}
	fill_file(p, "old.t", 10, 2 * 3600);
	fill_file(p, "young.t", 10, 10);
	fill_file(p, "foreign", FILE_LEN, 99999);
	snprintf(path, sizeof(path), "%s/chunks/directory.c", p->path);
	assert_int_equal(mkdir(path, 0700), 0);
	return p;
}

/* Enough to have it measured. */
static int write_much(void *state)
{
	struct place *p = state;
	uint8_t *bytes = malloc(SMALL_CACHE / 16);
	int err = -ENOMEM;

	if (bytes) {
		memset(bytes, 'y', SMALL_CACHE / 16);
		err = pfs_cache_dir_write(p->dir, "new", bytes, SMALL_CACHE / 16, 0);
	}
	free(bytes);
	pfs_cache_dir_usage(p->dir, &p->used, &p->evicted);
	return err;
}

/* That it was not emptied is no error; the next time it is. */
static void expect_bounded(void *state, int err)
{
	struct place *p = state;
	unsigned gone = 0;

	(void)err;
	assert_int_equal(write_much(p), 0);
	assert_in_range(p->used, 1, SMALL_CACHE);
	for (unsigned i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u.c", i);
		gone += !is_there(p, name);
	}
	assert_in_range(gone, 4, FILES);
	assert_int_equal(p->evicted, gone);
	/* One that could not be removed may stay, for another. */
	assert_false(is_there(p, "0.c") && is_there(p, "1.c"));
	assert_true(is_there(p, "tiny69.k"));
	assert_false(is_there(p, "old.t"));
	assert_true(is_there(p, "9.c"));
	assert_true(is_there(p, "young.t"));
	assert_true(is_there(p, "foreign"));
	assert_true(is_there(p, "directory.c"));
}

static bool allows_the_call(const struct fault *fault, int err)
{
	return err == (fault->kind == FAULT_MEMORY ? -ENOMEM : fault->err);
}

static const struct scenario scenarios[] = {
	{"a cache is opened", not_opened, open_cache, expect_opened, end, allows_the_call},
	{"a chunk is written", with_large_cache, write_chunk, expect_written, end, NULL},
	{"a chunk is read", with_chunk, read_chunk, expect_read, end, NULL},
	{"a chunk is forgotten", with_chunk, forget_chunk, expect_forgotten_or_whole, end, NULL},
	{"a file is kept", with_large_cache, keep_file, expect_kept, end, NULL},
	{"a kept file is had", with_kept, get_kept, expect_had, end, allows_absence},
	{"the oldest go", with_much, write_much, expect_bounded, end, allows_the_call},
};

/* Proves: whatever fails, a cache gives what was put there, or nothing, or the error; it loses
 * neither memory nor descriptors, and removes only what is its own and old, as soon as it can. */
static void no_call_that_fails_harms_a_cache(void **state)
{
	const struct fault faults[] = {{.kind = FAULT_SYSTEM, .err = -EIO},
				       {.kind = FAULT_SYSTEM, .err = -EACCES}};
	const struct fault memory = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try_all(scenarios, pfs_array_len(scenarios), faults, pfs_array_len(faults));
	scenario_try(&scenarios[0], &memory, 1);
	scenario_try(&scenarios[5], &memory, 1);
	scenario_try(&scenarios[6], &memory, 1);
}

/* ---- hashes ---- */

#ifdef PFS_HAVE_CRYPTO
struct hashed {
	uint8_t hash[PFS_HASH_LEN], whole[PFS_HASH_WHOLE_LEN];
};

static void *nothing_hashed(void)
{
	return calloc(1, sizeof(struct hashed));
}

static int hash_text(void *state)
{
	struct hashed *h = state;
	struct pfs_hash *hash;
	int err = pfs_hash_new(&hash);

	if (err) {
		assert_null(hash);
		return err;
	}
	pfs_hash_begin(hash);
	pfs_hash_add(hash, "a", 1);
	pfs_hash_add(hash, NULL, 0);
	pfs_hash_add(hash, "bc", 2);
	err = pfs_hash_end(hash, h->hash);
	if (!err) {
		pfs_hash_begin(hash);
		pfs_hash_add(hash, "abc", 3);
		err = pfs_hash_end_whole(hash, h->whole);
	}
	pfs_hash_free(hash);
	return err;
}

static void expect_hash(void *state, int err)
{
	static const uint8_t of_abc[8] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
	struct hashed *h = state;

	if (!err) {
		assert_memory_equal(h->hash, of_abc, sizeof(of_abc));
		assert_memory_equal(h->whole, of_abc, sizeof(of_abc));
	} else {
		assert_true(pfs_is_zero(h->whole, sizeof(h->whole)));
		assert_true(pfs_is_zero(h->hash, sizeof(h->hash)) ||
			    memcmp(h->hash, of_abc, sizeof(of_abc)) == 0);
	}
}

static bool allows_library(const struct fault *fault, int err)
{
	return fault->kind == FAULT_MEMORY ? err == -ENOMEM : err == -ENOMEM || err == -EIO;
}

/* Proves: a library that fails is an error, and no hash. */
static void no_hash_is_made_up(void **state)
{
	static const struct scenario hashing = {"a text is hashed", nothing_hashed, hash_text,
						expect_hash,	    free,	    allows_library};
	const struct fault faults[] = {{.kind = FAULT_LIBRARY}, {.kind = FAULT_MEMORY}};

	(void)state;
	pfs_hash_free(NULL);
	scenario_try(&hashing, faults, 2);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_that_fails_harms_a_cache),
#ifdef PFS_HAVE_CRYPTO
		cmocka_unit_test(no_hash_is_made_up),
#endif
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("faults of a cache", tests, NULL, NULL);
}
