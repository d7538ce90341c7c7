/* Every call that a check makes fails, one way after the other: memory, and operations on files. */
#include "tests/fault/scenario.h"
#include "tests/unit/repair_helpers.h"

struct checked {
	struct pfs_sim *sim;
	struct pfs_check_result result;
	struct pfs_reason reason;
	size_t said;
};

static void *new_checked(struct pfs_sim *sim)
{
	struct checked *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->sim = sim;
	fault_watch(sim);
	return c;
}

static void *sound_store(void)
{
	return new_checked(docs_store());
}

static void count_finding(void *arg, const struct pfs_finding *finding)
{
	struct checked *c = arg;

	(void)finding;
	c->said++;
}

static int check(void *state)
{
	struct checked *c = state;

	c->said = 0;
	return pfs_check(STORE, pfs_sim_io(c->sim), &quiet, count_finding, NULL, c, &c->result,
			 &c->reason);
}

static void expect_checked_right(void *state, int err)
{
	struct checked *c = state;

	assert_true((err != 0) == (c->reason.text[0] != '\0'));
	if (!err)
		assert_int_equal(c->result.findings, c->said);
}

static void end_check(void *state)
{
	struct checked *c = state;

	pfs_sim_free(c->sim);
	free(c);
}

static const struct scenario scenarios[] = {
	{"check of a sound store", sound_store, check, expect_checked_right, end_check, NULL},
};

/* Proves: a check without memory says so, and finds what there is when there is some again. */
static void a_check_without_memory_says_so(void **state)
{
	const struct fault fault = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try_all(scenarios, pfs_array_len(scenarios), &fault, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_without_memory_says_so),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("check under faults", tests, NULL, NULL);
}
