/* Several documents put at once, against the same put one by one, and against a disk that fails. */
#include <pthread.h>

#include "storage/store_names.h"
#include "storage/team.h"
#include "tests/unit/fenced.h"

static void note_throttle(size_t len, bool large);
static int prepare_or_fail(struct pfs_store *store, struct pfs_change *change, uint32_t object,
			   const struct pfs_key *key, const struct pfs_packed *packed,
			   const struct pfs_attr *attr, uint64_t displaced);
static int reserve_or_fail(struct pfs_index *index, uint64_t n);
static void use_reserved(void);
static bool begin_ahead(struct pfs_team *team, pfs_team_fn *fn, void *arg, size_t jobs,
			size_t places);
static void wait_ahead(struct pfs_team *team, size_t job);
static size_t end_ahead(struct pfs_team *team);

#define pfs_write_throttle(store, len, large) \
	(note_throttle(len, large), pfs_write_throttle(store, len, large))
#define pfs_put_prepare prepare_or_fail
#define pfs_index_reserve reserve_or_fail
#define pfs_index_insert(...) (use_reserved(), pfs_index_insert(__VA_ARGS__))
#define pfs_team_begin begin_ahead
#define pfs_team_wait wait_ahead
#define pfs_team_end end_ahead
#include "storage/store_put_many.c"
#undef pfs_write_throttle
#undef pfs_put_prepare
#undef pfs_index_reserve
#undef pfs_index_insert
#undef pfs_team_begin
#undef pfs_team_wait
#undef pfs_team_end
#undef malloc
#undef calloc
#undef realloc
#undef free

#include "storage/key.h"
#include "tests/unit/store_helpers.h"

/* ---- on its way ---- */

/* What writers of groups say of what comes. */
static struct {
	uint64_t bytes;
	unsigned calls, large;
} throttled;

static void note_throttle(size_t len, bool large)
{
	__atomic_fetch_add(&throttled.bytes, len, __ATOMIC_RELAXED);
	__atomic_fetch_add(&throttled.calls, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&throttled.large, large, __ATOMIC_RELAXED);
}

static unsigned prepares_left; /* until one fails; 0: none does */

static int prepare_or_fail(struct pfs_store *store, struct pfs_change *change, uint32_t object,
			   const struct pfs_key *key, const struct pfs_packed *packed,
			   const struct pfs_attr *attr, uint64_t displaced)
{
	assert_int_equal(displaced, 0);
	if (prepares_left && --prepares_left == 0)
		return -ENOMEM;
	return pfs_put_prepare(store, change, object, key, packed, attr, displaced);
}

static _Thread_local uint64_t reserved; /* names that need no memory */
static unsigned reserves_left;		/* until one fails; 0: none does */

static int reserve_or_fail(struct pfs_index *index, uint64_t n)
{
	int err = reserves_left && --reserves_left == 0 ? -ENOMEM : pfs_index_reserve(index, n);

	if (!err)
		reserved = n;
	return err;
}

static void use_reserved(void)
{
	assert_true(reserved > 0);
	reserved--;
}

/* A team whose others are as far ahead as they may be, whenever one looks. */
static struct {
	bool on;
	pfs_team_fn *fn;
	void *arg;
	size_t jobs, places, done;
	unsigned runs; /* of any team */
} ahead;

static void pack_ahead(size_t end)
{
	for (; ahead.done < ahead.jobs && ahead.done < end; ahead.done++)
		ahead.fn(ahead.arg, ahead.done);
}

static bool begin_ahead(struct pfs_team *team, pfs_team_fn *fn, void *arg, size_t jobs,
			size_t places)
{
	__atomic_fetch_add(&ahead.runs, 1, __ATOMIC_RELAXED);
	if (!ahead.on)
		return pfs_team_begin(team, fn, arg, jobs, places);
	ahead.fn = fn;
	ahead.arg = arg;
	ahead.jobs = jobs;
	ahead.places = places;
	ahead.done = 0;
	pack_ahead(places);
	return true;
}

static void wait_ahead(struct pfs_team *team, size_t job)
{
	if (ahead.on)
		pack_ahead(job + ahead.places);
	else
		pfs_team_wait(team, job);
}

static size_t end_ahead(struct pfs_team *team)
{
	return ahead.on ? ahead.done : pfs_team_end(team);
}

/* ---- what is put ---- */

