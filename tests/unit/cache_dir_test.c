/* storage/cache_dir.c: the directory of a cache, file by file: what is read, written and kept,
 * which files are its own, what goes when it is too large, to the file; whose directory it may be.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/cache_dir.h"
#include "storage/crc.h"
#include "storage/fd.h"
#include "storage/io.h"
#include "tests/unit/fenced.h"

/* The call that fails, after so many, so often, with this error. */
static const char *failing;
static unsigned failing_after, failures;
static int failing_errno;

static void fail_call(const char *call, unsigned times, int err)
{
	failing = call;
	failures = times;
	failing_errno = err;
	failing_after = 0;
}

static bool is_refused(const char *call)
{
	if (!failures || strcmp(failing, call) != 0)
		return false;
	if (failing_after) {
		failing_after--;
		return false;
	}
	failures--;
	errno = failing_errno;
	return true;
}

static char temporary[256]; /* the last file that was made to be renamed */

static int faulty_openat(int at, const char *name, int how, mode_t mode)
{
	assert_true(how & O_CLOEXEC);
	if (how & O_TRUNC)
		snprintf(temporary, sizeof(temporary), "%s", name);
	return is_refused("openat") ? -1 : openat(at, name, how, mode);
}

static int faulty_open(const char *path, int how)
{
	assert_true(how & O_CLOEXEC);
	return is_refused("open") ? -1 : open(path, how);
}

static DIR *faulty_fdopendir(int fd)
{
	return is_refused("fdopendir") ? NULL : fdopendir(fd);
}

static int faulty_unlinkat(int at, const char *name, int how)
{
	return is_refused("unlinkat") ? -1 : unlinkat(at, name, how);
}

static int faulty_fallocate(int fd, int mode, off_t off, off_t len)
{
	return is_refused("fallocate") ? -1 : fallocate(fd, mode, off, len);
}

/* Whoever is root may do everything. */
static int faulty_faccessat(int at, const char *name, int mode, int how)
{
	assert_true(fcntl(at, F_GETFD) >= 0);
	assert_string_equal(name, ".");
	assert_int_equal(mode, W_OK | X_OK);
	assert_int_equal(how, AT_EACCESS);
	return is_refused("faccessat") ? -1 : faccessat(at, name, mode, how);
}

static uid_t another; /* not 0: who this is */

static uid_t who(void)
{
	return another ? another : geteuid();
}

static time_t stopped; /* not 0: the time */

static time_t when(time_t *out)
{
	return stopped ? stopped : time(out);
}

static char *fenced_copy(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = fenced_malloc(len);

	return copy ? memcpy(copy, text, len) : NULL;
}

static int PFS_PRINTF(2, 3) fenced_print(char **out, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*out = fenced_copy(text);
	return *out ? (int)strlen(text) : -1;
}

#define openat(...) at_least(__VA_ARGS__, 0)
#define at_least(at, name, how, mode, ...) faulty_openat(at, name, how, mode)
#define open(path, how) faulty_open(path, how)
#define fdopendir(fd) faulty_fdopendir(fd)
#define unlinkat(at, name, how) faulty_unlinkat(at, name, how)
#define fallocate(fd, mode, off, len) faulty_fallocate(fd, mode, off, len)
#define faccessat(at, name, mode, how) faulty_faccessat(at, name, mode, how)
#define geteuid() who()
#define time(out) when(out)
#define strdup(text) fenced_copy(text)
#define asprintf fenced_print
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* of a descriptor that is not used */
#include "storage/cache_dir.c"
#pragma GCC diagnostic pop
#else
#include "storage/cache_dir.c"
#endif
#undef openat
#undef open
#undef fdopendir
#undef unlinkat
#undef time

#define LARGE (64 * PFS_MIB)

struct place {
	char top[32], chunks[64];
	unsigned descriptors; /* that were open before */
};

/* Whether files of the cache have the number of the standard input. */
static bool without_input;

