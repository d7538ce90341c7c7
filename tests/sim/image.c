/* Images of the sim's disk: after a power cut, after the death of the process. */
#include <stdlib.h>

#include "tests/sim/disk.h"

/* Decides one undecided thing after the other, in a fixed order: changes of names, then file by
 * file the length and the pieces. Choice 0 is always the durable state, choice `newest` the one
 * that readers see. */
struct chooser {
	enum { BY_INDEX, BY_SEED, COUNT_ONLY } how;
	uint64_t index;		 /* BY_INDEX: what is left of it */
	uint64_t random;	 /* BY_SEED, and the sectors of torn pieces */
	unsigned keep;		 /* BY_SEED: of 64 things so many are kept */
	uint64_t things, images; /* so far */
};

static uint64_t next_random(struct chooser *c)
{
	c->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(c->random);
}

static unsigned choose(struct chooser *c, unsigned choices, unsigned newest)
{
	unsigned choice = 0;

	c->things++;
	if (__builtin_mul_overflow(c->images, choices, &c->images))
		c->images = UINT64_MAX;
	switch (c->how) {
	case BY_INDEX:
		choice = (unsigned)(c->index % choices);
		c->index /= choices;
		break;
	case BY_SEED:
		if (next_random(c) % 64 < c->keep)
			choice = newest;
		else if (next_random(c) % 2)
			choice = (unsigned)(next_random(c) % choices);
		break;
	case COUNT_ONLY: break;
	}
	return choice;
}

/* ---- pieces ---- */

/* State number v of a piece: an older version, or the newest. */
static const uint8_t *piece_state(const struct sim_inode *inode, size_t i, unsigned v)
{
	static const uint8_t zeros[PFS_SIM_PIECE];
	const struct sim_piece *piece = &inode->pieces[i];

	if (v >= piece->version_count)
		return sim_piece_bytes(inode, i);
	return piece->version[v].bytes ? piece->version[v].bytes : zeros;
}

static bool piece_undecided(const struct sim_inode *inode, size_t i)
{
	for (unsigned v = 0; v < inode->pieces[i].version_count; v++)
		if (memcmp(piece_state(inode, i, v), sim_piece_bytes(inode, i), PFS_SIM_PIECE))
			return true;
	return false;
}

/* Each sector from the durable or from the newest state (by seed: from any), both being met where
 * they differ. */
static void tear(struct chooser *c, uint8_t *out, const struct sim_inode *inode, size_t i)
{
	unsigned newest = inode->pieces[i].version_count, first = 0, last = 0, differing = 0;
	unsigned from[PFS_SIM_PIECE / PFS_SIM_SECTOR];

	for (unsigned s = 0; s < pfs_array_len(from); s++) {
		uint64_t random = next_random(c);

		from[s] = c->how == BY_SEED ? random % (newest + 1) : random % 2 ? newest : 0;
		if (!memcmp(piece_state(inode, i, 0) + s * PFS_SIM_SECTOR,
			    piece_state(inode, i, newest) + s * PFS_SIM_SECTOR, PFS_SIM_SECTOR))
			continue;
		first = differing++ ? first : s;
		last = s;
	}
	if (differing > 1) {
		bool forward = next_random(c) % 2;

		from[first] = forward ? newest : 0;
		from[last] = forward ? 0 : newest;
	}
	for (unsigned s = 0; s < pfs_array_len(from); s++)
		memcpy(out + s * PFS_SIM_SECTOR,
		       piece_state(inode, i, from[s]) + s * PFS_SIM_SECTOR, PFS_SIM_SECTOR);
}

/* ---- files ---- */

static uint64_t choose_len(struct chooser *c, const struct sim_inode *inode)
{
	uint64_t lens[3] = {inode->durable_len};
	uint64_t low = pfs_min_u64(inode->durable_len, inode->len);
	uint64_t high = pfs_max_u64(inode->durable_len, inode->len);
	unsigned newest = 1;

	if (low == high)
		return low;
	if (high - low > PFS_SIM_PIECE)
		lens[newest++] = pfs_round_up(low + (high - low) / 2, PFS_SIM_PIECE);
	lens[newest] = inode->len;
	return lens[choose(c, newest + 1, newest)];
}

