/* storage/store_enter.c, storage/store_threads.c: when writers are slowed and for how long, when a
 * store's threads make checkpoints, ticks, segments, compact and train, what is done for room, and
 * in which order: to the nanosecond and to the call. What these call is the test's own, and tells;
 * time stands still but where somebody waits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "storage/epoch.h"
#include "storage/store_internal.h"
#include "storage/team.h"

/* ---- what tells ---- */

#define MS INT64_C(1000000)

static struct pace {
	struct pfs_store store;
	struct pfs_dir dir;
	struct pfs_file file;
	char told[4096];
	size_t len;
	int64_t now;
	/* What the others say. */
	uint64_t live, available;
	unsigned spares;
	bool training_is_due, has_failed;
	int open_err, allocate_err, cut_err, space_err, spare_err, steps;
	int create_err[2];
	/* With some word something happens: bits of what; with another one all ends. */
	unsigned words, at, then, end;
	struct pfs_list item; /* something that is to be moved */
} t;

enum { STOP = 1, WANT = 2, FORCE = 4, TRAIN = 8, SPARE = 16, ROOM = 32, DONE = 64, WORK = 128 };

static void set_wishes(unsigned wishes)
{
	struct pfs_store *s = &t.store;

	s->stopping |= !!(wishes & STOP);
	s->checkpoint_wanted |= !!(wishes & WANT);
	s->force_wanted |= !!(wishes & FORCE);
	s->train_wanted |= !!(wishes & TRAIN);
	s->spares_wanted |= !!(wishes & SPARE);
	s->room_made += !!(wishes & ROOM);
	s->checkpoints_done += !!(wishes & DONE);
	if (wishes & WORK)
		s->staged = (struct pfs_list){&t.item, &t.item};
}

static void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t.len += (size_t)vsnprintf(t.told + t.len, sizeof(t.told) - t.len, fmt, ap);
	va_end(ap);
	assert_true(t.len < sizeof(t.told));
	if (++t.words == t.at)
		set_wishes(t.then);
	if (t.words == t.end)
		set_wishes(STOP);
	if (t.words > 300)
		fail_msg("no end: %s", t.told);
}

/* What was told since the last time. */
static void expect_told(const char *text)
{
	assert_string_equal(t.told, text);
	t.len = t.words = 0;
	t.told[0] = '\0';
}

static bool is_free(pthread_mutex_t *lock)
{
	int err = pthread_mutex_trylock(lock);

	assert_true(err == 0 || err == EBUSY);
	if (!err)
		pthread_mutex_unlock(lock);
	return !err;
}

/* Of what takes these locks itself, or waits for who takes them. */
static void need_no_lock(void)
{
	assert_true(is_free(&t.store.wake_lock) && is_free(&t.store.commit));
}

static void need_commit(void)
{
	assert_false(is_free(&t.store.commit));
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	(void)id;
	*out = (struct timespec){t.now / PFS_NSEC_PER_SEC, t.now % PFS_NSEC_PER_SEC};
	return 0;
}

static int tell_sleep(const struct timespec *pause, struct timespec *left)
{
	(void)left;
	tell("sleep %lld.%ld ", (long long)pause->tv_sec, pause->tv_nsec);
	return 0;
}

/* It is over a little early. */
static int tell_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	int64_t ns = until->tv_sec * PFS_NSEC_PER_SEC + until->tv_nsec - t.now;

	assert_true(cond == &t.store.wake && lock == &t.store.wake_lock);
	t.now += ns - MS / 2;
	tell("wait %lld ", (long long)ns);
	return 0;
}

static int tell_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	assert_true(cond == &t.store.wake && lock == &t.store.wake_lock);
	tell("wait%s ", t.store.checkpoint_wanted ? " for it" : "");
	return 0;
}

static int tell_broadcast(pthread_cond_t *cond)
{
	assert_ptr_equal(cond, &t.store.wake);
	tell("wake ");
	return 0;
}

static int tell_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
		       void *arg)
{
	bool second = thread == &t.store.writer;

	(void)attr;
	(void)fn;
	assert_true(arg == &t.store && (second || thread == &t.store.committer));
	tell("begin %d ", second);
	return t.create_err[second];
}

static int tell_join(pthread_t thread, void **value)
{
	(void)thread;
	(void)value;
	need_no_lock();
	tell("join%s ", t.store.stopping ? "" : " for ever");
	return 0;
}

