/* storage/published_read.c, published_find.c: what is asked for in advance, to the byte, of pages
 * that are not there: who reads on is served before he asks, who jumps about costs nothing more
 * than what he reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/chunk_cache.h"

static void note_prefetch(struct pfs_cached *file, uint64_t off, uint64_t len);
static ssize_t serve(struct pfs_cached *file, void *buf, size_t len, uint64_t off);
static void note_drop(struct pfs_cached *file, uint64_t off, uint64_t len);

#define pfs_cached_prefetch note_prefetch
#define pfs_cached_read serve
#define pfs_cached_drop note_drop
#include "storage/published_read.c"
/* What both have a word for. */
#undef AHEAD
#define damaged damaged_keys
#define load load_keys
#define read_ahead read_keys_ahead
#include "storage/published_find.c"
#undef damaged
#undef load
#undef read_ahead
#undef pfs_cached_prefetch
#undef pfs_cached_read
#undef pfs_cached_drop

#define HEAD 4096u
#define PAGES 4u /* objects 1 to 4; object 0 is the table of keys */
#define SHORT_PAGE 3u
#define K (64 * PFS_KIB)
#define GAP (256 * PFS_KIB) /* what may be left out */
#define M PFS_MIB
#define LONG (20 * M)
#define SHORT (3 * M)
#define BLOCKS 20u

struct range {
	uint32_t page;
	uint64_t from, to;
};

static struct {
	struct pfs_published p;
	struct pfs_generation g;
	struct pfs_manifest_object objects[PAGES + 1];
	struct pfs_manifest_block blocks[PAGES + 1]; /* of each object one */
	struct pfs_cached *files[PAGES + 1];
	struct range asked[128]; /* in advance */
	size_t count;
	struct range dropped;
	bool garbage;	    /* is what everything has in it */
	ssize_t answers[4]; /* of the next reads, in the place of what they give; 0: that */
	size_t answered;
	unsigned reads;
	const uint8_t *keys[PAGES + 1]; /* bytes of an object; NULL: it can't be had */
	char said[256];			/* what was logged last */
	uint64_t read_len;		/* of the first read */
	uint8_t *container, *raw;
	uint64_t container_len, container_at; /* on page 2; 0: none */
} t;

/* Files that nobody looks into. */
static struct pfs_cached *file_of(uint32_t page)
{
	return (struct pfs_cached *)&t.objects[page];
}

static uint32_t page_of(const struct pfs_cached *file)
{
	return (uint32_t)((const struct pfs_manifest_object *)file - t.objects);
}

static void note_prefetch(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	assert_in_range(t.count, 0, pfs_array_len(t.asked) - 1);
	t.asked[t.count++] = (struct range){page_of(file), off, off + len};
}

#define NOTHING INT32_MAX /* as an answer: no byte */

static ssize_t serve(struct pfs_cached *file, void *buf, size_t len, uint64_t off)
{
	ssize_t answer = t.answered < pfs_array_len(t.answers) ? t.answers[t.answered++] : 0;

	t.reads++;
	if (!t.read_len)
		t.read_len = len;
	if (answer)
		return answer == NOTHING ? 0 : answer;
	if (t.keys[page_of(file)]) {
		memcpy(buf, t.keys[page_of(file)] + off, len);
		return (ssize_t)len;
	}
	if (t.garbage) {
		memset(buf, 0xee, len);
		return (ssize_t)len;
	}
	if (page_of(file) != 2 || off < t.container_at ||
	    off + len > t.container_at + t.container_len)
		return -EIO;
	memcpy(buf, t.container + (off - t.container_at), len);
	return (ssize_t)len;
}

static void note_drop(struct pfs_cached *file, uint64_t off, uint64_t len)
{
	t.dropped = (struct range){page_of(file), off, off + len};
}

static void expect_dropped(uint32_t page, uint64_t from, uint64_t to)
{
	assert_int_equal(t.dropped.page, page);
	assert_int_equal(t.dropped.from, from);
	assert_int_equal(t.dropped.to, to);
}

