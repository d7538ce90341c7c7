/* fs/open_store.c and fs/holder.c: a store that another holds is waited for, refused or cut free;
 * what was given must be what the store was made with. The store, the table of mounts and the clock
 * are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mount_table.h"
#include "fs/options.h"
#include "fs/serve.h"
#include "fs/signals.h"
#include "storage/exit_codes.h"
#include "storage/monotonic.h"

#define STORE_MODE 0640

static struct {
	/* The store. */
	int results[4]; /* of opening it, one after the other; the last again and again */
	unsigned opens;
	int create_err, stat_err;
	unsigned created, closed;
	/* The mount of it: NULL: there is none. */
	const char *type, *source;
	int unmounts;
	bool end_pending;
	int64_t open_ms; /* what opening takes */
	int64_t now_ms;
	unsigned infos;
} fake;

/* What the store was opened and made with. */
static struct {
	char path[128];
	struct pfs_open_options how;
	struct pfs_defaults defaults;
	struct pfs_remote_options remote;
	char cache_dir[64];
	struct pfs_create_options create;
} given;

static struct pfs_store *const a_store = (struct pfs_store *)&fake;

static int fake_open(struct pfs_store **out, const char *path,
		     const struct pfs_open_options *options, struct pfs_reason *reason)
{
	unsigned i = fake.opens++;

	fake.now_ms += fake.open_ms;
	int err = fake.results[i < 3 ? i : 3];

	snprintf(given.path, sizeof(given.path), "%s", path);
	given.how = *options;
	given.defaults = *options->defaults;
	given.remote = *options->remote;
	snprintf(given.cache_dir, sizeof(given.cache_dir), "%s",
		 options->remote->cache_dir ? options->remote->cache_dir : "none");
	reason->text[0] = '\0';
	*out = err ? NULL : a_store;
	return err;
}

static const char *dir_of_store(void);

static int fake_create(const char *path, const struct pfs_create_options *options,
		       struct pfs_reason *reason)
{
	assert_string_equal(path, dir_of_store());
	given.create = *options;
	(void)reason;
	fake.created++;
	return fake.create_err;
}

static int fake_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	assert_ptr_equal(store, a_store);
	memset(out, 0, sizeof(*out));
	out->page_size = PFS_MIB;
	out->min_value_size = 64;
	out->defaults = (struct pfs_defaults){.mode = STORE_MODE, .uid = 10, .gid = 20};
	return fake.stat_err;
}

static int fake_close(struct pfs_store *store)
{
	assert_ptr_equal(store, a_store);
	fake.closed++;
	return 0;
}

static int64_t fake_now_ms(void)
{
	return fake.now_ms;
}

static int fake_usleep(unsigned us)
{
	assert_int_equal(us, 100000);
	fake.now_ms += us / 1000;
	return 0;
}

static int find_mount(struct pfs_mount *out, const char *path, const char *source)
{
	memset(out, 0, sizeof(*out));
	if (!fake.type || (path && strcmp(path, "/mnt/p") != 0) ||
	    (source && strcmp(source, fake.source) != 0))
		return -ENOENT;
	out->minor = UINT32_MAX; /* no such connection */
	out->path = strdup("/mnt/p");
	out->type = strdup(fake.type);
	out->source = strdup(fake.source);
	return 0;
}

int pfs_mount_at(struct pfs_mount *out, const char *path)
{
	return find_mount(out, path, NULL);
}

int pfs_mount_of(struct pfs_mount *out, const char *source)
{
	return find_mount(out, NULL, source);
}

void pfs_mount_free(struct pfs_mount *mount)
{
	free(mount->path);
	free(mount->type);
	free(mount->source);
}

int pfs_unmount(const char *path, enum pfs_unmount_how how)
{
	assert_string_equal(path, "/mnt/p");
	assert_int_equal(how, PFS_UNMOUNT_FORCE);
	fake.unmounts++;
	return 0;
}

bool pfs_signals_end_pending(void)
{
	return fake.end_pending;
}

#include "fs/holder.c"
#define pfs_store_open fake_open
#define pfs_store_create fake_create
#define pfs_store_stat(store, out) fake_stat(store, out)
#define pfs_store_close fake_close
#define pfs_now_monotonic_ms fake_now_ms
#define usleep fake_usleep
#define geteuid() 4711
#define getegid() 4712
#include "fs/open_store.c"
#undef usleep
#undef geteuid
#undef getegid

static char dir[64];

static const char *dir_of_store(void)
{
	return dir;
}

static int listener; /* at the socket of the store; -1: nobody listens */

