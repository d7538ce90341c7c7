/* Rank 1: the parts of the client: http_client.c (when to try, and when again), http_client_loop.c
 * (the thread that transfers), http_client_answer.c (what came). */
#ifndef PFS_HTTP_CLIENT_INTERNAL_H
#define PFS_HTTP_CLIENT_INTERNAL_H

#ifdef PFS_HAVE_CURL
#include <curl/curl.h>
#include <pthread.h>

#include "storage/http_client.h"
#include "storage/monotonic.h"

#define PFS_HTTP_WHY_MAX (CURL_ERROR_SIZE + 128)
#define PFS_HTTP_ERROR_BODY_MAX 1024
/* Why an attempt was ended when the time for all of them was over. */
#define PFS_HTTP_TOO_LONG "the answer took too long"

/* One try of a request. Its maker waits until it is `over`; until then it belongs to the client's
 * thread. */
struct pfs_http_attempt {
	struct pfs_http_attempt *next; /* of those that are not begun */
	struct pfs_http_request *request;
	CURL *easy;
	struct curl_slist *headers;
	int64_t time_ns, stall_ns;  /* may take so long, and so long without a byte */
	int64_t begun_ns, moved_ns; /* a byte came or went */
	int64_t took_ns;
	uint64_t sent;
	bool over;

	/* What came. */
	CURLcode code;
	const char *ended;			    /* by us, and why; NULL: not */
	bool range_seen;			    /* Content-Range: */
	bool range_unreadable;			    /* the same, but it makes no sense */
	uint64_t range_from, range_to, range_total; /* both ends included; UINT64_MAX: not said */
	bool too_much;				    /* the body is longer than asked for */
	bool ignored_range;			    /* 200 for a part */
	char etag[PFS_HTTP_ETAG_MAX];
	char error_body[PFS_HTTP_ERROR_BODY_MAX];
	size_t error_len;
	char error[CURL_ERROR_SIZE];
};

struct pfs_http_client {
	const struct pfs_http_place *place;
	unsigned timeout_ms;
	struct pfs_logger logger;
	struct pfs_log_limit limit;
	char sigv4[128];

	pthread_mutex_t lock;
	pthread_cond_t over;
	CURLM *multi;
	struct pfs_http_attempt *todo, **todo_end;
	CURL *idle[16]; /* handles to use again */
	unsigned idle_count;
	bool stopping;
	bool away; /* the last request was given up: the next ones are tried once */
	pthread_t thread;
};

/* What an attempt came to. */
enum pfs_http_verdict {
	PFS_HTTP_DONE,	/* with err: for good */
	PFS_HTTP_AGAIN, /* worth another try while there is time: nobody answered, or asked to wait
			 */
	PFS_HTTP_TWICE, /* worth a second try: an answer that makes no sense */
};
enum pfs_http_verdict pfs_http_judge(struct pfs_http_attempt *attempt, int *err,
				     char why[PFS_HTTP_WHY_MAX]);

/* Callbacks for libcurl; arg is the attempt. */
size_t pfs_http_take_header(char *line, size_t size, size_t count, void *arg);
size_t pfs_http_take_body(char *bytes, size_t size, size_t count, void *arg);
size_t pfs_http_give_body(char *bytes, size_t size, size_t count, void *arg);
int pfs_http_seek_body(void *arg, curl_off_t off, int origin);

/* Has the client's thread do it, and waits until it is over. */
void pfs_http_transfer(struct pfs_http_client *client, struct pfs_http_attempt *attempt);
void *pfs_http_loop(void *arg);

#endif
#endif
