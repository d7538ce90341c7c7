/* Rank 1: read-copy update for the store's readers, on liburcu's "bulletproof" flavour (no thread
 * registration).
 *
 * Between enter and leave a reader may follow pointers to versions, hash tables, mappings and to
 * places in pages. What it could still see is given back or overwritten only after a pfs_epoch_wait
 * that began later than its unpublishing. Sections are short: they copy, they do not decode, and
 * never wait for a lock that is held across I/O.
 *
 * liburcu synchronises with instructions that ThreadSanitizer does not see; the edges are told to
 * it here. */
#ifndef PFS_EPOCH_H
#define PFS_EPOCH_H

void pfs_epoch_enter(void);
void pfs_epoch_leave(void);

/* Waits until every section that was open at the call has been left. Not inside a section. */
void pfs_epoch_wait(void);

#endif
