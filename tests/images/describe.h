/* What check, opening and repair say of a broken store, as text, and what is left of it. */
#ifndef PFS_TEST_DESCRIBE_H
#define PFS_TEST_DESCRIBE_H

#include "tests/images/recipe.h"
#include "tests/unit/repair_helpers.h"

/* ---- the documents ---- */

/* In the order of an export: numbers ascending, then UUIDs. The scratch file comes last. */
static const char *const keys[] = {
	"0",
	"1",
	"2",
	"3",
	"42",
	"43",
	"44",
	"1000",
	"1001",
	"1002",
	"18446744073709551615",
	"00000000-0000-4000-8000-000000000001",
	"c0ffee00-0000-4000-8000-000000000002",
	".42.swp",
};
#define DOCUMENTS pfs_array_len(keys)
#define LARGE "1000" /* of several blocks */
#define ALONE "1001" /* fills a page */

/* A JSON document in one line (the scratch file holds one, too). Version 0 is the one before. */
static inline char *document(const char *key, unsigned version)
{
	bool large = strcmp(key, LARGE) == 0, alone = strcmp(key, ALONE) == 0;
	size_t size = large ? 200000 : alone ? 64000 : 120 + strlen(key) * 40, at;
	char *text = malloc(size + 200);

	at = (size_t)sprintf(text, "{\"key\":\"%s\",\"version\":%u,\"text\":\"", key, version);
	while (at < size) {
		uint64_t n = pfs_mix64(at / (alone ? 1 : 997) + version);

		if (alone) /* does not compress */
			text[at++] =
				"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
					[n % 64];
		else
			at += (size_t)sprintf(text + at, "%s word %u ", key, (unsigned)n % 1000);
	}
	memcpy(text + at, "\"}", 3);
	return text;
}

/* 0: the document is as points.ndjson says; else the error. Other bytes fail, or give 1. */
static inline int state_of(struct pfs_store *store, size_t i, bool other_bytes)
{
	static char *lines[DOCUMENTS];
	struct pfs_key key = key_named(keys[i]);
	char *expected, *own = NULL;
	void *bytes;
	size_t len, cap = 0;
	int err = pfs_get(store, &key, &bytes, &len, NULL);

	if (!lines[0]) {
		FILE *in = fopen(GOLDEN "points.ndjson", "r");

		assert_non_null(in);
		for (size_t n = 0; n + 1 < DOCUMENTS; n++, cap = 0)
			assert_true(getline(&lines[n], &cap, in) > 0);
		fclose(in);
	}
	if (err)
		return err;
	if (i + 1 < DOCUMENTS) {
		expected = strstr(lines[i], "\"payload\":") + strlen("\"payload\":");
		cap = strlen(expected) - 2; /* the closing brace and the newline */
	} else {
		expected = own = document(keys[i], 1);
		cap = strlen(expected);
	}
	if (len != cap || memcmp(bytes, expected, len) != 0)
		err = 1;
	if (err && !other_bytes)
		fail_msg("document %s has other bytes", keys[i]);
	free(bytes);
	free(own);
	return err;
}

/* ---- what is said of broken images ---- */

/* A finding, the place as FILE+OFFSET. */
static inline void print_finding(FILE *out, const char *what, const struct pfs_finding *f)
{
	char name[PFS_NAME_MAX + 1];

	pfs_key_format(name, &f->key);
	fprintf(out, "%s%s+%llu [%s] %s\n", what, f->where, (unsigned long long)f->offset,
		f->key.kind ? name : "", f->text);
}

/* The lines of the quarantine, each with a checksum in place of the bytes that it keeps. */
static inline void print_kept(FILE *out, struct pfs_sim *sim)
{
	char *text = quarantine_text(sim);

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *bytes = strstr(line, "\"bytes\":\"");

		if (bytes) {
			bytes += strlen("\"bytes\":\"");
			fprintf(out, "repair: kept %.*s%08x%s\n", (int)(bytes - line), line,
				pfs_crc32c(0, bytes, strcspn(bytes, "\"")),
				bytes + strcspn(bytes, "\""));
		} else {
			fprintf(out, "repair: kept %s\n", line);
		}
	}
	free(text);
}

/* The number in brackets is made of all that is said of progress: it is another one when one step
 * of that is. */
static inline void describe_check(struct pfs_sim *sim, FILE *out)
{
	struct found *found = calloc(1, sizeof(*found));
	struct pfs_reason reason;
	int err;

	memset(&reason, '?', sizeof(reason));
	err = pfs_check(STORE, pfs_sim_io(sim), &quiet, keep_finding, keep_progress, found,
			&found->result, &reason);

	fprintf(out,
		"check: %s, %zu faults, %llu documents damaged of %llu in %llu pages, %llu bytes "
		"right, %llu of %llu bytes looked at (%08x)\n",
		err ? reason.text : "done", found->fatal, (unsigned long long)found->result.damaged,
		(unsigned long long)found->result.documents,
		(unsigned long long)found->result.pages, (unsigned long long)found->result.bytes,
		(unsigned long long)found->done, (unsigned long long)found->total,
		(unsigned)found->steps);
	for (size_t i = 0; i < found->count; i++)
		print_finding(out, found->at[i].fatal ? "check: " : "check: (remark) ",
			      &found->at[i]);
	assert_int_equal(found->count, found->result.findings);
	free(found);
}

