/* Every allocation of a workload through the whole interface of a store fails, one at a time and
 * all from one on. FAULT_AT=N tries the Nth alone, FAULT_LOG=1 prints what the store logs. */
#include <stdlib.h>

#include "tests/fault/workload.h"

/* Proves: without memory a call returns -ENOMEM and has changed nothing; nothing acknowledged is
 * lost, nothing leaks, and the store goes on when there is memory again. */
static void no_allocation_that_fails_does_harm(void **state)
{
	const struct fault fault = {.kind = FAULT_MEMORY};

	(void)state;
	workload_loop(&fault, "allocation", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_allocation_that_fails_does_harm),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("memory faults", tests, NULL, NULL);
}
