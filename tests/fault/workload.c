#include "tests/fault/workload.h"

#include <stdio.h>
#include <stdlib.h>

#define MODE 0640u
#define LARGE (150 * 1024)
#define STREAM_PART (90 * 1024)
#define VERY_LARGE (3u << 20) /* its space is given back to the filesystem */

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct fault *fault;
	struct model model;
	struct workload_stat *stat;
	unsigned read_only_lines; /* since the store was opened */
	unsigned seed;
	bool looked; /* at the images of the first fault */
	bool opened_read_only;
};

static void on_log(void *arg, enum pfs_log_level level, const char *line)
{
	struct world *w = arg;

	if (level == PFS_LOG_ERROR && strstr(line, "read-only"))
		w->read_only_lines++;
	if (getenv("FAULT_LOG"))
		print_message("  log: %s\n", line);
}

/* ---- what must hold after each call ---- */

static bool is_read_only(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat.read_only;
}

/* A failed sync, or an error that says so, and only these, make the store read-only; it says why,
 * once. */
static void expect_read_only(struct world *w, const char *what, int err)
{
	bool read_only;

	if (!w->store || w->opened_read_only)
		return;
	read_only = is_read_only(w);
	if ((err == -EROFS || w->fault->sync_met) && !read_only)
		fail_msg("%s: %s: error %d, but the store is not read-only", w->model.label, what,
			 err);
	if (read_only && (w->fault->kind == FAULT_MEMORY || w->fault->kind == FAULT_FULL))
		fail_msg("%s: %s: read-only for want of memory or space", w->model.label, what);
	if (w->read_only_lines != (unsigned)read_only)
		fail_msg("%s: %s: read-only %d, but %u lines say so", w->model.label, what,
			 read_only, w->read_only_lines);
	/* Nothing is claimed to be durable any more. */
	if (read_only && (pfs_sync(w->store) != -EROFS || pfs_sync_object(w->store, 2) != -EROFS))
		fail_msg("%s: %s: a read-only store claims to sync", w->model.label, what);
}

static bool is_allowed(const struct world *w, int err)
{
	if (!w->fault->met)
		return false;
	if (w->fault->kind == FAULT_MEMORY)
		return err == -ENOMEM;
	if (w->fault->kind == FAULT_FULL)
		return err == -ENOSPC;
	/* Whatever a sync says, it is that nobody knows what the disk has. */
	if (w->fault->sync_met)
		return err == -EIO || err == -EROFS;
	return err == w->fault->err || err == -EROFS;
}

/* What a kill leaves now, and a power cut: with nothing kept that is not durable, or a part. */
static void look_at_images(struct world *w)
{
	model_expect_image(&w->model, pfs_sim_kill(w->sim), false);
	model_expect_image(&w->model,
			   w->fault->from_then_on ? pfs_sim_crash_seed(w->sim, w->fault->at * 9 + 5)
						  : pfs_sim_crash_index(w->sim, 0),
			   true);
	w->stat->images += 2;
}

/* After each call, when the model says what has come of it. */
static void after(struct world *w, const char *what, int err)
{
	fault_disarm();
	if (getenv("FAULT_LOG"))
		print_message("  %s: %d\n", what, err);
	if (err == -ENOSPC && w->fault->kind == FAULT_FULL)
		w->fault->met = true;
	if (err && !is_allowed(w, err))
		fail_msg("%s: %s: error %d", w->model.label, what, err);
	if (!w->fault->met)
		return;
	w->stat->refused += err != 0;
	if (err || !w->looked) {
		expect_read_only(w, what, err);
		if (w->store)
			model_expect(&w->model, w->store);
	}
	if (!w->looked) {
		w->looked = true;
		look_at_images(w);
	}
}

static unsigned next_seed(struct world *w)
{
	return ++w->seed;
}

static uint32_t object_of(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
	return object;
}

/* The document is there; what failed before may have kept it away. */
static bool there(struct world *w, unsigned i)
{
	return w->store && model_now(&w->model, i)->there;
}

static uint32_t mode_of(struct world *w, unsigned i)
{
	return model_now(&w->model, i)->mode;
}

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
	after(w, "release", 0);
}

