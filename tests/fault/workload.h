/* A workload through the whole public interface of a store, on a sim, while one fault is injected.
 * After each call that fails, and after the first that met the fault, the store must show what was
 * acknowledged, and so must what a kill or a power cut at that moment leaves. */
#ifndef PFS_TEST_WORKLOAD_H
#define PFS_TEST_WORKLOAD_H

#include "tests/fault/inject.h"
#include "tests/fault/model.h"

struct workload_stat {
	uint64_t runs, met, refused, images;
};

/* One run. Returns whether the fault was met. */
bool workload_run(struct fault *fault, const char *label, struct workload_stat *stat);

/* Runs with the nth call of `kind` failing, n = first, first + step, ... until the workload passes
 * without meeting it, once each and from then on. */
void workload_loop(const struct fault *fault, const char *label, unsigned first, unsigned step);

#endif
