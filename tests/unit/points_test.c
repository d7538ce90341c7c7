/* The stream of points.ndjson: any range of it, its size, and what is kept of an earlier look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/json_scan.h"
#include "tests/unit/store_helpers.h"

#include "tests/unit/fenced.h"

/* What the snapshot says from now on, and how often it was asked. */
static struct {
	bool failing;
	ssize_t result;
	uint64_t id; /* of reading whole: only this one fails */
	unsigned calls;
} reads, lists, lookups, gets, opens;

static bool tells_at_a_glance; /* as a published collection does */

static ssize_t read_or_fail(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t off,
			    void *buf, size_t len)
{
	reads.calls++;
	return reads.failing ? reads.result : pfs_snapshot_read(snapshot, key, off, buf, len);
}

static ssize_t list_or_fail(struct pfs_snapshot *snapshot, uint64_t after,
			    struct pfs_snapshot_name *names, size_t max)
{
	lists.calls++;
	return lists.failing ? lists.result : pfs_snapshot_list(snapshot, after, names, max);
}

static int look_up_or_fail(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			   struct pfs_attr *attr)
{
	lookups.calls++;
	return lookups.failing ? (int)lookups.result : pfs_snapshot_lookup(snapshot, key, attr);
}

static int get_or_fail(struct pfs_snapshot *snapshot, const struct pfs_key *key, void **data,
		       size_t *len, struct pfs_attr *attr)
{
	void *whole;
	int err;

	gets.calls++;
	*data = NULL;
	if (gets.failing && key->num == gets.id)
		return (int)gets.result;
	err = pfs_snapshot_get(snapshot, key, &whole, len, attr);
	if (err)
		return err;
	*data = fenced_instead(whole, *len);
	return *data ? 0 : -ENOMEM;
}

static int glance(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t *size,
		  bool *line)
{
	void *data;
	size_t len;

	if (!tells_at_a_glance)
		return pfs_snapshot_glance(snapshot, key, size, line);
	assert_int_equal(pfs_snapshot_get(snapshot, key, &data, &len, NULL), 0);
	*size = len;
	*line = pfs_json_is_line_value(data, len);
	(free)(data);
	return 0;
}

static int open_or_fail(struct pfs_store *store, struct pfs_snapshot **out)
{
	*out = NULL;
	return opens.failing ? (int)opens.result : pfs_snapshot_open(store, out);
}

/* Called once, before somebody takes this lock for the last of so many times. */
static struct {
	pthread_mutex_t *lock;
	unsigned times;
	void (*fn)(void *arg);
	void *arg;
} at_lock;

static int do_and_lock(pthread_mutex_t *lock)
{
	if (at_lock.lock == lock && --at_lock.times == 0) {
		at_lock.lock = NULL;
		at_lock.fn(at_lock.arg);
	}
	return pthread_mutex_lock(lock);
}

/* The daemon's objects are not in the library. */
#define pthread_mutex_lock(lock) do_and_lock(lock)
#define pfs_snapshot_read read_or_fail
#define pfs_snapshot_list list_or_fail
#define pfs_snapshot_lookup look_up_or_fail
#define pfs_snapshot_get get_or_fail
#define pfs_snapshot_open open_or_fail
#define pfs_snapshot_glance glance
#include "fs/points.c"
#undef pfs_snapshot_glance
#undef pfs_snapshot_open
#undef pfs_snapshot_get
#undef pfs_snapshot_lookup
#undef pfs_snapshot_list
#undef pfs_snapshot_read
#undef pthread_mutex_lock
#undef free
#undef realloc
#undef calloc
#undef malloc

struct fixture {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_points *points;
	struct pfs_logger logger;
	char line[256]; /* the last that was logged */
	unsigned logged;
	unsigned looks; /* how often a look asked whether to stop */
	unsigned stop_at;
};

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct fixture *f = arg;

	assert_int_equal(level, PFS_LOG_WARNING);
	snprintf(f->line, sizeof(f->line), "%s", line);
	f->logged++;
}

