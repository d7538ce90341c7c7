#include "fs/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/fuse_api.h"

static void write_now(struct pfs_report *report, enum pfs_log_level level, const char *line)
{
	static const int priorities[] = {
		[PFS_LOG_ERROR] = LOG_ERR,
		[PFS_LOG_WARNING] = LOG_WARNING,
		[PFS_LOG_INFO] = LOG_INFO,
		[PFS_LOG_DEBUG] = LOG_DEBUG,
	};

	if (level == PFS_LOG_DEBUG && !report->debug)
		return;
	if (atomic_load(&report->to_syslog))
		syslog(priorities[level], "%s", line);
	else if (report->journal)
		fprintf(stderr, "<%d>%s\n", priorities[level], line);
	else
		fprintf(stderr, "payloadfs: %s\n", line);
}

static void write_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct pfs_report *report = arg;

	if (level != PFS_LOG_ERROR || !atomic_load(&report->holding)) {
		write_now(report, level, line);
		return;
	}
	pthread_mutex_lock(&report->lock);
	if (report->held[0])
		write_now(report, level, report->held);
	snprintf(report->held, sizeof(report->held), "%s", line);
	pthread_mutex_unlock(&report->lock);
}

void pfs_report_hold(struct pfs_report *report)
{
	atomic_store(&report->holding, true);
}

void pfs_report_release(struct pfs_report *report, char last[PFS_LOG_LINE_MAX])
{
	pthread_mutex_lock(&report->lock);
	atomic_store(&report->holding, false);
	if (last)
		memcpy(last, report->held, sizeof(report->held));
	else if (report->held[0])
		write_now(report, PFS_LOG_ERROR, report->held);
	report->held[0] = '\0';
	pthread_mutex_unlock(&report->lock);
}

/* systemd says which device and inode the stream has that it gave us as standard error; who
 * redirects it afterwards gets plain lines. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;

	return stream && sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void pfs_report_init(struct pfs_report *report, bool debug)
{
	report->logger.fn = write_line;
	report->logger.arg = report;
	atomic_init(&report->to_syslog, false);
	report->debug = debug;
	report->journal = stderr_is_journal();
	pthread_mutex_init(&report->lock, NULL);
	report->partial[0] = '\0';
	report->partial_len = 0;
	atomic_init(&report->holding, false);
	report->held[0] = '\0';
}

void pfs_report_to_syslog(struct pfs_report *report)
{
	openlog("payloadfs", LOG_PID, LOG_DAEMON);
	atomic_store(&report->to_syslog, true);
}

/* libfuse's hook has no argument of its own. Set once, before threads are started. */
static struct pfs_report *libfuse_report;

/* libfuse builds some of its lines in several calls: they are put together until the newline comes.
 */
static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list args)
{
	struct pfs_report *report = libfuse_report;
	size_t room;
	char *end;

	/* Debug output comes as it is (-d stays in the foreground). */
	if (level == FUSE_LOG_DEBUG) {
		vfprintf(stderr, fmt, args);
		return;
	}
	pthread_mutex_lock(&report->lock);
	room = sizeof(report->partial) - report->partial_len;
	vsnprintf(report->partial + report->partial_len, room, fmt, args);
	end = strchr(report->partial, '\n');
	if (end || strlen(report->partial) == sizeof(report->partial) - 1) {
		if (end)
			*end = '\0';
		write_now(report, level <= FUSE_LOG_ERR ? PFS_LOG_ERROR : PFS_LOG_WARNING,
			  report->partial);
		report->partial[0] = '\0';
	}
	report->partial_len = strlen(report->partial);
	pthread_mutex_unlock(&report->lock);
}

void pfs_report_take_libfuse(struct pfs_report *report)
{
	libfuse_report = report;
	fuse_set_log_func(libfuse_log);
}