static void copy_allocation(struct sim_inode *to, const struct sim_inode *from)
{
	to->piece_end = from->piece_end;
	for (size_t i = 0; i < from->piece_end; i++)
		to->pieces[i].allocated = from->pieces[i].allocated;
	to->allocated = from->allocated;
}

/* Chooses the state of one piece of the file and gives it to the twin, if there is one that reaches
 * so far. */
static void cut_piece(struct chooser *c, struct pfs_sim *image, const struct sim_inode *from,
		      size_t i, uint64_t len)
{
	const struct sim_piece *piece = &from->pieces[i];
	struct sim_inode *to = from->twin;
	const struct sim_content *content = &piece->content;
	struct sim_content fresh = {0};
	unsigned newest = piece->version_count, choice = newest;
	uint8_t torn[PFS_SIM_PIECE];
	const uint8_t *bytes;

	if (piece_undecided(from, i))
		choice = choose(c, newest + 2, newest);
	else if (!piece->written)
		return;
	if (!to || (uint64_t)i * PFS_SIM_PIECE >= len)
		return;
	bytes = piece_state(from, i, choice);
	if (choice > newest) {
		tear(c, torn, from, i);
		bytes = torn;
		fresh.id = sim_new_id(image);
		content = &fresh;
	} else if (choice < newest) {
		content = &piece->version[choice].content;
	}
	sim_piece_put(to, i, content->id ? bytes : NULL, content);
	to->pieces[i].written = true;
	if (!to->pieces[i].allocated) {
		to->pieces[i].allocated = true;
		to->allocated++;
	}
}

/* Pieces of a new image that nothing was put into may have bytes from an earlier image. */
static void clear_unwritten(struct sim_inode *to)
{
	for (size_t i = 0; i < to->touched_end; i++)
		if (!to->pieces[i].written)
			sim_piece_put(to, i, NULL, NULL);
}

/* Fills the file's twin with a state that a power cut could leave. Without a twin it only makes the
 * choices, because what an index means must not depend on other choices. */
static void cut_file(struct chooser *c, struct pfs_sim *image, const struct sim_inode *from)
{
	struct sim_inode *to = from->twin;
	uint64_t len = choose_len(c, from);

	if (to)
		copy_allocation(to, from);
	for (size_t i = 0; i < from->piece_end; i++)
		cut_piece(c, image, from, i, len);
	if (!to)
		return;
	to->len = to->durable_len = len;
	clear_unwritten(to);
	sim_inode_zero(image, to, len, PFS_SIM_FILE_MAX);
	for (size_t i = 0; i < to->piece_end; i++)
		sim_piece_settle(&to->pieces[i]);
}

/* Everything, and what is undecided stays so. */
static void copy_file(struct sim_inode *to, const struct sim_inode *from)
{
	copy_allocation(to, from);
	to->len = from->len;
	to->durable_len = from->durable_len;
	for (size_t i = 0; i < from->piece_end; i++) {
		const struct sim_piece *piece = &from->pieces[i];
		struct sim_piece *copy = &to->pieces[i];

		if (piece->written) {
			sim_piece_put(to, i, piece->content.id ? sim_piece_bytes(from, i) : NULL,
				      &piece->content);
			copy->written = true;
		}
		copy->forgotten = piece->forgotten;
		copy->version_count = piece->version_count;
		if (piece->version_count)
			copy->version = sim_alloc(PFS_SIM_VERSIONS * sizeof(*copy->version));
		for (unsigned v = 0; v < piece->version_count; v++) {
			copy->version[v] = piece->version[v];
			if (!piece->version[v].bytes)
				continue;
			copy->version[v].bytes = sim_alloc(PFS_SIM_PIECE);
			memcpy(copy->version[v].bytes, piece->version[v].bytes, PFS_SIM_PIECE);
		}
	}
	clear_unwritten(to);
}

