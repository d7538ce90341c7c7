/* Rank 5: the inside of a store, shared by the store_*.c files and by nobody else.
 *
 * Lock order, outermost first:
 *   compact     one compaction at a time
 *   train       one training at a time
 *   checkpoint  one checkpoint at a time; the writer thread and callers that need room
 *   commit      all changes of what the store knows; held for a record's write, never for a sync
 *   wake        sleeping and waking of the threads
 *   stage->lock, journal's lock, index's lock, snapshots.lock   innermost, for a copy
 * Readers take none but a stage's, inside an epoch section; those of snapshots the last, too. */
#ifndef PFS_STORE_INTERNAL_H
#define PFS_STORE_INTERNAL_H

#include <pthread.h>

#include "storage/codec.h"
#include "storage/index.h"
#include "storage/io.h"
#include "storage/journal.h"
#include "storage/monotonic.h"
#include "storage/pager.h"
#include "storage/pending.h"
#include "storage/store.h"
#include "storage/store_own.h"
#include "storage/store_snapshot.h"
#include "storage/super.h"

/* A container that is decoded at once: a small document's, or the header of a large one's. */
#define PFS_SMALL_MAX (PFS_CONTAINER_HEADER_MAX + PFS_BLOCK_LEN)

/* Live journal, stages left out, at which writers wait for room: a share of what is live, within
 * limits. A quarter of it starts a checkpoint, which gives nothing back before its end: only when
 * as much again has come meanwhile are writers slowed, the more the nearer it comes. Earlier, they
 * would be kept waiting by checkpoints that are fast enough. Until it is applied each byte of it
 * takes another one in the pages, so that the disk has some twice of what is here beside what is
 * live. */
#define PFS_JOURNAL_MAX_DIV 6
#define PFS_JOURNAL_MAX_LOW (64 * PFS_MIB)
#define PFS_JOURNAL_MAX_HIGH (256 * PFS_MIB)
#define PFS_JOURNAL_SOFT_DIV 4
#define PFS_JOURNAL_SLOW_DIV 2
#define PFS_STAGE_JOURNAL_MAX \
	(1280 * PFS_MIB) /* journal that documents under heavy writing may pin */
#define PFS_STAGE_EXTENTS_MAX 65536u
#define PFS_STAGE_QUIET_NS (2 * PFS_NSEC_PER_SEC)
#define PFS_IDLE_CHECKPOINT_NS (5 * PFS_NSEC_PER_SEC)
/* Spare segments: when there are fewer than so many, more are made; up to so many; and so many are
 * kept while nobody changes anything. */
#define PFS_SPARES_LOW 4u
#define PFS_SPARES_MADE 6u
#define PFS_SPARES_IDLE 4u
#define PFS_CONTENT_EPOCH_SHIFT 36 /* in content numbers */
#define PFS_RESERVE_NAME "reserve"
/* Lets removing and renaming work on a full disk, and replaying after a crash there: a segment of
 * the journal, and what the places that replaying finds take more than those that were lost. */
#define PFS_RESERVE_BYTES (PFS_SEGMENT_SIZE + PFS_MIB)
/* What of it a closed store keeps, so that removing works when it is opened on a full disk: three
 * short segments, which are the live one, that of a checkpoint, and that of a replay between them,
 * and some blocks for what a filesystem needs besides. */
#define PFS_RESERVE_CLOSED (4 * PFS_SEGMENT_SHORT)

struct pfs_counters {
	uint64_t blocks_decoded, records, checkpoints, relocations, in_place, syncs;
	uint64_t moved_values, moved_bytes, retired_pages; /* by compaction */
};

/* Compact lock. */
struct pfs_compaction {
	uint32_t victim;    /* page that is being emptied; 0: none */
	uint32_t cursor;    /* its next slot */
	unsigned passes;    /* over its slots */
	uint64_t unapplied; /* bytes and values moved since the last checkpoint */
	uint32_t unapplied_values;
	bool running;	/* the waste has been too much and is not little enough yet */
	uint64_t run;	/* of a full compaction */
	uint64_t moved; /* bytes, since opening */
};

