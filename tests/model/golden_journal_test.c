/* What a journal does on the disk, to the call and to the byte: a history with all that it can be
 * told to do; the same in which each of its steps fails; on disks of every size; and what a replay
 * makes of one that is damaged in a hundred and more ways. Results, calls, log lines and what is
 * left are compared with what is written down (golden_test.c says why, and what to do when it is
 * meant to change).
 *
 * tests/crash and tests/fault look at whether what comes of it may be so; this at what it is. */
#include <sys/mman.h>
#include <unistd.h>

#include "storage/crc.h"
#include "storage/journal_internal.h"
#include "tests/model/tale.h"

#define RECORDS_MAX 64u

static const uint8_t uuid[PFS_UUID_LEN] = "golden journals";

struct story {
	struct tale *t;
	struct pfs_dir *dir;
	struct pfs_journal *journal;
	unsigned replayed, stop_at;
	uint64_t what; /* hash of what was replayed */
	bool in_short;
	uint64_t steps, fail_at; /* the step that fails, and with what; 0: none does */
	int error;
	bool for_ever; /* and all behind it */
	struct pfs_logger logger;
	struct pfs_replay_result result;
};

/* ---- records ---- */

static size_t body_of(uint8_t *body, uint64_t number, size_t padding)
{
	pfs_put_le64(body, number / 2);
	body[8] = PFS_KEY_NUM;
	body[9] = 8;
	pfs_put_le64(body + 10, number);
	memset(body + 18, (int)number, padding + 6);
	memset(body + 18, 0, 6);
	fill_document(body + 24, pfs_min_u64(padding, 500), number);
	return 24 + padding;
}

/* Of a removal; a patch's of so many bytes when there is padding. */
static int append(struct story *s, size_t padding, bool privileged, struct pfs_journal_pos *pos)
{
	uint64_t number = pfs_journal_next(s->journal);
	uint8_t *body = malloc(padding + 64);
	size_t len = body_of(body, number, padding), half = len / 3;
	int err = pfs_journal_append(
		s->journal, padding ? PFS_RECORD_PATCH : PFS_RECORD_REMOVE, number % 4,
		(struct iovec[]){{body, half}, {NULL, 0}, {body + half, len - half}}, 3, privileged,
		pos);

	free(body);
	return err;
}

static int keep_record(void *arg, const struct pfs_record *record)
{
	struct story *s = arg;

	s->replayed++;
	s->what = hash_number(s->what, record->seq);
	s->what = hash_number(s->what, record->type * 256 + record->flags);
	s->what = hash_number(s->what, record->pos.segment->number);
	s->what = hash_number(hash_number(s->what, record->pos.off), record->pos.len);
	s->what = hash_number(s->what, record->pos.seq);
	s->what = hash_bytes(s->what, record->body, pfs_min_u64(record->body_len, 2000));
	if (record->lost_keys)
		fprintf(s->t->out, "lost: %llu at %llu, %zu bytes, key %llu of %u\n",
			(unsigned long long)record->seq, (unsigned long long)record->pos.off,
			record->pos.len, (unsigned long long)record->lost_keys[0].num,
			record->lost_count);
	return s->replayed == s->stop_at ? 77 : 0;
}

/* ---- telling ---- */

static int tell_step(void *arg, const struct pfs_sim_step *step)
{
	struct story *s = arg;

	(void)count_call(s->t, step);
	if (step->kind < PFS_SIM_STEPS && s->fail_at && ++s->steps >= s->fail_at &&
	    (s->for_ever || s->steps == s->fail_at))
		return s->error;
	if (!s->in_short)
		fprintf(s->t->out, "  %s %s %llu %llu\n", pfs_sim_kind_name(step->kind), step->name,
			(unsigned long long)step->off, (unsigned long long)step->len);
	return 0;
}

static void tell_segments(FILE *out, const char *list, const struct pfs_segment *segment)
{
	for (; segment; segment = segment->next)
		fprintf(out,
			"  %s: file %u of %llu, number %llu from %llu, epoch %llu, used %llu of "
			"%llu, synced %llu%s%s\n",
			list, segment->file_index, (unsigned long long)segment->size,
			(unsigned long long)segment->number, (unsigned long long)segment->first_seq,
			(unsigned long long)segment->epoch, (unsigned long long)segment->used,
			(unsigned long long)segment->room, (unsigned long long)segment->synced,
			segment->full ? ", full" : "", segment->name_synced ? "" : ", not synced");
}