static unsigned count_descriptors(void)
{
	unsigned count = 0;

	for (int fd = without_input; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int make_place(void **state)
{
	static struct place one;
	struct place *place = &one;

	snprintf(place->top, sizeof(place->top), "/tmp/pfs-cache-XXXXXX");
	assert_non_null(mkdtemp(place->top));
	snprintf(place->chunks, sizeof(place->chunks), "%.31s/chunks", place->top);
	place->descriptors = count_descriptors();
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	char command[64];

	assert_int_equal(count_descriptors(), place->descriptors);
	assert_true(!without_input || fcntl(0, F_GETFD) < 0);
	assert_int_equal(failures, 0);
	snprintf(command, sizeof(command), "rm -rf %s", place->top);
	assert_int_equal(system(command), 0);
	assert_int_equal(fenced_blocks, 0);
	return 0;
}

static struct pfs_cache_dir *open_it(const struct place *place, uint64_t size_max)
{
	struct pfs_reason reason = {.text = ""};
	struct pfs_cache_dir *dir;
	int err;

	if (without_input && fcntl(0, F_GETFD) < 0)
		assert_int_equal(open("/dev/null", O_RDONLY), 0);
	err = pfs_cache_dir_open(&dir, place->top, size_max, &reason);
	if (without_input)
		close(0);
	if (err)
		fail_msg("%d: %s", err, reason.text);
	assert_string_equal(reason.text, "");
	return dir;
}

static void path_of(const struct place *place, char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s", place->chunks, name);
}

/* Makes a file of that length which was used so long ago. */
static void make(const struct place *place, const char *name, size_t len, time_t ago_s)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - ago_s}, {.tv_sec = time(NULL) - ago_s}};
	char path[128], *bytes = malloc(len + 1);
	int fd;

	memset(bytes, 'x', len + 1);
	path_of(place, path, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
	free(bytes);
}

