/* The stream of points.ndjson: any range of it, its size, and what is kept of an earlier look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "storage/store.h"

/* What the snapshot says from now on. */
static struct {
	bool failing;
	ssize_t result;
} reads, lists, lookups;

static ssize_t read_or_fail(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t off,
			    void *buf, size_t len)
{
	return reads.failing ? reads.result : pfs_snapshot_read(snapshot, key, off, buf, len);
}

static ssize_t list_or_fail(struct pfs_snapshot *snapshot, uint64_t after,
			    struct pfs_snapshot_name *names, size_t max)
{
	return lists.failing ? lists.result : pfs_snapshot_list(snapshot, after, names, max);
}

static int look_up_or_fail(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			   struct pfs_attr *attr)
{
	return lookups.failing ? (int)lookups.result : pfs_snapshot_lookup(snapshot, key, attr);
}

/* The daemon's objects are not in the library. */
#define pfs_snapshot_read read_or_fail
#define pfs_snapshot_list list_or_fail
#define pfs_snapshot_lookup look_up_or_fail
#include "fs/points.c"
#undef pfs_snapshot_lookup
#undef pfs_snapshot_list
#undef pfs_snapshot_read

struct fixture {
	char dir[64];
	struct pfs_store *store;
	struct pfs_points *points;
	unsigned looks; /* how often a look asked whether to stop */
	unsigned stop_at;
};

