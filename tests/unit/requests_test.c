/* The daemon's answers to requests that the kernel of this machine makes never or hardly ever: of
 * kernels that know less, of programs that are gone, for what is gone meanwhile. */
#include <dirent.h>
#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/ops_impl.h"
#include "storage/monotonic.h"
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
	assert_int_equal(ask(&m->req, fallocate, ino, 0, 0, 5, &fi), 0); /* it has so much */
	assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, 1000);
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
	set_old_time(m, ino);
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
	kernel.dropped = kernel.told_count = 0;
	assert_int_equal(ask(&m->req, write, named, "x", 1, 2 * PFS_GIB, &fi), -EFBIG);
	assert_int_equal(ask(&m->req, getattr, named, NULL), -ESTALE);
	pfs_invalidate(m->fs.invalidator, NULL, 0); /* behind it */
	assert_int_equal(__atomic_load_n(&kernel.dropped, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(kernel.told[0].what, TOLD_ENTRY); /* it is there, under another node id */
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
	struct pfs_inodes_stat stat;
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
	kernel_forget_all(&m->req);
	document(m, "3");
	m->req.undeliverable = true;
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 4096, 0, &fi), 0);
	assert_int_equal(count_listed(m), 7);
	m->req.undeliverable = false;
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 1); /* once, as the kernel knows */
}

/* Proves: where an entry does not fit the listing ends, though a shorter one behind it would. */
static void listings_skip_nothing(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	const struct fuse_direntplus *e;
	const size_t entry = 160, room = 4 * entry;

	put(m, 1, "{}");
	put(m, 1000000000, "{}");
	put(m, 2, "{}");
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 4096, 0, &fi), 0);
	e = (void *)(m->req.buf + 3 * entry);
	assert_int_equal(e->dirent.namelen, 10);
	assert_int_equal(FUSE_DIRENTPLUS_SIZE(e), entry + 8);
	assert_int_equal(count_listed(m), 5);
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, room, 0, &fi), 0);
	assert_int_equal(count_listed(m), 3);
}

/* Leaves nothing of value where the next function has its own. */
__attribute__((noinline)) static void soil_the_stack(void)
{
	volatile unsigned char soil[16384];

	for (size_t i = 0; i < sizeof(soil); i++)
		soil[i] = 0x5a;
}

/* Proves: what is not told in a reply is zero, whatever was in memory: of names without attributes,
 * of ".", and of how much room there is. */
static void nothing_else_is_told(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	const struct fuse_direntplus *dot = (void *)m->req.buf;
	const struct fuse_dirent *e = (void *)m->req.buf;
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	soil_the_stack();
	assert_int_equal(ask(&m->req, readdir, PFS_INODE_ROOT, 4096, 2, &fi), 0);
	assert_int_equal(e->ino, pfs_inode_object(ino));
	assert_int_equal(e->type, DT_REG);
	soil_the_stack();
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, 160, 0, &fi), 0);
	assert_int_equal(dot->entry_out.nodeid, 0);
	assert_int_equal(dot->entry_out.generation, 0);
	assert_int_equal(dot->entry_out.attr.size, 0);
	assert_int_equal(dot->entry_out.attr.nlink, 0);
	soil_the_stack();
	assert_int_equal(ask(&m->req, statfs, PFS_INODE_ROOT), 0);
	assert_int_equal(m->req.statfs.f_fsid, 0);
	assert_int_equal(m->req.statfs.f_flag, 0);
}

/* Proves: a node id that was given up is told with its generation; and what a document takes is
 * told in blocks of 512 bytes, of which the last may be begun. */
static void entries_have_generations_and_blocks(void **state)
{
	static const struct {
		uint64_t stored;
		blkcnt_t blocks;
	} sizes[] = {{0, 0}, {1, 1}, {511, 1}, {512, 1}, {513, 2}, {512000, 1000}, {512001, 1001}};
	struct mount *m = *state;
	fuse_ino_t ino;

	for (size_t i = 0; i < pfs_array_len(sizes); i++) {
		const struct pfs_attr attr = {.stored = sizes[i].stored};
		struct stat st;

		pfs_stat_fill(&st, 20, &attr);
		assert_int_equal(st.st_blocks, sizes[i].blocks);
	}
	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(m->req.entry.generation, 0);
	pfs_inode_renew(m->fs.inodes, pfs_inode_object(ino));
	ino = document(m, "1");
	assert_int_equal(pfs_inode_generation(ino), 1);
	assert_int_equal(m->req.entry.generation, 1);
}

