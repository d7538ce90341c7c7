/* The JSON scanner of import and export, and base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "storage/base64.h"
#include "storage/json_scan.h"

static enum pfs_json_status scan_text(const char *text, size_t len, size_t *end)
{
	struct pfs_json_scan scan;
	/* A copy without a byte behind it, so that ASan sees reads past the end. */
	uint8_t *copy = malloc(len ? len : 1);
	enum pfs_json_status status;

	assert_non_null(copy);
	memcpy(copy, text, len);
	status = pfs_json_scan_value(&scan, copy, copy + len, true);
	*end = (size_t)(scan.at - copy);
	assert_true(*end <= len);
	free(copy);
	return status;
}

static const char *const valid[] = {
	"0",
	"-0",
	"42",
	"-1.5e+10",
	"1E-2",
	"0.25",
	"123456789012345678901234567890",
	"true",
	"false",
	"null",
	"\"\"",
	"\"plain text of more than eight bytes\"",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"",
	"\"\\ud800\"",
	"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\"",
	"\"\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xc2\xbf\xec\x80\x80\"",
	"\"a b  c\"",
	"\"\x7f\"",
	"[]",
	"[ ]",
	"{}",
	"{ \n}",
	"[1,[2,[3]],{\"a\":[]}]",
	"{\"a\":1,\"a\":2}",
	"{\"a\" : {\"b\" :\t[null , true]\r\n} , \"c\":\"d\"}",
	"[[],{},[{}],\"\",0]",
};

/* Proves: every valid value is accepted to its last byte, also with something behind it, and no
 * proper prefix of it is taken for a value, unless it is a number. */
static void scanner_accepts_values_and_refuses_their_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(valid); i++) {
		size_t len = strlen(valid[i]), end;
		char longer[256];

		assert_int_equal(scan_text(valid[i], len, &end), PFS_JSON_OK);
		assert_int_equal(end, len);
		snprintf(longer, sizeof(longer), "%s,", valid[i]);
		assert_int_equal(scan_text(longer, len + 1, &end), PFS_JSON_OK);
		assert_int_equal(end, len);
		for (size_t cut = 0; cut < len; cut++) {
			enum pfs_json_status status = scan_text(valid[i], cut, &end);

			if (valid[i][0] == '-' || (valid[i][0] >= '0' && valid[i][0] <= '9'))
				assert_true(status == PFS_JSON_MORE ||
					    (status == PFS_JSON_OK && end == cut));
			else
				assert_int_equal(status, PFS_JSON_MORE);
		}
	}
}

/* Proves: each of these faults is found, at the byte where it is. */
static void scanner_refuses_what_is_not_json(void **state)
{
	static const struct {
		const char *text;
		size_t at;
	} cases[] = {
		{"x", 0},
		{"'a'", 0},
		{"+1", 0},
		{".5", 0},
		{"01", 1},
		{"-01", 2},
		{"00", 1},
		{"-x", 1},
		{"1.x", 2},
		{"1ex", 2},
		{"1e+x", 3},
		{"nul_", 0},
		{"True", 0},
		{"NaN", 0},
		{"-Infinity", 1},
		{"\"a\nb\"", 2},
		{"\"a\tb\"", 2},
		{"\"eight by\x01tes\"", 9},
		{"\"\\x\"", 2},
		{"\"\\u12g4\"", 5},
		{"\"\\u 123\"", 3},
		{"\"\x80\"", 1},
		{"\"\xc0\xaf\"", 1},
		{"\"\xc1\xbf\"", 1},
		{"\"\xe0\x9f\xbf\"", 1},
		{"\"\xed\xa0\x80\"", 1},
		{"\"\xf0\x8f\xbf\xbf\"", 1},
		{"\"\xf4\x90\x80\x80\"", 1},
		{"\"\xf5\x80\x80\x80\"", 1},
		{"\"\xc3\"", 1},
		{"\"\xe2\x82\"", 1},
		{"\"12345678\xff\"", 9},
		{"[1,]", 3},
		{"[,1]", 1},
		{"[1 2]", 3},
		{"[1}", 2},
		{"{\"a\":1]", 6},
		{"{\"a\":1,}", 7},
		{"{,}", 1},
		{"{a:1}", 1},
		{"{\"a\" 1}", 5},
		{"{\"a\":}", 5},
		{"{\"a\":1 \"b\":2}", 7},
		{"[\"a\\\"]", 6},
		{"[1,//\n2]", 3},
		{"[1,\x0b"
		 "2]",
		 3},
		{"[\xef\xbb\xbf]", 1},
	};
	size_t end;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		enum pfs_json_status status = scan_text(cases[i].text, strlen(cases[i].text), &end);

		if (strcmp(cases[i].text, "[\"a\\\"]") == 0) { /* the string swallows the bracket */
			assert_int_equal(status, PFS_JSON_MORE);
			continue;
		}
		if (status != PFS_JSON_BAD || end != cases[i].at)
			fail_msg("%s: status %d at %zu, not %zu", cases[i].text, status, end,
				 cases[i].at);
	}
}

