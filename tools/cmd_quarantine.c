/* What repairs have taken out of a store (FORMAT.md, "quarantine"): listing it, and getting the
 * bytes of one entry. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/base64.h"
#include "storage/codec.h"
#include "storage/dict.h"
#include "storage/identify.h"
#include "storage/page.h"
#include "storage/quarantine.h"
#include "storage/super.h"
#include "tools/command.h"
#include "storage/json_scan.h"
#include "tools/report.h"

#define IDENTIFY_BUDGET (64 * PFS_MIB)

enum { OPTION_JSON = OPTION_FIRST_OWN, OPTION_RAW };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"raw", no_argument, NULL, OPTION_RAW},
	COMMON_OPTIONS,
};

/* ---- lines ---- */

/* A line: one part of an entry. */
struct part {
	struct pfs_json_slice where, key, reason, slot, bytes; /* with their quotes */
	uint64_t offset, length, number, base_seq;
	int64_t base_mtime;
	bool has_unread;
};

static bool get_number(struct pfs_json_slice value, bool negative_too, uint64_t *out)
{
	char text[24], *end;

	if (value.len == 0 || value.len >= sizeof(text))
		return false;
	memcpy(text, value.p, value.len);
	text[value.len] = '\0';
	errno = 0;
	*out = negative_too ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool take_member(struct part *part, struct pfs_json_slice name, struct pfs_json_slice value)
{
	uint64_t mtime;
	bool ok = true;

	if (pfs_json_string_is(name, "where"))
		part->where = value;
	else if (pfs_json_string_is(name, "key"))
		part->key = value;
	else if (pfs_json_string_is(name, "reason"))
		part->reason = value;
	else if (pfs_json_string_is(name, "slot_bytes"))
		part->slot = value;
	else if (pfs_json_string_is(name, "bytes"))
		part->bytes = value;
	else if (pfs_json_string_is(name, "offset"))
		ok = get_number(value, false, &part->offset);
	else if (pfs_json_string_is(name, "length"))
		ok = get_number(value, false, &part->length);
	else if (pfs_json_string_is(name, "part"))
		ok = get_number(value, false, &part->number);
	else if (pfs_json_string_is(name, "base_seq"))
		ok = get_number(value, false, &part->base_seq);
	else if (pfs_json_string_is(name, "unread"))
		part->has_unread = true;
	else if (pfs_json_string_is(name, "base_mtime")) {
		ok = get_number(value, true, &mtime);
		part->base_mtime = (int64_t)mtime;
	}
	return ok;
}

static bool is_string(struct pfs_json_slice value)
{
	return value.len >= 2 && value.p[0] == '"';
}

/* False: the line was cut off by a crash, and what it was to keep was kept again. */
static bool parse_line(const char *line, size_t len, struct part *part)
{
	const uint8_t *p = (const uint8_t *)line, *end = p + len;
	struct pfs_json_scan scan;

	*part = (struct part){.number = 1};
	if (!pfs_json_is_line_value(line, len) || *p != '{')
		return false;
	for (p++; p < end && *p != '}'; p += *p == ',') {
		struct pfs_json_slice name, value;

		if (pfs_json_scan_name(&scan, p, end, &name) != PFS_JSON_OK)
			return false;
		value.p = scan.at;
		if (pfs_json_scan_value(&scan, scan.at, end, true) != PFS_JSON_OK)
			return false;
		value.len = (size_t)(scan.at - value.p);
		if (!take_member(part, name, value))
			return false;
		p = pfs_json_skip_space(scan.at, end);
	}
	return is_string(part->where) && is_string(part->reason) && is_string(part->bytes);
}

/* ---- an entry ---- */

struct entry {
	uint64_t number, length;
	char *where, *key, *reason; /* key NULL: not known */
	bool has_slot, has_unread;
	uint8_t slot[PFS_SLOT_LEN];
	uint64_t offset, base_seq;
	int64_t base_mtime;
	uint8_t *bytes; /* of the entry that is asked for */
};

static void entry_free(struct entry *entry)
{
	free(entry->where);
	free(entry->key);
	free(entry->reason);
	free(entry->bytes);
	*entry = (struct entry){0};
}

static char *text_of(struct pfs_json_slice string)
{
	char *text = malloc(string.len + 1);
	ptrdiff_t len = text ? pfs_json_string_decode(string, text, string.len) : 0;

	if (text)
		text[len < 0 ? 0 : len] = '\0';
	return text;
}

static int begin_entry(struct entry *entry, const struct part *part, uint64_t number)
{
	uint8_t slot[PFS_SLOT_LEN + 8];

	*entry = (struct entry){
		.number = number,
		.where = text_of(part->where),
		.key = is_string(part->key) ? text_of(part->key) : NULL,
		.reason = text_of(part->reason),
		.offset = part->offset,
		.base_seq = part->base_seq,
		.base_mtime = part->base_mtime,
	};
	if (is_string(part->slot) && part->slot.len - 2 <= sizeof(slot) / 3 * 4 &&
	    pfs_base64_decode(slot, (const char *)part->slot.p + 1, part->slot.len - 2) ==
		    (ptrdiff_t)PFS_SLOT_LEN) {
		memcpy(entry->slot, slot, PFS_SLOT_LEN);
		entry->has_slot = true;
	}
	return entry->where && entry->reason ? 0 : -ENOMEM;
}

static int add_part(struct entry *entry, const struct part *part, bool with_bytes)
{
	size_t len = part->bytes.len - 2;
	ptrdiff_t n;
	uint8_t *grown;

	entry->has_unread = entry->has_unread || part->has_unread;
	if (!with_bytes) {
		entry->length += part->length;
		return 0;
	}
	grown = realloc(entry->bytes, entry->length + len / 4 * 3 + 1);
	if (!grown)
		return -ENOMEM;
	entry->bytes = grown;
	n = pfs_base64_decode(grown + entry->length, (const char *)part->bytes.p + 1, len);
	if (n < 0)
		return -EUCLEAN;
	entry->length += (uint64_t)n;
	return 0;
}

/* Calls fn for each entry (wanted 0) or for that one, which then has its bytes. 1 of fn: it was the
 * last. */
static int each_entry(FILE *file, uint64_t wanted, int (*fn)(void *arg, struct entry *entry),
		      void *arg)
{
	struct entry entry = {0};
	uint64_t number = 0;
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int err = 0;

	while (!err && (len = getline(&line, &cap, file)) > 0) {
		struct part part;

		if (line[len - 1] != '\n' || !parse_line(line, (size_t)len - 1, &part))
			continue;
		if (part.number <= 1) {
			if (number && (!wanted || number == wanted))
				err = fn(arg, &entry);
			entry_free(&entry);
			if (!err)
				err = begin_entry(&entry, &part, ++number);
		}
		if (!err && (!wanted || number == wanted))
			err = add_part(&entry, &part, wanted != 0);
	}
	if (!err && number && (!wanted || number == wanted))
		err = fn(arg, &entry);
	entry_free(&entry);
	free(line);
	return err;
}

/* ---- listing ---- */

struct listing {
	bool json, any;
};

static int list_entry(void *arg, struct entry *e)
{
	struct listing *list = arg;

	if (!list->json) {
		printf("%" PRIu64 "  %s at byte %" PRIu64 ", %" PRIu64 " byte%s: %s%s%s%s\n",
		       e->number, e->where, e->offset, e->length, pfs_plural(e->length),
		       e->key ? "document " : "", e->key ? e->key : "", e->key ? ": " : "",
		       e->reason);
		return 0;
	}
	printf("%s\n {\"entry\":%" PRIu64 ",\"file\":", list->any ? "," : "", e->number);
	list->any = true;
	print_json_string(stdout, e->where);
	printf(",\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"key\":", e->offset, e->length);
	if (e->key)
		print_json_string(stdout, e->key);
	else
		fputs("null", stdout);
	fputs(",\"reason\":", stdout);
	print_json_string(stdout, e->reason);
	printf(",\"complete\":%s}", e->has_unread ? "false" : "true");
	return 0;
}

/* ---- getting ---- */

struct getting {
	const char *store;
	bool raw, found;
	int result; /* exit code */
};

static int read_entry(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct entry *e = arg;

	if (off < e->offset || off - e->offset > e->length || len > e->length - (off - e->offset))
		return -EIO;
	memcpy(buf, e->bytes + (off - e->offset), len);
	return 0;
}

/* Whether the container verifies, with a wrong bit put right where one explains all. Says so. */
static bool verify_entry(struct entry *e, struct pfs_slot *slot)
{
	struct pfs_identify by = {
		.read = read_entry,
		.arg = e,
		.page_size = PFS_PAGE_SIZE_MAX * 4,
		.base_seq = e->base_seq,
		.base_mtime = e->base_mtime,
		.buf = malloc(PFS_IDENTIFY_ROOM),
		.budget = IDENTIFY_BUDGET,
	};
	struct pfs_identified is = {.bit = UINT64_MAX};
	enum pfs_identity identity = PFS_IDENTITY_UNKNOWN;

	if (by.buf)
		identity = pfs_identify(&by, (struct pfs_slot_disk *)e->slot, &is);
	free(by.buf);
	if (identity == PFS_IDENTITY_CONTAINER && is.bit / 8 < e->length) {
		e->bytes[is.bit / 8] ^= (uint8_t)(1u << (is.bit % 8));
		complain("entry %" PRIu64 ": one bit of it is wrong, most likely; it is written "
			 "with that bit put right",
			 e->number);
	} else if (identity != PFS_IDENTITY_WHOLE) {
		complain("entry %" PRIu64 ": its checksum is wrong: do not trust what is written",
			 e->number);
	}
	(void)pfs_slot_decode(slot, (struct pfs_slot_disk *)e->slot, PFS_PAGE_HEADER_LEN,
			      PFS_PAGE_SIZE_MAX * 4);
	return identity == PFS_IDENTITY_WHOLE;
}

/* One block of a large document, or zeros in its place. */
static bool unpack_block(const struct pfs_container *c, const uint8_t *body, uint64_t i,
			 uint8_t *raw)
{
	uint64_t table = pfs_block_count(c->raw_len) * PFS_BLOCK_ENTRY_LEN;
	const uint8_t *entry = body + i * PFS_BLOCK_ENTRY_LEN;
	uint32_t start = i ? pfs_get_le32(entry - PFS_BLOCK_ENTRY_LEN) : 0;
	uint32_t end = pfs_get_le32(entry), raw_len = pfs_block_raw_len(c->raw_len, i);
	const uint8_t *stored = body + table + start;

	memset(raw, 0, raw_len);
	if (start > end || end > c->body_len - table || end - start > raw_len ||
	    pfs_block_crc(c->content, (uint32_t)i, end, stored, end - start) !=
		    pfs_get_le32(entry + 4))
		return false;
	if (end - start == raw_len)
		memcpy(raw, stored, raw_len);
	else if (end != start && pfs_codec_unpack(raw, raw_len, stored, end - start, NULL) != 0)
		return false;
	return true;
}

static int write_blocks(const struct entry *e, const struct pfs_container *c, bool *whole)
{
	const uint8_t *body = e->bytes + c->header_len;
	uint8_t raw[PFS_BLOCK_LEN];

	for (uint64_t i = 0; i < pfs_block_count(c->raw_len); i++) {
		uint32_t len = pfs_block_raw_len(c->raw_len, i);

		if (!unpack_block(c, body, i, raw)) {
			*whole = false;
			complain("entry %" PRIu64 ": bytes %" PRIu64 " to %" PRIu64
				 " are damaged; zeros are written",
				 e->number, i * PFS_BLOCK_LEN, i * PFS_BLOCK_LEN + len - 1);
		}
		if (fwrite(raw, 1, len, stdout) != len)
			return -EIO;
	}
	return 0;
}

/* The dictionary of the store, as long as it is there; number 0: none. -ENODATA: it can't be had;
 * says why. */
static int find_dict(const char *store, uint32_t number, struct pfs_codec_dict **out)
{
	struct pfs_dict_file file = {.bytes = NULL};
	struct pfs_super super;
	struct pfs_dir *dir;
	int err;

	*out = NULL;
	if (!number)
		return 0;
	err = pfs_io_file.ops->open_dir(&pfs_io_file, store, 0, &dir);
	if (!err) {
		err = pfs_super_read(dir, &super, NULL);
		if (!err)
			err = pfs_dict_read(dir, super.uuid, number, &file);
		if (!err)
			err = pfs_codec_dict_new(out, file.bytes, file.len);
		free(file.bytes);
		dir->ops->close_dir(dir);
	}
	if (err)
		complain(PFS_DICT_NAME_FMT ", which it is packed with, can't be read: %s; get its "
					   "bytes with --raw",
			 number, strerror(-err));
	return err ? -ENODATA : 0;
}

/* Writes what a container of one body held. */
static int write_body(const char *store, const struct entry *e, const struct pfs_container *c)
{
	uint8_t raw[PFS_BLOCK_LEN];
	struct pfs_codec_dict *dict;
	int err = 0;

	if (c->raw_len > sizeof(raw))
		return -EUCLEAN;
	memcpy(raw, e->bytes + c->header_len, pfs_min_u64(c->body_len, sizeof(raw)));
	if (c->flags & PFS_CONTAINER_LZ4) {
		err = find_dict(store, c->dict, &dict);
		if (!err)
			err = pfs_codec_unpack(raw, c->raw_len, e->bytes + c->header_len,
					       c->body_len, dict);
		pfs_codec_dict_free(dict);
	}
	if (err)
		return err;
	return fwrite(raw, 1, c->raw_len, stdout) == c->raw_len ? 0 : -EIO;
}

/* Writes what the container held. -EUCLEAN: it does not decode. */
static int write_payload(const char *store, struct entry *e, bool *whole)
{
	struct pfs_container_base base = {.base_seq = e->base_seq, .base_mtime = e->base_mtime};
	struct pfs_container c;
	struct pfs_slot slot = {0};

	*whole = verify_entry(e, &slot);
	base.kind = slot.kind;
	base.tag = slot.tag;
	if (!pfs_slot_is_live(&slot) ||
	    pfs_container_header_decode(&c, e->bytes, e->length, e->length, &base) != 0 ||
	    (c.flags & PFS_CONTAINER_LOST) || c.header_len + c.body_len > e->length)
		return -EUCLEAN;
	if (c.flags & PFS_CONTAINER_BLOCKS)
		return write_blocks(e, &c, whole);
	return write_body(store, e, &c);
}

static int get_entry(void *arg, struct entry *e)
{
	struct getting *get = arg;
	bool whole = !e->has_unread;
	int err = 0;

	get->found = true;
	if (get->raw)
		fwrite(e->bytes, 1, e->length, stdout);
	else
		err = e->has_slot ? write_payload(get->store, e, &whole) : -EUCLEAN;
	if (err == -EUCLEAN)
		complain("entry %" PRIu64 ": it does not decode: get its bytes with --raw",
			 e->number);
	get->result = err || !whole ? PFS_EXIT_SOME : PFS_EXIT_OK;
	return 1;
}

/* ---- the command ---- */

static int show(const char *store, FILE *file, const char *number, bool json, bool raw)
{
	struct listing list = {.json = json};
	struct getting get = {.store = store, .raw = raw};
	uint64_t wanted = 0;
	char *end;
	int err;

	if (!number) {
		if (json)
			fputs("[", stdout);
		err = file ? each_entry(file, 0, list_entry, &list) : 0;
		if (json)
			fputs(list.any ? "\n]\n" : "]\n", stdout);
		return err ? PFS_EXIT_IO : PFS_EXIT_OK;
	}
	wanted = strtoull(number, &end, 10);
	err = file && wanted ? each_entry(file, wanted, get_entry, &get) : 0;
	if (err < 0) {
		complain("entry %s: %s", number, explain(err));
		return err == -EUCLEAN ? PFS_EXIT_SOME : PFS_EXIT_IO;
	}
	if (!get.found) {
		complain("entry %s: there is none of this number", number);
		return PFS_EXIT_SOME;
	}
	return get.result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	bool json = false, raw = false;
	struct target *target;
	char path[4096];
	FILE *file;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		json = json || c == OPTION_JSON;
		raw = raw || c == OPTION_RAW;
		if (c == OPTION_JSON || c == OPTION_RAW)
			continue;
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return usage_error(command, "one TARGET and at most one ENTRY are expected");
	if (argc - optind == 2 &&
	    strspn(argv[optind + 1], "0123456789") != strlen(argv[optind + 1]))
		return usage_error(command, "%s is not the number of an entry", argv[optind + 1]);
	result = open_target(&target, argv[optind], TARGET_CHECK, &common);
	if (result)
		return result;
	snprintf(path, sizeof(path), "%s/%s", target->store, PFS_QUARANTINE_NAME);
	file = fopen(path, "re");
	if (!file && errno != ENOENT) {
		complain("%s: %s", path, strerror(errno));
		result = PFS_EXIT_IO;
	} else {
		result = show(target->store, file, argc - optind == 2 ? argv[optind + 1] : NULL,
			      json, raw);
	}
	if (file)
		fclose(file);
	return end_output(stdout, close_target(target, result));
}

const struct command command_quarantine = {
	.name = "quarantine",
	.summary = "list what repairs have taken out, or get one entry of it",
	.usage = "[options] TARGET [ENTRY]",
	.help = "Lists what `check --repair` has taken out of the store and kept aside; with the "
		"number "
		"of an entry, writes\n"
		"the document that it holds to standard output, as far as it can be decoded (exit "
		"code 1 "
		"when not all of\n"
		"it is verified; zeros stand for the damaged parts of a large "
		"document).\n\nOptions:\n"
		"      --json          list as JSON\n"
		"      --raw           write the entry's bytes as they were in the store\n",
	.run = run,
};
