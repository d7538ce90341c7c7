/* LMDB, raw and with LZ4 a document, which is what its users do by hand.
 *
 * Keys are native integers (MDB_INTEGERKEY), the fastest that it has; a load with ascending ids
 * appends (MDB_APPEND). MDB_NOTLS, so that a session's read transaction belongs to the session. It
 * is reset after each read and renewed for the next, which then sees the newest state, as
 * elsewhere; that is what the manual advises for many short reads. Steady: MDB_NOSYNC, a
 * transaction for each change: its pages are written, so that they survive the process. Durable: a
 * commit is an fdatasync. Without MDB_WRITEMAP, which would give up the protection from stray
 * writes that the others have. MDB_NORDAHEAD is for databases larger than memory, which these are
 * not. */
#include <errno.h>
#include <lmdb.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/measure.h"
#include "tools/bench/peer.h"

#define MAP_LEN ((size_t)128 << 30) /* address space: the file grows as it is filled */
#define READERS 64u
#define HEADER 4 /* length of the raw document; 0: what follows is raw */

struct db {
	MDB_env *env;
	MDB_dbi dbi;
	bool lz4;
};

struct session {
	struct db *db;
	MDB_txn *read;
	char *buf;
	size_t buf_len;
	char *many; /* get_many, of documents that were packed */
	size_t many_len;
};

static void must(const char *what, int err)
{
	if (err)
		bench_die(what, mdb_strerror(err));
}

static void *open_env(const char *dir, bool lz4)
{
	struct db *db = bench_alloc(sizeof(*db));
	MDB_txn *txn;

	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		bench_die(dir, strerror(errno));
	db->lz4 = lz4;
	must("mdb_env_create", mdb_env_create(&db->env));
	must("mdb_env_set_mapsize", mdb_env_set_mapsize(db->env, MAP_LEN));
	must("mdb_env_set_maxreaders", mdb_env_set_maxreaders(db->env, READERS));
	must(dir, mdb_env_open(db->env, dir, MDB_NOTLS, 0644));
	must("mdb_txn_begin", mdb_txn_begin(db->env, NULL, 0, &txn));
	must("mdb_dbi_open", mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &db->dbi));
	must("mdb_txn_commit", mdb_txn_commit(txn));
	return db;
}

static void *raw_open(const char *dir, bool smallest)
{
	(void)smallest;
	return open_env(dir, false);
}

static void *lz4_open(const char *dir, bool smallest)
{
	(void)smallest;
	return open_env(dir, true);
}

static void lmdb_close(void *arg)
{
	struct db *db = arg;

	mdb_env_close(db->env);
	free(db);
}

/* A compact copy takes the place of the file. */
static void lmdb_pack(void *arg, const char *dir)
{
	struct db *db = arg;
	char copy[4096], data[4096];

	snprintf(copy, sizeof(copy), "%s/copy", dir);
	snprintf(data, sizeof(data), "%s/data.mdb", dir);
	if (mkdir(copy, 0755) != 0)
		bench_die(copy, strerror(errno));
	must("mdb_env_copy2", mdb_env_copy2(db->env, copy, MDB_CP_COMPACT));
	snprintf(copy, sizeof(copy), "%s/copy/data.mdb", dir);
	if (rename(copy, data) != 0)
		bench_die(copy, strerror(errno));
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	snprintf(data, sizeof(data), "%s/lock.mdb", dir);
	if (rmdir(copy) != 0 || unlink(data) != 0)
		bench_die(dir, strerror(errno));
}

static void *lmdb_begin(void *arg, enum peer_use use)
{
	struct session *session = bench_alloc(sizeof(*session));
	struct db *db = arg;

	session->db = db;
	must("mdb_env_set_flags", mdb_env_set_flags(db->env, MDB_NOSYNC, use != PEER_DURABLE));
	must("mdb_txn_begin", mdb_txn_begin(db->env, NULL, MDB_RDONLY, &session->read));
	mdb_txn_reset(session->read);
	return session;
}

static void lmdb_end(void *arg)
{
	struct session *session = arg;

	mdb_txn_abort(session->read);
	free(session->buf);
	free(session->many);
	free(session);
}

static char *room(char **buf, size_t *cap, size_t len)
{
	if (!*buf || *cap < len) {
		free(*buf);
		*buf = bench_alloc(len + len / 2);
		*cap = len + len / 2;
	}
	return *buf;
}

static MDB_val packed(struct session *session, const struct doc *doc)
{
	size_t cap = (size_t)LZ4_compressBound((int)doc->len) + HEADER;
	char *out = room(&session->buf, &session->buf_len, cap);
	uint32_t raw_len = (uint32_t)doc->len;
	int len;

	if (!session->db->lz4)
		return (MDB_val){doc->len, (void *)(uintptr_t)doc->bytes};
	len = LZ4_compress_default(doc->bytes, out + HEADER, (int)doc->len, (int)cap - HEADER);
	if (len <= 0 || (size_t)len >= doc->len) {
		raw_len = 0;
		memcpy(out + HEADER, doc->bytes, doc->len);
		len = (int)doc->len;
	}
	memcpy(out, &raw_len, HEADER);
	return (MDB_val){(size_t)len + HEADER, out};
}

static void put_in(struct session *session, MDB_txn *txn, const struct doc *doc, unsigned flags)
{
	uint64_t id = doc->id;
	MDB_val key = {sizeof(id), &id}, value = packed(session, doc);

	must("mdb_put", mdb_put(txn, session->db->dbi, &key, &value, flags));
}

static void lmdb_load(void *arg, const struct doc *docs, size_t count)
{
	struct session *session = arg;
	MDB_txn *txn;

	must("mdb_txn_begin", mdb_txn_begin(session->db->env, NULL, 0, &txn));
	for (size_t i = 0; i < count; i++)
		put_in(session, txn, &docs[i], MDB_APPEND);
	must("mdb_txn_commit", mdb_txn_commit(txn));
}

