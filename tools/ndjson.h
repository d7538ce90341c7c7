/* A streaming reader of documents: NDJSON records and bodies of Qdrant's scroll responses, mixed as
 *they come.
 *
 *	{"id": 42, "payload": {"city": "Bonn"}}
 *	{"id": "c0ffee00-0000-4000-8000-000000000001", "payload_base64": "aGVsbG8="}
 *	{"result": {"points": [{"id": 43, "payload": {...}, "vector": [...]}, ...], ...}, "status":
 *"ok"}
 *
 * The payload is given as the exact bytes of its value (payload_base64: decoded); other members are
 *checked for their syntax and ignored. A record may span lines. A byte order mark at the start,
 *CRLF and blank lines are accepted.
 *
 * Memory: a window that holds one record or point (a scroll body is never held whole); it grows for
 *a large one, up to NDJSON_RECORD_MAX, and shrinks afterwards.
 *
 * After a fault reading goes on: behind a record or point that is well-formed JSON; otherwise at
 *the next line, and when the broken record spans lines or is inside a scroll body, at the next line
 *that begins with '{'. */
#ifndef TOOLS_NDJSON_H
#define TOOLS_NDJSON_H

#include "storage/base.h"
#include "storage/key.h"

#define NDJSON_PAYLOAD_MAX PFS_GIB
#define NDJSON_RECORD_MAX (PFS_GIB + PFS_GIB / 2) /* base64 takes a third more */

struct ndjson;

/* One document; the payload is borrowed until the next call. */
struct ndjson_doc {
	struct pfs_key key; /* NUM or UUID */
	const uint8_t *payload;
	size_t len;
	uint64_t line;	/* where its record or point starts, from 1 */
	uint64_t point; /* its place in the scroll body, from 1; 0 for a record */
};

/* What is wrong with the input, and where. */
struct ndjson_fault {
	uint64_t line, point; /* as in ndjson_doc; of the record or point that is refused */
	char text[256];
};

/* Called before a read that has to wait for its input: the moment to send on what was gathered. */
typedef void ndjson_wait_fn(void *arg);

/* Reads from fd, which stays the caller's. wait may be NULL. -ENOMEM. */
int ndjson_open(struct ndjson **out, int fd, ndjson_wait_fn *wait, void *arg);
void ndjson_close(struct ndjson *reader);

/* 1: *doc is the next one. 0: the end. -EBADMSG: something is refused, ndjson_fault says what;
 * reading goes on with the next call. Another negative errno: reading failed, there is no more. */
int ndjson_next(struct ndjson *reader, struct ndjson_doc *doc);
const struct ndjson_fault *ndjson_fault(const struct ndjson *reader);

/* Bytes of input that are done with. */
uint64_t ndjson_bytes(const struct ndjson *reader);

#endif
