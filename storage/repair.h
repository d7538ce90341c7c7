/* Rank 5: private, what the parts of pfs_repair share.
 *
 * A repair goes in rounds: check (check.h), keep aside what is to be taken out, do something about
 * what was found, open and close the store. It ends when a check finds nothing.
 *
 * R1: nothing is taken out, and no file set aside, before the quarantine that holds it is synced.
 * R2: before anything that a document is lost with is taken out, the superblock says durably that
 *     there are documents whose keys are not known (doubt), until the last check has found nothing:
 *     a store whose repair was cut off never says of a lost document that there is none.
 * R3: a saved index is removed durably before the first page is changed.
 * R4: a slot is only ever made one whose container verifies, or a tombstone. */
#ifndef PFS_REPAIR_H
#define PFS_REPAIR_H

#include "storage/check.h"
#include "storage/quarantine.h"
#include "storage/store_internal.h"

#define PFS_REPAIR_ITEMS_MAX 16384u /* of a round; what is found beyond is for the next one */

enum pfs_repair_deed {
	PFS_DEED_NONE,	/* opening and closing the store does what is to be done */
	PFS_DEED_WRITE, /* `bytes` are written to its slot; nothing is lost */
	PFS_DEED_CLEAR, /* the same, a tombstone for what was no document */
	PFS_DEED_DROP,	/* the same, a tombstone for a document */
	PFS_DEED_ASIDE, /* the file is set aside */
	PFS_DEED_MEND,	/* what the fault's kind says */
	PFS_DEED_LATER, /* in the next round, when other things are right */
};

/* One thing that the check has found. */
struct pfs_repair_item {
	struct pfs_finding finding;
	struct pfs_fault fault;
	enum pfs_repair_deed deed;
	struct pfs_slot_disk bytes;
	bool corrected; /* the document's value is to be had again */
	bool lost;	/* a document is gone */
	bool spared;	/* it is not so after all */
};

struct pfs_repair {
	struct pfs_dir *dir;
	const char *path;
	const struct pfs_logger *logger;
	pfs_finding_fn *fn;
	pfs_progress_fn *progress;
	void *arg;
	struct pfs_repair_result *result;
	struct pfs_reason *reason;

	struct pfs_super super;
	bool rebuilt; /* its sequence and its smallest container are not known yet */
	struct pfs_quarantine quarantine;
	struct pfs_check_set lost; /* documents that were told as lost */

	/* Of one round. */
	struct pfs_check check;
	struct pfs_repair_item *items;
	size_t count;
	bool has_sequence; /* one of the items is of this kind */
};

/* Tells what was done. lost: so that something is lost by it. */
void pfs_repair_say(struct pfs_repair *repair, bool lost, const char *where, uint64_t off,
		    const struct pfs_key *key, const char *fmt, ...) PFS_PRINTF(6, 7);

/* Counts a loss: of a document, once, or (kind NONE) of what is not known. Whether it is a new one.
 */
bool pfs_repair_count_lost(struct pfs_repair *repair, const struct pfs_key *key);

/* Keeps bytes of an open file aside. slot NULL: they are no container. */
int pfs_repair_keep(struct pfs_repair *repair, const struct pfs_kept *kept, struct pfs_file *file);

/* Whether there is a file of that name, also one that can't be read: 1 or 0, or the error for want
 * of memory or handles. */
int pfs_repair_exists(struct pfs_repair *repair, const char *name);
/* The name by which a file is set aside and nothing is called yet. */
int pfs_repair_aside_name(struct pfs_repair *repair, const char *name, char out[64]);

/* repair_super.c: whether there is a store that can be repaired. Nothing is written. -ENOENT. */
int pfs_repair_find_super(struct pfs_repair *repair);
/* Reads the superblock, or works out from the files what it must have been; then it is written. */
int pfs_repair_super(struct pfs_repair *repair);
/* Writes it, with the set of the page files that are there now. */
int pfs_repair_write_super(struct pfs_repair *repair);

/* repair_slot.c: decides what is to be done about a slot, and keeps aside what that destroys. The
 * file is its page's. */
int pfs_repair_plan_slot(struct pfs_repair *repair, struct pfs_file *file,
			 const struct pfs_checked_page *page, struct pfs_repair_item *item);
/* Keeps the container of a slot aside. */
int pfs_repair_keep_slot(struct pfs_repair *repair, struct pfs_file *file,
			 const struct pfs_checked_page *page, uint32_t number,
			 const struct pfs_key *key, const char *reason);

/* repair_page.c: whether it is a page's file, header, slot or container. */
bool pfs_repair_is_about_page(enum pfs_fault_kind kind);
/* Decides and keeps aside for all items about pages; then does it. */
int pfs_repair_plan_pages(struct pfs_repair *repair);
int pfs_repair_pages(struct pfs_repair *repair);

/* repair_journal.c: writes zeros where the device can't read any more, also when each sector is
 * tried by itself, in all pieces around [from, end): it then mostly can again. What can be read of
 * a piece stays. *cleared is where the first of them is, or UINT64_MAX. */
int pfs_repair_clear_unreadable(struct pfs_file *file, uint64_t from, uint64_t end,
				uint64_t *cleared);
/* The same in the segment that the item's records are in, durably. */
int pfs_repair_clear_records(struct pfs_repair *repair, const struct pfs_repair_item *item);

/* Of a store that was not closed: opens it read-only to see which documents a
 * replay will lose, and keeps aside what there is of them. */
int pfs_repair_rehearse(struct pfs_repair *repair);

#endif