/* What the scanner says, from a second scanner that is written to be plain: one byte at a time,
 * tables for numbers and UTF-8, and recursion. */
struct plain {
	const uint8_t *text;
	size_t len, at;
	bool final;
	unsigned depth;
	const char *why;
};

static enum pfs_json_status plain_value(struct plain *s);

static int plain_peek(const struct plain *s)
{
	return s->at < s->len ? s->text[s->at] : -1;
}

static enum pfs_json_status plain_bad(struct plain *s, const char *why)
{
	s->why = why;
	return PFS_JSON_BAD;
}

static enum pfs_json_status plain_more(struct plain *s)
{
	s->at = s->len;
	s->why = "the text ends inside a value";
	return PFS_JSON_MORE;
}

static void plain_space(struct plain *s)
{
	while (plain_peek(s) == 0x20 || plain_peek(s) == 0x09 || plain_peek(s) == 0x0a ||
	       plain_peek(s) == 0x0d)
		s->at++;
}

static bool is_digit(int c)
{
	return c >= 0x30 && c <= 0x39;
}

/* The states are named by what has been read: a sign, a zero, digits, a point, digits behind it, an
 * e, its sign, its digits. */
static enum pfs_json_status plain_number(struct plain *s)
{
	enum { BEGIN, SIGN, ZERO, WHOLE, POINT, PART, E, E_SIGN, POWER } state = BEGIN;
	static const bool may_end[] = {
		[ZERO] = true, [WHOLE] = true, [PART] = true, [POWER] = true};

	for (;; s->at++) {
		int c = plain_peek(s);

		if (c < 0)
			return s->final && may_end[state] ? PFS_JSON_OK : plain_more(s);
		if (state == BEGIN && c == '-')
			state = SIGN;
		else if (state == E && (c == '+' || c == '-'))
			state = E_SIGN;
		else if (is_digit(c) && state == ZERO)
			return plain_bad(s, "a number has a leading zero");
		else if (is_digit(c) && state <= SIGN)
			state = c == '0' ? ZERO : WHOLE;
		else if (is_digit(c))
			state = state <= WHOLE ? WHOLE : state <= PART ? PART : POWER;
		else if (!may_end[state])
			return plain_bad(s, "a digit is expected");
		else if (c == '.' && state <= WHOLE)
			state = POINT;
		else if ((c == 'e' || c == 'E') && state <= PART)
			state = E;
		else
			return PFS_JSON_OK;
	}
}

/* RFC 3629, section 4. */
static int plain_utf8_len(const uint8_t *p, size_t len)
{
	static const struct {
		uint8_t first, last, from, to;
		int len;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t row = 0; row < pfs_array_len(rows); row++) {
		if (p[0] < rows[row].first || p[0] > rows[row].last)
			continue;
		for (size_t i = 1; i < (size_t)rows[row].len; i++) {
			if (i == len)
				return -1;
			if (p[i] < (i == 1 ? rows[row].from : 0x80) ||
			    p[i] > (i == 1 ? rows[row].to : 0xbf))
				return 0;
		}
		return rows[row].len;
	}
	return 0;
}

static enum pfs_json_status plain_string(struct plain *s)
{
	for (s->at++;;) {
		int c = plain_peek(s), len;

		if (c < 0)
			return plain_more(s);
		if (c == '"') {
			s->at++;
			return PFS_JSON_OK;
		}
		if (c == '\n')
			return plain_bad(s, "a string is not closed in its line");
		if (c < 0x20)
			return plain_bad(s, "unescaped control character in a string");
		if (c != '\\') {
			len = plain_utf8_len(s->text + s->at, s->len - s->at);
			if (len < 0)
				return plain_more(s);
			if (!len)
				return plain_bad(s, "invalid UTF-8 in a string");
			s->at += (size_t)len;
			continue;
		}
		s->at++;
		c = plain_peek(s);
		if (c < 0)
			return plain_more(s);
		if (!c || !strchr("\"\\/bfnrtu", c))
			return plain_bad(s, "unknown escape in a string");
		s->at++;
		for (int i = 0; c == 'u' && i < 4; i++, s->at++) {
			int digit = plain_peek(s);

			if (digit < 0)
				return plain_more(s);
			if (!digit || !strchr("0123456789abcdefABCDEF", digit))
				return plain_bad(s, "\\u needs four hexadecimal digits");
		}
	}
}

