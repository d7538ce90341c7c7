/* storage/io_file.c: the file backend, on the real filesystem, with system calls that are
 * interrupted, do less than they were asked, or are not supported. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/io.h"
#include "tests/unit/fenced.h"
#undef malloc
#undef calloc
#undef realloc
#undef free

/* What the backend's system calls do before they do what they should. */
static struct {
	unsigned interruptions; /* so many EINTR first */
	size_t transfer_max;	/* 0: any */
	bool no_fallocate;
	bool write_nothing; /* pwrite returns 0 */
	bool pretend_mkdir; /* mkdir has succeeded and made nothing */
	unsigned data_syncs, dir_syncs;
	unsigned dir_sync_fails; /* that one */
	ino_t synced[8];	 /* the directories */
	const char *refused;	 /* this call fails, with `error`, */
	unsigned passed;	 /* once so many of it were made */
	int error;
	int then;  /* of the next one, if not 0 */
	int stale; /* what a call that succeeds leaves in errno */
} faults;

static void refuse(const char *name, unsigned passed, int error)
{
	faults.refused = name;
	faults.passed = passed;
	faults.error = error;
	faults.then = 0;
}

static bool is_refused(const char *name)
{
	if (!faults.error || strcmp(name, faults.refused) != 0)
		return false;
	if (faults.passed) {
		faults.passed--;
		return false;
	}
	errno = faults.error;
	faults.error = faults.then;
	faults.then = 0;
	return true;
}

/* What a program is started with has none of them. */
static int own(int fd)
{
	if (fd > STDERR_FILENO)
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	if (fd >= 0)
		errno = faults.stale;
	return fd;
}

static bool interrupted(void)
{
	if (!faults.interruptions)
		return false;
	faults.interruptions--;
	errno = EINTR;
	return true;
}

static size_t cut(size_t len)
{
	return faults.transfer_max && len > faults.transfer_max ? faults.transfer_max : len;
}

static ssize_t faulty_pread(int fd, void *buf, size_t len, off_t off)
{
	return interrupted() ? -1 : pread(fd, buf, cut(len), off);
}

static ssize_t faulty_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	if (faults.write_nothing) {
		errno = EINTR; /* which means nothing */
		return 0;
	}
	return interrupted() ? -1 : pwrite(fd, buf, cut(len), off);
}

static int faulty_fallocate(int fd, int mode, off_t off, off_t len)
{
	if (faults.no_fallocate) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return is_refused("fallocate") || interrupted() ? -1 : fallocate(fd, mode, off, len);
}

static int faulty_fdatasync(int fd)
{
	faults.data_syncs++;
	return is_refused("fdatasync") || interrupted() ? -1 : fdatasync(fd);
}

static int faulty_mkdir(const char *path, mode_t mode)
{
	if (is_refused("mkdir"))
		return -1;
	return faults.pretend_mkdir ? 0 : mkdir(path, mode);
}

static int faulty_fsync(int fd)
{
	struct stat st;

	if (faults.dir_syncs < pfs_array_len(faults.synced) && fstat(fd, &st) == 0)
		faults.synced[faults.dir_syncs] = st.st_ino;
	if (++faults.dir_syncs == faults.dir_sync_fails) {
		errno = EIO;
		return -1;
	}
	return interrupted() ? -1 : fsync(fd);
}

static int faulty_ftruncate(int fd, off_t size)
{
	return is_refused("ftruncate") || interrupted() ? -1 : ftruncate(fd, size);
}

static int faulty_open(const char *path, int how)
{
	return is_refused("open") ? -1 : own(open(path, how));
}

static int faulty_openat(int dir, const char *name, int how, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, how);
	mode = how & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return is_refused("openat") ? -1 : own(openat(dir, name, how, mode));
}

static int faulty_fstat(int fd, struct stat *st)
{
	return is_refused("fstat") ? -1 : fstat(fd, st);
}

static int faulty_fstatvfs(int fd, struct statvfs *st)
{
	if (is_refused("fstatvfs"))
		return -1;
	(void)fd;
	*st = (struct statvfs){.f_blocks = 1000, .f_bfree = 500, .f_bavail = 300, .f_frsize = 512};
	return 0;
}

static int faulty_flock(int fd, int how)
{
	return is_refused("flock") ? -1 : flock(fd, how);
}

static DIR *faulty_fdopendir(int fd)
{
	return is_refused("fdopendir") ? NULL : fdopendir(fd);
}

static struct dirent *faulty_readdir(DIR *stream)
{
	return is_refused("readdir") ? NULL : readdir(stream);
}

static void *faulty_malloc(size_t len)
{
	return is_refused("malloc") ? NULL : fenced_malloc(len);
}

static char *faulty_strdup(const char *text)
{
	size_t len = strlen(text) + 1;

	return is_refused("strdup") ? NULL : memcpy(fenced_malloc(len), text, len);
}

