/* storage/codec.c: LZ4 with and without dictionary. */
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lz4.h>
#include <lz4hc.h>

#include <cmocka.h>

#include "storage/codec.h"

/* Memory that was used before, and says 1 everywhere. */
static void *get_ones(size_t len)
{
	uint64_t *words = malloc(len + sizeof(*words));

	for (size_t i = 0; words && i < len / sizeof(*words) + 1; i++)
		words[i] = 1;
	return words;
}

#define malloc get_ones
#include "storage/codec.c"
#undef malloc

#define CANARY 0xa5
#define CANARY_LEN 64

/* JSON-like text, different for each seed. */
static size_t make_document(char *out, size_t cap, unsigned seed)
{
	int n = snprintf(
		out, cap,
		"{\"package\":\"lib%u\",\"version\":\"%u.%u-1\",\"architecture\":\"amd64\","
		"\"section\":\"libs\",\"priority\":\"optional\",\"installed_size\":%u,"
		"\"depends\":[\"libc6\",\"libgcc-s1\",\"libstdc++6\"],\"installed\":true}",
		seed * 7919, seed % 13, seed % 7, seed * 31);

	return pfs_min_u64((size_t)n, cap - 1);
}

static void fill_random(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)pfs_mix64(seed + i + 1);
}

/* Unpacks and checks result and bounds. */
static int unpack_checked(uint8_t *out, size_t raw_len, const uint8_t *packed, size_t packed_len,
			  const struct pfs_codec_dict *dict)
{
	int err;

	memset(out + raw_len, CANARY, CANARY_LEN);
	err = pfs_codec_unpack(out, raw_len, packed, packed_len, dict);
	for (size_t i = 0; i < CANARY_LEN; i++)
		assert_int_equal(out[raw_len + i], CANARY);
	return err;
}

/* Proves: what compresses comes back exactly, over sizes from 1 byte to 1 MiB, and packing never
 * reports a length that does not save anything. */
static void packing_round_trips_over_sizes(void **state)
{
	static const size_t sizes[] = {1,    2,	   12,	  13,	 64,	128,	4095,
				       4096, 4097, 65535, 65536, 65537, 200000, 1024 * 1024};
	uint8_t *raw = malloc(1024 * 1024), *packed = malloc(pfs_codec_bound(1024 * 1024));
	uint8_t *back = malloc(1024 * 1024 + CANARY_LEN);

	(void)state;
	for (size_t i = 0; i < 1024 * 1024; i++)
		raw[i] = (uint8_t)("payload"[i % 7] + (i / 1000) % 3);
	for (size_t i = 0; i < pfs_array_len(sizes); i++) {
		size_t n = pfs_codec_pack(packed, pfs_codec_bound(sizes[i]), raw, sizes[i], NULL);

		if (sizes[i] >= 64)
			assert_true(n > 0);
		if (!n)
			continue;
		assert_true(n < sizes[i]);
		assert_int_equal(unpack_checked(back, sizes[i], packed, n, NULL), 0);
		assert_memory_equal(back, raw, sizes[i]);
	}
	free(raw);
	free(packed);
	free(back);
}

/* Proves: bytes without any repetition are left to be stored raw, also where the bound would have
 * room. */
static void what_does_not_shrink_is_not_packed(void **state)
{
	uint8_t raw[4096], packed[8192];

	(void)state;
	fill_random(raw, sizeof(raw), 1);
	assert_int_equal(pfs_codec_pack(packed, sizeof(packed), raw, sizeof(raw), NULL), 0);
	assert_int_equal(pfs_codec_pack(packed, sizeof(packed), raw, 1, NULL), 0);
	assert_int_equal(pfs_codec_pack(packed, sizeof(packed), raw, 0, NULL), 0);
	/* More than is promised: refused before a byte of it is looked at. */
	assert_int_equal(pfs_codec_pack(packed, sizeof(packed), raw, PFS_GIB + 1, NULL), 0);
}

/* Proves: a result as long as the document itself, which saves nothing and costs the decoding, is
 * never given; one that is a byte shorter is, as LZ4 makes it. */
