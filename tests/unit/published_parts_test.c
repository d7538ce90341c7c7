/* storage/published*.c, storage/store_published.c: a collection that is opened, read and checked in
 * memory that ends at a fence and may be refused; what is said where it can't be opened; reads that
 * end too soon; what is referenced and how long. The files are included. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/io_http.h"
#include "storage/page.h"
#include "storage/store_internal.h"
#include "storage/store_published.h"

static int some_cache(struct pfs_chunk_cache **out, const struct pfs_chunk_cache_options *options);
static const struct pfs_io *some_io(const char *path, const struct pfs_http_options *http,
				    struct pfs_io *room);
static ssize_t some_cached(struct pfs_cached *file, void *buf, size_t len, uint64_t off);
static void some_put(struct pfs_published *p, struct pfs_generation *g);
static void *some_memory(size_t len);
static void *some_zeros(size_t count, size_t len);
static void give_back(void *block);
static void before_lock(pthread_mutex_t *mutex);

static uint64_t whole_max = 64 * PFS_MIB;

#include "tests/unit/fenced.h"

#define pfs_chunk_cache_open(out, options) some_cache(out, options)
#define pfs_cached_read(file, buf, len, off) some_cached(file, buf, len, off)
#define strdup(text) fenced_copy(text)
static char *fenced_copy(const char *text)
{
	char *copy = malloc(strlen(text) + 1);

	if (copy)
		memcpy(copy, text, strlen(text) + 1);
	return copy;
}

#define read_whole read_whole_file
#include "storage/published.c"
#undef read_whole
#include "storage/published_read.c"
#undef AHEAD
#define damaged damaged_keys
#define load load_keys
#define read_ahead read_keys_ahead
#define listing listing_of_keys
#define pthread_mutex_lock(mutex) (before_lock(mutex), pthread_mutex_lock(mutex))
#include "storage/published_find.c"
#undef pthread_mutex_lock
#undef damaged
#undef load
#undef read_ahead
#undef listing
#define pfs_generation_put(p, g) some_put(p, g)
#define pfs_io_for(path, http, room) some_io(path, http, room)
#include "storage/store_published.c"
#undef pfs_generation_put
#undef pfs_io_for
#undef strdup
#undef pfs_chunk_cache_open
#undef pfs_cached_read

/* What it makes others give back. */
#undef malloc
#undef calloc
#undef free
#define malloc(len) some_memory(len)
#define calloc(count, len) some_zeros(count, len)
#define free(block) give_back(block)
#define pfs_check_reader_new(reader, file) \
	(fenced_is_refused() ? -ENOMEM : pfs_check_reader_new(reader, file))
#define WHOLE_MAX whole_max
#define read_block read_checked_block
#define compare compare_entry
#include "storage/published_check.c"
#undef read_block
#undef compare
#undef malloc
#undef calloc
#undef free
#undef pfs_check_reader_new

#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX

static struct {
	int cache_err;
	unsigned short_read; /* the one of that number gives so many bytes less; 0: none */
	unsigned reads;
	ssize_t less;	 /* below 0: all of them */
	bool spoils_put; /* a generation that is put is another's at once */
	unsigned timeout_ms;
} fault;

static int some_cache(struct pfs_chunk_cache **out, const struct pfs_chunk_cache_options *options)
{
	*out = NULL;
	return fault.cache_err ? fault.cache_err : pfs_chunk_cache_open(out, options);
}

static const struct pfs_io *some_io(const char *path, const struct pfs_http_options *http,
				    struct pfs_io *room)
{
	fault.timeout_ms = http->timeout_ms;
	return pfs_io_for(path, http, room);
}

static ssize_t some_cached(struct pfs_cached *file, void *buf, size_t len, uint64_t off)
{
	ssize_t n = pfs_cached_read(file, buf, len, off);

	if (++fault.reads != fault.short_read)
		return n;
	return fault.less < 0 ? 0 : n - fault.less;
}

static void some_put(struct pfs_published *p, struct pfs_generation *g)
{
	const uint64_t points = g->m.points;

	pfs_generation_put(p, g);
	if (fault.spoils_put)
		g->m.points = points + 1000;
}

static void *some_memory(size_t len)
{
	return fenced_is_refused() ? NULL : malloc(len);
}

