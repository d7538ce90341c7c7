/* Snapshots that clients of the control socket hold: what they read from them, and how they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/serve_conn.h"
#include "storage/store.h"

/* How long the daemon waits for a request of a connection without a snapshot. */
static int idle_ms = PFS_CONN_IDLE_MS;
#undef PFS_CONN_IDLE_MS
#define PFS_CONN_IDLE_MS __atomic_load_n(&idle_ms, __ATOMIC_SEQ_CST)

/* What opening a snapshot is to return, if it is not to be tried; taken once. */
static int snapshot_err;

static int snapshot_open(struct pfs_store *store, struct pfs_snapshot **out)
{
	int err = __atomic_exchange_n(&snapshot_err, 0, __ATOMIC_SEQ_CST);

	*out = NULL;
	return err ? err : pfs_snapshot_open(store, out);
}

/* The daemon's and the tools' objects are not in the library. */
#include "fs/serve.c"
#include "fs/serve_answer.c"
#include "fs/serve_conn.c"
#include "fs/serve_export.c"
#define pfs_snapshot_open snapshot_open
#include "fs/serve_session.c"
#undef pfs_snapshot_open
#define receive_bytes client_receive_bytes
#include "tools/client.c"
#undef receive_bytes
#include "tools/target_remote.c"
#include "tools/target_remote_read.c"
#include "tools/target_remote_write.c"
#include "tests/unit/dir_helpers.h"

#define HURRY_MS 10000
#define LARGE (2 * PFS_WIRE_PIECE_MAX + 7) /* bytes of the last document */
#define COUNT 5000 /* of points, the last one large; besides there is a scratch file */

struct fixture {
	char dir[64];
	int dirfd;
	struct pfs_store *store;
	struct pfs_serve *serve;
};

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	(void)arg;
	(void)changes;
	(void)count;
}

static struct pfs_attr attr_of(uint64_t id)
{
	return (struct pfs_attr){.mode = id % 3 ? 0644 : 0600,
				 .uid = (uint32_t)(id % 7),
				 .gid = 5,
				 .mtime_ns = (int64_t)id * 1000003 - 77};
}

/* Round 0 is before any snapshot. */
static void put_all(struct fixture *f, unsigned round)
{
	uint8_t *large = malloc(LARGE);
	struct pfs_key key;

	assert_non_null(large);
	memset(large, 'a' + (int)round, LARGE);
	for (uint64_t id = 1; id <= COUNT; id++) {
		uint64_t value = id * 10 + round;
		struct pfs_attr attr = attr_of(id + round);

		key = pfs_key_num(id);
		assert_int_equal(pfs_put(f->store, &key, id == COUNT ? (void *)large : &value,
					 id == COUNT ? LARGE : sizeof(value), &attr, 0, NULL),
				 0);
	}
	assert_int_equal(pfs_key_parse(&key, "note~", 5), 0);
	assert_int_equal(pfs_put(f->store, &key, &round, sizeof(round), NULL, 0, NULL), 0);
	free(large);
}

static int setup(void **state)
{
	const struct pfs_create_options create = {.page_size = 16 * PFS_PAGE_SIZE_MIN};
	const struct pfs_open_options open_options = {0};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_serve_options options = {.mountpoint = "/mnt/p",
					    .hooks = {.changed = on_changed}};
	struct pfs_reason reason;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/payloadfs-serve.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &open_options, &reason), 0);
	f->dirfd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	options.store = f->store;
	options.store_dirfd = f->dirfd;
	assert_int_equal(pfs_serve_start(&f->serve, &options), 0);
	put_all(f, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pfs_serve_stop(f->serve);
	assert_int_equal(pfs_store_close(f->store), 0);
	pfs_serve_finish(f->serve, 0);
	close(f->dirfd);
	remove_dir(f->dir);
	free(f);
	return 0;
}

static void connect_to(struct fixture *f, struct client *c)
{
	assert_int_equal(client_connect(c, f->dirfd), 0);
}

/* A request without a body and without parts. */
static int ask(struct client *c, enum pfs_wire_type type)
{
	pfs_wire_begin(&c->out, type, 0);
	return client_request(c, NULL, NULL);
}

static uint64_t snapshots(struct fixture *f)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(f->store, &stat), 0);
	return stat.snapshots;
}

