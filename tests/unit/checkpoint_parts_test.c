/* storage/store_checkpoint.c: the parts of a checkpoint that only count and compare, for all that
 * they may be asked, and what a checkpoint leaves of the journal. The file is included. */
#include "storage/store_apply.h"
#include "storage/store_internal.h"

static uint64_t live_or_given(const struct pfs_journal *journal);
static int64_t now_or_given(void);

#define pfs_journal_live_bytes live_or_given
#define pfs_now_monotonic now_or_given
#include "storage/store_checkpoint.c"
#undef pfs_journal_live_bytes
#undef pfs_now_monotonic

#include "tests/unit/one_store.h"

static struct {
	uint64_t live; /* 0: what there is */
	int64_t time;
} given;

static uint64_t live_or_given(const struct pfs_journal *journal)
{
	return given.live ? given.live : pfs_journal_live_bytes(journal);
}

static int64_t now_or_given(void)
{
	return given.time ? given.time : pfs_now_monotonic();
}

/* ---- comparing ---- */

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

static int order_of(uint64_t page_a, uint64_t page_b, uint64_t then_a, uint64_t then_b)
{
	return page_a != page_b ? (page_a > page_b ? 1 : -1)
				: (then_a > then_b) - (then_a < then_b);
}

/* Proves: versions are in the order of the pages and places that they go to, or come from. */
static void versions_have_an_order(void **state)
{
	struct pfs_version a = {0}, b = {0};
	const struct pfs_version *x = &a, *y = &b;

	(void)state;
	for (unsigned n = 0; n < 81 * 81; n++) {
		unsigned i = n / 81, k = n % 81;

		a.target = (struct pfs_extent_at){i % 3, i / 3 % 3, i / 9 % 3, 0};
		b.target = (struct pfs_extent_at){k % 3, k / 3 % 3, k / 9 % 3, 0};
		a.home = (struct pfs_extent_at){i / 27 % 3, i % 3, 0, 0};
		b.home = (struct pfs_extent_at){k / 27 % 3, k % 3, 0, 0};
		assert_int_equal(sign(by_target(&x, &y)), order_of(a.target.page, b.target.page,
								   a.target.off, b.target.off));
		assert_int_equal(sign(by_slot(&x, &y)), order_of(a.target.page, b.target.page,
								 a.target.slot, b.target.slot));
		assert_int_equal(sign(by_home(&x, &y)),
				 order_of(a.home.page, b.home.page, a.home.slot, b.home.slot));
	}
}

/* Proves: a version is in place when it goes where it comes from; else its old place is given up,
 * if it has one; one that goes nowhere is pinned, unless it removes something. */
static void places_are_told_apart(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 162; n++) {
		struct pfs_version v = {.home = {n % 3, n / 3 % 3, 100, 50},
					.target = {n / 9 % 3, n / 27 % 3, 200, 60},
					.removed = n / 81};
		bool same = v.target.page == v.home.page && v.target.slot == v.home.slot;

		assert_int_equal(in_place(&v), v.target.page && same);
		assert_int_equal(has_old_home(&v), v.home.page && !same);
		assert_int_equal(is_pinned(&v), !v.removed && !v.target.page);
	}
}

/* ---- what was not needed ---- */

/* Proves: what a version had reserved and not used is free then; what a newer one that stands in
 * its place counts on as its home is not, and is what was used. */
