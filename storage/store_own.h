/* Rank 5: private, the entry points of store.h as a store of one's own has them, with its journal,
 * index and pages. store_entry.c calls them, or what a published collection has instead; the
 * contracts are those of store.h. */
#ifndef PFS_STORE_OWN_H
#define PFS_STORE_OWN_H

#include "storage/store.h"

int pfs_own_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
		   struct pfs_attr *attr);
int pfs_own_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr);
int pfs_own_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key);
ssize_t pfs_own_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf, size_t len);
int pfs_own_create(struct pfs_store *store, const struct pfs_key *key, const struct pfs_attr *attr,
		   uint32_t *object);
int pfs_own_write(struct pfs_store *store, uint32_t object, uint64_t off, const void *data,
		  size_t len, int64_t mtime_ns);
int pfs_own_zero(struct pfs_store *store, uint32_t object, uint64_t off, uint64_t len,
		 int64_t mtime_ns);
int pfs_own_setattr(struct pfs_store *store, uint32_t object, unsigned mask,
		    const struct pfs_attr *attr, struct pfs_attr *out);
int pfs_own_remove(struct pfs_store *store, const struct pfs_key *key, uint32_t *object);
int pfs_own_rename(struct pfs_store *store, const struct pfs_key *from, const struct pfs_key *to,
		   unsigned flags, uint32_t *replaced);
void pfs_own_release(struct pfs_store *store, uint32_t object);
int pfs_own_tidy(struct pfs_store *store, uint32_t object);
int pfs_own_put(struct pfs_store *store, const struct pfs_key *key, const void *data, size_t len,
		const struct pfs_attr *attr, unsigned flags, uint32_t *replaced);
size_t pfs_own_put_many(struct pfs_store *store, struct pfs_put_item *items, size_t count,
			int *err);
int pfs_own_put_begin(struct pfs_store *store, struct pfs_put **put);
int pfs_own_get(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
		struct pfs_attr *attr);
void pfs_own_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
		      struct pfs_got *out);
ssize_t pfs_own_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out, size_t max);
int pfs_own_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out);
void pfs_own_snapshot_close(struct pfs_snapshot *snapshot);
void pfs_own_snapshot_info(const struct pfs_snapshot *snapshot, struct pfs_snapshot_info *out);
int pfs_own_snapshot_lookup_change(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				   struct pfs_attr *attr, uint64_t *sequence);
ssize_t pfs_own_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			      uint64_t off, void *buf, size_t len);
int pfs_own_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key, void **data,
			 size_t *len, struct pfs_attr *attr);
ssize_t pfs_own_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
			      struct pfs_snapshot_name *out, size_t max);
int pfs_own_sync(struct pfs_store *store);
int pfs_own_sync_object(struct pfs_store *store, uint32_t object);
void pfs_own_sync_object_then(struct pfs_store *store, uint32_t object, pfs_synced_fn *fn,
			      void *arg);
int pfs_own_tick(struct pfs_store *store);
int pfs_own_checkpoint(struct pfs_store *store);
int pfs_own_compact_step(struct pfs_store *store, bool eager);
int pfs_own_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg, const bool *stop,
		    struct pfs_compact_result *result);
int pfs_own_train(struct pfs_store *store, bool force, struct pfs_train_result *result);
int pfs_own_train_from(struct pfs_store *store, const void *samples, const size_t *lens,
		       size_t count, struct pfs_train_result *result);
int pfs_own_stat(struct pfs_store *store, struct pfs_store_stat *out);
uint64_t pfs_own_sequence(const struct pfs_store *store);
int pfs_own_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count);
int pfs_own_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out);
int pfs_own_check(struct pfs_store *store, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		  const bool *stop, struct pfs_check_result *result);

#endif
