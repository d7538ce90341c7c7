#include "tools/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "storage/monotonic.h"
#include "tools/report.h"

#define REDRAW_SECONDS 0.1
#define LINE_MAX_COLUMNS 200
#define BAR_COLUMNS 24
#define ETA_AFTER_SECONDS 1.0

static double now(void)
{
	return (double)pfs_now_monotonic() / 1e9;
}

void progress_start(struct progress *p, bool quiet, const char *verb, const char *noun,
		    uint64_t total)
{
	memset(p, 0, sizeof(*p));
	p->on = !quiet && isatty(STDERR_FILENO);
	p->verb = verb;
	p->noun = noun;
	p->total = total;
	p->started = now();
}

double progress_seconds(const struct progress *p)
{
	return now() - p->started;
}

static size_t columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0)
		return 80;
	return pfs_min_u64(size.ws_col, LINE_MAX_COLUMNS) - 1;
}

/* `[=======>        ]  45 %  `, nothing when the end is not known. */
static int format_bar(char *text, size_t cap, double part)
{
	char bar[BAR_COLUMNS + 1];
	int filled = (int)(part * BAR_COLUMNS);

	for (int i = 0; i < BAR_COLUMNS; i++)
		bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
	bar[BAR_COLUMNS] = '\0';
	return snprintf(text, cap, "[%s] %3.0f %%  ", bar, part * 100);
}

static int format_eta(char *text, size_t cap, double seconds)
{
	unsigned long s = (unsigned long)(seconds + 0.5);

	if (s >= 3600)
		return snprintf(text, cap, ", %lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
	return snprintf(text, cap, ", %lu:%02lu left", s / 60, s % 60);
}

static int format_count(const struct progress *p, char *text, size_t cap, uint64_t items,
			double elapsed)
{
	uint64_t rate = elapsed > 0 ? (uint64_t)((double)items / elapsed) : 0;

	if (!p->noun)
		return snprintf(text, cap, "%s, %s/s", size_text(items).text, size_text(rate).text);
	return snprintf(text, cap, "%s %s, %s/s", group_digits(items).text, p->noun,
			group_digits(rate).text);
}

void progress_update(struct progress *p, uint64_t done, uint64_t items)
{
	char line[LINE_MAX_COLUMNS + 1];
	double time, elapsed, part = 0;
	int used;

	if (!p->on)
		return;
	time = now();
	if (time - p->drawn < REDRAW_SECONDS)
		return;
	p->drawn = time;
	elapsed = time - p->started;
	used = snprintf(line, sizeof(line), "%s  ", p->verb);
	if (p->total) {
		part = (double)pfs_min_u64(done, p->total) / (double)p->total;
		used += format_bar(line + used, sizeof(line) - (size_t)used, part);
	}
	used += format_count(p, line + used, sizeof(line) - (size_t)used, items, elapsed);
	if (part > 0 && elapsed > ETA_AFTER_SECONDS)
		used += format_eta(line + used, sizeof(line) - (size_t)used,
				   elapsed / part - elapsed);
	if ((size_t)used > columns())
		used = (int)columns();
	fprintf(stderr, "\r%.*s\033[K", used, line);
	p->shown = true;
}

void progress_hide(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
	p->drawn = 0;
}
