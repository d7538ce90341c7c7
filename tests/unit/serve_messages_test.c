/* The daemon's side of the control socket, message by message: what exactly comes for each request,
 * for which ones the connection ends, and what has happened then. The session runs on a pair of
 * sockets, whose other end is sent all requests and gives all that came. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/serve_conn.h"
#include "storage/version.h"
#include "tests/unit/store_helpers.h"

/* How long the daemon waits; so long as it is, unless a test says otherwise. */
static int idle_ms = PFS_CONN_IDLE_MS, receive_ms = PFS_CONN_RECEIVE_MS;
#undef PFS_CONN_IDLE_MS
#define PFS_CONN_IDLE_MS idle_ms
#undef PFS_CONN_RECEIVE_MS
#define PFS_CONN_RECEIVE_MS receive_ms

#define CALLS_MAX 64

/* What the store is to say, and what it was asked. */
static struct {
	int begin_err, write_err, commit_err, sync_err, train_err, place_err, list_err;
	unsigned writes, aborts;
	int put_errs[CALLS_MAX]; /* of the n-th document that is put of several; 0: none */
	unsigned put_nth;
	size_t put_counts[CALLS_MAX];
	unsigned puts;
	bool force;
	size_t count, lens[CALLS_MAX];
	uint8_t samples[256];
	struct pfs_store_stat stat;
	struct pfs_page_stat *pages;
	size_t page_count;
	struct pfs_check_result check;
	struct pfs_compact_result compact;
	struct pfs_train_result train;
	uint64_t damaged; /* the id of one that can't be read; 0: none */
} fake;

static int begin_as_told(struct pfs_store *store, struct pfs_put **put)
{
	*put = NULL;
	return fake.begin_err ? fake.begin_err : pfs_put_begin(store, put);
}

static int write_as_told(struct pfs_put *put, const void *data, size_t len)
{
	fake.writes++;
	return fake.write_err ? fake.write_err : pfs_put_write(put, data, len);
}

static void abort_and_count(struct pfs_put *put)
{
	fake.aborts++;
	pfs_put_abort(put);
}

static int commit_as_told(struct pfs_put *put, const struct pfs_key *key,
			  const struct pfs_attr *attr, unsigned flags, uint32_t *replaced)
{
	if (!fake.commit_err)
		return pfs_put_commit(put, key, attr, flags, replaced);
	pfs_put_abort(put);
	return fake.commit_err;
}

static size_t put_many_as_told(struct pfs_store *store, struct pfs_put_item *items, size_t count,
			       int *err)
{
	size_t n = 0;

	fake.put_counts[fake.puts++] = count;
	while (n < count && !(fake.put_nth < CALLS_MAX && fake.put_errs[fake.put_nth])) {
		fake.put_nth++;
		n++;
	}
	if (n == count)
		return pfs_put_many(store, items, count, err);
	if (n > 0)
		assert_int_equal(pfs_put_many(store, items, n, err), n);
	*err = fake.put_errs[fake.put_nth++];
	return n;
}

static int sync_as_told(struct pfs_store *store)
{
	return fake.sync_err ? fake.sync_err : pfs_sync(store);
}

static int train_as_told(struct pfs_store *store, bool force, struct pfs_train_result *result)
{
	(void)store;
	fake.force = force;
	*result = fake.train;
	return fake.train_err;
}

static int train_from_as_told(struct pfs_store *store, const void *data, const size_t *lens,
			      size_t count, struct pfs_train_result *result)
{
	size_t used = 0;

	(void)store;
	fake.count = count;
	for (size_t i = 0; i < count; i++) {
		fake.lens[i] = lens[i];
		used += lens[i];
	}
	assert_true(used <= sizeof(fake.samples));
	memcpy(fake.samples, data, used);
	*result = fake.train;
	return fake.train_err;
}

static int stat_as_told(struct pfs_store *store, struct pfs_store_stat *out)
{
	(void)store;
	*out = fake.stat;
	return 0;
}

static int pages_as_told(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	(void)store;
	*count = fake.page_count;
	*out = malloc((*count + 1) * sizeof(**out));
	assert_non_null(*out);
	if (*count)
		memcpy(*out, fake.pages, *count * sizeof(**out));
	return 0;
}

static int check_as_told(struct pfs_store *store, pfs_finding_fn *on_finding,
			 pfs_progress_fn *progress, void *arg, const bool *stop,
			 struct pfs_check_result *result)
{
	(void)store;
	(void)on_finding;
	(void)stop;
	progress(arg, 3, 4);
	*result = fake.check;
	return 0;
}

static int compact_as_told(struct pfs_store *store, pfs_progress_fn *progress, void *arg,
			   const bool *stop, struct pfs_compact_result *result)
{
	(void)store;
	(void)stop;
	progress(arg, 5, 6);
	*result = fake.compact;
	return 0;
}

static int place_as_told(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out)
{
	return fake.place_err ? fake.place_err : pfs_place(store, key, out);
}

static int get_as_told(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
		       struct pfs_attr *attr)
{
	return fake.damaged && key->num == fake.damaged ? -EIO
							: pfs_get(store, key, data, len, attr);
}

static ssize_t list_as_told(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
			    size_t max)
{
	return fake.list_err ? fake.list_err : pfs_list(store, after, out, max);
}

/* The daemon's objects are not in the library. */
#define pfs_store_stat(store, out) stat_as_told(store, out)
#define pfs_store_pages pages_as_told
#define pfs_store_check check_as_told
#define pfs_store_compact compact_as_told
#define pfs_place(store, key, out) place_as_told(store, key, out)
#include "fs/serve_answer.c"
#undef pfs_place
#undef pfs_store_compact
#undef pfs_store_check
#undef pfs_store_pages
#undef pfs_store_stat
#define pfs_get get_as_told
#define pfs_list list_as_told
#include "fs/serve_export.c"
#undef pfs_list
#undef pfs_get
#include "fs/serve_conn.c"
#define pfs_put_begin begin_as_told
#define pfs_put_write write_as_told
#define pfs_put_commit commit_as_told
#define pfs_put_abort abort_and_count
#define pfs_put_many put_many_as_told
#define pfs_sync sync_as_told
#define pfs_train train_as_told
#define pfs_train_from train_from_as_told
#include "fs/serve_session.c"
#undef pfs_train_from
#undef pfs_train
#undef pfs_sync
#undef pfs_put_many
#undef pfs_put_abort
#undef pfs_put_commit
#undef pfs_put_write
#undef pfs_put_begin

#define TOLD_MAX 1024

struct fixture {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_session_env env;
	struct pfs_conn conn;
	int peer;
	/* The requests, all of them. */
	struct pfs_wire_out out;
	uint8_t *requests;
	size_t requests_len;
	/* What came. */
	uint8_t *came;
	size_t came_len, came_cap, came_at;
	enum pfs_session_end end;
	bool stays; /* the client does not hang up after its requests */
	/* The hooks. */
	struct pfs_serve_change told[TOLD_MAX];
	size_t told_count, calls, call_counts[CALLS_MAX];
	int unmount_err;
	const char *unmount_reason;
	unsigned unmounts;
};

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct fixture *f = arg;

	f->call_counts[f->calls++ % CALLS_MAX] = count;
	for (size_t i = 0; i < count; i++) {
		f->told[f->told_count++ % TOLD_MAX] = changes[i];
		if (changes[i].replaced)
			pfs_release(f->store, changes[i].replaced);
	}
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	struct fixture *f = arg;

	f->unmounts++;
	snprintf(reason->text, sizeof(reason->text), "%s", f->unmount_reason);
	return f->unmount_err;
}

