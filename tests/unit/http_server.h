/* For the tests of the HTTP backend: a server on the loopback interface, in threads of the test,
 * that has files in memory and goes wrong in every way that is asked of it. */
#ifndef PFS_TEST_HTTP_SERVER_H
#define PFS_TEST_HTTP_SERVER_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/base.h"

enum server_fault {
	FAULT_NONE,
	FAULT_RESET,   /* the connection, instead of an answer */
	FAULT_CLOSE,   /* the same, politely */
	FAULT_GARBAGE, /* what is not HTTP */
	FAULT_503,
	FAULT_429, /* wait for a second */
	FAULT_403,
	FAULT_400,
	FAULT_WHOLE,	   /* 200 and all of the file */
	FAULT_SHORT_RANGE, /* fewer bytes than asked for, and says so */
	FAULT_WRONG_RANGE, /* bytes from another place, and says so */
	FAULT_MORE,	   /* the right range, and a byte more */
	FAULT_FEWER,	   /* the right range announced, a byte less sent */
	FAULT_CUT,	   /* the connection ends within the body */
	FAULT_NO_RANGE,	   /* 206, but not which */
	FAULT_MAD_RANGE,   /* Content-Range: bytes 9-3/1 */
	FAULT_SILENT,	   /* takes the request, and that is all */
	FAULT_STALL,	   /* stops within the body */
	FAULT_TRICKLE,	   /* a byte now and then */
	FAULT_REDIRECT,	   /* to a name that is there */
	FAULT_REDIRECT_LOOP,
	FAULT_HUGE_HEADER,
	FAULT_501,
	FAULT_404,
	FAULT_412,
	FAULT_LOST,	 /* it is done, but nobody hears of it */
	FAULT_NO_LENGTH, /* 200, and not how long it is */
	FAULT_LONG,	 /* 200, and more than any list has */
	FAULT_NO_LIST,	 /* 200, and what is none */
};

#define SERVER_FILES_MAX 64
#define SERVER_CONNECTIONS_MAX 256
#define SERVER_REQUEST_MAX 16384
#define SERVER_LONG (9u << 20)

struct server_file {
	char path[512];
	uint8_t *bytes;
	size_t len;
	unsigned version;
};

struct server {
	int fd, port;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct server_file files[SERVER_FILES_MAX];
	unsigned file_count;
	enum server_fault fault;
	unsigned fault_count;  /* requests that it hits */
	const char *fault_put; /* only those that put a file with this name; NULL: any */
	unsigned requests;
	char last[SERVER_REQUEST_MAX]; /* the last request's head */
	bool shut;		       /* requests wait */
	unsigned waiting;
	bool stopping;
	int connections[SERVER_CONNECTIONS_MAX];
	unsigned threads;   /* of connections */
	unsigned list_page; /* names in a page of a list */
	bool heedless;	    /* takes no notice of conditions */
	bool weak;	    /* its ETags are */
};

/* Called by each thread of a server when it begins. */
static void (*server_thread_begins)(void);

static struct server_file *server_find(struct server *s, const char *path, bool make)
{
	for (unsigned i = 0; i < s->file_count; i++)
		if (strcmp(s->files[i].path, path) == 0)
			return &s->files[i];
	if (!make)
		return NULL;
	assert_true(s->file_count < SERVER_FILES_MAX);
	snprintf(s->files[s->file_count].path, sizeof(s->files[0].path), "%s", path);
	return &s->files[s->file_count++];
}

static void server_put(struct server *s, const char *path, const void *bytes, size_t len)
{
	struct server_file *file;

	pthread_mutex_lock(&s->lock);
	file = server_find(s, path, true);
	free(file->bytes);
	file->bytes = malloc(len + 1);
	memcpy(file->bytes, bytes, len);
	file->len = len;
	file->version++;
	pthread_mutex_unlock(&s->lock);
}

static inline void server_fault(struct server *s, enum server_fault fault, unsigned count)
{
	pthread_mutex_lock(&s->lock);
	s->fault = fault;
	s->fault_count = count;
	s->requests = 0;
	pthread_mutex_unlock(&s->lock);
}

