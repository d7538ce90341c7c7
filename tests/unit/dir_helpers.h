/* Directories of their own for tests on real files. */
#ifndef PFS_TEST_DIR_HELPERS_H
#define PFS_TEST_DIR_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

/* With the files in it; there is no directory in it. */
static inline void remove_dir(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	assert_int_equal(rmdir(path), 0);
}

#endif
