/* Documents of which the index has only runs after an opening: against a model, through changes of
 * all kinds and further openings. */
#include "storage/index.h"
#include "storage/key.h"
#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

/* Enough for runs that are left whole, in more than one page and more than one chunk of the index.
 * Every HOLE-th number is left out, so that there are several runs. */
enum { DOCS = 150000, HOLE = 50000, EXTRA = 500, NAMES = DOCS + EXTRA };

/* What a name holds: 0 nothing, else the seed of its document. */
static uint32_t *holds;

/* Objects that lost their names are kept until they are released, as below a mount; those that wait
 * for it. */
static bool keeps;
static uint32_t lost[64];
static size_t lost_count;

static void release_lost(struct pfs_store *store)
{
	while (lost_count)
		pfs_release(store, lost[--lost_count]);
}

static void lose(struct pfs_store *store, uint32_t object)
{
	if (!keeps || object == PFS_OBJECT_NONE)
		return;
	if (lost_count == pfs_array_len(lost))
		release_lost(store);
	lost[lost_count++] = object;
}

static struct pfs_store *open_again(struct pfs_sim *sim)
{
	struct pfs_open_options options = {
		.manual = true, .hold_objects = keeps, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return store;
}

static size_t len_of(uint32_t seed)
{
	return 1 + seed % 7;
}

static void put_seed(struct pfs_store *store, uint32_t number, uint32_t seed, unsigned flags)
{
	struct pfs_key key = pfs_key_num(number);
	uint8_t bytes[16];
	/* The same at every run of the test, and so are the places. */
	const struct pfs_attr attr = {.mtime_ns = 1};
	uint32_t replaced;

	fill_document(bytes, len_of(seed), seed);
	assert_int_equal(pfs_put(store, &key, bytes, len_of(seed), &attr,
				 flags | PFS_PUT_MTIME_ONLY, &replaced),
			 0);
	holds[number] = seed;
	lose(store, replaced);
}

static void expect_name(struct pfs_store *store, uint32_t number)
{
	struct pfs_key key = pfs_key_num(number);
	uint8_t expected[16];
	void *data;
	size_t len;
	int err = pfs_get(store, &key, &data, &len, NULL);

	if (!holds[number]) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	assert_int_equal(err, 0);
	fill_document(expected, len_of(holds[number]), holds[number]);
	assert_int_equal(len, len_of(holds[number]));
	assert_memory_equal(data, expected, len);
	free(data);
}

/* All names, and that the listing has each that is there once. */
static void expect_all(struct pfs_store *store)
{
	static struct pfs_listed listed[512];
	uint8_t *seen = calloc(NAMES, 1);
	size_t there = 0, count = 0;
	uint64_t after = 0;
	ssize_t n;

	for (uint32_t i = 0; i < NAMES; i++) {
		expect_name(store, i);
		there += holds[i] != 0;
	}
	while ((n = pfs_list(store, after, listed, pfs_array_len(listed))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			assert_int_equal(listed[i].key.kind, PFS_KEY_NUM);
			assert_in_range(listed[i].key.num, 0, NAMES - 1);
			assert_false(seen[listed[i].key.num]);
			assert_int_not_equal(holds[listed[i].key.num], 0);
			seen[listed[i].key.num] = 1;
			count++;
		}
		after = listed[n - 1].cookie;
	}
	assert_int_equal(n, 0);
	assert_int_equal(count, there);
	free(seen);
}

static struct pfs_sim *begin(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();

	holds = calloc(NAMES, sizeof(*holds));
	create_store(sim, 2 * PFS_MIB, 16);
	*store = open_store(sim);
	for (uint32_t i = 0; i < DOCS; i++)
		if (i % HOLE)
			put_seed(*store, i, i + 1, 0);
	assert_int_equal(pfs_store_close(*store), 0);
	*store = open_again(sim);
	return sim;
}

static void end(struct pfs_sim *sim, struct pfs_store *store)
{
	release_lost(store);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
	free(holds);
}

/* The process dies, and another opens what it leaves. */
static struct pfs_store *kill_store(struct pfs_sim **sim, struct pfs_store *store)
{
	struct pfs_sim *left = pfs_sim_kill(*sim);

