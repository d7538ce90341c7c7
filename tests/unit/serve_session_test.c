/* Sessions of the control socket in memory, where each message is one step: what follows when one
 * can't be sent, the stop comes, memory lacks, or a document changes between two looks at it. There
 * is no socket: what is received stands ready, what is sent is kept. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/store_helpers.h"

#include "fs/serve.h"
#include "fs/serve_conn.h"
#include "fs/serve_session.h"
#include "storage/version.h"

#define SENDS_MAX 64
#define SMALL 30000
#define SMALLS 60 /* four batches of them */
#define LARGE_ID 1000
#define LARGE (2 * PFS_WIRE_PIECE_MAX + 7)
#define PAGES 9000 /* three messages */
#define FENCE 64

static struct {
	/* The connection. */
	uint8_t *requests, *came;
	size_t requests_len, received, came_len, ends[SENDS_MAX];
	unsigned sends, fails_at, stops_at; /* the n-th is not sent; the stop has come then */
	bool stopped;
	/* The store. */
	bool no_memory;
	unsigned lookups, gets, lookup_nth; /* the n-th lookup fails so, or says so many bytes */
	int lookup_err;
	uint64_t lookup_size;
	bool reads; /* a piece is read so */
	ssize_t read;
	bool findings_only, progress_only; /* a check that goes on until it is stopped */
	/* Training. */
	unsigned mallocs, malloc_nth, trainings;
	uint8_t *fences[2];
	size_t sizes[2], samples;
	/* The hooks. */
	unsigned told, unmounts;
	int unmount_err;
	const char *unmount_reason;
} fake;

/* ---- the connection ---- */

static int poll_in_memory(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	assert_true(count == 1 ? timeout_ms == 0 : timeout_ms > 0);
	fds[count - 1].revents = fake.stopped ? POLLIN : 0;
	return count == 1 ? fake.stopped : 1;
}

static ssize_t recv_in_memory(int fd, void *buf, size_t len, int flags)
{
	size_t n = pfs_min_u64(len, fake.requests_len - fake.received);

	(void)fd;
	assert_int_equal(flags, 0);
	memcpy(buf, fake.requests + fake.received, n);
	fake.received += n;
	return (ssize_t)n;
}

static ssize_t send_in_memory(int fd, const void *buf, size_t len, int flags)
{
	(void)fd;
	assert_int_equal(flags, MSG_NOSIGNAL);
	assert_true(fake.sends < SENDS_MAX - 1);
	if (++fake.sends == fake.fails_at) {
		errno = EIO;
		return -1;
	}
	fake.came = realloc(fake.came, fake.came_len + len);
	assert_non_null(fake.came);
	memcpy(fake.came + fake.came_len, buf, len);
	fake.came_len += len;
	fake.ends[fake.sends] = fake.came_len;
	if (fake.sends == fake.stops_at)
		fake.stopped = true;
	return (ssize_t)len;
}

/* ---- the store ---- */

static int pages_as_told(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	(void)store;
	*out = calloc(PAGES, sizeof(**out));
	assert_non_null(*out);
	*count = PAGES;
	return 0;
}

static int check_as_told(struct pfs_store *store, pfs_finding_fn *on_finding,
			 pfs_progress_fn *progress, void *arg, const bool *stop,
			 struct pfs_check_result *result)
{
	const struct pfs_finding finding = {.where = "pages-1", .text = "damaged"};
	bool goes_on = fake.findings_only || fake.progress_only;

	(void)store;
	*result = (struct pfs_check_result){0};
	for (unsigned i = 0; goes_on ? !*stop : i < 2; i++) {
		assert_true(i < SENDS_MAX); /* nobody stops it */
		if (!fake.progress_only)
			on_finding(arg, &finding);
		if (!fake.findings_only)
			progress(arg, i, 2);
	}
	return goes_on ? -ECANCELED : 0;
}

static int compact_as_told(struct pfs_store *store, pfs_progress_fn *progress, void *arg,
			   const bool *stop, struct pfs_compact_result *result)
{
	(void)store;
	(void)stop;
	*result = (struct pfs_compact_result){0};
	progress(arg, 1, 2);
	progress(arg, 2, 2);
	return 0;
}

