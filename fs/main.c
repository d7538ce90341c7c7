/* payloadfs: mounts a store of payloads as a directory of files. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/daemon.h"
#include "fs/holder.h"
#include "fs/mount_table.h"
#include "fs/paths.h"
#include "storage/exit_codes.h"
#include "storage/fd.h"
#include "storage/version.h"

static int print_version(void)
{
	const char *trainer = pfs_store_trainer(), *http = pfs_store_http();

	printf("payloadfs %s\nlibfuse %s\nlibzstd %s\nlibcurl %s\n", PFS_VERSION, fuse_pkgversion(),
	       trainer ? trainer : "none (no dictionaries are made; those that are there are used)",
	       http ? http : "none (no URLs)");
	return PFS_EXIT_OK;
}

static bool is_url(const char *store)
{
	return store && strstr(store, "://");
}

/* The cache's directory, absolute; NULL: memory only. Of a directory, which is a cache itself,
 * there is one only when it was asked for. Returns an exit code. */
static int choose_cache(char **out, const struct pfs_options *options,
			const struct pfs_logger *logger)
{
	int err = 0;

	*out = NULL;
	if (options->cache && strcmp(options->cache, "off") == 0)
		return PFS_EXIT_OK;
	if (options->cache)
		err = pfs_path_absolute(out, options->cache);
	else if (is_url(options->store))
		err = pfs_path_default_cache(out, geteuid() == 0);
	if (err == -ENOENT && !options->cache) {
		pfs_logf(logger, PFS_LOG_WARNING,
			 "neither XDG_CACHE_HOME nor HOME says where what was fetched could be "
			 "kept: in memory only");
		return PFS_EXIT_OK;
	}
	if (err)
		pfs_logf(logger, PFS_LOG_ERROR, "-o cache=%s: %s",
			 options->cache ? options->cache : "", strerror(-err));
	return err ? PFS_EXIT_IO : PFS_EXIT_OK;
}

/* The store's path, absolute. Returns an exit code. */
static int choose_store(char **out, const struct pfs_options *options, const char *mountpoint,
			const struct pfs_logger *logger)
{
	char *chosen = NULL;
	int err;

	*out = NULL;
	if (!options->store) {
		err = pfs_path_default_store(&chosen, mountpoint, geteuid() == 0);
		if (err == -ENOENT) {
			pfs_logf(logger, PFS_LOG_ERROR,
				 "no STORE is given, and neither XDG_DATA_HOME nor HOME says "
				 "where one could be");
			return PFS_EXIT_USAGE;
		}
		if (!err)
			err = pfs_path_resolve(out, chosen);
		free(chosen);
	} else if (is_url(options->store)) {
		*out = strdup(options->store);
		return *out ? PFS_EXIT_OK : PFS_EXIT_IO;
	} else {
		err = pfs_path_resolve(out, options->store);
	}
	if (err) {
		pfs_logf(logger, PFS_LOG_ERROR, "%s: %s",
			 options->store ? options->store : mountpoint, strerror(-err));
		return err == -ENOMEM || err == -EACCES ? PFS_EXIT_IO : PFS_EXIT_NO_STORE;
	}
	if (pfs_path_inside(*out, mountpoint)) {
		pfs_logf(logger, PFS_LOG_ERROR,
			 "%s: the store lies inside the mount point %s, which would hide it", *out,
			 mountpoint);
		return PFS_EXIT_TARGET;
	}
	if (pfs_path_inside(mountpoint, *out)) {
		pfs_logf(logger, PFS_LOG_ERROR, "%s: the mount point lies inside the store %s",
			 mountpoint, *out);
		return PFS_EXIT_TARGET;
	}
	if (!options->store) {
		printf("store: %s\n", *out);
		fflush(stdout);
	}
	return PFS_EXIT_OK;
}

/* *daemonized: this is the process that is to be the daemon. Another returns what came of it. */
static int become_daemon(struct pfs_daemon *daemon, const struct pfs_logger *logger,
			 bool *daemonized)
{
	int code = PFS_EXIT_OK, err = 0;

	daemon->startup.pipe = -1;
	daemon->caller_umask = (uint32_t)umask(0077);
	if (!daemon->options->foreground) {
		err = pfs_startup_background(&daemon->startup, daemon->mountpoint, &code);
		if (!err && chdir("/") != 0)
			err = -errno;
	}
	if (err < 0) {
		pfs_logf(logger, PFS_LOG_ERROR, "%s", strerror(-err));
		code = PFS_EXIT_IO;
	}
	*daemonized = err == 0;
	return code;
}

/* Before anything asks the mount that may be there already: it might never answer. */
static void cut_killed_daemon(const char *mountpoint, const struct pfs_logger *logger)
{
	char *path;

	if (pfs_path_resolve(&path, mountpoint) == 0) {
		if (pfs_holder_cut_mount(path))
			pfs_logf(logger, PFS_LOG_WARNING,
				 "%s: its daemon was killed and could not end; it was cut off",
				 path);
		free(path);
	}
}

static int mount_store(const struct pfs_options *options)
{
	struct pfs_daemon *daemon = calloc(1, sizeof(*daemon));
	struct pfs_reason reason;
	struct pfs_report report;
	const struct pfs_logger *logger = &report.logger;
	bool daemonized = false;
	int code = PFS_EXIT_IO;

	if (!daemon)
		return code;
	pfs_report_init(&report, options->debug);
	pfs_report_take_libfuse(&report);
	daemon->options = options;
	daemon->report = &report;
	cut_killed_daemon(options->mountpoint, logger);
	if (pfs_mountpoint_prepare(&daemon->mountpoint, options->mountpoint, &reason) != 0) {
		pfs_logf(logger, PFS_LOG_ERROR, "%s", reason.text);
		code = PFS_EXIT_TARGET;
	} else {
		code = choose_store(&daemon->store_path, options, daemon->mountpoint, logger);
		if (code == PFS_EXIT_OK && options->published)
			code = choose_cache(&daemon->cache_path, options, logger);
	}
	if (code == PFS_EXIT_OK && options->dict == PFS_DICT_AUTO && !options->read_only &&
	    !pfs_store_trainer())
		pfs_logf(logger, PFS_LOG_WARNING, "-o dict=auto: " PFS_WITHOUT_TRAINER);
	if (code == PFS_EXIT_OK)
		code = become_daemon(daemon, logger, &daemonized);
	if (daemonized) {
		pfs_signals_block();
		code = pfs_daemon_run(daemon);
	}
	free(daemon->store_path);
	free(daemon->cache_path);
	free(daemon->mountpoint);
	free(daemon);
	return code;
}

int main(int argc, char **argv)
{
	struct pfs_options options;
	struct pfs_reason reason;
	int code;

	if (pfs_fd_keep_standard() != 0)
		return PFS_EXIT_IO;
	if (pfs_options_parse(&options, argc, argv, &reason) != 0) {
		fprintf(stderr, "payloadfs: %s (--help shows how)\n", reason.text);
		code = PFS_EXIT_USAGE;
	} else if (options.help) {
		pfs_options_help(argv[0]);
		code = PFS_EXIT_OK;
	} else if (options.version) {
		code = print_version();
	} else {
		/* It can only be read, whatever was said. */
		options.published = options.store && pfs_store_is_published(options.store, NULL);
		options.read_only |= options.published;
		if (!options.published && pfs_options_check_own(&options, &reason) != 0) {
			fprintf(stderr, "payloadfs: %s\n", reason.text);
			code = PFS_EXIT_USAGE;
		} else {
			code = mount_store(&options);
		}
	}
	pfs_options_free(&options);
	return code;
}
