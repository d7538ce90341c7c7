/* Rank 2: the write-ahead log: segments, append, group commit, replay, recycling. FORMAT.md says
 * what the bytes are.
 *
 * States of a segment, and what moves it on:
 *
 *   spare --append needs room--> active --END record--> full --declare (FIFO)--> dead --reuse-->
 * spare
 *
 * J1: at most one segment is active, and it has the highest number of the live (active or full)
 * ones. J2: a full segment ends with an END record. J3: durable <= appended; bytes behind `used` of
 * the active segment belong to nobody. J4: segments die only in the order of their numbers. J5: a
 * dead segment's file is written or removed only after a header that calls it dead was synced, in
 * another file. J6: there is always a spare left for the rotation of a checkpoint, or records that
 * are not privileged are refused. J7: nothing is appended behind what has its blocks.
 *
 * Locks. append, rotate, declare, reuse, trim and prepare are called under the store's commit lock.
 * pfs_journal_sync and _sync_then may be called by any thread, without it;
 * pfs_journal_sync_declared by the writer thread, without it. Mappings of live segments stay valid
 * until the segment is reused; the caller waits for an epoch before that. */
#ifndef PFS_JOURNAL_H
#define PFS_JOURNAL_H

#include <sys/uio.h>

#include "storage/format.h"
#include "storage/io.h"
#include "storage/key.h"
#include "storage/log.h"

/* Tests may be built with a smaller one, so that segments are full sooner. */
#ifndef PFS_SEGMENT_SIZE
#define PFS_SEGMENT_SIZE (2 * PFS_MIB)
#endif
/* Where the disk has no room for a whole segment, what must work there gets one of which only the
 * beginning has its blocks; the rest of the file is a hole. It holds some 250 removals. */
#define PFS_SEGMENT_SHORT (16 * PFS_KIB)
#define PFS_RECORD_LEN_MAX (PFS_SEGMENT_SIZE - PFS_SEGMENT_DATA - PFS_RECORD_LEN_MIN)

struct pfs_journal;

struct pfs_segment {
	struct pfs_segment *next; /* live: ascending numbers */
	struct pfs_file *file;
	const uint8_t *map; /* PFS_SEGMENT_SIZE bytes; there are only */
	uint64_t size;	    /* so many in the file, which damage may have cut */
	uint64_t number;
	uint64_t first_seq;
	uint64_t epoch;
	uint64_t used;	     /* append offset */
	uint64_t room;	     /* bytes that have their blocks on the disk; 0: not known */
	uint64_t synced;     /* bytes known to be durable */
	uint64_t proof;	     /* pfs_search_proof of all of it, */
	bool proof_known;    /* once the replay has searched it */
	unsigned file_index; /* in the name */
	unsigned pins;	     /* stages that refer to it; commit lock */
	bool full;
	bool name_synced; /* at the latest when it is begun; of found ones by the opening */
};

struct pfs_journal_options {
	struct pfs_dir *dir;
	const uint8_t *uuid;
	uint64_t epoch;
	bool read_only;
	uint64_t clean_epoch; /* segments of this epoch and before are dead; 0: none */
	uint64_t begun_epoch; /* if this is a later one, there must be a segment of it */
	bool repairing;	      /* goes on over records of which can't be told whose they were */
	const struct pfs_logger *logger;
};

/* Finds the segments and reads their headers. Nothing is changed. */
int pfs_journal_open(struct pfs_journal **out, const struct pfs_journal_options *options);
void pfs_journal_close(struct pfs_journal *journal);

/* Where a record's bytes are. */
struct pfs_journal_pos {
	struct pfs_segment *segment;
	uint64_t off; /* of the record's header */
	size_t len;   /* of the whole record */
	uint64_t seq;
};

/* A verified record. body points into a buffer that is valid during the callback; the record itself
 * lies in the segment's mapping at `off`, where it stays until the segment is recycled. */
struct pfs_record {
	struct pfs_journal_pos pos;
	uint64_t seq;
	unsigned type, flags;
	const uint8_t *body;
	size_t body_len;
	/* Of a damaged record there are the sequence and these keys, and nothing else. */
	const struct pfs_key *lost_keys;
	unsigned lost_count;
};
typedef int pfs_record_fn(void *arg, const struct pfs_record *record);

struct pfs_replay_result {
	uint64_t records, first_seq,
		last_seq; /* first_seq: of the oldest live segment, also when it holds nothing */
	uint64_t damaged; /* places of damage that were skipped (reported) */
	char why[256];	  /* of -EUCLEAN: what is missing, and where */
};

/* Calls fn for every record in order (END left out). A non-zero result of fn stops it and is
 * returned. -EUCLEAN: durable records are missing, and whose they were can't be told. Segments that
 * are not part of the sequence become spare. Afterwards the next append begins a new segment. */
int pfs_journal_replay(struct pfs_journal *journal, pfs_record_fn *fn, void *arg,
		       struct pfs_replay_result *result);

/* Sequence of the first record in the oldest live segment, by the headers alone; UINT64_MAX when
 * none is live. */
uint64_t pfs_journal_window(const struct pfs_journal *journal);

/* The next record gets this sequence (after replay, before the first append). */
void pfs_journal_start(struct pfs_journal *journal, uint64_t next_seq);

