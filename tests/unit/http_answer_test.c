/* storage/http_client_answer.c: what is made of an answer, piece by piece, without a server: the
 * odd ones that libcurl hands over, and what it says itself when it gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/http_client_internal.h"

#ifdef PFS_HAVE_CURL
/* What libcurl would know of an answer. */
static long answered_status;
static curl_off_t answered_len;

static CURLcode know(CURLINFO what, void *out)
{
	if (what == CURLINFO_RESPONSE_CODE)
		*(long *)out = answered_status;
	else if (what == CURLINFO_CONTENT_LENGTH_DOWNLOAD_T)
		*(curl_off_t *)out = answered_len;
	else
		fail();
	return CURLE_OK;
}

/* The first reads of a body fail, with this error. */
static unsigned interruptions;
static int interrupted_by;

static ssize_t faulty_pread(int fd, void *buf, size_t len, off_t off)
{
	if (interruptions) {
		interruptions--;
		errno = interrupted_by;
		return -1;
	}
	return pread(fd, buf, len, off);
}

#define pread faulty_pread
#undef curl_easy_getinfo
#define curl_easy_getinfo(easy, what, out) ((void)(easy), know(what, out))
#include "storage/http_client_answer.c"

struct answer {
	struct pfs_http_request request;
	struct pfs_http_attempt attempt;
	char buf[64];
};

static int set_up(void **state)
{
	struct answer *a = calloc(1, sizeof(*a));

	answered_status = 0;
	answered_len = -1;
	a->request = (struct pfs_http_request){
		.method = PFS_HTTP_GET, .url = "http://host/file", .len = 10, .buf = a->buf};
	a->attempt.request = &a->request;
	a->attempt.easy = curl_easy_init();
	*state = a;
	return a->attempt.easy ? 0 : -1;
}

static int tear_down(void **state)
{
	struct answer *a = *state;

	curl_easy_cleanup(a->attempt.easy);
	free(a);
	return 0;
}

static void give_header(struct answer *a, const char *line)
{
	static const char behind[] = "x:/";
	size_t len = strlen(line);
	char copy[1024];

	/* It ends with its length, and with nothing else. */
	for (size_t i = 0; i < sizeof(behind); i++) {
		a->attempt.range_seen = a->attempt.range_unreadable = false;
		memset(copy, behind[i], sizeof(copy));
		memcpy(copy, line, len);
		assert_int_equal(pfs_http_take_header(copy, 1, len, &a->attempt), len);
	}
}

#define SAID UINT64_MAX

/* Proves: a range is taken as it is said, with blanks and stars; what makes no sense, or does not
 * end where it should, or does not fit into 64 bits, is none. */
static void ranges_are_read_exactly(void **state)
{
	static const struct {
		const char *value;
		bool good;
		uint64_t from, to, total;
	} cases[] = {
		{"bytes 0-9/10", true, 0, 9, 10},
		{"bytes=3-3/10", true, 3, 3, 10},
		{"BYTES \t5-9/*", true, 5, 9, SAID},
		{"bytes */77", true, SAID, SAID, 77},
		{"bytes */*", true, SAID, SAID, SAID},
		{"bytes 0-18446744073709551609/*", true, 0, UINT64_MAX - 6, SAID},
		{"bytes 0-99999999999999999999/*", false, 0, 0, 0},
		{"bytes 0-9/", false, 0, 0, 0},
		{"bytes 0-9/99999999999999999999", false, 0, 0, 0},
		{"bytes 9-3/10", false, 0, 0, 0},
		{"bytes 0-9/9", false, 0, 0, 0},
		{"bytes 0-9", false, 0, 0, 0},
		{"bytes 0/9", false, 0, 0, 0},
		{"bytes -9/10", false, 0, 0, 0},
		{"bytes 0-/10", false, 0, 0, 0},
		{"bytes", false, 0, 0, 0},
		{"bytes *", false, 0, 0, 0},
		{"lines 0-9/10", false, 0, 0, 0},
		{"bytex 0-9/10", false, 0, 0, 0},
		{"bytes 0-0/1", true, 0, 0, 1},
		{"bytes 0-9/:", false, 0, 0, 0},
		{"bytes 0-/9", false, 0, 0, 0},
		{"bytes 0-:/99", false, 0, 0, 0},
		{"bytes 18446744073709551609-18446744073709551609/18446744073709551610", false, 0,
		 0, 0},
		{"bytes 1844674407370955160-1844674407370955161/18446744073709551609", true,
		 UINT64_C(1844674407370955160), UINT64_C(1844674407370955161), UINT64_MAX - 6},
		{"bytes 9-10/11", true, 9, 10, 11},
		{"bytes 10-9/11", false, 0, 0, 0},
		{"bytes */", false, 0, 0, 0},
		{"bytes */x", false, 0, 0, 0},
		{"bytes *-9/10", false, 0, 0, 0},
		{"bytes0-9/10", true, 0, 9, 10},
		{"", false, 0, 0, 0},
	};
	struct answer *a = *state;

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char line[128];

		snprintf(line, sizeof(line), "content-range:%s\r\n", cases[i].value);
		give_header(a, line);
		assert_true(a->attempt.range_seen);
		if (a->attempt.range_unreadable == cases[i].good)
			fail_msg("%s", cases[i].value);
		if (!cases[i].good)
			continue;
		assert_true(a->attempt.range_from == cases[i].from);
		assert_true(a->attempt.range_to == cases[i].to);
		assert_true(a->attempt.range_total == cases[i].total);
	}
}

