/* One file that Qdrant has written, read where it lies. It may be damaged, or shorter than it
 * should be: whoever reads says what must be there. */
#ifndef TOOLS_QDRANT_FILE_H
#define TOOLS_QDRANT_FILE_H

#include "storage/base.h"

struct qdrant_file {
	int fd; /* -1: not open */
	uint64_t size;
	char *path; /* for messages; stays until the file is closed, also when it could not be
		       opened */
};

/* Something that a person should know, which stops nothing. */
typedef void qdrant_note_fn(void *arg, const char *line);

struct qdrant_notes {
	qdrant_note_fn *fn;
	void *arg;
};

void qdrant_note(const struct qdrant_notes *notes, const char *fmt, ...) PFS_PRINTF(2, 3);

/* directory/name in new memory; NULL: no memory. */
char *qdrant_path(const char *directory, const char *name);
bool qdrant_is_file(const char *directory, const char *name);
bool qdrant_is_directory(const char *directory, const char *name);

/* name NULL: directory is the file's path. -ENOENT, -EINVAL (not a regular file), another negative
 * errno. Has to be closed in any case. */
int qdrant_file_open(struct qdrant_file *file, const char *directory, const char *name);
void qdrant_file_close(struct qdrant_file *file);

/* Reads up to len bytes into buf; *got is how many there were. 0, also at the file's end, or the
 * negative errno of a read that failed. */
int qdrant_file_read(const struct qdrant_file *file, uint64_t off, void *buf, size_t len,
		     size_t *got);

/* The whole file, or what can be read of it, in new memory (never NULL on success); *len is how
 * many bytes. -EFBIG: more than max. -ENOMEM. */
int qdrant_file_load(const struct qdrant_file *file, uint64_t max, uint8_t **out, size_t *len);

#endif
