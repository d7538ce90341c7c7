/* Steady change: what a store knows of its free space is what its bytes say after every operation,
 * what is free is used again, and neither the store's own threads nor writers let the disk usage
 * grow. Bytes are counted, not time. */
#include <pthread.h>
#include <sched.h>

#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

#define DOCS_MAX 20000u
#define BYTES_MAX 4096u

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	uint64_t random, seeds;
	size_t len[DOCS_MAX]; /* 0: not there */
	uint64_t seed[DOCS_MAX];
	uint64_t written;
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static struct world *new_world(uint64_t page_size, uint32_t min_value_size, uint64_t random)
{
	struct world *w = calloc(1, sizeof(*w));

	w->sim = pfs_sim_new();
	w->random = random;
	create_store(w->sim, page_size, min_value_size);
	return w;
}

static void end_world(struct world *w)
{
	assert_int_equal(pfs_store_close(w->store), 0);
	expect_healthy(w->sim);
	pfs_sim_free(w->sim);
	free(w);
}

static void put(struct world *w, unsigned i, size_t len)
{
	struct pfs_key key = pfs_key_num(i);

	w->seeds += 2;
	w->seed[i] = w->seeds + 1; /* odd: it does not compress */
	w->len[i] = len;
	w->written += len;
	put_document(w->store, &key, len, w->seed[i]);
}

static void drop(struct world *w, unsigned i)
{
	struct pfs_key key = pfs_key_num(i);

	assert_int_equal(pfs_remove(w->store, &key, NULL), 0);
	w->len[i] = 0;
}

static void checkpoint(struct world *w)
{
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
}

static struct pfs_store_stat stat_of(struct pfs_store *store)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	return stat;
}

/* ---- a recount from the bytes ---- */

struct extent {
	uint64_t off, len;
};

static int by_offset(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* Of a page to which nothing is on its way: the free runs between the containers that its slots
 * name are the extents that the pager knows, each as one, and so are free slots and gap. */
static void recount_page(const struct pfs_page *page)
{
	struct extent *used = calloc(page->slot_count + 1, sizeof(*used));
	uint64_t at = page->floor, end = page->size - PFS_PAGE_TRAILER_LEN, free_bytes = 0;
	uint64_t longest = 0, runs = 0;
	struct pfs_page_space space;
	size_t n = 0;

	for (uint32_t i = 0; i < page->slot_count; i++) {
		struct pfs_slot slot;

		assert_int_equal(pfs_page_read_slot(page, i, &slot), 0);
		if (pfs_slot_is_live(&slot))
			used[n++] = (struct extent){slot.off, slot.len};
	}
	qsort(used, n, sizeof(*used), by_offset);
	used[n] = (struct extent){end, 0};
	for (size_t i = 0; i <= n; i++) {
		assert_true(used[i].off >= at);
		runs += used[i].off > at;
		free_bytes += used[i].off - at;
		longest = pfs_max_u64(longest, used[i].off - at);
		at = used[i].off + used[i].len;
	}
	assert_int_equal(at, end);
	pfs_page_space(page, &space);
	assert_int_equal(space.holes, free_bytes);
	assert_int_equal(space.used, end - page->floor - free_bytes);
	assert_int_equal(space.gap, page->floor - pfs_slot_offset(page->slot_count));
	assert_int_equal(space.free_slots, page->slot_count - n);
	/* From a saved index only the sums are known. */
	if (page->loaded) {
		assert_int_equal(pfs_space_extents(&page->space), runs);
		assert_int_equal(pfs_space_longest(&page->space), longest);
	}
	free(used);
}

static void recount(struct world *w)
{
	for (uint32_t n = 1; n <= pfs_pager_last(w->store->pager); n++) {
		struct pfs_page *page = pfs_pager_find(w->store->pager, n);

		if (page)
			recount_page(page);
	}
}

/* The check of a live store counts with what is on its way. */
static void expect_known(struct world *w)
{
	struct found *found = calloc(1, sizeof(*found));

	assert_int_equal(pfs_store_check(w->store, keep_finding, NULL, found, NULL, &found->result),
			 0);
	print_found(found);
	assert_int_equal(found->count, 0);
	free(found);
}

static void operate(struct world *w, unsigned docs)
{
	unsigned i = (unsigned)roll(w, docs);
	size_t limit = roll(w, 20) ? 1500 : 70000;

	switch (roll(w, 12)) {
	case 0:
	case 1:
	case 2:
		if (w->len[i])
			drop(w, i);
		break;
	case 3:
		if (w->len[i])
			put(w, i, 1 + w->len[i] / 2); /* shrinks where it stands */
		break;
	case 4: assert_true(pfs_store_compact_step(w->store, true) >= 0); break;
	default: put(w, i, 1 + roll(w, limit));
	}
}

/* Proves: after every operation of a random sequence, before and after its checkpoint, the bytes in
 * use, the holes (each as long as it can be), the gap and the free slots of every page are those of
 * a recount; also of a store that was opened with what it saved, or without. */
static void free_space_is_known_after_every_operation(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		struct world *w = new_world(128 * PFS_KIB, round % 2 ? 16 : 300, round);

		w->store = open_store(w->sim);
		for (unsigned n = 0; n < 900 / test_sample(); n++) {
			operate(w, 120);
			expect_known(w);
			if (roll(w, 3))
				continue;
			checkpoint(w);
			expect_known(w);
			recount(w);
			if (roll(w, 40))
				continue;
			assert_int_equal(pfs_store_close(w->store), 0);
			expect_healthy(w->sim);
			w->store = open_store(w->sim);
			expect_known(w);
		}
		end_world(w);
	}
}