/* Proves: headers are told by their whole names, whatever stands around their values; a long value
 * is cut off; another answer begins anew. */
static void headers_are_told_apart(void **state)
{
	struct answer *a = *state;
	char line[700], *p = line;

	give_header(a, "ETag: \"v1\"\r\n");
	assert_string_equal(a->attempt.etag, "\"v1\"");
	give_header(a, "ETags: \"v2\"\r\n");
	give_header(a, "ETag\r\n");
	give_header(a, "ETa");
	give_header(a, "ETag");
	give_header(a, "Content-Range");
	give_header(a, "");
	assert_string_equal(a->attempt.etag, "\"v1\"");
	give_header(a, "etag:\t \"v3\" \t\r\n");
	assert_string_equal(a->attempt.etag, "\"v3\"");
	give_header(a, "etag:  \r\n");
	assert_string_equal(a->attempt.etag, "");
	p += sprintf(p, "ETag: ");
	memset(p, 'x', 600);
	memcpy(p + 600, "\r\n", 3);
	give_header(a, line);
	assert_int_equal(strlen(a->attempt.etag), PFS_HTTP_ETAG_MAX - 1);
	for (size_t n = PFS_HTTP_ETAG_MAX - 2; n <= PFS_HTTP_ETAG_MAX; n++) {
		snprintf(line, sizeof(line), "ETag:%0*d\r\n", (int)n, 0);
		give_header(a, line);
		assert_int_equal(strlen(a->attempt.etag), pfs_min_u64(n, PFS_HTTP_ETAG_MAX - 1));
	}
	give_header(a, "ETag:\"v 4\"");
	assert_string_equal(a->attempt.etag, "\"v 4\"");
	give_header(a, "ETag:");
	assert_string_equal(a->attempt.etag, "");
	give_header(a, "ETag:5");
	give_header(a, "HTTP");
	give_header(a, "HTTX/1.1 200 OK\r\n");
	give_header(a, "HTTP: 200 OK\r\n");
	give_header(a, "Date: \"v5\"\r\n");
	give_header(a, "XTag: \"v5\"\r\n");
	give_header(a, "ETaX: \"v5\"\r\n");
	give_header(a, "Cache-Control: bytes 0-9/10\r\n");
	assert_false(a->attempt.range_seen);
	assert_string_equal(a->attempt.etag, "5");
	assert_true(a->attempt.moved_ns > 0);
	give_header(a, "Content-Range: rubbish\r\n");
	assert_true(a->attempt.range_seen && a->attempt.range_unreadable);
	give_header(a, "HTTP/");
	assert_false(a->attempt.range_seen || a->attempt.range_unreadable);
	assert_string_equal(a->attempt.etag, "");
	give_header(a, "ETag: \"v5\"\r\n");
	a->attempt.error_len = 5;
	give_header(a, "HTTP/1.1 200 OK\r\n");
	assert_string_equal(a->attempt.etag, "");
	assert_int_equal(a->attempt.error_len, 0);
}

