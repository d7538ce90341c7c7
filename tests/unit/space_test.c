/* storage/space.c: the free extents of a page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/space.h"

/* A map of single units, each free or not. */
struct model {
	struct pfs_space space;
	bool *is_free;
	uint64_t size;
	uint64_t random;
};

static uint64_t roll(struct model *m, uint64_t n)
{
	m->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(m->random) % n;
}

static void model_new(struct model *m, uint64_t size, uint64_t seed)
{
	*m = (struct model){.is_free = calloc(size + 1, 1), .size = size, .random = seed};
	pfs_space_init(&m->space);
}

static void model_free(struct model *m)
{
	pfs_space_free(&m->space);
	free(m->is_free);
}

static void expect_as_counted(struct model *m)
{
	uint64_t bytes = 0, longest = 0, run = 0;
	uint32_t extents = 0;

	for (uint64_t i = 0; i <= m->size; i++) {
		if (i < m->size && m->is_free[i]) {
			extents += run == 0;
			run++;
			bytes++;
			longest = pfs_max_u64(longest, run);
		} else {
			run = 0;
		}
	}
	assert_int_equal(m->space.free_bytes, bytes);
	assert_int_equal(pfs_space_longest(&m->space), longest);
	assert_int_equal(pfs_space_extents(&m->space), extents);
}

/* Where the lowest run of len units begins; size: nowhere. */
static uint64_t lowest_run(const struct model *m, uint64_t len)
{
	uint64_t run = 0;

	for (uint64_t i = 0; i < m->size; i++) {
		run = m->is_free[i] ? run + 1 : 0;
		if (run == len)
			return i + 1 - len;
	}
	return m->size;
}

static void add(struct model *m, uint64_t off, uint64_t len)
{
	bool overlaps = false;

	for (uint64_t i = off; i < off + len; i++)
		overlaps = overlaps || m->is_free[i];
	assert_int_equal(pfs_space_add(&m->space, off, len), overlaps ? -EUCLEAN : 0);
	if (!overlaps)
		memset(m->is_free + off, 1, len);
}

static void take(struct model *m, uint64_t len)
{
	uint64_t expected = lowest_run(m, len), off = UINT64_MAX;
	int err = pfs_space_take(&m->space, len, &off);

	if (expected == m->size) {
		assert_int_equal(err, -ENOSPC);
		return;
	}
	assert_int_equal(err, 0);
	/* From the lowest extent that is long enough, and there from its beginning. */
	while (expected && m->is_free[expected - 1])
		expected--;
	assert_int_equal(off, expected);
	memset(m->is_free + off, 0, len);
}

/* Proves: after any random additions and takings the sums, the longest extent and the number of
 * coalesced extents are those of a recount, what is taken is the lowest that fits, and an overlap
 * is refused without a change. */
static void space_equals_a_map_of_units(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 8; seed++) {
		struct model m;

		model_new(&m, 300 + 200 * seed, seed);
		for (unsigned step = 0; step < 4000; step++) {
			uint64_t len = 1 + roll(&m, seed % 2 ? 4 : 40);

			if (roll(&m, 2))
				add(&m, roll(&m, m.size - len), len);
			else
				take(&m, len);
			expect_as_counted(&m);
		}
		model_free(&m);
	}
}

/* Proves: neighbours on either side, and on both, become one extent; what only touches by a gap of
 * one does not. */
static void neighbours_coalesce(void **state)
{
	struct pfs_space space;
	uint64_t off;

	(void)state;
	pfs_space_init(&space);
	assert_int_equal(pfs_space_longest(&space), 0);
	assert_int_equal(pfs_space_take(&space, 1, &off), -ENOSPC);
	assert_int_equal(pfs_space_add(&space, 100, 10), 0);
	assert_int_equal(pfs_space_add(&space, 121, 9), 0);
	assert_int_equal(pfs_space_extents(&space), 2);
	assert_int_equal(pfs_space_add(&space, 110, 10), 0);
	assert_int_equal(pfs_space_extents(&space), 2);
	assert_int_equal(pfs_space_longest(&space), 20);
	assert_int_equal(pfs_space_add(&space, 120, 1), 0);
	assert_int_equal(pfs_space_extents(&space), 1);
	assert_int_equal(pfs_space_longest(&space), 30);
	assert_int_equal(pfs_space_add(&space, 99, 1), 0);
	assert_int_equal(pfs_space_extents(&space), 1);
	assert_int_equal(pfs_space_take(&space, 31, &off), 0);
	assert_int_equal(off, 99);
	assert_int_equal(pfs_space_extents(&space), 0);
	assert_int_equal(space.free_bytes, 0);
	pfs_space_free(&space);
}

