/* The control socket's server and its connections, call by call: what they ask of the system, in
 * which order, and what they make of each answer. The system, the session and the threads are stood
 * in for; no descriptor is one. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/noted_calls.h"

#include "fs/serve.h"
#include "fs/serve_conn.h"
#include "fs/serve_session.h"

#define STEPS_MAX 16
#define DIRFD 33
#define FENCE 512 /* bytes behind an allocation that nobody may write */

/* What a call returns, and errno then. */
struct step {
	int n, error;
	bool stop; /* of poll(): the stop has come */
};

static char calls[4096];

/* What the system is to say. A script that is at its end says that the stop has come. */
static struct {
	struct step polls[STEPS_MAX], accepts[STEPS_MAX], recvs[STEPS_MAX], sends[STEPS_MAX];
	size_t polled, accepted, received, sent;
	const uint8_t *bytes; /* what recv() gives */
	uid_t peer, user;
	int peer_error;
	int event, sockets[2]; /* descriptors; below 0: errno */
	size_t socket_at;
	int unlink_error, chmod_error, bind_error, listen_error, thread_error, connect_error;
	bool no_memory, no_text;
	int wire_error;
	enum pfs_session_end session_end;
	struct pfs_conn seen; /* by the session */
	uint8_t *fence;
} fake;

#define NOTE(...) calls_note(calls, sizeof(calls), __VA_ARGS__)
#define EXPECT(want) calls_expect(calls, want)

static int fail_with(int error)
{
	errno = error;
	return error ? -1 : 0;
}

/* The next answer of a script. */
static const struct step *next_step(const struct step *steps, size_t *at)
{
	assert_true(*at < STEPS_MAX);
	return &steps[(*at)++];
}

static int noted_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	const struct step *step = next_step(fake.polls, &fake.polled);

	NOTE("poll");
	for (nfds_t i = 0; i < count; i++) {
		fds[i].revents = 0;
		NOTE(" %d%s", fds[i].fd, fds[i].events == POLLOUT ? "w" : "");
	}
	NOTE(" %d\n", timeout_ms);
	if (step->n == 0 && step->error == 0) { /* the script is at its end */
		assert_true(fake.polled < STEPS_MAX - 1);
		fds[0].revents = fds[count > 1].revents = POLLIN;
		return 1;
	}
	if (step->stop)
		fds[count > 1].revents = POLLIN;
	errno = step->error;
	return step->n;
}

static int noted_accept(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	const struct step *step = next_step(fake.accepts, &fake.accepted);

	assert_null(address);
	assert_null(len);
	assert_int_equal(flags, SOCK_NONBLOCK | SOCK_CLOEXEC);
	NOTE("accept %d\n", fd);
	errno = step->error;
	return step->n;
}

static ssize_t scripted_recv(int fd, void *buf, size_t len, int flags)
{
	const struct step *step = next_step(fake.recvs, &fake.received);

	(void)fd;
	assert_int_equal(flags, 0);
	errno = step->error;
	if (step->n > 0) {
		assert_true((size_t)step->n <= len);
		memcpy(buf, fake.bytes, (size_t)step->n);
		fake.bytes += step->n;
	}
	return step->n;
}

/* Takes all of it unless the script has something else. */
static ssize_t noted_send(int fd, const void *buf, size_t len, int flags)
{
	const struct step *step = next_step(fake.sends, &fake.sent);
	struct pfs_wire_header header;

	assert_true(flags & MSG_NOSIGNAL);
	NOTE("send %d %zu", fd, len);
	if (len >= PFS_WIRE_HEADER_LEN && pfs_wire_header(&header, buf) == 0)
		NOTE(" type %d of %u status %d", header.type, header.len, header.status);
	NOTE("%s\n", flags & MSG_DONTWAIT ? " now" : "");
	errno = step->error;
	return step->n || step->error ? step->n : (ssize_t)len;
}

static int noted_close(int fd)
{
	NOTE("close %d\n", fd);
	return 0;
}

static int noted_eventfd(unsigned value, int flags)
{
	assert_int_equal(value, 0);
	assert_int_equal(flags, EFD_CLOEXEC | EFD_NONBLOCK);
	NOTE("eventfd\n");
	return fake.event >= 0 ? fake.event : fail_with(-fake.event);
}

