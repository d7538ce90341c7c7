/* Random operations on a store and on a plain array of documents side by side; after every few of
 * them everything is compared, the store is checkpointed, ticked, closed cleanly or killed and
 * opened again. Run over page sizes and smallest containers from the least legal ones up. */
#include "tests/model/model.h"

static void run(struct model *m, uint64_t seed, unsigned steps)
{
	struct pfs_create_options create = {.page_size = m->page_size,
					    .min_value_size = m->min_value_size};
	struct pfs_reason reason;

	m->random = seed;
	m->sim = pfs_sim_new();
	assert_non_null(m->sim);
	create.io = pfs_sim_io(m->sim);
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	open_store(m);
	for (unsigned s = 1; s <= steps; s++) {
		step(m);
		if (roll(m, 8) == 0)
			check_open(m);
		if (roll(m, 8) == 0)
			check_users(m);
		if (roll(m, 25) == 0)
			compare(m);
		if (roll(m, 60) == 0)
			reopen(m, roll(m, 2));
	}
	compare(m);
	check_clean(m);
	compare(m);
	assert_int_equal(pfs_store_close(m->store), 0);
	pfs_sim_free(m->sim);
	for (unsigned i = 0; i < KEYS; i++)
		doc_drop(&m->docs[i]);
}

/* Proves: what the store holds is what the operations say, over reopening and kill, for every page
 * size and smallest container. */
static void store_equals_model(void **state)
{
	static const uint64_t page_sizes[] = {64 * PFS_KIB, 256 * PFS_KIB, PFS_MIB, 32 * PFS_MIB,
					      64 * PFS_MIB};
	static const uint32_t minimums[] = {16, 128, 512};

	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes); p++) {
		for (size_t v = 0; v < pfs_array_len(minimums); v++) {
			for (unsigned seed = 0; seed < scaled(2); seed++) {
				struct model m = {.page_size = page_sizes[p],
						  .min_value_size = minimums[v],
						  .hold = seed % 2};

				print_message("page size %llu, smallest container %u, seed %u\n",
					      (unsigned long long)page_sizes[p], minimums[v], seed);
				run(&m, seed * 1000 + p * 10 + v, 600);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(store_equals_model)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
