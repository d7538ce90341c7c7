/* Rank 5: private, what the parts of pfs_check share. They stand on io, super, page and codec and
 * on the format of the journal and the saved index, and never open the store, so that one which
 * can't be opened can be checked. Nothing is written; every length from disk is bounded before it
 * is used.
 *
 * Findings are fatal where something is damaged. After an unclean end some of what would be damage
 * is the normal state that the next opening puts in order (FORMAT.md, "Opening"): two versions of a
 * document, and containers that do not verify, of keys that the journal names. */
#ifndef PFS_CHECK_H
#define PFS_CHECK_H

#include "storage/codec.h"
#include "storage/identify.h"
#include "storage/io.h"
#include "storage/journal.h"
#include "storage/page.h"
#include "storage/store.h"
#include "storage/super.h"

/* Enough of a container to verify what is not in blocks. */
#define PFS_CHECK_PREFIX (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)

/* A window into a file, or (file NULL) bytes in memory. */
struct pfs_check_reader {
	struct pfs_file *file;
	uint8_t *buf;
	uint64_t off; /* of buf in the file */
	size_t len, cap;
};

#define PFS_CHECK_WINDOW PFS_MIB

int pfs_check_reader_new(struct pfs_check_reader *reader, struct pfs_file *file);
void pfs_check_reader_free(struct pfs_check_reader *reader);
/* Bytes [off, off + len), valid until the next call. -EIO: the file ends before, or can't be read
 * there. */
int pfs_check_read(struct pfs_check_reader *reader, uint64_t off, size_t len,
		   const uint8_t **bytes);

/* A set of 64-bit hashes of (kind, tag). */
struct pfs_check_set {
	uint64_t *at;
	size_t size, count;
};

uint64_t pfs_check_hash(unsigned kind, uint64_t tag);
bool pfs_check_set_has(const struct pfs_check_set *set, uint64_t hash);
/* 1: it was not there, 0: it was, -ENOMEM. */
int pfs_check_set_add(struct pfs_check_set *set, uint64_t hash);
void pfs_check_set_free(struct pfs_check_set *set);

/* A page file, and what the index must say of it. */
struct pfs_checked_page {
	uint32_t number;
	bool usable;  /* header, slot_count, live and odd are set */
	bool empty;   /* it was being made: nothing is in it */
	bool foreign; /* it is another store's */
	bool retired; /* the superblock does not count it any more */
	uint64_t file_size;
	struct pfs_page_header header;
	uint8_t *live;	    /* a bit for each slot: it has a document */
	uint8_t *odd;	    /* and: its slot or container is damaged */
	uint64_t live_sum;  /* of pfs_check_mark over live slots that are not odd */
	uint64_t index_sum; /* the same of what the index says */
	/* Of usable pages: the free bytes and the longest free extent between floor and end, and
	 * the free slots; and what the index says of them (FORMAT.md, "index"). */
	uint64_t free_bytes, index_free_bytes;
	uint64_t longest_hole, index_room;
	uint32_t free_slots, index_free_slots;
	bool by_copy; /* the header is the copy's: slots and floor may not be what they were */
	bool in_index;
	bool said;			     /* there is a finding about it */
	uint32_t slots_crc, index_slots_crc; /* of the slots: as they are, and as they should be */
};

/* What a finding is about, for a repair that is to do something about it. */
enum pfs_fault_kind {
	PFS_FAULT_NONE,	      /* of faults: what opening and closing the store makes right */
	PFS_FAULT_STALE,      /* the same of remarks */
	PFS_FAULT_GONE,	      /* something is lost, and nothing is left of it to be repaired */
	PFS_FAULT_TOLD,	      /* another finding is about the same */
	PFS_FAULT_DOUBT,      /* the superblock says that there is something not known */
	PFS_FAULT_SET,	      /* the superblock's page set, or its highest dictionary, is wrong */
	PFS_FAULT_EPOCH,      /* the superblock is older than the journal */
	PFS_FAULT_SEQUENCE,   /* the superblock is older than the pages */
	PFS_FAULT_FOREIGN,    /* page: another store's */
	PFS_FAULT_UNUSABLE,   /* page: neither header nor copy */
	PFS_FAULT_NUMBER,     /* page: it has another number; off: that number */
	PFS_FAULT_HEADER,     /* page: only the copy at its end is good */
	PFS_FAULT_TRAILER,    /* page: the copy is not good */
	PFS_FAULT_LENGTH,     /* page: the file is shorter or longer; off: what it should be */
	PFS_FAULT_UNREADABLE, /* page: slots from slot on, len of them */
	PFS_FAULT_SLOT,	      /* page, slot: it is no valid one */
	PFS_FAULT_VALUE,      /* page, slot: its container is damaged; off, len */
	PFS_FAULT_TOMBSTONE,  /* page, slot: newer than the store */
	PFS_FAULT_SMALL,      /* page, slot: its container is too small */
	PFS_FAULT_OVERLAP,    /* page, slot: its container overlaps that of slot `off` */
	PFS_FAULT_DUPLICATE,  /* page, slot: there is a newer version */
	PFS_FAULT_RECORDS,    /* segment: bytes that should be records; off, len */
	PFS_FAULT_SEGMENT,    /* segment: its file is not one of this journal */
	PFS_FAULT_DICT,	      /* no copy of the dictionary `number` is good */
	PFS_FAULT_TWICE,      /* segment: another file has its number */
};

