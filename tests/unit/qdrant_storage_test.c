/* The reader of what Qdrant leaves on disk: the payload storage, and where its values lie. */
#include "tests/unit/qdrant_helpers.h"

#define PAGE_BLOCKS (QS_PAGE / QS_BLOCK)

static void set_entry(struct qs_segment *s, uint32_t offset, uint32_t page, uint32_t block,
		      uint32_t length)
{
	uint8_t *entry = entry_of(s, offset);

	pfs_put_le32(entry, 1);
	pfs_put_le32(entry + 4, page);
	pfs_put_le32(entry + 8, block);
	pfs_put_le32(entry + 12, length);
}

static void mark_block(struct qs_segment *s, uint32_t block, bool used)
{
	uint8_t bit = (uint8_t)(1u << (block % 8));

	s->bitmask[block / 8] =
		(uint8_t)(used ? s->bitmask[block / 8] | bit : s->bitmask[block / 8] & ~bit);
}

/* The point is put aside because of its entry, which is told. */
static void assert_entry_blamed(const struct result *r, const char *key, uint32_t offset,
				const struct qs_segment *s, const char *reason)
{
	const struct got *got = assert_aside(r, key, reason);

	assert_string_equal(got->file, "tracker.dat");
	assert_int_equal(got->offset, 4 + 16 * offset);
	assert_int_equal(got->length, 16);
	assert_int_equal(got->stored_len, 16);
	assert_memory_equal(got->stored, s->tracker + 4 + 16 * offset, 16);
	assert_null(got->payload);
}

/* Proves: a value may end with the last byte of the last page, and not beyond; it begins in no
 * block that its page does not have, nor in a page that there is not. */
static void values_at_the_end_of_the_pages(void **state)
{
	static const struct {
		uint32_t page, block, length;
	} beyond[] = {
		{QS_PAGES - 1, PAGE_BLOCKS - 1, 17},
		{0, PAGE_BLOCKS, 9},
		{QS_PAGES, 1, 9},
		{QS_PAGES, 0, 9},
		{UINT32_MAX, 31, 16},
		{1, 0, 0},
		{1, 0, UINT32_MAX},
	};
	struct result r;

	(void)state;
	for (size_t i = 0; i <= pfs_array_len(beyond); i++) {
		struct qs_segment s = {.raw = true};

		s.block = PAGE_BLOCKS;
		add_point(&s, 1, "{\"one\":1}");
		s.block = QS_PAGES * PAGE_BLOCKS - 1;
		add_point(&s, 2, "{\"last\":\"12345\"}");
		if (i < pfs_array_len(beyond))
			set_entry(&s, i == 0, beyond[i].page, beyond[i].block, beyond[i].length);
		import_segment(&r, &s);
		if (i == pfs_array_len(beyond))
			assert_clean(&r, 2);
		else
			assert_entry_blamed(&r, i ? "1" : "2", i == 0, &s,
					    "leads out of the pages");
		if (i)
			assert_good(&r, "2", "{\"last\":\"12345\"}");
		else
			assert_good(&r, "1", "{\"one\":1}");
		forget(&r);
	}
}

/* Proves: offsets behind the tracker's last have no payload; its file ending before the last is
 * told, and so is an entry of an unknown kind, with its bytes. */
static void ends_of_the_tracker(void **state)
{
	struct qs_segment s = {0};
	struct result r;

	(void)state;
	add_point(&s, 1, "{\"n\":1}");
	qs_insert(&s, 2);
	qs_insert(&s, 3);
	import_segment(&r, &s);
	assert_clean(&r, 3);
	assert_good(&r, "2", "{}");
	assert_good(&r, "3", "{}");
	forget(&r);

	s = (struct qs_segment){0};
	for (uint64_t id = 1; id <= 3; id++)
		add_point(&s, id, "{\"n\":1}");
	pfs_put_le32(entry_of(&s, 1), 77);
	put_segment(&s);
	shorten("payload_storage/tracker.dat", 4 + 16 * 3 - 1);
	import_again(&r);
	assert_int_equal(r.count, 3);
	assert_good(&r, "1", "{\"n\":1}");
	assert_entry_blamed(&r, "2", 1, &s, "tag 77");
	assert_int_equal(assert_aside(&r, "3", "ends before its entry")->offset, 4 + 16 * 2);
	assert_non_null(strstr(r.notes, "behind 2 of 3 entries"));
	assert_true(r.stat.damaged);
	forget(&r);

	/* By offset, too, an entry of an unknown kind is one. */
	remove_file("mutable_id_tracker.mappings");
	remove_file("mutable_id_tracker.versions");
	import(&r, segment_path, true);
	assert_int_equal(r.count, 2);
	assert_good(&r, "0", "{\"n\":1}");
	assert_entry_blamed(&r, "1", 1, &s, "tag 77");
	forget(&r);
}

