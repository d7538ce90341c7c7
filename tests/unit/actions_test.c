/* fs/actions.c: what is begun, refused, ended and told. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "tests/unit/refused_calls.h"

/* Says when somebody finds one at work. */
static sem_t found_busy;

static int note_busy(pthread_mutex_t *mutex)
{
	int err = pthread_mutex_trylock(mutex);

	if (err)
		sem_post(&found_busy);
	return err;
}

#define calloc get_or_fail
#define pthread_mutex_trylock note_busy
#define pfs_store_compact fake_compact
#define pfs_train fake_train
#define pfs_sync fake_sync
#include "fs/actions.c"
#undef calloc

/* The store's side: every call says that it has begun, waits until it may end, or is told to stop,
 * and returns what it is to. */
static struct {
	sem_t begun, let_go;
	int result;
	struct pfs_compact_result compact;
	_Atomic unsigned calls;
} fake;

static int call(const bool *stop)
{
	fake.calls++;
	sem_post(&fake.begun);
	while (sem_trywait(&fake.let_go) != 0)
		if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
			return -ECANCELED;
	return fake.result;
}

int fake_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg, const bool *stop,
		 struct pfs_compact_result *result)
{
	(void)store;
	progress(arg, 10, 100);
	*result = fake.compact;
	return call(stop);
}

int fake_train(struct pfs_store *store, bool force, struct pfs_train_result *result)
{
	(void)store;
	assert_false(force);
	*result = (struct pfs_train_result){
		.number = 7, .length = 8, .samples = 9, .packed = 10, .before = 20, .raw = 30};
	return call(NULL);
}

int fake_sync(struct pfs_store *store)
{
	(void)store;
	return call(NULL);
}

static unsigned logged;
static char last_line[256];

static void count_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_WARNING);
	snprintf(last_line, sizeof(last_line), "%s", line);
	logged++;
}

static struct pfs_actions *actions;

static int setup(void **state)
{
	static const struct pfs_logger logger = {.fn = count_line};

	(void)state;
	sem_init(&found_busy, 0, 0);
	sem_init(&fake.begun, 0, 0);
	sem_init(&fake.let_go, 0, 0);
	fake.result = 0;
	fake.compact = (struct pfs_compact_result){.values = 1,
						   .bytes = 2,
						   .pages_before = 4,
						   .pages_after = 3,
						   .disk_before = 6,
						   .disk_after = 5};
	fake.calls = logged = 0;
	return pfs_actions_new(&actions, NULL, &logger);
}

static int teardown(void **state)
{
	(void)state;
	pfs_actions_free(actions);
	sem_destroy(&fake.let_go);
	sem_destroy(&fake.begun);
	sem_destroy(&found_busy);
	return 0;
}

/* An action on a thread of its own. */
struct asked {
	pthread_t thread;
	enum pfs_action action;
	bool unwanted;
	int err;
};

static void *do_it(void *arg)
{
	struct asked *a = arg;

	a->err = pfs_action_do(actions, a->action, &a->unwanted);
	return NULL;
}

static void ask(struct asked *a, enum pfs_action action)
{
	*a = (struct asked){.action = action};
	assert_int_equal(pthread_create(&a->thread, NULL, do_it, a), 0);
}

static int answer(struct asked *a)
{
	assert_int_equal(pthread_join(a->thread, NULL), 0);
	return a->err;
}

static int do_now(enum pfs_action action, int result)
{
	struct asked a;

	fake.result = result;
	sem_post(&fake.let_go);
	ask(&a, action);
	sem_wait(&fake.begun);
	return answer(&a);
}

static const char *text_of(enum pfs_action action)
{
	static char text[PFS_ACTION_TEXT_MAX + 1];
	int64_t changed_ns;

	text[pfs_action_text(actions, action, text, &changed_ns)] = '\0';
	assert_true(changed_ns > 0);
	return text;
}

/* How the last one ended, without the time. */
static void assert_ended(enum pfs_action action, const char *wanted)
{
	const char *text = text_of(action);

	assert_memory_equal(text, "idle\n20", 7);
	assert_string_equal(strchr(text, 'Z') + 2, wanted);
}

/* Proves: each says what came of it; errors are logged, and that there is nothing to gain is none.
 */
