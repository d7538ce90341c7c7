/* storage/store_snapshot.c: what a snapshot keeps of a document before it is changed, under which
 * locks, and what it does without memory. The file is included, to call its parts. */
#include <pthread.h>
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static struct pfs_former *former_or_none(const struct pfs_key *key);
static int pin_or_none(struct pfs_pins *pins, uint32_t page, uint32_t off);
static void *memory_or_none(size_t n, size_t len);
static void need_chain(void);
static void need_commit(void);
static void need_no_chain(const pthread_mutex_t *mutex);
static void note_wanted(void);
static void before_find(void);
static bool note_never(void);

#define pfs_former_new former_or_none
#define pfs_pins_ref pin_or_none
#define calloc(n, len) memory_or_none(n, len)
#define malloc(len) memory_or_none(1, len)
#define free(block) poisoned_free(block)
#define pthread_mutex_lock(mutex) (need_no_chain(mutex), pthread_mutex_lock(mutex))
#define pfs_overlay_add(...) (need_chain(), pfs_overlay_add(__VA_ARGS__))
#define pfs_overlay_remove(...) (need_chain(), pfs_overlay_remove(__VA_ARGS__))
#define pfs_pins_trim(pins) (need_commit(), pfs_pins_trim(pins))
#define pfs_journal_appended(journal) (need_commit(), pfs_journal_appended(journal))
#define pfs_want_checkpoint(...) (note_wanted(), pfs_want_checkpoint(__VA_ARGS__))
#define pfs_find(...) (before_find(), pfs_find(__VA_ARGS__))
/* As in a release: it goes on. */
#undef PFS_NEVER
#define PFS_NEVER(logger, cond) ((void)(logger), (cond) && note_never())
#include "storage/store_snapshot.c"
#undef pfs_former_new
#undef pfs_pins_ref
#undef calloc
#undef malloc
#undef free
#undef pthread_mutex_lock
#undef pfs_overlay_add
#undef pfs_overlay_remove
#undef pfs_pins_trim
#undef pfs_journal_appended
#undef pfs_want_checkpoint
#undef pfs_find

#include "tests/unit/store_helpers.h"

static struct {
	struct pfs_store *store;
	bool no_former, no_pin, no_memory;
	unsigned wanted; /* checkpoints */
	bool put_before_find;
	unsigned logged, nevers;
} now;

static struct pfs_former *former_or_none(const struct pfs_key *key)
{
	return now.no_former ? NULL : pfs_former_new(key);
}

static int pin_or_none(struct pfs_pins *pins, uint32_t page, uint32_t off)
{
	return now.no_pin ? -ENOMEM : pfs_pins_ref(pins, page, off);
}

static void *memory_or_none(size_t n, size_t len)
{
	return now.no_memory ? NULL : calloc(n, len);
}

static void need(pthread_mutex_t *mutex)
{
	assert_int_equal(pthread_mutex_trylock(mutex), EBUSY);
}

static void need_chain(void)
{
	need(&now.store->snapshots.lock);
}

static void need_commit(void)
{
	need(&now.store->commit);
}

/* The lock of the chain is the innermost. */
static void need_no_chain(const pthread_mutex_t *mutex)
{
	if (!now.store || mutex != &now.store->commit)
		return;
	assert_int_equal(pthread_mutex_trylock(&now.store->snapshots.lock), 0);
	pthread_mutex_unlock(&now.store->snapshots.lock);
}

static void note_wanted(void)
{
	now.wanted++;
}

static bool note_never(void)
{
	assert_true(now.nevers++ < 100);
	return true;
}

static void before_find(void)
{
	struct pfs_key key = pfs_key_num(1);

	if (!now.put_before_find)
		return;
	now.put_before_find = false;
	put_document(now.store, &key, 77, 3);
}

static void count_lines(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	now.logged++;
}

static struct pfs_sim *begin(bool hold)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = hold,
					   .io = pfs_sim_io(sim),
					   .logger = {.fn = count_lines}};

	memset(&now, 0, sizeof(now));
	create_store(sim, PFS_MIB, 16);
	assert_int_equal(pfs_store_open(&now.store, STORE, &options, NULL), 0);
	return sim;
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(now.store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static void put(uint64_t number, size_t len)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(now.store, &key, len, number);
}

