/* Snapshots beside everything that changes a store: each must go on showing exactly what a copy of
 * the model shows that was made when it was opened. */
#include <pthread.h>

#include "tests/model/model.h"

#define SHOTS 5
#define READERS 3

/* A snapshot, and what it must show. */
struct shot {
	struct pfs_snapshot *snapshot;
	struct doc docs[KEYS];
};

struct world {
	struct model m;
	struct shot shots[SHOTS];
};

/* Under sanitizers a part of it (TEST_SAMPLE), MODEL_SCALE times as much for a long run. */
static unsigned sampled(unsigned n)
{
	const char *sample = getenv("TEST_SAMPLE");
	unsigned part = sample ? (unsigned)atoi(sample) : 1;

	return scaled(n) / (part ? part : 1) + 1;
}

/* What is held is not in a snapshot: it shows what was there before. */
static void copy_logged(struct doc *to, const struct doc *from)
{
	const uint8_t *bytes = from->held ? from->before : from->bytes;

	*to = (struct doc){.there = from->there && (!from->held || from->before_there)};
	if (!to->there)
		return;
	to->len = from->held ? from->before_len : from->len;
	to->mode = from->held ? from->before_mode : from->mode;
	to->uid = from->held ? from->before_uid : from->uid;
	to->mtime_ns = from->held ? from->before_mtime_ns : from->mtime_ns;
	to->bytes = malloc(to->len + 1);
	assert_non_null(to->bytes);
	memcpy(to->bytes, bytes, to->len);
}

static void shot_open(struct model *m, struct shot *shot)
{
	for (unsigned i = 0; i < KEYS; i++)
		copy_logged(&shot->docs[i], &m->docs[i]);
	assert_int_equal(pfs_snapshot_open(m->store, &shot->snapshot), 0);
}

static void shot_close(struct shot *shot)
{
	pfs_snapshot_close(shot->snapshot);
	shot->snapshot = NULL;
	for (unsigned i = 0; i < KEYS; i++)
		doc_drop(&shot->docs[i]);
}

/* Not roll(): several threads compare at once. */
static uint64_t next(uint64_t *random, uint64_t n)
{
	*random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(*random) % n;
}

static void shot_compare_doc(const struct shot *shot, unsigned i, uint64_t *random)
{
	const struct doc *d = &shot->docs[i];
	struct pfs_key key = key_of(i);
	struct pfs_attr attr;
	uint8_t part[5000];
	size_t len, off;
	void *bytes;
	int err = pfs_snapshot_get(shot->snapshot, &key, &bytes, &len, &attr);

	if (!d->there) {
		assert_int_equal(err, -ENOENT);
		assert_int_equal(pfs_snapshot_lookup(shot->snapshot, &key, NULL), -ENOENT);
		return;
	}
	if (err)
		fail_msg("document %u: %d", i, err);
	assert_int_equal(len, d->len);
	assert_memory_equal(bytes, d->bytes, len);
	assert_true(attr_equal(&attr, d->mode, d->uid, d->mtime_ns));
	free(bytes);
	off = next(random, d->len + 1);
	assert_int_equal(pfs_snapshot_read(shot->snapshot, &key, off, part, sizeof(part)),
			 pfs_min_u64(sizeof(part), d->len - off));
	assert_memory_equal(part, d->bytes + off, pfs_min_u64(sizeof(part), d->len - off));
	assert_int_equal(pfs_snapshot_lookup(shot->snapshot, &key, &attr), 0);
	assert_int_equal(attr.size, d->len);
}

