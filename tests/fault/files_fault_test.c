/* The file backend on a real filesystem, each of whose system calls fails, one way after the other,
 * is interrupted, or finds no memory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault/calls.h"
#include "tests/fault/scenario.h"

#include "storage/io.h"

#define LEN 10000

/* A directory with a directory of files in it. */
struct place {
	char top[64], path[80];
	unsigned descriptors;
	struct pfs_dir *dir;
	bool made;		/* what run has made */
	unsigned names;		/* that a list gave */
	bool holds;		/* the lock */
	uint8_t bytes[LEN + 1]; /* that were read */
};

static const struct pfs_io_ops *ops(void)
{
	return pfs_io_file.ops;
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)pfs_mix64(i);
}

static void make_file(struct place *p, const char *name)
{
	uint8_t bytes[LEN];
	char path[128];
	int fd;

	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i);
	snprintf(path, sizeof(path), "%s/%s", p->path, name);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, LEN, 0), LEN);
	close(fd);
}

static void *prepare(void)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->top, sizeof(p->top), "%s/pfs-calls-XXXXXX", calls_where());
	assert_non_null(mkdtemp(p->top));
	snprintf(p->path, sizeof(p->path), "%s/store", p->top);
	assert_int_equal(ops()->open_dir(&pfs_io_file, p->path, PFS_IO_CREATE, &p->dir), 0);
	make_file(p, "there");
	make_file(p, "too");
	p->descriptors = calls_open_descriptors();
	return p;
}

static void end(void *state)
{
	struct place *p = state;
	char command[128];

	p->dir->ops->close_dir(p->dir);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->top);
	assert_int_equal(system(command), 0);
	free(p);
}

/* What every scenario leaves: the two files as they were, and nothing open. */
static void expect_unharmed(void *state, int err)
{
	struct place *p = state;
	uint8_t bytes[LEN + 1];

	(void)err;
	for (unsigned i = 0; i < 2; i++) {
		char path[128];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", p->path, i ? "too" : "there");
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), LEN);
		for (size_t k = 0; k < LEN; k++)
			assert_int_equal(bytes[k], byte_at(k));
		close(fd);
	}
	assert_int_equal(calls_open_descriptors(), p->descriptors);
}

/* ---- directories ---- */

static int make_directories(void *state)
{
	struct place *p = state;
	char path[128];
	struct pfs_dir *dir;
	int err;

	snprintf(path, sizeof(path), "%s/one/two/three", p->top);
	err = ops()->open_dir(&pfs_io_file, path, PFS_IO_CREATE, &dir);
	p->made = !err;
	if (!err)
		dir->ops->close_dir(dir);
	else
		assert_null(dir);
	return err;
}

