/* storage/journal.c: append, replay, tails, damage. */
#include <sys/mman.h>

#include "tests/unit/journal_helpers.h"

/* ---- append and replay ---- */

/* Proves: what is appended is replayed in order, with bodies and flags, over several segments, by
 * any number of openings; an empty journal replays nothing. */
static void records_are_replayed_in_order(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	(void)state;
	expect_replayed(sim, 1, 0);
	log_open(&log, sim);
	append_many(&log, 500);
	assert_true(pfs_journal_live_bytes(log.journal) >= 2 * PFS_SEGMENT_SIZE);
	log_close(&log);
	expect_replayed(sim, 1, 500);
	expect_replayed(sim, 1, 500);
	log_open(&log, sim);
	assert_int_equal(log.result.first_seq, 1);
	assert_int_equal(pfs_journal_window(log.journal), 1);
	append_many(&log, 300);
	log_close(&log);
	expect_replayed(sim, 1, 800);
	pfs_sim_free(sim);
}

/* Proves: a record's place says where it can be read and verified; any bit of it that changes is
 * then noticed. */
static void records_can_be_read_at_their_place(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	uint8_t buf[200];
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 4);
	pos = append(&log);
	assert_true(pos.len % 8 == 0 && pos.len >= 132 && pos.len <= sizeof(buf));
	assert_int_equal(pfs_journal_read(log.journal, pos.segment, pos.off, buf, pos.len), 0);
	assert_int_equal(pfs_journal_read(log.journal, pos.segment, pos.off, buf, pos.len - 8),
			 -EUCLEAN);
	assert_int_equal(pfs_journal_read(log.journal, pos.segment, pos.off + 8, buf, pos.len),
			 -EUCLEAN);
	assert_int_equal(pfs_journal_read(log.journal, pos.segment, PFS_SEGMENT_SIZE, buf, 40),
			 -EUCLEAN);
	assert_int_equal(pfs_journal_read(log.journal, pos.segment, UINT64_MAX, buf, 40), -EUCLEAN);
	for (uint64_t byte = 0; byte < pos.len; byte++) {
		flip(sim, pos.segment->file_index, pos.off + byte, byte % 8);
		assert_int_equal(pfs_journal_read(log.journal, pos.segment, pos.off, buf, pos.len),
				 -EUCLEAN);
		flip(sim, pos.segment->file_index, pos.off + byte, byte % 8);
	}
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: what is read lies within the segment, whatever place is named: where nothing can be read
 * around its mapping, reading does no harm; records of every length can be read, also the one that
 * ends with the segment. */
