/* The table of keys: which block, which entry; a few decoded blocks are kept. */
#include <stdlib.h>

#include "storage/published.h"

#define AHEAD (2 * PFS_MIB) /* bytes of the table that are asked for when one lists */

struct pfs_published_block {
	const struct pfs_generation *g;
	uint32_t number;
	struct pfs_key_block block;
};

/* ---- blocks that are kept; the collection's lock ---- */

static struct pfs_published_block *find_kept(struct pfs_published *p,
					     const struct pfs_generation *g, uint32_t number)
{
	struct pfs_published_block *found;
	unsigned i = 0;

	while (i < PFS_PUBLISHED_BLOCKS && p->blocks[i] &&
	       (p->blocks[i]->g != g || p->blocks[i]->number != number))
		i++;
	if (i == PFS_PUBLISHED_BLOCKS || !p->blocks[i])
		return NULL;
	found = p->blocks[i];
	memmove(p->blocks + 1, p->blocks, i * sizeof(p->blocks[0]));
	p->blocks[0] = found;
	return found;
}

/* Another thread may have been quicker: then there are two, of which one is found. */
static void keep(struct pfs_published *p, struct pfs_published_block *block)
{
	free(p->blocks[PFS_PUBLISHED_BLOCKS - 1]);
	memmove(p->blocks + 1, p->blocks, (PFS_PUBLISHED_BLOCKS - 1) * sizeof(p->blocks[0]));
	p->blocks[0] = block;
}

void pfs_published_drop_blocks(struct pfs_published *p, const struct pfs_generation *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PFS_PUBLISHED_BLOCKS && p->blocks[i]; i++) {
		struct pfs_published_block *block = p->blocks[i];

		p->blocks[i] = NULL;
		if (block->g == g)
			free(block);
		else
			p->blocks[n++] = block;
	}
}

/* ---- reading blocks ---- */

const char *pfs_published_misfit(const struct pfs_generation *g, uint32_t number,
				 const struct pfs_key_block *block)
{
	const struct pfs_manifest_block *about = &g->m.blocks[number];
	const struct pfs_manifest_object *page = &g->m.objects[about->page];
	const struct pfs_key_entry *last = &block->entries[block->count - 1];

	if (block->kind != about->kind || block->count != about->count ||
	    memcmp(block->entries[0].key, about->key, sizeof(about->key)) != 0)
		return "it is another block of keys";
	if (block->first + page->first_rank != about->rank)
		return "its documents are not those of the page";
	if ((uint64_t)last->off + last->len > pfs_page_containers_len(page))
		return "its documents lie beyond their page";
	return NULL;
}

static int damaged(struct pfs_published *p, const struct pfs_generation *g, uint32_t object,
		   uint64_t off, const char *why)
{
	const struct pfs_manifest_object *o = &g->m.objects[object];
	char name[PFS_OBJECT_NAME_MAX];

	pfs_object_name(name, o->role, o->hash);
	pfs_corrupt(&p->logger, name, off, "%s", why);
	return -EIO;
}

static int load(struct pfs_published *p, struct pfs_generation *g, uint32_t number,
		struct pfs_published_block **out)
{
	const struct pfs_manifest_block *about = &g->m.blocks[number];
	struct pfs_published_block *kept = malloc(sizeof(*kept));
	uint8_t *bytes = malloc(about->len);
	const char *why = "no block of keys";
	ssize_t n = -ENOMEM;
	int err;

	*out = NULL;
	if (kept && bytes)
		n = pfs_cached_read(g->files[about->keys], bytes, about->len, about->off);
	err = n < 0 ? (int)n : n == about->len ? 0 : -EIO;
	if (!err) {
		kept->g = g;
		kept->number = number;
		if (pfs_key_block_decode(&kept->block, bytes, about->len) == 0)
			why = pfs_published_misfit(g, number, &kept->block);
		if (why) {
			pfs_cached_drop(g->files[about->keys], about->off, about->len);
			err = damaged(p, g, about->keys, about->off, why);
		}
	}
	free(bytes);
	if (err)
		free(kept);
	else
		*out = kept;
	return err;
}

/* Calls with the block, under the lock. It may be read meanwhile, without. */
typedef int use_fn(void *arg, const struct pfs_key_block *block);

static int with_block(struct pfs_published *p, struct pfs_generation *g, uint32_t number,
		      use_fn *use, void *arg)
{
	struct pfs_published_block *kept;
	int err;

	pthread_mutex_lock(&p->lock);
	kept = find_kept(p, g, number);
	if (!kept) {
		pthread_mutex_unlock(&p->lock);
		err = load(p, g, number, &kept);
		if (err)
			return err;
		pthread_mutex_lock(&p->lock);
		keep(p, kept);
	}
	err = use(arg, &kept->block);
	pthread_mutex_unlock(&p->lock);
	return err;
}

/* ---- by key ---- */

static int compare(unsigned a_kind, const uint8_t a[16], unsigned b_kind, const uint8_t b[16])
{
	if (a_kind != b_kind)
		return pfs_order(a_kind, b_kind);
	return memcmp(a, b, 16);
}