static void packing_as_long_as_the_document_is_refused(void **state)
{
	uint8_t raw[400], packed[800], other[800];
	unsigned packed_count = 0, refused = 0, saved_one = 0;
	struct pfs_codec_hc *hc;

	(void)state;
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (size_t len = 13; len <= sizeof(raw); len++) {
		for (size_t repeat = 0; repeat < 12; repeat++) {
			size_t n;

			fill_random(raw, len, len * 100 + repeat);
			if (len > 3 * repeat + 16)
				memcpy(raw + len / 2, raw, repeat);
			n = pfs_codec_pack(packed, sizeof(packed), raw, len, NULL);
			assert_int_equal(n, LZ4_compress_fast((const char *)raw, (char *)other,
							      (int)len, (int)len - 1, 1));
			assert_memory_equal(packed, other, n);
			packed_count += n > 0;
			refused += n == 0;
			saved_one += n == len - 1;
			n = pfs_codec_pack_hc(hc, packed, sizeof(packed), raw, len, NULL);
			assert_int_equal(n,
					 LZ4_compress_HC((const char *)raw, (char *)other, (int)len,
							 (int)len - 1, len <= 256 ? 11 : 10));
			assert_memory_equal(packed, other, n);
			saved_one += n == len - 1;
		}
	}
	assert_true(packed_count > 100 && refused > 100 && saved_one > 10);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, sizeof(packed), raw, 0, NULL), 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, sizeof(packed), raw, 1, NULL), 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, 0, raw, 300, NULL), 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, sizeof(packed), raw, PFS_GIB + 1, NULL), 0);
	pfs_codec_hc_free(hc);
}

/* Proves: the first dictionary of a process is packed with like any other, by LZ4HC for values of
 * any length, whatever was in memory before. This test is the first. */
static void the_first_dictionary_is_one(void **state)
{
	uint8_t bytes[2000], packed[2000], back[2000 + CANARY_LEN];
	struct pfs_codec_dict *dict;
	struct pfs_codec_hc *hc;
	size_t n;

	(void)state;
	fill_random(bytes, sizeof(bytes), 9);
	assert_int_equal(pfs_codec_dict_new(&dict, bytes, sizeof(bytes)), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	n = pfs_codec_pack_hc(hc, packed, sizeof(packed), bytes + 500, 1000, dict);
	assert_in_range(n, 1, 100);
	assert_int_equal(unpack_checked(back, 1000, packed, n, dict), 0);
	assert_memory_equal(back, bytes + 500, 1000);
	n = pfs_codec_pack_hc(hc, packed, sizeof(packed), bytes + 300, 200, dict);
	assert_in_range(n, 1, 20);
	assert_int_equal(unpack_checked(back, 200, packed, n, dict), 0);
	assert_memory_equal(back, bytes + 300, 200);
	n = pfs_codec_pack(packed, sizeof(packed), bytes + 500, 1000, dict);
	assert_in_range(n, 1, 100);
	assert_int_equal(unpack_checked(back, 1000, packed, n, dict), 0);
	assert_memory_equal(back, bytes + 500, 1000);
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(dict);
}

/* Proves: packing never writes beyond the room that it is given, and gives up instead. */
static void packing_respects_its_room(void **state)
{
	uint8_t raw[1000], packed[1000 + CANARY_LEN];
	struct pfs_codec_hc *hc;
	size_t need;

	(void)state;
	memset(raw, 'x', sizeof(raw));
	fill_random(raw + 500, 300, 2);
	need = pfs_codec_pack(packed, 1000, raw, sizeof(raw), NULL);
	assert_in_range(need, 300, 999);
	assert_int_equal(pfs_codec_pack(packed, 1000, raw, (size_t)PFS_GIB + 1, NULL), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	assert_true(pfs_codec_pack_hc(hc, packed, 1000, raw, sizeof(raw), NULL) > 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, 0, raw, sizeof(raw), NULL), 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, 1000, raw, 1, NULL), 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, 1000, raw, (size_t)PFS_GIB + 1, NULL), 0);
	pfs_codec_hc_free(hc);
	for (size_t cap = 0; cap < 1000; cap++) {
		size_t n;

		memset(packed, CANARY, sizeof(packed));
		n = pfs_codec_pack(packed, cap, raw, sizeof(raw), NULL);
		assert_true(n <= cap);
		if (cap >= need)
			assert_int_equal(n, need);
		for (size_t i = cap; i < sizeof(packed); i++)
			assert_int_equal(packed[i], CANARY);
	}
}

