#include "storage/ndjson.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base64.h"
#include "storage/json_scan.h"
#include "storage/window.h"

#define DECODED_KEEP (256 * PFS_KIB) /* a larger buffer for base64 is given back */

/* Where the reader stands between two calls. */
enum state {
	AT_TOP,	   /* before a record or a scroll body */
	IN_BODY,   /* a scroll body, behind its "result" */
	IN_RESULT, /* the object "result", between members */
	IN_POINTS, /* the array "points", between points */
};

/* And where between the members or points of the current bracket. */
enum place {
	AT_FIRST,     /* nothing was read yet */
	BEHIND_ONE,   /* a comma follows, or the end */
	BEHIND_COMMA, /* one follows, which nobody has seen yet */
	AT_ONE,	      /* it begins here; not all of it may have come */
};

struct pfs_ndjson {
	struct pfs_window w;

	enum state state;
	enum place place; /* but AT_TOP */
	bool saw_points;  /* of this body */
	uint64_t point;

	uint8_t *decoded;
	size_t decoded_cap;
	struct pfs_ndjson_fault fault;
};

/* A record's members as they were found. */
struct record {
	struct pfs_json_slice id, payload, base64; /* p NULL: not there */
	const char *twice;			   /* the member that is there twice */
	bool is_body; /* it is a scroll body; the scan ended behind "result": { */
};

static int open_reader(struct pfs_ndjson **out, int fd, pfs_ndjson_wait_fn *wait,
		       pfs_window_source_fn *from, void *arg)
{
	struct pfs_ndjson *r = calloc(1, sizeof(*r));
	int err;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	if (from)
		err = pfs_window_init_source(&r->w, from, arg, PFS_NDJSON_RECORD_MAX);
	else
		err = pfs_window_init(&r->w, fd, PFS_NDJSON_RECORD_MAX, wait, arg);
	if (err) {
		free(r);
		return err;
	}
	r->state = AT_TOP;
	*out = r;
	return 0;
}

int pfs_ndjson_open(struct pfs_ndjson **out, int fd, pfs_ndjson_wait_fn *wait, void *arg)
{
	return open_reader(out, fd, wait, NULL, arg);
}

int pfs_ndjson_open_source(struct pfs_ndjson **out, pfs_window_source_fn *from, void *arg)
{
	return open_reader(out, -1, NULL, from, arg);
}

void pfs_ndjson_close(struct pfs_ndjson *r)
{
	if (!r)
		return;
	pfs_window_free(&r->w);
	free(r->decoded);
	free(r);
}

const struct pfs_ndjson_fault *pfs_ndjson_fault(const struct pfs_ndjson *r)
{
	return &r->fault;
}

bool pfs_ndjson_is_inside(const struct pfs_ndjson *r)
{
	return r->state != AT_TOP || r->w.start < r->w.end;
}

uint64_t pfs_ndjson_line(const struct pfs_ndjson *r)
{
	return r->w.line;
}

uint64_t pfs_ndjson_bytes(const struct pfs_ndjson *r)
{
	return r->w.done;
}

static void skip_mark(struct pfs_ndjson *r)
{
	if (r->w.done == 0 && r->w.end - r->w.start >= 3 &&
	    !memcmp(r->w.buf + r->w.start, "\xef\xbb\xbf", 3)) {
		r->w.start += 3;
		r->w.done += 3;
		r->w.line_start = 3;
	}
}

/* ---- faults and going on after them ---- */

static int PFS_PRINTF(2, 3) fault(struct pfs_ndjson *r, const char *fmt, ...)
{
	va_list args;

	r->fault.line = r->w.line;
	r->fault.point = r->state == AT_TOP ? 0 : r->point;
	va_start(args, fmt);
	vsnprintf(r->fault.text, sizeof(r->fault.text), fmt, args);
	va_end(args);
	return -EBADMSG;
}

/* A fault of syntax at byte `at` of the window. */
static int fault_at(struct pfs_ndjson *r, const uint8_t *at, const char *why)
{
	uint64_t line, column;

	pfs_window_place(&r->w, at, &line, &column);
	if (line == r->w.line)
		return fault(r, "column %llu: %s", (unsigned long long)column, why);
	return fault(r, "at line %llu, column %llu: %s", (unsigned long long)line,
		     (unsigned long long)column, why);
}

/* From a line's start to the next line's that begins with an opening brace (this one, if it does),
 * or the end. */