/* store_dict.c */
struct pfs_dict {
	uint32_t number;
	struct pfs_codec_dict *codec; /* NULL: no copy of the file is good */
	uint64_t raw, packed;	      /* of samples: what it promises; 0: not known */
	uint64_t first_seq;	      /* values from this on may be packed with it */
	uint64_t packing;	      /* atomic: values packed with it that are not published yet */
	/* Commit lock. */
	uint64_t users;	   /* versions that name it, which are what an object is */
	uint64_t last_seq; /* of the last change after which a document named it or did no more */
};

/* Does not change once it is published. */
struct pfs_dicts {
	size_t count;
	struct pfs_dict *at[]; /* ascending numbers */
};

struct pfs_published;

struct pfs_store {
	struct pfs_published
		*published; /* NULL: it is a store of one's own, and what follows is used */
	const struct pfs_io *io;
	struct pfs_dir *dir;
	struct pfs_super super;
	struct pfs_journal *journal;
	struct pfs_pager *pager;
	struct pfs_index *index;
	struct pfs_logger logger;
	bool opened_read_only, hold_objects, manual;
	bool repairing; /* opened by a repair: goes on over what else is refused; dir is borrowed */
	/* There are documents whose keys are not known: who is not found may be one of them. Set
	 * when the opening is done; replaying must not ask. */
	bool doubt;
	char refusal[256];	/* why the journal can't be replayed */
	uint64_t pages_damaged; /* files of pages that are missing or damaged, at opening */
	bool failed;		/* atomic: a sync or an invariant failed; read-only from then on */
	unsigned commit_ms;
	uint64_t journal_max;	    /* commit lock */
	bool journal_max_set;	    /* by who opened the store */
	uint64_t stage_journal_max; /* PFS_STAGE_JOURNAL_MAX; tests have less */
	struct pfs_defaults defaults;
	uint64_t next_content; /* atomic */
	bool dict_off;	       /* new values are packed without */
	/* Atomic; changed under the commit lock, freed after an epoch. */
	struct pfs_dicts *dicts;
	struct pfs_dict *dict; /* for new values: the newest that is good, or NULL */

	struct pfs_snapshots snapshots;

	pthread_mutex_t train_lock;
	pthread_mutex_t compact_lock;
	struct pfs_compaction compaction;
	bool packing; /* atomic: a full compaction is at work, or waits for a step to end */
	pthread_mutex_t checkpoint_lock;
	pthread_mutex_t commit;
	unsigned waiting; /* atomic: threads that want to change something */
	/* Commit lock. */
	struct pfs_list pending, staged, held;
	struct pfs_list batch; /* taken by the running checkpoint, or by one that failed for lack of
				  space */
	uint64_t batch_below;  /* journal segments below this hold nothing newer than the batch */
	uint64_t batch_number; /* of versions that are made now */
	uint64_t applying;     /* versions up to this batch belong to a checkpoint */
	uint64_t next_temp;
	uint64_t points, scratch, raw_bytes, container_bytes;
	uint64_t journal_kept; /* journal that the last checkpoint could not recycle */
	uint64_t staged_bytes; /* data of stages in the journal */
	bool reserve_dropped;
	bool dict_users_known; /* the dictionaries' users are counted exactly */
	struct {
		uint64_t raw, packed; /* of small values that were put since the last attempt */
		uint64_t drift_at;    /* raw: before that, what they take says nothing */
		uint64_t grow_at;     /* raw_bytes of the store */
	} training;
	struct pfs_counters counters;
	/* Unpublished, to be freed after an epoch. */
	struct pfs_list limbo;
	struct pfs_stage *stage_limbo;

	pthread_mutex_t stat_lock; /* innermost */
	struct pfs_store_stat last_stat;

	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	pthread_t committer, writer;
	struct pfs_team *team; /* NULL: nobody has wanted it yet, or it is not to be had */
	bool threads_running, stopping, checkpoint_wanted, force_wanted;
	bool train_wanted;  /* atomic; set under the wake lock */
	bool spares_wanted; /* atomic; set under the wake lock */
	uint64_t checkpoints_done;
	uint64_t room_made;    /* times that journal segments became free */
	uint64_t slow_debt_ns; /* atomic: what writers are still to wait */
	int64_t changed_ns;    /* atomic, monotonic: the last record */
};

