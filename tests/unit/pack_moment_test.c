/* storage/store_pack.c, storage/store_survey.c: what happens beside a full compaction at one
 * moment, and ids that are listed in several goes. The files are included, to know the moment, and
 * with few ids at a time. */
#include <pthread.h>

static void before_lock(const pthread_mutex_t *mutex);
static void before_move(void);

#include "storage/store_compact.h"
#include "storage/store_pack.h"

static int fake_train_to_pack(struct pfs_store *store, const bool *stop, bool *made);
static int some_stat(struct pfs_store *store, struct pfs_store_stat *out);

#define BATCH_VALUES 83u
#define pfs_train_to_pack fake_train_to_pack
#define pfs_stat_locked(store, out) some_stat(store, out)
#define pfs_write_enter(store) (before_move(), pfs_write_enter(store))
#include "storage/store_pack.c"
#undef pfs_write_enter
#undef pfs_stat_locked
#undef SLOTS_AT_ONCE

#define pthread_mutex_lock(mutex) (before_lock(mutex), pthread_mutex_lock(mutex))
#include "storage/store_survey.c"
#undef pthread_mutex_lock

#include "tests/unit/store_helpers.h"

#define DOCS (3 * BATCH_VALUES + 1) /* the last one is listed when the lowest were just kept */
#define LEN 1000u

static struct {
	struct pfs_store *store;
	/* Until all is removed; 0: never. */
	unsigned locks; /* of the commit lock, by a survey */
	unsigned moves; /* of what was packed */
} moment;

/* Trainings that were asked for, and what they make: a dictionary of the first documents. */
static unsigned trainings;
static bool trains;

#define TRAINED 8u

static int fake_train_to_pack(struct pfs_store *store, const bool *stop, bool *made)
{
	uint8_t bytes[TRAINED * LEN];

	(void)stop;
	*made = trains;
	trainings++;
	for (unsigned i = 0; i < TRAINED; i++)
		fill_document(bytes + (size_t)LEN * i, LEN, 2 * i + 1);
	return trains ? pfs_dict_add(store, bytes, sizeof(bytes), 1000, 300) : 0;
}

/* Until figures can't be had; 0: they can. */
static unsigned stats;

static int some_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	return stats && --stats == 0 ? -EIO : pfs_stat_locked(store, out);
}

static void remove_all(void)
{
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(moment.store, &key, NULL), 0);
	}
	/* Pages that are empty are given back by the checkpoint after the one that empties them. */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
}

static void before_lock(const pthread_mutex_t *mutex)
{
	if (mutex == &moment.store->commit && moment.locks && --moment.locks == 0)
		remove_all();
}

static void before_move(void)
{
	if (moment.moves && --moment.moves == 0)
		remove_all();
}

static void put_number(unsigned n)
{
	struct pfs_key key = pfs_key_num(n);

	put_document(moment.store, &key, LEN, 2 * n + 1);
}

/* In falling order, which packing has to turn round, in pages that are full; but for one that comes
 * last. */
static struct pfs_sim *begin_but(uint64_t page_size, unsigned last)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, page_size, 16);
	moment.store = open_store(sim);
	for (unsigned n = DOCS; n-- > 0;) {
		if (n != last)
			put_number(n);
	}
	put_number(last);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	return sim;
}

static struct pfs_sim *begin_with(uint64_t page_size)
{
	return begin_but(page_size, 0);
}

static struct pfs_sim *begin(void)
{
	return begin_with(PFS_PAGE_SIZE_MIN);
}

static void expect_documents(void)
{
	uint8_t want[LEN];

	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		void *got;
		size_t len;

		fill_document(want, LEN, 2 * i + 1);
		assert_int_equal(pfs_get(moment.store, &key, &got, &len, NULL), 0);
		assert_int_equal(len, LEN);
		assert_memory_equal(got, want, LEN);
		free(got);
	}
}

