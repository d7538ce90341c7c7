/* storage/store_apply.c: how the container of each kind of version is made, from what, and what
 * becomes of it where that can't be read or written. The file is included, with pages that only
 * keep what is written to them. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"
#include "storage/store_apply.h"

static int fake_write(struct pfs_page *page, const void *bytes, size_t len, uint64_t off);
static int fake_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len);
static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number);
static int fake_read(struct pfs_store *store, const struct pfs_source *source, uint64_t off,
		     void *buf, size_t len);
static int fake_packed(struct pfs_store *store, const struct pfs_source *source, uint8_t *buf,
		       const uint8_t **body);
static const uint8_t *fake_blocks(const struct pfs_source *source, uint64_t *body_len,
				  uint64_t *content);

static void *memory_or_none(size_t len);

#define malloc(len) memory_or_none(len)
#define pfs_page_write fake_write
#define pfs_page_copy fake_copy
#define pfs_pager_find fake_find
#define pfs_source_read fake_read
#define pfs_source_packed fake_packed
#define pfs_source_blocks fake_blocks
#include "storage/store_apply.c"
#undef malloc
#undef pfs_page_write
#undef pfs_page_copy
#undef pfs_pager_find
#undef pfs_source_read
#undef pfs_source_packed
#undef pfs_source_blocks

#include "tests/unit/store_helpers.h"

#define TARGET 4096u
#define BLOCK PFS_BLOCK_LEN

static uint8_t disk[4 * PFS_MIB]; /* the page */
static struct pfs_page page = {.number = 7, .size = sizeof(disk), .file_size = sizeof(disk)};

static struct {
	unsigned writes, fail_write; /* that one fails; 0: none does */
	char reads[512];	     /* of the source: offset+length in blocks */
	int whole_err;		     /* of reading more than a block */
	uint64_t bad_block;	     /* and of reading this one, counted from 1; 0: none */
	int bad_err;
	int packed_err;
	const uint8_t *blocks; /* NULL: there are none */
	uint64_t blocks_len;
	unsigned lost;	 /* said */
	unsigned memory; /* so much is had, and the next is not; 0: all */
} now;

static void *memory_or_none(size_t len)
{
	return now.memory && --now.memory == 0 ? NULL : malloc(len);
}

static int fake_write(struct pfs_page *p, const void *bytes, size_t len, uint64_t off)
{
	assert_ptr_equal(p, &page);
	assert_true(off + len <= sizeof(disk));
	if (++now.writes == now.fail_write)
		return -EIO;
	memcpy(disk + off, bytes, len);
	return 0;
}

static int fake_copy(const struct pfs_page *p, void *dst, uint64_t off, size_t len)
{
	(void)p;
	memcpy(dst, disk + off, len);
	return 0;
}

static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number)
{
	(void)pager;
	return number == page.number ? &page : NULL;
}

/* A payload of which blocks differ, and every third is of zeros. */
static void payload(uint8_t *buf, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t at = off + i, block = at / BLOCK;

		buf[i] = block % 3 == 2	  ? 0
			 : block % 3 == 1 ? (uint8_t)pfs_mix64(at)
					  : (uint8_t)(block + at % 7);
	}
}

static int fake_read(struct pfs_store *store, const struct pfs_source *source, uint64_t off,
		     void *buf, size_t len)
{
	size_t at = strlen(now.reads);

	(void)store;
	(void)source;
	snprintf(now.reads + at, sizeof(now.reads) - at, " %llu+%zu", (unsigned long long)off, len);
	if (len > BLOCK && now.whole_err)
		return now.whole_err;
	if (len <= BLOCK && now.bad_block && off / BLOCK == now.bad_block - 1)
		return now.bad_err;
	payload(buf, off, len);
	return 0;
}

static int fake_packed(struct pfs_store *store, const struct pfs_source *source, uint8_t *buf,
		       const uint8_t **body)
{
	(void)store;
	memcpy(buf, "packed as it is stored", source->body_len);
	*body = buf;
	return now.packed_err;
}

