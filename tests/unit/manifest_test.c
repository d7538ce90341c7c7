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

/* What a decoded manifest promises. */
static void assert_consistent(const struct pfs_manifest *m)
{
	uint64_t rank = 0, chunks = 0;

	for (uint32_t i = 0; i < m->block_count; i++) {
		const struct pfs_manifest_block *b = &m->blocks[i];
		const struct pfs_manifest_object *keys, *page;

		assert_true(b->keys < m->object_count && b->page < m->object_count);
		keys = &m->objects[b->keys];
		page = &m->objects[b->page];
		assert_int_equal(keys->role, PFS_OBJECT_KEYS);
		assert_int_equal(page->role, PFS_OBJECT_PAGE);
		assert_true((uint64_t)b->off + b->len <= keys->len);
		assert_int_equal(b->rank, rank);
		assert_true(rank >= page->first_rank &&
			    rank + b->count <= page->first_rank + page->count);
		rank += b->count;
		if (i)
			assert_true(b->kind > b[-1].kind || memcmp(b->key, b[-1].key, 16) > 0);
	}
	assert_int_equal(rank, m->points);
	for (uint32_t i = 0; i < m->object_count; i++) {
		const struct pfs_manifest_object *o = &m->objects[i];

		assert_int_equal(o->chunk, chunks);
		chunks += pfs_chunks_of(o->len);
		if (o->role == PFS_OBJECT_PAGE) {
			assert_true(o->head + (uint64_t)PFS_PAGE_TRAILER_LEN < o->len);
			assert_true(o->len <= UINT64_C(1) << o->size_log2);
		}
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
	assert_int_equal(got.blocks[7].keys, 2);
	assert_int_equal(got.blocks[7].page, 5);
	assert_int_equal(got.blocks[7].off, 5006);
	assert_consistent(&got);
	pfs_manifest_free(&got);
	pfs_manifest_free(&m);
	free(bytes);
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
		assert_int_not_equal(pfs_manifest_decode(&got, bytes, len, &why), 0);
		assert_null(got.objects);
		assert_true(why[0]);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(pfs_manifest_decode(&got, bytes, cut, &why), -EUCLEAN);
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

/* Proves: whatever does not fit together is refused although its checksum is right. */
static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		const char *what;
		unsigned object, block;
		int len, count, points, head;
	} cases[] = {
		{"an object of keys is longer than its blocks", 1, 0, 1, 0, 0, 0},
		{"an object of keys is shorter than its blocks", 2, 0, -1, 0, 0, 0},
		{"a page has more documents than its blocks", 4, 0, 0, 1, 0, 16},
		{"a page has fewer documents than its blocks", 4, 0, 0, -1, 0, -16},
		{"there are more points than documents", 0, 0, 0, 0, 1, 0},
		{"there are fewer points than documents", 0, 0, 0, 0, -1, 0},
		{"the slots take another length", 5, 0, 0, 0, 0, 16},
		{"a page is longer than its size", 5, 0, 1 << 20, 0, 0, 0},
	};
	struct pfs_manifest got;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_manifest m = make();
		struct pfs_manifest_object *o = &m.objects[cases[i].object];
		const char *why;
		uint8_t *bytes;
		size_t len;

		o->len += (uint64_t)(int64_t)cases[i].len;
		o->count += (uint32_t)cases[i].count;
		o->head += (uint32_t)cases[i].head;
		m.points += (uint64_t)(int64_t)cases[i].points;
		bytes = encoded(&m, &len);
		if (pfs_manifest_decode(&got, bytes, len, &why) != -EUCLEAN)
			fail_msg("taken: %s", cases[i].what);
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

/* Frees it. */
static void expect(struct pfs_manifest *m, int result, int line)
{
	struct pfs_manifest got;
	const char *why;
	uint8_t *bytes;
	size_t len;
	int err;

	for (unsigned i = 0; i < m->object_count; i++)
		m->chunk_count += pfs_chunks_of(m->objects[i].len);
	m->crcs = calloc(m->chunk_count + 1, sizeof(*m->crcs));
	bytes = encoded(m, &len);
	err = pfs_manifest_decode(&got, bytes, len, &why);
	if (err != result)
		fail_msg("line %d: %d", line, err);
	if (!err)
		assert_consistent(&got);
	pfs_manifest_free(&got);
	pfs_manifest_free(m);
	free(bytes);
}

/* A small one of which something is changed. */
#define EXPECT(result, change)                                                           \
	do {                                                                             \
		struct pfs_manifest m = make_small();                                    \
		struct pfs_manifest_object *dict = &m.objects[0], *keys = &m.objects[1], \
					   *page = &m.objects[2];                        \
		struct pfs_manifest_block *block = m.blocks;                             \
                                                                                         \
		(void)dict, (void)keys, (void)page, (void)block;                         \
		change;                                                                  \
		expect(&m, result, __LINE__);                                            \
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
	EXPECT(0, );
	EXPECT(-EUCLEAN, m.generation = 0);
	EXPECT(0, m.generation = PFS_GENERATION_MAX);
	EXPECT(-EUCLEAN, m.generation = PFS_GENERATION_MAX + 1);
	EXPECT(0, m.mode = 07777);
	EXPECT(-EUCLEAN, m.mode = 010000);

	EXPECT(-EUCLEAN, dict->len = 0);
	EXPECT(0, dict->len = PFS_DICT_LEN_MAX);
	EXPECT(-EUCLEAN, dict->len = PFS_DICT_LEN_MAX + 1);
	EXPECT(-EUCLEAN, dict->count = 0);
	EXPECT(-EUCLEAN, dict->head = 1);
	EXPECT(-EUCLEAN, dict->role = 0);
	EXPECT(-EUCLEAN, dict->role = 4);
	EXPECT(-EUCLEAN, keys->head = 1);
	EXPECT(-EUCLEAN, *keys = *dict);

	EXPECT(-EUCLEAN, page->size_log2 = 15);
	EXPECT(0, page->size_log2 = 31);
	EXPECT(-EUCLEAN, page->size_log2 = 32);
	EXPECT(-EUCLEAN, page->len = 144);
	EXPECT(0, page->len = 65536);
	EXPECT(-EUCLEAN, page->len = 65537);
	EXPECT(-EUCLEAN, page->head = 81);

	EXPECT(-EUCLEAN, keys->len = block->len = 40);
	EXPECT(0, keys->len = block->len = PFS_KEY_BLOCK_LEN_MAX);
	EXPECT(-EUCLEAN, keys->len = block->len = PFS_KEY_BLOCK_LEN_MAX + 1);
	EXPECT(0, set_documents(&m, PFS_KEY_BLOCK_MAX));
	EXPECT(-EUCLEAN, set_documents(&m, PFS_KEY_BLOCK_MAX + 1));
	EXPECT(-EUCLEAN, set_documents(&m, 0));
	EXPECT(-EUCLEAN, block->kind = PFS_KEY_NONE);
	EXPECT(-EUCLEAN, block->kind = PFS_KEY_SCRATCH);
	EXPECT(0, block->kind = PFS_KEY_UUID);
	EXPECT(-EUCLEAN, block->key[8] = 1);
	EXPECT(-EUCLEAN, block->begins_keys = false);
	EXPECT(-EUCLEAN, block->begins_page = false);
}

static void a_newer_one_is_told(void **state)
{
	struct pfs_manifest m = make(), got;
	const char *why;
	size_t len;
	uint8_t *bytes = encoded(&m, &len);

	(void)state;
	bytes[12] = 2;
	pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), -EPROTONOSUPPORT);
	pfs_manifest_free(&m);
	free(bytes);
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

