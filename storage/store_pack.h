/* Rank 5: packing everything: one value made as small as it gets (store_repack.c), which pages have
 * to be packed (store_survey.c), and doing it (store_pack.c). Compact lock. */
#ifndef PFS_STORE_PACK_H
#define PFS_STORE_PACK_H

#include "storage/store_compact.h"

/* What one value after the other is packed in. */
struct pfs_repacker {
	struct pfs_store *store;
	struct pfs_codec_hc *hc;
	struct pfs_loaded loaded;
	uint8_t raw[PFS_WHOLE_WRITE_MAX];
};

/* NULL: no memory. */
struct pfs_repacker *pfs_repacker_new(struct pfs_store *store);
void pfs_repacker_free(struct pfs_repacker *r);

/* A value that stands in a slot, packed anew. */
struct pfs_repacked {
	bool better;   /* packed is to take its place; else there is nothing in it */
	bool old_dict; /* it needs a dictionary that is not the one of new values */
	uint64_t seq;  /* of the version */
	uint64_t len;  /* of its container, 0: it does not verify, or another value stands there */
	uint64_t gain; /* bytes of container that it has too many */
	struct pfs_packed packed; /* pfs_packed_free */
};

/* Packs the value with LZ4HC and the newest dictionary. What it is now is kept when that is no
 * larger, unless it needs an older dictionary. A body that does not verify is reported, if it is
 * what an object is: one that is written over meanwhile is not damage. No lock is held. -ENOMEM. */
int pfs_repack_slot(struct pfs_repacker *r, uint32_t page, uint32_t slot, unsigned kind,
		    uint64_t tag, struct pfs_repacked *out);

/* store_train.c. Makes the dictionary that everything is going to be packed with, when one for all
 * that is there gains enough (T6); *made: one was. -EROFS, -ECANCELED; whatever else fails is
 * logged: what there is serves. */
int pfs_train_to_pack(struct pfs_store *store, const bool *stop, bool *made);

/* What a full compaction is to do. */
struct pfs_packing_plan {
	uint64_t total;		    /* bytes of containers in marked pages */
	uint64_t values;	    /* in them */
	uint64_t dead, live, pages; /* all of them */
	uint64_t untidy;	    /* those that are marked for more than free space */
};

/* Loads all pages, and marks (packed_run) those that have something to gain: free space, values out
 * of order, values that can be smaller, or that need an old dictionary. No other lock. -ENOMEM,
 * -EIO, -ECANCELED. */
int pfs_pack_survey(struct pfs_repacker *r, struct pfs_packing_plan *plan, const bool *stop);

/* Commit lock. Whether there is no noticeable free space in it. */
bool pfs_pack_is_full(const struct pfs_store *store, const struct pfs_page *page);

#endif