/* A dictionary's file. */
struct pfs_checked_dict {
	uint32_t number;
	struct pfs_codec_dict *codec; /* NULL: no copy is good */
	uint64_t users;		      /* live slots whose containers name it */
};

struct pfs_fault {
	enum pfs_fault_kind kind;
	uint32_t number; /* of the page, or of the segment's file */
	uint32_t slot;
	uint64_t off, len;
};

/* A container that does not verify, of a key that the journal names: torn by the crash, if there is
 * another version for the journal to begin with. */
struct pfs_suspect {
	uint64_t hash;
	struct pfs_fault fault;
	struct pfs_key key;
};

/* Hashes of the key that a document had before the first record of the journal, and of one that it
 * has been given since. It is not replaced. */
struct pfs_check_moved {
	uint64_t from, to;
	bool now; /* it has that one now */
};

struct pfs_check;
/* A record of the journal that verifies: len bytes at off of the segment file. */
typedef int pfs_check_record_fn(struct pfs_check *check, uint32_t file, const uint8_t *bytes,
				uint64_t off, size_t len, const struct pfs_key keys[2]);

struct pfs_check {
	struct pfs_dir *dir;
	const struct pfs_logger *logger;
	pfs_finding_fn *fn;
	pfs_progress_fn *progress;
	void *arg;
	struct pfs_check_result *result;
	struct pfs_fault fault;	     /* of the finding that is being said */
	pfs_check_record_fn *record; /* or NULL */

	struct pfs_super super;
	bool clean;
	uint64_t window;	    /* first sequence of the journal; UINT64_MAX: there is none */
	struct pfs_check_set named; /* by the journal's records */
	struct pfs_check_set whole; /* of these, those that one of them replaces or removes */
	/* And those of which a version verifies: one from before the window, one of it. */
	struct pfs_check_set sound, renewed;
	struct pfs_check_moved *moved; /* room is made by check_journal.c */
	size_t moved_count;
	struct pfs_suspect *suspects;
	size_t suspect_count, suspect_cap;
	struct pfs_check_set seen, twice; /* keys of live slots */

	struct pfs_checked_page *pages; /* ascending numbers */
	size_t page_count, page_cap;
	uint32_t *segments; /* numbers of journal files */
	size_t segment_count, segment_cap;
	struct pfs_checked_dict *dicts; /* ascending numbers */
	size_t dict_count, dict_cap;
	uint32_t dict_named; /* the highest number that a value or a file has */

	uint64_t done, total; /* bytes, for the progress */
	uint64_t points, scratch, raw_bytes, container_bytes;
	bool counts_known; /* they are complete */
	/* Of containers that verify; of tombstones. container_min 0: there is none. */
	uint64_t seq_max, content_max, container_min, tombstone_max;
	uint64_t trials; /* bytes left for the search of a damaged bit */
	uint64_t
		identified_seq; /* of the container that the last identified slot should have had */
	uint8_t *probe;		/* PFS_CHECK_PREFIX bytes, for that search */
	uint8_t *raw;		/* PFS_BLOCK_LEN bytes */
};

/* Checks everything. dir, which is locked, super and clean are set. An error: it could not be done.
 */
int pfs_check_all(struct pfs_check *check);
/* Only finds the files and prepares for the parts below. */
int pfs_check_files(struct pfs_check *check);
void pfs_check_end(struct pfs_check *check);

/* Reports; key may be NULL. What the finding is about has been set in check->fault, which is then
 * cleared. */
void pfs_check_say(struct pfs_check *check, bool fatal, const char *where, uint64_t off,
		   const struct pfs_key *key, const char *fmt, ...) PFS_PRINTF(6, 7);

/* So many bytes of the work are done since the last call. */
void pfs_check_advance(struct pfs_check *check, uint64_t bytes);