static inline bool pfs_store_is_writable(const struct pfs_store *store)
{
	return !store->opened_read_only && !__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE) &&
	       !(store->journal && pfs_journal_has_failed(store->journal));
}

static inline void pfs_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- store_open.c ---- */

/* For a repair, which has locked dir and keeps it: opens the store in it, over damage that another
 * opening refuses because of what it could not know then. options->io is not used. */
int pfs_store_open_in(struct pfs_store **out, struct pfs_dir *dir, const char *path,
		      const struct pfs_open_options *options, struct pfs_reason *reason);

/* ---- store_threads.c ---- */

/* On an error no thread runs. */
int pfs_threads_start(struct pfs_store *store);
/* Returns when they have ended, if there are any. */
void pfs_threads_stop(struct pfs_store *store);

/* Who packs for others. It is there from the first call on; NULL: do without. */
struct pfs_team *pfs_store_team(struct pfs_store *store);

/* ---- store.c ---- */

/* Logs all that is held. Takes the locks. -ENOSPC: some of it stays held. */
int pfs_log_all_held(struct pfs_store *store);

int64_t pfs_now_realtime(void);

/* The store turns read-only and says why. Returns -EROFS. */
int pfs_store_fail(struct pfs_store *store, const char *what, int err);

/* Commit lock. Frees the version, which is in no list and no word any more (the stage), after the
 * next epoch wait. */
void pfs_limbo(struct pfs_store *store, struct pfs_version *version);
void pfs_limbo_stage(struct pfs_store *store, struct pfs_stage *stage);

/* ---- store_source.c, store_read.c: inside an epoch section or under the commit lock ---- */

/* A document as it stands in one place. */
struct pfs_view {
	struct pfs_version *version; /* NULL: it is in a page */
	uint64_t size, seq;
	int64_t mtime_ns;
	uint32_t mode, uid, gid;
	bool own_attr;
	unsigned kind;
	uint64_t tag;
	uint64_t stored;
	struct pfs_source source;
	struct pfs_extent_at at; /* in a page */
};

/* A container copied out of its page and verified. */
struct pfs_loaded {
	struct pfs_container c;
	struct pfs_slot slot;
	struct pfs_page *page;
	struct pfs_container_base base;
	size_t have;
	uint8_t bytes[PFS_SMALL_MAX];
};

/* -EIO: damaged, logged. */
int pfs_load(struct pfs_store *store, uint32_t page, uint32_t slot, struct pfs_loaded *out);
/* The same of a container whose slot may be another's by now. */
int pfs_load_at(struct pfs_store *store, uint32_t page, const struct pfs_slot *slot,
		struct pfs_loaded *out);

/* Reads [off, off + len) of the payload of what was loaded and is not lost; the range lies inside.
 * -EIO: damaged and logged; -ENOMEM. */
int pfs_loaded_read(struct pfs_store *store, const struct pfs_loaded *loaded, uint64_t off,
		    void *buf, size_t len);

/* The whole payload of what pfs_load_slot loaded, which may be written over meanwhile: nothing is
 * logged. -EUCLEAN, -EIO. */
int pfs_loaded_guess(struct pfs_store *store, const struct pfs_loaded *loaded, void *buf);

/* As pfs_read, of what the word says. Epoch section. */
ssize_t pfs_read_word(struct pfs_store *store, uint64_t word, uint64_t off, void *buf, size_t len);

void pfs_loaded_attr(const struct pfs_store *store, const struct pfs_loaded *loaded,
		     struct pfs_attr *attr);

/* Reports damage at off of the page. Returns -EIO. */
int pfs_page_damaged(struct pfs_store *store, uint32_t page, uint64_t off, const char *why);

/* The same of a slot: the file ends before it, or the device does not give it. */
int pfs_slot_unreadable(struct pfs_store *store, uint32_t page, uint32_t slot);

