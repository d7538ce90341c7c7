/* A journal on the sim whose records' bodies are known by their sequence. Calls are expected to
 * succeed. */
#ifndef PFS_TEST_JOURNAL_HELPERS_H
#define PFS_TEST_JOURNAL_HELPERS_H

#include <pthread.h>

#include "storage/journal.h"
#include "tests/unit/sim_helpers.h"

#define RECORDS_MAX 4096

static const uint8_t uuid[PFS_UUID_LEN] = "0123456789abcde";

static inline void no_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = no_log};

struct log {
	struct pfs_sim *sim;
	struct pfs_dir *dir;
	struct pfs_journal *journal;
	struct pfs_replay_result result;
	uint64_t seqs[RECORDS_MAX]; /* replayed */
	size_t count;
};

/* The body of a record is known by its sequence. */
static inline size_t body_len(uint64_t seq)
{
	static const size_t lens[] = {0, 1, 7, 8, 9, 100, 4000, 70000};

	return lens[seq % pfs_array_len(lens)];
}

static inline void fill_body(uint8_t *body, size_t len, uint64_t seq)
{
	for (size_t i = 0; i < len; i++)
		body[i] = (uint8_t)pfs_mix64(seq + i / 64);
}

static inline int keep_record(void *arg, const struct pfs_record *record)
{
	struct log *log = arg;
	size_t len = record->type == PFS_RECORD_PUT ? body_len(record->seq) : record->body_len;
	uint8_t *body = malloc(len + 1);

	fill_body(body, len, record->seq);
	assert_memory_equal(record->body, body, len);
	assert_true(record->body_len >= len && record->body_len < len + 16);
	assert_int_equal(record->flags, record->seq % 3);
	assert_int_equal(record->pos.seq, record->seq);
	free(body);
	assert_true(log->count < RECORDS_MAX);
	log->seqs[log->count++] = record->seq;
	return 0;
}

static inline void log_open_as(struct log *log, struct pfs_sim *sim,
			       const struct pfs_journal_options *as)
{
	struct pfs_journal_options options = *as;

	*log = (struct log){.sim = sim, .dir = open_dir(sim)};
	options.dir = log->dir;
	options.uuid = options.uuid ? options.uuid : uuid;
	options.logger = &quiet;
	assert_int_equal(pfs_journal_open(&log->journal, &options), 0);
	assert_int_equal(pfs_journal_replay(log->journal, keep_record, log, &log->result), 0);
	for (size_t i = 1; i < log->count; i++)
		assert_true(log->seqs[i] > log->seqs[i - 1]);
	assert_int_equal(log->result.records, log->count);
	if (log->count)
		assert_int_equal(log->result.last_seq, log->seqs[log->count - 1]);
	pfs_journal_start(log->journal, log->count ? log->result.last_seq + 1 : 1);
	pfs_journal_set_epoch(log->journal, pfs_journal_epoch_seen(log->journal) + 1);
}

/* As a repair opens it: over damage. */
static inline void log_open_damaged(struct log *log, struct pfs_sim *sim)
{
	log_open_as(log, sim, &(struct pfs_journal_options){.repairing = true});
}

/* Durable records are missing, and nobody is told that there were none: the replay is refused, and
 * says where they were. */
static inline void expect_refused(struct pfs_sim *sim)
{
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_journal_options options = {.dir = dir, .uuid = uuid, .logger = &quiet};
	struct pfs_journal *journal;
	struct log log = {.count = 0};

	assert_int_equal(pfs_journal_open(&journal, &options), 0);
	assert_int_equal(pfs_journal_replay(journal, keep_record, &log, &log.result), -EUCLEAN);
	assert_non_null(strstr(log.result.why, "journal"));
	pfs_journal_close(journal);
	dir->ops->close_dir(dir);
}

static inline void log_open(struct log *log, struct pfs_sim *sim)
{
	log_open_as(log, sim, &(struct pfs_journal_options){.epoch = 0});
}

static inline void log_close(struct log *log)
{
	pfs_journal_close(log->journal);
	log->dir->ops->close_dir(log->dir);
}

static inline int append_to(struct log *log, bool privileged, struct pfs_journal_pos *pos)
{
	uint64_t seq = pfs_journal_appended(log->journal) + 1;
	size_t len = body_len(seq), half = len / 2;
	uint8_t *body = malloc(len + 1);
	int err;

	fill_body(body, len, seq);
	err = pfs_journal_append(log->journal, PFS_RECORD_PUT, seq % 3,
				 (struct iovec[]){{body, half}, {body + half, len - half}}, 2,
				 privileged, pos);
	free(body);
	if (!err)
		assert_true(pos->seq == seq && pfs_journal_appended(log->journal) == seq);
	return err;
}

static inline struct pfs_journal_pos append(struct log *log)
{
	struct pfs_journal_pos pos;

	assert_int_equal(append_to(log, false, &pos), 0);
	return pos;
}

static inline void append_many(struct log *log, unsigned n)
{
	while (n--)
		append(log);
}

/* What a fresh opening replays: records first to last without a gap. */
static inline void expect_replayed(struct pfs_sim *sim, uint64_t first, uint64_t last)
{
	struct log log;

	log_open(&log, sim);
	assert_int_equal(log.count, last + 1 - first);
	if (log.count)
		assert_true(log.seqs[0] == first && log.result.last_seq == last);
	assert_int_equal(log.result.damaged, 0);
	log_close(&log);
}

static inline void flip(struct pfs_sim *sim, unsigned file, uint64_t off, unsigned bit)
{
	struct pfs_dir *dir = open_dir(sim);
	char name[32];
	struct pfs_file *f;
	uint8_t byte;

	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, file);
	f = open_file(dir, name);
	assert_int_equal(f->ops->read(f, &byte, 1, off), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(f->ops->write(f, &byte, 1, off), 0);
	f->ops->close(f);
	dir->ops->close_dir(dir);
}

#endif
