/* Rank 0: keys of the store and their text form (file names). Pure.
 *
 * A point id is an unsigned 64-bit integer in decimal without leading zero or sign, or a UUID in
 * lower case with hyphens. Any other name of up to 255 bytes is a scratch name. A name that looks
 * like an id but is not canonical is neither, so that one point never has two names. */
#ifndef PFS_KEY_H
#define PFS_KEY_H

#include "storage/base.h"

#define PFS_NAME_MAX 255

enum pfs_key_kind {
	PFS_KEY_NONE = 0,
	PFS_KEY_NUM = 1,
	PFS_KEY_UUID = 2,
	PFS_KEY_SCRATCH = 3,
	PFS_KEY_TEMP =
		4, /* internal: an object without a name; gone when the store is opened again */
};

struct pfs_key {
	uint8_t kind;	  /* enum pfs_key_kind */
	uint8_t name_len; /* SCRATCH: 1..PFS_NAME_MAX */
	union {
		uint64_t num;		     /* NUM, TEMP */
		uint8_t uuid[16];	     /* UUID, in the order of its text */
		char name[PFS_NAME_MAX + 1]; /* SCRATCH, zero-terminated besides */
	};
};

/* Parses a file name of len bytes. -EINVAL: looks like an id but is not canonical (007, +1, -1, an
 * upper-case or unhyphenated UUID, 2^64 and above), is empty, "." or "..", or holds '/' or a zero
 * byte. -ENAMETOOLONG: over PFS_NAME_MAX bytes. On error *key has kind NONE. */
int pfs_key_parse(struct pfs_key *key, const char *name, size_t len);

/* Writes the canonical text with a zero byte, returns its length. TEMP keys become "temp:N" (for
 * messages only). */
size_t pfs_key_format(char text[PFS_NAME_MAX + 1], const struct pfs_key *key);

static inline bool pfs_key_is_point(const struct pfs_key *key)
{
	return key->kind == PFS_KEY_NUM || key->kind == PFS_KEY_UUID;
}

bool pfs_key_equal(const struct pfs_key *a, const struct pfs_key *b);

/* Numbers ascending, then UUIDs by their bytes, then scratch names by theirs: <0, 0, >0. */
int pfs_key_compare(const struct pfs_key *a, const struct pfs_key *b);

/* The 8 bytes that stand for the key in a slot (FORMAT.md, "Keys"): the number itself, the folded
 * UUID, the hash of the name. */
uint64_t pfs_key_tag(const struct pfs_key *key);

struct pfs_key pfs_key_num(uint64_t num);

#endif
