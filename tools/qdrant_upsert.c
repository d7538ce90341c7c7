#include "tools/qdrant_upsert.h"

#include <stdio.h>

#include "storage/json_scan.h"

/* The object without white space around it. False: there is something else. */
static bool find_object(const void *data, size_t len, struct pfs_json_slice *object)
{
	const uint8_t *p = data, *end = p + len;
	struct pfs_json_scan scan;

	p = pfs_json_skip_space(p, end);
	if (p == end || *p != '{' || pfs_json_scan_value(&scan, p, end, true) != PFS_JSON_OK ||
	    pfs_json_skip_space(scan.at, end) != end)
		return false;
	*object = (struct pfs_json_slice){p, (size_t)(scan.at - p)};
	return true;
}

/* Writes the object in one line: in JSON line breaks stand between tokens only. */
static int write_object(struct output *out, struct pfs_json_slice object)
{
	const uint8_t *p = object.p, *end = p + object.len;
	int err = 0;

	while (!err && p < end) {
		const uint8_t *from = p;

		while (p < end && *p != '\n' && *p != '\r')
			p++;
		err = output_write(out, from, (size_t)(p - from));
		if (!err && p < end) {
			err = output_text(out, " ");
			p++;
		}
	}
	return err;
}

int qdrant_upsert_add(struct qdrant_upsert *upsert, const struct pfs_key *key, const void *data,
		      size_t len)
{
	const char *quote = key->kind == PFS_KEY_NUM ? "" : "\"";
	char id[PFS_NAME_MAX + 1], tail[PFS_NAME_MAX + 32];
	struct pfs_json_slice object;
	int err = 0;

	if (!find_object(data, len, &object))
		return -EBADMSG;
	if (upsert->filled && upsert->bytes + object.len > QDRANT_UPSERT_BYTES_MAX)
		err = qdrant_upsert_end(upsert);
	if (!err && upsert->batch > 1)
		err = output_text(upsert->out, upsert->filled ? ",{\"overwrite_payload\":"
							      : "{\"operations\":["
								"{\"overwrite_payload\":");
	if (!err)
		err = output_text(upsert->out, "{\"payload\":");
	if (!err)
		err = write_object(upsert->out, object);
	pfs_key_format(id, key);
	snprintf(tail, sizeof(tail), ",\"points\":[%s%s%s]}%s", quote, id, quote,
		 upsert->batch > 1 ? "}" : "\n");
	if (!err)
		err = output_text(upsert->out, tail);
	if (err || upsert->batch <= 1)
		return err;
	upsert->bytes += object.len;
	return ++upsert->filled == upsert->batch ? qdrant_upsert_end(upsert) : 0;
}

int qdrant_upsert_end(struct qdrant_upsert *upsert)
{
	if (!upsert->filled)
		return 0;
	upsert->filled = 0;
	upsert->bytes = 0;
	return output_text(upsert->out, "]}\n");
}
