/* Proves: whatever `current`, a manifest, a block of keys or a whole published collection is made
 * of, with checksums that are right as those of a hostile server are, reading it ends, stays within
 * its buffers, and gives what is consistent or an error; what is decoded and encoded again is the
 * same. */
#include "storage/chunk_cache.h"
#include "storage/crc.h"
#include "storage/manifest.h"
#include "storage/page.h"
#include "storage/publish.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mem_io.h"

#define WHERE "published"
#define DOCS 24
#define READ_MAX 70000u

/* ---- instead of the cache: what it promises, without memory and threads ---- */

struct pfs_chunk_cache {
	int none;
};

struct pfs_cached {
	struct pfs_file *file;
	uint64_t size;
	const uint32_t *crcs;
};

int pfs_chunk_cache_open(struct pfs_chunk_cache **out,
			 const struct pfs_chunk_cache_options *options)
{
	(void)options;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void pfs_chunk_cache_close(struct pfs_chunk_cache *cache)
{
	free(cache);
}

int pfs_cached_open(struct pfs_chunk_cache *cache, struct pfs_dir *origin, const char *name,
		    uint64_t size, const uint32_t *chunk_crcs, struct pfs_cached **out)
{
	struct pfs_cached *file = calloc(1, sizeof(*file));

	(void)cache;
	*out = file;
	if (!file)
		return -ENOMEM;
	file->size = size;
	file->crcs = chunk_crcs;
	if (origin->ops->open(origin, name, 0, &file->file) != 0)
		file->file = NULL;
	return 0;
}

ssize_t pfs_cached_read(struct pfs_cached *file, void *buf, size_t len, uint64_t off)
{
	static uint8_t chunk[PFS_CHUNK_SIZE];
	size_t done = 0;

	len = off < file->size ? pfs_min_u64(len, file->size - off) : 0;
	while (done < len) {
		uint64_t at = off + done, number = at / PFS_CHUNK_SIZE, in = at % PFS_CHUNK_SIZE;
		uint64_t begin = number * PFS_CHUNK_SIZE;
		size_t whole = pfs_min_u64(PFS_CHUNK_SIZE, file->size - begin);
		size_t part = pfs_min_u64(whole - in, len - done);

		if (!file->file ||
		    file->file->ops->read(file->file, chunk, whole, begin) != (ssize_t)whole ||
		    pfs_crc32c(0, chunk, whole) != file->crcs[number])
			return -EIO;
		memcpy((uint8_t *)buf + done, chunk + in, part);
		done += part;
	}
	return (ssize_t)done;
}

void pfs_cached_prefetch(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	FUZZ_CHECK(off + len <= file->size);
}

void pfs_cached_drop(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	FUZZ_CHECK(off + len <= file->size);
}

void pfs_cached_close(struct pfs_cached *file)
{
	if (file && file->file)
		file->file->ops->close(file->file);
	free(file);
}

int pfs_chunk_cache_keep(struct pfs_chunk_cache *cache, const char *name, const void *data,
			 size_t len)
{
	(void)cache;
	(void)name;
	(void)data;
	(void)len;
	return 0;
}

int pfs_chunk_cache_kept(struct pfs_chunk_cache *cache, const char *name, void **data, size_t *len)
{
	(void)cache;
	(void)name;
	(void)data;
	(void)len;
	return -ENOENT;
}

void pfs_chunk_cache_stat(struct pfs_chunk_cache *cache, struct pfs_chunk_cache_stat *out)
{
	(void)cache;
	*out = (struct pfs_chunk_cache_stat){0};
}

/* ---- single structures ---- */

static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	FUZZ_CHECK(copy != NULL);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

static void check_current(const uint8_t *bytes, size_t len)
{
	struct pfs_current_generation c;
	char text[PFS_CURRENT_LEN_MAX];

	if (pfs_current_decode(&c, (const char *)bytes, len) == 0) {
		FUZZ_CHECK(pfs_current_encode(text, &c) == len && memcmp(text, bytes, len) == 0);
		FUZZ_CHECK(c.generation > 0 && c.generation <= PFS_GENERATION_MAX);
	}
}

static void check_walk(const struct pfs_manifest *m)
{
	uint64_t rank = 0;

	for (uint32_t i = 0; i < m->block_count; i++) {
		const struct pfs_manifest_block *b = &m->blocks[i];

		FUZZ_CHECK(b->keys < m->object_count && b->page < m->object_count);
		FUZZ_CHECK(m->objects[b->keys].role == PFS_OBJECT_KEYS &&
			   m->objects[b->page].role == PFS_OBJECT_PAGE);
		FUZZ_CHECK((uint64_t)b->off + b->len <= m->objects[b->keys].len);
		FUZZ_CHECK(b->rank == rank && b->count > 0);
		rank += b->count;
	}
	FUZZ_CHECK(rank == m->points);
}

static void check_manifest(const uint8_t *data, size_t len)
{
	uint8_t *bytes = copy_of(data, len), *again;
	struct pfs_manifest m;
	const char *why;
	size_t again_len;

	if (len >= 192) {
		memcpy(bytes, "PFSMANI1", 8);
		pfs_put_le64(bytes + 24, len);
		pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
	}
	if (pfs_manifest_decode(&m, bytes, len, &why) == 0) {
		check_walk(&m);
		FUZZ_CHECK(pfs_manifest_encode(&m, &again, &again_len) == 0 && again_len == len);
		pfs_manifest_free(&m);
		FUZZ_CHECK(pfs_manifest_decode(&m, again, len, &why) == 0);
		free(again);
	} else {
		FUZZ_CHECK(!m.objects && why[0]);
	}
	pfs_manifest_free(&m);
	free(bytes);
}

static void check_block(const uint8_t *data, size_t len)
{
	struct pfs_key_block *block = malloc(sizeof(*block)), *same = malloc(sizeof(*same));
	uint8_t *bytes = copy_of(data, len), *again = malloc(PFS_KEY_BLOCK_LEN_MAX);

	FUZZ_CHECK(block && same && again);
	if (len >= PFS_KEY_BLOCK_HEADER_LEN)
		pfs_put_le32(bytes, pfs_crc32c(0, bytes + 4, len - 4));
	if (pfs_key_block_decode(block, bytes, len) == 0) {
		size_t again_len = pfs_key_block_encode(again, block);

		FUZZ_CHECK(block->count > 0 && block->count <= PFS_KEY_BLOCK_MAX);
		for (uint32_t i = 1; i < block->count; i++)
			FUZZ_CHECK(memcmp(block->entries[i - 1].key, block->entries[i].key, 16) <
				   0);
		FUZZ_CHECK(again_len <= PFS_KEY_BLOCK_LEN_MAX &&
			   pfs_key_block_decode(same, again, again_len) == 0 &&
			   same->count == block->count);
		FUZZ_CHECK(memcmp(&same->entries[block->count - 1],
				  &block->entries[block->count - 1], 16) == 0);
	}
	free(block);
	free(same);
	free(again);
	free(bytes);
}

/* ---- a collection ---- */

/* As it was published, once: every input begins with it. */
struct made {
	struct pfs_manifest m;
	uint8_t *manifest;
	size_t manifest_len;
	uint8_t **objects;
};

static size_t make_doc(unsigned i, char *out)
{
	static const size_t sizes[] = {0, 5, 40, 700, 66000, 140000};
	size_t size = sizes[i % 6];

	for (size_t at = 0; at < size; at++)
		out[at] = i % 4 ? "{\"city\":\"Bonn\"} "[at % 16] : (char)pfs_mix64(at * 7 + i);
	return size;
}

static void publish_docs(struct pfs_publish *p)
{
	char *bytes = malloc(140000);

	FUZZ_CHECK(bytes != NULL);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_attr attr = {.mode = i % 3 ? 0644 : 0600, .mtime_ns = i % 5};
		struct pfs_key key = pfs_key_num(3 * i);
		size_t len = make_doc(i, bytes);

		if (i >= DOCS / 2) {
			key = (struct pfs_key){.kind = PFS_KEY_UUID};
			key.uuid[0] = (uint8_t)i;
		}
		FUZZ_CHECK(pfs_publish_add(p, &key, &attr, bytes, len) == 0);
	}
	free(bytes);
}