static int setup(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	memset(&fake, 0, sizeof(fake));
	f->sim = pfs_sim_new();
	create_store(f->sim, 16 * PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(f->sim);
	assert_int_equal(pfs_store_open(&f->store, STORE, &options, &reason), 0);
	f->env = (struct pfs_session_env){
		.store = f->store,
		.hooks = {.changed = on_changed, .unmount = on_unmount, .arg = f},
		.mountpoint = "/mnt/p",
	};
	f->unmount_reason = "";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->came);
	free(f->requests);
	pfs_wire_out_free(&f->out);
	assert_int_equal(pfs_store_close(f->store), 0);
	pfs_sim_free(f->sim);
	free(f);
	return 0;
}

/* ---- requests ---- */

static struct pfs_wire_out *request(struct fixture *f, unsigned type)
{
	pfs_wire_begin(&f->out, (enum pfs_wire_type)type, 0);
	return &f->out;
}

static void send_bytes(struct fixture *f, const void *bytes, size_t len)
{
	f->requests = realloc(f->requests, f->requests_len + len + 1);
	assert_non_null(f->requests);
	memcpy(f->requests + f->requests_len, bytes, len);
	f->requests_len += len;
}

static void done(struct fixture *f)
{
	assert_int_equal(pfs_wire_end(&f->out), 0);
	send_bytes(f, f->out.buf, f->out.len);
}

static void request_raw(struct fixture *f, unsigned type, const void *body, size_t len)
{
	pfs_wire_raw(request(f, type), body, len);
	done(f);
}

static void request_empty(struct fixture *f, unsigned type)
{
	request_raw(f, type, "", 0);
}

static void request_keys(struct fixture *f, unsigned type, uint64_t from, uint64_t count)
{
	request(f, type);
	for (uint64_t id = from; id < from + count; id++) {
		struct pfs_key key = pfs_key_num(id);

		pfs_wire_key(&f->out, &key);
	}
	done(f);
}

/* A whole row. */
static void request_put(struct fixture *f, uint64_t id, const char *text)
{
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_raw(f, PFS_WIRE_PUT_DATA, text, strlen(text));
	request_keys(f, PFS_WIRE_PUT_END, id, 1);
}

static void *run_session(void *arg)
{
	struct fixture *f = arg;

	f->end = pfs_session_run(&f->conn, &f->env);
	pfs_conn_close(&f->conn);
	return NULL;
}

static void take(struct fixture *f)
{
	ssize_t n;

	if (f->came_len == f->came_cap) {
		f->came_cap = 2 * f->came_cap + 65536;
		f->came = realloc(f->came, f->came_cap);
		assert_non_null(f->came);
	}
	n = recv(f->peer, f->came + f->came_len, f->came_cap - f->came_len, 0);
	if (n > 0)
		f->came_len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		f->peer = -f->peer; /* the end */
}

/* Sends the requests, and takes what comes until the connection ends. */
static void run(struct fixture *f)
{
	size_t sent = 0;
	pthread_t thread;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	f->conn.fd = pair[0];
	if (f->conn.stop_fd == 0)
		f->conn.stop_fd = -1;
	f->peer = pair[1];
	f->came_len = f->came_at = 0;
	f->told_count = f->calls = 0;
	assert_int_equal(pthread_create(&thread, NULL, run_session, f), 0);
	while (f->peer > 0) {
		struct pollfd fd = {.fd = f->peer, .events = POLLIN};
		ssize_t n;

		if (sent < f->requests_len)
			fd.events |= POLLOUT;
		assert_true(poll(&fd, 1, 60000) > 0);
		if (fd.revents & POLLOUT && sent < f->requests_len) {
			n = send(f->peer, f->requests + sent, f->requests_len - sent, MSG_NOSIGNAL);
			/* What is not taken any more does not matter. */
			sent = n > 0 ? sent + (size_t)n : errno == EAGAIN ? sent : f->requests_len;
		}
		if (sent == f->requests_len && !f->stays)
			shutdown(f->peer, SHUT_WR);
		if (fd.revents & (POLLIN | POLLHUP))
			take(f);
	}
	pthread_join(thread, NULL);
	close(pair[1]);
	f->requests_len = 0;
}

/* ---- answers ---- */

/* The body of the next message that came. */
static struct pfs_wire_in expect_message(struct fixture *f, unsigned type, int status)
{
	const uint8_t *at = f->came + f->came_at;
	struct pfs_wire_header header;

	assert_true(f->came_len - f->came_at >= PFS_WIRE_HEADER_LEN);
	assert_int_equal(pfs_wire_header(&header, at), 0);
	assert_int_equal(header.version, PFS_WIRE_VERSION);
	assert_int_equal(header.type, type);
	assert_int_equal(header.status, status);
	assert_true(f->came_len - f->came_at - PFS_WIRE_HEADER_LEN >= header.len);
	f->came_at += PFS_WIRE_HEADER_LEN + header.len;
	return pfs_wire_in(at + PFS_WIRE_HEADER_LEN, header.len);
}

static void expect_text(struct pfs_wire_in *in, const char *text)
{
	char got[PFS_WIRE_TEXT_MAX + 1];

	pfs_wire_get_path(in, got, sizeof(got));
	assert_string_equal(got, text);
}

/* A reply with nothing but its status, or the reason for it. */
static void expect_reply(struct fixture *f, int status, const char *reason)
{
	struct pfs_wire_in in = expect_message(f, PFS_WIRE_REPLY, status);

	if (status)
		expect_text(&in, reason);
	assert_int_equal(pfs_wire_done(&in), 0);
}

static void expect_end(struct fixture *f)
{
	assert_int_equal(f->came_at, f->came_len);
	assert_int_equal(f->end, PFS_SESSION_OVER);
}

static void expect_document(struct fixture *f, uint64_t id, const char *text)
{
	struct pfs_key key = pfs_key_num(id);
	void *data;
	size_t len;

	if (!text) {
		assert_int_equal(pfs_lookup(f->store, &key, NULL, NULL), -ENOENT);
		return;
	}
	assert_int_equal(pfs_get(f->store, &key, &data, &len, NULL), 0);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
	free(data);
}

static void expect_told(struct fixture *f, size_t nth, uint64_t id, bool replaced)
{
	assert_int_equal(f->told[nth].key.kind, PFS_KEY_NUM);
	assert_int_equal(f->told[nth].key.num, id);
	assert_int_equal(f->told[nth].replaced >= PFS_OBJECT_FIRST, replaced);
	assert_int_equal(f->told[nth].replaced != 0, replaced);
}

static void put(struct fixture *f, uint64_t id, const char *text)
{
	struct pfs_key key = pfs_key_num(id);

	assert_int_equal(pfs_put(f->store, &key, text, strlen(text), NULL, 0, NULL), 0);
}

/* ---- what ends a connection ---- */