static int setup(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	f->sim = pfs_sim_new();
	create_store(f->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(f->sim);
	assert_int_equal(pfs_store_open(&f->store, STORE, &options, &reason), 0);
	f->logger = (struct pfs_logger){.fn = keep_line, .arg = f};
	assert_int_equal(pfs_points_new(&f->points, f->store, &f->logger), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pfs_points_free(f->points);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_store_close(f->store), 0);
	pfs_sim_free(f->sim);
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
		if (gets.failing && name.key.num == gets.id) {
			fprintf(stream, "{\"id\":%s,\"error\":\"damaged\"}\n", text);
			continue;
		}
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
	static const size_t steps[] = {2500, 4096, 131072, 1000000};
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
	for (uint64_t off = len; off > 4000; off -= 4000)
		check_range(moment, want, off - 4000, 4000);
	for (uint64_t i = 0; i < len; i++) {
		if (want[i] != '\n' && want[i] != '}')
			continue;
		check_range(moment, want, i, 1);
		check_range(moment, want, i > 0 ? i - 1 : 0, pfs_min_u64(3, len - i));
	}
	for (int i = 0; i < 1000; i++) {
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
	size_t len, second;
	char *want, *got;

	put(f, "1", "{\"plain\":1}", 11);
	put(f, "2", "no json", 7);
	put(f, "3", "{\"behind\":\"all that is wanted\"}", 31);
	want = expected(f, &len);
	second = (size_t)(strstr(want, "\n{\"id\":3") - want) + 1 - 20;
	moment = take(f);
	got = malloc(len);
	assert_non_null(got);
	reads.failing = true;
	reads.result = -EIO;
	assert_int_equal(pfs_moment_read(moment, 0, got, 30), -EIO);
	assert_int_equal(pfs_moment_read(moment, second, got, 20), -EIO);
	reads.result = 0; /* shorter than it was */
	assert_int_equal(pfs_moment_read(moment, second, got, 20), -EIO);
	reads.failing = false;
	lookups.failing = true;
	lookups.result = -ENOENT;
	assert_int_equal(pfs_moment_read(moment, 5, got, 10), -EIO);
	lookups.result = -ENOMEM;
	assert_int_equal(pfs_moment_read(moment, 5, got, 10), -ENOMEM);
	lookups.failing = false;
	reads.failing = true;
	reads.result = -ENOMEM;
	assert_int_equal(pfs_moment_read(moment, 0, got, 30), -ENOMEM);
	assert_int_equal(pfs_moment_read(moment, second, got, 20), -ENOMEM);
	reads.failing = false;
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
	struct pfs_put_item items[64];
	struct pfs_moment *moment;
	uint64_t before;
	size_t len;
	char *want;
	int err;

	put(f, "1", "{}", 2);
	moment = take(f);
	before = moment->sums->kinds_len * 4;
	pfs_moment_release(f->points, moment);
	for (uint64_t i = 2; i < before + 10; i += pfs_array_len(items)) {
		for (uint64_t k = 0; k < pfs_array_len(items); k++)
			items[k] = (struct pfs_put_item){.key = pfs_key_num(i + k),
							 .data = "{}",
							 .len = (i + k) % 1000 ? 2 : 1};
		assert_int_equal(pfs_put_many(f->store, items, pfs_array_len(items), &err),
				 pfs_array_len(items));
	}
	want = expected(f, &len);
	moment = take(f);
	assert_int_equal(pfs_moment_size(moment), len);
	check_range(moment, want, 0, len);
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: a point whose payload can't be read has a line that says so, which is of the size and any
 * range like the others, and is logged; it is looked at again when anything was changed. */
static void damaged_points_have_a_line(void **state)
{
	static const int errs[] = {-EIO, -EUCLEAN};
	struct fixture *f = *state;
	struct pfs_moment *moment;
	size_t len;
	char *want;

	for (uint64_t id = 1; id <= 6; id++)
		put_num(f, id, id % 2 ? "{\"a\":1}" : "no json", 7);
	for (size_t i = 0; i < pfs_array_len(errs); i++) {
		gets.id = 3 + i; /* plain, and in base64 */
		gets.failing = true;
		gets.result = errs[i];
		f->logged = 0;
		put(f, "scratch", "changed", 7);
		want = expected(f, &len);
		assert_non_null(strstr(want, i ? "{\"id\":4,\"error\":\"damaged\"}\n"
					       : "{\"id\":3,\"error\":\"damaged\"}\n"));
		if (i == 0)
			put_num(f, 3, "{\"a\":1}", 7);
		else
			put_num(f, 4, "no json", 7);
		moment = take(f);
		assert_int_equal(f->logged, 1);
		assert_string_equal(f->line, i ? "points.ndjson: 4 is damaged: its line says so "
						 "(`payloadctl check` says where)"
					       : "points.ndjson: 3 is damaged: its line says so "
						 "(`payloadctl check` says where)");
		assert_int_equal(pfs_moment_size(moment), len);
		for (size_t from = 0; from < len; from++)
			for (size_t n = 0; from + n <= len; n += 3)
				check_range(moment, want, from, n);
		pfs_moment_release(f->points, moment);
		free(want);
		/* It is better now. */
		gets.failing = false;
		put(f, "scratch", "changed", 7);
		f->logged = 0;
		want = expected(f, &len);
		moment = take(f);
		assert_int_equal(f->logged, 0);
		assert_int_equal(pfs_moment_size(moment), len);
		check_range(moment, want, 0, len);
		pfs_moment_release(f->points, moment);
		free(want);
	}
}

/* Proves: what a look can't be made for is its error, whatever it is, and leaves no snapshot; what
 * was known stays known. */
static void a_look_that_fails_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	struct pfs_store_stat stat;

	for (uint64_t id = 1; id <= 6; id++)
		put_num(f, id, "{}", 2);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 1)
			pfs_moment_release(f->points, take(f));
		if (i > 0)
			put_num(f, 4, "[]", 2);
		f->stop_at = 0;
		gets.failing = i < 2;
		gets.result = -ENOMEM;
		gets.id = 4;
		lists.failing = i == 2;
		lists.result = -EIO;
		opens.failing = i == 3;
		opens.result = -EROFS;
		assert_int_equal(pfs_moment_take(f->points, &moment, count_looks, f),
				 i < 2	  ? -ENOMEM
				 : i == 2 ? -EIO
					  : -EROFS);
		gets.failing = lists.failing = opens.failing = false;
		assert_null(moment);
		assert_int_equal(pfs_store_stat(f->store, &stat), 0);
		assert_int_equal(stat.snapshots, 0);
	}
	gets.calls = 0;
	moment = take(f);
	assert_int_equal(gets.calls, 1); /* the others were known */
	pfs_moment_release(f->points, moment);
}

