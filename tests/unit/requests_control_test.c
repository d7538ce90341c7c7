/* The control directory, request by request: what its files are, what is read from them, what
 * writing them does, and when the kernel is told to drop their names. */
#include <dirent.h>
#include <linux/fuse.h>

#include "storage/monotonic.h"
#include "tests/unit/fake_mount.h"

static const struct {
	const char *name;
	mode_t mode;
} files[] = {
	{"stats.json", 0444}, {"points.ndjson", 0400}, {"import", 0200},
	{"compact", 0644},    {"sync", 0644},	       {"train", 0644},
};

static fuse_ino_t control_file(struct mount *m, const char *name)
{
	fuse_ino_t ino;

	assert_int_equal(look_up_control(&m->req, name, &ino), 0);
	return ino;
}

static int write_to(struct mount *m, fuse_ino_t ino, const char *text, off_t off)
{
	struct fuse_file_info fi = {.flags = 0};
	int err = ask(&m->req, write, ino, text, strlen(text), off, &fi);

	assert_int_equal(m->req.len, err ? 0 : strlen(text));
	return err;
}

/* All that can be read, as a string. */
static const char *content(struct mount *m, fuse_ino_t ino)
{
	struct fuse_file_info fi = {.flags = 0};

	assert_int_equal(ask(&m->req, read, ino, PFS_MIB - 1, 0, &fi), 0);
	m->req.buf[m->req.len] = '\0';
	return m->req.buf;
}

static struct pfs_store_stat stat_of(struct mount *m)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(m->store, &stat), 0);
	return stat;
}

static size_t told_so_far(void)
{
	size_t count;

	pthread_mutex_lock(&kernel.lock);
	count = kernel.told_count;
	pthread_mutex_unlock(&kernel.lock);
	return count;
}

/* The kernel has been told so much, and nothing more is queued. */
static void expect_told(struct mount *m, size_t count)
{
	const struct timespec while_it_ends = {.tv_nsec = 1000000};

	/* A request that takes long queues its name behind the reply. */
	for (unsigned i = 0; told_so_far() < count && i < KERNEL_WAIT_S * 1000; i++)
		nanosleep(&while_it_ends, NULL);
	pfs_invalidate(m->fs.control->invalidator, NULL, 0);
	assert_int_equal(told_so_far(), count);
}

static void forget_told(struct mount *m)
{
	pfs_invalidate(m->fs.control->invalidator, NULL, 0);
	kernel.told_count = 0;
}

/* Nobody knows it any more, as soon as what is at work for it has ended. */
static void expect_gone(struct mount *m, fuse_ino_t ino)
{
	const struct timespec while_it_ends = {.tv_nsec = 1000000};

	for (unsigned i = 0; ask(&m->req, getattr, ino, NULL) != -ENOENT; i++) {
		assert_true(i < KERNEL_WAIT_S * 1000);
		nanosleep(&while_it_ends, NULL);
	}
}

/* ---- what is there ---- */

static void expect_times(const struct stat *st, int64_t from)
{
	int64_t mtime = pfs_ns_from_timespec(&st->st_mtim);

	assert_true(mtime >= from && mtime <= pfs_realtime_ns());
	assert_int_equal(pfs_ns_from_timespec(&st->st_atim), mtime);
	assert_int_equal(pfs_ns_from_timespec(&st->st_ctim), mtime);
}

/* Proves: the directory and its files have the root's owner, their own numbers, modes and sizes,
 * and times of what they show; the directory's name stays in the kernel's cache, those of the files
 * do not; nobody's attributes do. */
