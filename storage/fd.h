/* Rank 0: reading and writing at a place of a file, all of it, whatever interrupts; the descriptors
 * that a program finds. */
#ifndef PFS_FD_H
#define PFS_FD_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "storage/base.h"

/* Bytes read, short only at the end of the file; or a negative errno. */
static inline ssize_t pfs_fd_read(int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* 0, or a negative errno: any part may have been written. */
static inline int pfs_fd_write(int fd, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* The first thing that a program does: standard input, output and error that were closed by whoever
 * started it lead to /dev/null, where they give EBADF as before. Else the next file that is opened
 * would get the number, a file of the store, and messages be written into it. Negative errno: they
 * are still closed. */
static inline int pfs_fd_keep_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int how = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;

		/* The lowest number that is free is the one that open gives. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", how) < 0)
			return -errno;
	}
	return 0;
}

#endif
