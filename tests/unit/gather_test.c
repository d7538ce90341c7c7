/* How many writes a checkpoint makes of what lies close together in the pages. */
#include "storage/store_apply.h"
#include "tests/unit/store_helpers.h"

enum { DOCS = 200 };

/* Of the page files, and the most bytes of one. */
static struct {
	unsigned writes;
	uint64_t longest;
} seen;

static int count_page_writes(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	if (step->kind != PFS_SIM_WRITE || strncmp(step->name, "page", 4) != 0)
		return 0;
	seen.writes++;
	if (step->len > seen.longest)
		seen.longest = step->len;
	return 0;
}

/* Bytes that no packing makes smaller: places have the length that is asked for. */
static void put_raw(struct pfs_store *store, unsigned i, size_t len, unsigned version)
{
	struct pfs_key key = pfs_key_num(i);

	put_document(store, &key, len, 2 * (i + 1000 * version) + 1);
}

static void expect_raw(struct pfs_store *store, unsigned i, size_t len, unsigned version)
{
	struct pfs_key key = pfs_key_num(i);
	uint8_t expected[4096];
	void *data;
	size_t got;

	fill_document(expected, len, 2 * (i + 1000 * version) + 1);
	assert_int_equal(pfs_get(store, &key, &data, &got, NULL), 0);
	assert_int_equal(got, len);
	assert_memory_equal(data, expected, len);
	free(data);
}

/* Puts documents of len bytes, replaces every `step`th by one of the same length, and counts the
 * writes of the checkpoint that brings these to the pages. */
static void replace_some(size_t len, unsigned step)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, 1 * PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++)
		put_raw(store, i, len, 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < DOCS; i += step)
		put_raw(store, i, len, 1);
	seen.writes = 0;
	seen.longest = 0;
	pfs_sim_on_step(sim, count_page_writes, NULL);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	for (unsigned i = 0; i < DOCS; i++)
		expect_raw(store, i, len, i % step == 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: documents with short gaps between them are written together, and what stands in the gaps
 * stays what it was; so are their slots. */
static void short_gaps_are_bridged(void **state)
{
	(void)state;
	replace_some(300, 2);
	/* Containers, slots, the page's header. */
	assert_true(seen.writes <= 4);
	assert_true(seen.longest > DOCS / 2 * 300);
}

/* Proves: over a gap as long as two documents nothing is written, which would cost more than it
 * saves; the slots still go together. */
static void long_gaps_are_left_alone(void **state)
{
	(void)state;
	replace_some(2000, 3);
	assert_true(seen.writes > DOCS / 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_gaps_are_bridged),
		cmocka_unit_test(long_gaps_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