enum { COUNT = 400 };

struct list {
	struct pfs_put_item items[COUNT];
	struct pfs_attr attrs[COUNT];
	size_t count;
};

static struct list *new_list(void)
{
	struct list *list = calloc(1, sizeof(*list));

	assert_non_null(list);
	return list;
}

static void free_list(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free((void *)(uintptr_t)list->items[i].data);
	free(list);
}

static void add(struct list *list, const struct pfs_key *key, size_t len, uint64_t seed,
		unsigned flags)
{
	struct pfs_put_item *item = &list->items[list->count];
	uint8_t *bytes = malloc(len + 1);

	fill_document(bytes, len, seed);
	list->attrs[list->count] = (struct pfs_attr){.mode = 0600, .mtime_ns = (int64_t)seed};
	*item = (struct pfs_put_item){.key = *key,
				      .data = bytes,
				      .len = len,
				      .attr = seed % 5 ? &list->attrs[list->count] : NULL,
				      .flags = flags | (seed % 3 ? PFS_PUT_MTIME_ONLY : 0),
				      .replaced = 4711};
	list->count++;
}

/* Names of all kinds, some of them several times, documents of all lengths; what `old` put before
 * is replaced in part. */
static struct list *mixed_list(unsigned flags)
{
	static const size_t lens[] = {0, 1, 40, 300, 900, 4000, 65536, 65537, 200, 3000};
	struct list *list = new_list();

	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t seed = pfs_mix64(i);
		struct pfs_key key = pfs_key_num(seed % 300);
		char name[64];

		if (i % 7 == 0) {
			snprintf(name, sizeof(name), ".%u.swp", (unsigned)(seed % 40));
			key = key_named(name);
		} else if (i % 5 == 0) {
			snprintf(name, sizeof(name), "01234567-89ab-cdef-0123-%012u",
				 (unsigned)(seed % 50));
			key = key_named(name);
		}
		add(list, &key, i == 77 ? 3 * PFS_MIB : lens[i % pfs_array_len(lens)], seed, flags);
	}
	return list;
}

/* Documents in pages, in the journal, and some that were made and never written. */
static void put_old(struct pfs_store *store)
{
	struct pfs_attr attr = {.mode = 0640, .mtime_ns = 1};

	for (unsigned i = 0; i < 120; i += 2) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 500, i);
		if (i == 60)
			assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	for (unsigned i = 121; i < 150; i += 2) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_create(store, &key, &attr, NULL), 0);
	}
}

/* ---- comparing ---- */

static void expect_same(struct pfs_store *a, struct pfs_store *b, const struct pfs_key *key,
			bool times)
{
	struct pfs_attr attr_a, attr_b;
	void *data_a, *data_b;
	size_t len_a, len_b;

	assert_int_equal(pfs_get(a, key, &data_a, &len_a, &attr_a), 0);
	assert_int_equal(pfs_get(b, key, &data_b, &len_b, &attr_b), 0);
	assert_int_equal(len_a, len_b);
	assert_memory_equal(data_a, data_b, len_a);
	assert_int_equal(attr_a.mode, attr_b.mode);
	if (times)
		assert_int_equal(attr_a.mtime_ns, attr_b.mtime_ns);
	free(data_a);
	free(data_b);
}

static size_t count_names(struct pfs_store *store)
{
	static struct pfs_listed listed[1000];
	ssize_t n = pfs_list(store, 0, listed, pfs_array_len(listed));

	assert_in_range(n, 0, pfs_array_len(listed) - 1);
	return (size_t)n;
}

struct pair {
	struct pfs_sim *sim;
	struct pfs_store *store;
};

static struct pair new_pair(void)
{
	struct pair p = {.sim = pfs_sim_new()};

	create_store(p.sim, 4 * PFS_MIB, 16);
	p.store = open_store(p.sim);
	put_old(p.store);
	return p;
}

static void end_pair(struct pair p)
{
	assert_int_equal(pfs_store_close(p.store), 0);
	expect_healthy(p.sim);
	pfs_sim_free(p.sim);
}

/* Proves: documents that are put at once are what they would be if they were put one after the
 * other, whatever their names held, also when a name comes several times; those whose object is
 * replaced by a new one name it. */
