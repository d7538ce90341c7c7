/* Short forms for tests that damage a store on the sim, repair it, and look at what became of it.
 */
#ifndef PFS_TEST_REPAIR_HELPERS_H
#define PFS_TEST_REPAIR_HELPERS_H

#include "storage/base64.h"
#include "storage/page.h"
#include "storage/quarantine.h"
#include "storage/super.h"
#include "tests/unit/store_helpers.h"

struct repaired {
	struct pfs_finding at[FOUND_MAX];
	size_t count, fatal;
	uint64_t steps; /* made of all that was said of progress */
	int err;
	struct pfs_repair_result result;
	struct pfs_reason reason;
};

static inline void keep_deed(void *arg, const struct pfs_finding *finding)
{
	struct repaired *done = arg;

	assert_true(done->count < FOUND_MAX);
	done->at[done->count++] = *finding;
	done->fatal += finding->fatal;
}

static inline void keep_steps(void *arg, uint64_t done, uint64_t total)
{
	struct repaired *repaired = arg;

	repaired->steps = one_step_more(repaired->steps, done, total);
}

static inline void print_deeds(const struct repaired *done)
{
	for (size_t i = 0; i < done->count; i++) {
		char key[PFS_NAME_MAX + 1];

		pfs_key_format(key, &done->at[i].key);
		print_message("%s at %llu [%s]: %s%s\n", done->at[i].where,
			      (unsigned long long)done->at[i].offset, key,
			      done->at[i].fatal ? "LOST: " : "", done->at[i].text);
	}
}

/* Repairs, whatever comes of it. Free with free(). */
static inline struct repaired *try_repair(struct pfs_sim *sim)
{
	struct repaired *done = calloc(1, sizeof(*done));

	memset(&done->reason, '?',
	       sizeof(done->reason)); /* what was there before is not looked at */
	done->err = pfs_repair(STORE, pfs_sim_io(sim), &quiet, keep_deed, keep_steps, done,
			       &done->result, &done->reason);
	assert_true((done->err != 0) == (done->reason.text[0] != '\0'));
	return done;
}

/* ---- what is set aside ---- */

static inline char *quarantine_text(struct pfs_sim *sim)
{
	uint64_t size = size_at(sim, PFS_QUARANTINE_NAME);
	char *text = malloc(size + 1);

	read_at(sim, PFS_QUARANTINE_NAME, 0, text, size);
	text[size] = '\0';
	/* What a power cut has left of a line may hold zeros. */
	for (uint64_t i = 0; i < size; i++)
		text[i] = text[i] ? text[i] : ' ';
	return text;
}

static inline bool has_quarantine(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	bool has;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	has = dir->ops->open(dir, PFS_QUARANTINE_NAME, 0, &file) == 0;
	if (has)
		file->ops->close(file);
	dir->ops->close_dir(dir);
	return has;
}

/* ---- repairing ---- */

/* The check finds as many documents as the repair, and no faults, or nothing at all. */
static inline void expect_checked(struct pfs_sim *sim, const struct repaired *done,
				  const char *when, bool remarks)
{
	struct found *found = check_store(sim);
	size_t wrong = remarks ? found->fatal : found->count;

	if (wrong) {
		print_deeds(done);
		print_message("and %s:\n", when);
		print_found(found);
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(found->result.documents, done->result.documents);
	free(found);
}

/* What was repaired, and what was set aside, is on the disk. */
static inline void expect_durable(struct pfs_sim *sim, const struct repaired *done)
{
	struct pfs_sim *cut = pfs_sim_crash_index(sim, 0);

	/* A file of the journal that was removed may be there again. */
	expect_checked(cut, done, "after a power cut", true);
	assert_int_equal(has_quarantine(cut), has_quarantine(sim));
	if (has_quarantine(sim)) {
		char *text = quarantine_text(sim), *durable = quarantine_text(cut);

		assert_string_equal(text, durable);
		free(text);
		free(durable);
	}
	pfs_sim_free(cut);
}

/* Repairs what has been on the disk for a while; then the check finds nothing (or remarks: what the
 * next opening does), also after a power cut, and repairing again changes nothing. */
static inline struct repaired *repair_but_for(struct pfs_sim *sim, bool remarks)
{
	struct repaired *done, *again;
	uint64_t steps;

	pfs_sim_settle(sim);
	done = try_repair(sim);
	if (done->err)
		fail_msg("repair: %d %s", done->err, done->reason.text);
	expect_checked(sim, done, "then", remarks);
	expect_durable(sim, done);
	steps = pfs_sim_steps(sim);
	again = try_repair(sim);
	assert_int_equal(again->err, 0);
	assert_int_equal(again->count + again->result.faults, 0);
	assert_int_equal(pfs_sim_steps(sim), steps);
	free(again);
	return done;
}

static inline struct repaired *repair_store(struct pfs_sim *sim)
{
	return repair_but_for(sim, false);
}

/* ---- documents ---- */

/* The documents of a test store: numbers, UUIDs, scratch names; small, large and empty ones. */
#define DOCS 24

static inline struct pfs_key doc_key(unsigned i)
{
	char name[80];

	if (i % 4 == 1)
		snprintf(name, sizeof(name), "00000000-0000-4000-8000-0000000000%02x", i);
	else if (i % 4 == 2)
		snprintf(name, sizeof(name), ".note-%u.swp", i);
	else
		snprintf(name, sizeof(name), "%u", 1000 + i * 3);
	return key_named(name);
}

static inline size_t doc_len(unsigned i)
{
	return i == 5 ? 0 : i == 9 ? 200000 : i == 14 ? 90001 : i % 5 == 3 ? 3000 : 60 + i * 11;
}

static inline void put_doc(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);

	put_document(store, &key, doc_len(i), i);
}

