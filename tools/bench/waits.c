/* waits: how long single reads of small files take, one after the other, at random, from the daemon
 *and not from the kernel's memory.
 *
 *	waits DIRECTORY FIRST COUNT SECONDS [write]
 *
 * Reads (or, where it says "write", rewrites) files FIRST .. FIRST+COUNT-1 and prints the number,
 *p50, p99, p99.9 and the longest, in microseconds. Runs before others (SCHED_FIFO) where it may. */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 1000000

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int touch_one(int dir, const char *name, int write_it)
{
	static char buf[1 << 16];
	int fd = openat(dir, name, write_it ? O_WRONLY | O_TRUNC : O_RDONLY), ok;

	if (fd < 0)
		return 0;
	if (!write_it)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	/* One that is being rewritten may be empty. */
	ok = write_it ? write(fd, buf, 1000) == 1000 : read(fd, buf, sizeof(buf)) >= 0;
	return close(fd) == 0 && ok;
}

int main(int argc, char *argv[])
{
	static int64_t ns[SAMPLES];
	int64_t until;
	uint64_t random = 1;
	unsigned long first, count;
	int dir, n = 0;

	struct sched_param param = {.sched_priority = 1};

	if (argc < 5)
		return 2;
	(void)sched_setscheduler(0, SCHED_FIFO, &param);
	dir = open(argv[1], O_RDONLY | O_DIRECTORY);
	first = strtoul(argv[2], NULL, 10);
	count = strtoul(argv[3], NULL, 10);
	until = now_ns() + (int64_t)(atof(argv[4]) * 1e9);
	while (n < SAMPLES && now_ns() < until) {
		int64_t start = now_ns();
		char name[24];

		random = random * 6364136223846793005u + 1442695040888963407u;
		snprintf(name, sizeof(name), "%lu", first + (random >> 33) % count);
		if (!touch_one(dir, name, argc > 5)) {
			perror(name);
			return 1;
		}
		ns[n++] = now_ns() - start;
	}
	qsort(ns, (size_t)n, sizeof(*ns), by_size);
	printf("%d | %.0f | %.0f | %.0f | %.0f\n", n, (double)ns[n / 2] / 1e3,
	       (double)ns[n - 1 - n / 100] / 1e3, (double)ns[n - 1 - n / 1000] / 1e3,
	       (double)ns[n - 1] / 1e3);
	return 0;
}
