/* storage/store_threads.c: what the threads of a store do, step by step. The file is included, and
 * their loops are run here: the time is what the test says, nothing is waited for, and what they
 * call only notes that it was called, which it must be without the lock that wakes them. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "storage/monotonic.h"
#include "storage/store_internal.h"
#include "storage/team.h"

static int64_t fake_now(void);
static struct timespec fake_in_ms(unsigned ms);
static int fake_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
			  const struct timespec *until);
static int note(const char *what, int result);
static int fake_create(pthread_t *thread, void *(*fn)(void *));
static int fake_join(pthread_t thread);
static unsigned fake_spares(void);

#define pfs_now_monotonic fake_now
#define pfs_monotonic_in_ms fake_in_ms
#define pthread_cond_timedwait fake_timedwait
#define pthread_create(thread, attr, fn, arg) fake_create(thread, fn)
#define pthread_join(thread, result) fake_join(thread)
#define pfs_store_tick(store) note("tick", 0)
#define pfs_journal_spares(journal) fake_spares()
#define pfs_journal_make_spare(journal, lock, arg) note("spare", fake.spare_err)
#define pfs_journal_has_failed(journal) fake.journal_failed
#define pfs_store_fail(store, what, err) note("fail", err)
#define pfs_training_run(store) (void)note("train", 0)
#define pfs_store_compact_step(store, eager) note("compact", fake.compact_left-- > 0)
#define pfs_checkpoint(store, force) note((force) ? "force" : "checkpoint", 0)
#define pfs_journal_trim_unlocked(journal, keep, lock, arg) ((void)(arg), note("trim", 0))

static struct {
	struct pfs_store *store;
	int64_t time;
	unsigned waits_left; /* then the store is stopping */
	unsigned ms;	     /* of the last wait */
	char text[1024];
	int spare_err;
	bool journal_failed;
	unsigned spares;
	int compact_left;
	int no_thread; /* the one of this number is not to be had */
	int threads;
	bool wants_meanwhile; /* a checkpoint, while it waits */
} fake;

#include "storage/store_threads.c"
#undef pthread_create
#undef pthread_join

#include "tests/unit/store_helpers.h"

static int64_t fake_now(void)
{
	return fake.time;
}

static struct timespec fake_in_ms(unsigned ms)
{
	fake.ms = ms;
	return (struct timespec){0};
}

static void say(const char *what)
{
	size_t len = strlen(fake.text);

	assert_true(len + strlen(what) + 2 < sizeof(fake.text));
	snprintf(fake.text + len, sizeof(fake.text) - len, "%s%s", len ? " " : "", what);
}

/* It may be had, so that nobody here has it. */
static void need_no_lock(void)
{
	assert_int_equal(pthread_mutex_trylock(&fake.store->wake_lock), 0);
	pthread_mutex_unlock(&fake.store->wake_lock);
}

static int fake_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
			  const struct timespec *until)
{
	char text[32];

	(void)until;
	assert_ptr_equal(cond, &fake.store->wake);
	assert_ptr_equal(mutex, &fake.store->wake_lock);
	assert_int_equal(pthread_mutex_trylock(mutex), EBUSY);
	snprintf(text, sizeof(text), "%ums", fake.ms);
	say(text);
	fake.time += (int64_t)fake.ms * 1000000;
	fake.store->stopping = fake.waits_left-- <= 1;
	if (fake.wants_meanwhile)
		fake.store->checkpoint_wanted = true;
	return 0;
}

static int note(const char *what, int result)
{
	need_no_lock();
	say(what);
	if (strcmp(what, "spare") == 0 && !result)
		fake.spares++;
	return result;
}

static unsigned fake_spares(void)
{
	return fake.spares;
}

static int fake_create(pthread_t *thread, void *(*fn)(void *))
{
	assert_true(fn == committer || fn == writer);
	if (fake.threads + 1 == fake.no_thread)
		return EAGAIN;
	*thread = (pthread_t)++fake.threads;
	return 0;
}

static int fake_join(pthread_t thread)
{
	need_no_lock();
	assert_true(fake.store->stopping);
	say(thread == (pthread_t)1 ? "join1" : "join2");
	return 0;
}

static void begin(void)
{
	struct pfs_store *store = calloc(1, sizeof(*store));

	memset(&fake, 0, sizeof(fake));
	fake.store = store;
	fake.time = 1000;
	fake.spares = PFS_SPARES_MADE;
	store->commit_ms = 100;
	pthread_mutex_init(&store->wake_lock, NULL);
	pthread_mutex_init(&store->commit, NULL);
	pthread_cond_init(&store->wake, NULL);
	pfs_list_init(&store->pending);
	pfs_list_init(&store->staged);
	pfs_list_init(&store->batch);
}

static void end(void)
{
	pthread_cond_destroy(&fake.store->wake);
	pthread_mutex_destroy(&fake.store->commit);
	pthread_mutex_destroy(&fake.store->wake_lock);
	free(fake.store);
}

