/* Writes small directories as Qdrant leaves them (tools/qdrant_*.h has the layout), for tests of
 * what reads them: a segment is filled in memory, and its files are written as a whole. */
#ifndef PFS_QDRANT_STORE_H
#define PFS_QDRANT_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <lz4.h>

#include "storage/base.h"
#include "storage/crc.h"

#define QS_PAGE 512
#define QS_BLOCK 16
#define QS_PAGES 8
#define QS_OFFSETS 64

struct qs_bytes {
	uint8_t *bytes;
	size_t len, cap;
};

struct qs_segment {
	bool immutable, raw; /* raw: without compression */
	uint8_t pages[QS_PAGE * QS_PAGES], bitmask[QS_PAGE * QS_PAGES / QS_BLOCK / 8];
	uint8_t tracker[4 + 16 * (QS_OFFSETS + 8)];
	uint32_t block; /* the next one that is free */
	struct qs_bytes mapping;
	uint8_t deleted[8];
	uint64_t versions[QS_OFFSETS];
	uint32_t offsets; /* how many were given */
	uint64_t operation;
};

static inline void qs_append(struct qs_bytes *to, const void *bytes, size_t len)
{
	if (to->len + len > to->cap) {
		to->cap = 2 * (to->len + len);
		to->bytes = realloc(to->bytes, to->cap);
	}
	if (!to->bytes)
		abort();
	memcpy(to->bytes + to->len, bytes, len);
	to->len += len;
}

static inline void qs_append_int(struct qs_bytes *to, uint64_t value, size_t width)
{
	uint8_t bytes[8];

	pfs_put_le64(bytes, value);
	qs_append(to, bytes, width);
}

/* A UUID of sixteen bytes B is meant by QS_UUID + B. */
#define QS_UUID UINT64_C(1000000)

static inline bool qs_is_uuid(uint64_t id)
{
	return id >= QS_UUID && id < QS_UUID + 256;
}

static inline void qs_append_id(struct qs_bytes *to, uint64_t id)
{
	uint8_t uuid[16];

	memset(uuid, (int)(id - QS_UUID), sizeof(uuid));
	if (qs_is_uuid(id))
		qs_append(to, uuid, sizeof(uuid));
	else
		qs_append_int(to, id, 8);
}

/* Inserts a point without payload; returns its offset. */
static inline uint32_t qs_insert(struct qs_segment *s, uint64_t id)
{
	bool uuid = qs_is_uuid(id);

	if (s->immutable && !s->mapping.len)
		qs_append_int(&s->mapping, 0, 8);
	qs_append_int(&s->mapping, s->immutable ? uuid : 1 + uuid, 1);
	qs_append_id(&s->mapping, id);
	qs_append_int(&s->mapping, s->offsets, 4);
	if (s->immutable)
		pfs_put_le64(s->mapping.bytes, s->offsets + 1);
	s->versions[s->offsets] = ++s->operation;
	return s->offsets++;
}

/* Gives a value to an offset. */
static inline void qs_put(struct qs_segment *s, uint32_t offset, const char *json)
{
	uint8_t stored[QS_PAGE * 2];
	uint8_t *entry = s->tracker + 4 + 16 * offset;
	size_t len = strlen(json);

	if (s->raw) {
		memcpy(stored, json, len);
	} else {
		pfs_put_le32(stored, (uint32_t)len);
		len = 4 + (size_t)LZ4_compress_default(json, (char *)stored + 4, (int)len,
						       sizeof(stored) - 4);
	}
	pfs_put_le32(entry, 1);
	pfs_put_le32(entry + 4, s->block / (QS_PAGE / QS_BLOCK));
	pfs_put_le32(entry + 8, s->block % (QS_PAGE / QS_BLOCK));
	pfs_put_le32(entry + 12, (uint32_t)len);
	if (pfs_get_le32(s->tracker) <= offset)
		pfs_put_le32(s->tracker, offset + 1);
	memcpy(s->pages + s->block * QS_BLOCK, stored, len);
	for (size_t at = 0; at < len; at += QS_BLOCK, s->block++)
		s->bitmask[s->block / 8] |= (uint8_t)(1u << (s->block % 8));
}

