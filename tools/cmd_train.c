#include <inttypes.h>
#include <stdio.h>

#include "tools/command.h"
#include "tools/output.h"
#include "tools/report.h"

enum { OPTION_FORCE = OPTION_FIRST_OWN, OPTION_JSON };

static const struct option options[] = {
	{"force", no_argument, NULL, OPTION_FORCE},
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

static void print_result(const struct pfs_train_result *r, bool json)
{
	if (json)
		printf("{\"dictionary\":%" PRIu32 ",\"length\":%" PRIu64 ",\"samples\":%" PRIu64
		       ",\"sample_bytes\":%" PRIu64 ",\"tested_bytes\":%" PRIu64
		       ",\"packed_before\":%" PRIu64 ",\"packed\":%" PRIu64 "}\n",
		       r->number, r->length, r->samples, r->sample_bytes, r->raw, r->before,
		       r->packed);
	else if (r->number)
		printf("dictionary %" PRIu32
		       " of %s, made from %s points: others of them, %s, take "
		       "%s instead of %s\n",
		       r->number, size_text(r->length).text, group_digits(r->samples).text,
		       size_text(r->raw).text, size_text(r->packed).text,
		       size_text(r->before).text);
	else
		printf("nothing to gain: %s of points would take %s, and take %s as they are "
		       "packed "
		       "now\n",
		       size_text(r->raw).text, size_text(r->packed).text,
		       size_text(r->before).text);
}

static int train(struct target *target, bool force, bool json)
{
	struct pfs_train_result result;
	int err = target_train(target, force, &result);

	if (!err || err == -EALREADY) {
		print_result(&result, json);
		return 0;
	}
	if (err == -ENODATA)
		complain("too few points that a dictionary could make smaller, or they have too "
			 "little in common");
	else if (err == -EPERM)
		complain("%s: dictionaries are off for this %s: %s", target->name,
			 target->daemon_mountpoint ? "mount" : "store",
			 target->daemon_mountpoint ? "mount it with -o dict=auto"
						   : "it was made with dict=off; mounted with "
						     "-o dict=auto it gets some");
	else if (err == -EOPNOTSUPP)
		complain(PFS_WITHOUT_TRAINER);
	else
		target_complain(target, NULL, err);
	return err == -ENODATA || err == -EPERM ? PFS_EXIT_SOME : target_exit(target, err);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	bool force = false, json = false;
	struct target *target;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_FORCE) {
			force = true;
		} else if (c == OPTION_JSON) {
			json = true;
		} else {
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	result = open_only_target(&target, command, argc, argv, TARGET_WRITE, &common);
	if (result)
		return result;
	result = train(target, force, json);
	return end_output(stdout, close_target(target, result));
}

const struct command command_train = {
	.name = "train",
	.summary = "make a dictionary from the points, which new ones are packed with",
	.usage = "[options] TARGET",
	.help = "Makes a dictionary from points all over the store. What is written from then on "
		"is "
		"packed with it and\n"
		"takes less space; what is there stays as it is. Nothing is done when that would "
		"gain "
		"less than a\n"
		"tenth. A store does this by itself when there are enough points, and again when "
		"new "
		"ones differ from\n"
		"those that its dictionary was made from, unless it was made or is mounted with "
		"dict=off; then this\n"
		"is refused, too.\n\n"
		"Options:\n"
		"      --force          make one even when it is hardly better\n"
		"      --json           print the result as JSON\n",
	.run = run,
};
