/* One fault for a whole run: the nth call of a kind fails, once or from then on. Calls are those of
 * the I/O table, on a sim, and those that get memory. What the test itself does between calls of
 * the engine is left out: it is armed only while one runs. */
#ifndef PFS_TEST_INJECT_H
#define PFS_TEST_INJECT_H

#include "tests/sim/sim.h"

/* Kinds besides those of the sim. */
#define FAULT_MEMORY PFS_SIM_KINDS
#define FAULT_FULL (PFS_SIM_KINDS + 1)	 /* no call fails by us: the disk has room for `at` bytes */
#define FAULT_THREAD (PFS_SIM_KINDS + 2) /* starting one; err as of the others */
#define FAULT_OWN (PFS_SIM_KINDS + 3)	 /* and on: kinds of a test program's own, see fault_hits */

#define FAULT_SITES_MAX 4096

/* The ways by which calls are made: a hash of the return addresses of each, and its kind. */
struct fault_sites {
	uint64_t at[FAULT_SITES_MAX];
	unsigned kind[FAULT_SITES_MAX];
	size_t count;
};

struct fault {
	unsigned kind;
	int err; /* negative; memory: not used */
	uint64_t at;
	bool from_then_on;
	enum pfs_sim_failed_write failed_writes;
	uint64_t site;		   /* not 0: calls made by another way are not counted */
	struct fault_sites *sites; /* not NULL: each new way of any kind is noted here */

	uint64_t seen;
	bool met;      /* at least one call has failed */
	bool sync_met; /* one of them was a sync */
	bool over;     /* nothing fails any more */
};

/* The fault that holds from now on; NULL: none. Forgets what was allocated before. */
void fault_begin(struct fault *fault);
/* That one. */
const struct fault *fault_now(void);
/* Puts the fault's hooks on a sim. */
void fault_watch(struct pfs_sim *sim);
/* Around each call of the engine. Not nested. */
void fault_arm(void);
void fault_disarm(void);

/* Whether what this thread calls is left out all the same: it is not the one that is tested. */
void fault_exempt(bool on);

/* Whether a call of this kind that is being made, of a file or function of that name, has to fail:
 * for what a test program puts in the place of functions by itself. by: its return address, or
 * NULL. */
bool fault_hits(unsigned kind, const char *name, const void *by);
/* The err of the fault that holds. */
int fault_error(void);

/* Blocks that were got while armed and not freed since; prints where they were got. */
size_t fault_live_blocks(bool print);
/* A block that the engine has given away is the test's from now on. */
void fault_forget(const void *block);

#endif
