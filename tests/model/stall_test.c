/* A disk that does not answer, at each of its operations in turn: who waits for it, and who must
 * not. The store's threads are those of the test: one does what is stalled, another does what has
 * to go on meanwhile. Nothing here depends on time; what waits although it must not waits for ever,
 * and the alarm ends the test and says where. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "tests/unit/store_helpers.h"

#define HANG_S 120
#define STABLE 24 /* documents that only readers touch */
#define LARGE_LEN (300 * 1024)

struct stall {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t at, seen; /* the step of the worker that is stalled; 0: none */
	bool stalled, go, ended;
	bool (*wanted)(const struct pfs_sim_step *step);
	struct pfs_sim *sim;
	struct pfs_store *store;
	void (*work)(struct pfs_store *store);
};

static _Thread_local bool is_worker;
static char where[200]; /* for the alarm */

static void on_alarm(int sig)
{
	(void)sig;
	if (write(2, where, strlen(where)) >= 0 && write(2, ": somebody waits for it\n", 24) >= 0)
		_exit(1);
	_exit(2);
}

static int step(void *arg, const struct pfs_sim_step *s)
{
	struct stall *stall = arg;

	if (!is_worker || (stall->wanted && !stall->wanted(s)))
		return 0;
	pthread_mutex_lock(&stall->lock);
	if (++stall->seen == stall->at) {
		snprintf(where, sizeof(where), "step %llu, %s of \"%s\" at %llu",
			 (unsigned long long)stall->at, pfs_sim_kind_name(s->kind), s->name,
			 (unsigned long long)s->off);
		stall->stalled = true;
		pthread_cond_broadcast(&stall->changed);
		while (!stall->go)
			pthread_cond_wait(&stall->changed, &stall->lock);
	}
	pthread_mutex_unlock(&stall->lock);
	return 0;
}

static void *worker(void *arg)
{
	struct stall *stall = arg;

	is_worker = true;
	stall->work(stall->store);
	pthread_mutex_lock(&stall->lock);
	stall->ended = true;
	pthread_cond_broadcast(&stall->changed);
	pthread_mutex_unlock(&stall->lock);
	return NULL;
}

/* ---- the store ---- */

static void stable_key(struct pfs_key *key, unsigned i)
{
	*key = pfs_key_num(100 + i);
}

