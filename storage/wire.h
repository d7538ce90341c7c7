/* Rank 0: framing of the protocol that payloadctl and the daemon speak over a Unix stream socket.
 * Pure: no I/O.
 *
 * A message is a header of 16 bytes and a body of up to PFS_WIRE_BODY_MAX:
 *	00-03 magic "PFSW"    04-05 protocol version    06-07 type (enum pfs_wire_type)
 *	08-11 length of the body    12-15 status: 0 or a negative errno (two's complement)
 * Integers are little-endian. The header is the same in all versions, so that a peer of another
 * version can be told so.
 *
 * The client asks, the server answers: a request is one message (PUT_BEGIN: the first of a row),
 * its answer is any number of parts and then one PFS_WIRE_REPLY. What each body holds stands at the
 * type; `text` and `bytes` are a u32 length and that many bytes, for `key` see pfs_wire_key.
 *
 * A REPLY with status != 0 holds text: the reason.
 *
 * Both sides treat the other as hostile: every length is checked before it is used. */
#ifndef PFS_WIRE_H
#define PFS_WIRE_H

#include "storage/base.h"
#include "storage/key.h"

#define PFS_WIRE_VERSION 7
#define PFS_WIRE_HEADER_LEN 16
#define PFS_WIRE_BODY_MAX (2 * PFS_MIB)
#define PFS_WIRE_PIECE_MAX PFS_MIB	  /* bytes of a document in one message */
#define PFS_WIRE_BATCH_SOFT (PFS_MIB / 2) /* a batch that has reached this is sent */
#define PFS_WIRE_TEXT_MAX 4096

enum pfs_wire_type {
	/* Requests. */

	/* empty. REPLY: u32 pid, u8 read_only, text mount point, text version of the program */
	PFS_WIRE_HELLO = 1,
	/* key. Parts: DOC_BEGIN, DATA... REPLY: empty */
	PFS_WIRE_GET = 2,
	/* empty; no answer of its own. Then PUT_DATA..., then PUT_END or PUT_ABORT */
	PFS_WIRE_PUT_BEGIN = 3,
	/* raw bytes, up to PFS_WIRE_PIECE_MAX */
	PFS_WIRE_PUT_DATA = 4,
	/* key. REPLY: empty; with the first error of the whole row */
	PFS_WIRE_PUT_END = 5,
	/* empty. REPLY: empty */
	PFS_WIRE_PUT_ABORT = 6,
	/* key... REPLY: u32 count, then a status (u32) for each key */
	PFS_WIRE_REMOVE = 7,
	/* u8: enum pfs_wire_kinds. Parts: KEYS. REPLY: empty */
	PFS_WIRE_LIST = 8,
	/* empty. Parts: DOCS, or for a large document DOC_BEGIN, DATA..., DOC_END. REPLY: empty */
	PFS_WIRE_EXPORT = 9,
	/* key...: the same for these, in this order */
	PFS_WIRE_EXPORT_KEYS = 10,
	/* (key, bytes)... REPLY: u32 done, u32 refused, then (u32 index, u32 status) of each
	 * refused; with status != 0: text reason, u32 done */
	PFS_WIRE_IMPORT = 11,
	/* empty. REPLY: the fields of pfs_store_stat (wire_fields.h) */
	PFS_WIRE_STAT = 12,
	/* key. REPLY: the fields of pfs_attr, those of pfs_place */
	PFS_WIRE_PLACE = 13,
	/* empty. Parts: FINDING, PROGRESS. REPLY: the fields of pfs_check_result */
	PFS_WIRE_CHECK = 14,
	/* empty. REPLY: empty */
	PFS_WIRE_SYNC = 15,
	/* text: the mount point that is meant, or empty. REPLY: empty; then, when the daemon has
	 * closed the store, CLOSED; then the end of the connection, when the process ends */
	PFS_WIRE_UNMOUNT = 16,
	/* u8 force. REPLY: status 0, u32 the status of the training, the fields of
	 * pfs_train_result */
	PFS_WIRE_TRAIN = 17,
	/* empty. Parts: PROGRESS. REPLY: the fields of pfs_compact_result. Ends when the client
	 * goes away */
	PFS_WIRE_COMPACT = 18,
	/* bytes...: a sample of the documents that are going to be imported. REPLY: as of TRAIN */
	PFS_WIRE_TRAIN_FROM = 19,

	/* empty. Opens a snapshot, from which LIST, EXPORT, EXPORT_KEYS and COPY of this connection
	 * read until SNAPSHOT_END, or its end, closes it. One that was open is closed before. While
	 * there is one, the server waits as long for the next request as for a client that takes
	 * nothing. REPLY: the fields of pfs_snapshot_info */
	PFS_WIRE_SNAPSHOT = 20,
	/* empty. REPLY: empty */
	PFS_WIRE_SNAPSHOT_END = 21,
	/* empty; only with a snapshot. Everything, points and scratch files, with attributes.
	 * Parts: COPIES, or for a large document COPY_BEGIN, DATA..., DOC_END. REPLY: empty */
	PFS_WIRE_COPY = 22,
	/* empty. Parts: PAGE_STATS. REPLY: empty */
	PFS_WIRE_PAGES = 23,
	/* key...; only with a snapshot. The same as COPY for these, in this order; those that are
	 * not there are left out */
	PFS_WIRE_COPY_KEYS = 24,

