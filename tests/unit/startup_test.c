/* fs/startup.c: what the shell is told that started the daemon, and the service manager. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <unistd.h>

static int fork_err; /* what it is to fail with; 0: it does not */
static int wait_options;
/* What read() gives before it is the true one: 0 for the end of the file, or -errno; behind them 1.
 */
static const int *script;

static pid_t fork_or_fail(void)
{
	pid_t pid = -1;

	if (fork_err)
		errno = fork_err;
	else
		pid = fork();
	return pid;
}

static pid_t note_wait(pid_t pid, int *status, int options)
{
	wait_options = options;
	return waitpid(pid, status, options);
}

/* errno stays where there is no error, as it does. */
static ssize_t scripted_read(int fd, void *buf, size_t len)
{
	int result;

	if (!script)
		return read(fd, buf, len);
	result = *script;
	if (result == 1)
		fail_msg("it is read on");
	script++;
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}

#define fork fork_or_fail
#define waitpid note_wait
#define read scripted_read
#include "fs/startup.c"
#undef fork
#undef waitpid
#undef read
#include "tests/unit/counted.h"
#include "tests/unit/stderr_helpers.h"

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* What the child does: ends as it is, or says so first. */
enum child { TELLS, ENDS, IS_KILLED };

static bool speaks; /* on its standard output, before it leaves the terminal */

static void end_child(int code)
{
	write_counts();
	_exit(code);
}

