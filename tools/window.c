#include "tools/window.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/json_scan.h"

#define CAP_MIN (256 * PFS_KIB)
#define DOUBLE_FROM (64 * PFS_KIB) /* pending bytes from which on a fill doubles them */

int window_init(struct window *w, int fd, size_t cap_max, window_wait_fn *wait, void *arg)
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

void window_free(struct window *w)
{
	free(w->buf);
	w->buf = NULL;
}

static int resize(struct window *w, size_t cap)
{
	uint8_t *buf = realloc(w->buf, cap);

	if (!buf)
		return -ENOMEM;
	w->buf = buf;
	w->cap = cap;
	return 0;
}

/* Makes room behind end, at least as much as is pending unless that would pass cap_max. */
static int make_room(struct window *w)
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

static void tell_when_waiting(const struct window *w)
{
	struct pollfd poll_fd = {.fd = w->fd, .events = POLLIN};

	if (w->wait && poll(&poll_fd, 1, 0) == 0)
		w->wait(w->wait_arg);
}

int window_fill(struct window *w)
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
		ssize_t n;

		tell_when_waiting(w);
		n = read(w->fd, w->buf + w->end, w->cap - w->end);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			w->eof = true;
			break;
		}
		w->end += (size_t)n;
		got += (size_t)n;
	}
	return got > 0;
}

void window_consume(struct window *w, const uint8_t *p)
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

int window_peek(struct window *w, int *c)
{
	int more;

	for (;;) {
		window_consume(w, json_skip_space(w->buf + w->start, w->buf + w->end));
		if (w->start < w->end) {
			*c = w->buf[w->start];
			return 0;
		}
		more = window_fill(w);
		if (more < 0)
			return more;
		if (!more) {
			*c = -1;
			return 0;
		}
	}
}

int window_skip_line(struct window *w)
{
	const uint8_t *newline;
	int more;

	for (;;) {
		newline = memchr(w->buf + w->start, '\n', w->end - w->start);
		if (newline) {
			window_consume(w, newline + 1);
			return 0;
		}
		window_consume(w, w->buf + w->end);
		more = window_fill(w);
		if (more <= 0)
			return more;
	}
}

void window_place(const struct window *w, const uint8_t *p, uint64_t *line, uint64_t *column)
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