/* Writes one record whose body is the parts one after the other. privileged: may use the last spare
 * segment, so that removing works on a full disk. -ENOSPC: no segment to be had; nothing has
 * changed. */
int pfs_journal_append(struct pfs_journal *journal, unsigned type, unsigned flags,
		       const struct iovec *parts, unsigned part_count, bool privileged,
		       struct pfs_journal_pos *pos);

/* Several records by one write: after hold, what is appended has its position and its sequence, but
 * nothing is written before release, and nobody may be told of it. An append that does not fit into
 * the segment together with what is held gives -ENOBUFS and changes nothing. When release fails,
 * none of the records was appended. Commit lock all the time. */
void pfs_journal_hold(struct pfs_journal *journal);
int pfs_journal_release(struct pfs_journal *journal);

/* The sequence that the next record gets. Commit lock. */
uint64_t pfs_journal_next(const struct pfs_journal *journal);

uint64_t pfs_journal_appended(const struct pfs_journal *journal); /* last sequence; any thread */
uint64_t pfs_journal_durable(const struct pfs_journal *journal);  /* any thread */

/* Makes every record up to seq durable (UINT64_MAX: all appended so far). Concurrent callers share
 * a sync. After a failure the journal stays failed: -EIO for ever. */
int pfs_journal_sync(struct pfs_journal *journal, uint64_t seq);

/* The same for who does not want to wait on its thread: done is called once, here or by the thread
 * that leads the sync, possibly before this returns. It must be quick and may not use the journal.
 * The wait is the caller's again once done has begun. This returns late when it is the caller that
 * leads: it syncs for others, too, as long as more of them come. */
struct pfs_sync_wait {
	struct pfs_sync_wait *next; /* the journal's */
	uint64_t seq;		    /* in: as above */
	void (*done)(struct pfs_sync_wait *wait, int err);
};
void pfs_journal_sync_then(struct pfs_journal *journal, struct pfs_sync_wait *wait);

/* A sync failed, or a failed write could not be undone: nothing more is appended. The
 * caller says so. Any thread. */
bool pfs_journal_has_failed(const struct pfs_journal *journal);

/* Ends the active segment and begins the next, so that everything so far can be recycled. May use
 * the last spare. -ENOSPC. */
int pfs_journal_rotate(struct pfs_journal *journal);

/* The number of the active segment: after a rotate, all below it hold only what was appended
 * before. */
uint64_t pfs_journal_active(const struct pfs_journal *journal);

/* Recycling, in three steps. Declare: full segments with numbers below `below`, oldest first, up to
 * the first pinned one, are dead; the active segment's header (made if there is none) says so.
 * Sync: that header is durable. Reuse: the dead become spare. */
int pfs_journal_declare(struct pfs_journal *journal, uint64_t below);
int pfs_journal_sync_declared(struct pfs_journal *journal);
void pfs_journal_reuse(struct pfs_journal *journal);

/* After a replay: writes the same bytes of all live segments again and syncs them, because after a
 * sync that failed earlier the page cache may show records that the disk lacks. */
int pfs_journal_rewrite(struct pfs_journal *journal);

/* The highest open epoch that a segment's header names. */
uint64_t pfs_journal_epoch_seen(const struct pfs_journal *journal);

/* Before the first append: the epoch of the segments that are begun from now on. */
void pfs_journal_set_epoch(struct pfs_journal *journal, uint64_t epoch);

/* Copies the record at `off` of `segment` (its header included, `len` bytes) to buf and verifies
 * it. -EUCLEAN, -EIO. In an epoch section. */
int pfs_journal_read(const struct pfs_journal *journal, const struct pfs_segment *segment,
		     uint64_t off, void *buf, size_t len);

/* Gives spare segments back to the filesystem until `keep` are left. */
int pfs_journal_trim(struct pfs_journal *journal, unsigned keep);
/* The same without the commit lock, which is taken by `lock` where it must be: removing files may
 * take long. Not while the journal is closed or discarded. */
int pfs_journal_trim_unlocked(struct pfs_journal *journal, unsigned keep,
			      void (*lock)(void *arg, bool on), void *arg);

/* Removes all segment files: what they held is in the pages and the superblock says so. Nothing can
 * be appended afterwards. */
void pfs_journal_discard(struct pfs_journal *journal);

/* The oldest live segment, NULL when there is none. */
struct pfs_segment *pfs_journal_oldest(const struct pfs_journal *journal);

uint64_t pfs_journal_live_bytes(const struct pfs_journal *journal);
int pfs_journal_disk_bytes(struct pfs_journal *journal, uint64_t *out);

/* Makes sure there is an active segment and `spare` spare ones. */
int pfs_journal_prepare(struct pfs_journal *journal, unsigned spare);

unsigned pfs_journal_spares(const struct pfs_journal *journal);

/* Makes one more spare segment whose blocks and name are durable, so that who begins it has a
 * header to sync and nothing else. Without the commit lock, which is taken by `lock` where it must
 * be. Not while the journal is closed or discarded. */
int pfs_journal_make_spare(struct pfs_journal *journal, void (*lock)(void *arg, bool on),
			   void *arg);

#endif