/* Proves: entries behind the tracker's count are seen, up to the last one in the file. */
static void count_of_the_tracker(void **state)
{
	struct qs_segment s = {0};
	struct result r;

	(void)state;
	for (uint32_t i = 0; i < QS_OFFSETS; i++)
		add_point(&s, i, "{}");
	memset(entry_of(&s, 1), 0, 16 * (QS_OFFSETS - 2));
	pfs_put_le32(s.tracker, 1);
	put_segment(&s);
	shorten("payload_storage/tracker.dat", 4 + 16 * QS_OFFSETS);
	/* With more points than a result keeps, their values are looked at by offset. */
	remove_file("mutable_id_tracker.mappings");
	remove_file("mutable_id_tracker.versions");
	import(&r, segment_path, true);
	assert_int_equal(r.count, 2);
	assert_good(&r, "0", "{}");
	assert_good(&r, "63", "{}");
	assert_non_null(strstr(r.notes, "count of 1 is damaged: there are entries up to 64"));
	assert_true(r.stat.damaged);
	forget(&r);
}

/* Proves: a tracker of more entries than are held at once has each of them. */
static void long_tracker(void **state)
{
	static const uint32_t at[] = {0, 4095, 4096, 8191, 8192, 8999};
	static uint8_t tracker[4 + 16 * 9000];
	struct qs_segment s = {.raw = true};
	char key[16], json[16], path[256];
	struct result r;

	(void)state;
	pfs_put_le32(tracker, 9000);
	for (uint32_t i = 0; i < pfs_array_len(at); i++) {
		snprintf(json, sizeof(json), "{\"n\":%u}", at[i]);
		qs_put(&s, i, json);
		memcpy(tracker + 4 + 16 * at[i], entry_of(&s, i), 16);
	}
	put_segment(&s);
	remove_file("mutable_id_tracker.mappings");
	remove_file("mutable_id_tracker.versions");
	snprintf(path, sizeof(path), "%s/payload_storage", segment_path);
	qs_write_file(path, "tracker.dat", tracker, sizeof(tracker));
	import(&r, segment_path, true);
	assert_int_equal(r.err, 0);
	assert_clean(&r, pfs_array_len(at));
	for (size_t i = 0; i < pfs_array_len(at); i++) {
		snprintf(key, sizeof(key), "%u", at[i]);
		snprintf(json, sizeof(json), "{\"n\":%u}", at[i]);
		assert_good(&r, key, json);
	}
	forget(&r);
}

/* Proves: a value over two pages is told with where it begins when it does not decode, and with
 * where reading ended when a page is too short. */
static void where_damage_lies(void **state)
{
	const struct got *got;
	struct result r;

	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		struct qs_segment s = {.raw = true};

		s.block = 3;
		add_point(&s, 1, long_json);
		add_point(&s, 2, "{}");
		s.pages[QS_PAGE + 20] = '"';
		put_segment(&s);
		if (cut)
			shorten("payload_storage/page_1.dat", 100);
		import_again(&r);
		assert_int_equal(r.count, 2);
		got = assert_aside(&r, "1", cut ? "ends inside the value" : "not a JSON object");
		assert_string_equal(got->file, cut ? "page_1.dat" : "page_0.dat");
		assert_int_equal(got->offset, cut ? 100 : 3 * QS_BLOCK);
		assert_int_equal(got->length, strlen(long_json));
		assert_int_equal(got->stored_len,
				 cut ? QS_PAGE - 3 * QS_BLOCK + 100 : strlen(long_json));
		assert_memory_equal(got->stored, long_json, 16);
		forget(&r);
	}
}

/* Proves: what is stored as it is has to be one object to its last byte, and nothing else. */
static void values_that_are_no_objects(void **state)
{
	static const struct {
		const char *json;
		uint32_t length;
		bool good;
	} values[] = {
		{"{\"a\":1}  ", 7, true}, {"{\"a\":1}  ", 8, false}, {"{\"a\":1}", 8, false},
		{"{\"a\":1}", 6, false},  {"[{\"a\":1}]", 9, false}, {"{}{}", 4, false},
	};
	struct result r;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(values); i++) {
		struct qs_segment s = {.raw = true};

		add_point(&s, 1, values[i].json);
		set_entry(&s, 0, 0, 0, values[i].length);
		import_segment(&r, &s);
		if (values[i].good)
			assert_good(&r, "1", "{\"a\":1}");
		else
			assert_aside(&r, "1", "not a JSON object");
		forget(&r);
	}
}