static int noted_socket(int domain, int type, int protocol)
{
	int fd = fake.sockets[fake.socket_at++];

	assert_int_equal(domain, AF_UNIX);
	assert_int_equal(type, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_equal(protocol, 0);
	NOTE("socket\n");
	return fd >= 0 ? fd : fail_with(-fd);
}

static const char *path_of(const struct sockaddr *address, socklen_t len)
{
	assert_int_equal(len, sizeof(struct sockaddr_un));
	assert_int_equal(address->sa_family, AF_UNIX);
	return ((const struct sockaddr_un *)(const void *)address)->sun_path;
}

static int noted_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	NOTE("connect %d %s\n", fd, path_of(address, len));
	return fail_with(fake.connect_error);
}

static int noted_bind(int fd, const struct sockaddr *address, socklen_t len)
{
	NOTE("bind %d %s\n", fd, path_of(address, len));
	return fail_with(fake.bind_error);
}

static int noted_listen(int fd, int backlog)
{
	assert_true(backlog > 0);
	NOTE("listen %d\n", fd);
	return fail_with(fake.listen_error);
}

static int noted_fchmod(int fd, mode_t mode)
{
	NOTE("chmod %d %o\n", fd, (unsigned)mode);
	return fail_with(fake.chmod_error);
}

static int noted_unlinkat(int dirfd, const char *name, int flags)
{
	assert_int_equal(flags, 0);
	NOTE("unlink %d %s\n", dirfd, name);
	return fail_with(fake.unlink_error);
}

static int fake_peer(int fd, int level, int name, void *value, socklen_t *len)
{
	const struct ucred cred = {.pid = 77, .uid = fake.peer, .gid = 5};

	(void)fd;
	assert_int_equal(level, SOL_SOCKET);
	assert_int_equal(name, SO_PEERCRED);
	assert_int_equal(*len, sizeof(cred));
	memcpy(value, &cred, sizeof(cred));
	return fail_with(fake.peer_error);
}

static ssize_t noted_write(int fd, const void *buf, size_t len)
{
	uint64_t n;

	assert_int_equal(len, sizeof(n));
	memcpy(&n, buf, sizeof(n));
	assert_true(n > 0);
	NOTE("wake %d\n", fd);
	return (ssize_t)len;
}

static void *run_connection(void *arg);

static int noted_thread(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			void *arg)
{
	(void)attr;
	(void)arg;
	NOTE("thread of %s\n", fn == run_connection ? "a connection" : "the listener");
	*thread = pthread_self();
	return fake.thread_error;
}

static int noted_join(pthread_t thread, void **result);

/* What was allocated has a fence behind it, and what was freed is of no use to anybody. */
static void *fenced_calloc(size_t count, size_t size)
{
	uint8_t *p = fake.no_memory ? NULL : malloc(count * size + FENCE);

	if (!p)
		return NULL;
	memset(p, 0, count * size);
	memset(p + count * size, 0xff, FENCE);
	fake.fence = p + count * size;
	return p;
}

static void expect_fence(void)
{
	for (size_t i = 0; i < FENCE; i++)
		assert_int_equal(fake.fence[i], 0xff);
}

static void poisoned_free(void *p)
{
	size_t len = p ? malloc_usable_size(p) : 0;

	for (size_t i = 0; i < len; i++)
		((volatile uint8_t *)p)[i] = 0xa5;
	free(p);
}

static char *fake_strdup(const char *text)
{
	return fake.no_text ? NULL : strdup(text);
}

static void *noted_realloc(void *p, size_t len)
{
	NOTE("room %zu\n", len);
	return fake.no_memory ? NULL : realloc(p, len);
}

static int fake_wire_end(struct pfs_wire_out *out)
{
	return fake.wire_error ? fake.wire_error : pfs_wire_end(out);
}

enum pfs_session_end pfs_session_run(struct pfs_conn *conn, const struct pfs_session_env *env)
{
	(void)env;
	fake.seen = *conn;
	conn->idle_ms = 5;
	NOTE("session %d\n", conn->fd);
	return fake.session_end;
}

