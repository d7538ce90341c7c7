/* Small broken stores for the tests of calls that fail; each is what tests/images has no case of.
 */
#ifndef PFS_TEST_BROKEN_STORES_H
#define PFS_TEST_BROKEN_STORES_H

#include "tests/sim/sim.h"

struct broken_store {
	const char *name;
	struct pfs_sim *(*make)(void); /* everything has reached the disk */
	bool killed;		       /* it has a journal to be read */
};

extern const struct broken_store broken_stores[];
extern const size_t broken_store_count;

#endif
