/* storage/store_compact.c: which page is emptied, that it ends whatever the sizes are, that nothing
 * is lost, and what the disk holds meanwhile. Bytes are counted, not time. */
#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

#define DOCS_MAX 4096

/* A store on the sim and what must be in it. */
struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	uint64_t random;
	struct {
		size_t len;
		uint64_t seed; /* 0: not there */
	} docs[DOCS_MAX];
	uint64_t seeds;
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
	w->store = open_store(w->sim);
	return w;
}

/* Bytes that do not compress, so that lengths are what they seem. */
static void put(struct world *w, unsigned i, size_t len)
{
	struct pfs_key key = pfs_key_num(i);

	w->seeds += 2;
	w->docs[i].seed = w->seeds + 1; /* odd: it does not compress */
	w->docs[i].len = len;
	put_document(w->store, &key, len, w->docs[i].seed);
}

static void drop(struct world *w, unsigned i)
{
	struct pfs_key key = pfs_key_num(i);

	assert_int_equal(pfs_remove(w->store, &key, NULL), 0);
	w->docs[i].seed = 0;
}

static void checkpoint(struct world *w)
{
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
}

static struct pfs_store_stat stat_of(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat;
}

/* Every document is what it was, and every count that of a recount. */
static void expect_right(struct world *w)
{
	struct found *found = calloc(1, sizeof(*found));
	uint8_t *bytes = malloc(4 * PFS_MIB);

	assert_int_equal(pfs_store_check(w->store, keep_finding, NULL, found, NULL, &found->result),
			 0);
	print_found(found);
	assert_int_equal(found->count, 0);
	for (unsigned i = 0; i < DOCS_MAX; i++) {
		struct pfs_key key = pfs_key_num(i);
		struct pfs_attr attr;
		void *have;
		size_t len;
		int err = pfs_get(w->store, &key, &have, &len, &attr);

		assert_int_equal(err, w->docs[i].seed ? 0 : -ENOENT);
		if (err)
			continue;
		fill_document(bytes, w->docs[i].len, w->docs[i].seed);
		assert_int_equal(len, w->docs[i].len);
		assert_memory_equal(have, bytes, len);
		/* Moving is no change that anybody sees. */
		assert_int_equal(attr.mtime_ns, w->docs[i].seed);
		free(have);
	}
	free(bytes);
	free(found);
}

static void end_world(struct world *w)
{
	expect_right(w);
	assert_int_equal(pfs_store_close(w->store), 0);
	expect_healthy(w->sim);
	w->store = open_store(w->sim);
	expect_right(w);
	assert_int_equal(pfs_store_close(w->store), 0);
	pfs_sim_free(w->sim);
	free(w);
}

/* Runs steps until there is nothing to do; fails when that takes more than max. */
static void compact(struct world *w, bool eager, unsigned max)
{
	unsigned steps = 0;
	int more;

	while ((more = pfs_store_compact_step(w->store, eager)) == 1)
		assert_true(steps++ < max);
	assert_int_equal(more, 0);
}

/* ---- in place ---- */

/* Proves: a value that shrank and grows back to its old size stays where it is, and so does one
 * that grows into the free bytes behind it, to the last of them; one more and it moves. */
static void values_grow_back_in_place(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 1);
	struct pfs_key key = pfs_key_num(1);
	struct pfs_place before, after;

	(void)state;
	put(w, 0, 500); /* lies behind: containers are placed downward */
	put(w, 1, 1000);
	put(w, 2, 500);
	checkpoint(w);
	assert_int_equal(pfs_place(w->store, &key, &before), 0);
	for (unsigned round = 0; round < 3; round++) {
		put(w, 1, 300 - round);
		checkpoint(w);
		put(w, 1, 1000 - 8); /* its sequence may take some bytes more */
		checkpoint(w);
		assert_int_equal(pfs_place(w->store, &key, &after), 0);
		assert_int_equal(after.offset, before.offset);
		assert_int_equal(after.slot, before.slot);
		expect_right(w);
	}
	/* The neighbour's bytes are free, too, when it is gone. */
	drop(w, 0);
	checkpoint(w);
	put(w, 1, 1400);
	checkpoint(w);
	assert_int_equal(pfs_place(w->store, &key, &after), 0);
	assert_int_equal(after.offset, before.offset);
	put(w, 1, 1600);
	checkpoint(w);
	assert_int_equal(pfs_place(w->store, &key, &after), 0);
	assert_true(after.offset != before.offset);
	end_world(w);
}

