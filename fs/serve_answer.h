/* Rank 1: answers to a client of the control socket that are made from the store alone: what is in
 * it, where it lies, its check and its compaction.
 *
 * Each takes the rest of a request's body, and returns 0 or an error of the connection; an error of
 * the store is an answer. */
#ifndef PFS_SERVE_ANSWER_H
#define PFS_SERVE_ANSWER_H

#include "fs/serve_conn.h"
#include "storage/store.h"

/* A REPLY with nothing but the status, and what it means. */
int pfs_answer(struct pfs_conn *conn, int status);

/* The sentence for an error of the store. */
const char *pfs_answer_text(int err);

int pfs_answer_stat(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in);
int pfs_answer_pages(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in);
int pfs_answer_place(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in);
int pfs_answer_check(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in);
/* Ends when the client goes away, or the stop comes. */
int pfs_answer_compact(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in);

#endif