/* The daemon's objects are not in the library. */
#define poll(fds, count, timeout_ms) noted_poll(fds, count, timeout_ms)
#define send(fd, buf, len, flags) noted_send(fd, buf, len, flags)
#define close(fd) noted_close(fd)
#define recv(fd, buf, len, flags) scripted_recv(fd, buf, len, flags)
#define realloc(p, len) noted_realloc(p, len)
#include "fs/serve_conn.c"
#undef realloc
#undef recv
#define accept4(fd, address, len, flags) noted_accept(fd, address, len, flags)
#define eventfd(value, flags) noted_eventfd(value, flags)
#define socket(domain, type, protocol) noted_socket(domain, type, protocol)
#define connect(fd, address, len) noted_connect(fd, address, len)
#define bind(fd, address, len) noted_bind(fd, address, len)
#define listen(fd, backlog) noted_listen(fd, backlog)
#define fchmod(fd, mode) noted_fchmod(fd, mode)
#define unlinkat(dirfd, name, flags) noted_unlinkat(dirfd, name, flags)
#define getsockopt(fd, level, name, value, len) fake_peer(fd, level, name, value, len)
#define geteuid() fake.user
#define write(fd, buf, len) noted_write(fd, buf, len)
#define pthread_create(thread, attr, fn, arg) noted_thread(thread, attr, fn, arg)
#define pthread_join(thread, result) noted_join(thread, result)
#define calloc(count, size) fenced_calloc(count, size)
#define strdup(text) fake_strdup(text)
#define free(p) poisoned_free(p)
#define pfs_wire_end(out) fake_wire_end(out)
#include "fs/serve.c"
#undef pfs_wire_end
#undef free
#undef strdup
#undef calloc
#undef pthread_join
#undef pthread_create
#undef write
#undef geteuid
#undef getsockopt
#undef unlinkat
#undef fchmod
#undef listen
#undef bind
#undef connect
#undef socket
#undef eventfd
#undef accept4
#undef close
#undef send
#undef poll

static struct pfs_serve *serve;

/* In which state the slots are, but for those that are free. */
static int noted_join(pthread_t thread, void **result)
{
	(void)thread;
	assert_null(result);
	NOTE("join");
	for (size_t i = 0; serve && i < PFS_SERVE_CONNECTIONS; i++)
		if (serve->slots[i].state != SLOT_FREE)
			NOTE(" %zu %s", i,
			     serve->slots[i].state == SLOT_ENDED ? "ended" : "running");
	NOTE("\n");
	return 0;
}

static char last_line[256];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_WARNING);
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.event = 8;
	fake.sockets[0] = 9;
	fake.sockets[1] = 10;
	calls[0] = last_line[0] = '\0';
	serve = NULL;
	return 0;
}

static int start(bool read_only)
{
	const struct pfs_serve_options options = {
		.store_dirfd = DIRFD,
		.mountpoint = "/mnt/p",
		.read_only = read_only,
		.logger = {.fn = keep_line},
	};

	fake.socket_at = 0;
	return pfs_serve_start(&serve, &options);
}

static void start_quietly(void)
{
	assert_int_equal(start(false), 0);
	calls[0] = '\0';
}

static void stop_and_finish(void)
{
	pfs_serve_stop(serve);
	expect_fence();
	pfs_serve_finish(serve, 0);
	serve = NULL;
	calls[0] = '\0';
}

/* ---- beginning and end ---- */

#define SOCKET_PATH "/proc/self/fd/33/socket"

/* Proves: a server removes the socket that is there, makes one for its owner alone, and listens
 * before there is a thread that takes; its end removes the socket first, and closes what it listens
 * on when nobody does any more. */