/* Proves: the greeting tells what the daemon is. */
static void the_greeting(void **state)
{
	struct fixture *f = *state;

	for (unsigned read_only = 0; read_only < 2; read_only++) {
		struct pfs_wire_in in;

		f->env.read_only = read_only;
		request_empty(f, PFS_WIRE_HELLO);
		run(f);
		in = expect_message(f, PFS_WIRE_REPLY, 0);
		assert_int_equal(pfs_wire_get_u32(&in), getpid());
		assert_int_equal(pfs_wire_get_u8(&in), read_only);
		expect_text(&in, "/mnt/p");
		expect_text(&in, PFS_VERSION);
		assert_int_equal(pfs_wire_done(&in), 0);
		expect_end(f);
	}
}

/* Proves: a body with a byte too much, or too little, ends the connection without a reply, for each
 * request that has a form; nothing has happened. */
static void bodies_have_their_form(void **state)
{
	static const struct {
		unsigned type;
		const char *body;
		size_t len; /* of one that is right */
	} forms[] = {
		{PFS_WIRE_HELLO, "x", 0},
		{PFS_WIRE_GET, "\1\7\0\0\0\0\0\0\0x", 9},
		{PFS_WIRE_LIST, "\3x", 1},
		{PFS_WIRE_EXPORT, "x", 0},
		{PFS_WIRE_STAT, "x", 0},
		{PFS_WIRE_PLACE, "\1\7\0\0\0\0\0\0\0x", 9},
		{PFS_WIRE_CHECK, "x", 0},
		{PFS_WIRE_SYNC, "x", 0},
		{PFS_WIRE_UNMOUNT, "\2\0\0\0/ax", 6},
		{PFS_WIRE_TRAIN, "\1x", 1},
		{PFS_WIRE_TRAIN_FROM, "\1\0\0\0ax", 5},
		{PFS_WIRE_COMPACT, "x", 0},
		{PFS_WIRE_SNAPSHOT, "x", 0},
		{PFS_WIRE_SNAPSHOT_END, "x", 0},
		{PFS_WIRE_PAGES, "x", 0},
	};
	struct fixture *f = *state;

	put(f, 7, "{}");
	for (size_t i = 0; i < pfs_array_len(forms); i++) {
		for (size_t len = 0; len <= forms[i].len + 1; len++) {
			/* A sample may be missing: one byte less than one, though, is none. */
			bool right = len == forms[i].len ||
				     (forms[i].type == PFS_WIRE_TRAIN_FROM && len == 0);

			request_raw(f, forms[i].type, forms[i].body, len);
			request_empty(f, PFS_WIRE_SYNC);
			run(f);
			if (right == (f->came_len == 0))
				fail_msg("type %u with %zu bytes", forms[i].type, len);
			if (!right)
				expect_end(f);
		}
	}
	assert_int_equal(f->unmounts, 0);
	/* With a snapshot. */
	request_empty(f, PFS_WIRE_SNAPSHOT);
	request_raw(f, PFS_WIRE_COPY, "x", 1);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_message(f, PFS_WIRE_REPLY, 0);
	expect_end(f);
}

/* Proves: a request that is not known is answered so, and the next one is served; one of another
 * version is told which versions there are, and is the last. */
static void strangers_are_told(void **state)
{
	struct fixture *f = *state;
	char want[160];

	request_raw(f, 999, "whatever", 8);
	request_raw(f, 0, "", 0);
	request_empty(f, PFS_WIRE_SYNC);
	request(f, PFS_WIRE_SYNC);
	assert_int_equal(pfs_wire_end(&f->out), 0);
	pfs_put_le16(f->out.buf + 4, PFS_WIRE_VERSION + 2);
	send_bytes(f, f->out.buf, f->out.len);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_reply(f, -EOPNOTSUPP, "the daemon does not know this request");
	expect_reply(f, -EOPNOTSUPP, "the daemon does not know this request");
	expect_reply(f, 0, NULL);
	snprintf(want, sizeof(want),
		 "the daemon is version %s and speaks protocol %d, not %d: use its payloadctl",
		 PFS_VERSION, PFS_WIRE_VERSION, PFS_WIRE_VERSION + 2);
	expect_reply(f, -EPROTONOSUPPORT, want);
	expect_end(f);
}

