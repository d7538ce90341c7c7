/* Requests for documents and their names, one by one: what is replied to the last field, what the
 * store has then, and what is counted, noted and told besides. */
#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <sys/statvfs.h>

#include "storage/monotonic.h"
#include "tests/unit/fake_mount.h"

#define FOREVER 1e9

static struct pfs_store_stat stat_of(struct mount *m)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(m->store, &stat), 0);
	return stat;
}

static bool is_there(struct mount *m, const char *name)
{
	struct pfs_key key = key_named(name);

	return pfs_lookup(m->store, &key, NULL, NULL) == 0;
}

/* What json=check has found once all that is noted was looked at. */
static struct pfs_json_stat checked(struct mount *m)
{
	struct pfs_json_stat stat;

	while (pfs_json_check_step(m->fs.json_check, pfs_now_monotonic() + 10 * PFS_NSEC_PER_SEC))
		;
	pfs_json_check_stat(m->fs.json_check, &stat);
	return stat;
}

/* The directory's time, after it was set long ago. */
static void age_root(struct mount *m)
{
	struct stat st = {.st_mtim.tv_sec = 1000};

	assert_int_equal(ask(&m->req, setattr, PFS_INODE_ROOT, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
	assert_int_equal(m->req.attr.st_mtim.tv_sec, 1000);
}

static bool root_is_touched(struct mount *m)
{
	assert_int_equal(ask(&m->req, getattr, PFS_INODE_ROOT, NULL), 0);
	return m->req.attr.st_mtim.tv_sec != 1000;
}

/* ---- the session ---- */

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

/* Proves: of what a kernel can do what helps is taken, when it can, and what would lose or delay
 * something refused; it is told how much it may send at once. */
static void capabilities_are_chosen(void **state)
{
	static const struct {
		unsigned capability;
		bool wanted;
	} all[] = {
		{FUSE_CAP_NO_OPEN_SUPPORT, true},     {FUSE_CAP_NO_OPENDIR_SUPPORT, true},
		{FUSE_CAP_WRITEBACK_CACHE, true},     {FUSE_CAP_PARALLEL_DIROPS, true},
		{FUSE_CAP_READDIRPLUS, true},	      {FUSE_CAP_READDIRPLUS_AUTO, true},
		{FUSE_CAP_EXPLICIT_INVAL_DATA, true}, {FUSE_CAP_AUTO_INVAL_DATA, false},
		{FUSE_CAP_ATOMIC_O_TRUNC, false},     {FUSE_CAP_HANDLE_KILLPRIV, false},
		{FUSE_CAP_DONT_MASK, false},	      {FUSE_CAP_ASYNC_READ, false},
		{FUSE_CAP_ASYNC_DIO, false},	      {FUSE_CAP_SPLICE_READ, false},
		{FUSE_CAP_SPLICE_WRITE, false},	      {FUSE_CAP_SPLICE_MOVE, false},
	};
	struct mount *m = *state;
	unsigned calls = 0;

	m->fs.ready = count_call;
	m->fs.ready_arg = &calls;
	for (unsigned able = 0; able < 2; able++) {
		for (unsigned wanted = 0; wanted < 2; wanted++) {
			struct fuse_conn_info conn = {.capable = able ? ~0u : 0,
						      .want = wanted ? ~0u : 0};

			pfs_fs_ops.init(&m->fs, &conn);
			for (size_t i = 0; i < pfs_array_len(all); i++)
				assert_int_equal((conn.want & all[i].capability) != 0,
						 all[i].wanted && (able || wanted));
			assert_int_equal(conn.max_background, 64);
			assert_int_equal(conn.max_write, PFS_WHOLE_WRITE_MAX);
			assert_int_equal(conn.time_gran, 1);
			assert_int_equal(m->fs.no_open, able);
			assert_int_equal(m->fs.no_opendir, able);
			assert_int_equal(m->fs.writeback, able);
			assert_int_equal(m->fs.init_reply.parallel_dirops, able);
		}
	}
	assert_int_equal(calls, 4);
}

/* Proves: each request is counted as what it is, those to the control directory as such. */
static void requests_are_counted_by_kind(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct fuse_forget_data forgets[2] = {{0}};
	struct stat st = {.st_size = 0};
	uint64_t want[PFS_OP_COUNT] = {0};
	struct fuse_req *req = &m->req;
	int64_t begun = pfs_now_monotonic();
	fuse_ino_t ino, control;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(look_up_control(req, "sync", &control), 0);
	want[PFS_OP_LOOKUP] = 1;
	want[PFS_OP_CONTROL] = 1;
#define COUNTED(op, handler, ...) (ask(req, handler, __VA_ARGS__), want[PFS_OP_##op]++)
	COUNTED(LOOKUP, lookup, PFS_INODE_ROOT, ".payloadfs");
	COUNTED(CONTROL, lookup, PFS_CONTROL_DIR, "none");
	COUNTED(FORGET, forget, ino, 0);
	COUNTED(FORGET, forget, control, 0);
	COUNTED(FORGET, forget_multi, 2, forgets);
	COUNTED(GETATTR, getattr, ino, &fi);
	COUNTED(CONTROL, getattr, control, &fi);
	COUNTED(SETATTR, setattr, ino, &st, FUSE_SET_ATTR_MODE, &fi);
	COUNTED(CONTROL, setattr, control, &st, FUSE_SET_ATTR_MODE, &fi);
	COUNTED(MKNOD, mknod, PFS_INODE_ROOT, "2", S_IFREG | 0600, 0);
	COUNTED(CONTROL, mknod, PFS_CONTROL_DIR, "2", S_IFREG | 0600, 0);
	COUNTED(RENAME, rename, PFS_INODE_ROOT, "2", PFS_INODE_ROOT, "3", 0);
	COUNTED(CONTROL, rename, PFS_CONTROL_DIR, "2", PFS_INODE_ROOT, "3", 0);
	COUNTED(UNLINK, unlink, PFS_INODE_ROOT, "3");
	COUNTED(CONTROL, unlink, PFS_CONTROL_DIR, "sync");
	COUNTED(REFUSED, mkdir, PFS_INODE_ROOT, "3", 0755);
	COUNTED(REFUSED, rmdir, PFS_INODE_ROOT, "3");
	COUNTED(REFUSED, symlink, "1", PFS_INODE_ROOT, "3");
	COUNTED(REFUSED, link, ino, PFS_INODE_ROOT, "3");
	COUNTED(OPEN, open, ino, &fi);
	COUNTED(READ, read, ino, 1, 0, &fi);
	COUNTED(CONTROL, read, control, 1, 0, &fi);
	COUNTED(WRITE, write, ino, "a", 1, 0, &fi);
	COUNTED(CONTROL, write, control, "1", 1, 0, &fi);
	COUNTED(FLUSH, flush, ino, &fi);
	COUNTED(RELEASE, release, ino, &fi);
	COUNTED(RELEASE, releasedir, ino, &fi);
	COUNTED(FALLOCATE, fallocate, ino, 0, 0, 1, &fi);
	COUNTED(CONTROL, fallocate, control, 0, 0, 1, &fi);
	COUNTED(IOCTL, ioctl, ino, 0, NULL, &fi, 0, NULL, 0, 0);
	COUNTED(OPENDIR, opendir, PFS_INODE_ROOT, &fi);
	COUNTED(READDIR, readdir, PFS_INODE_ROOT, 0, 0, &fi);
	COUNTED(CONTROL, readdir, PFS_CONTROL_DIR, 0, 0, &fi);
	COUNTED(READDIRPLUS, readdirplus, PFS_INODE_ROOT, 0, 0, &fi);
	COUNTED(CONTROL, readdirplus, PFS_CONTROL_DIR, 0, 0, &fi);
	COUNTED(FSYNCDIR, fsyncdir, PFS_INODE_ROOT, 0, &fi);
	COUNTED(STATFS, statfs, PFS_INODE_ROOT);
	COUNTED(XATTR, setxattr, ino, "user.a", "b", 1, 0);
	COUNTED(XATTR, getxattr, ino, "user.a", 1);
	COUNTED(XATTR, listxattr, ino, 1);
	COUNTED(XATTR, removexattr, ino, "user.a");
#undef COUNTED
	for (unsigned op = 0; op < PFS_OP_COUNT; op++) {
		struct pfs_histogram_sum sum;

		pfs_histograms_sum(m->fs.latencies, op, &sum);
		assert_true(sum.max <= (uint64_t)(pfs_now_monotonic() - begun));
		if (pfs_histograms_count(m->fs.latencies, op) != want[op])
			fail_msg("request %u: %llu, not %llu", op,
				 (unsigned long long)pfs_histograms_count(m->fs.latencies, op),
				 (unsigned long long)want[op]);
	}
}

/* Proves: what there is no such thing for here has the error that programs expect. */
static void what_is_not_offered_is_refused(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct fuse_req *req = &m->req;
	fuse_ino_t ino;

	put(m, 1, "{}");
	ino = document(m, "1");
	assert_int_equal(ask(req, mkdir, PFS_INODE_ROOT, "2", 0755), -EPERM);
	assert_int_equal(ask(req, rmdir, PFS_INODE_ROOT, ".payloadfs"), -EPERM);
	assert_int_equal(ask(req, symlink, "1", PFS_INODE_ROOT, "2"), -EPERM);
	assert_int_equal(ask(req, link, ino, PFS_INODE_ROOT, "2"), -EPERM);
	assert_int_equal(ask(req, flush, ino, &fi), -ENOSYS);
	assert_int_equal(ask(req, release, ino, &fi), 0);
	assert_int_equal(ask(req, ioctl, ino, 1, NULL, &fi, 0, NULL, 0, 0), -ENOTTY);
	assert_int_equal(ask(req, setxattr, ino, "user.a", "b", 1, 0), -ENOSYS);
	assert_int_equal(ask(req, getxattr, ino, "user.a", 1), -ENOSYS);
	assert_int_equal(ask(req, listxattr, ino, 1), -ENOSYS);
	assert_int_equal(ask(req, removexattr, ino, "user.a"), -ENOSYS);
}

/* Proves: how much room there is is told in blocks, and how many documents would still fit. */
static void room_is_told(void **state)
{
	struct mount *m = *state;
	struct pfs_store_stat stat;
	struct statvfs *s = &m->req.statfs;

	const struct pfs_key scratch = key_named("scratch");

	put(m, 1, "{}");
	put(m, 2, "{}");
	assert_int_equal(pfs_put(m->store, &scratch, "s", 1, NULL, 0, NULL), 0);
	pfs_sim_set_capacity(m->sim, 64 * PFS_MIB + 5000);
	assert_int_equal(ask(&m->req, statfs, PFS_INODE_ROOT), 0);
	stat = stat_of(m);
	assert_int_equal(s->f_bsize, 4096);
	assert_int_equal(s->f_frsize, 4096);
	assert_int_equal(s->f_blocks, stat.space_total / 4096);
	assert_int_equal(s->f_bavail, stat.space_available / 4096);
	assert_int_equal(s->f_bfree, s->f_bavail);
	assert_true(s->f_bavail > 0 && s->f_bavail < s->f_blocks);
	assert_int_equal(s->f_ffree, stat.space_available / (16 + 24));
	assert_int_equal(s->f_favail, s->f_ffree);
	assert_int_equal(s->f_files, 3 + s->f_ffree);
	assert_int_equal(s->f_namemax, 255);
	assert_true(s->f_fsid == 0 && s->f_flag == 0);
}

/* ---- attributes ---- */

/* Proves: the root is a directory whose attributes can be set, of which access and change times are
 * that of modification; the kernel may keep them. */
static void the_root_has_attributes(void **state)
{
	struct mount *m = *state;
	struct stat st = {.st_mode = S_IFREG | 01750,
			  .st_uid = 11,
			  .st_gid = 12,
			  .st_size = 13,
			  .st_mtim = {.tv_sec = 14, .tv_nsec = 15}};
	struct stat *got = &m->req.attr;

	assert_int_equal(ask(&m->req, getattr, PFS_INODE_ROOT, NULL), 0);
	assert_int_equal(got->st_ino, PFS_INODE_ROOT);
	assert_int_equal(got->st_mode, S_IFDIR | 0755);
	assert_int_equal(got->st_nlink, 2);
	assert_int_equal(got->st_size, 0);
	assert_int_equal(got->st_blocks, 0);
	assert_int_equal(got->st_blksize, 128 * PFS_KIB);
	assert_true(m->req.attr_timeout >= FOREVER);
	assert_int_equal(ask(&m->req, setattr, PFS_INODE_ROOT, &st,
			     FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
				     FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME,
			     NULL),
			 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(got->st_mode, S_IFDIR | 01750);
		assert_int_equal(got->st_uid, 11);
		assert_int_equal(got->st_gid, 12);
		assert_int_equal(got->st_size, 0);
		assert_int_equal(got->st_mtim.tv_sec, 14);
		assert_int_equal(got->st_mtim.tv_nsec, 15);
		assert_memory_equal(&got->st_atim, &got->st_mtim, sizeof(got->st_mtim));
		assert_memory_equal(&got->st_ctim, &got->st_mtim, sizeof(got->st_mtim));
		assert_true(m->req.attr_timeout >= FOREVER);
		assert_int_equal(ask(&m->req, getattr, PFS_INODE_ROOT, NULL), 0);
	}
}

/* Proves: who may read documents may list and enter the directory of them, whatever their mode is
 * by default. */
static void the_root_is_as_open_as_documents(void **state)
{
	static const struct {
		uint32_t documents, root;
	} modes[] = {
		{0644, 0755}, {0600, 0700}, {0640, 0750}, {0666, 0777}, {0660, 0770},
		{0444, 0755}, {0604, 0705}, {0200, 0700}, {0111, 0700},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(modes); i++) {
		struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN,
						    .min_value_size = 16};
		struct pfs_open_options options = {.manual = true, .logger = quiet};
		const struct pfs_defaults defaults = {
			.mode = modes[i].documents, .uid = 5, .gid = 6};
		struct pfs_reason reason;
		struct pfs_store *store;
		struct pfs_attr attr;
		struct pfs_fs fs;
		struct pfs_sim *sim = pfs_sim_new();

		create.io = options.io = pfs_sim_io(sim);
		options.defaults = &defaults;
		assert_int_equal(pfs_store_create(STORE, &create, &reason), 0);
		assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
		assert_int_equal(pfs_fs_init(&fs, store, &quiet, false, false), 0);
		pfs_root_get(&fs.root, &attr);
		assert_int_equal(attr.mode, modes[i].root);
		assert_int_equal(attr.uid, 5);
		assert_int_equal(attr.gid, 6);
		assert_null(fs.json_check);
		assert_null(fs.latency);
		pfs_fs_destroy(&fs);
		pfs_fs_destroy(&fs); /* no more */
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: a document's attributes are those of the store, in an entry as in a reply, for good. */
static void documents_have_attributes(void **state)
{
	static const size_t lens[] = {0, 1, 100, 385, 512, 513, 1000, 4999, 5000};
	struct mount *m = *state;

	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_attr attr = {
			.mode = 04751, .uid = 21, .gid = 22, .mtime_ns = -1234567890123};
		struct pfs_key key = pfs_key_num(i);
		char name[2] = {(char)('0' + i), '\0'};
		uint8_t bytes[5000];
		struct stat *st = &m->req.entry.attr, want;
		uint32_t object;
		fuse_ino_t ino;

		fill_document(bytes, lens[i], 1);
		assert_int_equal(pfs_put(m->store, &key, bytes, lens[i], &attr, 0, NULL), 0);
		ino = document(m, name);
		assert_int_equal(pfs_lookup(m->store, &key, &object, &attr), 0);
		assert_int_equal((uint32_t)ino, object);
		assert_true(m->req.entry.generation == ino >> 32);
		assert_true(m->req.entry.attr_timeout >= FOREVER);
		assert_true(m->req.entry.entry_timeout >= FOREVER);
		assert_int_equal(st->st_ino, object);
		assert_int_equal(st->st_mode, S_IFREG | 04751);
		assert_int_equal(st->st_nlink, 1);
		assert_true(st->st_dev == 0 && st->st_rdev == 0);
		assert_int_equal(st->st_uid, 21);
		assert_int_equal(st->st_gid, 22);
		assert_int_equal(st->st_size, lens[i]);
		assert_int_equal(st->st_blksize, 128 * PFS_KIB);
		assert_int_equal(st->st_blocks, (attr.stored + 511) / 512);
		assert_int_equal(st->st_mtim.tv_sec, -1235);
		assert_int_equal(st->st_mtim.tv_nsec, 432109877);
		assert_memory_equal(&st->st_atim, &st->st_mtim, sizeof(st->st_mtim));
		assert_memory_equal(&st->st_ctim, &st->st_mtim, sizeof(st->st_mtim));
		want = *st;
		assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
		assert_memory_equal(&m->req.attr, &want, sizeof(want));
		assert_true(m->req.attr_timeout >= FOREVER);
	}
	assert_int_equal(ask(&m->req, getattr, 0, NULL), -ENOENT);
	assert_int_equal(ask(&m->req, getattr, 4711, NULL), -ENOENT);
}

/* Proves: of each attribute what is asked for is set, and nothing else; what the document has
 * already costs no record. A new size is noted for json=check, another attribute is not. */
static void attributes_are_set_one_by_one(void **state)
{
	static const struct {
		int set;
		mode_t mode;
		uid_t uid;
		gid_t gid;
		off_t size;
		time_t mtime;
	} steps[] = {
		{FUSE_SET_ATTR_MODE, 0711, 1, 2, 10, 1000},
		{FUSE_SET_ATTR_UID, 0711, 31, 2, 10, 1000},
		{FUSE_SET_ATTR_GID, 0711, 31, 32, 10, 1000},
		{FUSE_SET_ATTR_SIZE, 0711, 31, 32, 4, 1000},
		{FUSE_SET_ATTR_MTIME, 0711, 31, 32, 4, 2000},
		{FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_GID, 04600, 31, 33, 4, 2000},
		{FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME, 04600, 31, 33, 9, 3000},
		{FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_CTIME | FUSE_SET_ATTR_ATIME_NOW, 04600, 31, 33,
		 9, 3000},
	};
	struct mount *m = *state;
	struct pfs_attr attr = {.mode = 0644, .uid = 1, .gid = 2};
	struct pfs_key key = pfs_key_num(1);
	uint64_t looks;
	fuse_ino_t ino;

	attr.mtime_ns = 1000 * PFS_NSEC_PER_SEC;
	assert_int_equal(pfs_put(m->store, &key, "0123456789", 10, &attr, 0, NULL), 0);
	ino = document(m, "1");
	looks = checked(m).checked;
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		for (unsigned again = 0; again < 2; again++) {
			struct stat st = {.st_mode = S_IFREG | steps[i].mode,
					  .st_uid = steps[i].uid,
					  .st_gid = steps[i].gid,
					  .st_size = steps[i].size,
					  .st_mtim.tv_sec = steps[i].mtime};
			uint64_t records = stat_of(m).sequence;
			bool sizes = steps[i].set & FUSE_SET_ATTR_SIZE;

			/* What is not asked for is anything. */
			if (!(steps[i].set & FUSE_SET_ATTR_MODE))
				st.st_mode = 0;
			if (!(steps[i].set & FUSE_SET_ATTR_UID))
				st.st_uid = 77;
			if (!(steps[i].set & FUSE_SET_ATTR_GID))
				st.st_gid = 77;
			if (!sizes)
				st.st_size = 77;
			if (!(steps[i].set & FUSE_SET_ATTR_MTIME))
				st.st_mtim.tv_sec = 77;
			assert_int_equal(ask(&m->req, setattr, ino, &st, steps[i].set, NULL), 0);
			for (unsigned look = 0; look < 2; look++) {
				assert_int_equal(m->req.attr.st_ino, (uint32_t)ino);
				assert_int_equal(m->req.attr.st_mode, S_IFREG | steps[i].mode);
				assert_int_equal(m->req.attr.st_uid, steps[i].uid);
				assert_int_equal(m->req.attr.st_gid, steps[i].gid);
				assert_int_equal(m->req.attr.st_size, steps[i].size);
				assert_int_equal(m->req.attr.st_mtim.tv_sec, steps[i].mtime);
				assert_true(m->req.attr_timeout >= FOREVER);
				assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
			}
			if (i + 1 == pfs_array_len(steps) || (again && !sizes))
				assert_int_equal(stat_of(m).sequence, records);
			else if (!again)
				assert_true(stat_of(m).sequence > records);
			looks += sizes;
			assert_int_equal(checked(m).checked, looks);
		}
	}
	assert_int_equal(ask(&m->req, setattr, 4711, &(struct stat){0}, FUSE_SET_ATTR_MODE, NULL),
			 -ENOENT);
}

/* ---- names ---- */

/* Proves: a name that is not there is remembered by the kernel as such, for good, or a second where
 * others publish; one that can't be is refused; each lookup is one reference. */
static void names_are_looked_up(void **state)
{
	static const struct {
		const char *name;
		int err;
	} wrong[] = {{"01", -EINVAL}, {"18446744073709551616", -EINVAL}};
	struct mount *m = *state;
	char long_name[PFS_NAME_MAX + 2];
	struct pfs_inodes_stat stat;
	fuse_ino_t ino;

	put(m, 1, "{}");
	for (unsigned published = 0; published < 2; published++) {
		m->fs.published = published;
		assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, "2"), 0);
		assert_int_equal(m->req.entry.ino, 0);
		assert_int_equal(m->req.entry.generation, 0);
		assert_true(published ? m->req.entry.entry_timeout == 1
				      : m->req.entry.entry_timeout >= FOREVER);
	}
	m->fs.published = false;
	for (size_t i = 0; i < pfs_array_len(wrong); i++)
		assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, wrong[i].name), wrong[i].err);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, long_name), -ENAMETOOLONG);
	ino = document(m, "1");
	assert_int_equal(document(m, "1"), ino);
	ask(&m->req, forget, ino, 1);
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 1);
	ask(&m->req, forget, ino, 1);
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 0);
	assert_int_equal(ask(&m->req, lookup, ino, "1"), -ENOTDIR);
	kernel.count = 0;
}

