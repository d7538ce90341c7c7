/* Rank 6: private, what the parts of publishing share. */
#ifndef PFS_PUBLISH_INTERNAL_H
#define PFS_PUBLISH_INTERNAL_H

#include "storage/codec.h"
#include "storage/manifest.h"
#include "storage/publish.h"

/* A page ends before a key that says so by its hash: the more likely, the longer its document is,
 * so that a page has PUBLISH_PAGE_TARGET raw bytes on average behind its first PUBLISH_PAGE_MIN.
 * A document's weight is its length and what comes with it. */
#define PUBLISH_PAGE_MIN (2 * PFS_MIB)
#define PUBLISH_PAGE_TARGET (6 * PFS_MIB)
#define PUBLISH_PAGE_MAX (32 * PFS_MIB)
#define PUBLISH_PAGE_OWN (4 * PFS_MIB) /* a document of this weight has a page of its own */
#define PUBLISH_WEIGHT_MORE 64

/* An object of keys ends before a page whose first key says so: one in PUBLISH_KEYS_PAGES. */
#define PUBLISH_KEYS_PAGES 8
#define PUBLISH_KEYS_PAGES_MAX 64
#define PUBLISH_KEYS_LEN_MAX (16 * PFS_MIB)

#define PUBLISH_THREADS_MAX 16

struct publish_doc {
	uint8_t key[16];
	uint8_t kind;
	bool own_attr, plain;
	uint8_t flags; /* of its container: LZ4, BLOCKS */
	uint32_t mode, uid, gid;
	uint32_t raw_len, body_len;
	uint64_t off;	   /* of the payload in raw */
	uint64_t body_off; /* of the packed body in packed */
	uint64_t content;
	int64_t mtime_ns;
	uint32_t len; /* of the container */
};

/* An object of the new generation. */
struct publish_object {
	struct pfs_manifest_object at;
	uint32_t *crcs; /* of its chunks */
};

struct publish_objects {
	struct publish_object *at;
	size_t count, cap;
};

/* A page of the generation before, found by the documents that it was made of. */
struct publish_known {
	uint8_t digest[PFS_HASH_LEN];
	uint32_t object;
};

struct pfs_publish {
	struct pfs_dir *dir;
	struct pfs_publish_options options;
	struct pfs_manifest before;	       /* generation 0: there is none */
	struct pfs_current_generation current; /* as read last, or written */
	struct publish_known *known;
	size_t known_count;
	uint8_t uuid[PFS_UUID_LEN];
	struct pfs_hash *hash, *digest;
	struct pfs_publish_result result;
	int err; /* the first of the publication */

	/* publish_dict.c */
	uint8_t *samples;
	size_t *sample_lens;
	size_t sample_count, sample_bytes;
	bool dict_chosen;
	struct pfs_codec_dict *dict; /* NULL: none */
	uint32_t dict_number;
	uint8_t dict_hash[PFS_HASH_LEN];
	uint64_t dict_raw, dict_packed;

	/* The page that is being filled. */
	struct publish_doc *docs;
	size_t doc_count, doc_cap;
	uint8_t *raw;
	size_t raw_len, raw_cap;
	uint64_t weight;
	bool own; /* of one large document */
	uint8_t last_kind;
	uint8_t last_key[16];

	/* publish_page.c */
	unsigned threads;
	struct pfs_codec_hc *hc[PUBLISH_THREADS_MAX];
	uint8_t *packed; /* bodies */
	size_t packed_cap;

	/* The object of keys that is being filled. */
	uint8_t *keys;
	size_t keys_len, keys_cap;
	unsigned keys_pages;

	struct publish_objects dicts, key_objects, pages;
	struct pfs_manifest_block *blocks;
	size_t block_count, block_cap;
};

/* Makes room for at least `need` bytes. -ENOMEM. */
int publish_reserve(uint8_t **bytes, size_t *cap, size_t need);

/* ---- publish_object.c ---- */

/* Names the object by its bytes and writes it, unless it is there. *out gets role, hash, length and
 * checksums, and is added to list; what else there is to say of it is in `about`. */
int publish_object(struct pfs_publish *p, struct publish_objects *list,
		   const struct pfs_manifest_object *about, const void *bytes, size_t len);

/* Adds an object of the generation before. -ENOENT: it is not there any more; other errors: nobody
 * knows. */
int publish_reuse(struct pfs_publish *p, struct publish_objects *list,
		  const struct pfs_manifest_object *before);

/* Writes a file under its name, durably but for the name, in place of one that is there. only_new
 * (with whole_files): -EEXIST where one is there. */
int publish_file(struct pfs_publish *p, const char *name, const void *bytes, size_t len,
		 bool only_new);

/* All of a file, malloc'ed, of which the length is known, or (len UINT64_MAX) up to max bytes.
 * -ENOENT; -EUCLEAN: it has another length. */
int publish_read(struct pfs_dir *dir, const char *name, uint64_t expected, uint64_t max,
		 uint8_t **out, size_t *len);

/* The current generation. -ENOENT: there is none. -EUCLEAN, -EPROTONOSUPPORT: *why says what is
 * wrong. */
int publish_read_current(struct pfs_dir *dir, struct pfs_current_generation *current,
			 struct pfs_manifest *manifest, const char **why);
/* Where nothing locks others out: -EBUSY when p->current is not the current one any more. */
int publish_is_alone(struct pfs_publish *p);
/* Makes next, whose manifest is durable, the current one, and p->current; its name is not durable
 * yet. -EBUSY: as above. */
int publish_set_current(struct pfs_publish *p, const struct pfs_current_generation *next);
/* And any other. */
int publish_read_manifest(struct pfs_dir *dir, uint32_t generation, struct pfs_manifest *manifest,
			  const char **why);

/* ---- publish_dict.c ---- */

/* Chooses the dictionary, and writes it if it is new. */
int publish_choose_dict(struct pfs_publish *p);

/* ---- publish_page.c ---- */

/* Makes a page of the documents that were gathered, and their keys. */
int publish_pack_page(struct pfs_publish *p, const uint8_t digest[PFS_HASH_LEN]);

/* ---- publish.c ---- */

/* The page that is being filled, or the object of keys, is complete. */
int publish_flush_page(struct pfs_publish *p);
int publish_flush_keys(struct pfs_publish *p);

/* Adds a block, encoded, to the table of keys. */
int publish_add_block(struct pfs_publish *p, const struct pfs_manifest_block *block,
		      const uint8_t *bytes, bool begins_page);

#endif