static const uint8_t *fake_blocks(const struct pfs_source *source, uint64_t *body_len,
				  uint64_t *content)
{
	(void)source;
	*body_len = now.blocks_len;
	*content = 77;
	return now.blocks;
}

static void count_lost(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	assert_string_equal(line, "a document's content is lost; reading it gives an error");
	now.lost++;
}

static struct pfs_gather *begin(void)
{
	struct pfs_gather *g = calloc(1, sizeof(*g));

	memset(&now, 0, sizeof(now));
	memset(disk, 0, sizeof(disk));
	g->store = calloc(1, sizeof(*g->store));
	g->store->logger = (struct pfs_logger){.fn = count_lost};
	g->store->super.min_value_size = 16;
	g->store->next_content = 88;
	g->buf = malloc(PFS_GATHER_LEN);
	g->body = malloc(PFS_PACKED_ROOM);
	return g;
}

static void end(struct pfs_gather *g)
{
	free(g->body);
	free(g->buf);
	free(g->store);
	free(g);
}

static struct pfs_version *version_of(enum pfs_source_kind kind, uint64_t size, uint64_t room)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_version *v = pfs_version_new(&key);

	v->seq = 9;
	v->mtime_ns = 11;
	v->size = size;
	v->source = (struct pfs_source){.kind = kind, .size = size};
	v->target = (struct pfs_extent_at){page.number, 3, TARGET, room};
	return v;
}

/* The container at the target, which verifies. */
static struct pfs_container container_now(const struct pfs_version *v)
{
	struct pfs_container_base base = pfs_page_base(&page, v->kind, v->tag);
	struct pfs_container c;

	assert_int_equal(pfs_container_header_decode(&c, disk + TARGET, PFS_SMALL_MAX,
						     v->applied_len, &base),
			 0);
	assert_int_equal(pfs_container_verify(&c, disk + TARGET, &base), 0);
	assert_int_equal(c.raw_len, v->size);
	assert_int_equal(c.seq, 9);
	assert_int_equal(c.mtime_ns, 11);
	return c;
}

/* ---- gathering ---- */

/* Proves: what lies behind, in the same page, over a gap that is not too long, and fits, is
 * gathered; the gap stays what it is. */
static void gaps_are_bridged_up_to_a_length(void **state)
{
	static struct pfs_page other = {.number = 8};
	static const struct {
		uint64_t gap;
		size_t have, len;
		bool elsewhere, bridged;
	} cases[] = {{0, 100, 100, false, true},
		     {PFS_GATHER_GAP - 1, 100, 100, false, true},
		     {PFS_GATHER_GAP, 100, 100, false, true},
		     {PFS_GATHER_GAP + 1, 100, 100, false, false},
		     {0, 100, 100, true, false},
		     {UINT64_MAX, 100, 100, false, false}, /* before its end */
		     {10, 90, PFS_GATHER_LEN - 100, false, true},
		     {10, 90, PFS_GATHER_LEN - 99, false, false}};
	struct pfs_gather *g = begin();

	(void)state;
	for (size_t i = 0; i < sizeof(disk); i++)
		disk[i] = (uint8_t)pfs_mix64(i);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		g->page = &page;
		g->off = 1000;
		g->len = cases[i].have;
		assert_int_equal(bridge(g, cases[i].elsewhere ? &other : &page,
					1000 + cases[i].have + cases[i].gap, cases[i].len),
				 cases[i].bridged);
		assert_int_equal(g->len, cases[i].have + (cases[i].bridged ? cases[i].gap : 0));
		if (cases[i].bridged)
			assert_memory_equal(g->buf + cases[i].have, disk + 1000 + cases[i].have,
					    cases[i].gap);
	}
	end(g);
}

/* ---- containers ---- */

/* Proves: a small version is written with its attributes only if they are its own, with the stored
 * body of a record, or packed from a stage. */