static void at_once_is_as_one_by_one(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags <= PFS_PUT_NEW_OBJECT; flags++) {
		struct list *list = mixed_list(flags);
		struct pair many = new_pair(), single = new_pair();
		int err;

		assert_int_equal(pfs_put_many(many.store, list->items, list->count, &err), COUNT);
		assert_int_equal(err, 0);
		for (size_t i = 0; i < list->count; i++) {
			const struct pfs_put_item *item = &list->items[i];
			uint32_t replaced;

			assert_int_equal(pfs_put(single.store, &item->key, item->data, item->len,
						 item->attr, item->flags, &replaced),
					 0);
			assert_int_equal(item->replaced != 0, replaced != 0);
		}
		assert_int_equal(count_names(many.store), count_names(single.store));
		for (unsigned pass = 0; pass < 3; pass++) {
			for (size_t i = 0; i < list->count; i++)
				expect_same(many.store, single.store, &list->items[i].key,
					    list->items[i].attr != NULL);
			if (pass == 0)
				assert_int_equal(pfs_store_checkpoint(many.store), 0);
			if (pass != 1)
				continue;
			assert_int_equal(pfs_store_close(many.store), 0);
			many.store = open_store(many.sim);
		}
		end_pair(many);
		end_pair(single);
		free_list(list);
	}
}

/* ---- writes ---- */

static struct {
	unsigned journal_writes;
	unsigned fail_at; /* the journal's write of this number fails; 0: none */
	bool for_good;
} disk;

static int on_step(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	if (step->kind != PFS_SIM_WRITE || strncmp(step->name, "journal", 7) != 0)
		return 0;
	disk.journal_writes++;
	if (!disk.fail_at)
		return 0;
	return disk.journal_writes == disk.fail_at ||
			       (disk.for_good && disk.journal_writes > disk.fail_at)
		       ? -EIO
		       : 0;
}

static struct list *small_list(unsigned count, size_t len, uint64_t version)
{
	struct list *list = new_list();

	for (unsigned i = 0; i < count; i++) {
		struct pfs_key key = pfs_key_num(1000 + i);

		add(list, &key, len, 2 * (i + version * 1000) + 1, 0);
	}
	return list;
}

/* Proves: the records of many documents are written together. */
static void records_are_written_together(void **state)
{
	struct pair p = new_pair();
	struct list *list = small_list(256, 500, 0);
	int err;

	(void)state;
	disk = (typeof(disk)){0};
	pfs_sim_on_step(p.sim, on_step, NULL);
	assert_int_equal(pfs_put_many(p.store, list->items, list->count, &err), 256);
	assert_in_range(disk.journal_writes, 1, 256 / 32);
	pfs_sim_on_step(p.sim, NULL, NULL);
	end_pair(p);
	free_list(list);
}

/* What the document is of the two versions; -1: it is not there. */
static int version_of(struct pfs_store *store, const struct list *lists[2], size_t i)
{
	void *data;
	size_t len;
	int err = pfs_get(store, &lists[0]->items[i].key, &data, &len, NULL), version = -1;

	if (err == -ENOENT)
		return -1;
	assert_int_equal(err, 0);
	for (int v = 0; v < 2; v++)
		if (len == lists[v]->items[i].len &&
		    memcmp(data, lists[v]->items[i].data, len) == 0)
			version = v;
	assert_int_not_equal(version, -1); /* else it is of none */
	free(data);
	return version;
}

/* The first half of the documents is there in version 0 when all are put in version 1. */
static int before_of(size_t i, size_t count)
{
	return i < count / 2 ? 0 : -1;
}

static void expect_put(struct pfs_store *store, const struct list *lists[2], size_t put)
{
	for (size_t i = 0; i < lists[0]->count; i++)
		assert_int_equal(version_of(store, lists, i),
				 i < put ? 1 : before_of(i, lists[0]->count));
}

static struct pair pair_with_half(const struct list *lists[2])
{
	struct pair p = new_pair();
	int err;

	pfs_put_many(p.store, (struct pfs_put_item *)(uintptr_t)lists[0]->items,
		     lists[0]->count / 2, &err);
	assert_int_equal(err, 0);
	return p;
}

