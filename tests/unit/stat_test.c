/* storage/store_stat.c: numbers of a store whose commit lock somebody holds for long, and of its
 * pages. The waits of the program for a mutex until a time go through this file, and so does the
 * time. The file is included. */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "storage/store_compact.h"
#include "storage/store_internal.h"
#include "tests/unit/fenced.h"

#include "storage/store_stat.c"
#undef malloc
#undef calloc
#undef realloc
#undef free

#include "tests/unit/store_helpers.h"

static pthread_mutex_t *busy; /* is not had in time */
static struct timespec until;

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *abstime)
{
	until = *abstime;
	return mutex == busy ? ETIMEDOUT : pthread_mutex_lock(mutex);
}

static const struct timespec *stopped; /* the time, where it stands still */

int clock_gettime(clockid_t id, struct timespec *t)
{
	if (!stopped)
		return (int)syscall(SYS_clock_gettime, id, t);
	*t = *stopped;
	return 0;
}

static int64_t now(void)
{
	struct timespec at;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &at), 0);
	return (int64_t)at.tv_sec * PFS_NSEC_PER_SEC + at.tv_nsec;
}

static void put(struct pfs_store *store, uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(store, &key, 100, number);
}

/* Proves (G8): who asks for numbers waits a moment for the commit lock, from now on and no longer,
 * and then gets those of the last time. */
static void numbers_of_the_last_time(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat stat;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	put(store, 1);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, 1);
	put(store, 2);
	busy = &store->commit;
	for (unsigned i = 0; i < 3; i++) {
		int64_t begun = now(), at;

		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.points, 1);
		at = (int64_t)until.tv_sec * PFS_NSEC_PER_SEC + until.tv_nsec;
		assert_true(until.tv_nsec >= 0 && until.tv_nsec < PFS_NSEC_PER_SEC);
		assert_true(at > begun && at <= now() + PFS_NSEC_PER_SEC);
	}
	busy = NULL;
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, 2);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: that moment are 20 ms, also over the end of a second. */
static void a_moment_ends_in_time(void **state)
{
	static const struct {
		struct timespec now, until;
	} cases[] = {
		{{100, 0}, {100, 20000000}},
		{{100, 979999999}, {100, 999999999}},
		{{100, 980000000}, {101, 0}},
		{{100, 999999999}, {101, 19999999}},
	};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat stat;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		stopped = &cases[i].now;
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(until.tv_sec, cases[i].until.tv_sec);
		assert_int_equal(until.tv_nsec, cases[i].until.tv_nsec);
	}
	stopped = NULL;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static int not_told(struct pfs_file *file, uint64_t *out)
{
	(void)file;
	*out = 0;
	return -EIO;
}

static int no_space_told(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	(void)out;
	return -EIO;
}

/* Proves: where the disk does not tell what it holds, there are no numbers at all; what goes by its
 * free room does without. */
static void disks_that_tell_nothing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_io_ops silent, no_space, *ops[] = {&silent, &no_space};
	const struct pfs_io_ops *usual;
	struct pfs_compact_result packed;
	struct pfs_store_stat stat;
	struct pfs_page_stat *pages;
	struct pfs_store *store;
	struct pfs_page *page;
	char text[8192];
	size_t count;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	for (unsigned i = 100; i > 0; i--)
		put(store, i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	usual = store->dir->ops;
	silent = no_space = *usual;
	silent.disk_usage = not_told;
	no_space.space = no_space_told;
	page = pfs_pager_find(store->pager, pfs_pager_next(store->pager, 0));
	for (size_t i = 0; i < pfs_array_len(ops); i++) {
		page->file->ops = ops[i];
		store->dir->ops = ops[i];
		memset(&stat, 7, sizeof(stat));
		assert_int_equal(pfs_store_stat(store, &stat), -EIO);
		assert_true(pfs_is_zero(&stat, sizeof(stat)));
	}
	/* As if there were none for a copy. */
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &packed), 0);
	page = pfs_pager_find(store->pager, pfs_pager_next(store->pager, 0));
	page->file->ops = &silent;
	assert_int_equal(pfs_store_pages(store, &pages, &count), -EIO);
	assert_true(pages == NULL && count == 0);
	page->file->ops = store->dir->ops = usual;
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, 100);
	/* Without room the length is told all the same. */
	memset(text, 'x', sizeof(text));
	assert_int_equal(pfs_store_stat_json(text, 10, &stat),
			 pfs_store_stat_json(text + 20, sizeof(text) - 20, &stat));
	assert_true(text[9] == '\0' && text[10] == 'x');
	assert_int_equal(pfs_store_stat_json(text + 20, sizeof(text) - 20, &stat),
			 strlen(text + 20));
	assert_memory_equal(text, text + 20, 9);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: a document that is put without a time gets that of now. */
static void times_are_now(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(7);
	struct pfs_store *store;
	struct pfs_attr attr;
	int64_t begun;
	uint32_t object;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	begun = now();
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, &attr), 0);
	assert_true(attr.mtime_ns >= begun && attr.mtime_ns <= now());
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static struct pfs_store *open_as(struct pfs_sim *sim, const struct pfs_defaults *defaults,
				 bool read_only)
{
	struct pfs_open_options options = {.manual = true,
					   .read_only = read_only,
					   .defaults = defaults,
					   .io = pfs_sim_io(sim),
					   .logger = quiet};
	struct pfs_store *store;
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return store;
}

