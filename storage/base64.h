/* Rank 0: Base64 (RFC 4648, section 4: with padding, without line breaks). Pure. */
#ifndef PFS_BASE64_H
#define PFS_BASE64_H

#include "storage/base.h"

static inline size_t pfs_base64_encoded_len(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* Writes pfs_base64_encoded_len(len) characters. */
void pfs_base64_encode(char *out, const void *data, size_t len);

/* out has room for len / 4 * 3 bytes, and may begin where text does. Returns the number of bytes,
 * or -1 when the text is not canonical base64 (foreign characters, missing padding, bits set behind
 * the last byte). */
ptrdiff_t pfs_base64_decode(uint8_t *out, const char *text, size_t len);

#endif