static void tell_journal(struct story *s)
{
	struct pfs_journal *j = s->journal;
	const struct pfs_segment *oldest = pfs_journal_oldest(j);
	uint64_t disk = 5;
	int err = pfs_journal_disk_bytes(j, &disk);

	fprintf(s->t->out,
		"next %llu, appended %llu, durable %llu, active %llu, oldest %llu, window %lld, "
		"live %llu, disk %d %llu, epoch %llu, %u spare%s\n",
		(unsigned long long)pfs_journal_next(j),
		(unsigned long long)pfs_journal_appended(j),
		(unsigned long long)pfs_journal_durable(j),
		(unsigned long long)pfs_journal_active(j),
		(unsigned long long)(oldest ? oldest->number : 0), (long long)pfs_journal_window(j),
		(unsigned long long)pfs_journal_live_bytes(j), err, (unsigned long long)disk,
		(unsigned long long)pfs_journal_epoch_seen(j), pfs_journal_spares(j),
		pfs_journal_has_failed(j) ? ", failed" : "");
}

static void tell_all(struct story *s)
{
	tell_journal(s);
	tell_segments(s->t->out, "live", s->journal->live);
	if (s->in_short)
		return;
	tell_segments(s->t->out, "spare", s->journal->spare);
	tell_segments(s->t->out, "dead", s->journal->dead);
	tell_segments(s->t->out, "ready", s->journal->ready);
}

/* ---- opening ---- */

/* What a replay of the journal gives. */
static int replay(struct story *s)
{
	const struct pfs_replay_result *r = &s->result;
	int err;

	s->replayed = 0;
	s->what = HASH_FIRST;
	err = pfs_journal_replay(s->journal, keep_record, s, &s->result);
	fprintf(s->t->out,
		"replay: %d, %llu records from %llu to %llu, %llu damaged, %u %016llx, summed "
		"%llu%s%s\n",
		err, (unsigned long long)r->records, (unsigned long long)r->first_seq,
		(unsigned long long)r->last_seq, (unsigned long long)r->damaged, s->replayed,
		(unsigned long long)s->what, (unsigned long long)s->journal->search_summed,
		*r->why ? ": " : "", r->why);
	return err;
}

static void watch_story(struct story *s, struct pfs_sim *sim, bool on)
{
	pfs_sim_on_step(sim, on ? tell_step : NULL, s);
	pfs_sim_on_look(sim, on ? tell_step : NULL, s);
}

static int open_journal(struct story *s, struct pfs_sim *sim, const struct pfs_journal_options *as)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_journal_options options = *as;
	int err;

	s->logger = (struct pfs_logger){.fn = tell_log, .arg = s->t};
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_CREATE, &s->dir), 0);
	options.dir = s->dir;
	options.uuid = uuid;
	options.logger = &s->logger;
	err = pfs_journal_open(&s->journal, &options);
	fprintf(s->t->out, "open: %d\n", err);
	if (err)
		s->dir->ops->close_dir(s->dir);
	return err;
}

static void close_journal(struct story *s)
{
	pfs_journal_close(s->journal);
	s->dir->ops->close_dir(s->dir);
}

/* As it is found by who comes next. */
static void tell_found(struct story *s, struct pfs_sim *sim, const struct pfs_journal_options *as)
{
	if (open_journal(s, sim, as))
		return;
	if (!replay(s))
		tell_all(s);
	close_journal(s);
}

/* ---- a history ---- */

static void begin_op(struct story *s, const char *name)
{
	if (!s->in_short)
		fprintf(s->t->out, "%s\n", name);
}

static void end_op(struct story *s, int err)
{
	if (s->in_short) {
		fprintf(s->t->out, "%d ", err);
		return;
	}
	fprintf(s->t->out, " = %d; ", err);
	watch_story(s, s->t->sim, false);
	tell_journal(s);
	watch_story(s, s->t->sim, true);
}

#define OP(s, name, call) (begin_op(s, name), end_op(s, (call)))

