#include "tools/qdrant_config.h"

enum json_status qdrant_config_member(const void *text, size_t len, const char *name,
				      struct json_slice *value)
{
	const uint8_t *p = text, *end = p + len;
	struct json_scan scan;

	*value = (struct json_slice){NULL, 0};
	p = json_skip_space(p, end);
	if (p == end || *p != '{' || json_scan_value(&scan, p, end, true) != JSON_OK ||
	    json_skip_space(scan.at, end) != end)
		return JSON_BAD;
	p = json_skip_space(p + 1, end);
	while (*p != '}') {
		struct json_slice member;
		const uint8_t *from;

		/* It was scanned as a whole: none of this can fail. */
		(void)json_scan_name(&scan, p, end, &member);
		from = scan.at;
		(void)json_scan_value(&scan, from, end, true);
		if (json_string_is(member, name))
			*value = (struct json_slice){from, (size_t)(scan.at - from)};
		p = json_skip_space(scan.at, end);
		if (*p == ',')
			p = json_skip_space(p + 1, end);
	}
	return JSON_OK;
}

bool qdrant_config_number(const void *text, size_t len, const char *name, uint64_t *out)
{
	struct json_slice value;
	uint64_t n = 0;

	if (qdrant_config_member(text, len, name, &value) != JSON_OK || !value.p)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] < '0' || value.p[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(value.p[i] - '0'), &n))
			return false;
	}
	*out = n;
	return true;
}
