/* Short forms for tests that publish to a directory of the sim, and a reader of what is there that
 * uses none of the code which reads it in earnest: every byte is looked at. */
#ifndef PFS_TEST_PUBLISH_HELPERS_H
#define PFS_TEST_PUBLISH_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/codec.h"
#include "storage/crc.h"
#include "storage/export_line.h"
#include "storage/manifest.h"
#include "storage/page.h"
#include "storage/publish.h"
#include "tests/sim/sim.h"

#define WHERE "published"

/* Of many cases that are alike fewer are tried where each takes long: TEST_SAMPLE in the
 * environment (sanitizers). */
static inline bool publish_takes_samples(void)
{
	const char *sample = getenv("TEST_SAMPLE");

	return sample && strtoul(sample, NULL, 10) > 1;
}

static inline void publish_ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* What is to be published: document i of count. */
struct source {
	uint64_t count;
	/* Fills in key and attributes; *data is malloc'ed. */
	void (*doc)(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		    char **data, size_t *len);
	uint64_t changed; /* that one document has another payload; UINT64_MAX: none */
	uint64_t absent;  /* is left out */
	uint64_t size;	  /* of a document, for doc */
	unsigned version;
};

static inline struct pfs_publish_options publish_options(void)
{
	struct pfs_publish_options o = {.defaults = {.mode = 0644},
					.sequence = 42,
					.moment_ns = 1700000000000000000,
					.threads = 2,
					.logger = {.fn = publish_ignore_log}};

	memset(o.source, 7, sizeof(o.source));
	return o;
}

static inline struct pfs_dir *open_where(const struct pfs_io *io)
{
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, WHERE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	return dir;
}

/* Publishes all of it; keep 0: nothing is pruned. */
static inline int publish_to(struct pfs_dir *dir, const struct source *s,
			     const struct pfs_publish_options *options, uint32_t keep,
			     struct pfs_publish_result *result, struct pfs_prune_result *pruned)
{
	struct pfs_publish *p;
	struct pfs_reason reason;
	int err = pfs_publish_begin(&p, dir, WHERE, options, &reason);

	*result = (struct pfs_publish_result){0};
	for (unsigned adding = 0; adding < 2; adding++) {
		for (uint64_t i = 0; i < s->count && !err; i++) {
			struct pfs_attr attr = {0};
			struct pfs_key key;
			char *data;
			size_t len;

			if (i == s->absent || (!adding && i % 3))
				continue;
			s->doc(s, i, &key, &attr, &data, &len);
			err = adding ? pfs_publish_add(p, &key, &attr, data, len)
				     : pfs_publish_sample(p, data, len);
			free(data);
		}
	}
	if (!err)
		err = pfs_publish_commit(p, result);
	if (!err && keep)
		err = pfs_publish_prune(p, keep, pruned);
	pfs_publish_end(p);
	return err;
}

static inline struct pfs_publish_result publish_ok(const struct pfs_io *io, const struct source *s)
{
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result result;
	struct pfs_dir *dir = open_where(io);

	assert_int_equal(publish_to(dir, s, &options, 0, &result, NULL), 0);
	dir->ops->close_dir(dir);
	return result;
}

/* ---- reading it ---- */

/* All of a file; NULL: it can't be had. */
static inline uint8_t *read_file(struct pfs_dir *dir, const char *name, size_t *len)
{
	struct pfs_file *file;
	uint8_t *bytes = NULL;
	uint64_t size;

	*len = 0;
	if (dir->ops->open(dir, name, 0, &file) != 0)
		return NULL;
	if (dir->ops->size(file, &size) == 0) {
		bytes = malloc(size + 1);
		if (dir->ops->read(file, bytes, size, 0) != (ssize_t)size) {
			free(bytes);
			bytes = NULL;
		}
		*len = size;
	}
	dir->ops->close(file);
	return bytes;
}

/* Of the generation that `current` names. 0: there is none. */
static inline uint32_t read_generation(struct pfs_dir *dir, struct pfs_manifest *m)
{
	struct pfs_current_generation current;
	char name[PFS_OBJECT_NAME_MAX];
	const char *why;
	size_t len;
	uint8_t *bytes = read_file(dir, PFS_CURRENT_NAME, &len);

	if (!bytes)
		return 0;
	assert_int_equal(pfs_current_decode(&current, (char *)bytes, len), 0);
	free(bytes);
	pfs_generation_name(name, current.generation);
	bytes = read_file(dir, name, &len);
	assert_non_null(bytes);
	assert_int_equal(len, current.len);
	assert_int_equal(pfs_crc32c(0, bytes, len), current.crc);
	assert_int_equal(pfs_manifest_decode(m, bytes, len, &why), 0);
	free(bytes);
	assert_int_equal(m->generation, current.generation);
	return m->generation;
}