/* ---- used again ---- */

/* Proves: a value that shrank and grows back to its old size within the free bytes next to it stays
 * where it is: no relocation is counted, however often; and the slots and containers of what was
 * removed serve what comes, so that a page has neither more slots nor a lower floor. */
static void what_is_free_is_used_again(void **state)
{
	struct world *w = new_world(256 * PFS_KIB, 16, 1);
	struct pfs_store_stat before;
	struct pfs_page *page;
	uint32_t slots;
	uint64_t floor;

	(void)state;
	w->store = open_store(w->sim);
	for (unsigned i = 0; i < 200; i++)
		put(w, i, 1000);
	checkpoint(w);
	page = pfs_pager_find(w->store->pager, 1);
	slots = page->slot_count;
	floor = page->floor;
	before = stat_of(w->store);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 200; i++)
			put(w, i, 300 + roll(w, 300));
		checkpoint(w);
		for (unsigned i = 0; i < 200; i++)
			put(w, i, 1000 - 8); /* the number of its change may take more bytes */
		checkpoint(w);
	}
	assert_int_equal(stat_of(w->store).relocations, before.relocations);
	assert_int_equal(stat_of(w->store).in_place, before.in_place + 4000);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 100; i++)
			drop(w, 2 * i + round % 2);
		checkpoint(w);
		for (unsigned i = 0; i < 100; i++)
			put(w, 2 * i + round % 2, 1000 - 16);
		checkpoint(w);
		recount(w);
	}
	assert_int_equal(stat_of(w->store).pages, 1);
	assert_int_equal(page->slot_count, slots);
	assert_int_equal(page->floor, floor);
	end_world(w);
}

/* ---- survivors ---- */

/* Proves: a full compaction of pages of which a random part is left ends and loses nothing also
 * where the survivors of a page do not fit the first new one, with pages of 64 KiB to 64 MiB; it
 * moves no value twice, and no page but one has room for another's largest value. */
static void survivors_are_spread_over_pages(void **state)
{
	static const uint64_t page_sizes[] = {64 * PFS_KIB, PFS_MIB, 16 * PFS_MIB, 64 * PFS_MIB};

	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes); p++) {
		struct world *w = new_world(page_sizes[p], 16, p);
		uint64_t part = page_sizes[p] / 16;
		struct pfs_compact_result result;
		struct pfs_store_stat stat;
		unsigned docs = 60;

		w->store = open_store(w->sim);
		for (unsigned i = 0; i < docs; i++) {
			/* Thirds and halves of a page between small ones. */
			size_t len = part / 2 + roll(w, part);

			put(w, i, i % 5 ? len : part * 5 + roll(w, part * 3));
		}
		checkpoint(w);
		for (unsigned i = 0; i < docs; i++) {
			if (roll(w, 5) < 2)
				drop(w, i);
		}
		checkpoint(w);
		stat = stat_of(w->store);
		assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
		assert_true(result.bytes <= stat.used_bytes);
		assert_true(result.pages_after < result.pages_before);
		expect_known(w);
		recount(w);
		end_world(w);
	}
}