static uint64_t live_bytes(const struct pfs_journal *journal)
{
	(void)journal;
	return t.live;
}

static unsigned count_spares(const struct pfs_journal *journal)
{
	(void)journal;
	return t.spares;
}

static bool journal_failed(const struct pfs_journal *journal)
{
	(void)journal;
	return t.has_failed;
}

static int make_spare(struct pfs_journal *journal, void (*lock)(void *arg, bool on), void *arg)
{
	(void)journal;
	assert_true(lock == pfs_commit_lock_cb && arg == &t.store);
	need_no_lock();
	tell("spare ");
	t.spares += !t.spare_err;
	return t.spare_err;
}

static int tell_trim(struct pfs_journal *journal, unsigned keep)
{
	(void)journal;
	need_commit();
	tell("trim %u ", keep);
	return 0;
}

static int tell_trim_unlocked(struct pfs_journal *journal, unsigned keep,
			      void (*lock)(void *arg, bool on), void *arg)
{
	(void)journal;
	assert_true(lock == pfs_commit_lock_cb && arg == &t.store);
	need_no_lock();
	tell("trim to %u ", keep);
	return 0;
}

static int tell_checkpoint(struct pfs_store *store, bool force)
{
	assert_ptr_equal(store, &t.store);
	need_no_lock();
	tell("checkpoint%s ", force ? " by force" : "");
	return -ENOSPC;
}

static void tell_compact_for_room(struct pfs_store *store)
{
	assert_ptr_equal(store, &t.store);
	need_no_lock();
	tell("compact ");
}

static void tell_yield_room(struct pfs_store *store)
{
	assert_ptr_equal(store, &t.store);
	need_commit();
	tell("yield ");
}

static int tell_step(struct pfs_store *store, bool eager)
{
	assert_true(store == &t.store && !eager);
	need_no_lock();
	tell("step ");
	return t.steps-- > 0;
}

static int tell_tick(struct pfs_store *store)
{
	assert_ptr_equal(store, &t.store);
	need_no_lock();
	tell("tick %lld ", (long long)(t.now / MS));
	return 0;
}

static bool due(const struct pfs_store *store)
{
	(void)store;
	return t.training_is_due;
}

static void tell_training(struct pfs_store *store)
{
	assert_ptr_equal(store, &t.store);
	need_no_lock();
	tell("train ");
}

static int tell_failure(struct pfs_store *store, const char *what, int err)
{
	assert_ptr_equal(store, &t.store);
	tell("failure %s %d ", what, err);
	return err;
}

static int tell_team(struct pfs_team **out, unsigned max)
{
	tell("team %u ", max);
	*out = (struct pfs_team *)&t;
	return 0;
}

#define nanosleep tell_sleep
#define pthread_cond_timedwait tell_timedwait
#define pthread_cond_wait tell_wait
#define pthread_cond_broadcast tell_broadcast
#define pthread_create tell_create
#define pthread_join tell_join
#define pfs_journal_live_bytes live_bytes
#define pfs_journal_spares count_spares
#define pfs_journal_has_failed journal_failed
#define pfs_journal_make_spare make_spare
#define pfs_journal_trim tell_trim
#define pfs_journal_trim_unlocked tell_trim_unlocked
#define pfs_checkpoint tell_checkpoint
#define pfs_compact_for_room tell_compact_for_room
#define pfs_compact_yield_room tell_yield_room
#define pfs_store_compact_step tell_step
#define pfs_store_tick tell_tick
#define pfs_training_is_due due
#define pfs_training_run tell_training
#define pfs_store_fail tell_failure
#define pfs_team_new tell_team
#include "storage/store_enter.c"
#include "storage/store_threads.c"

/* ---- the directory ---- */

static int tell_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	(void)dir;
	tell("open %s %u ", name, flags);
	*out = &t.file;
	return t.open_err;
}

static int tell_unlink(struct pfs_dir *dir, const char *name)
{
	(void)dir;
	tell("unlink %s ", name);
	return 0;
}

static int tell_allocate(struct pfs_file *file, uint64_t off, uint64_t len)
{
	(void)file;
	tell("allocate %llu+%llu ", (unsigned long long)off, (unsigned long long)len);
	return t.allocate_err;
}

static int tell_truncate(struct pfs_file *file, uint64_t size)
{
	(void)file;
	tell("cut %llu ", (unsigned long long)size);
	return t.cut_err;
}

static void tell_close(struct pfs_file *file)
{
	(void)file;
	tell("close ");
}

