/* storage/io_http.c without a server: which requests each call on a directory or file makes, in
 * which order, with which conditions, and what each answer to them comes to. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/fd.h"
#include "storage/hash.h"
#include "storage/http_client.h"
#include "tests/unit/fenced.h"

#ifdef PFS_HAVE_CURL
static int fake_new(struct pfs_http_client **out, const struct pfs_http_place *place,
		    const struct pfs_http_options *options);
static void fake_free(struct pfs_http_client *client);
static int fake_perform(struct pfs_http_client *client, struct pfs_http_request *request);
static int fake_complain(struct pfs_http_client *client, int err, const char *url, const char *fmt,
			 ...);

static int fake_open(const char *path, int flags, mode_t mode);
static int fake_hash_new(struct pfs_hash **out);
static int PFS_PRINTF(2, 3) fake_print(char **out, const char *fmt, ...);

#define asprintf fake_print
#define pfs_hash_new fake_hash_new
#define open(path, flags, mode) fake_open(path, flags, mode)
#define pfs_http_client_new fake_new
#define pfs_http_client_free fake_free
#define pfs_http_perform fake_perform
#define pfs_http_complain fake_complain
#include "storage/io_http.c"
#undef open
#undef asprintf
#undef pfs_hash_new
#undef malloc
#undef calloc
#undef realloc
#undef free

#define PLAIN "http://h/d/"
#define BUCKET "s3://bucket/p"
#define FILE_URL "https://bucket.s3.us-east-1.amazonaws.com/p/f"

/* ---- the client ---- */

static struct pfs_http_client *const the_client = (struct pfs_http_client *)&the_client;
static unsigned clients;
static int new_fails;

static int fake_new(struct pfs_http_client **out, const struct pfs_http_place *place,
		    const struct pfs_http_options *options)
{
	(void)place;
	(void)options;
	*out = the_client;
	clients += !new_fails;
	return new_fails;
}

static void fake_free(struct pfs_http_client *client)
{
	assert_ptr_equal(client, the_client);
	clients--;
}

/* What filesystems say that have no files without a name. */
static int open_fails;

static int fake_open(const char *path, int flags, mode_t mode)
{
	assert_int_equal(flags, O_TMPFILE | O_RDWR | O_CLOEXEC);
	if (!open_fails) {
		int fd = open(path, flags, mode);

		errno = fd < 0 ? errno : ENOENT; /* which means nothing */
		return fd;
	}
	errno = open_fails;
	return -1;
}

static int hash_fails;

static int fake_hash_new(struct pfs_hash **out)
{
	*out = NULL;
	return hash_fails ? hash_fails : pfs_hash_new(out);
}

/* As asprintf does, with room that is given back as all the other. */
static int fake_print(char **out, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_in_range(n, 1, sizeof(text) - 1);
	*out = fenced_malloc((size_t)n + 1);
	if (!*out)
		return -1;
	memcpy(*out, text, (size_t)n + 1);
	return n;
}

struct answer {
	int err;
	const char *text; /* of a GET */
	uint64_t total;
	const char *etag;
};

static const struct answer *answers; /* to come */
static char asked[4096], said[1024];
static uint8_t uploaded[300000];
static size_t uploaded_len;

static int fake_perform(struct pfs_http_client *client, struct pfs_http_request *r)
{
	static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE"};
	const struct answer *a = answers++;
	char *p = asked + strlen(asked);

	assert_ptr_equal(client, the_client);
	p += sprintf(p, "%s %s", names[r->method], r->url);
	if (r->method == PFS_HTTP_GET)
		p += sprintf(p, r->whole ? " all %zu" : " %zu", r->len);
	if (r->method == PFS_HTTP_GET && !r->whole)
		p += sprintf(p, " at %llu", (unsigned long long)r->off);
	if (r->method == PFS_HTTP_PUT) {
		ssize_t n = pread(r->fd, uploaded, sizeof(uploaded), 0);

		assert_int_equal(n, r->size);
		uploaded_len = (size_t)n;
		p += sprintf(p, " %zu %.8s", uploaded_len, r->sha256 ? r->sha256 : "-");
		if (r->sha256)
			assert_int_equal(strlen(r->sha256), 64);
	}
	if (r->only_new)
		p += sprintf(p, " new");
	if (r->match)
		p += sprintf(p, " match %s", r->match);
	strcpy(p, "\n");
	r->got = 0;
	r->total = UINT64_MAX;
	r->etag[0] = '\0';
	if (a->err)
		return a->err;
	if (a->text) {
		r->got = strlen(a->text);
		assert_true(r->got <= r->len);
		memcpy(r->buf, a->text, r->got);
	}
	r->total = a->total;
	snprintf(r->etag, sizeof(r->etag), "%s", a->etag ? a->etag : "");
	return 0;
}

