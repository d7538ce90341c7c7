/* A backend of storage/io.h for fuzz targets: one directory in memory, made anew for each input at
 * the cost of what the last one wrote. It loses nothing and fails only where it is told to;
 * tests/sim is the one that models power cuts.
 *
 * A file's bytes stay at one address, so mappings are these bytes. AddressSanitizer is told that
 * what lies behind a mapping must not be touched. Inside of it, bytes behind the file's end read as
 * zeros (a real mapping faults there, which pfs_map_copy turns into -EIO). One thread only. */
#ifndef PFS_FUZZ_MEM_IO_H
#define PFS_FUZZ_MEM_IO_H

#include "storage/io.h"

#define MEM_IO_FILES 48
#define MEM_IO_FILE_MAX (2 * PFS_GIB) /* -EFBIG beyond */

extern const struct pfs_io mem_io;

/* An empty directory, no faults. Everything opened before must have been closed. */
void mem_io_reset(void);

/* From now on the nth call that would change something (write, allocate, sync, rename, create,
 * unlink, truncate) fails with err (negative), and if `on` is set all after it; 0: none. */
void mem_io_fail(uint64_t nth, int err, bool on);

/* Files, for the target itself: no faults, made when missing. NULL when there are too many, or the
 * name is too long. */
struct mem_file *mem_io_file(const char *name);
void mem_io_remove(const char *name);
uint64_t mem_io_size(const struct mem_file *file);
void mem_io_set_size(struct mem_file *file, uint64_t size);
/* The bytes, up to the size, to be looked at. */
const uint8_t *mem_io_bytes(const struct mem_file *file);
/* To be changed in place, inside of the size. */
uint8_t *mem_io_change(struct mem_file *file, uint64_t off, uint64_t len);
void mem_io_put(struct mem_file *file, uint64_t off, const void *bytes, size_t len);
/* The nth file that there is, from 0; NULL: there are no more. */
struct mem_file *mem_io_nth(size_t n, const char **name);

/* Handles and mappings that are open, for the check that nothing leaks. */
size_t mem_io_open_count(void);

#endif
