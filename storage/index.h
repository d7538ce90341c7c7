/* Rank 4: object numbers, their words, the hash from key to object, and the cookies of listings. In
 * memory; derived from the pages.
 *
 * An object's *word* says where its document is: 0 nowhere, a place in a page, or a pointer to a
 * pending version. The key itself is not kept here: a candidate from the hash is compared where its
 * word points to.
 *
 * I1: an object that has a name is in the hash exactly once, under its key's hash, or in a run
 * (index_runs.h) under the number that is its key. One in a run is found for as long as its word
 * leads to that key, whatever was removed; so nobody looks for a name that is on its way.
 * I2: a name's cookie is its object's number unless the name was given to another object by a
 * rename; only such exceptions are stored. I3: a number is given to a new object only when its word
 * is 0 and its place in the listing belongs to nobody.
 *
 * Locks. Changes: the store's commit lock. Words and the hash are read by any thread inside an
 * epoch section; the exceptions of cookies under their own mutex (innermost). */
#ifndef PFS_INDEX_H
#define PFS_INDEX_H

#include "storage/base.h"
#include "storage/key.h"

struct pfs_index;
struct pfs_version;

#define PFS_OBJECT_NONE 0u

/* Words. */
#define PFS_WORD_STATE_SHIFT 62
#define PFS_WORD_PAGE (UINT64_C(1) << PFS_WORD_STATE_SHIFT)
#define PFS_WORD_VERSION (UINT64_C(2) << PFS_WORD_STATE_SHIFT)

static inline bool pfs_word_is_page(uint64_t word)
{
	return word >> PFS_WORD_STATE_SHIFT == 1;
}

static inline bool pfs_word_is_version(uint64_t word)
{
	return word >> PFS_WORD_STATE_SHIFT == 2;
}

static inline uint64_t pfs_word_page(uint32_t page, uint32_t slot)
{
	return PFS_WORD_PAGE | (uint64_t)page << 24 | slot;
}

static inline uint32_t pfs_word_page_number(uint64_t word)
{
	return (uint32_t)(word >> 24) & 0xffffffu;
}

static inline uint32_t pfs_word_slot(uint64_t word)
{
	return (uint32_t)word & 0xffffffu;
}

/* User-space pointers have at most 57 bits; versions are at least 8-byte aligned. */
static inline uint64_t pfs_word_version(const struct pfs_version *version)
{
	return PFS_WORD_VERSION | (uint64_t)(uintptr_t)version;
}

static inline struct pfs_version *pfs_word_to_version(uint64_t word)
{
	return (struct pfs_version *)(uintptr_t)(word & ~(UINT64_C(3) << PFS_WORD_STATE_SHIFT));
}

int pfs_index_new(struct pfs_index **out);
void pfs_index_free(struct pfs_index *index);

/* The hash of a key, from what a slot says of it. */
uint32_t pfs_index_hash(unsigned kind, uint64_t tag);

/* A number whose word is 0. -ENOMEM, -ENOSPC when there are none left. */
int pfs_index_alloc(struct pfs_index *index, uint32_t *object);

/* Makes the number free for another object: its word becomes 0. */
void pfs_index_release(struct pfs_index *index, uint32_t object);

uint64_t pfs_index_word(const struct pfs_index *index, uint32_t object);
void pfs_index_set_word(struct pfs_index *index, uint32_t object, uint64_t word);

/* The hash that the object was inserted with. */
uint32_t pfs_index_stored_hash(const struct pfs_index *index, uint32_t object);

/* Before the word or the hash of an object that was there when the store was opened is changed for
 * the first time. -ENOMEM. */
int pfs_index_touch(struct pfs_index *index, uint32_t object);

/* While a store is opened, and nobody else looks: the next count numbers are objects in slots that
 * follow one another, the first at `word`, under the keys number, number + 1, ...; after end_runs
 * they are found as if inserted. -ENOMEM; -EUCLEAN: that can't be, or, of end_runs, a number is in
 * two of them; then they have to be dissolved. */
int pfs_index_add_run(struct pfs_index *index, uint64_t word, uint32_t count, uint64_t number);
int pfs_index_end_runs(struct pfs_index *index);

