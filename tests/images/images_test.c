/* Golden images, which every version of this format must open, and broken ones made from them, each
 * with what the check and the repair must say (tests/README.md, "Images").
 *
 *	images_test                    all of it
 *	images_test show [NAME]        what check and repair say of a broken image
 *	images_test make DIR           makes the golden images anew in DIR
 *	images_test unpack IMAGE DIR   writes an image's files into a directory */
#include "storage/journal.h"
#include "storage/store_internal.h"
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
static char *document(const char *key, unsigned version)
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

static void put_text(struct pfs_store *store, const char *name, const char *text)
{
	struct pfs_attr attr = {.mode = 0640, .uid = 7, .gid = 8, .mtime_ns = 1700000000};
	struct pfs_key key = key_named(name);

	assert_int_equal(pfs_put(store, &key, text, strlen(text), &attr, 0, NULL), 0);
}

static void put_version(struct pfs_store *store, const char *name, unsigned version)
{
	char *text = document(name, version);

	put_text(store, name, text);
	free(text);
}

/* ---- golden images ---- */

/* What is put from now on is packed with it. */
static void add_dictionary(struct pfs_store *store)
{
	char *text = document("42", 1);

	assert_int_equal(pfs_dict_add(store, text, strlen(text), 1000, 300), 0);
	free(text);
}

/* Closed: all documents, some of them moved, replaced, removed and made again before, and packed
 * with a dictionary then. Killed: the same store with a journal that has every kind of record. */
