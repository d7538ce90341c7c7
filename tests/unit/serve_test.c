/* The daemon's side of the control socket: requests, hostile peers, limits, the order of hook and
 * reply, and its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <sys/wait.h>

/* The daemon's and the tools' objects are not in the library. */
#include "fs/serve.c"
#include "fs/serve_answer.c"
#include "fs/serve_conn.c"
#include "fs/serve_export.c"
#include "fs/serve_session.c"
#define receive_bytes client_receive_bytes
#include "tools/client.c"
#include "tests/unit/dir_helpers.h"
#undef receive_bytes

#define HURRY_MS 5000 /* a stop that takes longer is not prompt */

struct fixture {
	char dir[64];
	int dirfd;
	struct pfs_store *store;
	struct pfs_serve *serve;
	atomic_uint changes;
	struct pfs_serve_change last;
	int unmount_result;
};

/* The hook: takes its time, so that a reply that does not wait for it is caught. */
static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct fixture *f = arg;

	usleep(2000);
	if (count == 0 || count > PFS_SERVE_CHANGES_MAX)
		abort();
	f->last = changes[count - 1];
	for (size_t i = 0; i < count; i++) {
		if (changes[i].replaced)
			pfs_release(f->store, changes[i].replaced);
	}
	atomic_fetch_add(&f->changes, count);
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	struct fixture *f = arg;

	if (f->unmount_result)
		snprintf(reason->text, sizeof(reason->text), "files are in use");
	return f->unmount_result;
}

static struct pfs_serve_options options_of(struct fixture *f)
{
	struct pfs_serve_options options = {
		.store = f->store,
		.store_dirfd = f->dirfd,
		.mountpoint = "/mnt/p",
		.hooks = {.changed = on_changed, .unmount = on_unmount, .arg = f},
	};

	return options;
}

static int setup(void **state)
{
	const struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN};
	const struct pfs_open_options open_options = {.hold_objects = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_serve_options options;
	struct pfs_reason reason;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/payloadfs-serve.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &open_options, &reason), 0);
	f->dirfd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	options = options_of(f);
	assert_int_equal(pfs_serve_start(&f->serve, &options), 0);
	*state = f;
	return 0;
}

static void stop_promptly(struct fixture *f)
{
	int64_t start = pfs_now_monotonic_ms();

	pfs_serve_stop(f->serve);
	assert_true(pfs_now_monotonic_ms() - start < HURRY_MS);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->serve) {
		stop_promptly(f);
		assert_int_equal(faccessat(f->dirfd, PFS_SERVE_SOCKET, F_OK, 0), -1);
	}
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

/* Proves: the daemon still serves. */
static void is_alive_and_well(struct fixture *f)
{
	struct client c;

	connect_to(f, &c);
	pfs_wire_begin(&c.out, PFS_WIRE_SYNC, 0);
	assert_int_equal(client_request(&c, NULL, NULL), 0);
	client_close(&c);
}

static int put_small(struct client *c, uint64_t id, const void *data, size_t len)
{
	struct pfs_key key = pfs_key_num(id);

	pfs_wire_begin(&c->out, PFS_WIRE_PUT_BEGIN, 0);
	assert_int_equal(client_send(c), 0);
	pfs_wire_begin(&c->out, PFS_WIRE_PUT_DATA, 0);
	pfs_wire_raw(&c->out, data, len);
	assert_int_equal(client_send(c), 0);
	pfs_wire_begin(&c->out, PFS_WIRE_PUT_END, 0);
	pfs_wire_key(&c->out, &key);
	return client_request(c, NULL, NULL);
}

static void expect_document(struct fixture *f, uint64_t id, const void *want, size_t want_len)
{
	struct pfs_key key = pfs_key_num(id);
	void *data;
	size_t len;

	assert_int_equal(pfs_get(f->store, &key, &data, &len, NULL), 0);
	assert_int_equal(len, want_len);
	assert_memory_equal(data, want, len);
	free(data);
}

/* Proves: the daemon tells who it is, and a document that is put or removed is changed, and told to
 * the hook, before the reply comes. */
