/* Buffered output of a command to standard output or to a file that appears only when it is
 * complete. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "storage/base.h"

struct output {
	int fd;
	char *path, *temp; /* of a file; NULL for standard output */
	uint8_t *buf;
	size_t len;
	int err; /* the first error; sticks */
};

/* path NULL: standard output. A file is written under another name in its directory. -ENOMEM, or
 * why the file can't be made. On error nothing is open. */
int output_open(struct output *out, const char *path);

/* Returns 0 or the first error: -EPIPE when nobody reads standard output any more. */
int output_write(struct output *out, const void *data, size_t len);
int output_text(struct output *out, const char *text);
/* Writes the bytes in base64, without quotes. */
int output_base64(struct output *out, const void *data, size_t len);
/* Writes the text as a JSON string with its quotes. -ENOMEM besides. */
int output_json_string(struct output *out, const char *text);

/* Completes it: the file (mode 0666 without the umask) replaces one of that name, durably. */
int output_commit(struct output *out);

/* Ends it: closes it, and removes a file that was not committed. Needed after output_commit, too.
 */
void output_close(struct output *out);

#endif