/* Proves: many references are taken back with one request. */
static void forgets_come_together(void **state)
{
	struct mount *m = *state;
	struct fuse_forget_data forgets[3];
	struct pfs_inodes_stat stat;

	for (uint64_t id = 1; id <= 3; id++) {
		char name[2] = {(char)('0' + id), '\0'};

		put(m, id, "{}");
		forgets[id - 1].ino = document(m, name);
		forgets[id - 1].nlookup = 1;
	}
	assert_int_equal(look_up_control(&m->req, "sync", &forgets[1].ino), 0);
	ask(&m->req, forget_multi, 3, forgets);
	pfs_inodes_stat(m->fs.inodes, &stat);
	assert_int_equal(stat.referenced, 1);
	assert_int_equal(ask(&m->req, getattr, forgets[1].ino, NULL), -ENOENT);
}

/* Proves: a document that is made has the mode it was asked to have, the caller as its owner, or of
 * a directory with set-group-id its group, and the time of now; it is noted, and so is the time of
 * the directory. What can't be made is not. */
static void documents_are_made(void **state)
{
	struct mount *m = *state;
	struct stat st = {.st_mode = S_IFDIR | 02755, .st_gid = 99};
	struct stat *got = &m->req.entry.attr;
	int64_t before = pfs_now_ns();

	m->req.caller.uid = 41;
	m->req.caller.gid = 42;
	for (unsigned i = 0; i < 2; i++) {
		const char *name = i ? "2" : "1";
		uint64_t looks = checked(m).checked;

		age_root(m);
		assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, name, S_IFREG | 04640, 7), 0);
		assert_true(m->req.entry.entry_timeout >= FOREVER);
		assert_true(m->req.entry.attr_timeout >= FOREVER);
		assert_int_equal(got->st_mode, S_IFREG | 04640);
		assert_int_equal(got->st_uid, 41);
		assert_int_equal(got->st_gid, i ? 99 : 42);
		assert_int_equal(got->st_size, 0);
		assert_int_equal(got->st_nlink, 1);
		assert_true(pfs_ns_from_timespec(&got->st_mtim) >= before &&
			    pfs_ns_from_timespec(&got->st_mtim) <= pfs_realtime_ns());
		assert_true(root_is_touched(m));
		assert_int_equal(checked(m).checked, looks + 1);
		assert_true(is_there(m, name));
		assert_int_equal(ask(&m->req, setattr, PFS_INODE_ROOT, &st,
				     FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_GID, NULL),
				 0);
	}
	age_root(m);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "3", S_IFIFO | 0600, 0), -EPERM);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "3", S_IFCHR | 0600, 7), -EPERM);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "03", S_IFREG | 0600, 0), -EINVAL);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, ".payloadfs", S_IFREG | 0600, 0),
			 -EPERM);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "1", S_IFREG | 0600, 0), -ESTALE);
	assert_false(root_is_touched(m));
	assert_false(is_there(m, "3"));
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "scratch", S_IFREG | 0600, 0), 0);
	m->fs.strict = true;
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "other", S_IFREG | 0600, 0), -EINVAL);
	assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "1", PFS_INODE_ROOT, "other", 0),
			 -EINVAL);
	assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "scratch", PFS_INODE_ROOT, "3", 0),
			 0);
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "4", S_IFREG | 0600, 0), 0);
	assert_true(is_there(m, "3") && is_there(m, "4"));
	assert_int_equal(ask(&m->req, mknod, PFS_INODE_ROOT, "5", S_IFREG | 07777, 0), 0);
	assert_int_equal(got->st_mode, S_IFREG | 07777);
	m->fs.strict = false;
}