static void a_server_begins_and_ends_in_order(void **state)
{
	(void)state;
	assert_int_equal(start(false), 0);
	EXPECT("eventfd\nunlink 33 socket\nsocket\nchmod 9 600\nbind 9 " SOCKET_PATH
	       "\nlisten 9\nthread of the listener\n");
	expect_fence();
	assert_string_equal(serve->env.mountpoint, "/mnt/p");
	pfs_serve_stop(serve);
	EXPECT("unlink 33 socket\nwake 8\njoin\nclose 9\n");
	pfs_serve_finish(serve, 0);
	EXPECT("close 8\n");
	pfs_serve_stop(NULL);
	pfs_serve_finish(NULL, 0);
	EXPECT("");
	/* No number of a descriptor is taken for none. */
	for (unsigned i = 0; i < 2; i++) {
		fake.event = i ? 8 : 0;
		fake.sockets[0] = i ? 0 : 9;
		start_quietly();
		pfs_serve_stop(serve);
		pfs_serve_finish(serve, 0);
		EXPECT(i ? "unlink 33 socket\nwake 8\njoin\nclose 0\nclose 8\n"
			 : "unlink 33 socket\nwake 0\njoin\nclose 9\nclose 0\n");
	}
	serve = NULL;
}

/* Proves: whatever fails of a beginning is returned, nothing is made after it, and what was made is
 * closed or removed, and nothing else. */
static void what_fails_of_a_beginning_is_undone(void **state)
{
	(void)state;
	fake.no_memory = true;
	assert_int_equal(start(false), -ENOMEM);
	assert_null(serve);
	EXPECT("");
	setup(state);
	fake.event = -EMFILE;
	assert_int_equal(start(false), -EMFILE);
	EXPECT("eventfd\n");
	setup(state);
	fake.no_text = true;
	assert_int_equal(start(false), -ENOMEM);
	EXPECT("eventfd\nclose 8\n");
	setup(state);
	fake.unlink_error = EROFS;
	assert_int_equal(start(false), -EROFS);
	EXPECT("eventfd\nunlink 33 socket\nclose 8\n");
	setup(state);
	fake.sockets[0] = -ENFILE;
	assert_int_equal(start(false), -ENFILE);
	EXPECT("eventfd\nunlink 33 socket\nsocket\nclose 8\n");
	for (unsigned i = 0; i < 3; i++) {
		setup(state);
		fake.sockets[0] = 0;
		*(i == 0   ? &fake.chmod_error
		  : i == 1 ? &fake.bind_error
			   : &fake.listen_error) = EACCES;
		assert_int_equal(start(false), -EACCES);
		assert_null(serve);
		EXPECT(i == 0 ? "eventfd\nunlink 33 socket\nsocket\nchmod 0 600\nclose 0\nclose 8\n"
		       : i == 1 ? "eventfd\nunlink 33 socket\nsocket\nchmod 0 600\nbind "
				  "0 " SOCKET_PATH "\nclose 0\nclose 8\n"
				: "eventfd\nunlink 33 socket\nsocket\nchmod 0 600\nbind "
				  "0 " SOCKET_PATH "\nlisten 0\nclose 0\nclose 8\n");
	}
	setup(state);
	fake.event = fake.sockets[0] = 0;
	fake.thread_error = EAGAIN;
	assert_int_equal(start(false), -EAGAIN);
	assert_null(serve);
	EXPECT("eventfd\nunlink 33 socket\nsocket\nchmod 0 600\nbind 0 " SOCKET_PATH
	       "\nlisten 0\nthread of the listener\nunlink 33 socket\nclose 0\nclose 0\n");
	/* There need not be one to be removed. */
	setup(state);
	fake.unlink_error = ENOENT;
	start_quietly();
	stop_and_finish();
}

/* Proves: a reader leaves a socket alone at which somebody listens, be it that there is no place in
 * the queue; where nobody does, or that can't be told, it takes the place. What it looked with is
 * closed. */