/* Bits of chunks are between fences, when they are a test's. */
static bool fences_bits;
static void *bits;

static void *some_zeros(size_t count, size_t len)
{
	if (fences_bits && len == 1)
		return bits = fenced_calloc(count, len);
	return fenced_is_refused() ? NULL : calloc(count, len);
}

static void give_back(void *block)
{
	if (block && block == bits)
		fenced_free(block);
	else
		free(block);
	if (block == bits)
		bits = NULL;
}

/* The block that was used last, when the lock was taken last. */
static struct pfs_published *watched;
static const struct pfs_published_block *first_at_lock;

static void before_lock(pthread_mutex_t *mutex)
{
	if (watched && mutex == &watched->lock)
		first_at_lock = watched->blocks[0];
}

/* ---- a collection ---- */

#define DOCS 40u
#define LONG 5u /* has several blocks */

static void some_doc(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		     char **data, size_t *len)
{
	*len = i == LONG ? 200000 : i == 6 ? 65536 : 37 * i;
	*data = malloc(*len + 1);
	for (size_t at = 0; at < *len; at++)
		(*data)[at] = (char)(i % 3 ? 'a' + (at + i) % 7 : pfs_mix64(at + i + s->version));
	*key = pfs_key_num(i);
	if (i >= DOCS / 2)
		set_uuid(key, i / 4, i); /* four of each first half */
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = (int64_t)i};
}

static struct pfs_sim *publish_some(void)
{
	const struct source s = {.count = DOCS, .doc = some_doc, .changed = NONE, .absent = NONE};
	struct pfs_sim *sim = pfs_sim_new();

	publish_ok(pfs_sim_io(sim), &s);
	return sim;
}

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

static int open_some(struct pfs_store *store, const struct pfs_io *io, const char *path,
		     struct pfs_reason *reason)
{
	const struct pfs_open_options options = {.read_only = true, .io = io};

	*store = (struct pfs_store){.logger = no_log};
	if (reason)
		reason->text[0] = '\0';
	return pfs_store_open_published(store, path, &options, reason);
}

/* All ways to read a document. Returns whether memory lacked for one. */
static bool read_in_all_ways(struct pfs_store *store, uint64_t i)
{
	const struct source s = {0};
	struct pfs_attr attr, got;
	struct pfs_place place;
	struct pfs_key key, found;
	bool lacked = false;
	uint32_t object;
	char *want, part[300];
	size_t len, have;
	ssize_t n;
	void *data;
	int err;

	some_doc(&s, i, &key, &attr, &want, &len);
	err = pfs_published_store_lookup(store, &key, &object, &got);
	assert_true(err == 0 || err == -ENOMEM);
	lacked |= err != 0;
	assert_int_equal(object, err ? 0 : PFS_OBJECT_FIRST + i);
	if (!err)
		assert_true(got.size == len && got.mtime_ns == attr.mtime_ns);
	err = pfs_published_store_object_key(store, PFS_OBJECT_FIRST + (uint32_t)i, &found);
	assert_true(err == -ENOMEM || (err == 0 && pfs_key_equal(&key, &found)));
	lacked |= err != 0;
	err = pfs_published_store_get(store, &key, &data, &have, &got);
	assert_true(err == 0 || err == -ENOMEM);
	lacked |= err != 0;
	assert_int_equal(data != NULL, err == 0);
	assert_int_equal(have, err ? 0 : len);
	if (!err)
		assert_memory_equal(data, want, len);
	fenced_free(data);
	/* A part from the first byte on, one up to the last, and one in between. */
	for (unsigned way = 0; way < 3; way++) {
		size_t from = way == 0 ? 0 : way == 1 ? len - len / 3 : len / 3;
		size_t size = way == 2 ? len / 4 : len / 3;
		uint8_t *room;

		size = pfs_min_u64(size, sizeof(part));
		from = way == 1 ? len - size : from;
		room = fenced_malloc(size);
		if (!room) {
			lacked = true;
			continue;
		}
		n = pfs_published_store_read(store, PFS_OBJECT_FIRST + (uint32_t)i, from, room,
					     size);
		assert_true(n == -ENOMEM || n == (ssize_t)size);
		lacked |= n < 0;
		if (n > 0)
			assert_memory_equal(room, want + from, size);
		fenced_free(room);
	}
	err = pfs_published_store_place(store, &key, &place);
	assert_true(err == -ENOMEM || (err == 0 && place.page == 2));
	lacked |= err != 0;
	free(want);
	return lacked;
}

