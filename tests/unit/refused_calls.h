/* Memory and threads that a module which is included in its test can't have. Other blocks than
 * those of calloc, with their bounds looked after: fenced.h. */
#ifndef PFS_TEST_REFUSED_CALLS_H
#define PFS_TEST_REFUSED_CALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

static bool no_memory;
static int thread_err; /* what starting a thread fails with; 0: it does not */

static inline void *get_or_fail(size_t n, size_t size)
{
	return no_memory ? NULL : calloc(n, size);
}

static inline int start_or_fail(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
				void *arg)
{
	return thread_err ? thread_err : pthread_create(thread, attr, fn, arg);
}

#endif
