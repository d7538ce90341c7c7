#include "tools/command.h"
#include "tools/report.h"

static const struct option options[] = {COMMON_OPTIONS};

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct target *target;
	int c, result, err;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	result = open_only_target(&target, command, argc, argv, TARGET_WRITE, &common);
	if (result)
		return result;
	err = target_sync(target);
	if (err) {
		target_complain(target, NULL, err);
		result = target_exit(target, err);
	}
	return close_target(target, result);
}

const struct command command_sync = {
	.name = "sync",
	.summary = "make everything that was written so far survive a power cut",
	.usage = "[options] TARGET",
	.help = "Returns when everything that was written so far is durable.\n\nOptions:\n",
	.run = run,
};
