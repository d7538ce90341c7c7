/* Full disks (G6): whatever the room, an operation happens or gives -ENOSPC and changes nothing;
 * what frees space goes on working; service resumes when there is room again. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/monotonic.h"
#include "storage/store_internal.h"
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

/* ---- opened when the disk is full already ---- */

#define SMALL_COUNT 3000u
#define SMALL_LEN 90u

/* A store of small documents that was closed, on a disk that is full. */
static void fill_small(struct disk *d, uint64_t page_size)
{
	struct pfs_create_options options = {.page_size = page_size, .min_value_size = 16};
	struct pfs_reason reason;

	d->sim = pfs_sim_new();
	options.io = pfs_sim_io(d->sim);
	assert_int_equal(pfs_store_create(MODEL_STORE, &options, &reason), 0);
	disk_open(d);
	/* In no order, so that the index takes bytes for each. */
	for (unsigned n = 0; n < SMALL_COUNT; n++) {
		unsigned i = n * 701 % SMALL_COUNT;
		struct pfs_key key = pfs_key_num(i);
		uint8_t *bytes = model_bytes(SMALL_LEN, 2 * i + 1);

		assert_int_equal(pfs_put(d->store, &key, bytes, SMALL_LEN, NULL, 0, NULL), 0);
		free(bytes);
	}
	assert_int_equal(pfs_store_close(d->store), 0);
	pfs_sim_set_capacity(d->sim, pfs_sim_used(d->sim));
}

/* What is removed, and nothing else, is not there. */
static void expect_small(struct disk *d, const bool *removed)
{
	for (unsigned i = 0; i < SMALL_COUNT; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t *bytes = model_bytes(SMALL_LEN, 2 * i + 1);
		void *got;
		size_t len;

		assert_int_equal(pfs_get(d->store, &key, &got, &len, NULL),
				 removed[i] ? -ENOENT : 0);
		if (!removed[i]) {
			assert_int_equal(len, SMALL_LEN);
			assert_memory_equal(got, bytes, len);
		}
		free(got);
		free(bytes);
	}
}

static void remove_small(struct disk *d, bool *removed, unsigned i)
{
	struct pfs_key key = pfs_key_num(i);

	assert_int_equal(pfs_remove(d->store, &key, NULL), 0);
	removed[i] = true;
}

/* Opens an image on its full disk, which must show what is removed, removes one more, and closes
 * it: the disk is still full. */
static void expect_image(struct pfs_sim *image, const bool *removed, unsigned next)
{
	bool *there = malloc(SMALL_COUNT);
	struct disk d = {.sim = image};

	memcpy(there, removed, SMALL_COUNT);
	disk_open(&d);
	expect_small(&d, there);
	remove_small(&d, there, next);
	assert_int_equal(pfs_store_close(d.store), 0);
	disk_open(&d);
	expect_small(&d, there);
	disk_close(&d);
	free(there);
}

/* Proves: a store that was closed can be opened when others have filled the disk to the last byte,
 * and take what it gives up as well; then documents can be removed, as many as one likes, also
 * after the death of the process and after a power cut there; it can be closed and opened again;
 * and what was removed makes room. */
static void a_closed_store_opens_on_a_full_disk(void **state)
{
	bool *removed = calloc(SMALL_COUNT, 1);
	struct disk d;

	(void)state;
	fill_small(&d, PFS_PAGE_SIZE_MIN);
	disk_open(&d);
	assert_int_equal(pfs_store_close(d.store), 0);
	disk_open(&d);
	expect_image(pfs_sim_kill(d.sim), removed, 1);
	for (unsigned n = 0; n < SMALL_COUNT - 100; n++) {
		remove_small(&d, removed, n * 7 % SMALL_COUNT);
		if (n == 0)
			pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim));
		if (n % 397)
			continue;
		expect_image(pfs_sim_kill(d.sim), removed, (n + 1) * 7 % SMALL_COUNT);
		assert_int_equal(pfs_sync(d.store), 0);
		expect_image(pfs_sim_crash_seed(d.sim, n), removed, (n + 1) * 7 % SMALL_COUNT);
	}
	expect_small(&d, removed);
	assert_int_equal(pfs_store_close(d.store), 0);
	disk_open(&d);
	expect_small(&d, removed);
	assert_int_equal(put(&d, SMALL_COUNT, 3), 0);
	expect(&d, SMALL_COUNT, 3);
	disk_close(&d);
	free(removed);
}

static uint64_t disk_bytes(struct disk *d, const char *name)
{
	const struct pfs_io *io = pfs_sim_io(d->sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	uint64_t bytes = 0;

	assert_int_equal(io->ops->open_dir(io, MODEL_STORE, PFS_IO_WRITE, &dir), 0);
	if (dir->ops->open(dir, name, 0, &file) == 0) {
		assert_int_equal(file->ops->disk_usage(file, &bytes), 0);
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	return bytes;
}

/* Proves: a closed store keeps no more than 64 KiB for that. One that has kept nothing, because it
 * was closed where there was no room, or by an earlier version, lives on the room of its index. */
static void the_saved_index_is_room_too(void **state)
{
	bool *removed = calloc(SMALL_COUNT, 1);
	const struct pfs_io *io;
	struct pfs_dir *dir;
	struct disk d;

	(void)state;
	fill_small(&d, PFS_PAGE_SIZE_MIN);
	assert_int_equal(disk_bytes(&d, "reserve"), 64 * PFS_KIB);
	assert_true(disk_bytes(&d, "index") > 32 * PFS_KIB);
	io = pfs_sim_io(d.sim);
	assert_int_equal(io->ops->open_dir(io, MODEL_STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->unlink(dir, "reserve"), 0);
	dir->ops->close_dir(dir);
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim));
	disk_open(&d);
	for (unsigned i = 0; i < 500; i++)
		remove_small(&d, removed, i);
	expect_small(&d, removed);
	assert_int_equal(pfs_store_close(d.store), 0);
	disk_open(&d);
	expect_small(&d, removed);
	disk_close(&d);
	free(removed);
}

/* Proves: a document for which a page finds no room on the disk takes none of it. */
static void a_refused_document_takes_nothing(void **state)
{
	struct pfs_key key = pfs_key_num(SMALL_COUNT);
	uint8_t *bytes = model_bytes(PFS_MIB, 3);
	struct disk d;
	uint64_t page;

	(void)state;
	fill_small(&d, 8 * PFS_MIB);
	disk_open(&d);
	page = disk_bytes(&d, "page-00000001");
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim) + 64 * PFS_KIB);
	assert_int_equal(pfs_put(d.store, &key, bytes, PFS_MIB, NULL, 0, NULL), -ENOSPC);
	assert_int_equal(disk_bytes(&d, "page-00000001"), page);
	disk_close(&d);
	free(bytes);
}