static enum pfs_json_status plain_word(struct plain *s, const char *word)
{
	size_t begin = s->at;

	for (; *word; word++, s->at++) {
		if (plain_peek(s) < 0)
			return plain_more(s);
		if (plain_peek(s) != *word) {
			s->at = begin;
			return plain_bad(s, "a JSON value is expected");
		}
	}
	return PFS_JSON_OK;
}

static enum pfs_json_status plain_member_name(struct plain *s)
{
	enum pfs_json_status status;

	if (plain_peek(s) < 0)
		return plain_more(s);
	if (plain_peek(s) != '"')
		return plain_bad(s, "a member name in quotes is expected");
	status = plain_string(s);
	if (status != PFS_JSON_OK)
		return status;
	plain_space(s);
	if (plain_peek(s) < 0)
		return plain_more(s);
	if (plain_peek(s) != ':')
		return plain_bad(s, "a colon is expected");
	s->at++;
	plain_space(s);
	return PFS_JSON_OK;
}

static enum pfs_json_status plain_brackets(struct plain *s, bool is_object)
{
	const int close = is_object ? '}' : ']';
	enum pfs_json_status status;

	if (s->depth++ == PFS_JSON_DEPTH_MAX)
		return plain_bad(s, "nested too deeply");
	s->at++;
	plain_space(s);
	if (plain_peek(s) < 0)
		return plain_more(s);
	for (bool is_first = true; !is_first || plain_peek(s) != close; is_first = false) {
		status = is_object ? plain_member_name(s) : PFS_JSON_OK;
		if (status == PFS_JSON_OK)
			status = plain_value(s);
		if (status != PFS_JSON_OK)
			return status;
		plain_space(s);
		if (plain_peek(s) < 0)
			return plain_more(s);
		if (plain_peek(s) == close)
			break;
		if (plain_peek(s) != ',')
			return plain_bad(s, is_object ? "a comma or a closing brace is expected"
						      : "a comma or a closing bracket is expected");
		s->at++;
		plain_space(s);
	}
	s->depth--;
	s->at++;
	return PFS_JSON_OK;
}

static enum pfs_json_status plain_value(struct plain *s)
{
	int c = plain_peek(s);

