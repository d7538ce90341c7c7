/* A whole document in memory. */
#ifndef TOOLS_DOCUMENT_H
#define TOOLS_DOCUMENT_H

#include "tools/target.h"

struct document {
	uint8_t *data; /* malloc'ed; may be NULL when len is 0 */
	size_t len, cap;
};

/* Appends to a document (arg is one): for functions that give data in pieces. 0 or -ENOMEM. */
int document_add(void *arg, const void *data, size_t len);

/* Reads the document of a target into an empty one. On error nothing is held. */
int document_get(struct document *out, struct target *target, const struct pfs_key *key);

bool document_equal(const struct document *a, const struct document *b);

/* Empties it. */
void document_free(struct document *document);

#endif
