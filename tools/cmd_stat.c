#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tools/command.h"
#include "tools/report.h"

enum { OPTION_JSON = OPTION_FIRST_OWN, OPTION_PAGES };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"pages", no_argument, NULL, OPTION_PAGES},
	COMMON_OPTIONS,
};

static void print_line(const char *name, const char *fmt, ...) PFS_PRINTF(2, 3);

static void print_line(const char *name, const char *fmt, ...)
{
	va_list args;

	printf("%-14s ", name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

/* ---- the store ---- */

static void print_store(const struct target *target, const struct pfs_store_stat *s)
{
	uint64_t used = s->container_bytes + s->slot_bytes;

	if (target->daemon_mountpoint)
		print_line("store", "%s, mounted at %s by process %" PRIu32, target->store,
			   target->daemon_mountpoint, target->daemon_pid);
	else
		print_line("store", "%s, not mounted", target->store);
	print_line("points", "%s", group_digits(s->points).text);
	print_line("scratch files", "%s", group_digits(s->scratch).text);
	print_line("payload", "%s (%s)", size_text(s->raw_bytes).text,
		   count_text(s->raw_bytes, "byte").text);
	print_line("stored", "%s: containers %s, slots %s", size_text(used).text,
		   size_text(s->container_bytes).text, size_text(s->slot_bytes).text);
	print_line("on disk", "%s: %s in %s of %s, journal %s; %s free for reuse",
		   size_text(s->disk_bytes).text, size_text(s->page_bytes).text,
		   count_text(s->pages, "page").text, size_text(s->page_size).text,
		   size_text(s->disk_bytes - s->page_bytes).text, size_text(s->free_bytes).text);
	if (s->dictionaries)
		print_line("dictionaries",
			   "%" PRIu32 ", needed by %s; new ones use number %" PRIu32,
			   s->dictionaries, count_text(s->dictionary_users, "document").text,
			   s->dictionary);
	if (s->dictionary && s->dictionary_packed)
		print_line("packs", "points that number %" PRIu32 " was not made from: %.2f to 1",
			   s->dictionary, (double)s->dictionary_raw / (double)s->dictionary_packed);
	if (s->dictionary_off)
		print_line("dict", "off: new documents are packed without dictionary");
	print_line("pages", "%s in use, %s in holes, %s never used", size_text(s->used_bytes).text,
		   size_text(s->hole_bytes).text, size_text(s->gap_bytes).text);
	print_line("dead", "%s; above %s they are compacted away", size_text(s->dead_bytes).text,
		   size_text(s->dead_max).text);
	if (s->snapshots)
		print_line("snapshots",
			   "%" PRIu64 " open, the oldest for %.0f s; %s pinned, %s of memory",
			   s->snapshots, (double)s->snapshot_age_ns / PFS_NSEC_PER_SEC,
			   size_text(s->pinned_bytes).text, size_text(s->snapshot_memory).text);
	print_line("journal", "%s not yet in the pages", size_text(s->journal_bytes).text);
	print_line("sequence", "%" PRIu64 ", durable up to %" PRIu64, s->sequence,
		   s->durable_sequence);
	print_line("options", "page size %" PRIu64 ", min value size %" PRIu64 ", format %" PRIu32,
		   s->page_size, s->min_value_size, s->format_version);
	print_line("new documents", "mode %04" PRIo32 ", owner %" PRIu32 ":%" PRIu32,
		   s->defaults.mode, s->defaults.uid, s->defaults.gid);
	print_line("filesystem", "%s, %s available", size_text(s->space_total).text,
		   size_text(s->space_available).text);
	print_line("memory", "%s of index", size_text(s->index_bytes).text);
	if (target->daemon_mountpoint)
		print_line("since mount",
			   "%s, %s, %s, %s in place, %s relocated, %s moved by compaction, %s "
			   "given back, %s decoded",
			   count_text(s->records, "record").text, count_text(s->syncs, "sync").text,
			   count_text(s->checkpoints, "checkpoint").text,
			   count_text(s->in_place, "update").text,
			   group_digits(s->relocations).text, group_digits(s->moved_values).text,
			   count_text(s->retired_pages, "page").text,
			   count_text(s->blocks_decoded, "block").text);
	if (s->doubt)
		print_line("doubt", "there are documents whose ids are not known: "
				    "run `payloadctl check --repair`");
	if (s->read_only && target->daemon_mountpoint)
		print_line("state", "read-only");
}

static struct number_text time_text(int64_t ns)
{
	time_t seconds = (time_t)(ns / PFS_NSEC_PER_SEC - (ns % PFS_NSEC_PER_SEC < 0));
	struct number_text out;
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    !strftime(out.text, sizeof(out.text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out.text, sizeof(out.text), "@%" PRId64, (int64_t)seconds);
	return out;
}

/* What of it a collection has. */
static void print_published(const struct target *target, const struct pfs_store_stat *s)
{
	print_line("collection", "%s, published", target->store);
	print_line("generation", "%" PRIu64 ", of %s", s->published_generation,
		   time_text((int64_t)s->published_ns).text);
	print_line("points", "%s", group_digits(s->points).text);
	print_line("payload", "%s (%s)", size_text(s->raw_bytes).text,
		   count_text(s->raw_bytes, "byte").text);
	print_line("stored", "%s: %s of %s, the rest %s", size_text(s->disk_bytes).text,
		   count_text(s->pages, "page").text, size_text(s->page_bytes).text,
		   size_text(s->disk_bytes - s->page_bytes).text);
	if (s->dictionary && s->dictionary_packed)
		print_line("dictionary",
			   "number %" PRIu32 ", packs points that it was not made from %.2f to 1",
			   s->dictionary, (double)s->dictionary_raw / (double)s->dictionary_packed);
	print_line("sequence", "%" PRIu64 " of the store", s->sequence);
	print_line("documents",
		   "mode %04" PRIo32 ", owner %" PRIu32 ":%" PRIu32
		   ", but for those that have their own",
		   s->defaults.mode, s->defaults.uid, s->defaults.gid);
	print_line("memory", "%s of index", size_text(s->index_bytes).text);
}

static void print_store_json(const struct target *target, const struct pfs_store_stat *s)
{
	char members[PFS_STAT_JSON_MAX];

	fputs("{\"store\":", stdout);
	print_json_string(stdout, target->store);
	if (target->daemon_mountpoint) {
		fputs(",\"mountpoint\":", stdout);
		print_json_string(stdout, target->daemon_mountpoint);
		printf(",\"pid\":%" PRIu32 ",\"read_only\":%s", target->daemon_pid,
		       s->read_only ? "true" : "false");
	} else {
		fputs(",\"mountpoint\":null", stdout);
	}
	pfs_store_stat_json(members, sizeof(members), s);
	printf(",%s}\n", members);
}

static int stat_store(struct target *target, bool json)
{
	struct pfs_store_stat stat;
	int err = target_stat(target, &stat);

	if (err) {
		target_complain(target, NULL, err);
		return target_exit(target, err);
	}
	if (json)
		print_store_json(target, &stat);
	else if (stat.published_generation)
		print_published(target, &stat);
	else
		print_store(target, &stat);
	return PFS_EXIT_OK;
}

/* ---- documents ---- */

static void print_document(const struct pfs_key *key, const struct pfs_attr *attr,
			   const struct pfs_place *p)
{
	printf("%s%s\n", key_text(key).text, pfs_key_is_point(key) ? "" : " (scratch file)");
	print_line("  payload", "%s, mode %04" PRIo32 ", owner %" PRIu32 ":%" PRIu32 ", changed %s",
		   count_text(attr->size, "byte").text, attr->mode, attr->uid, attr->gid,
		   time_text(attr->mtime_ns).text);
	if (p->in_journal)
		print_line("  place", "journal, record %" PRIu64 ", %s", p->sequence,
			   count_text(attr->stored, "byte").text);
	else
		print_line("  place",
			   "page %" PRIu32 ", slot %" PRIu32 ", container at %" PRIu64
			   ", %s, %s used",
			   p->page, p->slot, p->offset, count_text(p->container_len, "byte").text,
			   group_digits(p->packed_len).text);
	print_line("  stored as", "%s%s", p->compressed ? "LZ4" : "raw",
		   p->dictionary ? " with dictionary" : "");
	if (p->dictionary)
		print_line("  dictionary", "%" PRIu32, p->dictionary);
	if (p->blocks)
		print_line("  blocks", "%" PRIu64, p->blocks);
	if (!p->in_journal)
		print_line("  sequence", "%" PRIu64 ", checksum %08" PRIx32, p->sequence,
			   p->checksum);
}

static void print_document_json(const struct pfs_key *key, const struct pfs_attr *attr,
				const struct pfs_place *p)
{
	const char *quote = key->kind == PFS_KEY_NUM ? "" : "\"";

	if (pfs_key_is_point(key)) {
		printf("{\"id\":%s%s%s", quote, key_text(key).text, quote);
	} else {
		fputs("{\"scratch\":", stdout);
		print_json_string(stdout, key_text(key).text);
	}
	printf(",\"size\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"mode\":\"%04" PRIo32
	       "\",\"uid\":%" PRIu32 ",\"gid\":%" PRIu32 ",\"mtime_ns\":%" PRId64,
	       attr->size, attr->stored, attr->mode, attr->uid, attr->gid, attr->mtime_ns);
	printf(",\"in_journal\":%s,\"page\":%" PRIu32 ",\"slot\":%" PRIu32 ",\"offset\":%" PRIu64
	       ",\"container\":%" PRIu64 ",\"packed\":%" PRIu64,
	       p->in_journal ? "true" : "false", p->page, p->slot, p->offset, p->container_len,
	       p->packed_len);
	printf(",\"sequence\":%" PRIu64 ",\"dictionary\":%" PRIu32 ",\"checksum\":\"%08" PRIx32
	       "\",\"compressed\":%s,\"blocks\":%" PRIu64 "}",
	       p->sequence, p->dictionary, p->checksum, p->compressed ? "true" : "false",
	       p->blocks);
}

static int stat_documents(struct target *target, const struct pfs_key *keys, size_t count,
			  bool json)
{
	int result = PFS_EXIT_OK;
	bool first = true;

	if (json)
		putchar('[');
	for (size_t i = 0; i < count; i++) {
		struct pfs_place place;
		struct pfs_attr attr;
		int err = target_place(target, &keys[i], &attr, &place);

		if (err) {
			fflush(stdout);
			target_complain(target, key_text(&keys[i]).text, err);
			result = target_document_exit(target, err);
			if (result != PFS_EXIT_SOME)
				break;
			continue;
		}
		if (json) {
			fputs(first ? "" : ",\n ", stdout);
			print_document_json(&keys[i], &attr, &place);
		} else {
			print_document(&keys[i], &attr, &place);
		}
		first = false;
	}
	if (json)
		puts("]");
	return result;
}

/* ---- pages ---- */

static const char *page_state(const struct pfs_page_stat *p)
{
	if (p->unusable)
		return "damaged";
	return p->retiring ? "retiring" : p->closed ? "closed" : "";
}

/* What live documents take of the page's disk. */
static double live_share(const struct pfs_page_stat *p)
{
	return p->disk ? (double)p->live / (double)p->disk : 0;
}

static void print_pages(const struct pfs_page_stat *pages, size_t count)
{
	printf("%8s %11s %9s %9s %11s %11s %11s %11s %6s\n", "page", "on disk", "slots", "free",
	       "in use", "pinned", "holes", "never used", "live");
	for (size_t i = 0; i < count; i++) {
		const struct pfs_page_stat *p = &pages[i];
		const char *state = page_state(p);

		printf("%8" PRIu32 " %11" PRIu64 " %9" PRIu32 " %9" PRIu32 " %11" PRIu64
		       " %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %4.0f %%%s%s\n",
		       p->number, p->disk, p->slots, p->free_slots, p->used, p->pinned, p->holes,
		       p->gap, 100 * live_share(p), *state ? " " : "", state);
	}
}

static void print_pages_json(const struct pfs_page_stat *pages, size_t count)
{
	putchar('[');
	for (size_t i = 0; i < count; i++) {
		const struct pfs_page_stat *p = &pages[i];

		printf("%s{\"page\":%" PRIu32 ",\"size\":%" PRIu64 ",\"disk_bytes\":%" PRIu64
		       ",\"slots\":%" PRIu32 ",\"free_slots\":%" PRIu32,
		       i ? ",\n " : "", p->number, p->size, p->disk, p->slots, p->free_slots);
		printf(",\"used_bytes\":%" PRIu64 ",\"hole_bytes\":%" PRIu64
		       ",\"gap_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64
		       ",\"pinned_bytes\":%" PRIu64 ",\"live_bytes\":%" PRIu64 ",\"live\":%.4f",
		       p->used, p->holes, p->gap, p->free, p->pinned, p->live, live_share(p));
		printf(",\"dead_bytes\":%" PRIu64 ",\"worth_emptying\":%s", p->dead,
		       p->worth ? "true" : "false");
		printf(",\"closed\":%s,\"retiring\":%s,\"unusable\":%s}",
		       p->closed ? "true" : "false", p->retiring ? "true" : "false",
		       p->unusable ? "true" : "false");
	}
	puts("]");
}

static int stat_pages(struct target *target, bool json)
{
	struct pfs_page_stat *pages;
	size_t count;
	int err = target_pages(target, &pages, &count);

	if (err) {
		target_complain(target, NULL, err);
		return target_exit(target, err);
	}
	if (json)
		print_pages_json(pages, count);
	else
		print_pages(pages, count);
	free(pages);
	return PFS_EXIT_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct target *target;
	struct pfs_key *keys;
	bool json = false, pages = false;
	size_t count;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_JSON || c == OPTION_PAGES) {
			*(c == OPTION_JSON ? &json : &pages) = true;
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind < 1)
		return usage_error(command, "a TARGET is expected");
	count = (size_t)(argc - optind - 1);
	if (pages && count)
		return usage_error(command, "--pages is about the store, and there are IDs, too");
	keys = parse_keys(argv + optind + 1, count, &result);
	if (!keys)
		return result;
	result = open_target(&target, argv[optind], 0, &common);
	if (!result) {
		if (pages)
			result = stat_pages(target, json);
		else
			result = count ? stat_documents(target, keys, count, json)
				       : stat_store(target, json);
		result = end_output(stdout, close_target(target, result));
	}
	free(keys);
	return result;
}

const struct command command_stat = {
	.name = "stat",
	.summary = "show what is in a store, or where a document lies",
	.usage = "[options] TARGET [ID...]",
	.help = "Without ID: counts, sizes and state of the store. With IDs (or names of scratch "
		"files): size, owner,\n"
		"and the place of each in the pages.\n\nOptions:\n"
		"      --pages         a line for each page file: bytes that it takes on disk, "
		"slots, and of these\n"
		"                      free; bytes of containers, those that only snapshots need, "
		"holes, what was\n"
		"                      never used; the share of the disk that live documents "
		"take; `closed`: it\n"
		"                      is being emptied, `retiring`: about to be removed, "
		"`damaged`\n"
		"      --json          one object for the store, an array of objects for pages "
		"and documents\n",
	.run = run,
};
