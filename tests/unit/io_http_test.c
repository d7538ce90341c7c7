/* storage/io_http.c: the HTTP backend, with a server that goes wrong in every way. */
#include "tests/unit/http_server.h"

#include "storage/io_http.h"

#define FILE_LEN 200000
#define TIMEOUT_MS 1200u
/* Of calls that are to end within TIMEOUT_MS, on a machine that may be busy. */
#define ENOUGH_S 20

static uint8_t file_bytes[FILE_LEN];

struct messages {
	pthread_mutex_t lock;
	unsigned count;
	char last[PFS_LOG_LINE_MAX];
};

static void take_message(void *arg, enum pfs_log_level level, const char *line)
{
	struct messages *m = arg;

	(void)level;
	pthread_mutex_lock(&m->lock);
	m->count++;
	snprintf(m->last, sizeof(m->last), "%s", line);
	pthread_mutex_unlock(&m->lock);
}

static struct messages messages = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

static unsigned timeout_ms = TIMEOUT_MS;

static struct pfs_dir *open_at(const char *location)
{
	const struct pfs_http_options options = {.timeout_ms = timeout_ms,
						 .logger = {.fn = take_message, .arg = &messages}};
	struct pfs_io http;
	const struct pfs_io *io = pfs_io_for(location, &options, &http);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, location, 0, &dir), 0);
	return dir;
}

static struct pfs_dir *open_dir(const struct server *s)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/d/", s->port);
	return open_at(url);
}

static struct server *new_server(void)
{
	struct server *s = server_new();

	for (size_t i = 0; i < FILE_LEN; i++)
		file_bytes[i] = (uint8_t)pfs_mix64(i);
	server_put(s, "/d/file", file_bytes, FILE_LEN);
	server_put(s, "/d/small", "twelve bytes", 12);
	server_put(s, "/d/empty", "", 0);
	return s;
}

static struct pfs_file *open_file(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, 0, &file), 0);
	return file;
}

/* Right bytes, or an error; through a handle of its own. */
static int read_part(struct pfs_dir *dir, uint64_t off, size_t len)
{
	uint8_t *buf = malloc(len + 1);
	struct pfs_file *file = open_file(dir, "file");
	ssize_t n = file->ops->read(file, buf, len, off);

	if (n >= 0) {
		assert_int_equal(n, off < FILE_LEN ? pfs_min_u64(len, FILE_LEN - off) : 0);
		assert_memory_equal(buf, file_bytes + (n ? off : 0), (size_t)n);
	}
	file->ops->close(file);
	free(buf);
	return n < 0 ? (int)n : 0;
}

/* Proves: opening asks nothing, a read is one request for exactly its range, short only at the end,
 * and size is that of the file. */
static void reads_are_ranges(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
	} parts[] = {{0, 1},
		     {0, FILE_LEN},
		     {5, 1000},
		     {FILE_LEN - 1, 1},
		     {FILE_LEN - 1, 9},
		     {0, 2 * FILE_LEN},
		     {FILE_LEN, 5},
		     {FILE_LEN + 77, 5}};
	struct server *s = new_server();
	struct pfs_dir *dir = open_dir(s);
	struct pfs_file *file = open_file(dir, "file");
	uint64_t size;
	char byte;

	(void)state;
	assert_int_equal(server_requests(s), 0);
	for (size_t i = 0; i < pfs_array_len(parts); i++) {
		assert_int_equal(read_part(dir, parts[i].off, parts[i].len), 0);
		assert_int_equal(server_requests(s), i + 1);
	}
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, FILE_LEN);
	file->ops->close(file);
	file = open_file(dir, "empty");
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(file->ops->read(file, &byte, 1, 0), 0);
	file->ops->close(file);
	file = open_file(dir, "nothing");
	messages.count = 0;
	assert_int_equal(file->ops->size(file, &size), -ENOENT);
	assert_int_equal(file->ops->read(file, &byte, 1, 0), -ENOENT);
	assert_int_equal(messages.count, 0); /* whether that is bad, others know */
	file->ops->close(file);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: whatever goes wrong once, or twice where that can be waited out, hinders nobody; what
 * goes on being wrong is, within the time allowed, an error whose reason the log says, and never a
 * wrong byte; and when it is over, reading works. */
