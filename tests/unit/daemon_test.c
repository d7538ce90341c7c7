/* fs/daemon.c: whatever of a mount's beginning fails, what was begun before is ended, in order, and
 * the parent has the right exit code; and the ends: by a signal, with files in use, by the control
 * socket. All around it is the test's: the session, the mount, the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/daemon.h"
#include "fs/mount_table.h"
#include "fs/open_store.h"
#include "storage/exit_codes.h"

#undef PFS_END_GRACE_MS
#define PFS_END_GRACE_MS 60

/* What begins, in this order; what is begun is ended later. */
enum step {
	SESSION,
	STORE_OPEN,
	FS_INIT,
	MOUNT,
	WATCH,
	TABLE,
	FS_START,
	SERVE,
	SIGNALS,
	REFRESHER,
	LOOP_CONFIG,
	LOOP,
	STEPS
};

/* How the mount ends. */
enum ending {
	BY_OTHERS,	  /* it is unmounted, and the loop ends by itself */
	BY_SIGNAL,	  /* nobody uses it */
	BY_FORCE,	  /* files of it are in use */
	BY_LEAVING,	  /* it can't even be forced */
	CUT,		  /* the connection is cut: the loop ends, the mount is there */
	BY_CONTROL_SOCKET /* files are in use at first */
};

static struct {
	enum step fails; /* STEPS: none */
	enum ending ending;
	int begun[STEPS]; /* how often it was begun less how often it was ended */
	int close_err;
	bool read_only;
	bool nobody_waits; /* the parent was killed */
	bool alone;	   /* there is none */
	bool lowest;	   /* its pipe has the lowest descriptor that there is */
	bool no_source;	   /* memory for the name of the store */
	bool nothing_held; /* no message */

	int covers, covered; /* from the loop on another mount is on top, of another device */
	atomic_bool mounted, left, exited;
	unsigned busy; /* idle unmounts that are refused as yet */
	int unmount_err;
	atomic_uint idle, lazy, forced, killed;

	struct pfs_fs *fs;
	struct pfs_signals *signals;
	pthread_t signalling;
	bool is_signalling;
	unsigned refreshed, counted, changed, synced;
	int sync_flags; /* of what is synced */
	bool syslog;
	atomic_uint sleeps, odd_sleeps, early_interrupts;
	atomic_bool *ended; /* the loop ends at that sleep */
	unsigned ends_at;
	struct pfs_serve_options serve;
	int told[4];
	unsigned told_count;
	int finished_with;
	char store[64]; /* its directory */
	char lines[2048];
	char trace[4096]; /* what was called, in order; under trace_lock */
} fake;

static pthread_mutex_t trace_lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

static void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void trace(const char *fmt, ...)
{
	va_list args;
	size_t len;

	pthread_mutex_lock(&trace_lock);
	len = strlen(fake.trace);
	va_start(args, fmt);
	vsnprintf(fake.trace + len, sizeof(fake.trace) - len, fmt, args);
	va_end(args);
	strncat(fake.trace, "\n", sizeof(fake.trace) - strlen(fake.trace) - 1);
	pthread_mutex_unlock(&trace_lock);
}

static bool begin(enum step step)
{
	if (fake.fails == step)
		return false;
	fake.begun[step]++;
	return true;
}

static void end(enum step step)
{
	fake.begun[step]--;
	assert_true(fake.begun[step] >= 0);
}

/* ---- libfuse ---- */

static char session_of[1];
const struct fuse_lowlevel_ops pfs_fs_ops;

struct fuse_session *fuse_session_new(struct fuse_args *args, const struct fuse_lowlevel_ops *op,
				      size_t op_size, void *userdata)
{
	const char *fsname = strstr(args->argv[args->argc - 1], "fsname=");

	(void)userdata;
	assert_ptr_equal(op, &pfs_fs_ops);
	assert_int_equal(op_size, sizeof(*op));
	for (int i = 0; i < args->argc - 1; i++)
		trace("argument %s", args->argv[i]);
	trace("options %.*s", (int)(fsname - args->argv[args->argc - 1]),
	      args->argv[args->argc - 1]);
	assert_non_null(strstr(fsname, fake.store + strlen(fake.store) - 6));
	assert_true(args->argc >= 2);
	assert_string_equal(args->argv[args->argc - 2], "-o");
	assert_non_null(strstr(args->argv[args->argc - 1], "default_permissions"));
	assert_non_null(strstr(args->argv[args->argc - 1], ",fsname=/tmp/payloadfs\\,daemon."));
	assert_int_equal(strstr(args->argv[args->argc - 1], ",ro") != NULL, fake.read_only);
	return begin(SESSION) ? (struct fuse_session *)(void *)session_of : NULL;
}

