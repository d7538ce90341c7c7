#include "fs/inode.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/releaser.h"

#define PFS_CHUNK_BITS 14
#define PFS_CHUNK_LEN (1u << PFS_CHUNK_BITS)
#define PFS_CHUNKS (1u << (32 - PFS_CHUNK_BITS))
#define PFS_STRIPES 64u
#define PFS_GENERATION_MAX (UINT32_MAX >> 1)
/* In a reference cell, above the count. */
#define PFS_REFS_UNNAMED (UINT32_C(1) << 31)
#define PFS_REFS_MOVED (UINT32_C(1) << 30)
#define PFS_FIND_TRIES \
	1000 /* each try loses against a release of the very document; more is a broken store */

/* An array of 2^32 counters of which only the chunks that are used exist. A chunk, once there,
 * stays until the end, so that readers need no lock. */
struct pfs_table {
	_Atomic(_Atomic uint32_t *) *chunks; /* PFS_CHUNKS */
	_Atomic uint32_t count;		     /* chunks that exist */
};

struct pfs_stripe {
	pthread_mutex_t lock;
	uint64_t referenced; /* under lock */
	char pad[64];	     /* a stripe to a cache line */
};

struct pfs_inodes {
	struct pfs_store *store;
	struct pfs_releaser *releaser;
	struct pfs_table refs;	      /* written under the object's stripe lock */
	struct pfs_table generations; /* likewise; read without it */
	_Atomic uint64_t releases;    /* raised when a number is given up, under its stripe lock */
	struct pfs_stripe stripes[PFS_STRIPES];
};

static int table_init(struct pfs_table *table)
{
	table->chunks = calloc(PFS_CHUNKS, sizeof(*table->chunks));
	atomic_init(&table->count, 0);
	return table->chunks ? 0 : -ENOMEM;
}

static void table_free(struct pfs_table *table)
{
	for (uint32_t i = 0; table->chunks && i < PFS_CHUNKS && atomic_load(&table->count) > 0;
	     i++) {
		_Atomic uint32_t *chunk = atomic_load(&table->chunks[i]);

		if (!chunk)
			continue;
		atomic_fetch_sub(&table->count, 1);
		free((void *)chunk);
	}
	free((void *)table->chunks);
}

/* NULL: never written. */
static _Atomic uint32_t *table_cell(struct pfs_table *table, uint32_t n)
{
	_Atomic uint32_t *chunk =
		atomic_load_explicit(&table->chunks[n >> PFS_CHUNK_BITS], memory_order_acquire);

	return chunk ? &chunk[n & (PFS_CHUNK_LEN - 1)] : NULL;
}

/* Makes the chunk when it is missing. NULL: no memory. */
static _Atomic uint32_t *table_cell_make(struct pfs_table *table, uint32_t n)
{
	_Atomic uint32_t *cell = table_cell(table, n);
	_Atomic uint32_t *expected = NULL;
	_Atomic uint32_t *chunk;

	if (cell)
		return cell;
	chunk = calloc(PFS_CHUNK_LEN, sizeof(*chunk));
	if (!chunk)
		return NULL;
	/* Two stripes may share a chunk: who comes second uses the first one's. */
	if (atomic_compare_exchange_strong(&table->chunks[n >> PFS_CHUNK_BITS], &expected, chunk))
		atomic_fetch_add(&table->count, 1);
	else
		free((void *)chunk);
	return table_cell(table, n);
}

static uint32_t cell_get(_Atomic uint32_t *cell)
{
	return cell ? atomic_load_explicit(cell, memory_order_acquire) : 0;
}

static void cell_set(_Atomic uint32_t *cell, uint32_t value)
{
	atomic_store_explicit(cell, value, memory_order_release);
}

static uint32_t count_of(uint32_t refs)
{
	return refs & PFS_INODE_REFS_MAX;
}

static struct pfs_stripe *stripe_of(struct pfs_inodes *inodes, uint32_t object)
{
	return &inodes->stripes[object % PFS_STRIPES];
}

int pfs_inodes_new(struct pfs_inodes **out, struct pfs_store *store)
{
	struct pfs_inodes *inodes;

	*out = NULL;
	inodes = calloc(1, sizeof(*inodes));
	if (!inodes)
		return -ENOMEM;
	inodes->store = store;
	for (unsigned i = 0; i < PFS_STRIPES; i++)
		pthread_mutex_init(&inodes->stripes[i].lock, NULL);
	if (table_init(&inodes->refs) || table_init(&inodes->generations) ||
	    pfs_releaser_new(&inodes->releaser, store)) {
		pfs_inodes_free(inodes);
		return -ENOMEM;
	}
	*out = inodes;
	return 0;
}

