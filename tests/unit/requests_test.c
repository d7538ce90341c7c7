/* The daemon's answers to requests that the kernel of this machine makes never or hardly ever: of
 * kernels that know less, of programs that are gone, for what is gone meanwhile. */
#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/fuse.h>

#include "fs/clock.h"
#include "tests/unit/fake_mount.h"

/* ---- kernels that know less ---- */

/* Proves: a kernel that insists on OPEN and OPENDIR gets them, with its caches kept; RELEASE is
 * taken. */
static void open_is_answered_where_the_kernel_insists(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(&m->req, open, ino, &fi), 0);
	assert_true(m->req.open.keep_cache);
	assert_int_equal(ask(&m->req, release, ino, &fi), 0);
	fi = (struct fuse_file_info){.flags = 0};
	assert_int_equal(ask(&m->req, opendir, PFS_INODE_ROOT, &fi), 0);
	assert_true(m->req.open.keep_cache && m->req.open.cache_readdir);
	assert_int_equal(ask(&m->req, releasedir, PFS_INODE_ROOT, &fi), 0);
}

/* Proves: other kernels are told that there is nothing to open, and do not ask again. */
static void open_is_left_to_the_kernel(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};

	put(m, 1, "{}");
	assert_int_equal(ask(&m->req, open, document(m, "1"), &fi), -ENOSYS);
	assert_int_equal(ask(&m->req, opendir, PFS_INODE_ROOT, &fi), -ENOSYS);
}

/* The document's time, once it is no more what it was. */
static void expect_time_is_now(struct mount *m, fuse_ino_t ino, int64_t before)
{
	int64_t mtime;

	assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
	mtime = pfs_ns_from_timespec(&m->req.attr.st_mtim);
	assert_true(mtime >= before && mtime <= pfs_realtime_ns());
}

static void set_old_time(struct mount *m, fuse_ino_t ino)
{
	struct stat st = {.st_mtim.tv_sec = 1000};

	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, 1000);
}

/* Proves: a kernel that keeps no times itself (it has no write-back cache) gets the time of each
 * change from the daemon: of a write, a truncation, and what fallocate does. */
static void times_are_the_daemons_without_writeback(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 3};
	int64_t before = pfs_now_ns();
	fuse_ino_t ino;

	put(m, 1, "0123456789");
	ino = document(m, "1");
	set_old_time(m, ino);
	assert_int_equal(ask(&m->req, write, ino, "ab", 2, 0, &fi), 0);
	assert_int_equal(m->req.len, 2);
	expect_time_is_now(m, ino, before);
	set_old_time(m, ino);
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL), 0);
	expect_time_is_now(m, ino, before);
	expect_content(m, 1, "ab2", 3);
	set_old_time(m, ino);
	assert_int_equal(ask(&m->req, fallocate, ino, 0, 1, 4, &fi), 0);
	expect_time_is_now(m, ino, before);
	expect_content(m, 1, "ab2\0\0", 5);
	set_old_time(m, ino);
	assert_int_equal(ask(&m->req, fallocate, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1,
			     100, &fi),
			 0);
	expect_time_is_now(m, ino, before);
	expect_content(m, 1, "a\0\0\0\0", 5);
	set_old_time(m, ino);
	st.st_mode = S_IFREG | 0600;
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_MODE, NULL), 0);
	assert_int_equal(m->req.attr.st_mode, st.st_mode);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, 1000); /* its content is as it was */
	assert_int_equal(m->req.attr.st_size, 5);
}

/* Proves: with the write-back cache the kernel's times stay as it has set them. */
static void times_are_the_kernels_with_writeback(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.writepage = 1};
	fuse_ino_t ino;

	put(m, 1, "0123456789");
	ino = document(m, "1");
	set_old_time(m, ino);
	assert_int_equal(ask(&m->req, write, ino, "ab", 2, 0, &fi), 0);
	assert_int_equal(ask(&m->req, fallocate, ino, 0, 0, 12, &fi), 0);
	assert_int_equal(ask(&m->req, fallocate, ino, FALLOC_FL_ZERO_RANGE, 8, 5, &fi), 0);
	expect_content(m, 1, "ab234567\0\0\0\0\0", 13);
	assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, 1000);
	assert_int_equal(ask(&m->req, fallocate, ino, FALLOC_FL_COLLAPSE_RANGE, 0, 4096, &fi),
			 -EOPNOTSUPP);
}