static void each_file_has_its_attributes(void **state)
{
	struct mount *m = *state;
	struct stat st = {.st_uid = 71, .st_gid = 82};
	fuse_ino_t ino, before = PFS_CONTROL_DIR;
	int64_t looked_ns;

	put(m, 1, "{}");
	assert_int_equal(ask(&m->req, setattr, PFS_INODE_ROOT, &st,
			     FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID, NULL),
			 0);
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, ".payloadfs"), 0);
	assert_true(m->req.entry.ino == PFS_CONTROL_DIR);
	assert_true(m->req.entry.entry_timeout >= 1e9 && m->req.entry.attr_timeout == 0);
	st = m->req.entry.attr;
	assert_true(st.st_ino == PFS_CONTROL_DIR);
	assert_int_equal(st.st_mode, S_IFDIR | 0555);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_uid, 71);
	assert_int_equal(st.st_gid, 82);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_blksize, 128 * PFS_KIB);
	expect_times(&st, m->begun_ns);
	assert_int_equal(ask(&m->req, getattr, PFS_CONTROL_DIR, NULL), 0);
	assert_memory_equal(&m->req.attr, &st, sizeof(st));
	assert_true(m->req.attr_timeout == 0);
	for (unsigned i = 0; i < pfs_array_len(files); i++) {
		looked_ns = pfs_realtime_ns();
		ino = control_file(m, files[i].name);
		assert_true(ino > before && pfs_control_owns(ino));
		before = ino;
		assert_true(m->req.entry.entry_timeout == 0 && m->req.entry.attr_timeout == 0);
		st = m->req.entry.attr;
		assert_true(st.st_ino == PFS_CONTROL_DIR + 1 + i);
		assert_int_equal(st.st_mode, S_IFREG | files[i].mode);
		assert_int_equal(st.st_nlink, 1);
		assert_true(st.st_dev == 0 && st.st_rdev == 0 && st.st_blocks == 0);
		assert_int_equal(st.st_uid, 71);
		assert_int_equal(st.st_gid, 82);
		assert_int_equal(st.st_blksize, 128 * PFS_KIB);
		expect_times(&st, i < 2 ? looked_ns : m->begun_ns);
		assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
		assert_memory_equal(&m->req.attr, &st, sizeof(st));
		assert_true(m->req.attr_timeout == 0);
		if (files[i].mode & 0400)
			assert_int_equal(strlen(content(m, ino)), st.st_size);
		assert_int_equal(st.st_size > 0, (files[i].mode & 0400) != 0);
	}
	assert_int_equal(ask(&m->req, lookup, PFS_CONTROL_DIR, "stats"), -ENOENT);
	assert_int_equal(ask(&m->req, lookup, PFS_CONTROL_DIR, ""), -ENOENT);
}

/* The bytes of an entry of so long a name. */
static size_t entry_len(size_t name_len, bool plus)
{
	return FUSE_DIRENT_ALIGN(name_len +
				 (plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET));
}

static int list_control(struct mount *m, bool plus, size_t size, off_t off)
{
	struct fuse_file_info fi = {.flags = 0};

	return plus ? ask(&m->req, readdirplus, PFS_CONTROL_DIR, size, off, &fi)
		    : ask(&m->req, readdir, PFS_CONTROL_DIR, size, off, &fi);
}

/* Proves: a listing from any place on, with any room, has as many entries as fit, each with its
 * name, number, type and the place behind it. */
static void the_listing_is_what_fits(void **state)
{
	struct mount *m = *state;
	const unsigned count = 2 + pfs_array_len(files);

	for (unsigned i = 0; i < 2 * (count + 2); i++) {
		const bool plus = i % 2;
		const off_t from = i / 2;

		for (size_t size = 1; size < 1600; size += plus ? 7 : 3) {
			size_t at = 0;
			unsigned n = (unsigned)from;

			assert_int_equal(list_control(m, plus, size, from), 0);
			for (; n < count; n++) {
				const char *name = n == 0 ? "." : n == 1 ? ".." : files[n - 2].name;
				const struct fuse_direntplus *e = (void *)(m->req.buf + at);
				const struct fuse_dirent *d =
					plus ? &e->dirent : (void *)(m->req.buf + at);

				if (at + entry_len(strlen(name), plus) > size)
					break;
				assert_true(d->ino == (n == 0	? PFS_CONTROL_DIR
						       : n == 1 ? (uint64_t)FUSE_ROOT_ID
								: PFS_CONTROL_DIR + n - 1));
				assert_int_equal(d->off, n + 1);
				assert_int_equal(d->type, n < 2 ? DT_DIR : DT_REG);
				assert_int_equal(d->namelen, strlen(name));
				assert_memory_equal(d->name, name, d->namelen);
				if (plus)
					assert_int_equal(e->entry_out.nodeid, 0);
				at += entry_len(strlen(name), plus);
			}
			assert_int_equal(m->req.len, at);
		}
	}
}

