/* Parts that stand for themselves, without memory: storage/former.c, tables that grow; ndjson.c,
 * records that are read. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fault/scenario.h"

#include "storage/former.h"
#include "storage/ndjson.h"

#define MANY 1500 /* several times the buckets that a table begins with */

struct tables {
	struct pfs_overlay overlay;
	struct pfs_pins pins;
	uint64_t added, referenced;
};

static void *nothing(void)
{
	return calloc(1, sizeof(struct tables));
}

static struct pfs_key key_of(uint64_t i)
{
	struct pfs_key key;
	char name[32];

	if (i % 2)
		return pfs_key_num(i);
	assert_int_equal(
		pfs_key_parse(&key, name, (size_t)snprintf(name, sizeof(name), "s%u", (unsigned)i)),
		0);
	return key;
}

static uint32_t cookie_of(uint64_t i)
{
	return (uint32_t)(i % 3 ? i / 2 + 1 : 0); /* some have none, others one for two */
}

static void *half_filled(void)
{
	struct tables *t = nothing();
	struct pfs_key key;

	for (; t->added < MANY / 2; t->added++) {
		struct pfs_former *former;

		key = key_of(t->added);
		former = pfs_former_new(&key);
		former->cookie = cookie_of(t->added);
		pfs_overlay_add(&t->overlay, former);
	}
	for (; t->referenced < MANY / 2; t->referenced++)
		assert_int_equal(pfs_pins_ref(&t->pins, (uint32_t)t->referenced % 7,
					      (uint32_t)t->referenced),
				 0);
	return t;
}

static int fill(void *state)
{
	struct tables *t = state;

	for (; t->added < MANY; t->added++) {
		struct pfs_key key = key_of(t->added);
		struct pfs_former *former = pfs_former_new(&key);

		if (!former)
			return -ENOMEM;
		former->cookie = cookie_of(t->added);
		pfs_overlay_add(&t->overlay, former);
	}
	for (; t->referenced < MANY; t->referenced++) {
		int err = pfs_pins_ref(&t->pins, (uint32_t)t->referenced % 7,
				       (uint32_t)t->referenced);

		if (err)
			return err;
	}
	return 0;
}

/* Everything that was added is found, and nothing else. */
static void expect_found(void *state, int err)
{
	struct tables *t = state;
	uint64_t bytes = 0;

	assert_true(err || (t->added == MANY && t->referenced == MANY));
	assert_int_equal(t->overlay.count, t->added);
	for (uint64_t i = 0; i < MANY; i++) {
		struct pfs_key key = key_of(i), found;
		struct pfs_former *former = pfs_overlay_find(&t->overlay, &key), *at = NULL;

		assert_int_equal(former != NULL, i < t->added);
		if (!former)
			continue;
		bytes += sizeof(*former) + former->tail_len;
		pfs_former_key(former, &found);
		assert_true(pfs_key_equal(&found, &key));
		assert_ptr_equal(pfs_overlay_find_like(&t->overlay, former), former);
		if (!former->cookie)
			continue;
		do
			at = pfs_overlay_at_cookie(&t->overlay, former->cookie, at);
		while (at && at != former);
		assert_ptr_equal(at, former);
	}
	assert_int_equal(t->overlay.bytes, bytes);
	assert_null(pfs_overlay_at_cookie(&t->overlay, UINT32_MAX, NULL));
	assert_int_equal(t->pins.count, t->referenced);
	for (uint64_t i = 0; i < MANY; i++)
		assert_int_equal(pfs_pins_find(&t->pins, (uint32_t)i % 7, i) != NULL,
				 i < t->referenced);
	assert_null(pfs_pins_find(&t->pins, 8, 0));
	assert_null(pfs_pins_find(&t->pins, 1, 0));
}

static void count_freed(void *arg, uint32_t page, uint64_t len)
{
	assert_true(page < 7);
	*(uint64_t *)arg += len;
}

static void empty_pins(struct tables *t)
{
	uint64_t freed = 0, of_pages = 0, each = 0;
	struct pfs_extent_at gone;

	for (uint32_t i = 0; i < t->referenced; i += 2) {
		const struct pfs_extent_at at = {.page = i % 7, .off = i, .len = 10};

		assert_true(pfs_pins_free(&t->pins, &at));
		freed += 10;
	}
	assert_false(pfs_pins_free(&t->pins, &(struct pfs_extent_at){.page = 9}));
	for (uint32_t page = 0; page < 7; page++)
		of_pages += pfs_pins_of_page(&t->pins, page);
	pfs_pins_each_freed(&t->pins, count_freed, &each);
	assert_true(freed == of_pages && freed == each && freed == t->pins.freed_bytes);
	pfs_pins_trim(&t->pins);
	assert_int_equal(t->pins.count, t->referenced);
	for (uint32_t i = 0; i < t->referenced; i++) {
		assert_int_equal(pfs_pins_ref(&t->pins, i % 7, i), 0);
		assert_false(pfs_pins_unref(&t->pins, i % 7, i, &gone));
		assert_true(pfs_pins_unref(&t->pins, i % 7, i, &gone));
		assert_int_equal(gone.len, i % 2 ? 0 : 10);
		assert_false(pfs_pins_unref(&t->pins, i % 7, i, &gone));
	}
	assert_int_equal(pfs_pins_of_page(&t->pins, 0), 0);
	pfs_pins_each_freed(&t->pins, count_freed, &each);
	assert_int_equal(each, freed);
	pfs_pins_trim(&t->pins);
	assert_true(t->pins.size == 0 && t->pins.freed_bytes == 0);
	assert_int_equal(pfs_pins_of_page(&t->pins, 0), 0);
	assert_null(pfs_pins_find(&t->pins, 0, 0));
}

