/* storage/store_train.c, T6: when a full compaction makes the dictionary anew, and that all which
 * is there is packed with it then. Where this build makes none, that it packs all the same. */
#include "storage/codec.h"

static bool no_memory; /* for LZ4HC */

static inline int new_hc(struct pfs_codec_hc **out)
{
	*out = NULL;
	return no_memory ? -ENOMEM : pfs_codec_hc_new(out);
}

#define pfs_codec_hc_new new_hc
#include "storage/store_train.c"
#undef pfs_codec_hc_new

#include "storage/store_pack.h"
#include "tests/unit/store_helpers.h"

#define PHRASES 400u
#define PHRASE_LEN 30u
#define DOC_PHRASES 8u
#define DOC_LEN (DOC_PHRASES * PHRASE_LEN)
#define DOCS 4000u

/* A phrase out of the PHRASES of a kind. */
static void make_phrase(uint8_t *out, unsigned kind, uint64_t phrase)
{
	for (unsigned j = 0; j < PHRASE_LEN; j++)
		out[j] = 'A' + pfs_mix64((kind * 1000000 + phrase) * 64 + j + 1) % 58;
}

/* A document: a dictionary that has its phrases makes some 40 bytes of it, one that has those of
 * another kind is of no use. */
static void make_doc(uint8_t *out, unsigned kind, uint64_t n)
{
	for (unsigned i = 0; i < DOC_PHRASES; i++)
		make_phrase(out + i * PHRASE_LEN, kind, pfs_mix64(n * 100 + i + 1) % PHRASES);
}

static void put_docs(struct pfs_store *store, unsigned kind, uint64_t first, uint64_t end)
{
	for (uint64_t n = first; n < end; n++) {
		struct pfs_key key = pfs_key_num(n);
		uint8_t doc[DOC_LEN];

		make_doc(doc, kind, n);
		assert_int_equal(pfs_put(store, &key, doc, sizeof(doc), NULL, 0, NULL), 0);
	}
}

/* The same in falling order, which compacting has to turn round. */
static void put_falling(struct pfs_store *store, unsigned kind, uint64_t first, uint64_t end)
{
	for (uint64_t n = end; n-- > first;)
		put_docs(store, kind, n, n + 1);
}

/* A scratch file that is long enough to train from, but no point. */
static void put_scratch(struct pfs_store *store)
{
	static uint8_t noise[PFS_TRAIN_RAW_MIN];
	struct pfs_key key = key_named(".swp");

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)pfs_mix64(i);
	assert_int_equal(pfs_put(store, &key, noise, sizeof(noise), NULL, 0, NULL), 0);
}

/* The documents are what was put, and are packed with that dictionary. */
static void expect_docs(struct pfs_store *store, unsigned kind, uint64_t first, uint64_t end,
			uint32_t dictionary)
{
	for (uint64_t n = first; n < end; n++) {
		struct pfs_key key = pfs_key_num(n);
		struct pfs_place place;
		uint8_t want[DOC_LEN];
		void *data;
		size_t len;

		make_doc(want, kind, n);
		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
		assert_int_equal(len, sizeof(want));
		assert_memory_equal(data, want, len);
		free(data);
		assert_int_equal(pfs_place(store, &key, &place), 0);
		assert_int_equal(place.dictionary, dictionary);
	}
}

/* A dictionary that has all phrases of the kind but the last `without`. */
static void add_dict(struct pfs_store *store, unsigned kind, unsigned without)
{
	uint8_t bytes[PHRASES * PHRASE_LEN];

	for (unsigned i = 0; i < PHRASES - without; i++)
		make_phrase(bytes + i * PHRASE_LEN, kind, i);
	assert_int_equal(pfs_dict_add(store, bytes, (PHRASES - without) * PHRASE_LEN, 1000, 150),
			 0);
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

static struct pfs_sim *new_store(struct pfs_store **store, uint32_t min_value_size)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, PFS_MIB, min_value_size);
	*store = open_store(sim);
	return sim;
}

