/* The files of the journal: their headers, and which of them are live. */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"

#define HEADER_CRC_AT 12

void pfs_check_about_segment(struct pfs_check *check, enum pfs_fault_kind kind, uint32_t file,
			     uint64_t off, uint64_t len)
{
	check->fault = (struct pfs_fault){kind, file, 0, off, len};
}

void pfs_check_segment_name(char name[32], uint32_t file)
{
	snprintf(name, 32, PFS_SEGMENT_NAME_FMT, file);
}

/* ---- reading ---- */

static int load_pieces(struct pfs_file *f, uint8_t *bytes, uint8_t *unread)
{
	for (size_t off = 0; off < PFS_SEGMENT_SIZE; off += PFS_CHECK_PIECE) {
		ssize_t n = f->ops->read(f, bytes + off, PFS_CHECK_PIECE, off);

		if (n == -ENOMEM)
			return -ENOMEM;
		if (n >= 0)
			continue;
		memset(bytes + off, 0, PFS_CHECK_PIECE);
		if (unread)
			pfs_check_set_bit(unread, (uint32_t)(off / PFS_CHECK_PIECE));
	}
	return 0;
}

static int open_segment(struct pfs_check *check, uint32_t file, struct pfs_file **f)
{
	char name[32];

	pfs_check_segment_name(name, file);
	return check->dir->ops->open(check->dir, name, 0, f);
}

int pfs_check_load_segment(struct pfs_check *check, uint32_t file, uint8_t *bytes, uint8_t *unread)
{
	struct pfs_file *f;
	int err = open_segment(check, file, &f);

	if (err)
		return err;
	memset(bytes, 0, PFS_SEGMENT_SIZE);
	if (unread)
		memset(unread, 0, PFS_CHECK_UNREAD_LEN);
	if (f->ops->read(f, bytes, PFS_SEGMENT_SIZE, 0) < 0)
		err = load_pieces(f, bytes, unread);
	f->ops->close(f);
	return err;
}

/* Reads what is before its records, and how long the file is. */
static int load_header(struct pfs_check *check, struct pfs_checked_segment *segment, uint8_t *bytes)
{
	struct pfs_file *f;
	ssize_t n;
	int err = open_segment(check, segment->file, &f);

	if (err)
		return err;
	memset(bytes, 0, PFS_SEGMENT_DATA);
	n = f->ops->read(f, bytes, PFS_SEGMENT_DATA, 0);
	err = f->ops->size(f, &segment->size);
	f->ops->close(f);
	return n < 0 ? (int)n : err;
}

/* ---- headers ---- */

/* Whether the file is a segment of this store; *why is set when its header is damaged. */
static bool decode_header(const struct pfs_check *check, const uint8_t *bytes,
			  struct pfs_checked_segment *segment, const char **why)
{
	const struct pfs_segment_disk *disk = (const struct pfs_segment_disk *)bytes;

	*why = NULL;
	if (pfs_is_zero(bytes, sizeof(*disk)))
		return false;
	*why = "not a segment (magic)";
	if (memcmp(disk->magic, PFS_SEGMENT_MAGIC, sizeof(disk->magic)) != 0)
		return false;
	*why = "header checksum";
	if (pfs_get_le32(disk->crc.b) !=
	    pfs_crc32c(0, bytes + HEADER_CRC_AT, sizeof(*disk) - HEADER_CRC_AT))
		return false;
	*why = "segment of another store";
	if (memcmp(disk->uuid, check->super.uuid, PFS_UUID_LEN) != 0)
		return false;
	*why = "its numbers are out of range";
	segment->number = pfs_get_le64(disk->number.b);
	segment->first_seq = pfs_get_le64(disk->first_seq.b);
	segment->oldest_live = pfs_get_le64(disk->oldest_live.b);
	segment->epoch = pfs_get_le64(disk->open_epoch.b);
	if (segment->number == 0 || segment->number > PFS_SEGMENT_NUMBER_MAX ||
	    segment->first_seq > PFS_SEQ_MAX || segment->epoch > PFS_EPOCH_MAX ||
	    segment->oldest_live > segment->number)
		return false;
	*why = NULL;
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct pfs_checked_segment *x = a, *y = b;

