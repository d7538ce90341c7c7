/* The superblock of a store that is repaired: read, or worked out from the other files. */
#include <sys/random.h>

#include "storage/crc.h"
#include "storage/repair.h"

#define HEADER_CRC_AT 12
#define UUIDS_MAX 8 /* different ones that are counted */

/* ---- one wrong bit ---- */

/* Reads a copy of the superblock that has one wrong bit. */
static bool mend_copy(struct pfs_super *super, const struct pfs_super_disk *disk)
{
	struct pfs_super_disk copy = *disk;
	uint8_t *bytes = (uint8_t *)&copy;

	for (size_t i = 0; i < 8 * sizeof(copy); i++) {
		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
		if (pfs_super_decode(super, &copy))
			return true;
		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	return false;
}

static bool mend_copies(struct pfs_repair *repair, struct pfs_file *file)
{
	struct pfs_super_disk disk;
	struct pfs_super copy;
	bool found = false;

	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		if (file->ops->read(file, &disk, sizeof(disk), (uint64_t)i * PFS_SUPER_STRIDE) !=
			    (ssize_t)sizeof(disk) ||
		    !mend_copy(&copy, &disk))
			continue;
		if (!found || copy.generation > repair->super.generation)
			repair->super = copy;
		found = true;
	}
	return found;
}

/* ---- what other files say ---- */

struct told {
	uint8_t uuid[PFS_UUID_LEN];
	unsigned times;
};

struct hints {
	struct pfs_dir *dir;
	struct told told[UUIDS_MAX];
	size_t count;
	const uint8_t *uuid; /* NULL while it is being found out */
	unsigned pages, segments;
	uint64_t page_size, sequence;
	uint64_t segment_epoch, index_epoch;
};

static void tell_uuid(struct hints *hints, const uint8_t *uuid)
{
	for (size_t i = 0; i < hints->count; i++) {
		if (memcmp(hints->told[i].uuid, uuid, PFS_UUID_LEN) == 0) {
			hints->told[i].times++;
			return;
		}
	}
	if (hints->count == UUIDS_MAX)
		return;
	memcpy(hints->told[hints->count].uuid, uuid, PFS_UUID_LEN);
	hints->told[hints->count++].times = 1;
}

static void look_at_page(struct hints *hints, struct pfs_file *file)
{
	struct pfs_page_disk disk;
	struct pfs_page_header header;
	const char *why;
	uint64_t size;

	if (file->ops->size(file, &size) != 0 || size < PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (file->ops->read(file, &disk, sizeof(disk),
				    i ? size - PFS_PAGE_TRAILER_LEN : 0) != (ssize_t)sizeof(disk) ||
		    pfs_page_header_decode(&header, &disk, hints->uuid ? hints->uuid : disk.uuid,
					   &why) != 0)
			continue;
		tell_uuid(hints, header.uuid);
		/* Large documents have pages that are larger than the store's. */
		hints->page_size = hints->page_size
					   ? pfs_min_u64(hints->page_size, header.page_size)
					   : header.page_size;
		hints->sequence = pfs_max_u64(hints->sequence, header.base_seq);
		hints->pages++;
		return;
	}
}

static void look_at_segment(struct hints *hints, struct pfs_file *file)
{
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++) {
		struct pfs_segment_disk disk;

		if (file->ops->read(file, &disk, sizeof(disk), (uint64_t)i * PFS_SEGMENT_STRIDE) !=
			    (ssize_t)sizeof(disk) ||
		    memcmp(disk.magic, PFS_SEGMENT_MAGIC, sizeof(disk.magic)) != 0 ||
		    pfs_get_le32(disk.crc.b) != pfs_crc32c(0, (uint8_t *)&disk + HEADER_CRC_AT,
							   sizeof(disk) - HEADER_CRC_AT) ||
		    (hints->uuid && memcmp(disk.uuid, hints->uuid, PFS_UUID_LEN) != 0) ||
		    pfs_get_le64(disk.open_epoch.b) > PFS_EPOCH_MAX ||
		    pfs_get_le64(disk.first_seq.b) > PFS_SEQ_MAX)
			continue;
		tell_uuid(hints, disk.uuid);
		hints->segment_epoch =
			pfs_max_u64(hints->segment_epoch, pfs_get_le64(disk.open_epoch.b));
		hints->sequence = pfs_max_u64(hints->sequence, pfs_get_le64(disk.first_seq.b));
		hints->segments++;
		return;
	}
}

