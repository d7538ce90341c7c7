/* storage/manifest.c: what is encoded comes back; no other bytes are taken for it, and what is
 * taken for one can be used without looking further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/manifest.h"

#define PAGES 5
#define BLOCKS_OF_PAGE 3
#define BLOCK_COUNT (PAGES * BLOCKS_OF_PAGE)
#define OBJECTS (1 + 2 + PAGES)

/* A dictionary, two objects of keys (of two and of three pages), five pages of three blocks. */
static struct pfs_manifest make(void)
{
	struct pfs_manifest m = {.generation = 7,
				 .published_ns = -5,
				 .sequence = 1234567,
				 .raw_bytes = 99,
				 .container_bytes = 88,
				 .mode = 0640,
				 .uid = 1000,
				 .gid = 1001,
				 .dict_raw = 3,
				 .dict_packed = 2,
				 .object_count = OBJECTS,
				 .block_count = BLOCK_COUNT};
	uint32_t keys_len[2] = {0, 0};

	for (unsigned i = 0; i < PFS_UUID_LEN; i++) {
		m.uuid[i] = (uint8_t)(i + 1);
		m.source[i] = (uint8_t)(i + 101);
	}
	m.objects = calloc(OBJECTS, sizeof(*m.objects));
	m.blocks = calloc(BLOCK_COUNT, sizeof(*m.blocks));
	for (uint32_t i = 0; i < BLOCK_COUNT; i++) {
		struct pfs_manifest_block *b = &m.blocks[i];
		uint32_t page = i / BLOCKS_OF_PAGE;
		struct pfs_key key = pfs_key_num(UINT64_C(1000) * i);

		b->kind = i < 9 ? PFS_KEY_NUM : PFS_KEY_UUID;
		pfs_key_to_bytes(b->key, &key);
		b->key[15] = b->kind == PFS_KEY_UUID;
		b->count = (uint16_t)(i % 4 ? 1024 : 5);
		b->len = 5000 + i;
		b->begins_page = i % BLOCKS_OF_PAGE == 0;
		b->begins_keys = i == 0 || i == 2 * BLOCKS_OF_PAGE;
		keys_len[page >= 2] += b->len;
		m.objects[3 + page].count += b->count;
		m.points += b->count;
	}
	m.objects[0] =
		(struct pfs_manifest_object){.role = PFS_OBJECT_DICT, .len = 65536, .count = 3};
	for (unsigned i = 0; i < 2; i++)
		m.objects[1 + i] =
			(struct pfs_manifest_object){.role = PFS_OBJECT_KEYS, .len = keys_len[i]};
	for (unsigned i = 0; i < PAGES; i++) {
		struct pfs_manifest_object *o = &m.objects[3 + i];

		o->role = PFS_OBJECT_PAGE;
		o->size_log2 = 20;
		o->head = 64 + 16 * o->count;
		o->len = o->head + 64 + 100 * o->count;
		o->base_mtime = -(int64_t)i;
		memset(o->digest, 0x40 + (int)i, sizeof(o->digest));
	}
	for (unsigned i = 0; i < OBJECTS; i++) {
		memset(m.objects[i].hash, (int)i + 1, PFS_HASH_LEN);
		m.chunk_count += pfs_chunks_of(m.objects[i].len);
	}
	m.crcs = calloc(m.chunk_count, sizeof(*m.crcs));
	for (uint64_t i = 0; i < m.chunk_count; i++)
		m.crcs[i] = (uint32_t)pfs_mix64(i);
	return m;
}

static uint8_t *encoded(const struct pfs_manifest *m, size_t *len)
{
	uint8_t *bytes;

	assert_int_equal(pfs_manifest_encode(m, &bytes, len), 0);
	return bytes;
}

/* What a decoded manifest promises, and everything in it that is not on disk. */
static void assert_consistent(const struct pfs_manifest *m)
{
	uint64_t rank = 0, chunks = 0, off = 0;
	uint32_t keys_at = 0, page_at;

	while (keys_at < m->object_count && m->objects[keys_at].role == PFS_OBJECT_DICT)
		keys_at++;
	page_at = keys_at;
	while (page_at < m->object_count && m->objects[page_at].role == PFS_OBJECT_KEYS)
		page_at++;
	for (uint32_t i = 0; i < m->block_count; i++) {
		const struct pfs_manifest_block *b = &m->blocks[i];
		const struct pfs_manifest_object *keys, *page;

		keys_at += b->begins_keys && i;
		page_at += b->begins_page && i;
		assert_true(keys_at < m->object_count && page_at < m->object_count);
		assert_int_equal(b->keys, keys_at);
		assert_int_equal(b->page, page_at);
		keys = &m->objects[b->keys];
		page = &m->objects[b->page];
		assert_int_equal(keys->role, PFS_OBJECT_KEYS);
		assert_int_equal(page->role, PFS_OBJECT_PAGE);
		if (b->begins_keys) {
			assert_int_equal(keys->first_block, i);
			off = 0;
		}
		if (b->begins_page) {
			assert_int_equal(page->first_block, i);
			assert_int_equal(page->first_rank, rank);
		}
		assert_int_equal(b->off, off);
		off += b->len;
		assert_true(off <= keys->len);
		assert_int_equal(b->rank, rank);
		rank += b->count;
		assert_true(rank <= page->first_rank + page->count);
		if (i)
			assert_true(b->kind > b[-1].kind || memcmp(b->key, b[-1].key, 16) > 0);
	}
	assert_int_equal(rank, m->points);
	for (uint32_t i = 0; i < m->object_count; i++) {
		const struct pfs_manifest_object *o = &m->objects[i];

		assert_int_equal(o->chunk, chunks);
		chunks += (o->len + 65535) / 65536;
		if (o->role != PFS_OBJECT_PAGE)
			continue;
		assert_true(o->head + (uint64_t)PFS_PAGE_TRAILER_LEN < o->len);
		assert_true(o->len <= UINT64_C(1) << o->size_log2);
		assert_int_equal(pfs_page_hole(o), (UINT64_C(1) << o->size_log2) - o->len);
		assert_int_equal(pfs_page_containers(o), 64 + 16 * (uint64_t)o->count);
		assert_int_equal(pfs_page_containers_len(o),
				 o->len - 128 - 16 * (uint64_t)o->count);
	}
	assert_int_equal(chunks, m->chunk_count);
}

