/* fs/main.c: which store, cache and mount point a command line means, and what is refused before
 * anything is touched. What follows, the daemon's life, is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/daemon.h"
#include "fs/holder.h"
#include "fs/mount_table.h"
#include "storage/exit_codes.h"
#include "storage/fd.h"

static struct {
	uid_t uid;
	int no_descriptors, background, parent_code, daemon_code;
	bool killed_before, no_trainer, no_http, no_memory, no_copy;
	int resolve_err; /* of what is called "denied" */
	/* What came of it. */
	unsigned runs, signals_blocked, backgrounds;
	char store[512], cache[512], mountpoint[512], cwd[512];
	bool published, read_only;
	uint32_t umask;
	mode_t own_umask;
	unsigned inits, takes; /* of the report */
	char lines[2048], said[1024], complaints[1024];
	size_t flushed; /* of what was said */
	char help[64];
} fake;

int pfs_daemon_run(struct pfs_daemon *d)
{
	fake.runs++;
	assert_int_equal(fake.signals_blocked, 1);
	assert_int_equal(fake.takes, 1);
	assert_int_equal(d->startup.pipe, -1);
	fake.own_umask = umask(0);
	umask(fake.own_umask);
	snprintf(fake.store, sizeof(fake.store), "%s", d->store_path);
	snprintf(fake.cache, sizeof(fake.cache), "%s", d->cache_path ? d->cache_path : "none");
	snprintf(fake.mountpoint, sizeof(fake.mountpoint), "%s", d->mountpoint);
	assert_non_null(getcwd(fake.cwd, sizeof(fake.cwd)));
	fake.published = d->options->published;
	fake.read_only = d->options->read_only;
	fake.umask = d->caller_umask;
	return fake.daemon_code;
}

int pfs_startup_background(struct pfs_startup *startup, const char *mountpoint, int *code)
{
	(void)startup;
	assert_non_null(mountpoint);
	fake.backgrounds++;
	if (fake.background > 0)
		*code = fake.parent_code;
	return fake.background;
}

void pfs_signals_block(void)
{
	fake.signals_blocked++;
}

int pfs_mountpoint_prepare(char **out, const char *path, struct pfs_reason *reason)
{
	*out = realpath(path, NULL);
	if (!*out)
		snprintf(reason->text, sizeof(reason->text), "no such mount point");
	return *out ? 0 : -errno;
}

bool pfs_holder_cut_mount(const char *path)
{
	assert_int_equal(*path, '/');
	return fake.killed_before;
}

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	size_t len = strlen(fake.lines);

	(void)arg;
	(void)level;
	snprintf(fake.lines + len, sizeof(fake.lines) - len, "%s\n", line);
}

void pfs_report_init(struct pfs_report *report, bool debug)
{
	(void)debug;
	fake.inits++;
	report->logger = (struct pfs_logger){.fn = keep_line};
}

void pfs_report_take_libfuse(struct pfs_report *report)
{
	(void)report;
	assert_int_equal(fake.inits, 1);
	fake.takes++;
}

__attribute__((format(printf, 1, 2))) static int say(const char *fmt, ...)
{
	size_t len = strlen(fake.said);
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(fake.said + len, sizeof(fake.said) - len, fmt, args);
	va_end(args);
	return n;
}

__attribute__((format(printf, 2, 3))) static int complain(FILE *file, const char *fmt, ...)
{
	va_list args;
	int n;

	assert_ptr_equal(file, stderr);
	va_start(args, fmt);
	n = vsnprintf(fake.complaints, sizeof(fake.complaints), fmt, args);
	va_end(args);
	return n;
}

static int flush_said(FILE *file)
{
	assert_ptr_equal(file, stdout);
	fake.flushed = strlen(fake.said);
	return 0;
}

static void show_help(const char *program)
{
	snprintf(fake.help, sizeof(fake.help), "%s", program);
}

static char *copy_or_fail(const char *text)
{
	return fake.no_copy ? NULL : strdup(text);
}

static void *get_or_fail(size_t n, size_t size)
{
	return fake.no_memory ? NULL : calloc(n, size);
}

static bool is_published(const char *store)
{
	return strstr(store, "://") || strstr(store, "published");
}

static int keep_standard(void)
{
	return fake.no_descriptors;
}

