/* Rank 5: the public interface of libpayload, a crash-safe store of small documents under ids.
 *
 * Terms. A *key* names a document (key.h). An *object* is a document while the store is open: it
 * has a number (never 0 or 1) that stays with it through updates, compaction and renames, until it
 * is removed and released. A *cookie* is the place of a name in listings; it stays with the name
 * when another object is renamed over it.
 *
 * Threads. Every function may be called from any thread at any time on an open store (but
 * pfs_store_close, alone). Readers (lookup, getattr, read, get, list) never wait for a writer, a
 * commit or the writer thread that moves committed records to the pages.
 *
 * Durability. When a changing function returns 0 the change is in the journal: visible to every
 * reader and safe from the death of the process; it survives a power cut once a sync function
 * called later returns 0, or at the latest after commit_ms. One exception: a truncation to zero and
 * a creation are *held* in memory until a write, a sync of the object, another change of it, or
 * PFS_HOLD_TICKS commit ticks, so that no crash leaves an empty document where a program was about
 * to write one.
 *
 * Errors are negative errno values:
 *  -ENOENT no such key or object; -EEXIST; -EINVAL; -EFBIG over PFS_PAYLOAD_MAX; -ENOSPC; -ENOMEM;
 *  -EROFS the store was opened read-only, or turned read-only after a failed sync (the log says
 * why); -EIO what was asked for is damaged on disk or could not be read (logged with its place). */
#ifndef PFS_STORE_H
#define PFS_STORE_H

#include <stdio.h>
#include <sys/types.h>

#include "storage/base.h"
#include "storage/key.h"
#include "storage/log.h"

struct pfs_store;
struct pfs_io;

#define PFS_PAYLOAD_MAX PFS_GIB
#define PFS_PAGE_SIZE_DEFAULT (32 * PFS_MIB)
#define PFS_PAGE_SIZE_MIN (64 * PFS_KIB)
#define PFS_PAGE_SIZE_MAX PFS_GIB
#define PFS_MIN_VALUE_DEFAULT 128
#define PFS_MIN_VALUE_MIN 16
#define PFS_MIN_VALUE_MAX 4096
#define PFS_HOLD_TICKS 3
#define PFS_WHOLE_WRITE_MAX \
	PFS_MIB /* a write of up to this that covers the whole document is one atomic record */
#define PFS_OBJECT_FIRST 2 /* the smallest object number and cookie */

typedef void pfs_progress_fn(void *arg, uint64_t done, uint64_t total); /* bytes */

/* ---- creating, opening, closing ---- */

/* Owner and permissions of documents that have none of their own; such documents store no attribute
 * bytes. */
struct pfs_defaults {
	uint32_t mode; /* permission bits, 07777 */
	uint32_t uid, gid;
};

struct pfs_create_options {
	uint64_t page_size;	 /* 0: default. Power of two, PFS_PAGE_SIZE_MIN..MAX */
	uint32_t min_value_size; /* 0: default. PFS_MIN_VALUE_MIN..MAX */
	bool dict_off;		 /* recorded: openings that say nothing else use none */
	const struct pfs_io *io; /* NULL: files */
};

/* Makes a store in directory path (made when missing). -EEXIST: there is one already. -ENOTEMPTY:
 * the directory holds other things. -ENOTDIR. -EINVAL: sizes. Nothing is changed on error but a
 * directory that was made. */
int pfs_store_create(const char *path, const struct pfs_create_options *options,
		     struct pfs_reason *reason);

/* Whether new values are packed with a dictionary, and one is trained by itself. */
enum pfs_dict_use {
	PFS_DICT_AS_RECORDED, /* as the store was made */
	PFS_DICT_AUTO,	      /* these hold for one opening */
	PFS_DICT_OFF,
};