static int append_one(struct story *s, size_t padding)
{
	struct pfs_journal_pos pos = {0};
	int err = append(s, padding, false, &pos);

	if (!s->in_short)
		fprintf(s->t->out, "  at %llu, %zu bytes, %llu", (unsigned long long)pos.off,
			pos.len, (unsigned long long)pos.seq);
	return err;
}

/* So that `left` bytes are left in the segment, for the record behind it and the END record. */
static int append_but(struct story *s, size_t left)
{
	const struct pfs_segment *last = s->journal->last;
	size_t room = PFS_SEGMENT_SIZE - (last && !last->full ? last->used : PFS_SEGMENT_DATA);
	size_t taken = left + PFS_RECORD_HEADER_LEN + 24;

	return append_one(s, room > taken ? room - taken : 0);
}

static void lock_nothing(void *arg, bool on)
{
	unsigned *held = arg;

	assert_int_equal(*held, !on);
	*held = on;
}

/* The first record, what only seems to be it, and what can't be one. */
static void read_back(struct story *s)
{
	static const struct {
		uint64_t off;
		size_t len;
	} places[] = {
		{PFS_SEGMENT_DATA, 32},	     {PFS_SEGMENT_DATA, 40}, {PFS_SEGMENT_DATA, 48},
		{PFS_SEGMENT_DATA, 56},	     {PFS_SEGMENT_DATA, 64}, {PFS_SEGMENT_SIZE - 40, 40},
		{PFS_SEGMENT_SIZE - 40, 48}, {PFS_SEGMENT_SIZE, 40}, {PFS_SEGMENT_SIZE + 8, 40},
		{0, PFS_SEGMENT_SIZE + 8},   {UINT64_MAX, 40},
	};
	const struct pfs_segment *last = s->journal->last;
	uint8_t *buf;

	if (!last)
		return;
	buf = malloc(PFS_SEGMENT_SIZE + 64);
	for (size_t i = 0; i < pfs_array_len(places); i++)
		fprintf(s->t->out, "%s%d", i ? ", " : "",
			pfs_journal_read(s->journal, last, places[i].off, buf, places[i].len));
	fprintf(s->t->out, "\n");
	free(buf);
}

static void recycle(struct story *s)
{
	OP(s, "declare", pfs_journal_declare(s->journal, pfs_journal_active(s->journal)));
	if (s->journal->declared)
		OP(s, "sync what is declared", pfs_journal_sync_declared(s->journal));
	OP(s, "reuse", (pfs_journal_reuse(s->journal), 0));
}

static void appends(struct story *s)
{
	OP(s, "append", append_one(s, 0));
	OP(s, "append", append_one(s, 1));
	OP(s, "sync", pfs_journal_sync(s->journal, UINT64_MAX));
	OP(s, "append", append_one(s, 7));
	OP(s, "append", append_one(s, 8));
	OP(s, "sync the second", pfs_journal_sync(s->journal, 2));
	OP(s, "sync the third", pfs_journal_sync(s->journal, 3));
	begin_op(s, "read");
	read_back(s);
}

static void holds(struct story *s)
{
	OP(s, "hold", (pfs_journal_hold(s->journal), 0));
	OP(s, "append", append_one(s, 100));
	OP(s, "append", append_one(s, 0));
	OP(s, "append too much", append_one(s, PFS_SEGMENT_SIZE / 2));
	OP(s, "append too much", append_one(s, PFS_SEGMENT_SIZE / 2));
	OP(s, "release", pfs_journal_release(s->journal));
	OP(s, "hold", (pfs_journal_hold(s->journal), 0));
	OP(s, "release nothing", pfs_journal_release(s->journal));
	OP(s, "rotate", pfs_journal_rotate(s->journal));
	OP(s, "rotate again", pfs_journal_rotate(s->journal));
	OP(s, "append", append_one(s, 400));
	OP(s, "rotate", pfs_journal_rotate(s->journal));
	OP(s, "append", append_one(s, 9));
}

static void segments(struct story *s)
{
	OP(s, "append all but 96", append_but(s, 96));
	OP(s, "append one that fits", append_one(s, 0));
	OP(s, "append all but 88", append_but(s, 88));
	OP(s, "append one that does not", append_one(s, 0));
	OP(s, "append all but 40", append_but(s, 40));
	OP(s, "append", append_one(s, 0));
	OP(s, "append the longest", append_one(s, PFS_RECORD_LEN_MAX - 56));
	OP(s, "append", append_one(s, 3000));
	OP(s, "sync", pfs_journal_sync(s->journal, UINT64_MAX));
}

