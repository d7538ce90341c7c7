/* storage/store_read.c: keys that the index can't tell from one another, because their hashes are
 * the same, and damage that leaves open which of them a document has. */
#include "storage/pager_internal.h"
#include "storage/store_internal.h"
#include "tests/unit/one_store.h"

#define TRIES 131072u
#define LEN 700u

struct candidate {
	uint32_t hash, n;
	bool is_uuid;
};

/* Two numbers with one hash, and a number and a UUID. */
static struct pfs_key pairs[2][2];

static struct pfs_key key_of(const struct candidate *c)
{
	struct pfs_key key = pfs_key_num(c->n);

	if (c->is_uuid) {
		char name[64];

		snprintf(name, sizeof(name), "00000000-0000-4000-8000-0000%08x", c->n);
		key = key_named(name);
	}
	return key;
}

static int by_hash(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

static int find_pairs(void **state)
{
	struct candidate *c = calloc(2 * TRIES, sizeof(*c));
	unsigned found = 0;

	(void)state;
	for (uint32_t i = 0; i < 2 * TRIES; i++) {
		struct pfs_key key;

		c[i] = (struct candidate){.n = i / 2, .is_uuid = i % 2};
		key = key_of(&c[i]);
		c[i].hash = pfs_index_hash(key.kind, pfs_key_tag(&key));
	}
	qsort(c, 2 * TRIES, sizeof(*c), by_hash);
	for (uint32_t i = 1; i < 2 * TRIES && found != 3; i++) {
		bool mixed = c[i].is_uuid != c[i - 1].is_uuid;

		if (c[i].hash != c[i - 1].hash || (!mixed && c[i].is_uuid))
			continue;
		pairs[mixed][0] = key_of(&c[i - 1]);
		pairs[mixed][1] = key_of(&c[i]);
		found |= 1u << mixed;
	}
	free(c);
	return found == 3 ? 0 : -1;
}

static int begin(void **state)
{
	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	return 0;
}

static int end(void **state)
{
	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return 0;
}

static void expect_document(const struct pfs_key *key, uint64_t seed)
{
	uint8_t want[LEN];
	void *have;
	size_t len;

	fill_document(want, LEN, seed);
	assert_int_equal(pfs_get(store, key, &have, &len, NULL), 0);
	assert_int_equal(len, LEN);
	assert_memory_equal(have, want, LEN);
	free(have);
}

static int look(const struct pfs_key *key)
{
	struct pfs_attr attr;
	uint32_t object = 7;
	int err = pfs_lookup(store, key, &object, &attr);

	assert_int_equal(err == 0, object != 0);
	return err;
}

/* Proves: each of two keys with one hash has its own document, in the journal and in pages, which
 * is changed, moved and removed without the other. */
static void each_has_its_own(void **state)
{
	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		const struct pfs_key *a = &pairs[p][0], *b = &pairs[p][1];
		struct pfs_key c = pfs_key_num(UINT64_MAX);

		put_document(store, a, LEN, 1);
		assert_int_equal(look(b), -ENOENT);
		put_document(store, b, LEN, 2);
		for (unsigned applied = 0; applied < 2; applied++) {
			expect_document(a, 1);
			expect_document(b, 2);
			assert_int_equal(pfs_store_checkpoint(store), 0);
		}
		assert_int_equal(pfs_rename(store, a, b, PFS_RENAME_EXCHANGE, NULL), 0);
		expect_document(a, 2);
		expect_document(b, 1);
		assert_int_equal(pfs_rename(store, a, &c, 0, NULL), 0);
		assert_int_equal(look(a), -ENOENT);
		expect_document(b, 1);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		assert_int_equal(look(a), -ENOENT);
		expect_document(b, 1);
		assert_int_equal(pfs_remove(store, b, NULL), 0);
		assert_int_equal(look(b), -ENOENT);
		expect_document(&c, 2);
	}
}

static struct pfs_place place_in(const struct pfs_key *key)
{
	struct pfs_place place;

	assert_int_equal(pfs_place(store, key, &place), 0);
	assert_false(place.in_journal);
	return place;
}

/* Proves: who is not found may be the one that stood in a slot which is damaged, if its hash is the
 * same; who is found is found. */
static void a_damaged_slot_may_be_any_of_them(void **state)
{
	/* Of the tag, of the kind; where its container is says nothing of whose it is. */
	static const unsigned bits[] = {0, 8 * 4 + 7, 8 * 15 + 4, 8 * 8 + 3};

	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		const struct pfs_key *a = &pairs[p][0], *b = &pairs[p][1];
		struct pfs_key other = pfs_key_num(UINT64_MAX - 1);

		for (unsigned both = 0; both < 2; both++) {
			put_document(store, a, LEN, 1);
			if (both)
				put_document(store, b, LEN, 2);
			assert_int_equal(pfs_store_checkpoint(store), 0);
			for (size_t i = 0; i < pfs_array_len(bits); i++) {
				struct pfs_place place = place_in(a);
				uint64_t at = pfs_slot_offset(place.slot) + bits[i] / 8;

				flip_bit(sim, page_name(place.page), at, bits[i] % 8);
				assert_int_equal(look(a), -EIO);
				if (both)
					expect_document(b, 2);
				else
					assert_int_equal(look(b), i < 3 ? -EIO : -ENOENT);
				assert_int_equal(look(&other), -ENOENT);
				flip_bit(sim, page_name(place.page), at, bits[i] % 8);
				expect_document(a, 1);
			}
		}
		assert_int_equal(pfs_remove(store, a, NULL), 0);
		assert_int_equal(pfs_remove(store, b, NULL), 0);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
}

/* Proves: the same of a page that is gone. */
static void a_lost_page_may_have_had_any_of_them(void **state)
{
	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		const struct pfs_key *a = &pairs[p][0], *b = &pairs[p][1];
		struct pfs_key other = pfs_key_num(UINT64_MAX - 1);
		struct pfs_place place;
		struct pfs_page *page;

		put_document(store, a, LEN, 1);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		place = place_in(a);
		put_document(store, b, LEN, 2);
		page = pfs_pager_find(store->pager, place.page);
		for (unsigned both = 2; both-- > 0;) {
			pfs_pager_withdraw(store->pager, page);
			assert_int_equal(look(a), -EIO);
			if (both)
				expect_document(b, 2);
			else
				assert_int_equal(look(b), -EIO);
			assert_int_equal(look(&other), -ENOENT);
			assert_int_equal(pfs_pager_publish(store->pager, page), 0);
			expect_document(a, 1);
			if (both)
				assert_int_equal(pfs_remove(store, b, NULL), 0);
		}
		assert_int_equal(pfs_remove(store, a, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_has_its_own, begin, end),
		cmocka_unit_test_setup_teardown(a_damaged_slot_may_be_any_of_them, begin, end),
		cmocka_unit_test_setup_teardown(a_lost_page_may_have_had_any_of_them, begin, end),
	};

	return cmocka_run_group_tests(tests, find_pairs, NULL);
}