/* Everything that a reader may ask. */
static bool use(struct pfs_store *store)
{
	struct pfs_listed listed[DOCS + 1];
	struct pfs_check_result result;
	struct pfs_snapshot *snapshot;
	struct pfs_page_stat *pages;
	bool lacked = false;
	size_t count;
	ssize_t n;
	int err;

	for (uint64_t i = 0; i < 8; i++)
		lacked |= read_in_all_ways(store, i);
	lacked |= read_in_all_ways(store, DOCS - 1);
	n = pfs_published_store_list(store, 0, listed, DOCS + 1);
	assert_true(n == DOCS || n == -ENOMEM || (n > 0 && lacked));
	lacked |= n != DOCS;
	err = pfs_published_store_pages(store, &pages, &count);
	assert_true(err == -ENOMEM || (err == 0 && count == 1 && pages[0].number == 2));
	fenced_free(pages);
	lacked |= err != 0;
	err = pfs_published_store_snapshot_open(store, &snapshot);
	assert_true(err == -ENOMEM || err == 0);
	lacked |= err != 0;
	assert_int_equal(snapshot != NULL, !err);
	if (snapshot) {
		assert_int_equal(store->published->newest->refs, 2);
		pfs_published_store_snapshot_close(snapshot);
	}
	err = pfs_published_store_check(store, NULL, NULL, NULL, NULL, &result);
	assert_true(err == -ENOMEM || (err == 0 && result.findings == 0));
	lacked |= err != 0;
	assert_int_equal(store->published->newest->refs, 1);
	return lacked;
}

/* Proves: whichever allocation is refused, that is the error of what was asked, which succeeds the
 * next time; nothing is written or read behind what was allocated, nothing stays referenced or
 * allocated. An opening says whose it was. */
static void memory_may_be_refused(void **state)
{
	struct pfs_sim *sim = publish_some();
	bool lacked = true;
	unsigned opened = 0;

	(void)state;
	for (unsigned n = 0; lacked; n++) {
		struct pfs_reason reason;
		struct pfs_store store;
		int err;

		fenced_refuse(n);
		err = open_some(&store, pfs_sim_io(sim), WHERE, &reason);
		assert_true(err == 0 || err == -ENOMEM);
		if (err) {
			assert_null(store.published);
			assert_true(n > 1 || strstr(reason.text, "memory"));
			assert_int_equal(strncmp(reason.text, "published: ", 11), 0);
		} else {
			const struct pfs_manifest *m = &store.published->newest->m;

			opened++;
			/* The page is just as long as what is read at once. */
			whole_max = m->objects[m->object_count - 1].len;
			lacked = use(&store);
			assert_int_equal(lacked, !fenced_refuses);
			fenced_refuses = false;
			assert_false(use(&store));
			pfs_published_close(store.published);
		}
		fenced_refuses = false;
		assert_int_equal(fenced_blocks, 0);
		assert_true(n < 300);
	}
	whole_max = 64 * PFS_MIB;
	assert_true(opened > 20);
	pfs_sim_free(sim);
}

/* Proves: what is kept of a collection in a cache is found under a number that all characters of
 * its path make, and which stays what it is: what former programs have kept is found. */
static void paths_have_their_numbers(void **state)
{
	static const char *const paths[] = {
		"", "a", "b", "ab", "ba", "s3://bucket/prefix", "s3://bucket/prefiy", "\xff\xfe"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(paths); i++) {
		uint64_t want = 0;

		for (const char *c = paths[i]; *c; c++)
			want = pfs_mix64(want ^ (uint8_t)*c) + 1;
		assert_true(hash_path(paths[i]) == want);
		for (size_t k = 0; k < i; k++)
			assert_true(hash_path(paths[k]) != want);
	}
}

static int open_err;

static int no_dir(const struct pfs_io *io, const char *path, unsigned flags, struct pfs_dir **out)
{
	(void)io;
	(void)path;
	(void)flags;
	*out = NULL;
	return open_err;
}

