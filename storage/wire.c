#include "storage/wire.h"

#include <stdlib.h>

#define MAGIC UINT32_C(0x57534650) /* "PFSW" */
#define CAP_MIN 4096
#define CAP_MAX (PFS_WIRE_HEADER_LEN + PFS_WIRE_BODY_MAX)
#define STATUS_MIN (-4095) /* errno values are below 4096 */

uint8_t *pfs_wire_reserve(struct pfs_wire_out *out, size_t len)
{
	size_t cap = out->cap ? out->cap : CAP_MIN;
	uint8_t *buf;

	if (out->err)
		return NULL;
	if (len > CAP_MAX - out->len) {
		out->err = -EMSGSIZE;
		return NULL;
	}
	while (cap < out->len + len)
		cap *= 2;
	if (cap > out->cap) {
		buf = realloc(out->buf, cap);
		if (!buf) {
			out->err = -ENOMEM;
			return NULL;
		}
		out->buf = buf;
		out->cap = cap;
	}
	out->len += len;
	return out->buf + out->len - len;
}

void pfs_wire_begin(struct pfs_wire_out *out, enum pfs_wire_type type, int status)
{
	uint8_t *p;

	out->len = 0;
	out->err = 0;
	p = pfs_wire_reserve(out, PFS_WIRE_HEADER_LEN);
	if (!p)
		return;
	pfs_put_le32(p, MAGIC);
	pfs_put_le16(p + 4, PFS_WIRE_VERSION);
	pfs_put_le16(p + 6, (uint16_t)type);
	pfs_put_le32(p + 8, 0);
	pfs_put_le32(p + 12, (uint32_t)status);
}

void pfs_wire_raw(struct pfs_wire_out *out, const void *data, size_t len)
{
	uint8_t *p = pfs_wire_reserve(out, len);

	if (p && len)
		memcpy(p, data, len);
}

void pfs_wire_u8(struct pfs_wire_out *out, uint8_t v)
{
	pfs_wire_raw(out, &v, 1);
}

void pfs_wire_u32(struct pfs_wire_out *out, uint32_t v)
{
	uint8_t b[4];

	pfs_put_le32(b, v);
	pfs_wire_raw(out, b, sizeof(b));
}

void pfs_wire_u64(struct pfs_wire_out *out, uint64_t v)
{
	uint8_t b[8];

	pfs_put_le64(b, v);
	pfs_wire_raw(out, b, sizeof(b));
}

void pfs_wire_bytes(struct pfs_wire_out *out, const void *data, size_t len)
{
	if (len > PFS_WIRE_BODY_MAX) {
		if (!out->err)
			out->err = -EMSGSIZE;
		return;
	}
	pfs_wire_u32(out, (uint32_t)len);
	pfs_wire_raw(out, data, len);
}

void pfs_wire_text(struct pfs_wire_out *out, const char *text)
{
	pfs_wire_bytes(out, text, strnlen(text, PFS_WIRE_TEXT_MAX));
}

void pfs_wire_key(struct pfs_wire_out *out, const struct pfs_key *key)
{
	pfs_wire_u8(out, key->kind);
	switch (key->kind) {
	case PFS_KEY_NUM: pfs_wire_u64(out, key->num); break;
	case PFS_KEY_UUID: pfs_wire_raw(out, key->uuid, sizeof(key->uuid)); break;
	case PFS_KEY_SCRATCH:
		pfs_wire_u8(out, key->name_len);
		pfs_wire_raw(out, key->name, key->name_len);
		break;
	default: /* NONE: nothing more */ break;
	}
}

int pfs_wire_end(struct pfs_wire_out *out)
{
	if (out->err)
		return out->err;
	pfs_put_le32(out->buf + 8, (uint32_t)pfs_wire_body_len(out));
	return 0;
}

void pfs_wire_out_free(struct pfs_wire_out *out)
{
	free(out->buf);
	memset(out, 0, sizeof(*out));
}

/* What a peer calls an errno must be one. */
static bool status_is_sane(int32_t status)
{
	return status <= 0 && status >= STATUS_MIN;
}

