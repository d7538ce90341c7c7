/* storage/store_train.c: when a store trains, from what, and what comes of it. T1 to T5 are the
 * rules at its head. Training is run by hand, as the writer thread does it. */
#include <pthread.h>

#include "storage/store_internal.h"
#include "storage/train.h"
#include "tests/unit/store_helpers.h"

#define PHRASES 400
#define PHRASE_LEN 30
#define DOC_MAX 4096
#define FEW 30	 /* phrases of a document of about 900 bytes */
#define SHORT 10 /* of one of 300 */

/* A document of `phrases` phrases out of the PHRASES of a kind: a dictionary holds most of them,
 * and those of another kind are of no use. Kind 0: noise, which nothing packs. */
static size_t make_doc(char *out, unsigned kind, uint64_t n, unsigned phrases)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t len = 0;

	for (unsigned i = 0; i < phrases; i++) {
		uint64_t r = pfs_mix64(n * 1000 + i + 1), seed = r;

		if (kind)
			seed = (uint64_t)kind * 1000000 + r % PHRASES;
		for (unsigned j = 0; j < PHRASE_LEN; j++) {
			r = pfs_mix64(seed * 64 + j + 1);
			out[len++] = kind ? letters[r % 64] : (char)r;
		}
	}
	return len;
}

static void put_docs(struct pfs_store *store, unsigned kind, uint64_t first, uint64_t end,
		     unsigned phrases)
{
	char doc[DOC_MAX];

	for (uint64_t n = first; n < end; n++) {
		struct pfs_key key = pfs_key_num(n);
		size_t len = make_doc(doc, kind, n, phrases);

		assert_int_equal(pfs_put(store, &key, doc, len, NULL, 0, NULL), 0);
	}
}

static void expect_docs(struct pfs_store *store, unsigned kind, uint64_t first, uint64_t end,
			unsigned phrases)
{
	char doc[DOC_MAX];

	for (uint64_t n = first; n < end; n++) {
		struct pfs_key key = pfs_key_num(n);
		size_t want = make_doc(doc, kind, n, phrases), len;
		void *data;

		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
		assert_int_equal(len, want);
		assert_memory_equal(data, doc, want);
		free(data);
	}
}

static struct pfs_place where(struct pfs_store *store, uint64_t n)
{
	struct pfs_key key = pfs_key_num(n);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return place;
}

static struct pfs_sim *new_store(struct pfs_store **store, uint32_t min_value_size)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, 16 * PFS_MIB, min_value_size);
	*store = open_store(sim);
	return sim;
}

static struct pfs_store *open_with(struct pfs_sim *sim, enum pfs_dict_use dict)
{
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = quiet, .dict = dict};
	struct pfs_store *store;
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return store;
}

static void close_healthy(struct pfs_store *store, struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
}

static uint32_t newest(const struct pfs_store *store)
{
	return store->dict ? store->dict->number : 0;
}

/* What the writer thread does; false when it had nothing to do. */
static bool train_when_due(struct pfs_store *store)
{
	bool due = pfs_training_is_due(store);

	pfs_training_run(store);
	return due;
}

/* New values of which nothing but raw and packed length is known. */
static void count_values(struct pfs_store *store, uint64_t bytes, double ratio)
{
	struct pfs_packed packed = {.raw_len = 1000, .body_len = (uint32_t)(1000 * ratio)};

	for (uint64_t i = 0; i < bytes / 1000; i++)
		pfs_training_count(store, &packed);
}

/* Forgets how new values pack: what comes then is for the sake of growth. */
static void no_drift(struct pfs_store *store)
{
	store->training.raw = store->training.packed = 0;
}

static double promised(const struct pfs_store *store)
{
	return (double)store->dict->packed / (double)store->dict->raw;
}

/* Without a trainer there is nothing of this to test, but what train_is_refused_without_trainer
 * does. */
static void need_trainer(void)
{
	if (pfs_train_version())
		return;
	print_message("NOT TESTED: this build has no libzstd, so it makes no dictionaries\n");
	skip();
}

/* ---- growth ---- */

/* Proves T3, first time: a store trains when it has both enough points and enough bytes, and its
 * new values are then packed with what was made; it does so once. */
