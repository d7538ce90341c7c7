#include "tests/sim/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define IMAGE_ROOM_MIN (64 * PFS_MIB)
#define POOLED_PIECES_MAX 4096	    /* 16 MiB */
#define POOLED_TOTAL_MAX (1u << 20) /* 4 GiB */

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "sim: out of memory\n");
		abort();
	}
	return p;
}

_Thread_local bool pfs_sim_allocates;

void *sim_realloc(void *p, size_t size)
{
	pfs_sim_allocates = true;
	p = realloc(p, size);
	pfs_sim_allocates = false;
	return must(p);
}

void *sim_alloc(size_t size)
{
	return memset(sim_realloc(NULL, size), 0, size);
}

char *sim_strdup(const char *text)
{
	return text ? strcpy(sim_alloc(strlen(text) + 1), text) : NULL;
}

static void *reserve(size_t size)
{
	void *p;

	pfs_sim_allocates = true;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	pfs_sim_allocates = false;
	return must(p == MAP_FAILED ? NULL : p);
}

/* ---- files that are kept for later images ---- */

struct sim_pool *sim_pool_new(void)
{
	struct sim_pool *pool = sim_alloc(sizeof(*pool));

	pthread_mutex_init(&pool->mutex, NULL);
	pool->refs = 1;
	pool->next_id = 1;
	return pool;
}

static size_t pieces_size(const struct sim_inode *inode)
{
	return inode->room / PFS_SIM_PIECE * sizeof(struct sim_piece);
}

static struct sim_inode *inode_alloc(uint64_t room)
{
	struct sim_inode *inode = sim_alloc(sizeof(*inode));

	inode->room = room;
	inode->bytes = reserve(room);
	inode->pieces = reserve(pieces_size(inode));
	return inode;
}

static void inode_free(struct sim_inode *inode)
{
	munmap(inode->bytes, inode->room);
	munmap(inode->pieces, pieces_size(inode));
	free(inode);
}