static void expect_directories(void *state, int err)
{
	struct place *p = state;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/one/two/three", p->top);
	assert_int_equal(p->made, !err);
	if (!err)
		assert_true(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
	expect_unharmed(state, err);
}

static int count_name(void *arg, const char *name)
{
	struct place *p = arg;

	(void)name;
	p->names++;
	return 0;
}

static int look_around(void *state)
{
	struct place *p = state;
	struct pfs_io_space space;
	int err;

	p->names = 0;
	err = p->dir->ops->list(p->dir, count_name, p);
	if (!err) {
		err = p->dir->ops->space(p->dir, &space);
		assert_true(!err == (space.total > 0));
	}
	return err;
}

static void expect_list(void *state, int err)
{
	struct place *p = state;

	assert_true(p->names <= 2);
	if (!err)
		assert_int_equal(p->names, 2);
	expect_unharmed(state, err);
}

/* ---- locks ---- */

static int take_lock(struct place *p, const char *name, bool exclusive)
{
	struct pfs_dir *dir, *other;
	int err = ops()->open_dir(&pfs_io_file, p->path, 0, &dir);

	p->holds = false;
	if (err)
		return err;
	err = dir->ops->lock(dir, name, exclusive);
	/* Another holder is looked for without fault. */
	fault_disarm();
	assert_int_equal(ops()->open_dir(&pfs_io_file, p->path, 0, &other), 0);
	p->holds = other->ops->lock(other, name, true) == -EWOULDBLOCK;
	other->ops->close_dir(other);
	dir->ops->close_dir(dir);
	fault_arm();
	return err;
}

static int lock_for_writing(void *state)
{
	return take_lock(state, "lock", true);
}

static int lock_for_reading(void *state)
{
	return take_lock(state, "there", false);
}

static int lock_what_is_not_there(void *state)
{
	struct place *p = state;
	char path[128];

	snprintf(path, sizeof(path), "%s/lock", p->path);
	fault_disarm();
	(void)unlink(path);
	fault_arm();
	return take_lock(state, "lock", false);
}

static void expect_lock(void *state, int err)
{
	struct place *p = state;

	assert_int_equal(p->holds, !err);
	expect_unharmed(state, err);
}

/* A filesystem that nobody can write to needs no lock, if there is no file for it. */
static void expect_lock_or_none_needed(void *state, int err)
{
	struct place *p = state;

	assert_true(!err || !p->holds);
	expect_unharmed(state, err);
}

/* ---- files ---- */

static int use_file(struct place *p, struct pfs_file *file)
{
	uint8_t bytes[LEN];
	uint64_t size = 0, usage = 0;
	const uint8_t *map;
	ssize_t n;
	int err;

	for (size_t i = 0; i < LEN; i++)
		bytes[i] = byte_at(i + 7);
	err = file->ops->write(file, bytes, LEN, 0);
	if (!err)
		err = file->ops->truncate(file, 3 * LEN);
	if (!err)
		err = file->ops->truncate(file, LEN);
	if (!err)
		err = file->ops->sync(file);
	if (!err)
		err = file->ops->size(file, &size);
	if (!err)
		err = file->ops->disk_usage(file, &usage);
	if (!err)
		err = file->ops->map(file, LEN, &map);
	if (!err) {
		assert_true(size == LEN && usage > 0);
		assert_int_equal(pfs_map_copy(p->bytes, map, LEN), 0);
		assert_memory_equal(p->bytes, bytes, LEN);
		file->ops->unmap(file, map, LEN);
		memset(p->bytes, 0, LEN);
		n = file->ops->read(file, p->bytes, LEN + 1, 0);
		err = n < 0 ? (int)n : 0;
	}
	if (!err) {
		assert_int_equal(n, LEN);
		assert_memory_equal(p->bytes, bytes, LEN);
	}
	return err;
}

static int make_and_rename(void *state)
{
	struct place *p = state;
	struct pfs_file *file;
	int err = p->dir->ops->open(p->dir, "new", PFS_IO_WRITE | PFS_IO_CREATE, &file);

	p->made = false;
	if (err) {
		assert_null(file);
		return err;
	}
	err = use_file(p, file);
	file->ops->close(file);
	if (!err)
		err = p->dir->ops->rename(p->dir, "new", "made");
	p->made = !err;
	if (!err)
		err = pfs_dir_sync(p->dir) ? fault_error() : 0;
	return err;
}

static void expect_made(void *state, int err)
{
	struct place *p = state;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/made", p->path);
	assert_int_equal(stat(path, &st) == 0, p->made);
	assert_true(err || p->made);
	expect_unharmed(state, err);
}

static int remove_made(void *state)
{
	struct place *p = state;

	fault_disarm();
	make_file(p, "made");
	fault_arm();
	p->made = true;
	if (p->dir->ops->unlink(p->dir, "made"))
		return fault_error();
	p->made = false;
	return 0;
}

static void expect_removed(void *state, int err)
{
	struct place *p = state;
	char path[128];

	snprintf(path, sizeof(path), "%s/made", p->path);
	assert_int_equal(access(path, F_OK) == 0, err != 0);
	expect_unharmed(state, err);
}

/* ---- space ---- */

static int change_space(void *state)
{
	struct place *p = state;
	struct pfs_file *file;
	uint64_t size = 0;
	int err = p->dir->ops->open(p->dir, "made", PFS_IO_WRITE | PFS_IO_CREATE, &file);

	if (err)
		return err;
	err = file->ops->allocate(file, 0, 5 * LEN);
	if (!err)
		err = file->ops->size(file, &size);
	if (!err) {
		assert_int_equal(size, 5 * LEN);
		err = file->ops->punch(file, 0, LEN);
	}
	file->ops->close(file);
	return err;
}

/* ENOSYS of one that is not there for this filesystem is the same as EOPNOTSUPP; and for reserving
 * space there is a way out. */
static bool allows_unsupported(const struct fault *fault, int err)
{
	return fault->kind != FAULT_INTERRUPT &&
	       (err == fault->err || (fault->err == -ENOSYS && err == -EOPNOTSUPP) ||
		(fault->kind == FAULT_MEMORY && err == -ENOMEM));
}

static bool allows_no_interruption(const struct fault *fault, int err)
{
	return fault->kind != FAULT_INTERRUPT &&
	       err == (fault->kind == FAULT_MEMORY ? -ENOMEM : fault->err);
}

static const struct scenario uninterrupted[] = {
	{"names are listed", prepare, look_around, expect_list, end, NULL},
	{"a file is removed", prepare, remove_made, expect_removed, end, NULL},
};

/* With calls that may be interrupted. */
static const struct scenario scenarios[] = {
	{"directories are made", prepare, make_directories, expect_directories, end,
	 allows_no_interruption},
	{"a lock is taken", prepare, lock_for_writing, expect_lock, end, allows_no_interruption},
	{"a lock is shared", prepare, lock_for_reading, expect_lock, end, allows_no_interruption},
	{"a file is made", prepare, make_and_rename, expect_made, end, allows_no_interruption},
	{"space is reserved", prepare, change_space, expect_unharmed, end, allows_unsupported},
};

/* Proves: whichever system call fails, that is the error; nothing is taken for done, nothing that
 * was there is touched, no descriptor and no memory is lost; and once nothing fails any more, the
 * same works. A call that is interrupted is made again. */
static void no_system_call_that_fails_does_harm(void **state)
{
	const struct fault faults[] = {{.kind = FAULT_SYSTEM, .err = -EIO},
				       {.kind = FAULT_SYSTEM, .err = -ENOSPC},
				       {.kind = FAULT_MEMORY}};

	(void)state;
	scenario_try_all(uninterrupted, pfs_array_len(uninterrupted), faults,
			 pfs_array_len(faults));
	scenario_try_all(scenarios, pfs_array_len(scenarios), faults, pfs_array_len(faults));
}

/* Proves: a call that a signal has interrupted is made again, as often as it takes. */
static void interruptions_are_not_noticed(void **state)
{
	const struct fault faults[] = {{.kind = FAULT_INTERRUPT, .err = -EINTR}};

	(void)state;
	scenario_try_all(scenarios, pfs_array_len(scenarios), faults, pfs_array_len(faults));
}

static bool allows_reading_anyway(const struct fault *fault, int err)
{
	return err == fault->err;
}

/* Proves: where nobody may write, the lock of one who reads is taken on the file as it is; a
 * read-only filesystem without it needs none, and elsewhere that is an error. */
static void locks_are_shared_where_nothing_can_be_written(void **state)
{
	static const struct scenario there = {"a lock is shared", prepare, lock_for_reading,
					      expect_lock,	  end,	   allows_reading_anyway};
	static const struct scenario none = {
		"a lock is not there",	    prepare, lock_what_is_not_there,
		expect_lock_or_none_needed, end,     allows_reading_anyway};
	const struct fault faults[] = {{.kind = FAULT_SYSTEM, .err = -EROFS},
				       {.kind = FAULT_SYSTEM, .err = -EACCES}};

	(void)state;
	scenario_try(&there, faults, 2);
	scenario_try(&none, faults, 2);
}

/* Proves: where a filesystem can't reserve space, files get their length all the same, and holes
 * are refused as such. */
static void space_need_not_be_reserved(void **state)
{
	static const struct scenario reserved = {"space is reserved", prepare, change_space,
						 expect_unharmed,     end,     allows_unsupported};
	const struct fault faults[] = {{.kind = FAULT_SYSTEM, .err = -EOPNOTSUPP},
				       {.kind = FAULT_SYSTEM, .err = -ENOSYS}};

	(void)state;
	scenario_try(&reserved, faults, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_system_call_that_fails_does_harm),
		cmocka_unit_test(interruptions_are_not_noticed),
		cmocka_unit_test(locks_are_shared_where_nothing_can_be_written),
		cmocka_unit_test(space_need_not_be_reserved),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("faults of system calls", tests, NULL, NULL);
}
