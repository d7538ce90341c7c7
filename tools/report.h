/* What payloadctl says to people and scripts, besides data: one line on standard error for each
 * fault
 * (`payloadctl: what, where: what to do`), sizes and counts in words, JSON strings. */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include <stdio.h>

#include "storage/base.h"
#include "storage/key.h"

/* Writes `payloadctl: ` and the line to standard error. */
void complain(const char *fmt, ...) PFS_PRINTF(1, 2);

/* What an error of the store (negative errno) means, without a full stop. */
const char *explain(int err);

/* The text of a key, as in pfs_key_format, for one printf. */
struct key_text {
	char text[PFS_NAME_MAX + 1];
};
struct key_text key_text(const struct pfs_key *key);

/* `1,234,567`. */
struct number_text {
	char text[32];
};
struct number_text group_digits(uint64_t n);

/* `1 page`, `1,234 pages`: the noun, of at most 31 bytes, gets an s unless there is one of it. */
struct count_text {
	char text[64];
};
struct count_text count_text(uint64_t n, const char *noun);

/* `12.3 MB`, powers of 1000. */
struct number_text size_text(uint64_t bytes);

/* Parses `4096`, `64K`, `32M`, `1G` (powers of 1024). False when it is not that or does not fit. */
bool parse_size(const char *text, uint64_t *out);

/* Writes a JSON string with its quotes. 0 or -ENOMEM; errors of the stream stay with the stream. */
int print_json_string(FILE *out, const char *text);

/* Completes output: flushes the stream. 0, -EPIPE (nobody reads it any more), or another negative
 * errno. */
int finish_output(FILE *out);

#endif
