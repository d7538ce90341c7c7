#include "storage/http_client.h"

#ifdef PFS_HAVE_CURL
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/http_client_internal.h"

#define PAUSE_FIRST_MS 50
#define PAUSE_DOUBLED 7	      /* times: up to some seconds */
#define TRANSFER_PER_S 65536u /* a link slower than that is none */
#define REDIRECTIONS_MAX 5
#define SHA256_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEADER_MAX 4200

#define MS (PFS_NSEC_PER_SEC / 1000)

/* ---- a client ---- */

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Signals are for the program's own threads. */
static int start_thread(struct pfs_http_client *client)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&client->thread, NULL, pfs_http_loop, client);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int pfs_http_client_new(struct pfs_http_client **out, const struct pfs_http_place *place,
			const struct pfs_http_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct pfs_http_client *client;
	int err = -ENOMEM;

	*out = NULL;
	pthread_once(&once, init_curl);
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->place = place;
	client->timeout_ms =
		options && options->timeout_ms ? options->timeout_ms : PFS_HTTP_TIMEOUT_DEFAULT_MS;
	if (client->timeout_ms < PFS_HTTP_TIMEOUT_MIN_MS)
		client->timeout_ms = PFS_HTTP_TIMEOUT_MIN_MS;
	if (options)
		client->logger = options->logger;
	client->todo_end = &client->todo;
	if (place->s3 && place->user[0])
		snprintf(client->sigv4, sizeof(client->sigv4), "aws:amz:%s:s3", place->region);
	pthread_mutex_init(&client->lock, NULL);
	pthread_cond_init(&client->over, NULL);
	client->multi = curl_multi_init();
	if (client->multi)
		err = start_thread(client);
	if (err) {
		if (client->multi)
			curl_multi_cleanup(client->multi);
		pthread_cond_destroy(&client->over);
		pthread_mutex_destroy(&client->lock);
		free(client);
		return err;
	}
	*out = client;
	return 0;
}