static void count_infos(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	fake.infos += level == PFS_LOG_INFO && strstr(line, "waiting for another process");
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	listener = -1;
	strcpy(dir, "/tmp/payloadfs-open.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static void end_listening(void)
{
	char path[128];

	if (listener >= 0)
		close(listener);
	listener = -1;
	snprintf(path, sizeof(path), "%s/%s", dir, PFS_SERVE_SOCKET);
	unlink(path);
}

static int teardown(void **state)
{
	(void)state;
	end_listening();
	return rmdir(dir);
}

static void make_listener(void)
{
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
}

/* Whoever calls this is the one who listens. */
static int let_it_listen(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, PFS_SERVE_SOCKET);
	return bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	       listen(listener, 100);
}

static void listen_there(void)
{
	make_listener();
	assert_int_equal(let_it_listen(), 0);
}

static void mounted_as(const char *type, const char *source)
{
	fake.type = type;
	fake.source = source;
}

/* The exit code. */
static int open_with(const struct pfs_options *options, struct pfs_reason *reason)
{
	const struct pfs_logger logger = {.fn = count_infos};
	struct pfs_store *store;
	int code;

	reason->text[0] = '\0';
	code = pfs_open_store(&store, options, dir, NULL, 022, &logger, reason);
	assert_int_equal(code == PFS_EXIT_OK, store != NULL);
	assert_int_equal(code == PFS_EXIT_OK, reason->text[0] == '\0');
	return code;
}

static int open_plainly(struct pfs_reason *reason)
{
	const struct pfs_options options = {.foreground = true};

	return open_with(&options, reason);
}

/* Proves: one that is closing is waited for, which the user is told once after a while. */
static void a_holder_that_closes_is_waited_for(void **state)
{
	const struct pfs_options options = {.foreground = true};
	struct pfs_reason reason;

	(void)state;
	memcpy(fake.results, (int[]){-EBUSY, -EBUSY, -EBUSY, -EBUSY}, sizeof(fake.results));
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_non_null(strstr(reason.text, "held by another process (waited 30 s)"));
	assert_true(fake.now_ms >= PFS_CLOSING_WAIT_MS && fake.now_ms < PFS_CLOSING_WAIT_MS + 1000);
	assert_int_equal(fake.infos, 1);

	memset(&fake, 0, sizeof(fake));
	fake.results[0] = fake.results[1] = -EBUSY;
	assert_int_equal(open_with(&options, &reason), PFS_EXIT_OK);
	assert_int_equal(fake.opens, 3);
	assert_int_equal(fake.infos, 0);

	memset(&fake, 0, sizeof(fake));
	fake.results[0] = -EBUSY;
	fake.end_pending = true; /* the user has lost patience */
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_int_equal(fake.opens, 1);
}

/* Proves: a store that is mounted is refused at once, with its mount point; one that is served but
 * not mounted, after it had the time to end. */
static void a_store_in_use_is_refused(void **state)
{
	struct pfs_reason reason;

	(void)state;
	memcpy(fake.results, (int[]){-EBUSY, -EBUSY, -EBUSY, -EBUSY}, sizeof(fake.results));
	listen_there();
	mounted_as(PFS_MOUNT_TYPE, dir);
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_non_null(strstr(reason.text, "in use, it is mounted at /mnt/p"));
	assert_int_equal(fake.now_ms, 0);
	mounted_as(NULL, NULL);
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_non_null(strstr(reason.text, "in use by another payloadfs"));
	assert_true(fake.now_ms >= PFS_LEAVING_WAIT_MS && fake.now_ms < PFS_CLOSING_WAIT_MS);
	end_listening();
}

/* Proves: a missing store is made, unless it is only to be read, and also when somebody else was
 * quicker; what fails is said with the path, if with nothing better. */
static void a_missing_store_is_made(void **state)
{
	const struct pfs_options reading = {.read_only = true};
	struct pfs_reason reason;

	(void)state;
	fake.results[0] = -ENOENT;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_OK);
	assert_int_equal(fake.created, 1);
	memset(&fake, 0, sizeof(fake));
	fake.results[0] = -ENOENT;
	fake.create_err = -EEXIST;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_OK);
	memset(&fake, 0, sizeof(fake));
	fake.results[0] = -ENOENT;
	fake.create_err = -ENOSPC;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_IO);
	assert_non_null(strstr(reason.text, dir));
	assert_non_null(strstr(reason.text, "No space left"));
	memset(&fake, 0, sizeof(fake));
	fake.results[0] = -ENOENT;
	assert_int_equal(open_with(&reading, &reason), PFS_EXIT_NO_STORE);
	assert_int_equal(fake.created, 0);
}

