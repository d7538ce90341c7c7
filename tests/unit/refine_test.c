/* storage/refine.c: what is refined packs others of its kind better, within the room that there is,
 * and the same input gives the same. No trainer is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/codec.h"
#include "storage/format.h"

/* What packs, and says which bytes of the dictionary are used: the codec, or what is known to the
 * byte, so that the outcome is, too. */
static bool known;
static unsigned dicts_made, dict_that_fails; /* 0: none */

static int new_dict(struct pfs_codec_dict **out, const uint8_t *dict, size_t len)
{
	if (++dicts_made == dict_that_fails)
		return -ENOMEM;
	if (!known)
		return pfs_codec_dict_new(out, dict, len);
	*out = NULL;
	return 0;
}

static unsigned packed_before_stop;
static bool stopping;

static size_t pack(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
		   size_t len, const struct pfs_codec_dict *dict)
{
	if (!known)
		return pfs_codec_pack_hc(hc, out, cap, raw, len, dict);
	assert_int_equal(cap, PFS_BLOCK_LEN);
	memcpy(out, raw, len);
	stopping |= packed_before_stop && --packed_before_stop == 0;
	return len;
}

/* By each sample a few bytes one behind the other are used, some of them very often. */
static void known_uses(const uint8_t *packed, size_t packed_len, size_t len, uint32_t *uses)
{
	uint64_t at = packed_len;

	for (size_t i = 0; i < packed_len; i++)
		at = pfs_mix64(at ^ packed[i]);
	for (uint64_t i = 0; i < at % 9; i++)
		uses[((at >> 8) + i) % len] += at % 7 ? 1 : 1 + (uint32_t)(at >> 32) % 5000;
}

/* Where not 0: bytes from here on are used in the first round only, those before in all. */
static size_t used_once_from;

static void uses_in_round(size_t len, uint32_t *uses)
{
	for (size_t i = 0; i < len; i++)
		uses[i] = i < used_once_from || dicts_made == 1 ? 5000 : uses[i];
}

static void count(const uint8_t *packed, size_t packed_len, size_t len, uint32_t *uses)
{
	if (used_once_from)
		uses_in_round(len, uses);
	else if (known)
		known_uses(packed, packed_len, len, uses);
	else
		pfs_codec_count_uses(packed, packed_len, len, uses);
}

#define pfs_codec_dict_new new_dict
#define pfs_codec_pack_hc pack
#define pfs_codec_count_uses count
#include "storage/refine.c"
#undef pfs_codec_dict_new
#undef pfs_codec_pack_hc
#undef pfs_codec_count_uses

#define DOCS 4000u
#define DOC_MAX 160
#define CAP 8192u
#define CANARY 0xa5

struct samples {
	uint8_t bytes[DOCS * DOC_MAX];
	size_t lens[DOCS], used;
};

/* A record with words of which there are many. */
static size_t make_doc(char *out, unsigned i)
{
	uint64_t r = pfs_mix64(i + 1);

	return (size_t)snprintf(
		out, DOC_MAX, "{\"street\":\"%x\",\"city\":\"%x\",\"country\":\"%x\",\"n\":%u}",
		(unsigned)pfs_mix64(r % 300), (unsigned)pfs_mix64(1000 + r / 7 % 150),
		(unsigned)pfs_mix64(5000 + r / 11 % 30), i);
}

static struct samples *make_samples(void)
{
	struct samples *s = calloc(1, sizeof(*s));

	for (unsigned i = 0; i < DOCS; i++) {
		char doc[DOC_MAX];

		s->lens[i] = make_doc(doc, i);
		memcpy(s->bytes + s->used, doc, s->lens[i]);
		s->used += s->lens[i];
	}
	return s;
}

