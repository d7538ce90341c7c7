/* storage/log.c: messages. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/log.h"
#include "tests/unit/counted.h"

struct caught {
	unsigned count;
	enum pfs_log_level level;
	char line[2 * PFS_LOG_LINE_MAX];
};

static void catch_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct caught *caught = arg;

	errno = EDOM; /* as whatever a logger calls may */
	caught->count++;
	caught->level = level;
	snprintf(caught->line, sizeof(caught->line), "%s", line);
}

/* What fn(arg) writes to standard error, in a process of its own; *status is how that ended. */
static void stderr_of(void (*fn)(const struct pfs_logger *), char *out, size_t size, int *status)
{
	int ends[2];
	size_t len = 0;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		fn(NULL);
		_exit(0);
	}
	close(ends[1]);
	while ((n = read(ends[0], out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = 0;
	close(ends[0]);
	assert_int_equal(waitpid(child, status, 0), child);
}

/* Proves: a logger gets every level, once, formatted, and errno stays what it was. */
static void a_logger_gets_every_message(void **state)
{
	static const enum pfs_log_level levels[] = {PFS_LOG_ERROR, PFS_LOG_WARNING, PFS_LOG_INFO,
						    PFS_LOG_DEBUG};
	struct caught caught = {0};
	struct pfs_logger logger = {.fn = catch_line, .arg = &caught};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(levels); i++) {
		errno = ENOSPC;
		pfs_logf(&logger, levels[i], "page %d of %s", 7, "store");
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(caught.count, i + 1);
		assert_int_equal(caught.level, levels[i]);
		assert_string_equal(caught.line, "page 7 of store");
	}
}

/* Proves: whatever a name or a damaged byte brings along, a message is one line of bounded length.
 */
static void a_message_is_one_bounded_line(void **state)
{
	struct caught caught = {0};
	struct pfs_logger logger = {.fn = catch_line, .arg = &caught};
	char longer[3 * PFS_LOG_LINE_MAX];

	(void)state;
	pfs_logf(&logger, PFS_LOG_INFO, "scratch %s", "a\nb\r\x1b[31mc\x7f\xc3\xa9");
	assert_string_equal(caught.line, "scratch a?b??[31mc?\xc3\xa9");
	memset(longer, 'l', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	pfs_logf(&logger, PFS_LOG_INFO, "%s", longer);
	assert_int_equal(strlen(caught.line), PFS_LOG_LINE_MAX - 1);
}

/* Proves: damage is an error with file, offset and reason, and gives the caller its return value.
 */
static void damage_names_its_place(void **state)
{
	struct caught caught = {0};
	struct pfs_logger logger = {.fn = catch_line, .arg = &caught};
	char longer[3 * PFS_LOG_LINE_MAX];

	(void)state;
	assert_int_equal(
		pfs_corrupt(&logger, "page 7", UINT64_C(5000000000), "slot %d overlaps", 3),
		-EUCLEAN);
	assert_int_equal(caught.level, PFS_LOG_ERROR);
	assert_string_equal(caught.line, "damage in page 7 at byte 5000000000: slot 3 overlaps");
	memset(longer, 'l', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(pfs_corrupt(&logger, "page 8", 1, "%s", longer), -EUCLEAN);
	assert_non_null(strstr(caught.line, "page 8 at byte 1: lll"));
	assert_int_equal(strlen(caught.line), PFS_LOG_LINE_MAX - 1);
}

static void write_all_levels(const struct pfs_logger *logger)
{
	pfs_logf(logger, PFS_LOG_ERROR, "one");
	pfs_logf(logger, PFS_LOG_WARNING, "two");
	pfs_logf(logger, PFS_LOG_INFO, "three");
	pfs_logf(logger, PFS_LOG_DEBUG, "four");
}

/* Proves: without a logger warnings and errors are not lost, and nothing else is said. */
static void without_logger_stderr_gets_warnings(void **state)
{
	char text[4096];
	int status;

	(void)state;
	stderr_of(write_all_levels, text, sizeof(text), &status);
	assert_int_equal(status, 0);
	assert_string_equal(text, "payloadfs: one\npayloadfs: two\n");
}

enum { ABORTED = 41, WENT_ON };

static void end_aborted(int signal)
{
	(void)signal;
	write_counts();
	_exit(ABORTED);
}

static void break_an_invariant(const struct pfs_logger *logger)
{
	signal(SIGABRT, end_aborted);
#ifdef PFS_COVERAGE /* where PFS_NEVER() is nothing */
	if (pfs_never(logger, "log_test.c", __LINE__, "1 + 1 == 2"))
#else
	if (PFS_NEVER(logger, 1 + 1 == 2))
#endif
		exit(WENT_ON);
}

/* Proves: a broken invariant is named with its place; debug builds stop, release builds go on to
 * fail the request. */
static void a_broken_invariant_is_named(void **state)
{
	char text[4096];
	int status;

	(void)state;
	stderr_of(break_an_invariant, text, sizeof(text), &status);
	assert_non_null(strstr(text, "log_test.c:"));
	assert_non_null(strstr(text, "1 + 1 == 2"));
	assert_true(WIFEXITED(status));
#ifdef PFS_DEBUG
	assert_int_equal(WEXITSTATUS(status), ABORTED);
#else
	assert_int_equal(WEXITSTATUS(status), WENT_ON);
#endif
	assert_false(PFS_NEVER(NULL, 1 + 1 == 3));
}

/* Proves: the first that refuses says why, in one bounded line, and those who pass it on do not
 * replace it; who does not ask gets the error alone. */
static void the_first_reason_stays(void **state)
{
	struct pfs_reason reason = {.text = ""};
	char longer[2 * sizeof(reason.text)];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(pfs_refuse(&reason, -EBUSY, "%s: in use by %d", "/s", 7), -EBUSY);
	assert_string_equal(reason.text, "/s: in use by 7");
	assert_int_equal(pfs_refuse(&reason, -EIO, "opening failed"), -EIO);
	assert_string_equal(reason.text, "/s: in use by 7");
	assert_int_equal(pfs_refuse(NULL, -EIO, "opening failed"), -EIO);
	reason.text[0] = 0;
	assert_int_equal(pfs_refuse(&reason, -EIO, "%s", longer), -EIO);
	assert_int_equal(strlen(reason.text), sizeof(reason.text) - 1);
}

/* Proves: of messages that could be many a burst is shown, then silence. */
static void a_flood_is_limited(void **state)
{
	struct caught caught = {0};
	const struct pfs_logger logger = {.fn = catch_line, .arg = &caught};
	struct pfs_log_limit limit = {0};

	(void)state;
	for (unsigned i = 1; i <= 1000; i++)
		pfs_logf_limited(&limit, &logger, PFS_LOG_WARNING, "number %u", i);
	/* Two bursts when the test is held up at the border of two spans. */
	assert_true(caught.count >= PFS_LOG_BURST && caught.count <= 2 * PFS_LOG_BURST + 1);
	limit.begun_s -= PFS_LOG_BURST_S;
	caught.count = 0;
	pfs_logf_limited(&limit, &logger, PFS_LOG_WARNING, "the last");
	assert_int_equal(caught.count, 2);
	assert_string_equal(caught.line, "the last");
	assert_int_equal(limit.hidden, 0);
}

struct two_lines {
	unsigned count;
	char lines[2][PFS_LOG_LINE_MAX];
};

static void catch_two(void *arg, enum pfs_log_level level, const char *line)
{
	struct two_lines *caught = arg;

	(void)level;
	snprintf(caught->lines[caught->count++ % 2], PFS_LOG_LINE_MAX, "%s", line);
}

/* Proves: within one span exactly PFS_LOG_BURST are shown, and the first of the next says how many
 * were not; in a span that hid nothing, nothing is said of that. */
static void what_was_hidden_is_counted(void **state)
{
	struct two_lines caught = {0};
	const struct pfs_logger logger = {.fn = catch_two, .arg = &caught};
	struct pfs_log_limit limit = {.begun_s = INT64_MAX / 2}; /* this span does not end */

	(void)state;
	for (unsigned i = 1; i <= 1000; i++)
		pfs_logf_limited(&limit, &logger, PFS_LOG_WARNING, "number %u", i);
	assert_int_equal(caught.count, PFS_LOG_BURST);
	limit.begun_s = INT64_MIN / 2;
	caught.count = 0;
	pfs_logf_limited(&limit, &logger, PFS_LOG_WARNING, "the next");
	assert_int_equal(caught.count, 2);
	assert_string_equal(caught.lines[0], "990 messages like the following were not shown");
	assert_string_equal(caught.lines[1], "the next");
	limit.begun_s = INT64_MIN / 2;
	pfs_logf_limited(&limit, &logger, PFS_LOG_WARNING, "the last");
	assert_int_equal(caught.count, 3);
}

static void write_limited(const struct pfs_logger *logger)
{
	struct pfs_log_limit limit = {.begun_s = INT64_MAX / 2}; /* this span does not end */

	for (unsigned i = 0; i < 100; i++) {
		pfs_logf_limited(&limit, logger, PFS_LOG_INFO, "for nobody");
		pfs_logf_limited(&limit, logger, PFS_LOG_DEBUG, "for nobody");
	}
	pfs_logf_limited(&limit, logger, PFS_LOG_WARNING, "two");
	pfs_logf_limited(&limit, logger, PFS_LOG_ERROR, "one");
}

static void write_limited_without(const struct pfs_logger *logger)
{
	const struct pfs_logger without = {0};

	(void)logger;
	write_limited(&without);
}

/* Proves: what is shown to nobody takes no part in a burst: the warning after it is shown. */
static void what_nobody_sees_is_not_counted(void **state)
{
	char text[4096];
	int status;

	(void)state;
	stderr_of(write_limited, text, sizeof(text), &status);
	assert_int_equal(status, 0);
	assert_string_equal(text, "payloadfs: two\npayloadfs: one\n");
	stderr_of(write_limited_without, text, sizeof(text), &status);
	assert_string_equal(text, "payloadfs: two\npayloadfs: one\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_logger_gets_every_message),
		cmocka_unit_test(a_message_is_one_bounded_line),
		cmocka_unit_test(damage_names_its_place),
		cmocka_unit_test(without_logger_stderr_gets_warnings),
		cmocka_unit_test(a_broken_invariant_is_named),
		cmocka_unit_test(the_first_reason_stays),
		cmocka_unit_test(a_flood_is_limited),
		cmocka_unit_test(what_was_hidden_is_counted),
		cmocka_unit_test(what_nobody_sees_is_not_counted),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
