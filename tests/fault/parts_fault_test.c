/* Parts of the engine alone, and a store with threads, where memory or threads can't be had. */
#include <unistd.h>

#include "storage/index.h"
#include "storage/refine.h"
#include "storage/team.h"
#include "storage/train.h"
#include "storage/window.h"
#include "tests/fault/contents.h"
#include "tests/fault/scenario.h"

/* ---- the index ---- */

#define OBJECTS 3000u

struct indexed {
	struct pfs_index *index;
};

static void *no_index(void)
{
	struct indexed *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	return x;
}

/* Objects of their own, so many that the table grows, and names of some that move. */
static int fill_index(struct pfs_index *index)
{
	int err = 0;

	for (uint32_t i = 0; i < OBJECTS && !err; i++) {
		uint32_t object, hash = pfs_index_hash(PFS_KEY_NUM, i);

		err = pfs_index_alloc(index, &object);
		if (!err)
			pfs_index_set_word(index, object, i + 1);
		if (!err)
			err = pfs_index_insert(index, object, hash);
	}
	for (uint32_t i = 0; i < 40 && !err; i++) {
		uint32_t object = PFS_OBJECT_FIRST + i;

		err = pfs_index_vacate(index, object);
		if (!err)
			err = pfs_index_set_cookie(index, object, object + 100);
	}
	return err;
}

/* Objects in runs, which are dissolved. */
static int add_runs(struct pfs_index *index)
{
	int err = 0;

	for (uint64_t run = 0; run < 40 && !err; run++)
		err = pfs_index_add_run(index, 1000 * run + 1, 100, 10000 + 1000 * run);
	if (!err)
		err = pfs_index_end_runs(index);
	return err ? err : pfs_index_dissolve_runs(index);
}

static int use_index(void *state)
{
	struct indexed *x = state;
	int err;

	pfs_index_free(x->index);
	x->index = NULL;
	err = pfs_index_new(&x->index);
	if (!err)
		err = add_runs(x->index);
	if (!err)
		err = fill_index(x->index);
	if (!err)
		err = pfs_index_reserve(x->index, 100000);
	pfs_index_reclaim(x->index ? pfs_index_detach(x->index) : NULL);
	return err;
}

static void expect_index(void *state, int err)
{
	struct indexed *x = state;
	uint32_t end;

	if (err)
		return;
	end = pfs_index_end(x->index);
	assert_int_equal(end, PFS_OBJECT_FIRST + 4000 + OBJECTS);
	for (uint32_t i = 0; i < OBJECTS; i++) {
		uint32_t object = end - OBJECTS + i;

		assert_int_equal(pfs_index_word(x->index, object), i + 1);
		assert_int_equal(pfs_index_stored_hash(x->index, object),
				 pfs_index_hash(PFS_KEY_NUM, i));
	}
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(pfs_index_cookie(x->index, PFS_OBJECT_FIRST + i),
				 PFS_OBJECT_FIRST + i + 100);
}

static void end_index(void *state)
{
	struct indexed *x = state;

	pfs_index_free(x->index);
	free(x);
}

/* ---- the window ---- */

struct windowed {
	uint64_t given;
};

static void *no_window(void)
{
	struct windowed *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	return w;
}

static ssize_t give(void *arg, void *buf, size_t cap)
{
	struct windowed *w = arg;
	size_t n = pfs_min_u64(cap, 3 * PFS_MIB - w->given);

	memset(buf, 'x', n);
	w->given += n;
	return (ssize_t)n;
}

/* It grows to all of the input, and shrinks again. */
static int use_window(void *state)
{
	struct windowed *given = state;
	struct pfs_window w;
	int err;

	given->given = 0;
	err = pfs_window_init_source(&w, give, given, 4 * PFS_MIB);
	while (!err && w.end - w.start < 2 * PFS_MIB)
		err = pfs_window_fill(&w) < 0 ? -ENOMEM : 0;
	if (!err) {
		pfs_window_consume(&w, w.buf + w.end);
		err = pfs_window_fill(&w) < 0 ? -ENOMEM : 0;
	}
	pfs_window_free(&w);
	return err;
}

static void expect_window(void *state, int err)
{
	struct windowed *w = state;

	if (!err)
		assert_true(w->given > 2 * PFS_MIB);
}

/* ---- dictionaries ---- */

#define SAMPLES 200
#define SAMPLE_LEN 400
#define DICT_CAP 8192

struct trained {
	uint8_t samples[SAMPLES * SAMPLE_LEN], dict[DICT_CAP], before[DICT_CAP];
	size_t lens[SAMPLES], len, len_before;
};

