/* The operations of the workload: each does one call or a few, and says in the model what has come
 * of it. They do nothing where a fault before has left nothing to do it to. */
#ifndef PFS_TEST_FAULT_OPERATIONS_H
#define PFS_TEST_FAULT_OPERATIONS_H

#include "tests/fault/world.h"

void op_put(struct world *w, unsigned i, size_t len, unsigned flags);
void op_create(struct world *w, unsigned i);
void op_write(struct world *w, unsigned i, size_t off, size_t len);
void op_zero(struct world *w, unsigned i, size_t off, size_t len);
void op_resize(struct world *w, unsigned i, size_t size);
/* mode 0: only the time, which leaves a held document held. */
void op_attr(struct world *w, unsigned i, uint32_t mode);

/* Both names are what they were, or both have changed. */
void op_rename(struct world *w, unsigned i, unsigned j, unsigned flags);

void op_remove(struct world *w, unsigned i);
/* A document that arrives in three pieces, and is committed or not. */
void op_stream(struct world *w, unsigned i, bool commit);

void op_read_part(struct world *w, unsigned i, size_t off, size_t len);
void op_read_all(struct world *w);
void op_sync(struct world *w);
void op_sync_object(struct world *w, unsigned i);
/* So many that what is held is logged. */
void op_ticks(struct world *w);

void op_checkpoint(struct world *w);

#endif