/* Whether a lookup is to fail; it leaves attr as it was then. */
static bool lookup_fails(void)
{
	return ++fake.lookups == fake.lookup_nth && fake.lookup_err;
}

/* What one that did not fail says. */
static int looked_up(int err, struct pfs_attr *attr)
{
	if (!err && fake.lookups == fake.lookup_nth)
		attr->size = fake.lookup_size;
	return err;
}

static int lookup_as_told(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
			  struct pfs_attr *attr)
{
	return lookup_fails() ? fake.lookup_err
			      : looked_up(pfs_lookup(store, key, object, attr), attr);
}

static int snapshot_lookup_as_told(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				   struct pfs_attr *attr)
{
	return lookup_fails() ? fake.lookup_err
			      : looked_up(pfs_snapshot_lookup(snapshot, key, attr), attr);
}

static int get_as_told(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
		       struct pfs_attr *attr)
{
	fake.gets++;
	return pfs_get(store, key, data, len, attr);
}

static int snapshot_get_as_told(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				void **data, size_t *len, struct pfs_attr *attr)
{
	fake.gets++;
	return pfs_snapshot_get(snapshot, key, data, len, attr);
}

static ssize_t snapshot_read_as_told(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				     uint64_t off, void *buf, size_t len)
{
	return fake.reads ? fake.read : pfs_snapshot_read(snapshot, key, off, buf, len);
}

static void *calloc_as_told(size_t count, size_t size)
{
	return fake.no_memory ? NULL : calloc(count, size);
}

/* With a fence behind it. */
static void *fenced_malloc(size_t len)
{
	unsigned nth = fake.mallocs++;
	uint8_t *p;

	assert_true(nth < pfs_array_len(fake.fences));
	fake.sizes[nth] = len;
	if (fake.mallocs == fake.malloc_nth)
		return NULL;
	p = malloc(len + FENCE);
	assert_non_null(p);
	memset(p, 0xee, len + FENCE);
	fake.fences[nth] = p + len;
	return p;
}

static void expect_fence(unsigned nth)
{
	for (size_t i = 0; i < FENCE; i++)
		assert_int_equal(fake.fences[nth][i], 0xee);
}

static void fenced_free(void *p)
{
	for (unsigned i = 0; p && i < pfs_array_len(fake.fences); i++)
		if (fake.fences[i] == (uint8_t *)p + fake.sizes[i])
			expect_fence(i);
	free(p);
}

static int train_as_told(struct pfs_store *store, bool force, struct pfs_train_result *result)
{
	(void)store;
	(void)force;
	*result = (struct pfs_train_result){0};
	return 0;
}

static int train_from_as_told(struct pfs_store *store, const void *data, const size_t *lens,
			      size_t count, struct pfs_train_result *result)
{
	(void)store;
	assert_non_null(data);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(lens[i], 0);
	fake.trainings++;
	fake.samples = count;
	*result = (struct pfs_train_result){0};
	return 0;
}

/* The daemon's objects are not in the library. */
#define poll(fds, count, timeout_ms) poll_in_memory(fds, count, timeout_ms)
#define recv(fd, buf, len, flags) recv_in_memory(fd, buf, len, flags)
#define send(fd, buf, len, flags) send_in_memory(fd, buf, len, flags)
#include "fs/serve_conn.c"
#undef send
#undef recv
#undef poll
#define pfs_store_pages pages_as_told
#define pfs_store_check check_as_told
#define pfs_store_compact compact_as_told
#include "fs/serve_answer.c"
#undef pfs_store_compact
#undef pfs_store_check
#undef pfs_store_pages
#define pfs_lookup lookup_as_told
#define pfs_snapshot_lookup snapshot_lookup_as_told
#define pfs_get get_as_told
#define pfs_snapshot_get snapshot_get_as_told
#define pfs_snapshot_read snapshot_read_as_told
#define calloc(count, size) calloc_as_told(count, size)
#include "fs/serve_export.c"
#undef calloc
#undef pfs_snapshot_read
#undef pfs_snapshot_get
#undef pfs_get
#undef pfs_snapshot_lookup
#undef pfs_lookup
#define malloc(len) fenced_malloc(len)
#define free(p) fenced_free(p)
#define pfs_train train_as_told
#define pfs_train_from train_from_as_told
#include "fs/serve_session.c"
#undef pfs_train_from
#undef pfs_train
#undef free
#undef malloc

