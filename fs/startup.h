/* Rank 1: the daemon's relation to who started it: a shell that waits for the mount, or systemd. */
#ifndef PFS_STARTUP_H
#define PFS_STARTUP_H

#include "storage/base.h"

struct pfs_startup {
	int pipe; /* to the parent that waits; -1: in the foreground, or told already */
};

/* Goes into the background: returns in the child, which the parent waits for. The parent ends as
 * soon as the child says so (pfs_startup_tell): with code, after having seen that the mount point
 * answers when code is 0. It says so itself when the child has ended without a word. -errno when
 * that can't be done. */
int pfs_startup_background(struct pfs_startup *startup, const char *mountpoint);

/* In the child: the outcome, an exit code (storage/exit_codes.h). With PFS_EXIT_OK it leaves the
 * terminal, first: stdio goes to /dev/null. Returns false when nobody waits any more (the parent
 * was killed). Does nothing in the foreground. */
bool pfs_startup_tell(struct pfs_startup *startup, int code);

/* sd_notify(3): state is "READY=1" or the like; the rest says in words what goes on (STATUS=).
 * Nothing happens unless NOTIFY_SOCKET is set. */
void pfs_startup_notify(const char *state, const char *fmt, ...) PFS_PRINTF(2, 3);

#endif
