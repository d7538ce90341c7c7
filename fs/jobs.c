#include "fs/jobs.h"

#include <stdlib.h>

#include "fs/thread.h"

struct job {
	struct job *next;
	pfs_job_fn *fn;
	void *arg;
};

struct pfs_jobs {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned threads, threads_max; /* under lock, like the next one */
	struct job *first, **last;
};

int pfs_jobs_new(struct pfs_jobs **out, unsigned threads_max)
{
	struct pfs_jobs *jobs = calloc(1, sizeof(*jobs));

	*out = jobs;
	if (!jobs)
		return -ENOMEM;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->idle, NULL);
	jobs->threads_max = threads_max;
	jobs->last = &jobs->first;
	return 0;
}

static void *run(void *arg)
{
	struct pfs_jobs *jobs = arg;
	struct job *job;

	pthread_mutex_lock(&jobs->lock);
	while ((job = jobs->first)) {
		jobs->first = job->next;
		if (!jobs->first)
			jobs->last = &jobs->first;
		pthread_mutex_unlock(&jobs->lock);
		job->fn(job->arg);
		free(job);
		pthread_mutex_lock(&jobs->lock);
	}
	if (--jobs->threads == 0)
		pthread_cond_broadcast(&jobs->idle);
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

static int start_thread(struct pfs_jobs *jobs)
{
	pthread_t thread;
	int err = pfs_thread_start(&thread, run, jobs);

	if (!err)
		pthread_detach(thread);
	return err;
}

int pfs_jobs_submit(struct pfs_jobs *jobs, pfs_job_fn *fn, void *arg)
{
	struct job *job = malloc(sizeof(*job));
	int err = 0;

	if (!job)
		return -ENOMEM;
	*job = (struct job){.fn = fn, .arg = arg};
	pthread_mutex_lock(&jobs->lock);
	if (jobs->threads < jobs->threads_max) {
		err = start_thread(jobs);
		jobs->threads += err == 0;
	}
	/* With one thread at work it is only later. */
	if (jobs->threads > 0) {
		*jobs->last = job;
		jobs->last = &job->next;
		job = NULL;
		err = 0;
	}
	pthread_mutex_unlock(&jobs->lock);
	free(job);
	return err;
}

void pfs_jobs_free(struct pfs_jobs *jobs)
{
	if (!jobs)
		return;
	pthread_mutex_lock(&jobs->lock);
	while (jobs->threads > 0)
		pthread_cond_wait(&jobs->idle, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
	pthread_cond_destroy(&jobs->idle);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}