static void recycling(struct story *s)
{
	struct pfs_segment *pinned = s->journal->live ? s->journal->live->next : NULL;
	unsigned held = 0;

	if (pinned)
		pinned->pins++;
	recycle(s);
	if (pinned)
		pinned->pins--;
	OP(s, "rotate", pfs_journal_rotate(s->journal));
	OP(s, "append", append_one(s, 300));
	recycle(s);
	OP(s, "trim", pfs_journal_trim(s->journal, 2));
	OP(s, "prepare", pfs_journal_prepare(s->journal, 4));
	OP(s, "prepare", pfs_journal_prepare(s->journal, 4));
	OP(s, "make one", pfs_journal_make_spare(s->journal, lock_nothing, &held));
	OP(s, "trim", pfs_journal_trim_unlocked(s->journal, 3, lock_nothing, &held));
	OP(s, "trim nothing", pfs_journal_trim_unlocked(s->journal, 3, lock_nothing, &held));
	OP(s, "append much", append_one(s, 270000));
	OP(s, "rotate", pfs_journal_rotate(s->journal));
	OP(s, "append", append_one(s, 5));
	OP(s, "write again", pfs_journal_rewrite(s->journal));
}

static void history(struct story *s)
{
	watch_story(s, s->t->sim, true);
	if (open_journal(s, s->t->sim, &(struct pfs_journal_options){.epoch = 3}))
		return;
	(void)replay(s);
	pfs_journal_start(s->journal, 1);
	appends(s);
	holds(s);
	if (!s->fail_at)
		segments(s);
	recycling(s);
	watch_story(s, s->t->sim, false);
}

static struct story begin_story(struct tale *t)
{
	t->sim = pfs_sim_new();
	forget_calls(t);
	return (struct story){.t = t, .in_short = true};
}

