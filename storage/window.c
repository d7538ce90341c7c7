#include "storage/window.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/json_scan.h"

#define CAP_MIN (256 * PFS_KIB)
#define DOUBLE_FROM (64 * PFS_KIB) /* pending bytes from which on a fill doubles them */

int pfs_window_init(struct pfs_window *w, int fd, size_t cap_max, pfs_window_wait_fn *wait,
		    void *arg)
{
	memset(w, 0, sizeof(*w));
	w->buf = malloc(CAP_MIN);
	if (!w->buf)
		return -ENOMEM;
	w->fd = fd;
	w->cap = CAP_MIN;
	w->cap_max = cap_max;
	w->line = 1;
	w->wait = wait;
	w->wait_arg = arg;
	return 0;
}

int pfs_window_init_source(struct pfs_window *w, pfs_window_source_fn *from, void *arg,
			   size_t cap_max)
{
	int err = pfs_window_init(w, -1, cap_max, NULL, NULL);

	w->source = from;
	w->source_arg = arg;
	return err;
}

void pfs_window_free(struct pfs_window *w)
{
	free(w->buf);
	w->buf = NULL;
}

static int resize(struct pfs_window *w, size_t cap)
{
	uint8_t *buf = realloc(w->buf, cap);

	if (!buf)
		return -ENOMEM;
	w->buf = buf;
	w->cap = cap;
	return 0;
}

/* Makes room behind end, at least as much as is pending unless that would pass cap_max. */
static int make_room(struct pfs_window *w)
{
	size_t pending = w->end - w->start;
	bool shrink = w->cap > CAP_MIN && pending <= CAP_MIN / 2;

	if (w->start && (shrink || w->cap - w->end < CAP_MIN / 2 || pending == 0)) {
		memmove(w->buf, w->buf + w->start, pending);
		w->start = 0;
		w->end = pending;
	}
	if (shrink)
		return resize(w, CAP_MIN);
	if (w->cap - w->end >= pfs_max_u64(pending, 1))
		return 0;
	if (w->cap >= w->cap_max)
		return w->end < w->cap ? 0 : -EFBIG;
	return resize(w, pfs_min_u64(2 * w->cap, w->cap_max));
}

static void tell_when_waiting(const struct pfs_window *w)
{
	struct pollfd poll_fd = {.fd = w->fd, .events = POLLIN};

	if (w->wait && poll(&poll_fd, 1, 0) == 0)
		w->wait(w->wait_arg);
}

/* Up to the end of the buffer. */
static ssize_t read_some(const struct pfs_window *w)
{
	ssize_t n;

	if (w->fd < 0)
		return w->source(w->source_arg, w->buf + w->end, w->cap - w->end);
	do {
		tell_when_waiting(w);
		n = read(w->fd, w->buf + w->end, w->cap - w->end);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int pfs_window_fill(struct pfs_window *w)
{
	size_t pending = w->end - w->start, got = 0;
	size_t want = pending >= DOUBLE_FROM ? pending : 1;
	int err;

	if (w->eof)
		return 0;
	err = make_room(w);
	if (err)
		return err;
	while (got < want && w->end < w->cap) {
		ssize_t n = read_some(w);

		if (n < 0 && got)
			break; /* what has come may be enough; if not, it fails again */
		if (n < 0)
			return (int)n;
		if (n == 0) {
			w->eof = true;
			break;
		}
		w->end += (size_t)n;
		got += (size_t)n;
	}
	return got > 0;
}

void pfs_window_consume(struct pfs_window *w, const uint8_t *p)
{
	const uint8_t *start = w->buf + w->start, *from = start, *newline;

	while ((newline = memchr(from, '\n', (size_t)(p - from)))) {
		w->line++;
		w->line_start = w->done + (uint64_t)(newline + 1 - start);
		from = newline + 1;
	}
	w->done += (uint64_t)(p - start);
	w->start = (size_t)(p - w->buf);
}

int pfs_window_peek(struct pfs_window *w, int *c)
{
	int more;

	for (;;) {
		pfs_window_consume(w, pfs_json_skip_space(w->buf + w->start, w->buf + w->end));
		if (w->start < w->end) {
			*c = w->buf[w->start];
			return 0;
		}
		more = pfs_window_fill(w);
		if (more < 0)
			return more;
		if (!more) {
			*c = -1;
			return 0;
		}
	}
}

int pfs_window_skip_line(struct pfs_window *w)
{
	const uint8_t *newline;
	int more;

	for (;;) {
		newline = memchr(w->buf + w->start, '\n', w->end - w->start);
		if (newline) {
			pfs_window_consume(w, newline + 1);
			return 0;
		}
		pfs_window_consume(w, w->buf + w->end);
		more = pfs_window_fill(w);
		if (more <= 0)
			return more;
	}
}

void pfs_window_place(const struct pfs_window *w, const uint8_t *p, uint64_t *line,
		      uint64_t *column)
{
	const uint8_t *start = w->buf + w->start, *from = start, *newline;
	uint64_t line_start = w->line_start;

	*line = w->line;
	while ((newline = memchr(from, '\n', (size_t)(p - from)))) {
		++*line;
		line_start = w->done + (uint64_t)(newline + 1 - start);
		from = newline + 1;
	}
	*column = w->done + (uint64_t)(p - start) - line_start + 1;
}
