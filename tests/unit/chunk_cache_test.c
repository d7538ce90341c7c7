/* storage/chunk_cache.c: reading through memory, and what is asked of the origin. */
#include "storage/chunk_cache_internal.h"
#include "storage/crc.h"
#include "tests/unit/chunk_cache_helpers.h"

static struct messages messages = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

/* Proves: any range of an object is what the origin has, short at its end only; a chunk that was
 * read is not asked for again, and neighbours that are missing are one request. */
static void ranges_are_right_and_asked_for_once(void **state)
{
	struct origin *origin = make_origin(1, 5 * CHUNK + 100);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	const struct object *object = &origin->objects[0];
	static const struct {
		uint64_t off;
		size_t len;
		unsigned reads; /* that it takes, all in all */
	} steps[] = {
		{0, 0, 0},
		{10, 20, 1},
		{CHUNK - 20, 20, 1},
		{CHUNK - 1, 2, 2},
		{CHUNK, CHUNK, 2},
		{3 * CHUNK - 5, CHUNK + 10, 3}, /* chunks 2, 3, 4 */
		{0, 5 * CHUNK + 200, 4},	/* the last one */
		{5 * CHUNK + 99, 10, 4},
		{5 * CHUNK + 100, 10, 4},
		{UINT64_MAX - 5, 10, 4},
	};

	(void)state;
	assert_int_equal(origin->opens, 0);
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		assert_int_equal(read_right(file, object, steps[i].off, steps[i].len), 0);
		assert_int_equal(origin->reads, steps[i].reads);
	}
	assert_int_equal(origin->read_bytes, object->size);
	assert_int_equal(origin->opens, 1);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: what lies between chunks that are there is asked for without them. */
static void only_what_is_missing_is_asked_for(void **state)
{
	struct origin *origin = make_origin(1, 9 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);

	(void)state;
	assert_int_equal(read_right(file, &origin->objects[0], 2 * CHUNK, CHUNK), 0);
	assert_int_equal(read_right(file, &origin->objects[0], 5 * CHUNK, CHUNK), 0);
	assert_int_equal(origin->reads, 2);
	assert_int_equal(read_right(file, &origin->objects[0], 0, 9 * CHUNK), 0);
	assert_int_equal(origin->reads, 5); /* 0-1, 3-4, 6-8 */
	assert_int_equal(origin->read_bytes, 9 * CHUNK);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

struct reader {
	struct pfs_cached *file;
	const struct object *object;
	uint64_t off;
	size_t len;
	int err;
	pthread_t thread;
};

static void *read_in_thread(void *arg)
{
	struct reader *reader = arg;

	reader->err = read_right(reader->file, reader->object, reader->off, reader->len);
	return NULL;
}

#define READERS 12

/* Starts readers of one chunk, and returns when one is at the origin and the others wait for it. */
static void start_readers(struct reader *readers, struct pfs_chunk_cache *cache,
			  struct origin *origin, struct pfs_cached *file)
{
	struct pfs_chunk_cache_stat before, stat;

	pfs_chunk_cache_stat(cache, &before);
	set_shut(origin, true);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){
			.file = file, .object = &origin->objects[0], .off = 100 * i, .len = 50};
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_in_thread, &readers[i]), 0);
	}
	do {
		sched_yield();
		pfs_chunk_cache_stat(cache, &stat);
	} while (stat.shared - before.shared < READERS - 1 && waiting_now(origin) < 2);
	wait_for_waiting(origin, 1);
}

/* Proves: however many readers want a chunk, it is fetched once, and all get what came: bytes, or
 * the error, after which the next reader tries again. */