static void note_message(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	snprintf(t.said, sizeof(t.said), "%s", line);
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.p.logger.fn = note_message;
	pthread_mutex_init(&t.p.lock, NULL);
	for (uint32_t i = 0; i <= PAGES; i++) {
		t.objects[i] =
			(struct pfs_manifest_object){.role = i ? PFS_OBJECT_PAGE : PFS_OBJECT_KEYS,
						     .len = i == SHORT_PAGE ? SHORT : LONG,
						     .head = HEAD};
		t.blocks[i].page = i;
		t.files[i] = file_of(i);
	}
	t.g.m.objects = t.objects;
	t.g.m.object_count = PAGES + 1;
	t.g.m.blocks = t.blocks;
	t.g.files = t.files;
	t.g.reading.page = UINT32_MAX;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pthread_mutex_destroy(&t.p.lock);
	free(t.container);
	free(t.raw);
	return 0;
}

/* A small document of raw_len bytes, whose container takes len bytes from off on, is read from some
 * byte on. It can't be had, and that is no matter here. */
static void read_part_at(uint32_t page, uint64_t off, uint64_t len, uint32_t raw_len, uint64_t from)
{
	const struct pfs_published_doc doc = {
		.block = page,
		.kind = PFS_KEY_NUM,
		.entry = {.off = (uint32_t)(off - HEAD), .len = (uint32_t)len, .raw_len = raw_len}};
	uint8_t buf[10];

	t.count = 0;
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, from, buf, sizeof(buf)), -EIO);
}

static void read_small_at(uint32_t page, uint64_t off, uint64_t len)
{
	read_part_at(page, off, len, 10, 0);
}

static void expect_none(void)
{
	assert_int_equal(t.count, 0);
}

static void expect_asked(size_t i, uint32_t page, uint64_t from, uint64_t to)
{
	assert_true(i < t.count);
	assert_int_equal(t.asked[i].page, page);
	assert_int_equal(t.asked[i].from, from);
	assert_int_equal(t.asked[i].to, to);
}

static void expect_one(uint32_t page, uint64_t from, uint64_t to)
{
	expect_asked(0, page, from, to);
	assert_int_equal(t.count, 1);
}

/* Proves: from the second document in a row on, 4 MiB at a time are asked for, whenever less than 4
 * MiB are ahead, from where the last ones ended. */
static void who_reads_on_is_served_in_advance(void **state)
{
	const uint64_t ahead = HEAD + 2 * K + 8 * M;

	(void)state;
	read_small_at(1, HEAD, K);
	expect_none();
	read_small_at(1, HEAD + K, K);
	expect_one(1, HEAD + 2 * K, HEAD + 2 * K + 4 * M);
	read_small_at(1, HEAD + 2 * K, K);
	expect_one(1, HEAD + 2 * K + 4 * M, ahead);
	read_small_at(1, HEAD + 3 * K, K);
	expect_none();
	/* To where just enough is ahead, and one byte on. */
	read_small_at(1, HEAD + 4 * K, 4 * M - 2 * K);
	expect_none();
	read_small_at(1, HEAD + 4 * M + 2 * K, 1);
	expect_one(1, ahead, ahead + 4 * M);
}

/* Proves: only who begins with a document's first byte reads on, and only small ones, up to a
 * block, are told apart by that. */
static void who_begins_with_a_document_reads_on(void **state)
{
	(void)state;
	read_part_at(1, HEAD, K, PFS_BLOCK_LEN, 0);
	expect_none();
	read_part_at(1, HEAD + K, K, PFS_BLOCK_LEN, 1);
	expect_none();
	read_part_at(1, HEAD + K, K, PFS_BLOCK_LEN, 0);
	expect_one(1, HEAD + 2 * K, HEAD + 2 * K + 4 * M);
	read_part_at(1, HEAD + 2 * K, K, PFS_BLOCK_LEN + 1, 0);
	expect_one(1, HEAD + 2 * K, HEAD + 3 * K); /* its own beginning */
	read_part_at(1, HEAD + 2 * K, K, PFS_BLOCK_LEN, 0);
	expect_one(1, HEAD + 2 * K + 4 * M, HEAD + 2 * K + 8 * M);
}

