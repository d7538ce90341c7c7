/* Rank 1: the hash that published objects are named by: the first 128 bits of SHA-256, from
 * libcrypto. Whoever writes documents decides what is hashed, so that a hash for which two contents
 * of one name can be made would not do. Only publishing needs it; built without libcrypto, what is
 * published can still be read. */
#ifndef PFS_HASH_H
#define PFS_HASH_H

#include "storage/base.h"

#define PFS_HASH_LEN 16
#define PFS_HASH_WHOLE_LEN 32

/* The version of libcrypto; NULL: built without. */
const char *pfs_hash_version(void);

struct pfs_hash;

/* -EOPNOTSUPP: built without libcrypto. -ENOMEM. */
int pfs_hash_new(struct pfs_hash **out);
void pfs_hash_free(struct pfs_hash *hash); /* NULL is allowed */

/* Begins anew. Any number of adds, then one end; an error sticks until the next begin and is what
 * end returns. -EIO: the library failed. */
void pfs_hash_begin(struct pfs_hash *hash);
void pfs_hash_add(struct pfs_hash *hash, const void *data, size_t len);
int pfs_hash_end(struct pfs_hash *hash, uint8_t out[PFS_HASH_LEN]);
/* The same, all of SHA-256. */
int pfs_hash_end_whole(struct pfs_hash *hash, uint8_t out[PFS_HASH_WHOLE_LEN]);

#endif
