/* Rank 2: blocks of the table of keys of a published collection (FORMAT.md, "Published
 * collections"): up to PFS_KEY_BLOCK_MAX keys in ascending order, all of one kind and of documents
 * that lie one behind the other in one page, with what is to be known of a document without its
 * container. Pure. */
#ifndef PFS_KEY_TABLE_H
#define PFS_KEY_TABLE_H

#include "storage/format.h"
#include "storage/key.h"

#define PFS_KEY_BLOCK_MAX 1024u /* entries */
#define PFS_KEY_ENTRY_MAX \
	(16 + 7 * PFS_VARINT_MAX) /* bytes: key, two lengths, flags, time, mode, owner */
#define PFS_KEY_BLOCK_LEN_MAX (PFS_KEY_BLOCK_HEADER_LEN + PFS_KEY_BLOCK_MAX * PFS_KEY_ENTRY_MAX)

struct pfs_key_block_disk {
	pfs_le32 crc;	 /* 00-03 CRC32C of bytes 4 to the end of the block */
	pfs_le16 count;	 /* 04-05 */
	uint8_t kind;	 /* 06 */
	uint8_t zero;	 /* 07 */
	pfs_le32 first;	 /* 08-11 slot of the first document in its page */
	pfs_le32 off;	 /* 12-15 of its container, from the first container of the page */
	pfs_le64 mtime;	 /* 16-23 of the first document, ns */
	uint8_t key[16]; /* 24-39 of the first document */
};
#define PFS_KEY_BLOCK_HEADER_LEN 40u
_Static_assert(sizeof(struct pfs_key_block_disk) == PFS_KEY_BLOCK_HEADER_LEN, "format v1");

/* What the table says of one document. */
struct pfs_key_entry {
	uint8_t key[16]; /* in the order of their bytes: of a number, the highest first */
	uint32_t off;	 /* of the container, from the page's first */
	uint32_t len;	 /* of the container */
	uint32_t raw_len;
	uint32_t mode, uid, gid; /* when own_attr */
	int64_t mtime_ns;
	bool own_attr; /* they are not the collection's defaults */
	bool plain;    /* the payload is one JSON value in one line */
};

struct pfs_key_block {
	uint8_t kind;
	uint32_t count;
	uint32_t first; /* slot */
	struct pfs_key_entry entries[PFS_KEY_BLOCK_MAX];
};

/* A point's key as 16 bytes which memcmp orders like pfs_key_compare does keys of one kind. */
void pfs_key_to_bytes(uint8_t bytes[16], const struct pfs_key *key);
/* kind: PFS_KEY_NUM or PFS_KEY_UUID. */
void pfs_key_from_bytes(struct pfs_key *key, unsigned kind, const uint8_t bytes[16]);

/* Writes the block at out, which has room for PFS_KEY_BLOCK_LEN_MAX, and returns its length.
 * Entries are in ascending order, containers one behind the other without a gap. */
size_t pfs_key_block_encode(uint8_t *out, const struct pfs_key_block *block);

/* -EUCLEAN: it is none, or damaged; block then holds anything. */
int pfs_key_block_decode(struct pfs_key_block *block, const uint8_t *bytes, size_t len);

#endif