/* ---- the fixture ---- */

static struct pfs_sim *sim;
static struct pfs_store *store;
static struct pfs_wire_out out;

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		if (changes[i].replaced)
			pfs_release(store, changes[i].replaced);
	fake.told += (unsigned)count;
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	(void)arg;
	fake.unmounts++;
	snprintf(reason->text, sizeof(reason->text), "%s",
		 fake.unmount_reason ? fake.unmount_reason : "");
	return fake.unmount_err;
}

/* Forgets what was asked and came, and what was told to fail. */
static void forget(void)
{
	free(fake.requests);
	free(fake.came);
	memset(&fake, 0, sizeof(fake));
}

static int setup(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct pfs_reason reason;

	(void)state;
	forget();
	sim = pfs_sim_new();
	create_store(sim, 4 * PFS_MIB, 16);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	forget();
	pfs_wire_out_free(&out);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return 0;
}

static void put_bytes(uint64_t id, size_t len)
{
	const struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	fill_document(bytes, len, id);
	assert_int_equal(pfs_put(store, &key, bytes, len, NULL, 0, NULL), 0);
	free(bytes);
}

static void put_small_ones(void)
{
	for (uint64_t id = 1; id <= SMALLS; id++)
		put_bytes(id, SMALL);
}

static void done(void)
{
	assert_int_equal(pfs_wire_end(&out), 0);
	fake.requests = realloc(fake.requests, fake.requests_len + out.len);
	assert_non_null(fake.requests);
	memcpy(fake.requests + fake.requests_len, out.buf, out.len);
	fake.requests_len += out.len;
}

static void request(unsigned type, const void *body, size_t len)
{
	pfs_wire_begin(&out, (enum pfs_wire_type)type, 0);
	pfs_wire_raw(&out, body, len);
	done();
}

static void request_key(unsigned type, uint64_t id)
{
	const struct pfs_key key = pfs_key_num(id);

	pfs_wire_begin(&out, (enum pfs_wire_type)type, 0);
	pfs_wire_key(&out, &key);
	done();
}

static enum pfs_session_end run(void)
{
	const struct pfs_session_env env = {
		.store = store,
		.hooks = {.changed = on_changed, .unmount = on_unmount},
		.mountpoint = "/mnt/p",
	};
	struct pfs_conn conn = {.fd = -1, .stop_fd = -1};
	enum pfs_session_end end = pfs_session_run(&conn, &env);

	pfs_conn_close(&conn);
	return end;
}

/* The types of what came, a letter each: B and b a document that begins, D data, E its end, O
 * documents, C copies, K keys, F a finding, P progress, S pages, R a reply, r one that says an
 * error. */
static const char *came(void)
{
	static const struct {
		unsigned type;
		char letter;
	} letters[] = {
		{PFS_WIRE_DOC_BEGIN, 'B'},  {PFS_WIRE_COPY_BEGIN, 'b'}, {PFS_WIRE_DATA, 'D'},
		{PFS_WIRE_DOC_END, 'E'},    {PFS_WIRE_DOCS, 'O'},	{PFS_WIRE_COPIES, 'C'},
		{PFS_WIRE_KEYS, 'K'},	    {PFS_WIRE_FINDING, 'F'},	{PFS_WIRE_PROGRESS, 'P'},
		{PFS_WIRE_PAGE_STATS, 'S'}, {PFS_WIRE_REPLY, 'R'},
	};
	static char seen[SENDS_MAX];
	size_t at = 0, count = 0;

	while (at < fake.came_len) {
		struct pfs_wire_header header;

		assert_int_equal(pfs_wire_header(&header, fake.came + at), 0);
		for (size_t i = 0; i < pfs_array_len(letters); i++)
			if (letters[i].type == header.type)
				seen[count] = letters[i].letter;
		if (header.type == PFS_WIRE_REPLY && header.status)
			seen[count] = 'r';
		else
			assert_int_equal(header.status, 0);
		assert_int_equal(fake.ends[++count], at += PFS_WIRE_HEADER_LEN + header.len);
	}
	seen[count] = '\0';
	return seen;
}

