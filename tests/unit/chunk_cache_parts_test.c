/* storage/chunk_cache*.c by themselves: which calls on the directory and the origin a read makes,
 * in which order, with which bytes; what memory that can't be had does; what is prefetched when. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "storage/chunk_cache_internal.h"
#include "storage/crc.h"
#include "tests/unit/fenced.h"

/* ---- what is around the cache ---- */

static int fake_dir_open(struct pfs_cache_dir **out, const char *path, uint64_t size_max,
			 struct pfs_reason *reason);
static void fake_dir_close(struct pfs_cache_dir *dir);
static ssize_t fake_dir_read(struct pfs_cache_dir *dir, const char *name, void *buf, size_t len,
			     uint64_t off, bool touch);
static int fake_dir_write(struct pfs_cache_dir *dir, const char *name, const void *buf, size_t len,
			  uint64_t off);
static void fake_dir_forget(struct pfs_cache_dir *dir, const char *name, uint64_t off,
			    uint64_t len);

static void fake_dir_usage(struct pfs_cache_dir *dir, uint64_t *used, uint64_t *evicted);

static int64_t now_ns = 77000000000;

static int fake_clock(clockid_t id, struct timespec *t)
{
	(void)id;
	*t = (struct timespec){now_ns / 1000000000, now_ns % 1000000000};
	return 0;
}

static int threads_fail;
static unsigned threads_made, threads_joined;
static pthread_t joinable[PFS_PREFETCH_THREADS_MAX];

static int fake_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
		       void *arg)
{
	sigset_t blocked;
	int err;

	/* A thread has the mask of who makes it. */
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			assert_true(sigismember(&blocked, sig));
	err = threads_fail ? threads_fail : pthread_create(thread, attr, fn, arg);
	if (!err)
		joinable[threads_made++] = *thread;
	return err;
}

static int fake_join(pthread_t thread, void **out)
{
	assert_true(threads_joined < threads_made);
	assert_true(pthread_equal(thread, joinable[threads_joined++]));
	return pthread_join(thread, out);
}

#define pfs_cache_dir_open fake_dir_open
#define pfs_cache_dir_close fake_dir_close
#define pfs_cache_dir_read fake_dir_read
#define pfs_cache_dir_write fake_dir_write
#define pfs_cache_dir_forget fake_dir_forget
#define pfs_cache_dir_usage fake_dir_usage
#define clock_gettime fake_clock
#define pthread_create fake_create
#define pthread_join fake_join
#undef fail /* cmocka has one, too */
#define fail fail_run
#include "storage/chunk_cache.c"
#include "storage/chunk_cache_fetch.c"
#include "storage/chunk_cache_prefetch.c"
#undef fail
#define fail() _fail(__FILE__, __LINE__)
#undef pthread_create
#undef pthread_join
#undef clock_gettime

#define CHUNK ((uint64_t)PFS_CHUNK_SIZE)
#define NAME "page"

/* The object that all is about, and what the directory has of it. */
static uint8_t bytes[330 * CHUNK + 5], stored[8 * CHUNK];
static uint32_t crcs[331];
static uint64_t size, stored_len;

/* The calls made: "r OFF+LEN " and "t ..." of the directory (t: it counts as a use), "w ..." and
 * "f ..."; "o " an opening of the origin, "c " a closing, "g OFF+LEN " a request. */
static char calls[4096], said[1024];

static void note(const char *call, uint64_t off, uint64_t len)
{
	size_t at = strlen(calls);

	snprintf(calls + at, sizeof(calls) - at, "%s %llu+%llu ", call, (unsigned long long)off,
		 (unsigned long long)len);
}

static void expect_calls(const char *want)
{
	if (strcmp(calls, want) != 0)
		fail_msg("%s\ninstead of\n%s", calls, want);
	calls[0] = '\0';
}

static void expect_said(const char *want)
{
	assert_string_equal(said, want);
	said[0] = '\0';
}

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	strcat(strcat(said, line), "\n");
}

static struct pfs_cache_dir *const the_dir = (struct pfs_cache_dir *)&the_dir;
static int open_fails, write_fails;
static const char *open_reason;
static unsigned dirs;

static int fake_dir_open(struct pfs_cache_dir **out, const char *path, uint64_t size_max,
			 struct pfs_reason *reason)
{
	assert_string_equal(path, "/a/cache");
	assert_int_equal(size_max, PFS_CHUNK_CACHE_DEFAULT);
	*out = NULL;
	if (open_fails)
		return open_reason ? pfs_refuse(reason, open_fails, "%s", open_reason) : open_fails;
	*out = the_dir;
	dirs++;
	return 0;
}