	if (c < 0)
		return plain_more(s);
	if (c == '{' || c == '[')
		return plain_brackets(s, c == '{');
	if (c == '"')
		return plain_string(s);
	if (c == '-' || is_digit(c))
		return plain_number(s);
	return plain_word(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

/* Scans the text with both and compares what they say. */
static void scan_like_plain(const uint8_t *text, size_t len)
{
	for (int final = 0; final < 2; final++) {
		struct plain plain = {.text = text, .len = len, .final = final};
		enum pfs_json_status want = plain_value(&plain);
		struct pfs_json_scan scan;
		enum pfs_json_status status = pfs_json_scan_value(&scan, text, text + len, final);

		if (status != want || scan.at != text + plain.at || !scan.why != !plain.why ||
		    (scan.why && strcmp(scan.why, plain.why) != 0))
			fail_msg("%.*s: %d at %td: %s; not %d at %zu: %s", (int)len,
				 (const char *)text, status, scan.at - text, scan.why, want,
				 plain.at, plain.why);
	}
}

/* Scans every sequence of up to count_max of the pieces. */
static void scan_sequences(const char *const *pieces, size_t piece_count, unsigned count_max)
{
	unsigned chosen[8] = {0}, count = 1;

	assert_true(count_max <= pfs_array_len(chosen));
	while (count <= count_max) {
		uint8_t text[64];
		size_t len = 0;
		unsigned i;

		for (i = 0; i < count; i++) {
			const char *piece = pieces[chosen[i]];

			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		scan_like_plain(text, len);
		for (i = 0; i < count && ++chosen[i] == piece_count; i++)
			chosen[i] = 0;
		count += i == count;
	}
}

/* Proves: of every short sequence of brackets, commas, colons, names, values and space, of digits
 * and what stands between them, and of pieces of strings, the scanner says exactly what a plain one
 * does: whether it is a value, where it ends or where the fault is, and which. */
static void short_texts_are_scanned_as_by_a_plain_scanner(void **state)
{
	static const char *const brackets[] = {"{", "}", "[", "]", ",", ":", "\"a\"", " ", "7"};
	static const char *const numbers[] = {"-", "+", ".", "e", "E", "0", "1", "9", ",", "["};
	static const char *const strings[] = {"\"", "\\", "u", "n", "0", "aF", "g", "\xc3", "\xa9"};

	(void)state;
	scan_sequences(brackets, pfs_array_len(brackets), 5);
	scan_sequences(numbers, pfs_array_len(numbers), 5);
	scan_sequences(strings, pfs_array_len(strings), 5);
}

/* Proves: the same of texts in which one byte is another, whichever, and of each of their
 * beginnings. */
static void changed_texts_are_scanned_as_by_a_plain_scanner(void **state)
{
	static const char *const texts[] = {
		"{ \"a\" : [ 1 , { } , [ ] ] , \"b\" : { \"c\" : null } }",
		"[[{\"a\":[true,false]},-0.5e+10],20]",
		"\"plain text of 17 \\u12aF \\n\"",
		"\"\xc3\xa9 \xe2\x82\xac \xed\x9f\xbf \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"",
		"-10.25E-3",
		"0",
	};
	uint8_t text[64];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(texts); i++) {
		size_t len = strlen(texts[i]);

		assert_true(len <= sizeof(text));
		memcpy(text, texts[i], len);
		for (size_t at = 0; at < len; at++) {
			scan_like_plain(text, at);
			for (unsigned byte = 0; byte < 256; byte++) {
				text[at] = (uint8_t)byte;
				scan_like_plain(text, len);
			}
			text[at] = (uint8_t)texts[i][at];
		}
	}
}

/* Proves: the length of a UTF-8 sequence is that of RFC 3629, or 0, or -1 where the text ends in
 * it, for every two bytes and every kind of byte behind these. */
static void utf8_lengths_are_those_of_the_rfc(void **state)
{
	static const uint8_t tails[] = {0x00, 0x22, 0x7f, 0x80, 0x81, 0xbe, 0xbf, 0xc0, 0xff};
	uint8_t text[4];

	(void)state;
	for (unsigned two = 0; two < 65536; two++) {
		text[0] = (uint8_t)(two >> 8);
		text[1] = (uint8_t)two;
		for (size_t i = 0; i < pfs_array_len(tails) * pfs_array_len(tails); i++) {
			text[2] = tails[i % pfs_array_len(tails)];
			text[3] = tails[i / pfs_array_len(tails)];
			for (size_t len = i ? 4 : 1; len <= sizeof(text); len++)
				if (pfs_json_utf8_len(text, text + len) !=
				    plain_utf8_len(text, len))
					fail_msg("%02x%02x%02x%02x, %zu bytes", text[0], text[1],
						 text[2], text[3], len);
			if (text[0] < 0xc2 || text[0] > 0xf4)
				break;
		}
	}
}

/* Proves: PFS_JSON_DEPTH_MAX levels are accepted, one more is refused, in arrays and in objects;
 * and each level keeps its kind. */
static void scanner_limits_nesting(void **state)
{
	char text[8 * PFS_JSON_DEPTH_MAX];
	size_t end;

	(void)state;
	memset(text, '[', PFS_JSON_DEPTH_MAX);
	memset(text + PFS_JSON_DEPTH_MAX, ']', PFS_JSON_DEPTH_MAX);
	assert_int_equal(scan_text(text, 2 * PFS_JSON_DEPTH_MAX, &end), PFS_JSON_OK);
	memset(text, '[', PFS_JSON_DEPTH_MAX + 1);
	memset(text + PFS_JSON_DEPTH_MAX + 1, ']', PFS_JSON_DEPTH_MAX + 1);
	assert_int_equal(scan_text(text, 2 * PFS_JSON_DEPTH_MAX + 2, &end), PFS_JSON_BAD);
	assert_int_equal(end, PFS_JSON_DEPTH_MAX);

	size_t len = 0;
	for (size_t i = 0; i < PFS_JSON_DEPTH_MAX; i++)
		len += (size_t)sprintf(text + len, i % 3 ? "[" : "{\"a\":");
	text[len++] = '7';
	size_t inside = len;
	for (size_t i = PFS_JSON_DEPTH_MAX; i-- > 0;)
		text[len++] = i % 3 ? ']' : '}';
	assert_int_equal(scan_text(text, len, &end), PFS_JSON_OK);
	assert_int_equal(end, len);
	for (size_t i = inside; i < len; i += 67) {
		char right = text[i];

		text[i] = right == ']' ? '}' : ']';
		assert_int_equal(scan_text(text, len, &end), PFS_JSON_BAD);
		assert_int_equal(end, i);
		text[i] = right;
	}
}

/* Proves: only one value, without anything around it and without line breaks, may be a line's
 * payload. */
static void line_values_are_told_from_others(void **state)
{
	static const char *const no[] = {"",	 " ",	"{} ",	" {}", "{}\n",	   "{\n}",
					 "{\r}", "1 2", "{}{}", "{",   "\"\xff\"", "1,"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(valid); i++)
		assert_int_equal(pfs_json_is_line_value(valid[i], strlen(valid[i])),
				 !strpbrk(valid[i], "\n\r"));
	for (size_t i = 0; i < pfs_array_len(no); i++)
		assert_false(pfs_json_is_line_value(no[i], strlen(no[i])));
	assert_false(pfs_json_is_line_value("1\0", 2));
}

/* Proves: of one value with white space around it nothing is wrong; else the place and the reason
 * are told. */
static void faults_are_told_with_their_place(void **state)
{
	static const struct {
		const char *text;
		size_t off;
		const char *why;
	} cases[] = {
		{"", 0, "empty"},
		{" \n\t", 3, "nothing but white space"},
		{" \r\n{\"a\":\n1}\n", 0, NULL},
		{"12", 0, NULL},
		{"12 ", 0, NULL},
		{"{\"a\":1", 6, "it ends before its value does"},
		{" \"a", 3, "it ends before its value does"},
		{"1 2", 2, "something follows the value"},
		{"{}\n\n{}", 4, "something follows the value"},
		{" [1,]", 4, "a JSON value is expected"},
		{"\t\n\r 7\v", 5, "something follows the value"},
		{"\v7", 0, "a JSON value is expected"},
		{" ", 1, "nothing but white space"},
		{"-", 1, "it ends before its value does"},
		{" {\"a\":1,\"b\":[2,3}", 16, "a comma or a closing bracket is expected"},
	};
	size_t off;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const char *why = pfs_json_fault(cases[i].text, strlen(cases[i].text), &off);

		if (!cases[i].why) {
			assert_null(why);
			continue;
		}
		assert_non_null(why);
		assert_string_equal(why, cases[i].why);
		assert_int_equal(off, cases[i].off);
	}
	for (size_t i = 0; i < pfs_array_len(valid); i++)
		assert_null(pfs_json_fault(valid[i], strlen(valid[i]), &off));
	assert_non_null(pfs_json_fault("1\0", 2, &off));
	assert_int_equal(off, 1);
}

/* Proves: a member's name comes with its quotes, and the scan ends behind the space around the
 * colon, where the value begins; every cut is told as one. */
static void names_are_delimited(void **state)
{
	static const char text[] = "\"n\\u0061me\" \t:\r\n 7";
	struct pfs_json_slice name = {NULL, 0};
	struct pfs_json_scan scan;
	const uint8_t *p = (const uint8_t *)text;
	size_t len = sizeof(text) - 1;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		enum pfs_json_status status = pfs_json_scan_name(&scan, p, p + cut, &name);

		assert_ptr_equal(scan.at, p + pfs_min_u64(cut, len - 1));
		assert_int_equal(status, cut < 14 ? PFS_JSON_MORE : PFS_JSON_OK);
	}
	assert_null(scan.why);
	assert_ptr_equal(name.p, p);
	assert_int_equal(name.len, 11);
	assert_true(pfs_json_string_is(name, "name"));
}

