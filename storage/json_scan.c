#include "storage/json_scan.h"

const uint8_t *pfs_json_skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

static enum pfs_json_status bad(struct pfs_json_scan *scan, const uint8_t *at, const char *why)
{
	scan->at = at;
	scan->why = why;
	return PFS_JSON_BAD;
}

static enum pfs_json_status more(struct pfs_json_scan *scan, const uint8_t *end)
{
	scan->at = end;
	scan->why = "the text ends inside a value";
	return PFS_JSON_MORE;
}

static enum pfs_json_status ok(struct pfs_json_scan *scan, const uint8_t *at)
{
	scan->at = at;
	scan->why = NULL;
	return PFS_JSON_OK;
}

#define LOW UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

/* The first byte of [p, end) that needs a look: a quote, a backslash, a control character, or not
 * ASCII. Eight bytes at a time; the lowest bit that is found is exact (a borrow can only spoil the
 * bytes above it). */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 8) {
		uint64_t x = pfs_get_le64(p);
		uint64_t quote = x ^ LOW * '"', slash = x ^ LOW * '\\';
		uint64_t hit = ((quote - LOW) & ~quote) | ((slash - LOW) & ~slash) |
			       ((x - LOW * 0x20) & ~x) | x;

		hit &= HIGH;
		if (hit)
			return p + (__builtin_ctzll(hit) >> 3);
		p += 8;
	}
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

int pfs_json_utf8_len(const uint8_t *p, const uint8_t *end)
{
	uint8_t lo = 0x80, hi = 0xbf;
	int len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	for (int i = 1; i < len; i++) {
		if (p + i == end)
			return -1;
		if (p[i] < lo || p[i] > hi)
			return 0;
		lo = 0x80;
		hi = 0xbf;
	}
	return len;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* p is at the backslash. */
static enum pfs_json_status scan_escape(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end)
{
	if (end - p < 2)
		return more(scan, end);
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't': return ok(scan, p + 2);
	case 'u':
		for (int i = 2; i < 6; i++) {
			if (p + i == end)
				return more(scan, end);
			if (hex_digit(p[i]) < 0)
				return bad(scan, p + i, "\\u needs four hexadecimal digits");
		}
		return ok(scan, p + 6);
	default: return bad(scan, p + 1, "unknown escape in a string");
	}
}

/* p is at the opening quote. */
static enum pfs_json_status scan_string(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end)
{
	enum pfs_json_status status;
	int len;

	for (p++;;) {
		p = skip_plain(p, end);
		if (p == end)
			return more(scan, end);
		if (*p == '"')
			return ok(scan, p + 1);
		if (*p == '\\') {
			status = scan_escape(scan, p, end);
			if (status != PFS_JSON_OK)
				return status;
			p = scan->at;
			continue;
		}
		if (*p < 0x20)
			return bad(scan, p,
				   *p == '\n' ? "a string is not closed in its line"
					      : "unescaped control character in a string");
		len = pfs_json_utf8_len(p, end);
		if (len < 0)
			return more(scan, end);
		if (len == 0)
			return bad(scan, p, "invalid UTF-8 in a string");
		p += len;
	}
}

static const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* At least one digit; *p moves behind them. Only OK says that a byte follows them. */
static enum pfs_json_status scan_digits(struct pfs_json_scan *scan, const uint8_t **p,
					const uint8_t *end, bool final)
{
	const uint8_t *start = *p;

	*p = skip_digits(start, end);
	if (*p == end && !(final && *p > start))
		return more(scan, end);
	if (*p == start)
		return bad(scan, start, "a digit is expected");
	return PFS_JSON_OK;
}

static enum pfs_json_status scan_number(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end, bool final)
{
	enum pfs_json_status status;

	if (*p == '-')
		p++;
	if (p < end && *p == '0') {
		p++;
		if (p == end && !final)
			return more(scan, end);
		if (p < end && *p >= '0' && *p <= '9')
			return bad(scan, p, "a number has a leading zero");
	} else {
		status = scan_digits(scan, &p, end, final);
		if (status != PFS_JSON_OK)
			return status;
	}
	if (p < end && *p == '.') {
		p++;
		status = scan_digits(scan, &p, end, final);
		if (status != PFS_JSON_OK)
			return status;
	}
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		status = scan_digits(scan, &p, end, final);
		if (status != PFS_JSON_OK)
			return status;
	}
	return ok(scan, p);
}

