#include "storage/space.h"

#include <stdlib.h>

struct pfs_space_node {
	uint64_t off, len, longest; /* longest: of the subtree */
	uint32_t left, right, priority;
};

void pfs_space_init(struct pfs_space *space)
{
	*space = (struct pfs_space){.random = 0x9e3779b9u};
}

void pfs_space_free(struct pfs_space *space)
{
	free(space->nodes);
	pfs_space_init(space);
}

int pfs_space_reserve(struct pfs_space *space, uint32_t n)
{
	uint32_t want = (space->node_count ? space->node_count : 1) + n;
	uint32_t cap = space->node_cap ? space->node_cap : 16;
	struct pfs_space_node *nodes;

	if (want <= space->node_cap)
		return 0;
	while (cap < want)
		cap *= 2;
	nodes = realloc(space->nodes, cap * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	if (space->node_count == 0) {
		memset(&nodes[0], 0, sizeof(nodes[0]));
		space->node_count = 1;
	}
	space->nodes = nodes;
	space->node_cap = cap;
	return 0;
}

static uint32_t node_new(struct pfs_space *space, uint64_t off, uint64_t len)
{
	uint32_t n = space->spare;

	if (n)
		space->spare = space->nodes[n].right;
	else
		n = space->node_count++;
	/* xorshift32 (Marsaglia): priorities only have to be unrelated to the offsets. */
	space->random ^= space->random << 13;
	space->random ^= space->random >> 17;
	space->random ^= space->random << 5;
	space->nodes[n] = (struct pfs_space_node){off, len, len, 0, 0, space->random};
	return n;
}

static void node_drop(struct pfs_space *space, uint32_t n)
{
	space->nodes[n].right = space->spare;
	space->spare = n;
}

static void node_update(struct pfs_space *space, uint32_t n)
{
	struct pfs_space_node *node = &space->nodes[n];

	node->longest = node->len;
	node->longest = pfs_max_u64(node->longest, space->nodes[node->left].longest);
	node->longest = pfs_max_u64(node->longest, space->nodes[node->right].longest);
}

/* Splits into extents that begin before off and the others. */
static void split(struct pfs_space *space, uint32_t n, uint64_t off, uint32_t *left,
		  uint32_t *right)
{
	struct pfs_space_node *node = &space->nodes[n];

	if (n == 0) {
		*left = *right = 0;
	} else if (node->off < off) {
		split(space, node->right, off, &node->right, right);
		*left = n;
		node_update(space, n);
	} else {
		split(space, node->left, off, left, &node->left);
		*right = n;
		node_update(space, n);
	}
}

/* Joins two trees; all of left lies before all of right. */
static uint32_t merge(struct pfs_space *space, uint32_t left, uint32_t right)
{
	if (!left || !right)
		return left | right;
	if (space->nodes[left].priority > space->nodes[right].priority) {
		space->nodes[left].right = merge(space, space->nodes[left].right, right);
		node_update(space, left);
		return left;
	}
	space->nodes[right].left = merge(space, left, space->nodes[right].left);
	node_update(space, right);
	return right;
}

/* Removes the rightmost node of *tree and returns it. */
static uint32_t pop_last(struct pfs_space *space, uint32_t *tree)
{
	uint32_t n = *tree;

	if (space->nodes[n].right) {
		uint32_t last = pop_last(space, &space->nodes[n].right);

		node_update(space, n);
		return last;
	}
	*tree = space->nodes[n].left;
	return n;
}

static uint32_t pop_first(struct pfs_space *space, uint32_t *tree)
{
	uint32_t n = *tree;

	if (space->nodes[n].left) {
		uint32_t first = pop_first(space, &space->nodes[n].left);

		node_update(space, n);
		return first;
	}
	*tree = space->nodes[n].right;
	return n;
}

static const struct pfs_space_node *edge(const struct pfs_space *space, uint32_t n, bool last)
{
	uint32_t next = n;

	while (next) {
		n = next;
		next = last ? space->nodes[n].right : space->nodes[n].left;
	}
	return &space->nodes[n];
}

int pfs_space_add(struct pfs_space *space, uint64_t off, uint64_t len)
{
	const struct pfs_space_node *before, *after;
	uint32_t left, right, n;
	bool join_before, join_after;
	uint64_t added = len;
	int err = 0;

	if (!space->spare)
		err = pfs_space_reserve(space, 1);
	if (err)
		return err;
	split(space, space->root, off, &left, &right);
	before = edge(space, left, true);
	after = edge(space, right, false);
	if ((left && before->off + before->len > off) || (right && off + len > after->off)) {
		space->root = merge(space, left, right);
		return -EUCLEAN;
	}
	join_before = left && before->off + before->len == off;
	join_after = right && after->off == off + len;
	if (join_before) {
		n = pop_last(space, &left);
		off = space->nodes[n].off;
		len += space->nodes[n].len;
		node_drop(space, n);
	}
	if (join_after) {
		n = pop_first(space, &right);
		len += space->nodes[n].len;
		node_drop(space, n);
	}
	n = node_new(space, off, len);
	space->root = merge(space, merge(space, left, n), right);
	space->free_bytes += added;
	return 0;
}

int pfs_space_take(struct pfs_space *space, uint64_t len, uint64_t *off)
{
	uint32_t n = space->root;

	if (!n || space->nodes[n].longest < len || len == 0)
		return -ENOSPC;
	for (;;) {
		const struct pfs_space_node *node = &space->nodes[n];

		if (node->left && space->nodes[node->left].longest >= len)
			n = node->left;
		else if (node->len >= len)
			break;
		else
			n = node->right;
	}
	*off = space->nodes[n].off;
	return pfs_space_take_at(space, *off, len);
}

int pfs_space_take_at(struct pfs_space *space, uint64_t off, uint64_t len)
{
	uint32_t left, found, right;
	int err = 0;

	split(space, space->root, off, &left, &right);
	found = right ? pop_first(space, &right) : 0;
	if (!found || space->nodes[found].off != off || space->nodes[found].len < len) {
		err = -ENOSPC;
	} else {
		space->free_bytes -= len;
		space->nodes[found].off += len;
		space->nodes[found].len -= len;
		if (space->nodes[found].len == 0) {
			node_drop(space, found);
			found = 0;
		}
	}
	if (found) {
		space->nodes[found].left = space->nodes[found].right = 0;
		node_update(space, found);
	}
	space->root = merge(space, merge(space, left, found), right);
	return err;
}

uint64_t pfs_space_longest(const struct pfs_space *space)
{
	return space->root ? space->nodes[space->root].longest : 0;
}

static uint32_t count(const struct pfs_space *space, uint32_t n)
{
	if (n == 0)
		return 0;
	return 1 + count(space, space->nodes[n].left) + count(space, space->nodes[n].right);
}

uint32_t pfs_space_extents(const struct pfs_space *space)
{
	return count(space, space->root);
}