/* Proves: the defaults of the first who gives some and may write are recorded, permissions alone,
 * and are those of everybody after him. */
static void the_first_defaults_stay(void **state)
{
	const struct pfs_defaults first = {.mode = 0100640, .uid = 7, .gid = 8};
	const struct pfs_defaults other = {.mode = 0600, .uid = 9, .gid = 10};
	const struct {
		const struct pfs_defaults *given;
		bool read_only, recorded;
		uint32_t mode, uid;
	} openings[] = {{&other, true, false, 0600, 9},
			{NULL, false, false, 0644, 0},
			{&first, false, true, 0640, 7},
			{&other, false, true, 0640, 7},
			{&other, true, true, 0640, 7}};
	struct pfs_sim *sim = pfs_sim_new();

	(void)state;
	create_store(sim, 0, 0);
	for (unsigned i = 0; i < pfs_array_len(openings); i++) {
		struct pfs_store *store = open_as(sim, openings[i].given, openings[i].read_only);
		struct pfs_store_stat stat;

		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.read_only, openings[i].read_only);
		assert_int_equal(stat.defaults_recorded, openings[i].recorded);
		assert_int_equal(stat.defaults.mode, openings[i].mode);
		assert_int_equal(stat.defaults.uid, openings[i].uid);
		assert_int_equal(stat.defaults.gid, openings[i].uid ? openings[i].uid + 1 : 0);
		assert_int_equal(pfs_store_close(store), 0);
	}
	pfs_sim_free(sim);
}

/* Proves: the identity is the superblock's, and what was packed without dictionary needs none. */
static void a_store_says_who_it_is(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat stat;
	struct pfs_super_disk disk;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	read_at(sim, PFS_SUPER_NAME, 0, &disk, sizeof(disk));
	store = open_store(sim);
	put(store, 1);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.identity[0], pfs_get_le64(disk.uuid));
	assert_int_equal(stat.identity[1], pfs_get_le64(disk.uuid + 8));
	assert_int_equal(stat.dictionaries, 0);
	assert_int_equal(stat.dictionary_users, 0);
	assert_false(stat.read_only);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static void expect_pages(struct pfs_store *store, size_t at_least)
{
	struct pfs_page_stat *pages;
	uint64_t slots = 0, used = 0, pinned = 0, live = 0, available = 0;
	struct pfs_store_stat stat;
	size_t count;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	assert_non_null(pages);
	assert_int_equal(count, stat.pages);
	assert_true(count >= at_least);
	for (size_t i = 0; i < count; i++) {
		const struct pfs_page *page = pfs_pager_find(store->pager, pages[i].number);
		struct pfs_page_space space;

		assert_true(i == 0 || pages[i].number > pages[i - 1].number);
		pfs_page_space(page, &space);
		assert_int_equal(pages[i].dead, pfs_page_dead(&space));
		assert_int_equal(pages[i].free, pfs_page_dead(&space) + space.ahead);
		assert_int_equal(pages[i].live + pages[i].pinned, pfs_page_live(&space));
		assert_int_equal(pages[i].slots, space.slots);
		used += pages[i].used;
		slots += pages[i].slots - pages[i].free_slots;
		pinned += pages[i].pinned;
		live += pages[i].live;
		available += pages[i].free;
	}
	assert_int_equal(used, stat.used_bytes);
	assert_int_equal(available, stat.free_bytes);
	assert_int_equal(pinned, stat.pinned_bytes);
	assert_int_equal(live, used + slots * PFS_SLOT_LEN - pinned);
	fenced_free(pages);
}

/* Proves: what each page holds is what all of them hold together: what is live, what is dead, and
 * what only a snapshot needs; there may be no page. Without memory for all nothing is told. */
static void pages_sum_up(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_snapshot *snapshot;
	struct pfs_page_stat *pages;
	struct pfs_store_stat stat;
	struct pfs_store *store;
	size_t count;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	assert_int_equal(pfs_store_sequence(store), 0);
	expect_pages(store, 0);
	for (unsigned i = 1; i <= 300; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_sequence(store), 300);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	expect_pages(store, 4);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	for (unsigned i = 1; i <= 300; i += 3) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_true(stat.pinned_bytes > 0);
	expect_pages(store, 4);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_true(stat.pinned_bytes == 0 && stat.dead_bytes > 0);
	expect_pages(store, 4);
	fenced_refuse(0);
	assert_int_equal(pfs_store_pages(store, &pages, &count), -ENOMEM);
	assert_true(!fenced_refuses && !pages && !count);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_the_last_time),
		cmocka_unit_test(a_moment_ends_in_time),
		cmocka_unit_test(disks_that_tell_nothing),
		cmocka_unit_test(times_are_now),
		cmocka_unit_test(the_first_defaults_stay),
		cmocka_unit_test(a_store_says_who_it_is),
		cmocka_unit_test(pages_sum_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
