/* storage/http_url.c and http_list.c: what a location means, and what a bucket's list says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/http_list.h"
#include "storage/http_url.h"

static const char *const variables[] = {
	"AWS_ACCESS_KEY_ID",   "AWS_SECRET_ACCESS_KEY",	  "AWS_SESSION_TOKEN",
	"AWS_REGION",	       "AWS_DEFAULT_REGION",	  "AWS_ENDPOINT_URL",
	"AWS_ENDPOINT_URL_S3", "AWS_S3_ADDRESSING_STYLE", "AWS_CA_BUNDLE"};

static int clear_environment(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(variables); i++)
		unsetenv(variables[i]);
	return 0;
}

/* Proves: URLs of plain servers are taken as they are, with one slash at the end; what could not be
 * asked for, or would show a password, is refused with a reason. */
static void plain_urls(void **state)
{
	static const struct {
		const char *location, *url;
	} cases[] = {
		{"http://host", "http://host/"},
		{"http://host/", "http://host/"},
		{"https://host:8443/a/b", "https://host:8443/a/b/"},
		{"http://[::1]:80/a%20b///", "http://[::1]:80/a%20b/"},
		{"http://", NULL},
		{"http:///path", NULL},
		{"http://me:secret@host/", NULL},
		{"http://host/a?b", NULL},
		{"http://host/a#b", NULL},
		{"http://host/a b", NULL},
		{"http://host/\xc3\xa4", NULL},
		{"http://host/a\nb", NULL},
		{"ftp://host/", NULL},
		{"file:///etc", NULL},
	};
	struct pfs_http_place place;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason = {.text = ""};
		int err = pfs_http_place_parse(&place, cases[i].location, &reason);

		assert_int_equal(err, cases[i].url ? 0 : -EINVAL);
		if (cases[i].url)
			assert_string_equal(place.url, cases[i].url);
		else
			assert_int_not_equal(reason.text[0], 0);
		assert_null(strstr(reason.text, "secret"));
		assert_false(place.s3);
	}
	assert_int_equal(pfs_http_place_parse(&place, "https://h", NULL), 0);
	assert_true(place.tls);
	assert_int_equal(pfs_http_place_parse(&place, "http://h", NULL), 0);
	assert_false(place.tls);
}

/* Proves: where a bucket is follows from its name, the endpoint and the style. */
static void buckets(void **state)
{
	static const struct {
		const char *location, *endpoint, *style, *region;
		const char *url, *bucket, *prefix;
	} cases[] = {
		{"s3://b-1/p", NULL, NULL, NULL, "https://b-1.s3.us-east-1.amazonaws.com/p/",
		 "https://b-1.s3.us-east-1.amazonaws.com/", "p/"},
		{"s3://b-1//p/q//", NULL, NULL, "eu-west-1",
		 "https://b-1.s3.eu-west-1.amazonaws.com/p/q/",
		 "https://b-1.s3.eu-west-1.amazonaws.com/", "p/q/"},
		{"s3://b.1/p", NULL, NULL, NULL, "https://s3.us-east-1.amazonaws.com/b.1/p/",
		 "https://s3.us-east-1.amazonaws.com/b.1/", "p/"},
		{"s3://b-1/p", NULL, "path", NULL, "https://s3.us-east-1.amazonaws.com/b-1/p/",
		 "https://s3.us-east-1.amazonaws.com/b-1/", "p/"},
		{"s3://b-1", "http://localhost:9000", NULL, NULL, "http://localhost:9000/b-1/",
		 "http://localhost:9000/b-1/", ""},
		{"s3://b-1/", "http://localhost:9000/", "auto", NULL, "http://localhost:9000/b-1/",
		 "http://localhost:9000/b-1/", ""},
		{"s3://b-1/p", "http://localhost:9000", "virtual", NULL,
		 "http://b-1.localhost:9000/p/", "http://b-1.localhost:9000/", "p/"},
		{"s3://b-1/p q/\xc3\xa4+~%", "https://h", NULL, NULL,
		 "https://h/b-1/p%20q/%C3%A4%2B~%25/", "https://h/b-1/", "p q/\xc3\xa4+~%/"},
		{"s3://", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3:///p", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3://b 1/p", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3://b-1/../p", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3://b-1/p/./q", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3://b-1/p//q", NULL, NULL, NULL, NULL, NULL, NULL},
		{"s3://b.1/p", NULL, "virtual", NULL, NULL, NULL, NULL},
		{"s3://b-1/p", NULL, "sideways", NULL, NULL, NULL, NULL},
		{"s3://b-1/p", "localhost:9000", NULL, NULL, NULL, NULL, NULL},
		{"s3://b-1/p", NULL, NULL, "a b", NULL, NULL, NULL},
	};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason = {.text = ""};
		struct pfs_http_place place;
		int err;

		clear_environment(state);
		if (cases[i].endpoint)
			setenv("AWS_ENDPOINT_URL", cases[i].endpoint, 1);
		if (cases[i].style)
			setenv("AWS_S3_ADDRESSING_STYLE", cases[i].style, 1);
		if (cases[i].region)
			setenv("AWS_REGION", cases[i].region, 1);
		err = pfs_http_place_parse(&place, cases[i].location, &reason);
		assert_int_equal(err, cases[i].url ? 0 : -EINVAL);
		assert_true(place.s3);
		if (err) {
			assert_int_not_equal(reason.text[0], 0);
			continue;
		}
		assert_string_equal(place.url, cases[i].url);
		assert_string_equal(place.bucket, cases[i].bucket);
		assert_string_equal(place.prefix, cases[i].prefix);
	}
}