static void op_put(struct world *w, unsigned i, size_t len, unsigned flags)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = MODE, .mtime_ns = 1};
	uint8_t *bytes = model_bytes(len, next_seed(w));
	uint32_t replaced;
	int err;

	if (!w->store) {
		free(bytes);
		return;
	}
	fault_arm();
	err = pfs_put(w->store, &key, bytes, len, &attr, flags, &replaced);
	fault_disarm();
	set_or_fail(w, err, i, bytes, len, MODE);
	after(w, "put", err);
	release(w, replaced);
}

static void op_create(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = MODE}, found;
	bool was = model_now(&w->model, i)->there;
	uint32_t object;
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_create(w->store, &key, &attr, &object, &found);
	fault_disarm();
	if (was && !w->fault->met)
		assert_int_equal(err, -EEXIST);
	if (!err)
		model_hold(&w->model, i, MODE);
	after(w, "create", err == -EEXIST && was ? 0 : err);
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

static void op_write(struct world *w, unsigned i, size_t off, size_t len)
{
	size_t size;
	uint8_t *part, *bytes;
	uint32_t object, mode;
	int err;

	if (!there(w, i))
		return;
	part = model_bytes(len, next_seed(w));
	size = pfs_max_u64(off + len, model_now(&w->model, i)->len);
	bytes = patched(w, i, size, off, part, len);
	object = object_of(w, i);
	mode = mode_of(w, i);
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
	after(w, "write", err);
}

static void op_zero(struct world *w, unsigned i, size_t off, size_t len)
{
	uint8_t *bytes;
	uint32_t object;
	size_t size;
	int err;

	/* Beyond the end it does nothing, not even to what is held. */
	if (!there(w, i) || off >= model_now(&w->model, i)->len)
		return;
	size = model_now(&w->model, i)->len;
	bytes = patched(w, i, size, off, NULL, pfs_min_u64(len, size - off));
	object = object_of(w, i);
	fault_arm();
	err = pfs_zero(w->store, object, off, len, 3);
	fault_disarm();
	set_or_fail(w, err, i, bytes, size, mode_of(w, i));
	after(w, "zero", err);
}

static void op_resize(struct world *w, unsigned i, size_t size)
{
	struct pfs_attr attr = {.size = size}, out;
	uint8_t *bytes;
	uint32_t object;
	int err;

	if (!there(w, i))
		return;
	bytes = patched(w, i, size, 0, NULL, 0);
	object = object_of(w, i);
	fault_arm();
	err = pfs_setattr(w->store, object, PFS_ATTR_SIZE, &attr, &out);
	fault_disarm();
	if (size || err) {
		settled(w, err, i);
		set_or_fail(w, err, i, bytes, size, mode_of(w, i));
	} else {
		free(bytes);
		model_hold(&w->model, i, mode_of(w, i));
	}
	after(w, "resize", err);
}

/* mode 0: only the time, which leaves a held document held. */
static void op_attr(struct world *w, unsigned i, uint32_t mode)
{
	struct pfs_attr attr = {.mode = mode, .mtime_ns = 4};
	size_t len;
	uint32_t object;
	int err;

	if (!there(w, i))
		return;
	len = model_now(&w->model, i)->len;
	object = object_of(w, i);
	fault_arm();
	err = pfs_setattr(w->store, object, PFS_ATTR_MTIME | (mode ? PFS_ATTR_MODE : 0), &attr,
			  NULL);
	fault_disarm();
	if (mode)
		settled(w, err, i);
	if (mode)
		set_or_fail(w, err, i, patched(w, i, len, 0, NULL, 0), len, mode);
	after(w, "setattr", err);
}

/* Both names are what they were, or both have changed. */
static void op_rename(struct world *w, unsigned i, unsigned j, unsigned flags)
{
	struct pfs_key from = model_key(i), to = model_key(j);
	bool exchange = flags & PFS_RENAME_EXCHANGE;
	struct model_state a, b;
	uint8_t *bytes_a, *bytes_b = NULL;
	uint32_t replaced;
	int err;

	if (!there(w, i) || (exchange && !there(w, j)))
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
	after(w, "rename", err);
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
	after(w, "read of a removed document", n < 0 ? (int)n : 0);
}

static void op_remove(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	uint8_t *bytes;
	uint32_t object;
	size_t len;
	int err;

	if (!there(w, i))
		return;
	len = model_now(&w->model, i)->len;
	bytes = patched(w, i, len, 0, NULL, 0);
	fault_arm();
	err = pfs_remove(w->store, &key, &object);
	fault_disarm();
	set_or_fail(w, err, i, NULL, 0, 0);
	after(w, "remove", err);
	if (!err) {
		read_removed(w, object, bytes, len);
		release(w, object);
	}
	free(bytes);
}

