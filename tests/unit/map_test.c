/* The map of a store: parts that add up whatever a page says of itself, tiles that stand for all
 * pages, marks in the order of dead shares, a picture of bounded size that is the same data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The tools' objects are not in the library. */
#include "tools/map.c"
#include "tools/map_svg.c"
#include "tools/map_text.c"
#include "tools/output.c"
#include "tools/report.c"

#define PAGE 65536u

static struct pfs_page_stat page_of(uint32_t number, uint64_t live, uint64_t dead)
{
	return (struct pfs_page_stat){.number = number,
				      .size = PAGE,
				      .disk = PAGE,
				      .live = live,
				      .dead = dead,
				      .worth = dead > PAGE / 10};
}

/* Random pages with gaps between their numbers. */
static struct pfs_page_stat *random_pages(size_t count, uint64_t seed)
{
	struct pfs_page_stat *pages = calloc(count + 1, sizeof(*pages));
	uint32_t number = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t live, dead;

		seed += UINT64_C(0x9e3779b97f4a7c15);
		live = pfs_mix64(seed) % (PAGE + 1);
		dead = pfs_mix64(seed + 1) % (PAGE - live + 1);
		number += 1 + pfs_mix64(seed + 2) % 3;
		pages[i] = page_of(number, live, dead);
		pages[i].pinned = (PAGE - live - dead) / 3;
	}
	return pages;
}

static uint64_t sum_of(const struct map_bytes *b)
{
	return b->live + b->pinned + b->dead + b->free;
}

/* Proves: the four parts are exactly the page, also of one whose figures make no sense. */
static void the_parts_of_a_page_are_the_page(void **state)
{
	static const uint64_t values[] = {0, 1, 100, PAGE - 1, PAGE, PAGE + 1, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < 7 * 7 * 7; i++) {
		struct pfs_page_stat page = page_of(1, values[i % 7], values[i / 7 % 7]);
		struct map_bytes b;

		page.pinned = values[i / 49];
		b = map_page_bytes(&page);
		assert_true(sum_of(&b) == PAGE);
		assert_true(b.live == pfs_min_u64(page.live, PAGE));
		if (page.live + page.pinned + page.dead == 3 * 100)
			assert_true(b.pinned == 100 && b.dead == 100 && b.free == PAGE - 300);
	}
}

/* Proves: with any room, each page is in exactly one tile, no more tiles than there is room for,
 * and the sums of all tiles are the totals. */
static void tiles_hold_each_page_once(void **state)
{
	static const size_t counts[] = {0, 1, 2, 79, 80, 81, 2047, 2048, 2049, 5000};
	struct pfs_store_stat stat = {0};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(counts); i++) {
		struct pfs_page_stat *pages = random_pages(counts[i], i);
		struct map map;

		assert_int_equal(map_begin(&map, &stat, pages, counts[i]), 0);
		assert_true(sum_of(&map.total) == (uint64_t)counts[i] * PAGE);
		for (size_t room = 1; room < 6000; room = room * 5 / 3 + 1) {
			size_t per_tile = map_pages_per_tile(&map, room), tiles = 0, at = 0;
			struct map_bytes sum = {0};
			uint32_t worth = 0;

			for (; at < counts[i]; at += per_tile, tiles++) {
				struct map_tile t = map_tile_at(&map, at, per_tile);

				assert_int_equal(t.first, pages[at].number);
				assert_int_equal(t.pages, pfs_min_u64(per_tile, counts[i] - at));
				assert_int_equal(t.last, pages[at + t.pages - 1].number);
				worth += t.worth;
				add(&sum, &t.bytes);
			}
			assert_true(tiles <= room);
			assert_true(counts[i] <= room ? per_tile == 1
						      : per_tile * room >= counts[i]);
			assert_memory_equal(&sum, &map.total, sizeof(sum));
			for (size_t p = 0; p < counts[i]; p++)
				worth -= pages[p].worth;
			assert_int_equal(worth, 0);
		}
		map_end(&map);
		free(pages);
	}
}

/* Proves: the turn of pages follows their dead share of the disk, not their dead bytes; equal ones
 * follow their numbers; what is not worth it, or takes no disk, has no turn. A tile has the first
 * turn of its pages. */
static void turns_follow_the_dead_share(void **state)
{
	struct pfs_page_stat pages[] = {
		page_of(3, 100, 20000), page_of(5, 100, 40000), page_of(6, 100, 20000),
		page_of(7, 100, 6000),	page_of(9, 100, 30000), page_of(11, 0, 60000),
	};
	struct pfs_store_stat stat = {0};
	struct map_tile tile;
	struct map map;

	(void)state;
	pages[4].disk = 31000;
	pages[5].disk = 0;
	assert_int_equal(map_begin(&map, &stat, pages, 6), 0);
	assert_int_equal(map.next[0], 3);
	assert_int_equal(map.next[1], 2);
	assert_int_equal(map.next[2], 4);
	assert_int_equal(map.next[3], 0);
	assert_int_equal(map.next[4], 1);
	assert_int_equal(map.next[5], 0);
	tile = map_tile_at(&map, 0, 4);
	assert_int_equal(tile.next, 2);
	assert_int_equal(tile.worth, 3);
	map_end(&map);
}