	/* Answers. */

	PFS_WIRE_REPLY = 64,
	/* raw bytes of the document that was begun */
	PFS_WIRE_DATA = 65,
	/* key, u64 length. What was begun before and is not ended is void */
	PFS_WIRE_DOC_BEGIN = 66,
	/* empty: the document is whole */
	PFS_WIRE_DOC_END = 67,
	/* (key, u32 status, bytes)...; what was begun and is not ended is void */
	PFS_WIRE_DOCS = 68,
	/* key... */
	PFS_WIRE_KEYS = 69,
	/* u8 fatal, text where, u64 offset, u8 has_key, key (if it has one), text */
	PFS_WIRE_FINDING = 70,
	/* u64 done, u64 total */
	PFS_WIRE_PROGRESS = 71,
	/* empty; status: what closing the store returned */
	PFS_WIRE_CLOSED = 72,
	/* As DOCS and DOC_BEGIN: (key, u32 status, the fields of pfs_attr, bytes)...; key, the
	 * fields of pfs_attr */
	PFS_WIRE_COPIES = 73,
	PFS_WIRE_COPY_BEGIN = 74,
	/* the fields of pfs_page_stat of one page after the other */
	PFS_WIRE_PAGE_STATS = 75,
};

enum pfs_wire_kinds { PFS_WIRE_POINTS = 1, PFS_WIRE_SCRATCH = 2 };

/* ---- building a message ---- */

/* A message under construction; all zero at first, keeps its memory from message to message. The
 * first error sticks and is returned by pfs_wire_end. */
struct pfs_wire_out {
	uint8_t *buf;
	size_t len, cap;
	int err;
};

void pfs_wire_begin(struct pfs_wire_out *out, enum pfs_wire_type type, int status);
void pfs_wire_u8(struct pfs_wire_out *out, uint8_t v);
void pfs_wire_u32(struct pfs_wire_out *out, uint32_t v);
void pfs_wire_u64(struct pfs_wire_out *out, uint64_t v);
void pfs_wire_raw(struct pfs_wire_out *out, const void *data, size_t len); /* without a length */
void pfs_wire_bytes(struct pfs_wire_out *out, const void *data, size_t len);
void pfs_wire_text(struct pfs_wire_out *out, const char *text); /* cut at PFS_WIRE_TEXT_MAX */

/* u8 kind; NUM: u64; UUID: 16 bytes; SCRATCH: u8 length, the name. */
void pfs_wire_key(struct pfs_wire_out *out, const struct pfs_key *key);

/* Room for len bytes that the caller fills (and may give back in part by lowering out->len), or
 * NULL. */
uint8_t *pfs_wire_reserve(struct pfs_wire_out *out, size_t len);

/* Completes the header: out->buf holds out->len bytes to send. -ENOMEM, -EMSGSIZE: over
 * PFS_WIRE_BODY_MAX. */
int pfs_wire_end(struct pfs_wire_out *out);
void pfs_wire_out_free(struct pfs_wire_out *out);

static inline size_t pfs_wire_body_len(const struct pfs_wire_out *out)
{
	return out->len - PFS_WIRE_HEADER_LEN;
}

/* ---- taking one apart ---- */

struct pfs_wire_header {
	uint16_t version, type;
	uint32_t len;
	int status;
};

/* -EPROTO: not a header of this protocol. -EMSGSIZE: the body is over the limit. A foreign version
 * is for the caller to refuse. A positive status is given as -EPROTO. */
int pfs_wire_header(struct pfs_wire_header *header, const uint8_t bytes[PFS_WIRE_HEADER_LEN]);

/* A body being read. A getter that finds too little sets bad and returns 0, NULL or an empty key.
 */
struct pfs_wire_in {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct pfs_wire_in pfs_wire_in(const void *body, size_t len)
{
	struct pfs_wire_in in = {.p = body, .end = (const uint8_t *)body + len};

	return in;
}

uint8_t pfs_wire_get_u8(struct pfs_wire_in *in);
uint32_t pfs_wire_get_u32(struct pfs_wire_in *in);
uint64_t pfs_wire_get_u64(struct pfs_wire_in *in);
const uint8_t *pfs_wire_get_raw(struct pfs_wire_in *in, size_t len);
const uint8_t *pfs_wire_get_bytes(struct pfs_wire_in *in, size_t *len);

/* Copies a text into buf (cap >= 1), cut to fit, without its control characters, always terminated.
 */
void pfs_wire_get_text(struct pfs_wire_in *in, char *buf, size_t cap);

/* Copies a text into buf exactly. One that does not fit, or holds a zero byte, is bad. */
void pfs_wire_get_path(struct pfs_wire_in *in, char *buf, size_t cap);

/* A key that is not canonical is bad. */
void pfs_wire_get_key(struct pfs_wire_in *in, struct pfs_key *key);

/* A status: 0 or a negative errno; a positive one is bad. */
int pfs_wire_get_status(struct pfs_wire_in *in);

/* Whether there is more to read (a bad body has no more). */
static inline bool pfs_wire_more(const struct pfs_wire_in *in)
{
	return !in->bad && in->p < in->end;
}

/* 0 when the body was read to its end and nothing was bad, else -EPROTO. */
static inline int pfs_wire_done(const struct pfs_wire_in *in)
{
	return in->bad || in->p != in->end ? -EPROTO : 0;
}

#endif