	return pfs_order(x->number, y->number);
}

/* Decodes the header and its copy, of which the newer one holds: a write that was cut off leaves
 * one of them as it was. */
static bool read_copies(struct pfs_check *check, const uint8_t *block,
			struct pfs_checked_segment *segment, const char *name)
{
	struct pfs_checked_segment copies[PFS_SEGMENT_COPIES] = {*segment, *segment};
	const char *why[PFS_SEGMENT_COPIES];
	bool ok[PFS_SEGMENT_COPIES];

	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++)
		ok[i] = decode_header(check, block + i * PFS_SEGMENT_STRIDE, &copies[i], &why[i]);
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++) {
		if (ok[i] || !why[i])
			continue;
		if (!ok[0] && !ok[1])
			pfs_check_about_segment(check, PFS_FAULT_SEGMENT, segment->file, 0, 0);
		pfs_check_say(check, !check->clean, name, i * PFS_SEGMENT_STRIDE, NULL, "%s%s",
			      i ? "copy of the header: " : "", why[i]);
	}
	if (ok[0] && ok[1])
		ok[copies[0].number < copies[1].number ||
				   (copies[0].number == copies[1].number &&
				    copies[0].oldest_live < copies[1].oldest_live)
			   ? 0
			   : 1] = false;
	*segment = copies[ok[1] ? 1 : 0];
	return ok[0] || ok[1];
}

/* Those that may be live. Segments of the clean epoch and before hold nothing; after a clean close
 * there are no others. */
static size_t read_headers(struct pfs_check *check, struct pfs_checked_segment *at, uint8_t *room)
{
	size_t count = 0;

	for (size_t i = 0; i < check->segment_count; i++) {
		struct pfs_checked_segment segment = {.file = check->segments[i]};
		char name[32];
		int err = load_header(check, &segment, room);

		/* A device may fail to read what it reads at the next try. */
		if (err == -EIO)
			err = load_header(check, &segment, room);
		pfs_check_segment_name(name, segment.file);
		if (err) {
			pfs_check_about_segment(check, PFS_FAULT_SEGMENT, segment.file, 0, 0);
			pfs_check_say(check, !check->clean, name, 0, NULL, "can't be read: %s",
				      strerror(-err));
			continue;
		}
		if (!read_copies(check, room, &segment, name))
			continue;
		if (check->clean && segment.epoch > check->super.clean_epoch) {
			pfs_check_about_segment(check, PFS_FAULT_EPOCH, segment.file, segment.epoch,
						0);
			pfs_check_say(check, true, PFS_SUPER_NAME, 0, NULL,
				      "it is older than the journal (%s)", name);
		}
		if (segment.epoch > check->super.clean_epoch && !check->clean)
			at[count++] = segment;
	}
	return count;
}

size_t pfs_check_live_segments(struct pfs_check *check, struct pfs_checked_segment *at,
			       uint8_t *room)
{
	size_t count = read_headers(check, at, room), dead = 0;
	uint64_t oldest;
	char name[32];

	if (count == 0)
		return 0;
	qsort(at, count, sizeof(*at), by_number);
	oldest = at[count - 1].oldest_live;
	while (at[dead].number < oldest)
		dead++;
	count -= dead;
	memmove(at, at + dead, count * sizeof(*at));
	for (size_t i = 1; i < count; i++) {
		if (at[i].number != at[i - 1].number)
			continue;
		pfs_check_segment_name(name, at[i].file);
		pfs_check_about_segment(check, PFS_FAULT_TWICE, at[i].file, 0, 0);
		pfs_check_say(check, true, name, 16, NULL,
			      "it has the number of another segment, %llu",
			      (unsigned long long)at[i].number);
	}
	if (at[0].number > oldest) {
		pfs_check_segment_name(name, at[0].file);
		pfs_check_about_segment(check, PFS_FAULT_GONE, at[0].file, 0, 0);
		pfs_check_say(check, true, name, 0, NULL,
			      "the journal begins with segment %llu, but this is %llu: what was "
			      "between is lost",
			      (unsigned long long)oldest, (unsigned long long)at[0].number);
	}
	return count;
}