/* How many objects from this one on are as a run says, in slots and with numbers that follow one
 * another: 0 if this one is not. number: its key. */
uint32_t pfs_index_in_run(const struct pfs_index *index, uint32_t object, uint64_t *number);

/* Makes all that is in runs objects like any others. -ENOMEM. */
int pfs_index_dissolve_runs(struct pfs_index *index);

/* Of so many objects fewer in a row are to be inserted: a search through more than some thousand
 * runs would take longer than the hash. */
static inline uint32_t pfs_index_run_min(uint64_t objects)
{
	return (uint32_t)pfs_min_u64(pfs_max_u64(objects / 4096, 256), UINT32_MAX);
}

/* One more than the highest number ever used. */
uint32_t pfs_index_end(const struct pfs_index *index);

/* Hash. insert: -ENOMEM. What insert and grow replace is freed by pfs_index_reclaim, after an
 * epoch. */
int pfs_index_insert(struct pfs_index *index, uint32_t object, uint32_t hash);
void pfs_index_remove(struct pfs_index *index, uint32_t object, uint32_t hash);
/* `with` takes the place of `object` in one step. */
void pfs_index_replace(struct pfs_index *index, uint32_t object, uint32_t with, uint32_t hash);
/* For an insertion of it that comes soon. */
void pfs_index_prefetch_hash(const struct pfs_index *index, uint32_t hash);
/* So that the next n insertions need no memory. */
int pfs_index_reserve(struct pfs_index *index, uint64_t n);

/* Candidates for a hash, inside an epoch section: next gives one after the other, 0 at the end. All
 * that have the hash are among them; a few have another (pfs_index_stored_hash). */
struct pfs_probe {
	const void *table;
	uint64_t at, left;
	uint32_t tag;
	uint32_t in_run;
};
void pfs_probe_key(struct pfs_probe *probe, const struct pfs_index *index, unsigned kind,
		   uint64_t tag);
/* The same by the hash alone, without what is in runs. */
void pfs_probe_begin(struct pfs_probe *probe, const struct pfs_index *index, uint32_t hash);
uint32_t pfs_probe_next(struct pfs_probe *probe);

/* Brings what the first pfs_probe_next, or pfs_index_word, will read into the processor's cache, in
 * the background. Epoch section. */
void pfs_probe_prefetch(const struct pfs_probe *probe);
void pfs_index_prefetch(const struct pfs_index *index, uint32_t object);

/* A name changes hands in several steps. Commit lock: called before the first and after the last of
 * them, with nothing in between that waits. Who finds no name, or finds one at a place, looks again
 * if there was such a change meanwhile. */
void pfs_index_moving(struct pfs_index *index);

/* For those who look: begin, look, and look again while pfs_index_moved says so. Any thread. */
uint64_t pfs_index_moves(const struct pfs_index *index);
bool pfs_index_moved(struct pfs_index *index, uint64_t moves);

/* Cookies. */
uint32_t pfs_index_cookie(struct pfs_index *index, uint32_t object);
/* The object whose name is at this place of the listing; 0: none. */
uint32_t pfs_index_at_cookie(struct pfs_index *index, uint32_t cookie);
/* Object now stands at `cookie`; vacate its former place with pfs_index_vacate first where that has
 * no other object. */
int pfs_index_set_cookie(struct pfs_index *index, uint32_t object, uint32_t cookie);
/* Nobody's name stands at this place any more. */
int pfs_index_vacate(struct pfs_index *index, uint32_t cookie);
/* Memory for the exceptions of one more rename. -ENOMEM. */
int pfs_index_reserve_cookies(struct pfs_index *index);
/* If the living object stands at a place whose own number is free, it gets that number (which is
 * returned), else 0. */
uint32_t pfs_index_renumber(struct pfs_index *index, uint32_t object);

/* Frees what was replaced before the last epoch wait: detach under the commit lock, wait, reclaim.
 */
void *pfs_index_detach(struct pfs_index *index);
void pfs_index_reclaim(void *detached);

uint64_t pfs_index_bytes(const struct pfs_index *index);

#endif