#define pread faulty_pread
#define pwrite faulty_pwrite
#define fallocate faulty_fallocate
#define fdatasync faulty_fdatasync
#define fsync faulty_fsync
#define mkdir faulty_mkdir
#define ftruncate faulty_ftruncate
/* Others have such members. */
#define open(path, how) faulty_open(path, how)
#define openat faulty_openat
#define fstat(fd, st) faulty_fstat(fd, st)
#define fstatvfs faulty_fstatvfs
#define flock(fd, how) faulty_flock(fd, how)
#define fdopendir faulty_fdopendir
#define readdir faulty_readdir
#define malloc(len) faulty_malloc(len)
#define strdup(text) faulty_strdup(text)
#define free(block) fenced_free(block) /* which nobody can use any more */
#include "storage/io_file.c"
#undef pread
#undef pwrite
#undef fallocate
#undef fdatasync
#undef fsync
#undef mkdir
#undef ftruncate
#undef open
#undef openat
#undef fstat
#undef fstatvfs
#undef flock
#undef fdopendir
#undef readdir
#undef malloc
#undef strdup
#undef free

#define PAGE 4096

/* A fresh directory with one store directory in it. */
struct place {
	char top[64], path[80];
	struct pfs_dir *dir;
	unsigned descriptors; /* that were open before */
};

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 64; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	memset(&faults, 0, sizeof(faults));
	place->descriptors = open_descriptors();
	snprintf(place->top, sizeof(place->top), "%s/pfs-io-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(place->top))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/store", place->top);
	*state = place;
	return pfs_io_file.ops->open_dir(&pfs_io_file, place->path, PFS_IO_CREATE, &place->dir);
}

/* Whatever was done: all descriptors are closed again. */
static int tear_down(void **state)
{
	struct place *place = *state;
	char command[128];

	place->dir->ops->close_dir(place->dir);
	if (open_descriptors() != place->descriptors || fenced_blocks)
		return -1;
	snprintf(command, sizeof(command), "rm -rf '%s'", place->top);
	free(place);
	return system(command);
}

static struct pfs_file *open_file(struct place *place, const char *name, unsigned flags)
{
	struct pfs_file *file;

	assert_int_equal(place->dir->ops->open(place->dir, name, flags, &file), 0);
	return file;
}

static uint64_t size_of(struct pfs_file *file)
{
	uint64_t size;

	assert_int_equal(file->ops->size(file, &size), 0);
	return size;
}

/* ---- directories ---- */

/* Proves: missing directories are made, for the owner only, each entry synced; and only when asked
 * for. */
static void directories_are_made_with_their_parents(void **state)
{
	struct place *place = *state;
	char deep[128];
	struct pfs_dir *dir;
	struct stat st;

	snprintf(deep, sizeof(deep), "%s//a/b/c/", place->top);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, deep, 0, &dir), -ENOENT);
	assert_null(dir);
	faults.dir_syncs = 0;
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, deep, PFS_IO_CREATE | PFS_IO_EXCL, &dir),
		0);
	assert_int_equal(faults.dir_syncs, 3);
	dir->ops->close_dir(dir);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(deep, sizeof(deep), "%s/%.*s", place->top, 2 * (int)i, "a/b/");
		assert_int_equal(stat(deep, &st), 0);
		assert_int_equal(faults.synced[i], st.st_ino);
	}
	snprintf(deep, sizeof(deep), "%s//a/b/c/", place->top);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, deep, PFS_IO_CREATE | PFS_IO_EXCL, &dir),
		-EEXIST);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, deep, PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
}

/* Proves: a directory whose entry could not be synced is made, and synced, again the next time. */
static void directories_that_are_not_synced_do_not_stay(void **state)
{
	struct place *place = *state;
	char deep[128];
	struct pfs_dir *dir;

	snprintf(deep, sizeof(deep), "%s/a/b/c", place->top);
	faults.dir_syncs = 0;
	faults.dir_sync_fails = 2;
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, deep, PFS_IO_CREATE, &dir), -EIO);
	assert_null(dir);
	assert_int_equal(faults.dir_syncs, 2);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, deep, PFS_IO_CREATE, &dir), 0);
	assert_int_equal(faults.dir_syncs, 4);
	dir->ops->close_dir(dir);
}

/* Proves: directories are made for a path from the working directory, too. */
static void relative_directories_are_made(void **state)
{
	struct place *place = *state;
	int before = open(".", O_RDONLY | O_DIRECTORY);
	struct pfs_dir *dir;
	struct stat st;

	assert_int_equal(chdir(place->top), 0);
	faults.dir_syncs = 0;
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "one", PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	assert_int_equal(stat(".", &st), 0);
	assert_int_equal(faults.synced[0], st.st_ino);
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, "./two/three", PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	assert_int_equal(access("one", F_OK) | access("two/three", F_OK), 0);
	assert_int_equal(fchdir(before), 0);
	close(before);
}

/* Proves: a directory of the root has its entry synced there; one of one letter, and one that is
 * named as itself, are made like others. */
static void short_paths_are_made(void **state)
{
	struct place *place = *state;
	int before = open(".", O_RDONLY | O_DIRECTORY);
	struct pfs_dir *dir;
	struct stat st;

	faults.pretend_mkdir = true;
	faults.dir_syncs = 0;
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, "/pfs-not-there", PFS_IO_CREATE, &dir),
		-ENOENT);
	assert_int_equal(faults.dir_syncs, 1);
	assert_int_equal(stat("/", &st), 0);
	assert_int_equal(faults.synced[0], st.st_ino);
	faults.pretend_mkdir = false;
	/* As if the root had come between two looks. */
	refuse("open", 0, ENOENT);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "/", PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	assert_int_equal(chdir(place->top), 0);
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, "a/", PFS_IO_CREATE | PFS_IO_EXCL, &dir),
		0);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "b/.", PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "", PFS_IO_CREATE, &dir), -ENOENT);
	assert_int_equal(fchdir(before), 0);
	close(before);
}