/* Proves: what the store says is said in words, and a request that has failed is not the last. */
static void errors_have_words(void **state)
{
	static const struct {
		int err;
		const char *text;
	} words[] = {
		{-ENOENT, "no such document"},
		{-EIO, "the document is damaged, or could not be read (the daemon's log says "
		       "where)"},
		{-EROFS, "the store is read-only (the daemon's log says why)"},
		{-ENOSPC, "no space left on the filesystem of the store"},
		{-EFBIG, "larger than 1 GiB"},
		{-EAGAIN, "the document changed while it was read: try again"},
		{-ENOMEM, "Cannot allocate memory"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < pfs_array_len(words); i++) {
		fake.sync_err = words[i].err;
		request_empty(f, PFS_WIRE_SYNC);
		request_empty(f, PFS_WIRE_SYNC);
		run(f);
		expect_reply(f, words[i].err, words[i].text);
		expect_reply(f, words[i].err, words[i].text);
		expect_end(f);
	}
}

/* ---- putting ---- */

/* Proves: a row of pieces makes a document, which is told before the reply; each row is for itself,
 * an aborted one makes none. */
static void rows_make_documents(void **state)
{
	struct fixture *f = *state;

	request_put(f, 1, "one");
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_raw(f, PFS_WIRE_PUT_DATA, "tw", 2);
	request_raw(f, PFS_WIRE_PUT_DATA, "", 0);
	request_raw(f, PFS_WIRE_PUT_DATA, "o", 1);
	request_keys(f, PFS_WIRE_PUT_END, 1, 1);
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_raw(f, PFS_WIRE_PUT_DATA, "three", 5);
	request_empty(f, PFS_WIRE_PUT_ABORT);
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_keys(f, PFS_WIRE_PUT_END, 2, 1);
	run(f);
	for (unsigned i = 0; i < 4; i++)
		expect_reply(f, 0, NULL);
	expect_end(f);
	expect_document(f, 1, "two");
	expect_document(f, 2, "");
	assert_int_equal(f->calls, 3);
	assert_int_equal(f->told_count, 3);
	expect_told(f, 0, 1, false);
	expect_told(f, 1, 1, true);
	expect_told(f, 2, 2, false);
	assert_int_equal(fake.aborts, 1);
}

/* Proves: what is out of its order in a row ends the connection, and of the row nothing is left. */
static void rows_have_an_order(void **state)
{
	/* One request after the other: B begin, D data, E end, A abort, S another; each string is
	 * wrong with its last one. Lower case: with a byte too much. */
	static const char *const wrong[] = {"D",   "E",	  "A",	 "BB",	"BDB", "BS",
					    "BDS", "BEE", "BAE", "BAD", "b",   "Be",
					    "BDe", "Ba",  "BDa", "BDES" /* right */};
	struct fixture *f = *state;

	for (size_t i = 0; i < pfs_array_len(wrong); i++) {
		bool right = i + 1 == pfs_array_len(wrong);
		size_t replies = 0, documents = 0;

		fake.aborts = 0;
		for (const char *at = wrong[i]; *at; at++) {
			if (*at == 'B' || *at == 'b')
				request_raw(f, PFS_WIRE_PUT_BEGIN, "x", *at == 'b');
			else if (*at == 'D')
				request_raw(f, PFS_WIRE_PUT_DATA, "data", 4);
			else if (*at == 'E')
				request_keys(f, PFS_WIRE_PUT_END, 100 + i, 1);
			else if (*at == 'e')
				request_raw(f, PFS_WIRE_PUT_END, "\1\7\0\0\0\0\0\0\0x", 10);
			else if (*at == 'A' || *at == 'a')
				request_raw(f, PFS_WIRE_PUT_ABORT, "x", *at == 'a');
			else
				request_empty(f, PFS_WIRE_SYNC);
			replies += (right || at[1]) && strchr("EAS", *at);
			documents += (right || at[1]) && *at == 'E';
		}
		if (!right) /* which would end a row that is still open */
			request_keys(f, PFS_WIRE_PUT_END, 200, 1);
		request_empty(f, PFS_WIRE_SYNC);
		run(f);
		for (size_t n = 0; n < replies + right; n++)
			expect_reply(f, 0, NULL);
		expect_end(f);
		assert_int_equal(f->told_count, documents);
		expect_document(f, 100 + i, f->told_count == 0 ? NULL : right ? "data" : "");
		expect_document(f, 7, NULL);
		expect_document(f, 200, NULL);
	}
}

/* Proves: a piece is as long as it may be, and no longer. */
static void pieces_have_a_bound(void **state)
{
	struct fixture *f = *state;
	char *piece = calloc(1, PFS_WIRE_PIECE_MAX + 1);
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;

	assert_non_null(piece);
	for (size_t more = 0; more < 2; more++) {
		request_empty(f, PFS_WIRE_PUT_BEGIN);
		request_raw(f, PFS_WIRE_PUT_DATA, piece, PFS_WIRE_PIECE_MAX + more);
		request_keys(f, PFS_WIRE_PUT_END, 1, 1);
		run(f);
		if (!more)
			expect_reply(f, 0, NULL);
		expect_end(f);
		assert_int_equal(f->told_count, !more);
	}
	assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
	assert_int_equal(attr.size, PFS_WIRE_PIECE_MAX);
	free(piece);
}

/* Proves: the first error of a row is what its end is answered with, the rest of it is taken; the
 * next row knows nothing of it. */
static void rows_fail_at_their_end(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		fake.begin_err = i == 0 ? -ENOSPC : 0;
		fake.write_err = i == 1 ? -EFBIG : 0;
		fake.commit_err = i == 2 ? -EROFS : 0;
		fake.writes = fake.aborts = 0;
		request_empty(f, PFS_WIRE_PUT_BEGIN);
		request_raw(f, PFS_WIRE_PUT_DATA, "a", 1);
		request_raw(f, PFS_WIRE_PUT_DATA, "b", 1);
		request_keys(f, PFS_WIRE_PUT_END, 1, 1);
		run(f);
		assert_int_equal(fake.writes, i == 0 ? 0 : i == 1 ? 1 : 2);
		assert_int_equal(fake.aborts, i == 1);
		if (i == 0)
			expect_reply(f, -ENOSPC, "no space left on the filesystem of the store");
		else if (i == 1)
			expect_reply(f, -EFBIG, "larger than 1 GiB");
		else if (i == 2)
			expect_reply(f, -EROFS,
				     "the store is read-only (the daemon's log says why)");
		else
			expect_reply(f, 0, NULL);
		expect_end(f);
		assert_int_equal(f->told_count, i == 3);
		expect_document(f, 1, i == 3 ? "ab" : NULL);
	}
	fake.write_err = -EFBIG;
	request_put(f, 1, "x");
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_empty(f, PFS_WIRE_PUT_ABORT);
	request_empty(f, PFS_WIRE_PUT_BEGIN);
	request_keys(f, PFS_WIRE_PUT_END, 2, 1);
	run(f);
	expect_reply(f, -EFBIG, "larger than 1 GiB");
	expect_reply(f, 0, NULL);
	expect_reply(f, 0, NULL);
	expect_document(f, 2, "");
}

/* ---- removing ---- */

/* Proves: each key has its status in the reply, and what was removed is told, so many at once. */
static void each_removal_has_its_status(void **state)
{
	enum { COUNT = 2 * PFS_SERVE_CHANGES_MAX + 5 };
	struct fixture *f = *state;
	struct pfs_wire_in in;

	for (uint64_t id = 1; id <= COUNT; id++)
		if (id != 3)
			put(f, id, "{}");
	request_keys(f, PFS_WIRE_REMOVE, 1, COUNT);
	request_empty(f, PFS_WIRE_REMOVE);
	run(f);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	assert_int_equal(pfs_wire_get_u32(&in), COUNT);
	for (uint64_t id = 1; id <= COUNT; id++)
		assert_int_equal(pfs_wire_get_status(&in), id == 3 ? -ENOENT : 0);
	assert_int_equal(pfs_wire_done(&in), 0);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	assert_int_equal(pfs_wire_get_u32(&in), 0);
	assert_int_equal(pfs_wire_done(&in), 0);
	expect_end(f);
	assert_int_equal(f->told_count, COUNT - 1);
	assert_int_equal(f->calls, 3);
	assert_int_equal(f->call_counts[0], PFS_SERVE_CHANGES_MAX);
	assert_int_equal(f->call_counts[1], PFS_SERVE_CHANGES_MAX);
	assert_int_equal(f->call_counts[2], 4);
	for (size_t i = 0; i < COUNT - 1; i++)
		expect_told(f, i, i + 1 + (i >= 2), true);
	/* A broken end: what was removed before it is told. */
	put(f, 1, "{}");
	put(f, 2, "{}");
	request(f, PFS_WIRE_REMOVE);
	for (uint64_t id = 1; id <= 2; id++)
		pfs_wire_key(&f->out, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = id});
	f->out.len--;
	done(f);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_end(f);
	assert_int_equal(f->told_count, 1);
	expect_document(f, 1, NULL);
	expect_document(f, 2, "{}");
}

/* ---- importing ---- */

static void request_import(struct fixture *f, uint64_t from, uint64_t count)
{
	request(f, PFS_WIRE_IMPORT);
	for (uint64_t id = from; id < from + count; id++) {
		struct pfs_key key = pfs_key_num(id);

		pfs_wire_key(&f->out, &key);
		pfs_wire_bytes(&f->out, "data", 4);
	}
	done(f);
}

static struct pfs_wire_in expect_imported(struct fixture *f, uint32_t imported, uint32_t refused)
{
	struct pfs_wire_in in = expect_message(f, PFS_WIRE_REPLY, 0);

	assert_int_equal(pfs_wire_get_u32(&in), imported);
	assert_int_equal(pfs_wire_get_u32(&in), refused);
	if (!refused)
		assert_int_equal(pfs_wire_done(&in), 0);
	return in;
}

/* Proves: documents that are imported are put so many at once, told, and have one time, whatever
 * the number of messages; none at all are none. */
