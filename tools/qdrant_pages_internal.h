/* Of the payload storage of a segment: what its two parts, opening and reading values, share. */
#ifndef TOOLS_QDRANT_PAGES_INTERNAL_H
#define TOOLS_QDRANT_PAGES_INTERNAL_H

#include "tools/qdrant_pages.h"

#define QDRANT_ENTRY_LEN 16
#define QDRANT_TRACKER_HEAD_LEN 4

enum qdrant_compression { QDRANT_RAW, QDRANT_LZ4, QDRANT_EITHER /* not known: what decodes */ };

struct qdrant_entry {
	uint32_t tag, page, block, length;
};

struct qdrant_buffer {
	uint8_t *bytes;
	size_t cap;
};

struct qdrant_pages {
	char *directory;
	const struct qdrant_notes *notes;
	enum qdrant_compression compression;
	uint64_t page_size, block_size, page_blocks;
	uint64_t page_count; /* one more than the highest number of a page file */
	bool damaged;

	struct qdrant_file tracker;
	uint64_t count;	     /* offsets that the tracker says it has */
	uint64_t there;	     /* offsets whose entries are in the file */
	uint8_t *window;     /* entries of the tracker */
	uint64_t window_at;  /* the first one's offset */
	uint64_t window_len; /* how many */

	uint8_t *overlaps; /* a bit for each offset: its value shares blocks with another */
	uint8_t *marked;   /* bitmask.dat, a bit for each block; NULL: not told */
	uint64_t marked_blocks;

	struct qdrant_file page; /* the one that was read last */
	uint64_t page_number;	 /* its number, when page.path */
	int page_err;		 /* why it could not be opened */
	struct qdrant_buffer stored, raw;
	char reason[160];
};

static inline bool qdrant_get_bit(const uint8_t *bits, uint64_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

/* The entry of an offset below `there`. 0, or -EIO: it can't be read. */
int qdrant_get_entry(struct qdrant_pages *p, uint64_t internal, struct qdrant_entry *entry);

/* The first block of a value among all, and how many it has. False: it can't lie there. */
bool qdrant_find_blocks(const struct qdrant_pages *p, const struct qdrant_entry *e, uint64_t *first,
			uint64_t *n);

#endif
