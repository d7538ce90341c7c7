/* The table of runs by itself, against looking through all of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/base.h"
#include "storage/index.h"
#include "storage/index_runs.h"

#define RUNS_MAX 40u

struct model {
	struct pfs_index_run runs[RUNS_MAX];
	unsigned count;
	uint64_t random;
};

static uint64_t roll(struct model *m, uint64_t n)
{
	m->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(m->random) % n;
}

/* Ascending objects; of the numbers none is in two runs, and their order is another one. */
static void make_runs(struct model *m, unsigned count)
{
	uint32_t object = 2;
	uint64_t begins[RUNS_MAX] = {0}, number = roll(m, 3);

	m->count = count;
	for (unsigned i = 0; i < count; i++) {
		m->runs[i].count = (uint32_t)(1 + roll(m, 4));
		m->runs[i].first = object + (uint32_t)roll(m, 3);
		object = m->runs[i].first + m->runs[i].count;
		m->runs[i].number = UINT64_MAX;
	}
	for (unsigned left = count; left; left--) {
		unsigned i = (unsigned)roll(m, count);

		while (begins[i])
			i = (i + 1) % count;
		begins[i] = 1;
		m->runs[i].number = number;
		number += m->runs[i].count + roll(m, 3);
	}
}

static uint32_t find(const struct model *m, uint64_t number)
{
	for (unsigned i = 0; i < m->count; i++)
		for (uint32_t k = 0; k < m->runs[i].count; k++)
			if (m->runs[i].number + k == number)
				return m->runs[i].first + k;
	return 0;
}

static void compare_objects(const struct model *m, const struct pfs_index_runs *runs)
{
	for (uint32_t object = 0; object < 8 * RUNS_MAX; object++) {
		const struct pfs_index_run *of = NULL, *from = NULL;

		for (unsigned i = m->count; i-- > 0;) {
			uint32_t last = m->runs[i].first + m->runs[i].count - 1;

			from = object <= last ? &runs->at[i] : from;
			of = object >= m->runs[i].first && object <= last ? &runs->at[i] : of;
		}
		assert_ptr_equal(pfs_index_runs_of(runs, object), of);
		assert_ptr_equal(pfs_index_runs_from(runs, object), from);
	}
}

/* Proves: of any runs, whatever the order of their numbers, each object and each number is found in
 * the run that has it, and no other one. */
static void every_object_and_number_is_found(void **state)
{
	struct model m = {.random = 1};

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct pfs_index_runs runs = {0};

		make_runs(&m, round % (RUNS_MAX + 1));
		for (unsigned i = 0; i < m.count; i++)
			assert_int_equal(pfs_index_runs_add(&runs, &m.runs[i]), 0);
		assert_int_equal(pfs_index_runs_finish(&runs), 0);
		assert_int_equal(runs.count, m.count);
		compare_objects(&m, &runs);
		for (uint64_t number = 0; number < 8 * RUNS_MAX; number++)
			assert_int_equal(pfs_index_runs_find(&runs, number), find(&m, number));
		assert_int_equal(pfs_index_runs_find(&runs, UINT64_MAX), 0);
		pfs_index_runs_free(&runs);
	}
}

static int finish_two(uint64_t a, uint32_t a_count, uint64_t b, uint32_t b_count)
{
	struct pfs_index_runs runs = {0};
	struct pfs_index_run run = {.first = 10, .count = a_count, .number = a};
	int err;

	assert_int_equal(pfs_index_runs_add(&runs, &run), 0);
	run = (struct pfs_index_run){.first = 100, .count = b_count, .number = b};
	assert_int_equal(pfs_index_runs_add(&runs, &run), 0);
	err = pfs_index_runs_finish(&runs);
	pfs_index_runs_free(&runs);
	return err;
}

/* Proves: runs may follow each other, up to the last number; two that share one are refused,
 * whichever comes first. */
static void numbers_are_in_one_run(void **state)
{
	(void)state;
	assert_int_equal(finish_two(5, 3, 8, 2), 0);
	assert_int_equal(finish_two(8, 2, 5, 3), 0);
	assert_int_equal(finish_two(0, 1, UINT64_MAX, 1), 0);
	assert_int_equal(finish_two(5, 3, 7, 2), -EUCLEAN);
	assert_int_equal(finish_two(7, 2, 5, 3), -EUCLEAN);
	assert_int_equal(finish_two(5, 3, 5, 3), -EUCLEAN);
	assert_int_equal(finish_two(5, 1, 5, 1), -EUCLEAN);
}

/* Proves: a run has 256 objects at least, and of a store of more than a million as many as make it
 * 4096 runs at most. */
static void runs_are_few(void **state)
{
	static const uint64_t most = 4096;

	(void)state;
	assert_int_equal(pfs_index_run_min(0), 256);
	assert_int_equal(pfs_index_run_min(256 * most), 256);
	assert_int_equal(pfs_index_run_min(257 * most - 1), 256);
	assert_int_equal(pfs_index_run_min(257 * most), 257);
	assert_int_equal(pfs_index_run_min(1000000 * most - 1), 999999);
	assert_int_equal(pfs_index_run_min(1000000 * most), 1000000);
	assert_int_equal(pfs_index_run_min(UINT64_MAX), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_object_and_number_is_found),
		cmocka_unit_test(numbers_are_in_one_run),
		cmocka_unit_test(runs_are_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
