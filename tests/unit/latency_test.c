/* fs/latency.c: when the device is held, on a file in its place. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/refused_calls.h"

#define calloc get_or_fail
#define pthread_create start_or_fail
#include "fs/latency.c"
#undef pthread_create

#define PATIENCE_MS 60000

static char path[] = "/tmp/latency_test.XXXXXX";
static unsigned logged;
static char last_line[256];

static void log_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	snprintf(last_line, sizeof(last_line), "%s", line);
	assert_int_equal(level, PFS_LOG_WARNING);
	logged++;
}

static const struct pfs_logger logger = {.fn = log_line};

/* How many descriptors of this process are for the path. */
static unsigned held(const char *file)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char link[300], target[300];
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
		len = readlink(link, target, sizeof(target) - 1);
		target[len < 0 ? 0 : len] = '\0';
		n += strcmp(target, file) == 0;
	}
	closedir(dir);
	return n;
}

static void nap(void)
{
	nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* While noting or not, until so many are held. */
static void wait_until_held(struct pfs_latency *l, bool note, unsigned n)
{
	for (unsigned i = 0; held(path) != n; i++) {
		assert_true(i < PATIENCE_MS);
		if (note)
			pfs_latency_note(l);
		nap();
	}
}

static void wait_until_asleep(struct pfs_latency *l)
{
	for (unsigned i = 0; !__atomic_load_n(&l->asleep, __ATOMIC_SEQ_CST); i++) {
		assert_true(i < PATIENCE_MS);
		nap();
	}
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int setup(void **state)
{
	int fd;

	(void)state;
	logged = 0;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* Proves: it is held while requests come, with a latency of zero, let go when none comes, and that
 * again and again; stopping lets go, too. */
static void held_while_requests_come(void **state)
{
	struct pfs_latency *l;
	uint8_t bytes[8];
	FILE *file;

	(void)state;
	assert_int_equal(pfs_latency_new(&l, path, &logger), 0);
	assert_int_equal(pfs_latency_start(l), 0);
	for (unsigned round = 0; round < 3; round++) {
		wait_until_held(l, true, 1);
		wait_until_held(l, false, 0);
	}
	wait_until_held(l, true, 1);
	pfs_latency_stop(l);
	assert_int_equal(held(path), 0);
	pfs_latency_stop(l);
	pfs_latency_free(l);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(bytes, 1, sizeof(bytes), file), sizeof(int32_t));
	assert_memory_equal(bytes, "\0\0\0\0", sizeof(int32_t));
	fclose(file);
	assert_int_equal(logged, 0);
}

/* Proves: without the device it says so, and requests go on. */
static void without_the_device(void **state)
{
	struct pfs_latency *l;

	(void)state;
	assert_int_equal(pfs_latency_new(&l, "/nowhere/cpu_dma_latency", &logger), 0);
	assert_int_equal(pfs_latency_start(l), 0);
	for (unsigned i = 0; i < 100; i++)
		pfs_latency_note(l);
	pfs_latency_stop(l);
	assert_int_equal(logged, 1);
	assert_string_equal(last_line,
			    "low_latency: /nowhere/cpu_dma_latency can't be held (No such "
			    "file or directory): processors sleep as they like");
	pfs_latency_free(l);
	pfs_latency_note(NULL);
	pfs_latency_stop(NULL);
	pfs_latency_free(NULL);
}

/* Proves: a device that does not take it is let go, and that is said. */
static void a_device_that_refuses(void **state)
{
	struct pfs_latency *l;

	(void)state;
	assert_true(is_open(STDIN_FILENO));
	assert_int_equal(pfs_latency_new(&l, "/dev/full", &logger), 0);
	assert_int_equal(pfs_latency_start(l), 0);
	pfs_latency_stop(l);
	assert_true(is_open(STDIN_FILENO)); /* that one is not the device */
	assert_int_equal(logged, 1);
	assert_int_equal(held("/dev/full"), 0);
	assert_string_equal(last_line, "low_latency: /dev/full can't be held (No space left on "
				       "device): processors sleep as they like");
	pfs_latency_free(l);
}

/* Proves: who is stopped before a request has come holds nothing any more. */
static void stopped_at_once(void **state)
{
	struct pfs_latency *l;

	(void)state;
	assert_int_equal(pfs_latency_new(&l, path, &logger), 0);
	l->stopping = true; /* as if stopping were quicker than the thread */
	assert_int_equal(pfs_latency_start(l), 0);
	pfs_latency_stop(l);
	assert_int_equal(held(path), 0);
	assert_int_equal(logged, 0);
	pfs_latency_free(l);
}

/* Proves: it lets go and sleeps when nothing comes, with the descriptors of others as they were; is
 * woken by a request, and by the end, which comes while it sleeps. */
static void asleep_until_something_comes(void **state)
{
	struct pfs_latency *l;

	(void)state;
	assert_true(is_open(STDIN_FILENO));
	assert_int_equal(pfs_latency_new(&l, path, &logger), 0);
	assert_int_equal(pfs_latency_start(l), 0);
	wait_until_asleep(l);
	assert_int_equal(held(path), 0);
	wait_until_held(l, true, 1);
	wait_until_asleep(l);
	assert_int_equal(held(path), 0);
	pfs_latency_stop(l);
	assert_true(is_open(STDIN_FILENO));
	assert_int_equal(held(path), 0);
	assert_int_equal(logged, 0);
	pfs_latency_free(l);
}

/* Proves: without the device the thread ends by itself; where there is no thread that is an error,
 * and there is nothing to be stopped. */
static void nothing_to_be_held(void **state)
{
	struct pfs_latency *l;

	(void)state;
	assert_int_equal(pfs_latency_new(&l, "/nowhere/cpu_dma_latency", &logger), 0);
	assert_int_equal(pfs_latency_start(l), 0);
	assert_int_equal(pthread_join(l->thread, NULL), 0);
	assert_int_equal(logged, 1);
	thread_err = EAGAIN;
	assert_int_equal(pfs_latency_start(l), -EAGAIN);
	thread_err = 0;
	pfs_latency_stop(l);
	pfs_latency_free(l);
	no_memory = true;
	assert_int_equal(pfs_latency_new(&l, path, &logger), -ENOMEM);
	assert_null(l);
	no_memory = false;
}

int main(void)
{
	/* Whatever it is run with, there is a standard input. */
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held_while_requests_come, setup, teardown),
		cmocka_unit_test_setup_teardown(without_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_that_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(asleep_until_something_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_to_be_held, setup, teardown),
	};

	if (null > STDIN_FILENO && !is_open(STDIN_FILENO))
		dup2(null, STDIN_FILENO);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