static uint8_t *take_file(const char *name, size_t *len)
{
	struct mem_file *file = mem_io_file(name);

	*len = mem_io_size(file);
	return copy_of(mem_io_bytes(file), *len);
}

static const struct made *make(void)
{
	static struct made made;
	const struct pfs_publish_options options = {.defaults = {.mode = 0644}, .threads = 1};
	struct pfs_publish_result result;
	struct pfs_publish *p;
	struct pfs_dir *dir;
	const char *why;

	if (made.manifest)
		return &made;
	mem_io_reset();
	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, WHERE, PFS_IO_WRITE | PFS_IO_CREATE, &dir) == 0);
	FUZZ_CHECK(pfs_publish_begin(&p, dir, WHERE, &options, NULL) == 0);
	publish_docs(p);
	FUZZ_CHECK(pfs_publish_commit(p, &result) == 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	made.manifest = take_file("generation-00000001", &made.manifest_len);
	FUZZ_CHECK(pfs_manifest_decode(&made.m, made.manifest, made.manifest_len, &why) == 0);
	made.objects = calloc(made.m.object_count, sizeof(*made.objects));
	FUZZ_CHECK(made.objects != NULL);
	for (uint32_t i = 0; i < made.m.object_count; i++) {
		char name[PFS_OBJECT_NAME_MAX];
		size_t len;

		pfs_object_name(name, made.m.objects[i].role, made.m.objects[i].hash);
		made.objects[i] = take_file(name, &len);
	}
	return &made;
}

