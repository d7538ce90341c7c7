/* The daemon's own memory: each allocation of the control socket's server, of the store under it,
 * and of the table of inodes fails. FAULT_AT=N tries the Nth alone. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fault/inject.h"
#include "tests/unit/store_helpers.h"

/* The daemon's and the tools' objects are not in the library. */
#include "fs/inode.c"
#include "fs/releaser.c"
#include "fs/serve.c"
#include "fs/serve_answer.c"
#include "fs/serve_conn.c"
#include "fs/serve_export.c"
#include "fs/serve_session.c"
#define receive_bytes client_receive_bytes
#include "tools/client.c"
#undef receive_bytes

#define LARGE 200000
#define RUNS_MAX 4000

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (changes[i].replaced)
			pfs_release(arg, changes[i].replaced);
	}
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	(void)arg;
	(void)reason;
	return -EBUSY;
}

struct served {
	char dir[64];
	int dirfd;
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_serve *serve;
	struct fault fault;
	unsigned refused, lost; /* requests; connections */
};

static void begin(struct served *s, uint64_t at, bool from_then_on)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct pfs_reason reason;

	*s = (struct served){
		.sim = pfs_sim_new(),
		.fault = {.kind = FAULT_MEMORY, .at = at, .from_then_on = from_then_on}};
	create_store(s->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(s->sim);
	strcpy(s->dir, "/tmp/payloadfs-fault.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->dirfd = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->dirfd >= 0);
	assert_int_equal(pfs_store_open(&s->store, STORE, &options, &reason), 0);
	fault_begin(&s->fault);
}

static int start(struct served *s)
{
	struct pfs_serve_options options = {
		.store = s->store,
		.store_dirfd = s->dirfd,
		.mountpoint = "/mnt/p",
		.hooks = {.changed = on_changed, .unmount = on_unmount, .arg = s->store},
		.logger = quiet,
	};
	int err;

	fault_arm();
	err = pfs_serve_start(&s->serve, &options);
	fault_disarm();
	return err;
}

static void end(struct served *s)
{
	fault_arm();
	pfs_serve_stop(s->serve);
	fault_disarm();
	assert_int_equal(pfs_store_close(s->store), 0);
	pfs_serve_finish(s->serve, 0);
	expect_healthy(s->sim);
	if (fault_live_blocks(true))
		fail_msg("allocation %llu: blocks are lost", (unsigned long long)s->fault.at);
	fault_begin(NULL);
	pfs_sim_free(s->sim);
	close(s->dirfd);
	assert_int_equal(rmdir(s->dir), 0);
}

/* ---- requests: 0, what the server answered, or -ECONNRESET ---- */

static int take_part(void *arg, struct client *c)
{
	(void)arg;
	(void)c;
	return 0;
}

static int request(struct client *c)
{
	int err;

	fault_arm();
	err = client_request(c, take_part, NULL);
	fault_disarm();
	return err;
}

static int connect_to(struct served *s, struct client *c)
{
	int err;

	fault_arm();
	err = client_connect(c, s->dirfd);
	fault_disarm();
	return err;
}

static void note(struct served *s, struct client *c, int err, const char *what)
{
	if (!err)
		return;
	if (!s->fault.met)
		fail_msg("%s: error %d without a fault", what, err);
	/* A connection for which there is no memory ends; all else is said to be that. */
	if (err == -ENOMEM) {
		s->refused++;
		return;
	}
	if (err != -ECONNRESET && err != -EPROTO && err != -EPIPE)
		fail_msg("%s: error %d", what, err);
	s->lost++;
	client_close(c);
	s->fault.over = true;
	assert_int_equal(connect_to(s, c), 0);
	s->fault.over = false;
}

static int put(struct served *s, struct client *c, uint64_t id, size_t len, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = malloc(len);
	int err;

	fill_document(bytes, len, seed);
	fault_arm();
	pfs_wire_begin(&c->out, PFS_WIRE_PUT_BEGIN, 0);
	err = client_send(c);
	if (!err) {
		pfs_wire_begin(&c->out, PFS_WIRE_PUT_DATA, 0);
		pfs_wire_raw(&c->out, bytes, len);
		err = client_send(c);
	}
	if (!err) {
		pfs_wire_begin(&c->out, PFS_WIRE_PUT_END, 0);
		pfs_wire_key(&c->out, &key);
		err = client_request(c, take_part, NULL);
	}
	fault_disarm();
	free(bytes);
	note(s, c, err, "put");
	return err;
}

static void simple(struct served *s, struct client *c, enum pfs_wire_type type, const char *what)
{
	struct pfs_key key = pfs_key_num(1);

	pfs_wire_begin(&c->out, type, 0);
	if (type == PFS_WIRE_LIST)
		pfs_wire_u8(&c->out, PFS_WIRE_POINTS | PFS_WIRE_SCRATCH);
	if (type == PFS_WIRE_PLACE || type == PFS_WIRE_EXPORT_KEYS)
		pfs_wire_key(&c->out, &key);
	note(s, c, request(c), what);
}

/* The document is what the last acknowledged put made of it, or what an unanswered one did. */
static void expect(struct served *s, uint64_t id, size_t len, uint64_t seed, uint64_t maybe)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = malloc(len);
	void *got;
	size_t got_len;
	int err = pfs_get(s->store, &key, &got, &got_len, NULL);
	bool found = err == -ENOENT && !seed;

	for (unsigned i = 0; i < 2 && !err; i++) {
		fill_document(bytes, len, i ? maybe : seed);
		found = found || (got_len == len && memcmp(got, bytes, len) == 0);
	}
	if (!found)
		fail_msg("allocation %llu: document %llu: %d, not what was put",
			 (unsigned long long)s->fault.at, (unsigned long long)id, err);
	free(got);
	free(bytes);
}