/* ---- reading ---- */

/* Proves: from any place on so much is read as is asked for and there is, of what was made when the
 * name was looked up, and of points.ndjson. */
static void files_are_read_from_any_place(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	static const char *const shown[] = {"stats.json", "sync", "points.ndjson"};

	put(m, 1, "{}");
	put(m, 2, "{\"a\":1}");
	assert_int_equal(write_to(m, control_file(m, "sync"), "1\n", 0), 0);
	for (size_t i = 0; i < pfs_array_len(shown); i++) {
		fuse_ino_t ino = control_file(m, shown[i]);
		char *whole = strdup(content(m, ino));
		size_t len = strlen(whole);

		assert_int_equal(m->req.entry.attr.st_size, 0); /* of the read */
		for (size_t off = 0; off<len + 3; off += len> 200 && off + 20 < len ? 7 : 1) {
			for (size_t size = 0; size < 60; size += 13) {
				size_t want = off < len ? pfs_min_u64(size, len - off) : 0;

				assert_int_equal(ask(&m->req, read, ino, size, (off_t)off, &fi), 0);
				assert_int_equal(m->req.len, want);
				assert_memory_equal(m->req.buf, whole + pfs_min_u64(off, len),
						    want);
			}
		}
		free(whole);
	}
}

/* Proves: the control directory shows the documents of the moment at which points.ndjson was looked
 * up, as long as somebody has it; an unchanged store has one such file, which goes with its last
 * reference, and its snapshot with it. */
static void points_are_of_one_moment(void **state)
{
	struct mount *m = *state;
	const char *one = "{\"id\":1,\"payload\":{}}\n";
	const struct timespec while_it_ends = {.tv_nsec = 1000000};
	fuse_ino_t first, second;

	put(m, 1, "{}");
	first = control_file(m, "points.ndjson");
	assert_true(control_file(m, "points.ndjson") == first);
	assert_int_equal(stat_of(m).snapshots, 1);
	put(m, 2, "[]");
	second = control_file(m, "points.ndjson");
	assert_true(second != first);
	assert_int_equal(stat_of(m).snapshots, 2);
	assert_string_equal(content(m, first), one);
	assert_string_equal(content(m, second),
			    "{\"id\":1,\"payload\":{}}\n{\"id\":2,\"payload\":[]}\n");
	ask(&m->req, forget, first, 1);
	assert_string_equal(content(m, first), one); /* once more known */
	ask(&m->req, forget, first, 1);
	expect_gone(m, first);
	ask(&m->req, forget, second, 1000); /* more than it has */
	expect_gone(m, second);
	for (unsigned i = 0; stat_of(m).snapshots > 0; i++) {
		assert_true(i < KERNEL_WAIT_S * 1000);
		nanosleep(&while_it_ends, NULL);
	}
	kernel.count = 0;
}

/* Proves: of a file that was looked up several times each is its own. */
static void each_lookup_has_its_own_file(void **state)
{
	struct mount *m = *state;
	fuse_ino_t before = control_file(m, "sync"), after;

	assert_string_equal(content(m, before), "idle\n");
	assert_int_equal(write_to(m, before, "1", 0), 0);
	after = control_file(m, "sync");
	assert_string_equal(content(m, before), "idle\n");
	assert_non_null(strstr(content(m, after), "done: everything is durable\n"));
	assert_memory_equal(m->req.buf, "idle\n20", 7);
	ask(&m->req, forget, before, 1);
	expect_gone(m, before);
	assert_int_equal(ask(&m->req, getattr, after, NULL), 0);
	assert_int_equal(ask(&m->req, forget, before, 1), 0);
}

/* ---- changing ---- */

/* Proves: of each file and each attribute, alone and together, whether it may be set: nobody's
 * mode or owner; everybody's times, without effect; sizes of what is written to, to nothing. */