static void trains_when_there_is_enough(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, PFS_TRAIN_POINTS_MIN - 1, FEW);
	assert_true(store->raw_bytes > 2 * PFS_TRAIN_RAW_MIN);
	assert_false(train_when_due(store));
	assert_int_equal(newest(store), 0);
	put_docs(store, 1, PFS_TRAIN_POINTS_MIN - 1, PFS_TRAIN_POINTS_MIN, FEW);
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 1);
	assert_false(train_when_due(store));
	put_docs(store, 1, 2000, 2001, FEW);
	assert_int_equal(where(store, 2000).dictionary, 1);
	assert_int_equal(where(store, 5).dictionary, 0);
	expect_docs(store, 1, 0, PFS_TRAIN_POINTS_MIN, FEW);
	close_healthy(store, sim);
	pfs_sim_free(sim);
	/* Points enough, bytes not. */
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, 2000, 4);
	assert_true(store->raw_bytes < PFS_TRAIN_RAW_MIN);
	assert_false(train_when_due(store));
	put_docs(store, 1, 2000, 2400, 4);
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 1);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves T3, again: a dictionary of few samples is made anew when the store holds eight times as
 * much, not before, also across a reopening; one of many samples is not. */
static void trains_again_after_growth(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;
	uint64_t had, n = 1100;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, n, SHORT);
	had = store->raw_bytes;
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 1);
	for (; store->raw_bytes < 7 * had; n += 100) {
		put_docs(store, 2, n, n + 100, SHORT);
		no_drift(store);
		assert_false(pfs_training_is_due(store));
	}
	close_healthy(store, sim);
	store = open_store(sim);
	assert_false(pfs_training_is_due(store));
	while (store->raw_bytes <= 9 * had && !pfs_training_is_due(store)) {
		put_docs(store, 2, n, n + 100, SHORT);
		no_drift(store);
		n += 100;
	}
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 2);
	assert_true(store->dict->raw > 4 * pfs_dict_find(store, 1)->raw);
	put_docs(store, 2, n, n + 10, SHORT);
	assert_int_equal(where(store, n + 5).dictionary, 2);
	assert_true(where(store, n + 5).packed_len * 2 < SHORT * PHRASE_LEN);
	assert_int_equal(where(store, 5).dictionary, 0);
	/* That was made of all that a training looks at. */
	assert_int_equal(store->training.grow_at, UINT64_MAX);
	close_healthy(store, sim);
	store = open_store(sim);
	assert_int_equal(store->training.grow_at, UINT64_MAX);
	expect_docs(store, 1, 0, 1100, SHORT);
	expect_docs(store, 2, 1100, n + 10, SHORT);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* ---- drift ---- */

/* Proves T3, drift: new values of another kind bring a new dictionary when a mebibyte of them packs
 * by more than a quarter worse than promised, which packs them well; values of the first kind
 * again are packed well, too; those of a third kind bring another. The files of the former ones do
 * not change, and their values are read. */
static void trains_when_values_drift(void **state)
{
	static uint8_t first[2 * PFS_DICT_STRIDE], again[sizeof(first)];
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;
	uint32_t last;
	uint64_t len;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, 3000, FEW);
	assert_int_equal(pfs_train(store, false, &result), 0);
	len = size_at(sim, "dict-00000001");
	assert_true(len <= sizeof(first));
	read_at(sim, "dict-00000001", 0, first, len);
	put_docs(store, 1, 3000, 5000, FEW);
	assert_true(store->training.raw > PFS_MIB);
	assert_false(train_when_due(store));
	put_docs(store, 2, 5000, 7500, FEW);
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 2);
	assert_false(train_when_due(store));
	put_docs(store, 2, 7500, 7501, FEW);
	assert_int_equal(where(store, 7500).dictionary, 2);
	assert_true(where(store, 7500).packed_len * 2 < FEW * PHRASE_LEN);
	put_docs(store, 1, 8000, 11000, FEW);
	(void)train_when_due(store);
	put_docs(store, 1, 11000, 11001, FEW);
	assert_true(where(store, 11000).packed_len * 2 < FEW * PHRASE_LEN);
	last = newest(store);
	put_docs(store, 3, 12000, 17000, FEW);
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), last + 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(size_at(sim, "dict-00000001"), len);
	read_at(sim, "dict-00000001", 0, again, len);
	assert_memory_equal(first, again, len);
	close_healthy(store, sim);
	store = open_store(sim);
	expect_docs(store, 1, 0, 5000, FEW);
	expect_docs(store, 2, 5000, 7501, FEW);
	expect_docs(store, 1, 8000, 11001, FEW);
	expect_docs(store, 3, 12000, 17000, FEW);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves T3, the measure of drift: a quarter worse, over a mebibyte at least, however many good
 * values came before. */