/* Proves: a value that is cut off anywhere, or asked for under another length, is damage. */
static void cut_values_and_wrong_lengths_are_damage(void **state)
{
	static const uint8_t nothing[1] = {0}; /* a value of no bytes */
	char doc[512];
	uint8_t packed[600], back[600 + CANARY_LEN];
	size_t len = make_document(doc, sizeof(doc), 3), n;

	(void)state;
	for (size_t i = len; i < sizeof(doc); i++)
		doc[i] = doc[i - len]; /* repeats, so that it packs */
	n = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, sizeof(doc), NULL);
	assert_true(n > 0);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(unpack_checked(back, sizeof(doc), packed, cut, NULL), -EUCLEAN);
	assert_int_equal(unpack_checked(back, sizeof(doc) - 1, packed, n, NULL), -EUCLEAN);
	assert_int_equal(unpack_checked(back, sizeof(doc) + 1, packed, n, NULL), -EUCLEAN);
	assert_int_equal(unpack_checked(back, 0, packed, n, NULL), -EUCLEAN);
	assert_int_equal(unpack_checked(back, 0, nothing, sizeof(nothing), NULL), 0);
	assert_int_equal(unpack_checked(back, 1, nothing, sizeof(nothing), NULL), -EUCLEAN);
	assert_int_equal(unpack_checked(back, 0, nothing, 0, NULL), -EUCLEAN);
	assert_int_equal(pfs_codec_unpack(back, sizeof(doc), packed, (size_t)INT_MAX + 1, NULL),
			 -EUCLEAN);
	assert_int_equal(pfs_codec_unpack(back, sizeof(doc), packed, (UINT64_C(1) << 32) + n, NULL),
			 -EUCLEAN);
	assert_int_equal(pfs_codec_unpack(back, PFS_GIB + 1, packed, n, NULL), -EUCLEAN);
	assert_int_equal(pfs_codec_unpack(back, (UINT64_C(1) << 32) + sizeof(doc), packed, n, NULL),
			 -EUCLEAN);
	assert_int_equal(unpack_checked(back, sizeof(doc), packed, n, NULL), 0);
	assert_memory_equal(back, doc, sizeof(doc));
}

/* Proves: whatever the packed bytes are, nothing is written outside the output, and nothing read
 * outside the input (which lies at the very end of its allocation, for AddressSanitizer). */
static void hostile_bytes_stay_in_bounds(void **state)
{
	uint8_t back[2000 + CANARY_LEN];

	(void)state;
	for (uint64_t round = 0; round < 20000; round++) {
		size_t n = 1 + pfs_mix64(round + 7) % 64, raw_len = pfs_mix64(round) % 2000;
		uint8_t *packed = malloc(n);

		fill_random(packed, n, round * 64);
		unpack_checked(back, raw_len, packed, n, NULL);
		free(packed);
	}
}

static struct pfs_codec_dict *make_dict(const void *bytes, size_t len)
{
	struct pfs_codec_dict *dict;

	assert_int_equal(pfs_codec_dict_new(&dict, bytes, len), 0);
	return dict;
}

/* Proves: a dictionary makes small documents smaller, and unpacking needs the same one, whichever
 * the thread has used before. */
static void dictionary_shrinks_and_is_needed(void **state)
{
	char text[8192], doc[512];
	struct pfs_codec_dict *dict, *other;
	uint8_t packed[600], back[600 + CANARY_LEN];
	size_t plain, with, text_len = 0, len = make_document(doc, sizeof(doc), 4711);

	(void)state;
	for (unsigned seed = 1; text_len + sizeof(doc) < sizeof(text); seed++)
		text_len += make_document(text + text_len, sizeof(text) - text_len, seed);
	dict = make_dict(text, text_len);
	other = make_dict(text, text_len - 100);
	plain = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, len, NULL);
	with = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, len, dict);
	assert_true(with > 0);
	assert_true(with * 2 < (plain ? plain : len));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(unpack_checked(back, len, packed, with, dict), 0);
		assert_memory_equal(back, doc, len);
		assert_true(unpack_checked(back, len, packed, with, other) ||
			    memcmp(back, doc, len));
		assert_int_equal(unpack_checked(back, len, packed, with, NULL), -EUCLEAN);
	}
	/* One that takes the place of another in memory is not mistaken for it. */
	for (unsigned i = 0; i < 50; i++) {
		pfs_codec_dict_free(other);
		text[text_len - 150] ^= 1;
		other = make_dict(text, text_len);
		with = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, len, other);
		assert_int_equal(unpack_checked(back, len, packed, with, other), 0);
		assert_memory_equal(back, doc, len);
	}
	pfs_codec_dict_free(dict);
	pfs_codec_dict_free(other);
	assert_int_equal(pfs_codec_dict_new(&dict, text, 0), -EINVAL);
	assert_null(dict);
}