/* Proves: what is for others, too, can be read by them as far as the umask says. */
static void what_is_shared_is_for_others(void **state)
{
	struct place *place = *state;
	mode_t before = umask(022);
	char path[128];
	struct pfs_file *file;
	struct pfs_dir *dir;
	struct stat st;

	snprintf(path, sizeof(path), "%s/shared/deep", place->top);
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, path, PFS_IO_CREATE | PFS_IO_SHARED, &dir),
		0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(
		dir->ops->open(dir, "file", PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_SHARED, &file),
		0);
	dir->ops->close(file);
	snprintf(path, sizeof(path), "%s/shared/deep/file", place->top);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	dir->ops->close_dir(dir);
	umask(before);
}

/* Proves: what is no directory is refused and left as it is. */
static void a_file_is_no_directory(void **state)
{
	struct place *place = *state;
	char path[128];
	struct pfs_dir *dir;

	struct pfs_file *file = open_file(place, "g", PFS_IO_CREATE);

	file->ops->close(file);
	snprintf(path, sizeof(path), "%s/g", place->path);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, path, PFS_IO_CREATE, &dir),
			 -ENOTDIR);
	snprintf(path, sizeof(path), "%s/g/h", place->path);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, path, PFS_IO_CREATE, &dir),
			 -ENOTDIR);
	assert_null(dir);
}

/* Proves: whatever came there after the first look is taken as it is: a directory, but not as one
 * that was made now, or a file, which is none. */
static void what_came_meanwhile_is_looked_at(void **state)
{
	struct place *place = *state;
	const struct pfs_io_ops *ops = pfs_io_file.ops;
	struct pfs_file *file = open_file(place, "g", PFS_IO_CREATE);
	char path[128];
	struct pfs_dir *dir;

	file->ops->close(file);
	refuse("open", 0, ENOENT);
	assert_int_equal(
		ops->open_dir(&pfs_io_file, place->path, PFS_IO_CREATE | PFS_IO_EXCL, &dir),
		-EEXIST);
	assert_null(dir);
	refuse("open", 0, ENOENT);
	assert_int_equal(ops->open_dir(&pfs_io_file, place->path, PFS_IO_CREATE, &dir), 0);
	ops->close_dir(dir);
	/* Without CREATE there is nothing to be the only one of. */
	assert_int_equal(ops->open_dir(&pfs_io_file, place->path, PFS_IO_EXCL, &dir), 0);
	ops->close_dir(dir);
	snprintf(path, sizeof(path), "%s/g", place->path);
	refuse("open", 0, ENOENT);
	assert_int_equal(ops->open_dir(&pfs_io_file, path, PFS_IO_CREATE, &dir), -ENOTDIR);
	assert_null(dir);
}

/* Proves: of a directory that can't be looked at, made or kept the error is said. */
static void directories_say_their_errors(void **state)
{
	static const struct {
		const char *call;
		unsigned passed;
		int error;
	} refused[] = {
		{"open", 0, EACCES}, {"strdup", 0, ENOMEM}, {"mkdir", 0, EACCES},
		{"mkdir", 1, EROFS}, {"open", 1, EMFILE},   {"open", 2, EMFILE},
		{"open", 3, ENFILE}, {"malloc", 0, ENOMEM},
	};
	struct place *place = *state;
	int before = open(".", O_RDONLY | O_DIRECTORY);

	assert_int_equal(chdir(place->top), 0);
	for (size_t i = 0; i < pfs_array_len(refused); i++) {
		struct pfs_dir *dir = place->dir;
		char path[32];

		snprintf(path, sizeof(path), "%zu/both", i);
		refuse(refused[i].call, refused[i].passed, refused[i].error);
		assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, path, PFS_IO_CREATE, &dir),
				 -refused[i].error);
		assert_int_equal(faults.error, 0);
		assert_null(dir);
	}
	assert_int_equal(fchdir(before), 0);
	close(before);
}

/* Proves: a directory stays the same one when its path is moved away and covered by another. */
static void files_are_reached_without_the_path(void **state)
{
	struct place *place = *state;
	char moved[128];
	struct pfs_file *file;

	snprintf(moved, sizeof(moved), "%s/elsewhere", place->top);
	assert_int_equal(rename(place->path, moved), 0);
	assert_int_equal(mkdir(place->path, 0700), 0);
	file = open_file(place, "f", PFS_IO_CREATE);
	file->ops->close(file);
	strcat(moved, "/f");
	assert_int_equal(access(moved, F_OK), 0);
}

struct listed {
	unsigned count, stop_at;
	bool seen_a, seen_b, seen_hidden, seen_other;
};

static int note_name(void *arg, const char *name)
{
	struct listed *l = arg;

	l->count++;
	l->seen_a |= !strcmp(name, "a");
	l->seen_b |= !strcmp(name, "b");
	l->seen_hidden |= !strcmp(name, ".hidden");
	l->seen_other |= strcmp(name, "a") && strcmp(name, "b") && strcmp(name, ".hidden");
	return l->count == l->stop_at ? 77 : 0;
}