static void what_was_not_needed_is_given_back(void **state)
{
	static const struct {
		uint64_t home_len, target_len, used;
		bool same_place, is_current;
		enum { NONE, ELSEWHERE, OTHER_SLOT, OTHER_PAGE, THERE } newer;
		uint64_t from, to, newer_home_len; /* 0: as it was */
	} cases[] = {
		{0, 100, 80, false, true, NONE, 80, 100, 0},
		{0, 100, 100, false, true, NONE, 100, 100, 0},
		{150, 100, 80, false, true, NONE, 80, 100, 0},
		{150, 100, 80, true, true, NONE, 80, 150, 0},
		{90, 100, 80, true, true, NONE, 80, 100, 0},
		/* There is a newer one. */
		{0, 100, 80, false, false, NONE, 100, 100, 0},
		{0, 100, 80, false, false, ELSEWHERE, 80, 100, 80},
		{0, 100, 80, false, false, OTHER_SLOT, 100, 100, 0},
		{0, 100, 80, false, false, OTHER_PAGE, 100, 100, 0},
		{0, 100, 80, false, false, THERE, 100, 100, 0},
		{150, 100, 80, true, false, NONE, 100, 150, 0},
		{150, 100, 80, true, false, ELSEWHERE, 80, 150, 80},
		{150, 100, 80, true, false, THERE, 100, 150, 0},
	};
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_index_new(&bare->index), 0);
	assert_int_equal(pfs_index_alloc(bare->index, &object), 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_version v = {.object = object,
					.target = {4, 7, 1000, cases[i].target_len},
					.home = {4, 7, 1000, cases[i].home_len},
					.applied_len = cases[i].used};
		struct pfs_version newer = {
			.object = object, .home = {4, 7, 1000, 777}, .target = {5, 1, 3000, 50}};

		if (!cases[i].same_place)
			v.home = (struct pfs_extent_at){cases[i].home_len ? 3 : 0, 7, 1000,
							cases[i].home_len};
		if (cases[i].newer == OTHER_SLOT)
			newer.home.slot = 8;
		if (cases[i].newer == OTHER_PAGE)
			newer.home.page = 5;
		if (cases[i].newer == THERE)
			newer.target = newer.home;
		pfs_index_set_word(bare->index, object,
				   cases[i].newer == NONE ? pfs_word_page(9, 9)
							  : pfs_word_version(&newer));
		settle_tail(bare, &v, cases[i].is_current);
		if (v.spare_off != 1000 + cases[i].from ||
		    v.spare_len != cases[i].to - cases[i].from ||
		    newer.home.len != (cases[i].newer_home_len ? cases[i].newer_home_len : 777))
			fail_msg("case %zu: %llu at %llu, %llu", i, (unsigned long long)v.spare_len,
				 (unsigned long long)v.spare_off,
				 (unsigned long long)newer.home.len);
	}
	pfs_index_set_word(bare->index, object, 0);
	pfs_index_free(bare->index);
	free(bare);
}

/* Proves: the version that stands for an object is the newest that is not only held. */
static void what_is_held_does_not_stand_for_it(void **state)
{
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct pfs_version v = {0}, held = {.held = true};
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_index_new(&bare->index), 0);
	assert_int_equal(pfs_index_alloc(bare->index, &object), 0);
	assert_null(current_version(bare, object));
	pfs_index_set_word(bare->index, object, pfs_word_page(3, 4));
	assert_null(current_version(bare, object));
	pfs_index_set_word(bare->index, object, pfs_word_version(&v));
	assert_ptr_equal(current_version(bare, object), &v);
	pfs_index_set_word(bare->index, object, pfs_word_version(&held));
	assert_null(current_version(bare, object));
	held.under = pfs_word_page(3, 4);
	assert_null(current_version(bare, object));
	assert_true(is_under_held(pfs_word_version(&held), pfs_word_page(3, 4)));
	assert_false(is_under_held(pfs_word_version(&held), pfs_word_page(3, 5)));
	assert_false(is_under_held(pfs_word_version(&v), 0));
	assert_false(is_under_held(pfs_word_page(3, 4), pfs_word_page(3, 4)));
	held.under = pfs_word_version(&v);
	assert_ptr_equal(current_version(bare, object), &v);
	pfs_index_set_word(bare->index, object, 0);
	pfs_index_free(bare->index);
	free(bare);
}

/* ---- the journal ---- */

static int begin(void **state)
{
	(void)state;
	begin_store(PFS_MIB, 16);
	return 0;
}

/* Proves: how much journal there may be is a part of what the containers take, within bounds; but
 * not where who opened the store has said it. */
static void the_bound_of_the_journal_follows(void **state)
{
	static const uint64_t cases[][2] = {
		{0, 64 * PFS_MIB},
		{6 * 64 * PFS_MIB, 64 * PFS_MIB},
		{6 * 64 * PFS_MIB + 6, 64 * PFS_MIB + 1},
		{600 * PFS_MIB, 100 * PFS_MIB},
		{6 * 256 * PFS_MIB - 6, 256 * PFS_MIB - 1},
		{6 * 256 * PFS_MIB + 6, 256 * PFS_MIB},
		{100 * PFS_GIB, 256 * PFS_MIB},
	};
	uint64_t had = store->container_bytes;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t done = store->counters.checkpoints, made = store->room_made;

		store->container_bytes = cases[i][0];
		assert_int_equal(pfs_checkpoint(store, false), 0);
		assert_int_equal(store->journal_max, cases[i][1]);
		assert_int_equal(store->counters.checkpoints, done + 1);
		assert_int_equal(store->room_made, made + 1);
	}
	store->journal_max = 77;
	store->journal_max_set = true;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_int_equal(store->journal_max, 77);
	store->container_bytes = had;
}

