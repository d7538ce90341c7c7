/* Rank 1: the backend for directories on servers: plain ones (http://, https://), which are read
 * only, and S3 and what speaks its language (s3://BUCKET/PREFIX). Over libcurl; without it (see
 * pfs_http_version) opening a directory gives -EOPNOTSUPP.
 *
 * What io.h leaves open is answered so:
 *  - open asks the server nothing; a file that is not there is found out by its first read
 * (-ENOENT). Names are of letters, digits, '.', '-' and '_'.
 *  - read is one request for one range. All reads through one handle are of one version of the
 * file: -ESTALE when the server shows another (by its ETag) than at first.
 *  - size asks once for each handle.
 *  - A file opened with CREATE (S3 only) is collected in a temporary file, unlinked, in TMPDIR (or
 *    /tmp); sync uploads it, which is when it appears, whole and durable (whole_files). Read and
 *    size are those of the temporary file until then. UNCHANGED is If-Match with the ETag that came
 *    with what was read, or If-None-Match; EXCL the latter, beside asking at open. Servers without
 *    conditions (501), without strong ETags, or that take no notice, replace what is there.
 *  - list: S3 only. lock, rename, punch, map: -EOPNOTSUPP. Changes of a plain server: -EROFS.
 *
 * Time. A call ends within timeout_ms, and 1 s more for each 64 KiB that it transfers (32 are under
 * way at once, others wait for their turn). Connections
 * that are refused or cut off, answers that stall, 408, 429 and 5xx are tried again within that
 * time, after pauses that double, with some chance in them (or as long as the server asks for);
 * once that was in vain, further calls try once each, until one succeeds. Everything else that is
 * wrong is an error at once or the second time. Errors are -EIO, -EACCES (401, 403), -ENOENT (404,
 * 410), -ESTALE, -ENOMEM; the log says of each what was asked, and what came (not more than a burst
 * of PFS_LOG_BURST lines).
 *
 * S3. From the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (neither: requests are not
 * signed), AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION (us-east-1), AWS_ENDPOINT_URL_S3 or
 * AWS_ENDPOINT_URL (Amazon's), AWS_S3_ADDRESSING_STYLE: path, virtual or auto (the bucket in the
 * host's name at Amazon's if it can be there, in the path elsewhere). AWS_CA_BUNDLE, here and for
 * https://: a file of certificates to trust instead of the system's. */
#ifndef PFS_IO_HTTP_H
#define PFS_IO_HTTP_H

#include "storage/io.h"
#include "storage/log.h"

#define PFS_HTTP_TIMEOUT_DEFAULT_MS 30000u
#define PFS_HTTP_TIMEOUT_MIN_MS 100u

/* The context of the backend; read when a directory is opened. */
struct pfs_http_options {
	unsigned timeout_ms; /* 0: default */
	struct pfs_logger logger;
};

/* libcurl and its version; NULL: built without. */
const char *pfs_http_version(void);

/* Is it a URL, for the HTTP backend or another one? */
bool pfs_location_is_url(const char *location);

/* The backend that a location is for: HTTP (with default options, NULL, or those given, borrowed
 * while *io is used), else files. *io is what is returned, or not used. */
const struct pfs_io *pfs_io_for(const char *location, const struct pfs_http_options *options,
				struct pfs_io *io);

#endif
