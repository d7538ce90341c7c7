/* storage/http_url.c and http_list.c: what a location means, and what a bucket's list says. */
#include <ctype.h>
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

static int value_of(int c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower(c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Proves: of all pairs of characters behind a percent sign just those of two digits are a byte, and
 * not that of no character; names that the backend can't open are left out. */
static void bytes_of_names(void **state)
{
	(void)state;
	for (int high = 1; high < 256; high++) {
		for (int low = 1; low < 256; low++) {
			struct pfs_http_listing listing = {.prefix = "p/"};
			struct names names = {.all = ""};
			char page[128], expected[8] = "";
			int byte = value_of(high) < 0 || value_of(low) < 0
					   ? 0
					   : 16 * value_of(high) + value_of(low);

			if (strchr("<&", high) || strchr("<&", low))
				continue;
			snprintf(page, sizeof(page),
				 HEAD "<IsTruncated>false</IsTruncated><Key>p/x%%%c%cy</Key>", high,
				 low);
			if (byte && byte < 128 && (isalnum(byte) || strchr("-._", byte)))
				snprintf(expected, sizeof(expected), "x%cy;", byte);
			assert_int_equal(pfs_http_list_page(&listing, page, take_name, &names),
					 byte ? 0 : -EBADMSG);
			assert_string_equal(names.all, expected);
		}
	}
}

/* Proves: the five characters that XML has names for are taken for what they are, and nothing else
 * is; elements of other names, and those that do not end, hold no names. */
static void texts_of_pages(void **state)
{
	static const struct {
		const char *prefix, *keys, *names;
	} cases[] = {
		{"a&b<c>d\"e'f/", "<Key>a&amp;b&lt;c&gt;d&quot;e&apos;f/n</Key>", "n;"},
		{"&&/", "<Key>&amp;&amp;/n</Key>", "n;"},
		{"&lt;/", "<Key>&amp;lt;/n</Key>", "n;"},
		{"&am;/", "<Key>&am;/n</Key>", "n;"},
		{"&AMP;/", "<Key>&AMP;/n</Key>", "n;"},
		{"&#38;/", "<Key>&#38;/n</Key>", "n;"},
		{"&/", "<Key>&/n</Key>", "n;"},
		{"%/", "<Key>%25/n</Key>", "n;"},
		{"", "<Key>n</Key>", "n;"},
		{"", "<Key></Key><Key>n</Key>", "n;"},
		{"", "<Keys>m</Keys><Key>n</Key>", "n;"},
		{"", "<Ke>m</Ke><Key>n</Key>", "n;"},
		{"", "<<Key>n</Key>", "n;"},
		{"", "Key>m</Key><Key>n</Key>", "n;"},
		{"", "<Key>n</Key><Key>o</Key>", "n;o;"},
		{"", "<Key>n</Key>x<Key>o</Key>", "n;o;"},
		{"", "<Key>n</key><Key>o</Key>", ""},
		{"", "<Key>n</Keys><Key>o</Key>", ""},
		{"", "<Key>n<b></b></Key>", ""},
		{"", "<Key>n", ""},
		{"", "<Key>n<", ""},
		{"", "<Key>n</", ""},
		{"", "<Key>n</Key", ""},
		{"", "<Key>n<i>o</Key><Key>q</Key>", "q;"},
		{"pre/", "<Key>pre/.n</Key><Key>pre/n</Key><Key>pr</Key><Key>pre/</Key>", "n;"},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_http_listing listing = {.prefix = cases[i].prefix};
		struct names names = {.all = ""};
		char *page = malloc(512);

		snprintf(page, 512, HEAD "%s<IsTruncated>false</IsTruncated>", cases[i].keys);
		/* An element that does not end hides what comes behind it, but not this. */
		if (strcmp(cases[i].names, "") == 0)
			snprintf(page, 512, HEAD "<IsTruncated>false</IsTruncated>%s",
				 cases[i].keys);
		strcpy(listing.token, "of the one before");
		assert_int_equal(pfs_http_list_page(&listing, page, take_name, &names), 0);
		assert_string_equal(names.all, cases[i].names);
		assert_string_equal(listing.token, "");
		free(page);
	}
}

/* Proves: a token of any length up to its room is taken, encoded, and a longer one is refused. */
static void tokens_of_pages(void **state)
{
	(void)state;
	for (unsigned with = 0; with < 2; with++) {
		for (size_t len = PFS_HTTP_TOKEN_MAX - 8; len < PFS_HTTP_TOKEN_MAX + 2; len++) {
			struct pfs_http_listing listing = {.prefix = "p/"};
			struct names names = {.all = ""};
			char token[PFS_HTTP_TOKEN_MAX + 8], *page;
			/* The last one has room for three. */
			bool fits = len + 2 * with < PFS_HTTP_TOKEN_MAX - 2;

			memset(token, 't', len);
			token[len] = 0;
			if (with)
				token[0] = '/';
			assert_true(asprintf(&page,
					     HEAD "<IsTruncated>true</IsTruncated><Key>p/n</Key>"
						  "<NextContinuationToken>%s"
						  "</NextContinuationToken>",
					     token) > 0);
			assert_int_equal(pfs_http_list_page(&listing, page, take_name, &names),
					 fits ? 0 : -EBADMSG);
			assert_string_equal(names.all, fits ? "n;" : "");
			assert_int_equal(strlen(listing.token), fits ? len + 2 * with : 0);
			free(page);
		}
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

/* Proves: of a place nothing is left that was there before: what its location does not say is
 * empty, also when it is refused. */
static void places_have_nothing_else(void **state)
{
	static const char *const locations[] = {"http://host/a", "https://host/", "s3://b-1",
						"s3://b-1/c",	 "http://",	  "ftp://x"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(locations); i++) {
		struct pfs_reason reason = {.text = ""};
		struct pfs_http_place place, again;
		int err;

		memset(&place, 0x68, sizeof(place));
		memset(&again, 0, sizeof(again));
		err = pfs_http_place_parse(&place, locations[i], &reason);
		assert_int_equal(pfs_http_place_parse(&again, locations[i], &reason), err);
		assert_string_equal(place.url, again.url);
		assert_string_equal(place.bucket, again.bucket);
		assert_string_equal(place.prefix, again.prefix);
		assert_string_equal(place.region, again.region);
		assert_string_equal(place.user, "");
		assert_string_equal(place.token, "");
		assert_int_equal(place.s3, again.s3);
		assert_int_equal(place.tls, again.tls);
		assert_null(place.ca_file);
	}
}

/* Proves: each refusal says what is wrong with what, in these words. */
static void refusals_say_why(void **state)
{
	static const char blanks[] = ": blanks, '?', '#' and other than ASCII can't be in it "
				     "(percent-encode them)";
	static const char no_bucket[] = ": that is no bucket";
	static const char dots[] = ": has empty parts, or dots for names";
	static const struct {
		const char *variable, *value, *location, *says; /* NULL: it is taken */
		bool of_location;				/* which comes first */
	} cases[] = {
		{NULL, NULL, "http://", ": there is no host in it", true},
		{NULL, NULL, "https:///x", ": there is no host in it", true},
		{NULL, NULL, "http://a@b",
		 "a URL with user or password would show them in the list of mounts: ~/.netrc is "
		 "for "
		 "them",
		 false},
		{NULL, NULL, "http://a/b@c", NULL, false},
		{NULL, NULL, "http://a?b", blanks, true},
		{NULL, NULL, "http://a#b", blanks, true},
		{NULL, NULL, "http://a b", blanks, true},
		{NULL, NULL, "http://a!b", NULL, false},
		{NULL, NULL, "http://a~b", NULL, false},
		{NULL, NULL, "http://a\x7f", blanks, true},
		{NULL, NULL, "http://a\x80", blanks, true},
		{NULL, NULL, "http:/a", ": URLs begin with http://, https:// or s3://", true},
		{NULL, NULL, "s3:/a", ": URLs begin with http://, https:// or s3://", true},
		{NULL, NULL, "", ": URLs begin with http://, https:// or s3://", true},
		{NULL, NULL, "s3://", no_bucket, true},
		{NULL, NULL, "s3:///a", no_bucket, true},
		{NULL, NULL, "s3://a*b", no_bucket, true},
		{NULL, NULL, "s3://b-1/.", dots, true},
		{NULL, NULL, "s3://b-1/..", dots, true},
		{NULL, NULL, "s3://b-1/a/.", dots, true},
		{NULL, NULL, "s3://b-1/a/..", dots, true},
		{NULL, NULL, "s3://b-1/./a", dots, true},
		{NULL, NULL, "s3://b-1/../a", dots, true},
		{NULL, NULL, "s3://b-1/a//b", dots, true},
		{NULL, NULL, "s3://b-1/.a/b./...", NULL, false},
		{"AWS_ACCESS_KEY_ID", "K", "s3://b-1",
		 "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not: both are needed, or "
		 "neither",
		 false},
		{"AWS_SECRET_ACCESS_KEY", "K", "s3://b-1",
		 "AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not: both are needed, or "
		 "neither",
		 false},
		{"AWS_ACCESS_KEY_ID", "", "s3://b-1", NULL, false},
		{"AWS_SESSION_TOKEN", "\n", "s3://b-1", NULL, false}, /* nobody signs */
		{"AWS_REGION", "a b", "s3://b-1", "AWS_REGION is not one", false},
		{"AWS_REGION", "a:b", "s3://b-1", "AWS_REGION is not one", false},
		{"AWS_REGION", "a/b", "s3://b-1", "AWS_REGION is not one", false},
		{"AWS_DEFAULT_REGION", "a\x7f", "s3://b-1", "AWS_REGION is not one", false},
		{"AWS_REGION", "a/b", "http://h", NULL, false},
		{"AWS_S3_ADDRESSING_STYLE", "virtua", "s3://b-1",
		 "AWS_S3_ADDRESSING_STYLE: path, virtual or auto is expected", false},
		{"AWS_S3_ADDRESSING_STYLE", "", "s3://b-1", NULL, false},
		{"AWS_S3_ADDRESSING_STYLE", "virtual", "s3://b.1",
		 "b.1: can't be a part of a host's name", false},
		{"AWS_S3_ADDRESSING_STYLE", "path", "s3://b.1", NULL, false},
		{"AWS_ENDPOINT_URL", "h:80", "s3://b-1", "AWS_ENDPOINT_URL: h:80 is no http(s) URL",
		 false},
		{"AWS_ENDPOINT_URL_S3", "s3://h", "s3://b-1",
		 "AWS_ENDPOINT_URL: s3://h is no http(s) URL", false},
		{"AWS_ENDPOINT_URL", "http://a?b", "s3://b-1",
		 "http://a?b: blanks, '?', '#' and other than ASCII can't be in it "
		 "(percent-encode them)",
		 false},
		{"AWS_ENDPOINT_URL", "https://", "s3://b-1", "https://: there is no host in it",
		 false},
	};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason = {.text = ""};
		struct pfs_http_place place;
		char want[512] = "";
		int err;

		clear_environment(state);
		if (cases[i].variable)
			setenv(cases[i].variable, cases[i].value, 1);
		err = pfs_http_place_parse(&place, cases[i].location, &reason);
		if (cases[i].says)
			snprintf(want, sizeof(want), "%s%s",
				 cases[i].of_location ? cases[i].location : "", cases[i].says);
		assert_int_equal(err, cases[i].says ? -EINVAL : 0);
		assert_string_equal(reason.text, want);
	}
	clear_environment(state);
}

/* Sets a variable to so many letters behind a beginning. */
static void set_long(const char *variable, const char *begin, size_t len)
{
	char *text = malloc(len + 1);

	memset(text, 'a', len);
	text[len] = '\0';
	memcpy(text, begin, strlen(begin));
	setenv(variable, text, 1);
	free(text);
}

/* Proves: each text may be as long as there is room for it, to the byte. */
static void lengths_are_exact(void **state)
{
	static const struct {
		const char *variable, *begin;
		size_t max; /* of the text */
		const char *says;
	} cases[] = {
		{"AWS_REGION", "", 63, "AWS_REGION is not one"},
		{"AWS_SECRET_ACCESS_KEY", "", 507, "AWS_ACCESS_KEY_ID or the secret is not one"},
		{"AWS_SESSION_TOKEN", "", 4095, "AWS_SESSION_TOKEN is not one"},
		{"AWS_ENDPOINT_URL", "http://", PFS_HTTP_URL_MAX - 1 - 7, "the URL is too long"},
		{"LOCATION", "http://", PFS_HTTP_URL_MAX - 2, "the URL is too long"},
		{"LOCATION", "s3://", 260, NULL},
	};

	for (size_t i = 0; i < pfs_array_len(cases) * 2; i++) {
		const size_t of = i / 2, len = cases[of].max + i % 2;
		struct pfs_reason reason = {.text = ""};
		struct pfs_http_place place;
		const char *location;
		int err;

		clear_environment(state);
		setenv("AWS_ACCESS_KEY_ID", "KEY", 1);
		setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
		set_long(cases[of].variable, cases[of].begin, len);
		location = getenv("LOCATION");
		err = pfs_http_place_parse(&place, location ? location : "s3://b-1/p", &reason);
		assert_int_equal(err, i % 2 ? -EINVAL : 0);
		if (i % 2 && cases[of].says)
			assert_string_equal(reason.text, cases[of].says);
		if (!err && location)
			assert_int_equal(strlen(place.url),
					 location[0] == 'h' ? len + 1 : 255 + 36);
		unsetenv("LOCATION");
	}
	clear_environment(state);
}

/* Proves: each byte stands for itself or is encoded, and there is room for exactly so much. */
static void bytes_are_encoded_by_their_kind(void **state)
{
	char out[16], want[16], text[4];

	(void)state;
	for (unsigned c = 1; c < 256; c++) {
		for (int slashes = 0; slashes < 2; slashes++) {
			bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				     (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' ||
				     c == '~' || (slashes && c == '/');

			sprintf(text, "x%cy", (int)c);
			sprintf(want, plain ? "x%cy" : "x%%%02Xy", (int)c);
			assert_true(pfs_http_encode(out, sizeof(out), text, slashes));
			assert_string_equal(out, want);
			/* A character may need three bytes, and the end one. */
			for (size_t size = 0; size < 10; size++)
				assert_int_equal(pfs_http_encode(out, size, text, slashes),
						 size >= strlen(want) + 3);
		}
	}
	assert_true(pfs_http_encode(out, 1, "", false));
	assert_string_equal(out, "");
}

/* Proves: buckets of 3 to 63 fit in front of a host, and what stands around them is kept. */
static void buckets_that_are_hosts(void **state)
{
	static const char *const names[] = {
		"abc", "a-9", "0z0",
		"a12345678901234567890123456789012345678901234567890123456789012"};

	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_http_place place;
		char location[128], url[256];

		clear_environment(state);
		snprintf(location, sizeof(location), "s3://%s/p", names[i]);
		snprintf(url, sizeof(url), "https://%s.s3.us-east-1.amazonaws.com/p/", names[i]);
		assert_int_equal(pfs_http_place_parse(&place, location, NULL), 0);
		assert_string_equal(place.url, url);
		assert_true(place.tls && place.s3);
		assert_null(place.ca_file);
		setenv("AWS_ENDPOINT_URL", "http://h:1/x/", 1);
		assert_int_equal(pfs_http_place_parse(&place, location, NULL), 0);
		snprintf(url, sizeof(url), "http://h:1/x/%s/p/", names[i]);
		assert_string_equal(place.url, url);
		assert_false(place.tls);
		setenv("AWS_S3_ADDRESSING_STYLE", "virtual", 1);
		assert_int_equal(pfs_http_place_parse(&place, location, NULL), 0);
		snprintf(url, sizeof(url), "http://%s.h:1/x/p/", names[i]);
		assert_string_equal(place.url, url);
		snprintf(url, sizeof(url), "http://%s.h:1/x/", names[i]);
		assert_string_equal(place.bucket, url);
	}
	clear_environment(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(buckets_that_are_no_hosts),
		cmocka_unit_test(buckets_that_are_hosts),
		cmocka_unit_test(refusals_say_why),
		cmocka_unit_test(places_have_nothing_else),
		cmocka_unit_test(lengths_are_exact),
		cmocka_unit_test(bytes_are_encoded_by_their_kind),
		cmocka_unit_test(a_list_can_be_stopped),
		cmocka_unit_test_setup(plain_urls, clear_environment),
		cmocka_unit_test(buckets),
		cmocka_unit_test(credentials),
		cmocka_unit_test(pages_of_lists),
		cmocka_unit_test(cut_pages),
		cmocka_unit_test(bytes_of_names),
		cmocka_unit_test(texts_of_pages),
		cmocka_unit_test(tokens_of_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