/* A document that arrives in three pieces, and is committed or not. */
static void op_stream(struct world *w, unsigned i, bool commit)
{
	struct pfs_key key = model_key(i);
	struct pfs_attr attr = {.mode = MODE};
	uint8_t *bytes;
	uint32_t replaced = 0;
	struct pfs_put *put;
	int err;

	if (!w->store)
		return;
	bytes = model_bytes(3 * STREAM_PART, next_seed(w));
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
		set_or_fail(w, err, i, bytes, 3 * STREAM_PART, MODE);
	else
		free(bytes);
	after(w, "put in pieces", err);
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

	if (!there(w, i))
		return;
	fault_arm();
	err = pfs_get(w->store, &key, &bytes, &len, &attr);
	fault_disarm();
	if (!err && (len != size || attr.size != size || memcmp(bytes, d->bytes, len) != 0))
		fail_msg("%s: a get shows wrong bytes", w->model.label);
	free(bytes);
	after(w, "get", err);
	fault_arm();
	err = pfs_lookup(w->store, &key, &object, &attr);
	if (!err)
		err = pfs_getattr(w->store, object, &attr);
	if (!err)
		err = pfs_object_key(w->store, object, &found);
	if (!err)
		err = pfs_place(w->store, &key, &place);
	after(w, "lookup", err);
	if (!err && (attr.size != size || !pfs_key_equal(&key, &found)))
		fail_msg("%s: a lookup shows another document", w->model.label);
}

static void op_read_part(struct world *w, unsigned i, size_t off, size_t len)
{
	const struct model_doc *d = &w->model.docs[i];
	uint8_t *buf = malloc(len);
	size_t size = model_now(&w->model, i)->len;
	uint32_t object;
	ssize_t n;

	if (there(w, i) && off < size) {
		object = object_of(w, i);
		len = pfs_min_u64(len, size - off);
		fault_arm();
		n = pfs_read(w->store, object, off, buf, len);
		fault_disarm();
		if (n >= 0 && ((size_t)n != len || memcmp(buf, d->bytes + off, len) != 0))
			fail_msg("%s: a read shows wrong bytes", w->model.label);
		after(w, "read", n < 0 ? (int)n : 0);
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
	err = pfs_store_check(w->store, NULL, NULL, NULL, &result);
	fault_disarm();
	/* A document that can't be read is a finding, one that there was no memory for is not. */
	if (!err && result.findings && (!w->fault->met || w->fault->kind == FAULT_MEMORY))
		fail_msg("%s: the store's check finds something", w->model.label);
	after(w, "check of the store", err);
	fault_arm();
	err = pfs_store_stat(w->store, &stat);
	after(w, "stat", err);
}

static void read_all(struct world *w)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		op_get(w, i);
	op_read_part(w, 1, 60000, 20000);
	op_store_check(w);
}

/* ---- durability ---- */

static void op_sync(struct world *w)
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
	after(w, "sync", err);
}

static void op_sync_object(struct world *w, unsigned i)
{
	uint32_t object;
	int err;

	if (!there(w, i))
		return;
	object = object_of(w, i);
	fault_arm();
	err = pfs_sync_object(w->store, object);
	fault_disarm();
	if (err)
		model_unsettled(&w->model, i);
	else
		model_settle(&w->model, i);
	if (!err)
		model_synced(&w->model, false);
	after(w, "sync of a document", err);
}

/* So many that what is held is logged. */
static void op_ticks(struct world *w)
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
		after(w, "tick", err);
	}
}

static void op_checkpoint(struct world *w)
{
	int err;

	if (!w->store)
		return;
	fault_arm();
	err = pfs_store_checkpoint(w->store);
	fault_disarm();
	if (!err)
		model_synced(&w->model, false);
	after(w, "checkpoint", err);
}

/* ---- opening and closing ---- */

static void op_make(struct world *w)
{
	struct pfs_create_options options = {
		.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 16, .io = pfs_sim_io(w->sim)};
	struct pfs_reason reason;
	int err;

	fault_arm();
	err = pfs_store_create(MODEL_STORE, &options, &reason);
	fault_disarm();
	if (!err)
		return;
	if (!is_allowed(w, err))
		fail_msg("%s: creating: error %d", w->model.label, err);
	assert_true(reason.text[0] != 0);
	w->fault->over = true;
	err = pfs_store_create(MODEL_STORE, &options, &reason);
	/* It may be there as a whole, only not known to be durable. */
	if (err && err != -EEXIST)
		fail_msg("%s: creating again: error %d", w->model.label, err);
}

