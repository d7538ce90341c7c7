/* The file backend: a store is a directory of the local filesystem. */
#include "storage/fd.h"
#include "storage/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Everything in a directory is reached from its descriptor: renaming or covering its path changes
 * nothing. */
struct file_dir {
	struct pfs_dir base;
	int fd;
	int lock_fd; /* -1: not locked */
};

struct file_file {
	struct pfs_file base;
	int fd;
};

static int dir_fd(const struct pfs_dir *dir)
{
	return ((const struct file_dir *)dir)->fd;
}

static int file_fd(const struct pfs_file *file)
{
	return ((const struct file_file *)file)->fd;
}

static int sync_fd(int fd)
{
	while (fsync(fd))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* ---- directories ---- */

/* Makes one directory and syncs its entry in the one above; what can't be synced does not stay, so
 * that it is not taken for durable at the next attempt. path is given back unchanged. -EEXIST. */
static int make_dir(char *path, mode_t mode)
{
	char *slash = strrchr(path, '/');
	const char *parent = slash ? path : ".";
	int fd, err;

	if (mkdir(path, mode))
		return -errno;
	if (slash == path) {
		parent = "/";
	} else if (slash) {
		*slash = 0;
	}
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : sync_fd(fd);
	if (fd >= 0)
		close(fd);
	if (slash)
		*slash = '/';
	if (err)
		(void)rmdir(path);
	return err;
}

/* mkdir -p. 1: the last component was made by us, 0: it was there. */
static int make_dirs(const char *path, mode_t mode)
{
	char *copy = strdup(path), *p;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	p = copy + strlen(copy);
	while (p > copy + 1 && p[-1] == '/')
		*--p = 0;
	p = copy;
	do {
		p += strspn(p, "/");
		p += strcspn(p, "/");
		char cut = *p;

		*p = 0;
		err = make_dir(copy, mode);
		*p = cut;
	} while ((err == 0 || err == -EEXIST) && *p);
	free(copy);
	if (err == 0)
		return 1;
	return err == -EEXIST ? 0 : err;
}

static int file_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
			 struct pfs_dir **out)
{
	struct file_dir *dir;
	int fd, made = 0;

	*out = NULL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && (flags & PFS_IO_CREATE)) {
		made = make_dirs(path, flags & PFS_IO_SHARED ? 0777 : 0700);
		if (made < 0)
			return made;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	if ((flags & PFS_IO_CREATE) && (flags & PFS_IO_EXCL) && !made) {
		close(fd);
		return -EEXIST;
	}
	dir = malloc(sizeof(*dir));
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	*dir = (struct file_dir){.base.ops = io->ops, .fd = fd, .lock_fd = -1};
	*out = &dir->base;
	return 0;
}

static void file_close_dir(struct pfs_dir *base)
{
	struct file_dir *dir = (struct file_dir *)base;

	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	close(dir->fd);
	free(dir);
}

static int file_sync_dir(struct pfs_dir *dir)
{
	return sync_fd(dir_fd(dir));
}

static int file_list(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	/* A descriptor of its own, because the position in a listing belongs to the open file. */
	int fd = openat(dir_fd(dir), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *stream;
	int err = 0;

	if (fd < 0)
		return -errno;
	stream = fdopendir(fd);
	if (!stream) {
		err = -errno;
		close(fd);
		return err;
	}
	while (err == 0) {
		errno = 0;
		entry = readdir(stream);
		if (!entry) {
			err = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			err = fn(arg, entry->d_name);
	}
	closedir(stream);
	return err;
}

/* flock, because it belongs to the open file: a second handle in the same process is another
 * holder, and the daemon keeps the lock over its fork. */
static int file_lock(struct pfs_dir *base, const char *name, bool exclusive)
{
	struct file_dir *dir = (struct file_dir *)base;
	int fd, err;

	if (dir->lock_fd >= 0)
		return -EINVAL;
	fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 && !exclusive && (errno == EROFS || errno == EACCES)) {
		bool no_file_possible = errno == EROFS;

		fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0 && errno == ENOENT)
			return no_file_possible ? 0 : -EACCES;
	}
	if (fd < 0)
		return -errno;
	while (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
		if (errno == EINTR)
			continue;
		err = -errno;
		close(fd);
		return err;
	}
	dir->lock_fd = fd;
	return 0;
}