/* Proves: a value that is replaced by one of the same length stays where it is, also when not a
 * byte is free behind it. (The bound that the original's update_value had no test for.) */
static void the_same_length_needs_no_room(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 1);
	struct pfs_key key = pfs_key_num(1);
	struct pfs_place before, after;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		put(w, i, 1000);
	put(w, 1, 1000); /* its sequence is not the page's any more, and takes a byte */
	checkpoint(w);
	put(w, 3, 1000);
	checkpoint(w);
	assert_int_equal(pfs_place(w->store, &key, &before), 0);
	for (unsigned round = 0; round < 3; round++) {
		put(w, 1, 1000);
		checkpoint(w);
		assert_int_equal(pfs_place(w->store, &key, &after), 0);
		assert_int_equal(after.container_len, before.container_len);
		assert_int_equal(after.offset, before.offset);
		assert_int_equal(after.slot, before.slot);
		expect_right(w);
	}
	end_world(w);
}

/* Proves: bytes taken for growing in place are given back when that change is replaced before it
 * was applied, or fails. */
static void growth_is_given_back(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 2);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		put(w, i, 1000);
	checkpoint(w);
	put(w, 1, 200);
	checkpoint(w);
	for (unsigned round = 0; round < 4; round++) {
		struct pfs_attr attr = {.mode = 0600 + round};
		uint32_t object;
		struct pfs_key key = pfs_key_num(1);

		put(w, 1, 700);
		expect_right(w);
		if (round == 0)
			put(w, 1, 100);
		if (round == 1)
			put(w, 1, 900);
		if (round == 2)
			put(w, 1, 5000);
		if (round == 3) {
			assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
			assert_int_equal(pfs_setattr(w->store, object, PFS_ATTR_MODE, &attr, NULL),
					 0);
		}
		expect_right(w);
		checkpoint(w);
		expect_right(w);
	}
	end_world(w);
}

/* Changes a document while a checkpoint writes it. */
struct meanwhile {
	struct world *w;
	size_t len;
	bool done;
	struct pfs_sim *image;
};

static int put_meanwhile(void *arg, const struct pfs_sim_step *step)
{
	struct meanwhile *m = arg;

	if (m->done || step->kind != PFS_SIM_WRITE || strncmp(step->name, "page-", 5) != 0)
		return 0;
	m->done = true;
	put(m->w, 1, m->len);
	return 0;
}

/* Proves: what a container loses by shrinking, or was promised and did not need, is free afterwards
 * when the document changes again during the checkpoint: in place, elsewhere, or larger. */
static void changes_during_a_checkpoint_lose_no_space(void **state)
{
	static const size_t first[] = {200, 900, 3000}, then[] = {100, 200, 800, 1000, 4000};

	(void)state;
	for (unsigned i = 0; i < pfs_array_len(first) * pfs_array_len(then); i++) {
		struct world *w = new_world(64 * PFS_KIB, 16, 2);
		struct meanwhile m = {w, then[i % pfs_array_len(then)], false, NULL};

		for (unsigned k = 0; k < 3; k++)
			put(w, k, 1000);
		checkpoint(w);
		put(w, 1, first[i / pfs_array_len(then)]);
		pfs_sim_on_step(w->sim, put_meanwhile, &m);
		checkpoint(w);
		pfs_sim_on_step(w->sim, NULL, NULL);
		assert_true(m.done);
		expect_right(w);
		checkpoint(w);
		expect_right(w);
		drop(w, 1);
		checkpoint(w);
		end_world(w);
	}
}

/* ---- choosing ---- */

static uint32_t page_of(struct world *w, unsigned i)
{
	struct pfs_key key = pfs_key_num(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(w->store, &key, &place), 0);
	return place.page;
}

/* Proves: the page with the greatest dead share is emptied first, nothing is put there meanwhile,
 * and its file is gone in the end; without enough waste nothing is moved. */
