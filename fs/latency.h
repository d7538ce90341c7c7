/* Rank 1: keeps the processors from sleeping while requests come. Where the kernel lets idle ones
 * sleep deeply, waking one up is the most of what a request takes; a process that holds
 * /dev/cpu_dma_latency open with a latency of 0 forbids it, for the whole machine and at the cost
 * of power (Documentation/power/pm_qos_interface.rst of Linux). So it is held from the first
 * request until none has come for PFS_LATENCY_HOLD_MS.
 *
 * Threads: pfs_latency_note from any, between start and stop. */
#ifndef PFS_LATENCY_H
#define PFS_LATENCY_H

#include "storage/log.h"

#define PFS_LATENCY_DEVICE "/dev/cpu_dma_latency"
#define PFS_LATENCY_HOLD_MS 20

struct pfs_latency;

/* path: of the device, borrowed as the logger is. -ENOMEM. */
int pfs_latency_new(struct pfs_latency **out, const char *path, const struct pfs_logger *logger);
/* Stopped before. May be NULL. */
void pfs_latency_free(struct pfs_latency *latency);

/* Starts its thread. When the device is not there, or not for this user, that is logged and all
 * goes on without it. -EAGAIN. */
int pfs_latency_start(struct pfs_latency *latency);
/* Lets go and ends the thread. May be NULL, may not have been started, and is called twice. */
void pfs_latency_stop(struct pfs_latency *latency);

/* A request has come. May be NULL. */
void pfs_latency_note(struct pfs_latency *latency);

#endif
