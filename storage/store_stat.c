/* Statistics. */
#include <stdlib.h>
#include <time.h>

#include "storage/store_compact.h"

#define STAT_WAIT_NS 20000000 /* for the commit lock */

int pfs_stat_locked(struct pfs_store *store, struct pfs_store_stat *out)
{
	struct pfs_pager_stat pages;
	struct pfs_waste waste;
	uint64_t journal;
	int err = pfs_pager_stat(store->pager, &pages);

	if (!err)
		err = pfs_journal_disk_bytes(store->journal, &journal);
	if (err)
		return err;
	pfs_count_waste(store, store->compaction.running, &waste);
	*out = (struct pfs_store_stat){
		.points = store->points,
		.scratch = store->scratch,
		.raw_bytes = store->raw_bytes,
		.container_bytes = store->container_bytes,
		.slot_bytes = (store->points + store->scratch) * PFS_SLOT_LEN,
		.used_bytes = pages.used_bytes,
		.hole_bytes = pages.hole_bytes,
		.gap_bytes = pages.gap_bytes,
		.free_bytes = pages.free_bytes,
		.dead_bytes = waste.dead,
		.dead_max = waste.dead_max,
		.disk_bytes = pages.disk_bytes + journal,
		.page_bytes = pages.disk_bytes,
		.pages = pages.pages,
		.page_size = store->super.page_size,
		.min_value_size = store->super.min_value_size,
		.journal_bytes = pfs_journal_live_bytes(store->journal),
		.sequence = pfs_journal_appended(store->journal),
		.records = store->counters.records,
		.checkpoints = store->counters.checkpoints,
		.moved_values = store->counters.moved_values,
		.moved_bytes = store->counters.moved_bytes,
		.retired_pages = store->counters.retired_pages,
		.index_bytes = pfs_index_bytes(store->index),
		.format_version = store->super.version,
		.dictionaries = (uint32_t)store->dicts->count,
		.dictionary = store->dict ? store->dict->number : 0,
		.dictionary_users = pfs_dict_users(store),
		.dictionary_raw = store->dict ? store->dict->raw : 0,
		.dictionary_packed = store->dict ? store->dict->packed : 0,
		.dictionary_off = store->dict_off,
		.dictionary_off_recorded = (store->super.compat & PFS_FEATURE_COMPAT_DICT_OFF) != 0,
		.dictionary_trainer = pfs_store_trainer() != NULL,
		.doubt = store->doubt,
		.identity = {pfs_get_le64(store->super.uuid), pfs_get_le64(store->super.uuid + 8)},
		.defaults = store->defaults,
		.defaults_recorded = store->super.has_defaults,
	};
	pfs_snapshot_stat(store, out);
	return 0;
}

/* Waits a moment for who holds the commit lock; when that takes longer, because the disk does not
 * take its write, the numbers are those of the last time (G8). */
static int stat_soon(struct pfs_store *store, struct pfs_store_stat *out)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STAT_WAIT_NS;
	if (until.tv_nsec >= PFS_NSEC_PER_SEC) {
		until.tv_sec++;
		until.tv_nsec -= PFS_NSEC_PER_SEC;
	}
	if (pthread_mutex_timedlock(&store->commit, &until) != 0) {
		pthread_mutex_lock(&store->stat_lock);
		*out = store->last_stat;
		pthread_mutex_unlock(&store->stat_lock);
		return 0;
	}
	err = pfs_stat_locked(store, out);
	pthread_mutex_unlock(&store->commit);
	if (err)
		return err;
	pthread_mutex_lock(&store->stat_lock);
	store->last_stat = *out;
	pthread_mutex_unlock(&store->stat_lock);
	return 0;
}

int pfs_own_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	struct pfs_io_space space;
	int err;

	*out = (struct pfs_store_stat){0};
	err = stat_soon(store, out);
	if (!err)
		err = store->dir->ops->space(store->dir, &space);
	if (err) {
		*out = (struct pfs_store_stat){0};
		return err;
	}
	out->durable_sequence = pfs_journal_durable(store->journal);
	out->blocks_decoded = __atomic_load_n(&store->counters.blocks_decoded, __ATOMIC_RELAXED);
	out->syncs = __atomic_load_n(&store->counters.syncs, __ATOMIC_RELAXED);
	out->relocations = __atomic_load_n(&store->counters.relocations, __ATOMIC_RELAXED);
	out->in_place = __atomic_load_n(&store->counters.in_place, __ATOMIC_RELAXED);
	out->space_total = space.total;
	out->space_available = space.available + out->free_bytes;
	out->read_only = !pfs_store_is_writable(store);
	return 0;
}

uint64_t pfs_own_sequence(const struct pfs_store *store)
{
	return pfs_journal_appended(store->journal);
}

/* ---- pages ---- */

static int stat_page(struct pfs_page *page, struct pfs_page_stat *out)
{
	struct pfs_page_space space;
	uint64_t disk = 0;
	int err = page->file->ops->disk_usage(page->file, &disk);

	pfs_page_space(page, &space);
	*out = (struct pfs_page_stat){
		.number = page->number,
		.slots = space.slots,
		.free_slots = space.free_slots,
		.size = page->size,
		.disk = disk,
		.used = space.used,
		.holes = space.holes,
		.gap = space.gap,
		.free = pfs_page_dead(&space) + space.ahead,
		.live = pfs_page_live(&space),
		.dead = pfs_page_dead(&space),
		.worth = pfs_compact_is_worth(page, &space),
		.closed = page->closed,
		.retiring = page->retiring,
		.unusable = page->unusable,
	};
	return err;
}

struct page_stats {
	struct pfs_page_stat *at; /* in the order of their numbers */
	size_t count;
};

static int by_number(const void *key, const void *page)
{
	uint32_t wanted = *(const uint32_t *)key,
		 number = ((const struct pfs_page_stat *)page)->number;

	return (wanted > number) - (wanted < number);
}

static void add_pinned(void *arg, uint32_t number, uint64_t len)
{
	const struct page_stats *pages = arg;
	struct pfs_page_stat *page =
		bsearch(&number, pages->at, pages->count, sizeof(*pages->at), by_number);

	if (page) {
		page->pinned += len;
		page->live -= len;
	}
}

/* Commit lock. */
static int stat_pages(struct pfs_store *store, struct page_stats *pages)
{
	struct pfs_pager *pager = store->pager;
	size_t count = 0;
	int err = 0;

	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n))
		count++;
	pages->at = calloc(count + 1, sizeof(*pages->at));
	if (!pages->at)
		return -ENOMEM;
	for (struct pfs_page *page = pfs_pager_next_page(pager, 0); page && !err;
	     page = pfs_pager_next_page(pager, page->number))
		err = stat_page(page, &pages->at[pages->count++]);
	pfs_pins_each_freed(&store->snapshots.pins, add_pinned, pages);
	return err;
}

int pfs_own_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	struct page_stats pages = {0};
	int err;

	*out = NULL;
	*count = 0;
	pthread_mutex_lock(&store->commit);
	err = stat_pages(store, &pages);
	pthread_mutex_unlock(&store->commit);
	if (err) {
		free(pages.at);
		return err;
	}
	*out = pages.at;
	*count = pages.count;
	return 0;
}
