#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "tools/command.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/store_copy.h"

enum { OPTION_JSON = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

/* The signal that asked us to stop, so that what is unfinished is removed. */
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

struct copying {
	struct target *source;
	struct store_copy copy;
	struct pfs_snapshot_info info;
	struct progress progress;
	uint64_t failed; /* documents that could not be read */
};

static int copy_document(void *arg, const struct pfs_key *key, int status,
			 const struct pfs_attr *attr, const void *data, size_t len)
{
	struct copying *c = arg;

	if (stop_signal)
		return -EINTR;
	if (status) {
		progress_hide(&c->progress);
		complain("%s: %s: %s", c->source->name, key_text(key).text, explain(status));
		c->failed++;
		return 0;
	}
	progress_update(&c->progress, c->copy.points + c->copy.scratch,
			c->copy.points + c->copy.scratch);
	return store_copy_add(&c->copy, key, attr, data, len);
}

/* Says why the source gave nothing more, or the copy took nothing more. Returns the exit code. */
static int copying_failed(const struct copying *c, int err)
{
	if (stop_signal)
		return PFS_EXIT_IO; /* run() ends with the signal */
	if (c->copy.err) {
		complain("%s: %s", c->copy.name, explain(c->copy.err));
		return PFS_EXIT_IO;
	}
	target_complain(c->source, NULL, err);
	return target_exit(c->source, err);
}

static int open_snapshot(struct copying *c, struct pfs_store_stat *stat)
{
	int err = target_stat(c->source, stat);

	if (!err)
		err = target_snapshot(c->source, &c->info);
	if (err == -ENOSPC) {
		complain("%s: no room on its disk for the checkpoint that a snapshot begins with "
			 "(`payloadctl export` goes without)",
			 c->source->name);
		return PFS_EXIT_IO;
	}
	if (!err)
		return 0;
	target_complain(c->source, NULL, err);
	return target_exit(c->source, err);
}

/* What the source can't show is not in the copy: that is said, and makes exit code 1. */
static int completeness(const struct copying *c, const struct pfs_store_stat *stat)
{
	uint64_t there = c->info.points + c->info.scratch;
	uint64_t seen = c->copy.points + c->copy.scratch + c->failed;
	int result = c->failed ? PFS_EXIT_SOME : PFS_EXIT_OK;

	if (seen < there) {
		complain("%s: %s document%s whose name is damaged %s not in the copy",
			 c->source->name, group_digits(there - seen).text, pfs_plural(there - seen),
			 there - seen == 1 ? "is" : "are");
		result = PFS_EXIT_SOME;
	}
	if (stat->doubt) {
		complain("%s: there are documents whose ids are not known; they are not in the "
			 "copy: run `payloadctl check --repair`",
			 c->source->name);
		result = PFS_EXIT_SOME;
	}
	return result;
}

static int copy_all(struct copying *c, bool quiet)
{
	struct pfs_store_stat stat;
	int result = open_snapshot(c, &stat), err;

	if (result)
		return result;
	progress_start(&c->progress, quiet, "snapshot", "documents",
		       c->info.points + c->info.scratch);
	result = store_copy_make(&c->copy, &stat);
	if (result)
		return result;
	err = target_copy_all(c->source, copy_document, c);
	progress_hide(&c->progress);
	if (err || stop_signal)
		return copying_failed(c, err);
	result = completeness(c, &stat);
	err = store_copy_finish(&c->copy);
	return err ? err : result;
}

static void print_json(const struct copying *c)
{
	printf("{\"points\":%" PRIu64 ",\"scratch\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
	       ",\"failed\":%" PRIu64 ",\"sequence\":%" PRIu64 ",\"opened_ns\":%" PRId64
	       ",\"seconds\":%.3f}\n",
	       c->copy.points, c->copy.scratch, c->copy.bytes, c->failed, c->info.sequence,
	       c->info.opened_ns, progress_seconds(&c->progress));
}

static void print_summary(const struct copying *c)
{
	time_t seconds = (time_t)(c->info.opened_ns / PFS_NSEC_PER_SEC);
	char when[64] = "?";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(stderr, "copied %s point%s and %s scratch file%s of %s, %s, in %.1f s",
		group_digits(c->copy.points).text, pfs_plural(c->copy.points),
		group_digits(c->copy.scratch).text, pfs_plural(c->copy.scratch), when,
		size_text(c->copy.bytes).text, progress_seconds(&c->progress));
	if (c->failed)
		fprintf(stderr, "; failed %s", group_digits(c->failed).text);
	fputc('\n', stderr);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct copying c = {0};
	bool json = false, done;
	int option, result;

	while ((option = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (option == OPTION_JSON) {
			json = true;
			continue;
		}
		result = common_option(command, option, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind != 2)
		return usage_error(command, "one TARGET and one DIRECTORY are expected");
	result = open_target(&c.source, argv[optind], 0, &common);
	if (result)
		return result;
	catch_signals();
	result = store_copy_begin(&c.copy, argv[optind + 1], c.source);
	if (!result)
		result = copy_all(&c, common.quiet);
	done = result == PFS_EXIT_OK || result == PFS_EXIT_SOME;
	if (done && json)
		print_json(&c);
	else if (done && !common.quiet)
		print_summary(&c);
	store_copy_end(&c.copy);
	result = end_output(stdout, close_target(c.source, result));
	if (stop_signal && !done)
		raise(stop_signal);
	return result;
}

const struct command command_snapshot = {
	.name = "snapshot",
	.summary = "copy a store as it is at one moment, mounted and in use or not",
	.usage = "[options] TARGET DIRECTORY",
	.help = "Makes DIRECTORY, which must not be there or be empty, a store of its own with "
		"exactly the documents\n"
		"that TARGET has at one moment: points and scratch files, with mode, owner and "
		"mtime. Nobody waits\n"
		"for it, and what is changed meanwhile is not in it. A file that was just made or "
		"emptied, and not yet\n"
		"written, is in it as it was before (`payloadctl sync` first puts it in).\n\n"
		"DIRECTORY is there only when all of it is there, durably. What was interrupted "
		"by force leaves\n"
		"`.NAME.partial-XXXXXX` beside it, which can be removed. Documents that are "
		"damaged are named, are\n"
		"not in the copy, and make exit code 1.\n\n"
		"Options:\n"
		"      --json           print the result as JSON\n",
	.run = run,
};
