/* Rank 1: documents to a client of the control socket, one or many, each of them the bytes of one
 * version.
 *
 * Small documents are read in one call of the store, which is consistent. Large ones are read in
 * pieces; when the document changed meanwhile (its sequence tells) it is begun again, a few times.
 */
#ifndef PFS_SERVE_EXPORT_H
#define PFS_SERVE_EXPORT_H

#include "fs/serve_conn.h"
#include "storage/store.h"

/* Sends one document in pieces: DOC_BEGIN, DATA... What came of it is returned by *status: 0,
 * -ENOENT, -EAGAIN (it kept changing, or changed once without restart), -EIO. The return value is
 * the connection's: 0 or an error. */
int pfs_export_pieces(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key,
		      bool restart, int *status);

/* Send all points, or the documents of the keys in a message's body, in batches, without the REPLY.
 * Return an error of the connection or of the listing. */
int pfs_export_all(struct pfs_conn *conn, struct pfs_store *store);
int pfs_export_keys(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *keys);

/* Sends the keys of the kinds (enum pfs_wire_kinds), without the REPLY. */
int pfs_export_names(struct pfs_conn *conn, struct pfs_store *store, unsigned kinds);

#endif
