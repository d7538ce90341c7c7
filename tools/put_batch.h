/* Documents that are gathered to be put together into a store of this process: an import into a
 * store that is not mounted. */
#ifndef PAYLOADCTL_PUT_BATCH_H
#define PAYLOADCTL_PUT_BATCH_H

#include "storage/store.h"
#include "tools/target.h"

struct put_batch;

/* NULL: no memory. Puts into store; what becomes of each document is told to `import`. Both must
 * live as long as the batch. */
struct put_batch *put_batch_new(struct pfs_store *store, const struct target_import *import);

/* What is still gathered is dropped. */
void put_batch_free(struct put_batch *batch);

/* Takes a copy of the document; attr and flags as of pfs_put. An error is that of putting what was
 * gathered, or of memory: a document that is refused for its own sake is told of and is none. */
int put_batch_add(struct put_batch *batch, const struct pfs_key *key, const void *data, size_t len,
		  const struct pfs_attr *attr, unsigned flags, const struct target_where *where);

/* Puts what is gathered. */
int put_batch_flush(struct put_batch *batch);

#endif