	lost_count = 0; /* nobody has them open any more */
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(*sim);
	*sim = left;
	return open_again(left);
}

static struct pfs_store *again(struct pfs_sim *sim, struct pfs_store *store)
{
	release_lost(store);
	assert_int_equal(pfs_store_close(store), 0);
	return open_again(sim);
}

static void rename_over(struct pfs_store *store, uint32_t from, uint32_t to, unsigned flags)
{
	struct pfs_key a = pfs_key_num(from), b = pfs_key_num(to);
	uint32_t was = holds[to], replaced;
	int err = pfs_rename(store, &a, &b, flags, &replaced);

	if (!holds[from] || ((flags & PFS_RENAME_EXCHANGE) && !was)) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	assert_int_equal(err, 0);
	if (from == to)
		return;
	lose(store, replaced);
	holds[to] = holds[from];
	holds[from] = flags & PFS_RENAME_EXCHANGE ? was : 0;
}

static void remove_name(struct pfs_store *store, uint32_t number)
{
	struct pfs_key key = pfs_key_num(number);
	uint32_t object;

	assert_int_equal(pfs_remove(store, &key, &object), holds[number] ? 0 : -ENOENT);
	lose(store, object);
	holds[number] = 0;
}

static void change(struct pfs_store *store, uint64_t at)
{
	uint64_t choice = pfs_mix64(at);
	uint32_t number = (uint32_t)(choice >> 8) % NAMES, other = (uint32_t)(choice >> 32) % NAMES;

	/* Some names are met often, so that they go through many hands. */
	if (choice % 3 == 0) {
		number = number % 50 * 2999 % NAMES;
		other = other % 50 * 2999 % NAMES;
	}
	switch ((choice >> 4) % 7) {
	case 0: remove_name(store, number); break;
	case 1: rename_over(store, number, other, 0); break;
	case 2: rename_over(store, number, other, PFS_RENAME_EXCHANGE); break;
	case 3: put_seed(store, number, (uint32_t)at + 1, PFS_PUT_NEW_OBJECT); break;
	default: put_seed(store, number, (uint32_t)at + 1, 0); break;
	}
	expect_name(store, number);
	expect_name(store, other);
}

/* Proves: such documents are found, listed, changed, renamed, removed and replaced as any others,
 * also when the store is opened again in between, and their names when others take them over. */
static void they_are_documents_as_any_others(void **state)
{
	(void)state;
	for (unsigned pass = 0; pass < 2; pass++) {
		struct pfs_store *store;
		struct pfs_sim *sim;

		keeps = pass == 1;
		sim = begin(&store);
		expect_all(store);
		for (uint64_t round = 0; round < 4; round++) {
			for (uint64_t i = 0; i < 3000; i++)
				change(store, round * 3000 + i);
			expect_all(store);
			if (round % 2)
				assert_int_equal(pfs_store_checkpoint(store), 0);
			store = round == 2 ? kill_store(&sim, store) : again(sim, store);
			expect_all(store);
		}
		end(sim, store);
	}
	keeps = false;
}

/* Proves: opening and reading takes no memory for each of them, and no chunk is made before
 * something in it changes. */
static void they_take_no_memory(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);
	uint64_t opened = pfs_index_bytes(store->index), one;

	(void)state;
	expect_all(store);
	assert_int_equal(pfs_index_bytes(store->index), opened);
	put_seed(store, 70000, 5, 0);
	one = pfs_index_bytes(store->index) - opened;
	put_seed(store, 70001, 5, 0);
	assert_int_equal(pfs_index_bytes(store->index) - opened, one);
	assert_true(one > 0 && one * 2 < DOCS * 12);
	end(sim, store);
}

/* Proves: after a kill there are runs, too. */
static void they_are_found_by_a_scan(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);

	(void)state;
	for (uint32_t i = 1; i < 4; i++)
		put_seed(store, i * 100, 7, 0);
	store = kill_store(&sim, store);
	expect_all(store);
	/* At most two of three chunks, and hardly a hash. */
	assert_true(pfs_index_bytes(store->index) < 2500000);
	end(sim, store);
}