static int space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	out->total = UINT64_MAX;
	out->available = t.available;
	return t.space_err;
}

static const struct pfs_io_ops ops = {.open = tell_open,
				      .unlink = tell_unlink,
				      .allocate = tell_allocate,
				      .truncate = tell_truncate,
				      .close = tell_close,
				      .space = space};

static int set_up(void **state)
{
	struct pfs_store *s = &t.store;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.dir.ops = t.file.ops = &ops;
	s->dir = &t.dir;
	s->pending = (struct pfs_list){&s->pending, &s->pending};
	s->staged = (struct pfs_list){&s->staged, &s->staged};
	s->batch = (struct pfs_list){&s->batch, &s->batch};
	pthread_mutex_init(&s->commit, NULL);
	pthread_mutex_init(&s->wake_lock, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pthread_mutex_destroy(&t.store.commit);
	pthread_mutex_destroy(&t.store.wake_lock);
	return 0;
}

/* ---- writers ---- */

/* Proves: writers wait from half of the journal's limit on, with the square of how far it has come
 * and with how much they write, as soon as that is worth it, and never long; one at the limit waits
 * for room; a long journal wants a checkpoint, and who writes much makes one; what stages and the
 * last checkpoint keep is nobody's fault. */
static void writers_are_slowed(void **state)
{
	static const struct {
		uint64_t live, staged, kept, max; /* MiB */
		size_t len;
		bool large, manual;
		const char *told;
		uint64_t debt;
	} cases[] = {
		{32, 0, 0, 64, 16384, false, false, "", 0},
		{33, 0, 0, 64, 0, false, false, "", 7812},
		{33, 0, 0, 64, 16384, false, false, "", 15625},
		{40, 0, 0, 64, 0, false, false, "sleep 0.500000 ", 0},
		{40, 0, 0, 64, 16383, false, false, "sleep 0.500000 ", 0},
		{40, 0, 0, 64, 16384, false, false, "sleep 0.1000000 ", 0},
		{40, 0, 0, 64, SIZE_MAX, false, false, "sleep 0.32500000 ", 0},
		{48, 0, 0, 64, 0, false, false, "sleep 0.2000000 ", 0},
		{48, 0, 8, 64, 0, false, false, "sleep 0.500000 ", 0},
		{48, 8, 0, 64, 0, false, false, "sleep 0.500000 ", 0},
		{48, 8, 9, 64, 0, false, false, "sleep 0.382812 ", 0},
		{48, 16, 9, 64, 0, false, false, "", 0},
		{48, 60, 60, 64, 0, false, false, "", 0},
		{64, 0, 0, 64, 0, false, false, "sleep 0.8000000 ", 0},
		{64, 0, 0, 64, SIZE_MAX, false, false, "sleep 0.100000000 ", 0},
		{65, 0, 0, 64, 0, false, false, "sleep 0.8000000 wake wait for it wait for it ", 0},
		{65, 1, 0, 64, 0, false, false, "sleep 0.8000000 ", 0},
		{100, 0, 0, 64, 0, false, false, "sleep 0.8000000 wake wait for it wait for it ",
		 0},
		{100, 0, 0, 63, 0, false, false, "wake wait for it wait for it ", 0},
		{100, 0, 0, 200, 0, false, false, "", 0},
		{100, 0, 0, 200, 0, true, false, "", 0},
		{101, 0, 0, 400, 0, false, false, "wake ", 0},
		{101, 0, 0, 400, 0, true, false, "wake checkpoint by force ", 0},
		{101, 0, 0, 100, 0, true, false,
		 "wake sleep 0.8000000 wake wait for it wait for it ", 0},
		{101, 0, 0, 100, 0, true, true, "", 0},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_store *s = &t.store;
		bool wants;

		s->manual = cases[i].manual;
		s->journal_max = cases[i].max * PFS_MIB;
		s->stage_journal_max = 100 * PFS_MIB;
		s->staged_bytes = cases[i].staged * PFS_MIB;
		s->journal_kept = cases[i].kept * PFS_MIB;
		s->checkpoint_wanted = s->force_wanted = false;
		s->slow_debt_ns = 0;
		t.live = cases[i].live * PFS_MIB;
		wants = strstr(cases[i].told, "wait") != NULL;
		t.at = wants ? strstr(cases[i].told, "wake sleep") ? 5 : 0 : 0;
		if (wants && !t.at)
			t.at = strstr(cases[i].told, "sleep") ? 4 : 3;
		t.then = i % 2 ? ROOM : DONE;
		pfs_write_throttle(s, cases[i].len, cases[i].large);
		if (strcmp(t.told, cases[i].told) != 0 || s->slow_debt_ns != cases[i].debt)
			fail_msg("%zu: %s, %llu, and not %s, %llu", i, t.told,
				 (unsigned long long)s->slow_debt_ns, cases[i].told,
				 (unsigned long long)cases[i].debt);
		expect_told(cases[i].told);
		assert_int_equal(s->force_wanted, cases[i].live > 100 && !cases[i].manual);
	}
}

/* Proves: what is too short to sleep is added up, and slept as soon as it is long enough. */
static void short_pauses_are_added_up(void **state)
{
	struct pfs_store *s = &t.store;

	(void)state;
	s->journal_max = 64 * PFS_MIB;
	s->stage_journal_max = UINT64_MAX;
	t.live = 36 * PFS_MIB; /* an eighth of the way: 125 us */
	for (unsigned i = 1; i < 10; i++) {
		pfs_write_throttle(s, 0, false);
		expect_told(i % 3 ? "" : "sleep 0.375000 ");
		assert_int_equal(s->slow_debt_ns, 125000 * (i % 3));
	}
	/* Just long enough. */
	s->slow_debt_ns = 174999;
	pfs_write_throttle(s, 0, false);
	expect_told("");
	s->slow_debt_ns = 175000;
	pfs_write_throttle(s, 0, false);
	expect_told("sleep 0.300000 ");
}

/* Proves: who has changed something wakes the threads for what has become due by it, once. */
static void who_leaves_wakes_the_threads(void **state)
{
	static const struct {
		uint64_t live; /* beyond a quarter of the limit, and what is kept */
		unsigned spares;
		bool due, manual;
		unsigned wanted, wants;
		const char *told;
	} cases[] = {
		{0, 4, false, false, 0, 0, ""},
		{1, 4, false, false, 0, WANT, "wake "},
		{1, 4, false, false, WANT, WANT, ""},
		{1, 4, false, true, 0, 0, ""},
		{0, 3, false, false, 0, SPARE, "wake "},
		{0, 3, false, false, SPARE, SPARE, ""},
		{0, 3, false, true, 0, 0, ""},
		{0, 4, true, false, 0, TRAIN, "wake "},
		{0, 4, true, false, TRAIN, TRAIN, ""},
		{0, 4, true, true, 0, 0, ""},
		{1, 0, true, false, 0, WANT | TRAIN | SPARE, "wake wake wake "},
	};
	struct pfs_store *s = &t.store;

	(void)state;
	s->journal_max = 4000;
	s->journal_kept = 300;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		s->checkpoint_wanted = s->train_wanted = s->spares_wanted = false;
		set_wishes(cases[i].wanted);
		s->manual = cases[i].manual;
		t.live = 1300 + cases[i].live;
		t.spares = cases[i].spares;
		t.training_is_due = cases[i].due;
		pfs_write_enter(s);
		assert_int_equal(s->waiting, 0);
		assert_int_not_equal(pthread_mutex_trylock(&s->commit), 0);
		pfs_write_leave(s);
		assert_int_equal(pthread_mutex_trylock(&s->commit), 0);
		pthread_mutex_unlock(&s->commit);
		expect_told(cases[i].told);
		assert_int_equal(s->checkpoint_wanted, !!(cases[i].wants & WANT));
		assert_int_equal(s->train_wanted, !!(cases[i].wants & TRAIN));
		assert_int_equal(s->spares_wanted, !!(cases[i].wants & SPARE));
		assert_false(s->force_wanted);
	}
}

