/* A store and a plain array of documents side by side, and random operations on both. For tests
 * that include it once and use all of it or part. */
#ifndef PFS_TEST_MODEL_H
#define PFS_TEST_MODEL_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store_internal.h"
#include "tests/sim/sim.h"

#define KEYS 24
#define LARGE_MAX (300 * 1024)

struct doc {
	bool there;
	bool held; /* created or truncated, not written since: may be as before after a kill */
	uint8_t *bytes;
	size_t len;
	uint32_t mode, uid;
	int64_t mtime_ns;
	/* what it may be instead after a kill, when held */
	bool before_there;
	uint8_t *before;
	size_t before_len;
	uint32_t before_mode, before_uid;
	int64_t before_mtime_ns;
};

struct model {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct doc docs[KEYS];
	uint64_t random;
	uint64_t page_size;
	uint32_t min_value_size;
	bool hold;
};

static inline uint64_t roll(struct model *m, uint64_t n)
{
	m->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(m->random) % n;
}

/* Numbers with the extremes, UUIDs, scratch names. */
static inline struct pfs_key key_of(unsigned i)
{
	static const uint64_t edges[] = {0, 1, 2, UINT64_MAX};
	struct pfs_key key = {0};
	char text[64];

	if (i < 4)
		return pfs_key_num(edges[i]);
	if (i < KEYS / 2)
		return pfs_key_num(i * UINT64_C(0x123456789));
	if (i < KEYS * 3 / 4)
		snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012x", i);
	else
		snprintf(text, sizeof(text), ".%u.swp", i);
	assert_int_equal(pfs_key_parse(&key, text, strlen(text)), 0);
	return key;
}

static inline void open_store(struct model *m)
{
	struct pfs_open_options options = {
		.io = pfs_sim_io(m->sim),
		.manual = true,
		.hold_objects = m->hold,
	};
	struct pfs_reason reason;
	int err = pfs_store_open(&m->store, "/s", &options, &reason);

	if (err)
		fail_msg("open: %d %s", err, reason.text);
}

static inline void fill(struct model *m, uint8_t *bytes, size_t len)
{
	unsigned kind = (unsigned)roll(m, 3);

	for (size_t i = 0; i < len; i++)
		bytes[i] = kind == 0   ? (uint8_t)roll(m, 256)
			   : kind == 1 ? "{\"city\":\"Berlin\"}"[i % 17]
				       : 0;
}

static inline size_t random_len(struct model *m)
{
	switch (roll(m, 12)) {
	case 0: return 0;
	case 1: return roll(m, LARGE_MAX);
	case 2: return 65535 + roll(m, 3);
	case 3: return roll(m, 20000);
	default: return roll(m, 1500);
	}
}

static inline void doc_drop(struct doc *d)
{
	free(d->bytes);
	free(d->before);
	*d = (struct doc){0};
}

static inline void doc_settle(struct doc *d)
{
	free(d->before);
	d->before = NULL;
	d->held = false;
}

static inline void doc_resize(struct doc *d, size_t len)
{
	d->bytes = realloc(d->bytes, len + 1);
	assert_non_null(d->bytes);
	if (len > d->len)
		memset(d->bytes + d->len, 0, len - d->len);
	d->len = len;
}

static inline uint32_t object_of(struct model *m, unsigned i)
{
	struct pfs_key key = key_of(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(m->store, &key, &object, NULL), 0);
	return object;
}

/* ---- operations ---- */

static inline void op_put(struct model *m, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct doc *d = &m->docs[i];
	size_t len = roll(m, 20) ? random_len(m) : (size_t)(PFS_MIB + roll(m, 100000));
	uint8_t *bytes = malloc(len + 1);
	struct pfs_attr attr = {.mode = 0600,
				.uid = (uint32_t)roll(m, 2) * 1000,
				.mtime_ns = (int64_t)roll(m, 1000)};
	uint32_t replaced;

	fill(m, bytes, len);
	assert_int_equal(pfs_put(m->store, &key, bytes, len, &attr,
				 roll(m, 2) ? PFS_PUT_NEW_OBJECT : 0, &replaced),
			 0);
	if (replaced)
		pfs_release(m->store, replaced);
	doc_drop(d);
	*d = (struct doc){.there = true,
			  .bytes = bytes,
			  .len = len,
			  .mode = attr.mode,
			  .uid = attr.uid,
			  .mtime_ns = attr.mtime_ns};
}