static void remove_number(uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);

	assert_int_equal(pfs_remove(now.store, &key, NULL), 0);
}

static struct pfs_snapshot *open_snapshot(void)
{
	struct pfs_snapshot *snapshot;

	assert_int_equal(pfs_snapshot_open(now.store, &snapshot), 0);
	return snapshot;
}

static void expect_shown(struct pfs_snapshot *snapshot, uint64_t number, size_t len)
{
	struct pfs_key key = pfs_key_num(number);
	uint8_t want[400];
	size_t got_len;
	void *got;

	assert_true(len <= sizeof(want));
	fill_document(want, len, number);
	assert_int_equal(pfs_snapshot_get(snapshot, &key, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, want, len);
	free(got);
}

/* ---- entries ---- */

/* Proves: of a version that only moves, to wherever else, the entry names the place that it moves
 * from; of any other the one that it is being written to, and it is told when that is done. Without
 * memory for the pin nothing is named. */
static void places_of_versions(void **state)
{
	static const struct {
		bool moved;
		uint32_t page, slot; /* that it goes to, from page 3, slot 5 */
		bool comes;
	} cases[] = {{true, 3, 5, true},  {true, 3, 6, false}, {true, 4, 5, false},
		     {true, 4, 6, false}, {false, 3, 5, true}, {false, 3, 6, true},
		     {false, 4, 5, true}, {false, 4, 6, true}};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	memset(&now, 0, sizeof(now));
	store->logger = quiet;
	store->applying = 7;
	for (unsigned i = 0; i < 2 * pfs_array_len(cases); i++) {
		const typeof(cases[0]) *c = &cases[i / 2];
		struct pfs_former *former = pfs_former_new(&key);
		struct pfs_version v = {.moved = c->moved,
					.batch = 7,
					.home = {3, 5, 1000, 100},
					.target = {c->page, c->slot, 2000, 200}};
		const struct pfs_extent_at *at = c->comes ? &v.target : &v.home;
		struct pfs_extent_at gone;

		now.no_pin = i % 2;
		assert_int_equal(keep_version(store, former, &v), now.no_pin ? -ENOMEM : 0);
		assert_ptr_equal(v.former, c->comes && !now.no_pin ? former : NULL);
		if (!now.no_pin) {
			assert_int_equal(former->state,
					 c->comes ? PFS_FORMER_COMING : PFS_FORMER_CONTAINER);
			assert_int_equal(former->page, at->page);
			assert_int_equal(former->off, at->off);
			assert_int_equal(former->len, at->len);
			assert_true(pfs_pins_unref(&store->snapshots.pins, at->page,
						   (uint32_t)at->off, &gone));
		} else {
			assert_int_equal(former->state, PFS_FORMER_ABSENT);
		}
		assert_int_equal(store->snapshots.pins.count, 0);
		free(former);
	}
	pfs_pins_trim(&store->snapshots.pins);
	free(store);
}

/* Proves: of a document in a page the entry names its container, if the slot is that of the key;
 * where page or slot are not to be had, or the slot is none or another's, it is lost, which is no
 * error. */
static void places_in_pages(void **state)
{
	enum { RIGHT, NO_PAGE, NO_FILE, UNUSED, KIND, TAG, NO_PIN, CASES };
	struct pfs_sim *sim = begin(false);
	struct pfs_key key = pfs_key_num(2);
	struct pfs_extent_at gone;
	struct pfs_place place;
	struct pfs_page *page;
	uint64_t size;

	(void)state;
	for (unsigned i = 1; i < 4; i++)
		put(i, 300);
	assert_int_equal(pfs_store_checkpoint(now.store), 0);
	assert_int_equal(pfs_place(now.store, &key, &place), 0);
	page = pfs_pager_find(now.store->pager, place.page);
	size = page->file_size;
	for (unsigned i = 0; i < CASES; i++) {
		struct pfs_former *former = pfs_former_new(&key);
		uint64_t word = pfs_word_page(i == NO_PAGE ? 999 : place.page,
					      place.slot + (i == UNUSED ? 100 : 0));

		former->state = PFS_FORMER_LOST;
		former->kind = (uint8_t)(former->kind + (i == KIND));
		former->tag += i == TAG;
		now.no_pin = i == NO_PIN;
		page->file_size = i == NO_FILE ? pfs_slot_offset(place.slot) : size;
		assert_int_equal(keep_slot(now.store, former, word), i == NO_PIN ? -ENOMEM : 0);
		page->file_size = size;
		assert_int_equal(former->state, i ? PFS_FORMER_LOST : PFS_FORMER_CONTAINER);
		assert_int_equal(now.store->snapshots.pins.count, !i);
		if (i == RIGHT) {
			assert_int_equal(former->page, place.page);
			assert_int_equal(former->off, place.offset);
			assert_int_equal(former->len, place.container_len);
			assert_true(pfs_pins_unref(&now.store->snapshots.pins, former->page,
						   former->off, &gone));
		}
		free(former);
	}
	pfs_pins_trim(&now.store->snapshots.pins);
	end(sim);
}

/* Proves: without memory there is no snapshot, and nothing is changed that one shows; then it is
 * done as if nothing had been. */
static void without_memory(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	struct pfs_snapshot *snapshot;
	size_t len;
	void *got;

	(void)state;
	put(1, 300);
	now.no_memory = true;
	snapshot = (void *)sim;
	assert_int_equal(pfs_snapshot_open(now.store, &snapshot), -ENOMEM);
	assert_null(snapshot);
	assert_int_equal(now.store->snapshots.count, 0);
	now.no_memory = false;
	snapshot = open_snapshot();
	now.no_memory = true;
	got = sim;
	len = 4711;
	assert_int_equal(pfs_snapshot_get(snapshot, &key, &got, &len, NULL), -ENOMEM);
	assert_true(!got && !len);
	now.no_memory = false;
	expect_shown(snapshot, 1, 300);
	for (unsigned i = 0; i < 2; i++) {
		now.no_former = i == 0;
		now.no_pin = i == 1;
		assert_int_equal(pfs_put(now.store, &key, "new", 3, NULL, 0, NULL), -ENOMEM);
		assert_int_equal(pfs_remove(now.store, &key, NULL), -ENOMEM);
		expect_shown(snapshot, 1, 300);
	}
	now.no_former = now.no_pin = false;
	assert_int_equal(pfs_put(now.store, &key, "new", 3, NULL, 0, NULL), 0);
	expect_shown(snapshot, 1, 300);
	pfs_snapshot_close(snapshot);
	end(sim);
}

/* ---- locks ---- */

/* Proves: a snapshot begins under the commit lock, also in a store that is read-only or has failed,
 * and shows what is there. (In all of these tests, that its entries come and go under the lock of
 * the chain, and what is pinned under the commit lock.) */
static void they_begin_under_the_lock(void **state)
{
	struct pfs_sim *sim = begin(false);
	struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_snapshot *older, *newer;

	(void)state;
	put(1, 300);
	put(2, 200);
	older = open_snapshot();
	newer = open_snapshot();
	put(1, 10);
	pfs_snapshot_close(newer); /* which hands its entry on */
	expect_shown(older, 1, 300);
	pfs_snapshot_close(older);
	now.store->failed = true;
	newer = open_snapshot();
	expect_shown(newer, 1, 10);
	pfs_snapshot_close(newer);
	now.store->failed = false;
	assert_int_equal(pfs_store_close(now.store), 0);
	assert_int_equal(pfs_store_open(&now.store, STORE, &options, NULL), 0);
	newer = open_snapshot();
	expect_shown(newer, 2, 200);
	pfs_snapshot_close(newer);
	assert_int_equal(now.store->snapshots.count, 0);
	end(sim);
}

/* Proves: a checkpoint is wanted when a snapshot is closed for which something stayed, and only
 * then. */
static void what_stayed_is_to_go(void **state)
{
	struct pfs_sim *sim = begin(false);
	struct pfs_snapshot *snapshot;

	(void)state;
	put(1, 300);
	snapshot = open_snapshot();
	pfs_snapshot_close(snapshot);
	assert_int_equal(now.wanted, 0);
	snapshot = open_snapshot();
	put(1, 200);
	assert_int_equal(pfs_store_checkpoint(now.store), 0);
	assert_true(now.store->snapshots.pins.freed_bytes > 0);
	pfs_snapshot_close(snapshot);
	assert_int_equal(now.wanted, 1);
	assert_int_equal(now.store->snapshots.pins.freed_bytes, 0);
	end(sim);
}

/* Proves: snapshots that nobody has closed are freed with the store, which is a fault of their
 * owners, and keeps nothing. */
static void who_did_not_close_them(void **state)
{
	struct pfs_sim *sim = begin(false);

	(void)state;
	put(1, 300);
	for (unsigned i = 0; i < 3; i++) {
		(void)open_snapshot();
		put(1, 200 + i);
	}
	assert_int_equal(now.store->snapshots.count, 3);
	pfs_snapshots_end(now.store);
	assert_int_equal(now.store->snapshots.count, 0);
	assert_int_equal(now.nevers, 3);
	pfs_snapshots_end(now.store);
	assert_int_equal(now.nevers, 3);
	end(sim);
	assert_int_equal(now.nevers, 3);
}

/* ---- reading ---- */

/* Proves: what an entry says is not there, or lost, is so without a look into the pages. */
static void entries_without_a_place(void **state)
{
	struct pfs_sim *sim = begin(false);
	const struct pfs_former absent = {.state = PFS_FORMER_ABSENT, .kind = PFS_KEY_NUM},
				lost = {.state = PFS_FORMER_LOST, .kind = PFS_KEY_NUM};
	struct pfs_view view;

	(void)state;
	assert_int_equal(view_former(now.store, &absent, &view), -ENOENT);
	assert_int_equal(view_former(now.store, &lost, &view), -EIO);
	assert_int_equal(now.logged, 0);
	end(sim);
}

/* Proves: of a document whose bytes are lost nothing is read, in part or as a whole, and no memory
 * is taken; it is there if its size is known. */
static void lost_bytes_are_not_read(void **state)
{
	struct pfs_sim *sim = begin(false);
	uint8_t buf[8];

	(void)state;
	for (unsigned way = 0; way < 9; way++) {
		static const uint64_t sizes[] = {0, 1, 5};
		struct look look = {
			.whole = way / 3 == 1,
			.buf = way / 3 == 2 ? buf : NULL,
			.len = sizeof(buf),
			.view = {.size = sizes[way % 3], .source = {.kind = PFS_SOURCE_LOST}}};
		size_t got = 4711;

		assert_int_equal(take_look(now.store, &look, &got),
				 way == 1 || way == 2 ? 0 : -EIO);
		assert_int_equal(got, 0);
		assert_ptr_equal(look.buf, way / 3 == 2 ? buf : NULL);
	}
	end(sim);
}

/* Proves: a document that is changed while a snapshot looks for it is shown as it was. */
static void changes_meanwhile_are_not_shown(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	uint8_t want[300], have[300];

	(void)state;
	put(1, 300);
	fill_document(want, sizeof(want), 1);
	for (unsigned way = 0; way < 3; way++) {
		struct pfs_snapshot *snapshot = open_snapshot();
		struct pfs_attr attr;

		now.put_before_find = true;
		if (way == 0)
			expect_shown(snapshot, 1, 300);
		else if (way == 1)
			assert_int_equal(pfs_snapshot_read(snapshot, &key, 0, have, 400), 300);
		else
			assert_int_equal(pfs_snapshot_lookup(snapshot, &key, &attr), 0);
		assert_false(now.put_before_find);
		if (way == 1)
			assert_memory_equal(have, want, 300);
		if (way == 2)
			assert_int_equal(attr.size, 300);
		pfs_snapshot_close(snapshot);
		put(1, 300);
	}
	end(sim);
}

/* Proves: what is open without a name, and what has none, is in no snapshot. */
static void temporary_keys_are_not_shown(void **state)
{
	struct pfs_key key = pfs_key_num(1), temp, none = {.kind = PFS_KEY_NONE};
	struct pfs_sim *sim = begin(true);
	struct pfs_snapshot *snapshot;
	struct pfs_attr attr;
	uint32_t object;
	uint8_t byte;
	size_t len;
	void *got;

	(void)state;
	put(1, 300);
	assert_int_equal(pfs_remove(now.store, &key, &object), 0);
	pfs_epoch_enter();
	assert_int_equal(pfs_object_word_key(now.store, object,
					     pfs_index_word(now.store->index, object), &temp),
			 0);
	pfs_epoch_leave();
	assert_int_equal(temp.kind, PFS_KEY_TEMP);
	snapshot = open_snapshot();
	assert_int_equal(pfs_snapshot_read(snapshot, &temp, 0, &byte, 1), -ENOENT);
	assert_int_equal(pfs_snapshot_read(snapshot, &none, 0, &byte, 1), -ENOENT);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &temp, &attr), -ENOENT);
	assert_int_equal(pfs_snapshot_get(snapshot, &temp, &got, &len, NULL), -ENOENT);
	pfs_snapshot_close(snapshot);
	pfs_release(now.store, object);
	end(sim);
}

