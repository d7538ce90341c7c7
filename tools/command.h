/* The commands of payloadctl, and what they share: options, keys from the command line. */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <getopt.h>
#include <stdio.h>

#include "storage/exit_codes.h"
#include "storage/key.h"
#include "tools/target.h"

struct command {
	const char *name;
	const char *summary; /* one line for the list of commands */
	const char *usage;   /* behind `payloadctl NAME`: `[options] TARGET ID...` */
	const char *help;    /* what --help says between the usage and the common options */
	int (*run)(const struct command *command, int argc,
		   char **argv); /* returns an exit code (enum pfs_exit) */
};

extern const struct command command_create, command_import, command_export, command_get,
	command_put, command_rm, command_stat, command_check, command_quarantine, command_compact,
	command_snapshot, command_sync, command_train, command_umount, command_edit,
	command_scratch, command_map, command_top, command_publish;

/* Options that every command has. */
struct common_options {
	bool quiet;
	unsigned wait_ms; /* for another process that holds the store */
};

#define WAIT_MS_DEFAULT 5000

enum { OPTION_WAIT = 256, OPTION_FIRST_OWN };

#define COMMON_OPTIONS                                                       \
	{"help", no_argument, NULL, 'h'}, {"quiet", no_argument, NULL, 'q'}, \
		{"wait", required_argument, NULL, OPTION_WAIT},              \
	{                                                                    \
		NULL, 0, NULL, 0                                             \
	}

/* Takes what getopt_long returned and the command does not know itself: a common option, or an
 * error. -1: go on; else the exit code to return at once (the help, or a complaint, is printed).
 * short options: ":hq" and the command's own. */
int common_option(const struct command *command, int c, char **argv, struct common_options *common);

/* Complains about the command line. Returns PFS_EXIT_USAGE. */
int usage_error(const struct command *command, const char *fmt, ...) PFS_PRINTF(2, 3);

/* Parses a number of seconds (`2`, `0.5`). -1 when it is none. */
int parse_seconds_ms(const char *text);

/* The names on the command line as keys (malloc'ed). Complains about the first that is none, and
 * returns NULL and *exit_code. */
struct pfs_key *parse_keys(char **names, size_t count, int *exit_code);

/* Opens what is named as target. Returns 0 or the exit code; complaints are printed. */
int open_target(struct target **out, const char *name, unsigned flags,
		const struct common_options *common);
/* The same for the one TARGET that is left on the command line, which must hold nothing else. */
int open_only_target(struct target **out, const struct command *command, int argc, char **argv,
		     unsigned flags, const struct common_options *common);

/* Closes the target and makes the command's exit code worse if that fails (the complaint is
 * printed). */
int close_target(struct target *t, int exit_code);

/* Ends the command's output on a stream. A reader that went away is not an error. Returns
 * exit_code, or PFS_EXIT_IO. */
int end_output(FILE *out, int exit_code);

#endif