static void make_old(const struct place *place, const char *name, time_t ago_s)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - ago_s}, {.tv_sec = time(NULL) - ago_s}};
	char path[128];

	path_of(place, path, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int rename_in(const struct place *place, const char *from, const char *to)
{
	char old[128], new[128];

	path_of(place, old, from);
	path_of(place, new, to);
	return rename(old, new);
}

static bool is_there(const struct place *place, const char *name)
{
	char path[128];

	path_of(place, path, name);
	return access(path, F_OK) == 0;
}

static struct stat stat_of(const struct place *place, const char *name)
{
	struct stat st;
	char path[128];

	path_of(place, path, name);
	assert_int_equal(lstat(path, &st), 0);
	return st;
}

/* Proves: bytes are read where they were written, in any order, with holes of zeros, up to the end
 * of the file; one that is not there has none; what is forgotten is zeros, or gone. */
static void bytes_are_read_as_written(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	uint8_t bytes[20000], want[20000] = {0};
	uint64_t used, evicted;

	assert_int_equal(pfs_cache_dir_read(dir, "a", bytes, 10, 0, true), 0);
	assert_int_equal(pfs_cache_dir_write(dir, "a", "later", 5, 16384), 0);
	assert_int_equal(pfs_cache_dir_write(dir, "a", "first", 5, 3), 0);
	memcpy(want + 16384, "later", 5);
	memcpy(want + 3, "first", 5);
	assert_int_equal(pfs_cache_dir_read(dir, "a", bytes, sizeof(bytes), 0, true), 16389);
	assert_memory_equal(bytes, want, 16389);
	assert_int_equal(pfs_cache_dir_read(dir, "a", bytes, 4, 16386, false), 3);
	assert_memory_equal(bytes, "ter", 3);
	assert_int_equal(pfs_cache_dir_read(dir, "a", bytes, 4, 16389, false), 0);
	assert_int_equal(pfs_cache_dir_read(dir, "b", bytes, 4, 0, false), 0);
	assert_int_equal(stat_of(place, "a.c").st_mode & 07777, 0600);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_int_equal(used, 10);
	assert_int_equal(evicted, 0);
	pfs_cache_dir_forget(dir, "a", 0, 4096);
	pfs_cache_dir_forget(dir, "b", 0, 4096); /* which is no file */
	assert_false(is_there(place, "b.c"));
	memset(want, 0, 4096);
	if (is_there(place, "a.c")) {
		assert_int_equal(pfs_cache_dir_read(dir, "a", bytes, sizeof(bytes), 0, true),
				 16389);
		assert_memory_equal(bytes, want, 16389);
	}
	pfs_cache_dir_close(dir);
}

/* Proves: a use of a file is noted in its time, where it is to count, and a look that finds nothing
 * is none. */
static void uses_are_noted(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	const time_t long_ago = time(NULL) - 5000;
	char buf[8];
	size_t len;
	void *data;

	make(place, "a.c", 8, 5000);
	assert_int_equal(pfs_cache_dir_read(dir, "a", buf, 8, 0, false), 8);
	assert_int_equal(pfs_cache_dir_read(dir, "a", buf, 8, 8, true), 0);
	assert_in_range(stat_of(place, "a.c").st_mtime, long_ago - 2, long_ago + 2);
	assert_int_equal(pfs_cache_dir_read(dir, "a", buf, 8, 0, true), 8);
	assert_true(stat_of(place, "a.c").st_mtime > long_ago + 1000);
	assert_int_equal(pfs_cache_dir_keep(dir, "k", "abc", 3), 0);
	assert_int_equal(rename_in(place, "k.k", "l.k"), 0);
	make_old(place, "l.k", 5000);
	assert_int_equal(pfs_cache_dir_kept(dir, "l", &data, &len), 0);
	free(data);
	assert_true(stat_of(place, "l.k").st_mtime > long_ago + 1000);
	make(place, "old.k", 8, 5000);
	assert_int_equal(pfs_cache_dir_kept(dir, "old", &data, &len), -ENOENT);
	assert_in_range(stat_of(place, "old.k").st_mtime, long_ago - 2, long_ago + 2);
	pfs_cache_dir_close(dir);
}

/* Proves: a file that is kept comes back whole, the last one of its name; one of which any byte is
 * another, or that is cut off anywhere, is none. Nothing unfinished is left. */
static void kept_files_are_whole(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	uint8_t file[64];
	char path[128];
	void *data;
	size_t len;
	int fd;

	assert_int_equal(pfs_cache_dir_kept(dir, "k", &data, &len), -ENOENT);
	assert_int_equal(pfs_cache_dir_keep(dir, "k", "another one", 11), 0);
	assert_int_equal(pfs_cache_dir_keep(dir, "k", "seven b", 7), 0);
	assert_int_equal(pfs_cache_dir_kept(dir, "k", &data, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(data, "seven b", 7);
	free(data);
	assert_int_equal(pfs_cache_dir_keep(dir, "nothing", "", 0), 0);
	assert_int_equal(pfs_cache_dir_kept(dir, "nothing", &data, &len), 0);
	assert_int_equal(len, 0);
	free(data);
	assert_int_equal(stat_of(place, "k.k").st_mode & 07777, 0600);
	assert_int_equal(stat_of(place, "k.k").st_size, 15);
	path_of(place, path, "k.k");
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, file, sizeof(file), 0), 15);
	assert_memory_equal(file, "PFSK", 4);
	assert_int_equal(pfs_get_le32(file + 4), pfs_crc32c(0, "seven b", 7));
	for (unsigned at = 0; at < 15; at++) {
		uint8_t other = file[at] ^ 0x20;

		assert_int_equal(pwrite(fd, &other, 1, at), 1);
		data = file;
		len = 77;
		assert_int_equal(pfs_cache_dir_kept(dir, "k", &data, &len), -ENOENT);
		assert_true(!data && !len);
		assert_int_equal(pwrite(fd, file + at, 1, at), 1);
	}
	for (unsigned size = 0; size <= 16; size++) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_int_equal(pfs_cache_dir_kept(dir, "k", &data, &len),
				 size == 15 ? 0 : -ENOENT);
		free(data);
		assert_int_equal(pwrite(fd, file, 15, 0), 15);
	}
	close(fd);
	assert_int_equal(unlink(path), 0);
	path_of(place, path, "nothing.k");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(place->chunks), 0); /* there was nothing else in it */
	assert_int_equal(pfs_cache_dir_keep(dir, "k", "x", 1), -ENOENT);
	pfs_cache_dir_close(dir);
}

