/* storage/pager.c: giving out space. What pages look like after crashes and damage is in
 * pager_open_test.c. */
#include "storage/pager_internal.h"
#include "tests/unit/pager_helpers.h"

static const uint64_t page_sizes[] = {64 * PFS_KIB, 256 * PFS_KIB, PFS_MIB, 32 * PFS_MIB,
				      64 * PFS_MIB};
static const uint32_t minimums[] = {16, 128, 512};

/* ---- recounting ---- */

struct recount {
	uint64_t free_bytes, longest;
	size_t documents;
};

/* PG1 for one page, from what was given out: nothing overlaps, all lies between floor and end. */
static struct recount recount(struct world *w, const struct pfs_page *page, struct given **sorted,
			      size_t count)
{
	uint64_t at = page->floor, end = page->size - PFS_PAGE_TRAILER_LEN;
	struct recount r = {0};

	for (size_t i = 0; i <= count; i++) {
		uint64_t off = i < count ? sorted[i]->at.off : end;

		(void)w;
		assert_true(off >= at);
		r.free_bytes += off - at;
		r.longest = pfs_max_u64(r.longest, off - at);
		if (i == count)
			break;
		at = off + sorted[i]->at.len;
		assert_true(at <= end && sorted[i]->at.slot < page->slot_count);
		r.documents++;
	}
	assert_true(pfs_slot_offset(page->slot_count) <= page->floor);
	return r;
}

/* The longest container for which the page has room together with a slot. */
static uint64_t room_of(const struct pfs_page *page, const struct recount *r)
{
	uint64_t gap = page->floor - pfs_slot_offset(page->slot_count);

	if (page->slot_count == r->documents) {
		if (gap < PFS_SLOT_LEN)
			return 0;
		gap -= PFS_SLOT_LEN;
	}
	return pfs_max_u64(gap, r->longest);
}

static void expect_as_counted(struct world *w)
{
	struct given **sorted = malloc((w->count + 1) * sizeof(*sorted));
	size_t from = 0;

	for (size_t i = 0; i < w->count; i++)
		sorted[i] = &w->given[i];
	qsort(sorted, w->count, sizeof(*sorted), by_place);
	for (uint32_t n = 1; n <= pfs_pager_last(w->pager); n++) {
		struct pfs_page *page = pfs_pager_find(w->pager, n);
		struct recount r;
		size_t to = from;

		while (to < w->count && sorted[to]->at.page == n)
			to++;
		if (!page) {
			assert_int_equal(from, to);
			continue;
		}
		r = recount(w, page, sorted + from, to - from);
		assert_int_equal(page->space.free_bytes, r.free_bytes);
		assert_int_equal(pfs_space_longest(&page->space), r.longest);
		assert_int_equal(page->free_slot_count, page->slot_count - r.documents);
		assert_int_equal(page->fit.room, room_of(page, &r));
		from = to;
	}
	assert_int_equal(from, w->count);
	for (size_t i = 1; i < w->count; i++) /* slots are given once */
		if (sorted[i]->at.page == sorted[i - 1]->at.page)
			assert_true(sorted[i]->at.slot != sorted[i - 1]->at.slot);
	free(sorted);
}

static uint64_t random_len(struct world *w)
{
	switch (roll(w, 10)) {
	case 0: return 0;
	case 1: return roll(w, 20000);
	case 2: return roll(w, 8) == 0 ? roll(w, pfs_min_u64(w->page_size / 2, 60000)) : 16;
	default: return roll(w, 1500);
	}
}

/* Proves: through random giving, taking back and shrinking the free space, the longest hole, the
 * free slots and the room of every page are those of a recount (PG1), over page sizes and smallest
 * containers; and so they are after reopening from what is on disk. */
