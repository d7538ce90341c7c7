/* What is done to a store: each operation says what it makes of the oracle. */
#include "storage/store_internal.h"
#include "tests/crash/world_internal.h"

#define DICT_LEN 2048
#define DICT_PUT_LEN 160       /* of a document that is to name a dictionary */
#define DROP_CHECKPOINTS_MAX 4 /* to wait for the end of a dictionary */

static uint32_t object_of(struct world *w, unsigned i)
{
	struct pfs_key key = doc_key(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
	return object;
}

static int set(struct world *w, unsigned i, unsigned mask, const struct pfs_attr *attr)
{
	return pfs_setattr(w->store, object_of(w, i), mask, attr, NULL);
}

bool op_put(struct world *w, unsigned i, size_t len, bool new_object)
{
	struct pfs_attr attr = {.mode = MODE_PUT, .mtime_ns = ++w->tag};
	uint8_t *bytes = world_fresh_bytes(w->tag, len);
	struct pfs_key key = doc_key(i);
	struct doc doc = {true, bytes_hash(bytes, len), MODE_PUT, len, w->tag};

	world_begin_op(w);
	world_push(w)->docs[i] = doc;
	w->err = pfs_put(w->store, &key, bytes, len, &attr, new_object ? PFS_PUT_NEW_OBJECT : 0,
			 NULL);
	world_see(w, i, &doc, bytes);
	w->held[i].is = false;
	return world_finish_op(w, w->err, false);
}

bool op_patch(struct world *w, unsigned i, uint64_t off, size_t len)
{
	struct doc doc = w->seen[i];
	uint8_t *part, *bytes;

	if (!doc.there)
		return false;
	world_begin_op(w);
	doc.mtime_ns = ++w->tag;
	part = world_fresh_bytes(w->tag, len);
	doc.len = pfs_max_u64(doc.len, off + len);
	bytes = calloc(1, doc.len + 1);
	assert_non_null(bytes);
	memcpy(bytes, w->bytes[i], w->seen[i].len);
	memcpy(bytes + off, part, len);
	doc.hash = bytes_hash(bytes, doc.len);
	world_push(w)->docs[i] = doc;
	w->err = pfs_write(w->store, object_of(w, i), off, part, len, doc.mtime_ns);
	free(part);
	world_see(w, i, &doc, bytes);
	w->held[i].is = false;
	return world_finish_op(w, w->err, false);
}

bool op_resize(struct world *w, unsigned i, uint64_t size)
{
	struct pfs_attr attr = {.size = size};
	struct doc doc = w->seen[i];
	uint8_t *bytes;

	if (!doc.there || size == 0 || size == doc.len)
		return false;
	world_begin_op(w);
	world_push_held(w, i);
	bytes = calloc(1, size + 1);
	assert_non_null(bytes);
	memcpy(bytes, w->bytes[i], pfs_min_u64(size, doc.len));
	doc.len = size;
	doc.hash = bytes_hash(bytes, size);
	world_push(w)->docs[i] = doc;
	w->err = set(w, i, PFS_ATTR_SIZE, &attr);
	world_see(w, i, &doc, bytes);
	return world_finish_op(w, w->err, false);
}

/* A truncation to zero is held; nothing says so but memory. */
static void truncate_seen(struct world *w, unsigned i)
{
	if (!w->held[i].is && w->seen[i].len == 0)
		return;
	world_hold(w, i);
	w->seen[i].len = 0;
	w->seen[i].hash = bytes_hash("", 0);
	world_set_bytes(w, i, calloc(1, 1));
}

bool op_truncate(struct world *w, unsigned i)
{
	struct pfs_attr attr = {0};

	if (!w->seen[i].there)
		return false;
	world_begin_op(w);
	w->err = set(w, i, PFS_ATTR_SIZE, &attr);
	truncate_seen(w, i);
	return world_finish_op(w, w->err, false);
}

bool op_rewrite(struct world *w, unsigned i, size_t len)
{
	struct pfs_attr attr = {0};
	struct doc doc = w->seen[i];
	uint8_t *bytes;

	if (!doc.there)
		return false;
	world_begin_op(w);
	doc.mtime_ns = ++w->tag;
	bytes = world_fresh_bytes(w->tag, len);
	doc.len = len;
	doc.hash = bytes_hash(bytes, len);
	w->err = set(w, i, PFS_ATTR_SIZE, &attr);
	world_push(w)->docs[i] = doc;
	if (!w->err)
		w->err = pfs_write(w->store, object_of(w, i), 0, bytes, len, doc.mtime_ns);
	world_see(w, i, &doc, bytes);
	w->held[i].is = false;
	return world_finish_op(w, w->err, false);
}

bool op_create(struct world *w, unsigned i)
{
	struct pfs_attr attr = {.mode = MODE_CREATED, .mtime_ns = w->tag + 1};
	struct pfs_key key = doc_key(i);
	struct doc doc = {true, bytes_hash("", 0), MODE_CREATED, 0, attr.mtime_ns};

	if (w->seen[i].there)
		return false;
	world_begin_op(w);
	w->tag++;
	w->err = pfs_create(w->store, &key, &attr, NULL);
	world_see(w, i, &doc, calloc(1, 1));
	world_hold(w, i);
	return world_finish_op(w, w->err, false);
}

bool op_remove(struct world *w, unsigned i)
{
	struct pfs_key key = doc_key(i);

	if (!w->seen[i].there)
		return false;
	world_begin_op(w);
	if (world_newest(w)->docs[i].there)
		world_push(w)->docs[i] = (struct doc){0};
	w->err = pfs_remove(w->store, &key, NULL);
	world_see(w, i, &(struct doc){0}, calloc(1, 1));
	w->held[i].is = false;
	return world_finish_op(w, w->err, false);
}

bool op_rename(struct world *w, unsigned i, unsigned j, bool exchange)
{
	struct pfs_key from = doc_key(i), to = doc_key(j);
	struct doc a = w->seen[i], b = exchange ? w->seen[j] : (struct doc){0};
	uint8_t *a_bytes = w->bytes[i], *b_bytes = w->bytes[j];
	struct state *state;

	if (i == j || !a.there || (exchange && !b.there))
		return false;
	world_begin_op(w);
	world_push_held(w, i);
	if (exchange)
		world_push_held(w, j);
	state = world_push(w);
	state->docs[i] = b;
	state->docs[j] = a;
	w->err = pfs_rename(w->store, &from, &to, exchange ? PFS_RENAME_EXCHANGE : 0, NULL);
	w->bytes[j] = a_bytes;
	w->bytes[i] = b_bytes;
	if (!exchange)
		world_set_bytes(w, i, calloc(1, 1));
	w->seen[i] = b;
	w->seen[j] = a;
	w->held[i].is = w->held[j].is = false;
	return world_finish_op(w, w->err, false);
}

bool op_mode(struct world *w, unsigned i)
{
	struct pfs_attr attr;

	if (!w->seen[i].there)
		return false;
	world_begin_op(w);
	attr.mode = 0400 | (++w->tag & 0177);
	world_push_held(w, i);
	w->seen[i].mode = attr.mode;
	world_push(w)->docs[i] = w->seen[i];
	w->err = set(w, i, PFS_ATTR_MODE, &attr);
	return world_finish_op(w, w->err, false);
}

bool op_mtime(struct world *w, unsigned i)
{
	struct pfs_attr attr = {.mtime_ns = w->tag + 1};

	if (!w->seen[i].there)
		return false;
	world_begin_op(w);
	w->tag++;
	w->seen[i].mtime_ns = attr.mtime_ns;
	/* What is held stays so: the kernel sets times between a truncation and its write. */
	if (w->held[i].is)
		world_hold(w, i);
	else
		world_push(w)->docs[i] = w->seen[i];
	w->err = set(w, i, PFS_ATTR_MTIME, &attr);
	return world_finish_op(w, w->err, false);
}

bool op_fsync(struct world *w, unsigned i)
{
	if (!w->seen[i].there)
		return false;
	world_begin_op(w);
	world_push_held(w, i);
	w->err = pfs_sync_object(w->store, object_of(w, i));
	return world_finish_op(w, w->err, true);
}

bool op_sync(struct world *w)
{
	world_begin_op(w);
	world_push_all_held(w);
	w->err = pfs_sync(w->store);
	return world_finish_op(w, w->err, true);
}

bool op_tick(struct world *w)
{
	unsigned order[DOCS], n = world_held_in_order(w, order);

	world_begin_op(w);
	for (unsigned i = 0; i < n; i++) {
		if (++w->held[order[i]].ticks >= PFS_HOLD_TICKS)
			world_push_held(w, order[i]);
	}
	w->err = pfs_store_tick(w->store);
	return world_finish_op(w, w->err, true);
}

/* It makes the journal durable before it touches a page. */
bool op_checkpoint(struct world *w)
{
	world_begin_op(w);
	w->err = pfs_store_checkpoint(w->store);
	return world_finish_op(w, w->err, true);
}

static uint64_t checkpoints(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat.checkpoints;
}

/* What is moved is the same as it was. A checkpoint among the steps makes all durable. */
bool op_compact(struct world *w)
{
	uint64_t before = checkpoints(w);

	world_begin_op(w);
	unsigned steps = 0;

	do {
		w->err = pfs_store_compact_step(w->store, true);
		assert_true(steps++ < 300);
	} while (w->err == 1);
	return world_finish_op(w, w->err, checkpoints(w) > before);
}

bool op_compact_all(struct world *w)
{
	struct pfs_compact_result result;

	world_begin_op(w);
	w->err = pfs_store_compact(w->store, NULL, NULL, NULL, &result);
	return world_finish_op(w, w->err, true);
}

static struct pfs_store_stat store_stat(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat;
}

/* The dictionary that a document's value names; 0: none, or there is no such document. */
static uint32_t dict_of(struct world *w, unsigned i)
{
	struct pfs_key key = doc_key(i);
	struct pfs_place place;
	int err = pfs_place(w->store, &key, &place);

	assert_true(err == 0 || err == -ENOENT);
	return err ? 0 : place.dictionary;
}

/* What training does once it has chosen the bytes, which here are the same in every run. No
 * document changes, and nothing of the journal becomes durable. */
bool op_dict(struct world *w)
{
	uint8_t *bytes = world_fresh_bytes(++w->tag, DICT_LEN);

	world_begin_op(w);
	w->err = pfs_dict_add(w->store, bytes, DICT_LEN, 1000, 300);
	free(bytes);
	w->tally.dicts_made += !w->err;
	return world_finish_op(w, w->err, false);
}

static bool names_old_dict(struct world *w, unsigned i, uint32_t now)
{
	uint32_t dict = dict_of(w, i);

	return dict && dict != now;
}

static bool put_with_dict(struct world *w, unsigned i)
{
	op_put(w, i, DICT_PUT_LEN + i, false);
	if (w->stop || w->err)
		return false;
	/* Else the rows about dictionaries would prove nothing. */
	assert_int_equal(dict_of(w, i), store_stat(w).dictionary);
	return true;
}

/* The document's value names the newest dictionary, and is in a page. No power is cut meanwhile:
 * each of these operations is met alone, too. */
static void prepare_drop(struct world *w, unsigned i)
{
	bool cutting = w->cutting;
	uint64_t fail_at = w->fail_at;

	w->cutting = false;
	w->fail_at = 0;
	if (!store_stat(w).dictionary) {
		op_dict(w);
		assert_int_equal(w->err, 0);
	}
	assert_true(put_with_dict(w, i));
	op_checkpoint(w);
	assert_int_equal(w->err, 0);
	w->cutting = cutting;
	w->fail_at = fail_at;
}

/* A new dictionary; then every document whose value names an older one is put anew, and checkpoints
 * follow until the older ones are gone. What was replaced while it was open, or is truncated and
 * held, may go on needing one: the tally says how many were dropped. Each step is an operation with
 * its own power cuts. */
bool op_dict_drop(struct world *w, unsigned doc)
{
	struct pfs_store_stat stat;
	uint32_t before;

	prepare_drop(w, doc);
	op_dict(w);
	if (w->stop || w->err)
		return true;
	before = store_stat(w).dictionaries;
	for (unsigned i = 0; i < DOCS; i++) {
		if (names_old_dict(w, i, store_stat(w).dictionary) && !put_with_dict(w, i))
			return true;
	}
	for (unsigned n = 0; n < DROP_CHECKPOINTS_MAX; n++) {
		op_checkpoint(w);
		if (w->stop || w->err)
			return true;
		stat = store_stat(w);
		if (stat.dictionaries == 1)
			break;
	}
	w->tally.dicts_dropped += before - stat.dictionaries;
	return true;
}

bool op_reopen(struct world *w)
{
	world_begin_op(w);
	world_push_all_held(w);
	w->err = pfs_store_close(w->store);
	w->store = NULL;
	world_drain(w);
	if (w->err || w->stop)
		return world_finish_op(w, w->err, false);
	w->acked = w->durable = w->count - 1;
	w->err = world_open_store(w);
	return world_finish_op(w, w->err, true);
}
