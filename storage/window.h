/* Rank 0: a window on an input stream: bytes that are read and not done with, with the count of
 * lines. It grows as its user asks for more without being done with what it has, and shrinks when
 * that is over. */
#ifndef PFS_WINDOW_H
#define PFS_WINDOW_H

#include <sys/types.h>

#include "storage/base.h"

/* Called before a read that has to wait for its input. */
typedef void pfs_window_wait_fn(void *arg);

/* Gives the next bytes, up to cap of them (at least 1): how many, 0 at the end, -EAGAIN: nothing
 * for now, or another negative errno. */
typedef ssize_t pfs_window_source_fn(void *arg, void *buf, size_t cap);

/* The user reads the fields and calls the functions. The bytes [start, end) of buf stay where they
 * are until the next pfs_window_fill, also those that pfs_window_consume has moved start past. */
struct pfs_window {
	uint8_t *buf;
	size_t start, end;
	uint64_t done;	     /* bytes of input before start */
	uint64_t line;	     /* the line that start is in, from 1 */
	uint64_t line_start; /* the byte of input where it began */

	int fd; /* or, when it is -1: */
	pfs_window_source_fn *source;
	void *source_arg;
	bool eof;
	size_t cap, cap_max;
	pfs_window_wait_fn *wait;
	void *wait_arg;
};

/* fd stays the caller's. wait may be NULL. -ENOMEM. */
int pfs_window_init(struct pfs_window *w, int fd, size_t cap_max, pfs_window_wait_fn *wait,
		    void *arg);
int pfs_window_init_source(struct pfs_window *w, pfs_window_source_fn *from, void *arg,
			   size_t cap_max);
void pfs_window_free(struct pfs_window *w);

/* Reads more input; when much is pending at least as much again, so that scanning from start anew
 * after each call takes linear time. 1: there is more; 0: the end of the input; -EFBIG: cap_max
 * bytes are pending; other negative errno, after which it may be called again. */
int pfs_window_fill(struct pfs_window *w);

/* Moves start forward to p. */
void pfs_window_consume(struct pfs_window *w, const uint8_t *p);

/* Skips white space of JSON. *c is the byte that start is at, -1 at the end of the input. */
int pfs_window_peek(struct pfs_window *w, int *c);

/* Moves to the start of the next line, or the end of the input. */
int pfs_window_skip_line(struct pfs_window *w);

/* Line and column (from 1) of byte p in [start, end]. */
void pfs_window_place(const struct pfs_window *w, const uint8_t *p, uint64_t *line,
		      uint64_t *column);

#endif
