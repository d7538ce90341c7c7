/* The calls beneath the engine that can fail here, in place of which these programs are linked
 * (--wrap; the Makefile has their names): of the system, of libcrypto and of libcurl. */
#ifndef PFS_TEST_CALLS_H
#define PFS_TEST_CALLS_H

#include "tests/fault/inject.h"

/* Kinds of faults. */
#define FAULT_SYSTEM FAULT_OWN /* a system call has done nothing and gives the fault's err */
#define FAULT_INTERRUPT (FAULT_OWN + 1) /* one that waits for a device gives EINTR */
#define FAULT_LIBRARY \
	(FAULT_OWN + 2) /* a function of a library fails in its way, with NULL or an error */

/* Descriptors of this process that are open. */
unsigned calls_open_descriptors(void);

/* A directory for files, in memory if there is one: what is synced need not reach a disk. */
const char *calls_where(void);

#endif
