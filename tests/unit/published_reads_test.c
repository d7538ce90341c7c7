/* storage/published*.c: how often the origin is asked, with pages as they are in earnest: in
 * smaller ones what is read next is near, and asked for in advance. */
#include "tests/unit/publish_helpers.h"

#include "storage/store.h"

/* Proves: a document is had with two reads of the origin at most when nothing is known yet, and
 * with none when it was read before; names need reads of the table of keys alone. */
static void few_reads_are_needed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {.count = 30000,
				 .doc = record_doc,
				 .changed = UINT64_MAX,
				 .absent = UINT64_MAX,
				 .size = 700};
	const struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(sim), .logger = {.fn = publish_ignore_log}};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
	for (unsigned n = 0; n < 20; n++) {
		uint64_t i = pfs_mix64(n + 5) % s.count, before = pfs_sim_count(sim, PFS_SIM_READ);
		struct pfs_key key = pfs_key_num(3 * i);
		size_t len;
		void *data;

		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
		free(data);
		assert_in_range(pfs_sim_count(sim, PFS_SIM_READ) - before, 0, 2);
		before = pfs_sim_count(sim, PFS_SIM_READ);
		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
		free(data);
		assert_int_equal(pfs_sim_count(sim, PFS_SIM_READ), before);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_reads_are_needed),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests_name("reads of the origin", tests, NULL, NULL);
}