/* What a story leaves that ends by the death of the process. */
static void end_story(struct story *s)
{
	struct pfs_sim *sim = s->t->sim, *killed;

	watch_story(s, sim, false);
	fprintf(s->t->out, "\n");
	tell_calls_in_short(s->t);
	if (s->journal) {
		tell_all(s);
		close_journal(s);
	}
	s->fail_at = 0;
	killed = pfs_sim_kill(sim);
	fprintf(s->t->out, "found, disk %016llx\n", (unsigned long long)pfs_sim_hash(killed));
	tell_found(s, killed, &(struct pfs_journal_options){.epoch = 4});
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

/* Of one that is only to be read. */
static void tell_read_only(struct tale *t)
{
	struct story s = begin_story(t);
	unsigned held = 0;

	s.in_short = false;
	fprintf(t->out, "read-only\n");
	watch_story(&s, t->sim, true);
	if (open_journal(&s, t->sim, &(struct pfs_journal_options){.read_only = true}) == 0) {
		(void)replay(&s);
		OP(&s, "append", append_one(&s, 0));
		OP(&s, "make one", pfs_journal_make_spare(s.journal, lock_nothing, &held));
	}
	end_story(&s);
}

/* Proves: a journal does to the disk what it did, call by call. */
static void one_history(void **state)
{
	struct tale t = {.min_value_size = 16};
	struct story s, next = {.t = &t};
	struct pfs_sim *killed;
	unsigned held = 0;

	(void)state;
	begin_text(&t, "journal");
	s = begin_story(&t);
	s.in_short = false;
	history(&s);
	killed = pfs_sim_kill(t.sim);
	fprintf(t.out, "died\n");
	tell_found(&next, killed, &(struct pfs_journal_options){.epoch = 4});
	pfs_sim_free(killed);
	OP(&s, "discard", (pfs_journal_discard(s.journal), 0));
	OP(&s, "append", append_one(&s, 0));
	OP(&s, "make one", pfs_journal_make_spare(s.journal, lock_nothing, &held));
	end_story(&s);
	tell_read_only(&t);
	end_text(&t);
}

/* Proves: what a journal does, and what is found of it, when one of its steps fails, or that and
 * all behind it, is what it was. */
static void each_step_fails(void **state)
{
	static const struct {
		enum pfs_sim_failed_write written;
		int error;
		bool for_ever;
	} ways[] = {{PFS_SIM_FAILED_HALF, -EIO, false},
		    {PFS_SIM_FAILED_ALL, -ENOSPC, false},
		    {PFS_SIM_FAILED_NOTHING, -EIO, true}};
	struct tale t = {.min_value_size = 16};

	(void)state;
	begin_text(&t, "journal-fails");
	for (size_t way = 0; way < pfs_array_len(ways); way++) {
		struct each each = {0};
		uint64_t fail_at = 0;
		bool reached = true;

		fprintf(t.out, "\n== %d, %d, %s ==\n", (int)ways[way].written, ways[way].error,
			ways[way].for_ever ? "for ever" : "once");
		while (reached) {
			struct story s;

			each_begin(&t, &each);
			s = begin_story(&t);
			pfs_sim_set_failed_writes(t.sim, ways[way].written);
			s.fail_at = ++fail_at;
			s.error = ways[way].error;
			s.for_ever = ways[way].for_ever;
			history(&s);
			reached = s.steps >= s.fail_at;
			end_story(&s);
			each_end(&t, &each, fail_at);
		}
		free(each.last);
	}
	end_text(&t);
}

/* What must work where there is no room for anything else, and what is too long for that. */
static void remove_some(struct story *s)
{
	static const size_t paddings[] = {0, 2000, 12000, 20000, 0};

	for (size_t i = 0; i < 4 * pfs_array_len(paddings); i++) {
		struct pfs_journal_pos pos;

		end_op(s, append(s, paddings[i % pfs_array_len(paddings)], true, &pos));
	}
	recycle(s);
}

/* Proves: on a disk of whatever size, a journal takes what it took, and leaves the rest. */
static void disks_are_full(void **state)
{
	struct tale t = {.min_value_size = 16};
	struct each each = {0};

	(void)state;
	begin_text(&t, "journal-full");
	for (uint64_t room = 0; room <= 5 * PFS_SEGMENT_SIZE; room += PFS_SEGMENT_SIZE / 4) {
		struct story s;

		for (unsigned more = 0; more < 3; more++) {
			each_begin(&t, &each);
			s = begin_story(&t);
			pfs_sim_set_capacity(t.sim, room + more * (PFS_SEGMENT_SHORT - 4096) + 1);
			history(&s);
			remove_some(&s);
			end_story(&s);
			each_end(&t, &each, room / 4096 + more);
		}
	}
	free(each.last);
	end_text(&t);
}

/* ---- damage ---- */

/* A journal that died. */
struct died {
	struct pfs_sim *sim;
	struct pfs_journal_pos pos[RECORDS_MAX]; /* by sequence; seq: the number of the file */
	uint64_t last;
	uint64_t ends[3]; /* where the END records of segments are, and of the last its end */
	uint32_t seeds[3];
};

static void append_synced(struct story *s, struct died *d, size_t padding, bool synced)
{
	struct pfs_journal_pos pos;

	assert_int_equal(append(s, padding, false, &pos), 0);
	if (synced)
		assert_int_equal(pfs_journal_sync(s->journal, UINT64_MAX), 0);
	d->last = pos.seq;
	d->pos[pos.seq] = pos;
	d->pos[pos.seq].seq = pos.segment->file_index;
}

/* Three segments, the first two of which were ended; the last two records were never synced. */
static void make_died(struct story *s, struct died *d)
{
	static const size_t paddings[] = {0, 20, 100, 0, 5000, 1};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_segment *segment;

	assert_int_equal(open_journal(s, sim, &(struct pfs_journal_options){.epoch = 3}), 0);
	assert_int_equal(replay(s), 0);
	pfs_journal_start(s->journal, 1);
	for (unsigned i = 0; i < 3; i++) {
		for (size_t n = 0; n < pfs_array_len(paddings); n++)
			append_synced(s, d, paddings[n], true);
		if (i == 1)
			append_synced(s, d, 30000, true);
		if (i < 2)
			assert_int_equal(pfs_journal_rotate(s->journal), 0);
	}
	append_synced(s, d, 0, false);
	append_synced(s, d, 50, false);
	segment = pfs_journal_oldest(s->journal);
	for (unsigned i = 0; segment; i++, segment = segment->next) {
		assert_true(i < 3);
		d->ends[i] = segment->used - (segment->full ? PFS_RECORD_LEN_MIN : 0);
		d->seeds[i] = pfs_record_seed(s->journal, segment);
		assert_int_equal(segment->file_index, i);
	}
	d->sim = pfs_sim_kill(sim);
	close_journal(s);
	pfs_sim_free(sim);
}

/* ---- what is done to it ---- */

static const char *segment_name(unsigned file_index)
{
	static char names[16][32];
	char *name = names[file_index % 16];

	snprintf(name, sizeof(names[0]), PFS_SEGMENT_NAME_FMT, file_index);
	return name;
}

static void cut_segment(struct pfs_sim *sim, unsigned file_index, uint64_t len)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, segment_name(file_index), &dir);

	assert_int_equal(file->ops->truncate(file, len), 0);
	store_file_done(dir, file);
}