/* ---- which blocks are in use ---- */

/* Proves: each block of a value has to be in use, the first and the last as well, and no other. */
static void blocks_that_are_free(void **state)
{
	struct result r;

	(void)state;
	for (uint32_t block = 0; block < 7; block++) {
		struct qs_segment s = {.raw = true};

		s.block = 1;
		add_point(&s, 1, "{\"blocks\":\"three of sixteen bytes each: 48\"}");
		add_point(&s, 2, "{}");
		assert_int_equal(s.block, 5);
		mark_block(&s, block, false);
		import_segment(&r, &s);
		assert_int_equal(r.count, 2);
		if (block >= 1 && block <= 3)
			assert_non_null(assert_aside(&r, "1", "are free")->payload);
		else
			assert_true(find(&r, "1")->good);
		if (block == 4)
			assert_aside(&r, "2", "are free");
		else
			assert_good(&r, "2", "{}");
		forget(&r);
	}
}

/* Proves: a bitmask that does not cover whole pages is told, and not asked; of one that covers some
 * pages the blocks of the others are not in use. */
static void bitmask_that_is_cut(void **state)
{
	struct result r;

	(void)state;
	for (size_t len = 0; len <= sizeof(((struct qs_segment *)0)->bitmask); len++) {
		struct qs_segment s = {.raw = true};
		bool covers = len && len * 8 % PAGE_BLOCKS == 0;

		add_point(&s, 1, "{\"page\":0}");
		s.block = PAGE_BLOCKS;
		add_point(&s, 2, "{\"page\":1}");
		put_segment(&s);
		shorten("payload_storage/bitmask.dat", len);
		import_again(&r);
		assert_good(&r, "1", "{\"page\":0}");
		if (covers && len < 8)
			assert_aside(&r, "2", "are free");
		else
			assert_good(&r, "2", "{\"page\":1}");
		assert_int_equal(!covers, strstr(r.notes, "bitmask.dat: cut off") != NULL);
		assert_false(r.stat.damaged);
		forget(&r);
	}
}

/* Proves: pages of few blocks share a byte of the bitmask, and are asked, too. */
static void small_pages(void **state)
{
	struct result r;

	(void)state;
	for (int used = 0; used < 2; used++) {
		struct qs_segment s = {.raw = true};
		char path[256], name[64];

		s.block = 3;
		add_point(&s, 1, "{\"n\":1}");
		mark_block(&s, 3, used);
		put_segment(&s);
		for (int i = 1; i < QS_PAGES; i++) {
			snprintf(name, sizeof(name), "payload_storage/page_%d.dat", i);
			remove_file(name);
		}
		snprintf(path, sizeof(path), "%s/payload_storage", segment_path);
		qs_write_text(
			path, "config.json",
			"{\"page_size_bytes\":64,\"block_size_bytes\":16,\"region_size_blocks\":4,"
			"\"compression\":\"None\"}");
		shorten("payload_storage/page_0.dat", 64);
		shorten("payload_storage/bitmask.dat", 1);
		import_again(&r);
		assert_int_equal(r.count, 1);
		assert_string_equal(r.notes, "");
		if (used)
			assert_good(&r, "1", "{\"n\":1}");
		else
			assert_aside(&r, "1", "are free");
		forget(&r);
	}
}

/* Proves: a value that is said to reach over several others is in doubt with each of them. */
static void long_overlap(void **state)
{
	struct qs_segment s = {.raw = true};
	struct result r;

	(void)state;
	add_point(&s, 1, "{\"n\":1}");
	for (uint64_t id = 2; id <= 5; id++)
		add_point(&s, id, "{\"n\":1}");
	set_entry(&s, 0, 0, 0, 4 * QS_BLOCK);
	import_segment(&r, &s);
	assert_int_equal(r.count, 5);
	assert_false(find(&r, "1")->good);
	assert_aside(&r, "2", "same blocks");
	assert_aside(&r, "3", "same blocks");
	assert_aside(&r, "4", "same blocks");
	assert_good(&r, "5", "{\"n\":1}");
	forget(&r);
}

/* ---- the configuration and the page files ---- */

/* Proves: sizes that can't be right, and texts that are none of Qdrant's, are told as damage; a
 * block as long as a page can be right. */
