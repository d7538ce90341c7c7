/* storage/store_compact.c, step by step: which page is chosen, what one lock hold and one step
 * move, when that is brought into the pages, when a page is given up, who is waited for. The file
 * is included; what it calls may fail, and is counted. unit/compact_test has what comes of it all.
 */
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"

static int some_touch(struct pfs_store *of, uint32_t object);
static int some_checkpoint(struct pfs_store *of, bool force);
static int some_load(struct pfs_pager *pager, struct pfs_page *page);
static int some_super(struct pfs_dir *dir, struct pfs_super *super);
static int some_sleep(const struct timespec *how_long);
static int some_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *out);
static void under_lock(bool is);

#define pfs_touch_object(store, object) some_touch(store, object)
#define pfs_checkpoint(store, force) some_checkpoint(store, force)
#define pfs_pager_load(pager, page) some_load(pager, page)
#define pfs_super_write(dir, super) some_super(dir, super)
#define nanosleep(how_long, left) some_sleep(how_long)
#define pfs_page_read_slot(page, number, out) some_slot(page, number, out)
#define pfs_pager_unpublish(pager, page) (under_lock(true), pfs_pager_unpublish(pager, page))
#define pfs_epoch_wait() (under_lock(false), pfs_epoch_wait())
#include "storage/store_compact.c"
#undef pfs_touch_object
#undef pfs_checkpoint
#undef pfs_pager_load
#undef pfs_super_write
#undef nanosleep
#undef pfs_page_read_slot
#undef pfs_pager_unpublish
#undef pfs_epoch_wait

#include "tests/unit/one_store.h"

static struct {
	unsigned touches, checkpoints, forced, loads, supers, sleeps;
	unsigned fail_touch; /* the one that fails; 0: none */
	bool fail_later;     /* and all after it */
	int touch_err, checkpoint_err, load_err, super_err;
	bool no_checkpoint; /* they do nothing */
	uint32_t slot_len;  /* that slots say; 0: what they have */
	unsigned locks;	    /* that were looked at */
	const struct pfs_page *loaded;
} calls;

static int some_touch(struct pfs_store *of, uint32_t object)
{
	calls.touches++;
	if (calls.fail_touch && (calls.touches == calls.fail_touch ||
				 (calls.fail_later && calls.touches > calls.fail_touch)))
		return calls.touch_err;
	return pfs_touch_object(of, object);
}

static int some_checkpoint(struct pfs_store *of, bool force)
{
	calls.checkpoints++;
	calls.forced += force;
	if (calls.checkpoint_err || calls.no_checkpoint)
		return calls.checkpoint_err;
	return pfs_checkpoint(of, force);
}

static int some_load(struct pfs_pager *pager, struct pfs_page *page)
{
	calls.loads++;
	calls.loaded = page;
	return calls.load_err ? calls.load_err : pfs_pager_load(pager, page);
}

static int some_super(struct pfs_dir *dir, struct pfs_super *super)
{
	calls.supers++;
	return calls.super_err ? calls.super_err : pfs_super_write(dir, super);
}

static int some_sleep(const struct timespec *how_long)
{
	calls.sleeps++;
	assert_int_equal(how_long->tv_sec, 0);
	assert_int_equal(how_long->tv_nsec, 200000);
	return 0;
}

static int some_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *out)
{
	int err = pfs_page_read_slot(page, number, out);

	if (calls.slot_len)
		out->len = calls.slot_len;
	return err;
}

/* Whether the commit lock is held. */
static void under_lock(bool is)
{
	int err = pthread_mutex_trylock(&store->commit);

	calls.locks++;
	assert_int_equal(err != 0, is);
	if (!err)
		pthread_mutex_unlock(&store->commit);
}

static void forget_calls(void)
{
	memset(&calls, 0, sizeof(calls));
}

