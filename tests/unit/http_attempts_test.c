/* storage/http_client.c without a server: what libcurl is told of each kind of request, and what is
 * made of each sequence of answers: how often is tried, with how much time, what is said in the
 * end. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "storage/http_client_internal.h"
#include "tests/unit/fenced.h"

#ifdef PFS_HAVE_CURL
static int note_sleep(const struct timespec *t, struct timespec *left);
static CURLcode note_option(CURLoption option, ...);
static void fake_transfer(struct pfs_http_client *client, struct pfs_http_attempt *a);
static enum pfs_http_verdict fake_judge(struct pfs_http_attempt *a, int *err, char *why);
static CURLcode say_when(CURLINFO what, curl_off_t *out);

/* The signals that the client's thread takes none of. */
static sigset_t blocked;
static bool blocked_known; /* atomic */
static unsigned resets;

static void *note_mask(void *client)
{
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	__atomic_store_n(&blocked_known, true, __ATOMIC_RELEASE);
	return pfs_http_loop(client);
}

static void note_reset(CURL *easy)
{
	resets++;
	curl_easy_reset(easy);
}

static unsigned begun, multis; /* libcurl, as a whole; handles that are not given back */
static bool multi_fails;
static int thread_fails;

static CURLcode note_begin(long flags)
{
	assert_int_equal(flags, CURL_GLOBAL_DEFAULT);
	begun++;
	return curl_global_init(flags);
}

static CURLM *count_multi(void)
{
	assert_int_equal(begun, 1);
	if (multi_fails)
		return NULL;
	multis++;
	return curl_multi_init();
}

static CURLMcode uncount_multi(CURLM *multi)
{
	assert_non_null(multi);
	multis--;
	return curl_multi_cleanup(multi);
}

static int fake_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
		       void *arg)
{
	return thread_fails ? thread_fails : pthread_create(thread, attr, fn, arg);
}

#undef curl_easy_setopt
#undef curl_easy_getinfo
#define curl_global_init note_begin
#define curl_multi_init count_multi
#define curl_multi_cleanup uncount_multi
#define pthread_create fake_create
#define pfs_http_loop note_mask
#define curl_easy_reset note_reset
#define curl_easy_setopt(easy, option, value) ((void)(easy), note_option(option, value))
#define curl_easy_getinfo(easy, what, out) say_when(what, out)
#define nanosleep note_sleep
#define pfs_http_transfer fake_transfer
#define pfs_http_judge fake_judge
#include "storage/http_client.c"
#undef pthread_create
#undef nanosleep
#undef curl_easy_reset
#undef pfs_http_loop
#undef pfs_http_transfer
#undef pfs_http_judge

#define OPTIONS_MAX 128

/* What the attempt was told, by option. */
static struct {
	CURLoption option;
	char value[700];
} told[OPTIONS_MAX];
static size_t told_count, refused_at;

static void note_headers(char *out, const struct curl_slist *list)
{
	for (*out = '\0'; list; list = list->next)
		strcat(strcat(out, list->data), ";");
}