void fuse_session_destroy(struct fuse_session *se)
{
	trace("destroy session");
	(void)se;
	end(SESSION);
}

int fuse_session_mount(struct fuse_session *se, const char *mountpoint)
{
	trace("mount");
	(void)se;
	assert_string_equal(mountpoint, "/tmp");
	if (!begin(MOUNT))
		return -1;
	fake.mounted = true;
	return 0;
}

void fuse_session_unmount(struct fuse_session *se)
{
	trace("unmount session");
	(void)se;
	end(MOUNT);
	fake.mounted = false;
}

void fuse_session_exit(struct fuse_session *se)
{
	trace("exit session");
	(void)se;
	assert_true(fake.left);
	fake.exited = true;
}

struct fuse_loop_config *fuse_loop_cfg_create(void)
{
	return begin(LOOP_CONFIG) ? (struct fuse_loop_config *)(void *)session_of : NULL;
}

void fuse_loop_cfg_destroy(struct fuse_loop_config *config)
{
	(void)config;
	end(LOOP_CONFIG);
}

void fuse_loop_cfg_set_clone_fd(struct fuse_loop_config *config, unsigned value)
{
	(void)config;
	trace("clone %u", value);
}

void fuse_loop_cfg_set_max_threads(struct fuse_loop_config *config, unsigned value)
{
	(void)config;
	trace("threads %u", value);
}

void fuse_loop_cfg_set_idle_threads(struct fuse_loop_config *config, unsigned value)
{
	(void)config;
	trace("idle threads %u", value);
}

static void *signal_the_end(void *arg)
{
	(void)arg;
	fake.signals->end(fake.signals->arg);
	return NULL;
}

/* Waits in the kernel until a signal comes. */
static void wait_until_mount_or_session_ends(void)
{
	const struct timespec long_time = {.tv_sec = 30}, moment = {.tv_nsec = 5000000};

	while (fake.mounted && !fake.exited)
		nanosleep(fake.ending == BY_LEAVING ? &long_time : &moment, NULL);
}

int fuse_session_loop_mt(struct fuse_session *se, struct fuse_loop_config *config)
{
	trace("loop");
	struct pfs_reason reason;

	(void)se;
	(void)config;
	if (fake.fails == LOOP)
		return -1;
	fake.fs->ready(fake.fs->ready_arg);
	fake.signals->counters(fake.signals->arg);
	if (fake.signals->refresh)
		fake.signals->refresh(fake.signals->arg);
	if (fake.serve.hooks.changed)
		fake.serve.hooks.changed(fake.serve.hooks.arg, NULL, 0);
	switch (fake.ending) {
	case BY_OTHERS: fake.mounted = false; break;
	case CUT: fake.covered = fake.covers; break;
	case BY_SIGNAL:
	case BY_FORCE:
	case BY_LEAVING:
		assert_int_equal(pthread_create(&fake.signalling, NULL, signal_the_end, NULL), 0);
		fake.is_signalling = true;
		wait_until_mount_or_session_ends();
		break;
	case BY_CONTROL_SOCKET:
		assert_int_equal(fake.serve.hooks.unmount(fake.serve.hooks.arg, &reason), -EBUSY);
		assert_string_equal(reason.text, "/tmp: files of it are in use");
		fake.unmount_err = -EPERM;
		assert_int_equal(fake.serve.hooks.unmount(fake.serve.hooks.arg, &reason), -EPERM);
		assert_non_null(strstr(reason.text, "/tmp: Operation not permitted"));
		fake.unmount_err = 0;
		assert_int_equal(fake.serve.hooks.unmount(fake.serve.hooks.arg, &reason), 0);
		assert_false(fake.mounted);
		assert_int_equal(fake.serve.hooks.unmount(fake.serve.hooks.arg, &reason), 0);
		break;
	}
	return fake.exited ? -1 : 0;
}

/* ---- the mount ---- */

int pfs_init_reply_watch(struct fuse_session *session)
{
	trace("watch");
	(void)session;
	return begin(WATCH) ? 0 : -ENOMEM;
}

