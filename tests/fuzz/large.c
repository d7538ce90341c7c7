/* Large allocations of the engine, taken from memory that stays: AddressSanitizer gives each of
 * them a mapping and a shadow of its own and takes both back, and the page faults that follow from
 * that cost most of the time that an input takes. The link replaces malloc and its family
 * (--wrap), and what is smaller or larger than the pool's blocks goes on to the real ones.
 *
 * As theirs, a block ends in poisoned memory at the very byte behind it, is poisoned while it is
 * free, and is not given out again before its neighbour of the same size was; freeing it twice is
 * found. What is not freed at an input's end is a leak (large_open_count). One thread only. */
#include "tests/fuzz/large.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fuzz/asan.h"
#include "tests/fuzz/fuzz.h"

#define LOG2_MIN 14
#define LOG2_MAX 24
#define CLASSES (LOG2_MAX - LOG2_MIN + 1)
#define BLOCKS 16		       /* of each class */
#define RED_ZONE (64 * PFS_KIB)	       /* before and behind each */
#define FILLED 4096		       /* bytes that are no zeros by chance */
#define LEN_MIN (size_t)(16 * PFS_KIB) /* shorter ones are not the pool's */

struct class
{
	uint8_t *base; /* NULL: not used yet */
	size_t stride;
	size_t len[BLOCKS]; /* 0: free */
	unsigned made, next;
};

static struct class classes[CLASSES];
static size_t open_count;

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *old, size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *old, size_t len);
void __wrap_free(void *p);

size_t large_open_count(void)
{
	return open_count;
}

static bool reserve(struct class *class, unsigned log2)
{
	size_t total;
	void *at;

	class->stride = ((size_t)1 << log2) + RED_ZONE;
	total = class->stride * BLOCKS + RED_ZONE;
	at = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1, 0);
	if (at == MAP_FAILED)
		return false;
	class->base = at;
	return true;
}

static uint8_t *block_at(const struct class *class, unsigned i)
{
	return class->base + RED_ZONE + i * class->stride;
}

/* A block of the class; BLOCKS: all are in use. Two take turns, so that what was just freed is not
 * at once another's. */
static unsigned pick(struct class *class)
{
	for (unsigned n = 0; n<class->made &&class->made> 1; n++) {
		unsigned i = (class->next + n) % class->made;

		if (!class->len[i])
			return i;
	}
	if (class->made == BLOCKS)
		return BLOCKS;
	__asan_poison_memory_region(block_at(class, class->made) - RED_ZONE,
				    class->stride + RED_ZONE);
	return class->made++;
}

/* NULL: it is not for the pool, or that is full. */
static void *take(size_t len)
{
	unsigned log2 = LOG2_MIN, i;
	struct class *class;

	if (len < LEN_MIN || len > (size_t)1 << LOG2_MAX)
		return NULL;
	while (len > (size_t)1 << log2)
		log2++;
	class = &classes[log2 - LOG2_MIN];
	if (!class->base && !reserve(class, log2))
		return NULL;
	i = pick(class);
	if (i == BLOCKS)
		return NULL;
	class->next = i + 1;
	class->len[i] = len;
	open_count++;
	__asan_unpoison_memory_region(block_at(class, i), len);
	return block_at(class, i);
}

/* The class of a block of the pool; NULL: it is not from there. */
static struct class *class_of(const void *p, unsigned *i)
{
	const uint8_t *at = p;

	for (struct class *class = classes; class < classes + CLASSES; class ++) {
		if (!class->base || at < class->base || at >= block_at(class, BLOCKS))
			continue;
		*i = (unsigned)((size_t)(at - class->base) / class->stride);
		/* One that was not given out, or freed already, or a place within it. */
		FUZZ_CHECK(at == block_at(class, *i) && class->len[*i]);
		return class;
	}
	return NULL;
}

void *__wrap_malloc(size_t len)
{
	uint8_t *p = take(len);

	if (!p)
		return __real_malloc(len);
	memset(p, 0xbe, pfs_min_u64(len, FILLED));
	return p;
}

void *__wrap_calloc(size_t count, size_t len)
{
	uint8_t *p = len && count > SIZE_MAX / len ? NULL : take(count * len);

	if (!p)
		return __real_calloc(count, len);
	memset(p, 0, count * len);
	return p;
}

void __wrap_free(void *p)
{
	unsigned i;
	struct class *class = class_of(p, &i);

	if (!class) {
		__real_free(p);
		return;
	}
	__asan_poison_memory_region(p, class->len[i]);
	class->len[i] = 0;
	open_count--;
}

void *__wrap_realloc(void *old, size_t len)
{
	unsigned i;
	struct class *class = class_of(old, &i);
	uint8_t *p;

	if (!class)
		return __real_realloc(old, len);
	p = __wrap_malloc(len);
	if (!p)
		return NULL;
	memcpy(p, old, pfs_min_u64(len, class->len[i]));
	__wrap_free(old);
	return p;
}
