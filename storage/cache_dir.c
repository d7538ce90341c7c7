#include "storage/cache_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/crc.h"
#include "storage/fd.h"
#include "storage/io.h"

#define SUBDIR "chunks"
#define CHUNKS_SUFFIX ".c"
#define KEPT_SUFFIX ".k"
#define TEMP_SUFFIX ".t" /* of a kept file that is being written */
#define FILE_NAME_MAX 255
#define KEPT_MAX (256 * PFS_MIB)
#define TEMP_AGE_S 3600 /* nobody is still writing it */

/* A kept file: magic, CRC32C of the data, data. */
#define KEPT_MAGIC 0x4b534650u /* "PFSK" */
#define KEPT_HEADER 8

/* Measured anew when a thirty-second of the bound was written, and then emptied to seven eighths of
 * it: looking at every file is not for every write. */
#define MEASURE_PART 32
#define KEEP_PART 8

struct pfs_cache_dir {
	int fd;
	uint64_t size_max;

	pthread_mutex_t lock; /* of what follows; one thread at a time measures */
	uint64_t bytes, written /* since it was measured */, evicted, temps;
	bool measuring;
};

/* ---- the size ---- */

struct entry {
	struct timespec used;
	uint64_t bytes;
	char *name;
};

struct entries {
	struct entry *list;
	size_t count, cap;
	uint64_t bytes;
};

static int older_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	if (x->used.tv_nsec != y->used.tv_nsec)
		return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n && strcmp(name + len - n, suffix) == 0;
}

static int add_entry(struct entries *all, const char *name, const struct stat *st)
{
	struct entry *grown;

	if (all->count == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 64;
		grown = realloc(all->list, all->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		all->list = grown;
	}
	grown = &all->list[all->count];
	grown->name = strdup(name);
	if (!grown->name)
		return -ENOMEM;
	grown->used = st->st_mtim;
	grown->bytes = (uint64_t)st->st_blocks * 512;
	all->bytes += grown->bytes;
	all->count++;
	return 0;
}

/* Only what is ours by its name is counted and removed: nobody knows what else lies there. */
static int look(struct pfs_cache_dir *dir, struct entries *all)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	struct stat st;
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	int err = 0;

	if (!stream) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (entry = readdir(stream))) {
		bool temp = has_suffix(entry->d_name, TEMP_SUFFIX);

		if (!temp && !has_suffix(entry->d_name, CHUNKS_SUFFIX) &&
		    !has_suffix(entry->d_name, KEPT_SUFFIX))
			continue;
		if (fstatat(dir->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(st.st_mode))
			continue;
		if (temp && time(NULL) - st.st_mtim.tv_sec > TEMP_AGE_S)
			unlinkat(dir->fd, entry->d_name, 0);
		else
			err = add_entry(all, entry->d_name, &st);
	}
	closedir(stream);
	return err;
}

/* Another process may be doing the same: what it has removed is gone all the same. */
static uint64_t remove_oldest(struct pfs_cache_dir *dir, struct entries *all)
{
	uint64_t wanted = dir->size_max - dir->size_max / KEEP_PART, removed = 0;

	if (all->bytes <= dir->size_max)
		return 0;
	qsort(all->list, all->count, sizeof(*all->list), older_first);
	for (size_t i = 0; i < all->count && all->bytes > wanted; i++) {
		if (unlinkat(dir->fd, all->list[i].name, 0) == 0)
			removed++;
		else if (errno != ENOENT)
			continue;
		all->bytes -= all->list[i].bytes;
	}
	return removed;
}

static void measure(struct pfs_cache_dir *dir)
{
	struct entries all = {0};
	uint64_t removed = 0;
	int err;

	err = look(dir, &all);
	if (!err)
		removed = remove_oldest(dir, &all);
	pthread_mutex_lock(&dir->lock);
	if (!err)
		dir->bytes = all.bytes;
	dir->written = 0;
	dir->evicted += removed;
	dir->measuring = false;
	pthread_mutex_unlock(&dir->lock);
	for (size_t i = 0; i < all.count; i++)
		free(all.list[i].name);
	free(all.list);
}

static void account(struct pfs_cache_dir *dir, uint64_t len)
{
	bool now;

	pthread_mutex_lock(&dir->lock);
	dir->bytes += len;
	dir->written += len;
	now = dir->written > dir->size_max / MEASURE_PART && !dir->measuring;
	if (now)
		dir->measuring = true;
	pthread_mutex_unlock(&dir->lock);
	if (now)
		measure(dir);
}

void pfs_cache_dir_usage(struct pfs_cache_dir *dir, uint64_t *bytes, uint64_t *evicted)
{
	pthread_mutex_lock(&dir->lock);
	*bytes = dir->bytes;
	*evicted = dir->evicted;
	pthread_mutex_unlock(&dir->lock);
}

/* ---- opening ---- */

static int open_own(const char *path, struct pfs_reason *reason)
{
	struct pfs_dir *made;
	struct stat st;
	char *below;
	int fd, err;

	if (asprintf(&below, "%s/" SUBDIR, path) < 0)
		return -ENOMEM;
	err = pfs_io_file.ops->open_dir(&pfs_io_file, below, PFS_IO_CREATE, &made);
	if (err) {
		(void)pfs_refuse(reason, err, "%s: %s", below, strerror(-err));
		goto out;
	}
	made->ops->close_dir(made);
	fd = open(below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = fd < 0 || fstat(fd, &st) ? -errno : 0;
	if (!err && (st.st_uid != geteuid() || (st.st_mode & 022)))
		err = -EACCES;
	if (!err && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS))
		err = -errno;
	if (err == -EACCES)
		(void)pfs_refuse(reason, err, "%s: must be a directory of this user alone", below);
	else if (err)
		(void)pfs_refuse(reason, err, "%s: %s", below, strerror(-err));
	if (err && fd >= 0)
		close(fd);
out:
	free(below);
	return err ? err : fd;
}