/* Every name that is there exactly once, in ascending places, whatever the batches. */
static void shot_compare_names(const struct shot *shot, uint64_t *random)
{
	struct pfs_snapshot_name names[KEYS + 1];
	struct pfs_snapshot_info info;
	unsigned seen[KEYS] = {0};
	uint64_t after = 0, points = 0, scratch = 0, raw = 0;
	ssize_t n;

	while ((n = pfs_snapshot_list(shot->snapshot, after, names, 1 + next(random, KEYS))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			unsigned k = 0;
			struct pfs_key key;

			assert_true(names[i].cookie > after);
			after = names[i].cookie;
			for (key = key_of(0); k + 1 < KEYS && !pfs_key_equal(&key, &names[i].key);)
				key = key_of(++k);
			assert_true(pfs_key_equal(&key, &names[i].key));
			seen[k]++;
		}
	}
	for (unsigned k = 0; k < KEYS; k++) {
		struct pfs_key key = key_of(k);

		assert_int_equal(seen[k], shot->docs[k].there);
		if (!shot->docs[k].there)
			continue;
		raw += shot->docs[k].len;
		if (pfs_key_is_point(&key))
			points++;
		else
			scratch++;
	}
	pfs_snapshot_info(shot->snapshot, &info);
	assert_int_equal(info.points, points);
	assert_int_equal(info.scratch, scratch);
	assert_int_equal(info.raw_bytes, raw);
}

static void shot_compare(const struct shot *shot, uint64_t *random)
{
	for (unsigned i = 0; i < KEYS; i++)
		shot_compare_doc(shot, i, random);
	shot_compare_names(shot, random);
}

static void close_all(struct world *w)
{
	struct pfs_store_stat stat;

	for (unsigned i = 0; i < SHOTS; i++) {
		if (w->shots[i].snapshot)
			shot_close(&w->shots[i]);
	}
	assert_int_equal(pfs_store_stat(w->m.store, &stat), 0);
	assert_int_equal(stat.snapshots, 0);
	assert_int_equal(stat.pinned_bytes, 0);
	check_open(&w->m);
}

/* ---- against the model ---- */

static void snapshot_step(struct world *w)
{
	struct shot *shot = &w->shots[roll(&w->m, SHOTS)];

	if (!shot->snapshot)
		shot_open(&w->m, shot);
	else if (roll(&w->m, 2))
		shot_close(shot);
	for (unsigned i = 0; i < SHOTS; i++) {
		if (w->shots[i].snapshot)
			shot_compare(&w->shots[i], &w->m.random);
	}
	check_open(&w->m);
}

static void begin(struct model *m, uint64_t seed)
{
	struct pfs_create_options create = {.page_size = m->page_size,
					    .min_value_size = m->min_value_size};
	struct pfs_reason reason;

	m->random = seed;
	m->sim = pfs_sim_new();
	assert_non_null(m->sim);
	create.io = pfs_sim_io(m->sim);
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	open_store(m);
}

static void end(struct model *m)
{
	compare(m);
	check_clean(m);
	compare(m);
	assert_int_equal(pfs_store_close(m->store), 0);
	pfs_sim_free(m->sim);
	for (unsigned i = 0; i < KEYS; i++)
		doc_drop(&m->docs[i]);
}

static void run(struct world *w, uint64_t seed, unsigned steps)
{
	begin(&w->m, seed);
	for (unsigned s = 1; s <= steps; s++) {
		step(&w->m);
		if (roll(&w->m, 8) == 0)
			snapshot_step(w);
		if (roll(&w->m, 40) == 0)
			compare(&w->m);
		if (roll(&w->m, 150) == 0) {
			close_all(w);
			reopen(&w->m, roll(&w->m, 2));
		}
	}
	close_all(w);
	end(&w->m);
}

/* Proves: with several snapshots open at once, each shows the documents of its moment, every one
 * and no other, beside all operations, checkpoints, compactions and new dictionaries; free space
 * stays exact, and all of it comes back. */
static void snapshots_equal_models(void **state)
{
	static const uint64_t page_sizes[] = {64 * PFS_KIB, PFS_MIB, 32 * PFS_MIB};

	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes); p++) {
		for (unsigned seed = 0; seed < sampled(2); seed++) {
			struct world w = {.m = {.page_size = page_sizes[p],
						.min_value_size = seed % 2 ? 16 : 128,
						.hold = seed % 2}};

			print_message("page size %llu, seed %u\n",
				      (unsigned long long)page_sizes[p], seed);
			run(&w, seed * 7919 + p, 500);
		}
	}
}

/* ---- changes while one is opened ---- */

struct meddler {
	struct world *w;
	bool at_work;
	unsigned changes;
};