/* What the option dict= of the programs says. False: neither auto nor off. */
static inline bool pfs_dict_use_parse(const char *text, enum pfs_dict_use *use)
{
	bool off = strcmp(text, "off") == 0;

	*use = off ? PFS_DICT_OFF : PFS_DICT_AUTO;
	return off || strcmp(text, "auto") == 0;
}

/* How what is published is read over a network. All zero: defaults. */
struct pfs_remote_options {
	const char *cache_dir; /* NULL: in memory only */
	uint64_t cache_size;   /* bytes of disk; 0: 1 GiB */
	unsigned timeout_ms;   /* until a request is given up; 0: the backend's */
};

struct pfs_open_options {
	bool read_only;	   /* shared with other readers; replays nothing to disk */
	bool hold_objects; /* removed objects stay readable and their numbers taken until
			      pfs_release */
	enum pfs_dict_use dict;
	bool manual; /* tests: no threads; pfs_store_tick and pfs_store_checkpoint are called by
			hand */
	unsigned commit_ms;    /* 0: 1000 */
	unsigned lock_wait_ms; /* how long to wait for another holder before -EBUSY */
	const struct pfs_defaults
		*defaults; /* recorded in the store by the first read-write opening that gives them;
			      afterwards the recorded ones hold. NULL: root:root 0644 until then */
	uint64_t journal_max; /* 0: by the store's size. Bytes of journal at which writers wait
			       */
	const struct pfs_remote_options *remote; /* NULL: defaults */
	const struct pfs_io *io;		 /* NULL: files */
	struct pfs_logger logger;
};

/* -ENOENT no such directory or no store in it; -ENOTDIR; -EBUSY another process holds it;
 * -EPROTONOSUPPORT a newer format or unknown features; -EUCLEAN the superblock is damaged; -EROFS
 * writing asked on a read-only filesystem. */
int pfs_store_open(struct pfs_store **out, const char *path, const struct pfs_open_options *options,
		   struct pfs_reason *reason);

/* ---- published collections ---- */

/* A published collection (FORMAT.md) is opened like a store, read-only: by the URL of one, or by
 * the directory of one. Everything that reads works on it; what would change it gives -EROFS.
 * Objects are the documents of one generation; cookies are in the order of keys. Its sequence is
 * the number of the generation. */

/* Whether path is a URL, or a directory with a published collection instead of a store. io NULL:
 * files. */
bool pfs_store_is_published(const char *path, const struct pfs_io *io);

struct pfs_refreshed {
	uint32_t generation; /* that is the current one now */
	bool changed;	     /* it was another one before: */
	uint32_t first, end; /* whose objects had these numbers, end not included */
};

/* Takes up the generation that is current now. Objects of the one before go on being read by their
 * numbers; lookups and listings that begin from now on find the new ones. Whoever keeps numbers
 * then gives up what he knows of the range, and calls pfs_store_forget when he refers to none of
 * it. An error: all is as before (the reason is logged, once until it works again). -EOPNOTSUPP: it
 * is no published collection. */
int pfs_store_refresh(struct pfs_store *store, struct pfs_refreshed *out);

/* Nobody refers to the numbers of the range that began with first any more: the generation is
 * dropped, but not before another one has taken the place of the one after it, so that listings can
 * go on. */
void pfs_store_forget(struct pfs_store *store, uint32_t first);

/* What a collection was read from: counts since it was opened, of chunks of 64 KiB. */
struct pfs_remote_stat {
	uint64_t memory_hits;	/* chunks that were in memory */
	uint64_t disk_hits;	/* in the cache directory */
	uint64_t fetched;	/* that came from the origin */
	uint64_t fetches;	/* requests for these */
	uint64_t fetched_bytes; /* what they brought */
	uint64_t failed;	/* requests that brought an error */
	uint64_t wrong;		/* chunks from the origin or the directory that did not verify */
	uint64_t memory_bytes, disk_bytes; /* now, of memory and directory */
	uint64_t evicted;		   /* objects that were removed from the directory */
};