static void fake_dir_close(struct pfs_cache_dir *dir)
{
	assert_ptr_equal(dir, the_dir);
	dirs--;
}

static ssize_t fake_dir_read(struct pfs_cache_dir *dir, const char *name, void *buf, size_t len,
			     uint64_t off, bool touch)
{
	size_t n = off < stored_len ? (size_t)pfs_min_u64(len, stored_len - off) : 0;

	assert_ptr_equal(dir, the_dir);
	assert_string_equal(name, NAME);
	note(touch ? "t" : "r", off, len);
	memcpy(buf, stored + (n ? off : 0), n);
	return (ssize_t)n;
}

static int fake_dir_write(struct pfs_cache_dir *dir, const char *name, const void *buf, size_t len,
			  uint64_t off)
{
	assert_ptr_equal(dir, the_dir);
	assert_string_equal(name, NAME);
	note("w", off, len);
	assert_memory_equal(buf, bytes + off, len);
	return write_fails;
}

static void fake_dir_forget(struct pfs_cache_dir *dir, const char *name, uint64_t off, uint64_t len)
{
	assert_ptr_equal(dir, the_dir);
	assert_string_equal(name, NAME);
	note("f", off, len);
}

static void fake_dir_usage(struct pfs_cache_dir *dir, uint64_t *used, uint64_t *evicted)
{
	assert_ptr_equal(dir, the_dir);
	*used = 12345;
	*evicted = 6;
}

/* An origin, and a file of it. */
struct origin {
	struct pfs_dir dir;
	unsigned open_files;
};
struct origin_file {
	struct pfs_file base;
	struct origin *origin;
};

/* What its next requests bring: an error, fewer bytes, or chunks that are wrong. */
struct answer {
	int err;
	bool is_short;
	uint64_t short_len;
	unsigned wrong; /* bit i: chunk i of the object */
};
static const struct answer *answers; /* NULL: all is right */
static bool shut;		     /* atomic: requests wait */
static unsigned asking;		     /* atomic: that do, or did */

static int origin_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	struct origin_file *file = malloc(sizeof(*file));

	assert_int_equal(flags, 0);
	assert_true(strncmp(name, NAME, strlen(NAME)) == 0);
	file->base.ops = dir->ops;
	file->origin = (struct origin *)dir;
	__atomic_add_fetch(&file->origin->open_files, 1, __ATOMIC_RELAXED);
	*out = &file->base;
	return 0;
}

static void origin_close(struct pfs_file *base)
{
	__atomic_sub_fetch(&((struct origin_file *)base)->origin->open_files, 1, __ATOMIC_RELAXED);
	free(base);
}

static ssize_t origin_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	const struct answer *answer = answers;

	(void)base;
	__atomic_add_fetch(&asking, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&shut, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_in_range(off + len, off + 1, size);
	memcpy(buf, bytes + off, len);
	if (!answer)
		return (ssize_t)len;
	answers++;
	note("g", off, len);
	if (answer->err)
		return answer->err;
	for (uint64_t at = 0; at < len; at += CHUNK)
		if (answer->wrong >> (off + at) / CHUNK & 1)
			((uint8_t *)buf)[at + 5 % (len - at)] ^= 1;
	return (ssize_t)(answer->is_short ? answer->short_len : len);
}

static const struct pfs_io_ops origin_ops = {
	.open = origin_open, .close = origin_close, .read = origin_read};
static struct origin one = {.dir.ops = &origin_ops}, other = {.dir.ops = &origin_ops};

static void make_object(uint64_t len)
{
	size = len;
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251 + 1);
	for (uint64_t off = 0; off < size; off += CHUNK)
		crcs[off / CHUNK] = pfs_crc32c(0, bytes + off, pfs_min_u64(CHUNK, size - off));
	stored_len = 0;
	memset(stored, 0, sizeof(stored));
}

static struct pfs_chunk_cache *open_cache(bool with_dir, uint64_t memory_max)
{
	const struct pfs_chunk_cache_options options = {.dir = with_dir ? "/a/cache" : NULL,
							.memory_max = memory_max,
							.logger = {.fn = take_line}};
	struct pfs_chunk_cache *cache;

	assert_int_equal(pfs_chunk_cache_open(&cache, &options), 0);
	calls[0] = said[0] = '\0';
	return cache;
}

static struct pfs_cached *open_at(struct pfs_chunk_cache *cache, struct origin *origin)
{
	struct pfs_cached *file;

