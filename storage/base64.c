#include "storage/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void pfs_base64_encode(char *out, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len >= 3; len -= 3, p += 3, out += 4) {
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = alphabet[v >> 6 & 63];
		out[3] = alphabet[v & 63];
	}
	if (len) {
		uint32_t v = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);

		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = len == 2 ? alphabet[v >> 6 & 63] : '=';
		out[3] = '=';
	}
}

/* The value of each character plus one; 0: it is none of the alphabet. */
static const uint8_t values[256] = {
	['A'] = 1,  ['B'] = 2,	['C'] = 3,  ['D'] = 4,	['E'] = 5,  ['F'] = 6,	['G'] = 7,
	['H'] = 8,  ['I'] = 9,	['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
	['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
	['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
	['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
	['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
	['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
	['/'] = 64,
};

static int value_of(char c)
{
	return values[(uint8_t)c] - 1;
}

/* Decodes four characters that all mean something. False when one does not. */
static bool decode_four(uint8_t *out, const char *text)
{
	int a = value_of(text[0]), b = value_of(text[1]), c = value_of(text[2]),
	    d = value_of(text[3]);
	uint32_t v = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;

	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return (a | b | c | d) >= 0;
}

/* Decodes the last four characters, of which the last one or two are padding. Returns the number of
 * bytes, or -1. */
static int decode_last(uint8_t *out, const char *text)
{
	bool one = text[2] == '=';
	int a = value_of(text[0]), b = value_of(text[1]), c = one ? 0 : value_of(text[2]);
	uint32_t v = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6;

	if ((a | b | c) < 0 || (v & (one ? 0xffff : 0xff)))
		return -1;
	out[0] = (uint8_t)(v >> 16);
	if (one)
		return 1;
	out[1] = (uint8_t)(v >> 8);
	return 2;
}

ptrdiff_t pfs_base64_decode(uint8_t *out, const char *text, size_t len)
{
	const char *end = text + len;
	uint8_t *o = out;
	bool padded;
	int last = 0;

	if (len % 4)
		return -1;
	padded = len && end[-1] == '=';
	if (padded)
		end -= 4;
	for (; text < end; text += 4, o += 3) {
		if (!decode_four(o, text))
			return -1;
	}
	if (padded)
		last = decode_last(o, end);
	return last < 0 ? -1 : o - out + last;
}
