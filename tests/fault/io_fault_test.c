/* Every operation on files of a workload through the whole interface of a store fails, one at a
 * time and all of its kind from one on. FAULT_TEST=PATTERN picks tests, FAULT_AT=N tries the Nth of
 * each kind alone, FAULT_LOG=1 prints what is called and what the store logs. */
#include <stdlib.h>

#include "tests/fault/workload.h"

static void try(unsigned kind, int err, unsigned step, const char *name)
{
	const struct fault fault = {.kind = kind, .err = err};

	workload_loop(&fault, name, step);
}

static void try_write(int err, enum pfs_sim_failed_write how, unsigned step, const char *name)
{
	const struct fault fault = {.kind = PFS_SIM_WRITE, .err = err, .failed_writes = how};

	workload_loop(&fault, name, step);
}

/* Proves: a write that fails, with nothing, half or all of it written, gives its error to who asked
 * for it, who finds everything as it was; or it turns the store read-only. What was acknowledged
 * stays, now and after a kill or a power cut. */
static void no_write_that_fails_does_harm(void **state)
{
	(void)state;
	try_write(-ENOSPC, PFS_SIM_FAILED_HALF, 2, "write (half done, ENOSPC)");
	try_write(-EIO, PFS_SIM_FAILED_HALF, 5, "write (half done, EIO)");
	try_write(-EIO, PFS_SIM_FAILED_NOTHING, 5, "write (not done, EIO)");
	try_write(-EIO, PFS_SIM_FAILED_ALL, 5, "write (done, EIO)");
}

/* Proves: after a sync that failed the store is read-only, says why, once, and claims nothing to be
 * durable any more; reading goes on, and the next opening finds all that was acknowledged (G7). */
static void after_a_failed_sync_nothing_is_claimed(void **state)
{
	(void)state;
	try(PFS_SIM_SYNC, -EIO, 1, "sync");
	try(PFS_SIM_SYNC, -ENOSPC, 3, "sync (ENOSPC)");
	try(PFS_SIM_SYNC_DIR, -EIO, 1, "sync of the directory");
}

/* Proves: space that can't be had is ENOSPC, and whatever else allocation gives is that; nothing
 * has changed. */
static void no_allocation_of_space_that_fails_does_harm(void **state)
{
	(void)state;
	try(PFS_SIM_ALLOCATE, -ENOSPC, 1, "allocate");
	try(PFS_SIM_ALLOCATE, -EIO, 1, "allocate (EIO)");
	try(PFS_SIM_PUNCH, -EIO, 1, "punch");
	try(PFS_SIM_TRUNCATE, -EIO, 1, "truncate");
}

/* Proves: files that can't be made, opened, mapped or read give that error, and no document is
 * taken for missing or damaged because of it. */
static void no_opening_or_reading_that_fails_does_harm(void **state)
{
	(void)state;
	try(PFS_SIM_CREATE, -ENOSPC, 1, "create");
	try(PFS_SIM_OPEN, -EMFILE, 1, "open");
	try(PFS_SIM_MAP, -ENOMEM, 1, "map");
	try(PFS_SIM_READ, -EIO, 2, "read");
}

/* Proves: names that can't be changed do no harm. */
static void no_change_of_a_name_that_fails_does_harm(void **state)
{
	(void)state;
	try(PFS_SIM_RENAME, -EIO, 1, "rename");
	try(PFS_SIM_UNLINK, -EIO, 1, "unlink");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_write_that_fails_does_harm),
		cmocka_unit_test(after_a_failed_sync_nothing_is_claimed),
		cmocka_unit_test(no_allocation_of_space_that_fails_does_harm),
		cmocka_unit_test(no_opening_or_reading_that_fails_does_harm),
		cmocka_unit_test(no_change_of_a_name_that_fails_does_harm),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("I/O faults", tests, NULL, NULL);
}
