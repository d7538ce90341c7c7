/* Rank 2: the daemon's side of the control socket, by which payloadctl works on a store that is
 *mounted.
 *
 * A Unix stream socket named PFS_SERVE_SOCKET (mode 0600) lies in the store's directory. One thread
 *listens; each connection (at most PFS_SERVE_CONNECTIONS at once, one more is refused with a
 *message) has a thread of its own. A peer must be root or run as the daemon's user (SO_PEERCRED).
 *The messages are those of storage/wire.h; a peer that breaks the protocol loses its connection and
 *nothing else.
 *
 * Order of calls in the daemon:
 *	pfs_store_open; (fork into the background); pfs_serve_start; ... the mount's life ...;
 *	pfs_serve_stop; pfs_store_close; pfs_serve_finish.
 * SIGPIPE is never raised by this module (MSG_NOSIGNAL). Its threads block all signals. */
#ifndef PFS_SERVE_H
#define PFS_SERVE_H

#include "storage/key.h"
#include "storage/store.h"

#define PFS_SERVE_SOCKET "socket"
#define PFS_SERVE_CONNECTIONS 16
#define PFS_SERVE_CHANGES_MAX 256 /* changes in one call of the changed hook */

struct pfs_serve;

/* A name that a client of the socket has given another document, or removed. */
struct pfs_serve_change {
	struct pfs_key key;
	uint32_t replaced; /* the object that lost the name (held by the store until pfs_release),
			      or 0: the name is new */
};

/* What the daemon does for the server. Called from connection threads, several at once; no lock of
 * this module is held. */
struct pfs_serve_hooks {
	/* The names were changed in the store (always to a new object, PFS_PUT_NEW_OBJECT, or to
	 * nothing). Returns when the kernel's caches of these names (positive and negative entries,
	 * the listing) are invalidated, or when that has become pointless because the mount is
	 * going; only then the client gets its reply. Each replaced object is the hook's to
	 * release, now or at its FORGET. count is 1..PFS_SERVE_CHANGES_MAX. */
	void (*changed)(void *arg, const struct pfs_serve_change *changes, size_t count);

	/* Unmounts. 0: the mount point is gone or going and the daemon will end (the call does not
	 * wait for that). -EBUSY: files of the mount are in use and nothing was done; other
	 * negative errno: it failed, nothing was done. *reason gets one line about it. */
	int (*unmount)(void *arg, struct pfs_reason *reason);

	void *arg;
};

struct pfs_serve_options {
	struct pfs_store *store; /* borrowed until pfs_serve_stop returns; open, hold_objects */
	int store_dirfd; /* the store's directory (O_PATH will do); borrowed until pfs_serve_stop
			    returns */
	const char *mountpoint; /* absolute path, told to clients; copied */
	bool read_only; /* the store is held shared: a living socket of another daemon is left alone
			 */
	struct pfs_serve_hooks hooks;
	struct pfs_logger logger;
};

/* Removes a socket that an earlier daemon left (the store's lock, which the caller holds, makes
 * that safe), binds a new one and starts to listen. -EADDRINUSE: read_only, and another reader's
 * daemon has the socket; -EROFS, -EACCES: the directory can't be written: a read-only mount can do
 * without this socket, its clients then open the store directly. -ENOMEM, -EMFILE, ... On error
 * *out is NULL. */
int pfs_serve_start(struct pfs_serve **out, const struct pfs_serve_options *options);

/* Takes no more connections, removes the socket, lets the request that each connection is at end
 * with an error as soon as it can, and joins all threads: the store is not used any more when it
 * returns. Clients that asked for the unmount stay connected. serve may be NULL. */
void pfs_serve_stop(struct pfs_serve *serve);

/* After pfs_store_close: tells the clients that wait for the end of the daemon what close returned,
 * and frees serve. Their descriptors stay open on purpose, until the process ends: that is what
 * they wait for. serve may be NULL. */
void pfs_serve_finish(struct pfs_serve *serve, int close_result);

#endif
