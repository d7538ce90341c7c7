#include "tools/command.h"

#include <stdarg.h>
#include <stdlib.h>

#include "tools/report.h"

#define WAIT_SECONDS_MAX 86400

static void print_help(const struct command *command)
{
	printf("Usage: payloadctl %s %s\n\n%s\n"
	       "      --wait=SECONDS  wait so long for another process that holds the store (5)\n"
	       "  -q, --quiet         no progress, no summary\n"
	       "  -h, --help          this help\n"
	       "\nTARGET is a store's directory or a mount point of payloadfs.\n",
	       command->name, command->usage, command->help);
}

int usage_error(const struct command *command, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	complain("%s: %s: see payloadctl %s --help", command->name, text, command->name);
	return PFS_EXIT_USAGE;
}

int parse_seconds_ms(const char *text)
{
	double seconds;
	char *end;

	if (*text < '0' || *text > '9')
		return -1;
	seconds = strtod(text, &end);
	if (*end || !(seconds <= WAIT_SECONDS_MAX))
		return -1;
	return (int)(seconds * 1000);
}

int common_option(const struct command *command, int c, char **argv, struct common_options *common)
{
	int ms;

	switch (c) {
	case 'h': print_help(command); return end_output(stdout, PFS_EXIT_OK);
	case 'q': common->quiet = true; return -1;
	case OPTION_WAIT:
		ms = parse_seconds_ms(optarg);
		if (ms < 0)
			return usage_error(command, "--wait=%s is not a number of seconds", optarg);
		common->wait_ms = (unsigned)ms;
		return -1;
	case ':': return usage_error(command, "%s needs a value", argv[optind - 1]);
	default:
		if (optopt >= OPTION_WAIT)
			return usage_error(command, "%s: the option takes no value",
					   argv[optind - 1]);
		if (optopt)
			return usage_error(command, "unknown or misused option -%c", optopt);
		return usage_error(command, "unknown option %s", argv[optind - 1]);
	}
}

struct pfs_key *parse_keys(char **names, size_t count, int *exit_code)
{
	struct pfs_key *keys = calloc(count ? count : 1, sizeof(*keys));

	if (!keys) {
		complain("%s", explain(-ENOMEM));
		*exit_code = PFS_EXIT_IO;
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		int err = pfs_key_parse(&keys[i], names[i], strlen(names[i]));

		if (!err)
			continue;
		if (err == -ENAMETOOLONG)
			complain("%.40s...: a name has up to %d bytes", names[i], PFS_NAME_MAX);
		else
			complain("%s: not a name of a document: an id is an unsigned 64-bit "
				 "integer without leading "
				 "zero or a UUID in lower case with hyphens",
				 names[i]);
		*exit_code = PFS_EXIT_USAGE;
		free(keys);
		return NULL;
	}
	return keys;
}

int open_target(struct target **out, const char *name, unsigned flags,
		const struct common_options *common)
{
	struct target_options options = {
		.flags = flags,
		.wait_ms = common->wait_ms,
		.quiet = common->quiet,
	};

	return target_open(out, name, &options);
}

int open_only_target(struct target **out, const struct command *command, int argc, char **argv,
		     unsigned flags, const struct common_options *common)
{
	if (argc - optind != 1)
		return usage_error(command, "one TARGET is expected");
	return open_target(out, argv[optind], flags, common);
}

int close_target(struct target *t, int exit_code)
{
	char *name = t ? strdup(t->name) : NULL;
	int err = target_close(t);

	if (err)
		complain("%s: closing the store failed: %s", name ? name : "store", explain(err));
	free(name);
	return err ? PFS_EXIT_IO : exit_code;
}

int end_output(FILE *out, int exit_code)
{
	int err = finish_output(out);

	if (!err || err == -EPIPE)
		return exit_code;
	complain("standard output: %s", strerror(-err));
	return PFS_EXIT_IO;
}
