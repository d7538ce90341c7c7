#include "fs/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/mount_table.h"
#include "fs/serve.h"

/* 0, or why nobody answers. *pid: of the daemon that listens, 0 when it can't be told. */
static int ask(const char *store, pid_t *pid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int dir, fd, err = 0;

	*pid = 0;
	/* By its descriptor: a path may be longer than a socket's address. */
	dir = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir,
		 PFS_SERVE_SOCKET);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		err = -errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		*pid = peer.pid;
	if (fd >= 0)
		close(fd);
	close(dir);
	return err;
}

bool pfs_holder_is_served(const char *store)
{
	pid_t pid;
	int err = ask(store, &pid);

	/* EAGAIN: so many want to connect that we would have to wait. */
	return err == 0 || err == -EAGAIN;
}

/* Its first thread is gone, which leaves last in an orderly end. */
static bool is_killed(pid_t pid)
{
	char path[32], line[512];
	const char *state;
	bool killed = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(line, sizeof(line), file)) {
		state = strrchr(line, ')');
		killed = state && (state[2] == 'Z' || state[2] == 'X');
	}
	fclose(file);
	return killed;
}

static bool cut(const struct pfs_mount *mount)
{
	char path[64];
	pid_t pid;
	bool done;
	int fd;

	if (strcmp(mount->type, PFS_MOUNT_TYPE) != 0 || ask(mount->source, &pid) != 0 || pid <= 0 ||
	    !is_killed(pid))
		return false;
	/* Also for an ordinary user who has mounted it. */
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", mount->minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, "1", 1) == 1;
	if (fd >= 0)
		close(fd);
	return done || pfs_unmount(mount->path, PFS_UNMOUNT_FORCE) == 0;
}

bool pfs_holder_cut_mount(const char *path)
{
	struct pfs_mount mount;
	bool done = pfs_mount_at(&mount, path) == 0 && cut(&mount);

	pfs_mount_free(&mount);
	return done;
}

bool pfs_holder_cut_store(const char *store)
{
	struct pfs_mount mount;
	bool done = pfs_mount_of(&mount, store) == 0 && cut(&mount);

	pfs_mount_free(&mount);
	return done;
}
