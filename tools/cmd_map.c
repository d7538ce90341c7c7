#include <inttypes.h>
#include <stdlib.h>

#include "tools/command.h"
#include "tools/map.h"
#include "tools/report.h"
#include "tools/terminal.h"

enum { OPTION_JSON = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

static void print_bytes_json(const struct map_bytes *b)
{
	printf("\"size\":%" PRIu64 ",\"disk_bytes\":%" PRIu64 ",\"live_bytes\":%" PRIu64
	       ",\"pinned_bytes\":%" PRIu64 ",\"dead_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64,
	       b->size, b->disk, b->live, b->pinned, b->dead, b->free);
}

static void print_json(const struct map *map)
{
	fputs("{\"store\":", stdout);
	print_json_string(stdout, map->store);
	fputs(",\"mountpoint\":", stdout);
	if (map->mountpoint)
		print_json_string(stdout, map->mountpoint);
	else
		fputs("null", stdout);
	printf(",\"points\":%" PRIu64 ",\"scratch\":%" PRIu64 ",\"raw_bytes\":%" PRIu64
	       ",\"page_size\":%" PRIu64 ",\"dead_max\":%" PRIu64 ",\"due\":%s,\"ratio\":",
	       map->stat.points, map->stat.scratch, map->stat.raw_bytes, map->stat.page_size,
	       map->stat.dead_max, map_is_due(map) ? "true" : "false");
	if (map_ratio(map) > 0)
		printf("%.4f,", map_ratio(map));
	else
		fputs("null,", stdout);
	print_bytes_json(&map->total);
	fputs(",\"pages\":[", stdout);
	for (size_t i = 0; i < map->count; i++) {
		const struct pfs_page_stat *p = &map->pages[i];
		struct map_bytes b = map_page_bytes(p);

		printf("%s{\"page\":%" PRIu32 ",", i ? ",\n " : "", p->number);
		print_bytes_json(&b);
		if (map->next[i])
			printf(",\"next\":%" PRIu32, map->next[i]);
		else
			fputs(",\"next\":null", stdout);
		printf(",\"closed\":%s,\"retiring\":%s,\"unusable\":%s}",
		       p->closed ? "true" : "false", p->retiring ? "true" : "false",
		       p->unusable ? "true" : "false");
	}
	puts("]}");
}

/* Returns an exit code. */
static int write_picture(const struct map *map, const char *path)
{
	struct output out;
	int err = output_open(&out, path);

	if (!err) {
		err = map_write_svg(map, &out);
		if (!err)
			err = output_commit(&out);
		output_close(&out);
	}
	if (!err || (err == -EPIPE && !path))
		return PFS_EXIT_OK;
	complain("%s: %s", path ? path : "standard output", strerror(-err));
	return PFS_EXIT_IO;
}

struct choice {
	bool json, picture;
	const char *path; /* of the picture; NULL: standard output */
};

static int show(struct target *target, const struct choice *choice)
{
	struct pfs_page_stat *pages = NULL;
	struct pfs_store_stat stat;
	struct map map = {0};
	size_t count = 0;
	int result = PFS_EXIT_OK, err;

	err = target_stat(target, &stat);
	if (!err)
		err = target_pages(target, &pages, &count);
	if (!err)
		err = map_begin(&map, &stat, pages, count);
	if (err) {
		target_complain(target, NULL, err);
		result = target_exit(target, err);
		goto out;
	}
	map.store = target->store;
	map.mountpoint = target->daemon_mountpoint;
	if (choice->picture)
		result = write_picture(&map, choice->path);
	else if (choice->json)
		print_json(&map);
	else
		map_print(&map, terminal_columns(), terminal_has_colours(), terminal_has_utf8());
out:
	map_end(&map);
	free(pages);
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct choice choice = {0};
	struct target *target;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqo:", options, NULL)) != -1) {
		if (c == 'o') {
			choice.picture = true;
			choice.path = strcmp(optarg, "-") ? optarg : NULL;
		} else if (c == OPTION_JSON) {
			choice.json = true;
		} else {
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	if (choice.json && choice.picture)
		return usage_error(command, "--json and --output are two kinds of output");
	result = open_only_target(&target, command, argc, argv, 0, &common);
	if (result)
		return result;
	result = show(target, &choice);
	return end_output(stdout, close_target(target, result));
}

const struct command command_map = {
	.name = "map",
	.summary = "draw the pages of a store: what is live, dead, free",
	.usage = "[options] TARGET",
	.help = "Draws each page as a tile that is filled as high as live documents take of it, "
		"with the pages\n"
		"marked that compaction would empty. In a terminal its colours tell how much is "
		"dead, "
		"unless\n"
		"NO_COLOR is set. Where there are more pages than fit, a tile stands for "
		"several.\n\n"
		"Options:\n"
		"  -o, --output=FILE  write an SVG picture instead, which shows the figures of the "
		"tile "
		"under\n"
		"                     the pointer; `-` is standard output\n"
		"      --json         print an object with the figures of each page\n",
	.run = run,
};