static void nothing_is_read_around_a_segment(void **state)
{
	static const uint64_t offs[] = {0,
					8,
					PFS_SEGMENT_SIZE / 2,
					PFS_SEGMENT_SIZE - 48,
					PFS_SEGMENT_SIZE - 39,
					PFS_SEGMENT_SIZE - 8,
					PFS_SEGMENT_SIZE,
					PFS_SEGMENT_SIZE + 8,
					3 * PFS_SEGMENT_SIZE,
					UINT64_MAX - 39,
					UINT64_MAX - 8,
					UINT64_MAX};
	static const size_t lens[] = {0, 8, 32, 39, 40, 48, 4096};
	struct pfs_sim *sim = pfs_sim_new();
	size_t len = PFS_RECORD_LEN_MAX - PFS_RECORD_HEADER_LEN;
	uint8_t *buf = malloc(4 * PFS_SEGMENT_SIZE), *around;
	struct pfs_segment *segment;
	struct pfs_journal_pos pos;
	const uint8_t *map;
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned i = 0; i < 8; i++) {
		pos = append(&log);
		assert_int_equal(pfs_journal_read(log.journal, pos.segment, pos.off, buf, pos.len),
				 0);
	}
	memset(buf, 1, len);
	assert_int_equal(pfs_journal_append(log.journal, PFS_RECORD_PATCH, 0,
					    (struct iovec[]){{buf, len}}, 1, false, &pos),
			 0);
	append(&log); /* ends that */
	segment = pos.segment;
	map = segment->map;
	around = mmap(NULL, 3 * PFS_SEGMENT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(around != MAP_FAILED);
	assert_int_equal(
		mprotect(around + PFS_SEGMENT_SIZE, PFS_SEGMENT_SIZE, PROT_READ | PROT_WRITE), 0);
	segment->map = memcpy(around + PFS_SEGMENT_SIZE, map, PFS_SEGMENT_SIZE);
	assert_int_equal(pfs_journal_read(log.journal, segment, pos.off, buf, pos.len), 0);
	assert_int_equal(pfs_journal_read(log.journal, segment, PFS_SEGMENT_SIZE - 40, buf, 40), 0);
	for (size_t o = 0; o < pfs_array_len(offs); o++)
		for (size_t l = 0; l < pfs_array_len(lens); l++)
			assert_int_equal(
				pfs_journal_read(log.journal, segment, offs[o], buf, lens[l]),
				-EUCLEAN);
	assert_int_equal(pfs_journal_read(log.journal, segment, 0, buf, PFS_SEGMENT_SIZE + 8),
			 -EUCLEAN);
	segment->map = map;
	munmap(around, 3 * PFS_SEGMENT_SIZE);
	log_close(&log);
	free(buf);
	pfs_sim_free(sim);
}

/* Proves: the longest record fits a segment, and what a callback returns ends the replay. */
static void longest_records_and_stops(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	size_t len = PFS_RECORD_LEN_MAX - PFS_RECORD_HEADER_LEN;
	uint8_t *body = malloc(len);
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		fill_body(body, len, seq);
		assert_int_equal(pfs_journal_append(log.journal, PFS_RECORD_PATCH, seq % 3,
						    (struct iovec[]){{body, len}}, 1, false, &pos),
				 0);
		assert_int_equal(pos.off, PFS_SEGMENT_DATA);
	}
	log_close(&log);
	expect_replayed(sim, 1, 3);
	free(body);
	pfs_sim_free(sim);
}

/* Proves: however little room a record leaves in its segment, the END record has its place: nothing
 * is lost and nothing is written behind the segment. */
static void the_end_always_has_room(void **state)
{
	uint8_t *body = malloc(PFS_SEGMENT_SIZE);

	(void)state;
	for (size_t left = 0; left <= 160; left += 8) {
		size_t len = PFS_SEGMENT_SIZE - PFS_SEGMENT_DATA - PFS_RECORD_HEADER_LEN -
			     PFS_RECORD_LEN_MIN - left;
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_journal_pos pos;
		struct log log;

		log_open(&log, sim);
		fill_body(body, len, 1);
		assert_int_equal(pfs_journal_append(log.journal, PFS_RECORD_PATCH, 1,
						    (struct iovec[]){{body, len}}, 1, false, &pos),
				 0);
		for (unsigned i = 0; i < 6; i++) {
			size_t small = 8 + 8 * (pfs_journal_appended(log.journal) % 3);

			fill_body(body, small, pfs_journal_appended(log.journal) + 1);
			assert_int_equal(
				pfs_journal_append(log.journal, PFS_RECORD_ATTR,
						   (pfs_journal_appended(log.journal) + 1) % 3,
						   (struct iovec[]){{body, small}}, 1, false, &pos),
				0);
			assert_true(pos.off + pos.len <= PFS_SEGMENT_SIZE - PFS_RECORD_LEN_MIN);
		}
		log_close(&log);
		assert_int_equal(size_in(sim, "journal-0000"), PFS_SEGMENT_SIZE);
		log_open(&log, sim);
		assert_int_equal(log.count, 7);
		log_close(&log);
		pfs_sim_free(sim);
	}
	free(body);
}

/* ---- tails ---- */