static void wait_for_none(struct fixture *f)
{
	struct pfs_store_stat stat = {.snapshots = 1};

	for (int64_t end = pfs_now_monotonic_ms() + HURRY_MS;
	     (stat.snapshots || stat.pinned_bytes) && pfs_now_monotonic_ms() < end; usleep(1000))
		assert_int_equal(pfs_store_stat(f->store, &stat), 0);
	assert_int_equal(stat.snapshots, 0);
	assert_int_equal(stat.pinned_bytes, 0);
}

/* What has come of a stream of documents. */
struct seen {
	unsigned round;	 /* that all must be of; -1u: not looked at */
	bool attributes; /* there are some, which must be right */
	uint64_t points, scratch;
	struct pfs_key begun;
	size_t left;
};

static void see(struct seen *seen, const struct pfs_key *key, const struct pfs_attr *attr,
		const void *data, size_t len)
{
	const struct pfs_attr want = attr_of(key->num + seen->round);

	if (key->kind == PFS_KEY_SCRATCH) {
		seen->scratch++;
		assert_memory_equal(data, &seen->round, sizeof(seen->round));
		return;
	}
	seen->points++;
	if (seen->attributes) {
		assert_int_equal(attr->mode, want.mode);
		assert_int_equal(attr->uid, want.uid);
		assert_int_equal(attr->gid, want.gid);
		assert_true(attr->mtime_ns == want.mtime_ns);
	}
	if (key->num != COUNT) {
		const uint64_t value = key->num * 10 + seen->round;

		assert_int_equal(len, sizeof(value));
		assert_memory_equal(data, &value, len);
	}
}

static void take_attr(struct client *c, struct pfs_attr *attr)
{
#define GET(field) attr->field = pfs_wire_get_u64(&c->in);
	PFS_WIRE_ATTR_FIELDS(GET)
#undef GET
}

static int take_part(void *arg, struct client *c)
{
	struct seen *seen = arg;
	struct pfs_attr attr = {0};
	struct pfs_key key;
	const uint8_t *data;
	size_t len;

	switch (c->header.type) {
	case PFS_WIRE_DOCS:
	case PFS_WIRE_COPIES:
		assert_true(seen->attributes == (c->header.type == PFS_WIRE_COPIES));
		while (pfs_wire_more(&c->in)) {
			pfs_wire_get_key(&c->in, &key);
			assert_int_equal(pfs_wire_get_status(&c->in), 0);
			if (seen->attributes)
				take_attr(c, &attr);
			data = pfs_wire_get_bytes(&c->in, &len);
			see(seen, &key, &attr, data, len);
		}
		return 0;
	case PFS_WIRE_DOC_BEGIN:
	case PFS_WIRE_COPY_BEGIN:
		assert_true(seen->attributes == (c->header.type == PFS_WIRE_COPY_BEGIN));
		pfs_wire_get_key(&c->in, &key);
		if (seen->attributes)
			take_attr(c, &attr);
		seen->left = seen->attributes ? attr.size : pfs_wire_get_u64(&c->in);
		assert_int_equal(seen->left, LARGE);
		see(seen, &key, &attr, NULL, LARGE);
		return pfs_wire_done(&c->in);
	case PFS_WIRE_DATA:
		for (size_t i = 0; i < c->header.len; i++)
			assert_int_equal(c->in.p[i], 'a' + (int)seen->round);
		seen->left -= c->header.len;
		return 0;
	case PFS_WIRE_DOC_END: assert_int_equal(seen->left, 0); return 0;
	case PFS_WIRE_KEYS:
		while (pfs_wire_more(&c->in)) {
			pfs_wire_get_key(&c->in, &key);
			seen->points += pfs_key_is_point(&key);
			seen->scratch += !pfs_key_is_point(&key);
		}
		return 0;
	default: return -EPROTO;
	}
}