int pfs_inodes_start(struct pfs_inodes *inodes)
{
	return pfs_releaser_start(inodes->releaser);
}

void pfs_inodes_stop(struct pfs_inodes *inodes)
{
	pfs_releaser_stop(inodes->releaser);
}

void pfs_inodes_free(struct pfs_inodes *inodes)
{
	if (!inodes)
		return;
	pfs_releaser_free(inodes->releaser);
	table_free(&inodes->refs);
	table_free(&inodes->generations);
	for (unsigned i = 0; i < PFS_STRIPES; i++)
		pthread_mutex_destroy(&inodes->stripes[i].lock);
	free(inodes);
}

static uint64_t nodeid_of(struct pfs_inodes *inodes, uint32_t object)
{
	return (uint64_t)cell_get(table_cell(&inodes->generations, object)) << 32 | object;
}

static void change_generation(_Atomic uint32_t *generation)
{
	cell_set(generation, (cell_get(generation) + 1) & PFS_GENERATION_MAX);
}

/* Under the object's stripe lock. */
static int add_reference(struct pfs_inodes *inodes, struct pfs_stripe *stripe, uint32_t object,
			 uint64_t *nodeid)
{
	_Atomic uint32_t *refs = table_cell_make(&inodes->refs, object);
	uint32_t n;

	if (!refs)
		return -ENOMEM;
	n = cell_get(refs);
	if (count_of(n) < PFS_INODE_REFS_MAX)
		cell_set(refs, n + 1);
	if (count_of(n) == 0)
		stripe->referenced++;
	*nodeid = nodeid_of(inodes, object);
	return 0;
}

/* The lookup needs no stripe, for its result is what tells the stripe. So it is made without; when
 * some number has been given up meanwhile, it is made again under the lock (I3). */
int pfs_inode_find(struct pfs_inodes *inodes, const struct pfs_key *key, uint64_t *nodeid,
		   struct pfs_attr *attr)
{
	*nodeid = 0;
	for (int i = 0; i < PFS_FIND_TRIES; i++) {
		uint64_t before = atomic_load(&inodes->releases);
		struct pfs_stripe *stripe;
		uint32_t object, again;
		int err;

		err = pfs_lookup(inodes->store, key, &object, attr);
		if (err)
			return err;
		stripe = stripe_of(inodes, object);
		pthread_mutex_lock(&stripe->lock);
		again = object;
		if (atomic_load(&inodes->releases) != before)
			err = pfs_lookup(inodes->store, key, &again, attr);
		if (!err && again == object)
			err = add_reference(inodes, stripe, object, nodeid);
		pthread_mutex_unlock(&stripe->lock);
		if (err || again == object)
			return err;
	}
	return -EIO;
}

/* Under the object's stripe lock, without references: its node id is given up. What was looked up
 * before is looked up again. Without memory for the new generation (false) the number is not given
 * back: it stays taken until the store is closed. */
static bool give_up(struct pfs_inodes *inodes, uint32_t object)
{
	_Atomic uint32_t *generation = table_cell_make(&inodes->generations, object);

	if (!generation)
		return false;
	change_generation(generation);
	atomic_fetch_add(&inodes->releases, 1);
	return true;
}

/* Under the object's stripe lock, without references, of one that was moved. False: another time.
 */
static bool tidy(struct pfs_inodes *inodes, uint32_t object)
{
	int err;

	/* Who looks its name up can't take a reference before we are done. */
	if (!table_cell_make(&inodes->generations, object))
		return false;
	err = pfs_tidy(inodes->store, object);
	if (!err)
		give_up(inodes, object);
	return err != -EAGAIN;
}

/* Takes references back. True: the object is to be released, without the lock. */
static bool drop_references(struct pfs_inodes *inodes, struct pfs_stripe *stripe, uint32_t object,
			    uint64_t nlookup)
{
	_Atomic uint32_t *refs = table_cell(&inodes->refs, object);
	uint32_t n = cell_get(refs), count = count_of(n);

	if (count == 0 || count == PFS_INODE_REFS_MAX)
		return false;
	/* More than was counted can only be the kernel's mistake; it is not ours to crash over. */
	n -= nlookup < count ? (uint32_t)nlookup : count;
	if (count_of(n) > 0) {
		cell_set(refs, n);
		return false;
	}
	stripe->referenced--;
	if (n & PFS_REFS_UNNAMED) {
		cell_set(refs, 0);
		return give_up(inodes, object);
	}
	if (n & PFS_REFS_MOVED && tidy(inodes, object))
		n = 0;
	cell_set(refs, n);
	return false;
}

