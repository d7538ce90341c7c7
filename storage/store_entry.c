/* Every entry point of store.h that takes an open store: what it is for a store of one's own, and
 * what for a published collection. */
#include "storage/store_internal.h"
#include "storage/store_own.h"
#include "storage/store_published.h"

/* Both kinds of snapshots begin with their store. */
static struct pfs_store *store_of(const struct pfs_snapshot *snapshot)
{
	return *(struct pfs_store *const *)(const void *)snapshot;
}

int pfs_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
	       struct pfs_attr *attr)
{
	if (store->published)
		return pfs_published_store_lookup(store, key, object, attr);
	return pfs_own_lookup(store, key, object, attr);
}

int pfs_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr)
{
	if (store->published)
		return pfs_published_store_getattr(store, object, attr);
	return pfs_own_getattr(store, object, attr);
}

int pfs_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key)
{
	if (store->published)
		return pfs_published_store_object_key(store, object, key);
	return pfs_own_object_key(store, object, key);
}

ssize_t pfs_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf, size_t len)
{
	if (store->published)
		return pfs_published_store_read(store, object, off, buf, len);
	return pfs_own_read(store, object, off, buf, len);
}

int pfs_create(struct pfs_store *store, const struct pfs_key *key, const struct pfs_attr *attr,
	       uint32_t *object)
{
	if (store->published)
		return -EROFS;
	return pfs_own_create(store, key, attr, object);
}

int pfs_write(struct pfs_store *store, uint32_t object, uint64_t off, const void *data, size_t len,
	      int64_t mtime_ns)
{
	if (store->published)
		return -EROFS;
	return pfs_own_write(store, object, off, data, len, mtime_ns);
}

int pfs_zero(struct pfs_store *store, uint32_t object, uint64_t off, uint64_t len, int64_t mtime_ns)
{
	if (store->published)
		return -EROFS;
	return pfs_own_zero(store, object, off, len, mtime_ns);
}

int pfs_setattr(struct pfs_store *store, uint32_t object, unsigned mask,
		const struct pfs_attr *attr, struct pfs_attr *out)
{
	if (store->published)
		return -EROFS;
	return pfs_own_setattr(store, object, mask, attr, out);
}

int pfs_remove(struct pfs_store *store, const struct pfs_key *key, uint32_t *object)
{
	if (store->published) {
		if (object)
			*object = 0;
		return -EROFS;
	}
	return pfs_own_remove(store, key, object);
}

int pfs_rename(struct pfs_store *store, const struct pfs_key *from, const struct pfs_key *to,
	       unsigned flags, uint32_t *replaced)
{
	if (store->published) {
		if (replaced)
			*replaced = 0;
		return -EROFS;
	}
	return pfs_own_rename(store, from, to, flags, replaced);
}

void pfs_release(struct pfs_store *store, uint32_t object)
{
	if (store->published)
		pfs_published_store_release(store, object);
	else
		pfs_own_release(store, object);
}

int pfs_tidy(struct pfs_store *store, uint32_t object)
{
	if (store->published)
		return pfs_published_store_tidy(store, object);
	return pfs_own_tidy(store, object);
}

int pfs_put(struct pfs_store *store, const struct pfs_key *key, const void *data, size_t len,
	    const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	if (store->published) {
		if (replaced)
			*replaced = 0;
		return -EROFS;
	}
	return pfs_own_put(store, key, data, len, attr, flags, replaced);
}

size_t pfs_put_many(struct pfs_store *store, struct pfs_put_item *items, size_t count, int *err)
{
	if (store->published) {
		*err = count ? -EROFS : 0;
		return 0;
	}
	return pfs_own_put_many(store, items, count, err);
}

int pfs_put_begin(struct pfs_store *store, struct pfs_put **put)
{
	if (store->published) {
		*put = NULL;
		return -EROFS;
	}
	return pfs_own_put_begin(store, put);
}

int pfs_get(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
	    struct pfs_attr *attr)
{
	if (store->published)
		return pfs_published_store_get(store, key, data, len, attr);
	return pfs_own_get(store, key, data, len, attr);
}

void pfs_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
		  struct pfs_got *out)
{
	if (store->published)
		pfs_published_store_get_many(store, keys, count, out);
	else
		pfs_own_get_many(store, keys, count, out);
}

ssize_t pfs_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out, size_t max)
{
	if (store->published)
		return pfs_published_store_list(store, after, out, max);
	return pfs_own_list(store, after, out, max);
}

int pfs_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out)
{
	if (store->published)
		return pfs_published_store_snapshot_open(store, out);
	return pfs_own_snapshot_open(store, out);
}

void pfs_snapshot_close(struct pfs_snapshot *snapshot)
{
	if (!snapshot)
		return;
	if (store_of(snapshot)->published)
		pfs_published_store_snapshot_close(snapshot);
	else
		pfs_own_snapshot_close(snapshot);
}

