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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scanner_accepts_values_and_refuses_their_prefixes),
		cmocka_unit_test(scanner_refuses_what_is_not_json),
		cmocka_unit_test(scanner_limits_nesting),
		cmocka_unit_test(line_values_are_told_from_others),
		cmocka_unit_test(faults_are_told_with_their_place),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(strings_are_encoded),
		cmocka_unit_test(base64_round_trips_and_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
