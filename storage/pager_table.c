/* The table of pages by their numbers, and which of them are there. */
#include <stdlib.h>

#include "storage/pager_internal.h"

static void count_look(const struct pfs_pager *pager)
{
#ifdef PFS_DEBUG
	__atomic_add_fetch((uint64_t *)(uintptr_t)&pager->looks, 1, __ATOMIC_RELAXED);
#else
	(void)pager;
#endif
}

static void set_bit(struct pfs_bits *bits, unsigned bit, bool on)
{
	uint64_t word = bits->words[bit / 64], any = bits->any;

	word = on ? word | UINT64_C(1) << bit % 64 : word & ~(UINT64_C(1) << bit % 64);
	any = word ? any | UINT64_C(1) << bit / 64 : any & ~(UINT64_C(1) << bit / 64);
	__atomic_store_n(&bits->words[bit / 64], word, __ATOMIC_RELEASE);
	__atomic_store_n(&bits->any, any, __ATOMIC_RELEASE);
}

/* The lowest set bit of word from `from` on; 64: none. */
static unsigned bit_from(const uint64_t *word, unsigned from)
{
	uint64_t bits = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	bits = from < 64 ? bits >> from << from : 0;
	return bits ? (unsigned)__builtin_ctzll(bits) : 64;
}

/* The lowest set bit from `from` on; 4096: none. */
static unsigned find_bit(const struct pfs_bits *bits, unsigned from)
{
	unsigned word = from / 64, bit = word < 64 ? bit_from(&bits->words[word], from % 64) : 64;

	while (bit == 64 && word < 64) {
		word = bit_from(&bits->any, word + 1);
		if (word < 64)
			bit = bit_from(&bits->words[word], 0);
	}
	return word < 64 ? word * 64 + bit : 4096;
}

static struct pfs_table_chunk *chunk_at(const struct pfs_pager *pager, unsigned at)
{
	return __atomic_load_n(&pager->chunks[at], __ATOMIC_ACQUIRE);
}

struct pfs_page *pfs_pager_find(struct pfs_pager *pager, uint32_t number)
{
	struct pfs_table_chunk *chunk;

	count_look(pager);
	if (number > PFS_PAGE_NUMBER_MAX)
		return NULL;
	chunk = chunk_at(pager, number / TABLE_CHUNK);
	return chunk ? __atomic_load_n(&chunk->pages[number % TABLE_CHUNK], __ATOMIC_ACQUIRE)
		     : NULL;
}

uint32_t pfs_pager_next(const struct pfs_pager *pager, uint32_t after)
{
	unsigned at = (after + 1) / TABLE_CHUNK, from = (after + 1) % TABLE_CHUNK;

	if (after >= PFS_PAGE_NUMBER_MAX)
		return 0;
	for (at = find_bit(&pager->occupied, at); at < TABLE_CHUNKS;
	     at = find_bit(&pager->occupied, at + 1)) {
		unsigned first = at == (after + 1) / TABLE_CHUNK ? from : 0;
		unsigned bit = find_bit(&chunk_at(pager, at)->there, first);

		count_look(pager);
		if (bit < TABLE_CHUNK)
			return at * TABLE_CHUNK + bit;
	}
	return 0;
}

struct pfs_page *pfs_pager_next_page(struct pfs_pager *pager, uint32_t after)
{
	uint32_t number = pfs_pager_next(pager, after);

	return number ? pfs_pager_find(pager, number) : NULL;
}

uint32_t pfs_pager_last(const struct pfs_pager *pager)
{
	return __atomic_load_n(&pager->last, __ATOMIC_ACQUIRE);
}

int pfs_pager_publish(struct pfs_pager *pager, struct pfs_page *page)
{
	struct pfs_table_chunk *chunk = pager->chunks[page->number / TABLE_CHUNK];

	if (!chunk) {
		chunk = calloc(1, sizeof(*chunk));
		if (!chunk)
			return -ENOMEM;
		__atomic_store_n(&pager->chunks[page->number / TABLE_CHUNK], chunk,
				 __ATOMIC_RELEASE);
	}
	__atomic_store_n(&chunk->pages[page->number % TABLE_CHUNK], page, __ATOMIC_RELEASE);
	set_bit(&chunk->there, page->number % TABLE_CHUNK, true);
	set_bit(&pager->occupied, page->number / TABLE_CHUNK, true);
	if (page->number > pager->last)
		__atomic_store_n(&pager->last, page->number, __ATOMIC_RELEASE);
	return 0;
}

void pfs_pager_withdraw(struct pfs_pager *pager, struct pfs_page *page)
{
	struct pfs_table_chunk *chunk = pager->chunks[page->number / TABLE_CHUNK];

	__atomic_store_n(&chunk->pages[page->number % TABLE_CHUNK], NULL, __ATOMIC_RELEASE);
	set_bit(&chunk->there, page->number % TABLE_CHUNK, false);
	if (!chunk->there.any)
		set_bit(&pager->occupied, page->number / TABLE_CHUNK, false);
}
