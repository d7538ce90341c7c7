/* The kernel's requests under failing calls: memory, and threads that can't be started, for the
 * handlers, the control directory, json=check, and what starts and ends them. */
#include <linux/falloc.h>
#include <linux/fuse.h>

#include "fs/clock.h"
#include "fs/options.h"
#include "fs/paths.h"
#include "storage/monotonic.h"
#include "tests/fault/scenario.h"
#include "tests/unit/fake_kernel.h"

#define LARGE (200 * PFS_KIB)
#define LINES                                \
	"{\"id\":1,\"payload\":{\"a\":1}}\n" \
	"{\"id\":2,\"payload\":{\"b\":[2]}}\n"

struct mount {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_fs fs;
	struct fuse_req req;
	fuse_ino_t ino; /* of document 1 */
	uint8_t *bytes; /* LARGE: of document 1 */
	char *lines;	/* what points.ndjson is */
	size_t lines_len;
	unsigned tries;
};

static struct mount *store_new(void)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct mount *m = calloc(1, sizeof(*m));
	struct pfs_reason reason;

	assert_non_null(m);
	m->sim = pfs_sim_new();
	create_store(m->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(m->sim);
	assert_int_equal(pfs_store_open(&m->store, STORE, &options, &reason), 0);
	m->bytes = malloc(LARGE);
	assert_non_null(m->bytes);
	return m;
}

static void store_end(struct mount *m)
{
	assert_int_equal(pfs_store_close(m->store), 0);
	expect_healthy(m->sim);
	pfs_sim_free(m->sim);
	free(m->lines);
	free(m->bytes);
	free(m);
}

static void put(struct mount *m, const char *name, const void *data, size_t len)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	assert_int_equal(pfs_put(m->store, &key, data, len, NULL, 0, NULL), 0);
}

/* With document 1, known to the kernel, 2, which is small, and 3, which is no JSON. */
static void *mounted(void)
{
	struct fuse_conn_info conn = {.capable = FUSE_CAP_WRITEBACK_CACHE};
	struct mount *m = store_new();

	memset(m->bytes, 'x', LARGE);
	m->bytes[0] = m->bytes[LARGE - 1] = '"';
	put(m, "1", m->bytes, LARGE);
	put(m, "2", "{\"small\":2}", 11);
	put(m, "3", "no JSON", 7);
	assert_int_equal(pfs_fs_init(&m->fs, m->store, &quiet, false, false), 0);
	assert_int_equal(pfs_fs_start(&m->fs), 0);
	request_init(&m->req, &m->fs);
	pfs_fs_ops.init(&m->fs, &conn);
	assert_int_equal(look_up(&m->req, "1", &m->ino), 0);
	return m;
}

/* What was made meanwhile is ended with failing calls, too. */
static void end_mount(void *state)
{
	struct mount *m = state;

	fault_arm();
	kernel_forget_all(&m->req);
	expect_forgotten(&m->fs);
	pfs_fs_stop(&m->fs);
	fault_disarm();
	request_free(&m->req);
	pfs_fs_destroy(&m->fs);
	store_end(m);
}

static void expect_content(struct mount *m, const char *name, const void *data, size_t len)
{
	struct pfs_key key;
	size_t got_len;
	void *got;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	assert_int_equal(pfs_get(m->store, &key, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, data, len);
	free(got);
}

static void expect_nothing(void *state, int err)
{
	(void)state;
	(void)err;
}

/* ---- documents ---- */

static int read_large(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	int err = ask(&m->req, read, m->ino, PFS_MIB, 0, &fi);

	if (!err) {
		assert_int_equal(m->req.len, LARGE);
		assert_memory_equal(m->req.buf, m->bytes, LARGE);
	}
	return err;
}

static size_t count_listed(struct mount *m, bool plus)
{
	size_t n = 0;

	for (size_t at = 0; at < m->req.len; n++) {
		const struct fuse_direntplus *e = (void *)(m->req.buf + at);

		if (plus && e->entry_out.nodeid)
			kernel_count(e->entry_out.nodeid);
		at += plus ? FUSE_DIRENTPLUS_SIZE(e)
			   : FUSE_DIRENT_SIZE((struct fuse_dirent *)(void *)(m->req.buf + at));
	}
	return n;
}

/* What there is no memory for may be listed without its attributes, but it is listed. */
static int list_documents(struct mount *m)
{
	struct fuse_file_info fi = {.flags = 0};
	int err = ask(&m->req, readdirplus, PFS_INODE_ROOT, 65536, 0, &fi);

	if (!err)
		assert_int_equal(count_listed(m, true), 6);
	if (!err)
		err = ask(&m->req, readdir, PFS_INODE_ROOT, 65536, 0, &fi);
	if (!err)
		assert_int_equal(count_listed(m, false), 6);
	return err;
}

/* As the kernel does when it is told that a name is stale: it was made at the first try. */
static int make_and_list(void *state)
{
	struct mount *m = state;
	fuse_ino_t ino;
	int err = ask(&m->req, mknod, PFS_INODE_ROOT, "9", S_IFREG | 0600, 0);

	if (err == -ESTALE)
		err = look_up(&m->req, "9", &ino);
	return err ? err : list_documents(m);
}

static void expect_made(void *state, int err)
{
	if (!err)
		expect_content(state, "9", "", 0);
}

/* An open looks the name up: once a write has failed the inode is given up. */
static int write_whole(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 0};
	int err = look_up(&m->req, "1", &m->ino);

	if (!err)
		err = ask(&m->req, setattr, m->ino, &st, FUSE_SET_ATTR_SIZE, NULL);
	if (!err)
		err = ask(&m->req, write, m->ino, "{\"new\":1}", 9, 0, &fi);
	return err ? err : ask(&m->req, fsync, m->ino, 0, &fi);
}