static void attributes_are_set_where_they_may_be(void **state)
{
	static const int attributes[] = {
		FUSE_SET_ATTR_MODE,
		FUSE_SET_ATTR_UID,
		FUSE_SET_ATTR_GID,
		FUSE_SET_ATTR_SIZE,
		FUSE_SET_ATTR_MTIME,
		FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME,
		FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_UID,
		FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_CTIME,
	};
	const int owner = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
	struct mount *m = *state;

	for (size_t i = 0; i < pfs_array_len(files); i++) {
		fuse_ino_t ino = control_file(m, files[i].name);
		struct stat has = m->req.entry.attr;

		for (size_t k = 0; k < 2 * pfs_array_len(attributes); k++) {
			const int set = attributes[k / 2];
			const bool sizes = set & FUSE_SET_ATTR_SIZE, emptied = k % 2 == 0;
			struct stat st = {.st_mode = S_IFREG | 0777,
					  .st_uid = 1,
					  .st_size = emptied ? 0 : 1,
					  .st_mtim.tv_sec = 5};
			int want = (set & owner) || (sizes && i < 2) ? -EPERM
				   : sizes && !emptied		     ? -EINVAL
								     : 0;

			if (i == 5 && sizes && !want)
				continue; /* to train there is too little */
			assert_int_equal(ask(&m->req, setattr, ino, &st, set, NULL), want);
			if (want)
				continue;
			if (sizes)
				has.st_size = 0;
			assert_memory_equal(&m->req.attr, &has, sizeof(has));
			assert_true(m->req.attr_timeout == 0);
			has.st_size = m->req.entry.attr.st_size;
			if (sizes)
				assert_int_equal(write_to(m, ino, i < 3 ? "\n" : "1", 0), 0);
			if (i == 2 && sizes)
				break; /* what was imported can't be taken back */
			assert_int_equal(ask(&m->req, getattr, ino, NULL), 0);
			has = m->req.attr;
		}
	}
	for (size_t k = 0; k < pfs_array_len(attributes); k++) {
		struct stat st = {.st_size = 0};

		assert_int_equal(ask(&m->req, setattr, PFS_CONTROL_DIR, &st, attributes[k], NULL),
				 -EPERM);
	}
}

/* Proves: what was imported can't be taken back by emptying the file. */
static void what_was_imported_is_not_emptied(void **state)
{
	struct mount *m = *state;
	fuse_ino_t ino = control_file(m, "import");
	struct stat st = {.st_size = 0};

	assert_int_equal(write_to(m, ino, "{\"id\":1,\"payload\":7}\n", 0), 0);
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL), -EINVAL);
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
	expect_content(m, 1, "7", 1);
}

/* Proves: an action is done by each write, and by emptying its file; of a file that was emptied the
 * first write belongs to that and does nothing more. What the store has to say is the answer. */
static void actions_are_done_once(void **state)
{
	struct mount *m = *state;
	fuse_ino_t ino = control_file(m, "sync");
	struct stat st = {.st_size = 0};
	uint64_t syncs;

	for (unsigned i = 1; i <= 4; i++) {
		put(m, i, "{}");
		syncs = pfs_sim_count(m->sim, PFS_SIM_SYNC);
		if (i == 2) {
			assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL),
					 0);
			assert_int_equal(m->req.attr.st_size, 0);
			assert_int_equal(m->req.attr.st_mode, S_IFREG | 0644);
		} else {
			assert_int_equal(write_to(m, ino, "1\n", 0), 0);
		}
		assert_int_equal(pfs_sim_count(m->sim, PFS_SIM_SYNC) > syncs, i != 3);
	}
	ino = control_file(m, "compact");
	assert_int_equal(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL), 0);
	assert_non_null(strstr(content(m, control_file(m, "compact")), " done: "));
	assert_int_equal(write_to(m, ino, "1", 0), 0);
	assert_non_null(strstr(content(m, control_file(m, "compact")), " done: "));
	assert_string_equal(content(m, control_file(m, "train")), "idle\n");
	ino = control_file(m, "train");
	assert_true(write_to(m, ino, "1", 0) < 0);
	assert_non_null(strstr(content(m, control_file(m, "train")), " failed: "));
	/* It failed: the write that follows is not one that belongs to it. */
	assert_true(ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL) < 0);
	assert_true(write_to(m, ino, "1", 0) < 0);
}