/* From one document to the next, how often the page has a lower number. */
static unsigned disorder(void)
{
	uint32_t before = 0;
	unsigned lower = 0;

	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		struct pfs_place place;

		assert_int_equal(pfs_place(moment.store, &key, &place), 0);
		lower += place.page < before;
		before = place.page;
	}
	return lower;
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(moment.store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

struct told {
	uint64_t done, total;
	unsigned calls, act_at;
	void (*act)(void);
};

static void told(void *arg, uint64_t done, uint64_t total)
{
	struct told *t = arg;

	assert_true(done >= t->done && done <= total);
	t->done = done;
	t->total = total;
	if (++t->calls == t->act_at)
		t->act();
}

static int compact(struct told *t, const bool *stop)
{
	struct pfs_compact_result result;

	return pfs_store_compact(moment.store, told, t, stop, &result);
}

/* Proves: what is listed in several goes is packed in order all the same, and what is said of it
 * ends with all of it. */
static void many_ids_are_packed_in_order(void **state)
{
	/* Of what is listed first, beside the last and the first one. */
	static const unsigned last[] = {0, 1, BATCH_VALUES - 2, BATCH_VALUES - 1, BATCH_VALUES};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(last); i++) {
		struct pfs_sim *sim = begin_but(PFS_PAGE_SIZE_MIN, last[i]);
		struct told t = {0};

		assert_true(disorder() > 0);
		assert_int_equal(compact(&t, NULL), 0);
		assert_true(t.calls > 2);
		assert_true(t.total >= DOCS * LEN && t.done == t.total);
		assert_int_equal(disorder(), 0);
		expect_documents();
		end(sim);
	}
}

static void open_pages(void)
{
	pthread_mutex_lock(&moment.store->commit);
	pfs_compact_yield_room(moment.store);
	pthread_mutex_unlock(&moment.store->commit);
}

static void fail_store(void)
{
	moment.store->failed = true;
}

static bool stop;

static void stop_packing(void)
{
	stop = true;
}

/* Proves: where others need the room of the pages that are being emptied, the packing ends and says
 * so; likewise when the store fails meanwhile. */
static void packing_gives_way(void **state)
{
	struct pfs_sim *sim = begin();
	struct told t = {.act_at = 2, .act = open_pages};

	(void)state;
	assert_int_equal(compact(&t, NULL), -ENOSPC);
	expect_documents();
	t = (struct told){.act_at = 2, .act = fail_store};
	assert_int_equal(compact(&t, NULL), -EROFS);
	moment.store->failed = false;
	expect_documents();
	t = (struct told){0};
	assert_int_equal(compact(&t, NULL), 0);
	assert_int_equal(disorder(), 0);
	expect_documents();
	end(sim);
}

static int no_space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	*out = (struct pfs_io_space){0};
	return 0;
}

/* Proves: page by page, too, a packing ends when it is told to; and pages that are full have
 * nothing to give: they stay as they are. */