static int skip_to_brace(struct pfs_ndjson *r)
{
	int err = 0;

	while (!err) {
		if (r->w.start == r->w.end) {
			err = pfs_window_fill(&r->w);
			if (err <= 0)
				return err;
		}
		if (r->w.buf[r->w.start] == '{')
			return 0;
		err = pfs_window_skip_line(&r->w);
	}
	return err;
}

/* After a syntax error at byte `at`: to where the next record or body may start. */
static int go_on_behind(struct pfs_ndjson *r, const uint8_t *at)
{
	bool one_line =
		!memchr(r->w.buf + r->w.start, '\n', (size_t)(at - (r->w.buf + r->w.start)));
	bool in_record = r->state == AT_TOP;
	int err = 0;

	r->state = AT_TOP;
	if (in_record) {
		err = pfs_window_skip_line(&r->w);
		return err || one_line ? err : skip_to_brace(r);
	}
	pfs_window_consume(&r->w, at);
	if (r->w.done != r->w.line_start)
		err = pfs_window_skip_line(&r->w);
	return err ? err : skip_to_brace(r);
}

/* Reports the syntax error that a scan ended with, and goes on behind it. */
static int refuse(struct pfs_ndjson *r, const uint8_t *at, const char *why)
{
	int err = fault_at(r, at, why), skipped = go_on_behind(r, at);

	/* Without more input for now: the next line is looked at when it comes. */
	return skipped && skipped != -EAGAIN ? skipped : err;
}

/* ---- records ---- */

static enum pfs_json_status scan_bad(struct pfs_json_scan *scan, const uint8_t *at, const char *why)
{
	scan->at = at;
	scan->why = why;
	return PFS_JSON_BAD;
}

/* Files a member's value where it belongs. */
static void take_member(struct record *record, struct pfs_json_slice name,
			struct pfs_json_slice value)
{
	static const char *const names[] = {"id", "payload", "payload_base64"};
	struct pfs_json_slice *slices[] = {&record->id, &record->payload, &record->base64};

	for (size_t i = 0; i < pfs_array_len(names); i++) {
		if (!pfs_json_string_is(name, names[i]))
			continue;
		if (slices[i]->p)
			record->twice = names[i];
		*slices[i] = value;
		return;
	}
}

/* Scans the object at p as a record. When a body may stand here and the member "result" comes first
 * of those that matter, and is an object, it is a body. */
static enum pfs_json_status scan_record(struct pfs_json_scan *scan, struct record *record,
					const uint8_t *p, const uint8_t *end, bool body_may)
{
	struct pfs_json_slice name, value;
	enum pfs_json_status status;

	memset(record, 0, sizeof(*record));
	p = pfs_json_skip_space(p + 1, end);
	if (p < end && *p == '}') {
		scan->at = p + 1;
		return PFS_JSON_OK;
	}
	for (;;) {
		status = pfs_json_scan_name(scan, p, end, &name);
		if (status != PFS_JSON_OK)
			return status;
		p = scan->at;
		if (p < end && *p == '{' && body_may && !record->id.p && !record->payload.p &&
		    !record->base64.p && pfs_json_string_is(name, "result")) {
			record->is_body = true;
			scan->at = p + 1;
			return PFS_JSON_OK;
		}
		status = pfs_json_scan_value(scan, p, end, false);
		if (status != PFS_JSON_OK)
			return status;
		value.p = p;
		value.len = (size_t)(scan->at - p);
		take_member(record, name, value);
		p = pfs_json_skip_space(scan->at, end);
		if (p == end)
			return PFS_JSON_MORE;
		if (*p == '}') {
			scan->at = p + 1;
			return PFS_JSON_OK;
		}
		if (*p != ',')
			return scan_bad(scan, p, "a comma or a closing brace is expected");
		p = pfs_json_skip_space(p + 1, end);
	}
}

static int parse_id(struct pfs_ndjson *r, struct pfs_json_slice id, struct pfs_key *key)
{
	char text[PFS_NAME_MAX + 1];
	ptrdiff_t len;

	if (*id.p == '"') {
		len = pfs_json_string_decode(id, text, sizeof(text));
	} else {
		len = id.len <= sizeof(text) ? (ptrdiff_t)id.len : -1;
		for (ptrdiff_t i = 0; i < len; i++) {
			if (id.p[i] < '0' || id.p[i] > '9')
				len = -1;
		}
		if (len > 0)
			memcpy(text, id.p, id.len);
	}
	if (len > 0 && pfs_key_parse(key, text, (size_t)len) == 0 && pfs_key_is_point(key))
		return 0;
	return fault(r,
		     "id %.*s%s is not an unsigned 64-bit integer and not a UUID in lower case "
		     "with hyphens",
		     (int)pfs_min_u64(id.len, 48), (const char *)id.p, id.len > 48 ? "..." : "");
}

