/* storage/journal.c: recycling (J1 to J6), full disks, failures, power cuts, group commit. */
#include <time.h>

#include "tests/unit/journal_helpers.h"

/* ---- recycling ---- */

static void recycle(struct log *log)
{
	uint64_t below;

	assert_int_equal(pfs_journal_rotate(log->journal), 0);
	below = pfs_journal_active(log->journal);
	assert_int_equal(pfs_journal_sync(log->journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_declare(log->journal, below), 0);
	assert_int_equal(pfs_journal_sync_declared(log->journal), 0);
	pfs_journal_reuse(log->journal);
}

/* Proves: what was declared dead is not replayed, what came after is; segments are used again, so
 * that the journal's disk space is bounded. */
static void recycled_segments_are_used_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	uint64_t first = 1, bytes;
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned round = 0; round < 20; round++) {
		append_many(&log, 300);
		recycle(&log);
		assert_int_equal(pfs_journal_live_bytes(log.journal), PFS_SEGMENT_SIZE);
		first = pfs_journal_appended(log.journal) + 1;
		assert_int_equal(pfs_journal_window(log.journal), first);
	}
	assert_int_equal(pfs_journal_disk_bytes(log.journal, &bytes), 0);
	assert_true(bytes <= 8 * PFS_SEGMENT_SIZE);
	append_many(&log, 7);
	log_close(&log);
	expect_replayed(sim, first, first + 6);
	pfs_sim_free(sim);
}

/* Proves: rotating an active segment without records changes nothing, and one with records ends it
 * (J1, J2). */
static void rotation_ends_only_what_was_begun(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	uint64_t active;
	struct log log;

	(void)state;
	log_open(&log, sim);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	active = pfs_journal_active(log.journal);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	assert_int_equal(pfs_journal_active(log.journal), active);
	append(&log);
	assert_int_equal(pfs_journal_active(log.journal), active);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	assert_int_equal(pfs_journal_active(log.journal), active + 1);
	assert_true(pfs_journal_oldest(log.journal)->full);
	append(&log);
	log_close(&log);
	expect_replayed(sim, 1, 2);
	pfs_sim_free(sim);
}

/* Proves: a pinned segment, and all that are younger, stay live until it is let go (J4). */
static void pinned_segments_hold_the_later_ones(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	pos = append(&log);
	pos.segment->pins++;
	append_many(&log, 300);
	recycle(&log);
	assert_ptr_equal(pfs_journal_oldest(log.journal), pos.segment);
	assert_int_equal(pfs_journal_window(log.journal), 2);
	log_close(&log);
	expect_replayed(sim, 2, 302);

	log_open(&log, sim);
	recycle(&log);
	assert_int_equal(pfs_journal_live_bytes(log.journal), PFS_SEGMENT_SIZE);
	log_close(&log);
	expect_replayed(sim, 1, 0);
	pfs_sim_free(sim);
}

struct watch {
	char dead[64][32]; /* files that were declared dead */
	size_t count;
	bool synced; /* the header that says so */
};

/* J5 */
static int watch_dead_files(void *arg, const struct pfs_sim_step *step)
{
	struct watch *watch = arg;

	for (size_t i = 0; i < watch->count; i++)
		if (!watch->synced && step->kind != PFS_SIM_SYNC &&
		    strcmp(step->name, watch->dead[i]) == 0)
			fail_msg("%s of %s before its end was durable",
				 pfs_sim_kind_name(step->kind), step->name);
	return 0;
}

/* Proves: a dead segment's file is neither written nor removed before the header that calls it dead
 * is durable (J5), even when segments run out. */
static void dead_segments_wait_for_the_sync(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct watch watch = {.count = 0};
	struct log log;
	uint64_t last;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 400);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	last = pfs_journal_appended(log.journal);
	for (struct pfs_segment *s = pfs_journal_oldest(log.journal); s->next; s = s->next)
		snprintf(watch.dead[watch.count++], 32, PFS_SEGMENT_NAME_FMT, s->file_index);
	assert_true(watch.count > 1);
	pfs_sim_on_step(sim, watch_dead_files, &watch);
	assert_int_equal(pfs_journal_declare(log.journal, pfs_journal_active(log.journal)), 0);
	append_many(&log, 400);
	assert_int_equal(pfs_journal_trim(log.journal, 0), 0);
	/* All images: what was declared is there as a whole, or not needed. */
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct log image;

		cut = pfs_sim_crash_seed(sim, seed);
		log_open(&image, cut);
		assert_true(image.count == 0 || image.seqs[0] == 1 || image.seqs[0] == last + 1);
		assert_true(image.count == 0 || image.seqs[0] == last + 1 ||
			    image.result.last_seq >= last);
		log_close(&image);
		pfs_sim_free(cut);
	}
	assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
	watch.synced = true;
	pfs_journal_reuse(log.journal);
	append_many(&log, 400);
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: trimming removes spare files only, and discarding all: then nothing is replayed and
 * nothing can be appended. */