/* The same for a slot as it stands in the page, which may be any bytes; nothing is logged.
 * -EUCLEAN, -EIO; out->slot is set when it is a plausible one. */
int pfs_load_slot(struct pfs_page *page, const struct pfs_slot_disk *disk, struct pfs_loaded *out);

/* The raw length that a container says, not verified: for the statistics. */
uint64_t pfs_peek_raw_len(const struct pfs_page *page, const struct pfs_slot *slot);

/* Whether it says that it has attributes of its own, not verified. */
bool pfs_peek_own_attr(const struct pfs_page *page, const struct pfs_slot *slot);

/* The raw length and the dictionary that it names. False: it does not verify, and *dict is 0. */
bool pfs_peek_container(struct pfs_page *page, const struct pfs_slot *slot, uint64_t *raw_len,
			uint32_t *dict);

/* What `word` says. -ENOENT for 0, -EIO. */
int pfs_view(struct pfs_store *store, uint64_t word, struct pfs_view *view);

/* What the container at the slot's place says, whatever the page's slots say now. -EIO. */
int pfs_view_at(struct pfs_store *store, uint32_t page, const struct pfs_slot *slot,
		struct pfs_view *view);

/* The word without what is held: 0 if there is nothing else. */
static inline uint64_t pfs_word_unheld(uint64_t word)
{
	const struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	return v && v->held ? __atomic_load_n(&v->under, __ATOMIC_ACQUIRE) : word;
}

/* The name that stands at this place of the listing. -ENOENT: none, or one without a record. */
int pfs_list_logged(struct pfs_store *store, uint32_t cookie, struct pfs_listed *out);

/* The key under which the object stands; word is its own. -ENOENT, -EIO. */
int pfs_object_word_key(struct pfs_store *store, uint32_t object, uint64_t word,
			struct pfs_key *key);

/* The object that has the key, and its word. -ENOENT, -EIO: a damaged document may be the one, or
 * one whose key is not known. */
int pfs_find(struct pfs_store *store, const struct pfs_key *key, uint32_t *object, uint64_t *word);

/* Reads [off, off + len) of the payload that source holds; the range lies inside. -EIO, reported by
 * the caller; -ENOMEM. */
int pfs_source_read(struct pfs_store *store, const struct pfs_source *source, uint64_t off,
		    void *buf, size_t len);

/* Reads up to len bytes at off of what the stage holds: the count, short only at the end of that.
 * Bytes and end are those of one moment, whoever changes it meanwhile. -EIO, reported; -ENOMEM. */
ssize_t pfs_stage_read(struct pfs_store *store, struct pfs_stage *stage, uint64_t off, void *buf,
		       size_t len);

/* The verified body of a small record or container as it is stored: *body points into buf, which
 * has PFS_PACKED_ROOM bytes. -EIO. */
#define PFS_PACKED_ROOM (PFS_SMALL_MAX + 1024)
int pfs_source_packed(struct pfs_store *store, const struct pfs_source *source, uint8_t *buf,
		      const uint8_t **body);

/* A range of the stored blocks of a source with PFS_CONTAINER_BLOCKS, or of its table: the mapping
 * of its body. NULL: it has none. */
const uint8_t *pfs_source_blocks(const struct pfs_source *source, uint64_t *body_len,
				 uint64_t *content);

/* The version gets the attributes that view shows. */
void pfs_version_take_attr(struct pfs_version *version, const struct pfs_view *view);

/* The version holds what view shows: attributes, size, and the source, with a reference. */
void pfs_version_take(struct pfs_version *version, const struct pfs_view *view);

void pfs_view_attr(const struct pfs_store *store, const struct pfs_view *view,
		   struct pfs_attr *attr);

/* ---- store_change.c: building and publishing versions; commit lock ---- */

