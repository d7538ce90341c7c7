/* storage/store_checkpoint.c, step by step: what a checkpoint does, in which order and with which
 * locks; what others do meanwhile; which errors end it, and what is left then. The file is included
 * and tells what it calls, and at each step something may happen. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_apply.h"
#include "storage/store_internal.h"

static bool step(const char *what);
static void *memory_or_none(size_t len);
static void need_commit(struct pfs_store *of);
static void need_wake_alone(struct pfs_store *of);
static void need_no_lock(struct pfs_store *of);

static struct {
	char told[1024]; /* each step once, however often it is made one after the other */
	const char *last;
	const char *at, *then; /* where something happens */
	void (*happens)(void), (*happens_then)(void);
	unsigned refused_at; /* of what memory is needed for; 0: all is had */
	unsigned limbo;	     /* versions */
	int super_err;
	struct pfs_segment *oldest; /* if is_given */
	bool is_given;
} t;

#define malloc(len) memory_or_none(len)
#define pfs_limbo(store, v) (t.limbo++, pfs_limbo(store, v))
#define pfs_epoch_collect(store) (need_no_lock(store), step("epoch"), pfs_epoch_collect(store))
#define pfs_journal_rotate(journal) \
	(need_commit(store), step("rotate"), pfs_journal_rotate(journal))
#define pfs_journal_sync(...) (step("journal"), pfs_journal_sync(__VA_ARGS__))
#define pfs_apply(gather, v) (step("containers"), pfs_apply(gather, v))
#define pfs_slot_encode(disk, slot)                                         \
	(step((slot)->kind == PFS_SLOT_TOMBSTONE ? "tombstones" : "slots"), \
	 pfs_slot_encode(disk, slot))
#define pfs_pager_sync(pager) (step("pages"), pfs_pager_sync(pager))
#define pfs_index_set_word(...) (need_commit(store), step("shown"), pfs_index_set_word(__VA_ARGS__))
#define pfs_journal_declare(...) \
	(need_commit(store), step("declare"), pfs_journal_declare(__VA_ARGS__))
#define pfs_journal_sync_declared(journal) (step("declared"), pfs_journal_sync_declared(journal))
#define pfs_super_write(...) \
	(step("super"), t.super_err ? t.super_err : pfs_super_write(__VA_ARGS__))
#define pfs_journal_reuse(journal) (need_commit(store), step("reuse"), pfs_journal_reuse(journal))
#define pthread_cond_broadcast(cond) \
	(need_wake_alone(store), step("wake"), pthread_cond_broadcast(cond))
#define pfs_journal_trim_unlocked(...) \
	(need_no_lock(store), step("trim"), pfs_journal_trim_unlocked(__VA_ARGS__))
#define pfs_journal_oldest(journal) (t.is_given ? t.oldest : pfs_journal_oldest(journal))
#include "storage/store_checkpoint.c"
#undef malloc
#undef pfs_slot_encode
#undef pfs_index_set_word

#include "tests/unit/one_store.h"

static bool step(const char *what)
{
	size_t len = strlen(t.told);

	if (!t.last || strcmp(t.last, what) != 0)
		snprintf(t.told + len, sizeof(t.told) - len, "%s%s", len ? " " : "", what);
	t.last = what;
	if (t.at && strcmp(t.at, what) == 0) {
		t.at = t.then;
		t.then = NULL;
		t.happens();
		t.happens = t.happens_then;
	}
	return true;
}

static void *memory_or_none(size_t len)
{
	return t.refused_at && --t.refused_at == 0 ? NULL : malloc(len);
}

static bool is_free(pthread_mutex_t *lock)
{
	int err = pthread_mutex_trylock(lock);

	if (!err)
		pthread_mutex_unlock(lock);
	return !err;
}

static void need_commit(struct pfs_store *of)
{
	assert_false(is_free(&of->commit));
}

static void need_wake_alone(struct pfs_store *of)
{
	assert_true(is_free(&of->commit) && !is_free(&of->wake_lock));
}

static void need_no_lock(struct pfs_store *of)
{
	assert_true(is_free(&of->commit) && is_free(&of->wake_lock));
}

/* ---- a store, and what is done with it ---- */

enum { LEN = 700 };

static uint32_t orphan;	    /* lost its name, and is open */
static uint64_t orphan_was; /* its word, which somebody still has */

static int begin(void **state)
{
	(void)state;
	sim = pfs_sim_new();
	create_store(sim, PFS_MIB, 16);
	store = open_held(sim);
	memset(&t, 0, sizeof(t));
	return 0;
}

static void put(unsigned i, size_t len, uint64_t seed)
{
	const struct pfs_key key = pfs_key_num(i);

	put_document(store, &key, len, seed);
}

