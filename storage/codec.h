/* Rank 1: compression of one value or of one block of a large value with LZ4, with or without a
 * dictionary. Pure: no state but a per-thread scratch that is never shared. */
#ifndef PFS_CODEC_H
#define PFS_CODEC_H

#include "storage/base.h"

/* A dictionary, prepared for both directions; it does not change, and threads may share it. */
struct pfs_codec_dict;

#define PFS_CODEC_DICT_MAX (64 * PFS_KIB) /* LZ4 looks back no further */

/* Copies the bytes; of a longer dictionary the last PFS_CODEC_DICT_MAX. -EINVAL: len 0. -ENOMEM. */
int pfs_codec_dict_new(struct pfs_codec_dict **out, const void *bytes, size_t len);
/* Nobody may use it any more. */
void pfs_codec_dict_free(struct pfs_codec_dict *dict);
/* The bytes that it has. */
const uint8_t *pfs_codec_dict_bytes(const struct pfs_codec_dict *dict, size_t *len);

/* Compresses raw into out (room: cap). Returns the packed length, which is smaller than raw_len, or
 * 0 when LZ4 does not help or the result would not fit cap: the caller stores raw. raw_len up to 1
 * GiB. dict NULL: none. */
size_t pfs_codec_pack(uint8_t *out, size_t cap, const uint8_t *raw, size_t raw_len,
		      const struct pfs_codec_dict *dict);

/* What the packing with LZ4HC works in: for one thread at a time. */
struct pfs_codec_hc;

/* -ENOMEM. */
int pfs_codec_hc_new(struct pfs_codec_hc **out);
void pfs_codec_hc_free(struct pfs_codec_hc *hc);

/* The same with LZ4HC: a quarter smaller with a dictionary, twenty to seventy times as slow,
 * decoded by the same function as fast. The dictionary that it was called with last is kept loaded
 * (it need not live on). */
size_t pfs_codec_pack_hc(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
			 size_t raw_len, const struct pfs_codec_dict *dict);

/* Decodes packed to exactly raw_len bytes at out. -EUCLEAN when the bytes do not decode to exactly
 * that; out may then hold anything, never more than raw_len bytes are written. */
int pfs_codec_unpack(uint8_t *out, size_t raw_len, const uint8_t *packed, size_t packed_len,
		     const struct pfs_codec_dict *dict);

/* Which bytes of the dictionary what was packed with it copies: adds 1 to uses[i], of dict_len, for
 * each time that it copies byte i. packed is as pack or pack_hc made it. */
void pfs_codec_count_uses(const uint8_t *packed, size_t packed_len, size_t dict_len,
			  uint32_t *uses);

/* What pfs_codec_pack may need at most (the bound of LZ4) for raw_len bytes. */
size_t pfs_codec_bound(size_t raw_len);

#endif
