/*
 * The kernel forgets the pages of every regular file of a directory, but
 * for those whose attributes can't be read.
 *
 *	forget DIRECTORY
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void forget(int dir, const char *name)
{
	struct stat st;
	int error, fd;

	if (fstatat(dir, name, &st, 0) < 0) {
		if (errno == EIO)
			return;
		err(1, "%s", name);
	}
	if (!S_ISREG(st.st_mode))
		return;
	fd = openat(dir, name, O_RDONLY);
	if (fd < 0)
		err(1, "%s", name);
	error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (error)
		errx(1, "%s: %s", name, strerror(error));
	close(fd);
}

int main(int argc, char **argv)
{
	struct dirent *entry;
	DIR *dir;

	if (argc != 2)
		errx(2, "usage: forget DIRECTORY");
	dir = opendir(argv[1]);
	if (!dir)
		err(1, "%s", argv[1]);
	while (errno = 0, (entry = readdir(dir)))
		forget(dirfd(dir), entry->d_name);
	if (errno)
		err(1, "%s", argv[1]);
	closedir(dir);
	return 0;
}
