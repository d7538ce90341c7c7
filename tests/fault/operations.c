#include "tests/fault/operations.h"

#include <stdlib.h>

#define STREAM_PART (90 * 1024)

/* ---- operations ---- */

/* An operation that logs what is held first has happened: a power cut may have been in between. */
static void settled(struct world *w, int err, unsigned i)
{
	if (!err)
		model_settle(&w->model, i);
}

/* What an operation (not a write, which treats what is held in its own way) has made of it. */
static void set_or_fail(struct world *w, int err, unsigned i, uint8_t *bytes, size_t len,
			uint32_t mode)
{
	if (err) {
		model_unsettled(&w->model, i);
		model_failed(&w->model, i, bytes, len, mode);
	} else {
		model_set(&w->model, i, bytes, len, mode);
	}
}

static void release(struct world *w, uint32_t object)
{
	if (!object)
		return;
	fault_arm();
	pfs_release(w->store, object);
	world_after(w, "release", 0);
}

void op_put(struct world *w, unsigned i, size_t len, unsigned flags)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = WORLD_MODE, .mtime_ns = 1};
	uint8_t *bytes = model_bytes(len, world_next_seed(w));
	uint32_t replaced;
	int err;

	if (!w->store) {
		free(bytes);
		return;
	}
	fault_arm();
	err = pfs_put(w->store, &key, bytes, len, &attr, flags, &replaced);
	fault_disarm();
	set_or_fail(w, err, i, bytes, len, WORLD_MODE);
	world_after(w, "put", err);
	release(w, replaced);
}

void op_create(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = WORLD_MODE};
	bool was = model_now(&w->model, i)->there;
	uint32_t object;
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_create(w->store, &key, &attr, &object);
	fault_disarm();
	if (was && !w->fault->met)
		assert_int_equal(err, -EEXIST);
	if (!err)
		model_hold(&w->model, i, WORLD_MODE);
	world_after(w, "create", err == -EEXIST && was ? 0 : err);
}

/* The document's bytes with [off, off + len) from part (NULL: zeros) in them. */
static uint8_t *patched(struct world *w, unsigned i, size_t size, size_t off, const uint8_t *part,
			size_t len)
{
	const struct model_doc *d = &w->model.docs[i];
	uint8_t *bytes = calloc(1, size + 1);

	assert_non_null(bytes);
	memcpy(bytes, d->bytes, pfs_min_u64(size, model_now(&w->model, i)->len));
	if (part)
		memcpy(bytes + off, part, len);
	else
		memset(bytes + off, 0, len);
	return bytes;
}

void op_write(struct world *w, unsigned i, size_t off, size_t len)
{
	size_t size;
	uint8_t *part, *bytes;
	uint32_t object, mode;
	int err;

	if (!world_has(w, i))
		return;
	part = model_bytes(len, world_next_seed(w));
	size = pfs_max_u64(off + len, model_now(&w->model, i)->len);
	bytes = patched(w, i, size, off, part, len);
	object = world_object(w, i);
	mode = world_mode(w, i);
	fault_arm();
	err = pfs_write(w->store, object, off, part, len, 2);
	fault_disarm();
	if (err) {
		/* Whether there was still something held to cancel, the store shows. */
		if (model_now(&w->model, i)->either)
			model_resolve(&w->model, w->store, false);
		model_cancel(&w->model, i);
		model_failed(&w->model, i, bytes, size, mode);
	} else {
		model_set(&w->model, i, bytes, size, mode);
	}
	free(part);
	world_after(w, "write", err);
}

void op_zero(struct world *w, unsigned i, size_t off, size_t len)
{
	uint8_t *bytes;
	uint32_t object;
	size_t size;
	int err;

	/* Beyond the end it does nothing, not even to what is held. */
	if (!world_has(w, i) || off >= model_now(&w->model, i)->len)
		return;
	size = model_now(&w->model, i)->len;
	bytes = patched(w, i, size, off, NULL, pfs_min_u64(len, size - off));
	object = world_object(w, i);
	fault_arm();
	err = pfs_zero(w->store, object, off, len, 3);
	fault_disarm();
	set_or_fail(w, err, i, bytes, size, world_mode(w, i));
	world_after(w, "zero", err);
}

