/* The reader of import: streams of records and scroll bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/base64.h"
#include "storage/json_scan.h"
#include "storage/ndjson.h"
#include "tests/unit/fenced.h"
/* A record that is too large should not take a gigabyte here. */
#undef PFS_NDJSON_RECORD_MAX
#define PFS_NDJSON_RECORD_MAX (4 * PFS_MIB)
#undef PFS_NDJSON_PAYLOAD_MAX
#define PFS_NDJSON_PAYLOAD_MAX (PFS_NDJSON_RECORD_MAX - 64)

/* What is in memory before anything was read to it. */
static int dirt;

static void *get_dirty(size_t len)
{
	void *block = fenced_malloc(len);

	if (block)
		memset(block, dirt, len);
	return block;
}

#undef malloc
#define malloc(len) get_dirty(len)
#include "storage/ndjson.c"
#include "storage/window.c"
#undef malloc
#undef calloc
#undef realloc
#undef free

#define UUID "c0ffee00-0000-4000-8000-000000000001"

/* Feeds text to a socket in pieces; of a SOCK_SEQPACKET each read gets one. */
struct feeder {
	int fd;
	const char *text;
	size_t len, piece;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;

	for (size_t off = 0; off < f->len; off += f->piece) {
		size_t n = pfs_min_u64(f->piece, f->len - off);

		if (send(f->fd, f->text + off, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
	}
	close(f->fd);
	return NULL;
}

/* What the reader makes of the text, as lines `LINE.POINT ID=PAYLOAD` and `LINE.POINT! REASON`. */
static char *transcript(const char *text, size_t len, size_t piece)
{
	struct feeder feeder = {.text = text, .len = len, .piece = piece};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	char *out = NULL;
	size_t out_len;
	FILE *stream = open_memstream(&out, &out_len);
	pthread_t thread;
	int fds[2], more;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	feeder.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, feed, &feeder), 0);
	assert_int_equal(pfs_ndjson_open(&reader, fds[0], NULL, NULL), 0);
	while ((more = pfs_ndjson_next(reader, &doc)) != 0) {
		const struct pfs_ndjson_fault *fault = pfs_ndjson_fault(reader);
		char key[PFS_NAME_MAX + 1];

		if (more == -EBADMSG) {
			fprintf(stream, "%" PRIu64 ".%" PRIu64 "! %s\n", fault->line, fault->point,
				fault->text);
			continue;
		}
		assert_int_equal(more, 1);
		pfs_key_format(key, &doc.key);
		fprintf(stream, "%" PRIu64 ".%" PRIu64 " %s=%.*s\n", doc.line, doc.point, key,
			(int)doc.len, (const char *)doc.payload);
	}
	assert_int_equal(pfs_ndjson_bytes(reader), len);
	pfs_ndjson_close(reader);
	close(fds[0]);
	pthread_join(thread, NULL);
	fclose(stream);
	return out;
}

static void expect_of(const char *text, size_t len, const char *wanted)
{
	static const size_t pieces[] = {1, 2, 3, 7, 32, 4096};

	for (size_t i = 0; i < pfs_array_len(pieces); i++) {
		char *got = transcript(text, len, pieces[i]);

		if (strcmp(got, wanted) != 0)
			fail_msg("in pieces of %zu:\n%s\ninstead of\n%s", pieces[i], got, wanted);
		free(got);
	}
}

static void expect(const char *text, const char *wanted)
{
	expect_of(text, strlen(text), wanted);
}

/* Of a text that may have any bytes. */
#define EXPECT_BYTES(text, wanted) expect_of(text, sizeof(text) - 1, wanted)

/* Proves: payloads come out byte for byte, whatever is around them, and each id has its text forms.
 */
static void records_are_read_exactly(void **state)
{
	(void)state;
	expect("", "");
	expect("\n \r\n\t\n", "");
	expect("\xef\xbb\xbf{\"id\":1,\"payload\":{}}", "1.0 1={}\n");
	expect("{\"id\":1,\"payload\":{\"b\": 1.50, \"a\" :[1e2,  2]  "
	       "}}\n{\"id\":2,\"payload\":null}\r\n",
	       "1.0 1={\"b\": 1.50, \"a\" :[1e2,  2]  }\n2.0 2=null\n");
	expect("{\"id\":0,\"payload\":\"x\"}{\"id\":18446744073709551615,\"payload\":-0.0}\n\n"
	       "{\"id\":\"7\",\"payload\":[]}",
	       "1.0 0=\"x\"\n1.0 18446744073709551615=-0.0\n3.0 7=[]\n");
	expect("{\"vector\":[0.1,0.2],\"payload\":{\"id\":\"no\",\"payload\":3},\"score\":1,\"id\":"
	       "\"" UUID "\"}",
	       "1.0 " UUID "={\"id\":\"no\",\"payload\":3}\n");
	expect("{\"\\u0069d\":5,\"p\\u0061yload\":true}", "1.0 5=true\n");
	expect("{\n  \"id\": 5,\n  \"payload\": {\n    \"a\": 1\n  }\n}\n{\n  \"id\": 6,\n  "
	       "\"payload\": 2\n}\n",
	       "1.0 5={\n    \"a\": 1\n  }\n7.0 6=2\n");
	expect("{\"id\":1,\"payload_base64\":\"aGkKeW91\"}\n{\"id\":2,\"payload_base64\":\"\"}\n"
	       "{\"id\":3,\"payload_base64\":\"\\/\\/4=\"}",
	       "1.0 1=hi\nyou\n2.0 2=\n3.0 3=\xff\xfe\n");
	expect("{\"id\":1,\"payload\":{\"result\":{\"points\":[]}}}\n{\"id\":2,\"payload\":1,"
	       "\"result\":{\"points\":[3]}}",
	       "1.0 1={\"result\":{\"points\":[]}}\n2.0 2=1\n");
}

