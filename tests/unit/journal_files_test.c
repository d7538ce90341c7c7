/* storage/journal.c: the files of segments: which must be there, which are given back, and when
 * their names are durable. */
#include "tests/unit/journal_helpers.h"

/* Proves: the end of a segment says that another follows: without its file the replay is refused.
 */
static void the_newest_segment_is_missed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir;
	struct log log;
	char name[32];

	(void)state;
	log_open(&log, sim);
	append_many(&log, 5);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT,
		 pfs_journal_oldest(log.journal)->next->file_index);
	append_many(&log, 5);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	log_close(&log);
	expect_replayed(sim, 1, 10);
	dir = open_dir(sim);
	assert_int_equal(dir->ops->unlink(dir, name), 0);
	dir->ops->close_dir(dir);
	expect_refused(sim);
	pfs_sim_free(sim);
}

/* All that the journal in this sim has is given back. */
static void expect_all_removed(struct log *log, uint64_t records, unsigned spares)
{
	assert_int_equal(log->count, records);
	assert_int_equal(pfs_journal_spares(log->journal), spares);
	pfs_journal_discard(log->journal);
	assert_int_equal(pfs_sim_used(log->sim), 0);
	log_close(log);
}

/* Proves: segments that had been declared dead are spare ones after the next opening. */
static void dead_segments_are_spare_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 5);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	append_many(&log, 2);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_declare(log.journal, pfs_journal_active(log.journal)), 0);
	assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
	killed = pfs_sim_kill(sim);
	log_close(&log);
	pfs_sim_free(sim);
	log_open(&log, killed);
	/* Those that were spare, too. */
	assert_true(pfs_journal_spares(log.journal) > 0);
	expect_all_removed(&log, 2, pfs_journal_spares(log.journal));
	pfs_sim_free(killed);
}

/* Proves: segments behind a record that a power cut took are spare ones after the next opening. */
static void segments_behind_a_cut_are_spare_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	unsigned spares;
	struct log log;

	(void)state;
	log_open(&log, sim);
	assert_int_equal(pfs_journal_prepare(log.journal, 4), 0);
	append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	append(&log);
	/* What begins a segment is durable at once, the end of the one before it is not. */
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	spares = pfs_journal_spares(log.journal);
	cut = pfs_sim_crash_index(sim, 0);
	log_close(&log);
	pfs_sim_free(sim);
	log_open(&log, cut);
	expect_all_removed(&log, 1, spares + 1);
	pfs_sim_free(cut);
}

static int fail_headers(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE && step->off == 0 ? -EIO : 0;
}

/* Proves: a segment that could not be begun is removed with the others. */
static void what_was_not_begun_is_removed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	pfs_sim_on_step(sim, fail_headers, NULL);
	assert_int_equal(pfs_journal_rotate(log.journal), -EIO);
	pfs_sim_on_step(sim, NULL, NULL);
	pfs_journal_discard(log.journal);
	assert_int_equal(pfs_sim_used(sim), 0);
	log_close(&log);
	pfs_sim_free(sim);
}

static void no_lock(void *arg, bool on)
{
	(void)arg;
	(void)on;
}

/* Proves: a spare segment that is made ahead has its blocks and its name, also after a power cut.
 */
static void spares_are_made_durably(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct log log;

	(void)state;
	log_open(&log, sim);
	assert_int_equal(pfs_journal_make_spare(log.journal, no_lock, NULL), 0);
	assert_int_equal(pfs_journal_spares(log.journal), 1);
	cut = pfs_sim_crash_index(sim, 0);
	log_close(&log);
	pfs_sim_free(sim);
	log_open(&log, cut);
	assert_int_equal(pfs_journal_spares(log.journal), 1);
	assert_int_equal(pfs_sim_used(cut), PFS_SEGMENT_SIZE);
	log_close(&log);
	pfs_sim_free(cut);
}

/* Proves: files that are found after a kill have durable names when the journal was written again,
 * though nobody had synced these before: what is in them later is there after a power cut. */
static void names_that_were_found_are_durable(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed, *cut;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_prepare(log.journal, 4), 0);
	killed = pfs_sim_kill(sim);
	log_close(&log);
	pfs_sim_free(sim);
	log_open(&log, killed);
	assert_true(pfs_journal_spares(log.journal) >= 4);
	assert_int_equal(pfs_journal_rewrite(log.journal), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_journal_rotate(log.journal), 0);
		append(&log);
		assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	}
	cut = pfs_sim_crash_index(killed, 0);
	log_close(&log);
	pfs_sim_free(killed);
	expect_replayed(cut, 1, 4);
	pfs_sim_free(cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_segment_is_missed),
		cmocka_unit_test(dead_segments_are_spare_again),
		cmocka_unit_test(segments_behind_a_cut_are_spare_again),
		cmocka_unit_test(what_was_not_begun_is_removed),
		cmocka_unit_test(spares_are_made_durably),
		cmocka_unit_test(names_that_were_found_are_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