static int fake_complain(struct pfs_http_client *client, int err, const char *url, const char *fmt,
			 ...)
{
	char *p = said + strlen(said);
	va_list ap;

	assert_ptr_equal(client, the_client);
	p += sprintf(p, "%s: ", url);
	va_start(ap, fmt);
	p += vsprintf(p, fmt, ap);
	va_end(ap);
	strcpy(p, "\n");
	return err;
}

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	strcat(strcat(said, line), "\n");
}

/* What was asked since the last time. */
static void expect_asked(const char *want)
{
	assert_string_equal(asked, want);
	asked[0] = '\0';
}

static void expect_said(const char *want)
{
	assert_string_equal(said, want);
	said[0] = '\0';
}

static const struct pfs_http_options options = {.logger = {.fn = take_line}};
static struct pfs_io io_room;

static struct pfs_dir *open_at(const char *location, unsigned flags)
{
	const struct pfs_io *io = pfs_io_for(location, &options, &io_room);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, location, flags, &dir), 0);
	asked[0] = said[0] = '\0';
	return dir;
}

static struct pfs_file *open_file(struct pfs_dir *dir, unsigned flags)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, "f", flags, &file), 0);
	return file;
}

/* ---- directories ---- */

/* Proves: only buckets are opened for writing; a location that is none, or a client that there is
 * no memory for, is an error, and said; what there is no request for is refused without one. */
static void directories_are_what_can_be_asked_for(void **state)
{
	const struct pfs_io *io = pfs_io_for(PLAIN, &options, &io_room);
	struct pfs_io_space space;
	struct pfs_dir *dir = (struct pfs_dir *)&space;
	struct pfs_io other;

	(void)state;
	said[0] = '\0';
	assert_int_equal(io->ops->open_dir(io, "http://", 0, &dir), -EINVAL);
	assert_null(dir);
	expect_said("http://: there is no host in it\n");
	assert_int_equal(io->ops->open_dir(io, PLAIN, PFS_IO_WRITE, &dir), -EROFS);
	assert_int_equal(io->ops->open_dir(io, PLAIN, PFS_IO_CREATE, &dir), -EROFS);
	new_fails = -EAGAIN;
	assert_int_equal(io->ops->open_dir(io, PLAIN, 0, &dir), -EAGAIN);
	assert_null(dir);
	new_fails = 0;
	expect_said("");
	for (unsigned i = 0; i < 2; i++) {
		dir = open_at(i ? BUCKET : PLAIN, i ? PFS_IO_WRITE | PFS_IO_CREATE : 0);
		assert_int_equal(clients, 1);
		assert_int_equal(dir->ops->sync_dir(dir), 0);
		assert_int_equal(dir->ops->lock(dir, "l", true), -EOPNOTSUPP);
		memset(&space, 'x', sizeof(space));
		assert_int_equal(dir->ops->space(dir, &space), -EOPNOTSUPP);
		assert_true(pfs_is_zero(&space, sizeof(space)));
		assert_int_equal(dir->ops->rename(dir, "a", "b"), -EOPNOTSUPP);
		assert_true(dir->ops->whole_files);
		dir->ops->close_dir(dir);
		assert_int_equal(clients, 0);
	}
	expect_asked("");
	assert_ptr_equal(pfs_io_for("/a/b", &options, &other), &pfs_io_file);
	assert_ptr_equal(pfs_io_for("/a/b", NULL, NULL), &pfs_io_file);
	assert_ptr_equal(pfs_io_for(PLAIN, NULL, NULL), &pfs_io_http);
	assert_ptr_equal(pfs_io_for(PLAIN, &options, &other), &other);
	assert_ptr_equal(other.context, &options);
	assert_true(pfs_location_is_url("x://") && !pfs_location_is_url("/a:/b"));
	assert_non_null(pfs_http_version());
}

/* Proves: a file is opened without a request, but where it must not be there yet; names and ways
 * that there are not are refused. */
static void files_are_opened_without_a_request(void **state)
{
	static const struct {
		const char *location, *name;
		unsigned flags;
		int err;
	} cases[] = {
		{PLAIN, "f", 0, 0},
		{PLAIN, "a/b", 0, -EINVAL},
		{PLAIN, "", 0, -EINVAL},
		{PLAIN, "..", 0, -EINVAL},
		{PLAIN, "f", PFS_IO_WRITE, -EROFS},
		{PLAIN, "f", PFS_IO_CREATE, -EROFS},
		{BUCKET, "f", 0, 0},
		{BUCKET, "f", PFS_IO_WRITE, -EOPNOTSUPP},
		{BUCKET, "f", PFS_IO_CREATE, 0},
		{BUCKET, "f", PFS_IO_WRITE | PFS_IO_CREATE, 0},
		{BUCKET, "a/b", PFS_IO_WRITE | PFS_IO_CREATE, -EINVAL},
	};
	static const struct {
		struct answer answer;
		int err;
	} excl[] = {{{-ENOENT, NULL, 0, NULL}, 0},
		    {{0, NULL, 7, NULL}, -EEXIST},
		    {{-EACCES, NULL, 0, NULL}, -EACCES}};
	struct pfs_file *file;
	struct pfs_dir *dir;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		dir = open_at(cases[i].location, 0);
		file = (struct pfs_file *)dir;
		assert_int_equal(dir->ops->open(dir, cases[i].name, cases[i].flags, &file),
				 cases[i].err);
		assert_true(!file == !!cases[i].err);
		if (file) {
			assert_true(file->ops == dir->ops);
			file->ops->close(file);
		}
		expect_asked("");
		dir->ops->close_dir(dir);
	}
	for (size_t i = 0; i < pfs_array_len(excl); i++) {
		dir = open_at(BUCKET, PFS_IO_WRITE);
		answers = &excl[i].answer;
		assert_int_equal(
			dir->ops->open(dir, "f", PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_EXCL, &file),
			excl[i].err);
		expect_asked("HEAD " FILE_URL "\n");
		if (file)
			file->ops->close(file);
		dir->ops->close_dir(dir);
	}
}

