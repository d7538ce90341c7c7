/* storage/journal_segment.c, journal_replay.c and journal_sync.c: what is given back is not looked
 * at any more, memory that there is not is an error, and what a sync leaves is there before its
 * lock is let go. The files are included, to know the moments. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/poisoned.h"

static bool refuses;
static void (*at_unlock)(void);

static void *fake_calloc(size_t n, size_t size)
{
	return refuses ? NULL : calloc(n, size);
}

static void *fake_realloc(void *p, size_t size)
{
	return refuses ? NULL : realloc(p, size);
}

static int fake_unlock(pthread_mutex_t *mutex)
{
	int err = pthread_mutex_unlock(mutex);

	if (at_unlock)
		at_unlock();
	return err;
}

#define free poisoned_free
#define calloc fake_calloc
#define realloc fake_realloc
#define pthread_mutex_unlock fake_unlock
#include "storage/journal_segment.c"

#include "storage/journal_replay.c"

#include "storage/journal_sync.c"
#undef free
#undef calloc
#undef realloc
#undef pthread_mutex_unlock

#include "tests/unit/journal_helpers.h"

/* Proves: a journal with segments of every kind ends without a look at what is given back. */
static void journals_end_in_order(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		log_open(&log, sim);
		append_many(&log, 200);
		assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
		assert_non_null(log.journal->live);
		log_close(&log);
	}
	pfs_sim_free(sim);
}

/* Proves: the number of a file is in use from when it is said to be, until it is said to be free,
 * and with it no other one. */
static void numbers_of_files_are_told_apart(void **state)
{
	static struct pfs_journal one, all;
	static uint8_t none[sizeof(one.file_used)], every[sizeof(one.file_used)];

	(void)state;
	memset(every, 0xff, sizeof(every));
	memset(all.file_used, 0xff, sizeof(all.file_used));
	for (unsigned i = 0; i < SEGMENT_FILES_MAX; i += i < 100 ? 1 : 4001) {
		pfs_segment_use_index(&one, i, true);
		pfs_segment_use_index(&all, i, false);
		assert_true(pfs_segment_index_is_used(&one, i));
		assert_false(pfs_segment_index_is_used(&all, i));
		for (unsigned j = i < 20 ? 0 : i - 20; j < i + 20 && j < SEGMENT_FILES_MAX; j++) {
			assert_int_equal(pfs_segment_index_is_used(&one, j), j == i);
			assert_int_equal(pfs_segment_index_is_used(&all, j), j != i);
		}
		pfs_segment_use_index(&one, i, false);
		pfs_segment_use_index(&all, i, true);
		assert_memory_equal(one.file_used, none, sizeof(none));
		assert_memory_equal(all.file_used, every, sizeof(every));
	}
}

/* Proves: without memory a segment is not opened, and a longer record not read; what there was
 * stays. */
static void memory_may_be_missing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_segment *segment;
	struct replay replay;
	struct log log;
	uint8_t *buf;
	size_t cap;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 3);
	assert_int_equal(pfs_journal_room(log.journal, 100), 0);
	buf = log.journal->buf;
	cap = log.journal->buf_cap;
	refuses = true;
	segment = log.journal->live;
	replay = (struct replay){.journal = log.journal, .result = &log.result, .expected = 1};
	assert_int_equal(
		replay_damaged(&replay, segment, PFS_SEGMENT_DATA, PFS_SEGMENT_DATA + cap + 8),
		-ENOMEM);
	assert_int_equal(log.result.damaged, 0);
	assert_int_equal(pfs_segment_open(log.journal, 0, false, false, &segment), -ENOMEM);
	assert_null(segment);
	assert_int_equal(pfs_journal_room(log.journal, cap + 1), -ENOMEM);
	assert_int_equal(pfs_journal_room(log.journal, cap), 0);
	refuses = false;
	assert_ptr_equal(log.journal->buf, buf);
	assert_int_equal(log.journal->buf_cap, cap);
	log_close(&log);
	pfs_sim_free(sim);
}

static struct pfs_journal *the_journal;
static unsigned unlocks;
static bool was_syncing;

/* Whoever waits on a thread is among those that wait: now he is told. */
static void tell_the_first(void)
{
	struct pfs_sync_wait *wait = the_journal->waiting;

	assert_non_null(wait);
	assert_int_equal(wait->seq, 2);
	the_journal->waiting = wait->next;
	wait->done(wait, -EIO);
}

static void look_whether_it_syncs(void)
{
	unlocks++;
	was_syncing = the_journal->syncing;
}

/* Proves (GC1): who waits is one of those that wait, and who leads has passed the lead on, before
 * anybody else can take the lock. */
static void waiting_and_leading_are_told_in_time(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct log log;
	int err = 0;

	(void)state;
	log_open(&log, sim);
	append_many(&log, 3);
	the_journal = log.journal;
	assert_int_equal(pthread_mutex_lock(&log.journal->lock), 0);
	at_unlock = tell_the_first;
	assert_false(wait_on_thread(log.journal, 2, &err));
	assert_int_equal(err, -EIO);
	at_unlock = look_whether_it_syncs;
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	at_unlock = NULL;
	assert_true(unlocks > 1);
	assert_false(was_syncing);
	log_close(&log);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(journals_end_in_order),
		cmocka_unit_test(numbers_of_files_are_told_apart),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(waiting_and_leading_are_told_in_time),
	};

	return cmocka_run_group_tests_name("journal, step by step", tests, NULL, NULL);
}