	assert_int_equal(pfs_cached_open(cache, &origin->dir, NAME, size, crcs, &file), 0);
	return file;
}

/* 0 with the right bytes, or the error. */
static int read_right(struct pfs_cached *file, uint64_t off, size_t len)
{
	uint8_t *buf = malloc(len);
	ssize_t n = pfs_cached_read(file, buf, len, off);

	if (n >= 0) {
		assert_int_equal(n, pfs_min_u64(len, size - off));
		assert_memory_equal(buf, bytes + off, (size_t)n);
	}
	free(buf);
	return n < 0 ? (int)n : 0;
}

static int set_up(void **state)
{
	(void)state;
	answers = NULL;
	threads_fail = EAGAIN; /* but where they are wanted */
	threads_made = threads_joined = 0;
	asking = 0;
	calls[0] = said[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return fenced_blocks || one.open_files || other.open_files || dirs ||
	       threads_joined != threads_made;
}

/* ---- opening ---- */

/* Proves: a directory that can't be used is said, with the reason, or by its path where there is
 * none, and the cache is opened; without memory it is not. */
static void directories_need_not_be_had(void **state)
{
	const struct pfs_chunk_cache_options options = {.dir = "/a/cache"};
	struct pfs_chunk_cache *cache = (struct pfs_chunk_cache *)state;

	fenced_refuse(0);
	assert_int_equal(pfs_chunk_cache_open(&cache, &options), -ENOMEM);
	assert_null(cache);
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_chunk_cache_options logging = {.dir = "/a/cache",
							  .logger = {.fn = take_line}};

		open_fails = -EACCES;
		open_reason = i ? "its reason" : NULL;
		assert_int_equal(pfs_chunk_cache_open(&cache, &logging), 0);
		open_fails = 0;
		expect_said(i ? "no cache directory, what was fetched is kept in memory only: its "
				"reason\n"
			      : "no cache directory, what was fetched is kept in memory only: "
				"/a/cache\n");
		assert_null(cache->dir);
		pfs_chunk_cache_close(cache);
	}
	cache = open_cache(true, 0);
	assert_int_equal(dirs, 1);
	pfs_chunk_cache_close(cache);
}

/* Proves: without memory no file is opened, and nothing is left of it; 2^32 - 1 chunks are not too
 * many, and one more is. */
static void files_need_memory(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 0);
	struct pfs_cached *file = (struct pfs_cached *)state;

	make_object(3 * CHUNK);
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(pfs_cached_open(cache, &one.dir, NAME, size, crcs, &file),
				 -ENOMEM);
		assert_null(file);
		assert_int_equal(fenced_blocks, 1);
	}
	for (uint64_t over = 0; over < 2; over++) {
		fenced_refuse(0);
		assert_int_equal(pfs_cached_open(cache, &one.dir, NAME, UINT32_MAX * CHUNK + over,
						 crcs, &file),
				 over ? -EINVAL : -ENOMEM);
		fenced_refuses = false;
	}
	file = open_at(cache, &one);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
}

/* Proves: of a window for which there is not enough memory nothing is left: chunks that were there
 * stay as they were, and no other is taken for one of it. */
static void windows_need_memory(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 0);
	struct pfs_cached *file;

	(void)state;
	make_object(6 * CHUNK);
	file = open_at(cache, &one);
	assert_int_equal(read_right(file, 2 * CHUNK, CHUNK), 0);
	for (unsigned passes = 0; passes < 4; passes++) {
		unsigned blocks = fenced_blocks;
		struct pfs_chunk_window w;

		memset(&w, 0xff, sizeof(w)); /* behind its chunks there is nothing */
		w.file = file;
		w.first = 1;
		w.count = 5;
		fenced_refuse(passes);
		assert_int_equal(pfs_chunk_window_claim(&w, false), -ENOMEM);
		assert_int_equal(fenced_blocks, blocks);
		assert_int_equal(file->object->refs, 2);
		assert_int_equal(cache->memory_used, CHUNK);
		for (uint32_t i = 0; i < 6; i++) {
			struct pfs_chunk *chunk = find_chunk(cache, file->object, i);

			assert_true(!chunk == (i != 2));
			assert_true(!chunk ||
				    (chunk->refs == 0 && chunk->state == PFS_CHUNK_READY));
		}
	}
	/* The same where it is the room for what is fetched that is missing. */
	for (unsigned count = 1; count <= 5; count++) {
		struct pfs_chunk_window w;

		memset(&w, 0xff, sizeof(w));
		w.file = file;
		w.first = 1;
		w.count = count;
		assert_int_equal(pfs_chunk_window_claim(&w, false), 0);
		fenced_refuse(0);
		pfs_chunk_fetch(&w);
		assert_int_equal(pfs_chunk_window_wait(&w), -ENOMEM);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(w.chunks[i]->state,
					 i == 1 ? PFS_CHUNK_READY : PFS_CHUNK_FAILED);
		pfs_chunk_window_release(&w);
		assert_int_equal(file->object->refs, 2);
	}
	for (unsigned passes = 1; passes < 4; passes++) { /* the first is the test's own */
		fenced_refuse(passes);
		assert_int_equal(read_right(file, CHUNK, 3 * CHUNK), -ENOMEM);
	}
	assert_int_equal(read_right(file, 0, 6 * CHUNK), 0);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
}

