/* flat_temp: preloaded into a program that insists on a temporary directory of its own below
 * $FLAT_TEMP_FROM, gives it the directory $FLAT_TEMP_TO instead: mkdir makes a symbolic link to it,
 * rmdir removes the link. So stress-ng, which works in nothing but its own directories, can work in
 * a filesystem that has only one. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_ours(const char *path)
{
	const char *from = getenv("FLAT_TEMP_FROM");

	return from && strncmp(path, from, strlen(from)) == 0;
}

int mkdir(const char *path, mode_t mode)
{
	int (*next)(const char *, mode_t) =
		(int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
	const char *to = getenv("FLAT_TEMP_TO");

	return to && is_ours(path) ? symlink(to, path) : next(path, mode);
}

int rmdir(const char *path)
{
	int (*next)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "rmdir");

	return is_ours(path) ? unlink(path) : next(path);
}
