/* SQLite: one table with an integer key, in WAL mode.
 *
 * A session is a connection with prepared statements. The file is mapped (mmap_size), so that
 * reading copies no pages; each read is a transaction of its own. Load: a transaction a batch with
 * synchronous=NORMAL, which syncs at checkpoints only, and a checkpoint in the end. Steady: the
 * same for single changes. Durable: synchronous=FULL, where a commit syncs the log. Its lock for
 * writers is one that is polled for; so writers of several threads queue at a mutex before it, as
 * programs with many writers do. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/bench/measure.h"
#include "tools/bench/peer.h"

#define MMAP_BYTES "2147418112" /* the most that it takes */
#define CACHE_KIB "65536"
#define BUSY_MS 60000

enum statement { PUT, REMOVE, GET, SCAN, BEGIN_READ, BEGIN_WRITE, COMMIT, STATEMENTS };

static const char *const texts[STATEMENTS] = {
	[PUT] = "INSERT INTO p VALUES (?,?) ON CONFLICT (id) DO UPDATE SET payload = ?2",
	[REMOVE] = "DELETE FROM p WHERE id = ?",
	[GET] = "SELECT payload FROM p WHERE id = ?",
	[SCAN] = "SELECT id, payload FROM p ORDER BY id",
	[BEGIN_READ] = "BEGIN",
	[BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
};

struct db {
	char path[4096];
	pthread_mutex_t writing;
	sqlite3 *sqlite; /* held open, so that the last session does not end with a checkpoint */
};

struct session {
	struct db *db;
	sqlite3 *sqlite;
	sqlite3_stmt *stmt[STATEMENTS];
	char *many; /* copies, since a value is valid until its statement goes on */
	size_t many_len;
};

static void run(sqlite3 *sqlite, const char *text)
{
	if (sqlite3_exec(sqlite, text, NULL, NULL, NULL) != SQLITE_OK)
		bench_die(text, sqlite3_errmsg(sqlite));
}

static sqlite3 *connect_to(const char *path)
{
	sqlite3 *sqlite;

	if (sqlite3_open(path, &sqlite) != SQLITE_OK)
		bench_die(path, sqlite3_errmsg(sqlite));
	sqlite3_busy_timeout(sqlite, BUSY_MS);
	run(sqlite, "PRAGMA journal_mode=WAL");
	run(sqlite, "PRAGMA mmap_size=" MMAP_BYTES);
	run(sqlite, "PRAGMA cache_size=-" CACHE_KIB);
	return sqlite;
}

static void *sq_open(const char *dir, bool smallest)
{
	struct db *db = bench_alloc(sizeof(*db));

	(void)smallest;
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		bench_die(dir, strerror(errno));
	snprintf(db->path, sizeof(db->path), "%s/data", dir);
	pthread_mutex_init(&db->writing, NULL);
	db->sqlite = connect_to(db->path);
	run(db->sqlite,
	    "CREATE TABLE IF NOT EXISTS p (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)");
	return db;
}

static void sq_close(void *arg)
{
	struct db *db = arg;

	if (sqlite3_close(db->sqlite) != SQLITE_OK)
		bench_die("sqlite", "it does not close");
	pthread_mutex_destroy(&db->writing);
	free(db);
}

static void sq_pack(void *arg, const char *dir)
{
	(void)dir;
	run(((struct db *)arg)->sqlite, "VACUUM");
}

static void *sq_begin(void *arg, enum peer_use use)
{
	struct session *session = bench_alloc(sizeof(*session));
	struct db *db = arg;

	session->db = db;
	session->sqlite = connect_to(db->path);
	run(session->sqlite,
	    use == PEER_DURABLE ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
	for (unsigned i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(session->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &session->stmt[i], NULL) != SQLITE_OK)
			bench_die(texts[i], sqlite3_errmsg(session->sqlite));
	return session;
}

static void sq_end(void *arg)
{
	struct session *session = arg;

	for (unsigned i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(session->stmt[i]);
	if (sqlite3_close(session->sqlite) != SQLITE_OK)
		bench_die("sqlite", "a session does not close");
	free(session->many);
	free(session);
}

static void step(struct session *session, enum statement which)
{
	if (sqlite3_step(session->stmt[which]) != SQLITE_DONE)
		bench_die(texts[which], sqlite3_errmsg(session->sqlite));
	sqlite3_reset(session->stmt[which]);
}

static void put_doc(struct session *session, const struct doc *doc)
{
	sqlite3_bind_int64(session->stmt[PUT], 1, (sqlite3_int64)doc->id);
	sqlite3_bind_blob(session->stmt[PUT], 2, doc->bytes, (int)doc->len, SQLITE_STATIC);
	step(session, PUT);
}

static void sq_load(void *arg, const struct doc *docs, size_t count)
{
	struct session *session = arg;

	step(session, BEGIN_WRITE);
	for (size_t i = 0; i < count; i++)
		put_doc(session, &docs[i]);
	step(session, COMMIT);
}

static void sq_sync(void *arg)
{
	run(((struct session *)arg)->sqlite, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void sq_put(void *arg, const struct doc *doc)
{
	struct session *session = arg;

	pthread_mutex_lock(&session->db->writing);
	put_doc(session, doc);
	pthread_mutex_unlock(&session->db->writing);
}

static void sq_remove(void *arg, uint64_t id)
{
	struct session *session = arg;

	pthread_mutex_lock(&session->db->writing);
	sqlite3_bind_int64(session->stmt[REMOVE], 1, (sqlite3_int64)id);
	step(session, REMOVE);
	pthread_mutex_unlock(&session->db->writing);
}

static struct peer_value get_row(struct session *session, uint64_t id)
{
	sqlite3_stmt *stmt = session->stmt[GET];
	struct peer_value value = {0};
	int status;

	sqlite3_reset(stmt);
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id);
	status = sqlite3_step(stmt);
	if (status == SQLITE_ROW) {
		value.data = sqlite3_column_blob(stmt, 0);
		value.len = (size_t)sqlite3_column_bytes(stmt, 0);
	} else if (status != SQLITE_DONE) {
		bench_die(texts[GET], sqlite3_errmsg(session->sqlite));
	}
	return value;
}

static struct peer_value sq_get(void *arg, uint64_t id)
{
	return get_row(arg, id);
}

/* One transaction for all. */
static void sq_get_many(void *arg, const uint64_t *ids, size_t count, struct peer_value *out)
{
	struct session *session = arg;
	size_t offset[PEER_MANY_MAX], used = 0;

	step(session, BEGIN_READ);
	for (size_t i = 0; i < count; i++) {
		out[i] = get_row(session, ids[i]);
		if (!out[i].data)
			continue;
		if (session->many_len < used + out[i].len) {
			session->many_len = 2 * (used + out[i].len);
			session->many = realloc(session->many, session->many_len);
		}
		if (!session->many)
			bench_die("sqlite", "no memory");
		memcpy(session->many + used, out[i].data, out[i].len);
		offset[i] = used;
		used += out[i].len;
	}
	sqlite3_reset(session->stmt[GET]);
	step(session, COMMIT);
	for (size_t i = 0; i < count; i++)
		if (out[i].data)
			out[i].data = session->many + offset[i];
}

static void sq_scan(void *arg, peer_visit_fn *visit, void *visit_arg)
{
	struct session *session = arg;
	sqlite3_stmt *stmt = session->stmt[SCAN];
	int status;

	while ((status = sqlite3_step(stmt)) == SQLITE_ROW) {
		const void *data = sqlite3_column_blob(stmt, 1);

		visit(visit_arg, (uint64_t)sqlite3_column_int64(stmt, 0), data,
		      (size_t)sqlite3_column_bytes(stmt, 1));
	}
	if (status != SQLITE_DONE)
		bench_die(texts[SCAN], sqlite3_errmsg(session->sqlite));
	sqlite3_reset(stmt);
}

extern const struct peer peer_sqlite;

const struct peer peer_sqlite = {
	.name = "sqlite",
	.title = "SQLite",
	.open = sq_open,
	.close = sq_close,
	.pack = sq_pack,
	.begin = sq_begin,
	.end = sq_end,
	.load = sq_load,
	.sync = sq_sync,
	.put = sq_put,
	.remove = sq_remove,
	.get = sq_get,
	.get_many = sq_get_many,
	.scan = sq_scan,
};