static CURLcode note_option(CURLoption option, ...)
{
	char *value = told[told_count].value;
	const size_t size = sizeof(told[0].value);
	const char *text;
	va_list ap;

	assert_true(told_count < OPTIONS_MAX);
	told[told_count].option = option;
	va_start(ap, option);
	if (option == CURLOPT_HTTPHEADER) {
		note_headers(value, va_arg(ap, struct curl_slist *));
	} else if (option < CURLOPTTYPE_OBJECTPOINT) {
		snprintf(value, size, "%ld", va_arg(ap, long));
	} else if (option >= CURLOPTTYPE_OFF_T) {
		snprintf(value, size, "%lld", (long long)va_arg(ap, curl_off_t));
	} else if (option >= CURLOPTTYPE_FUNCTIONPOINT) {
		void (*fn)(void) = va_arg(ap, void (*)(void));

		text = fn == (void (*)(void))pfs_http_take_header ? "take_header"
		       : fn == (void (*)(void))pfs_http_take_body ? "take_body"
		       : fn == (void (*)(void))pfs_http_give_body ? "give_body"
		       : fn == (void (*)(void))pfs_http_seek_body ? "seek_body"
								  : "another";
		snprintf(value, size, "%s", text);
	} else {
		text = va_arg(ap, const char *);
		snprintf(value, size, "%s",
			 option == CURLOPT_PRIVATE || option == CURLOPT_HEADERDATA ||
					 option == CURLOPT_WRITEDATA ||
					 option == CURLOPT_READDATA || option == CURLOPT_SEEKDATA ||
					 option == CURLOPT_ERRORBUFFER
				 ? "its own"
				 : text);
	}
	va_end(ap);
	told_count++;
	return told_count == refused_at ? CURLE_OUT_OF_MEMORY : CURLE_OK;
}

/* It was told that, once. */
static void expect_told(CURLoption option, const char *value)
{
	unsigned found = 0;

	for (size_t i = 0; i < told_count; i++) {
		if (told[i].option != option)
			continue;
		assert_string_equal(told[i].value, value);
		told[i].option = 0;
		found++;
	}
	if (found != 1)
		fail_msg("option %d: told %u times", option, found);
}

static void expect_nothing_else(void)
{
	for (size_t i = 0; i < told_count; i++)
		if (told[i].option)
			fail_msg("option %d: %s", told[i].option, told[i].value);
	told_count = 0;
}

/* ---- answers ---- */

struct step {
	enum pfs_http_verdict verdict;
	int err;
	const char *why;
	unsigned took_ms;
	long retry_after;
};

static const struct step *steps; /* the answers to come */
static int64_t less_ns;		 /* that each took, than its step says */
static unsigned tries;
static int64_t times_ms[16], stalls_ms[16]; /* that each try was given */
static unsigned slept_ms[16], sleeps;

static void fake_transfer(struct pfs_http_client *client, struct pfs_http_attempt *a)
{
	assert_non_null(client);
	assert_true(tries < pfs_array_len(times_ms));
	times_ms[tries] = a->time_ns / 1000000;
	stalls_ms[tries] = a->stall_ns / 1000000;
	a->took_ns = steps[tries].took_ms * INT64_C(1000000) - less_ns;
	assert_int_equal(a->request->got, 0);
	assert_true(a->request->total == UINT64_MAX && !a->request->etag[0]);
	a->request->got = 5; /* is forgotten by the next try */
	a->request->total = 5;
	strcpy(a->request->etag, "x");
}

static enum pfs_http_verdict fake_judge(struct pfs_http_attempt *a, int *err, char *why)
{
	(void)a;
	*err = steps[tries].err;
	strcpy(why, steps[tries].why);
	return steps[tries].verdict;
}

static CURLcode say_when(CURLINFO what, curl_off_t *out)
{
	assert_int_equal(what, CURLINFO_RETRY_AFTER);
	*out = steps[tries++].retry_after;
	return CURLE_OK;
}

/* The first sleeps end early, with this error. */
static unsigned interruptions;
static int interrupted_by;

static int note_sleep(const struct timespec *t, struct timespec *left)
{
	assert_true(sleeps < pfs_array_len(slept_ms));
	assert_in_range(t->tv_nsec, 0, 999999999);
	slept_ms[sleeps++] = (unsigned)(t->tv_sec * 1000 + t->tv_nsec / 1000000);
	if (!interruptions)
		return 0;
	interruptions--;
	*left = (struct timespec){.tv_nsec = 7000000};
	errno = interrupted_by;
	return -1;
}

static char lines[2048];

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	sprintf(lines + strlen(lines), "%d %.600s\n", level, line);
}

#define TIMEOUT_MS 3000