/* Proves: a force that was wished for stays, also when the next one wishes for less. */
static void wishes_are_kept(void **state)
{
	struct pfs_store *s = &t.store;

	(void)state;
	pfs_want_checkpoint(s, false);
	assert_true(s->checkpoint_wanted && !s->force_wanted);
	pfs_want_checkpoint(s, true);
	pfs_want_checkpoint(s, false);
	assert_true(s->checkpoint_wanted && s->force_wanted);
	expect_told("wake wake wake ");
	s->checkpoint_wanted = s->force_wanted = false;
	s->manual = true;
	pfs_want_checkpoint(s, true);
	assert_false(s->checkpoint_wanted || s->force_wanted);
	expect_told("");
}

/* ---- room ---- */

/* Proves: who finds no room tries twice more, the last time without the reserve if what he does
 * makes room; any other error is one at once. */
static void room_is_made_twice(void **state)
{
	struct pfs_store *s = &t.store;
	unsigned tries = 0;

	(void)state;
	assert_false(pfs_write_again(s, 0, &tries, true));
	assert_false(pfs_write_again(s, -EIO, &tries, true));
	assert_int_equal(tries, 0);
	for (unsigned privileged = 0; privileged < 2; privileged++) {
		tries = 0;
		s->reserve_dropped = false;
		assert_true(pfs_write_again(s, -ENOSPC, &tries, privileged));
		expect_told("checkpoint by force compact yield trim 3 ");
		assert_true(pfs_write_again(s, -ENOSPC, &tries, privileged));
		expect_told(privileged ? "checkpoint by force compact yield trim 3 "
					 "unlink reserve unlink index "
				       : "checkpoint by force compact yield trim 3 ");
		assert_int_equal(s->reserve_dropped, privileged);
		assert_false(pfs_write_again(s, -ENOSPC, &tries, privileged));
		expect_told("");
	}
}