/* Proves: what is no file's content is kept as the reason, and no more of it than there is room. */
static void reasons_are_cut_off(void **state)
{
	struct answer *a = *state;
	char text[700];

	memset(text, 'e', sizeof(text));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pfs_http_take_body(text, 1, sizeof(text), &a->attempt),
				 sizeof(text));
	assert_int_equal(a->attempt.error_len, PFS_HTTP_ERROR_BODY_MAX - 1);
	assert_int_equal(strlen(a->attempt.error_body), PFS_HTTP_ERROR_BODY_MAX - 1);
	a->request.method = PFS_HTTP_HEAD;
	a->attempt.moved_ns = 0;
	assert_int_equal(pfs_http_take_body(text, 1, 3, &a->attempt), 3);
	assert_true(a->attempt.moved_ns > 0);
	assert_int_equal(a->request.got, 0);
}

/* A file of ten digits, which goes out as a body that is said to have so many bytes. */
static int give_ten_bytes(struct answer *a, uint64_t size)
{
	char path[] = "/tmp/pfs-body-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	a->request.method = PFS_HTTP_PUT;
	a->request.fd = fd;
	a->request.size = size;
	return fd;
}

/* Proves: a body goes out from where it is wanted, once to its end; a file that has become shorter
 * ends the request, and so does one that can't be read. */
static void bodies_are_given_from_their_file(void **state)
{
	struct answer *a = *state;
	char buf[16];
	int fd = give_ten_bytes(a, 10);

	assert_int_equal(pfs_http_give_body(buf, 1, 4, &a->attempt), 4);
	assert_memory_equal(buf, "0123", 4);
	assert_int_equal(pfs_http_give_body(buf, 2, 8, &a->attempt), 6);
	assert_memory_equal(buf, "456789", 6);
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), 0);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_CUR), CURL_SEEKFUNC_CANTSEEK);
	assert_int_equal(pfs_http_seek_body(&a->attempt, -1, SEEK_SET), CURL_SEEKFUNC_CANTSEEK);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 0, SEEK_SET), CURL_SEEKFUNC_OK);
	assert_int_equal(pfs_http_give_body(buf, 1, 2, &a->attempt), 2);
	assert_memory_equal(buf, "01", 2);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_SET), CURL_SEEKFUNC_OK);
	a->attempt.moved_ns = 0;
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), 3);
	assert_true(a->attempt.moved_ns > 0);
	assert_memory_equal(buf, "789", 3);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_SET), CURL_SEEKFUNC_OK);
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), CURL_READFUNC_ABORT);
	close(fd);
	a->request.fd = -1;
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), CURL_READFUNC_ABORT);
}

/* Proves: a read of the body that is interrupted is made again, one that fails is not; an old
 * interruption is none, and the last byte may come alone. */
static void reading_a_body_may_be_interrupted(void **state)
{
	struct answer *a = *state;
	char buf[16];
	int fd = give_ten_bytes(a, 11);

	interruptions = 3;
	interrupted_by = EINTR;
	assert_int_equal(pfs_http_give_body(buf, 1, 9, &a->attempt), 9);
	assert_memory_equal(buf, "012345678", 9);
	assert_int_equal(interruptions, 0);
	errno = EINTR;
	assert_int_equal(pfs_http_give_body(buf, 1, 16, &a->attempt), 1);
	assert_int_equal(buf[0], '9');
	errno = EINTR;
	assert_int_equal(pfs_http_give_body(buf, 1, 16, &a->attempt), CURL_READFUNC_ABORT);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 0, SEEK_SET), CURL_SEEKFUNC_OK);
	interruptions = 2;
	interrupted_by = EIO;
	assert_int_equal(pfs_http_give_body(buf, 1, 16, &a->attempt), CURL_READFUNC_ABORT);
	assert_int_equal(interruptions, 1);
	interruptions = 0;
	close(fd);
}

/* Proves: what libcurl gives up on is tried again where nobody may have answered, a second time
 * where an answer made no sense, and else not; always as an I/O error that says why. */