/* Proves: who finds a chunk that is being fetched is counted, and so is who finds it there. */
static void finds_are_counted(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 0);
	struct pfs_chunk_window a, b;
	struct pfs_chunk_cache_stat stat;
	struct pfs_cached *file;

	(void)state;
	make_object(3 * CHUNK);
	file = open_at(cache, &one);
	a = b = (struct pfs_chunk_window){.file = file, .first = 0, .count = 3};
	assert_int_equal(pfs_chunk_window_claim(&a, false), 0);
	assert_int_equal(pfs_chunk_window_claim(&b, false), 0);
	pfs_chunk_fetch(&b); /* of which it has none of its own */
	pfs_chunk_cache_stat(cache, &stat);
	assert_true(stat.shared == 3 && stat.memory_hits == 0 && stat.fetches == 0);
	pfs_chunk_fetch(&a);
	assert_int_equal(pfs_chunk_window_wait(&b), 0);
	pfs_chunk_window_release(&a);
	pfs_chunk_window_release(&b);
	assert_int_equal(read_right(file, CHUNK, 5), 0);
	pfs_chunk_cache_stat(cache, &stat);
	assert_true(stat.shared == 3 && stat.memory_hits == 1 && stat.fetches == 1);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
}

/* ---- what is asked of whom ---- */

/* Proves: a file of the origin is kept for the next fetch, for those of the same origin alone, as
 * long as one of its files is open; one whose bytes were wrong or that failed is not. */
static void origins_are_kept(void **state)
{
	static const struct answer fails[] = {{.err = -EIO}, {0}};
	struct pfs_chunk_cache *cache = open_cache(false, 1);
	struct pfs_cached *a, *again, *b;

	(void)state;
	make_object(3 * CHUNK);
	a = open_at(cache, &one);
	again = open_at(cache, &one);
	b = open_at(cache, &other);
	assert_ptr_equal(a->object, b->object);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(read_right(i % 2 ? again : a, i * CHUNK, 5), 0);
		assert_true(one.open_files == 1 && cache->origins_kept == 1);
	}
	/* The other's is closed, as there is one already. */
	assert_int_equal(read_right(b, 0, 5), 0);
	assert_true(one.open_files == 1 && other.open_files == 0 && cache->origins_kept == 1);
	pfs_cached_close(b);
	assert_true(one.open_files == 1 && cache->origins_kept == 1);
	b = open_at(cache, &other);
	pfs_cached_close(again); /* a could have gone on with it: it is opened again */
	assert_true(one.open_files == 0 && cache->origins_kept == 0);
	assert_int_equal(read_right(a, CHUNK, 5), 0);
	assert_true(one.open_files == 1 && cache->origins_kept == 1);
	answers = fails;
	assert_int_equal(read_right(a, 0, 5), -EIO);
	assert_true(one.open_files == 0 && cache->origins_kept == 0);
	pfs_cached_close(a); /* with nothing to give back */
	assert_true(one.open_files == 0 && cache->origins_kept == 0);
	answers = NULL;
	assert_int_equal(read_right(b, 0, 5), 0);
	assert_true(other.open_files == 1 && cache->origins_kept == 1);
	pfs_cached_close(b);
	assert_true(other.open_files == 0 && cache->origins_kept == 0);
	pfs_chunk_cache_close(cache);
}

/* Proves: no more than 256 files of origins are kept. */
static void so_many_origins_are_kept(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 0);
	struct pfs_cached *files[258];
	uint8_t byte;

	(void)state;
	make_object(10);
	for (unsigned i = 0; i < pfs_array_len(files); i++) {
		char name[16];

		snprintf(name, sizeof(name), NAME "-%u", i);
		assert_int_equal(pfs_cached_open(cache, &one.dir, name, size, crcs, &files[i]), 0);
		assert_int_equal(pfs_cached_read(files[i], &byte, 1, 3), 1);
		assert_int_equal(one.open_files, i < 256 ? i + 1 : 256);
		assert_int_equal(cache->origins_kept, one.open_files);
	}
	for (unsigned i = 0; i < pfs_array_len(files); i++)
		pfs_cached_close(files[i]);
	assert_int_equal(cache->origins_kept, 0);
	pfs_chunk_cache_close(cache);
}

