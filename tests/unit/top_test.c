/* What `payloadctl top` makes of two readings of stats.json: rates and means of the time in
 * between, whatever else is in the text; what is no such text is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The tools' objects are not in the library. */
#include "tools/report.c"
#include "tools/top.c"

static const char first[] =
	"{\"schema\":1,\"version\":\"x\",\"pid\":42,\"uptime_ns\":1000000000,\"points\":1234,"
	"\"raw_bytes\":3000,\"container_bytes\":900,\"slot_bytes\":100,\"records\":100,"
	"\"sequence\":9,\"durable_sequence\":7,\"read_only\":false,\"new\":[{\"pid\":7}],"
	"\"import\":{\"documents\":5,\"points\":6,\"last_error\":null},"
	"\"operations\":{\"lookup\":{\"count\":1000,\"total_ns\":2000000,\"p50_ns\":1500,"
	"\"p99_ns\":25000,\"p999_ns\":3000000,\"max_ns\":4000000000},"
	"\"read\":{\"count\":0,\"total_ns\":0},"
	"\"write\":{\"count\":10,\"total_ns\":50,\"p50_ns\":5}}}\n";
static const char second[] =
	"{\"pid\":42,\"uptime_ns\":3000000000,\"points\":1,\"records\":2100,\"read_only\":true,"
	"\"operations\":{\"write\":{\"count\":14,\"total_ns\":4000050},"
	"\"lookup\":{\"count\":1001,\"total_ns\":2090000}}}";

static struct top_reading *parsed(const char *text)
{
	struct top_reading *r = malloc(sizeof(*r));

	assert_int_equal(top_parse(r, text, strlen(text)), 0);
	return r;
}

/* Prints into a text that the caller frees. */
static char *printed(const struct top_reading *before, const struct top_reading *now,
		     unsigned columns, unsigned lines)
{
	size_t len;
	char *text;
	FILE *out = open_memstream(&text, &len);

	top_print(out, "/m", before, now, columns, lines, "\n");
	fclose(out);
	return text;
}

/* Proves: members are read where they belong, those of other objects and unknown ones are not. */
static void members_are_read(void **state)
{
	struct top_reading *r = parsed(first);

	(void)state;
	assert_int_equal(r->pid, 42);
	assert_int_equal(r->points, 1234);
	assert_int_equal(r->records, 100);
	assert_false(r->read_only);
	assert_int_equal(r->count, 3);
	assert_string_equal(r->operations[0].name, "lookup");
	assert_int_equal(r->operations[0].count, 1000);
	assert_true(r->operations[0].max_ns == UINT64_C(4000000000));
	assert_int_equal(r->operations[2].p50_ns, 5);
	free(r);
	r = parsed(second);
	assert_true(r->read_only);
	free(r);
}

/* Proves: whatever is cut off, and what is not an object of a daemon, is refused. */
static void other_texts_are_refused(void **state)
{
	static const char *const bad[] = {
		"",	      "[]", "42", "{}", "{\"pid\":0}", "{\"pid\":1} x", "{\"pid\":1,}",
		"{\"pid\" 1}"};
	struct top_reading *r = malloc(sizeof(*r));

	(void)state;
	for (size_t i = 0; i < pfs_array_len(bad); i++)
		assert_int_equal(top_parse(r, bad[i], strlen(bad[i])), -EPROTO);
	for (size_t len = 0; len < sizeof(first) - 2; len++) {
		char *cut = malloc(len + 1);

		memcpy(cut, first, len);
		assert_int_equal(top_parse(r, cut, len), -EPROTO);
		free(cut);
	}
	free(r);
}

/* Proves: more operations than there is room for, and names that are too long, do no harm. */
static void hostile_operations_do_no_harm(void **state)
{
	char text[8192];
	size_t len =
		(size_t)snprintf(text, sizeof(text), "{\"pid\":1,\"operations\":{\"%0100d\":{}", 1);
	struct top_reading *r;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					",\"o%u\":{\"count\":99999999999999999999}", i);
	snprintf(text + len, sizeof(text) - len, ",\"x\":7}}");
	r = parsed(text);
	assert_int_equal(r->count, TOP_OPERATIONS_MAX);
	assert_string_equal(r->operations[0].name, "o0");
	assert_true(r->operations[0].count == UINT64_MAX);
	free(r);
}

/* Proves: rates and means are of the time between two readings, of the whole time in the first. */
static void rates_are_of_the_time_between(void **state)
{
	struct top_reading *a = parsed(first), *b = parsed(second);
	char *text = printed(NULL, a, 200, 100), *row;

	(void)state;
	assert_non_null(strstr(text, "/m: 1,234 documents, process 42, up 0:00:01\n"));
	assert_non_null(strstr(text, "3.0 kB in 1.0 kB (3.00 to 1)"));
	assert_non_null(strstr(text, "2 of 9 changes not yet synced"));
	assert_non_null(strstr(text, "store/s   100 records,"));
	assert_non_null(strstr(text, "of all 1.0 s;"));
	row = strstr(text, "\nlookup");
	assert_non_null(
		strstr(row, "     1,000    2.0 us    1.5 us     25 us    3.0 ms     4.0 s\n"));
	assert_true(strstr(text, "\nwrite") > row);
	assert_null(strstr(text, "\nread "));
	free(text);

	text = printed(a, b, 200, 100);
	assert_non_null(strstr(text, "/m: 1 document, process 42, up 0:00:03, read-only\n"));
	assert_non_null(strstr(text, "store/s   1,000 records,"));
	assert_non_null(strstr(text, "of the last 2.0 s;"));
	row = strstr(text, "\nwrite");
	assert_int_equal(strncmp(row, "\nwrite                 2.0    1.0 ms", 34), 0);
	row = strstr(row, "\nlookup");
	assert_non_null(row);
	assert_int_equal(strncmp(row, "\nlookup                0.5     90 us", 34), 0);
	free(text);

	assert_true(top_follows(a, b));
	assert_false(top_follows(b, a));
	b->pid = 43;
	assert_false(top_follows(a, b));
	/* A counter that went back is no rate. */
	assert_true(top_rate(10, 5, 1) == 0);
	assert_true(top_rate(5, 10, 0) == 0);
	assert_int_equal(top_mean_ns(&a->operations[0], &a->operations[2]), 0);
	free(a);
	free(b);
}

/* Proves: a block has no more lines, and no longer ones, than there is room for. */
static void a_block_fits(void **state)
{
	struct top_reading *r = parsed(first);

	(void)state;
	for (unsigned lines = 0; lines < 14; lines++) {
		char *text = printed(NULL, r, 30, lines);
		unsigned count = 0;

		for (char *p = text, *end; (end = strchr(p, '\n')); p = end + 1, count++)
			assert_true(end - p <= 30);
		assert_int_equal(count, pfs_min_u64(lines, 10));
		free(text);
	}
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_read),
		cmocka_unit_test(other_texts_are_refused),
		cmocka_unit_test(hostile_operations_do_no_harm),
		cmocka_unit_test(rates_are_of_the_time_between),
		cmocka_unit_test(a_block_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
