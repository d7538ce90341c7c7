#include "tools/map.h"

#include <stdlib.h>

static void add(struct map_bytes *sum, const struct map_bytes *b)
{
	sum->live += b->live;
	sum->pinned += b->pinned;
	sum->dead += b->dead;
	sum->free += b->free;
	sum->size += b->size;
	sum->disk += b->disk;
}

/* The first of the parts have what is there, so that they never are more than the whole, whatever
 * a damaged page says of itself. */
static uint64_t take(uint64_t *rest, uint64_t wanted)
{
	uint64_t got = pfs_min_u64(*rest, wanted);

	*rest -= got;
	return got;
}

struct map_bytes map_page_bytes(const struct pfs_page_stat *page)
{
	struct map_bytes b = {.size = page->size, .disk = page->disk};
	uint64_t rest = page->size;

	b.live = take(&rest, page->live);
	b.pinned = take(&rest, page->pinned);
	b.dead = take(&rest, page->dead);
	b.free = rest;
	return b;
}

/* ---- whose turn it is ---- */

struct candidate {
	size_t at;
	double share;
};

static int by_share(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	if (a->share != b->share)
		return a->share < b->share ? 1 : -1;
	return a->at > b->at ? 1 : -1;
}

static int rank_pages(struct map *map)
{
	struct candidate *candidates = malloc((map->count + 1) * sizeof(*candidates));
	size_t count = 0;

	if (!candidates)
		return -ENOMEM;
	for (size_t i = 0; i < map->count; i++) {
		const struct pfs_page_stat *p = &map->pages[i];

		if (p->worth && p->disk)
			candidates[count++] =
				(struct candidate){i, (double)p->dead / (double)p->disk};
	}
	qsort(candidates, count, sizeof(*candidates), by_share);
	for (size_t i = 0; i < count; i++)
		map->next[candidates[i].at] = (uint32_t)i + 1;
	free(candidates);
	return 0;
}

int map_begin(struct map *map, const struct pfs_store_stat *stat, const struct pfs_page_stat *pages,
	      size_t count)
{
	*map = (struct map){.stat = *stat, .pages = pages, .count = count};
	map->next = calloc(count + 1, sizeof(*map->next));
	if (!map->next)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct map_bytes b = map_page_bytes(&pages[i]);

		add(&map->total, &b);
	}
	return rank_pages(map);
}

void map_end(struct map *map)
{
	free(map->next);
	map->next = NULL;
}

/* ---- tiles ---- */

size_t map_pages_per_tile(const struct map *map, size_t room)
{
	return map->count > room ? (map->count + room - 1) / room : 1;
}

struct map_tile map_tile_at(const struct map *map, size_t first, size_t pages)
{
	struct map_tile tile = {.first = map->pages[first].number};

	for (size_t i = first; i < map->count && i < first + pages; i++) {
		const struct pfs_page_stat *p = &map->pages[i];
		struct map_bytes b = map_page_bytes(p);

		tile.last = p->number;
		tile.pages++;
		tile.emptying |= p->closed || p->retiring;
		tile.unusable |= p->unusable;
		if (map->next[i]) {
			tile.worth++;
			if (!tile.next || map->next[i] < tile.next)
				tile.next = map->next[i];
		}
		add(&tile.bytes, &b);
	}
	return tile;
}

double map_ratio(const struct map *map)
{
	uint64_t stored = map->stat.container_bytes + map->stat.slot_bytes;

	return stored ? (double)map->stat.raw_bytes / (double)stored : 0;
}

bool map_is_due(const struct map *map)
{
	return map->stat.dead_bytes > map->stat.dead_max;
}

double map_percent(uint64_t part, uint64_t whole)
{
	return whole ? 100 * (double)part / (double)whole : 0;
}