/* -EOPNOTSUPP: it is no published collection. */
int pfs_store_remote_stat(struct pfs_store *store, struct pfs_remote_stat *out);

/* The version of libcurl, which speaks with servers; NULL: built without. */
const char *pfs_store_http(void);

/* ---- closing ---- */

/* Logs what is held, makes everything durable, moves it to the pages, saves the index. The store is
 * gone afterwards, whatever is returned; an error says that this was not all possible (the next
 * opening then replays). */
int pfs_store_close(struct pfs_store *store);

/* ---- objects ---- */

struct pfs_attr {
	uint64_t size;	  /* bytes of the payload */
	uint64_t stored;  /* bytes of its container in a page, or of its record in the journal */
	int64_t mtime_ns; /* since the epoch */
	uint32_t mode;	  /* permission bits, 07777 */
	uint32_t uid, gid;
	uint32_t nlink; /* 1; 0 for a removed object that is still held */
};

enum pfs_attr_mask {
	PFS_ATTR_MODE = 1,
	PFS_ATTR_UID = 2,
	PFS_ATTR_GID = 4,
	PFS_ATTR_MTIME = 8,
	PFS_ATTR_SIZE = 16,
};

/* -ENOENT. attr may be NULL. */
int pfs_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
	       struct pfs_attr *attr);

/* Also for removed objects that are held. */
int pfs_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr);

/* The key under which the object stands now. -ENOENT for a removed one. */
int pfs_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key);

/* Reads up to len bytes at off: the count, short only at the end of the payload. Consistent: bytes
 * of one version. Of a large payload only the blocks that are touched are decoded. */
ssize_t pfs_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf, size_t len);

/* Makes an empty document; it is held (see above). attr gives mode, uid, gid, mtime. -EEXIST (then
 * *object, if it is not NULL, is that of the document which is there). */
int pfs_create(struct pfs_store *store, const struct pfs_key *key, const struct pfs_attr *attr,
	       uint32_t *object);

#define PFS_MTIME_KEEP INT64_MIN /* for pfs_write: the time stays as it is */

/* Writes len bytes at off, growing the document where needed (a gap reads as zeros). One record,
 * atomic. When it covers the whole new content (off 0, at least the old size, or the truncation is
 * held) it replaces it. len up to PFS_WHOLE_WRITE_MAX; longer writes are split. */
int pfs_write(struct pfs_store *store, uint32_t object, uint64_t off, const void *data, size_t len,
	      int64_t mtime_ns);

/* Zeroes [off, off + len) inside the document, which does not grow. */
int pfs_zero(struct pfs_store *store, uint32_t object, uint64_t off, uint64_t len,
	     int64_t mtime_ns);

/* Sets what mask names. PFS_ATTR_SIZE to 0 on a non-empty document is held. *out, if not NULL: the
 * result. */
int pfs_setattr(struct pfs_store *store, uint32_t object, unsigned mask,
		const struct pfs_attr *attr, struct pfs_attr *out);

/* Removes a document. *object (if not NULL) is its number, which stays readable until released when
 * the store was opened with hold_objects. Never throttled. */
int pfs_remove(struct pfs_store *store, const struct pfs_key *key, uint32_t *object);

enum pfs_rename_flags {
	PFS_RENAME_NOREPLACE = 1, /* -EEXIST when the target is there */
	PFS_RENAME_EXCHANGE = 2,  /* both must be there */
};

/* Atomic, one record. *replaced (if not NULL): the number of the object that lost its name, or 0.
 * Never throttled. */
int pfs_rename(struct pfs_store *store, const struct pfs_key *from, const struct pfs_key *to,
	       unsigned flags, uint32_t *replaced);

/* With hold_objects: nobody refers to the number of a removed object any more. It is dropped, and
 * its number may be given to another. Once for each object that was removed or replaced; does
 * nothing to one that has a name, and nothing without hold_objects. */