void pfs_http_client_free(struct pfs_http_client *client)
{
	pthread_mutex_lock(&client->lock);
	client->stopping = true;
	pthread_mutex_unlock(&client->lock);
	curl_multi_wakeup(client->multi);
	pthread_join(client->thread, NULL);
	while (client->idle_count)
		curl_easy_cleanup(client->idle[--client->idle_count]);
	curl_multi_cleanup(client->multi);
	pthread_cond_destroy(&client->over);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

int pfs_http_complain(struct pfs_http_client *client, int err, const char *url, const char *fmt,
		      ...)
{
	char text[PFS_LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pfs_logf_limited(&client->limit, &client->logger, PFS_LOG_ERROR, "%.256s: %s", url, text);
	return err;
}

/* ---- one attempt ---- */

static CURL *take_handle(struct pfs_http_client *client)
{
	CURL *easy = NULL;

	pthread_mutex_lock(&client->lock);
	if (client->idle_count)
		easy = client->idle[--client->idle_count];
	pthread_mutex_unlock(&client->lock);
	return easy ? easy : curl_easy_init();
}

static void put_handle(struct pfs_http_client *client, CURL *easy)
{
	curl_easy_reset(easy);
	pthread_mutex_lock(&client->lock);
	if (client->idle_count < pfs_array_len(client->idle)) {
		client->idle[client->idle_count++] = easy;
		easy = NULL;
	}
	pthread_mutex_unlock(&client->lock);
	if (easy)
		curl_easy_cleanup(easy);
}

static bool add_header(struct pfs_http_attempt *a, const char *name, const char *value)
{
	char line[HEADER_MAX];
	struct curl_slist *longer;

	snprintf(line, sizeof(line), "%s: %s", name, value);
	longer = curl_slist_append(a->headers, line);
	if (longer)
		a->headers = longer;
	return longer != NULL;
}

/* The library refuses options when it has no memory for them, and one that is missing must not go
 * unnoticed: a restriction would be. */
#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

/* With all that the signature of S3 says something about. */
static bool set_signature(const struct pfs_http_client *client, struct pfs_http_attempt *a)
{
	const struct pfs_http_place *place = client->place;
	const struct pfs_http_request *r = a->request;
	const char *payload = r->method != PFS_HTTP_PUT ? SHA256_OF_NOTHING
			      : r->sha256		? r->sha256
							: "UNSIGNED-PAYLOAD";

	if (!place->s3 || !place->user[0])
		return true;
	return SET(a->easy, CURLOPT_AWS_SIGV4, client->sigv4) &&
	       SET(a->easy, CURLOPT_USERPWD, place->user) &&
	       add_header(a, "x-amz-content-sha256", payload) &&
	       (!place->token[0] || add_header(a, "x-amz-security-token", place->token));
}

static bool set_upload(struct pfs_http_attempt *a)
{
	const struct pfs_http_request *r = a->request;
	CURL *easy = a->easy;

	return SET(easy, CURLOPT_READFUNCTION, pfs_http_give_body) &&
	       SET(easy, CURLOPT_READDATA, a) &&
	       SET(easy, CURLOPT_SEEKFUNCTION, pfs_http_seek_body) &&
	       SET(easy, CURLOPT_SEEKDATA, a) &&
	       SET(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size) &&
	       SET(easy, CURLOPT_UPLOAD, 1L) &&
	       (!r->only_new || add_header(a, "If-None-Match", "*")) &&
	       (!r->match || add_header(a, "If-Match", r->match));
}

static bool set_method(struct pfs_http_attempt *a)
{
	const struct pfs_http_request *r = a->request;
	char range[64];

	switch (r->method) {
	case PFS_HTTP_GET:
		snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, r->off, r->off + r->len - 1);
		return r->whole || SET(a->easy, CURLOPT_RANGE, range);
	case PFS_HTTP_HEAD: return SET(a->easy, CURLOPT_NOBODY, 1L);
	case PFS_HTTP_DELETE: return SET(a->easy, CURLOPT_CUSTOMREQUEST, "DELETE");
	case PFS_HTTP_PUT: break;
	}
	return set_upload(a);
}

/* Redirections of S3 would need another signature; those of an encrypted server stay encrypted. */
static bool set_protocols(const struct pfs_http_place *place, CURL *easy)
{
	const char *allowed = place->tls ? "https" : "http,https";

	/* PIPEWAIT: one connection of HTTP/2 for many requests, rather than many for one each. */
	return SET(easy, CURLOPT_PROTOCOLS_STR, allowed) &&
	       SET(easy, CURLOPT_REDIR_PROTOCOLS_STR, allowed) &&
	       SET(easy, CURLOPT_FOLLOWLOCATION, place->s3 ? 0L : 1L) &&
	       SET(easy, CURLOPT_MAXREDIRS, (long)REDIRECTIONS_MAX) &&
	       SET(easy, CURLOPT_PIPEWAIT, place->tls ? 1L : 0L) &&
	       (!place->ca_file || SET(easy, CURLOPT_CAINFO, place->ca_file));
}

static bool set_callbacks(struct pfs_http_attempt *a)
{
	CURL *easy = a->easy;

	return SET(easy, CURLOPT_PRIVATE, a) && SET(easy, CURLOPT_ERRORBUFFER, a->error) &&
	       SET(easy, CURLOPT_HEADERFUNCTION, pfs_http_take_header) &&
	       SET(easy, CURLOPT_HEADERDATA, a) &&
	       SET(easy, CURLOPT_WRITEFUNCTION, pfs_http_take_body) &&
	       SET(easy, CURLOPT_WRITEDATA, a);
}

static int prepare(struct pfs_http_client *client, struct pfs_http_attempt *a, bool again)
{
	CURL *easy = a->easy;
	bool good;

	/* A library that knows nothing of these goes on without. */
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	if (!client->place->s3)
		(void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
	/* FRESH_CONNECT: what went wrong may have been the connection. */
	good = SET(easy, CURLOPT_URL, a->request->url) && set_callbacks(a) &&
	       SET(easy, CURLOPT_NOSIGNAL, 1L) && SET(easy, CURLOPT_NOPROGRESS, 1L) &&
	       SET(easy, CURLOPT_TCP_KEEPALIVE, 1L) && SET(easy, CURLOPT_USERAGENT, "payloadfs") &&
	       SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(a->stall_ns / MS)) &&
	       SET(easy, CURLOPT_FRESH_CONNECT, again ? 1L : 0L) &&
	       set_protocols(client->place, easy) && set_method(a) && set_signature(client, a) &&
	       (!a->headers || SET(easy, CURLOPT_HTTPHEADER, a->headers));
	return good ? 0 : -ENOMEM;
}

/* Returns the verdict, and takes the time it took off *left_ns; *wait_ms: the server asks to be
 * left alone so long. */
static enum pfs_http_verdict try_once(struct pfs_http_client *client,
				      struct pfs_http_request *request, int64_t *left_ns,
				      bool again, int *err, char *why, unsigned *wait_ms)
{
	struct pfs_http_attempt a = {
		.request = request,
		.time_ns = *left_ns,
		/* So that there is time for another one. */
		.stall_ns = client->timeout_ms * MS / 3,
	};
	enum pfs_http_verdict verdict = PFS_HTTP_DONE;
	curl_off_t retry_after = 0;

	request->got = 0;
	request->total = UINT64_MAX;
	request->etag[0] = 0;
	a.easy = take_handle(client);
	*err = a.easy ? prepare(client, &a, again) : -ENOMEM;
	snprintf(why, PFS_HTTP_WHY_MAX, "no memory");
	if (!*err) {
		pfs_http_transfer(client, &a);
		*left_ns -= a.took_ns;
		verdict = pfs_http_judge(&a, err, why);
		curl_easy_getinfo(a.easy, CURLINFO_RETRY_AFTER, &retry_after);
	}
	*wait_ms = retry_after > 0 && retry_after < 3600 ? (unsigned)retry_after * 1000 : 0;
	curl_slist_free_all(a.headers);
	if (a.easy)
		put_handle(client, a.easy);
	return verdict;
}

/* ---- trying again ---- */

static void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * MS};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Doubling, with chance, so that many clients do not come back at the same moment. */
static unsigned pause_ms(unsigned tries, const void *seed)
{
	unsigned ms = PAUSE_FIRST_MS << pfs_min_u64(tries, PAUSE_DOUBLED);
	uint64_t chance = pfs_mix64((uint64_t)pfs_now_monotonic() ^ (uint64_t)(uintptr_t)seed);

	return ms / 2 + (unsigned)(chance % (ms / 2 + 1));
}

