#include "fs/histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define COPIES 4 /* of each histogram */

struct copy {
	_Atomic uint64_t total, max;
	_Atomic uint64_t buckets[PFS_HISTOGRAM_BUCKETS];
};

struct pfs_histograms {
	unsigned count;
	struct copy
		copies[]; /* of histogram n from n * COPIES on; memory that is used when written */
};

int pfs_histograms_new(struct pfs_histograms **out, unsigned count)
{
	*out = calloc(1, sizeof(**out) + (size_t)count * COPIES * sizeof((*out)->copies[0]));
	if (!*out)
		return -ENOMEM;
	(*out)->count = count;
	return 0;
}

void pfs_histograms_free(struct pfs_histograms *histograms)
{
	free(histograms);
}

/* Stacks of threads lie far apart, in whole pages. */
static unsigned copy_of_thread(void)
{
	return (unsigned)((uintptr_t)pthread_self() * UINT64_C(0x9e3779b97f4a7c15) >> 32) % COPIES;
}

void pfs_histograms_add(struct pfs_histograms *histograms, unsigned which, uint64_t value)
{
	struct copy *copy = &histograms->copies[which * COPIES + copy_of_thread()];
	uint64_t max = atomic_load_explicit(&copy->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&copy->buckets[pfs_histogram_bucket(value)], 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&copy->total, value, memory_order_relaxed);
	while (value > max &&
	       !atomic_compare_exchange_weak_explicit(&copy->max, &max, value, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

void pfs_histograms_sum(struct pfs_histograms *histograms, unsigned which,
			struct pfs_histogram_sum *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned c = 0; c < COPIES; c++) {
		struct copy *copy = &histograms->copies[which * COPIES + c];

		out->total += atomic_load_explicit(&copy->total, memory_order_relaxed);
		out->max = pfs_max_u64(out->max,
				       atomic_load_explicit(&copy->max, memory_order_relaxed));
		for (unsigned b = 0; b < PFS_HISTOGRAM_BUCKETS; b++) {
			uint64_t n = atomic_load_explicit(&copy->buckets[b], memory_order_relaxed);

			out->buckets[b] += n;
			out->count += n;
		}
	}
}

uint64_t pfs_histograms_count(struct pfs_histograms *histograms, unsigned which)
{
	struct pfs_histogram_sum sum;

	pfs_histograms_sum(histograms, which, &sum);
	return sum.count;
}

uint64_t pfs_histogram_percentile(const struct pfs_histogram_sum *sum, unsigned per_100000)
{
	/* The rank, from 1, of the value: rounded up. */
	uint64_t rank = sum->count / 100000 * per_100000 +
			(sum->count % 100000 * per_100000 + 99999) / 100000;
	uint64_t seen = 0;

	if (sum->count == 0)
		return 0;
	rank = pfs_max_u64(rank, 1);
	for (unsigned b = 0; b < PFS_HISTOGRAM_BUCKETS; b++) {
		seen += sum->buckets[b];
		if (seen >= rank)
			return pfs_min_u64(pfs_histogram_bucket_max(b), sum->max);
	}
	return sum->max;
}