/* What there is of a chunk: it is in memory, or right, wrong, or a hole in the directory. */
enum { MEMORY, RIGHT, WRONG, HOLE, KINDS };

#define CHUNKS 4u /* of which the last is short */

static uint64_t end_of(unsigned chunk)
{
	return pfs_min_u64((chunk + 1) * CHUNK, size);
}

/* The calls, for stretches of chunks that are in the mask. */
static void want_calls(char *want, const char *call, unsigned mask)
{
	for (unsigned i = 0, from; i < CHUNKS; i++) {
		if (!(mask >> i & 1))
			continue;
		for (from = i; i + 1 < CHUNKS && mask >> (i + 1) & 1;)
			i++;
		sprintf(want + strlen(want), "%s %llu+%llu ", call,
			(unsigned long long)(from * CHUNK),
			(unsigned long long)(end_of(i) - from * CHUNK));
	}
}

/* The same for stretches of `asked`, each of which is asked for once or, if wrong ones are in it,
 * twice; what is right of what came is written. */
static void want_fetches(char *want, unsigned asked, unsigned wrong)
{
	for (unsigned i = 0, run; i < CHUNKS; i++) {
		if (!(asked >> i & 1))
			continue;
		for (run = 0; i < CHUNKS && asked >> i & 1; i++)
			run |= 1u << i;
		want_calls(want, "g", run);
		want_calls(want, "w", run & ~wrong);
		if (run & wrong) {
			want_calls(want, "g", run);
			want_calls(want, "w", run & wrong);
		}
	}
}

/* Proves: whatever of four neighbours is in memory, in the directory, damaged there, or missing,
 * and whichever of those that come from the origin are wrong the first time: each stretch is one
 * call of the directory, each that is still missing one request, a second one where something was
 * wrong; what is right is written to the directory, nothing else and once; all is counted. */
static void all_is_asked_for_once(void **state)
{
	const bool sample = getenv("TEST_SAMPLE") && strcmp(getenv("TEST_SAMPLE"), "1") != 0;
	unsigned kinds[CHUNKS];

	(void)state;
	for (unsigned n = 0; n < KINDS * KINDS * KINDS * KINDS; n += sample ? 7 : 1) {
		unsigned missing = 0, asked = 0, wrong_cached = 0, requests = 0, runs = 0;
		unsigned first_wrong = CHUNKS, wrong = n * 7 % 16;
		struct answer all[8] = {{0}};
		struct pfs_chunk_cache_stat stat;
		struct pfs_chunk_cache *cache = open_cache(true, 0);
		struct pfs_cached *file;
		char want[1024] = "", damage[128] = "";
		uint64_t fetched_bytes = 0;

		for (unsigned i = 0, k = n; i < CHUNKS; i++, k /= KINDS)
			kinds[i] = k % KINDS;
		make_object(3 * CHUNK + 100);
		file = open_at(cache, &one);
		for (unsigned i = 0; i < CHUNKS; i++)
			if (kinds[i] == MEMORY)
				assert_int_equal(read_right(file, i * CHUNK, 1), 0);
		stored_len = size;
		memcpy(stored, bytes, size);
		for (unsigned i = 0; i < CHUNKS; i++) {
			bool is_asked = kinds[i] == WRONG || kinds[i] == HOLE;

			missing |= (unsigned)(kinds[i] != MEMORY) << i;
			asked |= (unsigned)is_asked << i;
			if (kinds[i] == WRONG) {
				stored[end_of(i) - 1] ^= 1;
				wrong_cached++;
				first_wrong = first_wrong < i ? first_wrong : i;
			}
			if (kinds[i] == HOLE)
				memset(stored + i * CHUNK, 0, end_of(i) - i * CHUNK);
		}
		wrong &= asked;
		want_calls(want, missing == 15 ? "t" : "r", missing);
		want_fetches(want, asked, wrong);
		for (const char *p = want; (p = strstr(p, "g ")); p++)
			requests++;
		/* Of the two answers to a request the first is wrong. */
		for (unsigned i = 0, run; i < CHUNKS; i++) {
			for (run = 0; i < CHUNKS && asked >> i & 1; i++)
				run |= 1u << i;
			if (!run)
				continue;
			all[runs].wrong = run & wrong;
			runs += 1 + !!(run & wrong);
		}
		assert_int_equal(runs, requests);
		pfs_chunk_cache_stat(cache, &stat);
		fetched_bytes = stat.fetched_bytes;
		answers = all;
		calls[0] = '\0';
		assert_int_equal(read_right(file, 0, size), 0);
		answers = NULL;
		for (const char *p = want; (p = strstr(p, "g ")); p++)
			fetched_bytes += strtoull(strchr(p, '+') + 1, NULL, 10);
		expect_calls(want);
		if (wrong_cached)
			snprintf(damage, sizeof(damage),
				 "cache file of " NAME " is damaged at byte %llu: fetched anew\n",
				 (unsigned long long)(first_wrong * CHUNK));
		expect_said(damage);
		pfs_chunk_cache_stat(cache, &stat);
		assert_int_equal(stat.disk_hits, __builtin_popcount(missing & ~asked));
		assert_int_equal(stat.wrong_cached, wrong_cached);
		assert_int_equal(stat.fetched, CHUNKS - stat.disk_hits);
		assert_int_equal(stat.fetched_bytes, fetched_bytes);
		assert_int_equal(stat.fetches,
				 requests + (unsigned)__builtin_popcount(15 & ~missing));
		assert_int_equal(stat.wrong_fetched,
				 requests - (unsigned)__builtin_popcount(asked & ~(asked << 1)));
		assert_int_equal(stat.failed, 0);
		assert_int_equal(stat.memory_bytes, size);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
	}
}

