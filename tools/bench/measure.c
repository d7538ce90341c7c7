#include "tools/bench/measure.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS_MAX 64

void bench_die(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

void *bench_alloc(size_t len)
{
	void *got = calloc(1, len);

	if (!got)
		bench_die("memory", strerror(ENOMEM));
	return got;
}

double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

double bench_cpu(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		bench_die("getrusage", strerror(errno));
	return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct bench_memory bench_memory_now(void)
{
	uint64_t rss = 0, anonymous = 0, dirty = 0, kib;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];

	if (!file)
		bench_die("/proc/self/smaps_rollup", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Rss: %lu", &kib) == 1)
			rss = kib;
		else if (sscanf(line, "Anonymous: %lu", &kib) == 1)
			anonymous = kib;
		else if (sscanf(line, "Private_Dirty: %lu", &kib) == 1)
			dirty = kib;
	}
	fclose(file);
	if (!rss)
		bench_die("/proc/self/smaps_rollup", "there is no Rss in it");
	return (struct bench_memory){dirty * 1024, (rss - anonymous) * 1024};
}

/* nftw hands nothing through to its callback. */
static uint64_t blocks;

static int add_blocks(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)where;
	if (type == FTW_NS || type == FTW_DNR)
		bench_die(path, "its size can't be had");
	blocks += (uint64_t)st->st_blocks;
	return 0;
}

uint64_t bench_disk_usage(const char *dir)
{
	blocks = 0;
	if (nftw(dir, add_blocks, 16, FTW_PHYS) != 0)
		bench_die(dir, strerror(errno));
	return blocks * 512;
}

struct runner {
	pthread_t thread;
	pthread_barrier_t *start;
	void (*fn)(void *arg, unsigned index);
	void *arg;
	unsigned index;
	double begin, end;
};

static void *run_one(void *arg)
{
	struct runner *runner = arg;

	pthread_barrier_wait(runner->start);
	runner->begin = bench_now();
	runner->fn(runner->arg, runner->index);
	runner->end = bench_now();
	return NULL;
}

/* The threads look at the clock themselves: on a busy machine the one that waits for them may be
 * woken long after they have begun. */
double bench_threads(unsigned count, void (*fn)(void *arg, unsigned index), void *arg)
{
	struct runner runners[THREADS_MAX];
	double begin = 0, end = 0;
	pthread_barrier_t start;
	int err;

	if (count == 0 || count > THREADS_MAX)
		bench_die("threads", "none, or too many");
	pthread_barrier_init(&start, NULL, count);
	for (unsigned i = 0; i < count; i++) {
		runners[i] = (struct runner){.start = &start, .fn = fn, .arg = arg, .index = i};
		err = pthread_create(&runners[i].thread, NULL, run_one, &runners[i]);
		if (err)
			bench_die("threads", strerror(err));
	}
	for (unsigned i = 0; i < count; i++) {
		pthread_join(runners[i].thread, NULL);
		if (i == 0 || runners[i].begin < begin)
			begin = runners[i].begin;
		if (i == 0 || runners[i].end > end)
			end = runners[i].end;
	}
	pthread_barrier_destroy(&start);
	return end - begin;
}

uint64_t bench_touch(const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t sum = len, word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum += word;
	}
	while (len--)
		sum += *at++;
	return sum;
}

void bench_say(const char *metric, double value)
{
	printf("%s\t%.6g\n", metric, value);
	fflush(stdout);
}