static const char *file_of(const struct pfs_journal_pos *pos)
{
	return segment_name((unsigned)pos->seq);
}

/* ---- one case ---- */

struct cases {
	struct tale t;
	struct story s;
	struct died d;
	struct each each;
	unsigned count;
};

static void begin_cases(struct cases *c, const char *what)
{
	fprintf(c->t.out, "\n== %s ==\n", what);
	c->count = 0;
}

/* A copy, for one case. */
static struct pfs_sim *one_more(struct cases *c)
{
	each_begin(&c->t, &c->each);
	return pfs_sim_kill(c->d.sim);
}

/* What is found of the copy, as it is opened and as it is repaired. */
static void tell_case(struct cases *c, struct pfs_sim *sim)
{
	c->s = (struct story){.t = &c->t, .in_short = true};
	for (unsigned repairing = 0; repairing < 2; repairing++)
		tell_found(&c->s, sim,
			   &(struct pfs_journal_options){
				   .epoch = 4, .begun_epoch = 3, .repairing = repairing});
	pfs_sim_free(sim);
	each_end(&c->t, &c->each, ++c->count);
}

/* One bit, in each field of records that come first, last, behind a long one, or are not durable.
 */
static void bits_of_records(struct cases *c)
{
	static const uint64_t seqs[] = {1, 5, 6, 7, 13, 14, 19, 20, 21};
	static const uint64_t bytes[] = {0, 4, 9, 16, 24, 26, 40, 50};

	begin_cases(c, "bits of records");
	for (size_t i = 0; i < pfs_array_len(seqs); i++) {
		const struct pfs_journal_pos *pos = &c->d.pos[seqs[i]];

		for (size_t b = 0; b < pfs_array_len(bytes); b++) {
			struct pfs_sim *sim = one_more(c);

			flip_bit(sim, file_of(pos), pos->off + bytes[b], (unsigned)b % 8);
			tell_case(c, sim);
		}
	}
	begin_cases(c, "bits of END records");
	for (unsigned i = 0; i < 2; i++) {
		for (uint64_t byte = 0; byte < PFS_RECORD_LEN_MIN; byte += 8) {
			struct pfs_sim *sim = one_more(c);

			flip_bit(sim, segment_name(i), c->d.ends[i] + byte, byte / 8);
			tell_case(c, sim);
		}
	}
}

/* All from one record to another, as zeros and as something else. */
static void many_records(struct cases *c)
{
	static const uint64_t pairs[][2] = {{1, 1},   {1, 2},	{1, 6},	  {2, 4},   {6, 6},
					    {7, 7},   {7, 8},	{8, 9},	  {12, 12}, {13, 13},
					    {14, 14}, {14, 15}, {14, 19}, {18, 19}, {19, 19},
					    {19, 20}, {20, 20}, {20, 21}, {21, 21}};

	begin_cases(c, "many records");
	for (size_t i = 0; i < pfs_array_len(pairs); i++) {
		const struct pfs_journal_pos *from = &c->d.pos[pairs[i][0]];
		const struct pfs_journal_pos *to = &c->d.pos[pairs[i][1]];

		for (unsigned other = 0; other < 2; other++) {
			struct pfs_sim *sim = one_more(c);
			size_t len = to->off + to->len - from->off;
			uint8_t *bytes = calloc(1, len);

			if (other)
				memset(bytes, 0x5a, len);
			write_at(sim, file_of(from), from->off, bytes, len);
			tell_case(c, sim);
			free(bytes);
		}
	}
}