#define NO_ID " is not an unsigned 64-bit integer and not a UUID in lower case with hyphens\n"

/* Proves: a record that is JSON but no document is refused with its line, and the next one is read.
 */
static void records_that_are_no_documents_are_refused(void **state)
{
	(void)state;
	expect("{\"payload\":1}\n{\"id\":1}\n{}\n{\"id\":1,\"payload\":2,\"payload_base64\":\"\"}\n"
	       "{\"id\":1,\"id\":2,\"payload\":3}\n{\"id\":1,\"payload\":2,\"payload\":3}\n"
	       "{\"id\":1,\"payload_base64\":7}\n{\"id\":1,\"payload_base64\":\"a\"}\n{\"id\":9,"
	       "\"payload\":9}",
	       "1.0! no id: a record is {\"id\":..., \"payload\":...}\n2.0! no payload\n"
	       "3.0! no id: a record is {\"id\":..., \"payload\":...}\n4.0! both payload and "
	       "payload_base64\n"
	       "5.0! the member \"id\" is there twice\n6.0! the member \"payload\" is there twice\n"
	       "7.0! payload_base64 is not a string\n8.0! payload_base64 is not base64\n9.0 9=9\n");
	expect("{\"id\":-1,\"payload\":1}\n{\"id\":1.0,\"payload\":1}\n{\"id\":1e3,\"payload\":1}\n"
	       "{\"id\":18446744073709551616,\"payload\":1}\n{\"id\":\"007\",\"payload\":1}\n"
	       "{\"id\":\"note\",\"payload\":1}\n{\"id\":\"\",\"payload\":1}\n{\"id\":null,"
	       "\"payload\":1}\n"
	       "{\"id\":{\"a\":1},\"payload\":1}\n"
	       "{\"id\":\"C0FFEE00-0000-4000-8000-000000000001\",\"payload\":1}\n"
	       "{\"id\":9,\"payload\":9}\n",
	       "1.0! id -1" NO_ID "2.0! id 1.0" NO_ID "3.0! id 1e3" NO_ID
	       "4.0! id 18446744073709551616" NO_ID "5.0! id \"007\"" NO_ID "6.0! id \"note\"" NO_ID
	       "7.0! id \"\"" NO_ID "8.0! id null" NO_ID "9.0! id {\"a\":1}" NO_ID
	       "10.0! id \"C0FFEE00-0000-4000-8000-000000000001\"" NO_ID "11.0 9=9\n");
}

/* Proves: of an id that is none, so much is said as tells it, and no more. */
static void long_ids_are_cut_in_messages(void **state)
{
	char text[2 * PFS_NAME_MAX], wanted[256], id[PFS_NAME_MAX + 8];

	(void)state;
	for (int len = 46; len < 52; len++) {
		memset(id, '9', sizeof(id));
		snprintf(text, sizeof(text), "{\"id\":%.*s,\"payload\":1}", len, id);
		snprintf(wanted, sizeof(wanted), "1.0! id %.*s%s" NO_ID, len < 48 ? len : 48, id,
			 len > 48 ? "..." : "");
		expect(text, wanted);
		/* As a string its quotes count. */
		snprintf(text, sizeof(text), "{\"id\":\"%.*s\",\"payload\":1}", len - 2, id);
		snprintf(wanted, sizeof(wanted), "1.0! id \"%.*s%s" NO_ID, len <= 48 ? len - 2 : 47,
			 id, len <= 48 ? "\"" : "...");
		expect(text, wanted);
	}
	for (int len = PFS_NAME_MAX - 2; len < PFS_NAME_MAX + 4; len++) {
		memset(id, '9', sizeof(id));
		snprintf(text, sizeof(text), "{\"id\":%.*s,\"payload\":1}", len, id);
		snprintf(wanted, sizeof(wanted), "1.0! id %.*s%s" NO_ID, len < 48 ? len : 48, id,
			 len > 48 ? "..." : "");
		expect(text, wanted);
	}
	/* Digits and what stands next to them. */
	expect("{\"id\":\"/\",\"payload\":1}{\"id\":\":\",\"payload\":1}"
	       "{\"id\":9,\"payload\":1}{\"id\":0,\"payload\":1}{\"id\":\"" UUID "\",\"payload\":1}"
	       "{\"id\":\"" UUID "0\",\"payload\":1}{\"id\":\"scratch\",\"payload\":1}",
	       "1.0! id \"/\"" NO_ID "1.0! id \":\"" NO_ID "1.0 9=1\n1.0 0=1\n1.0 " UUID
	       "=1\n1.0! id \"" UUID "0\"" NO_ID "1.0! id \"scratch\"" NO_ID);
}

#define WANTED \
	"a record {\"id\":..., \"payload\":...} or the body of a scroll response is expected\n"

/* Proves: after a syntax error the rest of its line is skipped and no more, unless the record spans
 * lines: then reading goes on at the next line that begins with a brace. */
