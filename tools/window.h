/* A window on an input stream: bytes that are read and not done with, with the count of lines. It
 * grows as its user asks for more without being done with what it has, and shrinks when that is
 * over. */
#ifndef TOOLS_WINDOW_H
#define TOOLS_WINDOW_H

#include "storage/base.h"

/* Called before a read that has to wait for its input. */
typedef void window_wait_fn(void *arg);

/* The user reads the fields and calls the functions. The bytes [start, end) of buf stay where they
 * are until the next window_fill, also those that window_consume has moved start past. */
struct window {
	uint8_t *buf;
	size_t start, end;
	uint64_t done;	     /* bytes of input before start */
	uint64_t line;	     /* the line that start is in, from 1 */
	uint64_t line_start; /* the byte of input where it began */

	int fd;
	bool eof;
	size_t cap, cap_max;
	window_wait_fn *wait;
	void *wait_arg;
};

/* fd stays the caller's. wait may be NULL. -ENOMEM. */
int window_init(struct window *w, int fd, size_t cap_max, window_wait_fn *wait, void *arg);
void window_free(struct window *w);

/* Reads more input; when much is pending at least as much again, so that scanning from start anew
 * after each call takes linear time. 1: there is more; 0: the end of the input; -EFBIG: cap_max
 * bytes are pending; other negative errno. */
int window_fill(struct window *w);

/* Moves start forward to p. */
void window_consume(struct window *w, const uint8_t *p);

/* Skips white space of JSON. *c is the byte that start is at, -1 at the end of the input. */
int window_peek(struct window *w, int *c);

/* Moves to the start of the next line, or the end of the input. */
int window_skip_line(struct window *w);

/* Line and column (from 1) of byte p in [start, end]. */
void window_place(const struct window *w, const uint8_t *p, uint64_t *line, uint64_t *column);

#endif
