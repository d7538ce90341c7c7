/* storage/index.c at its ends, which no test could come to by calls alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/index.c"

/* Proves: numbers of objects end: then there is none for a new one, until another is released. */
static void numbers_of_objects_end(void **state)
{
	struct pfs_index *index;
	uint32_t first, object;

	(void)state;
	assert_int_equal(pfs_index_new(&index), 0);
	assert_int_equal(pfs_index_alloc(index, &first), 0);
	index->end = UINT32_MAX;
	assert_int_equal(pfs_index_alloc(index, &object), -ENOSPC);
	pfs_index_release(index, first);
	assert_int_equal(pfs_index_alloc(index, &object), 0);
	assert_int_equal(object, first);
	assert_int_equal(pfs_index_alloc(index, &object), -ENOSPC);
	index->end = first + 1;
	pfs_index_free(index);
}

/* Proves: an object that has its own place in listings can be given that again; others that have
 * another's keep it. */
static void own_places_are_given_again(void **state)
{
	struct pfs_index *index;
	uint32_t objects[3];

	(void)state;
	assert_int_equal(pfs_index_new(&index), 0);
	for (size_t i = 0; i < pfs_array_len(objects); i++)
		assert_int_equal(pfs_index_alloc(index, &objects[i]), 0);
	assert_int_equal(pfs_index_set_cookie(index, objects[0], objects[0]), 0);
	assert_int_equal(pfs_index_cookie(index, objects[0]), objects[0]);
	assert_int_equal(pfs_index_set_cookie(index, objects[1], objects[2]), 0);
	assert_int_equal(pfs_index_set_cookie(index, objects[0], objects[0]), 0);
	assert_int_equal(pfs_index_cookie(index, objects[0]), objects[0]);
	assert_int_equal(pfs_index_cookie(index, objects[1]), objects[2]);
	assert_int_equal(pfs_index_set_cookie(index, objects[1], objects[1]), 0);
	assert_int_equal(pfs_index_cookie(index, objects[1]), objects[1]);
	pfs_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_objects_end),
		cmocka_unit_test(own_places_are_given_again),
	};

	return cmocka_run_group_tests_name("index at its ends", tests, NULL, NULL);
}
