#include "fs/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/serve_conn.h"
#include "fs/serve_session.h"
#include "fs/thread.h"

#define BACKLOG 16
#define ACCEPT_PAUSE_MS 100 /* when the process is out of descriptors */

/* A place for a connection.
 *
 *	FREE -> RUNNING  listener: accepts, starts the thread
 *	RUNNING -> ENDED  its thread, as its last act; conn is closed, or kept when wants_end
 *	ENDED -> FREE  listener or stop: joins the thread (not when wants_end)
 *
 * state is changed under serve->lock; everything else belongs to the thread while it is RUNNING,
 *else to the listener, and when that has ended to stop and finish. */
struct slot {
	enum { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED } state;
	bool wants_end; /* the client waits for the end of the daemon; the thread is joined at stop
			 */
	pthread_t thread;
	struct pfs_conn conn;
	struct pfs_serve *serve;
};

struct pfs_serve {
	struct pfs_session_env env;
	char *mountpoint;
	struct pfs_logger logger;
	int store_dirfd;
	int listen_fd;
	int stop_fd; /* eventfd, readable from pfs_serve_stop on */
	pthread_t listener;
	pthread_mutex_t lock; /* of the slots' states */
	struct slot slots[PFS_SERVE_CONNECTIONS];
};

/* ---- connections ---- */

static void set_state(struct slot *slot, int state)
{
	pthread_mutex_lock(&slot->serve->lock);
	slot->state = state;
	pthread_mutex_unlock(&slot->serve->lock);
}

static int get_state(struct slot *slot)
{
	int state;

	pthread_mutex_lock(&slot->serve->lock);
	state = slot->state;
	pthread_mutex_unlock(&slot->serve->lock);
	return state;
}

static void *run_connection(void *arg)
{
	struct slot *slot = arg;

	slot->wants_end = pfs_session_run(&slot->conn, &slot->serve->env) == PFS_SESSION_WAITING;
	if (!slot->wants_end)
		pfs_conn_close(&slot->conn);
	set_state(slot, SLOT_ENDED);
	return NULL;
}

/* A free slot, or NULL. Joins threads that have ended. */
static struct slot *find_slot(struct pfs_serve *serve)
{
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++) {
		struct slot *slot = &serve->slots[i];
		int state = get_state(slot);

		if (state == SLOT_ENDED && !slot->wants_end) {
			pthread_join(slot->thread, NULL);
			set_state(slot, SLOT_FREE);
			state = SLOT_FREE;
		}
		if (state == SLOT_FREE)
			return slot;
	}
	return NULL;
}

/* Tells a client that it is not served, if it listens, and closes. */
static void turn_away(int fd, int status, const char *reason)
{
	struct pfs_conn conn = {.fd = fd, .stop_fd = -1};

	pfs_wire_begin(&conn.out, PFS_WIRE_REPLY, status);
	pfs_wire_text(&conn.out, reason);
	if (!pfs_wire_end(&conn.out))
		(void)!send(fd, conn.out.buf, conn.out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	pfs_conn_close(&conn);
}

static bool may_connect(int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*uid = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) || len != sizeof(cred))
		return false;
	*uid = cred.uid;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void take_connection(struct pfs_serve *serve, int fd)
{
	struct slot *slot;
	uid_t uid;
	int err;

	if (!may_connect(fd, &uid)) {
		pfs_logf(&serve->logger, PFS_LOG_WARNING, "control socket: user %ld was refused",
			 (long)uid);
		turn_away(fd, -EPERM, "only root and the user that runs the daemon may use it");
		return;
	}
	slot = find_slot(serve);
	if (!slot) {
		turn_away(fd, -EBUSY, "too many clients are connected: try again");
		return;
	}
	memset(&slot->conn, 0, sizeof(slot->conn));
	slot->conn.fd = fd;
	slot->conn.stop_fd = serve->stop_fd;
	slot->wants_end = false;
	set_state(slot, SLOT_RUNNING);
	err = pfs_thread_start(&slot->thread, run_connection, slot);
	if (err) {
		set_state(slot, SLOT_FREE);
		turn_away(fd, err, "the daemon can't start a thread for the client");
	}
}