/* Proves: what is too large for a directory goes by the time of its last use, from the oldest on,
 * down to seven eighths; files that are not the cache's own neither count nor go, but what was left
 * unfinished, an hour later. */
static void the_oldest_go(void **state)
{
	static const struct {
		const char *name;
		size_t kib;
		time_t ago_s;
		bool goes;
	} files[] = {
		{"a.c", 100, 900, true},      {"b.k", 100, 800, true},
		{"c.c", 100, 700, true},      {"d.c", 100, 600, false},
		{"e.k", 300, 500, false},     {"f.c", 100, 400, false},
		{"other", 1000, 9000, false}, {"x.cc", 1000, 9000, false},
		{".c", 1000, 9000, false},    {"c", 1000, 9000, false},
		{"g.t", 100, 3500, true}, /* counts, as it is being written */
		{"h.t", 100, 3700, true},
	};
	const struct place *place = *state;
	struct pfs_cache_dir *dir;
	uint64_t used, evicted, size_max = 640 * PFS_KIB;
	char path[128], target[128];

	pfs_cache_dir_close(open_it(place, LARGE));
	for (size_t i = 0; i < pfs_array_len(files); i++)
		make(place, files[i].name, files[i].kib * PFS_KIB, files[i].ago_s);
	/* What is no file neither counts nor goes. */
	path_of(place, path, "dir.c");
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(place, path, "link.c");
	path_of(place, target, "other");
	assert_int_equal(symlink(target, path), 0);
	/* With all of them there is one more than goes into it. */
	dir = open_it(place, size_max);
	for (size_t i = 0; i < pfs_array_len(files); i++)
		if (is_there(place, files[i].name) == files[i].goes)
			fail_msg("%s", files[i].name);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_int_equal(used, 500 * PFS_KIB);
	assert_int_equal(evicted, 4);
	assert_true(is_there(place, "dir.c") && is_there(place, "link.c"));
	pfs_cache_dir_close(dir);
	/* What fits stays as it is, to the byte. */
	dir = open_it(place, 500 * PFS_KIB);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == 500 * PFS_KIB && evicted == 0);
	pfs_cache_dir_close(dir);
	dir = open_it(place, 500 * PFS_KIB - 1);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == 400 * PFS_KIB && evicted == 1);
	assert_false(is_there(place, "d.c"));
	pfs_cache_dir_close(dir);
}

/* Proves: of files that were used in the same second the nanoseconds count, then the names. */
static void ages_are_told_apart(void **state)
{
	struct entry a = {.used = {5, 5}, .name = (char *)"b"}, b = a;

	(void)state;
	assert_int_equal(older_first(&a, &b), 0);
	b.name = (char *)"c";
	assert_true(older_first(&a, &b) < 0 && older_first(&b, &a) > 0);
	b.used.tv_nsec = 4;
	assert_true(older_first(&a, &b) > 0 && older_first(&b, &a) < 0);
	b.used.tv_nsec = 6;
	assert_true(older_first(&a, &b) < 0 && older_first(&b, &a) > 0);
	b.used.tv_sec = 4;
	assert_true(older_first(&a, &b) > 0 && older_first(&b, &a) < 0);
	b.used.tv_sec = 6;
	b.used.tv_nsec = 4;
	assert_true(older_first(&a, &b) < 0 && older_first(&b, &a) > 0);
}

/* Proves: the directory is measured when a thirty-second part of its bound was written, and not
 * before; then it is within its bound again. */
