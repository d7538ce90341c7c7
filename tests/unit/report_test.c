/* fs/report.c: where a line goes and what stands before it, what is held back, and what libfuse
 * says in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdarg.h>
#include <stdio.h>

static char syslog_line[256];
static int syslog_priority;

static void keep_syslog(int priority, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(syslog_line, sizeof(syslog_line), fmt, args);
	va_end(args);
	syslog_priority = priority;
}

static char ident[32];
static int ident_options, ident_facility;

static void keep_ident(const char *name, int options, int facility)
{
	snprintf(ident, sizeof(ident), "%s", name);
	ident_options = options;
	ident_facility = facility;
}

static void *hook;

static void set_hook(void *fn)
{
	hook = fn;
}

#include "fs/fuse_api.h"
#define syslog keep_syslog
#define openlog keep_ident
#define fuse_set_log_func(fn) set_hook((void *)(uintptr_t)(fn))
#include "fs/report.c"
#undef syslog
#include "tests/unit/stderr_helpers.h"

static void expect_said(const char *want)
{
	char text[4096];

	end_to_listen(text, sizeof(text));
	assert_string_equal(text, want);
}

static void say(struct pfs_report *report, enum pfs_log_level level, const char *line)
{
	pfs_logf(&report->logger, level, "%s", line);
}

/* Proves: on standard error a line begins with the program's name; debug lines come only when they
 * were asked for; in the background all goes to syslog with its priority. */
static void lines_go_where_somebody_looks(void **state)
{
	struct pfs_report report;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	begin_to_listen();
	pfs_report_init(&report, false);
	say(&report, PFS_LOG_ERROR, "one");
	say(&report, PFS_LOG_DEBUG, "two");
	pfs_report_init(&report, true);
	say(&report, PFS_LOG_DEBUG, "three");
	pfs_report_to_syslog(&report);
	say(&report, PFS_LOG_WARNING, "four");
	expect_said("payloadfs: one\npayloadfs: three\n");
	assert_string_equal(syslog_line, "four");
	assert_int_equal(syslog_priority, LOG_WARNING);
	assert_string_equal(ident, "payloadfs");
	assert_int_equal(ident_options, LOG_PID);
	assert_int_equal(ident_facility, LOG_DAEMON);
	pthread_mutex_destroy(&report.lock);
}

/* Proves: what is systemd's journal gets priorities; what was redirected from it does not. */
static void the_journal_gets_priorities(void **state)
{
	struct pfs_report report;
	char stream[64];
	struct stat st;

	(void)state;
	begin_to_listen();
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	pfs_report_init(&report, false);
	say(&report, PFS_LOG_ERROR, "one");
	say(&report, PFS_LOG_INFO, "two");
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + 1);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	pfs_report_init(&report, false);
	say(&report, PFS_LOG_ERROR, "three");
	assert_int_equal(setenv("JOURNAL_STREAM", "nonsense", 1), 0);
	pfs_report_init(&report, false);
	say(&report, PFS_LOG_ERROR, "four");
	unsetenv("JOURNAL_STREAM");
	expect_said("<3>one\n<6>two\npayloadfs: three\npayloadfs: four\n");
	pthread_mutex_destroy(&report.lock);
}

/* Proves: errors that are held back come when it goes on, in order, or the last one is given to the
 * caller; others are not held. */
static void the_last_error_is_held_back(void **state)
{
	struct pfs_report report;
	char last[PFS_LOG_LINE_MAX];

	(void)state;
	memset(&report, 'r', sizeof(report)); /* whatever lay there */
	begin_to_listen();
	pfs_report_init(&report, false);
	pfs_report_hold(&report);
	pfs_report_release(&report, NULL);
	pfs_report_hold(&report);
	say(&report, PFS_LOG_ERROR, "0");
	pfs_report_release(&report, NULL);
	pfs_report_hold(&report);
	say(&report, PFS_LOG_ERROR, "first");
	say(&report, PFS_LOG_WARNING, "warning");
	say(&report, PFS_LOG_ERROR, "second");
	pfs_report_release(&report, last);
	assert_string_equal(last, "second");
	pfs_report_hold(&report);
	pfs_report_release(&report, last);
	assert_string_equal(last, "");
	pfs_report_hold(&report);
	say(&report, PFS_LOG_ERROR, "third");
	pfs_report_release(&report, NULL);
	say(&report, PFS_LOG_ERROR, "fourth");
	expect_said("payloadfs: 0\npayloadfs: warning\npayloadfs: first\npayloadfs: "
		    "third\npayloadfs: fourth\n");
	pthread_mutex_destroy(&report.lock);
}