static void the_worst_page_is_emptied_first(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 3);
	uint32_t worst;

	(void)state;
	for (unsigned i = 0; i < 600; i++)
		put(w, i, 1000);
	checkpoint(w);
	worst = page_of(w, 200);
	for (unsigned i = 0; i < 600; i++) {
		if (page_of(w, i) == worst ? i % 8 != 0 : i % 20 == 0)
			drop(w, i);
	}
	checkpoint(w);
	compact(w, false, 0); /* a twentieth, and most of a page */
	assert_int_equal(stat_of(w).moved_values, 0);
	assert_int_equal(pfs_store_compact_step(w->store, true), 1);
	assert_int_equal(stat_of(w).retired_pages, 1);
	assert_null(pfs_pager_find(w->store->pager, worst));
	for (unsigned i = 0; i < 600; i++) {
		if (w->docs[i].seed)
			assert_true(page_of(w, i) != worst);
	}
	end_world(w);
}

/* The page of the greatest dead share among those that are said to be worth it; 0: there is none.
 */
static uint32_t announced(struct world *w, unsigned *worth)
{
	struct pfs_page_stat *pages, *worst = NULL;
	uint64_t dead = 0;
	uint32_t number;
	size_t count;

	*worth = 0;
	assert_int_equal(pfs_store_pages(w->store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++) {
		dead += pages[i].dead;
		if (!pages[i].worth)
			continue;
		++*worth;
		if (!worst || (double)pages[i].dead / (double)pages[i].disk >
				      (double)worst->dead / (double)worst->disk)
			worst = &pages[i];
	}
	assert_int_equal(dead, stat_of(w).dead_bytes);
	number = worst ? worst->number : 0;
	free(pages);
	return number;
}

/* Proves: what the statistics say of compaction is what it does: it begins when there are more dead
 * bytes than they name, takes the page that they show as the worst, and ends when there are no more
 * than they name then. */
static void compaction_does_what_the_statistics_say(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 31);
	unsigned worth, emptied = 0, at_rest = 0;

	(void)state;
	for (unsigned i = 0; i < 2000; i++)
		put(w, i, 1000);
	checkpoint(w);
	assert_int_equal(announced(w, &worth), 0);
	assert_int_equal(worth, 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t page;

		if (roll(w, 64) < i * 48 / 2000)
			drop(w, i);
		if (i % 50 != 49)
			continue;
		checkpoint(w);
		while (stat_of(w).dead_bytes > stat_of(w).dead_max &&
		       (page = announced(w, &worth))) {
			assert_true(pfs_store_compact_step(w->store, false) >= 0);
			assert_null(pfs_pager_find(w->store->pager, page));
			emptied++;
		}
		assert_int_equal(pfs_store_compact_step(w->store, false), 0);
		assert_true(stat_of(w).dead_bytes <= stat_of(w).dead_max);
		at_rest++;
	}
	assert_true(emptied > 5);
	assert_int_equal(at_rest, 40);
	assert_int_equal(stat_of(w).retired_pages, emptied);
	end_world(w);
}

/* Proves: what is written while a page is being emptied goes elsewhere, also a change of a value
 * that is still in it; the page is gone after two passes at most. */
static void a_closed_page_takes_nothing(void **state)
{
	struct world *w = new_world(4 * PFS_MIB, 16, 4);
	uint32_t victim;
	unsigned steps = 0;

	(void)state;
	for (unsigned i = 0; i < 3500; i++)
		put(w, i, 1000);
	checkpoint(w);
	victim = page_of(w, 0);
	for (unsigned i = 0; i < 3500; i += 2)
		drop(w, i);
	checkpoint(w);
	assert_int_equal(pfs_store_compact_step(w->store, true), 1); /* a part of it */
	assert_non_null(pfs_pager_find(w->store->pager, victim));
	/* The last ones are still there, and may not be written over where they are. */
	for (unsigned i = 3001; i < 3100; i += 2)
		put(w, i, 1000);
	checkpoint(w);
	for (unsigned i = 3001; i < 3100; i += 2)
		assert_true(page_of(w, i) != victim);
	expect_right(w);
	while (pfs_pager_find(w->store->pager, victim)) {
		for (unsigned i = 0; i < 5; i++) {
			put(w, (unsigned)roll(w, 3500), 900 + roll(w, 90));
			expect_right(w);
		}
		assert_true(steps++ < 40);
		(void)pfs_store_compact_step(w->store, true);
	}
	end_world(w);
}

/* ---- ending ---- */

static size_t random_len(struct world *w, uint64_t page_size)
{
	switch (roll(w, 8)) {
	case 0: return roll(w, page_size - 300); /* up to a whole page */
	case 1: return page_size - 200 - roll(w, 60);
	case 2: return page_size * 6 / 10;
	case 3: return roll(w, 20000);
	default: return roll(w, 1500);
	}
}