/* Every kind of request that reads many gives what there was in that round. */
static void expect_round(struct client *c, unsigned round, bool copy)
{
	struct seen names = {0}, all = {.round = round}, some = {.round = round},
		    copies = {.round = round, .attributes = true};
	const uint64_t picked[] = {1, 2, COUNT - 1, COUNT};

	pfs_wire_begin(&c->out, PFS_WIRE_LIST, 0);
	pfs_wire_u8(&c->out, PFS_WIRE_POINTS | PFS_WIRE_SCRATCH);
	assert_int_equal(client_request(c, take_part, &names), 0);
	assert_int_equal(names.points, COUNT);
	assert_int_equal(names.scratch, 1);

	pfs_wire_begin(&c->out, PFS_WIRE_EXPORT, 0);
	assert_int_equal(client_request(c, take_part, &all), 0);
	assert_int_equal(all.points, COUNT);
	assert_int_equal(all.scratch, 0);

	pfs_wire_begin(&c->out, PFS_WIRE_EXPORT_KEYS, 0);
	for (size_t i = 0; i < pfs_array_len(picked); i++) {
		struct pfs_key key = pfs_key_num(picked[i]);

		pfs_wire_key(&c->out, &key);
	}
	assert_int_equal(client_request(c, take_part, &some), 0);
	assert_int_equal(some.points, pfs_array_len(picked));

	if (!copy)
		return;
	pfs_wire_begin(&c->out, PFS_WIRE_COPY, 0);
	assert_int_equal(client_request(c, take_part, &copies), 0);
	assert_int_equal(copies.points, COUNT);
	assert_int_equal(copies.scratch, 1);

	copies = (struct seen){.round = round, .attributes = true};
	pfs_wire_begin(&c->out, PFS_WIRE_COPY_KEYS, 0);
	for (size_t i = 0; i < pfs_array_len(picked); i++) {
		struct pfs_key key = pfs_key_num(picked[i]);

		pfs_wire_key(&c->out, &key);
	}
	assert_int_equal(client_request(c, take_part, &copies), 0);
	assert_int_equal(copies.points, pfs_array_len(picked));
	assert_int_equal(copies.scratch, 0);
}

/* Proves: a connection that has opened a snapshot reads all from it, large documents and attributes
 * too, whatever changes; others, and it again after it was closed, read what is there; a second one
 * takes the first one's place. */
static void a_snapshot_is_what_its_connection_reads(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = pfs_key_num(17);
	struct client c, other;

	connect_to(f, &c);
	connect_to(f, &other);
	assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), 0);
	assert_true(pfs_wire_get_u64(&c.in) > 0);
	assert_int_equal(pfs_wire_get_u64(&c.in), COUNT);
	assert_int_equal(pfs_wire_get_u64(&c.in), 1);
	assert_int_equal(pfs_wire_get_u64(&c.in),
			 (COUNT - 1) * sizeof(uint64_t) + LARGE + sizeof(unsigned));
	(void)pfs_wire_get_u64(&c.in);
	assert_int_equal(client_done(&c), 0);
	assert_int_equal(snapshots(f), 1);
	put_all(f, 1);
	expect_round(&c, 0, true);
	expect_round(&other, 1, false);
	assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), 0);
	assert_int_equal(snapshots(f), 1);
	put_all(f, 2);
	assert_int_equal(pfs_remove(f->store, &key, NULL), 0);
	expect_round(&c, 1, true);
	assert_int_equal(pfs_put(f->store, &key, &(uint64_t){172}, 8, NULL, 0, NULL), 0);
	assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT_END), 0);
	wait_for_none(f);
	expect_round(&c, 2, false);
	assert_int_equal(ask(&c, PFS_WIRE_COPY_KEYS), -EINVAL);
	assert_int_equal(ask(&c, PFS_WIRE_COPY), -EINVAL);
	assert_string_equal(c.reason.text, "no snapshot is open to be copied");
	client_close(&c);
	client_close(&other);
}

/* Proves: however a connection ends (the client goes between two requests, in the middle of an
 * answer, breaks the protocol), its snapshot is closed and what it pinned is free again. */
static void a_snapshot_ends_with_its_connection(void **state)
{
	struct fixture *f = *state;
	struct client c;

	for (int way = 0; way < 3; way++) {
		connect_to(f, &c);
		assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), 0);
		put_all(f, (unsigned)way + 1);
		assert_int_equal(pfs_store_checkpoint(f->store), 0);
		assert_int_equal(snapshots(f), 1);
		if (way == 1) {
			pfs_wire_begin(&c.out, PFS_WIRE_COPY, 0);
			assert_int_equal(client_send(&c), 0);
			assert_int_equal(client_receive(&c, HURRY_MS), 0); /* it is under way */
		} else if (way == 2) {
			(void)!send(c.fd, "rubbish of more than sixteen bytes", 34, MSG_NOSIGNAL);
			assert_int_equal(client_receive(&c, HURRY_MS), -ECONNRESET);
		}
		client_close(&c);
		wait_for_none(f);
	}
}

