/* check --json-payloads: goes through all points and names those whose payload is not one valid
 * JSON value. That is no fault of the store, which keeps any bytes. */
#ifndef TOOLS_CHECK_PAYLOADS_H
#define TOOLS_CHECK_PAYLOADS_H

#include "tools/target.h"

struct payloads_result {
	uint64_t points, invalid;
	uint64_t unread; /* points that can't be read: damaged, named by the check */
};

/* The target is open for reading. Prints a line for each that is not valid, with json an element of
 * an array, which the caller has opened and closes. quiet: no progress. 0, or an error of the
 * target, where not all of them were looked at. */
int check_payloads(struct target *t, bool json, bool quiet, struct payloads_result *result);

/* Prints the summary, with json the members that follow the array. */
void check_payloads_print(const struct payloads_result *result, bool json);

#endif