/* Free bytes between the containers of pages that are not empty. */
static uint64_t holes(struct world *w)
{
	uint64_t sum = 0;

	for (uint32_t n = 1; n <= pfs_pager_last(w->store->pager); n++) {
		struct pfs_page *page = pfs_pager_find(w->store->pager, n);

		if (page && !pfs_page_is_empty(page))
			sum += page->space.free_bytes;
	}
	return sum;
}

/* Proves: compaction by steps ends, with no dead byte left, moving no value more than a few times,
 * and a full one moves each value at most once, for page sizes and values of all proportions:
 * survivors that do not fit the first new page, values of more than half of a page, values as large
 * as a page. */
static void compaction_ends_whatever_the_sizes(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 24; round++) {
		uint64_t page_size = (64 * PFS_KIB) << (round % 3);
		struct world *w = new_world(page_size, round % 2 ? 16 : 512, round);
		unsigned docs = 40 + (unsigned)roll(w, 150);
		struct pfs_compact_result result;
		struct pfs_store_stat stat;

		for (unsigned i = 0; i < docs; i++)
			put(w, i, random_len(w, page_size));
		checkpoint(w);
		for (unsigned i = 0; i < docs; i++) {
			if (roll(w, 3) == 0)
				drop(w, i);
			else if (roll(w, 4) == 0)
				put(w, i, random_len(w, page_size));
		}
		checkpoint(w);
		stat = stat_of(w);
		if (round % 4 < 2) {
			compact(w, true, 2000);
			assert_int_equal(holes(w), 0);
			assert_true(stat_of(w).moved_bytes <= 6 * stat.used_bytes);
		} else {
			assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
			assert_true(result.bytes <= stat.used_bytes);
			assert_true(result.pages_after <= result.pages_before);
			assert_true(stat_of(w).hole_bytes <=
				    (stat.used_bytes + stat.hole_bytes + stat.gap_bytes) / 32);
		}
		end_world(w);
	}
}

/* Proves: a full compaction leaves no page but the last less than nearly full, when values are
 * small, and a second one finds nothing to do. */
static void a_full_compaction_packs(void **state)
{
	struct world *w = new_world(256 * PFS_KIB, 16, 9);
	struct pfs_compact_result result;
	struct pfs_store_stat stat;
	uint64_t live;

	(void)state;
	for (unsigned i = 0; i < 4000; i++)
		put(w, i, 200 + roll(w, 800));
	checkpoint(w);
	for (unsigned i = 0; i < 4000; i++) {
		if (roll(w, 2))
			drop(w, i);
	}
	checkpoint(w);
	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	stat = stat_of(w);
	live = stat.container_bytes + stat.slot_bytes;
	assert_true(stat.pages <= live / (250 * PFS_KIB) + 1);
	assert_true(stat.page_bytes <= live + live / 30 + 256 * PFS_KIB / 8);
	assert_true(result.disk_after < result.disk_before * 6 / 10);
	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	assert_int_equal(result.values, 0);
	end_world(w);
}

/* ---- churn ---- */

/* Proves: random updates and removals at constant live size hold the disk usage of pages within
 * 1.25 times the live bytes and a page, at every moment at which it is looked at, at a price of few
 * bytes moved for each that is written. */
static void churn_stays_within_bounds(void **state)
{
	static const uint64_t page_sizes[] = {64 * PFS_KIB, 256 * PFS_KIB, PFS_MIB};

	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes); p++) {
		struct world *w = new_world(page_sizes[p], 16, p);
		uint64_t written = 0;
		double worst = 0;

		for (unsigned i = 0; i < DOCS_MAX; i++)
			put(w, i, 300 + roll(w, 1200));
		checkpoint(w);
		for (unsigned cycle = 0; cycle < 60; cycle++) {
			struct pfs_store_stat stat;
			uint64_t live;

			for (unsigned n = 0; n < DOCS_MAX / 10; n++) {
				unsigned i = (unsigned)roll(w, DOCS_MAX);
				size_t len = w->docs[i].len * (80 + roll(w, 41)) / 100;

				if (w->docs[i].seed && roll(w, 4) == 0) {
					drop(w, i);
					continue;
				}
				if (!w->docs[i].seed)
					len = 300 + roll(w, 1200);
				put(w, i, pfs_max_u64(len, 100));
				written += len;
			}
			checkpoint(w);
			compact(w, false, 5000);
			stat = stat_of(w);
			live = stat.container_bytes + stat.slot_bytes;
			assert_true(stat.page_bytes <= live + live / 4 + page_sizes[p]);
			if ((double)stat.page_bytes / (double)live > worst)
				worst = (double)stat.page_bytes / (double)live;
		}
		print_message("pages of %llu KiB: %.2f times the live bytes at worst, %.2f bytes "
			      "moved for each that is written\n",
			      (unsigned long long)(page_sizes[p] / PFS_KIB), worst,
			      (double)stat_of(w).moved_bytes / (double)written);
		assert_true(stat_of(w).moved_bytes <= 2 * written);
		end_world(w);
	}
}

