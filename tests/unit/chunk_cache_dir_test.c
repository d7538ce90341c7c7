/* storage/chunk_cache.c and cache_dir.c: the cache directory, whatever becomes of it. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/chunk_cache_helpers.h"

static struct messages messages = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

static int64_t stopped_ns; /* the time, where it stands still; else 0 */

int clock_gettime(clockid_t id, struct timespec *t)
{
	if (!stopped_ns)
		return (int)syscall(SYS_clock_gettime, id, t);
	*t = (struct timespec){stopped_ns / 1000000000, stopped_ns % 1000000000};
	return 0;
}

struct place {
	char dir[64]; /* of the cache */
	char top[32];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	snprintf(place->top, sizeof(place->top), "/tmp/pfs-cache-XXXXXX");
	assert_non_null(mkdtemp(place->top));
	snprintf(place->dir, sizeof(place->dir), "%s/a/cache", place->top);
	messages.count = 0;
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", place->top);
	assert_int_equal(system(command), 0);
	free(place);
	return 0;
}

static void path_of(char *out, size_t size, const struct place *place, const struct object *object)
{
	snprintf(out, size, "%s/chunks/%s.c", place->dir, object->name);
}

/* Reads all of every object through a cache that is opened for it: how many were right; the others
 * gave the error. */
static unsigned read_all(const struct place *place, struct origin *origin, uint64_t size_max,
			 int err)
{
	/* Memory for one chunk: everything else comes from the directory or the origin. */
	struct pfs_chunk_cache *cache = open_cache(place->dir, size_max, CHUNK, &messages);
	unsigned right = 0;

	for (unsigned i = 0; i < origin->count; i++) {
		struct pfs_cached *file = open_object(cache, origin, i);
		const struct object *object = &origin->objects[i];

		for (uint64_t off = 0; off < object->size; off += CHUNK) {
			int result = read_right(file, object, off, CHUNK);

			if (!result)
				right++;
			else
				assert_int_equal(result, err);
		}
		pfs_cached_close(file);
	}
	pfs_chunk_cache_close(cache);
	return right;
}

/* Proves: what was fetched once is there at the next opening, without the origin. */
static void chunks_are_kept_between_openings(void **state)
{
	struct origin *origin = make_origin(3, 4 * CHUNK + 11);

	assert_int_equal(read_all(*state, origin, 0, 0), 15);
	assert_int_equal(origin->reads, 15);
	origin->err = -ETIMEDOUT;
	origin->fail_count = UINT32_MAX;
	assert_int_equal(read_all(*state, origin, 0, 0), 15);
	assert_int_equal(origin->reads, 15);
	assert_int_equal(messages.count, 0);
	free_origin(origin);
}

static void poke(const struct place *place, const struct object *object, uint64_t off, int what)
{
	uint8_t bytes[300];
	char path[128];
	int fd;

	path_of(path, sizeof(path), place, object);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	switch (what) {
	case 0: /* one bit */
		assert_int_equal(pread(fd, bytes, 1, (off_t)off), 1);
		bytes[0] ^= 0x10;
		assert_int_equal(pwrite(fd, bytes, 1, (off_t)off), 1);
		break;
	case 1: /* cut off there */ assert_int_equal(ftruncate(fd, (off_t)off), 0); break;
	case 2: /* zeros to the end */
		assert_int_equal(ftruncate(fd, (off_t)off), 0);
		assert_int_equal(ftruncate(fd, (off_t)object->size), 0);
		break;
	case 3: /* rubbish behind */
		memset(bytes, 0xa5, sizeof(bytes));
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), (off_t)off), sizeof(bytes));
		break;
	}
	close(fd);
}

/* Proves: whatever is changed in a cache file, by whoever, before or while it is open, the bytes
 * that are read are right, the origin is asked for what is damaged and nothing else, and the file
 * is mended. */