/* Documents that are not as they were. */
static inline void print_states(FILE *out, const char *what, struct pfs_store *store)
{
	for (size_t i = 0; i < DOCUMENTS; i++) {
		int err = state_of(store, i, true);

		if (err)
			fprintf(out, "%s: [%s] %s\n", what, keys[i],
				err == 1	 ? "is older"
				: err == -ENOENT ? "is gone"
						 : strerror(-err));
	}
}

/* What the superblock says when all is done. */
static inline void print_super(FILE *out, struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	dir->ops->close_dir(dir);
	fprintf(out,
		"repair: then sequence %llu, epochs %llu %llu %llu, pages of %llu, %u up to %u, "
		"containers from %u, dictionary %u, features %llx, mode %o, written %llu times%s\n",
		(unsigned long long)super.sequence, (unsigned long long)super.open_epoch,
		(unsigned long long)super.clean_epoch, (unsigned long long)super.journal_epoch,
		(unsigned long long)super.page_size, super.pages.count, super.pages.highest,
		super.min_value_size, super.dict_highest, (unsigned long long)super.compat,
		super.mode, (unsigned long long)super.generation, super.doubt ? ", doubt" : "");
}

static inline uint32_t crc_behind_header(uint8_t *bytes, uint64_t size)
{
	struct pfs_page_disk *copy = (struct pfs_page_disk *)(bytes + size - PFS_PAGE_TRAILER_LEN);

	memset(copy->uuid, 0, sizeof(copy->uuid));
	memset(&copy->crc, 0, sizeof(copy->crc));
	return pfs_crc32c(0, bytes + PFS_PAGE_HEADER_LEN, size - PFS_PAGE_HEADER_LEN);
}

/* What a page is then: its header, and a checksum over all behind that, but for the store's id in
 * the copy, which another store has at random. Of a larger one, which is made anew from the
 * journal, what LZ4 makes of it does not matter. */
static inline void print_page(FILE *out, const char *name, struct pfs_file *file)
{
	uint8_t *bytes;
	struct pfs_page_header header;
	const char *why;
	uint64_t size;

	assert_int_equal(file->ops->size(file, &size), 0);
	bytes = calloc(1, size + sizeof(struct pfs_page_disk));
	fprintf(out, "repair: then %s of %llu bytes", name, (unsigned long long)size);
	if (file->ops->read(file, bytes, size, 0) != (ssize_t)size)
		fprintf(out, ", which can't be read");
	else if (pfs_page_header_decode(&header, (struct pfs_page_disk *)bytes,
					((struct pfs_page_disk *)bytes)->uuid, &why) != 0)
		fprintf(out, ": %s", why);
	else if (size != PFS_PAGE_SIZE_MIN)
		fprintf(out, ", %u slots", header.slot_count);
	else
		fprintf(out, " (%08x), number %u, base %llu %lld, %u slots, containers from %u",
			crc_behind_header(bytes, size), header.number,
			(unsigned long long)header.base_seq, (long long)header.base_mtime,
			header.slot_count, header.floor);
	fputc('\n', out);
	free(bytes);
}

static inline void print_pages(FILE *out, struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	for (uint32_t i = 1; i <= 10; i++) {
		struct pfs_file *file;

		if (dir->ops->open(dir, page_name(i), 0, &file) != 0)
			continue;
		print_page(out, page_name(i), file);
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
}

static inline void describe_repair(struct pfs_sim *sim, FILE *out)
{
	struct repaired *done = try_repair(sim);
	struct pfs_store *store;

	fprintf(out,
		"repair: %s, %llu faults, %llu corrected, %llu lost, %llu unknown, %llu kept, "
		"%llu files aside, %llu documents (%08x)\n",
		done->err ? done->reason.text : "done", (unsigned long long)done->result.faults,
		(unsigned long long)done->result.corrected, (unsigned long long)done->result.lost,
		(unsigned long long)done->result.unknown, (unsigned long long)done->result.kept,
		(unsigned long long)done->result.files, (unsigned long long)done->result.documents,
		(unsigned)done->steps);
	for (size_t i = 0; i < done->count; i++)
		print_finding(out, done->at[i].fatal ? "repair: LOST " : "repair: ", &done->at[i]);
	if (has_quarantine(sim))
		print_kept(out, sim);
	if (!done->err) {
		if (done->result.faults)
			free(repair_store(sim)); /* the check finds nothing */
		print_super(out, sim);
		print_pages(out, sim);
		store = open_store(sim);
		print_states(out, "repair", store);
		assert_int_equal(pfs_store_close(store), 0);
	}
	free(done);
}

/* Prints into text what check and repair say, in the form of a recipe's `expect` lines. */
static inline void describe(struct recipe *r, FILE *out)
{
	struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(r->sim), .logger = quiet};
	struct pfs_reason reason = {.text = ""};
	struct pfs_store *store;
	int err;

	describe_check(r->sim, out);
	err = pfs_store_open(&store, STORE, &options, &reason);
	fprintf(out, "open: %s\n", err ? reason.text : "done");
	if (!err) {
		print_states(out, "open", store);
		assert_int_equal(pfs_store_close(store), 0);
	}
	describe_repair(r->sim, out);
}

#endif