/* Proves: overwriting one key any number of times leaves a page or two. */
static void overwriting_one_key_takes_no_room(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 128, 5);

	(void)state;
	for (unsigned i = 1; i <= 300000; i++) {
		put(w, 7, 50 + i % 700);
		if (i % 997 == 0) {
			checkpoint(w);
			assert_true(stat_of(w).pages <= 2);
		}
	}
	checkpoint(w);
	compact(w, true, 10);
	assert_true(stat_of(w).pages <= 1);
	end_world(w);
}

/* Proves: when everything is removed two page files are left at most, and none after a compaction.
 */
static void removing_everything_gives_everything_back(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 6);
	struct pfs_compact_result result;

	(void)state;
	for (unsigned n = 0; n < 6000; n++) {
		unsigned i = (unsigned)roll(w, 500);

		if (w->docs[i].seed && roll(w, 3) == 0)
			drop(w, i);
		else
			put(w, i, roll(w, 3000));
		if (n % 500 == 0)
			checkpoint(w);
	}
	for (unsigned i = 0; i < 500; i++) {
		if (w->docs[i].seed)
			drop(w, i);
	}
	checkpoint(w);
	assert_true(stat_of(w).pages <= 2);
	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	assert_int_equal(stat_of(w).pages, 0);
	end_world(w);
}

/* ---- giving back ---- */

static int keep_before_unlink(void *arg, const struct pfs_sim_step *step)
{
	struct meanwhile *m = arg;

	if (step->kind == PFS_SIM_UNLINK && strncmp(step->name, "page-", 5) == 0 && !m->done) {
		m->done = true;
		m->image = pfs_sim_kill(m->w->sim);
	}
	return 0;
}

/* Nothing is put anywhere while the file is there. */
static int expect_removal_first(void *arg, const struct pfs_sim_step *step)
{
	bool *removed = arg;

	if (step->kind == PFS_SIM_UNLINK && strncmp(step->name, "page-", 5) == 0)
		*removed = true;
	else if (step->kind == PFS_SIM_WRITE && strcmp(step->name, PFS_SUPER_NAME) != 0)
		assert_true(*removed);
	return 0;
}

/* Proves: a page file that a crash left after it was counted out is removed by the next opening,
 * before anything but the superblock is written. */
static void a_page_that_was_counted_out_is_not_used(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 8);
	struct meanwhile m = {.w = w};
	struct pfs_store *store;
	struct found *found;
	bool removed = false;

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		put(w, i, 1000);
	checkpoint(w);
	for (unsigned i = 0; i < 200; i += 2)
		drop(w, i);
	checkpoint(w);
	pfs_sim_on_step(w->sim, keep_before_unlink, &m);
	compact(w, true, 200);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_non_null(m.image);
	found = check_store(m.image);
	assert_true(found->count == 1 && found->fatal == 0); /* the file that is left */
	free(found);
	pfs_sim_on_step(m.image, expect_removal_first, &removed);
	store = open_store(m.image);
	pfs_sim_on_step(m.image, NULL, NULL);
	assert_true(removed);
	for (unsigned i = 1000; i < 1100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1000, 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(m.image);
	pfs_sim_free(m.image);
	end_world(w);
}

/* ---- what can't be moved ---- */

/* Proves: a page with a damaged document is given up after a few passes and not tried again before
 * it has changed; the others are compacted all the same. */
