/* Rank 0: every structure on disk, as FORMAT.md specifies it (the terms are defined there).
 * Integers are little-endian byte arrays, so the structures have no padding and can lie at any
 * address. */
#ifndef PFS_FORMAT_H
#define PFS_FORMAT_H

#include "storage/base.h"

typedef struct {
	uint8_t b[2];
} pfs_le16;
typedef struct {
	uint8_t b[4];
} pfs_le32;
typedef struct {
	uint8_t b[8];
} pfs_le64;

#define PFS_FORMAT_VERSION 1

/* Feature bits that this program knows. */
#define PFS_FEATURES_INCOMPAT UINT64_C(0)
#define PFS_FEATURES_RO_COMPAT UINT64_C(0)
#define PFS_FEATURE_COMPAT_DICT_OFF UINT64_C(1) /* the store is to have no dictionaries */

#define PFS_UUID_LEN 16

/* ---- superblock ---- */

#define PFS_SUPER_NAME "superblock"
#define PFS_SUPER_MAGIC "PAYLDFS1"
#define PFS_SUPER_COPIES 2
#define PFS_SUPER_STRIDE 4096 /* bytes from one copy to the next */
#define PFS_SUPER_HAS_DEFAULTS 1u
#define PFS_SUPER_DOUBT 2u

struct pfs_super_disk {
	uint8_t magic[8];	    /* 000-007 PFS_SUPER_MAGIC */
	pfs_le32 crc;		    /* 008-011 CRC32C of bytes 12-255 */
	pfs_le16 version;	    /* 012-013 */
	uint8_t zero1[2];	    /* 014-015 */
	pfs_le64 incompat;	    /* 016-023 */
	pfs_le64 ro_compat;	    /* 024-031 */
	pfs_le64 compat;	    /* 032-039 */
	uint8_t uuid[PFS_UUID_LEN]; /* 040-055 */
	pfs_le64 generation;	    /* 056-063 */
	pfs_le64 page_size;	    /* 064-071 */
	pfs_le32 min_value_size;    /* 072-075 */
	pfs_le32 flags;		    /* 076-079 */
	pfs_le32 mode, uid, gid;    /* 080-091 */
	uint8_t zero2[4];	    /* 092-095 */
	pfs_le64 open_epoch;	    /* 096-103 */
	pfs_le64 clean_epoch;	    /* 104-111 */
	pfs_le64 created_ns;	    /* 112-119 */
	pfs_le64 sequence;	    /* 120-127 */
	pfs_le32 page_highest;	    /* 128-131 */
	pfs_le32 page_count;	    /* 132-135 */
	pfs_le64 page_mix;	    /* 136-143 */
	pfs_le64 journal_epoch;	    /* 144-151 */
	pfs_le32 dict_highest;	    /* 152-155 */
	uint8_t zero3[100];	    /* 156-255 */
};
_Static_assert(sizeof(struct pfs_super_disk) == 256, "format v1");
_Static_assert(offsetof(struct pfs_super_disk, open_epoch) == 96, "format v1");

/* ---- page ---- */

#define PFS_PAGE_MAGIC "PFPG"
#define PFS_PAGE_NAME_FMT "page-%08x"
#define PFS_PAGE_NUMBER_MAX 0xffffffu /* 24 bits in an object's word */
#define PFS_SLOT_NUMBER_MAX 0xffffffu

struct pfs_page_disk {
	uint8_t magic[4];	    /* 00-03 PFS_PAGE_MAGIC */
	pfs_le32 crc;		    /* 04-07 CRC32C of bytes 8-63 */
	pfs_le32 number;	    /* 08-11 */
	pfs_le16 flags;		    /* 12-13 */
	uint8_t size_log2;	    /* 14 */
	uint8_t zero;		    /* 15 */
	pfs_le64 generation;	    /* 16-23 */
	pfs_le64 base_seq;	    /* 24-31 */
	pfs_le64 base_mtime;	    /* 32-39 */
	uint8_t uuid[PFS_UUID_LEN]; /* 40-55 */
	pfs_le32 slot_count;	    /* 56-59 */
	pfs_le32 floor;		    /* 60-63 */
};
#define PFS_PAGE_HEADER_LEN 64u
#define PFS_PAGE_TRAILER_LEN 64u /* the header as it was when the page was made */
_Static_assert(sizeof(struct pfs_page_disk) == PFS_PAGE_HEADER_LEN, "format v1");

struct pfs_slot_disk {
	pfs_le64 tag;  /* 00-07 */
	pfs_le32 low;  /* 08-11 offset, or low half of a tombstone's sequence */
	pfs_le32 word; /* 12-15 */
};
#define PFS_SLOT_LEN 16u
_Static_assert(sizeof(struct pfs_slot_disk) == PFS_SLOT_LEN, "format v1");