/* Proves: an option of a new store that differs from what the store has is refused, with both, and
 * the store is closed again; what is the same is taken. */
static void the_store_is_what_was_asked_for(void **state)
{
	static const struct {
		struct pfs_options options;
		const char *why; /* NULL: taken */
	} cases[] = {
		{{.page_size = PFS_MIB, .min_value_size = 64}, NULL},
		{{.page_size = 2 * PFS_MIB}, "made with page_size=1048576, not 2097152"},
		{{.min_value_size = 128}, "made with min_value_size=64, not 128"},
		{{.has_uid = true, .uid = 10, .has_gid = true, .gid = 20}, NULL},
		{{.has_uid = true, .uid = 11}, "made with uid=10, not 11"},
		{{.has_gid = true, .gid = 0}, "made with gid=20, not 0"},
		{{.has_umask = true, .umask = 026}, NULL},
		{{.has_umask = true, .umask = 0137}, NULL},
		{{.has_umask = true, .umask = 022}, "mode 0640, umask=022 would make it 0644"},
	};
	struct pfs_reason reason;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		fake.closed = 0;
		assert_int_equal(open_with(&cases[i].options, &reason),
				 cases[i].why ? PFS_EXIT_USAGE : PFS_EXIT_OK);
		assert_int_equal(fake.closed, cases[i].why != NULL);
		if (cases[i].why && !strstr(reason.text, cases[i].why))
			fail_msg("%s", reason.text);
	}
	fake.closed = 0;
	fake.stat_err = -EIO;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_IO);
	assert_int_equal(fake.closed, 1);
}

/* Proves: each option reaches the store, in its units; what is not given is the caller's, or the
 * store's own. */
static void options_reach_the_store(void **state)
{
	const struct pfs_logger logger = {.fn = count_infos};
	const struct pfs_options all = {.read_only = false,
					.dict = PFS_DICT_OFF,
					.commit_seconds = 7,
					.page_size = PFS_MIB,
					.min_value_size = 64,
					.has_uid = true,
					.has_gid = true,
					.has_umask = true,
					.uid = 10,
					.gid = 20,
					.umask = 026,
					.cache_size = 77,
					.timeout_seconds = 9},
				 none = {.read_only = true};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	fake.results[0] = -ENOENT;
	memset(&given, 0, sizeof(given));
	assert_int_equal(pfs_open_store(&store, &all, dir, "/the/cache", 077, &logger, &reason),
			 PFS_EXIT_OK);
	assert_string_equal(given.path, dir);
	assert_false(given.how.read_only);
	assert_true(given.how.hold_objects);
	assert_int_equal(given.how.dict, PFS_DICT_OFF);
	assert_int_equal(given.how.commit_ms, 7000);
	assert_ptr_equal(given.how.logger.fn, count_infos);
	assert_int_equal(given.defaults.mode, 0640);
	assert_int_equal(given.defaults.uid, 10);
	assert_int_equal(given.defaults.gid, 20);
	assert_string_equal(given.cache_dir, "/the/cache");
	assert_int_equal(given.remote.cache_size, 77);
	assert_int_equal(given.remote.timeout_ms, 9000);
	assert_int_equal(fake.created, 1);
	assert_int_equal(given.create.page_size, PFS_MIB);
	assert_int_equal(given.create.min_value_size, 64);
	assert_true(given.create.dict_off);
	memset(&fake, 0, sizeof(fake));
	memset(&given, 0, sizeof(given));
	assert_int_equal(pfs_open_store(&store, &none, dir, NULL, 0137, &logger, &reason),
			 PFS_EXIT_OK);
	assert_true(given.how.read_only);
	assert_int_equal(given.how.dict, none.dict);
	assert_int_equal(given.how.commit_ms, 0);
	assert_int_equal(given.defaults.mode, 0640);
	assert_int_equal(given.defaults.uid, 4711);
	assert_int_equal(given.defaults.gid, 4712);
	assert_string_equal(given.cache_dir, "none");
	assert_int_equal(given.remote.cache_size, 0);
	assert_int_equal(given.remote.timeout_ms, 0);
	memset(&fake, 0, sizeof(fake));
	fake.results[0] = -ENOENT;
	assert_int_equal(pfs_open_store(&store, &(struct pfs_options){.dict = PFS_DICT_AUTO}, dir,
					NULL, 022, &logger, &reason),
			 PFS_EXIT_OK);
	assert_false(given.create.dict_off);
	assert_int_equal(given.create.page_size, 0);
}