int pfs_mount_at(struct pfs_mount *out, const char *path)
{
	assert_string_equal(path, "/tmp");
	memset(out, 0, sizeof(*out));
	if (fake.fails == TABLE || !fake.mounted)
		return -ENOENT;
	out->major = 3 + (fake.covered == 1);
	out->minor = 99 + (fake.covered == 2);
	out->path = strdup(path);
	return 0;
}

void pfs_mount_free(struct pfs_mount *mount)
{
	free(mount->path);
	mount->path = NULL;
}

int pfs_unmount(const char *path, enum pfs_unmount_how how)
{
	trace("unmount %d", how);
	assert_string_equal(path, "/tmp");
	if (how == PFS_UNMOUNT_IDLE) {
		fake.idle++;
		if (fake.busy) {
			fake.busy--;
			return -EBUSY;
		}
		if (fake.unmount_err)
			return fake.unmount_err;
	}
	fake.lazy += how == PFS_UNMOUNT_LAZY;
	fake.forced += how == PFS_UNMOUNT_FORCE;
	if (fake.ending != BY_LEAVING)
		fake.mounted = false;
	return 0;
}

/* ---- the filesystem, and what serves besides ---- */

int pfs_fs_init(struct pfs_fs *fs, struct pfs_store *store, const struct pfs_logger *logger,
		bool json_check, bool low_latency)
{
	trace("init filesystem");
	assert_true(json_check && !low_latency);
	fs->store = store;
	fs->logger = logger;
	return begin(FS_INIT) ? 0 : -ENOMEM;
}

void pfs_fs_destroy(struct pfs_fs *fs)
{
	trace("destroy filesystem");
	(void)fs;
	fake.begun[FS_INIT] = 0; /* also of one that was not made */
}

int pfs_fs_start(struct pfs_fs *fs)
{
	trace("start filesystem%s%s", fs->strict ? ", strict" : "",
	      fs->published ? ", published" : "");
	fake.fs = fs;
	return begin(FS_START) ? 0 : -EAGAIN;
}

void pfs_fs_stop(struct pfs_fs *fs)
{
	trace("stop filesystem");
	(void)fs;
	assert_int_equal(fake.begun[SERVE], 0);
	fake.begun[FS_START] = 0; /* also of one that was not started as a whole */
}

void pfs_fs_leave(struct pfs_fs *fs)
{
	trace("leave filesystem");
	(void)fs;
	fake.left = true;
}

void pfs_fs_changed(struct pfs_fs *fs, const struct pfs_serve_change *changes, size_t count)
{
	(void)fs;
	(void)changes;
	trace("changed %zu", count);
	fake.changed++;
}

int pfs_fs_refresh(struct pfs_fs *fs)
{
	trace("refresh");
	(void)fs;
	fake.refreshed++;
	return 0;
}

void pfs_fs_log_counters(struct pfs_fs *fs)
{
	trace("log counters");
	(void)fs;
	fake.counted++;
}

int pfs_serve_start(struct pfs_serve **out, const struct pfs_serve_options *options)
{
	trace("serve %s%s", options->mountpoint, options->read_only ? ", read-only" : "");
	/* It is only the place: nothing of it has to be readable for that. */
	assert_int_equal(fcntl(options->store_dirfd, F_GETFL) & (O_PATH | O_DIRECTORY),
			 O_PATH | O_DIRECTORY);
	fake.serve = *options;
	*out = begin(SERVE) ? (struct pfs_serve *)(void *)session_of : NULL;
	return *out ? 0 : -EADDRINUSE;
}

void pfs_serve_stop(struct pfs_serve *serve)
{
	trace("stop serving%s", serve ? "" : " nothing");
	if (serve)
		end(SERVE);
}

void pfs_serve_finish(struct pfs_serve *serve, int close_result)
{
	trace("finish serving with %d", close_result);
	(void)serve;
	fake.finished_with = close_result;
}

int pfs_signals_start(struct pfs_signals *signals)
{
	trace("signals%s", signals->refresh ? " that refresh" : "");
	fake.signals = signals;
	return begin(SIGNALS) ? 0 : -EAGAIN;
}

void pfs_signals_stop(struct pfs_signals *signals)
{
	trace("stop signals");
	(void)signals;
	if (fake.is_signalling)
		pthread_join(fake.signalling, NULL);
	fake.is_signalling = false;
	fake.begun[SIGNALS] = 0;
}

