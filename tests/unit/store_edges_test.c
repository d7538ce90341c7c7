/* What a store refuses, and what it does at the edges of its bounds. */
#include <pthread.h>

#include "storage/store_internal.h"
#include "storage/super.h"
#include "tests/unit/store_helpers.h"

/* ---- records that make no sense ---- */

struct forged {
	const char *name;
	unsigned type, flags;
	size_t len; /* of the body */
	uint8_t body[96];
};

/* The key of document 5, behind `at` bytes of a body. */
#define KEY(at) [at] = PFS_KEY_NUM, [(at) + 1] = 8, [(at) + 2] = 5

static const struct forged forged[] = {
	{"a put that ends within its head", PFS_RECORD_PUT, 0, 20, {0}},
	{"a put without a key", PFS_RECORD_PUT, 0, 56, {0}},
	{"a put with a key of no kind", PFS_RECORD_PUT, 0, 66, {[56] = 77, [57] = 8}},
	{"a put of a short number", PFS_RECORD_PUT, 0, 64, {[56] = PFS_KEY_NUM, [57] = 4}},
	{"a put of a short uuid", PFS_RECORD_PUT, 0, 66, {[56] = PFS_KEY_UUID, [57] = 8}},
	{"a put that is longer than its record",
	 PFS_RECORD_PUT,
	 0,
	 66,
	 {KEY(56), [24] = 9, [44] = 9}},
	{"a put in blocks that is short", PFS_RECORD_PUT, PFS_PUT_BLOCKS, 66, {KEY(56), [24] = 9}},
	{"a put that is packed from nothing", PFS_RECORD_PUT, PFS_PUT_LZ4, 66, {KEY(56)}},
	{"a put that is packed twice", PFS_RECORD_PUT, PFS_PUT_LZ4 | PFS_PUT_BLOCKS, 66, {KEY(56)}},
	{"a put of more than there may be", PFS_RECORD_PUT, 0, 66, {KEY(56), [28] = 1}},
	{"a patch that ends within its head", PFS_RECORD_PATCH, 0, 30, {0}},
	{"a patch behind the end", PFS_RECORD_PATCH, 0, 66, {KEY(56), [32] = 9, [40] = 5}},
	{"a patch over the end", PFS_RECORD_PATCH, 0, 66, {KEY(56), [32] = 3, [40] = 5, [48] = 3}},
	{"a patch that lacks its bytes", PFS_RECORD_PATCH, 0, 66, {KEY(56), [40] = 50, [48] = 40}},
	{"a patch of a document too large", PFS_RECORD_PATCH, 1, 66, {KEY(56), [44] = 1}},
	{"attributes that end within their head", PFS_RECORD_ATTR, 0, 24, {0}},
	{"attributes of nobody", PFS_RECORD_ATTR, 0, 32, {0}},
	{"a removal of nobody", PFS_RECORD_REMOVE, 0, 8, {0}},
	{"a move without names", PFS_RECORD_MOVE, 0, 24, {0}},
	{"a move to nowhere", PFS_RECORD_MOVE, 0, 34, {KEY(24)}},
};

static void append_record(struct pfs_store *store, const struct forged *f)
{
	struct pfs_journal_pos pos;
	struct iovec part = {(void *)(uintptr_t)f->body, f->len};

	pthread_mutex_lock(&store->commit);
	assert_int_equal(
		pfs_journal_append(store->journal, f->type, f->flags, &part, 1, false, &pos), 0);
	pthread_mutex_unlock(&store->commit);
	assert_int_equal(pfs_sync(store), 0);
}

static int try_open(struct pfs_sim *sim, struct pfs_store **store)
{
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	int err = pfs_store_open(store, STORE, &options, &reason);

	assert_true((err != 0) == (reason.text[0] != '\0'));
	return err;
}

/* Proves: a record that verifies and makes no sense all the same, however it came there, is found
 * by the check, and the store does not open over it. */
static void records_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(forged); i++) {
		struct pfs_sim *sim = pfs_sim_new(), *killed;
		struct pfs_key key = pfs_key_num(5);
		struct pfs_store *store;
		struct found *found;
		bool said = false;

		create_store(sim, PFS_PAGE_SIZE_MIN, 16);
		store = open_store(sim);
		put_document(store, &key, 100, 1);
		append_record(store, &forged[i]);
		killed = pfs_sim_kill(sim);
		(void)pfs_store_close(store);
		pfs_sim_free(sim);
		found = check_store(killed);
		for (size_t f = 0; f < found->count; f++)
			said |= found->at[f].fatal &&
				strncmp(found->at[f].where, "journal", 7) == 0 &&
				strstr(found->at[f].text, "makes no sense");
		if (!said)
			print_found(found);
		if (!said)
			fail_msg("%s: the check does not say so", forged[i].name);
		free(found);
		if (try_open(killed, &store) != -EUCLEAN)
			fail_msg("%s: the store opens", forged[i].name);
		pfs_sim_free(killed);
	}
}

/* ---- making and opening ---- */