static struct pfs_json_slice slice(const char *text)
{
	struct pfs_json_slice s = {(const uint8_t *)text, strlen(text)};

	return s;
}

/* Proves: strings are decoded and compared by their meaning; what does not fit or has no meaning is
 * refused. */
static void strings_are_decoded(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(pfs_json_string_decode(slice("\"a\\u00e9\\ud83d\\ude00\\n\\/\""), text,
						sizeof(text)),
			 9);
	assert_memory_equal(text, "a\xc3\xa9\xf0\x9f\x98\x80\n/", 9);
	assert_int_equal(
		pfs_json_string_decode(slice("\"\\u20ac\\u007f\\u0080\\u07ff\\u0800\""), text, 11),
		11);
	assert_memory_equal(text, "\xe2\x82\xac\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80", 11);
	assert_int_equal(
		pfs_json_string_decode(slice("\"\\u20ac\\u007f\\u0080\\u07ff\\u0800\""), text, 10),
		-1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud83d\""), text, sizeof(text)), -1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud83dxxxxxx\""), text, sizeof(text)),
			 -1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud83d\\xxxxx\""), text, sizeof(text)),
			 -1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud83d\\ue000\""), text, sizeof(text)),
			 -1);
	/* Where it ends, whatever looks like an escape before it. */
	assert_int_equal(pfs_json_string_decode(slice("\"\\\\aaaa\\ud83d\""), text, sizeof(text)),
			 -1);
	assert_int_equal(
		pfs_json_string_decode(slice("\"\\\\aaaa\\ud83d\\u0041\""), text, sizeof(text)),
		-1);
	assert_false(pfs_json_string_is(slice("\"\\ud83d\""), "id"));
	assert_false(pfs_json_string_is(slice("\"i\\u0065\""), "id"));
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud83d\\u0041\""), text, sizeof(text)),
			 -1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ude00\\ud83d\""), text, sizeof(text)),
			 -1);
	assert_int_equal(
		pfs_json_string_decode(slice("\"\\ud800\\udc00\\udbff\\udfff\""), text, 16), 8);
	assert_memory_equal(text, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8);
	assert_int_equal(pfs_json_string_decode(slice("\"\\udbff\\ue000\""), text, 16), -1);
	assert_int_equal(pfs_json_string_decode(slice("\"\\ud7ff\\ue000\""), text, 16), 6);
	assert_memory_equal(text, "\xed\x9f\xbf\xee\x80\x80", 6);
	assert_true(pfs_json_string_is(slice("\"id\""), "id"));
	assert_true(pfs_json_string_is(slice("\"\\u0069\\u0064\""), "id"));
	assert_false(pfs_json_string_is(slice("\"ids\""), "id"));
	assert_false(pfs_json_string_is(slice("\"i\""), "id"));
	assert_false(pfs_json_string_is(slice("\"i\\u0064s\""), "id"));
}

