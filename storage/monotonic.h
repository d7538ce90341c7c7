/* Rank 0: a clock that nobody sets, for durations, and for waiting for a condition, but not longer
 * than so long: were the time of day set back meanwhile, one who waits by it would wait longer by
 * as much. */
#ifndef PFS_MONOTONIC_H
#define PFS_MONOTONIC_H

#include <pthread.h>
#include <time.h>

#include "storage/base.h"

/* ns since some moment that is the same in all processes. */
static inline int64_t pfs_now_monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;
}

static inline int64_t pfs_now_monotonic_ms(void)
{
	return pfs_now_monotonic() / (PFS_NSEC_PER_SEC / 1000);
}

/* A condition whose waits end at times of this clock. */
static inline void pfs_monotonic_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* The time, for pthread_cond_timedwait on one, that is so many milliseconds ahead. */
static inline struct timespec pfs_monotonic_in_ms(uint64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (time_t)(ms / 1000);
	t.tv_nsec += (long)(ms % 1000) * (PFS_NSEC_PER_SEC / 1000);
	if (t.tv_nsec >= PFS_NSEC_PER_SEC) {
		t.tv_sec++;
		t.tv_nsec -= PFS_NSEC_PER_SEC;
	}
	return t;
}

#endif