static void trim_and_discard(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	uint64_t bytes;
	struct log log;

	(void)state;
	log_open(&log, sim);
	assert_int_equal(pfs_journal_prepare(log.journal, 6), 0);
	append_many(&log, 10);
	assert_int_equal(pfs_journal_trim(log.journal, 2), 0);
	assert_int_equal(pfs_journal_disk_bytes(log.journal, &bytes), 0);
	assert_int_equal(bytes, 3 * PFS_SEGMENT_SIZE);
	assert_int_equal(pfs_journal_prepare(log.journal, 4), 0);
	append_many(&log, 10);
	expect_replayed(sim, 1, 20);
	pfs_journal_discard(log.journal);
	assert_int_equal(pfs_journal_live_bytes(log.journal), 0);
	assert_int_equal(append_to(&log, true, &pos), -EROFS);
	log_close(&log);
	assert_int_equal(pfs_sim_used(sim), 0);
	expect_replayed(sim, 1, 0);
	pfs_sim_free(sim);
}

/* ---- full disks and failures ---- */

/* Proves: on a full disk ordinary records are refused while two spare segments are left, privileged
 * ones while one is, and a checkpoint can then still rotate (J6); a refused record has changed
 * nothing, and service resumes when the checkpoint has given segments back. */
static void full_disks_leave_room_for_the_checkpoint(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	uint64_t appended, ordinary;
	struct pfs_journal_pos pos;
	struct log log;
	int err = 0;

	(void)state;
	log_open(&log, sim);
	assert_int_equal(pfs_journal_prepare(log.journal, 5), 0);
	pfs_sim_set_capacity(sim, 5 * PFS_SEGMENT_SIZE);
	while ((err = append_to(&log, false, &pos)) == 0)
		;
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(pfs_journal_live_bytes(log.journal), 3 * PFS_SEGMENT_SIZE);
	ordinary = pfs_journal_appended(log.journal);
	while ((err = append_to(&log, true, &pos)) == 0)
		;
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(pfs_journal_live_bytes(log.journal), 4 * PFS_SEGMENT_SIZE);
	appended = pfs_journal_appended(log.journal);
	assert_true(appended > ordinary);
	expect_replayed(sim, 1, appended);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_declare(log.journal, pfs_journal_active(log.journal)), 0);
	assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
	pfs_journal_reuse(log.journal);
	append_many(&log, 100);
	log_close(&log);
	expect_replayed(sim, appended + 1, appended + 100);
	pfs_sim_free(sim);
}

struct failing {
	enum pfs_sim_kind kind;
	int left; /* steps of the kind until one fails */
};

static int fail_step(void *arg, const struct pfs_sim_step *step)
{
	struct failing *f = arg;

	return step->kind == f->kind && f->left-- == 0 ? -EIO : 0;
}

/* Proves: a record whose write failed, after any part of it, is never replayed, and the next one
 * takes its place. */
static void failed_writes_leave_no_record(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct failing f = {.kind = PFS_SIM_WRITE};
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 6);
	for (unsigned i = 0; i < 6; i++) {
		f.left = 0;
		pfs_sim_on_step(sim, fail_step, &f);
		assert_int_equal(append_to(&log, false, &pos), -EIO);
		pfs_sim_on_step(sim, NULL, NULL);
		expect_replayed(sim, 1, 6 + i);
		append(&log);
		expect_replayed(sim, 1, 7 + i);
	}
	log_close(&log);
	pfs_sim_free(sim);
}

static int fail_all_writes(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE ? -EIO : 0;
}

/* Proves: when a failed write can't be undone, the journal takes no more records: one behind it
 * might be lost with it. */
