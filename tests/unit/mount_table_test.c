/* fs/mount_table.c: what is made of the kernel's table, of unmounting as an ordinary user, and of
 * dead mounts in the way. The table, the system calls and fusermount3 are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	const char *table; /* NULL: it can't be read */
	const char *then;  /* what the table is after an unmount, if not NULL */
	int umount_err, flags;
	int spawn_err, status, interruptions, wait_err;
	char arguments[256]; /* of fusermount3 */
	unsigned dead;	     /* so often statfs says that the connection is dead */
	int realpath_err;
	unsigned strings; /* 0: there is memory for any; else not for that one */
	unsigned open;	  /* tables that are */
} fake;

static FILE *fake_fopen(const char *path, const char *mode)
{
	assert_string_equal(path, "/proc/self/mountinfo");
	assert_string_equal(mode, "re");
	if (!fake.table) {
		errno = EMFILE;
		return NULL;
	}
	fake.open++;
	return fmemopen((void *)(uintptr_t)fake.table, strlen(fake.table), "r");
}

static int fake_fclose(FILE *file)
{
	fake.open--;
	return fclose(file);
}

static int fake_umount2(const char *path, int flags)
{
	assert_non_null(path);
	fake.flags = flags;
	if (fake.then)
		fake.table = fake.then;
	errno = fake.umount_err ? fake.umount_err : EXDEV; /* it stays as it was */
	return fake.umount_err ? -1 : 0;
}

static int fake_spawn(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		      const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	(void)actions;
	(void)attr;
	(void)env;
	assert_string_equal(file, "fusermount3");
	fake.arguments[0] = '\0';
	for (int i = 0; argv[i]; i++)
		snprintf(fake.arguments + strlen(fake.arguments),
			 sizeof(fake.arguments) - strlen(fake.arguments), "%s ", argv[i]);
	*pid = 77;
	return fake.spawn_err;
}

static pid_t fake_waitpid(pid_t pid, int *status, int options)
{
	assert_int_equal(options, 0);
	assert_int_equal(pid, 77);
	errno = fake.interruptions > 0 ? EINTR : fake.wait_err;
	*status = fake.status << 8;
	return fake.interruptions-- > 0 || fake.wait_err ? -1 : pid;
}

static int fake_statfs(const char *path, struct statfs *fs)
{
	if (fake.dead) {
		fake.dead--;
		errno = ENOTCONN;
		return -1;
	}
	return statfs(path, fs);
}

static char *fake_realpath(const char *path, char *resolved)
{
	errno = fake.realpath_err;
	return fake.realpath_err ? NULL : realpath(path, resolved);
}

static char *fake_strdup(const char *text)
{
	return fake.strings && --fake.strings == 0 ? NULL : strdup(text);
}

#include "fs/paths.c"
#undef strdup
#define strdup fake_strdup
#define fopen fake_fopen
#define fclose fake_fclose
#define umount2 fake_umount2
#define posix_spawnp fake_spawn
#define waitpid fake_waitpid
#define statfs(path, fs) fake_statfs(path, fs)
#define realpath fake_realpath
#include "fs/mount_table.c"

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	return 0;
}

static const char table[] =
	"22 27 0:20 / /proc rw,nosuid - proc proc rw\n"
	"40 27 0:51 / /mnt/a rw shared:1 - fuse.payloadfs /stores/old rw\n"
	"no line at all\n"
	"41 27 0:52 / - fuse.payloadfs\n"
	"42 27 nonsense / /mnt/a rw - fuse.payloadfs /stores/bad rw\n"
	"43 27 0:53 / /mnt/a rw - fuse.payloadfs\n"
	"44 27 0:54 / /mnt/a rw - fuse.payloadfs /stores/new rw\n"
	"45 27 0:55 / /mnt/sp\\040ace\\134\\011x rw - fuse.payloadfs /stores/a\\040b rw\n"
	"46 27 0:56 / /mnt/other rw - fuse.sshfs /stores/new rw\n";

