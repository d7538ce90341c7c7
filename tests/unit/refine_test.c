/* storage/refine.c: what is refined packs others of its kind better, within the room that there is,
 * and the same input gives the same. No trainer is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/refine.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_packs_others_better),
		cmocka_unit_test(it_is_reproducible),
		cmocka_unit_test(it_keeps_to_its_room),
		cmocka_unit_test(it_can_be_stopped),
	};

	return cmocka_run_group_tests_name("refining", tests, NULL, NULL);
}
