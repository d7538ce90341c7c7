/* Segments of the journal: their files, headers and checksums. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/journal_internal.h"

#define HEADER_CRC_AT 12

uint32_t pfs_record_seed(const struct pfs_journal *journal, const struct pfs_segment *segment)
{
	uint8_t seed[16 + PFS_UUID_LEN];

	pfs_put_le64(seed, segment->epoch);
	pfs_put_le64(seed + 8, segment->number);
	memcpy(seed + 16, journal->uuid, PFS_UUID_LEN);
	return pfs_crc32c(0, seed, sizeof(seed));
}

/* ---- segments ---- */

void pfs_segment_free(struct pfs_segment *segment)
{
	if (segment->map)
		segment->file->ops->unmap(segment->file, segment->map, PFS_SEGMENT_SIZE);
	segment->file->ops->close(segment->file);
	free(segment);
}

/* Gives the segment its blocks and its length. On a full disk a failed attempt may have taken what
 * there was: all behind the short length goes back. */
static int allocate(struct pfs_segment *segment, bool may_be_short)
{
	struct pfs_file *file = segment->file;
	int err = file->ops->allocate(file, 0, PFS_SEGMENT_SIZE);

	segment->room = err ? 0 : PFS_SEGMENT_SIZE;
	if (err != -ENOSPC || !may_be_short)
		return err;
	err = file->ops->truncate(file, PFS_SEGMENT_SHORT);
	if (!err)
		err = file->ops->allocate(file, 0, PFS_SEGMENT_SHORT);
	if (!err)
		err = file->ops->truncate(file, PFS_SEGMENT_SIZE);
	segment->room = err ? 0 : PFS_SEGMENT_SHORT;
	return err;
}

int pfs_segment_open(struct pfs_journal *journal, unsigned index, bool create, bool may_be_short,
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
		err = allocate(segment, may_be_short);
	if (!err)
		err = segment->file->ops->size(segment->file, &segment->size);
	if (!err)
		err = segment->file->ops->map(segment->file, PFS_SEGMENT_SIZE, &segment->map);
	if (err) {
		pfs_segment_free(segment);
		if (create)
			journal->dir->ops->unlink(journal->dir, name);
		return err;
	}
	*out = segment;
	return 0;
}

/* A number for a segment's file, which is taken from now on. -ENOSPC. */
static int take_index(struct pfs_journal *journal, unsigned *index)
{
	*index = 0;
	while (*index < SEGMENT_FILES_MAX && pfs_segment_index_is_used(journal, *index))
		++*index;
	if (*index == SEGMENT_FILES_MAX)
		return -ENOSPC;
	pfs_segment_use_index(journal, *index, true);
	return 0;
}

static void add_spare(struct pfs_journal *journal, struct pfs_segment *segment)
{
	segment->next = journal->spare;
	journal->spare = segment;
	journal->spare_count++;
}

int pfs_segment_create(struct pfs_journal *journal, bool may_be_short)
{
	struct pfs_segment *segment;
	unsigned index;
	int err = take_index(journal, &index);

	if (err)
		return err;
	err = pfs_segment_open(journal, index, true, may_be_short, &segment);
	if (err)
		pfs_segment_use_index(journal, index, false);
	else
		add_spare(journal, segment);
	return err;
}

void pfs_segment_retire(struct pfs_journal *journal, struct pfs_segment *segment)
{
	segment->full = false;
	segment->pins = 0;
	add_spare(journal, segment);
}

bool pfs_segment_decode(struct pfs_segment *segment, uint64_t *oldest_live,
			const struct pfs_segment_disk *disk, const uint8_t uuid[PFS_UUID_LEN])
{
	if (memcmp(disk->magic, PFS_SEGMENT_MAGIC, sizeof(disk->magic)) != 0 ||
	    pfs_get_le32(disk->crc.b) != pfs_crc32c(0, (const uint8_t *)disk + HEADER_CRC_AT,
						    sizeof(*disk) - HEADER_CRC_AT) ||
	    memcmp(disk->uuid, uuid, PFS_UUID_LEN) != 0)
		return false;
	segment->number = pfs_get_le64(disk->number.b);
	segment->first_seq = pfs_get_le64(disk->first_seq.b);
	segment->epoch = pfs_get_le64(disk->open_epoch.b);
	*oldest_live = pfs_get_le64(disk->oldest_live.b);
	return segment->number != 0 && segment->number <= PFS_SEGMENT_NUMBER_MAX &&
	       segment->first_seq <= PFS_SEQ_MAX && segment->epoch <= PFS_EPOCH_MAX &&
	       *oldest_live <= segment->number;
}