/* Proves: utimensat(UTIME_NOW) gives the time of now, and a time beyond what the store can hold
 * the nearest that it can. */
static void any_time_can_be_set(void **state)
{
	struct mount *m = *state;
	const int now = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
	int64_t before = pfs_now_ns();
	struct stat st = {.st_mtim.tv_sec = 5};
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(&m->req, setattr, ino, &st, now, NULL), 0);
	expect_time_is_now(m, ino, before);
	st.st_mtim.tv_sec = INT64_MAX / 2;
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
	assert_int_equal(pfs_ns_from_timespec(&m->req.attr.st_mtim), INT64_MAX);
	st.st_mtim.tv_sec = INT64_MIN / 2;
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, INT64_MIN / PFS_NSEC_PER_SEC - 1);
}

/* ---- what is refused ---- */

/* Proves: extended attributes are answered so that the kernel does not ask again; what is no
 * operation of a flat directory has the right error; a RENAME flag that is not known moves nothing.
 */
static void what_is_not_offered_has_its_error(void **state)
{
	struct mount *m = *state;
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(&m->req, removexattr, ino, "user.a"), -ENOSYS);
	assert_int_equal(ask(&m->req, listxattr, ino, 0), -ENOSYS);
	assert_int_equal(ask(&m->req, lookup, ino, "2"), -ENOTDIR);
	assert_int_equal(
		ask(&m->req, rename, PFS_INODE_ROOT, "1", PFS_INODE_ROOT, "2", RENAME_WHITEOUT),
		-EINVAL);
	expect_content(m, 1, "{}", 2);
	assert_int_equal(look_up(&m->req, "2", &ino), -ENOENT);
}

/* Proves: MKNOD of a name that somebody else has made since the kernel looked is stale, so that the
 * kernel looks again, and the document is as it was. */
static void a_name_that_was_taken_meanwhile_is_stale(void **state)
{
	struct mount *m = *state;

	put(m, 1, "{\"kept\":1}");
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "1", S_IFREG | 0600, 0), -ESTALE);
	expect_content(m, 1, "{\"kept\":1}", 10);
}

/* Proves: of an inode that was given up nothing can be read, written or changed, and GETATTR says
 * that it is stale: the kernel looks the name up anew, and finds the document as it was. */
static void an_inode_that_was_given_up_is_stale(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.writepage = 1};
	struct stat st = {.st_size = 0};
	fuse_ino_t ino;

	put(m, 1, "{\"kept\":1}");
	ino = document(m, "1");
	pfs_inode_renew(m->fs.inodes, pfs_inode_object(ino));
	assert_int_equal(ask(&m->req, getattr, ino, NULL), -ESTALE);
	assert_int_equal(ask(&m->req, read, ino, 100, 0, &fi), -EIO);
	assert_int_equal(ask(&m->req, write, ino, "x", 1, 0, &fi), -EIO);
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL), -EIO);
	assert_int_equal(ask(&m->req, fallocate, ino, 0, 0, 100, &fi), -EIO);
	assert_int_equal(ask(&m->req, fsync, ino, 0, &fi), -EIO);
	assert_true(document(m, "1") != ino);
	expect_content(m, 1, "{\"kept\":1}", 10);
}