static void it_is_measured_now_and_then(void **state)
{
	const struct place *place = *state;
	const uint64_t size_max = 3200 * PFS_KIB;
	struct pfs_cache_dir *dir = open_it(place, size_max);
	uint8_t *bytes = calloc(1, PFS_MIB);
	uint64_t used, evicted;

	make(place, "old.c", 3200 * PFS_KIB, 1000); /* of which it does not know */
	assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 60 * PFS_KIB, 0), 0);
	assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 40 * PFS_KIB, 0), 0);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == 100 * PFS_KIB && evicted == 0);
	assert_true(is_there(place, "old.c"));
	assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 1, 0), 0);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == 60 * PFS_KIB && evicted == 1); /* as the disk has it */
	assert_false(is_there(place, "old.c"));
	/* What is kept counts as well. */
	make(place, "old.k", 3200 * PFS_KIB, 1000);
	assert_int_equal(pfs_cache_dir_keep(dir, "k", bytes, 100 * PFS_KIB), 0);
	assert_true(is_there(place, "old.k"));
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == 160 * PFS_KIB && evicted == 1);
	assert_int_equal(pfs_cache_dir_keep(dir, "k", bytes, 1), 0);
	assert_false(is_there(place, "old.k"));
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_int_equal(evicted, 2);
	free(bytes);
	pfs_cache_dir_close(dir);
}

/* Proves: of any number of files each counts, and no more go than must: when what is left is seven
 * eighths to the byte, the next one stays. */
static void many_files_are_counted(void **state)
{
	enum { FILES = 200, STAY = 175 };
	const struct place *place = *state;
	struct pfs_cache_dir *dir;
	uint64_t used, evicted;
	char name[16];

	pfs_cache_dir_close(open_it(place, LARGE));
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%03u.c", i);
		make(place, name, 4096, (time_t)i * 10);
	}
	dir = open_it(place, UINT64_C(4096) * FILES);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == UINT64_C(4096) * FILES && evicted == 0);
	pfs_cache_dir_close(dir);
	dir = open_it(place, UINT64_C(4096) * FILES - 1);
	pfs_cache_dir_usage(dir, &used, &evicted);
	assert_true(used == UINT64_C(4096) * STAY && evicted == FILES - STAY);
	pfs_cache_dir_close(dir);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%03u.c", i);
		assert_int_equal(is_there(place, name), i < STAY);
	}
}

/* Proves: what is being written stays for an hour, to the second, and counts until then. */
static void unfinished_files_stay_for_an_hour(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir;
	uint64_t used, evicted;

	pfs_cache_dir_close(open_it(place, LARGE));
	stopped = time(NULL);
	for (time_t ago_s = 3598; ago_s <= 3602; ago_s++) {
		bool goes = ago_s > 3600;

		make(place, "a.t", 4096, 0);
		make_old(place, "a.t", time(NULL) - stopped + ago_s);
		make(place, "a.c", 4096, 9000);
		dir = open_it(place, LARGE);
		pfs_cache_dir_usage(dir, &used, &evicted);
		pfs_cache_dir_close(dir);
		assert_true(is_there(place, "a.c"));
		assert_int_equal(is_there(place, "a.t"), !goes);
		assert_int_equal(used, goes ? 4096 : 8192);
		assert_int_equal(evicted, 0);
	}
	stopped = 0;
}

/* Proves: files that can't be removed stay and count, those that others have removed meanwhile do
 * not; and when there is nothing left to remove, it ends. */
static void not_all_that_is_to_go_goes(void **state)
{
	static const struct {
		int err;
		unsigned times, removed, used; /* used: files */
	} cases[] = {{EACCES, 64, 0, 64}, {EACCES, 1, 9, 55}, {ENOENT, 1, 8, 55}};
	const struct place *place = *state;
	struct pfs_cache_dir *dir;
	uint64_t used, evicted;
	char name[16];

	pfs_cache_dir_close(open_it(place, LARGE));
	for (size_t k = 0; k < pfs_array_len(cases); k++) {
		for (unsigned i = 0; i < 64; i++) {
			snprintf(name, sizeof(name), "%02u.c", i);
			make(place, name, 4096, 10 + i);
		}
		fail_call("unlinkat", cases[k].times, cases[k].err);
		dir = open_it(place, 63 * 4096);
		pfs_cache_dir_usage(dir, &used, &evicted);
		assert_int_equal(used, cases[k].used * 4096);
		assert_int_equal(evicted, cases[k].removed);
		pfs_cache_dir_close(dir);
	}
}

