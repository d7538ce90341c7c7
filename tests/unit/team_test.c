/* Jobs that are done ahead of who needs them. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* Of a machine with so many; 0: of this one. */
static long machine;

static long count_processors(int name)
{
	return machine ? machine : sysconf(name);
}

#include "tests/unit/fenced.h"

#define sysconf count_processors
#include "storage/team.c"
#undef sysconf

enum { JOBS = 2000, AHEAD = 5 };

/* What jobs make: job i writes place i % AHEAD, which must be free. */
struct work {
	size_t places[AHEAD]; /* 1 + the job whose result is there; 0: free */
	unsigned times[JOBS]; /* that each job was done; atomic */
	unsigned clashes;     /* atomic: places that were not free */
	pthread_t caller;
	unsigned by_others;   /* atomic */
	bool wait_for_others; /* the caller does no second job until a thread has done one */
	bool slow;	      /* a job takes longer than it takes to end a run */
};

static void make(void *arg, size_t job)
{
	struct work *w = arg;

	__atomic_add_fetch(&w->times[job], 1, __ATOMIC_RELAXED);
	if (!pthread_equal(pthread_self(), w->caller))
		__atomic_add_fetch(&w->by_others, 1, __ATOMIC_RELEASE);
	while (w->wait_for_others && !__atomic_load_n(&w->by_others, __ATOMIC_ACQUIRE))
		sched_yield();
	if (w->slow)
		usleep(100);
	if (w->places[job % AHEAD] != 0)
		__atomic_add_fetch(&w->clashes, 1, __ATOMIC_RELAXED);
	w->places[job % AHEAD] = job + 1;
}

static void use(struct pfs_team *team, struct work *w, size_t job)
{
	pfs_team_wait(team, job);
	assert_int_equal(w->places[job % AHEAD], job + 1);
	assert_int_equal(__atomic_load_n(&w->clashes, __ATOMIC_RELAXED), 0);
	w->places[job % AHEAD] = 0;
}

static void begin(struct pfs_team *team, struct work *w)
{
	*w = (struct work){.caller = pthread_self()};
	assert_true(pfs_team_begin(team, make, w, JOBS, AHEAD));
}

/* Proves: every job is done once, its result is there when it was waited for, and no more of them
 * are begun ahead than there are places, with threads and without. */
static void each_job_once_and_in_order(void **state)
{
	(void)state;
	for (unsigned max = 0; max <= 3; max += 3) {
		struct pfs_team *team;
		struct work w;

		assert_int_equal(pfs_team_new(&team, max), 0);
		for (unsigned round = 0; round < 20; round++) {
			begin(team, &w);
			for (size_t i = 0; i < JOBS; i++)
				use(team, &w, i);
			assert_int_equal(pfs_team_end(team), JOBS);
			for (size_t i = 0; i < JOBS; i++)
				assert_int_equal(w.times[i], 1);
			if (max == 0)
				assert_int_equal(w.by_others, 0);
		}
		pfs_team_free(team);
	}
}

/* Proves: where there is a second processor, another thread does jobs. */
static void others_work_too(void **state)
{
	struct pfs_team *team;
	struct work w;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		print_message("one processor: there is nobody else\n");
		return;
	}
	assert_int_equal(pfs_team_new(&team, 1), 0);
	w = (struct work){.caller = pthread_self(), .wait_for_others = true};
	assert_true(pfs_team_begin(team, make, &w, JOBS, AHEAD));
	for (size_t i = 0; i < JOBS; i++)
		use(team, &w, i);
	(void)pfs_team_end(team);
	assert_true(w.by_others > 0);
	pfs_team_free(team);
}

/* Proves: there is one thread less than there are processors, up to so many as are wanted, and no
 * more than can be. */
static void threads_for_all_processors_but_one(void **state)
{
	(void)state;
	for (machine = 1; machine < 12; machine++) {
		for (unsigned max = 0; max < 10; max++) {
			unsigned expected = max < PFS_TEAM_THREADS_MAX ? max : PFS_TEAM_THREADS_MAX;
			struct pfs_team *team;

			if (expected > machine - 1)
				expected = (unsigned)machine - 1;
			assert_int_equal(pfs_team_new(&team, max), 0);
			assert_int_equal(team->threads, expected);
			pfs_team_free(team);
		}
	}
	machine = 0;
	pfs_team_free(NULL);
}