#define PFS_SLOT_FREE 0u
#define PFS_SLOT_TOMBSTONE 8u
#define PFS_SLOT_KIND_SHIFT 28
#define PFS_SLOT_UNIT_BIT (1u << 27)
#define PFS_SLOT_LEN_MASK (PFS_SLOT_UNIT_BIT - 1)
#define PFS_SLOT_UNIT 4096u
#define PFS_SEQ_MAX ((UINT64_C(1) << 60) - 1)
/* Numbers are made of the epoch and 36 bits more. */
#define PFS_EPOCH_MAX ((UINT64_C(1) << 28) - 1)
#define PFS_SEGMENT_NUMBER_MAX PFS_SEQ_MAX

/* ---- container ---- */

#define PFS_CONTAINER_LZ4 0x01u
#define PFS_CONTAINER_BLOCKS 0x02u
#define PFS_CONTAINER_SEQ 0x04u
#define PFS_CONTAINER_MTIME 0x08u
#define PFS_CONTAINER_ATTR 0x10u
#define PFS_CONTAINER_DICT 0x20u
#define PFS_CONTAINER_SLACK 0x40u
#define PFS_CONTAINER_LOST 0x80u

#define PFS_BLOCK_LEN 65536u   /* raw bytes of a block; also the longest payload without blocks */
#define PFS_BLOCK_ENTRY_LEN 8u /* u32 end, u32 CRC */

/* ---- journal ---- */

#define PFS_SEGMENT_MAGIC "PFSJRNL1"
#define PFS_SEGMENT_NAME_FMT "journal-%04x"
#define PFS_SEGMENT_DATA 4096u /* where records begin */
#define PFS_SEGMENT_COPIES 2
#define PFS_SEGMENT_STRIDE 2048u /* bytes from the header to its copy */

struct pfs_segment_disk {
	uint8_t magic[8];	    /* 00-07 PFS_SEGMENT_MAGIC */
	pfs_le32 crc;		    /* 08-11 CRC32C of bytes 12-63 */
	uint8_t zero[4];	    /* 12-15 */
	pfs_le64 number;	    /* 16-23 */
	pfs_le64 first_seq;	    /* 24-31 */
	pfs_le64 oldest_live;	    /* 32-39 */
	pfs_le64 open_epoch;	    /* 40-47 */
	uint8_t uuid[PFS_UUID_LEN]; /* 48-63 */
};
_Static_assert(sizeof(struct pfs_segment_disk) == 64, "format v1");

struct pfs_record_disk {
	pfs_le32 len;	  /* 00-03 */
	pfs_le32 crc;	  /* 04-07 */
	pfs_le64 seq;	  /* 08-15 */
	pfs_le64 durable; /* 16-23 */
	uint8_t type;	  /* 24 */
	uint8_t flags;	  /* 25 */
	uint8_t zero[6];  /* 26-31 */
};
#define PFS_RECORD_HEADER_LEN 32u
#define PFS_RECORD_LEN_MIN 40u
_Static_assert(sizeof(struct pfs_record_disk) == PFS_RECORD_HEADER_LEN, "format v1");

enum pfs_record_type {
	PFS_RECORD_PUT = 1,
	PFS_RECORD_PATCH = 2,
	PFS_RECORD_ATTR = 3,
	PFS_RECORD_REMOVE = 4,
	PFS_RECORD_MOVE = 5,
	PFS_RECORD_END = 6,
};

/* Whether it may be the header of a record of up to room bytes. Of packed and random bytes hardly
 * any may, so that a search among them sums little. */
static inline bool pfs_record_is_plausible(const struct pfs_record_disk *head, uint64_t room)
{
	static const uint8_t zero[sizeof(head->zero)];
	uint32_t len = pfs_get_le32(head->len.b);

	return len >= PFS_RECORD_LEN_MIN && len % 8 == 0 && len <= room && head->type != 0 &&
	       head->type <= PFS_RECORD_END && memcmp(head->zero, zero, sizeof(zero)) == 0;
}

#define PFS_PUT_LZ4 PFS_CONTAINER_LZ4
#define PFS_PUT_BLOCKS PFS_CONTAINER_BLOCKS
#define PFS_PATCH_ZERO 0x01u
#define PFS_MOVE_EXCHANGE 0x01u

struct pfs_attr_disk {
	pfs_le64 mtime;		      /* 00-07 */
	pfs_le32 mode, uid, gid, own; /* 08-23 */
};
_Static_assert(sizeof(struct pfs_attr_disk) == 24, "format v1");

struct pfs_put_disk {
	struct pfs_attr_disk attr; /* 00-23 */
	pfs_le64 raw_len;	   /* 24-31 */
	pfs_le64 content;	   /* 32-39 */
	pfs_le32 dict;		   /* 40-43 */
	pfs_le32 body_len;	   /* 44-47 */
	pfs_le64 displaced;	   /* 48-55 */
};
_Static_assert(sizeof(struct pfs_put_disk) == 56, "format v1");

