/* storage/journal.c, storage/record.c: bytes that no crash and no rot leaves, but somebody who can
 * compute checksums. */
#include "storage/crc.h"
#include "storage/journal_internal.h"
#include "storage/record.h"
#include "tests/unit/forged.h"
#include "tests/unit/journal_helpers.h"

/* Proves: a header whose checksum is right, and whose numbers no journal can come to, is none: what
 * follows on them would leave the numbers' range. */
static void numbers_out_of_range_are_no_header(void **state)
{
	static const struct {
		size_t off;
		uint64_t value;
	} forged[] = {
		{offsetof(struct pfs_segment_disk, number), 0},
		{offsetof(struct pfs_segment_disk, number), PFS_SEGMENT_NUMBER_MAX + 1},
		{offsetof(struct pfs_segment_disk, first_seq), PFS_SEQ_MAX + 1},
		{offsetof(struct pfs_segment_disk, open_epoch), PFS_EPOCH_MAX + 1},
		{offsetof(struct pfs_segment_disk, oldest_live), 2},
	};
	struct pfs_segment segment;
	struct pfs_segment_disk disk = {0};
	uint64_t oldest;

	(void)state;
	memcpy(disk.magic, PFS_SEGMENT_MAGIC, sizeof(disk.magic));
	memcpy(disk.uuid, uuid, PFS_UUID_LEN);
	for (size_t i = 0; i <= pfs_array_len(forged); i++) {
		pfs_put_le64(disk.number.b, 1);
		pfs_put_le64(disk.first_seq.b, PFS_SEQ_MAX);
		pfs_put_le64(disk.open_epoch.b, PFS_EPOCH_MAX);
		pfs_put_le64(disk.oldest_live.b, 1);
		if (i < pfs_array_len(forged))
			pfs_put_le64((uint8_t *)&disk + forged[i].off, forged[i].value);
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
		assert_int_equal(pfs_segment_decode(&segment, &oldest, &disk, uuid),
				 i == pfs_array_len(forged));
	}
}

/* Proves: the sequences end: there is no record behind the last one that a slot can say. */
static void sequences_end(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	pfs_journal_start(log.journal, PFS_SEQ_MAX);
	assert_int_equal(append_to(&log, false, &pos), 0);
	assert_int_equal(pos.seq, PFS_SEQ_MAX);
	assert_int_equal(append_to(&log, false, &pos), -EOVERFLOW);
	log_close(&log);
	expect_replayed(sim, PFS_SEQ_MAX, PFS_SEQ_MAX);
	pfs_sim_free(sim);
}

static void write_to(struct pfs_sim *sim, unsigned file_index, const void *bytes, size_t len,
		     uint64_t off)
{
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file;
	char name[32];

	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, file_index);
	file = open_file(dir, name);
	assert_int_equal(file->ops->write(file, bytes, len, off), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: a record whose checksum is right, and whose sequence is not the next one, is none. */
static void sequences_follow_on_one_another(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	uint8_t record[256];
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	struct pfs_journal_pos pos[4];
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned i = 1; i < pfs_array_len(pos); i++)
		pos[i] = append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_true(pos[2].len <= sizeof(record));
	memcpy(record, log.journal->live->map + pos[2].off, pos[2].len);
	pfs_put_le64(head->seq.b, 9);
	pfs_put_le32(head->crc.b, pfs_record_crc(pfs_record_seed(log.journal, log.journal->live),
						 record, pos[2].len));
	log_close(&log);
	write_to(sim, 0, record, pos[2].len, pos[2].off);
	expect_replayed(sim, 1, 1);
	pfs_sim_free(sim);
}

/* Makes [from, end) of a segment's file seem to be full of heads. */
static void forge(struct pfs_sim *sim, unsigned file_index, uint64_t from, uint64_t end)
{
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);

	forge_heads(bytes, from, end);
	write_to(sim, file_index, bytes + from, end - from, from);
	free(bytes);
}

/* Synced after the first, and after each if `each`. Appends until there are so many segments; how
 * many records that makes. */
static uint64_t write_log(struct pfs_sim *sim, unsigned segments, bool each,
			  struct pfs_journal_pos *last)
{
	struct log log;

	log_open(&log, sim);
	do {
		*last = append(&log);
		if (each || last->seq == 1)
			assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	} while (last->segment->file_index + 1 < segments || last->seq % 8 != 6);
	log_close(&log);
	return last->seq;
}

/* Opens it as after a crash: each segment is searched once, and none of the heads is summed. */
static void expect_cheap(struct pfs_sim *sim, unsigned segments, uint64_t last)
{
	struct log log;

	log_open(&log, sim);
	assert_int_equal(log.result.damaged, 0);
	assert_int_equal(log.count, last);
	assert_true(log.journal->search_summed > 0);
	assert_true(log.journal->search_summed <= (uint64_t)segments * PFS_SEGMENT_SIZE);
	log_close(&log);
}

