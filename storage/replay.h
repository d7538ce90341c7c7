/* Rank 5: what opening after a crash knows of the pages while it replays the journal (FORMAT.md,
 * "Opening"). */
#ifndef PFS_REPLAY_H
#define PFS_REPLAY_H

#include "storage/identify.h"
#include "storage/store_internal.h"

/* A slot written since the last complete checkpoint, as far as the records say: its container is
 * not trusted. */
struct pfs_untrusted {
	struct pfs_extent_at at;
	struct pfs_key key;
	uint64_t tag, seq;
	bool verified; /* the container's header (and, when small, its body) verify */
	bool adopted;
};

struct pfs_replay_state {
	struct pfs_store *store;
	uint64_t window;       /* first sequence of the journal */
	uint64_t last_seq;     /* highest seen anywhere */
	uint64_t journal_last; /* last of the journal */
	/* (kind, tag) hashes that records name; a key whose hash is not here has no change in the
	 * window. */
	uint64_t *named;
	size_t named_size, named_count;
	struct pfs_untrusted *untrusted;
	size_t untrusted_count, untrusted_cap;
	size_t untrusted_sorted; /* so many of them stand in the order of their sequences */
	struct pfs_extent_at *tombstones; /* of the window: written again */
	uint64_t *tombstone_tags, *tombstone_seqs;
	size_t tombstone_count, tombstone_cap;
	uint64_t lost; /* documents whose base can't be found */
	/* Documents, or places that may have been some, whose keys can't be known. */
	uint64_t unknown;
	/* Of the scan: the documents behind one another that are not in the index yet. */
	struct {
		uint32_t page, slot, count;
		uint64_t number;
	} run;
	uint32_t run_min;		  /* of those that stay runs */
	uint64_t slots, scanned, singles; /* in all; so far; of these, that are in no run */
	struct pfs_loaded *loaded;
	uint8_t *probe;	      /* PFS_IDENTIFY_ROOM bytes, for the search of a wrong bit */
	uint64_t probe_bytes; /* that the search may still sum */
};

/* replay_ahead.c: the slots of all pages, from the lowest page's first on, read ahead by several
 * threads (by the caller alone in a store with `manual`). */
enum {
	PFS_AHEAD_ODD,	/* to be looked at: damaged, a tombstone, or the records name it */
	PFS_AHEAD_FREE, /* all zero */
	PFS_AHEAD_GOOD, /* its container verifies, and is not the window's */
};
struct pfs_ahead_slot {
	uint8_t seen; /* PFS_AHEAD_*; the rest with GOOD */
	uint8_t kind;
	uint32_t dict;
	uint64_t tag, raw_len, len;
};
struct pfs_ahead;

/* Nothing of state or the pages that a slot is judged by may change until the end. -ENOMEM. */
int pfs_ahead_begin(struct pfs_ahead **out, const struct pfs_replay_state *state);
/* The next slots, *count of them, of one page; valid until the next call. While there are any. */
const struct pfs_ahead_slot *pfs_ahead_next(struct pfs_ahead *ahead, uint32_t *count);
/* NULL is allowed. */
void pfs_ahead_end(struct pfs_ahead *ahead);

/* replay_scan.c: reads all slots into the index; window UINT64_MAX: nothing was changed since the
 * last checkpoint. */
int pfs_scan(struct pfs_replay_state *state);
bool pfs_is_named(const struct pfs_replay_state *state, unsigned kind, uint64_t tag);
int pfs_name(struct pfs_replay_state *state, unsigned kind, uint64_t tag);
/* A slot to be retired when the replay is done. */
int pfs_distrust_place(struct pfs_replay_state *state, const struct pfs_extent_at *at,
		       uint64_t tag);
/* A new object at a place in a page. */
int pfs_install(struct pfs_store *store, unsigned kind, uint64_t tag, uint32_t page, uint32_t slot,
		uint64_t raw_len, uint64_t container_len, uint32_t dict);

/* replay_record.c. All: -ENOMEM, -EIO. */

/* Makes the versions of one record; arg is the state. -EUCLEAN: it makes no sense, which is logged.
 */
int pfs_replay_record(void *arg, const struct pfs_record *record);
/* Reports such a record. Returns -EUCLEAN. */
int pfs_replay_bad_record(struct pfs_store *store, const struct pfs_record *record);
/* The document that a record was made to. *present: it is there, as the base. Otherwise the version
 * that the pages hold of the record's result, if any, is adopted (O4), or the document is lost
 * until a record replaces it whole. */
int pfs_replay_base_of(struct pfs_store *store, const struct pfs_key *key, uint64_t base,
		       struct pfs_view *view, bool *present);
/* Makes key's document the one that the pages hold with exactly this sequence. *done: there was
 * one. */
int pfs_replay_adopt(struct pfs_replay_state *state, const struct pfs_key *key, uint64_t seq,
		     bool *done);
/* The object loses its name and is gone; its home is retired. */
int pfs_replay_drop(struct pfs_store *store, const struct pfs_key *key, uint64_t seq);

#endif
