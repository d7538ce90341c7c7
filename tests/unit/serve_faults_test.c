/* The daemon's side of the control socket where the store or the system fails: what the client is
 * told, and that the daemon goes on, or ends when it is to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store.h"
#include "storage/wire.h"

#define LARGE (2 * PFS_MIB + 5) /* more than one piece, and than a socket holds */

/* What fails; 0 or false: nothing. */
static struct {
	atomic_int peer_err, accept_err, socket_err, listen_err, thread_err;
	atomic_int accepts_that_fail;
	atomic_int stat_err, pages_err, check_err, compact_err;
	atomic_int read_err;
	atomic_int short_reads; /* so many see a document that is shorter already */
	atomic_int changes;	/* so many looks at a place see another sequence */
	atomic_int put_err;
	atomic_size_t put_before; /* documents of a row that are put before it fails */
	atomic_int list_err;
	/* The daemon is told to end when so many calls of the store have been made. */
	atomic_int calls_to_the_end;
	atomic_int stop_fd;
	atomic_int recv_errs[2]; /* the next ones that are to fail */
	atomic_bool no_memory;	 /* for a piece of a document */
	atomic_bool roomy;	 /* connections hold all that is sent, whether it is taken or not */
} fake;

static void count_call(void)
{
	const uint64_t one = 1;

	if (fake.calls_to_the_end && --fake.calls_to_the_end == 0)
		assert_int_equal(write(fake.stop_fd, &one, sizeof(one)), sizeof(one));
}

/* ---- the store ---- */

static int fake_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	return fake.stat_err ? fake.stat_err : pfs_store_stat(store, out);
}

static int fake_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	return fake.pages_err ? fake.pages_err : pfs_store_pages(store, out, count);
}

static const struct pfs_finding findings[] = {
	{.fatal = true,
	 .where = "pages-1",
	 .offset = 4096,
	 .key.kind = PFS_KEY_NUM,
	 .key.num = 42,
	 .text = "a value is damaged"},
	{.fatal = false, .where = "journal", .offset = 0, .text = "a remark"},
};

/* A check that finds what is above; or fails; or goes on until it is stopped. */
static int fake_check(struct pfs_store *store, pfs_finding_fn *on_finding,
		      pfs_progress_fn *progress, void *arg, const bool *stop,
		      struct pfs_check_result *result)
{
	(void)store;
	*result = (struct pfs_check_result){0};
	if (fake.check_err == -ECANCELED) {
		for (uint64_t i = 0; !__atomic_load_n(stop, __ATOMIC_RELAXED); i++) {
			on_finding(arg, &findings[i % 2]);
			progress(arg, i, i + 1);
		}
		/* What comes after the client has gone is not sent. */
		on_finding(arg, &findings[0]);
		progress(arg, 1, 1);
		return -ECANCELED;
	}
	for (size_t i = 0; i < pfs_array_len(findings); i++)
		on_finding(arg, &findings[i]);
	progress(arg, 7, 7);
	result->findings = pfs_array_len(findings);
	return fake.check_err;
}

static int fake_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg,
			const bool *stop, struct pfs_compact_result *result)
{
	(void)store;
	memset(result, 0, sizeof(*result));
	if (fake.compact_err == -ECANCELED)
		while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
			progress(arg, 1, 2);
	return fake.compact_err;
}

static ssize_t fake_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
			 size_t len)
{
	count_call();
	if (fake.read_err)
		return fake.read_err;
	if (fake.short_reads > 0 && fake.short_reads-- > 0)
		return (ssize_t)len - 1;
	return pfs_read(store, object, off, buf, len);
}

static int fake_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out)
{
	int err = pfs_place(store, key, out);

	if (!err && fake.changes > 0)
		out->sequence += (uint64_t)fake.changes--;
	return err;
}

static ssize_t fake_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
			 size_t max)
{
	count_call();
	return fake.list_err ? fake.list_err : pfs_list(store, after, out, max);
}

static size_t fake_put_many(struct pfs_store *store, struct pfs_put_item *items, size_t count,
			    int *err)
{
	size_t put;

	count_call();
	if (!fake.put_err || count <= fake.put_before)
		return pfs_put_many(store, items, count, err);
	put = pfs_put_many(store, items, fake.put_before, err);
	*err = fake.put_err;
	/* Of one's own fault only this one is refused. */
	if (pfs_put_is_own_fault(fake.put_err))
		fake.put_err = 0;
	return put;
}