static void changes_are_told_before_the_reply(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = pfs_key_num(7);
	struct client c;

	connect_to(f, &c);
	assert_int_equal(c.pid, getpid());
	assert_string_equal(c.mountpoint, "/mnt/p");
	assert_false(c.read_only);
	assert_int_equal(put_small(&c, 7, "one", 3), 0);
	assert_int_equal(atomic_load(&f->changes), 1);
	assert_int_equal(f->last.replaced, 0);
	assert_true(pfs_key_equal(&f->last.key, &key));
	expect_document(f, 7, "one", 3);
	assert_int_equal(put_small(&c, 7, "two", 3), 0);
	assert_int_equal(atomic_load(&f->changes), 2);
	assert_true(f->last.replaced >= PFS_OBJECT_FIRST);
	expect_document(f, 7, "two", 3);

	pfs_wire_begin(&c.out, PFS_WIRE_REMOVE, 0);
	pfs_wire_key(&c.out, &key);
	pfs_wire_key(&c.out, &key);
	assert_int_equal(client_request(&c, NULL, NULL), 0);
	assert_int_equal(atomic_load(&f->changes), 3);
	assert_true(f->last.replaced >= PFS_OBJECT_FIRST);
	assert_int_equal(pfs_wire_get_u32(&c.in), 2);
	assert_int_equal(pfs_wire_get_status(&c.in), 0);
	assert_int_equal(pfs_wire_get_status(&c.in), -ENOENT);
	assert_int_equal(client_done(&c), 0);
	assert_int_equal(pfs_lookup(f->store, &key, &(uint32_t){0}, NULL), -ENOENT);
	client_close(&c);
}

/* Proves: a batch of more documents than one call of the hook takes is stored whole and told whole,
 * and a batch with a broken end has told what it stored. */
static void batches_are_stored_and_told(void **state)
{
	struct fixture *f = *state;
	const uint32_t count = 2 * PFS_SERVE_CHANGES_MAX + 3;
	struct client c;

	connect_to(f, &c);
	pfs_wire_begin(&c.out, PFS_WIRE_IMPORT, 0);
	for (uint32_t i = 0; i < count; i++) {
		struct pfs_key key = pfs_key_num(i);

		pfs_wire_key(&c.out, &key);
		pfs_wire_bytes(&c.out, &i, sizeof(i));
	}
	assert_int_equal(client_request(&c, NULL, NULL), 0);
	assert_int_equal(pfs_wire_get_u32(&c.in), count);
	assert_int_equal(pfs_wire_get_u32(&c.in), 0);
	assert_int_equal(client_done(&c), 0);
	assert_int_equal(atomic_load(&f->changes), count);
	for (uint32_t i = 0; i < count; i += 37)
		expect_document(f, i, &i, sizeof(i));

	pfs_wire_begin(&c.out, PFS_WIRE_IMPORT, 0);
	struct pfs_key key = pfs_key_num(9999);
	pfs_wire_key(&c.out, &key);
	pfs_wire_bytes(&c.out, "x", 1);
	pfs_wire_key(&c.out, &key);
	pfs_wire_u32(&c.out, 1000); /* bytes that are not there */
	assert_int_equal(client_request(&c, NULL, NULL), -ECONNRESET);
	assert_int_equal(atomic_load(&f->changes), count + 1);
	client_close(&c);
	is_alive_and_well(f);
}

/* Sends bytes and returns what the daemon does next: 0 an answer, -ECONNRESET it hangs up. */
static int poke(struct fixture *f, const void *bytes, size_t len)
{
	struct client c;
	int err;

	connect_to(f, &c);
	(void)!send(c.fd, bytes, len, MSG_NOSIGNAL);
	shutdown(c.fd, SHUT_WR);
	err = client_receive(&c, HURRY_MS);
	client_close(&c);
	return err;
}

/* Proves: bytes that are no message, lengths over the limit, messages that end in the middle, rows
 * out of order, and a foreign version cost the peer its connection, or are answered with an error,
 * and nothing else happens. */
