#include "storage/super.h"

#include <stdio.h>

#include "storage/crc.h"

#define CRC_AT 12

static void encode(struct pfs_super_disk *disk, const struct pfs_super *super)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, PFS_SUPER_MAGIC, sizeof(disk->magic));
	pfs_put_le16(disk->version.b, super->version);
	pfs_put_le64(disk->incompat.b, super->incompat);
	pfs_put_le64(disk->ro_compat.b, super->ro_compat);
	pfs_put_le64(disk->compat.b, super->compat);
	memcpy(disk->uuid, super->uuid, PFS_UUID_LEN);
	pfs_put_le64(disk->generation.b, super->generation);
	pfs_put_le64(disk->page_size.b, super->page_size);
	pfs_put_le32(disk->min_value_size.b, super->min_value_size);
	pfs_put_le32(disk->flags.b, (super->has_defaults ? PFS_SUPER_HAS_DEFAULTS : 0) |
					    (super->doubt ? PFS_SUPER_DOUBT : 0));
	pfs_put_le32(disk->mode.b, super->mode);
	pfs_put_le32(disk->uid.b, super->uid);
	pfs_put_le32(disk->gid.b, super->gid);
	pfs_put_le64(disk->open_epoch.b, super->open_epoch);
	pfs_put_le64(disk->clean_epoch.b, super->clean_epoch);
	pfs_put_le64(disk->created_ns.b, (uint64_t)super->created_ns);
	pfs_put_le64(disk->sequence.b, super->sequence);
	pfs_put_le32(disk->page_highest.b, super->pages.highest);
	pfs_put_le32(disk->page_count.b, super->pages.count);
	pfs_put_le64(disk->page_mix.b, super->pages.mix);
	pfs_put_le64(disk->journal_epoch.b, super->journal_epoch);
	pfs_put_le32(disk->dict_highest.b, super->dict_highest);
	pfs_put_le32(disk->crc.b, pfs_crc32c(0, (uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT));
}

bool pfs_super_decode(struct pfs_super *super, const struct pfs_super_disk *disk)
{
	if (memcmp(disk->magic, PFS_SUPER_MAGIC, sizeof(disk->magic)) != 0 ||
	    pfs_get_le32(disk->crc.b) !=
		    pfs_crc32c(0, (const uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT))
		return false;
	*super = (struct pfs_super){
		.version = pfs_get_le16(disk->version.b),
		.incompat = pfs_get_le64(disk->incompat.b),
		.ro_compat = pfs_get_le64(disk->ro_compat.b),
		.compat = pfs_get_le64(disk->compat.b),
		.generation = pfs_get_le64(disk->generation.b),
		.page_size = pfs_get_le64(disk->page_size.b),
		.min_value_size = pfs_get_le32(disk->min_value_size.b),
		.has_defaults = pfs_get_le32(disk->flags.b) & PFS_SUPER_HAS_DEFAULTS,
		.mode = pfs_get_le32(disk->mode.b) & 07777,
		.uid = pfs_get_le32(disk->uid.b),
		.gid = pfs_get_le32(disk->gid.b),
		.open_epoch = pfs_get_le64(disk->open_epoch.b),
		.clean_epoch = pfs_get_le64(disk->clean_epoch.b),
		.created_ns = (int64_t)pfs_get_le64(disk->created_ns.b),
		.sequence = pfs_get_le64(disk->sequence.b),
		.pages = {pfs_get_le32(disk->page_highest.b), pfs_get_le32(disk->page_count.b),
			  pfs_get_le64(disk->page_mix.b)},
		.doubt = pfs_get_le32(disk->flags.b) & PFS_SUPER_DOUBT,
		.journal_epoch = pfs_get_le64(disk->journal_epoch.b),
		.dict_highest = pfs_get_le32(disk->dict_highest.b),
	};
	memcpy(super->uuid, disk->uuid, PFS_UUID_LEN);
	return true;
}

bool pfs_super_is_plausible(const struct pfs_super *super)
{
	return pfs_is_pow2(super->page_size) && super->page_size >= 64 * PFS_KIB &&
	       super->page_size <= PFS_GIB && super->min_value_size >= 16 &&
	       super->min_value_size <= 4096 && super->sequence <= PFS_SEQ_MAX &&
	       super->pages.highest <= PFS_PAGE_NUMBER_MAX &&
	       super->pages.count <= super->pages.highest && super->open_epoch <= PFS_EPOCH_MAX &&
	       super->clean_epoch <= super->open_epoch && super->journal_epoch <= super->open_epoch;
}

int pfs_super_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
		       struct pfs_dir **dir, struct pfs_reason *reason)
{
	int err = io->ops->open_dir(io, path, flags, dir);