static bool is_away(struct pfs_http_client *client)
{
	bool away;

	pthread_mutex_lock(&client->lock);
	away = client->away;
	pthread_mutex_unlock(&client->lock);
	return away;
}

static void set_away(struct pfs_http_client *client, bool away)
{
	bool back;

	pthread_mutex_lock(&client->lock);
	back = client->away && !away;
	client->away = away;
	pthread_mutex_unlock(&client->lock);
	if (back)
		pfs_logf(&client->logger, PFS_LOG_INFO, "%s answers again", client->place->url);
}

/* What a condition was for is not worth a line. */
static bool is_answer_to_condition(const struct pfs_http_request *request, int err)
{
	if (err == -EOPNOTSUPP)
		return request->only_new || request->match;
	return (err == -EEXIST && request->only_new) || (err == -ESTALE && request->match);
}

int pfs_http_perform(struct pfs_http_client *client, struct pfs_http_request *request)
{
	uint64_t bytes = request->method == PFS_HTTP_PUT ? request->size : request->len;
	int64_t left =
		client->timeout_ms * MS + (int64_t)(bytes / TRANSFER_PER_S) * PFS_NSEC_PER_SEC;
	bool once = is_away(client);
	char why[PFS_HTTP_WHY_MAX] = "", latest[PFS_HTTP_WHY_MAX];
	unsigned tries = 0, odd = 0, wait_ms;
	enum pfs_http_verdict verdict;
	int err;

	for (;;) {
		unsigned pause;

		verdict = try_once(client, request, &left, tries > 0, &err, latest, &wait_ms);
		/* The last attempt has only what time was left. */
		if (tries++ == 0 || strcmp(latest, PFS_HTTP_TOO_LONG) != 0)
			memcpy(why, latest, sizeof(why));
		if (verdict == PFS_HTTP_DONE)
			break;
		odd += verdict == PFS_HTTP_TWICE;
		pause = wait_ms ? wait_ms : pause_ms(tries - 1, request);
		left -= pause * MS;
		if (once || odd > 1 || left <= 0)
			break;
		sleep_ms(pause);
	}
	set_away(client, verdict == PFS_HTTP_AGAIN);
	if (err && err != -ENOENT && !is_answer_to_condition(request, err))
		(void)pfs_http_complain(client, err, request->url, "%s%s", why,
					tries > 1 ? ", and so several times" : "");
	return err;
}
#endif
