/* Rank 0: threads for what takes long, so that those that answer requests never do.
 *
 * Threads are started when there is work and end when there is none; at most as many at once as was
 * asked for, the rest waits its turn. They block all signals. */
#ifndef PFS_JOBS_H
#define PFS_JOBS_H

#include "storage/base.h"

struct pfs_jobs;

typedef void pfs_job_fn(void *arg);

/* -ENOMEM. */
int pfs_jobs_new(struct pfs_jobs **out, unsigned threads_max);

/* Calls fn(arg) once on one of the threads, whatever happens: who stops them has told the jobs
 * before. -ENOMEM, -EAGAIN: there is no thread to be had, and fn will not be called. */
int pfs_jobs_submit(struct pfs_jobs *jobs, pfs_job_fn *fn, void *arg);

/* Waits until all that was submitted is done. No other call comes any more. May be NULL. */
void pfs_jobs_free(struct pfs_jobs *jobs);

#endif