/* Proves: whatever somebody has had written behind the tail, an ordinary crash needs no repair: a
 * segment full of heads, and three more of them, open without damage, for bounded work. */
static void forged_tails_open(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	uint64_t last = write_log(sim, 1, true, &pos);

	(void)state;
	forge(sim, 0, pos.off + pos.len, PFS_SEGMENT_SIZE);
	expect_cheap(sim, 1, last);
	pfs_sim_free(sim);

	/* No record was synced but the first, which is at the head of the first segment. */
	sim = pfs_sim_new();
	write_log(sim, 4, false, &pos);
	for (unsigned i = 0; i < 4; i++)
		forge(sim, i, PFS_SEGMENT_DATA + (i ? 0 : 40), PFS_SEGMENT_SIZE);
	expect_cheap(sim, 4, 1);
	pfs_sim_free(sim);
}

/* Proves: a true record is found behind thousands of heads, in the segment of the damage and in a
 * later one: what it proves to be missing is no tail. */
static void proofs_behind_forged_heads_are_found(void **state)
{
	struct pfs_journal_pos pos;

	(void)state;
	for (unsigned segments = 1; segments <= 3; segments++) {
		struct pfs_sim *sim = pfs_sim_new();
		uint64_t last = write_log(sim, segments, true, &pos), from = PFS_SEGMENT_DATA + 64;
		struct log log;

		for (unsigned i = 0; i < segments; i++)
			forge(sim, i, from, i + 1 < segments ? PFS_SEGMENT_SIZE : pos.off);
		expect_refused(sim);
		log_open_damaged(&log, sim);
		assert_true(log.result.damaged > 0);
		assert_int_equal(log.result.last_seq, last);
		assert_true(log.journal->search_summed <=
			    (uint64_t)4 * segments * PFS_SEGMENT_SIZE);
		log_close(&log);
		pfs_sim_free(sim);
	}
}