static uint64_t releases(struct mount *m)
{
	struct pfs_inodes_stat stat;

	pfs_inodes_stat(m->fs.inodes, &stat);
	return stat.releases;
}

/* How many numbers are given up when the kernel forgets these. */
static uint64_t given_up_with(struct mount *m, fuse_ino_t a, fuse_ino_t b)
{
	uint64_t before = releases(m);

	assert_int_equal(ask(&m->req, forget, a, 1), 0);
	assert_int_equal(ask(&m->req, forget, b, 1), 0);
	kernel.count = 0;
	return releases(m) - before;
}

/* By the thread that does it. */
static void wait_until_released(struct mount *m, uint32_t object)
{
	struct pfs_attr attr;

	for (unsigned i = 0; pfs_getattr(m->store, object, &attr) != -ENOENT; i++) {
		assert_true(i < KERNEL_WAIT_S * 1000);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* Proves: the number of a document that was moved over another is given up with the last reference,
 * and so are those of two that changed places; of one that was moved to a free name nothing is. */
static void moved_documents_get_other_numbers(void **state)
{
	struct mount *m = *state;
	const struct pfs_key third = pfs_key_num(3);
	fuse_ino_t a, b;
	uint32_t object;
	uint64_t before;

	for (uint64_t id = 1; id <= 3; id++)
		put(m, id, "{}");
	a = document(m, "1");
	b = document(m, "2");
	before = releases(m);
	assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "1", PFS_INODE_ROOT, "9", 0), 0);
	assert_int_equal(releases(m), before);
	assert_int_equal(given_up_with(m, a, b), 0);
	a = document(m, "9");
	b = document(m, "2");
	before = releases(m);
	assert_int_equal(pfs_lookup(m->store, &third, &object, NULL), 0);
	assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "9", PFS_INODE_ROOT, "3", 0), 0);
	assert_int_equal(releases(m), before + 1); /* of the one that was there */
	wait_until_released(m, object);
	assert_int_equal(given_up_with(m, a, b), 1);
	/* Where the other one is gone, which has the number until it is released. */
	for (unsigned i = 0; i < 2; i++) {
		fuse_ino_t gone, stays;

		put(m, 21, "{}");
		put(m, 22, "{}");
		a = document(m, "21");
		b = document(m, "22");
		assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "21", PFS_INODE_ROOT, "22",
				     RENAME_EXCHANGE),
				 0);
		gone = i ? a : b;
		stays = i ? b : a;
		assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, i ? "22" : "21"), 0);
		assert_int_equal(ask(&m->req, forget, gone, 1), 0);
		wait_until_released(m, pfs_inode_object(gone));
		before = releases(m);
		assert_int_equal(ask(&m->req, forget, stays, 1), 0);
		assert_int_equal(releases(m), before + 1);
		kernel.count = 0;
		assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, i ? "21" : "22"), 0);
	}
}

/* Proves: of changes and of references that come together only so many are looked at as there are.
 */
static void counts_are_kept_to(void **state)
{
	struct mount *m = *state;
	struct pfs_serve_change changes[2] = {{.key = pfs_key_num(1)}, {.key = pfs_key_num(2)}};
	struct fuse_forget_data forgets[2];
	struct pfs_json_stat json;
	uint64_t before;

	put(m, 1, "{}");
	put(m, 2, "{}");
	assert_int_equal(pfs_put(m->store, &changes[1].key, "[]", 2, NULL, PFS_PUT_NEW_OBJECT,
				 &changes[1].replaced),
			 0);
	assert_true(changes[1].replaced != 0);
	before = releases(m);
	kernel.told_count = 0;
	pfs_fs_changed(&m->fs, changes, 1);
	assert_int_equal(kernel.told_count, 2); /* the name, and the listing */
	while (pfs_json_check_step(m->fs.json_check, pfs_now_monotonic() + 10 * PFS_NSEC_PER_SEC))
		;
	pfs_json_check_stat(m->fs.json_check, &json);
	assert_int_equal(json.checked, 1);
	assert_int_equal(releases(m), before);
	pfs_fs_changed(&m->fs, changes + 1, 1);
	assert_int_equal(releases(m), before + 1);
	forgets[0].ino = document(m, "1");
	forgets[1].ino = document(m, "2");
	forgets[0].nlookup = forgets[1].nlookup = 1;
	ask(&m->req, forget_multi, 1, forgets);
	assert_true(pfs_inode_known(m->fs.inodes, pfs_inode_object(forgets[0].ino)) == 0);
	assert_true(pfs_inode_known(m->fs.inodes, pfs_inode_object(forgets[1].ino)) ==
		    forgets[1].ino);
}

