/* Rank 0: one place for messages. A store is given a logger when it is opened; without one,
 * warnings and errors go to standard error. A message is one line without newline: what, where,
 * what to do. */
#ifndef PFS_LOG_H
#define PFS_LOG_H

#include <stdarg.h>

#include "storage/base.h"

enum pfs_log_level { PFS_LOG_ERROR, PFS_LOG_WARNING, PFS_LOG_INFO, PFS_LOG_DEBUG };

/* Called from any thread. */
typedef void pfs_log_fn(void *arg, enum pfs_log_level level, const char *line);

struct pfs_logger {
	pfs_log_fn *fn; /* NULL: standard error, warnings and worse */
	void *arg;
};

#define PFS_LOG_LINE_MAX 512 /* longer lines are cut */

void pfs_logf(const struct pfs_logger *logger, enum pfs_log_level level, const char *fmt, ...)
	PFS_PRINTF(3, 4);

/* Messages of one kind that could be many, such as those about a server that does not answer: after
 * PFS_LOG_BURST of them in PFS_LOG_BURST_S seconds the rest of that time is silence, and the next
 * one says how many were not shown. Zeroed at the beginning; any thread. */
#define PFS_LOG_BURST 10
#define PFS_LOG_BURST_S 10
struct pfs_log_limit {
	int64_t begun_s; /* all atomic */
	unsigned shown, hidden;
};
void pfs_logf_limited(struct pfs_log_limit *limit, const struct pfs_logger *logger,
		      enum pfs_log_level level, const char *fmt, ...) PFS_PRINTF(4, 5);

/* Reports damage: the file (or "journal 3", "page 7"), the byte offset in it, what is wrong with
 * it. Returns -EUCLEAN, so that callers can `return pfs_corrupt(...)`. */
int pfs_corrupt(const struct pfs_logger *logger, const char *where, uint64_t off, const char *fmt,
		...) PFS_PRINTF(4, 5);

/* One line that says what is wrong, where, and what to do; empty on success. */
struct pfs_reason {
	char text[512];
};

/* Fills reason, if it is not NULL and says nothing yet. Returns err, so that callers can
 * `return pfs_refuse(...)`. */
int pfs_refuse(struct pfs_reason *reason, int err, const char *fmt, ...) PFS_PRINTF(3, 4);

/* A broken invariant of our own state: logged with its place, counted by nobody; aborts in debug
 * builds (PFS_DEBUG), returns true otherwise so that the caller fails the request. */
bool pfs_never(const struct pfs_logger *logger, const char *file, int line, const char *condition);
#ifdef PFS_COVERAGE
/* What can't happen has neither lines nor branches that a test could run; so SQLite's NEVER(). */
#define PFS_NEVER(logger, cond) (false && (cond) && (logger))
#else
#define PFS_NEVER(logger, cond) \
	(__builtin_expect(!!(cond), 0) && pfs_never((logger), __FILE__, __LINE__, #cond))
#endif

#endif
