#include "tools/client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO_MS 10000

static int broken(struct client *c, int err)
{
	c->broken = true;
	return err;
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	free(c->body);
	c->body = NULL;
	c->body_cap = 0;
	pfs_wire_out_free(&c->out);
}

int client_send(struct client *c)
{
	size_t sent = 0;
	int err = pfs_wire_end(&c->out);

	if (err)
		return broken(c, err);
	while (sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.buf + sent, c->out.len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			return broken(c, errno == EPIPE ? -ECONNRESET : -errno);
	}
	return 0;
}

static int receive_bytes(struct client *c, uint8_t *buf, size_t len, int timeout_ms)
{
	size_t got = 0;

	while (got < len) {
		struct pollfd fd = {.fd = c->fd, .events = POLLIN};
		ssize_t n;

		if (timeout_ms >= 0) {
			int ready = poll(&fd, 1, timeout_ms);

			if (ready == 0)
				return broken(c, -ETIMEDOUT);
			if (ready < 0 && errno != EINTR)
				return broken(c, -errno);
			if (ready < 0)
				continue;
		}
		n = recv(c->fd, buf + got, len - got, 0);
		if (n == 0)
			return broken(c, -ECONNRESET);
		if (n < 0 && errno != EINTR)
			return broken(c, -errno);
		if (n > 0)
			got += (size_t)n;
	}
	return 0;
}

int client_receive(struct client *c, int timeout_ms)
{
	uint8_t bytes[PFS_WIRE_HEADER_LEN], *body;
	int err = receive_bytes(c, bytes, sizeof(bytes), timeout_ms);

	if (err)
		return err;
	if (pfs_wire_header(&c->header, bytes))
		return broken(c, -EPROTO);
	if (!c->body || c->header.len > c->body_cap) {
		body = realloc(c->body, pfs_max_u64(c->header.len, 4096));
		if (!body)
			return broken(c, -ENOMEM);
		c->body = body;
		c->body_cap = pfs_max_u64(c->header.len, 4096);
	}
	err = receive_bytes(c, c->body, c->header.len, timeout_ms);
	if (err)
		return err;
	c->in = pfs_wire_in(c->body, c->header.len);
	c->used_ms = pfs_now_monotonic_ms();
	return 0;
}

int client_answer(struct client *c, client_part_fn *fn, void *arg)
{
	int err;

	c->reason.text[0] = '\0';
	for (;;) {
		err = client_receive(c, -1);
		if (err)
			return err;
		if (c->header.type == PFS_WIRE_REPLY)
			break;
		err = fn ? fn(arg, c) : -EPROTO;
		if (err) {
			c->stopped = true;
			return broken(c, err);
		}
	}
	if (c->header.status)
		pfs_wire_get_text(&c->in, c->reason.text, sizeof(c->reason.text));
	return c->header.status;
}

int client_request(struct client *c, client_part_fn *fn, void *arg)
{
	int err = client_send(c);

	return err ? err : client_answer(c, fn, arg);
}

int client_done(struct client *c)
{
	return pfs_wire_done(&c->in) ? broken(c, -EPROTO) : 0;
}

static int open_socket(int dirfd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	/* Through the descriptor, because the directory's path may be longer than sun_path. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dirfd,
		 CLIENT_SOCKET);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int greet(struct client *c)
{
	char version[64];
	int err;

	pfs_wire_begin(&c->out, PFS_WIRE_HELLO, 0);
	err = client_send(c);
	/* Who is turned away may find the connection closed, and the reason in it. */
	if (err && err != -ECONNRESET)
		return err;
	err = client_receive(c, HELLO_MS);
	if (err)
		return err;
	if (c->header.type != PFS_WIRE_REPLY)
		return -EPROTO;
	if (c->header.status) {
		pfs_wire_get_text(&c->in, c->reason.text, sizeof(c->reason.text));
		return c->header.status;
	}
	if (c->header.version != PFS_WIRE_VERSION) {
		snprintf(c->reason.text, sizeof(c->reason.text),
			 "the daemon speaks protocol %d, this program %d", c->header.version,
			 PFS_WIRE_VERSION);
		return -EPROTONOSUPPORT;
	}
	c->pid = pfs_wire_get_u32(&c->in);
	c->read_only = pfs_wire_get_u8(&c->in);
	pfs_wire_get_path(&c->in, c->mountpoint, sizeof(c->mountpoint));
	pfs_wire_get_text(&c->in, version, sizeof(version));
	return pfs_wire_done(&c->in);
}

int client_connect(struct client *c, int dirfd)
{
	int err;

	memset(c, 0, sizeof(*c));
	c->fd = open_socket(dirfd);
	if (c->fd < 0)
		return c->fd;
	err = greet(c);
	if (err)
		client_close(c);
	else
		c->broken = false;
	return err;
}
