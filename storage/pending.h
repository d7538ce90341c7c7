/* Rank 4: what the journal knows of an object and the pages do not yet: pending versions, where
 * their bytes are (sources), and stages, the large documents that are being written.
 *
 * V1: a version that is published in an object's word does not change, but for the fields under
 * "commit lock". V2: a version is in exactly one list (pending or the batch of the running
 * checkpoint) from its record on until it is applied or superseded before it was taken by a
 * checkpoint. Held versions are in none: no record says them. V3: `home` is the object's slot on
 * disk once the batch that is being applied is done; `target` is where this version will go. They
 * are equal in slot and offset exactly when it is written in place. V4: a stage is changed only
 * while no checkpoint has taken it (stage->batch is the current batch). */
#ifndef PFS_PENDING_H
#define PFS_PENDING_H

#include <pthread.h>

#include "storage/journal.h"
#include "storage/pager.h"

struct pfs_stage;
struct pfs_former;

enum pfs_source_kind {
	PFS_SOURCE_EMPTY,
	PFS_SOURCE_RECORD,    /* body of a put record */
	PFS_SOURCE_CONTAINER, /* container in a page */
	PFS_SOURCE_STAGE,
	PFS_SOURCE_LOST, /* can't be had any more: reading is -EIO */
};

struct pfs_source {
	enum pfs_source_kind kind;
	uint64_t size;	/* bytes of the payload that it holds */
	unsigned flags; /* RECORD: PFS_CONTAINER_LZ4, PFS_CONTAINER_BLOCKS */
	uint32_t dict;
	uint64_t body_len;
	uint64_t content;
	/* RECORD */
	struct pfs_segment *segment;
	uint64_t record_off;
	uint32_t record_len, body_off; /* body_off: in the record */
	/* CONTAINER: where, and as whose it verifies */
	struct pfs_page *page;
	uint64_t off, len;
	unsigned key_kind;
	uint64_t key_tag;
	uint64_t seq;
	/* STAGE: counted reference */
	struct pfs_stage *stage;
};

struct pfs_list {
	struct pfs_list *prev, *next;
};

struct pfs_version {
	struct pfs_list list; /* first member; commit lock */
	uint32_t object; /* commit lock; 0: the object is gone, only its home is to be retired */
	uint64_t seq;
	uint64_t batch; /* commit lock */
	uint64_t size;	/* of the payload; of a stage when the version was made */
	int64_t mtime_ns;
	uint32_t mode, uid, gid;
	bool own_attr; /* mode, uid, gid are its own, not the store's defaults */
	bool removed;
	bool moved;	 /* shows what the version before it showed: only the place is another */
	uint64_t adding; /* STAGE: bytes of the change that makes it, until it is placed */
	uint64_t stored; /* what attributes say that it takes */
	struct pfs_source source;

	/* Commit lock, and the writer thread while the version is in its batch. */
	struct pfs_extent_at home, target; /* page 0: none */
	uint64_t applied_len; /* what the container took in the end; the rest of the target is given
				 back */
	bool applied;	      /* has no target and the checkpoint that took it is done with it */
	uint64_t spare_off, spare_len; /* of the target, not needed by the container */
	struct pfs_former *former;     /* by a snapshot: where the target will be; or NULL */

	/* Held versions: what they stand before. */
	bool held;
	uint64_t under; /* the object's word without them; published atomically */
	unsigned ticks;

	/* Key. */
	uint8_t kind, tail_len;
	uint64_t tag;
	uint8_t tail[]; /* 8 bytes of a UUID, or a scratch name */
};

static inline void pfs_list_init(struct pfs_list *list)
{
	list->prev = list->next = list;
}

static inline bool pfs_list_empty(const struct pfs_list *list)
{
	return list->next == list;
}

static inline void pfs_list_append(struct pfs_list *list, struct pfs_list *item)
{
	item->prev = list->prev;
	item->next = list;
	list->prev->next = item;
	list->prev = item;
}