/* Proves: a listing gives every name once, twice in a row, and stops when it is told to. */
static void listing_gives_every_name(void **state)
{
	struct place *place = *state;
	struct pfs_file *file;

	for (const char *const *name = (const char *const[]){"a", "b", ".hidden", NULL}; *name;
	     name++) {
		file = open_file(place, *name, PFS_IO_CREATE);
		file->ops->close(file);
	}
	for (int round = 0; round < 2; round++) {
		struct listed l = {0};

		assert_int_equal(place->dir->ops->list(place->dir, note_name, &l), 0);
		assert_int_equal(l.count, 3);
		assert_true(l.seen_a && l.seen_b && l.seen_hidden && !l.seen_other);
		l = (struct listed){.stop_at = 2};
		assert_int_equal(place->dir->ops->list(place->dir, note_name, &l), 77);
		assert_int_equal(l.count, 2);
	}
}

/* Proves: a listing that can't be begun, or not be ended, is an error. */
static void listings_say_their_errors(void **state)
{
	static const char *const calls[] = {"openat", "fdopendir", "readdir"};
	struct place *place = *state;
	struct pfs_io_space space = {1, 1};

	for (size_t i = 0; i < pfs_array_len(calls); i++) {
		struct listed l = {0};

		refuse(calls[i], 0, EMFILE);
		assert_int_equal(place->dir->ops->list(place->dir, note_name, &l), -EMFILE);
		assert_int_equal(l.count, 0);
	}
	refuse("fstatvfs", 0, EIO);
	assert_int_equal(place->dir->ops->space(place->dir, &space), -EIO);
	assert_true(space.total == 0 && space.available == 0);
}

/* Proves: space is what statvfs says, and directory syncs reach the kernel through interruptions.
 */
static void space_and_directory_sync(void **state)
{
	struct place *place = *state;
	struct pfs_io_space space;

	assert_int_equal(place->dir->ops->space(place->dir, &space), 0);
	assert_int_equal(space.total, 1000 * 512);
	assert_int_equal(space.available, 300 * 512);
	faults.dir_syncs = 0;
	faults.interruptions = 2;
	assert_int_equal(place->dir->ops->sync_dir(place->dir), 0);
	assert_int_equal(faults.dir_syncs, 3);
}

/* ---- the lock ---- */

static struct pfs_dir *reopen(struct place *place)
{
	struct pfs_dir *dir;

	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, place->path, 0, &dir), 0);
	return dir;
}

/* Proves: a writer excludes everybody, readers exclude writers only, and closing gives the lock
 * back, also between two handles of one process. */
static void locks_exclude(void **state)
{
	struct place *place = *state;
	struct pfs_dir *a = place->dir, *b = reopen(place), *c = reopen(place);

	assert_int_equal(a->ops->lock(a, "lock", true), 0);
	assert_int_equal(b->ops->lock(b, "lock", true), -EWOULDBLOCK);
	assert_int_equal(b->ops->lock(b, "lock", false), -EWOULDBLOCK);
	assert_int_equal(a->ops->lock(a, "lock", false), -EINVAL);
	a->ops->close_dir(a);
	assert_int_equal(b->ops->lock(b, "lock", false), 0);
	assert_int_equal(c->ops->lock(c, "lock", true), -EWOULDBLOCK);
	assert_int_equal(c->ops->lock(c, "lock", false), 0);
	place->dir = reopen(place);
	b->ops->close_dir(b);
	assert_int_equal(place->dir->ops->lock(place->dir, "lock", true), -EWOULDBLOCK);
	c->ops->close_dir(c);
	assert_int_equal(place->dir->ops->lock(place->dir, "lock", true), 0);
}

/* Proves: another process is excluded, too, and the death of the holder frees the lock. */
static void locks_exclude_between_processes(void **state)
{
	struct place *place = *state;
	int ready[2], status;
	char byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct pfs_dir *dir;

		if (pfs_io_file.ops->open_dir(&pfs_io_file, place->path, 0, &dir) ||
		    dir->ops->lock(dir, "lock", true) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(2);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(place->dir->ops->lock(place->dir, "lock", true), -EWOULDBLOCK);
	assert_int_equal(place->dir->ops->lock(place->dir, "lock", false), -EWOULDBLOCK);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(place->dir->ops->lock(place->dir, "lock", true), 0);
	close(ready[0]);
	close(ready[1]);
}

/* Proves: who reads takes the lock on the file as it is, where it can't be opened for writing; on a
 * read-only filesystem without that file there is nothing to lock. Whoever writes needs the file,
 * and any other error is one for both. */
static void locks_where_nothing_can_be_written(void **state)
{
	static const struct {
		int first, second; /* of opening the file; 0: as it is */
		bool exclusive, there;
		int result;
		bool locked;
	} cases[] = {
		{EROFS, 0, false, true, 0, true},
		{EROFS, 0, false, false, 0, false},
		{EROFS, EIO, false, true, -EIO, false},
		{EROFS, 0, true, true, -EROFS, false},
		{EROFS, 0, true, false, -EROFS, false},
		{EACCES, 0, false, true, 0, true},
		{EACCES, 0, false, false, -EACCES, false},
		{EACCES, EACCES, false, true, -EACCES, false},
		{EACCES, 0, true, true, -EACCES, false},
		{EMFILE, 0, false, true, -EMFILE, false},
		{EMFILE, 0, false, false, -EMFILE, false},
		{EMFILE, 0, true, true, -EMFILE, false},
		{ENOENT, 0, false, false, -ENOENT, false},
		{ENOENT, 0, true, false, -ENOENT, false},
	};
	struct place *place = *state;

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_dir *dir = reopen(place), *other = reopen(place);

		(void)place->dir->ops->unlink(place->dir, "lock");
		if (cases[i].there) {
			struct pfs_file *file = open_file(place, "lock", PFS_IO_CREATE);

			file->ops->close(file);
		}
		refuse("openat", 0, cases[i].first);
		faults.then = cases[i].second;
		assert_int_equal(dir->ops->lock(dir, "lock", cases[i].exclusive), cases[i].result);
		assert_int_equal(faults.error, 0);
		assert_int_equal(other->ops->lock(other, "lock", true),
				 cases[i].locked ? -EWOULDBLOCK : 0);
		dir->ops->close_dir(dir);
		other->ops->close_dir(other);
	}
}

