#include "fs/serve_export.h"

#include <stdlib.h>

#include "storage/wire_fields.h"

#define LIST_STEP 256
#define PIECES_TRIES 4 /* how often a large document that changes under the reader is begun */

/* How documents are sent. */
struct stream {
	const struct pfs_export *from;
	struct pfs_conn *conn;
	bool attributes; /* COPIES and COPY_BEGIN, not DOCS and DOC_BEGIN */
};

static struct stream stream_of(const struct pfs_export *from, bool attributes)
{
	return (struct stream){.from = from, .conn = from->conn, .attributes = attributes};
}

/* ---- what is there ---- */

static int look_up(const struct pfs_export *from, const struct pfs_key *key, struct pfs_attr *attr)
{
	if (from->snapshot)
		return pfs_snapshot_lookup(from->snapshot, key, attr);
	return pfs_lookup(from->store, key, NULL, attr);
}

static int get_whole(const struct pfs_export *from, const struct pfs_key *key, void **data,
		     size_t *len, struct pfs_attr *attr)
{
	if (from->snapshot)
		return pfs_snapshot_get(from->snapshot, key, data, len, attr);
	return pfs_get(from->store, key, data, len, attr);
}

/* Names, some at a time. */
struct names {
	uint64_t after;
	struct pfs_key keys[LIST_STEP];
	union {
		struct pfs_listed now[LIST_STEP];
		struct pfs_snapshot_name then[LIST_STEP];
	} listed;
};

/* Fills names->keys: how many, 0 at the end, or an error. */
static ssize_t next_names(const struct pfs_export *from, struct names *names)
{
	ssize_t n;

	if (from->snapshot) {
		n = pfs_snapshot_list(from->snapshot, names->after, names->listed.then, LIST_STEP);
		for (ssize_t i = 0; i < n; i++)
			names->keys[i] = names->listed.then[i].key;
		if (n > 0)
			names->after = names->listed.then[n - 1].cookie;
	} else {
		n = pfs_list(from->store, names->after, names->listed.now, LIST_STEP);
		for (ssize_t i = 0; i < n; i++)
			names->keys[i] = names->listed.now[i].key;
		if (n > 0)
			names->after = names->listed.now[n - 1].cookie;
	}
	return n;
}

/* ---- one document in pieces ---- */

static void add_attr(struct pfs_wire_out *out, const struct pfs_attr *attr)
{
#define PUT(field) pfs_wire_u64(out, (uint64_t)attr->field);
	PFS_WIRE_ATTR_FIELDS(PUT)
#undef PUT
}

static void begin_document(const struct stream *s, const struct pfs_key *key,
			   const struct pfs_attr *attr)
{
	struct pfs_wire_out *out = &s->conn->out;

	pfs_wire_begin(out, s->attributes ? PFS_WIRE_COPY_BEGIN : PFS_WIRE_DOC_BEGIN, 0);
	pfs_wire_key(out, key);
	if (s->attributes)
		add_attr(out, attr);
	else
		pfs_wire_u64(out, attr->size);
}

static ssize_t read_piece(const struct pfs_export *from, const struct pfs_key *key, uint32_t object,
			  uint64_t off, void *buf, size_t len)
{
	if (from->snapshot)
		return pfs_snapshot_read(from->snapshot, key, off, buf, len);
	return pfs_read(from->store, object, off, buf, len);
}

/* Sends the bytes of a document that was begun. object: its number, without snapshot. */
static int send_pieces(const struct stream *s, const struct pfs_key *key, uint32_t object,
		       uint64_t size, int *status)
{
	struct pfs_conn *conn = s->conn;
	int err = 0;

	for (uint64_t off = 0; !err && off < size;) {
		size_t want = pfs_min_u64(size - off, PFS_WIRE_PIECE_MAX);
		uint8_t *piece;
		ssize_t n;

		pfs_wire_begin(&conn->out, PFS_WIRE_DATA, 0);
		piece = pfs_wire_reserve(&conn->out, want);
		if (!piece)
			return -ENOMEM;
		n = read_piece(s->from, key, object, off, piece, want);
		if (n != (ssize_t)want) {
			*status = n < 0 && n != -ENOENT ? (int)n : -EAGAIN;
			return 0;
		}
		off += want;
		err = pfs_conn_send(conn);
		if (!err && pfs_conn_stopping(conn))
			err = -ECANCELED;
	}
	return err;
}

/* A document of the snapshot can't change. */
static int send_then(const struct stream *s, const struct pfs_key *key, int *status)
{
	struct pfs_attr attr;
	int err;

	*status = look_up(s->from, key, &attr);
	if (*status)
		return 0;
	begin_document(s, key, &attr);
	err = pfs_conn_send(s->conn);
	return err ? err : send_pieces(s, key, 0, attr.size, status);
}

/* Sends it as it is now; one that changes meanwhile is begun so often. */
static int send_now(const struct stream *s, const struct pfs_key *key, int tries, int *status)
{
	struct pfs_store *store = s->from->store;
	struct pfs_place before, after;
	struct pfs_attr attr;
	uint32_t object;
	int err;

	while (tries--) {
		/* The place first: what it says before and after, the number was the key's in
		 * between. */
		*status = pfs_place(store, key, &before);
		if (!*status)
			*status = pfs_lookup(store, key, &object, &attr);
		if (*status)
			return 0;
		begin_document(s, key, &attr);
		err = pfs_conn_send(s->conn);
		if (!err)
			err = send_pieces(s, key, object, attr.size, status);
		if (err || *status == -EIO)
			return err;
		if (!*status && !pfs_place(store, key, &after) && after.sequence == before.sequence)
			return 0;
		*status = -EAGAIN;
	}
	return 0;
}