static void faults_end_in_time_with_their_reason(void **state)
{
	static const struct {
		enum server_fault fault;
		int err;	    /* of one that goes on */
		unsigned passing;   /* so many of them are not noticed */
		unsigned tries_max; /* 0: as many as there is time for, and more than one */
		const char *reason;
	} cases[] = {
		{FAULT_RESET, -EIO, 3, 0, ""},
		{FAULT_CLOSE, -EIO, 3, 0, ""},
		{FAULT_GARBAGE, -EIO, 1, 0, ""},
		{FAULT_503, -EIO, 3, 0, "HTTP 503"},
		{FAULT_429, -EIO, 1, 0, "asks to wait (HTTP 429)"},
		{FAULT_403, -EACCES, 0, 1, "refuses (HTTP 403, NotForYou)"},
		{FAULT_400, -EIO, 0, 1, "HTTP 400"},
		{FAULT_WHOLE, -EIO, 1, 2, "does not serve ranges"},
		{FAULT_SHORT_RANGE, -EIO, 1, 2, "asked for bytes 100-50099, the server sent only"},
		{FAULT_WRONG_RANGE, -EIO, 1, 2, "the server sent 101-50100"},
		{FAULT_MORE, -EIO, 1, 2, "and more"},
		{FAULT_FEWER, -EIO, 3, 0, "and sent 49999"},
		{FAULT_CUT, -EIO, 3, 0, "cut off"},
		{FAULT_NO_RANGE, -EIO, 1, 2, "did not say which"},
		{FAULT_MAD_RANGE, -EIO, 1, 2, "did not say which"},
		{FAULT_SILENT, -EIO, 1, 0, "no answer in time"},
		{FAULT_STALL, -EIO, 1, 0, "stalled"},
		{FAULT_TRICKLE, -EIO, 0, 0, ""},
		{FAULT_REDIRECT, 0, 1, 1, NULL},
		{FAULT_REDIRECT_LOOP, -EIO, 0, 99, "redirect"},
		{FAULT_HUGE_HEADER, -EIO, 1, 0, ""},
	};
	struct server *s = new_server();

	(void)state;
	server_put(s, "/d/loop", "x", 1);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_dir *dir = open_dir(s);
		struct timespec before, after;

		server_fault(s, cases[i].fault, cases[i].passing);
		messages.count = 0;
		if (read_part(dir, 100, 50000) != 0)
			fail_msg("case %zu, passing: %s", i, messages.last);
		if (!cases[i].reason) {
			dir->ops->close_dir(dir);
			continue;
		}
		assert_int_equal(messages.count, 0);
		server_fault(s, cases[i].fault, UINT32_MAX);
		clock_gettime(CLOCK_MONOTONIC, &before);
		assert_int_equal(read_part(dir, 100, 50000), cases[i].err);
		clock_gettime(CLOCK_MONOTONIC, &after);
		assert_true(after.tv_sec - before.tv_sec < ENOUGH_S);
		if (cases[i].tries_max)
			assert_true(server_requests(s) <= cases[i].tries_max);
		assert_int_equal(messages.count, 1);
		if (!strstr(messages.last, cases[i].reason) || !strstr(messages.last, "/d/file: "))
			fail_msg("case %zu: %s", i, messages.last);
		server_fault(s, FAULT_NONE, 0);
		assert_int_equal(read_part(dir, 100, 50000), 0);
		dir->ops->close_dir(dir);
	}
	server_free(s);
}

/* Proves: a server that is gone is an error in time; the calls after the first do not try again and
 * again; when it is back, it is used. */
static void a_server_may_go_and_come_back(void **state)
{
	struct server *s = new_server();
	struct pfs_dir *dir = open_dir(s);

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(read_part(dir, 0, 100), 0);
		server_stop(s);
		messages.count = 0;
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(read_part(dir, 0, 100), -EIO);
		assert_true(messages.count == 5 || round > 0); /* then they are too many */
		server_start(s);
		assert_int_equal(read_part(dir, 0, 100), 0);
	}
	server_fault(s, FAULT_503, UINT32_MAX);
	assert_int_equal(read_part(dir, 0, 100), -EIO);
	assert_true(server_requests(s) > 2);
	for (unsigned i = 0; i < 5; i++) {
		server_fault(s, FAULT_503, UINT32_MAX);
		assert_int_equal(read_part(dir, 0, 100), -EIO);
		assert_int_equal(server_requests(s), 1);
	}
	server_fault(s, FAULT_NONE, 0);
	assert_int_equal(read_part(dir, 0, 100), 0);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: a handle shows one version of a file; when the server has another, its reads say so, and
 * a new handle shows that one. */
