#include "tools/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(char *out, const void *data, size_t len)
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

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ptrdiff_t base64_decode(uint8_t *out, const char *text, size_t len)
{
	uint8_t *o = out;
	size_t padding = 0;

	if (len % 4)
		return -1;
	if (len && text[len - 1] == '=')
		padding = text[len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < len; i += 4) {
		size_t chars = i + 4 == len ? 4 - padding : 4;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int digit = k < chars ? value_of(text[i + k]) : 0;

			if (digit < 0)
				return -1;
			v = v << 6 | (uint32_t)digit;
		}
		if ((chars == 2 && (v & 0xffff)) || (chars == 3 && (v & 0xff)))
			return -1;
		*o++ = (uint8_t)(v >> 16);
		if (chars > 2)
			*o++ = (uint8_t)(v >> 8);
		if (chars > 3)
			*o++ = (uint8_t)v;
	}
	return o - out;
}
