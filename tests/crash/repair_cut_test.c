/* Repairs that are cut off: by a power cut before each of their steps, by each of their calls
 * failing. What can be reached must be there in the end, what can't must be kept aside, and between
 * the two a store never says of a document that there is none.
 *
 * REPAIR_SEEDS: images of each power cut, besides the two that keep nothing and everything.
 * REPAIR_ALL: every call fails, not every seventh of those that read.
 * TEST_SAMPLE: every so many of all of these (sanitizers).
 * REPAIR_TRACE: tells which call fails, and what was done. */
#include "tests/unit/repair_helpers.h"

#define SEEDS 3
#define IMAGES_MAX 64

/* ---- a store with many faults ---- */

/* Writes over the container of document i. */
static void spoil(struct pfs_sim *sim, const struct pfs_place *place, uint64_t at)
{
	uint8_t junk[24];

	fill_document(junk, sizeof(junk), 991);
	write_at(sim, page_name(place->page), place->offset + at, junk, sizeof(junk));
}

/* Damage of slots, containers, a block, headers, a copy of the superblock, the index. */
static void damage(struct pfs_sim *sim, const struct pfs_place places[DOCS])
{
	flip_bit(sim, page_name(places[0].page), pfs_slot_offset(places[0].slot) + 1, 3);
	flip_bit(sim, page_name(places[3].page), pfs_slot_offset(places[3].slot) + 13, 2);
	spoil(sim, &places[4], 9);
	spoil(sim, &places[9], places[9].packed_len / 2);
	spoil(sim, &places[17], 60);
	flip_bit(sim, page_name(places[20].page), places[20].offset + 6, 1);
	flip_bit(sim, page_name(1), 61, 1);
	flip_bit(sim, page_name(2), size_at(sim, page_name(2)) - 30, 0);
	flip_bit(sim, PFS_SUPER_NAME, 4096 + 50, 3);
	make_file(sim, "page-00000001.tmp");
}

/* Closed: nothing but what stands in the pages. Else the journal has put, patched and moved some of
 * the damaged documents, and others. */
static struct pfs_sim *broken_store(bool closed)
{
	struct pfs_sim *sim = docs_store(), *broken;
	struct pfs_place places[DOCS];
	struct pfs_store *store;

	for (unsigned i = 0; i < DOCS; i++)
		places[i] = doc_place(sim, i);
	if (closed) {
		damage(sim, places);
		flip_bit(sim, PFS_INDEX_NAME, 100, 0);
		pfs_sim_settle(sim);
		return sim;
	}
	store = open_store(sim);
	for (unsigned i = 1; i < DOCS; i += 5) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	/* Written as it is: the bytes stay the same, but the base is needed. */
	for (unsigned i = 4; i < DOCS; i += 10) {
		struct pfs_key key = doc_key(i);
		uint8_t *bytes = malloc(doc_len(i) + 1);
		uint32_t object;

		fill_document(bytes, doc_len(i), i);
		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
		assert_int_equal(pfs_write(store, object, 5, bytes + 5, 20, (int64_t)i), 0);
		free(bytes);
	}
	assert_int_equal(pfs_sync(store), 0);
	broken = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	damage(broken, places);
	spoil(broken, &places[14], 3);
	/* As after a repair that was cut off. */
	remove_file(broken, PFS_INDEX_NAME);
	pfs_sim_settle(broken);
	return broken;
}

/* ---- what must come of it ---- */

struct expected {
	struct pfs_place places[DOCS]; /* before the damage */
	bool gone[DOCS];
	uint64_t steps, looks;
};

static struct expected repair_undisturbed(const struct pfs_sim *broken)
{
	struct pfs_sim *sim = pfs_sim_kill(broken), *whole = docs_store();
	struct expected expected = {0};
	struct pfs_store *store;
	unsigned gone = 0;

	for (unsigned i = 0; i < DOCS; i++)
		expected.places[i] = doc_place(whole, i);
	pfs_sim_free(whole);
	free(repair_store(sim));
	expected.steps = pfs_sim_steps(sim);
	for (unsigned kind = PFS_SIM_STEPS; kind < PFS_SIM_KINDS; kind++)
		expected.looks += pfs_sim_count(sim, kind);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		expected.gone[i] = doc_state(store, i) != 0;
		gone += expected.gone[i];
	}
	assert_int_equal(pfs_store_close(store), 0);
	print_message("%u gone\n", gone);
	assert_true(gone >= 3 && gone <= 5);
	pfs_sim_free(sim);
	return expected;
}

