#include "fs/serve_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/serve_answer.h"
#include "fs/serve_export.h"
#include "storage/version.h"
#include "storage/wire_fields.h"

#define IMPORT_ITEMS 64 /* documents of an import that are put at once */

/* State of a session. */
struct session {
	struct pfs_conn *conn;
	const struct pfs_session_env *env;
	struct pfs_put *put; /* between PUT_BEGIN and PUT_END */
	int put_err;	     /* the first error of this row: the rest of it is taken and dropped */
	bool in_put;
	bool waiting;		       /* for the end of the daemon */
	int64_t import_ns;	       /* when the first documents to import came; 0: none did */
	struct pfs_snapshot *snapshot; /* that the client has opened, or NULL */

	/* Changes that the kernel has not been told yet; none between two requests: it must know of
	 * what was stored even if the reply can't be sent. */
	struct pfs_serve_change changes[PFS_SERVE_CHANGES_MAX];
	size_t change_count;
};

static void tell_changes(struct session *s)
{
	if (s->change_count)
		s->env->hooks.changed(s->env->hooks.arg, s->changes, s->change_count);
	s->change_count = 0;
}

static void add_change(struct session *s, const struct pfs_key *key, uint32_t replaced)
{
	s->changes[s->change_count].key = *key;
	s->changes[s->change_count].replaced = replaced;
	if (++s->change_count == PFS_SERVE_CHANGES_MAX)
		tell_changes(s);
}

static int reply(struct session *s, int status)
{
	return pfs_answer(s->conn, status);
}

/* ---- requests; each returns 0 or an error of the connection ---- */

static int do_hello(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &s->conn->out;

	if (pfs_wire_done(in))
		return -EPROTO;
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
	pfs_wire_u32(out, (uint32_t)getpid());
	pfs_wire_u8(out, s->env->read_only);
	pfs_wire_text(out, s->env->mountpoint);
	pfs_wire_text(out, PFS_VERSION);
	return pfs_conn_send(s->conn);
}

static int do_get(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_key key;
	int err, status;

	pfs_wire_get_key(in, &key);
	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_export_get(s->conn, s->env->store, &key, &status);
	return err ? err : reply(s, status);
}

static int put_begin(struct session *s, struct pfs_wire_in *in)
{
	if (pfs_wire_done(in) || s->in_put)
		return -EPROTO;
	s->in_put = true;
	s->put_err = pfs_put_begin(s->env->store, &s->put);
	return 0;
}

static int put_data(struct session *s, struct pfs_wire_in *in)
{
	size_t len = (size_t)(in->end - in->p);

	if (!s->in_put || len > PFS_WIRE_PIECE_MAX)
		return -EPROTO;
	if (!s->put_err)
		s->put_err = pfs_put_write(s->put, in->p, len);
	return 0;
}

static void put_drop(struct session *s)
{
	if (s->put)
		pfs_put_abort(s->put);
	s->put = NULL;
	s->in_put = false;
}

static int put_end(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_key key;
	uint32_t replaced = 0;
	int err;

	pfs_wire_get_key(in, &key);
	if (pfs_wire_done(in) || !s->in_put)
		return -EPROTO;
	err = s->put_err;
	if (!err) {
		err = pfs_put_commit(s->put, &key, NULL, PFS_PUT_NEW_OBJECT, &replaced);
		s->put = NULL;
	}
	put_drop(s);
	if (!err)
		add_change(s, &key, replaced);
	tell_changes(s);
	return reply(s, err);
}

static int put_abort(struct session *s, struct pfs_wire_in *in)
{
	if (pfs_wire_done(in) || !s->in_put)
		return -EPROTO;
	put_drop(s);
	return reply(s, 0);
}

