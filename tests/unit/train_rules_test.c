/* storage/store_train.c, rule by rule (T1 to T6 at its head), each from both sides: the file is
 * included, and trainer, packing and dictionaries are the test's own. unit/store_train_test has the
 * real ones. */
#include "storage/epoch.h"
#include "storage/refine.h"
#include "storage/store_pack.h"
#include "storage/train.h"
#include "tests/unit/store_helpers.h"

#define FAKE_DICT_LEN 1200u

static struct {
	const char *version;
	/* What training was given, and gives. */
	ssize_t trained;
	size_t cap, count, total;
	/* The same of refining. */
	unsigned refined;
	int refine_err;
	size_t refined_len;
	/* What a sample packs to: with nothing, with what is there, with what was made; 0: it does
	 * not. And by LZ4HC. */
	size_t plain, now, made, hc_plain, hc_now, hc_made;
	const struct pfs_codec_dict *codec_now;
	bool numbered; /* each sample has its number in each byte */
	/* Dictionaries that were added. */
	unsigned added;
	int add_err;
	size_t added_len;
	uint64_t added_raw, added_packed;
	char line[PFS_LOG_LINE_MAX];
	enum pfs_log_level level;
} fake;

static const char *fake_version(void)
{
	return fake.version;
}

static ssize_t fake_train(void *out, size_t cap, const void *samples, const size_t *lens,
			  size_t count)
{
	(void)samples;
	fake.cap = cap;
	fake.count = count;
	fake.total = 0;
	for (size_t i = 0; i < count; i++)
		fake.total += lens[i];
	if (fake.trained > 0)
		memset(out, 'd', (size_t)fake.trained);
	return fake.trained;
}

static int fake_refine(uint8_t *dict, size_t *len, size_t cap, const uint8_t *samples,
		       const size_t *lens, size_t count, const bool *stop)
{
	(void)dict;
	(void)samples;
	(void)lens;
	(void)stop;
	assert_int_equal(cap, fake.cap);
	assert_int_equal(count, fake.count);
	fake.refined++;
	if (!fake.refine_err)
		*len = fake.refined_len;
	return fake.refine_err;
}

/* What is packed is a sample that was held out. */
static void expect_held_out(const uint8_t *raw, size_t raw_len)
{
	assert_true(raw_len <= PFS_BLOCK_LEN);
	for (size_t i = 0; i < raw_len && fake.numbered; i++)
		assert_true(raw[i] == raw[0] && raw[0] % 8 == 0);
}

static size_t fake_pack(uint8_t *out, size_t cap, const uint8_t *raw, size_t raw_len,
			const struct pfs_codec_dict *dict)
{
	(void)out;
	expect_held_out(raw, raw_len);
	assert_int_equal(cap, PFS_BLOCK_LEN);
	return !dict ? fake.plain : dict == fake.codec_now ? fake.now : fake.made;
}

static size_t fake_pack_hc(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
			   size_t raw_len, const struct pfs_codec_dict *dict)
{
	(void)out;
	expect_held_out(raw, raw_len);
	assert_non_null(hc);
	assert_int_equal(cap, PFS_BLOCK_LEN);
	return !dict ? fake.hc_plain : dict == fake.codec_now ? fake.hc_now : fake.hc_made;
}

static int fake_dict_add(struct pfs_store *store, const void *bytes, size_t len, uint64_t raw,
			 uint64_t packed)
{
	assert_int_equal(((const char *)bytes)[len - 1], 'd');
	fake.added_len = len;
	fake.added_raw = raw;
	fake.added_packed = packed;
	if (fake.add_err)
		return fake.add_err;
	fake.added++;
	store->super.dict_highest = 40 + fake.added;
	return 0;
}

/* Points of a store that has nothing else; 0: what the store has. */
static struct {
	uint32_t count, looks;
	size_t len; /* of each */
} points;

static int fake_view(struct pfs_store *store, uint64_t word, struct pfs_view *view)
{
	if (!points.count)
		return pfs_view(store, word, view);
	points.looks++;
	*view = (struct pfs_view){.kind = PFS_KEY_NUM, .size = points.len, .seq = 1};
	return 0;
}

static ssize_t fake_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
			 size_t len)
{
	if (!points.count)
		return pfs_read(store, object, off, buf, len);
	memset(buf, 'x', points.len);
	return (ssize_t)points.len;
}

/* From when on another training is due, when the lock of trainings was left. */
static uint64_t left_at;

static void leaving(const struct pfs_store *store, const pthread_mutex_t *mutex)
{
	if (mutex == &store->train_lock)
		left_at = store->training.drift_at;
}

static int hc_err;

#include "tests/unit/fenced.h"

#define pfs_index_end(index) (points.count ? points.count + PFS_OBJECT_FIRST : pfs_index_end(index))
#define pfs_index_word(index, object) (points.count ? (object) : pfs_index_word(index, object))
#define pfs_view(store, word, view) fake_view(store, word, view)
#define pfs_read fake_read
#define pthread_mutex_unlock(mutex) (leaving(store, mutex), pthread_mutex_unlock(mutex))
#define pfs_codec_hc_new(out) (hc_err ? hc_err : pfs_codec_hc_new(out))
#define pfs_train_version fake_version
#define pfs_train_samples fake_train
#define pfs_refine fake_refine
#define pfs_codec_pack fake_pack
#define pfs_codec_pack_hc fake_pack_hc
#define pfs_dict_add fake_dict_add
#include "storage/store_train.c"
#undef pfs_index_end
#undef pfs_index_word
#undef pfs_view
#undef pfs_read
#undef pthread_mutex_unlock
#undef pfs_codec_hc_new

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	fake.level = level;
	snprintf(fake.line, sizeof(fake.line), "%s", line);
}