static inline bool pfs_check_bit(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static inline void pfs_check_set_bit(uint8_t *bits, uint32_t i)
{
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* What a live slot adds to the sum of its page. */
static inline uint64_t pfs_check_mark(uint32_t slot, uint32_t index_hash)
{
	return pfs_mix64((uint64_t)slot << 32 | index_hash);
}

/* Whether name is that of a page file. */
bool pfs_check_is_page_name(const char *name, uint32_t *number);

struct pfs_checked_page *pfs_check_find_page(struct pfs_check *check, uint32_t number);

/* ---- check_value.c ---- */

/* What is in a container. */
struct pfs_check_value {
	struct pfs_container c;
	bool decoded;  /* c is set */
	bool unread;   /* pfs_check_header: not all that is to be verified can be read */
	bool verified; /* its checksum is right (of blocks: the header's) and the key with it */
	struct pfs_key key; /* kind NONE: can't be known */
	const char *why;    /* what is wrong */
	uint64_t blocks, bad_blocks, first_bad;
};

/* Verifies the container of a live slot and decodes its payload. 0: all is right. -EUCLEAN, -EIO:
 * it is damaged, or can't be read. -ENOMEM. */
int pfs_check_container(struct pfs_check *check, struct pfs_check_reader *reader,
			const struct pfs_page_header *page, const struct pfs_slot *slot,
			struct pfs_check_value *value);

/* The body of a container or of a put record, at off. The same results; sets why and the blocks. */
int pfs_check_body(struct pfs_check *check, struct pfs_check_reader *reader, uint64_t off,
		   const struct pfs_container *c, struct pfs_check_value *value);

/* Header, key and checksum alone; the payload is not decoded, and nothing said of what is wrong. */
bool pfs_check_header(struct pfs_check *check, struct pfs_file *file,
		      const struct pfs_page_header *page, const struct pfs_slot *slot,
		      struct pfs_check_value *value);

/* Searches for one wrong bit in the slot or in its container that explains why they do not verify:
 * *key is then whose they are, else of kind NONE. */
enum pfs_identity pfs_check_identify(struct pfs_check *check, struct pfs_file *file,
				     const struct pfs_page_header *page,
				     const struct pfs_slot_disk *disk, struct pfs_key *key);

/* The key that slot and container seem to have although they do not verify. Kind NONE: nothing is
 * to be known. */
void pfs_check_guess(struct pfs_check *check, struct pfs_file *file,
		     const struct pfs_page_header *page, const struct pfs_slot *slot,
		     struct pfs_key *key);

/* ---- check_dict.c ---- */

/* Remembers the file of a dictionary. -ENOMEM. */
int pfs_check_add_dict(struct pfs_check *check, uint32_t number);
/* Reads them. Before the journal. -ENOMEM. */
int pfs_check_dicts(struct pfs_check *check);
/* NULL: there is no such file. */
struct pfs_checked_dict *pfs_check_find_dict(struct pfs_check *check, uint32_t number);
/* What the values name. After pages and journal. */
void pfs_check_dict_numbers(struct pfs_check *check);
void pfs_check_free_dicts(struct pfs_check *check);

/* ---- check_segment.c: the files of the journal ---- */

struct pfs_checked_segment {
	uint32_t file;
	bool proof_known; /* it was searched, or can't be opened */
	uint64_t number, first_seq, oldest_live, epoch, size;
	uint64_t proof; /* pfs_search_proof of all of it */
};

/* What is in a file that can't be read costs so much around it. */
#define PFS_CHECK_PIECE 4096u
#define PFS_CHECK_UNREAD_LEN (PFS_SEGMENT_SIZE / PFS_CHECK_PIECE / 8)

void pfs_check_segment_name(char name[32], uint32_t file);
/* The next finding is about this file. */
void pfs_check_about_segment(struct pfs_check *check, enum pfs_fault_kind kind, uint32_t file,
			     uint64_t off, uint64_t len);

/* Those that a replay begins with, ascending; at has room for all. Says what is wrong with headers.
 * room: PFS_SEGMENT_DATA bytes. */
size_t pfs_check_live_segments(struct pfs_check *check, struct pfs_checked_segment *at,
			       uint8_t *room);

/* Reads all of a file. What it lacks is zeros, as after the power cut that can leave it so, and so
 * is what the device can't read: of that there is a bit for each piece in unread (NULL: not asked
 * for), of PFS_CHECK_UNREAD_LEN bytes. -ENOMEM, or it can't be opened. */
int pfs_check_load_segment(struct pfs_check *check, uint32_t file, uint8_t *bytes, uint8_t *unread);

/* ---- the parts: 0, -ENOMEM, or another error of what nothing can be checked without ---- */

/* check_journal.c: sets window and named. Before the pages. */
int pfs_check_journal(struct pfs_check *check);
/* check_page.c */
int pfs_check_page(struct pfs_check *check, struct pfs_checked_page *page);
/* After the pages: which of them were damaged, and not torn. */
void pfs_check_suspects(struct pfs_check *check);
/* check_twice.c: after the pages. */
int pfs_check_duplicates(struct pfs_check *check);
/* check_index.c: after the pages. */
int pfs_check_index(struct pfs_check *check);

#endif
