/* fs/inode.c: lookup counts, generations, and the release of object numbers. The store is a table
 * of documents, each with the object number that it has just now; releasing a number gives its
 * document another one, as a store may do. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tests/unit/refused_calls.h"

static void *grow_or_fail(void *block, size_t size)
{
	return no_memory ? NULL : realloc(block, size);
}

#define calloc get_or_fail
#define realloc grow_or_fail
#define pthread_create start_or_fail
#define pfs_lookup fake_lookup
#define pfs_release fake_release
#define pfs_tidy fake_tidy
#include "fs/inode.c"
#include "fs/releaser.c"
#undef calloc
#undef realloc
#undef pthread_create

#define DOCUMENTS 64

struct pfs_store {
	pthread_mutex_t lock;
	uint32_t object[DOCUMENTS]; /* of the document with key i; 0: there is none */
	uint32_t document[1 << 20]; /* under a number: its key plus 1; 0: free */
	uint32_t next;
	unsigned released;
	unsigned stray; /* releases of numbers that are free, or of documents with a name */
	bool busy;	/* a writer is at work: tidying has to wait */
	void (*during_release)(void); /* once, before it is done */
	uint32_t last_released;
	void (*during_lookup)(void); /* once, behind the lookup */
	unsigned lookups;
};

static struct pfs_store store;
static struct pfs_inodes *inodes;

static uint32_t number_for(uint32_t key)
{
	uint32_t object;

	do {
		object = PFS_OBJECT_FIRST +
			 store.next++ % (pfs_array_len(store.document) - PFS_OBJECT_FIRST);
	} while (store.document[object]);
	store.document[object] = key + 1;
	return object;
}

int fake_lookup(struct pfs_store *s, const struct pfs_key *key, uint32_t *object,
		struct pfs_attr *attr)
{
	void (*hook)(void);

	assert_ptr_equal(s, &store);
	pthread_mutex_lock(&store.lock);
	*object = store.object[key->num];
	memset(attr, 0, sizeof(*attr));
	store.lookups++;
	hook = store.during_lookup;
	store.during_lookup = NULL;
	pthread_mutex_unlock(&store.lock);
	if (hook)
		hook();
	return *object ? 0 : -ENOENT;
}

void fake_release(struct pfs_store *s, uint32_t object)
{
	void (*hook)(void);

	assert_ptr_equal(s, &store);
	pthread_mutex_lock(&store.lock);
	hook = store.during_release;
	store.during_release = NULL;
	pthread_mutex_unlock(&store.lock);
	if (hook)
		hook();
	pthread_mutex_lock(&store.lock);
	/* Free, or one that has a name. */
	if (!store.document[object] || store.object[store.document[object] - 1] == object)
		store.stray++;
	store.document[object] = 0;
	store.released++;
	store.last_released = object;
	pthread_mutex_unlock(&store.lock);
}

int fake_tidy(struct pfs_store *s, uint32_t object)
{
	uint32_t document;
	int err = store.busy ? -EAGAIN : -EALREADY;

	assert_ptr_equal(s, &store);
	pthread_mutex_lock(&store.lock);
	document = store.document[object];
	if (!store.busy && document && store.object[document - 1] == object) {
		store.document[object] = 0;
		store.object[document - 1] = number_for(document - 1);
		store.released++;
		store.last_released = object;
		err = 0;
	}
	pthread_mutex_unlock(&store.lock);
	return err;
}

/* A document under the key; the one that was there loses its name. Returns the object that did, or
 * 0. */
static uint32_t put(uint32_t key)
{
	uint32_t before;

	pthread_mutex_lock(&store.lock);
	before = store.object[key];
	store.object[key] = number_for(key);
	pthread_mutex_unlock(&store.lock);
	return before;
}

static uint64_t find(uint32_t key)
{
	struct pfs_key k = pfs_key_num(key);
	struct pfs_attr attr;
	uint64_t nodeid;

	assert_int_equal(pfs_inode_find(inodes, &k, &nodeid, &attr), 0);
	return nodeid;
}

static int setup(void **state)
{
	(void)state;
	memset(&store, 0, sizeof(store));
	pthread_mutex_init(&store.lock, NULL);
	return pfs_inodes_new(&inodes, &store);
}

