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
struct answer {
	struct pfs_http_request request;
	struct pfs_http_attempt attempt;
	char buf[64];
};

static int set_up(void **state)
{
	struct answer *a = calloc(1, sizeof(*a));

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
	char copy[1024];

	a->attempt.range_seen = a->attempt.range_unreadable = false;
	snprintf(copy, sizeof(copy), "%s", line);
	assert_int_equal(pfs_http_take_header(copy, 1, strlen(copy), &a->attempt), strlen(copy));
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
	assert_int_equal(pfs_http_take_body(text, 1, 3, &a->attempt), 3);
	assert_int_equal(a->request.got, 0);
}

/* Proves: a body goes out from where it is wanted, once to its end; a file that has become shorter
 * ends the request, and so does one that can't be read. */
static void bodies_are_given_from_their_file(void **state)
{
	struct answer *a = *state;
	char path[] = "/tmp/pfs-body-XXXXXX", buf[16];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	a->request.method = PFS_HTTP_PUT;
	a->request.fd = fd;
	a->request.size = 10;
	assert_int_equal(pfs_http_give_body(buf, 1, 4, &a->attempt), 4);
	assert_memory_equal(buf, "0123", 4);
	assert_int_equal(pfs_http_give_body(buf, 2, 8, &a->attempt), 6);
	assert_memory_equal(buf, "456789", 6);
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), 0);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_CUR), CURL_SEEKFUNC_CANTSEEK);
	assert_int_equal(pfs_http_seek_body(&a->attempt, -1, SEEK_SET), CURL_SEEKFUNC_CANTSEEK);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_SET), CURL_SEEKFUNC_OK);
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), 3);
	assert_memory_equal(buf, "789", 3);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_int_equal(pfs_http_seek_body(&a->attempt, 7, SEEK_SET), CURL_SEEKFUNC_OK);
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), CURL_READFUNC_ABORT);
	close(fd);
	a->request.fd = -1;
	assert_int_equal(pfs_http_give_body(buf, 1, 8, &a->attempt), CURL_READFUNC_ABORT);
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
		{CURLE_PEER_FAILED_VERIFICATION, PFS_HTTP_DONE, "not to be trusted"},
		{CURLE_SSL_CACERT_BADFILE, PFS_HTTP_DONE, "not to be trusted"},
		{CURLE_SSL_ISSUER_ERROR, PFS_HTTP_DONE, "not to be trusted"},
		{CURLE_SSL_CERTPROBLEM, PFS_HTTP_DONE, "not to be trusted"},
		{CURLE_SSL_PINNEDPUBKEYNOTMATCH, PFS_HTTP_DONE, "not to be trusted"},
		{CURLE_URL_MALFORMAT, PFS_HTTP_DONE, "URL"},
		{CURLE_TOO_MANY_REDIRECTS, PFS_HTTP_DONE, ""},
		{CURLE_FAILED_INIT, PFS_HTTP_DONE, ""},
		{CURLE_NOT_BUILT_IN, PFS_HTTP_DONE, ""},
		{CURLE_BAD_FUNCTION_ARGUMENT, PFS_HTTP_DONE, ""},
		{CURLE_ABORTED_BY_CALLBACK, PFS_HTTP_DONE, ""},
		{CURLE_OUT_OF_MEMORY, PFS_HTTP_TWICE, "no memory"},
		{CURLE_UNSUPPORTED_PROTOCOL, PFS_HTTP_TWICE, ""},
		{CURLE_WEIRD_SERVER_REPLY, PFS_HTTP_TWICE, ""},
		{CURLE_PARTIAL_FILE, PFS_HTTP_AGAIN, "cut off"},
		{CURLE_COULDNT_CONNECT, PFS_HTTP_AGAIN, ""},
		{CURLE_SEND_ERROR, PFS_HTTP_AGAIN, ""},
	};
	struct answer *a = *state;
	char why[PFS_HTTP_WHY_MAX];

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		int err = 0;

		a->attempt.code = cases[i].code;
		assert_int_equal(pfs_http_judge(&a->attempt, &err, why), cases[i].verdict);
		assert_int_equal(err, -EIO);
		assert_true(why[0]);
		assert_non_null(strstr(why, cases[i].says));
	}
	a->attempt.code = CURLE_COULDNT_CONNECT;
	snprintf(a->attempt.error, sizeof(a->attempt.error), "in the library's own words");
	(void)pfs_http_judge(&a->attempt, &(int){0}, why);
	assert_string_equal(why, "in the library's own words");
	a->attempt.ended = "the time was over";
	assert_int_equal(pfs_http_judge(&a->attempt, &(int){0}, why), PFS_HTTP_AGAIN);
	assert_string_equal(why, "the time was over");
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
		answered(failures_are_judged_by_their_kind),
	};

	return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
#else
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
#endif
}
