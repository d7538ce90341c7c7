/* A disk in memory for tests: a backend of storage/io.h that counts, fails, fills up, and loses
 * power.
 *
 * Model. Bytes are kept in pieces of PFS_SIM_PIECE bytes. What is written is seen by readers at
 * once, as through a page cache, and is durable only after sync of the file (bytes and length) or
 * sync_dir (names). In between
 *
 *  - a piece that was changed since the last sync can be found on the disk as it was at that sync,
 * as it was after one of the later changes (the last PFS_SIM_VERSIONS - 1 of them and the newest),
 * or torn: each of its sectors of 512 bytes from any of these;
 *  - the file's length can be the durable one, the newest one, or one in between. What lies beyond
 * it is gone, what it covers and was never written reads as zeros;
 *  - a change of a name (creation, rename, removal) is on the disk or not, a rename as a whole; of
 * changes of one name a later one is never there without the earlier ones.
 *
 * Every one of these is decided on its own: the order of the calls means nothing until a sync.
 *
 * A sync that fails (a step function says so) makes nothing durable, and like a real disk it
 * forgets: the pieces that it was to write stay undecided even after a later sync that succeeds,
 * until they are written again.
 *
 * Races. Bytes are moved with plain loads and stores and no lock is held meanwhile, so
 * ThreadSanitizer sees a reader of a mapping that races with a write, unless the bytes stay as they
 * are. Only the records about pieces, lengths and names are under a lock.
 *
 * Limits: a file may have PFS_SIM_FILE_MAX bytes, one that an image began with 64 MiB or twice what
 * it had then, if that is more (-EFBIG beyond, a mapping -ENOMEM). Address space is taken for all
 * of them, of which ThreadSanitizer has less than 4 TiB. Its bytes stay at one address; mappings
 * share it, and unlike real ones they do not fault beyond the file's end but read zeros there, and
 * stay readable after unmap. */
#ifndef PFS_SIM_H
#define PFS_SIM_H

#include "storage/io.h"

#define PFS_SIM_PIECE 4096
#define PFS_SIM_SECTOR 512
#define PFS_SIM_VERSIONS 4 /* states of a piece that are remembered besides the newest */
#define PFS_SIM_FILE_MAX (4 * PFS_GIB)

struct pfs_sim;

/* NULL when there is no memory. */
struct pfs_sim *pfs_sim_new(void);

/* True while the sim allocates memory for itself: tests that fail allocations leave these out. */
extern _Thread_local bool pfs_sim_allocates;

/* Every directory and file of it must have been closed, unless it is thrown away together with its
 * users. */
void pfs_sim_free(struct pfs_sim *sim);

/* The backend to give to a store; lives as long as the sim. open_dir takes any path; each is one
 * flat directory, made durably. Locks exclude each other between all directories opened at the same
 * path. */
const struct pfs_io *pfs_sim_io(struct pfs_sim *sim);

/* ---- watching and failing ---- */

enum pfs_sim_kind {
	PFS_SIM_CREATE, /* an open that makes the file */
	PFS_SIM_WRITE,
	PFS_SIM_SYNC,
	PFS_SIM_SYNC_DIR,
	PFS_SIM_RENAME, /* name: the old one */
	PFS_SIM_UNLINK,
	PFS_SIM_TRUNCATE,
	PFS_SIM_ALLOCATE,
	PFS_SIM_PUNCH,
	PFS_SIM_STEPS, /* the kinds below change nothing and are no steps, but looks */
	PFS_SIM_READ = PFS_SIM_STEPS, /* of bytes, or of a directory's names (name "") */
	PFS_SIM_MAP,
	PFS_SIM_OPEN, /* also of a file that is to be made, before its CREATE; of a directory: name
			 "" */
	PFS_SIM_KINDS,
};

const char *pfs_sim_kind_name(enum pfs_sim_kind kind);