static void one_fetch_serves_all_who_wait(void **state)
{
	struct origin *origin = make_origin(1, CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	struct reader readers[READERS];

	(void)state;
	for (int failing = 1; failing >= 0; failing--) {
		unsigned reads = origin->reads;

		start_readers(readers, cache, origin, file);
		origin->err = -EIO;
		origin->fail_count = (unsigned)failing;
		set_shut(origin, false);
		for (unsigned i = 0; i < READERS; i++) {
			pthread_join(readers[i].thread, NULL);
			assert_int_equal(readers[i].err, failing ? -EIO : 0);
		}
		assert_int_equal(origin->reads, reads + 1);
	}
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: bytes that are wrong or too few are asked for once more and never given out; the good
 * chunks among them are. The log says where. */
static void wrong_bytes_reach_nobody(void **state)
{
	struct origin *origin = make_origin(1, 4 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	const struct object *object = &origin->objects[0];
	struct pfs_chunk_cache_stat stat;

	(void)state;
	origin->lie_count = 1;
	assert_int_equal(read_right(file, object, 0, 2 * CHUNK), 0);
	assert_int_equal(origin->reads, 2);
	origin->lie_count = 1;
	origin->short_count = 1;
	messages.count = 0;
	assert_int_equal(read_right(file, object, 2 * CHUNK, 2 * CHUNK), -EIO);
	assert_int_equal(origin->reads, 4);
	assert_int_equal(messages.count, 1);
	assert_non_null(strstr(messages.last, "damage in page-0000.pfp at byte 196608"));
	assert_int_equal(read_right(file, object, 2 * CHUNK, CHUNK), 0); /* was good */
	assert_int_equal(origin->reads, 4);
	assert_int_equal(read_right(file, object, 3 * CHUNK, CHUNK), 0);
	assert_int_equal(origin->reads, 5);
	pfs_chunk_cache_stat(cache, &stat);
	assert_int_equal(stat.wrong_fetched, 3);
	assert_int_equal(stat.fetched, 4);
	assert_int_equal(stat.fetches, 5);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

static void put_file(struct pfs_dir *dir, const char *name, const void *bytes, size_t len)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, "new.tmp", PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	assert_int_equal(file->ops->write(file, bytes, len, 0), 0);
	file->ops->close(file);
	assert_int_equal(dir->ops->rename(dir, "new.tmp", name), 0);
}

/* Proves: an object that was damaged is read as soon as a good one has taken its place, by files
 * that were open all the time, too. */
static void a_replaced_object_is_read(void **state)
{
	char path[] = "/tmp/pfs-origin-XXXXXX", command[64];
	struct origin *origin = make_origin(1, 3 * CHUNK);
	struct object *object = &origin->objects[0];
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file;
	struct pfs_dir *dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, path, 0, &dir), 0);
	object->bytes[CHUNK] ^= 1;
	put_file(dir, object->name, object->bytes, object->size);
	object->bytes[CHUNK] ^= 1;
	assert_int_equal(
		pfs_cached_open(cache, dir, object->name, object->size, object->crcs, &file), 0);
	assert_int_equal(read_right(file, object, 0, CHUNK), 0);
	assert_int_equal(read_right(file, object, CHUNK, CHUNK), -EIO);
	put_file(dir, object->name, object->bytes, object->size);
	assert_int_equal(read_right(file, object, 0, 3 * CHUNK), 0);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	dir->ops->close_dir(dir);
	snprintf(command, sizeof(command), "rm -rf %s", path);
	assert_int_equal(system(command), 0);
	free_origin(origin);
}

/* Proves: errors of the origin become those that the header promises, and pass. */
static void errors_are_told_apart_and_pass(void **state)
{
	static const struct {
		int err;
		unsigned count, lies;
		int expected;
		unsigned reads;
	} cases[] = {
		{-ETIMEDOUT, 1, 0, -EIO, 1}, {-EIO, 1, 0, -EIO, 1},
		{-EACCES, 1, 0, -EACCES, 1}, {-ENOENT, 1, 0, -ESTALE, 1},
		{-ESTALE, 1, 0, 0, 2}, /* another version with the right bytes */
		{-ESTALE, 1, 1, -ESTALE, 2}, {-ESTALE, 2, 0, -ESTALE, 2},
	};
	struct origin *origin = make_origin(1, CHUNK);
	const struct object *object = &origin->objects[0];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
		struct pfs_cached *file = open_object(cache, origin, 0);

		origin->reads = 0;
		origin->err = cases[i].err;
		origin->fail_count = cases[i].count;
		origin->lie_count = cases[i].lies;
		assert_int_equal(read_right(file, object, 5, 5), cases[i].expected);
		assert_int_equal(origin->reads, cases[i].reads);
		assert_int_equal(read_right(file, object, 5, 5), 0);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
	}
	free_origin(origin);
}