static void expect_done(void *(*loop)(void *), unsigned waits, const char *text)
{
	fake.waits_left = waits;
	fake.text[0] = '\0';
	fake.store->stopping = false;
	assert_null(loop(fake.store));
	assert_string_equal(fake.text, text);
	need_no_lock();
}

/* Proves: a tick comes at once, and one each time that the interval has passed, to the
 * millisecond, however long it is; none when the store is stopping. */
static void ticks_come_at_intervals(void **state)
{
	(void)state;
	begin();
	expect_done(committer, 3, "tick 101ms tick 101ms tick 101ms");
	assert_int_equal(fake.time, 1000 + 303000000);
	fake.store->commit_ms = 3000000;
	expect_done(committer, 2, "tick 3000001ms tick 3000001ms");
	fake.store->stopping = true;
	fake.text[0] = '\0';
	assert_null(committer(fake.store));
	assert_string_equal(fake.text, "");
	end();
}

/* Proves: spare segments are made before anything else until there are enough of them, or none is
 * to be had; a journal that has failed meanwhile is the store's failure. */
static void spares_are_made_first(void **state)
{
	(void)state;
	begin();
	fake.spares = PFS_SPARES_MADE - 2;
	fake.store->spares_wanted = true;
	expect_done(committer, 1, "spare spare tick 101ms");
	assert_false(fake.store->spares_wanted);
	fake.spares = 0;
	fake.spare_err = -ENOSPC;
	fake.store->spares_wanted = true;
	expect_done(committer, 1, "spare tick 101ms");
	fake.journal_failed = true;
	fake.store->spares_wanted = true;
	expect_done(committer, 1, "spare fail tick 101ms");
	end();
}

/* Proves: the writer trains when that is wanted, and compacts; it makes a checkpoint when one is
 * wanted, by force if so, or when something has been waiting for long, and then gives back what was
 * kept; else it waits for a second. */
static void the_writer_does_what_is_wanted(void **state)
{
	struct pfs_list item;

	(void)state;
	begin();
	expect_done(writer, 2, "compact 1000ms compact 1000ms");
	fake.store->train_wanted = true;
	fake.compact_left = 2;
	expect_done(writer, 1, "train compact compact compact 1000ms");
	assert_false(fake.store->train_wanted);
	fake.store->checkpoint_wanted = true;
	expect_done(writer, 1, "compact checkpoint compact 1000ms");
	assert_int_equal(fake.store->checkpoints_done, 1);
	fake.store->checkpoint_wanted = fake.store->force_wanted = true;
	expect_done(writer, 1, "compact force compact 1000ms");
	assert_false(fake.store->checkpoint_wanted || fake.store->force_wanted);
	fake.wants_meanwhile = true;
	expect_done(writer, 2, "compact 1000ms checkpoint compact 1000ms");
	fake.wants_meanwhile = fake.store->checkpoint_wanted = false;
	pfs_list_append(&fake.store->pending, &item);
	fake.store->changed_ns = fake.time;
	expect_done(writer, 7,
		    "compact 1000ms compact 1000ms compact 1000ms compact 1000ms compact 1000ms "
		    "compact 1000ms checkpoint trim compact 1000ms");
	pfs_list_remove(&item);
	/* A checkpoint that is wanted waits for so many steps and no more. */
	fake.store->checkpoint_wanted = true;
	fake.compact_left = 1000;
	fake.text[0] = '\0';
	fake.store->stopping = false;
	compact(fake.store);
	assert_int_equal(1000 - fake.compact_left, COMPACT_STEPS_BETWEEN);
	fake.store->stopping = true;
	compact(fake.store);
	assert_int_equal(1000 - fake.compact_left, COMPACT_STEPS_BETWEEN + 1);
	end();
}

/* Proves: both threads are started, or none; both are waited for, without the lock that they need
 * to end. */
static void both_threads_or_none(void **state)
{
	(void)state;
	for (int no = 0; no <= 2; no++) {
		begin();
		fake.no_thread = no;
		assert_int_equal(pfs_threads_start(fake.store), no ? -EAGAIN : 0);
		assert_string_equal(fake.text, no == 2 ? "join1" : "");
		assert_int_equal(fake.store->threads_running, no == 0);
		need_no_lock();
		fake.text[0] = '\0';
		pfs_threads_stop(fake.store);
		assert_int_equal(strlen(fake.text), no ? 0 : strlen("join1 join2"));
		assert_true(no || (strstr(fake.text, "join1") && strstr(fake.text, "join2")));
		assert_false(fake.store->threads_running);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ticks_come_at_intervals),
		cmocka_unit_test(spares_are_made_first),
		cmocka_unit_test(the_writer_does_what_is_wanted),
		cmocka_unit_test(both_threads_or_none),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