static struct pfs_http_client *new_client(struct pfs_http_place *place)
{
	const struct pfs_http_options options = {.timeout_ms = TIMEOUT_MS,
						 .logger = {.fn = take_line}};
	struct pfs_http_client *client;

	assert_int_equal(pfs_http_client_new(&client, place, &options), 0);
	return client;
}

static int perform(struct pfs_http_client *client, struct pfs_http_request *request,
		   const struct step *answers)
{
	steps = answers;
	tries = sleeps = 0;
	told_count = 0;
	lines[0] = '\0';
	return pfs_http_perform(client, request);
}

static const struct step good[] = {{PFS_HTTP_DONE, 0, "", 0, 0}};

/* ---- what libcurl is told ---- */

static void expect_common(const char *url, const char *protocols, bool s3, bool tls)
{
	expect_told(CURLOPT_HTTP_VERSION, "4"); /* 2 over TLS */
	if (!s3)
		expect_told(CURLOPT_NETRC, "1");
	expect_told(CURLOPT_URL, url);
	expect_told(CURLOPT_PRIVATE, "its own");
	expect_told(CURLOPT_ERRORBUFFER, "its own");
	expect_told(CURLOPT_HEADERFUNCTION, "take_header");
	expect_told(CURLOPT_HEADERDATA, "its own");
	expect_told(CURLOPT_WRITEFUNCTION, "take_body");
	expect_told(CURLOPT_WRITEDATA, "its own");
	expect_told(CURLOPT_NOSIGNAL, "1");
	expect_told(CURLOPT_NOPROGRESS, "1");
	expect_told(CURLOPT_TCP_KEEPALIVE, "1");
	expect_told(CURLOPT_USERAGENT, "payloadfs");
	expect_told(CURLOPT_CONNECTTIMEOUT_MS, "1000"); /* a third */
	expect_told(CURLOPT_FRESH_CONNECT, "0");
	expect_told(CURLOPT_PROTOCOLS_STR, protocols);
	expect_told(CURLOPT_REDIR_PROTOCOLS_STR, protocols);
	expect_told(CURLOPT_FOLLOWLOCATION, s3 ? "0" : "1");
	expect_told(CURLOPT_MAXREDIRS, "5");
	expect_told(CURLOPT_PIPEWAIT, tls ? "1" : "0");
}

static void expect_upload(const char *size)
{
	expect_told(CURLOPT_READFUNCTION, "give_body");
	expect_told(CURLOPT_READDATA, "its own");
	expect_told(CURLOPT_SEEKFUNCTION, "seek_body");
	expect_told(CURLOPT_SEEKDATA, "its own");
	expect_told(CURLOPT_INFILESIZE_LARGE, size);
	expect_told(CURLOPT_UPLOAD, "1");
}

#define NOTHING_SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Proves: each kind of request is made as it is meant, of a plain server and of S3, with and
 * without encryption, conditions and signature: every option that is set, and no other. */
