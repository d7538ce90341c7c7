/* The reader of what Qdrant leaves on disk: several segments and shards, and their write-ahead
 * logs. */
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/unit/qdrant_helpers.h"

/* ---- several segments ---- */

struct shard {
	char path[128], segments[160];
};

/* SHARD/segments/ with that many levels above. */
static struct shard make_shard(const char *name)
{
	struct shard shard;

	snprintf(shard.path, sizeof(shard.path), "%s/%s", directory, name);
	snprintf(shard.segments, sizeof(shard.segments), "%s/segments", shard.path);
	(void)mkdir(shard.path, 0777);
	(void)mkdir(shard.segments, 0777);
	return shard;
}

static void write_in(const struct shard *shard, const char *name, struct qs_segment *s)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", shard->segments, name);
	qs_write(s, path);
	qs_free(s);
}

static void one_point(struct qs_segment *s, uint64_t id, uint64_t version, const char *json)
{
	s->operation = version - 1;
	qs_put(s, qs_insert(s, id), json);
}

/* Proves: of an id in several segments of a shard the highest version wins, wherever it is. */
static void highest_version_wins(void **state)
{
	struct shard shard;
	struct result r;

	(void)state;
	for (int immutable = 0; immutable < 2; immutable++) {
		struct qs_segment a = {.immutable = immutable}, b = {0};

		clean();
		shard = make_shard("0");
		one_point(&a, 1, 5, "{\"old\":1}");
		one_point(&a, 2, 9, "{\"new\":2}");
		one_point(&b, 1, 6, "{\"new\":1}");
		one_point(&b, 2, 8, "{\"old\":2}");
		one_point(&b, QS_UUID + 1, 10, "{\"only\":3}");
		write_in(&shard, "a", &a);
		write_in(&shard, "b", &b);
		import(&r, directory, false);
		assert_int_equal(r.err, 0);
		assert_int_equal(r.count, 3);
		assert_string_equal(find(&r, "1")->payload, "{\"new\":1}");
		assert_string_equal(find(&r, "2")->payload, "{\"new\":2}");
		assert_int_equal(r.stat.superseded, 2);
		assert_int_equal(r.stat.segments, 2);
		forget(&r);
	}
}

/* Proves: when the newest version is damaged an older one does not take its place unseen, but the
 * same version in another segment does. */
static void damage_in_the_newest(void **state)
{
	struct qs_segment a = {0}, b = {0};
	struct shard shard;
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{\"old\":1}");
	one_point(&a, 2, 8, "{\"same\":2}");
	one_point(&b, 1, 6, "{\"new\":1}");
	one_point(&b, 2, 8, "{\"same\":2}");
	for (int i = 0; i < 2; i++)
		pfs_put_le32(b.tracker + 4 + 16 * i, 77);
	write_in(&shard, "a", &a);
	write_in(&shard, "b", &b);
	import(&r, directory, false);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 3);
	for (size_t i = 0; i < r.count; i++) {
		const struct got *got = &r.items[i];

		assert_int_equal(got->good, strcmp(got->key, "2") == 0);
		if (got->payload)
			assert_string_equal(got->payload,
					    got->good ? "{\"same\":2}" : "{\"old\":1}");
		else
			assert_non_null(strstr(got->reason, "tag 77"));
	}
	forget(&r);
}

/* Proves: when all that have the newest version are in doubt, each is put aside with its own
 * payload, and no other id's, older version's or shard's is taken instead. */
static void doubt_in_all_of_the_newest(void **state)
{
	struct qs_segment a = {0}, b = {0}, c = {0};
	struct shard first, second;
	struct result r;

	(void)state;
	clean();
	first = make_shard("0");
	second = make_shard("1");
	one_point(&a, 1, 5, "{\"a\":1}");
	one_point(&b, 1, 5, "{\"b\":1}");
	b.operation = 4;
	one_point(&b, 2, 5, "{\"b\":2}");
	one_point(&c, 1, 5, "{\"c\":1}");
	a.operation = 4;
	one_point(&a, 7, 5, "{\"a\":7}");
	b.operation = 4;
	one_point(&b, 8, 5, "{\"b\":8}");
	a.bitmask[0] = 0; /* all of its blocks are free */
	b.bitmask[0] = 6; /* and that of point 1 */
	write_in(&first, "a", &a);
	write_in(&first, "b", &b);
	write_in(&second, "c", &c);
	import(&r, directory, false);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 6);
	for (size_t i = 0; i < r.count; i++)
		assert_int_equal(r.items[i].good, strcmp(r.items[i].key, "2") == 0 ||
							  strcmp(r.items[i].key, "8") == 0);
	assert_good(&r, "2", "{\"b\":2}");
	assert_good(&r, "8", "{\"b\":8}");
	assert_string_equal(assert_aside(&r, "7", "are free")->payload, "{\"a\":7}");
	assert_true(has_payload(&r, "{\"a\":1}") && has_payload(&r, "{\"b\":1}") &&
		    has_payload(&r, "{\"c\":1}"));
	forget(&r);
}