/* As compaction moves it, packed anew or as it is, but its checkpoint is still to come. */
static void op_touch(struct model *m, unsigned i)
{
	const struct doc *d = &m->docs[i];
	struct pfs_packed packed = {0};
	struct pfs_codec_hc *hc;
	struct pfs_view view;
	uint64_t word;

	if (!d->there || d->held)
		return;
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	if (d->len <= PFS_BLOCK_LEN)
		assert_int_equal(pfs_repack(m->store, &packed, d->bytes, d->len, hc), 0);
	pfs_write_enter(m->store);
	word = pfs_index_word(m->store->index, object_of(m, i));
	if (pfs_word_is_page(word)) {
		assert_int_equal(pfs_view(m->store, word, &view), 0);
		if (d->len <= PFS_BLOCK_LEN && roll(m, 2))
			assert_int_equal(
				pfs_repack_object(m->store, object_of(m, i), view.seq, &packed), 0);
		else
			assert_int_equal(pfs_touch_object(m->store, object_of(m, i)), 0);
	}
	pfs_write_leave(m->store);
	pfs_packed_free(&packed);
	pfs_codec_hc_free(hc);
}

static void meddle(struct model *m)
{
	unsigned i = (unsigned)roll(m, KEYS);

	switch (roll(m, 6)) {
	case 0: op_put(m, i); break;
	case 1: op_remove(m, i); break;
	case 2: op_rename(m, i, (unsigned)roll(m, KEYS)); break;
	case 3: op_touch(m, i); break;
	default:
		if (m->docs[i].there)
			op_write(m, i);
	}
}

/* Other calls of the store may be made where the checkpoint does not hold the commit lock. */
static int meddle_at_step(void *arg, const struct pfs_sim_step *step)
{
	struct meddler *meddler = arg;
	struct model *m = &meddler->w->m;

	if (meddler->at_work || step->kind != PFS_SIM_SYNC ||
	    pthread_mutex_trylock(&m->store->commit) != 0)
		return 0;
	pthread_mutex_unlock(&m->store->commit);
	meddler->at_work = true;
	for (unsigned n = 0; n < 4; n++)
		meddle(m);
	for (unsigned i = 0; i < SHOTS; i++) {
		if (meddler->w->shots[i].snapshot)
			shot_compare(&meddler->w->shots[i], &m->random);
	}
	meddler->changes += 4;
	meddler->at_work = false;
	return 0;
}

/* Proves: what is changed at any step of the checkpoint that a snapshot begins with is not in it,
 * and older snapshots are not disturbed; values on their way to the pages, large ones and those
 * that compaction is moving among them. */
static void changes_while_it_is_opened(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < sampled(30); seed++) {
		struct world w = {
			.m = {.page_size = 64 * PFS_KIB << seed % 3 * 4, .min_value_size = 16}};
		struct meddler meddler = {.w = &w};

		begin(&w.m, seed + 100);
		for (unsigned i = 0; i < SHOTS; i++) {
			for (unsigned n = 0; n < 25; n++)
				meddle(&w.m);
			pfs_sim_on_step(w.m.sim, meddle_at_step, &meddler);
			shot_open(&w.m, &w.shots[i]);
			pfs_sim_on_step(w.m.sim, NULL, NULL);
			for (unsigned k = 0; k <= i; k++)
				shot_compare(&w.shots[k], &w.m.random);
			check_open(&w.m);
		}
		assert_true(meddler.changes > 0);
		assert_int_equal(pfs_store_checkpoint(w.m.store), 0);
		for (unsigned i = 0; i < SHOTS; i++) {
			unsigned k = (i * 3 + seed) % SHOTS;

			shot_compare(&w.shots[k], &w.m.random);
			shot_close(&w.shots[k]);
		}
		close_all(&w);
		end(&w.m);
	}
}

/* ---- readers beside ---- */

struct reader {
	pthread_t thread;
	struct shot shot;
	uint64_t random;
	bool stop; /* atomic */
};