/* Proves: a directory that can't be looked through, or not for want of memory, is opened and used
 * all the same; what is known of it stays, nothing goes, and the next look makes it good. */
static void looking_may_fail(void **state)
{
	static const struct {
		const char *call; /* NULL: memory */
		unsigned after;
		int err;
	} cases[] = {{"openat", 1, EMFILE}, {"fdopendir", 0, ENOMEM}, {NULL, 0, 0}, {NULL, 1, 0}};
	const struct place *place = *state;
	uint64_t used, evicted;
	char path[128];

	for (size_t k = 0; k < pfs_array_len(cases); k++) {
		struct pfs_cache_dir *dir = open_it(place, 3200 * PFS_KIB);
		uint8_t *bytes = calloc(1, PFS_MIB);

		make(place, "old.c", 3200 * PFS_KIB, 1000); /* of which it does not know */
		assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 100 * PFS_KIB, 0), 0);
		if (!cases[k].call)
			fenced_refuse(cases[k].after);
		else
			fail_call(cases[k].call, 1, cases[k].err);
		failing_after = cases[k].after;
		assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 4096, 100 * PFS_KIB), 0);
		pfs_cache_dir_usage(dir, &used, &evicted);
		assert_true(used == 104 * PFS_KIB && evicted == 0);
		assert_true(is_there(place, "old.c"));
		/* Not at once again, but a thirty-second later. */
		assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 100 * PFS_KIB, 0), 0);
		assert_true(is_there(place, "old.c"));
		assert_int_equal(pfs_cache_dir_write(dir, "a", bytes, 1, 0), 0);
		assert_false(is_there(place, "old.c"));
		pfs_cache_dir_usage(dir, &used, &evicted);
		assert_int_equal(evicted, 1);
		pfs_cache_dir_close(dir);
		assert_true(!without_input || fcntl(0, F_GETFD) < 0);
		path_of(place, path, "a.c");
		assert_int_equal(unlink(path), 0);
		free(bytes);
	}
}

/* Proves: a read of a byte is a use as well; names up to the length of a file's are whole; a byte
 * more than a kept file may have is too much, which is known before there is memory for it. */
static void bounds_are_exact(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	char name[254], file[256], buf[4], path[400];
	const uint64_t most = 256 * PFS_MIB;
	size_t len;
	void *data;

	make(place, "a.c", 8, 5000);
	assert_int_equal(pfs_cache_dir_read(dir, "a", buf, 1, 7, true), 1);
	assert_true(stat_of(place, "a.c").st_mtime > time(NULL) - 1000);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(pfs_cache_dir_write(dir, name, "x", 1, 0), 0);
	snprintf(file, sizeof(file), "%s.c", name);
	snprintf(path, sizeof(path), "%s/%s", place->chunks, file);
	assert_int_equal(unlink(path), 0);
	make(place, "k.k", 8, 0);
	snprintf(path, sizeof(path), "%s/k.k", place->chunks);
	for (unsigned over = 0; over < 2; over++) {
		assert_int_equal(truncate(path, (off_t)(most + over)), 0);
		fenced_refuse(0);
		assert_int_equal(pfs_cache_dir_kept(dir, "k", &data, &len),
				 over ? -ENOENT : -ENOMEM);
		assert_true(!data && !len);
		fenced_refuses = false;
	}
	pfs_cache_dir_close(dir);
}

/* Proves: where no holes can be made, what is to be forgotten goes with its file, and no other. */
static void without_holes_the_file_goes(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);

	make(place, "a.c", 100, 0);
	make(place, "b.c", 100, 0);
	pfs_cache_dir_forget(dir, "a", 0, 10);
	assert_true(is_there(place, "a.c"));
	fail_call("fallocate", 1, EOPNOTSUPP);
	pfs_cache_dir_forget(dir, "a", 0, 10);
	assert_false(is_there(place, "a.c"));
	assert_true(is_there(place, "b.c"));
	pfs_cache_dir_close(dir);
}