static int file_space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	struct statvfs st;

	*out = (struct pfs_io_space){0};
	if (fstatvfs(dir_fd(dir), &st))
		return -errno;
	out->total = (uint64_t)st.f_blocks * st.f_frsize;
	out->available = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

/* ---- names ---- */

/* A store may come from anywhere: no link is followed out of it, and nothing but regular files is
 * opened (NONBLOCK: a FIFO must not hold us up before we see what it is). */
static int file_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct file_file *file;
	struct stat st;
	int fd, err;

	*out = NULL;
	if (strchr(name, '/'))
		return -EINVAL;
	how |= flags & PFS_IO_WRITE ? O_RDWR : O_RDONLY;
	how |= flags & PFS_IO_CREATE ? O_CREAT : 0;
	how |= flags & PFS_IO_EXCL ? O_EXCL : 0;
	fd = openat(dir_fd(dir), name, how, flags & PFS_IO_SHARED ? 0666 : 0600);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EUCLEAN;
	if (err) {
		close(fd);
		return err;
	}
	file = malloc(sizeof(*file));
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	*file = (struct file_file){.base.ops = dir->ops, .fd = fd};
	*out = &file->base;
	return 0;
}

static int file_rename(struct pfs_dir *dir, const char *from, const char *to)
{
	return renameat(dir_fd(dir), from, dir_fd(dir), to) ? -errno : 0;
}

static int file_unlink(struct pfs_dir *dir, const char *name)
{
	return unlinkat(dir_fd(dir), name, 0) ? -errno : 0;
}

/* ---- files ---- */

static void file_close(struct pfs_file *file)
{
	close(file_fd(file));
	free(file);
}

static ssize_t file_read(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	return pfs_fd_read(file_fd(file), buf, len, off);
}

static int file_write(struct pfs_file *file, const void *buf, size_t len, uint64_t off)
{
	return pfs_fd_write(file_fd(file), buf, len, off);
}

static int file_sync(struct pfs_file *file)
{
	while (fdatasync(file_fd(file)))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int file_size(struct pfs_file *file, uint64_t *out)
{
	struct stat st;

	*out = 0;
	if (fstat(file_fd(file), &st))
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}

static int file_disk_usage(struct pfs_file *file, uint64_t *out)
{
	struct stat st;

	*out = 0;
	if (fstat(file_fd(file), &st))
		return -errno;
	*out = (uint64_t)st.st_blocks * 512;
	return 0;
}

static int file_truncate(struct pfs_file *file, uint64_t size)
{
	while (ftruncate(file_fd(file), (off_t)size))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int change_space(struct pfs_file *file, int mode, uint64_t off, uint64_t len)
{
	while (fallocate(file_fd(file), mode, (off_t)off, (off_t)len))
		if (errno != EINTR)
			return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return 0;
}

static int file_allocate(struct pfs_file *file, uint64_t off, uint64_t len)
{
	uint64_t size;
	int err = change_space(file, 0, off, len);

	if (err != -EOPNOTSUPP)
		return err;
	err = file_size(file, &size);
	if (err)
		return err;
	return size < off + len ? file_truncate(file, off + len) : 0;
}

static int file_punch(struct pfs_file *file, uint64_t off, uint64_t len)
{
	return change_space(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int file_map(struct pfs_file *file, size_t len, const uint8_t **out)
{
	void *addr = mmap(NULL, len, PROT_READ, MAP_SHARED, file_fd(file), 0);

	*out = NULL;
	if (addr == MAP_FAILED)
		return -errno;
	*out = addr;
	return 0;
}

static void file_unmap(struct pfs_file *file, const uint8_t *addr, size_t len)
{
	(void)file;
	munmap((void *)(uintptr_t)addr, len);
}

static const struct pfs_io_ops file_ops = {
	.open_dir = file_open_dir,
	.close_dir = file_close_dir,
	.sync_dir = file_sync_dir,
	.list = file_list,
	.lock = file_lock,
	.space = file_space,
	.open = file_open,
	.rename = file_rename,
	.unlink = file_unlink,
	.close = file_close,
	.read = file_read,
	.write = file_write,
	.sync = file_sync,
	.allocate = file_allocate,
	.punch = file_punch,
	.truncate = file_truncate,
	.size = file_size,
	.disk_usage = file_disk_usage,
	.map = file_map,
	.unmap = file_unmap,
};

const struct pfs_io pfs_io_file = {.ops = &file_ops, .context = NULL};
