/* The reader of what Qdrant leaves on disk: the points of one segment, and which of them there are.
 */
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

/* ---- ids ---- */

/* Proves: an id whose insert was interrupted, and came again at another offset, is the point at the
 * latter; one that is inserted again at its own offset is one point. */
static void points_inserted_again(void **state)
{
	struct qs_segment s = {0};
	struct result r;

	(void)state;
	s.versions[add_point(&s, 5, "{\"first\":5}")] = 0;
	add_point(&s, 5, "{\"again\":5}");
	add_point(&s, 6, "{\"only\":6}");
	qs_append_int(&s.mapping, 1, 1);
	qs_append_id(&s.mapping, 6);
	qs_append_int(&s.mapping, 2, 4);
	s.versions[0] = 0;
	import_segment(&r, &s);
	assert_clean(&r, 2);
	assert_good(&r, "5", "{\"again\":5}");
	assert_good(&r, "6", "{\"only\":6}");
	assert_int_equal(r.stat.ownerless, 1);
	forget(&r);
}

/* Proves: an id with two offsets that were both written is another's at one of them, also when it
 * was deleted at the other. */
static void ids_with_two_offsets(void **state)
{
	struct result r;

	(void)state;
	for (int with_delete = 0; with_delete < 2; with_delete++) {
		struct qs_segment s = {0};

		add_point(&s, 5, "{\"one\":5}");
		add_point(&s, 5, "{\"two\":5}");
		add_point(&s, 6, "{\"only\":6}");
		if (with_delete)
			qs_delete(&s, 5, 1);
		import_segment(&r, &s);
		assert_int_equal(r.count, 3 - with_delete);
		assert_good(&r, "6", "{\"only\":6}");
		assert_aside(&r, "5", "there twice");
		for (size_t i = 0; i < r.count; i++)
			assert_int_equal(r.items[i].good, strcmp(r.items[i].key, "6") == 0);
		assert_true(r.stat.damaged);
		forget(&r);
	}
}

/* Points 1 and 2, of which 1 is deleted; tracker.dat does not know that yet. */
static void fill_late_delete(struct qs_segment *s)
{
	add_point(s, 1, "{\"deleted\":1}");
	add_point(s, 2, "{\"alive\":2}");
	qs_delete(s, 1, 0);
	pfs_put_le32(entry_of(s, 0), 1);
}

/* Proves: where the entry of a delete may have been, a point without a version is not believed;
 * what has one is, and the bytes in doubt are told where they lie. */
static void deletes_that_are_lost(void **state)
{
	struct qs_segment s = {0};
	const struct got *gap;
	struct result r;

	(void)state;
	fill_late_delete(&s);
	import_segment(&r, &s);
	assert_clean(&r, 1);
	assert_int_equal(r.stat.ownerless, 1);
	forget(&r);

	s = (struct qs_segment){0};
	fill_late_delete(&s);
	add_point(&s, 3, "{\"alive\":3}");
	s.mapping.bytes[26] = 0x55;
	import_segment(&r, &s);
	assert_int_equal(r.count, 4);
	assert_good(&r, "2", "{\"alive\":2}");
	assert_good(&r, "3", "{\"alive\":3}");
	assert_string_equal(assert_aside(&r, "1", "may have been deleted")->payload,
			    "{\"deleted\":1}");
	gap = assert_aside(&r, "", "no entries");
	assert_string_equal(gap->file, "mutable_id_tracker.mappings");
	assert_int_equal(gap->offset, 26);
	assert_int_equal(gap->length, 9);
	assert_int_equal(gap->stored_len, 9);
	assert_memory_equal(gap->stored, "\x55\1\0\0\0\0\0\0\0", 9);
	assert_true(r.stat.damaged);
	forget(&r);

	/* The same at the end of the log; behind the versions nothing can have been deleted. */
	s = (struct qs_segment){0};
	add_point(&s, 1, "{\"deleted\":1}");
	add_point(&s, 2, "{\"alive\":2}");
	add_point(&s, 3, "{\"new\":3}");
	qs_insert(&s, 4);
	qs_delete(&s, 1, 0);
	pfs_put_le32(entry_of(&s, 0), 1);
	s.mapping.len -= 3;
	put_segment(&s);
	shorten("mutable_id_tracker.versions", 8 * 2);
	import_again(&r);
	assert_int_equal(r.count, 4);
	assert_good(&r, "2", "{\"alive\":2}");
	assert_good(&r, "3", "{\"new\":3}");
	assert_aside(&r, "1", "may have been deleted");
	assert_int_equal(r.stat.unversioned, 2);
	forget(&r);
}

