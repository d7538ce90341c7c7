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

/* What the backend's system calls do before they do what they should. */
static struct {
	unsigned interruptions; /* so many EINTR first */
	size_t transfer_max;	/* 0: any */
	bool no_fallocate;
	bool write_nothing; /* pwrite returns 0 */
	bool pretend_mkdir; /* mkdir has succeeded and made nothing */
	unsigned data_syncs, dir_syncs;
	unsigned dir_sync_fails; /* that one */
} faults;

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
	if (faults.write_nothing)
		return 0;
	return interrupted() ? -1 : pwrite(fd, buf, cut(len), off);
}

static int faulty_fallocate(int fd, int mode, off_t off, off_t len)
{
	if (faults.no_fallocate) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return interrupted() ? -1 : fallocate(fd, mode, off, len);
}

static int faulty_fdatasync(int fd)
{
	faults.data_syncs++;
	return interrupted() ? -1 : fdatasync(fd);
}

static int faulty_mkdir(const char *path, mode_t mode)
{
	return faults.pretend_mkdir ? 0 : mkdir(path, mode);
}

static int faulty_fsync(int fd)
{
	if (++faults.dir_syncs == faults.dir_sync_fails) {
		errno = EIO;
		return -1;
	}
	return interrupted() ? -1 : fsync(fd);
}

static int faulty_ftruncate(int fd, off_t size)
{
	return interrupted() ? -1 : ftruncate(fd, size);
}

#define pread faulty_pread
#define pwrite faulty_pwrite
#define fallocate faulty_fallocate
#define fdatasync faulty_fdatasync
#define fsync faulty_fsync
#define mkdir faulty_mkdir
#define ftruncate faulty_ftruncate
#include "storage/io_file.c"
#undef pread
#undef pwrite
#undef fallocate
#undef fdatasync
#undef fsync
#undef mkdir
#undef ftruncate

#define PAGE 4096

/* A fresh directory with one store directory in it. */
struct place {
	char top[64], path[80];
	struct pfs_dir *dir;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	memset(&faults, 0, sizeof(faults));
	snprintf(place->top, sizeof(place->top), "%s/pfs-io-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(place->top))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/store", place->top);
	*state = place;
	return pfs_io_file.ops->open_dir(&pfs_io_file, place->path, PFS_IO_CREATE, &place->dir);
}

static int tear_down(void **state)
{
	struct place *place = *state;
	char command[128];

	place->dir->ops->close_dir(place->dir);
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

	assert_int_equal(chdir(place->top), 0);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "one", PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
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

	faults.pretend_mkdir = true;
	faults.dir_syncs = 0;
	assert_int_equal(
		pfs_io_file.ops->open_dir(&pfs_io_file, "/pfs-not-there", PFS_IO_CREATE, &dir),
		-ENOENT);
	assert_int_equal(faults.dir_syncs, 1);
	faults.pretend_mkdir = false;
	assert_int_equal(chdir(place->top), 0);
	assert_int_equal(pfs_io_file.ops->open_dir(&pfs_io_file, "a", PFS_IO_CREATE, &dir), 0);
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

/* Proves: space is what statvfs says, and directory syncs reach the kernel through interruptions.
 */
static void space_and_directory_sync(void **state)
{
	struct place *place = *state;
	struct pfs_io_space space;
	struct statvfs st;

	assert_int_equal(statvfs(place->path, &st), 0);
	assert_int_equal(place->dir->ops->space(place->dir, &space), 0);
	assert_true(space.total == (uint64_t)st.f_blocks * st.f_frsize);
	assert_true(space.available > 0 && space.available <= space.total);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(directories_are_made_with_their_parents),
		WITH_PLACE(directories_that_are_not_synced_do_not_stay),
		WITH_PLACE(relative_directories_are_made),
		cmocka_unit_test(standard_descriptors_are_kept),
		WITH_PLACE(short_paths_are_made),
		WITH_PLACE(what_is_shared_is_for_others),
		WITH_PLACE(a_file_is_no_directory),
		WITH_PLACE(files_are_reached_without_the_path),
		WITH_PLACE(listing_gives_every_name),
		WITH_PLACE(space_and_directory_sync),
		WITH_PLACE(locks_exclude),
		WITH_PLACE(locks_exclude_between_processes),
		WITH_PLACE(opening_and_creating),
		WITH_PLACE(only_regular_files_are_opened),
		WITH_PLACE(renaming_and_removing),
		WITH_PLACE(transfers_are_whole),
		WITH_PLACE(cut_writes_are_errors),
		WITH_PLACE(sync_is_repeated_until_done),
		WITH_PLACE(allocating_extends_with_zeros),
		WITH_PLACE(punching_gives_space_back),
		WITH_PLACE(truncating),
		WITH_PLACE(mappings_follow_the_file),
	};

	return cmocka_run_group_tests_name("io_file", tests, NULL, NULL);
}
