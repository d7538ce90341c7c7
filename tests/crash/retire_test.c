/* Power cuts while pages are emptied and their files removed (FORMAT.md: the page set), and while a
 * store is opened whose process died within that. */
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

/* ---- crashes in a row ---- */

#define SMALL_COUNT 40 /* short documents, so that many of them lie in one piece of a page */
#define SMALL_LEN 20
#define GONE_EVERY 2
#define STEPS_EVERY 7
#define IMAGES_OF_CUT 3

/* What the death of the process leaves at some of the steps. */
struct deaths {
	struct pfs_sim *sim;
	struct pfs_sim **at;
	size_t count, cap;
	unsigned steps, every;
};

static int remember(void *arg, const struct pfs_sim_step *step)
{
	struct deaths *deaths = arg;

	(void)step;
	if (deaths->steps++ % deaths->every != 0)
		return 0;
	if (deaths->count == deaths->cap) {
		deaths->cap = deaths->cap ? 2 * deaths->cap : 64;
		deaths->at = realloc(deaths->at, deaths->cap * sizeof(struct pfs_sim *));
		assert_non_null(deaths->at);
	}
	deaths->at[deaths->count++] = pfs_sim_kill(deaths->sim);
	return 0;
}

static void begin_deaths(struct deaths *deaths, struct pfs_sim *sim)
{
	*deaths = (struct deaths){.sim = sim, .every = STEPS_EVERY * test_sample()};
	pfs_sim_on_step(sim, remember, deaths);
}

static void free_deaths(struct deaths *deaths)
{
	for (size_t i = 0; i < deaths->count; i++)
		pfs_sim_free(deaths->at[i]);
	free(deaths->at);
}

static void expect_small(struct pfs_store *store)
{
	for (unsigned i = 0; i < SMALL_COUNT; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t bytes[SMALL_LEN];
		size_t len;
		void *got;

		if (i % GONE_EVERY == 0)
			continue;
		fill_document(bytes, SMALL_LEN, i);
		assert_int_equal(pfs_get(store, &key, &got, &len, NULL), 0);
		assert_int_equal(len, SMALL_LEN);
		assert_memory_equal(got, bytes, SMALL_LEN);
		free(got);
	}
	assert_int_equal(pfs_store_close(store), 0);
}

static unsigned cut(struct pfs_sim *sim, uint64_t seed)
{
	for (uint64_t k = 0; k < IMAGES_OF_CUT; k++) {
		struct pfs_sim *image = pfs_sim_crash_seed(sim, seed * IMAGES_OF_CUT + k);

		expect_small(open_store(image));
		pfs_sim_free(image);
	}
	return IMAGES_OF_CUT;
}

/* The store is opened, in which the process dies so many times more, and then the power goes. */
static unsigned die_and_cut(struct pfs_sim *sim, unsigned more)
{
	struct deaths deaths;
	unsigned images = 0;

	begin_deaths(&deaths, sim);
	expect_small(open_store(sim));
	pfs_sim_on_step(sim, NULL, NULL);
	for (size_t i = 0; i < deaths.count; i++)
		images += more ? die_and_cut(deaths.at[i], more - 1) : cut(deaths.at[i], i);
	free_deaths(&deaths);
	return images;
}

/* Proves: an opening that is cut off writes what a move has left to another place, so that there
 * are two of one sequence, of which one may not be on the disk; whatever the next opening makes of
 * them, a power cut within it leaves one. */
static void crashes_in_a_row_keep_what_was_being_moved(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_compact_result result;
	struct pfs_store *store;
	struct deaths deaths;
	unsigned images = 0;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < SMALL_COUNT; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, SMALL_LEN, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < SMALL_COUNT; i += GONE_EVERY) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	begin_deaths(&deaths, sim);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	expect_small(store);
	for (size_t i = 0; i < deaths.count; i++)
		images += die_and_cut(deaths.at[i], 1);
	print_message("%zu deaths, %u images\n", deaths.count, images);
	assert_true(images > deaths.count && deaths.count > 0);
	free_deaths(&deaths);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_go_at_any_cut),
		cmocka_unit_test(crashes_in_a_row_keep_what_was_being_moved),
	};

	alarm(HANG_S);
	return cmocka_run_group_tests_name("retire", tests, NULL, NULL);
}
