/* Rank 0: times as the store has them, nanoseconds since the epoch. Pure but for the clock. */
#ifndef PFS_CLOCK_H
#define PFS_CLOCK_H

#include <time.h>

#include "storage/base.h"

/* Times beyond what 64 bits of nanoseconds hold (1677 to 2262) become the nearest that they do. */
static inline int64_t pfs_ns_from_timespec(const struct timespec *t)
{
	if (t->tv_sec > INT64_MAX / PFS_NSEC_PER_SEC - 1)
		return INT64_MAX;
	if (t->tv_sec < INT64_MIN / PFS_NSEC_PER_SEC + 1)
		return INT64_MIN;
	return (int64_t)t->tv_sec * PFS_NSEC_PER_SEC + t->tv_nsec;
}

static inline struct timespec pfs_timespec_from_ns(int64_t ns)
{
	int64_t sec = ns / PFS_NSEC_PER_SEC;
	int64_t rest = ns % PFS_NSEC_PER_SEC;

	if (rest < 0) {
		rest += PFS_NSEC_PER_SEC;
		sec--;
	}
	return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = (long)rest};
}

/* The time of the kernel's last tick, which it gives to files itself. A document that is made and
 * written within a tick then has the time that the kernel wants it to have, and the SETATTR which
 * tells another one is saved; nor does its time go back by a part of a tick. */
static inline int64_t pfs_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return pfs_ns_from_timespec(&t);
}

/* The time of this very moment, since the epoch. */
static inline int64_t pfs_realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return pfs_ns_from_timespec(&t);
}

#endif
