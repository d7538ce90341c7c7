#include "fs/serve_export.h"

#include <stdlib.h>

#define LIST_STEP 256
#define PIECES_TRIES 4 /* how often a large document that changes under the reader is begun */

int pfs_export_pieces(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key,
		      bool restart, int *status)
{
	struct pfs_place before, after;
	struct pfs_attr attr;
	uint32_t object;
	int err;

	for (int try = 0; try < (restart ? PIECES_TRIES : 1); try++) {
		/* The place first: what it says before and after, the number was the key's in
		 * between. */
		*status = pfs_place(store, key, &before);
		if (!*status)
			*status = pfs_lookup(store, key, &object, &attr);
		if (*status)
			return 0;
		pfs_wire_begin(&conn->out, PFS_WIRE_DOC_BEGIN, 0);
		pfs_wire_key(&conn->out, key);
		pfs_wire_u64(&conn->out, attr.size);
		err = pfs_conn_send(conn);
		for (uint64_t off = 0; !err && off < attr.size;) {
			size_t want = pfs_min_u64(attr.size - off, PFS_WIRE_PIECE_MAX);
			uint8_t *piece;
			ssize_t n;

			pfs_wire_begin(&conn->out, PFS_WIRE_DATA, 0);
			piece = pfs_wire_reserve(&conn->out, want);
			if (!piece)
				return -ENOMEM;
			n = pfs_read(store, object, off, piece, want);
			if (n != (ssize_t)want) {
				*status = n < 0 && n != -ENOENT ? (int)n : -EAGAIN;
				break;
			}
			off += want;
			err = pfs_conn_send(conn);
			if (!err && pfs_conn_stopping(conn))
				err = -ECANCELED;
		}
		if (err)
			return err;
		if (*status == -EIO)
			return 0;
		if (!*status && !pfs_place(store, key, &after) && after.sequence == before.sequence)
			return 0;
		*status = -EAGAIN;
	}
	return 0;
}

/* Appends (key, status, bytes) of a small document to the message; nothing when it is gone. -E2BIG:
 * it is not small, nothing was appended. By its key: an object's number may be another document's
 * by the time it is read. */
static int append_small(struct pfs_wire_out *out, struct pfs_store *store,
			const struct pfs_key *key)
{
	struct pfs_attr attr;
	void *data = NULL;
	size_t len = 0;
	int status = pfs_lookup(store, key, NULL, &attr);

	if (!status && attr.size <= PFS_WIRE_PIECE_MAX)
		status = pfs_get(store, key, &data, &len, &attr);
	if (status == -ENOENT) /* removed meanwhile */
		return 0;
	if (!status && attr.size > PFS_WIRE_PIECE_MAX) {
		free(data);
		return -E2BIG;
	}
	pfs_wire_key(out, key);
	pfs_wire_u32(out, (uint32_t)status);
	pfs_wire_bytes(out, data, len);
	free(data);
	return out->err;
}

/* Sends the batch if it holds anything (or is due), and begins the next. */
static int flush_docs(struct pfs_conn *conn)
{
	int err = pfs_wire_body_len(&conn->out) ? pfs_conn_send(conn) : 0;

	pfs_wire_begin(&conn->out, PFS_WIRE_DOCS, 0);
	return err;
}

/* Sends what is gathered, then the large document by itself. */
static int send_large(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key)
{
	int status, err = flush_docs(conn);

	if (!err)
		err = pfs_export_pieces(conn, store, key, true, &status);
	if (err)
		return err;
	if (!status) {
		pfs_wire_begin(&conn->out, PFS_WIRE_DOC_END, 0);
		err = pfs_conn_send(conn);
	}
	pfs_wire_begin(&conn->out, PFS_WIRE_DOCS, 0);
	if (status && status != -ENOENT) { /* what was begun is void now */
		pfs_wire_key(&conn->out, key);
		pfs_wire_u32(&conn->out, (uint32_t)status);
		pfs_wire_bytes(&conn->out, NULL, 0);
	}
	return err;
}

static int add_document(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key)
{
	int err = append_small(&conn->out, store, key);

	if (err == -E2BIG)
		return send_large(conn, store, key);
	if (!err && pfs_wire_body_len(&conn->out) >= PFS_WIRE_BATCH_SOFT) {
		err = flush_docs(conn);
		if (!err && pfs_conn_stopping(conn))
			err = -ECANCELED;
	}
	return err;
}

int pfs_export_all(struct pfs_conn *conn, struct pfs_store *store)
{
	struct pfs_listed *listed = calloc(LIST_STEP, sizeof(*listed));
	uint64_t after = 0;
	ssize_t n = 0;
	int err = 0;

	if (!listed)
		return -ENOMEM;
	pfs_wire_begin(&conn->out, PFS_WIRE_DOCS, 0);
	while (!err && (n = pfs_list(store, after, listed, LIST_STEP)) > 0) {
		for (ssize_t i = 0; i < n && !err; i++) {
			if (pfs_key_is_point(&listed[i].key))
				err = add_document(conn, store, &listed[i].key);
		}
		after = listed[n - 1].cookie;
	}
	if (!err)
		err = n < 0 ? (int)n : flush_docs(conn);
	free(listed);
	return err;
}

int pfs_export_keys(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *keys)
{
	struct pfs_key key;
	int err = 0;

	pfs_wire_begin(&conn->out, PFS_WIRE_DOCS, 0);
	while (!err && pfs_wire_more(keys)) {
		pfs_wire_get_key(keys, &key);
		if (keys->bad)
			return -EPROTO;
		err = add_document(conn, store, &key);
	}
	return err ? err : flush_docs(conn);
}

int pfs_export_names(struct pfs_conn *conn, struct pfs_store *store, unsigned kinds)
{
	struct pfs_listed *listed = calloc(LIST_STEP, sizeof(*listed));
	uint64_t after = 0;
	ssize_t n = 0;
	int err = 0;

	if (!listed)
		return -ENOMEM;
	while (!err && (n = pfs_list(store, after, listed, LIST_STEP)) > 0) {
		pfs_wire_begin(&conn->out, PFS_WIRE_KEYS, 0);
		for (ssize_t i = 0; i < n; i++) {
			unsigned kind = pfs_key_is_point(&listed[i].key) ? PFS_WIRE_POINTS
									 : PFS_WIRE_SCRATCH;

			if (kinds & kind)
				pfs_wire_key(&conn->out, &listed[i].key);
		}
		after = listed[n - 1].cookie;
		err = pfs_conn_send(conn);
		if (!err && pfs_conn_stopping(conn))
			err = -ECANCELED;
	}
	free(listed);
	return err ? err : (int)n;
}