static void accounting_equals_a_recount(void **state)
{
	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes) * pfs_array_len(minimums); p++) {
		struct world *w = new_world(page_sizes[p / 3], minimums[p % 3]);

		w->random = p;
		for (unsigned step = 1; step <= 1500; step++) {
			if (w->count == 0 || roll(w, 5) < 3)
				assert_int_equal(give(w, random_len(w)), 0);
			else
				take_back(w, roll(w, w->count));
			if (w->count && roll(w, 20) == 0) {
				struct given *g = &w->given[roll(w, w->count)];
				uint64_t less =
					g->written ? 0 : roll(w, g->at.len - w->min_value_size + 1);

				pfs_pager_free_bytes(w->pager, g->at.page,
						     g->at.off + g->at.len - less, less);
				g->at.len -= less;
				g->c.body_len = 0; /* what is left is not looked at */
				g->c.raw_len = 0;
			}
			if (step % 25 == 0)
				expect_as_counted(w);
		}
		write_all(w);
		expect_as_counted(w);
		reopen(w);
		assert_int_equal(w->damaged, 0);
		for (uint32_t n = 1; n <= pfs_pager_last(w->pager); n++)
			if (pfs_pager_find(w->pager, n))
				assert_int_equal(
					pfs_pager_load(w->pager, pfs_pager_find(w->pager, n)), 0);
		expect_as_counted(w);
		free_world(w);
	}
}

/* ---- best fit ---- */

/* The page with the least room that is enough, and of equal ones the first; 0: none. */
static uint32_t naive_best_fit(struct world *w, const struct pfs_pager_need *need)
{
	struct pfs_page *best = NULL;

	for (uint32_t n = 1; n <= pfs_pager_last(w->pager); n++) {
		struct pfs_page *page = pfs_pager_find(w->pager, n);

		if (page && page->fit.room >= pfs_pager_len(w->pager, page, need) &&
		    (!best || page->fit.room < best->fit.room))
			best = page;
	}
	return best ? best->number : 0;
}

/* Proves: every document goes to the best-fitting page, found by looking at all of them; only when
 * none fits a page is made. */
static void documents_go_to_the_best_fitting_page(void **state)
{
	unsigned chosen = 0;

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		struct world *w = new_world(page_sizes[p], 16);

		w->random = 77 + p;
		for (unsigned step = 0; step < 4000; step++) {
			struct given next = {.key = w->next_key + 1};
			struct pfs_pager_need need = need_of(&next);
			uint64_t len = random_len(w);
			uint32_t expected, last = pfs_pager_last(w->pager);

			if (w->count > 100 && roll(w, 9) < 4) {
				take_back(w, roll(w, w->count));
				continue;
			}
			next.c = (struct pfs_container){
				.raw_len = len,
				.body_len = len,
				.seq = next.key,
				.mtime_ns = 5,
			};
			expected = naive_best_fit(w, &need);
			assert_int_equal(give(w, len), 0);
			assert_int_equal(w->given[w->count - 1].at.page,
					 expected ? expected : last + 1);
			chosen += expected && expected != last;
		}
		free_world(w);
	}
	assert_true(chosen > 500);
}

static void save_room(struct world *w, uint32_t number, uint64_t room, uint32_t wrong)
{
	struct pfs_page *page = pfs_pager_find(w->pager, number);
	struct pfs_pager_saved saved;

	pfs_pager_get_saved(page, &saved);
	saved = (struct pfs_pager_saved){room, 7, 1, saved.slots_crc ^ wrong};
	pfs_pager_set_saved(w->pager, page, &saved);
}

/* Gives out a container of exactly len bytes, in whatever page: the number of that. */
static uint32_t give_exactly(struct world *w, uint64_t len)
{
	struct given next = {.key = w->next_key + 1};
	struct pfs_pager_need need = need_of(&next);
	struct pfs_page *page = pfs_pager_find(w->pager, 1);
	uint64_t body = len;

	do {
		body--;
		next.c = (struct pfs_container){
			.raw_len = body, .body_len = body, .seq = next.key, .mtime_ns = 5};
	} while (pfs_pager_len(w->pager, page, &need) > len);
	assert_int_equal(pfs_pager_len(w->pager, page, &need), len);
	assert_int_equal(give(w, body), 0);
	return w->given[w->count - 1].at.page;
}

#define BODY 3000 /* bytes of a container */

