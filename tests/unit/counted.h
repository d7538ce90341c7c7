/* Children that end without the usual, or are killed: what they have counted for `make coverage` is
 * written before. */
#ifndef PFS_TEST_COUNTED_H
#define PFS_TEST_COUNTED_H

#ifdef PFS_COVERAGE
extern void __gcov_dump(void); /* a weak one would not be taken from its library */
#endif

static inline void write_counts(void)
{
#ifdef PFS_COVERAGE
	__gcov_dump();
#endif
}

#endif