static int do_remove(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &s->conn->out;
	uint32_t count = 0, object;
	struct pfs_key key;
	size_t count_at;

	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
	count_at = out->len;
	pfs_wire_u32(out, 0);
	while (pfs_wire_more(in)) {
		int err;

		pfs_wire_get_key(in, &key);
		if (in->bad)
			break;
		object = 0;
		err = pfs_remove(s->env->store, &key, &object);
		if (!err)
			add_change(s, &key, object);
		pfs_wire_u32(out, (uint32_t)err);
		count++;
	}
	tell_changes(s);
	if (pfs_wire_done(in))
		return -EPROTO;
	if (!out->err)
		pfs_put_le32(out->buf + count_at, count);
	return pfs_conn_send(s->conn);
}

static struct pfs_export export_from(const struct session *s)
{
	return (struct pfs_export){
		.conn = s->conn, .store = s->env->store, .snapshot = s->snapshot};
}

static int do_list(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_export from = export_from(s);
	unsigned kinds = pfs_wire_get_u8(in);
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_export_names(&from, kinds);
	return err ? err : reply(s, 0);
}

static int do_export(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_export from = export_from(s);
	int err = pfs_wire_done(in) ? -EPROTO : pfs_export_all(&from);

	return err ? err : reply(s, 0);
}

static int do_export_keys(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_export from = export_from(s);
	int err = pfs_export_keys(&from, in, false);

	return err ? err : reply(s, 0);
}

static int do_copy(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_export from = export_from(s);
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	if (!s->snapshot)
		return pfs_conn_reply(s->conn, -EINVAL, "no snapshot is open to be copied");
	err = pfs_export_copy(&from);
	return err ? err : reply(s, 0);
}

static int do_copy_keys(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_export from = export_from(s);
	int err;

	if (!s->snapshot)
		return pfs_conn_reply(s->conn, -EINVAL, "no snapshot is open to be copied");
	err = pfs_export_keys(&from, in, true);
	return err ? err : reply(s, 0);
}

static void close_snapshot(struct session *s)
{
	pfs_snapshot_close(s->snapshot);
	s->snapshot = NULL;
	s->conn->idle_ms = 0;
}

/* Between the requests that read a snapshot its client may wait for a person at a pager, as in the
 * middle of one. */
static int do_snapshot(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_wire_out *out = &s->conn->out;
	struct pfs_snapshot_info info;
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	close_snapshot(s);
	err = pfs_snapshot_open(s->env->store, &s->snapshot);
	if (err)
		return reply(s, err);
	s->conn->idle_ms = PFS_CONN_SEND_MS;
	pfs_snapshot_info(s->snapshot, &info);
	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
#define PUT(field) pfs_wire_u64(out, (uint64_t)info.field);
	PFS_WIRE_SNAPSHOT_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(s->conn);
}

static int do_snapshot_end(struct session *s, struct pfs_wire_in *in)
{
	if (pfs_wire_done(in))
		return -EPROTO;
	close_snapshot(s);
	return reply(s, 0);
}

/* All that is imported in one session has one time, which takes no bytes. */
static int64_t import_time(struct session *s)
{
	if (!s->import_ns)
		s->import_ns = pfs_now_ns();
	return s->import_ns;
}

/* Of one message. index: of the next document in it. */
struct import_counts {
	uint32_t done, refused, index;
};

/* The next documents of the message, whose bytes stay where they are. */
static size_t take_items(struct pfs_wire_in *in, const struct pfs_attr *attr,
			 struct pfs_put_item items[IMPORT_ITEMS])
{
	size_t count = 0;

	while (count < IMPORT_ITEMS && pfs_wire_more(in)) {
		struct pfs_put_item *item = &items[count];

		*item = (struct pfs_put_item){.attr = attr,
					      .flags = PFS_PUT_NEW_OBJECT | PFS_PUT_MTIME_ONLY};
		pfs_wire_get_key(in, &item->key);
		item->data = pfs_wire_get_bytes(in, &item->len);
		if (in->bad)
			break;
		count++;
	}
	return count;
}

/* Puts them; those that are refused for their own sake are named in the reply. */
static int put_items(struct session *s, struct pfs_put_item *items, size_t count,
		     struct import_counts *counts)
{
	struct pfs_wire_out *out = &s->conn->out;
	size_t done = 0;

