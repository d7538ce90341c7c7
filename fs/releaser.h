/* Rank 0: gives back the numbers of objects that nobody refers to any more, on a thread of its own.
 *
 * To release a number waits for whoever is changing the store. The last FORGET of a removed
 * document leads to it, and libfuse counts a thread that handles a FORGET as one that is free: it
 * starts no other in its place. If it waited, requests could be left that nobody takes, those of
 * readers too (G8).
 *
 * Threads. pfs_releaser_add from any; new, start, stop and free frame it. */
#ifndef PFS_RELEASER_H
#define PFS_RELEASER_H

#include "storage/store.h"

struct pfs_releaser;

/* The store is borrowed. -ENOMEM. */
int pfs_releaser_new(struct pfs_releaser **out, struct pfs_store *store);
/* Stopped before. May be NULL. */
void pfs_releaser_free(struct pfs_releaser *releaser);

/* Starts the thread, which blocks all signals. -EAGAIN. */
int pfs_releaser_start(struct pfs_releaser *releaser);
/* Releases what is left and ends the thread. May not have been started, and is called twice. */
void pfs_releaser_stop(struct pfs_releaser *releaser);

/* pfs_release of the object, soon. On this thread where the other one is not there, or there is no
 * memory to note it. */
void pfs_releaser_add(struct pfs_releaser *releaser, uint32_t object);

#endif
