/* probe: system calls that no everyday tool makes by itself, for the tests of a mount. Each
 * subcommand makes its point, or says what was wrong and exits with 1. See usage() for the list. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 << 20)

static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("probe: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void failed(const char *what, const char *path) __attribute__((noreturn));
static void failed(const char *what, const char *path)
{
	wrong("%s %s: %s", what, path, strerror(errno));
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags, 0644);

	if (fd < 0)
		failed("open", path);
	return fd;
}

/* Forgets the pages of a file, so that the next read asks the filesystem. */
static void forget_pages(int fd)
{
	if (fsync(fd))
		failed("fsync", "before forgetting");
	if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		failed("posix_fadvise", "DONTNEED");
}

static size_t size_of(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st))
		failed("fstat", path);
	if (st.st_size < 0 || (size_t)st.st_size > FILE_MAX)
		wrong("%s: the size is %lld", path, (long long)st.st_size);
	return (size_t)st.st_size;
}

/* The whole file by pread; *len its size. */
static char *contents(int fd, const char *path, size_t *len)
{
	char *buf;

	*len = size_of(fd, path);
	buf = malloc(*len + 1);
	if (!buf)
		failed("memory for", path);
	if (pread(fd, buf, *len + 1, 0) != (ssize_t)*len)
		failed("read", path);
	return buf;
}

static void want_contents(int fd, const char *path, const char *want, size_t len)
{
	size_t got_len;
	char *got = contents(fd, path, &got_len);

	if (got_len != len || memcmp(got, want, len))
		wrong("%s: %zu other bytes where %zu were written", path, got_len, len);
	free(got);
}

static int rename_with(char **args, unsigned flags)
{
	if (syscall(SYS_renameat2, AT_FDCWD, args[0], AT_FDCWD, args[1], flags))
		failed("renameat2", args[0]);
	return 0;
}

static int do_exchange(char **args)
{
	return rename_with(args, 2 /* RENAME_EXCHANGE */);
}

static int do_noreplace(char **args)
{
	return rename_with(args, 1 /* RENAME_NOREPLACE */);
}

/* An open file that is unlinked stays readable and writable, also when its bytes must come from the
 * filesystem. */
static int do_unlinked(char **args)
{
	static const char more[] = "written after the unlink";
	int fd = must_open(args[0], O_RDWR);
	struct stat st;
	size_t len;
	char *want = contents(fd, args[0], &len);

	if (unlink(args[0]))
		failed("unlink", args[0]);
	forget_pages(fd);
	want_contents(fd, args[0], want, len);
	if (fstat(fd, &st))
		failed("fstat", args[0]);
	if (st.st_nlink != 0)
		wrong("%s: %lu links after the unlink", args[0], (unsigned long)st.st_nlink);
	if (pwrite(fd, more, sizeof(more), 0) != sizeof(more))
		failed("write", args[0]);
	forget_pages(fd);
	if (len < sizeof(more)) {
		len = sizeof(more);
		want = realloc(want, len);
		if (!want)
			failed("memory for", args[0]);
	}
	memcpy(want, more, sizeof(more));
	want_contents(fd, args[0], want, len);
	if (ftruncate(fd, 3))
		failed("ftruncate", args[0]);
	forget_pages(fd);
	want_contents(fd, args[0], want, 3);
	if (access(args[0], F_OK) == 0)
		wrong("%s is there again", args[0]);
	free(want);
	return close(fd);
}

/* The descriptor keeps the file that was replaced by a rename: args[0] is renamed over args[1]. */
static int do_replaced(char **args)
{
	int old = must_open(args[1], O_RDWR), fresh = must_open(args[0], O_RDONLY), again;
	size_t old_len, fresh_len;
	char *old_bytes = contents(old, args[1], &old_len),
	     *fresh_bytes = contents(fresh, args[0], &fresh_len);

	if (rename(args[0], args[1]))
		failed("rename", args[0]);
	forget_pages(old);
	forget_pages(fresh);
	want_contents(old, "the replaced file", old_bytes, old_len);
	want_contents(fresh, "the renamed file", fresh_bytes, fresh_len);
	again = must_open(args[1], O_RDONLY);
	want_contents(again, args[1], fresh_bytes, fresh_len);
	free(old_bytes);
	free(fresh_bytes);
	close(again);
	close(old);
	return close(fresh);
}

/* Makes and removes args[1] files in directory args[0] beside one descriptor of a removed file:
 * that never shows the bytes of a file that came later, and no new file shows those of an older
 * one. */
