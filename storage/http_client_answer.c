/* What a server answered: taken in as it comes, and judged when it is whole. Nothing of it is
 * believed: lengths, ranges and texts are bounded and compared with what was asked. */
#ifdef PFS_HAVE_CURL
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "storage/http_client_internal.h"

/* ---- taking in ---- */

static bool parse_decimal(const char **p, uint64_t *out)
{
	uint64_t n = 0;
	unsigned digits = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++, digits++) {
		if (n > (UINT64_MAX - 9) / 10)
			return false;
		n = 10 * n + (uint64_t)(**p - '0');
	}
	*out = n;
	return digits > 0;
}

/* `bytes FROM-TO/TOTAL`; TOTAL may be a star, and so may FROM-TO when nothing of the range is
 * there.
 */
static bool parse_range(const char *p, struct pfs_http_attempt *a)
{
	a->range_from = a->range_to = a->range_total = UINT64_MAX;
	if (strncasecmp(p, "bytes", 5) != 0)
		return false;
	p += 5;
	p += strspn(p, " \t=");
	if (*p == '*') {
		p++;
	} else {
		if (!parse_decimal(&p, &a->range_from) || *p++ != '-' ||
		    !parse_decimal(&p, &a->range_to) || a->range_to < a->range_from)
			return false;
	}
	if (*p++ != '/')
		return false;
	if (*p == '*')
		return true;
	return parse_decimal(&p, &a->range_total) &&
	       (a->range_to == UINT64_MAX || a->range_to < a->range_total);
}

/* The value of a header, without blanks around it; false: it is another one. */
static bool header_value(char *out, size_t size, const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	line += n + 1;
	len -= n + 1;
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len && (unsigned char)line[len - 1] <= ' ')
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(out, line, len);
	out[len] = 0;
	return true;
}

size_t pfs_http_take_header(char *line, size_t size, size_t count, void *arg)
{
	struct pfs_http_attempt *a = arg;
	size_t len = size * count;
	char value[PFS_HTTP_ETAG_MAX];

	a->moved_ns = pfs_now_monotonic();
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* another answer, after a redirection */
		a->range_seen = a->range_unreadable = false;
		a->etag[0] = 0;
		a->error_len = 0;
	} else if (header_value(value, sizeof(value), line, len, "Content-Range")) {
		a->range_seen = true;
		a->range_unreadable = !parse_range(value, a);
	} else if (header_value(value, sizeof(value), line, len, "ETag")) {
		memcpy(a->etag, value, sizeof(a->etag));
	}
	return len;
}

/* An answer that is not what was asked for is cut off at once: it could be a file of any length. */
size_t pfs_http_take_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct pfs_http_attempt *a = arg;
	struct pfs_http_request *request = a->request;
	size_t len = size * count;
	long status = 0;

	a->moved_ns = pfs_now_monotonic();
	curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	if (request->method != PFS_HTTP_GET || (status != 200 && status != 206)) {
		size_t n = pfs_min_u64(len, sizeof(a->error_body) - 1 - a->error_len);

		memcpy(a->error_body + a->error_len, bytes, n);
		a->error_len += n;
		a->error_body[a->error_len] = 0;
		return len;
	}
	if (status == 200 && !request->whole && request->off > 0) {
		a->ignored_range = true;
		return 0;
	}
	if (len > request->len - request->got) {
		a->too_much = true;
		return 0;
	}
	memcpy((char *)request->buf + request->got, bytes, len);
	request->got += len;
	return len;
}

size_t pfs_http_give_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct pfs_http_attempt *a = arg;
	size_t len = (size_t)pfs_min_u64(size * count, a->request->size - a->sent);
	ssize_t n;

	a->moved_ns = pfs_now_monotonic();
	if (!len)
		return 0;
	do
		n = pread(a->request->fd, bytes, len, (off_t)a->sent);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return CURL_READFUNC_ABORT;
	a->sent += (uint64_t)n;
	return (size_t)n;
}

