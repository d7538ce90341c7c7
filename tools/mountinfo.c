#include "tools/mountinfo.h"

#include <limits.h>
#include <stdlib.h>

/* Undoes the octal escapes of mountinfo (\040 for a space) in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

#define FIELD_MOUNTPOINT 4 /* counted from 0 */

/* Takes a line apart: `36 35 98:0 /root /mountpoint options [tags...] - type source super-options`.
 */
static bool split_line(char *line, char **mountpoint, char **type, char **source)
{
	char *save, *field = strtok_r(line, " \n", &save);
	unsigned n = 0;

	*mountpoint = NULL;
	for (; field && strcmp(field, "-") != 0; field = strtok_r(NULL, " \n", &save)) {
		if (n++ == FIELD_MOUNTPOINT)
			*mountpoint = field;
	}
	*type = strtok_r(NULL, " \n", &save);
	*source = *type ? strtok_r(NULL, " \n", &save) : NULL;
	if (!field || !*mountpoint || !*source)
		return false;
	unescape(*mountpoint);
	unescape(*source);
	return true;
}

int mountinfo_search(FILE *mountinfo, const char *path, char **source)
{
	char *line = NULL, *mountpoint, *type, *from;
	size_t cap = 0;
	int err = 0;

	*source = NULL;
	/* Later lines are mounts on top of earlier ones. */
	while (!err && getline(&line, &cap, mountinfo) >= 0) {
		if (!split_line(line, &mountpoint, &type, &from) || strcmp(mountpoint, path) != 0)
			continue;
		free(*source);
		*source = NULL;
		if (strcmp(type, MOUNT_TYPE) == 0) {
			*source = strdup(from);
			err = *source ? 0 : -ENOMEM;
		}
	}
	if (!err && ferror(mountinfo))
		err = -EIO;
	free(line);
	if (err) {
		free(*source);
		*source = NULL;
		return err;
	}
	return *source != NULL;
}

/* The canonical path, also when its last component can't be looked at (a mount whose daemon is
 * dead). NULL: errno. */
static char *canonicalize(const char *path)
{
	char *whole = realpath(path, NULL), *copy, *slash, *parent;
	const char *name;

	if (whole || errno == ENOENT || errno == ENOTDIR || errno == ENOMEM)
		return whole;
	copy = strdup(path);
	if (!copy)
		return NULL;
	while (strlen(copy) > 1 && copy[strlen(copy) - 1] == '/')
		copy[strlen(copy) - 1] = '\0';
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	parent = realpath(!slash ? "." : *copy ? copy : "/", NULL);
	if (parent && asprintf(&whole, "%s/%s", strcmp(parent, "/") ? parent : "", name) < 0)
		whole = NULL;
	free(parent);
	free(copy);
	return whole;
}

int mountinfo_find(const char *path, char **canonical, char **source)
{
	FILE *mountinfo;
	int found;

	*source = NULL;
	*canonical = canonicalize(path);
	if (!*canonical)
		return errno == ENOMEM ? -ENOMEM : 0;
	mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!mountinfo) {
		found = -errno;
	} else {
		found = mountinfo_search(mountinfo, *canonical, source);
		fclose(mountinfo);
	}
	if (found != 1) {
		free(*canonical);
		*canonical = NULL;
	}
	return found;
}
