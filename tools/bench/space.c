/* space: puts the documents of an NDJSON file into one of the peers, in the order of their ids, and
 * makes it as small as it gets by its own means: what the directory takes is then for `du` to say.
 *
 *   space rocksdb-lz4|rocksdb-zstd|lmdb|lmdb-lz4|sqlite|files DIRECTORY FILE
 *   space gets STORE FILE      a store of payloadfs: thousand reads of documents a second, at
 * random
 *
 * The directory is there and empty. A line is {"id":N,"payload":...}; keys are ids of 8 bytes in
 * big-endian order, where the peer does not have integers of its own. */
#include <fcntl.h>
#include <lmdb.h>
#include <lz4.h>
#include <rocksdb/c.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/store.h"

#define BATCH 1000u
#define MAP_LEN (16 * PFS_GIB)
#define DICT_BYTES (64 * 1024)
#define TRAIN_BYTES (100 * DICT_BYTES)

struct doc {
	uint64_t id;
	const char *bytes;
	size_t len;
};

struct docs {
	char *text;
	struct doc *at;
	size_t count;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "space: %s: %s\n", what, why);
	exit(1);
}

static void check(const char *what, char *err)
{
	if (err)
		die(what, err);
}

static void add_doc(struct docs *docs, char *line, char *end)
{
	static const char head[] = "{\"id\":", middle[] = ",\"payload\":";
	char *at;

	if (strncmp(line, head, sizeof(head) - 1) != 0)
		die("input", "a line does not begin with {\"id\":");
	if (docs->count % 65536 == 0)
		docs->at = realloc(docs->at, (docs->count + 65536) * sizeof(*docs->at));
	if (!docs->at)
		die("input", "no memory");
	docs->at[docs->count].id = strtoull(line + sizeof(head) - 1, &at, 10);
	if (strncmp(at, middle, sizeof(middle) - 1) != 0 || end[-1] != '}')
		die("input", "a line is not {\"id\":N,\"payload\":...}");
	at += sizeof(middle) - 1;
	docs->at[docs->count].bytes = at;
	docs->at[docs->count++].len = (size_t)(end - 1 - at);
}

static struct docs read_docs(const char *path)
{
	struct docs docs = {0};
	struct stat st;
	int fd = open(path, O_RDONLY);
	char *line, *end;

	if (fd < 0 || fstat(fd, &st) != 0)
		die(path, strerror(errno));
	docs.text = malloc((size_t)st.st_size + 1);
	for (ssize_t done = 0, n; docs.text && done < st.st_size; done += n) {
		n = read(fd, docs.text + done, (size_t)(st.st_size - done));
		if (n <= 0)
			die(path, n ? strerror(errno) : "it has become shorter");
	}
	close(fd);
	if (!docs.text)
		die(path, "no memory");
	docs.text[st.st_size] = 0;
	for (line = docs.text; (end = strchr(line, '\n')); line = end + 1)
		add_doc(&docs, line, end);
	if (docs.count == 0)
		die(path, "there are no documents in it");
	return docs;
}

static void big_endian(uint8_t out[8], uint64_t id)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(id >> (56 - 8 * i));
}

/* ---- RocksDB ---- */

/* One flush of everything, then a full manual compaction. The write-ahead log is off: it would be
 * empty in the end. */