static int teardown(void **state)
{
	(void)state;
	pfs_inodes_free(inodes);
	pthread_mutex_destroy(&store.lock);
	return 0;
}

static uint64_t referenced(void)
{
	struct pfs_inodes_stat stat;

	pfs_inodes_stat(inodes, &stat);
	return stat.referenced;
}

/* Proves (I1, I2): each find is one reference, and the last FORGET of a removed document, not an
 * earlier one, releases its number. */
static void the_last_forget_releases(void **state)
{
	uint64_t nodeid;

	(void)state;
	put(7);
	nodeid = find(7);
	assert_true(pfs_inode_object(nodeid) == store.object[7]);
	assert_true(pfs_inode_known(inodes, pfs_inode_object(nodeid)) == nodeid);
	for (int i = 0; i < 9; i++)
		assert_true(find(7) == nodeid);
	assert_true(referenced() == 1);
	pfs_inode_unnamed(inodes, put(7));
	pfs_inode_forget(inodes, nodeid, 1);
	pfs_inode_forget(inodes, nodeid, 8);
	assert_int_equal(store.released, 0);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	assert_true(store.last_released == pfs_inode_object(nodeid));
	assert_true(referenced() == 0);
	assert_true(pfs_inode_known(inodes, pfs_inode_object(nodeid)) == 0);
}

/* Proves (I4): a document that has its name still is not released, for there is nothing to do; its
 * node id stays good. */
static void documents_with_a_name_stay(void **state)
{
	uint64_t nodeid;
	uint32_t object;

	(void)state;
	put(7);
	nodeid = find(7);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 0);
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), 0);
	assert_true(find(7) == nodeid);
}

/* Proves (I4): one that was moved by a rename is released by its last FORGET, and only by that one.
 */
static void moved_documents(void **state)
{
	uint64_t nodeid;

	(void)state;
	put(7);
	nodeid = find(7);
	pfs_inode_moved(inodes, pfs_inode_object(nodeid));
	assert_int_equal(store.released, 0);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	nodeid = find(7); /* under its new number */
	assert_true(pfs_inode_object(nodeid) == store.object[7]);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	pfs_inode_moved(inodes, pfs_inode_object(nodeid)); /* nobody refers to it: left alone */
	pfs_inode_moved(inodes, 5 * PFS_CHUNK_LEN);	   /* nobody ever did */
	assert_int_equal(store.released, 1);
	assert_true(find(7) == nodeid);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
}

/* The document of another key under this number, which is free. */
static uint64_t find_under(uint32_t key, uint32_t object)
{
	uint64_t nodeid;

	store.next = object - PFS_OBJECT_FIRST;
	put(key);
	assert_int_equal(store.object[key], object);
	nodeid = find(key);
	assert_true(pfs_inode_object(nodeid) == object);
	return nodeid;
}

/* Proves (I4): a number that is used again is a document's that was never moved, whatever its last
 * one was: tidied at its last FORGET, or not, and then removed. */
static void numbers_do_not_stay_moved(void **state)
{
	struct pfs_inodes_stat stat;
	uint32_t object;
	uint64_t nodeid;

	(void)state;
	put(7);
	nodeid = find(7);
	object = pfs_inode_object(nodeid);
	pfs_inode_moved(inodes, object);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	nodeid = find_under(8, object);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);

	assert_true(find(8) == nodeid);
	pfs_inode_moved(inodes, object);
	store.busy = true;
	pfs_inode_forget(inodes, nodeid, 1);
	store.busy = false;
	assert_int_equal(put(8), object);
	pfs_inode_unnamed(inodes, object);
	assert_int_equal(store.released, 2);
	assert_true(pfs_inode_known(inodes, object) == 0);
	nodeid = find_under(9, object);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_true(pfs_inode_known(inodes, object) == 0);
	assert_int_equal(store.released, 2);
	assert_int_equal(store.stray, 0);
	pfs_inodes_stat(inodes, &stat);
	assert_true(stat.bytes == 2 * 4 * PFS_CHUNK_LEN); /* references and generations */
}

/* Proves: what the store can't tidy up now, because that would mean waiting, is done at a later
 * FORGET. */
static void moved_while_a_writer_is_at_work(void **state)
{
	uint64_t nodeid;

	(void)state;
	put(7);
	nodeid = find(7);
	pfs_inode_moved(inodes, pfs_inode_object(nodeid));
	store.busy = true;
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 0);
	assert_true(find(7) == nodeid);
	store.busy = false;
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	assert_true(find(7) != nodeid);
}

