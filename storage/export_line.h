/* Rank 0: a point as a line of NDJSON, as `payloadctl export` and points.ndjson give it. Pure.
 *
 *	{"id":42,"payload":{"city": "Bonn"}}
 *	{"id":"c0ffee00-0000-4000-8000-000000000001","payload_base64":"aGVsbG8="}
 *
 * The second form is for a payload that is not one JSON value in one line. */
#ifndef PFS_EXPORT_LINE_H
#define PFS_EXPORT_LINE_H

#include "storage/base64.h"
#include "storage/json_scan.h"
#include "storage/key.h"

#define PFS_LINE_HEAD_MAX (PFS_NAME_MAX + 32)

/* What stands around a payload. */
struct pfs_line {
	bool plain; /* the payload as it is; else in base64 */
	size_t head_len, tail_len;
	char head[PFS_LINE_HEAD_MAX];
	const char *tail; /* with the newline */
};

/* Whether a payload is given as it is. */
static inline bool pfs_line_is_plain(const void *data, size_t len)
{
	return pfs_json_is_line_value(data, len);
}

/* key: of a point. */
void pfs_line_frame(struct pfs_line *line, const struct pfs_key *key, bool plain);

/* Bytes that a payload of len takes between head and tail. */
static inline uint64_t pfs_line_body_len(bool plain, uint64_t len)
{
	return plain ? len : pfs_base64_encoded_len(len);
}

#endif
