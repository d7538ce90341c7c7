/* storage/store_index.c: the index that a store leaves when it is closed, and what the next opening
 * makes of it. */
#include "tests/unit/store_helpers.h"

/* Numbered in a row, so that they are saved as runs; but for one, which was put again. */
enum { DOCS = 200, AGAIN = 80 };

static void keep_warning(void *arg, enum pfs_log_level level, const char *line)
{
	char *warnings = arg;

	if (level <= PFS_LOG_WARNING)
		snprintf(warnings + strlen(warnings), 4096 - strlen(warnings), "%s\n", line);
}

/* Opens the store, expects its documents, and closes it. Returns what it warned of on opening. */
static const char *open_warnings(struct pfs_sim *sim)
{
	static char warnings[4096];
	struct pfs_open_options options = {.manual = true,
					   .io = pfs_sim_io(sim),
					   .logger = {.fn = keep_warning, .arg = warnings}};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_store_stat stat;

	warnings[0] = '\0';
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, DOCS);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t expected[100 + DOCS];
		void *bytes;
		size_t len;

		fill_document(expected, 100 + i, i);
		assert_int_equal(pfs_get(store, &key, &bytes, &len, NULL), 0);
		assert_int_equal(len, 100 + i);
		assert_memory_equal(bytes, expected, len);
		free(bytes);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return warnings;
}

static struct pfs_sim *closed_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_key again;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 100 + i, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	again = pfs_key_num(AGAIN);
	put_document(store, &again, 100 + AGAIN, AGAIN);
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

/* Proves: what a closed store has saved is used by the next opening, also when the power fails as
 * soon as it is closed. */
static void a_saved_index_is_used(void **state)
{
	struct pfs_sim *sim = closed_store(), *cut = pfs_sim_crash_index(sim, 0);
	struct found *found = check_store(cut);

	(void)state;
	assert_int_equal(found->count, 0);
	free(found);
	assert_string_equal(open_warnings(cut), "");
	assert_string_equal(open_warnings(sim), "");
	pfs_sim_free(cut);
	pfs_sim_free(sim);
}

/* Proves: an index of which any bit is wrong is not believed, but made anew. */
static void a_damaged_index_is_made_anew(void **state)
{
	struct pfs_sim *sim = closed_store();
	uint64_t size = size_at(sim, PFS_INDEX_NAME);

	(void)state;
	for (uint64_t off = 0; off < size; off += off < sizeof(struct pfs_index_disk) ? 1 : 5) {
		struct pfs_sim *image = pfs_sim_kill(sim);

		flip_bit(image, PFS_INDEX_NAME, off, (unsigned)off % 8);
		assert_non_null(strstr(open_warnings(image), "the saved index is not usable"));
		assert_string_equal(open_warnings(image), "");
		pfs_sim_free(image);
	}
	pfs_sim_free(sim);
}

/* Proves: what has lost its name and is still open goes when the store is closed, wherever it
 * stands: before, among and behind documents that follow one another and that nobody has touched.
 */
static void what_has_no_name_goes_when_it_is_closed(void **state)
{
	enum { ROW = 1500 };
	struct pfs_store *store;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat before, after;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < ROW; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 60, 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned n = 0; n < 6; n++) {
		/* The last ones are behind the row. */
		struct pfs_key key = pfs_key_num(n == 0 ? 0 : n < 3 ? 700 + n : ROW + n);

		store = open_held(sim);
		if (n >= 3)
			put_document(store, &key, 5000, 3);
		assert_int_equal(pfs_remove(store, &key, NULL), 0);
		assert_int_equal(pfs_store_stat(store, &before), 0);
		assert_int_equal(before.points, ROW - (n < 3 ? n + 1 : 3));
		assert_int_equal(pfs_store_close(store), 0);
		store = open_held(sim);
		assert_int_equal(pfs_store_stat(store, &after), 0);
		assert_int_equal(after.points, before.points);
		/* Of those that are there, all bytes are. */
		assert_int_equal(after.container_bytes, before.container_bytes);
		assert_int_equal(after.used_bytes, after.container_bytes);
		assert_int_equal(pfs_store_close(store), 0);
	}
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_saved_index_is_used),
		cmocka_unit_test(a_damaged_index_is_made_anew),
		cmocka_unit_test(what_has_no_name_goes_when_it_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