static void requests_are_made_as_meant(void **state)
{
	struct pfs_http_place place = {.url = "http://h/"}, s3 = {.s3 = true, .region = "r-1"};
	char buf[10];

	(void)state;
	for (unsigned kind = 0; kind < 12; kind++) {
		struct pfs_http_request r = {.method = PFS_HTTP_GET,
					     .url = "http://h/f",
					     .off = 7,
					     .len = 10,
					     .buf = buf};
		struct pfs_http_place *at = kind < 6 ? &place : &s3;
		struct pfs_http_client *client;
		char headers[700] = "";

		place.tls = kind == 1;
		place.ca_file = kind == 1 ? "/ca" : NULL;
		strcpy(s3.user, kind == 6 ? "" : "key:secret");
		strcpy(s3.token, kind == 9 ? "token==" : "");
		r.whole = kind == 1;
		if (kind == 2)
			r.method = PFS_HTTP_HEAD;
		if (kind == 3 || kind == 10)
			r.method = PFS_HTTP_DELETE;
		if (kind == 4 || kind == 5 || kind == 8 || kind == 9) {
			r.method = PFS_HTTP_PUT;
			r.size = 77 + kind;
			r.only_new = kind == 4 || kind == 9;
			r.match = kind == 5 ? "\"v1\"" : NULL;
			r.sha256 = kind == 8 || kind == 4 ? "abcdef" : NULL;
		}
		client = new_client(at);
		assert_int_equal(perform(client, &r, good), 0);
		assert_int_equal(tries, 1);
		assert_int_equal(stalls_ms[0], 1000);
		expect_common("http://h/f", kind == 1 ? "https" : "http,https", kind >= 6,
			      kind == 1);
		if (kind == 1)
			expect_told(CURLOPT_CAINFO, "/ca");
		if (r.method == PFS_HTTP_GET && !r.whole)
			expect_told(CURLOPT_RANGE, "7-16");
		if (r.method == PFS_HTTP_HEAD)
			expect_told(CURLOPT_NOBODY, "1");
		if (r.method == PFS_HTTP_DELETE)
			expect_told(CURLOPT_CUSTOMREQUEST, "DELETE");
		if (r.method == PFS_HTTP_PUT)
			expect_upload(kind == 4	  ? "81"
				      : kind == 5 ? "82"
				      : kind == 8 ? "85"
						  : "86");
		if (r.only_new)
			strcat(headers, "If-None-Match: *;");
		if (r.match)
			strcat(headers, "If-Match: \"v1\";");
		if (kind > 6) {
			expect_told(CURLOPT_AWS_SIGV4, "aws:amz:r-1:s3");
			expect_told(CURLOPT_USERPWD, "key:secret");
			strcat(headers, "x-amz-content-sha256: ");
			strcat(headers, kind == 8   ? "abcdef;"
					: kind == 9 ? "UNSIGNED-PAYLOAD;"
						    : NOTHING_SHA ";");
		}
		if (kind == 9)
			strcat(headers, "x-amz-security-token: token==;");
		if (*headers)
			expect_told(CURLOPT_HTTPHEADER, headers);
		expect_nothing_else();
		pfs_http_client_free(client);
	}
}

/* Proves: where libcurl refuses an option the request is not made without it, but for those that
 * older ones lack. */
static void options_are_not_optional(void **state)
{
	struct pfs_http_place place = {
		.s3 = true, .region = "r", .user = "k:s", .token = "t", .ca_file = "/ca"};
	struct pfs_http_request r = {.method = PFS_HTTP_PUT, .url = "http://h/f", .only_new = true};
	struct pfs_http_client *client = new_client(&place);
	size_t count;

	(void)state;
	assert_int_equal(perform(client, &r, good), 0);
	count = told_count;
	assert_int_equal(count, 29);
	for (refused_at = 1; refused_at <= count; refused_at++) {
		bool may_lack = told[refused_at - 1].option == CURLOPT_HTTP_VERSION;
		int err;

		/* Another one, of which not too much was said yet. */
		pfs_http_client_free(client);
		client = new_client(&place);
		err = perform(client, &r, good);
		assert_int_equal(err, may_lack ? 0 : -ENOMEM);
		assert_string_equal(lines, may_lack ? "" : "0 http://h/f: no memory\n");
		assert_int_equal(tries, may_lack); /* nothing is sent otherwise */
		assert_int_equal(sleeps, 0);
	}
	refused_at = 0;
	pfs_http_client_free(client);
}

/* ---- what is made of answers ---- */

#define AGAIN(why, took, after)                        \
	{                                              \
		PFS_HTTP_AGAIN, -EIO, why, took, after \
	}
#define TWICE(why)                              \
	{                                       \
		PFS_HTTP_TWICE, -EIO, why, 0, 0 \
	}
#define DONE(err)                             \
	{                                     \
		PFS_HTTP_DONE, err, "w", 0, 0 \
	}

/* Proves: what may help is tried again, as long as there is time, what is odd once more; the last
 * reason is said, once, with what it is about, but for answers that are no faults. */