/* What an object is now, without what is held of it. */
struct pfs_current {
	uint64_t word;	    /* the object's */
	uint64_t base_word; /* the same without a held version */
	struct pfs_version *held, *pending;
	struct pfs_extent_at home;   /* where it is on disk once the running checkpoint is done */
	struct pfs_extent_at unused; /* a target that nothing was written to yet */
	uint64_t extended; /* bytes behind home that a target in place has taken, not written yet */
	uint64_t counted_size, counted_len; /* what the statistics count for it */
	unsigned counted_kind;		    /* PFS_KEY_NONE or TEMP: it does not count */
	uint32_t counted_dict;		    /* whose user it is */
};

int pfs_current(struct pfs_store *store, uint32_t object, struct pfs_current *current);

/* One object's part in a change. */
struct pfs_change {
	uint32_t object;
	struct pfs_current current;
	struct pfs_version *version; /* NULL: the object is removed */
	bool source_leaves; /* the source is a record that the running checkpoint will recycle */
	bool reused, allocated; /* where the version's target came from */
	uint64_t extended;	/* bytes that it took behind home, besides current.extended */
};

/* The version takes over what the object holds, for a change of its attributes or its name. */
void pfs_change_inherit(struct pfs_store *store, struct pfs_change *change,
			const struct pfs_view *view);
/* Finds a place for the version. -ENOSPC: nothing has changed. */
int pfs_change_place(struct pfs_store *store, struct pfs_change *change);
/* Undoes the placing and frees the version. */
void pfs_change_drop(struct pfs_store *store, struct pfs_change *change);
/* Makes the version (with its seq) what the object is. */
void pfs_change_publish(struct pfs_store *store, struct pfs_change *change, uint64_t seq);
/* Its two halves: what readers see, without waiting for anything; and the rest. */
void pfs_change_show(struct pfs_store *store, struct pfs_change *change, uint64_t seq);
void pfs_change_settle(struct pfs_store *store, struct pfs_change *change);

/* Describes the version's container to the pager. */
struct pfs_pager_need pfs_version_need(const struct pfs_version *version, struct pfs_container *c);

/* Takes a reference to the source's stage, if it has one. */
void pfs_source_ref(const struct pfs_source *source);
void pfs_source_unref(struct pfs_store *store, const struct pfs_source *source);

/* A packed payload, ready to be logged. */
struct pfs_packed {
	unsigned flags; /* PFS_CONTAINER_LZ4 or BLOCKS */
	uint64_t raw_len, content;
	uint32_t body_len;
	const uint8_t *body;
	uint8_t *owned;	       /* to be freed */
	struct pfs_dict *dict; /* that it was packed with, held; or NULL */
	bool repacked;	       /* nothing new: it tells nothing of what is put nowadays */
};
/* Whether a payload of this length could take less space when it is packed: not when it fits the
 * smallest container as it is. */
bool pfs_is_worth_packing(const struct pfs_store *store, uint64_t len);
/* What a container with such a body takes, about. */
uint64_t pfs_container_len_usual(const struct pfs_store *store, uint64_t body_len);

/* Packs up to PFS_WHOLE_WRITE_MAX bytes. The body may be `data` itself. with_dict: with the newest
 * dictionary, if there is one; then the record has to be written before pfs_packed_free. */
int pfs_pack(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
	     bool with_dict);
/* The same with a dictionary, of up to PFS_BLOCK_LEN bytes, into room for len bytes, which is the
 * caller's: nothing is allocated, and it can't fail. */
void pfs_pack_small(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
		    uint8_t *room);
/* As pfs_pack for what is there already, with all the time it takes to be small. */
int pfs_repack(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
	       struct pfs_codec_hc *hc);
void pfs_packed_free(struct pfs_packed *packed);

/* ---- store_log.c: commit lock; 0 or why the record could not be written ---- */

/* pfs_journal_release. */
int pfs_log_release(struct pfs_store *store);

/* A put of packed under v's key and attributes; the record becomes v's source. */
int pfs_log_put(struct pfs_store *store, struct pfs_version *v, const struct pfs_packed *packed,
		uint64_t displaced, bool privileged);
/* v's size is the new one. data NULL: zeros. *data_off: where the data stands in the record. */
int pfs_log_patch(struct pfs_store *store, const struct pfs_version *v, uint64_t base, uint64_t off,
		  uint64_t len, const void *data, bool privileged, struct pfs_journal_pos *pos,
		  uint32_t *data_off);
