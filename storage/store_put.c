/* Putting whole documents by key: at once, or in pieces that become the document when the last has
 * come. */
#include <stdlib.h>

#include "storage/store_names.h"

static void default_attr(struct pfs_store *store, struct pfs_attr *attr)
{
	*attr = (struct pfs_attr){
		.mtime_ns = pfs_now_realtime(),
		.mode = store->defaults.mode,
		.uid = store->defaults.uid,
		.gid = store->defaults.gid,
	};
}

/* Whether attributes may stand there that are not the store's. A container that does not say so
 * need not be loaded: either it has none, or it is damaged, and they are lost. */
static bool has_own_attr(struct pfs_store *store, uint64_t word)
{
	const struct pfs_page *page;
	struct pfs_slot slot;

	if (!pfs_word_is_page(word))
		return word != 0;
	page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	return page && pfs_page_read_slot(page, pfs_word_slot(word), &slot) == 0 &&
	       pfs_peek_own_attr(page, &slot);
}

void pfs_put_attr(struct pfs_store *store, const struct pfs_attr *asked, unsigned flags,
		  uint64_t word, struct pfs_attr *out)
{
	bool time_only = asked && (flags & PFS_PUT_MTIME_ONLY);
	struct pfs_view view;

	default_attr(store, out);
	if (time_only)
		out->mtime_ns = asked->mtime_ns;
	if (asked && !time_only) {
		*out = *asked;
	} else if (has_own_attr(store, word) && pfs_view(store, word, &view) == 0) {
		int64_t now = out->mtime_ns;

		pfs_view_attr(store, &view, out);
		out->mtime_ns = now;
	}
}

static int put_fresh(struct pfs_store *store, const struct pfs_key *key,
		     const struct pfs_packed *packed, const struct pfs_attr *attr,
		     uint64_t displaced, bool takes_place, uint32_t *object)
{
	int err = pfs_index_reserve(store->index, 2);

	if (!err)
		err = pfs_index_alloc(store->index, object);
	if (err)
		return err;
	/* Its name is listed where it stands already. Reserved by the caller. */
	if (takes_place)
		(void)pfs_index_vacate(store->index, *object);
	err = pfs_put_object(store, *object, key, packed, attr, displaced);
	if (err)
		pfs_index_release(store->index, *object);
	return err;
}

int pfs_put_locked(struct pfs_store *store, const struct pfs_key *key,
		   const struct pfs_packed *packed, const struct pfs_attr *asked, unsigned flags,
		   uint32_t *replaced)
{
	struct pfs_attr attr;
	struct pfs_leaving l;
	uint32_t object, there, cookie;
	uint64_t word = 0;
	int err, found;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	found = pfs_find(store, key, &there, &word);
	if (found && found != -ENOENT)
		return found;
	pfs_put_attr(store, asked, flags, found ? 0 : word, &attr);
	if (found) {
		err = put_fresh(store, key, packed, &attr, 0, false, &object);
		return err ? err : pfs_index_insert(store->index, object, pfs_key_hash(key));
	}
	if (!(flags & PFS_PUT_NEW_OBJECT))
		return pfs_put_object(store, there, key, packed, &attr, 0);
	err = pfs_index_reserve_cookies(store->index);
	if (!err)
		err = pfs_leaving_prepare(store, &l, there, key);
	if (err)
		return err;
	err = put_fresh(store, key, packed, &attr, l.orphan && !l.held_only ? l.temp.num : 0, true,
			&object);
	if (err) {
		pfs_change_drop(store, &l.change);
		return err;
	}
	cookie = pfs_index_cookie(store->index, there);
	pfs_index_moving(store->index);
	pfs_index_replace(store->index, there, object, pfs_key_hash(key));
	(void)pfs_index_set_cookie(store->index, object, cookie);
	pfs_index_moving(store->index);
	pfs_leaving_finish(store, &l, pfs_journal_appended(store->journal));
	if (!store->hold_objects)
		(void)pfs_renumber(store, object);
	*replaced = there;
	return 0;
}

static int put_whole(struct pfs_store *store, const struct pfs_key *key, const void *data,
		     size_t len, const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	struct pfs_packed packed;
	unsigned tries = 0;
	int err = pfs_pack(store, &packed, data, len, true);

	if (err)
		return err;
	do {
		pfs_write_enter(store);
		err = pfs_put_locked(store, key, &packed, attr, flags, replaced);
		pfs_write_leave(store);
	} while (pfs_write_again(store, err, &tries, false));
	pfs_packed_free(&packed);
	return err;
}

struct pfs_put {
	struct pfs_store *store;
	struct pfs_key temp;
	uint32_t object;
	uint64_t len;
};

int pfs_own_put(struct pfs_store *store, const struct pfs_key *key, const void *data, size_t len,
		const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	uint32_t lost = PFS_OBJECT_NONE;
	struct pfs_put *put;
	int err;

	if (replaced)
		*replaced = PFS_OBJECT_NONE;
	if (len > PFS_PAYLOAD_MAX)
		return -EFBIG;
	pfs_write_throttle(store, len, len > PFS_BLOCK_LEN);
	if (len <= PFS_WHOLE_WRITE_MAX) {
		err = put_whole(store, key, data, len, attr, flags, &lost);
		if (!err && replaced)
			*replaced = lost;
		return err;
	}
	err = pfs_put_begin(store, &put);
	if (err)
		return err;
	err = pfs_put_write(put, data, len);
	if (err) {
		pfs_put_abort(put);
		return err;
	}
	return pfs_put_commit(put, key, attr, flags, replaced);
}

int pfs_own_put_begin(struct pfs_store *store, struct pfs_put **out)
{
	struct pfs_put *put = calloc(1, sizeof(*put));
	struct pfs_attr attr;
	int err;

	*out = NULL;
	if (!put)
		return -ENOMEM;
	put->store = store;
	pthread_mutex_lock(&store->commit);
	put->temp = pfs_key_new_temp(store);
	pthread_mutex_unlock(&store->commit);
	default_attr(store, &attr);
	err = pfs_create(store, &put->temp, &attr, &put->object);
	if (err) {
		free(put);
		return err;
	}
	*out = put;
	return 0;
}

int pfs_put_write(struct pfs_put *put, const void *data, size_t len)
{
	int err;

	if (len > PFS_PAYLOAD_MAX - put->len)
		return -EFBIG;
	err = pfs_write(put->store, put->object, put->len, data, len, pfs_now_realtime());
	if (!err)
		put->len += len;
	return err;
}

int pfs_put_commit(struct pfs_put *put, const struct pfs_key *key, const struct pfs_attr *asked,
		   unsigned flags, uint32_t *replaced)
{
	struct pfs_store *store = put->store;
	struct pfs_attr attr;
	uint32_t object, lost = PFS_OBJECT_NONE;
	uint64_t word;
	int err;

	/* A document that arrives in pieces is a new object in any case. */
	pfs_write_enter(store);
	pfs_put_attr(store, asked, flags, pfs_find(store, key, &object, &word) == 0 ? word : 0,
		     &attr);
	pfs_write_leave(store);
	err = pfs_setattr(store, put->object,
			  PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID | PFS_ATTR_MTIME, &attr,
			  NULL);
	if (!err)
		err = pfs_rename(store, &put->temp, key, 0, &lost);
	if (err) {
		pfs_put_abort(put);
		return err;
	}
	free(put);
	if (replaced)
		*replaced = lost;
	return 0;
}

void pfs_put_abort(struct pfs_put *put)
{
	if (!put)
		return;
	pfs_drop_temporary(put->store, put->object);
	free(put);
}