/* Proves: what is refused is said with all that matters. */
static void refusals_say_all(void **state)
{
	static const struct {
		struct pfs_options options;
		const char *why;
	} cases[] = {
		{{.page_size = 2 * PFS_MIB},
		 ": the store was made with page_size=1048576, not 2097152"},
		{{.has_umask = true, .umask = 022},
		 ": the store's documents have mode 0640, umask=022 would make it 0644"},
		{{.has_umask = true, .umask = 06},
		 ": the store's documents have mode 0640, umask=006 would make it 0660"},
	};
	struct pfs_reason reason;
	char want[256];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		assert_int_equal(open_with(&cases[i].options, &reason), PFS_EXIT_USAGE);
		snprintf(want, sizeof(want), "%s%s", dir, cases[i].why);
		assert_string_equal(reason.text, want);
	}
	fake.stat_err = -EIO;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_IO);
	snprintf(want, sizeof(want), "%s: Input/output error", dir);
	assert_string_equal(reason.text, want);
	fake.stat_err = 0;
	/* It is asked for in steps, and told of after a while. */
	memcpy(fake.results, (int[]){-EBUSY, -EBUSY, -EBUSY, -EBUSY}, sizeof(fake.results));
	fake.opens = 0;
	fake.now_ms = 0;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_int_equal(fake.opens, PFS_CLOSING_WAIT_MS / PFS_LOCK_POLL_MS + 1);
	assert_int_equal(fake.now_ms, PFS_CLOSING_WAIT_MS);
	snprintf(want, sizeof(want), "%s: the store is held by another process (waited 30 s)", dir);
	assert_string_equal(reason.text, want);
	/* Whatever the clock begins with, and however long a look takes. */
	fake.opens = 0;
	fake.now_ms = 5000000;
	fake.open_ms = 2000000;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_int_equal(fake.opens, 1);
	snprintf(want, sizeof(want), "%s: the store is held by another process (waited 2000 s)",
		 dir);
	assert_string_equal(reason.text, want);
	fake.open_ms = 0;
	fake.opens = 0;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_int_equal(fake.opens, PFS_CLOSING_WAIT_MS / PFS_LOCK_POLL_MS + 1);
	listen_there();
	fake.opens = 0;
	fake.now_ms = 0;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_LOCKED);
	assert_int_equal(fake.now_ms, PFS_LEAVING_WAIT_MS);
	snprintf(want, sizeof(want), "%s: the store is in use by another payloadfs", dir);
	assert_string_equal(reason.text, want);
}

/* A process that listened at the store's socket, which is still open, and has died; it stays a
 * zombie until it is waited for. */
static pid_t killed_holder(void)
{
	siginfo_t info;
	pid_t child;

	make_listener();
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(let_it_listen());
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_status, 0);
	return child;
}

/* Proves: what a killed daemon has left is cut; not a mount whose daemon lives or is gone, nor
 * another's. */
static void only_the_killed_are_cut(void **state)
{
	struct pfs_reason reason;
	pid_t pid;

	(void)state;
	mounted_as(PFS_MOUNT_TYPE, dir);
	assert_false(pfs_holder_is_served(dir)); /* nobody listens */
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	listen_there();
	assert_true(pfs_holder_is_served(dir));
	assert_false(pfs_holder_cut_mount("/mnt/p")); /* it lives: we are it */
	assert_false(pfs_holder_cut_store(dir));
	mounted_as("fuse.sshfs", dir);
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	assert_false(pfs_holder_is_served("/not/there"));
	mounted_as(PFS_MOUNT_TYPE, "/not/there");
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	assert_int_equal(fake.unmounts, 0);

	end_listening();
	pid = killed_holder();
	mounted_as(PFS_MOUNT_TYPE, dir);
	assert_true(pfs_holder_cut_mount("/mnt/p"));
	assert_true(pfs_holder_cut_store(dir));
	assert_int_equal(fake.unmounts, 2);
	assert_false(pfs_holder_cut_store("/other"));
	/* Then it is not in use by it any more. */
	fake.results[0] = -EBUSY;
	assert_int_equal(open_plainly(&reason), PFS_EXIT_OK);
	assert_int_equal(fake.opens, 2);
	assert_int_equal(fake.unmounts, 3);
	fake.unmounts = 2;
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(pfs_holder_cut_mount("/mnt/p")); /* it has ended, and the mount with it */
	assert_int_equal(fake.unmounts, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_holder_that_closes_is_waited_for, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_store_in_use_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_store_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(the_store_is_what_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(options_reach_the_store, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals_say_all, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_killed_are_cut, setup, teardown),
	};

	return cmocka_run_group_tests_name("opening the store of a mount", tests, NULL, NULL);
}