void pfs_release(struct pfs_store *store, uint32_t object);

/* With hold_objects: nobody refers to the number of an object that was renamed over another. The
 * store gives it a number by which its place in listings is found without a table; the old number
 * may be given to another. Never waits. -EALREADY: nothing to do, the number stays; -EAGAIN: not
 * now. */
int pfs_tidy(struct pfs_store *store, uint32_t object);

/* ---- whole documents by key ---- */

enum pfs_put_flags {
	PFS_PUT_NEW_OBJECT =
		1, /* a document that is there is replaced by a new object, as by rename */
	PFS_PUT_MTIME_ONLY = 2, /* of attr only mtime_ns counts, for the rest it is as if NULL:
				   documents of one time take six bytes less each than of many */
};

/* Puts a whole document, atomically, of any size up to PFS_PAYLOAD_MAX. attr NULL: keeps mode and
 * owner of a document that is there, else the defaults; mtime now. *replaced as in pfs_rename (only
 * with NEW_OBJECT). */
int pfs_put(struct pfs_store *store, const struct pfs_key *key, const void *data, size_t len,
	    const struct pfs_attr *attr, unsigned flags, uint32_t *replaced);

/* Whether a put failed for the document's own sake: others can be put all the same. */
static inline bool pfs_put_is_own_fault(int err)
{
	return err == -EFBIG || err == -EINVAL || err == -ENAMETOOLONG;
}

/* pfs_put of several, one after the other, in less time than one by one: their records are written
 * together. Each is put whole or not at all, and a later one is never there without those before
 * it. Returns how many were put, from the first on; when that is not all of them, *err says why not
 * the next one, which has changed nothing. */
struct pfs_put_item {
	struct pfs_key key;
	const void *data;
	size_t len;
	const struct pfs_attr *attr;
	unsigned flags;
	uint32_t replaced; /* set */
};
size_t pfs_put_many(struct pfs_store *store, struct pfs_put_item *items, size_t count, int *err);

/* The same as pfs_put for data that comes in pieces: begin, write..., then commit or abort; both
 * free *put. */
struct pfs_put;
int pfs_put_begin(struct pfs_store *store, struct pfs_put **put);
int pfs_put_write(struct pfs_put *put, const void *data, size_t len);
int pfs_put_commit(struct pfs_put *put, const struct pfs_key *key, const struct pfs_attr *attr,
		   unsigned flags, uint32_t *replaced);
void pfs_put_abort(struct pfs_put *put);

/* Reads a whole document: *data is malloc'ed (never NULL on success, also for len 0), the caller
 * frees it. -EAGAIN: it is a large one that is being written, and had another size each time. */
int pfs_get(struct pfs_store *store, const struct pfs_key *key, void **data, size_t *len,
	    struct pfs_attr *attr);

/* The same of several, each as if read alone (not all of one moment), in less time than one after
 * the other: their places are looked for together. out: count elements, each with its own result;
 * data is NULL where err is not 0. */
struct pfs_got {
	int err;
	void *data;
	size_t len;
	struct pfs_attr attr;
};
void pfs_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
		  struct pfs_got *out);

/* ---- listing ---- */

struct pfs_listed {
	uint32_t object;
	uint64_t cookie; /* continue behind this one */
	struct pfs_key key;
};

/* Fills up to max names whose cookies are above after (0: from the start), ascending; returns how
 * many, 0 at the end. A name that is there from before the first call until after the last is
 * listed exactly once, whatever happens to others. -ESTALE: `after` is of a published generation
 * that is gone. */
ssize_t pfs_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out, size_t max);

/* ---- snapshots ---- */