int pfs_refresher_start(struct pfs_refresher **out, unsigned seconds, void (*fn)(void *arg),
			void *arg)
{
	trace("refresh every %u seconds", seconds);
	(void)fn;
	(void)arg;
	assert_int_equal(seconds, 5);
	*out = begin(REFRESHER) ? (struct pfs_refresher *)(void *)session_of : NULL;
	return *out ? 0 : -EAGAIN;
}

void pfs_refresher_stop(struct pfs_refresher *refresher)
{
	trace("stop refreshing%s", refresher ? "" : " nothing");
	if (refresher)
		end(REFRESHER);
}

/* ---- the store ---- */

int pfs_open_store(struct pfs_store **out, const struct pfs_options *options, const char *path,
		   const char *cache_path, uint32_t caller_umask, const struct pfs_logger *logger,
		   struct pfs_reason *reason)
{
	(void)options;
	(void)logger;
	assert_string_equal(path, fake.store);
	trace("open store, cache %s, umask %o", cache_path ? cache_path : "none", caller_umask);
	*out = begin(STORE_OPEN) ? (struct pfs_store *)(void *)session_of : NULL;
	if (*out)
		return PFS_EXIT_OK;
	snprintf(reason->text, sizeof(reason->text), "it is damaged");
	return PFS_EXIT_DAMAGED;
}

static int close_store(struct pfs_store *store)
{
	trace("close store");
	(void)store;
	/* Nobody may use it any more. */
	for (enum step step = MOUNT; step <= REFRESHER; step++)
		if (step != WATCH && step != TABLE)
			assert_int_equal(fake.begun[step], 0);
	end(STORE_OPEN);
	return fake.close_err;
}

/* ---- who has started it ---- */

bool pfs_startup_tell(struct pfs_startup *startup, int code)
{
	if (startup->pipe < 0)
		return true;
	trace("tell %d", code);
	startup->pipe = -1;
	fake.told[fake.told_count++] = code;
	return !fake.nobody_waits;
}

void pfs_startup_notify(const char *state, const char *fmt, ...)
{
	char text[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* Without what is another at each run. */
	for (char *at; (at = strstr(text, fake.store));)
		memmove(at, at + strlen(fake.store), strlen(at + strlen(fake.store)) + 1);
	if (strncmp(state, "READY=1\nMAINPID=", 16) == 0) {
		assert_int_equal(atol(state + 16), getpid());
		state = "READY";
	}
	trace("notify %s: %s", state, text);
}

void pfs_report_to_syslog(struct pfs_report *report)
{
	trace("to syslog");
	fake.syslog = true;
	atomic_store(&report->to_syslog, true);
}

void pfs_report_hold(struct pfs_report *report)
{
	trace("hold messages");
	(void)report;
}

void pfs_report_release(struct pfs_report *report, char last[PFS_LOG_LINE_MAX])
{
	trace("release messages%s", last ? ", the last one besides" : "");
	(void)report;
	if (last)
		snprintf(last, PFS_LOG_LINE_MAX, "at byte 7");
	if (last && fake.nothing_held)
		last[0] = '\0';
}

static int count_kill(pid_t pid, int signo)
{
	assert_int_equal(pid, getpid());
	assert_int_equal(signo, SIGTERM);
	trace("kill");
	fake.killed++;
	return 0;
}

static int count_sync(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(fake.forced, 0); /* before what is in use is cut off */
	trace("sync");
	fake.sync_flags = fcntl(fd, F_GETFD);
	fake.synced++;
	return 0;
}

static int count_sleep(const struct timespec *t, struct timespec *rest)
{
	fake.sleeps++;
	fake.odd_sleeps += t->tv_sec != 0 || t->tv_nsec != 10000000;
	if (fake.ended && fake.sleeps == fake.ends_at)
		atomic_store(fake.ended, true);
	return nanosleep(t, rest);
}

static int interrupt_loop(pthread_t thread, int signo)
{
	fake.early_interrupts += !fake.exited;
	return pthread_kill(thread, signo);
}

__attribute__((format(printf, 2, 3))) static int print_or_fail(char **out, const char *fmt, ...)
{
	va_list args;
	int n;

	if (fake.no_source)
		return -1;
	va_start(args, fmt);
	n = vasprintf(out, fmt, args);
	va_end(args);
	return n;
}

static int trace_mallopt(int option, int value)
{
	trace("mallopt %d", value);
	return option;
}

static int trace_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
		       unsigned long d)
{
	assert_int_equal(b + c + d, 0);
	trace("flusher %lu", a);
	return option;
}