/* Proves: a read is one request for exactly its bytes, within what a request can say; a file that
 * was changed on the server is noticed by its ETag, and said. */
static void reads_are_requests(void **state)
{
	static const struct answer given[] = {
		{0, "abc", 100, NULL}, /* no ETag says nothing */
		{0, "abc", 100, "\"v1\""}, {0, "abc", 100, ""},	      {0, "abc", 100, "\"v1\""},
		{0, "abc", 100, "\"v2\""}, {0, "abc", 100, "\"v1\""}, {-EIO, NULL, 0, NULL},
		{-ENOENT, NULL, 0, NULL},  {0, NULL, 55, NULL},	      {-EACCES, NULL, 0, NULL},
	};
	struct pfs_dir *dir = open_at(PLAIN, 0);
	struct pfs_file *file = open_file(dir, 0);
	const uint8_t *mapped = (const uint8_t *)dir;
	uint64_t size;
	char buf[8];

	(void)state;
	answers = given;
	assert_int_equal(file->ops->read(file, buf, 0, 5), 0);
	assert_int_equal(file->ops->read(file, buf, 1, (uint64_t)INT64_MAX + 1), -EINVAL);
	assert_int_equal(file->ops->read(file, buf, 1, INT64_MAX), -EINVAL);
	expect_asked("");
	assert_int_equal(file->ops->read(file, buf, 1 + 7, INT64_MAX - 8), 3);
	assert_memory_equal(buf, "abc", 3);
	expect_asked("GET http://h/d/f 8 at 9223372036854775799\n");
	for (unsigned i = 1; i < 8; i++) {
		static const int errors[] = {3, 3, 3, 3, -ESTALE, 3, -EIO, -ENOENT};

		assert_int_equal(file->ops->read(file, buf, 5, i), errors[i]);
		if (i == 4)
			expect_said("http://h/d/f: it was changed on the server: its ETag was "
				    "\"v1\", now it is \"v2\"\n");
	}
	expect_said("");
	expect_asked("GET http://h/d/f 5 at 1\nGET http://h/d/f 5 at 2\nGET http://h/d/f 5 at 3\n"
		     "GET http://h/d/f 5 at 4\nGET http://h/d/f 5 at 5\nGET http://h/d/f 5 at 6\n"
		     "GET http://h/d/f 5 at 7\n");
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 55);
	assert_int_equal(file->ops->disk_usage(file, &size), -EACCES);
	assert_int_equal(size, 0);
	expect_asked("HEAD http://h/d/f\nHEAD http://h/d/f\n");
	/* And nothing else can be done with it. */
	assert_int_equal(file->ops->write(file, "x", 1, 0), -EBADF);
	assert_int_equal(file->ops->truncate(file, 0), -EBADF);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(file->ops->allocate(file, 0, 1), -EOPNOTSUPP);
	assert_int_equal(file->ops->punch(file, 0, 1), -EOPNOTSUPP);
	assert_int_equal(file->ops->map(file, 1, &mapped), -EOPNOTSUPP);
	assert_null(mapped);
	file->ops->unmap(file, NULL, 0);
	expect_asked("");
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: an ETag of one byte is one, and so is the first after answers that had none. */
static void short_tags_are_compared(void **state)
{
	static const struct answer given[] = {{0, "abc", 100, "x"},
					      {0, "abc", 100, "x"},
					      {0, "abc", 100, "y"},
					      {0, "abc", 100, ""},
					      {0, "abc", 100, "xy"}};
	static const int errors[] = {3, 3, -ESTALE, 3, -ESTALE};
	struct pfs_dir *dir = open_at(PLAIN, 0);
	struct pfs_file *file = open_file(dir, 0);
	char buf[8];

	(void)state;
	answers = given;
	for (size_t i = 0; i < pfs_array_len(given); i++)
		assert_int_equal(file->ops->read(file, buf, 5, 0), errors[i]);
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* ---- writing ---- */

/* Proves: without memory nothing is opened, listed or uploaded, and that is said; nothing is lost.
 */
static void memory_may_be_missing(void **state)
{
	static const struct answer given[] = {{0, NULL, 0, NULL}, {0, NULL, 0, NULL}};
	const struct pfs_io *io = pfs_io_for(BUCKET, &options, &io_room);
	struct pfs_dir *dir = (struct pfs_dir *)state;
	struct pfs_file *file = (struct pfs_file *)state;

	fenced_refuse(0);
	assert_int_equal(io->ops->open_dir(io, BUCKET, PFS_IO_WRITE, &dir), -ENOMEM);
	assert_null(dir);
	assert_int_equal(fenced_blocks, 0);
	dir = open_at(BUCKET, PFS_IO_WRITE);
	fenced_refuse(0);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE, &file), -ENOMEM);
	assert_null(file);
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(dir->ops->list(dir, NULL, NULL), -ENOMEM);
		assert_int_equal(fenced_blocks, 1);
	}
	file = open_file(dir, PFS_IO_CREATE);
	assert_int_equal(file->ops->write(file, "abc", 3, 0), 0);
	fenced_refuse(0);
	assert_int_equal(file->ops->sync(file), -ENOMEM);
	hash_fails = -ENOMEM;
	assert_int_equal(file->ops->sync(file), -ENOMEM);
	hash_fails = -EIO;
	assert_int_equal(file->ops->sync(file), -EIO);
	expect_asked("");
	/* Without the library there is no checksum. */
	hash_fails = -EOPNOTSUPP;
	answers = given;
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 3 -\n");
	hash_fails = 0;
	assert_int_equal(file->ops->truncate(file, 1), 0);
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 1 ca978112\n");
	file->ops->close(file);
	dir->ops->close_dir(dir);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: what the temporary file does not take, or does not give back, is an error, and nothing is
 * uploaded of it. */