static void broken_messages_end_the_connection_only(void **state)
{
	struct fixture *f = *state;
	struct pfs_wire_out out = {0};
	uint8_t header[PFS_WIRE_HEADER_LEN];
	static const struct {
		enum pfs_wire_type type;
		const char *body;
		size_t len;
	} bad[] = {
		{PFS_WIRE_HELLO, "x", 1},	 {PFS_WIRE_GET, "", 0},
		{PFS_WIRE_GET, "\x09", 1},	 {PFS_WIRE_PUT_DATA, "x", 1},
		{PFS_WIRE_PUT_END, "", 0},	 {PFS_WIRE_PUT_ABORT, "", 0},
		{PFS_WIRE_PUT_BEGIN, "x", 1},	 {PFS_WIRE_REMOVE, "\x01", 1},
		{PFS_WIRE_LIST, "", 0},		 {PFS_WIRE_EXPORT, "x", 1},
		{PFS_WIRE_STAT, "x", 1},	 {PFS_WIRE_PLACE, "\x03", 1},
		{PFS_WIRE_EXPORT_KEYS, "z", 1},	 {PFS_WIRE_CHECK, "x", 1},
		{PFS_WIRE_SYNC, "x", 1},	 {PFS_WIRE_UNMOUNT, "\xff\xff\xff\xff", 4},
		{PFS_WIRE_IMPORT, "\x01", 1},	 {PFS_WIRE_SNAPSHOT, "x", 1},
		{PFS_WIRE_SNAPSHOT_END, "x", 1}, {PFS_WIRE_COPY, "x", 1},
		{PFS_WIRE_PAGES, "x", 1},
	};

	assert_int_equal(poke(f, "GET / HTTP/1.1\r\n\r\n", 18), -ECONNRESET);
	assert_int_equal(poke(f, "", 0), -ECONNRESET);
	for (size_t i = 0; i < pfs_array_len(bad); i++) {
		pfs_wire_begin(&out, bad[i].type, 0);
		pfs_wire_raw(&out, bad[i].body, bad[i].len);
		assert_int_equal(pfs_wire_end(&out), 0);
		assert_int_equal(poke(f, out.buf, out.len), -ECONNRESET);
	}
	pfs_wire_begin(&out, PFS_WIRE_SYNC, 0);
	assert_int_equal(pfs_wire_end(&out), 0);
	assert_int_equal(poke(f, out.buf, out.len), 0);
	assert_int_equal(poke(f, out.buf, out.len - 1), -ECONNRESET);
	memcpy(header, out.buf, sizeof(header));
	pfs_put_le32(header + 8, PFS_WIRE_BODY_MAX + 1);
	assert_int_equal(poke(f, header, sizeof(header)), -ECONNRESET);
	pfs_put_le32(header + 8, PFS_WIRE_BODY_MAX);
	assert_int_equal(poke(f, header, sizeof(header)), -ECONNRESET);
	pfs_put_le32(header + 8, 0);
	pfs_put_le16(header + 4, PFS_WIRE_VERSION + 1);
	assert_int_equal(poke(f, header, sizeof(header)), 0);
	pfs_put_le16(header + 4, PFS_WIRE_VERSION);
	pfs_put_le16(header + 6, 999);
	assert_int_equal(poke(f, header, sizeof(header)), 0);
	pfs_wire_out_free(&out);
	assert_int_equal(atomic_load(&f->changes), 0);
	is_alive_and_well(f);
}

/* Proves: whatever bodies a peer makes up for whatever requests, the daemon neither crashes nor
 * stops serving. */
static void random_requests_do_no_harm(void **state)
{
	struct fixture *f = *state;
	uint64_t random = 42;

	for (unsigned i = 0; i < 1500; i++) {
		struct pfs_wire_out out = {0};
		uint8_t body[64];

		for (size_t k = 0; k < sizeof(body); k++) {
			random = pfs_mix64(random + 1);
			/* Small numbers are likely: they are lengths and kinds. */
			body[k] = (uint8_t)(random & 0x100 ? random & 7 : random);
		}
		random = pfs_mix64(random + 1);
		unsigned type = 1 + (unsigned)(random % PFS_WIRE_PAGES);
		if (type == PFS_WIRE_UNMOUNT)
			continue;
		pfs_wire_begin(&out, (enum pfs_wire_type)type, 0);
		pfs_wire_raw(&out, body, random >> 32 & 63);
		assert_int_equal(pfs_wire_end(&out), 0);
		poke(f, out.buf, out.len);
		pfs_wire_out_free(&out);
	}
	is_alive_and_well(f);
}

/* Proves: the document that a row of pieces makes is whole; an aborted or abandoned row leaves the
 * old one. */
static void large_puts_are_whole_or_nothing(void **state)
{
	struct fixture *f = *state;
	const size_t len = 3 * PFS_WIRE_PIECE_MAX + 5;
	uint8_t *data = malloc(len);
	struct pfs_key key = pfs_key_num(1);
	struct client c;

	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)pfs_mix64(i);
	connect_to(f, &c);
	for (int round = 0; round < 3; round++) {
		pfs_wire_begin(&c.out, PFS_WIRE_PUT_BEGIN, 0);
		assert_int_equal(client_send(&c), 0);
		for (size_t off = 0; off < len;) {
			size_t n = pfs_min_u64(len - off, PFS_WIRE_PIECE_MAX);

			pfs_wire_begin(&c.out, PFS_WIRE_PUT_DATA, 0);
			pfs_wire_raw(&c.out, data + off, n);
			assert_int_equal(client_send(&c), 0);
			off += n;
		}
		if (round == 0) {
			pfs_wire_begin(&c.out, PFS_WIRE_PUT_END, 0);
			pfs_wire_key(&c.out, &key);
			assert_int_equal(client_request(&c, NULL, NULL), 0);
			expect_document(f, 1, data, len);
			assert_int_equal(put_small(&c, 1, "small", 5), 0);
		} else if (round == 1) {
			pfs_wire_begin(&c.out, PFS_WIRE_PUT_ABORT, 0);
			assert_int_equal(client_request(&c, NULL, NULL), 0);
		} else {
			client_close(&c);
		}
	}
	is_alive_and_well(f);
	expect_document(f, 1, "small", 5);
	free(data);
}