static void *run_listener(void *arg)
{
	struct pfs_serve *serve = arg;
	struct pollfd fds[2] = {
		{.fd = serve->stop_fd, .events = POLLIN},
		{.fd = serve->listen_fd, .events = POLLIN},
	};

	for (;;) {
		int fd;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		fd = accept4(serve->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			take_connection(serve, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			poll(fds, 1, ACCEPT_PAUSE_MS);
	}
}

/* ---- the socket ---- */

/* The socket's address: through the directory's descriptor, for paths that are longer than
 * sun_path. */
static void socket_address(struct sockaddr_un *address, int dirfd)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dirfd,
		 PFS_SERVE_SOCKET);
}

/* Whether somebody listens at the socket that is there. */
static bool is_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return false;
	err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	return err == 0 || err == EAGAIN;
}

static int listen_at(int *out, const struct pfs_serve_options *options)
{
	struct sockaddr_un address;
	int fd, err;

	*out = -1;
	socket_address(&address, options->store_dirfd);
	if (options->read_only && is_alive(&address))
		return -EADDRINUSE;
	if (unlinkat(options->store_dirfd, PFS_SERVE_SOCKET, 0) && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* The mode of the descriptor becomes that of the file: there is no moment at which others
	 * could connect. */
	if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static void free_serve(struct pfs_serve *serve)
{
	if (serve->listen_fd >= 0)
		close(serve->listen_fd);
	if (serve->stop_fd >= 0)
		close(serve->stop_fd);
	pthread_mutex_destroy(&serve->lock);
	free(serve->mountpoint);
	free(serve);
}

int pfs_serve_start(struct pfs_serve **out, const struct pfs_serve_options *options)
{
	struct pfs_serve *serve = calloc(1, sizeof(*serve));
	int err;

	*out = NULL;
	if (!serve)
		return -ENOMEM;
	pthread_mutex_init(&serve->lock, NULL);
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++) {
		serve->slots[i].serve = serve;
		serve->slots[i].conn.fd = -1;
	}
	serve->listen_fd = -1;
	serve->store_dirfd = options->store_dirfd;
	serve->logger = options->logger;
	serve->mountpoint = strdup(options->mountpoint);
	serve->env.store = options->store;
	serve->env.hooks = options->hooks;
	serve->env.mountpoint = serve->mountpoint;
	serve->env.read_only = options->read_only;
	serve->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = serve->stop_fd < 0 ? -errno : serve->mountpoint ? 0 : -ENOMEM;
	if (!err)
		err = listen_at(&serve->listen_fd, options);
	if (!err) {
		err = pfs_thread_start(&serve->listener, run_listener, serve);
		if (err)
			unlinkat(serve->store_dirfd, PFS_SERVE_SOCKET, 0);
	}
	if (err) {
		free_serve(serve);
		return err;
	}
	*out = serve;
	return 0;
}

void pfs_serve_stop(struct pfs_serve *serve)
{
	const uint64_t one = 1;

	if (!serve)
		return;
	unlinkat(serve->store_dirfd, PFS_SERVE_SOCKET, 0);
	(void)!write(serve->stop_fd, &one, sizeof(one));
	pthread_join(serve->listener, NULL);
	close(serve->listen_fd);
	serve->listen_fd = -1;
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++) {
		struct slot *slot = &serve->slots[i];

		if (get_state(slot) != SLOT_FREE)
			pthread_join(slot->thread, NULL);
		set_state(slot, SLOT_FREE);
	}
}

void pfs_serve_finish(struct pfs_serve *serve, int close_result)
{
	if (!serve)
		return;
	for (size_t i = 0; i < PFS_SERVE_CONNECTIONS; i++) {
		struct slot *slot = &serve->slots[i];

		if (!slot->wants_end)
			continue;
		pfs_wire_begin(&slot->conn.out, PFS_WIRE_CLOSED, close_result);
		if (!pfs_wire_end(&slot->conn.out))
			(void)!send(slot->conn.fd, slot->conn.out.buf, slot->conn.out.len,
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		slot->conn.fd = -1; /* stays open until the process ends */
		pfs_conn_close(&slot->conn);
	}
	free_serve(serve);
}