/* Proves: what is removed is gone by name, noted, and the directory's time is now; who has it can
 * still read it until it forgets it. */
static void documents_are_removed(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino;

	put(m, 1, "{");
	put(m, 2, "{");
	ino = document(m, "1");
	pfs_json_check_note(m->fs.json_check, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 1});
	pfs_json_check_note(m->fs.json_check, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 2});
	assert_int_equal(checked(m).invalid, 2);
	for (unsigned i = 1; i <= 2; i++) {
		age_root(m);
		assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, i == 1 ? "1" : "2"), 0);
		assert_true(root_is_touched(m));
		assert_int_equal(checked(m).invalid, 2 - i);
	}
	assert_false(is_there(m, "1"));
	assert_int_equal(ask(&m->req, read, ino, 10, 0, &fi), 0);
	assert_int_equal(m->req.len, 1);
	assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
	assert_int_equal(m->req.attr.st_nlink, 0);
	age_root(m);
	assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, "1"), -ENOENT);
	assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, "01"), -EINVAL);
	assert_int_equal(ask(&m->req, unlink, PFS_INODE_ROOT, ".payloadfs"), -ENOENT);
	assert_false(root_is_touched(m));
	kernel_forget_all(&m->req);
	assert_int_equal(ask(&m->req, getattr, ino, NULL), -ESTALE); /* its number is given up */
	put(m, 3, "{}");
	assert_true(document(m, "3") != ino);
}