static inline void op_create(struct model *m, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct doc *d = &m->docs[i];
	struct pfs_attr attr = {.mode = 0644, .uid = 0, .mtime_ns = 7};
	uint32_t object;
	int err = pfs_create(m->store, &key, &attr, &object);

	assert_int_equal(err, d->there ? -EEXIST : 0);
	if (err)
		return;
	*d = (struct doc){
		.there = true, .held = true, .bytes = calloc(1, 1), .mode = 0644, .mtime_ns = 7};
}

static inline void op_write(struct model *m, unsigned i)
{
	struct doc *d = &m->docs[i];
	size_t len = random_len(m) + 1, off = roll(m, 3) ? roll(m, d->len + 1) : 0;
	uint8_t *bytes;

	if (roll(m, 10) == 0)
		off = d->len + roll(m, 5000);
	if (roll(m, 4) == 0)
		len = 1 + roll(m, 100);
	bytes = malloc(len);
	assert_non_null(bytes);
	fill(m, bytes, len);
	assert_int_equal(
		pfs_write(m->store, object_of(m, i), off, bytes, len, (int64_t)(m->random >> 8)),
		0);
	if (off + len > d->len)
		doc_resize(d, off + len);
	memcpy(d->bytes + off, bytes, len);
	d->mtime_ns = (int64_t)(m->random >> 8);
	doc_settle(d);
	free(bytes);
}

static inline void op_truncate(struct model *m, unsigned i)
{
	struct doc *d = &m->docs[i];
	struct pfs_attr attr = {.size = roll(m, 3) ? roll(m, d->len + 100) : 0, .mtime_ns = 99},
			out;
	bool holds = attr.size == 0 && d->len > 0 && !d->held;
	bool stays = attr.size == 0 && d->held && d->len == 0;

	if (holds) {
		doc_settle(d);
		d->held = true;
		d->before_there = true;
		d->before = malloc(d->len + 1);
		memcpy(d->before, d->bytes, d->len);
		d->before_len = d->len;
		d->before_mode = d->mode;
		d->before_uid = d->uid;
		d->before_mtime_ns = d->mtime_ns;
	} else if (!stays) {
		doc_settle(d);
	}
	assert_int_equal(
		pfs_setattr(m->store, object_of(m, i), PFS_ATTR_SIZE | PFS_ATTR_MTIME, &attr, &out),
		0);
	assert_int_equal(out.size, attr.size);
	doc_resize(d, attr.size);
	d->mtime_ns = 99;
}

static inline void op_zero(struct model *m, unsigned i)
{
	struct doc *d = &m->docs[i];
	size_t off = roll(m, d->len + 1), len = roll(m, d->len - off + 1);

	assert_int_equal(pfs_zero(m->store, object_of(m, i), off, len, d->mtime_ns), 0);
	if (len) {
		memset(d->bytes + off, 0, len);
		doc_settle(d);
	}
}

static inline void op_attr(struct model *m, unsigned i)
{
	struct doc *d = &m->docs[i];
	struct pfs_attr attr = {.mode = 0400 | (uint32_t)roll(m, 8), .uid = (uint32_t)roll(m, 3)},
			out;

	assert_int_equal(
		pfs_setattr(m->store, object_of(m, i), PFS_ATTR_MODE | PFS_ATTR_UID, &attr, &out),
		0);
	d->mode = attr.mode;
	d->uid = attr.uid;
	doc_settle(d);
}

static inline void op_remove(struct model *m, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct doc *d = &m->docs[i];
	uint8_t *bytes = malloc(d->len + 2);
	uint32_t object;

	assert_int_equal(pfs_remove(m->store, &key, &object), d->there ? 0 : -ENOENT);
	if (d->there && m->hold) {
		/* A removed object stays readable, and writable, until it is released. */
		if (roll(m, 4) == 0)
			assert_int_equal(pfs_store_checkpoint(m->store), 0);
		assert_int_equal(pfs_read(m->store, object, 0, bytes, d->len + 1), d->len);
		assert_memory_equal(bytes, d->bytes, d->len);
		if (roll(m, 4) == 0)
			assert_int_equal(pfs_write(m->store, object, 0, "gone", 4, 1), 0);
		pfs_release(m->store, object);
	}
	free(bytes);
	doc_drop(d);
}

