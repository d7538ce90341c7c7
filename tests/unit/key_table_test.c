/* storage/key_table.c: what is encoded comes back; no other bytes are taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/key_table.h"

struct fixture {
	struct pfs_key_block block, got;
	uint8_t bytes[PFS_KEY_BLOCK_LEN_MAX];
	size_t len;
};

static struct fixture *make(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	return f;
}

static void set_key(struct pfs_key_entry *e, unsigned kind, uint64_t high, uint64_t low)
{
	struct pfs_key key = {.kind = (uint8_t)kind, .num = high};

	if (kind == PFS_KEY_UUID) {
		for (int i = 0; i < 8; i++) {
			key.uuid[i] = (uint8_t)(high >> (56 - 8 * i));
			key.uuid[8 + i] = (uint8_t)(low >> (56 - 8 * i));
		}
	}
	pfs_key_to_bytes(e->key, &key);
}

/* count entries of many sorts. */
static void fill(struct fixture *f, unsigned kind, uint32_t count)
{
	uint64_t key = kind == PFS_KEY_NUM ? 0 : 7;
	uint32_t off = 1234;

	f->block.kind = (uint8_t)kind;
	f->block.count = count;
	f->block.first = 99;
	for (uint32_t i = 0; i < count; i++) {
		struct pfs_key_entry *e = &f->block.entries[i];
		uint64_t r = pfs_mix64(i + 1);

		*e = (struct pfs_key_entry){
			.off = off,
			.len = 16 + (uint32_t)(r % 1000),
			.raw_len = (uint32_t)(r >> 20 & 0xffff),
			.mtime_ns = i % 5 ? 1700000000000000000 : (int64_t)(r >> 1) - INT64_MAX / 2,
			.own_attr = i % 7 == 0,
			.plain = i % 3 == 0,
		};
		if (e->own_attr) {
			e->mode = 0640;
			e->uid = (uint32_t)r;
			e->gid = UINT32_MAX;
		}
		set_key(e, kind, key, r);
		key += 1 + (i % 4 ? 0 : r % 100000);
		off += e->len;
	}
	f->len = pfs_key_block_encode(f->bytes, &f->block);
	assert_true(f->len <= PFS_KEY_BLOCK_LEN_MAX);
}

static void assert_same(const struct fixture *f)
{
	assert_int_equal(f->got.kind, f->block.kind);
	assert_int_equal(f->got.count, f->block.count);
	assert_int_equal(f->got.first, f->block.first);
	for (uint32_t i = 0; i < f->block.count; i++) {
		const struct pfs_key_entry *a = &f->block.entries[i], *b = &f->got.entries[i];

		assert_memory_equal(a->key, b->key, 16);
		assert_int_equal(a->off, b->off);
		assert_int_equal(a->len, b->len);
		assert_int_equal(a->raw_len, b->raw_len);
		assert_int_equal(a->mtime_ns, b->mtime_ns);
		assert_int_equal(a->own_attr, b->own_attr);
		assert_int_equal(a->plain, b->plain);
		assert_int_equal(a->mode, b->mode);
		assert_int_equal(a->uid, b->uid);
		assert_int_equal(a->gid, b->gid);
	}
}

/* Proves: blocks of one, some, and the most entries come back as they were, of numbers and UUIDs.
 */
static void blocks_come_back(void **state)
{
	static const uint32_t counts[] = {1, 2, 100, PFS_KEY_BLOCK_MAX};
	struct fixture *f = make();

	(void)state;
	for (unsigned kind = PFS_KEY_NUM; kind <= PFS_KEY_UUID; kind++) {
		for (size_t i = 0; i < pfs_array_len(counts); i++) {
			fill(f, kind, counts[i]);
			memset(&f->got, 0x5a, sizeof(f->got));
			assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), 0);
			assert_same(f);
		}
	}
	free(f);
}

