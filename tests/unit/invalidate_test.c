/* fs/invalidate.c: the thread that tells the kernel what to drop. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fs/thread.h"
#include "tests/unit/fenced.h"

static bool no_threads; /* there are none to be had */

#define pfs_thread_start(thread, fn, arg) (no_threads ? -EAGAIN : pfs_thread_start(thread, fn, arg))
#include "fs/invalidate.c"
#undef pfs_thread_start

/* The kernel's side: writes down what it is told, and can be made to hold the directory's lock. */
struct kernel {
	pthread_mutex_t directory;
	char told[4096];
	int entry_result, attributes_result, listing_result;
};

static int entry(void *arg, const char *name, size_t len, uint64_t gone)
{
	struct kernel *kernel = arg;
	size_t used;

	assert_int_equal(strlen(name), len);
	pthread_mutex_lock(&kernel->directory);
	used = strlen(kernel->told);
	snprintf(kernel->told + used, sizeof(kernel->told) - used, "%s:%d ", name, (int)gone);
	pthread_mutex_unlock(&kernel->directory);
	return kernel->entry_result;
}

static int attributes(void *arg, uint64_t nodeid)
{
	struct kernel *kernel = arg;
	size_t used;

	pthread_mutex_lock(&kernel->directory);
	used = strlen(kernel->told);
	snprintf(kernel->told + used, sizeof(kernel->told) - used, "attributes:%d ", (int)nodeid);
	pthread_mutex_unlock(&kernel->directory);
	return kernel->attributes_result;
}

static int listing(void *arg)
{
	struct kernel *kernel = arg;

	pthread_mutex_lock(&kernel->directory);
	strcat(kernel->told, "listing ");
	pthread_mutex_unlock(&kernel->directory);
	return kernel->listing_result;
}

static char last_line[256];

static void log_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)level;
	snprintf(last_line, sizeof(last_line), "%s", line);
	++*(unsigned *)arg;
}

static struct kernel kernel;
static unsigned logged;
static struct pfs_invalidator *invalidator;

static int setup(void **state)
{
	static struct pfs_logger logger = {.fn = log_line, .arg = &logged};
	const struct pfs_invalidate_ops ops = {
		.entry = entry, .attributes = attributes, .listing = listing, .arg = &kernel};

	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	pthread_mutex_init(&kernel.directory, NULL);
	logged = 0;
	return pfs_invalidator_start(&invalidator, &ops, &logger);
}

static int teardown(void **state)
{
	(void)state;
	pfs_invalidator_stop(invalidator);
	pthread_mutex_destroy(&kernel.directory);
	assert_int_equal(fenced_blocks, 0);
	return 0;
}

/* Proves: when the call returns, every name was told, in order, and the listing last. */
static void waits_until_all_is_told(void **state)
{
	const struct pfs_invalidation items[] = {
		{.key = pfs_key_num(42), .gone = 7},
		{.key = pfs_key_num(UINT64_MAX), .gone = 0},
	};

	(void)state;
	pfs_invalidate(invalidator, items, pfs_array_len(items));
	assert_string_equal(kernel.told, "42:7 18446744073709551615:0 listing ");
}

/* Proves: of a document whose name is not known the attributes are dropped, and no entry. */
static void without_a_name_the_attributes_go(void **state)
{
	const struct pfs_invalidation items[] = {{.gone = 7}, {.key = pfs_key_num(3)}, {.gone = 8}};

	(void)state;
	pfs_invalidate(invalidator, items, pfs_array_len(items));
	assert_string_equal(kernel.told, "attributes:7 3:0 attributes:8 listing ");
	kernel.attributes_result = -ENOENT;
	pfs_invalidate(invalidator, items, 1);
	assert_int_equal(logged, 0);
	kernel.attributes_result = -EIO;
	pfs_invalidate(invalidator, items, 1);
	assert_int_equal(logged, 1);
}

/* Proves: queueing does not wait, also while the kernel holds the directory's lock (it may be
 * waiting for the very thread that queues), and nothing queued is lost or overtaken. */
static void later_does_not_wait(void **state)
{
	struct pfs_invalidation item = {.key = pfs_key_num(1)};

	(void)state;
	pthread_mutex_lock(&kernel.directory);
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	item.key = pfs_key_num(2); /* it was copied */
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	assert_string_equal(kernel.told, "");
	pthread_mutex_unlock(&kernel.directory);
	item.key = pfs_key_num(3);
	pfs_invalidate(invalidator, &item, 1);
	assert_string_equal(kernel.told, "1:0 listing 2:0 listing 3:0 listing ");
}