/* ---- the system ---- */

static uint8_t *fake_reserve(struct pfs_wire_out *out, size_t len)
{
	return fake.no_memory ? NULL : pfs_wire_reserve(out, len);
}

static ssize_t fake_recv(int fd, void *buf, size_t len, int flags)
{
	for (size_t i = 0; i < pfs_array_len(fake.recv_errs); i++) {
		errno = atomic_exchange(&fake.recv_errs[i], 0);
		if (errno)
			return -1;
	}
	return recv(fd, buf, len, flags);
}

static int fake_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	errno = fake.peer_err;
	return fake.peer_err ? -1 : getsockopt(fd, level, name, value, len);
}

static int fake_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	if (fake.accepts_that_fail > 0) {
		fake.accepts_that_fail--;
		errno = fake.accept_err;
		return -1;
	}
	fd = accept4(fd, address, len, flags);
	if (fd >= 0 && fake.roomy) {
		const int room = 16 * PFS_MIB;

		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	}
	return fd;
}

static int fake_socket(int domain, int type, int protocol)
{
	errno = fake.socket_err;
	return fake.socket_err ? -1 : socket(domain, type, protocol);
}

static int fake_listen(int fd, int backlog)
{
	errno = fake.listen_err;
	return fake.listen_err ? -1 : listen(fd, backlog);
}

static int fake_thread(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
		       void *arg)
{
	return fake.thread_err ? fake.thread_err : pthread_create(thread, attr, fn, arg);
}

/* The daemon's and the tools' objects are not in the library. */
#define getsockopt fake_getsockopt
#define accept4 fake_accept4
#define socket fake_socket
#define listen fake_listen
#define pthread_create fake_thread
#include "fs/serve.c"
#undef pthread_create
#undef listen
#undef socket
#undef accept4
#undef getsockopt
#define pfs_store_stat(store, out) fake_stat(store, out)
#define pfs_store_pages fake_pages
#define pfs_store_check fake_check
#define pfs_store_compact fake_compact
#include "fs/serve_answer.c"
#undef pfs_store_stat
#define pfs_read fake_read
#define pfs_place(store, key, out) fake_place(store, key, out)
#define pfs_list fake_list
#define pfs_wire_reserve fake_reserve
#include "fs/serve_export.c"
#undef pfs_wire_reserve
#undef pfs_place
#undef pfs_list
#undef pfs_read
#define recv fake_recv
#include "fs/serve_conn.c"
#undef recv
#define pfs_put_many fake_put_many
#include "fs/serve_session.c"
#undef pfs_put_many
#define receive_bytes client_receive_bytes
#include "tools/client.c"
#include "tests/unit/dir_helpers.h"
#undef receive_bytes

/* The last line that the daemon has logged. */
static char last_line[256];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_WARNING);
	snprintf(last_line, sizeof(last_line), "%s", line);
}

struct fixture {
	char dir[64];
	int dirfd;
	struct pfs_store *store;
	struct pfs_serve *serve;
};

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct fixture *f = arg;

	for (size_t i = 0; i < count; i++)
		if (changes[i].replaced)
			pfs_release(f->store, changes[i].replaced);
}

static int start(struct fixture *f, bool read_only)
{
	const struct pfs_serve_options options = {
		.store = f->store,
		.store_dirfd = f->dirfd,
		.mountpoint = "/mnt/p",
		.read_only = read_only,
		.hooks = {.changed = on_changed, .arg = f},
		.logger = {.fn = keep_line},
	};

	return pfs_serve_start(&f->serve, &options);
}