static uint64_t container_len(unsigned i)
{
	const struct pfs_key key = pfs_key_num(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return place.container_len;
}

/* Of those from one number on. */
static uint64_t containers_len(unsigned from, unsigned count)
{
	uint64_t len = 0;

	for (unsigned i = from; i < from + count; i++)
		len += container_len(i);
	return len;
}

static struct pfs_page *page_of(unsigned i)
{
	const struct pfs_key key = pfs_key_num(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return pfs_pager_find(store->pager, place.page);
}

/* ---- choosing ---- */

/* What worst_page must say, worked out from what the pages say. */
static struct pfs_page *expect_worst(bool eager)
{
	struct pfs_page *worst = NULL;
	double share = 0;

	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_page_space space;
		double dead;

		pfs_page_space(page, &space);
		dead = (double)pfs_page_dead(&space) / (double)space.disk;
		if (page->closed || page->unusable || page->stuck_used == space.used + 1 ||
		    !space.used || dead <= share || (!eager && dead <= 0.1))
			continue;
		share = dead;
		worst = page;
	}
	return worst;
}

/* Proves: the page with the greatest dead share is chosen, eagerly any that has dead bytes, else
 * one of which they are more than a tenth; never one that is empty, closed, unusable or stuck. */
static void the_worst_page_is_chosen(void **state)
{
	unsigned chosen[2] = {0, 0};

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	put_numbers(600, 1000);
	for (unsigned i = 0; i < 600; i++)
		if (pfs_mix64(i) % 40 < i / 40) /* the later, the more */
			drop_number(i);
	drop_number(3);
	for (unsigned i = 100; i < 200; i++) {
		const struct pfs_key key = pfs_key_num(i);

		(void)pfs_remove(store, &key, NULL); /* one page is empty */
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	page_of(450)->unusable = true;
	for (unsigned eager = 0; eager < 2; eager++) {
		struct pfs_page *worst;

		while ((worst = worst_page(store, eager)) != NULL) {
			assert_ptr_equal(worst, expect_worst(eager));
			if (++chosen[eager] % 2) {
				worst->closed = true;
			} else {
				struct pfs_page_space space;

				pfs_page_space(worst, &space);
				worst->stuck_used = space.used + 1;
			}
			assert_true(chosen[eager] < 20);
		}
		assert_null(expect_worst(eager));
		for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
		     page = pfs_pager_next_page(store->pager, page->number)) {
			page->closed = false;
			page->stuck_used = 0;
		}
	}
	assert_true(chosen[0] >= 2 && chosen[1] > chosen[0]);
	page_of(450)->unusable = false;
}

/* Proves: what is chosen is loaded, closed, and looked at from its beginning; without memory for it
 * nothing is chosen and nothing is closed. What is given up is open again and, if it is stuck,
 * known by what is in it. */
static void what_is_chosen_is_closed(void **state)
{
	struct pfs_compaction *c;
	struct pfs_page_space space;
	struct pfs_page *page;

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	c = &store->compaction;
	put_numbers(200, 1000);
	for (unsigned i = 0; i < 100; i++)
		drop_number(i);
	put_numbers(0, 0);
	forget_calls();
	c->cursor = 5;
	c->passes = 2;
	calls.load_err = -ENOMEM;
	assert_int_equal(choose(store, true), -ENOMEM);
	assert_int_equal(c->victim, 0);
	assert_false(calls.loaded->closed);
	calls.load_err = 0;
	assert_int_equal(choose(store, true), 1);
	assert_int_equal(calls.loads, 2);
	page = pfs_pager_find(store->pager, c->victim);
	assert_ptr_equal(calls.loaded, page);
	assert_true(page->closed && c->cursor == 0 && c->passes == 0);
	pfs_page_space(page, &space);
	for (unsigned stuck = 0; stuck < 2; stuck++) {
		page->stuck_used = 5;
		c->victim = page->number;
		pfs_pager_close_page(store->pager, page, true);
		pfs_compact_give_up(store, stuck);
		assert_int_equal(page->stuck_used, stuck ? space.used + 1 : 0);
		assert_false(page->closed);
		assert_int_equal(c->victim, 0);
	}
	c->victim = 1000;
	pfs_compact_give_up(store, true);
	assert_int_equal(c->victim, 0);
	page->stuck_used = 0;
}

/* Proves: waste is what is dead of all pages, against a fifth of what is live and a quarter of a
 * page, or a sixth and an eighth once compaction runs: to the byte. Then a page is chosen, also by
 * who is not eager. */
static void waste_is_counted(void **state)
{
	uint64_t live = 0, dead = 0, page_size;
	struct pfs_waste waste;

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	put_numbers(400, 1000);
	for (unsigned i = 0; i < 400; i += 3)
		drop_number(i);
	put_numbers(0, 0);
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_page_space space;

		pfs_page_space(page, &space);
		live += space.used + (uint64_t)(space.slots - space.free_slots) * PFS_SLOT_LEN;
		dead += pfs_page_dead(&space);
	}
	assert_true(live > 200000 && dead > 100000);
	for (unsigned running = 0; running < 2; running++) {
		memset(&waste, 0xa5, sizeof(waste));
		pfs_count_waste(store, running, &waste);
		assert_int_equal(waste.live, live);
		assert_int_equal(waste.dead, dead);
		assert_int_equal(waste.dead_max,
				 running ? live / 6 + 65536 / 8 : live / 5 + 65536 / 4);
	}
	page_size = store->super.page_size;
	for (unsigned i = 0; i < 3; i++) {
		/* As much as there is, or less and more by one. */
		store->super.page_size = 4 * (dead - live / 5 + 1 - i);
		assert_int_equal(is_wasteful(store, false), i == 2);
		store->compaction.running = false;
		assert_int_equal(choose(store, false), i == 2);
		assert_int_equal(store->compaction.running, i == 2);
	}
	store->super.page_size = page_size;
	pfs_compact_give_up(store, false);
	store->super.page_size = UINT64_C(1) << 30;
	store->compaction.running = false;
	assert_int_equal(choose(store, true), 1);
	assert_false(store->compaction.running);
	store->super.page_size = page_size;
	pfs_compact_give_up(store, false);
}