static void each_says_what_came_of_it(void **state)
{
	(void)state;
	assert_string_equal(text_of(PFS_ACTION_SYNC), "idle\n");
	assert_int_equal(do_now(PFS_ACTION_SYNC, 0), 0);
	assert_ended(PFS_ACTION_SYNC, "done: everything is durable\n");
	assert_int_equal(do_now(PFS_ACTION_COMPACT, 0), 0);
	assert_ended(PFS_ACTION_COMPACT, "done: moved 1 document (2 bytes); pages 4 -> 3, bytes on "
					 "disk 6 -> 5\n");
	assert_int_equal(do_now(PFS_ACTION_TRAIN, -EALREADY), 0);
	assert_ended(PFS_ACTION_TRAIN,
		     "done: nothing to do: a new dictionary would be no better\n");
	assert_int_equal(logged, 0);
	assert_int_equal(do_now(PFS_ACTION_TRAIN, 0), 0);
	assert_ended(
		PFS_ACTION_TRAIN,
		"done: dictionary 7 of 8 bytes from 9 points; others take 10 bytes with it, 20 "
		"before, 30 as they are\n");
	assert_int_equal(logged, 0);
	assert_int_equal(do_now(PFS_ACTION_TRAIN, -EPERM), -EPERM);
	assert_ended(PFS_ACTION_TRAIN, "failed: dictionaries are off (dict=off)\n");
	assert_int_equal(do_now(PFS_ACTION_SYNC, -EROFS), -EROFS);
	assert_ended(PFS_ACTION_SYNC, "failed: Read-only file system\n");
	assert_int_equal(do_now(PFS_ACTION_TRAIN, -EOPNOTSUPP), -EOPNOTSUPP);
	assert_ended(PFS_ACTION_TRAIN, "failed: " PFS_WITHOUT_TRAINER "\n");
	assert_int_equal(logged, 3);
}

/* Proves: a compaction says what it has moved and gained, in singular and plural, or that there was
 * nothing. */
static void compactions_say_what_they_did(void **state)
{
	static const struct {
		struct pfs_compact_result result;
		const char *text;
	} cases[] = {
		{{1, 1, 4, 3, 6, 5},
		 "done: moved 1 document (1 byte); pages 4 -> 3, bytes on disk 6 -> 5\n"},
		{{2, 20, 3, 3, 6, 6},
		 "done: moved 2 documents (20 bytes); pages 3 -> 3, bytes on disk 6 -> 6\n"},
		{{0, 0, 4, 3, 6, 5},
		 "done: moved 0 documents (0 bytes); pages 4 -> 3, bytes on disk 6 -> 5\n"},
		{{0, 0, 3, 3, 6, 5}, "done: nothing to compact: 3 pages, bytes on disk 5\n"},
		{{0, 0, 1, 1, 6, 5}, "done: nothing to compact: 1 page, bytes on disk 5\n"},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		fake.compact = cases[i].result;
		assert_int_equal(do_now(PFS_ACTION_COMPACT, 0), 0);
		assert_ended(PFS_ACTION_COMPACT, cases[i].text);
	}
	assert_int_equal(do_now(PFS_ACTION_COMPACT, -ENOSPC), -ENOSPC);
	assert_ended(PFS_ACTION_COMPACT, "failed: No space left on device\n");
	assert_string_equal(last_line, ".payloadfs/compact: No space left on device");
	assert_int_equal(do_now(PFS_ACTION_TRAIN, -ENODATA), -ENODATA);
	assert_ended(PFS_ACTION_TRAIN, "failed: too few points, or they have too little in common "
				       "for a dictionary\n");
	assert_string_equal(last_line, ".payloadfs/train: too few points, or they have too little "
				       "in common for a dictionary");
	assert_int_equal(do_now(PFS_ACTION_SYNC, -EIO), -EIO);
	assert_string_equal(last_line, ".payloadfs/sync: Input/output error");
	assert_int_equal(logged, 3);
}

/* Proves: when it ended is told, in UTC, and when anything was changed. */
static void times_are_told(void **state)
{
	char text[PFS_ACTION_TEXT_MAX + 1];
	int64_t made_ns, before, changed_ns;
	struct asked a;
	struct tm tm;
	char *rest;

	(void)state;
	before = pfs_realtime_ns();
	pfs_action_text(actions, PFS_ACTION_SYNC, text, &made_ns);
	assert_true(made_ns <= before && made_ns > before - 60 * PFS_NSEC_PER_SEC);
	ask(&a, PFS_ACTION_SYNC);
	sem_wait(&fake.begun);
	assert_int_equal(pfs_action_text(actions, PFS_ACTION_SYNC, text, &changed_ns), 8);
	assert_true(changed_ns >= before && changed_ns <= pfs_realtime_ns());
	before = pfs_realtime_ns();
	sem_post(&fake.let_go);
	assert_int_equal(answer(&a), 0);
	text[pfs_action_text(actions, PFS_ACTION_SYNC, text, &changed_ns)] = '\0';
	assert_true(changed_ns >= before && changed_ns <= pfs_realtime_ns());
	memset(&tm, 0, sizeof(tm));
	rest = strptime(text, "idle\n%Y-%m-%dT%H:%M:%SZ", &tm);
	assert_non_null(rest);
	assert_string_equal(rest, " done: everything is durable\n");
	assert_in_range(timegm(&tm), before / PFS_NSEC_PER_SEC,
			pfs_realtime_ns() / PFS_NSEC_PER_SEC);
	pfs_action_text(actions, PFS_ACTION_TRAIN, text, &changed_ns);
	assert_true(changed_ns < before); /* each has its own */
}

