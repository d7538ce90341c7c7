/* How long calls took, and how long one mutex was held: the functions that lock, unlock and sync
 * are wrapped by the linker (the Makefile names them), so that the library is measured as it is. */
#ifndef PFS_BENCH_HOLDS_H
#define PFS_BENCH_HOLDS_H

#include <pthread.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 16u /* in which each power of two is divided */

struct histogram {
	uint64_t counts[64 * HISTOGRAM_STEPS];
	uint64_t count;
	int64_t longest_ns;
};

void histogram_add(struct histogram *h, int64_t ns);
/* The upper end of the step in which it lies, microseconds. */
double histogram_percentile(const struct histogram *h, double part);
void histogram_print_head(void);
void histogram_print(const char *what, const struct histogram *h);

/* From now on, until the end, each hold of the mutex counts, without the time that fdatasync and
 * fsync took in it, and that its thread waited for a processor. */
void holds_begin(pthread_mutex_t *mutex);
void holds_end(void);
const struct histogram *holds_histogram(void);
/* The same with the waits for a processor; and the longest one, and what of it the thread was
 * running. */
void holds_print_longest(void);

#endif