void sim_pool_unref(struct sim_pool *pool)
{
	bool last;

	pthread_mutex_lock(&pool->mutex);
	last = --pool->refs == 0;
	pthread_mutex_unlock(&pool->mutex);
	if (!last)
		return;
	while (pool->inodes) {
		struct sim_inode *inode = pool->inodes;

		pool->inodes = inode->next;
		inode_free(inode);
	}
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

/* For an image of `from`, or for a new file when that is NULL: an earlier image of the same file
 * has most of the bytes, one of the same family (an image of another moment) many, and any other
 * has at least its memory mapped. */
static struct sim_inode *pool_take(struct sim_pool *pool, const struct sim_inode *from,
				   uint64_t room)
{
	struct sim_inode **link, **best = NULL, *inode = NULL;
	unsigned best_rank = 0;

	pthread_mutex_lock(&pool->mutex);
	for (link = &pool->inodes; *link && best_rank < 3; link = &(*link)->next) {
		unsigned rank = 1;

		if ((*link)->room < room)
			continue;
		if (from && (*link)->family == from->family)
			rank = (*link)->origin == from->number ? 3 : 2;
		if (rank > best_rank) {
			best = link;
			best_rank = rank;
		}
	}
	if (best) {
		inode = *best;
		*best = inode->next;
		pool->pieces -= inode->touched_end;
	}
	pthread_mutex_unlock(&pool->mutex);
	return inode;
}

static void pool_give(struct sim_pool *pool, struct sim_inode *inode)
{
	bool keep;

	pthread_mutex_lock(&pool->mutex);
	/* What is large, or left over from a moment with thousands of images, would keep its memory
	 * for nothing. */
	keep = inode->touched_end <= POOLED_PIECES_MAX && pool->pieces < POOLED_TOTAL_MAX;
	if (keep) {
		inode->next = pool->inodes;
		pool->inodes = inode;
		pool->pieces += inode->touched_end;
	}
	pthread_mutex_unlock(&pool->mutex);
	if (!keep)
		inode_free(inode);
}

/* ---- files ---- */

uint64_t sim_new_id(struct pfs_sim *sim)
{
	return __atomic_fetch_add(&sim->pool->next_id, 1, __ATOMIC_RELAXED);
}

/* As in an empty file, but for the contents if they are to be kept. */
static void reset(struct sim_inode *inode, bool keep_contents)
{
	for (size_t i = 0; i < inode->touched_end; i++) {
		struct sim_piece *piece = &inode->pieces[i];

		sim_piece_settle(piece);
		free(piece->version);
		piece->version = NULL;
		piece->allocated = piece->written = false;
		if (!keep_contents)
			sim_piece_put(inode, i, NULL, NULL);
	}
	inode->name_refs = inode->open_refs = inode->nlink = 0;
	inode->piece_end = 0;
	inode->len = inode->durable_len = inode->allocated = 0;
	inode->shared_locks = 0;
	inode->exclusive_lock = false;
	inode->twin = NULL;
}

/* Thousands of images may be there at a time, for which address space is not endless. */
static uint64_t image_room(const struct sim_inode *from)
{
	uint64_t room = IMAGE_ROOM_MIN, used = (uint64_t)from->piece_end * PFS_SIM_PIECE;

	used = pfs_max_u64(used, pfs_max_u64(from->len, from->durable_len));
	while (room < PFS_SIM_FILE_MAX && room / 2 < used)
		room *= 2;
	return room;
}

struct sim_inode *sim_inode_new(struct pfs_sim *sim, const struct sim_inode *from)
{
	uint64_t room = from ? image_room(from) : sim->file_max;
	struct sim_inode *inode = pool_take(sim->pool, from, room), **tail;

	if (!inode)
		inode = inode_alloc(room);
	reset(inode, from != NULL);
	inode->next = NULL;
	inode->origin = from ? from->number : 0;
	inode->number = sim_new_id(sim);
	inode->family = from ? from->family : inode->number;
	for (tail = &sim->inodes; *tail;)
		tail = &(*tail)->next;
	*tail = inode;
	return inode;
}

void sim_inode_settle(struct pfs_sim *sim, struct sim_inode *inode)
{
	struct sim_inode **link = &sim->inodes;

	if (!inode || inode->name_refs || inode->open_refs)
		return;
	while (*link != inode)
		link = &(*link)->next;
	*link = inode->next;
	reset(inode, true);
	pool_give(sim->pool, inode);
}

/* Reads bytes that another thread may be writing beside the part that is the caller's business,
 * which is no race of the engine's: so not with memcpy, which ThreadSanitizer watches. */
__attribute__((no_sanitize("thread"))) static void copy_unwatched(uint8_t *to, const uint8_t *from)
{
	const volatile uint64_t *in = (const volatile uint64_t *)from;
	volatile uint64_t *out = (volatile uint64_t *)to;

	for (size_t i = 0; i < PFS_SIM_PIECE / sizeof(*in); i++)
		out[i] = in[i];
}

void sim_piece_remember(struct pfs_sim *sim, struct sim_inode *inode, size_t i)
{
	struct sim_piece *piece = &inode->pieces[i];
	struct sim_version state = {0};

	if (!piece->version)
		piece->version = sim_alloc(PFS_SIM_VERSIONS * sizeof(*piece->version));
	if (piece->written) {
		state.content = piece->content;
		state.bytes = sim_realloc(NULL, PFS_SIM_PIECE);
		copy_unwatched(state.bytes, sim_piece_bytes(inode, i));
	}
	if (piece->version_count == PFS_SIM_VERSIONS) {
		free(piece->version[1].bytes);
		memmove(&piece->version[1], &piece->version[2],
			(PFS_SIM_VERSIONS - 2) * sizeof(piece->version[0]));
		piece->version_count--;
	}
	piece->version[piece->version_count++] = state;
	piece->forgotten = false;
	piece->content = (struct sim_content){.id = sim_new_id(sim)};
	inode->piece_end = pfs_max_u64(inode->piece_end, i + 1);
	inode->touched_end = pfs_max_u64(inode->touched_end, i + 1);
}

void sim_piece_put(struct sim_inode *inode, size_t i, const uint8_t *bytes,
		   const struct sim_content *content)
{
	static const struct sim_content zeros;
	struct sim_piece *piece = &inode->pieces[i];

	content = bytes ? content : &zeros;
	if (piece->content.id == content->id)
		return;
	piece->content = *content;
	if (bytes)
		memcpy(sim_piece_bytes(inode, i), bytes, PFS_SIM_PIECE);
	else
		memset(sim_piece_bytes(inode, i), 0, PFS_SIM_PIECE);
	inode->touched_end = pfs_max_u64(inode->touched_end, i + 1);
}

void sim_piece_settle(struct sim_piece *piece)
{
	while (piece->version_count)
		free(piece->version[--piece->version_count].bytes);
	piece->forgotten = false;
}

uint64_t sim_content_hash(struct sim_content *content, const uint8_t *bytes)
{
	uint64_t lane[4] = {1, 2, 3, 4}, any = 0;

	if (content->id == 0)
		return 0;
	if (content->hashed == content->id)
		return content->hash;
	for (size_t i = 0; i < PFS_SIM_PIECE; i += sizeof(lane)) {
		for (size_t k = 0; k < pfs_array_len(lane); k++) {
			uint64_t x = pfs_get_le64(bytes + i + 8 * k);

			any |= x;
			x = (x ^ lane[k]) * UINT64_C(0x9e3779b97f4a7c15);
			lane[k] = x ^ x >> 29;
		}
	}
	content->hashed = content->id;
	content->hash = 0;
	for (size_t k = 0; k < pfs_array_len(lane) && any; k++)
		content->hash = pfs_mix64(content->hash + lane[k]) | 1;
	return content->hash;
}

bool sim_piece_allocate(struct pfs_sim *sim, struct sim_inode *inode, size_t i)
{
	struct sim_piece *piece = &inode->pieces[i];

	if (piece->allocated)
		return true;
	if (sim->capacity && sim_used(sim) + PFS_SIM_PIECE > sim->capacity)
		return false;
	piece->allocated = true;
	inode->allocated++;
	inode->piece_end = pfs_max_u64(inode->piece_end, i + 1);
	inode->touched_end = pfs_max_u64(inode->touched_end, i + 1);
	return true;
}

void sim_inode_zero(struct pfs_sim *sim, struct sim_inode *inode, uint64_t off, uint64_t end)
{
	size_t last = pfs_min_u64((end + PFS_SIM_PIECE - 1) / PFS_SIM_PIECE, inode->piece_end);

	for (size_t i = off / PFS_SIM_PIECE; i < last; i++) {
		uint64_t start = (uint64_t)i * PFS_SIM_PIECE;
		uint64_t from = pfs_max_u64(off, start),
			 to = pfs_min_u64(end, start + PFS_SIM_PIECE);
		struct sim_piece *piece = &inode->pieces[i];

		if (piece->written) {
			sim_piece_remember(sim, inode, i);
			memset(inode->bytes + from, 0, to - from);
		}
		if (to - from < PFS_SIM_PIECE)
			continue;
		piece->content = (struct sim_content){0};
		piece->written = false;
		inode->allocated -= piece->allocated;
		piece->allocated = false;
	}
}

uint64_t sim_used(const struct pfs_sim *sim)
{
	uint64_t pieces = 0;

	for (const struct sim_inode *inode = sim->inodes; inode; inode = inode->next)
		if (inode->nlink || inode->open_refs)
			pieces += inode->allocated;
	return pieces * PFS_SIM_PIECE;
}

/* ---- names ---- */

struct sim_node *sim_node_find(struct pfs_sim *sim, const char *path)
{
	struct sim_node *node = sim->nodes;

	while (node && strcmp(node->path, path))
		node = node->next;
	return node;
}

struct sim_node *sim_node_new(struct pfs_sim *sim, const char *path)
{
	struct sim_node *node = sim_alloc(sizeof(*node)), **tail = &sim->nodes;

	node->path = sim_strdup(path);
	while (*tail)
		tail = &(*tail)->next;
	*tail = node;
	return node;
}

static struct sim_name *find_name(const struct sim_names *names, const char *text)
{
	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(names->at[i].text, text))
			return &names->at[i];
	return NULL;
}