/* A moment of the store that stays readable while the store goes on: what was logged when it was
 * opened, no more and no less. What is held then (a truncation or creation that its write is still
 * to come for) is not in it, as after a crash at that moment; pfs_sync before puts it in.
 *
 * Any number at once, from any threads; one snapshot may be read by several threads. Its readers
 * never wait for a writer, a commit or a checkpoint, and no writer waits for them. In memory only:
 * the store on disk knows nothing of it.
 *
 * Cost. Opening one is a checkpoint, for which nobody but the caller waits. While it is open, each
 * document that is changed, removed or made for the first time takes some 100 bytes of memory,
 * whatever the number of snapshots; nothing is copied. The former container of a changed document
 * stays where it is: it is not overwritten in place and its space not given to others before the
 * last snapshot that shows it is closed (pinned_bytes of pfs_store_stat; the page is kept, too). On
 * a full disk writers then get -ENOSPC earlier, and pages are emptied by compaction only as far as
 * nothing in them is pinned. No dictionary is dropped. The journal goes on being recycled. */
struct pfs_snapshot;

struct pfs_snapshot_info {
	uint64_t sequence;	  /* of the last change that it shows */
	uint64_t points, scratch; /* documents by kind */
	uint64_t raw_bytes;	  /* payload bytes of both */
	int64_t opened_ns;	  /* the moment, since the epoch */
};

/* -ENOSPC: the checkpoint found no room; -ENOMEM; -EROFS: the store has failed meanwhile. A store
 * that is read-only from the beginning, or has failed before, gives one all the same. */
int pfs_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out);

/* Once for each that was opened, when nobody reads it any more, and before pfs_store_close. What it
 * alone has pinned is free for others. NULL is allowed. */
void pfs_snapshot_close(struct pfs_snapshot *snapshot);

void pfs_snapshot_info(const struct pfs_snapshot *snapshot, struct pfs_snapshot_info *out);

/* The same as of an open store, at that moment. -ENOENT: there was no such document. attr may be
 * NULL. */
int pfs_snapshot_lookup(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			struct pfs_attr *attr);

/* The same with the sequence of the last change of the document, which the snapshot has seen. */
int pfs_snapshot_lookup_change(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			       struct pfs_attr *attr, uint64_t *sequence);

/* The length of the payload, and whether it is one JSON value in one line, without reading it: what
 * is published says so with its keys. -ENOENT; -EIO; -EOPNOTSUPP: it has to be read. */
int pfs_snapshot_glance(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t *size,
			bool *line);

/* Up to len bytes at off: the count, short only at the end of the payload. A large document can be
 * read piece by piece: all calls see the same bytes. */
ssize_t pfs_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t off,
			  void *buf, size_t len);

/* A whole document: *data is malloc'ed (never NULL on success), the caller frees it. */
int pfs_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key, void **data,
		     size_t *len, struct pfs_attr *attr);

struct pfs_snapshot_name {
	uint64_t cookie; /* continue behind this one */
	struct pfs_key key;
};

/* Fills up to max names whose cookies are above after (0: from the start), ascending; returns how
 * many, 0 at the end. Each name that was there is listed exactly once, in the same order by every
 * walk. Nothing is held between two calls. A name that is damaged on disk is left out. */
ssize_t pfs_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
			  struct pfs_snapshot_name *out, size_t max);

/* ---- durability ---- */

/* Everything that has returned so far, and everything held, survives power loss afterwards. */
int pfs_sync(struct pfs_store *store);

/* The same for one object: what is held of it is logged, then the journal is made durable. */
int pfs_sync_object(struct pfs_store *store, uint32_t object);

/* The same for who does not want to wait on its thread: fn is called once with the result, here or
 * by another thread that syncs, possibly before this returns. It must be quick and may not call the
 * store. Of many callers at once one syncs for all and returns when no more of them come. */
typedef void pfs_synced_fn(void *arg, int err);
void pfs_sync_object_then(struct pfs_store *store, uint32_t object, pfs_synced_fn *fn, void *arg);