int pfs_log_attr(struct pfs_store *store, const struct pfs_version *v, uint64_t base,
		 bool privileged);
int pfs_log_remove(struct pfs_store *store, const struct pfs_key *key, uint64_t base);
int pfs_log_move(struct pfs_store *store, const struct pfs_key *from, uint64_t from_base,
		 const struct pfs_key *to, uint64_t to_base, uint64_t displaced, bool exchange);

/* ---- store_write.c ---- */

/* Makes a new version of the object that is the same as the present one (commit lock, epoch
 * section; nothing of it is held). It goes to another place, because a container is no source for
 * writing in place. -ENOSPC: nothing has changed. */
int pfs_touch_object(struct pfs_store *store, uint32_t object);

/* Puts packed, which is the content that the object's version `seq` has, in that version's place;
 * all else stays (commit lock, epoch section). -EAGAIN: it is another version by now. -ENOSPC,
 * -EAGAIN: nothing has changed. */
int pfs_repack_object(struct pfs_store *store, uint32_t object, uint64_t seq,
		      const struct pfs_packed *packed);

/* Logs what is held of the object (commit lock). */
int pfs_log_held(struct pfs_store *store, uint32_t object, struct pfs_version *held);

/* Logs packed under key as the whole content of an object (0 word: a new one): what is left is to
 * publish the change with the record's sequence, and to name the object. */
int pfs_put_prepare(struct pfs_store *store, struct pfs_change *change, uint32_t object,
		    const struct pfs_key *key, const struct pfs_packed *packed,
		    const struct pfs_attr *attr, uint64_t displaced);

/* The same, published. */
int pfs_put_object(struct pfs_store *store, uint32_t object, const struct pfs_key *key,
		   const struct pfs_packed *packed, const struct pfs_attr *attr,
		   uint64_t displaced);

/* ---- store_enter.c ---- */

/* Takes space that a change which must work on a full disk can have: under the commit lock, or
 * while the store is opened. -ENOSPC: there is not all of it, but what a closed store keeps, if
 * there is that; -EIO. */
int pfs_make_reserve(struct pfs_store *store);

/* Gives it up (commit lock, or nobody else is there); and the saved index, of which nobody needs
 * anything once the open epoch is raised.
 */
void pfs_give_up_reserve(struct pfs_store *store);

/* Cuts it to what a closed store keeps, where there is room for that. */
void pfs_close_reserve(struct pfs_store *store);

/* Takes it anew when it was given up and there is space again. Takes the commit lock. */
void pfs_restore_reserve(struct pfs_store *store);

/* Commit lock and epoch section, for one change; leave wakes the writer thread when the journal is
 * long. */
void pfs_write_enter(struct pfs_store *store);
void pfs_write_leave(struct pfs_store *store);
/* Slows a writer of len bytes as the journal comes near its limit, and lets it wait for room there.
 * large: of a document that is written in parts. Never called by what must not be throttled. */
void pfs_write_throttle(struct pfs_store *store, size_t len, bool large);
/* Wakes the writer thread, if there is one, for a checkpoint. */
void pfs_want_checkpoint(struct pfs_store *store, bool force);
/* Whether to try again after err: it was -ENOSPC, and some room was made. */
bool pfs_write_again(struct pfs_store *store, int err, unsigned *tries, bool privileged);

/* After -ENOSPC: moves what is pending to the pages, gives spare space back; for a privileged
 * change gives up the reserve. Takes all locks. */
void pfs_make_room(struct pfs_store *store, bool privileged);

/* ---- store_checkpoint.c ---- */

/* Moves durable versions to the pages; force: those under heavy writing too. */
int pfs_checkpoint(struct pfs_store *store, bool force);
/* The same by force; the snapshot begins with it. On an error it may have begun, and shows nothing.
 */
int pfs_checkpoint_snapshot(struct pfs_store *store, struct pfs_snapshot *snapshot);

/* Says in the superblock that the journal has a segment of this epoch, whose header is durable. */
int pfs_store_mark_journal(struct pfs_store *store);

