#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tools/check_payloads.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "tools/report.h"

#define RETRY_MS 50

enum { OPTION_JSON = OPTION_FIRST_OWN, OPTION_REPAIR, OPTION_PAYLOADS };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"json-payloads", no_argument, NULL, OPTION_PAYLOADS},
	{"repair", no_argument, NULL, OPTION_REPAIR},
	COMMON_OPTIONS,
};

struct checking {
	struct progress progress;
	bool json, quiet, repair, payloads;
	uint64_t faults, remarks;
};

static void print_json_finding(struct checking *check, const struct pfs_finding *finding)
{
	fputs(check->faults + check->remarks ? ",\n " : "\n ", stdout);
	printf("{\"%s\":%s,\"file\":", check->repair ? "lost" : "fault",
	       finding->fatal ? "true" : "false");
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
		printf("%s at byte %" PRIu64 ": ", finding->where, finding->offset);
		if (check->repair)
			fputs(finding->fatal ? "LOST: " : "", stdout);
		else
			fputs(finding->fatal ? "" : "(remark) ", stdout);
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
		       ",\"damaged\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"bytes\":%" PRIu64,
		       check->faults + check->remarks ? "\n" : "", check->faults, check->remarks,
		       result->documents, result->damaged, result->pages, result->bytes);
		return;
	}
	if (check->quiet)
		return;
	printf("checked %s document%s in %s page%s, %s: ", group_digits(result->documents).text,
	       pfs_plural(result->documents), group_digits(result->pages).text,
	       pfs_plural(result->pages), size_text(result->bytes).text);
	if (check->faults)
		printf("%s fault%s, %s document%s damaged\n", group_digits(check->faults).text,
		       pfs_plural(check->faults), group_digits(result->damaged).text,
		       pfs_plural(result->damaged));
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

/* ---- repairing ---- */

static void print_repaired(const struct checking *check, const struct target *target,
			   const struct pfs_repair_result *r)
{
	if (check->json) {
		printf("%s],\"faults\":%" PRIu64 ",\"corrected\":%" PRIu64 ",\"lost\":%" PRIu64
		       ",\"unknown\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"files\":%" PRIu64
		       ",\"documents\":%" PRIu64 "}\n",
		       check->faults + check->remarks ? "\n" : "", r->faults, r->corrected, r->lost,
		       r->unknown, r->kept, r->files, r->documents);
		return;
	}
	if (check->quiet)
		return;
	if (!r->faults) {
		printf("nothing to repair: %s document%s, no faults\n",
		       group_digits(r->documents).text, pfs_plural(r->documents));
		return;
	}
	printf("repaired %s fault%s: %s document%s there", group_digits(r->faults).text,
	       pfs_plural(r->faults), group_digits(r->documents).text,
	       r->documents == 1 ? " is" : "s are");
	if (r->corrected)
		printf(", %s of them corrected", group_digits(r->corrected).text);
	if (r->lost)
		printf("; %s lost", group_digits(r->lost).text);
	if (r->unknown)
		printf("; %s place%s lost whose documents can't be told",
		       group_digits(r->unknown).text, pfs_plural(r->unknown));
	putchar('\n');
	if (r->kept)
		printf("kept aside: %s entr%s in %s/quarantine; see payloadctl quarantine\n",
		       group_digits(r->kept).text, r->kept == 1 ? "y" : "ies", target->store);
	if (r->files)
		printf("kept aside: %s whole file%s in %s\n", group_digits(r->files).text,
		       pfs_plural(r->files), target->store);
}

static void drop_message(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* The store's holder may be a daemon that is just ending: waited for. */
static int repair_store(struct checking *check, struct target *target,
			struct pfs_repair_result *done)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	const struct pfs_logger logger = {.fn = drop_message};
	int64_t deadline = pfs_now_monotonic_ms() + target->wait_ms;
	int err;

	for (;;) {
		err = pfs_repair(target->store, NULL, &logger, on_finding, on_progress, check, done,
				 &target->reason);
		if (err != -EBUSY || pfs_now_monotonic_ms() >= deadline)
			return err;
		nanosleep(&pause, NULL);
	}
}