/* Proves: credentials are both there or neither, and the more special variable counts. */
static void credentials(void **state)
{
	struct pfs_reason reason = {.text = ""};
	struct pfs_http_place place;

	clear_environment(state);
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", NULL), 0);
	assert_string_equal(place.user, "");
	setenv("AWS_ACCESS_KEY_ID", "KEY", 1);
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", &reason), -EINVAL);
	assert_non_null(strstr(reason.text, "AWS_SECRET_ACCESS_KEY is not"));
	setenv("AWS_SECRET_ACCESS_KEY", "a:b/c+d", 1);
	setenv("AWS_SESSION_TOKEN", "token==", 1);
	setenv("AWS_DEFAULT_REGION", "r-1", 1);
	setenv("AWS_ENDPOINT_URL", "http://one", 1);
	setenv("AWS_ENDPOINT_URL_S3", "http://two", 1);
	setenv("AWS_CA_BUNDLE", "/ca", 1);
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", NULL), 0);
	assert_string_equal(place.user, "KEY:a:b/c+d");
	assert_string_equal(place.token, "token==");
	assert_string_equal(place.region, "r-1");
	assert_string_equal(place.url, "http://two/bucket/");
	assert_string_equal(place.ca_file, "/ca");
	setenv("AWS_REGION", "r-2", 1);
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", NULL), 0);
	assert_string_equal(place.region, "r-2");
	setenv("AWS_SESSION_TOKEN", "a\r\nHost: b", 1); /* would be a header */
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", NULL), -EINVAL);
	clear_environment(state);
}

struct names {
	char all[512];
	int answer;
};

static int take_name(void *arg, const char *name)
{
	struct names *names = arg;

	strcat(names->all, name);
	strcat(names->all, ";");
	return names->answer;
}

#define HEAD "<?xml?><ListBucketResult xmlns=\"x\">"