/* Proves: who leaves out up to 256 KiB reads on; who leaves out more, or goes back, does not. */
static void who_jumps_asks_for_nothing_more(void **state)
{
	(void)state;
	read_small_at(1, HEAD, K);
	read_small_at(1, HEAD + K + GAP, K);
	expect_one(1, HEAD + 2 * K + GAP, HEAD + 2 * K + GAP + 4 * M);
	read_small_at(1, 10 * M, K);
	expect_none();
	read_small_at(1, 10 * M + K + GAP + 1, K);
	expect_none();
	read_small_at(1, 10 * M + K + GAP, K);
	expect_none();
	read_small_at(1, 10 * M + K + GAP + K, K);
	expect_one(1, 10 * M + 3 * K + GAP, 14 * M + 3 * K + GAP);
	/* Another page, not the next one. */
	read_small_at(4, 10 * M + 3 * K + GAP, K);
	expect_none();
	read_small_at(2, HEAD, K);
	expect_none();
}

/* Proves: where a page is asked for to its end, the beginning of the next one is, once, and who
 * comes there finds it; the last page has no next one. */
static void the_next_page_is_asked_for(void **state)
{
	(void)state;
	read_small_at(1, 17 * M, K);
	read_small_at(1, 17 * M + K, K);
	expect_asked(0, 1, 17 * M + 2 * K, LONG);
	expect_asked(1, 2, 0, 8 * M);
	assert_int_equal(t.count, 2);
	read_small_at(1, 17 * M + 2 * K, K);
	expect_none();
	read_small_at(2, HEAD + GAP, K);
	expect_none();
	read_small_at(2, HEAD + GAP + K, 4 * M);
	expect_one(2, 8 * M, 12 * M);
	/* The next one is short, and all of it is asked for; with its first document, the last one.
	 */
	read_small_at(2, 17 * M, K);
	expect_none();
	read_small_at(2, 17 * M + K, K);
	expect_asked(1, 3, 0, SHORT);
	read_small_at(3, HEAD, K);
	expect_one(4, 0, 8 * M);
	read_small_at(3, HEAD + K, K);
	expect_none();
	read_small_at(4, HEAD, K);
	expect_none();
	read_small_at(4, 17 * M, K);
	read_small_at(4, 17 * M + K, K);
	expect_one(4, 17 * M + 2 * K, LONG);
}

/* Proves: of a next page that was not asked for, all behind the first document is, if that is at
 * its beginning, give or take 256 KiB. */
static void a_next_page_may_come_by_itself(void **state)
{
	(void)state;
	read_small_at(1, HEAD, K);
	read_small_at(2, HEAD + GAP, K);
	expect_one(2, HEAD + GAP + K, HEAD + GAP + K + 4 * M);
	read_small_at(3, HEAD + GAP + 1, K);
	expect_none();
}

/* A large document on page 2, whose blocks are stored as they are. */
static struct pfs_published_doc make_large(void)
{
	struct pfs_key key = pfs_key_num(7);
	const struct pfs_container_base base = {key.kind, pfs_key_tag(&key), PFS_PUBLISHED_SEQ, 0};
	uint8_t room[8], *table;
	struct pfs_container c = {.flags = PFS_CONTAINER_BLOCKS,
				  .raw_len = BLOCKS * PFS_BLOCK_LEN,
				  .seq = PFS_PUBLISHED_SEQ,
				  .content = 99,
				  .body_len = BLOCKS * (PFS_BLOCK_LEN + PFS_BLOCK_ENTRY_LEN),
				  .tail = pfs_key_tail(&key, room)};
	struct pfs_published_doc doc = {.block = 2, .kind = (uint8_t)key.kind};
	size_t head;

	t.container_at = HEAD + 5 * K;
	t.container_len = pfs_container_len(&c, &base, 0);
	t.container = calloc(1, t.container_len);
	t.raw = malloc(c.raw_len);
	for (size_t i = 0; i < c.raw_len; i++)
		t.raw[i] = (uint8_t)(i * 7 + i / PFS_BLOCK_LEN);
	head = pfs_container_header_encode(t.container, &c, &base, t.container_len);
	table = t.container + head;
	memcpy(table + BLOCKS * PFS_BLOCK_ENTRY_LEN, t.raw, c.raw_len);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint32_t end = (i + 1) * PFS_BLOCK_LEN;

