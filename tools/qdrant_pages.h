/* The payload storage of one Qdrant segment (Gridstore): which value lies where (tracker.dat), and
 * the values (page_N.dat).
 *
 *	config.json	{"page_size_bytes": P, "block_size_bytes": B, "region_size_blocks": R,
 *			"compression": "LZ4" or "None" (absent: LZ4), "mode": "mutable" (absent:
 *that)} tracker.dat	u32 count, then for each internal offset u32 tag (0 none, 1 value), u32
 *page, u32 block in the page, u32 stored length page_N.dat	P bytes each; a value begins at a
 *block and may run on into the next pages bitmask.dat	one bit a block of all pages, lowest bit
 *first: in use
 *
 * A value is the payload as compact JSON, or its u32 length and one LZ4 block. All integers are
 * little-endian. There are no checksums, so what can contradict a value is asked: it must lie in
 * the pages, decode to exactly its length, and be one JSON object; its blocks must be marked as in
 * use, and be no other value's.
 *
 * Memory: a bit for each block of the pages, one value, stored and decoded, and while it is opened
 * 16 bytes a value. Nothing is written. One thread. */
#ifndef TOOLS_QDRANT_PAGES_H
#define TOOLS_QDRANT_PAGES_H

#include "storage/log.h"
#include "tools/qdrant_file.h"

#define QDRANT_PAGES_NAME "payload_storage"
#define QDRANT_PAYLOAD_MAX PFS_GIB

enum qdrant_value_state {
	QDRANT_VALUE_NONE,     /* this offset has no value */
	QDRANT_VALUE_GOOD,     /* the payload */
	QDRANT_VALUE_DOUBTFUL, /* it decodes, but may be another's or an older one */
	QDRANT_VALUE_DAMAGED,  /* it does not decode */
};

/* A value; what it points to is borrowed until the next call. */
struct qdrant_value {
	enum qdrant_value_state state;
	const uint8_t *payload; /* GOOD, DOUBTFUL */
	size_t len;
	const uint8_t *stored; /* the stored bytes, as far as they could be read */
	size_t stored_len;

	/* Where it lies; of a value that was not found, where that is said to lie. */
	const char *file;
	uint64_t offset, length;
	const char *reason; /* DOUBTFUL, DAMAGED */
};

struct qdrant_pages;

/* directory is the payload storage. -EPROTONOSUPPORT: a layout that is not known, reason names it.
 * -ENOENT: there is none (neither configuration nor tracker). -EIO: it is beyond reading. -ENOMEM.
 * Damage that leaves something to read is told as notes. */
int qdrant_pages_open(struct qdrant_pages **out, const char *directory,
		      const struct qdrant_notes *notes, struct pfs_reason *reason);
void qdrant_pages_close(struct qdrant_pages *pages);

/* One more than the highest internal offset that may have a value. */
uint64_t qdrant_pages_count(const struct qdrant_pages *pages);

/* Whether what was opened is damaged as a whole, so that values may be missing. */
bool qdrant_pages_damaged(const struct qdrant_pages *pages);

/* Whether the tracker has a value for an internal offset, good or not. */
bool qdrant_pages_has(struct qdrant_pages *pages, uint64_t internal);

/* The value of an internal offset. 0 or -ENOMEM. */
int qdrant_pages_value(struct qdrant_pages *pages, uint64_t internal, struct qdrant_value *value);

#endif