/* Neither a mix nor nothing (the truncation alone is one of what may be). */
static void expect_written(void *state, int err)
{
	struct mount *m = state;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint32_t object;

	assert_int_equal(pfs_lookup(m->store, &key, &object, &attr), 0);
	if (!err || attr.size == 9)
		expect_content(m, "1", "{\"new\":1}", 9);
	else if (attr.size)
		expect_content(m, "1", m->bytes, LARGE);
}

static int write_back(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.writepage = 1};
	int err = look_up(&m->req, "1", &m->ino);

	return err ? err : ask(&m->req, write, m->ino, "{\"new\":1}", 9, 0, &fi);
}

static void expect_written_back(void *state, int err)
{
	struct mount *m = state;

	if (!err)
		memcpy(m->bytes, "{\"new\":1}", 9);
	expect_content(m, "1", m->bytes, LARGE);
}

static int punch(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	int err = ask(&m->req, fallocate, m->ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10,
		      20, &fi);

	return err ? err : ask(&m->req, fallocate, m->ino, 0, 0, LARGE, &fi);
}

static void expect_punched(void *state, int err)
{
	struct mount *m = state;

	if (!err)
		memset(m->bytes + 10, 0, 20);
	expect_content(m, "1", m->bytes, LARGE);
}

/* A move that has failed has moved nothing; one of a document that is read goes on. */
static int move(void *state)
{
	struct mount *m = state;
	int err = ask(&m->req, rename, PFS_INODE_ROOT, "2", PFS_INODE_ROOT, "1", 0);

	if (!err)
		m->tries++;
	return err ? err : ask(&m->req, unlink, PFS_INODE_ROOT, "3");
}

/* The second try finds the first half done. */
static int move_once(void *state)
{
	struct mount *m = state;

	return m->tries ? ask(&m->req, unlink, PFS_INODE_ROOT, "3") : move(state);
}

static void expect_moved(void *state, int err)
{
	struct mount *m = state;
	struct pfs_key key = pfs_key_num(3);
	struct pfs_attr attr;
	uint32_t object;

	if (m->tries) {
		expect_content(m, "1", "{\"small\":2}", 11);
	} else {
		expect_content(m, "1", m->bytes, LARGE);
		expect_content(m, "2", "{\"small\":2}", 11);
	}
	assert_int_equal(pfs_lookup(m->store, &key, &object, &attr), err ? 0 : -ENOENT);
}

/* ---- the control directory ---- */

static int show_stats(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	fuse_ino_t ino;
	int err = look_up_control(&m->req, "stats.json", &ino);

	if (!err)
		err = ask(&m->req, read, ino, 65536, 0, &fi);
	if (!err) {
		assert_true(m->req.len > 2 && m->req.buf[0] == '{');
		assert_int_equal(m->req.buf[m->req.len - 1], '\n');
	}
	return err;
}

static int list_control(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};

	return ask(&m->req, readdir, PFS_CONTROL_DIR, 4096, 0, &fi);
}

/* All of points.ndjson, in pieces that begin anywhere. */
static int show_points(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	size_t got = 0, size;
	char *lines;
	fuse_ino_t ino;
	int err = look_up_control(&m->req, "points.ndjson", &ino);

	if (err)
		return err;
	size = (size_t)m->req.entry.attr.st_size;
	lines = malloc(size);
	if (!lines)
		return -ENOMEM;
	while (!err && got < size) {
		err = ask(&m->req, read, ino, 100001, (off_t)got, &fi);
		memcpy(lines + got, m->req.buf, m->req.len);
		got += m->req.len;
	}
	kernel_forget_all(&m->req);
	fault_forget(lines);
	fault_forget(m->lines);
	free(m->lines);
	m->lines = lines;
	m->lines_len = err ? 0 : got;
	return err;
}