static void answers_are_tried_again_while_it_helps(void **state)
{
	static const struct {
		struct step steps[6];
		bool only_new, match;
		unsigned tries;
		int err;
		const char *says;
		int64_t times_ms[3]; /* that the tries are given; 0: any */
		unsigned slept_ms[3];
	} cases[] = {
		{{DONE(0)}, .tries = 1, .says = "", .times_ms = {TIMEOUT_MS}},
		{{DONE(-EIO)}, .tries = 1, .err = -EIO, .says = "0 http://h/f: w\n"},
		{{DONE(-EACCES)}, .tries = 1, .err = -EACCES, .says = "0 http://h/f: w\n"},
		{{DONE(-ENOENT)}, .tries = 1, .err = -ENOENT, .says = ""},
		{{DONE(-EEXIST)}, true, .tries = 1, .err = -EEXIST, .says = ""},
		{{DONE(-EEXIST)},
		 .match = true,
		 .tries = 1,
		 .err = -EEXIST,
		 .says = "0 http://h/f: w\n"},
		{{DONE(-ESTALE)}, .match = true, .tries = 1, .err = -ESTALE, .says = ""},
		{{DONE(-ESTALE)}, true, .tries = 1, .err = -ESTALE, .says = "0 http://h/f: w\n"},
		{{DONE(-EOPNOTSUPP)}, true, .tries = 1, .err = -EOPNOTSUPP, .says = ""},
		{{DONE(-EOPNOTSUPP)}, .match = true, .tries = 1, .err = -EOPNOTSUPP, .says = ""},
		{{DONE(-EOPNOTSUPP)}, .tries = 1, .err = -EOPNOTSUPP, .says = "0 http://h/f: w\n"},
		{{AGAIN("a", 0, 0), DONE(0)}, .tries = 2, .says = "", .times_ms = {TIMEOUT_MS}},
		{{AGAIN("a", 0, 0), AGAIN("b", 0, 0), DONE(-EACCES)},
		 .tries = 3,
		 .err = -EACCES,
		 .says = "0 http://h/f: w, and so several times\n"},
		{{TWICE("a"), DONE(0)}, .tries = 2, .says = ""},
		{{TWICE("a"), TWICE("b")},
		 .tries = 2,
		 .err = -EIO,
		 .says = "0 http://h/f: b, and so several times\n"},
		{{TWICE("a"), AGAIN("b", 0, 0), TWICE("c")},
		 .tries = 3,
		 .err = -EIO,
		 .says = "0 http://h/f: c, and so several times\n"},
		/* Time that is over, also by what is asked to wait. */
		{{AGAIN("a", 500, 1), AGAIN("b", 499, 1), DONE(0)},
		 .tries = 3,
		 .says = "",
		 .times_ms = {3000, 1500, 1},
		 .slept_ms = {1000, 1000}},
		{{AGAIN("a", 1000, 2), DONE(0)},
		 .tries = 1,
		 .err = -EIO,
		 .says = "0 http://h/f: a\n"},
		{{AGAIN("a", 999, 2), DONE(0)},
		 .tries = 2,
		 .says = "",
		 .times_ms = {3000, 1},
		 .slept_ms = {2000}},
		{{AGAIN("a", 0, 3), DONE(0)}, .tries = 1, .err = -EIO, .says = "0 http://h/f: a\n"},
		{{AGAIN("a", 0, 3599), DONE(0)},
		 .tries = 1,
		 .err = -EIO,
		 .says = "0 http://h/f: a\n"},
		{{AGAIN("a", 0, 3600), DONE(0)}, .tries = 2, .says = ""},
		{{AGAIN("a", 0, -1), DONE(0)}, .tries = 2, .says = ""},
		/* What is said is what came of a try that had its time. */
		{{AGAIN("a", 2000, 0), AGAIN(PFS_HTTP_TOO_LONG, 1000, 0)},
		 .tries = 2,
		 .err = -EIO,
		 .says = "0 http://h/f: a, and so several times\n"},
		{{AGAIN(PFS_HTTP_TOO_LONG, 3000, 0)},
		 .tries = 1,
		 .err = -EIO,
		 .says = "0 http://h/f: " PFS_HTTP_TOO_LONG "\n"},
	};
	struct pfs_http_place place = {.url = "http://h/"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_http_request r = {.method = PFS_HTTP_PUT,
					     .url = "http://h/f",
					     .only_new = cases[i].only_new,
					     .match = cases[i].match ? "v" : NULL};
		struct pfs_http_client *client = new_client(&place);
		int err = perform(client, &r, cases[i].steps);

		if (err != cases[i].err || tries != cases[i].tries ||
		    strcmp(lines, cases[i].says) != 0)
			fail_msg("%zu: %d after %u tries, %s", i, err, tries, lines);
		assert_int_equal(sleeps, tries - 1);
		for (unsigned k = 0; k < 3; k++) {
			if (cases[i].times_ms[k])
				assert_int_equal(times_ms[k], cases[i].times_ms[k]);
			if (cases[i].slept_ms[k])
				assert_int_equal(slept_ms[k], cases[i].slept_ms[k]);
		}
		/* By whom an answer was the last time is not asked again and again. */
		assert_int_equal(client->away,
				 cases[i].err == -EIO &&
					 cases[i].steps[tries - 1].verdict == PFS_HTTP_AGAIN);
		pfs_http_client_free(client);
	}
}

