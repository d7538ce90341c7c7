#include <signal.h>
#include <stdlib.h>

#include "storage/export_line.h"
#include "storage/wire.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/qdrant_upsert.h"
#include "tools/report.h"
#include "tools/sorted_keys.h"

#define BATCH_MAX 100000

enum { OPTION_SORT = OPTION_FIRST_OWN, OPTION_UPSERT, OPTION_BATCH };

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"sort", no_argument, NULL, OPTION_SORT},
	{"qdrant-upsert", no_argument, NULL, OPTION_UPSERT},
	{"batch", required_argument, NULL, OPTION_BATCH},
	COMMON_OPTIONS,
};

/* The signal that asked us to stop, so that an unfinished file is removed. */
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

struct export
{
	struct target *target;
	struct output out;
	struct progress progress;
	uint64_t documents, failed, bytes;
	struct qdrant_upsert upsert; /* batch 0: NDJSON is written */
};

static void complain_document(struct export *export, const struct pfs_key *key, const char *why)
{
	progress_hide(&export->progress);
	complain("%s: %s: %s", export->target->name, key_text(key).text, why);
	export->failed++;
}

static int write_record(struct output *out, const struct pfs_key *key, const void *data, size_t len)
{
	struct pfs_line line;
	int err;

	pfs_line_frame(&line, key, pfs_line_is_plain(data, len));
	err = output_write(out, line.head, line.head_len);
	if (!err)
		err = line.plain ? output_write(out, data, len) : output_base64(out, data, len);
	return err ? err : output_write(out, line.tail, line.tail_len);
}

/* Writes one document. */
static int export_document(void *arg, const struct pfs_key *key, int status, const void *data,
			   size_t len)
{
	struct export *export = arg;
	int err;

	if (stop_signal)
		return -EINTR;
	if (status) {
		complain_document(export, key, explain(status));
		return 0;
	}
	if (export->upsert.batch)
		err = qdrant_upsert_add(&export->upsert, key, data, len);
	else
		err = write_record(&export->out, key, data, len);
	if (err == -EBADMSG) {
		complain_document(export, key,
				  "is not a JSON object, and Qdrant takes no other payload");
		return 0;
	}
	export->documents++;
	export->bytes += len;
	progress_update(&export->progress, export->documents, export->documents);
	return err;
}

static int export_some(void *arg, const struct pfs_key *keys, size_t count)
{
	struct export *export = arg;

	return target_export_keys(export->target, keys, count, export_document, export);
}

static int export_sorted(struct export *export)
{
	struct sorted_keys keys;
	int err = sorted_keys_get(&keys, export->target);

	if (!err)
		err = sorted_keys_each(&keys, 1, export_some, export);
	sorted_keys_free(&keys);
	return err;
}

/* All that is exported is of one moment, but where a full disk has no room for that. */
static int open_snapshot(struct target *target)
{
	struct pfs_snapshot_info info;
	int err = target_snapshot(target, &info);

	if (err != -ENOSPC)
		return err;
	complain("%s: not one moment: its disk has no room for the checkpoint that a snapshot "
		 "begins with; what is changed meanwhile may be in the export or not",
		 target->name);
	return 0;
}

static int export_everything(struct export *export, bool sort, bool quiet)
{
	struct pfs_store_stat stat;
	int err = target_stat(export->target, &stat);

	if (!err)
		err = open_snapshot(export->target);
	if (err)
		return err;
	progress_start(&export->progress, quiet, "export", "documents", stat.points);
	if (sort)
		err = export_sorted(export);
	else
		err = target_export_all(export->target, export_document, export);
	progress_hide(&export->progress);
	return err;
}

static void print_summary(const struct export *export)
{
	fprintf(stderr, "exported %s document%s, %s, in %.1f s",
		group_digits(export->documents).text, pfs_plural(export->documents),
		size_text(export->bytes).text, progress_seconds(&export->progress));
	if (export->failed)
		fprintf(stderr, "; failed %s", group_digits(export->failed).text);
	fputc('\n', stderr);
}