static int setup(void **state)
{
	const struct pfs_create_options create = {.page_size = 4 * PFS_MIB};
	const struct pfs_open_options open_options = {.hold_objects = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	memset(&fake, 0, sizeof(fake));
	strcpy(f->dir, "/tmp/payloadfs-serve.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &open_options, &reason), 0);
	f->dirfd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	assert_int_equal(start(f, false), 0);
	fake.stop_fd = f->serve->stop_fd;
	*state = f;
	return 0;
}

static void stop(struct fixture *f)
{
	pfs_serve_stop(f->serve);
	pfs_serve_finish(f->serve, 0);
	f->serve = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->serve)
		stop(f);
	assert_int_equal(pfs_store_close(f->store), 0);
	close(f->dirfd);
	remove_dir(f->dir);
	free(f);
	return 0;
}

static void put(struct fixture *f, uint64_t id, char byte, size_t len)
{
	struct pfs_key key = pfs_key_num(id);
	char *bytes = malloc(len);

	assert_non_null(bytes);
	memset(bytes, byte, len);
	assert_int_equal(pfs_put(f->store, &key, bytes, len, NULL, 0, NULL), 0);
	free(bytes);
}

static void is_alive_and_well(struct fixture *f)
{
	struct client c;

	assert_int_equal(client_connect(&c, f->dirfd), 0);
	pfs_wire_begin(&c.out, PFS_WIRE_SYNC, 0);
	assert_int_equal(client_request(&c, NULL, NULL), 0);
	client_close(&c);
}

/* What came besides the reply. */
struct parts {
	unsigned findings, progress, docs, begun, ended, names;
	uint64_t data;
	int last_status; /* of the last document of DOCS */
	bool go_away;	 /* at the first part */
};

static int take_part(void *arg, struct client *c)
{
	struct parts *p = arg;
	char where[64], text[256];
	size_t len;

	if (p->go_away)
		return -ECANCELED;
	switch (c->header.type) {
	case PFS_WIRE_FINDING: {
		const struct pfs_finding *want = &findings[p->findings++ % 2];
		struct pfs_key key;

		assert_int_equal(pfs_wire_get_u8(&c->in), want->fatal);
		pfs_wire_get_text(&c->in, where, sizeof(where));
		assert_string_equal(where, want->where);
		assert_int_equal(pfs_wire_get_u64(&c->in), want->offset);
		if (pfs_wire_get_u8(&c->in)) {
			pfs_wire_get_key(&c->in, &key);
			assert_true(pfs_key_equal(&key, &want->key));
		} else {
			assert_int_equal(want->key.kind, PFS_KEY_NONE);
		}
		pfs_wire_get_text(&c->in, text, sizeof(text));
		assert_string_equal(text, want->text);
		return client_done(c);
	}
	case PFS_WIRE_PROGRESS: p->progress++; return 0;
	case PFS_WIRE_DOC_BEGIN: p->begun++; return 0;
	case PFS_WIRE_DATA: p->data += (uint64_t)(c->in.end - c->in.p); return 0;
	case PFS_WIRE_DOC_END: p->ended++; return 0;
	case PFS_WIRE_DOCS:
		while (pfs_wire_more(&c->in)) {
			struct pfs_key key;

			pfs_wire_get_key(&c->in, &key);
			p->last_status = pfs_wire_get_status(&c->in);
			pfs_wire_get_bytes(&c->in, &len);
			p->docs++;
		}
		return client_done(c);
	case PFS_WIRE_KEYS: p->names++; return 0;
	default: return -EPROTO;
	}
}

/* The reply to a request of one key (or none), and what came before it. */
static int request(struct fixture *f, enum pfs_wire_type type, uint64_t id, struct parts *parts,
		   struct pfs_reason *reason)
{
	struct pfs_key key = pfs_key_num(id);
	struct client c;
	int err;

	assert_int_equal(client_connect(&c, f->dirfd), 0);
	pfs_wire_begin(&c.out, type, 0);
	if (type == PFS_WIRE_LIST)
		pfs_wire_u8(&c.out, PFS_WIRE_POINTS);
	else if (id)
		pfs_wire_key(&c.out, &key);
	err = client_request(&c, take_part, parts);
	if (reason)
		*reason = c.reason;
	client_close(&c);
	return err;
}

/* ---- long work ---- */

/* Proves: each finding of a check comes as it was found, before the reply. */
static void findings_come_as_they_were_found(void **state)
{
	struct fixture *f = *state;
	struct parts parts = {0};

	assert_int_equal(request(f, PFS_WIRE_CHECK, 0, &parts, NULL), 0);
	assert_int_equal(parts.findings, 2);
	assert_int_equal(parts.progress, 1);
}

/* Proves: what the store says of long work that it can't do is said to the client, in words. */
static void long_work_that_fails_is_said(void **state)
{
	struct fixture *f = *state;
	struct parts parts = {0};
	struct pfs_reason reason;

	fake.check_err = -EIO;
	assert_int_equal(request(f, PFS_WIRE_CHECK, 0, &parts, &reason), -EIO);
	fake.compact_err = -EBUSY;
	assert_int_equal(request(f, PFS_WIRE_COMPACT, 0, &parts, &reason), -EBUSY);
	assert_string_equal(reason.text, "the store is being compacted already");
	fake.compact_err = -EROFS;
	assert_int_equal(request(f, PFS_WIRE_COMPACT, 0, &parts, &reason), -EROFS);
	assert_non_null(strstr(reason.text, "read-only"));
	fake.stat_err = -EFBIG;
	assert_int_equal(request(f, PFS_WIRE_STAT, 0, &parts, &reason), -EFBIG);
	assert_string_equal(reason.text, "larger than 1 GiB");
	fake.pages_err = -ENOMEM;
	assert_int_equal(request(f, PFS_WIRE_PAGES, 0, &parts, &reason), -ENOMEM);
	assert_string_equal(reason.text, strerror(ENOMEM));
}

/* Proves: long work ends when its client goes away, and the daemon goes on. */
static void long_work_ends_with_its_client(void **state)
{
	static const enum pfs_wire_type types[] = {PFS_WIRE_CHECK, PFS_WIRE_COMPACT};
	struct fixture *f = *state;

	fake.check_err = fake.compact_err = -ECANCELED;
	for (size_t i = 0; i < pfs_array_len(types); i++) {
		struct parts parts = {.go_away = true};

		assert_int_equal(request(f, types[i], 0, &parts, NULL), -ECANCELED);
	}
	is_alive_and_well(f);
	stop(f); /* returns once they have ended */
}

/* ---- documents ---- */

/* Proves: a large document that changes while it is sent is begun again, and is whole in the end;
 * one that does not stop is an error, and so is one that can't be read, at once. */
static void documents_that_change_are_begun_again(void **state)
{
	struct fixture *f = *state;
	struct parts parts = {0};
	struct pfs_reason reason;

	put(f, 1, 'x', LARGE);
	fake.short_reads = PIECES_TRIES - 1;
	assert_int_equal(request(f, PFS_WIRE_EXPORT_KEYS, 1, &parts, NULL), 0);
	assert_int_equal(parts.begun, PIECES_TRIES);
	assert_int_equal(parts.ended, 1);
	assert_int_equal(parts.docs, 0);
	assert_true(parts.data >= LARGE);

	parts = (struct parts){0};
	fake.changes = 2; /* before and after the first try */
	assert_int_equal(request(f, PFS_WIRE_EXPORT_KEYS, 1, &parts, NULL), 0);
	assert_int_equal(parts.begun, 2);
	assert_int_equal(parts.ended, 1);

	parts = (struct parts){0};
	fake.short_reads = PIECES_TRIES;
	assert_int_equal(request(f, PFS_WIRE_EXPORT_KEYS, 1, &parts, NULL), 0);
	assert_int_equal(parts.begun, PIECES_TRIES);
	assert_int_equal(parts.ended, 0);
	assert_int_equal(parts.docs, 1);
	assert_int_equal(parts.last_status, -EAGAIN);

	parts = (struct parts){0};
	fake.read_err = -EIO;
	assert_int_equal(request(f, PFS_WIRE_EXPORT_KEYS, 1, &parts, NULL), 0);
	assert_int_equal(parts.begun, 1);
	assert_int_equal(parts.last_status, -EIO);
	/* One that is removed while it is read is as one that changes. */
	parts = (struct parts){0};
	fake.read_err = -ENOENT;
	assert_int_equal(request(f, PFS_WIRE_EXPORT_KEYS, 1, &parts, NULL), 0);
	assert_int_equal(parts.begun, PIECES_TRIES);
	assert_int_equal(parts.last_status, -EAGAIN);
	fake.read_err = 0;

	fake.short_reads = 1; /* a single one is not begun again: its reader would not know */
	assert_int_equal(request(f, PFS_WIRE_GET, 1, &parts, &reason), -EAGAIN);
	assert_non_null(strstr(reason.text, "try again"));
	is_alive_and_well(f);
}

/* Proves: an interrupted or premature look at what has come is repeated; a connection that fails
 * ends, and the daemon goes on. */
static void what_comes_is_looked_for_again(void **state)
{
	struct fixture *f = *state;
	struct client c;

	assert_int_equal(client_connect(&c, f->dirfd), 0);
	for (unsigned i = 0; i < 3; i++) {
		fake.recv_errs[0] = i == 0 ? 0 : i == 1 ? EINTR : EIO;
		fake.recv_errs[1] = i == 1 ? EAGAIN : 0;
		pfs_wire_begin(&c.out, PFS_WIRE_SYNC, 0);
		assert_true((client_request(&c, NULL, NULL) == 0) == (i < 2));
		assert_int_equal(fake.recv_errs[0] + fake.recv_errs[1], 0);
	}
	client_close(&c);
	is_alive_and_well(f);
}

/* Proves: a document for which there is no memory ends its connection, whatever was asked for, and
 * nothing looks like its end. */
static void documents_need_memory(void **state)
{
	static const enum pfs_wire_type types[] = {PFS_WIRE_EXPORT_KEYS, PFS_WIRE_GET};
	struct fixture *f = *state;

	put(f, 1, 'x', LARGE);
	for (size_t i = 0; i < pfs_array_len(types); i++) {
		struct parts parts = {0};

		fake.no_memory = true;
		assert_true(request(f, types[i], 1, &parts, NULL) < 0);
		assert_int_equal(parts.ended, 0);
		assert_int_equal(parts.data, 0);
		fake.no_memory = false;
		is_alive_and_well(f);
	}
}

static int import_three(struct fixture *f, uint32_t *done, uint32_t *refused, uint32_t *index,
			int *status)
{
	struct client c;
	int err;

	assert_int_equal(client_connect(&c, f->dirfd), 0);
	pfs_wire_begin(&c.out, PFS_WIRE_IMPORT, 0);
	for (uint64_t id = 1; id <= 3; id++) {
		struct pfs_key key = pfs_key_num(id);

		pfs_wire_key(&c.out, &key);
		pfs_wire_bytes(&c.out, "{}", 2);
	}
	err = client_request(&c, NULL, NULL);
	*done = pfs_wire_get_u32(&c.in);
	*refused = err ? 0 : pfs_wire_get_u32(&c.in);
	*index = *refused ? pfs_wire_get_u32(&c.in) : UINT32_MAX;
	*status = *refused ? pfs_wire_get_status(&c.in) : 0;
	client_close(&c);
	return err;
}

static bool is_there(struct fixture *f, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);

	return pfs_lookup(f->store, &key, NULL, NULL) == 0;
}

