/* Which pages a full compaction has to do with. What is packed already is left alone, so that
 * compacting twice costs no more than looking: a page stays when it is full, its values stand in
 * the order of their ids, and a sample of them can't be made smaller. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_pack.h"

#define FULL_DIV 32  /* a page is full with less free than this part of it */
#define ORDER_DIV 64 /* it is in order when at most this part of its values is not */
#define SAMPLES 64u  /* values of a page that are packed to see what it gains */
#define GAIN_DIV 64  /* what is less than this part of them is not worth it */
#define SLOTS_AT_ONCE 1024u

bool pfs_pack_is_full(const struct pfs_store *store, const struct pfs_page *page)
{
	struct pfs_page_space space;
	uint64_t free;

	pfs_page_space(page, &space);
	free = space.holes + (uint64_t)space.free_slots * PFS_SLOT_LEN;
	/* A page that was made for one large document has no use for its gap. */
	if (page->size == store->super.page_size || space.used < page->size / 2)
		free += space.gap;
	return free < page->size / FULL_DIV;
}

/* What is seen of one page. */
struct look {
	uint32_t page, slots; /* its number, how many slots it has */
	bool full;
	uint64_t used, live, dead;
	uint32_t values, disordered;
	unsigned kind; /* of the last value */
	uint64_t tag;
	uint64_t sampled, gain; /* bytes of containers */
	bool old_dict;
};

/* False: there is nothing to be packed in it. */
static bool begin_look(struct pfs_store *store, uint32_t number, struct look *look, int *err)
{
	struct pfs_page_space space;
	struct pfs_page *page;
	bool go;

	*look = (struct look){.page = number};
	*err = 0;
	pthread_mutex_lock(&store->commit);
	page = pfs_pager_find(store->pager, number);
	go = page && !page->retiring;
	if (go) {
		*err = pfs_pager_load(store->pager, page);
		pfs_page_space(page, &space);
		look->slots = page->slot_count;
		look->full = pfs_pack_is_full(store, page);
		look->used = space.used;
		look->live = pfs_page_live(&space);
		look->dead = space.holes + (uint64_t)space.free_slots * PFS_SLOT_LEN;
		go = !*err && !page->unusable && space.used;
	}
	pthread_mutex_unlock(&store->commit);
	return go;
}

static void look_at_order(struct look *look, const struct pfs_slot *slot)
{
	if (look->values++ &&
	    (slot->kind < look->kind || (slot->kind == look->kind && slot->tag < look->tag)))
		look->disordered++;
	look->kind = slot->kind;
	look->tag = slot->tag;
}

static int sample(struct pfs_repacker *r, struct look *look, uint32_t number,
		  const struct pfs_slot *slot)
{
	struct pfs_repacked repacked;
	int err = pfs_repack_slot(r, look->page, number, slot->kind, slot->tag, &repacked);

	if (err)
		return err;
	look->sampled += repacked.len;
	look->gain += repacked.gain;
	look->old_dict |= repacked.old_dict;
	if (repacked.better)
		pfs_packed_free(&repacked.packed);
	return 0;
}

/* Looks at the slots [from, to): those that the page had when this began stay slots. */
static int look_at_slots(struct pfs_repacker *r, struct look *look, uint32_t from, uint32_t to,
			 uint32_t newest)
{
	uint32_t stride = look->slots / SAMPLES + 1;
	int err = 0;

	for (uint32_t i = from; i < to && !err; i++) {
		struct pfs_page *page;
		struct pfs_slot slot;
		uint64_t raw_len;
		uint32_t dict;
		bool live;

		pfs_epoch_enter();
		page = pfs_pager_find(r->store->pager, look->page);
		pfs_guess_begin();
		live = page && pfs_page_read_slot(page, i, &slot) == 0 && pfs_slot_is_live(&slot);
		if (live && newest && !look->old_dict &&
		    pfs_peek_container(page, &slot, &raw_len, &dict))
			look->old_dict = dict && dict != newest;
		pfs_guess_end();
		pfs_epoch_leave();
		if (!live)
			continue;
		look_at_order(look, &slot);
		if (i % stride == 0)
			err = sample(r, look, i, &slot);
	}
	return err;
}

static bool is_untidy(const struct look *look)
{
	return look->disordered > look->values / ORDER_DIV ||
	       look->gain > look->sampled / GAIN_DIV || look->old_dict;
}

static void mark(struct pfs_store *store, const struct look *look, struct pfs_packing_plan *plan)
{
	struct pfs_page *page;

	pthread_mutex_lock(&store->commit);
	page = pfs_pager_find(store->pager, look->page);
	if (page)
		page->packed_run = store->compaction.run;
	pthread_mutex_unlock(&store->commit);
	if (!page)
		return;
	plan->total += look->used;
	plan->values += look->values;
	plan->live += look->live;
	plan->dead += look->dead;
	plan->pages++;
}

/* The dictionary that each value is to have, if there are values that have another; else 0. */
static uint32_t only_dict(struct pfs_store *store)
{
	struct pfs_dict *newest = pfs_dict_hold(store);
	uint32_t number = 0;

	pthread_mutex_lock(&store->commit);
	for (size_t i = 0; newest && i < store->dicts->count; i++) {
		const struct pfs_dict *dict = store->dicts->at[i];

		if (dict != newest && dict->codec && (dict->users || !store->dict_users_known))
			number = newest->number;
	}
	pthread_mutex_unlock(&store->commit);
	pfs_dict_let_go(newest);
	return number;
}

int pfs_pack_survey(struct pfs_repacker *r, struct pfs_packing_plan *plan, const bool *stop)
{
	struct pfs_store *store = r->store;
	uint32_t last = pfs_pager_last(store->pager), newest = only_dict(store);
	struct look look;
	int err = 0;

	*plan = (struct pfs_packing_plan){0};
	for (uint32_t n = pfs_pager_next(store->pager, 0); n && n <= last && !err;
	     n = pfs_pager_next(store->pager, n)) {
		if (!begin_look(store, n, &look, &err))
			continue;
		for (uint32_t i = 0; i < look.slots && !err; i += SLOTS_AT_ONCE) {
			err = look_at_slots(r, &look, i,
					    (uint32_t)pfs_min_u64(i + SLOTS_AT_ONCE, look.slots),
					    newest);
			if (pfs_is_set(stop))
				err = -ECANCELED;
		}
		if (!err && is_untidy(&look))
			plan->untidy++;
		if (!err && (!look.full || is_untidy(&look)))
			mark(store, &look, plan);
	}
	return err;
}