/* Proves: sizes that no store has are refused with the reason, and nothing is made. */
static void sizes_are_refused(void **state)
{
	static const struct {
		uint64_t page_size;
		uint32_t min_value_size;
	} wrong[] = {{100000, 0},
		     {PFS_PAGE_SIZE_MIN / 2, 0},
		     {2 * PFS_PAGE_SIZE_MAX, 0},
		     {0, PFS_MIN_VALUE_MIN - 1},
		     {0, PFS_MIN_VALUE_MAX + 1}};
	struct pfs_sim *sim = pfs_sim_new();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(wrong); i++) {
		struct pfs_create_options options = {.page_size = wrong[i].page_size,
						     .min_value_size = wrong[i].min_value_size,
						     .io = pfs_sim_io(sim)};
		struct pfs_reason reason;

		assert_int_equal(pfs_store_create(STORE, &options, &reason), -EINVAL);
		assert_non_null(strstr(reason.text, "give a"));
		assert_int_equal(pfs_sim_steps(sim), 0);
	}
	pfs_sim_free(sim);
}

/* Proves: a store that somebody makes or holds is nobody else's, whoever waits and however long. */
static void stores_that_others_hold_are_busy(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_create_options create = {.io = io};
	struct pfs_open_options options = {
		.io = io, .manual = true, .logger = quiet, .lock_wait_ms = 30};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, true), 0);
	assert_int_equal(pfs_store_create(STORE, &create, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "another process"));
	dir->ops->close_dir(dir);
	create_store(sim, 0, 0);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, true), 0);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "another process"));
	assert_null(store);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(pfs_store_close(NULL), 0);
	pfs_sim_free(sim);
}

static void change_super(struct pfs_sim *sim, uint64_t epoch)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.open_epoch = super.clean_epoch = epoch;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

/* Proves: where numbers run out that are never given twice, the store says so. */
static void numbers_that_run_out_are_not_given_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint8_t bytes[2048];

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	fill_document(bytes, sizeof(bytes), 2);
	store->super.dict_highest = UINT32_MAX;
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 100, 50), -EOVERFLOW);
	store->super.dict_highest = 0;
	assert_int_equal(pfs_store_close(store), 0);
	change_super(sim, PFS_EPOCH_MAX);
	assert_int_equal(try_open(sim, &store), -EOVERFLOW);
	change_super(sim, PFS_EPOCH_MAX - 1);
	assert_int_equal(try_open(sim, &store), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- an open store ---- */

static struct pfs_sim *filled(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	*store = open_store(sim);
	for (unsigned i = 0; i < 100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(*store, &key, 2000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(*store), 0);
	return sim;
}

static void change_all(struct pfs_store *store)
{
	for (unsigned i = 0; i < 100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1500, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

/* Proves: of each page is said what only a snapshot needs, which together is what the store says,
 * and is not live. */
static void pinned_bytes_are_said_of_each_page(void **state)
{
	struct pfs_snapshot *snapshot;
	struct pfs_store_stat stat;
	struct pfs_page_stat *pages;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	uint64_t pinned = 0;
	size_t count;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	change_all(store);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++) {
		assert_true(pages[i].pinned <= pages[i].used);
		assert_int_equal(pages[i].live + pages[i].pinned,
				 pages[i].used + (pages[i].slots - pages[i].free_slots) *
							 (uint64_t)PFS_SLOT_LEN);
		pinned += pages[i].pinned;
	}
	assert_true(pinned >= 100 * 2000);
	assert_int_equal(pinned, stat.pinned_bytes);
	free(pages);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pages[i].pinned, 0);
	free(pages);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: only one packs at a time, it ends when it is told to, and a store that has failed is not
 * packed, trained or changed. */
static void packing_is_refused_when_it_can_not_be(void **state)
{
	struct pfs_compact_result result;
	struct pfs_train_result trained;
	struct pfs_check_result checked;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	const bool stop = true;

	(void)state;
	change_all(store);
	store->packing = true;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), -EBUSY);
	store->packing = false;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, &stop, &result), -ECANCELED);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, &stop, &checked), -ECANCELED);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	store->failed = true;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), -EROFS);
	assert_int_equal(pfs_store_compact_step(store, true), -EROFS);
	assert_int_equal(pfs_train(store, true, &trained), -EROFS);
	store->failed = false;
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: a writer that fills the journal faster than it is moved to the pages waits, and the
 * journal keeps to its bound. */
static void writers_wait_for_room_in_the_journal(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .logger = quiet, .journal_max = 1};
	struct pfs_store_stat stat;
	struct pfs_reason reason;
	struct pfs_store *store;
	uint64_t most = 0;

	(void)state;
	create_store(sim, 0, 16);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < 60; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 500000, 2 * i + 1);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		most = pfs_max_u64(most, stat.journal_bytes);
	}
	assert_true(stat.checkpoints >= 2);
	assert_true(most <= 3 * (uint64_t)PFS_SEGMENT_SIZE);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_that_make_no_sense_are_refused),
		cmocka_unit_test(sizes_are_refused),
		cmocka_unit_test(stores_that_others_hold_are_busy),
		cmocka_unit_test(numbers_that_run_out_are_not_given_again),
		cmocka_unit_test(pinned_bytes_are_said_of_each_page),
		cmocka_unit_test(packing_is_refused_when_it_can_not_be),
		cmocka_unit_test(writers_wait_for_room_in_the_journal),
	};

	return cmocka_run_group_tests_name("edges", tests, NULL, NULL);
}
