/* A store that is made as the copy of another one: under a name of its own beside the one that it
 * is to get, and renamed when everything is in it and durable. Until then nothing is there under
 * that name. What died in between leaves a directory `.NAME.partial-XXXXXX`, which anybody may
 * remove.
 *
 * Functions return 0 or an exit code; complaints are printed. */
#ifndef TOOLS_STORE_COPY_H
#define TOOLS_STORE_COPY_H

#include "tools/sampler.h"
#include "tools/target.h"

struct store_copy {
	const char *name; /* as it was given */
	char *path;	  /* canonical, where it is to be */
	char *parent;	  /* the directory of that */
	char *temp;	  /* where it is now; NULL: not made yet, or done */
	bool replaces;	  /* an empty directory, whose mode and owner it gets */
	struct target *target;
	struct sampler sampler;
	int err; /* of the copy: nothing more can be stored in it */
	uint64_t points, scratch, bytes;
};

/* Looks at where the copy is to be: nothing, or an empty directory that is no mount point; not
 * inside the source, or where that is mounted. Nothing is made. To be ended by store_copy_end, also
 * when it fails. */
int store_copy_begin(struct store_copy *copy, const char *name, const struct target *source);

/* Makes an empty store like the one that stat tells of: page size, smallest container, whether it
 * is to have dictionaries, owner and mode of documents that have none of their own. */
int store_copy_make(struct store_copy *copy, const struct pfs_store_stat *stat);

/* Stores a document, with attr. 0 or a negative errno, which copy->err keeps. */
int store_copy_add(struct store_copy *copy, const struct pfs_key *key, const struct pfs_attr *attr,
		   const void *data, size_t len);

/* Everything is in: makes it durable and gives it its name. */
int store_copy_finish(struct store_copy *copy);

/* Removes what is not finished, and frees the rest. */
void store_copy_end(struct store_copy *copy);

#endif