		pfs_put_le32(table + i * PFS_BLOCK_ENTRY_LEN, end);
		pfs_put_le32(table + i * PFS_BLOCK_ENTRY_LEN + 4,
			     pfs_block_crc(c.content, i, end, t.raw + end - PFS_BLOCK_LEN,
					   PFS_BLOCK_LEN));
	}
	pfs_container_seal(t.container, head, c.body_len, c.flags, c.seq, &base);
	pfs_key_to_bytes(doc.entry.key, &key);
	doc.entry.off = (uint32_t)(t.container_at - HEAD);
	doc.entry.len = (uint32_t)t.container_len;
	doc.entry.raw_len = (uint32_t)c.raw_len;
	return doc;
}

static void read_large_at(const struct pfs_published_doc *doc, uint64_t off, size_t len)
{
	uint8_t *buf = malloc(len);

	t.count = 0;
	t.read_len = 0;
	assert_int_equal(pfs_published_read(&t.p, &t.g, doc, off, buf, len), len);
	assert_memory_equal(buf, t.raw + off, len);
	free(buf);
}

/* Proves: with the first byte of a large document its beginning is asked for, up to 960 KiB; each
 * read has its header and table, and not more; who reads from one end to the other is served in
 * advance, by where the blocks lie that he reads. Behind the end there is nothing. */
static void blocks_are_read_in_advance(void **state)
{
	const struct pfs_published_doc doc = make_large();
	const uint64_t block = PFS_BLOCK_LEN, last = (BLOCKS - 1) * block;
	struct pfs_place place;
	uint64_t end, begin;
	uint8_t byte;

	(void)state;
	assert_int_equal(pfs_published_place(&t.p, &t.g, &doc, &place), 0);
	assert_int_equal(place.blocks, BLOCKS);
	assert_int_equal(place.offset, t.container_at);
	assert_int_equal(place.page, 3);
	begin = t.container_at + place.packed_len - BLOCKS * block; /* of the blocks */

	read_large_at(&doc, 0, 100);
	expect_one(2, t.container_at, t.container_at + 960 * PFS_KIB);
	assert_int_equal(t.read_len, PFS_CONTAINER_HEADER_MAX + BLOCKS * PFS_BLOCK_ENTRY_LEN);
	/* Over the border of two blocks, the first of them again: no reading on. */
	read_large_at(&doc, block - 1, 2);
	expect_none();
	end = begin + 4 * block;
	read_large_at(&doc, 2 * block, block + 1);
	expect_one(2, end, end + 4 * M);
	read_large_at(&doc, 4 * block, block);
	expect_one(2, end + 4 * M, end + 8 * M);
	/* Five blocks are left out, and then four. */
	read_large_at(&doc, 10 * block + 5, 7);
	expect_none();
	end = begin + 16 * block;
	read_large_at(&doc, 15 * block, block);
	expect_one(2, end, end + 4 * M);
	read_large_at(&doc, last, block);
	expect_one(2, end + 4 * M, end + 8 * M);
	t.count = 0;
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, last + block, &byte, 1), 0);
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, UINT64_MAX, &byte, 1), 0);
	expect_none();
	/* Up to the end, whatever is asked for, and the first reading again. */
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, last + block - 1, &byte, 5), 1);
	assert_int_equal(byte, t.raw[last + block - 1]);
	read_large_at(&doc, 0, BLOCKS * block);
}

/* Lists one key from a rank on. It can't be had. */
static void list_from(uint32_t rank)
{
	struct pfs_key key;

	t.count = 0;
	assert_int_equal(pfs_published_list(&t.p, &t.g, rank, &key, 1), -EIO);
}

/* Of two objects of keys, of 5 MiB and 1, with the blocks that matter, and a page. */
static void make_keys(void)
{
	static const struct pfs_manifest_block blocks[PAGES + 1] = {
		{.len = 100, .rank = 0},
		{.len = 100, .off = M + 1, .rank = 10},
		{.len = 100, .off = 3 * M - 1, .rank = 20},
		{.len = 100, .off = 3 * M, .rank = 30},
		{.len = 100, .keys = 1, .rank = 40},
	};

	memcpy(t.blocks, blocks, sizeof(blocks));
	t.objects[0].len = 5 * M;
	t.objects[1] = (struct pfs_manifest_object){.role = PFS_OBJECT_KEYS, .len = M};
	t.g.m.block_count = PAGES + 1;
	t.g.m.points = 50;
}

/* Proves: who lists from where keys begin to be read has 2 MiB of them asked for, and from where
 * these end an object, as much of the next one, if there are keys in it; who is in the middle of
 * some has not. */