static void imports_are_whole(void **state)
{
	struct fixture *f = *state;
	int64_t time = 0;

	request_empty(f, PFS_WIRE_IMPORT);
	request_import(f, 1, IMPORT_ITEMS);
	request_import(f, 100, 2 * IMPORT_ITEMS + 1);
	request_import(f, 1, 1);
	run(f);
	expect_imported(f, 0, 0);
	expect_imported(f, IMPORT_ITEMS, 0);
	expect_imported(f, 2 * IMPORT_ITEMS + 1, 0);
	expect_imported(f, 1, 0);
	expect_end(f);
	assert_int_equal(fake.puts, 5);
	assert_int_equal(fake.put_counts[0], IMPORT_ITEMS);
	assert_int_equal(fake.put_counts[1], IMPORT_ITEMS);
	assert_int_equal(fake.put_counts[2], IMPORT_ITEMS);
	assert_int_equal(fake.put_counts[3], 1);
	assert_int_equal(fake.put_counts[4], 1);
	assert_int_equal(f->calls, 3);
	assert_int_equal(f->told_count, 3 * IMPORT_ITEMS + 2);
	for (size_t i = 0; i < f->told_count; i++) {
		uint64_t id = i < IMPORT_ITEMS		 ? i + 1
			      : i < 3 * IMPORT_ITEMS + 1 ? 100 + i - IMPORT_ITEMS
							 : 1;
		struct pfs_key key = pfs_key_num(id);
		struct pfs_attr attr;

		expect_told(f, i, id, i == 3 * IMPORT_ITEMS + 1);
		expect_document(f, id, "data");
		assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
		assert_true(attr.mtime_ns > 0 && (i == 0 || attr.mtime_ns == time));
		time = attr.mtime_ns;
	}
}

/* Proves: documents that are refused for their own sake are named by their place in the message,
 * with their status; the others are imported. */
static void refused_ones_are_named_by_place(void **state)
{
	static const struct {
		uint32_t index;
		int err;
	} refused[] = {{0, -EFBIG}, {1, -EINVAL}, {5, -ENAMETOOLONG}, {9, -EFBIG}};
	struct fixture *f = *state;
	struct pfs_wire_in in;

	for (size_t i = 0; i < pfs_array_len(refused); i++)
		fake.put_errs[refused[i].index] = refused[i].err;
	request_import(f, 0, 10);
	request_import(f, 20, 1);
	run(f);
	in = expect_imported(f, 6, 4);
	for (size_t i = 0; i < pfs_array_len(refused); i++) {
		assert_int_equal(pfs_wire_get_u32(&in), refused[i].index);
		assert_int_equal(pfs_wire_get_status(&in), refused[i].err);
	}
	assert_int_equal(pfs_wire_done(&in), 0);
	expect_imported(f, 1, 0);
	expect_end(f);
	assert_int_equal(f->told_count, 7);
	for (uint32_t id = 0, k = 0; id < 10; id++) {
		bool is_refused = k < pfs_array_len(refused) && refused[k].index == id;

		expect_document(f, id, is_refused ? NULL : "data");
		k += is_refused;
	}
}

/* Proves: what stops all says why, and how many were imported; those are told. A broken end costs
 * the connection, and what stood before it is imported and told. */
static void imports_that_stop_say_where(void **state)
{
	struct fixture *f = *state;
	struct pfs_wire_in in;

	fake.put_errs[3] = -EINVAL;
	fake.put_errs[7] = -ENOSPC;
	request_import(f, 0, 10);
	request_import(f, 20, 1);
	run(f);
	in = expect_message(f, PFS_WIRE_REPLY, -ENOSPC);
	expect_text(&in, "no space left on the filesystem of the store");
	assert_int_equal(pfs_wire_get_u32(&in), 6);
	assert_int_equal(pfs_wire_done(&in), 0);
	expect_imported(f, 1, 0);
	expect_end(f);
	assert_int_equal(f->told_count, 7);
	expect_document(f, 6, "data");
	expect_document(f, 8, NULL);
	memset(&fake, 0, sizeof(fake));
	request(f, PFS_WIRE_IMPORT);
	for (uint64_t id = 30; id < 33; id++) {
		pfs_wire_key(&f->out, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = id});
		pfs_wire_bytes(&f->out, "data", 4);
	}
	f->out.len--;
	done(f);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_end(f);
	assert_int_equal(f->told_count, 2);
	expect_document(f, 31, "data");
	expect_document(f, 32, NULL);
}

/* ---- reading ---- */

/* Proves: of a document its key, length and bytes come, in pieces; of one that is not there, or
 * can't be looked up, the error alone. */
static void a_document_comes_in_pieces(void **state)
{
	const size_t lens[] = {0, 1, PFS_WIRE_PIECE_MAX, 2 * PFS_WIRE_PIECE_MAX + 3};
	struct fixture *f = *state;
	uint8_t *data = malloc(lens[3]);

	assert_non_null(data);
	fill_document(data, lens[3], 1);
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_key key = pfs_key_num(i), got;
		struct pfs_wire_in in;

		assert_int_equal(pfs_put(f->store, &key, data, lens[i], NULL, 0, NULL), 0);
		request_keys(f, PFS_WIRE_GET, i, 1);
		run(f);
		in = expect_message(f, PFS_WIRE_DOC_BEGIN, 0);
		pfs_wire_get_key(&in, &got);
		assert_true(pfs_key_equal(&got, &key));
		assert_int_equal(pfs_wire_get_u64(&in), lens[i]);
		assert_int_equal(pfs_wire_done(&in), 0);
		for (size_t off = 0; off < lens[i]; off += PFS_WIRE_PIECE_MAX) {
			size_t n = pfs_min_u64(lens[i] - off, PFS_WIRE_PIECE_MAX);

			in = expect_message(f, PFS_WIRE_DATA, 0);
			assert_memory_equal(pfs_wire_get_raw(&in, n), data + off, n);
			assert_int_equal(pfs_wire_done(&in), 0);
		}
		expect_reply(f, 0, NULL);
		expect_end(f);
	}
	fake.place_err = 0;
	request_keys(f, PFS_WIRE_GET, 77, 1);
	run(f);
	expect_reply(f, -ENOENT, "no such document");
	expect_end(f);
	free(data);
}

/* So many points, from 1, and a scratch file behind every tenth. */
static void put_some(struct fixture *f, unsigned points)
{
	for (unsigned id = 1; id <= points; id++) {
		char name[32];
		struct pfs_key key;

		put(f, id, "{\"some\":1}");
		if (id % 10)
			continue;
		snprintf(name, sizeof(name), "scratch-%u", id);
		key = key_named(name);
		assert_int_equal(pfs_put(f->store, &key, "s", 1, NULL, 0, NULL), 0);
	}
}

/* Proves: a list has the names of the kinds that are asked for, in the order of the store, so many
 * a message; an empty store has none. */
