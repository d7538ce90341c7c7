/* What a piece of a test writes to standard error. */
#ifndef PFS_TEST_STDERR_HELPERS_H
#define PFS_TEST_STDERR_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

static FILE *listened_to;
static int true_stderr;

/* From here on it goes to a file, until end_to_listen. Not nested. */
static inline void begin_to_listen(void)
{
	listened_to = tmpfile();
	assert_non_null(listened_to);
	fflush(stderr);
	true_stderr = dup(STDERR_FILENO);
	assert_true(true_stderr >= 0);
	assert_true(dup2(fileno(listened_to), STDERR_FILENO) >= 0);
}

/* What was written since, up to cap - 1 bytes. */
static inline void end_to_listen(char *text, size_t cap)
{
	size_t len;

	fflush(stderr);
	assert_true(dup2(true_stderr, STDERR_FILENO) >= 0);
	close(true_stderr);
	rewind(listened_to);
	len = fread(text, 1, cap - 1, listened_to);
	text[len] = '\0';
	fclose(listened_to);
}

#endif