static void damaged_files_are_fetched_anew(void **state)
{
	const struct place *place = *state;
	struct origin *origin = make_origin(2, 4 * CHUNK + 11);
	const struct object *object = &origin->objects[1];
	static const struct {
		uint64_t off;
		int what;
		unsigned reads, wrong;
	} cases[] = {
		{0, 0, 1, 1},
		{CHUNK - 1, 0, 1, 1},
		{CHUNK, 0, 1, 1},
		{4 * CHUNK + 10, 0, 1, 1},
		{0, 1, 5, 0},
		{CHUNK, 1, 4, 0},
		{2 * CHUNK + 9, 1, 3, 1},
		{CHUNK, 2, 4, 0},
		{2 * CHUNK - 1, 2, 4, 1},
		{4 * CHUNK + 11, 3, 0, 0},
		{3 * CHUNK - 10, 3, 2, 2},
	};

	read_all(place, origin, 0, 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		unsigned reads = origin->reads;

		poke(place, object, cases[i].off, cases[i].what);
		messages.count = 0;
		assert_int_equal(read_all(place, origin, 0, 0), 10);
		assert_int_equal(origin->reads - reads, cases[i].reads);
		assert_int_equal(messages.count, cases[i].wrong ? 1 : 0);
		reads = origin->reads;
		assert_int_equal(read_all(place, origin, 0, 0), 10);
		assert_int_equal(origin->reads, reads);
	}
	free_origin(origin);
}

/* Proves: of damage within what is read at once the log says where the first is, once for each
 * file; counted are the chunks that are wrong, not those that were never there. */
static void damage_is_told_with_its_place(void **state)
{
	const struct place *place = *state;
	static const struct {
		uint64_t off, from;
		int what;
		uint64_t wrong, right,
			at; /* chunks, of those that are read; the first wrong byte */
	} cases[] = {
		{0, 0, 0, 1, 4, 0},
		{3 * CHUNK + 7, 0, 0, 1, 4, 3 * CHUNK},
		{3 * CHUNK + 7, CHUNK, 0, 1, 3, 3 * CHUNK},
		{4 * CHUNK, 2 * CHUNK, 0, 1, 2, 4 * CHUNK},
		{0, CHUNK, 0, 0, 4, 0},
		{2 * CHUNK, 0, 1, 0, 2, 0},
		{2 * CHUNK + 1, 0, 1, 1, 2, 2 * CHUNK},
		{2 * CHUNK + 9, CHUNK, 1, 1, 1, 2 * CHUNK},
		{2 * CHUNK, CHUNK, 2, 0, 1, 0},
		{2 * CHUNK + 9, CHUNK, 2, 1, 1, 2 * CHUNK},
		{3 * CHUNK - 10, CHUNK, 3, 2, 2, 2 * CHUNK},
	};
	struct origin *origin = make_origin(1, 4 * CHUNK + 11);
	const struct object *object = &origin->objects[0];

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_chunk_cache *cache;
		struct pfs_chunk_cache_stat stat;
		struct pfs_cached *file;
		char said[200] = "";

		assert_int_equal(read_all(place, origin, 0, 0), 5);
		poke(place, object, cases[i].off, cases[i].what);
		messages.count = 0;
		messages.last[0] = '\0';
		cache = open_cache(place->dir, 0, 0, &messages);
		file = open_object(cache, origin, 0);
		assert_int_equal(
			read_right(file, object, cases[i].from, object->size - cases[i].from), 0);
		pfs_chunk_cache_stat(cache, &stat);
		assert_int_equal(stat.wrong_cached, cases[i].wrong);
		assert_int_equal(stat.disk_hits, cases[i].right);
		if (cases[i].wrong)
			snprintf(
				said, sizeof(said),
				"cache file of page-0000.pfp is damaged at byte %llu: fetched anew",
				(unsigned long long)cases[i].at);
		assert_string_equal(messages.last, said);
		assert_int_equal(messages.count, !!cases[i].wrong);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
	}
	free_origin(origin);
}