/* Proves: points behind the end of the versions are counted, and believed. */
static void versions_that_end_early(void **state)
{
	struct qs_segment s = {0};
	struct result r;

	(void)state;
	add_point(&s, 1, "{\"n\":1}");
	add_point(&s, 2, "{\"n\":2}");
	qs_insert(&s, 3);
	put_segment(&s);
	shorten("mutable_id_tracker.versions", 8);
	import_again(&r);
	assert_int_equal(r.count, 3);
	assert_good(&r, "2", "{\"n\":2}");
	assert_good(&r, "3", "{}");
	assert_int_equal(r.stat.unversioned, 2);
	assert_false(r.stat.damaged);
	forget(&r);
}

/* Proves: a deleted file that is cut says nothing about what lies behind its end; one that is just
 * long enough is whole. */
static void deleted_bits(void **state)
{
	struct result r;

	(void)state;
	for (size_t bytes = 1; bytes <= 2; bytes++) {
		struct qs_segment s = {.immutable = true};
		char key[8];

		for (uint32_t i = 0; i < 16; i++)
			add_point(&s, 100 + i, "{\"a\":1}");
		put_segment(&s);
		shorten("id_tracker.deleted", bytes);
		import_again(&r);
		if (bytes == 2)
			assert_clean(&r, 16);
		for (uint32_t i = 0; i < 16; i++) {
			snprintf(key, sizeof(key), "%u", 100 + i);
			if (i < 8 * bytes)
				assert_good(&r, key, "{\"a\":1}");
			else
				assert_aside(&r, key, "may have been deleted");
		}
		assert_int_equal(r.stat.damaged, bytes == 1);
		forget(&r);
	}
}

/* Proves: a count of entries that is not theirs is told, and costs nothing. */
static void count_of_a_mapping(void **state)
{
	static const char *const told[] = {"holds 3 entries, not 2", "", "holds 3 entries, not 4"};
	struct result r;

	(void)state;
	for (uint64_t said = 2; said <= 4; said++) {
		struct qs_segment s = {.immutable = true};

		for (uint64_t id = 1; id <= 3; id++)
			add_point(&s, id, "{}");
		pfs_put_le64(s.mapping.bytes, said);
		import_segment(&r, &s);
		assert_int_equal(r.count, 3);
		for (size_t i = 0; i < r.count; i++)
			assert_true(r.items[i].good);
		assert_non_null(strstr(r.notes, told[said - 2]));
		assert_int_equal(r.stat.damaged, said != 3);
		forget(&r);
	}
}

/* Proves: of an immutable mapping an entry whose offset was there already is none, also as the last
 * one: whose the offset is stays certain. */
static void offset_again_at_the_end(void **state)
{
	struct qs_segment s = {.immutable = true};
	struct result r;

	(void)state;
	add_point(&s, 1, "{\"n\":1}");
	add_point(&s, 2, "{\"n\":2}");
	s.mapping.bytes[8 + 13 + 9] = 0;
	import_segment(&r, &s);
	assert_int_equal(r.count, 3);
	assert_good(&r, "1", "{\"n\":1}");
	assert_null(find(&r, "2"));
	assert_true(has_payload(&r, "{\"n\":2}"));
	assert_int_equal(assert_aside(&r, "", "no entries")->offset, 8 + 13);
	assert_true(r.stat.damaged);
	forget(&r);
}

