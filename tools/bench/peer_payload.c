/* payloadfs, by storage/store.h alone, with the settings that a store has by itself.
 *
 * payloadfs: documents are put one after the other into a new store, which trains its dictionary in
 * the background meanwhile. payloadfs-dict: the dictionary is made before, from a sample of the
 * first documents, as `payloadctl import` does (tools/sampler.h); that is part of the load's time.
 *
 * Steady: pfs_put returns when the change is in the journal. Durable: pfs_sync after each. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/store.h"
#include "tools/bench/measure.h"
#include "tools/bench/peer.h"

#define HELD_BYTES (16 * PFS_MIB) /* as an import holds back */

struct session {
	struct pfs_store *store;
	enum peer_use use;
	int64_t load_ns; /* all documents of one load have one time, as of one import */
	struct pfs_key keys[PEER_MANY_MAX]; /* of a get that is made */
	struct pfs_got got[PEER_MANY_MAX];  /* what the last get gave; the first `held` */
	size_t held;
};

static void must(const char *what, int err)
{
	if (err)
		bench_die(what, strerror(-err));
}

static void *payload_open(const char *dir, bool smallest)
{
	const struct pfs_create_options create = {0};
	const struct pfs_open_options options = {0};
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = pfs_store_open(&store, dir, &options, &reason);

	(void)smallest;
	if (err == -ENOENT) {
		if (pfs_store_create(dir, &create, &reason) != 0)
			bench_die(dir, reason.text);
		err = pfs_store_open(&store, dir, &options, &reason);
	}
	if (err)
		bench_die(dir, reason.text);
	return store;
}

static void payload_close(void *db)
{
	must("pfs_store_close", pfs_store_close(db));
}

/* Documents from all over what an import would hold back. Too few of them give no dictionary, and
 * without one everything works, too. */
static void payload_prepare(void *db, const struct doc *docs, size_t count)
{
	char *sample = bench_alloc(PFS_TRAIN_FROM_BYTES);
	size_t *lens = bench_alloc(PFS_TRAIN_FROM_COUNT * sizeof(*lens));
	size_t held = 0, held_bytes = 0, seen = 0, used = 0, picked = 0;
	struct pfs_train_result result;
	int err;

	while (held < count && held_bytes + docs[held].len <= HELD_BYTES)
		held_bytes += docs[held++].len;
	for (size_t i = 0; i < held && picked < PFS_TRAIN_FROM_COUNT; i++) {
		uint64_t share;

		seen += docs[i].len;
		share = held_bytes <= PFS_TRAIN_FROM_BYTES
				? seen
				: seen * PFS_TRAIN_FROM_BYTES / held_bytes;
		if (used + docs[i].len > share)
			continue;
		memcpy(sample + used, docs[i].bytes, docs[i].len);
		lens[picked++] = docs[i].len;
		used += docs[i].len;
	}
	err = pfs_train_from(db, sample, lens, picked, &result);
	if (err != -ENODATA && err != -EALREADY)
		must("pfs_train_from", err);
	free(sample);
	free(lens);
}

static void payload_settle(void *db)
{
	must("pfs_store_checkpoint", pfs_store_checkpoint(db));
}

static void payload_pack(void *db, const char *dir)
{
	struct pfs_compact_result result;

	(void)dir;
	must("pfs_store_compact", pfs_store_compact(db, NULL, NULL, NULL, &result));
}

static void *payload_begin(void *db, enum peer_use use)
{
	struct session *session = bench_alloc(sizeof(*session));
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	session->store = db;
	session->use = use;
	session->load_ns = now.tv_sec * (int64_t)PFS_NSEC_PER_SEC + now.tv_nsec;
	return session;
}

static void let_go(struct session *session)
{
	while (session->held)
		free(session->got[--session->held].data);
}

static void payload_end(void *arg)
{
	let_go(arg);
	free(arg);
}

