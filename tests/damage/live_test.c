/* Files that are cut or changed under an open store, on the real file system. */
#include <fcntl.h>
#include <unistd.h>

#include "tests/damage/damage.h"

#define DOCUMENTS 60

static void ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = ignore_log};

static void fill(uint8_t *bytes, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)pfs_mix64(seed * 131071 + i);
}

static struct pfs_store *store_in(const char *path)
{
	struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 64};
	struct pfs_open_options options = {.manual = true, .logger = quiet};
	struct pfs_store *store;
	struct pfs_reason reason;
	uint8_t bytes[3000];

	assert_int_equal(pfs_store_create(path, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&store, path, &options, &reason), 0);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		fill(bytes, sizeof(bytes), i);
		assert_int_equal(pfs_put(store, &key, bytes, sizeof(bytes), NULL, 0, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	return store;
}

/* How many documents give an error; the others are right. */
static unsigned errors_of(struct pfs_store *store)
{
	unsigned errors = 0;
	uint8_t bytes[3000];

	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);
		void *data;
		size_t len;
		int err = pfs_get(store, &key, &data, &len, NULL);

		fill(bytes, sizeof(bytes), i);
		if (err) {
			assert_int_equal(err, -EIO);
			errors++;
		} else {
			assert_int_equal(len, sizeof(bytes));
			assert_memory_equal(data, bytes, len);
		}
		free(data);
	}
	return errors;
}

static void remove_all(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
}

/* Proves: a page file that is cut under an open store gives errors for what is beyond its end, and
 * nothing dies of it: the rest is right, other documents can be written, and closing and opening
 * again shows nothing wrong either. */
static void cut_pages(void)
{
	static const off_t lengths[] = {0, 64, 500, 4096, 5000, 20000, 40001, 60000};
	unsigned before = DOCUMENTS;

	for (size_t i = 0; i < pfs_array_len(lengths); i++) {
		char path[] = "/tmp/pfs-damage-XXXXXX", file[64];
		struct pfs_key fresh = pfs_key_num(1000);
		struct pfs_open_options options = {.manual = true, .logger = quiet};
		struct pfs_store *store;
		struct pfs_reason reason;
		unsigned errors;
		int err;

		assert_non_null(mkdtemp(path));
		store = store_in(path);
		assert_int_equal(errors_of(store), 0);
		snprintf(file, sizeof(file), "%s/" PFS_PAGE_NAME_FMT, path, 1u);
		assert_int_equal(truncate(file, lengths[i]), 0);
		errors = errors_of(store);
		if (!(errors > 0 && errors < DOCUMENTS && errors <= before))
			fail_msg("cut to %lld bytes: %u errors, %u before", (long long)lengths[i],
				 errors, before);
		before = errors;
		err = pfs_put(store, &fresh, "still writing", 13, NULL, 0, NULL);
		assert_true(err == 0 || err == -EIO);
		assert_true(errors_of(store) >= 1);
		(void)pfs_store_close(store);
		err = pfs_store_open(&store, path, &options, &reason);
		if (!err) {
			assert_true(errors_of(store) >= 1);
			(void)pfs_store_close(store);
		} else {
			assert_true(err == -EUCLEAN || err == -EIO);
		}
		remove_all(path);
	}
}

/* Proves: a segment of the journal that is cut while documents are only there gives errors for
 * these, and nothing dies of it. */
static void cut_segments(void)
{
	char path[] = "/tmp/pfs-damage-XXXXXX", file[64];
	struct pfs_store *store;

	assert_non_null(mkdtemp(path));
	store = store_in(path);
	for (unsigned i = 0; i < 10; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t bytes[3000];

		fill(bytes, sizeof(bytes), i);
		assert_int_equal(pfs_put(store, &key, bytes, sizeof(bytes), NULL, 0, NULL), 0);
	}
	for (unsigned i = 0; i < 8; i++) {
		snprintf(file, sizeof(file), "%s/" PFS_SEGMENT_NAME_FMT, path, i);
		if (access(file, F_OK) == 0)
			assert_int_equal(truncate(file, 8192), 0);
	}
	assert_true(errors_of(store) >= 8 && errors_of(store) <= 10);
	(void)pfs_store_close(store);
	remove_all(path);
}

/* One test: cmocka puts its own handler of SIGBUS before each. */
static void files_are_cut_under_an_open_store(void **state)
{
	(void)state;
	cut_pages();
	cut_segments();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_cut_under_an_open_store)};

	return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
