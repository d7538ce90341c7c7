/* Inside of the sim: what is on its disk. Shared by sim.c (the operations) and image.c (power
 * cuts).
 *
 * D1: an inode lives as long as something refers to it: a name, a durable name, an undecided
 * change, a handle, a mapping. D2: bytes of a piece that is not `written` are zero, as are all
 * bytes beyond the length. D3: version[0] of an undecided piece is its durable state, the others
 * are later ones in their order. D4: whoever changes bytes gives their piece a new content id, or 0
 * when they are zeros. */
#ifndef PFS_SIM_DISK_H
#define PFS_SIM_DISK_H

#include <pthread.h>

#include "tests/sim/sim.h"

/* What PFS_SIM_PIECE bytes say. Equal ids: equal bytes; 0: zeros. The hash is that of the bytes if
 * `hashed` is the id. */
struct sim_content {
	uint64_t id, hashed, hash;
};

struct sim_version {
	struct sim_content content;
	uint8_t *bytes; /* PFS_SIM_PIECE of them; NULL: zeros */
};

struct sim_piece {
	struct sim_content content;
	struct sim_version *version; /* PFS_SIM_VERSIONS of them, or NULL */
	uint8_t version_count;	     /* 0: the piece is durable as it is */
	bool allocated, written;
	bool forgotten; /* by a sync that failed */
};

/* Files that are no more, kept for images to come: an image differs little from the one before it,
 * so that a file of the same origin has most of its bytes already. Shared by a sim and its images.
 */
struct sim_pool {
	pthread_mutex_t mutex;
	unsigned refs;
	uint64_t next_id; /* of contents and of origins; atomic */
	struct sim_inode *inodes;
	size_t pieces; /* that are touched in them */
};

struct sim_inode {
	struct sim_inode *next;
	unsigned name_refs; /* names, durable names, undecided changes */
	unsigned open_refs; /* handles, mappings */
	unsigned nlink;	    /* names */
	uint64_t room;	    /* bytes that it can have: address space is reserved for them */
	uint8_t *bytes;
	struct sim_piece *pieces; /* one for each of them */
	size_t piece_end;	  /* none is in use from here on */
	size_t touched_end;	  /* all are untouched zeros from here on */
	uint64_t origin;	  /* the file that it was last an image of */
	uint64_t number;	  /* its own, as an origin */
	uint64_t family; /* the file that its first ancestor was: images of images have it */
	uint64_t len, durable_len;
	uint64_t allocated; /* pieces */
	unsigned shared_locks;
	bool exclusive_lock;
	struct sim_inode *twin; /* while an image is made: the same file in it */
};

struct sim_name {
	char *text;
	struct sim_inode *inode;
};

struct sim_names {
	struct sim_name *at;
	size_t count, room;
};

/* One change of names that is not yet durable. from NULL: creation. to NULL: removal. Else rename.
 */
struct sim_change {
	char *from, *to;
	struct sim_inode *inode; /* which file it is about */
};

struct sim_node {
	struct sim_node *next;
	char *path;
	struct sim_names names, durable;
	struct sim_change *changes;
	size_t change_count, change_room;
};

struct pfs_sim {
	struct pfs_io io;
	struct sim_pool *pool;
	pthread_mutex_t mutex; /* all below, but not the files' bytes */
	struct sim_node *nodes;
	struct sim_inode *inodes; /* oldest first */
	uint64_t capacity, file_max;
	uint64_t counts[PFS_SIM_KINDS];
	uint64_t steps, looks;
	pfs_sim_step_fn *step_fn, *look_fn;
	void *step_arg, *look_arg;
	enum pfs_sim_failed_write failed_writes;
};

/* All with the sim's mutex held. Memory that runs out ends the test program. */

void *sim_alloc(size_t size); /* zeroed */
void *sim_realloc(void *p, size_t size);
char *sim_strdup(const char *text);

struct pfs_sim *sim_new(const struct pfs_io_ops *ops, struct sim_pool *pool);
struct sim_pool *sim_pool_new(void);
void sim_pool_unref(struct sim_pool *pool);

/* An empty file; from, if not NULL, is the one that it will be an image of: then the bytes and
 * contents of its pieces are left over from an earlier image, for sim_piece_put, and everything
 * else is as in an empty file. */
struct sim_inode *sim_inode_new(struct pfs_sim *sim, const struct sim_inode *from);
/* Frees it when nothing refers to it any more. */
void sim_inode_settle(struct pfs_sim *sim, struct sim_inode *inode);

struct sim_node *sim_node_find(struct pfs_sim *sim, const char *path);
struct sim_node *sim_node_new(struct pfs_sim *sim, const char *path);

/* NULL: no such name. */
struct sim_inode *sim_names_get(const struct sim_names *names, const char *text);
/* inode NULL removes the name. Keeps name_refs; the caller settles the inode that was there. */
void sim_names_set(struct sim_names *names, const char *text, struct sim_inode *inode);
/* from, to, inode as in sim_change. Applies the change to a table, which may be the one of an
 * image. */
void sim_names_apply(struct sim_names *names, const char *from, const char *to,
		     struct sim_inode *inode);
void sim_change_add(struct sim_node *node, const char *from, const char *to,
		    struct sim_inode *inode);
/* Makes the names of a directory durable. */
void sim_node_sync(struct pfs_sim *sim, struct sim_node *node);

/* Before a piece changes: keeps its state, and gives it a new content id. */
void sim_piece_remember(struct pfs_sim *sim, struct sim_inode *inode, size_t i);
/* Puts bytes into a piece of an image, if they are not there already; bytes NULL: zeros. */
void sim_piece_put(struct sim_inode *inode, size_t i, const uint8_t *bytes,
		   const struct sim_content *content);
uint64_t sim_new_id(struct pfs_sim *sim);
/* 0 exactly for zeros. */
uint64_t sim_content_hash(struct sim_content *content, const uint8_t *bytes);
void sim_piece_settle(struct sim_piece *piece);
/* False: the disk is full. */
bool sim_piece_allocate(struct pfs_sim *sim, struct sim_inode *inode, size_t i);
/* Zeroes [off, end), keeping the old state, and gives back the pieces that lie wholly in it. */
void sim_inode_zero(struct pfs_sim *sim, struct sim_inode *inode, uint64_t off, uint64_t end);

uint64_t sim_used(const struct pfs_sim *sim);

static inline uint8_t *sim_piece_bytes(const struct sim_inode *inode, size_t i)
{
	return inode->bytes + i * PFS_SIM_PIECE;
}

#endif