/* Bytes of it that are turned into others: u8 which object (its number, else the manifest), u32
 * where, u8 what. */
static void mutate(struct fuzz_in *in, const struct made *made, uint8_t **objects,
		   uint8_t *manifest)
{
	unsigned count = fuzz_u8(in) % 32;

	while (count--) {
		unsigned which = fuzz_u8(in) % (made->m.object_count + 1);
		uint32_t off = fuzz_u32(in);
		uint8_t byte = fuzz_u8(in);

		if (which < made->m.object_count)
			objects[which][off % made->m.objects[which].len] = byte;
		else
			manifest[off % made->manifest_len] = byte;
	}
}

/* Right checksums: of blocks of keys, headers of pages, containers. */
static void seal_object(const struct made *made, uint32_t i, uint8_t *bytes)
{
	const struct pfs_manifest_object *o = &made->m.objects[i];

	for (uint32_t b = 0; b < made->m.block_count; b++) {
		const struct pfs_manifest_block *block = &made->m.blocks[b];

		if (block->keys == i)
			pfs_put_le32(bytes + block->off,
				     pfs_crc32c(0, bytes + block->off + 4, block->len - 4));
	}
	if (o->role != PFS_OBJECT_PAGE)
		return;
	pfs_put_le32(bytes + 4, pfs_crc32c(0, bytes + 8, 56));
	pfs_put_le32(bytes + o->len - 60, pfs_crc32c(0, bytes + o->len - 56, 56));
	for (uint32_t s = 0; s < o->count; s++) {
		const struct pfs_slot_disk *disk =
			(const struct pfs_slot_disk *)(made->objects[i] + pfs_slot_offset(s));
		struct pfs_container_base base = {.base_seq = PFS_PUBLISHED_SEQ,
						  .base_mtime = o->base_mtime};
		uint64_t size = UINT64_C(1) << o->size_log2, at;
		struct pfs_container c;
		struct pfs_slot slot;

		FUZZ_CHECK(pfs_slot_decode(&slot, disk, 0, size) == 0);
		base.kind = slot.kind;
		base.tag = slot.tag;
		at = slot.off - (size - o->len);
		if (pfs_container_header_decode(&c, bytes + at, slot.len, slot.len, &base) == 0)
			pfs_container_seal(bytes + at, c.header_len, c.body_len, c.flags, c.seq,
					   &base);
	}
}