static void make_golden(const char *dir_name)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key from = key_named("7"), to = key_named("44");
	struct pfs_attr attr = {.mode = 0600};
	struct pfs_store *store;
	uint32_t object;
	char path[512];
	FILE *out;

	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (size_t i = 0; i < DOCUMENTS; i++)
		put_version(store, keys[i], i % 3 ? 1 : 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	add_dictionary(store);
	for (size_t i = 0; i < DOCUMENTS; i += 3)
		put_version(store, keys[i], 1);
	assert_int_equal(pfs_store_close(store), 0);
	save_image(sim, dir_name, "closed");
	store = open_store(sim);
	put_version(store, "42", 1);
	put_text(store, "7", "{}");
	assert_int_equal(pfs_rename(store, &from, &to, 0, NULL), 0);
	put_version(store, "44", 1);
	assert_int_equal(pfs_lookup(store, &to, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	put_text(store, "7", "{}");
	assert_int_equal(pfs_remove(store, &from, NULL), 0);
	from = key_named(LARGE);
	assert_int_equal(pfs_lookup(store, &from, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 1, "\"key\"", 5, 1700000001), 0);
	for (size_t i = 0; i < 3; i++) {
		put_version(store, keys[i], 1);
		assert_int_equal(pfs_sync(store), 0);
	}
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	save_image(killed, dir_name, "killed");
	snprintf(path, sizeof(path), "%s/points.ndjson", dir_name);
	out = fopen(path, "w");
	for (size_t i = 0; i + 1 < DOCUMENTS; i++) {
		const char *quote = strlen(keys[i]) == 36 ? "\"" : "";
		char *text = document(keys[i], 1);

		fprintf(out, "{\"id\":%s%s%s,\"payload\":%s}\n", quote, keys[i], quote, text);
		free(text);
	}
	fclose(out);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

/* 0: the document is as points.ndjson says; else the error. Other bytes fail, or give 1. */
static int state_of(struct pfs_store *store, size_t i, bool other_bytes)
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

/* Proves: this version opens stores of the format's first day, closed and not, for reading and for
 * writing, and has every document in them; the check finds nothing. */
static void golden_images_open(void **state)
{
	static const char *const images[] = {GOLDEN "closed", GOLDEN "killed"};

	(void)state;
	for (size_t n = 0; n < pfs_array_len(images); n++) {
		for (unsigned writing = 0; writing < 2; writing++) {
			struct pfs_sim *sim = load_image(images[n]);
			struct pfs_open_options options = {.read_only = !writing,
							   .manual = true,
							   .io = pfs_sim_io(sim),
							   .logger = quiet};
			struct pfs_store_stat stat;
			struct pfs_store *store;
			struct pfs_reason reason;

			expect_healthy(sim);
			assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
			for (size_t i = 0; i < DOCUMENTS; i++)
				assert_int_equal(state_of(store, i, false), 0);
			assert_int_equal(pfs_store_stat(store, &stat), 0);
			assert_int_equal(stat.points, DOCUMENTS - 1);
			assert_int_equal(stat.scratch, 1);
			if (writing)
				put_version(store, "5", 1);
			assert_int_equal(pfs_store_close(store), 0);
			expect_healthy(sim);
			pfs_sim_free(sim);
		}
	}
}

/* ---- what is said of broken images ---- */

/* Prints into text what check and repair say, in the form of a recipe's `expect` lines. */
static void describe(struct recipe *r, FILE *out)
{
	struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(r->sim), .logger = quiet};
	struct found *found = calloc(1, sizeof(*found));
	struct pfs_reason reason;
	struct pfs_store *store;
	struct repaired *done;
	char name[PFS_NAME_MAX + 1];
	int err = pfs_check(STORE, pfs_sim_io(r->sim), &quiet, keep_finding, keep_progress, found,
			    &found->result, &reason);

	fprintf(out, "check: %s, %zu faults, %llu documents damaged\n",
		err ? strerror(-err) : "done", found->fatal,
		(unsigned long long)found->result.damaged);
	for (size_t i = 0; i < found->count; i++) {
		const struct pfs_finding *f = &found->at[i];

		pfs_key_format(name, &f->key);
		fprintf(out, "check: %s%s [%s] %s\n", f->fatal ? "" : "(remark) ", f->where,
			f->key.kind ? name : "", f->text);
	}
	free(found);
	err = pfs_store_open(&store, STORE, &options, &reason);
	fprintf(out, "open: %s\n", err ? strerror(-err) : "done");
	if (!err)
		assert_int_equal(pfs_store_close(store), 0);
	done = try_repair(r->sim);
	fprintf(out, "repair: %s, %llu corrected, %llu lost, %llu unknown, %llu files aside\n",
		done->err ? strerror(-done->err) : "done",
		(unsigned long long)done->result.corrected, (unsigned long long)done->result.lost,
		(unsigned long long)done->result.unknown, (unsigned long long)done->result.files);
	if (!done->err) {
		free(repair_store(r->sim)); /* the check finds nothing */
		store = open_store(r->sim);
		for (size_t i = 0; i < DOCUMENTS; i++) {
			err = state_of(store, i, true);
			if (err)
				fprintf(out, "repair: [%s] %s\n", keys[i],
					err == 1 ? "is older" : "is gone");
		}
		assert_int_equal(pfs_store_close(store), 0);
	}
	free(done);
}

static unsigned each_broken(const char *only, bool show)
{
	struct dirent **entries;
	int count = scandir(IMAGES, &entries, is_recipe, alphasort);
	unsigned wrong = 0;

	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		struct recipe r = {.sim = NULL};
		char expected[65536], *said = NULL;
		size_t size;
		FILE *out;

		snprintf(r.path, sizeof(r.path), IMAGES "/%s/recipe", entries[i]->d_name);
		if (!only || strstr(entries[i]->d_name, only)) {
			make_broken(&r, expected, sizeof(expected));
			out = open_memstream(&said, &size);
			describe(&r, out);
			fclose(out);
			if (show)
				printf("== %s\n%s", entries[i]->d_name, said);
			else if (strcmp(said, expected) != 0 && ++wrong)
				print_message("%s: expected\n%ssaid\n%s", r.path, expected, said);
			free(said);
			pfs_sim_free(r.sim);
			pfs_sim_free(r.closed);
		}
		free(entries[i]);
	}
	free(entries);
	return wrong;
}

/* Proves: of each broken image the check says what its recipe says, the repair too, and then the
 * check finds nothing, what was repaired is as it was, and nothing else is gone. */
static void broken_images_are_judged_and_repaired(void **state)
{
	(void)state;
	assert_int_equal(each_broken(NULL, false), 0);
}

/* ---- by hand ---- */

static const char *const *arguments;

static void by_hand(void **state)
{
	(void)state;
	if (strcmp(arguments[1], "make") == 0 && arguments[2])
		make_golden(arguments[2]);
	else if (strcmp(arguments[1], "unpack") == 0 && arguments[2] && arguments[3])
		unpack(arguments[2], arguments[3]);
	else if (strcmp(arguments[1], "show") == 0)
		(void)each_broken(arguments[2], true);
	else
		fail_msg("what is `%s`?", arguments[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_images_open),
		cmocka_unit_test(broken_images_are_judged_and_repaired),
	};
	const struct CMUnitTest hand[] = {cmocka_unit_test(by_hand)};

	arguments = (const char *const *)argv;
	return argc > 1 ? cmocka_run_group_tests(hand, NULL, NULL)
			: cmocka_run_group_tests(tests, NULL, NULL);
}
