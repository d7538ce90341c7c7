/* storage/window.c: what is read and not done with, its lines, and how much of it there may be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/window.h"

/* Reads that a signal interrupts before there was anything, and memory that there is not. */
static unsigned interruptions;
static bool no_memory;

static ssize_t faulty_read(int fd, void *buf, size_t len)
{
	if (interruptions) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return read(fd, buf, len);
}

static void *faulty_realloc(void *old, size_t len)
{
	return no_memory ? NULL : realloc(old, len);
}

#define read faulty_read
#define realloc faulty_realloc
#define malloc(len) faulty_realloc(NULL, len)
#include "storage/window.c"
#undef read
#undef realloc
#undef malloc

#define CAP (256 * PFS_KIB) /* of a window with little in it */
#define MUCH (64 * PFS_KIB) /* pending bytes from which on a fill doubles them */
#define PIECE 1000u	    /* that an input gives at once, if it does not say otherwise */

/* An input whose byte i is byte_at(i), and which comes in pieces. */
struct input {
	uint64_t given, end;
	unsigned piece, calls;
	uint64_t fail_at; /* with `err`, once */
	int err;
};

static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)pfs_mix64(i + 1);
}

static ssize_t give(void *arg, void *buf, size_t cap)
{
	struct input *in = arg;
	size_t piece = in->piece ? in->piece : PIECE;
	size_t n = pfs_min_u64(pfs_min_u64(cap, piece), in->end - in->given);
	int err = in->err;

	assert_true(cap > 0);
	in->calls++;
	if (err && in->given >= in->fail_at) {
		in->err = 0;
		return err;
	}
	for (size_t i = 0; i < n; i++)
		((uint8_t *)buf)[i] = byte_at(in->given + i);
	in->given += n;
	return (ssize_t)n;
}

static struct pfs_window window_of(struct input *in, size_t cap_max)
{
	struct pfs_window w;

	assert_int_equal(pfs_window_init_source(&w, give, in, cap_max), 0);
	return w;
}

/* All that was given and is not done with is there, as it came. */
static void expect_right(const struct pfs_window *w, const struct input *in)
{
	assert_int_equal(w->done + (w->end - w->start), in->given);
	for (size_t i = w->start; i < w->end; i++)
		assert_int_equal(w->buf[i], byte_at(w->done + i - w->start));
}

/* Proves: cap_max bytes may be pending and not one more; who is done with some gets so many more.
 */
static void so_much_may_be_pending(void **state)
{
	(void)state;
	for (size_t cap_max = CAP; cap_max <= 4 * CAP; cap_max += CAP + 4096) {
		struct input in = {.end = UINT64_MAX};
		struct pfs_window w = window_of(&in, cap_max);
		int more;

		while ((more = pfs_window_fill(&w)) == 1)
			expect_right(&w, &in);
		assert_int_equal(more, -EFBIG);
		assert_int_equal(w.end - w.start, cap_max);
		pfs_window_consume(&w, w.buf + w.start + 1);
		assert_int_equal(pfs_window_fill(&w), 1);
		assert_int_equal(w.end - w.start, cap_max);
		expect_right(&w, &in);
		assert_int_equal(pfs_window_fill(&w), -EFBIG);
		pfs_window_free(&w);
	}
}

/* Proves: a little is had by one read; behind much, a fill brings as much again, so that looking at
 * all of it after each takes linear time; and it takes no more memory than that needs. */
static void much_is_doubled(void **state)
{
	struct input in = {.end = UINT64_MAX};
	struct pfs_window w = window_of(&in, 64 * CAP);

	(void)state;
	while (w.end - w.start < 2 * PFS_MIB) {
		size_t pending = w.end - w.start;
		unsigned calls = in.calls;

		assert_int_equal(pfs_window_fill(&w), 1);
		expect_right(&w, &in);
		if (pending < MUCH)
			assert_int_equal(in.calls, calls + 1);
		else
			assert_in_range(w.end - w.start, 2 * pending, 2 * pending + PIECE);
		assert_true(w.cap <= 4 * pfs_max_u64(w.end - w.start, CAP));
	}
	pfs_window_free(&w);
}

/* Proves: to the byte: behind less than `MUCH` one read is enough, however little it brings, and
 * wherever the pending bytes stand; behind so much reads go on until there is as much again, and no
 * further. */
