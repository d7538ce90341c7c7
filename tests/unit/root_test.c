/* fs/root.c: the attributes of the only directory. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/clock.h"

static int64_t now_ns;

#define pfs_now_ns() now_ns
#include "fs/root.c"

static void expect_root(struct pfs_root *root, const struct pfs_attr *want)
{
	struct pfs_attr got;

	memset(&got, 0x5a, sizeof(got));
	pfs_root_get(root, &got);
	assert_int_equal(got.mode, want->mode);
	assert_int_equal(got.uid, want->uid);
	assert_int_equal(got.gid, want->gid);
	assert_int_equal(got.nlink, want->nlink);
	assert_true(got.mtime_ns == want->mtime_ns);
	assert_true(got.size == 0 && got.stored == 0);
}

/* Proves: it begins with what it is given, as of now, whatever lay there before; of what is set
 * only what is named changes; and a touch is the time alone. */
static void attributes_are_set_one_by_one(void **state)
{
	const struct pfs_attr other = {.mode = 01777, .uid = 7, .gid = 8, .mtime_ns = 9};
	struct pfs_attr want = {
		.mode = 0755, .uid = 1000, .gid = 100, .nlink = 2, .mtime_ns = 1234567890};
	struct pfs_root root;

	(void)state;
	memset(&root, 0x5a, sizeof(root));
	now_ns = want.mtime_ns;
	pfs_root_init(&root, want.mode, want.uid, want.gid);
	expect_root(&root, &want);
	pfs_root_set(&root, 0, &other);
	expect_root(&root, &want);
	pfs_root_set(&root, PFS_ATTR_MODE, &other);
	want.mode = other.mode;
	expect_root(&root, &want);
	pfs_root_set(&root, PFS_ATTR_UID, &other);
	want.uid = other.uid;
	expect_root(&root, &want);
	pfs_root_set(&root, PFS_ATTR_GID, &other);
	want.gid = other.gid;
	expect_root(&root, &want);
	now_ns = want.mtime_ns = 77;
	pfs_root_touch(&root);
	expect_root(&root, &want);
	pfs_root_set(&root, PFS_ATTR_MTIME, &other);
	want.mtime_ns = other.mtime_ns;
	expect_root(&root, &want);
	pfs_root_destroy(&root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_are_set_one_by_one),
	};

	return cmocka_run_group_tests_name("root", tests, NULL, NULL);
}
