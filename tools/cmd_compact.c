#include <inttypes.h>
#include <stdio.h>

#include "tools/command.h"
#include "tools/progress.h"
#include "tools/report.h"

enum { OPTION_JSON = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *progress = arg;

	progress->total = total;
	progress_update(progress, done, done);
}

static void print_json(const struct pfs_compact_result *r)
{
	printf("{\"values\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"pages_before\":%" PRIu64
	       ",\"pages_after\":%" PRIu64 ",\"disk_before\":%" PRIu64 ",\"disk_after\":%" PRIu64
	       "}\n",
	       r->values, r->bytes, r->pages_before, r->pages_after, r->disk_before, r->disk_after);
}

static void print_result(const struct pfs_compact_result *r)
{
	if (r->values == 0 && r->pages_before == r->pages_after) {
		printf("nothing to compact: %s page%s, %s\n", group_digits(r->pages_after).text,
		       pfs_plural(r->pages_after), size_text(r->disk_after).text);
		return;
	}
	printf("moved %s document%s, %s; pages took %s and take %s\n", group_digits(r->values).text,
	       pfs_plural(r->values), size_text(r->bytes).text, size_text(r->disk_before).text,
	       size_text(r->disk_after).text);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct pfs_compact_result compacted;
	struct progress progress;
	struct target *target;
	bool json = false;
	int c, result, err;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_JSON) {
			json = true;
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	result = open_only_target(&target, command, argc, argv, TARGET_WRITE, &common);
	if (result)
		return result;
	progress_start(&progress, common.quiet, "compact", NULL, 0);
	err = target_compact(target, on_progress, &progress, &compacted);
	progress_hide(&progress);
	if (err) {
		target_complain(target, NULL, err);
		return close_target(target, target_exit(target, err));
	}
	result = close_target(target, PFS_EXIT_OK);
	if (json)
		print_json(&compacted);
	else if (!common.quiet)
		print_result(&compacted);
	return end_output(stdout, result);
}

const struct command command_compact = {
	.name = "compact",
	.summary = "pack the documents as small as they get, give the rest back",
	.usage = "[options] TARGET",
	.help = "Lays the documents into as few pages as they need, in the order of their ids, "
		"each\n"
		"packed with LZ4HC and the newest dictionary, and gives what is left over back to\n"
		"the filesystem. If there is something to do, a dictionary is made from documents "
		"of\n"
		"the whole store first, and taken when they get smaller by it, unless "
		"dictionaries\n"
		"are off. What is packed already stays as it is. The store can be used\n"
		"meanwhile; stopping it at any moment does no harm, and it then goes on where it\n"
		"was. It may need room for a second copy of the documents; where there is less,\n"
		"it only gives free space back, which takes the room of a page.\n\n"
		"Options:\n"
		"      --json           print the result as JSON\n",
	.run = run,
};