/* Proves: the reserve is 3 MiB, or 64 KiB where these are not to be had; closing leaves 64 KiB; an
 * error is that of making it. */
static void the_reserve_is_made_and_cut(void **state)
{
	static const struct {
		int open_err, allocate_err, cut_err, err;
		const char *made, *closed;
	} cases[] = {
		{0, 0, 0, 0, "open reserve 3 allocate 0+3145728 close ",
		 "open reserve 3 cut 65536 allocate 0+65536 close "},
		{0, -ENOSPC, 0, -ENOSPC,
		 "open reserve 3 allocate 0+3145728 cut 65536 allocate 0+65536 close ",
		 "open reserve 3 cut 65536 allocate 0+65536 close "},
		{0, -ENOSPC, -EIO, -ENOSPC, "open reserve 3 allocate 0+3145728 cut 65536 close ",
		 "open reserve 3 cut 65536 close "},
		{0, -EIO, 0, -EIO, "open reserve 3 allocate 0+3145728 close ",
		 "open reserve 3 cut 65536 allocate 0+65536 close "},
		{-EMFILE, 0, 0, -EMFILE, "open reserve 3 ", "open reserve 3 "},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		t.open_err = cases[i].open_err;
		t.allocate_err = cases[i].allocate_err;
		t.cut_err = cases[i].cut_err;
		assert_int_equal(pfs_make_reserve(&t.store), cases[i].err);
		expect_told(cases[i].made);
		pfs_close_reserve(&t.store);
		expect_told(cases[i].closed);
	}
}

/* Proves: a reserve that was given up is made anew when there is room for eight of it, and only
 * then. */
static void the_reserve_comes_back(void **state)
{
	const uint64_t enough = 24 * PFS_MIB + 1;
	static const char made[] = "open reserve 3 allocate 0+3145728 close ";
	struct pfs_store *s = &t.store;

	(void)state;
	t.available = enough;
	pfs_restore_reserve(s);
	expect_told("");
	s->reserve_dropped = true;
	t.available = enough - 1;
	pfs_restore_reserve(s);
	expect_told("");
	t.available = enough;
	t.space_err = -EIO;
	pfs_restore_reserve(s);
	expect_told("");
	t.space_err = 0;
	t.allocate_err = -EIO;
	pfs_restore_reserve(s);
	expect_told(made);
	assert_true(s->reserve_dropped);
	t.allocate_err = 0;
	pfs_restore_reserve(s);
	expect_told(made);
	assert_false(s->reserve_dropped);
}

/* ---- the committer ---- */

static void commit_until(unsigned words)
{
	t.words = 0;
	t.end = words;
	assert_null(committer(&t.store));
}

/* Proves: a tick comes at once, and then each time that the store's interval has passed, however
 * early a wait ends; not when it is to end. */
static void ticks_come_in_time(void **state)
{
	(void)state;
	t.now = 5000 * MS;
	t.store.commit_ms = 700;
	commit_until(5);
	/* A wait of 701 ms ends half a millisecond early, so that one is left of it. */
	expect_told("tick 5000 wait 701000000 tick 5700 wait 701000000 tick 6401 ");
	t.store.stopping = false;
	t.store.commit_ms = 3000000;
	commit_until(2);
	expect_told("tick 6401 wait 3000001000000 ");
	t.now = 6401 * MS;
	t.store.commit_ms = 700;
	t.store.stopping = true;
	assert_null(committer(&t.store));
	expect_told("");
	t.store.stopping = false;
	t.store.commit_ms = 0;
	commit_until(3);
	expect_told("tick 6401 tick 6401 tick 6401 ");
}

