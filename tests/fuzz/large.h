/* Large allocations without the cost of them: see large.c. */
#ifndef PFS_FUZZ_LARGE_H
#define PFS_FUZZ_LARGE_H

#include <stddef.h>

/* Blocks of the pool that are in use: none between two inputs. */
size_t large_open_count(void);

#endif