/* Proves: after a first look only the bytes of what has changed are looked at, whatever it was and
 * is; a moment is of when it was taken. */
static void only_what_has_changed_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct pfs_key key = pfs_key_num(3), to = pfs_key_num(1000);
	struct pfs_moment *moment;
	struct timespec t;
	int64_t before;

	for (uint64_t id = 1; id <= 300; id++)
		put_num(f, id, id % 3 ? "{}" : "{", id % 3 ? 2 : 1);
	put(f, "scratch", "{}", 2);
	for (unsigned i = 0; i < 6; i++) {
		static const unsigned looked_at[] = {300, 0, 1, 2, 0, 1};
		uint32_t object = 0;
		size_t len;
		char *want;

		if (i == 1)
			put(f, "scratch", "{", 1);
		if (i == 2)
			put_num(f, 5, "{\"longer\":1}", 12); /* plain before and now */
		if (i == 3)
			put_num(f, 6, "{}", 2), put_num(f, 7, "{", 1);
		if (i == 4)
			assert_int_equal(pfs_remove(f->store, &key, &object), 0);
		if (i == 5)
			assert_int_equal(
				pfs_rename(f->store,
					   &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 9}, &to, 0,
					   &object),
				0);
		if (i == 4)
			pfs_release(f->store, object);
		want = expected(f, &len);
		clock_gettime(CLOCK_REALTIME, &t);
		before = (int64_t)t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;
		gets.calls = 0;
		moment = take(f);
		assert_int_equal(gets.calls, looked_at[i]);
		assert_int_equal(pfs_moment_size(moment), len);
		check_range(moment, want, 0, len);
		clock_gettime(CLOCK_REALTIME, &t);
		assert_true(pfs_moment_time(moment) >= before &&
			    pfs_moment_time(moment) <=
				    (int64_t)t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec);
		pfs_moment_release(f->points, moment);
		free(want);
	}
}