static void lists_have_the_kinds_asked_for(void **state)
{
	struct fixture *f = *state;

	request_raw(f, PFS_WIRE_LIST, "\3", 1);
	run(f);
	expect_reply(f, 0, NULL);
	expect_end(f);
	put_some(f, LIST_STEP);
	for (unsigned kinds = 0; kinds < 4; kinds++) {
		const char body = (char)kinds;
		unsigned points = 0, scratch = 0;

		request_raw(f, PFS_WIRE_LIST, &body, 1);
		run(f);
		for (unsigned message = 0; message < 2; message++) {
			struct pfs_wire_in in = expect_message(f, PFS_WIRE_KEYS, 0);
			unsigned before = points + scratch;

			while (pfs_wire_more(&in)) {
				struct pfs_key key;

				pfs_wire_get_key(&in, &key);
				if (key.kind == PFS_KEY_SCRATCH)
					scratch++;
				else
					assert_int_equal(key.num, ++points);
			}
			assert_int_equal(pfs_wire_done(&in), 0);
			if (kinds == 3)
				assert_int_equal(points + scratch - before,
						 message ? LIST_STEP / 10 : LIST_STEP);
		}
		assert_int_equal(points, kinds & 1 ? LIST_STEP : 0);
		assert_int_equal(scratch, kinds & 2 ? LIST_STEP / 10 : 0);
		expect_reply(f, 0, NULL);
		expect_end(f);
	}
	fake.list_err = -EIO;
	request_raw(f, PFS_WIRE_LIST, "\3", 1);
	run(f);
	expect_end(f);
	request_empty(f, PFS_WIRE_EXPORT);
	run(f);
	expect_end(f);
}

static void expect_attr(struct pfs_wire_in *in, const struct pfs_attr *want)
{
#define SAME(field) assert_true(pfs_wire_get_u64(in) == (uint64_t)want->field);
	PFS_WIRE_ATTR_FIELDS(SAME)
#undef SAME
}

/* Takes a document of a batch: its id, or 0 of a scratch file. */
static uint64_t expect_listed(struct fixture *f, struct pfs_wire_in *in, bool attributes,
			      int status, const void *data, size_t want_len)
{
	struct pfs_attr attr = {0};
	struct pfs_key key;
	const uint8_t *got;
	size_t len;

	pfs_wire_get_key(in, &key);
	assert_int_equal(pfs_wire_get_status(in), status);
	if (attributes) {
		if (!status)
			assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
		expect_attr(in, &attr);
	}
	got = pfs_wire_get_bytes(in, &len);
	assert_int_equal(len, status ? 0 : key.kind == PFS_KEY_SCRATCH ? 1 : want_len);
	assert_memory_equal(got, key.kind == PFS_KEY_SCRATCH ? "s" : data, len);
	return key.kind == PFS_KEY_SCRATCH ? 0 : key.num;
}

/* Proves: small documents come together, as soon as they are so many bytes they are sent; a copy
 * has scratch files and attributes besides. A snapshot shows what an export without one does. */
static void batches_are_sent_when_they_are_due(void **state)
{
	enum { LEN = 30000, COUNT = 60 };
	struct fixture *f = *state;
	uint8_t *data = malloc(LEN);

	assert_non_null(data);
	fill_document(data, LEN, 3);
	put_some(f, 20);
	for (uint64_t id = 1; id <= COUNT; id++)
		assert_int_equal(pfs_put(f->store,
					 &(struct pfs_key){.kind = PFS_KEY_NUM, .num = id}, data,
					 LEN, NULL, 0, NULL),
				 0);
	for (unsigned way = 0; way < 4; way++) {
		const bool attributes = way >= 2;
		unsigned points = 0, scratch = 0;

		if (way > 0)
			request_empty(f, PFS_WIRE_SNAPSHOT);
		if (way < 3)
			request_empty(f, attributes ? PFS_WIRE_COPY : PFS_WIRE_EXPORT);
		else
			request_keys(f, PFS_WIRE_COPY_KEYS, 1, COUNT);
		run(f);
		if (way > 0)
			expect_message(f, PFS_WIRE_REPLY, 0);
		while (points < COUNT) {
			struct pfs_wire_in in =
				expect_message(f, attributes ? PFS_WIRE_COPIES : PFS_WIRE_DOCS, 0);
			size_t len = (size_t)(in.end - in.p);
			const uint8_t *last = in.p;

			while (pfs_wire_more(&in)) {
				uint64_t id;

				last = in.p;
				id = expect_listed(f, &in, attributes, 0, data, LEN);
				if (id)
					assert_int_equal(id, ++points);
				else
					scratch++;
			}
			assert_int_equal(pfs_wire_done(&in), 0);
			if (points < COUNT)
				assert_true(len >= PFS_WIRE_BATCH_SOFT &&
					    len - (size_t)(in.end - last) < PFS_WIRE_BATCH_SOFT);
		}
		assert_int_equal(scratch, way == 2 ? 2 : 0);
		expect_reply(f, 0, NULL);
		expect_end(f);
	}
	free(data);
}

/* Proves: of keys that are named, the documents come in that order, large ones by themselves; those
 * that are not there are left out, one that is damaged has its status. */
static void named_documents_come_in_order(void **state)
{
	static const uint64_t asked[] = {3, 1, 99, 4, 2, 5, 98};
	const size_t large = PFS_WIRE_PIECE_MAX + 1;
	struct fixture *f = *state;
	uint8_t *data = malloc(large);

	assert_non_null(data);
	fill_document(data, large, 3);
	for (uint64_t id = 1; id <= 5; id++)
		assert_int_equal(pfs_put(f->store,
					 &(struct pfs_key){.kind = PFS_KEY_NUM, .num = id}, data,
					 id == 4 ? large : 10, NULL, 0, NULL),
				 0);
	fake.damaged = 2;
	for (unsigned way = 0; way < 3; way++) {
		const bool attributes = way == 2;
		struct pfs_wire_in in;
		struct pfs_attr attr;
		struct pfs_key key;

		if (way > 0)
			request_empty(f, PFS_WIRE_SNAPSHOT);
		request(f, attributes ? PFS_WIRE_COPY_KEYS : PFS_WIRE_EXPORT_KEYS);
		for (size_t i = 0; i < pfs_array_len(asked); i++) {
			key = pfs_key_num(asked[i]);
			pfs_wire_key(&f->out, &key);
		}
		done(f);
		run(f);
		if (way > 0)
			expect_message(f, PFS_WIRE_REPLY, 0);
		in = expect_message(f, attributes ? PFS_WIRE_COPIES : PFS_WIRE_DOCS, 0);
		assert_int_equal(expect_listed(f, &in, attributes, 0, data, 10), 3);
		assert_int_equal(expect_listed(f, &in, attributes, 0, data, 10), 1);
		assert_int_equal(pfs_wire_done(&in), 0);
		in = expect_message(f, attributes ? PFS_WIRE_COPY_BEGIN : PFS_WIRE_DOC_BEGIN, 0);
		pfs_wire_get_key(&in, &key);
		assert_int_equal(key.num, 4);
		if (attributes) {
			assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
			expect_attr(&in, &attr);
		} else {
			assert_int_equal(pfs_wire_get_u64(&in), large);
		}
		assert_int_equal(pfs_wire_done(&in), 0);
		in = expect_message(f, PFS_WIRE_DATA, 0);
		assert_memory_equal(pfs_wire_get_raw(&in, PFS_WIRE_PIECE_MAX), data,
				    PFS_WIRE_PIECE_MAX);
		assert_int_equal(pfs_wire_done(&in), 0);
		in = expect_message(f, PFS_WIRE_DATA, 0);
		assert_int_equal(pfs_wire_get_u8(&in), data[PFS_WIRE_PIECE_MAX]);
		assert_int_equal(pfs_wire_done(&in), 0);
		in = expect_message(f, PFS_WIRE_DOC_END, 0);
		assert_int_equal(pfs_wire_done(&in), 0);
		in = expect_message(f, attributes ? PFS_WIRE_COPIES : PFS_WIRE_DOCS, 0);
		assert_int_equal(expect_listed(f, &in, attributes, way ? 0 : -EIO, data, 10), 2);
		assert_int_equal(expect_listed(f, &in, attributes, 0, data, 10), 5);
		assert_int_equal(pfs_wire_done(&in), 0);
		expect_reply(f, 0, NULL);
		expect_end(f);
	}
	free(data);
	/* One that is no key. */
	request_raw(f, PFS_WIRE_EXPORT_KEYS, "\1\1\0\0\0\0\0\0\0\1", 10);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_end(f);
	/* None at all. */
	request_empty(f, PFS_WIRE_EXPORT_KEYS);
	run(f);
	expect_reply(f, 0, NULL);
	expect_end(f);
}

