/* Compaction: giving back the space of pages in which much is dead.
 *
 * Nothing is special about a value that is moved: it is logged as a change of attributes that
 * changes none, and goes through the journal and a checkpoint like any other change. So a power cut
 * at any moment, readers, and writers of the same document are covered by W1 to W8 and O1 to O7;
 * it costs some 80 bytes of journal a value.
 *
 *   chosen, closed -> values moved, a bounded number of bytes a step -> checkpoint -> empty
 *                          ^------------ not empty, a few times ----------'           |
 *                                                            counted out, file removed
 *
 * K1: a page that is being emptied takes nothing (PG4), so that each pass leaves less in it. K2: a
 * page is chosen only for holes and free slots, which are gone with it; what its values need
 * elsewhere fills holes or is laid without any. So each page that is emptied lowers the sum of dead
 * bytes, and compaction ends whatever the sizes of values are. K3: a page that can't be emptied (a
 * document is damaged, held, open without a name, or under heavy writing) is given up after a few
 * passes and not tried again before something has left it. K4: an empty page is taken out of the
 * table, and after an epoch its file is removed. A file that a crash leaves has no live slot; the
 * sequences of its tombstones are in the past of the journal.
 *
 * When. In steady churn the holes that changes leave are reused by others, and only what does not
 * fit is waste. WASTE_DIV and WASTE_FLOOR bound it: dead bytes above a fifth of the live ones and a
 * quarter of a page start compaction, at a sixth and an eighth it ends. So disk usage stays below
 * 1.2 times the live bytes, a quarter of a page, and the page that is being emptied. The price: the
 * worst page has no less than the average waste, which is 1/6 of its bytes, so at most five bytes
 * are moved for each that is gained, and mostly far fewer, since pages differ.
 *
 * Beside waste the disk holds what is on its way: the journal, and in the pages a second place for
 * each relocated value that a checkpoint has yet to write; some twice the live journal, which
 * store_internal.h bounds by the store's size. That is the greater part of what steady change
 * costs: 1 million documents (603 MiB), 5 million changes as fast as they go (tools/bench/churn.c):
 * pages at most 1.146 times the live bytes with a trigger of a fifth, all files 1.275 times. So the
 * trigger stays where it is; a lower one would move more, and give less back than a shorter
 * journal does. A writer that never pauses wants one checkpoint after the other: some steps are
 * made between two (store_threads.c), or waste would grow for as long as it goes on. */
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_compact.h"

#define WASTE_DIV 5 /* of the live bytes */
#define WASTE_DIV_LOW 6
#define WASTE_FLOOR_DIV 4 /* of a page */
#define WASTE_FLOOR_DIV_LOW 8
#define SHARE_MIN_DIV 10 /* dead share of a page from which on emptying it is worth it */

#define GROUP_SLOTS 4096   /* looked at in a lock hold */
#define STEP_BYTES PFS_MIB /* moved in a step */
#define PASSES_MAX 3	   /* over the slots of a page (K3) */
#define YIELD_NS 200000

/* ---- retiring ---- */

/* The superblock does not count the page any more. */
static int count_out(struct pfs_store *store, const struct pfs_page *page)
{
	struct pfs_page_set *set = &store->super.pages, before = *set;
	int err;

	if (page->number > set->highest)
		return 0;
	pfs_page_set_remove(set, page->number);
	err = pfs_super_write(store->dir, &store->super);
	if (err)
		*set = before;
	return err;
}

static int retire(struct pfs_store *store, struct pfs_page *page)
{
	int err = count_out(store, page);

	if (err)
		return pfs_store_fail(store, "counting a page out", err);
	pthread_mutex_lock(&store->commit);
	pfs_pager_unpublish(store->pager, page);
	store->counters.retired_pages++;
	pthread_mutex_unlock(&store->commit);
	pfs_epoch_wait();
	err = pfs_pager_remove(store->pager, page);
	return err ? pfs_store_fail(store, "removing a page", err) : 0;
}

int pfs_retire_pages(struct pfs_store *store, bool keep)
{
	struct pfs_page *page;
	int err = 0;

	do {
		pthread_mutex_lock(&store->commit);
		page = pfs_pager_spare(store->pager, keep);
		pthread_mutex_unlock(&store->commit);
		if (page)
			err = retire(store, page);
	} while (page && !err);
	return err;
}

/* ---- choosing ---- */