/* Documents that are in pages, large and small, and some that are only in the journal. */
static void fill(struct pfs_store *store)
{
	struct pfs_key key;

	for (unsigned i = 0; i < STABLE; i++) {
		stable_key(&key, i);
		put_document(store, &key, i % 8 == 3 ? LARGE_LEN : 50 + i * 20, i);
		if (i == STABLE / 2)
			assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	for (unsigned i = 0; i < 10; i++) {
		key = pfs_key_num(1 + i);
		put_document(store, &key, 300, i);
	}
	key = pfs_key_num(20);
	put_document(store, &key, LARGE_LEN, 20);
}

/* ---- what goes on meanwhile ---- */

static void read_whole(struct pfs_store *store, unsigned i)
{
	static uint8_t want[LARGE_LEN], got[LARGE_LEN + 1];
	size_t len = i % 8 == 3 ? LARGE_LEN : 50 + i * 20, got_len;
	struct pfs_key key, found;
	struct pfs_attr attr;
	uint32_t object;
	void *data;

	stable_key(&key, i);
	fill_document(want, len, i);
	assert_int_equal(pfs_lookup(store, &key, &object, &attr), 0);
	assert_int_equal(attr.size, len);
	assert_int_equal(pfs_getattr(store, object, &attr), 0);
	assert_int_equal(attr.size, len);
	assert_int_equal(pfs_object_key(store, object, &found), 0);
	assert_true(pfs_key_equal(&key, &found));
	assert_int_equal(pfs_read(store, object, 0, got, sizeof(got)), len);
	assert_memory_equal(got, want, len);
	assert_int_equal(pfs_get(store, &key, &data, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(data, want, len);
	free(data);
}

static void read_everything(struct pfs_store *store)
{
	struct pfs_listed listed[7];
	struct pfs_store_stat stat;
	struct pfs_place place;
	struct pfs_key key;
	uint64_t after = 0;
	unsigned found = 0;
	ssize_t n;

	for (unsigned i = 0; i < STABLE; i++)
		read_whole(store, i);
	while ((n = pfs_list(store, after, listed, 7)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			found += listed[i].key.kind == PFS_KEY_NUM && listed[i].key.num >= 100;
		after = listed[n - 1].cookie;
	}
	assert_int_equal(n, 0);
	assert_int_equal(found, STABLE);
	/* Documents that are being changed: one version or another. */
	for (unsigned i = 1; i <= 22; i++) {
		void *data;
		size_t len;
		int err;

		key = pfs_key_num(i);
		err = pfs_get(store, &key, &data, &len, NULL);
		assert_true(err == 0 || err == -ENOENT);
		if (!err)
			free(data);
	}
	stable_key(&key, 1);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_true(stat.points >= STABLE);
}

static void write_everything(struct pfs_store *store)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 7};
	struct pfs_key key = pfs_key_num(31), other = pfs_key_num(32), third = pfs_key_num(5);
	uint32_t object, gone;

	put_document(store, &key, 500, 1);
	put_document(store, &key, 400, 2);
	put_document(store, &other, 300, 3);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 100, "patch", 5, 9), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	attr.size = 0;
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	assert_int_equal(pfs_write(store, object, 0, "whole", 5, 9), 0);
	assert_int_equal(pfs_rename(store, &key, &third, 0, &gone), 0);
	if (gone)
		pfs_release(store, gone);
	assert_int_equal(pfs_rename(store, &third, &other, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(pfs_remove(store, &other, &gone), 0);
	pfs_release(store, gone);
	assert_int_equal(pfs_create(store, &other, &attr, &object), 0);
	assert_int_equal(pfs_write(store, object, 0, "new", 3, 9), 0);
	read_everything(store);
}

/* ---- what is stalled ---- */

static void work_of_all_kinds(struct pfs_store *store)
{
	static uint8_t bytes[900 * 1024];
	struct pfs_key key = pfs_key_num(1), to = pfs_key_num(2), large = pfs_key_num(20);
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = 1};
	uint32_t object, gone;

	put_document(store, &key, 700, 41);
	fill_document(bytes, sizeof(bytes), 43);
	for (uint64_t i = 21; i < 23; i++) {
		struct pfs_key more = pfs_key_num(i);

		assert_int_equal(pfs_put(store, &more, bytes, sizeof(bytes), NULL, 0, NULL), 0);
	}
	assert_int_equal(pfs_lookup(store, &large, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 1000, bytes, 70000, 3), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	assert_int_equal(pfs_rename(store, &key, &to, 0, &gone), 0);
	pfs_release(store, gone);
	key = pfs_key_num(3);
	assert_int_equal(pfs_remove(store, &key, &gone), 0);
	pfs_release(store, gone);
	assert_int_equal(pfs_sync(store), 0);
	assert_int_equal(pfs_store_tick(store), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (uint64_t i = 4; i < 10; i++) {
		key = pfs_key_num(i);
		put_document(store, &key, 900, i);
	}
	key = pfs_key_num(21);
	assert_int_equal(pfs_remove(store, &key, &gone), 0);
	pfs_release(store, gone);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(pfs_store_compact_step(store, true) >= 0);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
}

static void checkpoints_and_syncs(struct pfs_store *store)
{
	assert_int_equal(pfs_sync(store), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_tick(store), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

static char active[32]; /* the segment whose header was written last */
static bool begins;	/* the step before was the beginning of a segment */

/* Stalls the worker at its step number `at` (0: nowhere), has `meanwhile` done, lets it go on.
 * Returns the number of its steps. */
static uint64_t run(uint64_t at, void (*work)(struct pfs_store *),
		    void (*meanwhile)(struct pfs_store *),
		    bool (*wanted)(const struct pfs_sim_step *))
{
	struct stall stall = {.at = at, .work = work, .wanted = wanted, .sim = pfs_sim_new()};
	struct pfs_store_stat stat;
	pthread_t thread;

	active[0] = 0;
	begins = false;
	pthread_mutex_init(&stall.lock, NULL);
	pthread_cond_init(&stall.changed, NULL);
	create_store(stall.sim, 64 * PFS_KIB, 16);
	stall.store = open_held(stall.sim);
	fill(stall.store);
	assert_int_equal(pfs_store_stat(stall.store, &stat), 0);
	pfs_sim_on_step(stall.sim, step, &stall);
	alarm(HANG_S);
	assert_int_equal(pthread_create(&thread, NULL, worker, &stall), 0);
	pthread_mutex_lock(&stall.lock);
	while (!stall.stalled && !stall.ended)
		pthread_cond_wait(&stall.changed, &stall.lock);
	pthread_mutex_unlock(&stall.lock);
	meanwhile(stall.store);
	pthread_mutex_lock(&stall.lock);
	assert_true(at == 0 || stall.stalled);
	stall.go = true;
	pthread_cond_broadcast(&stall.changed);
	pthread_mutex_unlock(&stall.lock);
	pthread_join(thread, NULL);
	read_everything(stall.store);
	pfs_sim_on_step(stall.sim, NULL, NULL);
	assert_int_equal(pfs_store_close(stall.store), 0);
	pfs_sim_free(stall.sim);
	pthread_cond_destroy(&stall.changed);
	pthread_mutex_destroy(&stall.lock);
	alarm(0);
	return stall.seen;
}

/* Proves (G8): at whichever operation on its files a writer, a commit or a checkpoint is held up by
 * the disk, lookups, attributes, reads, listings and statistics are answered. */
static void readers_go_on(void **state)
{
	uint64_t steps = run(0, work_of_all_kinds, read_everything, NULL);

	(void)state;
	assert_true(steps > 50);
	for (uint64_t at = 1; at <= steps; at++)
		run(at, work_of_all_kinds, read_everything, NULL);
	print_message("%llu operations stalled\n", (unsigned long long)steps);
}

/* What a checkpoint and a sync do to files outside of the lock that writers share: all syncs, and
 * all writes to pages. What they write to the journal is like another writer's record, and the sync
 * of a new segment's header (W8) belongs to the record that it is begun for. */
static bool is_unlocked(const struct pfs_sim_step *s)
{
	bool begun = begins;

	begins = false;
	if (s->kind == PFS_SIM_WRITE && strncmp(s->name, "journal-", 8) == 0 && s->off == 0) {
		begins = strcmp(s->name, active) != 0;
		snprintf(active, sizeof(active), "%s", s->name);
		return false;
	}
	if (begun && s->kind == PFS_SIM_SYNC) {
		begins = true; /* for the sync of its name */
		return false;
	}
	return (s->kind == PFS_SIM_SYNC_DIR && !begun) || s->kind == PFS_SIM_SYNC ||
	       (s->kind == PFS_SIM_WRITE && strncmp(s->name, "page-", 5) == 0);
}

/* Proves (G8): while a sync, or a checkpoint's writing and syncing of pages and journal, is held up
 * by the disk, changes of every kind are made. */
static void writers_go_on(void **state)
{
	uint64_t steps = run(0, checkpoints_and_syncs, write_everything, is_unlocked);

	(void)state;
	assert_true(steps > 8);
	for (uint64_t at = 1; at <= steps; at++)
		run(at, checkpoints_and_syncs, write_everything, is_unlocked);
	print_message("%llu operations stalled\n", (unsigned long long)steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_go_on),
		cmocka_unit_test(writers_go_on),
	};

	signal(SIGALRM, on_alarm);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
