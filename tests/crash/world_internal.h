/* Shared by world.c, which keeps the oracle, and operations.c. */
#ifndef PFS_CRASH_WORLD_INTERNAL_H
#define PFS_CRASH_WORLD_INTERNAL_H

#include "tests/crash/world.h"

#define MODE_PUT 0600
#define MODE_CREATED 0640

struct state *world_push(struct world *w);
const struct state *world_newest(const struct world *w);
void world_see(struct world *w, unsigned i, const struct doc *doc, uint8_t *bytes);
void world_set_bytes(struct world *w, unsigned i, uint8_t *bytes);
void world_push_held(struct world *w, unsigned i);
void world_push_all_held(struct world *w);
unsigned world_held_in_order(const struct world *w, unsigned out[DOCS]);
void world_hold(struct world *w, unsigned i);
void world_begin_op(struct world *w);
bool world_finish_op(struct world *w, int err, bool durable);
void world_drain(struct world *w);
uint8_t *world_fresh_bytes(uint32_t tag, size_t len);
int world_open_store(struct world *w);

#endif
