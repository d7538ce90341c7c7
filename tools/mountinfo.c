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

void mount_free(struct mount *mount)
{
	free(mount->point);
	free(mount->source);
	memset(mount, 0, sizeof(*mount));
}

#define FIELD_MOUNTPOINT 4 /* counted from 0 */

/* One line of mountinfo, taken apart. */
struct mount_line {
	char *mountpoint, *type, *source;
};

/* `36 35 98:0 /root /mountpoint options [tags...] - type source super-options` */
static bool split_line(char *line, struct mount_line *out)
{
	char *save, *field = strtok_r(line, " \n", &save);
	unsigned n = 0;

	memset(out, 0, sizeof(*out));
	for (; field && strcmp(field, "-") != 0; field = strtok_r(NULL, " \n", &save)) {
		if (n++ == FIELD_MOUNTPOINT)
			out->mountpoint = field;
	}
	if (!field || !out->mountpoint)
		return false;
	out->type = strtok_r(NULL, " \n", &save);
	out->source = out->type ? strtok_r(NULL, " \n", &save) : NULL;
	if (!out->source)
		return false;
	unescape(out->mountpoint);
	unescape(out->source);
	return true;
}

static int take_line(struct mount *mount, const struct mount_line *line)
{
	mount_free(mount);
	if (strcmp(line->type, MOUNT_TYPE) != 0)
		return 0;
	mount->point = strdup(line->mountpoint);
	mount->source = strdup(line->source);
	return mount->point && mount->source ? 0 : -ENOMEM;
}

int mountinfo_search(FILE *mountinfo, const char *path, struct mount *mount)
{
	struct mount_line parts;
	char *line = NULL;
	size_t cap = 0;
	int err = 0;

	memset(mount, 0, sizeof(*mount));
	/* Later lines are mounts on top of earlier ones. */
	while (!err && getline(&line, &cap, mountinfo) >= 0) {
		if (split_line(line, &parts) && strcmp(parts.mountpoint, path) == 0)
			err = take_line(mount, &parts);
	}
	if (!err && ferror(mountinfo))
		err = -EIO;
	free(line);
	if (err)
		mount_free(mount);
	return err ? err : mount->source != NULL;
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

int mountinfo_find(const char *path, struct mount *mount)
{
	char *canonical = canonicalize(path);
	FILE *mountinfo;
	int found;

	memset(mount, 0, sizeof(*mount));
	if (!canonical)
		return errno == ENOMEM ? -ENOMEM : 0;
	mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!mountinfo) {
		found = -errno;
	} else {
		found = mountinfo_search(mountinfo, canonical, mount);
		fclose(mountinfo);
	}
	free(canonical);
	return found;
}