/* Proves: names and token of a page are taken, in any order; what is no such page is refused. */
static void pages_of_lists(void **state)
{
	static const struct {
		const char *page, *names, *token, *before;
		int err;
	} cases[] = {
		{HEAD "<IsTruncated>false</IsTruncated><Contents><Key>p/a</Key></Contents>"
		      "<Contents><Key>p/b%2dc</Key></Contents></ListBucketResult>",
		 "a;b-c;", "", "", 0},
		{HEAD "<Contents><Key>p/a</Key></Contents><Contents><Key>p/b/c</Key></Contents>"
		      "<Contents><Key>q/a</Key></Contents><Contents><Key>p/</Key></Contents>"
		      "<NextContinuationToken>x/&amp;=</NextContinuationToken>"
		      "<IsTruncated>true</IsTruncated>",
		 "a;", "x%2F%26%3D", "", 0},
		{HEAD "<IsTruncated>true</IsTruncated>", "", "", "", -EBADMSG},
		{HEAD
		 "<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>",
		 "", "", "", -EBADMSG},
		{HEAD "<IsTruncated>true</IsTruncated>"
		      "<NextContinuationToken>again</NextContinuationToken>",
		 "", "", "again", -EBADMSG},
		{HEAD "<IsTruncated>perhaps</IsTruncated>", "", "", "", -EBADMSG},
		{HEAD, "", "", "", -EBADMSG},
		{"<html>", "", "", "", -EBADMSG},
		{"", "", "", "", -EBADMSG},
		{HEAD "<IsTruncated>false</IsTruncated><Key>p/%zz</Key>", "", "", "", -EBADMSG},
		{HEAD "<IsTruncated>false</IsTruncated><Key>p/%00</Key>", "", "", "", -EBADMSG},
		{HEAD "<IsTruncated>false</IsTruncated><Key>p/a%2", "", "", "", 0},
		{HEAD "<IsTruncated>false</IsTruncated><Key>p/a<x></Key>", "", "", "", 0},
		{HEAD "<IsTruncated>false</IsTruncated><", "", "", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_http_listing listing = {.prefix = "p/"};
		struct names names = {.all = ""};
		char *page = strdup(cases[i].page);

		strcpy(listing.token, cases[i].before);
		assert_int_equal(pfs_http_list_page(&listing, page, take_name, &names),
				 cases[i].err);
		assert_string_equal(names.all, cases[i].names);
		assert_string_equal(listing.token, cases[i].token);
		free(page);
	}
}

/* Proves: a page cut off anywhere is refused or gives names that were in it. */
static void cut_pages(void **state)
{
	static const char page[] =
		HEAD "<IsTruncated>false</IsTruncated><Contents><Key>p/abc</Key></Contents>"
		     "<Contents><Key>p/d%2De</Key></Contents></ListBucketResult>";

	(void)state;
	for (size_t len = 0; len < sizeof(page); len++) {
		struct pfs_http_listing listing = {.prefix = "p/"};
		struct names names = {.all = ""};
		char *cut = strndup(page, len);
		int err = pfs_http_list_page(&listing, cut, take_name, &names);

		assert_true(err == 0 || err == -EBADMSG);
		assert_true(strncmp("abc;d-e;", names.all, strlen(names.all)) == 0);
		assert_true(strlen(names.all) % 4 == 0);
		free(cut);
	}
}

/* What is set to a text of so many bytes is refused, whatever it is for. */
static void expect_too_long(void **state, const char *variable, size_t len, const char *with)
{
	char *text = malloc(len + strlen(with) + 1);
	struct pfs_reason reason = {.text = ""};
	struct pfs_http_place place;

	clear_environment(state);
	setenv("AWS_ACCESS_KEY_ID", "KEY", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	memcpy(text, with, strlen(with));
	memset(text + strlen(with), 'a', len);
	text[strlen(with) + len] = 0;
	if (variable)
		setenv(variable, text, 1);
	assert_int_equal(pfs_http_place_parse(&place, variable ? "s3://bucket/p" : text, &reason),
			 -EINVAL);
	assert_true(reason.text[0]);
	free(text);
}

/* Proves: what is too long for its place is refused, and never cut off; and so is what would not
 * stand as it is in a request. */
static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		const char *variable, *value;
	} odd[] = {{"AWS_ACCESS_KEY_ID", "a:b"},    {"AWS_ACCESS_KEY_ID", "a b"},
		   {"AWS_SECRET_ACCESS_KEY", "\n"}, {"AWS_SESSION_TOKEN", "\x7f"},
		   {"AWS_REGION", "a/b"},	    {"AWS_REGION", "\xc3\xa4"},
		   {"AWS_ENDPOINT_URL", "http://"}, {"AWS_ENDPOINT_URL", "http://user@host"}};
	char key[] = "s3://b-1/k";
	struct pfs_http_place place;
	char small[8];

	expect_too_long(state, "AWS_REGION", 10000, "");
	expect_too_long(state, "AWS_ACCESS_KEY_ID", 10000, "");
	expect_too_long(state, "AWS_SECRET_ACCESS_KEY", 10000, "");
	expect_too_long(state, "AWS_SESSION_TOKEN", 10000, "");
	expect_too_long(state, "AWS_ENDPOINT_URL", PFS_HTTP_URL_MAX, "http://h/");
	expect_too_long(state, NULL, PFS_HTTP_URL_MAX, "http://h/");
	expect_too_long(state, NULL, PFS_HTTP_URL_MAX, "s3://b-1/");
	expect_too_long(state, NULL, 256, "s3://");
	for (size_t len = PFS_HTTP_URL_MAX - 80; len < PFS_HTTP_URL_MAX; len++) {
		/* Longer by the endpoint, or by what is encoded. */
		expect_too_long(state, NULL, len,
				"s3://b-1/\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
				"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
				"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
	}
	clear_environment(state);
	setenv("AWS_S3_ADDRESSING_STYLE", "virtual", 1);
	for (size_t len = PFS_HTTP_URL_MAX - 7; len < PFS_HTTP_URL_MAX; len++) {
		char *endpoint = malloc(len + 1);

		memset(endpoint, 'a', len);
		memcpy(endpoint, "http://", 7);
		endpoint[len] = 0;
		setenv("AWS_ENDPOINT_URL", endpoint, 1);
		assert_int_equal(pfs_http_place_parse(&place, key, NULL), -EINVAL);
		free(endpoint);
	}
	for (size_t i = 0; i < pfs_array_len(odd); i++) {
		struct pfs_reason reason = {.text = ""};

		clear_environment(state);
		setenv("AWS_ACCESS_KEY_ID", "KEY", 1);
		setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
		setenv(odd[i].variable, odd[i].value, 1);
		if (pfs_http_place_parse(&place, "s3://bucket/p", &reason) != -EINVAL)
			fail_msg("%s=%s", odd[i].variable, odd[i].value);
		assert_true(reason.text[0]);
	}
	clear_environment(state);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	setenv("AWS_ACCESS_KEY_ID", "", 1); /* is the same as none */
	assert_int_equal(pfs_http_place_parse(&place, "s3://bucket", NULL), -EINVAL);
	clear_environment(state);
	assert_false(pfs_http_encode(small, sizeof(small), "12345678", false));
	assert_false(pfs_http_encode(small, sizeof(small), "123456/", false));
	assert_false(pfs_http_encode(small, 0, "", false));
	assert_true(pfs_http_encode(small, sizeof(small), "1/23", true));
	assert_string_equal(small, "1/23");
}

/* Proves: names of buckets that can't stand in a host's name stand in the path. */
static void buckets_that_are_no_hosts(void **state)
{
	static const char *const names[] = {
		"ab",	"-ab",	"ab-",
		"Ab-c", "a_bc", "a123456789012345678901234567890123456789012345678901234567890123"};

	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_http_place place;
		char location[128], url[256];

		clear_environment(state);
		snprintf(location, sizeof(location), "s3://%s/p", names[i]);
		snprintf(url, sizeof(url), "https://s3.us-east-1.amazonaws.com/%s/p/", names[i]);
		assert_int_equal(pfs_http_place_parse(&place, location, NULL), 0);
		assert_string_equal(place.url, url);
		setenv("AWS_S3_ADDRESSING_STYLE", "virtual", 1);
		assert_int_equal(pfs_http_place_parse(&place, location, NULL), -EINVAL);
	}
	clear_environment(state);
}