static void writes_that_cannot_be_undone_end_the_journal(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 3);
	pfs_sim_on_step(sim, fail_all_writes, NULL);
	assert_int_equal(append_to(&log, false, &pos), -EIO);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(append_to(&log, false, &pos), -EROFS);
	assert_int_equal(pfs_journal_appended(log.journal), 3);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: after a sync that failed nothing is ever claimed to be durable, and nothing more is
 * taken. */
static void failed_syncs_are_for_ever(void **state)
{
	struct failing f = {.kind = PFS_SIM_SYNC};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 3);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	append_many(&log, 3);
	pfs_sim_on_step(sim, fail_step, &f);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), -EIO);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), -EIO);
	assert_int_equal(pfs_journal_durable(log.journal), 3);
	assert_int_equal(append_to(&log, true, &pos), -EROFS);
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: rewriting makes all live records durable, also those that a failed sync left in the cache
 * alone. */
static void rewriting_makes_all_durable(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct failing f = {.kind = PFS_SIM_SYNC};
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 300);
	pfs_sim_on_step(sim, fail_step, &f);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), -EIO);
	pfs_sim_on_step(sim, NULL, NULL);
	killed = pfs_sim_kill(sim);
	log_close(&log);
	log_open(&log, killed);
	assert_int_equal(log.count, 300);
	assert_int_equal(pfs_journal_rewrite(log.journal), 0);
	log_close(&log);
	pfs_sim_free(sim);
	sim = pfs_sim_crash_index(killed, 0);
	expect_replayed(sim, 1, 300);
	pfs_sim_free(sim);
	pfs_sim_free(killed);
}

/* ---- power cuts ---- */

struct cutting {
	struct log *log;
	uint64_t images, first;
};

static int cut_here(void *arg, const struct pfs_sim_step *step)
{
	struct cutting *c = arg;
	uint64_t durable = pfs_journal_durable(c->log->journal);
	struct pfs_sim *image;
	struct log log;

	if (step->number % 5)
		return 0;
	image = pfs_sim_crash_seed(c->log->sim, step->number);
	log_open(&log, image);
	assert_int_equal(log.result.damaged, 0);
	/* All that is durable and not recycled, then more without a gap. */
	if (c->first <= durable)
		assert_true(log.count && log.seqs[0] <= c->first && log.result.last_seq >= durable);
	for (size_t i = 1; i < log.count; i++)
		assert_int_equal(log.seqs[i], log.seqs[i - 1] + 1);
	log_close(&log);
	pfs_sim_free(image);
	c->images++;
	return 0;
}

/* Proves: after a power cut at any point of appending, syncing and recycling, the replay has all
 * that was durable and nothing behind a gap. */
static void power_cuts_lose_nothing_durable(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;
	struct cutting c = {.log = &log, .first = 1};

	(void)state;
	log_open(&log, sim);
	pfs_sim_on_step(sim, cut_here, &c);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 250; i++) {
			append(&log);
			if (pfs_mix64(round * 1000 + i) % 7 == 0)
				assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
		}
		c.first = pfs_journal_appended(log.journal) + 1;
		recycle(&log);
	}
	pfs_sim_on_step(sim, NULL, NULL);
	assert_true(c.images > 150);
	log_close(&log);
	pfs_sim_free(sim);
}

/* ---- group commit ---- */

struct group {
	struct log log;
	pthread_mutex_t commit;
	unsigned failed;
};

