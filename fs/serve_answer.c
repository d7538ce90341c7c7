#include "fs/serve_answer.h"

#include <stdlib.h>

#include "storage/wire_fields.h"

const char *pfs_answer_text(int err)
{
	switch (err) {
	case -ENOENT: return "no such document";
	case -EIO:
		return "the document is damaged, or could not be read (the daemon's log says "
		       "where)";
	case -EROFS: return "the store is read-only (the daemon's log says why)";
	case -ENOSPC: return "no space left on the filesystem of the store";
	case -EFBIG: return "larger than 1 GiB";
	case -EAGAIN: return "the document changed while it was read: try again";
	default: return strerror(-err);
	}
}

int pfs_answer(struct pfs_conn *conn, int status)
{
	return pfs_conn_reply(conn, status, status ? pfs_answer_text(status) : NULL);
}

/* ---- figures ---- */

int pfs_answer_stat(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &conn->out;
	struct pfs_store_stat stat;
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_store_stat(store, &stat);
	if (err)
		return pfs_answer(conn, err);
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
#define PUT(field) pfs_wire_u64(out, (uint64_t)stat.field);
	PFS_WIRE_STAT_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(conn);
}

static int send_pages(struct pfs_conn *conn, const struct pfs_page_stat *pages, size_t count)
{
	struct pfs_wire_out *out = &conn->out;
	int err = 0;

	for (size_t i = 0; !err && i < count;) {
		pfs_wire_begin(out, PFS_WIRE_PAGE_STATS, 0);
		for (; i < count && pfs_wire_body_len(out) < PFS_WIRE_BATCH_SOFT; i++) {
#define PUT(field) pfs_wire_u64(out, (uint64_t)pages[i].field);
			PFS_WIRE_PAGE_FIELDS(PUT)
#undef PUT
		}
		err = pfs_conn_send(conn);
	}
	return err;
}

int pfs_answer_pages(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in)
{
	struct pfs_page_stat *pages;
	size_t count;
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_store_pages(store, &pages, &count);
	if (err)
		return pfs_answer(conn, err);
	err = send_pages(conn, pages, count);
	free(pages);
	return err ? err : pfs_answer(conn, 0);
}

int pfs_answer_place(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &conn->out;
	struct pfs_place place;
	struct pfs_attr attr;
	struct pfs_key key;
	uint32_t object;
	int err;

	pfs_wire_get_key(in, &key);
	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_lookup(store, &key, &object, &attr);
	if (!err)
		err = pfs_place(store, &key, &place);
	if (err)
		return pfs_answer(conn, err);
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
#define PUT(field) pfs_wire_u64(out, (uint64_t)attr.field);
	PFS_WIRE_ATTR_FIELDS(PUT)
#undef PUT
#define PUT(field) pfs_wire_u64(out, (uint64_t)place.field);
	PFS_WIRE_PLACE_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(conn);
}

/* Long work whose findings and progress are being sent to a client. It ends when nobody takes them
 * any more, or the daemon is to end. */
struct work_stream {
	struct pfs_conn *conn;
	int err;   /* the client is gone: nothing more is sent */
	bool stop; /* atomic */
};

static void stop_if_ended(struct work_stream *stream)
{
	if (stream->err || pfs_conn_stopping(stream->conn))
		__atomic_store_n(&stream->stop, true, __ATOMIC_RELAXED);
}

static void send_finding(void *arg, const struct pfs_finding *finding)
{
	struct work_stream *stream = arg;
	struct pfs_wire_out *out = &stream->conn->out;

	if (stream->err)
		return;
	pfs_wire_begin(out, PFS_WIRE_FINDING, 0);
	pfs_wire_u8(out, finding->fatal);
	pfs_wire_text(out, finding->where);
	pfs_wire_u64(out, finding->offset);
	pfs_wire_u8(out, finding->key.kind != PFS_KEY_NONE);
	if (finding->key.kind != PFS_KEY_NONE)
		pfs_wire_key(out, &finding->key);
	pfs_wire_text(out, finding->text);
	stream->err = pfs_conn_send(stream->conn);
	stop_if_ended(stream);
}

static void send_progress(void *arg, uint64_t done, uint64_t total)
{
	struct work_stream *stream = arg;
	struct pfs_wire_out *out = &stream->conn->out;

	if (stream->err)
		return;
	pfs_wire_begin(out, PFS_WIRE_PROGRESS, 0);
	pfs_wire_u64(out, done);
	pfs_wire_u64(out, total);
	stream->err = pfs_conn_send(stream->conn);
	stop_if_ended(stream);
}

int pfs_answer_check(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &conn->out;
	struct work_stream stream = {.conn = conn};
	struct pfs_check_result result;
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_store_check(store, send_finding, send_progress, &stream, &stream.stop, &result);
	if (stream.err)
		return stream.err;
	if (err)
		return pfs_answer(conn, err);
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
#define PUT(field) pfs_wire_u64(out, (uint64_t)result.field);
	PFS_WIRE_CHECK_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(conn);
}

int pfs_answer_compact(struct pfs_conn *conn, struct pfs_store *store, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &conn->out;
	struct work_stream stream = {.conn = conn};
	struct pfs_compact_result result;
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_store_compact(store, send_progress, &stream, &stream.stop, &result);
	if (stream.err)
		return stream.err;
	if (err == -EBUSY)
		return pfs_conn_reply(conn, err, "the store is being compacted already");
	if (err)
		return pfs_answer(conn, err);
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
#define PUT(field) pfs_wire_u64(out, (uint64_t)result.field);
	PFS_WIRE_COMPACT_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(conn);
}