/* Who has started it can go on: nothing of his is held open. */
static bool holds_nothing(bool in_background)
{
	struct stat null, st;

	if (open_descriptors() != STDERR_FILENO + 1)
		return false;
	for (int fd = 0; in_background && fd <= STDERR_FILENO; fd++)
		if (stat("/dev/null", &null) || fstat(fd, &st) || null.st_rdev != st.st_rdev ||
		    (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
			return false;
	return getsid(0) == getpid();
}

#define OTHERS 8

/* Descriptors below the pipe's, right above it, and far above. */
static void open_others(int others[OTHERS])
{
	for (int i = 0; i < OTHERS - 1; i++) {
		others[i] = open("/dev/zero", O_RDONLY);
		assert_true(others[i] > STDERR_FILENO);
	}
	others[OTHERS - 1] = fcntl(others[0], F_DUPFD, 200);
	assert_true(others[OTHERS - 1] >= 200);
	/* The first is for what is listened with, and its copy; the next for the pipe. */
	for (int i = 2; i < 6; i++) {
		close(others[i]);
		others[i] = -1;
	}
}

static void close_others(const int others[OTHERS])
{
	for (int i = 0; i < OTHERS; i++)
		if (others[i] >= 0)
			close(others[i]);
}

/* The parent's exit code; text: what it says. */
static int start(enum child what, int code, const char *mountpoint, char *text, size_t cap)
{
	struct pfs_startup startup = {.pipe = -1};
	int told = -1, result, status;
	const pid_t parent = getpid();
	int others[OTHERS];
	unsigned before;

	open_others(others);
	begin_to_listen();
	before = open_descriptors();
	wait_options = -1;
	result = pfs_startup_background(&startup, mountpoint, &told);
	if (result == 0 && getpid() == parent)
		abort(); /* its tests would end well */
	if (result == 0) {
		if (what == IS_KILLED) {
			write_counts();
			raise(SIGKILL);
		}
		if (speaks)
			printf("more");
		if (what == TELLS && (!pfs_startup_tell(&startup, code) || startup.pipe >= 0))
			end_child(1);
		if (what == TELLS && !holds_nothing(code == PFS_EXIT_OK))
			end_child(2);
		end_child(0);
	}
	assert_int_equal(open_descriptors(), before);
	end_to_listen(text, cap);
	close_others(others);
	if (what != TELLS)
		assert_int_equal(wait_options, 0);
	assert_int_equal(result, 1);
	if (what == TELLS) {
		assert_true(waitpid(-1, &status, 0) > 0);
		assert_int_equal(status, 0);
	}
	return told;
}

/* Proves: the parent's exit code is what the child says; silently, for the child has said all. */
static void the_parent_ends_as_the_child_says(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(start(TELLS, PFS_EXIT_OK, "/", text, sizeof(text)), PFS_EXIT_OK);
	assert_string_equal(text, "");
	assert_int_equal(start(TELLS, PFS_EXIT_DAMAGED, "/", text, sizeof(text)), PFS_EXIT_DAMAGED);
	assert_string_equal(text, "");
}

/* Proves: of a daemon that has ended without a word, or was killed, the parent says so, and fails.
 */
static void a_daemon_that_says_nothing_has_failed(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(start(ENDS, 0, "/", text, sizeof(text)), PFS_EXIT_MOUNT);
	assert_string_equal(text, "payloadfs: the daemon ended unexpectedly\n");
	assert_int_equal(start(IS_KILLED, 0, "/", text, sizeof(text)), PFS_EXIT_MOUNT);
	assert_string_equal(text, "payloadfs: the daemon was killed by signal 9\n");
}

/* Proves: what was written and not yet sent on by whoever starts the daemon is sent on once; what
 * the daemon has written is sent on before it leaves the terminal. */
static void nothing_is_written_twice(void **state)
{
	FILE *file = tmpfile();
	char text[64];
	int output, code;

	(void)state;
	assert_non_null(file);
	assert_true(fputs("once", file) >= 0);
	assert_int_equal(start(TELLS, PFS_EXIT_OK, "/", text, sizeof(text)), PFS_EXIT_OK);
	assert_int_equal(fflush(file), 0);
	rewind(file);
	assert_non_null(fgets(text, sizeof(text), file));
	assert_string_equal(text, "once");
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	fflush(stdout);
	output = dup(STDOUT_FILENO);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	printf("once, ");
	speaks = true;
	code = start(TELLS, PFS_EXIT_OK, "/", text, sizeof(text));
	speaks = false;
	fflush(stdout);
	assert_true(dup2(output, STDOUT_FILENO) >= 0);
	close(output);
	assert_int_equal(code, PFS_EXIT_OK);
	rewind(file);
	assert_non_null(fgets(text, sizeof(text), file));
	assert_string_equal(text, "once, more");
	fclose(file);
}

/* Proves: 0 is only said of a mount point that answers. */
static void success_is_a_mount_that_answers(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(start(TELLS, PFS_EXIT_OK, "/not/there", text, sizeof(text)),
			 PFS_EXIT_MOUNT);
	assert_string_equal(text, "payloadfs: /not/there: mounted, but it does not answer: No such "
				  "file or directory\n");
}

/* Proves: an interrupted read is made again, one that fails or finds the end is not; and a pipe
 * that has the lowest descriptors is all that the daemon keeps. */
static void bytes_are_read_until_there_is_one(void **state)
{
	static const int interrupted[] = {-EINTR, -EINTR, 0, 1}, failed[] = {-EINTR, -EIO, 1};
	struct pfs_startup startup = {.pipe = -1};
	unsigned char byte;
	int told = -1;

	(void)state;
	script = interrupted;
	assert_int_equal(read_byte(-1, &byte), 0);
	assert_int_equal(*script, 1);
	script = failed;
	assert_int_equal(read_byte(-1, &byte), -1);
	assert_int_equal(*script, 1);
	script = NULL;
	if (pfs_startup_background(&startup, "/", &told) == 0) {
		bool kept = open_descriptors() == STDERR_FILENO + 2;

		pfs_startup_tell(&startup, kept ? PFS_EXIT_DAMAGED : PFS_EXIT_IO);
		end_child(0);
	}
	assert_int_equal(told, PFS_EXIT_DAMAGED);
	assert_true(waitpid(-1, NULL, 0) > 0);
}

/* From here on no descriptor can be opened, until it is given what it returned. */
static struct rlimit no_descriptors(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void descriptors_again(const struct rlimit *before)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, before), 0);
}

/* Proves: where the background can't be reached that is an error, and nothing stays open. */
static void no_background_is_an_error(void **state)
{
	struct pfs_startup startup = {.pipe = -1};
	unsigned before = open_descriptors();
	struct rlimit limit;
	int code, err;

	(void)state;
	limit = no_descriptors();
	err = pfs_startup_background(&startup, "/", &code);
	descriptors_again(&limit);
	assert_int_equal(err, -EMFILE);
	fork_err = EAGAIN;
	err = pfs_startup_background(&startup, "/", &code);
	fork_err = 0;
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(startup.pipe, -1);
	assert_int_equal(open_descriptors(), before);
}

/* Proves: a parent that was killed is noticed; in the foreground there is none; and what is to be
 * said is said also where /dev/null can't be opened. */