/* Proves: where the kinds and sizes are known at a glance no payload is looked at. */
static void a_glance_is_enough(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	size_t len;
	char *want;

	for (uint64_t id = 1; id <= 100; id++)
		put_num(f, id, id % 3 ? "{}" : "{", id % 3 ? 2 : 1);
	want = expected(f, &len);
	tells_at_a_glance = true;
	gets.calls = 0;
	moment = take(f);
	tells_at_a_glance = false;
	assert_int_equal(gets.calls, 0);
	assert_int_equal(pfs_moment_size(moment), len);
	check_range(moment, want, 0, len);
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: of a large payload that is put into base64 no more is read than is wanted of it. */
static void large_payloads_are_read_in_part(void **state)
{
	const size_t large = 100 * PIECE + 2;
	struct fixture *f = *state;
	struct pfs_moment *moment;
	char *text = malloc(large), *want;
	size_t len;

	assert_non_null(text);
	for (size_t i = 0; i < large; i++)
		text[i] = (char)pfs_mix64(i);
	put(f, "1", text, large);
	want = expected(f, &len);
	moment = take(f);
	for (size_t off = 0; off < len; off += 9973) {
		reads.calls = 0;
		check_range(moment, want, off, pfs_min_u64(1000, len - off));
		assert_true(reads.calls <= 2);
	}
	pfs_moment_release(f->points, moment);
	free(want);
	free(text);
}

/* Proves: a reader begins near what it wants: anywhere no more lines are passed over than stand
 * between two marks; and each of several who read on goes on where it was. */
static void readers_begin_near_their_place(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	size_t at[CURSORS], len, line;
	char *want;

	for (uint64_t id = 10000; id < 10000 + 20 * LIST_STEP; id++)
		put_num(f, id, "{}", 2);
	want = expected(f, &len);
	line = len / ((size_t)20 * LIST_STEP);
	for (unsigned round = 0; round < 2; round++) {
		moment = take(f);
		/* Of the line behind each: the last one before the next mark is the farthest. */
		for (size_t i = 0; i < (size_t)20 * LIST_STEP - 1; i += 7) {
			lookups.calls = lists.calls = 0;
			check_range(moment, want, i * line + 5, line);
			assert_true(lookups.calls <= LIST_STEP + 1);
			assert_true(lists.calls <= 2);
			i += lookups.calls > 40 ? 11 : 0;
		}
		pfs_moment_release(f->points, moment);
		put(f, "scratch", "changed", 7);
	}
	moment = take(f);
	for (size_t i = 0; i < CURSORS; i++)
		at[i] = i * 4 * LIST_STEP * line;
	for (size_t n = 0; n < 3 * LIST_STEP; n++) {
		for (size_t i = 0; i < CURSORS; i++) {
			lookups.calls = lists.calls = 0;
			check_range(moment, want, at[i], line);
			at[i] += line;
			assert_true(lookups.calls <= 1);
			assert_true(lists.calls <= 2);
		}
	}
	pfs_moment_release(f->points, moment);
	free(want);
}

/* Proves: a reader who begins just where another one has come to the beginning of a line passes no
 * other line. */
static void a_place_is_found_exactly(void **state)
{
	struct fixture *f = *state;
	struct pfs_moment *moment;
	size_t len, line, at;
	char *want;

	for (uint64_t id = 10000; id < 10000 + 3 * LIST_STEP; id++)
		put_num(f, id, "{}", 2);
	want = expected(f, &len);
	line = len / ((size_t)3 * LIST_STEP);
	for (unsigned i = 0; i < 2 * CURSORS; i++) {
		moment = take(f);
		at = (LIST_STEP + 20 + i) * line;
		check_range(moment, want, at, line + 3);
		lookups.calls = 0;
		check_range(moment, want, at + line, 3);
		assert_int_equal(lookups.calls, 0);
		check_range(moment, want, 0, len);
		pfs_moment_release(f->points, moment);
	}
	free(want);
}

/* Proves: whatever there is no memory for, a look fails with that, and nothing of it stays. */
static void a_look_needs_memory(void **state)
{
	struct fixture *f = *state;
	struct pfs_points *points;
	struct pfs_moment *moment;
	struct pfs_store_stat stat;
	int err = -ENOMEM;

	fenced_refuse(0);
	assert_int_equal(pfs_points_new(&points, f->store, &f->logger), -ENOMEM);
	assert_null(points);
	pfs_points_free(NULL);
	for (uint64_t id = 1; id <= 3 * LIST_STEP; id++)
		put_num(f, id, "{}", 2);
	for (unsigned n = 0; err; n++) {
		unsigned blocks = fenced_blocks;

		fenced_refuse(n);
		f->stop_at = 0;
		err = pfs_moment_take(f->points, &moment, count_looks, f);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(moment);
		assert_int_equal(fenced_blocks, blocks);
		assert_int_equal(pfs_store_stat(f->store, &stat), 0);
		assert_int_equal(stat.snapshots, 0);
	}
	fenced_refuses = false;
	pfs_moment_release(f->points, moment);
}

struct other_look {
	struct fixture *f;
	struct pfs_moment *moment;
};

static void look_first(void *arg)
{
	struct other_look *other = arg;

	other->moment = take(other->f);
}

/* Proves: who had to wait for another one's look gets what that one has made. */
static void a_look_is_shared(void **state)
{
	struct fixture *f = *state;
	struct other_look other = {.f = f};
	struct pfs_moment *moment;

	put(f, "1", "{}", 2);
	at_lock.fn = look_first;
	at_lock.arg = &other;
	at_lock.lock = &f->points->looking;
	at_lock.times = 1;
	assert_int_equal(pfs_moment_take(f->points, &moment, count_looks, f), 0);
	assert_ptr_equal(moment, other.moment);
	assert_int_equal(moment->refs, 2);
	pfs_moment_release(f->points, moment);
	pfs_moment_release(f->points, moment);
}

static void expect_in_use(void *arg)
{
	struct sums *known = arg;

	assert_int_equal(known->refs, 2);
}

/* Proves: who looks keeps what was known, which the next look replaces, until he has the lock. */
static void what_is_known_is_kept_for_a_look(void **state)
{
	struct fixture *f = *state;

	put(f, "1", "{}", 2);
	pfs_moment_release(f->points, take(f));
	put(f, "2", "{}", 2);
	assert_int_equal(f->points->known->refs, 1);
	at_lock.fn = expect_in_use;
	at_lock.arg = f->points->known;
	at_lock.lock = &f->points->lock;
	at_lock.times = 4; /* twice for a moment that there may be, for what is known, after it */
	pfs_moment_release(f->points, take(f));
	assert_null(at_lock.lock);
}

/* Proves: what stands at a cookie is what was said of it, and nothing where none was; room is made
 * for twice as many, or for one that is far beyond. */
static void kinds_stand_at_their_cookies(void **state)
{
	static const struct {
		uint64_t cookie, len; /* bytes that there are then */
	} steps[] = {
		{0, 4096},	  {16383, 4096},    {16384, 12288},
		{49151, 12288},	  {49152, 28672},   {400001, 100001},
		{400003, 100001}, {400004, 204098}, {816391, 204098},
	};
	struct sums *sums = fenced_calloc(1, sizeof(*sums));
	struct sums small = {.kinds_len = 2};
	uint8_t bytes[3] = {0xe4, 0x1b, 0xff};

	(void)state;
	assert_int_equal(kind_at(sums, 0), KIND_NONE);
	fenced_refuse(0);
	assert_int_equal(set_kind(sums, 0, KIND_PLAIN), -ENOMEM);
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		assert_int_equal(set_kind(sums, steps[i].cookie, (enum kind)(1 + i % 3)), 0);
		assert_true(sums->kinds_len == steps[i].len);
	}
	for (uint64_t c = 0; c < 5 * sums->kinds_len; c++) {
		enum kind want = KIND_NONE;

		for (size_t i = 0; i < pfs_array_len(steps); i++)
			want = steps[i].cookie == c ? (enum kind)(1 + i % 3) : want;
		if (kind_at(sums, c) != want)
			fail_msg("another kind at %llu", (unsigned long long)c);
	}
	fenced_refuse(0);
	assert_int_equal(set_kind(sums, 2000000, KIND_PLAIN), -ENOMEM);
	assert_int_equal(kind_at(sums, 16383), KIND_BASE64);
	free_sums(sums);
	/* Of two bytes, whatever lies behind them. */
	small.kinds = bytes;
	for (uint64_t c = 0; c < 12; c++)
		assert_int_equal(kind_at(&small, c), c < 4 ? c : c < 8 ? 7 - c : KIND_NONE);
}