static void small_ones(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		bool own = i & 1, stage = i & 2, empty = i >= 4;
		struct pfs_gather *g = begin();
		struct pfs_version *v = version_of(empty   ? PFS_SOURCE_EMPTY
						   : stage ? PFS_SOURCE_STAGE
							   : PFS_SOURCE_RECORD,
						   empty ? 0 : 1000, 2048);
		uint8_t want[1000], have[1000];
		struct pfs_stage stage_of = {0};
		struct pfs_container c;

		v->own_attr = own;
		v->mode = 0600;
		v->source.stage = &stage_of;
		if (!stage) {
			v->source.flags = PFS_CONTAINER_LZ4;
			v->source.body_len = 22;
		}
		if (empty)
			v->source.body_len = v->source.flags = 0;
		assert_int_equal(pfs_apply(g, v), 0);
		assert_int_equal(pfs_gather_flush(g), 0);
		c = container_now(v);
		assert_int_equal(
			c.flags & (PFS_CONTAINER_ATTR | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_LOST),
			own ? PFS_CONTAINER_ATTR : 0);
		assert_int_equal(c.mode, own ? 0600 : 0);
		if (empty) {
			assert_int_equal(c.body_len, 0);
		} else if (stage) {
			payload(want, 0, sizeof(want));
			assert_true(c.flags & PFS_CONTAINER_LZ4);
			assert_int_equal(pfs_codec_unpack(have, 1000, disk + TARGET + c.header_len,
							  c.body_len, NULL),
					 0);
			assert_memory_equal(have, want, sizeof(want));
		} else {
			assert_int_equal(c.body_len, 22);
			assert_memory_equal(disk + TARGET + c.header_len, "packed as it is stored",
					    22);
		}
		assert_int_equal(now.lost, 0);
		free(v);
		end(g);
	}
}

/* Proves: a container is as long as it says, with zeros up to that, and nothing is written behind
 * it: there others may be gathered. */
static void containers_end_where_they_end(void **state)
{
	(void)state;
	for (uint32_t body = 0; body <= 22; body += 2) {
		struct pfs_gather *g = begin();
		struct pfs_version *v =
			version_of(body ? PFS_SOURCE_RECORD : PFS_SOURCE_EMPTY, body, 2048);
		struct pfs_container c;

		v->source.body_len = body;
		g->store->super.min_value_size = 32;
		memset(g->buf, 0xee, 8192);
		assert_int_equal(pfs_apply(g, v), 0);
		assert_int_equal(g->len, v->applied_len);
		assert_true(v->applied_len >= 32);
		for (size_t i = g->len; i < g->len + 4096; i++)
			assert_int_equal(g->buf[i], 0xee);
		assert_int_equal(pfs_gather_flush(g), 0);
		c = container_now(v);
		assert_int_equal(c.body_len, body);
		assert_true(pfs_is_zero(disk + TARGET + c.header_len + body,
					v->applied_len - c.header_len - body));
		free(v);
		end(g);
	}
}

static void expect_lost(struct pfs_gather *g, struct pfs_version *v)
{
	struct pfs_container c;

	assert_int_equal(pfs_apply(g, v), 0);
	assert_int_equal(pfs_gather_flush(g), 0);
	c = container_now(v);
	assert_int_equal(c.flags & (PFS_CONTAINER_LOST | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_LZ4),
			 PFS_CONTAINER_LOST);
	assert_int_equal(c.body_len, 0);
	assert_int_equal(now.lost, 1);
	free(v);
	end(g);
}

/* Proves: what can't be read becomes a container that says so, of any kind and size, which is said;
 * want of memory is an error. */