/* Proves: of what stays wrong the place of the first is said; requests that bring nothing are wrong
 * ones, and those that bring an error are counted as such; what each comes to is said. */
static void what_goes_wrong_is_said(void **state)
{
	static const struct {
		struct answer answers[2];
		int err;
		unsigned failed, wrong, requests;
		const char *says;
	} cases[] = {
		{{{.wrong = 4}, {.wrong = 4}},
		 -EIO,
		 0,
		 2,
		 2,
		 "damage in " NAME " at byte 131072: what came does not have the checksum that it "
		 "was published with\n"},
		{{{.wrong = 8}, {.wrong = 12}},
		 -EIO,
		 0,
		 2,
		 2, /* chunk 2 was good before */
		 "damage in " NAME " at byte 196608: what came does not have the checksum that it "
		 "was published with\n"},
		{{{.is_short = true}, {.is_short = true}},
		 -EIO,
		 0,
		 2,
		 2,
		 "damage in " NAME " at byte 65536: what came does not have the checksum that it "
		 "was published with\n"},
		{{{.is_short = true, .short_len = 1}, {0}}, 0, 0, 1, 2, ""},
		{{{.is_short = true}, {0}}, 0, 0, 1, 2, ""},
		{{{.err = -ENOENT}},
		 -ESTALE,
		 1,
		 0,
		 1,
		 NAME " is not there any more: its generation was removed\n"},
		{{{.err = -ESTALE}, {0}}, 0, 1, 0, 2, ""},
		{{{.err = -ESTALE}, {.err = -ESTALE}}, -ESTALE, 2, 0, 2, ""},
		{{{.err = -ESTALE}, {.wrong = 8}},
		 -ESTALE,
		 1,
		 1,
		 2,
		 NAME ": another object is there by now, not the one that was published (byte "
		      "196608)\n"},
		{{{.err = -EACCES}}, -EACCES, 1, 0, 1, ""},
		{{{.err = -ENOMEM}}, -ENOMEM, 1, 0, 1, ""},
		{{{.err = -ETIMEDOUT}}, -EIO, 1, 0, 1, ""},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_chunk_cache *cache = open_cache(false, 0);
		struct pfs_chunk_cache_stat stat;
		struct pfs_cached *file;

		make_object(4 * CHUNK);
		file = open_at(cache, &one);
		assert_int_equal(read_right(file, 0, CHUNK), 0); /* so that they begin behind it */
		answers = cases[i].answers;
		assert_int_equal(read_right(file, 0, 4 * CHUNK), cases[i].err);
		answers = NULL;
		expect_said(cases[i].says);
		pfs_chunk_cache_stat(cache, &stat);
		assert_int_equal(stat.failed, cases[i].failed);
		assert_int_equal(stat.wrong_fetched, cases[i].wrong);
		assert_int_equal(stat.fetches, 1 + cases[i].requests);
		assert_int_equal(read_right(file, 0, 4 * CHUNK), 0);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
	}
}

/* ---- the directory ---- */

