/* The HTTP backend, against a server of this process, of whose own calls each fails, one way after
 * the other: memory, libcurl, libcrypto, the system's for the temporary file, its thread. */
#include "tests/fault/calls.h"
#include "tests/fault/scenario.h"
#include "tests/unit/http_server.h"

#include "storage/io_http.h"

#define LEN 70000 /* more than is hashed at once */

struct talk {
	struct server *server;
	char url[64];
	struct pfs_http_options options;
	uint8_t bytes[LEN];
	unsigned names;
	unsigned lines; /* of the log */
};

static uint8_t byte_at(size_t i)
{
	return (uint8_t)pfs_mix64(i + 3);
}

static void exempt_thread(void)
{
	fault_exempt(true);
}

static void take_message(void *arg, enum pfs_log_level level, const char *line)
{
	struct talk *t = arg;

	(void)level;
	(void)line;
	t->lines++;
}

static struct talk *new_talk(const char *url)
{
	struct talk *t = calloc(1, sizeof(*t));
	uint8_t *bytes = malloc(LEN);
	char endpoint[64];

	server_thread_begins = exempt_thread;
	t->server = server_new();
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i);
	server_put(t->server, "/d/file", bytes, LEN);
	server_put(t->server, "/bucket/a/old", bytes, LEN);
	free(bytes);
	snprintf(t->url, sizeof(t->url), url, t->server->port);
	snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", t->server->port);
	setenv("AWS_ENDPOINT_URL", endpoint, 1);
	setenv("AWS_ACCESS_KEY_ID", "name", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	setenv("AWS_SESSION_TOKEN", "token", 1);
	t->options.logger = (struct pfs_logger){.fn = take_message, .arg = t};
	return t;
}

static void *plain(void)
{
	return new_talk("http://127.0.0.1:%d/d");
}

static void *bucket(void)
{
	return new_talk("s3://bucket/a");
}

static void end(void *state)
{
	struct talk *t = state;

	server_free(t->server);
	free(t);
}

static int open_place(struct talk *t, unsigned flags, struct pfs_dir **dir)
{
	struct pfs_io http;
	const struct pfs_io *io = pfs_io_for(t->url, &t->options, &http);
	int err = io->ops->open_dir(io, t->url, flags, dir);

	assert_true(!err == !!*dir);
	return err;
}

static int read_all(struct talk *t, struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;
	uint64_t size;
	ssize_t n;
	int err = dir->ops->open(dir, name, 0, &file);

	if (err)
		return err;
	err = file->ops->size(file, &size);
	assert_true(err || size == LEN);
	if (!err) {
		n = file->ops->read(file, t->bytes, LEN, 0);
		assert_true(n < 0 || n == LEN);
		err = n < 0 ? (int)n : 0;
	}
	for (size_t i = 0; i < LEN && !err; i++)
		assert_int_equal(t->bytes[i], byte_at(i));
	file->ops->close(file);
	return err;
}

static int read_file(void *state)
{
	struct talk *t = state;
	struct pfs_dir *dir;
	int err = open_place(t, 0, &dir);

	if (err)
		return err;
	err = read_all(t, dir, "file");
	dir->ops->close_dir(dir);
	return err;
}

static int write_parts(struct pfs_file *file)
{
	uint8_t *bytes;
	uint64_t size;
	int err;

	fault_exempt(true);
	bytes = malloc(LEN);
	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i);
	fault_exempt(false);
	err = file->ops->write(file, bytes, LEN, 0);
	if (!err)
		err = file->ops->write(file, "more", 4, LEN);
	if (!err)
		err = file->ops->truncate(file, LEN);
	if (!err)
		err = file->ops->size(file, &size);
	assert_true(err || size == LEN);
	if (!err && file->ops->read(file, bytes, 100, 0) != 100)
		err = fault_error();
	if (!err)
		err = file->ops->sync(file);
	free(bytes);
	return err;
}

static int count_name(void *arg, const char *name)
{
	struct talk *t = arg;

	(void)name;
	t->names++;
	return 0;
}

/* A file is made, which must be new, or replaced, as it was read. */
static int make_file(struct talk *t, struct pfs_dir *dir, const char *name, unsigned how)
{
	struct pfs_file *file;
	uint64_t size;
	int err = dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE | how, &file);

	if (err)
		return err;
	if (how == PFS_IO_UNCHANGED) {
		/* It brings the version that the file has there. */
		err = file->ops->size(file, &size);
		if (!err && file->ops->read(file, t->bytes, 1, 0) != 1)
			err = fault_error();
	}
	if (!err)
		err = write_parts(file);
	file->ops->close(file);
	return err;
}

