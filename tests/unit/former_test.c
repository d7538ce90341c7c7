/* The tables of former documents and of pins, against plain arrays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/fenced.h"

#include "storage/former.c"

static uint64_t chance;

static uint64_t roll(uint64_t n)
{
	chance += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(chance) % n;
}

/* Of all kinds; some differ only in their tails, some only in their kinds. */
static struct pfs_key key_of(unsigned i)
{
	struct pfs_key key = {.kind = PFS_KEY_UUID};
	char name[32];

	if (i % 4 == 0)
		return pfs_key_num(i / 4);
	if (i % 4 == 1) {
		memset(key.uuid, 0, sizeof(key.uuid));
		key.uuid[i / 4 % 16] = (uint8_t)(1 + i / 64);
		return key;
	}
	if (i % 4 == 2) {
		key = pfs_key_num(i / 4);
		key.kind = PFS_KEY_TEMP;
		return key;
	}
	snprintf(name, sizeof(name), ".%u%s", i / 8, i % 8 == 3 ? "" : ".swp");
	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

/* ---- former documents ---- */

#define KEYS 1400u

struct overlay_model {
	struct pfs_former *at[KEYS]; /* NULL: not there */
	uint64_t count, bytes;
};

static uint64_t bytes_of(unsigned i)
{
	struct pfs_key key = key_of(i);
	uint8_t room[8];

	return sizeof(struct pfs_former) + pfs_key_tail(&key, room).len;
}

static void add(struct pfs_overlay *o, struct overlay_model *m, unsigned i)
{
	struct pfs_key key = key_of(i), back;

	m->at[i] = pfs_former_new(&key);
	assert_non_null(m->at[i]);
	assert_int_equal(m->at[i]->state, PFS_FORMER_ABSENT);
	assert_int_equal(m->at[i]->cookie, 0);
	pfs_former_key(m->at[i], &back);
	assert_true(pfs_key_equal(&back, &key));
	m->at[i]->cookie = (uint32_t)roll(300); /* of some several, of some none */
	pfs_overlay_add(o, m->at[i]);
	m->count++;
	m->bytes += bytes_of(i);
}

static void take_out(struct pfs_overlay *o, struct overlay_model *m, unsigned i)
{
	pfs_overlay_remove(o, m->at[i]);
	free(m->at[i]);
	m->at[i] = NULL;
	m->count--;
	m->bytes -= bytes_of(i);
}

static void compare_keys(const struct pfs_overlay *o, const struct overlay_model *m)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct pfs_key key = key_of(i);
		struct pfs_former *like;

		assert_ptr_equal(pfs_overlay_find(o, &key), m->at[i]);
		if (i % 5)
			continue;
		like = pfs_former_new(&key);
		assert_ptr_equal(pfs_overlay_find_like(o, like), m->at[i]);
		free(like);
	}
	assert_int_equal(o->count, m->count);
	assert_int_equal(o->bytes, m->bytes);
}

/* Each once, whatever their order. */
static void compare_cookies(const struct pfs_overlay *o, const struct overlay_model *m)
{
	for (uint32_t cookie = 1; cookie < 301; cookie++) {
		struct pfs_former *former = NULL;
		unsigned expected = 0, found = 0;

		for (unsigned i = 0; i < KEYS; i++)
			expected += m->at[i] && m->at[i]->cookie == cookie;
		while ((former = pfs_overlay_at_cookie(o, cookie, former))) {
			assert_int_equal(former->cookie, cookie);
			assert_true(++found <= expected);
		}
		assert_int_equal(found, expected);
	}
}

/* Proves: of any number of former documents, while they come and go, each is found by its key, by
 * another's of the same key and by its cookie, and nothing else is; what they take is counted. */