static enum pfs_json_status scan_word(struct pfs_json_scan *scan, const uint8_t *p,
				      const uint8_t *end, const char *word)
{
	for (size_t i = 0; word[i]; i++) {
		if (p + i == end)
			return more(scan, end);
		if (p[i] != (uint8_t)word[i])
			return bad(scan, p, "a JSON value is expected");
	}
	return ok(scan, p + strlen(word));
}

/* A value that holds no others. */
static enum pfs_json_status scan_scalar(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end, bool final)
{
	switch (*p) {
	case '"': return scan_string(scan, p, end);
	case 't': return scan_word(scan, p, end, "true");
	case 'f': return scan_word(scan, p, end, "false");
	case 'n': return scan_word(scan, p, end, "null");
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9': return scan_number(scan, p, end, final);
	default: return bad(scan, p, "a JSON value is expected");
	}
}

enum pfs_json_status pfs_json_scan_name(struct pfs_json_scan *scan, const uint8_t *p,
					const uint8_t *end, struct pfs_json_slice *name)
{
	enum pfs_json_status status;

	if (p == end)
		return more(scan, end);
	if (*p != '"')
		return bad(scan, p, "a member name in quotes is expected");
	status = scan_string(scan, p, end);
	if (status != PFS_JSON_OK)
		return status;
	name->p = p;
	name->len = (size_t)(scan->at - p);
	p = pfs_json_skip_space(scan->at, end);
	if (p == end)
		return more(scan, end);
	if (*p != ':')
		return bad(scan, p, "a colon is expected");
	return ok(scan, pfs_json_skip_space(p + 1, end));
}

/* The open brackets around the scanner's place: one bit each, set for an object. */
struct nesting {
	uint64_t is_object[PFS_JSON_DEPTH_MAX / 64];
	unsigned depth;
};

static void nesting_push(struct nesting *nesting, bool is_object)
{
	unsigned word = nesting->depth / 64, bit = nesting->depth % 64;

	nesting->is_object[word] &= ~(UINT64_C(1) << bit);
	nesting->is_object[word] |= (uint64_t)is_object << bit;
	nesting->depth++;
}

static bool nesting_in_object(const struct nesting *nesting)
{
	unsigned top = nesting->depth - 1;

	return nesting->is_object[top / 64] >> (top % 64) & 1;
}

/* p is at an opening bracket. OK: *p is where the first element's value starts, or, when *empty,
 * behind the closing bracket. */
static enum pfs_json_status open_bracket(struct pfs_json_scan *scan, struct nesting *nesting,
					 const uint8_t **p, const uint8_t *end, bool *empty)
{
	bool is_object = **p == '{';
	const uint8_t *q = pfs_json_skip_space(*p + 1, end);
	struct pfs_json_slice name;
	enum pfs_json_status status;

	*empty = false;
	if (nesting->depth == PFS_JSON_DEPTH_MAX)
		return bad(scan, *p, "nested too deeply");
	if (q == end)
		return more(scan, end);
	if (*q == (is_object ? '}' : ']')) {
		*empty = true;
		*p = q + 1;
		return PFS_JSON_OK;
	}
	nesting_push(nesting, is_object);
	if (is_object) {
		status = pfs_json_scan_name(scan, q, end, &name);
		if (status != PFS_JSON_OK)
			return status;
		q = scan->at;
	}
	*p = q;
	return PFS_JSON_OK;
}

/* *p is behind a value inside brackets. OK: *p is where the next value starts, or, when the depth
 * is 0, behind the last bracket. */
static enum pfs_json_status next_value(struct pfs_json_scan *scan, struct nesting *nesting,
				       const uint8_t **p, const uint8_t *end)
{
	const uint8_t *q = *p;
	struct pfs_json_slice name;
	enum pfs_json_status status;

	while (nesting->depth) {
		bool is_object = nesting_in_object(nesting);

		q = pfs_json_skip_space(q, end);
		if (q == end)
			return more(scan, end);
		if (*q == ',') {
			q = pfs_json_skip_space(q + 1, end);
			if (is_object) {
				status = pfs_json_scan_name(scan, q, end, &name);
				if (status != PFS_JSON_OK)
					return status;
				q = scan->at;
			}
			break;
		}
		if (*q != (is_object ? '}' : ']'))
			return bad(scan, q,
				   is_object ? "a comma or a closing brace is expected"
					     : "a comma or a closing bracket is expected");
		nesting->depth--;
		q++;
	}
	*p = q;
	return PFS_JSON_OK;
}

