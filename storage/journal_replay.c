/* Opening a journal and replaying it. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/journal_internal.h"
#include "storage/salvage.h"

#define SCAN_LEN 4096

/* ---- opening ---- */

static int found_file(void *arg, const char *name)
{
	struct pfs_journal *journal = arg;
	struct pfs_segment *segment;
	unsigned index;
	char canonical[32], rest;
	int err;

	if (sscanf(name, "journal-%4x%c", &index, &rest) != 1 || index >= SEGMENT_FILES_MAX)
		return 0;
	snprintf(canonical, sizeof(canonical), PFS_SEGMENT_NAME_FMT, index);
	if (strcmp(name, canonical) != 0)
		return 0;
	err = pfs_segment_open(journal, index, false, false, &segment);
	if (!err)
		pfs_segment_use_index(journal, index, true);
	if (err)
		return err;
	segment->name_synced = true;
	pfs_segment_retire(journal, segment);
	return 0;
}

/* Sorts segments with valid headers into the live list; returns the oldest that the newest header
 * calls live. */
static uint64_t sort_live(struct pfs_journal *journal)
{
	struct pfs_segment **at = &journal->spare;
	uint64_t newest = 0, oldest_live = 0, oldest;

	while (*at) {
		struct pfs_segment *segment = *at, **place = &journal->live;

		if (!pfs_segment_header(journal, segment, &oldest)) {
			at = &segment->next;
			continue;
		}
		journal->epoch_seen = pfs_max_u64(journal->epoch_seen, segment->epoch);
		journal->next_number = pfs_max_u64(journal->next_number, segment->number + 1);
		if (segment->epoch <= journal->clean_epoch) {
			at = &segment->next;
			continue;
		}
		journal->live_epoch = pfs_max_u64(journal->live_epoch, segment->epoch);
		if (segment->number > newest) {
			newest = segment->number;
			oldest_live = oldest;
		}
		*at = segment->next;
		journal->spare_count--;
		while (*place && (*place)->number < segment->number)
			place = &(*place)->next;
		segment->next = *place;
		*place = segment;
	}
	return oldest_live;
}

static void count_live(struct pfs_journal *journal)
{
	journal->last = NULL;
	journal->live_bytes = 0;
	for (struct pfs_segment *s = journal->live; s; s = s->next) {
		journal->last = s;
		s->full = true;
		journal->live_bytes += PFS_SEGMENT_SIZE;
	}
}

int pfs_journal_open(struct pfs_journal **out, const struct pfs_journal_options *options)
{
	struct pfs_journal *journal = calloc(1, sizeof(*journal));
	int err;

	*out = NULL;
	if (!journal)
		return -ENOMEM;
	journal->dir = options->dir;
	memcpy(journal->uuid, options->uuid, PFS_UUID_LEN);
	journal->epoch = options->epoch;
	journal->read_only = options->read_only;
	journal->clean_epoch = options->clean_epoch;
	journal->begun_epoch = options->begun_epoch;
	journal->repairing = options->repairing;
	journal->next_number = 1;
	journal->logger = options->logger;
	pthread_mutex_init(&journal->lock, NULL);
	err = journal->dir->ops->list(journal->dir, found_file, journal);
	if (err) {
		pfs_journal_close(journal);
		return err;
	}
	journal->oldest_live = sort_live(journal);
	while (journal->live && journal->live->number < journal->oldest_live) {
		struct pfs_segment *dead = journal->live;

		journal->live = dead->next;
		pfs_segment_retire(journal, dead);
	}
	count_live(journal);
	*out = journal;
	return 0;
}

void pfs_journal_close(struct pfs_journal *journal)
{
	struct pfs_segment *lists[4];

	if (!journal)
		return;
	lists[0] = journal->live;
	lists[1] = journal->spare;
	lists[2] = journal->dead;
	lists[3] = journal->ready;
	for (unsigned i = 0; i < pfs_array_len(lists); i++) {
		while (lists[i]) {
			struct pfs_segment *next = lists[i]->next;

			pfs_segment_free(lists[i]);
			lists[i] = next;
		}
	}
	pthread_mutex_destroy(&journal->lock);
	free(journal->buf);
	free(journal);
}

/* ---- records ---- */

static const struct pfs_record_disk *loaded_head(const struct pfs_journal *journal)
{
	return (const struct pfs_record_disk *)journal->buf;
}

/* Copies the record at off into the buffer and verifies it. 1: there is one, 0: none, or a negative
 * error. */