/* ---- the index alone ---- */

static unsigned found(struct pfs_index *index, uint64_t number, uint32_t object)
{
	struct pfs_probe probe;
	unsigned count = 0;
	uint32_t candidate;

	pfs_probe_key(&probe, index, PFS_KEY_NUM, number);
	while ((candidate = pfs_probe_next(&probe)) != PFS_OBJECT_NONE)
		count += candidate == object;
	return count;
}

/* Proves: runs meet their ends exactly, in whatever order their numbers come, up to the largest
 * number; a chunk that begins or ends in one has the right words and hashes. */
static void ends_are_exact(void **state)
{
	static const struct {
		uint64_t number;
		uint32_t count;
	} runs[] = {{1000000, 5000}, {0, 4096}, {UINT64_MAX - 4999, 5000}, {5000, 70000}};
	uint32_t first[pfs_array_len(runs)], alone;
	struct pfs_index *index;

	(void)state;
	assert_int_equal(pfs_index_new(&index), 0);
	assert_int_equal(pfs_index_alloc(index, &alone), 0);
	pfs_index_set_word(index, alone, pfs_word_page(9, 9));
	for (unsigned r = 0; r < pfs_array_len(runs); r++) {
		first[r] = pfs_index_end(index);
		assert_int_equal(pfs_index_add_run(index, pfs_word_page(r + 1, 7), runs[r].count,
						   runs[r].number),
				 0);
	}
	assert_int_equal(pfs_index_end_runs(index), 0);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned r = 0; r < pfs_array_len(runs); r++) {
			for (uint32_t i = 0; i < runs[r].count; i++) {
				assert_int_equal(pfs_index_word(index, first[r] + i),
						 pfs_word_page(r + 1, 7 + i));
				assert_int_equal(pfs_index_stored_hash(index, first[r] + i),
						 pfs_index_hash(PFS_KEY_NUM, runs[r].number + i));
				assert_int_equal(found(index, runs[r].number + i, first[r] + i), 1);
			}
			assert_int_equal(pfs_index_touch(index, first[r] + runs[r].count - 1), 0);
		}
		assert_int_equal(found(index, 4096, first[1]), 0);
		assert_int_equal(found(index, 999999, first[0]), 0);
		assert_int_equal(pfs_index_word(index, alone), pfs_word_page(9, 9));
		assert_int_equal(pfs_index_word(index, pfs_index_end(index)), 0);
	}
	pfs_index_free(index);
}

/* Proves: a number in two runs is an error, and so is a run that goes beyond the largest one;
 * dissolved, all are found, the number that is there twice under both objects. */
static void overlaps_are_refused(void **state)
{
	struct pfs_index *index;

	(void)state;
	assert_int_equal(pfs_index_new(&index), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(1, 0), 10, UINT64_MAX - 8),
			 -EUCLEAN);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(1, 0), 5000, 5000), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(2, 0), 5000, 0), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(3, 0), 5000, 9999), 0);
	assert_int_equal(pfs_index_end_runs(index), -EUCLEAN);
	assert_int_equal(pfs_index_dissolve_runs(index), 0);
	for (uint32_t i = 0; i < 5000; i++) {
		assert_int_equal(found(index, 5000 + i, PFS_OBJECT_FIRST + i), 1);
		assert_int_equal(found(index, i, PFS_OBJECT_FIRST + 5000 + i), 1);
		assert_int_equal(found(index, 9999 + i, PFS_OBJECT_FIRST + 10000 + i), 1);
		assert_int_equal(pfs_index_word(index, PFS_OBJECT_FIRST + 5000 + i),
				 pfs_word_page(2, i));
	}
	pfs_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_documents_as_any_others),
		cmocka_unit_test(they_take_no_memory),
		cmocka_unit_test(they_are_found_by_a_scan),
		cmocka_unit_test(ends_are_exact),
		cmocka_unit_test(overlaps_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
