/* Opening a journal and replaying it. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/journal_internal.h"

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
	err = pfs_segment_open(journal, index, false, &segment);
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
	uint64_t oldest_live;
	int err;

	*out = NULL;
	if (!journal)
		return -ENOMEM;
	journal->dir = options->dir;
	memcpy(journal->uuid, options->uuid, PFS_UUID_LEN);
	journal->epoch = options->epoch;
	journal->read_only = options->read_only;
	journal->clean_epoch = options->clean_epoch;
	journal->next_number = 1;
	journal->logger = options->logger;
	pthread_mutex_init(&journal->lock, NULL);
	pthread_cond_init(&journal->synced, NULL);
	err = journal->dir->ops->list(journal->dir, found_file, journal);
	if (err) {
		pfs_journal_close(journal);
		return err;
	}
	oldest_live = sort_live(journal);
	while (journal->live && journal->live->number < oldest_live) {
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
	pthread_cond_destroy(&journal->synced);
	free(journal->buf);
	free(journal);
}

/* Copies the record at off into the buffer and verifies it. 1: there is one, 0: none, or a negative
 * error. */
static int record_load(struct pfs_journal *journal, const struct pfs_segment *segment, uint64_t off,
		       size_t *len)
{
	struct pfs_record_disk head;
	int err;

	if (off + PFS_RECORD_LEN_MIN > PFS_SEGMENT_SIZE)
		return 0;
	err = pfs_map_copy(&head, segment->map + off, sizeof(head));
	if (err)
		return err;
	*len = pfs_get_le32(head.len.b);
	if (*len < PFS_RECORD_LEN_MIN || *len % 8 != 0 || *len > PFS_SEGMENT_SIZE - off)
		return 0;
	err = pfs_journal_room(journal, *len);
	if (!err)
		err = pfs_map_copy(journal->buf, segment->map + off, *len);
	if (err)
		return err;
	return pfs_record_crc(pfs_record_seed(journal, segment), journal->buf, *len) ==
	       pfs_get_le32(((struct pfs_record_disk *)journal->buf)->crc.b);
}

struct replay {
	pfs_record_fn *fn;
	void *arg;
	struct pfs_replay_result *result;
	uint64_t expected; /* sequence of the next record; 0: any */
	bool ended;	   /* the last record was END */
};

static int replay_record(struct pfs_journal *journal, struct replay *replay,
			 struct pfs_segment *segment, uint64_t off, size_t len)
{
	const struct pfs_record_disk *head = (struct pfs_record_disk *)journal->buf;
	struct pfs_record record = {
		.pos = {segment, off, len, pfs_get_le64(head->seq.b)},
		.seq = pfs_get_le64(head->seq.b),
		.type = head->type,
		.flags = head->flags,
		.body = journal->buf + PFS_RECORD_HEADER_LEN,
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

/* The first offset from `off` on at which a record may begin because its length makes sense, or
 * PFS_SEGMENT_SIZE. Most of what is behind a tail is zeros. */
static uint64_t next_length(const struct pfs_segment *segment, uint64_t off)
{
	uint8_t window[SCAN_LEN];

	while (off + PFS_RECORD_LEN_MIN <= PFS_SEGMENT_SIZE) {
		size_t len = pfs_min_u64(SCAN_LEN - off % SCAN_LEN, PFS_SEGMENT_SIZE - off);

		if (pfs_map_copy(window, segment->map + off, len) != 0 ||
		    (window[0] == 0 && memcmp(window, window + 1, len - 1) == 0)) {
			off += len;
			continue;
		}
		for (size_t i = 0; i < len; i += 8) {
			uint32_t record = pfs_get_le32(window + i);

			if (record >= PFS_RECORD_LEN_MIN && record % 8 == 0 &&
			    record <= PFS_SEGMENT_SIZE - off - i)
				return off + i;
		}
		off += len;
	}
	return PFS_SEGMENT_SIZE;
}

/* Behind a record that does not verify: looks for one that says the missing ones were durable (O7).
 * Returns its offset, or 0. */
static uint64_t proof_of_damage(struct pfs_journal *journal, const struct pfs_segment *segment,
				uint64_t off, uint64_t expected)
{
	for (off += 8; (off = next_length(segment, off)) < PFS_SEGMENT_SIZE; off += 8) {
		const struct pfs_record_disk *head;
		size_t len;

		if (record_load(journal, segment, off, &len) != 1)
			continue;
		head = (const struct pfs_record_disk *)journal->buf;
		return pfs_get_le64(head->durable.b) >= expected ? off : 0;
	}
	return 0;
}

static int replay_segment(struct pfs_journal *journal, struct replay *replay,
			  struct pfs_segment *segment)
{
	uint64_t off = PFS_SEGMENT_DATA;
	int err = 0;

	replay->ended = false;
	while (!replay->ended) {
		size_t len;
		int have = record_load(journal, segment, off, &len);
		uint64_t seq =
			have == 1 ? pfs_get_le64(((struct pfs_record_disk *)journal->buf)->seq.b)
				  : 0;

		if (have < 0)
			return have;
		if (have == 1 && replay->expected && seq < replay->expected)
			have = 0;
		if (have == 0) {
			uint64_t next = proof_of_damage(journal, segment, off,
							pfs_max_u64(replay->expected, 1));

			if (!next)
				break;
			replay->result->damaged++;
			pfs_corrupt(
				journal->logger, "journal", off,
				"segment %llu: a durable record is damaged, %llu bytes are skipped",
				(unsigned long long)segment->number,
				(unsigned long long)(next - off));
			off = next;
			continue;
		}
		err = replay_record(journal, replay, segment, off, len);
		if (err)
			return err;
		off += len;
	}
	segment->used = off;
	segment->synced = off;
	return 0;
}

/* Whether the replay goes on with `segment` after the one that `number` names. Without END record
 * the one before was cut, unless what follows fits to its last record, or shows that more was
 * durable (O7). */
static bool goes_on(struct pfs_journal *journal, struct replay *replay, uint64_t number,
		    const struct pfs_segment *segment)
{
	bool complete = segment->number == number + 1 &&
			(replay->ended || segment->first_seq == replay->expected);

	for (const struct pfs_segment *s = segment; s && !complete; s = s->next) {
		if (!proof_of_damage(journal, s, PFS_SEGMENT_DATA - 8,
				     pfs_max_u64(replay->expected, 1)))
			continue;
		replay->result->damaged++;
		pfs_corrupt(journal->logger, "journal", PFS_SEGMENT_DATA,
			    "durable records between segments %llu and %llu are damaged or missing",
			    (unsigned long long)number, (unsigned long long)segment->number);
		complete = true;
	}
	return complete;
}

int pfs_journal_replay(struct pfs_journal *journal, pfs_record_fn *fn, void *arg,
		       struct pfs_replay_result *result)
{
	struct replay replay = {.fn = fn, .arg = arg, .result = result, .ended = true};
	struct pfs_segment *segment, *next;
	uint64_t number = 0;
	int err;

	*result = (struct pfs_replay_result){0};
	if (journal->live)
		result->first_seq = journal->live->first_seq;
	for (segment = journal->live; segment; segment = segment->next) {
		if (number && !goes_on(journal, &replay, number, segment))
			break;
		number = segment->number;
		replay.expected = segment->first_seq;
		err = replay_segment(journal, &replay, segment);
		if (err)
			return err;
		journal->last = segment;
	}
	for (; segment; segment = next) {
		next = segment->next;
		pfs_segment_retire(journal, segment);
	}
	if (journal->last && number)
		journal->last->next = NULL;
	else
		journal->live = NULL;
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