/* Proves: fsync makes the store durable, and says when what was imported so far ends inside a line;
 * the rest of the line may still come. */
static void fsync_says_whether_all_is_there(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino = control_file(m, "import"), other = control_file(m, "stats.json");
	uint64_t syncs = pfs_sim_count(m->sim, PFS_SIM_SYNC);

	assert_int_equal(ask(&m->req, fsync, ino, 0, &fi), 0);
	assert_int_equal(write_to(m, ino, "{\"id\":1,\"payl", 0), 0);
	assert_int_equal(ask(&m->req, fsync, ino, 0, &fi), -EINVAL);
	assert_int_equal(pfs_sim_count(m->sim, PFS_SIM_SYNC), syncs);
	assert_int_equal(write_to(m, ino, "oad\":{}}\n", 13), 0);
	assert_int_equal(ask(&m->req, fsync, ino, 0, &fi), 0);
	assert_true(pfs_sim_count(m->sim, PFS_SIM_SYNC) > syncs);
	expect_content(m, 1, "{}", 2);
	put(m, 2, "{}");
	syncs = pfs_sim_count(m->sim, PFS_SIM_SYNC);
	assert_int_equal(ask(&m->req, fsync, other, 0, &fi), 0);
	assert_true(pfs_sim_count(m->sim, PFS_SIM_SYNC) > syncs);
}

static int is_full(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	(void)step;
	return -EIO;
}

/* Proves: what the store can't do is the answer to who asked for it. */
static void what_fails_is_answered(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 0};
	fuse_ino_t import, sync;

	put(m, 1, "{}");
	import = control_file(m, "import");
	sync = control_file(m, "sync");
	pfs_sim_on_step(m->sim, is_full, NULL);
	/* With the first failure it becomes read-only. */
	assert_int_equal(ask(&m->req, fsync, sync, 0, &fi), -EROFS);
	assert_int_equal(write_to(m, sync, "1\n", 0), -EROFS);
	assert_int_equal(ask(&m->req, setattr, sync, &st, FUSE_SET_ATTR_SIZE, NULL), -EROFS);
	assert_int_equal(write_to(m, import, "{\"id\":2,\"payload\":{}}\n", 0), -EROFS);
	pfs_sim_on_step(m->sim, NULL, NULL);
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, "2"), 0);
	assert_int_equal(m->req.entry.ino, 0);
	m->broken = true;
}

/* Proves: documents that were imported are told to the kernel, and when the last of them was is the
 * time of the file. */
static void imports_are_told(void **state)
{
	struct mount *m = *state;
	fuse_ino_t ino = control_file(m, "import");
	int64_t before = pfs_realtime_ns();

	put(m, 1, "{}");
	document(m, "1");
	forget_told(m);
	assert_int_equal(
		write_to(m, ino, "{\"id\":1,\"payload\":7}\n{\"id\":2,\"payload\":8}\n", 0), 0);
	/* Besides these of the directory: its listing, and the name `import`, once more. */
	expect_told(m, 4);
	for (unsigned i = 0, names = 0; i < kernel.told_count; i++) {
		const struct kernel_told *told = &kernel.told[i];

		if (told->what == TOLD_INODE) {
			assert_int_equal(told->ino, PFS_INODE_ROOT);
		} else if (told->ino == PFS_INODE_ROOT) {
			assert_string_equal(told->name, names++ ? "2" : "1");
			assert_int_equal(told->what, names == 1 ? TOLD_DELETE : TOLD_ENTRY);
			assert_int_equal(told->child != 0, names == 1);
		} else {
			assert_string_equal(told->name, "import");
		}
	}
	control_file(m, "import");
	expect_times(&m->req.entry.attr, before);
	assert_int_equal(m->req.entry.attr.st_size, 0);
}

/* ---- names ---- */

static void expect_dropped(struct mount *m, const char *name, unsigned times)
{
	expect_told(m, times);
	for (unsigned i = 0; i < times; i++) {
		assert_int_equal(kernel.told[i].what, TOLD_ENTRY);
		assert_true(kernel.told[i].ino == PFS_CONTROL_DIR);
		assert_string_equal(kernel.told[i].name, name);
	}
	kernel.told_count = 0;
}

