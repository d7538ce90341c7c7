/* payloadctl: works on stores of payloadfs, mounted or not. Each command is a file of its own
 * (cmd_*.c). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <lz4.h>

#include "storage/fd.h"
#include "storage/hash.h"
#include "storage/io_http.h"
#include "storage/version.h"
#include "tools/command.h"
#include "tools/report.h"

static const struct command *const commands[] = {
	&command_create,  &command_import, &command_export,	&command_get,	  &command_put,
	&command_edit,	  &command_rm,	   &command_stat,	&command_map,	  &command_top,
	&command_scratch, &command_check,  &command_quarantine, &command_compact, &command_snapshot,
	&command_publish, &command_sync,   &command_train,	&command_umount,
};

static int print_help(void)
{
	printf("Usage: payloadctl COMMAND [options] TARGET [ARG...]\n\n"
	       "Works on a store of payloadfs: TARGET is its directory, or the mount point of one\n"
	       "(then the daemon that serves the mount does the work).\n\nCommands:\n");
	for (size_t i = 0; i < pfs_array_len(commands); i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n`payloadctl COMMAND --help` tells more, -V or --version prints the "
	       "version.\n\n%s",
	       PFS_EXIT_HELP);
	return end_output(stdout, PFS_EXIT_OK);
}

static int print_version(void)
{
	const char *trainer = pfs_store_trainer(), *hash = pfs_hash_version();
	const char *http = pfs_http_version();

	printf("payloadctl %s\nlz4 %s\nlibzstd %s\nlibcrypto %s\nlibcurl %s\n", PFS_VERSION,
	       LZ4_versionString(),
	       trainer ? trainer : "none (no dictionaries are made; those that are there are used)",
	       hash ? hash : "none (nothing can be published; what is there can be read)",
	       http ? http : "none (no URLs)");
	return end_output(stdout, PFS_EXIT_OK);
}

int main(int argc, char **argv)
{
	if (pfs_fd_keep_standard() != 0)
		return PFS_EXIT_IO;
	/* A reader that goes away is seen as EPIPE, so that stores are closed properly. */
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	if (argc < 2) {
		complain("no command: see payloadctl --help");
		return PFS_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		return print_help();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return print_version();
	for (size_t i = 0; i < pfs_array_len(commands); i++) {
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(commands[i], argc - 1, argv + 1);
	}
	complain("%s: unknown command: see payloadctl --help", argv[1]);
	return PFS_EXIT_USAGE;
}