static void it_comes_back(void **state)
{
	struct pfs_manifest m = make(), got;
	const char *why;
	size_t len;
	uint8_t *bytes = encoded(&m, &len);

	(void)state;
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), 0);
	assert_string_equal(why, "");
	assert_memory_equal(got.uuid, m.uuid, sizeof(m.uuid));
	assert_memory_equal(got.source, m.source, sizeof(m.source));
	assert_int_equal(got.generation, 7);
	assert_int_equal(got.published_ns, -5);
	assert_int_equal(got.sequence, 1234567);
	assert_int_equal(got.points, m.points);
	assert_int_equal(got.raw_bytes, 99);
	assert_int_equal(got.container_bytes, 88);
	assert_int_equal(got.mode, 0640);
	assert_int_equal(got.uid, 1000);
	assert_int_equal(got.gid, 1001);
	assert_int_equal(got.dict_raw, 3);
	assert_int_equal(got.dict_packed, 2);
	assert_int_equal(got.object_count, OBJECTS);
	assert_int_equal(got.block_count, BLOCK_COUNT);
	assert_memory_equal(got.crcs, m.crcs, m.chunk_count * sizeof(*m.crcs));
	for (uint32_t i = 0; i < OBJECTS; i++) {
		const struct pfs_manifest_object *a = &m.objects[i], *b = &got.objects[i];

		assert_memory_equal(a->hash, b->hash, PFS_HASH_LEN);
		assert_memory_equal(a->digest, b->digest, PFS_HASH_LEN);
		assert_true(a->role == b->role && a->len == b->len && a->head == b->head &&
			    a->count == b->count && a->base_mtime == b->base_mtime &&
			    a->size_log2 == b->size_log2);
	}
	for (uint32_t i = 0; i < BLOCK_COUNT; i++) {
		const struct pfs_manifest_block *a = &m.blocks[i], *b = &got.blocks[i];

		assert_memory_equal(a->key, b->key, sizeof(a->key));
		assert_true(a->kind == b->kind && a->begins_page == b->begins_page &&
			    a->begins_keys == b->begins_keys && a->count == b->count &&
			    a->len == b->len);
	}
	assert_int_equal(got.blocks[7].keys, 2);
	assert_int_equal(got.blocks[7].page, 5);
	assert_int_equal(got.blocks[7].off, 5006);
	assert_consistent(&got);
	pfs_manifest_free(&got);
	pfs_manifest_free(&m);
	free(bytes);
}

/* Proves: each field lies where the format says, little-endian, and nothing lies elsewhere. */
static void fields_lie_where_the_format_says(void **state)
{
	struct pfs_manifest m = make();
	size_t len;
	uint8_t *bytes = encoded(&m, &len);
	uint8_t *want = calloc(1, 192 + 64 * OBJECTS + 24 * BLOCK_COUNT + 4 * m.chunk_count);
	uint8_t *p = want + 192;

	(void)state;
	assert_non_null(want);
	memcpy(want, "PFSMANI1", 8);
	pfs_put_le16(want + 12, 1);
	pfs_put_le64(want + 24, len);
	memcpy(want + 32, m.uuid, 16);
	memcpy(want + 48, m.source, 16);
	pfs_put_le32(want + 64, 7);
	pfs_put_le32(want + 68, 0640);
	pfs_put_le32(want + 72, 1000);
	pfs_put_le32(want + 76, 1001);
	pfs_put_le64(want + 80, UINT64_MAX - 4);
	pfs_put_le64(want + 88, 1234567);
	pfs_put_le64(want + 96, m.points);
	pfs_put_le64(want + 104, 99);
	pfs_put_le64(want + 112, 88);
	pfs_put_le64(want + 120, 3);
	pfs_put_le64(want + 128, 2);
	pfs_put_le32(want + 136, OBJECTS);
	pfs_put_le32(want + 140, BLOCK_COUNT);
	pfs_put_le64(want + 144, m.chunk_count);
	for (unsigned i = 0; i < OBJECTS; i++, p += 64) {
		memcpy(p, m.objects[i].hash, 16);
		memcpy(p + 16, m.objects[i].digest, 16);
		pfs_put_le64(p + 32, m.objects[i].len);
		pfs_put_le64(p + 40, (uint64_t)m.objects[i].base_mtime);
		pfs_put_le32(p + 48, m.objects[i].head);
		pfs_put_le32(p + 52, m.objects[i].count);
		p[56] = m.objects[i].role;
		p[57] = m.objects[i].size_log2;
	}
	for (unsigned i = 0; i < BLOCK_COUNT; i++, p += 24) {
		memcpy(p, m.blocks[i].key, 16);
		pfs_put_le32(p + 16, m.blocks[i].len);
		pfs_put_le16(p + 20, m.blocks[i].count);
		p[22] = m.blocks[i].kind;
		p[23] = (uint8_t)(m.blocks[i].begins_page + 2 * m.blocks[i].begins_keys);
	}
	for (uint64_t i = 0; i < m.chunk_count; i++, p += 4)
		pfs_put_le32(p, m.crcs[i]);
	assert_int_equal(p - want, len);
	pfs_put_le32(want + 8, pfs_crc32c(0, want + 12, len - 12));
	assert_memory_equal(bytes, want, len);
	free(want);
	free(bytes);
	pfs_manifest_free(&m);
}