/* The record says something else, with a good checksum. */
static void sealed_records(struct cases *c)
{
	static const struct {
		size_t off;
		int64_t add;
	} fields[] = {{8, -1}, {8, 1}, {8, INT64_C(1) << 60}, {16, -1}, {16, 1}, {16, 100}};
	static const uint64_t seqs[] = {1, 6, 7, 14, 18, 19, 20, 21};

	begin_cases(c, "sealed records");
	for (size_t i = 0; i < pfs_array_len(seqs); i++) {
		const struct pfs_journal_pos *pos = &c->d.pos[seqs[i]];

		for (size_t f = 0; f < pfs_array_len(fields); f++) {
			struct pfs_sim *sim = one_more(c);
			uint8_t *bytes = malloc(pos->len);

			read_at(sim, file_of(pos), pos->off, bytes, pos->len);
			pfs_put_le64(bytes + fields[f].off,
				     pfs_get_le64(bytes + fields[f].off) + (uint64_t)fields[f].add);
			pfs_put_le32(bytes + 4,
				     pfs_record_crc(c->d.seeds[pos->seq], bytes, pos->len));
			write_at(sim, file_of(pos), pos->off, bytes, pos->len);
			tell_case(c, sim);
			free(bytes);
		}
	}
}

/* Each field of a segment's header, in either copy and both, with a good checksum. */
static void headers(struct cases *c)
{
	static const struct {
		size_t off;
		int64_t add;
	} fields[] = {{0, 1},	{12, 1}, {16, -1}, {16, 1}, {16, 3},  {16, INT64_C(1) << 60},
		      {24, -1}, {24, 1}, {32, 1},  {32, 2}, {40, -1}, {40, 1},
		      {48, 1}};

	begin_cases(c, "headers");
	for (unsigned file = 0; file < 3; file++) {
		for (unsigned i = 0; i < pfs_array_len(fields) * 3; i++) {
			unsigned copies = i % 3 + 1;
			struct pfs_sim *sim = one_more(c);
			struct pfs_segment_disk disk;
			uint8_t *field = (uint8_t *)&disk + fields[i / 3].off;

			read_at(sim, segment_name(file), 0, &disk, sizeof(disk));
			pfs_put_le64(field, pfs_get_le64(field) + (uint64_t)fields[i / 3].add);
			if (fields[i / 3].off)
				pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12,
								    sizeof(disk) - 12));
			for (unsigned copy = 0; copy < 2; copy++)
				if (copies >> copy & 1)
					write_at(sim, segment_name(file), copy * PFS_SEGMENT_STRIDE,
						 &disk, sizeof(disk));
			tell_case(c, sim);
		}
	}
}

/* Files that end early, are gone, or are another's. */
static void files(struct cases *c)
{
	static const uint64_t lens[] = {0,
					63,
					64,
					2048,
					2111,
					2112,
					PFS_SEGMENT_DATA,
					PFS_SEGMENT_DATA + 1,
					PFS_SEGMENT_DATA + 3,
					PFS_SEGMENT_DATA + 4,
					PFS_SEGMENT_DATA + 39};
	static const uint64_t seqs[] = {6, 12, 13, 19, 20, 21};
	static const int64_t around[] = {-8, -1, 0, 3, 4, 32, 40};

	begin_cases(c, "files that end early");
	for (unsigned file = 0; file < 3; file++) {
		for (size_t i = 0; i < pfs_array_len(lens); i++) {
			struct pfs_sim *sim = one_more(c);

			cut_segment(sim, file, lens[i]);
			tell_case(c, sim);
		}
	}
	for (size_t i = 0; i < pfs_array_len(seqs); i++) {
		const struct pfs_journal_pos *pos = &c->d.pos[seqs[i]];

		for (size_t a = 0; a < pfs_array_len(around); a++) {
			struct pfs_sim *sim = one_more(c);

			cut_segment(sim, (unsigned)pos->seq,
				    pos->off + pos->len + (uint64_t)around[a]);
			tell_case(c, sim);
		}
	}
	begin_cases(c, "files that are missing, or another's");
	for (unsigned which = 1; which < 8; which++) {
		struct pfs_sim *sim = one_more(c);

		for (unsigned file = 0; file < 3; file++)
			if (which >> file & 1)
				remove_file(sim, segment_name(file));
		tell_case(c, sim);
	}
	for (unsigned i = 0; i < 9; i++) {
		struct pfs_sim *sim = one_more(c);
		uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);

		unsigned to = i % 3 == i / 3 ? 7 : i % 3;

		read_at(sim, segment_name(i / 3), 0, bytes, PFS_SEGMENT_SIZE);
		make_file(sim, segment_name(to));
		write_at(sim, segment_name(to), 0, bytes, PFS_SEGMENT_SIZE);
		tell_case(c, sim);
		free(bytes);
	}
}