/* What the background threads do, for stores opened `manual`. */
int pfs_store_tick(struct pfs_store *store); /* one commit tick */
int pfs_store_checkpoint(
	struct pfs_store *store); /* move all durable records to the pages, recycle the journal */
/* One bounded step of compaction, which moves values out of the page with the most dead bytes and
 * gives it back in the end. eager: however few they are. 1: there is more to do, 0: there is not,
 * or an error. */
int pfs_store_compact_step(struct pfs_store *store, bool eager);

/* ---- compaction ---- */

/* Packs everything: values of pages with noticeable free space, or that are out of the order of
 * their ids, or could be smaller, are laid into new pages in that order, packed with LZ4HC and the
 * newest dictionary, which may be one that is made for this from all over the store; older ones are
 * needed no longer. What is packed already stays. Nobody waits
 * for it; it may be called while the store is used, and returns when it is done. In the worst case
 * it needs room for a second copy; where there is none, only free space is given back, which needs
 * room for a page. done and total of the progress are bytes of containers. -ENOSPC: there is no
 * room for that either; -EBUSY: another compaction is at work; -ECANCELED: *stop was set meanwhile.
 * What was done until then stays. */
struct pfs_compact_result {
	uint64_t values, bytes; /* moved */
	uint64_t pages_before, pages_after;
	uint64_t disk_before, disk_after; /* bytes of page files */
};
int pfs_store_compact(struct pfs_store *store, pfs_progress_fn *progress, void *arg,
		      const bool *stop, struct pfs_compact_result *result);

/* ---- dictionaries ---- */

/* The version of libzstd, which makes dictionaries; NULL: built without. */
const char *pfs_store_trainer(void);

/* What a program without one says when it is asked for dictionaries. */
#define PFS_WITHOUT_TRAINER                                                                       \
	"built without libzstd, which makes dictionaries: those that are there are used, no new " \
	"ones can be made"

struct pfs_train_result {
	uint64_t samples, sample_bytes;
	uint64_t raw;	 /* bytes of samples that were held out */
	uint64_t before; /* what these take as new values are packed now */
	uint64_t packed; /* and with the dictionary that was made */
	uint32_t number; /* of the dictionary that new values are packed with now; 0: none was made
			  */
	uint64_t length;
};

/* Makes a dictionary from the points that are there, durably; new values are packed with it from
 * then on, and read by nobody without it. Blocks no reader and no writer. force: also when it is
 * hardly better than what is used now. -ENODATA: too few points, or they have too little in common.
 * -EALREADY: it would not be better (*result says how much). -EPERM: dictionaries are off.
 * -EOPNOTSUPP: built without libzstd. -EROFS, -ENOSPC, -ENOMEM. */
int pfs_train(struct pfs_store *store, bool force, struct pfs_train_result *result);

/* The least that a store trains from by itself. */
#define PFS_TRAIN_POINTS_MIN 1000
#define PFS_TRAIN_RAW_MIN (256 * PFS_KIB)

/* Makes the dictionary from documents that are going to be put: count of them, one after the other
 * (lens: their lengths), a sample of what comes, so that the first of them are packed with it
 * already. Up to PFS_TRAIN_FROM_BYTES and _COUNT; more are ignored. Errors as of pfs_train;
 * -EALREADY also when the store has as many dictionaries as it makes by itself. */
#define PFS_TRAIN_FROM_BYTES (1664 * PFS_KIB) /* with their lengths in one message of wire.h */
#define PFS_TRAIN_FROM_COUNT 65536u
int pfs_train_from(struct pfs_store *store, const void *samples, const size_t *lens, size_t count,
		   struct pfs_train_result *result);

/* ---- looking at it ---- */