static void failures_are_judged_by_their_kind(void **state)
{
	static const struct {
		CURLcode code;
		enum pfs_http_verdict verdict;
		const char *says;
	} cases[] = {
		{CURLE_PEER_FAILED_VERIFICATION, PFS_HTTP_DONE,
		 "the server is not to be trusted: %s"},
		{CURLE_SSL_CACERT_BADFILE, PFS_HTTP_DONE, "the server is not to be trusted: %s"},
		{CURLE_SSL_ISSUER_ERROR, PFS_HTTP_DONE, "the server is not to be trusted: %s"},
		{CURLE_SSL_CERTPROBLEM, PFS_HTTP_DONE, "the server is not to be trusted: %s"},
		{CURLE_SSL_PINNEDPUBKEYNOTMATCH, PFS_HTTP_DONE,
		 "the server is not to be trusted: %s"},
		{CURLE_URL_MALFORMAT, PFS_HTTP_DONE, "%s"},
		{CURLE_TOO_MANY_REDIRECTS, PFS_HTTP_DONE, "%s"},
		{CURLE_FAILED_INIT, PFS_HTTP_DONE, "%s"},
		{CURLE_NOT_BUILT_IN, PFS_HTTP_DONE, "%s"},
		{CURLE_BAD_FUNCTION_ARGUMENT, PFS_HTTP_DONE, "%s"},
		{CURLE_ABORTED_BY_CALLBACK, PFS_HTTP_DONE, "%s"},
		{CURLE_OUT_OF_MEMORY, PFS_HTTP_TWICE, "no memory, or a header that is too long"},
		{CURLE_UNSUPPORTED_PROTOCOL, PFS_HTTP_TWICE, "%s"},
		{CURLE_WEIRD_SERVER_REPLY, PFS_HTTP_TWICE, "%s"},
		{CURLE_PARTIAL_FILE, PFS_HTTP_AGAIN, "the answer was cut off: %s"},
		{CURLE_COULDNT_CONNECT, PFS_HTTP_AGAIN, "%s"},
		{CURLE_SEND_ERROR, PFS_HTTP_AGAIN, "%s"},
	};
	struct answer *a = *state;
	char why[PFS_HTTP_WHY_MAX], want[PFS_HTTP_WHY_MAX];

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		int err = 0;

		a->attempt.code = cases[i].code;
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), cases[i].verdict);
		assert_int_equal(err, -EIO);
		snprintf(want, sizeof(want), cases[i].says, curl_easy_strerror(cases[i].code));
		assert_string_equal(why, want);
	}
	a->attempt.code = CURLE_COULDNT_CONNECT;
	strcpy(a->attempt.error, "x");
	(void)pfs_http_judge(&a->attempt, &(int){0}, why);
	assert_string_equal(why, "x");
	snprintf(a->attempt.error, sizeof(a->attempt.error), "in the library's own words");
	(void)pfs_http_judge(&a->attempt, &(int){0}, why);
	assert_string_equal(why, "in the library's own words");
	a->attempt.ended = "the time was over";
	assert_int_equal(pfs_http_judge(&a->attempt, &(int){0}, why), PFS_HTTP_AGAIN);
	assert_string_equal(why, "the time was over");
}

/* Proves: each status has its meaning: what is tried again, which error it is with which condition,
 * and what is said. */