/* Proves: one of no documents is one, too. */
static void an_empty_one_comes_back(void **state)
{
	struct pfs_manifest m = {.generation = 1}, got;
	const char *why;
	size_t len;
	uint8_t *bytes = encoded(&m, &len);

	(void)state;
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), 0);
	assert_int_equal(got.points, 0);
	pfs_manifest_free(&got);
	free(bytes);
}

/* Proves: with any one bit turned, or cut off anywhere, it is refused, and nothing is left behind.
 */
static void damage_is_refused(void **state)
{
	struct pfs_manifest m = make(), got;
	const char *why;
	size_t len;
	uint8_t *bytes = encoded(&m, &len);

	(void)state;
	for (size_t bit = 0; bit < 8 * len; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), -EUCLEAN);
		assert_true(pfs_is_zero(&got, sizeof(got)));
		assert_string_equal(why, bit < 64 ? "not a manifest" : "checksum");
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 0; cut < len; cut++) {
		assert_int_equal(pfs_manifest_decode(&got, bytes, cut, &why), -EUCLEAN);
		assert_string_equal(why, cut < 192 ? "not a manifest" : "checksum");
	}
	pfs_manifest_free(&m);
	free(bytes);
}

/* Proves: with right checksums, too, what is taken for a manifest is consistent. */
static void forged_ones_are_consistent(void **state)
{
	struct pfs_manifest m = make(), got;
	unsigned taken = 0, refused = 0;
	const char *why;
	size_t len;
	uint8_t *bytes = encoded(&m, &len);

	(void)state;
	for (size_t i = 0; i < 60000; i++) {
		uint64_t r = pfs_mix64(i + 3);
		size_t at = 12 + r % (len - 12);
		uint8_t was = bytes[at];

		bytes[at] = (uint8_t)(r >> 40);
		pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
		if (pfs_manifest_decode(&got, bytes, len, &why) == 0) {
			taken++;
			assert_consistent(&got);
			pfs_manifest_free(&got);
		} else {
			refused++;
		}
		bytes[at] = was;
	}
	assert_true(taken > 1000 && refused > 1000);
	pfs_manifest_free(&m);
	free(bytes);
}

/* What decoding says. */
#define FITS ""
#define COUNTS "its counts make no sense"
#define OBJECT "its objects make no sense"
#define TABLE "its table of keys makes no sense"

/* What decoding says of these bytes, whose checksum is made right. */
static const char *said_of(uint8_t *bytes, size_t len)
{
	struct pfs_manifest got;
	const char *why;
	int err;

	pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
	err = pfs_manifest_decode(&got, bytes, len, &why);
	assert_int_equal(err, *why ? -EUCLEAN : 0);
	if (err)
		assert_true(pfs_is_zero(&got, sizeof(got)));
	else
		assert_consistent(&got);
	pfs_manifest_free(&got);
	return why;
}

/* Proves: whatever does not fit together is refused although its checksum is right. */
static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		const char *what;
		unsigned object;
		int len, count, points, head, chunks;
		const char *says;
	} cases[] = {
		{"an object of keys is longer than its blocks", 1, 1, 0, 0, 0, 0, TABLE},
		{"an object of keys is shorter than its blocks", 1, -1, 0, 0, 0, 0, TABLE},
		{"the last object of keys is longer than its blocks", 2, 1, 0, 0, 0, 0, TABLE},
		{"the last object of keys is shorter than its blocks", 2, -1, 0, 0, 0, 0, TABLE},
		{"a page has more documents than its blocks", 4, 0, 1, 0, 16, 0, TABLE},
		{"a page has fewer documents than its blocks", 4, 0, -1, 0, -16, 0, TABLE},
		{"the last page has more documents than its blocks", 7, 0, 1, 0, 16, 0, TABLE},
		{"the last page has fewer documents than its blocks", 7, 0, -1, 0, -16, 0, TABLE},
		{"there are more points than documents", 0, 0, 0, 1, 0, 0, TABLE},
		{"there are fewer points than documents", 0, 0, 0, -1, 0, 0, TABLE},
		{"the slots take another length", 5, 0, 0, 0, 16, 0, OBJECT},
		{"a page is longer than its size", 5, 1 << 20, 0, 0, 0, 0, OBJECT},
		{"there are fewer chunks than in the objects", 0, 0, 0, 0, 0, -1, OBJECT},
		{"there are more chunks than in the objects", 0, 0, 0, 0, 0, 1, OBJECT},
		{"an object has another chunk", 1, 65536, 0, 0, 0, 0, OBJECT},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_manifest m = make();
		struct pfs_manifest_object *o = &m.objects[cases[i].object];
		uint8_t *bytes;
		size_t len;

		o->len += (uint64_t)(int64_t)cases[i].len;
		o->count += (uint32_t)cases[i].count;
		o->head += (uint32_t)cases[i].head;
		m.points += (uint64_t)(int64_t)cases[i].points;
		if (cases[i].chunks > 0)
			m.crcs = realloc(m.crcs, (m.chunk_count + 1) * sizeof(*m.crcs));
		m.chunk_count += (uint64_t)(int64_t)cases[i].chunks;
		m.crcs[m.chunk_count - 1] = 0;
		bytes = encoded(&m, &len);
		if (strcmp(said_of(bytes, len), cases[i].says) != 0)
			fail_msg("%s: %s", cases[i].what, said_of(bytes, len));
		free(bytes);
		pfs_manifest_free(&m);
	}
}