static void look_at_index(struct hints *hints, struct pfs_file *file)
{
	struct pfs_index_disk disk;

	if (file->ops->read(file, &disk, sizeof(disk), 0) != (ssize_t)sizeof(disk) ||
	    memcmp(disk.magic, PFS_INDEX_MAGIC, sizeof(disk.magic)) != 0 ||
	    pfs_get_le32(disk.crc.b) !=
		    pfs_crc32c(0, (uint8_t *)&disk + HEADER_CRC_AT, sizeof(disk) - HEADER_CRC_AT) ||
	    (hints->uuid && memcmp(disk.uuid, hints->uuid, PFS_UUID_LEN) != 0) ||
	    pfs_get_le64(disk.epoch.b) > PFS_EPOCH_MAX)
		return;
	tell_uuid(hints, disk.uuid);
	hints->index_epoch = pfs_get_le64(disk.epoch.b);
}

static int look_at_file(void *arg, const char *name)
{
	struct hints *hints = arg;
	bool page = strncmp(name, "page-", 5) == 0, segment = strncmp(name, "journal-", 8) == 0;
	struct pfs_file *file;

	if ((!page && !segment && strcmp(name, PFS_INDEX_NAME) != 0) ||
	    hints->dir->ops->open(hints->dir, name, 0, &file) != 0)
		return 0;
	if (page)
		look_at_page(hints, file);
	else if (segment)
		look_at_segment(hints, file);
	else
		look_at_index(hints, file);
	file->ops->close(file);
	return 0;
}

/* Twice over the files: whose store it is, then what is its own. -ENOENT: nothing says that this is
 * a store. */
static int work_out(struct pfs_repair *repair, bool has_file)
{
	struct hints first = {.dir = repair->dir}, hints = first;
	struct pfs_super *super = &repair->super;
	const struct told *most = NULL;
	int err = repair->dir->ops->list(repair->dir, look_at_file, &first);

	if (err)
		return err;
	for (size_t i = 0; i < first.count; i++) {
		if (!most || first.told[i].times > most->times)
			most = &first.told[i];
	}
	if (!most && !has_file)
		return -ENOENT;
	*super = (struct pfs_super){
		.version = PFS_FORMAT_VERSION,
		.page_size = PFS_PAGE_SIZE_DEFAULT,
		.min_value_size = PFS_MIN_VALUE_MIN,
		.has_defaults = true,
		.mode = 0600,
		.created_ns = pfs_now_realtime(),
	};
	if (most) {
		memcpy(super->uuid, most->uuid, PFS_UUID_LEN);
		hints.uuid = super->uuid;
		err = repair->dir->ops->list(repair->dir, look_at_file, &hints);
	} else {
		ssize_t n = getrandom(super->uuid, PFS_UUID_LEN, 0);

		/* So few bytes come whole; where there are none yet they are waited for. */
		if (PFS_NEVER(repair->logger, n != PFS_UUID_LEN))
			err = -EIO;
	}
	if (hints.page_size)
		super->page_size = pfs_max_u64(hints.page_size, PFS_PAGE_SIZE_MIN);
	super->sequence = hints.sequence;
	super->open_epoch = pfs_max_u64(hints.segment_epoch, hints.index_epoch);
	/* An index is saved when all is in the pages: segments of its epoch hold nothing more. */
	super->clean_epoch = hints.segments && hints.segment_epoch > hints.index_epoch
				     ? hints.index_epoch
				     : super->open_epoch;
	return err;
}

/* ---- the whole ---- */

/* What there was of it. */
enum state {
	WHOLE,
	MENDED, /* in memory: each copy has a wrong bit at least, and one no other */
	LOST,	/* it was worked out from the other files */
	MISSING /* the same, and there is no such file */
};