/* Proves: a snapshot is told with what it holds, replaces the one before, lets its connection be
 * idle for long, and ends when it is told to, or with the connection; without one nothing is
 * copied. */
static void snapshots_are_told(void **state)
{
	struct fixture *f = *state;
	struct pfs_store_stat stat;
	struct pfs_wire_in in;

	put_some(f, 20);
	request_empty(f, PFS_WIRE_COPY);
	request_keys(f, PFS_WIRE_COPY_KEYS, 1, 1);
	request_empty(f, PFS_WIRE_SNAPSHOT_END);
	request_empty(f, PFS_WIRE_SNAPSHOT);
	request_empty(f, PFS_WIRE_SNAPSHOT);
	request_empty(f, PFS_WIRE_SNAPSHOT_END);
	request_empty(f, PFS_WIRE_COPY);
	request_empty(f, PFS_WIRE_SNAPSHOT);
	run(f);
	expect_reply(f, -EINVAL, "no snapshot is open to be copied");
	expect_reply(f, -EINVAL, "no snapshot is open to be copied");
	expect_reply(f, 0, NULL);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2) {
			expect_reply(f, 0, NULL);
			expect_reply(f, -EINVAL, "no snapshot is open to be copied");
			continue;
		}
		in = expect_message(f, PFS_WIRE_REPLY, 0);
		assert_int_equal(pfs_wire_get_u64(&in), pfs_store_sequence(f->store));
		assert_int_equal(pfs_wire_get_u64(&in), 20);
		assert_int_equal(pfs_wire_get_u64(&in), 2);
		assert_int_equal(pfs_wire_get_u64(&in), 20 * 10 + 2);
		assert_true(pfs_wire_get_u64(&in) > 0);
		assert_int_equal(pfs_wire_done(&in), 0);
	}
	expect_end(f);
	assert_int_equal(f->conn.idle_ms, 0);
	assert_int_equal(pfs_store_stat(f->store, &stat), 0);
	assert_int_equal(stat.snapshots, 0);
}

/* ---- figures ---- */

#define FILL(field) x->field = (__typeof__(x->field))n++;
#define SAME(field) assert_true(pfs_wire_get_u64(&in) == (uint64_t)x->field);

/* Proves: each figure of the store's statistics, its pages, a check, a compaction, a training comes
 * in its place. */
static void figures_have_their_places(void **state)
{
	enum { PAGES = 9000 }; /* three messages */
	struct fixture *f = *state;
	struct pfs_wire_in in;
	uint64_t n = 1000;
	size_t taken = 0;

	fake.pages = calloc(PAGES, sizeof(*fake.pages));
	assert_non_null(fake.pages);
	fake.page_count = PAGES;
	{
		struct pfs_store_stat *x = &fake.stat;
		PFS_WIRE_STAT_FIELDS(FILL)
	}
	for (size_t i = 0; i < PAGES; i++) {
		struct pfs_page_stat *x = &fake.pages[i];
		PFS_WIRE_PAGE_FIELDS(FILL)
	}
	{
		struct pfs_check_result *x = &fake.check;
		PFS_WIRE_CHECK_FIELDS(FILL)
	}
	{
		struct pfs_compact_result *x = &fake.compact;
		PFS_WIRE_COMPACT_FIELDS(FILL)
	}
	request_empty(f, PFS_WIRE_STAT);
	request_empty(f, PFS_WIRE_PAGES);
	request_empty(f, PFS_WIRE_CHECK);
	request_empty(f, PFS_WIRE_COMPACT);
	run(f);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	{
		const struct pfs_store_stat *x = &fake.stat;
		PFS_WIRE_STAT_FIELDS(SAME)
	}
	assert_int_equal(pfs_wire_done(&in), 0);
	while (taken < PAGES) {
		size_t len, one = 0;

		in = expect_message(f, PFS_WIRE_PAGE_STATS, 0);
		len = (size_t)(in.end - in.p);
		while (pfs_wire_more(&in)) {
			const struct pfs_page_stat *x = &fake.pages[taken++];
			const uint8_t *before = in.p;

			assert_true(taken <= PAGES);
			PFS_WIRE_PAGE_FIELDS(SAME)
			one = (size_t)(in.p - before);
		}
		assert_int_equal(pfs_wire_done(&in), 0);
		/* Full, but for the last. */
		if (taken < PAGES)
			assert_true(len >= PFS_WIRE_BATCH_SOFT && len - one < PFS_WIRE_BATCH_SOFT);
	}
	expect_reply(f, 0, NULL);
	in = expect_message(f, PFS_WIRE_PROGRESS, 0);
	assert_int_equal(pfs_wire_get_u64(&in), 3);
	assert_int_equal(pfs_wire_get_u64(&in), 4);
	assert_int_equal(pfs_wire_done(&in), 0);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	{
		const struct pfs_check_result *x = &fake.check;
		PFS_WIRE_CHECK_FIELDS(SAME)
	}
	assert_int_equal(pfs_wire_done(&in), 0);
	in = expect_message(f, PFS_WIRE_PROGRESS, 0);
	assert_int_equal(pfs_wire_get_u64(&in), 5);
	assert_int_equal(pfs_wire_get_u64(&in), 6);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	{
		const struct pfs_compact_result *x = &fake.compact;
		PFS_WIRE_COMPACT_FIELDS(SAME)
	}
	assert_int_equal(pfs_wire_done(&in), 0);
	expect_end(f);
	free(fake.pages);
}

/* Proves: of a document its attributes and its place are told, or that it is not there. */
static void places_are_told(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	struct pfs_place place;
	struct pfs_wire_in in;

	put(f, 1, "{\"a\":1}");
	assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
	assert_int_equal(pfs_place(f->store, &key, &place), 0);
	request_keys(f, PFS_WIRE_PLACE, 1, 1);
	request_keys(f, PFS_WIRE_PLACE, 2, 1);
	run(f);
	in = expect_message(f, PFS_WIRE_REPLY, 0);
	expect_attr(&in, &attr);
	{
		const struct pfs_place *x = &place;
		PFS_WIRE_PLACE_FIELDS(SAME)
	}
	assert_int_equal(pfs_wire_done(&in), 0);
	expect_reply(f, -ENOENT, "no such document");
	expect_end(f);
	fake.place_err = -EIO;
	request_keys(f, PFS_WIRE_PLACE, 1, 1);
	run(f);
	expect_reply(f, -EIO,
		     "the document is damaged, or could not be read (the daemon's log says "
		     "where)");
	expect_end(f);
}