static void keys_are_read_in_advance(void **state)
{
	struct pfs_key key;

	(void)state;
	make_keys();
	list_from(0);
	expect_one(0, 0, 2 * M);
	list_from(5);
	expect_none();
	list_from(10);
	expect_one(0, M + 1, 3 * M + 1);
	list_from(20);
	expect_one(0, 3 * M - 1, 5 * M - 1);
	list_from(30);
	expect_asked(0, 0, 3 * M, 5 * M);
	expect_asked(1, 1, 0, M);
	assert_int_equal(t.count, 2);
	list_from(40);
	expect_one(1, 0, M);
	t.g.m.object_count = 2; /* what is behind is none of it */
	t.objects[2].role = PFS_OBJECT_KEYS;
	list_from(30);
	assert_int_equal(t.count, 2);
	list_from(40);
	expect_one(1, 0, M);
	assert_int_equal(pfs_published_list(&t.p, &t.g, 50, &key, 1), 0);
}

/* Proves: of what verifies and makes no sense nothing is kept. */
static void what_makes_no_sense_is_dropped(void **state)
{
	struct pfs_published_doc doc;

	(void)state;
	t.garbage = true;
	read_small_at(3, HEAD + 500, K);
	expect_dropped(3, HEAD + 500, HEAD + 500 + K);
	make_keys();
	assert_int_equal(pfs_published_at(&t.p, &t.g, 35, &doc), -EIO);
	expect_dropped(0, 3 * M, 3 * M + 100);
	list_from(40);
	expect_dropped(1, 0, 100);
}

/* Proves: what the origin answers is handed on, and what is less than was asked for is an error;
 * of a document that can't be read there is no place. */
static void errors_are_handed_on(void **state)
{
	static const struct {
		ssize_t answer;
		int err;
	} cases[] = {{-ENOMEM, -ENOMEM}, {-ESTALE, -ESTALE}, {1, -EIO}, {NOTHING, -EIO}};
	const struct pfs_published_doc doc = make_large();
	struct pfs_published_doc found;
	struct pfs_place place;
	uint8_t buf[10];

	(void)state;
	make_keys();
	t.g.m.blocks[2].page = 2;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		for (size_t n = 0; n < 2; n++) { /* the header, and the block */
			t.answered = 0;
			t.answers[n] = cases[i].answer;
			assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 5, buf, sizeof(buf)),
					 cases[i].err);
			t.answers[n] = 0;
		}
		t.answers[0] = cases[i].answer;
		t.answered = 0;
		memset(&place, 'x', sizeof(place));
		assert_int_equal(pfs_published_place(&t.p, &t.g, &doc, &place), cases[i].err);
		assert_true(pfs_is_zero(&place, sizeof(place)));
		t.answered = 0;
		assert_int_equal(pfs_published_at(&t.p, &t.g, 35, &found), cases[i].err);
		t.answers[0] = 0;
	}
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 5, buf, sizeof(buf)), sizeof(buf));
	assert_memory_equal(buf, t.raw + 5, sizeof(buf));
	assert_string_equal(t.said, "");
}

/* Proves: of a small document all is read at once, up to 1 MiB more than one may take; of one that
 * has blocks the header and the table of them. */
static void documents_are_read_at_once(void **state)
{
	static const struct {
		uint32_t raw_len, len;
		uint64_t reads;
	} cases[] = {
		{10, 100, 100},
		{PFS_BLOCK_LEN, 50000, 50000},
		{PFS_BLOCK_LEN + 1, 50000, PFS_CONTAINER_HEADER_MAX + 2 * PFS_BLOCK_ENTRY_LEN},
		{PFS_BLOCK_LEN + 1, 90, 90},
		{10, 8 * PFS_MIB, PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN + PFS_MIB},
	};
	uint8_t buf[10];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct pfs_published_doc doc = {
			.block = 1,
			.kind = PFS_KEY_NUM,
			.entry = {.len = cases[i].len, .raw_len = cases[i].raw_len}};
		bool large = cases[i].raw_len > PFS_BLOCK_LEN;

		t.read_len = t.count = 0;
		t.g.reading.page = UINT32_MAX;
		assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 0, buf, sizeof(buf)), -EIO);
		assert_int_equal(t.read_len, cases[i].reads);
		assert_int_equal(t.count, large);
		if (large)
			expect_one(1, HEAD, HEAD + cases[i].len);
	}
}