/* What who opens it knows of it. */
static void epochs(struct cases *c)
{
	begin_cases(c, "epochs");
	for (uint64_t i = 0; i < 50; i++) {
		struct pfs_sim *sim = one_more(c);

		c->s = (struct story){.t = &c->t, .in_short = true, .stop_at = (unsigned)i / 2};
		if (i % 2)
			remove_file(sim, segment_name(0));
		tell_found(&c->s, sim,
			   &(struct pfs_journal_options){.epoch = i,
							 .clean_epoch = i < 25 ? i % 5 : 0,
							 .begun_epoch = i < 25 ? i / 5 : i % 5});
		pfs_sim_free(sim);
		each_end(&c->t, &c->each, i);
	}
}

/* A mapping of which one page can't be read, as of a disk that does not give it. */
static void gaps(struct cases *c)
{
	FILE *empty = tmpfile();
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	assert_non_null(empty);
	begin_cases(c, "pages that can't be read");
	for (unsigned i = 0; i < 36; i++) {
		static const uint64_t places[] = {4096, 8192, 12288, 1 << 15, 1 << 20, 2 << 20};
		uint64_t off = pfs_min_u64(places[i % 6], PFS_SEGMENT_SIZE - page);
		struct pfs_sim *sim = one_more(c);
		struct pfs_segment *segment;
		const uint8_t *map;
		uint8_t *copy;

		c->s = (struct story){.t = &c->t, .in_short = true};
		assert_int_equal(open_journal(&c->s, sim,
					      &(struct pfs_journal_options){.repairing = i >= 18}),
				 0);
		segment = c->s.journal->live;
		for (unsigned n = i / 6 % 3; n; n--)
			segment = segment->next;
		map = segment->map;
		copy = mmap(NULL, PFS_SEGMENT_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(copy != MAP_FAILED);
		memcpy(copy, map, PFS_SEGMENT_SIZE);
		assert_true(mmap(copy + off, page, PROT_READ, MAP_SHARED | MAP_FIXED, fileno(empty),
				 0) == copy + off);
		segment->map = copy;
		if (!replay(&c->s))
			tell_all(&c->s);
		segment->map = map;
		munmap(copy, PFS_SEGMENT_SIZE);
		close_journal(&c->s);
		pfs_sim_free(sim);
		each_end(&c->t, &c->each, i);
	}
	fclose(empty);
}

/* Proves: what a replay makes of a damaged journal is what it was. This test is the first: cmocka
 * puts its own handler of SIGBUS before each, and the journal's is put there once. */
static void damage(void **state)
{
	struct cases c = {.t = {.min_value_size = 16}};

	(void)state;
	begin_text(&c.t, "journal-damaged");
	c.s = (struct story){.t = &c.t};
	make_died(&c.s, &c.d);
	tell_found(&c.s, c.d.sim, &(struct pfs_journal_options){.epoch = 4});
	gaps(&c);
	bits_of_records(&c);
	many_records(&c);
	sealed_records(&c);
	headers(&c);
	files(&c);
	epochs(&c);
	free(c.each.last);
	pfs_sim_free(c.d.sim);
	end_text(&c.t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage),
		cmocka_unit_test(one_history),
		cmocka_unit_test(each_step_fails),
		cmocka_unit_test(disks_are_full),
	};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
