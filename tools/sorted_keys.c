#include "tools/sorted_keys.h"

#include <stdlib.h>

#include "storage/key_table.h"
#include "storage/wire.h"

#define AT_ONCE 4096 /* keys that fn gets */

/* memcmp orders them like pfs_key_compare. */
struct sorted_key {
	uint8_t kind;
	uint8_t bytes[16];
};

static int add_key(void *arg, const struct pfs_key *key)
{
	struct sorted_keys *keys = arg;
	struct sorted_key *to;

	if (keys->count == keys->cap) {
		size_t cap = keys->cap ? 2 * keys->cap : 4096;
		struct sorted_key *grown = realloc(keys->at, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		keys->at = grown;
		keys->cap = cap;
	}
	to = &keys->at[keys->count++];
	to->kind = key->kind;
	pfs_key_to_bytes(to->bytes, key);
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sorted_key));
}

int sorted_keys_get(struct sorted_keys *keys, struct target *target)
{
	int err;

	*keys = (struct sorted_keys){0};
	err = target_names(target, PFS_WIRE_POINTS, add_key, keys);
	if (!err && keys->count)
		qsort(keys->at, keys->count, sizeof(*keys->at), compare_keys);
	return err;
}

void sorted_keys_free(struct sorted_keys *keys)
{
	free(keys->at);
	*keys = (struct sorted_keys){0};
}

int sorted_keys_each(const struct sorted_keys *keys, size_t step, sorted_keys_fn *fn, void *arg)
{
	struct pfs_key *some = calloc(AT_ONCE, sizeof(*some));
	int err = some ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < keys->count;) {
		size_t n = 0;

		for (; n < AT_ONCE && i < keys->count; n++) {
			pfs_key_from_bytes(&some[n], keys->at[i].kind, keys->at[i].bytes);
			i += pfs_min_u64(step, keys->count - i);
		}
		err = fn(arg, some, n);
	}
	free(some);
	return err;
}
