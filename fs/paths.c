#include "fs/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int join(char **out, const char *dir, const char *name)
{
	return asprintf(out, "%s%s%s", dir, strcmp(dir, "/") == 0 ? "" : "/", name) < 0 ? -ENOMEM
											: 0;
}

/* Splits the last component off: "a/b/" becomes "a" and "b", "b" becomes "." and "b". */
static void split(char *path, const char **dir, const char **name)
{
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	*dir = !slash ? "." : slash == path ? "/" : path;
	if (slash && slash != path)
		*slash = '\0';
}

int pfs_path_resolve(char **out, const char *path)
{
	const char *dir, *name;
	char *copy, *above;
	int err;

	*out = realpath(path, NULL);
	if (*out)
		return 0;
	if (errno != ENOENT)
		return -errno;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	split(copy, &dir, &name);
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		free(copy);
		return -EINVAL;
	}
	/* "/" and "." exist, so this ends. */
	err = pfs_path_resolve(&above, dir);
	if (!err) {
		err = join(out, above, name);
		free(above);
	}
	if (err)
		*out = NULL;
	free(copy);
	return err;
}

bool pfs_path_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* As systemd-escape --path does: '/' becomes '-', what is not a letter, a digit, ':', '_' or '.'
 * becomes \xNN, and so does a leading dot. */
static void escape(char *out, const char *path)
{
	const char *p = path + strspn(path, "/");

	if (!*p)
		*out++ = '-';
	for (const char *start = p; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == ':' || *p == '_' ||
			     (*p == '.' && p != start);

		if (*p == '/')
			*out++ = '-';
		else if (plain)
			*out++ = *p;
		else
			out += sprintf(out, "\\x%02x", (unsigned char)*p);
	}
	*out = '\0';
}

int pfs_path_default_store(char **out, const char *mountpoint, bool root)
{
	const char *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	char *name;
	int n;

	*out = NULL;
	name = malloc(4 * strlen(mountpoint) + 2);
	if (!name)
		return -ENOMEM;
	escape(name, mountpoint);
	if (root)
		n = asprintf(out, "/var/lib/payloadfs/%s", name);
	else if (data && *data == '/')
		n = asprintf(out, "%s/payloadfs/%s", data, name);
	else if (home && *home == '/')
		n = asprintf(out, "%s/.local/share/payloadfs/%s", home, name);
	else
		n = -ENOENT;
	free(name);
	if (n < 0)
		*out = NULL;
	return n >= 0 ? 0 : n == -ENOENT ? -ENOENT : -ENOMEM;
}

int pfs_path_default_cache(char **out, bool root)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int n;

	*out = NULL;
	if (root)
		n = asprintf(out, "/var/cache/payloadfs");
	else if (cache && *cache == '/')
		n = asprintf(out, "%s/payloadfs", cache);
	else if (home && *home == '/')
		n = asprintf(out, "%s/.cache/payloadfs", home);
	else
		return -ENOENT;
	if (n < 0)
		*out = NULL;
	return n < 0 ? -ENOMEM : 0;
}

int pfs_path_absolute(char **out, const char *path)
{
	char *here;
	int err;

	*out = NULL;
	if (*path == '/') {
		*out = strdup(path);
		return *out ? 0 : -ENOMEM;
	}
	here = getcwd(NULL, 0);
	if (!here)
		return -errno;
	err = join(out, here, path);
	free(here);
	if (err)
		*out = NULL;
	return err;
}
