/* What the benchmarks of the engine share: clocks, memory and disk in use, threads that start at
 * once. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Prints "bench: what: why" and ends the process with 1. No figure is worth more than a right one:
 * whatever fails in a benchmark ends it. */
_Noreturn void bench_die(const char *what, const char *why);

/* Zeroed; never NULL. */
void *bench_alloc(size_t len);

double bench_now(void); /* seconds, of a clock that only goes forward */
double bench_cpu(void); /* seconds of all threads of this process, user and system */

/* Of this process, in bytes. */
struct bench_memory {
	uint64_t private_dirty; /* what only this process has, and no file gives back */
	uint64_t mapped;	/* resident pages of files */
};
struct bench_memory bench_memory_now(void);

/* Blocks of all files below a directory, and of the directory itself, in bytes: what du says. */
uint64_t bench_disk_usage(const char *dir);

/* Runs fn(arg, 0..count-1), each in a thread of its own, all at once, and returns the seconds from
 * the first begin until the last end. */
double bench_threads(unsigned count, void (*fn)(void *arg, unsigned index), void *arg);

/* Reads every byte, so that a value that was only pointed at is paid for. */
uint64_t bench_touch(const void *data, size_t len);

/* Prints "metric<TAB>value". */
void bench_say(const char *metric, double value);

/* A number that looks random and is the same in every run. */
static inline uint64_t bench_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

#endif