/* A line of the quarantine holds what there was of the document. */
static void expect_kept(struct pfs_sim *sim, unsigned i, const struct pfs_place *place)
{
	char *text = quarantine_text(sim), where[64], offset[64];
	bool kept = false;

	snprintf(where, sizeof(where), "{\"where\":\"" PFS_PAGE_NAME_FMT "\",", place->page);
	snprintf(offset, sizeof(offset), ",\"offset\":%llu,", (unsigned long long)place->offset);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		kept = kept || (strncmp(line, where, strlen(where)) == 0 && strstr(line, offset) &&
				line[strlen(line) - 1] == '}');
	if (!kept)
		fail_msg("document %u is neither there nor in the quarantine", i);
	free(text);
}

/* Repairs to the end; the rest is there, the lost ones are kept. An empty page that could not be
 * removed may be left to the next opening. */
static void expect_repaired(struct pfs_sim *sim, const struct expected *expected)
{
	struct repaired *done = repair_but_for(sim, true);
	struct pfs_store *store = open_store(sim);

	for (unsigned i = 0; i < DOCS; i++) {
		int err = doc_state(store, i);

		if (err != (expected->gone[i] ? -ENOENT : 0))
			fail_msg("document %u: %d", i, err);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_checked(sim, done, "after an opening", false);
	free(done);
	for (unsigned i = 0; i < DOCS; i++) {
		if (expected->gone[i])
			expect_kept(sim, i, &expected->places[i]);
	}
}

/* Somebody uses the store before the repair is done: a document that there was is there or gives an
 * error. */
static void expect_honest(const struct pfs_sim *image)
{
	struct pfs_sim *sim = pfs_sim_kill(image);
	struct found *found = check_store(sim);
	bool whole = found->fatal == 0;
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, &reason);

	free(found);
	if (err) {
		assert_int_equal(err, -EUCLEAN);
		pfs_sim_free(sim);
		return;
	}
	for (unsigned i = 0; i < DOCS; i++) {
		int state = doc_state(store, i);

		if (state != 0 && state != -EIO && !(whole && state == -ENOENT))
			fail_msg("before the repair was done, document %u: %d", i, state);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* The superblock never names page files that are not there, nor forgets that there are some. */
static void expect_page_set(struct pfs_sim *sim)
{
	struct found *found = check_store(sim);
	struct pfs_super_disk disk;
	struct pfs_super super;

	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		read_at(sim, PFS_SUPER_NAME, (uint64_t)i * PFS_SUPER_STRIDE, &disk, sizeof(disk));
		if (pfs_super_decode(&super, &disk))
			assert_true(super.pages.count >= 1);
	}
	for (size_t i = 0; i < found->count; i++)
		assert_null(strstr(found->at[i].text, "no such file"));
	free(found);
}

/* ---- power cuts ---- */

struct cut {
	uint64_t at, seeds;
	struct pfs_sim *sim, *images[IMAGES_MAX];
	size_t count;
};

static int cut_step(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	if (step->number != cut->at)
		return step->number < cut->at ? 0 : -EIO;
	cut->images[cut->count++] = pfs_sim_crash_index(cut->sim, 0);
	cut->images[cut->count++] = pfs_sim_kill(cut->sim);
	for (uint64_t seed = 0; seed < cut->seeds && cut->count < IMAGES_MAX; seed++)
		cut->images[cut->count++] = pfs_sim_crash_seed(cut->sim, cut->at * 1000 + seed);
	return -EIO;
}

static void cut_everywhere(bool closed)
{
	struct pfs_sim *broken = broken_store(closed);
	struct expected expected = repair_undisturbed(broken);
	const char *seeds = getenv("REPAIR_SEEDS");
	uint64_t images = 0;

	for (uint64_t at = 1; at <= expected.steps; at += test_sample()) {
		struct cut cut = {.at = at, .seeds = seeds ? strtoull(seeds, NULL, 10) : SEEDS};
		struct repaired *done;

		cut.sim = pfs_sim_kill(broken);
		pfs_sim_on_step(cut.sim, cut_step, &cut);
		done = try_repair(cut.sim);
		free(done);
		pfs_sim_on_step(cut.sim, NULL, NULL);
		assert_true(cut.count > 0);
		for (size_t i = 0; i < cut.count; i++) {
			pfs_sim_settle(cut.images[i]);
			expect_page_set(cut.images[i]);
			expect_honest(cut.images[i]);
			expect_repaired(cut.images[i], &expected);
			pfs_sim_free(cut.images[i]);
			images++;
		}
		pfs_sim_free(cut.sim);
	}
	print_message("%llu steps, %llu images\n", (unsigned long long)expected.steps,
		      (unsigned long long)images);
	pfs_sim_free(broken);
}

/* Proves: a repair may be cut off by a power cut before any of its steps. The store can be repaired
 * afterwards with the same result, and in between no document is said not to be there. */
static void power_cuts_of_a_repair(void **state)
{
	(void)state;
	cut_everywhere(true);
}

/* Proves: the same of a store that had not been closed, whose journal is replayed. */
static void power_cuts_of_a_repair_with_a_journal(void **state)
{
	(void)state;
	cut_everywhere(false);
}

/* ---- failures ---- */

struct failing {
	uint64_t at, seen;
	int err;
	bool for_ever;
};

static int fail_call(void *arg, const struct pfs_sim_step *step)
{
	struct failing *failing = arg;

	failing->seen++;
	if (failing->seen == failing->at && getenv("REPAIR_TRACE"))
		print_message("call %llu: %s of %s at %llu\n", (unsigned long long)failing->at,
			      pfs_sim_kind_name(step->kind), step->name,
			      (unsigned long long)step->off);
	return failing->seen == failing->at || (failing->for_ever && failing->seen > failing->at)
		       ? failing->err
		       : 0;
}

/* Fails call number at of a repair, then repairs again without a failure. Returns whether there was
 * such a call. */
static bool fail_at(const struct pfs_sim *broken, const struct expected *expected,
		    struct failing failing, bool looks)
{
	struct pfs_sim *sim = pfs_sim_kill(broken);
	struct repaired *done;
	bool met;

	if (looks)
		pfs_sim_on_look(sim, fail_call, &failing);
	else
		pfs_sim_on_step(sim, fail_call, &failing);
	done = try_repair(sim);
	pfs_sim_on_step(sim, NULL, NULL);
	pfs_sim_on_look(sim, NULL, NULL);
	met = failing.seen >= failing.at;
	if (getenv("REPAIR_TRACE"))
		print_deeds(done);
	if (met && !looks && failing.for_ever)
		assert_true(done->err != 0);
	free(done);
	if (met) {
		pfs_sim_settle(sim);
		expect_honest(sim);
		expect_repaired(sim, expected);
	}
	pfs_sim_free(sim);
	return met;
}

/* Proves: when any change that a repair makes fails, once or from then on, with an error of the
 * device or for lack of space, it can be done again with the same result. */
static void failing_writes_of_a_repair(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC};

	(void)state;
	for (unsigned closed = 0; closed < 2; closed++) {
		struct pfs_sim *broken = broken_store(closed);
		struct expected expected = repair_undisturbed(broken);

		for (unsigned how = 0; how < 4; how++) {
			struct failing failing = {.err = errors[how / 2], .for_ever = how % 2};

			do {
				failing.at += test_sample();
			} while (fail_at(broken, &expected, failing, false));
			assert_true(failing.at > expected.steps / 2);
		}
		pfs_sim_free(broken);
	}
}

/* Proves: a read, mapping or opening that fails once costs no document that can be had. */
static void failing_reads_of_a_repair(void **state)
{
	(void)state;
	for (unsigned closed = 0; closed < 2; closed++) {
		struct pfs_sim *broken = broken_store(closed);
		struct expected expected = repair_undisturbed(broken);
		struct failing failing = {.err = -EIO};

		do {
			failing.at += getenv("REPAIR_ALL") ? 1 : 7 * test_sample();
		} while (fail_at(broken, &expected, failing, true));
		assert_true(failing.at > expected.looks / 2);
		pfs_sim_free(broken);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_cuts_of_a_repair),
		cmocka_unit_test(power_cuts_of_a_repair_with_a_journal),
		cmocka_unit_test(failing_writes_of_a_repair),
		cmocka_unit_test(failing_reads_of_a_repair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