int pfs_wire_header(struct pfs_wire_header *header, const uint8_t bytes[PFS_WIRE_HEADER_LEN])
{
	int32_t status = (int32_t)pfs_get_le32(bytes + 12);

	memset(header, 0, sizeof(*header));
	if (pfs_get_le32(bytes) != MAGIC)
		return -EPROTO;
	header->version = pfs_get_le16(bytes + 4);
	header->type = pfs_get_le16(bytes + 6);
	header->len = pfs_get_le32(bytes + 8);
	header->status = status_is_sane(status) ? status : -EPROTO;
	return header->len > PFS_WIRE_BODY_MAX ? -EMSGSIZE : 0;
}

const uint8_t *pfs_wire_get_raw(struct pfs_wire_in *in, size_t len)
{
	const uint8_t *p = in->p;

	if (in->bad || len > (size_t)(in->end - in->p)) {
		in->bad = true;
		return NULL;
	}
	in->p += len;
	return p;
}

uint8_t pfs_wire_get_u8(struct pfs_wire_in *in)
{
	const uint8_t *p = pfs_wire_get_raw(in, 1);

	return p ? *p : 0;
}

uint32_t pfs_wire_get_u32(struct pfs_wire_in *in)
{
	const uint8_t *p = pfs_wire_get_raw(in, 4);

	return p ? pfs_get_le32(p) : 0;
}

uint64_t pfs_wire_get_u64(struct pfs_wire_in *in)
{
	const uint8_t *p = pfs_wire_get_raw(in, 8);

	return p ? pfs_get_le64(p) : 0;
}

const uint8_t *pfs_wire_get_bytes(struct pfs_wire_in *in, size_t *len)
{
	uint32_t n = pfs_wire_get_u32(in);
	const uint8_t *p = pfs_wire_get_raw(in, n);

	*len = p ? n : 0;
	return p;
}

void pfs_wire_get_text(struct pfs_wire_in *in, char *buf, size_t cap)
{
	size_t len, used = 0;
	const uint8_t *p = pfs_wire_get_bytes(in, &len);

	for (size_t i = 0; i < len && used + 1 < cap; i++) {
		if (p[i] >= 0x20 && p[i] != 0x7f)
			buf[used++] = (char)p[i];
	}
	buf[used] = '\0';
}

void pfs_wire_get_path(struct pfs_wire_in *in, char *buf, size_t cap)
{
	size_t len;
	const uint8_t *p = pfs_wire_get_bytes(in, &len);

	buf[0] = '\0';
	if (!p || len >= cap || memchr(p, 0, len)) {
		in->bad = true;
		return;
	}
	memcpy(buf, p, len);
	buf[len] = '\0';
}

int pfs_wire_get_status(struct pfs_wire_in *in)
{
	int32_t status = (int32_t)pfs_wire_get_u32(in);

	if (!status_is_sane(status)) {
		in->bad = true;
		return -EPROTO;
	}
	return status;
}

void pfs_wire_get_key(struct pfs_wire_in *in, struct pfs_key *key)
{
	const uint8_t *p;
	size_t len;

	memset(key, 0, sizeof(*key));
	switch (pfs_wire_get_u8(in)) {
	case PFS_KEY_NUM:
		key->num = pfs_wire_get_u64(in);
		key->kind = PFS_KEY_NUM;
		break;
	case PFS_KEY_UUID:
		p = pfs_wire_get_raw(in, sizeof(key->uuid));
		if (!p)
			break;
		memcpy(key->uuid, p, sizeof(key->uuid));
		key->kind = PFS_KEY_UUID;
		break;
	case PFS_KEY_SCRATCH:
		len = pfs_wire_get_u8(in);
		p = pfs_wire_get_raw(in, len);
		if (!p || pfs_key_parse(key, (const char *)p, len) || key->kind != PFS_KEY_SCRATCH)
			in->bad = true;
		break;
	default: in->bad = true; break;
	}
	if (in->bad)
		memset(key, 0, sizeof(*key));
}
