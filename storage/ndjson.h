/* Rank 0: a streaming reader of documents: NDJSON records and bodies of Qdrant's scroll responses,
 * mixed as they come.
 *
 *	{"id": 42, "payload": {"city": "Bonn"}}
 *	{"id": "c0ffee00-0000-4000-8000-000000000001", "payload_base64": "aGVsbG8="}
 *	{"result": {"points": [{"id": 43, "payload": {...}, "vector": [...]}, ...], ...}, ...}
 *
 * The payload is given as the exact bytes of its value (payload_base64: decoded); other members are
 * checked for their syntax and ignored. A record may span lines. A byte order mark at the start,
 * CRLF and blank lines are accepted.
 *
 * Memory: a window that holds one record or point (a scroll body is never held whole); it grows for
 * a large one, up to PFS_NDJSON_RECORD_MAX, and shrinks afterwards.
 *
 * After a fault reading goes on: behind a record or point that is well-formed JSON; otherwise at
 * the next line, and when the broken record spans lines or is inside a scroll body, at the next
 *line that begins with '{'. */
#ifndef PFS_NDJSON_H
#define PFS_NDJSON_H

#include "storage/base.h"
#include "storage/key.h"
#include "storage/window.h"

#define PFS_NDJSON_PAYLOAD_MAX PFS_GIB
#define PFS_NDJSON_RECORD_MAX (PFS_GIB + PFS_GIB / 2) /* base64 takes a third more */

struct pfs_ndjson;

/* One document; the payload is borrowed until the next call. */
struct pfs_ndjson_doc {
	struct pfs_key key; /* NUM or UUID */
	const uint8_t *payload;
	size_t len;
	uint64_t line;	/* where its record or point starts, from 1 */
	uint64_t point; /* its place in the scroll body, from 1; 0 for a record */
};

/* What is wrong with the input, and where. */
struct pfs_ndjson_fault {
	uint64_t line, point; /* as in pfs_ndjson_doc; of the record or point that is refused */
	char text[256];
};

/* Called before a read that has to wait for its input: the moment to send on what was gathered. */
typedef void pfs_ndjson_wait_fn(void *arg);

/* Reads from fd, which stays the caller's. wait may be NULL. -ENOMEM. */
int pfs_ndjson_open(struct pfs_ndjson **out, int fd, pfs_ndjson_wait_fn *wait, void *arg);

/* The same of input that its user gives: see storage/window.h. When the source has nothing for now,
 * pfs_ndjson_next returns -EAGAIN, and goes on from there at the next call. Between two lines only:
 * what is refused is passed over up to the end of its line, which must be there. */
int pfs_ndjson_open_source(struct pfs_ndjson **out, pfs_window_source_fn *from, void *arg);
void pfs_ndjson_close(struct pfs_ndjson *reader);

/* 1: *doc is the next one. 0: the end. -EBADMSG: something is refused, pfs_ndjson_fault says what;
 * reading goes on with the next call. Another negative errno: reading failed, there is no more. */
int pfs_ndjson_next(struct pfs_ndjson *reader, struct pfs_ndjson_doc *doc);
const struct pfs_ndjson_fault *pfs_ndjson_fault(const struct pfs_ndjson *reader);

/* Whether what was given so far ends inside a record or scroll body. After -EAGAIN. */
bool pfs_ndjson_is_inside(const struct pfs_ndjson *reader);
/* The line, from 1, that it has come to. */
uint64_t pfs_ndjson_line(const struct pfs_ndjson *reader);

/* Bytes of input that are done with. */
uint64_t pfs_ndjson_bytes(const struct pfs_ndjson *reader);

#endif
