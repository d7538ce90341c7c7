/* Appending, recycling. */
#include <stdio.h>

#include "storage/journal_internal.h"

/* ---- append ---- */

/* How many spare segments a use must leave (J6). */
enum { KEEP_NORMAL = 2, KEEP_PRIVILEGED = 1, KEEP_ROTATE = 0 };

static int end_active(struct pfs_journal *journal);

/* A spare segment for a use that leaves `keep` others. Where there is none yet, what is privileged
 * makes the others, too, while there is room: short ones, if need be. */
static int make_spares(struct pfs_journal *journal, unsigned keep)
{
	bool privileged = keep < KEEP_NORMAL;
	int err = journal->spare_count <= keep ? pfs_segment_create(journal, privileged) : 0;

	while (!err && privileged && journal->spare_count <= keep)
		err = pfs_segment_create(journal, true);
	return err;
}

/* Ends the active segment, if there is one, and begins the next, whose header is durable before: an
 * END record without a next segment is damage. */
static int next_segment(struct pfs_journal *journal, unsigned keep)
{
	struct pfs_segment *segment = journal->ready;
	int err = 0;

	if (!segment) {
		err = make_spares(journal, keep);
		if (err)
			return err;
		journal->ready = segment = journal->spare;
		journal->spare = segment->next;
		journal->spare_count--;
		segment->next = NULL;
	}
	err = pfs_segment_begin(journal, segment);
	if (!err)
		err = end_active(journal);
	if (err)
		return err;
	journal->ready = NULL;
	pfs_segment_activate(journal, segment);
	return 0;
}

static bool fits_active(const struct pfs_journal *journal, size_t len)
{
	const struct pfs_segment *last = journal->last;

	return last && !last->full &&
	       last->used + journal->held_len + len + PFS_RECORD_LEN_MIN <= last->room;
}

/* Makes sure that the active segment has room for len bytes and its END record behind them. */
static int make_active(struct pfs_journal *journal, size_t len, bool privileged)
{
	int err;

	if (fits_active(journal, len))
		return 0;
	/* What is held has its place in this one. */
	if (journal->holding)
		return -ENOBUFS;
	err = next_segment(journal, privileged ? KEEP_PRIVILEGED : KEEP_NORMAL);
	return err || fits_active(journal, len) ? err : -ENOSPC;
}

/* A write to the journal failed and may be there in part or whole: nothing of it must be found by a
 * replay, neither where it begins nor behind that. */
static void forget_write(struct pfs_journal *journal, struct pfs_segment *segment, size_t len)
{
	static const uint8_t zeros[4096];
	int err = 0;

	for (size_t at = 0; at < len && !err; at += sizeof(zeros))
		err = segment->file->ops->write(segment->file, zeros,
						pfs_min_u64(len - at, sizeof(zeros)),
						segment->used + at);
	if (err)
		__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
}

/* Fills in the header of the record of len bytes at `off` of the buffer: as far behind what is
 * written it will stand. */
static void seal(struct pfs_journal *journal, unsigned type, unsigned flags, size_t off, size_t len,
		 struct pfs_journal_pos *pos)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)(journal->buf + off);
	struct pfs_segment *segment = journal->last;

	*pos = (struct pfs_journal_pos){segment, segment->used + off, len,
					pfs_journal_next(journal)};
	memset(head, 0, sizeof(*head));
	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le64(head->seq.b, pos->seq);
	pfs_put_le64(head->durable.b, pfs_journal_durable(journal));
	head->type = (uint8_t)type;
	head->flags = (uint8_t)flags;
	pfs_put_le32(head->crc.b,
		     pfs_record_crc(pfs_record_seed(journal, segment), journal->buf + off, len));
}

