/* Reading the slots of all pages when there is no index to trust. */
#include <stdlib.h>

#include "storage/replay.h"

/* ---- what the records name ---- */

static uint64_t name_hash(unsigned kind, uint64_t tag)
{
	uint64_t h = pfs_mix64(tag + kind * UINT64_C(0x9e3779b97f4a7c15));

	return h ? h : 1;
}

static bool find_name(const uint64_t *named, size_t size, uint64_t hash, size_t *at)
{
	*at = hash & (size - 1);
	while (named[*at] && named[*at] != hash)
		*at = (*at + 1) & (size - 1);
	return named[*at] == hash;
}

bool pfs_is_named(const struct pfs_replay_state *state, unsigned kind, uint64_t tag)
{
	size_t at;

	return state->named_count &&
	       find_name(state->named, state->named_size, name_hash(kind, tag), &at);
}

int pfs_name(struct pfs_replay_state *state, unsigned kind, uint64_t tag)
{
	uint64_t hash = name_hash(kind, tag);
	size_t at;

	if (state->named_count * 2 >= state->named_size) {
		size_t size = state->named_size ? state->named_size * 2 : 1024;
		uint64_t *named = calloc(size, sizeof(*named));

		if (!named)
			return -ENOMEM;
		for (size_t i = 0; i < state->named_size; i++) {
			if (state->named[i] && !find_name(named, size, state->named[i], &at))
				named[at] = state->named[i];
		}
		free(state->named);
		state->named = named;
		state->named_size = size;
	}
	if (!find_name(state->named, state->named_size, hash, &at)) {
		state->named[at] = hash;
		state->named_count++;
	}
	return 0;
}

/* ---- slots ---- */

int pfs_install(struct pfs_store *store, unsigned kind, uint64_t tag, uint32_t page, uint32_t slot,
		uint64_t raw_len, uint64_t container_len)
{
	uint32_t object;
	int err = pfs_index_alloc(store->index, &object);

	if (err)
		return err;
	pfs_index_set_word(store->index, object, pfs_word_page(page, slot));
	pfs_account(store, kind, raw_len, container_len, true);
	return pfs_index_insert(store->index, object, pfs_index_hash(kind, tag));
}

static int grow(void **list, size_t count, size_t *cap, size_t item)
{
	size_t bigger = *cap ? *cap * 2 : 64;
	void *grown;

	if (count < *cap)
		return 0;
	grown = realloc(*list, bigger * item);
	if (!grown)
		return -ENOMEM;
	*list = grown;
	*cap = bigger;
	return 0;
}

int pfs_distrust_place(struct pfs_replay_state *state, const struct pfs_extent_at *at, uint64_t tag)
{
	int err = grow((void **)&state->untrusted, state->untrusted_count, &state->untrusted_cap,
		       sizeof(*state->untrusted));

	if (!err)
		state->untrusted[state->untrusted_count++] =
			(struct pfs_untrusted){.at = *at, .tag = tag};
	return err;
}

static int distrust(struct pfs_replay_state *state, const struct pfs_loaded *loaded, uint32_t page,
		    uint32_t slot, bool verified)
{
	struct pfs_untrusted *u;
	int err = pfs_distrust_place(
		state, &(struct pfs_extent_at){page, slot, loaded->slot.off, loaded->slot.len},
		loaded->slot.tag);

	if (err)
		return err;
	u = &state->untrusted[state->untrusted_count - 1];
	u->seq = verified ? loaded->c.seq : 0;
	u->verified = verified;
	if (verified &&
	    pfs_container_key(&u->key, &loaded->c, loaded->slot.kind, loaded->slot.tag) != 0)
		u->verified = false;
	return 0;
}

static int remember_tombstone(struct pfs_replay_state *state, uint32_t page, uint32_t number,
			      const struct pfs_slot *slot)
{
	size_t cap = state->tombstone_cap, tag_cap = cap, seq_cap = cap;
	int err = grow((void **)&state->tombstones, state->tombstone_count, &cap,
		       sizeof(*state->tombstones));

	if (!err)
		err = grow((void **)&state->tombstone_tags, state->tombstone_count, &tag_cap,
			   sizeof(uint64_t));
	if (!err)
		err = grow((void **)&state->tombstone_seqs, state->tombstone_count, &seq_cap,
			   sizeof(uint64_t));
	if (err)
		return err;
	state->tombstone_cap = cap;
	state->tombstones[state->tombstone_count] =
		(struct pfs_extent_at){.page = page, .slot = number};
	state->tombstone_tags[state->tombstone_count] = slot->tag;
	state->tombstone_seqs[state->tombstone_count++] = slot->seq;
	return 0;
}

/* A document that the window's records name. */
static int scan_named(struct pfs_replay_state *state, uint32_t page, uint32_t number,
		      const struct pfs_slot *slot)
{
	struct pfs_loaded loaded;
	int err = pfs_load(state->store, page, number, &loaded);

	if (err)
		return distrust(state, &loaded, page, number, false);
	if (loaded.c.seq >= state->window) {
		state->last_seq = pfs_max_u64(state->last_seq, loaded.c.seq);
		return distrust(state, &loaded, page, number, true);
	}
	return pfs_install(state->store, slot->kind, slot->tag, page, number, loaded.c.raw_len,
			   slot->len);
}

static int scan_slot(struct pfs_replay_state *state, struct pfs_page *page, uint32_t number)
{
	struct pfs_slot slot;
	int err = pfs_page_read_slot(page, number, &slot);

	if (err == -EUCLEAN)
		return 0; /* reported when the page was loaded */
	if (err)
		return err;
	if (slot.kind == PFS_SLOT_TOMBSTONE) {
		state->last_seq = pfs_max_u64(state->last_seq, slot.seq);
		return slot.seq >= state->window
			       ? remember_tombstone(state, page->number, number, &slot)
			       : 0;
	}
	if (!pfs_slot_is_live(&slot))
		return 0;
	if (pfs_is_named(state, slot.kind, slot.tag))
		return scan_named(state, page->number, number, &slot);
	return pfs_install(state->store, slot.kind, slot.tag, page->number, number,
			   pfs_peek_raw_len(page, &slot), slot.len);
}

int pfs_scan(struct pfs_replay_state *state)
{
	struct pfs_pager *pager = state->store->pager;

	for (uint32_t n = 1; n <= pfs_pager_last(pager); n++) {
		struct pfs_page *page = pfs_pager_find(pager, n);
		int err;

		if (!page)
			continue;
		state->last_seq = pfs_max_u64(state->last_seq, page->base_seq);
		err = pfs_pager_load(pager, page);
		if (!err)
			err = pfs_index_reserve(state->store->index, page->slot_count);
		for (uint32_t i = 0; i < page->slot_count && !err; i++)
			err = scan_slot(state, page, i);
		if (err == -EIO) {
			/* The others are still to be had. */
			pfs_logf(&state->store->logger, PFS_LOG_ERROR,
				 PFS_PAGE_NAME_FMT
				 " can't be read to its end: what it held is not listed",
				 n);
			err = 0;
		}
		if (err)
			return err;
	}
	return 0;
}