/* The body of the n-th message that came, from 0. */
static struct pfs_wire_in body_of(unsigned nth)
{
	assert_true(nth < fake.sends);
	return pfs_wire_in(fake.came + fake.ends[nth] + PFS_WIRE_HEADER_LEN,
			   fake.ends[nth + 1] - fake.ends[nth] - PFS_WIRE_HEADER_LEN);
}

static int status_of(unsigned nth)
{
	struct pfs_wire_header header;

	assert_true(nth < fake.sends);
	assert_int_equal(pfs_wire_header(&header, fake.came + fake.ends[nth]), 0);
	return header.status;
}

/* ---- what can't be sent ---- */

struct asked {
	unsigned type;
	char body[16];
	size_t len;
	uint64_t id; /* its key is all of the body */
	bool snapshot;
	const char *came; /* if all goes well: the snapshot, this, and a request after it */
};

static void ask(const struct asked *asked)
{
	if (asked->snapshot)
		request(PFS_WIRE_SNAPSHOT, "", 0);
	if (asked->type == PFS_WIRE_PUT_END)
		request(PFS_WIRE_PUT_BEGIN, "", 0);
	if (asked->id)
		request_key(asked->type, asked->id);
	else
		request(asked->type, asked->body, asked->len);
	request(PFS_WIRE_SYNC, "", 0);
}

/* Proves: of each request, whichever of its messages can't be sent, none follows: neither another
 * part, nor a reply that looks as if all was well, nor an answer to the next request. */
static void what_can_not_be_sent_is_the_last(void **state)
{
	static const struct asked asked[] = {
		{PFS_WIRE_HELLO, "", 0, 0, false, "RR"},
		{PFS_WIRE_GET, "", 0, LARGE_ID, false, "BDDDRR"},
		{PFS_WIRE_GET, "", 0, 999, false, "rR"},
		{PFS_WIRE_REMOVE, "", 0, 999, false, "RR"},
		{PFS_WIRE_LIST, "\3", 1, 0, false, "KRR"},
		{PFS_WIRE_EXPORT, "", 0, 0, false, "OOOOBDDDERR"},
		{PFS_WIRE_EXPORT, "", 0, 0, true, "ROOOOBDDDERR"},
		{PFS_WIRE_EXPORT_KEYS, "", 0, LARGE_ID, false, "BDDDERR"},
		{PFS_WIRE_EXPORT_KEYS, "", 0, 1, false, "ORR"},
		{PFS_WIRE_STAT, "", 0, 0, false, "RR"},
		{PFS_WIRE_PLACE, "", 0, 1, false, "RR"},
		{PFS_WIRE_PLACE, "", 0, 999, false, "rR"},
		{PFS_WIRE_CHECK, "", 0, 0, false, "FPFPRR"},
		{PFS_WIRE_TRAIN, "\1", 1, 0, false, "RR"},
		{PFS_WIRE_TRAIN_FROM, "", 0, 0, false, "RR"},
		{PFS_WIRE_COMPACT, "", 0, 0, false, "PPRR"},
		{PFS_WIRE_UNMOUNT, "\1\0\0\0?", 5, 0, false, "rR"},
		{PFS_WIRE_SNAPSHOT_END, "", 0, 0, true, "RRR"},
		{PFS_WIRE_COPY, "", 0, 0, true, "RCCCCbDDDERR"},
		{PFS_WIRE_COPY, "", 0, 0, false, "rR"},
		{PFS_WIRE_COPY_KEYS, "", 0, LARGE_ID, true, "RbDDDERR"},
		{PFS_WIRE_COPY_KEYS, "", 0, LARGE_ID, false, "rR"},
		{PFS_WIRE_PAGES, "", 0, 0, false, "SSSRR"},
		{999, "", 0, 0, false, "rR"},
		{PFS_WIRE_PUT_END, "", 0, 2000, false, "RR"},
		{PFS_WIRE_IMPORT, "\1\1\0\0\0\0\0\0\0\0\0\0\0", 13, 0, false, "RR"},
	};

	(void)state;
	put_small_ones();
	put_bytes(LARGE_ID, LARGE);
	for (size_t i = 0; i < pfs_array_len(asked); i++) {
		const size_t count = strlen(asked[i].came);

		for (unsigned nth = 0; nth <= count; nth++) {
			forget();
			fake.fails_at = nth;
			ask(&asked[i]);
			assert_int_equal(run(), PFS_SESSION_OVER);
			if (strncmp(came(), asked[i].came, nth ? nth - 1 : count) != 0 ||
			    fake.sends != (nth ? nth : count) || came()[nth ? nth - 1 : count])
				fail_msg("request %u, message %u: %s came", asked[i].type, nth,
					 came());
		}
		/* What it did was told all the same, though it could not be answered. */
		if (asked[i].type == PFS_WIRE_PUT_END || asked[i].type == PFS_WIRE_IMPORT)
			assert_int_equal(fake.told, 1);
	}
}

