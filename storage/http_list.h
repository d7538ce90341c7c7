/* Rank 1: the answers of S3 to the question what is in a bucket (ListObjectsV2, with names
 * percent-encoded). Pure. */
#ifndef PFS_HTTP_LIST_H
#define PFS_HTTP_LIST_H

#include "storage/io.h"

#define PFS_HTTP_TOKEN_MAX 4096

struct pfs_http_listing {
	const char *prefix;		/* what the keys begin with and the names do not */
	char token[PFS_HTTP_TOKEN_MAX]; /* percent-encoded: asks for the next page; empty: that was
					   all, or nothing was asked yet */
};

/* Gives fn the names that stand in a page, and takes the token of the next one. text is changed.
 * Names that the backend can't open (pfs_name_is_plain) are left out. -EBADMSG: it is
 * no such page, or the token is that of this one again; what fn returns that is not 0. */
int pfs_http_list_page(struct pfs_http_listing *listing, char *text, pfs_io_list_fn *fn, void *arg);

#endif
