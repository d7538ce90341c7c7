/* Rank 1: documents to a client of the control socket, one or many, each of them the bytes of one
 * version; with a snapshot, all of them as they were at one moment.
 *
 * Small documents are read in one call of the store, which is consistent. Large ones are read in
 * pieces; without a snapshot, when the document changed meanwhile (its sequence tells), it is begun
 * again, a few times. */
#ifndef PFS_SERVE_EXPORT_H
#define PFS_SERVE_EXPORT_H

#include "fs/serve_conn.h"
#include "storage/store.h"

/* From where to whom. */
struct pfs_export {
	struct pfs_conn *conn;
	struct pfs_store *store;
	struct pfs_snapshot *snapshot; /* NULL: as the store is now */
};

/* Sends one document as it is now in pieces: DOC_BEGIN, DATA... What came of it is returned by
 * *status: 0, -ENOENT, -EAGAIN (it changed meanwhile), -EIO. The return value is the connection's:
 * 0 or an error. */
int pfs_export_get(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key,
		   int *status);

/* Send all points, or the documents of the keys in a message's body, in batches, without the REPLY.
 * Return an error of the connection or of the listing. */
int pfs_export_all(const struct pfs_export *from);
/* attributes: as pfs_export_copy sends them. */
int pfs_export_keys(const struct pfs_export *from, struct pfs_wire_in *keys, bool attributes);

/* Sends everything, scratch files too, with attributes. There is a snapshot. */
int pfs_export_copy(const struct pfs_export *from);

/* Sends the keys of the kinds (enum pfs_wire_kinds), without the REPLY. */
int pfs_export_names(const struct pfs_export *from, unsigned kinds);

#endif