/* Proves: of what is dropped no chunk more goes from the directory than the range lies in. */
static void only_what_is_dropped_goes(void **state)
{
	static const struct {
		uint64_t off, len;
		unsigned reads;
	} cases[] = {{0, 1, 1},
		     {CHUNK, 1, 1},
		     {2 * CHUNK - 1, 2, 2},
		     {CHUNK, CHUNK, 1},
		     {2 * CHUNK, 2 * CHUNK, 2},
		     {4 * CHUNK, 100, 1},
		     {CHUNK, 0, 0},
		     {5 * CHUNK, 9, 0}};
	struct origin *origin = make_origin(1, 4 * CHUNK + 11);

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_chunk_cache *cache;
		struct pfs_cached *file;
		unsigned reads;

		assert_int_equal(read_all(*state, origin, 0, 0), 5);
		reads = origin->reads;
		cache = open_cache(((struct place *)*state)->dir, 0, 0, &messages);
		file = open_object(cache, origin, 0);
		pfs_cached_drop(file, cases[i].off, cases[i].len);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
		assert_int_equal(read_all(*state, origin, 0, 0), 5);
		assert_int_equal(origin->reads - reads, cases[i].reads);
	}
	free_origin(origin);
}

/* Whether the file's use was noted since its time was set back. */
static bool is_touched(const struct place *place, const struct object *object)
{
	static const struct timespec old[2] = {{1000, 0}, {1000, 0}};
	struct stat st;
	char path[128];

	path_of(path, sizeof(path), place, object);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	return st.st_mtim.tv_sec != 1000;
}

/* Proves: that a file is used is noted when it is read first, and again not before the time for
 * that has passed. */
static void use_is_noted_now_and_then(void **state)
{
	static const struct {
		int64_t ns;
		bool is;
	} cases[] = {{5000000000, true}, {5000000001, false}, {5000999999, false},
		     {5001000000, true}, {5001999999, false}, {7000000000, true}};
	const struct place *place = *state;
	struct origin *origin = make_origin(1, 20 * CHUNK);
	const struct object *object = &origin->objects[0];
	struct pfs_chunk_cache *cache;
	struct pfs_cached *file;

	assert_int_equal(read_all(place, origin, 0, 0), 20);
	cache = open_cache(place->dir, 0, CHUNK, &messages);
	file = open_object(cache, origin, 0);
	(void)is_touched(place, object);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		stopped_ns = cases[i].ns;
		assert_int_equal(read_right(file, object, i * CHUNK, 10), 0);
		assert_int_equal(is_touched(place, object), cases[i].is);
	}
	stopped_ns = 0;
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: files of one name whose chunks are others, be it the last alone and of one byte, share
 * nothing. */
static void other_chunks_are_not_shared(void **state)
{
	static const uint64_t sizes[] = {1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(sizes); i++) {
		struct origin *origin = make_origin(1, sizes[i]);
		const struct object *object = &origin->objects[0];
		struct pfs_chunk_cache *cache = open_cache(NULL, 0, 0, &messages);
		struct pfs_cached *file = open_object(cache, origin, 0), *other;
		uint64_t last = (sizes[i] - 1) / CHUNK;
		uint32_t crcs[3];
		uint8_t byte;

		memcpy(crcs, object->crcs, (last + 1) * sizeof(crcs[0]));
		crcs[last]++;
		assert_int_equal(read_right(file, object, 0, sizes[i]), 0);
		assert_int_equal(
			pfs_cached_open(cache, &origin->base, object->name, sizes[i], crcs, &other),
			0);
		assert_true(pfs_cached_read(other, &byte, 1, sizes[i] - 1) < 0);
		pfs_cached_close(other);
		pfs_cached_close(file);
		pfs_chunk_cache_close(cache);
		free_origin(origin);
	}
}

/* Proves: damage that comes while the cache is open, behind chunks that were verified before, is
 * seen, too. */