static void expect_points(void *state, int err)
{
	const char *small = "{\"id\":2,\"payload\":{\"small\":2}}\n";
	const char *other = "{\"id\":3,\"payload_base64\":\"bm8gSlNPTg==\"}\n";
	struct mount *m = state;

	if (err)
		return;
	assert_non_null(memmem(m->lines, m->lines_len, small, strlen(small)));
	assert_non_null(memmem(m->lines, m->lines_len, other, strlen(other)));
	assert_true(m->lines_len > LARGE);
	assert_int_equal(m->lines[m->lines_len - 1], '\n');
}

/* After a change the sums of the first look are used. */
static int show_points_again(void *state)
{
	struct mount *m = state;
	struct pfs_key key = pfs_key_num(20);
	int err = show_points(state);

	if (!err)
		err = pfs_put(m->store, &key, "{}", 2, NULL, 0, NULL);
	return err ? err : show_points(state);
}

static int import_lines(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	const size_t half = strlen(LINES) / 2 + 5;
	fuse_ino_t ino;
	int err = look_up_control(&m->req, "import", &ino);

	if (!err)
		err = ask(&m->req, write, ino, LINES, half, 0, &fi);
	if (!err)
		err = ask(&m->req, write, ino, &LINES[half], strlen(LINES) - half, (off_t)half,
			  &fi);
	if (!err)
		err = ask(&m->req, fsync, ino, 0, &fi);
	kernel_forget_all(&m->req);
	return err;
}

/* Each document is the old or the new one; those that were said to be imported are there. */
static void expect_imported(void *state, int err)
{
	struct mount *m = state;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint32_t object;

	assert_int_equal(pfs_lookup(m->store, &key, &object, &attr), 0);
	if (err && attr.size == LARGE) {
		expect_content(m, "1", m->bytes, LARGE);
		return;
	}
	expect_content(m, "1", "{\"a\":1}", 7);
	if (!err)
		expect_content(m, "2", "{\"b\":[2]}", 9);
}

static int act(void *state)
{
	struct mount *m = state;
	struct fuse_file_info fi = {.flags = 0};
	struct stat st = {.st_size = 0};
	fuse_ino_t ino;
	int err = look_up_control(&m->req, "sync", &ino);

	if (!err)
		err = ask(&m->req, setattr, ino, &st, FUSE_SET_ATTR_SIZE, NULL);
	if (!err)
		err = ask(&m->req, write, ino, "1\n", 2, 0, &fi);
	if (!err)
		err = look_up_control(&m->req, "compact", &ino);
	return err ? err : ask(&m->req, write, ino, "1\n", 2, 0, &fi);
}

/* ---- json=check ---- */

/* Its thread is not started: the steps are the test's. */
static void *mounted_with_check(void)
{
	struct mount *m = mounted();

	assert_int_equal(pfs_json_check_new(&m->fs.json_check, m->store, &quiet), 0);
	return m;
}

static int check_json(void *state)
{
	struct mount *m = state;
	struct pfs_key key = pfs_key_num(3);
	int64_t later = pfs_now_monotonic() + 60 * PFS_NSEC_PER_SEC;

	pfs_json_check_note(m->fs.json_check, &key);
	for (unsigned i = 0; i < 10; i++)
		pfs_json_check_step(m->fs.json_check, later + i * 60 * PFS_NSEC_PER_SEC);
	return 0;
}

/* Whatever failed meanwhile: with memory again it is found. */
static void expect_checked(void *state, int err)
{
	struct mount *m = state;
	int64_t later = pfs_now_monotonic() + 3600 * PFS_NSEC_PER_SEC;
	struct pfs_json_stat stat;

	(void)err;
	for (unsigned i = 0; i < 10; i++)
		pfs_json_check_step(m->fs.json_check, later + i * 60 * PFS_NSEC_PER_SEC);
	pfs_json_check_stat(m->fs.json_check, &stat);
	/* Without memory it may not be remembered, but it was said. */
	assert_true(stat.invalid_seen >= 1);
	assert_int_equal(stat.last.num, 3);
}

/* ---- beginning and end ---- */

static void *unmounted(void)
{
	return store_new();
}

