/* Checking a store that is open, when nobody wants to know the outcome any more. */
#include "tests/unit/publish_helpers.h"
#include "tests/unit/store_helpers.h"

#define DOCUMENTS 40u
#define DOCUMENT_LEN (3 * PFS_MIB)

/* Sets stop with the progress that says so many bytes. */
struct stopping {
	uint64_t at, done, total;
	bool stop;
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct stopping *s = arg;

	assert_false(s->stop);
	assert_true(done >= s->done && done <= total);
	s->done = done;
	s->total = total;
	s->stop = done >= s->at;
}

static void check_until(struct pfs_store *store, uint64_t at, int expected)
{
	struct stopping s = {.at = at};
	struct pfs_check_result result;

	assert_int_equal(pfs_store_check(store, NULL, on_progress, &s, &s.stop, &result), expected);
	assert_true(s.done < at + 2 * PFS_MIB);
	if (!expected) {
		assert_int_equal(s.done, s.total);
		assert_int_equal(result.findings, 0);
	}
}

/* Proves: wherever it is told so, among the pages, in a document, between two, the check of a store
 * ends within the next mebibyte; else it is whole. */
static void a_store(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, 16 * PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, i % 2 ? DOCUMENT_LEN : 1000, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	check_until(store, 0, -ECANCELED);
	check_until(store, 1, -ECANCELED);
	check_until(store, 7 * PFS_MIB, -ECANCELED);
	check_until(store, UINT64_MAX - 2 * PFS_MIB, 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static void large_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	(void)s;
	*key = pfs_key_num(i);
	*attr = (struct pfs_attr){.mode = 0644};
	*len = DOCUMENT_LEN;
	*data = malloc(DOCUMENT_LEN);
	fill_document((uint8_t *)*data, DOCUMENT_LEN, 2 * i + 1);
}

/* Proves: the same of a published collection. */
static void a_collection(void **state)
{
	const struct source s = {.count = DOCUMENTS / 4,
				 .doc = large_doc,
				 .changed = UINT64_MAX,
				 .absent = UINT64_MAX};
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .read_only = true, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
	check_until(store, 1, -ECANCELED);
	check_until(store, 7 * PFS_MIB, -ECANCELED);
	check_until(store, UINT64_MAX - 2 * PFS_MIB, 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store),
		cmocka_unit_test(a_collection),
	};

	return cmocka_run_group_tests_name("ending a check", tests, NULL, NULL);
}