static void a_handle_is_one_version(void **state)
{
	struct server *s = new_server();
	struct pfs_dir *dir = open_dir(s);
	struct pfs_file *file = open_file(dir, "small");
	char buf[20];

	(void)state;
	assert_int_equal(file->ops->read(file, buf, 6, 0), 6);
	server_put(s, "/d/small", "thirteen bytes", 14);
	messages.count = 0;
	assert_int_equal(file->ops->read(file, buf, 6, 6), -ESTALE);
	assert_non_null(strstr(messages.last, "its ETag was \"v1\", now it is \"v2\""));
	assert_int_equal(file->ops->read(file, buf, 6, 6), -ESTALE);
	file->ops->close(file);
	file = open_file(dir, "small");
	assert_int_equal(file->ops->read(file, buf, 20, 0), 14);
	assert_memory_equal(buf, "thirteen bytes", 14);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: a server without ranges serves files that are asked for whole. */
static void small_files_need_no_ranges(void **state)
{
	struct server *s = new_server();
	struct pfs_dir *dir = open_dir(s);
	struct pfs_file *file = open_file(dir, "small");
	char buf[20];

	(void)state;
	server_fault(s, FAULT_WHOLE, UINT32_MAX);
	assert_int_equal(file->ops->read(file, buf, 20, 0), 12);
	assert_memory_equal(buf, "twelve bytes", 12);
	assert_int_equal(file->ops->read(file, buf, 12, 0), 12);
	assert_int_equal(file->ops->read(file, buf, 11, 0), -EIO);
	assert_int_equal(file->ops->read(file, buf, 11, 1), -EIO);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	server_free(s);
}

struct reader {
	struct pfs_dir *dir;
	uint64_t off;
	int err;
	pthread_t thread;
};

static void *read_in_thread(void *arg)
{
	struct reader *reader = arg;

	reader->err = read_part(reader->dir, reader->off, 3000);
	return NULL;
}

#define READERS 40
#define AT_ONCE 16

/* Proves: many requests are under way at once, and more than connections are served. */
static void many_requests_at_once(void **state)
{
	struct server *s = new_server();
	struct reader readers[READERS];
	struct pfs_dir *dir;

	(void)state;
	timeout_ms = 60000;
	dir = open_dir(s);
	timeout_ms = TIMEOUT_MS;
	pthread_mutex_lock(&s->lock);
	s->shut = true;
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.dir = dir, .off = 4000 * i};
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_in_thread, &readers[i]), 0);
	}
	pthread_mutex_lock(&s->lock);
	while (s->waiting < AT_ONCE)
		pthread_cond_wait(&s->changed, &s->lock);
	s->shut = false;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].err, 0);
	}
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: nothing of a plain server can be changed, and what it can't do is refused. */
static void plain_servers_are_read_only(void **state)
{
	static const char *const odd[] = {"", ".", "..", "a/b", "a b", "a?b", "%41", "a\n"};
	struct server *s = new_server();
	struct pfs_dir *dir = open_dir(s);
	const struct pfs_io *io = pfs_io_for("http://x", NULL, NULL);
	struct pfs_file *file;
	struct pfs_dir *none;
	const uint8_t *map;

	(void)state;
	assert_true(dir->ops->whole_files);
	assert_int_equal(io->ops->open_dir(io, "http://x/", PFS_IO_CREATE, &none), -EROFS);
	assert_null(none);
	assert_int_equal(dir->ops->open(dir, "file", PFS_IO_WRITE, &file), -EROFS);
	assert_int_equal(dir->ops->open(dir, "file", PFS_IO_CREATE, &file), -EROFS);
	assert_null(file);
	for (size_t i = 0; i < pfs_array_len(odd); i++)
		assert_int_equal(dir->ops->open(dir, odd[i], 0, &file), -EINVAL);
	assert_int_equal(dir->ops->unlink(dir, "file"), -EROFS);
	assert_int_equal(dir->ops->rename(dir, "file", "b"), -EOPNOTSUPP);
	assert_int_equal(dir->ops->list(dir, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(dir->ops->lock(dir, "lock", false), -EOPNOTSUPP);
	file = open_file(dir, "file");
	assert_int_equal(file->ops->write(file, "x", 1, 0), -EBADF);
	assert_int_equal(file->ops->truncate(file, 0), -EBADF);
	assert_int_equal(file->ops->map(file, 1, &map), -EOPNOTSUPP);
	assert_int_equal(file->ops->sync(file), 0);
	file->ops->close(file);
	assert_int_equal(server_requests(s), 0);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* ---- S3 ---- */

static struct pfs_dir *open_bucket(const struct server *s, const char *location)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d", s->port);
	setenv("AWS_ENDPOINT_URL", url, 1);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_S3_ADDRESSING_STYLE");
	unsetenv("AWS_ENDPOINT_URL_S3");
	return open_at(location);
}

/* Proves: a file that is made is there after sync, whole, and not before; a failed upload is an
 * error, leaves what was there, and can be tried again. */
static void uploads_are_whole(void **state)
{
	struct server *s = server_new();
	struct pfs_dir *dir = open_bucket(s, "s3://bucket/a/b");
	struct pfs_file *file, *other;
	uint64_t size;
	uint8_t *buf = malloc(FILE_LEN);

	(void)state;
	for (size_t i = 0; i < FILE_LEN; i++)
		file_bytes[i] = (uint8_t)pfs_mix64(i);
	assert_int_equal(dir->ops->open(dir, "page", PFS_IO_CREATE | PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->write(file, file_bytes + 1000, FILE_LEN - 1000, 1000), 0);
	assert_int_equal(file->ops->write(file, file_bytes, 1000, 0), 0);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, FILE_LEN);
	assert_int_equal(file->ops->read(file, buf, FILE_LEN, 0), FILE_LEN);
	assert_memory_equal(buf, file_bytes, FILE_LEN);
	assert_int_equal(server_requests(s), 0);
	server_fault(s, FAULT_403, 1);
	assert_int_equal(file->ops->sync(file), -EACCES);
	assert_int_equal(s->file_count, 0);
	server_fault(s, FAULT_503, 2); /* passes */
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(server_requests(s), 3);
	assert_non_null(server_find(s, "/bucket/a/b/page", false));
	assert_int_equal(file->ops->sync(file), 0); /* nothing new */
	assert_int_equal(server_requests(s), 3);
	other = open_file(dir, "page");
	assert_int_equal(other->ops->read(other, buf, FILE_LEN, 0), FILE_LEN);
	assert_memory_equal(buf, file_bytes, FILE_LEN);
	other->ops->close(other);
	file->ops->close(file);
	assert_int_equal(
		dir->ops->open(dir, "page", PFS_IO_CREATE | PFS_IO_WRITE | PFS_IO_EXCL, &file),
		-EEXIST);
	assert_int_equal(
		dir->ops->open(dir, "new", PFS_IO_CREATE | PFS_IO_WRITE | PFS_IO_EXCL, &file), 0);
	file->ops->close(file); /* never synced: never there */
	assert_null(server_find(s, "/bucket/a/b/new", false));
	assert_int_equal(dir->ops->unlink(dir, "page"), 0);
	assert_null(server_find(s, "/bucket/a/b/page", false));
	free(buf);
	dir->ops->close_dir(dir);
	server_free(s);
}

#define CHANGED "/bucket/file"

/* Opens it to replace what is there, which is read as `was` (NULL: there is none). */
static struct pfs_file *open_unchanged(struct pfs_dir *dir, const char *was)
{
	const unsigned flags = PFS_IO_CREATE | PFS_IO_WRITE | PFS_IO_UNCHANGED;
	struct pfs_file *file;
	uint64_t size;
	char buf[32];

	assert_int_equal(dir->ops->open(dir, "file", flags, &file), 0);
	assert_int_equal(file->ops->size(file, &size), was ? 0 : -ENOENT);
	if (was) {
		assert_int_equal(size, strlen(was));
		assert_int_equal(file->ops->read(file, buf, sizeof(buf), 0), size);
		assert_memory_equal(buf, was, size);
	}
	return file;
}

static void replace(struct server *s, struct pfs_file *file, const char *text, int expected)
{
	char buf[32];

	assert_int_equal(file->ops->write(file, text, strlen(text), 0), 0);
	assert_int_equal(file->ops->read(file, buf, sizeof(buf), 0), strlen(text));
	messages.count = 0;
	assert_int_equal(file->ops->sync(file), expected);
	assert_int_equal(messages.count, 0);
	if (!expected)
		assert_memory_equal(server_find(s, CHANGED, false)->bytes, text, strlen(text));
	file->ops->close(file);
}

/* Proves: what was read before is replaced only while it is what is there, and nothing while
 * nothing is, where the server knows conditions; else it is replaced all the same. */
static void only_what_was_read_is_replaced(void **state)
{
	struct server *s = server_new();
	struct pfs_dir *dir = open_bucket(s, "s3://bucket/");
	struct pfs_file *file;

	(void)state;
	/* Nothing is there, and stays so, or not. */
	replace(s, open_unchanged(dir, NULL), "first", 0);
	assert_non_null(strcasestr(s->last, "\r\nIf-None-Match: *\r\n"));
	assert_int_equal(dir->ops->unlink(dir, "file"), 0);
	file = open_unchanged(dir, NULL);
	server_put(s, CHANGED, "other", 5);
	replace(s, file, "mine", -ESTALE);
	assert_memory_equal(server_find(s, CHANGED, false)->bytes, "other", 5);

	/* Something is. */
	replace(s, open_unchanged(dir, "other"), "second", 0);
	assert_non_null(strcasestr(s->last, "\r\nIf-Match: \"v"));
	file = open_unchanged(dir, "second");
	server_put(s, CHANGED, "second", 6); /* the same bytes are another version */
	replace(s, file, "mine", -ESTALE);
	file = open_unchanged(dir, "second");
	assert_int_equal(dir->ops->unlink(dir, "file"), 0);
	replace(s, file, "mine", -ESTALE);
	assert_null(server_find(s, CHANGED, false));

	/* The second sync replaces what the first one made. */
	file = open_unchanged(dir, NULL);
	assert_int_equal(file->ops->write(file, "a", 1, 0), 0);
	assert_int_equal(file->ops->sync(file), 0);
	replace(s, file, "b", 0);

	/* Without changes nothing is uploaded, and what was not read is replaced whatever it is. */
	file = open_unchanged(dir, "b");
	server_fault(s, FAULT_NONE, 0);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(server_requests(s), 0);
	file->ops->close(file);
	assert_int_equal(dir->ops->open(dir, "file", PFS_IO_CREATE | PFS_IO_WRITE, &file), 0);
	replace(s, file, "c", 0);
	assert_null(strcasestr(s->last, "\r\nIf-"));

	/* Servers that can't tell. */
	file = open_unchanged(dir, "c");
	server_fault(s, FAULT_501, 1);
	replace(s, file, "d", 0);
	assert_int_equal(server_requests(s), 2);
	s->heedless = true;
	replace(s, open_unchanged(dir, "d"), "e", 0);
	s->heedless = false;
	s->weak = true;
	replace(s, open_unchanged(dir, "e"), "f", 0);
	assert_null(strcasestr(s->last, "\r\nIf-"));
	dir->ops->close_dir(dir);
	server_free(s);
}

struct names {
	unsigned count;
	char last[64];
	unsigned stop_at;
};

static int take_name(void *arg, const char *name)
{
	struct names *names = arg;

	names->count++;
	snprintf(names->last, sizeof(names->last), "%s", name);
	return names->count == names->stop_at ? -EDOM : 0;
}

/* Proves: a list has the names of the prefix alone, from all its pages. */
static void lists_have_all_pages(void **state)
{
	struct server *s = server_new();
	struct pfs_dir *dir = open_bucket(s, "s3://bucket/a/b/");
	struct names names = {0};

	(void)state;
	s->list_page = 3;
	server_put(s, "/bucket/a/bc", "x", 1);
	server_put(s, "/bucket/a/b/deeper/file", "x", 1);
	server_put(s, "/bucket/a/b/", "x", 1);
	assert_int_equal(dir->ops->list(dir, take_name, &names), 0);
	assert_int_equal(names.count, 0);
	for (unsigned i = 0; i < 10; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/bucket/a/b/file-%u", i);
		server_put(s, path, "x", 1);
	}
	server_fault(s, FAULT_NONE, 0);
	assert_int_equal(dir->ops->list(dir, take_name, &names), 0);
	assert_int_equal(names.count, 10);
	assert_string_equal(names.last, "file-9");
	assert_int_equal(server_requests(s), 4);
	names = (struct names){.stop_at = 5};
	assert_int_equal(dir->ops->list(dir, take_name, &names), -EDOM);
	assert_int_equal(names.count, 5);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: a list that is none, or longer than any, is an error whose reason is said, and so is a
 * file of which the server does not say how long it is; when it does again all is well. */
static void answers_that_say_nothing_are_refused(void **state)
{
	static const struct {
		enum server_fault fault;
		const char *why;
	} cases[] = {
		{FAULT_NO_LIST, "the server's list can't be read"},
		{FAULT_LONG, "the answer is longer than 8388608 bytes"},
		{FAULT_NO_LENGTH, "the server's list can't be read"},
	};
	struct server *s = server_new();
	struct pfs_dir *dir = open_bucket(s, "s3://bucket/a/b/");
	struct names names = {0};
	struct pfs_file *file;
	uint64_t size;

	(void)state;
	server_put(s, "/bucket/a/b/file", "x", 1);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		messages.count = 0;
		server_fault(s, cases[i].fault, 1000);
		assert_int_equal(dir->ops->list(dir, take_name, &names), -EIO);
		assert_non_null(strstr(messages.last, cases[i].why));
	}
	assert_int_equal(names.count, 0);
	assert_int_equal(dir->ops->open(dir, "file", 0, &file), 0);
	server_fault(s, FAULT_NO_LENGTH, 1000);
	assert_int_equal(file->ops->size(file, &size), -EIO);
	assert_non_null(strstr(messages.last, "the server does not say how long it is"));
	server_fault(s, FAULT_NONE, 0);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 1);
	assert_int_equal(dir->ops->list(dir, take_name, &names), 0);
	assert_int_equal(names.count, 1);
	dir->ops->close(file);
	dir->ops->close_dir(dir);
	server_free(s);
}

/* Proves: what a server has no word for is refused as such, also where nobody has said how long to
 * wait; what asks for nothing gets it without a request, and what no file has is none. */
static void servers_have_no_words_for_it(void **state)
{
	const struct pfs_http_options hurried = {.timeout_ms = 1,
						 .logger = {.fn = take_message, .arg = &messages}};
	struct server *s = new_server();
	struct pfs_io_space space = {.total = 5};
	struct pfs_io http = {0};
	const struct pfs_io *io = pfs_io_for("http://x", NULL, &http);
	const uint8_t *map = file_bytes;
	struct pfs_file *file;
	struct pfs_dir *dir;
	char url[64];
	uint8_t byte;

	(void)state;
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/d/", s->port);
	assert_int_equal(io->ops->open_dir(io, url, 0, &dir), 0);
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	assert_int_equal(dir->ops->lock(dir, "lock", true), -EOPNOTSUPP);
	assert_int_equal(dir->ops->space(dir, &space), -EOPNOTSUPP);
	assert_int_equal(space.total, 0);
	assert_int_equal(dir->ops->rename(dir, "file", "other"), -EOPNOTSUPP);
	file = open_file(dir, "file");
	assert_int_equal(file->ops->allocate(file, 0, 1), -EOPNOTSUPP);
	assert_int_equal(file->ops->punch(file, 0, 1), -EOPNOTSUPP);
	assert_int_equal(file->ops->map(file, 1, &map), -EOPNOTSUPP);
	assert_null(map);
	file->ops->unmap(file, map, 1);
	assert_int_equal(file->ops->write(file, "x", 1, 0), -EBADF);
	assert_int_equal(file->ops->truncate(file, 0), -EBADF);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(file->ops->read(file, &byte, 0, 0), 0);
	assert_int_equal(file->ops->read(file, &byte, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(file->ops->read(file, &byte, 2, INT64_MAX), -EINVAL);
	assert_int_equal(server_requests(s), 0);
	assert_int_equal(file->ops->read(file, &byte, 1, 0), 1);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	io = pfs_io_for(url, &hurried, &http);
	assert_int_equal(io->ops->open_dir(io, url, 0, &dir), 0);
	dir->ops->close_dir(dir);
	assert_int_equal(io->ops->open_dir(io, "http://", 0, &dir), -EINVAL);
	io = pfs_io_for("http://x", NULL, &http);
	assert_int_equal(io->ops->open_dir(io, "gopher://x", 0, &dir), -EINVAL);
	assert_null(dir);
	server_free(s);
}

static int refuse_name(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return -EINTR;
}

/* Proves: a bucket that refuses, is not there, or says nonsense is an error with its reason, in
 * listing as in uploading; whoever takes the names ends a list; and without a directory for
 * temporary files nothing is collected. */
static void buckets_may_refuse(void **state)
{
	struct server *s = server_new();
	struct pfs_dir *dir = open_bucket(s, "s3://bucket/a/b/");
	struct pfs_file *file;
	char deep[4090];

	(void)state;
	server_put(s, "/bucket/a/b/one", "1", 1);
	server_fault(s, FAULT_403, 1);
	assert_int_equal(dir->ops->list(dir, refuse_name, NULL), -EACCES);
	assert_int_equal(dir->ops->list(dir, refuse_name, NULL), -EINTR);
	assert_int_equal(dir->ops->open(dir, "new", PFS_IO_WRITE, &file), -EOPNOTSUPP);
	assert_int_equal(dir->ops->open(dir, ".new", PFS_IO_CREATE, &file), -EINVAL);
	assert_int_equal(dir->ops->open(dir, "new", PFS_IO_CREATE | PFS_IO_WRITE, &file), 0);
	server_fault(s, FAULT_404, 1);
	messages.count = 0;
	assert_int_equal(file->ops->sync(file), -EIO);
	assert_non_null(strstr(messages.last, "no such bucket"));
	server_fault(s, FAULT_412, 1); /* of what no condition was made */
	assert_int_equal(file->ops->sync(file), -EIO);
	server_fault(s, FAULT_501, 1);
	assert_int_equal(file->ops->sync(file), -EIO);
	assert_int_equal(file->ops->sync(file), 0);
	file->ops->close(file);
	for (size_t i = 0; i + 1 < sizeof(deep); i++)
		deep[i] = i % 9 ? 'x' : '/';
	deep[sizeof(deep) - 1] = 0;
	setenv("TMPDIR", deep, 1);
	assert_int_equal(dir->ops->open(dir, "new", PFS_IO_CREATE | PFS_IO_WRITE, &file),
			 -ENAMETOOLONG);
	setenv("TMPDIR", "/nowhere at all", 1);
	assert_int_equal(dir->ops->open(dir, "new", PFS_IO_CREATE | PFS_IO_WRITE, &file), -ENOENT);
	setenv("TMPDIR", "", 1);
	assert_int_equal(dir->ops->open(dir, "new", PFS_IO_CREATE | PFS_IO_WRITE, &file), 0);
	file->ops->close(file);
	unsetenv("TMPDIR");
	dir->ops->close_dir(dir);
	server_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_are_ranges),
		cmocka_unit_test(faults_end_in_time_with_their_reason),
		cmocka_unit_test(a_server_may_go_and_come_back),
		cmocka_unit_test(a_handle_is_one_version),
		cmocka_unit_test(small_files_need_no_ranges),
		cmocka_unit_test(many_requests_at_once),
		cmocka_unit_test(plain_servers_are_read_only),
		cmocka_unit_test(uploads_are_whole),
		cmocka_unit_test(only_what_was_read_is_replaced),
		cmocka_unit_test(lists_have_all_pages),
		cmocka_unit_test(answers_that_say_nothing_are_refused),
		cmocka_unit_test(servers_have_no_words_for_it),
		cmocka_unit_test(buckets_may_refuse),
	};

	if (!pfs_http_version()) {
		print_message("built without libcurl: there is nothing to test\n");
		return 1;
	}
	unsetenv("http_proxy");
	unsetenv("HTTP_PROXY");
	setenv("no_proxy", "*", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
