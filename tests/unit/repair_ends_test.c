/* Repairs that come to no end, or not to the usual one: a place that stays bad, names that are
 * taken, slots that held nothing. */
#include "storage/check.h"
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

/* A sector that can't be read until it is written. */
struct bad_sector {
	struct bad at;
	bool written;
};

static int fail_sector(void *arg, const struct pfs_sim_step *step)
{
	const struct bad_sector *bad = arg;

	return bad->written ? 0 : fail_bad((void *)(uintptr_t)&bad->at, step);
}

static int note_write(void *arg, const struct pfs_sim_step *step)
{
	struct bad_sector *bad = arg;

	if (step->kind == PFS_SIM_WRITE && strcmp(step->name, bad->at.name) == 0 &&
	    step->off <= bad->at.from && step->off + step->len >= bad->at.to)
		bad->written = true;
	return 0;
}

/* Proves: a page whose header is lost, and of which the last slots, or some before others, can't be
 * read any more, comes back with all others; these are told as lost, and then nothing is wrong. */
static void slots_in_a_bad_sector_are_told(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		struct bad_sector bad = {.at = {.name = "page-00000001"}};
		struct pfs_sim *sim = small_store(), *killed;
		struct repaired *done;
		unsigned gone;

		if (round % 2) {
			struct pfs_store *store = open_store(sim);

			killed = pfs_sim_kill(sim);
			assert_int_equal(pfs_store_close(store), 0);
			pfs_sim_free(sim);
			sim = killed;
		}
		spoil(sim, bad.at.name, 0);
		bad.at.from = round < 2 ? 1536 : 1024; /* the last slots; others */
		bad.at.to = bad.at.from + 512;
		pfs_sim_settle(sim);
		pfs_sim_on_look(sim, fail_sector, &bad);
		pfs_sim_on_step(sim, note_write, &bad);
		done = try_repair(sim);
		pfs_sim_on_look(sim, NULL, NULL);
		pfs_sim_on_step(sim, NULL, NULL);
		if (done->err)
			fail_msg("round %u: %d %s", round, done->err, done->reason.text);
		assert_true(bad.written);
		assert_true(done->result.lost + done->result.unknown > 0);
		free(done);
		expect_healthy(sim);
		gone = small_gone(sim);
		/* Slots lie across the borders of sectors. */
		assert_in_range(gone, 1, 512 / PFS_SLOT_LEN + 2);
		pfs_sim_free(sim);
	}
}

/* Reads of a container fail, so many of them; besides these long ones that reach up to it. */
struct failing_first {
	const char *name;
	uint64_t from, to;
	unsigned left;
};

static int fail_first(void *arg, const struct pfs_sim_step *step)
{
	struct failing_first *f = arg;
	struct bad bad = {f->name, f->from, f->to};

	if (!f->left || fail_bad(&bad, step) == 0)
		return 0;
	f->left -= step->len < PFS_CHECK_WINDOW;
	return -EIO;
}

/* Proves: slots of a page without header that can be read again after some tries stay. */
static void slots_that_can_be_read_again_stay(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 30; n++) {
		struct pfs_sim *sim = small_store();
		struct failing_first f = {"page-00000001", 1536, 2048, n};
		struct repaired *done;

		spoil(sim, f.name, 0);
		pfs_sim_on_look(sim, fail_first, &f);
		done = try_repair(sim);
		pfs_sim_on_look(sim, NULL, NULL);
		assert_int_equal(done->err, 0);
		if (n < 20)
			assert_int_equal(done->result.lost + done->result.unknown, 0);
		assert_true(small_gone(sim) <= done->fatal);
		free(done);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
}

/* Proves: a container that can't be read for a while costs its document at most, which is told;
 * when that is over before it is decided, nothing. */