/* Proves: a document of which the last word could not be said is an error of the connection, in an
 * export as in a list of pages; nobody takes them for sent. */
static void errors_of_the_connection_are_returned(void **state)
{
	struct pfs_conn conn = {.fd = -1, .stop_fd = -1};
	struct pfs_wire_in none = {0};
	struct pfs_export from = {.conn = &conn, .store = store};

	(void)state;
	put_bytes(LARGE_ID, LARGE);
	fake.fails_at = 5; /* the end of the document */
	assert_int_equal(pfs_export_all(&from), -EIO);
	assert_string_equal(came(), "BDDD");
	for (unsigned nth = 1; nth <= 4; nth++) {
		forget();
		fake.fails_at = nth;
		assert_int_equal(pfs_answer_pages(&conn, store, &none), -EIO);
		forget();
		fake.fails_at = nth <= 3 ? nth : 3;
		assert_int_equal(pfs_answer_compact(&conn, store, &none), -EIO);
		forget();
		fake.fails_at = nth;
		assert_int_equal(pfs_answer_check(&conn, store, &none), -EIO);
	}
	pfs_conn_close(&conn);
}

/* Proves: a check that has only findings to say, or only how far it is, ends with its client. */
static void a_check_ends_with_its_client(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		forget();
		fake.findings_only = i % 2;
		fake.progress_only = !fake.findings_only;
		fake.fails_at = i < 2 ? 3 : 0;
		fake.stops_at = i < 2 ? 0 : 3;
		request(PFS_WIRE_CHECK, "", 0);
		assert_int_equal(run(), PFS_SESSION_OVER);
		/* Who is there still hears that it was cut off. */
		assert_string_equal(came(), i == 0   ? "PP"
					    : i == 1 ? "FF"
					    : i == 2 ? "PPPr"
						     : "FFFr");
	}
}

/* ---- the stop ---- */

/* Proves: a stop ends an export with the batch that is sent, a list with its message, a document
 * with its piece; no reply follows. */
static void the_stop_ends_long_answers(void **state)
{
	static const struct {
		struct asked asked;
		const char *came[8]; /* if it comes with the n-th message */
	} cases[] = {
		{{PFS_WIRE_EXPORT, "", 0, 0, false, ""}, {"O", "OO", "OOO", "OOOOR"}},
		{{PFS_WIRE_COPY, "", 0, 0, true, ""}, {"R", "RC", "RCC", "RCCC", "RCCCCR"}},
		{{PFS_WIRE_LIST, "\3", 1, 0, false, ""}, {"K", "KK"}},
		{{PFS_WIRE_GET, "", 0, LARGE_ID, false, ""}, {"BD", "BD", "BDD", "BDDD"}},
		{{PFS_WIRE_EXPORT_KEYS, "", 0, LARGE_ID, true, ""},
		 {"R", "RBD", "RBD", "RBDD", "RBDDD"}},
	};

	put_small_ones();
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		if (cases[i].asked.type == PFS_WIRE_LIST) {
			for (uint64_t id = 2000; id < 2000 + LIST_STEP; id++)
				put_bytes(id, 1);
		} else if (cases[i].asked.type == PFS_WIRE_GET) {
			teardown(state);
			setup(state);
			put_bytes(LARGE_ID, LARGE);
		}
		for (unsigned nth = 0; cases[i].came[nth]; nth++) {
			forget();
			fake.stops_at = nth + 1;
			ask(&cases[i].asked);
			assert_int_equal(run(), PFS_SESSION_OVER);
			assert_string_equal(came(), cases[i].came[nth]);
		}
	}
}