#define nanosleep count_sleep
#define pthread_kill interrupt_loop
#define asprintf print_or_fail
#define kill count_kill
#define prctl trace_prctl
#define mallopt trace_mallopt
#define syncfs count_sync
#define pfs_store_close close_store
#include "fs/daemon.c"

/* ---- tests ---- */

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	size_t len = strlen(fake.lines);

	(void)arg;
	(void)level;
	if (strstr(line, " is mounted at "))
		assert_true(fake.syslog); /* there it is looked for */
	snprintf(fake.lines + len, sizeof(fake.lines) - len, "%s\n", line);
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.fails = STEPS;
	strcpy(fake.store, "/tmp/payloadfs,daemon.XXXXXX");
	return mkdtemp(fake.store) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(fake.store);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* The exit code. */
static int run_daemon(struct pfs_options *options)
{
	static char arg[] = "payloadfs", mountpoint[] = "/tmp";
	char *argv[] = {arg, NULL};
	struct pfs_report report = {.logger = {.fn = keep_line}};
	struct pfs_daemon *d = calloc(1, sizeof(*d));
	unsigned before;
	int code;

	assert_non_null(d);
	options->fuse = (struct fuse_args)FUSE_ARGS_INIT(1, argv);
	options->json_check = true;
	fake.read_only = options->read_only;
	d->options = options;
	d->report = &report;
	d->store_path = fake.store;
	d->mountpoint = mountpoint;
	d->startup.pipe = fake.alone ? -1 : fake.lowest ? 0 : 1;
	before = open_descriptors();
	code = pfs_daemon_run(d);
	assert_int_equal(open_descriptors(), before);
	free(d);
	return code;
}

/* All that was begun is ended. */
static void expect_ended(void)
{
	for (enum step step = 0; step < STEPS; step++)
		if (step != WATCH)
			assert_int_equal(fake.begun[step], 0);
	assert_false(fake.mounted);
}

/* Proves: whichever step of the beginning fails, what was begun before is ended, the store closed
 * after all that uses it, and the parent told the right exit code, once. */
static void whatever_fails_all_is_ended(void **state)
{
	static const struct {
		enum step step;
		int code;
		const char *said;
	} cases[] = {
		{SESSION, PFS_EXIT_USAGE, ""}, /* libfuse says it */
		{STORE_OPEN, PFS_EXIT_DAMAGED, "it is damaged (at byte 7)"},
		{FS_INIT, PFS_EXIT_IO, "Cannot allocate memory"},
		{MOUNT, PFS_EXIT_MOUNT, "/tmp: mounting failed"},
		{WATCH, PFS_EXIT_MOUNT, "/tmp: mounting failed: Cannot allocate memory"},
		{TABLE, PFS_EXIT_MOUNT, "/tmp: mounting failed: No such file"},
		{FS_START, PFS_EXIT_IO, "no threads: Resource temporarily unavailable"},
		{SERVE, PFS_EXIT_IO, "socket: Address already in use"},
		{SIGNALS, PFS_EXIT_IO, "no threads: Resource temporarily unavailable"},
		{LOOP_CONFIG, PFS_EXIT_IO, ""},
		{LOOP, PFS_EXIT_MOUNT, ""},
	};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_options options = {.foreground = true};

		teardown(state);
		setup(state);
		fake.fails = cases[i].step;
		assert_int_equal(run_daemon(&options), cases[i].code);
		expect_ended();
		assert_int_equal(fake.told_count, 1);
		assert_int_equal(fake.told[0], cases[i].code);
		if (!strstr(fake.lines, cases[i].said))
			fail_msg("%zu: %s", i, fake.lines);
	}
}

/* Proves: a store whose directory goes away between opening and serving is closed again, and a
 * store that can't be closed well is an error, also for who waits on the control socket. */
static void what_fails_at_the_store_is_said(void **state)
{
	struct pfs_options options = {.foreground = true};

	(void)state;
	assert_int_equal(rmdir(fake.store), 0);
	assert_int_equal(run_daemon(&options), PFS_EXIT_IO);
	expect_ended();
	assert_non_null(strstr(fake.lines, ": No such file"));
	assert_int_equal(mkdir(fake.store, 0700), 0);
	fake.close_err = -EIO;
	assert_int_equal(run_daemon(&options), PFS_EXIT_IO);
	expect_ended();
	assert_non_null(strstr(fake.lines, "closing the store: Input/output error"));
	assert_int_equal(fake.finished_with, -EIO);
}

