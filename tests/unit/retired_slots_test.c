/* Tombstones: durable before anything relies on them, also those that an opening finds or writes
 * (FORMAT.md, C2, O5). */
#include "storage/page.h"
#include "tests/fault/box.h"

/* So many that the last slots lie in another piece of the file than the page's header, which is
 * written often. */
enum { MANY = 2 * PFS_SIM_PIECE / PFS_SLOT_LEN };

static void remove_id(struct pfs_store *store, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);

	assert_int_equal(pfs_remove(store, &key, NULL), 0);
}

static void put_many_small(struct box *b)
{
	for (uint64_t i = 0; i < MANY; i++)
		put_id(b, i, 12, i);
	checkpoint(b);
	assert_true(pfs_slot_offset(place(b, MANY - 1).slot) > PFS_SIM_PIECE);
}

static void expect_gone(struct pfs_sim *sim, uint64_t id)
{
	struct pfs_store *store = open_store(sim);

	assert_int_equal(get_error(store, id), -ENOENT);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
}

/* Proves: a removed document does not come back when the journal's record of it is recycled. */
static void tombstones_outlive_their_records(void **state)
{
	struct box *b = box_new();
	struct pfs_sim *cut;

	(void)state;
	put_many_small(b);
	remove_id(b->store, MANY - 1);
	checkpoint(b);
	cut = pfs_sim_crash_index(b->sim, 0);
	expect_gone(cut, MANY - 1);
	pfs_sim_free(cut);
	box_free(b);
}

static int fail_pages(void *arg, const struct pfs_sim_step *step)
{
	unsigned *writes = arg;

	*writes += step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0;
	return *writes && step->kind == PFS_SIM_SYNC && strncmp(step->name, "page-", 5) == 0 ? -EIO
											     : 0;
}

/* Proves: a tombstone that an opening finds in the page cache, because the sync that was to bring
 * it to the disk has failed, is written again before its record is recycled. */
static void tombstones_that_are_found_are_written_again(void **state)
{
	struct box *b = box_new();
	struct pfs_sim *killed, *cut;
	unsigned writes = 0;

	(void)state;
	put_many_small(b);
	remove_id(b->store, MANY - 1);
	assert_int_equal(pfs_sync(b->store), 0);
	pfs_sim_on_step(b->sim, fail_pages, &writes);
	assert_int_equal(pfs_store_checkpoint(b->store), -EROFS);
	assert_true(writes > 0);
	killed = pfs_sim_kill(b->sim);
	expect_gone(killed, MANY - 1);
	cut = pfs_sim_crash_index(killed, 0);
	expect_healthy(cut);
	/* From the slots. */
	remove_file(cut, PFS_INDEX_NAME);
	expect_gone(cut, MANY - 1);
	pfs_sim_free(cut);
	pfs_sim_free(killed);
	unwatch(b);
	assert_int_equal(pfs_store_close(b->store), -EROFS);
	pfs_sim_free(b->sim);
	free(b);
}

/* Keeps the disk as it is when the segment is to be called dead. */
static int kill_at_recycling(void *arg, const struct pfs_sim_step *step)
{
	struct box *b = arg;

	b->count += step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0;
	if (b->count && step->kind == PFS_SIM_WRITE && strncmp(step->name, "journal-", 8) == 0 &&
	    step->off == 0 && !b->image_count)
		b->images[b->image_count++] = pfs_sim_kill(b->sim);
	return 0;
}

/* Puts 2 to 7, and lets the checkpoint of that be cut off when its pages are written. Another box,
 * with the store that was opened after that, and the steps of the opening. */
static struct box *box_after_the_cut(struct box *b)
{
	struct box *again = calloc(1, sizeof(*again));

	assert_non_null(again);
	for (uint64_t i = 2; i < 8; i++)
		put_id(b, i, 2000, 2 * i + 1);
	assert_int_equal(pfs_sync(b->store), 0);
	pfs_sim_on_step(b->sim, kill_at_recycling, b);
	checkpoint(b);
	assert_int_equal(b->image_count, 1);
	again->sim = pfs_sim_kill(b->images[0]);
	watch(again, false);
	box_open(again);
	return again;
}

/* Proves: what the cut checkpoint has put into the pages is retired by the next opening, and its
 * space is written to only when that is synced. */
static void space_of_the_cut_rests_until_its_tombstones_are_synced(void **state)
{
	struct box *b = box_new(), *again;
	size_t tombstones = 0, unsynced = 0, containers = 0;

	(void)state;
	put_id(b, 1, 3000, 3);
	checkpoint(b);
	again = box_after_the_cut(b);
	for (size_t i = 0; i < again->count; i++) {
		const struct step *s = &again->steps[i];

		if (is_of(s, PFS_SIM_SYNC, "page-"))
			unsynced = 0;
		if (!is_of(s, PFS_SIM_WRITE, "page-"))
			continue;
		if (s->len == PFS_SLOT_LEN && !containers) {
			tombstones++;
			unsynced++;
		} else if (s->len >= 2000) {
			containers++;
			assert_int_equal(unsynced, 0);
		}
	}
	assert_true(tombstones > 0 && containers > 0);
	for (uint64_t i = 2; i < 8; i++)
		assert_true(is(again->store, i, 2000, 2 * i + 1));
	box_free(again);
	box_free(b);
}

/* Proves: a document whose only version is what the cut checkpoint has put into a page is made
 * durable there before anything else of that is retired. */
static void what_is_adopted_is_synced_first(void **state)
{
	struct box *b = box_new(), *again;
	size_t adopted = 0, slots = 0, retired = 0;
	bool synced = false;

	(void)state;
	put_id(b, 1, 3001, 3);
	checkpoint(b);
	/* Goes to another place, and what it was is retired by the checkpoint. */
	set_mode(b->store, 1, 0600);
	again = box_after_the_cut(b);
	for (size_t i = 0; i < again->count; i++) {
		const struct step *s = &again->steps[i];

		if (is_of(s, PFS_SIM_SYNC, "page-")) {
			synced = adopted > 0;
			/* Its own slot is written again as well. */
			assert_true(!adopted || slots > 0);
		}
		if (!is_of(s, PFS_SIM_WRITE, "page-"))
			continue;
		if (s->len >= 3001 && s->len < 4000)
			adopted++;
		/* The first is its own. */
		if (s->len == PFS_SLOT_LEN && adopted && slots++ > 0) {
			retired++;
			assert_true(synced);
		}
	}
	assert_true(adopted == 1 && retired > 0);
	assert_true(is(again->store, 1, 3001, 3));
	assert_int_equal(mode_of(again->store, 1), 0600);
	box_free(again);
	box_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tombstones_outlive_their_records),
		cmocka_unit_test(tombstones_that_are_found_are_written_again),
		cmocka_unit_test(space_of_the_cut_rests_until_its_tombstones_are_synced),
		cmocka_unit_test(what_is_adopted_is_synced_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
