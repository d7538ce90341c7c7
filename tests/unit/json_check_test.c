/* json=check: what is looked at and when, what is told once, what its bounds leave out is found by
 * going through the store; and the set that it remembers points in, against a plain table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "fs/thread.h"
#include "storage/monotonic.h"
#include "tests/unit/store_helpers.h"

#include "tests/unit/fenced.h"

/* The time that is told instead of the true one, unless 0, and by how much it goes on with every
 * look at it. */
static _Atomic int64_t clock_ns, clock_step;

static int64_t told_now(void)
{
	int64_t step = clock_step;

	return clock_ns ? atomic_fetch_add(&clock_ns, step) + step : pfs_now_monotonic();
}

/* What the store says of a document besides what it is, and of its names. */
static struct {
	uint64_t id;
	int err;
	unsigned times; /* then it is well again; 0: it stays so */
	unsigned calls;
} gets, lists;

static int get_or_fail(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
		       struct pfs_attr *attr)
{
	int err = 0;
	void *whole;

	gets.calls++;
	*data = NULL;
	if (key->num == gets.id)
		err = gets.err;
	if (err && gets.times && --gets.times == 0)
		gets.err = 0;
	if (!err)
		err = pfs_get(store, key, &whole, len, attr);
	if (err)
		return err;
	*data = fenced_instead(whole, *len);
	return *data ? 0 : -ENOMEM;
}

static ssize_t list_or_fail(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
			    size_t max)
{
	lists.calls++;
	return lists.err ? lists.err : pfs_list(store, after, out, max);
}

/* What the thread waits for is told by the test, if it is `told`. */
static struct {
	bool told;
	sem_t idle, ticking; /* posted when it has nothing to do; before the next tick */
	struct timespec until;
} waits;

static int wait_as_told(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	if (waits.told)
		sem_post(&waits.idle);
	return pthread_cond_wait(cond, lock);
}

/* A tick comes with the next signal. */
static int tick_as_told(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	if (!waits.told)
		return pthread_cond_timedwait(cond, lock, until);
	waits.until = *until;
	sem_post(&waits.ticking);
	pthread_cond_wait(cond, lock);
	return ETIMEDOUT;
}

static bool no_threads; /* there are none to be had */

/* The daemon's objects are not in the library. */
#define pthread_cond_wait(cond, lock) wait_as_told(cond, lock)
#define pthread_cond_timedwait(cond, lock, until) tick_as_told(cond, lock, until)
#define pfs_thread_start(thread, fn, arg) (no_threads ? -EAGAIN : pfs_thread_start(thread, fn, arg))
#define pfs_now_monotonic() told_now()
#define pfs_get get_or_fail
#define pfs_list list_or_fail
#include "fs/json_check.c"
#undef pfs_list
#undef pfs_get
#define place_of place_in_set
#include "fs/point_set.c"
#undef place_of
#undef pfs_thread_start
#undef pthread_cond_timedwait
#undef pthread_cond_wait
#undef free
#undef realloc
#undef calloc
#undef malloc

#define SECOND PFS_NSEC_PER_SEC
#define LINES_MAX 64

struct fixture {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_json_check *check;
	int64_t now; /* what the steps are told, always ahead of the notes */
	struct pfs_logger logger;
	pthread_mutex_t lock;
	size_t lines; /* under lock */
	char text[LINES_MAX][PFS_LOG_LINE_MAX];
};

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct fixture *f = arg;

	pthread_mutex_lock(&f->lock);
	if (level == PFS_LOG_WARNING || level == PFS_LOG_INFO) {
		assert_true(f->lines < LINES_MAX);
		snprintf(f->text[f->lines++], PFS_LOG_LINE_MAX, "%s", line);
	}
	pthread_mutex_unlock(&f->lock);
}