/* Proves: a store that is only read is served also when its control socket is another's; a
 * collection has none, and is refreshed at a signal, and by a thread if that was asked for. */
static void readers_need_no_socket(void **state)
{
	struct pfs_options options = {.read_only = true}, published = options;

	(void)state;
	fake.fails = SERVE;
	assert_int_equal(run_daemon(&options), PFS_EXIT_OK);
	expect_ended();
	assert_int_equal(fake.refreshed, 0);
	teardown(state);
	setup(state);
	published.published = true;
	published.refresh_seconds = 5;
	assert_int_equal(run_daemon(&published), PFS_EXIT_OK);
	expect_ended();
	assert_null(fake.serve.mountpoint);
	assert_int_equal(fake.refreshed, 1);
	fake.fails = REFRESHER;
	fake.told_count = 0;
	assert_int_equal(run_daemon(&published), PFS_EXIT_IO);
	expect_ended();
	assert_int_equal(fake.told[0], PFS_EXIT_IO);
}

/* Proves: the parent is told when the kernel's first request is there, and a daemon that nobody
 * waits for any more ends itself; the hooks are the filesystem's. */
static void the_parent_is_told_when_it_is_mounted(void **state)
{
	struct pfs_options options = {.commit_seconds = 0};

	(void)state;
	fake.nobody_waits = true;
	assert_int_equal(run_daemon(&options), PFS_EXIT_OK);
	assert_int_equal(fake.told_count, 1);
	assert_int_equal(fake.told[0], PFS_EXIT_OK);
	assert_int_equal(fake.killed, 1);
	assert_non_null(strstr(fake.lines, " is mounted at /tmp"));
	assert_non_null(strstr(fake.lines, " is closed"));
	assert_int_equal(fake.counted, 1);
	assert_int_equal(fake.changed, 1);
}

/* What is the same in each beginning and end. */
#define BEGUN(options, flags)                                                  \
	"flusher 1\nmallopt 1\nargument payloadfs\nargument -o\n"              \
	"options default_permissions,subtype=payloadfs," options               \
	"\nhold messages\nopen store, cache none, umask 0\nrelease messages\n" \
	"init filesystem\nmount\nwatch\nstart filesystem" flags "\n"
#define LOOPING "clone 0\nthreads 96\nidle threads 20\nloop\n"
#define ENDED "stop filesystem\nunmount session\nclose store\n"

static const struct {
	bool read_only, published, strict, foreground;
	enum ending ending;
	unsigned busy;
	const char *trace, *lines;
} courses[] = {
	{.ending = BY_OTHERS,
	 .trace = BEGUN("", "") "serve /tmp\nsignals\n" LOOPING
				"to syslog\nnotify READY:  is mounted at /tmp\ntell 0\n"
				"log counters\nchanged 0\nnotify STOPPING=1:  is being closed\n"
				"stop signals\nstop refreshing nothing\nstop serving\n" ENDED
				"finish serving with 0\ndestroy filesystem\ndestroy session\n",
	 .lines = " is mounted at /tmp\n is closed\n"},
	{.foreground = true,
	 .strict = true,
	 .ending = CUT,
	 .trace = BEGUN("", ", strict") "serve /tmp\nsignals\n" LOOPING
					"notify READY:  is mounted at /tmp\n"
					"log counters\nchanged 0\n"
					"notify STOPPING=1:  is being closed\n"
					"stop signals\nstop refreshing nothing\nunmount 1\n"
					"stop serving\n" ENDED
					"finish serving with 0\ndestroy filesystem\n"
					"destroy session\n",
	 .lines = ""},
	{.foreground = true,
	 .published = true,
	 .read_only = true,
	 .ending = BY_OTHERS,
	 .trace = BEGUN("ro,",
			", published") "signals that refresh\nrefresh every 5 seconds\n" LOOPING
				       "notify READY:  is mounted at /tmp\n"
				       "log counters\nrefresh\n"
				       "notify STOPPING=1:  is being closed\n"
				       "stop signals\nstop refreshing\n"
				       "stop serving nothing\n" ENDED
				       "finish serving with 0\ndestroy filesystem\n"
				       "destroy session\n",
	 .lines = ""},
	{.foreground = true,
	 .read_only = true,
	 .ending = BY_SIGNAL,
	 .busy = 1,
	 .trace = BEGUN("ro,", "") "serve /tmp, read-only\nsignals\n" LOOPING
				   "notify READY:  is mounted at /tmp\n"
				   "log counters\nchanged 0\n"
				   "notify STOPPING=1: /tmp is being unmounted\n"
				   "unmount 0\nunmount 0\nnotify STOPPING=1:  is being closed\n"
				   "stop signals\nstop refreshing nothing\nstop serving\n" ENDED
				   "finish serving with 0\ndestroy filesystem\n"
				   "destroy session\n",
	 .lines = ""},
};

