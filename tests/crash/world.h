/* What the crash tests share: a store on the simulated disk, the operations that are done to it,
 * and the oracle that knows what a crash may leave of them.
 *
 * The oracle. The journal is one sequence of records, so a crash leaves the whole store as it was
 * after some record: never one document newer than another one allows. `states` are these, oldest
 * first. A power cut may show any from `durable` on, the death of the process any from `acked` on;
 * both up to the last, which may be that of an operation in flight or of one that failed. What is
 * held (truncations, creations) is in no record and is seen by readers only. */
#ifndef PFS_CRASH_WORLD_H
#define PFS_CRASH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/sim/sim.h"

#define DOCS 6	 /* documents that are changed */
#define QUIET 27 /* small ones that are not: so many that slots cross a sector's end */
#define QUIET_FIRST 1000
#define EXTRA 77       /* made on an image, to see that the store goes on working */
#define MOMENTS_MAX 64 /* of one operation; of more steps, moments at even distances are kept */

struct doc {
	bool there;
	uint32_t hash, mode;
	uint64_t len;
	int64_t mtime_ns;
};

struct state {
	struct doc docs[DOCS];
};

struct held {
	bool is;
	unsigned ticks;
	uint64_t order; /* the smallest is logged first */
};

/* A disk at one moment of an operation. */
struct moment {
	struct pfs_sim *disk;
	uint64_t step;
	char what[48]; /* the step that is about to be done */
};

struct effort {
	uint64_t exhaustive_max; /* choices of a power cut that are all tried, if no more than
				    pending_max things are undecided; beyond: */
	uint64_t pending_max, samples;
	unsigned recut_every; /* of so many images one is cut again at each step of its opening */
	bool kill;	      /* the process dies at each step, too */
};

struct tally {
	uint64_t points, images, opened, kills, recuts, failed_syncs, dicts_made, dicts_dropped;
};

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	bool hold_objects;
	struct pfs_logger logger;
	int err; /* of the last operation */

	/* The oracle. */
	struct state *states;
	size_t count, cap, acked, durable;
	struct doc seen[DOCS]; /* by readers */
	struct held held[DOCS];
	uint64_t hold_order;
	uint8_t *bytes[DOCS]; /* of what is seen, never NULL */
	uint32_t tag;	      /* says what is written next */

	/* Power cuts. */
	bool cutting;	  /* moments are taken at each step */
	uint64_t step;	  /* of the operation in flight, from 1; 0: before the first */
	uint64_t fail_at; /* this sync of the operation fails; 0: none */
	uint64_t syncs;	  /* of the operation so far */
	struct moment moments[MOMENTS_MAX];
	size_t moment_count;
	uint64_t moment_every; /* a moment is taken before each step that this divides */
	/* What to do with a moment; NULL: nothing. May set `stop`. */
	void (*look)(struct world *w, struct moment *moment);
	void *arg;
	bool stop; /* the world has ended: its disk goes on as another one */

	struct effort effort;
	struct tally tally;

	/* For the words about a failure. */
	char name[160]; /* how to run it again: variables of the environment */
	char image[80];
	const char *before;
	bool verbose;
	uint64_t only_step, only_index, only_seed; /* UINT64_MAX: all */
	bool only_kill;
};

/* ---- world.c ---- */

struct pfs_key doc_key(unsigned doc);
uint32_t bytes_hash(const void *bytes, size_t len);
struct pfs_key quiet_key(unsigned i);
uint32_t quiet_hash(unsigned i);

/* The seldom changed disk that worlds begin with: made once. */
struct pfs_sim *base_disk(void);
/* Opens the base disk's store, puts what is to be in the journal only, and lets the disk settle. */
void world_begin(struct world *w);
/* The world goes on with another disk, on which the store is as in `state`; after the death of the
 * process some of it may not be durable until the store is open. False: w->stop, or w->err. */
bool world_resume(struct world *w, struct pfs_sim *disk, const struct state *state, bool killed);
/* Throws store and disk away. */
void world_end(struct world *w);
void world_free(struct world *w);

/* The operations: false when there is nothing to do it to, else w->err is what the store said. They
 * keep the oracle and look at the moments that were taken. */
bool op_put(struct world *w, unsigned doc, size_t len, bool new_object);
bool op_patch(struct world *w, unsigned doc, uint64_t off, size_t len);
bool op_resize(struct world *w, unsigned doc, uint64_t size);
bool op_truncate(struct world *w, unsigned doc);
bool op_rewrite(struct world *w, unsigned doc, size_t len); /* truncate to zero, then write */
bool op_create(struct world *w, unsigned doc);
bool op_remove(struct world *w, unsigned doc);
bool op_rename(struct world *w, unsigned from, unsigned to, bool exchange);
bool op_mode(struct world *w, unsigned doc);
bool op_mtime(struct world *w, unsigned doc);
bool op_fsync(struct world *w, unsigned doc);
bool op_sync(struct world *w);
bool op_tick(struct world *w);
bool op_checkpoint(struct world *w);
bool op_compact(struct world *w); /* steps, until nothing is dead */
bool op_compact_all(struct world *w);
bool op_dict(struct world *w); /* new values are packed with a new dictionary */
/* Several operations, at the end of which no value needs an older dictionary; doc is put. */
bool op_dict_drop(struct world *w, unsigned doc);
bool op_reopen(struct world *w);

/* Fails unless readers of the open store see what they should. */
void expect_seen(struct world *w);

/* ---- look.c ---- */

/* Opens images of a moment, looks at everything in them, and lets the store go on working. */
void look_at_cuts(struct world *w, struct moment *moment);
void look_at_kill(struct world *w, struct moment *moment);
/* One image that is looked at in full and given back to go on with: *state is what it shows. */
struct pfs_sim *look_and_keep(struct world *w, struct moment *moment, bool kill, uint64_t seed,
			      struct state *state);
/* The store has failed a sync: fails unless it is read-only and says so. */
void expect_read_only(struct world *w);

/* ---- report.c ---- */

/* Keeps the last warnings and errors, and counts them. */
extern const struct pfs_logger report_logger;
void report_line(void *arg, enum pfs_log_level level, const char *line);
void report_clear(void);
unsigned report_faults(void);
/* The image that is looked at from now on, for CRASH_DUMP. */
void report_image(struct pfs_sim *image);
/* Fails the test, and says how to see it fail again. */
void bad_image(const struct world *w, const char *fmt, ...) PFS_PRINTF(2, 3);

uint64_t setting(const char *name, uint64_t otherwise);
/* Effort and what to run again, from the environment. */
void world_settings(struct world *w, bool *is_long);
void print_tally(const struct world *w, const char *what, uint64_t n, double seconds);
double now_s(void);

#endif