int pfs_cache_dir_open(struct pfs_cache_dir **out, const char *path, uint64_t size_max,
		       struct pfs_reason *reason)
{
	struct pfs_cache_dir *dir;
	int fd;

	*out = NULL;
	fd = open_own(path, reason);
	if (fd < 0)
		return fd;
	dir = calloc(1, sizeof(*dir));
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	dir->fd = fd;
	dir->size_max = size_max;
	pthread_mutex_init(&dir->lock, NULL);
	measure(dir);
	*out = dir;
	return 0;
}

void pfs_cache_dir_close(struct pfs_cache_dir *dir)
{
	pthread_mutex_destroy(&dir->lock);
	close(dir->fd);
	free(dir);
}

/* ---- bytes ---- */

static void file_name(char *out, const char *name, const char *suffix)
{
	snprintf(out, FILE_NAME_MAX + 1, "%s%s", name, suffix);
}

static int open_file(struct pfs_cache_dir *dir, const char *name, const char *suffix, int how)
{
	char file[FILE_NAME_MAX + 1];
	struct stat st;
	int fd, err;

	file_name(file, name, suffix);
	fd = openat(dir->fd, file, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EUCLEAN;
	if (err)
		close(fd);
	return err ? err : fd;
}

static void touch_file(int fd)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	(void)futimens(fd, times); /* the order of use is a guess anyway */
}

ssize_t pfs_cache_dir_read(struct pfs_cache_dir *dir, const char *name, void *buf, size_t len,
			   uint64_t off, bool touch)
{
	int fd = open_file(dir, name, CHUNKS_SUFFIX, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	n = pfs_fd_read(fd, buf, len, off);
	if (touch && n > 0)
		touch_file(fd);
	close(fd);
	return n;
}

int pfs_cache_dir_write(struct pfs_cache_dir *dir, const char *name, const void *buf, size_t len,
			uint64_t off)
{
	int fd = open_file(dir, name, CHUNKS_SUFFIX, O_RDWR | O_CREAT);
	int err;

	if (fd < 0)
		return fd;
	err = pfs_fd_write(fd, buf, len, off);
	close(fd);
	account(dir, len);
	return err;
}

void pfs_cache_dir_forget(struct pfs_cache_dir *dir, const char *name, uint64_t off, uint64_t len)
{
	char file[FILE_NAME_MAX + 1];
	int fd = open_file(dir, name, CHUNKS_SUFFIX, O_RDWR);

	if (fd < 0)
		return;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len)) {
		file_name(file, name, CHUNKS_SUFFIX);
		unlinkat(dir->fd, file, 0); /* no holes here: the whole file */
	}
	close(fd);
}

/* ---- whole files ---- */

int pfs_cache_dir_keep(struct pfs_cache_dir *dir, const char *name, const void *data, size_t len)
{
	char temp_name[FILE_NAME_MAX + 1], file[FILE_NAME_MAX + 1];
	uint8_t header[KEPT_HEADER];
	uint64_t number;
	int fd, err;

	pthread_mutex_lock(&dir->lock);
	number = dir->temps++;
	pthread_mutex_unlock(&dir->lock);
	snprintf(temp_name, sizeof(temp_name), "%.128s-%ld-%lu" TEMP_SUFFIX, name, (long)getpid(),
		 (unsigned long)number);
	file_name(file, name, KEPT_SUFFIX);
	pfs_put_le32(header, KEPT_MAGIC);
	pfs_put_le32(header + 4, pfs_crc32c(0, data, len));
	fd = openat(dir->fd, temp_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = pfs_fd_write(fd, header, sizeof(header), 0);
	if (!err)
		err = pfs_fd_write(fd, data, len, sizeof(header));
	close(fd);
	if (!err && renameat(dir->fd, temp_name, dir->fd, file))
		err = -errno;
	if (err)
		unlinkat(dir->fd, temp_name, 0);
	account(dir, len);
	return err;
}

int pfs_cache_dir_kept(struct pfs_cache_dir *dir, const char *name, void **data, size_t *len)
{
	int fd = open_file(dir, name, KEPT_SUFFIX, O_RDONLY);
	uint8_t header[KEPT_HEADER], *bytes = NULL;
	struct stat st;
	size_t n;
	int err = -ENOENT;

	*data = NULL;
	*len = 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || st.st_size < KEPT_HEADER || (uint64_t)st.st_size > KEPT_MAX)
		goto out;
	n = (size_t)st.st_size - KEPT_HEADER;
	bytes = malloc(n + 1);
	if (!bytes) {
		err = -ENOMEM;
		goto out;
	}
	if (pfs_fd_read(fd, header, sizeof(header), 0) != sizeof(header) ||
	    pfs_fd_read(fd, bytes, n, sizeof(header)) != (ssize_t)n ||
	    pfs_get_le32(header) != KEPT_MAGIC ||
	    pfs_get_le32(header + 4) != pfs_crc32c(0, bytes, n))
		goto out;
	touch_file(fd);
	*data = bytes;
	*len = n;
	bytes = NULL;
	err = 0;
out:
	free(bytes);
	close(fd);
	return err;
}
