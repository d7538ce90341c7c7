/* Keys in memory that grow in number, and their removal from a target. */
#ifndef TOOLS_KEY_LIST_H
#define TOOLS_KEY_LIST_H

#include "tools/target.h"

struct key_list {
	struct pfs_key *keys; /* malloc'ed; the user frees it */
	size_t count, cap;
};

/* Adds a key to a list (arg); fits target_names. 0 or -ENOMEM. */
int key_list_add(void *arg, const struct pfs_key *key);

/* Removes documents; force: what is not there is no fault. Complains about each that could not be
 * removed. Returns the exit code; *removed (may be NULL): how many were. */
int remove_keys(struct target *target, const struct pfs_key *keys, size_t count, bool force,
		uint64_t *removed);

#endif