/* One page of 64 KiB with containers of BODY bytes, and a gap of so many bytes between the slots
 * and them, without a free slot. */
static struct world *page_with_gap(uint64_t gap)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_page *page;
	uint64_t have;

	assert_int_equal(give(w, BODY - 20), 0); /* makes the page */
	page = pfs_pager_find(w->pager, 1);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(give_exactly(w, BODY), 1);
	have = page->floor - pfs_slot_offset(page->slot_count);
	for (; have > gap + 12000; have -= BODY + PFS_SLOT_LEN)
		assert_int_equal(give_exactly(w, BODY), 1);
	assert_int_equal(give_exactly(w, have - gap - PFS_SLOT_LEN), 1);
	assert_int_equal(page->floor - pfs_slot_offset(page->slot_count), gap);
	assert_int_equal(page->free_slot_count, 0);
	return w;
}

enum edge { EDGE_GAP, EDGE_GAP_WITH_SLOT, EDGE_HOLE, EDGE_HOLE_WITHOUT_SLOT, EDGES };

/* Makes the page, and says what is the longest container that it can take. */
static struct world *make_edge(enum edge edge, uint64_t gap, uint64_t *room)
{
	struct world *w = page_with_gap(gap);

	switch (edge) {
	case EDGE_GAP: *room = gap - PFS_SLOT_LEN; break;
	case EDGE_GAP_WITH_SLOT:
		take_back(w, 5);
		assert_true(gap > BODY);
		*room = gap;
		break;
	case EDGE_HOLE: /* two neighbours; the gap is of no use to it */
		take_back(w, 6);
		take_back(w, 5);
		*room = 2 * BODY;
		break;
	default:
		pfs_pager_free_bytes(w->pager, 1, w->given[5].at.off + 100, BODY - 100);
		w->given[5].at.len = 100;
		w->given[5].c.body_len = w->given[5].c.raw_len = 0;
		*room = gap < PFS_SLOT_LEN ? 0 : BODY - 100;
		break;
	}
	return w;
}

/* Proves: a page takes what is as long as its room, in the gap with the slot that this needs or
 * without, or in a hole, and not a byte more, for which a page is made. With less than a slot's
 * bytes between slots and containers, and no free slot, it takes nothing. */
static void a_page_is_filled_to_the_byte(void **state)
{
	static const struct {
		enum edge edge;
		uint64_t gap;
	} cases[] = {
		{EDGE_GAP, 5000},
		{EDGE_GAP, 5001},
		{EDGE_GAP, 40},
		{EDGE_GAP_WITH_SLOT, 5000},
		{EDGE_HOLE, 300},
		{EDGE_HOLE, 0},
		{EDGE_HOLE, 5},
		{EDGE_HOLE_WITHOUT_SLOT, 300},
		{EDGE_HOLE_WITHOUT_SLOT, 16},
		{EDGE_HOLE_WITHOUT_SLOT, 15},
		{EDGE_HOLE_WITHOUT_SLOT, 0},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases) * 3; i++) {
		unsigned less = i % 3; /* than one byte too much */
		uint64_t room, gap = cases[i / 3].gap;
		struct world *w = make_edge(cases[i / 3].edge, gap, &room);
		struct pfs_page *page = pfs_pager_find(w->pager, 1);
		uint64_t len = room ? room + 1 - less : 16;

		if (less == 0) {
			/* A saved index may promise that byte; what is read then counts. */
			write_all(w);
			reopen(w);
			page = pfs_pager_find(w->pager, 1);
			save_room(w, 1, len, 0);
		}
		assert_int_equal(give_exactly(w, len), less && room ? 1 : 2);
		if (less == 1 && cases[i / 3].edge == EDGE_GAP)
			assert_int_equal(page->floor, pfs_slot_offset(page->slot_count));
		expect_as_counted(w);
		free_world(w);
	}
}

#define LARGE 6000 /* so few of them that sequences take one byte in every page */

/* Proves: of the pages that can take a container the fullest one does, where one byte more or less
 * makes the difference; only when it fits into none a page is made. */