/* Proves: of what another shard has with an id, older versions are superseded there as well. */
static void versions_in_another_shard(void **state)
{
	struct qs_segment a = {0}, b = {0}, c = {0};
	struct shard first, second;
	struct result r;

	(void)state;
	clean();
	first = make_shard("0");
	second = make_shard("1");
	one_point(&a, 1, 5, "{\"a\":1}");
	one_point(&b, 1, 8, "{\"b\":1}");
	one_point(&c, 1, 9, "{\"c\":1}");
	write_in(&first, "a", &a);
	write_in(&second, "b", &b);
	write_in(&second, "c", &c);
	import(&r, directory, false);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 2);
	assert_good(&r, "1", "{\"a\":1}");
	assert_string_equal(r.items[1].payload, "{\"c\":1}");
	assert_int_equal(r.stat.superseded, 1);
	assert_int_equal(r.stat.points, 1);
	forget(&r);
}

/* Proves: shards are separate: an id in two of them is imported once, and the other put aside. */
static void same_id_in_two_shards(void **state)
{
	struct qs_segment a = {0}, b = {0};
	struct shard first, second;
	struct result r;

	(void)state;
	clean();
	first = make_shard("2");
	second = make_shard("10");
	one_point(&a, 1, 5, "{\"first\":1}");
	one_point(&b, 1, 99, "{\"second\":1}");
	write_in(&first, "a", &a);
	write_in(&second, "a", &b);
	import(&r, directory, false);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.stat.shards, 2);
	assert_true(r.items[0].good && !r.items[1].good);
	assert_string_equal(r.items[0].payload, "{\"first\":1}");
	assert_string_equal(r.items[1].payload, "{\"second\":1}");
	assert_non_null(strstr(r.items[1].reason, "another shard"));
	forget(&r);
	import(&r, directory, true);
	assert_int_equal(r.err, -EINVAL);
}

/* Proves: segments that Qdrant would not open are passed over, and told. */
static void segments_passed_over(void **state)
{
	struct qs_segment a = {0}, b = {0}, c = {0};
	struct shard shard;
	char path[256];
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	one_point(&b, 2, 5, "{}");
	one_point(&c, 3, 5, "{}");
	write_in(&shard, "a", &a);
	write_in(&shard, "b.deleted", &b);
	write_in(&shard, "c", &c);
	snprintf(path, sizeof(path), "%s/c/version.info", shard.segments);
	unlink(path);
	import(&r, shard.path, false);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.items[0].key, "1");
	assert_non_null(strstr(r.notes, "b.deleted: marked as deleted"));
	assert_non_null(strstr(r.notes, "c: was not completed"));
	forget(&r);
	snprintf(path, sizeof(path), "%s/c", shard.segments);
	import(&r, path, false);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.items[0].key, "3");
	forget(&r);
}

/* ---- the write-ahead log ---- */

/* Proves: operations behind the segments' last are counted, in whatever files they are, and only
 * as far as their checksums are right. */
static void operations_that_are_not_read(void **state)
{
	struct qs_segment a = {0};
	struct shard shard;
	char wal[256];
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	write_in(&shard, "a", &a);
	snprintf(wal, sizeof(wal), "%s/wal", shard.path);
	(void)mkdir(wal, 0777);
	qs_write_log(wal, "open-1", 6); /* operations 0 to 5 */
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 0);
	assert_string_equal(r.notes, "");
	forget(&r);
	qs_write_log(wal, "open-1", 9);
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 3);
	assert_non_null(strstr(r.notes, "the 3 operations between them"));
	forget(&r);
	qs_write_log(wal, "closed-2", 3);
	qs_write_log(wal, "closed-5", 4); /* 5 to 8 */
	qs_write_log(wal, "open-7", 2);	  /* 9, 10 */
	qs_write_log(wal, "open-8", 0);
	snprintf(wal + strlen(shard.path), 16, "/wal/open-1");
	unlink(wal);
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 5);
	forget(&r);
	snprintf(wal + strlen(shard.path), 16, "/wal");
	qs_write_text(wal, "first-index", "{\"ack_index\":8}");
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 2);
	forget(&r);
}

static void make_wal(const struct shard *shard, char wal[256])
{
	snprintf(wal, 256, "%s/wal", shard->path);
	(void)mkdir(wal, 0777);
}

/* Proves: a log is compared with its own shard's segments, with all of them or not at all; with
 * their versions and with what they say of themselves; and one without files says nothing. */