static int setup(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	f->logger = (struct pfs_logger){.fn = keep_line, .arg = f};
	pthread_mutex_init(&f->lock, NULL);
	clock_ns = clock_step = 0;
	memset(&gets, 0, sizeof(gets));
	memset(&lists, 0, sizeof(lists));
	waits.told = no_threads = false;
	f->sim = pfs_sim_new();
	create_store(f->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(f->sim);
	assert_int_equal(pfs_store_open(&f->store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_json_check_new(&f->check, f->store, &f->logger), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pfs_json_check_stop(f->check);
	pfs_json_check_free(f->check);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_store_close(f->store), 0);
	pfs_sim_free(f->sim);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *name, const char *text)
{
	struct pfs_key key = key_named(name);

	assert_int_equal(pfs_put(f->store, &key, text, strlen(text), NULL, 0, NULL), 0);
}

/* A document, and its note. */
static void change(struct fixture *f, const char *name, const char *text)
{
	struct pfs_key key = key_named(name);

	put(f, name, text);
	pfs_json_check_note(f->check, &key);
}

/* All that is to be done so long after the last note. */
static struct pfs_json_stat look(struct fixture *f, int64_t after_ns)
{
	struct pfs_json_stat stat;

	f->now = pfs_now_monotonic() + after_ns;
	while (pfs_json_check_step(f->check, f->now))
		;
	pfs_json_check_stat(f->check, &stat);
	return stat;
}

static bool logged(struct fixture *f, const char *line)
{
	for (size_t i = 0; i < f->lines; i++)
		if (strcmp(f->text[i], line) == 0)
			return true;
	return false;
}

/* ---- the check ---- */

static void a_change_is_told_once_with_place_and_reason(void **state)
{
	struct fixture *f = *state;
	struct pfs_json_stat stat;
	struct pfs_key last;

	change(f, "1", "{\"a\":\n [1,\r\n2]}\n");
	change(f, "2", "{\"a\":1} x");
	change(f, "c0ffee00-0000-4000-8000-000000000001", "{\"a\":");
	change(f, "4", "");
	change(f, "5", " \n");
	change(f, ".scratch", "{");
	put(f, "6", "{"); /* nobody has changed it */
	assert_int_equal(f->check->pending.count, 5);
	stat = look(f, 3 * SECOND);
	assert_int_equal(stat.checked, 5);
	assert_int_equal(stat.invalid_seen, 4);
	assert_int_equal(stat.invalid, 4);
	assert_int_equal(f->lines, 4);
	assert_true(logged(f, "2: not valid JSON at byte 8: something follows the value"));
	assert_true(logged(f, "c0ffee00-0000-4000-8000-000000000001: not valid JSON at byte 5: it "
			      "ends before its value does"));
	assert_true(logged(f, "4: not valid JSON at byte 0: empty"));
	assert_true(logged(f, "5: not valid JSON at byte 2: nothing but white space"));
	stat = look(f, 300 * SECOND);
	assert_int_equal(stat.checked, 5);
	assert_int_equal(f->lines, 4);
	/* Changed once more, to the same: another line. */
	change(f, "2", "{\"a\":1} x");
	stat = look(f, 3 * SECOND);
	assert_int_equal(stat.invalid_seen, 5);
	assert_int_equal(stat.invalid, 4);
	assert_int_equal(f->lines, 5);
	last = key_named("2");
	assert_true(pfs_key_equal(&stat.last, &last));
	assert_int_equal(stat.last_off, 8);
	assert_string_equal(stat.last_why, "something follows the value");
}

static void one_that_was_changed_just_now_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct pfs_json_stat stat;

	change(f, "1", "{\"half\":");
	stat = look(f, 0);
	assert_int_equal(stat.checked, 0);
	stat = look(f, PFS_JSON_QUIET_NS - SECOND);
	assert_int_equal(stat.checked, 0);
	change(f, "1", "{\"half\":2}");
	stat = look(f, PFS_JSON_QUIET_NS + SECOND);
	assert_int_equal(stat.checked, 1);
	assert_int_equal(stat.invalid_seen, 0);
	assert_int_equal(f->lines, 0);
}

static void what_is_mended_or_removed_counts_no_more(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = key_named("2");
	struct pfs_json_stat stat;
	uint32_t object;

	change(f, "1", "{");
	change(f, "2", "{");
	change(f, "3", "{");
	assert_int_equal(look(f, 3 * SECOND).invalid, 3);
	change(f, "1", "{}");
	assert_int_equal(pfs_remove(f->store, &key, &object), 0);
	pfs_release(f->store, object);
	pfs_json_check_note(f->check, &key);
	stat = look(f, 3 * SECOND);
	assert_int_equal(stat.invalid, 1);
	assert_int_equal(stat.invalid_seen, 3);
	assert_int_equal(stat.checked, 4);
	assert_int_equal(f->lines, 3);
}

/* A result is dropped when the document was changed while it was looked at. */
static void a_change_during_the_look_waits_for_the_next(void **state)
{
	struct fixture *f = *state;
	struct look found;
	struct pfs_key key = key_named("1");

	put(f, "1", "{");
	assert_int_equal(look_at(f->check, &key, &found), 0);
	assert_non_null(found.why);
	change(f, "1", "{}");
	conclude(f->check, &found, true);
	assert_int_equal(look(f, 3 * SECOND).invalid_seen, 0);
	assert_int_equal(f->lines, 0);
}

static void many_lines_become_a_number(void **state)
{
	struct fixture *f = *state;
	struct pfs_json_stat stat;
	char name[32];

	look(f, 0); /* the window begins */
	for (int i = 1; i <= 100; i++) {
		snprintf(name, sizeof(name), "%d", i);
		change(f, name, "{]");
	}
	stat = look(f, 3 * SECOND);
	assert_int_equal(stat.invalid_seen, 100);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX);
	assert_true(has_work(f->check));
	look(f, PFS_JSON_LOG_WINDOW_NS + SECOND);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX + 1);
	assert_true(logged(f, "80 more payloads were found that are not valid JSON (`payloadctl "
			      "check --json-payloads` names them)"));
	assert_false(has_work(f->check));
	change(f, "1", "{]");
	look(f, PFS_JSON_LOG_WINDOW_NS + 3 * SECOND);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX + 2);
}

/* So many more than may be logged, in a window of their own. */
static void change_beyond_the_bound(struct fixture *f, unsigned more)
{
	f->lines = 0;
	look(f, f->now + 2 * PFS_JSON_LOG_WINDOW_NS);
	for (unsigned i = 0; i < PFS_JSON_LOGGED_MAX + more; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u", i);
		change(f, name, "{]");
	}
	look(f, f->now + 3 * SECOND);
	look(f, f->now + PFS_JSON_LOG_WINDOW_NS);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX + 1);
}