static void the_fullest_page_that_fits_is_taken(void **state)
{
	/* Adjacent pieces that are free in the pages 1 to 3. */
	static const unsigned holes[] = {3, 1, 2};
	static const struct {
		uint64_t len;
		uint32_t page;
	} cases[] = {
		{LARGE - 1, 2}, {LARGE, 2},	    {LARGE + 1, 3}, {2 * LARGE - 1, 3},
		{2 * LARGE, 3}, {2 * LARGE + 1, 1}, {3 * LARGE, 1}, {3 * LARGE + 1, 4},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct world *w = new_world(64 * PFS_KIB, 16);

		assert_int_equal(give(w, LARGE - 20), 0);
		while (pfs_pager_last(w->pager) < 4)
			give_exactly(w, LARGE);
		take_back(w, w->count - 1); /* page 4 is empty, and takes what fits nowhere */
		for (uint32_t page = 1; page <= 3; page++) {
			unsigned left = holes[page - 1];

			/* Not the first of a page, which has another length. */
			for (size_t g = w->count; g-- > 0 && left;) {
				if (w->given[g].at.page != page)
					continue;
				take_back(w, g);
				left--;
			}
		}
		assert_int_equal(give_exactly(w, cases[i].len), cases[i].page);
		expect_as_counted(w);
		free_world(w);
	}
}

/* Proves: space that was given back is used before the files grow: any number of rewrites of as
 * many documents leaves the pages as few as they were. */
static void freed_space_is_used_again(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 512);
	uint32_t pages;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(give(w, 480), 0); /* 512 with its header, however long that is */
	pages = pfs_pager_last(w->pager);
	assert_in_range(pages, 8, 10);
	for (unsigned i = 0; i < 20000; i++) {
		take_back(w, roll(w, w->count));
		assert_int_equal(give(w, 480), 0);
	}
	assert_int_equal(pfs_pager_last(w->pager), pages);
	free_world(w);
}

/* Proves: a document that no page of the store's size can take gets one of the next power of two
 * that can, and it alone; the next small one goes where it fits. */
static void large_documents_get_larger_pages(void **state)
{
	(void)state;
	for (uint64_t len = 50000; len < 3 * PFS_MIB; len += len / 3) {
		struct world *w = new_world(64 * PFS_KIB, 16);
		struct pfs_page *page;
		uint64_t overhead = PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN + PFS_SLOT_LEN;

		assert_int_equal(give(w, len), 0);
		page = pfs_pager_find(w->pager, 1);
		assert_true(pfs_is_pow2(page->size) && page->size >= w->page_size);
		assert_true(page->size >= len + overhead + 7);
		if (page->size > w->page_size)
			assert_true(page->size / 2 < len + overhead + 100);
		assert_int_equal(give(w, 100), 0);
		assert_int_equal(w->given[1].at.page, page->size - len > 400 ? 1 : 2);
		write_all(w);
		reopen(w);
		assert_int_equal(pfs_pager_find(w->pager, 1)->size,
				 page_sizes[0] > len ? page_sizes[0]
						     : pfs_pager_find(w->pager, 1)->size);
		assert_true(reads_right(w, &w->given[1]));
		free_world(w);
	}
}

/* Proves: a page whose slots are not those of the saved index takes nothing, however plausible they
 * are, and what is saved of it then keeps it so. */