/* Proves: a file is made under a name that no other process and no other call uses, and has its own
 * when it is whole. */
static void kept_files_are_made_aside(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	char want[64], first[256];

	snprintf(want, sizeof(want), "name-%ld-", (long)getpid());
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_cache_dir_keep(dir, "name", "x", 1), 0);
		assert_memory_equal(temporary, want, strlen(want));
		assert_true(has_suffix(temporary, ".t"));
		assert_true(!i || strcmp(temporary, first) != 0);
		strcpy(first, temporary);
		assert_false(is_there(place, temporary));
		assert_true(is_there(place, "name.k"));
	}
	pfs_cache_dir_close(dir);
}

/* Proves: files that are links, pipes or directories are not followed, waited for or used. */
static void strange_files_are_refused(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir = open_it(place, LARGE);
	char path[128], target[128], buf[4];
	size_t len;
	void *data;

	make(place, "target", 4, 0);
	path_of(place, target, "target");
	path_of(place, path, "l.c");
	assert_int_equal(symlink(target, path), 0);
	path_of(place, path, "p.c");
	assert_int_equal(mkfifo(path, 0600), 0);
	path_of(place, path, "d.c");
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(place, path, "d.k");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(pfs_cache_dir_read(dir, "l", buf, 4, 0, true), -ELOOP);
	assert_int_equal(pfs_cache_dir_write(dir, "l", "x", 1, 0), -ELOOP);
	assert_int_equal(pfs_cache_dir_read(dir, "p", buf, 4, 0, true), -EUCLEAN);
	assert_int_equal(pfs_cache_dir_write(dir, "p", "x", 1, 0), -EUCLEAN);
	assert_int_equal(pfs_cache_dir_read(dir, "d", buf, 4, 0, true), -EUCLEAN);
	assert_int_equal(pfs_cache_dir_write(dir, "d", "x", 1, 0), -EISDIR);
	assert_int_equal(pfs_cache_dir_kept(dir, "d", &data, &len), -EUCLEAN);
	assert_int_equal(pfs_cache_dir_keep(dir, "d", "x", 1), -EISDIR);
	for (unsigned i = 0; i < 3; i++) { /* nothing unfinished is left */
		char temp[64];

		snprintf(temp, sizeof(temp), "d-%ld-%u.t", (long)getpid(), i);
		assert_false(is_there(place, temp));
	}
	pfs_cache_dir_forget(dir, "l", 0, 4);
	pfs_cache_dir_forget(dir, "p", 0, 4);
	assert_true(is_there(place, "l.c") && is_there(place, "p.c") && is_there(place, "d.k"));
	assert_int_equal(stat_of(place, "target").st_size, 4);
	pfs_cache_dir_close(dir);
}

/* Proves: the directory must be this user's alone; else, and where it can't be made, the reason
 * says so. */
