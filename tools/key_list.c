#include "tools/key_list.h"

#include <stdlib.h>

#include "storage/exit_codes.h"
#include "tools/report.h"

#define STEP 1024 /* keys that are removed at once */

int key_list_add(void *arg, const struct pfs_key *key)
{
	struct key_list *list = arg;

	if (list->count == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct pfs_key *keys = realloc(list->keys, cap * sizeof(*keys));

		if (!keys)
			return -ENOMEM;
		list->keys = keys;
		list->cap = cap;
	}
	list->keys[list->count++] = *key;
	return 0;
}

int remove_keys(struct target *target, const struct pfs_key *keys, size_t count, bool force,
		uint64_t *removed)
{
	int statuses[STEP], result = PFS_EXIT_OK;
	uint64_t gone = 0;

	if (removed)
		*removed = 0;
	for (size_t i = 0; i < count; i += STEP) {
		size_t n = pfs_min_u64(STEP, count - i);
		int err = target_remove(target, keys + i, n, statuses);

		if (err) {
			target_complain(target, NULL, err);
			return target_exit(target, err);
		}
		for (size_t k = 0; k < n; k++) {
			gone += statuses[k] == 0;
			if (statuses[k] == 0 || (force && statuses[k] == -ENOENT))
				continue;
			target_complain(target, key_text(&keys[i + k]).text, statuses[k]);
			result = target_exit(target, statuses[k]);
			if (result != PFS_EXIT_SOME)
				return result;
		}
		if (removed)
			*removed = gone;
	}
	return result;
}