static unsigned taken;

static void take_long(void *arg, size_t job)
{
	(void)job;
	__atomic_store_n(&taken, 1, __ATOMIC_RELEASE);
	usleep(3000); /* so that it is most likely waited for */
	__atomic_store_n((unsigned *)arg, 1, __ATOMIC_RELEASE);
}

/* Proves: who needs a job that another thread is at waits until it is done. */
static void what_others_do_is_waited_for(void **state)
{
	struct pfs_team *team;
	unsigned done = 0;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	assert_int_equal(pfs_team_new(&team, 1), 0);
	assert_true(pfs_team_begin(team, take_long, &done, 1, AHEAD));
	while (!__atomic_load_n(&taken, __ATOMIC_ACQUIRE))
		sched_yield();
	pfs_team_wait(team, 0);
	assert_int_equal(__atomic_load_n(&done, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(pfs_team_end(team), 1);
	pfs_team_free(team);
}

/* Proves: a run that is ended early tells exactly which jobs were done, nobody works on any of them
 * any more, and the next run begins from the start. */
static void ended_early(void **state)
{
	struct pfs_team *team;
	struct work w;

	(void)state;
	assert_int_equal(pfs_team_new(&team, 3), 0);
	for (size_t stop = 0; stop < 60; stop++) {
		size_t begun;

		w = (struct work){.caller = pthread_self(), .slow = true};
		assert_true(pfs_team_begin(team, make, &w, JOBS, AHEAD));
		for (size_t i = 0; i < stop; i++)
			use(team, &w, i);
		begun = pfs_team_end(team);
		assert_in_range(begun, stop, stop + AHEAD);
		for (size_t i = 0; i < JOBS; i++)
			assert_int_equal(w.times[i], i < begun);
		for (size_t i = stop; i < begun; i++)
			assert_int_equal(w.places[i % AHEAD], i + 1);
	}
	pfs_team_free(team);
}

/* Proves: who finds it taken is told so, and has it when the other has ended. */
static void one_run_at_a_time(void **state)
{
	struct pfs_team *team;
	struct work w, other = {.caller = pthread_self()};

	(void)state;
	assert_int_equal(pfs_team_new(&team, 1), 0);
	begin(team, &w);
	assert_false(pfs_team_begin(team, make, &other, JOBS, AHEAD));
	use(team, &w, 0);
	(void)pfs_team_end(team);
	for (size_t i = 0; i < JOBS; i++)
		assert_int_equal(other.times[i], 0);
	assert_true(pfs_team_begin(team, make, &other, 1, AHEAD));
	use(team, &other, 0);
	assert_int_equal(pfs_team_end(team), 1);
	pfs_team_free(team);
}

/* Proves: a run that is ended before any job was begun leaves none to those who come later. */
static void what_was_not_begun_is_forgotten(void **state)
{
	struct pfs_team *team;
	struct work w;

	(void)state;
	machine = 1;
	assert_int_equal(pfs_team_new(&team, 3), 0);
	machine = 0;
	begin(team, &w);
	assert_true(has_job(team));
	assert_int_equal(pfs_team_end(team), 0);
	assert_false(has_job(team));
	pfs_team_free(team);
}

/* Proves: without memory there is no team, and that is said. */
static void memory_may_be_missing(void **state)
{
	struct pfs_team *team = (struct pfs_team *)state;

	fenced_refuse(0);
	assert_int_equal(pfs_team_new(&team, 3), -ENOMEM);
	assert_null(team);
	pfs_team_free(team);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_job_once_and_in_order),
		cmocka_unit_test(others_work_too),
		cmocka_unit_test(threads_for_all_processors_but_one),
		cmocka_unit_test(what_others_do_is_waited_for),
		cmocka_unit_test(ended_early),
		cmocka_unit_test(one_run_at_a_time),
		cmocka_unit_test(what_was_not_begun_is_forgotten),
		cmocka_unit_test(memory_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