static void lmdb_sync(void *arg)
{
	must("mdb_env_sync", mdb_env_sync(((struct session *)arg)->db->env, 1));
}

static void lmdb_put(void *arg, const struct doc *doc)
{
	struct session *session = arg;
	MDB_txn *txn;

	must("mdb_txn_begin", mdb_txn_begin(session->db->env, NULL, 0, &txn));
	put_in(session, txn, doc, 0);
	must("mdb_txn_commit", mdb_txn_commit(txn));
}

static void lmdb_remove(void *arg, uint64_t id)
{
	struct session *session = arg;
	MDB_val key = {sizeof(id), &id};
	MDB_txn *txn;

	must("mdb_txn_begin", mdb_txn_begin(session->db->env, NULL, 0, &txn));
	must("mdb_del", mdb_del(txn, session->db->dbi, &key, NULL));
	must("mdb_txn_commit", mdb_txn_commit(txn));
}

/* Raw values lie in the map, and stay until the transaction is renewed. *buf: for those that do
 * not. */
static struct peer_value unpacked(struct session *session, MDB_val value, char *out, size_t cap)
{
	uint32_t raw_len;

	if (!session->db->lz4)
		return (struct peer_value){value.mv_data, value.mv_size};
	if (value.mv_size < HEADER)
		bench_die("lmdb", "a value is too short");
	memcpy(&raw_len, value.mv_data, HEADER);
	if (!raw_len)
		return (struct peer_value){(char *)value.mv_data + HEADER, value.mv_size - HEADER};
	if (raw_len > cap ||
	    LZ4_decompress_safe((char *)value.mv_data + HEADER, out, (int)value.mv_size - HEADER,
				(int)raw_len) != (int)raw_len)
		bench_die("lmdb", "a value does not decode");
	return (struct peer_value){out, raw_len};
}

static size_t raw_len_of(struct session *session, MDB_val value)
{
	uint32_t raw_len = 0;

	if (session->db->lz4 && value.mv_size >= HEADER)
		memcpy(&raw_len, value.mv_data, HEADER);
	return raw_len;
}

/* False: there is none. */
static bool find(struct session *session, uint64_t id, MDB_val *value)
{
	MDB_val key = {sizeof(id), &id};
	int err = mdb_get(session->read, session->db->dbi, &key, value);

	if (err == MDB_NOTFOUND)
		return false;
	must("mdb_get", err);
	return true;
}

static struct peer_value unpack_one(struct session *session, MDB_val value)
{
	size_t len = raw_len_of(session, value);
	char *out = len ? room(&session->buf, &session->buf_len, len) : NULL;

	return unpacked(session, value, out, session->buf_len);
}

/* The transaction is reset at the next call only, since the value lies in its snapshot. */
static struct peer_value lmdb_get(void *arg, uint64_t id)
{
	struct session *session = arg;
	MDB_val value;

	mdb_txn_reset(session->read);
	must("mdb_txn_renew", mdb_txn_renew(session->read));
	if (!find(session, id, &value))
		return (struct peer_value){0};
	return unpack_one(session, value);
}

/* One transaction for all. */
static void lmdb_get_many(void *arg, const uint64_t *ids, size_t count, struct peer_value *out)
{
	struct session *session = arg;
	MDB_val values[PEER_MANY_MAX];
	size_t len = 0, used = 0;

	mdb_txn_reset(session->read);
	must("mdb_txn_renew", mdb_txn_renew(session->read));
	for (size_t i = 0; i < count; i++) {
		if (!find(session, ids[i], &values[i]))
			values[i] = (MDB_val){0};
		len += raw_len_of(session, values[i]);
	}
	if (len)
		room(&session->many, &session->many_len, len);
	for (size_t i = 0; i < count; i++) {
		if (!values[i].mv_data) {
			out[i] = (struct peer_value){0};
			continue;
		}
		out[i] = unpacked(session, values[i], len ? session->many + used : NULL,
				  session->many_len - used);
		used += raw_len_of(session, values[i]);
	}
}

static void lmdb_scan(void *arg, peer_visit_fn *visit, void *visit_arg)
{
	struct session *session = arg;
	MDB_val key, value;
	MDB_cursor *cursor;
	int err;

	mdb_txn_reset(session->read);
	must("mdb_txn_renew", mdb_txn_renew(session->read));
	must("mdb_cursor_open", mdb_cursor_open(session->read, session->db->dbi, &cursor));
	while (!(err = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
		struct peer_value got = unpack_one(session, value);
		uint64_t id;

		memcpy(&id, key.mv_data, sizeof(id));
		visit(visit_arg, id, got.data, got.len);
	}
	if (err != MDB_NOTFOUND)
		must("mdb_cursor_get", err);
	mdb_cursor_close(cursor);
}

#define LMDB_OPERATIONS                                                               \
	.close = lmdb_close, .pack = lmdb_pack, .begin = lmdb_begin, .end = lmdb_end, \
	.load = lmdb_load, .sync = lmdb_sync, .put = lmdb_put, .remove = lmdb_remove, \
	.get = lmdb_get, .get_many = lmdb_get_many, .scan = lmdb_scan

extern const struct peer peer_lmdb, peer_lmdb_lz4;

const struct peer peer_lmdb = {
	.name = "lmdb",
	.title = "LMDB",
	.open = raw_open,
	LMDB_OPERATIONS,
};

const struct peer peer_lmdb_lz4 = {
	.name = "lmdb-lz4",
	.title = "LMDB LZ4",
	.open = lz4_open,
	LMDB_OPERATIONS,
};
