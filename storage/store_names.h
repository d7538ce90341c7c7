/* Rank 5: what all changes of names share. Commit lock. */
#ifndef PFS_STORE_NAMES_H
#define PFS_STORE_NAMES_H

#include "storage/store_internal.h"

static inline uint32_t pfs_key_hash(const struct pfs_key *key)
{
	return pfs_index_hash(key->kind, pfs_key_tag(key));
}

/* The attributes that a put gives: those asked for, else what the document has of which this is the
 * word (0: none), else the defaults. */
void pfs_put_attr(struct pfs_store *store, const struct pfs_attr *asked, unsigned flags,
		  uint64_t word, struct pfs_attr *out);

/* Puts what is packed; the rest as of pfs_put. *replaced is set only when there is one. */
int pfs_put_locked(struct pfs_store *store, const struct pfs_key *key,
		   const struct pfs_packed *packed, const struct pfs_attr *asked, unsigned flags,
		   uint32_t *replaced);

/* A key for what has no name. */
static inline struct pfs_key pfs_key_new_temp(struct pfs_store *store)
{
	return (struct pfs_key){.kind = PFS_KEY_TEMP, .num = store->next_temp++};
}

/* An object on its way out: prepared before the record is written, so that nothing can fail
 * afterwards. */
struct pfs_leaving {
	struct pfs_change change; /* version NULL: nothing of it needs doing (it was only held) */
	struct pfs_key key, temp;
	uint64_t base;	/* sequence of its last record, 0: none */
	bool orphan;	/* it stays readable under a temporary key */
	bool held_only; /* it was created and never logged */
};

/* Prepares the object's loss of its name. A damaged document can lose it too; then nobody can go on
 * reading it. Undone by pfs_change_drop of its change. -ENOSPC, -ENOMEM. */
int pfs_leaving_prepare(struct pfs_store *store, struct pfs_leaving *l, uint32_t object,
			const struct pfs_key *key);

/* The record is written (or none was needed): makes it so. The name's place in the hash and in the
 * listing is the caller's to give away first. */
void pfs_leaving_finish(struct pfs_store *store, struct pfs_leaving *l, uint64_t seq);

#endif