static inline unsigned server_requests(struct server *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->requests;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static bool server_send(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool server_sendf(int fd, const char *fmt, ...) PFS_PRINTF(2, 3);
static bool server_sendf(int fd, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return server_send(fd, text, (size_t)n);
}

static bool server_status(int fd, const char *status, const char *more)
{
	return server_sendf(fd, "HTTP/1.1 %s\r\n%sContent-Length: 0\r\n\r\n", status, more);
}

/* Until the server stops or the client goes. */
static void server_hold(struct server *s, int fd, bool trickle)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
		bool stopping;

		pthread_mutex_lock(&s->lock);
		stopping = s->stopping;
		pthread_mutex_unlock(&s->lock);
		if (stopping || (poll(&p, 1, 20) > 0 && (p.revents & (POLLRDHUP | POLLHUP))))
			return;
		if (trickle && !server_send(fd, "x", 1))
			return;
	}
}

/* False: the connection ends. */
static bool server_range(struct server *s, int fd, const struct server_file *file, uint64_t from,
			 uint64_t to, enum server_fault fault)
{
	uint64_t len;

	if (from >= file->len)
		return server_sendf(fd,
				    "HTTP/1.1 416 No\r\nContent-Range: bytes */%zu\r\n"
				    "Content-Length: 0\r\n\r\n",
				    file->len);
	to = pfs_min_u64(to, file->len - 1);
	if (fault == FAULT_SHORT_RANGE)
		to--;
	if (fault == FAULT_WRONG_RANGE) {
		from++;
		to++;
	}
	len = to - from + 1;
	server_sendf(fd, "HTTP/1.1 206 Partial\r\nETag: %s\"v%u\"\r\n", s->weak ? "W/" : "",
		     file->version);
	if (fault == FAULT_MAD_RANGE)
		server_sendf(fd, "Content-Range: bytes 9-3/1\r\n");
	else if (fault != FAULT_NO_RANGE)
		server_sendf(fd, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n", from, to,
			     file->len);
	if (fault == FAULT_MORE)
		len++;
	if (fault == FAULT_FEWER)
		len--;
	if (!server_sendf(fd, "Content-Length: %" PRIu64 "\r\n\r\n", len))
		return false;
	if (fault == FAULT_CUT || fault == FAULT_STALL) {
		server_send(fd, file->bytes + from, len / 2);
		if (fault == FAULT_STALL)
			server_hold(s, fd, false);
		return false;
	}
	if (fault == FAULT_TRICKLE) {
		server_hold(s, fd, true);
		return false;
	}
	return server_send(fd, file->bytes + from, len);
}

/* ListObjectsV2 of a bucket, /BUCKET/?...prefix=P&...: names in pages. */
static bool server_list(struct server *s, int fd, const char *path, const char *query)
{
	const char *token = strstr(query, "continuation-token=tok%2B");
	unsigned skip = token ? (unsigned)strtoul(token + 25, NULL, 10) : 0, n = 0;
	const char *prefix = strstr(query, "prefix=");
	char wanted[1024], *xml = malloc(100000), *p = xml;
	bool more = false, sent;

	snprintf(wanted, sizeof(wanted), "%s%.*s", path, (int)strcspn(prefix + 7, "& "),
		 prefix + 7);
	for (char *slash; (slash = strstr(wanted, "%2F"));) {
		*slash = '/';
		memmove(slash + 1, slash + 3, strlen(slash + 3) + 1);
	}
	p += sprintf(p, "<?xml version=\"1.0\"?>\n<ListBucketResult><Name>b</Name>");
	for (unsigned i = 0; i < s->file_count; i++) {
		if (strncmp(s->files[i].path, wanted, strlen(wanted)) != 0 || n++ < skip)
			continue;
		if (n > skip + s->list_page) {
			more = true;
			break;
		}
		p += sprintf(p, "<Contents><Key>%s</Key><Size>1</Size></Contents>",
			     s->files[i].path + strlen(path));
	}
	p += sprintf(p, "<IsTruncated>%s</IsTruncated>", more ? "true" : "false");
	if (more)
		p += sprintf(p, "<NextContinuationToken>tok+%u</NextContinuationToken>",
			     skip + s->list_page);
	p += sprintf(p, "</ListBucketResult>");
	sent = server_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			    (size_t)(p - xml)) &&
	       server_send(fd, xml, (size_t)(p - xml));
	free(xml);
	return sent;
}