static void a_reader_looks_who_listens(void **state)
{
	static const struct {
		int error;
		bool alive;
	} cases[] = {{0, true}, {EAGAIN, true}, {ECONNREFUSED, false}, {ENOENT, false}};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		setup(state);
		fake.sockets[0] = i % 2 ? 0 : 9;
		fake.connect_error = cases[i].error;
		assert_int_equal(start(true), cases[i].alive ? -EADDRINUSE : 0);
		assert_true(!serve == cases[i].alive);
		if (cases[i].alive) {
			EXPECT(i % 2 ? "eventfd\nsocket\nconnect 0 " SOCKET_PATH
				       "\nclose 0\nclose 8\n"
				     : "eventfd\nsocket\nconnect 9 " SOCKET_PATH
				       "\nclose 9\nclose 8\n");
			continue;
		}
		EXPECT(i % 2 ? "eventfd\nsocket\nconnect 0 " SOCKET_PATH
			       "\nclose 0\nunlink 33 socket\nsocket\nchmod 10 600\nbind "
			       "10 " SOCKET_PATH "\nlisten 10\nthread of the listener\n"
			     : "eventfd\nsocket\nconnect 9 " SOCKET_PATH
			       "\nclose 9\nunlink 33 socket\nsocket\nchmod 10 600\nbind "
			       "10 " SOCKET_PATH "\nlisten 10\nthread of the listener\n");
		stop_and_finish();
	}
	setup(state);
	fake.sockets[0] = -EMFILE;
	assert_int_equal(start(true), 0);
	EXPECT("eventfd\nsocket\nunlink 33 socket\nsocket\nchmod 10 600\nbind 10 " SOCKET_PATH
	       "\nlisten 10\nthread of the listener\n");
	stop_and_finish();
}

/* ---- who comes ---- */

/* Proves: after each failure to take a connection the listener looks again; it waits a while before
 * that if the system lacks something, and only then, though not longer than to the stop. */
static void the_listener_waits_for_what_is_lacking(void **state)
{
	static const struct {
		int error;
		bool waits;
	} cases[] = {
		{EMFILE, true},	       {ENFILE, true},	{ENOBUFS, true}, {ENOMEM, true},
		{ECONNABORTED, false}, {EAGAIN, false}, {EINTR, false},
	};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		setup(state);
		start_quietly();
		fake.polls[0] = fake.polls[1] = (struct step){.n = 1, .error = EAGAIN};
		fake.accepts[0] = (struct step){-1, cases[i].error, false};
		fake.accepts[1] = (struct step){-1, EAGAIN, false};
		assert_null(run_listener(serve));
		EXPECT(cases[i].waits
			       ? "poll 8 9 -1\naccept 9\npoll 8 100\npoll 8 9 -1\n"
			       : "poll 8 9 -1\naccept 9\npoll 8 9 -1\naccept 9\npoll 8 9 -1\n");
		stop_and_finish();
	}
}

/* Proves: an interrupted wait is begun again, one that can't be ends the listener, and so does the
 * stop, before anybody is taken. */
static void the_listener_ends_with_the_stop(void **state)
{
	setup(state);
	start_quietly();
	fake.polls[0] = fake.polls[1] = (struct step){-1, EINTR, false};
	fake.accepts[0] = fake.accepts[1] = (struct step){-1, EAGAIN, false};
	assert_null(run_listener(serve));
	EXPECT("poll 8 9 -1\naccept 9\npoll 8 9 -1\naccept 9\npoll 8 9 -1\n");
	fake.polled = 0;
	fake.polls[0] = (struct step){-1, ENOMEM, false};
	assert_null(run_listener(serve));
	EXPECT("poll 8 9 -1\n");
	stop_and_finish();
}

/* Proves: root may connect, and who is the daemon's user, and nobody else, whoever that is; nor
 * anybody who can't be told. Who may not is told why. */
static void two_users_may_connect(void **state)
{
	static const struct {
		uid_t peer, user;
		bool may;
	} cases[] = {
		{0, 0, true},	  {0, 1000, true},     {1000, 1000, true},
		{1, 1000, false}, {1000, 1001, false}, {1000, 0, false},
	};
	char want[64];

	for (size_t i = 0; i < pfs_array_len(cases) + 1; i++) {
		bool told = i < pfs_array_len(cases), may = told && cases[i].may;

		setup(state);
		start_quietly();
		fake.peer = told ? cases[i].peer : 0;
		fake.user = told ? cases[i].user : 0;
		fake.peer_error = told ? 0 : ENOPROTOOPT;
		take_connection(serve, 20);
		assert_int_equal(serve->slots[0].state, may ? SLOT_RUNNING : SLOT_FREE);
		if (may) {
			EXPECT("thread of a connection\n");
			assert_string_equal(last_line, "");
			serve->slots[0].state = SLOT_FREE;
		} else {
			EXPECT("send 20 74 type 64 of 58 status -1 now\nclose 20\n");
			snprintf(want, sizeof(want), "control socket: user %ld was refused",
				 told ? (long)cases[i].peer : (long)(uid_t)-1);
			assert_string_equal(last_line, want);
		}
		stop_and_finish();
	}
}