static void what_can_not_be_read_is_lost(void **state)
{
	struct pfs_gather *g = begin();
	struct pfs_version *v;

	(void)state;
	expect_lost(g, version_of(PFS_SOURCE_LOST, 1000, 2048));
	expect_lost(begin(), version_of(PFS_SOURCE_LOST, 200000, 2048));
	g = begin();
	now.packed_err = -EIO;
	expect_lost(g, version_of(PFS_SOURCE_CONTAINER, 1000, 2048));
	expect_lost(begin(), version_of(PFS_SOURCE_CONTAINER, 200000, 2048));
	g = begin();
	now.packed_err = -ENOMEM;
	v = version_of(PFS_SOURCE_RECORD, 1000, 2048);
	assert_int_equal(pfs_apply(g, v), -ENOMEM);
	assert_int_equal(now.lost, 0);
	free(v);
	end(g);
}

/* Proves: stored blocks are copied as they are, and each write that fails is an error. */
static void stored_blocks_are_copied(void **state)
{
	static const uint64_t lens[] = {2 * PFS_GATHER_LEN + 100, 2 * PFS_GATHER_LEN};
	uint8_t *blocks = malloc(lens[0]);
	bool failed = true;

	(void)state;
	fill_document(blocks, lens[0], 1);
	for (unsigned n = 0; failed || n < 2; n++) {
		uint64_t len = lens[!n];
		struct pfs_gather *g = begin();
		struct pfs_version *v = version_of(PFS_SOURCE_RECORD, 2 * len, len + 200);
		uint8_t *room;
		int err;

		/* Once a whole number of writes. */
		now.blocks = blocks;
		now.blocks_len = len;
		now.fail_write = n;
		/* Something is gathered before. */
		assert_int_equal(pfs_gather_room(g, &page, 0, 100, &room), 0);
		memset(room, 'g', 100);
		err = pfs_apply(g, v);
		failed = n && now.writes >= n;
		assert_int_equal(now.writes, failed ? n : n ? 5 : 4);
		assert_int_equal(err, failed ? -EIO : 0);
		assert_int_equal(g->failed, failed);
		assert_int_equal(now.lost, 0);
		if (!failed) {
			struct pfs_container c = container_now(v);

			assert_int_equal(disk[99], 'g');
			assert_true(c.flags & PFS_CONTAINER_BLOCKS);
			assert_int_equal(c.content, 77);
			assert_int_equal(c.body_len, len);
			assert_memory_equal(disk + TARGET + c.header_len, blocks, len);
		}
		free(v);
		end(g);
	}
	free(blocks);
}

/* The blocks of a large container, each verified and unpacked; returns whether all are there but
 * this one (counted from 1; 0: none), which does not verify. */
static void expect_blocks(const struct pfs_version *v, uint64_t bad)
{
	static uint8_t want[BLOCK], have[BLOCK];
	struct pfs_container c = container_now(v);
	uint64_t count = pfs_block_count(v->size);
	const uint8_t *table = disk + TARGET + c.header_len;
	const uint8_t *body = table + count * PFS_BLOCK_ENTRY_LEN;
	uint32_t begin_at = 0;

	assert_true(c.flags & PFS_CONTAINER_BLOCKS);
	assert_int_equal(c.content, 88);
	for (uint64_t i = 0; i < count; i++) {
		uint32_t end_at = pfs_get_le32(table + i * PFS_BLOCK_ENTRY_LEN);
		uint32_t raw_len = pfs_block_raw_len(v->size, i), len = end_at - begin_at;
		bool right = pfs_block_crc(c.content, (uint32_t)i, end_at, body + begin_at, len) ==
			     pfs_get_le32(table + i * PFS_BLOCK_ENTRY_LEN + 4);

		assert_int_equal(right, i + 1 != bad);
		payload(want, i * BLOCK, raw_len);
		if (i + 1 == bad || i % 3 == 2) {
			assert_int_equal(len, 0);
		} else if (len == raw_len) {
			assert_memory_equal(body + begin_at, want, raw_len);
		} else {
			assert_int_equal(
				pfs_codec_unpack(have, raw_len, body + begin_at, len, NULL), 0);
			assert_memory_equal(have, want, raw_len);
		}
		begin_at = end_at;
	}
	assert_int_equal(begin_at, c.body_len - count * PFS_BLOCK_ENTRY_LEN);
}

