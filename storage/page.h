/* Rank 2: pure functions on the bytes of slotted pages: header, slots, containers, blocks.
 * FORMAT.md is the specification. Nothing here allocates or does I/O; every decoder validates what
 * it reads and returns -EUCLEAN with nothing else changed, so callers may pass bytes from disk as
 * they are. */
#ifndef PFS_PAGE_H
#define PFS_PAGE_H

#include "storage/format.h"
#include "storage/key.h"

struct pfs_page_header {
	uint32_t number;
	uint64_t page_size;
	uint64_t generation;
	uint64_t base_seq;
	int64_t base_mtime;
	uint8_t uuid[PFS_UUID_LEN];
	uint32_t slot_count;
	uint32_t floor;
};

void pfs_page_header_encode(struct pfs_page_disk *disk, const struct pfs_page_header *header);

#define PFS_PAGE_FOREIGN "page of another store"

/* *why names what is wrong. uuid: the store's. */
int pfs_page_header_decode(struct pfs_page_header *header, const struct pfs_page_disk *disk,
			   const uint8_t uuid[PFS_UUID_LEN], const char **why);

static inline uint64_t pfs_slot_offset(uint32_t slot)
{
	return PFS_PAGE_HEADER_LEN + (uint64_t)slot * PFS_SLOT_LEN;
}

struct pfs_slot {
	unsigned kind; /* PFS_KEY_*, PFS_SLOT_FREE or PFS_SLOT_TOMBSTONE */
	uint64_t tag;
	uint32_t off; /* live */
	uint64_t len; /* live: of the container */
	uint64_t seq; /* tombstone */
};

static inline bool pfs_slot_is_live(const struct pfs_slot *slot)
{
	return slot->kind >= PFS_KEY_NUM && slot->kind <= PFS_KEY_TEMP;
}

void pfs_slot_encode(struct pfs_slot_disk *disk, const struct pfs_slot *slot);

/* Checks a live slot's container against the page's floor (P2) and size. */
int pfs_slot_decode(struct pfs_slot *slot, const struct pfs_slot_disk *disk, uint64_t floor,
		    uint64_t page_size);

/* A container length that a slot can hold: len rounded up to the unit where it must be. */
uint64_t pfs_slot_len_round(uint64_t len);

/* The part of a key that is neither in slot tag nor kind, as it stands in a container. */
struct pfs_tail {
	const uint8_t *bytes; /* UUID: 8 bytes; scratch name: the name; borrowed */
	size_t len;
};

/* A container's header, decoded. */
struct pfs_container {
	unsigned flags; /* PFS_CONTAINER_* */
	uint64_t raw_len;
	uint64_t seq;
	int64_t mtime_ns;
	uint32_t mode, uid, gid; /* with PFS_CONTAINER_ATTR, else zero */
	uint32_t dict;
	uint64_t content;   /* with PFS_CONTAINER_BLOCKS */
	uint64_t body_len;  /* of the body: packed bytes, or table and blocks */
	size_t header_len;  /* bytes before the body */
	unsigned len_width; /* encoding: bytes that the body length takes (it is then always said),
			       0: as needed */
	uint32_t crc;
	struct pfs_tail tail; /* points into the decoded bytes */
};

/* What a container is read and written relative to. */
struct pfs_container_base {
	unsigned kind;
	uint64_t tag;
	uint64_t base_seq;
	int64_t base_mtime;
};

/* The longest header: fixed bytes, nine varints, a name with its length. */
#define PFS_CONTAINER_HEADER_MAX (5 + 9 * PFS_VARINT_MAX + 2 + PFS_NAME_MAX)

/* Writes the header of `c` (flags SEQ, MTIME, DICT, SLACK are worked out; the caller gives LZ4,
 * BLOCKS, ATTR) for a body of c->body_len bytes in a container of container_len, which is at least
 * what pfs_container_len says. The CRC field is left open: pfs_container_seal
 * writes it. Returns the header's length. */
size_t pfs_container_header_encode(uint8_t *out, const struct pfs_container *c,
				   const struct pfs_container_base *base, uint64_t container_len);

/* The most that pfs_container_header_encode will write for c, whatever page it goes to. */
size_t pfs_container_header_bound(const struct pfs_container *c, unsigned kind);

/* The length of the container that c wants on a page: what header and body take, at least min,
 * rounded to what a slot can say. c->body_len and the fields of the header are set. */
uint64_t pfs_container_len(const struct pfs_container *c, const struct pfs_container_base *base,
			   uint64_t min);

/* Computes and writes the CRC: of header and body, or of the header alone for blocks. */
void pfs_container_seal(uint8_t *container, size_t header_len, uint64_t body_len, unsigned flags,
			uint64_t seq, const struct pfs_container_base *base);

/* Decodes the header at the start of a container of container_len bytes of which `len` are at hand
 * (a prefix; the header must be in it). The CRC is not verified here. */
int pfs_container_header_decode(struct pfs_container *c, const uint8_t *bytes, size_t len,
				uint64_t container_len, const struct pfs_container_base *base);

/* Verifies the CRC over header and, unless BLOCKS, body: bytes holds all of that. 0 or -EUCLEAN. */
int pfs_container_verify(const struct pfs_container *c, const uint8_t *bytes,
			 const struct pfs_container_base *base);

/* The key of a decoded container. -EUCLEAN when tail and tag do not belong together. */
int pfs_container_key(struct pfs_key *key, const struct pfs_container *c, unsigned kind,
		      uint64_t tag);

/* The tail of a key in `room` (8 bytes used for a UUID; names are borrowed from key). */
struct pfs_tail pfs_key_tail(const struct pfs_key *key, uint8_t room[8]);
/* The key again, from its kind, its tag, and its tail as pfs_key_tail gave it. */
void pfs_key_from_tail(struct pfs_key *key, unsigned kind, uint64_t tag,
		       const struct pfs_tail *tail);

static inline uint64_t pfs_block_count(uint64_t raw_len)
{
	return (raw_len + PFS_BLOCK_LEN - 1) / PFS_BLOCK_LEN;
}

/* Raw bytes of block i of a payload of raw_len bytes. */
static inline uint32_t pfs_block_raw_len(uint64_t raw_len, uint64_t i)
{
	return (uint32_t)pfs_min_u64(raw_len - i * PFS_BLOCK_LEN, PFS_BLOCK_LEN);
}

/* CRC of a stored block, as its table entry says it. */
uint32_t pfs_block_crc(uint64_t content, uint32_t i, uint32_t end, const void *stored, size_t len);

/* The most that table and blocks of a payload may take. */
uint64_t pfs_blocks_bound(uint64_t raw_len);

#endif