static void pages_with_other_slots_take_nothing(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_pager_saved before, after;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(give(w, 400), 0);
	write_all(w);
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		reopen(w);
		save_room(w, 1, 50000, wrong << 7);
		assert_int_equal(give(w, 400), 0);
		assert_int_equal(w->given[--w->count].at.page, 1 + wrong);
		assert_true(pfs_pager_find(w->pager, 1)->unusable == (wrong == 1));
	}
	pfs_pager_get_saved(pfs_pager_find(w->pager, 1), &before);
	reopen(w);
	pfs_pager_set_saved(w->pager, pfs_pager_find(w->pager, 1), &before);
	assert_int_equal(pfs_pager_load(w->pager, pfs_pager_find(w->pager, 1)), 0);
	assert_true(pfs_pager_find(w->pager, 1)->unusable);
	pfs_pager_get_saved(pfs_pager_find(w->pager, 1), &after);
	assert_int_equal(after.slots_crc, before.slots_crc);
	/* Found without an index: the same. */
	reopen(w);
	pfs_pager_make_unusable(w->pager, pfs_pager_find(w->pager, 1));
	pfs_pager_get_saved(pfs_pager_find(w->pager, 1), &before);
	reopen(w);
	pfs_pager_set_saved(w->pager, pfs_pager_find(w->pager, 1), &before);
	assert_int_equal(pfs_pager_load(w->pager, pfs_pager_find(w->pager, 1)), 0);
	assert_true(pfs_pager_find(w->pager, 1)->unusable);
	free_world(w);
}

/* Proves: a room that a saved index says wrongly, too much or too little, does no harm: what counts
 * is what is found when the page is read. */
static void saved_rooms_are_not_trusted(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_pager_stat stat;

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(give(w, 400), 0);
	write_all(w);
	reopen(w);
	for (uint32_t n = 1; n <= pfs_pager_last(w->pager); n++)
		save_room(w, n, n == 1 ? 60000 : 100 * n, 0);
	assert_int_equal(pfs_pager_stat(w->pager, &stat), 0);
	assert_int_equal(stat.free_bytes, (7 + PFS_SLOT_LEN) * stat.pages);
	assert_int_equal(give(w, 30000), 0);
	assert_int_equal(w->given[300].at.page, stat.pages + 1);
	assert_true(pfs_pager_find(w->pager, 1)->loaded);
	assert_false(pfs_pager_find(w->pager, 2)->loaded);
	for (uint32_t n = 1; n <= stat.pages; n++) {
		struct pfs_page *page = pfs_pager_find(w->pager, n);

		assert_int_equal(pfs_pager_load(w->pager, page), 0);
		save_room(w, n, 60000, 0); /* known: nothing happens */
		assert_true(page->fit.room < 60000);
	}
	expect_as_counted(w);
	free_world(w);
}

/* ---- full disks ---- */

/* Proves: when space is given its disk space is there (PG2): on a disk that is full by then
 * everything can be written; what is refused has changed nothing and left no file, and service
 * resumes when something is taken back. */
static void given_space_is_reserved(void **state)
{
	(void)state;
	for (unsigned large = 0; large < 2; large++) {
		struct world *w = new_world(large ? PFS_MIB : 64 * PFS_KIB, 16);
		uint32_t pages;
		int err;

		w->random = large;
		pfs_sim_set_capacity(w->sim, 700 * PFS_KIB);
		while ((err = give(w, roll(w, 3000))) == 0)
			;
		assert_int_equal(err, -ENOSPC);
		assert_true(w->count > 100);
		expect_as_counted(w);
		pages = pfs_pager_last(w->pager);
		assert_int_equal(w->dir->ops->unlink(w->dir, page_name(pages + 1)), -ENOENT);
		pfs_sim_set_capacity(w->sim, 1); /* not a byte more */
		write_all(w);
		for (size_t i = 0; i < w->count; i++)
			assert_true(reads_right(w, &w->given[i]));
		for (unsigned i = 0; i < 20; i++)
			take_back(w, roll(w, w->count));
		assert_int_equal(give(w, 100), 0);
		write_all(w);
		expect_as_counted(w);
		free_world(w);
	}
}

/* Proves: long free extents give their disk space back, and get it again before they are given out;
 * without space they are not, and what there was of it is still there for others. */