void pfs_inode_forget(struct pfs_inodes *inodes, uint64_t nodeid, uint64_t nlookup)
{
	uint32_t object = pfs_inode_object(nodeid);
	struct pfs_stripe *stripe = stripe_of(inodes, object);
	bool gone;

	if (object < PFS_OBJECT_FIRST || nlookup == 0)
		return;
	pthread_mutex_lock(&stripe->lock);
	gone = drop_references(inodes, stripe, object, nlookup);
	pthread_mutex_unlock(&stripe->lock);
	if (gone)
		pfs_releaser_add(inodes->releaser, object);
}

void pfs_inode_unnamed(struct pfs_inodes *inodes, uint32_t object)
{
	struct pfs_stripe *stripe = stripe_of(inodes, object);
	_Atomic uint32_t *refs;
	bool gone = false;

	if (object < PFS_OBJECT_FIRST)
		return;
	pthread_mutex_lock(&stripe->lock);
	refs = table_cell(&inodes->refs, object);
	if (count_of(cell_get(refs)) > 0) {
		cell_set(refs, cell_get(refs) | PFS_REFS_UNNAMED);
	} else {
		if (refs)
			cell_set(refs, 0);
		gone = give_up(inodes, object);
	}
	pthread_mutex_unlock(&stripe->lock);
	if (gone)
		pfs_releaser_add(inodes->releaser, object);
}

void pfs_inode_moved(struct pfs_inodes *inodes, uint32_t object)
{
	struct pfs_stripe *stripe = stripe_of(inodes, object);
	_Atomic uint32_t *refs;

	pthread_mutex_lock(&stripe->lock);
	refs = table_cell(&inodes->refs, object);
	if (count_of(cell_get(refs)) > 0)
		cell_set(refs, cell_get(refs) | PFS_REFS_MOVED);
	pthread_mutex_unlock(&stripe->lock);
}

int pfs_inode_resolve(struct pfs_inodes *inodes, uint64_t nodeid, uint32_t *object)
{
	*object = pfs_inode_object(nodeid);
	if (*object < PFS_OBJECT_FIRST)
		return -ENOENT;
	if (cell_get(table_cell(&inodes->generations, *object)) != pfs_inode_generation(nodeid))
		return -EIO;
	return 0;
}

void pfs_inode_renew(struct pfs_inodes *inodes, uint32_t object)
{
	struct pfs_stripe *stripe = stripe_of(inodes, object);
	_Atomic uint32_t *generation;

	pthread_mutex_lock(&stripe->lock);
	generation = table_cell_make(&inodes->generations, object);
	if (generation)
		change_generation(generation);
	pthread_mutex_unlock(&stripe->lock);
}

void pfs_inodes_refreshed(struct pfs_inodes *inodes)
{
	atomic_fetch_add(&inodes->releases, 1);
	/* Who has looked at that before holds a stripe's lock until the reference is counted. */
	for (unsigned i = 0; i < PFS_STRIPES; i++) {
		pthread_mutex_lock(&inodes->stripes[i].lock);
		pthread_mutex_unlock(&inodes->stripes[i].lock);
	}
}

size_t pfs_inodes_referenced(struct pfs_inodes *inodes, uint32_t first, uint32_t end,
			     uint32_t *objects, size_t max)
{
	uint64_t object = first;
	size_t count = 0;

	while (object < end && count < max) {
		_Atomic uint32_t *cell = table_cell(&inodes->refs, (uint32_t)object);

		if (!cell) {
			object = (object | (PFS_CHUNK_LEN - 1)) + 1;
			continue;
		}
		if (count_of(cell_get(cell)))
			objects[count++] = (uint32_t)object;
		object++;
	}
	return count;
}

uint64_t pfs_inode_known(struct pfs_inodes *inodes, uint32_t object)
{
	struct pfs_stripe *stripe = stripe_of(inodes, object);
	uint64_t nodeid;

	pthread_mutex_lock(&stripe->lock);
	nodeid = count_of(cell_get(table_cell(&inodes->refs, object))) ? nodeid_of(inodes, object)
								       : 0;
	pthread_mutex_unlock(&stripe->lock);
	return nodeid;
}

void pfs_inodes_stat(struct pfs_inodes *inodes, struct pfs_inodes_stat *out)
{
	uint64_t chunks =
		atomic_load(&inodes->refs.count) + atomic_load(&inodes->generations.count);

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < PFS_STRIPES; i++) {
		pthread_mutex_lock(&inodes->stripes[i].lock);
		out->referenced += inodes->stripes[i].referenced;
		pthread_mutex_unlock(&inodes->stripes[i].lock);
	}
	out->releases = atomic_load(&inodes->releases);
	out->bytes = chunks * PFS_CHUNK_LEN * sizeof(uint32_t);
}