/* Proves: the topmost mount of a path and the mount of a store are found, with names as they are;
 * lines that are none are passed over. */
static void the_topmost_mount_is_found(void **state)
{
	struct pfs_mount mount;

	(void)state;
	fake.table = table;
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), 0);
	assert_int_equal(mount.major, 0);
	assert_int_equal(mount.minor, 54);
	assert_string_equal(mount.source, "/stores/new");
	pfs_mount_free(&mount);
	assert_int_equal(pfs_mount_at(&mount, "/mnt/sp ace\\\tx"), 0);
	assert_string_equal(mount.source, "/stores/a b");
	assert_string_equal(mount.type, PFS_MOUNT_TYPE);
	pfs_mount_free(&mount);
	assert_int_equal(pfs_mount_of(&mount, "/stores/new"), 0);
	assert_string_equal(mount.path, "/mnt/a");
	assert_int_equal(mount.minor, 54);
	pfs_mount_free(&mount);
	assert_int_equal(pfs_mount_of(&mount, "/stores/bad"), -ENOENT);
	assert_null(mount.path);
	assert_int_equal(pfs_mount_at(&mount, "/mnt"), -ENOENT);
	assert_int_equal(fake.open, 0);
	fake.table = NULL;
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), -EMFILE);
	assert_null(mount.path);
}

/* Proves: a mount that can't be told whole is an error, not half of it. */
static void mounts_need_memory(void **state)
{
	(void)state;
	fake.table = "40 27 0:51 / /mnt/a rw shared:1 - fuse.payloadfs /stores/old rw\n";
	for (unsigned i = 1; i <= 3; i++) {
		struct pfs_mount mount;

		fake.strings = i;
		assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), -ENOMEM);
		fake.strings = 0;
		assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), 0);
		assert_string_equal(mount.source, "/stores/old");
		pfs_mount_free(&mount);
	}
}

/* Proves: who may unmount does it himself, and another error than that he may not is what it is. */
static void root_unmounts_by_itself(void **state)
{
	(void)state;
	fake.table = table;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), 0);
	assert_int_equal(fake.flags, UMOUNT_NOFOLLOW);
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_FORCE), 0);
	assert_int_equal(fake.flags, UMOUNT_NOFOLLOW | MNT_DETACH | MNT_FORCE);
	fake.umount_err = EBUSY;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), -EBUSY);
	assert_string_equal(fake.arguments, "");
	fake.umount_err = 0;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_LAZY), 0);
	assert_int_equal(fake.flags, UMOUNT_NOFOLLOW | MNT_DETACH);
}

/* Proves: an ordinary user unmounts through fusermount3, lazily when that was asked for; what it
 * can't tell is found out: in use, or nothing is mounted there. */
static void users_unmount_through_fusermount(void **state)
{
	(void)state;
	fake.table = table;
	fake.umount_err = EPERM;
	fake.interruptions = 2;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), 0);
	assert_string_equal(fake.arguments, "fusermount3 -u -q -q -- /mnt/a ");
	assert_int_equal(pfs_unmount("-a", PFS_UNMOUNT_LAZY), 0);
	assert_string_equal(fake.arguments, "fusermount3 -u -q -z -- -a ");
	assert_int_equal(pfs_unmount("-a", PFS_UNMOUNT_FORCE), 0);
	assert_string_equal(fake.arguments, "fusermount3 -u -q -z -- -a ");
	fake.status = 1;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), -EBUSY);
	assert_int_equal(pfs_unmount("/mnt/none", PFS_UNMOUNT_IDLE), -EINVAL);
	fake.wait_err = ECHILD;
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), -ECHILD);
	fake.spawn_err = ENOENT; /* it is not installed */
	assert_int_equal(pfs_unmount("/mnt/a", PFS_UNMOUNT_IDLE), -EPERM);
}