static void so_much_is_read(void **state)
{
	struct input in = {.end = UINT64_MAX, .piece = 1024};
	struct pfs_window w = window_of(&in, 64 * CAP);

	(void)state;
	while (w.end - w.start < MUCH - 1024) {
		assert_int_equal(pfs_window_fill(&w), 1);
		pfs_window_consume(&w, w.buf + w.start + 512);
	}
	in.piece = 1;
	in.calls = 0;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(in.calls, 1);
	in.piece = 0;
	while (w.end - w.start < MUCH - 1) {
		in.piece = (unsigned)pfs_min_u64(1000, MUCH - 1 - (w.end - w.start));
		assert_int_equal(pfs_window_fill(&w), 1);
	}
	in.piece = 1;
	in.calls = 0;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(in.calls, 1);
	assert_int_equal(w.end - w.start, MUCH);
	in.piece = 1024;
	in.calls = 0;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(in.calls, MUCH / 1024);
	assert_int_equal(w.end - w.start, 2 * MUCH);
	expect_right(&w, &in);
	pfs_window_free(&w);
}

/* Proves: the end is the end: an empty input has nothing, and nobody who has said that he is at his
 * end is asked again, also when something came before in the same fill. */
static void the_end_is_met_once(void **state)
{
	struct input in = {.end = 0};
	struct pfs_window w = window_of(&in, CAP);
	int c = 0;

	(void)state;
	assert_int_equal(pfs_window_fill(&w), 0);
	assert_int_equal(pfs_window_fill(&w), 0);
	assert_int_equal(pfs_window_peek(&w, &c), 0);
	assert_int_equal(c, -1);
	assert_int_equal(in.calls, 1);
	pfs_window_free(&w);
	in = (struct input){.end = MUCH + PIECE, .piece = MUCH};
	w = window_of(&in, CAP);
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(in.calls, 3);
	assert_int_equal(pfs_window_fill(&w), 0);
	assert_int_equal(in.calls, 3);
	expect_right(&w, &in);
	pfs_window_free(&w);
}

/* Proves: without memory a window is none, and one that can't grow keeps what it has. */
static void memory_may_be_missing(void **state)
{
	struct input in = {.end = UINT64_MAX};
	struct pfs_window w;
	int more;

	(void)state;
	no_memory = true;
	assert_int_equal(pfs_window_init(&w, 0, CAP, NULL, NULL), -ENOMEM);
	assert_int_equal(pfs_window_init_source(&w, give, &in, CAP), -ENOMEM);
	no_memory = false;
	w = window_of(&in, 64 * CAP);
	no_memory = true;
	while ((more = pfs_window_fill(&w)) == 1)
		;
	no_memory = false;
	assert_int_equal(more, -ENOMEM);
	assert_in_range(w.end, CAP / 2, CAP);
	expect_right(&w, &in);
	assert_int_equal(pfs_window_fill(&w), 1);
	expect_right(&w, &in);
	pfs_window_free(&w);
}

/* Proves: the memory is given back when little is pending again, whose bytes stay. */
static void it_shrinks(void **state)
{
	struct input in = {.end = UINT64_MAX};
	struct pfs_window w = window_of(&in, 64 * CAP);

	(void)state;
	while (w.end - w.start < 4 * CAP)
		assert_int_equal(pfs_window_fill(&w), 1);
	assert_true(w.cap > CAP);
	pfs_window_consume(&w, w.buf + w.end - (CAP / 2 + 1));
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_true(w.cap > CAP);
	expect_right(&w, &in);
	pfs_window_consume(&w, w.buf + w.end - CAP / 2);
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(w.cap, CAP);
	expect_right(&w, &in);
	pfs_window_free(&w);
}

/* Proves: an error loses nothing that came before it, and is told by the next fill if something
 * did; then it goes on. At the end nobody is asked again. */
static void errors_come_behind_what_came(void **state)
{
	struct input in = {.end = 300000, .fail_at = 0, .err = -EAGAIN};
	struct pfs_window w = window_of(&in, 64 * CAP);
	unsigned calls;

	(void)state;
	assert_int_equal(pfs_window_fill(&w), -EAGAIN);
	assert_int_equal(w.end - w.start, 0);
	while (w.end - w.start < MUCH)
		assert_int_equal(pfs_window_fill(&w), 1);
	in.fail_at = in.given + 2 * PIECE;
	in.err = -EIO;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(in.given, in.fail_at);
	expect_right(&w, &in);
	in.err = -EIO;
	assert_int_equal(pfs_window_fill(&w), -EIO);
	while (pfs_window_fill(&w) == 1)
		expect_right(&w, &in);
	assert_int_equal(in.given, in.end);
	calls = in.calls;
	assert_int_equal(pfs_window_fill(&w), 0);
	assert_int_equal(in.calls, calls);
	expect_right(&w, &in);
	pfs_window_free(&w);
}

