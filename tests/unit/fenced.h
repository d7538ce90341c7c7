/* Memory for a module that is included in its test: each block ends where a page begins that nobody
 * may touch, holds no zeros that nobody has put there, must be given back, and may be refused. */
#ifndef PFS_TEST_FENCED_H
#define PFS_TEST_FENCED_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define FENCED_PAGE 4096u

static unsigned fenced_blocks;	/* that are not given back yet */
static unsigned fenced_passes;	/* so many allocations are made, and the next one, */
static bool fenced_refuses;	/* if this, is refused, */
static bool fenced_refuses_all; /* or all from that on */

static inline void fenced_refuse(unsigned passes)
{
	fenced_passes = passes;
	fenced_refuses = true;
}

static inline bool fenced_is_refused(void)
{
	if (!fenced_refuses || fenced_passes--)
		return false;
	fenced_refuses = fenced_refuses_all;
	fenced_passes = 0;
	return true;
}

/* In front of the pages of the block is one that says how long it is. */
static inline void *fenced_malloc(size_t len)
{
	size_t room = (len + FENCED_PAGE - 1) / FENCED_PAGE * FENCED_PAGE;
	uint8_t *all, *block;

	if (fenced_is_refused())
		return NULL;
	all = mmap(NULL, room + 2 * FENCED_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	assert_int_equal(mprotect(all + FENCED_PAGE + room, FENCED_PAGE, PROT_NONE), 0);
	*(size_t *)(void *)all = len;
	block = all + FENCED_PAGE + room - len;
	memset(block, 0xa5, len);
	fenced_blocks++;
	return block;
}

static inline uint8_t *fenced_begin(void *block)
{
	return (uint8_t *)((uintptr_t)block / FENCED_PAGE * FENCED_PAGE) - FENCED_PAGE;
}

static inline void fenced_free(void *block)
{
	size_t room;

	if (!block)
		return;
	room = (*(size_t *)(void *)fenced_begin(block) + FENCED_PAGE - 1) / FENCED_PAGE *
	       FENCED_PAGE;
	assert_int_equal(munmap(fenced_begin(block), room + 2 * FENCED_PAGE), 0);
	fenced_blocks--;
}

static inline void *fenced_calloc(size_t count, size_t len)
{
	void *block = fenced_malloc(count * len);

	if (block)
		memset(block, 0, count * len);
	return block;
}

static inline void *fenced_realloc(void *old, size_t len)
{
	size_t old_len = old ? *(size_t *)(void *)fenced_begin(old) : 0;
	void *block = fenced_malloc(len);

	if (block && old) {
		memcpy(block, old, old_len < len ? old_len : len);
		fenced_free(old);
	}
	return block;
}

#define malloc(len) fenced_malloc(len)
#define calloc(count, len) fenced_calloc(count, len)
#define realloc(old, len) fenced_realloc(old, len)
#define free(block) fenced_free(block)

#endif
