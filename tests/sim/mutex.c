/* Mutexes and conditions under test, linked in by --wrap: every mutex is an error-checking one, and
 * a wrong use of it ends the program. A plain one says nothing to who gives it back without having
 * it, and keeps who takes it twice waiting for ever. One that nobody has initialised ends it, too,
 * though glibc would let zeros pass, and so does one that is still there at the end. */
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __real_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __real_pthread_cond_destroy(pthread_cond_t *cond);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);

static struct {
	pthread_mutex_t lock;
	void *tree; /* of all addresses that are initialised */
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int by_address(const void *a, const void *b)
{
	return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

typedef void *tree_call(const void *key, void **root, __compar_fn_t order);

/* tsearch(), tfind() or tdelete() of one of them. */
static bool in_tree(const void *what, tree_call *call)
{
	bool found;

	__real_pthread_mutex_lock(&known.lock);
	found = call(what, &known.tree, by_address);
	__real_pthread_mutex_unlock(&known.lock);
	return found;
}

static void *find(const void *key, void **root, __compar_fn_t order)
{
	return tfind(key, root, order);
}

static void need(bool right, const char *what)
{
	if (!right) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

__attribute__((destructor)) static void at_end(void)
{
	need(!known.tree, "a mutex or a condition was not destroyed");
}

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

	in_tree(mutex, tsearch);
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
	need(in_tree(mutex, tdelete), "a mutex was destroyed that was not there");
	return done(__real_pthread_mutex_destroy(mutex), "destroyed");
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	/* Found in itself, so that nobody waits here: the search would put them in order. */
	need(mutex->__data.__kind != PTHREAD_MUTEX_TIMED_NP,
	     "a mutex was taken that nobody had initialised");
	return done(__real_pthread_mutex_lock(mutex), "taken");
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	return done(__real_pthread_mutex_unlock(mutex), "given back");
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
	in_tree(cond, tsearch);
	return __real_pthread_cond_init(cond, attr);
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
	need(in_tree(cond, tdelete), "a condition was destroyed that was not there");
	return __real_pthread_cond_destroy(cond);
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	need(in_tree(cond, find), "a condition was waited for that nobody had initialised");
	return done(__real_pthread_cond_wait(cond, mutex), "waited with");
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	need(in_tree(cond, find), "a condition was waited for that nobody had initialised");
	return done(__real_pthread_cond_timedwait(cond, mutex, until), "waited with");
}