static bool serve_run(uint64_t at, bool from_then_on, unsigned *refused, unsigned *lost)
{
	struct served s;
	struct client c = {0};
	uint64_t seed = 0, maybe = 0;
	int err;

	begin(&s, at, from_then_on);
	err = start(&s);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		s.fault.over = true;
		assert_int_equal(start(&s), 0);
	}
	/* The thread of the test asks; only the server's go without memory. */
	fault_exempt(true);
	note(&s, &c, connect_to(&s, &c), "connect");
	if (c.fd <= 0) {
		s.fault.over = true;
		assert_int_equal(connect_to(&s, &c), 0);
	}
	for (uint64_t i = 1; i <= 3; i++) {
		err = put(&s, &c, 1, LARGE, i);
		seed = err ? seed : i;
		maybe = err ? i : maybe;
		simple(&s, &c, PFS_WIRE_EXPORT, "export");
	}
	simple(&s, &c, PFS_WIRE_LIST, "list");
	simple(&s, &c, PFS_WIRE_EXPORT_KEYS, "export of keys");
	simple(&s, &c, PFS_WIRE_STAT, "stat");
	if (seed)
		simple(&s, &c, PFS_WIRE_PLACE, "place");
	simple(&s, &c, PFS_WIRE_CHECK, "check");
	simple(&s, &c, PFS_WIRE_SYNC, "sync");
	s.fault.over = true;
	expect(&s, 1, LARGE, seed, maybe);
	assert_int_equal(put(&s, &c, 2, 100, 9), 0);
	client_close(&c);
	fault_exempt(false);
	expect(&s, 2, 100, 9, 9);
	*refused += s.refused;
	*lost += s.lost;
	end(&s);
	return s.fault.met;
}

/* Proves: a request for which the daemon has no memory is answered with that error, or its
 * connection ends; the document is what was acknowledged, the daemon goes on serving, and no memory
 * is lost. */
static void the_server_outlives_a_lack_of_memory(void **state)
{
	const char *only = getenv("FAULT_AT");
	unsigned refused = 0, lost = 0, runs = 0;

	(void)state;
	for (unsigned mode = 0; mode < 2; mode++) {
		uint64_t at = only ? strtoull(only, NULL, 0) : 1;

		while (serve_run(at++, mode, &refused, &lost) && !only)
			assert_true(++runs < RUNS_MAX);
	}
	print_message("server: %u allocations failed, %u requests refused, %u connections lost\n",
		      runs, refused, lost);
}

/* ---- inodes ---- */

static bool inode_run(uint64_t at, bool from_then_on)
{
	struct served s;
	struct pfs_inodes *inodes;
	struct pfs_inodes_stat stat;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint64_t nodeid, again;
	int err;

	begin(&s, at, from_then_on);
	put_document(s.store, &key, 300, 3);
	fault_arm();
	err = pfs_inodes_new(&inodes, s.store);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		s.fault.over = true;
		assert_int_equal(pfs_inodes_new(&inodes, s.store), 0);
	}
	err = pfs_inode_find(inodes, &key, &nodeid, &attr);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(nodeid, 0);
		pfs_inodes_stat(inodes, &stat);
		assert_int_equal(stat.referenced, 0);
		s.fault.over = true;
		assert_int_equal(pfs_inode_find(inodes, &key, &nodeid, &attr), 0);
	}
	assert_int_equal(attr.size, 300);
	/* An inode that can't be given up for lack of memory stays known, or is not: never
	 * another's. */
	pfs_inode_renew(inodes, pfs_inode_object(nodeid));
	err = pfs_inode_find(inodes, &key, &again, &attr);
	if (!err)
		pfs_inode_forget(inodes, again, 1);
	pfs_inode_forget(inodes, nodeid, 1);
	pfs_inodes_stat(inodes, &stat);
	assert_int_equal(stat.referenced, 0);
	pfs_inodes_free(inodes);
	fault_disarm();
	s.fault.over = true;
	assert_int_equal(pfs_store_close(s.store), 0);
	assert_int_equal(fault_live_blocks(true), 0);
	fault_begin(NULL);
	pfs_sim_free(s.sim);
	close(s.dirfd);
	assert_int_equal(rmdir(s.dir), 0);
	return s.fault.met;
}

/* Proves: a lookup for which there is no memory gives that error and references nothing; the next
 * one works. */
static void inodes_outlive_a_lack_of_memory(void **state)
{
	(void)state;
	for (unsigned mode = 0; mode < 2; mode++) {
		for (uint64_t at = 1; inode_run(at, mode); at++)
			assert_true(at < RUNS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_server_outlives_a_lack_of_memory),
		cmocka_unit_test(inodes_outlive_a_lack_of_memory),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