static void damage_under_an_open_cache_is_seen(void **state)
{
	const struct place *place = *state;
	struct origin *origin = make_origin(1, 8 * CHUNK);
	const struct object *object = &origin->objects[0];
	struct pfs_chunk_cache *cache = open_cache(place->dir, 0, 2 * CHUNK, &messages);
	struct pfs_cached *file = open_object(cache, origin, 0);
	struct pfs_chunk_cache_stat stat;

	assert_int_equal(read_right(file, object, 0, 8 * CHUNK), 0);
	for (unsigned i = 0; i < 8; i++)
		poke(place, object, i * CHUNK + 77, 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(read_right(file, object, i * CHUNK, CHUNK), 0);
	pfs_chunk_cache_stat(cache, &stat);
	assert_true(stat.wrong_cached >= 6); /* two may still be in memory */
	assert_int_equal(messages.count, 1);
	pfs_cached_drop(file, 0, CHUNK);
	origin->reads = 0;
	assert_int_equal(read_right(file, object, 0, CHUNK), 0);
	assert_int_equal(origin->reads, 1); /* not from the directory */
	pfs_cached_close(file);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* Proves: a cache file that is a link, a pipe or a directory is not followed, waited for or
 * removed: everything is read from the origin. */
static void strange_files_are_left_alone(void **state)
{
	const struct place *place = *state;
	struct origin *origin = make_origin(3, 2 * CHUNK);
	char path[128], elsewhere[128];
	struct stat st;

	read_all(place, origin, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		path_of(path, sizeof(path), place, &origin->objects[i]);
		assert_int_equal(unlink(path), 0);
		snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", place->top);
		if (i == 0)
			assert_int_equal(symlink(elsewhere, path), 0);
		else if (i == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else
			assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(read_all(place, origin, 0, 0), 6);
	assert_int_equal(read_all(place, origin, 0, 0), 6);
	assert_int_equal(origin->reads, 18);
	assert_int_not_equal(stat(elsewhere, &st), 0);
	free_origin(origin);
}

static uint64_t disk_bytes(const struct place *place)
{
	char path[sizeof(place->dir) + 300];
	struct dirent *entry;
	uint64_t sum = 0;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/chunks", place->dir);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/chunks/%s", place->dir, entry->d_name);
		if (lstat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return sum;
}

/* Proves: the directory keeps to its bound; what goes is what was not used for the longest time;
 * nothing goes that is not the cache's own. */
static void the_directory_is_bounded(void **state)
{
	const struct place *place = *state;
	struct origin *origin = make_origin(16, 4 * CHUNK);
	const uint64_t size_max = 24 * CHUNK;
	struct pfs_chunk_cache *cache = open_cache(place->dir, size_max, CHUNK, &messages);
	struct pfs_chunk_cache_stat stat;
	char foreign[128];
	size_t kept_len;
	void *kept;
	int fd;

	snprintf(foreign, sizeof(foreign), "%s/chunks/precious.txt", place->dir);
	fd = open(foreign, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < 16; i++) {
		const struct timespec tick = {.tv_nsec = 12000000}; /* the clock of files */
		struct pfs_cached *file = open_object(cache, origin, i);
		struct pfs_cached *first = open_object(cache, origin, 0);

		assert_int_equal(read_right(file, &origin->objects[i], 0, 4 * CHUNK), 0);
		nanosleep(&tick, NULL);
		assert_int_equal(read_right(first, &origin->objects[0], 0, CHUNK), 0);
		assert_true(disk_bytes(place) <= size_max + size_max / 32 + 4 * CHUNK);
		nanosleep(&tick, NULL);
		pfs_cached_close(file);
		pfs_cached_close(first);
	}
	pfs_chunk_cache_stat(cache, &stat);
	assert_true(stat.evicted >= 10);
	/* The first, used all the time, and the last are there; the second is not. */
	origin->reads = 0;
	for (unsigned i = 0; i < 16; i++) {
		struct pfs_cached *file;

		if (i > 1 && i < 15)
			continue;
		file = open_object(cache, origin, i);
		assert_int_equal(read_right(file, &origin->objects[i], CHUNK, CHUNK), 0);
		pfs_cached_close(file);
		assert_int_equal(origin->reads, i == 0 ? 0 : 1);
	}
	pfs_chunk_cache_close(cache);
	assert_int_equal(access(foreign, F_OK), 0);
	/* A lower bound holds from the next opening on. */
	cache = open_cache(place->dir, 8 * CHUNK, CHUNK, &messages);
	assert_true(disk_bytes(place) <= 8 * CHUNK);
	/* Small files that are kept whole count as well, and go. */
	kept = calloc(9, CHUNK);
	assert_int_equal(pfs_chunk_cache_keep(cache, "kept", kept, 9 * CHUNK), 0);
	pfs_chunk_cache_close(cache);
	free(kept);
	cache = open_cache(place->dir, 8 * CHUNK, CHUNK, &messages);
	assert_true(disk_bytes(place) <= 8 * CHUNK);
	assert_int_equal(pfs_chunk_cache_kept(cache, "kept", &kept, &kept_len), -ENOENT);
	pfs_chunk_cache_close(cache);
	free_origin(origin);
}

/* In a process of its own: reads objects at random until it is told to end, or so often. */
static void read_at_random(const struct place *place, struct origin *origin, uint64_t size_max,
			   unsigned seed, unsigned times, int tell)
{
	struct pfs_chunk_cache *cache = open_cache(place->dir, size_max, 4 * CHUNK, &messages);
	struct pfs_cached *files[OBJECTS_MAX];
	uint64_t x = seed;

	for (unsigned i = 0; i < origin->count; i++)
		files[i] = open_object(cache, origin, i);
	for (unsigned n = 0; n < times; n++) {
		unsigned i;
		uint64_t off;
		uint8_t buf[1000];
		ssize_t got;

		x = pfs_mix64(x + n);
		i = (unsigned)(x % origin->count);
		off = (x >> 20) % origin->objects[i].size;
		got = pfs_cached_read(files[i], buf, sizeof(buf), off);
		if (got < 0 || memcmp(buf, origin->objects[i].bytes + off, (size_t)got) != 0)
			_exit(1);
		if (tell >= 0 && write(tell, "", 1) != 1)
			_exit(2);
	}
	for (unsigned i = 0; i < origin->count; i++)
		pfs_cached_close(files[i]);
	pfs_chunk_cache_close(cache);
	_exit(0);
}

/* Proves: processes that share a directory that is too small for what they read, each removing what
 * the others use, read nothing wrong. */
static void processes_share_a_directory(void **state)
{
	struct origin *origin = make_origin(12, 3 * CHUNK + 5);
	pid_t children[4];
	int status;

	for (unsigned i = 0; i < 4; i++) {
		children[i] = fork();
		if (children[i] == 0)
			read_at_random(*state, origin, 20 * CHUNK, i + 1, 3000, -1);
		assert_true(children[i] > 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(read_all(*state, origin, 0, 0), 12 * 4);
	free_origin(origin);
}

/* Proves: after kill -9 at any moment what the directory has is right, and it goes on being used.
 */
static void a_killed_process_leaves_a_right_cache(void **state)
{
	struct origin *origin = make_origin(12, 3 * CHUNK + 5);

	for (unsigned round = 0; round < 30; round++) {
		int ends[2], status;
		char bytes[64];
		unsigned seen = 0, wanted = 1 + 7 * round;
		pid_t child;

		assert_int_equal(pipe(ends), 0);
		child = fork();
		if (child == 0) {
			close(ends[0]);
			read_at_random(*state, origin, 30 * CHUNK, round, UINT32_MAX, ends[1]);
		}
		close(ends[1]);
		while (seen < wanted) {
			ssize_t n = read(ends[0], bytes, sizeof(bytes));

			assert_true(n > 0);
			seen += (unsigned)n;
		}
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		close(ends[0]);
		/* Each chunk is right or not there. */
		origin->err = -ETIMEDOUT;
		origin->fail_count = UINT32_MAX;
		(void)read_all(*state, origin, 0, -EIO);
		origin->fail_count = 0;
	}
	assert_int_equal(read_all(*state, origin, 0, 0), 12 * 4);
	free_origin(origin);
}

/* Proves: where there can be no directory, or none for this user alone, that is said once, and
 * everything works from memory. */
static void without_directory_memory_serves(void **state)
{
	const struct place *place = *state;
	struct origin *origin = make_origin(2, 3 * CHUNK);
	struct pfs_chunk_cache *cache;
	struct pfs_chunk_cache_stat stat;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/a", place->top);
	fd = open(path, O_RDWR | O_CREAT, 0600); /* a file where the directory should be */
	assert_true(fd >= 0);
	close(fd);
	for (int open_to_others = 0; open_to_others < 2; open_to_others++) {
		messages.count = 0;
		cache = open_cache(place->dir, 0, 0, &messages);
		assert_int_equal(messages.count, 1);
		assert_non_null(strstr(messages.last, place->dir));
		origin->reads = 0;
		for (unsigned i = 0; i < 4; i++) {
			struct pfs_cached *file = open_object(cache, origin, i % 2);

			assert_int_equal(read_right(file, &origin->objects[i % 2], 0, 3 * CHUNK),
					 0);
			pfs_cached_close(file);
		}
		assert_int_equal(messages.count, 1);
		pfs_chunk_cache_stat(cache, &stat);
		assert_false(stat.on_disk);
		pfs_chunk_cache_close(cache);
		if (!open_to_others) {
			assert_int_equal(unlink(path), 0);
			snprintf(path, sizeof(path), "%s/chunks", place->dir);
			cache = open_cache(place->dir, 0, 0, &messages);
			pfs_chunk_cache_close(cache);
			assert_int_equal(chmod(path, 0777), 0);
		}
	}
	free_origin(origin);
}

/* Proves: a directory that takes no more is no error of reading; that is said once. */
static void a_full_disk_hinders_no_reader(void **state)
{
	struct origin *origin = make_origin(3, 4 * CHUNK);
	int status;
	pid_t child = fork();

	if (child == 0) {
		const struct rlimit limit = {.rlim_cur = CHUNK + 100, .rlim_max = CHUNK + 100};
		unsigned right;

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		right = read_all(*state, origin, 0, 0);
		_exit(right == 12 && messages.count >= 1 && messages.count <= 3 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(read_all(*state, origin, 0, 0), 12);
	free_origin(origin);
}

/* Proves: small files are kept whole or not at all, and the last one put counts. */
static void whole_files_are_kept(void **state)
{
	const struct place *place = *state;
	struct pfs_chunk_cache *cache = open_cache(place->dir, 0, 0, &messages);
	struct pfs_chunk_cache *none = open_cache(NULL, 0, 0, &messages);
	char path[128];
	void *data;
	size_t len;
	int fd;

	assert_int_equal(pfs_chunk_cache_kept(cache, "current-1", &data, &len), -ENOENT);
	assert_int_equal(pfs_chunk_cache_keep(cache, "current-1", "generation one", 14), 0);
	assert_int_equal(pfs_chunk_cache_keep(cache, "current-1", "two", 3), 0);
	assert_int_equal(pfs_chunk_cache_keep(cache, "empty", "", 0), 0);
	assert_int_equal(pfs_chunk_cache_kept(cache, "current-1", &data, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "two", 3);
	free(data);
	assert_int_equal(pfs_chunk_cache_kept(cache, "empty", &data, &len), 0);
	assert_int_equal(len, 0);
	assert_non_null(data);
	free(data);
	assert_int_equal(pfs_chunk_cache_keep(cache, "../x", "two", 3), -EINVAL);
	assert_int_equal(pfs_chunk_cache_kept(cache, "../x", &data, &len), -EINVAL);
	snprintf(path, sizeof(path), "%s/chunks/current-1.k", place->dir);
	for (off_t off = 0; off < 11; off++) {
		uint8_t byte;

		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, off), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, off), 1);
		assert_int_equal(pfs_chunk_cache_kept(cache, "current-1", &data, &len), -ENOENT);
		assert_null(data);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, off), 1);
		close(fd);
	}
	assert_int_equal(truncate(path, 10), 0);
	assert_int_equal(pfs_chunk_cache_kept(cache, "current-1", &data, &len), -ENOENT);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(pfs_chunk_cache_kept(cache, "current-1", &data, &len), -ENOENT);
	assert_int_equal(pfs_chunk_cache_keep(none, "current-1", "two", 3), 0);
	assert_int_equal(pfs_chunk_cache_kept(none, "current-1", &data, &len), -ENOENT);
	pfs_chunk_cache_close(none);
	pfs_chunk_cache_close(cache);
}

#define placed(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		placed(chunks_are_kept_between_openings),
		placed(damaged_files_are_fetched_anew),
		placed(damage_is_told_with_its_place),
		placed(only_what_is_dropped_goes),
		placed(use_is_noted_now_and_then),
		placed(other_chunks_are_not_shared),
		placed(damage_under_an_open_cache_is_seen),
		placed(strange_files_are_left_alone),
		placed(the_directory_is_bounded),
		placed(processes_share_a_directory),
		placed(a_killed_process_leaves_a_right_cache),
		placed(without_directory_memory_serves),
		placed(a_full_disk_hinders_no_reader),
		placed(whole_files_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