/* An object, every chunk of it verified. */
static inline uint8_t *read_object(struct pfs_dir *dir, const struct pfs_manifest *m, uint32_t i)
{
	const struct pfs_manifest_object *o = &m->objects[i];
	char name[PFS_OBJECT_NAME_MAX];
	size_t len;
	uint8_t *bytes;

	pfs_object_name(name, o->role, o->hash);
	bytes = read_file(dir, name, &len);
	if (!bytes)
		fail_msg("%s is missing", name);
	assert_int_equal(len, o->len);
	for (uint64_t c = 0; c < pfs_chunks_of(len); c++)
		assert_int_equal(m->crcs[o->chunk + c],
				 pfs_crc32c(0, bytes + c * PFS_CHUNK_LEN,
					    pfs_min_u64(PFS_CHUNK_LEN, len - c * PFS_CHUNK_LEN)));
	return bytes;
}

/* The payload of a container, malloc'ed. */
static inline uint8_t *unpack_container(const struct pfs_container *c, const uint8_t *bytes,
					const struct pfs_codec_dict *dict, uint32_t dict_number)
{
	const uint8_t *body = bytes + c->header_len;
	uint8_t *out = malloc(c->raw_len + 1);
	uint64_t table = pfs_block_count(c->raw_len) * PFS_BLOCK_ENTRY_LEN, start = 0;

	if (!(c->flags & PFS_CONTAINER_BLOCKS)) {
		if (c->flags & PFS_CONTAINER_LZ4) {
			assert_int_equal(c->dict, dict ? dict_number : 0);
			assert_int_equal(pfs_codec_unpack(out, c->raw_len, body, c->body_len, dict),
					 0);
		} else {
			assert_int_equal(c->dict, 0);
			memcpy(out, body, c->raw_len);
		}
		return out;
	}
	for (uint64_t i = 0; i < pfs_block_count(c->raw_len); i++) {
		uint32_t end = pfs_get_le32(body + 8 * i), raw = pfs_block_raw_len(c->raw_len, i);
		const uint8_t *stored = body + table + start;

		assert_int_equal(pfs_get_le32(body + 8 * i + 4),
				 pfs_block_crc(c->content, (uint32_t)i, end, stored, end - start));
		if (end - start == raw)
			memcpy(out + i * PFS_BLOCK_LEN, stored, raw);
		else
			assert_int_equal(pfs_codec_unpack(out + i * PFS_BLOCK_LEN, raw, stored,
							  end - start, NULL),
					 0);
		start = end;
	}
	assert_int_equal(table + start, c->body_len);
	return out;
}

/* One document: the entry, the slot, the container, the payload. */
static inline void verify_doc(const struct pfs_manifest *m, const struct pfs_manifest_object *o,
			      const uint8_t *page, const struct pfs_page_header *header,
			      uint32_t slot_number, unsigned kind, const struct pfs_key_entry *e,
			      const struct source *s, uint64_t i, const struct pfs_codec_dict *dict)
{
	struct pfs_container_base base = {kind, 0, header->base_seq, header->base_mtime};
	struct pfs_attr attr = {0};
	struct pfs_container c;
	struct pfs_key key, found;
	struct pfs_slot slot;
	uint8_t *got;
	char *data;
	size_t len;

	s->doc(s, i, &key, &attr, &data, &len);
	assert_int_equal(
		pfs_slot_decode(&slot,
				(const struct pfs_slot_disk *)(page + pfs_slot_offset(slot_number)),
				header->floor, header->page_size - 64),
		0);
	base.tag = slot.tag;
	assert_int_equal(slot.kind, kind);
	assert_int_equal(slot.off, header->floor + e->off);
	assert_int_equal(slot.len, e->len);
	page += o->head + e->off;
	assert_int_equal(pfs_container_header_decode(&c, page, e->len, e->len, &base), 0);
	assert_int_equal(pfs_container_verify(&c, page, &base), 0);
	assert_int_equal(pfs_container_key(&found, &c, kind, slot.tag), 0);
	assert_true(pfs_key_equal(&found, &key));
	pfs_key_from_bytes(&found, kind, e->key);
	assert_true(pfs_key_equal(&found, &key));
	assert_int_equal(c.raw_len, len);
	assert_int_equal(e->raw_len, len);
	assert_int_equal(c.mtime_ns, attr.mtime_ns);
	assert_int_equal(e->mtime_ns, attr.mtime_ns);
	assert_int_equal(e->own_attr ? e->mode : m->mode, attr.mode);
	assert_int_equal(e->own_attr ? e->uid : m->uid, attr.uid);
	assert_int_equal(e->own_attr ? e->gid : m->gid, attr.gid);
	assert_int_equal(!!(c.flags & PFS_CONTAINER_ATTR), e->own_attr);
	assert_true(!e->own_attr || (c.mode == e->mode && c.uid == e->uid && c.gid == e->gid));
	assert_int_equal(e->plain, pfs_line_is_plain(data, len));
	got = unpack_container(&c, page, dict, dict ? m->objects[0].count : 0);
	assert_memory_equal(got, data, len);
	free(got);
	free(data);
}