/* ---- a store of which only what the rules look at is there ---- */

static struct pfs_store *bare_store(void)
{
	struct pfs_store *store = calloc(1, sizeof(*store));

	memset(&fake, 0, sizeof(fake));
	fake.version = "1";
	store->super.min_value_size = 16;
	store->logger = (struct pfs_logger){.fn = keep_line};
	store->dicts = calloc(1, sizeof(*store->dicts) + DICTS_MAX * sizeof(store->dicts->at[0]));
	pthread_mutex_init(&store->commit, NULL);
	pthread_mutex_init(&store->train_lock, NULL);
	return store;
}

static void bare_free(struct pfs_store *store)
{
	pthread_mutex_destroy(&store->commit);
	pthread_mutex_destroy(&store->train_lock);
	free(store->dicts);
	free(store);
}

/* Proves T5: a value is counted when it is new, fits a block, and does not take the smallest
 * container anyway. */
static void what_is_counted(void **state)
{
	static const struct {
		uint32_t min;
		struct pfs_packed packed;
		bool counts;
	} cases[] = {
		{16, {.raw_len = 100, .body_len = 60}, true},
		{16, {.raw_len = 100, .body_len = 60, .flags = PFS_CONTAINER_LZ4}, true},
		{16, {.raw_len = 100, .body_len = 60, .repacked = true}, false},
		{16, {.raw_len = 100, .body_len = 60, .flags = PFS_CONTAINER_BLOCKS}, false},
		{16, {.raw_len = 8, .body_len = 8}, false},
		{16, {.raw_len = 9, .body_len = 9}, true},
		{128, {.raw_len = 104, .body_len = 60}, false},
		{128, {.raw_len = 105, .body_len = 60}, true},
	};
	struct pfs_store *store = bare_store();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct pfs_packed *p = &cases[i].packed;

		store->super.min_value_size = cases[i].min;
		store->training.drift_at = PFS_MIB;
		store->training.raw = 1000;
		store->training.packed = 500;
		pfs_training_count(store, p);
		assert_int_equal(store->training.raw, 1000 + (cases[i].counts ? p->raw_len : 0));
		assert_int_equal(store->training.packed, 500 + (cases[i].counts ? p->body_len : 0));
	}
	bare_free(store);
}

/* Proves: what is older than DRIFT_SPAN times the measure counts by half. */
static void what_was_put_long_ago_fades(void **state)
{
	struct pfs_packed packed = {.raw_len = 100, .body_len = 60};
	struct pfs_store *store = bare_store();

	(void)state;
	store->training.drift_at = 1000;
	store->training.raw = 3999;
	store->training.packed = 2001;
	pfs_training_count(store, &packed);
	assert_int_equal(store->training.raw, 4099);
	assert_int_equal(store->training.packed, 2061);
	pfs_training_count(store, &packed);
	assert_int_equal(store->training.raw, 2149);
	assert_int_equal(store->training.packed, 1090);
	store->training.raw = 4000;
	pfs_training_count(store, &packed);
	assert_int_equal(store->training.raw, 2100);
	bare_free(store);
}

/* Proves T3: when a training is due, for each of what it depends on. */
static void when_it_is_due(void **state)
{
	static const struct {
		bool off, has_dict, no_trainer;
		uint64_t points, raw_bytes, grow_at, dict_raw, dict_packed, raw, packed;
		bool due;
	} cases[] = {
		{.points = 1000, .raw_bytes = 500, .grow_at = 500, .due = true},
		{.points = 1000, .raw_bytes = 501, .grow_at = 500, .due = true},
		{.points = 1000, .raw_bytes = 499, .grow_at = 500, .due = false},
		{.points = 999, .raw_bytes = 500, .grow_at = 500, .due = false},
		{.points = 1001, .raw_bytes = 500, .grow_at = 500, .due = true},
		{.points = 1000, .raw_bytes = 500, .grow_at = 500, .off = true, .due = false},
		{.points = 1000, .raw_bytes = 500, .grow_at = 500, .no_trainer = true},
		/* Packs by more than a quarter worse than 40 %. */
		{false, true, false, 1000, 0, 1, 1000, 400, 2000, 1001, true},
		{false, true, false, 1000, 0, 1, 1000, 400, 2000, 1000, false},
		{false, true, false, 1000, 0, 1, 1000, 400, 2002, 1001, false},
		{false, true, false, 1000, 0, 1, 1000, 399, 2000, 1000, true},
		{false, true, false, 1000, 0, 1, 1001, 400, 2000, 1000, true},
		/* Too few of them. */
		{false, true, false, 1000, 0, 1, 1000, 400, 1999, 1999, false},
		{false, true, false, 1000, 0, 1, 1000, 400, 2001, 1999, true},
		{false, true, false, 999, 0, 1, 1000, 400, 2000, 1999, false},
		{true, true, false, 1000, 0, 1, 1000, 400, 2000, 1999, false},
		{false, true, true, 1000, 0, 1, 1000, 400, 2000, 1999, false},
		/* Nothing was promised, or there is no dictionary. */
		{false, true, false, 1000, 0, 1, 0, 0, 2000, 1999, false},
		{false, false, false, 1000, 0, 1, 0, 0, 2000, 1999, false},
	};
	struct pfs_store *store = bare_store();

	(void)state;
	store->training.drift_at = 2000;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_dict dict = {.raw = cases[i].dict_raw, .packed = cases[i].dict_packed};

		store->dict = cases[i].has_dict ? &dict : NULL;
		store->dict_off = cases[i].off;
		fake.version = cases[i].no_trainer ? NULL : "1";
		store->points = cases[i].points;
		store->raw_bytes = cases[i].raw_bytes;
		store->training.grow_at = cases[i].grow_at;
		store->training.raw = cases[i].raw;
		store->training.packed = cases[i].packed;
		if (pfs_training_is_due(store) != cases[i].due)
			fail_msg("case %zu", i);
	}
	store->dict = NULL;
	bare_free(store);
}

