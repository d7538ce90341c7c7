/* Rank 0: where messages go: to standard error while somebody looks at it, to syslog once the
 * daemon is in the background. On standard error a line begins with "payloadfs: ", or, when that is
 * a stream of systemd's journal (JOURNAL_STREAM), with its priority, "<3>" (sd-daemon(3)). */
#ifndef PFS_REPORT_H
#define PFS_REPORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/log.h"

struct pfs_report {
	struct pfs_logger logger; /* give this one on */
	_Atomic bool to_syslog;
	bool debug;   /* debug lines, too */
	bool journal; /* standard error is the journal's */
	pthread_mutex_t lock;
	char partial[PFS_LOG_LINE_MAX]; /* under lock: a line of libfuse that is not complete */
	size_t partial_len;
	_Atomic bool holding;
	char held[PFS_LOG_LINE_MAX]; /* under lock */
};

/* report must stay where it is as long as its logger is used. */
void pfs_report_init(struct pfs_report *report, bool debug);

/* From now on to syslog, as "payloadfs[pid]". */
void pfs_report_to_syslog(struct pfs_report *report);

/* From here to pfs_report_release errors are held back: what fails is to be told in one line, and
 * the caller knows more of it. */
void pfs_report_hold(struct pfs_report *report);

/* Goes on as before. The last error that was held back is copied to last (empty if there was none);
 * last NULL: it is written now. */
void pfs_report_release(struct pfs_report *report, char last[PFS_LOG_LINE_MAX]);

/* Has libfuse's own messages reported, too. One report a process: libfuse has one such hook. */
void pfs_report_take_libfuse(struct pfs_report *report);

#endif