/* The UTF-8 of a code point, the bits from the last one on. */
static size_t plain_utf8(char out[4], uint32_t c)
{
	static const uint8_t heads[] = {0, 0xc0, 0xe0, 0xf0};
	size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

	for (size_t i = more; i; i--, c /= 64)
		out[i] = (char)(0x80 + c % 64);
	out[0] = (char)(heads[more] + c);
	return more + 1;
}

/* Proves: every code point that is escaped is decoded, and stands in the string as it is, too; the
 * digits may be large or small. Two halves of a pair in another order, or one alone, are not. */
static void escapes_are_decoded_to_their_code_points(void **state)
{
	static const uint16_t units[] = {0x0000, 0x0041, 0xd7ff, 0xd800, 0xd801, 0xdaaa,
					 0xdbff, 0xdc00, 0xdc01, 0xdfff, 0xe000, 0xffff};
	char want[4], got[8], text[32];

	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x11000 || c >= 0x10ff00 ? 1 : 61) {
		uint32_t high = 0xd800 + (c - 0x10000) / 1024, low = 0xdc00 + c % 1024;
		struct pfs_json_slice string = {(const uint8_t *)text, 0};
		size_t len = plain_utf8(want, c);

		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c < 0x10000)
			string.len =
				(size_t)sprintf(text, c % 2 ? "\"\\u%04x\"" : "\"\\u%04X\"", c);
		else
			string.len = (size_t)sprintf(text, "\"\\u%x\\u%X\"", high, low);
		assert_int_equal(pfs_json_string_decode(string, got, len), len);
		assert_memory_equal(got, want, len);
		assert_int_equal(pfs_json_string_decode(string, got, len - 1), -1);
		assert_int_equal(pfs_json_utf8_len((uint8_t *)want, (uint8_t *)want + len), len);
	}
	for (size_t i = 0; i < pfs_array_len(units) * pfs_array_len(units); i++) {
		uint16_t first = units[i / pfs_array_len(units)],
			 second = units[i % pfs_array_len(units)];
		bool is_pair = first >> 10 == 0x36 && second >> 10 == 0x37;
		bool is_good = is_pair || (first >> 11 != 0x1b && second >> 11 != 0x1b);
		struct pfs_json_slice string = {
			(const uint8_t *)text,
			(size_t)sprintf(text, "\"\\u%04x\\u%04x\"", first, second)};

		assert_int_equal(pfs_json_string_decode(string, got, sizeof(got)) > 0, is_good);
	}
}

/* Proves: what stands around escapes is kept, each short escape means its character, and room for
 * exactly the result is enough, at every step of it. */
