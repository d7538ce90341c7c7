/* Whole documents by key: one, or several at once. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

#define READ_RETRIES 16
#define AHEAD 16u	  /* documents that are looked for at the same time */
#define AHEAD_BYTES 1024u /* of each container; more comes by itself, one line after the other */
#define CACHE_LINE 64u

/* ---- one ---- */

static int get_from_page(struct pfs_store *store, uint64_t word, uint8_t **data,
			 struct pfs_attr *attr)
{
	struct pfs_loaded loaded;
	int err = pfs_load(store, pfs_word_page_number(word), pfs_word_slot(word), &loaded);

	if (!err && (loaded.c.flags & PFS_CONTAINER_LOST))
		err = -EIO;
	if (err)
		return err;
	pfs_loaded_attr(store, &loaded, attr);
	*data = malloc(attr->size + 1);
	if (!*data)
		return -ENOMEM;
	return attr->size ? pfs_loaded_read(store, &loaded, 0, *data, attr->size) : 0;
}

/* -EAGAIN: its size has changed meanwhile. */
static int get_version(struct pfs_store *store, uint64_t word, uint8_t **data,
		       struct pfs_attr *attr)
{
	struct pfs_view view = {0};
	ssize_t n;

	/* Of a version it does not fail. */
	(void)pfs_view(store, word, &view);
	pfs_view_attr(store, &view, attr);
	*data = malloc(attr->size + 1);
	if (!*data)
		return -ENOMEM;
	n = pfs_read_word(store, word, 0, *data, attr->size + 1);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)attr->size ? 0 : -EAGAIN;
}

/* Attributes and bytes of one version, by its word: the object's number may be another document's
 * by the time it is read by that. Epoch section. */
static int get_once(struct pfs_store *store, const struct pfs_key *key, uint8_t **data,
		    struct pfs_attr *attr)
{
	uint32_t object;
	uint64_t word;
	int err = pfs_find(store, key, &object, &word);

	*data = NULL;
	if (!err)
		err = pfs_word_is_page(word) ? get_from_page(store, word, data, attr)
					     : get_version(store, word, data, attr);
	if (err) {
		free(*data);
		*data = NULL;
	}
	return err;
}

int pfs_own_get(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
		struct pfs_attr *attr)
{
	struct pfs_attr now;
	uint8_t *bytes = NULL;
	int err = -EAGAIN;

	*data = NULL;
	*len = 0;
	/* A large document that is being written may change its size under us. */
	for (unsigned i = 0; i < READ_RETRIES && err == -EAGAIN; i++) {
		pfs_epoch_enter();
		err = get_once(store, key, &bytes, &now);
		pfs_epoch_leave();
	}
	if (err)
		return err;
	*data = bytes;
	*len = now.size;
	if (attr)
		*attr = now;
	return 0;
}

/* ---- several at once ---- */

/* Where a search has got to. What it finds may be another document's, or out of date: it only says
 * what to bring into the cache. */
struct ahead {
	struct pfs_probe probe;
	uint32_t object;
	struct pfs_page *page;
	uint32_t slot;
};

static void prefetch_place(struct pfs_store *store, struct ahead *a)
{
	uint64_t word = a->object ? pfs_index_word(store->index, a->object) : 0;

	a->page = NULL;
	if (pfs_word_is_version(word))
		__builtin_prefetch(pfs_word_to_version(word));
	if (!pfs_word_is_page(word))
		return;
	a->page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	a->slot = pfs_word_slot(word);
	if (a->page && pfs_slot_offset(a->slot) < a->page->file_size)
		__builtin_prefetch(a->page->map + pfs_slot_offset(a->slot));
}

static void prefetch_container(const struct ahead *a)
{
	struct pfs_slot slot;
	uint64_t len;

	if (!a->page || pfs_page_read_slot(a->page, a->slot, &slot) != 0 ||
	    slot.off >= a->page->file_size)
		return;
	len = pfs_min_u64(pfs_min_u64(slot.len, AHEAD_BYTES), a->page->file_size - slot.off);
	for (uint64_t at = 0; at < len; at += CACHE_LINE)
		__builtin_prefetch(a->page->map + slot.off + at);
}

/* Searches for all of them at the same time, so that the processor waits for the memory once and
 * not once for each: bucket, word, slot and container lie far apart. */
static void look_ahead(struct pfs_store *store, const struct pfs_key *keys, size_t count)
{
	struct ahead a[AHEAD];

	pfs_epoch_enter();
	for (size_t i = 0; i < count; i++) {
		pfs_probe_key(&a[i].probe, store->index, keys[i].kind, pfs_key_tag(&keys[i]));
		pfs_probe_prefetch(&a[i].probe);
	}
	for (size_t i = 0; i < count; i++) {
		a[i].object = pfs_probe_next(&a[i].probe);
		if (a[i].object)
			pfs_index_prefetch(store->index, a[i].object);
	}
	for (size_t i = 0; i < count; i++)
		prefetch_place(store, &a[i]);
	for (size_t i = 0; i < count; i++)
		prefetch_container(&a[i]);
	pfs_epoch_leave();
}

void pfs_own_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
		      struct pfs_got *out)
{
	for (size_t from = 0; from < count; from += AHEAD) {
		size_t group = pfs_min_u64(count - from, AHEAD);

		look_ahead(store, &keys[from], group);
		for (size_t i = from; i < from + group; i++)
			out[i].err =
				pfs_get(store, &keys[i], &out[i].data, &out[i].len, &out[i].attr);
	}
}