/* Proves: of a dictionary longer than LZ4's window both directions use the same part, and values of
 * every length up to over a block come back, each with nothing written behind it. */
static void dictionaries_of_all_lengths_round_trip(void **state)
{
	static const size_t lens[] = {1, 7, 8, 4000, 65535, 65536, 65537, 200001};
	static const size_t doc_lens[] = {30, 5000, 65535, 65536, 65537, 100000};
	uint8_t *bytes = malloc(200001), *doc = malloc(100000), *packed = malloc(101000);
	uint8_t *back = malloc(100000 + CANARY_LEN);

	(void)state;
	fill_random(bytes, 200001, 9);
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_codec_dict *dict = make_dict(bytes, lens[i]);
		size_t used, n;

		assert_memory_equal(pfs_codec_dict_bytes(dict, &used),
				    bytes + lens[i] - pfs_min_u64(lens[i], 65536), 1);
		assert_int_equal(used, pfs_min_u64(lens[i], 65536));
		for (size_t j = 0; j < pfs_array_len(doc_lens); j++) {
			size_t len = doc_lens[j], shared = pfs_min_u64(len, lens[i]) / 2;

			fill_random(doc, len, 77);
			memset(doc + len / 2, 'z', len / 2);
			memcpy(doc, bytes + lens[i] - shared, shared);
			n = pfs_codec_pack(packed, 101000, doc, len, dict);
			if (len == 30 && !n)
				continue;
			assert_true(n > 0);
			if (lens[i] >= 4000 && len == 5000)
				assert_true(n < 3000);
			assert_int_equal(unpack_checked(back, len, packed, n, dict), 0);
			assert_memory_equal(back, doc, len);
			/* Nothing shorter, longer or cut is taken for it. */
			assert_int_equal(unpack_checked(back, len - 1, packed, n, dict), -EUCLEAN);
			assert_int_equal(unpack_checked(back, len, packed, n - 1, dict), -EUCLEAN);
		}
		pfs_codec_dict_free(dict);
	}
	free(bytes);
	free(doc);
	free(packed);
	free(back);
}

/* Proves: with a dictionary, too, hostile bytes are read and written within bounds (the sanitizers
 * watch the heap), and the dictionary that is at hand survives them. */
static void hostile_bytes_spare_the_dictionary(void **state)
{
	char text[3000], doc[512];
	size_t len = make_document(doc, sizeof(doc), 4711), n, good;
	uint8_t packed[600], bad[600], back[70000 + CANARY_LEN];
	struct pfs_codec_dict *dict;

	(void)state;
	for (size_t at = 0; at + sizeof(doc) < sizeof(text);)
		at += make_document(text + at, sizeof(text) - at, (unsigned)at);
	memset(text + 2488, 'x', sizeof(text) - 2488);
	dict = make_dict(text, sizeof(text));
	n = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, len, dict);
	assert_true(n > 0);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t r = pfs_mix64(round + 1);
		uint8_t *exact = malloc(n);

		memcpy(bad, packed, n);
		for (unsigned i = 0; i <= round % 4; i++)
			bad[pfs_mix64(r + i) % n] = (uint8_t)pfs_mix64(r * 3 + i);
		memcpy(exact, bad, n);
		good = round % 3 ? len : pfs_mix64(r) % 70000;
		unpack_checked(back, good, exact, n, dict);
		free(exact);
		if (round % 100 == 0) {
			assert_int_equal(unpack_checked(back, len, packed, n, dict), 0);
			assert_memory_equal(back, doc, len);
		}
	}
	pfs_codec_dict_free(dict);
}

/* Proves: the bound is LZ4's, so that a buffer of that size always suffices. */
static void bound_is_enough(void **state)
{
	(void)state;
	assert_int_equal(pfs_codec_bound(0), 16);
	assert_int_equal(pfs_codec_bound(254), 270);
	assert_int_equal(pfs_codec_bound(255), 272);
	assert_int_equal(pfs_codec_bound(65536), 65536 + 257 + 16);
}

