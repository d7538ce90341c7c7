#include "tools/qdrant_config.h"

enum pfs_json_status qdrant_config_member(const void *text, size_t len, const char *name,
					  struct pfs_json_slice *value)
{
	const uint8_t *p = text, *end = p + len;
	struct pfs_json_scan scan;

	*value = (struct pfs_json_slice){NULL, 0};
	p = pfs_json_skip_space(p, end);
	if (p == end || *p != '{' || pfs_json_scan_value(&scan, p, end, true) != PFS_JSON_OK ||
	    pfs_json_skip_space(scan.at, end) != end)
		return PFS_JSON_BAD;
	p = pfs_json_skip_space(p + 1, end);
	while (*p != '}') {
		struct pfs_json_slice member;
		const uint8_t *from;

		/* It was scanned as a whole: none of this can fail. */
		(void)pfs_json_scan_name(&scan, p, end, &member);
		from = scan.at;
		(void)pfs_json_scan_value(&scan, from, end, true);
		if (pfs_json_string_is(member, name))
			*value = (struct pfs_json_slice){from, (size_t)(scan.at - from)};
		p = pfs_json_skip_space(scan.at, end);
		if (*p == ',')
			p = pfs_json_skip_space(p + 1, end);
	}
	return PFS_JSON_OK;
}

bool qdrant_config_number(const void *text, size_t len, const char *name, uint64_t *out)
{
	struct pfs_json_slice value;
	uint64_t n = 0;

	if (qdrant_config_member(text, len, name, &value) != PFS_JSON_OK || !value.p)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] < '0' || value.p[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(value.p[i] - '0'), &n))
			return false;
	}
	*out = n;
	return true;
}