struct pfs_sim_step {
	enum pfs_sim_kind kind;
	uint64_t number;   /* 1 for the first step, or the first look, of the sim */
	const char *name;  /* of the file; "" for SYNC_DIR, and for a file whose name was removed */
	uint64_t off, len; /* WRITE, ALLOCATE, PUNCH, READ; TRUNCATE: off is the new length */
};

/* Called before a step is done, by the thread that does it, without the sim's lock: it may make
 * images, but not open a store on one of them, because the store above the sim may hold locks and
 * be inside of a read section; that has to wait until the store's call has returned. 0 lets the
 * step happen. A negative errno is returned by the step instead, which then has done nothing,
 * except that of a WRITE that is written which pfs_sim_set_failed_writes says. */
typedef int pfs_sim_step_fn(void *arg, const struct pfs_sim_step *step);

/* NULL: no more. Not while another thread uses the sim. */
void pfs_sim_on_step(struct pfs_sim *sim, pfs_sim_step_fn *fn, void *arg);

/* The same for looks: READ, MAP, OPEN. */
void pfs_sim_on_look(struct pfs_sim *sim, pfs_sim_step_fn *fn, void *arg);

/* What a WRITE that is failed has written all the same, as a full or failing disk may. */
enum pfs_sim_failed_write {
	PFS_SIM_FAILED_HALF, /* at the beginning: the first half, up to the end of a sector */
	PFS_SIM_FAILED_NOTHING,
	PFS_SIM_FAILED_ALL,
};
void pfs_sim_set_failed_writes(struct pfs_sim *sim, enum pfs_sim_failed_write what);

/* Calls made so far, failed ones included. */
uint64_t pfs_sim_count(const struct pfs_sim *sim, enum pfs_sim_kind kind);
uint64_t pfs_sim_steps(const struct pfs_sim *sim);

/* Files that are made from now on can have so many bytes (at the beginning PFS_SIM_FILE_MAX, which
 * is the most): for tests with thousands of them. */
void pfs_sim_set_file_max(struct pfs_sim *sim, uint64_t bytes);

/* The disk has room for so many bytes, in pieces; 0: without limit (the beginning). Writing or
 * allocating a piece that takes room when there is none left gives -ENOSPC, after what fitted was
 * written or allocated; rewriting a piece that has its room always works. May be set below what is
 * in use. */
void pfs_sim_set_capacity(struct pfs_sim *sim, uint64_t bytes);
uint64_t pfs_sim_used(const struct pfs_sim *sim);

/* ---- images ----
 *
 * An image is a new sim, independent of the first, with the same capacity, no step function,
 * counters at zero, nothing open and no lock held. NULL when there is no memory. They may be made
 * while others use the sim only if these do not write meanwhile. An image costs what differs from
 * the image of the same sim that was freed last. */

/* How many things are undecided: pieces, lengths, names. 0: there is one image. */
uint64_t pfs_sim_pending(const struct pfs_sim *sim);

/* How many different choices there are, UINT64_MAX if more than that. */
uint64_t pfs_sim_images(const struct pfs_sim *sim);

/* The disk after a power cut now. By index: the one of pfs_sim_images() choices (index below it);
 * all of them together are every combination, with one torn state of each piece. Index 0 keeps
 * nothing that is undecided. */
struct pfs_sim *pfs_sim_crash_index(const struct pfs_sim *sim, uint64_t index);

/* By seed: choices at random, each seed its own; the share of what is kept differs from seed to
 * seed between nothing and everything, so that both a few losses and a few survivors are met. */
struct pfs_sim *pfs_sim_crash_seed(const struct pfs_sim *sim, uint64_t seed);

/* A hash of what a reader of the disk sees now: names, lengths and bytes. Equal disks have equal
 * hashes; that different ones do not is as good as certain. */
uint64_t pfs_sim_hash(const struct pfs_sim *sim);

/* Some time passes in which nobody writes: everything has reached the disk on its own. */
void pfs_sim_settle(struct pfs_sim *sim);

/* After the death of the process: everything is there, and what was undecided still is. */
struct pfs_sim *pfs_sim_kill(const struct pfs_sim *sim);

#endif