/* Proves: the kernel is told to drop a name as soon as it has it, and with the first request for
 * the file once more, whichever it is, and not again; that of the directory stays. */
static void names_are_dropped(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 1};
	fuse_ino_t ino;

	kernel.told_count = 0;
	assert_int_equal(ask(&m->req, lookup, PFS_INODE_ROOT, ".payloadfs"), 0);
	assert_int_equal(ask(&m->req, getattr, PFS_CONTROL_DIR, NULL), 0);
	assert_int_equal(ask(&m->req, lookup, PFS_CONTROL_DIR, "none"), -ENOENT);
	assert_int_equal(list_control(m, true, 4096, 0), 0);
	expect_dropped(m, "", 0);
	for (size_t i = 0; i < pfs_array_len(files); i++) {
		for (unsigned how = 0; how < 4; how++) {
			ino = control_file(m, files[i].name);
			expect_dropped(m, files[i].name, 1);
			for (unsigned again = 0; again < 2; again++) {
				if (how == 0)
					ask(&m->req, getattr, ino, NULL);
				else if (how == 1)
					ask(&m->req, read, ino, 1, 0, &fi);
				else if (how == 2)
					ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL);
				else
					ask(&m->req, write, ino, "\n", 1, 0, &fi);
				expect_dropped(m, files[i].name, !again);
			}
			ask(&m->req, forget, ino, 1);
			expect_dropped(m, "", 0);
		}
	}
	kernel.count = 0;
}

/* Proves: a name that the kernel does not have is nothing to talk about; another error is. */
static void names_that_can_not_be_dropped(void **state)
{
	static const struct {
		int err;
		unsigned warnings;
	} cases[] = {{0, 0}, {-ENOENT, 0}, {-ENODEV, 0}, {-ENOTCONN, 0}, {-EIO, 1}};
	struct mount *m = *state;

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		kernel.tell_err = cases[i].err;
		mount_log.warnings = 0;
		control_file(m, "sync");
		expect_dropped(m, "sync", 1);
		assert_int_equal(mount_log.warnings, cases[i].warnings);
	}
	assert_string_equal(mount_log.last, "sync: cached entry not dropped: Input/output error");
}

/* Proves: stats.json is of this mount: how long it has been there, and its numbers. */
static void the_statistics_are_the_mounts(void **state)
{
	struct mount *m = *state;
	const char *text;
	long long uptime_ns;

	put(m, 1, "{}");
	text = content(m, control_file(m, "stats.json"));
	assert_memory_equal(text, "{\"schema\":1,", 12);
	assert_int_equal(sscanf(strstr(text, "\"uptime_ns\":"), "\"uptime_ns\":%lld", &uptime_ns),
			 1);
	assert_true(uptime_ns >= 0 && uptime_ns <= pfs_realtime_ns() - m->begun_ns + 1000000);
	assert_non_null(strstr(text, ",\"points\":1,"));
	assert_non_null(strstr(text, "\"lookup\":{\"count\":"));
	assert_non_null(strstr(text, "\"json\":{"));
}

/* Proves: documents that are damaged have a line that says so, and reading on past one that has
 * become so since is an error. */
static void damage_is_shown(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};
	const size_t len = 200000;
	uint8_t *bytes = malloc(len);
	struct pfs_place place;
	struct pfs_key key = pfs_key_num(1);
	fuse_ino_t before, after;

	assert_non_null(bytes);
	fill_document(bytes, len, 3);
	assert_int_equal(pfs_put(m->store, &key, bytes, len, NULL, 0, NULL), 0);
	put(m, 2, "{}");
	assert_int_equal(pfs_store_checkpoint(m->store), 0);
	before = control_file(m, "points.ndjson");
	assert_int_equal(pfs_place(m->store, &key, &place), 0);
	flip_bit(m->sim, page_name(place.page), place.offset + place.packed_len / 2, 3);
	assert_int_equal(ask(&m->req, read, before, 400000, 0, &fi), -EIO);
	put(m, 3, "{}");
	mount_log.warnings = 0;
	/* What was found out before is not looked at again; a new document is. */
	assert_int_equal(pfs_put(m->store, &key, bytes, len, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_checkpoint(m->store), 0);
	assert_int_equal(pfs_place(m->store, &key, &place), 0);
	flip_bit(m->sim, page_name(place.page), place.offset + place.packed_len / 2, 3);
	after = control_file(m, "points.ndjson");
	assert_non_null(strstr(content(m, after), "{\"id\":1,\"error\":\"damaged\"}\n"));
	assert_int_equal(mount_log.warnings, 1);
	assert_memory_equal(mount_log.last, "points.ndjson: 1 is damaged", 27);
	assert_int_equal(pfs_remove(m->store, &key, NULL), 0);
	m->damaged = true;
	free(bytes);
}

