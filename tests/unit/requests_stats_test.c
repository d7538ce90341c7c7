/* stats.json: each number is that of its source, under its name, in valid JSON, however long it
 * gets. */
#include <inttypes.h>
#include <unistd.h>

#include "fs/clock.h"
#include "storage/monotonic.h"
#include "storage/json_scan.h"
#include "storage/version.h"
#include "tests/unit/fake_kernel.h"

/* What the sources say. */
static struct {
	struct pfs_store_stat stat;
	int stat_err;
	struct pfs_remote_stat remote;
	int remote_err;
	struct pfs_json_stat json;
} fake;

static int fake_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	(void)store;
	*out = fake.stat;
	return fake.stat_err;
}

static int fake_remote(struct pfs_store *store, struct pfs_remote_stat *out)
{
	(void)store;
	*out = fake.remote;
	return fake.remote_err;
}

static void fake_json(struct pfs_json_check *check, struct pfs_json_stat *out)
{
	(void)check;
	*out = fake.json;
}

/* The daemon's objects have the true one. */
int make_stats(struct pfs_control *control, char **out, size_t *len);

#define pfs_control_stats make_stats
#define pfs_store_stat(store, out) fake_stat(store, out)
#define pfs_store_remote_stat fake_remote
#define pfs_json_check_stat fake_json
#include "fs/control_stats.c"
#undef pfs_json_check_stat
#undef pfs_store_remote_stat
#undef pfs_store_stat
#undef pfs_control_stats
#undef put

struct fixture {
	struct pfs_control control;
	struct pfs_import_totals totals;
	char *text;
	size_t len;
};

static const char *const names[] = {"first", "second", "none"};

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(&fake, 0, sizeof(fake));
	fake.remote_err = -EOPNOTSUPP;
	pthread_mutex_init(&f->totals.lock, NULL);
	f->control.imports = &f->totals;
	f->control.begun_ns = pfs_now_monotonic() - 1000;
	f->control.env.names = names;
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	pfs_histograms_free(f->control.env.latencies);
	pthread_mutex_destroy(&f->totals.lock);
	free(f->text);
	free(f);
	return 0;
}

/* The text is one JSON value in one line. */
static void make(struct fixture *f)
{
	struct pfs_json_scan scan;

	free(f->text);
	assert_int_equal(make_stats(&f->control, &f->text, &f->len), 0);
	assert_int_equal(strlen(f->text), f->len);
	assert_int_equal(f->text[f->len - 1], '\n');
	assert_int_equal(pfs_json_scan_value(&scan, (uint8_t *)f->text,
					     (uint8_t *)f->text + f->len - 1, true),
			 PFS_JSON_OK);
	assert_ptr_equal(scan.at, f->text + f->len - 1);
}

/* What follows the member's name. */
static const char *member(const struct fixture *f, const char *name)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), ",\"%s\":", name);
	at = strstr(f->text, quoted);
	assert_non_null(at);
	return at + strlen(quoted);
}

static void expect_member(const struct fixture *f, const char *name, const char *want)
{
	if (strncmp(member(f, name), want, strlen(want)) != 0)
		fail_msg("%s: %.200s, not %s", name, member(f, name), want);
}

/* Proves: it begins with what the process is and since when, then come the store's numbers, then
 * those that are not there. */
static void it_begins_with_the_process(void **state)
{
	struct fixture *f = *state;
	char members[PFS_STAT_JSON_MAX], head[128];
	int64_t before = pfs_realtime_ns(), time_ns, uptime_ns;
	const char *at;

	for (unsigned i = 0; i < 2; i++) {
		fake.stat.read_only = i;
		fake.stat.points = 4711;
		make(f);
		snprintf(head, sizeof(head), "{\"schema\":1,\"version\":\"%s\",\"pid\":%ld,",
			 PFS_VERSION, (long)getpid());
		assert_memory_equal(f->text, head, strlen(head));
		assert_int_equal(sscanf(member(f, "time_ns"), "%" SCNd64, &time_ns), 1);
		assert_true(time_ns >= before && time_ns <= pfs_realtime_ns());
		assert_int_equal(sscanf(member(f, "uptime_ns"), "%" SCNd64, &uptime_ns), 1);
		assert_true(uptime_ns >= 1000 &&
			    uptime_ns <= pfs_now_monotonic() - f->control.begun_ns);
		at = member(f, "read_only");
		assert_memory_equal(at, i ? "true," : "false,", 5 + !i);
		at += 5 + !i;
		pfs_store_stat_json(members, sizeof(members), &fake.stat);
		assert_memory_equal(at, members, strlen(members));
		assert_string_equal(at + strlen(members),
				    ",\"import\":{\"documents\":0,\"bytes\":0,\"refused\":0,"
				    "\"last_error\":null},\"json\":null,\"remote\":null,"
				    "\"operations\":{}}\n");
	}
}

/* Proves: a store that does not tell its numbers has none of them told. */
static void no_numbers_are_an_error(void **state)
{
	struct fixture *f = *state;

	fake.stat_err = -EIO;
	assert_int_equal(make_stats(&f->control, &f->text, &f->len), -EIO);
}

/* Proves: of each operation the count, the sum and the percentiles are told: the value that so many
 * do not pass. */