/* Proves: why a collection can't be opened is said once, with its path; of a URL that can't be used
 * the path is not said, since it may hold a password. */
static void why_it_can_not_be_opened(void **state)
{
	static const struct {
		const char *path;
		int cache_err, open_err;
		const char *says;
	} cases[] = {
		{"here", -EAGAIN, 0, "here: Resource temporarily unavailable"},
		{"here", -ENOMEM, -EIO, "here: Cannot allocate memory"},
		{"here", 0, -EIO, "here: can't be opened: Input/output error"},
		{"here", 0, -EINVAL, "here: can't be opened: Invalid argument"},
		{"http://u:p@h/x", 0, -EINVAL, "the URL can't be used"},
		{"http://h/x", 0, -EIO, "http://h/x: can't be opened: Input/output error"},
		{"http://h/x", -EAGAIN, -EINVAL, "http://h/x: Resource temporarily unavailable"},
	};
	const struct pfs_io_ops ops = {.open_dir = no_dir};
	const struct pfs_io io = {.ops = &ops};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason;
		struct pfs_store store;

		fault.cache_err = cases[i].cache_err;
		open_err = cases[i].open_err;
		assert_int_equal(open_some(&store, &io, cases[i].path, &reason),
				 cases[i].cache_err ? cases[i].cache_err : cases[i].open_err);
		assert_null(store.published);
		assert_string_equal(reason.text, cases[i].says);
		assert_int_equal(open_some(&store, &io, cases[i].path, NULL),
				 cases[i].cache_err ? cases[i].cache_err : cases[i].open_err);
		fault.cache_err = 0;
		assert_int_equal(fenced_blocks, 0);
	}
}