/* Proves: a lock is taken through interruptions, and what else keeps it from being taken is said;
 * its file is its owner's alone, and no link or FIFO stands for it. */
static void locks_say_their_errors(void **state)
{
	struct place *place = *state;
	struct pfs_dir *dir = place->dir, *other = reopen(place);
	mode_t before = umask(0);
	char path[128];
	struct stat st;

	refuse("flock", 0, ENOLCK);
	assert_int_equal(dir->ops->lock(dir, "lock", true), -ENOLCK);
	refuse("flock", 0, EINTR);
	assert_int_equal(dir->ops->lock(dir, "lock", true), 0);
	assert_int_equal(other->ops->lock(other, "lock", true), -EWOULDBLOCK);
	umask(before);
	snprintf(path, sizeof(path), "%s/lock", place->path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(symlinkat("lock", dir_fd(dir), "link"), 0);
	assert_int_equal(mkfifoat(dir_fd(dir), "fifo", 0600), 0);
	for (unsigned read_only = 0; read_only < 2; read_only++) {
		if (read_only)
			refuse("openat", 0, EROFS);
		assert_int_equal(other->ops->lock(other, "link", false), -ELOOP);
	}
	refuse("openat", 0, EACCES);
	assert_int_equal(other->ops->lock(other, "fifo", false), 0); /* without waiting */
	other->ops->close_dir(other);
}

/* ---- names ---- */

/* Proves: opening makes files only when asked, for the owner only, and EXCL refuses one that is
 * there. */
static void opening_and_creating(void **state)
{
	struct place *place = *state;
	struct pfs_dir *dir = place->dir;
	struct pfs_file *file;
	char path[128];
	struct stat st;

	assert_int_equal(dir->ops->open(dir, "f", 0, &file), -ENOENT);
	assert_null(file);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_WRITE, &file), -ENOENT);
	file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_EXCL | PFS_IO_WRITE);
	assert_int_equal(file->ops->write(file, "data", 4, 0), 0);
	file->ops->close(file);
	snprintf(path, sizeof(path), "%s/f", place->path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE | PFS_IO_EXCL, &file), -EEXIST);
	file = open_file(place, "f", PFS_IO_CREATE);
	assert_int_equal(size_of(file), 4);
	assert_int_equal(file->ops->write(file, "x", 1, 0), -EBADF);
	file->ops->close(file);
}

/* Proves: a store from elsewhere leads nowhere: links, FIFOs, directories and paths are refused,
 * without waiting. */
static void only_regular_files_are_opened(void **state)
{
	struct place *place = *state;
	int dir = dir_fd(place->dir);
	struct pfs_file *file;

	assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_int_equal(mkdirat(dir, "sub", 0700), 0);
	assert_int_equal(place->dir->ops->open(place->dir, "link", 0, &file), -ELOOP);
	assert_int_equal(
		place->dir->ops->open(place->dir, "link", PFS_IO_CREATE | PFS_IO_WRITE, &file),
		-ELOOP);
	assert_int_equal(place->dir->ops->open(place->dir, "fifo", 0, &file), -EUCLEAN);
	assert_int_equal(place->dir->ops->open(place->dir, "sub", 0, &file), -EUCLEAN);
	assert_int_equal(place->dir->ops->open(place->dir, "../store/x", PFS_IO_CREATE, &file),
			 -EINVAL);
	assert_int_equal(place->dir->ops->lock(place->dir, "link", true), -ELOOP);
	assert_null(file);
}

/* Proves: of a file that can't be opened the error is said. */
static void opening_says_its_errors(void **state)
{
	static const struct {
		const char *call;
		int error;
	} refused[] = {{"openat", EMFILE}, {"fstat", EIO}, {"malloc", ENOMEM}};
	struct place *place = *state;

	for (size_t i = 0; i < pfs_array_len(refused); i++) {
		struct pfs_file *file = (void *)place;

		refuse(refused[i].call, 0, refused[i].error);
		assert_int_equal(place->dir->ops->open(place->dir, "f", PFS_IO_CREATE, &file),
				 -refused[i].error);
		assert_null(file);
	}
}