/* Writes the records, `count` of them, that are at the beginning of the buffer. */
static int write_sealed(struct pfs_journal *journal, size_t len, uint64_t count)
{
	struct pfs_segment *segment = journal->last;
	int err = segment->file->ops->write(segment->file, journal->buf, len, segment->used);

	if (err) {
		forget_write(journal, segment, len);
		return err;
	}
	pthread_mutex_lock(&journal->lock);
	segment->used += len;
	__atomic_store_n(&journal->appended, journal->appended + count, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

int pfs_journal_append(struct pfs_journal *journal, unsigned type, unsigned flags,
		       const struct iovec *parts, unsigned part_count, bool privileged,
		       struct pfs_journal_pos *pos)
{
	size_t len = PFS_RECORD_HEADER_LEN, off = journal->held_len, padded;
	int err;

	if (journal->read_only || pfs_journal_has_failed(journal))
		return -EROFS;
	/* Only a forged store comes to the end of the sequences. */
	if (pfs_journal_next(journal) > PFS_SEQ_MAX)
		return -EOVERFLOW;
	for (unsigned i = 0; i < part_count; i++)
		len += parts[i].iov_len;
	padded = pfs_max_u64(pfs_round_up(len, 8), PFS_RECORD_LEN_MIN);
	if (PFS_NEVER(journal->logger, padded > PFS_RECORD_LEN_MAX))
		return -EINVAL;
	err = make_active(journal, padded, privileged);
	if (!err)
		err = pfs_journal_room(journal, off + padded);
	if (err)
		return err;
	len = off + PFS_RECORD_HEADER_LEN;
	for (unsigned i = 0; i < part_count; i++) {
		if (parts[i].iov_len)
			memcpy(journal->buf + len, parts[i].iov_base, parts[i].iov_len);
		len += parts[i].iov_len;
	}
	memset(journal->buf + len, 0, off + padded - len);
	seal(journal, type, flags, off, padded, pos);
	if (!journal->holding)
		return write_sealed(journal, padded, 1);
	journal->held_len += padded;
	journal->held_count++;
	return 0;
}

void pfs_journal_hold(struct pfs_journal *journal)
{
	journal->holding = true;
}

int pfs_journal_release(struct pfs_journal *journal)
{
	size_t len = journal->held_len;
	uint64_t count = journal->held_count;

	journal->holding = false;
	journal->held_len = 0;
	journal->held_count = 0;
	return count ? write_sealed(journal, len, count) : 0;
}

static int end_active(struct pfs_journal *journal)
{
	struct pfs_journal_pos pos;
	int err;

	if (!journal->last || journal->last->full)
		return 0;
	err = pfs_journal_room(journal, PFS_RECORD_LEN_MIN);
	if (!err) {
		memset(journal->buf, 0, PFS_RECORD_LEN_MIN);
		/* It has a sequence, and is not counted: the next record has the same. */
		seal(journal, PFS_RECORD_END, 0, 0, PFS_RECORD_LEN_MIN, &pos);
		err = write_sealed(journal, PFS_RECORD_LEN_MIN, 0);
	}
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

uint64_t pfs_journal_next(const struct pfs_journal *journal)
{
	return journal->appended + journal->held_count + 1;
}

uint64_t pfs_journal_appended(const struct pfs_journal *journal)
{
	return __atomic_load_n(&journal->appended, __ATOMIC_ACQUIRE);
}

uint64_t pfs_journal_durable(const struct pfs_journal *journal)
{
	return __atomic_load_n(&journal->durable, __ATOMIC_ACQUIRE);
}

bool pfs_journal_has_failed(const struct pfs_journal *journal)
{
	return __atomic_load_n(&journal->failed, __ATOMIC_ACQUIRE);
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
	return pfs_segment_write_header(journal, journal->last, journal->live->number);
}

int pfs_journal_sync_declared(struct pfs_journal *journal)
{
	return pfs_file_sync(journal->declared->file);
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
		pfs_segment_retire(journal, segment);
	}
}

int pfs_journal_rewrite(struct pfs_journal *journal)
{
	size_t step = 256 * PFS_KIB;
	int err = pfs_journal_room(journal, step);

	for (struct pfs_segment *s = journal->live; s && !err; s = s->next) {
		for (uint64_t off = 0; off < s->used && !err; off += step) {
			size_t len = pfs_min_u64(step, s->used - off);

			err = pfs_map_copy(journal->buf, s->map + off, len);
			if (!err)
				err = s->file->ops->write(s->file, journal->buf, len, off);
		}
		if (!err)
			err = pfs_file_sync(s->file);
	}
	return err ? err : pfs_dir_sync(journal->dir);
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
	    pfs_record_crc(pfs_record_seed(journal, segment), buf, len) !=
		    pfs_get_le32(head->crc.b))
		return -EUCLEAN;
	return 0;
}

int pfs_journal_trim_unlocked(struct pfs_journal *journal, unsigned keep,
			      void (*lock)(void *arg, bool on), void *arg)
{
	int err = 0;

	while (!err) {
		struct pfs_segment *segment;
		unsigned index;
		char name[32];

		lock(arg, true);
		segment = journal->spare_count > keep ? journal->spare : NULL;
		if (segment) {
			journal->spare = segment->next;
			journal->spare_count--;
		}
		lock(arg, false);
		if (!segment)
			return 0;
		index = segment->file_index;
		pfs_segment_free(segment);
		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, index);
		err = journal->dir->ops->unlink(journal->dir, name);
		lock(arg, true);
		if (!err)
			pfs_segment_use_index(journal, index, false);
		lock(arg, false);
	}
	return err;
}

static void no_lock(void *arg, bool on)
{
	(void)arg;
	(void)on;
}

int pfs_journal_trim(struct pfs_journal *journal, unsigned keep)
{
	return pfs_journal_trim_unlocked(journal, keep, no_lock, NULL);
}

struct pfs_segment *pfs_journal_oldest(const struct pfs_journal *journal)
{
	return journal->live;
}

void pfs_journal_discard(struct pfs_journal *journal)
{
	pfs_journal_reuse(journal);
	if (journal->ready)
		pfs_segment_retire(journal, journal->ready);
	journal->ready = NULL;
	while (journal->live) {
		struct pfs_segment *segment = journal->live;

		journal->live = segment->next;
		pfs_segment_retire(journal, segment);
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
	struct pfs_segment *lists[] = {journal->live, journal->spare, journal->dead,
				       journal->ready};
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

unsigned pfs_journal_spares(const struct pfs_journal *journal)
{
	return journal->spare_count;
}

int pfs_journal_prepare(struct pfs_journal *journal, unsigned spare)
{
	int err = 0;

	while (journal->spare_count < spare && !err)
		err = pfs_segment_create(journal, false);
	return err;
}