static void end_store(struct pfs_store *store, struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static struct pfs_compact_result compact(struct pfs_store *store)
{
	struct pfs_compact_result result;

	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	return result;
}

static struct pfs_store_stat stat_of(struct pfs_store *store)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	return stat;
}

static bool trainer(void)
{
	if (pfs_train_version())
		return true;
	print_message("NOT TESTED: this build has no libzstd, so it makes no dictionaries\n");
	skip();
	return false;
}

/* Proves: a dictionary that was made from what came first gives place to one for all that is there,
 * nothing needs the former, whose file is removed, and all is as small as that; what is packed so
 * is left alone by the next one, which makes no dictionary, after another opening, too. */
static void all_that_is_there_gets_its_dictionary(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;
	uint64_t without;

	(void)state;
	if (!trainer())
		return;
	sim = new_store(&store, 16);
	add_dict(store, 1, 0);
	put_docs(store, 1, 0, DOCS / 8);
	put_docs(store, 2, DOCS / 8, DOCS);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	without = stat_of(store).container_bytes;
	assert_int_equal(compact(store).values, DOCS);
	assert_int_equal(store->dict->number, 2);
	expect_docs(store, 1, 0, DOCS / 8, 2);
	expect_docs(store, 2, DOCS / 8, DOCS, 2);
	assert_int_equal(stat_of(store).dictionaries, 1);
	assert_true(stat_of(store).container_bytes < without / 3);
	for (unsigned again = 0; again < 2; again++) {
		assert_int_equal(compact(store).values, 0);
		assert_int_equal(store->super.dict_highest, 2);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(sim);
		store = open_store(sim);
	}
	expect_docs(store, 2, DOCS / 8, DOCS, 2);
	end_store(store, sim);
}

/* Proves: more of what is there already brings no further dictionary, as often as it comes: what a
 * second one of the same kind gains by chance is too little. */
static void chance_brings_no_dictionary(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	if (!trainer())
		return;
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, DOCS);
	(void)compact(store);
	assert_int_equal(store->super.dict_highest, 1);
	for (unsigned more = 1; more < 4; more++) {
		put_falling(store, 1, more * DOCS, (more + 1) * DOCS);
		assert_true(compact(store).values > 0);
		assert_int_equal(store->super.dict_highest, 1);
		expect_docs(store, 1, more * DOCS, (more + 1) * DOCS, 1);
	}
	end_store(store, sim);
}

/* Proves: what a training by hand does not find worth it (less than a tenth) is, when all is packed
 * anew anyway; but not when containers would take the same, because none is shorter than the
 * smallest. */
static void a_small_gain_is_taken_where_containers_shrink(void **state)
{
	(void)state;
	if (!trainer())
		return;
	for (unsigned large = 0; large < 2; large++) {
		struct pfs_train_result trained;
		struct pfs_store *store;
		struct pfs_sim *sim = new_store(&store, large ? 256 : 16);

		add_dict(store, 1, PHRASES / 40);
		put_falling(store, 1, 0, DOCS);
		assert_int_equal(pfs_train(store, false, &trained), -EALREADY);
		(void)compact(store);
		assert_int_equal(store->super.dict_highest, large ? 1 : 2);
		expect_docs(store, 1, 0, DOCS, large ? 1 : 2);
		end_store(store, sim);
	}
}

/* Proves: what is packed already is left alone, whatever dictionary might be better for it. */
static void what_is_packed_keeps_its_dictionary(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;

	(void)state;
	if (!trainer())
		return;
	sim = new_store(&store, 16);
	add_dict(store, 1, PHRASES / 10);
	put_docs(store, 1, 0, DOCS);
	assert_int_equal(compact(store).values, 0);
	assert_int_equal(store->super.dict_highest, 1);
	put_falling(store, 1, 0, DOCS / 2);
	assert_true(compact(store).values > 0);
	assert_int_equal(store->super.dict_highest, 2);
	end_store(store, sim);
}

