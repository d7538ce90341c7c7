/* The picture of a store: its pages as tiles, in the order of their numbers. When there are more
 * pages than tiles fit, each tile stands for several, and its bytes are their sums. */
#ifndef TOOLS_MAP_H
#define TOOLS_MAP_H

#include "storage/store.h"
#include "tools/output.h"

/* Bytes of page files. The four parts of size: */
struct map_bytes {
	uint64_t live;	 /* documents, with their slots */
	uint64_t pinned; /* what only snapshots need any more */
	uint64_t dead;	 /* what compaction could give back */
	uint64_t free;	 /* the rest: never used, or given back; takes little of the disk */
	uint64_t size, disk;
};

struct map_tile {
	uint32_t first, last; /* numbers of its pages; in between some may be missing */
	uint32_t pages;
	uint32_t worth; /* pages that compaction at work would empty */
	uint32_t next;	/* of these the one whose turn is first: 1 is the very next; 0: none */
	bool emptying;	/* some page is being emptied, or empty and about to be removed */
	bool unusable;	/* some page is damaged */
	struct map_bytes bytes;
};

struct map {
	const char *store;	/* borrowed, so is the next */
	const char *mountpoint; /* NULL: not mounted */
	struct pfs_store_stat stat;
	struct map_bytes total;
	uint32_t *next; /* of each page, in the order of pages: as in map_tile */
	const struct pfs_page_stat *pages;
	size_t count;
};

/* stat and pages (in the order of their numbers, borrowed) are those of target_stat and
 * target_pages. -ENOMEM. Ended by map_end, which may also be called after a failure. */
int map_begin(struct map *map, const struct pfs_store_stat *stat, const struct pfs_page_stat *pages,
	      size_t count);
void map_end(struct map *map);

struct map_bytes map_page_bytes(const struct pfs_page_stat *page);

/* How many pages a tile stands for when there is room for room > 0 tiles; at least 1. */
size_t map_pages_per_tile(const struct map *map, size_t room);

/* The tile that begins with the page at index first < count, of so many pages at most. */
struct map_tile map_tile_at(const struct map *map, size_t first, size_t pages);

/* Payload bytes for each byte that is stored, 0 when nothing is stored. */
double map_ratio(const struct map *map);

/* Whether compaction would begin by itself. */
bool map_is_due(const struct map *map);

/* Part of a whole in percent; 0 of nothing is 0. */
double map_percent(uint64_t part, uint64_t whole);

/* Writes it as SVG 1.1, in UTF-8. Error of the output. */
int map_write_svg(const struct map *map, struct output *out);

/* Prints it to standard output, as wide as columns. */
void map_print(const struct map *map, unsigned columns, bool colours, bool utf8);

#endif