/* Proves: why a snapshot can't be opened is told, the connection stays, and goes on as before. */
static void an_error_of_opening_is_answered(void **state)
{
	const int errors[] = {-ENOSPC, -ENOMEM, -EROFS, -EIO};
	struct fixture *f = *state;
	struct client c;

	connect_to(f, &c);
	for (size_t i = 0; i < pfs_array_len(errors); i++) {
		__atomic_store_n(&snapshot_err, errors[i], __ATOMIC_SEQ_CST);
		assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), errors[i]);
		assert_true(c.reason.text[0] != '\0');
		assert_int_equal(snapshots(f), 0);
		expect_round(&c, 0, false);
	}
	assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), 0);
	expect_round(&c, 0, true);
	client_close(&c);
}

/* Proves: payloadctl asks again when the store failed while its snapshot was opened, because a
 * failed one gives snapshots; and takes no other error for that. */
static void a_store_that_fails_meanwhile_is_asked_again(void **state)
{
	struct fixture *f = *state;
	struct pfs_snapshot_info info;
	struct client c;
	struct target *t;

	connect_to(f, &c);
	assert_int_equal(target_remote_open(&t, &c, dup(f->dirfd)), 0);
	__atomic_store_n(&snapshot_err, -EROFS, __ATOMIC_SEQ_CST);
	assert_int_equal(t->ops->snapshot(t, &info), 0);
	assert_int_equal(info.points, COUNT);
	assert_string_equal(t->reason.text, "");
	__atomic_store_n(&snapshot_err, -ENOSPC, __ATOMIC_SEQ_CST);
	assert_int_equal(t->ops->snapshot(t, &info), -ENOSPC);
	assert_int_equal(info.points, 0);
	t->ops->close(t);
}

/* Proves: when clients without a snapshot have been idle for too long, one with a snapshot, which
 * was idle for longer, still has its connection, and the same snapshot. */
static void a_snapshot_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct client c, other;
	int before = PFS_CONN_IDLE_MS;

	connect_to(f, &c);
	assert_int_equal(ask(&c, PFS_WIRE_SNAPSHOT), 0);
	__atomic_store_n(&idle_ms, 20, __ATOMIC_SEQ_CST);
	assert_int_equal(ask(&c, PFS_WIRE_SYNC),
			 0); /* its next request is waited for from now on */
	/* It may be thrown out as early as in the greeting. */
	if (client_connect(&other, f->dirfd) == 0) {
		assert_int_equal(client_receive(&other, HURRY_MS), -ECONNRESET);
		client_close(&other);
	}
	put_all(f, 1);
	expect_round(&c, 0, true);
	__atomic_store_n(&idle_ms, before, __ATOMIC_SEQ_CST);
	client_close(&c);
	wait_for_none(f);
}

static int see_document(void *arg, const struct pfs_key *key, int status, const void *data,
			size_t len)
{
	assert_int_equal(status, 0);
	see(arg, key, NULL, data, len);
	return 0;
}

/* Proves: payloadctl, which connects anew after a long pause, does not when it has a snapshot: what
 * follows the pause is of the same moment. */
static void a_pause_keeps_the_snapshot(void **state)
{
	struct fixture *f = *state;
	const struct pfs_key key = pfs_key_num(3);
	struct pfs_snapshot_info info;
	struct seen then = {.round = 0}, now = {.round = 2};
	struct client c;
	struct target *t;

	connect_to(f, &c);
	assert_int_equal(target_remote_open(&t, &c, dup(f->dirfd)), 0);
	assert_int_equal(t->ops->snapshot(t, &info), 0);
	assert_int_equal(info.points, COUNT);
	put_all(f, 1);
	remote_of(t)->client.used_ms -= 2 * RECONNECT_AFTER_MS;
	assert_int_equal(t->ops->export_keys(t, &key, 1, see_document, &then), 0);
	assert_int_equal(then.points, 1);
	assert_int_equal(snapshots(f), 1);
	t->ops->close(t);
	wait_for_none(f);

	/* Without one it is another connection. */
	put_all(f, 2);
	connect_to(f, &c);
	assert_int_equal(target_remote_open(&t, &c, dup(f->dirfd)), 0);
	shutdown(remote_of(t)->client.fd, SHUT_RDWR);
	remote_of(t)->client.used_ms -= 2 * RECONNECT_AFTER_MS;
	assert_int_equal(t->ops->export_keys(t, &key, 1, see_document, &now), 0);
	assert_int_equal(now.points, 1);
	t->ops->close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_snapshot_is_what_its_connection_reads, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_snapshot_ends_with_its_connection, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_error_of_opening_is_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(a_store_that_fails_meanwhile_is_asked_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_snapshot_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pause_keeps_the_snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
