#include "storage/dict.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/crc.h"

#define CRC_AT 12
#define NAME_ROOM 24

_Static_assert(PFS_DICT_COPIES == 2, "bad_parts counts two of each");

bool pfs_dict_is_name(const char *name, uint32_t *number)
{
	char again[NAME_ROOM];
	unsigned n;

	if (sscanf(name, PFS_DICT_NAME_FMT, &n) != 1 || n == 0)
		return false;
	snprintf(again, sizeof(again), PFS_DICT_NAME_FMT, n);
	*number = n;
	return strcmp(again, name) == 0;
}

static bool decode(struct pfs_dict_file *out, uint32_t *bytes_crc, const struct pfs_dict_disk *disk,
		   const uint8_t uuid[PFS_UUID_LEN], uint32_t number)
{
	if (memcmp(disk->magic, PFS_DICT_MAGIC, sizeof(disk->magic)) != 0 ||
	    pfs_get_le32(disk->crc.b) !=
		    pfs_crc32c(0, (const uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT) ||
	    pfs_get_le32(disk->number.b) != number || memcmp(disk->uuid, uuid, PFS_UUID_LEN) != 0)
		return false;
	*out = (struct pfs_dict_file){
		.number = number,
		.len = pfs_get_le32(disk->len.b),
		.raw = pfs_get_le64(disk->raw.b),
		.packed = pfs_get_le64(disk->packed.b),
		.created_ns = (int64_t)pfs_get_le64(disk->created_ns.b),
	};
	*bytes_crc = pfs_get_le32(disk->bytes_crc.b);
	return out->len > 0 && out->len <= PFS_DICT_LEN_MAX;
}

/* Which of the two dictionaries have the checksum that the header says. */
static unsigned find_bytes(struct pfs_file *file, struct pfs_dict_file *dict, uint32_t crc,
			   uint8_t *room)
{
	unsigned good = 0;

	for (unsigned i = 0; i < PFS_DICT_COPIES; i++) {
		ssize_t n = file->ops->read(file, room, dict->len,
					    (uint64_t)i * PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN);

		if (n != (ssize_t)dict->len || pfs_crc32c(0, room, dict->len) != crc)
			continue;
		if (good++ == 0)
			memcpy(dict->bytes, room, dict->len);
	}
	return good;
}

/* The zeros between the copies and the end of the file are part of it, too: nothing else may stand
 * there. */
static bool is_clean(struct pfs_file *file, const struct pfs_dict_file *dict, uint8_t *room)
{
	uint64_t from = PFS_DICT_HEADER_LEN + dict->len, size;

	if (file->ops->size(file, &size) != 0 || size != PFS_DICT_STRIDE + from)
		return false;
	while (from < PFS_DICT_STRIDE) {
		size_t part = pfs_min_u64(PFS_DICT_LEN_MAX, PFS_DICT_STRIDE - from);

		if (file->ops->read(file, room, part, from) != (ssize_t)part ||
		    !pfs_is_zero(room, part))
			return false;
		from += part;
	}
	return true;
}

static int read_file(struct pfs_file *file, const uint8_t uuid[PFS_UUID_LEN], uint32_t number,
		     struct pfs_dict_file *out, uint8_t *room)
{
	struct pfs_dict_file found = {0};
	unsigned headers = 0, bodies = 0;

	for (unsigned i = 0; i < PFS_DICT_COPIES; i++) {
		struct pfs_dict_disk disk;
		struct pfs_dict_file dict;
		uint32_t crc;
		ssize_t n =
			file->ops->read(file, &disk, sizeof(disk), (uint64_t)i * PFS_DICT_STRIDE);

		if (n != (ssize_t)sizeof(disk) || !decode(&dict, &crc, &disk, uuid, number))
			continue;
		headers++;
		if (bodies)
			continue;
		dict.bytes = out->bytes;
		bodies = find_bytes(file, &dict, crc, room);
		if (bodies)
			found = dict;
	}
	if (!bodies)
		return -EUCLEAN;
	*out = found;
	out->bad_parts = 2 * PFS_DICT_COPIES - headers - bodies;
	if (!out->bad_parts && !is_clean(file, out, room))
		out->bad_parts = 1;
	return 0;
}

int pfs_dict_read(struct pfs_dir *dir, const uint8_t uuid[PFS_UUID_LEN], uint32_t number,
		  struct pfs_dict_file *out)
{
	char name[NAME_ROOM];
	struct pfs_file *file;
	uint8_t *room;
	int err;

	*out = (struct pfs_dict_file){.number = number};
	snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, number);
	err = dir->ops->open(dir, name, 0, &file);
	if (err)
		return err;
	room = malloc(PFS_DICT_LEN_MAX);
	out->bytes = malloc(PFS_DICT_LEN_MAX);
	err = room && out->bytes ? read_file(file, uuid, number, out, room) : -ENOMEM;
	file->ops->close(file);
	free(room);
	if (err) {
		free(out->bytes);
		out->bytes = NULL;
	}
	return err;
}

static void encode(struct pfs_dict_disk *disk, const struct pfs_dict_file *dict,
		   const uint8_t uuid[PFS_UUID_LEN])
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, PFS_DICT_MAGIC, sizeof(disk->magic));
	pfs_put_le32(disk->number.b, dict->number);
	memcpy(disk->uuid, uuid, PFS_UUID_LEN);
	pfs_put_le32(disk->len.b, dict->len);
	pfs_put_le32(disk->bytes_crc.b, pfs_crc32c(0, dict->bytes, dict->len));
	pfs_put_le64(disk->raw.b, dict->raw);
	pfs_put_le64(disk->packed.b, dict->packed);
	pfs_put_le64(disk->created_ns.b, (uint64_t)dict->created_ns);
	pfs_put_le32(disk->crc.b, pfs_crc32c(0, (uint8_t *)disk + CRC_AT, sizeof(*disk) - CRC_AT));
}

static int write_file(struct pfs_file *file, const struct pfs_dict_file *dict,
		      const uint8_t uuid[PFS_UUID_LEN])
{
	struct pfs_dict_disk disk;
	int err = file->ops->truncate(file, 0);

	encode(&disk, dict, uuid);
	for (unsigned i = 0; i < PFS_DICT_COPIES && !err; i++) {
		uint64_t off = (uint64_t)i * PFS_DICT_STRIDE;

		err = file->ops->write(file, &disk, sizeof(disk), off);
		if (!err)
			err = file->ops->write(file, dict->bytes, dict->len,
					       off + PFS_DICT_HEADER_LEN);
	}
	return err;
}

int pfs_dict_write(struct pfs_dir *dir, const uint8_t uuid[PFS_UUID_LEN],
		   const struct pfs_dict_file *dict, bool *synced)
{
	char name[NAME_ROOM], temporary[NAME_ROOM + 4];
	struct pfs_file *file;
	bool ignored = true;
	int err;

	synced = synced ? synced : &ignored;
	*synced = true;
	snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, dict->number);
	snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	err = dir->ops->open(dir, temporary, PFS_IO_WRITE | PFS_IO_CREATE, &file);
	if (err)
		return err;
	err = write_file(file, dict, uuid);
	if (!err) {
		err = file->ops->sync(file);
		*synced = !err;
	}
	file->ops->close(file);
	if (!err)
		err = dir->ops->rename(dir, temporary, name);
	if (err) {
		dir->ops->unlink(dir, temporary);
		return err;
	}
	err = dir->ops->sync_dir(dir);
	*synced = !err;
	return err;
}