/* Proves: each connection is begun as a new one in the first place that is free; one that has ended
 * is joined before its place is given to another; who waits for the end keeps the place, and its
 * descriptor stays open. */
static void places_are_given_again(void **state)
{
	(void)state;
	start_quietly();
	/* Whatever its number. */
	fake.polls[0] = fake.polls[1] = (struct step){.n = 1, .error = EAGAIN};
	fake.accepts[1] = (struct step){-1, EAGAIN, false};
	assert_null(run_listener(serve));
	EXPECT("poll 8 9 -1\naccept 9\nthread of a connection\npoll 8 9 -1\naccept 9\npoll 8 9 "
	       "-1\n");
	take_connection(serve, 21);
	EXPECT("thread of a connection\n");
	run_connection(&serve->slots[0]);
	EXPECT("session 0\nclose 0\n");
	fake.session_end = PFS_SESSION_WAITING;
	run_connection(&serve->slots[1]);
	EXPECT("session 21\n");
	assert_int_equal(serve->slots[0].state, SLOT_ENDED);
	assert_int_equal(serve->slots[1].state, SLOT_ENDED);
	take_connection(serve, 22);
	EXPECT("join 0 ended 1 ended\nthread of a connection\n");
	run_connection(&serve->slots[0]);
	EXPECT("session 22\n");
	assert_int_equal(fake.seen.fd, 22);
	assert_int_equal(fake.seen.stop_fd, 8);
	assert_int_equal(fake.seen.idle_ms, 0);
	assert_null(fake.seen.body);
	/* Both wait. */
	take_connection(serve, 23);
	EXPECT("thread of a connection\n");
	assert_int_equal(serve->slots[2].conn.fd, 23);
	fake.session_end = PFS_SESSION_OVER;
	run_connection(&serve->slots[2]);
	EXPECT("session 23\nclose 23\n");
	assert_ptr_equal(find_slot(serve), &serve->slots[2]);
	assert_int_equal(serve->slots[2].state, SLOT_FREE);
	calls[0] = '\0';
	take_connection(serve, 24);
	calls[0] = '\0';
	pfs_serve_stop(serve);
	EXPECT("unlink 33 socket\nwake 8\njoin 0 ended 1 ended 2 running\nclose 9\n"
	       "join 0 ended 1 ended 2 running\njoin 1 ended 2 running\njoin 2 running\n");
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++)
		assert_int_equal(serve->slots[i].state, SLOT_FREE);
	expect_fence();
	pfs_serve_finish(serve, -EIO);
	EXPECT("send 22 16 type 72 of 0 status -5 now\nsend 21 16 type 72 of 0 status -5 now\n"
	       "close 8\n");
	serve = NULL;
}

/* Proves: who finds no place, or no thread, is told so and leaves nothing behind; a message for
 * which there is no memory is not sent, at the end neither. */
static void who_is_not_served_is_told(void **state)
{
	(void)state;
	start_quietly();
	fake.thread_error = ENOMEM;
	take_connection(serve, 0);
	EXPECT("thread of a connection\nsend 0 66 type 64 of 50 status -12 now\nclose 0\n");
	assert_int_equal(serve->slots[0].state, SLOT_FREE);
	fake.thread_error = 0;
	fake.session_end = PFS_SESSION_WAITING;
	for (int i = 0; i < PFS_SERVE_CONNECTIONS; i++) {
		take_connection(serve, 20 + i);
		EXPECT("thread of a connection\n");
		if (i == 3)
			run_connection(&serve->slots[i]);
		calls[0] = '\0';
	}
	take_connection(serve, 99);
	EXPECT("send 99 61 type 64 of 45 status -16 now\nclose 99\n");
	fake.wire_error = -ENOMEM;
	take_connection(serve, 99);
	EXPECT("close 99\n");
	pfs_serve_stop(serve);
	calls[0] = '\0';
	pfs_serve_finish(serve, 0);
	EXPECT("close 8\n");
	serve = NULL;
}

/* ---- a connection ---- */