/* Proves: a page that is stuck stays that until something has left it, whatever comes meanwhile. */
static void who_is_stuck(void **state)
{
	static const struct {
		uint64_t before, used, after;
		bool is;
	} cases[] = {{0, 5, 0, false}, {6, 5, 6, true}, {6, 4, 6, false}, {6, 0, 6, false},
		     {6, 7, 8, true},  {1, 0, 1, true}, {2, 0, 2, false}};
	struct pfs_page *page = calloc(1, sizeof(*page));

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct pfs_page_space space = {.used = cases[i].used};

		page->stuck_used = cases[i].before;
		assert_int_equal(is_stuck(page, &space), cases[i].is);
		assert_int_equal(page->stuck_used, cases[i].after);
	}
	free(page);
}

/* Proves: who needs room gets that of every page that is being emptied. */
static void all_pages_are_opened(void **state)
{
	unsigned closed = 0;

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	put_numbers(200, 1000);
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number), closed++)
		pfs_pager_close_page(store->pager, page, true);
	assert_true(closed >= 3);
	pfs_compact_yield_room(store);
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number))
		assert_false(page->closed);
}

/* Proves: for room the page that is being emptied, or the worst one, is emptied and given back. */
static void room_is_made(void **state)
{
	(void)state;
	for (unsigned begun = 0; begun < 2; begun++) {
		uint32_t victim;

		begin_store(PFS_PAGE_SIZE_MIN, 16);
		put_numbers(200, 1000);
		for (unsigned i = 0; i < 200; i++)
			if (i % 4)
				drop_number(i);
		put_numbers(0, 0);
		victim = expect_worst(true)->number;
		if (begun)
			assert_int_equal(choose(store, true), 1);
		forget_calls();
		pfs_compact_for_room(store);
		assert_true(calls.touches > 0 && calls.forced > 0);
		assert_int_equal(store->compaction.victim, 0);
		assert_int_equal(store->counters.retired_pages, 1);
		assert_null(pfs_pager_find(store->pager, victim));
		assert_int_equal(pthread_mutex_trylock(&store->compact_lock), 0);
		pthread_mutex_unlock(&store->compact_lock);
		if (!begun)
			end_store(state);
	}
}

/* ---- moving ---- */

static void begin_victim(uint64_t page_size, unsigned count, size_t len)
{
	begin_store(page_size, 16);
	put_numbers(count, len);
	store->compaction.victim = page_of(0)->number;
	pfs_pager_close_page(store->pager, page_of(0), true);
	forget_calls();
}

/* Proves: one lock hold moves 32 values, or 256 KiB and what exceeds them, from where the one
 * before has ended; it counts what it has moved, and knows the end. */
static void a_lock_hold_has_bounds(void **state)
{
	static const struct {
		size_t len;
		unsigned count, each;
	} cases[] = {{20, 100, 32},
		     {100 * PFS_KIB, 10, 3},
		     {64 * PFS_KIB, 10, 4},
		     {256 * PFS_KIB, 5, 1}};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t bytes = 0, counted, values;
		struct pfs_compaction *c;
		unsigned done = 0;
		bool end = false;

		begin_victim(8 * PFS_MIB, cases[i].count, cases[i].len);
		c = &store->compaction;
		counted = store->counters.moved_bytes;
		values = store->counters.moved_values;
		c->moved = 7;
		while (!end) {
			assert_int_equal(c->cursor, done);
			assert_int_equal(move_group_locked(store, &end), 0);
			for (unsigned k = 0; k < cases[i].each && done < cases[i].count; k++)
				bytes += container_len(done++);
			assert_int_equal(calls.touches, done);
			assert_int_equal(c->unapplied, bytes);
			assert_int_equal(c->unapplied_values, done);
			assert_int_equal(c->moved, 7 + bytes);
			assert_int_equal(store->counters.moved_bytes, counted + bytes);
			assert_int_equal(store->counters.moved_values, values + done);
		}
		assert_int_equal(done, cases[i].count);
		assert_int_equal(c->cursor, done);
		c->victim = 1000; /* which is gone */
		end = false;
		assert_int_equal(move_group_locked(store, &end), 0);
		assert_true(end);
		c->victim = 0;
		if (i + 1 < pfs_array_len(cases))
			end_store(state);
	}
}

