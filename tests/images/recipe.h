/* Broken stores made from golden images, as their recipes say (tests/README.md, "Images"). */
#ifndef PFS_TEST_RECIPE_H
#define PFS_TEST_RECIPE_H

#include <dirent.h>
#include <limits.h>

#include "storage/codec.h"
#include "storage/crc.h"
#include "storage/page.h"
#include "storage/record.h"
#include "tests/images/image.h"

#define IMAGES "tests/images"
#define GOLDEN IMAGES "/golden-v1/"

/* Bytes that can't be read until they are written, or so often. */
struct unreadable {
	char name[64];
	uint64_t from, end;
	unsigned long times;
	bool for_ever; /* also when they were written */
};

struct recipe {
	char path[512];
	struct pfs_sim *sim, *closed; /* the broken one; the one that documents are looked up in */
	char segment[32];	      /* file of the journal that has records */
	struct unreadable bad[8];
	size_t bad_count;
};

/* A file: its name, `segment`, or `page:KEY`, the page that a document is in. */
static inline const char *file_of(const struct recipe *r, const char *text)
{
	struct pfs_key key;

	if (strcmp(text, "segment") == 0)
		return r->segment;
	if (strncmp(text, "page:", 5) != 0)
		return text;
	key = key_named(text + 5);
	return page_name(place_of(r->closed, &key).page);
}

/* An offset: N, `end-N`, `record:I` of the journal, `slot:KEY` or `value:KEY` of a document; then
 * maybe +N. */
static inline uint64_t offset_of(const struct recipe *r, const char *file, const char *text)
{
	const char *plus = strrchr(text, '+');
	uint64_t at = PFS_SEGMENT_DATA, add = plus ? strtoull(plus + 1, NULL, 0) : 0;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", plus ? (int)(plus - text) : 63, text);
	if (strncmp(name, "end-", 4) == 0)
		return size_at(r->sim, file) - strtoull(name + 4, NULL, 0);
	if (strncmp(name, "record:", 7) == 0) {
		for (unsigned i = (unsigned)atoi(name + 7); i > 0; i--) {
			uint8_t len[4];

			read_at(r->sim, r->segment, at, len, sizeof(len));
			at += pfs_get_le32(len);
		}
		return at + add;
	}
	if (strncmp(name, "slot:", 5) == 0 || strncmp(name, "value:", 6) == 0) {
		struct pfs_key key = key_named(strchr(name, ':') + 1);
		struct pfs_place place = place_of(r->closed, &key);

		return add + (*name == 's' ? pfs_slot_offset(place.slot) : place.offset);
	}
	return strtoull(name, NULL, 0) + add;
}

/* Seals `len` bytes at `off`, of which those from `from` on are summed, after they were changed. */
static inline void seal(struct recipe *r, const char *file, uint64_t off, size_t from, size_t len,
			uint64_t crc_at)
{
	uint8_t *bytes = malloc(len), crc[4];

	read_at(r->sim, file, off, bytes, len);
	pfs_put_le32(crc, pfs_crc32c(0, bytes + from, len - from));
	write_at(r->sim, file, off + crc_at, crc, sizeof(crc));
	free(bytes);
}

static inline void seal_index(struct recipe *r)
{
	size_t head = sizeof(struct pfs_index_disk), size = size_at(r->sim, PFS_INDEX_NAME);

	seal(r, PFS_INDEX_NAME, 0, 12, head, 8);
	if (size > head + 4)
		seal(r, PFS_INDEX_NAME, head, 0, size - 4 - head, size - 4 - head);
}

static inline void seal_segment(struct recipe *r, const char *file)
{
	uint8_t head[sizeof(struct pfs_segment_disk)];

	seal(r, file, 0, 12, sizeof(head), 8);
	read_at(r->sim, file, 0, head, sizeof(head));
	write_at(r->sim, file, PFS_SEGMENT_STRIDE, head, sizeof(head));
}