/* Proves: whatever the descriptors' numbers are, also 0, all works. */
static void descriptors_have_any_number(void **state)
{
	struct place *place = *state;
	struct pfs_dir *dir = place->dir, *other = reopen(place), *zero;
	int saved = dup(STDIN_FILENO);
	struct listed l = {0};
	struct pfs_file *file;

	assert_true(saved > STDERR_FILENO);
	close(STDIN_FILENO);
	assert_int_equal(dir->ops->open(dir, "a", PFS_IO_CREATE, &file), 0);
	assert_int_equal(file_fd(file), 0);
	file->ops->close(file);
	assert_int_equal(dir->ops->list(dir, note_name, &l), 0);
	assert_int_equal(l.count, 1);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, place->path, 0, &zero), 0);
	assert_int_equal(dir_fd(zero), 0);
	zero->ops->close_dir(zero);
	for (unsigned read_only = 0; read_only < 2; read_only++) {
		zero = reopen(place);
		if (dir_fd(zero) == 0) { /* the lock is to be that */
			((struct file_dir *)zero)->fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
			close(0);
		}
		if (read_only)
			refuse("openat", 0, EROFS);
		faults.stale = read_only ? ENOENT : EROFS;
		assert_int_equal(zero->ops->lock(zero, "lock", false), 0);
		assert_int_equal(((struct file_dir *)zero)->lock_fd, 0);
		assert_int_equal(zero->ops->lock(zero, "lock", false), -EINVAL);
		assert_int_equal(other->ops->lock(other, "lock", true), -EWOULDBLOCK);
		zero->ops->close_dir(zero);
		assert_true(fcntl(0, F_GETFD) < 0);
	}
	assert_int_equal(other->ops->lock(other, "lock", true), 0);
	other->ops->close_dir(other);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
}

/* Proves: renaming replaces, removing removes, and both tell when there is nothing. */
static void renaming_and_removing(void **state)
{
	struct place *place = *state;
	struct pfs_dir *dir = place->dir;
	struct pfs_file *file = open_file(place, "a", PFS_IO_CREATE | PFS_IO_WRITE);
	char byte;

	assert_int_equal(file->ops->write(file, "A", 1, 0), 0);
	file->ops->close(file);
	file = open_file(place, "b", PFS_IO_CREATE);
	file->ops->close(file);
	assert_int_equal(dir->ops->rename(dir, "a", "b"), 0);
	assert_int_equal(dir->ops->rename(dir, "a", "b"), -ENOENT);
	file = open_file(place, "b", 0);
	assert_int_equal(file->ops->read(file, &byte, 1, 0), 1);
	assert_int_equal(byte, 'A');
	file->ops->close(file);
	assert_int_equal(dir->ops->unlink(dir, "b"), 0);
	assert_int_equal(dir->ops->unlink(dir, "b"), -ENOENT);
}

/* ---- bytes ---- */

/* Proves: reads and writes are whole through interruptions and partial transfers; only the file's
 * end cuts a read. */
static void transfers_are_whole(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	uint8_t data[10000], back[10000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)pfs_mix64(i);
	faults.interruptions = 3;
	faults.transfer_max = 999;
	assert_int_equal(file->ops->write(file, data, sizeof(data), 5000), 0);
	assert_int_equal(size_of(file), 15000);
	faults.interruptions = 3;
	assert_int_equal(file->ops->read(file, back, sizeof(back), 5000), sizeof(back));
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(file->ops->read(file, back, sizeof(back), 14000), 1000);
	assert_memory_equal(back, data + 9000, 1000);
	assert_int_equal(file->ops->read(file, back, sizeof(back), 15000), 0);
	assert_int_equal(file->ops->read(file, back, sizeof(back), 1 << 20), 0);
	assert_int_equal(file->ops->read(file, back, 10, 0), 10);
	assert_int_equal(back[0] | back[9], 0);
	assert_int_equal(file->ops->write(file, data, 0, 0), 0);
	/* No byte more, when it comes in pieces, too. */
	memset(back, 0xa5, sizeof(back));
	assert_int_equal(file->ops->read(file, back, 2500, 5000), 2500);
	assert_memory_equal(back, data, 2500);
	for (size_t i = 2500; i < sizeof(back); i++)
		assert_int_equal(back[i], 0xa5);
	file->ops->close(file);
}

/* Proves: a write that the filesystem cuts off in the middle is an error, not a success and not an
 * endless loop. */
static void cut_writes_are_errors(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	struct rlimit before, limit;
	uint8_t data[8192] = {1};

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(file->ops->write(file, data, sizeof(data), 0), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(size_of(file), 5000);
	faults.write_nothing = true;
	assert_int_equal(file->ops->write(file, data, sizeof(data), 0), -EIO);
	file->ops->close(file);
}

/* Proves: sync reaches the kernel once it is not interrupted any more. */
static void sync_is_repeated_until_done(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);

	faults.data_syncs = 0;
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(faults.data_syncs, 1);
	faults.interruptions = 2;
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(faults.data_syncs, 4);
	file->ops->close(file);
}

/* Proves: allocated space is there, reads as zeros, and never shortens the file; without fallocate
 * the length still is right. */