static void long_free_extents_are_punched(void **state)
{
	struct world *w = new_world(32 * PFS_MIB, 128);
	uint64_t before, after;
	struct given kept;

	(void)state;
	assert_int_equal(give(w, 3 * PFS_MIB), 0);
	assert_int_equal(give(w, 100), 0);
	before = pfs_sim_used(w->sim);
	kept = w->given[0];
	take_back(w, 0);
	after = pfs_sim_used(w->sim);
	assert_true(before - after >= 3 * PFS_MIB - 8192 && before - after <= 3 * PFS_MIB + 4096);
	pfs_sim_set_capacity(w->sim, after + PFS_MIB);
	assert_int_equal(give(w, 2 * PFS_MIB), -ENOSPC);
	assert_int_equal(pfs_sim_used(w->sim), after);
	expect_as_counted(w);
	pfs_sim_set_capacity(w->sim, 0);
	assert_int_equal(give(w, 3 * PFS_MIB - 10), 0); /* its sequence takes a byte */
	assert_int_equal(w->given[1].at.off, kept.at.off);
	assert_true(pfs_sim_used(w->sim) >= before - 4096);
	free_world(w);
}

static int probe(struct world *w, uint64_t len)
{
	struct given g = {.key = w->next_key + 1};
	struct pfs_pager_need need = need_of(&g);

	g.c = (struct pfs_container){.raw_len = len, .body_len = len, .seq = g.key, .mtime_ns = 5};
	return pfs_pager_probe(w->pager, &need);
}

/* Proves: asking for room takes none and cuts none in pieces, whether there is room in the gap or
 * in a hole, or none; the answer is that of a document of this size. */
static void asking_for_room_leaves_all_as_it_was(void **state)
{
	struct world *w = new_world(PFS_MIB, 128);
	struct pfs_pager_stat before, after;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(probe(w, 30000), 0);
		assert_int_equal(give(w, 700), 0);
		assert_int_equal(pfs_pager_stat(w->pager, &after), 0);
		assert_int_equal(after.pages, 1);
		assert_int_equal(after.hole_bytes, 0);
		if (i) /* they lie next to each other */
			assert_int_equal(w->given[i].at.off + w->given[i].at.len,
					 w->given[i - 1].at.off);
	}
	expect_as_counted(w);
	for (unsigned i = 0; i < 40; i++)
		take_back(w, roll(w, w->count));
	assert_int_equal(give(w, 5000), 0);
	take_back(w, w->count - 1);
	assert_int_equal(pfs_pager_stat(w->pager, &before), 0);
	for (uint64_t len = 100; len < 60000; len += len / 2) {
		assert_int_equal(probe(w, len), 0);
		assert_int_equal(pfs_pager_stat(w->pager, &after), 0);
		assert_int_equal(after.hole_bytes, before.hole_bytes);
		assert_int_equal(after.gap_bytes, before.gap_bytes);
		assert_int_equal(after.used_bytes, before.used_bytes);
	}
	expect_as_counted(w);
	pfs_sim_set_capacity(w->sim, 1);
	while (probe(w, 20000) == 0)
		assert_int_equal(give(w, 20000), 0);
	assert_int_equal(give(w, 20000), -ENOSPC);
	expect_as_counted(w);
	free_world(w);
}

/* Proves: the floor never rises (P1): room that is asked for in a hole next to the gap is not the
 * gap's afterwards, where slots could come to lie over what a container left there. */
static void a_hole_next_to_the_gap_stays_one(void **state)
{
	struct world *w = new_world(256 * PFS_KIB, 128);
	struct pfs_page_space before, after;
	struct pfs_page *page;
	uint64_t floor;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(w, 30000), 0);
	page = pfs_pager_find(w->pager, 1);
	floor = page->floor;
	assert_int_equal(w->given[2].at.off, floor);
	take_back(w, 2);
	pfs_page_space(page, &before);
	for (uint64_t len = 100; len <= 29900; len += 7450) {
		assert_int_equal(probe(w, len), 0);
		assert_int_equal(page->floor, floor);
		pfs_page_space(page, &after);
		assert_memory_equal(&after, &before, sizeof(after));
	}
	/* What was never used is given and taken back as one piece. */
	assert_int_equal(probe(w, 60000), 0);
	assert_int_equal(page->floor, floor);
	expect_as_counted(w);
	free_world(w);
}

/* Proves: a container grows into disk space that was given back only when it has that again; a
 * failed attempt keeps nothing of it. */