static void former_documents_are_found(void **state)
{
	struct overlay_model *m = calloc(1, sizeof(*m));
	struct pfs_overlay o = {0};

	(void)state;
	compare_keys(&o, m);
	compare_cookies(&o, m);
	for (unsigned n = 0; n < 6000; n++) {
		unsigned i = (unsigned)roll(n < 3 ? 3 : n < 400 ? n : KEYS);

		if (!m->at[i])
			add(&o, m, i);
		else if (roll(3) == 0 || n < 12)
			take_out(&o, m, i);
		if (n < 20 || n % 1500 == 7 || n == 350) {
			compare_keys(&o, m);
			compare_cookies(&o, m);
		}
	}
	assert_true(m->count > 900);
	for (unsigned i = 0; i < KEYS; i++)
		if (m->at[i])
			take_out(&o, m, i);
	compare_keys(&o, m);
	pfs_overlay_free(&o);
	assert_int_equal(o.size, 0);
	assert_null(o.by_key);
	/* It is as good as new. */
	for (unsigned i = 5; i < 7; i++)
		add(&o, m, i);
	compare_keys(&o, m);
	compare_cookies(&o, m);
	for (unsigned i = 5; i < 7; i++)
		take_out(&o, m, i);
	pfs_overlay_free(&o);
	free(m);
}

/* Proves: all entries are met by taking any, wherever the walk begins and whatever comes meanwhile.
 */
static void any_entry_is_found(void **state)
{
	(void)state;
	for (unsigned count = 0; count < 700; count += count < 5 ? 1 : 347) {
		struct overlay_model *m = calloc(1, sizeof(*m));
		struct pfs_overlay o = {0};
		struct pfs_former *former;
		uint64_t at = roll(5), met = 0;

		assert_null(pfs_overlay_any(&o, &at));
		for (unsigned i = 0; i < count; i++)
			add(&o, m, i);
		while ((former = pfs_overlay_any(&o, &at))) {
			pfs_overlay_remove(&o, former);
			free(former);
			met++;
		}
		assert_int_equal(met, count);
		assert_int_equal(o.bytes, 0);
		pfs_overlay_free(&o);
		free(m);
	}
}

/* Proves: the first entries are found without any memory but their own. */
static void the_first_needs_no_table(void **state)
{
	struct pfs_key key = pfs_key_num(7);
	struct pfs_former *former = pfs_former_new(&key);
	struct pfs_overlay o = {0};

	(void)state;
	former->cookie = 9;
	pfs_overlay_add(&o, former);
	assert_int_equal(o.size, 1);
	assert_ptr_equal(o.by_key, &o.few[0]);
	assert_ptr_equal(pfs_overlay_find(&o, &key), former);
	assert_ptr_equal(pfs_overlay_at_cookie(&o, 9, NULL), former);
	assert_null(pfs_overlay_at_cookie(&o, 9, former));
	pfs_overlay_remove(&o, former);
	assert_null(pfs_overlay_find(&o, &key));
	free(former);
	pfs_overlay_free(&o);
}

/* Proves: a table that was emptied and freed knows nothing of what it had, also where the first
 * entries of it had their places in the table itself. */
static void what_was_emptied_is_empty(void **state)
{
	struct pfs_former *former[3];
	struct pfs_overlay o = {0};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct pfs_key key = pfs_key_num(i);

		former[i] = pfs_former_new(&key);
		former[i]->cookie = 5;
	}
	pfs_overlay_add(&o, former[0]);
	pfs_overlay_add(&o, former[1]);
	assert_true(o.size > 1);
	pfs_overlay_remove(&o, former[0]);
	pfs_overlay_remove(&o, former[1]);
	pfs_overlay_free(&o);
	pfs_overlay_add(&o, former[2]);
	assert_ptr_equal(pfs_overlay_at_cookie(&o, 5, NULL), former[2]);
	assert_null(pfs_overlay_at_cookie(&o, 5, former[2]));
	pfs_overlay_remove(&o, former[2]);
	pfs_overlay_free(&o);
	for (unsigned i = 0; i < 3; i++)
		free(former[i]);
}