static void logs_and_their_segments(void **state)
{
	static const uint64_t versions[] = {5, 30};
	struct shard shards[2];
	struct result r;
	char path[256], wal[256];

	(void)state;
	clean();
	for (int i = 0; i < 2; i++) {
		struct qs_segment s = {0};

		shards[i] = make_shard(i ? "1" : "0");
		make_wal(&shards[i], wal);
		one_point(&s, 1 + (uint64_t)i, versions[i], "{}");
		write_in(&shards[i], "a", &s);
	}
	import(&r, directory, false);
	assert_clean(&r, 2);
	assert_int_equal(r.stat.unread, 0);
	forget(&r);

	make_wal(&shards[0], wal);
	qs_write_log(wal, "open-1", 9);
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 3);
	forget(&r);
	snprintf(path, sizeof(path), "%s/a", shards[0].segments);
	import(&r, path, false);
	assert_clean(&r, 1);
	assert_int_equal(r.stat.unread, 0);
	forget(&r);

	/* The point's version is 5. */
	qs_write_text(path, "segment.json", "{\"version\":2}");
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 3);
	forget(&r);
	qs_write_text(path, "segment.json", "{\"initial_version\":8,\"version\":7}");
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 1);
	forget(&r);
}

/* Imports the collection, whose segments reach to operation 1. */
static void assert_unread(const char *path, uint64_t unread, const char *note)
{
	struct result r;

	import(&r, path, false);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.stat.unread, unread);
	if (note && !strstr(r.notes, note))
		fail_msg("%s, not %s", r.notes, note);
	if (!note)
		assert_true(!strstr(r.notes, "not counted") && !strstr(r.notes, "not known"));
	forget(&r);
}

static void turn_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte = 0;

	assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 0x20;
	assert_true(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

/* Proves: operations count up to the first that is not what was written; one that ends with the
 * file counts, and so does a long one; and only the log's own files count. */
static void files_of_a_log(void **state)
{
	static const size_t lens[] = {5, 200000, 65536, 0, 9};
	struct qs_segment a = {0};
	struct shard shard;
	char wal[256], path[300];

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 1, "{}");
	write_in(&shard, "a", &a);
	make_wal(&shard, wal);
	snprintf(path, sizeof(path), "%s/open-1", wal);

	qs_write_log(wal, "open-1", 4); /* at bytes 8, 32, 56 and 88, up to 128 */
	assert_unread(directory, 2, NULL);
	assert_int_equal(truncate(path, 128), 0);
	assert_unread(directory, 2, NULL);
	assert_int_equal(truncate(path, 127), 0);
	assert_unread(directory, 1, NULL);
	for (off_t at = 64; at < 88; at++) {
		qs_write_log(wal, "open-1", 4);
		turn_byte(path, at);
		assert_unread(directory, 0, "at byte 56 does not verify");
	}
	qs_write_operations(wal, "open-1", lens, pfs_array_len(lens));
	assert_unread(directory, 3, NULL);

	qs_write_log(wal, "open-2.tmp", 9);
	qs_write_log(wal, "closed-", 9);
	qs_write_log(wal, "closed-x9", 9);
	qs_write_log(wal, "open-99999999999999999999", 9);
	assert_unread(directory, 3, NULL);
	qs_write_log(wal, "open-3", 2);
	assert_unread(directory, 5, NULL);
	snprintf(path, sizeof(path), "%s/open-3", wal);
	turn_byte(path, 1);
	assert_unread(directory, 3, "open-3: is no file of a write-ahead log");
}

/* Proves: the directory of a running Qdrant is refused, and a finished one is kept from starting
 * one while it is read. */
static void running_qdrant(void **state)
{
	struct qs_segment a = {0};
	struct qdrant_notes notes;
	struct shard shard;
	struct qdrant *q;
	struct result r;
	char wal[256];
	int fd;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	write_in(&shard, "a", &a);
	snprintf(wal, sizeof(wal), "%s/wal", shard.path);
	(void)mkdir(wal, 0777);
	fd = open(wal, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	import(&r, directory, false);
	assert_int_equal(r.err, -EBUSY);
	assert_non_null(strstr(r.reason.text, "running Qdrant"));
	snprintf(wal, sizeof(wal), "%s/a", shard.segments);
	import(&r, wal, false);
	assert_int_equal(r.err, -EBUSY);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	notes = (struct qdrant_notes){keep_note, &r};
	assert_int_equal(qdrant_open(&q, directory, false, &notes, NULL), 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	qdrant_close(q);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(highest_version_wins),
		cmocka_unit_test(damage_in_the_newest),
		cmocka_unit_test(doubt_in_all_of_the_newest),
		cmocka_unit_test(versions_in_another_shard),
		cmocka_unit_test(same_id_in_two_shards),
		cmocka_unit_test(segments_passed_over),
		cmocka_unit_test(operations_that_are_not_read),
		cmocka_unit_test(logs_and_their_segments),
		cmocka_unit_test(files_of_a_log),
		cmocka_unit_test(running_qdrant),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
