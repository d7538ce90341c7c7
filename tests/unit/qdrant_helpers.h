/* What the tests of the reader of Qdrant's files share: a directory of their own, a segment that
 * most of them use, and what the reader tells, kept. */
#ifndef PFS_TEST_QDRANT_HELPERS_H
#define PFS_TEST_QDRANT_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "tests/unit/qdrant_store.h"
#include "tools/qdrant.h"

#define ITEMS_MAX 64
#define LONG_LEN 700 /* over the border of two pages */

static char directory[] = "/tmp/payloadfs-qdrant.XXXXXX";
static char *segment_path;

/* ---- what came out ---- */

struct got {
	bool good;
	char key[PFS_NAME_MAX + 1]; /* empty: not known */
	char *payload;		    /* NULL: none */
	char reason[160], file[64];
	uint64_t offset, length;
	uint8_t stored[16]; /* the first ones */
	size_t stored_len;
};

struct result {
	int err;
	struct pfs_reason reason;
	struct got items[ITEMS_MAX];
	size_t count;
	struct qdrant_stat stat;
	char notes[4096];
};

static inline void keep_note(void *arg, const char *line)
{
	struct result *r = arg;
	size_t len = strlen(r->notes);

	snprintf(r->notes + len, sizeof(r->notes) - len, "%s\n", line);
}

static inline int keep_item(void *arg, const struct qdrant_item *item, uint64_t done,
			    uint64_t total)
{
	struct result *r = arg;
	struct got *got = &r->items[r->count++];

	assert_true(r->count < ITEMS_MAX && done <= total);
	*got = (struct got){.good = item->good, .offset = item->offset, .length = item->length};
	if (item->key.kind != PFS_KEY_NONE)
		pfs_key_format(got->key, &item->key);
	if (item->payload) {
		got->payload = calloc(1, item->len + 1);
		assert_non_null(got->payload);
		memcpy(got->payload, item->payload, item->len);
		assert_int_equal(item->payload[0], '{');
		assert_int_equal(strlen(got->payload), item->len);
	}
	if (item->good) {
		assert_true(pfs_key_is_point(&item->key));
		assert_non_null(item->payload);
		return 0;
	}
	assert_non_null(item->reason);
	snprintf(got->reason, sizeof(got->reason), "%s", item->reason);
	if (item->file)
		snprintf(got->file, sizeof(got->file), "%s", strrchr(item->file, '/') + 1);
	got->stored_len = item->stored ? item->stored_len : 0;
	if (got->stored_len)
		memcpy(got->stored, item->stored,
		       pfs_min_u64(got->stored_len, sizeof(got->stored)));
	return 0;
}

static inline void import(struct result *r, const char *path, bool offset_ids)
{
	struct qdrant_notes notes = {keep_note, r};
	struct qdrant *q;

	memset(r, 0, sizeof(*r));
	r->err = qdrant_open(&q, path, offset_ids, &notes, &r->reason);
	if (r->err) {
		assert_null(q);
		return;
	}
	r->err = qdrant_read(q, keep_item, r);
	r->stat = *qdrant_stat(q);
	qdrant_close(q);
}

static inline void forget(struct result *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->items[i].payload);
}

static inline const struct got *find(const struct result *r, const char *key)
{
	for (size_t i = 0; i < r->count; i++) {
		if (strcmp(r->items[i].key, key) == 0)
			return &r->items[i];
	}
	return NULL;
}

static inline bool has_payload(const struct result *r, const char *payload)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->items[i].payload && strcmp(r->items[i].payload, payload) == 0)
			return true;
	}
	return false;
}

/* ---- what goes in ---- */

static char long_json[LONG_LEN + 16];

/* The points of the segment that most tests use. NULL: deleted. */
static const struct point {
	uint64_t id;
	const char *key, *payload;
} points[] = {
	{7, "7", "{\"city\":\"Bonn\",\"n\":7}"},
	{0, "0", "{}"},
	{UINT64_MAX, "18446744073709551615", "{\"z\":1,\"a\":1e+300}"},
	{QS_UUID + 0xab, "abababab-abab-abab-abab-abababababab", "{\"\":18446744073709551615}"},
	{11, "11", NULL},
	{12, "12", long_json},
	{13, "13", "{\"again\":true}"}, /* deleted, and come back */
	{QS_UUID + 1, "01010101-0101-0101-0101-010101010101", NULL},
	{14, "14", "{\"\\u0000\":\"\\ud83d\\ude00\",\"deep\":[[[[{}]]]]}"},
	{15, "15", NULL}, /* never had a payload; "{}" is what Qdrant shows */
	{16, "16", "{\"text\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"},
	{17, "17", "{\"last\":17}"},
};
#define WITHOUT 9 /* the place of the one that never had a payload */

static inline const char *expected(const char *key)
{
	for (size_t i = 0; i < pfs_array_len(points); i++) {
		if (strcmp(points[i].key, key) == 0)
			return i == WITHOUT ? "{}" : points[i].payload;
	}
	return NULL;
}

static inline size_t expected_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < pfs_array_len(points); i++)
		n += i == WITHOUT || points[i].payload;
	return n;
}

