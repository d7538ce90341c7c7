/* Rank 0: how long things took, counted so that percentiles can be told.
 *
 * As in HdrHistogram the buckets are log-linear: 2^PFS_HISTOGRAM_SUB_BITS of them for each power of
 * two, so that a value is known to a sixteenth of itself, from a nanosecond to 18 minutes (longer
 * ones count as that). A value is counted by two additions to memory that few other threads write:
 * each histogram is kept several times, and a thread adds to one of them.
 *
 * Threads. pfs_histograms_add and _sum from any, at any time; a sum that is made meanwhile misses
 * some of what is being added, and never counts anything twice. */
#ifndef PFS_HISTOGRAM_H
#define PFS_HISTOGRAM_H

#include "storage/base.h"

#define PFS_HISTOGRAM_SUB_BITS 4
#define PFS_HISTOGRAM_VALUE_BITS 40
#define PFS_HISTOGRAM_MAX ((UINT64_C(1) << PFS_HISTOGRAM_VALUE_BITS) - 1)
#define PFS_HISTOGRAM_BUCKETS \
	((PFS_HISTOGRAM_VALUE_BITS - PFS_HISTOGRAM_SUB_BITS + 1) << PFS_HISTOGRAM_SUB_BITS)

/* ---- buckets; pure ---- */

static inline unsigned pfs_histogram_bucket(uint64_t value)
{
	unsigned bits, shift;

	if (value > PFS_HISTOGRAM_MAX)
		value = PFS_HISTOGRAM_MAX;
	if (value < UINT64_C(2) << PFS_HISTOGRAM_SUB_BITS)
		return (unsigned)value;
	bits = 64 - (unsigned)__builtin_clzll(value);
	shift = bits - 1 - PFS_HISTOGRAM_SUB_BITS;
	return (shift << PFS_HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

/* The largest value that the bucket counts. */
static inline uint64_t pfs_histogram_bucket_max(unsigned bucket)
{
	unsigned shift = bucket >> PFS_HISTOGRAM_SUB_BITS;
	uint64_t mantissa = bucket;

	if (shift < 2)
		return bucket;
	shift--;
	mantissa -= (uint64_t)shift << PFS_HISTOGRAM_SUB_BITS;
	return ((mantissa + 1) << shift) - 1;
}

/* ---- several histograms ---- */

struct pfs_histograms;

/* So many, numbered from 0, all empty. -ENOMEM. */
int pfs_histograms_new(struct pfs_histograms **out, unsigned count);
/* May be NULL. */
void pfs_histograms_free(struct pfs_histograms *histograms);

void pfs_histograms_add(struct pfs_histograms *histograms, unsigned which, uint64_t value);

/* A histogram at one moment. */
struct pfs_histogram_sum {
	uint64_t count, total, max; /* of the values; max is exact */
	uint64_t buckets[PFS_HISTOGRAM_BUCKETS];
};
void pfs_histograms_sum(struct pfs_histograms *histograms, unsigned which,
			struct pfs_histogram_sum *out);
uint64_t pfs_histograms_count(struct pfs_histograms *histograms, unsigned which);

/* The value that so many of 100000 values do not pass: at most a sixteenth above the true one, and
 * never above max. 0 when there is none. */
uint64_t pfs_histogram_percentile(const struct pfs_histogram_sum *sum, unsigned per_100000);

#endif