/* Proves: requests take as long as is asked for, and as long as usual when nothing is. */
static void requests_have_a_timeout(void **state)
{
	const struct pfs_remote_options remote = {.timeout_ms = 1234};
	struct pfs_open_options options = {.read_only = true};
	struct pfs_store store = {.logger = no_log};

	(void)state;
	fault.timeout_ms = 77;
	assert_int_not_equal(pfs_store_open_published(&store, "nowhere/at/all", &options, NULL), 0);
	assert_int_equal(fault.timeout_ms, 0);
	options.remote = &remote;
	assert_int_not_equal(pfs_store_open_published(&store, "nowhere/at/all", &options, NULL), 0);
	assert_int_equal(fault.timeout_ms, 1234);
	options.read_only = false;
	assert_int_equal(pfs_store_open_published(&store, "nowhere/at/all", &options, NULL),
			 -EROFS);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: whichever read gives less than was asked for, or nothing, a document is not read, and
 * that is an error of reading. */
static void short_reads_are_errors(void **state)
{
	struct pfs_sim *sim = publish_some();

	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		for (unsigned doc = 1; doc < 8; doc++) {
			const struct source s = {0};
			struct pfs_store store;
			struct pfs_attr attr;
			struct pfs_key key;
			unsigned failed = 0;
			size_t len, have;
			char *want;
			void *data;
			int err;

			assert_int_equal(open_some(&store, pfs_sim_io(sim), WHERE, NULL), 0);
			some_doc(&s, doc, &key, &attr, &want, &len);
			fault.reads = 0;
			do {
				fault.reads = 0;
				fault.short_read = ++failed;
				/* Keys are not read again once they are known. */
				pfs_published_drop_blocks(store.published, store.published->newest);
				memset(store.published->blocks, 0, sizeof(store.published->blocks));
				fault.less = way == 0 ? 1 : way == 1 ? 20 : way == 2 ? -1 : 1000000;
				err = pfs_published_store_get(&store, &key, &data, &have, NULL);
				if (way < 3)
					assert_int_equal(err, fault.reads < failed ? 0 : -EIO);
				else /* some error or other */
					assert_int_equal(err < 0, fault.reads >= failed);
				assert_int_equal(data != NULL, !err);
				fenced_free(data);
				assert_true(failed < 20);
			} while (err);
			assert_true(failed > 2);
			fault.short_read = 0;
			free(want);
			pfs_published_close(store.published);
		}
	}
	pfs_sim_free(sim);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: figures are those of the generation while it is referenced. */
static void figures_are_taken_in_time(void **state)
{
	struct pfs_sim *sim = publish_some();
	struct pfs_store_stat stat;
	struct pfs_store store;

	(void)state;
	assert_int_equal(open_some(&store, pfs_sim_io(sim), WHERE, NULL), 0);
	fault.spoils_put = true;
	assert_int_equal(pfs_published_store_stat(&store, &stat), 0);
	fault.spoils_put = false;
	assert_int_equal(stat.points, DOCS);
	store.published->newest->m.points = DOCS;
	pfs_published_close(store.published);
	pfs_sim_free(sim);
}

/* ---- a page with its hole ---- */

static uint8_t object[2000];
static size_t object_len;
static int object_err;

static ssize_t read_object_bytes(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	(void)file;
	if (object_err)
		return object_err;
	len = off < object_len ? pfs_min_u64(len, object_len - off) : 0;
	memcpy(buf, object + off, len);
	return (ssize_t)len;
}

/* Proves: what is read of a page is its head, zeros and its end, each byte of any range, up to the
 * size that it would have; where the object ends too soon, so does what is read. */
static void holes_are_zeros(void **state)
{
	static const struct pfs_io_ops ops = {.read = read_object_bytes};
	const struct pfs_manifest_object page = {.head = 500, .len = 1500, .size_log2 = 12};
	struct pfs_file file = {.ops = &ops};
	struct holed_file holed = {.file = &file, .page = &page};
	uint8_t whole[4096], got[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(object); i++)
		object[i] = (uint8_t)(1 + pfs_mix64(i) % 255);
	memset(whole, 0, sizeof(whole));
	memcpy(whole, object, 500);
	memcpy(whole + 4096 - 1000, object + 500, 1000);
	/* There is more than there should be. */
	object_len = 1700;
	for (uint64_t off = 0; off < 4200; off += off % 7 + 23) {
		for (size_t len = 0; len < 4400; len += len % 11 + 100) {
			size_t want = off < 4096 ? pfs_min_u64(len, 4096 - off) : 0;

			memset(got, 0xee, sizeof(got));
			assert_int_equal(holed_read(&holed.base, got, len, off), want);
			if (want)
				assert_memory_equal(got, whole + off, want);
			assert_int_equal(got[want], 0xee);
		}
	}
	for (object_len = 300; object_len < 1500; object_len += 200) {
		const size_t end = object_len < 500 ? object_len : 2596 + object_len;

		assert_int_equal(holed_read(&holed.base, got, 4096, 0), end);
		assert_memory_equal(got, whole, end);
		assert_int_equal(holed_read(&holed.base, got, 4096, end), 0);
	}
	object_err = -EIO;
	assert_int_equal(holed_read(&holed.base, got, 4096, 0), -EIO);
	assert_int_equal(holed_read(&holed.base, got, 4096, 3500), -EIO);
	assert_int_equal(holed_read(&holed.base, got, 100, 600), 100);
	object_err = 0;
}

static int no_file(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	(void)dir;
	(void)name;
	(void)flags;
	*out = NULL;
	return -ENOENT;
}

static void ignore_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	(void)finding;
}

/* Proves: of an object of any length each chunk is noted that does not verify, and none behind. */
static void each_chunk_is_noted(void **state)
{
	static const struct pfs_io_ops ops = {.open = no_file};
	struct pfs_dir dir = {.ops = &ops};
	uint32_t crcs[200] = {0};

	(void)state;
	fences_bits = true;
	whole_max = 0;
	for (uint64_t chunks = 1; chunks <= 200; chunks++) {
		struct pfs_manifest_object o = {.role = PFS_OBJECT_KEYS, .len = chunks * 65536 - 5};
		struct pfs_generation g = {
			.m = {.objects = &o, .object_count = 1, .crcs = crcs, .points = 1}};
		struct pfs_published p = {.dir = &dir, .logger = no_log, .newest = &g};
		struct pfs_check_result result = {0};
		struct checking c = {.p = &p, .g = &g};

		prepare(&c, &result);
		c.check.fn = ignore_finding;
		assert_int_equal(c.check.total, o.len);
		assert_int_equal(check_object(&c, 0), 0);
		assert_int_equal(c.bad_count, chunks);
		assert_int_equal(c.check.done, o.len);
		pfs_check_end(&c.check);
		free(c.window);
		free(c.block);
		assert_int_equal(fenced_blocks, 0);
	}
	fences_bits = false;
	whole_max = 64 * PFS_MIB;
}