/* One document: an object of keys with one block, a page; and a dictionary. */
static struct pfs_manifest make_small(void)
{
	struct pfs_manifest m = {.generation = 1, .points = 1, .object_count = 3, .block_count = 1};

	m.objects = calloc(4, sizeof(*m.objects));
	m.blocks = calloc(2, sizeof(*m.blocks));
	m.objects[0] = (struct pfs_manifest_object){.role = PFS_OBJECT_DICT, .len = 1, .count = 1};
	m.objects[1] = (struct pfs_manifest_object){.role = PFS_OBJECT_KEYS, .len = 41};
	m.objects[2] = (struct pfs_manifest_object){
		.role = PFS_OBJECT_PAGE, .len = 145, .count = 1, .head = 80, .size_log2 = 16};
	m.blocks[0] = (struct pfs_manifest_block){.kind = PFS_KEY_NUM,
						  .begins_page = true,
						  .begins_keys = true,
						  .count = 1,
						  .len = 41};
	return m;
}

/* The numbers of chunks follow from the objects. */
static void add_chunks(struct pfs_manifest *m)
{
	m->chunk_count = 0;
	for (unsigned i = 0; i < m->object_count; i++)
		m->chunk_count += (m->objects[i].len + 65535) / 65536;
	free(m->crcs);
	m->crcs = calloc(m->chunk_count + 2, sizeof(*m->crcs));
	assert_non_null(m->crcs);
}

/* Frees it. */
static void expect_as_it_is(struct pfs_manifest *m, const char *says, int line)
{
	size_t len;
	uint8_t *bytes = encoded(m, &len);
	const char *why = said_of(bytes, len);

	if (strcmp(why, says) != 0)
		fail_msg("line %d: %s", line, why);
	pfs_manifest_free(m);
	free(bytes);
}

static void expect(struct pfs_manifest *m, const char *says, int line)
{
	add_chunks(m);
	expect_as_it_is(m, says, line);
}

/* A small one of which something is changed. */
#define EXPECT(says, change)                                                             \
	do {                                                                             \
		struct pfs_manifest m = make_small();                                    \
		struct pfs_manifest_object *dict = &m.objects[0], *keys = &m.objects[1], \
					   *page = &m.objects[2];                        \
		struct pfs_manifest_block *block = m.blocks;                             \
                                                                                         \
		(void)dict, (void)keys, (void)page, (void)block;                         \
		change;                                                                  \
		expect(&m, says, __LINE__);                                              \
	} while (0)

static void set_documents(struct pfs_manifest *m, uint16_t count)
{
	m->points = m->objects[2].count = m->blocks[0].count = count;
	m->objects[2].head = 64 + 16u * count;
	m->objects[2].len = m->objects[2].head + 64u + count;
}

/* Proves: each number may be as large or small as the format says, and no more. */
static void bounds_are_exact(void **state)
{
	(void)state;
	EXPECT(FITS, );
	EXPECT(COUNTS, m.generation = 0);
	EXPECT(FITS, m.generation = PFS_GENERATION_MAX);
	EXPECT(COUNTS, m.generation = PFS_GENERATION_MAX + 1);
	EXPECT(FITS, m.mode = 07777);
	EXPECT(COUNTS, m.mode = 010000);
	EXPECT(TABLE, m.points = 0);
	EXPECT(TABLE, m.points = PFS_PUBLISHED_POINTS_MAX);

	EXPECT(OBJECT, dict->len = 0);
	EXPECT(FITS, dict->len = PFS_DICT_LEN_MAX);
	EXPECT(OBJECT, dict->len = PFS_DICT_LEN_MAX + 1);
	EXPECT(OBJECT, dict->count = 0);
	EXPECT(OBJECT, dict->head = 1);
	EXPECT(OBJECT, dict->role = 0);
	EXPECT(OBJECT, dict->role = 4);
	EXPECT(OBJECT, keys->head = 1);
	EXPECT(OBJECT, keys->len = 0);
	EXPECT(OBJECT, *keys = *dict);
	EXPECT(TABLE, keys->len = UINT32_MAX);
	EXPECT(OBJECT, keys->len = UINT32_MAX + UINT64_C(1));

	EXPECT(OBJECT, page->size_log2 = 15);
	EXPECT(FITS, page->size_log2 = 31);
	EXPECT(OBJECT, page->size_log2 = 32);
	EXPECT(OBJECT, page->len = 144);
	EXPECT(FITS, page->len = 65536);
	EXPECT(OBJECT, page->len = 65537);
	EXPECT(FITS, (page->len = 1 << 20, page->size_log2 = 20));
	EXPECT(OBJECT, (page->len = (1 << 20) + 1, page->size_log2 = 20));
	EXPECT(OBJECT, page->head = 79);
	EXPECT(OBJECT, page->head = 81);
	EXPECT(OBJECT, (page->count = 0, page->head = 64));
	EXPECT(TABLE, (page->count = 2, page->head = 96, page->len = 162));

	EXPECT(TABLE, keys->len = block->len = 40);
	EXPECT(FITS, keys->len = block->len = PFS_KEY_BLOCK_LEN_MAX);
	EXPECT(TABLE, keys->len = block->len = PFS_KEY_BLOCK_LEN_MAX + 1);
	EXPECT(FITS, set_documents(&m, PFS_KEY_BLOCK_MAX));
	EXPECT(TABLE, set_documents(&m, PFS_KEY_BLOCK_MAX + 1));
	EXPECT(OBJECT, set_documents(&m, 0));
	EXPECT(TABLE, block->count = 0);
	EXPECT(TABLE, block->kind = PFS_KEY_NONE);
	EXPECT(TABLE, block->kind = PFS_KEY_SCRATCH);
	EXPECT(FITS, block->kind = PFS_KEY_UUID);
	EXPECT(FITS, memset(block->key, 0xff, 8));
	for (unsigned i = 8; i < 16; i++) {
		EXPECT(TABLE, block->key[i] = 1);
		EXPECT(FITS, (block->kind = PFS_KEY_UUID, block->key[i] = 1));
	}
	EXPECT(TABLE, block->begins_keys = false);
	EXPECT(TABLE, block->begins_page = false);
	EXPECT(TABLE, m.block_count = 0);
	EXPECT(TABLE, (m.block_count = 0, m.points = 0));
}

