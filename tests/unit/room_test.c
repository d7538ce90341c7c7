/* storage/store_enter.c, storage/store_threads.c, storage/store_compact.c: how writers get room in
 * the journal and in the pages. Sleeps go through this file, and take no time. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "storage/store_compact.h"
#include "tests/unit/store_helpers.h"

static struct {
	pthread_t of; /* the thread whose sleeps are counted */
	unsigned count;
	int64_t longest, last;
} slept;

int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)left;
	if (!pthread_equal(pthread_self(), slept.of))
		return 0;
	slept.last = (int64_t)time->tv_sec * PFS_NSEC_PER_SEC + time->tv_nsec;
	slept.longest = slept.last > slept.longest ? slept.last : slept.longest;
	slept.count++;
	return 0;
}

static bool said; /* atomic: that the store has failed */

static void look_at_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (level == PFS_LOG_ERROR && strstr(line, "the store is read-only"))
		__atomic_store_n(&said, true, __ATOMIC_RELEASE);
}

static struct pfs_store *open_with_threads(struct pfs_sim *sim)
{
	struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .logger = {.fn = look_at_log}, .commit_ms = 60000};
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
	return store;
}

static struct pfs_store_stat stat_of(struct pfs_store *store)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	return stat;
}

#define PIECE 1000000u

/* Puts ten small ones; of which some do not wait at once. */
static unsigned put_small(struct pfs_store *store, unsigned n)
{
	unsigned before = slept.count;

	for (unsigned i = 0; i < 10; i++) {
		struct pfs_key key = pfs_key_num(1000 + 10 * n + i);

		put_document(store, &key, 10, 1);
	}
	return 10 - (slept.count - before);
}

/* Proves: writers that are faster than checkpoints are slowed from half of the limit on, the more
 * the nearer it is, and not before; nobody sleeps for longer than a tenth of a second at once, and
 * what is too short to sleep is added up. */
static void writers_are_slowed_before_the_limit(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	unsigned short_waits = 0;
	int64_t first = 0;

	(void)state;
	create_store(sim, 0, 16);
	store = open_with_threads(sim);
	slept.of = pthread_self();
	slept.count = 0;
	/* No checkpoint gets on. */
	pthread_mutex_lock(&store->checkpoint_lock);
	for (unsigned i = 0; i < 44; i++) {
		bool before =
			stat_of(store).journal_bytes <= PFS_JOURNAL_MAX_LOW / PFS_JOURNAL_SLOW_DIV;
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, PIECE, 2 * i + 1);
		if (before)
			assert_int_equal(slept.count, 0);
		else if (slept.count && !first)
			first = slept.last;
		if (!before && i % 4 == 0)
			short_waits += put_small(store, i);
	}
	assert_true(short_waits > 0);
	pthread_mutex_unlock(&store->checkpoint_lock);
	assert_true(slept.count > 1 && first > 0 && slept.longest > first);
	assert_true(slept.longest <= 100000000);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: nobody is slowed by what the last checkpoint could not give back, or what documents under
 * heavy writing keep: another one would not free it. */
