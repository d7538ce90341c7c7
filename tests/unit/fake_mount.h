/* A mount without a kernel, for tests that make its requests themselves (fake_kernel.h): a store on
 * the sim, with json=check. To be included once in a program that is linked with the daemon's
 * objects. */
#ifndef PFS_TEST_FAKE_MOUNT_H
#define PFS_TEST_FAKE_MOUNT_H

#include "fs/clock.h"
#include "tests/unit/fake_kernel.h"

#define CAPABLE_OF_ALL                                                                       \
	(FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_WRITEBACK_CACHE | \
	 FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |       \
	 FUSE_CAP_EXPLICIT_INVAL_DATA)

/* Of the daemon; those of the store are let go. */
static struct {
	unsigned warnings; /* atomic; errors as well */
	char last[256];
} mount_log;

static inline void count_warning(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (level > PFS_LOG_WARNING)
		return;
	__atomic_fetch_add(&mount_log.warnings, 1, __ATOMIC_SEQ_CST);
	snprintf(mount_log.last, sizeof(mount_log.last), "%s", line);
}

static const struct pfs_logger mount_logger = {.fn = count_warning};

struct mount {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_fs fs;
	struct fuse_req req;
	int64_t begun_ns;
	bool cut_off; /* the kernel forgets nothing more */
	bool damaged; /* the store is, as far as a check goes */
	bool broken;  /* the store has become read-only, and can't be closed well */
};

static inline struct mount *mount_new(unsigned capable)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct fuse_conn_info conn = {.capable = capable};
	struct mount *m = calloc(1, sizeof(*m));
	struct pfs_reason reason;

	assert_non_null(m);
	m->begun_ns = pfs_realtime_ns();
	m->sim = pfs_sim_new();
	create_store(m->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(m->sim);
	assert_int_equal(pfs_store_open(&m->store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_fs_init(&m->fs, m->store, &mount_logger, true, false), 0);
	assert_int_equal(pfs_fs_start(&m->fs), 0);
	request_init(&m->req, &m->fs);
	kernel.told_count = kernel.dropped = 0;
	kernel.tell_err = 0;
	mount_log.warnings = 0;
	pfs_fs_ops.init(&m->fs, &conn);
	return m;
}

static inline void mount_end(struct mount *m)
{
	kernel_forget_all(&m->req);
	if (!m->cut_off)
		expect_forgotten(&m->fs);
	pfs_fs_leave(&m->fs);
	pfs_fs_stop(&m->fs);
	for (unsigned i = 0; i < PFS_CONTROL_BUCKETS; i++)
		assert_null(m->fs.control->buckets[i]);
	request_free(&m->req);
	assert_int_equal(pfs_store_close(m->store) != 0, m->broken);
	pfs_fs_destroy(&m->fs);
	if (!m->broken && !m->damaged)
		expect_healthy(m->sim);
	pfs_sim_free(m->sim);
	free(m);
}

static inline int setup(void **state)
{
	*state = mount_new(CAPABLE_OF_ALL);
	return 0;
}

static inline int setup_old(void **state)
{
	*state = mount_new(0);
	return 0;
}

static inline int teardown(void **state)
{
	mount_end(*state);
	return 0;
}

static inline void put(struct mount *m, uint64_t id, const char *text)
{
	struct pfs_key key = pfs_key_num(id);

	assert_int_equal(pfs_put(m->store, &key, text, strlen(text), NULL, 0, NULL), 0);
}

static inline void expect_content(struct mount *m, uint64_t id, const void *data, size_t len)
{
	struct pfs_key key = pfs_key_num(id);
	size_t got_len;
	void *got;

	assert_int_equal(pfs_get(m->store, &key, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, data, len);
	free(got);
}

static inline fuse_ino_t document(struct mount *m, const char *name)
{
	fuse_ino_t ino;

	assert_int_equal(look_up(&m->req, name, &ino), 0);
	return ino;
}

#endif
