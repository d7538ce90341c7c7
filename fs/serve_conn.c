#include "fs/serve_conn.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits until the descriptor is ready for events. */
static int wait_for(const struct pfs_conn *conn, short events, int timeout_ms)
{
	struct pollfd fds[2] = {
		{.fd = conn->fd, .events = events},
		{.fd = conn->stop_fd, .events = POLLIN},
	};
	int n;

	do
		n = poll(fds, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	return n == 0 ? -ETIMEDOUT : 0;
}

bool pfs_conn_stopping(const struct pfs_conn *conn)
{
	struct pollfd fd = {.fd = conn->stop_fd, .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static int receive_bytes(struct pfs_conn *conn, uint8_t *buf, size_t len, int timeout_ms)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n;
		int err = wait_for(conn, POLLIN, got ? PFS_CONN_RECEIVE_MS : timeout_ms);

		if (err)
			return err;
		n = recv(conn->fd, buf + got, len - got, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			got += (size_t)n;
	}
	return 0;
}

static int make_body_room(struct pfs_conn *conn, size_t len)
{
	uint8_t *body;

	if (conn->body && len <= conn->body_cap)
		return 0;
	body = realloc(conn->body, pfs_max_u64(len, 4096));
	if (!body)
		return -ENOMEM;
	conn->body = body;
	conn->body_cap = pfs_max_u64(len, 4096);
	return 0;
}

int pfs_conn_receive(struct pfs_conn *conn, struct pfs_wire_header *header)
{
	uint8_t bytes[PFS_WIRE_HEADER_LEN];
	int err = receive_bytes(conn, bytes, sizeof(bytes),
				conn->idle_ms ? conn->idle_ms : PFS_CONN_IDLE_MS);

	if (!err)
		err = pfs_wire_header(header, bytes);
	if (!err)
		err = make_body_room(conn, header->len);
	if (!err)
		err = receive_bytes(conn, conn->body, header->len, PFS_CONN_RECEIVE_MS);
	return err;
}

int pfs_conn_send(struct pfs_conn *conn)
{
	size_t sent = 0;
	int err = pfs_wire_end(&conn->out);

	while (!err && sent < conn->out.len) {
		ssize_t n =
			send(conn->fd, conn->out.buf + sent, conn->out.len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			err = wait_for(conn, POLLOUT, PFS_CONN_SEND_MS);
		else if (errno != EINTR)
			err = errno == EPIPE ? -ECONNRESET : -errno;
	}
	return err;
}

int pfs_conn_reply(struct pfs_conn *conn, int status, const char *reason)
{
	pfs_wire_begin(&conn->out, PFS_WIRE_REPLY, status);
	if (status)
		pfs_wire_text(&conn->out, reason);
	return pfs_conn_send(conn);
}

void pfs_conn_close(struct pfs_conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	free(conn->body);
	conn->body = NULL;
	conn->body_cap = 0;
	pfs_wire_out_free(&conn->out);
}
