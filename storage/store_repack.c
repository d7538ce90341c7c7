/* One value of a page, made as small as LZ4HC and the newest dictionary can. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_pack.h"

struct pfs_repacker *pfs_repacker_new(struct pfs_store *store)
{
	struct pfs_repacker *r = malloc(sizeof(*r));

	if (!r)
		return NULL;
	r->store = store;
	if (pfs_codec_hc_new(&r->hc) != 0) {
		free(r);
		return NULL;
	}
	return r;
}

void pfs_repacker_free(struct pfs_repacker *r)
{
	if (r)
		pfs_codec_hc_free(r->hc);
	free(r);
}

/* Loads the value's container. False: another one stands in the slot, or it does not verify. */
static bool load_value(struct pfs_repacker *r, uint32_t number, uint32_t slot, unsigned kind,
		       uint64_t tag)
{
	struct pfs_page *page = pfs_pager_find(r->store->pager, number);
	struct pfs_loaded *l = &r->loaded;
	struct pfs_slot_disk disk;

	return page && pfs_page_copy(page, &disk, pfs_slot_offset(slot), sizeof(disk)) == 0 &&
	       pfs_load_slot(page, &disk, l) == 0 && l->slot.kind == kind && l->slot.tag == tag;
}

static bool is_packed_at_all(const struct pfs_repacker *r)
{
	const struct pfs_container *c = &r->loaded.c;

	return !(c->flags & PFS_CONTAINER_LOST) && c->raw_len && c->raw_len <= sizeof(r->raw);
}

/* A value whose body could not be read is damaged if it is what an object is: then nothing writes
 * over it before this section is left. That is said by reading it as every reader does. */
static void report_damage(struct pfs_repacker *r, uint32_t number, uint32_t slot)
{
	struct pfs_store *store = r->store;
	struct pfs_loaded *l = &r->loaded;
	uint32_t object;

	pthread_mutex_lock(&store->commit);
	pfs_epoch_enter();
	object = pfs_compact_object_at(store, number, slot, &l->slot);
	pthread_mutex_unlock(&store->commit);
	if (object != PFS_OBJECT_NONE && pfs_load(store, number, slot, l) == 0 &&
	    is_packed_at_all(r))
		(void)pfs_loaded_read(store, l, 0, r->raw, l->c.raw_len);
	pfs_epoch_leave();
}

/* Copies the value that stands in the slot to r->loaded and r->raw. False: there is none to be
 * packed. It may be overwritten meanwhile: pfs_repack_object asks whether this is still the one. */
static bool read_value(struct pfs_repacker *r, uint32_t number, uint32_t slot, unsigned kind,
		       uint64_t tag, struct pfs_repacked *out)
{
	bool wanted = false;
	int err = 0;

	pfs_epoch_enter();
	pfs_guess_begin();
	if (load_value(r, number, slot, kind, tag)) {
		out->seq = r->loaded.c.seq;
		out->len = r->loaded.slot.len;
		wanted = is_packed_at_all(r);
	}
	if (wanted)
		err = pfs_loaded_guess(r->store, &r->loaded, r->raw);
	pfs_guess_end();
	pfs_epoch_leave();
	if (err)
		report_damage(r, number, slot);
	return wanted && !err;
}

static bool needs_old_dict(struct pfs_store *store, uint32_t number)
{
	struct pfs_dict *newest = number ? pfs_dict_hold(store) : NULL;
	bool old = newest && newest->number != number;

	pfs_dict_let_go(newest);
	return old;
}

/* A body that is the payload itself stands in r->raw, which the next value takes. One that was not
 * even tried has no room of its own yet. */
static int own_body(struct pfs_packed *packed)
{
	if (packed->body == packed->owned)
		return 0;
	if (!packed->owned)
		packed->owned = malloc(packed->body_len);
	if (!packed->owned)
		return -ENOMEM;
	memcpy(packed->owned, packed->body, packed->body_len);
	packed->body = packed->owned;
	return 0;
}

int pfs_repack_slot(struct pfs_repacker *r, uint32_t page, uint32_t slot, unsigned kind,
		    uint64_t tag, struct pfs_repacked *out)
{
	const struct pfs_container *c = &r->loaded.c;
	uint64_t used, shorter = 0;
	int err;

	*out = (struct pfs_repacked){0};
	if (!read_value(r, page, slot, kind, tag, out))
		return 0;
	err = pfs_repack(r->store, &out->packed, r->raw, c->raw_len, r->hc);
	if (!err)
		err = own_body(&out->packed);
	if (err) {
		pfs_packed_free(&out->packed);
		return err;
	}
	out->old_dict = needs_old_dict(r->store, c->dict);
	if (out->packed.body_len < c->body_len)
		shorter = c->body_len - out->packed.body_len;
	out->better = shorter || out->old_dict;
	used = pfs_max_u64(c->header_len + c->body_len - shorter, r->store->super.min_value_size);
	out->gain = out->len > used ? out->len - used : 0;
	if (!out->better)
		pfs_packed_free(&out->packed);
	return 0;
}