struct pfs_patch_disk {
	struct pfs_attr_disk attr; /* 00-23 */
	pfs_le64 base;		   /* 24-31 */
	pfs_le64 off;		   /* 32-39 */
	pfs_le64 new_size;	   /* 40-47 */
	pfs_le64 len;		   /* 48-55 */
};
_Static_assert(sizeof(struct pfs_patch_disk) == 56, "format v1");

struct pfs_setattr_disk {
	struct pfs_attr_disk attr; /* 00-23 */
	pfs_le64 base;		   /* 24-31 */
};
_Static_assert(sizeof(struct pfs_setattr_disk) == 32, "format v1");

struct pfs_move_disk {
	pfs_le64 from_base; /* 00-07 */
	pfs_le64 to_base;   /* 08-15 */
	pfs_le64 displaced; /* 16-23 */
};
_Static_assert(sizeof(struct pfs_move_disk) == 24, "format v1");

/* ---- dictionary ---- */

#define PFS_DICT_MAGIC "PFSDICT1"
#define PFS_DICT_NAME_FMT "dict-%08x"
#define PFS_DICT_LEN_MAX 65536u /* LZ4 looks back no further */
#define PFS_DICT_COPIES 2
#define PFS_DICT_STRIDE 69632u /* from header and bytes to their copy */

struct pfs_dict_disk {
	uint8_t magic[8];	    /* 00-07 PFS_DICT_MAGIC */
	pfs_le32 crc;		    /* 08-11 CRC32C of bytes 12-63 */
	pfs_le32 number;	    /* 12-15 */
	uint8_t uuid[PFS_UUID_LEN]; /* 16-31 */
	pfs_le32 len;		    /* 32-35 */
	pfs_le32 bytes_crc;	    /* 36-39 */
	pfs_le64 raw;		    /* 40-47 */
	pfs_le64 packed;	    /* 48-55 */
	pfs_le64 created_ns;	    /* 56-63 */
};
#define PFS_DICT_HEADER_LEN 64u
_Static_assert(sizeof(struct pfs_dict_disk) == PFS_DICT_HEADER_LEN, "format v1");
_Static_assert(PFS_DICT_STRIDE >= PFS_DICT_HEADER_LEN + PFS_DICT_LEN_MAX, "format v1");

/* ---- index ---- */

#define PFS_INDEX_NAME "index"
#define PFS_INDEX_MAGIC "PFSINDX1"

struct pfs_index_disk {
	uint8_t magic[8];				      /* 00-07 PFS_INDEX_MAGIC */
	pfs_le32 crc;					      /* 08-11 CRC32C of bytes 12-103 */
	uint8_t zero[4];				      /* 12-15 */
	pfs_le64 epoch;					      /* 16-23 */
	uint8_t uuid[PFS_UUID_LEN];			      /* 24-39 */
	pfs_le64 objects, pages;			      /* 40-55 */
	pfs_le64 points, scratch, raw_bytes, container_bytes; /* 56-87 */
	pfs_le64 next_temp;				      /* 88-95 */
	pfs_le32 dicts, flags;				      /* 96-103 */
};
_Static_assert(sizeof(struct pfs_index_disk) == 104, "format v1");
#define PFS_INDEX_USERS_KNOWN 1u /* the dictionaries' users are counted exactly */
#define PFS_INDEX_RUNS 2u	 /* some entries stand for many */
#define PFS_INDEX_RUNS_EXACT 4u	 /* whose keys are what they say, and not others that hash alike */

struct pfs_index_object_disk {
	pfs_le32 page, slot, hash;
};
_Static_assert(sizeof(struct pfs_index_object_disk) == 12, "format v1");

/* With PFS_INDEX_RUNS: an entry whose page has this bit stands for as many as the one behind it
 * says, in slots one after the other, whose keys hash like numbers one after the other. */
#define PFS_INDEX_RUN_BIT 0x1000000u

static inline bool pfs_index_begins_run(uint32_t page)
{
	return (page & ~PFS_PAGE_NUMBER_MAX) == PFS_INDEX_RUN_BIT;
}

struct pfs_index_run_disk {
	pfs_le32 count;
	pfs_le64 number; /* the first */
};
_Static_assert(sizeof(struct pfs_index_run_disk) == sizeof(struct pfs_index_object_disk),
	       "format v1");

struct pfs_index_page_disk {
	pfs_le32 page, largest;
	pfs_le64 free_bytes;
	pfs_le32 free_slots;
	pfs_le32 slots_crc;
};
_Static_assert(sizeof(struct pfs_index_page_disk) == 24, "format v1");

struct pfs_index_dict_disk {
	pfs_le32 number;
	pfs_le64 users;
};
_Static_assert(sizeof(struct pfs_index_dict_disk) == 12, "format v1");

#define PFS_LOCK_NAME "lock"

#endif