static void broken_lines_are_refused_and_the_next_is_read(void **state)
{
	(void)state;
	expect("rubbish\n[1]\n{\"id\":1,\"payload\":1}\n\"x\"",
	       "1.0! column 1: " WANTED "2.0! column 1: " WANTED "3.0 1=1\n4.0! column 1: " WANTED);
	expect("{\"id\":1,\"payload\":{\"a\":}}\n{\"id\":2,\"payload\":2}\n",
	       "1.0! column 24: a JSON value is expected\n2.0 2=2\n");
	expect("{\"id\":1,\"payload\":\"open\n{\"id\":2,\"payload\":2}\n",
	       "1.0! column 24: a string is not closed in its line\n2.0 2=2\n");
	expect("{\"id\":1,\"payload\":{\"a\":1}\n{\"id\":2,\"payload\":2}\n",
	       "1.0! at line 2, column 1: a comma or a closing brace is expected\n2.0 2=2\n");
	expect("{\"id\":1,\"payload\":\n{\"id\":2,\"payload\":2}\n",
	       "1.0! at line 3, column 1: the input ends inside a record\n2.0 2=2\n");
	expect("{\n  \"id\": 1,\n  \"payload\": oops\n}\n{\n  \"id\": 2,\n  \"payload\": 2\n}\n",
	       "1.0! at line 3, column 14: a JSON value is expected\n5.0 2=2\n");
	expect("{\"id\":1,\"payload\":1} trailing\n{\"id\":2,\"payload\":2}",
	       "1.0 1=1\n1.0! column 22: " WANTED "2.0 2=2\n");
	expect("{\"id\":1,\"payload\":{\"a\":1",
	       "1.0! column 25: the input ends inside a record\n");
	/* The same behind one that is good. */
	expect("{\"id\":1,\"payload\":1}\n{\n\"id\":2,\noops\n}\nrubbish\n{\"id\":3,\"payload\":3}"
	       "\n",
	       "1.0 1=1\n2.0! at line 4, column 1: a member name in quotes is expected\n7.0 3=3\n");
	expect("{\"id\":1,\"payload\":1}\n{\"id\":}\nrubbish\n{\"id\":3,\"payload\":3}\n",
	       "1.0 1=1\n2.0! column 7: a JSON value is expected\n3.0! column 1: " WANTED
	       "4.0 3=3\n");
	expect("{\"id\":1,\"payload\":1} {\"id\":}\nrubbish\n{\"id\":3,\"payload\":3}\n",
	       "1.0 1=1\n1.0! column 28: a JSON value is expected\n2.0! column 1: " WANTED
	       "3.0 3=3\n");
	/* Bytes that text has none of. */
	EXPECT_BYTES("\0{}\n{\"id\":1\0}\n{\"id\":2,\"payload\":2}",
		     "1.0! column 1: " WANTED
		     "2.0! column 8: a comma or a closing brace is expected\n3.0 2=2\n");
	expect("{\"id\":1,}\n{\"id\":1 \"payload\":2}\n{,}\n{\"id\" 1}\n{ }\n{",
	       "1.0! column 9: a member name in quotes is expected\n"
	       "2.0! column 9: a comma or a closing brace is expected\n"
	       "3.0! column 2: a member name in quotes is expected\n"
	       "4.0! column 7: a colon is expected\n"
	       "5.0! no id: a record is {\"id\":..., \"payload\":...}\n"
	       "6.0! column 2: the input ends inside a record\n");
}

/* Proves: a byte order mark is none of the input's first line, and stands at its very beginning or
 * is a fault; inputs that are shorter than one are read, too. */
static void a_byte_order_mark_begins_the_input(void **state)
{
	(void)state;
	expect("\xef\xbb\xbf", "");
	expect("\xef\xbb\xbf"
	       "rubbish\n{\"id\":1,\"payload\":1}",
	       "1.0! column 1: " WANTED "2.0 1=1\n");
	expect("\xef\xbb\xbf{\"id\":1,\"payload\":?}",
	       "1.0! column 19: a JSON value is expected\n");
	expect("\xef\xbb\xbf\xef\xbb\xbf{}", "1.0! column 1: " WANTED);
	expect("{\"id\":1,\"payload\":1}\n\xef\xbb\xbf{\"id\":2,\"payload\":2}",
	       "1.0 1=1\n2.0! column 1: " WANTED);
	expect("\xef\xbb{}", "1.0! column 1: " WANTED);
	expect("\xef\xbb {\"id\":1,\"payload\":1}", "1.0! column 1: " WANTED);
	expect("{\"id\":1,\"payload\":1}\xef\xbb\xbf{\"id\":2,\"payload\":2}",
	       "1.0 1=1\n1.0! column 21: " WANTED);
	expect("\xef\xbb", "1.0! column 1: " WANTED);
	expect("\xef", "1.0! column 1: " WANTED);
	expect("{}", "1.0! no id: a record is {\"id\":..., \"payload\":...}\n");
	expect("x", "1.0! column 1: " WANTED);
	expect("\n", "");
}

#define BODY_1                                                    \
	"{\"result\":{\"points\":[{\"id\":1,\"payload\":{\"a\": " \
	"1},\"vector\":null},{\"id\":2,\"payload\":{}}],"         \
	"\"next_page_offset\":3},\"status\":\"ok\",\"time\":0.001}"
#define BODY_2                                                                                \
	"{\n  \"usage\": {\"hardware\": null},\n  \"result\": {\n    \"next_page_offset\": "  \
	"null,\n"                                                                             \
	"    \"points\": [\n      {\n        \"id\": \"" UUID "\",\n        \"payload\": {\n" \
	"          \"b\": 2\n        }\n      }\n    ]\n  },\n  \"status\": \"ok\"\n}\n"

/* Proves: scroll bodies in one line or pretty-printed, one after the other, and mixed with records,
 * give their points with line and ordinal. */