int pfs_http_seek_body(void *arg, curl_off_t off, int origin)
{
	struct pfs_http_attempt *a = arg;

	if (origin != SEEK_SET || off < 0)
		return CURL_SEEKFUNC_CANTSEEK;
	a->sent = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

/* ---- judging ---- */

static const char *tried(const struct pfs_http_attempt *a)
{
	return a->error[0] ? a->error : curl_easy_strerror(a->code);
}

static enum pfs_http_verdict judge_failure(const struct pfs_http_attempt *a, char *why)
{
	switch (a->code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		snprintf(why, PFS_HTTP_WHY_MAX, "the server is not to be trusted: %s", tried(a));
		return PFS_HTTP_DONE;
	case CURLE_URL_MALFORMAT:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_FAILED_INIT:
	case CURLE_NOT_BUILT_IN:
	case CURLE_BAD_FUNCTION_ARGUMENT:
	case CURLE_ABORTED_BY_CALLBACK:
		snprintf(why, PFS_HTTP_WHY_MAX, "%s", tried(a));
		return PFS_HTTP_DONE;
	case CURLE_OUT_OF_MEMORY:
		snprintf(why, PFS_HTTP_WHY_MAX, "no memory, or a header that is too long");
		return PFS_HTTP_TWICE;
	case CURLE_UNSUPPORTED_PROTOCOL: /* also of an answer that is not HTTP */
	case CURLE_WEIRD_SERVER_REPLY:
		snprintf(why, PFS_HTTP_WHY_MAX, "%s", tried(a));
		return PFS_HTTP_TWICE;
	case CURLE_PARTIAL_FILE:
		snprintf(why, PFS_HTTP_WHY_MAX, "the answer was cut off: %s", tried(a));
		return PFS_HTTP_AGAIN;
	default: snprintf(why, PFS_HTTP_WHY_MAX, "%s", tried(a)); return PFS_HTTP_AGAIN;
	}
}

/* S3 says in words what it does not like. */
static void put_status(const struct pfs_http_attempt *a, long status, const char *what, char *why)
{
	const char *code = strstr(a->error_len ? a->error_body : "", "<Code>");
	size_t len = code ? strcspn(code + 6, "<") : 0;

	snprintf(why, PFS_HTTP_WHY_MAX, "%s (HTTP %ld%s%.*s)", what, status, len ? ", " : "",
		 (int)pfs_min_u64(len, 64), len ? code + 6 : "");
}

static enum pfs_http_verdict judge_refusal(struct pfs_http_attempt *a, long status, int *err,
					   char *why)
{
	switch (status) {
	case 401:
	case 403:
		*err = -EACCES;
		put_status(a, status, "the server refuses", why);
		return PFS_HTTP_DONE;
	case 404:
	case 410:
		*err = a->request->match ? -ESTALE : -ENOENT;
		put_status(a, status, "not there", why);
		return PFS_HTTP_DONE;
	case 412:
		*err = a->request->match ? -ESTALE : a->request->only_new ? -EEXIST : -EIO;
		put_status(a, status, "there already, or another one", why);
		return PFS_HTTP_DONE;
	case 501:
		*err = a->request->only_new || a->request->match ? -EOPNOTSUPP : -EIO;
		put_status(a, status, "the server does not know how", why);
		return PFS_HTTP_DONE;
	case 408:
	case 409: /* others change it */
	case 425:
	case 429: put_status(a, status, "the server asks to wait", why); return PFS_HTTP_AGAIN;
	default: break;
	}
	if (status >= 500 && status != 505) {
		put_status(a, status, "the server has failed", why);
		return PFS_HTTP_AGAIN;
	}
	put_status(a, status,
		   status >= 300 && status < 400 ? "the server sends us elsewhere"
						 : "the server does not understand",
		   why);
	return PFS_HTTP_DONE;
}

/* The bytes that were asked for, as many of them as the file has, and no others. */
static enum pfs_http_verdict judge_range(struct pfs_http_attempt *a, int *err, char *why)
{
	struct pfs_http_request *r = a->request;
	uint64_t wanted_to = r->off + r->len - 1;

	if (!a->range_seen || a->range_unreadable || a->range_from == UINT64_MAX) {
		snprintf(why, PFS_HTTP_WHY_MAX, "a part came, but the server did not say which");
		return PFS_HTTP_TWICE;
	}
	if (a->range_from != r->off || a->range_to > wanted_to || a->too_much) {
		snprintf(why, PFS_HTTP_WHY_MAX,
			 "asked for bytes %" PRIu64 "-%" PRIu64 ", the server sent %" PRIu64
			 "-%" PRIu64 "%s",
			 r->off, wanted_to, a->range_from, a->range_to,
			 a->too_much ? " and more" : "");
		return PFS_HTTP_TWICE;
	}
	if (r->got != a->range_to - a->range_from + 1) {
		snprintf(why, PFS_HTTP_WHY_MAX,
			 "the server announced bytes %" PRIu64 "-%" PRIu64 " and sent %zu",
			 a->range_from, a->range_to, r->got);
		return PFS_HTTP_AGAIN;
	}
	if (a->range_to < wanted_to && a->range_total != a->range_to + 1) {
		snprintf(why, PFS_HTTP_WHY_MAX,
			 "asked for bytes %" PRIu64 "-%" PRIu64 ", the server sent only %" PRIu64
			 "-%" PRIu64,
			 r->off, wanted_to, a->range_from, a->range_to);
		return PFS_HTTP_TWICE;
	}
	r->total = a->range_total;
	*err = 0;
	return PFS_HTTP_DONE;
}

static enum pfs_http_verdict judge_get(struct pfs_http_attempt *a, long status, int *err, char *why)
{
	struct pfs_http_request *r = a->request;

	if (status == 416 && !r->whole && a->range_seen && !a->range_unreadable &&
	    a->range_total <= r->off) { /* from the end on there is nothing */
		r->got = 0;
		r->total = a->range_total;
		*err = 0;
		return PFS_HTTP_DONE;
	}
	if (status == 206 && !r->whole)
		return judge_range(a, err, why);
	if (status != 200)
		return judge_refusal(a, status, err, why);
	if (r->whole && a->too_much) {
		snprintf(why, PFS_HTTP_WHY_MAX, "the answer is longer than %zu bytes", r->len);
		return PFS_HTTP_DONE;
	}
	/* All of a file that is not longer than the part from its beginning that was asked for. */
	if (a->ignored_range || a->too_much) {
		snprintf(why, PFS_HTTP_WHY_MAX,
			 "asked for a part, the server sends the whole (HTTP 200): it does not "
			 "serve ranges");
		return PFS_HTTP_TWICE;
	}
	r->total = r->got;
	*err = 0;
	return PFS_HTTP_DONE;
}

static enum pfs_http_verdict judge_head(struct pfs_http_attempt *a, long status, int *err,
					char *why)
{
	curl_off_t len = -1;

	if (status != 200)
		return judge_refusal(a, status, err, why);
	curl_easy_getinfo(a->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &len);
	if (len < 0) {
		snprintf(why, PFS_HTTP_WHY_MAX, "the server does not say how long it is");
		return PFS_HTTP_TWICE;
	}
	a->request->total = (uint64_t)len;
	*err = 0;
	return PFS_HTTP_DONE;
}

enum pfs_http_verdict pfs_http_judge(struct pfs_http_attempt *a, int *err,
				     char why[PFS_HTTP_WHY_MAX])
{
	long status = 0;

	why[0] = 0;
	*err = -EIO;
	if (a->ended) {
		snprintf(why, PFS_HTTP_WHY_MAX, "%s", a->ended);
		return PFS_HTTP_AGAIN;
	}
	curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	if (a->code != CURLE_OK && !a->ignored_range && !a->too_much)
		return judge_failure(a, why);
	memcpy(a->request->etag, a->etag, sizeof(a->etag));
	switch (a->request->method) {
	case PFS_HTTP_GET: return judge_get(a, status, err, why);
	case PFS_HTTP_HEAD: return judge_head(a, status, err, why);
	default: break;
	}
	if (status < 200 || status >= 300)
		return judge_refusal(a, status, err, why);
	*err = 0;
	return PFS_HTTP_DONE;
}
#endif
