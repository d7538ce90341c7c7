/* The store of a program in which each test has a fresh one. */
#ifndef PFS_TEST_ONE_STORE_H
#define PFS_TEST_ONE_STORE_H

#include "tests/unit/store_helpers.h"

static struct pfs_sim *sim;
static struct pfs_store *store;

static inline void begin_store(uint64_t page_size, uint32_t min_value_size)
{
	sim = pfs_sim_new();
	create_store(sim, page_size, min_value_size);
	store = open_store(sim);
}

/* Values of one length that do not compress, under 0, 1, 2... in this order, and in the pages. */
static inline void put_numbers(unsigned count, size_t len)
{
	for (unsigned i = 0; i < count; i++) {
		const struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, len, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

static inline void drop_number(unsigned i)
{
	const struct pfs_key key = pfs_key_num(i);

	assert_int_equal(pfs_remove(store, &key, NULL), 0);
}

static inline int end_store(void **state)
{
	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
	return 0;
}

#endif
