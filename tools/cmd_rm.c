#include <stdlib.h>

#include "storage/wire.h"
#include "tools/command.h"
#include "tools/key_list.h"

enum { OPTION_SCRATCH = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"force", no_argument, NULL, 'f'},
	{"scratch", no_argument, NULL, OPTION_SCRATCH},
	COMMON_OPTIONS,
};

static int remove_scratch(struct target *target)
{
	struct key_list list = {0};
	int err = target_names(target, PFS_WIRE_SCRATCH, key_list_add, &list), result;

	if (err) {
		target_complain(target, NULL, err);
		result = target_exit(target, err);
	} else {
		result = remove_keys(target, list.keys, list.count, true, NULL);
	}
	free(list.keys);
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	bool force = false, scratch = false;
	struct target *target;
	struct pfs_key *keys;
	size_t count;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqf", options, NULL)) != -1) {
		if (c == 'f') {
			force = true;
		} else if (c == OPTION_SCRATCH) {
			scratch = true;
		} else {
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	if (argc - optind < (scratch ? 1 : 2))
		return usage_error(command, scratch ? "a TARGET is expected"
						    : "a TARGET and at least one ID are expected");
	count = (size_t)(argc - optind - 1);
	keys = parse_keys(argv + optind + 1, count, &result);
	if (!keys)
		return result;
	result = open_target(&target, argv[optind], TARGET_WRITE, &common);
	if (!result) {
		result = remove_keys(target, keys, count, force, NULL);
		if (scratch && (result == PFS_EXIT_OK || result == PFS_EXIT_SOME)) {
			int more = remove_scratch(target);

			result = more ? more : result;
		}
		result = close_target(target, result);
	}
	free(keys);
	return result;
}

const struct command command_rm = {
	.name = "rm",
	.summary = "remove documents",
	.usage = "[options] TARGET ID...",
	.help = "Removes the documents. An ID may also be the name of a scratch file. One that is "
		"not there is\n"
		"reported, and makes exit code 1.\n\nOptions:\n"
		"  -f, --force         say nothing of documents that are not there\n"
		"      --scratch       remove all scratch files, besides the IDs\n",
	.run = run,
};