static int begin_and_end(void *state)
{
	struct mount *m = state;
	int err = pfs_fs_init(&m->fs, m->store, &quiet, true, true);

	if (!err) {
		err = pfs_fs_start(&m->fs);
		pfs_fs_stop(&m->fs);
	}
	pfs_fs_destroy(&m->fs);
	return err;
}

static void end_unmounted(void *state)
{
	store_end(state);
}

/* ---- the command line ---- */

static void *nothing(void)
{
	return calloc(1, sizeof(struct mount));
}

static int find_places(void *state)
{
	char *path, *above;
	int err = pfs_path_resolve(&path, "/tmp/not-there/nor-this");

	(void)state;
	if (!err)
		free(path);
	if (!err)
		err = pfs_path_default_store(&path, "/mnt/p", true);
	if (!err)
		free(path);
	if (!err)
		err = pfs_path_default_cache(&path, true);
	if (!err)
		free(path);
	if (!err)
		err = pfs_path_absolute(&path, "relative");
	if (!err)
		free(path);
	if (!err)
		err = pfs_path_absolute(&above, "/absolute");
	if (!err)
		free(above);
	return err;
}

static int parse_options(void *state)
{
	char words[3][16] = {"payloadfs", "store", "/mnt/p"}, cache[] = "-ocache=/c";
	char *argv[] = {words[0], words[1], words[2], cache, NULL};
	struct pfs_options options;
	struct pfs_reason reason;
	int err = pfs_options_parse(&options, 4, argv, &reason);

	(void)state;
	if (err)
		assert_string_equal(reason.text, "no memory");
	else
		assert_string_equal(options.mountpoint, "/mnt/p");
	pfs_options_free(&options);
	return err ? -ENOMEM : 0;
}

static void end_nothing(void *state)
{
	free(state);
}

static const struct scenario beginnings[] = {
	{"paths", nothing, find_places, expect_nothing, end_nothing, NULL},
	{"options", nothing, parse_options, expect_nothing, end_nothing, NULL},
};

static const struct scenario requests[] = {
	{"a large read", mounted, read_large, expect_nothing, end_mount, NULL},
	{"mknod and listing", mounted, make_and_list, expect_made, end_mount, NULL},
	{"truncation, write, fsync", mounted, write_whole, expect_written, end_mount, NULL},
	{"write-back", mounted, write_back, expect_written_back, end_mount, NULL},
	{"fallocate", mounted, punch, expect_punched, end_mount, NULL},
	{"rename and unlink", mounted, move_once, expect_moved, end_mount, NULL},
	{"stats.json", mounted, show_stats, expect_nothing, end_mount, NULL},
	{"listing of the control directory", mounted, list_control, expect_nothing, end_mount,
	 NULL},
	{"points.ndjson", mounted, show_points_again, expect_points, end_mount, NULL},
	{"import", mounted, import_lines, expect_imported, end_mount, NULL},
	{"sync and compact", mounted, act, expect_nothing, end_mount, NULL},
	{"beginning and end", unmounted, begin_and_end, expect_nothing, end_unmounted, NULL},
};

static const struct scenario checks[] = {
	{"json=check", mounted_with_check, check_json, expect_checked, end_mount, NULL},
};

/* Proves: a request for which there is no memory, or whose thread can't be started, is replied to
 * once, with that error; a document is what it was or what it was to be; nothing stays referenced
 * or allocated; and the same request works when there is memory again. */
static void requests_outlive_a_lack_of_memory(void **state)
{
	const struct fault fault = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try_all(requests, pfs_array_len(requests), &fault, 1);
	scenario_try_all(checks, pfs_array_len(checks), &fault, 1);
}

/* Proves: a command line for which there is no memory is refused for that reason. */
static void beginnings_outlive_a_lack_of_memory(void **state)
{
	const struct fault fault = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try_all(beginnings, pfs_array_len(beginnings), &fault, 1);
}

/* Proves: the same of threads. */
static void requests_outlive_a_lack_of_threads(void **state)
{
	static const char *const with_threads[] = {"points.ndjson", "import", "sync and compact",
						   "beginning and end"};
	const struct fault fault = {.kind = FAULT_THREAD, .err = -EAGAIN};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(requests); i++)
		for (size_t k = 0; k < pfs_array_len(with_threads); k++)
			if (strcmp(requests[i].name, with_threads[k]) == 0)
				scenario_try(&requests[i], &fault, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_outlive_a_lack_of_memory),
		cmocka_unit_test(requests_outlive_a_lack_of_threads),
		cmocka_unit_test(beginnings_outlive_a_lack_of_memory),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("requests under faults", tests, NULL, NULL);
}