static void the_number_is_worded(void **state)
{
	struct fixture *f = *state;

	change_beyond_the_bound(f, 1);
	assert_true(logged(f, "1 more payload was found that is not valid JSON (`payloadctl check "
			      "--json-payloads` names them)"));
	change_beyond_the_bound(f, 2);
	assert_true(logged(f, "2 more payloads were found that are not valid JSON (`payloadctl "
			      "check --json-payloads` names them)"));
}

/* What is noted when the end comes is looked at, and what was left out of the log is told. */
static void the_end_looks_at_what_is_noted(void **state)
{
	struct fixture *f = *state;
	struct pfs_json_stat stat;

	change(f, "1", "{");
	change(f, "2", "{}");
	finish(f->check);
	pfs_json_check_stat(f->check, &stat);
	assert_int_equal(stat.checked, 2);
	assert_int_equal(stat.invalid, 1);
	assert_int_equal(f->lines, 1);
}

/* More changes than are remembered: those that were not are found all the same, each is told once,
 * and what had been told before is not repeated. */
static void beyond_its_bounds_the_store_is_gone_through(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = key_named("9");
	struct pfs_json_stat stat;
	uint32_t object;

	change(f, "6", "{\"one\":");
	change(f, "7", "{\"told\":");
	change(f, "8", "{\"mended\":");
	change(f, "9", "{\"removed\":");
	look(f, 3 * SECOND);
	assert_int_equal(f->lines, 4);
	put(f, "6", "{\"two\":"); /* which nobody has noted */
	f->check->pending.max = 4;
	/* 6 to 8 and 10 to 70 are listed in the first step: 71 begins the second. */
	for (int i = 10; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d", i);
		change(f, name, i == 11 || i == 71 || i == 222 || i == 299 ? "{\"broken\":" : "{}");
	}
	change(f, "8", "{}");
	assert_int_equal(pfs_remove(f->store, &key, &object), 0);
	pfs_release(f->store, object);
	pfs_json_check_note(f->check, &key);
	assert_true(f->check->overflowed);
	f->check->pending.max = PFS_JSON_PENDING_MAX;
	look(f, 3 * SECOND);
	stat = look(f, 6 * SECOND); /* what was noted by it has been quiet */
	assert_false(has_work(f->check));
	assert_int_equal(stat.invalid_seen, 9);
	assert_int_equal(stat.invalid, 6); /* 6, 7, 11, 71, 222, 299 */
	assert_int_equal(f->lines, 9);
	assert_true(logged(f, "222: not valid JSON at byte 10: it ends before its value does"));
	assert_true(logged(f, "299: not valid JSON at byte 10: it ends before its value does"));
}

/* The thread, with changes from several others while it looks; at its end what is noted is looked
 * at. */
#define WRITERS 3
#define CHANGES 200

struct writer {
	struct fixture *f;
	int number;
};

static void *write_documents(void *arg)
{
	const struct writer *w = arg;
	struct pfs_json_stat stat;
	char name[32];

	for (int i = 0; i < CHANGES; i++) {
		snprintf(name, sizeof(name), "%d", 1000 * w->number + i);
		change(w->f, name, i == 7 ? "{" : "{}");
		pfs_json_check_stat(w->f->check, &stat);
	}
	return NULL;
}

static void the_thread_looks_at_all_before_it_ends(void **state)
{
	struct fixture *f = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	struct pfs_json_stat stat;

	assert_int_equal(pfs_json_check_start(f->check), 0);
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.f = f, .number = i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, write_documents, &writers[i]),
				 0);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	pfs_json_check_stop(f->check);
	pfs_json_check_stop(f->check);
	pfs_json_check_stat(f->check, &stat);
	/* However slow it was: each was looked at, or it is said of how many not. */
	if (f->check->pending.count == 0) {
		assert_int_equal(stat.invalid, WRITERS);
		assert_true(stat.checked >= WRITERS * CHANGES);
		assert_int_equal(f->lines, WRITERS);
	} else {
		assert_true(f->lines > 0);
		assert_non_null(strstr(f->text[f->lines - 1], "were not looked at"));
	}
}

/* ---- the set ---- */

#define IDS 500

static uint64_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

static struct pfs_key nth_key(unsigned n)
{
	struct pfs_key key = {.kind = PFS_KEY_UUID};

	/* Numbers that collide as the table grows, and UUIDs that differ in one byte. */
	if (n % 2)
		return pfs_key_num((uint64_t)n << (n % 50));
	key.uuid[n % 16] = (uint8_t)n;
	key.uuid[15] ^= (uint8_t)(n >> 8);
	key.uuid[0] ^= (uint8_t)(n % 16);
	key.uuid[1] ^= (uint8_t)(n / 7);
	key.uuid[2] ^= (uint8_t)(n / 2);
	key.uuid[3] ^= (uint8_t)(n / 512);
	return key;
}