static bool server_fail(struct server *s, int fd, enum server_fault fault)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	char *header;

	switch (fault) {
	case FAULT_RESET:
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		return false;
	case FAULT_GARBAGE: server_sendf(fd, "\001\002 not a word of HTTP\r\n\r\n"); return false;
	case FAULT_503: return server_status(fd, "503 Busy", "");
	case FAULT_429: return server_status(fd, "429 Slow", "Retry-After: 1\r\n");
	case FAULT_403:
		return server_sendf(fd, "HTTP/1.1 403 No\r\nContent-Length: 37\r\n\r\n"
					"<Error><Code>NotForYou</Code></Error>");
	case FAULT_501: return server_status(fd, "501 No idea", "");
	case FAULT_404: return server_status(fd, "404 Not here", "");
	case FAULT_412: return server_status(fd, "412 Another", "");
	case FAULT_400: return server_status(fd, "400 What", "");
	case FAULT_SILENT: server_hold(s, fd, false); return false;
	case FAULT_REDIRECT: return server_status(fd, "302 There", "Location: /d/file\r\n");
	case FAULT_REDIRECT_LOOP: return server_status(fd, "302 There", "Location: /d/loop\r\n");
	case FAULT_NO_LENGTH: server_sendf(fd, "HTTP/1.1 200 OK\r\n\r\n"); return false;
	case FAULT_LONG:
		header = calloc(1, SERVER_LONG);
		server_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", SERVER_LONG);
		server_send(fd, header, SERVER_LONG);
		free(header);
		return false;
	case FAULT_NO_LIST:
		return server_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<p/>\n");
	case FAULT_HUGE_HEADER:
		header = malloc(400000);
		memset(header, 'a', 400000);
		server_sendf(fd, "HTTP/1.1 206 Partial\r\nX-Much: ");
		server_send(fd, header, 400000);
		free(header);
		return false;
	default: return false;
	}
}