/* Proves: as long as any time is left, it is used. */
static void all_time_is_used(void **state)
{
	static const struct step answers[] = {AGAIN("a", 1000, 2), DONE(0)};
	struct pfs_http_place place = {.url = "http://h/"};
	struct pfs_http_request r = {.method = PFS_HTTP_HEAD, .url = "http://h/f"};

	(void)state;
	for (less_ns = 1; less_ns >= 0; less_ns--) {
		struct pfs_http_client *client = new_client(&place);

		assert_int_equal(perform(client, &r, answers), less_ns ? 0 : -EIO);
		assert_int_equal(tries, 1 + less_ns);
		pfs_http_client_free(client);
	}
	less_ns = 0;
}

/* Proves: pauses double up to a bound; by how much each is shorter is another chance each time, for
 * one request as for many. */
static void pauses_are_not_all_alike(void **state)
{
	const void *const seeds[] = {NULL, state, (void *)UINTPTR_MAX};

	for (size_t s = 0; s < pfs_array_len(seeds); s++)
		for (unsigned tries_before = 0; tries_before < 10; tries_before++) {
			unsigned bound = 50u << pfs_min_u64(tries_before, 7), few = UINT_MAX,
				 most = 0;

			for (unsigned i = 0; i < 300; i++) {
				unsigned ms = pause_ms(tries_before, seeds[s]);

				few = ms < few ? ms : few;
				most = ms > most ? ms : most;
			}
			assert_in_range(few, bound / 2, bound / 2 + bound / 8);
			assert_in_range(most, bound - bound / 8, bound);
		}
}

/* Proves: a try that follows another has a connection of its own; a server that was given up is
 * asked once, until it answers, which is said. */
