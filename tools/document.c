#include "tools/document.h"

#include <stdlib.h>

int document_add(void *arg, const void *data, size_t len)
{
	struct document *d = arg;

	if (len > d->cap - d->len) {
		size_t cap = pfs_max_u64(d->len + len, 2 * d->cap);
		uint8_t *grown = realloc(d->data, cap);

		if (!grown)
			return -ENOMEM;
		d->data = grown;
		d->cap = cap;
	}
	if (len)
		memcpy(d->data + d->len, data, len);
	d->len += len;
	return 0;
}

int document_get(struct document *out, struct target *target, const struct pfs_key *key)
{
	int err;

	*out = (struct document){0};
	err = target_get(target, key, document_add, out);
	if (err)
		document_free(out);
	return err;
}

bool document_equal(const struct document *a, const struct document *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

void document_free(struct document *document)
{
	free(document->data);
	*document = (struct document){0};
}
