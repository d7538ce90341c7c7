/* A store on a sim with a fault, beside a model of it: what must hold after each call, and opening
 * and closing. */
#ifndef PFS_TEST_FAULT_WORLD_H
#define PFS_TEST_FAULT_WORLD_H

#include "tests/fault/inject.h"
#include "tests/fault/model.h"
#include "tests/fault/workload.h"

#define WORLD_MODE 0640u

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct fault *fault;
	struct model model;
	struct workload_stat *stat;
	unsigned read_only_lines; /* since the store was opened */
	unsigned seed;
	bool looked; /* at the images of the first fault */
	bool opened_read_only;
};

/* After each call, when the model says what has come of it. */
void world_after(struct world *w, const char *what, int err);

unsigned world_next_seed(struct world *w);
uint32_t world_object(struct world *w, unsigned i);
/* The document is there; what failed before may have kept it away. */
bool world_has(struct world *w, unsigned i);

uint32_t world_mode(struct world *w, unsigned i);
/* Makes the store, whatever fails. */
void world_make(struct world *w);
/* No more room, or as much as there is. */
void world_limit_disk(struct world *w);

/* Opens; where that fails by the fault, again without it. A page that can't be read is left out of
 * an opening for reading only. */
void world_open(struct world *w, bool read_only);

void world_close(struct world *w);
/* The process dies; the next one finds the files as they are. */
void world_kill(struct world *w);

void world_check(struct world *w);

#endif