static void configurations(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} configs[] = {
		{"{\"page_size_bytes\":512,\"block_size_bytes\":16}", true},
		{" {\"block_size_bytes\" : 512 , \"page_size_bytes\" : 512 } ", true},
		{"{\"page_size_bytes\":2147483648,\"block_size_bytes\":128}", true},
		{"{\"page_size_bytes\":512}", false},
		{"{\"page_size_bytes\":512,\"block_size_bytes\":0}", false},
		{"{\"page_size_bytes\":0,\"block_size_bytes\":16}", false},
		{"{\"page_size_bytes\":512,\"block_size_bytes\":24}", false},
		{"{\"page_size_bytes\":512,\"block_size_bytes\":1024}", false},
		{"{\"page_size_bytes\":4294967296,\"block_size_bytes\":128}", false},
		{"{\"page_size_bytes\":18446744073709552128,\"block_size_bytes\":16}", false},
		{"{\"page_size_bytes\":184467440737095516672,\"block_size_bytes\":16}", false},
		{"{\"page_size_bytes\":\"512\",\"block_size_bytes\":16}", false},
		{"{\"page_size_bytes\":512.0,\"block_size_bytes\":16}", false},
		{"{\"page_size_bytes\":5e2,\"block_size_bytes\":4}", false},
		{"{\"page_size_bytes\":512,\"block_size_bytes\":16}}", false},
		{"[{\"page_size_bytes\":512,\"block_size_bytes\":16}]", false},
		{"{\"page_size_bytes\":512,\"block_size_bytes\":16", false},
		{"", false},
	};
	struct result r;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(configs); i++) {
		struct qs_segment s = {0};
		char path[256];

		put_segment(&s);
		snprintf(path, sizeof(path), "%s/payload_storage", segment_path);
		qs_write_text(path, "config.json", configs[i].text);
		/* Of large pages it covers none. */
		remove_file("payload_storage/bitmask.dat");
		import_again(&r);
		assert_int_equal(r.count, 0);
		if (r.stat.damaged == configs[i].good ||
		    (strstr(r.notes, "config.json: damaged") != NULL) == configs[i].good)
			fail_msg("%s: %s", configs[i].text, r.notes);
		forget(&r);
	}
}

/* Proves: without a configuration what is stored in either way is found where blocks of the usual
 * length have it. */
static void storage_without_configuration(void **state)
{
	struct result r;

	(void)state;
	for (int raw = 0; raw < 2; raw++) {
		struct qs_segment s = {.raw = raw};

		add_point(&s, 1, "{\"first\":\"block\"}");
		put_segment(&s);
		remove_file("payload_storage/config.json");
		import_again(&r);
		assert_int_equal(r.count, 1);
		assert_good(&r, "1", "{\"first\":\"block\"}");
		assert_true(r.stat.damaged);
		assert_non_null(strstr(r.notes, "config.json: there is none: pages of 512 bytes"));
		forget(&r);
	}
}

/* Proves: files whose names only look like those of pages count for nothing; a page that is missing
 * is told. */
static void page_files(void **state)
{
	static const char *const names[] = {
		"page_9.dat.tmp",
		"page_.dat",
		"page_4294967296.dat",
		"page_18446744073709551700.dat",
		"page_9",
		"xpage_9.dat",
		"page_-9.dat",
		"page_9x.dat",
	};
	struct qs_segment s = {0};
	char path[256];
	struct result r;

	(void)state;
	add_point(&s, 1, "{}");
	put_segment(&s);
	snprintf(path, sizeof(path), "%s/payload_storage", segment_path);
	for (size_t i = 0; i < pfs_array_len(names); i++)
		qs_write_text(path, names[i], "");
	import_again(&r);
	assert_clean(&r, 1);
	forget(&r);
	remove_file("payload_storage/page_5.dat");
	import_again(&r);
	assert_good(&r, "1", "{}");
	assert_non_null(strstr(r.notes, "1 of 8 page files are missing"));
	forget(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_at_the_end_of_the_pages),
		cmocka_unit_test(ends_of_the_tracker),
		cmocka_unit_test(count_of_the_tracker),
		cmocka_unit_test(long_tracker),
		cmocka_unit_test(where_damage_lies),
		cmocka_unit_test(values_that_are_no_objects),
		cmocka_unit_test(blocks_that_are_free),
		cmocka_unit_test(bitmask_that_is_cut),
		cmocka_unit_test(small_pages),
		cmocka_unit_test(long_overlap),
		cmocka_unit_test(configurations),
		cmocka_unit_test(storage_without_configuration),
		cmocka_unit_test(page_files),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
