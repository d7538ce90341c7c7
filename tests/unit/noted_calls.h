/* What a module calls of others, in words, one call after the other: for tests that stand in for
 * the others. */
#ifndef PFS_TEST_NOTED_CALLS_H
#define PFS_TEST_NOTED_CALLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

__attribute__((format(printf, 3, 4))) static inline void calls_note(char *calls, size_t cap,
								    const char *fmt, ...)
{
	size_t len = strlen(calls);
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(calls + len, cap - len, fmt, args);
	va_end(args);
	assert_in_range(n, 0, cap - len - 1);
}

/* These, and no others, since they were asked for last. */
static inline void calls_expect(char *calls, const char *want)
{
	assert_string_equal(calls, want);
	calls[0] = '\0';
}

#endif