static void fuse_says(enum fuse_log_level level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	libfuse_log(level, fmt, args);
	va_end(args);
}

/* Proves: what libfuse says in pieces is one line, also when it is too long; its debug output comes
 * as it is. */
static void what_libfuse_says_is_put_together(void **state)
{
	static char large[3 * PFS_LOG_LINE_MAX];
	static char want[4 * PFS_LOG_LINE_MAX];
	struct pfs_report report;

	(void)state;
	memset(large, 'x', PFS_LOG_LINE_MAX + 10);
	begin_to_listen();
	pfs_report_init(&report, true);
	pfs_report_take_libfuse(&report);
	assert_ptr_equal(hook, (void *)(uintptr_t)libfuse_log);
	fuse_says(FUSE_LOG_ERR, "fuse: %s", "bad ");
	fuse_says(FUSE_LOG_ERR, "option\n");
	fuse_says(FUSE_LOG_DEBUG, "unique: %d\n", 7);
	fuse_says(FUSE_LOG_WARNING, "%s", large);
	fuse_says(FUSE_LOG_WARNING, "end\n");
	snprintf(want, sizeof(want),
		 "payloadfs: fuse: bad option\nunique: 7\npayloadfs: %.*s\npayloadfs: end\n",
		 (int)sizeof(report.partial) - 1, large);
	expect_said(want);
	pthread_mutex_destroy(&report.lock);
}

/* Proves: libfuse's errors, and what is worse, are errors, the rest warnings; and a piece that does
 * not fit behind another is cut where the line ends. */
static void what_libfuse_says_has_its_weight(void **state)
{
	static const struct {
		enum fuse_log_level level;
		int priority;
	} cases[] = {{FUSE_LOG_EMERG, LOG_ERR},	     {FUSE_LOG_CRIT, LOG_ERR},
		     {FUSE_LOG_ERR, LOG_ERR},	     {FUSE_LOG_WARNING, LOG_WARNING},
		     {FUSE_LOG_NOTICE, LOG_WARNING}, {FUSE_LOG_INFO, LOG_WARNING}};
	static char large[2 * PFS_LOG_LINE_MAX], line[3 * PFS_LOG_LINE_MAX];
	static char want[4 * PFS_LOG_LINE_MAX];
	struct pfs_report report;

	(void)state;
	pfs_report_init(&report, false);
	pfs_report_take_libfuse(&report);
	pfs_report_to_syslog(&report);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		syslog_priority = -1;
		fuse_says(cases[i].level, "said\n");
		assert_int_equal(syslog_priority, cases[i].priority);
		assert_string_equal(syslog_line, "said");
	}
	memset(large, 'y', sizeof(report.partial) + 20);
	begin_to_listen();
	pfs_report_init(&report, false);
	fuse_says(FUSE_LOG_ERR, "beginning ");
	fuse_says(FUSE_LOG_ERR, "%s", large);
	fuse_says(FUSE_LOG_ERR, "end\n");
	snprintf(line, sizeof(line), "beginning %s", large);
	line[sizeof(report.partial) - 1] = '\0';
	snprintf(want, sizeof(want), "payloadfs: %s\npayloadfs: end\n", line);
	expect_said(want);
	assert_false(atomic_load(&report.holding));
	assert_string_equal(report.held, "");
	pthread_mutex_destroy(&report.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_go_where_somebody_looks),
		cmocka_unit_test(the_journal_gets_priorities),
		cmocka_unit_test(the_last_error_is_held_back),
		cmocka_unit_test(what_libfuse_says_is_put_together),
		cmocka_unit_test(what_libfuse_says_has_its_weight),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