static void find_in_the_same_stripe(void)
{
	/* A mutex that this thread held would be waited for until the test's time limit. */
	pfs_inode_forget(inodes, find(8), 1);
}

/* Proves (G8): a release, which may wait for a writer, holds up no lookup, also not of an object
 * that shares its lock. */
static void lookups_during_a_release(void **state)
{
	uint32_t gone;
	uint64_t nodeid;

	(void)state;
	put(7);
	nodeid = find(7);
	gone = put(7);
	store.next = gone + PFS_STRIPES - PFS_OBJECT_FIRST;
	put(8);
	assert_int_equal(store.object[8] % PFS_STRIPES, gone % PFS_STRIPES);
	pfs_inode_unnamed(inodes, gone);
	store.during_release = find_in_the_same_stripe;
	pfs_inode_forget(inodes, nodeid, 1);
	assert_null(store.during_release);
	assert_int_equal(store.released, 1);
}

static sem_t let_go;

static void wait_for_a_writer(void)
{
	sem_wait(&let_go);
}

/* Proves (G8): with the thread that releases, FORGET waits for no writer; what it gives up is
 * released all the same, all of it before the thread ends, and without it at once. */
static void forget_waits_for_no_writer(void **state)
{
	uint64_t nodeids[3 * CAP_FIRST];

	(void)state;
	sem_init(&let_go, 0, 0);
	assert_int_equal(pfs_inodes_start(inodes), 0);
	store.during_release = wait_for_a_writer;
	for (uint32_t i = 0; i < pfs_array_len(nodeids); i++) {
		put(i % DOCUMENTS);
		nodeids[i] = find(i % DOCUMENTS);
		pfs_inode_unnamed(inodes, put(i % DOCUMENTS));
		/* If it waited, this would be until the test's time limit. */
		pfs_inode_forget(inodes, nodeids[i], 1);
	}
	pthread_mutex_lock(&store.lock);
	assert_int_equal(store.released, 0);
	pthread_mutex_unlock(&store.lock);
	sem_post(&let_go);
	pfs_inodes_stop(inodes);
	assert_int_equal(store.released, pfs_array_len(nodeids));
	assert_int_equal(store.stray, 0);
	pfs_inodes_stop(inodes);
	store.released = 0;
	pfs_inode_unnamed(inodes, put(1));
	assert_int_equal(store.released, 1);
	sem_destroy(&let_go);
}

/* Proves: a single one that is given up is released by the thread, also when nothing follows. */
static void the_thread_releases_each(void **state)
{
	const struct timespec while_it_does = {.tv_nsec = 1000000};
	uint64_t nodeid;

	(void)state;
	assert_int_equal(pfs_inodes_start(inodes), 0);
	for (unsigned done = 0, i = 1; i <= 2; i++) {
		put(1);
		nodeid = find(1);
		pfs_inode_unnamed(inodes, put(1));
		pfs_inode_forget(inodes, nodeid, 1);
		for (unsigned waited = 0; done < i; waited++) {
			assert_true(waited < 60000);
			nanosleep(&while_it_does, NULL);
			pthread_mutex_lock(&store.lock);
			done = (unsigned)store.released;
			pthread_mutex_unlock(&store.lock);
		}
	}
	pfs_inodes_stop(inodes);
	assert_int_equal(store.stray, 0);
}

/* Proves: a number that was given up so often that its generation begins anew has a node id without
 * the highest bit, which says that the control directory is meant. */
static void generations_wrap(void **state)
{
	uint64_t nodeid;
	uint32_t object;

	(void)state;
	put(5);
	nodeid = find(5);
	cell_set(table_cell_make(&inodes->generations, pfs_inode_object(nodeid)), INT32_MAX);
	nodeid = find(5);
	assert_true(nodeid >> 63 == 0);
	assert_true(pfs_inode_generation(nodeid) == INT32_MAX);
	pfs_inode_renew(inodes, pfs_inode_object(nodeid));
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), -EIO);
	nodeid = find(5);
	assert_true(pfs_inode_generation(nodeid) == 0);
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), 0);
	cell_set(table_cell(&inodes->generations, pfs_inode_object(nodeid)), INT32_MAX);
	nodeid = find(5);
	pfs_inode_unnamed(inodes, put(5));
	pfs_inode_forget(inodes, nodeid, 4);
	assert_int_equal(store.released, 1);
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), -EIO);
	assert_true(nodeid_of(inodes, object) >> 63 == 0);
}

