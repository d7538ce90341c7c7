/* Training: a dictionary from what the store holds, and when it is time for one.
 *
 * T1: samples are points of up to a block, spread over the store; of those, every HOLD_OUT-th is
 * left out of the training, and says what the dictionary is worth. T2: one that does not pack these
 * by GAIN better than what new values are packed with now is not taken. T3: by itself, the store
 * trains for the first time when there are enough points, and again when it holds GROWTH times as
 * much as there was when a dictionary was made from few, or when new values pack by DRIFT
 * worse than was promised. Each attempt that brings nothing doubles what has to be written before
 * the next one. T4: not with more than DICTS_MAX dictionaries, all of which somebody needs. T5: a
 * value that takes the smallest container anyway is no sample, and is not counted: what it packs to
 * is no gain. T6: a full compaction, which packs with LZ4HC and all that is there, makes the
 * dictionary for that anew: refined, and judged by what containers take with LZ4HC. Where there is
 * a dictionary it has to gain only PACK_GAIN, since no room is lost by it: of a second dictionary
 * from as much, made by the same means, that is more than chance gives. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/refine.h"
#include "storage/store_pack.h"
#include "storage/train.h"

#define SAMPLES_BYTES_MAX (3 * PFS_MIB)
#define SAMPLES_MAX 65536u
#define PICKS_MAX 200000u /* objects looked at */
#define DICT_SHARE 8	  /* a dictionary is no longer than this part of its samples */
#define DICT_LEN_MIN 1024
#define HOLD_OUT 8
#define GAIN_NUM 9 /* 10 % */
#define GAIN_DEN 10
#define PACK_GAIN_NUM 63 /* 1.6 % */
#define PACK_GAIN_DEN 64
#define DRIFT_NUM 5 /* 25 % */
#define DRIFT_DEN 4
#define DRIFT_RAW_MIN PFS_MIB
#define DRIFT_SPAN 4 /* times that: values older than about this count less and less */
#define DRIFT_RAW_MAX (64 * PFS_MIB)
#define GROWTH 8
#define DICTS_MAX 16

struct samples {
	uint8_t *bytes; /* SAMPLES_BYTES_MAX */
	size_t *lens;	/* SAMPLES_MAX */
	size_t count, used;
	uint64_t since; /* only versions from this sequence on */
};

_Static_assert(PFS_TRAIN_FROM_BYTES <= SAMPLES_BYTES_MAX &&
		       PFS_TRAIN_FROM_BYTES > SAMPLES_BYTES_MAX / 2,
	       "as good as a sample of a store: it is not made anew because the store grows");

static int samples_new(struct samples *s)
{
	*s = (struct samples){.bytes = malloc(SAMPLES_BYTES_MAX),
			      .lens = malloc(SAMPLES_MAX * sizeof(*s->lens))};
	return s->bytes && s->lens ? 0 : -ENOMEM;
}

static void samples_free(struct samples *s)
{
	free(s->bytes);
	free(s->lens);
}

/* ---- picking ---- */