static int record_load(struct pfs_journal *journal, const struct pfs_segment *segment, uint64_t off,
		       size_t *len)
{
	uint64_t end = pfs_min_u64(segment->size, PFS_SEGMENT_SIZE);
	struct pfs_record_disk head;
	int err;

	if (off + PFS_RECORD_LEN_MIN > end)
		return 0;
	err = pfs_map_copy(&head, segment->map + off, sizeof(head));
	if (err)
		return err;
	*len = pfs_get_le32(head.len.b);
	if (*len < PFS_RECORD_LEN_MIN || *len % 8 != 0 || *len > end - off)
		return 0;
	err = pfs_journal_room(journal, *len);
	if (!err)
		err = pfs_map_copy(journal->buf, segment->map + off, *len);
	if (err)
		return err;
	return pfs_record_crc(pfs_record_seed(journal, segment), journal->buf, *len) ==
		       pfs_get_le32(loaded_head(journal)->crc.b) &&
	       pfs_get_le64(loaded_head(journal)->seq.b) <= PFS_SEQ_MAX;
}

/* From where on, not before off, the segment can be read and holds only zeros, as most of it does
 * that has never been filled. */
static uint64_t zeros_from(const struct pfs_segment *segment, uint64_t off, uint64_t end)
{
	uint8_t chunk[SCAN_LEN];

	while (end > off) {
		uint64_t from = pfs_max_u64(off, (end - 1) - (end - 1) % SCAN_LEN);

		if (pfs_map_copy(chunk, segment->map + from, end - from) != 0 ||
		    !pfs_is_zero(chunk, end - from))
			break;
		end = from;
	}
	return end;
}

/* Searches the segment from off on. What can't be read belongs to no record. */
static int search_segment(struct pfs_journal *journal, const struct pfs_segment *segment,
			  uint64_t off, struct pfs_search *search)
{
	uint64_t end = pfs_min_u64(segment->size, PFS_SEGMENT_SIZE), from = off, next;
	uint64_t zeros = zeros_from(segment, off, end);
	uint32_t seed = pfs_record_seed(journal, segment);
	uint8_t *bytes = calloc(1, PFS_SEGMENT_SIZE); /* touched only up to the zeros */
	int err = bytes ? 0 : -ENOMEM;

	for (; off < zeros && !err; off = next) {
		next = pfs_min_u64(zeros, off - off % SCAN_LEN + SCAN_LEN);
		if (pfs_map_copy(bytes + off, segment->map + off, next - off) == 0)
			continue;
		err = pfs_search_add(search, bytes, from, off, off, seed);
		from = next;
	}
	if (!err)
		err = pfs_search_add(search, bytes, from, end, zeros, seed);
	free(bytes);
	journal->search_summed += search->summed;
	return err;
}

/* Searches what is behind damage at off, once in each segment: the next damage is behind the first.
 */
static int search_behind(struct pfs_journal *journal, const struct pfs_segment *segment,
			 uint64_t off)
{
	int err;

	if (journal->searched == segment)
		return 0;
	pfs_search_free(&journal->search);
	journal->searched = NULL;
	err = search_segment(journal, segment, off, &journal->search);
	if (!err)
		journal->searched = segment;
	return err;
}

/* Whether a record in the segment, or in a later one, says that the one with the sequence was
 * durable (O7). 1, 0 or a negative error. */
static int is_proven_from(struct pfs_journal *journal, struct pfs_segment *segment, uint64_t seq)
{
	for (; segment; segment = segment->next) {
		struct pfs_search search = {.count = 0};
		int err = 0;

		if (!segment->proof_known) {
			err = search_segment(journal, segment, PFS_SEGMENT_DATA, &search);
			segment->proof = pfs_search_proof(&search, PFS_SEGMENT_DATA);
			segment->proof_known = !err;
			pfs_search_free(&search);
		}
		if (err || segment->proof > seq)
			return err ? err : 1;
	}
	return 0;
}

/* The same of the records from off of the segment on, where the damage is. */
static int is_proven_behind(struct pfs_journal *journal, const struct pfs_segment *segment,
			    uint64_t off, uint64_t seq)
{
	int err = search_behind(journal, segment, off);

	if (err)
		return err;
	return pfs_search_proof(&journal->search, off) > seq
		       ? 1
		       : is_proven_from(journal, segment->next, seq);
}

/* ---- replaying ---- */

struct replay {
	struct pfs_journal *journal;
	pfs_record_fn *fn;
	void *arg;
	struct pfs_replay_result *result;
	const struct pfs_segment *before; /* the segment that was replayed last */
	uint64_t expected;		  /* sequence of the next record */
	bool ended;			  /* the last record was END */
};

static int lose(struct replay *replay, const struct pfs_segment *segment, uint64_t off,
		const char *fmt, ...) PFS_PRINTF(4, 5);