/* Everything that the current generation says is what the source has, no more and no less. Returns
 * the number of the generation; 0: there is none. */
static inline uint32_t verify_published(struct pfs_dir *dir, const struct source *s)
{
	struct pfs_key_block *block = malloc(sizeof(*block));
	struct pfs_codec_dict *dict = NULL;
	struct pfs_page_header header = {0};
	uint8_t *keys = NULL, *page = NULL;
	struct pfs_manifest m;
	uint64_t next = 0, raw = 0;
	uint32_t generation = read_generation(dir, &m);
	const char *why;

	if (generation && m.object_count && m.objects[0].role == PFS_OBJECT_DICT) {
		uint8_t *bytes = read_object(dir, &m, 0);

		assert_int_equal(pfs_codec_dict_new(&dict, bytes, m.objects[0].len), 0);
		free(bytes);
	}
	for (uint32_t b = 0; generation && b < m.block_count; b++) {
		const struct pfs_manifest_block *about = &m.blocks[b];
		const struct pfs_manifest_object *o = &m.objects[about->page];

		if (about->begins_keys) {
			free(keys);
			keys = read_object(dir, &m, about->keys);
		}
		if (about->begins_page) {
			free(page);
			page = read_object(dir, &m, about->page);
			assert_int_equal(pfs_page_header_decode(&header,
								(struct pfs_page_disk *)page,
								m.uuid, &why),
					 0);
			assert_memory_equal(page, page + o->len - 64, 64);
			assert_int_equal(header.page_size, UINT64_C(1) << o->size_log2);
			assert_int_equal(header.slot_count, o->count);
			assert_int_equal(header.floor - o->head, header.page_size - o->len);
		}
		assert_int_equal(pfs_key_block_decode(block, keys + about->off, about->len), 0);
		assert_int_equal(block->count, about->count);
		assert_memory_equal(block->entries[0].key, about->key, 16);
		assert_int_equal(block->first + o->first_rank, about->rank);
		for (uint32_t e = 0; e < block->count; e++, next++) {
			next += next == s->absent;
			verify_doc(&m, o, page, &header, block->first + e, block->kind,
				   &block->entries[e], s, next, dict);
			raw += block->entries[e].raw_len;
		}
	}
	if (generation) {
		next += next == s->absent;
		assert_int_equal(next, s->count);
		assert_int_equal(raw, m.raw_bytes);
		pfs_manifest_free(&m);
	}
	pfs_codec_dict_free(dict);
	free(keys);
	free(page);
	free(block);
	return generation;
}

static inline uint32_t verify_in(const struct pfs_io *io, const struct source *s)
{
	struct pfs_dir *dir = open_where(io);
	uint32_t generation = verify_published(dir, s);

	dir->ops->close_dir(dir);
	return generation;
}

/* ---- documents ---- */

static inline void set_uuid(struct pfs_key *key, uint64_t high, uint64_t low)
{
	*key = (struct pfs_key){.kind = PFS_KEY_UUID};
	for (int i = 0; i < 8; i++) {
		key->uuid[i] = (uint8_t)(high >> (56 - 8 * i));
		key->uuid[8 + i] = (uint8_t)(low >> (56 - 8 * i));
	}
}

/* A record of about s->size bytes under the number 3 i, all of one time. */
static inline void record_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			      struct pfs_attr *attr, char **data, size_t *len)
{
	size_t size = s->size, n;
	uint64_t r = pfs_mix64(i + 1);
	char *out = malloc(size + 256);

	*key = pfs_key_num(3 * i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 1600000000000000000};
	n = (size_t)snprintf(out, 256, "{\"id\":%llu,\"city\":\"%x\",\"v\":%u,\"text\":\"",
			     (unsigned long long)i, (unsigned)pfs_mix64(r % 500),
			     i == s->changed ? s->version : 0);
	while (n < size)
		n += (size_t)snprintf(out + n, 20, "%x ",
				      (unsigned)pfs_mix64(1 + (r = pfs_mix64(r)) % 4000));
	memcpy(out + n, "\"}", 3);
	*data = out;
	*len = n + 2;
}