/* No more room, or as much as there is. */
static void limit_disk(struct world *w)
{
	if (w->fault->kind == FAULT_FULL)
		pfs_sim_set_capacity(w->sim, w->fault->over ? 0 : w->fault->at);
}

static int try_open(struct world *w, bool read_only)
{
	struct pfs_defaults defaults = {.mode = MODE};
	struct pfs_open_options options = {
		.io = pfs_sim_io(w->sim),
		.manual = true,
		.hold_objects = true,
		.read_only = read_only,
		.defaults = &defaults,
		.logger = {.fn = on_log, .arg = w},
	};
	struct pfs_reason reason;
	int err;

	limit_disk(w);
	w->read_only_lines = 0;
	w->opened_read_only = read_only;
	w->fault->sync_met = false;
	fault_arm();
	err = pfs_store_open(&w->store, MODEL_STORE, &options, &reason);
	fault_disarm();
	if (err == -ENOSPC && w->fault->kind == FAULT_FULL)
		w->fault->met = true;
	if (err && !is_allowed(w, err))
		fail_msg("%s: opening: error %d (%s)", w->model.label, err, reason.text);
	if (err)
		assert_true(reason.text[0] != 0);
	return err;
}

/* Opens; where that fails by the fault, again without it. A page that can't be read is left out of
 * an opening for reading only. */
static void op_open(struct world *w, bool read_only)
{
	bool met_before = w->fault->met;
	int err = try_open(w, read_only);

	if (!err && read_only && w->fault->kind == PFS_SIM_READ && w->fault->met && !met_before) {
		w->fault->over = true;
		assert_int_equal(pfs_store_close(w->store), 0);
		w->store = NULL;
		assert_int_equal(try_open(w, read_only), 0);
	} else if (err) {
		assert_null(w->store);
		w->stat->refused++;
		look_at_images(w);
		w->looked = true;
		w->fault->over = true;
		assert_int_equal(try_open(w, read_only), 0);
	}
	model_resolve(&w->model, w->store, true);
	if (w->fault->met && !w->looked)
		after(w, "open", 0);
}

static void op_close(struct world *w)
{
	bool read_only = is_read_only(w);
	int err;

	fault_arm();
	err = pfs_store_close(w->store);
	fault_disarm();
	w->store = NULL;
	if (err)
		for (unsigned i = 0; i < MODEL_KEYS; i++)
			model_unsettled(&w->model, i);
	else if (!w->opened_read_only)
		model_synced(&w->model, true);
	if (read_only && !w->opened_read_only)
		assert_int_equal(err, -EROFS);
	after(w, "close", err);
}

/* The process dies; the next one finds the files as they are. */
static void op_kill(struct world *w)
{
	struct pfs_sim *image = pfs_sim_kill(w->sim);
	bool over = w->fault->over;

	w->fault->over = true;
	(void)pfs_store_close(w->store);
	w->fault->over = over;
	w->store = NULL;
	pfs_sim_free(w->sim);
	w->sim = image;
	fault_watch(w->sim);
}

static void op_check(struct world *w)
{
	struct pfs_logger logger = {.fn = on_log, .arg = w};
	struct pfs_check_result result;
	struct pfs_reason reason;
	int err;

	fault_arm();
	err = pfs_check(MODEL_STORE, pfs_sim_io(w->sim), &logger, NULL, NULL, NULL, &result,
			&reason);
	fault_disarm();
	if (!err && result.findings && (!w->fault->met || w->fault->kind == FAULT_MEMORY))
		fail_msg("%s: the check finds something", w->model.label);
	after(w, "check", err);
}

/* ---- the whole ---- */

static void fill(struct world *w)
{
	op_put(w, 0, 300, 0);
	op_put(w, 1, LARGE, 0);
	op_create(w, 2);
	op_write(w, 2, 0, 700);
	op_put(w, 3, 5000, 0);
	op_create(w, 0);
	op_sync(w);
	op_put(w, 4, 90, PFS_PUT_NEW_OBJECT);
	op_put(w, 4, 33, PFS_PUT_NEW_OBJECT);
	op_checkpoint(w);
}