/* A block that is free again is not marked. */
static inline void free_blocks(struct qs_segment *s, uint32_t offset)
{
	const uint8_t *entry = s->tracker + 4 + 16 * offset;
	uint32_t first = pfs_get_le32(entry + 4) * (QS_PAGE / QS_BLOCK) + pfs_get_le32(entry + 8);
	uint32_t n = (pfs_get_le32(entry + 12) + QS_BLOCK - 1) / QS_BLOCK;

	for (uint32_t b = first; b < first + n; b++)
		s->bitmask[b / 8] &= (uint8_t) ~(1u << (b % 8));
}

static inline void fill_segment(struct qs_segment *s)
{
	uint32_t offset;

	for (size_t i = 0; i < pfs_array_len(points); i++) {
		bool back = points[i].id == 13;

		offset = qs_insert(s, points[i].id);
		if (i != WITHOUT)
			qs_put(s, offset,
			       points[i].payload && !back ? points[i].payload : "{\"deleted\":1}");
		if (i != WITHOUT && (!points[i].payload || back)) {
			free_blocks(s, offset);
			qs_delete(s, points[i].id, offset);
		}
		if (back)
			qs_put(s, qs_insert(s, 13), points[i].payload);
	}
}

/* Empties the directory. */
static inline void clean(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", directory);
	assert_int_equal(system(command), 0);
}

static inline void write_segment(bool immutable, bool raw)
{
	struct qs_segment s = {.immutable = immutable, .raw = raw};

	clean(); /* the files of the other kind of id tracker must go */
	fill_segment(&s);
	qs_write(&s, segment_path);
	qs_free(&s);
}

/* Of one point, that it is good and has the payload. */
static inline void assert_good(const struct result *r, const char *key, const char *payload)
{
	const struct got *got = find(r, key);

	if (!got || !got->good)
		fail_msg("%s: %s", key, got ? got->reason : "is not there");
	assert_string_equal(got->payload, payload);
}

/* Of one point, that it is put aside, for a reason that has this in it. */
static inline const struct got *assert_aside(const struct result *r, const char *key,
					     const char *reason)
{
	const struct got *got = find(r, key);

	if (!got || got->good || !strstr(got->reason, reason))
		fail_msg("%s: %s, not %s", key,
			 !got	     ? "is not there"
			 : got->good ? "good"
				     : got->reason,
			 reason);
	return got;
}

/* Everything there is is right, and nothing else. */
static inline void assert_whole(const struct result *r)
{
	assert_int_equal(r->err, 0);
	assert_int_equal(r->count, expected_count());
	for (size_t i = 0; i < r->count; i++) {
		if (!r->items[i].good)
			fail_msg("%s: %s", r->items[i].key, r->items[i].reason);
		assert_non_null(expected(r->items[i].key));
		assert_string_equal(r->items[i].payload, expected(r->items[i].key));
	}
	assert_string_equal(r->notes, "");
	assert_false(r->stat.damaged || r->stat.unread || r->stat.unversioned);
	assert_int_equal(r->stat.points, r->count);
}

/* ---- one segment, made for a test ---- */

/* Writes the segment, and forgets it. */
static inline void put_segment(struct qs_segment *s)
{
	clean();
	qs_write(s, segment_path);
	qs_free(s);
}

static inline void import_again(struct result *r)
{
	import(r, segment_path, false);
	assert_int_equal(r->err, 0);
}

static inline void import_segment(struct result *r, struct qs_segment *s)
{
	put_segment(s);
	import_again(r);
}

static inline void shorten(const char *name, size_t len)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", segment_path, name);
	assert_int_equal(truncate(path, (off_t)len), 0);
}

static inline void remove_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", segment_path, name);
	assert_int_equal(unlink(path), 0);
}

/* A point with a payload; returns its offset. */
static inline uint32_t add_point(struct qs_segment *s, uint64_t id, const char *json)
{
	uint32_t offset = qs_insert(s, id);

	qs_put(s, offset, json);
	return offset;
}

/* The entry of an offset in tracker.dat. */
static inline uint8_t *entry_of(struct qs_segment *s, uint32_t offset)
{
	return s->tracker + 4 + 16 * offset;
}

/* Nothing is put aside, noted or doubted. */
static inline void assert_clean(const struct result *r, size_t count)
{
	assert_int_equal(r->count, count);
	for (size_t i = 0; i < r->count; i++)
		assert_true(r->items[i].good);
	assert_string_equal(r->notes, "");
	assert_false(r->stat.damaged || r->stat.unversioned);
}

/* ---- the directory ---- */

static inline int make_directory(void **state)
{
	(void)state;
	memset(long_json, 'x', sizeof(long_json));
	memcpy(long_json, "{\"long\":\"", 9);
	/* Bytes that LZ4 can't make shorter. */
	for (size_t i = 9; i < LONG_LEN; i++)
		long_json[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
			[pfs_mix64(i) % 64];
	strcpy(long_json + LONG_LEN, "\"}");
	if (!mkdtemp(directory))
		return -1;
	return asprintf(&segment_path, "%s/segment", directory) < 0 ? -1 : 0;
}

static inline int remove_directory(void **state)
{
	char command[128];

	(void)state;
	free(segment_path);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) ? -1 : 0;
}

#endif
