/* fs/jobs.c: what is submitted is done, by no more threads at once than may be. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/jobs.c"

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
	assert_int_equal(pfs_jobs_new(&w->jobs, MAX), 0);
}

static void end(struct work *w)
{
	sem_destroy(&w->let_go);
	sem_destroy(&w->begun);
	pthread_mutex_destroy(&w->lock);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_may_be),
		cmocka_unit_test(jobs_of_jobs),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
