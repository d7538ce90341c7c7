/* What the documents of a store are, to be compared with what they were. */
#ifndef PFS_TEST_FAULT_CONTENTS_H
#define PFS_TEST_FAULT_CONTENTS_H

#include "storage/crc.h"
#include "tests/unit/store_helpers.h"

#define CONTENTS_MAX 1024

/* Of a document that can't be read the error stands for its bytes. */
struct content {
	char name[PFS_NAME_MAX + 1];
	uint64_t bytes;
	size_t len;
	int err;
};

struct contents {
	struct content at[CONTENTS_MAX];
	size_t count;
};

static inline int by_content_name(const void *a, const void *b)
{
	const struct content *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Sorted. The store is open. */
static inline void contents_of(struct contents *c, struct pfs_store *store)
{
	struct pfs_listed names[32];
	uint64_t after = 0;
	ssize_t n;

	memset(c, 0, sizeof(*c));
	while ((n = pfs_list(store, after, names, pfs_array_len(names))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct content *at = &c->at[c->count++];
			void *bytes;

			assert_true(c->count < CONTENTS_MAX);
			pfs_key_format(at->name, &names[i].key);
			at->err = pfs_get(store, &names[i].key, &bytes, &at->len, NULL);
			if (at->err)
				continue;
			at->bytes = pfs_crc32c(0, bytes, at->len);
			free(bytes);
		}
		after = names[n - 1].cookie;
	}
	assert_int_equal(n, 0);
	qsort(c->at, c->count, sizeof(*c->at), by_content_name);
}

/* How many documents of `was` are not in `is`; any that is different, or new, fails. */
static inline size_t contents_missing(const struct contents *was, const struct contents *is)
{
	size_t missing = 0, i = 0;

	for (size_t w = 0; w < was->count; w++) {
		if (i < is->count && by_content_name(&was->at[w], &is->at[i]) == 0) {
			assert_int_equal(was->at[w].err, is->at[i].err);
			assert_int_equal(was->at[w].len, is->at[i].len);
			assert_int_equal(was->at[w].bytes, is->at[i].bytes);
			i++;
		} else {
			missing++;
		}
	}
	assert_int_equal(i, is->count);
	return missing;
}

#endif