void op_resize(struct world *w, unsigned i, size_t size)
{
	struct pfs_attr attr = {.size = size}, out;
	uint8_t *bytes;
	uint32_t object;
	int err;

	if (!world_has(w, i))
		return;
	bytes = patched(w, i, size, 0, NULL, 0);
	object = world_object(w, i);
	fault_arm();
	err = pfs_setattr(w->store, object, PFS_ATTR_SIZE, &attr, &out);
	fault_disarm();
	if (size || err) {
		settled(w, err, i);
		set_or_fail(w, err, i, bytes, size, world_mode(w, i));
	} else {
		free(bytes);
		model_hold(&w->model, i, world_mode(w, i));
	}
	world_after(w, "resize", err);
}

void op_attr(struct world *w, unsigned i, uint32_t mode)
{
	struct pfs_attr attr = {.mode = mode, .mtime_ns = 4};
	size_t len;
	uint32_t object;
	int err;

	if (!world_has(w, i))
		return;
	len = model_now(&w->model, i)->len;
	object = world_object(w, i);
	fault_arm();
	err = pfs_setattr(w->store, object, PFS_ATTR_MTIME | (mode ? PFS_ATTR_MODE : 0), &attr,
			  NULL);
	fault_disarm();
	if (mode)
		settled(w, err, i);
	if (mode)
		set_or_fail(w, err, i, patched(w, i, len, 0, NULL, 0), len, mode);
	world_after(w, "setattr", err);
}

void op_rename(struct world *w, unsigned i, unsigned j, unsigned flags)
{
	struct pfs_key from = model_key(i), to = model_key(j);
	bool exchange = flags & PFS_RENAME_EXCHANGE;
	struct model_state a, b;
	uint8_t *bytes_a, *bytes_b = NULL;
	uint32_t replaced;
	int err;

	if (!world_has(w, i) || (exchange && !world_has(w, j)))
		return;
	a = *model_now(&w->model, i);
	b = *model_now(&w->model, j);
	bytes_a = patched(w, i, a.len, 0, NULL, 0);
	if (exchange)
		bytes_b = patched(w, j, b.len, 0, NULL, 0);
	fault_arm();
	err = pfs_rename(w->store, &from, &to, flags, &replaced);
	fault_disarm();
	settled(w, err, i);
	if (exchange)
		settled(w, err, j);
	set_or_fail(w, err, i, bytes_b, exchange ? b.len : 0, exchange ? b.mode : 0);
	set_or_fail(w, err, j, bytes_a, a.len, a.mode);
	world_after(w, "rename", err);
	release(w, replaced);
}

/* A removed document is read by its number until it is released. */
static void read_removed(struct world *w, uint32_t object, const uint8_t *bytes, size_t len)
{
	uint8_t *got = malloc(len + 1);
	ssize_t n;

	fault_arm();
	n = pfs_read(w->store, object, 0, got, len + 1);
	fault_disarm();
	if (n >= 0 && ((size_t)n != len || memcmp(got, bytes, len) != 0))
		fail_msg("%s: a removed document shows %zd bytes, not its own", w->model.label, n);
	free(got);
	world_after(w, "read of a removed document", n < 0 ? (int)n : 0);
}

void op_remove(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	uint8_t *bytes;
	uint32_t object;
	size_t len;
	int err;

	if (!world_has(w, i))
		return;
	len = model_now(&w->model, i)->len;
	bytes = patched(w, i, len, 0, NULL, 0);
	fault_arm();
	err = pfs_remove(w->store, &key, &object);
	fault_disarm();
	set_or_fail(w, err, i, NULL, 0, 0);
	world_after(w, "remove", err);
	if (!err) {
		read_removed(w, object, bytes, len);
		release(w, object);
	}
	free(bytes);
}

void op_stream(struct world *w, unsigned i, bool commit)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = WORLD_MODE};
	uint8_t *bytes;
	uint32_t replaced = 0;
	struct pfs_put *put;
	int err;

	if (!w->store)
		return;
	bytes = model_bytes(3 * STREAM_PART, world_next_seed(w));
	fault_arm();
	err = pfs_put_begin(w->store, &put);
	for (unsigned part = 0; part < 3 && !err; part++) {
		err = pfs_put_write(put, bytes + part * STREAM_PART, STREAM_PART);
		if (err)
			pfs_put_abort(put);
	}
	if (!err && commit)
		err = pfs_put_commit(put, &key, &attr, 0, &replaced);
	else if (!err)
		pfs_put_abort(put);
	fault_disarm();
	if (commit)
		set_or_fail(w, err, i, bytes, 3 * STREAM_PART, WORLD_MODE);
	else
		free(bytes);
	world_after(w, "put in pieces", err);
	release(w, replaced);
}