static void scroll_bodies_are_read(void **state)
{
	(void)state;
	expect(BODY_1, "1.1 1={\"a\": 1}\n1.2 2={}\n");
	expect(BODY_1 BODY_1 "\n" BODY_2 "{\"id\":5,\"payload\":5}",
	       "1.1 1={\"a\": 1}\n1.2 2={}\n1.1 1={\"a\": 1}\n1.2 2={}\n"
	       "7.1 " UUID "={\n          \"b\": 2\n        }\n17.0 5=5\n");
	expect("{\"result\":{\"points\":[],\"next_page_offset\":null},\"status\":\"ok\"}\n{\"id\":"
	       "5,\"payload\":5}",
	       "2.0 5=5\n");
	expect("{ \"result\" : { \"x\":1 , \"points\" : [ {\"id\":1,\"payload\":1} , "
	       "{\"id\":2,\"payload\":2} ] } }",
	       "1.1 1=1\n1.2 2=2\n");
}

/* Proves: a bad point costs only itself; a syntax error costs the rest of its body, and the next
 * body is read. */
static void faults_in_scroll_bodies_are_refused(void **state)
{
	(void)state;
	expect("{\"result\":{\"points\":[{\"id\":1},{\"id\":-2,\"payload\":2},{\"id\":3,"
	       "\"payload\":3}]}}",
	       "1.1! no payload\n1.2! id -2" NO_ID "1.3 3=3\n");
	/* Without "with_payload" every payload is null: they must not replace what is there. */
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":null},{\"id\":2,\"payload\":{}}]}}\n"
	       "{\"id\":3,\"payload\":null}",
	       "1.1! its payload was left out: scroll with \"with_payload\": true\n1.2 2={}\n"
	       "2.0 3=null\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1},7,{\"id\":3,\"payload\":3}]}}"
	       "\n" BODY_1,
	       "1.1 1=1\n1.2! column 43: a point is expected: {\"id\":..., \"payload\":...}\n"
	       "2.1 1={\"a\": 1}\n2.2 2={}\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1} "
	       "{\"id\":3,\"payload\":3}]}}\n" BODY_1,
	       "1.1 1=1\n1.1! column 43: a comma or a closing bracket is expected\n"
	       "2.1 1={\"a\": 1}\n2.2 2={}\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1}\n" BODY_1,
	       "1.1 1=1\n2.1! column 1: a comma or a closing bracket is expected\n2.1 1={\"a\": "
	       "1}\n2.2 2={}\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1},",
	       "1.1 1=1\n1.1! column 43: the input ends inside a scroll body\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1},{\"id\":2",
	       "1.1 1=1\n1.2! column 50: the input ends inside a record\n");
	expect("{\"result\":{\"next\":1", "1.0! column 20: the input ends inside a scroll body\n");
	expect("{\"result\":{\"a\":1},\"status\":\"ok\"}\n{\"id\":5,\"payload\":5}",
	       "1.0! \"result\" holds no \"points\"\n2.0 5=5\n");
	expect("{\"result\":{\"points\":[]},\"result\":{\"points\":[]}}\n{\"id\":5,\"payload\":5}",
	       "1.0! column 25: a second \"result\" in a scroll body\n2.0 5=5\n");
	/* Lines of a body that are left over are none of their own. */
	expect("{\"result\":{\"points\":[\n{\"id\":1,\"payload\":1},\n  oops,\n  7\n]}}\n"
	       "{\"id\":5,\"payload\":5}",
	       "2.1 1=1\n3.2! column 3: a point is expected: {\"id\":..., \"payload\":...}\n"
	       "6.0 5=5\n");
	expect("{\"result\":{\"points\":{}}}\n{\"id\":5,\"payload\":5}",
	       "1.0! \"result\" holds no \"points\"\n2.0 5=5\n");
	/* The fault is where "result" ends, not the body. */
	expect("{\"result\":{\"a\":1\n}\n,\"status\":\"ok\"\n}\n{\"id\":5,\"payload\":5}",
	       "2.0! \"result\" holds no \"points\"\n5.0 5=5\n");
	/* Other arrays are no points, also of that name. */
	expect("{\"result\":{\"x\":[{\"id\":1,\"payload\":1}],\"points\":[{\"id\":2,\"payload\":2}]"
	       "},"
	       "\"points\":[{\"id\":3,\"payload\":3}]}",
	       "1.1 2=2\n");
	/* Payloads as long as null are others. */
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":true},{\"id\":2,\"payload\":1234},"
	       "{\"id\":3,\"payload\":\"ab\"},{\"id\":4,\"payload\":[ ]}]}}",
	       "1.1 1=true\n1.2 2=1234\n1.3 3=\"ab\"\n1.4 4=[ ]\n");
	/* Bytes that text has none of, at each place. */
	EXPECT_BYTES(
		"{\"result\":{\"points\":[\0]}}\n{\"id\":5,\"payload\":5}",
		"1.1! column 22: a point is expected: {\"id\":..., \"payload\":...}\n2.0 5=5\n");
	EXPECT_BYTES("{\"result\":{\"points\":[{\"id\":1,\"payload\":1}\0]}}\n",
		     "1.1 1=1\n1.1! column 42: a comma or a closing bracket is expected\n");
	EXPECT_BYTES(
		"{\"result\":{\"points\":[{\"id\":1,\"payload\":1},\0]}}\n",
		"1.1 1=1\n1.2! column 43: a point is expected: {\"id\":..., \"payload\":...}\n");
	expect("{\"result\":{\"points\":[,{\"id\":1,\"payload\":1}]}}\n",
	       "1.1! column 22: a point is expected: {\"id\":..., \"payload\":...}\n");
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1},]}}\n",
	       "1.1 1=1\n1.2! column 43: a point is expected: {\"id\":..., \"payload\":...}\n");
	expect("{\"result\":{\"points\":[],}}\n",
	       "1.0! column 24: a member name in quotes is expected\n");
	expect("{\"result\":{,}}\n", "1.0! column 12: a member name in quotes is expected\n");
	/* A point that is broken in its third line: what is left begins behind that line. */
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":\n{\"a\":\n{\"b\": oops\n}}}]}}\n"
	       "{\"id\":5,\"payload\":5}",
	       "1.1! at line 3, column 7: a JSON value is expected\n5.0 5=5\n");
	/* A body that is broken where a line ends is left with that line. */
	expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1},\n?\n{\"id\":5,\"payload\":5}",
	       "1.1 1=1\n2.2! column 1: a point is expected: {\"id\":..., \"payload\":...}\n"
	       "3.0 5=5\n");
	expect("{\"result\":{\"points\":[]},\"x\":1,\"result\":7}\n{\"id\":5,\"payload\":5}",
	       "1.0! column 31: a second \"result\" in a scroll body\n2.0 5=5\n");
	/* What comes before "result" decides whether it is a body. */
	expect("{\"id\":1,\"result\":{\"points\":[{\"id\":2,\"payload\":2}]}}\n"
	       "{\"payload_base64\":\"\",\"result\":{\"points\":[]},\"id\":3}\n"
	       "{\"result\":7,\"id\":4,\"payload\":4}\n{\"other\":{\"points\":[]},\"id\":5,"
	       "\"payload\":5}",
	       "1.0! no payload\n2.0 3=\n3.0 4=4\n4.0 5=5\n");
}