/* Deletes a point; its value's entry keeps what it had but the tag. */
static inline void qs_delete(struct qs_segment *s, uint64_t id, uint32_t offset)
{
	if (s->immutable) {
		s->deleted[offset / 8] |= (uint8_t)(1u << (offset % 8));
	} else {
		qs_append_int(&s->mapping, qs_is_uuid(id) ? 4 : 3, 1);
		qs_append_id(&s->mapping, id);
	}
	s->versions[offset] = 0;
	pfs_put_le32(s->tracker + 4 + 16 * offset, 0);
}

static inline void qs_write_file(const char *directory, const char *name, const void *bytes,
				 size_t len)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (!file || (len && fwrite(bytes, 1, len, file) != len) || fclose(file))
		abort();
}

static inline void qs_write_text(const char *directory, const char *name, const char *text)
{
	qs_write_file(directory, name, text, strlen(text));
}

/* Writes the segment's files into a directory, which is made. */
static inline void qs_write(const struct qs_segment *s, const char *directory)
{
	char pages[2048], name[64], text[256];

	(void)mkdir(directory, 0777);
	snprintf(pages, sizeof(pages), "%s/payload_storage", directory);
	(void)mkdir(pages, 0777);
	snprintf(text, sizeof(text),
		 "{\"page_size_bytes\":%d,\"block_size_bytes\":%d,\"region_size_blocks\":8,"
		 "\"compression\":\"%s\"}",
		 QS_PAGE, QS_BLOCK, s->raw ? "None" : "LZ4");
	qs_write_text(pages, "config.json", text);
	qs_write_file(pages, "tracker.dat", s->tracker, sizeof(s->tracker));
	qs_write_file(pages, "bitmask.dat", s->bitmask, sizeof(s->bitmask));
	for (int i = 0; i < QS_PAGES; i++) {
		snprintf(name, sizeof(name), "page_%d.dat", i);
		qs_write_file(pages, name, s->pages + QS_PAGE * i, QS_PAGE);
	}
	qs_write_file(directory,
		      s->immutable ? "id_tracker.mappings" : "mutable_id_tracker.mappings",
		      s->mapping.bytes, s->mapping.len);
	qs_write_file(directory,
		      s->immutable ? "id_tracker.versions" : "mutable_id_tracker.versions",
		      s->versions, s->offsets * sizeof(s->versions[0]));
	if (s->immutable)
		qs_write_file(directory, "id_tracker.deleted", s->deleted, sizeof(s->deleted));
	qs_write_text(directory, "version.info", "1.16.3");
	snprintf(text, sizeof(text), "{\"version\":%llu,\"config\":{}}",
		 (unsigned long long)s->operation);
	qs_write_text(directory, "segment.json", text);
}

/* Writes a file of a write-ahead log with operations of these lengths. */
static inline void qs_write_operations(const char *directory, const char *name, const size_t *lens,
				       unsigned operations)
{
	struct qs_bytes log = {0};
	uint32_t crc = 0x12345678;

	qs_append(&log, "wal", 4);
	qs_append_int(&log, crc, 4);
	for (unsigned i = 0; i < operations; i++) {
		size_t from = log.len;
		uint32_t mirrored = 0;

		qs_append_int(&log, lens[i], 8);
		for (size_t b = 0; b < lens[i]; b++)
			qs_append_int(&log, b + i, 1);
		while (log.len % 8 != 4)
			qs_append_int(&log, 0, 1);
		for (int b = 0; b < 32; b++)
			mirrored |= (crc >> b & 1) << (31 - b);
		crc = pfs_crc32c(~mirrored, log.bytes + from, log.len - from);
		qs_append_int(&log, crc, 4);
	}
	for (int i = 0; i < 64; i++)
		qs_append_int(&log, 0, 1);
	qs_write_file(directory, name, log.bytes, log.len);
	free(log.bytes);
}

#define QS_OPERATIONS 16

/* The same with so many operations of some bytes. */
static inline void qs_write_log(const char *directory, const char *name, unsigned operations)
{
	size_t lens[QS_OPERATIONS] = {0};

	if (operations > QS_OPERATIONS)
		abort();
	for (unsigned i = 0; i < operations; i++)
		lens[i] = 5 + 7 * i;
	qs_write_operations(directory, name, lens, operations);
}

static inline void qs_free(struct qs_segment *s)
{
	free(s->mapping.bytes);
	s->mapping = (struct qs_bytes){0};
}

#endif
