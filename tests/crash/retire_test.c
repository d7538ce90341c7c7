/* Power cuts while pages are emptied and their files removed (FORMAT.md: the page set). */
#include <unistd.h>

#include "tests/unit/store_helpers.h"

#define HANG_S 600
#define DOCUMENTS 180 /* of LEN bytes, in three or more of the smallest pages */
#define LEN 1001
#define KEPT_EVERY 12
#define IMAGES_ALL 12 /* so many at one step are all looked at; of more, as many */

/* Looks at what a cut before each step that changes the disk would leave. */
struct cuts {
	struct pfs_sim *sim;
	unsigned images, unlinks;
};

/* A copy of the superblock may be the older one. */
static void expect_whole(struct pfs_sim *image)
{
	struct found *found = check_store(image);

	if (found->fatal)
		print_found(found);
	assert_int_equal(found->fatal, 0);
	assert_int_equal(found->result.damaged, 0);
	free(found);
}

static void expect_kept(struct pfs_sim *image)
{
	struct pfs_store *store;

	expect_whole(image);
	store = open_store(image);
	for (unsigned i = 0; i < DOCUMENTS; i += KEPT_EVERY) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t bytes[LEN];
		size_t len;
		void *got;

		fill_document(bytes, LEN, 2 * i + 1);
		assert_int_equal(pfs_get(store, &key, &got, &len, NULL), 0);
		assert_int_equal(len, LEN);
		assert_memory_equal(got, bytes, LEN);
		free(got);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(image);
}

static int look(void *arg, const struct pfs_sim_step *step)
{
	struct cuts *cuts = arg;
	uint64_t all = pfs_sim_images(cuts->sim), n = pfs_min_u64(all, IMAGES_ALL);

	if (step->kind == PFS_SIM_UNLINK)
		cuts->unlinks += strncmp(step->name, "page-", 5) == 0;
	else if (step->kind != PFS_SIM_SYNC && step->kind != PFS_SIM_SYNC_DIR)
		return 0; /* what is undecided only grows until then */
	for (uint64_t i = 0; i < n; i += test_sample()) {
		struct pfs_sim *image = all <= IMAGES_ALL ? pfs_sim_crash_index(cuts->sim, i)
							  : pfs_sim_crash_seed(cuts->sim, i);

		expect_kept(image);
		pfs_sim_free(image);
		cuts->images++;
	}
	return 0;
}

/* Few documents are left in each of many pages, and that is durable. */
static struct pfs_store *sparse_store(struct pfs_sim *sim)
{
	struct pfs_store *store;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, LEN, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		if (i % KEPT_EVERY != 0)
			assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	return store;
}

/* Proves: at no step of it does a cut leave a store that misses a page, has one that it does not
 * know of, or has lost what was moved. */
static void pages_go_at_any_cut(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct cuts cuts = {.sim = sim};
	struct pfs_store *store = sparse_store(sim);
	struct pfs_compact_result result;

	(void)state;
	pfs_sim_on_step(sim, look, &cuts);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_true(result.pages_before >= 3 && result.pages_after < result.pages_before);
	assert_true(cuts.unlinks >= 2 && cuts.images > 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_kept(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(pages_go_at_any_cut)};

	alarm(HANG_S);
	return cmocka_run_group_tests_name("retire", tests, NULL, NULL);
}