static void *invalidate_one(void *arg)
{
	const struct pfs_invalidation item = {.key = pfs_key_num(9)};

	pfs_invalidate(arg, &item, 1);
	return NULL;
}

/* Proves: what is not cached, or a mount that is gone, is not worth a line; other failures are. */
static void failures_are_logged(void **state)
{
	const struct pfs_invalidation item = {.key = pfs_key_num(1)};

	(void)state;
	kernel.entry_result = -ENOENT;
	kernel.listing_result = -ENODEV;
	pfs_invalidate(invalidator, &item, 1);
	kernel.entry_result = -ENOTCONN;
	pfs_invalidate(invalidator, &item, 1);
	assert_int_equal(logged, 0);
	kernel.entry_result = -EIO;
	pfs_invalidate(invalidator, &item, 1);
	assert_int_equal(logged, 1);
	assert_string_equal(last_line, "1: cached entry not dropped: Input/output error");
	kernel.listing_result = -EIO;
	pfs_invalidate(invalidator, &item, 1);
	assert_int_equal(logged, 3);
	assert_string_equal(last_line, "cached listing not dropped: Input/output error");
}

/* Proves: several threads that wait at once all come back. */
static void many_wait(void **state)
{
	pthread_t threads[8];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, invalidate_one, invalidator), 0);
	for (size_t i = 0; i < pfs_array_len(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_string_equal(kernel.told, "9:0 listing 9:0 listing 9:0 listing 9:0 listing "
					 "9:0 listing 9:0 listing 9:0 listing 9:0 listing ");
}

static void *end_it(void *arg)
{
	pfs_invalidator_end(arg);
	return NULL;
}

static bool is_queued(bool *stopping)
{
	bool queued;

	pthread_mutex_lock(&invalidator->lock);
	queued = invalidator->first != NULL;
	*stopping = invalidator->stopping;
	pthread_mutex_unlock(&invalidator->lock);
	return queued;
}

/* Proves: the end waits until the kernel has taken what it is being told, and for nothing else; who
 * waits for the rest comes back, and what comes afterwards is dropped. */
static void the_end_tells_nothing_more(void **state)
{
	const struct pfs_invalidation item = {.key = pfs_key_num(1)};
	pthread_t waits, ends;
	bool stopping;

	(void)state;
	pthread_mutex_lock(&kernel.directory);
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	while (is_queued(&stopping)) /* until it is being told */
		;
	assert_int_equal(pthread_create(&waits, NULL, invalidate_one, invalidator), 0);
	while (!is_queued(&stopping))
		;
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	assert_int_equal(pthread_create(&ends, NULL, end_it, invalidator), 0);
	while (is_queued(&stopping) && !stopping)
		;
	assert_string_equal(kernel.told, "");
	pthread_mutex_unlock(&kernel.directory);
	assert_int_equal(pthread_join(ends, NULL), 0);
	assert_int_equal(pthread_join(waits, NULL), 0);
	assert_string_equal(kernel.told, "1:0 listing ");
	pfs_invalidate(invalidator, &item, 1);
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	pfs_invalidator_end(invalidator);
	assert_string_equal(kernel.told, "1:0 listing ");
}

/* Proves: without memory or a thread there is none; without memory nothing is queued, and what
 * comes later is. */
static void without_memory_or_threads(void **state)
{
	const struct pfs_invalidate_ops ops = {.entry = entry};
	const struct pfs_invalidation item = {.key = pfs_key_num(1)};
	struct pfs_invalidator *other = invalidator;

	(void)state;
	fenced_refuse(0);
	assert_int_equal(pfs_invalidator_start(&other, &ops, NULL), -ENOMEM);
	assert_null(other);
	other = invalidator;
	no_threads = true;
	assert_int_equal(pfs_invalidator_start(&other, &ops, NULL), -EAGAIN);
	no_threads = false;
	assert_null(other);
	pfs_invalidator_end(NULL);
	pfs_invalidator_stop(NULL);
	fenced_refuse(0);
	assert_int_equal(pfs_invalidate_later(invalidator, &item), -ENOMEM);
	pfs_invalidate(invalidator, NULL, 0);
	assert_string_equal(kernel.told, "listing ");
	assert_int_equal(pfs_invalidate_later(invalidator, &item), 0);
	pfs_invalidate(invalidator, NULL, 0);
	assert_string_equal(kernel.told, "listing 1:0 listing listing ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(waits_until_all_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_name_the_attributes_go, setup, teardown),
		cmocka_unit_test_setup_teardown(later_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(failures_are_logged, setup, teardown),
		cmocka_unit_test_setup_teardown(many_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_tells_nothing_more, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_or_threads, setup, teardown),
	};

	return cmocka_run_group_tests_name("invalidate", tests, NULL, NULL);
}