/* Proves (I4): whatever comes first, the last FORGET or pfs_inode_unnamed, an object that lost its
 * name is released once. */
static void released_once(void **state)
{
	uint64_t nodeid;
	uint32_t replaced;

	(void)state;
	put(7);
	nodeid = find(7);
	pfs_inode_moved(inodes, pfs_inode_object(nodeid));
	replaced = put(7);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 0);
	pfs_inode_unnamed(inodes, replaced);
	assert_int_equal(store.released, 1);

	nodeid = find(7);
	replaced = put(7);
	pfs_inode_unnamed(inodes, replaced);
	assert_int_equal(store.released, 1);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 2);
	assert_int_equal(store.stray, 0);
}

/* Proves: a name that is not there costs nothing and answers no node id. */
static void missing_names(void **state)
{
	struct pfs_key key = pfs_key_num(3);
	struct pfs_attr attr;
	uint64_t nodeid = 99;

	(void)state;
	assert_int_equal(pfs_inode_find(inodes, &key, &nodeid, &attr), -ENOENT);
	assert_true(nodeid == 0);
	assert_true(referenced() == 0);
}

/* Proves: a number that is used again is another inode to the kernel, and the old node id is
 * refused. */
static void reuse_changes_the_generation(void **state)
{
	uint64_t before, after;
	uint32_t object;

	(void)state;
	put(1);
	before = find(1);
	pfs_inode_unnamed(inodes, put(1));
	pfs_inode_forget(inodes, before, 1);
	store.next = 0; /* the free number is the first that is tried */
	put(1);
	after = find(1);
	assert_true(pfs_inode_object(after) == pfs_inode_object(before));
	assert_true(after != before);
	assert_int_equal(pfs_inode_resolve(inodes, before, &object), -EIO);
	assert_int_equal(pfs_inode_resolve(inodes, after, &object), 0);
	assert_true(object == pfs_inode_object(after));
}

/* Proves: a removed document keeps its number while the kernel knows it, and loses it at once when
 * it does not. */
static void removed_documents(void **state)
{
	uint64_t nodeid;
	uint32_t object, replaced;

	(void)state;
	put(1);
	nodeid = find(1);
	replaced = put(1);
	assert_true(replaced == pfs_inode_object(nodeid));
	pfs_inode_unnamed(inodes, replaced);
	assert_int_equal(store.released, 0);
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), 0);
	assert_true(object == replaced);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	assert_true(store.last_released == replaced);

	replaced = put(1);
	pfs_inode_unnamed(inodes, replaced);
	assert_int_equal(store.released, 2);
	assert_true(store.last_released == replaced);
	pfs_inode_unnamed(inodes, 0); /* "nothing was replaced" */
	assert_int_equal(store.released, 2);
}

/* Proves: an inode that is given up answers EIO, the name leads to a new one of the same object,
 * and the references of both are counted together. */
static void renewed_inodes(void **state)
{
	uint64_t old, renewed;
	uint32_t object;

	(void)state;
	put(5);
	old = find(5);
	pfs_inode_renew(inodes, pfs_inode_object(old));
	assert_int_equal(pfs_inode_resolve(inodes, old, &object), -EIO);
	renewed = find(5);
	assert_true(renewed != old);
	assert_true(pfs_inode_object(renewed) == pfs_inode_object(old));
	assert_int_equal(pfs_inode_resolve(inodes, renewed, &object), 0);
	pfs_inode_unnamed(inodes, put(5));
	pfs_inode_forget(inodes, old, 1);
	assert_int_equal(store.released, 0);
	pfs_inode_forget(inodes, renewed, 1);
	assert_int_equal(store.released, 1);
}

/* Proves: the root and impossible node ids do no harm. */
static void not_documents(void **state)
{
	uint32_t object;

	(void)state;
	pfs_inode_forget(inodes, PFS_INODE_ROOT, 5);
	pfs_inode_forget(inodes, 0, 1);
	pfs_inode_forget(inodes, 4711, 1); /* never referenced */
	assert_int_equal(store.released, 0);
	assert_int_equal(pfs_inode_resolve(inodes, PFS_INODE_ROOT, &object), -ENOENT);
	assert_int_equal(pfs_inode_resolve(inodes, 0, &object), -ENOENT);
}