/* Proves: a rename moves the document, over another or not as it is asked to, or exchanges two;
 * both names are noted. A flag that can't be is refused, and nothing is moved. */
static void documents_are_moved(void **state)
{
	static const struct {
		const char *from, *to;
		unsigned flags;
		int err;
		const char *content[4]; /* of 1 to 3 afterwards */
	} moves[] = {
		{"1", "3", 0, 0, {NULL, NULL, "b", "a"}},
		{"1", "2", 0, 0, {NULL, NULL, "a", NULL}},
		{"1", "2", RENAME_NOREPLACE, -EEXIST, {NULL, "a", "b", NULL}},
		{"1", "3", RENAME_NOREPLACE, 0, {NULL, NULL, "b", "a"}},
		{"1", "2", RENAME_EXCHANGE, 0, {NULL, "b", "a", NULL}},
		{"1", "3", RENAME_EXCHANGE, -ENOENT, {NULL, "a", "b", NULL}},
		{"3", "1", 0, -ENOENT, {NULL, "a", "b", NULL}},
		{"1", "2", RENAME_WHITEOUT, -EINVAL, {NULL, "a", "b", NULL}},
		{"1", "2", RENAME_NOREPLACE | RENAME_WHITEOUT, -EINVAL, {NULL, "a", "b", NULL}},
		{"01", "2", 0, -EINVAL, {NULL, "a", "b", NULL}},
		{"1", "02", 0, -EINVAL, {NULL, "a", "b", NULL}},
		{"1", ".payloadfs", 0, -EPERM, {NULL, "a", "b", NULL}},
		{".payloadfs", "1", 0, -EPERM, {NULL, "a", "b", NULL}},
	};
	struct mount *m = *state;

	for (size_t i = 0; i < pfs_array_len(moves); i++) {
		uint64_t looks, noted = 0;
		fuse_ino_t first, second;

		for (uint64_t id = 1; id <= 3; id++) {
			struct pfs_key key = pfs_key_num(id);
			uint32_t object;

			if (pfs_remove(m->store, &key, &object) == 0)
				pfs_inode_unnamed(m->fs.inodes, object);
		}
		put(m, 1, "a");
		put(m, 2, "b");
		first = document(m, "1");
		second = document(m, "2");
		looks = checked(m).checked;
		age_root(m);
		assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, moves[i].from, PFS_INODE_ROOT,
				     moves[i].to, moves[i].flags),
				 moves[i].err);
		assert_int_equal(root_is_touched(m), moves[i].err == 0);
		for (uint64_t id = 1; id <= 3; id++) {
			char name[2] = {(char)('0' + id), '\0'};

			if (moves[i].content[id])
				expect_content(m, id, moves[i].content[id], 1);
			else
				assert_false(is_there(m, name));
			/* Of the two, those that are there. */
			if (!moves[i].err && moves[i].content[id] &&
			    (name[0] == moves[i].from[0] || name[0] == moves[i].to[0]))
				noted++;
		}
		assert_int_equal(checked(m).checked, looks + noted);
		/* The kernel's inodes are those of the documents. */
		for (unsigned k = 0; k < 2; k++) {
			struct fuse_file_info fi = {.flags = 0};

			assert_int_equal(ask(&m->req, read, k ? second : first, 5, 0, &fi), 0);
			assert_int_equal(m->req.buf[0], k ? 'b' : 'a');
		}
		kernel_forget_all(&m->req);
		expect_forgotten(&m->fs);
		/* One that was replaced is no more. */
		assert_int_equal(ask(&m->req, getattr, first, NULL), 0);
		assert_int_equal(ask(&m->req, getattr, second, NULL),
				 !moves[i].err && !moves[i].flags && moves[i].to[0] == '2' ? -ESTALE
											   : 0);
	}
	assert_int_equal(ask(&m->req, rename, PFS_INODE_ROOT, "1", PFS_CONTROL_DIR, "2", 0),
			 -EPERM);
}