/* What documents that are no samples take. */
static size_t others(const uint8_t *dict, size_t len)
{
	struct pfs_codec_dict *codec;
	struct pfs_codec_hc *hc;
	size_t sum = 0;

	assert_int_equal(pfs_codec_dict_new(&codec, dict, len), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (unsigned i = 0; i < 1000; i++) {
		char doc[DOC_MAX];
		uint8_t packed[DOC_MAX];
		size_t n = make_doc(doc, 2 * DOCS + i);

		sum += pfs_codec_pack_hc(hc, packed, sizeof(packed), (uint8_t *)doc, n, codec);
	}
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(codec);
	return sum;
}

/* Every other 256 bytes samples, the rest noise that nobody uses. */
static void fill_dict(uint8_t *dict, const struct samples *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		dict[i] = i % 512 < 256 ? (uint8_t)pfs_mix64(i) : s->bytes[i];
}

/* Proves: of a dictionary half of which is noise the noise goes first, and what takes its place
 * makes other documents of the kind smaller; one that is full of samples gains, too. */
static void it_packs_others_better(void **state)
{
	struct samples *s = make_samples();
	uint8_t dict[CAP], noisy[CAP];
	size_t len = CAP, before, after, noise = 0;

	(void)state;
	fill_dict(dict, s, CAP);
	memcpy(noisy, dict, CAP);
	before = others(dict, CAP);
	assert_int_equal(pfs_refine(dict, &len, CAP, s->bytes, s->lens, DOCS, NULL), 0);
	assert_int_equal(len, CAP);
	after = others(dict, CAP);
	assert_true(after < before * 9 / 10);
	for (size_t i = 0; i < CAP; i += 512)
		noise += memmem(dict, CAP, noisy + i, 64) != NULL;
	assert_true(noise <= 2);

	memcpy(dict, s->bytes, CAP);
	before = others(dict, CAP);
	assert_int_equal(pfs_refine(dict, &len, CAP, s->bytes, s->lens, DOCS, NULL), 0);
	assert_true(others(dict, CAP) < before * 98 / 100);
	free(s);
}

/* Proves: the same input gives the same dictionary. */
static void it_is_reproducible(void **state)
{
	struct samples *s = make_samples();
	uint8_t first[CAP], second[CAP];
	size_t len = CAP;

	(void)state;
	fill_dict(first, s, CAP);
	fill_dict(second, s, CAP);
	assert_int_equal(pfs_refine(first, &len, CAP, s->bytes, s->lens, DOCS, NULL), 0);
	assert_int_equal(pfs_refine(second, &len, CAP, s->bytes, s->lens, DOCS, NULL), 0);
	assert_memory_equal(first, second, CAP);
	free(s);
}

/* Proves: a dictionary that is shorter than its room grows to that and no further, whatever the
 * lengths are; an empty one, one that is too long, and one without samples stay as they are. */
static void it_keeps_to_its_room(void **state)
{
	static const size_t lens[] = {1, 3, 4, 5, 1023, 4000, CAP - 1, CAP};
	struct samples *s = make_samples();
	uint8_t *dict = malloc(2 * PFS_CODEC_DICT_MAX), former[CAP];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		for (unsigned count = 0; count < 200; count += 1 + count * 5) {
			size_t len = lens[i];

			memset(dict, CANARY, 2 * PFS_CODEC_DICT_MAX);
			fill_dict(dict, s, len);
			memcpy(former, dict, len);
			assert_int_equal(
				pfs_refine(dict, &len, CAP, s->bytes, s->lens, count, NULL), 0);
			assert_int_equal(len, count ? CAP : lens[i]);
			if (!count)
				assert_memory_equal(dict, former, len);
			for (size_t at = len; at < 2 * CAP; at++)
				assert_int_equal(dict[at], CANARY);
		}
	}
	for (unsigned empty = 0; empty < 2; empty++) {
		size_t len = empty ? 0 : CAP + 1;

		memset(dict, CANARY, 2 * PFS_CODEC_DICT_MAX);
		assert_int_equal(pfs_refine(dict, &len, CAP, s->bytes, s->lens, DOCS, NULL), 0);
		assert_int_equal(len, empty ? 0 : CAP + 1);
		for (size_t at = 0; at < 2 * CAP; at++)
			assert_int_equal(dict[at], CANARY);
	}
	free(dict);
	free(s);
}

