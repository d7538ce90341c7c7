#include "storage/team.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Jobs are begun in their order. T1: awaited <= begun <= awaited + ahead while there are jobs. T2:
 * `finished` has one bit for each job from `awaited` on that is done, the lowest for that one. */

struct pfs_team {
	unsigned threads;
	pthread_t at[PFS_TEAM_THREADS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t work; /* there is a job to begin, or an end */
	pthread_cond_t done; /* a job was done */
	/* Lock. */
	bool ending, taken;
	pfs_team_fn *fn;
	void *arg;
	size_t jobs, ahead;
	size_t begun;	   /* so many, from 0 on */
	size_t awaited;	   /* what is needed next */
	uint64_t finished; /* T2 */
	unsigned working;  /* threads and the caller, on jobs */
};

static bool has_job(const struct pfs_team *t)
{
	return t->begun < t->jobs && t->begun < t->awaited + t->ahead;
}

/* Begins the next job and does it, without the lock meanwhile. */
static void do_next(struct pfs_team *t)
{
	pfs_team_fn *fn = t->fn;
	void *arg = t->arg;
	size_t job = t->begun++;

	t->working++;
	pthread_mutex_unlock(&t->lock);
	fn(arg, job);
	pthread_mutex_lock(&t->lock);
	t->working--;
	t->finished |= UINT64_C(1) << (job - t->awaited);
	pthread_cond_signal(&t->done);
}

static void *member(void *arg)
{
	struct pfs_team *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->ending)
		if (has_job(t))
			do_next(t);
		else
			pthread_cond_wait(&t->work, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int pfs_team_new(struct pfs_team **out, unsigned max)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct pfs_team *t = calloc(1, sizeof(*t));

	*out = t;
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->done, NULL);
	max = max < PFS_TEAM_THREADS_MAX ? max : PFS_TEAM_THREADS_MAX;
	while (t->threads < max && (long)t->threads + 1 < processors) {
		if (pthread_create(&t->at[t->threads], NULL, member, t) != 0)
			break;
		t->threads++;
	}
	return 0;
}

void pfs_team_free(struct pfs_team *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	while (t->threads)
		pthread_join(t->at[--t->threads], NULL);
	pthread_cond_destroy(&t->done);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

bool pfs_team_begin(struct pfs_team *t, pfs_team_fn *fn, void *arg, size_t jobs, size_t ahead)
{
	bool free_now;

	pthread_mutex_lock(&t->lock);
	free_now = !t->taken;
	if (free_now) {
		t->taken = true;
		t->fn = fn;
		t->arg = arg;
		t->jobs = jobs;
		t->ahead = ahead < PFS_TEAM_AHEAD_MAX ? ahead : PFS_TEAM_AHEAD_MAX;
		t->begun = t->awaited = 0;
		t->finished = 0;
		pthread_cond_broadcast(&t->work);
	}
	pthread_mutex_unlock(&t->lock);
	return free_now;
}

void pfs_team_wait(struct pfs_team *t, size_t job)
{
	pthread_mutex_lock(&t->lock);
	if (job > t->awaited) {
		t->finished >>= 1;
		t->awaited++;
		if (has_job(t))
			pthread_cond_signal(&t->work);
	}
	while (!(t->finished & 1))
		if (has_job(t))
			do_next(t);
		else
			pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

size_t pfs_team_end(struct pfs_team *t)
{
	size_t begun;

	pthread_mutex_lock(&t->lock);
	begun = t->begun;
	t->jobs = 0;
	while (t->working)
		pthread_cond_wait(&t->done, &t->lock);
	t->taken = false;
	pthread_mutex_unlock(&t->lock);
	return begun;
}