/* Proves T3: from where growth is counted, at opening and after each attempt. */
static void when_the_next_one_is_due(void **state)
{
	static const struct {
		bool made;
		uint64_t samples, raw_bytes, drift_at, then_drift_at, then_grow_at;
	} cases[] = {
		{true, 1000, 2000, 4 * PFS_MIB, PFS_MIB, 2 * PFS_MIB},
		{false, 1000, 2000, PFS_MIB, 2 * PFS_MIB, 2 * PFS_MIB},
		{false, 0, 300 * PFS_KIB, 32 * PFS_MIB, 64 * PFS_MIB, 2400 * PFS_KIB},
		{false, 500 * PFS_KIB, 300 * PFS_KIB, 33 * PFS_MIB, 64 * PFS_MIB, 4000 * PFS_KIB},
		{true, 1536 * PFS_KIB, 0, 5, PFS_MIB, 12 * PFS_MIB},
		{true, 1536 * PFS_KIB + 1, 0, 5, PFS_MIB, UINT64_MAX},
		{false, 1536 * PFS_KIB + 1, 0, 5, 10, 12 * PFS_MIB + 8},
	};
	static const uint64_t raw[][2] = {{0, 0},
					  {1000, 64000},
					  {192 * PFS_KIB, 12 * PFS_MIB},
					  {192 * PFS_KIB + 1, UINT64_MAX}};
	struct pfs_store *store = bare_store();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		store->training.raw = store->training.packed = 7;
		store->training.drift_at = cases[i].drift_at;
		store->raw_bytes = cases[i].raw_bytes;
		settle(store, cases[i].made, cases[i].samples);
		assert_int_equal(store->training.raw, 0);
		assert_int_equal(store->training.packed, 0);
		assert_int_equal(store->training.drift_at, cases[i].then_drift_at);
		assert_int_equal(store->training.grow_at, cases[i].then_grow_at);
	}
	pfs_training_begin(store);
	assert_int_equal(store->training.drift_at, PFS_MIB);
	assert_int_equal(store->training.grow_at, 256 * PFS_KIB);
	for (size_t i = 0; i < pfs_array_len(raw); i++) {
		struct pfs_dict dict = {.raw = raw[i][0]};

		store->dict = &dict;
		pfs_training_begin(store);
		assert_int_equal(store->training.drift_at, PFS_MIB);
		assert_int_equal(store->training.grow_at, raw[i][1]);
	}
	store->dict = NULL;
	bare_free(store);
}

/* Proves: who may not train is told why, whatever else there is. */
static void who_may_train(void **state)
{
	struct pfs_train_result result = {.samples = 7};
	struct pfs_store *store = bare_store();
	bool made = true;
	size_t len = 5;

	(void)state;
	fake.version = NULL;
	assert_int_equal(pfs_own_train(store, true, &result), -EOPNOTSUPP);
	assert_int_equal(result.samples, 0);
	result.samples = 7;
	assert_int_equal(pfs_own_train_from(store, "bytes", &len, 1, &result), -EOPNOTSUPP);
	assert_int_equal(result.samples, 0);
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_false(made);
	store->dict_off = true;
	assert_int_equal(pfs_own_train(store, true, &result), -EPERM);
	assert_int_equal(pfs_own_train_from(store, "bytes", &len, 1, &result), -EPERM);
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	store->opened_read_only = true;
	assert_int_equal(pfs_own_train(store, true, &result), -EROFS);
	assert_int_equal(pfs_own_train_from(store, "bytes", &len, 1, &result), -EROFS);
	made = true;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), -EROFS);
	assert_false(made);
	store->points = PFS_TRAIN_POINTS_MIN;
	store->dict_off = false;
	assert_null(pfs_store_trainer());
	fake.version = "1";
	assert_true(pfs_training_is_due(store));
	pfs_training_run(store);
	assert_int_equal(fake.count, 0);
	fake.version = "some version";
	assert_string_equal(pfs_store_trainer(), "some version");
	bare_free(store);
}

/* ---- samples ---- */

static struct samples samples_of(size_t count, size_t len)
{
	struct samples s;

	assert_int_equal(samples_new(&s), 0);
	s.count = s.used = 0;
	s.since = 0;
	for (size_t i = 0; i < count; i++) {
		memset(s.bytes + s.used, (int)(i + 1), len);
		s.lens[s.count++] = len;
		s.used += len;
	}
	return s;
}

/* Proves T1: of so many samples every eighth is held out; the others and these keep their order. */
static void every_eighth_is_held_out(void **state)
{
	(void)state;
	for (size_t count = 0; count < 50; count++) {
		struct samples s = samples_of(0, 0);
		size_t front = 77, front_bytes = 77, at = 0, n = 0;

		for (size_t i = 0; i < count; i++) {
			s.lens[i] = i % 5;
			memset(s.bytes + s.used, (int)(i + 1), i % 5);
			s.used += i % 5;
		}
		s.count = count;
		assert_int_equal(part(&s, &front, &front_bytes), 0);
		assert_int_equal(front, count - count / 8);
		for (unsigned back = 0; back < 2; back++) {
			for (size_t i = 0; i < count; i++) {
				if ((i % 8 == 7) != back)
					continue;
				assert_int_equal(s.lens[n++], i % 5);
				for (size_t k = 0; k < i % 5; k++)
					assert_int_equal(s.bytes[at++], i + 1);
			}
			if (!back)
				assert_int_equal(front_bytes, at);
		}
		assert_int_equal(n, count);
		assert_int_equal(at, s.used);
		samples_free(&s);
	}
}

