/* Rank 2: what a generation of a published collection consists of (FORMAT.md, "Published
 * collections"): the manifest, and the small text that names the current one. Pure.
 *
 * A decoded manifest is consistent in itself: places, counts and lengths fit together, keys ascend,
 * and every number in it can be used as an index. What it says of the objects is not known before
 * their bytes are verified against the checksums of their chunks, which it has. */
#ifndef PFS_MANIFEST_H
#define PFS_MANIFEST_H

#include "storage/format.h"
#include "storage/hash.h"
#include "storage/key_table.h"

#define PFS_CHUNK_LEN 65536u /* bytes of an object that one checksum is of */
#define PFS_MANIFEST_LEN_MAX (512 * PFS_MIB)
#define PFS_GENERATION_MAX 99999999u
#define PFS_PUBLISHED_POINTS_MAX UINT64_C(0xfffffff0) /* objects have numbers of 32 bits */

/* What pages of a collection have in common. */
#define PFS_PUBLISHED_SEQ 1	   /* base sequence; every document has it */
#define PFS_PUBLISHED_PAGE 1	   /* the number that each page says it has */
#define PFS_PUBLISHED_VALUE_MIN 16 /* smallest container */

#define PFS_CURRENT_NAME "current"
#define PFS_CURRENT_LEN_MAX 256
#define PFS_PUBLISH_LOCK_NAME "publish.lock"

enum pfs_object_role {
	PFS_OBJECT_DICT = 1, /* of a generation: none or one */
	PFS_OBJECT_KEYS = 2,
	PFS_OBJECT_PAGE = 3,
};

struct pfs_manifest_object {
	uint8_t role;		      /* enum pfs_object_role */
	uint8_t size_log2;	      /* PAGE: of the page with its hole */
	uint8_t hash[PFS_HASH_LEN];   /* of its bytes */
	uint8_t digest[PFS_HASH_LEN]; /* PAGE: of the documents that it was made of */
	uint64_t len;
	uint32_t head;	    /* PAGE: bytes before the hole */
	uint32_t count;	    /* PAGE: documents; DICT: the number that containers name */
	int64_t base_mtime; /* PAGE */
	/* Not on disk: */
	uint64_t chunk;	      /* the first of its checksums in crcs */
	uint64_t first_rank;  /* PAGE: of its first document */
	uint32_t first_block; /* KEYS, PAGE */
};

/* A block of the table of keys. */
struct pfs_manifest_block {
	uint8_t key[16]; /* the first, as in key_table.h */
	uint8_t kind;
	bool begins_page, begins_keys;
	uint16_t count;
	uint32_t len;
	/* Not on disk: */
	uint32_t keys, page; /* indexes of objects */
	uint32_t off;	     /* in the object of keys */
	uint32_t rank;	     /* of its first document */
};

struct pfs_manifest {
	uint8_t uuid[PFS_UUID_LEN];   /* of the collection, and in its pages */
	uint8_t source[PFS_UUID_LEN]; /* of the store that this generation was made from */
	uint32_t generation;
	int64_t published_ns; /* the moment that it shows */
	uint64_t sequence;    /* of the source's last change in it */
	uint64_t points, raw_bytes, container_bytes;
	uint32_t mode, uid, gid;	/* of documents without attributes of their own */
	uint64_t dict_raw, dict_packed; /* of samples with LZ4HC: what the dictionary promised */
	uint32_t object_count, block_count;
	uint64_t chunk_count;
	struct pfs_manifest_object *objects; /* DICT, KEYS, PAGE, the latter in the order of keys */
	struct pfs_manifest_block *blocks;
	uint32_t *crcs; /* of the chunks of all objects, in their order */
};

/* Frees what it points to. */
void pfs_manifest_free(struct pfs_manifest *manifest);

static inline uint64_t pfs_chunks_of(uint64_t len)
{
	return (len + PFS_CHUNK_LEN - 1) / PFS_CHUNK_LEN;
}

/* Page bytes that are left out of the object, from byte `head` on. */
static inline uint64_t pfs_page_hole(const struct pfs_manifest_object *page)
{
	return (UINT64_C(1) << page->size_log2) - page->len;
}

/* Where the containers begin in the object. */
static inline uint64_t pfs_page_containers(const struct pfs_manifest_object *page)
{
	return page->head;
}

/* And what they take. */
static inline uint64_t pfs_page_containers_len(const struct pfs_manifest_object *page)
{
	return page->len - page->head - PFS_PAGE_TRAILER_LEN;
}

/* *out is malloc'ed; the caller frees it. -ENOMEM; -EFBIG: over the limits. */
int pfs_manifest_encode(const struct pfs_manifest *manifest, uint8_t **out, size_t *len);

/* *why names what is wrong. -EUCLEAN; -EPROTONOSUPPORT: of a newer format; -ENOMEM. On an error
 * manifest is empty. */
int pfs_manifest_decode(struct pfs_manifest *manifest, const uint8_t *bytes, size_t len,
			const char **why);

/* ---- names ---- */

#define PFS_OBJECT_NAME_MAX 64

/* page-HASH.pfp, keys-HASH.pfk, dict-HASH.pfd */
void pfs_object_name(char name[PFS_OBJECT_NAME_MAX], unsigned role,
		     const uint8_t hash[PFS_HASH_LEN]);
/* Whether name is one of those. hash may be NULL. */
bool pfs_object_is_name(const char *name, unsigned *role, uint8_t hash[PFS_HASH_LEN]);
void pfs_generation_name(char name[PFS_OBJECT_NAME_MAX], uint32_t generation);
bool pfs_generation_is_name(const char *name, uint32_t *generation);

/* ---- current ---- */

struct pfs_current_generation {
	uint32_t generation;
	uint64_t len; /* of its manifest */
	uint32_t crc; /* and the CRC32C of all of that */
};

/* Returns the length, below PFS_CURRENT_LEN_MAX. */
size_t pfs_current_encode(char text[PFS_CURRENT_LEN_MAX], const struct pfs_current_generation *c);
/* -EUCLEAN, -EPROTONOSUPPORT. */
int pfs_current_decode(struct pfs_current_generation *c, const char *text, size_t len);

#endif