/* Proves: told to stop it says so, and the dictionary is what it was. */
static void it_can_be_stopped(void **state)
{
	struct samples *s = make_samples();
	uint8_t dict[CAP], former[CAP];
	size_t len = CAP - 100;
	const bool stop = true;

	(void)state;
	fill_dict(dict, s, CAP);
	memcpy(former, dict, CAP);
	assert_int_equal(pfs_refine(dict, &len, CAP, s->bytes, s->lens, DOCS, &stop), -ECANCELED);
	assert_int_equal(len, CAP - 100);
	assert_memory_equal(dict, former, CAP);
	free(s);
}

/* ---- to the byte ---- */

#define SMALL_MAX 6000u /* bytes of a dictionary; of most some hundred */
#define FEW_MAX 60u	/* samples */

struct few {
	uint8_t bytes[FEW_MAX * 40], dict[SMALL_MAX];
	size_t lens[FEW_MAX], at[FEW_MAX], count, len, cap;
};

static struct few make_few(uint64_t n)
{
	struct few f = {.count = 1 + pfs_mix64(n) % FEW_MAX,
			.cap = n % 25 ? 16 + pfs_mix64(n + 1) % 280 : SMALL_MAX};
	size_t used = 0;

	f.len = 1 + pfs_mix64(n + 2) % f.cap;
	for (size_t i = 0; i < sizeof(f.bytes); i++)
		f.bytes[i] = (uint8_t)pfs_mix64(n << 16 | i);
	for (size_t i = 0; i < f.len; i++)
		f.dict[i] = (uint8_t)pfs_mix64(n << 16 | i | 1 << 14);
	for (size_t i = 0; i < f.count; i++) {
		f.at[i] = used;
		f.lens[i] = i == 1 ? 0 : 1 + pfs_mix64(n << 16 | i | 1 << 15) % 39;
		used += f.lens[i];
	}
	return f;
}

/* Marks what belongs to runs of four bytes and more that are used less than so often: how many. */
static size_t mark_runs(const uint32_t *uses, size_t len, uint32_t below, bool *marked)
{
	size_t sum = 0;

	for (size_t from = 0, to; from < len; from = to + 1) {
		for (to = from; to < len && uses[to] < below; to++)
			;
		for (size_t i = from; i < to; i++)
			marked[i] = to - from >= 4;
		if (to < len)
			marked[to] = false;
		sum += to - from >= 4 ? to - from : 0;
	}
	return sum;
}

/* What refining must give, in the plainest way. */
static void refer(struct few *f)
{
	uint64_t filled = 0;

	for (unsigned round = 0; round < 4; round++) {
		static const unsigned quarters[] = {4, 3, 2, 1};
		size_t wanted = f->cap / 4 * quarters[round] / 4, kept = 0;
		uint32_t uses[SMALL_MAX] = {0}, below = 1;
		uint8_t next[SMALL_MAX];
		bool marked[SMALL_MAX] = {false};

		for (size_t i = 0; i < f->count; i += 2)
			known_uses(f->bytes + f->at[i], f->lens[i], f->len, uses);
		while (below < 4096 && mark_runs(uses, f->len, below, marked) < wanted)
			below++;
		mark_runs(uses, f->len, below, marked);
		for (size_t i = 0; i < f->len; i++) {
			if (marked[i] && wanted)
				wanted--;
			else
				next[kept++] = f->dict[i];
		}
		memcpy(f->dict + f->cap - kept, next, kept);
		for (size_t room = f->cap - kept; room;) {
			size_t i = pfs_mix64(0x70664453u + filled++) % f->count, len = f->lens[i];

			for (; len && room; len--)
				f->dict[--room] = f->bytes[f->at[i] + len - 1];
		}
		f->len = f->cap;
	}
}