static void drift_is_a_quarter_over_a_mebibyte(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;
	double good;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, 3000, FEW);
	assert_int_equal(pfs_train(store, false, &result), 0);
	good = promised(store);
	count_values(store, PFS_MIB * 9 / 10, good * 2);
	assert_false(pfs_training_is_due(store));
	count_values(store, PFS_MIB / 5, good * 2);
	assert_true(pfs_training_is_due(store));
	assert_int_equal(pfs_train(store, true, &result), 0);
	assert_false(pfs_training_is_due(store));
	good = promised(store);
	count_values(store, 3 * PFS_MIB, good * 1.23);
	assert_false(pfs_training_is_due(store));
	assert_int_equal(pfs_train(store, true, &result), 0);
	good = promised(store);
	count_values(store, 3 * PFS_MIB, good * 1.27 + 0.001);
	assert_true(pfs_training_is_due(store));
	assert_int_equal(pfs_train(store, true, &result), 0);
	good = promised(store);
	count_values(store, 200 * PFS_MIB, good);
	assert_false(pfs_training_is_due(store));
	count_values(store, 4 * PFS_MIB, good * 2);
	assert_true(pfs_training_is_due(store));
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* ---- what is not taken ---- */

/* Proves T2: a training that gains nothing leaves no dictionary and no number, and is not tried
 * again before eight times as much is there. */
static void what_brings_nothing_is_not_taken(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;
	uint64_t had, n = 1100;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 0, 0, n, SHORT);
	had = store->raw_bytes;
	assert_true(train_when_due(store));
	assert_int_equal(store->dicts->count, 0);
	assert_int_equal(store->super.dict_highest, 0);
	for (; store->raw_bytes < 7 * had; n += 100) {
		put_docs(store, 0, n, n + 100, SHORT);
		assert_false(pfs_training_is_due(store));
	}
	put_docs(store, 0, n, n + 2 * (had / 300), SHORT);
	assert_true(train_when_due(store));
	assert_false(pfs_training_is_due(store));
	assert_int_equal(store->dicts->count, 0);
	assert_int_not_equal(pfs_train(store, false, &result), 0);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves T2 after drift: when a new dictionary would be no better, the former stays, and twice as
 * much has to be written before the next attempt. */
static void failed_attempts_wait_longer(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, 3000, FEW);
	assert_int_equal(pfs_train(store, false, &result), 0);
	/* Nothing but the count says that there is drift. */
	for (uint64_t due = PFS_MIB; due <= 8 * PFS_MIB; due *= 2) {
		count_values(store, due * 9 / 10, 1);
		assert_false(train_when_due(store));
		count_values(store, due / 5, 1);
		assert_true(train_when_due(store));
		assert_int_equal(newest(store), 1);
		assert_int_equal(store->super.dict_highest, 1);
	}
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves T5: documents that take the smallest container anyway are stored as they are and bring no
 * dictionary, which would gain nothing; with smaller containers they do. */
static void what_fits_the_smallest_container_is_left_alone(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	need_trainer();
	for (uint32_t min = 128; min >= 16; min /= 8) {
		struct pfs_place place;

		sim = new_store(&store, min);
		put_docs(store, 1, 0, 4000, 3);
		assert_true(store->raw_bytes > PFS_TRAIN_RAW_MIN);
		assert_true(train_when_due(store));
		assert_int_equal(newest(store), min == 16);
		assert_int_equal(pfs_train(store, true, &result), min == 16 ? 0 : -ENODATA);
		assert_false(pfs_training_is_due(store));
		put_docs(store, 1, 0, 1000, 3);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		place = where(store, 7);
		assert_int_equal(place.compressed, min == 16);
		assert_true(min == 16 ? place.container_len < 3 * PHRASE_LEN
				      : place.container_len == min);
		expect_docs(store, 1, 0, 4000, 3);
		close_healthy(store, sim);
		pfs_sim_free(sim);
	}
}