	while (done < count) {
		int err;
		size_t put = pfs_put_many(s->env->store, &items[done], count - done, &err);

		for (size_t i = done; i < done + put; i++)
			add_change(s, &items[i].key, items[i].replaced);
		done += put;
		counts->done += (uint32_t)put;
		counts->index += (uint32_t)put;
		if (!err)
			continue;
		if (!pfs_put_is_own_fault(err))
			return err;
		pfs_wire_u32(out, counts->index++);
		pfs_wire_u32(out, (uint32_t)err);
		counts->refused++;
		done++;
	}
	return 0;
}

static int do_import(struct session *s, struct pfs_wire_in *in)
{
	const struct pfs_attr attr = {.mtime_ns = import_time(s)};
	struct pfs_wire_out *out = &s->conn->out;
	struct pfs_put_item items[IMPORT_ITEMS];
	struct import_counts counts = {0};
	size_t counts_at, count;
	int err = 0;

	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
	counts_at = out->len;
	pfs_wire_u64(out, 0);
	while (!err && (count = take_items(in, &attr, items)) > 0) {
		err = put_items(s, items, count, &counts);
		if (!err && pfs_conn_stopping(s->conn))
			err = -ESHUTDOWN;
	}
	tell_changes(s);
	if (!err && pfs_wire_done(in))
		return -EPROTO;
	if (err) {
		pfs_wire_begin(out, PFS_WIRE_REPLY, err);
		pfs_wire_text(out, pfs_answer_text(err));
		pfs_wire_u32(out, counts.done);
	} else if (!out->err) {
		pfs_put_le32(out->buf + counts_at, counts.done);
		pfs_put_le32(out->buf + counts_at + 4, counts.refused);
	}
	return pfs_conn_send(s->conn);
}

static int do_sync(struct session *s, struct pfs_wire_in *in)
{
	if (pfs_wire_done(in))
		return -EPROTO;
	return reply(s, pfs_sync(s->env->store));
}

static int reply_trained(struct session *s, int err, const struct pfs_train_result *result)
{
	struct pfs_wire_out *out = &s->conn->out;

	pfs_wire_begin(out, PFS_WIRE_REPLY, 0);
	pfs_wire_u32(out, (uint32_t)err);
#define PUT(field) pfs_wire_u64(out, (uint64_t)result->field);
	PFS_WIRE_TRAIN_FIELDS(PUT)
#undef PUT
	return pfs_conn_send(s->conn);
}

static int do_train(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_train_result result;
	bool force = pfs_wire_get_u8(in);
	int err;

	if (pfs_wire_done(in))
		return -EPROTO;
	err = pfs_train(s->env->store, force, &result);
	return reply_trained(s, err, &result);
}

/* Takes the samples out of the message, one behind the other as the trainer wants them. A body has
 * PFS_WIRE_BODY_MAX at most, so there are no more lengths than that. */
static int do_train_from(struct session *s, struct pfs_wire_in *in)
{
	size_t room = (size_t)(in->end - in->p), used = 0, count = 0;
	uint8_t *bytes = malloc(room + 1);
	size_t *lens = malloc((room / 4 + 1) * sizeof(*lens));
	struct pfs_train_result result = {0};
	int err = bytes && lens ? 0 : -ENOMEM;

	while (!err && pfs_wire_more(in)) {
		const uint8_t *data = pfs_wire_get_bytes(in, &lens[count]);

		if (in->bad)
			break;
		memcpy(bytes + used, data, lens[count]);
		used += lens[count++];
	}
	if (!err && !pfs_wire_done(in))
		err = pfs_train_from(s->env->store, bytes, lens, count, &result);
	free(bytes);
	free(lens);
	return in->bad ? -EPROTO : reply_trained(s, err, &result);
}

