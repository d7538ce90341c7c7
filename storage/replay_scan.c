/* Reading the slots of all pages when there is no index to trust. */
#include <stdlib.h>

#include "storage/replay.h"

#define PROBE_BYTES_MAX \
	(2 * PFS_GIB) /* summed in the search for wrong bits, some tenths of a second */

#define PREFETCH 16u /* slots; some hundred nanoseconds */
#define PREPARE_PART 8u

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

static int insert(struct pfs_store *store, unsigned kind, uint64_t tag, uint32_t page,
		  uint32_t slot)
{
	uint32_t object;
	int err = pfs_index_alloc(store->index, &object);

	if (err)
		return err;
	pfs_index_set_word(store->index, object, pfs_word_page(page, slot));
	return pfs_index_insert(store->index, object, pfs_index_hash(kind, tag));
}

static void account(struct pfs_store *store, unsigned kind, uint64_t raw_len,
		    uint64_t container_len, uint32_t dict)
{
	pfs_account(store, kind, raw_len, container_len, true);
	pfs_dict_count(store, dict, 0, true);
}

int pfs_install(struct pfs_store *store, unsigned kind, uint64_t tag, uint32_t page, uint32_t slot,
		uint64_t raw_len, uint64_t container_len, uint32_t dict)
{
	account(store, kind, raw_len, container_len, dict);
	return insert(store, kind, tag, page, slot);
}

/* The documents of the run come into the index. */
static int end_run(struct pfs_replay_state *state)
{
	struct pfs_index *index = state->store->index;
	uint32_t page = state->run.page, slot = state->run.slot, count = state->run.count;
	int err;

	state->run.count = 0;
	if (count >= state->run_min)
		return pfs_index_add_run(index, pfs_word_page(page, slot), count,
					 state->run.number);
	state->singles += count;
	err = pfs_index_reserve(index, count);
	for (uint32_t i = 0; i < count && !err; i++)
		err = insert(state->store, PFS_KEY_NUM, state->run.number + i, page, slot + i);
	return err;
}

/* pfs_install of what the scan meets; behind a number that comes before it is part of a run. */
static int install(struct pfs_replay_state *state, uint32_t page, uint32_t slot_number,
		   const struct pfs_ahead_slot *slot)
{
	uint32_t next = state->run.slot + state->run.count;
	int err = 0;

	account(state->store, slot->kind, slot->raw_len, slot->len, slot->dict);
	if (slot->kind != PFS_KEY_NUM) {
		state->singles++;
		return insert(state->store, slot->kind, slot->tag, page, slot_number);
	}
	if (!state->run.count || page != state->run.page || slot_number != next ||
	    slot->tag - state->run.number != state->run.count) {
		err = end_run(state);
		state->run.page = page;
		state->run.slot = slot_number;
		state->run.number = slot->tag;
	}
	state->run.count++;
	return err;
}

static int install_loaded(struct pfs_replay_state *state, const struct pfs_loaded *loaded,
			  uint32_t slot_number, bool verified)
{
	const struct pfs_ahead_slot slot = {
		.kind = (uint8_t)loaded->slot.kind,
		.dict = verified ? loaded->c.dict : 0,
		.tag = loaded->slot.tag,
		.raw_len = verified ? loaded->c.raw_len : 0,
		.len = loaded->slot.len,
	};

	return install(state, loaded->page->number, slot_number, &slot);
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
	u->verified = verified && pfs_container_key(&u->key, &loaded->c, loaded->slot.kind,
						    loaded->slot.tag) == 0;
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
	if (!err) {
		state->tombstone_cap = cap;
		state->tombstones[state->tombstone_count] =
			(struct pfs_extent_at){.page = page, .slot = number};
		state->tombstone_tags[state->tombstone_count] = slot->tag;
		state->tombstone_seqs[state->tombstone_count++] = slot->seq;
	}
	return err;
}

static int read_page(void *page, uint64_t off, void *buf, size_t len)
{
	return pfs_page_copy(page, buf, off, len);
}

static struct pfs_identify probe_of(const struct pfs_replay_state *state, struct pfs_page *page)
{
	return (struct pfs_identify){
		.read = read_page,
		.arg = page,
		.page_size = page->size,
		.base_seq = page->base_seq,
		.base_mtime = page->base_mtime,
		.buf = state->probe,
		.budget = state->probe_bytes,
	};
}

