/* Broken stores made from golden images, as their recipes say (tests/README.md, "Images"). */
#ifndef PFS_TEST_RECIPE_H
#define PFS_TEST_RECIPE_H

#include <dirent.h>

#include "storage/crc.h"
#include "storage/page.h"
#include "tests/images/image.h"

#define IMAGES "tests/images"
#define GOLDEN IMAGES "/golden-v1/"

struct recipe {
	char path[512];
	struct pfs_sim *sim, *closed; /* the broken one; the one that documents are looked up in */
	char segment[32];	      /* file of the journal that has records */
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

/* Seals the header that stands at `off` anew after it was changed. */
static inline void seal(struct recipe *r, const char *file, uint64_t off, size_t from, size_t len,
			size_t crc_at)
{
	uint8_t bytes[256], crc[4];

	read_at(r->sim, file, off, bytes, len);
	pfs_put_le32(crc, pfs_crc32c(0, bytes + from, len - from));
	write_at(r->sim, file, off + crc_at, crc, sizeof(crc));
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
static inline bool apply(struct recipe *r, char *words[5])
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
	} else if (strcmp(what, "seal-super") == 0) {
		seal(r, PFS_SUPER_NAME, 0, 12, sizeof(struct pfs_super_disk), 8);
		copy_file(r, r->sim, PFS_SUPER_NAME, "super.tmp");
		read_at(r->sim, PFS_SUPER_NAME, 0, bytes, 256);
		write_at(r->sim, PFS_SUPER_NAME, 4096, bytes, 256);
		remove_file(r->sim, "super.tmp");
	} else if (strcmp(what, "seal-index") == 0) {
		seal(r, PFS_INDEX_NAME, 0, 12, sizeof(struct pfs_index_disk), 8);
	} else if (strcmp(what, "seal-page") == 0) {
		seal(r, name, 0, 8, 64, 4);
	} else if (!words[2]) {
		return false;
	} else if (off = offset_of(r, name, words[2]), strcmp(what, "flip") == 0) {
		flip_bit(r->sim, name, off, words[3] ? (unsigned)atoi(words[3]) : 0);
	} else if (strcmp(what, "size") == 0) {
		truncate_file(r, name, off);
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

/* Makes the image of a recipe. Its lines of damage are done, the expectations put into `expected`.
 */
static inline void make_broken(struct recipe *r, char *expected, size_t cap)
{
	char line[LINE_MAX_LEN];
	FILE *in = fopen(r->path, "r");

	assert_non_null(in);
	expected[0] = '\0';
	r->closed = load_image(GOLDEN "closed");
	while (fgets(line, sizeof(line), in)) {
		char *words[5] = {NULL}, *save = NULL;
		size_t count = 0;

		if (strncmp(line, "check:", 6) == 0 || strncmp(line, "open:", 5) == 0 ||
		    strncmp(line, "repair:", 7) == 0) {
			assert_true(strlen(expected) + strlen(line) < cap);
			strcat(expected, line);
			continue;
		}
		for (char *word = strtok_r(line, " \n", &save); word && count < 4;
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
	fclose(in);
	pfs_sim_settle(r->sim);
}

static inline int is_recipe(const struct dirent *entry)
{
	return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

#endif