/* Proves: ids 0 and 2^64-1 stand beside each other, and so do the first and the last UUID. */
static void extremes_come_back(void **state)
{
	struct fixture *f = make();

	(void)state;
	for (unsigned kind = PFS_KEY_NUM; kind <= PFS_KEY_UUID; kind++) {
		fill(f, kind, 2);
		set_key(&f->block.entries[0], kind, 0, 0);
		set_key(&f->block.entries[1], kind, UINT64_MAX, UINT64_MAX);
		f->block.entries[1].raw_len = (uint32_t)PFS_GIB;
		f->len = pfs_key_block_encode(f->bytes, &f->block);
		assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), 0);
		assert_same(f);
	}
	free(f);
}

/* Proves: ids one after the other of documents like each other take five or six bytes each. */
static void ids_in_order_take_little(void **state)
{
	struct fixture *f = make();

	(void)state;
	fill(f, PFS_KEY_NUM, PFS_KEY_BLOCK_MAX);
	for (uint32_t i = 0; i < f->block.count; i++) {
		struct pfs_key_entry *e = &f->block.entries[i];

		*e = (struct pfs_key_entry){
			.off = 300 * i, .len = 300, .raw_len = 850, .mtime_ns = 1, .plain = true};
		set_key(e, PFS_KEY_NUM, 5000000 + i, 0);
	}
	f->len = pfs_key_block_encode(f->bytes, &f->block);
	assert_in_range(f->len, 1, 6 * PFS_KEY_BLOCK_MAX);
	assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), 0);
	assert_same(f);
	free(f);
}

/* Proves: a block with any one bit turned, or cut off anywhere, or with bytes behind it, is
 * refused. */
static void damage_is_refused(void **state)
{
	struct fixture *f = make();

	(void)state;
	for (unsigned kind = PFS_KEY_NUM; kind <= PFS_KEY_UUID; kind++) {
		fill(f, kind, 40);
		for (size_t bit = 0; bit < 8 * f->len; bit++) {
			f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), -EUCLEAN);
			f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		for (size_t len = 0; len < f->len; len++)
			assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, len), -EUCLEAN);
		f->bytes[f->len] = 0;
		assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len + 1), -EUCLEAN);
	}
	free(f);
}

/* The same bytes with a checksum that is right: what a hostile server can give. */
static void seal(struct fixture *f)
{
	pfs_put_le32(f->bytes, pfs_crc32c(0, f->bytes + 4, f->len - 4));
}

/* Proves: with right checksums, too, whatever is taken for a block keeps its promises: keys ascend,
 * places fit together, nothing is out of range. */
static void forged_blocks_keep_the_promises(void **state)
{
	struct fixture *f = make();
	unsigned taken = 0;

	(void)state;
	for (unsigned kind = PFS_KEY_NUM; kind <= PFS_KEY_UUID; kind++) {
		fill(f, kind, 60);
		for (size_t i = 0; i < 20000; i++) {
			uint64_t r = pfs_mix64(i + 77);
			size_t at = 4 + r % (f->len - 4);
			uint8_t was = f->bytes[at];

			f->bytes[at] = (uint8_t)(r >> 40);
			seal(f);
			if (pfs_key_block_decode(&f->got, f->bytes, f->len) == 0) {
				taken++;
				assert_in_range(f->got.count, 1, PFS_KEY_BLOCK_MAX);
				for (uint32_t e = 1; e < f->got.count; e++) {
					const struct pfs_key_entry *x = &f->got.entries[e - 1];

					assert_true(memcmp(x->key, x[1].key, 16) < 0);
					assert_int_equal(x[1].off, x->off + x->len);
					assert_true(x->raw_len <= PFS_GIB && x->len > 0);
					assert_true(x->mode <= 07777);
				}
			}
			f->bytes[at] = was;
		}
	}
	assert_true(taken > 100);
	free(f);
}

/* Proves: keys that would run over 2^64 are refused, and UUIDs that do not ascend. */
static void keys_ascend(void **state)
{
	struct fixture *f = make();

	(void)state;
	fill(f, PFS_KEY_NUM, 2);
	set_key(&f->block.entries[0], PFS_KEY_NUM, UINT64_MAX, 0);
	set_key(&f->block.entries[1], PFS_KEY_NUM, 5, 0); /* the step wraps */
	f->len = pfs_key_block_encode(f->bytes, &f->block);
	assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), -EUCLEAN);
	fill(f, PFS_KEY_UUID, 2);
	memcpy(f->block.entries[1].key, f->block.entries[0].key, 16);
	f->len = pfs_key_block_encode(f->bytes, &f->block);
	assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), -EUCLEAN);
	free(f);
}

