#include "storage/key.h"

#include <inttypes.h>
#include <stdio.h>

#define UUID_TEXT_LEN 36
#define UUID_HEX_LEN 32

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Value of a hexadecimal digit, -1 for anything else. */
static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool all_digits(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_digit(s[i]))
			return false;
	return len > 0;
}

static bool all_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (hex_value(s[i]) < 0)
			return false;
	return len > 0;
}

static bool is_uuid_hyphen(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* The hyphenated form in either case. */
static bool looks_like_uuid(const char *s, size_t len)
{
	if (len != UUID_TEXT_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (is_uuid_hyphen(i) ? s[i] != '-' : hex_value(s[i]) < 0)
			return false;
	return true;
}

/* s is all digits. -EINVAL: a leading zero, or 2^64 and above. */
static int parse_num(struct pfs_key *key, const char *s, size_t len)
{
	uint64_t num = 0;

	if (s[0] == '0' && len > 1)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (__builtin_mul_overflow(num, 10, &num) ||
		    __builtin_add_overflow(num, (uint64_t)(s[i] - '0'), &num))
			return -EINVAL;
	*key = pfs_key_num(num);
	return 0;
}

/* s looks like a UUID. -EINVAL: upper case. */
static int parse_uuid(struct pfs_key *key, const char *s)
{
	struct pfs_key parsed = {.kind = PFS_KEY_UUID};
	size_t nibble = 0;

	for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
		if (is_uuid_hyphen(i))
			continue;
		if (s[i] >= 'A' && s[i] <= 'F')
			return -EINVAL;
		parsed.uuid[nibble / 2] = (uint8_t)(parsed.uuid[nibble / 2] << 4 | hex_value(s[i]));
		nibble++;
	}
	*key = parsed;
	return 0;
}

int pfs_key_parse(struct pfs_key *key, const char *name, size_t len)
{
	key->kind = PFS_KEY_NONE;
	key->name_len = 0;
	if (len > PFS_NAME_MAX)
		return -ENAMETOOLONG;
	if (len == 0 || memchr(name, '/', len) || memchr(name, 0, len))
		return -EINVAL;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return -EINVAL;
	if (all_digits(name, len))
		return parse_num(key, name, len);
	if ((name[0] == '+' || name[0] == '-') && all_digits(name + 1, len - 1))
		return -EINVAL;
	if (looks_like_uuid(name, len))
		return parse_uuid(key, name);
	if (len == UUID_HEX_LEN && all_hex(name, len))
		return -EINVAL;
	key->kind = PFS_KEY_SCRATCH;
	key->name_len = (uint8_t)len;
	memcpy(key->name, name, len);
	key->name[len] = 0;
	return 0;
}

static size_t format_uuid(char *text, const uint8_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	size_t nibble = 0;

	for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
		if (is_uuid_hyphen(i)) {
			text[i] = '-';
			continue;
		}
		text[i] = digits[nibble % 2 ? uuid[nibble / 2] & 15 : uuid[nibble / 2] >> 4];
		nibble++;
	}
	text[UUID_TEXT_LEN] = 0;
	return UUID_TEXT_LEN;
}

/* A listing formats one number a name: printf would be a fifth of what it costs. */
static size_t format_number(char *text, uint64_t n)
{
	char digits[20];
	size_t len = 0;

	do {
		digits[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	for (size_t i = 0; i < len; i++)
		text[i] = digits[len - 1 - i];
	text[len] = 0;
	return len;
}

size_t pfs_key_format(char text[PFS_NAME_MAX + 1], const struct pfs_key *key)
{
	switch (key->kind) {
	case PFS_KEY_NUM: return format_number(text, key->num);
	case PFS_KEY_TEMP:
		return (size_t)snprintf(text, PFS_NAME_MAX + 1, "temp:%" PRIu64, key->num);
	case PFS_KEY_UUID: return format_uuid(text, key->uuid);
	case PFS_KEY_SCRATCH:
		memcpy(text, key->name, key->name_len);
		text[key->name_len] = 0;
		return key->name_len;
	default: text[0] = 0; return 0;
	}
}

bool pfs_key_equal(const struct pfs_key *a, const struct pfs_key *b)
{
	return pfs_key_compare(a, b) == 0;
}

int pfs_key_compare(const struct pfs_key *a, const struct pfs_key *b)
{
	int order;

	if (a->kind != b->kind)
		return pfs_order(a->kind, b->kind);
	switch (a->kind) {
	case PFS_KEY_NUM:
	case PFS_KEY_TEMP: return pfs_order(a->num, b->num);
	case PFS_KEY_UUID: return memcmp(a->uuid, b->uuid, sizeof(a->uuid));
	case PFS_KEY_SCRATCH:
		order = memcmp(a->name, b->name, (size_t)pfs_min_u64(a->name_len, b->name_len));
		return order ? order : (int)a->name_len - (int)b->name_len;
	default: return 0;
	}
}

/* Folds the UUID so that nothing is lost to whoever knows one half: bytes 0..7 are tag ^
 * mix64(bytes 8..15). */
static uint64_t uuid_tag(const uint8_t *uuid)
{
	return pfs_get_le64(uuid) ^ pfs_mix64(pfs_get_le64(uuid + 8));
}

/* On disk, so fixed: FNV-1a with 64 bits (offset basis 14695981039346656037, prime 1099511628211)
 * over the bytes of the name without its zero byte, then pfs_mix64, because FNV's high bits hardly
 * see the last bytes. */
static uint64_t name_tag(const char *name, size_t len)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
	return pfs_mix64(hash);
}

uint64_t pfs_key_tag(const struct pfs_key *key)
{
	switch (key->kind) {
	case PFS_KEY_NUM:
	case PFS_KEY_TEMP: return key->num;
	case PFS_KEY_UUID: return uuid_tag(key->uuid);
	case PFS_KEY_SCRATCH: return name_tag(key->name, key->name_len);
	default: return 0;
	}
}

struct pfs_key pfs_key_num(uint64_t num)
{
	struct pfs_key key = {.kind = PFS_KEY_NUM};

	key.num = num;
	return key;
}