static void expect_reads(const char *reads)
{
	assert_string_equal(now.reads, reads);
}

/* Proves: a stage is read sixteen blocks at a time and packed block by block; where such a reading
 * fails each block is read by itself, to its end and no further, and only the one that can't be
 * read is lost. Want of memory, and any write that fails, is an error. */
static void stages_are_packed(void **state)
{
	const uint64_t size = 17 * BLOCK + 1000, few = 3 * BLOCK + 7;
	struct pfs_stage stage = {0};
	bool failed = true;

	(void)state;
	for (unsigned n = 0; failed || n < 2; n++) {
		struct pfs_gather *g = begin();
		struct pfs_version *v = version_of(PFS_SOURCE_STAGE, size, 2 * PFS_MIB);
		int err;

		stage.dense = size;
		v->source.stage = &stage;
		now.fail_write = n;
		err = pfs_apply(g, v);
		failed = n && now.writes >= n;
		assert_int_equal(err, failed ? -EIO : 0);
		assert_int_equal(g->failed, failed);
		if (failed)
			assert_int_equal(now.writes, n);
		else
			expect_blocks(v, 0);
		if (n == 0)
			expect_reads(" 0+1048576 1048576+66536");
		free(v);
		end(g);
	}
	for (uint64_t bad = 1; bad <= 4; bad++) {
		for (unsigned way = 0; way < 2; way++) {
			struct pfs_gather *g = begin();
			struct pfs_version *v = version_of(PFS_SOURCE_STAGE, few, PFS_MIB);

			v->source.stage = &stage;
			now.whole_err = -EIO;
			now.bad_block = bad;
			now.bad_err = way ? -ENOMEM : -EIO;
			assert_int_equal(pfs_apply(g, v), way ? -ENOMEM : 0);
			if (way == 0) {
				expect_blocks(v, bad);
				expect_reads(" 0+196615 0+65536 65536+65536 131072+65536 196608+7");
			}
			assert_int_equal(now.lost, 0);
			free(v);
			end(g);
		}
	}
	/* Without memory, for the packing, the table or the reading, it is an error. */
	for (unsigned n = 1; n <= 3; n++) {
		struct pfs_gather *g = begin();
		struct pfs_version *v = version_of(PFS_SOURCE_STAGE, few, PFS_MIB);

		v->source.stage = &stage;
		now.memory = n < 3 ? n : 0;
		now.whole_err = n < 3 ? 0 : -ENOMEM;
		assert_int_equal(pfs_apply(g, v), -ENOMEM);
		assert_int_equal(now.writes, 0);
		assert_int_equal(now.lost, 0);
		free(v);
		end(g);
	}
	/* The last reading of many: its blocks are not the first. */
	{
		struct pfs_gather *g = begin();
		struct pfs_version *v = version_of(PFS_SOURCE_STAGE, size, 2 * PFS_MIB);
		const char *last;

		v->source.stage = &stage;
		now.whole_err = -EIO;
		now.bad_block = 18;
		now.bad_err = -EIO;
		assert_int_equal(pfs_apply(g, v), 0);
		expect_blocks(v, 18);
		assert_int_equal(g->store->next_content, 89);
		last = strstr(now.reads, " 983040+65536");
		assert_non_null(last);
		assert_string_equal(last, " 983040+65536 1048576+66536 1048576+65536 1114112+1000");
		free(v);
		end(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gaps_are_bridged_up_to_a_length),
		cmocka_unit_test(small_ones),
		cmocka_unit_test(containers_end_where_they_end),
		cmocka_unit_test(what_can_not_be_read_is_lost),
		cmocka_unit_test(stored_blocks_are_copied),
		cmocka_unit_test(stages_are_packed),
	};

	return cmocka_run_group_tests_name("applying", tests, NULL, NULL);
}
