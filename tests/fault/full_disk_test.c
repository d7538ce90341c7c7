/* Full disks (G6): whatever the room, an operation happens or gives -ENOSPC and changes nothing;
 * what frees space goes on working; service resumes when there is room again. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fault/workload.h"

/* Two segments of the journal and some small pages: what a store needs to be opened after a crash.
 */
#define PIECES_LEAST ((4 * PFS_MIB) / PFS_SIM_PIECE + 64)
#define DOCUMENTS 400
#define DOCUMENT_LEN 3000

/* Proves: with room for every number of bytes (a sample of them; FULL_STEP=1 pieces: all) from the
 * least that a store opens with up to what the workload needs, each call returns 0 or -ENOSPC, what
 * was refused has changed nothing, nothing acknowledged is lost in a kill or a power cut, and the
 * store is never read-only because of it. */
static void every_size_of_disk(void **state)
{
	const char *effort = getenv("FULL_STEP"), *only = getenv("FAULT_AT");
	uint64_t step = effort ? strtoull(effort, NULL, 0) : 7 * WORKLOAD_STEP;
	struct workload_stat stat = {0};
	struct fault fault;
	char label[64];

	(void)state;
	for (uint64_t pieces = only ? strtoull(only, NULL, 0) : PIECES_LEAST;; pieces += step) {
		fault = (struct fault){.kind = FAULT_FULL, .at = pieces * PFS_SIM_PIECE};
		snprintf(label, sizeof(label), "a disk of %llu pieces", (unsigned long long)pieces);
		if (!workload_run(&fault, label, &stat) || only)
			break;
	}
	print_message("sizes of disks: %llu runs, full in %llu, %llu calls refused, %llu images\n",
		      (unsigned long long)stat.runs, (unsigned long long)stat.met,
		      (unsigned long long)stat.refused, (unsigned long long)stat.images);
}

/* ---- one store on one disk ---- */

struct disk {
	struct pfs_sim *sim;
	struct pfs_store *store;
};

static void quiet_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void disk_open(struct disk *d)
{
	struct pfs_open_options options = {
		.io = pfs_sim_io(d->sim), .manual = true, .logger = {.fn = quiet_log}};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&d->store, MODEL_STORE, &options, &reason), 0);
}

static int put(struct disk *d, uint64_t id, unsigned seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = model_bytes(DOCUMENT_LEN, seed);
	int err = pfs_put(d->store, &key, bytes, DOCUMENT_LEN, NULL, 0, NULL);

	free(bytes);
	return err;
}

static void expect(struct disk *d, uint64_t id, unsigned seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = model_bytes(DOCUMENT_LEN, seed);
	void *got;
	size_t len;

	assert_int_equal(pfs_get(d->store, &key, &got, &len, NULL), 0);
	assert_int_equal(len, DOCUMENT_LEN);
	assert_memory_equal(got, bytes, len);
	free(got);
	free(bytes);
}

static uint32_t object_of(struct disk *d, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	uint32_t object;

	assert_int_equal(pfs_lookup(d->store, &key, &object, NULL), 0);
	return object;
}

/* A store on a disk without room for one more document; returns how many it has. */
static uint64_t fill_disk(struct disk *d)
{
	struct pfs_create_options options = {.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 16};
	struct pfs_reason reason;
	uint64_t n = 0;
	int err;

	d->sim = pfs_sim_new();
	options.io = pfs_sim_io(d->sim);
	assert_int_equal(pfs_store_create(MODEL_STORE, &options, &reason), 0);
	disk_open(d);
	while (n < DOCUMENTS && put(d, n, 2 * (unsigned)n + 1) == 0)
		n++;
	assert_int_equal(pfs_store_checkpoint(d->store), 0);
	pfs_sim_set_capacity(d->sim, pfs_sim_used(d->sim));
	while ((err = put(d, n, 2 * (unsigned)n + 1)) == 0)
		n++;
	assert_int_equal(err, -ENOSPC);
	return n;
}

static void disk_close(struct disk *d)
{
	struct pfs_check_result result;
	struct pfs_reason reason;

	pfs_sim_set_capacity(d->sim, 0);
	assert_int_equal(pfs_store_close(d->store), 0);
	assert_int_equal(pfs_check(MODEL_STORE, pfs_sim_io(d->sim), NULL, NULL, NULL, NULL, &result,
				   &reason),
			 0);
	assert_int_equal(result.findings, 0);
	pfs_sim_free(d->sim);
}

/* Proves: on a full disk removing, renaming, truncating to zero and changing attributes work, as
 * often as one likes, and what is removed makes room for what is put. */