/* The writer's parts, also used by the end of a replay. */
int pfs_sync_pages(struct pfs_store *store);
int pfs_write_tombstone(struct pfs_store *store, const struct pfs_extent_at *at, uint64_t tag,
			uint64_t seq);
void pfs_commit_lock_cb(void *store, bool on);
/* After epoch waits: frees the limbo that was detached. */
void pfs_epoch_collect(struct pfs_store *store);

/* ---- store_compact.c ---- */

/* Gives empty pages back. keep: all but one. Checkpoint lock. */
int pfs_retire_pages(struct pfs_store *store, bool keep);

/* Ends the emptying of pages, so that they can be used (commit lock). */
void pfs_compact_yield_room(struct pfs_store *store);

/* On a full disk: empties the page with the most dead bytes into the others, if they have the room.
 */
void pfs_compact_for_room(struct pfs_store *store);

/* ---- store_replay.c ---- */

/* Builds the index from the saved file or from the slots, then from the journal. */
int pfs_recover(struct pfs_store *store, bool clean);

/* ---- store_index.c ---- */

int pfs_index_save(struct pfs_store *store);
/* An error: the index is as it was before, unless the error is -ENOMEM. */
int pfs_index_load(struct pfs_store *store);

/* ---- store_stat.c ---- */

/* Commit lock. What only counts, or can be had without the lock, is left out. */
int pfs_stat_locked(struct pfs_store *store, struct pfs_store_stat *out);

/* ---- store_dict.c ---- */

/* Reads all dictionaries; those that are damaged are there without a codec. -ENOMEM, -EIO. */
int pfs_dicts_open(struct pfs_store *store);
void pfs_dicts_close(struct pfs_store *store);

/* Epoch section or commit lock. NULL: there is none. */
struct pfs_dict *pfs_dict_find(const struct pfs_store *store, uint32_t number);
/* *codec NULL for number 0. -EIO: the dictionary is missing or damaged (logged). */
int pfs_dict_codec(struct pfs_store *store, uint32_t number, const struct pfs_codec_dict **codec);

/* Commit lock. The change with this sequence makes a version that names the dictionary what an
 * object is (add), or takes it away. */
void pfs_dict_count(struct pfs_store *store, uint32_t number, uint64_t seq, bool add);

/* Commit lock. The users of all. */
uint64_t pfs_dict_users(const struct pfs_store *store);

/* The dictionary for new values, or NULL. It stays until it is let go. */
struct pfs_dict *pfs_dict_hold(struct pfs_store *store);
void pfs_dict_let_go(struct pfs_dict *dict);

/* Makes a dictionary, durably, and packs new values with it. raw, packed: what it promises.
 * -ENOSPC, -ENOMEM, -EROFS. Takes the checkpoint and the commit lock. */
int pfs_dict_add(struct pfs_store *store, const void *bytes, size_t len, uint64_t raw,
		 uint64_t packed);

/* store_train.c. At opening, when the documents are counted. */
void pfs_training_begin(struct pfs_store *store);
/* Commit lock. A small value was put. */
void pfs_training_count(struct pfs_store *store, const struct pfs_packed *packed);
/* Commit lock. Whether it is time to train (T3). */
bool pfs_training_is_due(const struct pfs_store *store);
/* What is due. No lock, not in an epoch section. */
void pfs_training_run(struct pfs_store *store);

/* Removes the dictionaries that nobody needs. Checkpoint lock; after a journal's declaration was
 * synced. */
void pfs_dicts_drop(struct pfs_store *store);

/* ---- store_change.c, statistics ---- */

/* Counts a document in the statistics, or takes it out. */
void pfs_account(struct pfs_store *store, unsigned kind, uint64_t size, uint64_t container_len,
		 bool add);
/* Drops an object that has only a temporary key. Does nothing to one that has a name. Without the
 * commit lock. */
void pfs_drop_temporary(struct pfs_store *store, uint32_t object);
/* Gives the object its listing place's number, where that is free (I3). -EALREADY, -EAGAIN. */
int pfs_renumber(struct pfs_store *store, uint32_t object);

#endif