void pfs_snapshot_info(const struct pfs_snapshot *snapshot, struct pfs_snapshot_info *out)
{
	if (store_of(snapshot)->published)
		pfs_published_store_snapshot_info(snapshot, out);
	else
		pfs_own_snapshot_info(snapshot, out);
}

int pfs_snapshot_lookup(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			struct pfs_attr *attr)
{
	uint64_t sequence;

	return pfs_snapshot_lookup_change(snapshot, key, attr, &sequence);
}

int pfs_snapshot_lookup_change(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			       struct pfs_attr *attr, uint64_t *sequence)
{
	if (store_of(snapshot)->published)
		return pfs_published_store_snapshot_lookup_change(snapshot, key, attr, sequence);
	return pfs_own_snapshot_lookup_change(snapshot, key, attr, sequence);
}

int pfs_snapshot_glance(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t *size,
			bool *line)
{
	if (store_of(snapshot)->published)
		return pfs_published_store_snapshot_glance(snapshot, key, size, line);
	return -EOPNOTSUPP;
}

ssize_t pfs_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t off,
			  void *buf, size_t len)
{
	if (store_of(snapshot)->published)
		return pfs_published_store_snapshot_read(snapshot, key, off, buf, len);
	return pfs_own_snapshot_read(snapshot, key, off, buf, len);
}

int pfs_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key, void **data,
		     size_t *len, struct pfs_attr *attr)
{
	if (store_of(snapshot)->published)
		return pfs_published_store_snapshot_get(snapshot, key, data, len, attr);
	return pfs_own_snapshot_get(snapshot, key, data, len, attr);
}

ssize_t pfs_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
			  struct pfs_snapshot_name *out, size_t max)
{
	if (store_of(snapshot)->published)
		return pfs_published_store_snapshot_list(snapshot, after, out, max);
	return pfs_own_snapshot_list(snapshot, after, out, max);
}

int pfs_sync(struct pfs_store *store)
{
	if (store->published)
		return 0;
	return pfs_own_sync(store);
}

int pfs_sync_object(struct pfs_store *store, uint32_t object)
{
	if (store->published)
		return 0;
	return pfs_own_sync_object(store, object);
}

void pfs_sync_object_then(struct pfs_store *store, uint32_t object, pfs_synced_fn *fn, void *arg)
{
	if (store->published)
		fn(arg, 0);
	else
		pfs_own_sync_object_then(store, object, fn, arg);
}

int pfs_store_tick(struct pfs_store *store)
{
	if (store->published)
		return -EROFS;
	return pfs_own_tick(store);
}

int pfs_store_checkpoint(struct pfs_store *store)
{
	if (store->published)
		return -EROFS;
	return pfs_own_checkpoint(store);
}

int pfs_store_compact_step(struct pfs_store *store, bool eager)
{
	if (store->published)
		return -EROFS;
	return pfs_own_compact_step(store, eager);
}

int pfs_store_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg,
		      const bool *stop, struct pfs_compact_result *result)
{
	if (store->published) {
		*result = (struct pfs_compact_result){0};
		return -EROFS;
	}
	return pfs_own_compact(store, progress, arg, stop, result);
}

int pfs_train(struct pfs_store *store, bool force, struct pfs_train_result *result)
{
	if (store->published) {
		*result = (struct pfs_train_result){0};
		return -EROFS;
	}
	return pfs_own_train(store, force, result);
}

int pfs_train_from(struct pfs_store *store, const void *samples, const size_t *lens, size_t count,
		   struct pfs_train_result *result)
{
	if (store->published) {
		*result = (struct pfs_train_result){0};
		return -EROFS;
	}
	return pfs_own_train_from(store, samples, lens, count, result);
}

int pfs_store_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	if (store->published)
		return pfs_published_store_stat(store, out);
	return pfs_own_stat(store, out);
}

uint64_t pfs_store_sequence(const struct pfs_store *store)
{
	if (store->published)
		return pfs_published_store_sequence(store);
	return pfs_own_sequence(store);
}

int pfs_store_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	if (store->published)
		return pfs_published_store_pages(store, out, count);
	return pfs_own_pages(store, out, count);
}

int pfs_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out)
{
	if (store->published)
		return pfs_published_store_place(store, key, out);
	return pfs_own_place(store, key, out);
}

int pfs_store_check(struct pfs_store *store, pfs_finding_fn *fn, pfs_progress_fn *progress,
		    void *arg, const bool *stop, struct pfs_check_result *result)
{
	if (store->published)
		return pfs_published_store_check(store, fn, progress, arg, stop, result);
	return pfs_own_check(store, fn, progress, arg, stop, result);
}

int pfs_store_refresh(struct pfs_store *store, struct pfs_refreshed *out)
{
	*out = (struct pfs_refreshed){0};
	return store->published ? pfs_published_refresh(store->published, out) : -EOPNOTSUPP;
}

void pfs_store_forget(struct pfs_store *store, uint32_t first)
{
	if (store->published)
		pfs_published_forget(store->published, first);
}

bool pfs_store_is_published(const char *path, const struct pfs_io *io)
{
	return pfs_published_is_here(path, io);
}
