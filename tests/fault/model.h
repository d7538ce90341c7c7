/* What the documents of a store must be while calls fail: what acknowledged operations made them,
 * and what a kill or a power cut may show instead. */
#ifndef PFS_TEST_MODEL_H
#define PFS_TEST_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/sim/sim.h"

#define MODEL_STORE "store"
#define MODEL_KEYS 6
#define MODEL_STATES_MAX 128

struct model_state {
	bool there;
	bool maybe;  /* of an operation that failed: only a power cut may show it */
	bool held;   /* in memory only: no crash may show it */
	bool either; /* held or logged: a crash may show it or what was before */
	uint32_t mode;
	size_t len;
	uint64_t hash;
};

struct model_doc {
	struct model_state
		states[MODEL_STATES_MAX]; /* the last that is neither maybe is the present one */
	size_t count, durable;		  /* states before `durable` can't come back */
	uint8_t *bytes;			  /* of the present state */
	uint8_t *before;		  /* while held: of the state under it */
};

struct model {
	struct model_doc docs[MODEL_KEYS];
	const char *label; /* of the run, for messages */
};

void model_begin(struct model *model, const char *label);
void model_end(struct model *model);

struct pfs_key model_key(unsigned i);
/* Contents that are different for each seed; those of an odd one do not compress. */
uint8_t *model_bytes(size_t len, unsigned seed);

const struct model_state *model_now(const struct model *model, unsigned i);

/* Document i is from now on these bytes (taken over; NULL: it is not there). */
void model_set(struct model *model, unsigned i, uint8_t *bytes, size_t len, uint32_t mode);
/* It was emptied or made, which is held. */
void model_hold(struct model *model, unsigned i, uint32_t mode);
/* What was held of it is logged. */
void model_settle(struct model *model, unsigned i);
/* An operation that logs what is held first has failed: nobody knows whether it did. */
void model_unsettled(struct model *model, unsigned i);
/* A write that failed cancels a held truncation. */
void model_cancel(struct model *model, unsigned i);
/* An operation that would have made it these bytes has failed. Takes them over. */
void model_failed(struct model *model, unsigned i, uint8_t *bytes, size_t len, uint32_t mode);
/* All that is acknowledged is durable. */
void model_synced(struct model *model, bool held_too);

/* What is not known of held documents, the store shows: after a reopening, or a cancelled write. */
void model_resolve(struct model *model, struct pfs_store *store, bool reopened);

/* The open store shows exactly the present state: each document by get and by read, the list. */
void model_expect(struct model *model, struct pfs_store *store);
/* Opens the image, which is freed: it shows what a kill (or a power cut) may, takes a document as
 * soon as there is room, closes, and the check finds nothing. */
void model_expect_image(struct model *model, struct pfs_sim *image, bool power_cut);
/* The check of the closed store finds nothing. */
void model_check(struct model *model, struct pfs_sim *sim, const char *what);

#endif
