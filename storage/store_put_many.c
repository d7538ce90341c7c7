/* Putting several documents with one write to the journal.
 *
 * All of a group are packed, then prepared under one hold of the commit lock: placed, and their
 * records held back in the journal's buffer. When these are written, in one go, the changes are
 * published in the same order. Until then nobody sees anything of them, so a write that fails
 * leaves nothing but what is dropped again. What a group can't deal with goes between two. */
#include <stdlib.h>

#include "storage/store_names.h"
#include "storage/team.h"

#define GROUP_MAX 64u
#define GROUP_BYTES (256 * PFS_KIB) /* of payloads, before they are packed */

struct prepared {
	struct pfs_change change;
	struct pfs_packed packed;
	uint32_t hash;
	bool is_new; /* to be named */
};

struct group {
	struct pfs_store *store;
	struct pfs_put_item *items;
	size_t packed, prepared, published; /* so many of them, from the first on */
	struct prepared at[GROUP_MAX];
};

static bool fits_group(const struct pfs_put_item *item, size_t bytes)
{
	return item->len <= PFS_BLOCK_LEN && bytes + item->len <= GROUP_BYTES;
}

static size_t group_size(const struct pfs_put_item *items, size_t count, size_t *bytes)
{
	size_t n = 0;

	*bytes = 0;
	for (; n < count && n < GROUP_MAX && fits_group(&items[n], *bytes); n++)
		*bytes += items[n].len;
	return n;
}

/* Whether the key may be one of those that are prepared: then these come first. */
static bool is_prepared(const struct group *g, uint32_t hash)
{
	for (size_t i = g->published; i < g->prepared; i++)
		if (g->at[i].hash == hash)
			return true;
	return false;
}

/* -EAGAIN: it must be put alone: a name that a new object takes over changes hands in steps. */
static int prepare(struct group *g, struct pfs_put_item *item, struct prepared *p)
{
	struct pfs_store *store = g->store;
	struct pfs_attr attr;
	uint32_t object;
	uint64_t word = 0;
	int err = pfs_find(store, &item->key, &object, &word);

	if (err && err != -ENOENT)
		return err;
	p->is_new = err == -ENOENT;
	if (!p->is_new && (item->flags & PFS_PUT_NEW_OBJECT))
		return -EAGAIN;
	pfs_put_attr(store, item->attr, item->flags, p->is_new ? 0 : word, &attr);
	if (!p->is_new)
		return pfs_put_prepare(store, &p->change, object, &item->key, &p->packed, &attr, 0);
	/* For all of the group, since none of those that are prepared is in the index yet. */
	err = pfs_index_reserve(store->index, GROUP_MAX + 1);
	if (!err)
		err = pfs_index_alloc(store->index, &object);
	if (err)
		return err;
	err = pfs_put_prepare(store, &p->change, object, &item->key, &p->packed, &attr, 0);
	if (err)
		pfs_index_release(store->index, object);
	return err;
}

/* Nothing of what is prepared has happened. */
static void drop(struct group *g)
{
	while (g->prepared > g->published) {
		struct prepared *p = &g->at[--g->prepared];
		uint32_t object = p->change.object;

		pfs_change_drop(g->store, &p->change);
		if (p->is_new)
			pfs_index_release(g->store->index, object);
	}
}

/* Writes the records of what is prepared, and makes it what everybody sees. */
static int publish(struct group *g)
{
	int err = pfs_log_release(g->store);

	if (err) {
		drop(g);
		return err;
	}
	for (; g->published < g->prepared; g->published++) {
		struct prepared *p = &g->at[g->published];

		pfs_change_publish(g->store, &p->change, p->change.version->seq);
		/* Reserved when it was prepared. */
		if (p->is_new)
			(void)pfs_index_insert(g->store->index, p->change.object, p->hash);
	}
	return 0;
}

/* The next one, which is packed, after all that is prepared. */
static int put_alone(struct group *g)
{
	struct pfs_put_item *item = &g->items[g->prepared];
	int err = publish(g);

	if (!err)
		err = pfs_put_locked(g->store, &item->key, &g->at[g->prepared].packed, item->attr,
				     item->flags, &item->replaced);
	if (!err)
		g->published = ++g->prepared;
	pfs_journal_hold(g->store->journal);
	return err;
}

/* Puts what is packed, up to the first that can't be. Commit lock. */
static void put_packed(struct group *g)
{
	int err = pfs_store_is_writable(g->store) ? 0 : -EROFS;

	pfs_journal_hold(g->store->journal);
	while (!err && g->prepared < g->packed) {
		struct prepared *p = &g->at[g->prepared];
		struct pfs_put_item *item = &g->items[g->prepared];

		item->replaced = PFS_OBJECT_NONE;
		p->hash = pfs_key_hash(&item->key);
		err = is_prepared(g, p->hash) ? -EAGAIN : prepare(g, item, p);
		if (!err)
			g->prepared++;
		else if (err == -EAGAIN || err == -ENOBUFS)
			err = put_alone(g);
	}
	(void)publish(g);
}