/* Proves: a FORGET of more than was counted releases once and does not wrap around. */
static void too_many_forgets(void **state)
{
	uint64_t nodeid;

	(void)state;
	put(2);
	nodeid = find(2);
	find(2);
	pfs_inode_unnamed(inodes, put(2));
	pfs_inode_forget(inodes, nodeid, UINT64_MAX);
	assert_int_equal(store.released, 1);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);
	assert_true(referenced() == 0);
}

/* Proves: a count at its limit stays there: the number is never given to another document, and
 * never counts as free. */
static void counts_saturate(void **state)
{
	uint64_t nodeid;

	(void)state;
	put(2);
	nodeid = find(2);
	cell_set(table_cell(&inodes->refs, pfs_inode_object(nodeid)), PFS_INODE_REFS_MAX - 1);
	find(2);
	find(2);
	assert_true(cell_get(table_cell(&inodes->refs, pfs_inode_object(nodeid))) ==
		    PFS_INODE_REFS_MAX);
	pfs_inode_unnamed(inodes, put(2));
	pfs_inode_forget(inodes, nodeid, PFS_INODE_REFS_MAX - 1);
	pfs_inode_forget(inodes, nodeid, 5);
	assert_int_equal(store.released, 0);
	assert_true(pfs_inode_known(inodes, pfs_inode_object(nodeid)) == nodeid);
}

static uint64_t forgotten_during_lookup;

static void forget_it(void)
{
	pfs_inode_forget(inodes, forgotten_during_lookup, 1);
}

/* Proves (I3): when the number that a lookup has found is released before the reference is counted,
 * the answer is the number that the document has got since. */
static void release_between_lookup_and_count(void **state)
{
	uint64_t nodeid;
	uint32_t object;

	(void)state;
	put(1);
	forgotten_during_lookup = find(1);
	pfs_inode_moved(inodes, pfs_inode_object(forgotten_during_lookup));
	store.during_lookup = forget_it;
	nodeid = find(1);
	assert_int_equal(store.released, 1);
	assert_true(pfs_inode_object(nodeid) != pfs_inode_object(forgotten_during_lookup));
	assert_true(pfs_inode_object(nodeid) == store.object[1]);
	assert_int_equal(pfs_inode_resolve(inodes, nodeid, &object), 0);
	assert_true(object == store.object[1]);
}

static void remove_it(void)
{
	uint32_t object = store.object[1];

	store.object[1] = 0;
	pfs_inode_unnamed(inodes, object);
}

/* Proves (I3): a document that is removed and released meanwhile is not there. */
static void removal_between_lookup_and_count(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint64_t nodeid;

	(void)state;
	put(1);
	store.during_lookup = remove_it;
	assert_int_equal(pfs_inode_find(inodes, &key, &nodeid, &attr), -ENOENT);
	assert_true(nodeid == 0);
	assert_true(referenced() == 0);
}

/* Proves: of any range the referenced objects come in order, as many as are asked for, also where
 * nothing was ever referenced in between; what is forgotten is not among them. */
static void referenced_objects_are_listed(void **state)
{
	static const uint32_t objects[] = {PFS_OBJECT_FIRST,	  PFS_OBJECT_FIRST + 1,
					   PFS_CHUNK_LEN - 1,	  PFS_CHUNK_LEN,
					   5 * PFS_CHUNK_LEN - 1, UINT32_MAX};
	enum { COUNT = sizeof(objects) / sizeof(objects[0]) };
	uint64_t nodeid;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(
			add_reference(inodes, stripe_of(inodes, objects[i]), objects[i], &nodeid),
			0);
	for (unsigned forgotten = 0; forgotten < 2; forgotten++) {
		for (size_t a = 0; a < 3 * COUNT; a++) {
			for (size_t b = a; b < 3 * COUNT; b += 1 + a % 2) {
				/* At each of them, before and behind it. */
				uint32_t first = objects[a / 3] - 1 + (uint32_t)(a % 3);
				uint32_t end = objects[b / 3] - 1 + (uint32_t)(b % 3);
				uint32_t want[COUNT], got[COUNT + 1];
				size_t n = 0;

				for (size_t i = 0; i < COUNT; i++)
					if (objects[i] >= first && objects[i] < end &&
					    !(forgotten && i % 2))
						want[n++] = objects[i];
				for (size_t max = n ? n - 1 : 0; max <= n + 1; max++) {
					size_t wanted = max < n ? max : n;

					assert_int_equal(
						pfs_inodes_referenced(inodes, first, end, got, max),
						wanted);
					assert_memory_equal(got, want, wanted * sizeof(got[0]));
				}
			}
		}
		for (size_t i = 1; i < COUNT && !forgotten; i += 2)
			pfs_inode_forget(inodes, objects[i], 1);
	}
}