/* Proves: a page may have as many documents as there are numbers of slots, and not one more. */
static void a_page_has_no_more_documents_than_slots(void **state)
{
	(void)state;
	for (uint32_t more = 0; more < 2; more++) {
		struct pfs_manifest m = make_small();
		uint32_t count = PFS_SLOT_NUMBER_MAX + 1 + more, blocks = count / 1024 + more;

		free(m.blocks);
		m.blocks = calloc(blocks, sizeof(*m.blocks));
		assert_non_null(m.blocks);
		for (uint32_t i = 0; i < blocks; i++) {
			m.blocks[i] = (struct pfs_manifest_block){.kind = PFS_KEY_NUM,
								  .begins_page = i == 0,
								  .begins_keys = i == 0,
								  .count = i < 16384 ? 1024 : 1,
								  .len = 41};
			pfs_put_le16(m.blocks[i].key, (uint16_t)(i >> 8 | i << 8));
		}
		m.block_count = blocks;
		m.points = m.objects[2].count = count;
		m.objects[1].len = UINT64_C(41) * blocks;
		m.objects[2].head = 64 + 16 * count;
		m.objects[2].len = UINT64_C(1) << 30;
		m.objects[2].size_log2 = 30;
		expect(&m, more ? OBJECT : FITS, __LINE__);
	}
}

/* Proves: what only bytes can say, and no manifest that is encoded, is refused: fields that are
 * zero, flags that there are not, more documents than there may be, other lengths and counts. */
static void bytes_that_are_never_written_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		const char *says;
	} cases[] = {
		{96 + 4, 1, COUNTS}, /* points */
		{136, 2, COUNTS},    /* one object less */
		{136, 4, COUNTS},
		{140, 0, COUNTS}, /* blocks */
		{140, 2, COUNTS},
		{144, 2, COUNTS}, /* chunks */
		{144, 4, COUNTS},
		{144 + 7, 0x40, COUNTS}, /* so many that their length is none */
		{192 + 58, 1, OBJECT},
		{192 + 63, 1, OBJECT},
		{192 + 64 + 58, 1, OBJECT},
		{192 + 2 * 64 + 63, 0x80, OBJECT},
		{192 + 3 * 64 + 23, 7, TABLE},
		{192 + 3 * 64 + 23, 0x83, TABLE},
		{24, 1, "checksum"}, /* length */
	};
	struct pfs_manifest m = make_small(), got;
	const char *why;
	uint8_t *bytes;
	size_t len;

	(void)state;
	add_chunks(&m);
	assert_int_equal(m.chunk_count, 3);
	bytes = encoded(&m, &len);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint8_t was = bytes[cases[i].at];

		bytes[cases[i].at] = cases[i].byte;
		if (strcmp(said_of(bytes, len), cases[i].says) != 0)
			fail_msg("%zu", i);
		bytes[cases[i].at] = was;
	}
	assert_string_equal(said_of(bytes, len), FITS);
	/* Of another version, also in what it must be understood for. */
	for (size_t at = 12; at < 24; at++) {
		if (at == 14)
			at = 16;
		bytes[at] ^= 0x80;
		pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
		assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), -EPROTONOSUPPORT);
		assert_string_equal(why, "made by a newer version of this program");
		assert_true(pfs_is_zero(&got, sizeof(got)));
		bytes[at] ^= 0x80;
	}
	free(bytes);
	pfs_manifest_free(&m);
}