static void *new_samples(void)
{
	struct trained *t = calloc(1, sizeof(*t));
	ssize_t len;

	assert_non_null(t);
	for (size_t i = 0; i < sizeof(t->samples); i++)
		t->samples[i] =
			(uint8_t)('a' + pfs_mix64(pfs_mix64(i / 25) % 90 * 64 + i % 25) % 26);
	for (size_t i = 0; i < SAMPLES; i++)
		t->lens[i] = SAMPLE_LEN;
	len = pfs_train_version()
		      ? pfs_train_samples(t->dict, DICT_CAP / 2, t->samples, t->lens, SAMPLES)
		      : DICT_CAP / 2;
	assert_true(len > 0);
	t->len = t->len_before = (size_t)len;
	memcpy(t->before, t->dict, t->len);
	return t;
}

static int refine(void *state)
{
	struct trained *t = state;

	return pfs_refine(t->dict, &t->len, DICT_CAP, t->samples, t->lens, SAMPLES, NULL);
}

/* On an error it is what it was. */
static void expect_refined(void *state, int err)
{
	struct trained *t = state;

	if (!err)
		return;
	assert_int_equal(t->len, t->len_before);
	assert_memory_equal(t->dict, t->before, t->len);
}

static int train(void *state)
{
	struct trained *t = state;
	ssize_t len;

	if (!pfs_train_version())
		return 0;
	len = pfs_train_samples(t->dict, DICT_CAP / 2, t->samples, t->lens, SAMPLES);
	return len < 0 ? (int)len : 0;
}

/* ---- threads ---- */

struct threaded {
	struct pfs_sim *sim;
	unsigned done[64];
};

static void *new_store(void)
{
	struct threaded *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->sim = pfs_sim_new();
	create_store(t->sim, PFS_PAGE_SIZE_MIN, 16);
	return t;
}

static void do_job(void *arg, size_t job)
{
	struct threaded *t = arg;

	__atomic_add_fetch(&t->done[job], 1, __ATOMIC_RELAXED);
}

static int use_team(void *state)
{
	struct threaded *t = state;
	struct pfs_team *team;
	int err = pfs_team_new(&team, 4);

	if (err)
		return err;
	memset(t->done, 0, sizeof(t->done));
	assert_true(pfs_team_begin(team, do_job, t, pfs_array_len(t->done), 8));
	for (size_t i = 0; i < pfs_array_len(t->done); i++) {
		pfs_team_wait(team, i);
		assert_int_equal(t->done[i], 1);
	}
	assert_int_equal(pfs_team_end(team), pfs_array_len(t->done));
	pfs_team_free(team);
	return 0;
}

static int use_store(void *state)
{
	struct threaded *t = state;
	struct pfs_open_options options = {.io = pfs_sim_io(t->sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, &reason);

	assert_true((err != 0) == (reason.text[0] != '\0'));
	if (err)
		return err;
	for (unsigned i = 0; i < 20; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 5000, i);
	}
	return pfs_store_close(store);
}

static void expect_nothing(void *state, int err)
{
	(void)state;
	(void)err;
}

/* What was put is there. */
static void expect_store(void *state, int err)
{
	struct threaded *t = state;
	struct contents now;
	struct pfs_store *store;

	expect_healthy(t->sim);
	if (err)
		return;
	store = open_store(t->sim);
	contents_of(&now, store);
	assert_int_equal(now.count, 20);
	assert_int_equal(pfs_store_close(store), 0);
}

static void end_store(void *state)
{
	struct threaded *t = state;

	pfs_sim_free(t->sim);
	free(t);
}

/* Proves: without memory each part says so, leaves what it was given as it was, and leaks nothing.
 */
static void parts_without_memory_say_so(void **state)
{
	static const struct scenario scenarios[] = {
		{"index", no_index, use_index, expect_index, end_index, NULL},
		{"window", no_window, use_window, expect_window, free, NULL},
		{"refine", new_samples, refine, expect_refined, free, NULL},
		{"train", new_samples, train, expect_nothing, free, NULL},
		{"team", new_store, use_team, expect_nothing, end_store, NULL},
	};
	const struct fault fault = {.kind = FAULT_MEMORY};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(scenarios); i++)
		if (scenarios[i].run != train || pfs_train_version())
			scenario_try(&scenarios[i], &fault, 1);
}

/* Proves: a store whose threads can't be had does not open, and stops those that it has; a team
 * works with fewer, or none. */
static void threads_that_can_not_be_had(void **state)
{
	static const struct scenario scenarios[] = {
		{"store", new_store, use_store, expect_store, end_store, NULL},
		{"team", new_store, use_team, expect_nothing, end_store, NULL},
	};
	const struct fault fault = {.kind = FAULT_THREAD, .err = -EAGAIN};

	(void)state;
	scenario_try_all(scenarios, 1 + (sysconf(_SC_NPROCESSORS_ONLN) > 1), &fault, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_without_memory_say_so),
		cmocka_unit_test(threads_that_can_not_be_had),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("parts under faults", tests, NULL, NULL);
}
