#include "storage/journal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/crc.h"

#define SEGMENT_FILES_MAX 0x10000u
#define HEADER_CRC_AT 12
#define PARTS_MAX 8

struct pfs_journal {
	struct pfs_dir *dir;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t epoch;
	bool read_only;
	const struct pfs_logger *logger;

	/* Commit lock. */
	struct pfs_segment *live, *last; /* ascending numbers; last may be active */
	struct pfs_segment *spare;
	unsigned spare_count;
	struct pfs_segment *dead;     /* declared so by a header that may not be durable yet */
	struct pfs_segment *declared; /* whose header says so */
	uint64_t next_number;
	uint64_t epoch_seen, clean_epoch;
	uint64_t live_bytes;
	uint8_t *buf;
	size_t buf_cap;
	uint8_t file_used[SEGMENT_FILES_MAX / 8];

	pthread_mutex_t lock; /* innermost: what append and sync share */
	pthread_cond_t synced;
	uint64_t appended; /* written under both locks */
	uint64_t durable;  /* atomic for readers without the lock */
	bool syncing, failed;
	const struct pfs_segment *in_sync; /* its file is being synced, without the lock */
	bool dir_dirty;			   /* a segment file was made and its name not yet synced */
};

static uint32_t record_seed(const struct pfs_journal *journal, const struct pfs_segment *segment)
{
	uint8_t seed[16 + PFS_UUID_LEN];

	pfs_put_le64(seed, segment->epoch);
	pfs_put_le64(seed + 8, segment->number);
	memcpy(seed + 16, journal->uuid, PFS_UUID_LEN);
	return pfs_crc32c(0, seed, sizeof(seed));
}

static uint32_t record_crc(uint32_t seed, const uint8_t *bytes, size_t len)
{
	return pfs_crc32c(pfs_crc32c(seed, bytes, 4), bytes + 8, len - 8);
}

/* ---- segments ---- */

static void segment_free(struct pfs_segment *segment)
{
	if (segment->map)
		segment->file->ops->unmap(segment->file, segment->map, PFS_SEGMENT_SIZE);
	segment->file->ops->close(segment->file);
	free(segment);
}

static int segment_open(struct pfs_journal *journal, unsigned index, bool create,
			struct pfs_segment **out)
{
	unsigned flags = journal->read_only ? 0 : PFS_IO_WRITE;
	struct pfs_segment *segment;
	char name[32];
	int err;

	*out = NULL;
	segment = calloc(1, sizeof(*segment));
	if (!segment)
		return -ENOMEM;
	snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, index);
	err = journal->dir->ops->open(journal->dir, name, flags | (create ? PFS_IO_CREATE : 0),
				      &segment->file);
	if (err) {
		free(segment);
		return err;
	}
	segment->file_index = index;
	if (create)
		err = segment->file->ops->allocate(segment->file, 0, PFS_SEGMENT_SIZE);
	if (!err)
		err = segment->file->ops->map(segment->file, PFS_SEGMENT_SIZE, &segment->map);
	if (err) {
		segment_free(segment);
		if (create)
			journal->dir->ops->unlink(journal->dir, name);
		return err;
	}
	journal->file_used[index / 8] |= (uint8_t)(1u << (index % 8));
	*out = segment;
	return 0;
}

