/* The keys of a target's points in their order, numbers before UUIDs: 17 bytes of memory each. */
#ifndef TOOLS_SORTED_KEYS_H
#define TOOLS_SORTED_KEYS_H

#include "tools/target.h"

struct sorted_key;

struct sorted_keys {
	struct sorted_key *at;
	size_t count, cap;
};

/* Of what target_names gives: a snapshot, if there is one. To be freed in any case. */
int sorted_keys_get(struct sorted_keys *keys, struct target *target);
void sorted_keys_free(struct sorted_keys *keys);

/* Calls fn with some keys at a time, in their order, every step-th of them (1: all). What it
 * returns but 0 ends that, and is returned. */
typedef int sorted_keys_fn(void *arg, const struct pfs_key *keys, size_t count);
int sorted_keys_each(const struct sorted_keys *keys, size_t step, sorted_keys_fn *fn, void *arg);

#endif
