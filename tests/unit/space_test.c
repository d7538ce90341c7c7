/* storage/space.c: the free extents of a page. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/fenced.h"

#include "storage/space.c"
#undef malloc
#undef calloc
#undef realloc
#undef free

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

/* The first bytes of an extent, at its beginning or anywhere. */
static void take_at(struct model *m, uint64_t off, uint64_t len)
{
	bool fits = off == 0 || !m->is_free[off - 1];

	for (uint64_t i = off; i < off + len; i++)
		fits = fits && i < m->size && m->is_free[i];
	assert_int_equal(pfs_space_take_at(&m->space, off, len), fits ? 0 : -ENOSPC);
	if (fits)
		memset(m->is_free + off, 0, len);
}

/* Proves: after any random additions and takings the sums, the longest extent and the number of
 * coalesced extents are those of a recount, what is taken is the lowest that fits, or that which
 * begins at a place and is long enough, and an overlap is refused without a change. */
static void space_equals_a_map_of_units(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 8; seed++) {
		struct model m;

		model_new(&m, 300 + 200 * seed, seed);
		for (unsigned step = 0; step < 4000; step++) {
			uint64_t len = 1 + roll(&m, seed % 2 ? 4 : 40);

			uint64_t what = roll(&m, 8), off = roll(&m, m.size - len);

			/* To where an extent begins, often. */
			while (what == 6 && off && m.is_free[off] && m.is_free[off - 1])
				off--;
			if (what < 4)
				add(&m, off, len);
			else if (what < 6)
				take(&m, len);
			else
				take_at(&m, off, len);
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

/* Proves: after a reservation so many extents are added without an allocation, and it takes no more
 * than twice the memory that it must. */
static void reserved_extents_need_no_memory(void **state)
{
	static const uint32_t counts[] = {1, 14, 15, 16, 17, 31, 32, 33, 1000};

	(void)state;
	for (size_t n = 0; n < pfs_array_len(counts); n++) {
		struct pfs_space space;

		pfs_space_init(&space);
		for (unsigned round = 0; round < 5; round++) {
			uint32_t cap;

			assert_int_equal(pfs_space_reserve(&space, counts[n]), 0);
			cap = space.node_cap;
			assert_true(cap <= 16 || cap <= 2 * ((round + 1) * counts[n] + 1));
			for (unsigned i = 0; i < counts[n]; i++)
				assert_int_equal(
					pfs_space_add(&space, (round * counts[n] + i) * 10, 5), 0);
			assert_int_equal(space.node_cap, cap);
		}
		assert_int_equal(pfs_space_extents(&space), 5 * counts[n]);
		pfs_space_free(&space);
		/* It can be used again. */
		assert_int_equal(pfs_space_longest(&space), 0);
		assert_int_equal(pfs_space_extents(&space), 0);
		assert_int_equal(pfs_space_add(&space, 7, 7), 0);
		assert_int_equal(pfs_space_longest(&space), 7);
		assert_int_equal(space.free_bytes, 7);
		pfs_space_free(&space);
		pfs_space_free(&space);
	}
}

/* Proves: without memory nothing is reserved or added, and what was there stays as it was; what has
 * no extents needs none. */
static void memory_may_be_missing(void **state)
{
	struct pfs_space space;
	uint64_t off;

	(void)state;
	pfs_space_init(&space);
	fenced_refuse(0);
	assert_int_equal(pfs_space_reserve(&space, 1), -ENOMEM);
	fenced_refuse(0);
	assert_int_equal(pfs_space_add(&space, 5, 5), -ENOMEM);
	assert_int_equal(space.free_bytes, 0);
	assert_int_equal(pfs_space_extents(&space), 0);
	assert_int_equal(pfs_space_longest(&space), 0);
	assert_int_equal(pfs_space_take(&space, 1, &off), -ENOSPC);
	assert_int_equal(pfs_space_take_at(&space, 5, 1), -ENOSPC);
	for (unsigned i = 0; i < 100; i++) {
		int err;

		fenced_refuse(0);
		err = pfs_space_add(&space, i * 10, 5);
		fenced_refuses = false; /* it may have had room */
		if (!err)
			continue;
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(space.free_bytes, i * 5);
		assert_int_equal(pfs_space_extents(&space), i);
		assert_int_equal(pfs_space_add(&space, i * 10, 5), 0);
	}
	assert_int_equal(pfs_space_extents(&space), 100);
	pfs_space_free(&space);
	assert_int_equal(fenced_blocks, 0);
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
	for (unsigned i = 0; i < 100000; i++) { /* also those of neighbours that become one */
		uint64_t at = 1000 + i % 3 * 5;

		assert_int_equal(pfs_space_add(&space, at, 5), 0);
		assert_int_equal(pfs_space_add(&space, 1000 + (i + 1) % 3 * 5, 5), 0);
		assert_int_equal(pfs_space_add(&space, 1000 + (i + 2) % 3 * 5, 5), 0);
		assert_int_equal(pfs_space_take(&space, 15, &off), 0);
		assert_int_equal(off, 1000);
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
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(nodes_are_used_again),
		cmocka_unit_test(many_extents_are_fast),
	};

	mallopt(M_PERTURB, 0xa5); /* no memory is zeros that was not made so */
	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
