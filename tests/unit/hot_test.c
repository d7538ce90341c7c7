/* Documents under heavy writing: which of them a checkpoint leaves in the journal, and when a
 * writer of one makes a checkpoint itself. The clock is the test's own; no thread runs. */
#include <time.h>

#include "storage/store_internal.h"
#include "tests/unit/one_store.h"

#define LARGE (PFS_BLOCK_LEN + 5000u)

static int64_t now_ns = PFS_NSEC_PER_SEC;
int clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	t->tv_sec = now_ns / PFS_NSEC_PER_SEC;
	t->tv_nsec = now_ns % PFS_NSEC_PER_SEC;
	return 0;
}

/* Document 1 is large, document 2 has a block; both are in pages. */
static int begin(void **state)
{
	(void)state;
	begin_store(PFS_MIB, 16);
	for (unsigned i = 1; i < 3; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, i == 1 ? LARGE : PFS_BLOCK_LEN, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	return 0;
}

static int end(void **state)
{
	store->manual = true;
	return end_store(state);
}

static uint32_t object_of(unsigned i)
{
	struct pfs_key key = pfs_key_num(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

static bool is_in_journal(unsigned i)
{
	struct pfs_key key = pfs_key_num(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return place.in_journal;
}

static void patch(unsigned i, uint64_t off)
{
	assert_int_equal(pfs_write(store, object_of(i), off, "patched", 7, now_ns), 0);
}

/* Proves: a checkpoint that nobody forces leaves a large document that is being written, until
 * nobody has written it for PFS_STAGE_QUIET_NS, or there is too much journal. */
static void what_is_written_is_left(void **state)
{
	(void)state;
	patch(1, 10);
	now_ns += PFS_STAGE_QUIET_NS - 1;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_true(is_in_journal(1));
	/* The segments that it is in are no reason for another checkpoint. */
	assert_int_equal(store->journal_kept, PFS_SEGMENT_SIZE);
	patch(1, 20);
	now_ns += PFS_STAGE_QUIET_NS - 1;
	/* It begins another segment. */
	store->stage_journal_max = pfs_journal_live_bytes(store->journal) + PFS_SEGMENT_SIZE;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_true(is_in_journal(1));
	assert_int_equal(store->journal_kept, 2 * PFS_SEGMENT_SIZE);
	now_ns += 1;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_false(is_in_journal(1));
	assert_int_equal(store->journal_kept, 0);
	patch(1, 30);
	store->stage_journal_max = pfs_journal_live_bytes(store->journal) + PFS_SEGMENT_SIZE - 1;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_false(is_in_journal(1));
}

/* Proves: what is not written in parts is moved at once; by force everything is. */
static void what_is_whole_is_moved(void **state)
{
	struct pfs_key key = pfs_key_num(3);

	(void)state;
	put_document(store, &key, LARGE, 3);
	patch(2, 10);
	patch(1, 10);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_false(is_in_journal(3));
	assert_false(is_in_journal(2));
	assert_true(is_in_journal(1));
	assert_int_equal(pfs_checkpoint(store, true), 0);
	assert_false(is_in_journal(1));
}

/* Proves: of what is written in parts the bytes are counted that the journal has of it. */
static void what_is_written_in_parts_is_counted(void **state)
{
	(void)state;
	assert_int_equal(store->staged_bytes, 0);
	patch(1, 10);
	patch(1, 40);
	assert_int_equal(store->staged_bytes, 14);
	assert_int_equal(pfs_zero(store, object_of(1), 20, 3000, now_ns), 0);
	assert_int_equal(store->staged_bytes, 14);
	patch(2, 10); /* is put anew */
	assert_int_equal(store->staged_bytes, 14);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_int_equal(store->staged_bytes, 14);
	assert_int_equal(pfs_checkpoint(store, true), 0);
	assert_int_equal(store->staged_bytes, 0);
}

/* Proves: what a document that is being written has in the journal only, the journal keeps, however
 * much of it is used again. */
static void what_it_stands_on_is_kept(void **state)
{
	uint8_t *want = malloc(LARGE), *have = malloc(LARGE);
	struct pfs_key key = pfs_key_num(3);

	(void)state;
	put_document(store, &key, LARGE, 3);
	fill_document(want, LARGE, 3);
	for (unsigned n = 0; n < 14; n++) {
		struct pfs_key other = pfs_key_num(100 + n);

		put_document(store, &other, PFS_MIB - 100, 2 * n + 1);
		if (n < 2)
			continue; /* the first patch is in another segment */
		patch(3, 100 * n);
		memcpy(want + 100 * n, "patched", 7);
		assert_int_equal(pfs_checkpoint(store, false), 0);
		assert_true(is_in_journal(3));
		assert_int_equal(pfs_read(store, object_of(3), 0, have, LARGE), LARGE);
		assert_memory_equal(have, want, LARGE);
	}
	assert_int_equal(pfs_checkpoint(store, true), 0);
	assert_false(is_in_journal(3));
	assert_int_equal(pfs_read(store, object_of(3), 0, have, LARGE), LARGE);
	assert_memory_equal(have, want, LARGE);
	free(want);
	free(have);
}

/* How many checkpoints there were for one change, with a journal of which more is live than heavy
 * writing may take (or exactly so much). */
static uint64_t checkpoints_for(bool too_much, bool zeros, uint64_t off, uint64_t len)
{
	static uint8_t bytes[LARGE];
	uint64_t before = store->counters.checkpoints;

	store->manual = false;
	store->journal_max = UINT64_MAX;
	store->stage_journal_max = pfs_journal_live_bytes(store->journal) - too_much;
	if (zeros)
		assert_int_equal(pfs_zero(store, object_of(1), off, len, now_ns), 0);
	else
		assert_int_equal(pfs_write(store, object_of(1), off, bytes, len, now_ns), 0);
	store->manual = true;
	store->checkpoint_wanted = store->force_wanted = false;
	return store->counters.checkpoints - before;
}

/* Proves: who writes, or clears, a large document beyond its first block when heavy writing has
 * taken its share of the journal makes a checkpoint before; nobody else does. */
static void who_writes_heavily_makes_room(void **state)
{
	static const struct {
		uint64_t off, len;
		bool large;
	} cases[] = {
		{0, PFS_BLOCK_LEN, false},     {0, PFS_BLOCK_LEN + 1, true},
		{PFS_BLOCK_LEN - 7, 7, false}, {PFS_BLOCK_LEN - 7, 8, true},
		{PFS_BLOCK_LEN, 1, true},      {10, 20, false},
	};

	(void)state;
	for (unsigned zeros = 0; zeros < 2; zeros++) {
		for (size_t i = 0; i < pfs_array_len(cases); i++) {
			uint64_t off = cases[i].off, len = cases[i].len;

			assert_int_equal(checkpoints_for(false, zeros, off, len), 0);
			assert_int_equal(checkpoints_for(true, zeros, off, len), cases[i].large);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_left, begin, end),
		cmocka_unit_test_setup_teardown(what_is_whole_is_moved, begin, end),
		cmocka_unit_test_setup_teardown(what_is_written_in_parts_is_counted, begin, end),
		cmocka_unit_test_setup_teardown(what_it_stands_on_is_kept, begin, end),
		cmocka_unit_test_setup_teardown(who_writes_heavily_makes_room, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