/* Proves: the first object of a piece of the table is found from far before it. */
static void referenced_objects_begin_pieces(void **state)
{
	const uint32_t object = 3 * PFS_CHUNK_LEN;
	uint32_t got[2];
	uint64_t nodeid;

	(void)state;
	assert_int_equal(add_reference(inodes, stripe_of(inodes, object), object, &nodeid), 0);
	assert_int_equal(pfs_inodes_referenced(inodes, PFS_OBJECT_FIRST, UINT32_MAX, got, 2), 1);
	assert_int_equal(got[0], object);
	pfs_inode_forget(inodes, nodeid, 1);
}

/* Proves: without memory a lookup fails; a number whose node id can't be changed stays taken, or is
 * tidied at a later FORGET; what can't be noted for the thread is released at once; and where there
 * is no thread that is an error. */
static void without_memory_nothing_is_lost(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint64_t nodeid;

	(void)state;
	put(1);
	put(2);
	no_memory = true;
	assert_int_equal(pfs_inode_find(inodes, &key, &nodeid, &attr), -ENOMEM);
	assert_true(nodeid == 0);
	pfs_inode_unnamed(inodes, put(2));
	assert_int_equal(store.released, 0);
	no_memory = false;
	nodeid = find(1);
	pfs_inode_moved(inodes, pfs_inode_object(nodeid));
	no_memory = true;
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 0);
	no_memory = false;
	assert_true(find(1) == nodeid);
	pfs_inode_forget(inodes, nodeid, 1);
	assert_int_equal(store.released, 1);

	nodeid = find(2);
	thread_err = EAGAIN;
	assert_int_equal(pfs_inodes_start(inodes), -EAGAIN);
	thread_err = 0;
	assert_int_equal(pfs_inodes_start(inodes), 0);
	pfs_inode_unnamed(inodes, put(2));
	no_memory = true;
	pfs_inode_forget(inodes, nodeid, 1);
	no_memory = false;
	assert_int_equal(store.released, 2);
	pfs_inodes_stop(inodes);
	assert_int_equal(store.stray, 0);
}

static void refresh_meanwhile(void)
{
	put(1);
	pfs_inodes_refreshed(inodes);
}

/* Proves: a lookup that was begun before the names lead elsewhere has what they lead to now. */
static void refresh_between_lookup_and_count(void **state)
{
	struct pfs_inodes_stat before, after;
	uint64_t nodeid;

	(void)state;
	put(1);
	pfs_inodes_stat(inodes, &before);
	store.during_lookup = refresh_meanwhile;
	nodeid = find(1);
	assert_true(pfs_inode_object(nodeid) == store.object[1]);
	assert_true(referenced() == 1);
	pfs_inodes_stat(inodes, &after);
	assert_true(after.releases == before.releases + 1);
}

/* Proves: a million inodes that the kernel knows cost 4 bytes each, and the greatest number works
 * like any other. */
static void memory_an_inode(void **state)
{
	const uint32_t count = 1000000, highest = UINT32_MAX;
	struct pfs_stripe *stripe;
	struct pfs_inodes_stat stat;
	uint64_t nodeid;

	(void)state;
	for (uint32_t object = PFS_OBJECT_FIRST; object < PFS_OBJECT_FIRST + count; object++) {
		stripe = stripe_of(inodes, object);
		assert_int_equal(add_reference(inodes, stripe, object, &nodeid), 0);
		assert_true(nodeid == object);
	}
	assert_int_equal(add_reference(inodes, stripe_of(inodes, highest), highest, &nodeid), 0);
	assert_true(nodeid == highest);
	pfs_inodes_stat(inodes, &stat);
	assert_true(stat.referenced == count + 1);
	assert_true(stat.bytes <= 4 * ((uint64_t)count + 2 * PFS_CHUNK_LEN));
}

