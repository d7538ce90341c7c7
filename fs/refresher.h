/* Rank 0: a thread that has something looked at again and again. */
#ifndef PFS_REFRESHER_H
#define PFS_REFRESHER_H

#include "storage/base.h"

struct pfs_refresher;

/* Calls fn(arg) every so many seconds, counted from the end of one call to the beginning of the
 * next. -errno. */
int pfs_refresher_start(struct pfs_refresher **out, unsigned seconds, void (*fn)(void *arg),
			void *arg);

/* Waits for a call that is under way. NULL is allowed. */
void pfs_refresher_stop(struct pfs_refresher *refresher);

#endif