struct pfs_store_stat {
	uint64_t points, scratch; /* documents by kind */
	uint64_t raw_bytes;	  /* payload bytes of both */
	uint64_t container_bytes; /* their containers */
	uint64_t slot_bytes;	  /* live slots */
	uint64_t used_bytes;	  /* containers in pages, with those of changes on their way */
	uint64_t hole_bytes;	  /* free between them */
	uint64_t gap_bytes;	  /* never used yet; takes no disk but for what is reserved ahead */
	uint64_t free_bytes;	  /* free and on disk: holes, slots, what is reserved ahead */
	uint64_t dead_bytes;	  /* of these, what compaction could give back */
	uint64_t dead_max;	  /* above it compaction begins by itself, or goes on */
	uint64_t disk_bytes;	  /* blocks of pages and journal; of what is published, all of it */
	uint64_t page_bytes;	  /* of these, of the pages */
	uint64_t pages, page_size, min_value_size;
	uint64_t journal_bytes; /* journal that is not yet applied */
	uint64_t sequence, durable_sequence;
	uint64_t blocks_decoded; /* counters since opening */
	uint64_t records, syncs, checkpoints, relocations, in_place;
	uint64_t moved_values, moved_bytes, retired_pages; /* by compaction */
	uint64_t space_total,
		space_available; /* of the filesystem beneath; available counts free_bytes too */
	uint64_t index_bytes;	 /* private memory of the index */
	uint32_t format_version;
	uint32_t dictionaries, dictionary; /* how many there are; the one of new values, 0: none */
	uint64_t dictionary_users;	   /* documents that need one */
	/* Of samples that the one of new values was not made from, as they are and packed with it;
	 * 0: not known. */
	uint64_t dictionary_raw, dictionary_packed;
	uint64_t snapshots;	  /* that are open */
	uint64_t snapshot_age_ns; /* of the oldest */
	uint64_t pinned_bytes;	  /* of used_bytes: only snapshots need them any more */
	uint64_t snapshot_memory; /* private memory of all of them */
	bool dictionary_off;	  /* new documents are packed without, for as long as it is open */
	bool dictionary_off_recorded;  /* the store was made so */
	bool dictionary_trainer;       /* built with what makes them */
	bool doubt;		       /* there may be documents whose ids are not known */
	bool read_only;		       /* also after a failed sync */
	uint64_t published_generation; /* of a published collection; 0: it is a store */
	uint64_t published_ns;	       /* and the moment that it shows, since the epoch */
	uint64_t identity[2];	       /* UUID of the store, two halves as little-endian integers */
	struct pfs_defaults defaults;
	bool defaults_recorded; /* else the next opening that gives some sets them */
};
/* While a writer waits for the disk, the numbers of the last call that got them. */
int pfs_store_stat(struct pfs_store *store, struct pfs_store_stat *out);

/* The members of a JSON object that tell it, from "points" on, without braces: those that
 * payloadctl(1) describes. Returns the length, below PFS_STAT_JSON_MAX. */
#define PFS_STAT_JSON_MAX 4096
size_t pfs_store_stat_json(char *text, size_t cap, const struct pfs_store_stat *stat);

/* The sequence of the last change that was logged: every change that has returned before has this
 * one or a lower one. Waits for nothing. */
uint64_t pfs_store_sequence(const struct pfs_store *store);

/* One page: what pfs_store_stat sums up. */
struct pfs_page_stat {
	uint32_t number;
	uint32_t slots, free_slots; /* that were ever used; of these, free for reuse */
	uint64_t size, disk;	    /* bytes of its file, and blocks that this takes */
	uint64_t used;		    /* bytes of containers, with those of changes on their way */
	uint64_t holes, gap;	    /* free between them; never used yet */
	uint64_t free;		    /* free and on disk */
	uint64_t pinned;	    /* of used: only snapshots need them any more */
	uint64_t live;		    /* used, and slots in use, without what is pinned */
	uint64_t dead;		    /* of free: what compaction could give back */
	bool worth;    /* so much of its disk that compaction, at work, would empty it */
	bool closed;   /* takes nothing: it is being emptied */
	bool retiring; /* empty, about to be removed */
	bool unusable; /* damaged: takes nothing until it is repaired */
};