static void put_collection(struct fuzz_in *in)
{
	const struct made *made = make();
	uint8_t *manifest = copy_of(made->manifest, made->manifest_len), **objects;
	struct pfs_current_generation current = {1, made->manifest_len, 0};
	unsigned flags = fuzz_u8(in);
	char text[PFS_CURRENT_LEN_MAX];
	size_t crcs = made->manifest_len - made->m.chunk_count * 4;

	objects = calloc(made->m.object_count, sizeof(*objects));
	FUZZ_CHECK(objects != NULL);
	for (uint32_t i = 0; i < made->m.object_count; i++)
		objects[i] = copy_of(made->objects[i], made->m.objects[i].len);
	mutate(in, made, objects, manifest);
	for (uint32_t i = 0; i < made->m.object_count; i++) {
		const struct pfs_manifest_object *o = &made->m.objects[i];
		char name[PFS_OBJECT_NAME_MAX];

		if (flags & 1)
			seal_object(made, i, objects[i]);
		for (uint64_t c = 0; c < pfs_chunks_of(o->len); c++)
			pfs_put_le32(
				manifest + crcs + (o->chunk + c) * 4,
				pfs_crc32c(0, objects[i] + c * PFS_CHUNK_LEN,
					   pfs_min_u64(PFS_CHUNK_LEN, o->len - c * PFS_CHUNK_LEN)));
		pfs_object_name(name, o->role, o->hash);
		mem_io_put(mem_io_file(name), 0, objects[i], o->len);
		free(objects[i]);
	}
	pfs_put_le32(manifest + 8, pfs_crc32c(0, manifest + 12, made->manifest_len - 12));
	mem_io_put(mem_io_file("generation-00000001"), 0, manifest, made->manifest_len);
	current.crc = pfs_crc32c(0, manifest, made->manifest_len);
	mem_io_put(mem_io_file(PFS_CURRENT_NAME), 0, text, pfs_current_encode(text, &current));
	free(objects);
	free(manifest);
}

/* All that is there, by every way. */
static void read_everything(struct pfs_store *store)
{
	struct pfs_listed listed[7], last = {0};
	uint8_t *buf = malloc(READ_MAX);
	ssize_t n;

	FUZZ_CHECK(buf != NULL);
	while ((n = pfs_list(store, last.cookie, listed, 7)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct pfs_place place;
			struct pfs_attr attr;
			struct pfs_key key;
			uint32_t object;

			FUZZ_CHECK(!last.object || pfs_key_compare(&last.key, &listed[i].key) < 0);
			last = listed[i];
			FUZZ_CHECK(pfs_lookup(store, &last.key, &object, &attr) == 0);
			FUZZ_CHECK(object == last.object);
			FUZZ_CHECK(pfs_object_key(store, object, &key) == 0 &&
				   pfs_key_equal(&key, &last.key));
			for (uint64_t off = 0; off < attr.size + 1; off += READ_MAX / 2 + 1) {
				ssize_t got = pfs_read(store, object, off, buf, READ_MAX);

				FUZZ_CHECK(got < 0 ||
					   (uint64_t)got ==
						   pfs_min_u64(READ_MAX,
							       attr.size - pfs_min_u64(off,
										       attr.size)));
				if (got < 0 || off > 4 * READ_MAX)
					break;
			}
			(void)pfs_place(store, &last.key, &place);
		}
	}
	free(buf);
}

static void check_collection(struct fuzz_in *in)
{
	const struct pfs_open_options options = {
		.read_only = true, .io = &mem_io, .logger = fuzz_logger()};
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct pfs_store *store;

	if (!pfs_hash_version())
		return; /* there is nothing to publish one with */
	(void)make();
	mem_io_reset();
	put_collection(in);
	if (pfs_store_open(&store, WHERE, &options, &reason) == 0) {
		read_everything(store);
		(void)pfs_store_check(store, NULL, NULL, NULL, NULL, &result);
		FUZZ_CHECK(pfs_store_close(store) == 0);
	} else {
		FUZZ_CHECK(reason.text[0]);
	}
	FUZZ_CHECK(mem_io_open_count() == 0);
}

/* u8 what it is; the rest is its bytes. Of a collection: u8 flags, u8 count, then changes as of
 * mutate. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);

	switch (fuzz_u8(&in) % 4) {
	case 0: check_current(in.at, fuzz_left(&in)); break;
	case 1: check_manifest(in.at, fuzz_left(&in)); break;
	case 2: check_block(in.at, fuzz_left(&in)); break;
	default: check_collection(&in); break;
	}
	return 0;
}
