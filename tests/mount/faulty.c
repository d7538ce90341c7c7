/* faulty: a filesystem that shows a directory, and fails as it is told.
 *
 *	faulty DIRECTORY FAULTS MOUNTPOINT [fuse options]
 *
 * FAULTS is a file with a line for each fault: OPERATION NAME FROM TO. While it stands there, the
 * operation (read, write, sync) gives EIO for files whose name begins with NAME (* all), where it
 * touches a byte of [FROM, TO). With the operation `hold` such a write is not answered as long as
 * the line is there; the file FAULTS.held says that there was one. FAULTS is read at every
 * operation, and may be missing. */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int top; /* the directory */
static const char *faults;

static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static bool is_faulty(const char *operation, const char *path, uint64_t from, uint64_t to)
{
	const char *name = strrchr(path, '/') + 1;
	unsigned long long start, end;
	char op[16], prefix[64];
	bool hit = false;
	FILE *file = fopen(faults, "r");

	while (file && !hit && fscanf(file, "%15s %63s %llu %llu", op, prefix, &start, &end) == 4)
		hit = !strcmp(op, operation) && from < end && to > start &&
		      (!strcmp(prefix, "*") || !strncmp(name, prefix, strlen(prefix)));
	if (file)
		fclose(file);
	return hit;
}

/* As a disk that does not answer. */
static void hold(const char *path, uint64_t from, uint64_t to)
{
	char held[PATH_MAX];
	int fd = -1;

	snprintf(held, sizeof(held), "%s.held", faults);
	while (is_faulty("hold", path, from, to)) {
		if (fd < 0)
			fd = open(held, O_WRONLY | O_CREAT, 0644);
		usleep(10000);
	}
	if (fd >= 0)
		close(fd);
}

static int result(int done)
{
	return done < 0 ? -errno : 0;
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	return result(fstatat(top, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	DIR *dir = fdopendir(openat(top, below(path), O_RDONLY | O_DIRECTORY));
	struct dirent *entry;

	(void)off;
	(void)fi;
	(void)flags;
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		fill(buf, entry->d_name, NULL, 0, 0);
	closedir(dir);
	return 0;
}

static int do_mkdir(const char *path, mode_t mode)
{
	return result(mkdirat(top, below(path), mode));
}

static int do_mknod(const char *path, mode_t mode, dev_t rdev)
{
	return result(mknodat(top, below(path), mode, rdev));
}

static int do_unlink(const char *path)
{
	return result(unlinkat(top, below(path), 0));
}

static int do_rmdir(const char *path)
{
	return result(unlinkat(top, below(path), AT_REMOVEDIR));
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
	return result(renameat2(top, below(from), top, below(to), flags));
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	(void)fi;
	return result(fchmodat(top, below(path), mode, 0));
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
	int fd = openat(top, below(path), fi->flags & ~(O_NOFOLLOW | O_EXCL));

	fi->fh = (uint64_t)fd;
	return result(fd);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int fd = openat(top, below(path), fi->flags | O_CREAT, mode);

	fi->fh = (uint64_t)fd;
	return result(fd);
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	int fd = fi ? (int)fi->fh : openat(top, below(path), O_WRONLY), err;

	err = fd < 0 ? -errno : result(ftruncate(fd, size));
	if (!fi && fd >= 0)
		close(fd);
	return err;
}

static int do_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	ssize_t n;

	if (is_faulty("read", path, (uint64_t)off, (uint64_t)off + size))
		return -EIO;
	n = pread((int)fi->fh, buf, size, off);
	return n < 0 ? -errno : (int)n;
}

static int do_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	ssize_t n;

	hold(path, (uint64_t)off, (uint64_t)off + size);
	if (is_faulty("write", path, (uint64_t)off, (uint64_t)off + size))
		return -EIO;
	n = pwrite((int)fi->fh, buf, size, off);
	return n < 0 ? -errno : (int)n;
}

static int do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	if (is_faulty("sync", path, 0, UINT64_MAX))
		return -EIO;
	return result(data ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

static int do_fsyncdir(const char *path, int data, struct fuse_file_info *fi)
{
	(void)data;
	(void)fi;
	return is_faulty("sync", path, 0, UINT64_MAX) ? -EIO : 0;
}

static int do_fallocate(const char *path, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)path;
	return result(fallocate((int)fi->fh, mode, off, len));
}

static int do_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	return result(fstatvfs(top, st));
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	return result(close((int)fi->fh));
}

static const struct fuse_operations operations = {
	.getattr = do_getattr,
	.readdir = do_readdir,
	.mkdir = do_mkdir,
	.mknod = do_mknod,
	.unlink = do_unlink,
	.rmdir = do_rmdir,
	.rename = do_rename,
	.chmod = do_chmod,
	.open = do_open,
	.create = do_create,
	.truncate = do_truncate,
	.read = do_read,
	.write = do_write,
	.fsync = do_fsync,
	.fsyncdir = do_fsyncdir,
	.fallocate = do_fallocate,
	.statfs = do_statfs,
	.release = do_release,
};

int main(int argc, char *argv[])
{
	char path[PATH_MAX];

	if (argc < 4 || !realpath(argv[2], path)) {
		fprintf(stderr, "usage: faulty DIRECTORY FAULTS MOUNTPOINT [fuse options]\n");
		return 2;
	}
	top = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (top < 0) {
		perror(argv[1]);
		return 1;
	}
	faults = path;
	argv[2] = argv[0];
	umask(0);
	return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