/* Proves: one lock hold looks at so many slots, also when nothing is in them. */
static void a_lock_hold_looks_at_so_many_slots(void **state)
{
	bool end;

	(void)state;
	begin_victim(PFS_MIB, 4200, 1);
	for (unsigned i = 0; i < 4190; i++)
		drop_number(i);
	put_numbers(0, 0);
	forget_calls();
	assert_int_equal(move_group_locked(store, &end), 0);
	assert_false(end);
	assert_int_equal(store->compaction.cursor, GROUP_SLOTS);
	assert_int_equal(calls.touches, 0);
	assert_int_equal(move_group_locked(store, &end), 0);
	assert_true(end);
	assert_int_equal(calls.touches, 10);
	store->compaction.victim = 0;
}

/* Proves: a lock hold ends with just 256 KiB, and a step with just a mebibyte. */
static void bounds_are_to_the_byte(void **state)
{
	bool end;

	(void)state;
	begin_victim(PFS_MIB, 100, 20);
	calls.slot_len = 64 * PFS_KIB;
	calls.no_checkpoint = true;
	assert_int_equal(move_group_locked(store, &end), 0);
	assert_int_equal(calls.touches, 4);
	assert_int_equal(store->compaction.unapplied, 256 * PFS_KIB);
	assert_int_equal(pfs_compact_victim_step(store, false), 1);
	assert_int_equal(calls.touches, 4 + 16);
	store->compaction.victim = 0;
}

/* Proves: a page leaves the table under the lock, which nobody is kept waiting for by those who
 * wait for readers. */
static void pages_leave_under_the_lock(void **state)
{
	(void)state;
	begin_victim(PFS_MIB, 20, 1000);
	while (store->compaction.victim)
		assert_true(pfs_compact_victim_step(store, true) >= 0);
	assert_int_equal(store->counters.retired_pages, 1);
	assert_int_equal(calls.locks, 2);
}

/* Proves: a value that is damaged is left, and the others are moved; at another error the value is
 * tried again the next time. */
static void a_value_may_fail(void **state)
{
	struct pfs_compaction *c;
	bool end;

	(void)state;
	begin_victim(PFS_MIB, 20, 1000);
	c = &store->compaction;
	calls.fail_touch = 5;
	calls.touch_err = -ENOMEM;
	assert_int_equal(move_group_locked(store, &end), -ENOMEM);
	assert_false(end);
	assert_int_equal(c->cursor, 4);
	assert_int_equal(c->unapplied_values, 4);
	assert_int_equal(c->unapplied, containers_len(0, 4));
	calls.fail_touch = 7; /* the sixth value: the fifth was tried twice */
	calls.touch_err = -EIO;
	assert_int_equal(move_group_locked(store, &end), 0);
	assert_true(end);
	assert_int_equal(calls.touches, 21);
	assert_int_equal(c->unapplied_values, 19);
	assert_int_equal(c->unapplied, containers_len(0, 20) - container_len(5));
	c->victim = 0;
}

/* Proves: one step moves a mebibyte, with a pause for each lock hold when somebody waits. What was
 * moved is brought into the pages when it is much, in bytes or in values, or when all was moved,
 * and then is none; not earlier. */
