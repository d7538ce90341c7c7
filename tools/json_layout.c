#include "tools/json_layout.h"

struct layout {
	const uint8_t *p, *end;
	unsigned indent, depth;
	json_layout_fn *fn;
	void *arg;
};

bool json_is_document(struct pfs_json_scan *scan, const void *data, size_t len)
{
	const uint8_t *p = data, *end = p + len;

	*scan = (struct pfs_json_scan){.at = end, .why = "the text ends too early"};
	p = pfs_json_skip_space(p, end);
	if (p == end || pfs_json_scan_value(scan, p, end, true) != PFS_JSON_OK) {
		if (!scan->why)
			scan->why = "the text ends too early";
		return false;
	}
	p = pfs_json_skip_space(scan->at, end);
	if (p == end)
		return true;
	*scan = (struct pfs_json_scan){.at = p, .why = "something follows the value"};
	return false;
}

static int new_line(struct layout *l)
{
	static const char spaces[] = "                ";
	uint64_t left = (uint64_t)l->indent * l->depth;
	int err;

	if (!l->indent)
		return 0;
	err = l->fn(l->arg, "\n", 1);
	while (!err && left) {
		size_t n = pfs_min_u64(left, sizeof(spaces) - 1);

		err = l->fn(l->arg, spaces, n);
		left -= n;
	}
	return err;
}

/* Writes len bytes and steps over them. */
static int take(struct layout *l, size_t len)
{
	const uint8_t *p = l->p;

	l->p += len;
	return l->fn(l->arg, p, len);
}

static size_t string_len(const struct layout *l)
{
	const uint8_t *p = l->p + 1;

	while (p < l->end && *p != '"')
		p += *p == '\\' ? 2 : 1;
	return (size_t)(pfs_min_u64((size_t)(p + 1 - l->p), (size_t)(l->end - l->p)));
}

/* Of a number or a word. */
static size_t word_len(const struct layout *l)
{
	const uint8_t *p = l->p;

	while (p < l->end && !strchr(" \t\r\n,:]}", *p))
		p++;
	return (size_t)pfs_max_u64(1, (size_t)(p - l->p));
}

/* An object or array begins; one that is empty is written as a whole. */
static int open_level(struct layout *l)
{
	const uint8_t *next = pfs_json_skip_space(l->p + 1, l->end);
	int err;

	if (next < l->end && (*next == '}' || *next == ']')) {
		err = take(l, 1);
		l->p = next;
		return err ? err : take(l, 1);
	}
	l->depth++;
	err = take(l, 1);
	return err ? err : new_line(l);
}

static int close_level(struct layout *l)
{
	int err;

	l->depth--;
	err = new_line(l);
	return err ? err : take(l, 1);
}

static int layout_token(struct layout *l)
{
	int err;

	switch (*l->p) {
	case '{':
	case '[': return open_level(l);
	case '}':
	case ']': return close_level(l);
	case '"': return take(l, string_len(l));
	case ',': err = take(l, 1); return err ? err : new_line(l);
	case ':': err = take(l, 1); return err || !l->indent ? err : l->fn(l->arg, " ", 1);
	default: return take(l, word_len(l));
	}
}

int json_layout(const void *data, size_t len, unsigned indent, json_layout_fn *fn, void *arg)
{
	struct layout l = {.p = data, .indent = indent, .fn = fn, .arg = arg};
	int err = 0;

	l.end = l.p + len;
	while (!err && (l.p = pfs_json_skip_space(l.p, l.end)) < l.end)
		err = layout_token(&l);
	return err;
}
