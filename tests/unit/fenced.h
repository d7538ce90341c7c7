/* Memory for a module that is included in its test: each block ends where a page begins that nobody
 * may touch (or less than an alignment before), holds no zeros that nobody has put there, must be
 * given back, and may be refused. */
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
#define FENCED_ALIGNMENT 8u
#define FENCED_BYTE 0xa5

static unsigned fenced_blocks;	/* atomic: that are not given back yet */
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

static inline size_t fenced_up(size_t len, size_t unit)
{
	return (len + unit - 1) / unit * unit;
}

/* In front of the pages of the block is one that says how long it is. */
static inline void *fenced_malloc(size_t len)
{
	size_t taken = fenced_up(len, FENCED_ALIGNMENT), room = fenced_up(taken, FENCED_PAGE);
	uint8_t *all, *block;

	if (fenced_is_refused() || len > SIZE_MAX / 2)
		return NULL;
	all = mmap(NULL, room + 2 * FENCED_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	assert_int_equal(mprotect(all + FENCED_PAGE + room, FENCED_PAGE, PROT_NONE), 0);
	*(size_t *)(void *)all = len;
	block = all + FENCED_PAGE + room - taken;
	memset(block, FENCED_BYTE, taken);
	__atomic_add_fetch(&fenced_blocks, 1, __ATOMIC_RELAXED);
	return block;
}

static inline uint8_t *fenced_begin(void *block)
{
	return (uint8_t *)((uintptr_t)block / FENCED_PAGE * FENCED_PAGE) - FENCED_PAGE;
}

static inline void fenced_free(void *block)
{
	size_t len, taken;

	if (!block)
		return;
	len = *(size_t *)(void *)fenced_begin(block);
	taken = fenced_up(len, FENCED_ALIGNMENT);
	for (size_t i = len; i < taken; i++)
		assert_int_equal(((uint8_t *)block)[i], FENCED_BYTE);
	assert_int_equal(
		munmap(fenced_begin(block), fenced_up(taken, FENCED_PAGE) + 2 * FENCED_PAGE), 0);
	__atomic_sub_fetch(&fenced_blocks, 1, __ATOMIC_RELAXED);
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

/* A block of these in place of one that the module was given by others, which is freed. NULL: it is
 * refused. */
static inline void *fenced_instead(void *block, size_t len)
{
	void *copy = fenced_malloc(len);

	if (copy)
		memcpy(copy, block, len);
	free(block);
	return copy;
}

#define malloc(len) fenced_malloc(len)
#define calloc(count, len) fenced_calloc(count, len)
#define realloc(old, len) fenced_realloc(old, len)
#define free(block) fenced_free(block)

#endif