/* ---- listing ---- */

static size_t entry_len(size_t name_len, bool plus)
{
	return FUSE_DIRENT_ALIGN(name_len +
				 (plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET));
}

/* Proves: a listing from any place on, with any room, has as many entries as fit, with names,
 * numbers and types; with attributes each is a reference. */
static void listings_are_what_fits(void **state)
{
	static const char *const names[] = {".", "..", "1", "22", "scratch file", "333", "4444"};
	enum { COUNT = sizeof(names) / sizeof(names[0]) };
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct pfs_inodes_stat stat;
	uint64_t cookies[COUNT] = {1, 2};

	for (unsigned i = 2; i < COUNT; i++) {
		struct pfs_key key = key_named(names[i]);
		struct pfs_listed listed;

		assert_int_equal(pfs_put(m->store, &key, "{}", 2, NULL, 0, NULL), 0);
		assert_int_equal(pfs_list(m->store, i > 2 ? cookies[i - 1] - 2 : 0, &listed, 1), 1);
		cookies[i] = listed.cookie + 2;
	}
	for (unsigned from = 0; from <= COUNT; from++) {
		for (size_t size = 0; size < 1400; size += 8) {
			const bool plus = size % 16;
			const off_t off = from ? (off_t)cookies[from - 1] : 0;
			size_t at = 0;
			unsigned n = from, counted = 0;

			if (plus)
				assert_int_equal(
					ask(&m->req, readdirplus, PFS_INODE_ROOT, size, off, &fi),
					0);
			else
				assert_int_equal(
					ask(&m->req, readdir, PFS_INODE_ROOT, size, off, &fi), 0);
			for (; n < COUNT; n++) {
				const struct fuse_direntplus *e = (void *)(m->req.buf + at);
				const struct fuse_dirent *d =
					plus ? &e->dirent : (void *)(m->req.buf + at);
				struct pfs_key key;
				uint32_t object = PFS_INODE_ROOT;

				if (at + entry_len(strlen(names[n]), plus) > size)
					break;
				if (n >= 2) {
					key = key_named(names[n]);
					assert_int_equal(pfs_lookup(m->store, &key, &object, NULL),
							 0);
				}
				assert_int_equal(d->ino, object);
				assert_int_equal(d->off, cookies[n]);
				assert_int_equal(d->type, n < 2 ? DT_DIR : DT_REG);
				assert_int_equal(d->namelen, strlen(names[n]));
				assert_memory_equal(d->name, names[n], d->namelen);
				if (plus) {
					uint64_t nodeid = e->entry_out.nodeid;

					assert_int_equal((uint32_t)nodeid, n < 2 ? 0 : object);
					assert_int_equal(e->entry_out.attr.size, n < 2 ? 0 : 2);
					if (nodeid) {
						assert_true(e->entry_out.entry_valid >= FOREVER);
						assert_true(e->entry_out.attr_valid >= FOREVER);
						kernel_count(nodeid);
						counted++;
					}
				}
				at += entry_len(strlen(names[n]), plus);
			}
			assert_int_equal(m->req.len, at);
			pfs_inodes_stat(m->fs.inodes, &stat);
			assert_int_equal(stat.referenced, counted);
			kernel_forget_all(&m->req);
			pfs_inodes_stat(m->fs.inodes, &stat);
			assert_int_equal(stat.referenced, 0);
		}
	}
}

