/* RocksDB, with LZ4 and with zstd and a dictionary of 64 KiB.
 *
 * Set up for reading single keys from memory: a block cache of 1 GiB, a full bloom filter of 10
 * bits a key, a hash index in the data blocks (what OptimizeForPointLookup sets), blocks of 4 KiB
 * as by default, levels sized from the bottom and as many background jobs as there are processors,
 * as its tuning guide advises. Keys are big-endian, so that their order is that of the ids.
 *
 * Load: batches without write-ahead log, one flush in the end (its FAQ on bulk loading); between it
 * and reading a full compaction, which is not timed. Steady: the log is written, not synced, for
 * each change. Durable: `sync`; writers at the same time share one. A read pins its block and
 * copies nothing. get_many is the batched MultiGet. */
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/measure.h"
#include "tools/bench/peer.h"

#define CACHE_BYTES ((size_t)1 << 30)
#define BLOOM_BITS 10
#define HASH_RATIO 0.75
#define DICT_BYTES (64 * 1024)
#define TRAIN_BYTES (100 * DICT_BYTES)
#define ANY_LEVEL 3
#define WINDOW_BITS (-14)
#define KEY_LEN 8
#define POLL_US 2000

struct db {
	rocksdb_t *db;
	rocksdb_column_family_handle_t *family;
	rocksdb_options_t *options;
	rocksdb_cache_t *cache;
};

struct session {
	struct db *db;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_writebatch_t *batch;
	rocksdb_pinnableslice_t *pinned[PEER_MANY_MAX]; /* of the last get */
};

static void must(const char *what, char *err)
{
	if (err)
		bench_die(what, err);
}

static void big_endian(char out[KEY_LEN], uint64_t id)
{
	id = __builtin_bswap64(id);
	memcpy(out, &id, KEY_LEN);
}