/* ---- blocks of keys ---- */

/* Proves: a block of keys is kept when the lock is had, so that nobody else is looking. */
static void blocks_are_kept_under_the_lock(void **state)
{
	struct pfs_sim *sim = publish_some();
	const struct pfs_key key = pfs_key_num(3);
	struct pfs_published_doc doc;
	struct pfs_store store;

	(void)state;
	assert_int_equal(open_some(&store, pfs_sim_io(sim), WHERE, NULL), 0);
	watched = store.published;
	first_at_lock = (const struct pfs_published_block *)&doc;
	assert_int_equal(pfs_published_find(watched, watched->newest, &key, &doc), 0);
	assert_null(first_at_lock);
	assert_non_null(watched->blocks[0]);
	assert_int_equal(pfs_published_find(watched, watched->newest, &key, &doc), 0);
	assert_ptr_equal(first_at_lock, watched->blocks[0]);
	watched = NULL;
	pfs_published_close(store.published);
	pfs_sim_free(sim);
}

/* Proves: keys are in the order of their kinds, then of all their bytes. */
static void keys_have_an_order(void **state)
{
	uint8_t a[16], b[16];

	(void)state;
	for (unsigned at = 0; at < 16; at++) {
		memset(a, 5, 16);
		memset(b, 5, 16);
		assert_int_equal(compare(1, a, 1, b), 0);
		b[at]++;
		assert_true(compare(1, a, 1, b) < 0);
		assert_true(compare(1, b, 1, a) > 0);
		assert_true(compare(2, a, 1, b) > 0);
		assert_true(compare(1, b, 2, a) < 0);
	}
}

/* Proves: who has the same first half as another in its UUID is not taken for it, whatever the
 * table of keys says; nor is one of another length. */
static void containers_have_their_keys(void **state)
{
	struct pfs_sim *sim = publish_some();
	const struct source s = {0};
	struct pfs_published_doc doc;
	struct pfs_generation *g;
	struct pfs_store store;
	struct pfs_attr attr;
	struct pfs_key key;
	size_t len;
	char *want, got[2000];

	(void)state;
	assert_int_equal(open_some(&store, pfs_sim_io(sim), WHERE, NULL), 0);
	g = pfs_published_current(store.published);
	for (uint64_t i = DOCS / 2; i < DOCS; i++) {
		some_doc(&s, i, &key, &attr, &want, &len);
		assert_int_equal(pfs_published_find(store.published, g, &key, &doc), 0);
		assert_int_equal(pfs_published_read(store.published, g, &doc, 0, got, len), len);
		assert_memory_equal(got, want, len);
		doc.entry.key[15] ^= 1;
		assert_int_equal(pfs_published_read(store.published, g, &doc, 0, got, len), -EIO);
		doc.entry.key[15] ^= 1;
		doc.entry.key[0] ^= 1;
		assert_int_equal(pfs_published_read(store.published, g, &doc, 0, got, len), -EIO);
		doc.entry.key[0] ^= 1;
		doc.entry.raw_len--;
		assert_int_equal(pfs_published_read(store.published, g, &doc, 0, got, len), -EIO);
		free(want);
	}
	pfs_generation_put(store.published, g);
	pfs_published_close(store.published);
	pfs_sim_free(sim);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_may_be_refused),
		cmocka_unit_test(paths_have_their_numbers),
		cmocka_unit_test(why_it_can_not_be_opened),
		cmocka_unit_test(requests_have_a_timeout),
		cmocka_unit_test(short_reads_are_errors),
		cmocka_unit_test(figures_are_taken_in_time),
		cmocka_unit_test(holes_are_zeros),
		cmocka_unit_test(each_chunk_is_noted),
		cmocka_unit_test(blocks_are_kept_under_the_lock),
		cmocka_unit_test(keys_have_an_order),
		cmocka_unit_test(containers_have_their_keys),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests_name("parts of what is published", tests, NULL, NULL);
}