/* A document with a text of its own and one of many that some others have, too. */
static size_t make_record(uint8_t *out, uint64_t n)
{
	uint64_t r = pfs_mix64(n + 1), often = (r >> 8) % 2000 * ((r >> 32) % 2000) / 2000;

	make_phrase(out, 3, often);
	make_phrase(out + PHRASE_LEN, 4, n);
	make_phrase(out + 2 * PHRASE_LEN, 5, (often * 7 + r % 3) % 4000);
	return 3 * PHRASE_LEN;
}

static size_t pack_records(const struct pfs_codec_dict *codec, uint64_t first, uint64_t end)
{
	uint8_t doc[3 * PHRASE_LEN], out[3 * PHRASE_LEN];
	struct pfs_codec_hc *hc;
	size_t sum = 0;

	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	for (uint64_t n = first; n < end; n++) {
		size_t len = make_record(doc, n);
		size_t packed = pfs_codec_pack_hc(hc, out, sizeof(out), doc, len, codec);

		sum += packed ? packed : len;
	}
	pfs_codec_hc_free(hc);
	return sum;
}

/* Proves: the dictionary is better for LZ4HC than what the trainer makes. */
static void it_is_fitted_to_hc(void **state)
{
	enum { RECORDS = 20000, LEN = 3 * PHRASE_LEN };
	uint8_t *samples = malloc(RECORDS * LEN), *dict = malloc(PFS_CODEC_DICT_MAX);
	size_t *lens = malloc(RECORDS * sizeof(*lens));
	struct pfs_codec_dict *trained;
	struct pfs_store *store;
	struct pfs_sim *sim;
	ssize_t len;

	(void)state;
	if (!trainer()) {
		free(samples);
		free(dict);
		free(lens);
		return;
	}
	sim = new_store(&store, 16);
	for (unsigned n = 0; n < RECORDS; n++) {
		struct pfs_key key = pfs_key_num(n);

		lens[n] = make_record(samples + n * LEN, n);
		assert_int_equal(pfs_put(store, &key, samples + n * LEN, LEN, NULL, 0, NULL), 0);
	}
	(void)compact(store);
	assert_int_equal(store->super.dict_highest, 1);
	len = pfs_train_samples(dict, PFS_CODEC_DICT_MAX, samples, lens, RECORDS);
	assert_true(len > 0);
	assert_int_equal(pfs_codec_dict_new(&trained, dict, (size_t)len), 0);
	assert_true(pack_records(store->dict->codec, RECORDS, RECORDS + 2000) <
		    pack_records(trained, RECORDS, RECORDS + 2000) * 98 / 100);
	pfs_codec_dict_free(trained);
	free(samples);
	free(dict);
	free(lens);
	end_store(store, sim);
}

/* Proves: new values are measured by what LZ4 makes of the samples, not LZ4HC, which they are not
 * packed with: values as before do not look as if they had drifted. */
static void its_promise_is_that_of_new_values(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim;
	uint64_t packed = 0;

	(void)state;
	if (!trainer())
		return;
	sim = new_store(&store, 16);
	put_docs(store, 1, 0, DOCS);
	(void)compact(store);
	assert_int_equal(store->super.dict_highest, 1);
	for (unsigned n = 0; n < 500; n++) {
		struct pfs_packed one;
		uint8_t doc[DOC_LEN];

		make_doc(doc, 1, DOCS + n);
		assert_int_equal(pfs_pack(store, &one, doc, sizeof(doc), true), 0);
		packed += one.body_len;
		pfs_packed_free(&one);
	}
	assert_float_equal((double)store->dict->packed / (double)store->dict->raw,
			   (double)packed / (500.0 * DOC_LEN), 0.02);
	assert_false(pfs_training_is_due(store));
	end_store(store, sim);
}

/* Proves: a store without dictionaries gets none by being compacted when it is to have none, when
 * it has too few points or too few bytes, and when all of it has no room beside itself; packed it
 * is all the same. */