static void servers_that_are_away_are_asked_once(void **state)
{
	static const struct step away[] = {AGAIN("a", 3000, 0)}, again[] = {AGAIN("b", 0, 0)},
				 odd[] = {TWICE("c")}, twice[] = {AGAIN("d", 0, 0), DONE(0)};
	struct pfs_http_place place = {.url = "http://h/"};
	struct pfs_http_request r = {.method = PFS_HTTP_HEAD, .url = "http://h/f"};
	struct pfs_http_client *client = new_client(&place);

	(void)state;
	assert_int_equal(perform(client, &r, away), -EIO);
	assert_int_equal(perform(client, &r, again), -EIO);
	assert_int_equal(tries, 1);
	assert_string_equal(lines, "0 http://h/f: b\n");
	assert_int_equal(perform(client, &r, good), 0);
	assert_string_equal(lines, "2 http://h/ answers again\n");
	assert_int_equal(perform(client, &r, good), 0);
	assert_string_equal(lines, "");
	assert_int_equal(perform(client, &r, away), -EIO);
	assert_int_equal(perform(client, &r, odd), -EIO); /* an answer */
	assert_int_equal(tries, 1);
	assert_string_equal(lines, "2 http://h/ answers again\n0 http://h/f: c\n");
	assert_int_equal(perform(client, &r, twice), 0);
	assert_int_equal(tries, 2);
	assert_in_range(slept_ms[0], 25, 50);
	for (size_t i = 0, fresh = 0; i < told_count; i++)
		if (told[i].option == CURLOPT_FRESH_CONNECT)
			assert_string_equal(told[i].value, fresh++ ? "1" : "0");
	pfs_http_client_free(client);
}

/* Proves: the time for a request is what was said, some seconds at least, and more for what is
 * long; handles are kept, so many as are of use. */
static void times_and_handles_are_bounded(void **state)
{
	static const struct {
		unsigned timeout_ms;
		int64_t want_ms;
	} cases[] = {{0, PFS_HTTP_TIMEOUT_DEFAULT_MS},
		     {1, PFS_HTTP_TIMEOUT_MIN_MS},
		     {PFS_HTTP_TIMEOUT_MIN_MS - 1, PFS_HTTP_TIMEOUT_MIN_MS},
		     {PFS_HTTP_TIMEOUT_MIN_MS, PFS_HTTP_TIMEOUT_MIN_MS},
		     {PFS_HTTP_TIMEOUT_MIN_MS + 1, PFS_HTTP_TIMEOUT_MIN_MS + 1}};
	struct pfs_http_place place = {.url = "http://h/"};
	struct pfs_http_client *client;
	CURL *handles[20];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct pfs_http_options options = {.timeout_ms = cases[i].timeout_ms};
		struct pfs_http_request r = {.method = PFS_HTTP_GET,
					     .url = "http://h/f",
					     .len = 3 * 65536 + 65535,
					     .size = 1 << 30};

		assert_int_equal(pfs_http_client_new(&client, &place, &options), 0);
		assert_int_equal(perform(client, &r, good), 0);
		assert_int_equal(times_ms[0], cases[i].want_ms + 3000);
		assert_int_equal(stalls_ms[0], cases[i].want_ms / 3);
		r.method = PFS_HTTP_PUT;
		r.size = 65536;
		assert_int_equal(perform(client, &r, good), 0);
		assert_int_equal(times_ms[0], cases[i].want_ms + 1000);
		assert_int_equal(client->idle_count, 1);
		pfs_http_client_free(client);
	}
	assert_int_equal(pfs_http_client_new(&client, &place, NULL), 0);
	assert_int_equal(client->timeout_ms, PFS_HTTP_TIMEOUT_DEFAULT_MS);
	for (unsigned i = 0; i < 20; i++)
		handles[i] = take_handle(client);
	resets = 0;
	for (unsigned i = 0; i < 20; i++)
		put_handle(client, handles[i]);
	assert_int_equal(client->idle_count, 16);
	assert_int_equal(resets, 20); /* nothing of a request comes into the next one */
	assert_ptr_equal(take_handle(client), handles[15]);
	client->idle[client->idle_count++] = handles[15];
	pfs_http_client_free(client);
}