static void temporary_files_may_fail(void **state)
{
	static const struct {
		const char *path; /* NULL: it is closed */
		int how, write, truncate, size, sync;
		uint64_t is;
	} cases[] = {
		{"/dev/full", O_RDWR, -ENOSPC, -EINVAL, 0, 0, 0},
		{"/dev/null", O_RDONLY, -EBADF, -EINVAL, 0, 0, 0},
		{NULL, O_WRONLY, 0, 0, 0, -EIO, 2}, /* of itself: what was written */
		{NULL, -1, -EBADF, -EBADF, -EBADF, -EBADF, 0},
	};
	static const struct answer given[] = {{0, NULL, 0, NULL}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
		struct pfs_file *file = open_file(dir, PFS_IO_CREATE);
		int *own = &((struct http_file *)file)->fd, before = *own;
		uint64_t size = 77;
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", before);
		if (cases[i].how >= 0)
			*own = open(cases[i].path ? cases[i].path : path, cases[i].how);
		else
			*own = 1000; /* which nobody has */
		assert_true(*own >= 0);
		answers = given;
		assert_int_equal(file->ops->write(file, "abc", 3, 0), cases[i].write);
		assert_int_equal(file->ops->truncate(file, 2), cases[i].truncate);
		assert_int_equal(file->ops->size(file, &size), cases[i].size);
		assert_int_equal(size, cases[i].is);
		if (cases[i].write != -ENOSPC) { /* whose bytes do not end */
			assert_int_equal(file->ops->sync(file), cases[i].sync);
			expect_asked(cases[i].sync ? "" : "PUT " FILE_URL " 0 e3b0c442\n");
		}
		if (cases[i].how >= 0)
			close(*own);
		*own = before;
		file->ops->close(file);
		dir->ops->close_dir(dir);
	}
}

