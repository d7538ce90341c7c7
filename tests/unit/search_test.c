/* storage/search.c: records among bytes that may be anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/journal.h"
#include "storage/record.h"
#include "tests/unit/fenced.h"
#include "tests/unit/forged.h"

/* The length of the block that was got last. */
static size_t got_len;

static void *note_len(size_t len)
{
	got_len = len;
	return fenced_malloc(len);
}

#undef malloc
#define malloc(len) note_len(len)
#include "storage/search.c"

#define SEED 0x5eed

static uint8_t segment[PFS_SEGMENT_SIZE];

static void put_record(uint64_t off, size_t len, uint64_t seq, uint64_t durable)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)(segment + off);

	memset(head, 0, sizeof(*head));
	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le64(head->seq.b, seq);
	pfs_put_le64(head->durable.b, durable);
	head->type = PFS_RECORD_PUT;
	pfs_put_le32(head->crc.b, pfs_record_crc(SEED, segment + off, len));
}

static void expect_found(const struct pfs_search *search, size_t i, uint64_t off, size_t len)
{
	assert_true(i < search->count);
	assert_int_equal(search->found[i].off, off);
	assert_int_equal(search->found[i].len, len);
}

/* Proves: heads at half of all places, each of a record up to the segment's end, cost one sum over
 * the segment; a true record behind all of them is found. */
static void forged_heads_cost_little(void **state)
{
	struct pfs_search search = {.count = 0};
	uint64_t last = PFS_SEGMENT_SIZE - 4096, places = (PFS_SEGMENT_SIZE - PFS_SEGMENT_DATA) / 8;

	(void)state;
	for (unsigned truly = 0; truly < 2; truly++) {
		forge_heads(segment, PFS_SEGMENT_DATA, PFS_SEGMENT_SIZE);
		if (truly)
			put_record(last, 4096, 9, 8);
		assert_int_equal(pfs_search_add(&search, segment, PFS_SEGMENT_DATA,
						PFS_SEGMENT_SIZE, PFS_SEGMENT_SIZE, SEED),
				 0);
		assert_int_equal(search.count, truly);
		assert_true(search.heads > places / 2 - 1024);
		assert_true(search.summed <= PFS_SEGMENT_SIZE + (truly ? 4096 : 0));
		if (truly)
			expect_found(&search, 0, last, 4096);
		pfs_search_free(&search);
	}
}

/* Proves: of any bytes it finds just what walking over them and summing each head's record finds:
 * records at any distance, of any length, with damaged ones and records within records. */
static void finds_what_a_walk_finds(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 40; round++) {
		uint64_t random = pfs_mix64(round + 1), off, size = 8192 + random % 60000;
		struct pfs_search search = {.count = 0};
		size_t n = 0;

		for (size_t i = 0; i < size; i++)
			segment[i] = (uint8_t)(round % 2 ? pfs_mix64(i + round) : 0);
		for (off = 0; off + 5000 < size;) {
			size_t len = 40 + (random = pfs_mix64(random)) % 500 * 8;

			if (random >> 32 & 1)
				put_record(off + 32, 40, 5, 4);
			put_record(off, len, 7, 6);
			if (random >> 33 & 1)
				segment[off + random % len] ^= 1;
			off += len + (random >> 34 & 1 ? (random >> 35) % 64 * 8 : 0);
		}
		assert_int_equal(pfs_search_add(&search, segment, 0, size, size, SEED), 0);
		for (off = 0; off + PFS_RECORD_LEN_MIN <= size;) {
			const struct pfs_record_disk *head =
				(const struct pfs_record_disk *)(segment + off);
			size_t len = pfs_get_le32(head->len.b);

			if (!pfs_record_is_plausible(head, size / 8 * 8 - off) ||
			    pfs_record_crc(SEED, segment + off, len) != pfs_get_le32(head->crc.b)) {
				off += 8;
				continue;
			}
			expect_found(&search, n++, off, len);
			off += len;
		}
		assert_true(n > 0 && n == search.count);
		assert_true(search.summed <= 2 * size);
		pfs_search_free(&search);
	}
}

/* Proves: a record that reaches over the end of what can be read is none; the ones on both sides of
 * the gap are found, and each proves what it says and nothing of what comes after it. */