/* Proves: a directory of many is listed to its end, each name once, however it is cut; the kernel
 * is given no more at once than it can use. */
static void many_are_listed_once(void **state)
{
	enum { COUNT = 1000 };
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};

	for (uint64_t id = 0; id < COUNT; id++)
		put(m, 100000 + id, "{}");
	for (size_t size = 2000; size <= PFS_MIB; size = size * 7 + 8) {
		uint64_t next = 0;
		off_t off = 2;

		for (;;) {
			assert_int_equal(ask(&m->req, readdir, PFS_INODE_ROOT, size, off, &fi), 0);
			assert_true(m->req.len <= size);
			if (!m->req.len)
				break;
			for (size_t at = 0; at < m->req.len;) {
				const struct fuse_dirent *d = (void *)(m->req.buf + at);
				char want[16];

				snprintf(want, sizeof(want), "%llu",
					 (unsigned long long)(100000 + next++));
				assert_memory_equal(d->name, want, 6);
				off = (off_t)d->off;
				at += FUSE_DIRENT_SIZE(d);
			}
		}
		assert_int_equal(next, COUNT);
	}
	assert_int_equal(ask(&m->req, readdirplus, PFS_INODE_ROOT, PFS_MIB, 0, &fi), 0);
	assert_true(m->req.len <= 256 * PFS_KIB);
	for (size_t at = 0; at < m->req.len;) {
		const struct fuse_direntplus *e = (void *)(m->req.buf + at);

		if (e->entry_out.nodeid)
			kernel_count(e->entry_out.nodeid);
		at += FUSE_DIRENTPLUS_SIZE(e);
	}
}