/* ---- lines, of a file descriptor ---- */

struct writer {
	int fd;
	const char *text; /* the next that is written when the window waits */
	unsigned waits;
};

static void write_when_waiting(void *arg)
{
	struct writer *writer = arg;
	size_t len = strlen(writer->text);

	writer->waits++;
	assert_int_equal(write(writer->fd, writer->text, len), len);
	close(writer->fd);
}

/* Proves: lines and columns count from 1, of bytes that are done with, too; a line that is skipped
 * ends behind its end of line, or with the input; who waits for input is told before, and who has
 * it is not. */
static void lines_are_counted(void **state)
{
	struct writer writer = {.text = "\n  x"};
	uint64_t line, column;
	struct pfs_window w;
	int ends[2], c;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	writer.fd = ends[1];
	assert_int_equal(write(ends[1], "ab\ncd\n\n e", 9), 9);
	assert_int_equal(pfs_window_init(&w, ends[0], CAP, write_when_waiting, &writer), 0);
	assert_int_equal(pfs_window_peek(&w, &c), 0);
	assert_int_equal(c, 'a');
	assert_int_equal(writer.waits, 0);
	pfs_window_place(&w, w.buf + w.start, &line, &column);
	assert_true(line == 1 && column == 1);
	pfs_window_place(&w, w.buf + w.start + 2, &line, &column);
	assert_true(line == 1 && column == 3);
	pfs_window_place(&w, w.buf + w.start + 3, &line, &column);
	assert_true(line == 2 && column == 1);
	pfs_window_consume(&w, w.buf + w.start + 4);
	assert_true(w.line == 2 && w.line_start == 3 && w.done == 4);
	pfs_window_place(&w, w.buf + w.start, &line, &column);
	assert_true(line == 2 && column == 2);
	assert_int_equal(pfs_window_skip_line(&w), 0);
	assert_true(w.line == 3 && w.done == 6);
	assert_int_equal(pfs_window_peek(&w, &c), 0);
	assert_int_equal(c, 'e');
	assert_true(w.line == 4 && w.done == 8);
	/* The end of this line is still to come. */
	assert_int_equal(pfs_window_skip_line(&w), 0);
	assert_int_equal(writer.waits, 1);
	assert_true(w.line == 5 && w.line_start == 10 && w.done == 10);
	assert_int_equal(pfs_window_peek(&w, &c), 0);
	assert_int_equal(c, 'x');
	pfs_window_place(&w, w.buf + w.start, &line, &column);
	assert_true(line == 5 && column == 3);
	assert_int_equal(pfs_window_skip_line(&w), 0);
	assert_true(w.start == w.end && w.done == 13);
	assert_int_equal(pfs_window_peek(&w, &c), 0);
	assert_int_equal(c, -1);
	assert_int_equal(writer.waits, 1);
	pfs_window_free(&w);
	close(ends[0]);
}

/* Proves: any descriptor can be read, also 0; a read that was interrupted is made again, and one
 * that was not is not taken for it; another error is said. */
static void descriptors_are_read(void **state)
{
	int ends[2], saved = dup(STDIN_FILENO);
	struct pfs_window w;

	(void)state;
	assert_true(saved >= 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(pfs_window_init(&w, STDIN_FILENO, CAP, NULL, NULL), 0);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	interruptions = 2;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(interruptions, 0);
	assert_int_equal(w.end, 3);
	assert_memory_equal(w.buf, "abc", 3);
	assert_int_equal(write(ends[1], "d", 1), 1);
	close(ends[1]);
	errno = EINTR;
	assert_int_equal(pfs_window_fill(&w), 1);
	assert_int_equal(w.end, 4);
	assert_memory_equal(w.buf, "abcd", 4);
	errno = EINTR;
	assert_int_equal(pfs_window_fill(&w), 0);
	pfs_window_free(&w);
	close(ends[0]);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
	assert_int_equal(pfs_window_init(&w, saved, CAP, NULL, NULL), 0);
	assert_int_equal(pfs_window_fill(&w), -EBADF);
	pfs_window_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_much_may_be_pending),
		cmocka_unit_test(much_is_doubled),
		cmocka_unit_test(so_much_is_read),
		cmocka_unit_test(the_end_is_met_once),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(it_shrinks),
		cmocka_unit_test(errors_come_behind_what_came),
		cmocka_unit_test(lines_are_counted),
		cmocka_unit_test(descriptors_are_read),
	};

	return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
