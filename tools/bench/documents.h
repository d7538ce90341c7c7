/* The documents of the benchmarks: lines {"id":N,"payload":...} of NDJSON, as `payloadctl import`
 * takes them; and how sets of any size are made from a few, the same in every run. */
#ifndef BENCH_DOCUMENTS_H
#define BENCH_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct doc {
	uint64_t id;
	const char *bytes;
	size_t len;
};

struct docs {
	const char *text; /* the file, mapped: no private memory */
	size_t text_len;
	struct doc *at;
	size_t count, raw_bytes, len_max;
};

/* Ends the process when the file can't be read or has a line that is none of these. */
struct docs docs_read(const char *path);
void docs_free(struct docs *docs);

/* What version of document i (0: as it was read) looks like: one by up to 20 % shorter or longer,
 * which differs from the other versions. buf has docs_version_max bytes; the result may be
 * elsewhere. */
#define DOCS_VERSIONS 200u /* 0..DOCS_VERSIONS - 1 */
size_t docs_version_max(const struct docs *docs);
struct doc docs_version(const struct docs *docs, size_t i, unsigned version, char *buf);

/* Writes count documents with the ids 1...: first the given ones as they are, then copies in which
 * numbers, words and hashes of values have changed, names of members and structure have not. */
void docs_write_mutated(FILE *out, const struct docs *docs, size_t count);

/* Writes count documents of some 120 bytes, of a shop's kind. */
void docs_write_small(FILE *out, size_t count);

#endif