/* Returns whether the put was not hit by the failure. */
static bool put_with_failure(const struct list *lists[2], enum pfs_sim_failed_write written)
{
	struct pair p = pair_with_half(lists);
	size_t put;
	bool through;
	int err;

	disk.journal_writes = 0;
	pfs_sim_set_failed_writes(p.sim, written);
	pfs_sim_on_step(p.sim, on_step, NULL);
	put = pfs_put_many(p.store, (struct pfs_put_item *)(uintptr_t)lists[1]->items,
			   lists[1]->count, &err);
	pfs_sim_on_step(p.sim, NULL, NULL);
	through = disk.journal_writes < disk.fail_at;
	assert_int_equal(err != 0, put < lists[1]->count);
	assert_true(!disk.for_good || through || err);
	expect_put(p.store, lists, put);
	/* As it was left, and what goes on in it, is what the next opening finds. */
	if (!disk.for_good || through) {
		struct pfs_key key = pfs_key_num(1);

		put_document(p.store, &key, 100, 1);
	}
	(void)pfs_store_close(p.store);
	p.store = open_store(p.sim);
	expect_put(p.store, lists, put);
	end_pair(p);
	return through;
}

/* Proves: when a write of the journal fails, whatever of it got to the disk, those documents are
 * put which the caller is told of and no others, and the next opening says the same. */
static void failed_writes_put_nothing(void **state)
{
	const struct list *lists[2] = {small_list(150, 300, 0), small_list(150, 350, 1)};

	(void)state;
	for (unsigned mode = 0; mode < 6; mode++) {
		bool through = false;

		for (unsigned n = 1; !through; n++) {
			disk = (typeof(disk)){.fail_at = n, .for_good = mode >= 3};
			through = put_with_failure(lists, (enum pfs_sim_failed_write)(mode % 3));
			assert_true(n > 2 || !through);
		}
	}
	free_list((struct list *)(uintptr_t)lists[0]);
	free_list((struct list *)(uintptr_t)lists[1]);
}

/* Proves: on a disk that fills up those documents are put of which the caller is told, and when
 * there is room again the rest can be put. */
static void full_disk_puts_a_part(void **state)
{
	const struct list *lists[2] = {small_list(COUNT, 3000, 0), small_list(COUNT, 3100, 1)};
	unsigned parts = 0;

	(void)state;
	for (uint64_t more = 0; more < 3 * PFS_MIB; more += 128 * PFS_KIB) {
		struct pair p = pair_with_half(lists);
		struct pfs_put_item *items = (struct pfs_put_item *)(uintptr_t)lists[1]->items;
		size_t put, rest;
		int err;

		pfs_sim_set_capacity(p.sim, pfs_sim_used(p.sim) + more);
		put = pfs_put_many(p.store, items, COUNT, &err);
		assert_int_equal(err, put < COUNT ? -ENOSPC : 0);
		parts += put > 0 && put < COUNT;
		expect_put(p.store, lists, put);
		pfs_sim_set_capacity(p.sim, 0);
		rest = pfs_put_many(p.store, &items[put], COUNT - put, &err);
		assert_int_equal(put + rest, COUNT);
		expect_put(p.store, lists, COUNT);
		end_pair(p);
	}
	assert_true(parts > 0);
	free_list((struct list *)(uintptr_t)lists[0]);
	free_list((struct list *)(uintptr_t)lists[1]);
}

/* ---- power cuts ---- */

enum { IMAGES_MAX = 2000, SEEDS = 6 };

static struct {
	struct pfs_sim *sim;
	struct pfs_sim *images[IMAGES_MAX];
	size_t count;
} cuts;

static int cut(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	for (uint64_t seed = 0; seed < SEEDS && cuts.count < IMAGES_MAX; seed++)
		cuts.images[cuts.count++] =
			pfs_sim_crash_seed(cuts.sim, step->number * SEEDS + seed);
	return 0;
}

/* Proves: after a power cut at any step the documents up to some one are put, those behind are as
 * before. */
static void a_cut_leaves_the_first_ones(void **state)
{
	const struct list *lists[2] = {small_list(150, 300, 0), small_list(150, 350, 1)};
	struct pair p = pair_with_half(lists);
	unsigned partly = 0;
	int err;

	(void)state;
	assert_int_equal(pfs_sync(p.store), 0);
	cuts.sim = p.sim;
	cuts.count = 0;
	pfs_sim_on_step(p.sim, cut, NULL);
	assert_int_equal(
		pfs_put_many(p.store, (struct pfs_put_item *)(uintptr_t)lists[1]->items, 150, &err),
		150);
	assert_int_equal(pfs_sync(p.store), 0);
	pfs_sim_on_step(p.sim, NULL, NULL);
	for (size_t c = 0; c < cuts.count; c++) {
		struct pfs_store *store = open_store(cuts.images[c]);
		size_t put = 0;

		while (put < 150 && version_of(store, lists, put) == 1)
			put++;
		expect_put(store, lists, put);
		partly += put > 0 && put < 150;
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(cuts.images[c]);
	}
	assert_true(partly > 0);
	end_pair(p);
	free_list((struct list *)(uintptr_t)lists[0]);
	free_list((struct list *)(uintptr_t)lists[1]);
}

