#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/report.h"
#include "tools/terminal.h"
#include "tools/top.h"

#define STATS ".payloadfs/stats.json"
#define DELAY_MS_DEFAULT 1000
#define DELAY_MS_MIN 100
#define BATCH_COLUMNS 500u

static const struct option options[] = {
	{"delay", required_argument, NULL, 'd'},
	{"count", required_argument, NULL, 'n'},
	{"batch", no_argument, NULL, 'b'},
	COMMON_OPTIONS,
};

struct top {
	char *mountpoint, *path;
	bool batch, keys; /* keys: standard input is the terminal */
	int delay_ms;
	uint64_t count; /* blocks; 0: no end */
	struct termios before;
	char *text;
	struct top_reading readings[2];
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	if (number != SIGWINCH)
		stop_signal = number;
}

/* ---- the terminal ---- */

static void enter_terminal(struct top *top)
{
	struct termios raw;

	top->keys = tcgetattr(STDIN_FILENO, &top->before) == 0;
	if (top->keys) {
		raw = top->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	/* The second screen, without cursor. */
	fputs("\033[?1049h\033[?25l", stdout);
}

static void leave_terminal(struct top *top)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (top->keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &top->before);
}

/* ---- reading ---- */

static int read_stats(struct top *top, struct top_reading *out)
{
	int fd = open(top->path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (!err && n && len < TOP_TEXT_MAX) {
		n = read(fd, top->text + len, TOP_TEXT_MAX - len);
		if (n >= 0)
			len += (size_t)n;
		else if (errno != EINTR)
			err = -errno;
	}
	close(fd);
	return err ? err : top_parse(out, top->text, len);
}

/* Returns the exit code. */
static int complain_of(const struct top *top, int err)
{
	switch (err) {
	case -ENOENT:
	case -ENODEV: complain("%s: it is not mounted any more", top->mountpoint); break;
	case -ENOTCONN:
	case -ECONNABORTED:
		complain("%s: its daemon has ended: unmount it with `fusermount3 -u`, and mount it "
			 "again",
			 top->mountpoint);
		break;
	default: complain("%s: %s", top->path, explain(err)); return PFS_EXIT_IO;
	}
	return PFS_EXIT_TARGET;
}

/* Signals come only in here: one that has come already is not slept over. 0: go on, 1: end. */
static int wait_for_key(const struct top *top)
{
	struct timespec delay = {top->delay_ms / 1000, top->delay_ms % 1000 * 1000000L};
	struct pollfd fd = {.fd = top->keys ? STDIN_FILENO : -1, .events = POLLIN};
	sigset_t none;
	char key;

	sigemptyset(&none);
	if (ppoll(&fd, 1, &delay, &none) == 1 &&
	    (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
		return 1;
	return stop_signal != 0;
}

static int run_top(struct top *top)
{
	struct top_reading *before = NULL, *now = &top->readings[0];

	for (uint64_t n = 1;; n++) {
		int err = read_stats(top, now);

		if (err)
			return err;
		if (before && !top_follows(before, now))
			before = NULL; /* it was mounted anew */
		if (!top->batch)
			fputs("\033[H", stdout);
		top_print(stdout, top->mountpoint, before, now,
			  top->batch ? BATCH_COLUMNS : terminal_columns(),
			  top->batch ? UINT32_MAX : terminal_lines() - 1,
			  top->batch ? "\n" : "\033[K\n");
		fputs(top->batch ? "\n" : "\033[J", stdout);
		if (fflush(stdout) || (top->count && n >= top->count) || wait_for_key(top))
			return 0;
		before = now;
		now = &top->readings[now == &top->readings[0]];
	}
}

static int watch(struct top *top)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t set;
	int err;

	sigemptyset(&set);
	for (size_t i = 0; i < pfs_array_len(signals); i++) {
		sigaddset(&set, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (!top->batch)
		enter_terminal(top);
	err = run_top(top);
	if (!top->batch)
		leave_terminal(top);
	return err ? complain_of(top, err) : PFS_EXIT_OK;
}

/* The mount point of what is named; the connection to the daemon is not kept. */
static int find_mount(struct top *top, const struct command *command, int argc, char **argv,
		      const struct common_options *common)
{
	struct target *target;
	int result = open_only_target(&target, command, argc, argv, TARGET_DAEMON, common);

	if (result)
		return result;
	top->mountpoint = strdup(target->daemon_mountpoint);
	result = close_target(target, PFS_EXIT_OK);
	top->text = malloc(TOP_TEXT_MAX);
	if (top->mountpoint && top->text && asprintf(&top->path, "%s/" STATS, top->mountpoint) >= 0)
		return result;
	top->path = NULL;
	complain("%s", strerror(ENOMEM));
	return PFS_EXIT_IO;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct top top = {.delay_ms = DELAY_MS_DEFAULT};
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqd:n:b", options, NULL)) != -1) {
		if (c == 'd') {
			top.delay_ms = parse_seconds_ms(optarg);
			if (top.delay_ms < DELAY_MS_MIN)
				return usage_error(command,
						   "--delay=%s is not a number of seconds from 0.1",
						   optarg);
		} else if (c == 'n') {
			if (!parse_size(optarg, &top.count) || !top.count)
				return usage_error(command, "--count=%s is not a number from 1",
						   optarg);
		} else if (c == 'b') {
			top.batch = true;
		} else {
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	if (!isatty(STDOUT_FILENO))
		top.batch = true;
	result = find_mount(&top, command, argc, argv, &common);
	if (!result)
		result = end_output(stdout, watch(&top));
	free(top.mountpoint);
	free(top.path);
	free(top.text);
	if (stop_signal && stop_signal != SIGINT) {
		signal(stop_signal, SIG_DFL);
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		raise(stop_signal);
	}
	return result;
}

const struct command command_top = {
	.name = "top",
	.summary = "watch a mounted store at work: operations, latencies, journal",
	.usage = "[options] MOUNTPOINT",
	.help = "Shows what the mount does, anew each second, until q or Ctrl-C: its operations "
		"per "
		"second and\n"
		"how long they take, the journal, dead bytes, what the store does. The first block "
		"is "
		"about the\n"
		"time since the mounting. It is what MOUNTPOINT/.payloadfs/stats.json says.\n\n"
		"Options:\n"
		"  -d, --delay=SECONDS  time between two blocks, from 0.1 (1)\n"
		"  -n, --count=N        so many blocks, then end\n"
		"  -b, --batch          plain blocks of text, as when the output is no terminal\n",
	.run = run,
};