static void nobody_may_wait(void **state)
{
	struct pfs_startup startup = {.pipe = -1};
	void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
	struct rlimit limit;
	unsigned char byte;
	int ends[2];
	bool told;

	(void)state;
	assert_true(pfs_startup_tell(&startup, PFS_EXIT_OK));
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	startup.pipe = ends[1];
	assert_false(pfs_startup_tell(&startup, PFS_EXIT_IO));
	assert_int_equal(startup.pipe, -1);
	assert_int_equal(pipe(ends), 0);
	startup.pipe = ends[1];
	limit = no_descriptors();
	told = pfs_startup_tell(&startup, PFS_EXIT_OK);
	descriptors_again(&limit);
	assert_true(told);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, PFS_EXIT_OK);
	close(ends[0]);
	signal(SIGPIPE, handler);
}

/* ---- the service manager ---- */

/* A socket that it listens at; name begins with '@' for an abstract one. */
static int manager_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, len);
	if (*name == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void expect_message(int fd, const char *want)
{
	char text[2 * NOTIFY_MAX];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	if (!want) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, want);
}

/* Proves: the manager's socket is found by path and by abstract name; a message is one, whatever is
 * in the paths that it names; what does not fit is cut, or not sent; and a manager that is not
 * there, or can't be reached, does no harm. */
static void the_service_manager_is_told(void **state)
{
	char dir[] = "/tmp/payloadfs-startup.XXXXXX", path[64], name[64], *state_text;
	char long_text[2 * NOTIFY_MAX], want[NOTIFY_MAX], long_path[128];
	struct rlimit limit;
	unsigned before;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	fd = manager_at(path);
	pfs_startup_notify("READY=1", "%s is mounted", "/a\nMAINPID=1");
	expect_message(fd, "READY=1\nSTATUS=/a?MAINPID=1 is mounted");
	memset(long_text, 'y', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	pfs_startup_notify("READY=1", "%s", long_text);
	long_text[NOTIFY_MAX - 1 - strlen("READY=1\nSTATUS=")] = '\0'; /* so much of it */
	snprintf(want, sizeof(want), "READY=1\nSTATUS=%.1008s", long_text);
	expect_message(fd, want);
	limit = no_descriptors();
	pfs_startup_notify("READY=1", "lost");
	descriptors_again(&limit);
	expect_message(fd, NULL);
	state_text = malloc(NOTIFY_MAX);
	assert_non_null(state_text);
	memset(state_text, 'x', NOTIFY_MAX - 1);
	state_text[NOTIFY_MAX - 1] = '\0';
	pfs_startup_notify(state_text, "too long");
	expect_message(fd, NULL);
	state_text[NOTIFY_MAX - strlen("\nSTATUS=")] = '\0'; /* no room for the end */
	pfs_startup_notify(state_text, "too long");
	expect_message(fd, NULL);
	free(state_text);
	before = open_descriptors();
	pfs_startup_notify("READY=1", "again");
	assert_int_equal(open_descriptors(), before);
	expect_message(fd, "READY=1\nSTATUS=again");
	close(fd);
	assert_int_equal(unlink(path), 0);
	/* The longest address has no room for an end. */
	snprintf(long_path, sizeof(long_path), "%s/%0*d", dir, (int)(108 - strlen(dir) - 1), 0);
	assert_int_equal(strlen(long_path), 108);
	fd = manager_at(long_path);
	pfs_startup_notify("READY=1", "too far");
	expect_message(fd, NULL);
	close(fd);
	assert_int_equal(unlink(long_path), 0);
	pfs_startup_notify("READY=1", "nobody is there");
	assert_int_equal(rmdir(dir), 0);

	snprintf(name, sizeof(name), "@payloadfs-startup-%d", (int)getpid());
	fd = manager_at(name);
	pfs_startup_notify("STOPPING=1", "done");
	expect_message(fd, "STOPPING=1\nSTATUS=done");
	assert_int_equal(setenv("NOTIFY_SOCKET", "relative", 1), 0);
	pfs_startup_notify("STOPPING=1", "done");
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	pfs_startup_notify("STOPPING=1", "done");
	expect_message(fd, NULL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_parent_ends_as_the_child_says),
		cmocka_unit_test(a_daemon_that_says_nothing_has_failed),
		cmocka_unit_test(nothing_is_written_twice),
		cmocka_unit_test(success_is_a_mount_that_answers),
		cmocka_unit_test(bytes_are_read_until_there_is_one),
		cmocka_unit_test(no_background_is_an_error),
		cmocka_unit_test(nobody_may_wait),
		cmocka_unit_test(the_service_manager_is_told),
	};

	return cmocka_run_group_tests_name("startup", tests, NULL, NULL);
}