struct look {
	const struct pfs_generation *g;
	uint32_t number, index; /* block and entry */
	uint8_t key[16];
	struct pfs_published_doc *doc;
};

static void take_entry(const struct look *look, const struct pfs_key_block *block, uint32_t i)
{
	*look->doc = (struct pfs_published_doc){
		.rank = look->g->m.blocks[look->number].rank + i,
		.block = look->number,
		.slot = block->first + i,
		.kind = block->kind,
		.entry = block->entries[i],
	};
}

static int look_for_key(void *arg, const struct pfs_key_block *block)
{
	const struct look *look = arg;
	uint32_t low = 0, high = block->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = memcmp(block->entries[middle].key, look->key, sizeof(look->key));

		if (order == 0) {
			take_entry(look, block, middle);
			return 0;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -ENOENT;
}

int pfs_published_find(struct pfs_published *p, struct pfs_generation *g, const struct pfs_key *key,
		       struct pfs_published_doc *doc)
{
	struct look look = {.g = g, .doc = doc};
	uint32_t low = 0, high = g->m.block_count;

	if (!pfs_key_is_point(key))
		return -ENOENT;
	pfs_key_to_bytes(look.key, key);
	/* The last block that does not begin behind it. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct pfs_manifest_block *b = &g->m.blocks[middle];

		if (compare(b->kind, b->key, key->kind, look.key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || g->m.blocks[low - 1].kind != key->kind)
		return -ENOENT;
	look.number = low - 1;
	return with_block(p, g, look.number, look_for_key, &look);
}

/* ---- by rank ---- */

static int take_index(void *arg, const struct pfs_key_block *block)
{
	const struct look *look = arg;

	take_entry(look, block, look->index);
	return 0;
}

static uint32_t block_of_rank(const struct pfs_generation *g, uint32_t rank)
{
	uint32_t low = 0, high = g->m.block_count;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (g->m.blocks[middle].rank <= rank)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int pfs_published_at(struct pfs_published *p, struct pfs_generation *g, uint32_t rank,
		     struct pfs_published_doc *doc)
{
	struct look look = {.g = g, .doc = doc};

	if (rank >= g->m.points)
		return -ENOENT;
	look.number = block_of_rank(g, rank);
	look.index = rank - g->m.blocks[look.number].rank;
	return with_block(p, g, look.number, take_index, &look);
}

/* ---- listing ---- */

struct listing {
	struct pfs_key *keys;
	uint32_t from;
	size_t max, count;
};

static int take_keys(void *arg, const struct pfs_key_block *block)
{
	struct listing *l = arg;

	for (uint32_t i = l->from; i < block->count && l->count < l->max; i++)
		pfs_key_from_bytes(&l->keys[l->count++], block->kind, block->entries[i].key);
	return 0;
}

/* What a listing will want next. */
static void read_ahead(struct pfs_generation *g, uint32_t number)
{
	const struct pfs_manifest_block *b = &g->m.blocks[number];
	uint64_t end = g->m.objects[b->keys].len, stop = pfs_min_u64(end, b->off + AHEAD);

	pfs_cached_prefetch(g->files[b->keys], b->off, stop - b->off);
	if (stop == end && b->keys + 1 < g->m.object_count &&
	    g->m.objects[b->keys + 1].role == PFS_OBJECT_KEYS)
		pfs_cached_prefetch(g->files[b->keys + 1], 0,
				    pfs_min_u64(AHEAD, g->m.objects[b->keys + 1].len));
}

ssize_t pfs_published_list(struct pfs_published *p, struct pfs_generation *g, uint32_t rank,
			   struct pfs_key *keys, size_t max)
{
	struct listing l = {.keys = keys, .max = max};
	uint32_t number;

	if (rank >= g->m.points)
		return 0;
	number = block_of_rank(g, rank);
	l.from = rank - g->m.blocks[number].rank;
	while (l.count < max && number < g->m.block_count) {
		int err;

		if (l.from == 0)
			read_ahead(g, number);
		err = with_block(p, g, number, take_keys, &l);
		/* What was found before is given first. */
		if (err)
			return l.count ? (ssize_t)l.count : err;
		number++;
		l.from = 0;
	}
	return (ssize_t)l.count;
}

/* ---- what it says ---- */

void pfs_published_key(const struct pfs_published_doc *doc, struct pfs_key *key)
{
	pfs_key_from_bytes(key, doc->kind, doc->entry.key);
}

void pfs_published_attr(const struct pfs_generation *g, const struct pfs_published_doc *doc,
			struct pfs_attr *attr)
{
	const struct pfs_key_entry *e = &doc->entry;

	*attr = (struct pfs_attr){
		.size = e->raw_len,
		.stored = e->len,
		.mtime_ns = e->mtime_ns,
		.mode = e->own_attr ? e->mode : g->m.mode,
		.uid = e->own_attr ? e->uid : g->m.uid,
		.gid = e->own_attr ? e->gid : g->m.gid,
		.nlink = 1,
	};
}