/* Proves: a segment with much damage is searched once, not from each place of damage on. */
static void many_holes_are_one_search(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	(void)state;
	log_open(&log, sim);
	for (unsigned i = 0; i < 64; i++) {
		append(&log);
		pos = append(&log);
		assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
		if (i < 63)
			flip(sim, 0, pos.off + 8, 3);
	}
	append(&log);
	log_close(&log);
	log_open_damaged(&log, sim);
	assert_int_equal(log.result.damaged, 63);
	assert_int_equal(log.result.last_seq, 129);
	assert_true(log.journal->search_summed > 0);
	assert_true(log.journal->search_summed <= 2 * PFS_SEGMENT_SIZE);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: the lengths in a put belong together, or it is none. */
static void lengths_of_puts_fit(void **state)
{
	static const struct {
		unsigned flags;
		uint64_t raw_len, body_len;
		bool fits;
	} puts[] = {
		{0, 0, 0, true},
		{0, 100, 100, true},
		{0, 65536, 65536, true},
		{0, 0, 8, false}, /* a body of nothing */
		{0, 100, 99, false},
		{0, 100, 101, false},
		{0, 65537, 65537, false}, /* blocks are needed */
		{PFS_PUT_LZ4, 100, 30, true},
		{PFS_PUT_LZ4, 0, 1, false},
		{PFS_PUT_BLOCKS, 65537, 16, true},
		{PFS_PUT_BLOCKS, 65537, 15, false}, /* no room for the table */
		{PFS_PUT_BLOCKS, 65536, 16, false},
		{PFS_PUT_BLOCKS | PFS_PUT_LZ4, 65537, 16, false},
		{PFS_PUT_BLOCKS, PFS_GIB, 131072, true},
		{PFS_PUT_BLOCKS, PFS_GIB + 1, 131080, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(puts); i++) {
		assert_int_equal(pfs_record_put_fits(puts[i].flags, puts[i].raw_len,
						     puts[i].body_len, (size_t)puts[i].body_len),
				 puts[i].fits);
		if (puts[i].body_len)
			assert_false(pfs_record_put_fits(puts[i].flags, puts[i].raw_len,
							 puts[i].body_len,
							 (size_t)puts[i].body_len - 1));
	}
}

/* ---- files that end early, or are not there ---- */

/* A journal with three durable records in a segment of epoch 1. *end: where the second ends. */
static struct pfs_sim *three_records(uint64_t *end)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_journal_pos pos;
	struct log log;

	log_open(&log, sim);
	append_many(&log, 2);
	pos = append(&log);
	*end = pos.off;
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	log_close(&log);
	return sim;
}

/* How many records are replayed when the superblock says so of the journal's epoch; negative: none,
 * because something is missing. */
static int replay_as(struct pfs_sim *sim, uint64_t begun_epoch)
{
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_journal_options options = {
		.dir = dir, .uuid = uuid, .logger = &quiet, .begun_epoch = begun_epoch};
	struct pfs_journal *journal;
	struct log log = {.count = 0};
	int err;

	assert_int_equal(pfs_journal_open(&journal, &options), 0);
	err = pfs_journal_replay(journal, keep_record, &log, &log.result);
	pfs_journal_close(journal);
	dir->ops->close_dir(dir);
	return err ? err : (int)log.count;
}

static void cut_segment(struct pfs_sim *sim, uint64_t len)
{
	struct pfs_dir *dir = open_dir(sim);
	char name[32];
	struct pfs_file *file;

	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, 0u);
	file = open_file(dir, name);
	assert_int_equal(file->ops->truncate(file, len), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: a segment's file that ends where a record would be, or in it, was cut after it was whole
 * (W8): that is no tail, and the replay is refused. Zeros in a file that is whole are a tail. */
static void short_segments_are_refused(void **state)
{
	uint64_t off, lens[8];
	struct pfs_sim *sim = three_records(&off);
	size_t n = 0;

	(void)state;
	assert_int_equal(replay_as(sim, 1), 3);
	lens[n++] = off + 40;
	lens[n++] = off + 39;
	lens[n++] = off + 4;
	lens[n++] = off + 3;
	lens[n++] = off;
	lens[n++] = off - 8;
	lens[n++] = PFS_SEGMENT_DATA + 1;
	lens[n++] = PFS_SEGMENT_DATA;
	for (size_t i = 0; i < n; i++) {
		cut_segment(sim, lens[i]);
		assert_int_equal(replay_as(sim, 1), -EUCLEAN);
	}
	/* Its making may have been cut off, when nobody says that it was begun. */
	assert_int_equal(replay_as(sim, 0), 0);
	cut_segment(sim, PFS_SEGMENT_SIZE);
	assert_int_equal(replay_as(sim, 1), 0);
	pfs_sim_free(sim);
}

static void remove_segment(struct pfs_sim *sim, unsigned file_index)
{
	struct pfs_dir *dir = open_dir(sim);
	char name[32];

	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, file_index);
	assert_int_equal(dir->ops->unlink(dir, name), 0);
	dir->ops->close_dir(dir);
}

/* Proves: when the superblock says that a segment of an epoch was begun, there must be one. */
static void a_missing_newest_segment_is_refused(void **state)
{
	uint64_t off;
	struct pfs_sim *sim = three_records(&off);

	(void)state;
	assert_int_equal(replay_as(sim, 1), 3);
	assert_int_equal(replay_as(sim, 2), -EUCLEAN); /* there is an older one alone */
	remove_segment(sim, 0);
	assert_int_equal(replay_as(sim, 1), -EUCLEAN);
	assert_int_equal(replay_as(sim, 0), 0);
	pfs_sim_free(sim);
}

/* Proves: the segment that the newest header calls the oldest live one must be there: without it,
 * or it and the next ones, the replay is refused, however complete the rest is. One that it calls
 * dead may be gone. */
static void a_missing_oldest_segment_is_refused(void **state)
{
	(void)state;
	for (unsigned missing = 1; missing < 4; missing++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_journal_pos last;

		write_log(sim, 4, true, &last);
		for (unsigned i = 0; i < missing; i++)
			remove_segment(sim, i);
		expect_refused(sim);
		assert_int_equal(replay_as(sim, 1), -EUCLEAN);
		pfs_sim_free(sim);
	}
}

/* Proves: the same behind segments that are dead, which nobody misses. */
static void a_missing_dead_segment_is_not_missed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	unsigned first, second;
	struct log log;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 2);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	first = append(&log).segment->file_index;
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_int_equal(pfs_journal_declare(log.journal, pfs_journal_active(log.journal)), 0);
	assert_int_equal(pfs_journal_sync_declared(log.journal), 0);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	second = append(&log).segment->file_index;
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	log_close(&log);
	assert_true(first != 0 && second != 0 && first != second);
	remove_segment(sim, 0);
	assert_int_equal(replay_as(sim, 1), 2);
	remove_segment(sim, first);
	assert_int_equal(replay_as(sim, 1), -EUCLEAN);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_out_of_range_are_no_header),
		cmocka_unit_test(sequences_end),
		cmocka_unit_test(sequences_follow_on_one_another),
		cmocka_unit_test(forged_tails_open),
		cmocka_unit_test(proofs_behind_forged_heads_are_found),
		cmocka_unit_test(many_holes_are_one_search),
		cmocka_unit_test(lengths_of_puts_fit),
		cmocka_unit_test(short_segments_are_refused),
		cmocka_unit_test(a_missing_newest_segment_is_refused),
		cmocka_unit_test(a_missing_oldest_segment_is_refused),
		cmocka_unit_test(a_missing_dead_segment_is_not_missed),
	};

	return cmocka_run_group_tests_name("journal forged", tests, NULL, NULL);
}
