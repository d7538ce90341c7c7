#include "fs/startup.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/exit_codes.h"

#define NOTIFY_MAX 1024 /* bytes of a message; longer ones are cut */

static ssize_t read_byte(int fd, unsigned char *byte)
{
	ssize_t n;

	do {
		n = read(fd, byte, 1);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* The parent: what its exit code is to be. */
static int wait_for(int fd, pid_t child, const char *mountpoint)
{
	unsigned char code;
	struct statfs fs;
	int status = 0;

	if (read_byte(fd, &code) != 1) {
		if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
			fprintf(stderr, "payloadfs: the daemon was killed by signal %d\n",
				WTERMSIG(status));
		else
			fprintf(stderr, "payloadfs: the daemon ended unexpectedly\n");
		return PFS_EXIT_MOUNT;
	}
	/* The first request, and the proof that requests are answered: this one is never served
	 * from a cache. */
	if (code == PFS_EXIT_OK && statfs(mountpoint, &fs) != 0) {
		fprintf(stderr, "payloadfs: %s: mounted, but it does not answer: %s\n", mountpoint,
			strerror(errno));
		return PFS_EXIT_MOUNT;
	}
	return code;
}

int pfs_startup_background(struct pfs_startup *startup, const char *mountpoint, int *code)
{
	int ends[2], err;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	fflush(NULL);
	child = fork();
	if (child < 0) {
		err = -errno;
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	if (child > 0) {
		close(ends[1]);
		*code = wait_for(ends[0], child, mountpoint);
		close(ends[0]);
		return 1;
	}
	/* What a shell or a test runner has left open would stay open, and its readers waiting, as
	 * long as the mount lives. */
	close_range((unsigned)ends[1] + 1, ~0U, 0);
	if (ends[1] > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)ends[1] - 1, 0);
	setsid();
	startup->pipe = ends[1];
	return 0;
}

static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	fflush(NULL);
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

bool pfs_startup_tell(struct pfs_startup *startup, int code)
{
	unsigned char byte = (unsigned char)code;
	ssize_t n;

	if (startup->pipe < 0)
		return true;
	if (code == PFS_EXIT_OK)
		leave_terminal();
	do {
		n = write(startup->pipe, &byte, 1);
	} while (n < 0 && errno == EINTR);
	close(startup->pipe);
	startup->pipe = -1;
	return n == 1;
}

/* Where a message of the service manager goes. */
static void send_notice(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if ((len == 0) || (*path != '/' && *path != '@') || len >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, len);
	if (*path == '@') /* an abstract name */
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

void pfs_startup_notify(const char *state, const char *fmt, ...)
{
	char text[NOTIFY_MAX];
	size_t begin = (size_t)snprintf(text, sizeof(text), "%s\nSTATUS=", state);
	va_list args;

	if (begin >= sizeof(text))
		return;
	va_start(args, fmt);
	vsnprintf(text + begin, sizeof(text) - begin, fmt, args);
	va_end(args);
	/* A newline in a path must not begin a variable of its own. */
	for (char *p = text + begin; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
	send_notice(text);
}