static void gaps_and_proofs(void **state)
{
	static const struct {
		uint64_t off, len, seq, durable, proof;
	} records[] = {
		{8, 40, 20, 3, 31},
		{4000, 200, 21, 20, 31}, /* over the gap */
		{8192, 48, 30, 1000, 31},
		{8240, 40, 31, 4, 5},
	};
	struct pfs_search search = {.count = 0};

	(void)state;
	memset(segment, 0, 16384);
	for (size_t i = 0; i < pfs_array_len(records); i++)
		put_record(records[i].off, records[i].len, records[i].seq, records[i].durable);
	assert_int_equal(pfs_search_add(&search, segment, 0, 4096, 4096, SEED), 0);
	assert_int_equal(pfs_search_add(&search, segment, 4096, 4100, 4100, SEED), 0);
	assert_int_equal(pfs_search_add(&search, segment, 8192, 16384, 16384, SEED), 0);
	assert_int_equal(search.count, 3);
	for (size_t i = 0; i < pfs_array_len(records); i++) {
		const struct pfs_found *found = pfs_search_next(&search, records[i].off, 0);

		assert_int_equal(found->off, records[i == 1 ? 2 : i].off);
		assert_int_equal(found->proof, records[i].proof);
		assert_int_equal(pfs_search_proof(&search, records[i].off), records[i].proof);
	}
	assert_int_equal(pfs_search_next(&search, 0, 21)->off, 8192);
	assert_int_equal(pfs_search_next(&search, 0, 31)->off, 8240);
	assert_null(pfs_search_next(&search, 0, 32));
	assert_null(pfs_search_next(&search, 8241, 0));
	assert_int_equal(pfs_search_proof(&search, 8241), 0);
	pfs_search_free(&search);
}

/* Proves: what is known of zeros at the end, and bytes behind the last multiple of eight, change
 * nothing of what is found, only what it takes; records that end where the bytes do are found, and
 * those that reach over are not. */
static void ends_are_exact(void **state)
{
	enum { LAST = 4000, LEN = 200 };

	(void)state;
	memset(segment, 0, 8192);
	put_record(160, 80, 5, 4);
	put_record(LAST, LEN, 6, 5);
	for (uint64_t end = LAST; end < LAST + LEN + 100; end++) {
		uint64_t whole = end / 8 * 8;

		for (unsigned way = 0; way < 4; way++) {
			uint64_t zeros = way == 0   ? end
					 : way == 1 ? LAST + LEN
					 : way == 2 ? LAST + LEN - 7 /* in the last eight bytes */
						    : LAST + LEN + 3;
			struct pfs_search search = {.count = 0};
			bool has_last = whole >= LAST + LEN;

			segment[LAST + LEN - 1] = 9; /* its last byte is none of the zeros */
			put_record(LAST, LEN, 6, 5);
			assert_int_equal(pfs_search_add(&search, segment, 160, end,
							pfs_min_u64(zeros, end), SEED),
					 0);
			assert_int_equal(search.count, 1 + has_last);
			expect_found(&search, 0, 160, 80);
			assert_int_equal(search.found[0].seq, 5);
			assert_int_equal(search.found[0].proof, has_last ? 6 : 5);
			if (has_last) {
				expect_found(&search, 1, LAST, LEN);
				assert_int_equal(search.found[1].seq, 6);
				assert_int_equal(search.found[1].proof, 6);
			}
			assert_int_equal(search.heads, 1 + has_last);
			/* Zeros cost nothing, the others twice at most. */
			assert_true(search.summed <= pfs_min_u64(whole, LAST + LEN) - 160 + 80 +
							     (has_last ? LEN : 0));
			pfs_search_free(&search);
			assert_true(!search.found && !search.count && !search.cap);
		}
	}
	/* Enough for the shortest one. */
	put_record(160, PFS_RECORD_LEN_MIN, 5, 4);
	for (uint64_t end = PFS_RECORD_LEN_MIN; end < PFS_RECORD_LEN_MIN + 8; end++) {
		struct pfs_search search = {.count = 0};

		assert_int_equal(pfs_search_add(&search, segment, 160, 160 + end, 160 + end, SEED),
				 0);
		assert_int_equal(search.count, 1);
		expect_found(&search, 0, 160, PFS_RECORD_LEN_MIN);
		pfs_search_free(&search);
	}
	/* Too few bytes for any. */
	for (uint64_t end = 0; end < PFS_RECORD_LEN_MIN; end++) {
		struct pfs_search search = {.count = 0};

		assert_int_equal(pfs_search_add(&search, segment, 160, 160 + end, 160 + end, SEED),
				 0);
		assert_true(search.count == 0 && search.summed == 0 && !search.found);
	}
}

/* Proves: the highest sequence is one, and a higher one is none; what a record says to be durable
 * counts up to itself. */