struct packer {
	unsigned first;
	const struct pfs_codec_dict *dicts[2];
};

static void *pack_many(void *arg)
{
	const struct packer *packer = arg;
	unsigned first = packer->first;
	char doc[1024];
	uint8_t packed[1100], back[1024];

	for (unsigned i = 0; i < 2000; i++) {
		size_t len = make_document(doc, sizeof(doc) / 2, first + i), n;
		const struct pfs_codec_dict *dict = i % 3 ? packer->dicts[i % 3 - 1] : NULL;

		memcpy(doc + len, doc, len);
		len *= 2;
		n = pfs_codec_pack(packed, sizeof(packed), (uint8_t *)doc, len, dict);
		if (!n || pfs_codec_unpack(back, len, packed, n, dict) || memcmp(back, doc, len))
			return arg;
	}
	return NULL;
}

/* Proves: threads do not disturb each other (ThreadSanitizer watches, too). */
static void threads_share_nothing(void **state)
{
	pthread_t threads[4];
	struct packer packers[4];
	char text[2000];
	struct pfs_codec_dict *dicts[2];

	(void)state;
	fill_random((uint8_t *)text, sizeof(text), 5);
	dicts[0] = make_dict(text, sizeof(text));
	make_document(text, sizeof(text), 1);
	dicts[1] = make_dict(text, sizeof(text));
	for (unsigned i = 0; i < pfs_array_len(threads); i++) {
		packers[i] = (struct packer){1 + i * 10000, {dicts[0], dicts[1]}};
		assert_int_equal(pthread_create(&threads[i], NULL, pack_many, &packers[i]), 0);
	}
	for (size_t i = 0; i < pfs_array_len(threads); i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	pfs_codec_dict_free(dicts[0]);
	pfs_codec_dict_free(dicts[1]);
}

/* ---- LZ4HC ---- */

#define HC_DOCS 400u

/* A dictionary of documents that are none of the first HC_DOCS. */
static struct pfs_codec_dict *make_hc_dict(unsigned seed, uint8_t *bytes, size_t len)
{
	struct pfs_codec_dict *dict;
	size_t at = 0;

	for (unsigned i = 0; at < len; i++) {
		char doc[400];
		size_t n = pfs_min_u64(make_document(doc, sizeof(doc), HC_DOCS + seed * 5000 + i),
				       len - at);

		memcpy(bytes + at, doc, n);
		at += n;
	}
	assert_int_equal(pfs_codec_dict_new(&dict, bytes, len), 0);
	return dict;
}

/* A short document, or some of them one after the other. */
static size_t make_hc_document(char *out, size_t cap, unsigned i)
{
	size_t len = 0;

	for (unsigned n = 0; n < (i % 3 ? 1 : 4); n++)
		len += make_document(out + len, cap - len, i + n * 10000);
	return i % 3 == 1 ? pfs_min_u64(len, 100) : len;
}

/* Proves: whatever the values and dictionaries before it were, and in which order they came, a
 * value is packed by LZ4HC as it is packed alone, and comes back. */
static void hc_remembers_nothing(void **state)
{
	uint8_t bytes[2][20000], packed[2000], alone[2000], back[2000 + CANARY_LEN];
	struct pfs_codec_dict *dicts[] = {make_hc_dict(1, bytes[0], sizeof(bytes[0])), NULL,
					  make_hc_dict(2, bytes[1], sizeof(bytes[1]))};
	struct pfs_codec_hc *hc, *fresh;
	uint64_t random = 0;

	(void)state;
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (unsigned i = 0; i < HC_DOCS; i++) {
		const struct pfs_codec_dict *dict = dicts[pfs_mix64(++random) % 3];
		char doc[2000];
		size_t len = make_hc_document(doc, sizeof(doc), i), n;

		n = pfs_codec_pack_hc(hc, packed, sizeof(packed), (uint8_t *)doc, len, dict);
		assert_int_equal(pfs_codec_hc_new(&fresh), 0);
		assert_int_equal(
			pfs_codec_pack_hc(fresh, alone, sizeof(alone), (uint8_t *)doc, len, dict),
			n);
		pfs_codec_hc_free(fresh);
		if (!n)
			continue;
		assert_memory_equal(packed, alone, n);
		assert_int_equal(unpack_checked(back, len, packed, n, dict), 0);
		assert_memory_equal(back, doc, len);
	}
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(dicts[0]);
	pfs_codec_dict_free(dicts[2]);
}

/* Records one after the other, of which every part stands in many others. */
static void make_records(uint8_t *out, size_t len, unsigned seed)
{
	char *text = malloc(len + 200);
	size_t at = 0;

	for (unsigned i = 0; at < len; i++) {
		uint64_t r = pfs_mix64(seed * 10000 + i + 1);

		at += (size_t)sprintf(text + at,
				      "{\"name\":\"%c%x\",\"lat\":\"%u.%u\",\"lng\":\"%u.%u\","
				      "\"country\":\"%c%c\",\"admin1\":\"%02u\"}",
				      'A' + (char)(r % 26), (unsigned)(r >> 50),
				      (unsigned)(r >> 8) % 90, (unsigned)(r >> 16) % 100000,
				      (unsigned)(r >> 24) % 180, (unsigned)(r >> 32) % 100000,
				      'A' + (char)(r % 13), 'A' + (char)(r % 7),
				      (unsigned)(r >> 40) % 40);
	}
	memcpy(out, text, len);
	free(text);
}

static int pack_at(uint8_t *out, const uint8_t *raw, int len, int level, const uint8_t *dict,
		   int dict_len)
{
	static LZ4_streamHC_t stream;

	LZ4_initStreamHC(&stream, sizeof(stream));
	LZ4_resetStreamHC_fast(&stream, level);
	if (dict)
		LZ4_loadDictHC(&stream, (const char *)dict, dict_len);
	return LZ4_compress_HC_continue(&stream, (const char *)raw, (char *)out, len, len - 1);
}

/* Proves: values up to 256 bytes are packed as LZ4 packs them at level 11, longer ones as at level
 * 10, with a dictionary and without; which is not the same. */
static void hc_packs_at_its_levels(void **state)
{
	static const size_t lens[] = {60, 100, 255, 256, 257, 300, 700};
	static uint8_t bytes[40000];
	struct pfs_codec_dict *dict;
	struct pfs_codec_hc *hc;

	(void)state;
	make_records(bytes, sizeof(bytes), 999);
	assert_int_equal(pfs_codec_dict_new(&dict, bytes, sizeof(bytes)), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		unsigned level = lens[i] <= 256 ? 11 : 10, differ = 0;

		for (unsigned seed = 0; seed < 100; seed++) {
			uint8_t doc[700], packed[700], want[700];
			bool with = seed % 4 != 0;
			int len = (int)lens[i], n;

			make_records(doc, lens[i], seed);
			n = pack_at(want, doc, len, level == 10 ? 11 : 10, with ? bytes : NULL,
				    sizeof(bytes));
			differ += n != pack_at(packed, doc, len, (int)level, with ? bytes : NULL,
					       sizeof(bytes));
			n = pack_at(want, doc, len, (int)level, with ? bytes : NULL, sizeof(bytes));
			assert_int_equal(pfs_codec_pack_hc(hc, packed, sizeof(packed), doc, lens[i],
							   with ? dict : NULL),
					 n);
			assert_memory_equal(packed, want, n);
		}
		assert_true(differ > 5);
	}
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(dict);
}

/* Proves: a value is packed with a dictionary as LZ4 packs it when it takes its time, which is
 * not what it does in a hurry. */
static void values_are_packed_without_haste(void **state)
{
	static uint8_t bytes[40000], doc[3000], packed[3000], want[2][3000];
	struct pfs_codec_dict *dict;
	unsigned differ = 0;

	(void)state;
	make_records(bytes, sizeof(bytes), 999);
	assert_int_equal(pfs_codec_dict_new(&dict, bytes, sizeof(bytes)), 0);
	for (unsigned seed = 0; seed < 50; seed++) {
		int len = 60 + 50 * (int)seed, n[2];

		make_records(doc, (size_t)len, seed);
		for (int i = 0; i < 2; i++) {
			LZ4_stream_t stream;

			LZ4_initStream(&stream, sizeof(stream));
			LZ4_loadDict(&stream, (const char *)bytes, sizeof(bytes));
			n[i] = LZ4_compress_fast_continue(&stream, (const char *)doc,
							  (char *)want[i], len, len - 1, 1 + i);
		}
		assert_int_equal(pfs_codec_pack(packed, sizeof(packed), doc, (size_t)len, dict),
				 n[0]);
		assert_memory_equal(packed, want[0], n[0]);
		differ += n[0] != n[1];
	}
	assert_true(differ > 5);
	pfs_codec_dict_free(dict);
}

/* Proves: a value of exactly 1 GiB is packed and comes back; one of a byte more is neither. */
static void a_value_may_have_a_gib(void **state)
{
	enum { PIECE = 1 << 20 };
	const size_t len = PFS_GIB;
	uint8_t *raw = mmap(NULL, len + 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *out = mmap(NULL, len + PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *packed = malloc(len / 200);
	int fd = memfd_create("codec_test", MFD_CLOEXEC);
	struct pfs_codec_hc *hc;
	size_t n;

	(void)state;
	/* All of them zeros, which need not be there but once. */
	assert_true(raw != MAP_FAILED && out != MAP_FAILED && fd >= 0);
	assert_int_equal(ftruncate(fd, PIECE), 0);
	for (size_t at = 0; at <= len; at += PIECE)
		assert_ptr_equal(mmap(out + at, PIECE, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, fd, 0),
				 out + at);
	n = pfs_codec_pack(packed, len / 200, raw, len, NULL);
	assert_in_range(n, 1, len / 200);
	out[5] = 1;
	assert_int_equal(pfs_codec_unpack(out, len, packed, n, NULL), 0);
	assert_int_equal(out[5], 0);
	assert_int_equal(pfs_codec_unpack(out, len - 1, packed, n, NULL), -EUCLEAN);
	assert_int_equal(pfs_codec_unpack(out, len + 1, packed, n, NULL), -EUCLEAN);
	assert_int_equal(pfs_codec_pack(packed, len / 200, raw, len + 1, NULL), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	n = pfs_codec_pack_hc(hc, packed, len / 200, raw, len, NULL);
	assert_in_range(n, 1, len / 200);
	out[len - 1] = 1;
	assert_int_equal(pfs_codec_unpack(out, len, packed, n, NULL), 0);
	assert_int_equal(out[len - 1], 0);
	assert_int_equal(pfs_codec_pack_hc(hc, packed, len / 200, raw, len + 1, NULL), 0);
	pfs_codec_hc_free(hc);
	close(fd);
	free(packed);
	assert_int_equal(munmap(raw, len + 1), 0);
	assert_int_equal(munmap(out, len + PIECE), 0);
}

/* Proves: of a packed value that is cut off no byte behind its end is looked at. */
static void uses_are_counted_within_bounds(void **state)
{
	static uint8_t bytes[5000], doc[1000], packed[1000];
	static uint32_t uses[sizeof(bytes)];
	struct pfs_codec_dict *dict = make_hc_dict(1, bytes, sizeof(bytes));
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *room =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t n;

	(void)state;
	assert_true(room != MAP_FAILED);
	assert_int_equal(mprotect(room + page, page, PROT_NONE), 0);
	fill_random(doc, sizeof(doc), 1);
	memcpy(doc + 300, bytes + 1000, 400);
	n = pfs_codec_pack(packed, sizeof(packed), doc, sizeof(doc), dict);
	assert_true(n > 600);
	for (size_t len = 0; len <= n; len++) {
		memcpy(room + page - len, packed, len);
		pfs_codec_count_uses(room + page - len, len, sizeof(bytes), uses);
	}
	assert_int_equal(munmap(room, 2 * page), 0);
	pfs_codec_dict_free(dict);
}

/* Proves: a byte of the dictionary is counted exactly when a value needs it: with another one there
 * it does not come back as it was, and without all the others it does. */
static void uses_of_the_dictionary_are_counted(void **state)
{
	uint8_t bytes[6000], packed[2000], back[2000 + CANARY_LEN];
	struct pfs_codec_dict *dict = make_hc_dict(1, bytes, sizeof(bytes));
	uint32_t uses[sizeof(bytes) + 1], sum = 0;
	struct pfs_codec_hc *hc;

	(void)state;
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (unsigned i = 0; i < 12; i++) {
		uint8_t doc[2000], changed[sizeof(bytes)];
		size_t len = make_hc_document((char *)doc, sizeof(doc), i), n;
		struct pfs_codec_dict *other;

		if (i == 11) /* a long literal, whose length goes on in bytes */
			fill_random(doc, len = 700, 1);
		if (i == 11)
			memcpy(doc + 600, bytes + 3000, 80);
		n = i % 2 ? pfs_codec_pack(packed, sizeof(packed), doc, len, dict)
			  : pfs_codec_pack_hc(hc, packed, sizeof(packed), doc, len, dict);
		assert_true(n > 0);
		memset(uses, 0, sizeof(uses));
		pfs_codec_count_uses(packed, n, sizeof(bytes), uses);
		assert_int_equal(uses[sizeof(bytes)], 0);
		for (size_t at = 0; at < sizeof(bytes); at++)
			changed[at] = uses[at] ? bytes[at] : (uint8_t)~bytes[at];
		assert_int_equal(pfs_codec_dict_new(&other, changed, sizeof(changed)), 0);
		assert_int_equal(unpack_checked(back, len, packed, n, other), 0);
		assert_memory_equal(back, doc, len);
		pfs_codec_dict_free(other);
		for (size_t at = 0; at < sizeof(bytes); at++) {
			sum += uses[at];
			if (!uses[at] || at % 7)
				continue;
			memcpy(changed, bytes, sizeof(changed));
			changed[at] = (uint8_t)~bytes[at];
			assert_int_equal(pfs_codec_dict_new(&other, changed, sizeof(changed)), 0);
			assert_int_equal(unpack_checked(back, len, packed, n, other), 0);
			assert_memory_not_equal(back, doc, len);
			pfs_codec_dict_free(other);
		}
	}
	assert_true(sum > 1000);
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(dict);
}

/* Proves: each copy of a byte counts, also where copies overlap, go on behind the dictionary's end
 * or have lengths of several bytes. */
static void every_copy_counts(void **state)
{
	/* A literal and a match of 4, 11 back; one of 22, 25 back; one of 274, 400 back; the end.
	 */
	static const uint8_t packed[] = {0x10, 'x', 11,	  0,	0x0f, 25,  0,	3,   0x0f, 0x90,
					 0x01, 255, 0x00, 0x50, 'a',  'b', 'c', 'd', 'e'};
	enum { LEN = 500 };
	uint32_t uses[LEN + 1] = {0}, expected[LEN + 1] = {0};

	(void)state;
	for (unsigned at = LEN - 10; at < LEN - 6; at++)
		expected[at]++;
	for (unsigned at = LEN - 20; at < LEN; at++)
		expected[at]++;
	for (unsigned at = LEN + 27 - 400; at < LEN + 27 - 400 + 274; at++)
		expected[at]++;
	pfs_codec_count_uses(packed, sizeof(packed), LEN, uses);
	assert_memory_equal(uses, expected, sizeof(uses));
	pfs_codec_count_uses(packed, sizeof(packed), LEN, uses);
	for (unsigned at = 0; at <= LEN; at++)
		assert_int_equal(uses[at], 2 * expected[at]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_dictionary_is_one),
		cmocka_unit_test(packing_round_trips_over_sizes),
		cmocka_unit_test(what_does_not_shrink_is_not_packed),
		cmocka_unit_test(packing_as_long_as_the_document_is_refused),
		cmocka_unit_test(packing_respects_its_room),
		cmocka_unit_test(cut_values_and_wrong_lengths_are_damage),
		cmocka_unit_test(hostile_bytes_stay_in_bounds),
		cmocka_unit_test(dictionary_shrinks_and_is_needed),
		cmocka_unit_test(dictionaries_of_all_lengths_round_trip),
		cmocka_unit_test(hostile_bytes_spare_the_dictionary),
		cmocka_unit_test(bound_is_enough),
		cmocka_unit_test(threads_share_nothing),
		cmocka_unit_test(hc_remembers_nothing),
		cmocka_unit_test(hc_packs_at_its_levels),
		cmocka_unit_test(values_are_packed_without_haste),
		cmocka_unit_test(a_value_may_have_a_gib),
		cmocka_unit_test(uses_of_the_dictionary_are_counted),
		cmocka_unit_test(uses_are_counted_within_bounds),
		cmocka_unit_test(every_copy_counts),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
