#include "tests/fuzz/fixup.h"

#include "storage/crc.h"
#include "storage/dict.h"
#include "storage/journal.h"
#include "storage/page.h"
#include "storage/record.h"
#include "tests/fuzz/fuzz.h"

#define SLOTS_MAX 1024
#define PAGE_HIGHEST_MAX 256 /* a set of pages is searched up to it */
#define RECORDS_MAX 1024

static const uint8_t *bytes_of(struct mem_file *file)
{
	return mem_io_bytes(file);
}

static bool is_zero(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	return b[0] == 0 && memcmp(b, b + 1, len - 1) == 0;
}

/* ---- superblock ---- */

static void fix_super(struct mem_file *file)
{
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		uint64_t off = (uint64_t)i * PFS_SUPER_STRIDE;
		struct pfs_super_disk disk;

		if (off + sizeof(disk) > mem_io_size(file))
			continue;
		memcpy(&disk, bytes_of(file) + off, sizeof(disk));
		if (pfs_get_le64(disk.page_size.b) > UINT64_C(1) << FIXUP_PAGE_LOG2_MAX)
			pfs_put_le64(disk.page_size.b, PFS_KIB * 64);
		if (pfs_get_le32(disk.page_highest.b) > PAGE_HIGHEST_MAX)
			pfs_put_le32(disk.page_highest.b, PAGE_HIGHEST_MAX);
		memcpy(disk.magic, PFS_SUPER_MAGIC, sizeof(disk.magic));
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
		mem_io_put(file, off, &disk, sizeof(disk));
	}
}

/* ---- pages ---- */

static void fix_page_header(struct mem_file *file, uint64_t off, const uint8_t *uuid)
{
	struct pfs_page_disk disk;

	memcpy(&disk, bytes_of(file) + off, sizeof(disk));
	if (is_zero(&disk, sizeof(disk)))
		return;
	if (disk.size_log2 > FIXUP_PAGE_LOG2_MAX)
		disk.size_log2 = 16;
	memcpy(disk.magic, PFS_PAGE_MAGIC, sizeof(disk.magic));
	memcpy(disk.uuid, uuid, PFS_UUID_LEN);
	pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 8, sizeof(disk) - 8));
	mem_io_put(file, off, &disk, sizeof(disk));
}

static void fix_blocks(uint8_t *body, uint64_t body_len, uint64_t raw_len, uint64_t content)
{
	uint64_t n = pfs_block_count(raw_len), table = n * PFS_BLOCK_ENTRY_LEN;

	for (uint64_t i = 0; i < n && table <= body_len; i++) {
		uint8_t *entry = body + i * PFS_BLOCK_ENTRY_LEN;
		uint32_t start = i ? pfs_get_le32(entry - PFS_BLOCK_ENTRY_LEN) : 0;
		uint32_t end = pfs_get_le32(entry);

		if (start <= end && end <= body_len - table)
			pfs_put_le32(entry + 4, pfs_block_crc(content, (uint32_t)i, end,
							      body + table + start, end - start));
	}
}

static void fix_container(struct mem_file *file, const struct pfs_slot *slot,
			  const struct pfs_page_disk *h)
{
	struct pfs_container_base base = {slot->kind, slot->tag, pfs_get_le64(h->base_seq.b),
					  (int64_t)pfs_get_le64(h->base_mtime.b)};
	uint8_t *bytes = mem_io_change(file, slot->off, slot->len);
	struct pfs_container c;

	if (pfs_container_header_decode(&c, bytes, slot->len, slot->len, &base) != 0)
		return;
	if (c.flags & PFS_CONTAINER_BLOCKS)
		fix_blocks(bytes + c.header_len, c.body_len, c.raw_len, c.content);
	pfs_container_seal(bytes, c.header_len, c.body_len, c.flags, c.seq, &base);
}