/* Reads it, or makes repair->super what it is to be. */
static int find(struct pfs_repair *repair, enum state *state)
{
	struct pfs_super *super = &repair->super;
	int err = pfs_super_read(repair->dir, super, repair->logger);
	struct pfs_file *file;

	*state = WHOLE;
	if (err != -EUCLEAN && err != -ENOENT)
		return err;
	*state = err == -ENOENT ? MISSING : LOST;
	if (*state == LOST) {
		err = repair->dir->ops->open(repair->dir, PFS_SUPER_NAME, 0, &file);
		if (err)
			return err;
		if (mend_copies(repair, file) && super->version == PFS_FORMAT_VERSION &&
		    pfs_super_is_plausible(super)) {
			file->ops->close(file);
			*state = MENDED;
			return super->incompat & ~PFS_FEATURES_INCOMPAT ? -EPROTONOSUPPORT : 0;
		}
		file->ops->close(file);
	}
	return work_out(repair, *state == LOST);
}

static int refuse(struct pfs_repair *repair, int err)
{
	struct pfs_reason *reason = repair->reason;

	if (reason && !reason->text[0])
		pfs_super_explain(&repair->super, err, repair->path, reason->text,
				  sizeof(reason->text));
	return err;
}

int pfs_repair_find_super(struct pfs_repair *repair)
{
	enum state state;
	int err = find(repair, &state);

	if (!err && (repair->super.ro_compat & ~PFS_FEATURES_RO_COMPAT))
		return pfs_refuse(repair->reason, -EPROTONOSUPPORT,
				  "%s: this program can only read the store; use a newer payloadfs "
				  "to repair it",
				  repair->path);
	return err ? refuse(repair, err) : 0;
}

/* Both copies as they are. */
static int keep_copies(struct pfs_repair *repair)
{
	struct pfs_file *file;
	int err = repair->dir->ops->open(repair->dir, PFS_SUPER_NAME, 0, &file);

	if (err)
		return err;
	for (unsigned i = 0; i < PFS_SUPER_COPIES && !err; i++) {
		struct pfs_kept kept = {
			.where = PFS_SUPER_NAME,
			.off = (uint64_t)i * PFS_SUPER_STRIDE,
			.len = sizeof(struct pfs_super_disk),
			.reason = "no copy of the superblock is valid",
		};

		err = pfs_repair_keep(repair, &kept, file);
	}
	file->ops->close(file);
	return err ? err : pfs_quarantine_sync(&repair->quarantine);
}

/* All that it said is known. */
static int write_mended(struct pfs_repair *repair)
{
	int err = pfs_super_write(repair->dir, &repair->super);

	if (!err)
		pfs_repair_say(
			repair, false, PFS_SUPER_NAME, 0, NULL,
			"no copy of the superblock is valid; the bit that is wrong in one of "
			"them is corrected");
	return err;
}

static int write_made(struct pfs_repair *repair, bool has_file)
{
	int err;

	repair->super.doubt = true;
	repair->rebuilt = true;
	err = has_file ? pfs_repair_write_super(repair)
		       : pfs_super_create(repair->dir, &repair->super);
	if (!err)
		pfs_repair_say(repair, false, PFS_SUPER_NAME, 0, NULL,
			       "the superblock is lost; made anew from what the other files say. "
			       "Documents without attributes of their own now have mode %03o, "
			       "owner %u, group %u",
			       repair->super.mode, repair->super.uid, repair->super.gid);
	return err;
}

int pfs_repair_super(struct pfs_repair *repair)
{
	enum state state;
	int err = find(repair, &state);

	if (err)
		return refuse(repair, err);
	if (state == WHOLE)
		return 0;
	repair->result->faults++;
	err = state == MISSING ? 0 : keep_copies(repair);
	if (err)
		return err;
	return state == MENDED ? write_mended(repair) : write_made(repair, state == LOST);
}

/* ---- the page set ---- */

static int count_page(void *arg, const char *name)
{
	struct pfs_repair *repair = arg;
	const struct pfs_checked_page *page;
	uint32_t number;

	if (!pfs_check_is_page_name(name, &number))
		return 0;
	/* One that was being made is removed by the next opening. */
	page = pfs_check_find_page(&repair->check, number);
	if (!page || !page->empty)
		pfs_page_set_add(&repair->super.pages, number);
	return 0;
}

int pfs_repair_write_super(struct pfs_repair *repair)
{
	int err;

	repair->super.pages = (struct pfs_page_set){0};
	repair->super.dict_highest =
		(uint32_t)pfs_max_u64(repair->super.dict_highest, repair->check.dict_named);
	err = repair->dir->ops->list(repair->dir, count_page, repair);
	return err ? err : pfs_super_write(repair->dir, &repair->super);
}