static void allocating_extends_with_zeros(void **state)
{
	struct place *place = *state;

	for (int without = 0; without < 2; without++) {
		struct pfs_file *file =
			open_file(place, without ? "g" : "f", PFS_IO_CREATE | PFS_IO_WRITE);
		uint8_t byte = 1;
		uint64_t usage;

		faults.no_fallocate = without;
		faults.interruptions = without ? 1 : 2;
		assert_int_equal(file->ops->write(file, "x", 1, 0), 0);
		assert_int_equal(file->ops->allocate(file, PAGE, 255 * PAGE), 0);
		assert_int_equal(faults.interruptions, 0);
		assert_int_equal(size_of(file), 256 * PAGE);
		assert_int_equal(file->ops->read(file, &byte, 1, 200 * PAGE), 1);
		assert_int_equal(byte, 0);
		assert_int_equal(file->ops->allocate(file, 0, PAGE), 0);
		assert_int_equal(size_of(file), 256 * PAGE);
		assert_int_equal(file->ops->read(file, &byte, 1, 0), 1);
		assert_int_equal(byte, 'x');
		assert_int_equal(file->ops->disk_usage(file, &usage), 0);
		if (!without)
			assert_true(usage >= 255 * PAGE);
		file->ops->close(file);
	}
}

/* Proves: punched space is given back and reads as zeros, the rest and the length stay; where it is
 * impossible, that is said and nothing changes. */
static void punching_gives_space_back(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	uint8_t *data = malloc(256 * PAGE), byte;
	uint64_t before, after;

	memset(data, 0xcc, 256 * PAGE);
	assert_int_equal(file->ops->write(file, data, 256 * PAGE, 0), 0);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(file->ops->disk_usage(file, &before), 0);
	faults.no_fallocate = true;
	assert_int_equal(file->ops->punch(file, PAGE, 200 * PAGE), -EOPNOTSUPP);
	assert_int_equal(file->ops->read(file, &byte, 1, PAGE), 1);
	assert_int_equal(byte, 0xcc);
	faults.no_fallocate = false;
	assert_int_equal(file->ops->punch(file, PAGE, 200 * PAGE), 0);
	assert_int_equal(file->ops->disk_usage(file, &after), 0);
	assert_true(after + 200 * PAGE <= before);
	assert_int_equal(size_of(file), 256 * PAGE);
	assert_int_equal(file->ops->read(file, data, 256 * PAGE, 0), 256 * PAGE);
	assert_int_equal(data[PAGE - 1], 0xcc);
	assert_int_equal(data[PAGE], 0);
	assert_int_equal(data[201 * PAGE - 1], 0);
	assert_int_equal(data[201 * PAGE], 0xcc);
	free(data);
	file->ops->close(file);
}

/* Proves: truncation cuts and extends, and what comes back is zeros. */
static void truncating(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	uint8_t back[8];

	assert_int_equal(file->ops->write(file, "abcdefgh", 8, 0), 0);
	faults.interruptions = 1;
	assert_int_equal(file->ops->truncate(file, 3), 0);
	assert_int_equal(size_of(file), 3);
	assert_int_equal(file->ops->truncate(file, 8), 0);
	assert_int_equal(file->ops->read(file, back, 8, 0), 8);
	assert_memory_equal(back, "abc\0\0\0\0\0", 8);
	file->ops->close(file);
}

/* Proves: what the system says of a file is said as it is, and nothing else in place of it. */
static void files_say_their_errors(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	const struct pfs_io_ops *ops = file->ops;
	uint64_t number = 7;
	struct stat st;

	assert_int_equal(ops->allocate(file, 0, 3 * PAGE), 0);
	assert_int_equal(fstat(file_fd(file), &st), 0);
	assert_int_equal(ops->disk_usage(file, &number), 0);
	assert_int_equal(number, st.st_blocks * 512);
	assert_true(number >= 3 * PAGE);
	refuse("fstat", 0, EIO);
	assert_int_equal(ops->disk_usage(file, &number), -EIO);
	assert_int_equal(number, 0);
	number = 7;
	refuse("fstat", 0, EIO);
	assert_int_equal(ops->size(file, &number), -EIO);
	assert_int_equal(number, 0);
	refuse("fdatasync", 0, ENOSPC);
	assert_int_equal(ops->sync(file), -ENOSPC);
	refuse("ftruncate", 0, EROFS);
	assert_int_equal(ops->truncate(file, 1), -EROFS);
	refuse("fallocate", 0, ENOSPC);
	assert_int_equal(ops->allocate(file, 0, 4 * PAGE), -ENOSPC);
	refuse("fallocate", 0, EIO);
	assert_int_equal(ops->punch(file, 0, PAGE), -EIO);
	refuse("fallocate", 0, ENOSYS);
	assert_int_equal(ops->punch(file, 0, PAGE), -EOPNOTSUPP);
	assert_int_equal(size_of(file), 3 * PAGE);
	refuse("fallocate", 0, ENOSYS);
	assert_int_equal(ops->allocate(file, PAGE, 3 * PAGE), 0);
	assert_int_equal(size_of(file), 4 * PAGE);
	faults.no_fallocate = true;
	refuse("fstat", 0, EIO);
	assert_int_equal(ops->allocate(file, 0, 5 * PAGE), -EIO);
	refuse("ftruncate", 0, EFBIG);
	assert_int_equal(ops->allocate(file, 0, 5 * PAGE), -EFBIG);
	assert_int_equal(size_of(file), 4 * PAGE);
	ops->close(file);
}

/* Proves: a mapping shows what is written after it was made, and a file that is cut beneath it
 * gives an error. */