/* Proves: whoever takes the names can stop a list; then there is no next page of it. */
static void a_list_can_be_stopped(void **state)
{
	struct pfs_http_listing listing = {.prefix = "p/"};
	struct names names = {.all = "", .answer = -EINTR};
	char page[] = HEAD "<IsTruncated>true</IsTruncated>"
			   "<NextContinuationToken>n</NextContinuationToken><Key>p/&apos;</Key>"
			   "<Key>p/a%4D%4d</Key><Key>p/b</Key>";
	char odd[] = HEAD "<IsTruncated>false</IsTruncated><Key>p/%4g</Key>";
	char cut[] = HEAD "<IsTruncated>false</IsTruncated><Key>p/&am</Key><Key>p/%:0</Key>";

	(void)state;
	assert_int_equal(pfs_http_list_page(&listing, page, take_name, &names), -EINTR);
	assert_string_equal(names.all, "aMM;");
	assert_string_equal(listing.token, "");
	assert_int_equal(pfs_http_list_page(&listing, odd, take_name, &names), -EBADMSG);
	assert_int_equal(pfs_http_list_page(&listing, cut, take_name, &names), -EBADMSG);
	assert_string_equal(names.all, "aMM;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(buckets_that_are_no_hosts),
		cmocka_unit_test(a_list_can_be_stopped),
		cmocka_unit_test_setup(plain_urls, clear_environment),
		cmocka_unit_test(buckets),
		cmocka_unit_test(credentials),
		cmocka_unit_test(pages_of_lists),
		cmocka_unit_test(cut_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
