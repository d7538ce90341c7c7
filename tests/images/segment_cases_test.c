#include "tests/images/cases.h"

/* Proves: of each store whose journal has damaged files, as tests/images/cases/segment has them,
 * check, opening and repair say what stands there, to the byte, and repair leaves one in which the
 * check finds nothing. */
static void broken_segments_are_judged_and_repaired(void **state)
{
	(void)state;
	assert_int_equal(each_case("segment", false), 0);
}

static void by_hand(void **state)
{
	(void)state;
	(void)each_case("segment", true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_segments_are_judged_and_repaired)};
	const struct CMUnitTest hand[] = {cmocka_unit_test(by_hand)};

	(void)argv;
	return argc > 1 ? cmocka_run_group_tests(hand, NULL, NULL)
			: cmocka_run_group_tests(tests, NULL, NULL);
}