/* ---- content ---- */

/* Proves: from any place on so much is read as is asked for and there is, with a small buffer and
 * with a large one. */
static void documents_are_read_from_any_place(void **state)
{
	static const size_t lens[] = {0, 10, 300000};
	static const size_t sizes[] = {0, 1, 9, 128 * PFS_KIB, 128 * PFS_KIB + 1, 299999, 400000};
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	uint8_t *bytes = malloc(lens[2]);

	assert_non_null(bytes);
	fill_document(bytes, lens[2], 5);
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_key key = pfs_key_num(i);
		char name[2] = {(char)('0' + i), '\0'};
		fuse_ino_t ino;

		assert_int_equal(pfs_put(m->store, &key, bytes, lens[i], NULL, 0, NULL), 0);
		ino = document(m, name);
		for (size_t k = 0; k < pfs_array_len(sizes); k++) {
			for (size_t off = 0; off<lens[i] + 3; off += lens[i]> 100 ? 99999 : 1) {
				size_t want =
					off < lens[i] ? pfs_min_u64(sizes[k], lens[i] - off) : 0;

				assert_int_equal(ask(&m->req, read, ino, sizes[k], (off_t)off, &fi),
						 0);
				assert_int_equal(m->req.len, want);
				assert_memory_equal(m->req.buf, bytes + off, want);
			}
		}
	}
	assert_int_equal(ask(&m->req, read, 4711, 1, 0, &fi), -ENOENT);
	free(bytes);
}

/* Proves: what is written is there, and noted for json=check, whichever way it was written. */
static void what_is_written_is_noted(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.writepage = 1};
	fuse_ino_t ino;
	uint64_t looks;

	put(m, 1, "0123456789");
	ino = document(m, "1");
	looks = checked(m).checked;
	assert_int_equal(ask(&m->req, write, ino, "ab", 2, 3, &fi), 0);
	assert_int_equal(m->req.len, 2);
	expect_content(m, 1, "012ab56789", 10);
	assert_int_equal(checked(m).checked, looks + 1);
	fi.writepage = 0;
	assert_int_equal(ask(&m->req, write, ino, "xyz", 3, 9, &fi), 0);
	assert_int_equal(m->req.len, 3);
	expect_content(m, 1, "012ab5678xyz", 12);
	assert_int_equal(checked(m).checked, looks + 2);
	assert_int_equal(ask(&m->req, fallocate, ino, FALLOC_FL_ZERO_RANGE, 0, 1, &fi), 0);
	expect_content(m, 1,
		       "\0"
		       "12ab5678xyz",
		       12);
	assert_int_equal(checked(m).checked, looks + 3);
	assert_int_equal(ask(&m->req, write, 4711, "a", 1, 0, &fi), -ENOENT);
	assert_int_equal(checked(m).checked, looks + 3);
}

/* Proves: fallocate, of each mode: the size, what is zeroed, and what is not there to be done. */
static void ranges_are_allocated_and_zeroed(void **state)
{
	static const struct {
		int mode;
		off_t off, len;
		int err;
		const char *content; /* . is zero */
	} cases[] = {
		{0, 0, 5, 0, "0123456789"},
		{0, 8, 2, 0, "0123456789"},
		{0, 8, 5, 0, "0123456789..."},
		{FALLOC_FL_KEEP_SIZE, 8, 5, 0, "0123456789"},
		{FALLOC_FL_ZERO_RANGE, 8, 4, 0, "01234567...."},
		{FALLOC_FL_ZERO_RANGE, 2, 3, 0, "01...56789"},
		{FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 8, 4, 0, "01234567.."},
		{FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 1, 0, "0.23456789"},
		{FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 9, 9, 0, "012345678."},
		{FALLOC_FL_COLLAPSE_RANGE, 0, 5, -EOPNOTSUPP, "0123456789"},
		{FALLOC_FL_INSERT_RANGE, 0, 5, -EOPNOTSUPP, "0123456789"},
		{FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 5, -EOPNOTSUPP, "0123456789"},
		{0, 0, (off_t)(2 * PFS_GIB), -EFBIG, "0123456789"},
		{FALLOC_FL_ZERO_RANGE, 0, (off_t)(2 * PFS_GIB), -EFBIG, "0123456789"},
	};
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char want[32];
		size_t len = strlen(cases[i].content);

		put(m, 1, "0123456789");
		assert_int_equal(ask(&m->req, fallocate, document(m, "1"), cases[i].mode,
				     cases[i].off, cases[i].len, &fi),
				 cases[i].err);
		for (size_t k = 0; k < len; k++)
			want[k] = (char)(cases[i].content[k] == '.' ? 0 : cases[i].content[k]);
		expect_content(m, 1, want, len);
	}
	assert_int_equal(ask(&m->req, fallocate, 4711, 0, 0, 1, &fi), -ENOENT);
}