static void growing_takes_back_disk_space(void **state)
{
	struct world *w = new_world(32 * PFS_MIB, 128);
	struct pfs_extent_at at;
	uint64_t used;

	(void)state;
	assert_int_equal(give(w, 3 * PFS_MIB), 0);
	assert_int_equal(give(w, 100), 0);
	take_back(w, 0);
	at = w->given[0].at;
	used = pfs_sim_used(w->sim);
	pfs_sim_set_capacity(w->sim, used + PFS_MIB);
	assert_int_equal(pfs_pager_extend(w->pager, &at, 2 * PFS_MIB), -ENOSPC);
	assert_int_equal(pfs_sim_used(w->sim), used);
	expect_as_counted(w);
	pfs_sim_set_capacity(w->sim, 0);
	assert_int_equal(pfs_pager_extend(w->pager, &at, 2 * PFS_MIB), 0);
	assert_true(pfs_sim_used(w->sim) >= used + 2 * PFS_MIB - PIECE);
	w->given[0].at.len += 2 * PFS_MIB;
	expect_as_counted(w);
	free_world(w);
}

/* Proves: what a container grows into is no room any more, also where it was all there was; where
 * something lies it can't grow. */
static void growing_takes_the_room(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_extent_at at;

	(void)state;
	assert_int_equal(give(w, 20000), 0);
	assert_int_equal(give(w, 20000), 0);
	assert_int_equal(give(w, 20000), 0);
	at = w->given[1].at; /* behind it lies the first */
	assert_int_equal(at.off + at.len, w->given[0].at.off);
	assert_true(pfs_pager_extend(w->pager, &at, 8) < 0);
	take_back(w, 0);
	at.len = 0;
	for (size_t i = 0; i < w->count; i++)
		if (w->given[i].at.off == at.off && w->given[i].at.page == at.page) {
			at = w->given[i].at;
			assert_int_equal(pfs_pager_extend(w->pager, &at, 12000), 0);
			w->given[i].at.len += 12000;
		}
	assert_int_not_equal(at.len, 0);
	expect_as_counted(w);
	free_world(w);
}

/* Proves: a page is empty when nothing is allocated in it, neither a slot nor a byte, and then
 * only. */
static void empty_pages_have_neither_slots_nor_bytes(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_extent_at at[2];
	struct pfs_page *page;

	(void)state;
	assert_int_equal(give(w, 500), 0);
	assert_int_equal(give(w, 500), 0);
	page = pfs_pager_find(w->pager, 1);
	at[0] = w->given[0].at;
	at[1] = w->given[1].at;
	assert_false(pfs_page_is_empty(page));
	take_back(w, 0);
	assert_false(pfs_page_is_empty(page));
	w->count = 0;
	pfs_pager_free_slot(w->pager, &at[1]); /* its bytes are still read */
	assert_false(pfs_page_is_empty(page));
	pfs_pager_free_bytes(w->pager, 1, at[1].off, at[1].len);
	assert_true(pfs_page_is_empty(page));
	assert_int_equal(give(w, 500), 0); /* and its bytes are moved elsewhere */
	pfs_pager_free_bytes(w->pager, 1, w->given[0].at.off, w->given[0].at.len);
	assert_false(pfs_page_is_empty(page));
	pfs_pager_free_slot(w->pager, &w->given[0].at);
	assert_true(pfs_page_is_empty(page));
	pfs_pager_make_unusable(w->pager, page);
	assert_false(pfs_page_is_empty(page));
	free_world(w);
}

/* Proves: a page with a slot that makes no sense, or that points to where slots are, is not
 * counted, and takes nothing. */
