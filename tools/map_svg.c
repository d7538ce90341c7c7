/* The map as a picture. Each tile is filled from below: live, for snapshots, dead; the rest is
 * free. Pages whose turn in a compaction would come have a frame, the first of them a heavy one.
 * Colours are those of Okabe and Ito, which nearly everybody can tell apart. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/json_scan.h"
#include "tools/map.h"
#include "tools/report.h"

#define TILES_MAX 2048u
#define MARGIN 20u
#define AREA_WIDTH 920u
#define AREA_HEIGHT 460u /* tiles get smaller to stay within */
#define TILE_MAX 72u
#define TILE_MIN 8u
#define HEAD_HEIGHT 76u
#define LEGEND_HEIGHT 72u
#define NUMBER_HEIGHT 12u /* on less than that of what is filled, it is dark on light */
#define NUMBERED_TILE 34u /* from this size on the number of the page stands in it */

struct grid {
	size_t pages, tiles, per_row, rows; /* pages: for each tile */
	unsigned side, gap;
};

static void emit(struct output *out, const char *fmt, ...) PFS_PRINTF(2, 3);

static void emit(struct output *out, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	output_text(out, text);
}

/* Any bytes, as the text of an element: what can't stand in XML is shown as U+FFFD. */
static void emit_text(struct output *out, const char *text)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);

	while (p < end) {
		int len = pfs_json_utf8_len(p, end);

		if (*p == '<')
			output_text(out, "&lt;");
		else if (*p == '>')
			output_text(out, "&gt;");
		else if (*p == '&')
			output_text(out, "&amp;");
		else if (len <= 0 || *p < 0x20 ||
			 (len == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe))
			output_text(out, "\xef\xbf\xbd");
		else
			output_write(out, p, (size_t)len);
		p += len > 0 ? len : 1;
	}
}

static struct grid grid_of(const struct map *map)
{
	struct grid g = {.pages = map_pages_per_tile(map, TILES_MAX)};

	g.tiles = (map->count + g.pages - 1) / g.pages;
	for (g.side = TILE_MAX;; g.side--) {
		g.gap = g.side >= 24 ? 4 : 2;
		g.per_row = (AREA_WIDTH + g.gap) / (g.side + g.gap);
		g.rows = (g.tiles + g.per_row - 1) / g.per_row;
		if (g.side == TILE_MIN || g.rows * (g.side + g.gap) <= AREA_HEIGHT)
			return g;
	}
}

static void emit_head(const struct map *map, struct output *out, unsigned height)
{
	unsigned width = AREA_WIDTH + 2 * MARGIN;

	emit(out,
	     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
	     "viewBox=\"0 0 %u %u\" font-family=\"sans-serif\" font-size=\"13\">\n<title>",
	     width, height, width, height);
	emit_text(out, map->store);
	output_text(out, "</title>\n<style>"
			 ".f{fill:#e8e8e4}.l{fill:#0072b2}.s{fill:#cc79a7}.d{fill:#e69f00}"
			 ".w{fill:none;stroke:#222;stroke-width:1.5}"
			 ".n{fill:none;stroke:#c00000;stroke-width:3}"
			 ".x{stroke:#c00000;stroke-width:2}.e{fill:none;stroke:#222;"
			 "stroke-width:1.5;stroke-dasharray:3 2}"
			 ".p,.q{font-size:10px;fill:#fff;stroke:#222;stroke-width:2px;"
			 "paint-order:stroke}.q{fill:#222;stroke:#fff}</style>\n");
	emit(out, "<rect width=\"%u\" height=\"%u\" fill=\"#fff\"/>\n", width, height);
}

static void emit_titles(const struct map *map, const struct grid *g, struct output *out)
{
	const struct map_bytes *b = &map->total;
	uint64_t documents = map->stat.points + map->stat.scratch;

	emit(out, "<text x=\"%u\" y=\"30\" font-size=\"18\" font-weight=\"bold\">", MARGIN);
	emit_text(out, map->store);
	emit(out, "</text>\n<text x=\"%u\" y=\"50\">%s document%s, %s of payload", MARGIN,
	     group_digits(documents).text, pfs_plural(documents),
	     size_text(map->stat.raw_bytes).text);
	if (map_ratio(map) > 0)
		emit(out, ", %.2f to 1", map_ratio(map));
	emit(out, "; %s page%s, %s on disk", group_digits(map->count).text, pfs_plural(map->count),
	     size_text(b->disk).text);
	if (g->pages > 1)
		emit(out, "; each tile: %zu pages, averaged, marked when any of them would be",
		     g->pages);
	emit(out, "</text>\n<text x=\"%u\" y=\"68\">compaction: %s of dead bytes%s %s</text>\n",
	     MARGIN, size_text(map->stat.dead_bytes).text,
	     map_is_due(map) ? ", which is more than" : "; it begins above",
	     size_text(map->stat.dead_max).text);
}

/* What hovering shows. */
static void emit_hover(const struct map_tile *t, struct output *out)
{
	const struct map_bytes *b = &t->bytes;

	if (t->pages > 1)
		emit(out, "<title>pages %" PRIu32 " to %" PRIu32 " (%" PRIu32 "): ", t->first,
		     t->last, t->pages);
	else
		emit(out, "<title>page %" PRIu32 ": ", t->first);
	emit(out, "%s, of it on disk %s\nlive %s (%.0f %%)\n", size_text(b->size).text,
	     size_text(b->disk).text, size_text(b->live).text, map_percent(b->live, b->size));
	if (b->pinned)
		emit(out, "only for snapshots %s (%.0f %%)\n", size_text(b->pinned).text,
		     map_percent(b->pinned, b->size));
	emit(out, "dead %s (%.0f %%)\nfree %s (%.0f %%)", size_text(b->dead).text,
	     map_percent(b->dead, b->size), size_text(b->free).text, map_percent(b->free, b->size));
	if (t->unusable)
		output_text(out, "\ndamaged");
	if (t->emptying)
		output_text(out, "\nbeing emptied");
	if (t->next && t->pages > 1)
		emit(out,
		     "\ncompaction would empty %" PRIu32 " of them, the first as number %" PRIu32,
		     t->worth, t->next);
	else if (t->next)
		emit(out, "\ncompaction would empty it as number %" PRIu32, t->next);
	output_text(out, "</title>");
}

