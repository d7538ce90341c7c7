/* A file of a simulated disk that can't be opened, at one of the times that somebody tries. */
#ifndef PFS_TEST_FAILING_OPEN_H
#define PFS_TEST_FAILING_OPEN_H

#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

struct failing_open {
	const char *name;
	unsigned seen, at; /* the at-th time, from 1 */
};

/* For pfs_sim_on_look; arg: a struct failing_open. */
static inline int fail_open(void *arg, const struct pfs_sim_step *step)
{
	struct failing_open *f = arg;

	return step->kind == PFS_SIM_OPEN && strcmp(step->name, f->name) == 0 && ++f->seen == f->at
		       ? -EIO
		       : 0;
}

#endif
