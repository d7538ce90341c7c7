/* Rank 2: the superblock: what a store is, its epochs. Two copies, written one after the
 * other; the newer valid one holds. */
#ifndef PFS_SUPER_H
#define PFS_SUPER_H

#include "storage/format.h"
#include "storage/io.h"
#include "storage/log.h"

/* Which page files there are that may hold documents. A file with a number above `highest` is
 * newborn and holds none; no number is given twice. */
struct pfs_page_set {
	uint32_t highest, count;
	uint64_t mix; /* XOR of pfs_mix64 of the numbers */
};

static inline void pfs_page_set_add(struct pfs_page_set *set, uint32_t number)
{
	set->highest = number > set->highest ? number : set->highest;
	set->count++;
	set->mix ^= pfs_mix64(number);
}

static inline void pfs_page_set_remove(struct pfs_page_set *set, uint32_t number)
{
	set->count--;
	set->mix ^= pfs_mix64(number);
}

/* The number of the one page in which they differ, if it is one that a page of `set` can have; 0:
 * there is none, or they differ in more. */
static inline uint32_t pfs_page_set_difference(const struct pfs_page_set *set,
					       const struct pfs_page_set *other)
{
	uint64_t number = pfs_unmix64(set->mix ^ other->mix);

	return number <= set->highest ? (uint32_t)number : 0;
}

struct pfs_super {
	uint16_t version;
	uint64_t incompat, ro_compat, compat;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t generation;
	uint64_t page_size;
	uint32_t min_value_size;
	bool has_defaults;
	uint32_t mode, uid, gid;
	uint64_t open_epoch, clean_epoch;
	int64_t created_ns;
	uint64_t sequence;
	struct pfs_page_set pages;
	bool doubt;		/* there are documents whose keys are not known; until a repair */
	uint64_t journal_epoch; /* of the last opening that has begun a segment durably */
	uint32_t dict_highest;	/* number of a dictionary that was ever given; 0: none */
};

/* Opens the directory in which a store is to be; flags as of open_dir. The caller closes it. */
int pfs_super_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
		       struct pfs_dir **dir, struct pfs_reason *reason);

/* Reads the store's superblock. -ENOENT: no such file. -EUCLEAN: no valid copy (reported).
 * -EPROTONOSUPPORT: a newer version or incompatible features; *super is filled so that the message
 * can name them. */
int pfs_super_read(struct pfs_dir *dir, struct pfs_super *super, const struct pfs_logger *logger);

/* Decodes one copy. False: its bytes do not verify. Says nothing of version and sizes. */
bool pfs_super_decode(struct pfs_super *super, const struct pfs_super_disk *disk);

/* Whether its sizes are in their ranges. */
bool pfs_super_is_plausible(const struct pfs_super *super);

/* What an error of pfs_super_read means for the store at path, and what to do, as one line. */
void pfs_super_explain(const struct pfs_super *super, int err, const char *path, char *text,
		       size_t size);

/* Raises the generation, writes and syncs. The file must exist. */
int pfs_super_write(struct pfs_dir *dir, struct pfs_super *super);

/* Makes the file with both copies and syncs file and directory. -EEXIST. */
int pfs_super_create(struct pfs_dir *dir, struct pfs_super *super);

#endif
