/* Checking the documents of an open store: every one is read and verified, whatever happens to the
 * store meanwhile. */
#include <stdlib.h>

#include "storage/store_internal.h"

#define CHECK_BATCH 256
#define CHECK_READ PFS_MIB

struct check_run {
	struct pfs_store *store;
	pfs_finding_fn *fn;
	pfs_progress_fn *progress;
	void *arg;
	const bool *stop;
	struct pfs_check_result *result;
	uint64_t total; /* bytes, as it was in the beginning */
	uint8_t *buf;
};

static void tell(const struct check_run *run)
{
	if (run->progress)
		run->progress(run->arg, run->result->bytes,
			      pfs_max_u64(run->total, run->result->bytes));
}

/* Reads the whole document. 0, or the error that it gave; one that goes away meanwhile is no
 * finding. -ECANCELED. */
static int read_whole(struct check_run *run, uint32_t object)
{
	uint64_t off = 0;
	ssize_t n;

	do {
		n = pfs_read(run->store, object, off, run->buf, CHECK_READ);
		if (n > 0) {
			off += (uint64_t)n;
			run->result->bytes += (uint64_t)n;
		}
		if (n == CHECK_READ)
			tell(run);
	} while (n > 0 && !pfs_is_set(run->stop));
	if (pfs_is_set(run->stop))
		return -ECANCELED;
	return n == -ENOENT ? 0 : (int)n;
}

static void report(const struct check_run *run, const struct pfs_key *key, int err)
{
	struct pfs_finding finding = {.fatal = true, .key = *key};

	snprintf(finding.where, sizeof(finding.where), "document");
	snprintf(finding.text, sizeof(finding.text), "can't be read: %s", strerror(-err));
	if (run->fn)
		run->fn(run->arg, &finding);
}

/* ---- free space ---- */

struct counted {
	uint64_t used;
	uint32_t free_slots;
};

/* The home of a removed document that was still open is a tombstone already, and not free. */
static void count_home(const struct pfs_page *page, const struct pfs_version *v, struct counted *c)
{
	struct pfs_slot slot;

	if (v->home.page != page->number || pfs_page_read_slot(page, v->home.slot, &slot) != 0)
		return;
	/* What a checkpoint had reserved for it and not needed goes with it. */
	if (pfs_slot_is_live(&slot)) {
		c->used += pfs_max_u64(v->home.len, slot.len) - slot.len;
		return;
	}
	c->used += v->home.len;
	c->free_slots--;
}

/* What is given out to versions that are not in the slots yet. */
static void count_pending(const struct pfs_list *list, const struct pfs_page *page,
			  struct counted *c)
{
	for (const struct pfs_list *item = list->next; item != list; item = item->next) {
		const struct pfs_version *v = (const struct pfs_version *)item;
		const struct pfs_extent_at *t = &v->target;

		count_home(page, v, c);
		if (t->page != page->number)
			continue;
		if (t->page == v->home.page && t->slot == v->home.slot) {
			c->used += pfs_max_u64(t->len, v->home.len) - v->home.len;
		} else {
			c->used += t->len;
			c->free_slots--;
		}
	}
}

/* Removed documents that are still open keep their bytes, though their slots are gone. */
static void count_orphans(struct pfs_store *store, const struct pfs_page *page, struct counted *c)
{
	for (uint32_t o = PFS_OBJECT_FIRST; o < pfs_index_end(store->index); o++) {
		uint64_t word = pfs_index_word(store->index, o);
		const struct pfs_version *v =
			pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

		if (v && v->held && pfs_word_is_version(v->under))
			v = pfs_word_to_version(v->under);
		if (v && v->applied && !v->target.page)
			count_home(page, v, c);
	}
}

static bool as_counted(const struct pfs_page_space *space, const struct counted *c)
{
	return space->used == c->used && space->free_slots == c->free_slots;
}

/* Whether what the pager knows of the page is what its slots and the changes on their way say. The
 * checkpoint and the commit lock. */
static bool space_is_right(struct pfs_store *store, struct pfs_page *page,
			   struct pfs_page_space *space, struct counted *c)
{
	/* A batch that found no room is in the pages in part. */
	if (page->unusable || page->inexact || !pfs_list_empty(&store->batch) ||
	    pfs_page_recount(page, &c->used, &c->free_slots) != 0)
		return true;
	pfs_page_space(page, space);
	c->used += pfs_snapshot_pinned(store, page->number);
	count_pending(&store->pending, page, c);
	count_pending(&store->staged, page, c);
	if (!as_counted(space, c))
		count_orphans(store, page, c);
	return as_counted(space, c);
}

static void check_space(struct check_run *run, uint32_t number)
{
	struct pfs_finding finding = {.fatal = true};
	struct pfs_store *store = run->store;
	struct pfs_page_space space;
	struct pfs_page *page;
	struct counted c;
	bool right;

	pthread_mutex_lock(&store->checkpoint_lock);
	pthread_mutex_lock(&store->commit);
	page = pfs_pager_find(store->pager, number);
	right = !page || space_is_right(store, page, &space, &c);
	pthread_mutex_unlock(&store->commit);
	pthread_mutex_unlock(&store->checkpoint_lock);
	if (right)
		return;
	snprintf(finding.where, sizeof(finding.where), PFS_PAGE_NAME_FMT, number);
	snprintf(finding.text, sizeof(finding.text),
		 "free space drifted: %llu bytes and %u free slots are known, %llu and %u counted",
		 (unsigned long long)space.used, space.free_slots, (unsigned long long)c.used,
		 c.free_slots);
	run->result->findings++;
	if (run->fn)
		run->fn(run->arg, &finding);
}

static int check_pages(struct check_run *run)
{
	for (uint32_t page = pfs_pager_next(run->store->pager, 0); page;
	     page = pfs_pager_next(run->store->pager, page)) {
		check_space(run, page);
		tell(run);
		if (pfs_is_set(run->stop))
			return -ECANCELED;
	}
	return 0;
}

/* ---- documents ---- */

static int check_documents(struct check_run *run, struct pfs_listed *listed)
{
	struct pfs_check_result *result = run->result;
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_list(run->store, after, listed, CHECK_BATCH)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			int err = read_whole(run, listed[i].object);

			/* That there was no memory says nothing about the document. */
			if (err == -ENOMEM || err == -ECANCELED)
				return err;
			result->documents++;
			after = listed[i].cookie;
			if (!err)
				continue;
			result->damaged++;
			result->findings++;
			report(run, &listed[i].key, err);
		}
		tell(run);
		if (pfs_is_set(run->stop))
			return -ECANCELED;
	}
	return (int)n;
}

int pfs_own_check(struct pfs_store *store, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		  const bool *stop, struct pfs_check_result *result)
{
	struct check_run run = {.store = store,
				.fn = fn,
				.progress = progress,
				.arg = arg,
				.stop = stop,
				.result = result,
				.buf = malloc(CHECK_READ)};
	struct pfs_listed *listed = malloc(CHECK_BATCH * sizeof(*listed));
	struct pfs_store_stat stat;
	int err = listed && run.buf ? pfs_store_stat(store, &stat) : -ENOMEM;

	*result = (struct pfs_check_result){0};
	if (!err) {
		run.total = stat.raw_bytes;
		err = check_pages(&run);
	}
	if (!err)
		err = check_documents(&run, listed);
	if (!err)
		result->pages = stat.pages;
	free(listed);
	free(run.buf);
	return err;
}