static void set_tables(struct db *db, bool smallest)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

	db->cache = rocksdb_cache_create_lru(CACHE_BYTES);
	rocksdb_block_based_options_set_block_cache(table, db->cache);
	if (!smallest) {
		rocksdb_block_based_options_set_filter_policy(
			table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
		rocksdb_block_based_options_set_data_block_index_type(
			table,
			rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
		rocksdb_block_based_options_set_data_block_hash_ratio(table, HASH_RATIO);
	}
	rocksdb_options_set_block_based_table_factory(db->options, table);
	rocksdb_block_based_options_destroy(table);
}

static void *open_db(const char *dir, bool zstd, bool smallest)
{
	struct db *db = bench_alloc(sizeof(*db));
	const char *const names[] = {"default"};
	const rocksdb_options_t *options[1];
	char *err = NULL;

	db->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(db->options, 1);
	rocksdb_options_increase_parallelism(db->options, (int)sysconf(_SC_NPROCESSORS_ONLN));
	rocksdb_options_set_level_compaction_dynamic_level_bytes(db->options, 1);
	rocksdb_options_set_compression(db->options,
					zstd ? rocksdb_zstd_compression : rocksdb_lz4_compression);
	if (zstd) {
		rocksdb_options_set_compression_options(db->options, WINDOW_BITS, ANY_LEVEL, 0,
							DICT_BYTES);
		rocksdb_options_set_compression_options_zstd_max_train_bytes(db->options,
									     TRAIN_BYTES);
	}
	set_tables(db, smallest);
	options[0] = db->options;
	db->db = rocksdb_open_column_families(db->options, dir, 1, names, options, &db->family,
					      &err);
	must(dir, err);
	return db;
}

static void *lz4_open(const char *dir, bool smallest)
{
	return open_db(dir, false, smallest);
}

static void *zstd_open(const char *dir, bool smallest)
{
	return open_db(dir, true, smallest);
}

static void rdb_close(void *arg)
{
	struct db *db = arg;

	rocksdb_column_family_handle_destroy(db->family);
	rocksdb_close(db->db);
	rocksdb_options_destroy(db->options);
	rocksdb_cache_destroy(db->cache);
	free(db);
}

static uint64_t property(struct db *db, const char *name)
{
	uint64_t value;

	if (rocksdb_property_int(db->db, name, &value) != 0)
		bench_die(name, "no such property");
	return value;
}

/* Nothing waits to be flushed or compacted. */
static void rdb_settle(void *arg)
{
	struct db *db = arg;

	while (property(db, "rocksdb.mem-table-flush-pending") ||
	       property(db, "rocksdb.num-running-flushes") ||
	       property(db, "rocksdb.compaction-pending") ||
	       property(db, "rocksdb.num-running-compactions"))
		usleep(POLL_US);
}

static void flush(struct db *db)
{
	rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
	char *err = NULL;

	rocksdb_flush(db->db, options, &err);
	must("rocksdb_flush", err);
	rocksdb_flushoptions_destroy(options);
}

/* Also what lies in the lowest level already, so that all of it has its dictionary. */
static void rdb_ready(void *arg)
{
	rocksdb_compactoptions_t *full = rocksdb_compactoptions_create();
	struct db *db = arg;

	flush(db);
	rocksdb_compactoptions_set_bottommost_level_compaction(full, 2);
	rocksdb_compact_range_opt(db->db, full, NULL, 0, NULL, 0);
	rocksdb_compactoptions_destroy(full);
	rdb_settle(db);
}

static void rdb_pack(void *arg, const char *dir)
{
	(void)dir;
	rdb_ready(arg);
}

static void *rdb_begin(void *db, enum peer_use use)
{
	struct session *session = bench_alloc(sizeof(*session));

	session->db = db;
	session->read = rocksdb_readoptions_create();
	session->write = rocksdb_writeoptions_create();
	session->batch = rocksdb_writebatch_create();
	rocksdb_writeoptions_disable_WAL(session->write, use == PEER_BULK);
	rocksdb_writeoptions_set_sync(session->write, use == PEER_DURABLE);
	return session;
}

static void unpin(struct session *session)
{
	for (size_t i = 0; i < PEER_MANY_MAX && session->pinned[i]; i++) {
		rocksdb_pinnableslice_destroy(session->pinned[i]);
		session->pinned[i] = NULL;
	}
}

static void rdb_end(void *arg)
{
	struct session *session = arg;

	unpin(session);
	rocksdb_writebatch_destroy(session->batch);
	rocksdb_writeoptions_destroy(session->write);
	rocksdb_readoptions_destroy(session->read);
	free(session);
}

static void rdb_load(void *arg, const struct doc *docs, size_t count)
{
	struct session *session = arg;
	char *err = NULL, key[KEY_LEN];

	rocksdb_writebatch_clear(session->batch);
	for (size_t i = 0; i < count; i++) {
		big_endian(key, docs[i].id);
		rocksdb_writebatch_put(session->batch, key, KEY_LEN, docs[i].bytes, docs[i].len);
	}
	rocksdb_write(session->db->db, session->write, session->batch, &err);
	must("rocksdb_write", err);
}

static void rdb_sync(void *arg)
{
	flush(((struct session *)arg)->db);
}

static void rdb_put(void *arg, const struct doc *doc)
{
	struct session *session = arg;
	char *err = NULL, key[KEY_LEN];

	big_endian(key, doc->id);
	rocksdb_put(session->db->db, session->write, key, KEY_LEN, doc->bytes, doc->len, &err);
	must("rocksdb_put", err);
}

static void rdb_remove(void *arg, uint64_t id)
{
	struct session *session = arg;
	char *err = NULL, key[KEY_LEN];

	big_endian(key, id);
	rocksdb_delete(session->db->db, session->write, key, KEY_LEN, &err);
	must("rocksdb_delete", err);
}

static struct peer_value value_of(rocksdb_pinnableslice_t *slice)
{
	struct peer_value value = {0};

	if (slice)
		value.data = rocksdb_pinnableslice_value(slice, &value.len);
	return value;
}

static struct peer_value rdb_get(void *arg, uint64_t id)
{
	struct session *session = arg;
	char *err = NULL, key[KEY_LEN];

	unpin(session);
	big_endian(key, id);
	session->pinned[0] = rocksdb_get_pinned(session->db->db, session->read, key, KEY_LEN, &err);
	must("rocksdb_get_pinned", err);
	return value_of(session->pinned[0]);
}

static void rdb_get_many(void *arg, const uint64_t *ids, size_t count, struct peer_value *out)
{
	struct session *session = arg;
	char keys[PEER_MANY_MAX][KEY_LEN], *errs[PEER_MANY_MAX] = {0};
	rocksdb_pinnableslice_t *slices[PEER_MANY_MAX];
	const char *at[PEER_MANY_MAX];
	size_t lens[PEER_MANY_MAX], held = 0;

	unpin(session);
	for (size_t i = 0; i < count; i++) {
		big_endian(keys[i], ids[i]);
		at[i] = keys[i];
		lens[i] = KEY_LEN;
	}
	rocksdb_batched_multi_get_cf(session->db->db, session->read, session->db->family, count, at,
				     lens, slices, errs, false);
	for (size_t i = 0; i < count; i++) {
		must("rocksdb_batched_multi_get_cf", errs[i]);
		out[i] = value_of(slices[i]);
		if (slices[i])
			session->pinned[held++] = slices[i];
	}
}

static void rdb_scan(void *arg, peer_visit_fn *visit, void *visit_arg)
{
	struct session *session = arg;
	rocksdb_readoptions_t *options = rocksdb_readoptions_create();
	rocksdb_iterator_t *at;
	char *err = NULL;

	/* What is read once pushes nothing out of the cache. */
	rocksdb_readoptions_set_fill_cache(options, 0);
	at = rocksdb_create_iterator(session->db->db, options);
	for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
		size_t key_len, len;
		const char *key = rocksdb_iter_key(at, &key_len);
		const char *data = rocksdb_iter_value(at, &len);
		uint64_t id;

		if (key_len != KEY_LEN)
			bench_die("rocksdb", "a key has another length");
		memcpy(&id, key, KEY_LEN);
		visit(visit_arg, __builtin_bswap64(id), data, len);
	}
	rocksdb_iter_get_error(at, &err);
	must("rocksdb_iter", err);
	rocksdb_iter_destroy(at);
	rocksdb_readoptions_destroy(options);
}

#define ROCKSDB_OPERATIONS                                                                      \
	.close = rdb_close, .ready = rdb_ready, .settle = rdb_settle, .pack = rdb_pack,         \
	.begin = rdb_begin, .end = rdb_end, .load = rdb_load, .sync = rdb_sync, .put = rdb_put, \
	.remove = rdb_remove, .get = rdb_get, .get_many = rdb_get_many, .scan = rdb_scan

extern const struct peer peer_rocksdb_lz4, peer_rocksdb_zstd;

const struct peer peer_rocksdb_lz4 = {
	.name = "rocksdb-lz4",
	.title = "RocksDB LZ4",
	.open = lz4_open,
	ROCKSDB_OPERATIONS,
};

const struct peer peer_rocksdb_zstd = {
	.name = "rocksdb-zstd",
	.title = "RocksDB zstd",
	.open = zstd_open,
	ROCKSDB_OPERATIONS,
};