/* Proves: write-back that fails gives the inode up, and has the name dropped if there is one. */
static void write_back_that_fails_gives_the_inode_up(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.writepage = 1};
	fuse_ino_t named, removed;

	put(m, 1, "{}");
	put(m, 2, "{}");
	named = document(m, "1");
	removed = document(m, "2");
	assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, "2"), 0);
	assert_int_equal(ask(&m->req, write, removed, "x", 1, 2 * PFS_GIB, &fi), -EFBIG);
	assert_int_equal(ask(&m->req, getattr, removed, NULL), -ESTALE);
	assert_int_equal(mount_log.warnings, 0);
	kernel.dropped = 0;
	assert_int_equal(ask(&m->req, write, named, "x", 1, 2 * PFS_GIB, &fi), -EFBIG);
	assert_int_equal(ask(&m->req, getattr, named, NULL), -ESTALE);
	pfs_invalidate(m->fs.invalidator, NULL, 0); /* behind it */
	assert_int_equal(__atomic_load_n(&kernel.dropped, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(mount_log.warnings, 1);
	assert_string_equal(mount_log.last,
			    "1: what was written to it is lost (File too large); it "
			    "keeps its last content");
	expect_content(m, 1, "{}", 2);
}

/* Proves: a direct write that fails and leaves the size as it was costs the inode nothing. */
static void a_direct_write_that_fails_leaves_the_inode(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(&m->req, write, ino, "x", 1, 2 * PFS_GIB, &fi), -EFBIG);
	assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
	assert_int_equal(m->req.attr.st_size, 2);
}

/* ---- reading ---- */

/* Proves: a READ of more than the kernel usually asks for has all of it. */
static void a_large_read_is_whole(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	size_t len = 500 * PFS_KIB;
	struct pfs_key key = pfs_key_num(1);
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	fill_document(bytes, len, 7);
	assert_int_equal(pfs_put(m->store, &key, bytes, len, NULL, 0, NULL), 0);
	assert_int_equal(ask(&m->req, read, document(m, "1"), PFS_MIB, 1000, &fi), 0);
	assert_int_equal(m->req.len, len - 1000);
	assert_memory_equal(m->req.buf, bytes + 1000, len - 1000);
	free(bytes);
}

/* Proves: who may read documents may list and enter the root; the control directory is of the time
 * of the mount; "." and ".." are directories without a reference. */
static void directories_have_their_modes_and_times(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	size_t at = 0;

	assert_int_equal(ask(&m->req, getattr, PFS_INODE_ROOT, NULL), 0);
	assert_int_equal(m->req.attr.st_mode, S_IFDIR | 0755);
	assert_int_equal(ask(&m->req, getattr, PFS_CONTROL_DIR, NULL), 0);
	assert_true(S_ISDIR(m->req.attr.st_mode));
	assert_true(pfs_ns_from_timespec(&m->req.attr.st_mtim) >= m->begun_ns &&
		    pfs_ns_from_timespec(&m->req.attr.st_mtim) <= pfs_realtime_ns());
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 4096, 0, &fi), 0);
	for (unsigned i = 0; i < 2; i++) {
		const struct fuse_direntplus *e = (void *)(m->req.buf + at);

		assert_int_equal(e->entry_out.nodeid, 0);
		assert_int_equal(e->dirent.type, DT_DIR);
		assert_int_equal(e->dirent.namelen, i + 1);
		at += FUSE_DIRENTPLUS_SIZE(e);
	}
	assert_int_equal(m->req.len, at);
}

/* The names of a READDIRPLUS reply, which the kernel counts. */
static size_t count_listed(struct mount *m)
{
	size_t n = 0;

	for (size_t at = 0; at < m->req.len; n++) {
		const struct fuse_direntplus *e = (void *)(m->req.buf + at);

		if (e->entry_out.nodeid && !m->req.undeliverable)
			kernel_count(e->entry_out.nodeid);
		at += FUSE_DIRENTPLUS_SIZE(e);
	}
	return n;
}

/* Proves: a listing for which there is no room at all is empty, not an error; one of one entry
 * after the other has them all, each once; of a reply that nobody takes nothing stays referenced
 * (teardown looks). */
static void listings_fit_any_room(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	const size_t one = 160;
	size_t listed = 0;
	off_t off = 0;

	for (uint64_t i = 1; i <= 5; i++)
		put(m, i, "{}");
	assert_int_equal(ask(&m->req, readdir, PFS_INODE_ROOT, 8, 0, &fi), 0);
	assert_int_equal(m->req.len, 0);
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 8, 0, &fi), 0);
	assert_int_equal(m->req.len, 0);
	while (ask(&m->req, readdirplus, PFS_INODE_ROOT, one, off, &fi) == 0 && m->req.len) {
		const struct fuse_direntplus *e = (void *)m->req.buf;

		assert_int_equal(count_listed(m), 1);
		off = (off_t)e->dirent.off;
		assert_true(++listed <= 7);
	}
	assert_int_equal(listed, 7); /* with "." and ".." */
	m->req.undeliverable = true;
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 4096, 0, &fi), 0);
	assert_int_equal(count_listed(m), 7);
	m->req.undeliverable = false;
}