/* A journal of n records in one segment; the places of the last two. */
static struct pfs_sim *short_log(unsigned n, bool synced, struct pfs_journal_pos last[2])
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	log_open(&log, sim);
	for (unsigned i = 0; i < n; i++) {
		last[0] = last[1];
		last[1] = append(&log);
		if (synced)
			assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	}
	last[0].seq = last[0].segment->file_index; /* the segment is gone with the log */
	last[1].seq = last[1].segment->file_index;
	log_close(&log);
	return sim;
}

/* Proves: a last record of which any part is missing is no record, and is no damage; what is
 * appended afterwards goes to a new segment (O6) and is replayed behind what was before. */
static void torn_tails_end_the_replay(void **state)
{
	struct pfs_journal_pos last[2];

	(void)state;
	for (size_t kept = 0; kept < 132; kept += 4) {
		struct pfs_sim *sim = short_log(5, true, last);
		static const uint8_t zeros[256];
		struct pfs_dir *dir = open_dir(sim);
		struct pfs_file *file = open_file(dir, "journal-0000");
		struct log log;

		assert_int_equal(last[1].len, 136);
		assert_int_equal(
			file->ops->write(file, zeros, last[1].len - kept, last[1].off + kept), 0);
		file->ops->close(file);
		dir->ops->close_dir(dir);
		expect_replayed(sim, 1, 4);
		log_open(&log, sim);
		append_many(&log, 3);
		log_close(&log);
		expect_replayed(sim, 1, 7);
		pfs_sim_free(sim);
	}
}

/* Proves: over a damaged record behind which another says that it was durable only a repair goes
 * on; without such a proof the replay ends there (O7). */
static void damage_is_told_from_a_cut(void **state)
{
	struct pfs_journal_pos last[2];

	(void)state;
	for (unsigned synced = 0; synced < 2; synced++) {
		for (uint64_t byte = 0; byte < 136; byte += 3) {
			struct pfs_sim *sim = short_log(6, synced, last);
			struct log log;

			flip(sim, 0, last[0].off + byte, byte % 8);
			if (synced)
				expect_refused(sim);
			log_open_damaged(&log, sim);
			assert_int_equal(log.count, synced ? 5 : 4);
			assert_int_equal(log.result.damaged, synced);
			assert_int_equal(log.result.last_seq, synced ? 6 : 4);
			log_close(&log);
			pfs_sim_free(sim);
		}
	}
}

/* Several segments, synced after each record; files[] in order. */
static struct pfs_sim *long_log(unsigned segments, struct pfs_journal_pos ends[8],
				unsigned files[8], uint64_t firsts[8])
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;
	unsigned n = 0;

	log_open(&log, sim);
	while (n < segments) {
		pos = append(&log);
		assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
		if (n == 0 || pos.segment->file_index != files[n - 1]) {
			files[n] = pos.segment->file_index;
			firsts[n++] = pos.seq;
		}
		ends[n - 1] = pos;
	}
	append_many(&log, 3);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	append(&log);
	log_close(&log);
	return sim;
}

/* Proves: a damaged END record loses nothing; over a damaged last record, header or file of a
 * segment only a repair goes on, and loses nothing behind it, which is proven durable by later
 * segments. */
