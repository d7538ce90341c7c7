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

static inline int end_store(void **state)
{
	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
	return 0;
}

#endif