/* Proves: keys ascend from block to block, numbers before UUIDs. */
static void keys_ascend(void **state)
{
	static const struct {
		uint8_t kinds[2], keys[2][2];
		const char *says;
	} cases[] = {
		{{PFS_KEY_NUM, PFS_KEY_NUM}, {{1, 0}, {1, 1}}, FITS},
		{{PFS_KEY_NUM, PFS_KEY_NUM}, {{1, 0}, {1, 0}}, TABLE},
		{{PFS_KEY_NUM, PFS_KEY_NUM}, {{1, 1}, {1, 0}}, TABLE},
		{{PFS_KEY_NUM, PFS_KEY_NUM}, {{1, 1}, {2, 0}}, FITS},
		{{PFS_KEY_UUID, PFS_KEY_UUID}, {{1, 0}, {1, 1}}, FITS},
		{{PFS_KEY_UUID, PFS_KEY_UUID}, {{1, 0}, {1, 0}}, TABLE},
		{{PFS_KEY_NUM, PFS_KEY_UUID}, {{9, 0}, {1, 1}}, FITS},
		{{PFS_KEY_NUM, PFS_KEY_UUID}, {{9, 0}, {9, 0}}, FITS},
		{{PFS_KEY_UUID, PFS_KEY_NUM}, {{1, 0}, {9, 1}}, TABLE},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_manifest m = make_small();

		m.points = m.objects[2].count = m.block_count = 2;
		m.objects[1].len = 82;
		m.objects[2].head = 96;
		m.objects[2].len = 162;
		m.blocks[1] = m.blocks[0];
		m.blocks[1].begins_keys = m.blocks[1].begins_page = false;
		for (unsigned b = 0; b < 2; b++) {
			m.blocks[b].kind = cases[i].kinds[b];
			memcpy(m.blocks[b].key, cases[i].keys[b], 2);
		}
		expect(&m, cases[i].says, (int)i);
	}
	/* They are compared to their last byte. */
	for (unsigned last = 0; last < 3; last++) {
		struct pfs_manifest m = make();

		memcpy(m.blocks[10].key, m.blocks[9].key, 16);
		m.blocks[10].key[15] = (uint8_t)(m.blocks[9].key[15] + last - 1);
		expect_as_it_is(&m, last == 2 ? FITS : TABLE, __LINE__);
	}
}

/* Proves: one block more than the objects have, wherever, whatever it says it begins, is refused,
 * also when everything else adds up; and so is an object more than the blocks have. */
static void nothing_is_left_over(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= BLOCK_COUNT * 4 + 3; i++) {
		struct pfs_manifest m = make();
		unsigned at = i / 4;

		m.blocks = realloc(m.blocks, (BLOCK_COUNT + 1) * sizeof(*m.blocks));
		memmove(&m.blocks[at + 1], &m.blocks[at], (BLOCK_COUNT - at) * sizeof(*m.blocks));
		if (at == BLOCK_COUNT)
			m.blocks[at] = m.blocks[at - 1];
		m.blocks[at].begins_page = i & 1;
		m.blocks[at].begins_keys = i & 2;
		m.blocks[at].key[7] = (uint8_t)(m.blocks[at].key[7] + (at == BLOCK_COUNT ? 1 : -1));
		if (at == 0) {
			m.blocks[0].key[7] = 0;
			m.blocks[1].key[7] = 1;
		}
		m.block_count++;
		expect_as_it_is(&m, TABLE, (int)i);
	}
	for (unsigned at = 3; at <= OBJECTS; at += OBJECTS - 3) {
		struct pfs_manifest m = make();

		m.objects = realloc(m.objects, (OBJECTS + 1) * sizeof(*m.objects));
		memmove(&m.objects[at + 1], &m.objects[at], (OBJECTS - at) * sizeof(*m.objects));
		m.objects[at] = m.objects[at - 1];
		m.object_count++;
		expect(&m, TABLE, (int)at);
	}
}

static void names_are_canonical(void **state)
{
	static const char *const none[] = {"page-00112233445566778899aabbccddeeff",
					   "page-00112233445566778899aabbccddeeff.pfk",
					   "page-00112233445566778899aabbccddeeFF.pfp",
					   "page-0011.pfp",
					   "page-00000001",
					   "",
					   "page-00112233445566778899aabbccddeeff.pfp.tmp",
					   "current"};
	static const char *const no_generation[] = {"generation-1",	    "generation-00000000",
						    "generation-000000012", "generation-0000001x",
						    "generation-+0000001",  "generation-"};
	uint8_t hash[PFS_HASH_LEN], got[PFS_HASH_LEN];
	char name[PFS_OBJECT_NAME_MAX];
	uint32_t generation;
	unsigned role;

	(void)state;
	for (unsigned i = 0; i < PFS_HASH_LEN; i++)
		hash[i] = (uint8_t)(0x11 * i);
	for (unsigned r = PFS_OBJECT_DICT; r <= PFS_OBJECT_PAGE; r++) {
		pfs_object_name(name, r, hash);
		assert_true(pfs_object_is_name(name, &role, got));
		assert_int_equal(role, r);
		assert_memory_equal(got, hash, sizeof(hash));
	}
	assert_string_equal(name, "page-00112233445566778899aabbccddeeff.pfp");
	for (size_t i = 0; i < pfs_array_len(none); i++)
		assert_false(pfs_object_is_name(none[i], &role, got));
	pfs_generation_name(name, 12);
	assert_string_equal(name, "generation-00000012");
	assert_true(pfs_generation_is_name(name, &generation));
	assert_int_equal(generation, 12);
	for (size_t i = 0; i < pfs_array_len(no_generation); i++)
		assert_false(pfs_generation_is_name(no_generation[i], &generation));
}

