/* A store of which every document and its former states are known, as it is after a clean close and
 * as a kill leaves it; damage in one of its files; and what may then be seen.
 *
 * The rule (G5): each id gives its right bytes, or an error. Nothing else: no older bytes, no "not
 * found" for a document that is there, no other's bytes. An opening that is refused is an error for
 * all of them. One thing can't be told from a power cut, and is counted by itself: what the last
 * records of the journal said, when no later one that is whole says that they were durable. */
#ifndef PFS_TEST_DAMAGE_H
#define PFS_TEST_DAMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/format.h"
#include "storage/store.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

#define DAMAGE_STORE "store"
#define DAMAGE_DOCS_MAX 80
#define DAMAGE_STATES_MAX 12
#define DAMAGE_RECORDS_MAX 128

struct damage_state {
	uint64_t seq; /* of the record that made it */
	bool there;
	uint8_t *bytes;
	struct pfs_attr attr;
};

struct damage_doc {
	struct pfs_key key;
	struct damage_state states[DAMAGE_STATES_MAX]; /* the last is what it is */
	size_t count;
};

struct damage_record {
	uint64_t off, end, seq;
};

struct damage_world {
	const char *name;
	struct pfs_sim *sim;
	struct damage_doc docs[DAMAGE_DOCS_MAX]; /* some of them are not there */
	size_t count;
	/* The journal that counts, of the killed one: its records, all synced. */
	char segment[32];
	struct damage_record records[DAMAGE_RECORDS_MAX];
	size_t record_count;
};

/* The same store, closed and killed. */
void damage_worlds(struct damage_world *clean, struct damage_world *killed);
void damage_world_free(struct damage_world *world);

enum damage_kind {
	DAMAGE_NOTHING,
	DAMAGE_BIT,  /* of the byte at `from`: turn */
	DAMAGE_CUT,  /* the file ends at `from` */
	DAMAGE_GONE, /* the file is missing */
	DAMAGE_BYTES /* those in [from, to) are others */
};

/* What one file is hit by. */
struct damage {
	enum damage_kind kind;
	const char *file;
	uint64_t from, to; /* the bytes that are other ones than they were */
	uint8_t turn;
	const uint8_t *bytes;
};

/* Counts of ids, but for cases and refused. */
struct damage_count {
	char what[32];
	uint64_t cases, refused, right, error, cut, untold, wrong, unnamed, repaired;
};

enum damage_checks {
	DAMAGE_CHECK = 1,	 /* run the check, and ask it for a finding for each error */
	DAMAGE_CHECK_ERRORS = 2, /* only if there are errors */
	DAMAGE_WRITE = 4,	 /* then open it for writing, change something, close, look again */
	DAMAGE_UNTOLD = 8,	 /* "not found", and an error that the check does not say, are only
				    counted: untold */
	DAMAGE_NAMED = 16, /* with DAMAGE_CHECK: it names the file, if there are errors or not */
};

/* Damages the world's store, opens it read-only and looks at every document, the listing, and what
 * the check says; then undoes the damage. Prints what is wrong. */
void damage_look(const struct damage_world *world, const struct damage *damage, unsigned checks,
		 struct damage_count *count);

/* The same to a store on another sim, where it stays. */
void damage_apply(struct pfs_sim *sim, const struct damage *damage);

void damage_print(const struct damage_count *counts, size_t n);
/* Nothing is wrong in any of them. */
void damage_expect(const struct damage_count *counts, size_t n);

/* ---- the files of the sim, beside its operations ---- */

struct sim_inode *damage_file(const struct pfs_sim *sim, const char *name);

/* Whether the file is a dictionary, and the byte part of one of its two copies. */
bool damage_is_dict(const char *file);
bool damage_in_dict(const struct damage_world *world, const char *file, uint64_t at);

/* How many documents of the whole store need the dictionary. */
unsigned damage_dict_users(const struct damage_world *world, const char *file);

/* ---- how much ---- */

/* What is freed is kept for the next case. */
void damage_keep_memory(void);

/* DAMAGE_FULL=1: everything, else a sample of one in `step` with a fixed seed. DAMAGE_PART=1/2: of
 * two programs that share the work. */
bool damage_full(void);
bool damage_mine(uint64_t number);
bool damage_sampled(uint64_t number, uint64_t step);

#endif