static void the_set_holds_what_a_plain_table_does(void **state)
{
	struct pfs_point_set set = {.max = 300};
	struct pfs_key keys[IDS];
	int64_t want[IDS]; /* -1: not there */
	uint64_t seed = 1;
	size_t count = 0, cursor = 0;

	(void)state;
	for (unsigned i = 0; i < IDS; i++) {
		keys[i] = nth_key(i);
		want[i] = -1;
		for (unsigned j = 0; j < i; j++)
			assert_false(pfs_key_equal(&keys[i], &keys[j]));
	}
	for (unsigned round = 0; round < 50000; round++) {
		unsigned i = (unsigned)(random_next(&seed) % IDS), op = random_next(&seed) % 8;
		int64_t value = (int64_t)(random_next(&seed) % 1000);

		if (op < 5) {
			int err = pfs_point_set_put(&set, &keys[i], value);

			assert_int_equal(err, want[i] < 0 && count == 300 ? -ENOSPC : 0);
			count += !err && want[i] < 0;
			if (!err)
				want[i] = value;
		} else if (op < 7) {
			assert_int_equal(pfs_point_set_remove(&set, &keys[i]), want[i] >= 0);
			count -= want[i] >= 0;
			want[i] = -1;
		} else if (round % 64 == 0) {
			struct pfs_point_taken taken[16];
			size_t n = pfs_point_set_take(&set, &cursor, value, taken, 16), due = 0;

			for (unsigned j = 0; j < IDS; j++)
				due += want[j] >= 0 && want[j] <= value;
			assert_int_equal(n, due < 16 ? due : 16);
			for (size_t k = 0; k < n; k++)
				for (unsigned j = 0; j < IDS; j++)
					if (pfs_key_equal(&keys[j], &taken[k].key)) {
						assert_int_equal(want[j], taken[k].value);
						assert_true(want[j] <= value);
						want[j] = -1;
					}
			count -= n;
		}
		assert_int_equal(set.count, count);
		for (unsigned j = round % 7; j < IDS; j += 7) {
			int64_t *found = pfs_point_set_find(&set, &keys[j]);

			assert_int_equal(found ? *found : -1, want[j]);
		}
	}
	pfs_point_set_free(&set);
	assert_null(pfs_point_set_find(&set, &keys[0]));
}

static void a_copy_has_every_point_once(void **state)
{
	struct pfs_point_set set = {.max = 1000};
	struct pfs_key out[7];
	unsigned seen[IDS] = {0};
	size_t cursor = 0, n;

	(void)state;
	assert_int_equal(pfs_point_set_copy(&set, &cursor, out, 7), 0);
	for (unsigned i = 0; i < IDS; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_point_set_put(&set, &key, 0), 0);
	}
	while ((n = pfs_point_set_copy(&set, &cursor, out, 7)) > 0)
		for (size_t k = 0; k < n; k++)
			seen[out[k].num]++;
	for (unsigned i = 0; i < IDS; i++)
		assert_int_equal(seen[i], 1);
	pfs_point_set_free(&set);
}

/* Proves: what was found by going through the store and is not looked at yet when the end comes is
 * found at the next step, if there is one; scratch files are passed over. */
static void what_was_found_outlives_an_interrupted_step(void **state)
{
	struct fixture *f = *state;

	put(f, "1", "{");
	put(f, ".scratch", "{");
	f->check->overflowed = true;
	assert_int_equal(look(f, 3 * SECOND).checked, 0);
	assert_int_equal(f->check->pending.count, 1);
	f->check->stopping = true;
	assert_int_equal(look(f, 60 * SECOND).checked, 0);
	assert_int_equal(f->check->pending.count, 1);
	assert_false(f->check->overflowed);
	f->check->stopping = false;
	assert_int_equal(look(f, 120 * SECOND).invalid, 1);
	assert_int_equal(f->lines, 1);
}

/* ---- by the clock ---- */

/* From here on time stands still. */
static void stop_the_clock(void)
{
	clock_ns = 1000 * SECOND;
}

static struct pfs_json_stat stat_of(struct fixture *f)
{
	struct pfs_json_stat stat;

	pfs_json_check_stat(f->check, &stat);
	return stat;
}

static void change_nth(struct fixture *f, unsigned n, const char *text)
{
	char name[32];

	snprintf(name, sizeof(name), "%u", n);
	change(f, name, text);
}

/* Proves: a point is looked at as soon as it has not been changed for that long, and not a moment
 * before, however often it was changed. */
static void quiet_is_measured_exactly(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	change(f, "1", "{");
	clock_ns += SECOND;
	change(f, "1", "{]");
	assert_false(pfs_json_check_step(f->check, clock_ns + PFS_JSON_QUIET_NS - 1));
	assert_int_equal(stat_of(f).checked, 0);
	assert_int_equal(gets.calls, 0);
	assert_false(pfs_json_check_step(f->check, clock_ns + PFS_JSON_QUIET_NS));
	assert_int_equal(stat_of(f).checked, 1);
	assert_int_equal(f->lines, 1);
	assert_false(pfs_json_check_step(f->check, clock_ns + 60 * SECOND));
	assert_int_equal(gets.calls, 1);
	assert_int_equal(lists.calls, 0); /* the store is not gone through for that */
}

/* Proves: a step looks at so many points, and says when there may be more. */
static void steps_are_bounded(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	for (unsigned n = 0; n < 2 * BATCH + 1; n++)
		change_nth(f, n, n == 2 * BATCH ? "{" : "{}");
	clock_ns += PFS_JSON_QUIET_NS;
	for (unsigned i = 1; i <= 2; i++) {
		assert_true(pfs_json_check_step(f->check, clock_ns));
		assert_int_equal(stat_of(f).checked, i * BATCH);
	}
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).checked, 2 * BATCH + 1);
	assert_int_equal(stat_of(f).invalid, 1);
	assert_int_equal(stat_of(f).invalid_seen, 1);
}