/* A closed store of these documents, in three pages. */
static inline struct pfs_sim *docs_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++)
		put_doc(store, i);
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

static inline struct pfs_place doc_place(struct pfs_sim *sim, unsigned i)
{
	struct pfs_key key = doc_key(i);

	return place_of(sim, &key);
}

/* 0: document i is there, byte for byte; else what reading it gives. Anything but its bytes fails.
 */
static inline int doc_state(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	uint8_t *expected = malloc(doc_len(i) + 1);
	void *bytes;
	size_t len;
	int err = pfs_get(store, &key, &bytes, &len, NULL);

	fill_document(expected, doc_len(i), i);
	if (!err) {
		assert_int_equal(len, doc_len(i));
		assert_memory_equal(bytes, expected, len);
		free(bytes);
	}
	free(expected);
	return err;
}

/* Which documents are gone: their count, and *last is one of them. The others are as they were. */
static inline unsigned docs_gone(struct pfs_sim *sim, unsigned *last)
{
	struct pfs_store *store = open_store(sim);
	unsigned gone = 0;

	for (unsigned i = 0; i < DOCS; i++) {
		int err = doc_state(store, i);

		if (err) {
			assert_int_equal(err, -ENOENT);
			gone++;
			if (last)
				*last = i;
		}
	}
	assert_int_equal(pfs_store_close(store), 0);
	return gone;
}

/* Repairs a store in which nothing is lost. */
static inline struct repaired *repair_all(struct pfs_sim *sim)
{
	struct repaired *done = repair_store(sim);

	if (docs_gone(sim, NULL) || done->fatal)
		print_deeds(done);
	assert_int_equal(docs_gone(sim, NULL), 0);
	assert_int_equal(done->fatal + done->result.lost + done->result.unknown, 0);
	assert_true(done->result.faults > 0);
	return done;
}

/* Repairs a store in which exactly document i is lost, which is said. */
static inline struct repaired *repair_but(struct pfs_sim *sim, unsigned i)
{
	struct repaired *done = repair_store(sim);
	struct pfs_key key = doc_key(i);
	unsigned gone = DOCS, told = 0;

	for (size_t f = 0; f < done->count; f++)
		told += done->at[f].fatal && pfs_key_equal(&done->at[f].key, &key);
	if (docs_gone(sim, &gone) != 1 || gone != i || told != 1)
		print_deeds(done);
	assert_int_equal(docs_gone(sim, &gone), 1);
	assert_int_equal(gone, i);
	assert_int_equal(told, 1);
	assert_int_equal(done->result.lost, 1);
	assert_int_equal(done->result.unknown, 0);
	return done;
}

/* ---- the quarantine ---- */

/* Whether a line keeps exactly these bytes of `where` at off, of this key (NULL: of none). */
static inline bool is_kept(struct pfs_sim *sim, const char *where, uint64_t off,
			   const struct pfs_key *key, const void *bytes, size_t len)
{
	char head[700], tail[64], name[PFS_NAME_MAX + 1];
	char *text = quarantine_text(sim), *encoded = malloc(pfs_base64_encoded_len(len) + 1);
	bool kept = false;

	snprintf(head, sizeof(head), "{\"where\":\"%s\",\"key\":", where);
	if (key) {
		pfs_key_format(name, key);
		snprintf(head + strlen(head), sizeof(head) - strlen(head), "\"%s\"", name);
	}
	snprintf(tail, sizeof(tail), "\"offset\":%llu,\"length\":%zu", (unsigned long long)off,
		 len);
	pfs_base64_encode(encoded, bytes, len);
	encoded[pfs_base64_encoded_len(len)] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		kept = kept || (strncmp(line, head, strlen(head)) == 0 && strstr(line, tail) &&
				strstr(line, encoded));
	free(text);
	free(encoded);
	return kept;
}

#endif