/* Proves: a client more than PFS_SERVE_CONNECTIONS is told so, and one that leaves makes room. */
static void connections_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct client clients[PFS_SERVE_CONNECTIONS], extra;
	int err = -EBUSY;

	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++)
		connect_to(f, &clients[i]);
	assert_int_equal(client_connect(&extra, f->dirfd), -EBUSY);
	assert_string_equal(extra.reason.text, "too many clients are connected: try again");
	client_close(&clients[3]);
	for (int64_t end = pfs_now_monotonic_ms() + HURRY_MS; err && pfs_now_monotonic_ms() < end;)
		err = client_connect(&extra, f->dirfd);
	assert_int_equal(err, 0);
	client_close(&extra);
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++)
		client_close(&clients[i]);
}

/* Proves: stop does not wait for clients that are idle, in the middle of a message, or take no
 * answer. */
static void stop_is_prompt(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = calloc(1, PFS_WIRE_PIECE_MAX);
	struct client idle, halfway, deaf;

	assert_non_null(data);
	connect_to(f, &idle);
	for (uint64_t id = 0; id < 8; id++)
		assert_int_equal(put_small(&idle, id, data, PFS_WIRE_PIECE_MAX), 0);
	free(data);
	connect_to(f, &halfway);
	assert_int_equal(send(halfway.fd, "PFSW\1\0", 6, 0), 6);
	connect_to(f, &deaf);
	pfs_wire_begin(&deaf.out, PFS_WIRE_EXPORT, 0);
	assert_int_equal(client_send(&deaf), 0);
	assert_int_equal(client_receive(&deaf, HURRY_MS), 0); /* it is under way */
	stop_promptly(f);
	pfs_serve_finish(f->serve, 0);
	f->serve = NULL;
	assert_int_equal(client_receive(&idle, HURRY_MS), -ECONNRESET);
	client_close(&halfway);
	assert_int_equal(client_connect(&halfway, f->dirfd), -ENOENT);
	client_close(&idle);
	client_close(&deaf);
}

static void request_check(struct fixture *f, struct client *c)
{
	connect_to(f, c);
	pfs_wire_begin(&c->out, PFS_WIRE_CHECK, 0);
	assert_int_equal(client_send(c), 0);
	assert_int_equal(client_receive(c, HURRY_MS), 0); /* it is under way */
}

static uint64_t blocks_decoded(struct fixture *f)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(f->store, &stat), 0);
	return stat.blocks_decoded;
}

