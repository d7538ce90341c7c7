/* Golden images, which every version of this format must open, and broken ones made from them, each
 * with what the check and the repair must say (tests/README.md, "Images").
 *
 *	images_test                    all of it
 *	images_test show [NAME]        what check and repair say of a broken image
 *	images_test make DIR           makes the golden images anew in DIR
 *	images_test unpack IMAGE DIR   writes an image's files into a directory */
#include "storage/journal.h"
#include "storage/store_internal.h"
#include "tests/images/describe.h"

/* ---- golden images ---- */

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

#define WRONG_MAX 5 /* images that are shown; what follows is not looked at */

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
		if (wrong < WRONG_MAX && (!only || strstr(entries[i]->d_name, only))) {
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