/* Proves: what was not changed is not uploaded, also when changing it was tried and failed. */
static void what_is_not_written_changes_nothing(void **state)
{
	static const struct answer given[] = {{0, "old", 3, NULL}};
	struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
	struct pfs_file *file = open_file(dir, PFS_IO_CREATE | PFS_IO_UNCHANGED);
	int *own = &((struct http_file *)file)->fd, before = *own;
	char buf[8];

	(void)state;
	*own = 1000;
	assert_int_equal(file->ops->write(file, "abc", 3, 0), -EBADF);
	*own = before;
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("");
	answers = given;
	assert_int_equal(file->ops->read(file, buf, 8, 0), 3);
	assert_memory_equal(buf, "old", 3);
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: what is written is collected, read from there, and uploaded as a whole by a sync, with
 * its checksum; without a change nothing is. */
static void writes_are_collected(void **state)
{
	static const struct answer given[] = {{0, NULL, 0, NULL}, {0, NULL, 0, NULL},
					      {0, NULL, 0, NULL}, {-EIO, NULL, 0, NULL},
					      {0, NULL, 0, NULL}, {-ENOENT, NULL, 0, NULL}};
	struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
	struct pfs_file *file = open_file(dir, PFS_IO_WRITE | PFS_IO_CREATE);
	uint64_t size;
	char buf[8];

	(void)state;
	answers = given;
	assert_int_equal(file->ops->write(file, "xbc", 3, 0), 0);
	assert_int_equal(file->ops->write(file, "a", 1, 0), 0);
	assert_int_equal(file->ops->read(file, buf, 8, 1), 2);
	assert_memory_equal(buf, "bc", 2);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 3);
	expect_asked("");
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 3 ba7816bf\n"); /* the SHA-256 of "abc" */
	assert_memory_equal(uploaded, "abc", 3);
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("");
	assert_int_equal(file->ops->truncate(file, 1), 0);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 1);
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 1 ca978112\n");
	assert_int_equal(file->ops->truncate(file, 0), 0);
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 0 e3b0c442\n");
	/* What failed is still to be done. */
	assert_int_equal(file->ops->write(file, "a", 1, 0), 0);
	assert_int_equal(file->ops->sync(file), -EIO);
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 1 ca978112\nPUT " FILE_URL " 1 ca978112\n");
	assert_int_equal(file->ops->write(file, "b", 1, 0), 0);
	assert_int_equal(file->ops->sync(file), -EIO);
	expect_said(FILE_URL ": there is no such bucket\n");
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: a file that is made is empty, and uploaded so when nothing is written to it. */
static void what_is_made_is_there(void **state)
{
	static const struct answer given[] = {{0, NULL, 0, NULL}};
	struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
	struct pfs_file *file = open_file(dir, PFS_IO_WRITE | PFS_IO_CREATE);
	uint64_t size = 7;
	char buf[8];

	(void)state;
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(file->ops->read(file, buf, 8, 0), 0);
	expect_asked("");
	answers = given;
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("PUT " FILE_URL " 0 e3b0c442\n");
	assert_int_equal(file->ops->sync(file), 0);
	expect_asked("");
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: the checksum of an upload is that of all its bytes, however many. */
static void checksums_are_of_all_bytes(void **state)
{
	static const size_t lens[] = {65535, 65536, 65537, 131072, 200001};
	static const struct answer given[pfs_array_len(lens)];
	uint8_t *bytes = malloc(lens[4]), digest[PFS_HASH_WHOLE_LEN];
	struct pfs_hash *hash;

	(void)state;
	assert_int_equal(pfs_hash_new(&hash), 0);
	for (size_t i = 0; i < lens[4]; i++)
		bytes[i] = (uint8_t)pfs_mix64(i);
	answers = given;
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
		struct pfs_file *file = open_file(dir, PFS_IO_WRITE | PFS_IO_CREATE);
		char want[256];

		assert_int_equal(file->ops->write(file, bytes, lens[i], 0), 0);
		assert_int_equal(file->ops->sync(file), 0);
		assert_memory_equal(uploaded, bytes, lens[i]);
		pfs_hash_begin(hash);
		pfs_hash_add(hash, bytes, lens[i]);
		assert_int_equal(pfs_hash_end_whole(hash, digest), 0);
		snprintf(want, sizeof(want), "PUT " FILE_URL " %zu %02x%02x%02x%02x\n", lens[i],
			 digest[0], digest[1], digest[2], digest[3]);
		expect_asked(want);
		file->ops->close(file);
		dir->ops->close_dir(dir);
	}
	pfs_hash_free(hash);
	free(bytes);
}

#define SIXTY "123456789012345678901234567890123456789012345678901234567890"
#define ETAG_125 "\"" SIXTY SIXTY "123\""
#define ETAG_126 "\"" SIXTY SIXTY "1234\""
#define ETAG_127 "\"" SIXTY SIXTY "12345\""

/* Proves: a file that must not change meanwhile is read from the server until it is written to, and
 * replaced only if it is what was read, or still absent, as far as the server can tell. */
