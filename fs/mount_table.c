#include "fs/mount_table.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "fs/paths.h"

#define PFS_DEAD_MOUNTS_MAX 16 /* dead mounts on top of each other */

extern char **environ;

/* The table writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
}

/* 36 35 98:0 /root /mount/point options tag... - type source superoptions */
static bool parse_line(char *line, struct pfs_mount *out)
{
	char *rest = strstr(line, " - ");
	char *field[5], *p = line;

	if (!rest)
		return false;
	*rest = '\0';
	for (int i = 0; i < 5; i++) {
		field[i] = strsep(&p, " ");
		if (!field[i])
			return false;
	}
	if (sscanf(field[2], "%u:%u", &out->major, &out->minor) != 2)
		return false;
	rest += 3;
	out->path = field[4];
	out->type = strsep(&rest, " ");
	out->source = strsep(&rest, " ");
	if (!out->type || !out->source)
		return false;
	unescape(out->path);
	unescape(out->type);
	unescape(out->source);
	return true;
}

static int keep(struct pfs_mount *out, const struct pfs_mount *line)
{
	pfs_mount_free(out);
	*out = *line;
	out->path = strdup(line->path);
	out->type = strdup(line->type);
	out->source = strdup(line->source);
	return out->path && out->type && out->source ? 0 : -ENOMEM;
}

/* The last line, which is the topmost mount, that is at path (if not NULL), or a payloadfs of
 * source. */
static int find(struct pfs_mount *out, const char *path, const char *source)
{
	struct pfs_mount line;
	char *buf = NULL;
	size_t cap = 0;
	int err = 0;
	FILE *table;

	memset(out, 0, sizeof(*out));
	table = fopen("/proc/self/mountinfo", "re");
	if (!table)
		return -errno;
	while (!err && getline(&buf, &cap, table) > 0) {
		if (!parse_line(buf, &line))
			continue;
		if (path ? strcmp(line.path, path) == 0
			 : strcmp(line.type, PFS_MOUNT_TYPE) == 0 &&
				    strcmp(line.source, source) == 0)
			err = keep(out, &line);
	}
	free(buf);
	fclose(table);
	if (!err && !out->path)
		err = -ENOENT;
	if (err)
		pfs_mount_free(out);
	return err;
}

int pfs_mount_at(struct pfs_mount *out, const char *path)
{
	return find(out, path, NULL);
}

int pfs_mount_of(struct pfs_mount *out, const char *source)
{
	return find(out, NULL, source);
}

void pfs_mount_free(struct pfs_mount *mount)
{
	free(mount->path);
	free(mount->type);
	free(mount->source);
	memset(mount, 0, sizeof(*mount));
}

static int run_fusermount(const char *path, bool lazy)
{
	char *const argv[] = {"fusermount3", "-u",	   "-q", lazy ? "-z" : "-q",
			      "--",	     (char *)path, NULL};
	struct pfs_mount mount;
	int status, err;
	pid_t pid;

	err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (err)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	/* It does not say why it failed. */
	err = pfs_mount_at(&mount, path);
	pfs_mount_free(&mount);
	return err == -ENOENT ? -EINVAL : -EBUSY;
}

int pfs_unmount(const char *path, enum pfs_unmount_how how)
{
	static const int flags[] = {
		[PFS_UNMOUNT_IDLE] = UMOUNT_NOFOLLOW,
		[PFS_UNMOUNT_LAZY] = UMOUNT_NOFOLLOW | MNT_DETACH,
		[PFS_UNMOUNT_FORCE] = UMOUNT_NOFOLLOW | MNT_DETACH | MNT_FORCE,
	};

	if (umount2(path, flags[how]) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	return run_fusermount(path, how != PFS_UNMOUNT_IDLE);
}

/* The connection to path's filesystem is dead. */
static int detach_dead(const char *path, struct pfs_reason *reason)
{
	struct pfs_mount mount;
	char *absolute;
	int err;

	err = pfs_path_resolve(&absolute, path);
	if (!err) {
		err = pfs_mount_at(&mount, absolute);
		if (!err && strcmp(mount.type, PFS_MOUNT_TYPE) != 0)
			err = -ENOTCONN;
		if (!err)
			err = pfs_unmount(absolute, PFS_UNMOUNT_LAZY);
		pfs_mount_free(&mount);
		free(absolute);
	}
	if (err)
		snprintf(
			reason->text, sizeof(reason->text),
			"%s: a dead mount is in the way and could not be detached (%s): unmount it",
			path, strerror(-err));
	return err;
}

/* 0 when what is mounted at path answers. stat alone would not tell: a dead mount's attributes may
 * be cached. */
static int probe(const char *path, struct stat *st)
{
	struct statfs fs;

	return stat(path, st) != 0 ? -1 : statfs(path, &fs);
}

int pfs_mountpoint_prepare(char **out, const char *path, struct pfs_reason *reason)
{
	struct stat st;
	int err;

	*out = NULL;
	for (int i = 0; probe(path, &st) != 0; i++) {
		err = -errno;
		if ((err == -ENOTCONN || err == -ECONNABORTED) && i < PFS_DEAD_MOUNTS_MAX) {
			err = detach_dead(path, reason);
			if (err)
				return err;
			continue;
		}
		snprintf(reason->text, sizeof(reason->text), "%s: mount point: %s", path,
			 strerror(-err));
		return err;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(reason->text, sizeof(reason->text), "%s: mount point: not a directory",
			 path);
		return -ENOTDIR;
	}
	*out = realpath(path, NULL);
	if (*out)
		return 0;
	err = -errno;
	snprintf(reason->text, sizeof(reason->text), "%s: mount point: %s", path, strerror(-err));
	return err;
}