static void a_place_that_recovers_costs_nothing(void **state)
{
	unsigned kept = 0;

	(void)state;
	for (unsigned n = 1; n < 10; n++) {
		struct pfs_sim *sim = docs_store();
		struct pfs_place place = doc_place(sim, 7);
		char name[32];
		struct failing_first f = {name, place.offset, place.offset + 1, n};
		struct repaired *done;
		unsigned gone;

		snprintf(name, sizeof(name), "%s", page_name(place.page));
		pfs_sim_on_look(sim, fail_first, &f);
		done = try_repair(sim);
		pfs_sim_on_look(sim, NULL, NULL);
		assert_int_equal(done->err, 0);
		gone = docs_gone(sim, NULL);
		assert_int_equal(gone, done->fatal);
		kept += !gone && done->count;
		free(done);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
	assert_true(kept > 0);
}

/* What a device reads once at a place is not what stands there. */
struct wrong_once {
	struct pfs_sim *sim;
	const char *name;
	uint64_t at;
	unsigned reads;
	bool busy;
};

static int read_wrong_once(void *arg, const struct pfs_sim_step *step)
{
	struct wrong_once *w = arg;

	if (w->busy || step->kind != PFS_SIM_READ || strcmp(step->name, w->name) != 0 ||
	    step->off > w->at || step->off + step->len <= w->at || w->reads == 2)
		return 0;
	w->busy = true;
	flip_bit(w->sim, w->name, w->at, 7);
	w->busy = false;
	w->reads++;
	return 0;
}

/* Proves: a slot that was read wrongly once, without an error, costs nothing. */
static void a_slot_that_is_read_wrongly_costs_nothing(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct wrong_once wrong = {.sim = sim, .name = "page-00000001"};
	struct repaired *done;

	(void)state;
	assert_int_equal(place.page, 1);
	wrong.at = pfs_slot_offset(place.slot) + offsetof(struct pfs_slot_disk, low) + 3;
	pfs_sim_on_look(sim, read_wrong_once, &wrong);
	done = try_repair(sim);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_int_equal(done->err, 0);
	assert_int_equal(wrong.reads, 2);
	assert_int_equal(done->fatal, 0);
	assert_true(done->count > 0);
	free(done);
	expect_healthy(sim);
	assert_int_equal(docs_gone(sim, NULL), 0);
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

	pfs_sim_set_file_max(full, 64 * PFS_MIB);
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

/* Proves: files of more other stores than are told apart do not keep a repair from finding out
 * whose superblock it makes; they are set aside. */
static void pages_of_many_stores_are_set_aside(void **state)
{
	enum { STORES = 12 };
	struct pfs_sim *sim = docs_store();
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	struct repaired *done;
	const char *why;

	(void)state;
	read_at(sim, page_name(1), 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	for (uint32_t i = 0; i < STORES; i++) {
		header.number = 100 + i;
		header.uuid[0] = (uint8_t)(header.uuid[0] + 1);
		pfs_page_header_encode(&disk, &header);
		make_file(sim, page_name(header.number));
		write_at(sim, page_name(header.number), 0, &disk, sizeof(disk));
		write_at(sim, page_name(header.number), header.page_size - PFS_PAGE_TRAILER_LEN,
			 &disk, sizeof(disk));
	}
	spoil(sim, PFS_SUPER_NAME, 16);
	spoil(sim, PFS_SUPER_NAME, 4096 + 16);
	done = repair_store(sim);
	assert_int_equal(done->result.files, STORES);
	free(done);
	assert_int_equal(docs_gone(sim, NULL), 0);
	pfs_sim_free(sim);
}

static int fail_lock(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_CREATE && strcmp(step->name, PFS_LOCK_NAME) == 0 ? -ENOSPC : 0;
}

/* Proves: where the file that holders of a store lock can't be made, check and repair say so. */
static void stores_that_can_not_be_locked_are_left_alone(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct repaired *done;

	(void)state;
	remove_file(sim, PFS_LOCK_NAME);
	pfs_sim_on_step(sim, fail_lock, NULL);
	assert_int_equal(
		pfs_check(STORE, pfs_sim_io(sim), &quiet, NULL, NULL, NULL, &result, &reason),
		-ENOSPC);
	assert_non_null(strstr(reason.text, "can't be locked: No space left on device"));
	done = try_repair(sim);
	assert_int_equal(done->err, -ENOSPC);
	free(done);
	pfs_sim_on_step(sim, NULL, NULL);
	expect_healthy(sim);
	pfs_sim_free(sim);
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

static void count_lines(void *arg, enum pfs_log_level level, const char *line)
{
	(void)level;
	*(unsigned *)arg += strstr(line, "superblock") != NULL;
}

/* Proves: what a repair has to say besides goes where the caller wants it, and nothing is said
 * where nothing is wrong. */
static void what_is_wrong_is_logged(void **state)
{
	unsigned lines = 0;
	const struct pfs_logger logger = {.fn = count_lines, .arg = &lines};
	struct pfs_sim *sim = small_store();
	struct pfs_repair_result result;

	(void)state;
	for (unsigned broken = 0; broken < 2; broken++) {
		for (unsigned copy = 0; broken && copy < PFS_SUPER_COPIES; copy++)
			spoil(sim, PFS_SUPER_NAME, (uint64_t)copy * PFS_SUPER_STRIDE);
		pfs_sim_settle(sim);
		assert_int_equal(pfs_repair(STORE, pfs_sim_io(sim), &logger, ignore_finding, NULL,
					    NULL, &result, NULL),
				 0);
		assert_int_equal(lines > 0, broken);
	}
	assert_int_equal(small_gone(sim), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_that_stays_bad_is_given_up),
		cmocka_unit_test(slots_in_a_bad_sector_are_told),
		cmocka_unit_test(slots_that_can_be_read_again_stay),
		cmocka_unit_test(a_place_that_recovers_costs_nothing),
		cmocka_unit_test(a_slot_that_is_read_wrongly_costs_nothing),
		cmocka_unit_test(files_that_are_aside_stay),
		cmocka_unit_test(pages_of_many_stores_are_set_aside),
		cmocka_unit_test(stores_that_can_not_be_locked_are_left_alone),
		cmocka_unit_test(a_bit_of_an_unused_slot_costs_nothing),
		cmocka_unit_test(lost_superblocks_learn_from_removals),
		cmocka_unit_test(stores_are_found_by_their_path),
		cmocka_unit_test(what_is_wrong_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