static void feed(struct pfs_wire_out *out, enum pfs_wire_type type, size_t len)
{
	pfs_wire_begin(out, type, 0);
	assert_non_null(pfs_wire_reserve(out, len));
	assert_int_equal(pfs_wire_end(out), 0);
	memset(out->buf + PFS_WIRE_HEADER_LEN, 'b', len);
	fake.bytes = out->buf;
}

/* Proves: a wait that is interrupted is begun again; one that is over, fails or meets the stop is
 * that, whatever errno says of earlier calls. */
static void waits_end_as_they_should(void **state)
{
	static const struct {
		struct step steps[2];
		int err;
		const char *calls;
	} cases[] = {
		{{{0, EINTR, false}}, -ETIMEDOUT, "poll 20 8 600000\n"},
		{{{0, ENOMEM, false}}, -ETIMEDOUT, "poll 20 8 600000\n"},
		{{{-1, ENOMEM, false}}, -ENOMEM, "poll 20 8 600000\n"},
		{{{-1, EINTR, false}, {-1, EINVAL, false}},
		 -EINVAL,
		 "poll 20 8 600000\npoll 20 8 600000\n"},
		{{{-1, EINTR, false}, {1, EINTR, true}},
		 -ECANCELED,
		 "poll 20 8 600000\npoll 20 8 600000\n"},
		{{{1, EINTR, true}}, -ECANCELED, "poll 20 8 600000\n"},
	};
	struct pfs_conn conn = {.fd = 20, .stop_fd = 8};
	struct pfs_wire_header header;

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		setup(state);
		memcpy(fake.polls, cases[i].steps, sizeof(cases[i].steps));
		assert_int_equal(pfs_conn_receive(&conn, &header), cases[i].err);
		EXPECT(cases[i].calls);
	}
	/* Nothing was asked of the body. */
	assert_null(conn.body);
}

/* Proves: the first byte is waited for as long as the connection says, the others as long as any
 * byte; the body finds as much room as it needs, asked for when there is not enough. */
static void bodies_find_room(void **state)
{
	static const struct {
		size_t len;
		const char *room;
	} cases[] = {{0, "room 4096\n"},    {1, ""}, {4096, ""}, {4097, "room 4097\n"}, {4097, ""},
		     {4098, "room 4098\n"}, {5, ""}};
	struct pfs_conn conn = {.fd = 20, .stop_fd = 8, .idle_ms = 77};
	struct pfs_wire_header header;
	struct pfs_wire_out out = {0};
	char want[256];

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		setup(state);
		feed(&out, PFS_WIRE_SYNC, cases[i].len);
		for (size_t k = 0; k < 4; k++)
			fake.polls[k] = (struct step){1, EINTR, false};
		fake.recvs[0] = (struct step){3, 0, false};
		fake.recvs[1] = (struct step){13, 0, false};
		fake.recvs[2] = (struct step){(int)cases[i].len, 0, false};
		assert_int_equal(pfs_conn_receive(&conn, &header), 0);
		assert_int_equal(header.len, cases[i].len);
		for (size_t k = 0; k < cases[i].len; k++)
			assert_int_equal(conn.body[k], 'b');
		snprintf(want, sizeof(want), "poll 20 8 77\npoll 20 8 60000\n%s%s", cases[i].room,
			 cases[i].len ? "poll 20 8 60000\n" : "");
		EXPECT(want);
	}
	/* There is none: what was there before is not lost. */
	setup(state);
	feed(&out, PFS_WIRE_SYNC, 5000);
	fake.no_memory = true;
	for (size_t k = 0; k < 4; k++)
		fake.polls[k] = (struct step){1, EINTR, false};
	fake.recvs[0] = (struct step){16, 0, false};
	assert_int_equal(pfs_conn_receive(&conn, &header), -ENOMEM);
	assert_int_equal(conn.body[0], 'b');
	EXPECT("poll 20 8 77\nroom 5000\n");
	pfs_wire_out_free(&out);
	pfs_conn_close(&conn);
	EXPECT("close 20\n");
}

/* Proves: of a message the rest is sent until all is; who takes nothing is waited for, as long as
 * the stop has not come; an interrupted try is made again; who has gone is gone. */