/* Proves T1, T5: of given samples those are taken that a dictionary is for, until there are so many
 * bytes, whether they were taken or not. */
static void which_of_the_given_are_taken(void **state)
{
	static const size_t lens[] = {8, 9, 0, 500, PFS_BLOCK_LEN, PFS_BLOCK_LEN + 1, 100};
	size_t *many = malloc((PFS_TRAIN_FROM_COUNT + 10) * sizeof(*many)), at = 0;
	uint8_t *bytes = malloc(PFS_TRAIN_FROM_BYTES + 100);
	struct pfs_store *store = bare_store();
	struct samples s = samples_of(0, 0);

	(void)state;
	for (size_t i = 0; i < pfs_array_len(lens); at += lens[i++])
		memset(bytes + at, (int)(i + 1), lens[i]);
	take(store, &s, bytes, lens, pfs_array_len(lens));
	assert_int_equal(s.count, 4);
	assert_int_equal(s.used, 9 + 500 + PFS_BLOCK_LEN + 100);
	assert_true(s.lens[0] == 9 && s.lens[1] == 500 && s.lens[2] == PFS_BLOCK_LEN &&
		    s.lens[3] == 100);
	assert_true(s.bytes[0] == 2 && s.bytes[9] == 4 && s.bytes[509] == 5 &&
		    s.bytes[s.used - 1] == 7);
	s.count = s.used = 0;
	take(store, &s, bytes, lens, pfs_array_len(lens) - 1);
	assert_int_equal(s.count, 3);
	/* As many bytes as there may be, and one more; what is passed over counts. */
	for (unsigned over = 0; over < 2; over++) {
		size_t count = 0, sum = 0;

		s.count = s.used = 0;
		for (; PFS_TRAIN_FROM_BYTES - sum > 70000; sum += many[count++])
			many[count] = count == 1 ? PFS_BLOCK_LEN + 1 : 60000;
		many[count] = PFS_TRAIN_FROM_BYTES - sum - 10;
		if (many[count] > PFS_BLOCK_LEN) {
			many[count + 1] = many[count] - 50000;
			many[count++] = 50000;
		}
		count++;
		many[count++] = 10 + over;
		many[count++] = 0;
		take(store, &s, bytes, many, count);
		assert_int_equal(s.count, count - 2 - over);
		assert_int_equal(s.lens[s.count - 1], over ? many[count - 3] : 10);
	}
	s.count = s.used = 0;
	for (size_t i = 0; i < PFS_TRAIN_FROM_COUNT + 10; i++)
		many[i] = 10;
	take(store, &s, bytes, many, PFS_TRAIN_FROM_COUNT + 10);
	assert_int_equal(s.count, PFS_TRAIN_FROM_COUNT);
	samples_free(&s);
	free(bytes);
	free(many);
	bare_free(store);
}

/* ---- making one ---- */

static int make_of(struct pfs_store *store, size_t count, size_t len, bool force, bool packing,
		   struct pfs_train_result *result)
{
	struct samples s = samples_of(count, len);
	struct purpose purpose = {.force = force, .packing = packing};
	int err;

	*result = (struct pfs_train_result){0};
	fake.numbered = true;
	fake.added = fake.refined = 0;
	fake.count = fake.cap = 0;
	store->super.dict_highest = 40;
	err = make(store, &s, &purpose, result);
	assert_int_equal(result->samples, count);
	assert_int_equal(result->sample_bytes, count * len);
	samples_free(&s);
	return err;
}

/* Proves: there must be two that are held out, and samples for a dictionary of a kibibyte; it is no
 * longer than an eighth of them, and than LZ4 looks back. */
static void how_much_a_dictionary_is_made_from(void **state)
{
	static const struct {
		size_t count, len, cap;
	} cases[] = {
		{15, 1000, 0},	    {16, 1000, 2000},  {16, 511, 0},	  {16, 512, 1024},
		{17, 512, 1088},    {64, 8192, 65536}, {65, 8192, 65536}, {63, 8192, 64512},
		{1000, 600, 65536}, {100, 82, 1025},
	};
	struct pfs_store *store = bare_store();
	struct pfs_train_result r;

	(void)state;
	fake.trained = 777;
	fake.plain = 400;
	fake.made = 100;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		size_t count = cases[i].count, len = cases[i].len, out = count / 8;
		int err = make_of(store, count, len, false, false, &r);

		assert_int_equal(err, cases[i].cap ? 0 : -ENODATA);
		assert_int_equal(fake.cap, cases[i].cap);
		assert_int_equal(fake.added, cases[i].cap != 0);
		assert_int_equal(r.number, cases[i].cap ? 41 : 0);
		assert_int_equal(r.length, cases[i].cap ? 777 : 0);
		assert_int_equal(fake.refined, 0);
		if (!cases[i].cap)
			continue;
		assert_int_equal(fake.count, count - out);
		assert_int_equal(fake.total, (count - out) * len);
		assert_int_equal(r.raw, out * len);
		assert_int_equal(r.before, out * 400);
		assert_int_equal(r.packed, out * 100);
		assert_int_equal(fake.added_len, 777);
		assert_int_equal(fake.added_raw, r.raw);
		assert_int_equal(fake.added_packed, r.packed);
	}
	bare_free(store);
}