/* Proves: an entry that can't be told, for the program is gone, is not counted (teardown looks),
 * also of the control directory. */
static void entries_that_nobody_takes_are_not_referenced(void **state)
{
	struct mount *m = *state;
	struct pfs_inodes_stat stat;

	put(m, 1, "{}");
	put(m, 3, "{}");
	document(m, "3");
	m->req.undeliverable = true;
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, "1"), 0);
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, "3"), 0);
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 1); /* once, as the kernel knows */
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "2", S_IFREG | 0600, 0), 0);
	assert_int_equal(ask(&m->req, lookup, PFS_CONTROL_DIR, "stats.json"), 0);
	assert_int_equal(ask(&m->req, lookup, PFS_CONTROL_DIR, "points.ndjson"), 0);
	m->req.undeliverable = false;
}

/* ---- the control directory ---- */

/* Proves: a node id of the control directory that was never given or is forgotten has no file. */
static void control_files_that_are_gone_are_not_there(void **state)
{
	struct mount *m = *state;
	const fuse_ino_t gone = PFS_CONTROL_DIR + 77;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 0};

	assert_int_equal(ask(&m->req, getattr, gone, &fi), -ENOENT);
	assert_int_equal(ask(&m->req, read, gone, 10, 0, &fi), -ENOENT);
	assert_int_equal(ask(&m->req, write, gone, "1", 1, 0, &fi), -ENOENT);
	assert_int_equal(ask(&m->req, fsync, gone, 0, &fi), -ENOENT);
	assert_int_equal(ask(&m->req, setattr, gone, &st, FUSE_SET_ATTR_SIZE, &fi), -EPERM);
	assert_int_equal(ask(&m->req, forget, gone, 1), 0);
}

/* Proves: what shows something can't be written, nothing has room to be allocated, and nothing is
 * made, moved or removed there. */
static void control_files_take_only_what_they_are_for(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino;

	assert_int_equal(look_up_control(&m->req, "stats.json", &ino), 0);
	assert_int_equal(ask(&m->req, write, ino, "1", 1, 0, &fi), -EPERM);
	assert_int_equal(ask(&m->req, fallocate, ino, 0, 0, 1, &fi), -EOPNOTSUPP);
	assert_int_equal(ask(&m->req, lookup, ino, "stats.json"), -ENOTDIR);
	assert_int_equal(ask(&m->req, mknod, PFS_CONTROL_DIR, "1", S_IFREG | 0600, 0), -EPERM);
	assert_int_equal(ask(&m->req, unlink, PFS_CONTROL_DIR, "sync"), -EPERM);
}

/* Proves: however many files of it are open at once, each has its own content; what the kernel has
 * never given back when the mount ends is freed then. */