/* ---- beside the committer, which has segments ready ---- */

#define WAIT_MS 400 /* in vain where nobody comes in the way, as it should be */

/* What is awaited of the two threads: the committer has begun to take room for a segment, the
 * remover has given the reserve up, the committer has all the room that there is and no segment,
 * the remover is done. */
enum { TAKING = 1, GIVEN_UP = 2, TAKEN = 4, DONE = 8 };

struct race {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t remover;
	unsigned met, creates;
	bool unlinked;
};

static void meet(struct race *race, unsigned what)
{
	pthread_mutex_lock(&race->lock);
	race->met |= what;
	pthread_cond_broadcast(&race->changed);
	pthread_mutex_unlock(&race->lock);
}

static void await(struct race *race, unsigned any)
{
	const struct timespec until = pfs_monotonic_in_ms(WAIT_MS);
	int err = 0;

	pthread_mutex_lock(&race->lock);
	while (!(race->met & any) && !err)
		err = pthread_cond_timedwait(&race->changed, &race->lock, &until);
	pthread_mutex_unlock(&race->lock);
}

static void remover_step(struct race *race, const struct pfs_sim_step *step)
{
	if (step->kind == PFS_SIM_UNLINK && strcmp(step->name, "reserve") == 0)
		race->unlinked = true;
	if (step->kind != PFS_SIM_CREATE || strncmp(step->name, "journal-", 8) != 0)
		return;
	if (race->unlinked) {
		meet(race, GIVEN_UP);
		await(race, TAKEN);
	} else if (++race->creates == 2) {
		await(race, TAKING);
	}
}

/* Holds the committer up while it has room that others need. */
static int race_step(void *arg, const struct pfs_sim_step *step)
{
	struct race *race = arg;

	if (pthread_equal(pthread_self(), race->remover)) {
		remover_step(race, step);
	} else if (strncmp(step->name, "journal-", 8) == 0) {
		if (step->kind == PFS_SIM_ALLOCATE) {
			meet(race, TAKING);
			await(race, GIVEN_UP | DONE);
		} else if (step->kind == PFS_SIM_UNLINK) {
			meet(race, TAKEN);
			await(race, DONE);
		}
	}
	return 0;
}

static void remove_beside_the_committer(uint64_t room)
{
	struct race race = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
			    .remover = pthread_self()};
	bool *removed = calloc(SMALL_COUNT, 1);
	struct pfs_open_options options = {.logger = {.fn = quiet_log}};
	struct pfs_reason reason;
	struct disk d;

	pfs_monotonic_cond_init(&race.changed);
	fill_small(&d, PFS_PAGE_SIZE_MIN);
	pfs_sim_set_capacity(d.sim, pfs_sim_used(d.sim) + room);
	options.io = pfs_sim_io(d.sim);
	assert_int_equal(pfs_store_open(&d.store, MODEL_STORE, &options, &reason), 0);
	pfs_sim_on_step(d.sim, race_step, &race);
	for (unsigned i = 0; i < 3; i++)
		remove_small(&d, removed, i);
	meet(&race, DONE);
	expect_small(&d, removed);
	assert_int_equal(pfs_store_close(d.store), 0);
	pfs_sim_on_step(d.sim, NULL, NULL);
	disk_open(&d);
	expect_small(&d, removed);
	disk_close(&d);
	pthread_cond_destroy(&race.changed);
	free(removed);
}

/* Proves: the thread that has segments ready does not come in the way of what must work on a full
 * disk, although it takes room for a whole one and gives it back when that is not there: neither
 * when there was no room for the reserve, nor when there was room for that alone. */
static void segments_made_ahead_are_no_obstacle(void **state)
{
	(void)state;
	remove_beside_the_committer(0);
	remove_beside_the_committer(PFS_RESERVE_BYTES - PFS_RESERVE_CLOSED + PFS_SIM_PIECE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_of_disk),
		cmocka_unit_test(what_frees_space_goes_on_working),
		cmocka_unit_test(a_held_truncation_is_cancelled),
		cmocka_unit_test(a_checkpoint_needs_no_room),
		cmocka_unit_test(service_resumes),
		cmocka_unit_test(a_closed_store_opens_on_a_full_disk),
		cmocka_unit_test(the_saved_index_is_room_too),
		cmocka_unit_test(a_refused_document_takes_nothing),
		cmocka_unit_test(segments_made_ahead_are_no_obstacle),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("full disks", tests, NULL, NULL);
}