static void refusals_are_judged_by_their_status(void **state)
{
	static const struct {
		long status;
		enum pfs_http_verdict verdict;
		int err, err_new, err_match; /* without conditions, and with each */
		const char *says;
	} cases[] = {
		{100, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{199, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{0, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{300, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server sends us elsewhere"},
		{301, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server sends us elsewhere"},
		{399, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server sends us elsewhere"},
		{400, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{401, PFS_HTTP_DONE, -EACCES, -EACCES, -EACCES, "the server refuses"},
		{402, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{403, PFS_HTTP_DONE, -EACCES, -EACCES, -EACCES, "the server refuses"},
		{404, PFS_HTTP_DONE, -ENOENT, -ENOENT, -ESTALE, "not there"},
		{405, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{408, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server asks to wait"},
		{409, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server asks to wait"},
		{410, PFS_HTTP_DONE, -ENOENT, -ENOENT, -ESTALE, "not there"},
		{411, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{412, PFS_HTTP_DONE, -EIO, -EEXIST, -ESTALE, "there already, or another one"},
		{416, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{425, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server asks to wait"},
		{429, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server asks to wait"},
		{499, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{500, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server has failed"},
		{501, PFS_HTTP_DONE, -EIO, -EOPNOTSUPP, -EOPNOTSUPP,
		 "the server does not know how"},
		{503, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server has failed"},
		{504, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server has failed"},
		{505, PFS_HTTP_DONE, -EIO, -EIO, -EIO, "the server does not understand"},
		{506, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server has failed"},
		{599, PFS_HTTP_AGAIN, -EIO, -EIO, -EIO, "the server has failed"},
	};
	static const enum pfs_http_method methods[] = {PFS_HTTP_GET, PFS_HTTP_HEAD, PFS_HTTP_PUT,
						       PFS_HTTP_DELETE};
	struct answer *a = *state;
	char why[PFS_HTTP_WHY_MAX], want[PFS_HTTP_WHY_MAX];

	for (size_t i = 0; i < pfs_array_len(cases) * 3 * 4; i++) {
		const size_t of = i / 12;
		int err = 77, want_err = cases[of].err;

		a->request.method = methods[i % 4];
		a->request.only_new = i % 12 / 4 == 1;
		a->request.match = i % 12 / 4 == 2 ? "\"v1\"" : NULL;
		if (a->request.only_new)
			want_err = cases[of].err_new;
		if (a->request.match)
			want_err = cases[of].err_match;
		answered_status = cases[of].status;
		snprintf(want, sizeof(want), "%s (HTTP %ld)", cases[of].says, answered_status);
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), cases[of].verdict);
		assert_int_equal(err, want_err);
		assert_string_equal(why, want);
	}
}

/* Proves: what S3 says in words is repeated, so much of it as is sure to be a word. */
static void words_of_the_server_are_repeated(void **state)
{
	static const struct {
		const char *body, *says;
	} cases[] = {
		{"", "the server has failed (HTTP 503)"},
		{"<html>sorry</html>", "the server has failed (HTTP 503)"},
		{"<Error><Code>SlowDown</Code><Message>x",
		 "the server has failed (HTTP 503, SlowDown)"},
		{"<Code></Code>", "the server has failed (HTTP 503)"},
		{"<Code>S", "the server has failed (HTTP 503, S)"},
		{"<Code>"
		 "123456789-123456789-123456789-123456789-123456789-123456789-1234</Code>",
		 "the server has failed (HTTP 503, "
		 "123456789-123456789-123456789-123456789-123456789-123456789-1234)"},
		{"<Code>"
		 "123456789-123456789-123456789-123456789-123456789-123456789-12345</Code>",
		 "the server has failed (HTTP 503, "
		 "123456789-123456789-123456789-123456789-123456789-123456789-1234)"},
	};
	struct answer *a = *state;
	char why[PFS_HTTP_WHY_MAX], body[256];

	answered_status = 503;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		size_t len = strlen(cases[i].body);
		int err;

		strcpy(body, cases[i].body);
		a->attempt.error_len = 0;
		/* In two pieces. */
		assert_int_equal(pfs_http_take_body(body, 1, len / 2, &a->attempt), len / 2);
		assert_int_equal(pfs_http_take_body(body + len / 2, 1, len - len / 2, &a->attempt),
				 len - len / 2);
		assert_int_equal(a->attempt.error_len, len);
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_AGAIN);
		assert_string_equal(why, cases[i].says);
	}
	assert_int_equal(a->request.got, 0);
}

/* Proves: of a file, exactly the bytes that were asked for are taken, or all that there are up to
 * its end; whatever else comes is told from that, and said. */
static void parts_are_judged_to_the_byte(void **state)
{
	static const char no_ranges[] = "asked for a part, the server sends the whole (HTTP 200): "
					"it does not serve ranges";
	static const char unsaid[] = "a part came, but the server did not say which";
	static const struct {
		long status;
		const char *range; /* NULL: not said */
		bool whole;
		uint64_t off;
		size_t sent; /* of ten that there is room for */
		enum pfs_http_verdict verdict;
		int err;
		uint64_t total;
		const char *says;
	} cases[] = {
		{206, "bytes 5-14/100", false, 5, 10, PFS_HTTP_DONE, 0, 100, ""},
		{206, "bytes 5-14/*", false, 5, 10, PFS_HTTP_DONE, 0, SAID, ""},
		{206, "bytes 5-14/15", false, 5, 10, PFS_HTTP_DONE, 0, 15, ""},
		{206, "bytes 0-9/10", false, 0, 10, PFS_HTTP_DONE, 0, 10, ""},
		{206, "bytes 5-13/14", false, 5, 9, PFS_HTTP_DONE, 0, 14, ""},
		{206, "bytes 5-5/6", false, 5, 1, PFS_HTTP_DONE, 0, 6, ""},
		{206, NULL, false, 5, 10, PFS_HTTP_TWICE, -EIO, 0, unsaid},
		{206, "bytes x", false, 5, 10, PFS_HTTP_TWICE, -EIO, 0, unsaid},
		{206, "bytes */100", false, 5, 10, PFS_HTTP_TWICE, -EIO, 0, unsaid},
		{206, "bytes 5-13/100", false, 5, 9, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent only 5-13"},
		{206, "bytes 5-13/*", false, 5, 9, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent only 5-13"},
		{206, "bytes 5-13/15", false, 5, 9, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent only 5-13"},
		{206, "bytes 4-13/100", false, 5, 10, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent 4-13"},
		{206, "bytes 6-14/100", false, 5, 9, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent 6-14"},
		{206, "bytes 5-15/100", false, 5, 10, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent 5-15"},
		{206, "bytes 5-14/100", false, 5, 11, PFS_HTTP_TWICE, -EIO, 0,
		 "asked for bytes 5-14, the server sent 5-14 and more"},
		{206, "bytes 5-14/100", false, 5, 9, PFS_HTTP_AGAIN, -EIO, 0,
		 "the server announced bytes 5-14 and sent 9"},
		{206, "bytes 5-12/13", false, 5, 9, PFS_HTTP_AGAIN, -EIO, 0,
		 "the server announced bytes 5-12 and sent 9"},
		{206, "bytes 0-9/10", true, 0, 10, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 206)"},
		{416, "bytes */5", false, 5, 0, PFS_HTTP_DONE, 0, 5, ""},
		{416, "bytes */4", false, 5, 7, PFS_HTTP_DONE, 0, 4, ""},
		{416, "bytes */6", false, 5, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 416)"},
		{416, "bytes */*", false, 5, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 416)"},
		{416, "rubbish", false, 5, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 416)"},
		{416, NULL, false, 5, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 416)"},
		{416, "bytes */0", true, 0, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 416)"},
		{200, NULL, false, 0, 10, PFS_HTTP_DONE, 0, 10, ""},
		{200, NULL, false, 0, 3, PFS_HTTP_DONE, 0, 3, ""},
		{200, NULL, false, 0, 0, PFS_HTTP_DONE, 0, 0, ""},
		{200, NULL, false, 0, 11, PFS_HTTP_TWICE, -EIO, 0, no_ranges},
		{200, NULL, false, 5, 3, PFS_HTTP_TWICE, -EIO, 0, no_ranges},
		{200, NULL, false, 1, 1, PFS_HTTP_TWICE, -EIO, 0, no_ranges},
		{200, NULL, true, 0, 10, PFS_HTTP_DONE, 0, 10, ""},
		{200, NULL, true, 0, 0, PFS_HTTP_DONE, 0, 0, ""},
		{200, NULL, true, 0, 11, PFS_HTTP_DONE, -EIO, 0,
		 "the answer is longer than 10 bytes"},
		{201, NULL, true, 0, 10, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 201)"},
		{204, NULL, false, 0, 0, PFS_HTTP_DONE, -EIO, 0,
		 "the server does not understand (HTTP 204)"},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases) * 2; i++) {
		const size_t of = i / 2;
		char sent[] = "abcdefghijklmnop", why[PFS_HTTP_WHY_MAX], line[128];
		size_t first = i % 2 ? cases[of].sent / 2 : cases[of].sent, taken;
		bool is_file = cases[of].status == 200 || cases[of].status == 206;
		bool cut = false;
		struct answer *a;
		int err = 77;
		void *own;

		assert_int_equal(set_up(&own), 0);
		a = own;
		a->request.whole = cases[of].whole;
		a->request.off = cases[of].off;
		answered_status = cases[of].status;
		give_header(a, "HTTP/1.1 000 as it is\r\n");
		if (cases[of].range) {
			snprintf(line, sizeof(line), "Content-Range: %s\r\n", cases[of].range);
			give_header(a, line);
		}
		/* In one piece, or in two. */
		taken = pfs_http_take_body(sent, 1, first, &a->attempt);
		cut = taken != first;
		if (i % 2 && !cut) {
			taken = pfs_http_take_body(sent + first, 1, cases[of].sent - first,
						   &a->attempt);
			cut = taken != cases[of].sent - first;
		}
		if (cut) {
			assert_int_equal(taken, 0);
			a->attempt.code = CURLE_WRITE_ERROR;
		}
		assert_int_equal(cut, is_file && cases[of].sent &&
					      (cases[of].sent > 10 ||
					       (cases[of].status == 200 && cases[of].off)));
		if (pfs_http_judge(&a->attempt, &err, why) != cases[of].verdict ||
		    err != cases[of].err || strcmp(why, cases[of].says) != 0)
			fail_msg("%zu: %d, %s", of, err, why);
		if (!err) {
			size_t got = is_file ? cases[of].sent : 0;

			assert_true(a->request.total == cases[of].total);
			assert_int_equal(a->request.got, got);
			assert_memory_equal(a->buf, sent, got);
		}
		assert_int_equal(a->buf[10], 0);
		tear_down(&own);
	}
}

/* Proves: of a HEAD the length counts, which must be said; of what changes something each 2xx is a
 * success; the ETag comes with each answer that came whole. */
static void other_requests_are_judged(void **state)
{
	static const long good[] = {200, 201, 204, 206, 299};
	struct answer *a = *state;
	char why[PFS_HTTP_WHY_MAX];
	int err;

	a->request.method = PFS_HTTP_HEAD;
	answered_status = 200;
	answered_len = -1;
	assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_TWICE);
	assert_int_equal(err, -EIO);
	assert_string_equal(why, "the server does not say how long it is");
	for (answered_len = 0; answered_len < 2; answered_len++) {
		a->request.total = 77;
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_DONE);
		assert_int_equal(err, 0);
		assert_string_equal(why, "");
		assert_int_equal(a->request.total, answered_len);
	}
	answered_status = 206;
	assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_DONE);
	assert_int_equal(err, -EIO);
	answered_status = 299;
	assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_DONE);
	assert_string_equal(why, "the server does not understand (HTTP 299)");
	for (size_t i = 0; i < pfs_array_len(good); i++) {
		a->request.method = i % 2 ? PFS_HTTP_PUT : PFS_HTTP_DELETE;
		answered_status = good[i];
		give_header(a, "HTTP/2 200\r\n");
		if (i % 2)
			give_header(a, "ETag: \"v7\"\r\n");
		memset(a->request.etag, 'x', 5);
		err = 77;
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), PFS_HTTP_DONE);
		assert_int_equal(err, 0);
		assert_string_equal(why, "");
		assert_string_equal(a->request.etag, i % 2 ? "\"v7\"" : "");
	}
}
#endif

int main(void)
{
#ifdef PFS_HAVE_CURL
#define answered(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		answered(ranges_are_read_exactly),
		answered(headers_are_told_apart),
		answered(reasons_are_cut_off),
		answered(bodies_are_given_from_their_file),
		answered(reading_a_body_may_be_interrupted),
		answered(failures_are_judged_by_their_kind),
		answered(refusals_are_judged_by_their_status),
		answered(words_of_the_server_are_repeated),
		answered(parts_are_judged_to_the_byte),
		answered(other_requests_are_judged),
	};

	return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
#else
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
#endif
}
