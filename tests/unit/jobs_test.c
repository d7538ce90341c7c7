/* fs/jobs.c: what is submitted is done, by no more threads at once than may be. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/thread.h"
#include "tests/unit/fenced.h"

static bool no_threads; /* there are none to be had */
static unsigned started;
static int detached; /* of these, less each that was not */

static int some_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	if (no_threads)
		return -EAGAIN;
	started++;
	return pfs_thread_start(thread, fn, arg);
}

static sem_t *at_wait; /* posted when somebody is about to wait */

static int wait_and_say(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	if (at_wait)
		sem_post(at_wait);
	return pthread_cond_wait(cond, lock);
}

#define pfs_thread_start(thread, fn, arg) some_thread(thread, fn, arg)
#define pthread_detach(thread) (detached++, pthread_detach(thread))
#define pthread_cond_wait(cond, lock) wait_and_say(cond, lock)
#include "fs/jobs.c"
#undef pthread_cond_wait
#undef pthread_detach
#undef pfs_thread_start

#define MAX 3
#define JOBS 50

struct work {
	pthread_mutex_t lock;
	sem_t begun, let_go;
	unsigned at_once, most, done; /* under lock */
	struct pfs_jobs *jobs;
};

static void begin(struct work *w)
{
	*w = (struct work){.at_once = 0};
	pthread_mutex_init(&w->lock, NULL);
	sem_init(&w->begun, 0, 0);
	sem_init(&w->let_go, 0, 0);
	no_threads = false;
	started = 0;
	detached = 0;
	at_wait = NULL;
	assert_int_equal(pfs_jobs_new(&w->jobs, MAX), 0);
}

static void end(struct work *w)
{
	sem_destroy(&w->let_go);
	sem_destroy(&w->begun);
	pthread_mutex_destroy(&w->lock);
	assert_int_equal(detached, started);
	assert_int_equal(fenced_blocks, 0);
}

static void change(struct work *w, int at_once, unsigned done)
{
	pthread_mutex_lock(&w->lock);
	w->at_once += (unsigned)at_once;
	w->done += done;
	if (w->at_once > w->most)
		w->most = w->at_once;
	pthread_mutex_unlock(&w->lock);
}

static void one(void *arg)
{
	struct work *w = arg;

	change(w, 1, 0);
	sem_post(&w->begun);
	sem_wait(&w->let_go);
	change(w, -1, 1);
}

/* Proves: as many are at work as may be, the rest waits its turn, and all is done when free
 * returns.
 */
static void as_many_as_may_be(void **state)
{
	struct work w;

	(void)state;
	begin(&w);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(pfs_jobs_submit(w.jobs, one, &w), 0);
	for (int i = 0; i < MAX; i++)
		sem_wait(&w.begun);
	assert_int_equal(started, MAX);
	for (int i = 0; i < JOBS; i++)
		sem_post(&w.let_go);
	pfs_jobs_free(w.jobs);
	assert_int_equal(w.done, JOBS);
	assert_int_equal(w.most, MAX);
	assert_int_equal(w.at_once, 0);
	end(&w);
}

static void leave_one(void *arg)
{
	struct work *w = arg;

	sem_post(&w->let_go);
	assert_int_equal(pfs_jobs_submit(w->jobs, one, w), 0);
	change(w, 0, 1);
}

/* Proves: what a job leaves to another one is done, too; after a pause there are threads again. */
static void jobs_of_jobs(void **state)
{
	struct work w;

	(void)state;
	begin(&w);
	assert_int_equal(pfs_jobs_submit(w.jobs, leave_one, &w), 0);
	sem_wait(&w.begun);
	for (bool idle = false; !idle;) {
		pthread_mutex_lock(&w.jobs->lock);
		idle = w.jobs->threads == 0;
		pthread_mutex_unlock(&w.jobs->lock);
	}
	assert_int_equal(w.done, 2);
	assert_int_equal(pfs_jobs_submit(w.jobs, leave_one, &w), 0);
	pfs_jobs_free(w.jobs);
	assert_int_equal(w.done, 4);
	pfs_jobs_free(NULL);
	end(&w);
}

static void wait_for_free(void *arg)
{
	struct work *w = arg;

	sem_wait(&w->let_go);
	change(w, 0, 1);
}

/* Proves: who frees them waits for what is at work, and is told when it is done; without any it
 * does not wait. */
static void the_end_waits_for_the_last(void **state)
{
	struct work w;

	(void)state;
	begin(&w);
	at_wait = &w.let_go;
	assert_int_equal(pfs_jobs_submit(w.jobs, wait_for_free, &w), 0);
	pfs_jobs_free(w.jobs);
	assert_int_equal(w.done, 1);
	end(&w);
	begin(&w);
	pfs_jobs_free(w.jobs);
	end(&w);
}

/* Proves: without memory, or without any thread, nothing is taken on, nor called later; with one
 * thread at work what others are lacking for is done by that one. */
static void what_can_not_be_taken_on(void **state)
{
	struct pfs_jobs *jobs;
	struct work w;

	(void)state;
	begin(&w);
	fenced_refuse(0);
	assert_int_equal(pfs_jobs_new(&jobs, MAX), -ENOMEM);
	assert_null(jobs);
	fenced_refuse(0);
	assert_int_equal(pfs_jobs_submit(w.jobs, one, &w), -ENOMEM);
	no_threads = true;
	assert_int_equal(pfs_jobs_submit(w.jobs, one, &w), -EAGAIN);
	no_threads = false;
	assert_int_equal(pfs_jobs_submit(w.jobs, one, &w), 0);
	sem_wait(&w.begun);
	no_threads = true;
	assert_int_equal(pfs_jobs_submit(w.jobs, one, &w), 0);
	assert_int_equal(started, 1);
	sem_post(&w.let_go);
	sem_post(&w.let_go);
	pfs_jobs_free(w.jobs);
	assert_int_equal(w.done, 2);
	assert_int_equal(w.most, 1);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_may_be),
		cmocka_unit_test(jobs_of_jobs),
		cmocka_unit_test(the_end_waits_for_the_last),
		cmocka_unit_test(what_can_not_be_taken_on),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