/* A slot that does not verify, or none at all. Its document, if it can be told whose it is, is
 * there and can't be read: as it stands it is not found, and another might seem to be. */
static int scan_damaged(struct pfs_replay_state *state, struct pfs_page *page, uint32_t number,
			const struct pfs_slot_disk *disk)
{
	struct pfs_store *store = state->store;
	struct pfs_identify by = probe_of(state, page);
	struct pfs_identified found;
	enum pfs_identity identity = pfs_identify(&by, disk, &found);
	struct pfs_extent_at at = {page->number, number, found.decoded.off, 0};
	char where[32];

	state->probe_bytes = by.budget;
	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, page->number);
	pfs_corrupt(&store->logger, where, pfs_slot_offset(number),
		    "slot %u or what it points to is damaged", number);
	pfs_pager_make_unusable(store->pager, page);
	store->dict_users_known = false;
	if (identity == PFS_IDENTITY_NONE)
		return 0;
	if (identity == PFS_IDENTITY_UNKNOWN)
		state->unknown++;
	if (!pfs_slot_is_live(&found.decoded) || found.decoded.kind == PFS_KEY_TEMP)
		return 0;
	/* Its records say what it was, or that it is lost. */
	if (pfs_is_named(state, found.decoded.kind, found.decoded.tag))
		return pfs_distrust_place(state, &at, found.decoded.tag);
	return pfs_install(store, found.decoded.kind, found.decoded.tag, page->number, number,
			   pfs_peek_raw_len(page, &found.decoded), found.decoded.len, 0);
}

/* A version of the window, or one whose container was torn by the crash: the records decide. */
static int scan_named(struct pfs_replay_state *state, const struct pfs_loaded *loaded,
		      struct pfs_page *page, uint32_t number, bool verified)
{
	if (verified)
		state->last_seq = pfs_max_u64(state->last_seq, loaded->c.seq);
	return distrust(state, loaded, page->number, number, verified);
}

/* A slot whose container does not verify, and whose key the records name: torn, as a rule; but it
 * may be another's slot that is damaged. Its own with another length is no damage: a container that
 * was written over in place by one a power of two shorter or longer, before its slot was. */
static bool is_anothers(struct pfs_replay_state *state, struct pfs_page *page,
			const struct pfs_slot_disk *disk, const struct pfs_slot *slot)
{
	struct pfs_identify by = probe_of(state, page);
	struct pfs_identified found;
	bool is = pfs_identify_slot(&by, disk, &found) &&
		  (found.decoded.kind != slot->kind || found.decoded.tag != slot->tag);

	state->probe_bytes = by.budget;
	return is;
}

static int scan_live(struct pfs_replay_state *state, struct pfs_page *page, uint32_t number,
		     const struct pfs_slot_disk *disk)
{
	struct pfs_loaded *loaded = state->loaded;
	bool verified = pfs_load_slot(page, disk, loaded) == 0;
	const struct pfs_slot *slot = &loaded->slot;

	if (pfs_is_named(state, slot->kind, slot->tag) &&
	    (verified ? loaded->c.seq >= state->window : !is_anothers(state, page, disk, slot)))
		return scan_named(state, loaded, page, number, verified);
	/* Nobody's any more: dropped, damaged or not. */
	if (!verified && slot->kind != PFS_KEY_TEMP)
		return scan_damaged(state, page, number, disk);
	return install_loaded(state, loaded, number, verified);
}

static int scan_slot(struct pfs_replay_state *state, struct pfs_page *page, uint32_t number)
{
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	int err = pfs_page_copy(page, &disk, pfs_slot_offset(number), sizeof(disk));

	if (err)
		return err;
	if (pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, page->size) != 0 ||
	    (slot.kind == PFS_SLOT_FREE && !pfs_is_zero(&disk, sizeof(disk))))
		return scan_damaged(state, page, number, &disk);
	if (slot.kind == PFS_SLOT_TOMBSTONE) {
		state->last_seq = pfs_max_u64(state->last_seq, slot.seq);
		return slot.seq >= state->window
			       ? remember_tombstone(state, page->number, number, &slot)
			       : 0;
	}
	return slot.kind == PFS_SLOT_FREE ? 0 : scan_live(state, page, number, &disk);
}

/* A table that grows step by step is made again and again. Once enough was seen to tell how much of
 * it goes there, it is made for the rest. Whether there is memory for it those find that need it.
 */