/* Exports to the output that is open. Returns the exit code. */
static int export_to(struct export *export, const char *path, bool sort, bool quiet)
{
	int err = export_everything(export, sort, quiet), result;

	if (stop_signal)
		return PFS_EXIT_IO; /* run() ends with the signal */
	if (!err)
		err = qdrant_upsert_end(&export->upsert);
	if (!err)
		err = output_commit(&export->out);
	if (err == -EPIPE && export->out.err)
		return PFS_EXIT_OK; /* the reader has what it wanted */
	if (err && export->out.err) {
		complain("%s: %s", path ? path : "standard output", strerror(-err));
		return PFS_EXIT_IO;
	}
	if (err) {
		target_complain(export->target, NULL, err);
		return target_exit(export->target, err);
	}
	result = export->failed ? PFS_EXIT_SOME : PFS_EXIT_OK;
	if (!quiet)
		print_summary(export);
	return result;
}

static int run_export(struct export *export, const char *path, bool sort, bool quiet)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	int err, result;

	if (path) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGHUP, &action, NULL);
	}
	err = output_open(&export->out, path);
	if (err) {
		complain("%s: %s", path ? path : "standard output", strerror(-err));
		result = PFS_EXIT_IO;
	} else {
		result = export_to(export, path, sort, quiet);
		output_close(&export->out);
	}
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct export export = {.upsert = {.out = &export.out}};
	const char *path = NULL;
	bool sort = false, upsert = false;
	uint64_t batch = 0;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqo:", options, NULL)) != -1) {
		if (c == 'o') {
			path = optarg;
		} else if (c == OPTION_SORT) {
			sort = true;
		} else if (c == OPTION_UPSERT) {
			upsert = true;
		} else if (c == OPTION_BATCH) {
			if (!parse_size(optarg, &batch) || batch < 1 || batch > BATCH_MAX)
				return usage_error(command,
						   "--batch=%s is not a number from 1 to %d",
						   optarg, BATCH_MAX);
		} else {
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	if (batch && !upsert)
		return usage_error(command, "--batch belongs to --qdrant-upsert");
	export.upsert.batch = !upsert ? 0 : batch ? batch : 1;
	result = open_only_target(&export.target, command, argc, argv, 0, &common);
	if (result)
		return result;
	result = run_export(&export, path && strcmp(path, "-") ? path : NULL, sort, common.quiet);
	result = close_target(export.target, result);
	if (stop_signal)
		raise(stop_signal);
	return result;
}

const struct command command_export = {
	.name = "export",
	.summary = "write all points as NDJSON",
	.usage = "[options] TARGET",
	.help = "Writes every point as a line {\"id\":...,\"payload\":...}, the payload's bytes as "
		"they are. A payload\n"
		"that is not one JSON value in one line is written as "
		"{\"id\":...,\"payload_base64\":\"...\"}.\n"
		"Scratch files are not points and are left out. `payloadctl import` reads it "
		"back.\n"
		"All points are as they were at one moment, whatever is changed meanwhile. When "
		"the disk of a store\n"
		"in use is too full for that, this is said, and each is as it was at some "
		"moment.\n\nOptions:\n"
		"  -o, --output=FILE  write to FILE, which is replaced only when everything is "
		"written\n"
		"      --sort         ids in ascending order, numbers before UUIDs\n"
		"      --qdrant-upsert  instead of records, bodies of requests to Qdrant, one a "
		"line, "
		"each for\n"
		"                     PUT /collections/NAME/points/payload, which replaces the "
		"payload "
		"of a point\n"
		"                     that is there (it gives all its points the same, so there is "
		"one "
		"in each)\n"
		"      --batch=N      so many documents in each body, for POST "
		"/collections/NAME/points/batch;\n"
		"                     a body ends early at 16 MiB, of which Qdrant takes 32\n",
	.run = run,
};
