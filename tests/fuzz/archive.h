/* The files of a small store in one input, as pieces, so that a page of 64 KiB that holds three
 * documents takes a few hundred bytes and a mutation of one byte is one of the store.
 *
 *	piece: u8 file, u8 flags, u16 len, u32 offset, len bytes
 *
 * The file is a number below ARCHIVE_FILES (higher ones are taken modulo it). Flags: 1 the file is
 * made to end at the offset first; 2 the bytes are a u32 and a pattern that is repeated to fill so
 * many bytes. Bytes of the file ARCHIVE_OPS are no file's, but a program for the target. */
#ifndef PFS_FUZZ_ARCHIVE_H
#define PFS_FUZZ_ARCHIVE_H

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mem_io.h"

#define ARCHIVE_FILES 16
#define ARCHIVE_OPS 15
#define ARCHIVE_OPS_MAX 64 /* bytes of the program */
#define ARCHIVE_CUT 1u
#define ARCHIVE_REPEAT 2u
#define ARCHIVE_FILE_MAX (4 * PFS_MIB)

extern const char *const archive_names[ARCHIVE_FILES]; /* NULL: no file's */

struct archive_ops {
	uint8_t bytes[ARCHIVE_OPS_MAX];
	size_t len;
};

/* Puts the pieces into the files of mem_io whose numbers' bits are set in files; others are passed
 * over. */
#define ARCHIVE_ALL 0x7fffu
void archive_unpack(struct fuzz_in *in, unsigned files, struct archive_ops *ops);

/* Writes the pieces of the files of mem_io whose numbers' bits are set in files to out, leaving out
 * zeros. Returns the length, at most cap. */
size_t archive_pack(uint8_t *out, size_t cap, unsigned files);

#endif
