/* storage/store.c: fsync of one document, by who waits and by who is told; what is held, and is
 * logged in time or when it is asked for. The file is included. */
#include <stdlib.h>
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static unsigned now_restored; /* times that the reserve was */

static int log_or_refuse(struct pfs_store *store, uint32_t object, struct pfs_version *held);
static void *memory_or_none(size_t len);
static void need_commit(pthread_mutex_t *commit, bool held);

/* Of what is collected: it is taken under the commit lock, and waited for without. */
static unsigned waits;

#define pfs_log_held log_or_refuse
#define pfs_restore_reserve(store) (now_restored++, pfs_restore_reserve(store))
#define free(block) poisoned_free(block)
#define malloc(len) memory_or_none(len)
#define pfs_list_splice(to, from) (need_commit(&store->commit, true), pfs_list_splice(to, from))
#define pfs_epoch_wait() (need_commit(&store->commit, false), waits++, pfs_epoch_wait())
#include "storage/store.c"
#undef pfs_list_splice
#undef pfs_epoch_wait
#undef pfs_log_held
#undef pfs_restore_reserve
#undef free
#undef malloc

#include "tests/unit/store_helpers.h"

static struct {
	unsigned refused; /* so many records are */
	int why;
	unsigned asked;
	bool no_memory;
} now;

static int log_or_refuse(struct pfs_store *store, uint32_t object, struct pfs_version *held)
{
	now.asked++;
	if (!now.refused)
		return pfs_log_held(store, object, held);
	now.refused--;
	return now.why;
}

static void need_commit(pthread_mutex_t *commit, bool held)
{
	int err = pthread_mutex_trylock(commit);

	assert_int_equal(err, held ? EBUSY : 0);
	if (!err)
		pthread_mutex_unlock(commit);
}

static void *memory_or_none(size_t len)
{
	return now.no_memory ? NULL : malloc(len);
}

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

static unsigned held_count(const struct pfs_store *store)
{
	unsigned n = 0;

	for (struct pfs_list *item = store->held.next; item != &store->held; item = item->next)
		n++;
	return n;
}

/* Proves: a sync of a document is counted as one, and is refused when the document is not there, or
 * there is no memory to tell later, or the store has failed. */