static uint32_t object_of(unsigned i)
{
	const struct pfs_key key = pfs_key_num(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

static void expect_bytes(uint32_t object, size_t len, uint64_t seed)
{
	uint8_t want[2 * LEN], have[2 * LEN];

	fill_document(want, len, seed);
	assert_int_equal(pfs_read(store, object, 0, have, sizeof(have)), len);
	assert_memory_equal(have, want, len);
}

static void expect_told(const char *want)
{
	assert_string_equal(t.told, want);
	t.told[0] = '\0';
	t.last = NULL;
}

/* What is free in the pages is what is known of it, and all documents can be read. */
static void expect_right(void)
{
	struct found *found = calloc(1, sizeof(*found));

	assert_int_equal(pfs_store_check(store, keep_finding, NULL, found, NULL, &found->result),
			 0);
	print_found(found);
	assert_int_equal(found->count, 0);
	free(found);
}

/* ---- the order ---- */

/* Proves: the steps are in their order, with a sync or an epoch where one has to pass, and each has
 * the locks that it needs and no others; what is not needed any more is free at the end. */
static void steps_are_in_order(void **state)
{
	uint64_t made = store->room_made;

	(void)state;
	put(1, LEN, 1);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	expect_told("rotate journal epoch super containers pages slots pages shown epoch declare "
		    "declared epoch reuse wake trim");
	assert_true(pfs_list_empty(&store->limbo));
	/* To another place. */
	put(1, 2 * LEN, 1);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	expect_told(
		"rotate journal epoch containers pages slots pages shown epoch tombstones pages "
		"declare declared epoch reuse wake trim");
	assert_true(pfs_list_empty(&store->limbo));
	assert_int_equal(store->room_made, made + 2);
	expect_bytes(object_of(1), 2 * LEN, 1);
}

/* Proves: a store that is read-only is left as it is. */
static void read_only_stores_are_left(void **state)
{
	(void)state;
	put(1, LEN, 1);
	store->failed = true;
	assert_int_equal(pfs_checkpoint(store, false), -EROFS);
	store->failed = false;
	store->opened_read_only = true;
	assert_int_equal(pfs_checkpoint(store, true), -EROFS);
	store->opened_read_only = false;
	expect_told("");
	assert_false(pfs_list_empty(&store->pending));
}

/* ---- errors ---- */

/* Proves: without memory, whichever it is, nothing is begun, and the next checkpoint does it. */
static void memory_is_had_first(void **state)
{
	(void)state;
	put(1, LEN, 0);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	for (unsigned n = 1; n <= 3; n++) {
		put(1, LEN, n);
		t.told[0] = '\0';
		t.refused_at = n;
		assert_int_equal(pfs_checkpoint(store, false), -ENOMEM);
		assert_int_equal(t.refused_at, 0);
		expect_told("rotate journal epoch");
		expect_bytes(object_of(1), LEN, n);
		assert_int_equal(pfs_checkpoint(store, false), 0);
		expect_bytes(object_of(1), LEN, n);
	}
}

static void change_mode(void)
{
	const struct pfs_attr attr = {.mode = 0600};

	assert_int_equal(pfs_setattr(store, object_of(1), PFS_ATTR_MODE, &attr, NULL), 0);
}

/* Proves: where a change that came meanwhile can't be told where its bytes are from now on, the
 * journal stays as it is, the store is read-only, and the document is right, also when it is opened
 * again. */
static void the_journal_is_kept_where_it_is_needed(void **state)
{
	uint64_t done = store->counters.checkpoints;
	struct pfs_sim *left;

	(void)state;
	put(1, LEN, 1);
	t.at = "journal";
	t.happens = change_mode;
	t.refused_at = 4;
	assert_int_equal(pfs_checkpoint(store, false), -EROFS);
	assert_int_equal(t.refused_at, 0);
	expect_told("rotate journal epoch super containers pages slots pages");
	assert_int_equal(store->counters.checkpoints, done);
	assert_false(pfs_store_is_writable(store));
	expect_bytes(object_of(1), LEN, 1);
	left = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), -EROFS);
	pfs_sim_free(sim);
	sim = left;
	store = open_held(sim);
	expect_bytes(object_of(1), LEN, 1);
}

static void lose_superblock(void)
{
	t.super_err = -EIO;
}

/* Proves: a journal of which the superblock can't say that it was begun, as an opening on a full
 * disk does not, is not given back. */
static void the_journal_must_be_marked(void **state)
{
	uint64_t epoch = --store->super.journal_epoch;

	(void)state;
	put(1, LEN, 1);
	lose_superblock();
	assert_int_equal(pfs_store_mark_journal(store), -EIO);
	assert_int_equal(store->super.journal_epoch, epoch);
	t.super_err = 0;
	t.at = "declared";
	t.happens = lose_superblock;
	assert_int_equal(pfs_checkpoint(store, false), -EROFS);
	expect_told("super rotate journal epoch super containers pages slots pages shown epoch "
		    "declare declared super");
	assert_int_equal(store->super.journal_epoch, epoch);
	expect_bytes(object_of(1), LEN, 1);
	assert_int_equal(pfs_store_close(store), -EROFS);
	t.super_err = 0;
	store = open_held(sim);
	expect_bytes(object_of(1), LEN, 1);
}

/* Proves: journal that is kept is from the oldest segment to where the checkpoint began, if there
 * is any. */