static inline void op_rename(struct model *m, unsigned i, unsigned j)
{
	struct pfs_key from = key_of(i), to = key_of(j);
	struct doc *a = &m->docs[i], *b = &m->docs[j], swap;
	unsigned flags = (unsigned)roll(m, 3);
	uint32_t replaced;
	int expected = 0, err;

	if (!a->there || ((flags & PFS_RENAME_EXCHANGE) && !b->there))
		expected = -ENOENT;
	else if ((flags & PFS_RENAME_NOREPLACE) && b->there)
		expected = -EEXIST;
	err = pfs_rename(m->store, &from, &to, flags, &replaced);
	assert_int_equal(err, expected);
	if (replaced)
		pfs_release(m->store, replaced);
	if (err || i == j)
		return;
	doc_settle(a);
	if (flags & PFS_RENAME_EXCHANGE) {
		doc_settle(b);
		swap = *a;
		*a = *b;
		*b = swap;
		return;
	}
	doc_drop(b);
	*b = *a;
	*a = (struct doc){0};
}

/* ---- comparing ---- */

static inline bool attr_equal(const struct pfs_attr *attr, uint32_t mode, uint32_t uid,
			      int64_t mtime_ns)
{
	return attr->mode == mode && attr->uid == uid && attr->mtime_ns == mtime_ns;
}

static inline void compare_doc(struct model *m, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct doc *d = &m->docs[i];
	struct pfs_attr attr;
	uint8_t part[5000];
	void *bytes;
	size_t len, off;
	int err = pfs_get(m->store, &key, &bytes, &len, &attr);

	if (!d->there) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	if (err)
		fail_msg("document %u: %d", i, err);
	assert_int_equal(len, d->len);
	assert_memory_equal(bytes, d->bytes, len);
	assert_true(attr_equal(&attr, d->mode, d->uid, d->mtime_ns));
	off = roll(m, len + 1);
	assert_int_equal(pfs_read(m->store, object_of(m, i), off, part, sizeof(part)),
			 pfs_min_u64(sizeof(part), len - off));
	assert_memory_equal(part, d->bytes + off, pfs_min_u64(sizeof(part), len - off));
	free(bytes);
}

static inline void compare(struct model *m)
{
	struct pfs_listed listed[KEYS + 1];
	struct pfs_store_stat stat;
	uint64_t points = 0, scratch = 0, raw = 0, after = 0;
	size_t names = 0;
	ssize_t n;

	for (unsigned i = 0; i < KEYS; i++) {
		struct pfs_key key = key_of(i);

		compare_doc(m, i);
		if (!m->docs[i].there)
			continue;
		if (pfs_key_is_point(&key))
			points++;
		else
			scratch++;
		/* What is held is not counted before it is logged. */
		raw += m->docs[i].held && m->docs[i].before_there ? m->docs[i].before_len
								  : m->docs[i].len;
	}
	while ((n = pfs_list(m->store, after, listed, 1 + roll(m, KEYS))) > 0) {
		names += (size_t)n;
		after = listed[n - 1].cookie;
	}
	assert_int_equal(names, points + scratch);
	assert_int_equal(pfs_store_stat(m->store, &stat), 0);
	assert_int_equal(stat.points, points);
	assert_int_equal(stat.scratch, scratch);
	assert_int_equal(stat.raw_bytes, raw);
}

/* After a kill a held document is what it was before, or what was held. */
static inline void settle_after_kill(struct model *m)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct pfs_key key = key_of(i);
		struct doc *d = &m->docs[i];
		struct pfs_attr attr;
		int err;

		if (!d->there || !d->held)
			continue;
		err = pfs_lookup(m->store, &key, NULL, &attr);
		if (!d->before_there) {
			assert_true(err == -ENOENT || (err == 0 && attr.size == 0));
			if (err)
				doc_drop(d);
			else
				doc_settle(d);
			continue;
		}
		assert_int_equal(err, 0);
		if (attr.size != 0) {
			doc_resize(d, d->before_len);
			memcpy(d->bytes, d->before, d->before_len);
			d->mode = d->before_mode;
			d->uid = d->before_uid;
			d->mtime_ns = d->before_mtime_ns;
		}
		doc_settle(d);
	}
}

static inline void reopen(struct model *m, bool kill)
{
	struct pfs_sim *image = NULL;

	if (kill) {
		image = pfs_sim_kill(m->sim);
		assert_non_null(image);
	}
	assert_int_equal(pfs_store_close(m->store), 0);
	if (image) {
		pfs_sim_free(m->sim);
		m->sim = image;
	}
	open_store(m);
	if (kill)
		settle_after_kill(m);
	for (unsigned i = 0; i < KEYS; i++)
		doc_settle(&m->docs[i]);
	compare(m);
}