/* Proves: while one compacts another one is refused at once, also one that the store refuses; other
 * actions go on, and a second of them waits its turn. */
static void one_of_each_at_a_time(void **state)
{
	struct asked first, sync1, sync2;
	bool unwanted = false;

	(void)state;
	ask(&first, PFS_ACTION_COMPACT);
	sem_wait(&fake.begun);
	assert_string_equal(text_of(PFS_ACTION_COMPACT), "running: 10 of 100 bytes\n");
	assert_int_equal(pfs_action_do(actions, PFS_ACTION_COMPACT, &unwanted), -EBUSY);
	assert_string_equal(text_of(PFS_ACTION_COMPACT), "running: 10 of 100 bytes\n");
	ask(&sync1, PFS_ACTION_SYNC);
	sem_wait(&fake.begun);
	sem_wait(&found_busy); /* by the second compaction */
	ask(&sync2, PFS_ACTION_SYNC);
	sem_wait(&found_busy);
	assert_string_equal(text_of(PFS_ACTION_SYNC), "running\n");
	assert_int_equal(fake.calls, 2);
	for (int i = 0; i < 3; i++)
		sem_post(&fake.let_go);
	assert_int_equal(answer(&first), 0);
	assert_int_equal(answer(&sync1), 0);
	assert_int_equal(answer(&sync2), 0);
	assert_int_equal(fake.calls, 3);
	assert_int_equal(do_now(PFS_ACTION_COMPACT, -EBUSY), -EBUSY);
	assert_ended(PFS_ACTION_COMPACT, "failed: another compaction is at work\n");
}

/* Proves: what is not wanted any more does not begin, and a compaction ends. */
static void unwanted_actions(void **state)
{
	struct asked a;
	bool unwanted = true;

	(void)state;
	assert_int_equal(pfs_action_do(actions, PFS_ACTION_SYNC, &unwanted), -EINTR);
	assert_int_equal(fake.calls, 0);
	ask(&a, PFS_ACTION_COMPACT);
	sem_wait(&fake.begun);
	__atomic_store_n(&a.unwanted, true, __ATOMIC_RELAXED);
	assert_int_equal(answer(&a), -EINTR);
	assert_ended(PFS_ACTION_COMPACT, "failed: Interrupted system call\n");
	assert_int_equal(logged, 0);
}

/* Proves: the end of the mount ends a compaction, and nothing begins after it. */
static void the_end_of_the_mount(void **state)
{
	struct asked a;
	bool unwanted = false;

	(void)state;
	ask(&a, PFS_ACTION_COMPACT);
	sem_wait(&fake.begun);
	pfs_actions_stop(actions);
	assert_int_equal(answer(&a), -EINTR);
	assert_int_equal(pfs_action_do(actions, PFS_ACTION_TRAIN, &unwanted), -EINTR);
	assert_int_equal(fake.calls, 1);
}

/* Proves: how far the last one came is not told of the next; and without memory there are none. */
static void each_begins_anew(void **state)
{
	static const struct pfs_logger none;
	struct pfs_actions *others = actions;
	struct asked a;

	(void)state;
	assert_int_equal(do_now(PFS_ACTION_SYNC, 0), 0);
	ask(&a, PFS_ACTION_SYNC);
	sem_wait(&fake.begun);
	assert_memory_equal(text_of(PFS_ACTION_SYNC), "running\n20", strlen("running\n20"));
	sem_post(&fake.let_go);
	assert_int_equal(answer(&a), 0);
	no_memory = true;
	assert_int_equal(pfs_actions_new(&others, NULL, &none), -ENOMEM);
	no_memory = false;
	assert_null(others);
	pfs_actions_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_says_what_came_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(compactions_say_what_they_did, setup, teardown),
		cmocka_unit_test_setup_teardown(times_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(one_of_each_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(each_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(unwanted_actions, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_mount, setup, teardown),
	};

	return cmocka_run_group_tests_name("actions", tests, NULL, NULL);
}