/* Proves: an offset that has a version but no id lost it, and its payload is put aside; one without
 * is a leftover, and so is what belongs to a deleted point. A point that nothing is known of but
 * its id is not believed in a mapping that is damaged. */
static void ids_that_are_lost(void **state)
{
	struct result r;

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		struct qs_segment s = {0};

		add_point(&s, 1, "{\"n\":1}");
		add_point(&s, 2, "{\"deleted\":2}");
		qs_delete(&s, 2, 1);
		pfs_put_le32(entry_of(&s, 1), 1);
		qs_insert(&s, 3);
		s.versions[qs_insert(&s, 4)] = 0;
		s.versions[add_point(&s, 5, "{\"no\":\"id\"}")] *= (uint64_t)lost;
		s.mapping.len -= 13;
		import_segment(&r, &s);
		assert_good(&r, "1", "{\"n\":1}");
		assert_good(&r, "3", "{}");
		if (!lost) {
			assert_clean(&r, 3);
			assert_good(&r, "4", "{}");
		} else {
			assert_int_equal(r.count, 4);
			assert_aside(&r, "4", "no payload, in a mapping of ids that is damaged");
			assert_string_equal(assert_aside(&r, "", "whose id is lost")->payload,
					    "{\"no\":\"id\"}");
			assert_non_null(strstr(r.notes, "ids of 1 point are missing"));
			assert_true(r.stat.damaged);
		}
		assert_int_equal(r.stat.ownerless, 2 - lost);
		forget(&r);
	}
}

/* Proves: a segment that has no points yet is not damaged, whatever it has no bytes of, but where
 * there is always a head. */
static void segments_without_points(void **state)
{
	char command[256];
	struct result r;

	(void)state;
	for (int kind = 0; kind < 6; kind++) {
		struct qs_segment s = {.immutable = kind & 1};

		if (s.immutable)
			qs_append_int(&s.mapping, 0, 8);
		put_segment(&s);
		snprintf(command, sizeof(command), "rm -r %s/payload_storage", segment_path);
		if (kind / 2 == 1)
			assert_int_equal(system(command), 0);
		if (kind / 2 == 2)
			shorten(s.immutable ? "id_tracker.mappings" : "mutable_id_tracker.mappings",
				0);
		import_again(&r);
		assert_int_equal(r.count, 0);
		assert_int_equal(r.stat.damaged, kind == 5);
		forget(&r);
	}
}

/* Proves: points whose payload storage is gone are put aside. */
static void storage_that_is_missing(void **state)
{
	struct qs_segment s = {0};
	char command[256];
	struct result r;

	(void)state;
	add_point(&s, 1, "{}");
	put_segment(&s);
	snprintf(command, sizeof(command), "rm -r %s/payload_storage", segment_path);
	assert_int_equal(system(command), 0);
	import_again(&r);
	assert_int_equal(r.count, 1);
	assert_aside(&r, "1", "payload storage is missing");
	assert_true(r.stat.damaged);
	assert_non_null(strstr(r.notes, "no payload storage"));
	forget(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_of_a_segment),
		cmocka_unit_test(offsets_as_ids),
		cmocka_unit_test(points_inserted_again),
		cmocka_unit_test(ids_with_two_offsets),
		cmocka_unit_test(deletes_that_are_lost),
		cmocka_unit_test(versions_that_end_early),
		cmocka_unit_test(deleted_bits),
		cmocka_unit_test(count_of_a_mapping),
		cmocka_unit_test(offset_again_at_the_end),
		cmocka_unit_test(ids_that_are_lost),
		cmocka_unit_test(segments_without_points),
		cmocka_unit_test(storage_that_is_missing),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
