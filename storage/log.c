#include "storage/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Names and disk bytes end up in messages: whatever they hold, a message stays one line. */
static void keep_one_line(char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
}

static void emit(const struct pfs_logger *logger, enum pfs_log_level level, char *line)
{
	int saved_errno = errno;

	keep_one_line(line);
	if (logger && logger->fn)
		logger->fn(logger->arg, level, line);
	else if (level <= PFS_LOG_WARNING)
		fprintf(stderr, "payloadfs: %s\n", line);
	errno = saved_errno;
}

void pfs_logf(const struct pfs_logger *logger, enum pfs_log_level level, const char *fmt, ...)
{
	char line[PFS_LOG_LINE_MAX];
	va_list ap;

	if (level > PFS_LOG_WARNING && !(logger && logger->fn))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	emit(logger, level, line);
}

/* Two threads at the border of two spans may both begin the new one: a line more or less. */
static bool may_be_shown(struct pfs_log_limit *limit, unsigned *hidden)
{
	struct timespec now;
	int64_t begun = __atomic_load_n(&limit->begun_s, __ATOMIC_RELAXED);

	*hidden = 0;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec - begun >= PFS_LOG_BURST_S) {
		__atomic_store_n(&limit->begun_s, now.tv_sec, __ATOMIC_RELAXED);
		__atomic_store_n(&limit->shown, 0, __ATOMIC_RELAXED);
		*hidden = __atomic_exchange_n(&limit->hidden, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_fetch_add(&limit->shown, 1, __ATOMIC_RELAXED) < PFS_LOG_BURST)
		return true;
	__atomic_fetch_add(&limit->hidden, 1, __ATOMIC_RELAXED);
	return false;
}

void pfs_logf_limited(struct pfs_log_limit *limit, const struct pfs_logger *logger,
		      enum pfs_log_level level, const char *fmt, ...)
{
	char line[PFS_LOG_LINE_MAX];
	unsigned hidden;
	va_list ap;

	if ((level > PFS_LOG_WARNING && !(logger && logger->fn)) || !may_be_shown(limit, &hidden))
		return;
	if (hidden)
		pfs_logf(logger, level, "%u messages like the following were not shown", hidden);
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	emit(logger, level, line);
}

int pfs_corrupt(const struct pfs_logger *logger, const char *where, uint64_t off, const char *fmt,
		...)
{
	char what[PFS_LOG_LINE_MAX], line[PFS_LOG_LINE_MAX + 192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* The place comes first, so that it is never what a long line loses. */
	snprintf(line, sizeof(line), "damage in %.128s at byte %" PRIu64 ": %s", where, off, what);
	line[PFS_LOG_LINE_MAX - 1] = '\0';
	emit(logger, PFS_LOG_ERROR, line);
	return -EUCLEAN;
}

int pfs_refuse(struct pfs_reason *reason, int err, const char *fmt, ...)
{
	va_list ap;

	if (!reason || reason->text[0])
		return err;
	va_start(ap, fmt);
	vsnprintf(reason->text, sizeof(reason->text), fmt, ap);
	va_end(ap);
	return err;
}

bool pfs_never(const struct pfs_logger *logger, const char *file, int line, const char *condition)
{
	pfs_logf(logger, PFS_LOG_ERROR, "bug: %s:%d: what must never be: %s", file, line,
		 condition);
#ifdef PFS_DEBUG
	abort();
#endif
	return true;
}