/* ---- names ---- */

static struct sim_inode *twin_of(struct pfs_sim *image, struct sim_inode *inode)
{
	if (!inode->twin)
		inode->twin = sim_inode_new(image, inode);
	return inode->twin;
}

static void copy_names(struct pfs_sim *image, struct sim_names *to, const struct sim_names *from)
{
	for (size_t i = 0; i < from->count; i++)
		sim_names_set(to, from->at[i].text, twin_of(image, from->at[i].inode));
}

/* Within one sim: the files themselves, not their twins. */
static void same_names(struct sim_names *to, const struct sim_names *from)
{
	for (size_t i = 0; i < from->count; i++)
		sim_names_set(to, from->at[i].text, from->at[i].inode);
}

static bool contains(char *const *texts, size_t n, const char *text)
{
	while (text && n--)
		if (texts[n] && !strcmp(texts[n], text))
			return true;
	return false;
}

/* The durable names and those changes of which the chooser says so. A change that is dropped takes
 * with it what came later for the same names. image NULL: only makes the choices. */
static void cut_names(struct pfs_sim *image, struct chooser *c, const struct sim_node *from,
		      struct sim_names *to)
{
	char **dropped = sim_alloc((2 * from->change_count + 1) * sizeof(*dropped));
	size_t n = 0;

	if (image)
		copy_names(image, to, &from->durable);
	for (size_t i = 0; i < from->change_count; i++) {
		const struct sim_change *change = &from->changes[i];
		bool kept = choose(c, 2, 1);

		if (contains(dropped, n, change->from) || contains(dropped, n, change->to))
			kept = false;
		if (!kept) {
			dropped[n++] = change->from;
			dropped[n++] = change->to;
		} else if (image) {
			sim_names_apply(to, change->from, change->to,
					twin_of(image, change->inode));
		}
	}
	free(dropped);
}

/* ---- images ---- */

static struct pfs_sim *image_begin(struct pfs_sim *sim)
{
	struct pfs_sim *image = sim_new(sim->io.ops, sim->pool);

	pthread_mutex_lock(&sim->pool->mutex);
	sim->pool->refs++;
	pthread_mutex_unlock(&sim->pool->mutex);
	image->capacity = sim->capacity;
	for (struct sim_inode *inode = sim->inodes; inode; inode = inode->next)
		inode->twin = NULL;
	return image;
}

/* Counts links, and drops files that no name leads to. */
static void image_end(struct pfs_sim *image)
{
	for (struct sim_node *node = image->nodes; node; node = node->next)
		for (size_t i = 0; i < node->names.count; i++)
			node->names.at[i].inode->nlink++;
	for (struct sim_inode *inode = image->inodes, *next; inode; inode = next) {
		next = inode->next;
		sim_inode_settle(image, inode);
	}
}

static void choose_all(struct pfs_sim *sim, struct pfs_sim *image, struct chooser *c)
{
	for (struct sim_node *node = sim->nodes; node; node = node->next) {
		struct sim_node *to = image ? sim_node_new(image, node->path) : NULL;

		cut_names(image, c, node, to ? &to->names : NULL);
		if (to)
			same_names(&to->durable, &to->names);
	}
	for (struct sim_inode *inode = sim->inodes; inode; inode = inode->next)
		if (inode->name_refs)
			cut_file(c, image, inode);
}

static struct pfs_sim *crash(const struct pfs_sim *from, struct chooser *c)
{
	struct pfs_sim *sim = (struct pfs_sim *)(uintptr_t)from, *image;

	pthread_mutex_lock(&sim->mutex);
	image = image_begin(sim);
	choose_all(sim, image, c);
	image_end(image);
	pthread_mutex_unlock(&sim->mutex);
	return image;
}

static struct chooser count_choices(const struct pfs_sim *from)
{
	struct pfs_sim *sim = (struct pfs_sim *)(uintptr_t)from;
	struct chooser c = {.how = COUNT_ONLY, .images = 1};