/* Proves: what fails on the way is the error, and there is no dictionary. */
static void what_fails_makes_none(void **state)
{
	struct pfs_store *store = bare_store();
	struct pfs_train_result r;

	(void)state;
	fake.plain = 400;
	fake.made = 100;
	fake.trained = -ENODATA;
	assert_int_equal(make_of(store, 40, 500, true, false, &r), -ENODATA);
	assert_int_equal(r.raw + r.number + r.length + fake.added, 0);
	fake.trained = 600;
	fake.refine_err = -ECANCELED;
	assert_int_equal(make_of(store, 40, 500, true, true, &r), -ECANCELED);
	assert_int_equal(r.raw + r.number + r.length + fake.added, 0);
	assert_int_equal(fake.refined, 1);
	fake.add_err = -ENOSPC;
	assert_int_equal(make_of(store, 40, 500, true, false, &r), -ENOSPC);
	assert_int_equal(r.raw, 5 * 500);
	assert_int_equal(r.number + r.length + fake.added, 0);
	bare_free(store);
}

/* Proves: whichever allocation is refused, that is the error, nothing stays and nothing is made; so
 * it is without what packs. */
static void without_memory_nothing_is_made(void **state)
{
	const unsigned blocks = fenced_blocks;
	static const size_t lens[] = {500, 500, 500, 500, 500, 500, 500, 500, 500, 500,
				      500, 500, 500, 500, 500, 500, 500, 500, 500, 500};
	struct pfs_store *store = bare_store();
	uint8_t *bytes = calloc(20, 500);
	struct pfs_train_result r;
	unsigned refused = 0;
	int err = -ENOMEM;

	(void)state;
	fake.plain = 400;
	fake.made = 100;
	fake.trained = 600;
	for (unsigned n = 0; err; n++) {
		fenced_refuse(n);
		err = pfs_own_train_from(store, bytes, lens, 20, &r);
		fenced_refuses = false;
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(fake.added, !err);
		assert_int_equal(r.number, err ? 0 : 41);
		assert_int_equal(fenced_blocks, blocks + 3); /* the store, its table, the samples */
		refused += err != 0;
	}
	assert_int_equal(refused, 6);
	fake.refined_len = 600;
	hc_err = -ENOMEM;
	assert_int_equal(make_of(store, 40, 500, false, true, &r), -ENOMEM);
	hc_err = 0;
	assert_int_equal(r.number, 0);
	free(bytes);
	bare_free(store);
	assert_int_equal(fenced_blocks, blocks);
}

/* Proves T1: no more points are looked at than are to be, and no more are taken. */
static void picking_has_bounds(void **state)
{
	static const struct {
		uint32_t points, looks;
		size_t len, taken;
	} cases[] = {
		{1, 1, 9, 1},
		{SAMPLES_MAX - 1, SAMPLES_MAX - 1, 9, SAMPLES_MAX - 1},
		{SAMPLES_MAX, SAMPLES_MAX, 9, SAMPLES_MAX},
		{SAMPLES_MAX + 1, SAMPLES_MAX, 9, SAMPLES_MAX},
		{PICKS_MAX - 1, PICKS_MAX - 1, 8, 0},
		{PICKS_MAX, PICKS_MAX, 8, 0},
		{PICKS_MAX + 1, PICKS_MAX, 8, 0},
		{2 * PICKS_MAX, PICKS_MAX, 8, 0},
	};
	struct pfs_store *store = bare_store();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct samples s;

		assert_int_equal(samples_new(&s), 0);
		points.count = cases[i].points;
		points.len = cases[i].len; /* 8: too short to be packed */
		points.looks = 0;
		s.since = 0;
		pick(store, &s);
		assert_int_equal(points.looks, cases[i].looks);
		assert_int_equal(s.count, cases[i].taken);
		assert_int_equal(s.used, cases[i].taken * cases[i].len);
		samples_free(&s);
	}
	points.count = 0;
	bare_free(store);
}

/* Gives the store the dictionary that values are packed with now. */
static void give_dict(struct pfs_store *store, struct pfs_dict *dict)
{
	assert_int_equal(pfs_codec_dict_new(&dict->codec, "abc", 3), 0);
	fake.codec_now = dict->codec;
	store->dict = dict;
}

static void take_dict(struct pfs_store *store)
{
	pfs_codec_dict_free(store->dict->codec);
	store->dict = NULL;
	fake.codec_now = NULL;
}

/* Proves T2: one that does not gain a tenth is not taken, but by force; one that does is. */
static void what_it_has_to_gain(void **state)
{
	static const struct {
		size_t before, made; /* of each sample, of 500 bytes */
		bool taken;
	} cases[] = {
		{100, 90, true},    {100, 91, false}, {100, 89, true}, {1000, 900, true},
		{1000, 901, false}, {0, 450, true},   {0, 451, false}, {500, 0, false},
	};
	struct pfs_store *store = bare_store();
	struct pfs_dict dict = {.number = 3};
	struct pfs_train_result r;

	(void)state;
	fake.trained = 600;
	for (unsigned has = 0; has < 2; has++) {
		if (has)
			give_dict(store, &dict);
		for (size_t i = 0; i < pfs_array_len(cases); i++) {
			size_t before = cases[i].before, made = cases[i].made;

			fake.plain = has ? 1 : before;
			fake.now = has ? before : 1;
			fake.made = made;
			for (unsigned force = 0; force < 2; force++) {
				int err = make_of(store, 32, 500, force, false, &r);

				assert_int_equal(err, force || cases[i].taken ? 0 : -EALREADY);
				assert_int_equal(fake.added, err == 0);
				assert_int_equal(r.number, err ? 0 : 41);
				assert_int_equal(r.raw, 4 * 500);
				assert_int_equal(r.before, 4 * (before ? before : 500));
				assert_int_equal(r.packed, 4 * (made ? made : 500));
				assert_int_equal(dict.packing, 0);
			}
		}
	}
	take_dict(store);
	bare_free(store);
}

