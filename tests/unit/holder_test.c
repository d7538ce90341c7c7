/* fs/holder.c: who is asked whether a store is served, and which mounts are cut off: those alone
 * whose daemon was killed and can't end. The socket is a true one; the mounts, /proc and /sys are
 * the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/mount_table.h"
#include "tests/unit/dir_helpers.h"

#define PEER 4711

static struct {
	char *dir; /* of the store */
	struct pfs_mount mount;
	int mount_err;
	unsigned frees;
	int peer_err;
	pid_t peer;
	const char *stat;  /* of the peer; NULL: it is gone */
	const char *abort; /* the file that stands for the kernel's; NULL: it can't be opened */
	int unmount_err;
	unsigned unmounts;
	unsigned open; /* files of /proc that are */
} fake;

static int told_mount(struct pfs_mount *out)
{
	memset(out, 0, sizeof(*out));
	if (!fake.mount_err)
		*out = fake.mount;
	return fake.mount_err;
}

int pfs_mount_at(struct pfs_mount *out, const char *path)
{
	assert_string_equal(path, "/mnt/p");
	return told_mount(out);
}

int pfs_mount_of(struct pfs_mount *out, const char *source)
{
	assert_string_equal(source, "/the/store");
	return told_mount(out);
}

void pfs_mount_free(struct pfs_mount *mount)
{
	(void)mount;
	fake.frees++;
}

int pfs_unmount(const char *path, enum pfs_unmount_how how)
{
	assert_string_equal(path, "/mnt/p");
	assert_int_equal(how, PFS_UNMOUNT_FORCE);
	fake.unmounts++;
	return fake.unmount_err;
}

static int told_peer(int fd, int level, int name, void *value, socklen_t *len)
{
	struct ucred *peer = value;

	assert_int_equal(level, SOL_SOCKET);
	assert_int_equal(name, SO_PEERCRED);
	if (getsockopt(fd, level, name, value, len) != 0)
		return -1;
	assert_int_equal(peer->pid, getpid());
	peer->pid = fake.peer;
	errno = fake.peer_err;
	return fake.peer_err ? -1 : 0;
}

static FILE *told_stat(const char *path, const char *mode)
{
	char want[32];

	snprintf(want, sizeof(want), "/proc/%d/stat", (int)fake.peer);
	assert_string_equal(path, want);
	assert_string_equal(mode, "re");
	if (!fake.stat)
		return NULL;
	fake.open++;
	return fmemopen((void *)(uintptr_t)fake.stat, strlen(fake.stat) + 1, "r");
}

static int close_stat(FILE *file)
{
	fake.open--;
	return fclose(file);
}

static int open_abort(const char *path, int flags)
{
	if (strncmp(path, "/sys/", 5) != 0) {
		/* Nothing of a store has to be readable for that. */
		assert_int_equal(flags, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return open(path, flags);
	}
	assert_string_equal(path, "/sys/fs/fuse/connections/99/abort");
	assert_int_equal(flags, O_WRONLY | O_CLOEXEC);
	errno = EACCES;
	return fake.abort ? open(fake.abort, flags) : -1;
}

#define getsockopt told_peer
#define fopen told_stat
#define fclose close_stat
#define open open_abort
#include "fs/holder.c"
#undef open
#undef fopen
#undef fclose
#undef getsockopt

/* Descriptors that are open. */
static unsigned descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int bound_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int dir = open(fake.dir, O_PATH | O_DIRECTORY), fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(dir >= 0 && fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(dir);
	return fd;
}

static int setup(void **state)
{
	static char dir[64];

	(void)state;
	memset(&fake, 0, sizeof(fake));
	strcpy(dir, "/tmp/payloadfs-holder.XXXXXX");
	fake.dir = mkdtemp(dir);
	fake.peer = PEER;
	fake.stat = "4711 (payloadfs) Z 1 2 3\n";
	fake.mount = (struct pfs_mount){.path = (char *)(uintptr_t) "/mnt/p",
					.type = (char *)(uintptr_t) "fuse.payloadfs",
					.source = fake.dir,
					.major = 0,
					.minor = 99};
	return fake.dir ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	remove_dir(fake.dir);
	return 0;
}

/* Proves: a store is served when somebody listens at its socket, also when so many want to connect
 * that one would have to wait; not when its directory or socket is missing, or nobody listens at
 * it. */
static void a_store_with_a_listener_is_served(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, waiting[8], n = 0;
	unsigned before = descriptors();

	(void)state;
	assert_false(pfs_holder_is_served("/not/there"));
	assert_false(pfs_holder_is_served("/dev/null"));
	assert_false(pfs_holder_is_served(fake.dir));
	fd = bound_socket();
	assert_false(pfs_holder_is_served(fake.dir));
	assert_int_equal(listen(fd, 1), 0);
	assert_true(pfs_holder_is_served(fake.dir));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", fake.dir);
	for (int err = 0; !err; n += !err) {
		assert_true(n < 8);
		waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		err = connect(waiting[n], (struct sockaddr *)&address, sizeof(address));
		if (err) {
			assert_int_equal(errno, EAGAIN);
			close(waiting[n]);
		}
	}
	assert_true(pfs_holder_is_served(fake.dir));
	while (n > 0)
		close(waiting[--n]);
	close(fd);
	assert_false(pfs_holder_is_served(fake.dir));
	assert_int_equal(descriptors(), before);
}

/* Proves: a path may be longer than a socket's address. */
static void long_paths_are_reached(void **state)
{
	char *short_one = fake.dir, path[300];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/%0200d", short_one, 0);
	assert_int_equal(mkdir(path, 0700), 0);
	fake.dir = path;
	fd = bound_socket();
	assert_int_equal(listen(fd, 1), 0);
	assert_true(pfs_holder_is_served(path));
	close(fd);
	remove_dir(path);
	fake.dir = short_one;
}

/* What the kernel's file was written. */
static void expect_aborted(const char *file, const char *want)
{
	char text[8] = "";
	FILE *f = fopen(file, "r");

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(want));
	assert_string_equal(text, want);
	fclose(f);
	assert_int_equal(truncate(file, 0), 0);
}

