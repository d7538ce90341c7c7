/* storage/journal.c: the files of segments: which must be there, which are given back, and when
 * their names are durable. */
#include "storage/journal_internal.h"
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

static int fail_name(void *arg, const struct pfs_sim_step *step)
{
	return step->kind == *(const enum pfs_sim_kind *)arg ? -ENOSPC : 0;
}

/* Proves: a spare segment that can't be made takes no number, and one whose name is not durable
 * makes the journal fail: others' names may be lost with it. */
static void spares_that_can_not_be_made_are_none(void **state)
{
	static const enum pfs_sim_kind kinds[] = {PFS_SIM_CREATE, PFS_SIM_SYNC_DIR};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(kinds); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct log log;

		log_open(&log, sim);
		pfs_sim_on_step(sim, fail_name, (void *)(uintptr_t)&kinds[i]);
		assert_int_equal(pfs_journal_make_spare(log.journal, no_lock, NULL),
				 i ? -EIO : -ENOSPC);
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(pfs_journal_has_failed(log.journal), i == 1);
		assert_int_equal(pfs_journal_spares(log.journal), i);
		assert_int_equal(pfs_segment_index_is_used(log.journal, 0), i);
		assert_int_equal(pfs_journal_make_spare(log.journal, no_lock, NULL),
				 i ? -EROFS : 0);
		log_close(&log);
		pfs_sim_free(sim);
	}
}

/* Proves: when all numbers of files are taken there is no more segment, and the journal goes on
 * when one is free again. */
static void numbers_of_files_end(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned i = 0; i < SEGMENT_FILES_MAX; i++)
		pfs_segment_use_index(log.journal, i, true);
	assert_int_equal(pfs_journal_make_spare(log.journal, no_lock, NULL), -ENOSPC);
	assert_int_equal(append_to(&log, false, &pos), -ENOSPC);
	assert_int_equal(pfs_sim_used(sim), 0);
	for (unsigned i = 0xfff0; i < SEGMENT_FILES_MAX; i++)
		pfs_segment_use_index(log.journal, i, false);
	append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	log_close(&log);
	expect_replayed(sim, 1, 1);
	pfs_sim_free(sim);
}

/* Proves: a file whose name only looks like a segment's is none. */
static void other_names_are_no_segments(void **state)
{
	static const char *const names[] = {"journal-000A", "journal-a", "journal-00001"};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct log log;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_file *file = open_file(dir, names[i]);

		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	log_open(&log, sim);
	assert_int_equal(pfs_journal_spares(log.journal), 0);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: a segment that is declared dead while it is being synced stays until that has ended, also
 * over further ones; where there is no segment to say it in one is made. */
static void dead_segments_wait_for_their_sync(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	enum pfs_sim_kind kind = PFS_SIM_CREATE;
	unsigned spares;
	struct log log;

	(void)state;
	log_open(&log, sim);
	pfs_sim_on_step(sim, fail_name, &kind);
	assert_int_equal(pfs_journal_declare(log.journal, 1), -ENOSPC);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(pfs_journal_declare(log.journal, 1), 0);
	assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
	append(&log);
	log.journal->in_sync = log.journal->live;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_journal_rotate(log.journal), 0);
		append(&log);
		assert_int_equal(pfs_journal_declare(log.journal, pfs_journal_active(log.journal)),
				 0);
		assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
		if (i == 1)
			pfs_journal_reuse(log.journal);
	}
	spares = pfs_journal_spares(log.journal);
	pfs_journal_reuse(log.journal);
	assert_int_equal(pfs_journal_spares(log.journal), spares + 1);
	log.journal->in_sync = NULL;
	pfs_journal_reuse(log.journal);
	assert_int_equal(pfs_journal_spares(log.journal), spares + 2);
	log_close(&log);
	pfs_sim_free(sim);
}

static int fail_usage(struct pfs_file *file, uint64_t *bytes)
{
	(void)file;
	(void)bytes;
	return -EIO;
}