static int decode_base64(struct pfs_ndjson *r, struct pfs_json_slice string,
			 struct pfs_ndjson_doc *doc)
{
	ptrdiff_t len;

	if (*string.p != '"')
		return fault(r, "payload_base64 is not a string");
	if (r->decoded_cap < string.len) {
		free(r->decoded);
		r->decoded = malloc(string.len);
		r->decoded_cap = r->decoded ? string.len : 0;
		if (!r->decoded)
			return -ENOMEM;
	}
	len = pfs_json_string_decode(string, (char *)r->decoded, r->decoded_cap);
	if (len >= 0)
		len = pfs_base64_decode(r->decoded, (const char *)r->decoded, (size_t)len);
	if (len < 0)
		return fault(r, "payload_base64 is not base64");
	doc->payload = r->decoded;
	doc->len = (size_t)len;
	return 0;
}

/* Makes a document of a well-formed record. */
static int take_record(struct pfs_ndjson *r, const struct record *record,
		       struct pfs_ndjson_doc *doc)
{
	int err;

	if (record->twice)
		return fault(r, "the member \"%s\" is there twice", record->twice);
	if (!record->id.p)
		return fault(r, "no id: a record is {\"id\":..., \"payload\":...}");
	err = parse_id(r, record->id, &doc->key);
	if (err)
		return err;
	if (record->payload.p && record->base64.p)
		return fault(r, "both payload and payload_base64");
	if (!record->payload.p && !record->base64.p)
		return fault(r, "no payload");
	/* A payload of Qdrant is an object; null is what it answers when it was not asked for it.
	 */
	if (r->state != AT_TOP && record->payload.len == 4 &&
	    memcmp(record->payload.p, "null", 4) == 0)
		return fault(r, "its payload was left out: scroll with \"with_payload\": true");
	doc->payload = record->payload.p;
	doc->len = record->payload.len;
	err = record->base64.p ? decode_base64(r, record->base64, doc) : 0;
	if (err)
		return err;
	if (doc->len > PFS_NDJSON_PAYLOAD_MAX)
		return fault(r, "the payload is larger than 1 GiB");
	doc->line = r->w.line;
	doc->point = r->state == AT_TOP ? 0 : r->point;
	return 1;
}

/* Reads the object that start is at. 1: a document; 0: it began a scroll body. */
static int read_record(struct pfs_ndjson *r, struct pfs_ndjson_doc *doc)
{
	bool top = r->state == AT_TOP;
	struct record record;
	struct pfs_json_scan scan;
	enum pfs_json_status status;
	int more, result;

	if (r->decoded_cap > DECODED_KEEP) {
		free(r->decoded);
		r->decoded = NULL;
		r->decoded_cap = 0;
	}
	for (;;) {
		status = scan_record(&scan, &record, r->w.buf + r->w.start, r->w.buf + r->w.end,
				     top);
		if (status != PFS_JSON_MORE)
			break;
		more = pfs_window_fill(&r->w);
		if (more == -EFBIG)
			return refuse(r, r->w.buf + r->w.end,
				      "the record is larger than a payload may be");
		if (more < 0)
			return more;
		if (!more)
			return refuse(r, r->w.buf + r->w.end, "the input ends inside a record");
	}
	if (status == PFS_JSON_BAD)
		return refuse(r, scan.at, scan.why);
	r->place = BEHIND_ONE;
	if (record.is_body) {
		r->state = IN_RESULT;
		r->place = AT_FIRST;
		r->saw_points = false;
		r->point = 0;
		result = 0;
	} else {
		result = take_record(r, &record, doc);
	}
	pfs_window_consume(&r->w, scan.at);
	return result;
}

/* ---- scroll bodies ---- */

/* At a member of an object, a point, or the end, with the comma before it. 1: at the member's name,
 * or the point, also when it was there before and its end had not come; 0: the bracket is closed;
 * -EBADMSG. */