static int do_unmount(struct session *s, struct pfs_wire_in *in)
{
	struct pfs_reason reason = {""};
	char meant[PFS_WIRE_TEXT_MAX + 1];
	int err;

	pfs_wire_get_path(in, meant, sizeof(meant));
	if (pfs_wire_done(in))
		return -EPROTO;
	if (meant[0] && strcmp(meant, s->env->mountpoint) != 0) {
		snprintf(reason.text, sizeof(reason.text),
			 "the daemon that holds the store serves %s", s->env->mountpoint);
		return pfs_conn_reply(s->conn, -ENXIO, reason.text);
	}
	err = s->env->hooks.unmount(s->env->hooks.arg, &reason);
	s->waiting = err == 0;
	return pfs_conn_reply(s->conn, err, reason.text[0] ? reason.text : pfs_answer_text(err));
}

static int dispatch(struct session *s, const struct pfs_wire_header *header)
{
	struct pfs_wire_in in = pfs_wire_in(s->conn->body, header->len);

	if (s->in_put && header->type != PFS_WIRE_PUT_DATA && header->type != PFS_WIRE_PUT_END &&
	    header->type != PFS_WIRE_PUT_ABORT)
		return -EPROTO;
	switch (header->type) {
	case PFS_WIRE_HELLO: return do_hello(s, &in);
	case PFS_WIRE_GET: return do_get(s, &in);
	case PFS_WIRE_PUT_BEGIN: return put_begin(s, &in);
	case PFS_WIRE_PUT_DATA: return put_data(s, &in);
	case PFS_WIRE_PUT_END: return put_end(s, &in);
	case PFS_WIRE_PUT_ABORT: return put_abort(s, &in);
	case PFS_WIRE_REMOVE: return do_remove(s, &in);
	case PFS_WIRE_LIST: return do_list(s, &in);
	case PFS_WIRE_EXPORT: return do_export(s, &in);
	case PFS_WIRE_EXPORT_KEYS: return do_export_keys(s, &in);
	case PFS_WIRE_IMPORT: return do_import(s, &in);
	case PFS_WIRE_STAT: return pfs_answer_stat(s->conn, s->env->store, &in);
	case PFS_WIRE_PLACE: return pfs_answer_place(s->conn, s->env->store, &in);
	case PFS_WIRE_CHECK: return pfs_answer_check(s->conn, s->env->store, &in);
	case PFS_WIRE_SYNC: return do_sync(s, &in);
	case PFS_WIRE_TRAIN: return do_train(s, &in);
	case PFS_WIRE_TRAIN_FROM: return do_train_from(s, &in);
	case PFS_WIRE_COMPACT: return pfs_answer_compact(s->conn, s->env->store, &in);
	case PFS_WIRE_UNMOUNT: return do_unmount(s, &in);
	case PFS_WIRE_SNAPSHOT: return do_snapshot(s, &in);
	case PFS_WIRE_SNAPSHOT_END: return do_snapshot_end(s, &in);
	case PFS_WIRE_COPY: return do_copy(s, &in);
	case PFS_WIRE_COPY_KEYS: return do_copy_keys(s, &in);
	case PFS_WIRE_PAGES: return pfs_answer_pages(s->conn, s->env->store, &in);
	default:
		return pfs_conn_reply(s->conn, -EOPNOTSUPP,
				      "the daemon does not know this request");
	}
}

enum pfs_session_end pfs_session_run(struct pfs_conn *conn, const struct pfs_session_env *env)
{
	struct session s = {.conn = conn, .env = env};
	struct pfs_wire_header header;
	char reason[128];
	int err = 0;

	while (!err && !s.waiting) {
		err = pfs_conn_receive(conn, &header);
		if (!err && header.version != PFS_WIRE_VERSION) {
			snprintf(reason, sizeof(reason),
				 "the daemon is version %s and speaks protocol %d, not %d: use its "
				 "payloadctl",
				 PFS_VERSION, PFS_WIRE_VERSION, header.version);
			pfs_conn_reply(conn, -EPROTONOSUPPORT, reason);
			err = -EPROTONOSUPPORT;
		}
		if (!err)
			err = dispatch(&s, &header);
	}
	put_drop(&s);
	close_snapshot(&s);
	return s.waiting ? PFS_SESSION_WAITING : PFS_SESSION_OVER;
}