/* Proves: from the beginning to the end everything is called in its order, with what it is to have,
 * whatever the mount is, and nothing besides. */
static void all_is_called_in_order(void **state)
{
	for (size_t i = 0; i < pfs_array_len(courses); i++) {
		struct pfs_options options = {.foreground = courses[i].foreground,
					      .read_only = courses[i].read_only,
					      .published = courses[i].published,
					      .strict = courses[i].strict};

		if (options.published)
			options.refresh_seconds = 5;
		teardown(state);
		setup(state);
		fake.alone = courses[i].foreground;
		fake.ending = courses[i].ending;
		fake.busy = courses[i].busy;
		assert_int_equal(run_daemon(&options), PFS_EXIT_OK);
		assert_string_equal(fake.trace, courses[i].trace);
		for (char *at; (at = strstr(fake.lines, fake.store));)
			memmove(at, at + strlen(fake.store), strlen(at + strlen(fake.store)) + 1);
		assert_string_equal(fake.lines, courses[i].lines);
	}
}

/* Proves: a store that is not a collection is not refreshed, whatever is asked for; a reason that
 * nothing was said of stands alone; the lowest descriptor is one like others; and where there is no
 * memory for the arguments of the mount there is none. */
static void odd_beginnings(void **state)
{
	struct pfs_options refreshing = {.refresh_seconds = 5}, none = {.refresh_seconds = 0};

	assert_int_equal(run_daemon(&refreshing), PFS_EXIT_OK);
	expect_ended();
	assert_null(strstr(fake.trace, "refresh every"));
	teardown(state);
	setup(state);
	fake.fails = STORE_OPEN;
	fake.nothing_held = true;
	assert_int_equal(run_daemon(&none), PFS_EXIT_DAMAGED);
	assert_string_equal(fake.lines, "it is damaged\n");
	teardown(state);
	setup(state);
	fake.lowest = true;
	assert_int_equal(run_daemon(&none), PFS_EXIT_OK);
	assert_non_null(strstr(fake.trace, "to syslog\n"));
	teardown(state);
	setup(state);
	fake.no_source = true;
	assert_int_equal(run_daemon(&none), PFS_EXIT_USAGE);
	expect_ended();
	assert_null(strstr(fake.trace, "argument"));
}

/* ---- ends ---- */

static void run_to(enum ending ending, unsigned busy)
{
	struct pfs_options options = {.foreground = true};

	fake.ending = ending;
	fake.busy = busy;
	assert_int_equal(run_daemon(&options), PFS_EXIT_OK);
	expect_ended();
}

/* Proves: SIGTERM unmounts what nobody uses, and waits a while for programs that do. */
static void a_signal_unmounts(void **state)
{
	(void)state;
	run_to(BY_SIGNAL, 2);
	assert_int_equal(fake.idle, 3);
	assert_int_equal(fake.forced, 0);
	assert_false(fake.left);
}

/* Proves: after that what they have written is brought to the store, and they are cut off. */
static void programs_that_stay_are_cut_off(void **state)
{
	(void)state;
	run_to(BY_FORCE, 1000000);
	assert_int_equal(fake.synced, 1);
	assert_int_equal(fake.sync_flags, FD_CLOEXEC);
	assert_int_equal(fake.forced, 1);
	assert_non_null(strstr(fake.lines, "files are in use; ending without them"));
}

/* Proves: a mount that the kernel does not let go is left: the kernel is told nothing more, then
 * the loop is interrupted. */
static void a_mount_that_stays_is_left(void **state)
{
	(void)state;
	run_to(BY_LEAVING, 1000000);
	assert_true(fake.left && fake.exited);
	assert_int_equal(fake.early_interrupts, 0); /* the loop would go on */
	assert_int_equal(fake.lazy, 1);
}

/* Proves: a connection that was cut leaves no dead mount; one that others have unmounted nothing.
 */