/* Proves: what was left out of the log is told when its window has passed, to the nanosecond; the
 * next window has its own lines. */
static void windows_turn_on_time(void **state)
{
	struct fixture *f = *state;
	int64_t begun;

	stop_the_clock();
	begun = clock_ns;
	pfs_json_check_step(f->check, begun); /* a window begins */
	for (unsigned n = 0; n < PFS_JSON_LOGGED_MAX + 7; n++)
		change_nth(f, n, "{");
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX);
	pfs_json_check_step(f->check, begun + PFS_JSON_LOG_WINDOW_NS - 1);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX);
	pfs_json_check_step(f->check, begun + PFS_JSON_LOG_WINDOW_NS);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX + 1);
	assert_true(logged(f, "7 more payloads were found that are not valid JSON (`payloadctl "
			      "check --json-payloads` names them)"));
	f->lines = 0;
	for (unsigned n = 0; n < PFS_JSON_LOGGED_MAX; n++)
		change_nth(f, n, "{");
	clock_ns = begun + 2 * PFS_JSON_LOG_WINDOW_NS - 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX);
	pfs_json_check_step(f->check, begun + 10 * PFS_JSON_LOG_WINDOW_NS);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX);
}

/* Proves: the end looks at what is noted, whenever it was changed, for as long as it may, and says
 * of how many it has not; and what was left out of the log. */
static void the_end_is_in_time(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	for (unsigned n = 0; n < 100; n++)
		change_nth(f, n, n < PFS_JSON_LOGGED_MAX + 5 ? "{" : "{}");
	clock_step = 1;
	finish(f->check);
	assert_int_equal(stat_of(f).checked, 100);
	assert_int_equal(f->lines, PFS_JSON_LOGGED_MAX + 1);
	assert_memory_equal(f->text[PFS_JSON_LOGGED_MAX], "5 more payloads were ", 21);
	f->lines = 0;
	for (unsigned n = 0; n < 100; n++)
		change_nth(f, n, "{}");
	clock_step = SECOND / 50;
	finish(f->check);
	/* Looks at the clock: at the beginning, for the round, and before each point; that at which
	 * the last second is over is too late. */
	assert_int_equal(stat_of(f).checked, 100 + 48);
	assert_int_equal(f->check->pending.count, 200 - stat_of(f).checked);
	assert_int_equal(f->lines, 1);
	{
		char want[128];

		snprintf(want, sizeof(want), "json=check: %zu changed payloads were not looked at ",
			 f->check->pending.count);
		assert_memory_equal(f->text[0], want, strlen(want));
	}
	/* Those that were not even noted. */
	clock_step = 1;
	finish(f->check);
	assert_int_equal(f->lines, 1);
	f->check->overflowed = true;
	finish(f->check);
	assert_int_equal(f->lines, 2);
	assert_memory_equal(f->text[1], "json=check: more than 0 changed payloads were not ", 50);
}

/* Proves: a document for which there is no memory is looked at later, as what it was noted for; one
 * that can't be read counts as one that is not there. */
static void what_can_not_be_looked_at(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	change(f, "1", "{");
	change(f, "2", "{");
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).invalid, 2);
	change(f, "1", "{");
	gets.id = 1;
	gets.err = -ENOMEM;
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).checked, 2);
	assert_int_equal(f->check->pending.count, 1);
	gets.err = 0;
	assert_false(pfs_json_check_step(f->check, clock_ns)); /* as if it were changed now */
	assert_int_equal(stat_of(f).checked, 2);
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).checked, 3);
	assert_int_equal(stat_of(f).invalid_seen, 3);
	change(f, "1", "{");
	gets.err = -EIO;
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).checked, 3);
	assert_int_equal(stat_of(f).invalid, 1);
	assert_int_equal(f->check->pending.count, 0);
}

/* Proves: the store is gone through in bounded steps, from its beginning to its end, when a change
 * could not be noted, and not again; what is found is told when it has been quiet, unless it was
 * told with these bytes before. */
static void going_through_has_steps(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	for (unsigned n = 0; n < 2 * BATCH + 1; n++)
		change_nth(f, n, n == 5 ? "{" : "{}");
	clock_ns += PFS_JSON_QUIET_NS;
	while (pfs_json_check_step(f->check, clock_ns))
		;
	assert_int_equal(f->lines, 1);
	put(f, "6", "["); /* nobody has noted these two */
	put(f, "100", "{");
	f->check->pending.max = 0;
	change(f, "70", "{");
	f->check->pending.max = PFS_JSON_PENDING_MAX;
	gets.calls = 0;
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, BATCH);
	/* As many as are more than half full are looked at first. */
	f->check->pending.max = 10 * BATCH;
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, 2 * BATCH);
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, 2 * BATCH + 1);
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(lists.calls, 4);
	assert_int_equal(f->check->pending.count, 4); /* 5, 6, 70, 100 */
	assert_int_equal(f->lines, 1);
	clock_ns += PFS_JSON_QUIET_NS + 1; /* what was found counts as a moment later */
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(lists.calls, 4);
	assert_int_equal(f->lines, 4);
	assert_int_equal(stat_of(f).invalid, 4);
	assert_false(has_work(f->check));
}

/* Proves: where a listing can't be had the store has been gone through; where a document can't be
 * looked at it goes on with it. */