static void fix_page(struct mem_file *file, const uint8_t *uuid)
{
	struct pfs_page_disk disk;
	const uint8_t *page = bytes_of(file);
	uint64_t size;

	if (mem_io_size(file) < sizeof(disk))
		return;
	fix_page_header(file, 0, uuid);
	memcpy(&disk, page, sizeof(disk));
	size = UINT64_C(1) << (disk.size_log2 <= FIXUP_PAGE_LOG2_MAX ? disk.size_log2 : 16);
	if (mem_io_size(file) < size)
		mem_io_set_size(file, size);
	size = mem_io_size(file);
	fix_page_header(file, size - PFS_PAGE_TRAILER_LEN, uuid);
	for (uint32_t i = 0; i < pfs_get_le32(disk.slot_count.b) && i < SLOTS_MAX; i++) {
		struct pfs_slot_disk slot_disk;
		struct pfs_slot slot;

		if (pfs_slot_offset(i + 1) > size)
			break;
		memcpy(&slot_disk, page + pfs_slot_offset(i), sizeof(slot_disk));
		if (pfs_slot_decode(&slot, &slot_disk, PFS_PAGE_HEADER_LEN, size) == 0 &&
		    pfs_slot_is_live(&slot))
			fix_container(file, &slot, &disk);
	}
}

/* ---- journal ---- */

static void fix_segment_header(struct mem_file *file, uint64_t off, const uint8_t *uuid)
{
	struct pfs_segment_disk disk;

	memcpy(&disk, bytes_of(file) + off, sizeof(disk));
	if (is_zero(&disk, sizeof(disk)))
		return;
	memcpy(disk.magic, PFS_SEGMENT_MAGIC, sizeof(disk.magic));
	memcpy(disk.uuid, uuid, PFS_UUID_LEN);
	pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
	mem_io_put(file, off, &disk, sizeof(disk));
}

/* The blocks in a put. */
static void fix_record_blocks(uint8_t *record, size_t len)
{
	struct pfs_record_walk walk = {
		.begin = record, .at = record + PFS_RECORD_HEADER_LEN, .end = record + len};
	const struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	const struct pfs_put_disk *put;
	struct pfs_key key;
	uint64_t body_len, raw_len;

	if (head->type != PFS_RECORD_PUT || !(head->flags & PFS_PUT_BLOCKS))
		return;
	put = pfs_record_take(&walk, sizeof(*put));
	pfs_record_take_key(&walk, &key);
	pfs_record_take_pad(&walk);
	if (walk.bad)
		return;
	body_len = pfs_get_le32(put->body_len.b);
	raw_len = pfs_get_le64(put->raw_len.b);
	if (body_len <= pfs_record_left(&walk) && raw_len <= PFS_GIB)
		fix_blocks(record + (walk.at - record), body_len, raw_len,
			   pfs_get_le64(put->content.b));
}

static void fix_segment(struct mem_file *file, const uint8_t *uuid)
{
	const uint8_t *bytes = bytes_of(file);
	uint8_t seed_bytes[16 + PFS_UUID_LEN], *record;
	const struct pfs_segment_disk *header = (struct pfs_segment_disk *)bytes;
	uint64_t off = PFS_SEGMENT_DATA;
	uint32_t seed;

	if (mem_io_size(file) < PFS_SEGMENT_SIZE)
		mem_io_set_size(file, PFS_SEGMENT_SIZE);
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++)
		fix_segment_header(file, i * PFS_SEGMENT_STRIDE, uuid);
	if (is_zero(bytes, sizeof(*header)))
		header = (struct pfs_segment_disk *)(bytes + PFS_SEGMENT_STRIDE);
	memcpy(seed_bytes, header->open_epoch.b, 8);
	memcpy(seed_bytes + 8, header->number.b, 8);
	memcpy(seed_bytes + 16, uuid, PFS_UUID_LEN);
	seed = pfs_crc32c(0, seed_bytes, sizeof(seed_bytes));
	for (unsigned i = 0; i < RECORDS_MAX && off + PFS_RECORD_LEN_MIN <= PFS_SEGMENT_SIZE; i++) {
		uint64_t len = pfs_get_le32(bytes + off);

		/* Behind what is no record, others may come. */
		if (len < PFS_RECORD_LEN_MIN || len % 8 != 0 || len > PFS_SEGMENT_SIZE - off) {
			off += 8;
			continue;
		}
		record = mem_io_change(file, off, len);
		fix_record_blocks(record, len);
		pfs_put_le32(record + 4,
			     pfs_crc32c(pfs_crc32c(seed, record, 4), record + 8, len - 8));
		off += len;
	}
}