/* ---- steady change ---- */

static void churn(struct world *w, unsigned docs, unsigned operations)
{
	for (unsigned n = 0; n < operations; n++) {
		unsigned i = (unsigned)roll(w, docs);
		size_t nominal = 200 + pfs_mix64(i) % 1000;

		/* Half updates, a quarter removals, a quarter new ones: two thirds are there. */
		if (w->len[i] && roll(w, 3) == 0)
			drop(w, i);
		else
			put(w, i, nominal * (50 + roll(w, 101)) / 100);
	}
}

/* Bytes of pages of a store that never held anything else. */
static uint64_t fresh_bytes(struct world *w, uint64_t page_size)
{
	struct world *fresh = new_world(page_size, 16, 0);
	struct pfs_store_stat stat;

	fresh->store = open_store(fresh->sim);
	for (unsigned i = 0; i < DOCS_MAX; i++) {
		if (w->len[i])
			put(fresh, i, w->len[i]);
	}
	checkpoint(fresh);
	stat = stat_of(fresh->store);
	end_world(fresh);
	return stat.page_bytes;
}

/* Proves: under updates of half to one and a half times the size, removals and new documents, with
 * checkpoints in between, the pages take at most 1.25 times the live bytes and the page that is
 * being emptied; few bytes are moved for each that is written; a full compaction leaves what a
 * fresh store takes, within 3 %. */
static void steady_change_takes_a_quarter_more(void **state)
{
	const uint64_t page_size = 512 * PFS_KIB;
	struct world *w = new_world(page_size, 16, 3);
	struct pfs_compact_result result;
	double worst = 0;

	(void)state;
	w->store = open_store(w->sim);
	churn(w, DOCS_MAX / 2, DOCS_MAX);
	for (unsigned cycle = 0; cycle < 40; cycle++) {
		struct pfs_store_stat stat;
		uint64_t live;

		churn(w, DOCS_MAX / 2, 1500);
		checkpoint(w);
		while (pfs_store_compact_step(w->store, false) == 1)
			;
		stat = stat_of(w->store);
		live = stat.container_bytes + stat.slot_bytes;
		assert_true(stat.page_bytes <= live + live / 4 + page_size);
		if ((double)stat.page_bytes / (double)live > worst)
			worst = (double)stat.page_bytes / (double)live;
	}
	assert_true(stat_of(w->store).moved_bytes <= w->written / 2);
	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	print_message("%.3f times the live bytes at worst, %.3f bytes moved for each written\n",
		      worst, (double)stat_of(w->store).moved_bytes / (double)w->written);
	assert_true(result.disk_after <= fresh_bytes(w, page_size) * 103 / 100 + page_size / 8);
	end_world(w);
}

/* ---- with the store's own threads ---- */

struct watch {
	pthread_t tester;
	unsigned by_tester; /* writes to pages by who calls the store's functions */
};

static int watch_pages(void *arg, const struct pfs_sim_step *step)
{
	struct watch *watch = arg;

	if (step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0 &&
	    pthread_equal(pthread_self(), watch->tester))
		watch->by_tester++;
	return 0;
}

/* Proves: a writer that never pauses, so that one checkpoint is wanted after the other, does not
 * keep the store from emptying pages, and the journal stays within its bound. The writer itself
 * never does the work of a checkpoint. */