/* ---- threads ---- */

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void *stay(void *lock)
{
	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);
	return NULL;
}

/* Those that there are without any of the filesystem's: a sanitizer has one of its own from the
 * first that is started on. */
static unsigned alone;

static int count_threads_alone(void **state)
{
	pthread_mutex_t lock;
	pthread_t thread;

	(void)state;
	pthread_mutex_init(&lock, NULL);
	pthread_mutex_lock(&lock);
	assert_int_equal(pthread_create(&thread, NULL, stay, &lock), 0);
	alone = threads() - 1;
	pthread_mutex_unlock(&lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_mutex_destroy(&lock);
	return 0;
}

/* One that has ended may be seen for a moment still. */
static void expect_threads(unsigned n)
{
	for (unsigned i = 0; threads() != n; i++) {
		if (i == KERNEL_WAIT_S * 1000)
			fail_msg("%u threads, not %u", threads(), n);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* Until the device has been held, with requests or without. */
static void expect_held(const char *device, struct mount *m, int (*request)(struct mount *m))
{
	/* Long enough that it is let go between requests. */
	const struct timespec pause = {.tv_nsec = 3 * PFS_LATENCY_HOLD_MS * 1000000L};
	struct stat st;

	for (unsigned i = 0; stat(device, &st) == 0 && st.st_size == 0; i++) {
		if (i == KERNEL_WAIT_S * 50)
			fail_msg("it is not held");
		if (request)
			assert_int_equal(request(m), 0);
		nanosleep(&pause, NULL);
	}
	assert_int_equal(st.st_size, sizeof(int32_t));
	assert_int_equal(truncate(device, 0), 0);
}

static int any_request(struct mount *m)
{
	return ask(&m->req, getattr, PFS_INODE_ROOT, NULL);
}

static int sync_request(struct mount *m)
{
	struct fuse_file_info fi = {.flags = 0};

	return ask(&m->req, fsync, kernel.ids[0].ino, 0, &fi);
}

/* Of json=check, of releases, and of what is dropped for documents and for the control directory.
 */
#define THREADS 4

/* Proves: what has to be looked after has a thread each, and no other; with low_latency the device
 * is held from the start, and again at each kind of request; and when it is stopped none is left.
 */
static void what_is_asked_for_has_its_thread(void **state)
{
	static char device[] = "/tmp/payloadfs-latency.XXXXXX"; /* it is used until the end */
	struct mount *m = *state;
	struct pfs_fs *fs = &m->fs;
	int fd = mkstemp(device);

	assert_true(fd >= 0);
	close(fd);
	put(m, 1, "{}");
	document(m, "1");
	expect_threads(alone + THREADS);
	for (unsigned i = 0; i < 4; i++) {
		const bool json = i & 1, low = i & 2;

		pfs_fs_leave(fs);
		pfs_fs_stop(fs);
		pfs_fs_destroy(fs);
		expect_threads(alone);
		kernel.count = 0;
		assert_int_equal(pfs_fs_init(fs, m->store, &mount_logger, json, low), 0);
		assert_int_equal(fs->json_check != NULL, json);
		assert_int_equal(fs->latency != NULL, low);
		if (low) {
			pfs_latency_free(fs->latency);
			assert_int_equal(pfs_latency_new(&fs->latency, device, &mount_logger), 0);
		}
		assert_int_equal(pfs_fs_start(fs), 0);
		expect_threads(alone + THREADS - 1 + json + low);
		document(m, "1");
		if (!low)
			continue;
		expect_held(device, m, NULL);
		expect_held(device, m, any_request);
		expect_held(device, m, sync_request);
	}
	assert_int_equal(unlink(device), 0);
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
		TEST(listings_skip_nothing),
		TEST(nothing_else_is_told),
		TEST(entries_have_generations_and_blocks),
		TEST(moved_documents_get_other_numbers),
		TEST(counts_are_kept_to),
		TEST(what_is_asked_for_has_its_thread),
		TEST(entries_that_nobody_takes_are_not_referenced),
		TEST(control_files_that_are_gone_are_not_there),
		TEST(control_files_take_only_what_they_are_for),
		TEST(many_control_files_are_open_at_once),
		TEST(the_control_listing_fits_any_room),
		TEST(interrupted_requests_end),
		TEST(counters_are_logged),
	};

	return cmocka_run_group_tests_name("requests", tests, count_threads_alone, NULL);
}