/* A step of the store that waits until it may go on. */
struct gate {
	sem_t reached, open;
	bool passed;
};

static int wait_at(void *arg, const struct pfs_sim_step *step)
{
	struct gate *gate = arg;

	(void)step;
	if (!gate->passed) {
		gate->passed = true;
		sem_post(&gate->reached);
		sem_wait(&gate->open);
	}
	return 0;
}

/* A lookup of points.ndjson, which waits within the store. */
struct long_lookup {
	struct fuse_req req;
	struct gate gate;
};

static void begin_long_lookup(struct mount *m, struct long_lookup *l)
{
	l->gate.passed = false;
	sem_init(&l->gate.reached, 0, 0);
	sem_init(&l->gate.open, 0, 0);
	request_init(&l->req, &m->fs);
	put(m, 1, "{}");
	forget_told(m);
	pfs_sim_on_step(m->sim, wait_at, &l->gate);
	pfs_fs_ops.lookup(begin_request(&l->req), PFS_CONTROL_DIR, "points.ndjson");
	sem_wait(&l->gate.reached);
}

static void end_long_lookup(struct mount *m, struct long_lookup *l)
{
	pfs_sim_on_step(m->sim, NULL, NULL);
	request_free(&l->req);
	sem_destroy(&l->gate.open);
	sem_destroy(&l->gate.reached);
}

/* Proves: while points.ndjson is looked up, which holds the directory's lock in the kernel, no name
 * is dropped; once it is answered all are. */
static void nothing_is_dropped_during_a_long_lookup(void **state)
{
	struct mount *m = *state;
	struct long_lookup l;
	size_t told;

	begin_long_lookup(m, &l);
	for (unsigned i = 0; i < 100; i++)
		control_file(m, "sync");
	told = told_so_far();
	sem_post(&l.gate.open);
	assert_int_equal(reply_of(&l.req), 0);
	assert_int_equal(told, 0);
	expect_told(m, 101);
	assert_int_equal(l.req.entry.attr.st_size, 22);
	end_long_lookup(m, &l);
}

/* Proves: once the mount is left the kernel is told nothing any more, and who waited to tell it
 * does not; the rest still works. */
static void who_leaves_tells_nothing(void **state)
{
	struct mount *m = *state;
	struct long_lookup l;

	begin_long_lookup(m, &l);
	control_file(m, "sync");
	pfs_fs_leave(&m->fs); /* returns although the name waits for the lookup */
	control_file(m, "sync");
	assert_int_equal(kernel.told_count, 0);
	sem_post(&l.gate.open);
	assert_int_equal(reply_of(&l.req), 0);
	expect_told(m, 0);
	end_long_lookup(m, &l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_file_has_its_attributes),
		TEST(the_listing_is_what_fits),
		TEST(files_are_read_from_any_place),
		TEST(points_are_of_one_moment),
		TEST(each_lookup_has_its_own_file),
		TEST(attributes_are_set_where_they_may_be),
		TEST(what_was_imported_is_not_emptied),
		TEST(actions_are_done_once),
		TEST(fsync_says_whether_all_is_there),
		TEST(what_fails_is_answered),
		TEST(imports_are_told),
		TEST(names_are_dropped),
		TEST(names_that_can_not_be_dropped),
		TEST(the_statistics_are_the_mounts),
		TEST(damage_is_shown),
		TEST(nothing_is_dropped_during_a_long_lookup),
		TEST(who_leaves_tells_nothing),
	};

	return cmocka_run_group_tests_name("requests to the control directory", tests, NULL, NULL);
}
