/* Rank 1: the requests of one client of the control socket. What each means stands in
 * storage/wire.h.
 *
 * A session belongs to one thread; several run at once on the same store. */
#ifndef PFS_SERVE_SESSION_H
#define PFS_SERVE_SESSION_H

#include "fs/serve.h"
#include "fs/serve_conn.h"

/* What a session works with; borrowed, does not change while it runs. */
struct pfs_session_env {
	struct pfs_store *store;
	struct pfs_serve_hooks hooks;
	const char *mountpoint;
	bool read_only;
};

enum pfs_session_end {
	PFS_SESSION_OVER,    /* close the connection */
	PFS_SESSION_WAITING, /* the client waits for the end of the daemon: keep the connection */
};

/* Serves the connection until it ends: the client went, broke the protocol or was idle for too
 * long, the stop came, or the mount was unmounted at its request. */
enum pfs_session_end pfs_session_run(struct pfs_conn *conn, const struct pfs_session_env *env);

#endif