/* Proves: marks are kept in their order, however many; without memory for more, those that are
 * there. */
static void marks_are_kept(void **state)
{
	struct sums *sums = fenced_calloc(1, sizeof(*sums));

	(void)state;
	fenced_refuse(0);
	assert_int_equal(add_mark(sums, 1), -ENOMEM);
	for (uint64_t i = 0; i < 1000; i++) {
		sums->size = 10 * i;
		if ((i & (i - 1)) == 0 && i >= 64) {
			fenced_refuse(0);
			assert_int_equal(add_mark(sums, 7), -ENOMEM);
		}
		assert_int_equal(add_mark(sums, 3 * i), 0);
	}
	assert_int_equal(sums->mark_count, 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(sums->marks[i].off == 10 * i);
		assert_true(sums->marks[i].after == 3 * i);
	}
	free_sums(sums);
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
		WITH_STORE(damaged_points_have_a_line),
		WITH_STORE(a_look_that_fails_leaves_nothing),
		WITH_STORE(only_what_has_changed_is_looked_at),
		WITH_STORE(a_glance_is_enough),
		WITH_STORE(large_payloads_are_read_in_part),
		WITH_STORE(readers_begin_near_their_place),
		WITH_STORE(a_place_is_found_exactly),
		WITH_STORE(a_look_needs_memory),
		WITH_STORE(a_look_is_shared),
		WITH_STORE(what_is_known_is_kept_for_a_look),
		WITH_STORE(kinds_stand_at_their_cookies),
		WITH_STORE(marks_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