static void damage_at_the_end_of_a_segment_is_passed(void **state)
{
	struct pfs_journal_pos ends[8];
	uint64_t firsts[8], last;
	unsigned files[8];
	struct pfs_sim *sim = long_log(4, ends, files, firsts), *copy;
	struct log log;

	(void)state;
	log_open(&log, sim);
	last = log.result.last_seq;
	assert_int_equal(log.count, last);
	log_close(&log);
	for (unsigned what = 0; what < 4; what++) {
		uint64_t missing = what == 0 ? 0 : what == 1 ? 1 : firsts[2] - firsts[1];
		char name[32];

		copy = pfs_sim_kill(sim);
		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, files[1]);
		if (what == 0)
			flip(copy, files[1], ends[1].off + ends[1].len + 9, 1);
		else if (what == 1)
			flip(copy, files[1], ends[1].off + 9, 1);
		else if (what == 2)
			for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++)
				flip(copy, files[1], i * PFS_SEGMENT_STRIDE + 20, 1);
		if (what == 3) {
			struct pfs_dir *dir = open_dir(copy);

			assert_int_equal(dir->ops->unlink(dir, name), 0);
			dir->ops->close_dir(dir);
		}
		if (what)
			expect_refused(copy);
		log_open_damaged(&log, copy);
		assert_int_equal(log.count, last - missing);
		assert_int_equal(log.result.last_seq, last);
		if (what)
			assert_int_equal(log.result.damaged, 1);
		log_close(&log);
		pfs_sim_free(copy);
	}
	pfs_sim_free(sim);
}

/* Proves: records of another store, or that another opening wrote in a segment of the same number,
 * are none of this journal. */
static void foreign_records_are_not_replayed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *other;
	uint8_t other_uuid[PFS_UUID_LEN] = "another store!!";
	struct pfs_dir *dir, *other_dir;
	struct pfs_file *file, *other_file;
	uint8_t record[40];
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 20);
	log_close(&log);
	log_open_as(&log, sim, &(struct pfs_journal_options){.uuid = other_uuid});
	assert_int_equal(log.count, 0);
	log_close(&log);
	expect_replayed(sim, 1, 20);

	/* The same record with the same number in an epoch that never was: its place is taken by
	 * the one of another life. */
	other = pfs_sim_new();
	log_open(&log, other);
	pfs_journal_set_epoch(log.journal, 77);
	append_many(&log, 20);
	log_close(&log);
	dir = open_dir(sim);
	other_dir = open_dir(other);
	file = open_file(dir, "journal-0000");
	other_file = open_file(other_dir, "journal-0000");
	assert_int_equal(
		other_file->ops->read(other_file, record, sizeof(record), PFS_SEGMENT_DATA),
		sizeof(record));
	assert_int_equal(pfs_get_le64(record + 8), 1);
	assert_int_equal(file->ops->write(file, record, sizeof(record), PFS_SEGMENT_DATA), 0);
	expect_replayed(sim, 1, 0);
	file->ops->close(file);
	other_file->ops->close(other_file);
	dir->ops->close_dir(dir);
	other_dir->ops->close_dir(other_dir);
	pfs_sim_free(other);
	pfs_sim_free(sim);
}

/* Proves: segments of an epoch that the superblock calls clean hold nothing, and their files are
 * used again. */
static void segments_of_a_clean_epoch_are_spare(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	uint64_t epoch;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 20);
	log_close(&log);
	log_open(&log, sim);
	epoch = pfs_journal_epoch_seen(log.journal);
	log_close(&log);
	assert_int_equal(epoch, 1);
	log_open_as(&log, sim, &(struct pfs_journal_options){.clean_epoch = epoch});
	assert_int_equal(log.count, 0);
	assert_int_equal(pfs_journal_epoch_seen(log.journal), epoch);
	assert_int_equal(pfs_journal_window(log.journal), UINT64_MAX);
	assert_null(pfs_journal_oldest(log.journal));
	log_close(&log);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_replayed_in_order),
		cmocka_unit_test(records_can_be_read_at_their_place),
		cmocka_unit_test(nothing_is_read_around_a_segment),
		cmocka_unit_test(longest_records_and_stops),
		cmocka_unit_test(the_end_always_has_room),
		cmocka_unit_test(torn_tails_end_the_replay),
		cmocka_unit_test(damage_is_told_from_a_cut),
		cmocka_unit_test(damage_at_the_end_of_a_segment_is_passed),
		cmocka_unit_test(foreign_records_are_not_replayed),
		cmocka_unit_test(segments_of_a_clean_epoch_are_spare),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
