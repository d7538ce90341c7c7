/* Scenarios: a few calls of the engine each, which are made again and again, each time with another
 * of the calls that they make themselves failing. What a call needs that fails (a store, damage to
 * it, files) is prepared before, and what must hold is looked at afterwards; meanwhile nothing
 * fails.
 *
 * A failing call is known by its way, all the return addresses up to the scenario: of a loop that
 * makes many calls the first one fails, of a function that is called from many places one of each.
 * It fails once, and in another run so does all of its kind from there on. */
#ifndef PFS_TEST_SCENARIO_H
#define PFS_TEST_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fault/inject.h"

/* With sanitizers each run takes some ten times as long, and what they see is mostly the same for
 * neighbours: of so many one is tried. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SCENARIO_STEP 5
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SCENARIO_STEP 5
#endif
#endif
#ifndef SCENARIO_STEP
#define SCENARIO_STEP 1
#endif

struct scenario {
	const char *name;

	/* Makes what a run begins with, and puts fault_watch on its sims. */
	void *(*prepare)(void);

	/* What is tried: 0 or a negative errno. Of a run that has failed the same is called once
	 * more, with nothing failing: then it has to succeed. */
	int (*run)(void *state);

	/* What must hold after run has returned err. */
	void (*expect)(void *state, int err);

	/* Frees all. */
	void (*end)(void *state);

	/* Whether run may return err for this fault, which it has met; NULL: the error of the call
	 * that failed, -ENOMEM for memory. */
	bool (*allows)(const struct fault *fault, int err);
};

/* What may happen to a store: no memory, and each kind of call on files, failing in a way of its
 * own. */
#define SCENARIO_DISK_FAULTS 13
extern const struct fault scenario_disk_faults[SCENARIO_DISK_FAULTS];

/* Each of `count` faults (kind, err, failed_writes of each; err as it stands also for calls of
 * several kinds) in each place of the scenario. The environment: FAULT_AT=N tries the Nth place
 * alone, FAULT_STEP=N every Nth call instead of one of each way, FAULT_SCENARIO=NAME that alone,
 * FAULT_LOG=1 says which call fails. */
void scenario_try(const struct scenario *scenario, const struct fault *faults, size_t count);

/* The same, but not of ways that are in `met` already, to which the others are added: of many
 * scenarios that differ in what they prepare each one adds what only it meets. */
void scenario_try_new(const struct scenario *scenario, const struct fault *faults, size_t count,
		      struct fault_sites *met);

/* The same of several scenarios, each with all of its ways. */
void scenario_try_all(const struct scenario *scenarios, size_t scenario_count,
		      const struct fault *faults, size_t count);

#endif