static inline void print_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	print_message("  %s: %s\n", finding->where, finding->text);
}

/* Every document verifies, and the free space of every page is that of a recount. */
static inline void check_open(struct model *m)
{
	struct pfs_check_result result;

	assert_int_equal(pfs_store_check(m->store, print_finding, NULL, NULL, NULL, &result), 0);
	assert_int_equal(result.findings, 0);
}

/* What the present version of the object names, without what is held of it. */
static inline uint32_t named_by(struct pfs_store *store, uint32_t object)
{
	uint64_t word = pfs_index_word(store->index, object);
	struct pfs_view view;

	if (pfs_word_is_version(word) && pfs_word_to_version(word)->held)
		word = pfs_word_to_version(word)->under;
	return pfs_view(store, word, &view) == 0 ? view.source.dict : 0;
}

/* The users of each dictionary are those that a recount finds. */
static inline void check_users(struct model *m)
{
	const struct pfs_dicts *dicts = m->store->dicts;

	assert_true(m->store->dict_users_known);
	for (size_t i = 0; i < dicts->count; i++) {
		uint64_t users = 0;

		for (uint32_t o = PFS_OBJECT_FIRST; o < pfs_index_end(m->store->index); o++)
			users += named_by(m->store, o) == dicts->at[i]->number;
		assert_int_equal(dicts->at[i]->users, users);
	}
}

/* A dictionary of what a document holds, so that others have something in common with it. */
static inline void op_dict(struct model *m)
{
	const struct doc *d = &m->docs[roll(m, KEYS)];
	static const char some[] = "nothing in particular";

	if (m->store->dicts->count > 8)
		return;
	if (d->there && d->len)
		assert_int_equal(pfs_dict_add(m->store, d->bytes, d->len, 0, 0), 0);
	else
		assert_int_equal(pfs_dict_add(m->store, some, sizeof(some), 0, 0), 0);
	check_users(m);
}

static inline void op_compact(struct model *m)
{
	struct pfs_compact_result result;
	unsigned steps = (unsigned)roll(m, 6);
	int more = 1;

	if (steps == 0)
		assert_int_equal(pfs_store_compact(m->store, NULL, NULL, NULL, &result), 0);
	for (unsigned i = 0; i < steps && more; i++) {
		more = pfs_store_compact_step(m->store, true);
		assert_in_range(more, 0, 1);
	}
	check_open(m);
}

static inline void check_clean(struct model *m)
{
	struct pfs_check_result result;
	struct pfs_reason reason;

	assert_int_equal(pfs_store_close(m->store), 0);
	assert_int_equal(
		pfs_check("/s", pfs_sim_io(m->sim), NULL, NULL, NULL, NULL, &result, &reason), 0);
	assert_int_equal(result.findings, 0);
	open_store(m);
	for (unsigned i = 0; i < KEYS; i++)
		doc_settle(&m->docs[i]);
}

static inline void step(struct model *m)
{
	unsigned i = (unsigned)roll(m, KEYS);
	unsigned op = (unsigned)roll(m, 100);

	if (op < 18)
		op_put(m, i);
	else if (op < 30)
		op_create(m, i);
	else if (op < 58 && m->docs[i].there)
		op_write(m, i);
	else if (op < 66 && m->docs[i].there)
		op_truncate(m, i);
	else if (op < 68 && m->docs[i].there)
		op_zero(m, i);
	else if (op < 73 && m->docs[i].there)
		op_attr(m, i);
	else if (op < 80)
		op_remove(m, i);
	else if (op < 90)
		op_rename(m, i, (unsigned)roll(m, KEYS));
	else if (op < 93)
		assert_int_equal(pfs_store_checkpoint(m->store), 0);
	else if (op < 94)
		assert_int_equal(pfs_sync(m->store), 0);
	else if (op < 98)
		op_compact(m);
	else if (op < 99)
		op_dict(m);
	if (op == 93)
		for (unsigned k = 0; k < KEYS; k++)
			doc_settle(&m->docs[k]);
}

static inline unsigned scaled(unsigned n)
{
	const char *scale = getenv("MODEL_SCALE");

	return scale ? n * (unsigned)atoi(scale) : n;
}

#endif