/* Proves: of what every other sample uses least in runs of four bytes and more, from the front on,
 * in four rounds a quarter of the room, three, two and one quarters of that, are left out; the rest
 * moves to the end, and in front come samples, chosen the same way each time, of the last one the
 * end. */
static void it_leaves_out_what_is_used_least(void **state)
{
	(void)state;
	known = true;
	for (uint64_t n = 0; n < 150; n++) {
		struct few f = make_few(n), want = f;
		size_t len = f.len;

		refer(&want);
		assert_int_equal(pfs_refine(f.dict, &len, f.cap, f.bytes, f.lens, f.count, NULL),
				 0);
		assert_int_equal(len, f.cap);
		if (memcmp(f.dict, want.dict, f.cap) != 0)
			fail_msg("case %llu", (unsigned long long)n);
	}
	known = false;
}

/* Proves: told to stop within any round it stops, and the dictionary is what it was. */
static void it_can_be_stopped_at_any_time(void **state)
{
	struct few f = make_few(7);
	const unsigned each = (unsigned)(f.count + 1) / 2;

	(void)state;
	known = true;
	for (unsigned at = 1; at <= 4 * each + 1; at++) {
		struct few is = f;
		bool stops = at <= 4 * each;

		packed_before_stop = at;
		stopping = false;
		assert_int_equal(pfs_refine(is.dict, &is.len, is.cap, is.bytes, is.lens, is.count,
					    &stopping),
				 stops ? -ECANCELED : 0);
		assert_int_equal(is.len, stops ? f.len : f.cap);
		assert_true(!memcmp(is.dict, f.dict, f.len) == stops);
		packed_before_stop = 0;
	}
	known = false;
}

/* Proves: what was used in one round, and is not in the next one, is left out, wherever it is. */
static void each_round_counts_anew(void **state)
{
	enum { LEN = 60000, ONCE_FROM = 50000 };
	struct samples *s = make_samples();
	uint8_t *dict = malloc(LEN), *former = malloc(LEN);
	size_t len = LEN;

	(void)state;
	fill_dict(dict, s, LEN);
	memcpy(former, dict, LEN);
	known = true;
	dicts_made = 0;
	used_once_from = ONCE_FROM;
	assert_int_equal(pfs_refine(dict, &len, LEN, s->bytes, s->lens, 20, NULL), 0);
	assert_int_equal(len, LEN);
	assert_memory_not_equal(dict, former, LEN);
	used_once_from = 0;
	known = false;
	free(dict);
	free(former);
	free(s);
}

/* Proves: without memory in any round it says so, and the dictionary is what it was. */
static void it_needs_memory_in_each_round(void **state)
{
	const struct few f = make_few(7);

	(void)state;
	known = true;
	for (unsigned at = 1; at <= 5; at++) {
		struct few is = f;

		dicts_made = 0;
		dict_that_fails = at;
		assert_int_equal(
			pfs_refine(is.dict, &is.len, is.cap, is.bytes, is.lens, is.count, NULL),
			at < 5 ? -ENOMEM : 0);
		assert_int_equal(dicts_made, at < 5 ? at : 4);
		assert_int_equal(is.len, at < 5 ? f.len : f.cap);
		assert_true(!memcmp(is.dict, f.dict, f.len) == (at < 5));
	}
	known = false;
	dict_that_fails = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_packs_others_better),
		cmocka_unit_test(it_is_reproducible),
		cmocka_unit_test(it_keeps_to_its_room),
		cmocka_unit_test(it_can_be_stopped),
		cmocka_unit_test(it_leaves_out_what_is_used_least),
		cmocka_unit_test(it_can_be_stopped_at_any_time),
		cmocka_unit_test(each_round_counts_anew),
		cmocka_unit_test(it_needs_memory_in_each_round),
	};

	return cmocka_run_group_tests_name("refining", tests, NULL, NULL);
}
