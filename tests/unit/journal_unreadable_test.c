/* storage/journal_replay.c: a mapping of which parts can't be read. */
#include <sys/mman.h>
#include <unistd.h>

#include "storage/journal_internal.h"
#include "tests/unit/journal_helpers.h"

/* A copy of the mapping in which the page at off can't be read. */
static uint8_t *copy_with_gap(const uint8_t *map, uint64_t off)
{
	FILE *empty = tmpfile();
	uint8_t *copy = mmap(NULL, PFS_SEGMENT_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_non_null(empty);
	assert_true(copy != MAP_FAILED);
	memcpy(copy, map, PFS_SEGMENT_SIZE);
	assert_true(mmap(copy + off, (size_t)sysconf(_SC_PAGESIZE), PROT_READ,
			 MAP_SHARED | MAP_FIXED, fileno(empty), 0) == copy + off);
	fclose(empty);
	return copy;
}

/* Replays the log of the sim, of whose segment the page at off can't be read. */
static int replay_without(struct pfs_sim *sim, uint64_t off, bool repairing, struct log *log)
{
	struct pfs_journal_options options = {
		.uuid = uuid, .logger = &quiet, .repairing = repairing};
	const uint8_t *map;
	uint8_t *copy;
	int err;

	*log = (struct log){.sim = sim, .dir = open_dir(sim)};
	options.dir = log->dir;
	assert_int_equal(pfs_journal_open(&log->journal, &options), 0);
	map = log->journal->live->map;
	copy = copy_with_gap(map, off);
	log->journal->live->map = copy;
	err = pfs_journal_replay(log->journal, keep_record, log, &log->result);
	log->journal->live->map = map;
	munmap(copy, PFS_SEGMENT_SIZE);
	log_close(log);
	return err;
}

/* A log whose records are durable up to `durable`, opened with a mapping in which the page of
 * record `gone`'s head can't be read; what the replay of it gives. */
static int replay_with_gap(unsigned durable, unsigned gone, bool repairing, struct log *log)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos[16];
	int err;

	log_open(log, sim);
	for (unsigned i = 1; i < pfs_array_len(pos); i++) {
		pos[i] = append(log);
		if (i <= durable)
			assert_int_equal(pfs_journal_sync(log->journal, UINT64_MAX), 0);
	}
	log_close(log);
	err = replay_without(sim, pos[gone].off / 4096 * 4096, repairing, log);
	pfs_sim_free(sim);
	return err;
}

/* A record that begins with the page, so that all before it can be read: its head alone tells that
 * it can't. */
static void a_head_at_the_gaps_beginning(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	log_open(&log, sim);
	do {
		pos = append(&log);
		assert_ptr_equal(pos.segment,
				 log.journal->live); /* else there is none in the first */
	} while (pos.off % 4096);
	append_many(&log, 3);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	log_close(&log);
	assert_int_equal(replay_without(sim, pos.off, false, &log), -EIO);
	assert_int_equal(log.count, pos.seq - 1);
	assert_int_equal(replay_without(sim, pos.off, true, &log), -EIO);
	assert_int_equal(log.count, pos.seq - 1);
	pfs_sim_free(sim);
}

/* The same where the head of a record can't be read: of a durable one; and of the last one, behind
 * which nothing proves that it was: what the disk may give tomorrow is not taken for a tail. */
static void heads_in_a_gap(void)
{
	struct log log;

	assert_int_equal(replay_with_gap(15, 15, true, &log), -EIO);
	assert_true(log.count > 10 && log.count < 15);
	assert_int_equal(replay_with_gap(15, 8, true, &log), 0);
	assert_int_equal(log.result.last_seq, 15);
	assert_true(log.result.damaged > 0 && log.count < 15);
	assert_int_equal(replay_with_gap(15, 8, false, &log), -EUCLEAN);
}

/* A record that ends in the gap. */
static void expect_unread(const struct log *log, const struct pfs_journal_pos *pos)
{
	uint8_t *buf = malloc(pos->len);

	assert_int_equal(
		pfs_journal_read(log->journal, log->journal->live, pos->off, buf, pos->len), -EIO);
	free(buf);
}

/* Proves: over a page that can't be read, in a record that was durable, only a repair goes on; it
 * loses that record, and none of those around it, wherever the search for them began. One test:
 * cmocka puts its own handler of SIGBUS before each. */
static void records_around_a_gap_are_found(void **state)
{
	(void)state;
	for (unsigned damaged = 0; damaged < 2; damaged++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_journal_options options = {.uuid = uuid, .logger = &quiet};
		struct pfs_journal_pos pos[16];
		struct log log;
		const uint8_t *map;
		uint8_t *copy;

		log_open(&log, sim);
		for (unsigned i = 1; i < pfs_array_len(pos); i++) {
			pos[i] = append(&log);
			assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
		}
		log_close(&log);
		if (damaged)
			flip(sim, 0, pos[2].off + 8, 3);

		for (unsigned repairing = 0; repairing < 2; repairing++) {
			log = (struct log){.sim = sim, .dir = open_dir(sim)};
			options.dir = log.dir;
			options.repairing = repairing;
			assert_int_equal(pfs_journal_open(&log.journal, &options), 0);
			map = log.journal->live->map;
			copy = copy_with_gap(map, pos[7].off / 4096 * 4096 + 8192);
			log.journal->live->map = copy;
			assert_int_equal(
				pfs_journal_replay(log.journal, keep_record, &log, &log.result),
				repairing ? 0 : -EUCLEAN);
			if (repairing) {
				/* Whose they were can't be told: the callback gets none. */
				assert_int_equal(log.result.damaged, 1 + damaged);
				assert_int_equal(log.result.last_seq, 15);
				assert_int_equal(log.count, 15 - 1 - damaged);
			}
			assert_true(log.journal->search_summed < 2 * PFS_SEGMENT_SIZE);
			expect_unread(&log, &pos[7]);
			log.journal->live->map = map;
			munmap(copy, PFS_SEGMENT_SIZE);
			log_close(&log);
		}
		pfs_sim_free(sim);
	}
	heads_in_a_gap();
	a_head_at_the_gaps_beginning();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(records_around_a_gap_are_found)};

	return cmocka_run_group_tests_name("journal unreadable", tests, NULL, NULL);
}