static void many_control_files_are_open_at_once(void **state)
{
	struct mount *m = *state;
	const unsigned count = 2 * PFS_CONTROL_BUCKETS + 10;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t points, first, ino;

	put(m, 1, "{}");
	assert_int_equal(look_up_control(&m->req, "points.ndjson", &points), 0);
	assert_int_equal(look_up_control(&m->req, "import", &first), 0);
	assert_int_equal(ask(&m->req, write, first, "{\"id\":2,\"payload\":{}}\n", 22, 0, &fi), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(look_up_control(&m->req, "sync", &ino), 0);
	assert_int_equal(ask(&m->req, getattr, first, &fi), 0);
	assert_int_equal(m->req.attr.st_mode & 0777, 0200);
	assert_int_equal(ask(&m->req, read, points, 1000, 0, &fi), 0);
	assert_int_equal(m->req.len, strlen("{\"id\":1,\"payload\":{}}\n"));
	expect_content(m, 2, "{}", 2);
	kernel.count = 0;
	m->cut_off = true;
}

/* Proves: a listing of the control directory goes on where its buffer was full. */
static void the_control_listing_fits_any_room(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	size_t listed = 0;
	off_t off = 0;

	while (ask(&m->req, readdir, PFS_CONTROL_DIR, 40, off, &fi) == 0 && m->req.len) {
		const struct fuse_dirent *e = (void *)m->req.buf;

		off = (off_t)e->off;
		assert_true(++listed <= 8);
	}
	assert_int_equal(listed, 8);
	assert_int_equal(ask(&m->req, readdirplus, PFS_CONTROL_DIR, 4096, 0, &fi), 0);
	assert_int_equal(count_listed(m), 8);
	kernel.count = 0;
}

/* Proves: who is interrupted while points.ndjson is looked at, or an action is to begin, is told
 * so, and nothing was done. */
static void interrupted_requests_end(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	uint64_t syncs;
	fuse_ino_t ino;

	put(m, 1, "{}");
	assert_int_equal(look_up_control(&m->req, "sync", &ino), 0);
	syncs = pfs_sim_count(m->sim, PFS_SIM_SYNC);
	m->req.interrupted = true;
	assert_int_equal(look_up_control(&m->req, "points.ndjson", &ino), -EINTR);
	m->req.interrupted = false;
	assert_int_equal(look_up_control(&m->req, "sync", &ino), 0);
	m->req.interrupted = true;
	assert_int_equal(ask(&m->req, write, ino, "1\n", 2, 0, &fi), -EINTR);
	m->req.interrupted = false;
	assert_int_equal(pfs_sim_count(m->sim, PFS_SIM_SYNC), syncs);
	assert_int_equal(ask(&m->req, write, ino, "1\n", 2, 0, &fi), 0);
	assert_true(pfs_sim_count(m->sim, PFS_SIM_SYNC) > syncs);
}

static char lines[512];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	size_t len = strlen(lines);

	(void)arg;
	assert_int_equal(level, PFS_LOG_INFO);
	snprintf(lines + len, sizeof(lines) - len, "%s\n", line);
}

/* Proves: the counters name each kind of request that came, and what is referenced. */
static void counters_are_logged(void **state)
{
	const struct pfs_logger keeping = {.fn = keep_line};
	struct fuse_file_info fi = {.flags = 0};
	struct mount *m = *state;
	struct pfs_inodes_stat stat;
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(&m->req, read, ino, 10, 0, &fi), 0);
	ask(&m->req, forget, ino, 0); /* of nothing: it stays referenced */
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 1);
	assert_int_equal(stat.bytes, 65536); /* one piece of the table */
	m->fs.logger = &keeping;
	pfs_fs_log_counters(&m->fs);
	m->fs.logger = &mount_logger;
	assert_string_equal(lines, "requests: lookup 1\nrequests: forget 1\nrequests: read 1\n"
				   "inodes: referenced 1, released 0, table bytes 65536\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OLD(name) cmocka_unit_test_setup_teardown(name, setup_old, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_OLD(open_is_answered_where_the_kernel_insists),
		TEST(open_is_left_to_the_kernel),
		TEST_OLD(times_are_the_daemons_without_writeback),
		TEST(times_are_the_kernels_with_writeback),
		TEST(any_time_can_be_set),
		TEST(what_is_not_offered_has_its_error),
		TEST(a_name_that_was_taken_meanwhile_is_stale),
		TEST(an_inode_that_was_given_up_is_stale),
		TEST(write_back_that_fails_gives_the_inode_up),
		TEST(a_direct_write_that_fails_leaves_the_inode),
		TEST(directories_have_their_modes_and_times),
		TEST(a_large_read_is_whole),
		TEST(listings_fit_any_room),
		TEST(entries_that_nobody_takes_are_not_referenced),
		TEST(control_files_that_are_gone_are_not_there),
		TEST(control_files_take_only_what_they_are_for),
		TEST(many_control_files_are_open_at_once),
		TEST(the_control_listing_fits_any_room),
		TEST(interrupted_requests_end),
		TEST(counters_are_logged),
	};

	return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