/* Proves: an object of one byte is found; a chunk that ends among zeros was never written; the
 * first read counts as a use, whatever the time is, and the next one when the time for that has
 * passed; what the directory does not take is said once, until it takes something again. */
static void the_directory_is_used(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(true, 1);
	struct pfs_chunk_cache_stat stat;
	struct pfs_cached *file;

	(void)state;
	make_object(1);
	stored_len = 1;
	stored[0] = bytes[0];
	file = open_at(cache, &one);
	now_ns = 5;
	assert_int_equal(read_right(file, 0, 1), 0);
	now_ns += INT64_C(10000000000) - 1;
	pfs_cached_drop(file, 0, 1); /* so that it is read again */
	assert_int_equal(read_right(file, 0, 1), 0);
	now_ns += 1;
	pfs_cached_drop(file, 0, 1);
	assert_int_equal(read_right(file, 0, 1), 0);
	expect_calls("t 0+1 f 0+1 r 0+1 f 0+1 t 0+1 ");
	now_ns = 77000000000;
	pfs_chunk_cache_stat(cache, &stat);
	assert_true(stat.disk_hits == 3 && stat.fetches == 0 && stat.on_disk);
	pfs_cached_close(file);
	make_object(2 * CHUNK);
	stored_len = CHUNK + CHUNK / 2;
	memcpy(stored, bytes, CHUNK);
	file = open_at(cache, &one);
	assert_int_equal(read_right(file, 0, 2 * CHUNK), 0);
	expect_calls("t 0+131072 w 65536+65536 ");
	expect_said("");
	pfs_chunk_cache_stat(cache, &stat);
	assert_int_equal(stat.wrong_cached, 0);
	stored_len = 0;
	for (unsigned i = 0; i < 4; i++) {
		write_fails = i < 2 ? -ENOSPC : i == 2 ? 0 : -EIO;
		assert_int_equal(read_right(file, i % 2 * CHUNK, 1), 0);
		expect_said(i == 0 ? "the cache directory takes no more, what was fetched is kept "
				     "in memory only: No space left on device\n"
			    : i == 3
				    ? "the cache directory takes no more, what was fetched is kept "
				      "in memory only: Input/output error\n"
				    : "");
	}
	write_fails = 0;
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
}

/* Proves: what is dropped is forgotten by the directory, from the beginning of its chunk to the end
 * of the range or of the object. */
static void what_is_dropped_is_forgotten(void **state)
{
	static const struct {
		uint64_t off, len;
		const char *calls;
	} cases[] = {
		{0, 1, "f 0+1 "},
		{5, CHUNK, "f 0+65541 "},
		{2 * CHUNK + 7, 10, "f 131072+17 "},
		{2 * CHUNK + 7, UINT64_MAX, "f 131072+65545 "},
		{3 * CHUNK, 100, "f 196608+9 "},
		{3 * CHUNK + 9, 1, ""},
		{3 * CHUNK + 8, 1, "f 196608+9 "},
		{CHUNK, 0, ""},
	};
	struct pfs_chunk_cache *cache = open_cache(true, 0);
	struct pfs_cached *file;

	(void)state;
	make_object(3 * CHUNK + 9);
	file = open_at(cache, &one);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		pfs_cached_drop(file, cases[i].off, cases[i].len);
		expect_calls(cases[i].calls);
	}
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
}

/* ---- prefetching ---- */

/* Proves: of a long read all but the first MiB is prefetched, window by window, no more of it at a
 * time than 8 MiB ahead, each once; of a read of a MiB nothing is. */
static void long_reads_are_prefetched(void **state)
{
	enum { SHORT = 40 * CHUNK + 5 };
	static const struct {
		uint64_t size, off, len;
		uint32_t first, count; /* chunks that are prefetched */
	} cases[] = {
		{SHORT, 0, 16 * CHUNK, 0, 0},
		{SHORT, 0, 16 * CHUNK + 1, 16, 1},
		{SHORT, 5, 16 * CHUNK, 0, 0},
		{SHORT, 5, 16 * CHUNK + 1, 16, 1},
		{SHORT, 5, 40 * CHUNK, 16, 25},
		{SHORT, 3 * CHUNK + 9, 36 * CHUNK, 19, 21},
		{SHORT, 0, 40 * CHUNK, 16, 24},
		{SHORT, 0, SHORT, 16, 25},
		/* Farther than may be prefetched at a time. */
		{sizeof(bytes), 0, sizeof(bytes), 16, 315},
	};
	struct pfs_chunk_cache *cache = open_cache(false, 1);

	(void)state;
	cache->threads_made = cache->threads_max = 1; /* as if there were one, that is busy */
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint32_t at = cases[i].first, left = cases[i].count;
		struct pfs_cached *file;

		if (!i || cases[i].size != size)
			make_object(cases[i].size);
		file = open_at(cache, &one);
		assert_int_equal(read_right(file, cases[i].off, (size_t)cases[i].len), 0);
		for (unsigned n = 0; n < cache->jobs_count; n++) {
			const struct pfs_prefetch_job *job =
				&cache->jobs[(cache->jobs_first + n) % PFS_PREFETCH_JOBS];

			assert_int_equal(job->first, at);
			assert_int_equal(job->count, pfs_min_u64(left, 16));
			at += job->count;
			left -= job->count;
		}
		assert_int_equal(left, 0);
		pfs_cached_close(file);
		assert_int_equal(cache->jobs_count, 0);
	}
	cache->threads_made = 0;
	pfs_chunk_cache_close(cache);
}