/* Proves: a key is above the one before it by any of its bits, and a number by one at least. */
static void keys_ascend_by_any_bit(void **state)
{
	struct fixture *f = make();

	(void)state;
	for (unsigned byte = 0; byte < 16; byte++) {
		for (unsigned descends = 0; descends < 2; descends++) {
			fill(f, PFS_KEY_UUID, 2);
			memset(f->block.entries[0].key, 7, 16);
			memset(f->block.entries[1].key, 7, 16);
			f->block.entries[!descends].key[byte]++;
			f->len = pfs_key_block_encode(f->bytes, &f->block);
			assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len),
					 descends ? -EUCLEAN : 0);
			if (!descends)
				assert_same(f);
		}
	}
	for (uint64_t next = 0; next < 15; next++) {
		fill(f, PFS_KEY_NUM, 2);
		set_key(&f->block.entries[0], PFS_KEY_NUM, 10, 0);
		set_key(&f->block.entries[1], PFS_KEY_NUM, next, 0);
		f->len = pfs_key_block_encode(f->bytes, &f->block);
		assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len),
				 next > 10 ? 0 : -EUCLEAN);
	}
	free(f);
}

/* Proves: a key is the same from its bytes, whatever stood in their room before. */
static void keys_have_all_their_bytes(void **state)
{
	static const unsigned kinds[] = {PFS_KEY_NUM, PFS_KEY_UUID};
	uint8_t bytes[17], zeros[8] = {0};

	(void)state;
	for (size_t k = 0; k < pfs_array_len(kinds); k++) {
		struct pfs_key key = {.kind = (uint8_t)kinds[k],
				      .num = UINT64_C(0x0102030405060708)};
		struct pfs_key back;

		if (kinds[k] == PFS_KEY_UUID)
			memcpy(key.uuid, "0123456789abcdef", 16);
		memset(bytes, 0xa5, sizeof(bytes));
		memset(&back, 0xa5, sizeof(back));
		pfs_key_to_bytes(bytes, &key);
		assert_int_equal(bytes[16], 0xa5);
		if (kinds[k] == PFS_KEY_NUM) {
			assert_memory_equal(bytes, "\1\2\3\4\5\6\7\10", 8);
			assert_memory_equal(bytes + 8, zeros, 8);
		} else {
			assert_memory_equal(bytes, "0123456789abcdef", 16);
		}
		pfs_key_from_bytes(&back, kinds[k], bytes);
		assert_true(pfs_key_equal(&back, &key));
	}
}

/* Proves: of the flags behind a length there is one at least, and none that nobody knows. */
static void odd_flags_are_refused(void **state)
{
	struct fixture *f = make();

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		struct pfs_key_entry *e = f->block.entries;

		fill(f, PFS_KEY_NUM, 1);
		e->own_attr = true;
		e->mode = e->uid = e->gid = 1;
		f->len = pfs_key_block_encode(f->bytes, &f->block);
		assert_int_equal(f->bytes[f->len - 4], 2); /* an owner and a mode */
		f->bytes[f->len - 4] = (uint8_t)flags;
		/* With a time, with what there was, with both, or with nothing behind them. */
		f->len -= flags == 1 ? 2 : flags == 2 || flags == 3 ? 0 : 3;
		if (flags == 3)
			f->bytes[f->len++] = 1;
		seal(f);
		assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len),
				 flags >= 1 && flags <= 3 ? 0 : -EUCLEAN);
	}
	free(f);
}

static void expect(struct fixture *f, int result)
{
	f->len = pfs_key_block_encode(f->bytes, &f->block);
	assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), result);
	if (!result)
		assert_same(f);
}