static int segment_create(struct pfs_journal *journal)
{
	struct pfs_segment *segment;
	unsigned index = 0;
	int err;

	while (index < SEGMENT_FILES_MAX && (journal->file_used[index / 8] >> (index % 8) & 1))
		index++;
	if (index == SEGMENT_FILES_MAX)
		return -ENOSPC;
	err = segment_open(journal, index, true, &segment);
	if (err)
		return err;
	segment->next = journal->spare;
	journal->spare = segment;
	journal->spare_count++;
	pthread_mutex_lock(&journal->lock);
	journal->dir_dirty = true;
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

static void segment_retire(struct pfs_journal *journal, struct pfs_segment *segment)
{
	segment->next = journal->spare;
	segment->full = false;
	segment->pins = 0;
	journal->spare = segment;
	journal->spare_count++;
}

/* Reads a segment's header. False: it is none of this store's, or torn; then it holds nothing. */
static bool segment_header(struct pfs_journal *journal, struct pfs_segment *segment,
			   uint64_t *oldest_live)
{
	struct pfs_segment_disk disk;

	if (pfs_map_copy(&disk, segment->map, sizeof(disk)) != 0 ||
	    memcmp(disk.magic, PFS_SEGMENT_MAGIC, sizeof(disk.magic)) != 0 ||
	    pfs_get_le32(disk.crc.b) !=
		    pfs_crc32c(0, (uint8_t *)&disk + HEADER_CRC_AT, sizeof(disk) - HEADER_CRC_AT) ||
	    memcmp(disk.uuid, journal->uuid, PFS_UUID_LEN) != 0)
		return false;
	segment->number = pfs_get_le64(disk.number.b);
	segment->first_seq = pfs_get_le64(disk.first_seq.b);
	segment->epoch = pfs_get_le64(disk.open_epoch.b);
	*oldest_live = pfs_get_le64(disk.oldest_live.b);
	return segment->number != 0;
}

static int segment_write_header(struct pfs_journal *journal, struct pfs_segment *segment,
				uint64_t oldest_live)
{
	struct pfs_segment_disk disk = {0};

	memcpy(disk.magic, PFS_SEGMENT_MAGIC, sizeof(disk.magic));
	pfs_put_le64(disk.number.b, segment->number);
	pfs_put_le64(disk.first_seq.b, segment->first_seq);
	pfs_put_le64(disk.oldest_live.b, oldest_live);
	pfs_put_le64(disk.open_epoch.b, segment->epoch);
	memcpy(disk.uuid, journal->uuid, PFS_UUID_LEN);
	pfs_put_le32(disk.crc.b,
		     pfs_crc32c(0, (uint8_t *)&disk + HEADER_CRC_AT, sizeof(disk) - HEADER_CRC_AT));
	return segment->file->ops->write(segment->file, &disk, sizeof(disk), 0);
}

static int segment_begin(struct pfs_journal *journal, struct pfs_segment *segment)
{
	int err;

	segment->number = journal->next_number;
	segment->first_seq = journal->appended + 1;
	segment->epoch = journal->epoch;
	err = segment_write_header(journal, segment,
				   journal->live ? journal->live->number : segment->number);
	if (err)
		return err;
	segment->full = false;
	segment->pins = 0;
	pthread_mutex_lock(&journal->lock);
	segment->next = NULL;
	segment->used = PFS_SEGMENT_DATA;
	segment->synced = 0;
	if (journal->last)
		journal->last->next = segment;
	else
		journal->live = segment;
	journal->last = segment;
	pthread_mutex_unlock(&journal->lock);
	journal->next_number++;
	journal->live_bytes += PFS_SEGMENT_SIZE;
	return 0;
}

/* ---- opening and replay ---- */

static int found_file(void *arg, const char *name)
{
	struct pfs_journal *journal = arg;
	struct pfs_segment *segment;
	unsigned index;
	char canonical[32], rest;
	uint64_t size;
	int err;

	if (sscanf(name, "journal-%4x%c", &index, &rest) != 1 || index >= SEGMENT_FILES_MAX)
		return 0;
	snprintf(canonical, sizeof(canonical), PFS_SEGMENT_NAME_FMT, index);
	if (strcmp(name, canonical) != 0)
		return 0;
	err = segment_open(journal, index, false, &segment);
	if (err)
		return err;
	err = segment->file->ops->size(segment->file, &size);
	if (err) {
		segment_free(segment);
		return err;
	}
	/* One that was being made when the power went: it can't hold anything, and is made whole.
	 */
	if (size < PFS_SEGMENT_SIZE && !journal->read_only)
		err = segment->file->ops->allocate(segment->file, 0, PFS_SEGMENT_SIZE);
	segment->name_synced = true;
	segment_retire(journal, segment);
	return err;
}

/* Sorts segments with valid headers into the live list; returns the oldest that the newest header
 * calls live. */
static uint64_t sort_live(struct pfs_journal *journal)
{
	struct pfs_segment **at = &journal->spare;
	uint64_t newest = 0, oldest_live = 0, oldest;

	while (*at) {
		struct pfs_segment *segment = *at, **place = &journal->live;

		if (!segment_header(journal, segment, &oldest)) {
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
		segment_retire(journal, dead);
	}
	count_live(journal);
	*out = journal;
	return 0;
}

void pfs_journal_close(struct pfs_journal *journal)
{
	struct pfs_segment *lists[3];

	if (!journal)
		return;
	lists[0] = journal->live;
	lists[1] = journal->spare;
	lists[2] = journal->dead;
	for (unsigned i = 0; i < pfs_array_len(lists); i++) {
		while (lists[i]) {
			struct pfs_segment *next = lists[i]->next;

			segment_free(lists[i]);
			lists[i] = next;
		}
	}
	pthread_mutex_destroy(&journal->lock);
	pthread_cond_destroy(&journal->synced);
	free(journal->buf);
	free(journal);
}

static int buf_room(struct pfs_journal *journal, size_t len)
{
	uint8_t *buf;

	if (len <= journal->buf_cap)
		return 0;
	buf = realloc(journal->buf, len);
	if (!buf)
		return -ENOMEM;
	journal->buf = buf;
	journal->buf_cap = len;
	return 0;
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
	err = buf_room(journal, *len);
	if (!err)
		err = pfs_map_copy(journal->buf, segment->map + off, *len);
	if (err)
		return err;
	return record_crc(record_seed(journal, segment), journal->buf, *len) ==
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

/* Behind a record that does not verify: looks for one that says the missing ones were durable (O7).
 * Returns its offset, or 0. */
static uint64_t proof_of_damage(struct pfs_journal *journal, const struct pfs_segment *segment,
				uint64_t off, uint64_t expected)
{
	for (off += 8; off + PFS_RECORD_LEN_MIN <= PFS_SEGMENT_SIZE; off += 8) {
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
		segment_retire(journal, segment);
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

/* ---- append ---- */

/* How many spare segments a use must leave (J6). */
enum { KEEP_NORMAL = 2, KEEP_PRIVILEGED = 1, KEEP_ROTATE = 0 };

static int end_active(struct pfs_journal *journal);

/* Ends the active segment, if there is one, and begins the next. */
static int next_segment(struct pfs_journal *journal, unsigned keep)
{
	struct pfs_segment *segment;
	int err = 0;

	if (journal->spare_count <= keep)
		err = segment_create(journal);
	if (err)
		return err;
	err = end_active(journal);
	if (err)
		return err;
	segment = journal->spare;
	journal->spare = segment->next;
	journal->spare_count--;
	err = segment_begin(journal, segment);
	if (err)
		segment_retire(journal, segment);
	return err;
}

/* Makes sure that the active segment has room for len bytes and its END record behind them. */
static int make_active(struct pfs_journal *journal, size_t len, bool privileged)
{
	if (journal->last && !journal->last->full &&
	    journal->last->used + len + PFS_RECORD_LEN_MIN <= PFS_SEGMENT_SIZE)
		return 0;
	return next_segment(journal, privileged ? KEEP_PRIVILEGED : KEEP_NORMAL);
}

/* A write to the journal failed and may be there in part or whole: it must not be found by a
 * replay. */
static void forget_write(struct pfs_journal *journal, struct pfs_segment *segment, int err)
{
	static const uint8_t zeros[PFS_RECORD_HEADER_LEN];

	if (segment->file->ops->write(segment->file, zeros, sizeof(zeros), segment->used) == 0)
		return;
	pfs_logf(journal->logger, PFS_LOG_ERROR,
		 "journal: a failed write (%s) can't be undone; the store is read-only until it is "
		 "opened again",
		 strerror(-err));
	__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
}

/* Writes the assembled record of len bytes at the end of the active segment. */
static int append_assembled(struct pfs_journal *journal, unsigned type, unsigned flags, size_t len,
			    struct pfs_journal_pos *pos)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)journal->buf;
	struct pfs_segment *segment = journal->last;
	int err;

	memset(head, 0, sizeof(*head));
	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le64(head->seq.b, journal->appended + 1);
	pfs_put_le64(head->durable.b, pfs_journal_durable(journal));
	head->type = (uint8_t)type;
	head->flags = (uint8_t)flags;
	pfs_put_le32(head->crc.b, record_crc(record_seed(journal, segment), journal->buf, len));
	err = segment->file->ops->write(segment->file, journal->buf, len, segment->used);
	if (err) {
		forget_write(journal, segment, err);
		return err;
	}
	pos->segment = segment;
	pos->off = segment->used;
	pos->len = len;
	pos->seq = journal->appended + 1;
	pthread_mutex_lock(&journal->lock);
	segment->used += len;
	if (type != PFS_RECORD_END)
		journal->appended++;
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

int pfs_journal_append(struct pfs_journal *journal, unsigned type, unsigned flags,
		       const struct iovec *parts, unsigned part_count, bool privileged,
		       struct pfs_journal_pos *pos)
{
	size_t len = PFS_RECORD_HEADER_LEN, padded;
	int err;

	if (journal->read_only || __atomic_load_n(&journal->failed, __ATOMIC_ACQUIRE))
		return -EROFS;
	for (unsigned i = 0; i < part_count; i++)
		len += parts[i].iov_len;
	padded = pfs_max_u64(pfs_round_up(len, 8), PFS_RECORD_LEN_MIN);
	if (PFS_NEVER(journal->logger, padded > PFS_RECORD_LEN_MAX))
		return -EINVAL;
	err = make_active(journal, padded, privileged);
	if (!err)
		err = buf_room(journal, padded);
	if (err)
		return err;
	len = PFS_RECORD_HEADER_LEN;
	for (unsigned i = 0; i < part_count; i++) {
		if (parts[i].iov_len)
			memcpy(journal->buf + len, parts[i].iov_base, parts[i].iov_len);
		len += parts[i].iov_len;
	}
	memset(journal->buf + len, 0, padded - len);
	return append_assembled(journal, type, flags, padded, pos);
}

static int end_active(struct pfs_journal *journal)
{
	struct pfs_journal_pos pos;
	int err;

	if (!journal->last || journal->last->full)
		return 0;
	err = buf_room(journal, PFS_RECORD_LEN_MIN);
	if (err)
		return err;
	memset(journal->buf, 0, PFS_RECORD_LEN_MIN);
	err = append_assembled(journal, PFS_RECORD_END, 0, PFS_RECORD_LEN_MIN, &pos);
	if (!err)
		journal->last->full = true;
	return err;
}

int pfs_journal_rotate(struct pfs_journal *journal)
{
	if (journal->last && !journal->last->full && journal->last->used == PFS_SEGMENT_DATA)
		return 0;
	return next_segment(journal, KEEP_ROTATE);
}

uint64_t pfs_journal_active(const struct pfs_journal *journal)
{
	return journal->last && !journal->last->full ? journal->last->number : journal->next_number;
}

uint64_t pfs_journal_appended(const struct pfs_journal *journal)
{
	return journal->appended;
}

uint64_t pfs_journal_durable(const struct pfs_journal *journal)
{
	return __atomic_load_n(&journal->durable, __ATOMIC_ACQUIRE);
}

/* ---- group commit ---- */

/* The oldest live segment with a number in [from, to] that has bytes which are not synced. Lock. */
static struct pfs_segment *unsynced(const struct pfs_journal *journal, uint64_t from, uint64_t to)
{
	struct pfs_segment *segment = journal->live;

	while (segment && (segment->number < from || segment->synced >= segment->used))
		segment = segment->next;
	return segment && segment->number <= to ? segment : NULL;
}

/* Syncs segments in order up to what was appended when it began. Called by the one leader, without
 * the lock. A segment can be declared dead meanwhile, so each is looked for anew. */
static int sync_segments(struct pfs_journal *journal, uint64_t *target)
{
	struct pfs_segment *segment;
	uint64_t to, from = 0;
	bool dir_dirty;
	int err = 0;

	pthread_mutex_lock(&journal->lock);
	*target = journal->appended;
	to = journal->last ? journal->last->number : 0;
	dir_dirty = journal->dir_dirty;
	journal->dir_dirty = false;
	while (!err && (segment = unsynced(journal, from, to)) != NULL) {
		uint64_t used = segment->used;

		from = segment->number + 1;
		journal->in_sync = segment;
		pthread_mutex_unlock(&journal->lock);
		err = segment->file->ops->sync(segment->file);
		pthread_mutex_lock(&journal->lock);
		journal->in_sync = NULL;
		if (!err)
			segment->synced = used;
	}
	pthread_mutex_unlock(&journal->lock);
	if (!err && dir_dirty)
		err = journal->dir->ops->sync_dir(journal->dir);
	return err;
}

int pfs_journal_sync(struct pfs_journal *journal, uint64_t seq)
{
	int err = 0;

	pthread_mutex_lock(&journal->lock);
	seq = pfs_min_u64(seq, journal->appended);
	while (!journal->failed && journal->durable < seq) {
		uint64_t target;

		if (journal->syncing) {
			pthread_cond_wait(&journal->synced, &journal->lock);
			continue;
		}
		journal->syncing = true;
		pthread_mutex_unlock(&journal->lock);
		err = sync_segments(journal, &target);
		pthread_mutex_lock(&journal->lock);
		journal->syncing = false;
		if (err)
			__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
		else
			__atomic_store_n(&journal->durable, target, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&journal->synced);
	}
	if (journal->failed)
		err = -EIO;
	pthread_mutex_unlock(&journal->lock);
	return err;
}

/* ---- recycling ---- */

int pfs_journal_declare(struct pfs_journal *journal, uint64_t below)
{
	struct pfs_segment *segment, **end = &journal->dead;
	int err = 0;

	if (!journal->last || journal->last->full)
		err = next_segment(journal, KEEP_ROTATE);
	if (err)
		return err;
	while (*end)
		end = &(*end)->next;
	while ((segment = journal->live) != journal->last && segment->number < below &&
	       !segment->pins) {
		pthread_mutex_lock(&journal->lock);
		journal->live = segment->next;
		pthread_mutex_unlock(&journal->lock);
		segment->next = NULL;
		*end = segment;
		end = &segment->next;
		journal->live_bytes -= PFS_SEGMENT_SIZE;
	}
	journal->declared = journal->last;
	return segment_write_header(journal, journal->last, journal->live->number);
}

int pfs_journal_sync_declared(struct pfs_journal *journal)
{
	struct pfs_segment *segment = journal->declared;
	int err = segment->file->ops->sync(segment->file);

	if (!err && !segment->name_synced) {
		err = journal->dir->ops->sync_dir(journal->dir);
		segment->name_synced = !err;
	}
	return err;
}

void pfs_journal_reuse(struct pfs_journal *journal)
{
	struct pfs_segment **at = &journal->dead;

	while (*at) {
		struct pfs_segment *segment = *at;
		bool busy;

		/* Its file must not be closed or begun anew under a sync; the next reuse takes it.
		 */
		pthread_mutex_lock(&journal->lock);
		busy = journal->in_sync == segment;
		pthread_mutex_unlock(&journal->lock);
		if (busy) {
			at = &segment->next;
			continue;
		}
		*at = segment->next;
		segment_retire(journal, segment);
	}
}

int pfs_journal_rewrite(struct pfs_journal *journal)
{
	size_t step = 256 * PFS_KIB;
	int err = buf_room(journal, step);

	for (struct pfs_segment *s = journal->live; s && !err; s = s->next) {
		for (uint64_t off = 0; off < s->used && !err; off += step) {
			size_t len = pfs_min_u64(step, s->used - off);

			err = pfs_map_copy(journal->buf, s->map + off, len);
			if (!err)
				err = s->file->ops->write(s->file, journal->buf, len, off);
		}
		if (!err)
			err = s->file->ops->sync(s->file);
	}
	return err ? err : journal->dir->ops->sync_dir(journal->dir);
}

uint64_t pfs_journal_epoch_seen(const struct pfs_journal *journal)
{
	return journal->epoch_seen;
}

void pfs_journal_set_epoch(struct pfs_journal *journal, uint64_t epoch)
{
	journal->epoch = epoch;
}

int pfs_journal_read(const struct pfs_journal *journal, const struct pfs_segment *segment,
		     uint64_t off, void *buf, size_t len)
{
	const struct pfs_record_disk *head = buf;
	int err;

	if (off > PFS_SEGMENT_SIZE || len > PFS_SEGMENT_SIZE - off || len < PFS_RECORD_LEN_MIN)
		return -EUCLEAN;
	err = pfs_map_copy(buf, segment->map + off, len);
	if (err)
		return err;
	if (pfs_get_le32(head->len.b) != len ||
	    record_crc(record_seed(journal, segment), buf, len) != pfs_get_le32(head->crc.b))
		return -EUCLEAN;
	return 0;
}

int pfs_journal_trim(struct pfs_journal *journal, unsigned keep)
{
	int err = 0;

	while (journal->spare_count > keep && !err) {
		struct pfs_segment *segment = journal->spare;
		unsigned index = segment->file_index;
		char name[32];

		journal->spare = segment->next;
		journal->spare_count--;
		segment_free(segment);
		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, index);
		err = journal->dir->ops->unlink(journal->dir, name);
		if (!err)
			journal->file_used[index / 8] &= (uint8_t) ~(1u << (index % 8));
	}
	return err;
}

struct pfs_segment *pfs_journal_oldest(const struct pfs_journal *journal)
{
	return journal->live;
}

void pfs_journal_discard(struct pfs_journal *journal)
{
	pfs_journal_reuse(journal);
	while (journal->live) {
		struct pfs_segment *segment = journal->live;

		journal->live = segment->next;
		segment_retire(journal, segment);
	}
	journal->last = NULL;
	journal->live_bytes = 0;
	/* A file that can't be removed does no harm. */
	(void)pfs_journal_trim(journal, 0);
	journal->read_only = true;
}

uint64_t pfs_journal_live_bytes(const struct pfs_journal *journal)
{
	return journal->live_bytes;
}

int pfs_journal_disk_bytes(struct pfs_journal *journal, uint64_t *out)
{
	struct pfs_segment *lists[] = {journal->live, journal->spare, journal->dead};
	uint64_t bytes;
	int err;

	*out = 0;
	for (unsigned i = 0; i < pfs_array_len(lists); i++) {
		for (struct pfs_segment *s = lists[i]; s; s = s->next) {
			err = s->file->ops->disk_usage(s->file, &bytes);
			if (err)
				return err;
			*out += bytes;
		}
	}
	return 0;
}

int pfs_journal_prepare(struct pfs_journal *journal, unsigned spare)
{
	int err = 0;

	while (journal->spare_count < spare && !err)
		err = segment_create(journal);
	return err;
}