/* Proves: buffers for base64 grow from record to record, and each has its own bytes. */
static void payloads_in_base64_may_grow(void **state)
{
	(void)state;
	expect("{\"id\":1,\"payload_base64\":\"YQ==\"}{\"id\":2,\"payload_base64\":\"YWE=\"}"
	       "{\"id\":3,\"payload_base64\":\"YWFhYWFh\"}{\"id\":4,\"payload_base64\":\"Yg==\"}"
	       "{\"id\":5,\"payload_base64\":\"YWFhYWFhYWFhYWFh\"}"
	       "{\"id\":6,\"payload_base64\":\"\\u0059\\u0067==\"}"
	       "{\"id\":7,\"payload_base64\":\"Y\"}{\"id\":8,\"payload_base64\":\"\\ud800\"}"
	       "{\"id\":9,\"payload_base64\":null}",
	       "1.0 1=a\n1.0 2=aa\n1.0 3=aaaaaa\n1.0 4=b\n1.0 5=aaaaaaaaaaaa\n1.0 6=b\n"
	       "1.0! payload_base64 is not base64\n1.0! payload_base64 is not base64\n"
	       "1.0! payload_base64 is not a string\n");
}

/* Proves: a record that is larger than the window, and many small ones around it, come out whole,
 * and that the window shrinks again. */
static void large_records_pass_and_the_window_shrinks(void **state)
{
	const size_t large = 3 * 1000 * 1000, small = 100000;
	char *text = malloc(large + 2 * small * 64 + 64), *p = text;
	struct feeder feeder = {.text = text, .piece = 60000};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < 2 * small; i++) {
		p += sprintf(p, "{\"id\":%zu,\"payload\":{\"n\":%zu}}\n", i, i);
		if (i + 1 == small) {
			p += sprintf(p, "{\"id\":77777,\"payload\":\"");
			memset(p, 'x', large);
			p += large;
			p += sprintf(p, "\"}\n");
		}
	}
	feeder.len = (size_t)(p - text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	feeder.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, feed, &feeder), 0);
	assert_int_equal(pfs_ndjson_open(&reader, fds[0], NULL, NULL), 0);
	for (size_t i = 0; i < 2 * small; i++) {
		char want[32];

		assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
		assert_int_equal(doc.key.num, i);
		assert_int_equal(doc.line, i < small ? i + 1 : i + 2);
		assert_int_equal(doc.len, sprintf(want, "{\"n\":%zu}", i));
		assert_memory_equal(doc.payload, want, doc.len);
		if (i + 1 == small) {
			assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
			assert_int_equal(doc.key.num, 77777);
			assert_int_equal(doc.len, large + 2);
			assert_true(reader->w.cap >= large);
		}
	}
	assert_int_equal(pfs_ndjson_next(reader, &doc), 0);
	assert_true(reader->w.cap < PFS_MIB);
	pfs_ndjson_close(reader);
	close(fds[0]);
	pthread_join(thread, NULL);
	free(text);
}

