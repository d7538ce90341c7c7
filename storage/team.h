/* Rank 1: threads that do jobs ahead of somebody who needs what these make, one after the other. He
 * does jobs himself while he would have to wait for one, so that a team without a single thread
 * serves, too, and none of its threads has to be awake for him to get on.
 *
 * One run at a time: whoever finds the team taken does his work without it. */
#ifndef PFS_TEAM_H
#define PFS_TEAM_H

#include "storage/base.h"

struct pfs_team;

#define PFS_TEAM_THREADS_MAX 7u
#define PFS_TEAM_AHEAD_MAX 64u

/* Does the job with this number. Several are done at once, each by one thread. */
typedef void pfs_team_fn(void *arg, size_t job);

/* With one thread less than there are processors, up to max and PFS_TEAM_THREADS_MAX, or as many as
 * can be had. -ENOMEM. */
int pfs_team_new(struct pfs_team **out, unsigned max);

/* When no run is under way. NULL is allowed. */
void pfs_team_free(struct pfs_team *team);

/* Begins a run of jobs 0 to jobs - 1. ahead, 1 to PFS_TEAM_AHEAD_MAX: so many jobs, the one that is
 * waited for among them, are begun and not done with at any time, so that what they make needs no
 * more places. False: there is another run. */
bool pfs_team_begin(struct pfs_team *team, pfs_team_fn *fn, void *arg, size_t jobs, size_t ahead);

/* Returns when the job is done. Each in turn, from 0 on: what the ones before it have made is
 * needed no longer. */
void pfs_team_wait(struct pfs_team *team, size_t job);

/* Ends the run: jobs that were not begun are not done. Returns how many were begun, from 0 on; none
 * of them is still being done. */
size_t pfs_team_end(struct pfs_team *team);

#endif
