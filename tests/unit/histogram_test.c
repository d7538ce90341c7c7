/* The histograms of request latencies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/fenced.h"

static bool beaten; /* another thread is quicker, once */

/* The daemon's objects are not in the library. */
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(at, old, new, success, failure) \
	(beaten ? beaten = false                                              \
		: atomic_compare_exchange_strong_explicit(at, old, new, success, failure))
#include "fs/histogram.c"

/* Proves: buckets follow one another without gap, each value lies in the bucket whose largest value
 * is next at or above it, and that is at most a sixteenth more. */
static void buckets_are_ordered_and_narrow(void **state)
{
	(void)state;
	for (unsigned b = 0; b < PFS_HISTOGRAM_BUCKETS; b++) {
		uint64_t max = pfs_histogram_bucket_max(b);

		assert_int_equal(pfs_histogram_bucket(max), b);
		if (b + 1 < PFS_HISTOGRAM_BUCKETS)
			assert_int_equal(pfs_histogram_bucket(max + 1), b + 1);
		if (b > 0) {
			uint64_t min = pfs_histogram_bucket_max(b - 1) + 1;

			assert_true(max >= min && (max - min) * 16 <= min);
		}
	}
	assert_int_equal(pfs_histogram_bucket(0), 0);
	assert_int_equal(pfs_histogram_bucket_max(PFS_HISTOGRAM_BUCKETS - 1), PFS_HISTOGRAM_MAX);
	assert_int_equal(pfs_histogram_bucket(UINT64_MAX), PFS_HISTOGRAM_BUCKETS - 1);
}

/* Proves: percentiles of known values are within the promise, the maximum is exact, and histograms
 * do not mix. */
static void percentiles_are_near(void **state)
{
	static const unsigned wanted[] = {50000, 90000, 99000, 99900, 100000, 1};
	struct pfs_histograms *h;
	struct pfs_histogram_sum sum;

	(void)state;
	assert_int_equal(pfs_histograms_new(&h, 2), 0);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(pfs_histogram_percentile(&sum, 50000), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		pfs_histograms_add(h, 1, v * 37);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(sum.count, 0);
	pfs_histograms_sum(h, 1, &sum);
	assert_int_equal(sum.count, 100000);
	assert_int_equal(pfs_histograms_count(h, 1), 100000);
	assert_int_equal(sum.max, 3700000);
	assert_int_equal(sum.total, UINT64_C(37) * 100000 * 100001 / 2);
	for (size_t i = 0; i < pfs_array_len(wanted); i++) {
		uint64_t exact = UINT64_C(37) * wanted[i];
		uint64_t told = pfs_histogram_percentile(&sum, wanted[i]);

		assert_true(told >= exact && (told - exact) * 16 <= exact && told <= sum.max);
	}
	pfs_histograms_free(h);
}

/* Proves: with one value all percentiles are that value; of two, the median is the lower one. */
static void few_values_are_told_exactly(void **state)
{
	struct pfs_histograms *h;
	struct pfs_histogram_sum sum;

	(void)state;
	assert_int_equal(pfs_histograms_new(&h, 1), 0);
	pfs_histograms_add(h, 0, 1234567);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(pfs_histogram_percentile(&sum, 50000), 1234567);
	assert_int_equal(pfs_histogram_percentile(&sum, 99900), 1234567);
	pfs_histograms_add(h, 0, 20);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(pfs_histogram_percentile(&sum, 50000), 20);
	assert_int_equal(pfs_histogram_percentile(&sum, 50001), 1234567);
	pfs_histograms_free(h);
}

/* Proves: the rank of a value is rounded up, whatever the count; it is never below 1, and none is
 * beyond the last. */
static void ranks_are_rounded_up(void **state)
{
	struct pfs_histogram_sum sum = {.count = 2, .max = 5, .buckets = {[0] = 1, [5] = 1}};

	(void)state;
	assert_int_equal(pfs_histogram_percentile(&sum, 50000), 0);
	assert_int_equal(pfs_histogram_percentile(&sum, 50001), 5);
	assert_int_equal(pfs_histogram_percentile(&sum, 200000), 5);
	sum = (struct pfs_histogram_sum){.count = 11, .max = 9, .buckets = {[1] = 1, [9] = 10}};
	assert_int_equal(pfs_histogram_percentile(&sum, 0), 1);
	assert_int_equal(pfs_histogram_percentile(&sum, 9090), 1);
	assert_int_equal(pfs_histogram_percentile(&sum, 9091), 9);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t half = 49999 + i;

		sum = (struct pfs_histogram_sum){
			.count = 2 * half, .max = 9, .buckets = {[1] = half, [9] = half}};
		assert_int_equal(pfs_histogram_percentile(&sum, 50000), 1);
		assert_int_equal(pfs_histogram_percentile(&sum, 50001), 9);
		sum.count++;
		sum.buckets[1]++;
		assert_int_equal(pfs_histogram_percentile(&sum, 50000), 1);
		assert_int_equal(pfs_histogram_percentile(&sum, 51000), 9);
	}
	/* Counted while others were added: no more than the largest. */
	sum = (struct pfs_histogram_sum){.count = 2, .max = 7};
	assert_int_equal(pfs_histogram_percentile(&sum, 50000), 7);
}

/* Proves: a maximum is kept when another thread was quicker to change it. */
static void the_maximum_is_tried_again(void **state)
{
	struct pfs_histograms *h;
	struct pfs_histogram_sum sum;

	(void)state;
	fenced_refuse(0);
	assert_int_equal(pfs_histograms_new(&h, 1), -ENOMEM);
	assert_null(h);
	assert_int_equal(pfs_histograms_new(&h, 1), 0);
	beaten = true;
	pfs_histograms_add(h, 0, 77);
	assert_false(beaten);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(sum.max, 77);
	assert_int_equal(sum.count, 1);
	pfs_histograms_free(h);
	assert_int_equal(fenced_blocks, 0);
}

#define THREADS 8
#define ADDS 20000

static void *add_many(void *arg)
{
	for (uint64_t i = 0; i < ADDS; i++)
		pfs_histograms_add(arg, 0, i);
	return NULL;
}

/* Proves: nothing is lost when many threads add. */
static void threads_lose_nothing(void **state)
{
	struct pfs_histograms *h;
	struct pfs_histogram_sum sum;
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(pfs_histograms_new(&h, 1), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, h), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pfs_histograms_sum(h, 0, &sum);
	assert_int_equal(sum.count, THREADS * ADDS);
	assert_int_equal(sum.total, (uint64_t)THREADS * ADDS * (ADDS - 1) / 2);
	assert_int_equal(sum.max, ADDS - 1);
	pfs_histograms_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_are_ordered_and_narrow),
		cmocka_unit_test(percentiles_are_near),
		cmocka_unit_test(few_values_are_told_exactly),
		cmocka_unit_test(threads_lose_nothing),
		cmocka_unit_test(ranks_are_rounded_up),
		cmocka_unit_test(the_maximum_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
