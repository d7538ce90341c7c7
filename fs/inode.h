/* Rank 1: which objects the kernel knows, and by which node ids.
 *
 * The kernel counts nothing itself: each successful reply to a lookup, a creation or an entry of
 * readdirplus adds one reference to an object, FORGET takes references back. While an object has
 * references its number must not be given to another document. This module counts them and calls
 * pfs_release when the last one goes.
 *
 * Terms.
 *  - object: number in the store (storage/store.h), 32 bits.
 *  - generation: of an object number, 0 at first, 31 bits. Changes when the number is released, and
 *    when the kernel's inode of a document has to be given up (pfs_inode_renew).
 *  - node id: generation << 32 | object, what the kernel calls an inode; its highest bit is never
 *    set. An object whose generation has changed is another inode to the kernel; requests that
 *    still come under the old node id are told apart and refused.
 *
 * Invariants.
 *  - I1: references(object) is the sum, over all its node ids, of replies that the kernel has got
 *    minus what it has forgotten. It saturates: an object that reached PFS_INODE_REFS_MAX is never
 *    released.
 *  - I2: While references(object) > 0, pfs_release(object) is not called.
 *  - I3: A node id that was given to the kernel names the document that had been asked for: a
 * lookup whose result counts as a reference was begun after the last giving up of a number, or was
 * made under the object's lock. What it finds then has not been given up: an object that is
 * released has lost its name before, and one that is tidied up changes its number under that lock.
 *  - I4: An object that lost its name is released once: when both pfs_inode_unnamed was called and
 *    no reference is left. One that still has a name is never released, but tidied up by the store
 * when a rename has moved it and no reference is left.
 *
 * Memory: 4 bytes an object number, in chunks made when a number in them is first referenced;
 * generations likewise at their first change. All functions may be called from any thread, but new,
 * start, stop and free, which frame them. Nothing waits but for short critical sections: numbers
 * are released on a thread of its own (fs/releaser.h). */
#ifndef PFS_INODE_H
#define PFS_INODE_H

#include "storage/store.h"

struct pfs_inodes;

#define PFS_INODE_ROOT UINT64_C(1)
#define PFS_INODE_REFS_MAX ((UINT32_C(1) << 30) - 1)

static inline uint32_t pfs_inode_object(uint64_t nodeid)
{
	return (uint32_t)nodeid;
}

static inline uint32_t pfs_inode_generation(uint64_t nodeid)
{
	return (uint32_t)(nodeid >> 32);
}

/* The store is borrowed and outlives the result. -ENOMEM. */
int pfs_inodes_new(struct pfs_inodes **out, struct pfs_store *store);

/* Starts the thread that releases numbers; without it whoever gives one up waits for that. -EAGAIN.
 */
int pfs_inodes_start(struct pfs_inodes *inodes);

/* Ends it when all that was given up is released. May not have been started, and is called twice.
 */
void pfs_inodes_stop(struct pfs_inodes *inodes);

/* Frees the tables; objects that are still referenced are left to the closing of the store. Stopped
 * before. May be NULL. */
void pfs_inodes_free(struct pfs_inodes *inodes);

/* Looks key up and adds one reference. *attr (not NULL) as of the lookup. Errors of pfs_lookup;
 * -ENOMEM; on error nothing is referenced and *nodeid is 0. */
int pfs_inode_find(struct pfs_inodes *inodes, const struct pfs_key *key, uint64_t *nodeid,
		   struct pfs_attr *attr);

/* Takes nlookup references back; the last one releases the object if I4 says so. */
void pfs_inode_forget(struct pfs_inodes *inodes, uint64_t nodeid, uint64_t nlookup);

/* The object was removed or replaced: released at once when nobody refers to it, else by the last
 * FORGET. */
void pfs_inode_unnamed(struct pfs_inodes *inodes, uint32_t object);

/* The object was given another's name by a rename: the last FORGET lets the store tidy up after it.
 */
void pfs_inode_moved(struct pfs_inodes *inodes, uint32_t object);

/* The object behind a node id. -EIO: the kernel's inode was given up by pfs_inode_renew; -ENOENT:
 * no object number. */
int pfs_inode_resolve(struct pfs_inodes *inodes, uint64_t nodeid, uint32_t *object);

/* Gives the kernel's inode of a referenced object up: from now on its node id resolves to -EIO, and
 * the next lookup answers a new one. The caller has the cached entry invalidated. Without memory
 * for that the inode stays what it was. */
void pfs_inode_renew(struct pfs_inodes *inodes, uint32_t object);

/* Lookups find other objects from now on (pfs_store_refresh): when this returns, no lookup that was
 * begun before adds a reference to one of the old. */
void pfs_inodes_refreshed(struct pfs_inodes *inodes);

/* Some referenced objects of [first, end), ascending: how many, 0: there are none. Only what is
 * referenced all the while is sure to be among them. */
size_t pfs_inodes_referenced(struct pfs_inodes *inodes, uint32_t first, uint32_t end,
			     uint32_t *objects, size_t max);

/* The node id under which the kernel knows the object now; 0: it does not. */
uint64_t pfs_inode_known(struct pfs_inodes *inodes, uint32_t object);

struct pfs_inodes_stat {
	uint64_t referenced; /* objects with references */
	uint64_t releases;   /* numbers given up so far */
	uint64_t bytes;	     /* of the chunks */
};
void pfs_inodes_stat(struct pfs_inodes *inodes, struct pfs_inodes_stat *out);

#endif
