/* fsync of one document: by who waits, and by who is told. */
#include "tests/unit/store_helpers.h"

struct told {
	unsigned times;
	int err;
};

static void keep_told(void *arg, int err)
{
	struct told *told = arg;

	told->times++;
	told->err = err;
}

/* By whichever way; fn is called exactly once. */
static int sync_object(struct pfs_store *store, uint32_t object, bool wait)
{
	struct told told = {0};

	if (wait)
		return pfs_sync_object(store, object);
	pfs_sync_object_then(store, object, keep_told, &told);
	assert_int_equal(told.times, 1);
	return told.err;
}

static const char *const words[] = {"before", "made"};

/* A store with a document, and one that was made and has no record yet. */
static struct pfs_store *two_documents(struct pfs_sim *sim, uint32_t *made)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;

	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	put_document(store, &key, 300, 1);
	key = pfs_key_num(2);
	assert_int_equal(pfs_create(store, &key, &attr, made), 0);
	return store;
}

/* Proves: what was changed before is there after a power cut, also a document that was only made.
 */
static void what_is_synced_survives_a_power_cut(void **state)
{
	(void)state;
	for (unsigned wait = 0; wait < 2; wait++) {
		struct pfs_sim *sim = pfs_sim_new(), *cut;
		struct pfs_store *store, *after;
		uint32_t made;

		store = two_documents(sim, &made);
		assert_int_equal(sync_object(store, made, wait), 0);
		cut = pfs_sim_crash_index(sim, 0);
		after = open_store(cut);
		for (unsigned i = 0; i < 2; i++) {
			struct pfs_key key = pfs_key_num(i + 1);
			struct pfs_attr attr;
			uint32_t object;
			int err = pfs_lookup(after, &key, &object, &attr);

			if (err)
				fail_msg("%s: %d", words[i], err);
			assert_int_equal(attr.size, i ? 0 : 300);
		}
		assert_int_equal(pfs_store_close(after), 0);
		pfs_sim_free(cut);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

static int fail_sync(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_SYNC ? -EIO : 0;
}

/* Proves: who syncs is told when the disk can't, and nothing is changed from then on. */
static void a_failed_sync_is_told(void **state)
{
	(void)state;
	for (unsigned wait = 0; wait < 2; wait++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_key key = pfs_key_num(3);
		struct pfs_store *store;
		uint32_t made;

		store = two_documents(sim, &made);
		pfs_sim_on_step(sim, fail_sync, NULL);
		assert_int_equal(sync_object(store, made, wait), -EROFS);
		assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
		pfs_sim_on_step(sim, NULL, NULL);
		(void)pfs_store_close(store);
		pfs_sim_free(sim);
	}
}

/* Proves: where nothing can have been changed there is nothing to sync. */
static void a_store_for_reading_is_in_sync(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.read_only = true, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	uint64_t steps;
	uint32_t made;

	(void)state;
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_close(two_documents(sim, &made)), 0);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	steps = pfs_sim_steps(sim);
	for (unsigned wait = 0; wait < 2; wait++)
		assert_int_equal(sync_object(store, 1, wait), 0);
	assert_int_equal(pfs_sim_steps(sim), steps);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_synced_survives_a_power_cut),
		cmocka_unit_test(a_failed_sync_is_told),
		cmocka_unit_test(a_store_for_reading_is_in_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