/* ---- index ---- */

static void fix_index(struct mem_file *file, const uint8_t *uuid, uint64_t epoch)
{
	struct pfs_index_disk disk;
	uint64_t objects, pages, dicts, size;
	uint8_t crc[4];

	if (mem_io_size(file) < sizeof(disk))
		return;
	memcpy(&disk, bytes_of(file), sizeof(disk));
	memcpy(disk.magic, PFS_INDEX_MAGIC, sizeof(disk.magic));
	memcpy(disk.uuid, uuid, PFS_UUID_LEN);
	pfs_put_le64(disk.epoch.b, epoch);
	objects = pfs_get_le64(disk.objects.b) % 4096;
	pages = pfs_get_le64(disk.pages.b) % 64;
	dicts = pfs_get_le32(disk.dicts.b) % 64;
	pfs_put_le64(disk.objects.b, objects);
	pfs_put_le32(disk.dicts.b, (uint32_t)dicts);
	pfs_put_le64(disk.pages.b, pages);
	pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
	mem_io_put(file, 0, &disk, sizeof(disk));
	size = sizeof(disk) + objects * 12 + pages * 24 + dicts * 12;
	mem_io_set_size(file, size);
	pfs_put_le32(crc, pfs_crc32c(0, bytes_of(file) + sizeof(disk), size - sizeof(disk)));
	mem_io_put(file, size, crc, sizeof(crc));
}

/* ---- dictionaries ---- */

void fixup_dict(struct mem_file *file, uint32_t number, const uint8_t *uuid)
{
	for (unsigned i = 0; i < PFS_DICT_COPIES; i++) {
		uint64_t off = (uint64_t)i * PFS_DICT_STRIDE, size = mem_io_size(file), len;
		struct pfs_dict_disk disk;

		if (off + sizeof(disk) > size)
			continue;
		memcpy(&disk, bytes_of(file) + off, sizeof(disk));
		if (is_zero(&disk, sizeof(disk)))
			continue;
		memcpy(disk.magic, PFS_DICT_MAGIC, sizeof(disk.magic));
		memcpy(disk.uuid, uuid, PFS_UUID_LEN);
		pfs_put_le32(disk.number.b, number);
		len = pfs_get_le32(disk.len.b);
		if (len <= size - off - sizeof(disk))
			pfs_put_le32(disk.bytes_crc.b,
				     pfs_crc32c(0, bytes_of(file) + off + sizeof(disk), len));
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
		mem_io_put(file, off, &disk, sizeof(disk));
	}
}

void fixup_store(unsigned what, const uint8_t *uuid)
{
	struct mem_file *super = mem_io_file(PFS_SUPER_NAME), *file;
	const struct pfs_super_disk *disk = (struct pfs_super_disk *)bytes_of(super);
	uint8_t own[PFS_UUID_LEN];
	uint32_t number;
	const char *name;

	memcpy(own, uuid ? uuid : disk->uuid, PFS_UUID_LEN);
	if (what & FIXUP_SUPER)
		fix_super(super);
	for (size_t i = 0; (file = mem_io_nth(i, &name)) != NULL; i++) {
		if ((what & FIXUP_PAGES) && strncmp(name, "page-", 5) == 0)
			fix_page(file, own);
		else if ((what & FIXUP_SEGMENTS) && strncmp(name, "journal-", 8) == 0)
			fix_segment(file, own);
		else if ((what & FIXUP_INDEX) && strcmp(name, PFS_INDEX_NAME) == 0)
			fix_index(file, own, pfs_get_le64(disk->clean_epoch.b));
		else if ((what & FIXUP_DICTS) && pfs_dict_is_name(name, &number))
			fixup_dict(file, number, own);
	}
}