/* Proves: a pause is as long as it is meant to be, also when a signal comes. */
static void pauses_are_slept_to_their_end(void **state)
{
	static const unsigned pauses[] = {0, 1, 999, 1000, 1001, 1999, 2000, 3599000};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(pauses); i++) {
		sleeps = 0;
		sleep_ms(pauses[i]);
		assert_int_equal(sleeps, 1);
		assert_int_equal(slept_ms[0], pauses[i]);
	}
	sleeps = 0;
	interruptions = 2;
	interrupted_by = EINTR;
	sleep_ms(50);
	assert_int_equal(sleeps, 3);
	assert_true(slept_ms[0] == 50 && slept_ms[1] == 7 && slept_ms[2] == 7);
	sleeps = 0;
	interruptions = 2;
	interrupted_by = EINVAL;
	sleep_ms(50);
	assert_int_equal(sleeps, 1);
	interruptions = 0;
}

/* Proves: signals are for the program's own threads, which take them as before. */
static void signals_are_for_others(void **state)
{
	struct pfs_http_place place = {.url = "http://h/"};
	sigset_t before, after;
	struct pfs_http_client *client;

	(void)state;
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	blocked_known = false;
	client = new_client(&place);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	for (int signal = 1; signal < 32; signal++)
		assert_int_equal(sigismember(&after, signal), signal == SIGUSR2);
	sigemptyset(&after);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &after, NULL), 0);
	pfs_http_client_free(client); /* it has ended */
	assert_true(__atomic_load_n(&blocked_known, __ATOMIC_ACQUIRE));
	assert_true(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT) &&
		    sigismember(&blocked, SIGHUP) && sigismember(&blocked, SIGUSR2));
}

/* Proves: without memory, or a thread, there is no client, its error is given, and nothing is left
 * of it. */
static void there_may_be_no_client(void **state)
{
	static const struct {
		bool memory, multi;
		int thread, err;
	} cases[] = {{true, false, 0, -ENOMEM},
		     {false, true, 0, -ENOMEM},
		     {false, false, EAGAIN, -EAGAIN},
		     {false, false, EPERM, -EPERM}};
	struct pfs_http_place place = {.url = "http://h/"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_http_client *client = (struct pfs_http_client *)&place;

		if (cases[i].memory)
			fenced_refuse(0);
		multi_fails = cases[i].multi;
		thread_fails = cases[i].thread;
		assert_int_equal(pfs_http_client_new(&client, &place, NULL), cases[i].err);
		assert_null(client);
		assert_int_equal(fenced_blocks, 0);
		assert_int_equal(multis, 0);
	}
	multi_fails = false;
	thread_fails = 0;
	pfs_http_client_free(new_client(&place));
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(multis, 0);
	assert_int_equal(begun, 1);
}

/* Proves: a complaint names what it is about, as much of it as is of use, and gives its error. */
static void complaints_name_their_file(void **state)
{
	struct pfs_http_place place = {.url = "http://h/"};
	struct pfs_http_client *client = new_client(&place);
	char url[400], want[400];

	(void)state;
	lines[0] = '\0';
	memset(url, 'u', sizeof(url) - 1);
	url[sizeof(url) - 1] = '\0';
	assert_int_equal(pfs_http_complain(client, -EUCLEAN, url, "%d of %s", 7, "nine"), -EUCLEAN);
	snprintf(want, sizeof(want), "0 %.256s: 7 of nine\n", url);
	assert_string_equal(lines, want);
	pfs_http_client_free(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_made_as_meant),
		cmocka_unit_test(options_are_not_optional),
		cmocka_unit_test(answers_are_tried_again_while_it_helps),
		cmocka_unit_test(all_time_is_used),
		cmocka_unit_test(pauses_are_not_all_alike),
		cmocka_unit_test(servers_that_are_away_are_asked_once),
		cmocka_unit_test(times_and_handles_are_bounded),
		cmocka_unit_test(pauses_are_slept_to_their_end),
		cmocka_unit_test(signals_are_for_others),
		cmocka_unit_test(there_may_be_no_client),
		cmocka_unit_test(complaints_name_their_file),
	};

	return cmocka_run_group_tests_name("attempts of requests", tests, NULL, NULL);
}
#else
int main(void)
{
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
}
#endif