/* K3. Only what has left the page is a change: what came there does not make it easier to empty,
 * and two pages that are stuck would move the same values to and fro for ever. */
static bool is_stuck(struct pfs_page *page, const struct pfs_page_space *space)
{
	if (!page->stuck_used)
		return false;
	page->stuck_used = pfs_max_u64(page->stuck_used, space->used + 1);
	return page->stuck_used == space->used + 1;
}

static bool can_be_emptied(struct pfs_page *page, const struct pfs_page_space *space)
{
	return !page->unusable && !page->closed && !is_stuck(page, space);
}

void pfs_count_waste(struct pfs_store *store, bool running, struct pfs_waste *out)
{
	uint64_t page_size = store->super.page_size;

	*out = (struct pfs_waste){0};
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_page_space space;

		pfs_page_space(page, &space);
		out->live += pfs_page_live(&space);
		out->dead += pfs_page_dead(&space);
	}
	out->dead_max = running ? out->live / WASTE_DIV_LOW + page_size / WASTE_FLOOR_DIV_LOW
				: out->live / WASTE_DIV + page_size / WASTE_FLOOR_DIV;
}

static double dead_share(const struct pfs_page_space *space)
{
	return (double)pfs_page_dead(space) / (double)space->disk;
}

bool pfs_compact_is_worth(struct pfs_page *page, const struct pfs_page_space *space)
{
	return can_be_emptied(page, space) && space->used &&
	       dead_share(space) > 1.0 / SHARE_MIN_DIV;
}

/* The page with the greatest dead share, eager: however small that is. Commit lock. */
static struct pfs_page *worst_page(struct pfs_store *store, bool eager)
{
	struct pfs_page *worst = NULL;
	double worst_share = 0;

	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_page_space space;
		double share;

		pfs_page_space(page, &space);
		if (eager ? !can_be_emptied(page, &space) || space.used == 0
			  : !pfs_compact_is_worth(page, &space))
			continue;
		share = dead_share(&space);
		if (share > worst_share) {
			worst_share = share;
			worst = page;
		}
	}
	return worst;
}

static bool is_wasteful(struct pfs_store *store, bool running)
{
	struct pfs_waste waste;

	pfs_count_waste(store, running, &waste);
	return waste.dead > waste.dead_max;
}

/* Chooses a page and closes it. 1: there is one, 0: there is none, -ENOMEM. */
static int choose(struct pfs_store *store, bool eager)
{
	struct pfs_compaction *c = &store->compaction;
	struct pfs_page *page = NULL;
	int err = 0;

	pthread_mutex_lock(&store->commit);
	c->running = is_wasteful(store, c->running);
	if (eager || c->running)
		page = worst_page(store, eager);
	if (page)
		err = pfs_pager_load(store->pager, page);
	if (page && !err) {
		pfs_pager_close_page(store->pager, page, true);
		c->victim = page->number;
		c->cursor = 0;
		c->passes = 0;
		err = 1;
	}
	pthread_mutex_unlock(&store->commit);
	return err;
}

void pfs_compact_give_up(struct pfs_store *store, bool stuck)
{
	struct pfs_compaction *c = &store->compaction;
	struct pfs_page_space space;
	struct pfs_page *page;

	pthread_mutex_lock(&store->commit);
	page = pfs_pager_find(store->pager, c->victim);
	if (page) {
		pfs_page_space(page, &space);
		page->stuck_used = stuck ? space.used + 1 : 0;
		pfs_pager_close_page(store->pager, page, false);
	}
	c->victim = 0;
	pthread_mutex_unlock(&store->commit);
}

void pfs_compact_yield_room(struct pfs_store *store)
{
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		if (page->closed)
			pfs_pager_close_page(store->pager, page, false);
	}
}

/* ---- moving ---- */

