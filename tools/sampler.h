/* The first documents of an import, held back until a dictionary is made from a sample of them: so
 * that a new store packs with it from its first document on. What comes later goes straight to the
 * target; so does everything when the target needs no dictionary or can make none.
 *
 * Documents reach the target in the order in which they were added. Memory: SAMPLER_BYTES_MAX of
 * documents, some 80 bytes for each, and a sample of PFS_TRAIN_FROM_BYTES. */
#ifndef TOOLS_SAMPLER_H
#define TOOLS_SAMPLER_H

#include "tools/target.h"

#define SAMPLER_BYTES_MAX (16 * PFS_MIB)
#define SAMPLER_COUNT_MAX 65536u

struct sampler_doc;

struct sampler {
	struct target *target;
	bool sampling; /* false: nothing is held back (any more) */
	uint8_t *bytes;
	struct sampler_doc *docs;
	size_t used, bytes_cap, count, docs_cap;
	size_t sent; /* of the documents the target has these; they are kept for the sample */
};

/* stat: the target's. Ended by sampler_end. */
void sampler_begin(struct sampler *s, struct target *target, const struct pfs_store_stat *stat);

/* As target_import_add. */
int sampler_add(struct sampler *s, const struct pfs_key *key, const void *data, size_t len,
		const struct pfs_attr *attr, const struct target_where *where);

/* Nothing more will come for a while: gives the target what is held back, with a dictionary if
 * there is enough for one. The target is not flushed. */
int sampler_send(struct sampler *s);

/* The same; nothing is held back from now on. To be called in any case: it frees the memory. */
int sampler_end(struct sampler *s);

#endif
