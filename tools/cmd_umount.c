#include "tools/command.h"
#include "tools/report.h"

#define TIMEOUT_MS_DEFAULT 60000

enum { OPTION_TIMEOUT = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	COMMON_OPTIONS,
};

static int exit_of(const struct target *target, int err)
{
	switch (err) {
	case 0: return PFS_EXIT_OK;
	case -EBUSY:
	case -ETIMEDOUT: return PFS_EXIT_MOUNT;
	case -EIO: return PFS_EXIT_IO;
	case -ENXIO: return PFS_EXIT_TARGET;
	default: return target->lost ? PFS_EXIT_TARGET : PFS_EXIT_MOUNT;
	}
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	int c, result, err, timeout_ms = TIMEOUT_MS_DEFAULT;
	struct target *target;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_TIMEOUT) {
			timeout_ms = parse_seconds_ms(optarg);
			if (timeout_ms < 0)
				return usage_error(
					command, "--timeout=%s is not a number of seconds", optarg);
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	result = open_only_target(&target, command, argc, argv, TARGET_DAEMON, &common);
	if (result)
		return result;
	err = target_unmount(target, timeout_ms == 0 ? -1 : timeout_ms);
	if (err)
		target_complain(target, NULL, err);
	return close_target(target, exit_of(target, err));
}

const struct command command_umount = {
	.name = "umount",
	.summary = "unmount, and wait until the daemon has written everything and ended",
	.usage = "[options] TARGET",
	.help = "Unmounts a mounted store and returns when its daemon has ended: then everything "
		"is durable.\n"
		"A mount that is in use stays as it is.\n\nOptions:\n"
		"      --timeout=SECONDS  how long to wait for the end of the daemon (60; 0: "
		"without limit)\n",
	.run = run,
};
