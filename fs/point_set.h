/* Rank 0: a bounded set of points, each with a number. Not thread-safe: the owner's lock is held.
 *
 * Memory: 32 bytes an entry of a table that is at most half full and doubles up to that of max
 * entries; it does not shrink. */
#ifndef PFS_POINT_SET_H
#define PFS_POINT_SET_H

#include "storage/key.h"

struct pfs_point_entry {
	uint8_t kind; /* enum pfs_key_kind, of a point; PFS_KEY_NONE: empty */
	uint8_t id[16];
	int64_t value;
};

/* All zero but max is an empty set. */
struct pfs_point_set {
	size_t max; /* entries; > 0 */
	size_t count;
	size_t cap; /* of entries, a power of two or 0 */
	struct pfs_point_entry *entries;
};

/* The set is empty afterwards and can be used again. */
void pfs_point_set_free(struct pfs_point_set *set);

/* The number of a point, or NULL. It may be changed; the place holds until the next put, remove or
 * take. */
int64_t *pfs_point_set_find(const struct pfs_point_set *set, const struct pfs_key *key);

/* Adds a point, or gives one that is there another number. -ENOSPC: max are there; -ENOMEM; the set
 * is as it was then. */
int pfs_point_set_put(struct pfs_point_set *set, const struct pfs_key *key, int64_t value);

/* False: it was not there. */
bool pfs_point_set_remove(struct pfs_point_set *set, const struct pfs_key *key);

/* Something about a point that was taken. */
struct pfs_point_taken {
	struct pfs_key key;
	int64_t value;
};

/* Takes up to room points out whose numbers are at most value_max; returns how many. *cursor (0 at
 * first) is where the search goes on next time. Fewer than room: there are no others. */
size_t pfs_point_set_take(struct pfs_point_set *set, size_t *cursor, int64_t value_max,
			  struct pfs_point_taken *out, size_t room);

/* Copies up to room points that stand from *cursor on (0 at first) without changing the set, moves
 * the cursor behind them; 0: that was all. */
size_t pfs_point_set_copy(const struct pfs_point_set *set, size_t *cursor, struct pfs_key *out,
			  size_t room);

#endif