/* What decoding gives for a manifest that is encoded as it stands. */
static int encode_and_decode(struct pfs_manifest *m)
{
	struct pfs_manifest back;
	const char *why;
	uint8_t *bytes;
	size_t len;
	int err;

	assert_int_equal(pfs_manifest_encode(m, &bytes, &len), 0);
	err = pfs_manifest_decode(&back, bytes, len, &why);
	assert_true(!err == !why[0]);
	pfs_manifest_free(&back);
	free(bytes);
	pfs_manifest_free(m);
	return err;
}

/* Proves: a table of keys that goes on in an object that there is not, of either role, or ends
 * before its objects do, is refused; so are objects in another order, or of no role. */
static void tables_end_with_their_objects(void **state)
{
	struct pfs_manifest m = make();

	(void)state;
	assert_int_equal(encode_and_decode(&m), 0);
	/* One object of keys less than there are beginnings. */
	m = make();
	m.objects[2].role = PFS_OBJECT_PAGE;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.chunk_count -= pfs_chunks_of(m.objects[2].len);
	memmove(&m.objects[2], &m.objects[3], PAGES * sizeof(*m.objects));
	m.object_count--;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	/* One page less. */
	m = make();
	m.object_count--;
	m.chunk_count -= pfs_chunks_of(m.objects[OBJECTS - 1].len);
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	/* Documents, or blocks, less than there are. */
	m = make();
	m.points++;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.points -= m.blocks[BLOCK_COUNT - 1].count;
	m.block_count--;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.points -= m.objects[OBJECTS - 1].count;
	m.block_count -= BLOCKS_OF_PAGE;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.objects[1].role = 77;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.objects[1].role = PFS_OBJECT_DICT;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.objects[1].head = 1;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
	m = make();
	m.objects[1].len = 0;
	assert_int_equal(encode_and_decode(&m), -EUCLEAN);
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
		cmocka_unit_test(an_empty_one_comes_back),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(forged_ones_are_consistent),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(bounds_are_exact),
		cmocka_unit_test(a_newer_one_is_told),
		cmocka_unit_test(names_are_canonical),
		cmocka_unit_test(current_is_exact),
		cmocka_unit_test(tables_end_with_their_objects),
		cmocka_unit_test(too_much_is_not_encoded),
		cmocka_unit_test(current_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