/* Whether the object is a point that a dictionary is for. */
static bool is_sample(struct pfs_store *store, uint32_t object, const struct samples *s)
{
	struct pfs_view view;
	bool is = false;

	pfs_epoch_enter();
	if (pfs_view(store, pfs_index_word(store->index, object), &view) == 0)
		is = (view.kind == PFS_KEY_NUM || view.kind == PFS_KEY_UUID) &&
		     view.size <= PFS_BLOCK_LEN && pfs_is_worth_packing(store, view.size) &&
		     view.seq >= s->since;
	pfs_epoch_leave();
	return is;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Points from all over the store, each at most once. */
static void pick(struct pfs_store *store, struct samples *s)
{
	uint32_t range = pfs_index_end(store->index) - PFS_OBJECT_FIRST, step, at;

	s->count = s->used = 0;
	if (!range)
		return;
	/* Steps that have no factor in common with the range meet every object. */
	for (step = (uint32_t)(range * 0.618) + 1; gcd(step, range) != 1; step++)
		;
	at = (uint32_t)(pfs_mix64((uint64_t)pfs_now_monotonic()) % range);
	for (uint32_t i = 0; i < range && i < PICKS_MAX && s->count < SAMPLES_MAX; i++) {
		size_t room = SAMPLES_BYTES_MAX - s->used;
		ssize_t n;

		at = (uint32_t)(((uint64_t)at + step) % range);
		if (!is_sample(store, PFS_OBJECT_FIRST + at, s))
			continue;
		if (room < PFS_BLOCK_LEN)
			break;
		n = pfs_read(store, PFS_OBJECT_FIRST + at, 0, s->bytes + s->used, PFS_BLOCK_LEN);
		if (n <= 0)
			continue;
		s->lens[s->count++] = (size_t)n;
		s->used += (size_t)n;
	}
}

/* ---- making ---- */

static bool is_held_out(size_t i)
{
	return i % HOLD_OUT == HOLD_OUT - 1;
}

/* Moves the samples that are held out behind the others: so many, and so many bytes of them, are
 * left in front. -ENOMEM. */
static int part(struct samples *s, size_t *front, size_t *front_bytes)
{
	uint8_t *bytes = malloc(s->used + 1);
	size_t *lens = malloc((s->count + 1) * sizeof(*lens)), at = 0, n = 0;

	for (unsigned back = 0; back < 2 && bytes && lens; back++) {
		size_t from = 0;

		for (size_t i = 0; i < s->count; from += s->lens[i++]) {
			if (is_held_out(i) != back)
				continue;
			memcpy(bytes + at, s->bytes + from, s->lens[i]);
			at += s->lens[i];
			lens[n++] = s->lens[i];
		}
		if (!back) {
			*front = n;
			*front_bytes = at;
		}
	}
	if (!bytes || !lens) {
		free(bytes);
		free(lens);
		return -ENOMEM;
	}
	samples_free(s);
	s->bytes = bytes;
	s->lens = lens;
	return 0;
}

/* What for, and how. */
struct purpose {
	bool force;   /* whatever it gains */
	bool packing; /* T6 */
	const bool *stop;
};

/* The samples that are held out. */
struct held_out {
	const struct samples *samples;
	size_t first, at; /* the first of them, and where it begins */
	uint8_t *room;	  /* PFS_BLOCK_LEN */
};

/* What they take when they are packed. */
static uint64_t packed_size(const struct held_out *h, const struct pfs_codec_dict *codec)
{
	const struct samples *s = h->samples;
	uint64_t sum = 0;

	for (size_t i = h->first, at = h->at; i < s->count; at += s->lens[i++]) {
		size_t n = pfs_codec_pack(h->room, PFS_BLOCK_LEN, s->bytes + at, s->lens[i], codec);

		sum += n ? n : s->lens[i];
	}
	return sum;
}

/* What their containers take when they are packed with LZ4HC. */
static uint64_t containers_size(struct pfs_store *store, const struct held_out *h,
				struct pfs_codec_hc *hc, const struct pfs_codec_dict *codec)
{
	const struct samples *s = h->samples;
	uint64_t sum = 0;

	for (size_t i = h->first, at = h->at; i < s->count; at += s->lens[i++]) {
		size_t n = pfs_codec_pack_hc(hc, h->room, PFS_BLOCK_LEN, s->bytes + at, s->lens[i],
					     codec);

		sum += pfs_container_len_usual(store, n ? n : s->lens[i]);
	}
	return sum;
}

/* -EALREADY: it gains too little for a full compaction. */
static int judge_packing(struct pfs_store *store, const struct held_out *h,
			 const struct pfs_codec_dict *now, const struct pfs_codec_dict *made)
{
	struct pfs_codec_hc *hc;
	uint64_t before, after;
	int err = pfs_codec_hc_new(&hc);

	if (err)
		return err;
	before = containers_size(store, h, hc, now);
	after = containers_size(store, h, hc, made);
	pfs_codec_hc_free(hc);
	if (now)
		return after * PACK_GAIN_DEN > before * PACK_GAIN_NUM ? -EALREADY : 0;
	return after * GAIN_DEN > before * GAIN_NUM ? -EALREADY : 0;
}

/* -EALREADY: it gains too little. */
static int judge(struct pfs_store *store, const struct samples *s, size_t front, size_t front_bytes,
		 const uint8_t *bytes, size_t len, const struct purpose *purpose,
		 struct pfs_train_result *result)
{
	struct held_out h = {s, front, front_bytes, malloc(PFS_BLOCK_LEN)};
	struct pfs_codec_dict *codec;
	struct pfs_dict *now;
	int err = h.room ? pfs_codec_dict_new(&codec, bytes, len) : -ENOMEM;

	if (!err) {
		now = pfs_dict_hold(store);
		result->raw = s->used - front_bytes;
		/* With LZ4 also for packing: what new values are going to be measured by. */
		result->before = packed_size(&h, now ? now->codec : NULL);
		result->packed = packed_size(&h, codec);
		if (purpose->packing)
			err = judge_packing(store, &h, now ? now->codec : NULL, codec);
		else if (!purpose->force && result->packed * GAIN_DEN > result->before * GAIN_NUM)
			err = -EALREADY;
		pfs_dict_let_go(now);
		pfs_codec_dict_free(codec);
	}
	free(h.room);
	return err;
}

/* From the samples that are there. */
static int make(struct pfs_store *store, struct samples *s, const struct purpose *purpose,
		struct pfs_train_result *result)
{
	size_t front = 0, front_bytes = 0, cap, len = 0;
	uint8_t *dict;
	ssize_t made;
	int err;

	result->samples = s->count;
	result->sample_bytes = s->used;
	cap = pfs_min_u64(PFS_CODEC_DICT_MAX, s->used / DICT_SHARE);
	if (s->count < 2 * HOLD_OUT || cap < DICT_LEN_MIN)
		return -ENODATA;
	err = part(s, &front, &front_bytes);
	dict = err ? NULL : malloc(cap);
	if (!dict)
		return -ENOMEM;
	made = pfs_train_samples(dict, cap, s->bytes, s->lens, front);
	if (made < 0)
		err = (int)made;
	else
		len = (size_t)made;
	if (!err && purpose->packing)
		err = pfs_refine(dict, &len, cap, s->bytes, s->lens, front, purpose->stop);
	if (!err)
		err = judge(store, s, front, front_bytes, dict, len, purpose, result);
	if (!err)
		err = pfs_dict_add(store, dict, len, result->raw, result->packed);
	free(dict);
	if (!err) {
		result->length = len;
		result->number = store->super.dict_highest;
	}
	return err;
}

static int train(struct pfs_store *store, uint64_t since, const struct purpose *purpose,
		 struct pfs_train_result *result)
{
	struct samples s;
	int err = samples_new(&s);

	if (!err) {
		s.since = since;
		pick(store, &s);
		/* Too few are new. */
		if (since && s.used < PFS_TRAIN_RAW_MIN) {
			s.since = 0;
			pick(store, &s);
		}
		err = make(store, &s, purpose, result);
	}
	samples_free(&s);
	return err;
}

/* After an attempt: when the next one is due. */
static void settle(struct pfs_store *store, bool made, uint64_t sample_bytes)
{
	pthread_mutex_lock(&store->commit);
	store->training.raw = store->training.packed = 0;
	store->training.drift_at =
		made ? DRIFT_RAW_MIN : pfs_min_u64(DRIFT_RAW_MAX, 2 * store->training.drift_at);
	store->training.grow_at =
		made && sample_bytes > SAMPLES_BYTES_MAX / 2
			? UINT64_MAX
			: GROWTH * pfs_max_u64(pfs_max_u64(store->raw_bytes, sample_bytes),
					       PFS_TRAIN_RAW_MIN);
	pthread_mutex_unlock(&store->commit);
}

const char *pfs_store_trainer(void)
{
	return pfs_train_version();
}

static int may_train(const struct pfs_store *store)
{
	if (!pfs_store_is_writable(store))
		return -EROFS;
	if (store->dict_off)
		return -EPERM;
	return pfs_train_version() ? 0 : -EOPNOTSUPP;
}

int pfs_own_train(struct pfs_store *store, bool force, struct pfs_train_result *result)
{
	const struct purpose purpose = {.force = force};
	int err = may_train(store);

	*result = (struct pfs_train_result){0};
	if (err)
		return err;
	pthread_mutex_lock(&store->train_lock);
	err = train(store, 0, &purpose, result);
	settle(store, !err, result->sample_bytes);
	pthread_mutex_unlock(&store->train_lock);
	return err;
}

/* Takes those of the given samples that are any (T1). */
static void take(const struct pfs_store *store, struct samples *s, const uint8_t *bytes,
		 const size_t *lens, size_t count)
{
	size_t room = PFS_TRAIN_FROM_BYTES;

	for (size_t i = 0; i < count && lens[i] <= room; i++) {
		if (s->count < PFS_TRAIN_FROM_COUNT && lens[i] <= PFS_BLOCK_LEN &&
		    pfs_is_worth_packing(store, lens[i])) {
			memcpy(s->bytes + s->used, bytes, lens[i]);
			s->lens[s->count++] = lens[i];
			s->used += lens[i];
		}
		room -= lens[i];
		bytes += lens[i];
	}
}

/* Whether there may be one more that nobody asked for (T4). */
static bool has_room(struct pfs_store *store)
{
	bool room;

	pthread_mutex_lock(&store->commit);
	room = store->dicts->count < DICTS_MAX;
	pthread_mutex_unlock(&store->commit);
	return room;
}

int pfs_own_train_from(struct pfs_store *store, const void *samples, const size_t *lens,
		       size_t count, struct pfs_train_result *result)
{
	const struct purpose purpose = {0};
	struct samples s = {0};
	int err = may_train(store);

	*result = (struct pfs_train_result){0};
	if (!err)
		err = samples_new(&s);
	if (!err) {
		take(store, &s, samples, lens, count);
		pthread_mutex_lock(&store->train_lock);
		err = has_room(store) ? make(store, &s, &purpose, result) : -EALREADY;
		settle(store, !err, result->sample_bytes);
		pthread_mutex_unlock(&store->train_lock);
	}
	samples_free(&s);
	return err;
}

/* Logs what came of a training that nobody hears of otherwise. */
static void tell(struct pfs_store *store, int err, const struct pfs_train_result *result)
{
	if (!err)
		pfs_logf(&store->logger, PFS_LOG_INFO,
			 "dictionary %u of %llu bytes made from %llu points: %llu bytes of others "
			 "take %llu instead of %llu",
			 result->number, (unsigned long long)result->length,
			 (unsigned long long)result->samples, (unsigned long long)result->raw,
			 (unsigned long long)result->packed, (unsigned long long)result->before);
	else if (err != -EALREADY && err != -ENODATA && err != -ECANCELED)
		pfs_logf(&store->logger, PFS_LOG_WARNING, "training a dictionary failed: %s",
			 strerror(-err));
}

/* ---- by itself ---- */

void pfs_training_begin(struct pfs_store *store)
{
	/* Of the samples one in HOLD_OUT was held out. */
	uint64_t samples = store->dict ? store->dict->raw * HOLD_OUT : 0;

	store->training.drift_at = DRIFT_RAW_MIN;
	store->training.grow_at = PFS_TRAIN_RAW_MIN;
	if (store->dict)
		store->training.grow_at =
			samples > SAMPLES_BYTES_MAX / 2 ? UINT64_MAX : GROWTH * samples;
}

void pfs_training_count(struct pfs_store *store, const struct pfs_packed *packed)
{
	if (packed->repacked || (packed->flags & PFS_CONTAINER_BLOCKS) ||
	    !pfs_is_worth_packing(store, packed->raw_len))
		return;
	/* What was put long ago does not hide what is put now. */
	if (store->training.raw >= DRIFT_SPAN * store->training.drift_at) {
		store->training.raw /= 2;
		store->training.packed /= 2;
	}
	store->training.raw += packed->raw_len;
	store->training.packed += packed->body_len;
}

bool pfs_training_is_due(const struct pfs_store *store)
{
	const struct pfs_dict *dict = store->dict;

	if (store->dict_off || store->points < PFS_TRAIN_POINTS_MIN)
		return false;
	if (store->raw_bytes >= store->training.grow_at)
		return pfs_train_version() != NULL;
	if (!dict || !dict->raw || store->training.raw < store->training.drift_at)
		return false;
	/* packed / raw is worse than what was promised. */
	return pfs_train_version() &&
	       (double)store->training.packed * (double)dict->raw * DRIFT_DEN >
		       (double)store->training.raw * (double)dict->packed * DRIFT_NUM;
}

void pfs_training_run(struct pfs_store *store)
{
	const struct purpose purpose = {0};
	struct pfs_train_result result = {0};
	uint64_t since = 0;
	int err = -EALREADY;
	bool due;

	if (!pfs_store_is_writable(store))
		return;
	pthread_mutex_lock(&store->train_lock);
	pthread_mutex_lock(&store->commit);
	/* Another training may have done it meanwhile. */
	due = pfs_training_is_due(store);
	/* What is written now is what the next dictionary is for. */
	if (store->dict)
		since = store->dict->first_seq;
	pthread_mutex_unlock(&store->commit);
	if (due && has_room(store))
		err = train(store, since, &purpose, &result);
	if (due)
		settle(store, !err, result.sample_bytes);
	pthread_mutex_unlock(&store->train_lock);
	tell(store, err, &result);
}

/* ---- for a full compaction ---- */

/* Enough to train from, and room to write all of it anew, without which what is there keeps the
 * dictionary that it has. */
static bool is_worth_a_look(struct pfs_store *store)
{
	struct pfs_io_space space;
	uint64_t copy;
	bool enough;

	pthread_mutex_lock(&store->commit);
	enough = store->points >= PFS_TRAIN_POINTS_MIN && store->raw_bytes >= PFS_TRAIN_RAW_MIN &&
		 store->dicts->count < DICTS_MAX;
	copy = store->container_bytes + store->points * PFS_SLOT_LEN +
	       2 * PFS_COMPACT_UNAPPLIED_BYTES;
	pthread_mutex_unlock(&store->commit);
	return enough && store->dir->ops->space(store->dir, &space) == 0 && space.available >= copy;
}

int pfs_train_to_pack(struct pfs_store *store, const bool *stop, bool *made)
{
	const struct purpose purpose = {.packing = true, .stop = stop};
	struct pfs_train_result result = {0};
	int err = may_train(store);

	*made = false;
	if (err)
		return err == -EROFS ? err : 0;
	pthread_mutex_lock(&store->train_lock);
	err = is_worth_a_look(store) ? train(store, 0, &purpose, &result) : -EALREADY;
	if (!err)
		settle(store, true, result.sample_bytes);
	pthread_mutex_unlock(&store->train_lock);
	*made = !err;
	tell(store, err, &result);
	/* With the dictionary that there is packing goes on as well. */
	return err == -EROFS || err == -ECANCELED ? err : 0;
}
