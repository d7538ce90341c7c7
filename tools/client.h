/* The client's side of the control socket of a daemon (storage/wire.h): connecting, whole messages,
 * requests.
 *
 * Errors: -ECONNRESET the daemon is gone or has thrown us out; -EPROTO its answer is not of this
 * protocol; -EACCES, -EPERM we may not speak to it. After such an error the connection is of no
 * use. */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include "storage/monotonic.h"
#include "storage/store.h"
#include "storage/wire.h"

#define CLIENT_SOCKET "socket"

struct client {
	int fd;
	bool broken;   /* the connection is of no use any more */
	bool stopped;  /* that is because the caller's function ended an answer in the middle */
	uint8_t *body; /* of the message received last */
	size_t body_cap;
	struct pfs_wire_out out;       /* the message to send next */
	struct pfs_wire_header header; /* of the message received last */
	struct pfs_wire_in in;	       /* its body, being read */
	struct pfs_reason
		reason; /* what the daemon gave as reason for a REPLY with an error; may be empty */
	int64_t used_ms; /* when the connection was used last */

	/* what the daemon said of itself */
	uint32_t pid;
	bool read_only;
	char mountpoint[PFS_WIRE_TEXT_MAX + 1];
};

/* Connects to the socket in a directory and greets the daemon. -ENOENT, -ECONNREFUSED: nobody is
 * there; -EPROTONOSUPPORT: another version (reason says which); -ETIMEDOUT: no answer to the
 * greeting. On error nothing is open. */
int client_connect(struct client *c, int dirfd);
void client_close(struct client *c);

/* Sends c->out. */
int client_send(struct client *c);

/* Receives one message into header and in. timeout_ms -1: waits as long as it takes. -ETIMEDOUT. */
int client_receive(struct client *c, int timeout_ms);

/* Takes a part of an answer (c->header.type, c->in). Non-zero ends the request and is returned by
 * it; the connection is broken then. */
typedef int client_part_fn(void *arg, struct client *c);

/* Sends c->out and receives the answer: fn (may be NULL when no parts are expected) gets the parts;
 * then c->in is the REPLY's body. Returns its status, or an error. */
int client_request(struct client *c, client_part_fn *fn, void *arg);

/* The same without sending: for a request that was sent before. */
int client_answer(struct client *c, client_part_fn *fn, void *arg);

/* 0 when the REPLY's body was read exactly to its end, else -EPROTO, and the connection is broken.
 */
int client_done(struct client *c);

#endif