static void going_through_meets_errors(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	for (unsigned n = 0; n < 10; n++)
		put(f, (char[]){(char)('0' + n), '\0'}, n == 3 || n == 7 ? "{" : "{}");
	f->check->overflowed = true;
	lists.err = -EIO;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_false(has_work(f->check));
	lists.err = 0;
	f->check->overflowed = true;
	gets.id = 5;
	gets.err = -ENOMEM;
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, 6);
	gets.err = 0;
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, 6 + 5);
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->check->pending.count, 2);
}

/* Proves: a change that is noted is not made less by going through the store: to the same bytes, it
 * is told anew. */
static void a_change_outweighs_what_is_found(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	change(f, "1", "{");
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, 1);
	change(f, "1", "{");
	f->check->overflowed = true;
	while (pfs_json_check_step(f->check, clock_ns))
		;
	clock_ns += PFS_JSON_QUIET_NS + 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, 2);
	/* Found alone, it is not; and with other bytes it is. */
	f->check->overflowed = true;
	while (pfs_json_check_step(f->check, clock_ns))
		;
	clock_ns += PFS_JSON_QUIET_NS + 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, 2);
	put(f, "1", "[");
	f->check->overflowed = true;
	while (pfs_json_check_step(f->check, clock_ns))
		;
	clock_ns += PFS_JSON_QUIET_NS + 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(f->lines, 3);
}

/* Proves: what is found by going through the store is told once, also when there was no memory to
 * look at it the first time. */
static void what_was_told_is_not_told_again(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	change(f, "1", "{");
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	f->check->overflowed = true;
	while (pfs_json_check_step(f->check, clock_ns))
		;
	gets.id = 1;
	gets.err = -ENOMEM;
	clock_ns += PFS_JSON_QUIET_NS + 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	gets.err = 0;
	clock_ns += PFS_JSON_QUIET_NS + 1;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).checked, 2);
	assert_int_equal(f->lines, 1);
}

/* Proves: the store is not gone through while more than half of what can be remembered waits; and
 * one that has to be gone through once more meanwhile is first gone through to its end. */
static void going_through_waits_for_room(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	for (unsigned n = 0; n < 2 * BATCH; n++) {
		char name[32];

		snprintf(name, sizeof(name), "%u", n);
		put(f, name, "{}");
	}
	for (uint64_t id = 1; id < PFS_JSON_PENDING_MAX / 2; id++) {
		const struct pfs_key key = pfs_key_num(1000000 + id);

		pfs_json_check_note(f->check, &key);
	}
	f->check->overflowed = true;
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(lists.calls, 1);
	assert_int_equal(gets.calls, BATCH);
	change(f, "1", "{}");
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(lists.calls, 1);
	f->check->overflowed = true;
	pfs_point_set_remove(&f->check->pending, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 1});
	assert_true(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(gets.calls, 2 * BATCH);
	assert_false(pfs_json_check_step(f->check, clock_ns)); /* to its end */
	assert_int_equal(gets.calls, 2 * BATCH);
	assert_true(pfs_json_check_step(f->check, clock_ns)); /* once more */
	assert_int_equal(gets.calls, 3 * BATCH);
}

/* Proves: the fingerprints of payloads that differ in a byte, or a length, do so too; that of one
 * is of nothing but its bytes. */