/* Proves: each number may be as large as the format says, and no larger. */
static void bounds_are_exact(void **state)
{
	struct fixture *f = make();
	struct pfs_key_entry *e = f->block.entries;

	(void)state;
	for (unsigned over = 0; over < 2; over++) {
		int result = over ? -EUCLEAN : 0;

		fill(f, PFS_KEY_NUM, 2);
		e[1].raw_len = (uint32_t)PFS_GIB + over;
		expect(f, result);
		fill(f, PFS_KEY_NUM, 2);
		e[0].own_attr = true;
		e[0].mode = 07777 + over;
		expect(f, result);
		fill(f, PFS_KEY_NUM, 2);
		e[1].len = 1 - over;
		expect(f, result);
		fill(f, PFS_KEY_NUM, 2);
		e[1].off = UINT32_MAX + over;
		e[0].off = UINT32_MAX + over - e[0].len;
		expect(f, result);
		fill(f, PFS_KEY_NUM, 2);
		f->block.first = PFS_SLOT_NUMBER_MAX + over;
		expect(f, result);
	}
	free(f);
}

/* Proves: of a header that says what can't be, none is taken for a block. */
static void odd_headers_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} cases[] = {
		{4, 0},		  /* no entries */
		{5, 8},		  /* 2049 of them */
		{6, 0},	 {6, 3},  /* no kind of a point's key */
		{7, 1},		  /* not zero */
		{32, 1}, {39, 1}, /* behind a number */
	};
	struct fixture *f = make();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		fill(f, PFS_KEY_NUM, 1);
		f->bytes[cases[i].at] = cases[i].byte;
		seal(f);
		assert_int_equal(pfs_key_block_decode(&f->got, f->bytes, f->len), -EUCLEAN);
	}
	free(f);
}

/* Proves: of a key nothing is left that was there before, nor comes what stands behind it. */
static void keys_have_nothing_else(void **state)
{
	static const unsigned kinds[] = {PFS_KEY_NUM, PFS_KEY_UUID};

	(void)state;
	for (size_t k = 0; k < pfs_array_len(kinds); k++) {
		uint8_t bytes[32];
		struct pfs_key key;

		memset(bytes, 0xa5, sizeof(bytes));
		memset(&key, 0xa5, sizeof(key));
		pfs_key_from_bytes(&key, kinds[k], bytes);
		assert_int_equal(key.kind, kinds[k]);
		assert_int_equal(key.name_len, 0);
		for (size_t i = kinds[k] == PFS_KEY_NUM ? 8 : 16; i < sizeof(key.name); i++)
			assert_int_equal(key.name[i], 0);
	}
}

/* Proves: of a block that ends anywhere, with the checksum that it then has, no byte behind its end
 * is looked at, and it is refused. */
static void cut_blocks_are_read_within_bounds(void **state)
{
	static const unsigned kinds[] = {PFS_KEY_NUM, PFS_KEY_UUID};
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *room =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct fixture *f = make();

	(void)state;
	assert_true(room != MAP_FAILED);
	assert_int_equal(mprotect(room + page, page, PROT_NONE), 0);
	for (size_t k = 0; k < pfs_array_len(kinds); k++) {
		size_t whole;

		fill(f, kinds[k], 9); /* the first and the eighth with an owner */
		assert_true(f->block.entries[7].own_attr);
		whole = f->len;
		for (f->len = PFS_KEY_BLOCK_HEADER_LEN; f->len <= whole; f->len++) {
			seal(f);
			memcpy(room + page - f->len, f->bytes, f->len);
			assert_int_equal(
				pfs_key_block_decode(&f->got, room + page - f->len, f->len),
				f->len == whole ? 0 : -EUCLEAN);
		}
	}
	assert_int_equal(munmap(room, 2 * page), 0);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_come_back),
		cmocka_unit_test(extremes_come_back),
		cmocka_unit_test(ids_in_order_take_little),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(forged_blocks_keep_the_promises),
		cmocka_unit_test(keys_ascend),
		cmocka_unit_test(keys_ascend_by_any_bit),
		cmocka_unit_test(keys_have_all_their_bytes),
		cmocka_unit_test(odd_flags_are_refused),
		cmocka_unit_test(bounds_are_exact),
		cmocka_unit_test(odd_headers_are_refused),
		cmocka_unit_test(keys_have_nothing_else),
		cmocka_unit_test(cut_blocks_are_read_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
