#include "fs/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "fs/mount_table.h"
#include "fs/open_store.h"
#include "storage/exit_codes.h"

/* More than PFS_BACKGROUND_MAX, so that there is always a thread for a request that is not held up.
 */
#define PFS_THREADS_MAX 96
/* Threads that stay when there is nothing to do: with fewer than there are clients, threads would
 * end and be made again at every other request. Each keeps a request buffer, which has taken up to
 * 1 MiB of memory once it has held a large WRITE. */
#define PFS_THREADS_IDLE 20
#define PFS_POLL_MS 10

static const struct pfs_logger *logger_of(const struct pfs_daemon *d)
{
	return &d->report->logger;
}

static void sleep_ms(unsigned ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* ---- beginning ---- */

/* The kernel's first request is here. On the thread that answers it, before the reply. */
static void on_ready(void *arg)
{
	struct pfs_daemon *d = arg;
	char state[64];

	if (d->startup.pipe >= 0) {
		pfs_report_to_syslog(d->report);
		pfs_logf(logger_of(d), PFS_LOG_INFO, "%s is mounted at %s", d->store_path,
			 d->mountpoint);
	}
	snprintf(state, sizeof(state), "READY=1\nMAINPID=%ld", (long)getpid());
	pfs_startup_notify(state, "%s is mounted at %s", d->store_path, d->mountpoint);
	if (!pfs_startup_tell(&d->startup, PFS_EXIT_OK))
		kill(getpid(), SIGTERM); /* who started us has given up */
}

/* The arguments that make libfuse mount it as it must be. */
static int mount_arguments(const struct pfs_daemon *d, struct fuse_args *args)
{
	const struct fuse_args *given = &d->options->fuse;
	char *words = NULL, *source = NULL;
	int err = 0;

	for (int i = 0; i < given->argc && !err; i++)
		err = fuse_opt_add_arg(args, given->argv[i]);
	if (!err && asprintf(&source, "fsname=%s", d->store_path) < 0)
		err = -1;
	if (!err)
		err = fuse_opt_add_opt(&words, "default_permissions,subtype=payloadfs") != 0 ||
		      (d->options->read_only && fuse_opt_add_opt(&words, "ro") != 0) ||
		      fuse_opt_add_opt_escaped(&words, source) != 0 ||
		      fuse_opt_add_arg(args, "-o") != 0 || fuse_opt_add_arg(args, words) != 0;
	free(source);
	free(words);
	return err ? -ENOMEM : 0;
}

/* Before the store is touched: libfuse refuses options that nobody knows. */
static int make_session(struct pfs_daemon *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (mount_arguments(d, &args) == 0)
		d->session = fuse_session_new(&args, &pfs_fs_ops, sizeof(pfs_fs_ops), &d->fs);
	fuse_opt_free_args(&args);
	return d->session ? PFS_EXIT_OK
			  : PFS_EXIT_USAGE; /* libfuse has said what it does not like */
}

static int mount_it(struct pfs_daemon *d)
{
	struct pfs_mount mount;
	int err;

	if (fuse_session_mount(d->session, d->mountpoint) != 0) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s: mounting failed", d->mountpoint);
		return PFS_EXIT_MOUNT;
	}
	err = pfs_init_reply_watch(d->session);
	if (!err)
		err = pfs_mount_at(&mount, d->mountpoint);
	if (err) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s: mounting failed: %s", d->mountpoint,
			 strerror(-err));
		fuse_session_unmount(d->session);
		return PFS_EXIT_MOUNT;
	}
	d->device_major = mount.major;
	d->device_minor = mount.minor;
	pfs_mount_free(&mount);
	return PFS_EXIT_OK;
}

/* ---- ending ---- */

/* Is what is topmost at the mount point this mount? */
static bool is_mounted(const struct pfs_daemon *d)
{
	struct pfs_mount mount;
	bool ours;

	ours = pfs_mount_at(&mount, d->mountpoint) == 0 && mount.major == d->device_major &&
	       mount.minor == d->device_minor;
	pfs_mount_free(&mount);
	return ours;
}

static bool wait_for_loop(struct pfs_daemon *d, unsigned ms)
{
	for (unsigned waited = 0; waited < ms; waited += PFS_POLL_MS) {
		if (atomic_load(&d->loop_ended))
			return true;
		sleep_ms(PFS_POLL_MS);
	}
	return atomic_load(&d->loop_ended);
}

/* Somebody holds files of the mount. What they have written is brought to the store while the loop
 * still serves, then they are cut off. */