static void others_may_not_write_to_it(void **state)
{
	const struct place *place = *state;
	char want[256], below[128];
	struct pfs_reason reason;
	struct pfs_cache_dir *dir;
	int err;

	pfs_cache_dir_close(open_it(place, LARGE));
	assert_int_equal(stat_of(place, ".").st_mode & 07777, 0700);
	snprintf(want, sizeof(want), "%s: must be a directory of this user alone", place->chunks);
	for (unsigned mode = 0; mode < 9; mode++) {
		unsigned bits = 0700 | 1u << mode;
		bool good = !(bits & 022);

		assert_int_equal(chmod(place->chunks, bits), 0);
		reason.text[0] = '\0';
		err = pfs_cache_dir_open(&dir, place->top, LARGE, &reason);
		assert_int_equal(err, good ? 0 : -EACCES);
		assert_string_equal(reason.text, good ? "" : want);
		assert_true(!dir == !good);
		if (dir)
			pfs_cache_dir_close(dir);
	}
	assert_int_equal(chmod(place->chunks, 0700), 0);
	reason.text[0] = '\0';
	another = geteuid() + 1;
	assert_int_equal(pfs_cache_dir_open(&dir, place->top, LARGE, &reason), -EACCES);
	another = 0;
	assert_string_equal(reason.text, want);
	/* Nor may it be one where this user may not write, */
	reason.text[0] = '\0';
	fail_call("faccessat", 1, EACCES);
	assert_int_equal(pfs_cache_dir_open(&dir, place->top, LARGE, &reason), -EACCES);
	assert_string_equal(reason.text, want);
	reason.text[0] = '\0';
	fail_call("faccessat", 1, EROFS);
	assert_int_equal(pfs_cache_dir_open(&dir, place->top, LARGE, &reason), -EROFS);
	snprintf(want, sizeof(want), "%s: Read-only file system", place->chunks);
	assert_string_equal(reason.text, want);
	/* or which it may not open, */
	reason.text[0] = '\0';
	fail_call("open", 1, EMFILE);
	assert_int_equal(pfs_cache_dir_open(&dir, place->top, LARGE, &reason), -EMFILE);
	snprintf(want, sizeof(want), "%s: Too many open files", place->chunks);
	assert_string_equal(reason.text, want);
	/* or a link to one. */
	snprintf(below, sizeof(below), "%s/elsewhere", place->top);
	assert_int_equal(rename(place->chunks, below), 0);
	assert_int_equal(symlink(below, place->chunks), 0);
	reason.text[0] = '\0';
	err = pfs_cache_dir_open(&dir, place->top, LARGE, &reason);
	assert_true(err == -ELOOP || err == -ENOTDIR);
	snprintf(want, sizeof(want), "%s: %s", place->chunks, strerror(-err));
	assert_string_equal(reason.text, want);
	assert_int_equal(unlink(place->chunks), 0);
	assert_int_equal(rename(below, place->chunks), 0);
	reason.text[0] = '\0';
	path_of(place, below, "../file");
	make(place, "../file", 1, 0);
	snprintf(want, sizeof(want), "%s/chunks: Not a directory", below);
	assert_int_equal(pfs_cache_dir_open(&dir, below, LARGE, &reason), -ENOTDIR);
	assert_string_equal(reason.text, want);
}

/* Proves: without memory no directory is opened, and none is left open. */
static void memory_may_be_missing(void **state)
{
	const struct place *place = *state;
	struct pfs_cache_dir *dir;
	struct pfs_reason reason = {.text = ""};

	pfs_cache_dir_close(open_it(place, LARGE));
	for (unsigned passes = 0; passes < 2; passes++) {
		dir = (struct pfs_cache_dir *)state;
		fenced_refuse(passes);
		assert_int_equal(pfs_cache_dir_open(&dir, place->top, LARGE, &reason), -ENOMEM);
		assert_null(dir);
		assert_int_equal(fenced_blocks, 0);
	}
}

int main(void)
{
#define placed(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
	const struct CMUnitTest tests[] = {
		placed(bytes_are_read_as_written),  placed(uses_are_noted),
		placed(kept_files_are_whole),	    placed(the_oldest_go),
		placed(ages_are_told_apart),	    placed(it_is_measured_now_and_then),
		placed(many_files_are_counted),	    placed(unfinished_files_stay_for_an_hour),
		placed(not_all_that_is_to_go_goes), placed(looking_may_fail),
		placed(bounds_are_exact),	    placed(without_holes_the_file_goes),
		placed(kept_files_are_made_aside),  placed(strange_files_are_refused),
		placed(others_may_not_write_to_it), placed(memory_may_be_missing),
	};

	int failed = cmocka_run_group_tests_name("directories of caches", tests, NULL, NULL);

	/* Then files have the number of the standard input: the directory itself, or each other. */
	close(0);
	failed +=
		cmocka_run_group_tests_name("the same without a standard input", tests, NULL, NULL);
	without_input = true;
	return failed + cmocka_run_group_tests_name("and with it in the directory's place", tests,
						    NULL, NULL);
}