struct sim_inode *sim_names_get(const struct sim_names *names, const char *text)
{
	struct sim_name *name = find_name(names, text);

	return name ? name->inode : NULL;
}

void sim_names_set(struct sim_names *names, const char *text, struct sim_inode *inode)
{
	struct sim_name *name = find_name(names, text);

	if (inode)
		inode->name_refs++;
	if (name) {
		name->inode->name_refs--;
		name->inode = inode;
		if (!inode) {
			free(name->text);
			*name = names->at[--names->count];
		}
		return;
	}
	if (!inode)
		return;
	if (names->count == names->room) {
		names->room = names->room ? 2 * names->room : 16;
		names->at = sim_realloc(names->at, names->room * sizeof(*names->at));
	}
	names->at[names->count++] = (struct sim_name){.text = sim_strdup(text), .inode = inode};
}

void sim_names_apply(struct sim_names *names, const char *from, const char *to,
		     struct sim_inode *inode)
{
	if (from)
		sim_names_set(names, from, NULL);
	if (to)
		sim_names_set(names, to, inode);
}

void sim_change_add(struct sim_node *node, const char *from, const char *to,
		    struct sim_inode *inode)
{
	if (node->change_count == node->change_room) {
		node->change_room = node->change_room ? 2 * node->change_room : 16;
		node->changes =
			sim_realloc(node->changes, node->change_room * sizeof(*node->changes));
	}
	inode->name_refs++;
	node->changes[node->change_count++] =
		(struct sim_change){.from = sim_strdup(from), .to = sim_strdup(to), .inode = inode};
}

void sim_node_sync(struct pfs_sim *sim, struct sim_node *node)
{
	for (size_t i = 0; i < node->change_count; i++) {
		struct sim_change *change = &node->changes[i];
		struct sim_inode *replaced =
			change->to ? sim_names_get(&node->durable, change->to) : NULL;

		sim_names_apply(&node->durable, change->from, change->to, change->inode);
		if (replaced && replaced != change->inode)
			sim_inode_settle(sim, replaced);
		change->inode->name_refs--;
		sim_inode_settle(sim, change->inode);
		free(change->from);
		free(change->to);
	}
	node->change_count = 0;
}