static int setup(void **state)
{
	const struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN};
	const struct pfs_open_options options = {.hold_objects = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/payloadfs-points.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &options, &reason), 0);
	assert_int_equal(pfs_points_new(&f->points, f->store, pfs_store_logger(f->store)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	pfs_points_free(f->points);
	assert_int_equal(pfs_store_close(f->store), 0);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static bool count_looks(void *arg)
{
	struct fixture *f = arg;

	f->looks++;
	return f->stop_at && f->looks >= f->stop_at;
}

static void put(struct fixture *f, const char *name, const void *data, size_t len)
{
	struct pfs_key key;
	uint32_t replaced = 0;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	assert_int_equal(pfs_put(f->store, &key, data, len, NULL, PFS_PUT_NEW_OBJECT, &replaced),
			 0);
	if (replaced)
		pfs_release(f->store, replaced);
}

static void put_num(struct fixture *f, uint64_t id, const void *data, size_t len)
{
	char name[32];

	snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	put(f, name, data, len);
}

/* Small and large, plain and not, points and scratch files, with holes in the listing. */
static void fill(struct fixture *f)
{
	size_t large = 300000;
	char *text = malloc(large + 2);
	struct pfs_key key;

	assert_non_null(text);
	for (uint64_t i = 0; i < 1000; i++) {
		int len = sprintf(text, "{\"n\":%d,\"text\":\"%.*s\"}", (int)i, (int)(i % 40),
				  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");

		put_num(f, i * 7, text, (size_t)len - (i % 50 == 3)); /* some are no JSON */
		if (i % 100 == 5)
			put(f, "scratch", text, (size_t)len);
	}
	for (uint64_t i = 100; i < 400; i++) {
		key = pfs_key_num(i * 7);
		assert_int_equal(pfs_remove(f->store, &key, NULL), 0);
	}
	put(f, "c0ffee00-0000-4000-8000-000000000001", "null", 4);
	put(f, "18446744073709551615", "", 0);
	put(f, "5", "{\n}", 3);
	memset(text, 'x', large + 2);
	text[0] = text[large + 1] = '"';
	put(f, "1000001", text, large + 2); /* plain, of several blocks */
	put(f, "1000002", text, large + 1); /* base64 */
	put(f, "1000003", text, large);
	put(f, "1000004", "{\"last\":true}", 13);
	free(text);
}

/* What the stream must be, made one document after the other. */
static char *expected(struct fixture *f, size_t *len)
{
	struct pfs_snapshot_name name;
	struct pfs_snapshot *snapshot;
	uint64_t after = 0;
	char *out = NULL;
	FILE *stream = open_memstream(&out, len);

	assert_int_equal(pfs_snapshot_open(f->store, &snapshot), 0);
	while (pfs_snapshot_list(snapshot, after, &name, 1) == 1) {
		char text[PFS_NAME_MAX + 1];
		const char *quote = name.key.kind == PFS_KEY_NUM ? "" : "\"";
		void *data;
		size_t size;

		after = name.cookie;
		if (!pfs_key_is_point(&name.key))
			continue;
		pfs_key_format(text, &name.key);
		assert_int_equal(pfs_snapshot_get(snapshot, &name.key, &data, &size, NULL), 0);
		if (pfs_json_is_line_value(data, size)) {
			fprintf(stream, "{\"id\":%s%s%s,\"payload\":%.*s}\n", quote, text, quote,
				(int)size, (const char *)data);
		} else {
			char *base64 = malloc(pfs_base64_encoded_len(size) + 1);

			pfs_base64_encode(base64, data, size);
			fprintf(stream, "{\"id\":%s%s%s,\"payload_base64\":\"%.*s\"}\n", quote,
				text, quote, (int)pfs_base64_encoded_len(size), base64);
			free(base64);
		}
		free(data);
	}
	pfs_snapshot_close(snapshot);
	fclose(stream);
	return out;
}

static struct pfs_moment *take(struct fixture *f)
{
	struct pfs_moment *moment;

	f->looks = f->stop_at = 0;
	assert_int_equal(pfs_moment_take(f->points, &moment, count_looks, f), 0);
	return moment;
}

static void check_range(struct pfs_moment *moment, const char *want, uint64_t off, size_t len)
{
	char *got = malloc(len + 1);

	assert_non_null(got);
	assert_int_equal(pfs_moment_read(moment, off, got, len), 0);
	if (memcmp(got, want + off, len) != 0)
		fail_msg("other bytes in [%llu, +%zu)", (unsigned long long)off, len);
	free(got);
}

/* Proves: the size is exact, and every range reads as the whole does: in a row, backwards, at
 * random, of one byte around each end of a line. */
static void every_range_is_right(void **state)
{
	static const size_t steps[] = {1000, 4096, 131072, 1000000};
	struct fixture *f = *state;
	struct pfs_moment *moment;
	uint64_t random = 1;
	size_t len;
	char *want;

	fill(f);
	want = expected(f, &len);
	moment = take(f);
	assert_int_equal(pfs_moment_size(moment), len);
	check_range(moment, want, 0, len);
	check_range(moment, want, len, 0);
	for (size_t s = 0; s < pfs_array_len(steps); s++)
		for (uint64_t off = 0; off < len; off += steps[s])
			check_range(moment, want, off, pfs_min_u64(steps[s], len - off));
	for (uint64_t off = len; off > 4096; off -= 4096)
		check_range(moment, want, off - 4096, 4096);
	for (uint64_t i = 0; i < len; i++) {
		if (want[i] != '\n' && want[i] != '}')
			continue;
		check_range(moment, want, i, 1);
		check_range(moment, want, i > 0 ? i - 1 : 0, pfs_min_u64(3, len - i));
	}
	for (int i = 0; i < 3000; i++) {
		uint64_t off;

		random = pfs_mix64(random);
		off = random % len;
		check_range(moment, want, off,
			    pfs_min_u64(pfs_mix64(random + 1) % 20000, len - off));
	}
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: an unchanged store is not looked at again, neither while its moment is held nor later; a
 * changed one gives a new moment, and the old one stays as it was. */
static void what_is_known_is_used(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *first, *second, *third;
	struct sums *sums;
	size_t first_len, len;
	char *first_want, *want;

	fill(f);
	first_want = expected(f, &first_len);
	first = take(f);
	assert_true(f->looks > 5);
	second = take(f);
	assert_ptr_equal(first, second);
	assert_int_equal(f->looks, 0);
	pfs_moment_release(f->points, second);
	put(f, "7", "[1,2,3]", 7); /* plain before, another length */
	put(f, "14", "{", 1);	   /* plain before, base64 now */
	put(f, "21", "{}", 2);	   /* base64 before */
	put(f, "2000000", "\"new\"", 5);
	want = expected(f, &len);
	second = take(f);
	assert_ptr_not_equal(first, second);
	assert_int_equal(pfs_moment_size(second), len);
	check_range(second, want, 0, len);
	assert_int_equal(pfs_moment_size(first), first_len);
	check_range(first, first_want, 0, first_len);
	sums = second->sums;
	pfs_moment_release(f->points, first);
	pfs_moment_release(f->points, second);
	third = take(f);
	assert_ptr_equal(third->sums, sums);
	assert_int_equal(f->looks, 1); /* before it would have begun */
	check_range(third, want, 0, len);
	pfs_moment_release(f->points, third);
	free(first_want);
	free(want);
}

/* Proves: what was removed and made anew under another name at the same place is not taken for what
 * was there; a rename and an exchange neither. */
static void names_that_move_are_looked_at(void **state)
{
	struct fixture *f = *state;
	struct pfs_key a = pfs_key_num(1), b = pfs_key_num(2);
	struct pfs_moment *moment;
	uint32_t object;
	size_t len;
	char *want;

	put(f, "1", "{}", 2);
	put(f, "2", "no json", 7);
	put(f, "3", "3", 1);
	pfs_moment_release(f->points, take(f));
	assert_int_equal(pfs_rename(f->store, &a, &b, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(
		pfs_remove(f->store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 3}, &object), 0);
	pfs_release(f->store, object);
	put(f, "4", "x", 1);
	want = expected(f, &len);
	moment = take(f);
	assert_int_equal(pfs_moment_size(moment), len);
	check_range(moment, want, 0, len);
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: who does not want to wait any longer does not, and leaves nothing behind. */
static void a_look_can_be_stopped(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	struct pfs_store_stat stat;

	fill(f);
	f->looks = 0;
	f->stop_at = 4;
	assert_int_equal(pfs_moment_take(f->points, &moment, count_looks, f), -ECANCELED);
	assert_null(moment);
	assert_int_equal(pfs_store_stat(f->store, &stat), 0);
	assert_int_equal(stat.snapshots, 0);
	pfs_moment_release(f->points, take(f));
}

/* Proves: a store without points has a stream of no bytes. */
static void an_empty_store_is_an_empty_stream(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment = take(f);

	assert_int_equal(pfs_moment_size(moment), 0);
	pfs_moment_release(f->points, moment);
	put(f, "scratch", "x", 1);
	moment = take(f);
	assert_int_equal(pfs_moment_size(moment), 0);
	pfs_moment_release(f->points, moment);
}

/* Proves: what can't be read any more once the size is known is an error, whatever it is that
 * fails, and not other bytes; afterwards all is as it was. */
static void what_can_not_be_read_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	size_t len;
	char *want, *got;

	put(f, "1", "{\"plain\":1}", 11);
	put(f, "2", "no json", 7);
	want = expected(f, &len);
	moment = take(f);
	got = malloc(len);
	assert_non_null(got);
	reads.failing = true;
	reads.result = -EIO;
	assert_int_equal(pfs_moment_read(moment, 0, got, 30), -EIO);
	assert_int_equal(pfs_moment_read(moment, len - 20, got, 20), -EIO);
	reads.result = 0; /* shorter than it was */
	assert_int_equal(pfs_moment_read(moment, len - 20, got, 20), -EIO);
	reads.failing = false;
	lookups.failing = true;
	lookups.result = -ENOENT;
	assert_int_equal(pfs_moment_read(moment, 5, got, 10), -EIO);
	lookups.failing = false;
	lists.failing = true;
	lists.result = -ENOMEM;
	assert_int_equal(pfs_moment_read(moment, 0, got, len), -ENOMEM);
	lists.result = 0;
	assert_int_equal(pfs_moment_read(moment, 0, got, len), -EIO);
	lists.failing = false;
	check_range(moment, want, 0, len);
	free(got);
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: names that came after a look, however many, are looked at. */
static void a_store_that_has_grown_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	uint64_t before;
	size_t len;
	char *want;

	put(f, "1", "{}", 2);
	moment = take(f);
	before = moment->sums->kinds_len * 4;
	pfs_moment_release(f->points, moment);
	for (uint64_t i = 2; i < before + 10; i++)
		put_num(f, i, i % 1000 ? "{}" : "{", i % 1000 ? 2 : 1);
	want = expected(f, &len);
	moment = take(f);
	assert_int_equal(pfs_moment_size(moment), len);
	check_range(moment, want, 0, len);
	pfs_moment_release(f->points, moment);
	free(want);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(every_range_is_right),
		WITH_STORE(what_is_known_is_used),
		WITH_STORE(names_that_move_are_looked_at),
		WITH_STORE(a_look_can_be_stopped),
		WITH_STORE(an_empty_store_is_an_empty_stream),
		WITH_STORE(what_can_not_be_read_is_an_error),
		WITH_STORE(a_store_that_has_grown_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