static void *read_on(void *arg)
{
	struct reader *r = arg;

	do
		shot_compare(&r->shot, &r->random);
	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE));
	shot_close(&r->shot);
	return NULL;
}

static void reader_start(struct model *m, struct reader *r, uint64_t seed)
{
	*r = (struct reader){.random = seed};
	shot_open(m, &r->shot);
	assert_int_equal(pthread_create(&r->thread, NULL, read_on, r), 0);
}

static void reader_stop(struct reader *r)
{
	__atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
}

/* Proves: the same for readers in threads of their own, which open and close in any order while the
 * store is changed, checkpointed and compacted. */
static void readers_see_their_moment(void **state)
{
	struct model m = {.page_size = 256 * PFS_KIB, .min_value_size = 16, .hold = true};
	struct reader readers[READERS];
	unsigned steps = sampled(600);

	(void)state;
	begin(&m, 4711);
	for (unsigned i = 0; i < READERS; i++)
		reader_start(&m, &readers[i], i);
	for (unsigned s = 1; s <= steps; s++) {
		step(&m);
		if (s % 40 == 0) {
			struct reader *r = &readers[roll(&m, READERS)];

			reader_stop(r);
			reader_start(&m, r, s);
		}
	}
	for (unsigned i = 0; i < READERS; i++)
		reader_stop(&readers[i]);
	check_open(&m);
	end(&m);
}

/* ---- one moment ---- */

#define ROUND_KEYS 24
#define ROUND_MARKS 4 /* in a large document, one a block */

struct rounds {
	struct pfs_store *store;
	uint32_t large;
	uint64_t done; /* atomic: rounds that are over */
	bool stop;     /* atomic */
};

