/* The tables of former documents and of pins, against plain arrays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/former.h"

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
		struct pfs_former *like = pfs_former_new(&key);

		assert_ptr_equal(pfs_overlay_find(o, &key), m->at[i]);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(former_documents_are_found),
		cmocka_unit_test(any_entry_is_found),
		cmocka_unit_test(the_first_needs_no_table),
		cmocka_unit_test(pins_count_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
