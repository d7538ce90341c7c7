/* Rank 1: what the files compact, sync and train of the control directory do, and what they say of
 * it when they are read.
 *
 * Threads. All functions from any. Of each action one is done at a time, the next waits; but a
 * second compaction is refused (-EBUSY), as everywhere. */
#ifndef PFS_ACTIONS_H
#define PFS_ACTIONS_H

#include "storage/store.h"

enum pfs_action { PFS_ACTION_COMPACT, PFS_ACTION_SYNC, PFS_ACTION_TRAIN, PFS_ACTIONS };

struct pfs_actions;

#define PFS_ACTION_TEXT_MAX 512

/* The store and the logger are borrowed. -ENOMEM. */
int pfs_actions_new(struct pfs_actions **out, struct pfs_store *store,
		    const struct pfs_logger *logger);
void pfs_actions_free(struct pfs_actions *actions); /* may be NULL */

/* Does it, and returns when it is done. Errors of the store's functions; -EINTR: *unwanted was set,
 * as any thread may do at any time (atomically), or pfs_actions_stop was called. That ends a
 * compaction wherever it is, and keeps the others from beginning. That a dictionary would be no
 * better is no error. */
int pfs_action_do(struct pfs_actions *actions, enum pfs_action action, bool *unwanted);

/* Nothing begins any more, and a compaction that is at work ends. */
void pfs_actions_stop(struct pfs_actions *actions);

/* What is going on and how the last one ended, in lines. Returns the length. *changed_ns: when that
 * last changed, since the epoch. */
size_t pfs_action_text(struct pfs_actions *actions, enum pfs_action action,
		       char text[PFS_ACTION_TEXT_MAX], int64_t *changed_ns);

#endif