/* Each round changes everything once, always in the same order. */
static void *write_rounds(void *arg)
{
	struct rounds *r = arg;

	for (uint64_t round = 1; !__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE); round++) {
		assert_int_equal(pfs_write(r->store, r->large, round % ROUND_MARKS * PFS_BLOCK_LEN,
					   &round, sizeof(round), 1),
				 0);
		for (uint64_t k = 0; k < ROUND_KEYS; k++) {
			struct pfs_key key = pfs_key_num(k);

			assert_int_equal(pfs_put(r->store, &key, &round, sizeof(round), NULL,
						 round % 2 ? PFS_PUT_NEW_OBJECT : 0, NULL),
					 0);
		}
		__atomic_store_n(&r->done, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

static uint64_t round_of(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t off)
{
	uint64_t round = 0;

	assert_int_equal(pfs_snapshot_read(snapshot, key, off, &round, sizeof(round)),
			 sizeof(round));
	return round;
}

/* One round that is not over may be seen: those before it, in their order, have it, the others
 * have the one before. */
static void expect_one_moment(struct pfs_snapshot *snapshot)
{
	struct pfs_key large = key_of(KEYS - 1), key;
	uint64_t newest = 0, last;

	for (unsigned i = 0; i < ROUND_MARKS; i++)
		newest = pfs_max_u64(newest, round_of(snapshot, &large, i * PFS_BLOCK_LEN));
	for (uint64_t i = 0; i < pfs_min_u64(ROUND_MARKS, newest); i++)
		assert_int_equal(
			round_of(snapshot, &large, (newest - i) % ROUND_MARKS * PFS_BLOCK_LEN),
			newest - i);
	last = newest;
	for (uint64_t k = 0; k < ROUND_KEYS; k++) {
		uint64_t round;

		key = pfs_key_num(k);
		round = round_of(snapshot, &key, 0);
		assert_true(round == last || (round + 1 == last && last == newest));
		last = round;
	}
}

/* Proves: whatever a writer in another thread is doing, and the store's own threads, a snapshot is
 * one moment of it: read at once, and later again. */
static void a_snapshot_is_one_moment(void **state)
{
	struct model m = {.page_size = 4 * PFS_MIB, .min_value_size = 16};
	struct pfs_open_options options = {.commit_ms = 5};
	struct pfs_key large = key_of(KEYS - 1);
	struct rounds r = {0};
	struct pfs_reason reason;
	struct pfs_store_stat stat;
	uint8_t *zeros = calloc(ROUND_MARKS, PFS_BLOCK_LEN);
	pthread_t writer;

	(void)state;
	begin(&m, 1);
	assert_int_equal(pfs_store_close(m.store), 0);
	options.io = pfs_sim_io(m.sim);
	assert_int_equal(pfs_store_open(&r.store, "/s", &options, &reason), 0);
	assert_int_equal(
		pfs_put(r.store, &large, zeros, ROUND_MARKS * PFS_BLOCK_LEN, NULL, 0, NULL), 0);
	for (uint64_t k = 0; k < ROUND_KEYS; k++) {
		struct pfs_key key = pfs_key_num(k);

		assert_int_equal(pfs_put(r.store, &key, zeros, sizeof(uint64_t), NULL, 0, NULL), 0);
	}
	assert_int_equal(pfs_lookup(r.store, &large, &r.large, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_rounds, &r), 0);
	for (unsigned i = 0; i < sampled(150); i++) {
		struct pfs_snapshot *snapshot;
		uint64_t from = __atomic_load_n(&r.done, __ATOMIC_ACQUIRE);

		assert_int_equal(pfs_snapshot_open(r.store, &snapshot), 0);
		assert_true(round_of(snapshot, &large, from % ROUND_MARKS * PFS_BLOCK_LEN) >= from);
		for (unsigned n = 0; n < 4; n++)
			expect_one_moment(snapshot);
		pfs_snapshot_close(snapshot);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(pfs_store_stat(r.store, &stat), 0);
	assert_int_equal(stat.pinned_bytes, 0);
	assert_int_equal(pfs_store_close(r.store), 0);
	free(zeros);
	pfs_sim_free(m.sim);
}

/* ---- a change during a look ---- */

#define LOOK_KEYS 1000

static void *write_at_random(void *arg)
{
	struct rounds *r = arg;
	uint64_t random = 1;

	for (uint64_t n = 1; !__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE); n++) {
		struct pfs_key key = pfs_key_num(next(&random, LOOK_KEYS));

		if (n % 3)
			assert_int_equal(pfs_put(r->store, &key, &n, sizeof(n), NULL, 0, NULL), 0);
		else
			(void)pfs_remove(r->store, &key, NULL);
	}
	return NULL;
}

/* Proves: what a first look shows, for which nothing is kept yet and which a change may overtake at
 * any moment, a second look shows, too. */
static void looks_agree(void **state)
{
	struct model m = {.page_size = 4 * PFS_MIB, .min_value_size = 16};
	struct pfs_open_options options = {.commit_ms = 5};
	uint64_t *first = calloc(LOOK_KEYS, sizeof(*first));
	struct rounds r = {0};
	struct pfs_reason reason;
	pthread_t writer;

	(void)state;
	begin(&m, 1);
	assert_int_equal(pfs_store_close(m.store), 0);
	options.io = pfs_sim_io(m.sim);
	assert_int_equal(pfs_store_open(&r.store, "/s", &options, &reason), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_at_random, &r), 0);
	for (unsigned i = 0; i < sampled(250); i++) {
		struct pfs_snapshot *snapshot;

		assert_int_equal(pfs_snapshot_open(r.store, &snapshot), 0);
		for (unsigned look = 0; look < 2; look++) {
			for (uint64_t k = 0; k < LOOK_KEYS; k++) {
				struct pfs_key key = pfs_key_num(k);
				uint64_t value = 0;
				ssize_t n = pfs_snapshot_read(snapshot, &key, 0, &value, 8);

				assert_true(n == 8 || n == -ENOENT);
				/* On an error the buffer may hold anything. */
				value = n == 8 ? value : 0;
				if (look)
					assert_int_equal(value, first[k]);
				first[k] = value;
			}
		}
		pfs_snapshot_close(snapshot);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(pfs_store_close(r.store), 0);
	free(first);
	pfs_sim_free(m.sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshots_equal_models),
		cmocka_unit_test(changes_while_it_is_opened),
		cmocka_unit_test(readers_see_their_moment),
		cmocka_unit_test(a_snapshot_is_one_moment),
		cmocka_unit_test(looks_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
