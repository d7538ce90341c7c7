/* Rank 1: requests to one server, many at once, each with an end in time. See io_http.h for what is
 * tried again, and when. */
#ifndef PFS_HTTP_CLIENT_H
#define PFS_HTTP_CLIENT_H

#include <sys/types.h>

#include "storage/http_url.h"
#include "storage/io_http.h"

#define PFS_HTTP_ETAG_MAX 128
#define PFS_HTTP_SHA256_HEX 65

struct pfs_http_client;

enum pfs_http_method { PFS_HTTP_GET, PFS_HTTP_HEAD, PFS_HTTP_PUT, PFS_HTTP_DELETE };

struct pfs_http_request {
	enum pfs_http_method method;
	const char *url; /* whole, encoded */
	/* GET: the range [off, off + len) of a file, len > 0, to buf; with whole, all of what
	 * comes, up to len. */
	bool whole;
	uint64_t off;
	size_t len;
	void *buf;
	/* PUT: the first size bytes of fd. */
	int fd;
	uint64_t size;
	const char *sha256; /* of them, in hex; NULL: not known */
	/* Conditions; -EOPNOTSUPP: the server can't. only_new: -EEXIST where the file is there.
	 * match, not NULL: -ESTALE where its ETag is not this one, or it is not there. */
	bool only_new;
	const char *match;

	/* Results of a request that succeeded. got: bytes in buf, fewer than len where the file (or
	 * answer) ends. total: of the file; UINT64_MAX: the server did not say. */
	size_t got;
	uint64_t total;
	char etag[PFS_HTTP_ETAG_MAX]; /* empty: none */
};

/* place is borrowed. -ENOMEM, -EAGAIN (no thread). */
int pfs_http_client_new(struct pfs_http_client **out, const struct pfs_http_place *place,
			const struct pfs_http_options *options);
/* When no request is under way. */
void pfs_http_client_free(struct pfs_http_client *client);

/* 0 or an error as in io_http.h, which was logged, but for -ENOENT and those of conditions.
 * Any thread. */
int pfs_http_perform(struct pfs_http_client *client, struct pfs_http_request *request);

/* For what is found wrong with an answer by others: logged, limited like everything else. Returns
 * err. */
int pfs_http_complain(struct pfs_http_client *client, int err, const char *url, const char *fmt,
		      ...) PFS_PRINTF(4, 5);

#endif
