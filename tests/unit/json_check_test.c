/* json=check: what is looked at and when, what is told once, what its bounds leave out is found by
 * going through the store; and the set that it remembers points in, against a plain table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* The daemon's objects are not in the library. */
#include "fs/json_check.c"
#include "fs/point_set.c"

#define SECOND PFS_NSEC_PER_SEC
#define LINES_MAX 64

struct fixture {
	char dir[64];
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
	const struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN};
	const struct pfs_open_options options = {.hold_objects = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	f->logger = (struct pfs_logger){.fn = keep_line, .arg = f};
	pthread_mutex_init(&f->lock, NULL);
	strcpy(f->dir, "/tmp/payloadfs-json.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &options, &reason), 0);
	assert_int_equal(pfs_json_check_new(&f->check, f->store, &f->logger), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	pfs_json_check_stop(f->check);
	pfs_json_check_free(f->check);
	assert_int_equal(pfs_store_close(f->store), 0);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static struct pfs_key key_of(const char *name)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

static void put(struct fixture *f, const char *name, const char *text)
{
	struct pfs_key key = key_of(name);

	assert_int_equal(pfs_put(f->store, &key, text, strlen(text), NULL, 0, NULL), 0);
}

/* A document, and its note. */
static void change(struct fixture *f, const char *name, const char *text)
{
	struct pfs_key key = key_of(name);

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
	last = key_of("2");
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
	struct pfs_key key = key_of("2");
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
	struct pfs_key key = key_of("1");

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
	struct pfs_key key = key_of("9");
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
		cmocka_unit_test(the_set_holds_what_a_plain_table_does),
		cmocka_unit_test(a_copy_has_every_point_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
