#include <inttypes.h>
#include <stdlib.h>

#include "tools/command.h"
#include "tools/progress.h"
#include "tools/report.h"

enum { OPTION_JSON = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

struct checking {
	struct progress progress;
	bool json, quiet;
	uint64_t faults, remarks;
};

static void print_json_finding(struct checking *check, const struct pfs_finding *finding)
{
	fputs(check->faults + check->remarks ? ",\n " : "\n ", stdout);
	printf("{\"fault\":%s,\"file\":", finding->fatal ? "true" : "false");
	print_json_string(stdout, finding->where);
	printf(",\"offset\":%" PRIu64, finding->offset);
	if (finding->key.kind == PFS_KEY_NUM) {
		printf(",\"id\":%" PRIu64, finding->key.num);
	} else if (finding->key.kind != PFS_KEY_NONE) {
		fputs(pfs_key_is_point(&finding->key) ? ",\"id\":" : ",\"scratch\":", stdout);
		print_json_string(stdout, key_text(&finding->key).text);
	}
	fputs(",\"text\":", stdout);
	print_json_string(stdout, finding->text);
	putchar('}');
}

static void on_finding(void *arg, const struct pfs_finding *finding)
{
	struct checking *check = arg;

	progress_hide(&check->progress);
	if (check->json) {
		print_json_finding(check, finding);
	} else if (finding->fatal || !check->quiet) {
		printf("%s at byte %" PRIu64 ": %s", finding->where, finding->offset,
		       finding->fatal ? "" : "(remark) ");
		if (finding->key.kind != PFS_KEY_NONE)
			printf("document %s: ", key_text(&finding->key).text);
		printf("%s\n", finding->text);
	}
	if (finding->fatal)
		check->faults++;
	else
		check->remarks++;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct checking *check = arg;

	check->progress.total = total;
	progress_update(&check->progress, done, done);
}

static void print_result(const struct checking *check, const struct pfs_check_result *result)
{
	if (check->json) {
		printf("%s],\"faults\":%" PRIu64 ",\"remarks\":%" PRIu64 ",\"documents\":%" PRIu64
		       ",\"damaged\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n",
		       check->faults + check->remarks ? "\n" : "", check->faults, check->remarks,
		       result->documents, result->damaged, result->pages, result->bytes);
		return;
	}
	if (check->quiet)
		return;
	printf("checked %s document%s in %s page%s, %s: ", group_digits(result->documents).text,
	       plural(result->documents), group_digits(result->pages).text, plural(result->pages),
	       size_text(result->bytes).text);
	if (check->faults)
		printf("%s fault%s, %s document%s damaged\n", group_digits(check->faults).text,
		       plural(check->faults), group_digits(result->damaged).text,
		       plural(result->damaged));
	else
		printf("no faults\n");
}

/* The reason of a store's directory says where; that of a daemon does not. */
static void complain_of_failure(const struct target *target, int err)
{
	if (!target->daemon_mountpoint && target->reason.text[0])
		complain("%s", target->reason.text);
	else
		target_complain(target, NULL, err);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct checking check = {0};
	struct pfs_check_result found;
	struct target *target;
	int c, result, err;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_JSON) {
			check.json = true;
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind != 1)
		return usage_error(command, "one TARGET is expected");
	check.quiet = common.quiet;
	result = open_target(&target, argv[optind], TARGET_CHECK, &common);
	if (result)
		return result;
	if (check.json)
		fputs("{\"findings\":[", stdout);
	progress_start(&check.progress, common.quiet, "check", NULL, 0);
	memset(&found, 0, sizeof(found));
	err = target_check(target, on_finding, on_progress, &check, &found);
	progress_hide(&check.progress);
	if (err) {
		if (check.json)
			fputs("],\"incomplete\":true}\n", stdout);
		fflush(stdout);
		complain_of_failure(target, err);
		result = target->lost ? PFS_EXIT_TARGET : pfs_exit_of_open(err);
	} else {
		print_result(&check, &found);
		result = check.faults ? PFS_EXIT_SOME : PFS_EXIT_OK;
	}
	return end_output(stdout, close_target(target, result));
}

const struct command command_check = {
	.name = "check",
	.summary = "verify every document, name what is damaged",
	.usage = "[options] TARGET",
	.help = "Reads everything in the store and verifies it. Each fault is printed with the "
		"file, the place in it,\n"
		"and the document that it hit; faults make exit code 1. Nothing is changed. Of a "
		"mounted store, the\n"
		"daemon verifies the documents; of a directory, also what only an unmounted store "
		"shows.\n\nOptions:\n"
		"      --json          print the findings and the result as JSON\n",
	.run = run,
};
