/* free() for a module that is included in its test: what is freed is overwritten before, so that
 * who looks at it afterwards sees nothing of it, nor can use it. */
#ifndef PFS_TEST_POISONED_H
#define PFS_TEST_POISONED_H

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static inline void poisoned_free(void *block)
{
	if (block)
		memset(block, 0xa5, malloc_usable_size(block));
	/* Else the compiler would leave that out. */
	__asm__ volatile("" : : "r"(block) : "memory");
	free(block);
}

#endif