static void syncs_are_counted(void **state)
{
	(void)state;
	for (unsigned wait = 0; wait < 2; wait++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_store_stat stat;
		struct pfs_store *store;
		uint32_t made;

		memset(&now, 0, sizeof(now));
		store = two_documents(sim, &made);
		assert_int_equal(sync_object(store, made, wait), 0);
		assert_int_equal(sync_object(store, made, wait), 0);
		assert_int_equal(sync_object(store, made + 100, wait), -ENOENT);
		now.no_memory = true;
		assert_int_equal(sync_object(store, made, wait), wait ? 0 : -ENOMEM);
		now.no_memory = false;
		assert_int_equal(pfs_sync(store), 0);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.syncs, 3 + wait);
		store->failed = true;
		now.asked = 0;
		assert_int_equal(sync_object(store, made, wait), -EROFS);
		assert_int_equal(pfs_store_tick(store), -EROFS);
		assert_int_equal(pfs_sync(store), -EROFS);
		assert_int_equal(now.asked, 0);
		store->failed = false;
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: where there is no room for what is held it is tried twice more, room having been made
 * each time; any other error is one at once. */
static void room_is_made_for_what_is_held(void **state)
{
	static const struct {
		unsigned refused;
		int why, err;
		unsigned asked;
	} cases[] = {{0, 0, 0, 1},
		     {1, -ENOSPC, 0, 2},
		     {2, -ENOSPC, 0, 3},
		     {3, -ENOSPC, -ENOSPC, 3},
		     {1, -ENOMEM, -ENOMEM, 1}};

	(void)state;
	for (unsigned i = 0; i < 3 * pfs_array_len(cases); i++) {
		const typeof(cases[0]) *c = &cases[i / 3];
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_store *store;
		uint32_t made;

		memset(&now, 0, sizeof(now));
		store = two_documents(sim, &made);
		now.refused = c->refused;
		now.why = c->why;
		assert_int_equal(i % 3 == 2 ? pfs_sync(store) : sync_object(store, made, i % 3),
				 c->err);
		assert_int_equal(now.asked, c->asked);
		assert_int_equal(held_count(store), c->err != 0);
		memset(&now, 0, sizeof(now));
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: when its time has come, what there is no room for stays held until the next tick, and all
 * the rest is logged, and the reserve is made again if it can be; any other error ends the tick. */
static void ticks_log_what_they_can(void **state)
{
	static const int whys[] = {-ENOSPC, -ENOMEM};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1};
		struct pfs_key key = pfs_key_num(3);
		struct pfs_store *store;
		uint32_t made;

		memset(&now, 0, sizeof(now));
		store = two_documents(sim, &made);
		assert_int_equal(pfs_create(store, &key, &attr, &made), 0);
		for (unsigned tick = 1; tick < PFS_HOLD_TICKS; tick++)
			assert_int_equal(pfs_store_tick(store), 0);
		assert_int_equal(now.asked, 0);
		now.refused = 1;
		now.why = whys[i];
		now_restored = 0;
		assert_int_equal(pfs_store_tick(store), i ? -ENOMEM : 0);
		assert_int_equal(now_restored, !i);
		assert_int_equal(now.asked, i ? 1 : 2);
		assert_int_equal(held_count(store), i ? 2 : 1);
		assert_int_equal(pfs_store_tick(store), 0);
		assert_int_equal(held_count(store), 0);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
}

static unsigned failures_said;

static void count_failures(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	failures_said +=
		level == PFS_LOG_ERROR &&
		strstr(line, "syncing the journal failed (Input/output error): the store is "
			     "read-only from now on") != NULL;
}

/* Proves: that a sync of the journal fails is said once, by whichever way, and each who needs it
 * has an error. */
static void failures_are_said_once(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_open_options options = {
			.manual = true, .io = pfs_sim_io(sim), .logger = {.fn = count_failures}};
		struct pfs_key key = pfs_key_num(1);
		struct pfs_store *store;
		uint32_t object;

		memset(&now, 0, sizeof(now));
		failures_said = 0;
		create_store(sim, PFS_PAGE_SIZE_MIN, 64);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		put_document(store, &key, 300, 1);
		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
		pfs_sim_on_step(sim, fail_sync, NULL);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(way == 0   ? pfs_store_tick(store)
					 : way == 1 ? pfs_sync(store)
						    : sync_object(store, object, way - 2),
					 -EROFS);
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(failures_said, 1);
		assert_int_equal(pfs_store_fail(store, "another thing", -EIO), -EROFS);
		assert_int_equal(failures_said, 1);
		(void)pfs_store_close(store);
		pfs_sim_free(sim);
	}
}

/* Proves: what nobody will find any more is freed when all readers have been waited for. */
static void readers_are_waited_for(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint32_t made;

	(void)state;
	memset(&now, 0, sizeof(now));
	store = two_documents(sim, &made);
	assert_int_equal(pfs_sync(store), 0);
	assert_false(pfs_list_empty(&store->limbo));
	waits = 0;
	pfs_epoch_collect(store);
	assert_int_equal(waits, 1);
	assert_true(pfs_list_empty(&store->limbo));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_synced_survives_a_power_cut),
		cmocka_unit_test(a_failed_sync_is_told),
		cmocka_unit_test(a_store_for_reading_is_in_sync),
		cmocka_unit_test(syncs_are_counted),
		cmocka_unit_test(room_is_made_for_what_is_held),
		cmocka_unit_test(ticks_log_what_they_can),
		cmocka_unit_test(failures_are_said_once),
		cmocka_unit_test(readers_are_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
