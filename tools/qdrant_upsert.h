/* Documents as bodies of requests to Qdrant, one a line.
 *
 *	one document a request, PUT /collections/NAME/points/payload:
 *		{"payload":{...},"points":[42]}
 *	up to so many, POST /collections/NAME/points/batch:
 *		{"operations":[{"overwrite_payload":{"payload":{...},"points":[42]}},...]}
 *
 * The first takes several points, but gives all of them the same payload. A request of several
 * documents ends early where it would hold more than QDRANT_UPSERT_BYTES_MAX: Qdrant refuses more
 * than 32 MiB (service.max_request_size_mb). */
#ifndef TOOLS_QDRANT_UPSERT_H
#define TOOLS_QDRANT_UPSERT_H

#include "storage/key.h"
#include "tools/output.h"

#define QDRANT_UPSERT_BYTES_MAX (16 * PFS_MIB)

struct qdrant_upsert {
	struct output *out;
	uint64_t batch;	 /* documents in a request; 1: the first form */
	uint64_t filled; /* documents in the request that was begun */
	uint64_t bytes;	 /* of their payloads */
};

/* Adds a document. -EBADMSG: it is not a JSON object, and nothing was written; or an error of the
 * output. */
int qdrant_upsert_add(struct qdrant_upsert *upsert, const struct pfs_key *key, const void *data,
		      size_t len);

/* Completes the last request. */
int qdrant_upsert_end(struct qdrant_upsert *upsert);

#endif
