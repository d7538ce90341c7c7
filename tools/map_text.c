/* The map for a terminal: two columns for each tile, one that is filled as high as the live share
 * of the page is, one for a mark. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/map.h"
#include "tools/report.h"

#define ROWS 16u /* of tiles */
#define TILE_COLUMNS 2u
#define LABEL_COLUMNS 9u /* number of the first page in the row */

/* Dead shares of the disk behind which another colour begins. */
#define DEAD_SOME 10.0
#define DEAD_MUCH 30.0

struct style {
	const char *live, *some, *much, *damaged, *dim, *plain;
	const char *const *fills;
	unsigned fill_count;
};

static const char *const fill_blocks[] = {
	" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█",
};
static const char *const fill_digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

static struct style style_of(bool colours, bool utf8)
{
	struct style style = {"", "", "", "", "", "", fill_digits, pfs_array_len(fill_digits)};

	if (utf8) {
		style.fills = fill_blocks;
		style.fill_count = pfs_array_len(fill_blocks);
	}
	if (colours) {
		style.live = "\033[36m";
		style.some = "\033[36;43m";
		style.much = "\033[36;41m";
		style.damaged = "\033[1;31m";
		style.dim = "\033[2m";
		style.plain = "\033[0m";
	}
	return style;
}

static const char *mark_of(const struct map_tile *tile)
{
	if (tile->unusable)
		return "!";
	if (tile->emptying)
		return "<";
	return tile->next == 1 ? "#" : tile->next ? "*" : " ";
}

/* A page that has anything live is seen to have it, and one that is not full is not shown full. */
static unsigned fill_of(const struct style *s, const struct map_bytes *b)
{
	unsigned top = s->fill_count - 1;
	unsigned fill = (unsigned)(map_percent(b->live, b->size) / 100 * top + 0.5);

	if (fill == 0 && b->live)
		return 1;
	return pfs_min_u64(fill, top);
}

static void print_tile(const struct style *s, const struct map_tile *tile)
{
	double dead = map_percent(tile->bytes.dead, tile->bytes.disk);
	const char *colour = dead >= DEAD_MUCH ? s->much : dead >= DEAD_SOME ? s->some : s->live;

	if (tile->unusable)
		colour = s->damaged;
	printf("%s%s%s%s", colour, s->fills[fill_of(s, &tile->bytes)], s->plain, mark_of(tile));
}

static void print_tiles(const struct map *map, const struct style *s, unsigned columns)
{
	size_t per_row = columns > LABEL_COLUMNS + TILE_COLUMNS
				 ? (columns - LABEL_COLUMNS) / TILE_COLUMNS
				 : 1;
	size_t pages = map_pages_per_tile(map, per_row * ROWS), in_row = 0;

	for (size_t i = 0; i < map->count; i += pages) {
		struct map_tile tile = map_tile_at(map, i, pages);

		if (in_row == 0)
			printf("%s%8" PRIu32 "%s ", s->dim, tile.first, s->plain);
		print_tile(s, &tile);
		if (++in_row == per_row || i + pages >= map->count) {
			putchar('\n');
			in_row = 0;
		}
	}
	if (pages > 1)
		printf("each tile: %zu pages, averaged; marked when any of them would be\n", pages);
}

static void print_part(const char *name, uint64_t bytes, uint64_t whole)
{
	printf("%-10s %10s  %3.0f %%\n", name, size_text(bytes).text, map_percent(bytes, whole));
}

static void print_totals(const struct map *map)
{
	const struct map_bytes *b = &map->total;

	print_part("live", b->live, b->size);
	if (b->pinned)
		print_part("snapshots", b->pinned, b->size);
	print_part("dead", b->dead, b->size);
	print_part("free", b->free, b->size);
}

static void print_legend(const struct map *map, const struct style *s, bool colours)
{
	printf("%s to %s: how much of the page live documents take\n", s->fills[1],
	       s->fills[s->fill_count - 1]);
	if (colours)
		printf("behind them dead bytes: %s  %s from %.0f %%, %s  %s from %.0f %% of the "
		       "disk\n",
		       s->some, s->plain, DEAD_SOME, s->much, s->plain, DEAD_MUCH);
	puts("#: compaction empties it next; *: later; <: it is being emptied; !: damaged");
	printf("compaction: %s of dead bytes", size_text(map->stat.dead_bytes).text);
	printf("%s %s\n", map_is_due(map) ? ", which is more than" : "; it begins above",
	       size_text(map->stat.dead_max).text);
}

void map_print(const struct map *map, unsigned columns, bool colours, bool utf8)
{
	struct style style = style_of(colours, utf8);

	printf("%s: %s page%s", map->store, group_digits(map->count).text, pfs_plural(map->count));
	if (map->count)
		printf(" of %s, %s on disk", size_text(map->stat.page_size).text,
		       size_text(map->total.disk).text);
	if (map->mountpoint)
		printf(", mounted at %s", map->mountpoint);
	putchar('\n');
	printf("%s document%s, %s of payload",
	       group_digits(map->stat.points + map->stat.scratch).text,
	       pfs_plural(map->stat.points + map->stat.scratch),
	       size_text(map->stat.raw_bytes).text);
	if (map_ratio(map) > 0)
		printf(", %.2f to 1", map_ratio(map));
	putchar('\n');
	if (!map->count) {
		puts(map->stat.journal_bytes ? "no pages yet: the journal has what there is"
					     : "no pages yet");
		return;
	}
	print_tiles(map, &style, columns);
	print_totals(map);
	print_legend(map, &style, colours);
}