/* Proves T6: for packing the containers are what counts, made with LZ4HC, of which one has to gain
 * a tenth where there is no dictionary, and one part in 64 where there is. */
static void what_it_has_to_gain_for_packing(void **state)
{
	static const struct {
		uint32_t min;
		size_t before, made;
		bool first, another; /* whether it is taken where there is none, and one */
	} cases[] = {
		/* With a header of 24 bytes. */
		{16, 376, 336, true, true},    {16, 376, 337, false, true},
		{16, 616, 606, false, true},   {16, 616, 607, false, false},
		{16, 1256, 1236, false, true}, {16, 1256, 1237, false, false},
		{400, 376, 100, false, false}, {400, 421, 370, true, true},
		{0, 0, 447, true, true},       {0, 0, 448, false, true},
	};
	struct pfs_store *store = bare_store();
	struct pfs_dict dict = {.number = 3};
	struct pfs_train_result r;

	(void)state;
	fake.trained = 600;
	fake.refined_len = FAKE_DICT_LEN / 2 - 1;
	for (unsigned has = 0; has < 2; has++) {
		if (has)
			give_dict(store, &dict);
		for (size_t i = 0; i < pfs_array_len(cases); i++) {
			bool taken = has ? cases[i].another : cases[i].first;

			store->super.min_value_size = cases[i].min;
			fake.hc_plain = has ? 1 : cases[i].before;
			fake.hc_now = has ? cases[i].before : 1;
			fake.hc_made = cases[i].made;
			fake.plain = fake.now = 300;
			fake.made = 290;
			assert_int_equal(make_of(store, 32, 500, false, true, &r),
					 taken ? 0 : -EALREADY);
			assert_int_equal(fake.refined, 1);
			assert_int_equal(fake.added, taken);
			assert_int_equal(r.length, taken ? FAKE_DICT_LEN / 2 - 1 : 0);
			/* What new values are measured by. */
			assert_int_equal(r.before, 4 * 300);
			assert_int_equal(r.packed, 4 * 290);
		}
	}
	take_dict(store);
	bare_free(store);
}

/* Proves: what came of a training that nobody waits for is said, but not that it brought nothing.
 */
static void what_is_said(void **state)
{
	static const struct pfs_train_result r = {.samples = 20,
						  .sample_bytes = 21,
						  .raw = 22,
						  .before = 23,
						  .packed = 24,
						  .number = 25,
						  .length = 26};
	static const int silent[] = {-EALREADY, -ENODATA, -ECANCELED};
	struct pfs_store *store = bare_store();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(silent); i++)
		tell(store, silent[i], &r);
	assert_string_equal(fake.line, "");
	tell(store, 0, &r);
	assert_string_equal(fake.line, "dictionary 25 of 26 bytes made from 20 points: 22 bytes of "
				       "others take 24 instead of 23");
	assert_int_equal(fake.level, PFS_LOG_INFO);
	tell(store, -ENOSPC, &r);
	assert_string_equal(fake.line, "training a dictionary failed: No space left on device");
	assert_int_equal(fake.level, PFS_LOG_WARNING);
	bare_free(store);
}

/* ---- a real store ---- */

static struct pfs_sim *sim;

static struct pfs_store *real_store(uint64_t page_size)
{
	struct pfs_store *store;

	memset(&fake, 0, sizeof(fake));
	fake.version = "1";
	fake.trained = 600;
	fake.plain = fake.hc_plain = 100;
	fake.made = fake.hc_made = 50;
	fake.refined_len = 600;
	sim = pfs_sim_new();
	create_store(sim, page_size, 16);
	store = open_store(sim);
	store->logger = (struct pfs_logger){.fn = keep_line};
	return store;
}

static void real_end(struct pfs_store *store)
{
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* The first byte says which one it is. */
static void put_sample(struct pfs_store *store, const char *name, uint8_t first, size_t len)
{
	struct pfs_key key = key_named(name);
	uint8_t *bytes = malloc(len + 1);

	fill_document(bytes, len, 2u * first + 1);
	bytes[0] = first;
	assert_int_equal(pfs_put(store, &key, bytes, len, NULL, 0, NULL), 0);
	free(bytes);
}

static void count_picked(const struct samples *s, unsigned met[256])
{
	memset(met, 0, 256 * sizeof(met[0]));
	for (size_t i = 0, at = 0; i < s->count; at += s->lens[i++])
		met[s->bytes[at]]++;
}

/* Proves T1: however many there are, each point of up to a block is picked once, and nothing else.
 */
static void each_point_is_picked_once(void **state)
{
	struct pfs_store *store = real_store(PFS_MIB);
	struct samples s = samples_of(0, 0);
	unsigned met[256];

	(void)state;
	pick(store, &s);
	assert_int_equal(s.count, 0);
	for (unsigned n = 1; n < 40; n++) {
		char name[64];

		if (n % 3)
			snprintf(name, sizeof(name), "%u", n);
		else
			snprintf(name, sizeof(name), "00000000-0000-4000-8000-0000000000%02x", n);
		put_sample(store, name, (uint8_t)n, 10 + n);
		if (n == 20) {
			put_sample(store, ".x.swp", 200, 100);
			put_sample(store, "1000", 201, 8);
			put_sample(store, "1001", 202, PFS_BLOCK_LEN + 1);
			put_sample(store, "1002", 203, 9);
			put_sample(store, "1003", 204, PFS_BLOCK_LEN);
		}
		s.count = s.used = 5;
		pick(store, &s);
		count_picked(&s, met);
		for (unsigned i = 1; i < 256; i++)
			assert_int_equal(met[i],
					 i <= n || (n >= 20 && (i == 203 || i == 204)) ? 1 : 0);
		assert_int_equal(s.count, n + (n >= 20 ? 2 : 0));
	}
	/* Only what was put since then. */
	s.since = pfs_store_sequence(store);
	pick(store, &s);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.bytes[0], 39);
	s.since++;
	pick(store, &s);
	assert_int_equal(s.count, 0);
	samples_free(&s);
	real_end(store);
}