static int do_reuse(char **args)
{
	static const char first[] = "the first file's bytes, longer than what comes later";
	char path[4096], text[64];
	size_t count = strtoul(args[1], NULL, 10);
	int fd;

	snprintf(path, sizeof(path), "%s/%d", args[0], 1000000);
	fd = must_open(path, O_RDWR | O_CREAT | O_EXCL);
	if (write(fd, first, sizeof(first)) != sizeof(first))
		failed("write", path);
	if (unlink(path))
		failed("unlink", path);
	for (size_t i = 0; i < count; i++) {
		int len = snprintf(text, sizeof(text), "file %zu", i), other;

		snprintf(path, sizeof(path), "%s/%zu", args[0], i % 7 + 1);
		other = must_open(path, O_RDWR | O_CREAT | O_EXCL);
		want_contents(other, path, "", 0);
		if (write(other, text, (size_t)len) != len)
			failed("write", path);
		if (i % 3 == 0)
			forget_pages(other);
		want_contents(other, path, text, (size_t)len);
		close(other);
		if (i % 50 == 0) {
			forget_pages(fd);
			want_contents(fd, "the removed file", first, sizeof(first));
		}
		if (unlink(path))
			failed("unlink", path);
	}
	want_contents(fd, "the removed file", first, sizeof(first));
	return close(fd);
}

/* Stores the text args[2] at offset args[1] through a shared mapping and syncs it. */
static int do_mmap_write(char **args)
{
	int fd = must_open(args[0], O_RDWR);
	size_t len = size_of(fd, args[0]), off = strtoul(args[1], NULL, 10);
	char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		failed("mmap", args[0]);
	if (off + strlen(args[2]) > len)
		wrong("%s is too short for the mapping", args[0]);
	memcpy(map + off, args[2], strlen(args[2]));
	if (msync(map, len, MS_SYNC) || munmap(map, len))
		failed("msync", args[0]);
	return close(fd);
}

/* Reads the file through a mapping and writes it to standard output. */
static int do_mmap_read(char **args)
{
	int fd = must_open(args[0], O_RDONLY);
	size_t len = size_of(fd, args[0]);
	char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		failed("mmap", args[0]);
	if (fwrite(map, 1, len, stdout) != len || fflush(stdout))
		failed("write", "standard output");
	return munmap(map, len) || close(fd);
}

/* Appends args[2] lines "args[1] number" with one descriptor, a write a line. */
static int do_append(char **args)
{
	int fd = must_open(args[0], O_WRONLY | O_APPEND | O_CREAT);
	size_t count = strtoul(args[2], NULL, 10);
	char line[128];

	for (size_t i = 1; i <= count; i++) {
		int len = snprintf(line, sizeof(line), "%s %zu\n", args[1], i);

		if (write(fd, line, (size_t)len) != len)
			failed("append", args[0]);
	}
	return close(fd);
}

/* Copies standard input to args[0] (made or emptied) in writes of args[1] bytes. */
static int do_pieces(char **args)
{
	size_t piece = strtoul(args[1], NULL, 10), len;
	int fd = must_open(args[0], O_WRONLY | O_CREAT | O_TRUNC);
	char *buf = malloc(piece);

	if (!buf)
		failed("memory for", args[0]);
	while ((len = fread(buf, 1, piece, stdin)) > 0)
		if (write(fd, buf, len) != (ssize_t)len)
			failed("write", args[0]);
	free(buf);
	if (close(fd))
		failed("close", args[0]);
	return 0;
}

static int do_fsync(char **args)
{
	int fd = must_open(args[0], O_RDONLY);

	if (fsync(fd))
		failed("fsync", args[0]);
	if (fdatasync(fd))
		failed("fdatasync", args[0]);
	return close(fd);
}

/* Removes every entry of directory args[0] as soon as it is listed, and wants each of the args[1]
 * names once. */
static int do_list_removing(char **args)
{
	size_t want = strtoul(args[1], NULL, 10), listed = 0;
	DIR *dir = opendir(args[0]);

	if (!dir)
		failed("opendir", args[0]);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		listed++;
		if (unlinkat(dirfd(dir), e->d_name, 0))
			failed("unlink", e->d_name);
	}
	if (listed != want)
		wrong("%zu names were listed, %zu were there", listed, want);
	return closedir(dir);
}

/* Lists directory args[0], whose names are the numbers 1..args[1], and removes every second number,
 * also ones that were not listed yet, while it lists: every odd number must come exactly once. */
static int do_list_beside(char **args)
{
	size_t count = strtoul(args[1], NULL, 10), step = 0, odd = 0;
	uint8_t *seen = calloc(count + 1, 1);
	DIR *dir = opendir(args[0]);

	if (!dir || !seen)
		failed("opendir", args[0]);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		size_t n = strtoul(e->d_name, NULL, 10);
		char name[24];

		if (n == 0 || n > count)
			continue;
		if (seen[n]++)
			wrong("%zu is listed twice", n);
		odd += n % 2;
		step += 2;
		snprintf(name, sizeof(name), "%zu", step);
		if (step <= count && unlinkat(dirfd(dir), name, 0))
			failed("unlink", name);
	}
	if (odd != (count + 1) / 2)
		wrong("%zu of %zu names that stayed were listed", odd, (count + 1) / 2);
	free(seen);
	return closedir(dir);
}