static void replacing_has_conditions(void **state)
{
	static const struct {
		struct answer read, put, again; /* again: of a second PUT */
		bool is_new, by_size;
		int err;
		const char *condition; /* of the first PUT */
		bool twice;
	} cases[] = {
		{{0, "old", 3, "\"v1\""}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = " match \"v1\""},
		{{0, "old", 3, "\"\""}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = " match \"\""},
		{{0, "old", 3, "\""}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		{{0, "old", 3, "W/\"v1\""}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		{{0, "old", 3, "\"v1"}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		{{0, "old", 3, NULL}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		{{-EIO, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		{{-ENOENT, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = " new"},
		{{-ENOENT, 0, 0, 0},
		 {0, 0, 0, 0},
		 {0, 0, 0, 0},
		 .by_size = true,
		 .condition = " new"},
		{{0, 0, 3, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, .by_size = true, .condition = ""},
		/* One that may have been cut off is none. */
		{{0, "old", 3, ETAG_125},
		 {0, 0, 0, 0},
		 {0, 0, 0, 0},
		 .condition = " match " ETAG_125},
		{{0, "old", 3, ETAG_126},
		 {0, 0, 0, 0},
		 {0, 0, 0, 0},
		 .condition = " match " ETAG_126},
		{{0, "old", 3, ETAG_127}, {0, 0, 0, 0}, {0, 0, 0, 0}, .condition = ""},
		/* Somebody else was quicker. */
		{{-ENOENT, 0, 0, 0},
		 {-EEXIST, 0, 0, 0},
		 {0, 0, 0, 0},
		 .err = -ESTALE,
		 .condition = " new"},
		{{0, "old", 3, "\"v1\""},
		 {-ESTALE, 0, 0, 0},
		 {0, 0, 0, 0},
		 .err = -ESTALE,
		 .condition = " match \"v1\""},
		{{-ENOENT, 0, 0, 0},
		 {-EEXIST, 0, 0, 0},
		 {0, 0, 0, 0},
		 .is_new = true,
		 .err = -EEXIST,
		 .condition = " new"},
		/* Conditions that the server does not know. */
		{{-ENOENT, 0, 0, 0},
		 {-EOPNOTSUPP, 0, 0, 0},
		 {0, 0, 0, 0},
		 .condition = " new",
		 .twice = true},
		{{0, "old", 3, "\"v1\""},
		 {-EOPNOTSUPP, 0, 0, 0},
		 {-EACCES, 0, 0, 0},
		 .err = -EACCES,
		 .condition = " match \"v1\"",
		 .twice = true},
		{{0, "old", 3, NULL},
		 {-EOPNOTSUPP, 0, 0, 0},
		 {0, 0, 0, 0},
		 .err = -EOPNOTSUPP,
		 .condition = ""},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct answer given[] = {
			cases[i].read, cases[i].put, cases[i].again, {0, NULL, 0, NULL}};
		unsigned how = cases[i].is_new ? PFS_IO_EXCL : PFS_IO_UNCHANGED;
		struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
		char want[512], buf[8];
		struct pfs_file *file;
		uint64_t size;

		answers = given;
		file = open_file(dir, PFS_IO_WRITE | PFS_IO_CREATE | how);
		if (!cases[i].is_new && cases[i].by_size) {
			assert_int_equal(file->ops->size(file, &size), cases[i].read.err);
		} else if (!cases[i].is_new) {
			assert_int_equal(file->ops->sync(file), 0); /* there is nothing to do */
			assert_int_equal(file->ops->read(file, buf, 8, 0),
					 cases[i].read.err ? cases[i].read.err : 3);
		}
		asked[0] = '\0';
		assert_int_equal(file->ops->write(file, "abc", 3, 0), 0);
		assert_int_equal(file->ops->read(file, buf, 8, 0), 3);
		assert_memory_equal(buf, "abc", 3);
		assert_int_equal(file->ops->size(file, &size), 0);
		assert_int_equal(size, 3);
		assert_int_equal(file->ops->sync(file), cases[i].err);
		snprintf(want, sizeof(want), "PUT " FILE_URL " 3 ba7816bf%s\n%s",
			 cases[i].condition, cases[i].twice ? "PUT " FILE_URL " 3 ba7816bf\n" : "");
		if (strcmp(asked, want) != 0)
			fail_msg("%zu: %s", i, asked);
		asked[0] = '\0';
		/* Once it is there, it is ours. */
		if (!cases[i].err) {
			assert_int_equal(file->ops->truncate(file, 1), 0);
			assert_int_equal(file->ops->sync(file), 0);
			expect_asked("PUT " FILE_URL " 1 ca978112\n");
		}
		file->ops->close(file);
		dir->ops->close_dir(dir);
	}
}

/* Proves: where there is no room for what is written, opening says so. */
static void what_is_written_needs_a_place(void **state)
{
	char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
	struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
	struct pfs_file *file;
	char path[5000];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	setenv("TMPDIR", "/nowhere/at/all", 1);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE, &file), -ENOENT);
	assert_null(file);
	setenv("TMPDIR", path, 1);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE, &file), -ENAMETOOLONG);
	setenv("TMPDIR", "", 1);
	file = open_file(dir, PFS_IO_CREATE);
	file->ops->close(file);
	unsetenv("TMPDIR");
	file = open_file(dir, PFS_IO_CREATE);
	file->ops->close(file);
	/* With a name for the file that is as long as one may be, and a byte longer. */
	open_fails = ENOENT;
	for (size_t len = 4095; len <= 4096; len++) {
		const char end[] = "tmp";
		size_t at = len - strlen("/payloadfs-XXXXXX") - strlen(end);

		memset(path, '/', at);
		strcpy(path + at, end);
		setenv("TMPDIR", path, 1);
		assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE, &file),
				 len == 4095 ? 0 : -ENAMETOOLONG);
		if (file)
			file->ops->close(file);
	}
	open_fails = 0;
	if (before)
		setenv("TMPDIR", before, 1);
	else
		unsetenv("TMPDIR");
	free(before);
	dir->ops->close_dir(dir);
}

static unsigned count_files(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2; /* "." and ".." */
}

/* Proves: what is written is for nobody else, and leaves no name behind, also where files without
 * one can't be made; other errors are told. */
static void what_is_written_has_no_name(void **state)
{
	static const int errors[] = {0, EOPNOTSUPP, EISDIR, ENOENT, EACCES, EMFILE};
	static const struct answer given[] = {{0, NULL, 0, NULL}};
	char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
	char place[] = "/tmp/pfs-http-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(place));
	setenv("TMPDIR", place, 1);
	for (size_t i = 0; i < pfs_array_len(errors); i++) {
		struct pfs_dir *dir = open_at(BUCKET, PFS_IO_WRITE);
		struct pfs_file *file = NULL;
		struct stat st;
		int err;

		open_fails = errors[i];
		err = dir->ops->open(dir, "f", PFS_IO_CREATE, &file);
		open_fails = 0;
		assert_int_equal(err, i < 4 ? 0 : -errors[i]);
		assert_true(!file == !!err);
		assert_int_equal(count_files(place), 0);
		if (file) {
			answers = given;
			assert_int_equal(fstat(((struct http_file *)file)->fd, &st), 0);
			assert_int_equal(st.st_mode & 07777, 0600);
			assert_int_equal(fcntl(((struct http_file *)file)->fd, F_GETFD),
					 FD_CLOEXEC);
			assert_int_equal(file->ops->write(file, "abc", 3, 0), 0);
			assert_int_equal(file->ops->sync(file), 0);
			expect_asked("PUT " FILE_URL " 3 ba7816bf\n");
			file->ops->close(file);
		}
		dir->ops->close_dir(dir);
	}
	assert_int_equal(rmdir(place), 0);
	if (before)
		setenv("TMPDIR", before, 1);
	else
		unsetenv("TMPDIR");
	free(before);
}

/* Proves: without a standard input, whose number a file has then, everything is the same, and each
 * file is closed. */
static void zero_is_a_descriptor(void **state)
{
	static const struct answer given[] = {{0, NULL, 0, NULL}, {0, NULL, 0, NULL}};
	int input = dup(0);

	(void)state;
	assert_true(input > 0);
	answers = given;
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_dir *dir;
		struct pfs_file *file;
		uint64_t size;
		char buf[8];

		close(0);
		dir = open_at(BUCKET, PFS_IO_WRITE);
		open_fails = i ? EOPNOTSUPP : 0;
		file = open_file(dir, PFS_IO_CREATE);
		open_fails = 0;
		assert_int_equal(((struct http_file *)file)->fd, 0);
		assert_int_equal(file->ops->write(file, "abcd", 4, 0), 0);
		assert_int_equal(file->ops->truncate(file, 3), 0);
		assert_int_equal(file->ops->size(file, &size), 0);
		assert_int_equal(size, 3);
		assert_int_equal(file->ops->read(file, buf, 8, 0), 3);
		assert_int_equal(file->ops->sync(file), 0);
		expect_asked("PUT " FILE_URL " 3 ba7816bf\n");
		file->ops->close(file);
		assert_int_equal(fcntl(0, F_GETFD), -1);
		dir->ops->close_dir(dir);
	}
	assert_int_equal(dup2(input, 0), 0);
	close(input);
}

/* Proves: removing is a request, of a bucket's file and of nothing else. */
static void files_are_removed(void **state)
{
	static const struct answer given[] = {{0, NULL, 0, NULL}, {-EACCES, NULL, 0, NULL}};
	struct pfs_dir *dir = open_at(PLAIN, 0);

	(void)state;
	answers = given;
	assert_int_equal(dir->ops->unlink(dir, "f"), -EROFS);
	dir->ops->close_dir(dir);
	dir = open_at(BUCKET, 0);
	assert_int_equal(dir->ops->unlink(dir, "a/b"), -EINVAL);
	expect_asked("");
	assert_int_equal(dir->ops->unlink(dir, "f"), 0);
	assert_int_equal(dir->ops->unlink(dir, "f"), -EACCES);
	expect_asked("DELETE " FILE_URL "\nDELETE " FILE_URL "\n");
	dir->ops->close_dir(dir);
}

/* ---- listing ---- */

static char listed[256];
static int stop_at;

static int take_name(void *arg, const char *name)
{
	assert_ptr_equal(arg, listed);
	strcat(strcat(listed, name), ";");
	return --stop_at == 0 ? -EINTR : 0;
}

#define LIST                                                                            \
	"https://bucket.s3.us-east-1.amazonaws.com/?%sdelimiter=%%2F&encoding-type=url" \
	"&list-type=2&max-keys=1000&prefix=p%%2F"

/* Proves: a bucket is listed page by page, with the token of each for the next, until there is
 * none, somebody stops it, or a page can't be had or read, which is said. */
static void buckets_are_listed_in_pages(void **state)
{
#define PAGE_1                                                                                   \
	{                                                                                        \
		0,                                                                               \
			"<ListBucketResult><IsTruncated>true</IsTruncated><Key>p/a</Key><Key>p/" \
			"b</Key>"                                                                \
			"<NextContinuationToken>t</NextContinuationToken></ListBucketResult>",   \
			0, NULL                                                                  \
	}
#define PAGE_2                                                                               \
	{                                                                                    \
		0,                                                                           \
			"<ListBucketResult><IsTruncated>false</IsTruncated><Key>p/c</Key></" \
			"ListBucketResult>",                                                 \
			0, NULL                                                              \
	}
	static const struct {
		struct answer answers[3];
		int stop_at, err;
		const char *listed;
		unsigned pages;
	} cases[] = {
		{{PAGE_1, PAGE_2}, 0, 0, "a;b;c;", 2},
		{{PAGE_2}, 0, 0, "c;", 1},
		{{PAGE_1, PAGE_2}, 2, -EINTR, "a;b;", 1},
		{{PAGE_1, PAGE_2}, 3, -EINTR, "a;b;c;", 2},
		{{PAGE_1, {-EACCES, NULL, 0, NULL}}, 0, -EACCES, "a;b;", 2},
		{{PAGE_1, {0, "<html>", 0, NULL}}, 0, -EIO, "a;b;", 2},
	};
	char first[512], second[512], want[2048];
	struct pfs_dir *dir = open_at(PLAIN, 0);

	(void)state;
	assert_int_equal(dir->ops->list(dir, take_name, listed), -EOPNOTSUPP);
	dir->ops->close_dir(dir);
	snprintf(first, sizeof(first), LIST, "");
	snprintf(second, sizeof(second), LIST, "continuation-token=t&");
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		dir = open_at(BUCKET, 0);
		answers = cases[i].answers;
		stop_at = cases[i].stop_at;
		listed[0] = '\0';
		assert_int_equal(dir->ops->list(dir, take_name, listed), cases[i].err);
		assert_string_equal(listed, cases[i].listed);
		snprintf(want, sizeof(want), "GET %s all 8388608\n", first);
		if (cases[i].pages == 2)
			snprintf(want + strlen(want), sizeof(want) - strlen(want),
				 "GET %s all 8388608\n", second);
		expect_asked(want);
		snprintf(want, sizeof(want), "%s: the server's list can't be read\n", second);
		expect_said(cases[i].err == -EIO ? want : "");
		dir->ops->close_dir(dir);
	}
}