static int next_in_bracket(struct pfs_ndjson *r, char close)
{
	int c, err = pfs_window_peek(&r->w, &c);

	if (err)
		return err;
	if (c == close && (r->place == AT_FIRST || r->place == BEHIND_ONE)) {
		pfs_window_consume(&r->w, r->w.buf + r->w.start + 1);
		return 0;
	}
	if (r->place == BEHIND_ONE && c == ',') {
		pfs_window_consume(&r->w, r->w.buf + r->w.start + 1);
		r->place = BEHIND_COMMA;
		err = pfs_window_peek(&r->w, &c);
		if (err)
			return err;
	} else if (r->place == BEHIND_ONE && c >= 0) {
		return refuse(r, r->w.buf + r->w.start, "a comma or a closing bracket is expected");
	}
	if (c < 0)
		return refuse(r, r->w.buf + r->w.start, "the input ends inside a scroll body");
	if (r->place != AT_ONE && r->state == IN_POINTS)
		r->point++;
	r->place = AT_ONE;
	return 1;
}

/* Scans one member of result or of the body. Its value is skipped, but for the array "points" of
 * result: then the scan ends inside the bracket and *points is set. */
static enum pfs_json_status scan_member(struct pfs_ndjson *r, struct pfs_json_scan *scan,
					bool *points)
{
	const uint8_t *end = r->w.buf + r->w.end;
	struct pfs_json_slice name;
	enum pfs_json_status status = pfs_json_scan_name(scan, r->w.buf + r->w.start, end, &name);

	*points = false;
	if (status != PFS_JSON_OK)
		return status;
	if (r->state == IN_BODY && pfs_json_string_is(name, "result"))
		return scan_bad(scan, name.p, "a second \"result\" in a scroll body");
	if (r->state == IN_RESULT && pfs_json_string_is(name, "points") && scan->at < end &&
	    *scan->at == '[') {
		*points = true;
		scan->at++;
		return PFS_JSON_OK;
	}
	return pfs_json_scan_value(scan, scan->at, end, false);
}

/* Reads on in result or in the body behind it. 0: go on; -EBADMSG. */
static int read_member(struct pfs_ndjson *r)
{
	int there = next_in_bracket(r, '}'), more;
	struct pfs_json_scan scan;
	enum pfs_json_status status;
	bool points;

	if (there < 0)
		return there;
	if (there == 0) {
		r->state = r->state == IN_RESULT ? IN_BODY : AT_TOP;
		r->place = BEHIND_ONE;
		if (r->state == IN_BODY && !r->saw_points)
			return fault(r, "\"result\" holds no \"points\"");
		return 0;
	}
	for (;;) {
		status = scan_member(r, &scan, &points);
		if (status != PFS_JSON_MORE)
			break;
		more = pfs_window_fill(&r->w);
		if (more < 0 && more != -EFBIG)
			return more;
		if (more <= 0)
			return refuse(r, r->w.buf + r->w.end,
				      "the input ends inside a scroll body");
	}
	if (status == PFS_JSON_BAD)
		return refuse(r, scan.at, scan.why);
	pfs_window_consume(&r->w, scan.at);
	r->place = BEHIND_ONE;
	if (points) {
		r->state = IN_POINTS;
		r->saw_points = true;
		r->place = AT_FIRST;
	}
	return 0;
}

/* Reads the next element of "points". 1: a document; 0: the array is closed; -EBADMSG. */
static int read_point(struct pfs_ndjson *r, struct pfs_ndjson_doc *doc)
{
	int there = next_in_bracket(r, ']');

	if (there < 0)
		return there;
	if (there == 0) {
		r->state = IN_RESULT;
		r->place = BEHIND_ONE;
		return 0;
	}
	if (r->w.buf[r->w.start] != '{')
		return refuse(r, r->w.buf + r->w.start,
			      "a point is expected: {\"id\":..., \"payload\":...}");
	return read_record(r, doc);
}

int pfs_ndjson_next(struct pfs_ndjson *r, struct pfs_ndjson_doc *doc)
{
	int c, result = 0;

	while (result == 0) {
		switch (r->state) {
		case AT_TOP:
			while (r->w.done == 0 && r->w.end < 3 &&
			       (result = pfs_window_fill(&r->w)) > 0)
				;
			if (result < 0)
				return result;
			skip_mark(r);
			result = pfs_window_peek(&r->w, &c);
			if (result || c < 0)
				return result;
			if (c == '{')
				result = read_record(r, doc);
			else
				result = refuse(r, r->w.buf + r->w.start,
						"a record {\"id\":..., \"payload\":...} or the "
						"body of a scroll response is "
						"expected");
			break;
		case IN_BODY:
		case IN_RESULT: result = read_member(r); break;
		case IN_POINTS: result = read_point(r, doc); break;
		}
	}
	return result;
}