static void a_writer_that_never_pauses_does_not_outrun_compaction(void **state)
{
	const uint64_t page_size = 256 * PFS_KIB, journal = 4 * PFS_MIB;
	struct world *w = new_world(page_size, 16, 5);
	struct pfs_open_options options = {
		.io = pfs_sim_io(w->sim), .logger = quiet, .journal_max = journal};
	struct watch watch = {.tester = pthread_self()};
	struct pfs_reason reason;
	struct pfs_store_stat stat;
	uint64_t live;

	(void)state;
	assert_int_equal(pfs_store_open(&w->store, STORE, &options, &reason), 0);
	pfs_sim_on_step(w->sim, watch_pages, &watch);
	churn(w, DOCS_MAX / 2, DOCS_MAX);
	for (unsigned n = 0; n < 100; n++) {
		/* Half of them gone, at random, then as many new ones. */
		churn(w, DOCS_MAX / 2, 1500);
		if (n % 10 == 9) {
			for (unsigned i = 0; i < DOCS_MAX / 2; i++) {
				if (w->len[i] && roll(w, 2))
					drop(w, i);
			}
		}
		stat = stat_of(w->store);
		live = stat.container_bytes + stat.slot_bytes;
		assert_true(stat.journal_bytes <= 2 * journal + 2 * PFS_SEGMENT_SIZE);
	}
	assert_int_equal(watch.by_tester, 0);
	assert_true(stat.moved_values > 0 && stat.retired_pages > 0);
	print_message("pages %.1f MiB, live %.1f; %llu values moved\n",
		      (double)stat.page_bytes / PFS_MIB, (double)live / PFS_MIB,
		      (unsigned long long)stat.moved_values);
	assert_int_equal(pfs_store_close(w->store), 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	w->store = open_store(w->sim);
	end_world(w);
}

struct demand {
	struct pfs_store *store;
	bool over; /* atomic */
	/* By the writer thread. */
	uint64_t emptied, done_first, done_last;
};

static void *want_checkpoints(void *arg)
{
	struct demand *d = arg;

	while (!__atomic_load_n(&d->over, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&d->store->wake_lock);
		__atomic_store_n(&d->store->checkpoint_wanted, true, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&d->store->wake);
		pthread_mutex_unlock(&d->store->wake_lock);
	}
	return NULL;
}

static int count_emptied(void *arg, const struct pfs_sim_step *step)
{
	struct demand *d = arg;
	struct pfs_store *store = __atomic_load_n(&d->store, __ATOMIC_ACQUIRE);

	if (step->kind != PFS_SIM_UNLINK || strncmp(step->name, "page-", 5) != 0)
		return 0;
	/* The first may go while the store is still being opened. */
	if (store) {
		pthread_mutex_lock(&store->wake_lock);
		d->done_last = store->checkpoints_done;
		pthread_mutex_unlock(&store->wake_lock);
	}
	if (__atomic_fetch_add(&d->emptied, 1, __ATOMIC_RELAXED) == 0)
		d->done_first = d->done_last;
	return 0;
}

/* Proves: where one checkpoint is wanted after the other, several pages are emptied between two of
 * them. */
static void compaction_has_its_turn(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 7);
	struct pfs_open_options options = {.io = pfs_sim_io(w->sim), .logger = quiet};
	struct demand demand = {0};
	struct pfs_reason reason;
	pthread_t thread;

	(void)state;
	w->store = open_store(w->sim);
	for (unsigned i = 0; i < 6000; i++)
		put(w, i, 1000);
	for (unsigned i = 0; i < 6000; i++) {
		if (roll(w, 2))
			drop(w, i);
	}
	assert_int_equal(pfs_store_close(w->store), 0);
	pfs_sim_on_step(w->sim, count_emptied, &demand);
	assert_int_equal(pfs_store_open(&w->store, STORE, &options, &reason), 0);
	__atomic_store_n(&demand.store, w->store, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&thread, NULL, want_checkpoints, &demand), 0);
	while (__atomic_load_n(&demand.emptied, __ATOMIC_RELAXED) < 48)
		sched_yield();
	__atomic_store_n(&demand.over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(pfs_store_close(w->store), 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	print_message("%llu pages emptied, %llu checkpoints between\n",
		      (unsigned long long)demand.emptied,
		      (unsigned long long)(demand.done_last - demand.done_first));
	assert_true(demand.emptied >= 4 * (demand.done_last - demand.done_first));
	w->store = open_store(w->sim);
	end_world(w);
}

/* Proves: what a large document that is being written keeps in the journal slows nobody and wants
 * no checkpoint, which could not free it: there are as many as what is new calls for, and not one
 * for each write. */
static void a_large_document_does_not_want_checkpoints(void **state)
{
	const unsigned pieces = 300;
	struct world *w = new_world(64 * PFS_KIB, 16, 8);
	struct pfs_open_options options = {
		.io = pfs_sim_io(w->sim), .logger = quiet, .journal_max = 64 * PFS_MIB};
	uint8_t *piece = calloc(1, PFS_MIB);
	struct pfs_reason reason;
	struct pfs_put *large;
	uint64_t before;

	(void)state;
	assert_int_equal(pfs_store_open(&w->store, STORE, &options, &reason), 0);
	before = stat_of(w->store).checkpoints;
	assert_int_equal(pfs_put_begin(w->store, &large), 0);
	for (unsigned i = 0; i < pieces; i++)
		assert_int_equal(pfs_put_write(large, piece, PFS_MIB), 0);
	print_message("%llu checkpoints while %u MiB were written\n",
		      (unsigned long long)(stat_of(w->store).checkpoints - before), pieces);
	assert_true(stat_of(w->store).checkpoints - before < pieces / 4);
	pfs_put_abort(large);
	free(piece);
	assert_int_equal(pfs_store_close(w->store), 0);
	w->store = open_store(w->sim);
	end_world(w);
}

/* Proves: who begins a segment that was made ready has its header to sync, and nothing else: no
 * file is made, no length changed, no name synced. */
static void segments_are_made_ready(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 6);
	uint64_t syncs, dir_syncs, creates, allocations;
	unsigned had;

	(void)state;
	w->store = open_store(w->sim);
	/* Those that were there from the beginning are used up first. */
	for (unsigned n = 0; n < 6; n++) {
		put(w, 1, 1000);
		assert_int_equal(pfs_journal_rotate(w->store->journal), 0);
	}
	had = pfs_journal_spares(w->store->journal);
	assert_int_equal(pfs_journal_make_spare(w->store->journal, pfs_commit_lock_cb, w->store),
			 0);
	assert_int_equal(pfs_journal_spares(w->store->journal), had + 1);
	syncs = pfs_sim_count(w->sim, PFS_SIM_SYNC);
	dir_syncs = pfs_sim_count(w->sim, PFS_SIM_SYNC_DIR);
	creates = pfs_sim_count(w->sim, PFS_SIM_CREATE);
	allocations = pfs_sim_count(w->sim, PFS_SIM_ALLOCATE);
	put(w, 1, 1000);
	assert_int_equal(pfs_journal_rotate(w->store->journal), 0);
	assert_int_equal(pfs_sim_count(w->sim, PFS_SIM_SYNC), syncs + 1);
	assert_int_equal(pfs_sim_count(w->sim, PFS_SIM_SYNC_DIR), dir_syncs);
	assert_int_equal(pfs_sim_count(w->sim, PFS_SIM_CREATE), creates);
	assert_int_equal(pfs_sim_count(w->sim, PFS_SIM_ALLOCATE), allocations);
	/* And given back without the lock, down to as many as asked for. */
	for (unsigned n = 0; n < 5; n++)
		assert_int_equal(
			pfs_journal_make_spare(w->store->journal, pfs_commit_lock_cb, w->store), 0);
	assert_int_equal(
		pfs_journal_trim_unlocked(w->store->journal, 2, pfs_commit_lock_cb, w->store), 0);
	assert_int_equal(pfs_journal_spares(w->store->journal), 2);
	end_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_space_is_known_after_every_operation),
		cmocka_unit_test(what_is_free_is_used_again),
		cmocka_unit_test(survivors_are_spread_over_pages),
		cmocka_unit_test(steady_change_takes_a_quarter_more),
		cmocka_unit_test(a_writer_that_never_pauses_does_not_outrun_compaction),
		cmocka_unit_test(compaction_has_its_turn),
		cmocka_unit_test(a_large_document_does_not_want_checkpoints),
		cmocka_unit_test(segments_are_made_ready),
	};

	return cmocka_run_group_tests_name("churn", tests, NULL, NULL);
}
