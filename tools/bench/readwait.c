/* readwait: how long a reader of small documents waits, at the engine.
 *
 *	readwait [DIRECTORY [SECONDS]]
 *
 * Makes a store in DIRECTORY (a new one below the current directory), loads 20000 documents of 1000
 *bytes, and measures pfs_lookup and pfs_read of random ones, one after the other, for SECONDS (3)
 *in each case: nothing going on; one thread that puts and syncs all the time; two that put as fast
 *as they can; the same with a checkpoint after the other; large documents being written. Prints a
 *Markdown table of percentiles in microseconds. What the scheduler takes is in it, so the case with
 *nothing going on is the yardstick. */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "storage/store.h"

#define DOCUMENTS 20000u
#define LEN 1000u
#define SAMPLES_MAX (8u << 20)
#define LARGE_LEN (16u << 20)
#define PAUSE_NS 20000

static struct pfs_store *store;
static bool end;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;
}

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "readwait: %s: %s\n", what, strerror(-err));
	exit(1);
}

static bool is_over(void)
{
	return __atomic_load_n(&end, __ATOMIC_RELAXED);
}

static void put(uint64_t id, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t bytes[LEN];

	for (size_t i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)("abcdefgh"[(i ^ seed) & 7] + (pfs_mix64(seed + i / 8) & 3));
	check(pfs_put(store, &key, bytes, LEN, NULL, 0, NULL), "put");
}

/* ---- what goes on meanwhile ---- */

static void *put_and_sync(void *arg)
{
	for (uint64_t i = 0; !is_over(); i++) {
		put(pfs_mix64(i) % DOCUMENTS, i);
		check(pfs_sync(store), "sync");
	}
	return arg;
}

static void *put_many(void *arg)
{
	for (uint64_t i = (uintptr_t)arg; !is_over(); i += 2)
		put(pfs_mix64(i) % DOCUMENTS, i);
	return NULL;
}

static void *put_and_checkpoint(void *arg)
{
	for (uint64_t i = 0; !is_over(); i++) {
		put(pfs_mix64(i) % DOCUMENTS, i);
		if (i % 500 == 0)
			check(pfs_store_checkpoint(store), "checkpoint");
	}
	return arg;
}

static void *put_large(void *arg)
{
	struct pfs_key key = pfs_key_num(DOCUMENTS + 1);
	uint8_t *bytes = malloc(LARGE_LEN);

	if (!bytes)
		return arg;
	for (size_t i = 0; i < LARGE_LEN; i += 8)
		pfs_put_le64(bytes + i, pfs_mix64(i));
	while (!is_over())
		check(pfs_put(store, &key, bytes, LARGE_LEN, NULL, 0, NULL), "put");
	free(bytes);
	return arg;
}

/* ---- the reader ---- */

static int by_size(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void print_row(const char *what, const char *call, uint32_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	printf("| %s | %s | %zu | %.1f | %.1f | %.1f | %.1f |\n", what, call, n, ns[n / 2] / 1e3,
	       ns[n - 1 - n / 100] / 1e3, ns[n - 1 - n / 1000] / 1e3, ns[n - 1] / 1e3);
	fflush(stdout);
}

static uint32_t since(int64_t start)
{
	int64_t ns = now_ns() - start;

	return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

/* So that it is the store that is measured, and not who else has work for the processors. */
static void be_first(bool on)
{
	struct sched_param param = {.sched_priority = on ? 1 : 0};

	if (pthread_setschedparam(pthread_self(), on ? SCHED_FIFO : SCHED_OTHER, &param) != 0 && on)
		fprintf(stderr, "readwait: without SCHED_FIFO the longest are the scheduler's\n");
}

static void measure(const char *what, void *(*work)(void *), unsigned threads, double seconds)
{
	static uint32_t lookups[SAMPLES_MAX], reads[SAMPLES_MAX];
	int64_t until = now_ns() + (int64_t)(seconds * 1e9);
	struct timespec pause = {0, PAUSE_NS};
	pthread_t thread[2];
	uint8_t bytes[LEN];
	size_t n = 0;

	__atomic_store_n(&end, false, __ATOMIC_RELAXED);
	for (uintptr_t i = 0; i < threads; i++)
		check(-pthread_create(&thread[i], NULL, work, (void *)i), "thread");
	be_first(true);
	for (uint64_t i = 0; n < SAMPLES_MAX && now_ns() < until; i++, n++) {
		struct pfs_key key = pfs_key_num(pfs_mix64(~i) % DOCUMENTS);
		struct pfs_attr attr;
		uint32_t object;
		int64_t start = now_ns();

		check(pfs_lookup(store, &key, &object, &attr), "lookup");
		lookups[n] = since(start);
		start = now_ns();
		if (pfs_read(store, object, 0, bytes, LEN) != LEN)
			check(-EIO, "read");
		reads[n] = since(start);
		nanosleep(&pause, NULL);
	}
	be_first(false);
	__atomic_store_n(&end, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	print_row(what, "lookup", lookups, n);
	print_row(what, "read", reads, n);
}

int main(int argc, char *argv[])
{
	char made[] = "readwait.XXXXXX";
	const char *path = argc > 1 ? argv[1] : mkdtemp(made);
	double seconds = argc > 2 ? atof(argv[2]) : 3;
	struct pfs_reason reason = {""};
	int err = path ? pfs_store_create(path, NULL, &reason) : -errno;

	if (!err)
		err = pfs_store_open(&store, path, NULL, &reason);
	if (err) {
		fprintf(stderr, "readwait: %s\n", reason.text);
		return 1;
	}
	for (uint64_t i = 0; i < DOCUMENTS; i++)
		put(i, i);
	check(pfs_store_checkpoint(store), "checkpoint");
	printf("| meanwhile | call | calls | p50 us | p99 | p99.9 | longest "
	       "|\n|---|---|---|---|---|---|---|\n");
	measure("nothing", NULL, 0, seconds);
	measure("put, sync, put, sync...", put_and_sync, 1, seconds);
	measure("two threads put", put_many, 2, seconds);
	measure("put, a checkpoint every 500", put_and_checkpoint, 1, seconds);
	measure("16 MiB documents are put", put_large, 1, seconds);
	check(pfs_store_close(store), "close");
	return 0;
}
