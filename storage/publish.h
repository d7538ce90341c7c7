/* Rank 6: publishing: documents in the order of their keys become an immutable generation of a
 * collection in a directory of any backend (FORMAT.md, "Published collections"). Only what is not
 * there yet is written; the new generation is to be seen when everything of it is durable, and
 * until then, whatever happens, the one before is as it was.
 *
 * A publication belongs to one thread; packing uses several of its own. Memory: the documents of a
 * page (some 32 MiB, or one larger document), the same packed, and some 40 bytes for each 1024
 * documents and 4 for each 64 KiB of objects. */
#ifndef PFS_PUBLISH_H
#define PFS_PUBLISH_H

#include "storage/io.h"
#include "storage/store.h"

/* Documents that a dictionary could be made of are of up to this many bytes; so many of them, and
 * bytes in all, are taken. */
#define PFS_PUBLISH_SAMPLE_LEN_MAX 65536u
#define PFS_PUBLISH_SAMPLE_COUNT 65536u
#define PFS_PUBLISH_SAMPLE_BYTES (3 * PFS_MIB)

struct pfs_publish_options {
	uint8_t source[16];	      /* UUID of the store */
	struct pfs_defaults defaults; /* of its documents */
	uint64_t sequence;	      /* of its last change that is in it */
	int64_t moment_ns;	      /* when that was */
	bool adopt;		      /* also over what was published from another store */
	bool dict_off;		      /* without dictionary */
	unsigned threads;	      /* that pack; 0: one for each processor */
	struct pfs_logger logger;
};

struct pfs_publish_result {
	uint32_t generation;
	bool unchanged; /* it is the one that was there: nothing was to be said anew */
	bool trained;	/* a new dictionary was made */
	uint64_t points, raw_bytes;
	uint64_t objects, bytes; /* of the generation: objects, and bytes in them */
	uint64_t uploaded, uploaded_bytes;
	uint64_t reused, reused_bytes;
	uint64_t reused_pages; /* of these, pages that were not even packed again */
};

struct pfs_publish;

/* Begins a generation in dir, which is borrowed, and locks it where the backend can, until it is
 * closed. -EBUSY:
 * somebody else publishes there. -EEXIST: what is there was published from another store (and not
 * adopt). -ENOTEMPTY: it is a store, or holds other things. -EOPNOTSUPP: built without libcrypto.
 * -EPROTONOSUPPORT: made by a newer version. -EUCLEAN: `current` or its manifest is damaged. Other
 * errors: of reading. path is for the reason, which says more. */
int pfs_publish_begin(struct pfs_publish **out, struct pfs_dir *dir, const char *path,
		      const struct pfs_publish_options *options, struct pfs_reason *reason);

/* Documents that stand for all of them, before the first is added: of these a dictionary is made
 * when there is none, or the one of the last generation serves clearly worse than it promised. More
 * than the limits, and longer ones, are ignored. */
int pfs_publish_sample(struct pfs_publish *publish, const void *data, size_t len);

/* The next document: of a point, keys ascending (-EINVAL). -EFBIG: over PFS_PAYLOAD_MAX. Any error
 * but these is the publication's, which can only be ended then. */
int pfs_publish_add(struct pfs_publish *publish, const struct pfs_key *key,
		    const struct pfs_attr *attr, const void *data, size_t len);

/* All documents were added: makes the generation durable, and then the current one. -EBUSY: where
 * nothing can be locked, somebody else has published meanwhile (FORMAT.md, U4). On an error the
 * current one is that from before, but for an error of the very last sync (-EIO), after which it
 * may be either. */
int pfs_publish_commit(struct pfs_publish *publish, struct pfs_publish_result *result);

/* Frees it; what was not committed leaves objects that nobody names, for the next time. NULL is
 * allowed. */
void pfs_publish_end(struct pfs_publish *publish);

/* ---- pruning ---- */

struct pfs_prune_result {
	uint32_t generations; /* removed */
	uint64_t objects, bytes;
};

/* Removes all generations but the `keep` newest (the current one counts and always stays), and
 * every object that none of these names, leftovers of publications that were cut off included.
 * Nothing is removed unless the manifests of all that stay can be read. With the publication's
 * lock, after pfs_publish_commit; where nothing can be locked, nobody else may publish meanwhile
 * (-EBUSY: it is seen that somebody has). -EOPNOTSUPP: the backend can't list. */
int pfs_publish_prune(struct pfs_publish *publish, uint32_t keep, struct pfs_prune_result *result);

#endif