static void what_is_kept_is_counted(void **state)
{
	struct checkpoint cp = {.store = store, .below = 7};
	struct pfs_segment segment = {.number = 4};

	(void)state;
	t.is_given = true;
	assert_int_equal(not_recycled(&cp), 0);
	t.oldest = &segment;
	assert_int_equal(not_recycled(&cp), 3 * PFS_SEGMENT_SIZE);
	segment.number = 6;
	assert_int_equal(not_recycled(&cp), PFS_SEGMENT_SIZE);
	segment.number = 7;
	assert_int_equal(not_recycled(&cp), 0);
	segment.number = 8;
	assert_int_equal(not_recycled(&cp), 0);
	t.is_given = false;
}

/* ---- what is open without a name ---- */

static unsigned count(const struct pfs_list *list)
{
	unsigned n = 0;

	for (const struct pfs_list *item = list->next; item != list; item = item->next)
		n++;
	return n;
}

static void release_it(void)
{
	pfs_release(store, orphan);
}

static void write_to_it(void)
{
	uint8_t bytes[LEN];

	fill_document(bytes, LEN, 99);
	assert_int_equal(pfs_write(store, orphan, 0, bytes, LEN, 5), 0);
}

/* What belongs to the checkpoint is not taken from it. */
static void release_meanwhile(void)
{
	unsigned before = count(&store->batch);

	release_it();
	assert_int_equal(count(&store->batch), before);
}

static void write_meanwhile(void)
{
	unsigned before = count(&store->batch);

	write_to_it();
	assert_int_equal(count(&store->batch), before);
}

/* Document 1 lies in a page; it loses its name, and stays open. */
static void lose_name(void)
{
	const struct pfs_key key = pfs_key_num(1);

	put(1, LEN, 1);
	put(2, LEN, 3);
	assert_int_equal(pfs_checkpoint(store, false), 0);
	orphan = object_of(1);
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	t.told[0] = '\0';
	t.limbo = 0;
}

/* Proves: whenever, during a checkpoint that says it in the pages, a document that has no name any
 * more is written to or closed for the last time, its space is given back once, and what the
 * checkpoint has of it, too. */
static void it_is_let_go_meanwhile(void **state)
{
	static const char *const moments[] = {"journal", "pages", "tombstones", "declared", "trim"};

	(void)state;
	for (unsigned writes = 0; writes < 2; writes++) {
		for (size_t m = 0; m < pfs_array_len(moments); m++) {
			bool is_left = m + 1 == pfs_array_len(moments);

			lose_name();
			/* It is the checkpoint's until that lets go of it. */
			t.at = moments[m];
			if (is_left)
				t.happens = writes ? write_to_it : release_it;
			else
				t.happens = writes ? write_meanwhile : release_meanwhile;
			assert_int_equal(pfs_checkpoint(store, false), 0);
			assert_null(t.at);
			assert_int_equal(t.limbo, !is_left);
			expect_right();
			put(3, LEN, 2 * m + 1);
			if (writes)
				expect_bytes(orphan, LEN, 99);
			assert_int_equal(pfs_checkpoint(store, false), 0);
			expect_right();
			if (writes)
				release_it();
			assert_int_equal(pfs_checkpoint(store, false), 0);
			expect_right();
			expect_bytes(object_of(2), LEN, 3);
			expect_bytes(object_of(3), LEN, 2 * m + 1);
		}
	}
}

static void look_and_write(void)
{
	pfs_epoch_enter();
	orphan_was = pfs_index_word(store->index, orphan);
	write_to_it();
}

static void read_what_was(void)
{
	uint8_t want[LEN], have[LEN];

	fill_document(want, LEN, 1);
	assert_int_equal(pfs_word_to_version(orphan_was)->source.kind, PFS_SOURCE_CONTAINER);
	memset(have, 0xee, LEN);
	assert_int_equal(pfs_read_word(store, orphan_was, 0, have, LEN), LEN);
	assert_memory_equal(have, want, LEN);
	pfs_epoch_leave();
}

/* Proves: who has begun to read such a document when it is written to reads what it was, wherever
 * the checkpoint is. */
static void it_is_read_meanwhile(void **state)
{
	(void)state;
	lose_name();
	t.at = "tombstones";
	t.happens = look_and_write;
	t.then = "declare";
	t.happens_then = read_what_was;
	assert_int_equal(pfs_checkpoint(store, false), 0);
	assert_null(t.at);
	expect_bytes(orphan, LEN, 99);
	release_it();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(steps_are_in_order, begin, end_store),
		cmocka_unit_test_setup_teardown(read_only_stores_are_left, begin, end_store),
		cmocka_unit_test_setup_teardown(memory_is_had_first, begin, end_store),
		cmocka_unit_test_setup_teardown(the_journal_is_kept_where_it_is_needed, begin,
						end_store),
		cmocka_unit_test_setup_teardown(the_journal_must_be_marked, begin, end_store),
		cmocka_unit_test_setup_teardown(what_is_kept_is_counted, begin, end_store),
		cmocka_unit_test_setup_teardown(it_is_let_go_meanwhile, begin, end_store),
		cmocka_unit_test_setup_teardown(it_is_read_meanwhile, begin, end_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