/* Proves: keys whose tags are equal, as hostile UUIDs can have, are told apart. */
static void equal_tags_are_not_equal_keys(void **state)
{
	struct pfs_key keys[2] = {{.kind = PFS_KEY_UUID}, {.kind = PFS_KEY_UUID}};
	struct pfs_former *former[2];
	struct pfs_overlay o = {0};

	(void)state;
	pfs_put_le64(keys[0].uuid, 1234567);
	pfs_put_le64(keys[1].uuid, pfs_key_tag(&keys[0]) ^ pfs_mix64(99));
	pfs_put_le64(keys[1].uuid + 8, 99);
	assert_int_equal(pfs_key_tag(&keys[0]), pfs_key_tag(&keys[1]));
	for (unsigned i = 0; i < 2; i++) {
		former[i] = pfs_former_new(&keys[i]);
		assert_null(pfs_overlay_find(&o, &keys[i]));
		pfs_overlay_add(&o, former[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_ptr_equal(pfs_overlay_find(&o, &keys[i]), former[i]);
		assert_ptr_equal(pfs_overlay_find_like(&o, former[i]), former[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		pfs_overlay_remove(&o, former[i]);
		free(former[i]);
	}
	pfs_overlay_free(&o);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: there are as many buckets as entries, so that none is looked for long; without memory for
 * more of them all are found all the same, and nothing of them is lost. */
static void tables_grow_if_they_can(void **state)
{
	(void)state;
	for (unsigned refused = 0; refused < 3; refused++) {
		struct overlay_model *m = calloc(1, sizeof(*m));
		struct pfs_overlay o = {0};

		for (unsigned i = 0; i < KEYS; i++) {
			struct pfs_key key = key_of(i);

			/* The entry's own memory is there. */
			m->at[i] = pfs_former_new(&key);
			m->at[i]->cookie = i % 299;
			m->count++;
			m->bytes += bytes_of(i);
			if (refused) {
				fenced_refuse(refused - 1);
				fenced_refuses_all = true;
			}
			pfs_overlay_add(&o, m->at[i]);
			fenced_refuses = fenced_refuses_all = false;
			assert_int_equal(o.size, refused    ? 1
						 : i == 0   ? 1
						 : i < 256  ? 256
						 : i < 512  ? 512
						 : i < 1024 ? 1024
							    : 2048);
		}
		compare_keys(&o, m);
		compare_cookies(&o, m);
		for (unsigned i = 0; i < KEYS; i++)
			take_out(&o, m, i);
		pfs_overlay_free(&o);
		free(m);
		assert_int_equal(fenced_blocks, 0);
	}
	fenced_refuse(0);
	assert_null(pfs_former_new(&(struct pfs_key){.kind = PFS_KEY_NUM}));
}

/* ---- pins ---- */

#define PLACES 1500u

struct pin_model {
	unsigned refs[PLACES];
	uint64_t len[PLACES]; /* freed; 0: not */
};

static uint32_t page_of(unsigned i)
{
	return 1 + i % 5;
}

static uint32_t off_of(unsigned i)
{
	return i < 10 ? UINT32_MAX - i : 8 * (i / 5);
}

static void count_freed(void *arg, uint32_t page, uint64_t len)
{
	((uint64_t *)arg)[page] += len;
}

static void compare_pins(const struct pfs_pins *pins, const struct pin_model *m)
{
	uint64_t freed[7] = {0}, all[7] = {0}, count = 0, sum = 0;

	for (unsigned i = 0; i < PLACES; i++) {
		const struct pfs_pin *pin = pfs_pins_find(pins, page_of(i), off_of(i));

		assert_int_equal(pin != NULL, m->refs[i] != 0);
		if (!pin)
			continue;
		assert_int_equal(pin->refs, m->refs[i]);
		assert_int_equal(pin->freed, m->len[i] != 0);
		freed[page_of(i)] += m->len[i];
		sum += m->len[i];
		count++;
	}
	assert_null(pfs_pins_find(pins, 6, 0));
	assert_null(pfs_pins_find(pins, 0, 0));
	assert_int_equal(pins->count, count);
	assert_int_equal(pins->freed_bytes, sum);
	pfs_pins_each_freed(pins, count_freed, all);
	for (unsigned page = 0; page < 7; page++) {
		assert_int_equal(pfs_pins_of_page(pins, page), freed[page]);
		assert_int_equal(all[page], freed[page]);
	}
}

static void drop_one(struct pfs_pins *pins, struct pin_model *m, unsigned i)
{
	struct pfs_extent_at gone = {.len = 1};
	bool last = pfs_pins_unref(pins, page_of(i), off_of(i), &gone);

	assert_int_equal(last, m->refs[i] == 1);
	if (last && m->len[i]) {
		assert_int_equal(gone.page, page_of(i));
		assert_int_equal(gone.off, off_of(i));
		assert_int_equal(gone.len, m->len[i]);
	} else {
		assert_int_equal(gone.page, 0);
		assert_int_equal(gone.len, 0);
	}
	m->refs[i] -= m->refs[i] != 0;
	if (m->refs[i] == 0)
		m->len[i] = 0;
}

/* Proves: each container is pinned for as long as somebody refers to it, whatever others do; what
 * is freed meanwhile is counted for its page, and given back with the last reference. */
static void pins_count_references(void **state)
{
	struct pin_model *m = calloc(1, sizeof(*m));
	struct pfs_pins pins = {0};

	(void)state;
	compare_pins(&pins, m);
	for (unsigned n = 0; n < 9000; n++) {
		unsigned i = (unsigned)roll(PLACES), what = (unsigned)roll(6);
		struct pfs_extent_at at = {.page = page_of(i), .off = off_of(i), .len = 1 + n};

		if (what < 4) {
			assert_int_equal(pfs_pins_ref(&pins, page_of(i), off_of(i)), 0);
			m->refs[i]++;
		} else if (what == 4) {
			drop_one(&pins, m, i);
		} else if (!m->len[i]) {
			assert_int_equal(pfs_pins_free(&pins, &at), m->refs[i] != 0);
			m->len[i] = m->refs[i] ? at.len : 0;
		}
		if (n < 20 || n % 1500 == 3)
			compare_pins(&pins, m);
	}
	pfs_pins_trim(&pins);
	compare_pins(&pins, m);
	assert_true(pins.size > 0);
	for (unsigned i = 0; i < PLACES; i++)
		while (m->refs[i])
			drop_one(&pins, m, i);
	compare_pins(&pins, m);
	pfs_pins_trim(&pins);
	assert_null(pins.buckets);
	assert_int_equal(pins.size, 0);
	free(m);
}

/* Proves: the first pin needs memory for the table and for itself, another one for itself alone:
 * where there is none to make the table larger, it stays as it is. */
static void pins_without_memory(void **state)
{
	struct pin_model *m = calloc(1, sizeof(*m));
	struct pfs_pins pins = {0};

	(void)state;
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(pfs_pins_ref(&pins, 1, 2), -ENOMEM);
		assert_int_equal(pins.count, 0);
	}
	for (unsigned i = 0; i < PLACES; i++) {
		if (pins.count == pins.size)
			fenced_refuse(0);
		assert_int_equal(pfs_pins_ref(&pins, page_of(i), off_of(i)), 0);
		fenced_refuses = false;
		m->refs[i]++;
		assert_int_equal(pins.size, i < 257 ? 256 : i < 513 ? 512 : i < 1025 ? 1024 : 2048);
	}
	compare_pins(&pins, m);
	for (unsigned i = 0; i < PLACES; i++)
		drop_one(&pins, m, i);
	pfs_pins_trim(&pins);
	free(m);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: what is freed is counted wherever in the table it stands. */
static void each_place_is_counted(void **state)
{
	struct pfs_pins pins = {0};

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		struct pfs_extent_at at = {.page = 3, .off = 8 * i, .len = 5}, gone;
		uint64_t all[7] = {0};

		assert_int_equal(pfs_pins_ref(&pins, at.page, at.off), 0);
		assert_true(pfs_pins_free(&pins, &at));
		assert_int_equal(pfs_pins_of_page(&pins, 3), 5);
		assert_int_equal(pfs_pins_of_page(&pins, 2), 0);
		pfs_pins_each_freed(&pins, count_freed, all);
		assert_int_equal(all[3], 5);
		assert_true(pfs_pins_unref(&pins, at.page, at.off, &gone));
		assert_int_equal(gone.len, 5);
	}
	pfs_pins_trim(&pins);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(former_documents_are_found),
		cmocka_unit_test(any_entry_is_found),
		cmocka_unit_test(the_first_needs_no_table),
		cmocka_unit_test(what_was_emptied_is_empty),
		cmocka_unit_test(equal_tags_are_not_equal_keys),
		cmocka_unit_test(tables_grow_if_they_can),
		cmocka_unit_test(pins_count_references),
		cmocka_unit_test(pins_without_memory),
		cmocka_unit_test(each_place_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