static void emit_rect(struct output *out, const char *class, double x, double y, double width,
		      double height)
{
	emit(out, "<rect class=\"%s\" x=\"%.5g\" y=\"%.5g\" width=\"%.5g\" height=\"%.5g\"/>",
	     class, x, y, width, height);
}

/* Fills the tile from below, and returns where the next part begins. Something is never nothing. */
static double emit_part(struct output *out, const char *class, double x, double y, double side,
			uint64_t part, uint64_t whole)
{
	double height = side * map_percent(part, whole) / 100;

	if (!part)
		return y;
	if (height < 0.5)
		height = 0.5;
	emit_rect(out, class, x, y - height, side, height);
	return y - height;
}

static void emit_tile(const struct map_tile *t, unsigned side, double x, double y,
		      struct output *out)
{
	double low = y + side;

	output_text(out, "<g>");
	emit_hover(t, out);
	emit_rect(out, "f", x, y, side, side);
	low = emit_part(out, "l", x, low, side, t->bytes.live, t->bytes.size);
	low = emit_part(out, "s", x, low, side, t->bytes.pinned, t->bytes.size);
	low = emit_part(out, "d", x, low, side, t->bytes.dead, t->bytes.size);
	if (t->unusable)
		emit(out, "<path class=\"x\" d=\"M%.5g %.5gl%u %uM%.5g %.5gl-%u %u\"/>", x, y, side,
		     side, x + side, y, side, side);
	if (t->emptying)
		emit_rect(out, "e", x + 1, y + 1, side - 2, side - 2);
	else if (t->next)
		emit_rect(out, t->next == 1 ? "n" : "w", x + 1, y + 1, side - 2, side - 2);
	if (side >= NUMBERED_TILE)
		emit(out, "<text class=\"%s\" x=\"%.5g\" y=\"%.5g\">%" PRIu32 "</text>",
		     y + side - low < NUMBER_HEIGHT ? "q" : "p", x + 4, y + side - 5, t->first);
	output_text(out, "</g>\n");
}

/* One entry: its tile, and the words beside it. Returns where the next one begins. */
static double emit_entry(struct output *out, double x, double y, const char *class,
			 const char *words)
{
	emit_rect(out, *class == 'l' || *class == 's' || *class == 'd' ? class : "f", x, y, 14, 14);
	if (*class == 'x')
		emit(out, "<path class=\"x\" d=\"M%.5g %.5gl14 14M%.5g %.5gl-14 14\"/>", x, y,
		     x + 14, y);
	else if (*class == 'w' || *class == 'n' || *class == 'e')
		emit_rect(out, class, x + 1, y + 1, 12, 12);
	emit(out, "<text x=\"%.5g\" y=\"%.5g\">%s</text>\n", x + 20, y + 12, words);
	return x + 20 + 7.2 * (double)strlen(words) + 14;
}

static void emit_legend(const struct map *map, struct output *out, double y)
{
	static const struct {
		const char *class, *name;
	} frames[] = {{"n", "compaction empties it next"},
		      {"w", "later"},
		      {"e", "being emptied"},
		      {"x", "damaged"}};
	const struct map_bytes *b = &map->total;
	const struct {
		const char *class, *name;
		uint64_t bytes;
	} parts[] = {{"l", "live", b->live},
		     {"s", "only for snapshots", b->pinned},
		     {"d", "dead", b->dead},
		     {"f", "free or never used", b->free}};
	double x = MARGIN;
	char words[128];

	for (size_t i = 0; i < pfs_array_len(parts); i++) {
		snprintf(words, sizeof(words), "%s: %s (%.0f %%)", parts[i].name,
			 size_text(parts[i].bytes).text, map_percent(parts[i].bytes, b->size));
		x = emit_entry(out, x, y, parts[i].class, words);
	}
	x = MARGIN;
	for (size_t i = 0; i < pfs_array_len(frames); i++)
		x = emit_entry(out, x, y + 24, frames[i].class, frames[i].name);
}

int map_write_svg(const struct map *map, struct output *out)
{
	struct grid g = grid_of(map);
	unsigned rows = g.rows ? (unsigned)g.rows * (g.side + g.gap) : 40;

	emit_head(map, out, HEAD_HEIGHT + rows + LEGEND_HEIGHT);
	emit_titles(map, &g, out);
	for (size_t i = 0; i < g.tiles; i++) {
		struct map_tile tile = map_tile_at(map, i * g.pages, g.pages);

		emit_tile(&tile, g.side, MARGIN + (double)(i % g.per_row * (g.side + g.gap)),
			  HEAD_HEIGHT + 10 + (double)(i / g.per_row * (g.side + g.gap)), out);
	}
	if (!map->count)
		emit(out, "<text x=\"%u\" y=\"%u\">no pages yet</text>\n", MARGIN,
		     HEAD_HEIGHT + 30);
	emit_legend(map, out, HEAD_HEIGHT + 10 + rows + 8);
	return output_text(out, "</svg>\n");
}