static void a_page_that_can_not_be_emptied_is_left(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16, 7);
	struct pfs_key bad = pfs_key_num(3);
	struct pfs_place place;
	uint64_t moved;

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		put(w, i, 1000);
	checkpoint(w);
	assert_int_equal(pfs_place(w->store, &bad, &place), 0);
	flip_bit(w->sim, page_name(place.page), place.offset + 100, 3);
	for (unsigned i = 0; i < 200; i += 2)
		drop(w, i);
	checkpoint(w);
	compact(w, true, 200);
	moved = stat_of(w).moved_values;
	assert_true(moved >= 90 && moved <= 300);
	assert_non_null(pfs_pager_find(w->store->pager, place.page));
	compact(w, true, 2);
	assert_int_equal(stat_of(w).moved_values, moved);
	assert_int_equal(pfs_remove(w->store, &bad, NULL), 0);
	w->docs[3].seed = 0;
	checkpoint(w);
	compact(w, true, 200);
	/* Empty, and gone or kept for what comes. */
	assert_true(!pfs_pager_find(w->store->pager, place.page) ||
		    pfs_page_is_empty(pfs_pager_find(w->store->pager, place.page)));
	end_world(w);
}

/* Proves: a removed document that is still open keeps its page, and gives it back when it is
 * released. */
static void an_open_document_keeps_its_page(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = quiet, .hold_objects = true};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_store_stat stat;
	uint8_t bytes[1000], expected[1000];
	uint32_t object;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	put_document(store, &key, 1000, 5);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_remove(store, &key, &object), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < 20; i++)
		(void)pfs_store_compact_step(store, true);
	assert_int_equal(pfs_read(store, object, 0, bytes, 1000), 1000);
	fill_document(expected, 1000, 5);
	assert_memory_equal(bytes, expected, 1000);
	pfs_release(store, object);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.used_bytes, 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves K3 for two pages that can't be emptied: they do not hand the same values to each other for
 * ever, and both are given back once they can be. */
static void two_stuck_pages_end_it(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = quiet, .hold_objects = true};
	struct pfs_place places[2];
	struct pfs_key first = pfs_key_num(0), last = pfs_key_num(79);
	struct pfs_reason reason;
	struct pfs_store *store;
	uint32_t held[80];
	int steps = 0, used = 0;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < 80; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &first, &places[0]), 0);
	assert_int_equal(pfs_place(store, &last, &places[1]), 0);
	assert_true(places[0].page != places[1].page);
	for (unsigned i = 0; i < 80; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, &held[i]), 0);
		i += i == 40 ? 6 : 0;
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	while (pfs_store_compact_step(store, true) == 1)
		assert_true(++steps < 100);
	/* In turn, so that the values lie between what is released and what is not. */
	for (unsigned half = 0; half < 2; half++) {
		for (unsigned i = half; i < 80; i += 2) {
			if (i <= 40 || i > 46)
				pfs_release(store, held[i]);
		}
		assert_int_equal(pfs_store_checkpoint(store), 0);
		while (pfs_store_compact_step(store, true) == 1)
			assert_true(++steps < 200);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	while (pfs_store_compact_step(store, true) == 1)
		assert_true(++steps < 200);
	for (uint32_t n = 1; n <= pfs_pager_last(store->pager); n++) {
		const struct pfs_page *page = pfs_pager_find(store->pager, n);

		used += page && !pfs_page_is_empty(page);
	}
	assert_int_equal(used, 1);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_grow_back_in_place),
		cmocka_unit_test(the_same_length_needs_no_room),
		cmocka_unit_test(growth_is_given_back),
		cmocka_unit_test(changes_during_a_checkpoint_lose_no_space),
		cmocka_unit_test(the_worst_page_is_emptied_first),
		cmocka_unit_test(compaction_does_what_the_statistics_say),
		cmocka_unit_test(a_closed_page_takes_nothing),
		cmocka_unit_test(compaction_ends_whatever_the_sizes),
		cmocka_unit_test(a_full_compaction_packs),
		cmocka_unit_test(churn_stays_within_bounds),
		cmocka_unit_test(overwriting_one_key_takes_no_room),
		cmocka_unit_test(removing_everything_gives_everything_back),
		cmocka_unit_test(a_page_that_was_counted_out_is_not_used),
		cmocka_unit_test(a_page_that_can_not_be_emptied_is_left),
		cmocka_unit_test(an_open_document_keeps_its_page),
		cmocka_unit_test(two_stuck_pages_end_it),
	};

	return cmocka_run_group_tests_name("compaction", tests, NULL, NULL);
}