/* Proves: six segments are made ready when somebody wishes for them, before any tick; on a disk
 * that is nearly full, only while there is room for one and the reserve, besides; an attempt that
 * fails is the last one, and a sync that fails is the store's failure. */
static void segments_are_made_ready(void **state)
{
	static const struct {
		unsigned spares;
		bool scarce, has_failed;
		uint64_t available;
		int space_err, spare_err;
		const char *told;
	} cases[] = {
		{3, false, false, 0, 0, 0, "spare spare spare "},
		{5, false, false, 0, 0, 0, "spare "},
		{6, false, false, 0, 0, 0, ""},
		{4, true, false, 2 * PFS_MIB + 65536, 0, 0, "spare spare "},
		{4, true, false, 2 * PFS_MIB + 65535, 0, 0, ""},
		{4, true, false, UINT64_MAX, -EIO, 0, ""},
		{6, true, false, UINT64_MAX, 0, 0, ""},
		{2, false, false, 0, 0, -ENOSPC, "spare "},
		{2, false, true, 0, 0, -EIO, "spare failure syncing a journal segment -5 "},
		{5, false, true, 0, 0, 0, "spare "},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char told[128];

		t.spares = cases[i].spares;
		t.store.reserve_dropped = cases[i].scarce;
		t.has_failed = cases[i].has_failed;
		t.available = cases[i].available;
		t.space_err = cases[i].space_err;
		t.spare_err = cases[i].spare_err;
		t.store.spares_wanted = true;
		t.store.stopping = false;
		t.now = 0;
		snprintf(told, sizeof(told), "%stick 0 ", cases[i].told);
		commit_until((unsigned)(strstr(cases[i].told, "failure")
						? 3
						: strlen(cases[i].told) / 6 + 1));
		expect_told(told);
		assert_false(t.store.spares_wanted);
	}
}

/* ---- the writer ---- */

/* What the writer does until it is stopped with some word; with another one before that somebody
 * wishes for something. */
static void write_until(unsigned words, unsigned at, unsigned wishes)
{
	t.words = 0;
	t.at = at;
	t.then = wishes;
	t.end = words;
	t.store.stopping = false;
	assert_null(writer(&t.store));
}

/* Proves: as long as there is something to compact, it is done, step by step; when a checkpoint is
 * wanted, sixteen steps before it; when the store is closed, the one that is under way. */
static void compaction_goes_on_beside_checkpoints(void **state)
{
	char told[512] = "";

	(void)state;
	t.steps = 20;
	for (unsigned i = 0; i < 21; i++)
		strcat(told, "step ");
	strcat(told, "wait 1000000000 ");
	write_until(22, 0, 0);
	expect_told(told);

	t.steps = 40;
	set_wishes(WANT);
	told[0] = '\0';
	for (unsigned i = 0; i < 16; i++)
		strcat(told, "step ");
	strcat(told, "checkpoint wake step ");
	write_until(19, 0, 0);
	expect_told(told);
	assert_false(t.store.checkpoint_wanted);
	assert_int_equal(t.store.checkpoints_done, 1);

	t.steps = 40;
	write_until(3, 0, 0);
	expect_told("step step step ");
}

/* Proves: a checkpoint that is wanted is made, by force when that is wished for, once; then it is
 * said that it is over. Whoever wishes for one while the writer waits, or for a training, is
 * served. */