static int use_bucket(void *state)
{
	struct talk *t = state;
	struct pfs_dir *dir;
	int err = open_place(t, PFS_IO_WRITE | PFS_IO_CREATE, &dir);

	if (err)
		return err;
	t->names = 0;
	err = dir->ops->unlink(dir, "new");
	if (!err)
		err = make_file(t, dir, "new", PFS_IO_EXCL);
	if (!err)
		err = make_file(t, dir, "old", PFS_IO_UNCHANGED);
	if (!err)
		err = read_all(t, dir, "new");
	if (!err)
		err = dir->ops->list(dir, count_name, t);
	dir->ops->close_dir(dir);
	return err;
}

static int make_one(void *state)
{
	struct talk *t = state;
	struct pfs_dir *dir;
	int err = open_place(t, PFS_IO_WRITE | PFS_IO_CREATE, &dir);

	if (err)
		return err;
	err = dir->ops->unlink(dir, "new");
	if (!err)
		err = make_file(t, dir, "new", PFS_IO_EXCL);
	t->names = 2;
	dir->ops->close_dir(dir);
	return err;
}

/* An error is said, but for lack of memory before there is anybody to say it. */
static void expect_reason(void *state, int err)
{
	const struct talk *t = state;

	assert_true(!err || err == -ENOMEM || err == -EAGAIN || t->lines > 0);
}

/* What is in the bucket is there whole. */
static void expect_whole(void *state, int err)
{
	struct talk *t = state;

	if (!err)
		assert_int_equal(t->names, 2);
	pthread_mutex_lock(&t->server->lock);
	for (unsigned i = 0; i < t->server->file_count; i++) {
		const struct server_file *file = &t->server->files[i];

		if (file->path[0] != '/')
			continue;
		assert_int_equal(file->len, LEN);
		for (size_t k = 0; k < LEN; k++)
			assert_int_equal(file->bytes[k], byte_at(k));
	}
	pthread_mutex_unlock(&t->server->lock);
}

/* A temporary file that has lost bytes, and a hash that can't be had, are I/O errors. */
static bool allows(const struct fault *fault, int err)
{
	switch (fault->kind) {
	case FAULT_MEMORY: return err == -ENOMEM;
	case FAULT_LIBRARY: return err == -ENOMEM || err == -EIO;
	case FAULT_INTERRUPT: return false;
	default: return err == fault->err || err == -EIO;
	}
}

static const struct scenario reading = {"a file is read", plain, read_file,
					expect_reason,	  end,	 allows};
static const struct scenario writing = {"a bucket is used", bucket, use_bucket,
					expect_whole,	    end,    allows};
static const struct scenario making = {"a file is made", bucket, make_one,
				       expect_whole,	 end,	 allows};

/* Proves: whatever of this side fails is an error, or is not missed; what is uploaded is whole or
 * is not there; nothing leaks, and the next time it works. */
static void no_call_that_fails_does_harm(void **state)
{
	const struct fault own[] = {{.kind = FAULT_MEMORY},
				    {.kind = FAULT_SYSTEM, .err = -EIO},
				    {.kind = FAULT_SYSTEM, .err = -ENOSPC},
				    {.kind = FAULT_INTERRUPT, .err = -EINTR}};
	const struct fault libraries = {.kind = FAULT_LIBRARY};
	const struct fault threads = {.kind = FAULT_THREAD, .err = -EAGAIN};

	(void)state;
	scenario_try(&reading, own, 1);
	scenario_try(&reading, &libraries, 1);
	scenario_try(&reading, &threads, 1);
	scenario_try(&writing, own, pfs_array_len(own));
	scenario_try(&making, &libraries, 1);
}

/* Proves: a directory that knows no files without names gets one with a name, which is gone at
 * once. */
static void temporary_files_have_no_name(void **state)
{
	const struct fault refusals[] = {{.kind = FAULT_SYSTEM, .err = -EOPNOTSUPP},
					 {.kind = FAULT_SYSTEM, .err = -EISDIR},
					 {.kind = FAULT_SYSTEM, .err = -ENOENT}};

	(void)state;
	scenario_try(&writing, refusals, pfs_array_len(refusals));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_that_fails_does_harm),
		cmocka_unit_test(temporary_files_have_no_name),
	};

	if (!pfs_http_version())
		return 0;
	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("faults of HTTP", tests, NULL, NULL);
}