static void what_frees_space_goes_on_working(void **state)
{
	struct disk d;
	uint64_t n = fill_disk(&d);
	struct pfs_attr mode = {.mode = 0600}, empty = {0};

	(void)state;
	for (uint64_t i = 0; i < n / 2; i++) {
		struct pfs_key key = pfs_key_num(i), other = pfs_key_num(1000000 + i);

		switch (i % 4) {
		case 0: assert_int_equal(pfs_remove(d.store, &key, NULL), 0); break;
		case 1: assert_int_equal(pfs_rename(d.store, &key, &other, 0, NULL), 0); break;
		case 2:
			assert_int_equal(
				pfs_setattr(d.store, object_of(&d, i), PFS_ATTR_MODE, &mode, NULL),
				0);
			break;
		case 3:
			/* Asked for by opening for writing, this says ENOSPC early: see pfs_create.
			 */
			(void)pfs_setattr(d.store, object_of(&d, i), PFS_ATTR_SIZE, &empty, NULL);
			assert_int_equal(pfs_remove(d.store, &key, NULL), 0);
			break;
		}
	}
	assert_int_equal(pfs_sync(d.store), 0);
	for (uint64_t i = n / 2; i < n; i++)
		expect(&d, i, 2 * (unsigned)i + 1);
	for (uint64_t i = 1; i < n / 2; i += 4)
		expect(&d, 1000000 + i, 2 * (unsigned)i + 1);
	/* The room of what was removed is used. */
	assert_int_equal(pfs_store_checkpoint(d.store), 0);
	for (uint64_t i = 0; i < n / 8; i++)
		assert_int_equal(put(&d, 2000000 + i, 7), 0);
	disk_close(&d);
}

/* Proves: a write for which there is no room cancels the truncation that it was for: the document
 * is what it was, also after the ticks that would have logged it, and after a kill. */
static void a_held_truncation_is_cancelled(void **state)
{
	struct pfs_attr empty = {0}, now;
	struct pfs_sim *image;
	struct disk d, killed;
	uint64_t n = fill_disk(&d);
	uint8_t *bytes = model_bytes(PFS_MIB, 3);
	int err;

	(void)state;
	/* Some room for the truncation itself, none for a mebibyte. */
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim) + 32 * PFS_SIM_PIECE);
	err = pfs_setattr(d.store, object_of(&d, 5), PFS_ATTR_SIZE, &empty, NULL);
	assert_int_equal(err, 0);
	assert_int_equal(pfs_getattr(d.store, object_of(&d, 5), &now), 0);
	assert_int_equal(now.size, 0);
	assert_int_equal(pfs_write(d.store, object_of(&d, 5), 0, bytes, PFS_MIB, 1), -ENOSPC);
	expect(&d, 5, 11);
	for (unsigned tick = 0; tick <= PFS_HOLD_TICKS; tick++)
		(void)pfs_store_tick(d.store);
	expect(&d, 5, 11);
	image = pfs_sim_kill(d.sim);
	killed.sim = image;
	disk_open(&killed);
	expect(&killed, 5, 11);
	expect(&killed, n - 1, 2 * (unsigned)(n - 1) + 1);
	disk_close(&killed);
	free(bytes);
	disk_close(&d);
}

/* Proves: what was accepted has its space: a checkpoint on a disk that has become full meanwhile
 * moves everything to the pages. */
static void a_checkpoint_needs_no_room(void **state)
{
	struct disk d;
	uint64_t n = fill_disk(&d);

	(void)state;
	pfs_sim_set_capacity(d.sim, 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(put(&d, i, 2 * (unsigned)i + 3), 0);
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim));
	assert_int_equal(pfs_store_checkpoint(d.store), 0);
	for (uint64_t i = 0; i < n; i++)
		expect(&d, i, 2 * (unsigned)i + 3);
	disk_close(&d);
}

/* Proves: as soon as there is room again, the store takes documents as before. */
static void service_resumes(void **state)
{
	struct disk d;
	uint64_t n = fill_disk(&d);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(put(&d, n, 9), -ENOSPC);
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim) + 8 * PFS_MIB);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(put(&d, n + i, 9), 0);
	expect(&d, n, 9);
	expect(&d, 0, 1);
	disk_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_of_disk),
		cmocka_unit_test(what_frees_space_goes_on_working),
		cmocka_unit_test(a_held_truncation_is_cancelled),
		cmocka_unit_test(a_checkpoint_needs_no_room),
		cmocka_unit_test(service_resumes),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("full disks", tests, NULL, NULL);
}