static uint8_t *table_of_large(const struct pfs_published_doc *doc)
{
	struct pfs_place place;

	assert_int_equal(pfs_published_place(&t.p, &t.g, doc, &place), 0);
	return t.container + place.packed_len - BLOCKS * (PFS_BLOCK_LEN + PFS_BLOCK_ENTRY_LEN);
}

/* Proves: who leaves out 256 KiB of a document, counted from its container's beginning, reads on;
 * where blocks have no bytes, or would lie beyond the container, nothing is asked for. */
static void blocks_are_where_the_table_says(void **state)
{
	const struct pfs_published_doc doc = make_large();
	const uint64_t block = PFS_BLOCK_LEN, body = BLOCKS * (block + PFS_BLOCK_ENTRY_LEN);
	uint8_t *table = table_of_large(&doc), buf[10];
	uint64_t begin =
		t.container_at + (uint64_t)(table - t.container) + BLOCKS * PFS_BLOCK_ENTRY_LEN;

	(void)state;
	for (uint64_t first = 0; first < 2; first++) {
		for (uint64_t more = 0; more < 2; more++) {
			t.g.reading.page = UINT32_MAX;
			read_large_at(&doc, first * block, block);
			read_large_at(&doc, (first + 5 + more) * block, 1);
			if (more)
				expect_none();
			else
				expect_one(2, begin + (first + 6) * block,
					   begin + (first + 6) * block + 4 * M);
		}
	}
	/* The last of them ends with the body, or one byte on. Neither can be. */
	for (uint32_t over = 0; over < 2; over++) {
		t.g.reading.page = 2;
		t.g.reading.end = t.g.reading.ahead = begin + (BLOCKS - 1) * block;
		pfs_put_le32(table + (BLOCKS - 1) * PFS_BLOCK_ENTRY_LEN, (uint32_t)body + over);
		t.count = 0;
		assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, (BLOCKS - 1) * block, buf,
						    sizeof(buf)),
				 -EIO);
		assert_non_null(strstr(t.said, "its table of blocks makes no sense"));
		if (over)
			expect_none();
		else
			expect_one(2, begin + body, begin + body + 4 * M);
	}
	/* One without bytes. */
	t.g.reading.page = 2;
	t.g.reading.end = t.g.reading.ahead = begin + 3 * block;
	pfs_put_le32(table + 3 * PFS_BLOCK_ENTRY_LEN, (uint32_t)(3 * block));
	pfs_put_le32(table + 3 * PFS_BLOCK_ENTRY_LEN + 4,
		     pfs_block_crc(99, 3, (uint32_t)(3 * block), t.raw, 0));
	t.count = 0;
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 3 * block, buf, sizeof(buf)),
			 sizeof(buf));
	assert_true(pfs_is_zero(buf, sizeof(buf)));
	expect_none();
}

/* A small document on page 2, of `len` bytes, and what else is to be in its header. */
static struct pfs_published_doc make_small(uint8_t flags, uint32_t dict, uint64_t body_len,
					   uint32_t raw_len)
{
	struct pfs_key key = pfs_key_num(7);
	const struct pfs_container_base base = {key.kind, pfs_key_tag(&key), PFS_PUBLISHED_SEQ, 0};
	uint8_t room[8];
	struct pfs_container c = {.flags = flags,
				  .dict = dict,
				  .raw_len = raw_len,
				  .seq = PFS_PUBLISHED_SEQ,
				  .body_len = body_len,
				  .tail = pfs_key_tail(&key, room)};
	struct pfs_published_doc doc = {.block = 2, .kind = (uint8_t)key.kind};
	size_t head;

	t.container_at = HEAD;
	t.container_len = pfs_container_len(&c, &base, 0);
	free(t.container);
	t.container = calloc(1, t.container_len);
	head = pfs_container_header_encode(t.container, &c, &base, t.container_len);
	for (size_t i = 0; i < body_len; i++)
		t.container[head + i] = (uint8_t)(i * 13);
	pfs_container_seal(t.container, head, c.body_len, c.flags, c.seq, &base);
	pfs_key_to_bytes(doc.entry.key, &key);
	doc.entry.len = (uint32_t)t.container_len;
	doc.entry.raw_len = raw_len;
	return doc;
}

