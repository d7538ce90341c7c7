/* Rank 4: what snapshots remember, as plain tables in memory: documents as they were before they
 * were changed, and the containers that must stay for them. store_snapshot.c says what it means.
 *
 * A *former* document is what one key showed at a moment: a container in a page, nothing, or
 * damage. A *pin* is a container that former documents refer to, found by its place.
 *
 * Not locked: the owner says by what. Tables grow by themselves; without memory for that they only
 * become slower, so that nothing but making an entry can fail. */
#ifndef PFS_FORMER_H
#define PFS_FORMER_H

#include "storage/key.h"
#include "storage/pager.h"

/* ---- former documents ---- */

enum pfs_former_state {
	PFS_FORMER_ABSENT,    /* there was no such document */
	PFS_FORMER_CONTAINER, /* at page, off, len */
	PFS_FORMER_COMING,    /* the same, once the running checkpoint has written it */
	PFS_FORMER_LOST,      /* its place can't be told: reading it is an error */
};

struct pfs_former {
	struct pfs_former *next_key, *next_cookie; /* of its buckets */
	uint32_t cookie;			   /* place in listings; 0 for ABSENT */
	uint32_t page, off, len;
	uint8_t state;
	uint8_t kind, tail_len; /* of the key, which is the container's */
	uint64_t tag;
	uint8_t tail[];
};

/* An ABSENT one. NULL: no memory. */
struct pfs_former *pfs_former_new(const struct pfs_key *key);
void pfs_former_key(const struct pfs_former *former, struct pfs_key *key);

/* Former documents by their keys and by their cookies. All zero: empty. */
struct pfs_overlay {
	struct pfs_former **by_key, **by_cookie;
	uint64_t size; /* buckets of either, a power of two, or 0 */
	uint64_t count;
	uint64_t bytes;		   /* memory of the entries */
	struct pfs_former *few[2]; /* the buckets while there is none else */
};

/* Takes former over. No entry has its key. */
void pfs_overlay_add(struct pfs_overlay *overlay, struct pfs_former *former);
/* Takes the entry out; it is the caller's again. */
void pfs_overlay_remove(struct pfs_overlay *overlay, struct pfs_former *former);
struct pfs_former *pfs_overlay_find(const struct pfs_overlay *overlay, const struct pfs_key *key);
/* The same by another entry's key. */
struct pfs_former *pfs_overlay_find_like(const struct pfs_overlay *overlay,
					 const struct pfs_former *former);
/* The next entry with this cookie behind `after` (NULL: the first); NULL: there is none. */
struct pfs_former *pfs_overlay_at_cookie(const struct pfs_overlay *overlay, uint32_t cookie,
					 const struct pfs_former *after);
/* Any entry, found from the bucket *at on, which moves along; NULL: it is empty. */
struct pfs_former *pfs_overlay_any(const struct pfs_overlay *overlay, uint64_t *at);
/* Frees the tables of an empty overlay. */
void pfs_overlay_free(struct pfs_overlay *overlay);

/* ---- pins ---- */

struct pfs_pin {
	struct pfs_pin *next;
	uint32_t page, off;
	uint32_t refs;
	bool freed;   /* nobody but snapshots needs it: len bytes are to be given back with it */
	uint64_t len; /* of a freed one */
};

/* All zero: empty. */
struct pfs_pins {
	struct pfs_pin **buckets;
	uint64_t size, count;
	uint64_t freed_bytes; /* of all that are freed */
};

struct pfs_pin *pfs_pins_find(const struct pfs_pins *pins, uint32_t page, uint64_t off);
/* One reference more. -ENOMEM. */
int pfs_pins_ref(struct pfs_pins *pins, uint32_t page, uint32_t off);
/* One less. The last one takes the pin out: *gone, with len 0 if nobody has freed it. False: there
 * are others. */
bool pfs_pins_unref(struct pfs_pins *pins, uint32_t page, uint32_t off, struct pfs_extent_at *gone);
/* Whether the container at `at` is pinned; then it counts as freed, with at->len bytes. */
bool pfs_pins_free(struct pfs_pins *pins, const struct pfs_extent_at *at);
/* Freed bytes of one page. */
uint64_t pfs_pins_of_page(const struct pfs_pins *pins, uint32_t page);
/* The same of all pages: calls fn for each freed container. */
void pfs_pins_each_freed(const struct pfs_pins *pins,
			 void (*fn)(void *arg, uint32_t page, uint64_t len), void *arg);
/* Frees the table when it is empty. */
void pfs_pins_trim(struct pfs_pins *pins);

#endif