static int run_repair(struct checking *check, struct target *target)
{
	struct pfs_repair_result done = {0};
	int err;

	if (target->daemon_mountpoint) {
		complain("%s: it is mounted on %s: unmount it first (payloadctl umount)",
			 target->name, target->daemon_mountpoint);
		return PFS_EXIT_LOCKED;
	}
	if (check->json)
		fputs("{\"done\":[", stdout);
	err = repair_store(check, target, &done);
	progress_hide(&check->progress);
	if (err) {
		if (check->json)
			fputs("],\"incomplete\":true}\n", stdout);
		fflush(stdout);
		complain_of_failure(target, err);
		return pfs_exit_of_open(err);
	}
	print_repaired(check, target, &done);
	if (done.lost || done.unknown)
		return PFS_EXIT_LOST;
	return done.faults ? PFS_EXIT_REPAIRED : PFS_EXIT_OK;
}

/* Goes through the payloads of a store that was checked, with a target of its own: the check needs
 * none that is open, and this one does. Returns the exit code; so_far: that of the check. */
static int run_payloads(const struct checking *check, const char *name,
			const struct common_options *common, int so_far)
{
	struct payloads_result looked = {0};
	struct target *target;
	int err, result = open_target(&target, name, 0, common);

	if (check->json)
		fputs(",\"invalid_payloads\":[", stdout);
	if (result) {
		if (check->json)
			fputs("],\"incomplete\":true", stdout);
		return result;
	}
	err = check_payloads(target, check->json, check->quiet, &looked);
	if (err) {
		if (check->json)
			fputs("],\"incomplete\":true", stdout);
		fflush(stdout);
		target_complain(target, NULL, err);
		return close_target(target, target_exit(target, err));
	}
	if (check->json || !check->quiet)
		check_payloads_print(&looked, check->json);
	return close_target(target, looked.invalid || looked.unread ? PFS_EXIT_SOME : so_far);
}

/* Returns the exit code; the target is left open. */
static int run_check(struct checking *check, struct target *target)
{
	struct pfs_check_result found = {0};
	int err;

	if (check->json)
		fputs("{\"findings\":[", stdout);
	err = target_check(target, on_finding, on_progress, check, &found);
	progress_hide(&check->progress);
	if (err) {
		if (check->json)
			fputs("],\"incomplete\":true", stdout);
		fflush(stdout);
		complain_of_failure(target, err);
		return target->lost ? PFS_EXIT_TARGET : pfs_exit_of_open(err);
	}
	print_result(check, &found);
	return check->faults ? PFS_EXIT_SOME : PFS_EXIT_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct checking check = {0};
	struct target *target;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_JSON || c == OPTION_REPAIR || c == OPTION_PAYLOADS) {
			check.json = check.json || c == OPTION_JSON;
			check.repair = check.repair || c == OPTION_REPAIR;
			check.payloads = check.payloads || c == OPTION_PAYLOADS;
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (check.repair && check.payloads)
		return usage_error(command, "--json-payloads can't be given with --repair, which "
					    "looks at no payload's content");
	check.quiet = common.quiet;
	result = open_only_target(&target, command, argc, argv, TARGET_CHECK, &common);
	if (result)
		return result;
	progress_start(&check.progress, common.quiet, check.repair ? "repair" : "check", NULL, 0);
	if (check.repair)
		return end_output(stdout, close_target(target, run_repair(&check, target)));
	result = close_target(target, run_check(&check, target));
	if (check.payloads && (result == PFS_EXIT_OK || result == PFS_EXIT_SOME))
		result = run_payloads(&check, argv[optind], &common, result);
	if (check.json)
		fputs("}\n", stdout);
	return end_output(stdout, result);
}

const struct command command_check = {
	.name = "check",
	.summary = "verify every document, name what is damaged; repair it",
	.usage = "[options] TARGET",
	.help = "Reads everything in the store and verifies it. Each fault is printed with the "
		"file, the place in it,\n"
		"and the document that it hit; faults make exit code 1. Nothing is changed. Of a "
		"mounted store, the\n"
		"daemon verifies the documents; of a directory, also what only an unmounted store "
		"shows.\n\n"
		"--repair makes a store without faults from one that has some. What can be reached "
		"stays; what can't is\n"
		"named, taken out, and kept in the store's directory (payloadctl quarantine): "
		"nothing is deleted. The store\n"
		"must not be mounted. It may be cut off at any time and be started again. Exit "
		"codes: 0 nothing was wrong,\n"
		"10 repaired and every document is there, 11 repaired but documents are lost, 5 it "
		"can't be repaired.\n\nOptions:\n"
		"      --json          print the findings and the result as JSON\n"
		"      --json-payloads name also each point whose payload is not one valid JSON "
		"value: no fault of\n"
		"                      the store, which keeps any bytes, but exit code 1\n"
		"      --repair        repair what is damaged\n",
	.run = run,
};