/* Proves: picking ends when there may be no room for another block, having taken all that fits. */
static void picking_ends_when_it_is_full(void **state)
{
	struct pfs_store *store = real_store(4 * PFS_MIB);
	struct samples s = samples_of(0, 0);

	(void)state;
	for (unsigned i = 0; i < 51; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", i);
		put_sample(store, name, (uint8_t)i, PFS_BLOCK_LEN);
	}
	pick(store, &s);
	assert_int_equal(s.count, 48);
	assert_int_equal(s.used, SAMPLES_BYTES_MAX);
	samples_free(&s);
	real_end(store);
}

static void put_many_samples(struct pfs_store *store, unsigned first, unsigned count, size_t len)
{
	for (unsigned i = 0; i < count; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", first + i);
		put_sample(store, name, (uint8_t)i, len);
	}
}

/* Proves T3: what has become due is done once, from what came since the newest dictionary if that
 * is enough, else from all. */
static void what_is_due_is_done(void **state)
{
	struct pfs_store *store = real_store(4 * PFS_MIB);
	struct pfs_dict dict = {.number = 1};

	(void)state;
	put_many_samples(store, 0, 999, 300);
	pfs_training_run(store);
	assert_int_equal(fake.count, 0);
	put_many_samples(store, 999, 1, 300);
	assert_true(store->raw_bytes >= PFS_TRAIN_RAW_MIN);
	assert_true(pfs_training_is_due(store));
	pfs_training_run(store);
	assert_int_equal(fake.count, 875);
	assert_int_equal(fake.added, 1);
	assert_int_equal(store->training.grow_at, 8 * 300000);
	assert_non_null(strstr(fake.line, "made from 1000 points"));
	assert_false(pfs_training_is_due(store));
	fake.count = 0;
	pfs_training_run(store);
	assert_int_equal(fake.count, 0);
	/* Since then, nothing; a part; enough. */
	give_dict(store, &dict);
	fake.now = 100;
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned counts[] = {875, 875, 770};

		dict.first_seq = pfs_store_sequence(store) - (i == 0 ? 0 : i == 1 ? 873 : 879) + 1;
		store->training.grow_at = 1;
		fake.made = i == 1 ? 91 : 50;
		pfs_training_run(store);
		assert_int_equal(fake.count, counts[i]);
		assert_int_equal(fake.added, i == 0 ? 2 : i == 1 ? 2 : 3);
	}
	take_dict(store);
	real_end(store);
}

/* Proves T2, T3: by hand, and from what is going to be put, too, what gains too little is not taken
 * unless by force, and an attempt counts as one. */
static void by_hand_it_is_the_same(void **state)
{
	struct pfs_store *store = real_store(4 * PFS_MIB);
	struct pfs_train_result r;
	size_t lens[40];
	char bytes[40 * 500];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	for (unsigned i = 0; i < 40; i++)
		lens[i] = 500;
	put_many_samples(store, 0, 100, 300);
	for (unsigned from = 0; from < 2; from++) {
		fake.made = 91;
		fake.added = 0;
		store->training.drift_at = PFS_MIB;
		store->training.grow_at = 5;
		store->training.raw = 7;
		assert_int_equal(from ? pfs_own_train_from(store, bytes, lens, 40, &r)
				      : pfs_own_train(store, false, &r),
				 -EALREADY);
		assert_int_equal(fake.added, 0);
		assert_int_equal(r.packed, 91 * (from ? 5 : 12));
		assert_int_equal(store->training.drift_at, 2 * PFS_MIB);
		assert_int_equal(store->training.grow_at, 2 * PFS_MIB);
		assert_int_equal(store->training.raw, 0);
		if (!from)
			assert_int_equal(pfs_own_train(store, true, &r), 0);
		fake.made = 90;
		assert_int_equal(from ? pfs_own_train_from(store, bytes, lens, 40, &r)
				      : pfs_own_train(store, false, &r),
				 0);
		assert_int_equal(fake.added, from ? 1 : 2);
		assert_int_equal(r.number, 40 + fake.added);
		assert_int_equal(store->training.drift_at, PFS_MIB);
	}
	real_end(store);
}

/* Proves T4: with so many dictionaries nothing is trained that nobody asked for, and it is not
 * tried each time. */