static void decoded_strings_take_exactly_their_room(void **state)
{
	static const char string[] =
		"\"one\\\"two\\\\three\\/\\b\\f\\n\\r\\t\\u00E9 \\ud83d\\ude00\xc3\xa9 end\"";
	static const char want[] =
		"one\"two\\three/\b\f\n\r\t\xc3\xa9 \xf0\x9f\x98\x80\xc3\xa9 end";
	char text[64];

	(void)state;
	for (size_t cap = 0; cap <= sizeof(text); cap++) {
		memset(text, '#', sizeof(text));
		if (cap < sizeof(want) - 1) {
			assert_int_equal(pfs_json_string_decode(slice(string), text, cap), -1);
			assert_int_equal(text[cap], '#');
			continue;
		}
		assert_int_equal(pfs_json_string_decode(slice(string), text, cap),
				 sizeof(want) - 1);
		assert_memory_equal(text, want, sizeof(want) - 1);
		assert_int_equal(text[sizeof(want) - 1], '#');
	}
	assert_int_equal(pfs_json_string_decode(slice("\"\""), text, 0), 0);
	assert_true(pfs_json_string_is(slice(string), want));
	assert_true(pfs_json_string_is(slice("\"\""), ""));
	assert_false(pfs_json_string_is(slice("\"a\""), ""));
	assert_false(pfs_json_string_is(slice("\"ab\""), "ac"));
	assert_false(pfs_json_string_is(slice("\"ab\""), "bb"));
	assert_false(pfs_json_string_is(slice("\"a\\u0062\""), "ac"));
	assert_false(pfs_json_string_is(slice("\"a\\u0062\""), "bb"));
	assert_false(pfs_json_string_is(slice("\"a\\u0000\""), "a"));
	/* What is compared is less than 64 bytes; what it is compared with may be longer. */
	memset(text, 'x', 63);
	text[63] = '\0';
	for (int more = 0; more < 3; more++) {
		char longer[80];

		sprintf(longer, "\"\\u0078%s%.*s\"", text + 1, more, "xx");
		assert_int_equal(pfs_json_string_is(slice(longer), text), more == 0);
	}
}

/* Proves: each byte in a string that is made gets what its kind asks for, alone and between others,
 * and where a sequence is cut off. */
static void bytes_are_encoded_by_their_kind(void **state)
{
	char out[64], want[64], text[8];

	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		const char *form = byte < 0x20			 ? "\"x\\u%04xz\""
				   : byte == '"' || byte == '\\' ? "\"x\\%cz\""
				   : byte < 0x80		 ? "\"x%cz\""
								 : "\"x\xef\xbf\xbdz\"";
		size_t want_len = (size_t)sprintf(want, form, byte);

		sprintf(text, "x%cz", (int)byte);
		assert_int_equal(pfs_json_string_encode(out, text, 3), want_len);
		assert_memory_equal(out, want, want_len);
	}
	assert_int_equal(pfs_json_string_encode(out, "", 0), 2);
	assert_memory_equal(out, "\"\"", 2);
	/* Cut off behind each of its bytes: one sign for each byte that is left. */
	for (size_t len = 1; len <= 4; len++) {
		static const char *const cut[] = {
			"\"\xef\xbf\xbd\"", "\"\xef\xbf\xbd\xef\xbf\xbd\"",
			"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", "\"\xf0\x9f\x98\x80\""};

		assert_int_equal(pfs_json_string_encode(out, "\xf0\x9f\x98\x80", len),
				 strlen(cut[len - 1]));
		assert_memory_equal(out, cut[len - 1], strlen(cut[len - 1]));
	}
}

/* Proves: any bytes become a valid JSON string, and text survives. */
static void strings_are_encoded(void **state)
{
	char out[64], all[256], back[1024];
	char *encoded = malloc(6 * sizeof(all) + 2);
	size_t len, end;

	(void)state;
	assert_non_null(encoded);
	len = pfs_json_string_encode(out, "a b\x1f", 4);
	assert_int_equal(len, 11);
	assert_memory_equal(out, "\"a b\\u001f\"", 11);
	len = pfs_json_string_encode(out, "a\"\\\n\xc3\xa9\xff", 7);
	assert_int_equal(len, 18);
	assert_memory_equal(out, "\"a\\\"\\\\\\u000a\xc3\xa9\xef\xbf\xbd\"", 18);
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	len = pfs_json_string_encode(encoded, all, sizeof(all));
	assert_int_equal(scan_text(encoded, len, &end), PFS_JSON_OK);
	assert_int_equal(end, len);
	struct pfs_json_slice whole = {(const uint8_t *)encoded, len};
	assert_int_equal(pfs_json_string_decode(whole, back, sizeof(back)), 128 + 128 * 3);
	assert_memory_equal(back, all, 128);
	free(encoded);
}

/* Proves: what is encoded decodes to itself for every length, and text that is not canonical base64
 * is refused. */