/* rewinddir shows what came and went since; a position kept by telldir leads back to the same name.
 */
static int do_list_again(char **args)
{
	char path[4096], name[256];
	size_t before = 0, after = 0;
	struct dirent *e;
	long place;
	DIR *dir = opendir(args[0]);

	if (!dir)
		failed("opendir", args[0]);
	while ((e = readdir(dir)))
		before++;
	snprintf(path, sizeof(path), "%s/424242", args[0]);
	close(must_open(path, O_WRONLY | O_CREAT | O_EXCL));
	rewinddir(dir);
	while ((e = readdir(dir)))
		after++;
	if (after != before + 1)
		wrong("%zu entries after one was added to %zu", after, before);
	rewinddir(dir);
	for (int i = 0; i < 5; i++)
		readdir(dir);
	place = telldir(dir);
	e = readdir(dir);
	if (!e)
		wrong("fewer than six entries");
	snprintf(name, sizeof(name), "%s", e->d_name);
	while (readdir(dir))
		;
	seekdir(dir, place);
	e = readdir(dir);
	if (!e || strcmp(e->d_name, name))
		wrong("seekdir leads to %s, not to %s", e ? e->d_name : "nothing", name);
	if (unlink(path))
		failed("unlink", path);
	return closedir(dir);
}

/* Opens files 1..args[1] of directory args[0] in steps of args[2], making those that are not there,
 * beside somebody who makes them by another way than the kernel's: that they are there is no error.
 * Makes file args[3] when the kernel has seen that they are not, and begins when args[4] is there.
 */
static int do_create_beside(char **args)
{
	size_t count = strtoul(args[1], NULL, 10), step = strtoul(args[2], NULL, 10);
	char path[4096];

	for (size_t n = 1; n <= count; n++) {
		snprintf(path, sizeof(path), "%s/%zu", args[0], n);
		if (access(path, F_OK) == 0)
			wrong("%s is there already", path);
	}
	close(must_open(args[3], O_WRONLY | O_CREAT));
	while (access(args[4], F_OK))
		usleep(1000);
	for (size_t n = 0; n < count; n++) {
		snprintf(path, sizeof(path), "%s/%zu", args[0], n * step % count + 1);
		close(must_open(path, O_RDWR | O_CREAT));
		if (open(path, O_RDWR | O_CREAT | O_EXCL, 0644) >= 0 || errno != EEXIST)
			wrong("%s is made twice", path);
	}
	return 0;
}

/* Two descriptors' flock calls exclude each other. */
static int do_flock(char **args)
{
	int a = must_open(args[0], O_RDWR), b = must_open(args[0], O_RDWR);

	if (flock(a, LOCK_EX))
		failed("flock", args[0]);
	if (flock(b, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		wrong("%s is locked twice", args[0]);
	if (flock(a, LOCK_UN) || flock(b, LOCK_EX | LOCK_NB))
		failed("flock after unlocking", args[0]);
	return close(a) || close(b);
}

static const struct {
	const char *name, *args;
	int count;
	int (*run)(char **args);
} commands[] = {
	{"exchange", "A B", 2, do_exchange},
	{"noreplace", "FROM TO", 2, do_noreplace},
	{"unlinked", "FILE", 1, do_unlinked},
	{"replaced", "FROM TO", 2, do_replaced},
	{"reuse", "DIRECTORY COUNT", 2, do_reuse},
	{"mmap-write", "FILE OFFSET TEXT", 3, do_mmap_write},
	{"mmap-read", "FILE", 1, do_mmap_read},
	{"append", "FILE TAG COUNT", 3, do_append},
	{"pieces", "FILE BYTES", 2, do_pieces},
	{"fsync", "FILE", 1, do_fsync},
	{"list-removing", "DIRECTORY COUNT", 2, do_list_removing},
	{"list-beside", "DIRECTORY COUNT", 2, do_list_beside},
	{"list-again", "DIRECTORY", 1, do_list_again},
	{"create-beside", "DIRECTORY COUNT STEP READY GO", 5, do_create_beside},
	{"flock", "FILE", 1, do_flock},
};

int main(int argc, char *argv[])
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == commands[i].count + 2 && !strcmp(argv[1], commands[i].name))
			return commands[i].run(argv + 2) != 0;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, "usage: probe %s %s\n", commands[i].name, commands[i].args);
	return 2;
}