static void with_many_dictionaries_nothing_is_due(void **state)
{
	struct pfs_store *store = real_store(4 * PFS_MIB);
	struct pfs_dicts *had = store->dicts, *many;
	struct pfs_train_result r;
	size_t lens[40];
	char bytes[40 * 500];
	bool made;

	(void)state;
	many = calloc(1, sizeof(*many) + DICTS_MAX * sizeof(many->at[0]));
	for (unsigned i = 0; i < DICTS_MAX; i++)
		many->at[i] = calloc(1, sizeof(*many->at[i]));
	put_many_samples(store, 0, 1000, 300);
	memset(bytes, 'x', sizeof(bytes));
	for (unsigned i = 0; i < 40; i++)
		lens[i] = 500;
	store->dicts = many;
	for (unsigned count = DICTS_MAX; count >= DICTS_MAX - 1; count--) {
		bool room = count < DICTS_MAX;

		many->count = count;
		store->training.grow_at = 1;
		fake.added = 0;
		pfs_training_run(store);
		assert_int_equal(fake.added, room);
		assert_int_not_equal(store->training.grow_at, 1);
		assert_int_equal(pfs_own_train_from(store, bytes, lens, 40, &r),
				 room ? 0 : -EALREADY);
		assert_int_equal(r.samples, room ? 40 : 0);
		assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
		assert_int_equal(made, room);
		assert_int_equal(pfs_own_train(store, true, &r), 0);
		assert_int_equal(r.samples, 1000);
		assert_int_equal(r.sample_bytes, 300000);
	}
	store->dicts = had;
	for (unsigned i = 0; i < DICTS_MAX; i++)
		free(many->at[i]);
	free(many);
	real_end(store);
}

/* Proves T6: for packing it is tried when there is enough to train from, and room for a copy of all
 * that is there. */
static void when_packing_wants_one(void **state)
{
	struct pfs_store *store = real_store(4 * PFS_MIB);
	struct pfs_io_space space;
	uint64_t need;
	bool made;

	(void)state;
	put_many_samples(store, 0, 1000, 300);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_true(made);
	assert_int_equal(fake.refined, 1);
	assert_int_equal(store->training.grow_at, 8 * 300000);
	need = store->container_bytes + 1000 * 16 + 16 * PFS_MIB;
	/* So that it can be there exactly. */
	store->container_bytes += 4096 - need % 4096;
	need += 4096 - need % 4096;
	for (uint64_t room = need / 4096 - 1; room <= need / 4096 + 2; room++) {
		pfs_sim_set_capacity(sim, pfs_sim_used(sim) + 4096 * room);
		assert_int_equal(store->dir->ops->space(store->dir, &space), 0);
		assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
		assert_int_equal(made, space.available >= need);
	}
	pfs_sim_set_capacity(sim, 0);
	store->points--;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_false(made);
	store->points++;
	store->raw_bytes -= 300000 - PFS_TRAIN_RAW_MIN;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_true(made);
	store->raw_bytes--;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_false(made);
	store->raw_bytes += 300001 - PFS_TRAIN_RAW_MIN;
	/* Packing goes on with the dictionary that there is, unless it is to stop. */
	fake.refine_err = -ENOMEM;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), 0);
	assert_false(made);
	assert_non_null(strstr(fake.line, "failed: Cannot allocate memory"));
	fake.refine_err = -ECANCELED;
	store->training.grow_at = 5;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), -ECANCELED);
	assert_false(made);
	assert_int_equal(store->training.grow_at, 5);
	fake.refine_err = 0;
	fake.add_err = -EROFS;
	assert_int_equal(pfs_train_to_pack(store, NULL, &made), -EROFS);
	assert_false(made);
	real_end(store);
}

/* Proves: when the next training is due is known before one may begin, whatever came of this one.
 */
static void what_is_due_next_is_known_at_once(void **state)
{
	static const size_t lens[20] = {500};
	struct pfs_store *store = bare_store();
	uint8_t *bytes = calloc(20, 500);
	struct pfs_train_result r;

	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		store->training.drift_at = 100000;
		left_at = 0;
		if (way)
			assert_int_equal(pfs_own_train_from(store, bytes, lens, 20, &r), -ENODATA);
		else
			assert_int_equal(pfs_own_train_from(store, bytes, lens, 0, &r), -ENODATA);
		assert_int_equal(store->training.drift_at, 200000);
		assert_int_equal(left_at, 200000);
	}
	free(bytes);
	bare_free(store);
	store = real_store(PFS_MIB);
	store->training.drift_at = 100000;
	assert_int_equal(pfs_own_train(store, false, &r), -ENODATA);
	assert_int_equal(store->training.drift_at, 200000);
	assert_int_equal(left_at, 200000);
	real_end(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_counted),
		cmocka_unit_test(what_was_put_long_ago_fades),
		cmocka_unit_test(when_it_is_due),
		cmocka_unit_test(when_the_next_one_is_due),
		cmocka_unit_test(who_may_train),
		cmocka_unit_test(every_eighth_is_held_out),
		cmocka_unit_test(which_of_the_given_are_taken),
		cmocka_unit_test(how_much_a_dictionary_is_made_from),
		cmocka_unit_test(what_fails_makes_none),
		cmocka_unit_test(without_memory_nothing_is_made),
		cmocka_unit_test(picking_has_bounds),
		cmocka_unit_test(what_is_due_next_is_known_at_once),
		cmocka_unit_test(what_it_has_to_gain),
		cmocka_unit_test(what_it_has_to_gain_for_packing),
		cmocka_unit_test(what_is_said),
		cmocka_unit_test(each_point_is_picked_once),
		cmocka_unit_test(picking_ends_when_it_is_full),
		cmocka_unit_test(what_is_due_is_done),
		cmocka_unit_test(by_hand_it_is_the_same),
		cmocka_unit_test(with_many_dictionaries_nothing_is_due),
		cmocka_unit_test(when_packing_wants_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
