/* Rank 1: the daemon's relation to who started it: a shell that waits for the mount, or systemd. */
#ifndef PFS_STARTUP_H
#define PFS_STARTUP_H

#include "storage/base.h"

struct pfs_startup {
	int pipe; /* to the parent that waits; -1: in the foreground, or told already */
};

/* Goes into the background. 0: this is the child, which goes on there. 1: this is the parent; the
 * child has said what came of it (pfs_startup_tell), or has ended without a word, which was said on
 * standard error. *code is what the parent's exit code is to be then: 0 only after the mount point
 * has answered. -errno when it can't be done. */
int pfs_startup_background(struct pfs_startup *startup, const char *mountpoint, int *code);

/* In the child: the outcome, an exit code (storage/exit_codes.h). With PFS_EXIT_OK it leaves the
 * terminal, first: stdio goes to /dev/null. Returns false when nobody waits any more (the parent
 * was killed). Does nothing in the foreground. */
bool pfs_startup_tell(struct pfs_startup *startup, int code);

/* sd_notify(3): state is "READY=1" or the like; the rest says in words what goes on (STATUS=).
 * Nothing happens unless NOTIFY_SOCKET is set. */
void pfs_startup_notify(const char *state, const char *fmt, ...) PFS_PRINTF(2, 3);

#endif