/* ---- what changes or lacks ---- */

/* Proves: where there is no memory for the names the connection ends: nobody takes that for a store
 * that has none. */
static void names_need_memory(void **state)
{
	static const struct asked asked[] = {
		{PFS_WIRE_LIST, "\3", 1, 0, false, ""},
		{PFS_WIRE_EXPORT, "", 0, 0, false, ""},
		{PFS_WIRE_COPY, "", 0, 0, true, "R"},
	};

	(void)state;
	put_bytes(1, 1);
	for (size_t i = 0; i < pfs_array_len(asked); i++) {
		forget();
		fake.no_memory = true;
		ask(&asked[i]);
		assert_int_equal(run(), PFS_SESSION_OVER);
		assert_string_equal(came(), asked[i].came);
	}
}

/* Proves: a document is looked up before it is read whole; one that turns out large only then comes
 * in pieces all the same; one that was large and is small comes in one. */
static void documents_may_grow_between_two_looks(void **state)
{
	(void)state;
	put_bytes(1, 10);
	put_bytes(LARGE_ID, PFS_WIRE_PIECE_MAX + 1);
	put_bytes(LARGE_ID + 1, PFS_WIRE_PIECE_MAX);
	for (unsigned snapshot = 0; snapshot < 2; snapshot++) {
		struct asked asked = {PFS_WIRE_EXPORT_KEYS,	      "", 0, LARGE_ID, snapshot,
				      snapshot ? "RBDDERR" : "BDDERR"};

		forget();
		ask(&asked);
		run();
		assert_string_equal(came(), asked.came);
		assert_int_equal(fake.gets, 0);
		forget();
		fake.lookup_nth = 1;
		fake.lookup_size = 10;
		ask(&asked);
		run();
		assert_string_equal(came(), asked.came);
		assert_int_equal(fake.gets, 1);
		forget();
		asked.id = 1;
		fake.lookup_nth = 1;
		fake.lookup_size = PFS_WIRE_PIECE_MAX + 1;
		ask(&asked);
		run();
		assert_string_equal(came(), snapshot ? "RBDERR" : "BDERR");
		assert_int_equal(fake.gets, 0);
		/* The largest of the small ones. */
		forget();
		asked.id = LARGE_ID + 1;
		ask(&asked);
		run();
		assert_string_equal(came(), snapshot ? "RORR" : "ORR");
		assert_int_equal(fake.gets, 1);
	}
}

/* Proves: a document of a snapshot whose bytes are not all there is not taken for whole, and has
 * the status of what was wrong; the connection goes on. One that can't be looked up is not begun.
 */
static void documents_of_a_snapshot_may_fail(void **state)
{
	static const struct {
		ssize_t read;
		int lookup_err, status;
	} cases[] = {
		{-EIO, 0, -EIO},     {-ENOENT, 0, -EAGAIN}, {0, 0, -EAGAIN},	   {1, 0, -EAGAIN},
		{LARGE, 0, -EAGAIN}, {0, -EIO, -EIO},	    {0, -ENOMEM, -ENOMEM}, {0, -ENOENT, 0},
	};
	const struct pfs_key want = pfs_key_num(LARGE_ID);

	(void)state;
	put_bytes(LARGE_ID, LARGE);
	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		const size_t n = i / 2;
		const bool copy = i % 2;
		const struct asked asked = {copy ? PFS_WIRE_COPY_KEYS : PFS_WIRE_EXPORT_KEYS,
					    "",
					    0,
					    LARGE_ID,
					    true,
					    ""};
		struct pfs_wire_in in;
		struct pfs_key key;

		forget();
		fake.reads = true;
		fake.read = cases[n].read;
		fake.lookup_nth = cases[n].lookup_err ? 2 : 0;
		fake.lookup_err = cases[n].lookup_err;
		ask(&asked);
		run();
		if (!cases[n].status) {
			assert_string_equal(came(), "RRR");
			continue;
		}
		if (cases[n].lookup_err)
			assert_string_equal(came(), copy ? "RCRR" : "RORR");
		else
			assert_string_equal(came(), copy ? "RbCRR" : "RBORR");
		in = body_of(fake.sends - 3);
		pfs_wire_get_key(&in, &key);
		assert_true(pfs_key_equal(&key, &want));
		assert_int_equal(pfs_wire_get_status(&in), cases[n].status);
		for (unsigned field = 0; copy && field < 7; field++)
			assert_int_equal(pfs_wire_get_u64(&in), 0);
		assert_int_equal(pfs_wire_get_u32(&in), 0);
		assert_int_equal(pfs_wire_done(&in), 0);
	}
}