/* The record at off of a segment, as its header says that it begins. */
static inline void seal_record(struct recipe *r, const char *file, uint64_t off)
{
	uint8_t seed[16 + PFS_UUID_LEN], *bytes, crc[4], len[4];
	struct pfs_segment_disk head;

	read_at(r->sim, file, 0, &head, sizeof(head));
	memcpy(seed, head.open_epoch.b, 8);
	memcpy(seed + 8, head.number.b, 8);
	memcpy(seed + 16, head.uuid, PFS_UUID_LEN);
	read_at(r->sim, file, off, len, sizeof(len));
	bytes = malloc(pfs_get_le32(len));
	read_at(r->sim, file, off, bytes, pfs_get_le32(len));
	pfs_put_le32(crc,
		     pfs_record_crc(pfs_crc32c(0, seed, sizeof(seed)), bytes, pfs_get_le32(len)));
	write_at(r->sim, file, off + 4, crc, sizeof(crc));
	free(bytes);
}

/* The container of a document, whose bytes were changed. */
static inline void seal_value(struct recipe *r, const char *name)
{
	struct pfs_key key = key_named(name);
	struct pfs_place place = place_of(r->closed, &key);
	const char *file = page_name(place.page), *why;
	uint8_t *bytes = malloc(place.container_len);
	struct pfs_container_base base;
	struct pfs_page_header header;
	struct pfs_slot_disk slot_disk;
	struct pfs_page_disk disk;
	struct pfs_container c;
	struct pfs_slot slot;

	read_at(r->closed, file, 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	read_at(r->closed, file, pfs_slot_offset(place.slot), &slot_disk, sizeof(slot_disk));
	assert_int_equal(pfs_slot_decode(&slot, &slot_disk, PFS_PAGE_HEADER_LEN, header.page_size),
			 0);
	base = (struct pfs_container_base){slot.kind, slot.tag, header.base_seq, header.base_mtime};
	read_at(r->sim, file, place.offset, bytes, place.container_len);
	if (pfs_container_header_decode(&c, bytes, place.container_len, place.container_len,
					&base) != 0)
		fail_msg("the container of %s has no header that could be sealed", name);
	pfs_container_seal(bytes, c.header_len, c.body_len, bytes[4], c.seq, &base);
	write_at(r->sim, file, place.offset, bytes, place.container_len);
	free(bytes);
}

static inline void truncate_file(struct recipe *r, const char *file, uint64_t size)
{
	struct pfs_dir *dir;
	struct pfs_file *f = store_file(r->sim, file, &dir);

	assert_int_equal(f->ops->truncate(f, size), 0);
	store_file_done(dir, f);
}

static inline void copy_file(struct recipe *r, struct pfs_sim *from_sim, const char *from,
			     const char *to)
{
	uint64_t size = size_at(from_sim, from);
	uint8_t *bytes = malloc(size + 1);

	read_at(from_sim, from, 0, bytes, size);
	make_file(r->sim, to);
	write_at(r->sim, to, 0, bytes, size);
	free(bytes);
}

/* Takes bytes out of a file (count > 0), or puts zeros into it. */
static inline void shift(struct recipe *r, const char *file, uint64_t off, int64_t count)
{
	uint64_t size = size_at(r->sim, file), from = count > 0 ? off + (uint64_t)count : off;
	size_t len = size - from;
	uint8_t *bytes = calloc(1, len + (size_t)llabs(count));

	read_at(r->sim, file, from, bytes + (count < 0 ? -count : 0), len);
	truncate_file(r, file, off);
	write_at(r->sim, file, off, bytes, count < 0 ? len + (size_t)-count : len);
	free(bytes);
}

/* ---- what can't be read ---- */

static inline bool is_at(const struct unreadable *bad, const struct pfs_sim_step *step)
{
	return strcmp(step->name, bad->name) == 0 && step->off < bad->end &&
	       bad->from < step->off + step->len;
}

static inline int fail_bad_read(void *arg, const struct pfs_sim_step *step)
{
	struct recipe *r = arg;

	for (size_t i = 0; i < r->bad_count; i++) {
		if (step->kind != PFS_SIM_READ || !is_at(&r->bad[i], step) || !r->bad[i].times)
			continue;
		r->bad[i].times--;
		return -EIO;
	}
	return 0;
}

/* A sector that can't be read can't be written in part. */
static inline int clear_bad(void *arg, const struct pfs_sim_step *step)
{
	struct recipe *r = arg;

	for (size_t i = 0; i < r->bad_count; i++) {
		struct unreadable *bad = &r->bad[i];

		if (step->kind != PFS_SIM_WRITE || !is_at(bad, step) ||
		    step->len < PFS_SIM_SECTOR || bad->for_ever)
			continue;
		if (step->off <= bad->from)
			bad->from = step->off + step->len;
		else
			bad->end = step->off;
	}
	return 0;
}

static inline void make_unreadable(struct recipe *r, const char *file, uint64_t off, uint64_t len,
				   const char *times)
{
	struct unreadable *bad = &r->bad[r->bad_count++];

	assert_true(r->bad_count <= pfs_array_len(r->bad));
	snprintf(bad->name, sizeof(bad->name), "%s", file);
	bad->from = off;
	bad->end = off + len;
	bad->for_ever = times && strcmp(times, "ever") == 0;
	bad->times = times && !bad->for_ever ? strtoul(times, NULL, 0) : ULONG_MAX;
}

/* ---- recipes ---- */

/* A page of a store that is not this one. */
static inline void plant_foreign(struct recipe *r, const char *to)
{
	struct pfs_sim *other = pfs_sim_new();
	struct pfs_key key = pfs_key_num(9);
	struct pfs_store *store;

	create_store(other, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(other);
	put_document(store, &key, 300, 2);
	assert_int_equal(pfs_store_close(store), 0);
	copy_file(r, other, page_name(1), to);
	pfs_sim_free(other);
}

/* One line of damage. False: it is none. */
static inline bool apply(struct recipe *r, char *words[6])
{
	const char *what = words[0], *file = words[1] ? file_of(r, words[1]) : "";
	char name[64];
	uint64_t off;
	uint8_t bytes[8192];

	snprintf(name, sizeof(name), "%s", file);
	if (strcmp(what, "remove") == 0) {
		remove_file(r->sim, name);
	} else if (strcmp(what, "copy") == 0) {
		copy_file(r, r->sim, name, words[2]);
	} else if (strcmp(what, "foreign") == 0) {
		plant_foreign(r, name);
	} else if (strcmp(what, "make") == 0) {
		make_file(r->sim, name);
	} else if (strcmp(what, "seal-super") == 0 && words[2]) {
		off = offset_of(r, name, words[2]);
		seal(r, PFS_SUPER_NAME, off, 12, sizeof(struct pfs_super_disk), 8);
	} else if (strcmp(what, "seal-super") == 0) {
		seal(r, PFS_SUPER_NAME, 0, 12, sizeof(struct pfs_super_disk), 8);
		copy_file(r, r->sim, PFS_SUPER_NAME, "super.tmp");
		read_at(r->sim, PFS_SUPER_NAME, 0, bytes, 256);
		write_at(r->sim, PFS_SUPER_NAME, 4096, bytes, 256);
		remove_file(r->sim, "super.tmp");
	} else if (strcmp(what, "seal-index") == 0) {
		seal_index(r);
	} else if (strcmp(what, "seal-value") == 0) {
		seal_value(r, words[1]);
	} else if (strcmp(what, "seal-segment") == 0 && !words[2]) {
		seal_segment(r, name);
	} else if (strcmp(what, "seal-page") == 0) {
		seal(r, name, words[2] ? offset_of(r, name, words[2]) : 0, 8, 64, 4);
	} else if (!words[2]) {
		return false;
	} else if (off = offset_of(r, name, words[2]), strcmp(what, "flip") == 0) {
		flip_bit(r->sim, name, off, words[3] ? (unsigned)atoi(words[3]) : 0);
	} else if (strcmp(what, "size") == 0) {
		truncate_file(r, name, off);
	} else if (strcmp(what, "seal-segment") == 0) {
		seal(r, name, off, 12, sizeof(struct pfs_segment_disk), 8);
	} else if (strcmp(what, "seal-record") == 0) {
		seal_record(r, name, off);
	} else if (!words[3]) {
		return false;
	} else if (strcmp(what, "cut") == 0) {
		shift(r, name, off, atoi(words[3]));
	} else if (strcmp(what, "gap") == 0) {
		shift(r, name, off, -atoi(words[3]));
	} else if (strcmp(what, "unreadable") == 0) {
		make_unreadable(r, name, off, strtoull(words[3], NULL, 0), words[4]);
	} else if (strcmp(what, "le32") == 0 || strcmp(what, "le64") == 0) {
		pfs_put_le64(bytes, strtoull(words[3], NULL, 0));
		write_at(r->sim, name, off, bytes, what[2] == '3' ? 4 : 8);
	} else if (strcmp(what, "zero") == 0) {
		memset(bytes, 0, sizeof(bytes));
		write_at(r->sim, name, off, bytes, strtoull(words[3], NULL, 0));
	} else if (strcmp(what, "junk") == 0) {
		fill_document(bytes, sizeof(bytes), 4711);
		write_at(r->sim, name, off, bytes, strtoull(words[3], NULL, 0));
	} else if (strcmp(what, "hex") == 0) {
		size_t len = strlen(words[3]) / 2;

		for (size_t i = 0; i < len; i++)
			assert_int_equal(sscanf(words[3] + 2 * i, "%2hhx", &bytes[i]), 1);
		write_at(r->sim, name, off, bytes, len);
	} else {
		return false;
	}
	return true;
}

/* Makes the image of a recipe, which ends with the file or at a line of `==`. Its lines of damage
 * are done, the expectations put into `expected`. */
static inline void read_recipe(struct recipe *r, FILE *in, char *expected, size_t cap)
{
	char line[LINE_MAX_LEN];

	expected[0] = '\0';
	r->closed = load_image(GOLDEN "closed");
	while (fgets(line, sizeof(line), in) && strncmp(line, "==", 2) != 0) {
		char *words[6] = {NULL}, *save = NULL;
		size_t count = 0;

		if (strncmp(line, "check:", 6) == 0 || strncmp(line, "open:", 5) == 0 ||
		    strncmp(line, "repair:", 7) == 0) {
			assert_true(strlen(expected) + strlen(line) < cap);
			strcat(expected, line);
			continue;
		}
		for (char *word = strtok_r(line, " \n", &save); word && count < 5;
		     word = strtok_r(NULL, " \n", &save))
			words[count++] = word;
		if (!words[0] || words[0][0] == '#')
			continue;
		if (strcmp(words[0], "base") == 0) {
			char path[512];

			snprintf(path, sizeof(path), GOLDEN "%s", words[1]);
			r->sim = load_image(path);
			(void)find_segment(r->sim, r->segment); /* of a closed store none */
		} else if (!apply(r, words)) {
			fail_msg("%s: unknown line: %s", r->path, words[0]);
		}
	}
	pfs_sim_settle(r->sim);
	if (r->bad_count) {
		pfs_sim_on_look(r->sim, fail_bad_read, r);
		pfs_sim_on_step(r->sim, clear_bad, r);
	}
}

static inline void make_broken(struct recipe *r, char *expected, size_t cap)
{
	FILE *in = fopen(r->path, "r");

	assert_non_null(in);
	read_recipe(r, in, expected, cap);
	fclose(in);
}

static inline int is_recipe(const struct dirent *entry)
{
	return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

#endif