/* Proves: what is right but of no use is not fetched again: content that was lost, and what needs a
 * dictionary that is not there; a container that would be longer than any is none. */
static void what_is_of_no_use_is_kept(void **state)
{
	struct pfs_published_doc doc;
	uint8_t buf[300];

	(void)state;
	doc = make_small(PFS_CONTAINER_LOST, 0, 0, 10);
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 0, buf, 10), -EIO);
	assert_non_null(strstr(t.said, "its content was lost"));
	expect_dropped(2, HEAD, HEAD);
	doc = make_small(PFS_CONTAINER_LZ4, 5, 20, 300);
	t.dropped.to = 0;
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 0, buf, 300), -EIO);
	assert_non_null(strstr(t.said, "it needs a dictionary that is not there"));
	expect_dropped(2, HEAD, HEAD);
	doc = make_small(0, 0, 100, 100);
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 7, buf, 300), 93);
	assert_int_equal(buf[92], (uint8_t)(99 * 13));
	doc = make_small(PFS_CONTAINER_LZ4, 0, 2 * M, 300);
	assert_int_equal(pfs_published_read(&t.p, &t.g, &doc, 0, buf, 300), -EIO);
	assert_non_null(strstr(t.said, "header of its container"));
	expect_dropped(2, HEAD, HEAD + doc.entry.len);
}

/* ---- blocks of keys that are kept ---- */

#define TABLES (PFS_PUBLISHED_BLOCKS + 10)
#define EACH 3u /* keys of each */

/* Numbers, or UUIDs that differ in their last byte alone. */
static struct pfs_key key_of(unsigned kind, uint32_t i)
{
	struct pfs_key key = {.kind = PFS_KEY_UUID, .uuid = {5, [15] = (uint8_t)i}};

	return kind == PFS_KEY_UUID ? key : pfs_key_num(10 * i);
}

/* One table of keys on an object, of many blocks of EACH keys, all of page 1. */
static struct pfs_manifest_block *make_tables(struct pfs_generation *g, uint32_t object,
					      unsigned kind, uint8_t *bytes)
{
	struct pfs_manifest_block *blocks = calloc(TABLES, sizeof(*blocks));
	struct pfs_key_block *block = calloc(1, sizeof(*block));
	uint32_t at = 0;

	for (uint32_t b = 0; b < TABLES; b++) {
		*block = (struct pfs_key_block){
			.kind = (uint8_t)kind, .count = EACH, .first = b * EACH};
		for (uint32_t i = 0; i < EACH; i++) {
			struct pfs_key key = key_of(kind, b * EACH + i);

			pfs_key_to_bytes(block->entries[i].key, &key);
			block->entries[i].off = 50 * i;
			block->entries[i].len = block->entries[i].raw_len = 50;
		}
		blocks[b] = (struct pfs_manifest_block){.kind = (uint8_t)kind,
							.keys = object,
							.page = 1,
							.off = at,
							.count = EACH,
							.rank = b * EACH};
		memcpy(blocks[b].key, block->entries[0].key, sizeof(blocks[b].key));
		blocks[b].len = (uint32_t)pfs_key_block_encode(bytes + at, block);
		at += blocks[b].len;
	}
	free(block);
	g->m = t.g.m;
	g->m.blocks = blocks;
	g->m.block_count = TABLES;
	g->m.points = TABLES * EACH;
	g->files = t.files;
	return blocks;
}

static void find_in(struct pfs_generation *g, uint32_t i, bool is_kept)
{
	struct pfs_key key = key_of(g->m.blocks[0].kind, i);
	struct pfs_published_doc doc;
	unsigned before = t.reads;

	assert_int_equal(pfs_published_find(&t.p, g, &key, &doc), 0);
	assert_true(doc.rank == i && doc.slot == i && doc.block == i / EACH);
	if ((t.reads == before) != is_kept)
		fail_msg("block %u was %sread", i / EACH, is_kept ? "" : "not ");
}

/* What is kept, in the order of use: the reference. */
struct reference {
	const struct pfs_generation *g[PFS_PUBLISHED_BLOCKS + 1];
	uint32_t number[PFS_PUBLISHED_BLOCKS + 1];
	size_t count;
};

