/* The reader of what Qdrant leaves on disk: one segment. */
#include <unistd.h>

#include "tests/unit/qdrant_helpers.h"

/* Proves: of all four kinds of segment, each point that is alive comes out with its payload's
 * bytes, a point without one with {}, and no deleted one. */
static void points_of_a_segment(void **state)
{
	struct result r;

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		write_segment(kind & 1, kind & 2);
		import(&r, segment_path, false);
		assert_whole(&r);
		forget(&r);
	}
}

/* Proves: without an id tracker offsets are ids on demand only. */
static void offsets_as_ids(void **state)
{
	char path[256];
	struct result r;

	(void)state;
	write_segment(false, false);
	snprintf(path, sizeof(path), "%s/mutable_id_tracker.mappings", segment_path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/mutable_id_tracker.versions", segment_path);
	unlink(path);
	import(&r, segment_path, false);
	assert_int_equal(r.err, -ENOENT);
	assert_non_null(strstr(r.reason.text, "--offset-ids"));
	import(&r, segment_path, true);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 9);
	assert_string_equal(find(&r, "0")->payload, points[0].payload);
	assert_string_equal(find(&r, "7")->payload, points[6].payload);
	assert_null(find(&r, "4"));
	forget(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_of_a_segment),
		cmocka_unit_test(offsets_as_ids),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