static void put_rocksdb(const char *dir, const struct docs *docs, bool zstd)
{
	rocksdb_options_t *options = rocksdb_options_create();
	rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
	rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
	rocksdb_compactoptions_t *full = rocksdb_compactoptions_create();
	rocksdb_t *db;
	char *err = NULL;

	rocksdb_options_set_create_if_missing(options, 1);
	rocksdb_options_set_compression(options,
					zstd ? rocksdb_zstd_compression : rocksdb_lz4_compression);
	if (zstd) {
		rocksdb_options_set_compression_options(options, -14, 3, 0, DICT_BYTES);
		rocksdb_options_set_compression_options_zstd_max_train_bytes(options, TRAIN_BYTES);
	}
	db = rocksdb_open(options, dir, &err);
	check("rocksdb", err);
	rocksdb_writeoptions_disable_WAL(write, 1);
	for (size_t i = 0; i < docs->count; i++) {
		uint8_t key[8];

		big_endian(key, docs->at[i].id);
		rocksdb_put(db, write, (char *)key, sizeof(key), docs->at[i].bytes, docs->at[i].len,
			    &err);
		check("rocksdb", err);
	}
	rocksdb_flush(db, flush, &err);
	check("rocksdb", err);
	/* Also what lies in the lowest level already. */
	rocksdb_compactoptions_set_bottommost_level_compaction(full, 2);
	rocksdb_compact_range_opt(db, full, NULL, 0, NULL, 0);
	rocksdb_close(db);
	rocksdb_compactoptions_destroy(full);
	rocksdb_flushoptions_destroy(flush);
	rocksdb_writeoptions_destroy(write);
	rocksdb_options_destroy(options);
}

/* ---- LMDB ---- */

static void lmdb(int err)
{
	if (err)
		die("lmdb", mdb_strerror(err));
}

/* What LZ4 does not make smaller is stored raw, behind its length of 0. */
static size_t pack(char *out, size_t cap, const struct doc *doc)
{
	uint32_t raw_len = (uint32_t)doc->len;
	int len = LZ4_compress_default(doc->bytes, out + 4, (int)doc->len, (int)cap - 4);

	if (len <= 0 || (size_t)len >= doc->len) {
		raw_len = 0;
		memcpy(out + 4, doc->bytes, doc->len);
		len = (int)doc->len;
	}
	memcpy(out, &raw_len, 4);
	return (size_t)len + 4;
}

/* Appends in the order of the keys, which fills the pages; copied compactly. */
static void put_lmdb(const char *dir, const struct docs *docs, bool lz4)
{
	char path[2][4096];
	MDB_env *env;
	MDB_txn *txn = NULL;
	MDB_dbi dbi;

	snprintf(path[0], sizeof(path[0]), "%s/first", dir);
	snprintf(path[1], sizeof(path[1]), "%s/data", dir);
	lmdb(mdb_env_create(&env));
	lmdb(mdb_env_set_mapsize(env, MAP_LEN));
	lmdb(mdb_env_open(env, path[0], MDB_NOSUBDIR | MDB_NOSYNC, 0644));
	for (size_t i = 0; i < docs->count; i++) {
		size_t cap = (size_t)LZ4_compressBound((int)docs->at[i].len) + 4;
		char *packed = malloc(cap);
		MDB_val key, value;
		uint8_t id[8];

		if (!packed)
			die("lmdb", "no memory");
		if (!txn) {
			lmdb(mdb_txn_begin(env, NULL, 0, &txn));
			lmdb(mdb_dbi_open(txn, NULL, 0, &dbi));
		}
		big_endian(id, docs->at[i].id);
		key = (MDB_val){sizeof(id), id};
		value = (MDB_val){docs->at[i].len, (void *)(uintptr_t)docs->at[i].bytes};
		if (lz4)
			value = (MDB_val){pack(packed, cap, &docs->at[i]), packed};
		lmdb(mdb_put(txn, dbi, &key, &value, MDB_APPEND));
		free(packed);
		if (i % BATCH == BATCH - 1 || i == docs->count - 1) {
			lmdb(mdb_txn_commit(txn));
			txn = NULL;
		}
	}
	lmdb(mdb_env_sync(env, 1));
	/* MDB_NOSUBDIR: the path is that of the copy itself. */
	lmdb(mdb_env_copy2(env, path[1], MDB_CP_COMPACT));
	mdb_env_close(env);
	unlink(path[0]);
	snprintf(path[1], sizeof(path[1]), "%s/first-lock", dir);
	unlink(path[1]);
}

/* ---- SQLite ---- */

static void sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		die(text, sqlite3_errmsg(db));
}