static inline void pfs_list_remove(struct pfs_list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	pfs_list_init(item);
}

/* Moves all items of `from` to the end of `to`. */
static inline void pfs_list_splice(struct pfs_list *to, struct pfs_list *from)
{
	if (pfs_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	pfs_list_init(from);
}

static inline void pfs_list_replace(struct pfs_list *old, struct pfs_list *item)
{
	if (pfs_list_empty(old)) {
		pfs_list_init(item);
		return;
	}
	item->prev = old->prev;
	item->next = old->next;
	item->prev->next = item->next->prev = item;
	pfs_list_init(old);
}

/* A zeroed version under key. NULL: no memory. */
struct pfs_version *pfs_version_new(const struct pfs_key *key);
void pfs_version_key(const struct pfs_version *version, struct pfs_key *key);
bool pfs_version_has_key(const struct pfs_version *version, const struct pfs_key *key);

/* Whether both are the same bytes in the same place. */
bool pfs_source_same(const struct pfs_source *a, const struct pfs_source *b);

/* ---- stages ---- */

/* Bytes of a large document that were written over its base; later ones win. */
struct pfs_stage_extent {
	uint64_t off, len;
	struct pfs_segment *segment; /* NULL: zeros */
	uint64_t record_off;
	uint32_t record_len;
	uint32_t data_off; /* of the extent's first byte in the record */
};

struct pfs_stage {
	pthread_mutex_t
		lock; /* innermost but the journal's: held to copy or change, never across I/O */
	struct pfs_source
		base; /* not RECORD with BLOCKS unset and over a block; may be another stage */
	uint64_t base_size; /* bytes of the base that still show */
	uint64_t size;
	struct pfs_stage_extent *extents; /* ascending, disjoint */
	size_t count, cap;

	/* Commit lock. */
	unsigned refs;
	uint64_t batch;
	int64_t written_ns; /* monotonic time of the last change */
	uint64_t dense;	 /* bytes that may be other than zero, at most; whole blocks are counted for
			    parts */
	uint64_t logged; /* data bytes in its records */
	struct pfs_segment **pins;
	size_t pin_count, pin_cap;
	struct pfs_stage *limbo_next; /* once nobody refers to it: of those to be freed */
};

/* A stage over base (whose reference it takes over) that shows `size` bytes of it. */
struct pfs_stage *pfs_stage_new(const struct pfs_source *base, uint64_t size);
/* Commit lock. Drops a reference; the last one unpins its segments and returns the stage to be
 * freed after an epoch with pfs_stage_free, else NULL. */
struct pfs_stage *pfs_stage_unref(struct pfs_stage *stage);
void pfs_stage_free(struct pfs_stage *stage);

/* Memory for one more extent and pin, so that the change itself can't fail. */
int pfs_stage_reserve(struct pfs_stage *stage);

/* Keeps the segment from being recycled while the stage lives. After a reserve. */
void pfs_stage_pin(struct pfs_stage *stage, struct pfs_segment *segment);

#define PFS_STAGE_ZEROS 0u

/* Sets the size, then puts [off, off+len): data at data_off of the record, or zeros. len may be 0.
 * Pins the record's segment. */
void pfs_stage_change(struct pfs_stage *stage, uint64_t new_size, uint64_t off, uint64_t len,
		      const struct pfs_journal_pos *pos, uint32_t data_off);

/* Copies what covers [off, off + len) into a malloc'ed array (*out NULL when there is nothing),
 * clipped to that range; also the state of the base at that moment. -ENOMEM. */
int pfs_stage_collect(struct pfs_stage *stage, uint64_t off, uint64_t len,
		      struct pfs_stage_extent **out, size_t *count, struct pfs_source *base,
		      uint64_t *base_size, uint64_t *size);

/* Replaces the base by what it has become in a page; returns the former one. */
struct pfs_source pfs_stage_rebase(struct pfs_stage *stage, const struct pfs_source *base);

#endif