static void a_step_has_bounds(void **state)
{
	struct pfs_compaction *c;

	(void)state;
	begin_victim(8 * PFS_MIB, 40, 100 * PFS_KIB);
	c = &store->compaction;
	calls.no_checkpoint = true;
	assert_int_equal(pfs_compact_victim_step(store, false), 1);
	assert_int_equal(c->cursor, 12); /* three at a time */
	assert_int_equal(calls.checkpoints + calls.sleeps, 0);
	store->waiting = 1;
	c->unapplied = PFS_COMPACT_UNAPPLIED_BYTES - containers_len(12, 12) - 1;
	assert_int_equal(pfs_compact_victim_step(store, true), 1);
	store->waiting = 0;
	assert_int_equal(calls.sleeps, 4);
	assert_int_equal(c->cursor, 24);
	assert_int_equal(calls.checkpoints, 0);
	assert_int_equal(c->unapplied, PFS_COMPACT_UNAPPLIED_BYTES - 1);
	c->unapplied -= containers_len(24, 12) - 1;
	assert_int_equal(pfs_compact_victim_step(store, true), 1);
	assert_int_equal(calls.checkpoints, 1);
	assert_int_equal(calls.forced, 1);
	assert_int_equal(c->unapplied + c->unapplied_values, 0);
	c->cursor = 0; /* again from the beginning: they are on their way already */
	c->unapplied_values = PFS_COMPACT_UNAPPLIED_VALUES - 1;
	assert_int_equal(pfs_compact_victim_step(store, false), 1);
	assert_int_equal(calls.checkpoints, 2);
	assert_int_equal(calls.forced, 1);
	assert_int_equal(c->cursor, 0); /* there is no more */
	assert_int_equal(c->passes, 1);
	c->victim = 0;
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

/* Proves: so many values are due, and so many bytes, and not one less. */
static void what_is_due(void **state)
{
	(void)state;
	begin_store(PFS_MIB, 16);
	for (unsigned i = 0; i < 4; i++) {
		store->compaction.unapplied = PFS_COMPACT_UNAPPLIED_BYTES - (i < 2) * (1 + i);
		store->compaction.unapplied_values =
			i == 3 ? PFS_COMPACT_UNAPPLIED_VALUES : PFS_COMPACT_UNAPPLIED_VALUES - 1;
		assert_int_equal(pfs_compact_is_due(store), i >= 2);
		store->compaction.unapplied = 0;
		assert_int_equal(pfs_compact_is_due(store), i == 3);
	}
	store->compaction.unapplied_values = 0;
}

/* Proves: a page that is not empty after three passes is given up as stuck; one that is empty is
 * gone after the pass in which that is found. */
static void passes_end(void **state)
{
	struct pfs_page *page;
	struct pfs_compaction *c;
	int left = 1;

	(void)state;
	begin_victim(PFS_MIB, 20, 1000);
	c = &store->compaction;
	page = page_of(0);
	calls.fail_touch = 1; /* of each pass the first value, which is all that is left */
	calls.fail_later = true;
	calls.touch_err = -EIO;
	for (unsigned pass = 1; pass <= 3; pass++) {
		assert_int_equal(pfs_compact_victim_step(store, true), pass < 3);
		assert_int_equal(calls.checkpoints, pass);
		assert_int_equal(c->victim, pass < 3 ? page->number : 0);
		assert_int_equal(c->cursor, 0);
		assert_int_equal(page->closed, pass < 3);
	}
	assert_true(page->stuck_used > 20000);
	page->stuck_used = 0;
	forget_calls();
	c->victim = page->number;
	c->cursor = c->passes = 0;
	pfs_pager_close_page(store->pager, page, true);
	for (unsigned steps = 0; left == 1; steps++) {
		left = pfs_compact_victim_step(store, true);
		assert_true(steps < 3);
	}
	assert_int_equal(left, 0);
	assert_int_equal(c->victim, 0);
	assert_int_equal(store->counters.retired_pages, 1);
	assert_int_equal(calls.touches, 20);
}

/* Proves: at an error a page is given up, as stuck where there was no room for its values, and that
 * is the error, be it one of moving, of bringing into the pages or of a store that takes nothing.
 */
static void errors_give_up(void **state)
{
	static const struct {
		int touch, checkpoint;
		bool failed, opened;
		int err;
	} cases[] = {{-ENOSPC, 0, false, false, -ENOSPC}, {-ENOMEM, 0, false, false, -ENOMEM},
		     {0, -ENOSPC, false, false, -ENOSPC}, {0, -EIO, false, false, -EIO},
		     {0, 0, true, false, -EROFS},	  {0, 0, false, true, -EAGAIN}};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_page *page;

		begin_victim(PFS_MIB, 20, 1000);
		page = page_of(0);
		calls.fail_touch = cases[i].touch ? 3 : 0;
		calls.touch_err = cases[i].touch;
		calls.checkpoint_err = cases[i].checkpoint;
		store->failed = cases[i].failed;
		if (cases[i].opened)
			pfs_pager_close_page(store->pager, page, false);
		assert_int_equal(pfs_compact_victim_step(store, false), cases[i].err);
		store->failed = false;
		assert_int_equal(calls.checkpoints, cases[i].checkpoint != 0);
		assert_int_equal(store->compaction.victim, 0);
		assert_false(page->closed);
		assert_int_equal(page->stuck_used != 0, cases[i].err == -ENOSPC);
		page->stuck_used = 0;
		if (i + 1 < pfs_array_len(cases))
			end_store(state);
	}
}