/* Proves: a document that can't be looked up is not read, and has the status of that, with
 * attributes of nothing; the others come. */
static void what_can_not_be_looked_up_has_its_status(void **state)
{
	(void)state;
	put_bytes(1, 10);
	put_bytes(2, 10);
	for (unsigned way = 0; way < 3; way++) {
		const bool copy = way == 2;
		struct pfs_wire_in in;
		struct pfs_key key;
		size_t len;

		forget();
		fake.lookup_nth = 1;
		fake.lookup_err = -EIO;
		if (way > 0)
			request(PFS_WIRE_SNAPSHOT, "", 0);
		request(copy ? PFS_WIRE_COPY : PFS_WIRE_EXPORT, "", 0);
		run();
		assert_string_equal(came(), copy ? "RCR" : way ? "ROR" : "OR");
		assert_int_equal(fake.gets, 1);
		in = body_of(way > 0);
		for (uint64_t id = 1; id <= 2; id++) {
			pfs_wire_get_key(&in, &key);
			assert_int_equal(key.num, id);
			assert_int_equal(pfs_wire_get_status(&in), id == 1 ? -EIO : 0);
			for (unsigned field = 0; copy && field < 7; field++) {
				uint64_t value = pfs_wire_get_u64(&in);

				if (id == 1 || field == 0)
					assert_int_equal(value, id == 1 ? 0 : 10);
			}
			pfs_wire_get_bytes(&in, &len);
			assert_int_equal(len, id == 1 ? 0 : 10);
		}
		assert_int_equal(pfs_wire_done(&in), 0);
	}
}

/* Proves: a batch that has reached the bound, to the byte, is sent; one byte below it takes more.
 */
static void a_batch_is_due_at_its_bound(void **state)
{
	const size_t head = 1 + 8 + 4 + 4; /* of a document: key, status, length */

	(void)state;
	put_bytes(2, 1);
	for (size_t less = 0; less < 2; less++) {
		forget();
		put_bytes(1, PFS_WIRE_BATCH_SOFT - head - less);
		pfs_wire_begin(&out, PFS_WIRE_EXPORT_KEYS, 0);
		for (uint64_t id = 1; id <= 2; id++) {
			const struct pfs_key key = pfs_key_num(id);

			pfs_wire_key(&out, &key);
		}
		done();
		run();
		assert_string_equal(came(), less ? "OR" : "OOR");
	}
}

/* Proves: of the names that a step gives all are taken and no more; the next step follows the last
 * of them, and at the end it stays where it was. */
static void names_are_taken_step_by_step(void **state)
{
	struct names *names = malloc(sizeof(*names));
	struct pfs_snapshot *snapshot;

	(void)state;
	assert_non_null(names);
	for (uint64_t id = 1; id <= 3; id++)
		put_bytes(id, 1);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	for (unsigned then = 0; then < 2; then++) {
		struct pfs_export from = {.store = store, .snapshot = then ? snapshot : NULL};
		uint64_t after;

		memset(names, 0xff, sizeof(*names));
		names->after = 0;
		memset(names->keys, 0x11, sizeof(names->keys));
		assert_int_equal(next_names(&from, names), 3);
		for (uint64_t id = 1; id <= 3; id++)
			assert_int_equal(names->keys[id - 1].num, id);
		assert_int_equal(names->keys[3].kind, 0x11);
		/* One that is the last of all is the last of its step, too. */
		after = names->after;
		names->after = then ? names->listed.then[1].cookie : names->listed.now[1].cookie;
		assert_int_equal(next_names(&from, names), 1);
		assert_int_equal(names->keys[0].num, 3);
		assert_true(names->after == after);
		names->keys[0].kind = 0x11;
		assert_int_equal(next_names(&from, names), 0);
		assert_int_equal(names->keys[0].kind, 0x11);
		assert_true(names->after == after);
	}
	pfs_snapshot_close(snapshot);
	free(names);
}