/* Proves: a training is begun as it was asked for, from the store or from what comes with the
 * request, and what it says is told, an error as well. */
static void trainings_are_told(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 2000;
	struct pfs_train_result *x = &fake.train;

	PFS_WIRE_TRAIN_FIELDS(FILL)
	for (unsigned i = 0; i < 6; i++) {
		static const char *const samples[] = {"first", "", "third one"};
		struct pfs_wire_in in;

		fake.train_err = i % 2 ? -EALREADY : 0;
		if (i < 4) {
			request_raw(f, PFS_WIRE_TRAIN, i < 2 ? "\0" : "\1", 1);
		} else {
			request(f, PFS_WIRE_TRAIN_FROM);
			for (size_t k = 0; i == 4 && k < pfs_array_len(samples); k++)
				pfs_wire_bytes(&f->out, samples[k], strlen(samples[k]));
			done(f);
		}
		run(f);
		if (i < 4) {
			assert_int_equal(fake.force, i >= 2);
		} else {
			assert_int_equal(fake.count, i == 4 ? 3 : 0);
			for (size_t k = 0; k < fake.count; k++)
				assert_int_equal(fake.lens[k], strlen(samples[k]));
			assert_memory_equal(fake.samples, "firstthird one", 14);
		}
		in = expect_message(f, PFS_WIRE_REPLY, 0);
		assert_int_equal(pfs_wire_get_status(&in), fake.train_err);
		PFS_WIRE_TRAIN_FIELDS(SAME)
		assert_int_equal(pfs_wire_done(&in), 0);
		expect_end(f);
	}
}

/* ---- the end ---- */

/* Proves: who wants it unmounted is told why not, or waits; of another mount point nothing is
 * unmounted. */
static void an_unmount_is_answered(void **state)
{
	static const struct {
		const char *meant, *said;
		int err, status;
		const char *reason;
	} cases[] = {
		{"", "", 0, 0, NULL},
		{"/mnt/p", "", 0, 0, NULL},
		{"/mnt/p", "files are in use", -EBUSY, -EBUSY, "files are in use"},
		{"", "", -EROFS, -EROFS, "the store is read-only (the daemon's log says why)"},
		{"/mnt/q", "", 0, -ENXIO, "the daemon that holds the store serves /mnt/p"},
		{"/mnt/p/", "", 0, -ENXIO, "the daemon that holds the store serves /mnt/p"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		f->unmounts = 0;
		f->unmount_err = cases[i].err;
		f->unmount_reason = cases[i].said;
		pfs_wire_text(request(f, PFS_WIRE_UNMOUNT), cases[i].meant);
		done(f);
		request_empty(f, PFS_WIRE_SYNC);
		run(f);
		expect_reply(f, cases[i].status, cases[i].reason);
		assert_int_equal(f->unmounts, cases[i].status != -ENXIO);
		if (cases[i].status) {
			expect_reply(f, 0, NULL); /* it goes on */
			expect_end(f);
		} else {
			assert_int_equal(f->came_at, f->came_len);
			assert_int_equal(f->end, PFS_SESSION_WAITING);
		}
	}
}

/* Proves: of a client that says nothing for too long, or stops within a message, the connection
 * ends. */
static void who_is_silent_is_left(void **state)
{
	struct fixture *f = *state;
	const int waits[] = {idle_ms, receive_ms};

	f->stays = true;
	for (unsigned i = 0; i < 4; i++) {
		idle_ms = i == 0 ? 20 : waits[0];
		receive_ms = i == 0 ? waits[1] : 20;
		request_empty(f, PFS_WIRE_SYNC);
		request_keys(f, PFS_WIRE_REMOVE, 1, 1);
		if (i > 0) /* within the header, before and within the body */
			f->requests_len -= i == 1 ? 15 : i == 2 ? 9 : 1;
		run(f);
		expect_reply(f, 0, NULL);
		if (i == 0)
			expect_message(f, PFS_WIRE_REPLY, 0);
		expect_end(f);
	}
	idle_ms = waits[0];
	receive_ms = waits[1];
}

/* Proves: a daemon that is to end does not wait for the next request, nor answers the one that has
 * come. */
static void the_stop_ends_it(void **state)
{
	const uint64_t one = 1;
	struct fixture *f = *state;
	int fd = eventfd(0, 0);

	assert_true(fd > 0);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	f->stays = true;
	f->conn.stop_fd = fd;
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	expect_end(f);
	assert_true(pfs_conn_stopping(&(struct pfs_conn){.stop_fd = fd}));
	assert_false(pfs_conn_stopping(&(struct pfs_conn){.stop_fd = -1}));
	close(fd);
}

/* Proves: bodies of any length up to the bound come whole, whatever came before; a longer one ends
 * the connection. */
static void bodies_have_a_bound(void **state)
{
	static const size_t lens[] = {0, 1, 4095, 4096, 4097, 100, 100000, 3, PFS_WIRE_BODY_MAX};
	struct fixture *f = *state;
	char *body = calloc(1, PFS_WIRE_BODY_MAX);

	assert_non_null(body);
	for (size_t i = 0; i < pfs_array_len(lens); i++)
		request_raw(f, 999, body, lens[i]);
	request_empty(f, PFS_WIRE_SYNC);
	request(f, 999);
	assert_int_equal(pfs_wire_end(&f->out), 0);
	pfs_put_le32(f->out.buf + 8, PFS_WIRE_BODY_MAX + 1);
	send_bytes(f, f->out.buf, f->out.len);
	request_empty(f, PFS_WIRE_SYNC);
	run(f);
	for (size_t i = 0; i < pfs_array_len(lens); i++)
		expect_reply(f, -EOPNOTSUPP, "the daemon does not know this request");
	expect_reply(f, 0, NULL);
	expect_end(f);
	free(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_greeting),
		TEST(bodies_have_their_form),
		TEST(strangers_are_told),
		TEST(errors_have_words),
		TEST(rows_make_documents),
		TEST(rows_have_an_order),
		TEST(pieces_have_a_bound),
		TEST(rows_fail_at_their_end),
		TEST(each_removal_has_its_status),
		TEST(imports_are_whole),
		TEST(refused_ones_are_named_by_place),
		TEST(imports_that_stop_say_where),
		TEST(a_document_comes_in_pieces),
		TEST(lists_have_the_kinds_asked_for),
		TEST(batches_are_sent_when_they_are_due),
		TEST(named_documents_come_in_order),
		TEST(snapshots_are_told),
		TEST(figures_have_their_places),
		TEST(places_are_told),
		TEST(trainings_are_told),
		TEST(an_unmount_is_answered),
		TEST(who_is_silent_is_left),
		TEST(the_stop_ends_it),
		TEST(bodies_have_a_bound),
	};

	return cmocka_run_group_tests_name("messages of the control socket", tests, NULL, NULL);
}