static void mappings_follow_the_file(void **state)
{
	struct place *place = *state;
	struct pfs_file *file = open_file(place, "f", PFS_IO_CREATE | PFS_IO_WRITE);
	uint8_t back[8];
	const uint8_t *map;

	assert_int_equal(file->ops->map(file, 0, &map), -EINVAL);
	assert_null(map);
	assert_int_equal(file->ops->map(file, 2 * PAGE, &map), 0);
	assert_int_equal(pfs_map_copy(back, map, 8), -EIO);
	assert_int_equal(file->ops->truncate(file, 2 * PAGE), 0);
	assert_int_equal(file->ops->write(file, "document", 8, PAGE), 0);
	assert_int_equal(pfs_map_copy(back, map + PAGE, 8), 0);
	assert_memory_equal(back, "document", 8);
	assert_int_equal(file->ops->truncate(file, PAGE), 0);
	assert_int_equal(pfs_map_copy(back, map + PAGE, 8), -EIO);
	assert_int_equal(pfs_map_copy(back, map + PAGE - 8, 8), 0);
	file->ops->unmap(file, map, 2 * PAGE);
	/* Nothing is there any more. */
	assert_int_equal(msync((void *)(uintptr_t)map, PAGE, MS_ASYNC), -1);
	file->ops->close(file);
}

/* ---- descriptors ---- */

/* Proves: a standard descriptor that was closed leads to /dev/null, and that it can't is said. */
static void standard_descriptors_are_kept(void **state)
{
	int saved = dup(STDIN_FILENO);
	struct rlimit limit, none;
	struct stat null, st;

	(void)state;
	assert_true(saved >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(stat("/dev/null", &null), 0);
	close(STDIN_FILENO);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(pfs_fd_keep_standard(), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(pfs_fd_keep_standard(), 0);
	assert_int_equal(fstat(STDIN_FILENO, &st), 0);
	assert_int_equal(st.st_rdev, null.st_rdev);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* Of these descriptors some are closed: 0, or the number of what is wrong afterwards. */
static int keep_all_but(unsigned closed)
{
	struct stat null, before[3], st;

	if (stat("/dev/null", &null))
		return 1;
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &before[fd]))
			return 2;
		if (closed >> fd & 1)
			close(fd);
	}
	if (pfs_fd_keep_standard() != 0)
		return 3;
	for (int fd = 0; fd < 3; fd++) {
		bool is_new = closed >> fd & 1;
		char byte = 0;

		if (fstat(fd, &st))
			return 4;
		if (st.st_rdev != (is_new ? null.st_rdev : before[fd].st_rdev) ||
		    st.st_ino != (is_new ? null.st_ino : before[fd].st_ino))
			return 5;
		/* As before, there is nothing to be had from it, or to be put into it. */
		if (is_new && (fd == 0 ? read(fd, &byte, 1) : write(fd, &byte, 1)) != -1)
			return 6;
		if (is_new && errno != EBADF)
			return 7;
	}
	return fcntl(3, F_GETFD) >= 0 ? 8 : 0;
}

/* Proves: whichever of input, output and errors are closed, each of these leads to /dev/null
 * afterwards, where it gives the error that it gave before, and the others are as they were. */
static void closed_descriptors_lead_nowhere(void **state)
{
	(void)state;
	for (unsigned closed = 0; closed < 8; closed++) {
		int status, wrong;
		pid_t child = fork();

		if (child == 0) {
			for (int fd = 0; fd < 256; fd++)
				close(fd);
			if (open("/dev/zero", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2)
				_exit(9);
			wrong = keep_all_but(closed);
			_exit(wrong);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(directories_are_made_with_their_parents),
		WITH_PLACE(directories_that_are_not_synced_do_not_stay),
		WITH_PLACE(relative_directories_are_made),
		cmocka_unit_test(standard_descriptors_are_kept),
		cmocka_unit_test(closed_descriptors_lead_nowhere),
		WITH_PLACE(short_paths_are_made),
		WITH_PLACE(what_is_shared_is_for_others),
		WITH_PLACE(a_file_is_no_directory),
		WITH_PLACE(what_came_meanwhile_is_looked_at),
		WITH_PLACE(directories_say_their_errors),
		WITH_PLACE(files_are_reached_without_the_path),
		WITH_PLACE(listing_gives_every_name),
		WITH_PLACE(listings_say_their_errors),
		WITH_PLACE(space_and_directory_sync),
		WITH_PLACE(locks_exclude),
		WITH_PLACE(locks_exclude_between_processes),
		WITH_PLACE(locks_where_nothing_can_be_written),
		WITH_PLACE(locks_say_their_errors),
		WITH_PLACE(opening_and_creating),
		WITH_PLACE(only_regular_files_are_opened),
		WITH_PLACE(opening_says_its_errors),
		WITH_PLACE(descriptors_have_any_number),
		WITH_PLACE(renaming_and_removing),
		WITH_PLACE(transfers_are_whole),
		WITH_PLACE(cut_writes_are_errors),
		WITH_PLACE(sync_is_repeated_until_done),
		WITH_PLACE(allocating_extends_with_zeros),
		WITH_PLACE(punching_gives_space_back),
		WITH_PLACE(truncating),
		WITH_PLACE(files_say_their_errors),
		WITH_PLACE(mappings_follow_the_file),
	};

	return cmocka_run_group_tests_name("io_file", tests, NULL, NULL);
}
