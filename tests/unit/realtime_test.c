/* fs/clock.h: times in nanoseconds, to the bounds of what 64 bits hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

/* What each clock shows. */
static int clock_told(clockid_t clock, struct timespec *now)
{
	*now = (struct timespec){.tv_nsec = 5};
	if (clock == CLOCK_REALTIME)
		now->tv_sec = 1000;
	else if (clock == CLOCK_REALTIME_COARSE)
		now->tv_sec = 999;
	return 0;
}

#define clock_gettime clock_told
#include "fs/clock.h"
#undef clock_gettime

/* The last seconds of which each nanosecond has a number. */
#define LAST INT64_C(9223372035)

/* Proves: a time is its nanoseconds since the epoch, also before it; one that is too far away is
 * the nearest that there is. */
static void times_are_nanoseconds(void **state)
{
	static const struct {
		int64_t sec, nsec, want;
	} cases[] = {
		{0, 0, 0},
		{0, 1, 1},
		{1, 0, 1000000000},
		{1700000000, 123456789, 1700000000123456789},
		{-1, 999999999, -1},
		{-2, 1, -1999999999},
		{LAST, 999999999, LAST * 1000000000 + 999999999},
		{LAST - 1, 0, (LAST - 1) * 1000000000},
		{LAST + 1, 0, INT64_MAX},
		{LAST + 2, 0, INT64_MAX},
		{INT64_MAX, 999999999, INT64_MAX},
		{-LAST, 0, -LAST * 1000000000},
		{-LAST, 7, -LAST * 1000000000 + 7},
		{-LAST + 1, 0, (-LAST + 1) * 1000000000},
		{-LAST - 1, 0, INT64_MIN},
		{-LAST - 2, 0, INT64_MIN},
		{INT64_MIN, 0, INT64_MIN},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct timespec t = {.tv_sec = (time_t)cases[i].sec,
					   .tv_nsec = (long)cases[i].nsec};
		struct timespec back;

		assert_true(pfs_ns_from_timespec(&t) == cases[i].want);
		back = pfs_timespec_from_ns(cases[i].want);
		assert_in_range(back.tv_nsec, 0, 999999999);
		if (cases[i].want != INT64_MAX && cases[i].want != INT64_MIN) {
			assert_true(back.tv_sec == t.tv_sec);
			assert_true(back.tv_nsec == t.tv_nsec);
		}
	}
}

/* Proves: the time of documents is that of the kernel's last tick, and the other one this moment's.
 */
static void clocks_are_told_apart(void **state)
{
	(void)state;
	assert_true(pfs_now_ns() == INT64_C(999000000005));
	assert_true(pfs_realtime_ns() == INT64_C(1000000000005));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_nanoseconds),
		cmocka_unit_test(clocks_are_told_apart),
	};

	return cmocka_run_group_tests_name("times", tests, NULL, NULL);
}