/* Proves: a document that is refused for its own sake is named, with the reason, and the others are
 * imported; what stops all says how many were. */
static void refused_documents_are_named(void **state)
{
	struct fixture *f = *state;
	uint32_t done, refused, index;
	int status;

	fake.put_err = -EFBIG;
	fake.put_before = 1;
	assert_int_equal(import_three(f, &done, &refused, &index, &status), 0);
	assert_int_equal(done, 2);
	assert_int_equal(refused, 1);
	assert_int_equal(index, 1);
	assert_int_equal(status, -EFBIG);
	assert_true(is_there(f, 1) && !is_there(f, 2) && is_there(f, 3));
	fake.put_err = -ENOSPC;
	assert_int_equal(import_three(f, &done, &refused, &index, &status), -ENOSPC);
	assert_int_equal(done, 1);
	assert_false(is_there(f, 2));
}

/* Proves: a listing that fails is an error, not a shorter list. */
static void listings_that_fail_are_errors(void **state)
{
	struct fixture *f = *state;
	struct parts parts = {0};

	put(f, 1, 'x', 10);
	fake.list_err = -EIO;
	assert_int_equal(request(f, PFS_WIRE_LIST, 0, &parts, NULL), -ECONNRESET);
	assert_int_equal(request(f, PFS_WIRE_EXPORT, 0, &parts, NULL), -ECONNRESET);
	fake.list_err = 0;
	assert_int_equal(request(f, PFS_WIRE_LIST, 0, &parts, NULL), 0);
}