/* ---- several threads ---- */

enum { WRITERS = 3, ROUNDS = 12 };

struct writer {
	struct pfs_store *store;
	uint64_t first; /* of its COUNT ids */
	unsigned failures;
};

static void expect_document(struct pfs_store *store, const struct pfs_key *key, size_t len,
			    uint64_t seed)
{
	uint8_t *wanted = malloc(len);
	size_t got_len;
	void *got;

	fill_document(wanted, len, seed);
	assert_int_equal(pfs_get(store, key, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, wanted, len);
	free(got);
	free(wanted);
}

static void *put_rounds(void *arg)
{
	struct writer *w = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct list *list = new_list();
		int err;

		for (uint64_t i = 0; i < COUNT; i++) {
			struct pfs_key key = pfs_key_num(w->first + i);

			add(list, &key, 700 + i, w->first + i + round, 0);
		}
		w->failures += pfs_put_many(w->store, list->items, COUNT, &err) != COUNT || err;
		free_list(list);
	}
	return NULL;
}

/* Proves: in a store with all its threads, of which some pack for whoever puts many, several may
 * put at once, and every document has the bytes that it was given last. */
static void several_threads_put_at_once(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.io = pfs_sim_io(sim), .logger = quiet};
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 4 * PFS_MIB, 16);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.store = store, .first = UINT64_C(100000) * i};
		assert_int_equal(pthread_create(&threads[i], NULL, put_rounds, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(writers[i].failures, 0);
		for (uint64_t n = 0; n < COUNT; n++) {
			struct pfs_key key = pfs_key_num(writers[i].first + n);

			expect_document(store, &key, 700 + n, writers[i].first + n + ROUNDS - 1);
		}
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static int fail_journal(void *arg, const struct pfs_sim_step *step)
{
	return __atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE) && step->kind == PFS_SIM_WRITE &&
			       strncmp(step->name, "journal-", 8) == 0
		       ? -EIO
		       : 0;
}

/* Proves: what others have packed ahead is given up when the first group can't be put. */
static void what_is_packed_ahead_is_given_up(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		struct list *list = small_list(COUNT, 3000, 0);
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_open_options options = {.io = pfs_sim_io(sim), .logger = quiet};
		struct pfs_store *store;
		bool failing = false;
		int err;

		create_store(sim, 0, 16);
		pfs_sim_on_step(sim, fail_journal, &failing);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		__atomic_store_n(&failing, true, __ATOMIC_RELEASE);
		assert_int_equal(pfs_put_many(store, list->items, list->count, &err), 0);
		assert_int_equal(err, -EROFS);
		assert_int_equal(count_names(store), 0);
		(void)pfs_store_close(store);
		free_list(list);
		pfs_sim_free(sim);
	}
}

/* Puts ids 1 and 2 anew, alone or at once, without saying whose they are. */
static void put_again(struct pfs_store *store, bool at_once, unsigned flags)
{
	struct pfs_attr attr = {.mode = 0777, .uid = 9, .gid = 9, .mtime_ns = 7};
	struct list *list = new_list();
	int err = 0;

	for (unsigned i = 1; i <= 2; i++) {
		struct pfs_key key = pfs_key_num(i);

		add(list, &key, 300 + i, i, 0);
		list->items[i - 1].attr = flags ? &attr : NULL;
		list->items[i - 1].flags = flags;
		if (!at_once)
			assert_int_equal(pfs_put(store, &key, list->items[i - 1].data,
						 list->items[i - 1].len, list->items[i - 1].attr,
						 flags, NULL),
					 0);
	}
	if (at_once)
		assert_int_equal(pfs_put_many(store, list->items, list->count, &err), list->count);
	assert_int_equal(err, 0);
	free_list(list);
}

