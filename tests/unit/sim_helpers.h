/* Short forms for the tests of the sim. Every call is expected to succeed. */
#ifndef PFS_TEST_SIM_HELPERS_H
#define PFS_TEST_SIM_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim.h"

#define PIECE PFS_SIM_PIECE

static inline struct pfs_dir *open_dir(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, "store", PFS_IO_CREATE, &dir), 0);
	return dir;
}

static inline struct pfs_file *open_file(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_CREATE | PFS_IO_WRITE, &file), 0);
	return file;
}

static inline void put(struct pfs_file *file, uint64_t off, const char *text)
{
	assert_int_equal(file->ops->write(file, text, strlen(text), off), 0);
}

static inline void sync_all(struct pfs_dir *dir, struct pfs_file *file)
{
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(dir->ops->sync_dir(dir), 0);
}

/* The first bytes of a file in an image, as text; NULL without such a file. Good until the next
 * call. */
static inline const char *text_in(struct pfs_sim *image, const char *name, uint64_t off)
{
	static char text[64];
	struct pfs_dir *dir = open_dir(image);
	struct pfs_file *file;
	ssize_t n;
	int err = dir->ops->open(dir, name, 0, &file);

	if (!err) {
		n = file->ops->read(file, text, sizeof(text) - 1, off);
		assert_true(n >= 0);
		text[n] = 0;
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	return err ? NULL : text;
}

static inline uint64_t size_in(struct pfs_sim *image, const char *name)
{
	struct pfs_dir *dir = open_dir(image);
	struct pfs_file *file;
	uint64_t size;

	assert_int_equal(dir->ops->open(dir, name, 0, &file), 0);
	assert_int_equal(file->ops->size(file, &size), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	return size;
}

#endif