/* Proves: a mount is cut when its daemon's first thread is gone, and in no other state, whatever
 * the program is called. */
static void only_killed_daemons_are_cut(void **state)
{
	static const struct {
		const char *stat;
		bool killed;
	} cases[] = {
		{"4711 (payloadfs) Z 1 2 3\n", true},
		{"4711 (payloadfs) X 1 2 3\n", true},
		{"4711 (payloadfs) R 1 2 3\n", false},
		{"4711 (payloadfs) S 1 2 3\n", false},
		{"4711 (payloadfs) D 1 2 3\n", false},
		{"4711 (payloadfs) T 1 2 3\n", false},
		{"4711 (a) Z b) S 1 2 3\n", false},
		{"4711 (a) S b) Z 1 2 3\n", true},
		{"4711 payloadfs Z\n", false},
		{"\n", false},
		{"", false},
		{NULL, false},
	};
	char file[] = "/tmp/payloadfs-abort.XXXXXX";
	int fd = bound_socket(), made = mkstemp(file);
	unsigned before = descriptors();

	(void)state;
	assert_int_equal(listen(fd, 64), 0);
	fake.abort = file;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		fake.stat = cases[i].stat;
		fake.frees = 0;
		assert_int_equal(pfs_holder_cut_mount("/mnt/p"), cases[i].killed);
		expect_aborted(file, cases[i].killed ? "1" : "");
		assert_int_equal(pfs_holder_cut_store("/the/store"), cases[i].killed);
		expect_aborted(file, cases[i].killed ? "1" : "");
		assert_int_equal(fake.frees, 2);
		assert_int_equal(fake.unmounts, 0);
		assert_int_equal(fake.open, 0);
	}
	fake.stat = cases[0].stat;
	fake.peer = 1; /* of a container */
	assert_true(pfs_holder_cut_mount("/mnt/p"));
	assert_int_equal(descriptors(), before);
	close(made);
	close(fd);
	unlink(file);
}

/* Proves: what is no mount of ours, or has nobody who could be asked, is left alone. */
static void others_are_left_alone(void **state)
{
	int fd = bound_socket();

	(void)state;
	assert_false(pfs_holder_cut_mount("/mnt/p")); /* nobody listens */
	assert_int_equal(listen(fd, 16), 0);
	fake.mount.type = (char *)(uintptr_t) "fuse.sshfs";
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	fake.mount.type = (char *)(uintptr_t) "fuse.payloadfs";
	fake.peer_err = ENOPROTOOPT;
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	fake.peer_err = 0;
	fake.peer = 0;
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	fake.peer = PEER;
	fake.mount_err = -ENOENT;
	assert_false(pfs_holder_cut_mount("/mnt/p"));
	assert_false(pfs_holder_cut_store("/the/store"));
	assert_int_equal(fake.unmounts, 0);
	fake.mount_err = 0;
	assert_true(pfs_holder_cut_mount("/mnt/p"));
	assert_int_equal(fake.unmounts, 1);
	close(fd);
}

/* Proves: where the connection can't be cut through the kernel's file it is unmounted by force, and
 * it is told whether that went well. */
static void force_is_the_second_way(void **state)
{
	int fd = bound_socket();

	(void)state;
	assert_int_equal(listen(fd, 16), 0);
	for (unsigned i = 0; i < 4; i++) {
		fake.abort = i % 2 ? "/dev/full" : NULL;
		fake.unmount_err = i < 2 ? 0 : -EPERM;
		fake.unmounts = 0;
		assert_int_equal(pfs_holder_cut_mount("/mnt/p"), i < 2);
		assert_int_equal(fake.unmounts, 1);
	}
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_store_with_a_listener_is_served), TEST(long_paths_are_reached),
		TEST(only_killed_daemons_are_cut),	 TEST(others_are_left_alone),
		TEST(force_is_the_second_way),
	};

	return cmocka_run_group_tests_name("holder", tests, NULL, NULL);
}