static void messages_are_sent_to_their_end(void **state)
{
	static const struct {
		struct step sends[4], polls[2];
		int err;
		const char *calls;
	} cases[] = {
		{{{16, 0, false}}, {{0}}, 0, "send 20 16 type 64 of 0 status 0\n"},
		{{{6, 0, false}, {10, 0, false}},
		 {{0}},
		 0,
		 "send 20 16 type 64 of 0 status 0\nsend 20 10\n"},
		{{{15, 0, false}, {0, EIO, false}, {-1, EINTR, false}, {1, 0, false}},
		 {{0}},
		 0,
		 "send 20 16 type 64 of 0 status 0\nsend 20 1\nsend 20 1\nsend 20 1\n"},
		{{{15, 0, false}, {-1, EAGAIN, false}, {1, 0, false}},
		 {{1, EINTR, false}},
		 0,
		 "send 20 16 type 64 of 0 status 0\nsend 20 1\npoll 20w 8 3600000\nsend 20 1\n"},
		{{{15, 0, false}, {-1, EAGAIN, false}},
		 {{1, EINTR, true}},
		 -ECANCELED,
		 "send 20 16 type 64 of 0 status 0\nsend 20 1\npoll 20w 8 3600000\n"},
		{{{-1, EAGAIN, false}},
		 {{0, EINTR, false}},
		 -ETIMEDOUT,
		 "send 20 16 type 64 of 0 status 0\npoll 20w 8 3600000\n"},
		{{{-1, EPIPE, false}}, {{0}}, -ECONNRESET, "send 20 16 type 64 of 0 status 0\n"},
		{{{-1, EIO, false}}, {{0}}, -EIO, "send 20 16 type 64 of 0 status 0\n"},
	};
	struct pfs_conn conn = {.fd = 20, .stop_fd = 8};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		setup(state);
		memcpy(fake.sends, cases[i].sends, sizeof(cases[i].sends));
		memcpy(fake.polls, cases[i].polls, sizeof(cases[i].polls));
		pfs_wire_begin(&conn.out, PFS_WIRE_REPLY, 0);
		assert_int_equal(pfs_conn_send(&conn), cases[i].err);
		EXPECT(cases[i].calls);
	}
	/* What could not be made is not sent. */
	pfs_wire_begin(&conn.out, PFS_WIRE_REPLY, 0);
	conn.out.err = -ENOMEM;
	assert_int_equal(pfs_conn_send(&conn), -ENOMEM);
	EXPECT("");
	pfs_conn_close(&conn);
	EXPECT("close 20\n");
}

/* Proves: a connection that was closed has nothing any more, and can be closed again; whatever the
 * number of its descriptor. */
static void a_closed_connection_is_empty(void **state)
{
	static const struct pfs_conn none = {.fd = -1, .stop_fd = 8};

	(void)state;
	for (int fd = 1; fd >= 0; fd--) {
		struct pfs_conn conn = {.fd = fd, .stop_fd = 8};

		assert_int_equal(make_body_room(&conn, 10), 0);
		pfs_wire_begin(&conn.out, PFS_WIRE_REPLY, 0);
		calls[0] = '\0';
		pfs_conn_close(&conn);
		EXPECT(fd ? "close 1\n" : "close 0\n");
		pfs_conn_close(&conn);
		EXPECT("");
		assert_int_equal(conn.fd, -1);
		assert_null(conn.body);
		assert_int_equal(conn.body_cap, 0);
		assert_memory_equal(&conn.out, &none.out, sizeof(none.out));
	}
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_server_begins_and_ends_in_order),
		TEST(what_fails_of_a_beginning_is_undone),
		TEST(a_reader_looks_who_listens),
		TEST(the_listener_waits_for_what_is_lacking),
		TEST(the_listener_ends_with_the_stop),
		TEST(two_users_may_connect),
		TEST(places_are_given_again),
		TEST(who_is_not_served_is_told),
		TEST(waits_end_as_they_should),
		TEST(bodies_find_room),
		TEST(messages_are_sent_to_their_end),
		TEST(a_closed_connection_is_empty),
	};

	return cmocka_run_group_tests_name("the control socket, call by call", tests, NULL, NULL);
}