/* Proves: taking nothing is refused, and lengths at the end of what 64 bits can say do no harm. */
static void edges_of_space(void **state)
{
	struct pfs_space space;
	uint64_t off;

	(void)state;
	pfs_space_init(&space);
	assert_int_equal(pfs_space_add(&space, PFS_GIB, PFS_GIB), 0);
	assert_int_equal(pfs_space_take(&space, 0, &off), -ENOSPC);
	assert_int_equal(pfs_space_take(&space, UINT64_MAX, &off), -ENOSPC);
	assert_int_equal(pfs_space_take(&space, PFS_GIB + 1, &off), -ENOSPC);
	for (uint64_t bad = PFS_GIB - 1; bad < 2 * PFS_GIB; bad += PFS_GIB / 7)
		assert_int_equal(pfs_space_add(&space, bad, 2), -EUCLEAN);
	assert_int_equal(space.free_bytes, PFS_GIB);
	assert_int_equal(pfs_space_take(&space, PFS_GIB, &off), 0);
	assert_int_equal(off, PFS_GIB);
	pfs_space_free(&space);
}

/* Proves: after a reservation so many extents are added without an allocation: the nodes stay where
 * they are. */
static void reserved_extents_need_no_memory(void **state)
{
	struct pfs_space space;

	(void)state;
	pfs_space_init(&space);
	for (unsigned round = 0; round < 5; round++) {
		const void *nodes;

		assert_int_equal(pfs_space_reserve(&space, 1000), 0);
		nodes = space.nodes;
		for (unsigned i = 0; i < 1000; i++)
			assert_int_equal(pfs_space_add(&space, (round * 1000 + i) * 10, 5), 0);
		assert_ptr_equal(space.nodes, nodes);
	}
	assert_int_equal(pfs_space_extents(&space), 5000);
	pfs_space_free(&space);
}

/* Proves: nodes of extents that are gone are used again: a page that lives long does not grow its
 * memory. */
static void nodes_are_used_again(void **state)
{
	struct pfs_space space;
	uint32_t cap;
	uint64_t off;

	(void)state;
	pfs_space_init(&space);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(pfs_space_add(&space, i * 10, 5), 0);
	cap = space.node_cap;
	for (unsigned i = 0; i < 100000; i++) {
		assert_int_equal(pfs_space_take(&space, 5, &off), 0);
		assert_int_equal(pfs_space_add(&space, off, 5), 0);
	}
	assert_int_equal(space.node_cap, cap);
	pfs_space_free(&space);
}

/* Proves: a page with a million extents, freed and taken in order, is done in moments: no operation
 * is linear, no recursion deep. */
static void many_extents_are_fast(void **state)
{
	enum { COUNT = 1000000 };
	struct pfs_space space;
	uint64_t off;

	(void)state;
	pfs_space_init(&space);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_int_equal(pfs_space_add(&space, i * 32, 16 + (i == COUNT - 1)), 0);
	assert_int_equal(pfs_space_take(&space, 17, &off), 0);
	assert_int_equal(off, (COUNT - 1) * UINT64_C(32));
	for (uint64_t i = 0; i < COUNT - 1; i++) {
		assert_int_equal(pfs_space_take(&space, 16, &off), 0);
		assert_int_equal(off, i * 32);
	}
	assert_int_equal(space.free_bytes, 0);
	pfs_space_free(&space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(space_equals_a_map_of_units),
		cmocka_unit_test(neighbours_coalesce),
		cmocka_unit_test(edges_of_space),
		cmocka_unit_test(reserved_extents_need_no_memory),
		cmocka_unit_test(nodes_are_used_again),
		cmocka_unit_test(many_extents_are_fast),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