/* Proves: spare segments are kept for half of the journal that there may be, without what is live,
 * and PFS_SPARES_MADE at least. */
static void spare_segments_are_kept(void **state)
{
	static const unsigned cases[][2] = {{0, 6},  {14, 6}, {15, 6}, {16, 7},
					    {17, 7}, {18, 8}, {40, 19}};

	(void)state;
	store->journal_max_set = true;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_key key = pfs_key_num(i);

		/* One is live. */
		store->journal_max = cases[i][0] * PFS_SEGMENT_SIZE;
		put_document(store, &key, 100, i);
		assert_int_equal(pfs_journal_prepare(store->journal, 20), 0);
		assert_int_equal(pfs_checkpoint(store, false), 0);
		assert_int_equal(pfs_journal_live_bytes(store->journal), PFS_SEGMENT_SIZE);
		assert_int_equal(pfs_journal_spares(store->journal), cases[i][1]);
	}
}

/* Proves: of the stages that are of the present batch those stay out of a checkpoint that have few
 * parts and were written to within two seconds, unless the journal is too long for that. */
static void hot_stages_stay_out(void **state)
{
	static const struct {
		uint64_t live;
		int64_t age;
		size_t count;
		bool of_before, whole, stays;
	} cases[] = {
		{1000, 0, 1, false, false, true},
		{1000, 2 * PFS_NSEC_PER_SEC - 1, 1, false, false, true},
		{1000, 2 * PFS_NSEC_PER_SEC, 1, false, false, false},
		{1001, 0, 1, false, false, false},
		{1000, 0, 65536, false, false, true},
		{1000, 0, 65537, false, false, false},
		{1000, 0, 1, true, false, false},
		{1000, 0, 1, false, true, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_store *bare = calloc(1, sizeof(*bare));
		struct pfs_stage stage = {.count = cases[i].count,
					  .batch = cases[i].of_before ? 4 : 5,
					  .written_ns = 7000};
		struct pfs_version v = {
			.batch = 5,
			.source = {.kind = cases[i].whole ? PFS_SOURCE_RECORD : PFS_SOURCE_STAGE,
				   .stage = &stage}};

		bare->stage_journal_max = 1000;
		bare->batch_number = 5;
		pfs_list_init(&bare->batch);
		pfs_list_init(&bare->staged);
		pfs_list_append(&bare->batch, &v.list);
		given.live = cases[i].live;
		given.time = 7000 + cases[i].age;
		leave_out_hot(bare);
		given.live = 0;
		given.time = 0;
		assert_int_equal(pfs_list_empty(&bare->batch), cases[i].stays);
		assert_int_equal(pfs_list_empty(&bare->staged), !cases[i].stays);
		assert_int_equal(v.batch, cases[i].stays ? 6 : 5);
		if (cases[i].stays)
			assert_int_equal(stage.batch, 6);
		free(bare);
	}
}

/* Proves: what is written over its old container is counted, and so is what goes elsewhere. */
static void ways_are_counted(void **state)
{
	struct pfs_store_stat stat;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 300, 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.in_place + stat.relocations, 0);
	assert_int_equal(stat.checkpoints, 1);
	/* The first one says less of itself than another would in its place. */
	for (unsigned i = 1; i < 5; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, i < 3 ? 300 : 5000, 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.in_place, 2);
	assert_int_equal(stat.relocations, 2);
	assert_int_equal(stat.checkpoints, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_have_an_order),
		cmocka_unit_test(places_are_told_apart),
		cmocka_unit_test(what_was_not_needed_is_given_back),
		cmocka_unit_test(what_is_held_does_not_stand_for_it),
		cmocka_unit_test_setup_teardown(the_bound_of_the_journal_follows, begin, end_store),
		cmocka_unit_test_setup_teardown(spare_segments_are_kept, begin, end_store),
		cmocka_unit_test(hot_stages_stay_out),
		cmocka_unit_test_setup_teardown(ways_are_counted, begin, end_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