#include "fs/options.c"
#include "fs/paths.c"

static int resolve_or_fail(char **out, const char *path)
{
	*out = NULL;
	return fake.resolve_err && strcmp(path, "denied") == 0 ? fake.resolve_err
							       : pfs_path_resolve(out, path);
}

#undef strdup
#define main daemon_main
#define printf say
#define fprintf complain
#define fflush flush_said
#define strdup copy_or_fail
#define calloc get_or_fail
#define pfs_options_help show_help
#define pfs_path_resolve resolve_or_fail
#define pfs_store_http() (fake.no_http ? NULL : "a client")
#define geteuid() fake.uid
#define pfs_fd_keep_standard keep_standard
#define pfs_store_is_published(store, options) is_published(store)
#define pfs_store_trainer() (fake.no_trainer ? NULL : "a trainer")
int daemon_main(int argc, char **argv);
#include "fs/main.c"
#undef main
#undef printf
#undef fprintf
#undef fflush
#undef strdup
#undef calloc
#undef pfs_path_resolve

static char dir[64], here[512];

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	strcpy(dir, "/tmp/payloadfs-main.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("m", 0700), 0);
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_CACHE_HOME");
	setenv("HOME", "/home/somebody", 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(rmdir("m"), 0);
	assert_int_equal(chdir(here), 0);
	return rmdir(dir);
}

#define ARGS_MAX 10

/* The exit code of a command line; its words are separated by one space. */
static int run_line(const char *line)
{
	char copy[512], *argv[ARGS_MAX + 1], *rest = copy;
	mode_t mask = umask(027);
	int argc = 0, code;

	snprintf(copy, sizeof(copy), "payloadfs %s", line);
	while (argc < ARGS_MAX && (argv[argc] = strsep(&rest, " ")))
		argc++;
	argv[argc] = NULL;
	fake.runs = fake.signals_blocked = fake.inits = fake.takes = 0;
	fake.lines[0] = fake.said[0] = fake.complaints[0] = fake.help[0] = '\0';
	fake.flushed = 0;
	code = daemon_main(argc, argv);
	umask(mask);
	return code;
}

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* Proves: paths are absolute and without links before the daemon leaves the directory; the caller's
 * umask is told on. */
static void paths_are_absolute(void **state)
{
	(void)state;
	assert_int_equal(run_line("-f ./new/../s m"), PFS_EXIT_NO_STORE);
	assert_int_equal(run_line("-f s m"), PFS_EXIT_OK);
	assert_int_equal(fake.runs, 1);
	assert_string_equal(fake.store, in_dir("s"));
	assert_string_equal(fake.mountpoint, in_dir("m"));
	assert_string_equal(fake.cache, "none");
	assert_string_equal(fake.cwd, dir);
	assert_int_equal(fake.umask, 027);
	assert_int_equal(fake.own_umask, 077);
	assert_false(fake.published || fake.read_only);
	assert_string_equal(fake.lines, "");
	assert_string_equal(fake.said, "");
	assert_string_equal(fake.complaints, "");
	fake.daemon_code = PFS_EXIT_LOCKED;
	assert_int_equal(run_line("-f s m"), PFS_EXIT_LOCKED);
}

/* Proves: without STORE it is below the directory that is for it, or there is no guess. */
static void the_default_store_is_where_it_belongs(void **state)
{
	char want[800], mount[600];
	char *escaped;

	(void)state;
	snprintf(mount, sizeof(mount), "-f %s", in_dir("m"));
	assert_int_equal(pfs_path_default_store(&escaped, in_dir("m"), true), 0);
	assert_non_null(strstr(escaped, "/var/lib/payloadfs/tmp-payloadfs\\x2dmain."));
	free(escaped);
	fake.uid = 1000;
	setenv("XDG_DATA_HOME", dir, 1);
	snprintf(want, sizeof(want), "%s/payloadfs", dir);
	assert_int_equal(mkdir(want, 0700), 0);
	assert_int_equal(run_line(mount), PFS_EXIT_OK);
	assert_int_equal(strncmp(fake.store, want, strlen(want)), 0);
	assert_int_equal(rmdir(want), 0);
	/* It is said, before a daemon goes to the background. */
	snprintf(want, sizeof(want), "store: %s\n", fake.store);
	assert_string_equal(fake.said, want);
	assert_int_equal(fake.flushed, strlen(want));
	fake.uid = 0;
	assert_int_equal(run_line(mount), PFS_EXIT_OK);
	assert_int_equal(strncmp(fake.store, "/var/lib/payloadfs/", 19), 0);
	fake.uid = 1000;
	unsetenv("XDG_DATA_HOME");
	unsetenv("HOME");
	assert_int_equal(run_line(mount), PFS_EXIT_USAGE);
	assert_non_null(strstr(fake.lines, "neither XDG_DATA_HOME nor HOME"));
	assert_int_equal(fake.runs, 0);
}

/* Proves: neither may hide the other; a mount point or a store's directory that is not there is an
 * error with a code of its own; nothing is begun. */
static void senseless_places_are_refused(void **state)
{
	char line[600];

	(void)state;
	assert_int_equal(run_line("-f m/s m"), PFS_EXIT_TARGET);
	assert_non_null(strstr(fake.lines, "the store lies inside the mount point"));
	snprintf(line, sizeof(line), "-f . m");
	assert_int_equal(run_line(line), PFS_EXIT_TARGET);
	assert_non_null(strstr(fake.lines, "the mount point lies inside the store"));
	assert_int_equal(run_line("-f s n"), PFS_EXIT_TARGET);
	assert_non_null(strstr(fake.lines, "no such mount point"));
	assert_int_equal(run_line("-f /dev/null/s m"), PFS_EXIT_NO_STORE);
	assert_non_null(strstr(fake.lines, "/dev/null/s: Not a directory"));
	assert_int_equal(run_line("-f m/published m"), PFS_EXIT_TARGET);
	fake.resolve_err = -EACCES;
	assert_int_equal(run_line("-f denied m"), PFS_EXIT_IO);
	assert_string_equal(fake.lines, "denied: Permission denied\n");
	fake.resolve_err = -ENOMEM;
	assert_int_equal(run_line("-f denied m"), PFS_EXIT_IO);
	assert_int_equal(fake.runs, 0);
}

/* Proves: a collection is only read, whatever was said; a URL stays as it is, and what is fetched
 * is kept where caches belong, where it was told, or nowhere; a directory needs no cache. */
static void collections_have_caches(void **state)
{
	(void)state;
	assert_int_equal(run_line("-f -o rw https://host/c m"), PFS_EXIT_OK);
	assert_true(fake.published && fake.read_only);
	assert_string_equal(fake.store, "https://host/c");
	assert_string_equal(fake.cache, "/var/cache/payloadfs");
	fake.uid = 1000;
	assert_int_equal(run_line("-f https://host/c m"), PFS_EXIT_OK);
	assert_string_equal(fake.cache, "/home/somebody/.cache/payloadfs");
	assert_int_equal(run_line("-f -o cache=c s3://b/c m"), PFS_EXIT_OK);
	assert_string_equal(fake.cache, in_dir("c"));
	assert_int_equal(run_line("-f -o cache=off http://host/c m"), PFS_EXIT_OK);
	assert_string_equal(fake.cache, "none");
	assert_int_equal(run_line("-f published m"), PFS_EXIT_OK);
	assert_string_equal(fake.store, in_dir("published"));
	assert_string_equal(fake.cache, "none");
	unsetenv("HOME");
	assert_int_equal(run_line("-f http://host/c m"), PFS_EXIT_OK);
	assert_string_equal(fake.cache, "none");
	assert_non_null(strstr(fake.lines, "in memory only"));
}

/* Proves: a cache whose place can't be told is an error, with the option's name. */
static void a_cache_without_place_is_an_error(void **state)
{
	char line[600];

	(void)state;
	assert_int_equal(mkdir("gone", 0700), 0);
	assert_int_equal(chdir("gone"), 0);
	assert_int_equal(rmdir(in_dir("gone")), 0);
	snprintf(line, sizeof(line), "-f -o cache=c http://host/c %s", in_dir("m"));
	assert_int_equal(run_line(line), PFS_EXIT_IO);
	assert_non_null(strstr(fake.lines, "-o cache=c: No such file"));
	assert_int_equal(fake.runs, 0);
}

/* Proves: options of collections are refused for others; help and version need nothing else; what
 * is not understood is a usage error. */
static void command_lines_are_checked(void **state)
{
	char want[256];

	(void)state;
	assert_int_equal(run_line("-f -o refresh=5 s m"), PFS_EXIT_USAGE);
	assert_string_equal(fake.complaints, "payloadfs: -o refresh=: is for published "
					     "collections, and s is none\n");
	assert_int_equal(run_line("-f"), PFS_EXIT_USAGE);
	assert_string_equal(fake.complaints,
			    "payloadfs: MOUNTPOINT is missing (--help shows how)\n");
	assert_int_equal(run_line("-V"), PFS_EXIT_OK);
	snprintf(want, sizeof(want),
		 "payloadfs %s\nlibfuse %s\nlibzstd a trainer\nlibcurl a client\n", PFS_VERSION,
		 fuse_pkgversion());
	assert_string_equal(fake.said, want);
	fake.no_trainer = fake.no_http = true;
	assert_int_equal(run_line("-V"), PFS_EXIT_OK);
	assert_non_null(strstr(fake.said,
			       "\nlibzstd none (no dictionaries are made; those that are "
			       "there are used)\nlibcurl none (no URLs)\n"));
	assert_int_equal(run_line("--help"), PFS_EXIT_OK);
	assert_string_equal(fake.help, "payloadfs");
	assert_string_equal(fake.said, "");
	assert_int_equal(fake.runs, 0);
	fake.no_descriptors = -EMFILE;
	assert_int_equal(run_line("-V"), PFS_EXIT_IO);
}

/* Proves: in the background the child serves, from the root directory; the parent ends with what
 * the child said; and where there is no background nothing is served. */
static void the_background_is_the_childs(void **state)
{
	(void)state;
	assert_int_equal(run_line("s m"), PFS_EXIT_OK);
	assert_int_equal(fake.backgrounds, 1);
	assert_int_equal(fake.runs, 1);
	assert_string_equal(fake.cwd, "/");
	assert_string_equal(fake.store, in_dir("s"));
	assert_int_equal(chdir(dir), 0);
	fake.background = 1;
	fake.parent_code = PFS_EXIT_DAMAGED;
	assert_int_equal(run_line("s m"), PFS_EXIT_DAMAGED);
	fake.parent_code = PFS_EXIT_OK;
	assert_int_equal(run_line("s m"), PFS_EXIT_OK);
	assert_int_equal(fake.runs, 0);
	fake.background = -EAGAIN;
	assert_int_equal(run_line("s m"), PFS_EXIT_IO);
	assert_non_null(strstr(fake.lines, strerror(EAGAIN)));
	assert_int_equal(fake.runs, 0);
}

/* Proves: what the user should know is said, and all goes on. */
static void what_is_to_be_known_is_said(void **state)
{
	(void)state;
	fake.killed_before = fake.no_trainer = true;
	assert_int_equal(run_line("-f -o dict=auto s m"), PFS_EXIT_OK);
	assert_int_equal(fake.runs, 1);
	assert_non_null(strstr(fake.lines, "it was cut off"));
	assert_non_null(strstr(fake.lines, "-o dict=auto: "));
	assert_int_equal(run_line("-f -o dict=auto,ro s m"), PFS_EXIT_OK);
	assert_null(strstr(fake.lines, "dict=auto"));
	fake.killed_before = false;
	assert_int_equal(run_line("-f -o dict=off s m"), PFS_EXIT_OK);
	assert_string_equal(fake.lines, "");
}

/* Proves: without memory nothing is begun. */
static void beginnings_need_memory(void **state)
{
	(void)state;
	fake.no_memory = true;
	assert_int_equal(run_line("-f s m"), PFS_EXIT_IO);
	assert_int_equal(fake.runs, 0);
	fake.no_memory = false;
	fake.no_copy = true;
	assert_int_equal(run_line("-f https://host/c m"), PFS_EXIT_IO);
	assert_int_equal(fake.runs, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(paths_are_absolute),
		TEST(the_default_store_is_where_it_belongs),
		TEST(senseless_places_are_refused),
		TEST(collections_have_caches),
		TEST(a_cache_without_place_is_an_error),
		TEST(command_lines_are_checked),
		TEST(the_background_is_the_childs),
		TEST(what_is_to_be_known_is_said),
		TEST(beginnings_need_memory),
	};

	return cmocka_run_group_tests_name("main", tests, NULL, NULL);
}