/* Proves: the mark of a tile is the most urgent of its pages. */
static void marks_have_their_order(void **state)
{
	struct pfs_page_stat pages[] = {page_of(1, 10, 9000), page_of(2, 10, 8000),
					page_of(3, 10, 0), page_of(4, 10, 0), page_of(5, 10, 0)};
	struct pfs_store_stat stat = {0};
	static const char *const want[] = {"#", "*", " ", "<", "!"};
	struct map map;

	(void)state;
	pages[3].retiring = true;
	pages[4].unusable = true;
	assert_int_equal(map_begin(&map, &stat, pages, 5), 0);
	for (size_t first = 0; first < 5; first++) {
		for (size_t n = 1; first + n <= 5; n++) {
			struct map_tile tile = map_tile_at(&map, first, n);
			const char *mark = mark_of(&tile), *most = " ";
			static const char order[] = " *#<!";

			for (size_t i = first; i < first + n; i++)
				most = strchr(order, *want[i]) > strchr(order, *most) ? want[i]
										      : most;
			assert_string_equal(mark, most);
		}
	}
	map_end(&map);
}

/* Proves: what has anything live shows it, what is empty shows nothing, full is for full ones. */
static void fills_are_proportional(void **state)
{
	struct style utf8 = style_of(false, true), ascii = style_of(false, false);
	struct map_bytes b = {.size = 8000};

	(void)state;
	assert_int_equal(fill_of(&utf8, &b), 0);
	b.live = 1;
	assert_int_equal(fill_of(&utf8, &b), 1);
	assert_int_equal(fill_of(&ascii, &b), 1);
	for (unsigned eighth = 1; eighth <= 8; eighth++) {
		b.live = eighth * 1000;
		assert_int_equal(fill_of(&utf8, &b), eighth);
	}
	assert_int_equal(fill_of(&ascii, &b), 9);
	b.live = 4000;
	assert_int_equal(fill_of(&ascii, &b), 5);
	b.size = 0;
	assert_int_equal(fill_of(&utf8, &(struct map_bytes){0}), 0);
}

static char *svg_of(const struct map *map)
{
	char path[] = "/tmp/map-test-XXXXXX", *text;
	int fd = mkstemp(path);
	struct output out;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(output_open(&out, path), 0);
	assert_int_equal(map_write_svg(map, &out), 0);
	assert_int_equal(output_commit(&out), 0);
	output_close(&out);
	close(fd);
	fd = open(path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	text = calloc(1, (size_t)st.st_size + 1);
	assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
	close(fd);
	unlink(path);
	return text;
}

static size_t count_of(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* Proves: up to TILES_MAX pages have a tile each; of more, tiles stand for several, and the picture
 * says so; it stays within its size, whatever the number of pages is. */
static void the_picture_is_bounded(void **state)
{
	static const size_t counts[] = {0, 1, 30, 2048, 2049, 100000};
	struct pfs_store_stat stat = {.page_size = PAGE};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(counts); i++) {
		struct pfs_page_stat *pages = random_pages(counts[i], i);
		size_t per_tile = (counts[i] + TILES_MAX - 1) / TILES_MAX;
		struct map map;
		unsigned width, height;
		char *svg, words[64];

		assert_int_equal(map_begin(&map, &stat, pages, counts[i]), 0);
		map.store = "/store";
		svg = svg_of(&map);
		assert_int_equal(count_of(svg, "<g>"),
				 per_tile ? (counts[i] + per_tile - 1) / per_tile : 0);
		assert_int_equal(count_of(svg, "<g>"), count_of(svg, "</g>"));
		assert_int_equal(count_of(svg, "<title>"), count_of(svg, "<g>") + 1);
		snprintf(words, sizeof(words), "each tile: %zu pages, averaged", per_tile);
		assert_int_equal(count_of(svg, words), per_tile > 1);
		assert_int_equal(count_of(svg, "no pages yet"), counts[i] == 0);
		assert_int_equal(sscanf(strstr(svg, "width="), "width=\"%u\" height=\"%u\"", &width,
					&height),
				 2);
		assert_true(width == 960 && height <= 640);
		assert_true(strlen(svg) < 1100 * 1000);
		free(svg);
		map_end(&map);
		free(pages);
	}
}

/* Proves: bytes of a path that XML does not know, or gives a meaning, do not stand in the picture.
 */
static void hostile_names_are_escaped(void **state)
{
	struct pfs_store_stat stat = {0};
	struct map map;
	char *svg;

	(void)state;
	assert_int_equal(map_begin(&map, &stat, NULL, 0), 0);
	map.store = "/a<b>&\"c\x01\xff\xc3\xa4\xef\xbf\xbf\xc3";
	svg = svg_of(&map);
	assert_int_equal(count_of(svg,
				  "/a&lt;b&gt;&amp;\"c\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd"
				  "\xef\xbf\xbd<"),
			 2);
	free(svg);
	map_end(&map);
}

/* Proves: ratio and shares of nothing are no division by it. */
static void nothing_has_no_ratio(void **state)
{
	struct map map = {0};

	(void)state;
	assert_true(map_ratio(&map) == 0);
	assert_true(map_percent(0, 0) == 0);
	map.stat.raw_bytes = 300;
	map.stat.container_bytes = 84;
	map.stat.slot_bytes = 16;
	assert_true(map_ratio(&map) == 3);
	map.stat.dead_bytes = map.stat.dead_max = 5;
	assert_false(map_is_due(&map));
	map.stat.dead_bytes++;
	assert_true(map_is_due(&map));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_parts_of_a_page_are_the_page),
		cmocka_unit_test(tiles_hold_each_page_once),
		cmocka_unit_test(turns_follow_the_dead_share),
		cmocka_unit_test(marks_have_their_order),
		cmocka_unit_test(fills_are_proportional),
		cmocka_unit_test(the_picture_is_bounded),
		cmocka_unit_test(hostile_names_are_escaped),
		cmocka_unit_test(nothing_has_no_ratio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
