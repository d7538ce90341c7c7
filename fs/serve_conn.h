/* Rank 1: one connection of the control socket: whole messages in and out, with time-outs, ended
 * promptly by a stop.
 *
 * A connection belongs to one thread. */
#ifndef PFS_SERVE_CONN_H
#define PFS_SERVE_CONN_H

#include "storage/wire.h"

#define PFS_CONN_IDLE_MS (10 * 60 * 1000) /* between two requests */
#define PFS_CONN_RECEIVE_MS (60 * 1000)	  /* without a byte inside a message */
#define PFS_CONN_SEND_MS \
	(60 * 60 * 1000) /* the client takes nothing: it may wait for a person at a pager */

struct pfs_conn {
	int fd;	       /* non-blocking */
	int stop_fd;   /* readable: everything ends. -1: none */
	int idle_ms;   /* the longest time between two requests; 0: PFS_CONN_IDLE_MS */
	uint8_t *body; /* of the message received last */
	size_t body_cap;
	struct pfs_wire_out out; /* the message to send next */
};

/* Receives a message: the header, and its body in conn->body. -ECONNRESET: the client is gone;
 * -ETIMEDOUT; -ECANCELED: stopped; -EPROTO, -EMSGSIZE: not a message; -ENOMEM. */
int pfs_conn_receive(struct pfs_conn *conn, struct pfs_wire_header *header);

/* Sends conn->out, which it completes first. Errors as above. */
int pfs_conn_send(struct pfs_conn *conn);

/* Sends a REPLY without more than status and, if that is not 0, reason. */
int pfs_conn_reply(struct pfs_conn *conn, int status, const char *reason);

/* Whether the stop has come. */
bool pfs_conn_stopping(const struct pfs_conn *conn);

/* Closes the descriptor (if it is not -1) and frees the buffers. */
void pfs_conn_close(struct pfs_conn *conn);

#endif
