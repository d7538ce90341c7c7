/* Rank 5: private, what the entry points of store.h are for a published collection; and how one is
 * opened as a store. Called by store_entry.c and store_open.c. */
#ifndef PFS_STORE_PUBLISHED_H
#define PFS_STORE_PUBLISHED_H

#include "storage/published.h"

/* Makes store, of which logger is set, one that reads the collection at path. As
 * pfs_published_open. */
int pfs_store_open_published(struct pfs_store *store, const char *path,
			     const struct pfs_open_options *options, struct pfs_reason *reason);

int pfs_published_store_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
			       struct pfs_attr *attr);
int pfs_published_store_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr);
int pfs_published_store_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key);
ssize_t pfs_published_store_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
				 size_t len);
void pfs_published_store_release(struct pfs_store *store, uint32_t object);
int pfs_published_store_tidy(struct pfs_store *store, uint32_t object);
int pfs_published_store_get(struct pfs_store *store, const struct pfs_key *key, void **data,
			    size_t *len, struct pfs_attr *attr);
void pfs_published_store_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
				  struct pfs_got *out);
ssize_t pfs_published_store_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
				 size_t max);
int pfs_published_store_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out);
void pfs_published_store_snapshot_close(struct pfs_snapshot *snapshot);
void pfs_published_store_snapshot_info(const struct pfs_snapshot *snapshot,
				       struct pfs_snapshot_info *out);
int pfs_published_store_snapshot_lookup_change(struct pfs_snapshot *snapshot,
					       const struct pfs_key *key, struct pfs_attr *attr,
					       uint64_t *sequence);
int pfs_published_store_snapshot_glance(struct pfs_snapshot *snapshot, const struct pfs_key *key,
					uint64_t *size, bool *line);
ssize_t pfs_published_store_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key,
					  uint64_t off, void *buf, size_t len);
int pfs_published_store_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				     void **data, size_t *len, struct pfs_attr *attr);
ssize_t pfs_published_store_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
					  struct pfs_snapshot_name *out, size_t max);
int pfs_published_store_stat(struct pfs_store *store, struct pfs_store_stat *out);
uint64_t pfs_published_store_sequence(const struct pfs_store *store);
int pfs_published_store_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count);
int pfs_published_store_place(struct pfs_store *store, const struct pfs_key *key,
			      struct pfs_place *out);
int pfs_published_store_check(struct pfs_store *store, pfs_finding_fn *fn,
			      pfs_progress_fn *progress, void *arg, const bool *stop,
			      struct pfs_check_result *result);

#endif