static void *append_and_sync(void *arg)
{
	struct group *g = arg;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t seq;

		pthread_mutex_lock(&g->commit);
		seq = append(&g->log).seq;
		pthread_mutex_unlock(&g->commit);
		if (pfs_journal_sync(g->log.journal, seq) != 0 ||
		    pfs_journal_durable(g->log.journal) < seq)
			__atomic_fetch_add(&g->failed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int slow_sync(void *arg, const struct pfs_sim_step *step)
{
	struct timespec pause = {0, 300000};

	(void)arg;
	if (step->kind == PFS_SIM_SYNC)
		nanosleep(&pause, NULL);
	return 0;
}

/* Proves: threads that sync at once share syncs, each returns only when its record is durable,
 * while the journal is recycled beneath them (ThreadSanitizer watches). */
static void concurrent_syncs_are_shared(void **state)
{
	struct group g = {.commit = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};
	struct pfs_sim *sim = pfs_sim_new();
	pthread_t threads[6];
	uint64_t syncs;

	(void)state;
	log_open(&g.log, sim);
	pfs_sim_on_step(sim, slow_sync, NULL);
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		assert_int_equal(pthread_create(&threads[t], NULL, append_and_sync, &g), 0);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t below;

		pthread_mutex_lock(&g.commit);
		assert_int_equal(pfs_journal_rotate(g.log.journal), 0);
		below = pfs_journal_active(g.log.journal);
		pthread_mutex_unlock(&g.commit);
		assert_int_equal(pfs_journal_sync(g.log.journal, UINT64_MAX), 0);
		pthread_mutex_lock(&g.commit);
		assert_int_equal(pfs_journal_declare(g.log.journal, below), 0);
		pthread_mutex_unlock(&g.commit);
		assert_int_equal(pfs_journal_sync_declared(g.log.journal), 0);
		pthread_mutex_lock(&g.commit);
		pfs_journal_reuse(g.log.journal);
		assert_int_equal(pfs_journal_trim(g.log.journal, 2), 0);
		pthread_mutex_unlock(&g.commit);
	}
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		pthread_join(threads[t], NULL);
	pfs_sim_on_step(sim, NULL, NULL);
	syncs = pfs_sim_count(sim, PFS_SIM_SYNC);
	assert_int_equal(g.failed, 0);
	assert_int_equal(pfs_journal_durable(g.log.journal), 1200);
	assert_true(syncs < 1200 * 2 / 3);
	log_close(&g.log);
	pfs_sim_free(sim);
}

struct interrupted {
	struct log *log;
	unsigned syncs;
};

/* While the first segment is being synced, it is declared dead and the others go on. */
static int declare_meanwhile(void *arg, const struct pfs_sim_step *step)
{
	struct interrupted *x = arg;
	struct pfs_file *file;

	if (step->kind != PFS_SIM_SYNC || x->syncs++)
		return 0;
	assert_int_equal(pfs_journal_declare(x->log->journal, pfs_journal_active(x->log->journal)),
			 0);
	pfs_journal_reuse(x->log->journal);
	assert_int_equal(pfs_journal_trim(x->log->journal, 0), 0);
	/* Still there: it is in use. */
	assert_int_equal(x->log->dir->ops->open(x->log->dir, step->name, 0, &file), 0);
	file->ops->close(file);
	return 0;
}

/* Proves: a segment that is declared dead while a group commit is syncing it neither ends that
 * commit early, which would then claim what it did not sync, nor is closed or used again under it.
 */
static void declaring_under_a_sync_loses_nothing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct interrupted x = {.syncs = 0};
	struct log log;

	(void)state;
	x.log = &log;
	log_open(&log, sim);
	append_many(&log, 5);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_rotate(log.journal), 0); /* its END is not durable */
	append_many(&log, 5);
	pfs_sim_on_step(sim, declare_meanwhile, &x);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(pfs_journal_durable(log.journal), 10);
	assert_int_equal(x.syncs, 2);
	cut = pfs_sim_crash_index(sim, 0);
	expect_replayed(cut, 6, 10);
	pfs_sim_free(cut);
	pfs_journal_reuse(log.journal);
	append_many(&log, 300);
	log_close(&log);
	expect_replayed(sim, 6, 310);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recycled_segments_are_used_again),
		cmocka_unit_test(rotation_ends_only_what_was_begun),
		cmocka_unit_test(pinned_segments_hold_the_later_ones),
		cmocka_unit_test(dead_segments_wait_for_the_sync),
		cmocka_unit_test(trim_and_discard),
		cmocka_unit_test(full_disks_leave_room_for_the_checkpoint),
		cmocka_unit_test(failed_writes_leave_no_record),
		cmocka_unit_test(writes_that_cannot_be_undone_end_the_journal),
		cmocka_unit_test(failed_syncs_are_for_ever),
		cmocka_unit_test(rewriting_makes_all_durable),
		cmocka_unit_test(power_cuts_lose_nothing_durable),
		cmocka_unit_test(concurrent_syncs_are_shared),
		cmocka_unit_test(declaring_under_a_sync_loses_nothing),
	};

	return cmocka_run_group_tests_name("journal_recycle", tests, NULL, NULL);
}