	return err ? pfs_refuse(reason, err, "%s: %s", path,
				err == -ENOENT	  ? "no such store"
				: err == -ENOTDIR ? "not a directory"
						  : strerror(-err))
		   : 0;
}

int pfs_super_read(struct pfs_dir *dir, struct pfs_super *super, const struct pfs_logger *logger)
{
	struct pfs_super_disk disk;
	struct pfs_super copy;
	struct pfs_file *file;
	bool found = false;
	int err, read_err = 0;

	memset(super, 0, sizeof(*super));
	err = dir->ops->open(dir, PFS_SUPER_NAME, 0, &file);
	if (err)
		return err;
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		ssize_t n =
			file->ops->read(file, &disk, sizeof(disk), (uint64_t)i * PFS_SUPER_STRIDE);

		if (n < 0)
			read_err = (int)n;
		if (n != (ssize_t)sizeof(disk) || !pfs_super_decode(&copy, &disk))
			continue;
		if (!found || copy.generation > super->generation)
			*super = copy;
		found = true;
	}
	file->ops->close(file);
	/* What can't be read now may verify at another time. */
	if (!found && read_err)
		return read_err;
	if (!found)
		return pfs_corrupt(logger, PFS_SUPER_NAME, 0, "no valid copy of the superblock");
	if (super->version != PFS_FORMAT_VERSION || (super->incompat & ~PFS_FEATURES_INCOMPAT))
		return -EPROTONOSUPPORT;
	if (!pfs_super_is_plausible(super))
		return pfs_corrupt(logger, PFS_SUPER_NAME, 0, "sizes out of range");
	return 0;
}

void pfs_super_explain(const struct pfs_super *super, int err, const char *path, char *text,
		       size_t size)
{
	if (err == -ENOENT)
		snprintf(text, size, "%s: not a payloadfs store (it has no superblock)", path);
	else if (err == -EPROTONOSUPPORT && super->version != PFS_FORMAT_VERSION)
		snprintf(text, size,
			 "%s: the store has format version %u, this program knows %u; use a newer "
			 "payloadfs",
			 path, (unsigned)super->version, (unsigned)PFS_FORMAT_VERSION);
	else if (err == -EPROTONOSUPPORT)
		snprintf(text, size,
			 "%s: the store needs features that this program lacks (0x%llx); use a "
			 "newer payloadfs",
			 path, (unsigned long long)(super->incompat & ~PFS_FEATURES_INCOMPAT));
	else if (err == -EUCLEAN)
		snprintf(text, size,
			 "%s: the superblock is damaged: run payloadctl check --repair on it",
			 path);
	else
		snprintf(text, size, "%s: reading the superblock failed: %s", path, strerror(-err));
}

static int write_copy(struct pfs_file *file, const struct pfs_super *super, unsigned copy)
{
	struct pfs_super_disk disk;

	encode(&disk, super);
	return file->ops->write(file, &disk, sizeof(disk), (uint64_t)copy * PFS_SUPER_STRIDE);
}

int pfs_super_write(struct pfs_dir *dir, struct pfs_super *super)
{
	struct pfs_file *file;
	int err = dir->ops->open(dir, PFS_SUPER_NAME, PFS_IO_WRITE, &file);

	if (err)
		return err;
	super->generation++;
	/* One after the other: a torn write can't hit both, and one that rots later leaves no stale
	 * one behind. */
	for (unsigned i = 0; i < PFS_SUPER_COPIES && !err; i++) {
		err = write_copy(file, super, i);
		if (!err)
			err = pfs_file_sync(file);
	}
	file->ops->close(file);
	return err;
}

int pfs_super_create(struct pfs_dir *dir, struct pfs_super *super)
{
	struct pfs_file *file;
	int err = dir->ops->open(dir, PFS_SUPER_NAME, 0, &file);

	if (!err)
		file->ops->close(file);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	err = dir->ops->open(dir, PFS_SUPER_NAME ".tmp", PFS_IO_WRITE | PFS_IO_CREATE, &file);
	if (err)
		return err;
	super->generation = 1;
	err = write_copy(file, super, 0);
	if (!err)
		err = write_copy(file, super, 1);
	if (!err)
		err = pfs_file_sync(file);
	file->ops->close(file);
	if (!err)
		err = dir->ops->rename(dir, PFS_SUPER_NAME ".tmp", PFS_SUPER_NAME);
	if (!err)
		err = pfs_dir_sync(dir);
	return err;
}