static void end_by_force(struct pfs_daemon *d)
{
	int fd = open(d->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	pfs_logf(logger_of(d), PFS_LOG_WARNING, "%s: files are in use; ending without them",
		 d->mountpoint);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	pfs_unmount(d->mountpoint, PFS_UNMOUNT_FORCE);
}

/* On the signals' thread. The loop ends by itself once the kernel has let the mount go. */
static void on_end(void *arg)
{
	struct pfs_daemon *d = arg;
	int err = -EBUSY;

	atomic_store(&d->ending, true);
	pfs_startup_notify("STOPPING=1", "%s is being unmounted", d->mountpoint);
	for (unsigned waited = 0; is_mounted(d); waited += PFS_POLL_MS) {
		err = pfs_unmount(d->mountpoint, PFS_UNMOUNT_IDLE);
		if (err != -EBUSY || waited >= PFS_END_GRACE_MS)
			break;
		sleep_ms(PFS_POLL_MS);
	}
	if (err && is_mounted(d))
		end_by_force(d);
	/* Unmounted by others but still in use, or an ordinary user, who can't cut off: leave the
	 * loop all the same. */
	while (!wait_for_loop(d, PFS_END_GRACE_MS)) {
		pfs_fs_leave(&d->fs);
		fuse_session_exit(d->session);
		pthread_kill(d->loop_thread, SIGUSR2);
	}
}

static void on_counters(void *arg)
{
	struct pfs_daemon *d = arg;

	pfs_fs_log_counters(&d->fs);
}

static void on_refresh(void *arg)
{
	struct pfs_daemon *d = arg;

	pfs_fs_refresh(&d->fs);
}

/* Hooks of the control socket. */
static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct pfs_daemon *d = arg;

	pfs_fs_changed(&d->fs, changes, count);
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	struct pfs_daemon *d = arg;
	int err = 0;

	if (is_mounted(d))
		err = pfs_unmount(d->mountpoint, PFS_UNMOUNT_IDLE);
	if (err == -EBUSY)
		snprintf(reason->text, sizeof(reason->text), "%s: files of it are in use",
			 d->mountpoint);
	else if (err)
		snprintf(reason->text, sizeof(reason->text), "%s: %s", d->mountpoint,
			 strerror(-err));
	return err;
}

/* Interrupts the wait of libfuse's loop so that it sees that its end was asked for. */
static void interrupt_nothing(int signo)
{
	(void)signo;
}

static void prepare_interrupt(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = interrupt_nothing;
	sigaction(SIGUSR2, &action, NULL);
}

/* ---- the middle ---- */

static int start_serving(struct pfs_daemon *d)
{
	const struct pfs_serve_options options = {
		.store = d->fs.store,
		.store_dirfd = d->store_dirfd,
		.mountpoint = d->mountpoint,
		.read_only = d->options->read_only,
		.hooks = {.changed = on_changed, .unmount = on_unmount, .arg = d},
		.logger = *logger_of(d),
	};
	int err;

	/* Others may read the directory, too, and there is nothing that only a daemon can do. */
	if (d->options->published)
		return PFS_EXIT_OK;
	err = pfs_serve_start(&d->serve, &options);
	if (err && !d->options->read_only) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s/%s: %s", d->store_path, PFS_SERVE_SOCKET,
			 strerror(-err));
		return PFS_EXIT_IO;
	}
	return PFS_EXIT_OK;
}

static int loop(struct pfs_daemon *d)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	if (!config)
		return PFS_EXIT_IO;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, PFS_THREADS_MAX);
	fuse_loop_cfg_set_idle_threads(config, PFS_THREADS_IDLE);
	result = fuse_session_loop_mt(d->session, config);
	atomic_store(&d->loop_ended, true);
	fuse_loop_cfg_destroy(config);
	return result == 0 || atomic_load(&d->ending) ? PFS_EXIT_OK : PFS_EXIT_MOUNT;
}

/* Everything between mounting and the end of the loop. The mount is gone when it returns. */
static int serve_mount(struct pfs_daemon *d)
{
	bool mounted = false;
	int code, err;

	code = mount_it(d);
	if (code != PFS_EXIT_OK)
		goto out;
	mounted = true;
	err = pfs_fs_start(&d->fs);
	if (!err)
		code = start_serving(d);
	if (!err && code == PFS_EXIT_OK) {
		d->signals.end = on_end;
		d->signals.counters = on_counters;
		d->signals.refresh = d->options->published ? on_refresh : NULL;
		d->signals.arg = d;
		d->loop_thread = pthread_self();
		prepare_interrupt();
		err = pfs_signals_start(&d->signals);
		if (!err && d->options->published && d->options->refresh_seconds)
			err = pfs_refresher_start(&d->refresher, d->options->refresh_seconds,
						  on_refresh, d);
	}
	if (err) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "no threads: %s", strerror(-err));
		code = PFS_EXIT_IO;
	}
	if (code != PFS_EXIT_OK)
		goto out;
	code = loop(d);
	pfs_startup_notify("STOPPING=1", "%s is being closed", d->store_path);