static void no_dead_mount_is_left(void **state)
{
	run_to(CUT, 0);
	assert_int_equal(fake.lazy, 1);
	/* What others have mounted on top of it is theirs. */
	for (int covers = 1; covers <= 2; covers++) {
		teardown(state);
		setup(state);
		fake.covers = covers;
		run_to(CUT, 0);
		assert_int_equal(fake.lazy, 0);
	}
	teardown(state);
	setup(state);
	run_to(BY_OTHERS, 0);
	assert_int_equal(fake.lazy, 0);
}

/* Proves: a client of the control socket that wants it unmounted is told why not (the fake loop
 * looks), or it is done. */
static void clients_unmount(void **state)
{
	(void)state;
	run_to(BY_CONTROL_SOCKET, 1);
	assert_int_equal(fake.forced, 0);
}

/* Proves: the end is waited for in steps, as long as it is worth; what is not mounted any more, or
 * is let go at once, is neither unmounted nor forced. */
static void ends_are_waited_for_in_steps(void **state)
{
	static char mountpoint[] = "/tmp";
	const unsigned steps = PFS_END_GRACE_MS / PFS_POLL_MS;
	struct pfs_report report = {.logger = {.fn = keep_line}};
	struct pfs_daemon *d = calloc(1, sizeof(*d));
	struct pfs_reason reason;

	(void)state;
	assert_non_null(d);
	d->report = &report;
	d->mountpoint = mountpoint;
	d->device_major = 3;
	d->device_minor = 99;
	assert_false(wait_for_loop(d, PFS_END_GRACE_MS));
	assert_int_equal(fake.sleeps, steps);
	fake.sleeps = 0;
	fake.ended = &d->loop_ended;
	fake.ends_at = steps;
	assert_true(wait_for_loop(d, PFS_END_GRACE_MS));
	assert_int_equal(fake.sleeps, steps);
	assert_true(wait_for_loop(d, PFS_END_GRACE_MS));
	assert_int_equal(fake.sleeps, steps);

	/* The loop has ended from here on. */
	fake.sleeps = 0;
	on_end(d);
	assert_int_equal(on_unmount(d, &reason), 0);
	assert_int_equal(fake.idle + fake.forced + fake.sleeps, 0);
	fake.mounted = true;
	fake.ending = BY_LEAVING;
	on_end(d);
	assert_int_equal(fake.idle, 1);
	assert_int_equal(fake.forced + fake.sleeps, 0);
	fake.ending = BY_FORCE;
	fake.busy = 1000;
	fake.idle = 0;
	on_end(d);
	assert_int_equal(fake.idle, steps + 1);
	assert_int_equal(fake.sleeps, steps);
	assert_int_equal(fake.forced, 1);
	assert_int_equal(fake.odd_sleeps, 0);
	free(d);
}

/* Leaves nothing of value where the next function has its own. */
__attribute__((noinline)) static void soil_the_stack(void)
{
	volatile unsigned char soil[4096];

	for (size_t i = 0; i < sizeof(soil); i++)
		soil[i] = 0xff;
}

/* Proves: the signal that interrupts the loop blocks no other and restarts nothing. */
static void the_interruption_is_nothing_else(void **state)
{
	struct sigaction before, now;

	(void)state;
	assert_int_equal(sigaction(SIGUSR2, NULL, &before), 0);
	soil_the_stack();
	prepare_interrupt();
	assert_int_equal(sigaction(SIGUSR2, &before, &now), 0);
	assert_ptr_equal(now.sa_handler, interrupt_nothing);
	assert_int_equal(now.sa_flags & (SA_RESTART | SA_SIGINFO | SA_NODEFER | SA_NOCLDSTOP), 0);
	for (int signo = 1; signo < SIGSYS; signo++)
		assert_false(sigismember(&now.sa_mask, signo));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whatever_fails_all_is_ended),
		TEST(what_fails_at_the_store_is_said),
		TEST(readers_need_no_socket),
		TEST(the_parent_is_told_when_it_is_mounted),
		TEST(all_is_called_in_order),
		TEST(a_signal_unmounts),
		TEST(programs_that_stay_are_cut_off),
		TEST(a_mount_that_stays_is_left),
		TEST(no_dead_mount_is_left),
		TEST(clients_unmount),
		TEST(odd_beginnings),
		TEST(ends_are_waited_for_in_steps),
		TEST(the_interruption_is_nothing_else),
	};

	return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
