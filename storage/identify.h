/* Rank 2: whose a damaged document is: the search for one wrong bit, in its slot or in its
 * container, that explains why they do not verify. Nothing is written; the bytes may be anything.
 */
#ifndef PFS_IDENTIFY_H
#define PFS_IDENTIFY_H

#include "storage/page.h"

/* A small container, or the header of a large one. */
#define PFS_IDENTIFY_ROOM (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)

/* A page, as the search sees it. */
struct pfs_identify {
	/* Copies [off, off + len) of the page's file. Not 0: it can't be read there. */
	int (*read)(void *arg, uint64_t off, void *buf, size_t len);
	void *arg;
	uint64_t page_size, base_seq;
	int64_t base_mtime;
	uint8_t *buf;	 /* PFS_IDENTIFY_ROOM bytes */
	uint64_t budget; /* bytes that may still be summed; without any left all is unknown */
};

enum pfs_identity {
	PFS_IDENTITY_UNKNOWN,	 /* no single bit explains it */
	PFS_IDENTITY_WHOLE,	 /* nothing is wrong */
	PFS_IDENTITY_NONE,	 /* one bit of a slot without document is wrong */
	PFS_IDENTITY_SLOT,	 /* one bit of the slot is wrong */
	PFS_IDENTITY_CONTAINER,	 /* one bit of the container is wrong */
	PFS_IDENTITY_UNREADABLE, /* the slot is plausible, its container can't be read */
};

struct pfs_identified {
	struct pfs_slot_disk slot; /* as it should be; not of UNKNOWN */
	struct pfs_slot decoded;   /* the same */
	struct pfs_key key;	   /* whose it is; kind NONE where the container does not say it */
	uint64_t bit; /* of CONTAINER: the wrong one, counted from the container's first byte */
};

/* Searches for what is wrong with the slot, which is in use as far as the page's header says. */
enum pfs_identity pfs_identify(struct pfs_identify *by, const struct pfs_slot_disk *slot,
			       struct pfs_identified *out);

/* Whether one wrong bit of the slot explains it: the same without the search in the container,
 * which takes much longer. */
bool pfs_identify_slot(struct pfs_identify *by, const struct pfs_slot_disk *slot,
		       struct pfs_identified *out);

#endif
