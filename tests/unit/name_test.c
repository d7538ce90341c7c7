/* fs/name.c: what a file name in the mount stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/name.c"

static int find(struct pfs_key *key, const char *name, bool strict)
{
	return pfs_name_key(key, name, PFS_NAME_FIND, strict);
}

static int make(struct pfs_key *key, const char *name, bool strict)
{
	return pfs_name_key(key, name, PFS_NAME_MAKE, strict);
}

/* Proves: points are points for every use, strict or not. */
static void points_are_always_allowed(void **state)
{
	static const char *const names[] = {"0", "1", "18446744073709551615",
					    "550e8400-e29b-41d4-a716-446655440000"};
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		for (int strict = 0; strict < 2; strict++) {
			assert_int_equal(find(&key, names[i], strict), 0);
			assert_true(pfs_key_is_point(&key));
			assert_int_equal(make(&key, names[i], strict), 0);
			assert_true(pfs_key_is_point(&key));
		}
	}
}

/* Proves: a second spelling of an id is refused with EINVAL for every use, so that also a lookup
 * fails. */
static void second_spellings_are_refused(void **state)
{
	static const char *const names[] = {"007",
					    "+1",
					    "-1",
					    "18446744073709551616",
					    "550E8400-e29b-41d4-a716-446655440000",
					    "550e8400e29b41d4a716446655440000",
					    "",
					    ".",
					    ".."};
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		key.kind = PFS_KEY_NUM;
		assert_int_equal(find(&key, names[i], false), -EINVAL);
		assert_int_equal(key.kind, PFS_KEY_NONE);
		key.kind = PFS_KEY_NUM;
		assert_int_equal(make(&key, names[i], false), -EINVAL);
		assert_int_equal(key.kind, PFS_KEY_NONE);
	}
}

/* Proves: strict refuses to make scratch files, but lets those that are there be found (and so be
 * removed). */
static void strict_refuses_new_scratch_files(void **state)
{
	static const char *const names[] = {"sedAb12", ".42.swp",     "42~",
					    "tmp",     ".payloadfs2", ".payloadf"};
	struct pfs_key key;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		assert_int_equal(make(&key, names[i], false), 0);
		assert_int_equal(key.kind, PFS_KEY_SCRATCH);
		assert_int_equal(find(&key, names[i], true), 0);
		assert_int_equal(key.kind, PFS_KEY_SCRATCH);
		assert_int_equal(make(&key, names[i], true), -EINVAL);
		assert_int_equal(key.kind, PFS_KEY_NONE);
	}
}

/* Proves: the control directory's name belongs to no document. */
static void reserved_name(void **state)
{
	struct pfs_key key;

	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		assert_int_equal(find(&key, ".payloadfs", strict), -ENOENT);
		assert_int_equal(key.kind, PFS_KEY_NONE);
		assert_int_equal(make(&key, ".payloadfs", strict), -EPERM);
		assert_int_equal(key.kind, PFS_KEY_NONE);
	}
}

/* Proves: the length limit of file names is told apart from other faults. */
static void too_long(void **state)
{
	char name[PFS_NAME_MAX + 2];
	struct pfs_key key;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[PFS_NAME_MAX] = '\0';
	assert_int_equal(find(&key, name, false), 0);
	assert_int_equal(key.name_len, PFS_NAME_MAX);
	name[PFS_NAME_MAX] = 'n';
	name[PFS_NAME_MAX + 1] = '\0';
	assert_int_equal(find(&key, name, false), -ENAMETOOLONG);
	assert_int_equal(make(&key, name, true), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_always_allowed),
		cmocka_unit_test(second_spellings_are_refused),
		cmocka_unit_test(strict_refuses_new_scratch_files),
		cmocka_unit_test(reserved_name),
		cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