uint32_t pfs_compact_object_at(struct pfs_store *store, uint32_t page, uint32_t number,
			       const struct pfs_slot *slot)
{
	uint64_t word = pfs_word_page(page, number);
	struct pfs_probe probe;
	uint32_t object;

	pfs_probe_key(&probe, store->index, slot->kind, slot->tag);
	while ((object = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		if (pfs_index_word(store->index, object) == word)
			break;
	}
	return object;
}

/* Moves the next values of the victim in one lock hold. *end: there is none behind. */
static int move_group(struct pfs_store *store, bool *end)
{
	struct pfs_compaction *c = &store->compaction;
	struct pfs_page *page = pfs_pager_find(store->pager, c->victim);
	uint64_t bytes = 0;
	unsigned values = 0;
	int err = 0;

	*end = false;
	for (unsigned slots = 0; !err && slots < GROUP_SLOTS && values < PFS_COMPACT_GROUP_VALUES &&
				 bytes < PFS_COMPACT_GROUP_BYTES;
	     slots++) {
		struct pfs_slot slot;
		uint32_t object;
		bool live;

		if (c->cursor >= page->slot_count) {
			*end = true;
			break;
		}
		/* A checkpoint may be writing it. Whose it is, its object's word has to say, too.
		 */
		pfs_guess_begin();
		live = pfs_page_read_slot(page, c->cursor++, &slot) == 0 && pfs_slot_is_live(&slot);
		pfs_guess_end();
		if (!live)
			continue;
		object = pfs_compact_object_at(store, page->number, c->cursor - 1, &slot);
		if (object == PFS_OBJECT_NONE)
			continue;
		err = pfs_touch_object(store, object);
		if (err == -EIO) {
			err = 0; /* it is damaged and stays */
			continue;
		}
		if (err)
			c->cursor--;
		else
			values++;
		bytes += err ? 0 : slot.len;
	}
	c->unapplied += bytes;
	c->unapplied_values += values;
	store->counters.moved_values += values;
	store->counters.moved_bytes += bytes;
	c->moved += bytes;
	return err;
}

/* -EAGAIN: the page was opened meanwhile, because its room was needed. */
static int move_group_locked(struct pfs_store *store, bool *end)
{
	const struct pfs_page *page;
	int err;

	pfs_write_enter(store);
	page = pfs_pager_find(store->pager, store->compaction.victim);
	*end = !page; /* a checkpoint has found it empty */
	if (!pfs_store_is_writable(store))
		err = -EROFS;
	else if (page)
		err = page->closed ? move_group(store, end) : -EAGAIN;
	else
		err = 0;
	pfs_write_leave(store);
	return err;
}

void pfs_compact_yield(struct pfs_store *store)
{
	static const struct timespec pause = {0, YIELD_NS};

	if (__atomic_load_n(&store->waiting, __ATOMIC_RELAXED))
		nanosleep(&pause, NULL);
}

int pfs_compact_apply(struct pfs_store *store, bool force)
{
	store->compaction.unapplied = 0;
	store->compaction.unapplied_values = 0;
	return pfs_checkpoint(store, force);
}

int pfs_compact_victim_step(struct pfs_store *store, bool force)
{
	struct pfs_compaction *c = &store->compaction;
	uint64_t from = c->moved;
	bool end = false;
	int err = 0;

	while (!err && !end && c->moved - from < STEP_BYTES) {
		err = move_group_locked(store, &end);
		pfs_compact_yield(store);
	}
	if (!err && (end || pfs_compact_is_due(store)))
		err = pfs_compact_apply(store, force);
	if (err) {
		pfs_compact_give_up(store, err == -ENOSPC);
		return err;
	}
	if (!end)
		return 1;
	if (!pfs_pager_find(store->pager, c->victim)) {
		c->victim = 0;
		return 0;
	}
	c->cursor = 0;
	if (++c->passes < PASSES_MAX)
		return 1;
	pfs_compact_give_up(store, true);
	return 0;
}

int pfs_own_compact_step(struct pfs_store *store, bool eager)
{
	int err = 1;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	if (__atomic_load_n(&store->packing, __ATOMIC_ACQUIRE) ||
	    pthread_mutex_trylock(&store->compact_lock) != 0)
		return 0;
	if (!store->compaction.victim)
		err = choose(store, eager);
	if (err == 1) {
		err = pfs_compact_victim_step(store, false);
		/* Whether there is more is for the next choice to say. */
		if (err == 0)
			err = 1;
		if (err == -EAGAIN)
			err = 0;
	}
	pthread_mutex_unlock(&store->compact_lock);
	return err;
}

void pfs_compact_for_room(struct pfs_store *store)
{
	int err;

	if (pthread_mutex_trylock(&store->compact_lock) != 0)
		return;
	err = store->compaction.victim ? 1 : choose(store, true);
	while (err == 1)
		err = pfs_compact_victim_step(store, true);
	pthread_mutex_unlock(&store->compact_lock);
}