static void expect_owner(struct pfs_store *store, unsigned id, uint32_t mode, uint32_t uid)
{
	struct pfs_key key = pfs_key_num(id);
	struct pfs_attr attr;
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, &attr), 0);
	assert_int_equal(attr.mode, mode);
	assert_int_equal(attr.uid, uid);
}

/* Proves: a document that is put anew by who does not say otherwise keeps its mode and owner,
 * whether they are its own or the store's, in the journal or in a page. */
static void mode_and_owner_stay(void **state)
{
	struct pfs_attr own = {.mode = 0600, .uid = 5, .gid = 6, .mtime_ns = 1}, usual;
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2);
	uint32_t object;

	(void)state;
	for (unsigned way = 0; way < 8; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_store *store;

		create_store(sim, 4 * PFS_MIB, 16);
		store = open_store(sim);
		assert_int_equal(pfs_put(store, &one, "one", 3, &own, 0, NULL), 0);
		assert_int_equal(pfs_put(store, &two, "two", 3, NULL, 0, NULL), 0);
		assert_int_equal(pfs_lookup(store, &two, &object, &usual), 0);
		if (way & 1)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		put_again(store, way & 2, way & 4 ? PFS_PUT_MTIME_ONLY : 0);
		expect_owner(store, 1, 0600, 5);
		expect_owner(store, 2, usual.mode, usual.uid);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
}

/* Proves: what is put together are up to 64 documents of a block at most, with 256 KiB in all; from
 * the first that would be too much on, others are. */
static void groups_are_bounded(void **state)
{
	static const size_t lens[] = {0,    1, 1000, 4096, 8192, PFS_BLOCK_LEN, PFS_BLOCK_LEN + 1,
				      70000};
	static struct pfs_put_item items[80];

	(void)state;
	for (uint64_t n = 0; n < 4000; n++) {
		size_t count = pfs_mix64(n) % (pfs_array_len(items) + 1), want = 0, bytes = 7;
		/* Of many, few are large, so that each of the bounds is met. */
		size_t kinds = 1 + pfs_mix64(n + 1) % pfs_array_len(lens), total = 0;

		for (size_t i = 0; i < count; i++)
			items[i].len = lens[pfs_mix64(n << 8 | i) % kinds];
		while (want < count && want < 64 && items[want].len <= 65536 &&
		       total + items[want].len <= 262144)
			total += items[want++].len;
		assert_int_equal(group_size(items, count, &bytes), want);
		assert_int_equal(bytes, total);
	}
}

/* Proves: items that are not put in a group fill the spans up to them, and no more: each span has
 * two at least, they follow each other, and there is room for the longest. */
static void groups_follow_each_other(void **state)
{
	static struct pfs_put_item items[200];

	(void)state;
	for (uint64_t n = 0; n < 600; n++) {
		struct groups all = {.items = items};
		size_t count = pfs_mix64(n) % (pfs_array_len(items) + 1), at = 0, room = 0;

		for (size_t i = 0; i < count; i++)
			items[i].len = pfs_mix64(n << 8 | i) % 300 == 0 ? 70000
				       : n % 3				? 3000 * (i % 20)
									: 10;
		assert_int_equal(form_groups(&all, count), 0);
		for (size_t i = 0; i < all.count; i++) {
			size_t bytes, size = group_size(&items[at], count - at, &bytes);

			assert_int_equal(all.spans[i].first, at);
			assert_int_equal(all.spans[i].count, size);
			assert_int_equal(all.spans[i].bytes, bytes);
			assert_true(size >= 2);
			at += size;
			room = pfs_max_u64(room, bytes);
		}
		assert_int_equal(all.room_each, room);
		assert_true(at == count || group_size(&items[at], count - at, &room) < 2);
		assert_true(!all.ring == !all.count);
		fenced_free(all.spans);
		fenced_free(all.ring);
		fenced_free(all.room);
	}
}

/* Proves: there is room for the spans of few, wherever among them one is too large. */
static void few_have_room(void **state)
{
	struct pfs_put_item items[6];

	(void)state;
	for (size_t count = 0; count <= pfs_array_len(items); count++) {
		for (size_t large = 0; large <= count; large++) {
			struct groups all = {.items = items};

			for (size_t i = 0; i < count; i++)
				items[i].len = i == large ? PFS_BLOCK_LEN + 1 : 10;
			assert_int_equal(form_groups(&all, count), 0);
			assert_int_equal(all.count, large >= 2);
			fenced_free(all.spans);
			fenced_free(all.ring);
			fenced_free(all.room);
		}
	}
	assert_int_equal(fenced_blocks, 0);
}