/* ---- groups, packed ahead ---- */

#define AHEAD 8u /* groups that are packed, or being packed, at once */

struct span {
	size_t first, count, bytes;
};

struct groups {
	struct pfs_store *store;
	struct pfs_put_item *items;
	struct span *spans;
	size_t count;
	/* Of AHEAD, or of as many as there are: group i is at i % AHEAD while it is needed. */
	struct group *ring;
	uint8_t *room;	  /* for the packed bodies of each of them */
	size_t room_each; /* bytes */
};

static void pack_group(void *arg, size_t job)
{
	struct groups *all = arg;
	const struct span *span = &all->spans[job];
	struct group *g = &all->ring[job % AHEAD];
	uint8_t *room = all->room + job % AHEAD * all->room_each;

	g->store = all->store;
	g->items = &all->items[span->first];
	g->prepared = g->published = 0;
	for (g->packed = 0; g->packed < span->count; g->packed++) {
		const struct pfs_put_item *item = &g->items[g->packed];

		pfs_pack_small(g->store, &g->at[g->packed].packed, item->data, item->len, room);
		room += item->len;
	}
}

static void free_group(struct group *g)
{
	while (g->packed)
		pfs_packed_free(&g->at[--g->packed].packed);
}

/* Returns how many were put; why not more, putting the next one alone will show. */
static size_t put_group(struct group *g, size_t bytes)
{
	pfs_write_throttle(g->store, bytes, false);
	pfs_write_enter(g->store);
	put_packed(g);
	pfs_write_leave(g->store);
	return g->published;
}

/* What stands together in groups from the first item on, up to one that has to be put alone. The
 * spans, the ring and the room are malloc'ed. -ENOMEM. */
static int form_groups(struct groups *all, size_t count)
{
	size_t at = 0, places;

	all->spans = malloc((count / 2 + 1) * sizeof(*all->spans));
	if (!all->spans)
		return -ENOMEM;
	while (at < count) {
		struct span *span = &all->spans[all->count];

		span->first = at;
		span->count = group_size(&all->items[at], count - at, &span->bytes);
		if (span->count < 2)
			break;
		at += span->count;
		all->room_each = pfs_max_u64(all->room_each, span->bytes);
		all->count++;
	}
	places = pfs_min_u64(all->count, AHEAD);
	if (!places)
		return 0;
	all->ring = malloc(places * sizeof(*all->ring));
	all->room = malloc(places * all->room_each + 1);
	return all->ring && all->room ? 0 : -ENOMEM;
}

/* Up to the first group that is put in part. With a team, others pack the next ones while this
 * thread puts one, where there are processors for it. */
static size_t put_in_turn(struct groups *all, struct pfs_team *team)
{
	size_t i = 0, done = 0;
	bool whole = true;

	for (; i < all->count && whole; i++) {
		struct group *g = &all->ring[i % AHEAD];
		size_t put;

		if (team)
			pfs_team_wait(team, i);
		else
			pack_group(all, i);
		put = put_group(g, all->spans[i].bytes);
		whole = put == all->spans[i].count;
		done += put;
		free_group(g);
	}
	for (size_t end = team ? pfs_team_end(team) : 0; i < end; i++)
		free_group(&all->ring[i % AHEAD]);
	return done;
}

/* Returns how many were put; why not more, putting the next one alone will show. */
static size_t put_groups(struct pfs_store *store, struct pfs_put_item *items, size_t count)
{
	struct groups all = {.store = store, .items = items};
	size_t put = 0;

	if (form_groups(&all, count) == 0) {
		struct pfs_team *team = all.count > 1 ? pfs_store_team(store) : NULL;

		if (team && !pfs_team_begin(team, pack_group, &all, all.count, AHEAD))
			team = NULL;
		put = put_in_turn(&all, team);
	}
	free(all.room);
	free(all.ring);
	free(all.spans);
	return put;
}

size_t pfs_own_put_many(struct pfs_store *store, struct pfs_put_item *items, size_t count, int *err)
{
	size_t done = 0;

	*err = 0;
	while (done < count) {
		done += put_groups(store, &items[done], count - done);
		if (done == count)
			break;
		*err = pfs_put(store, &items[done].key, items[done].data, items[done].len,
			       items[done].attr, items[done].flags, &items[done].replaced);
		if (*err)
			break;
		done++;
	}
	return done;
}