/* Proves: a check ends soon after its client has gone, and after the stop has come. */
static void checks_end_with_their_clients(void **state)
{
	enum { COUNT = 600, LEN = 70000, BLOCKS = 2 };
	struct fixture *f = *state;
	char *text = malloc(LEN);
	struct pfs_conn conn = {.fd = -1, .stop_fd = -1};
	struct pfs_wire_in in = {0};
	struct client whole;
	int pair[2], stop[2];
	uint64_t before;

	for (size_t i = 0; i < LEN; i++)
		text[i] = (char)('a' + i * i % 23 % 7);
	for (uint64_t id = 0; id < COUNT; id++) {
		struct pfs_key key = pfs_key_num(id);

		assert_int_equal(pfs_put(f->store, &key, text, LEN, NULL, 0, NULL), 0);
	}
	free(text);
	assert_int_equal(pfs_store_checkpoint(f->store), 0);

	/* The client is gone before it begins. */
	before = blocks_decoded(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	close(pair[1]);
	conn.fd = pair[0];
	assert_int_equal(pfs_answer_check(&conn, f->store, &in), -ECONNRESET);
	assert_int_equal(blocks_decoded(f), before);
	pfs_conn_close(&conn);

	/* The stop has come, and the client is told. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(pipe(stop), 0);
	close(stop[1]);
	conn.fd = pair[0];
	conn.stop_fd = stop[0];
	assert_int_equal(pfs_answer_check(&conn, f->store, &in), 0);
	assert_int_equal(blocks_decoded(f), before);
	pfs_conn_close(&conn);
	close(pair[1]);
	close(stop[0]);

	/* The whole of it is more than that. */
	request_check(f, &whole);
	while (whole.header.type == PFS_WIRE_PROGRESS)
		assert_int_equal(client_receive(&whole, HURRY_MS), 0);
	assert_int_equal(whole.header.type, PFS_WIRE_REPLY);
	client_close(&whole);
	assert_true(blocks_decoded(f) - before >= COUNT * BLOCKS);
}

/* Proves: a mount that is in use is reported with its reason; after an unmount the client hears how
 * closing went, and its connection outlives the server; another mount point than the daemon's is
 * refused. */
static void unmount_is_answered_to_the_end(void **state)
{
	struct fixture *f = *state;
	struct client c, other;

	connect_to(f, &c);
	f->unmount_result = -EBUSY;
	pfs_wire_begin(&c.out, PFS_WIRE_UNMOUNT, 0);
	pfs_wire_text(&c.out, "");
	assert_int_equal(client_request(&c, NULL, NULL), -EBUSY);
	assert_string_equal(c.reason.text, "files are in use");
	f->unmount_result = 0;
	pfs_wire_begin(&c.out, PFS_WIRE_UNMOUNT, 0);
	pfs_wire_text(&c.out, "/elsewhere");
	assert_int_equal(client_request(&c, NULL, NULL), -ENXIO);
	connect_to(f, &other);
	pfs_wire_begin(&c.out, PFS_WIRE_UNMOUNT, 0);
	pfs_wire_text(&c.out, "/mnt/p");
	assert_int_equal(client_request(&c, NULL, NULL), 0);
	stop_promptly(f);
	assert_int_equal(client_receive(&other, HURRY_MS), -ECONNRESET);
	assert_int_equal(client_receive(&c, 50), -ETIMEDOUT);
	pfs_serve_finish(f->serve, -EIO);
	f->serve = NULL;
	assert_int_equal(client_receive(&c, HURRY_MS), 0);
	assert_int_equal(c.header.type, PFS_WIRE_CLOSED);
	assert_int_equal(c.header.status, -EIO);
	assert_int_equal(client_receive(&c, 50), -ETIMEDOUT); /* open until the process ends */
	client_close(&other);
	client_close(&c);
}

/* Proves: the socket is for its owner alone; a stale one is replaced; a reader leaves one that is
 * alive to its owner. */
static void the_socket_is_private_and_stale_ones_are_replaced(void **state)
{
	struct fixture *f = *state;
	struct pfs_serve_options options = options_of(f);
	struct pfs_serve *second;
	struct stat st;

	assert_int_equal(fstatat(f->dirfd, PFS_SERVE_SOCKET, &st, 0), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	options.read_only = true;
	assert_int_equal(pfs_serve_start(&second, &options), -EADDRINUSE);
	assert_null(second);
	is_alive_and_well(f);

	/* A daemon that was killed leaves its socket. */
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct sockaddr_un address;
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		unlinkat(f->dirfd, PFS_SERVE_SOCKET, 0);
		socket_address(&address, f->dirfd);
		_exit(bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1));
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(client_connect(&(struct client){0}, f->dirfd), -ECONNREFUSED);
	assert_int_equal(pfs_serve_start(&second, &options), 0);
	is_alive_and_well(f);
	pfs_serve_stop(second);
	pfs_serve_finish(second, 0);
}

/* Proves: another user is refused, even when the file's mode would let it in. */
static void other_users_are_refused(void **state)
{
	struct fixture *f = *state;
	int status;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(fchmodat(f->dirfd, PFS_SERVE_SOCKET, 0666, 0), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct client c;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(client_connect(&c, f->dirfd) == -EPERM && strstr(c.reason.text, "only root")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	is_alive_and_well(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_are_told_before_the_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(batches_are_stored_and_told, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_messages_end_the_connection_only, setup,
						teardown),
		cmocka_unit_test_setup_teardown(random_requests_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(large_puts_are_whole_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_is_prompt, setup, teardown),
		cmocka_unit_test_setup_teardown(checks_end_with_their_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(unmount_is_answered_to_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(the_socket_is_private_and_stale_ones_are_replaced,
						setup, teardown),
		cmocka_unit_test_setup_teardown(other_users_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
