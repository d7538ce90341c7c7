#include "tools/put_batch.h"

#include <stdlib.h>
#include <string.h>

#define DOCS_MAX 256u
#define BYTES_MAX PFS_MIB /* of payloads; a longer one goes alone, uncopied */

struct put_batch {
	struct pfs_store *store;
	const struct target_import *import;
	size_t count, used;
	struct pfs_put_item items[DOCS_MAX];
	struct pfs_attr attrs[DOCS_MAX];
	struct target_where wheres[DOCS_MAX];
	uint8_t bytes[BYTES_MAX];
};

struct put_batch *put_batch_new(struct pfs_store *store, const struct target_import *import)
{
	struct put_batch *batch = malloc(sizeof(*batch));

	if (!batch)
		return NULL;
	batch->store = store;
	batch->import = import;
	batch->count = batch->used = 0;
	return batch;
}

void put_batch_free(struct put_batch *batch)
{
	free(batch);
}

static int put_all(struct put_batch *batch, struct pfs_put_item *items, size_t count,
		   const struct target_where *wheres)
{
	const struct target_import *import = batch->import;
	size_t done = 0;

	while (done < count) {
		int err;
		size_t put = pfs_put_many(batch->store, &items[done], count - done, &err);

		if (put)
			import->stored(import->arg, put);
		done += put;
		if (!err)
			continue;
		if (!pfs_put_is_own_fault(err))
			return err;
		import->refused(import->arg, &wheres[done], &items[done].key, err);
		done++;
	}
	return 0;
}

int put_batch_flush(struct put_batch *batch)
{
	size_t count = batch->count;

	batch->count = batch->used = 0;
	return put_all(batch, batch->items, count, batch->wheres);
}

int put_batch_add(struct put_batch *batch, const struct pfs_key *key, const void *data, size_t len,
		  const struct pfs_attr *attr, unsigned flags, const struct target_where *where)
{
	struct pfs_put_item item = {
		.key = *key, .data = data, .len = len, .attr = attr, .flags = flags};
	size_t i = batch->count;
	int err = 0;

	if (i == DOCS_MAX || len > BYTES_MAX - batch->used)
		err = put_batch_flush(batch);
	if (err)
		return err;
	if (len > BYTES_MAX)
		return put_all(batch, &item, 1, where);
	i = batch->count++;
	memcpy(batch->bytes + batch->used, data, len);
	item.data = batch->bytes + batch->used;
	batch->used += len;
	if (attr) {
		batch->attrs[i] = *attr;
		item.attr = &batch->attrs[i];
	}
	batch->items[i] = item;
	batch->wheres[i] = *where;
	return 0;
}