static void payload_load(void *arg, const struct doc *docs, size_t count)
{
	struct session *session = arg;
	const struct pfs_attr attr = {.mtime_ns = session->load_ns};
	struct pfs_put_item *items = bench_alloc(count * sizeof(*items));
	int err;

	for (size_t i = 0; i < count; i++)
		items[i] = (struct pfs_put_item){.key = pfs_key_num(docs[i].id),
						 .data = docs[i].bytes,
						 .len = docs[i].len,
						 .attr = &attr,
						 .flags = PFS_PUT_MTIME_ONLY};
	pfs_put_many(session->store, items, count, &err);
	must("pfs_put_many", err);
	free(items);
}

static void payload_sync(void *arg)
{
	must("pfs_sync", pfs_sync(((struct session *)arg)->store));
}

static void payload_put(void *arg, const struct doc *doc)
{
	struct session *session = arg;
	struct pfs_key key = pfs_key_num(doc->id);

	must("pfs_put", pfs_put(session->store, &key, doc->bytes, doc->len, NULL, 0, NULL));
	if (session->use == PEER_DURABLE)
		payload_sync(session);
}

static void payload_remove(void *arg, uint64_t id)
{
	struct session *session = arg;
	struct pfs_key key = pfs_key_num(id);

	must("pfs_remove", pfs_remove(session->store, &key, NULL));
	if (session->use == PEER_DURABLE)
		payload_sync(session);
}

static struct peer_value value_of(const struct pfs_got *got)
{
	if (got->err && got->err != -ENOENT)
		must("reading", got->err);
	return (struct peer_value){got->data, got->len};
}

static struct peer_value get_key(struct session *session, const struct pfs_key *key)
{
	struct pfs_got *got = &session->got[0];

	let_go(session);
	got->err = pfs_get(session->store, key, &got->data, &got->len, NULL);
	session->held = 1;
	return value_of(got);
}

/* Gets the first count of session->keys. */
static void get_keys(struct session *session, size_t count)
{
	let_go(session);
	pfs_get_many(session->store, session->keys, count, session->got);
	session->held = count;
}

static struct peer_value payload_get(void *arg, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);

	return get_key(arg, &key);
}

static void payload_get_many(void *arg, const uint64_t *ids, size_t count, struct peer_value *out)
{
	struct session *session = arg;

	for (size_t i = 0; i < count; i++)
		session->keys[i] = pfs_key_num(ids[i]);
	get_keys(session, count);
	for (size_t i = 0; i < count; i++)
		out[i] = value_of(&session->got[i]);
}

static void payload_scan(void *arg, peer_visit_fn *visit, void *visit_arg)
{
	struct pfs_listed listed[PEER_MANY_MAX];
	struct session *session = arg;
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_list(session->store, after, listed, PEER_MANY_MAX)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			session->keys[i] = listed[i].key;
		get_keys(session, (size_t)n);
		for (ssize_t i = 0; i < n; i++) {
			struct peer_value value = value_of(&session->got[i]);

			if (value.data)
				visit(visit_arg, session->keys[i].num, value.data, value.len);
		}
		after = listed[n - 1].cookie;
	}
	must("pfs_list", (int)n);
}

#define PAYLOAD_OPERATIONS                                                                      \
	.open = payload_open, .close = payload_close, .settle = payload_settle,                 \
	.pack = payload_pack, .begin = payload_begin, .end = payload_end, .load = payload_load, \
	.sync = payload_sync, .put = payload_put, .remove = payload_remove, .get = payload_get, \
	.get_many = payload_get_many, .scan = payload_scan

extern const struct peer peer_payload, peer_payload_dict;

const struct peer peer_payload = {
	.name = "payloadfs",
	.title = "payloadfs",
	PAYLOAD_OPERATIONS,
};

const struct peer peer_payload_dict = {
	.name = "payloadfs-dict",
	.title = "payloadfs dict",
	.prepare = payload_prepare,
	PAYLOAD_OPERATIONS,
};