static void what_is_kept_slows_nobody(void **state)
{
	(void)state;
	for (unsigned staged = 0; staged < 2; staged++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_store *store;

		create_store(sim, 0, 16);
		store = open_with_threads(sim);
		slept.of = pthread_self();
		slept.count = 0;
		pthread_mutex_lock(&store->checkpoint_lock);
		pthread_mutex_lock(&store->commit);
		if (staged)
			store->staged_bytes = UINT64_MAX / 2;
		else
			store->journal_kept = UINT64_MAX / 2;
		pthread_mutex_unlock(&store->commit);
		for (unsigned i = 0; i < 44; i++) {
			struct pfs_key key = pfs_key_num(i);

			put_document(store, &key, PIECE, 2 * i + 1);
		}
		assert_int_equal(slept.count, 0);
		pthread_mutex_lock(&store->commit);
		store->staged_bytes = store->journal_kept = 0;
		pthread_mutex_unlock(&store->commit);
		pthread_mutex_unlock(&store->checkpoint_lock);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

static bool in_journal(struct pfs_store *store, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return place.in_journal;
}

/* Proves: a document that is being written to stays out of checkpoints, but not when it would keep
 * too much of the journal. */
static void heavy_writing_keeps_a_bound(void **state)
{
	(void)state;
	for (unsigned manual = 0; manual < 2; manual++) {
		for (unsigned limited = 0; limited < 2; limited++) {
			struct pfs_key key = pfs_key_num(1), other = pfs_key_num(2);
			struct pfs_sim *sim = pfs_sim_new();
			struct pfs_store *store;
			uint32_t object;

			create_store(sim, 0, 16);
			store = manual ? open_store(sim) : open_with_threads(sim);
			put_document(store, &key, 200000, 1);
			assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
			assert_int_equal(pfs_write(store, object, 5, "abc", 3, 5), 0);
			pthread_mutex_lock(&store->commit);
			if (limited)
				store->stage_journal_max = 1;
			pthread_mutex_unlock(&store->commit);
			if (manual)
				assert_int_equal(pfs_store_checkpoint(store), 0);
			else
				put_document(store, &other, 200000, 1);
			assert_int_equal(in_journal(store, 1), !limited);
			assert_int_equal(pfs_store_close(store), 0);
			expect_healthy(sim);
			pfs_sim_free(sim);
		}
	}
}

static pthread_t self;
static bool failing; /* atomic */

static int fail_sync_of_others(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return __atomic_load_n(&failing, __ATOMIC_ACQUIRE) && step->kind == PFS_SIM_SYNC &&
			       strncmp(step->name, "journal-", 8) == 0 &&
			       !pthread_equal(pthread_self(), self)
		       ? -EIO
		       : 0;
}

/* Proves: a segment that is made ahead and can't be synced turns the store read-only, as any sync
 * that fails; what was acknowledged is there. */
static void segments_made_ahead_must_be_durable(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_store *store;
	int err;

	(void)state;
	self = pthread_self();
	create_store(sim, 0, 16);
	pfs_sim_on_step(sim, fail_sync_of_others, NULL);
	store = open_with_threads(sim);
	__atomic_store_n(&failing, true, __ATOMIC_RELEASE);
	/* One may be made already. */
	err = pfs_put(store, &key, "12345", 5, NULL, 0, NULL);
	assert_true(err == 0 || err == -EROFS);
	while (!stat_of(store).read_only || !__atomic_load_n(&said, __ATOMIC_ACQUIRE))
		usleep(100);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
	(void)pfs_store_close(store);
	killed = pfs_sim_kill(sim);
	pfs_sim_free(sim);
	store = open_store(killed);
	assert_int_equal(pfs_lookup(store, &key, NULL, NULL), err ? -ENOENT : 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(killed);
}

#define DOCS 300u

static void fill_up(bool compacting)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint32_t victim;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		struct pfs_place place;

		if (i % 3 == 1) {
			assert_int_equal(pfs_remove(store, &key, NULL), 0);
		} else if (i % 30 == 0) {
			/* Its page can't be emptied. */
			assert_int_equal(pfs_place(store, &key, &place), 0);
			flip_bit(sim, page_name(place.page), place.offset + 500, 3);
		}
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_compact_step(store, true), 1);
	victim = store->compaction.victim;
	assert_true(victim && pfs_pager_find(store->pager, victim)->closed);
	pfs_sim_set_capacity(sim, pfs_sim_used(sim) + 300 * PFS_KIB);
	if (compacting)
		pthread_mutex_lock(&store->compact_lock);
	for (unsigned i = 0; pfs_pager_find(store->pager, victim)->closed; i++) {
		struct pfs_key key = pfs_key_num(10000 + i);

		assert_true(i < 2000);
		put_document(store, &key, 400, 2 * i + 1);
	}
	pfs_sim_set_capacity(sim, 0);
	if (compacting) {
		pthread_mutex_unlock(&store->compact_lock);
		assert_int_equal(store->compaction.victim, victim);
		assert_int_equal(pfs_store_compact_step(store, true), 0);
	}
	assert_int_equal(store->compaction.victim, 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: when a page that is being emptied has the only room, whoever puts something gets it, also
 * while somebody else compacts; the compaction gives the page up. */
static void emptying_a_page_is_no_reason_to_refuse(void **state)
{
	(void)state;
	fill_up(false);
	fill_up(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_are_slowed_before_the_limit),
		cmocka_unit_test(what_is_kept_slows_nobody),
		cmocka_unit_test(heavy_writing_keeps_a_bound),
		cmocka_unit_test(segments_made_ahead_must_be_durable),
		cmocka_unit_test(emptying_a_page_is_no_reason_to_refuse),
	};

	return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