/* ---- the end ---- */

/* Proves: a daemon that is to end does not first send all that was asked for: the client gets no
 * reply that looks like an end. */
static void the_end_does_not_wait_for_answers(void **state)
{
	static const struct {
		enum pfs_wire_type type;
		int calls; /* so many are made before it */
	} cases[] = {
		{PFS_WIRE_EXPORT, 1},
		{PFS_WIRE_EXPORT, 2},
		{PFS_WIRE_LIST, 1},
		{PFS_WIRE_GET, 1},
	};

	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		const size_t n = i % pfs_array_len(cases);
		struct parts parts = {0};
		struct fixture *f;

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		f = *state;
		for (uint64_t id = 2; id < 10; id++)
			put(f, id, 'y', PFS_MIB / 2);
		put(f, 1, 'x', LARGE);
		fake.calls_to_the_end = cases[n].calls;
		fake.roomy = i != n;
		if (request(f, cases[n].type, cases[n].type == PFS_WIRE_GET, &parts, NULL) == 0)
			fail_msg("%zu: it was sent to its end", i);
		assert_true(parts.data < LARGE);
		stop(f);
	}
}

/* Proves: an import that comes meanwhile says how far it came. */
static void the_end_stops_an_import(void **state)
{
	struct fixture *f = *state;
	uint32_t done, refused, index;
	int status;

	fake.calls_to_the_end = 1;
	assert_int_equal(import_three(f, &done, &refused, &index, &status), -ESHUTDOWN);
	assert_int_equal(done, 3);
	assert_true(is_there(f, 3));
}