/* Proves: memory keeps to its bound, the chunk used last stays, and what was dropped from it comes
 * anew. */
static void memory_is_bounded(void **state)
{
	struct origin *origin = make_origin(1, 64 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 4 * CHUNK, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	const struct object *object = &origin->objects[0];
	struct pfs_chunk_cache_stat stat;

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(read_right(file, object, i * CHUNK, CHUNK), 0);
		assert_int_equal(read_right(file, object, 0, CHUNK), 0);
		pfs_chunk_cache_stat(cache, &stat);
		assert_true(stat.memory_bytes <= 4 * CHUNK);
	}
	assert_int_equal(origin->reads, 64);
	assert_int_equal(read_right(file, object, 5 * CHUNK, CHUNK), 0);
	assert_int_equal(origin->reads, 65);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: prefetching returns at once, brings a range with several requests at a time, each of a
 * window, and leaves nothing to ask for; a reader who comes meanwhile shares it. */
static void prefetching_asks_for_much_at_once(void **state)
{
	struct origin *origin = make_origin(1, 5 * PFS_CHUNK_WINDOW * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	struct reader reader = {
		.file = file, .object = &origin->objects[0], .off = 0, .len = CHUNK};

	(void)state;
	set_shut(origin, true);
	pfs_cached_prefetch(file, 0, origin->objects[0].size);
	wait_for_waiting(origin, 5);
	assert_int_equal(pthread_create(&reader.thread, NULL, read_in_thread, &reader), 0);
	set_shut(origin, false);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.err, 0);
	for (unsigned i = 0; i < 5 * PFS_CHUNK_WINDOW; i++)
		assert_int_equal(read_right(file, &origin->objects[0], i * CHUNK, CHUNK), 0);
	assert_int_equal(origin->reads, 5);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

struct closing {
	struct pfs_cached *file;
	struct origin *origin;
	unsigned open_files; /* when it was closed */
};

static void *close_in_thread(void *arg)
{
	struct closing *closing = arg;

	pfs_cached_close(closing->file);
	pthread_mutex_lock(&closing->origin->lock);
	closing->open_files = closing->origin->open_files;
	pthread_mutex_unlock(&closing->origin->lock);
	return NULL;
}

/* Proves: closing a file forgets what was to be prefetched and waits for what is under way: the
 * origin is not used any more afterwards. */
static void closing_waits_for_prefetches(void **state)
{
	const struct timespec while_ = {.tv_nsec = 50000000};
	struct origin *origin = make_origin(1, PFS_CHUNK_PREFETCH_MAX);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct closing closing = {.origin = origin};
	pthread_t thread;

	(void)state;
	closing.file = open_object(cache, origin, 0);
	set_shut(origin, true);
	pfs_cached_prefetch(closing.file, 0, PFS_CHUNK_PREFETCH_MAX);
	wait_for_waiting(origin, 8);
	assert_int_equal(pthread_create(&thread, NULL, close_in_thread, &closing), 0);
	nanosleep(&while_, NULL); /* for one that would not wait to be seen */
	set_shut(origin, false);
	pthread_join(thread, NULL);
	assert_int_equal(closing.open_files, 0);
	assert_int_equal(origin->reads, 8);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: files that are closed as soon as they are prefetched leave nothing behind. */
static void closing_ends_prefetches(void **state)
{
	struct origin *origin = make_origin(3, 16 * PFS_CHUNK_WINDOW * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		struct pfs_cached *files[3];

		for (unsigned i = 0; i < 3; i++) {
			files[i] = open_object(cache, origin, i);
			pfs_cached_prefetch(files[i], 0, PFS_CHUNK_PREFETCH_MAX);
		}
		for (unsigned i = 0; i < 3; i++)
			pfs_cached_close(files[i]);
		assert_int_equal(origin->open_files, 0);
	}
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: a read of many windows is right and has its later windows fetched beside the first. */
static void long_reads_are_fetched_in_parallel(void **state)
{
	struct origin *origin = make_origin(1, 10 * PFS_CHUNK_WINDOW * CHUNK + 7);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	struct reader reader = {.file = file,
				.object = &origin->objects[0],
				.off = 3,
				.len = origin->objects[0].size};

	(void)state;
	set_shut(origin, true);
	assert_int_equal(pthread_create(&reader.thread, NULL, read_in_thread, &reader), 0);
	wait_for_waiting(origin, 4);
	set_shut(origin, false);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.err, 0);
	assert_int_equal(origin->read_bytes, origin->objects[0].size);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: what is dropped comes anew from the origin, also when somebody holds it. */
static void dropped_chunks_come_anew(void **state)
{
	struct origin *origin = make_origin(1, 3 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);

	(void)state;
	assert_int_equal(read_right(file, &origin->objects[0], 0, 3 * CHUNK), 0);
	pfs_cached_drop(file, CHUNK + 5, 1);
	assert_int_equal(read_right(file, &origin->objects[0], 0, 3 * CHUNK), 0);
	assert_int_equal(origin->reads, 2);
	assert_int_equal(origin->read_bytes, 4 * CHUNK);
	pfs_cached_drop(file, 3 * CHUNK, 10); /* beyond the end: nothing */
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: files of one name share chunks when they mean the same bytes, and only then. */
static void files_of_one_object_share(void **state)
{
	struct origin *origin = make_origin(1, 2 * CHUNK);
	struct origin *other = make_origin(1, 2 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *a = open_object(cache, origin, 0);
	struct pfs_cached *b = open_object(cache, origin, 0);
	struct pfs_cached *c;

	(void)state;
	other->objects[0].bytes[0] ^= 1;
	other->objects[0].crcs[0] = pfs_crc32c(0, other->objects[0].bytes, CHUNK);
	c = open_object(cache, other, 0);
	assert_int_equal(read_right(a, &origin->objects[0], 0, 2 * CHUNK), 0);
	pfs_cached_close(a);
	assert_int_equal(origin->open_files, 0); /* the origin may go with its last file */
	assert_int_equal(read_right(b, &origin->objects[0], 0, 2 * CHUNK), 0);
	assert_int_equal(origin->reads, 1);
	assert_int_equal(read_right(c, &other->objects[0], 0, 2 * CHUNK), 0);
	assert_int_equal(other->reads, 1);
	pfs_cached_close(b);
	pfs_cached_close(c);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
	free_origin(other);
}

/* Proves: names that are not those of an object are refused. */
static void names_are_checked(void **state)
{
	static const char *const bad[] = {"",	  ".",	 "..",	 ".x",	 "a/b",
					  "../x", "a b", "a\nb", "a%2e", "\xff"};
	struct origin *origin = make_origin(1, 10);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	char longest[PFS_PLAIN_NAME_MAX + 2];
	struct pfs_cached *file;

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[PFS_PLAIN_NAME_MAX + 1] = 0;
	for (size_t i = 0; i < pfs_array_len(bad); i++)
		assert_int_equal(pfs_cached_open(cache, &origin->base, bad[i], 0, NULL, &file),
				 -EINVAL);
	assert_int_equal(pfs_cached_open(cache, &origin->base, longest, 0, NULL, &file), -EINVAL);
	assert_null(file);
	longest[PFS_PLAIN_NAME_MAX] = 0;
	assert_int_equal(pfs_cached_open(cache, &origin->base, longest, 0, NULL, &file), 0);
	assert_int_equal(pfs_cached_read(file, longest, 1, 0), 0);
	pfs_cached_close(file);
	pfs_cached_close(NULL);
	pfs_chunk_cache_close(cache);
	pfs_chunk_cache_close(NULL);
	free_origin(origin);
}

/* Proves: a chunk that is dropped while a read has it already, and waits for the next one, is right
 * in that read, and comes anew for others. */
static void what_is_dropped_stays_with_its_reader(void **state)
{
	struct origin *origin = make_origin(1, 2 * CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	struct reader reader = {
		.file = file, .object = &origin->objects[0], .off = 0, .len = 2 * CHUNK};

	(void)state;
	assert_int_equal(read_right(file, &origin->objects[0], 0, CHUNK), 0);
	set_shut(origin, true);
	assert_int_equal(pthread_create(&reader.thread, NULL, read_in_thread, &reader), 0);
	wait_for_waiting(origin, 1);
	pfs_cached_drop(file, 0, 2 * CHUNK); /* of which the second is only coming */
	set_shut(origin, false);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.err, 0);
	assert_int_equal(origin->reads, 2);
	assert_int_equal(read_right(file, &origin->objects[0], 0, 2 * CHUNK), 0);
	assert_int_equal(origin->reads, 3);
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: more than can be remembered is not prefetched, and read all the same; what lies beyond
 * the end, or is nothing, is neither prefetched nor dropped. */
static void prefetching_is_bounded(void **state)
{
	const struct pfs_chunk_cache_options options = {
		.threads = 100000, .logger = {.fn = take_message, .arg = &messages}};
	struct origin *origin = make_origin(1, 3 * CHUNK);
	struct pfs_chunk_cache *cache;
	struct pfs_cached *file;

	(void)state;
	assert_int_equal(pfs_chunk_cache_open(&cache, &options), 0);
	file = open_object(cache, origin, 0);
	pfs_cached_prefetch(file, 3 * CHUNK, 1);
	pfs_cached_prefetch(file, UINT64_MAX, UINT64_MAX);
	pfs_cached_prefetch(file, 0, 0);
	pfs_cached_drop(file, 0, 0);
	pfs_cached_drop(file, UINT64_MAX, UINT64_MAX);
	set_shut(origin, true);
	for (unsigned i = 0; i < 2000; i++)
		pfs_cached_prefetch(file, CHUNK * (i % 3), 1);
	wait_for_waiting(origin, 3);
	assert_int_equal(waiting_now(origin), 3);
	set_shut(origin, false);
	assert_int_equal(read_right(file, &origin->objects[0], 0, 3 * CHUNK), 0);
	pfs_cached_close(file);
	assert_int_equal(origin->reads, 3);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: what is to be prefetched are the chunks that the range lies in, in windows of sixteen,
 * none beyond the end of the object. */
static void prefetches_are_of_the_ranges_chunks(void **state)
{
	static const struct {
		uint64_t off, len;
		uint32_t first, count; /* chunks; count 0: nothing */
	} cases[] = {
		{0, 0, 0, 0},
		{0, 1, 0, 1},
		{0, CHUNK, 0, 1},
		{0, CHUNK + 1, 0, 2},
		{CHUNK - 1, 1, 0, 1},
		{CHUNK - 1, 2, 0, 2},
		{CHUNK, CHUNK, 1, 1},
		{5, 16 * CHUNK - 5, 0, 16},
		{5, 16 * CHUNK - 4, 0, 17},
		{3 * CHUNK, 37 * CHUNK, 3, 37},
		{39 * CHUNK, CHUNK, 39, 1},
		{39 * CHUNK + 9, UINT64_MAX, 39, 2},
		{40 * CHUNK, 100, 40, 1},
		{40 * CHUNK + 9, 100, 40, 1},
		{40 * CHUNK + 10, 100, 0, 0},
		{41 * CHUNK, 100, 0, 0},
		{UINT64_MAX, 1, 0, 0},
	};
	struct origin *origin = make_origin(1, 40 * CHUNK + 10);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);

	(void)state;
	/* As if there were a thread, so that the jobs stay. */
	cache->threads_made = cache->threads_max = 1;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint32_t at = cases[i].first, left = cases[i].count;

		pfs_cached_prefetch(file, cases[i].off, cases[i].len);
		assert_int_equal(cache->jobs_count, (left + 15) / 16);
		assert_int_equal(file->jobs, cache->jobs_count);
		for (unsigned n = 0; n < cache->jobs_count; n++) {
			const struct pfs_prefetch_job *job =
				&cache->jobs[(cache->jobs_first + n) % PFS_PREFETCH_JOBS];

			assert_ptr_equal(job->file, file);
			assert_int_equal(job->first, at);
			assert_int_equal(job->count, pfs_min_u64(left, 16));
			at += job->count;
			left -= job->count;
		}
		assert_int_equal(left, 0);
		pfs_prefetch_forget(file);
		assert_true(file->jobs == 0 && cache->jobs_count == 0);
	}
	cache->threads_made = 0;
	pfs_cached_close(file);
	assert_int_equal(origin->reads, 0);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: sizes that no file has are refused. */
static void sizes_are_checked(void **state)
{
	static const uint64_t sizes[] = {UINT64_MAX, (uint64_t)INT64_MAX + 1,
					 (UINT64_C(1) << 48) + 1};
	struct origin *origin = make_origin(1, CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	struct pfs_cached *file = NULL;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(sizes); i++) {
		assert_int_equal(pfs_cached_open(cache, &origin->base, origin->objects[0].name,
						 sizes[i], origin->objects[0].crcs, &file),
				 -EINVAL);
		assert_null(file);
	}
	pfs_cached_close(NULL);
	pfs_chunk_cache_close(cache);
	pfs_chunk_cache_close(NULL);
	free_origin(origin);
}

/* Proves: objects whose names have the same hash are closed in any order. */
static void names_of_one_hash_are_told_apart(void **state)
{
	struct origin *origin = make_origin(1, CHUNK);
	struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
	const struct object *object = &origin->objects[0];
	struct pfs_cached *first = open_object(cache, origin, 0), *second, *again;
	char name[32];
	uint8_t byte;
	uint32_t hash = pfs_crc32c(0, object->name, strlen(object->name)) % PFS_OBJECT_BUCKETS;

	(void)state;
	for (unsigned i = 0;; i++) {
		int len = snprintf(name, sizeof(name), "x-%u", i);

		if (pfs_crc32c(0, name, (size_t)len) % PFS_OBJECT_BUCKETS == hash)
			break;
	}
	assert_int_equal(
		pfs_cached_open(cache, &origin->base, name, object->size, object->crcs, &second),
		0);
	/* The origin does not have that one, though its bytes would be the same. */
	assert_int_equal(read_right(first, object, 0, 100), 0);
	assert_int_equal(pfs_cached_read(second, &byte, 1, 0), -ESTALE);
	pfs_cached_close(first);
	again = open_object(cache, origin, 0);
	assert_int_equal(read_right(again, object, 0, 100), 0);
	assert_int_equal(pfs_cached_read(second, &byte, 1, 0), -ESTALE);
	pfs_cached_close(again);
	pfs_cached_close(second);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* ---- compared with what is plain ---- */

#define MODEL_OBJECTS 3
#define MODEL_CHUNKS 24 /* of an object, at most */

/* Chunks in memory, the last used first. */
struct model {
	struct {
		unsigned object, index;
	} recent[16 * MODEL_CHUNKS];
	size_t count;
	uint64_t memory_max;
	struct pfs_chunk_cache_stat stat;
	uint64_t reads;
};

static uint64_t model_len(const struct origin *origin, unsigned object, unsigned index)
{
	return pfs_min_u64(CHUNK, origin->objects[object].size - index * CHUNK);
}

/* Takes it out of the list: whether it was there. */
static bool model_take(struct model *m, unsigned object, unsigned index)
{
	for (size_t i = 0; i < m->count; i++) {
		if (m->recent[i].object != object || m->recent[i].index != index)
			continue;
		memmove(&m->recent[i], &m->recent[i + 1], (--m->count - i) * sizeof(m->recent[0]));
		return true;
	}
	return false;
}

static void model_window(struct model *m, const struct origin *origin, unsigned object,
			 unsigned first, unsigned count)
{
	bool before = false;

	for (unsigned i = first; i < first + count; i++) {
		bool there = model_take(m, object, i);

		if (there) {
			m->stat.memory_hits++;
		} else {
			m->stat.fetched++;
			m->stat.fetches += !before; /* neighbours are one request */
			m->stat.fetched_bytes += model_len(origin, object, i);
			m->stat.memory_bytes += model_len(origin, object, i);
		}
		before = !there;
	}
	for (unsigned i = first; i < first + count; i++) {
		memmove(&m->recent[1], &m->recent[0], m->count++ * sizeof(m->recent[0]));
		m->recent[0].object = object;
		m->recent[0].index = i;
		while (m->stat.memory_bytes > m->memory_max && m->count) {
			m->count--;
			m->stat.memory_bytes -= model_len(origin, m->recent[m->count].object,
							  m->recent[m->count].index);
		}
	}
}

static void model_read(struct model *m, const struct origin *origin, unsigned object, uint64_t off,
		       uint64_t len)
{
	uint64_t size = origin->objects[object].size, end;

	if (off >= size || !len)
		return;
	end = off + pfs_min_u64(len, size - off);
	for (uint64_t first = off / CHUNK; first * CHUNK < end; first += 16)
		model_window(
			m, origin, object, (unsigned)first,
			(unsigned)(pfs_min_u64((end + CHUNK - 1) / CHUNK, first + 16) - first));
}

static void model_drop(struct model *m, const struct origin *origin, unsigned object, uint64_t off,
		       uint64_t len)
{
	uint64_t size = origin->objects[object].size;

	if (off >= size)
		return;
	for (uint64_t i = off / CHUNK; len && i * CHUNK < size && i * CHUNK < off + len; i++)
		if (model_take(m, object, (unsigned)i))
			m->stat.memory_bytes -= model_len(origin, object, (unsigned)i);
}

static void expect_stat(struct pfs_chunk_cache *cache, const struct pfs_chunk_cache_stat *want)
{
	struct pfs_chunk_cache_stat got;

	pfs_chunk_cache_stat(cache, &got);
	assert_int_equal(got.memory_hits, want->memory_hits);
	assert_int_equal(got.disk_hits, want->disk_hits);
	assert_int_equal(got.shared, want->shared);
	assert_int_equal(got.fetched, want->fetched);
	assert_int_equal(got.fetches, want->fetches);
	assert_int_equal(got.fetched_bytes, want->fetched_bytes);
	assert_int_equal(got.failed, want->failed);
	assert_int_equal(got.wrong_fetched, want->wrong_fetched);
	assert_int_equal(got.wrong_cached, want->wrong_cached);
	assert_int_equal(got.memory_bytes, want->memory_bytes);
	assert_int_equal(got.on_disk, want->on_disk);
}

/* Proves: for one reader, whatever he reads and drops, in whatever memory, what is asked of the
 * origin and what is counted is what a plain list of the chunks used last says. */
static void memory_is_a_list_of_the_last_used(void **state)
{
	static const uint64_t memory[] = {1, CHUNK, 5 * CHUNK, 13 * CHUNK + 5, 1000 * CHUNK};

	(void)state;
	for (size_t round = 0; round < pfs_array_len(memory); round++) {
		struct origin *origin = make_origin(0, 0);
		struct pfs_chunk_cache *cache = open_cache(NULL, 0, memory[round], &messages);
		struct model *m = calloc(1, sizeof(*m));
		struct pfs_cached *files[MODEL_OBJECTS];
		uint64_t random = round;

		add_object(origin, 20 * CHUNK);
		add_object(origin, 5 * CHUNK + 123);
		add_object(origin, 1);
		m->memory_max = memory[round];
		for (unsigned i = 0; i < MODEL_OBJECTS; i++)
			files[i] = open_object(cache, origin, i);
		for (unsigned step = 0; step < 300; step++) {
			unsigned i = (random = pfs_mix64(random + step)) % MODEL_OBJECTS;
			const struct object *object = &origin->objects[i];
			uint64_t off = (random >> 8) % (object->size + 2);
			size_t len = random >> 40 & 1 ? (random >> 41) % (16 * CHUNK + 1)
						      : (random >> 41) % 3000;

			if (random >> 32 & 1)
				off = off / CHUNK * CHUNK;
			if (random >> 33 & 1)
				len = len / CHUNK * CHUNK;
			if ((random >> 34 & 7) == 0) {
				pfs_cached_drop(files[i], off, len);
				model_drop(m, origin, i, off, len);
			} else {
				assert_int_equal(read_right(files[i], object, off, len), 0);
				model_read(m, origin, i, off, len);
			}
			expect_stat(cache, &m->stat);
			assert_int_equal(origin->reads, m->stat.fetches);
			assert_int_equal(origin->read_bytes, m->stat.fetched_bytes);
		}
		for (unsigned i = 0; i < MODEL_OBJECTS; i++)
			pfs_cached_close(files[i]);
		assert_int_equal(origin->open_files, 0);
		pfs_chunk_cache_close(cache);
		free_origin(origin);
		free(m);
	}
}

/* Proves: without other wishes there is memory for so much, and a directory is none. */
static void defaults_are_used(void **state)
{
	const struct pfs_chunk_cache_options options = {.logger = {.fn = take_message,
								   .arg = &messages}},
					     many = {.threads = 1000,
						     .memory_max = 7,
						     .recency_ms = 3};
	struct pfs_chunk_cache *cache;
	void *data = &cache;
	size_t len = 5;

	(void)state;
	assert_int_equal(pfs_chunk_cache_open(&cache, &options), 0);
	assert_int_equal(cache->memory_max, PFS_CHUNK_MEMORY_DEFAULT);
	assert_int_equal(cache->threads_max, 8);
	assert_int_equal(cache->recency_ns, INT64_C(10000000000));
	assert_int_equal(pfs_chunk_cache_keep(cache, "a", "b", 1), 0);
	assert_int_equal(pfs_chunk_cache_keep(cache, "a/b", "b", 1), -EINVAL);
	assert_int_equal(pfs_chunk_cache_kept(cache, "a", &data, &len), -ENOENT);
	assert_true(!data && !len);
	assert_int_equal(pfs_chunk_cache_kept(cache, "", &data, &len), -EINVAL);
	pfs_chunk_cache_close(cache);
	assert_int_equal(pfs_chunk_cache_open(&cache, &many), 0);
	assert_int_equal(cache->memory_max, 7);
	assert_int_equal(cache->threads_max, PFS_PREFETCH_THREADS_MAX);
	assert_int_equal(cache->recency_ns, 3000000);
	pfs_chunk_cache_close(cache);
	pfs_chunk_cache_close(NULL);
	pfs_cached_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_a_list_of_the_last_used),
		cmocka_unit_test(defaults_are_used),
		cmocka_unit_test(ranges_are_right_and_asked_for_once),
		cmocka_unit_test(only_what_is_missing_is_asked_for),
		cmocka_unit_test(one_fetch_serves_all_who_wait),
		cmocka_unit_test(wrong_bytes_reach_nobody),
		cmocka_unit_test(a_replaced_object_is_read),
		cmocka_unit_test(errors_are_told_apart_and_pass),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(prefetching_asks_for_much_at_once),
		cmocka_unit_test(closing_waits_for_prefetches),
		cmocka_unit_test(closing_ends_prefetches),
		cmocka_unit_test(long_reads_are_fetched_in_parallel),
		cmocka_unit_test(dropped_chunks_come_anew),
		cmocka_unit_test(files_of_one_object_share),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(what_is_dropped_stays_with_its_reader),
		cmocka_unit_test(prefetching_is_bounded),
		cmocka_unit_test(prefetches_are_of_the_ranges_chunks),
		cmocka_unit_test(sizes_are_checked),
		cmocka_unit_test(names_of_one_hash_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