/* The head is in request; the body, if any, begins with what was read past it. */
static bool server_body(int fd, const char *request, size_t head, size_t have, uint8_t **body,
			size_t *len)
{
	const char *p = strcasestr(request, "\r\nContent-Length:");
	size_t done = have - head;

	*len = p ? strtoul(p + 17, NULL, 10) : 0;
	*body = malloc(*len + 1);
	if (strcasestr(request, "\r\nExpect: 100-continue"))
		server_sendf(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	memcpy(*body, request + head, pfs_min_u64(done, *len));
	while (done < *len) {
		ssize_t n = recv(fd, *body + done, *len - done, 0);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* What is wrong with a PUT's conditions; NULL: nothing. */
static const char *server_conditions(const struct server *s, const char *request,
				     const struct server_file *file)
{
	const char *match = strcasestr(request, "\r\nIf-Match: ");
	char version[32];

	if (s->heedless)
		return NULL;
	if (file->bytes && strcasestr(request, "\r\nIf-None-Match: *\r\n"))
		return "412 There";
	if (!match)
		return NULL;
	if (!file->bytes)
		return "404 Not here";
	snprintf(version, sizeof(version), "\"v%u\"\r\n", file->version);
	return strncmp(match + 12, version, strlen(version)) == 0 ? NULL : "412 Another";
}

/* Whether the fault hits this request. Lock. */
static bool server_is_hit(struct server *s, const char *method, const char *path)
{
	const char *name = strrchr(path, '/');

	if (!s->fault_count ||
	    (s->fault_put && (strcmp(method, "PUT") != 0 || strcmp(name + 1, s->fault_put) != 0)))
		return false;
	s->fault_count--;
	return true;
}

static bool server_answer(struct server *s, int fd, char *request, size_t head, size_t have)
{
	char method[8], path[512], *query;
	const char *range = strcasestr(request, "\r\nRange: bytes=");
	struct server_file *file, copy;
	enum server_fault fault = FAULT_NONE;
	bool good;

	assert_int_equal(sscanf(request, "%7s %511s", method, path), 2);
	query = strchr(path, '?');
	if (query)
		*query++ = 0;
	pthread_mutex_lock(&s->lock);
	s->requests++;
	snprintf(s->last, sizeof(s->last), "%.*s", (int)head, request);
	s->waiting++;
	pthread_cond_broadcast(&s->changed);
	while (s->shut)
		pthread_cond_wait(&s->changed, &s->lock);
	s->waiting--;
	if (server_is_hit(s, method, path))
		fault = s->fault;
	file = server_find(s, path, false);
	copy = file ? *file : (struct server_file){0};
	if (file) {
		copy.bytes = malloc(copy.len + 2);
		memcpy(copy.bytes, file->bytes, copy.len);
		copy.bytes[copy.len] = copy.bytes[copy.len + 1] = 0;
	}
	pthread_mutex_unlock(&s->lock);

	if (strcmp(method, "PUT") == 0) {
		uint8_t *body;
		size_t len;
		char *line = strndup(request, head);
		const char *refused = server_conditions(s, line, &copy);

		good = server_body(fd, request, head, have, &body, &len);
		if (good && (fault == FAULT_NONE || fault == FAULT_LOST) && !refused)
			server_put(s, path, body, len);
		free(body);
		free(line);
		if (good)
			good = fault == FAULT_NONE
				       ? server_status(fd, refused ? refused : "200 OK", "")
				       : server_fail(s, fd, fault);
	} else if (fault != FAULT_NONE &&
		   (fault < FAULT_WHOLE || fault == FAULT_SILENT || fault >= FAULT_REDIRECT)) {
		good = server_fail(s, fd, fault);
	} else if (query) {
		good = server_list(s, fd, path, query);
	} else if (strcmp(method, "DELETE") == 0) {
		pthread_mutex_lock(&s->lock);
		file = server_find(s, path, false);
		if (file)
			snprintf(file->path, sizeof(file->path), "(deleted)");
		pthread_mutex_unlock(&s->lock);
		good = server_sendf(fd, "HTTP/1.1 204 Gone\r\n\r\n");
	} else if (!copy.bytes) {
		good = server_status(fd, "404 Not here", "");
	} else if (strcmp(method, "HEAD") == 0) {
		good = server_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", copy.len);
	} else if (range && fault != FAULT_WHOLE) {
		uint64_t from, to;

		assert_int_equal(sscanf(range + 15, "%" SCNu64 "-%" SCNu64, &from, &to), 2);
		good = server_range(s, fd, &copy, from, to, fault);
	} else {
		good = server_sendf(fd,
				    "HTTP/1.1 200 OK\r\nETag: \"v%u\"\r\nContent-Length: %zu"
				    "\r\n\r\n",
				    copy.version, copy.len) &&
		       server_send(fd, copy.bytes, copy.len);
	}
	free(copy.bytes);
	return good;
}

struct server_connection {
	struct server *s;
	unsigned place;
};

static void *server_connection(void *arg)
{
	struct server_connection c = *(struct server_connection *)arg;
	struct server *s = c.s;
	int fd = s->connections[c.place];
	bool good = true;
	char *request;

	if (server_thread_begins)
		server_thread_begins();
	request = malloc(SERVER_REQUEST_MAX);
	free(arg);
	while (good) {
		size_t have = 0;
		char *end = NULL;

		while (!end && have < SERVER_REQUEST_MAX - 1) {
			ssize_t n = recv(fd, request + have, SERVER_REQUEST_MAX - 1 - have, 0);

			if (n <= 0)
				break;
			have += (size_t)n;
			request[have] = 0;
			end = strstr(request, "\r\n\r\n");
		}
		good = end && server_answer(s, fd, request, (size_t)(end + 4 - request), have);
	}
	free(request);
	pthread_mutex_lock(&s->lock);
	s->connections[c.place] = -1;
	close(fd);
	s->threads--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void *server_run(void *arg)
{
	struct server *s = arg;

	if (server_thread_begins)
		server_thread_begins();
	for (;;) {
		int fd = accept(s->fd, NULL, NULL), yes = 1;
		struct server_connection *c;
		pthread_t thread;

		pthread_mutex_lock(&s->lock);
		if (fd < 0 || s->stopping) {
			pthread_mutex_unlock(&s->lock);
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		c = malloc(sizeof(*c));
		*c = (struct server_connection){.s = s};
		while (s->connections[c->place] >= 0)
			c->place++;
		assert_true(c->place < SERVER_CONNECTIONS_MAX);
		s->connections[c->place] = fd;
		s->threads++;
		assert_int_equal(pthread_create(&thread, NULL, server_connection, c), 0);
		pthread_detach(thread);
		pthread_mutex_unlock(&s->lock);
	}
}

/* On the port it had before, or any. */
static void server_start(struct server *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
	socklen_t len = sizeof(address);
	int yes = 1;

	for (unsigned i = 0; i < SERVER_CONNECTIONS_MAX; i++)
		s->connections[i] = -1;
	s->stopping = false;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->fd, 128), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &len), 0);
	s->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static struct server *server_new(void)
{
	struct server *s = calloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->list_page = 1000;
	server_start(s);
	return s;
}

/* Afterwards nobody listens on its port. */
static void server_stop(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	s->shut = false;
	for (unsigned i = 0; i < SERVER_CONNECTIONS_MAX; i++)
		if (s->connections[i] >= 0)
			shutdown(s->connections[i], SHUT_RDWR);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	pthread_mutex_lock(&s->lock);
	while (s->threads)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void server_free(struct server *s)
{
	server_stop(s);
	for (unsigned i = 0; i < s->file_count; i++)
		free(s->files[i].bytes);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

#endif