static size_t put_list(struct pfs_store *store, const struct list *list, size_t from, int *err)
{
	return pfs_put_many(store, (struct pfs_put_item *)(uintptr_t)&list->items[from],
			    list->count - from, err);
}

/* Proves: of each group it is said how many bytes come, before they do. */
static void what_comes_is_said(void **state)
{
	struct pair p = new_pair();
	struct list *list = small_list(150, 300, 0);
	int err;

	(void)state;
	memset(&throttled, 0, sizeof(throttled));
	assert_int_equal(put_list(p.store, list, 0, &err), 150);
	assert_int_equal(throttled.bytes, 150 * 300);
	assert_int_equal(throttled.calls, 3); /* of up to 64 */
	assert_int_equal(throttled.large, 0);
	end_pair(p);
	free_list(list);
}

/* Proves: documents of no bytes are written together like others; so are those that come behind one
 * whose name was among them already. */
static void few_writes_do(void **state)
{
	(void)state;
	for (unsigned twice = 0; twice < 2; twice++) {
		struct pair p = new_pair();
		struct list *list = small_list(64, twice ? 300 : 0, 0);
		int err;

		if (twice)
			list->items[1].key = list->items[0].key;
		disk = (typeof(disk)){0};
		pfs_sim_on_step(p.sim, on_step, NULL);
		assert_int_equal(put_list(p.store, list, 0, &err), 64);
		pfs_sim_on_step(p.sim, NULL, NULL);
		assert_in_range(disk.journal_writes, 1, 4);
		end_pair(p);
		free_list(list);
	}
}

/* Proves: a team packs several groups, with all of them to do, and is not asked for one alone. */
static void several_groups_are_packed_by_a_team(void **state)
{
	static const struct {
		unsigned count, groups;
	} cases[] = {{1, 0}, {2, 1}, {64, 1}, {66, 2}, {128, 2}, {130, 3}, {300, 5}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pair p = new_pair();
		struct list *list = small_list(cases[i].count, 300, 0);
		int err;

		ahead.on = true;
		ahead.runs = 0;
		assert_int_equal(put_list(p.store, list, 0, &err), cases[i].count);
		ahead.on = false;
		assert_int_equal(ahead.runs, cases[i].groups > 1);
		if (ahead.runs) {
			assert_int_equal(ahead.jobs, cases[i].groups);
			assert_int_equal(ahead.done, cases[i].groups);
			assert_int_equal(ahead.places, 8);
		}
		end_pair(p);
		free_list(list);
	}
}

/* Proves: without memory for groups all are put, one by one. */
static void groups_need_memory(void **state)
{
	(void)state;
	for (unsigned passes = 0; passes < 3; passes++) {
		struct pair p = new_pair();
		struct list *list = small_list(100, 300, 0);
		int err;

		memset(&throttled, 0, sizeof(throttled));
		fenced_refuse(passes);
		assert_int_equal(put_list(p.store, list, 0, &err), 100);
		assert_int_equal(err, 0);
		assert_false(fenced_refuses);
		assert_int_equal(fenced_blocks, 0);
		for (size_t i = 0; i < list->count; i++)
			expect_document(p.store, &list->items[i].key, 300,
					(uint64_t)list->attrs[i].mtime_ns);
		end_pair(p);
		free_list(list);
	}
}

/* Proves: numbers of documents that can't be put, for want of memory or because the journal is not
 * written, are those of the next ones. */
static void numbers_are_given_back(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 80; n += n < 4 ? 1 : 19) {
		for (unsigned way = 0; way < 3; way++) {
			struct pair p = new_pair();
			struct list *list = small_list(100, 300, 0);
			uint32_t end = pfs_index_end(p.store->index);
			size_t put = 0;
			int err;

			disk = (typeof(disk)){.fail_at = way == 1 ? n : 0};
			prepares_left = way == 0 ? n : 0;
			reserves_left = way == 2 ? n : 0;
			pfs_sim_on_step(p.sim, on_step, NULL);
			while (put < list->count)
				put += put_list(p.store, list, put, &err);
			pfs_sim_on_step(p.sim, NULL, NULL);
			assert_true(!prepares_left && !reserves_left);
			assert_int_equal(pfs_index_end(p.store->index), end + list->count);
			end_pair(p);
			free_list(list);
		}
	}
}