/* The same in other words. */
static inline void other_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			     struct pfs_attr *attr, char **data, size_t *len)
{
	record_doc(s, i, key, attr, data, len);
	for (size_t at = 0; at < *len; at++) {
		char c = (*data)[at];

		if (c >= '0' && c <= '9')
			(*data)[at] = (char)(c - '0' + 'K');
		else if (c >= 'a' && c <= 'z')
			(*data)[at] = (char)('A' + (c - 'a' + 7) % 26);
	}
}

/* Of all sorts: sizes from 0 to several blocks (up to s->size, if that is not 0), numbers and
 * UUIDs, times and owners, no JSON. */
static inline void odd_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			   struct pfs_attr *attr, char **data, size_t *len)
{
	static const size_t sizes[] = {0, 1, 15, 16, 100, 5000, 65535, 65536, 65537, 200000};
	uint64_t r = pfs_mix64(i + 99), half = s->count / 2;
	size_t size = s->size ? pfs_min_u64(s->size, sizes[i % 10]) : sizes[i % 10];
	char *out = malloc(size + 1);

	if (i < half)
		*key = pfs_key_num(i + 1 == half ? UINT64_MAX : i * i);
	else
		set_uuid(key, i, r);
	*attr = (struct pfs_attr){.mode = i % 4 ? 0644 : 0600,
				  .uid = i % 8 ? 0 : 1000,
				  .mtime_ns = i % 3 ? 5 : (int64_t)(r >> 1) - INT64_MAX / 2};
	for (size_t at = 0; at < size; at++)
		out[at] = i % 3 == 0   ? (char)pfs_mix64(r + at)
			  : i % 3 == 1 ? '0'
				       : "[1, 2]   "[at % 9];
	if (i == s->changed && size)
		out[size / 2] ^= (char)s->version;
	*data = out;
	*len = size;
}

/* Makes the file, or makes it anew. */
static inline void write_file(struct pfs_dir *dir, const char *name, const void *bytes, size_t len)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	assert_int_equal(file->ops->truncate(file, len), 0);
	assert_int_equal(file->ops->write(file, bytes, len, 0), 0);
	dir->ops->close(file);
}

static inline void put_file(struct pfs_dir *dir, const char *name)
{
	write_file(dir, name, "x", 1);
}

/* Makes the manifest that of generation `number`, and it the current one, whatever it says. */
static inline void put_current(struct pfs_dir *dir, uint32_t number, const struct pfs_manifest *m)
{
	struct pfs_current_generation current = {.generation = number};
	char text[PFS_CURRENT_LEN_MAX], name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;

	assert_int_equal(pfs_manifest_encode(m, &bytes, &len), 0);
	pfs_generation_name(name, number);
	write_file(dir, name, bytes, len);
	current.len = len;
	current.crc = pfs_crc32c(0, bytes, len);
	free(bytes);
	write_file(dir, PFS_CURRENT_NAME, text, pfs_current_encode(text, &current));
}

struct listing {
	unsigned objects, generations, others;
};

static inline int count_name(void *arg, const char *name)
{
	struct listing *l = arg;
	uint32_t generation;
	unsigned role;

	if (pfs_object_is_name(name, &role, NULL))
		l->objects++;
	else if (pfs_generation_is_name(name, &generation))
		l->generations++;
	else if (strcmp(name, PFS_CURRENT_NAME) && strcmp(name, PFS_PUBLISH_LOCK_NAME))
		l->others++;
	return 0;
}

static inline struct listing list_where(struct pfs_dir *dir)
{
	struct listing l = {0};

	assert_int_equal(dir->ops->list(dir, count_name, &l), 0);
	return l;
}

/* Of these, how many of a role are not in `before`. */
static inline unsigned count_new(const struct pfs_manifest *before, const struct pfs_manifest *m,
				 unsigned role)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < m->object_count; i++) {
		bool there = false;

		for (uint32_t k = 0; k < before->object_count; k++)
			there |= memcmp(before->objects[k].hash, m->objects[i].hash,
					PFS_HASH_LEN) == 0;
		count += m->objects[i].role == role && !there;
	}
	return count;
}

#endif