static void wishes_are_served(void **state)
{
	struct pfs_store *s = &t.store;

	(void)state;
	set_wishes(WANT);
	write_until(4, 0, 0);
	expect_told("step checkpoint wake step ");
	assert_int_equal(s->checkpoints_done, 1);
	set_wishes(WANT | FORCE);
	write_until(5, 0, 0);
	expect_told("step checkpoint by force wake step wait 1000000000 ");
	assert_true(!s->checkpoint_wanted && !s->force_wanted);
	assert_int_equal(s->checkpoints_done, 2);
	set_wishes(TRAIN);
	write_until(3, 0, 0);
	expect_told("train step wait 1000000000 ");
	assert_false(s->train_wanted);
	/* Within the wait; the training comes when the checkpoint is over. */
	write_until(7, 2, WANT | TRAIN);
	expect_told("step wait 1000000000 checkpoint wake train step wait 1000000000 ");
	write_until(4, 2, FORCE);
	expect_told("step wait 1000000000 step wait 1000000000 ");
	s->force_wanted = false;
	/* Before the wait: then there is none, but for who wishes for nothing else. */
	write_until(4, 1, WANT);
	expect_told("step checkpoint wake step ");
	write_until(4, 1, TRAIN);
	expect_told("step train step wait 1000000000 ");
	/* Who ends it is not kept waiting, and gets no checkpoint. */
	write_until(1, 1, WANT);
	expect_told("step ");
	s->checkpoint_wanted = false;
	write_until(2, 2, WANT);
	expect_told("step wait 1000000000 ");
	assert_true(s->checkpoint_wanted);
	assert_int_equal(s->checkpoints_done, 4);
	s->stopping = true;
	assert_null(writer(s));
	expect_told("");
}

/* Proves: who has left something behind and has changed nothing for more than five seconds gets a
 * checkpoint, and segments are given back. */
static void an_idle_store_is_tidied(void **state)
{
	struct pfs_store *s = &t.store;
	struct pfs_list *const lists[] = {&s->pending, &s->staged, &s->batch, NULL};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(lists); i++) {
		for (int64_t late = 0; late < 2; late++) {
			bool idle = lists[i] && late;

			s->pending = (struct pfs_list){&s->pending, &s->pending};
			s->staged = (struct pfs_list){&s->staged, &s->staged};
			s->batch = (struct pfs_list){&s->batch, &s->batch};
			if (lists[i])
				*lists[i] = (struct pfs_list){&t.item, &t.item};
			t.now = 100000 * MS;
			/* When the wait is over, which ends early. */
			s->changed_ns = t.now + 1000 * MS - MS / 2 - 5000 * MS - late;
			s->checkpoints_done = 0;
			write_until(idle ? 5 : 3, 0, 0);
			expect_told(idle ? "step wait 1000000000 checkpoint trim to 4 wake "
					 : "step wait 1000000000 step ");
			assert_int_equal(s->checkpoints_done, idle);
		}
	}
}

/* ---- beginning and end ---- */

/* Proves: a store has both threads or none; who ends it ends both. */
static void threads_begin_and_end(void **state)
{
	struct pfs_store *s = &t.store;

	(void)state;
	assert_int_equal(pfs_threads_start(s), 0);
	expect_told("begin 0 begin 1 ");
	assert_true(s->threads_running && !s->stopping);
	pfs_threads_stop(s);
	expect_told("wake join join ");
	assert_true(!s->threads_running && s->stopping);
	pfs_threads_stop(s);
	expect_told("");
	s->stopping = false;
	t.create_err[0] = EAGAIN;
	assert_int_equal(pfs_threads_start(s), -EAGAIN);
	expect_told("begin 0 ");
	assert_true(!s->threads_running && !s->stopping);
	t.create_err[0] = 0;
	t.create_err[1] = EPERM;
	assert_int_equal(pfs_threads_start(s), -EPERM);
	expect_told("begin 0 begin 1 wake join ");
	assert_false(s->threads_running);
}

/* Proves: there is one team for all, without threads where the store has none. */
static void there_is_one_team(void **state)
{
	(void)state;
	assert_non_null(pfs_store_team(&t.store));
	assert_ptr_equal(pfs_store_team(&t.store), t.store.team);
	expect_told("team 7 ");
	t.store.team = NULL;
	t.store.manual = true;
	assert_non_null(pfs_store_team(&t.store));
	expect_told("team 0 ");
}

int main(void)
{
#define pace(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		pace(writers_are_slowed),
		pace(short_pauses_are_added_up),
		pace(who_leaves_wakes_the_threads),
		pace(wishes_are_kept),
		pace(room_is_made_twice),
		pace(the_reserve_is_made_and_cut),
		pace(the_reserve_comes_back),
		pace(ticks_come_in_time),
		pace(segments_are_made_ready),
		pace(compaction_goes_on_beside_checkpoints),
		pace(wishes_are_served),
		pace(an_idle_store_is_tidied),
		pace(threads_begin_and_end),
		pace(there_is_one_team),
	};

	return cmocka_run_group_tests_name("the pace of a store", tests, NULL, NULL);
}