static void expect_last(struct pfs_store *store, const struct list *list, size_t put)
{
	for (size_t first = 0; first < 10; first++) {
		const struct pfs_put_item *last = NULL;
		size_t len;
		void *data;
		int err = pfs_get(store, &list->items[first].key, &data, &len, NULL);

		for (size_t i = first; i < put; i += 10)
			last = &list->items[i];
		assert_int_equal(err, last ? 0 : -ENOENT);
		if (!last)
			continue;
		assert_int_equal(len, last->len);
		assert_memory_equal(data, last->data, len);
		free(data);
	}
}

/* Proves: where names come again and again, and the journal can't be written at any place, each has
 * what it was given last, up to where the caller is told. */
static void names_again_and_failures(void **state)
{
	(void)state;
	for (unsigned n = 1, hit = 1; hit; n++) {
		for (unsigned for_good = 0; for_good < 2; for_good++) {
			struct pair p = new_pair();
			struct list *list = new_list();
			size_t put;
			int err;

			for (unsigned i = 0; i < 40; i++) {
				struct pfs_key key = pfs_key_num(1000 + i % 10);

				add(list, &key, 100 + i, i, i % 4 == 3 ? PFS_PUT_NEW_OBJECT : 0);
			}
			disk = (typeof(disk)){.fail_at = n, .for_good = for_good};
			pfs_sim_on_step(p.sim, on_step, NULL);
			put = put_list(p.store, list, 0, &err);
			pfs_sim_on_step(p.sim, NULL, NULL);
			hit = disk.journal_writes >= n;
			assert_int_equal(put < list->count, err != 0);
			assert_true(!for_good || !hit || err);
			expect_last(p.store, list, put);
			(void)pfs_store_close(p.store);
			p.store = open_store(p.sim);
			expect_last(p.store, list, put);
			end_pair(p);
			free_list(list);
		}
	}
}

/* Proves: what is packed ahead with a dictionary, and is not put because something before it can't
 * be, needs the dictionary no longer. */
static void dictionaries_are_let_go(void **state)
{
	(void)state;
	for (unsigned n = 1, hit = 1; hit; n++) {
		struct pair p = new_pair();
		struct list *list = small_list(COUNT, 3000, 0);
		uint8_t text[4000];
		size_t put;
		int err;

		for (size_t i = 0; i < COUNT; i++)
			fill_document((uint8_t *)(uintptr_t)list->items[i].data, 3000, 2 * i);
		fill_document(text, sizeof(text), 2);
		assert_int_equal(pfs_dict_add(p.store, text, sizeof(text), 1000, 300), 0);
		ahead.on = true;
		disk = (typeof(disk)){.fail_at = n, .for_good = true};
		pfs_sim_on_step(p.sim, on_step, NULL);
		put = put_list(p.store, list, 0, &err);
		pfs_sim_on_step(p.sim, NULL, NULL);
		ahead.on = false;
		hit = disk.journal_writes >= n;
		assert_true(hit == (put < COUNT) && (hit || n > 3));
		assert_non_null(p.store->dict);
		assert_int_equal(p.store->dict->packing, 0);
		(void)pfs_store_close(p.store);
		p.store = open_store(p.sim);
		end_pair(p);
		free_list(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once_is_as_one_by_one),
		cmocka_unit_test(records_are_written_together),
		cmocka_unit_test(failed_writes_put_nothing),
		cmocka_unit_test(full_disk_puts_a_part),
		cmocka_unit_test(a_cut_leaves_the_first_ones),
		cmocka_unit_test(several_threads_put_at_once),
		cmocka_unit_test(what_is_packed_ahead_is_given_up),
		cmocka_unit_test(mode_and_owner_stay),
		cmocka_unit_test(groups_are_bounded),
		cmocka_unit_test(groups_follow_each_other),
		cmocka_unit_test(few_have_room),
		cmocka_unit_test(what_comes_is_said),
		cmocka_unit_test(few_writes_do),
		cmocka_unit_test(several_groups_are_packed_by_a_team),
		cmocka_unit_test(groups_need_memory),
		cmocka_unit_test(numbers_are_given_back),
		cmocka_unit_test(names_again_and_failures),
		cmocka_unit_test(dictionaries_are_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
