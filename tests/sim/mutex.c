/* Mutexes under test, linked in by --wrap: every one is an error-checking one, and a wrong use of
 * it ends the program. A plain one says nothing to who gives it back without having it, and keeps
 * who takes it twice waiting for ever. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __real_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);

static int done(int err, const char *what)
{
	if (err && err != ETIMEDOUT) {
		fprintf(stderr, "a mutex was %s: %s\n", what, strerror(err));
		abort();
	}
	return err;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
	pthread_mutexattr_t checking;
	int err;

	if (attr)
		return __real_pthread_mutex_init(mutex, attr);
	pthread_mutexattr_init(&checking);
	pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK);
	err = __real_pthread_mutex_init(mutex, &checking);
	pthread_mutexattr_destroy(&checking);
	return err;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	return done(__real_pthread_mutex_destroy(mutex), "destroyed");
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	return done(__real_pthread_mutex_lock(mutex), "taken");
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	return done(__real_pthread_mutex_unlock(mutex), "given back");
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	return done(__real_pthread_cond_wait(cond, mutex), "waited with");
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	return done(__real_pthread_cond_timedwait(cond, mutex, until), "waited with");
}
