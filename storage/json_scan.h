/* Rank 0: a strict scanner of JSON text (RFC 8259): it validates and delimits, and gives exact byte
 * ranges. Pure.
 *
 * Why not a library: import must keep a payload's bytes exactly as they stand in the input, in
 * memory that does not grow with the input. jansson and json-c build trees and print numbers anew;
 * yajl streams, but hands out decoded strings, and where a token starts and ends in the input is
 * not part of its interface. This scanner decodes nothing but member names and ids, builds nothing,
 * and runs at the speed of a byte loop.
 *
 * Strict means: UTF-8 without overlong forms and surrogates, no control characters in strings,
 * numbers by the grammar, no trailing commas, no comments. An escaped lone surrogate (\ud800) is
 * within the grammar and accepted. Nesting beyond PFS_JSON_DEPTH_MAX is refused. */
#ifndef PFS_JSON_SCAN_H
#define PFS_JSON_SCAN_H

#include "storage/base.h"

#define PFS_JSON_DEPTH_MAX 1024

enum pfs_json_status {
	PFS_JSON_OK,
	PFS_JSON_MORE, /* the text ends before the value does */
	PFS_JSON_BAD,
};

/* Where and why a scan ended. */
struct pfs_json_scan {
	const uint8_t
		*at; /* OK: behind the value. BAD: the offending byte. MORE: the end of the text */
	const char *why; /* BAD: what is wrong, a constant string */
};

struct pfs_json_slice {
	const uint8_t *p;
	size_t len;
};

const uint8_t *pfs_json_skip_space(const uint8_t *p, const uint8_t *end);

/* Scans the value that starts at p (no white space before it) in text that ends at end. final:
 * nothing follows, so a number may end there. */
enum pfs_json_status pfs_json_scan_value(struct pfs_json_scan *scan, const uint8_t *p,
					 const uint8_t *end, bool final);

/* Scans a member's name and its colon, with the white space around the colon; *name is the string
 * with its quotes. */
enum pfs_json_status pfs_json_scan_name(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end, struct pfs_json_slice *name);

/* Decodes a scanned string (with its quotes) into text, which has room for cap bytes. Returns its
 * length, or -1 when it does not fit or holds an escaped surrogate without its partner. */
ptrdiff_t pfs_json_string_decode(struct pfs_json_slice string, char *text, size_t cap);

/* Whether a scanned string (with its quotes) means exactly text, which has less than 64 bytes. */
bool pfs_json_string_is(struct pfs_json_slice string, const char *text);

/* Whether the bytes are one JSON value, nothing before or after it, without line breaks: what may
 * stand in a line of NDJSON as it is. */
bool pfs_json_is_line_value(const void *data, size_t len);

/* What keeps the bytes from being one JSON value with nothing but white space around it (line
 * breaks too): a constant string, and *off is where; at the end of the text *off is len. NULL:
 * nothing. */
const char *pfs_json_fault(const void *data, size_t len, size_t *off);

/* Writes bytes that are not a string yet as one, with quotes: valid UTF-8 as it is, control
 * characters, quotes and backslashes escaped, bytes that are not UTF-8 as U+FFFD. out has room for
 * 6 * len + 2. Returns the length. */
size_t pfs_json_string_encode(char *out, const char *text, size_t len);

/* The length of the well-formed UTF-8 sequence (RFC 3629) at p < end, 0 when it is none, -1 when
 * the text ends in it. */
int pfs_json_utf8_len(const uint8_t *p, const uint8_t *end);

#endif
