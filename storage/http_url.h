/* Rank 1: what a location of the HTTP backend means. Pure, but for the environment (getenv). */
#ifndef PFS_HTTP_URL_H
#define PFS_HTTP_URL_H

#include "storage/log.h"

#define PFS_HTTP_URL_MAX 2048

struct pfs_http_place {
	char url[PFS_HTTP_URL_MAX];    /* of the directory, with a slash at its end, encoded */
	char bucket[PFS_HTTP_URL_MAX]; /* S3: where it is listed, with a slash at its end */
	char prefix[PFS_HTTP_URL_MAX]; /* S3: of the directory's keys, with a slash at its end, not
					  encoded; empty: the bucket itself */
	bool s3, tls;
	char region[64];
	char user[512]; /* S3: key and secret with a colon between; empty: do not sign */
	char token[4096];
	const char *ca_file; /* of the environment; NULL: the system's */
};

/* -EINVAL, with the reason: not a URL that can be used. */
int pfs_http_place_parse(struct pfs_http_place *out, const char *location,
			 struct pfs_reason *reason);

/* Percent-encodes all but letters, digits, '-', '.', '_', '~' and, with slashes, '/'. False: there
 * is no room for it. */
bool pfs_http_encode(char *out, size_t size, const char *text, bool slashes);

#endif