static void end(void *state)
{
	struct tables *t = state;
	struct pfs_former *former;
	struct pfs_key key = pfs_key_num(1);
	uint64_t at = 12345;

	empty_pins(t);
	/* From the middle of what stands in one bucket, too. */
	for (uint64_t i = 0; i < t->added; i += 3) {
		struct pfs_key one = key_of(i);

		former = pfs_overlay_find(&t->overlay, &one);
		pfs_overlay_remove(&t->overlay, former);
		free(former);
		assert_null(pfs_overlay_find(&t->overlay, &one));
	}
	while ((former = pfs_overlay_any(&t->overlay, &at))) {
		pfs_overlay_remove(&t->overlay, former);
		free(former);
	}
	assert_true(t->overlay.count == 0 && t->overlay.bytes == 0);
	assert_null(pfs_overlay_find(&t->overlay, &key));
	assert_null(pfs_overlay_at_cookie(&t->overlay, 1, NULL));
	pfs_overlay_free(&t->overlay);
	free(t);
}

/* Proves: without memory for more buckets everything is found as before, and only an entry that
 * can't be made is an error; what is given back is given back once. */
static void tables_that_cannot_grow_go_on(void **state)
{
	static const struct scenario filling = {"tables are filled", nothing, fill,
						expect_found,	     end,     NULL};
	static const struct scenario going_on = {
		"tables are filled further", half_filled, fill, expect_found, end, NULL};
	const struct fault memory = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try(&filling, &memory, 1);
	scenario_try(&going_on, &memory, 1);
}

/* Proves: keys of one tag are told apart, by their kind and by what is not in the tag. */
static void keys_of_one_tag_are_apart(void **state)
{
	static const char *const uuids[] = {"01234567-89ab-cdef-0123-456789000001",
					    "01234567-89ab-cdef-0123-456789000002"};
	struct pfs_overlay overlay = {0};
	struct pfs_key keys[4];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pfs_key_parse(&keys[i], uuids[i], strlen(uuids[i])), 0);
	keys[2] = pfs_key_num(pfs_key_tag(&keys[0]));
	assert_int_equal(pfs_key_parse(&keys[3], ".swp", 4), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct pfs_former *former = pfs_former_new(&keys[i]);

		assert_null(pfs_overlay_find(&overlay, &keys[i]));
		pfs_overlay_add(&overlay, former);
		for (unsigned k = 0; k < 4; k++) {
			struct pfs_key found;

			former = pfs_overlay_find(&overlay, &keys[k]);
			assert_int_equal(former != NULL, k <= i);
			if (!former)
				continue;
			pfs_former_key(former, &found);
			assert_true(pfs_key_equal(&found, &keys[k]));
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		struct pfs_former *former = pfs_overlay_find(&overlay, &keys[i]);

		pfs_overlay_remove(&overlay, former);
		free(former);
	}
	pfs_overlay_free(&overlay);
}

/* ---- records ---- */

#define RECORDS                                                \
	"{\"id\":1,\"payload\":{\"a\":1}}\n"                   \
	"{\"id\":2,\"payload_base64\":\"aGVsbG8gd29ybGQ=\"}\n" \
	"{\"id\":3,\"payload_base64\":\"aGVsbG8gd29ybGQhISEhISE=\"}\n"

struct input {
	size_t off;
	unsigned read;
};

static ssize_t give(void *arg, void *buf, size_t cap)
{
	struct input *in = arg;
	size_t n = pfs_min_u64(pfs_min_u64(cap, 16), sizeof(RECORDS) - 1 - in->off);

	memcpy(buf, &RECORDS[in->off], n);
	in->off += n;
	return (ssize_t)n;
}

static void *no_input(void)
{
	return calloc(1, sizeof(struct input));
}

static int read_records(void *state)
{
	struct input *in = state;
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	int err, more;

	*in = (struct input){.off = 0};
	err = pfs_ndjson_open_source(&reader, give, in);
	if (err) {
		assert_null(reader);
		return err;
	}
	while ((more = pfs_ndjson_next(reader, &doc)) > 0) {
		in->read++;
		assert_int_equal(doc.key.num, in->read);
		assert_int_equal(doc.len, in->read == 1 ? 7 : in->read == 2 ? 11 : 17);
		assert_memory_equal(doc.payload, in->read == 1 ? "{\"a\":1}" : "hello world",
				    in->read == 1 ? 7 : 11);
	}
	pfs_ndjson_close(reader);
	return more;
}

static void expect_records(void *state, int err)
{
	const struct input *in = state;

	assert_true(err || in->read == 3);
}

/* Proves: a reader without memory says so, and gives no document that it could not take whole. */
static void records_need_memory(void **state)
{
	static const struct scenario reading = {"records are read", no_input, read_records,
						expect_records,	    free,     NULL};
	const struct fault memory = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try(&reading, &memory, 1);
	pfs_ndjson_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_that_cannot_grow_go_on),
		cmocka_unit_test(keys_of_one_tag_are_apart),
		cmocka_unit_test(records_need_memory),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("parts without memory", tests, NULL, NULL);
}
