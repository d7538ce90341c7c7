/* Rank 2: the file in which a repair keeps what it takes out of a store (FORMAT.md, "quarantine").
 * Lines of JSON, only ever appended to, so that what an earlier repair has kept stays as it is. */
#ifndef PFS_QUARANTINE_H
#define PFS_QUARANTINE_H

#include "storage/format.h"
#include "storage/io.h"
#include "storage/key.h"

#define PFS_QUARANTINE_NAME "quarantine"
#define PFS_QUARANTINE_PART PFS_MIB /* bytes that a line holds at most */

/* What is kept: bytes of a file, and what must be known to read them. */
struct pfs_kept {
	const char *where;	   /* file */
	uint64_t off, len;	   /* in it */
	const struct pfs_key *key; /* whose it is; NULL or kind NONE: not known */
	const char *reason;
	const struct pfs_slot_disk *slot; /* of a container; NULL: it is none */
	uint32_t slot_number;
	uint64_t base_seq; /* of its page */
	int64_t base_mtime;
};

struct pfs_quarantine {
	struct pfs_dir *dir;
	struct pfs_file *file; /* NULL: nothing was added yet */
	uint64_t end, entries;
	bool name_synced, dirty;
	uint8_t *bytes; /* PFS_QUARANTINE_PART */
	char *line;
};

/* Nothing is made before the first entry. */
void pfs_quarantine_begin(struct pfs_quarantine *quarantine, struct pfs_dir *dir);

/* Adds an entry, its bytes read from source: what can't be read, or lies beyond the file's end, is
 * kept as zeros, and the line says so. */
int pfs_quarantine_add(struct pfs_quarantine *quarantine, const struct pfs_kept *kept,
		       struct pfs_file *source);

/* All that was added is durable. Before it is taken out of where it was. */
int pfs_quarantine_sync(struct pfs_quarantine *quarantine);
void pfs_quarantine_end(struct pfs_quarantine *quarantine);

/* Whether name is one that repairs make: the file, or one that was set aside as a whole. */
bool pfs_quarantine_is_name(const char *name);

#endif