/* ---- the system ---- */

static int try_to_connect(struct fixture *f, struct pfs_reason *reason)
{
	struct client c;
	int err = client_connect(&c, f->dirfd);

	*reason = c.reason;
	client_close(&c);
	return err;
}

/* Proves: a client whose user can't be told is refused; one for which there is no thread is told
 * so; and one that comes when there is no descriptor gets its turn when there is one. */
static void clients_are_turned_away_or_wait(void **state)
{
	struct fixture *f = *state;
	struct pfs_reason reason;

	last_line[0] = '\0';
	is_alive_and_well(f);
	assert_string_equal(last_line, "");
	fake.peer_err = ENOPROTOOPT;
	assert_int_equal(try_to_connect(f, &reason), -EPERM);
	assert_string_equal(reason.text, "only root and the user that runs the daemon may use it");
	assert_string_equal(last_line, "control socket: user 4294967295 was refused");
	fake.peer_err = 0;
	fake.thread_err = EAGAIN;
	for (unsigned i = 0; i < 2 * PFS_SERVE_CONNECTIONS; i++) { /* which takes no place */
		assert_int_equal(try_to_connect(f, &reason), -EAGAIN);
		assert_string_equal(reason.text, "the daemon can't start a thread for the client");
	}
	fake.thread_err = 0;
	fake.accept_err = EMFILE;
	fake.accepts_that_fail = 2;
	is_alive_and_well(f);
	assert_int_equal(fake.accepts_that_fail, 0);
	fake.accept_err = ECONNABORTED; /* the client has gone already */
	fake.accepts_that_fail = 1;
	is_alive_and_well(f);
}

/* Proves: a server that can't begin leaves no socket behind, nor an open descriptor. */
static void a_server_that_can_not_begin_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	stop(f);
	/* What stands in the way and is no socket stays. */
	assert_int_equal(mkdirat(f->dirfd, PFS_SERVE_SOCKET, 0700), 0);
	assert_int_equal(start(f, false), -EISDIR);
	assert_null(f->serve);
	assert_int_equal(unlinkat(f->dirfd, PFS_SERVE_SOCKET, AT_REMOVEDIR), 0);
	fake.socket_err = EMFILE;
	assert_int_equal(start(f, false), -EMFILE);
	assert_int_equal(start(f, true), -EMFILE);
	fake.socket_err = 0;
	fake.listen_err = ENOBUFS;
	assert_int_equal(start(f, false), -ENOBUFS);
	fake.listen_err = 0;
	fake.thread_err = EAGAIN;
	assert_int_equal(start(f, false), -EAGAIN);
	assert_int_equal(faccessat(f->dirfd, PFS_SERVE_SOCKET, F_OK, 0), -1);
	fake.thread_err = 0;
	assert_int_equal(start(f, false), 0);
	is_alive_and_well(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(findings_come_as_they_were_found),
		TEST(long_work_that_fails_is_said),
		TEST(long_work_ends_with_its_client),
		TEST(documents_that_change_are_begun_again),
		TEST(what_comes_is_looked_for_again),
		TEST(documents_need_memory),
		TEST(refused_documents_are_named),
		TEST(listings_that_fail_are_errors),
		TEST(the_end_does_not_wait_for_answers),
		TEST(the_end_stops_an_import),
		TEST(clients_are_turned_away_or_wait),
		TEST(a_server_that_can_not_begin_leaves_nothing),
	};

	return cmocka_run_group_tests_name("control socket under faults", tests, NULL, NULL);
}
