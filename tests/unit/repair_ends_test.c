/* Repairs that come to no end, or not to the usual one: a place that stays bad, names that are
 * taken, slots that held nothing. */
#include "storage/io.h"
#include "tests/unit/dir_helpers.h"
#include "tests/unit/repair_helpers.h"

static void spoil(struct pfs_sim *sim, const char *name, uint64_t off)
{
	uint8_t junk[64];

	fill_document(junk, sizeof(junk), 333);
	write_at(sim, name, off, junk, sizeof(junk));
}

/* ---- places that stay bad ---- */

struct bad {
	const char *name;
	uint64_t from, to;
};

static int fail_bad(void *arg, const struct pfs_sim_step *step)
{
	const struct bad *bad = arg;

	return step->kind == PFS_SIM_READ && strcmp(step->name, bad->name) == 0 &&
			       step->off < bad->to && bad->from < step->off + step->len
		       ? -EIO
		       : 0;
}

#define SMALL 100u

static struct pfs_sim *small_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < SMALL; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 20 + i % 8, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

static unsigned small_gone(struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);
	unsigned gone = 0;

	for (unsigned i = 0; i < SMALL; i++) {
		struct pfs_key key = pfs_key_num(i);
		void *bytes;
		size_t len;
		int err = pfs_get(store, &key, &bytes, &len, NULL);

		gone += err == -ENOENT;
		if (!err)
			free(bytes);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return gone;
}

/* Proves: slots that can't be read however often they are written are given up, and named; when the
 * disk works again the repair comes to its end, and what they held is told as lost. */
static void a_place_that_stays_bad_is_given_up(void **state)
{
	struct pfs_sim *sim = small_store();
	struct bad bad = {.name = "page-00000001", .from = 1024, .to = 1536};
	struct repaired *done;
	uint64_t told;

	(void)state;
	pfs_sim_on_look(sim, fail_bad, &bad);
	done = try_repair(sim);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_int_equal(done->err, -EUCLEAN);
	assert_non_null(strstr(done->reason.text, "can't be repaired: page-00000001 at byte 10"));
	told = done->result.lost + done->result.unknown;
	free(done);
	done = try_repair(sim);
	assert_int_equal(done->err, 0);
	told += done->result.lost + done->result.unknown;
	assert_true(told > 0 && small_gone(sim) > 0);
	free(done);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* ---- names ---- */

static void take_names(struct pfs_sim *sim, const char *name, unsigned count)
{
	char aside[64];

	for (unsigned i = 1; i <= count; i++) {
		snprintf(aside, sizeof(aside), PFS_QUARANTINE_NAME "-%s", name);
		if (i > 1)
			snprintf(aside + strlen(aside), 16, "-%u", i);
		make_file(sim, aside);
	}
}

/* Proves: a file that is set aside takes the place of none that was before: it gets the next name,
 * and when there is none left all stays as it is. */
static void files_that_are_aside_stay(void **state)
{
	struct pfs_sim *sim = docs_store(), *full;
	const char *page = "page-00000002";
	struct repaired *done;

	(void)state;
	spoil(sim, page, 0);
	spoil(sim, page, size_at(sim, page) - PFS_PAGE_TRAILER_LEN);
	full = pfs_sim_kill(sim);
	take_names(sim, "page-00000002", 2);
	done = repair_store(sim);
	assert_int_equal(done->result.files, 1);
	assert_int_equal(size_at(sim, PFS_QUARANTINE_NAME "-page-00000002-2"), 0);
	assert_true(size_at(sim, PFS_QUARANTINE_NAME "-page-00000002-3") >= PFS_PAGE_SIZE_MIN);
	free(done);
	pfs_sim_free(sim);

	take_names(full, "page-00000002", 1000);
	done = try_repair(full);
	assert_int_equal(done->err, -EEXIST);
	assert_int_equal(done->result.files, 0);
	assert_true(size_at(full, "page-00000002") >= PFS_PAGE_SIZE_MIN);
	free(done);
	remove_file(full, PFS_QUARANTINE_NAME "-page-00000002-17");
	free(repair_store(full));
	pfs_sim_free(full);
}

/* ---- slots ---- */

/* Proves: a wrong bit in a slot that was never used costs nothing: it is cleared. */
static void a_bit_of_an_unused_slot_costs_nothing(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_key key = doc_key(7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk none = {0};
	struct repaired *done;

	(void)state;
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &none, sizeof(none));
	remove_file(sim, PFS_INDEX_NAME);
	free(repair_store(sim));
	for (unsigned bit = 0; bit < 8 * sizeof(none); bit += 7) {
		struct pfs_sim *broken = pfs_sim_kill(sim);

		flip_bit(broken, page_name(place.page), pfs_slot_offset(place.slot) + bit / 8,
			 bit % 8);
		done = repair_store(broken);
		assert_int_equal(done->fatal + done->result.lost + done->result.unknown, 0);
		assert_int_equal(docs_gone(broken, NULL), 1);
		free(done);
		pfs_sim_free(broken);
	}
	pfs_sim_free(sim);
}

/* Proves: a superblock that is made anew knows the sequence of the last removal, too, which is the
 * newest change. */
static void lost_superblocks_learn_from_removals(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_key key = doc_key(7);
	struct pfs_store *store = open_store(sim);
	struct pfs_store_stat before, after;

	(void)state;
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_stat(store, &before), 0);
	assert_int_equal(pfs_store_close(store), 0);
	spoil(sim, PFS_SUPER_NAME, 16);
	spoil(sim, PFS_SUPER_NAME, 4096 + 16);
	free(repair_store(sim));
	store = open_store(sim);
	assert_int_equal(pfs_store_stat(store, &after), 0);
	assert_true(after.sequence >= before.sequence);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(docs_gone(sim, NULL), 1);
	pfs_sim_free(sim);
}

/* ---- how it is called ---- */

struct progress {
	uint64_t done;
	unsigned calls;
};

static void keep_last(void *arg, uint64_t done, uint64_t total)
{
	struct progress *progress = arg;

	assert_true(done <= total);
	progress->done = done;
	progress->calls++;
}

static void ignore_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	(void)finding;
}

/* Proves: a repair says how far it is; check and repair find a store on the system's disk by its
 * path alone, and need nobody who wants to know why. */
static void stores_are_found_by_their_path(void **state)
{
	struct pfs_create_options options = {.page_size = PFS_PAGE_SIZE_MIN};
	struct pfs_check_result checked;
	struct pfs_repair_result repaired;
	struct progress progress = {0};
	char path[] = "/tmp/payloadfs-repair-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(pfs_check(path, NULL, &quiet, ignore_finding, NULL, NULL, &checked, NULL),
			 -ENOENT);
	assert_int_equal(pfs_store_create(path, &options, NULL), 0);
	assert_int_equal(pfs_repair(path, NULL, &quiet, ignore_finding, keep_last, &progress,
				    &repaired, NULL),
			 0);
	assert_true(progress.calls > 0);
	assert_int_equal(repaired.faults, 0);
	assert_int_equal(pfs_check(path, NULL, &quiet, ignore_finding, NULL, NULL, &checked, NULL),
			 0);
	assert_int_equal(checked.findings, 0);
	remove_dir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_that_stays_bad_is_given_up),
		cmocka_unit_test(files_that_are_aside_stay),
		cmocka_unit_test(a_bit_of_an_unused_slot_costs_nothing),
		cmocka_unit_test(lost_superblocks_learn_from_removals),
		cmocka_unit_test(stores_are_found_by_their_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