static void fingerprints_tell_payloads_apart(void **state)
{
	static int64_t seen[4 * 256 + 8];
	uint8_t bytes[16];
	size_t count = 0;

	(void)state;
	memset(bytes, 'a', sizeof(bytes));
	for (size_t len = 0; len <= 7; len++)
		seen[count++] = fingerprint(bytes, len);
	for (size_t at = 0; at < 8; at += 2) {
		for (unsigned byte = 0; byte < 256; byte++) {
			bytes[at] = (uint8_t)byte;
			if (byte != 'a')
				seen[count++] = fingerprint(bytes, 8);
		}
		bytes[at] = 'a';
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(seen[i] != seen[k]);
	bytes[8] = 'b';
	seen[0] = fingerprint(bytes, 8);
	bytes[8] = 'c';
	assert_true(fingerprint(bytes, 8) == seen[0]);
}

/* Proves: of what is invalid so many are remembered, and all are told. */
static void invalid_ones_are_bounded(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	f->check->invalid.max = 3;
	for (unsigned n = 0; n < 5; n++)
		change_nth(f, n, "{");
	clock_ns += PFS_JSON_QUIET_NS;
	assert_false(pfs_json_check_step(f->check, clock_ns));
	assert_int_equal(stat_of(f).invalid, 3);
	assert_int_equal(stat_of(f).invalid_seen, 5);
	assert_int_equal(f->lines, 5);
	assert_int_equal(f->check->pending.count, 0);
}

/* Proves: the thread looks at what is noted when its time has come, sleeps when there is nothing,
 * and wakes up for the next. */
static void the_thread_looks_when_it_is_time(void **state)
{
	const struct timespec while_it_looks = {.tv_nsec = 1000000};
	struct fixture *f = *state;

	clock_ns = SECOND; /* long ago: it does not sleep in between */
	assert_int_equal(pfs_json_check_start(f->check), 0);
	for (unsigned n = 1; n <= 3; n++) {
		change_nth(f, n, "{");
		clock_ns += PFS_JSON_QUIET_NS;
		for (unsigned i = 0; stat_of(f).checked < n; i++) {
			assert_true(i < 60000);
			nanosleep(&while_it_looks, NULL);
		}
		assert_int_equal(stat_of(f).invalid, n);
	}
	pfs_json_check_stop(f->check);
	assert_int_equal(stat_of(f).checked, 3);
	assert_int_equal(f->lines, 3);
}

static void signal_thread(struct fixture *f)
{
	pthread_mutex_lock(&f->check->lock);
	pthread_cond_signal(&f->check->wake);
	pthread_mutex_unlock(&f->check->lock);
}

/* Proves: the thread waits for a note when there is nothing to do, else for a tick, which comes a
 * second later. */
static void the_thread_waits_for_what_it_should(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	sem_init(&waits.idle, 0, 0);
	sem_init(&waits.ticking, 0, 0);
	waits.told = true;
	assert_int_equal(pfs_json_check_start(f->check), 0);
	for (unsigned n = 1; n <= 2; n++) {
		sem_wait(&waits.idle);
		change_nth(f, n, "{");
		for (unsigned i = 0; i < 2; i++) {
			sem_wait(&waits.ticking);
			assert_int_equal(waits.until.tv_sec, clock_ns / SECOND + 1);
			assert_int_equal(waits.until.tv_nsec, clock_ns % SECOND);
			assert_int_equal(stat_of(f).checked, n - 1 + i);
			clock_ns += PFS_JSON_QUIET_NS + (int64_t)n * 5;
			signal_thread(f);
		}
	}
	sem_wait(&waits.idle);
	pfs_json_check_stop(f->check);
	sem_destroy(&waits.ticking);
	sem_destroy(&waits.idle);
}

/* Proves: without memory or a thread there is no check, and what was not started need not be
 * stopped. */
static void without_memory_or_threads(void **state)
{
	struct fixture *f = *state;
	struct pfs_json_check *check;

	fenced_refuse(0);
	assert_int_equal(pfs_json_check_new(&check, f->store, &f->logger), -ENOMEM);
	assert_null(check);
	pfs_json_check_stop(NULL);
	pfs_json_check_free(NULL);
	no_threads = true;
	assert_int_equal(pfs_json_check_start(f->check), -EAGAIN);
	pfs_json_check_stop(f->check);
	no_threads = false;
	assert_int_equal(pfs_json_check_start(f->check), 0);
}

/* Proves: where there is no memory to look at anything, nothing is looked at and nothing lost: a
 * step says that there is nothing to be done at once, and the end does not try for long. */
static void without_memory_nothing_is_looked_at(void **state)
{
	struct fixture *f = *state;
	int64_t begun;

	stop_the_clock();
	change(f, "1", "{");
	clock_step = SECOND / 1000;
	fenced_refuses_all = true;
	fenced_refuse(0);
	assert_false(pfs_json_check_step(f->check, clock_ns + PFS_JSON_QUIET_NS));
	begun = clock_ns;
	finish(f->check);
	fenced_refuses = fenced_refuses_all = false;
	assert_in_range(clock_ns - begun, 1, 10 * clock_step);
	assert_int_equal(stat_of(f).checked, 0);
	assert_int_equal(f->check->pending.count, 1);
	assert_int_equal(f->lines, 1);
	assert_memory_equal(f->text[0], "json=check: 1 changed payloads were not", 39);
}

/* Proves: a document for which there was no memory for a moment is looked at before the end. */
static void the_end_tries_again(void **state)
{
	struct fixture *f = *state;

	stop_the_clock();
	change(f, "1", "{");
	clock_step = SECOND / 1000;
	gets.id = 1;
	gets.err = -ENOMEM;
	gets.times = 1;
	finish(f->check);
	assert_int_equal(gets.calls, 2);
	assert_int_equal(stat_of(f).checked, 1);
	assert_int_equal(f->check->pending.count, 0);
	assert_int_equal(f->lines, 1);
}

/* Proves: all that are known to be invalid are noted when the store is gone through, wherever they
 * are remembered; one that is noted already keeps its time. */
static void all_invalid_ones_are_noted(void **state)
{
	struct fixture *f = *state;
	struct pfs_point_set *invalid = &f->check->invalid;
	struct pfs_key key;
	uint64_t n = 0;

	key = pfs_key_num(5);
	pfs_json_check_note(f->check, &key);
	do {
		key = pfs_key_num(n++);
		assert_int_equal(pfs_point_set_put(invalid, &key, 0), 0);
	} while (n < 2 * BATCH + 1 || invalid->entries[0].kind == PFS_KEY_NONE);
	nominate_invalid(f->check, 101);
	assert_int_equal(f->check->pending.count, n);
	for (uint64_t i = 0; i < n; i++) {
		int64_t *noted;

		key = pfs_key_num(i);
		noted = pfs_point_set_find(&f->check->pending, &key);
		assert_non_null(noted);
		assert_int_equal(*noted == 101, i != 5);
	}
	pfs_point_set_free(&f->check->pending);
	pfs_point_set_free(invalid);
}

/* Proves: when the end has come, no document more is looked at for going through the store. */
static void going_through_ends_with_the_thread(void **state)
{
	struct fixture *f = *state;

	put(f, "1", "{");
	put(f, "2", "{");
	f->check->stopping = true;
	go_through(f->check, 1);
	assert_int_equal(lists.calls, 1);
	assert_int_equal(gets.calls, 0);
	f->check->stopping = false;
}

/* Proves: the table of a set is at most half full and doubles; without memory for that the set is
 * as it was. */
static void a_set_is_half_full(void **state)
{
	struct pfs_point_set set = {.max = 1000};
	struct pfs_key key;

	(void)state;
	for (unsigned n = 0; n < 300; n++) {
		size_t cap = n < 32 ? 64 : n < 64 ? 128 : n < 128 ? 256 : n < 256 ? 512 : 1024;

		key = pfs_key_num(n);
		if (set.cap != cap) {
			fenced_refuse(0);
			assert_int_equal(pfs_point_set_put(&set, &key, n), -ENOMEM);
			assert_null(pfs_point_set_find(&set, &key));
			assert_int_equal(set.count, n);
		}
		assert_int_equal(pfs_point_set_put(&set, &key, n), 0);
		assert_int_equal(set.cap, cap);
	}
	for (unsigned n = 0; n < 300; n++) {
		key = pfs_key_num(n);
		assert_int_equal(*pfs_point_set_find(&set, &key), n);
	}
	pfs_point_set_free(&set);
	assert_int_equal(set.max, 1000);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: keys come out as they were put in, to the last byte, whatever there was before. */
static void keys_come_out_whole(void **state)
{
	struct pfs_point_set set = {.max = 10};
	struct pfs_key keys[2] = {pfs_key_num(UINT64_C(0x0102030405060708))}, out;
	struct pfs_point_taken taken;
	size_t cursor;

	(void)state;
	assert_int_equal(pfs_key_parse(&keys[1], "c0ffee00-0102-4000-8000-0000000000ff", 36), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pfs_point_set_put(&set, &keys[i], 7), 0);
		memset(&out, 0xff, sizeof(out));
		memset(&taken, 0xff, sizeof(taken));
		cursor = 0;
		assert_int_equal(pfs_point_set_copy(&set, &cursor, &out, 1), 1);
		assert_memory_equal(&out, &keys[i], sizeof(out));
		cursor = 0;
		assert_int_equal(pfs_point_set_take(&set, &cursor, 7, &taken, 1), 1);
		assert_memory_equal(&taken.key, &keys[i], sizeof(out));
		assert_int_equal(taken.value, 7);
	}
	pfs_point_set_free(&set);
}

/* Proves: of points that stand one behind the other because they belong to one place, each that is
 * due is taken, wherever the search begins. */
static void neighbours_are_taken(void **state)
{
	(void)state;
	for (size_t from = 0; from < CAP_FIRST; from++) {
		struct pfs_point_set set = {.max = 10, .cap = CAP_FIRST};
		struct pfs_point_taken taken[3];
		struct pfs_point_entry entry;
		size_t cursor = from;
		uint64_t id = 0;

		for (int64_t n = 0; n < 3; id++) {
			struct pfs_key key = pfs_key_num(id);

			pack(&entry, &key);
			if (home(&set, &entry) != CAP_FIRST / 2)
				continue;
			set.cap = n ? CAP_FIRST : 0; /* it is made with the first */
			assert_int_equal(pfs_point_set_put(&set, &key, n == 1 ? 9 : 1), 0);
			n++;
		}
		assert_int_equal(pfs_point_set_take(&set, &cursor, 1, taken, 3), 2);
		assert_int_equal(set.count, 1);
		assert_int_equal(pfs_point_set_take(&set, &cursor, 9, taken, 3), 1);
		assert_int_equal(taken[0].value, 9);
		pfs_point_set_free(&set);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_change_is_told_once_with_place_and_reason, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_that_was_changed_just_now_is_left_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_mended_or_removed_counts_no_more, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_change_during_the_look_waits_for_the_next, setup,
						teardown),
		cmocka_unit_test_setup_teardown(many_lines_become_a_number, setup, teardown),
		cmocka_unit_test_setup_teardown(the_number_is_worded, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_looks_at_what_is_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(beyond_its_bounds_the_store_is_gone_through, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_thread_looks_at_all_before_it_ends, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_was_found_outlives_an_interrupted_step, setup,
						teardown),
		cmocka_unit_test_setup_teardown(quiet_is_measured_exactly, setup, teardown),
		cmocka_unit_test_setup_teardown(steps_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(windows_turn_on_time, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_is_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(what_can_not_be_looked_at, setup, teardown),
		cmocka_unit_test_setup_teardown(going_through_has_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(going_through_meets_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_outweighs_what_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_told_is_not_told_again, setup, teardown),
		cmocka_unit_test_setup_teardown(going_through_waits_for_room, setup, teardown),
		cmocka_unit_test(fingerprints_tell_payloads_apart),
		cmocka_unit_test_setup_teardown(invalid_ones_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(the_thread_looks_when_it_is_time, setup, teardown),
		cmocka_unit_test(the_set_holds_what_a_plain_table_does),
		cmocka_unit_test(a_copy_has_every_point_once),
		cmocka_unit_test_setup_teardown(the_thread_waits_for_what_it_should, setup,
						teardown),
		cmocka_unit_test_setup_teardown(without_memory_or_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_looked_at, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_end_tries_again, setup, teardown),
		cmocka_unit_test_setup_teardown(all_invalid_ones_are_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(going_through_ends_with_the_thread, setup,
						teardown),
		cmocka_unit_test(a_set_is_half_full),
		cmocka_unit_test(keys_come_out_whole),
		cmocka_unit_test(neighbours_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
