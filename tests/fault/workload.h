/* A workload through the whole public interface of a store, on a sim, while one fault is injected.
 * After each call that fails, and after the first that met the fault, the store must show what was
 * acknowledged, and so must what a kill or a power cut at that moment leaves. */
#ifndef PFS_TEST_WORKLOAD_H
#define PFS_TEST_WORKLOAD_H

#include "tests/fault/inject.h"
#include "tests/fault/model.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define WORKLOAD_STEP 7
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define WORKLOAD_STEP 7
#endif
#endif
#ifndef WORKLOAD_STEP
#define WORKLOAD_STEP 3
#endif

struct workload_stat {
	uint64_t runs, met, refused, images;
};

/* One run. Returns whether the fault was met. */
bool workload_run(struct fault *fault, const char *label, struct workload_stat *stat);

/* Runs with the nth call of `kind` failing, n = 1, 1 + step, ... until the workload passes without
 * meeting it: once, and for every other n from then on. Sanitizers get a sample. The environment:
 * FAULT_STEP=N sets the step of all loops, FAULT_AT=N tries the Nth alone. */
void workload_loop(const struct fault *fault, const char *label, unsigned step);

#endif
