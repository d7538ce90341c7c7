/* A progress line on standard error: bar, count, rate, time left. Shown on a terminal only. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include "storage/base.h"

struct progress {
	bool on;
	bool shown; /* the line is on the screen */
	const char *verb, *noun;
	uint64_t total;	       /* bytes, 0: not known */
	double started, drawn; /* seconds */
};

/* verb: "import"; noun: "documents", or NULL: what is counted are bytes. quiet, or standard error
 * is not a terminal: nothing is ever shown. */
void progress_start(struct progress *p, bool quiet, const char *verb, const char *noun,
		    uint64_t total);

/* Draws the line, at most ten times a second. done is measured like total; items is what is counted
 * for people. */
void progress_update(struct progress *p, uint64_t done, uint64_t items);

/* Takes the line off the screen, so that another can be printed. */
void progress_hide(struct progress *p);

/* Seconds since the start. */
double progress_seconds(const struct progress *p);

#endif