static void full_pages_stay(void **state)
{
	struct pfs_sim *sim = begin();
	const struct pfs_io_ops *usual = moment.store->dir->ops;
	struct pfs_io_ops full = *usual;
	struct pfs_key key = pfs_key_num(DOCS - 1), last = pfs_key_num(0);
	struct told t = {.act_at = 1, .act = stop_packing};
	struct pfs_place before, after;

	(void)state;
	full.space = no_space;
	moment.store->dir->ops = &full;
	assert_int_equal(pfs_place(moment.store, &key, &before), 0);
	stop = false;
	assert_int_equal(compact(&t, &stop), -ECANCELED);
	t = (struct told){0};
	assert_int_equal(compact(&t, NULL), 0);
	assert_int_equal(pfs_place(moment.store, &key, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(pfs_place(moment.store, &last, &after), 0);
	expect_documents();
	moment.store->dir->ops = usual;
	end(sim);
}

/* Proves: a page that goes while a survey looks at it is not packed, and nothing else is harmed. */
static void pages_may_go_meanwhile(void **state)
{
	(void)state;
	for (unsigned locks = 1; locks <= 7; locks++) {
		struct pfs_sim *sim = begin();
		struct told t = {0};

		moment.locks = locks;
		assert_int_equal(compact(&t, NULL), 0);
		assert_int_equal(moment.locks, 0);
		end(sim);
	}
}

/* Proves: what was packed and is gone before it is moved is not moved, be its page gone, too, or
 * another's, and counts for nothing. */
static void values_may_go_meanwhile(void **state)
{
	(void)state;
	for (unsigned moves = 1; moves <= 3; moves++) {
		struct pfs_sim *sim = begin();
		struct told t = {0};
		struct pfs_store_stat stat;

		moment.moves = moves;
		assert_int_equal(compact(&t, NULL), 0);
		assert_int_equal(moment.moves, 0);
		assert_int_equal(pfs_store_stat(moment.store, &stat), 0);
		assert_int_equal(stat.points, 0);
		assert_int_equal(stat.container_bytes, 0);
		assert_int_equal(stat.pages, 0);
		if (moves == 1)
			assert_int_equal(moment.store->counters.moved_values, 0);
		end(sim);
	}
}

/* Proves: a survey counts the values that are to be moved, the pages that they are in, and what is
 * live and dead there. */
static void surveys_count_what_is_to_be_moved(void **state)
{
	struct pfs_sim *sim = begin();
	struct pfs_repacker *repacker;
	struct pfs_packing_plan plan;
	struct pfs_store_stat stat;

	(void)state;
	for (unsigned i = 0; i < DOCS; i += 5) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(moment.store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	assert_int_equal(pfs_store_stat(moment.store, &stat), 0);
	repacker = pfs_repacker_new(moment.store);
	moment.store->compaction.run++;
	assert_int_equal(pfs_pack_survey(repacker, &plan, NULL), 0);
	assert_int_equal(plan.values, DOCS - DOCS / 5);
	assert_int_equal(plan.total, stat.container_bytes);
	assert_int_equal(plan.pages, stat.pages);
	assert_in_range(plan.untidy, 1, plan.pages);
	assert_in_range(plan.live, plan.total, plan.total + plan.values * PFS_SLOT_LEN);
	assert_in_range(plan.dead, DOCS / 5 * LEN, DOCS / 5 * (LEN + 100));
	pfs_repacker_free(repacker);
	end(sim);
}

/* Proves: values are looked through for a former dictionary when there is one that can be read and
 * has users, or nobody knows, and one of new values; which is not held any more then. */
static void when_a_former_dictionary_matters(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_dict dicts[3] = {{.number = 4}, {.number = 7}, {.number = 9}};
	struct pfs_codec_dict *codec;

	(void)state;
	assert_int_equal(pfs_codec_dict_new(&codec, "abc", 3), 0);
	pthread_mutex_init(&store->commit, NULL);
	store->dicts = calloc(1, sizeof(*store->dicts) + 3 * sizeof(store->dicts->at[0]));
	for (unsigned i = 0; i < 3; i++)
		store->dicts->at[i] = &dicts[i];
	for (unsigned way = 0; way < 3 * 64; way++) {
		/* Which one is that of new values, if any; which can be read; which have users. */
		const unsigned count = way / 64 + 1;
		struct pfs_dict *newest = way % 2 ? &dicts[count - 1] : NULL;
		bool former = false;

		store->dicts->count = count;
		store->dict = newest;
		store->dict_users_known = way & 2;
		for (unsigned i = 0; i < 3; i++) {
			dicts[i].codec =
				&dicts[i] == newest || way >> (2 + i % 2) & 1 ? codec : NULL;
			dicts[i].users = &dicts[i] == newest ? 5 : way >> (4 + i % 2) & 1;
			if (newest && i + 1 < count && dicts[i].codec)
				former |= dicts[i].users || !store->dict_users_known;
		}
		assert_int_equal(only_dict(store), former ? newest->number : 0);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(dicts[i].packing, 0);
	}
	pfs_codec_dict_free(codec);
	pthread_mutex_destroy(&store->commit);
	free(store->dicts);
	free(store);
}

/* Proves: packing is worth it where pages are untidy, or enough of them is dead, or it takes fewer
 * pages, to the byte; and only then. */
static void some_gain_nothing(void **state)
{
	struct pfs_sim *sim = begin();
	const struct pfs_store *store = moment.store;
	const uint64_t room = store->super.page_size - PFS_PAGE_HEADER_LEN - PFS_PAGE_TRAILER_LEN;
	const struct {
		struct pfs_packing_plan plan;
		bool gains_nothing;
	} cases[] = {
		{{.pages = 0}, true},
		{{.pages = 1, .live = 1, .untidy = 1}, false},
		{{.pages = 1, .live = 1}, false}, /* no dead ones are not less than a part of it */
		{{.pages = 1, .live = 2 * DEAD_DIV, .dead = 1}, true},
		{{.pages = 1, .live = 2 * DEAD_DIV, .dead = 2}, false},
		{{.pages = 1, .live = room}, true},
		{{.pages = 2, .live = room}, false},
		{{.pages = 2, .live = room + 1}, true},
		{{.pages = 2, .live = 2 * room}, true},
		{{.pages = 3, .live = 2 * room}, false},
		{{.pages = 3, .live = 2 * room + 1}, true},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++)
		assert_int_equal(gains_nothing(store, &cases[i].plan), cases[i].gains_nothing);
	end(sim);
}

/* Proves: what is packed already is not trained for each time, if at least seven of eight points
 * need the newest dictionary; else it is. */
static void what_is_packed_is_not_trained_for(void **state)
{
	struct pfs_sim *sim = begin();
	struct pfs_dict dict = {.number = 1};
	struct told t = {0};

	(void)state;
	trainings = 0;
	assert_int_equal(compact(&t, NULL), 0);
	assert_int_equal(trainings, 1);
	assert_int_equal(compact(&t, NULL), 0);
	assert_int_equal(trainings, 2);
	moment.store->dict = &dict;
	for (unsigned n = 0; n < 4; n++) {
		dict.users = DOCS - DOCS / 8 - (n == 1);
		moment.store->dict_users_known = n != 2;
		moment.store->dict_off = n == 3;
		trainings = 0;
		assert_int_equal(compact(&t, NULL), 0);
		assert_int_equal(trainings, n > 0);
		assert_int_equal(dict.packing, 0);
	}
	moment.store->dict_off = false;
	dict.users = DOCS;
	/* But what has room to be given back is. */
	for (unsigned i = 0; i < DOCS / 2; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(moment.store, &key, LEN, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	trainings = 0;
	t = (struct told){0};
	assert_int_equal(compact(&t, NULL), 0);
	assert_int_equal(trainings, 1);
	moment.store->dict = NULL;
	expect_documents();
	end(sim);
}

/* Proves: what a new dictionary makes smaller is looked for when it is there, and packed with it,
 * also where nothing was to be gained before; the rest stays. */
static void what_was_trained_is_used(void **state)
{
	struct pfs_sim *sim = begin();
	struct told t = {0};
	struct pfs_compact_result result;

	(void)state;
	assert_int_equal(compact(&t, NULL), 0);
	trains = true;
	assert_int_equal(pfs_store_compact(moment.store, NULL, NULL, NULL, &result), 0);
	trains = false;
	assert_in_range(result.values, TRAINED, DOCS / 2);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		struct pfs_place place;

		assert_int_equal(pfs_place(moment.store, &key, &place), 0);
		assert_int_equal(place.dictionary, i < TRAINED);
	}
	expect_documents();
	end(sim);
}

/* Proves: without figures nothing is packed, and that is said; when they lack at the end, the
 * packing is done. */
static void figures_are_needed_before(void **state)
{
	struct pfs_sim *sim = begin();
	struct pfs_compact_result result;

	(void)state;
	stats = 1;
	assert_int_equal(pfs_store_compact(moment.store, NULL, NULL, NULL, &result), -EIO);
	assert_int_equal(result.values, 0);
	assert_true(disorder() > 0);
	stats = 2;
	assert_int_equal(pfs_store_compact(moment.store, NULL, NULL, NULL, &result), 0);
	assert_int_equal(result.values, 0);
	assert_int_equal(disorder(), 0);
	end(sim);
}

/* Proves: when a packing is done, no room is left reserved on disk that nobody uses. */
static void what_is_not_needed_is_given_back(void **state)
{
	struct pfs_sim *sim = begin_with(8 * PFS_MIB);
	struct pfs_compact_result result;
	struct pfs_store_stat stat;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		if (i % 8)
			assert_int_equal(pfs_remove(moment.store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_compact(moment.store, NULL, NULL, NULL, &result), 0);
	assert_int_equal(pfs_store_stat(moment.store, &stat), 0);
	assert_int_equal(result.pages_after, 1);
	assert_in_range(result.disk_after, stat.used_bytes, stat.used_bytes + 2 * 4096);
	end(sim);
}

/* Proves: of the ids that are listed the lowest half of the room stays, in order, or all that are
 * fewer. */
static void the_lowest_ids_are_kept(void **state)
{
	(void)state;
	for (size_t count = 0; count <= 10; count++) {
		struct entry entries[10] = {{0}};
		struct run run = {.entries = entries, .count = count, .cap = 10};

		for (size_t i = 0; i < count; i++)
			entries[i] = (struct entry){.tag = count - 1 - i, .kind = 1};
		keep_lowest(&run);
		assert_int_equal(run.count, count < 5 ? count : 5);
		for (size_t i = 0; i < run.count; i++)
			assert_int_equal(entries[i].tag, i);
	}
}

static uint64_t available;

static int some_space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	*out = (struct pfs_io_space){.available = available};
	return available == UINT64_MAX ? -EIO : 0;
}

/* Proves: all is copied in order where there is room for the values, their slots and the journal
 * meanwhile, to the byte; not where nobody knows. */
static void a_copy_needs_room(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));
	const struct pfs_io_ops ops = {.space = some_space};
	struct pfs_dir dir = {.ops = &ops};
	struct run run = {.store = store, .plan = {.total = 12345678, .values = 1000}};
	const uint64_t need = 12345678 + 1000 * 16 + 16 * PFS_MIB;

	(void)state;
	store->dir = &dir;
	for (unsigned i = 0; i < 4; i++) {
		available = i == 3 ? UINT64_MAX : need - 1 + i;
		assert_int_equal(has_room_for_copy(&run), i == 1 || i == 2);
	}
	free(store);
}

/* Proves: packing gains something when values could be smaller or in order, when a part in 32 is
 * dead, or when a page could be saved; and nothing when there is none to be packed. */
static void what_packing_gains(void **state)
{
	static const struct {
		uint64_t untidy, dead, live, pages; /* live: in bytes of two pages */
		bool nothing;
	} cases[] = {
		{0, 0, 0, 0, true},	{1, 9, 0, 0, true},    {0, 0, 0, 2, true},
		{1, 0, 0, 2, false},	{0, 0, 0, 3, false},   {0, 0, 1, 3, true},
		{0, 0, 1, 4, false},	{0, 4094, 0, 2, true}, {0, 4095, 0, 2, true},
		{0, 4096, 0, 2, false},
	};
	struct pfs_store *store = calloc(1, sizeof(*store));
	uint64_t room = 65536 - 64 - PFS_PAGE_TRAILER_LEN;

	(void)state;
	store->super.page_size = 65536;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_packing_plan plan = {.untidy = cases[i].untidy,
						.pages = cases[i].pages,
						.dead = cases[i].dead,
						.live = 2 * room + cases[i].live};

		/* A part in 32 of what is live. */
		if (plan.dead)
			plan.dead = plan.dead - 4096 + plan.live / 32;
		if (gains_nothing(store, &plan) != cases[i].nothing)
			fail_msg("case %zu", i);
	}
	free(store);
}

/* Proves: ids are numbers, UUIDs, names, each in order; of the same id in several slots, which only
 * damage brings about, the slots are. */
static void ids_have_an_order(void **state)
{
	struct entry entries[81];
	size_t n = 0;

	(void)state;
	for (uint32_t kind = 1; kind < 4; kind++)
		for (uint64_t tag = 0; tag < 3; tag++)
			for (uint32_t page = 1; page < 4; page++)
				for (uint32_t slot = 0; slot < 3; slot++)
					entries[n++] = (struct entry){tag << 40, page, slot, kind};
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			assert_int_equal(by_id(&entries[i], &entries[k]), i < k	   ? -1
									  : i == k ? 0
										   : 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_packed_is_not_trained_for),
		cmocka_unit_test(what_was_trained_is_used),
		cmocka_unit_test(figures_are_needed_before),
		cmocka_unit_test(what_is_not_needed_is_given_back),
		cmocka_unit_test(the_lowest_ids_are_kept),
		cmocka_unit_test(a_copy_needs_room),
		cmocka_unit_test(what_packing_gains),
		cmocka_unit_test(ids_have_an_order),
		cmocka_unit_test(many_ids_are_packed_in_order),
		cmocka_unit_test(packing_gives_way),
		cmocka_unit_test(full_pages_stay),
		cmocka_unit_test(pages_may_go_meanwhile),
		cmocka_unit_test(values_may_go_meanwhile),
		cmocka_unit_test(surveys_count_what_is_to_be_moved),
		cmocka_unit_test(when_a_former_dictionary_matters),
		cmocka_unit_test(some_gain_nothing),
	};

	return cmocka_run_group_tests_name("moments of packing", tests, NULL, NULL);
}