static void prepare_index(struct pfs_replay_state *state)
{
	uint64_t left = state->slots - state->scanned;

	if (state->scanned >= state->slots / PREPARE_PART)
		(void)pfs_index_reserve(
			state->store->index,
			(uint64_t)((double)state->singles * (double)left / (double)state->scanned));
}

/* The slots from `first` on that were read ahead. */
static int scan_ahead(struct pfs_replay_state *state, struct pfs_page *page, uint32_t first,
		      const struct pfs_ahead_slot *slots, uint32_t count)
{
	bool in_runs = state->singles < state->scanned / 2;
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++) {
		uint32_t soon = i + PREFETCH;

		if (!in_runs && soon < count && slots[soon].seen == PFS_AHEAD_GOOD)
			pfs_index_prefetch_hash(state->store->index,
						pfs_index_hash(slots[soon].kind, slots[soon].tag));
		if (slots[i].seen == PFS_AHEAD_GOOD)
			err = install(state, page->number, first + i, &slots[i]);
		else if (slots[i].seen != PFS_AHEAD_FREE)
			err = scan_slot(state, page, first + i);
	}
	state->scanned += count;
	prepare_index(state);
	return err;
}

static int scan_page(struct pfs_replay_state *state, struct pfs_ahead *ahead, struct pfs_page *page)
{
	int err = pfs_pager_load(state->store->pager, page);
	uint32_t count;

	state->last_seq = pfs_max_u64(state->last_seq, page->base_seq);
	/* After an error, too: so that the next page's are the next. */
	for (uint32_t i = 0; i < page->slot_count; i += count) {
		const struct pfs_ahead_slot *slots = pfs_ahead_next(ahead, &count);

		if (!err)
			err = scan_ahead(state, page, i, slots, count);
	}
	/* Those before the error are known, whatever it was. */
	if (state->run.count) {
		int run_err = end_run(state);

		err = run_err ? run_err : err;
	}
	if (err != -EIO)
		return err;
	/* The others are still to be had. */
	pfs_logf(&state->store->logger, PFS_LOG_ERROR,
		 PFS_PAGE_NAME_FMT " can't be read to its end: what it held is not listed",
		 page->number);
	pfs_pager_make_unusable(state->store->pager, page);
	state->store->dict_users_known = false;
	state->unknown++;
	return 0;
}

static int compare_untrusted(const void *a, const void *b)
{
	const struct pfs_untrusted *left = a, *right = b;

	return (left->seq > right->seq) - (left->seq < right->seq);
}

/* Records look for them by their sequences. */
static void sort_untrusted(struct pfs_replay_state *state)
{
	if (state->untrusted_count)
		qsort(state->untrusted, state->untrusted_count, sizeof(*state->untrusted),
		      compare_untrusted);
	state->untrusted_sorted = state->untrusted_count;
}

static uint64_t count_slots(struct pfs_pager *pager)
{
	uint64_t slots = 0;

	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		const struct pfs_page *page = pfs_pager_find(pager, n);

		slots += page ? page->slot_count : 0;
	}
	return slots;
}

int pfs_scan(struct pfs_replay_state *state)
{
	struct pfs_pager *pager = state->store->pager;
	struct pfs_ahead *ahead = NULL;
	int err = 0;

	state->slots = count_slots(pager);
	state->run_min = pfs_index_run_min(state->slots);
	state->probe = malloc(PFS_IDENTIFY_ROOM);
	state->loaded = malloc(sizeof(*state->loaded));
	state->probe_bytes = PROBE_BYTES_MAX;
	if (!state->probe || !state->loaded)
		err = -ENOMEM;
	/* What damaged or missing files held is not known to anybody. */
	state->unknown += state->store->pages_damaged;
	if (state->store->pages_damaged)
		state->store->dict_users_known = false;
	if (!err)
		err = pfs_ahead_begin(&ahead, state);
	for (uint32_t n = pfs_pager_next(pager, 0); n && !err; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		if (page)
			err = scan_page(state, ahead, page);
	}
	if (!err)
		err = pfs_index_end_runs(state->store->index);
	/* Only damage has a number twice. Any other error comes again. */
	if (err == -EUCLEAN)
		err = pfs_index_dissolve_runs(state->store->index);
	pfs_ahead_end(ahead);
	sort_untrusted(state);
	free(state->probe);
	free(state->loaded);
	return err;
}