/* A file that has no name, with this content, read from its start. */
static int file_of(const char *text, size_t len)
{
	char path[] = "/tmp/payloadfs-ndjson.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Proves: a record of exactly the largest size is read; one that is larger is refused without more
 * memory, in a line and in a scroll body, and the next is read. */
static void records_that_are_too_large_are_refused(void **state)
{
	static const char head[] = "{\"id\":1,\"payload\":\"",
			  body_head[] = "{\"result\":{\"points\":[";
	static const char next[] = "\n{\"id\":2,\"payload\":2}\n";
	const size_t room = PFS_NDJSON_RECORD_MAX + PFS_KIB;
	char *text = malloc(room + sizeof(body_head) + sizeof(next));
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;

	(void)state;
	assert_non_null(text);
	for (int round = 0; round < 3; round++) {
		size_t size = round ? room : PFS_NDJSON_RECORD_MAX, blanks = round ? 0 : 64;
		char *p = text;
		int fd;

		if (round == 2)
			p = stpcpy(p, body_head);
		memset(p, 'x', size);
		memset(p, ' ', blanks);
		memcpy(p + blanks, head, sizeof(head) - 1);
		memcpy(p + size - 2, "\"}", 2);
		p[blanks] = ' ';
		p[0] = '{';
		p = stpcpy(p + size, next);
		fd = file_of(text, (size_t)(p - text));
		assert_int_equal(pfs_ndjson_open(&reader, fd, NULL, NULL), 0);
		if (round == 0) {
			assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
			assert_int_equal(doc.len, size - blanks - sizeof(head) + 1);
		} else {
			assert_int_equal(pfs_ndjson_next(reader, &doc), -EBADMSG);
			assert_non_null(strstr(pfs_ndjson_fault(reader)->text, "larger than"));
			assert_int_equal(pfs_ndjson_fault(reader)->point, round == 2);
		}
		assert_true(reader->w.cap <= PFS_NDJSON_RECORD_MAX);
		assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
		assert_int_equal(doc.key.num, 2);
		assert_int_equal(doc.line, 2);
		assert_int_equal(pfs_ndjson_next(reader, &doc), 0);
		pfs_ndjson_close(reader);
		close(fd);
	}
	free(text);
}

/* Proves: input that can't be read ends with its error, also in the middle of a record, a scroll
 * body, and a line that is skipped. */
static void failing_input_ends_with_its_error(void **state)
{
	static const char *const begun[] = {"",
					    "{\"id\":1",
					    "{\"result\":{\"points\":[{\"id\":1",
					    "{\"result\":{\"a\":[1",
					    "{\"result\":{\"points\":[",
					    "rubbish",
					    "{\"id\":1,\n]\nrubbish",
					    "{\"id\":1,\n]\n"};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(begun); i++) {
		int dir = open("/", O_RDONLY | O_DIRECTORY),
		    fd = file_of(begun[i], strlen(begun[i]));

		/* The descriptor becomes one that can't be read when the file is used up. */
		assert_int_equal(pfs_ndjson_open(&reader, fd, NULL, NULL), 0);
		if (*begun[i])
			assert_int_equal(pfs_window_fill(&reader->w), 1);
		assert_int_equal(dup2(dir, fd), fd);
		assert_int_equal(pfs_ndjson_next(reader, &doc), -EISDIR);
		pfs_ndjson_close(reader);
		close(fd);
		close(dir);
	}
}

static const char waiting_record[] = "{\"id\":1,\"payload\":1}\n";

/* Writes the record that the reader is about to wait for, once. */
struct late_writer {
	int fd;
	unsigned waits;
};

static void write_late(void *arg)
{
	struct late_writer *writer = arg;

	writer->waits++;
	if (writer->waits == 1)
		assert_int_equal(write(writer->fd, waiting_record, sizeof(waiting_record) - 1),
				 sizeof(waiting_record) - 1);
	else
		close(writer->fd);
}

/* Proves: a payload that is larger than any may be is refused though its record is not, and the
 * next is read; the memory for a large one that was in base64 is given back. */
static void payloads_that_are_too_large_are_refused(void **state)
{
	static const char head[] = "{\"id\":1,\"payload\":\"",
			  coded[] = "{\"id\":1,\"payload_base64\":\"";
	static const char next[] = "\n{\"id\":2,\"payload_base64\":\"aGk=\"}\n";
	char *text = malloc(PFS_NDJSON_RECORD_MAX + 100);
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		size_t len = round == 2 ? PFS_MIB : PFS_NDJSON_PAYLOAD_MAX - 2 + round;
		char *p = stpcpy(text, round == 2 ? coded : head);
		int fd;

		memset(p, 'x', len);
		p = stpcpy(p + len, "\"}");
		p = stpcpy(p, next);
		fd = file_of(text, (size_t)(p - text));
		assert_int_equal(pfs_ndjson_open(&reader, fd, NULL, NULL), 0);
		assert_int_equal(pfs_ndjson_next(reader, &doc), round == 1 ? -EBADMSG : 1);
		if (round == 1)
			assert_non_null(strstr(pfs_ndjson_fault(reader)->text,
					       "the payload is larger than 1 GiB"));
		else
			assert_int_equal(doc.len, round ? len / 4 * 3 : PFS_NDJSON_PAYLOAD_MAX);
		assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
		assert_int_equal(doc.key.num, 2);
		assert_int_equal(doc.len, 2);
		assert_memory_equal(doc.payload, "hi", 2);
		assert_true(reader->decoded_cap <= DECODED_KEEP);
		pfs_ndjson_close(reader);
		close(fd);
	}
	free(text);
}

/* A reader of a pipe that has this text for now. */
static struct pfs_ndjson *open_pipe(int fds[2], struct late_writer *writer, const char *text)
{
	struct pfs_ndjson *reader;

	assert_int_equal(pipe(fds), 0);
	writer->fd = fds[1];
	assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
	assert_int_equal(pfs_ndjson_open(&reader, fds[0], write_late, writer), 0);
	return reader;
}

/* Proves: the reader tells before it waits for a pipe that has nothing, and not while there is
 * something. */
