#include "tools/bench/holds.h"

#include <execinfo.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAMED_NS 5000000 /* where a hold of this length ended is kept */
#define FRAMES 12

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);

static pthread_mutex_t *watched; /* atomic */
/* Written by who holds the mutex. */
static struct histogram holds, holds_with_delay;
static int64_t longest_cpu_ns;
static void *longest_frames[FRAMES];
static int longest_depth;

static __thread int64_t held_since, held_cpu, held_sync, held_delay;
static __thread int schedstat = -1;

/* How long this thread has waited for a processor since it began; 0 where the kernel does not say.
 */
static int64_t delay_ns(void)
{
	char text[100];
	unsigned long long ran, waited;
	ssize_t n;

	if (schedstat < 0)
		schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	n = schedstat < 0 ? -1 : pread(schedstat, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? (int64_t)waited : 0;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- histograms ---- */

static unsigned step_of(uint64_t ns)
{
	unsigned log = 63 - (unsigned)__builtin_clzll(ns | HISTOGRAM_STEPS);
	unsigned below = 63 - (unsigned)__builtin_clzll(HISTOGRAM_STEPS);

	return log * HISTOGRAM_STEPS + (unsigned)((ns >> (log - below)) % HISTOGRAM_STEPS);
}

void histogram_add(struct histogram *h, int64_t ns)
{
	h->counts[step_of((uint64_t)ns)]++;
	h->count++;
	if (ns > h->longest_ns)
		h->longest_ns = ns;
}

double histogram_percentile(const struct histogram *h, double part)
{
	uint64_t rank = (uint64_t)((double)h->count * part), sum = 0;

	for (unsigned i = 0; i < 64 * HISTOGRAM_STEPS; i++) {
		sum += h->counts[i];
		if (sum > rank) {
			double low = (double)(UINT64_C(1) << (i / HISTOGRAM_STEPS));

			return low * (1 + (double)(i % HISTOGRAM_STEPS + 1) / HISTOGRAM_STEPS) /
			       1e3;
		}
	}
	return (double)h->longest_ns / 1e3;
}

void histogram_print_head(void)
{
	printf("%-14s %10s %9s %9s %9s %9s %11s us; longer than 1, 5, 10, 20, 100 ms\n", "",
	       "number", "p50", "p99", "p99.9", "p99.99", "longest");
}

static uint64_t longer_than(const struct histogram *h, uint64_t ns)
{
	uint64_t sum = 0;

	for (unsigned i = step_of(ns) + 1; i < 64 * HISTOGRAM_STEPS; i++)
		sum += h->counts[i];
	return sum;
}

void histogram_print(const char *what, const struct histogram *h)
{
	static const uint64_t ms[] = {1, 5, 10, 20, 100};

	printf("%-14s %10llu %9.1f %9.1f %9.1f %9.1f %11.1f   ", what, (unsigned long long)h->count,
	       histogram_percentile(h, 0.5), histogram_percentile(h, 0.99),
	       histogram_percentile(h, 0.999), histogram_percentile(h, 0.9999),
	       (double)h->longest_ns / 1e3);
	for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
		printf(" %llu", (unsigned long long)longer_than(h, ms[i] * 1000000));
	printf("\n");
}

/* ---- the mutex ---- */

void holds_begin(pthread_mutex_t *mutex)
{
	memset(&holds, 0, sizeof(holds));
	memset(&holds_with_delay, 0, sizeof(holds_with_delay));
	longest_cpu_ns = 0;
	longest_depth = 0;
	__atomic_store_n(&watched, mutex, __ATOMIC_RELEASE);
}

void holds_end(void)
{
	__atomic_store_n(&watched, NULL, __ATOMIC_RELEASE);
}

const struct histogram *holds_histogram(void)
{
	return &holds;
}

void holds_print_longest(void)
{
	histogram_print("its processor", &holds_with_delay);
	printf("the longest hold: %.1f ms, of which %.1f running\n", (double)holds.longest_ns / 1e6,
	       (double)longest_cpu_ns / 1e6);
	fflush(stdout);
	if (holds.longest_ns >= NAMED_NS)
		backtrace_symbols_fd(longest_frames, longest_depth, STDOUT_FILENO);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	int err = __real_pthread_mutex_lock(mutex);

	if (mutex != __atomic_load_n(&watched, __ATOMIC_RELAXED))
		return err;
	held_delay = delay_ns();
	held_sync = 0;
	held_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	held_since = clock_ns(CLOCK_MONOTONIC);
	return err;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	if (mutex == __atomic_load_n(&watched, __ATOMIC_RELAXED) && held_since) {
		int64_t held = clock_ns(CLOCK_MONOTONIC) - held_since - held_sync;

		histogram_add(&holds_with_delay, held);
		held -= delay_ns() - held_delay;
		held = held < 0 ? 0 : held;
		if (held > holds.longest_ns) {
			longest_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - held_cpu;
			if (held >= NAMED_NS)
				longest_depth = backtrace(longest_frames, FRAMES);
		}
		histogram_add(&holds, held);
		held_since = 0;
	}
	return __real_pthread_mutex_unlock(mutex);
}

int __wrap_fdatasync(int fd)
{
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	int err = __real_fdatasync(fd);

	held_sync += clock_ns(CLOCK_MONOTONIC) - start;
	return err;
}

int __wrap_fsync(int fd)
{
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	int err = __real_fsync(fd);

	held_sync += clock_ns(CLOCK_MONOTONIC) - start;
	return err;
}
