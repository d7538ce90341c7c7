/* Stores whose process died, or that lost power, with much in the journal and half of it in the
 * pages; some are damaged besides. */
#ifndef PFS_TEST_FAULT_KILLED_H
#define PFS_TEST_FAULT_KILLED_H

#include "tests/sim/sim.h"

/* Calls fn with each; it owns the sim. Of those that are alike every `step`th. */
typedef void killed_fn(void *arg, const char *name, struct pfs_sim *sim);
void each_killed(killed_fn *fn, void *arg, unsigned step);

/* The process died when the slots of a checkpoint were written, and the journal has lost the record
 * of document 100 that is in its page by then; one of it before that is left.
 * twice: the document is in the page a second time. */
struct pfs_sim *without_journal_end(bool twice);

#endif
