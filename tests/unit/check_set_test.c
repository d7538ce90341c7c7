/* storage/check_twice.c: sets of hashes, against a plain list. */
#include "storage/check.h"
#include "tests/unit/store_helpers.h"

/* Proves: keys of different kinds and tags have different hashes, none of which is 0. */
static void hashes_tell_kinds_and_tags_apart(void **state)
{
	uint64_t hashes[5 * 64];
	size_t count = 0;

	(void)state;
	for (unsigned kind = 0; kind < 5; kind++) {
		for (uint64_t tag = 0; tag < 64; tag++) {
			uint64_t hash = pfs_check_hash(kind, tag < 32 ? tag : UINT64_MAX - tag);

			assert_true(hash != 0);
			for (size_t i = 0; i < count; i++)
				assert_true(hashes[i] != hash);
			hashes[count++] = hash;
		}
	}
	/* The one that would be 0. */
	assert_int_equal(pfs_check_hash(0, 0), 1);
}

/* Proves: no two slots and hashes add the same to the sum of a page. */
static void marks_tell_slots_and_hashes_apart(void **state)
{
	static const uint32_t slots[] = {0, 1, 2, 3, 0x8000, PFS_SLOT_NUMBER_MAX},
			      hashes[] = {0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xffffffff};
	uint64_t marks[pfs_array_len(slots) * pfs_array_len(hashes)];
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(slots); i++) {
		for (size_t j = 0; j < pfs_array_len(hashes); j++) {
			uint64_t mark = pfs_check_mark(slots[i], hashes[j]);

			for (size_t k = 0; k < count; k++)
				assert_true(marks[k] != mark);
			marks[count++] = mark;
		}
	}
}

#define HASHES 5000u

/* Whatever its low bits are: many meet in one place of the set. */
static uint64_t hash_at(unsigned i)
{
	return i % 3 ? pfs_mix64(i + 1) : ((uint64_t)i + 1) << 20 | 0x3ff;
}

/* Proves: a set has what was added to it and nothing else, says what is new, never gets so full
 * that a search finds no free place, and is empty again when it was freed. */
static void sets_have_what_was_added(void **state)
{
	struct pfs_check_set set = {0};

	(void)state;
	assert_false(pfs_check_set_has(&set, 7));
	for (unsigned i = 0; i < HASHES; i++) {
		assert_false(pfs_check_set_has(&set, hash_at(i)));
		assert_int_equal(pfs_check_set_add(&set, hash_at(i)), 1);
		assert_int_equal(pfs_check_set_add(&set, hash_at(i)), 0);
		assert_true(pfs_check_set_has(&set, hash_at(i)));
		assert_int_equal(set.count, i + 1);
		assert_true(pfs_is_pow2(set.size) && set.count * 4 <= set.size * 3);
		assert_true(set.size == 1024 || set.count * 4 >= set.size / 2 * 3);
	}
	for (unsigned i = 0; i < HASHES; i++)
		assert_true(pfs_check_set_has(&set, hash_at(i)));
	for (unsigned i = HASHES; i < 2 * HASHES; i++)
		assert_false(pfs_check_set_has(&set, hash_at(i)));
	pfs_check_set_free(&set);
	assert_null(set.at);
	assert_int_equal(set.count + set.size, 0);
	assert_false(pfs_check_set_has(&set, hash_at(0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_tell_kinds_and_tags_apart),
		cmocka_unit_test(marks_tell_slots_and_hashes_apart),
		cmocka_unit_test(sets_have_what_was_added),
	};

	return cmocka_run_group_tests_name("check_set", tests, NULL, NULL);
}