static void some_stores_get_none(void **state)
{
	enum { OFF, FEW, SMALL, FULL, CASES };

	(void)state;
	for (unsigned what = 0; what < CASES; what++) {
		struct pfs_compact_result result;
		struct pfs_store *store;
		struct pfs_sim *sim = new_store(&store, 16);
		unsigned docs = what == FEW ? PFS_TRAIN_POINTS_MIN - 1 : DOCS;

		if (what == OFF) {
			assert_int_equal(pfs_store_close(store), 0);
			store = open_with(sim, PFS_DICT_OFF);
		}
		if (what == SMALL)
			docs = PFS_TRAIN_RAW_MIN / DOC_LEN;
		put_docs(store, 1, 0, docs);
		if (what == FEW)
			put_scratch(store);
		assert_true((stat_of(store).points < PFS_TRAIN_POINTS_MIN) == (what == FEW));
		assert_true((stat_of(store).raw_bytes < PFS_TRAIN_RAW_MIN) == (what == SMALL));
		for (unsigned n = 0; n < docs; n += 3) {
			struct pfs_key key = pfs_key_num(n);

			assert_int_equal(pfs_remove(store, &key, NULL), 0);
		}
		for (unsigned n = 0; n < docs; n += 3)
			put_docs(store, 1, n, n + 1);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		if (what == FULL)
			/* The journal that it takes does not fit as well. */
			pfs_sim_set_capacity(sim, pfs_sim_used(sim) + store->container_bytes +
							  store->points * PFS_SLOT_LEN +
							  PFS_COMPACT_UNAPPLIED_BYTES * 3 / 2);
		assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
		assert_true(result.values > 0);
		assert_null(store->dict);
		assert_int_equal(store->super.dict_highest, 0);
		pfs_sim_set_capacity(sim, UINT64_MAX);
		expect_docs(store, 1, 0, docs, 0);
		end_store(store, sim);
	}
}

/* Proves: without the trainer everything is packed with the dictionary that there is. */
static void without_trainer_it_packs_with_what_there_is(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store, 16);

	(void)state;
	add_dict(store, 1, 0);
	put_falling(store, 1, 0, DOCS);
	assert_int_equal(compact(store).values, DOCS);
	assert_int_equal(store->super.dict_highest, 1);
	expect_docs(store, 1, 0, DOCS, 1);
	end_store(store, sim);
}

static unsigned warnings;

static void count_warnings(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	warnings += level == PFS_LOG_WARNING && strstr(line, "training a dictionary failed");
}

/* Proves: where the training lacks memory, that is said, and all is packed without it. */
static void packs_also_when_training_fails(void **state)
{
	struct pfs_sim *sim;
	struct pfs_store *store;

	(void)state;
	if (!trainer())
		return;
	sim = new_store(&store, 16);
	put_falling(store, 1, 0, DOCS);
	put_scratch(store);
	store->logger.fn = count_warnings;
	warnings = 0;
	no_memory = true;
	assert_true(compact(store).values >= DOCS);
	no_memory = false;
	assert_int_equal(warnings, 1);
	assert_int_equal(stat_of(store).dictionaries, 0);
	expect_docs(store, 1, 0, DOCS, 0);
	assert_true(compact(store).values >= DOCS);
	assert_int_equal(warnings, 1);
	end_store(store, sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_there_gets_its_dictionary),
		cmocka_unit_test(chance_brings_no_dictionary),
		cmocka_unit_test(a_small_gain_is_taken_where_containers_shrink),
		cmocka_unit_test(what_is_packed_keeps_its_dictionary),
		cmocka_unit_test(it_is_fitted_to_hc),
		cmocka_unit_test(its_promise_is_that_of_new_values),
		cmocka_unit_test(some_stores_get_none),
		cmocka_unit_test(without_trainer_it_packs_with_what_there_is),
		cmocka_unit_test(packs_also_when_training_fails),
	};

	return cmocka_run_group_tests_name("training to pack", tests, NULL, NULL);
}