static void waiting_is_told(void **state)
{
	struct late_writer writer = {0};
	struct pfs_ndjson_doc doc;
	int fds[2];
	struct pfs_ndjson *reader = open_pipe(fds, &writer, waiting_record);

	(void)state;
	assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
	assert_int_equal(writer.waits, 0);
	assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
	assert_int_equal(writer.waits, 1);
	assert_int_equal(pfs_ndjson_next(reader, &doc), 0);
	assert_int_equal(writer.waits, 2);
	pfs_ndjson_close(reader);
	close(fds[0]);
}

/* Proves: three bytes are enough to know that there is no byte order mark: nothing is waited for.
 */
static void short_lines_are_not_waited_with(void **state)
{
	struct late_writer writer = {0};
	struct pfs_ndjson_doc doc;
	int fds[2];
	struct pfs_ndjson *reader = open_pipe(fds, &writer, "{}\n");

	(void)state;
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EBADMSG);
	assert_int_equal(writer.waits, 0);
	pfs_ndjson_close(reader);
	close(fds[0]);
	close(fds[1]);
}

/* A source that gives one piece, then has nothing for now until it gets the next. */
struct dripping {
	const char *piece;
	size_t len;
	bool over;
};

static ssize_t drip(void *arg, void *buf, size_t cap)
{
	struct dripping *d = arg;
	size_t n = pfs_min_u64(d->len, cap);

	if (n == 0)
		return d->over ? 0 : -EAGAIN;
	memcpy(buf, d->piece, n);
	d->piece += n;
	d->len -= n;
	return (ssize_t)n;
}

static void pour(struct dripping *d, const char *piece)
{
	d->piece = piece;
	d->len = strlen(piece);
}

/* Proves: a reader whose source has nothing for now goes on where it was, also inside a record and
 * behind one that it refused, and its lines are counted on. */
static void a_source_may_have_nothing_for_now(void **state)
{
	struct dripping d = {0};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;

	(void)state;
	assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), 0);
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EAGAIN);
	assert_false(pfs_ndjson_is_inside(reader));
	pour(&d, "{\"id\":1,\n");
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EAGAIN);
	assert_true(pfs_ndjson_is_inside(reader));
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EAGAIN);
	pour(&d, "\"payload\":10}\n{\"id\":}\n");
	assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
	assert_int_equal(doc.line, 1);
	assert_memory_equal(doc.payload, "10", 2);
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EBADMSG);
	assert_int_equal(pfs_ndjson_fault(reader)->line, 3);
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EAGAIN);
	assert_false(pfs_ndjson_is_inside(reader));
	/* Refused over several lines, of which the last are still to come. */
	pour(&d, "{\"id\":2,\n\"payload\":\"\n");
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EBADMSG);
	pour(&d, "{\"id\":3,\"payload\":30}\n");
	assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
	assert_int_equal(doc.key.num, 3);
	assert_int_equal(doc.line, 6);
	pour(&d, "{\"id\":4");
	d.over = true;
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EBADMSG);
	assert_int_equal(pfs_ndjson_fault(reader)->line, 7);
	assert_int_equal(pfs_ndjson_next(reader, &doc), 0);
	pfs_ndjson_close(reader);
}

/* Proves: a scroll body that comes line by line, with nothing for now between any two, is read as
 * if it had come at once: with points over several lines, commas at the end of one or at the
 * beginning of the next, members before the points and behind them. */
static void a_scroll_body_may_come_in_lines(void **state)
{
	static const char *const lines[] = {
		"{\"time\": 0.1,\n",
		"\"result\": {\n",
		"\"usage\": {\"cpu\":\n",
		"1}\n",
		",\n",
		"\"points\":\n",
		"[\n",
		"{\n",
		"\"id\": 1, \"vector\": [1,\n",
		"2], \"payload\": {\"a\":\n",
		"1}\n",
		"},\n",
		"{\"id\": 2, \"payload\": 20}\n",
		",\n",
		"{\"id\": 3, \"payload\": 30},\n",
		"{\"id\": 4,\n",
		"\"payload\": 40} ],\n",
		"\"next_page_offset\":\n",
		"5}\n",
		", \"status\":\n",
		"\"ok\"\n",
		"}\n",
		"{\"id\": 5, \"payload\": 50}\n",
	};
	static const uint64_t places[][2] = {{8, 1}, {13, 2}, {15, 3}, {16, 4}, {23, 0}};
	struct dripping d = {0};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	size_t count = 0;

	(void)state;
	assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), 0);
	for (size_t i = 0; i < pfs_array_len(lines); i++) {
		int more;

		pour(&d, lines[i]);
		while ((more = pfs_ndjson_next(reader, &doc)) == 1) {
			assert_int_equal(doc.key.num, count + 1);
			assert_int_equal(doc.line, places[count][0]);
			assert_int_equal(doc.point, places[count][1]);
			count++;
		}
		assert_int_equal(more, -EAGAIN);
		assert_int_equal(pfs_ndjson_is_inside(reader), i + 2 < pfs_array_len(lines));
	}
	assert_int_equal(count, pfs_array_len(places));
	pfs_ndjson_close(reader);
}

/* Proves: what came last is looked at also when the reader had hoped for more of a large record. */
static void a_large_record_ends_with_a_small_piece(void **state)
{
	static char first[150001], last[] = "x\"}\n";
	struct dripping d = {0};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	int head;

	(void)state;
	memset(first, 'x', sizeof(first) - 1);
	head = sprintf(first, "{\"id\":1,\"payload\":\"");
	first[head] = 'x';
	assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), 0);
	pour(&d, first);
	assert_int_equal(pfs_ndjson_next(reader, &doc), -EAGAIN);
	pour(&d, last);
	assert_int_equal(pfs_ndjson_next(reader, &doc), 1);
	assert_int_equal(doc.len, sizeof(first) - 1 - (size_t)head + 3);
	pfs_ndjson_close(reader);
}