	pthread_mutex_lock(&sim->mutex);
	for (struct sim_inode *inode = sim->inodes; inode; inode = inode->next)
		inode->twin = NULL;
	choose_all(sim, NULL, &c);
	pthread_mutex_unlock(&sim->mutex);
	return c;
}

uint64_t pfs_sim_pending(const struct pfs_sim *sim)
{
	return count_choices(sim).things;
}

uint64_t pfs_sim_images(const struct pfs_sim *sim)
{
	return count_choices(sim).images;
}

struct pfs_sim *pfs_sim_crash_index(const struct pfs_sim *sim, uint64_t index)
{
	struct chooser c = {
		.how = BY_INDEX, .index = index, .random = pfs_mix64(index), .images = 1};

	return crash(sim, &c);
}

struct pfs_sim *pfs_sim_crash_seed(const struct pfs_sim *sim, uint64_t seed)
{
	static const uint8_t keep[] = {0, 1, 4, 16, 32, 48, 60, 63, 64};
	struct chooser c = {
		.how = BY_SEED, .random = pfs_mix64(seed ^ UINT64_C(0x5eed)), .images = 1};

	c.keep = keep[seed % pfs_array_len(keep)];
	return crash(sim, &c);
}

struct pfs_sim *pfs_sim_kill(const struct pfs_sim *from)
{
	struct pfs_sim *sim = (struct pfs_sim *)(uintptr_t)from, *image;

	pthread_mutex_lock(&sim->mutex);
	image = image_begin(sim);
	for (struct sim_inode *inode = sim->inodes; inode; inode = inode->next)
		if (inode->name_refs)
			copy_file(twin_of(image, inode), inode);
	for (struct sim_node *node = sim->nodes; node; node = node->next) {
		struct sim_node *to = sim_node_new(image, node->path);

		copy_names(image, &to->names, &node->names);
		copy_names(image, &to->durable, &node->durable);
		for (size_t i = 0; i < node->change_count; i++)
			sim_change_add(to, node->changes[i].from, node->changes[i].to,
				       node->changes[i].inode->twin);
	}
	image_end(image);
	pthread_mutex_unlock(&sim->mutex);
	return image;
}

uint64_t pfs_sim_hash(const struct pfs_sim *from)
{
	struct pfs_sim *sim = (struct pfs_sim *)(uintptr_t)from;
	uint64_t sum = 0;

	pthread_mutex_lock(&sim->mutex);
	for (const struct sim_node *node = sim->nodes; node; node = node->next) {
		for (size_t i = 0; i < node->names.count; i++) {
			struct sim_inode *inode = node->names.at[i].inode;
			uint64_t h = pfs_mix64(inode->len + 1);

			for (const char *c = node->names.at[i].text; *c; c++)
				h = pfs_mix64(h ^ (uint8_t)*c);
			for (size_t p = 0; p < inode->piece_end; p++) {
				uint64_t piece = sim_content_hash(&inode->pieces[p].content,
								  sim_piece_bytes(inode, p));

				if (piece)
					h += pfs_mix64(piece + p * UINT64_C(0x9e3779b97f4a7c15));
			}
			sum += pfs_mix64(h);
		}
	}
	pthread_mutex_unlock(&sim->mutex);
	return sum;
}

void pfs_sim_settle(struct pfs_sim *sim)
{
	pthread_mutex_lock(&sim->mutex);
	for (struct sim_node *node = sim->nodes; node; node = node->next)
		sim_node_sync(sim, node);
	for (struct sim_inode *inode = sim->inodes; inode; inode = inode->next) {
		inode->durable_len = inode->len;
		/* All that was touched: a sim may be kept in this state for good, and no leak
		 * detector looks for pointers in the pieces. */
		for (size_t i = 0; i < inode->touched_end; i++) {
			sim_piece_settle(&inode->pieces[i]);
			free(inode->pieces[i].version);
			inode->pieces[i].version = NULL;
		}
	}
	pthread_mutex_unlock(&sim->mutex);
}