bool pfs_segment_header(struct pfs_journal *journal, struct pfs_segment *segment,
			uint64_t *oldest_live)
{
	bool found = false;

	*oldest_live = 0;
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++) {
		struct pfs_segment_disk disk;
		struct pfs_segment copy = {0};
		uint64_t oldest, off = (uint64_t)i * PFS_SEGMENT_STRIDE;

		if (off + sizeof(disk) > segment->size ||
		    pfs_map_copy(&disk, segment->map + off, sizeof(disk)) != 0 ||
		    !pfs_segment_decode(&copy, &oldest, &disk, journal->uuid))
			continue;
		/* A write that was cut off may have left one of them as it was. */
		if (found && (copy.number < segment->number ||
			      (copy.number == segment->number && oldest <= *oldest_live)))
			continue;
		segment->number = copy.number;
		segment->first_seq = copy.first_seq;
		segment->epoch = copy.epoch;
		*oldest_live = oldest;
		found = true;
	}
	return found;
}

int pfs_segment_write_header(struct pfs_journal *journal, struct pfs_segment *segment,
			     uint64_t oldest_live)
{
	uint8_t block[PFS_SEGMENT_STRIDE + sizeof(struct pfs_segment_disk)] = {0};
	struct pfs_segment_disk *disk = (struct pfs_segment_disk *)block;

	memcpy(disk->magic, PFS_SEGMENT_MAGIC, sizeof(disk->magic));
	pfs_put_le64(disk->number.b, segment->number);
	pfs_put_le64(disk->first_seq.b, segment->first_seq);
	pfs_put_le64(disk->oldest_live.b, oldest_live);
	pfs_put_le64(disk->open_epoch.b, segment->epoch);
	memcpy(disk->uuid, journal->uuid, PFS_UUID_LEN);
	pfs_put_le32(disk->crc.b,
		     pfs_crc32c(0, block + HEADER_CRC_AT, sizeof(*disk) - HEADER_CRC_AT));
	memcpy(block + PFS_SEGMENT_STRIDE, disk, sizeof(*disk));
	return segment->file->ops->write(segment->file, block, sizeof(block), 0);
}

static int sync_segment(struct pfs_journal *journal, struct pfs_segment *segment)
{
	int err = pfs_file_sync(segment->file);

	if (!err && !segment->name_synced) {
		err = pfs_dir_sync(journal->dir);
		segment->name_synced = !err;
	}
	return err;
}

int pfs_journal_make_spare(struct pfs_journal *journal, void (*lock)(void *arg, bool on), void *arg)
{
	struct pfs_segment *segment = NULL;
	unsigned index;
	int err;

	lock(arg, true);
	err = journal->read_only || pfs_journal_has_failed(journal) ? -EROFS
								    : take_index(journal, &index);
	lock(arg, false);
	if (err)
		return err;
	err = pfs_segment_open(journal, index, true, false, &segment);
	if (!err) {
		err = sync_segment(journal, segment);
		/* The directory may have lost more than this name. */
		if (err)
			__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
	}
	lock(arg, true);
	if (segment)
		add_spare(journal, segment);
	else
		pfs_segment_use_index(journal, index, false);
	lock(arg, false);
	return err;
}

int pfs_segment_begin(struct pfs_journal *journal, struct pfs_segment *segment)
{
	int err = 0;

	segment->number = journal->next_number;
	segment->first_seq = journal->appended + 1;
	segment->epoch = journal->epoch;
	/* One that was found may have been a short one, or cut by damage. */
	if (segment->room < PFS_SEGMENT_SIZE)
		err = allocate(segment, true);
	if (!err)
		err = pfs_segment_write_header(
			journal, segment, journal->live ? journal->live->number : segment->number);
	if (err)
		return err;
	segment->size = PFS_SEGMENT_SIZE;
	/* Before anything is written behind it: a segment that has records, or whose predecessor
	 * has an END record, is there whole, or it was damaged. */
	err = sync_segment(journal, segment);
	if (err)
		__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
	return err;
}

void pfs_segment_activate(struct pfs_journal *journal, struct pfs_segment *segment)
{
	pthread_mutex_lock(&journal->lock);
	segment->next = NULL;
	segment->used = PFS_SEGMENT_DATA;
	segment->synced = PFS_SEGMENT_DATA;
	if (journal->last)
		journal->last->next = segment;
	else
		journal->live = segment;
	journal->last = segment;
	pthread_mutex_unlock(&journal->lock);
	journal->next_number++;
	journal->live_bytes += PFS_SEGMENT_SIZE;
}

int pfs_journal_room(struct pfs_journal *journal, size_t len)
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