/* ---- training ---- */

/* Proves: samples take no more memory than their message, and a length of each that it can hold;
 * all of these have room, and a broken one behind them. Of a broken message nothing is trained. */
static void samples_have_room(void **state)
{
	uint8_t body[4096] = {0}; /* empty samples */

	(void)state;
	for (size_t len = 0; len <= sizeof(body); len += len < 12 ? 1 : 1021) {
		const bool whole = len % 4 == 0;

		forget();
		request(PFS_WIRE_TRAIN_FROM, body, len);
		run();
		assert_int_equal(fake.mallocs, 2);
		assert_in_range(fake.sizes[0], len, len + 1);
		assert_in_range(fake.sizes[1], (len / 4) * sizeof(size_t),
				(len / 4 + 1) * sizeof(size_t));
		assert_string_equal(came(), whole ? "R" : "");
		assert_int_equal(fake.trainings, whole);
		assert_int_equal(fake.samples, whole ? len / 4 : 0);
	}
}

/* Proves: where there is no memory for the samples that is the answer, with figures of nothing, and
 * nothing is trained, be there samples or not. */
static void samples_need_memory(void **state)
{
	const uint8_t body[8] = {0};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct pfs_wire_in in;

		forget();
		fake.malloc_nth = 1 + i / 2;
		request(PFS_WIRE_TRAIN_FROM, body, i % 2 ? sizeof(body) : 0);
		run();
		assert_string_equal(came(), "R");
		assert_int_equal(fake.trainings, 0);
		in = body_of(0);
		assert_int_equal(pfs_wire_get_status(&in), -ENOMEM);
		while (pfs_wire_more(&in))
			assert_int_equal(pfs_wire_get_u64(&in), 0);
	}
}

/* ---- the end ---- */

/* Proves: a mount point is compared whole, however short it is, and so is a reason said. */
static void short_words_count(void **state)
{
	struct pfs_wire_in in;
	char text[64];

	(void)state;
	request(PFS_WIRE_UNMOUNT, "\1\0\0\0/", 5);
	assert_int_equal(run(), PFS_SESSION_OVER);
	assert_string_equal(came(), "r");
	assert_int_equal(status_of(0), -ENXIO);
	assert_int_equal(fake.unmounts, 0);
	forget();
	fake.unmount_err = -EROFS;
	fake.unmount_reason = "?";
	request(PFS_WIRE_UNMOUNT, "\0\0\0\0", 4);
	assert_int_equal(run(), PFS_SESSION_OVER);
	assert_int_equal(status_of(0), -EROFS);
	in = body_of(0);
	pfs_wire_get_text(&in, text, sizeof(text));
	assert_string_equal(text, "?");
	assert_int_equal(fake.unmounts, 1);
	/* Who is to wait waits, whether it could be told or not. */
	forget();
	fake.fails_at = 1;
	request(PFS_WIRE_UNMOUNT, "\0\0\0\0", 4);
	assert_int_equal(run(), PFS_SESSION_WAITING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_can_not_be_sent_is_the_last),
		TEST(errors_of_the_connection_are_returned),
		TEST(a_check_ends_with_its_client),
		TEST(the_stop_ends_long_answers),
		TEST(names_need_memory),
		TEST(documents_may_grow_between_two_looks),
		TEST(documents_of_a_snapshot_may_fail),
		TEST(what_can_not_be_looked_up_has_its_status),
		TEST(a_batch_is_due_at_its_bound),
		TEST(names_are_taken_step_by_step),
		TEST(samples_have_room),
		TEST(samples_need_memory),
		TEST(short_words_count),
	};

	return cmocka_run_group_tests_name("sessions of the control socket in memory", tests, NULL,
					   NULL);
}