static void change(struct world *w)
{
	op_write(w, 0, 100, 100);
	op_write(w, 1, 70000, 3000);
	op_zero(w, 1, 10, 66000);
	op_read_part(w, 1, 69000, 5000);
	op_resize(w, 1, LARGE + 40000);
	op_resize(w, 0, 0);
	op_attr(w, 0, 0);
	op_write(w, 0, 0, 450);
	op_attr(w, 3, 0600);
	op_resize(w, 3, 0);
	op_ticks(w);
	op_checkpoint(w);
	op_write(w, 3, 10, 60);
	op_zero(w, 0, 5, 100);
	read_all(w);
}

static void rename_all(struct world *w)
{
	op_rename(w, 2, 0, 0);
	op_rename(w, 0, 3, PFS_RENAME_EXCHANGE);
	op_write(w, 1, 5, 70000);
	op_rename(w, 1, 5, PFS_RENAME_NOREPLACE);
	op_create(w, 2);
	op_rename(w, 2, 4, 0);
	op_checkpoint(w);
	op_write(w, 5, 80000, 100);
	op_remove(w, 3);
	op_stream(w, 1, true);
	op_stream(w, 1, false);
	op_put(w, 1, 40, PFS_PUT_NEW_OBJECT);
	op_remove(w, 5);
	if (w->fault->kind == PFS_SIM_PUNCH) {
		op_put(w, 5, VERY_LARGE, 0);
		op_remove(w, 5);
	}
	op_resize(w, 1, 90000);
	op_resize(w, 1, 0);
	op_sync_object(w, 1);
	op_checkpoint(w);
	op_resize(w, 1, 200);
	read_all(w);
}

bool workload_run(struct fault *fault, const char *label, struct workload_stat *stat)
{
	struct world w = {.sim = pfs_sim_new(), .fault = fault, .stat = stat};

	model_begin(&w.model, label);
	fault_begin(fault);
	fault_watch(w.sim);
	op_make(&w);
	op_open(&w, false);
	fill(&w);
	change(&w);
	op_close(&w);
	op_open(&w, false);
	read_all(&w);
	rename_all(&w);
	op_close(&w);
	op_check(&w);
	op_open(&w, true);
	read_all(&w);
	op_close(&w);
	op_open(&w, false);
	fill(&w);
	op_write(&w, 1, 1000, 80000);
	op_resize(&w, 0, 0);
	op_kill(&w);
	op_open(&w, false);
	read_all(&w);
	change(&w);
	op_close(&w);
	fault->over = true;
	limit_disk(&w);
	if (fault_live_blocks(true))
		fail_msg("%s: %zu blocks of memory are lost", label, fault_live_blocks(false));
	model_expect_image(&w.model, pfs_sim_kill(w.sim), false);
	fault_begin(NULL);
	model_end(&w.model);
	pfs_sim_free(w.sim);
	stat->runs++;
	stat->met += fault->met;
	return fault->met;
}

static bool loop_run(const struct fault *proto, const char *name, uint64_t at, bool from_then_on,
		     struct workload_stat *stat)
{
	struct fault fault = *proto;
	char label[96];

	fault.at = at;
	fault.from_then_on = from_then_on;
	snprintf(label, sizeof(label), "%s number %llu fails %s", name, (unsigned long long)at,
		 from_then_on ? "and all later ones" : "once");
	return workload_run(&fault, label, stat);
}

void workload_loop(const struct fault *fault, const char *name, unsigned step)
{
	const char *only = getenv("FAULT_AT"), *effort = getenv("FAULT_STEP");
	struct workload_stat stat = {0};

	if (effort)
		step = (unsigned)pfs_max_u64(1, strtoull(effort, NULL, 0));
	else
		step *= WORKLOAD_STEP;

	/* What differs when later calls fail as well is mostly the same for neighbours. */
	for (unsigned mode = 0; mode < 2; mode++) {
		uint64_t at = only ? strtoull(only, NULL, 0) : 1;

		while (loop_run(fault, name, at, mode, &stat) && !only)
			at += mode ? 2 * (uint64_t)step : step;
	}
	print_message("%s: %llu runs, fault met in %llu, %llu calls refused, %llu images opened\n",
		      name, (unsigned long long)stat.runs, (unsigned long long)stat.met,
		      (unsigned long long)stat.refused, (unsigned long long)stat.images);
}