/* Proves: fsync of a document and of the directory make durable what was changed, and a document
 * that is not there is an error; its time until the reply is counted. */
static void syncs_make_durable(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	int64_t begun = pfs_now_monotonic();
	struct pfs_histogram_sum sum;
	fuse_ino_t ino;
	uint64_t sequence;

	put(m, 1, "{}");
	ino = document(m, "1");
	for (unsigned i = 0; i < 2; i++) {
		put(m, 2 + i, "{}");
		put(m, 1, i ? "{\"a\":1}" : "[]");
		sequence = stat_of(m).sequence;
		assert_true(stat_of(m).durable_sequence < sequence);
		if (i == 0)
			assert_int_equal(ask(&m->req, fsync, ino, 0, &fi), 0);
		else
			assert_int_equal(ask(&m->req, fsyncdir, PFS_INODE_ROOT, 0, &fi), 0);
		assert_int_equal(stat_of(m).durable_sequence, sequence);
	}
	assert_int_equal(ask(&m->req, fsync, 4711, 0, &fi), -ENOENT);
	for (unsigned i = 0; pfs_histograms_count(m->fs.latencies, PFS_OP_FSYNC) < 2; i++) {
		assert_true(i < KERNEL_WAIT_S * 1000);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(pfs_histograms_count(m->fs.latencies, PFS_OP_FSYNC), 2);
	pfs_histograms_sum(m->fs.latencies, PFS_OP_FSYNC, &sum);
	assert_true(sum.max <= (uint64_t)(pfs_now_monotonic() - begun));
}

/* ---- what others change ---- */

/* Proves: names that clients of the socket have changed are dropped from the kernel, those whose
 * document it knows as gone for good, then the listing; they are noted, the directory's time is
 * now, and a document that nobody knows is released. */
static void changes_of_others_are_told(void **state)
{
	struct mount *m = *state;
	struct pfs_serve_change changes[3];
	fuse_ino_t known;

	put(m, 1, "{");
	put(m, 2, "{}");
	known = document(m, "1");
	for (uint64_t i = 0; i < 3; i++) {
		changes[i].key = pfs_key_num(i + 1);
		changes[i].replaced = 0;
		assert_int_equal(pfs_put(m->store, &changes[i].key, "[]", 2, NULL,
					 PFS_PUT_NEW_OBJECT, &changes[i].replaced),
				 0);
		assert_int_equal(changes[i].replaced != 0, i < 2);
	}
	age_root(m);
	kernel.told_count = 0;
	pfs_fs_changed(&m->fs, changes, 3);
	assert_true(root_is_touched(m));
	assert_int_equal(kernel.told_count, 4);
	for (uint64_t i = 0; i < 3; i++) {
		char name[2] = {(char)('1' + i), '\0'};

		assert_int_equal(kernel.told[i].what, i == 0 ? TOLD_DELETE : TOLD_ENTRY);
		assert_int_equal(kernel.told[i].ino, PFS_INODE_ROOT);
		assert_true(kernel.told[i].child == (i == 0 ? known : 0));
		assert_string_equal(kernel.told[i].name, name);
	}
	assert_int_equal(kernel.told[3].what, TOLD_INODE);
	assert_int_equal(kernel.told[3].ino, PFS_INODE_ROOT);
	assert_int_equal(kernel.told[3].off, 0);
	assert_int_equal(kernel.told[3].len, 0);
	assert_int_equal(checked(m).checked, 3);
	assert_int_equal(ask(&m->req, getattr, known, NULL), 0); /* until it is forgotten */
	assert_true(document(m, "1") != known);
	kernel_forget_all(&m->req);
	assert_int_equal(ask(&m->req, getattr, known, NULL), -ESTALE);
}

/* Proves: attributes alone are dropped as such. */
static void attributes_are_dropped(void **state)
{
	struct mount *m = *state;
	const struct pfs_invalidation item = {.gone = 4711};

	kernel.told_count = 0;
	pfs_invalidate(m->fs.invalidator, &item, 1);
	assert_int_equal(kernel.told_count, 2);
	assert_int_equal(kernel.told[0].what, TOLD_INODE);
	assert_int_equal(kernel.told[0].ino, 4711);
	assert_int_equal(kernel.told[0].off, -1);
	assert_int_equal(kernel.told[0].len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OLD(name) cmocka_unit_test_setup_teardown(name, setup_old, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(capabilities_are_chosen),
		TEST(requests_are_counted_by_kind),
		TEST(what_is_not_offered_is_refused),
		TEST(room_is_told),
		TEST(the_root_has_attributes),
		cmocka_unit_test(the_root_is_as_open_as_documents),
		TEST(documents_have_attributes),
		TEST(attributes_are_set_one_by_one),
		TEST(names_are_looked_up),
		TEST(forgets_come_together),
		TEST(documents_are_made),
		TEST(documents_are_removed),
		TEST(documents_are_moved),
		TEST(listings_are_what_fits),
		TEST(many_are_listed_once),
		TEST(documents_are_read_from_any_place),
		TEST(what_is_written_is_noted),
		TEST_OLD(what_is_written_is_noted),
		TEST(ranges_are_allocated_and_zeroed),
		TEST(syncs_make_durable),
		TEST(changes_of_others_are_told),
		TEST(attributes_are_dropped),
	};

	return cmocka_run_group_tests_name("requests for names", tests, NULL, NULL);
}