/* Proves: of all names that one other character makes of an object's or a generation's, those are
 * taken that are written for some hash or number, and what they say is that one. */
static void other_names_are_those_of_others(void **state)
{
	uint8_t hash[PFS_HASH_LEN], got[PFS_HASH_LEN];
	char right[PFS_OBJECT_NAME_MAX], name[PFS_OBJECT_NAME_MAX], again[PFS_OBJECT_NAME_MAX];
	uint32_t generation;
	unsigned role, hashes = 0, generations = 0;

	(void)state;
	for (unsigned i = 0; i < PFS_HASH_LEN; i++)
		hash[i] = (uint8_t)(0xf0 - 0x0f * i);
	for (unsigned r = PFS_OBJECT_DICT; r <= PFS_OBJECT_PAGE; r++) {
		pfs_object_name(right, r, hash);
		for (size_t at = 0; right[at]; at++) {
			for (int c = 0; c < 256; c++) {
				bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

				strcpy(name, right);
				name[at] = (char)c;
				role = 77;
				memset(got, 0, sizeof(got));
				if (!pfs_object_is_name(name, &role, got)) {
					assert_int_equal(role, 77);
					assert_true(pfs_is_zero(got, sizeof(got)));
					assert_false(is_digit && at >= 5 && at < 37);
					continue;
				}
				hashes++;
				assert_int_equal(role, r);
				assert_true(pfs_object_is_name(name, &role, NULL));
				pfs_object_name(again, role, got);
				assert_string_equal(name, again);
			}
			strcpy(name, right);
			name[at] = '\0';
			assert_false(pfs_object_is_name(name, &role, got));
		}
		strcat(strcpy(name, right), "x");
		assert_false(pfs_object_is_name(name, &role, got));
	}
	/* Each of the digits, at each place; all else only as it is. */
	assert_int_equal(hashes, 3 * (32 * 16 + 9));
	pfs_generation_name(right, 20300071);
	assert_string_equal(right, "generation-20300071");
	for (size_t at = 0; right[at]; at++) {
		for (int c = 0; c < 256; c++) {
			strcpy(name, right);
			name[at] = (char)c;
			generation = 77;
			if (!pfs_generation_is_name(name, &generation)) {
				assert_int_equal(generation, 77);
				continue;
			}
			generations++;
			pfs_generation_name(again, generation);
			assert_string_equal(name, again);
		}
		strcpy(name, right);
		name[at] = '\0';
		assert_false(pfs_generation_is_name(name, &generation));
	}
	assert_int_equal(generations, 8 * 10 + 11);
	assert_true(pfs_generation_is_name("generation-00000001", &generation));
	assert_int_equal(generation, 1);
	assert_true(pfs_generation_is_name("generation-99999999", &generation));
	assert_int_equal(generation, PFS_GENERATION_MAX);
	assert_false(pfs_generation_is_name("generation-100000000", &generation));
}

/* Proves: `current` says exactly this. */
static void current_is_written_so(void **state)
{
	const struct pfs_current_generation c = {12, 345678, 0xbeef}, none = {0, 5, 6};
	static const char want[] = "payloadfs collection 1\ngeneration 00000012\n"
				   "length 345678\ncrc32c 0000beef\n";
	struct pfs_current_generation got;
	char text[PFS_CURRENT_LEN_MAX];

	(void)state;
	assert_int_equal(pfs_current_encode(text, &c), sizeof(want) - 1);
	assert_string_equal(text, want);
	/* There is no generation 0. */
	assert_int_equal(pfs_current_decode(&got, text, pfs_current_encode(text, &none)), -EUCLEAN);
	assert_true(got.generation == 0 && got.len == 0 && got.crc == 0);
	assert_int_equal(pfs_current_decode(&got, "", 0), -EUCLEAN);
	assert_int_equal(pfs_current_decode(&got, "payloadfs collection 2", 22), -EPROTONOSUPPORT);
	assert_int_equal(pfs_current_decode(&got, "payloadfs collection 0", 22), -EUCLEAN);
	memset(text, ' ', sizeof(text));
	memcpy(text, "payloadfs collection 2", 22);
	assert_int_equal(pfs_current_decode(&got, text, sizeof(text) - 1), -EPROTONOSUPPORT);
	assert_int_equal(pfs_current_decode(&got, text, sizeof(text)), -EUCLEAN);
}

/* Proves: `current` comes back; of any other text that one byte makes of it none is taken, unless
 * it says another number, which its manifest does not bear out. */
static void current_is_exact(void **state)
{
	struct pfs_current_generation c = {12, 345678, 0xdeadbeef}, got;
	char text[PFS_CURRENT_LEN_MAX], copy[PFS_CURRENT_LEN_MAX];
	size_t len = pfs_current_encode(text, &c);

	(void)state;
	assert_int_equal(pfs_current_decode(&got, text, len), 0);
	assert_true(got.generation == 12 && got.len == 345678 && got.crc == 0xdeadbeef);
	for (size_t at = 0; at < len; at++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			memcpy(copy, text, len);
			if ((uint8_t)text[at] == byte)
				continue;
			copy[at] = (char)byte;
			if (pfs_current_decode(&got, copy, len) != 0)
				continue;
			assert_true(got.generation != 12 || got.len != 345678 ||
				    got.crc != 0xdeadbeef);
		}
		assert_int_equal(pfs_current_decode(&got, text, at), -EUCLEAN);
	}
	memcpy(copy, text, len);
	copy[strlen("payloadfs collection ")] = '2';
	assert_int_equal(pfs_current_decode(&got, copy, len), -EPROTONOSUPPORT);
}