/* Proves: a page of a list that is as long as one may be is read to its end, and not beyond. */
static void long_pages_are_read_to_their_end(void **state)
{
	static const char begin[] = "<ListBucketResult><IsTruncated>false</IsTruncated>",
			  last[] = "<Key>p/z</Key>";
	const size_t len = LIST_ANSWER_MAX;
	char *text = malloc(len + 1);
	const struct answer given = {0, text, 0, NULL};
	struct pfs_dir *dir = open_at(BUCKET, 0);

	(void)state;
	memset(text, ' ', len);
	memcpy(text, begin, strlen(begin));
	strcpy(text + len - strlen(last), last);
	answers = &given;
	listed[0] = '\0';
	stop_at = 0;
	assert_int_equal(dir->ops->list(dir, take_name, listed), 0);
	assert_string_equal(listed, "z;");
	dir->ops->close_dir(dir);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directories_are_what_can_be_asked_for),
		cmocka_unit_test(files_are_opened_without_a_request),
		cmocka_unit_test(reads_are_requests),
		cmocka_unit_test(short_tags_are_compared),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(temporary_files_may_fail),
		cmocka_unit_test(what_is_not_written_changes_nothing),
		cmocka_unit_test(writes_are_collected),
		cmocka_unit_test(what_is_made_is_there),
		cmocka_unit_test(checksums_are_of_all_bytes),
		cmocka_unit_test(replacing_has_conditions),
		cmocka_unit_test(what_is_written_needs_a_place),
		cmocka_unit_test(what_is_written_has_no_name),
		cmocka_unit_test(zero_is_a_descriptor),
		cmocka_unit_test(files_are_removed),
		cmocka_unit_test(buckets_are_listed_in_pages),
		cmocka_unit_test(long_pages_are_read_to_their_end),
	};
	static const char *const variables[] = {
		"AWS_ACCESS_KEY_ID",   "AWS_SECRET_ACCESS_KEY",	  "AWS_SESSION_TOKEN",
		"AWS_REGION",	       "AWS_DEFAULT_REGION",	  "AWS_ENDPOINT_URL",
		"AWS_ENDPOINT_URL_S3", "AWS_S3_ADDRESSING_STYLE", "AWS_CA_BUNDLE"};

	for (size_t i = 0; i < pfs_array_len(variables); i++)
		unsetenv(variables[i]);
	if (!pfs_hash_version()) {
		print_message(
			"NOT TESTED: this build has no libcrypto, so uploads have no checksum\n");
		return 0;
	}
	return cmocka_run_group_tests_name("files over HTTP", tests, NULL, NULL);
}
#else
int main(void)
{
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
}
#endif