/* Proves: what a journal takes of the disk is not said to be less because a file does not tell. */
static void the_disk_usage_is_all_or_none(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io_ops *ops;
	struct pfs_io_ops failing;
	uint64_t bytes;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	assert_int_equal(pfs_journal_disk_bytes(log.journal, &bytes), 0);
	assert_true(bytes >= PFS_SEGMENT_SIZE);
	ops = log.journal->live->file->ops;
	failing = *ops;
	failing.disk_usage = fail_usage;
	log.journal->live->file->ops = &failing;
	assert_int_equal(pfs_journal_disk_bytes(log.journal, &bytes), -EIO);
	log.journal->live->file->ops = ops;
	log_close(&log);
	pfs_sim_free(sim);
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

/* Proves: only the segments below the number that is named are declared dead; what was declared is
 * removed with all others when the journal is discarded, also when nobody has used it again. */
static void what_is_declared_dead(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned i = 0; i < 4; i++) {
		append(&log);
		assert_int_equal(pfs_journal_rotate(log.journal), 0);
	}
	for (uint64_t below = 1; below <= 4; below++) {
		assert_int_equal(pfs_journal_declare(log.journal, below), 0);
		assert_int_equal(pfs_journal_oldest(log.journal)->number, below);
		assert_int_equal(pfs_journal_window(log.journal), below);
		assert_int_equal(pfs_journal_live_bytes(log.journal),
				 (6 - below) * PFS_SEGMENT_SIZE);
	}
	assert_int_equal(pfs_journal_spares(log.journal), 0);
	pfs_journal_discard(log.journal);
	assert_int_equal(pfs_sim_used(sim), 0);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: a segment that was begun on a full disk, and is too short for the first record, is ended
 * before there was any. */
static void a_short_segment_may_end_empty(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	(void)state;
	log_open(&log, sim);
	pfs_journal_start(log.journal, 7); /* which is a long one */
	pfs_sim_set_capacity(sim, PFS_SEGMENT_SHORT);
	assert_int_equal(pfs_journal_declare(log.journal, 1), 0);
	assert_int_equal(pfs_sim_used(sim), PFS_SEGMENT_SHORT);
	pfs_sim_set_capacity(sim, 0);
	assert_true(append(&log).len > PFS_SEGMENT_SHORT);
	assert_int_equal(pfs_journal_active(log.journal), 2);
	log_close(&log);
	expect_replayed(sim, 7, 7);
	pfs_sim_free(sim);
}

static const struct pfs_io_ops *ops_of_sim;
static unsigned opened_to_write;

static int note_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	opened_to_write += (flags & PFS_IO_WRITE) != 0;
	return ops_of_sim->open(dir, name, flags, out);
}

/* Proves: who only reads opens no segment for writing; who writes opens them all. */
static void readers_open_nothing_to_write(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal *journal;
	struct pfs_io_ops noting;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	log_close(&log);
	for (unsigned read_only = 0; read_only < 2; read_only++) {
		struct pfs_dir *dir = open_dir(sim);
		struct pfs_journal_options options = {
			.dir = dir, .uuid = uuid, .logger = &quiet, .read_only = read_only};

		ops_of_sim = dir->ops;
		noting = *ops_of_sim;
		noting.open = note_open;
		dir->ops = &noting;
		opened_to_write = 0;
		assert_int_equal(pfs_journal_open(&journal, &options), 0);
		assert_int_equal(opened_to_write, !read_only);
		pfs_journal_close(journal);
		dir->ops = ops_of_sim;
		dir->ops->close_dir(dir);
	}
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_segment_is_missed),
		cmocka_unit_test(dead_segments_are_spare_again),
		cmocka_unit_test(segments_behind_a_cut_are_spare_again),
		cmocka_unit_test(what_was_not_begun_is_removed),
		cmocka_unit_test(spares_are_made_durably),
		cmocka_unit_test(spares_that_can_not_be_made_are_none),
		cmocka_unit_test(numbers_of_files_end),
		cmocka_unit_test(other_names_are_no_segments),
		cmocka_unit_test(dead_segments_wait_for_their_sync),
		cmocka_unit_test(the_disk_usage_is_all_or_none),
		cmocka_unit_test(names_that_were_found_are_durable),
		cmocka_unit_test(what_is_declared_dead),
		cmocka_unit_test(a_short_segment_may_end_empty),
		cmocka_unit_test(readers_open_nothing_to_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