static int prepare(const char *path, struct pfs_reason *reason)
{
	char *out;
	int err;

	reason->text[0] = '\0';
	err = pfs_mountpoint_prepare(&out, path, reason);
	assert_int_equal(err != 0, out == NULL);
	free(out);
	return err;
}

/* Proves: dead mounts of payloadfs are detached, also several; what is dead and not ours stays and
 * is an error, and so is one that can't be detached. */
static void dead_mounts_are_detached(void **state)
{
	struct pfs_reason reason;

	(void)state;
	fake.table = "40 27 0:51 / /tmp rw - fuse.payloadfs /stores/old rw\n";
	fake.dead = 3;
	assert_int_equal(prepare("/tmp", &reason), 0);
	assert_int_equal(fake.dead, 0);
	assert_int_equal(fake.flags, UMOUNT_NOFOLLOW | MNT_DETACH);
	fake.dead = PFS_DEAD_MOUNTS_MAX;
	assert_int_equal(prepare("/tmp", &reason), 0);
	fake.dead = PFS_DEAD_MOUNTS_MAX + 1;
	assert_int_equal(prepare("/tmp", &reason), -ENOTCONN);
	assert_non_null(strstr(reason.text, "/tmp: mount point"));
	fake.dead = 1;
	fake.umount_err = EBUSY;
	assert_int_equal(prepare("/tmp", &reason), -EBUSY);
	assert_string_equal(reason.text, "/tmp: a dead mount is in the way and could not be "
					 "detached (Device or resource busy): unmount it");
	fake.umount_err = 0;
	fake.flags = 0;
	fake.dead = 1;
	fake.table = "40 27 0:51 / /tmp rw - fuse.sshfs host: rw\n";
	assert_int_equal(prepare("/tmp", &reason), -ENOTCONN);
	assert_int_equal(fake.flags, 0);
	assert_non_null(strstr(reason.text, "unmount it"));
}

/* Proves: a mount point is a directory that is there, also when it goes away meanwhile. */
static void a_mount_point_is_a_directory(void **state)
{
	struct pfs_reason reason;

	(void)state;
	fake.table = table;
	assert_int_equal(prepare("/not/there", &reason), -ENOENT);
	assert_non_null(strstr(reason.text, "/not/there: mount point: No such file"));
	assert_int_equal(prepare("/dev/null", &reason), -ENOTDIR);
	assert_non_null(strstr(reason.text, "not a directory"));
	assert_int_equal(prepare("/not/there", &reason), -ENOENT);
	fake.realpath_err = ENOENT;
	assert_int_equal(prepare("/tmp", &reason), -ENOENT);
	assert_non_null(strstr(reason.text, "/tmp: mount point: No such file"));
}

/* Proves: a line that ends too early, wherever, is none; what is whole is told as it is. */
static void lines_are_whole_or_none(void **state)
{
	const char *line = "40 27 3:51 / /mnt/a rw shared:1 - fuse.payloadfs /stores/old rw\n";
	const size_t least = strlen("40 27 3:51 / /mnt/a rw shared:1 - fuse.payloadfs ");
	struct pfs_mount mount;
	char cut[128];

	(void)state;
	fake.table = cut;
	for (size_t len = 1; len <= strlen(line); len++) {
		snprintf(cut, sizeof(cut), "%.*s", (int)len, line);
		assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), len < least ? -ENOENT : 0);
		if (len >= least) {
			assert_int_equal(mount.major, 3);
			assert_int_equal(mount.minor, 51);
			assert_string_equal(mount.path, "/mnt/a");
			assert_string_equal(mount.type, "fuse.payloadfs");
			assert_memory_equal(mount.source, "/stores/old",
					    pfs_min_u64(len - least, strlen("/stores/old")));
		}
		pfs_mount_free(&mount);
		assert_null(mount.path);
		assert_null(mount.source);
	}
	/* Without what makes it a line. */
	snprintf(cut, sizeof(cut),
		 "40 27 3:51 / /mnt/a rw shared:1 fuse.payloadfs /stores/old rw\n");
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), -ENOENT);
	snprintf(cut, sizeof(cut), "40 27 3: / /mnt/a rw - fuse.payloadfs /stores/old rw\n");
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), -ENOENT);
}