/* Records are missing, and whose they were can't be known: nothing can be shown of any document
 * that is sure not to be older than it was. */
static int lose(struct replay *replay, const struct pfs_segment *segment, uint64_t off,
		const char *fmt, ...)
{
	struct pfs_replay_result *result = replay->result;
	char name[32] = "journal", what[sizeof(result->why) - 64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (segment)
		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, segment->file_index);
	result->damaged++;
	pfs_corrupt(replay->journal->logger, name, off, "%s", what);
	if (replay->journal->repairing)
		return 0;
	snprintf(result->why, sizeof(result->why), "%s at byte %llu: %s", name,
		 (unsigned long long)off, what);
	return -EUCLEAN;
}

static int replay_record(struct replay *replay, struct pfs_segment *segment, uint64_t off,
			 size_t len)
{
	const struct pfs_record_disk *head = loaded_head(replay->journal);
	struct pfs_record record = {
		.pos = {segment, off, len, pfs_get_le64(head->seq.b)},
		.seq = pfs_get_le64(head->seq.b),
		.type = head->type,
		.flags = head->flags,
		.body = replay->journal->buf + PFS_RECORD_HEADER_LEN,
		.body_len = len - PFS_RECORD_HEADER_LEN,
	};

	replay->ended = record.type == PFS_RECORD_END;
	if (replay->ended)
		return 0;
	replay->expected = record.seq + 1;
	replay->result->last_seq = record.seq;
	replay->result->records++;
	return replay->fn(replay->arg, &record);
}

/* The one durable record in [off, end) does not verify: whose it was is searched for, and what it
 * said is lost. */
static int replay_damaged(struct replay *replay, struct pfs_segment *segment, uint64_t off,
			  uint64_t end)
{
	struct pfs_journal *journal = replay->journal;
	struct pfs_record record = {.pos = {segment, off, end - off, replay->expected},
				    .seq = replay->expected};
	struct pfs_key keys[2];
	bool exact;
	int err = pfs_journal_room(journal, end - off);

	if (err)
		return err;
	if (pfs_map_copy(journal->buf, segment->map + off, end - off) == 0)
		record.lost_count = pfs_salvage_record(
			journal->buf,
			&(struct pfs_salvage){off, end - off, pfs_record_seed(journal, segment),
					      replay->expected},
			keys, &exact);
	if (record.lost_count == 0)
		return lose(replay, segment, off,
			    "a durable record (%llu) is damaged, and whose it was can't be told",
			    (unsigned long long)replay->expected);
	record.lost_keys = keys;
	replay->result->damaged++;
	pfs_corrupt(journal->logger, "journal", off,
		    "segment %llu: a durable record is damaged: %llu bytes are lost",
		    (unsigned long long)segment->number, (unsigned long long)(end - off));
	replay->result->last_seq = record.seq;
	replay->result->records++;
	return replay->fn(replay->arg, &record);
}

/* At off there is no record, but one is proven to have been there. *off: where it goes on; 0: not
 * in this segment. */
static int pass_damage(struct replay *replay, struct pfs_segment *segment, uint64_t *off)
{
	const struct pfs_found *found =
		pfs_search_next(&replay->journal->search, *off + 8, replay->expected);
	uint64_t next = found ? found->off : 0, seq = found ? found->seq : 0;
	int err = 0;

	if (!next) {
		*off = 0;
		return 0; /* what follows tells whether it was more than the END record */
	}
	if (seq == replay->expected + 1)
		err = replay_damaged(replay, segment, *off, next);
	else
		err = lose(replay, segment, *off,
			   "the durable records %llu to %llu are damaged, and whose they were "
			   "can't be told",
			   (unsigned long long)replay->expected, (unsigned long long)(seq - 1));
	replay->expected = seq;
	*off = next;
	return err;
}

/* Whether the segment's file ends where the record at off would be, although it was there whole
 * when the first record was written to it (W8). */
static bool is_cut(const struct replay *replay, const struct pfs_segment *segment, uint64_t off)
{
	uint8_t len[4];

	if (segment->size >= PFS_SEGMENT_SIZE)
		return false;
	/* A first record that is not there may never have been, and the file with it. */
	if (off == PFS_SEGMENT_DATA && !replay->ended &&
	    (replay->before || segment->epoch > replay->journal->begun_epoch))
		return false;
	return off + sizeof(len) > segment->size ||
	       pfs_map_copy(len, segment->map + off, sizeof(len)) != 0 ||
	       off + pfs_get_le32(len) > segment->size;
}