#define ROUNDS 20000

/* Looks documents up and forgets them; while it refers to one, its number must stand for nothing
 * else. */
static void *hammer(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	bool move = false;

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t key = (uint32_t)rand_r(&seed) % 4;
		struct pfs_key k = pfs_key_num(key);
		struct pfs_attr attr;
		uint64_t nodeid;
		uint32_t object, owner;
		int err;

		if (rand_r(&seed) % 16 == 0)
			pfs_inode_unnamed(inodes, put(key));
		if (rand_r(&seed) % 8 == 0)
			move = true;
		err = pfs_inode_find(inodes, &k, &nodeid, &attr);
		if (err)
			return "find failed";
		if (pfs_inode_resolve(inodes, nodeid, &object) != 0)
			return "a node id was stale although it is referenced";
		pthread_mutex_lock(&store.lock);
		owner = store.document[object];
		pthread_mutex_unlock(&store.lock);
		if (owner != key + 1)
			return "a number stands for another document although it is referenced";
		if (move)
			pfs_inode_moved(inodes, object);
		move = false;
		pfs_inode_forget(inodes, nodeid, 1);
	}
	return NULL;
}

/* Proves (I1-I3) that they hold with threads that look up, forget, move and replace the same few
 * documents; under TSan also that nothing is read unprotected. */
static void threads_keep_the_invariants(void **state)
{
	pthread_t threads[4];
	void *complaint;

	(void)state;
	for (uint32_t key = 0; key < 4; key++)
		put(key);
	assert_int_equal(pfs_inodes_start(inodes), 0);
	for (uintptr_t i = 0; i < pfs_array_len(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
	for (size_t i = 0; i < pfs_array_len(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &complaint), 0);
		if (complaint)
			fail_msg("%s", (char *)complaint);
	}
	pfs_inodes_stop(inodes);
	assert_true(referenced() == 0);
	assert_int_equal(store.stray, 0);
}

static void rest(void);

static void replace_it(void)
{
	pfs_inode_unnamed(inodes, put(1));
	store.during_lookup = rest;
}

static void rest(void)
{
	store.during_lookup = replace_it;
}

/* Proves: a name that is another document's at each look, as of a broken store, is an error in the
 * end, of which nothing stays referenced; and so it is when it rests again. */
static void a_name_that_never_rests(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	uint64_t nodeid;

	(void)state;
	put(1);
	store.during_lookup = replace_it;
	assert_int_equal(pfs_inode_find(inodes, &key, &nodeid, &attr), -EIO);
	assert_int_equal(nodeid, 0);
	assert_int_equal(store.lookups, 2 * PFS_FIND_TRIES);
	assert_int_equal(referenced(), 0);
	store.during_lookup = NULL;
	pfs_inode_forget(inodes, find(1), 1);
	assert_int_equal(store.stray, 0);
	pfs_inodes_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_forget_releases, setup, teardown),
		cmocka_unit_test_setup_teardown(documents_with_a_name_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_do_not_stay_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_while_a_writer_is_at_work, setup, teardown),
		cmocka_unit_test_setup_teardown(lookups_during_a_release, setup, teardown),
		cmocka_unit_test_setup_teardown(forget_waits_for_no_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_thread_releases_each, setup, teardown),
		cmocka_unit_test_setup_teardown(generations_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(released_once, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_names, setup, teardown),
		cmocka_unit_test_setup_teardown(reuse_changes_the_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(removed_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(renewed_inodes, setup, teardown),
		cmocka_unit_test_setup_teardown(not_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_forgets, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_saturate, setup, teardown),
		cmocka_unit_test_setup_teardown(release_between_lookup_and_count, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_between_lookup_and_count, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_never_rests, setup, teardown),
		cmocka_unit_test_setup_teardown(referenced_objects_are_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(referenced_objects_begin_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(refresh_between_lookup_and_count, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_an_inode, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_keep_the_invariants, setup, teardown),
	};

	return cmocka_run_group_tests_name("inode", tests, NULL, NULL);
}