/* ---- reading ---- */

static void op_get(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i), found;
	const struct model_doc *d = &w->model.docs[i];
	size_t size = model_now(&w->model, i)->len, len;
	struct pfs_place place;
	struct pfs_attr attr;
	uint32_t object;
	void *bytes;
	int err;

	if (!world_has(w, i))
		return;
	fault_arm();
	err = pfs_get(w->store, &key, &bytes, &len, &attr);
	fault_disarm();
	if (!err && (len != size || attr.size != size || memcmp(bytes, d->bytes, len) != 0))
		fail_msg("%s: a get shows wrong bytes", w->model.label);
	free(bytes);
	world_after(w, "get", err);
	fault_arm();
	err = pfs_lookup(w->store, &key, &object, &attr);
	if (!err)
		err = pfs_getattr(w->store, object, &attr);
	if (!err)
		err = pfs_object_key(w->store, object, &found);
	if (!err)
		err = pfs_place(w->store, &key, &place);
	world_after(w, "lookup", err);
	if (!err && (attr.size != size || !pfs_key_equal(&key, &found)))
		fail_msg("%s: a lookup shows another document", w->model.label);
}

void op_read_part(struct world *w, unsigned i, size_t off, size_t len)
{
	const struct model_doc *d = &w->model.docs[i];
	uint8_t *buf = malloc(len);
	size_t size = model_now(&w->model, i)->len;
	uint32_t object;
	ssize_t n;

	if (world_has(w, i) && off < size) {
		object = world_object(w, i);
		len = pfs_min_u64(len, size - off);
		fault_arm();
		n = pfs_read(w->store, object, off, buf, len);
		fault_disarm();
		if (n >= 0 && ((size_t)n != len || memcmp(buf, d->bytes + off, len) != 0))
			fail_msg("%s: a read shows wrong bytes", w->model.label);
		world_after(w, "read", n < 0 ? (int)n : 0);
	}
	free(buf);
}

static void op_store_check(struct world *w)
{
	struct pfs_check_result result;
	struct pfs_store_stat stat;
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_store_check(w->store, NULL, NULL, NULL, NULL, &result);
	fault_disarm();
	/* A document that can't be read is a finding, one that there was no memory for is not. */
	if (!err && result.findings && (!w->fault->met || w->fault->kind == FAULT_MEMORY))
		fail_msg("%s: the store's check finds something", w->model.label);
	world_after(w, "check of the store", err);
	fault_arm();
	err = pfs_store_stat(w->store, &stat);
	world_after(w, "stat", err);
}

void op_read_all(struct world *w)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		op_get(w, i);
	op_read_part(w, 1, 60000, 20000);
	op_store_check(w);
}

/* ---- durability ---- */

void op_sync(struct world *w)
{
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_sync(w->store);
	fault_disarm();
	for (unsigned i = 0; i < MODEL_KEYS && err; i++)
		model_unsettled(&w->model, i);
	if (!err)
		model_synced(&w->model, true);
	world_after(w, "sync", err);
}

void op_sync_object(struct world *w, unsigned i)
{
	uint32_t object;
	int err;

	if (!world_has(w, i))
		return;
	object = world_object(w, i);
	fault_arm();
	err = pfs_sync_object(w->store, object);
	fault_disarm();
	if (err)
		model_unsettled(&w->model, i);
	else
		model_settle(&w->model, i);
	if (!err)
		model_synced(&w->model, false);
	world_after(w, "sync of a document", err);
}

void op_ticks(struct world *w)
{
	for (unsigned n = 0; n < PFS_HOLD_TICKS && w->store; n++) {
		int err;

		fault_arm();
		err = pfs_store_tick(w->store);
		fault_disarm();
		for (unsigned i = 0; i < MODEL_KEYS; i++)
			model_unsettled(&w->model, i);
		if (!err)
			model_synced(&w->model, n == PFS_HOLD_TICKS - 1 && !w->fault->met);
		world_after(w, "tick", err);
	}
}

void op_checkpoint(struct world *w)
{
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_store_checkpoint(w->store);
	fault_disarm();
	if (!err)
		model_synced(&w->model, false);
	world_after(w, "checkpoint", err);
}