int pfs_export_get(struct pfs_conn *conn, struct pfs_store *store, const struct pfs_key *key,
		   int *status)
{
	const struct pfs_export from = {.conn = conn, .store = store};
	const struct stream s = stream_of(&from, false);

	return send_now(&s, key, 1, status);
}

/* ---- many ---- */

static void add_head(const struct stream *s, const struct pfs_key *key, int status,
		     const struct pfs_attr *attr)
{
	struct pfs_wire_out *out = &s->conn->out;

	pfs_wire_key(out, key);
	pfs_wire_u32(out, (uint32_t)status);
	if (s->attributes)
		add_attr(out, attr);
}

/* Appends a small document to the message; nothing when it is gone. -E2BIG: it is not small,
 * nothing was appended. By its key: an object's number may be another document's by the time it is
 * read. */
static int append_small(const struct stream *s, const struct pfs_key *key)
{
	struct pfs_attr attr = {0};
	void *data = NULL;
	size_t len = 0;
	int status = look_up(s->from, key, &attr);

	if (!status && attr.size <= PFS_WIRE_PIECE_MAX)
		status = get_whole(s->from, key, &data, &len, &attr);
	if (status == -ENOENT) /* removed meanwhile */
		return 0;
	if (!status && attr.size > PFS_WIRE_PIECE_MAX) {
		free(data);
		return -E2BIG;
	}
	add_head(s, key, status, &attr);
	pfs_wire_bytes(&s->conn->out, data, len);
	free(data);
	return s->conn->out.err;
}

static void begin_batch(const struct stream *s)
{
	pfs_wire_begin(&s->conn->out, s->attributes ? PFS_WIRE_COPIES : PFS_WIRE_DOCS, 0);
}

/* Sends the batch if it holds anything (or is due), and begins the next. */
static int flush_batch(const struct stream *s)
{
	int err = pfs_wire_body_len(&s->conn->out) ? pfs_conn_send(s->conn) : 0;

	begin_batch(s);
	return err;
}

/* Sends what is gathered, then the large document by itself. */
static int send_large(const struct stream *s, const struct pfs_key *key)
{
	const struct pfs_attr none = {0};
	int status = 0, err = flush_batch(s);

	if (!err)
		err = s->from->snapshot ? send_then(s, key, &status)
					: send_now(s, key, PIECES_TRIES, &status);
	if (err)
		return err;
	if (!status) {
		pfs_wire_begin(&s->conn->out, PFS_WIRE_DOC_END, 0);
		err = pfs_conn_send(s->conn);
	}
	begin_batch(s);
	if (status && status != -ENOENT) { /* what was begun is void now */
		add_head(s, key, status, &none);
		pfs_wire_bytes(&s->conn->out, NULL, 0);
	}
	return err;
}

static int add_document(const struct stream *s, const struct pfs_key *key)
{
	int err = append_small(s, key);

	if (err == -E2BIG)
		return send_large(s, key);
	if (!err && pfs_wire_body_len(&s->conn->out) >= PFS_WIRE_BATCH_SOFT) {
		err = flush_batch(s);
		if (!err && pfs_conn_stopping(s->conn))
			err = -ECANCELED;
	}
	return err;
}

static int send_all(const struct stream *s, bool points_only)
{
	struct names *names = calloc(1, sizeof(*names));
	ssize_t n = 0;
	int err = 0;

	if (!names)
		return -ENOMEM;
	begin_batch(s);
	while (!err && (n = next_names(s->from, names)) > 0) {
		for (ssize_t i = 0; i < n && !err; i++) {
			if (!points_only || pfs_key_is_point(&names->keys[i]))
				err = add_document(s, &names->keys[i]);
		}
	}
	if (!err)
		err = n < 0 ? (int)n : flush_batch(s);
	free(names);
	return err;
}

int pfs_export_all(const struct pfs_export *from)
{
	const struct stream s = stream_of(from, false);

	return send_all(&s, true);
}

int pfs_export_copy(const struct pfs_export *from)
{
	const struct stream s = stream_of(from, true);

	return send_all(&s, false);
}

int pfs_export_keys(const struct pfs_export *from, struct pfs_wire_in *keys, bool attributes)
{
	const struct stream s = stream_of(from, attributes);
	struct pfs_key key;
	int err = 0;

	begin_batch(&s);
	while (!err && pfs_wire_more(keys)) {
		pfs_wire_get_key(keys, &key);
		if (keys->bad)
			return -EPROTO;
		err = add_document(&s, &key);
	}
	return err ? err : flush_batch(&s);
}

int pfs_export_names(const struct pfs_export *from, unsigned kinds)
{
	struct pfs_conn *conn = from->conn;
	struct names *names = calloc(1, sizeof(*names));
	ssize_t n = 0;
	int err = 0;

	if (!names)
		return -ENOMEM;
	while (!err && (n = next_names(from, names)) > 0) {
		pfs_wire_begin(&conn->out, PFS_WIRE_KEYS, 0);
		for (ssize_t i = 0; i < n; i++) {
			unsigned kind = pfs_key_is_point(&names->keys[i]) ? PFS_WIRE_POINTS
									  : PFS_WIRE_SCRATCH;

			if (kinds & kind)
				pfs_wire_key(&conn->out, &names->keys[i]);
		}
		err = pfs_conn_send(conn);
		if (!err && pfs_conn_stopping(conn))
			err = -ECANCELED;
	}
	free(names);
	return err ? err : (int)n;
}
