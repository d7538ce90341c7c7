/* Repairing a store: what must be durable before a page is changed, and what is left alone. */
#include "storage/crc.h"
#include "tests/unit/repair_helpers.h"

/* ---- the saved index ---- */

struct cut {
	struct pfs_sim *sim, *image;
};

/* Keeps what is durable when the first page is changed. */
static int cut_at_page(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	if (!cut->image && step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0)
		cut->image = pfs_sim_crash_index(cut->sim, 0);
	return 0;
}

/* Proves (R3): when a page is changed no saved index can come back, also where it was another
 * repair that has removed it, and was cut off. */
static void no_index_comes_back(void **state)
{
	(void)state;
	for (unsigned removed = 0; removed < 2; removed++) {
		struct cut cut = {.sim = docs_store()};
		struct pfs_place place = doc_place(cut.sim, 7);
		const struct pfs_io *io;
		struct pfs_file *file;
		struct pfs_dir *dir;

		flip_bit(cut.sim, page_name(place.page), pfs_slot_offset(place.slot) + 1, 3);
		pfs_sim_settle(cut.sim);
		if (removed)
			remove_file(cut.sim, PFS_INDEX_NAME);
		pfs_sim_on_step(cut.sim, cut_at_page, &cut);
		free(repair_all(cut.sim));
		pfs_sim_on_step(cut.sim, NULL, NULL);
		assert_non_null(cut.image);
		io = pfs_sim_io(cut.image);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		assert_int_equal(dir->ops->open(dir, PFS_INDEX_NAME, 0, &file), -ENOENT);
		dir->ops->close_dir(dir);
		pfs_sim_free(cut.image);
		pfs_sim_free(cut.sim);
	}
}

/* ---- containers that are smaller than the store's smallest ---- */

/* Proves: a slot whose length is too small, and wrong, is nothing to be repaired when the journal
 * puts its document anew; the page stays as it is. */
static void torn_slots_that_are_replaced_are_left_alone(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	struct repaired *done;
	struct found *found;

	(void)state;
	put_doc(store, 7);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(killed, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MIN), 0);
	slot.len = 40;
	pfs_slot_encode(&disk, &slot);
	write_at(killed, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	found = check_store(killed);
	assert_int_equal(found->fatal, 0);
	assert_int_equal(found->count, 1);
	assert_non_null(strstr(found->at[0].text, "a change of it was not finished"));
	free(found);
	done = repair_store(killed);
	if (done->count)
		print_deeds(done);
	assert_int_equal(done->count + done->result.faults, 0);
	assert_int_equal(docs_gone(killed, NULL), 0);
	free(done);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

static uint32_t smallest_of(struct pfs_sim *sim, uint32_t changed)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	if (changed) {
		super.min_value_size = changed;
		assert_int_equal(pfs_super_write(dir, &super), 0);
	}
	dir->ops->close_dir(dir);
	return super.min_value_size;
}

/* Proves: where the superblock says that containers are larger than they are, and there is no room
 * for that, it gets the size of the smallest that there is. */
static void a_smallest_container_that_is_too_large_is_put_right(void **state)
{
	struct pfs_sim *sim = docs_store();
	uint32_t least = UINT32_MAX;
	struct repaired *done;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++)
		least = (uint32_t)pfs_min_u64(least, doc_place(sim, i).container_len);
	(void)smallest_of(sim, 512);
	done = repair_all(sim);
	for (size_t i = 0; i < done->count; i++)
		assert_non_null(strstr(done->at[i].text, "; the store's smallest is less now"));
	free(done);
	assert_int_equal(smallest_of(sim, 0), least);
	pfs_sim_free(sim);
}

/* Proves: a tombstone that is newer than any change gets a sequence that there is; the store does
 * not go on behind it, where there may be few left. */
static void a_tombstone_of_the_future_is_put_right(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_key key = doc_key(7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	struct pfs_store_stat stat;
	struct repaired *done;

	(void)state;
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MIN), 0);
	assert_int_equal(slot.kind, PFS_SLOT_TOMBSTONE);
	slot.seq = PFS_SEQ_MAX - 1;
	pfs_slot_encode(&disk, &slot);
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	done = repair_store(sim);
	assert_true(done->result.faults > 0);
	free(done);
	assert_int_equal(docs_gone(sim, NULL), 1);
	store = open_store(sim);
	put_doc(store, 7);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_true(stat.sequence < 1000);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(docs_gone(sim, NULL), 0);
	pfs_sim_free(sim);
}

/* ---- what other files say of a lost superblock ---- */

/* Proves: an index with an epoch that no store has is none to make a superblock of. */
static void epochs_out_of_range_say_nothing(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_index_disk disk;
	struct repaired *done;
	unsigned lost = 0;

	(void)state;
	remove_file(sim, PFS_SUPER_NAME);
	read_at(sim, PFS_INDEX_NAME, 0, &disk, sizeof(disk));
	pfs_put_le64(disk.epoch.b, PFS_EPOCH_MAX + 1);
	pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
	write_at(sim, PFS_INDEX_NAME, 0, &disk, sizeof(disk));
	done = repair_all(sim);
	for (size_t i = 0; i < done->count; i++)
		lost += strncmp(done->at[i].text, "the superblock is lost", 22) == 0;
	assert_int_equal(lost, 1);
	free(done);
	pfs_sim_free(sim);
}

static uint64_t epoch_of(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	dir->ops->close_dir(dir);
	return super.open_epoch;
}

#define WRONG_BIT 40 /* of an epoch: far from all that a store has, and none that is refused */

/* Proves: the epoch of a lost superblock is that of the saved index, unless a bit of it is wrong.
 */
static void the_saved_index_says_the_epoch(void **state)
{
	(void)state;
	for (unsigned damaged = 0; damaged < 2; damaged++) {
		struct pfs_sim *sim = docs_store();
		uint64_t epoch;

		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(pfs_store_close(open_store(sim)), 0);
		epoch = epoch_of(sim);
		remove_file(sim, PFS_SUPER_NAME);
		if (damaged)
			flip_bit(sim, PFS_INDEX_NAME,
				 offsetof(struct pfs_index_disk, epoch) + WRONG_BIT / 8,
				 WRONG_BIT % 8);
		free(repair_store(sim));
		assert_true(damaged || epoch_of(sim) >= epoch);
		assert_true(epoch_of(sim) < 1ull << WRONG_BIT);
		assert_int_equal(docs_gone(sim, NULL), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: where nothing is in the pages yet, a segment says whose store it is and that it is one.
 */
static void a_segment_makes_a_store(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct pfs_store *store;
	struct repaired *done;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++)
		put_doc(store, i);
	assert_int_equal(pfs_sync(store), 0);
	cut = pfs_sim_crash_index(sim, 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	remove_file(cut, PFS_SUPER_NAME);
	done = repair_store(cut);
	assert_int_equal(done->result.lost, 0);
	free(done);
	assert_int_equal(docs_gone(cut, NULL), 0);
	pfs_sim_free(cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_index_comes_back),
		cmocka_unit_test(torn_slots_that_are_replaced_are_left_alone),
		cmocka_unit_test(a_smallest_container_that_is_too_large_is_put_right),
		cmocka_unit_test(a_tombstone_of_the_future_is_put_right),
		cmocka_unit_test(epochs_out_of_range_say_nothing),
		cmocka_unit_test(the_saved_index_says_the_epoch),
		cmocka_unit_test(a_segment_makes_a_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