/* All pages at one moment, in the order of their numbers: *out is malloc'ed (never NULL on
 * success), the caller frees it. May wait for a writer that waits for the disk. -ENOMEM, -EIO. */
int pfs_store_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count);

/* Where a document lies. */
struct pfs_place {
	bool in_journal; /* not yet applied: page, slot and offset are 0 */
	uint32_t page, slot;
	uint64_t offset;	/* of the container in its page */
	uint64_t container_len; /* as allocated */
	uint64_t packed_len;	/* of it header and packed bytes; in the journal the latter alone */
	uint64_t sequence;
	uint32_t dictionary; /* 0: none */
	uint32_t checksum;   /* CRC32C of the container */
	bool compressed;
	uint64_t blocks; /* independent blocks, 0 for a small value */
};
int pfs_place(struct pfs_store *store, const struct pfs_key *key, struct pfs_place *out);

/* ---- check ---- */

struct pfs_finding {
	bool fatal;	/* false: a remark that needs nothing done */
	char where[64]; /* file */
	uint64_t offset;
	struct pfs_key key; /* kind NONE when no id is concerned */
	char text[256];
};
typedef void pfs_finding_fn(void *arg, const struct pfs_finding *finding);

struct pfs_check_result {
	uint64_t findings, documents, damaged, pages, bytes;
};

/* Checks a store directory that nobody writes (opened read-only and shared): every header, slot and
 * value, the journal, the saved index. Opens damaged stores. What is found is given to fn, or
 * logged where that is NULL. 0 when it could be checked at all, whatever was found. */
int pfs_check(const char *path, const struct pfs_io *io, const struct pfs_logger *logger,
	      pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
	      struct pfs_check_result *result, struct pfs_reason *reason);

/* ---- repair ---- */

/* What a repair has done. Of a document that was damaged, one of these counts. */
struct pfs_repair_result {
	uint64_t faults;    /* places in which something was wrong; 0: nothing was changed */
	uint64_t corrected; /* documents whose value is to be had again */
	uint64_t lost;	    /* documents that are gone, as far as they can be told */
	uint64_t unknown;   /* losses of which it can't be told what they held */
	uint64_t kept;	    /* entries that the file `quarantine` got */
	uint64_t files;	    /* files set aside as a whole */
	uint64_t documents; /* that are there now */
};

/* Makes a store of which pfs_check finds nothing from one that is damaged, in place. All that can
 * be reached stays. What can't is told to fn, one finding each (fatal: something is lost), and is
 * first of all kept aside in the store's directory (FORMAT.md, "quarantine"): nothing is destroyed.
 * The store must not be open: it is locked meanwhile. May be cut off anywhere, by a power cut too,
 * and be called again. The progress is that of several runs through the store and begins anew with
 * each.
 *
 * 0: pfs_check finds nothing now (remarks on files that are no part of the store left out).
 * -ENOENT, -ENOTDIR, -EBUSY, -EPROTONOSUPPORT, -EROFS as for pfs_store_open. -EUCLEAN: it can't be
 * repaired. Any other error: what was needed could not be read or written; nothing is worse than
 * before, and what was done is done. The reason says why. */
int pfs_repair(const char *path, const struct pfs_io *io, const struct pfs_logger *logger,
	       pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
	       struct pfs_repair_result *result, struct pfs_reason *reason);

/* ---- check of an open store ---- */

/* The same as pfs_check for the pages of an open store: verifies every document that is there.
 * -ECANCELED: *stop (may be NULL) was set meanwhile, by any thread or by fn and progress, of which
 * progress is called after each mebibyte or some hundred documents. */
int pfs_store_check(struct pfs_store *store, pfs_finding_fn *fn, pfs_progress_fn *progress,
		    void *arg, const bool *stop, struct pfs_check_result *result);

#endif
