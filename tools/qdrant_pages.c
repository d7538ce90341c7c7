#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/qdrant_config.h"
#include "tools/qdrant_pages_internal.h"

#define CONFIG_MAX (64 * PFS_KIB)
#define PAGE_SIZE_MAX (2 * PFS_GIB) /* so that no place in 2^32 pages overflows 64 bits */
#define BLOCK_SIZE_USUAL 128
#define WINDOW_ENTRIES 4096 /* of the tracker, held at once */

static void set_bit(uint8_t *bits, uint64_t i)
{
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* ---- configuration ---- */

static bool geometry_is_sound(const struct qdrant_pages *p)
{
	return p->block_size > 0 && p->page_size >= p->block_size &&
	       p->page_size <= PAGE_SIZE_MAX && p->page_size % p->block_size == 0;
}

static int refuse_layout(const struct qdrant_pages *p, const char *what,
			 struct pfs_json_slice value, struct pfs_reason *reason)
{
	return pfs_refuse(reason, -EPROTONOSUPPORT,
			  "%s/config.json: %s %.*s is not known; read it through Qdrant (its "
			  "scroll API, whose answers import takes, too)",
			  p->directory, what, (int)pfs_min_u64(value.len, 64),
			  (const char *)value.p);
}

/* Takes what the text says. False: it is not what Qdrant writes. *err: it is, but of a layout that
 * we do not know. */
static bool take_config(struct qdrant_pages *p, const uint8_t *text, size_t len, int *err,
			struct pfs_reason *reason)
{
	struct pfs_json_slice mode, compression;

	if (qdrant_config_member(text, len, "mode", &mode) != PFS_JSON_OK ||
	    qdrant_config_member(text, len, "compression", &compression) != PFS_JSON_OK)
		return false;
	if (mode.p && !pfs_json_string_is(mode, "mutable")) {
		*err = refuse_layout(p, "the mode", mode, reason);
		return true;
	}
	if (compression.p && pfs_json_string_is(compression, "None")) {
		p->compression = QDRANT_RAW;
	} else if (compression.p && !pfs_json_string_is(compression, "LZ4")) {
		*err = refuse_layout(p, "the compression", compression, reason);
		return true;
	}
	return qdrant_config_number(text, len, "page_size_bytes", &p->page_size) &&
	       qdrant_config_number(text, len, "block_size_bytes", &p->block_size) &&
	       geometry_is_sound(p);
}

/* The page files say how long they are; the rest is as Qdrant has it when nobody asks otherwise. */
static void guess_config(struct qdrant_pages *p, uint64_t longest, const char *why)
{
	p->compression = QDRANT_EITHER;
	p->block_size = BLOCK_SIZE_USUAL;
	p->page_size = longest;
	p->damaged = true;
	if (!geometry_is_sound(p))
		p->page_size = PAGE_SIZE_MAX; /* nothing will be found in them */
	qdrant_note(p->notes,
		    "%s/config.json: %s: pages of %" PRIu64 " bytes and blocks of %d are assumed",
		    p->directory, why, p->page_size, BLOCK_SIZE_USUAL);
}

static int read_config(struct qdrant_pages *p, uint64_t longest, struct pfs_reason *reason)
{
	struct qdrant_file file;
	uint8_t *text = NULL;
	size_t len = 0;
	int err = qdrant_file_open(&file, p->directory, "config.json"), unknown = 0;

	if (!err)
		err = qdrant_file_load(&file, CONFIG_MAX, &text, &len);
	p->compression = QDRANT_LZ4;
	if (err == -ENOENT)
		guess_config(p, longest, "there is none");
	else if (err == -ENOMEM)
		unknown = err;
	else if (err)
		guess_config(p, longest, strerror(-err));
	else if (!take_config(p, text, len, &unknown, reason))
		guess_config(p, longest, "damaged");
	free(text);
	qdrant_file_close(&file);
	return unknown;
}

/* ---- page files ---- */

/* The number in page_N.dat; false: the name is another one. */
static bool page_number(const char *name, uint64_t *number)
{
	uint64_t n = 0;

	if (strncmp(name, "page_", 5) != 0 || name[5] < '0' || name[5] > '9')
		return false;
	for (name += 5; *name >= '0' && *name <= '9'; name++) {
		n = n * 10 + (uint64_t)(*name - '0');
		if (n > UINT32_MAX)
			return false;
	}
	*number = n;
	return strcmp(name, ".dat") == 0;
}

/* Counts the page files; *longest is the size of the longest one. */
static int list_pages(struct qdrant_pages *p, uint64_t *longest, uint64_t *files)
{
	DIR *dir = opendir(p->directory);
	struct dirent *name;
	struct stat st;
	uint64_t number;

	*longest = *files = 0;
	if (!dir)
		return -errno;
	while ((name = readdir(dir))) {
		if (!page_number(name->d_name, &number) ||
		    fstatat(dirfd(dir), name->d_name, &st, 0) || !S_ISREG(st.st_mode))
			continue;
		++*files;
		p->page_count = pfs_max_u64(p->page_count, number + 1);
		*longest = pfs_max_u64(*longest, (uint64_t)st.st_size);
	}
	closedir(dir);
	return 0;
}

/* ---- the tracker ---- */

int qdrant_get_entry(struct qdrant_pages *p, uint64_t internal, struct qdrant_entry *entry)
{
	const uint8_t *at;

	if (internal < p->window_at || internal - p->window_at >= p->window_len) {
		uint64_t n = pfs_min_u64(WINDOW_ENTRIES, p->there - internal);
		size_t got;

		p->window_at = internal;
		(void)qdrant_file_read(&p->tracker,
				       QDRANT_TRACKER_HEAD_LEN + QDRANT_ENTRY_LEN * internal,
				       p->window, (size_t)n * QDRANT_ENTRY_LEN, &got);
		p->window_len = got / QDRANT_ENTRY_LEN;
		if (!p->window_len)
			return -EIO;
	}
	at = p->window + (internal - p->window_at) * QDRANT_ENTRY_LEN;
	*entry = (struct qdrant_entry){pfs_get_le32(at), pfs_get_le32(at + 4), pfs_get_le32(at + 8),
				       pfs_get_le32(at + 12)};
	return 0;
}

/* What lies behind the count is zero; if it is not, the count is wrong, and what there is counts.
 */
static void look_behind_count(struct qdrant_pages *p)
{
	uint64_t last = p->count, said = p->count;
	struct qdrant_entry e;

	for (uint64_t i = p->count; i < p->there; i++) {
		if (qdrant_get_entry(p, i, &e) == 0 && (e.tag | e.page | e.block | e.length))
			last = i + 1;
	}
	if (last == said)
		return;
	p->count = last;
	p->damaged = true;
	qdrant_note(p->notes,
		    "%s: its count of %" PRIu64 " is damaged: there are entries up to %" PRIu64,
		    p->tracker.path, said, last);
}

static int open_tracker(struct qdrant_pages *p)
{
	int err = qdrant_file_open(&p->tracker, p->directory, "tracker.dat");
	uint8_t head[QDRANT_TRACKER_HEAD_LEN];
	size_t got = 0;

	if (err == -ENOMEM)
		return err;
	if (!err)
		err = qdrant_file_read(&p->tracker, 0, head, sizeof(head), &got);
	if (err || got < sizeof(head)) {
		p->damaged = true;
		p->count = UINT32_MAX; /* nobody knows: a missing value is not an empty one */
		qdrant_note(p->notes, "%s: %s: no payload can be found without it", p->tracker.path,
			    err ? strerror(-err) : "has no bytes");
		return 0;
	}
	p->count = pfs_get_le32(head);
	p->there = (p->tracker.size - QDRANT_TRACKER_HEAD_LEN) / QDRANT_ENTRY_LEN;
	look_behind_count(p);
	if (p->there < p->count) {
		p->damaged = true;
		qdrant_note(p->notes,
			    "%s: ends at byte %" PRIu64 ", behind %" PRIu64 " of %" PRIu64
			    " entries",
			    p->tracker.path, p->tracker.size, p->there, p->count);
	}
	p->there = pfs_min_u64(p->there, p->count);
	return 0;
}

/* ---- whose the blocks are ---- */

bool qdrant_find_blocks(const struct qdrant_pages *p, const struct qdrant_entry *e, uint64_t *first,
			uint64_t *n)
{
	*first = e->page * p->page_blocks + e->block;
	*n = (e->length + p->block_size - 1) / p->block_size;
	return e->tag == 1 && e->length > 0 && e->page < p->page_count &&
	       e->block < p->page_blocks && *n <= p->page_count * p->page_blocks - *first;
}

/* The blocks of one value. */
struct extent {
	uint64_t first;
	uint32_t n, internal;
};

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Of sorted extents, marks those that share blocks. Whatever reaches as far as the start of the
 * next one overlaps the one that reaches farthest, too. */
static void mark_overlaps(struct qdrant_pages *p, const struct extent *extents, size_t count)
{
	const struct extent *farthest = extents;

	for (size_t i = 1; i < count; i++) {
		const struct extent *e = &extents[i];

		if (e->first < farthest->first + farthest->n) {
			set_bit(p->overlaps, e->internal);
			set_bit(p->overlaps, farthest->internal);
		}
		if (e->first + e->n > farthest->first + farthest->n)
			farthest = e;
	}
}

static int find_overlaps(struct qdrant_pages *p)
{
	struct extent *extents = NULL;
	size_t count = 0, cap = 0;
	uint64_t first, n;
	struct qdrant_entry e;

	p->overlaps = calloc(1, p->there / 8 + 1);
	if (!p->overlaps)
		return -ENOMEM;
	for (uint64_t i = 0; i < p->there; i++) {
		if (qdrant_get_entry(p, i, &e) || !qdrant_find_blocks(p, &e, &first, &n))
			continue;
		if (count == cap) {
			struct extent *grown;

			cap = cap ? 2 * cap : WINDOW_ENTRIES;
			grown = reallocarray(extents, cap, sizeof(*extents));
			if (!grown) {
				free(extents);
				return -ENOMEM;
			}
			extents = grown;
		}
		extents[count++] = (struct extent){first, (uint32_t)n, (uint32_t)i};
	}
	if (count)
		qsort(extents, count, sizeof(*extents), compare_extents);
	mark_overlaps(p, extents, count);
	free(extents);
	return 0;
}

/* bitmask.dat covers whole pages; otherwise it is not what it was, and is not asked. */
static int read_bitmask(struct qdrant_pages *p)
{
	uint64_t blocks = p->page_count * p->page_blocks;
	struct qdrant_file file;
	size_t len, got = 0;
	int err = qdrant_file_open(&file, p->directory, "bitmask.dat");

	p->marked_blocks = pfs_min_u64(file.size, blocks / 8 + 1) * 8;
	len = p->marked_blocks / 8;
	if (!err && p->page_count) {
		p->marked = malloc(len + 1);
		err = p->marked ? qdrant_file_read(&file, 0, p->marked, len, &got) : -ENOMEM;
	}
	if (err != -ENOMEM && p->page_count &&
	    (err || got < len || !len || file.size * 8 % p->page_blocks)) {
		qdrant_note(p->notes, "%s: %s: it is not asked which blocks are in use", file.path,
			    err ? strerror(-err) : "cut off");
		free(p->marked);
		p->marked = NULL;
	}
	qdrant_file_close(&file);
	return err == -ENOMEM ? err : 0;
}

/* ---- opening ---- */

static int open_parts(struct qdrant_pages *p, struct pfs_reason *reason)
{
	uint64_t longest, files;
	int err;

	if (qdrant_is_file(p->directory, "log_tracker.dat") &&
	    !qdrant_is_file(p->directory, "tracker.dat"))
		return pfs_refuse(reason, -EPROTONOSUPPORT,
				  "%s: the mode \"append_only\" is not known; read it through "
				  "Qdrant (its scroll API, whose answers import takes, too)",
				  p->directory);
	if (!qdrant_is_file(p->directory, "config.json") &&
	    !qdrant_is_file(p->directory, "tracker.dat"))
		return pfs_refuse(reason, -ENOENT, "%s: no payload storage of Qdrant is here",
				  p->directory);
	err = list_pages(p, &longest, &files);
	if (err)
		return pfs_refuse(reason, err, "%s: %s", p->directory, strerror(-err));
	err = read_config(p, longest, reason);
	if (err)
		return err;
	p->page_blocks = p->page_size / p->block_size;
	if (files < p->page_count)
		qdrant_note(p->notes, "%s: %" PRIu64 " of %" PRIu64 " page files are missing",
			    p->directory, p->page_count - files, p->page_count);
	p->window = malloc((size_t)WINDOW_ENTRIES * QDRANT_ENTRY_LEN);
	err = p->window ? open_tracker(p) : -ENOMEM;
	if (!err)
		err = find_overlaps(p);
	return err ? err : read_bitmask(p);
}

int qdrant_pages_open(struct qdrant_pages **out, const char *directory,
		      const struct qdrant_notes *notes, struct pfs_reason *reason)
{
	struct qdrant_pages *p = calloc(1, sizeof(*p));
	int err;

	*out = NULL;
	if (!p)
		return -ENOMEM;
	p->notes = notes;
	p->page.fd = p->tracker.fd = -1;
	p->directory = strdup(directory);
	err = p->directory ? open_parts(p, reason) : -ENOMEM;
	if (err)
		qdrant_pages_close(p);
	else
		*out = p;
	return err;
}

void qdrant_pages_close(struct qdrant_pages *p)
{
	if (!p)
		return;
	qdrant_file_close(&p->tracker);
	qdrant_file_close(&p->page);
	free(p->window);
	free(p->overlaps);
	free(p->marked);
	free(p->stored.bytes);
	free(p->raw.bytes);
	free(p->directory);
	free(p);
}

uint64_t qdrant_pages_count(const struct qdrant_pages *p)
{
	return p->there;
}

bool qdrant_pages_damaged(const struct qdrant_pages *p)
{
	return p->damaged;
}

bool qdrant_pages_has(struct qdrant_pages *p, uint64_t internal)
{
	struct qdrant_entry e;

	return internal < p->there && qdrant_get_entry(p, internal, &e) == 0 && e.tag != 0;
}