static void operations_have_their_percentiles(void **state)
{
	struct fixture *f = *state;
	struct pfs_histograms *h;

	assert_int_equal(pfs_histograms_new(&h, pfs_array_len(names)), 0);
	f->control.env.latencies = h;
	/* At the very place of each percentile another value begins. */
	for (unsigned i = 1; i <= 100000; i++)
		pfs_histograms_add(h, 0,
				   i < 50000	? 3
				   : i < 99000	? 5
				   : i < 99900	? 20
				   : i < 100000 ? 30
						: 31);
	pfs_histograms_add(h, 1, 1000000);
	for (f->control.env.count = 1; f->control.env.count <= 3; f->control.env.count++) {
		make(f);
		expect_member(f, "operations",
			      "{\"first\":{\"count\":100000,\"total_ns\":416028,\"p50_ns\":5,"
			      "\"p99_ns\":20,\"p999_ns\":30,\"max_ns\":31}");
		if (f->control.env.count > 1)
			expect_member(f, "second",
				      "{\"count\":1,\"total_ns\":1000000,\"p50_ns\":1000000,"
				      "\"p99_ns\":1000000,\"p999_ns\":1000000,"
				      "\"max_ns\":1000000}");
		if (f->control.env.count > 2)
			expect_member(f, "none",
				      "{\"count\":0,\"total_ns\":0,\"p50_ns\":0,\"p99_ns\":0,"
				      "\"p999_ns\":0,\"max_ns\":0}}}\n");
	}
}

/* Proves: of imports and of a remote collection each number has its name. */
static void each_number_has_its_name(void **state)
{
	struct fixture *f = *state;

	f->totals.documents = 11;
	f->totals.bytes = 22;
	f->totals.refused = 33;
	strcpy(f->totals.last_error, "line 5: \"}\" is missing");
	fake.remote_err = 0;
	fake.remote = (struct pfs_remote_stat){
		.memory_hits = 1,
		.disk_hits = 2,
		.fetched = 3,
		.fetches = 4,
		.fetched_bytes = 5,
		.failed = 6,
		.wrong = 7,
		.memory_bytes = 8,
		.disk_bytes = 9,
		.evicted = 10,
	};
	make(f);
	expect_member(f, "import",
		      "{\"documents\":11,\"bytes\":22,\"refused\":33,"
		      "\"last_error\":\"line 5: \\\"}\\\" is missing\"},");
	expect_member(f, "remote",
		      "{\"memory_hits\":1,\"disk_hits\":2,\"fetched\":3,\"fetches\":4,"
		      "\"fetched_bytes\":5,\"failed\":6,\"wrong\":7,\"memory_bytes\":8,"
		      "\"disk_bytes\":9,\"evicted\":10},");
}

/* Proves: with json=check what it has found is told, the last of it with its id as it is written
 * in JSON. */
static void what_is_no_json_is_told(void **state)
{
	static const char uuid[] = "c0ffee00-0000-4000-8000-000000000001";
	struct fixture *f = *state;
	char want[256];

	f->control.env.json_check = (struct pfs_json_check *)f; /* only not NULL */
	fake.json = (struct pfs_json_stat){.checked = 9, .invalid_seen = 8, .invalid = 7};
	make(f);
	expect_member(f, "json", "{\"checked\":9,\"invalid_seen\":8,\"invalid\":7,\"last\":null},");
	fake.json.last = pfs_key_num(65);
	fake.json.last_off = 12;
	fake.json.last_why = "what \"is\" this";
	make(f);
	expect_member(f, "json",
		      "{\"checked\":9,\"invalid_seen\":8,\"invalid\":7,\"last\":{\"id\":65,"
		      "\"offset\":12,\"error\":\"what \\\"is\\\" this\"}},");
	fake.json.last = key_named(uuid);
	make(f);
	snprintf(want, sizeof(want), "{\"id\":\"%s\",\"offset\":12,", uuid);
	expect_member(f, "last", want);
}

/* Proves: there is room for the longest that each part can be; what is said of a payload is cut. */
static void there_is_room_for_all(void **state)
{
	struct fixture *f = *state;
	char why[200];

	memset(&fake.remote, 0xff, sizeof(fake.remote));
	memset(&fake.stat, 0xff, sizeof(fake.stat));
	fake.stat.read_only = fake.stat.dictionary_off = fake.stat.dictionary_trainer = true;
	fake.stat.doubt = true;
	fake.remote_err = 0;
	memset(f->totals.last_error, 1, sizeof(f->totals.last_error) - 1);
	memset(why, 2, sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	f->control.env.json_check = (struct pfs_json_check *)f; /* only not NULL */
	fake.json = (struct pfs_json_stat){.last = pfs_key_num(UINT64_MAX), .last_why = why};
	make(f);
	expect_member(f, "operations", "{}}\n");
	assert_non_null(strstr(f->text, "\\u0002\"}}"));
	for (const char *at = f->text; (at = strstr(at, "\\u0002")); at += 6)
		why[0]++;
	assert_int_equal(why[0], 2 + 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_begins_with_the_process),	 TEST(no_numbers_are_an_error),
		TEST(operations_have_their_percentiles), TEST(each_number_has_its_name),
		TEST(what_is_no_json_is_told),		 TEST(there_is_room_for_all),
	};

	return cmocka_run_group_tests_name("stats.json", tests, NULL, NULL);
}
