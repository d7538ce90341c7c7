#include "tests/images/cases.h"

/* Proves: of each store whose superblock, dictionaries or files are damaged, as
 * tests/images/cases/super has them, check, opening and repair say what stands there, to the byte,
 * and repair leaves one in which the check finds nothing. */
static void broken_supers_are_judged_and_repaired(void **state)
{
	(void)state;
	assert_int_equal(each_case("super", false), 0);
}

static void by_hand(void **state)
{
	(void)state;
	(void)each_case("super", true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(broken_supers_are_judged_and_repaired)};
	const struct CMUnitTest hand[] = {cmocka_unit_test(by_hand)};

	(void)argv;
	return argc > 1 ? cmocka_run_group_tests(hand, NULL, NULL)
			: cmocka_run_group_tests(tests, NULL, NULL);
}