/* Proves: a step by itself is made when nobody else packs; it says 1 as long as there may be more,
 * 0 when there is nothing or its page was needed, and else the error. */
static void what_a_step_says(void **state)
{
	unsigned steps = 0;

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	put_numbers(200, 1000);
	forget_calls();
	assert_int_equal(pfs_own_compact_step(store, false), 0);
	for (unsigned i = 0; i < 150; i++)
		drop_number(i);
	put_numbers(0, 0);
	store->failed = true;
	assert_int_equal(pfs_own_compact_step(store, true), -EROFS);
	store->failed = false;
	store->packing = true;
	assert_int_equal(pfs_own_compact_step(store, true), 0);
	store->packing = false;
	pthread_mutex_lock(&store->compact_lock);
	assert_int_equal(pfs_own_compact_step(store, true), 0);
	pfs_compact_for_room(store);
	pthread_mutex_unlock(&store->compact_lock);
	assert_int_equal(calls.touches + calls.loads, 0);
	calls.load_err = -ENOMEM;
	assert_int_equal(pfs_own_compact_step(store, true), -ENOMEM);
	forget_calls();
	/* The page is opened again, as by who needs its room. */
	assert_int_equal(choose(store, true), 1);
	pfs_compact_yield_room(store);
	assert_int_equal(pfs_own_compact_step(store, true), 0);
	assert_int_equal(store->compaction.victim, 0);
	calls.fail_touch = 1;
	calls.touch_err = -ENOMEM;
	assert_int_equal(pfs_own_compact_step(store, true), -ENOMEM);
	forget_calls();
	while (pfs_own_compact_step(store, true) == 1)
		assert_true(++steps < 100);
	assert_true(steps > 0);
	assert_null(expect_worst(true));
	assert_int_equal(store->compaction.victim, 0);
}

/* Proves: a page that the superblock does not count is not counted out; one that it counts is, and
 * is counted again when that can't be written. */
static void only_what_is_counted_is_counted_out(void **state)
{
	struct pfs_page_set before;
	struct pfs_page *page;

	(void)state;
	begin_store(PFS_PAGE_SIZE_MIN, 16);
	put_numbers(200, 1000);
	forget_calls();
	before = store->super.pages;
	page = page_of(0);
	store->super.pages.highest = page->number - 1;
	assert_int_equal(count_out(store, page), 0);
	assert_int_equal(calls.supers, 0);
	store->super.pages = before;
	calls.super_err = -EIO;
	assert_int_equal(count_out(store, page), -EIO);
	assert_int_equal(calls.supers, 1);
	assert_memory_equal(&store->super.pages, &before, sizeof(before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_worst_page_is_chosen, end_store),
		cmocka_unit_test_teardown(what_is_chosen_is_closed, end_store),
		cmocka_unit_test_teardown(waste_is_counted, end_store),
		cmocka_unit_test_teardown(who_is_stuck, end_store),
		cmocka_unit_test_teardown(all_pages_are_opened, end_store),
		cmocka_unit_test_teardown(room_is_made, end_store),
		cmocka_unit_test_teardown(a_lock_hold_has_bounds, end_store),
		cmocka_unit_test_teardown(a_lock_hold_looks_at_so_many_slots, end_store),
		cmocka_unit_test_teardown(bounds_are_to_the_byte, end_store),
		cmocka_unit_test_teardown(pages_leave_under_the_lock, end_store),
		cmocka_unit_test_teardown(a_value_may_fail, end_store),
		cmocka_unit_test_teardown(a_step_has_bounds, end_store),
		cmocka_unit_test_teardown(what_is_due, end_store),
		cmocka_unit_test_teardown(passes_end, end_store),
		cmocka_unit_test_teardown(errors_give_up, end_store),
		cmocka_unit_test_teardown(what_a_step_says, end_store),
		cmocka_unit_test_teardown(only_what_is_counted_is_counted_out, end_store),
	};

	return cmocka_run_group_tests_name("steps of compaction", tests, NULL, NULL);
}