static void sequences_are_bounded(void **state)
{
	static const struct {
		uint64_t seq, durable;
		size_t count;
		uint64_t proof;
	} cases[] = {
		{PFS_SEQ_MAX, 3, 1, 4}, {PFS_SEQ_MAX + 1, 3, 0, 0},
		{7, 6, 1, 7},		{7, 7, 1, 8},
		{7, 8, 1, 8},		{7, 0, 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_search search = {.count = 0};

		memset(segment, 0, 512);
		put_record(64, 48, cases[i].seq, cases[i].durable);
		assert_int_equal(pfs_search_add(&search, segment, 0, 512, 512, SEED), 0);
		assert_int_equal(search.count, cases[i].count);
		assert_int_equal(pfs_search_proof(&search, 0), cases[i].proof);
		assert_int_equal(pfs_search_proof(&search, 64), cases[i].proof);
		assert_int_equal(pfs_search_proof(&search, 65), 0);
		pfs_search_free(&search);
	}
}

/* Proves: without memory nothing is found that was not, what was found before stays, and it is
 * said; all memory is given back. Any number is found, each with its proof. */
static void memory_may_be_missing(void **state)
{
	struct pfs_search search = {.count = 0};

	(void)state;
	memset(segment, 0, 65536);
	for (uint64_t i = 0; i < 200; i++)
		put_record(i * 48, 48, 1000 + i, i % 7 ? 0 : 900 + i);
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(pfs_search_add(&search, segment, 0, 65536, 65536, SEED), -ENOMEM);
		assert_int_equal(search.count, 0);
	}
	assert_int_equal(pfs_search_add(&search, segment, 0, 480, 480, SEED), 0);
	assert_int_equal(search.count, 10);
	fenced_refuse(1);
	assert_int_equal(pfs_search_add(&search, segment, 480, 65536, 65536, SEED), -ENOMEM);
	assert_int_equal(search.count, 64);
	pfs_search_free(&search);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_search_add(&search, segment, 0, 65536, 65536, SEED), 0);
	assert_int_equal(search.count, 200);
	assert_int_equal(search.heads, 200);
	assert_int_equal(search.summed, 200 * 48 * 2 - 16); /* once without the last zeros */
	for (size_t i = 0; i < 200; i++) {
		expect_found(&search, i, i * 48, 48);
		assert_int_equal(search.found[i].seq, 1000 + i);
		assert_int_equal(search.found[i].proof, i <= 196 ? 900 + 196 + 1 : 1);
	}
	pfs_search_free(&search);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: a sum is kept for each eight bytes up to the zeros at the end, and one more, wherever
 * they lie in the segment. */
static void memory_is_for_what_is_there(void **state)
{
	(void)state;
	memset(segment, 0, 8192);
	put_record(4096, 80, 7, 6);
	segment[4096 + 79] = 9;
	for (uint64_t from = 0; from <= 4096; from += 1024) {
		struct pfs_search search = {.count = 0};

		got_len = 0;
		assert_int_equal(pfs_search_add(&search, segment, from, 8192, 8192, SEED), 0);
		assert_int_equal(got_len, (4096 + 80 - from) / 8 * 4 + 4);
		pfs_search_free(&search);
	}
}

/* Proves: a record is one by its checksum and by its sequence, not by one of them. */
static void both_must_be_right(void **state)
{
	struct pfs_search search = {.count = 0};

	(void)state;
	memset(segment, 0, 512);
	put_record(64, 48, 7, 6);
	segment[64 + 4] ^= 1;
	assert_int_equal(pfs_search_add(&search, segment, 0, 512, 512, SEED), 0);
	assert_int_equal(search.count, 0);
	assert_int_equal(search.heads, 1);
	pfs_search_free(&search);
}

/* Proves: what may be the head of a record has a type and a length that there are, and zeros where
 * they must be; which it is, of these, does not count. */
static void heads_may_be_those_of_records(void **state)
{
	static const struct {
		uint32_t len;
		uint64_t room;
		uint8_t type, zero; /* zero: which of those bytes is none, counted from 1 */
		bool may_be;
	} cases[] = {
		{40, 40, PFS_RECORD_PUT, 0, true},	{40, 40, PFS_RECORD_END, 0, true},
		{40, 40, PFS_RECORD_END + 1, 0, false}, {40, 40, 0, 0, false},
		{48, 47, PFS_RECORD_PUT, 0, false},	{48, 48, PFS_RECORD_MOVE, 0, true},
		{44, 48, PFS_RECORD_PUT, 0, false},	{32, 48, PFS_RECORD_PUT, 0, false},
		{40, 40, PFS_RECORD_PUT, 1, false},	{40, 40, PFS_RECORD_PUT, 6, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_record_disk head = {.type = cases[i].type, .flags = 0xff};

		assert_int_equal(sizeof(head.zero), 6);
		pfs_put_le32(head.len.b, cases[i].len);
		if (cases[i].zero)
			head.zero[cases[i].zero - 1] = 0x80;
		if (pfs_record_is_plausible(&head, cases[i].room) != cases[i].may_be)
			fail_msg("case %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forged_heads_cost_little),
		cmocka_unit_test(finds_what_a_walk_finds),
		cmocka_unit_test(gaps_and_proofs),
		cmocka_unit_test(ends_are_exact),
		cmocka_unit_test(sequences_are_bounded),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(memory_is_for_what_is_there),
		cmocka_unit_test(both_must_be_right),
		cmocka_unit_test(heads_may_be_those_of_records),
	};

	return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}