/* The sum of the ids; -1 when something was refused. */
static int64_t sum_in_two_pieces(const char *text, size_t first)
{
	struct dripping d = {.piece = text, .len = first};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	int64_t sum = 0;
	int more;

	assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), 0);
	while ((more = pfs_ndjson_next(reader, &doc)) != 0) {
		if (more == 1)
			sum += (int64_t)doc.key.num;
		if (more < 0 && (more != -EAGAIN || d.over))
			break;
		if (more < 0)
			pour(&d, text + first);
		d.over |= more < 0;
	}
	pfs_ndjson_close(reader);
	return more ? -1 : sum;
}

/* Proves: whatever stands in memory behind what has come so far, wherever that ends, it is taken
 * for nothing. */
static void what_has_not_come_is_nothing(void **state)
{
	static const char bytes[] = "{}[]\":,1 \n\\\xbf", *const cut[] = {"\xef", "\xef\xbb"};
	static const char text[] =
		"\xef\xbb\xbf{\"time\":1,\"result\":{\"next\":3,\"points\":[{\"id\":1,"
		"\"vector\":[1,{\"a\":\"\\n\"}],\"payload\":{}},{\"id\":2,\"payload\":[]}]},"
		"\"ok\":true}\n{\"payload\":\"x\",\"id\":4}{\"result\":{ \"points\" : [ ] } }\n";

	const bool sample = getenv("TEST_SAMPLE") && strcmp(getenv("TEST_SAMPLE"), "1") != 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		dirt = (uint8_t)bytes[i];
		for (size_t first = 0; first < sizeof(text); first += sample ? 7 : 1)
			if (sum_in_two_pieces(text, first) != 7)
				fail_msg("%zu, before %d", first, dirt);
		for (size_t k = 0; k < pfs_array_len(cut); k++)
			expect(cut[k], "1.0! column 1: " WANTED);
		expect("{\"result\":", "1.0! column 11: the input ends inside a record\n");
		expect("{\"result\":{\"points\":",
		       "1.0! column 21: the input ends inside a scroll body\n");
		expect("{\"result\":{\"points\":[{\"id\":1,\"payload\":1}",
		       "1.1 1=1\n1.1! column 42: the input ends inside a scroll body\n");
	}
	dirt = 0;
}

/* Proves: where a body that has a large point ends too early is said, also when that was found out
 * before. */
static void large_bodies_may_end_early(void **state)
{
	static const char begin[] = "{\"result\":{\"points\":[{\"id\":1,\"payload_base64\":\"";
	enum { LEN = 100000 };
	char *text = calloc(1, LEN + 100), want[200], *got;
	int at = sprintf(text, "%s", begin);

	(void)state;
	memset(text + at, 'A', LEN);
	strcpy(text + at + LEN, "\"}");
	got = transcript(text, strlen(text), 4096);
	snprintf(want, sizeof(want), "\n1.1! column %zu: the input ends inside a scroll body\n",
		 strlen(text) + 1);
	assert_non_null(strstr(got, want));
	free(got);
	free(text);
}

/* Proves: without memory there is no reader, and a payload in base64 is not read; that is said, and
 * nothing is lost. */
static void memory_may_be_missing(void **state)
{
	struct dripping d = {0};
	struct pfs_ndjson *reader = (struct pfs_ndjson *)state;
	struct pfs_ndjson_doc doc;

	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(pfs_ndjson_open(&reader, 0, NULL, NULL), -ENOMEM);
		assert_null(reader);
		fenced_refuse(passes);
		assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), -ENOMEM);
		assert_null(reader);
		assert_int_equal(fenced_blocks, 0);
	}
	assert_int_equal(pfs_ndjson_open_source(&reader, drip, &d), 0);
	pour(&d, "{\"id\":1,\"payload_base64\":\"YWJj\"}\n");
	fenced_refuse(0);
	assert_int_equal(pfs_ndjson_next(reader, &doc), -ENOMEM);
	pfs_ndjson_close(reader);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_read_exactly),
		cmocka_unit_test(records_that_are_no_documents_are_refused),
		cmocka_unit_test(long_ids_are_cut_in_messages),
		cmocka_unit_test(broken_lines_are_refused_and_the_next_is_read),
		cmocka_unit_test(a_byte_order_mark_begins_the_input),
		cmocka_unit_test(scroll_bodies_are_read),
		cmocka_unit_test(faults_in_scroll_bodies_are_refused),
		cmocka_unit_test(payloads_in_base64_may_grow),
		cmocka_unit_test(large_records_pass_and_the_window_shrinks),
		cmocka_unit_test(records_that_are_too_large_are_refused),
		cmocka_unit_test(payloads_that_are_too_large_are_refused),
		cmocka_unit_test(failing_input_ends_with_its_error),
		cmocka_unit_test(waiting_is_told),
		cmocka_unit_test(short_lines_are_not_waited_with),
		cmocka_unit_test(a_source_may_have_nothing_for_now),
		cmocka_unit_test(a_scroll_body_may_come_in_lines),
		cmocka_unit_test(a_large_record_ends_with_a_small_piece),
		cmocka_unit_test(what_has_not_come_is_nothing),
		cmocka_unit_test(large_bodies_may_end_early),
		cmocka_unit_test(memory_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