static void base64_round_trips_and_is_strict(void **state)
{
	static const char *const bad_texts[] = {"A",	 "AA",	     "AAA",	  "A===", "====",
						"AA=A",	 "AB==",     "AAB=",	  "AA A", "AA-_",
						"AAAA=", "AA==AAAA", "\xc3\xa9zz"};
	uint8_t data[64], back[64];
	char text[96];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 200);
	for (size_t len = 0; len <= sizeof(data); len++) {
		size_t chars = pfs_base64_encoded_len(len);

		pfs_base64_encode(text, data, len);
		assert_int_equal(pfs_base64_decode(back, text, chars), len);
		assert_memory_equal(back, data, len);
	}
	pfs_base64_encode(text, "foobar\xff\xfe", 8);
	assert_memory_equal(text, "Zm9vYmFy//4=", 12);
	for (size_t i = 0; i < pfs_array_len(bad_texts); i++) {
		size_t len = strlen(bad_texts[i]);
		char *copy = malloc(len); /* without a byte behind it, for ASan */

		assert_non_null(copy);
		memcpy(copy, bad_texts[i], len);
		assert_int_equal(pfs_base64_decode(back, copy, len), -1);
		free(copy);
	}
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bit by bit. Returns the length, or -1. */
static int plain_base64(uint8_t *out, const char *text, size_t len)
{
	size_t padding = len && text[len - 1] == '=' ? 1 + (text[len - 2] == '=') : 0, bits = 0;

	if (len % 4)
		return -1;
	memset(out, 0, len);
	for (size_t i = 0; i < len - padding; i++) {
		const char *place = text[i] ? strchr(base64, text[i]) : NULL;

		if (!place)
			return -1;
		for (int bit = 5; bit >= 0; bit--, bits++)
			out[bits / 8] |= (uint8_t)(((place - base64) >> bit & 1) << (7 - bits % 8));
	}
	if (bits % 8 && out[bits / 8])
		return -1;
	return (int)(bits / 8);
}

/* Proves: every four characters of all kinds, alone, before and behind four good ones, decode to
 * what their bits say, or not at all; every byte is encoded as its bits say. */
static void base64_is_read_bit_by_bit(void **state)
{
	static const char kinds[] = "AQgwZabz019+/=-_ \n";
	const size_t count = sizeof(kinds); /* and zero */
	uint8_t got[16], want[16];
	char text[16], all[] = "AAAA";

	(void)state;
	for (size_t i = 0; i < count * count * count * count; i++) {
		for (unsigned way = 0; way < 3; way++) {
			size_t len = way ? 8 : 4, rest = i;
			int n;

			memcpy(text, "q7+Zq7+Z", 8);
			for (unsigned at = 0; at < 4; at++, rest /= count)
				text[(way == 2 ? 4 : 0) + at] = kinds[rest % count];
			n = plain_base64(want, text, len);
			assert_int_equal(pfs_base64_decode(got, text, len), n);
			if (n > 0)
				assert_memory_equal(got, want, (size_t)n);
		}
	}
	for (unsigned c = 0; c < 256; c++) {
		int n;

		all[2] = (char)c;
		n = plain_base64(want, all, 4);
		assert_int_equal(pfs_base64_decode(got, all, 4), n);
		if (n > 0)
			assert_memory_equal(got, want, (size_t)n);
	}
	for (size_t i = 0; i < 3 * 65536; i++) {
		uint8_t bytes[4] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i * 7), (uint8_t)i};
		size_t len = 1 + i % 4, chars = pfs_base64_encoded_len(len);

		assert_int_equal(chars, len == 4 ? 8 : 4);
		memset(text, '#', sizeof(text));
		pfs_base64_encode(text, bytes, len);
		assert_int_equal(text[chars], '#');
		assert_int_equal(plain_base64(want, text, chars), len);
		assert_memory_equal(want, bytes, len);
		for (size_t at = len + 1 + (len > 3); at < chars; at++)
			assert_int_equal(text[at] == '=', at >= (len * 8 + 5) / 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scanner_accepts_values_and_refuses_their_prefixes),
		cmocka_unit_test(scanner_refuses_what_is_not_json),
		cmocka_unit_test(short_texts_are_scanned_as_by_a_plain_scanner),
		cmocka_unit_test(changed_texts_are_scanned_as_by_a_plain_scanner),
		cmocka_unit_test(utf8_lengths_are_those_of_the_rfc),
		cmocka_unit_test(scanner_limits_nesting),
		cmocka_unit_test(line_values_are_told_from_others),
		cmocka_unit_test(faults_are_told_with_their_place),
		cmocka_unit_test(names_are_delimited),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(escapes_are_decoded_to_their_code_points),
		cmocka_unit_test(decoded_strings_take_exactly_their_room),
		cmocka_unit_test(bytes_are_encoded_by_their_kind),
		cmocka_unit_test(strings_are_encoded),
		cmocka_unit_test(base64_round_trips_and_is_strict),
		cmocka_unit_test(base64_is_read_bit_by_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