/* Proves: what is left of the line before is not taken for what the next one lacks; an empty line
 * ends nothing; and a line may do without options. */
static void lines_stand_for_themselves(void **state)
{
	static const char first[] = "40 27 0:51 / /mnt/a rw - fuse.payloadfs /stores/old rw\n";
	/* Whose paths stand where that of the first one does. */
	static const char *const seconds[] = {"1 2 3:4 -    /mnt/b",
					      "1 2 nonsense /mnt/b / rw - t s rw"};
	struct pfs_mount mount;
	char two[256];

	(void)state;
	fake.table = two;
	for (size_t i = 0; i < pfs_array_len(seconds); i++) {
		assert_ptr_equal(strstr(seconds[i], "/mnt/b"),
				 seconds[i] + (strstr(first, "/mnt/a") - first));
		snprintf(two, sizeof(two), "%s%s", first, seconds[i]);
		assert_int_equal(pfs_mount_at(&mount, "/mnt/b"), -ENOENT);
	}
	snprintf(two, sizeof(two), "\n%s", first);
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), 0);
	pfs_mount_free(&mount);
	snprintf(two, sizeof(two), "40 27 0:51 / /mnt/a - type source\n");
	assert_int_equal(pfs_mount_at(&mount, "/mnt/a"), 0);
	assert_int_equal(mount.minor, 51);
	assert_string_equal(mount.type, "type");
	pfs_mount_free(&mount);
}

/* Proves: of what is escaped each byte is what it was; what only looks like it stays. */
static void escapes_are_octal(void **state)
{
	static const char *const others[] = {"\\",    "\\0",   "\\04",	"\\400", "\\080", "\\008",
					     "\\04x", "\\x40", "\\/00", "\\0/0", "\\00/"};
	struct pfs_mount mount;
	char line[128];

	(void)state;
	fake.table = line;
	for (unsigned byte = 1; byte < 256; byte++) {
		const char want[] = {'/', (char)byte, 'x', '\0'};

		snprintf(line, sizeof(line), "40 27 0:51 / /\\%03ox rw - t%so /s\\%03o rw\n", byte,
			 "\\072", byte);
		assert_int_equal(pfs_mount_at(&mount, want), 0);
		assert_string_equal(mount.path, want);
		assert_string_equal(mount.type, "t:o");
		assert_int_equal((uint8_t)mount.source[2], byte);
		assert_int_equal(mount.source[3], '\0');
		pfs_mount_free(&mount);
	}
	for (size_t i = 0; i < pfs_array_len(others); i++) {
		char want[16];

		snprintf(want, sizeof(want), "/%s", others[i]);
		snprintf(line, sizeof(line), "40 27 0:51 / %s rw - type source rw\n", want);
		assert_int_equal(pfs_mount_at(&mount, want), 0);
		pfs_mount_free(&mount);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_topmost_mount_is_found, setup),
		cmocka_unit_test_setup(lines_are_whole_or_none, setup),
		cmocka_unit_test_setup(lines_stand_for_themselves, setup),
		cmocka_unit_test_setup(escapes_are_octal, setup),
		cmocka_unit_test_setup(mounts_need_memory, setup),
		cmocka_unit_test_setup(root_unmounts_by_itself, setup),
		cmocka_unit_test_setup(users_unmount_through_fusermount, setup),
		cmocka_unit_test_setup(dead_mounts_are_detached, setup),
		cmocka_unit_test_setup(a_mount_point_is_a_directory, setup),
	};

	return cmocka_run_group_tests_name("mount table", tests, NULL, NULL);
}