/* Proves: a table of keys that goes on in an object that there is not, of either role, or ends
 * before its objects do, is refused; so are objects in another order, or of no role. */
static void tables_end_with_their_objects(void **state)
{
	struct pfs_manifest m = make();

	(void)state;
	expect_as_it_is(&m, FITS, __LINE__);
	/* One object of keys less than there are beginnings. */
	m = make();
	m.objects[2].role = PFS_OBJECT_PAGE;
	expect_as_it_is(&m, OBJECT, __LINE__);
	m = make();
	m.chunk_count -= pfs_chunks_of(m.objects[2].len);
	memmove(&m.objects[2], &m.objects[3], PAGES * sizeof(*m.objects));
	m.object_count--;
	expect_as_it_is(&m, TABLE, __LINE__);
	/* One page less. */
	m = make();
	m.object_count--;
	m.chunk_count -= pfs_chunks_of(m.objects[OBJECTS - 1].len);
	expect_as_it_is(&m, TABLE, __LINE__);
	/* Documents, or blocks, less than there are. */
	m = make();
	m.points++;
	expect_as_it_is(&m, TABLE, __LINE__);
	m = make();
	m.points -= m.blocks[BLOCK_COUNT - 1].count;
	m.block_count--;
	expect_as_it_is(&m, TABLE, __LINE__);
	m = make();
	m.points -= m.objects[OBJECTS - 1].count;
	m.block_count -= BLOCKS_OF_PAGE;
	expect_as_it_is(&m, TABLE, __LINE__);
	m = make();
	m.objects[1].role = 77;
	expect_as_it_is(&m, OBJECT, __LINE__);
	m = make();
	m.objects[1].role = PFS_OBJECT_DICT;
	expect_as_it_is(&m, OBJECT, __LINE__);
	m = make();
	m.objects[1].head = 1;
	expect_as_it_is(&m, OBJECT, __LINE__);
	m = make();
	m.objects[1].len = 0;
	expect_as_it_is(&m, OBJECT, __LINE__);
}

/* Proves: an object of keys begins with a block that begins a page, and with the first of all, also
 * where all lengths are what they would be then. */
static void keys_begin_with_a_page(void **state)
{
	const unsigned second = 2 * BLOCKS_OF_PAGE;
	struct pfs_manifest m = make();

	(void)state;
	expect(&m, FITS, __LINE__);
	m = make();
	m.objects[1].len += m.blocks[second].len;
	m.objects[2].len -= m.blocks[second].len;
	m.blocks[second].begins_keys = false;
	m.blocks[second + 1].begins_keys = true;
	expect(&m, TABLE, __LINE__);

	/* The first block would be the dictionary's. */
	m = make();
	m.objects[0].len = m.objects[1].len;
	m.objects[1].len = m.objects[2].len;
	m.object_count--;
	for (unsigned i = 2; i < m.object_count; i++)
		m.objects[i] = m.objects[i + 1];
	m.blocks[0].begins_keys = false;
	expect(&m, TABLE, __LINE__);
}

/* Proves: more documents than there are numbers for can't be said. */
static void too_much_is_not_encoded(void **state)
{
	struct pfs_manifest m = make();
	uint8_t *bytes = (uint8_t *)&m;
	size_t len = 1;

	(void)state;
	m.points = PFS_PUBLISHED_POINTS_MAX + 1;
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), -EFBIG);
	assert_true(!bytes && !len);
	m.points = 1;
	m.chunk_count = PFS_MANIFEST_LEN_MAX;
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), -EFBIG);
	pfs_manifest_free(&m);
}

/* Proves: a `current` that is as long as none is, or not quite what is written, is refused. */
static void current_is_short(void **state)
{
	struct pfs_current_generation c = {.generation = 3, .len = 77, .crc = 5};
	char text[2 * PFS_CURRENT_LEN_MAX];
	size_t len = pfs_current_encode(text, &c);

	(void)state;
	memset(text + len, '\n', sizeof(text) - len);
	assert_int_equal(pfs_current_decode(&c, text, len), 0);
	assert_int_equal(pfs_current_decode(&c, text, len + 1), -EUCLEAN);
	assert_int_equal(pfs_current_decode(&c, text, PFS_CURRENT_LEN_MAX), -EUCLEAN);
	assert_int_equal(pfs_current_decode(&c, text, sizeof(text)), -EUCLEAN);
	assert_int_equal(c.generation, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_comes_back),
		cmocka_unit_test(fields_lie_where_the_format_says),
		cmocka_unit_test(an_empty_one_comes_back),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(forged_ones_are_consistent),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(bounds_are_exact),
		cmocka_unit_test(a_page_has_no_more_documents_than_slots),
		cmocka_unit_test(bytes_that_are_never_written_are_refused),
		cmocka_unit_test(keys_ascend),
		cmocka_unit_test(nothing_is_left_over),
		cmocka_unit_test(names_are_canonical),
		cmocka_unit_test(other_names_are_those_of_others),
		cmocka_unit_test(current_is_written_so),
		cmocka_unit_test(current_is_exact),
		cmocka_unit_test(tables_end_with_their_objects),
		cmocka_unit_test(keys_begin_with_a_page),
		cmocka_unit_test(too_much_is_not_encoded),
		cmocka_unit_test(current_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
