/* Opening after a crash, with more slots than are read ahead at once, by several threads and by
 * one: both find what is there. */
#include "tests/unit/store_helpers.h"

/* More than two pages of 1 MiB; their slots are read ahead in pieces of a power of two. */
enum { DOCS = 60000, BORDER = 2048, DAMAGED_MAX = 16 };

enum what { WHOLE, CHANGED, REMOVED, DAMAGED };

static struct pfs_key key_of(uint32_t i)
{
	struct pfs_key key = pfs_key_num((uint64_t)i * 2654435761u % 4294967291u);
	char name[64];

	if (i % 5)
		return key;
	snprintf(name, sizeof(name), "%08x-0000-4000-8000-%012x", i * 2654435761u, i);
	return key_named(name);
}

static size_t len_of(uint32_t i)
{
	return 1 + i % 9;
}

static void put(struct pfs_store *store, uint32_t i, uint64_t seed)
{
	struct pfs_key key = key_of(i);

	put_document(store, &key, len_of(i), seed);
}

static void expect(struct pfs_store *store, uint32_t i, enum what what)
{
	struct pfs_key key = key_of(i);
	uint8_t expected[16];
	void *data = NULL;
	size_t len;
	int err = pfs_get(store, &key, &data, &len, NULL);

	if (what == REMOVED || what == DAMAGED) {
		assert_int_equal(err, what == REMOVED ? -ENOENT : -EIO);
		return;
	}
	assert_int_equal(err, 0);
	fill_document(expected, len_of(i), what == CHANGED ? i + DOCS : i);
	assert_int_equal(len, len_of(i));
	assert_memory_equal(data, expected, len);
	free(data);
}

/* Marks the documents at both sides of the pieces' borders, and at the ends of the pages. */
static void choose(struct pfs_sim *sim, uint8_t *what, struct pfs_place *damaged, size_t *count)
{
	struct pfs_store *store = open_store(sim);
	size_t chosen = 0;

	for (uint32_t i = 0; i < DOCS; i++) {
		struct pfs_key key = key_of(i);
		struct pfs_place place;

		assert_int_equal(pfs_place(store, &key, &place), 0);
		if (place.slot % BORDER != 0 && place.slot % BORDER != BORDER - 1)
			continue;
		switch (chosen++ % 3) {
		case 0: what[i] = CHANGED; break;
		case 1: what[i] = REMOVED; break;
		default:
			if (*count < DAMAGED_MAX) {
				what[i] = DAMAGED;
				damaged[(*count)++] = place;
			}
			break;
		}
	}
	assert_true(chosen > 3 * 8);
	assert_int_equal(pfs_store_close(store), 0);
}

/* What the process leaves that dies after these changes, with the damage of which it knew nothing.
 */
static struct pfs_sim *change_and_die(struct pfs_sim *sim, const uint8_t *what,
				      const struct pfs_place *damaged, size_t count)
{
	struct pfs_store *store = open_store(sim);
	struct pfs_sim *left;

	for (uint32_t i = 0; i < DOCS; i++) {
		struct pfs_key key = key_of(i);

		if (what[i] == CHANGED)
			put(store, i, i + DOCS);
		else if (what[i] == REMOVED)
			assert_int_equal(pfs_remove(store, &key, NULL), 0);
		/* Some of it is in the pages already, and is newer than the last checkpoint. */
		if (i == DOCS / 2)
			assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	left = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	for (size_t i = 0; i < count; i++)
		flip_bit(left, page_name(damaged[i].page),
			 damaged[i].offset + damaged[i].packed_len - 1, 3);
	return left;
}

static void open_and_compare(struct pfs_sim *sim, const uint8_t *what, bool manual,
			     struct pfs_store_stat *stat)
{
	struct pfs_open_options options = {
		.manual = manual, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (uint32_t i = 0; i < DOCS; i++)
		expect(store, i, what[i]);
	assert_int_equal(pfs_store_stat(store, stat), 0);
	assert_int_equal(pfs_store_close(store), 0);
}

/* Proves: whoever reads the slots ahead, and wherever pieces and pages end, each document is found
 * as it is, was changed or removed last, and a damaged one is an error; nothing is counted twice.
 */
static void all_slots_are_met(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *left, *same;
	struct pfs_store_stat by_many, by_one;
	struct pfs_place damaged[DAMAGED_MAX];
	uint8_t *what = calloc(DOCS, 1);
	uint64_t raw = 0, points = 0;
	struct pfs_store *store;
	size_t count = 0;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (uint32_t i = 0; i < DOCS; i++)
		put(store, i, i);
	assert_int_equal(pfs_store_close(store), 0);
	choose(sim, what, damaged, &count);
	left = change_and_die(sim, what, damaged, count);
	pfs_sim_free(sim);
	same = pfs_sim_kill(left);
	open_and_compare(left, what, false, &by_many);
	open_and_compare(same, what, true, &by_one);
	for (uint32_t i = 0; i < DOCS; i++) {
		points += what[i] != REMOVED;
		raw += what[i] == WHOLE || what[i] == CHANGED ? len_of(i) : 0;
	}
	assert_int_equal(by_many.points, points);
	assert_int_equal(by_one.points, points);
	assert_in_range(by_many.raw_bytes, raw, raw + DAMAGED_MAX * 16);
	assert_int_equal(by_one.raw_bytes, by_many.raw_bytes);
	pfs_sim_free(left);
	pfs_sim_free(same);
	free(what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_slots_are_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