/* Proves: what was prefetched keeps to the bound of memory as soon as it is there. */
static void prefetched_chunks_are_bounded(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 2 * CHUNK);
	struct pfs_prefetch_job job = {.first = 1, .count = 5};
	struct pfs_chunk_cache_stat stat;

	(void)state;
	make_object(7 * CHUNK);
	job.file = open_at(cache, &one);
	run_job(&job);
	pfs_chunk_cache_stat(cache, &stat);
	assert_int_equal(stat.fetched, 5);
	assert_int_equal(stat.memory_bytes, 2 * CHUNK);
	pfs_cached_close(job.file);
	pfs_chunk_cache_close(cache);
}

/* Waits for a moment at which so many threads have nothing to do. */
static bool come_to_rest(struct pfs_chunk_cache *cache, unsigned idle)
{
	struct timespec begun, now;
	bool is = false;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	do {
		pthread_mutex_lock(&cache->lock);
		is = cache->threads_idle == idle && !cache->jobs_count;
		pthread_mutex_unlock(&cache->lock);
		sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!is && now.tv_sec - begun.tv_sec < 5);
	return is;
}

/* Proves: threads are made as they are needed, and no more: who has nothing to do is woken first;
 * none takes a signal, and the signals of who prefetches are as before; all are waited for at the
 * end. Without threads nothing is prefetched. */
static void threads_are_made_as_needed(void **state)
{
	struct pfs_chunk_cache *cache = open_cache(false, 0);
	struct pfs_cached *file;
	sigset_t before, after;

	(void)state;
	make_object(40 * CHUNK);
	file = open_at(cache, &one);
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	pfs_cached_prefetch(file, 0, CHUNK);
	assert_true(cache->jobs_count == 0 && file->jobs == 0);
	threads_fail = 0;
	for (unsigned i = 0; i < 3; i++) { /* one at a time */
		pfs_cached_prefetch(file, i * CHUNK, CHUNK);
		assert_int_equal(threads_made, 1);
		assert_true(come_to_rest(cache, 1));
		assert_int_equal(__atomic_load_n(&asking, __ATOMIC_ACQUIRE), i + 1);
	}
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&after, sig), sig == SIGUSR2);
	sigemptyset(&after);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &after, NULL), 0);
	__atomic_store_n(&shut, true, __ATOMIC_RELEASE);
	pfs_cached_prefetch(file, 5 * CHUNK, CHUNK); /* for the one that rests */
	pfs_cached_prefetch(file, 20 * CHUNK, CHUNK);
	pfs_cached_prefetch(file, 39 * CHUNK, CHUNK);
	assert_int_equal(threads_made, 3);
	__atomic_store_n(&shut, false, __ATOMIC_RELEASE);
	assert_true(come_to_rest(cache, 3));
	assert_int_equal(__atomic_load_n(&asking, __ATOMIC_ACQUIRE), 6);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	assert_int_equal(threads_joined, threads_made);
}

int main(void)
{
#define prepared(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		prepared(directories_need_not_be_had),
		prepared(files_need_memory),
		prepared(windows_need_memory),
		prepared(finds_are_counted),
		prepared(origins_are_kept),
		prepared(so_many_origins_are_kept),
		prepared(all_is_asked_for_once),
		prepared(what_goes_wrong_is_said),
		prepared(the_directory_is_used),
		prepared(what_is_dropped_is_forgotten),
		prepared(long_reads_are_prefetched),
		prepared(prefetched_chunks_are_bounded),
		prepared(threads_are_made_as_needed),
	};

	return cmocka_run_group_tests_name("parts of a chunk cache", tests, NULL, NULL);
}