static bool refer(struct reference *r, const struct pfs_generation *g, uint32_t number)
{
	size_t i = 0;
	bool is_kept;

	while (i < r->count && (r->g[i] != g || r->number[i] != number))
		i++;
	is_kept = i < r->count;
	r->count += !is_kept;
	for (; i > 0; i--) {
		r->g[i] = r->g[i - 1];
		r->number[i] = r->number[i - 1];
	}
	r->g[0] = g;
	r->number[0] = number;
	r->count = pfs_min_u64(r->count, PFS_PUBLISHED_BLOCKS);
	return is_kept;
}

static void forget_all_of(struct reference *r, const struct pfs_generation *g)
{
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++) {
		r->g[n] = r->g[i];
		r->number[n] = r->number[i];
		n += r->g[i] != g;
	}
	r->count = n;
}

/* Proves: of the blocks of keys those that were used last are kept, as many as there is room for,
 * those of two generations apart from each other; those of a generation that goes are not, and the
 * others are; a listing goes through all of them. */
static void the_last_used_blocks_are_kept(void **state)
{
	static uint8_t bytes[2][TABLES * 400];
	static struct pfs_generation g[2];
	struct reference *r = calloc(1, sizeof(*r));
	struct pfs_key *keys = calloc(TABLES * EACH, sizeof(*keys));
	struct pfs_manifest_block *blocks[2];

	(void)state;
	t.objects[3].role = PFS_OBJECT_KEYS;
	for (uint32_t i = 0; i < 2; i++) {
		t.keys[3 * i] = bytes[i];
		blocks[i] = make_tables(&g[i], 3 * i, i ? PFS_KEY_UUID : PFS_KEY_NUM, bytes[i]);
	}
	for (uint32_t n = 0; n < 6000; n++) {
		uint64_t roll = pfs_mix64(n);
		/* Rounds within what has its place, and some beyond it. */
		uint32_t b =
			n % 3 ? n / 3 % (40 + n / 100) % TABLES : (uint32_t)(roll >> 8) % TABLES;
		unsigned of = roll % 5 == 0;

		find_in(&g[of], b * EACH + (uint32_t)(roll >> 40) % EACH, refer(r, &g[of], b));
		if (n % 500 == 499) {
			of = n % 1000 == 999;
			pfs_published_drop_blocks(&t.p, &g[of]);
			forget_all_of(r, &g[of]);
		}
	}
	t.count = 0;
	assert_int_equal(pfs_published_list(&t.p, &g[0], 0, keys, TABLES * EACH), TABLES * EACH);
	for (uint32_t i = 0; i < TABLES * EACH; i++)
		assert_int_equal(keys[i].num, 10 * i);
	assert_int_equal(pfs_published_list(&t.p, &g[0], 4, keys, 3), 3);
	assert_true(keys[0].num == 40 && keys[2].num == 60);
	for (unsigned i = 0; i < 2; i++) {
		/* Of a block that nothing is wanted of, none is read. */
		pfs_published_drop_blocks(&t.p, &g[i]);
		t.reads = 0;
		assert_int_equal(pfs_published_list(&t.p, &g[i], 0, keys, EACH), EACH);
		assert_int_equal(t.reads, 1);
		pfs_published_drop_blocks(&t.p, &g[i]);
		free(blocks[i]);
	}
	assert_null(t.p.blocks[0]);
	free(keys);
	free(r);
}

int main(void)
{
#define ahead(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ahead(who_reads_on_is_served_in_advance),
		ahead(who_begins_with_a_document_reads_on),
		ahead(who_jumps_asks_for_nothing_more),
		ahead(the_next_page_is_asked_for),
		ahead(a_next_page_may_come_by_itself),
		ahead(blocks_are_read_in_advance),
		ahead(keys_are_read_in_advance),
		ahead(what_makes_no_sense_is_dropped),
		ahead(errors_are_handed_on),
		ahead(documents_are_read_at_once),
		ahead(blocks_are_where_the_table_says),
		ahead(what_is_of_no_use_is_kept),
		ahead(the_last_used_blocks_are_kept),
	};

	return cmocka_run_group_tests_name("reading ahead", tests, NULL, NULL);
}