static int replay_segment(struct replay *replay, struct pfs_segment *segment)
{
	struct pfs_journal *journal = replay->journal;
	uint64_t off = PFS_SEGMENT_DATA, end = off;
	int err = 0;

	do {
		size_t len = 0;
		int have = record_load(journal, segment, off, &len), proven;

		if (have == 1 && pfs_get_le64(loaded_head(journal)->seq.b) != replay->expected)
			have = 0;
		if (have < 0 && have != -EIO)
			return have;
		if (have == 1) {
			err = replay_record(replay, segment, off, len);
			end = off += len;
			continue;
		}
		proven = is_proven_behind(journal, segment, off + 8, replay->expected);
		if (proven < 0)
			return proven;
		if (proven) {
			err = pass_damage(replay, segment, &off);
			end = pfs_max_u64(end, off);
			replay->ended = false;
			if (off == 0)
				break;
			continue;
		}
		/* A tail; but not where the disk can't be read. */
		if (have < 0)
			return have;
		if (is_cut(replay, segment, off))
			err = lose(replay, segment, off,
				   "the file ends early, and whose records are missing can't be "
				   "told");
		replay->ended = false;
		break;
	} while (!err && !replay->ended);
	segment->used = end;
	segment->synced = end;
	return err;
}

/* Whether the replay goes on with `segment` after the one before (1), or that was the last (0).
 * Without END record it was cut, unless what follows fits to its last record, or shows that more
 * was durable (O7). */
static int goes_on(struct replay *replay, struct pfs_segment *segment)
{
	const struct pfs_segment *before = replay->before;
	int err, proven;

	if (segment->number == before->number + 1 && segment->first_seq == replay->expected)
		return 1;
	proven = replay->ended ? 1 : is_proven_from(replay->journal, segment, replay->expected);
	if (proven <= 0)
		return proven;
	err = lose(replay, before, before->used,
		   "durable records from %llu on, in segment %llu and up to %llu, are damaged or "
		   "missing",
		   (unsigned long long)replay->expected, (unsigned long long)before->number,
		   (unsigned long long)segment->number);
	return err ? err : 1;
}

/* What there must be by what the newest header and the superblock say (W8). */
static int check_ends(struct replay *replay)
{
	const struct pfs_journal *journal = replay->journal;
	int err = 0;

	if (journal->begun_epoch > journal->clean_epoch &&
	    journal->live_epoch < journal->begun_epoch)
		err = lose(replay, NULL, 0,
			   "its newest segment is missing, and whose records it had can't be told");
	if (!err && journal->live && journal->live->number > journal->oldest_live)
		err = lose(replay, journal->live, 0,
			   "the segments %llu to %llu, which come before, are missing",
			   (unsigned long long)journal->oldest_live,
			   (unsigned long long)journal->live->number - 1);
	return err;
}

static int replay_live(struct replay *replay, struct pfs_segment **rest)
{
	struct pfs_segment *segment;
	int err = check_ends(replay);

	*rest = replay->journal->live;
	for (segment = *rest; segment && !err; segment = segment->next) {
		int on = replay->before ? goes_on(replay, segment) : 1;

		if (on <= 0)
			return on;
		replay->expected = segment->first_seq;
		err = replay_segment(replay, segment);
		replay->before = segment;
		*rest = segment->next;
	}
	if (!err && replay->before && replay->ended)
		err = lose(replay, replay->before, replay->before->used,
			   "the next segment, %llu, is missing",
			   (unsigned long long)replay->before->number + 1);
	return err;
}

int pfs_journal_replay(struct pfs_journal *journal, pfs_record_fn *fn, void *arg,
		       struct pfs_replay_result *result)
{
	struct replay replay = {.journal = journal, .fn = fn, .arg = arg, .result = result};
	struct pfs_segment *rest, *next, **end = &journal->live;
	int err;

	*result = (struct pfs_replay_result){0};
	if (journal->live)
		result->first_seq = journal->live->first_seq;
	err = replay_live(&replay, &rest);
	pfs_search_free(&journal->search);
	journal->searched = NULL;
	if (err)
		return err;
	while (*end != rest)
		end = &(*end)->next;
	*end = NULL;
	for (; rest; rest = next) {
		next = rest->next;
		pfs_segment_retire(journal, rest);
	}
	count_live(journal);
	return 0;
}

uint64_t pfs_journal_window(const struct pfs_journal *journal)
{
	return journal->live ? journal->live->first_seq : UINT64_MAX;
}

void pfs_journal_start(struct pfs_journal *journal, uint64_t next_seq)
{
	journal->appended = next_seq - 1;
	__atomic_store_n(&journal->durable, next_seq - 1, __ATOMIC_RELEASE);
}