/* Proves T4: with sixteen dictionaries that are all needed there is no further one but by hand. */
static void dictionaries_are_bounded(void **state)
{
	static char samples[1100 * SHORT * PHRASE_LEN];
	static size_t lens[1100];
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	for (size_t i = 0, at = 0; i < pfs_array_len(lens); at += lens[i++])
		lens[i] = make_doc(samples + at, 1, i, SHORT);
	for (unsigned i = 0; i < 16; i++) {
		char doc[DOC_MAX];
		size_t len = make_doc(doc, 100 + i, 1, FEW);

		assert_int_equal(pfs_dict_add(store, doc, len, 1000, 400), 0);
		put_docs(store, 100 + i, i, i + 1, FEW);
	}
	put_docs(store, 1, 100, 1500, FEW);
	assert_true(train_when_due(store));
	assert_int_equal(newest(store), 16);
	assert_int_equal(pfs_train_from(store, samples, lens, pfs_array_len(lens), &result),
			 -EALREADY);
	assert_int_equal(newest(store), 16);
	assert_int_equal(pfs_train(store, false, &result), 0);
	assert_int_equal(newest(store), 17);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* ---- from what is going to be put ---- */

/* Proves: a dictionary from a sample of what comes serves the very first value; too small a sample,
 * noise, and a sample that gains nothing make none. */
static void trains_from_what_will_be_put(void **state)
{
	enum { N = 5000 };
	static char samples[N * SHORT * PHRASE_LEN];
	static size_t lens[N];
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	for (size_t i = 0, at = 0; i < N; at += lens[i++])
		lens[i] = make_doc(samples + at, 0, i, SHORT);
	assert_int_not_equal(pfs_train_from(store, samples, lens, N, &result), 0);
	assert_int_equal(newest(store), 0);
	for (size_t i = 0, at = 0; i < N; at += lens[i++])
		lens[i] = make_doc(samples + at, 1, i, SHORT);
	assert_int_equal(pfs_train_from(store, samples, lens, 0, &result), -ENODATA);
	assert_int_equal(pfs_train_from(store, samples, lens, 15, &result), -ENODATA);
	assert_int_equal(newest(store), 0);
	assert_int_equal(store->super.dict_highest, 0);
	assert_int_equal(pfs_train_from(store, samples, lens, N, &result), 0);
	assert_true(result.number == 1 && result.packed * 2 < result.raw);
	assert_true(result.samples == N && result.length <= PFS_CODEC_DICT_MAX);
	assert_int_equal(pfs_train_from(store, samples, lens, N, &result), -EALREADY);
	put_docs(store, 1, 0, 1500, SHORT);
	assert_true(where(store, 0).dictionary == 1 && where(store, 1499).dictionary == 1);
	/* No more than a quarter of a mebibyte is there, but it was made from many. */
	assert_false(train_when_due(store));
	assert_int_equal(newest(store), 1);
	close_healthy(store, sim);
	store = open_store(sim);
	expect_docs(store, 1, 0, 1500, SHORT);
	assert_false(train_when_due(store));
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves: of a larger sample than it takes the rest is left, without reading over its end. */
static void samples_are_bounded(void **state)
{
	enum { N = 70000, LEN = 40 };
	char *samples = malloc((size_t)N * LEN);
	size_t *lens = malloc(N * sizeof(*lens));
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	if (!pfs_train_version()) {
		free(samples);
		free(lens);
	}
	need_trainer();
	sim = new_store(&store, 16);
	for (size_t i = 0; i < N; i++) {
		char doc[DOC_MAX];

		make_doc(doc, 1, i, 2);
		memcpy(samples + i * LEN, doc, LEN);
		lens[i] = LEN;
	}
	assert_int_equal(pfs_train_from(store, samples, lens, N, &result), 0);
	assert_int_equal(result.sample_bytes, PFS_TRAIN_FROM_BYTES / LEN * LEN);
	/* One that is longer than what is left ends it. */
	lens[1000] = PFS_TRAIN_FROM_BYTES;
	assert_int_equal(pfs_train_from(store, samples, lens, N, &result), -EALREADY);
	assert_int_equal(result.samples, 1000);
	free(samples);
	free(lens);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* ---- dict=off ---- */

/* Proves: a store that was made with dictionaries off trains by no way and packs without, opening
 * after opening, but while one says otherwise; what was packed with one then is read. An opening
 * with dictionaries off does so with a store that has them. */
static void off_is_off(void **state)
{
	static const struct {
		bool recorded_off;
		enum pfs_dict_use opening;
		bool off;
	} cases[] = {
		{true, PFS_DICT_AS_RECORDED, true},   {true, PFS_DICT_OFF, true},
		{true, PFS_DICT_AUTO, false},	      {true, PFS_DICT_AS_RECORDED, true},
		{false, PFS_DICT_AS_RECORDED, false}, {false, PFS_DICT_OFF, true},
		{false, PFS_DICT_AS_RECORDED, false},
	};
	struct pfs_sim *sim = NULL;

	(void)state;
	need_trainer();
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		bool made = i == 0 || cases[i].recorded_off != cases[i - 1].recorded_off;
		struct pfs_create_options create = {.min_value_size = 16,
						    .dict_off = cases[i].recorded_off};
		struct pfs_train_result result;
		struct pfs_store_stat stat;
		struct pfs_store *store;
		struct pfs_reason reason;
		uint32_t had;

		if (made) {
			pfs_sim_free(sim);
			sim = pfs_sim_new();
			create.io = pfs_sim_io(sim);
			assert_int_equal(pfs_store_create(STORE, &create, &reason), 0);
		}
		store = open_with(sim, cases[i].opening);
		had = store->super.dict_highest;
		if (!made)
			expect_docs(store, 1, 0, 1100, FEW);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.dictionary_off, cases[i].off);
		put_docs(store, 1, 0, 1100, FEW);
		(void)train_when_due(store);
		put_docs(store, 1, 500, 1100, FEW);
		assert_int_equal(where(store, 700).dictionary != 0, !cases[i].off);
		if (cases[i].off) {
			assert_int_equal(pfs_train(store, true, &result), -EPERM);
			assert_int_equal(pfs_train_from(store, "", NULL, 0, &result), -EPERM);
			assert_int_equal(store->super.dict_highest, had);
		}
		expect_docs(store, 1, 0, 1100, FEW);
		close_healthy(store, sim);
	}
	pfs_sim_free(sim);
}

/* Proves: without the trainer nothing is due and every training says so, while dictionaries that
 * are there are used. (What has one proves the contrary above.) */
static void train_is_refused_without_trainer(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim;
	size_t len = 300;
	char doc[DOC_MAX];

	(void)state;
	if (pfs_train_version()) {
		assert_non_null(pfs_store_trainer());
		return;
	}
	sim = new_store(&store, 16);
	make_doc(doc, 1, 1, FEW);
	put_docs(store, 1, 0, 1500, FEW);
	assert_false(train_when_due(store));
	assert_int_equal(pfs_train(store, true, &result), -EOPNOTSUPP);
	assert_int_equal(pfs_train_from(store, doc, &len, 1, &result), -EOPNOTSUPP);
	assert_int_equal(store->super.dict_highest, 0);
	assert_int_equal(pfs_dict_add(store, doc, 900, 900, 100), 0);
	put_docs(store, 1, 1, 2, FEW);
	assert_int_equal(where(store, 1).dictionary, 1);
	close_healthy(store, sim);
	store = open_store(sim);
	expect_docs(store, 1, 0, 1500, FEW);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* ---- at once ---- */

#define BUSY_ROUNDS 6
#define BUSY_DOCS 400

struct busy {
	struct pfs_store *store;
	uint64_t first;
	bool end;
	unsigned rounds;
};

/* Puts, removes and puts again. */
static void *change_docs(void *arg)
{
	struct busy *busy = arg;

	while (!__atomic_load_n(&busy->end, __ATOMIC_RELAXED) || !busy->rounds) {
		put_docs(busy->store, 1 + busy->rounds % 2, busy->first, busy->first + BUSY_DOCS,
			 SHORT);
		for (uint64_t n = busy->first; n < busy->first + BUSY_DOCS; n += 3) {
			struct pfs_key key = pfs_key_num(n);

			assert_int_equal(pfs_remove(busy->store, &key, NULL), 0);
		}
		busy->rounds++;
	}
	put_docs(busy->store, 1, busy->first, busy->first + BUSY_DOCS, SHORT);
	return NULL;
}

/* Proves: trainings beside puts, removals and checkpoints make dictionaries of ascending numbers,
 * drop those that are needed no more, and part no value from its dictionary. */
static void trains_beside_changes(void **state)
{
	struct pfs_open_options options = {.logger = quiet};
	struct busy busy[2] = {{.first = 10000}, {.first = 20000}};
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_reason reason;
	struct pfs_sim *sim;
	pthread_t threads[2];

	(void)state;
	need_trainer();
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, 1500, SHORT);
	assert_int_equal(pfs_store_close(store), 0);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < 2; i++) {
		busy[i].store = store;
		assert_int_equal(pthread_create(&threads[i], NULL, change_docs, &busy[i]), 0);
	}
	for (uint32_t i = 0, last = 0; i < BUSY_ROUNDS; i++) {
		assert_int_equal(pfs_train(store, true, &result), 0);
		assert_true(result.number > last);
		last = result.number;
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(&busy[i].end, true, __ATOMIC_RELAXED);
		pthread_join(threads[i], NULL);
	}
	expect_docs(store, 1, 0, 1500, SHORT);
	for (unsigned i = 0; i < 2; i++)
		expect_docs(store, 1, busy[i].first, busy[i].first + BUSY_DOCS, SHORT);
	/* All is put with the last one now. */
	put_docs(store, 1, 10000, 10000 + BUSY_DOCS, SHORT);
	put_docs(store, 1, 20000, 20000 + BUSY_DOCS, SHORT);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(store->dicts->count, 1);
	close_healthy(store, sim);
	store = open_store(sim);
	expect_docs(store, 1, 0, 1500, SHORT);
	expect_docs(store, 1, 20000, 20000 + BUSY_DOCS, SHORT);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves: a store with threads of its own trains as soon as there is enough, with nobody asking. */
static void a_store_trains_by_itself(void **state)
{
	struct pfs_open_options options = {.logger = quiet};
	struct pfs_sim *sim = pfs_sim_new();
	const struct timespec while_it_trains = {.tv_nsec = 1000000};
	struct pfs_store_stat stat = {0};
	struct pfs_store *store;
	struct pfs_reason reason;

	(void)state;
	need_trainer();
	create_store(sim, 16 * PFS_MIB, 16);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	put_docs(store, 1, 0, PFS_TRAIN_POINTS_MIN, FEW);
	for (unsigned i = 0; stat.dictionary == 0; i++) {
		assert_true(i < 60000);
		nanosleep(&while_it_trains, NULL);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
	}
	put_docs(store, 1, 2000, 2001, FEW);
	assert_int_equal(where(store, 2000).dictionary, 1);
	close_healthy(store, sim);
	pfs_sim_free(sim);
}

/* Proves: from too little no dictionary is made, which is said, and a store that has failed does
 * not train by itself. */
static void too_little_makes_none(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_train_result result;
	size_t lens[] = {4, 4}, tiny[100];
	uint8_t dict[4096] = {0};

	(void)state;
	if (pfs_train_version())
		assert_int_equal(pfs_train_samples(dict, sizeof(dict), "fewbytes", lens, 2),
				 -ENODATA);
	create_store(sim, 0, 0);
	store = open_store(sim);
	if (pfs_train_version()) {
		for (size_t i = 0; i < pfs_array_len(tiny); i++)
			tiny[i] = 4;
		assert_int_equal(pfs_train_from(store, "fewbytes", tiny, 1, &result), -ENODATA);
		assert_int_equal(pfs_train_from(store, dict, tiny, pfs_array_len(tiny), &result),
				 -ENODATA);
	}
	store->failed = true;
	pfs_training_run(store);
	assert_int_equal(store->dicts->count, 0);
	store->failed = false;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trains_when_there_is_enough),
		cmocka_unit_test(trains_again_after_growth),
		cmocka_unit_test(trains_when_values_drift),
		cmocka_unit_test(drift_is_a_quarter_over_a_mebibyte),
		cmocka_unit_test(what_brings_nothing_is_not_taken),
		cmocka_unit_test(failed_attempts_wait_longer),
		cmocka_unit_test(what_fits_the_smallest_container_is_left_alone),
		cmocka_unit_test(dictionaries_are_bounded),
		cmocka_unit_test(trains_from_what_will_be_put),
		cmocka_unit_test(samples_are_bounded),
		cmocka_unit_test(off_is_off),
		cmocka_unit_test(train_is_refused_without_trainer),
		cmocka_unit_test(trains_beside_changes),
		cmocka_unit_test(a_store_trains_by_itself),
		cmocka_unit_test(too_little_makes_none),
	};

	return cmocka_run_group_tests_name("store_train", tests, NULL, NULL);
}