static void put_sqlite(const char *dir, const struct docs *docs)
{
	sqlite3_stmt *insert;
	sqlite3 *db;
	char path[4096];

	snprintf(path, sizeof(path), "%s/data", dir);
	if (sqlite3_open(path, &db) != SQLITE_OK)
		die("sqlite", sqlite3_errmsg(db));
	sql(db, "PRAGMA journal_mode=WAL");
	sql(db, "CREATE TABLE p (id INTEGER PRIMARY KEY, payload TEXT)");
	if (sqlite3_prepare_v2(db, "INSERT INTO p VALUES (?,?)", -1, &insert, NULL) != SQLITE_OK)
		die("sqlite", sqlite3_errmsg(db));
	sql(db, "BEGIN");
	for (size_t i = 0; i < docs->count; i++) {
		sqlite3_bind_int64(insert, 1, (sqlite3_int64)docs->at[i].id);
		sqlite3_bind_text(insert, 2, docs->at[i].bytes, (int)docs->at[i].len,
				  SQLITE_STATIC);
		if (sqlite3_step(insert) != SQLITE_DONE)
			die("sqlite", sqlite3_errmsg(db));
		sqlite3_reset(insert);
	}
	sql(db, "COMMIT");
	sqlite3_finalize(insert);
	sql(db, "VACUUM");
	if (sqlite3_close(db) != SQLITE_OK)
		die("sqlite", "it does not close");
}

/* ---- files ---- */

static void put_files(const char *dir, const struct docs *docs)
{
	for (size_t i = 0; i < docs->count; i++) {
		char path[4096];
		int fd;

		snprintf(path, sizeof(path), "%s/%llu", dir, (unsigned long long)docs->at[i].id);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0 ||
		    write(fd, docs->at[i].bytes, docs->at[i].len) != (ssize_t)docs->at[i].len)
			die(path, strerror(errno));
		close(fd);
	}
	sync();
}

/* ---- reading payloadfs ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Each document once, in an order that has nothing to do with the ids, after one round to warm up;
 * every byte is compared in that. */
static void get_all(const char *dir, const struct docs *docs)
{
	const struct pfs_open_options options = {.read_only = true};
	struct pfs_reason reason;
	struct pfs_store *store;
	double begin = 0;
	size_t step = docs->count / 3 * 2 + 1;

	if (pfs_store_open(&store, dir, &options, &reason) != 0)
		die(dir, reason.text);
	while (docs->count % step == 0 || docs->count % 2 == step % 2)
		step++;
	for (unsigned round = 0; round < 2; round++) {
		begin = now();
		for (size_t i = 0, at = 0; i < docs->count; i++) {
			struct pfs_key key = pfs_key_num(docs->at[at].id);
			size_t len;
			void *data;

			if (pfs_get(store, &key, &data, &len, NULL) != 0)
				die(dir, "a document can't be read");
			if (!round &&
			    (len != docs->at[at].len || memcmp(data, docs->at[at].bytes, len) != 0))
				die(dir, "a document is not what was imported");
			free(data);
			at = round ? (at + step) % docs->count : at + 1;
		}
	}
	printf("%.0f\n", (double)docs->count / (now() - begin) / 1000);
	pfs_store_close(store);
}

int main(int argc, char **argv)
{
	const char *what = argc == 4 ? argv[1] : "", *dir = argc == 4 ? argv[2] : "";
	struct docs docs;

	if (argc != 4) {
		fprintf(stderr, "usage: space PEER DIRECTORY FILE\n");
		return 2;
	}
	docs = read_docs(argv[3]);
	if (strcmp(what, "rocksdb-lz4") == 0 || strcmp(what, "rocksdb-zstd") == 0)
		put_rocksdb(dir, &docs, what[8] == 'z');
	else if (strcmp(what, "lmdb") == 0 || strcmp(what, "lmdb-lz4") == 0)
		put_lmdb(dir, &docs, what[4] != 0);
	else if (strcmp(what, "sqlite") == 0)
		put_sqlite(dir, &docs);
	else if (strcmp(what, "files") == 0)
		put_files(dir, &docs);
	else if (strcmp(what, "gets") == 0)
		get_all(dir, &docs);
	else
		die(what, "no such peer");
	free(docs.at);
	free(docs.text);
	return 0;
}
