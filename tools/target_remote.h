/* A store that a daemon holds, for the files target_remote*.c: the requests of the control socket
 * behind the table of operations of target.h. */
#ifndef TOOLS_TARGET_REMOTE_H
#define TOOLS_TARGET_REMOTE_H

#include "tools/client.h"
#include "tools/target.h"

#define REMOTE_KEYS_MAX 4096 /* in one message: a name takes 257 bytes at most */

/* A batch of an import: where its documents stood, for those that are refused. */
struct remote_batch {
	struct {
		struct target_where where;
		struct pfs_key key;
	} * docs;
	uint32_t count;
};

struct remote {
	struct target t;
	struct client client;
	int dirfd;		 /* the store's directory, to connect again */
	bool snapshot;		 /* the connection has one: another one would not */
	struct pfs_wire_out put; /* the piece of a document that is being gathered */
	/* Import: one batch is gathered while the other is on its way. */
	struct pfs_wire_out gathered;
	struct remote_batch filling, flying;
};

static inline struct remote *remote_of(struct target *t)
{
	return (struct remote *)t;
}

/* Takes note of how a request ended, for target_complain; returns err. */
int remote_noted(struct remote *r, int err);

/* The same, and makes the REPLY's end part of the result: there must be nothing left in its body.
 */
int remote_finished(struct remote *r, int err);

/* Before a request: connects anew after a pause so long that the daemon may be about to hang up,
 * but with a snapshot, for which it waits longer. */
int remote_refresh(struct remote *r);

/* Begins a request in r->client.out, after a refresh. */
int remote_begin(struct remote *r, enum pfs_wire_type type);

/* Sends a message that was built elsewhere. */
int remote_send(struct remote *r, struct pfs_wire_out *message);

/* ---- target_remote_read.c: documents from the daemon ---- */

int remote_get(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg);
int remote_export_all(struct target *t, target_doc_fn *fn, void *arg);
int remote_export_keys(struct target *t, const struct pfs_key *keys, size_t count,
		       target_doc_fn *fn, void *arg);
int remote_names(struct target *t, unsigned kinds, target_name_fn *fn, void *arg);
int remote_snapshot(struct target *t, struct pfs_snapshot_info *info);
int remote_copy_all(struct target *t, target_copy_fn *fn, void *arg);
int remote_copy_keys(struct target *t, const struct pfs_key *keys, size_t count, target_copy_fn *fn,
		     void *arg);

/* ---- target_remote_write.c: documents to the daemon ---- */

int remote_put_begin(struct target *t);
int remote_put_write(struct target *t, const void *data, size_t len);
int remote_put_commit(struct target *t, const struct pfs_key *key);
int remote_put_abort(struct target *t);
int remote_import_add(struct target *t, const struct pfs_key *key, const void *data, size_t len,
		      const struct pfs_attr *attr, const struct target_where *where);
int remote_import_flush(struct target *t);
int remote_remove(struct target *t, const struct pfs_key *keys, size_t count, int *statuses);

#endif