static void pages_with_damaged_slots_take_nothing(void **state)
{
	(void)state;
	for (unsigned senseless = 0; senseless < 2; senseless++) {
		struct world *w = new_world(64 * PFS_KIB, 16);
		struct pfs_slot slot = {.kind = PFS_KEY_NUM, .tag = 5, .len = 64};
		struct pfs_slot_disk disk;
		struct pfs_page *page;
		uint64_t used;
		uint32_t free_slots;

		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(give(w, 400), 0);
		write_all(w);
		reopen(w);
		page = pfs_pager_find(w->pager, 1);
		slot.off = senseless ? 8 : PFS_PAGE_HEADER_LEN;
		pfs_slot_encode(&disk, &slot);
		assert_int_equal(pfs_page_write(page, &disk, sizeof(disk), pfs_slot_offset(3)), 0);
		assert_int_equal(pfs_page_recount(page, &used, &free_slots),
				 senseless ? -EUCLEAN : 0);
		assert_int_equal(pfs_pager_load(w->pager, page), 0);
		assert_true(page->unusable);
		assert_int_equal(give(w, 400), 0);
		assert_int_equal(w->given[w->count - 1].at.page, 2);
		free_world(w);
	}
}

/* Proves: numbers of pages end: then there is no room, and nothing stays of the attempt. */
static void numbers_of_pages_end(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	uint64_t creates = pfs_sim_count(w->sim, PFS_SIM_CREATE);

	(void)state;
	w->pager->skip_to = PFS_PAGE_NUMBER_MAX;
	assert_int_equal(give(w, 400), -ENOSPC);
	assert_int_equal(pfs_sim_count(w->sim, PFS_SIM_CREATE), creates);
	assert_null(pfs_pager_find(w->pager, PFS_PAGE_NUMBER_MAX + 1));
	w->pager->skip_to = 0;
	assert_int_equal(give(w, 400), 0);
	free_world(w);
}

static int fail_usage(struct pfs_file *file, uint64_t *bytes)
{
	(void)file;
	(void)bytes;
	return -EIO;
}

/* Proves: who goes through the pages while one is being taken out, which is in the list still and
 * not in the table any more, goes on with the others; where a file does not tell what it takes of
 * the disk, nobody is told a sum. */
static void pages_that_leave_are_left_out(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 16);
	struct pfs_page **place, *page;
	struct pfs_pager_stat stat;
	const struct pfs_io_ops *ops;
	struct pfs_io_ops failing;

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(give(w, 400), 0);
	assert_true(pfs_pager_last(w->pager) > 1);
	place = &w->pager->chunks[0]->pages[1];
	page = *place;
	*place = NULL;
	assert_int_equal(pfs_pager_stat(w->pager, &stat), 0);
	assert_int_equal(stat.pages, pfs_pager_last(w->pager) - 1);
	assert_int_equal(pfs_pager_give_birth(w->pager, &w->set, no_lock, NULL), 0);
	*place = page;
	assert_int_equal(w->set.count, pfs_pager_last(w->pager) - 1);
	ops = page->file->ops;
	failing = *ops;
	failing.disk_usage = fail_usage;
	page->file->ops = &failing;
	assert_int_equal(pfs_pager_stat(w->pager, &stat), -EIO);
	page->file->ops = ops;
	free_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accounting_equals_a_recount),
		cmocka_unit_test(documents_go_to_the_best_fitting_page),
		cmocka_unit_test(empty_pages_have_neither_slots_nor_bytes),
		cmocka_unit_test(a_page_is_filled_to_the_byte),
		cmocka_unit_test(the_fullest_page_that_fits_is_taken),
		cmocka_unit_test(freed_space_is_used_again),
		cmocka_unit_test(large_documents_get_larger_pages),
		cmocka_unit_test(saved_rooms_are_not_trusted),
		cmocka_unit_test(pages_with_other_slots_take_nothing),
		cmocka_unit_test(given_space_is_reserved),
		cmocka_unit_test(long_free_extents_are_punched),
		cmocka_unit_test(asking_for_room_leaves_all_as_it_was),
		cmocka_unit_test(a_hole_next_to_the_gap_stays_one),
		cmocka_unit_test(growing_takes_the_room),
		cmocka_unit_test(growing_takes_back_disk_space),
		cmocka_unit_test(pages_with_damaged_slots_take_nothing),
		cmocka_unit_test(numbers_of_pages_end),
		cmocka_unit_test(pages_that_leave_are_left_out),
	};

	return cmocka_run_group_tests_name("pager", tests, NULL, NULL);
}