/* ---- listing ---- */

static uint64_t cookie_of(uint64_t number)
{
	struct pfs_listed listed[16];
	ssize_t n = pfs_list(now.store, 0, listed, pfs_array_len(listed));

	for (ssize_t i = 0; i < n; i++)
		if (listed[i].key.num == number)
			return listed[i].cookie;
	fail_msg("%u is not listed", (unsigned)number);
	return 0;
}

static void expect_listed(struct pfs_snapshot *snapshot, const uint64_t *numbers, size_t count)
{
	struct pfs_snapshot_name names[16];

	assert_int_equal(pfs_snapshot_list(snapshot, 0, names, pfs_array_len(names)), count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(names[i].key.num, numbers[i]);
}

/* Proves: a name that was removed, and made again at another place of the listing, is listed once:
 * where it stood at the snapshot's moment, also when a newer snapshot knows of the other place. */
static void names_that_come_again(void **state)
{
	static const uint64_t before[] = {1, 3, 4, 5, 6}, after[] = {1, 4, 3, 7, 5, 6};
	struct pfs_sim *sim = begin(false);
	struct pfs_snapshot *older, *newer;
	uint64_t free_one;

	(void)state;
	for (unsigned i = 1; i <= 6; i++)
		put(i, 30);
	free_one = cookie_of(2);
	remove_number(2);
	older = open_snapshot();
	remove_number(4);
	put(4, 30);
	put(7, 30);
	assert_int_equal(cookie_of(4), free_one);
	newer = open_snapshot();
	for (unsigned i = 0; i < 2; i++) {
		expect_listed(older, before, pfs_array_len(before));
		expect_listed(newer, after, pfs_array_len(after));
		if (i == 0)
			remove_number(4);
	}
	pfs_snapshot_close(newer);
	expect_listed(older, before, pfs_array_len(before));
	pfs_snapshot_close(older);
	end(sim);
}

/* Proves: what was only made, and what is emptied and held, is listed and shown as it was before
 * that: not at all, or with its bytes. */
static void what_is_held_is_not_listed(void **state)
{
	static const uint64_t there[] = {1, 3};
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1, .size = 0};
	struct pfs_key made = pfs_key_num(2), emptied = pfs_key_num(3);
	struct pfs_sim *sim = begin(false);
	struct pfs_snapshot *snapshot;
	uint32_t object;

	(void)state;
	put(1, 300);
	assert_int_equal(pfs_create(now.store, &made, &attr, &object), 0);
	put(3, 200);
	assert_int_equal(pfs_lookup(now.store, &emptied, &object, NULL), 0);
	assert_int_equal(pfs_setattr(now.store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	snapshot = open_snapshot();
	for (unsigned i = 0; i < 2; i++) {
		expect_listed(snapshot, there, pfs_array_len(there));
		assert_int_equal(pfs_snapshot_lookup(snapshot, &made, &attr), -ENOENT);
		expect_shown(snapshot, 3, 200);
		assert_int_equal(pfs_sync(now.store), 0);
	}
	pfs_snapshot_close(snapshot);
	end(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_of_versions),
		cmocka_unit_test(places_in_pages),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(they_begin_under_the_lock),
		cmocka_unit_test(what_stayed_is_to_go),
		cmocka_unit_test(who_did_not_close_them),
		cmocka_unit_test(entries_without_a_place),
		cmocka_unit_test(lost_bytes_are_not_read),
		cmocka_unit_test(changes_meanwhile_are_not_shown),
		cmocka_unit_test(temporary_keys_are_not_shown),
		cmocka_unit_test(names_that_come_again),
		cmocka_unit_test(what_is_held_is_not_listed),
	};

	return cmocka_run_group_tests_name("entries of snapshots", tests, NULL, NULL);
}