enum pfs_json_status pfs_json_scan_value(struct pfs_json_scan *scan, const uint8_t *p,
					 const uint8_t *end, bool final)
{
	struct nesting nesting;
	enum pfs_json_status status;
	bool empty;

	nesting.depth = 0;
	for (;;) {
		if (p == end)
			return more(scan, end);
		if (*p == '{' || *p == '[') {
			status = open_bracket(scan, &nesting, &p, end, &empty);
			if (status != PFS_JSON_OK)
				return status;
			if (!empty)
				continue;
		} else {
			status = scan_scalar(scan, p, end, final);
			if (status != PFS_JSON_OK)
				return status;
			p = scan->at;
		}
		status = next_value(scan, &nesting, &p, end);
		if (status != PFS_JSON_OK)
			return status;
		if (!nesting.depth)
			return ok(scan, p);
	}
}

static uint32_t hex4(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 4 | (uint32_t)hex_digit(p[i]);
	return v;
}

static size_t utf8_put(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* Decodes the escape at p into out. Returns the bytes it takes in the input, 0 for a surrogate
 * without partner. */
static size_t decode_escape(const uint8_t *p, const uint8_t *end, uint8_t out[4], size_t *out_len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint32_t c, low;

	if (p[1] != 'u') {
		out[0] = (uint8_t)to[strchr(from, p[1]) - from];
		*out_len = 1;
		return 2;
	}
	c = hex4(p + 2);
	if (c < 0xd800 || c > 0xdfff) {
		*out_len = utf8_put(out, c);
		return 6;
	}
	if (c > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	low = hex4(p + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*out_len = utf8_put(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
	return 12;
}

ptrdiff_t pfs_json_string_decode(struct pfs_json_slice string, char *text, size_t cap)
{
	const uint8_t *p = string.p + 1, *end = string.p + string.len - 1, *slash;
	uint8_t escaped[4];
	size_t len = 0, piece_len, taken;

	while (p < end) {
		slash = memchr(p, '\\', (size_t)(end - p));
		piece_len = (size_t)((slash ? slash : end) - p);
		if (cap - len < piece_len)
			return -1;
		memcpy(text + len, p, piece_len);
		len += piece_len;
		p += piece_len;
		if (!slash)
			break;
		taken = decode_escape(p, end, escaped, &piece_len);
		if (!taken || cap - len < piece_len)
			return -1;
		memcpy(text + len, escaped, piece_len);
		len += piece_len;
		p += taken;
	}
	return (ptrdiff_t)len;
}

bool pfs_json_string_is(struct pfs_json_slice string, const char *text)
{
	size_t want = strlen(text);
	char decoded[64];
	ptrdiff_t len;

	if (!memchr(string.p, '\\', string.len))
		return string.len == want + 2 && memcmp(string.p + 1, text, want) == 0;
	len = pfs_json_string_decode(string, decoded, sizeof(decoded));
	return len >= 0 && (size_t)len == want && memcmp(decoded, text, want) == 0;
}

bool pfs_json_is_line_value(const void *data, size_t len)
{
	const uint8_t *p = data, *end = p + len;
	struct pfs_json_scan scan;

	if (len == 0 || memchr(p, '\n', len) || memchr(p, '\r', len))
		return false;
	return pfs_json_scan_value(&scan, p, end, true) == PFS_JSON_OK && scan.at == end;
}

const char *pfs_json_fault(const void *data, size_t len, size_t *off)
{
	const uint8_t *text = data, *end = text + len;
	const uint8_t *p = pfs_json_skip_space(text, end);
	struct pfs_json_scan scan;

	*off = len;
	if (p == end)
		return len ? "nothing but white space" : "empty";
	switch (pfs_json_scan_value(&scan, p, end, true)) {
	case PFS_JSON_MORE: return "it ends before its value does";
	case PFS_JSON_BAD: *off = (size_t)(scan.at - text); return scan.why;
	default: break;
	}
	p = pfs_json_skip_space(scan.at, end);
	if (p == end)
		return NULL;
	*off = (size_t)(p - text);
	return "something follows the value";
}

size_t pfs_json_string_encode(char *out, const char *text, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = (const uint8_t *)text, *end = p + len;
	char *o = out;

	*o++ = '"';
	while (p < end) {
		int n = pfs_json_utf8_len(p, end);

		if (n <= 0) {
			memcpy(o, "\xef\xbf\xbd", 3);
			o += 3;
			p++;
		} else if (*p == '"' || *p == '\\') {
			*o++ = '\\';
			*o++ = (char)*p++;
		} else if (*p < 0x20) {
			memcpy(o, "\\u00", 4);
			o[4] = hex[*p >> 4];
			o[5] = hex[*p & 15];
			o += 6;
			p++;
		} else {
			memcpy(o, p, (size_t)n);
			o += n;
			p += n;
		}
	}
	*o++ = '"';
	return (size_t)(o - out);
}