out:
	/* Also when it was never entered: who ends it waits for this. */
	atomic_store(&d->loop_ended, true);
	pfs_signals_stop(&d->signals);
	pfs_refresher_stop(d->refresher);
	d->refresher = NULL;
	/* A connection that was cut from outside leaves a dead mount. */
	if (mounted && is_mounted(d))
		pfs_unmount(d->mountpoint, PFS_UNMOUNT_LAZY);
	pfs_serve_stop(d->serve);
	pfs_fs_stop(&d->fs);
	if (mounted)
		fuse_session_unmount(d->session); /* sees when the kernel has let it go already */
	return code;
}

/* Write-back of this very mount must not wait for itself when memory is short. Needs a capability
 * that ordinary users do not have; they do without. */
static void become_io_flusher(void)
{
#ifdef PR_SET_IO_FLUSHER
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#endif
}

/* What requests change is kept until a checkpoint frees it from another thread. Arenas of the
 * threads each would grow by it, a page and a system call at a time; they share one, whose growth
 * is in steps of 128 KiB. Requests allocate so little that they do not meet there. */
static void share_arena(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
#endif
}

static int run(struct pfs_daemon *d, struct pfs_store *store)
{
	int code, err;

	/* Of a collection it is not needed, and may be a URL. */
	d->store_dirfd =
		d->options->published ? -1 : open(d->store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = d->store_dirfd < 0 && !d->options->published
		      ? -errno
		      : pfs_fs_init(&d->fs, store, logger_of(d), d->options->json_check,
				    d->options->low_latency);
	d->fs.session = d->session;
	d->fs.strict = d->options->strict;
	d->fs.published = d->options->published;
	d->fs.ready = on_ready;
	d->fs.ready_arg = d;
	if (err) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s: %s", d->store_path, strerror(-err));
		code = PFS_EXIT_IO;
	} else {
		code = serve_mount(d);
	}
	err = pfs_store_close(store);
	if (!err && atomic_load(&d->report->to_syslog))
		pfs_logf(logger_of(d), PFS_LOG_INFO, "%s is closed", d->store_path);
	if (err) {
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s: closing the store: %s", d->store_path,
			 strerror(-err));
		if (code == PFS_EXIT_OK)
			code = PFS_EXIT_IO;
	}
	pfs_serve_finish(d->serve, err);
	pfs_fs_destroy(&d->fs);
	if (d->store_dirfd >= 0)
		close(d->store_dirfd);
	return code;
}

/* What is wrong is told in one line. */
static int open_store(struct pfs_daemon *d, struct pfs_store **store)
{
	struct pfs_reason reason = {.text = ""};
	char detail[PFS_LOG_LINE_MAX];
	int code;

	pfs_report_hold(d->report);
	code = pfs_open_store(store, d->options, d->store_path, d->cache_path, d->caller_umask,
			      logger_of(d), &reason);
	pfs_report_release(d->report, code == PFS_EXIT_OK ? NULL : detail);
	if (code != PFS_EXIT_OK)
		pfs_logf(logger_of(d), PFS_LOG_ERROR, "%s%s%s%s", reason.text,
			 detail[0] ? " (" : "", detail, detail[0] ? ")" : "");
	return code;
}

int pfs_daemon_run(struct pfs_daemon *d)
{
	struct pfs_store *store;
	int code;

	d->session = NULL;
	d->serve = NULL;
	d->refresher = NULL;
	atomic_init(&d->loop_ended, false);
	atomic_init(&d->ending, false);
	become_io_flusher();
	share_arena();
	code = make_session(d);
	if (code == PFS_EXIT_OK)
		code = open_store(d, &store);
	if (code == PFS_EXIT_OK)
		code = run(d, store);
	if (d->session)
		fuse_session_destroy(d->session);
	/* If the parent still waits, it never came to the mount. */
	pfs_startup_tell(&d->startup, code == PFS_EXIT_OK ? PFS_EXIT_MOUNT : code);
	return code;
}
