/* storage/fit.c: the best-fitting page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/fit.h"

#define NODES 300

struct world {
	struct pfs_fit fit;
	struct pfs_fit_node nodes[NODES];
	bool in[NODES];
	uint64_t random;
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

/* The first node by (room, number) that is not before the given pair, by looking at all of them. */
static struct pfs_fit_node *naive_from(struct world *w, uint64_t room, uint32_t number)
{
	struct pfs_fit_node *best = NULL;

	for (size_t i = 0; i < NODES; i++) {
		struct pfs_fit_node *n = &w->nodes[i];

		if (!w->in[i] || n->room < room || (n->room == room && n->number < number))
			continue;
		if (!best || n->room < best->room ||
		    (n->room == best->room && n->number < best->number))
			best = n;
	}
	return best;
}

static void toggle(struct world *w, size_t i, uint64_t room)
{
	if (w->in[i]) {
		pfs_fit_remove(&w->fit, &w->nodes[i]);
	} else {
		w->nodes[i].number = (uint32_t)i + 1;
		w->nodes[i].room = room;
		pfs_fit_insert(&w->fit, &w->nodes[i]);
	}
	w->in[i] = !w->in[i];
}

/* Proves: after any insertions and removals, with many equal rooms, the best fit is the one of a
 * naive search: the page with the least room that still fits, and of equal ones that with the
 * lowest number. */
static void best_fit_is_that_of_a_naive_search(void **state)
{
	static const uint64_t spreads[] = {1, 5, 1000, UINT64_MAX};

	(void)state;
	for (size_t s = 0; s < pfs_array_len(spreads); s++) {
		struct world w = {.random = s};

		for (unsigned step = 0; step < 20000; step++) {
			uint64_t room = roll(&w, spreads[s]);
			uint32_t number = (uint32_t)roll(&w, NODES + 2);

			toggle(&w, roll(&w, NODES), roll(&w, spreads[s]));
			assert_ptr_equal(pfs_fit_from(&w.fit, room, 0), naive_from(&w, room, 0));
			assert_ptr_equal(pfs_fit_from(&w.fit, room, number),
					 naive_from(&w, room, number));
		}
	}
}

/* Proves: going on from each node lists all of them once, in the order of (room, number). */
static void nodes_are_listed_in_order(void **state)
{
	struct world w = {.random = 1};
	struct pfs_fit_node *node, *before = NULL;
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < NODES; i++)
		toggle(&w, i, roll(&w, 40));
	for (node = pfs_fit_from(&w.fit, 0, 0); node;
	     node = pfs_fit_from(&w.fit, node->room, node->number + 1)) {
		if (before)
			assert_true(before->room < node->room ||
				    (before->room == node->room && before->number < node->number));
		before = node;
		count++;
	}
	assert_int_equal(count, NODES);
}

/* Proves: an empty tree, a need that nothing fits, and one that fits exactly. */
static void edges_of_the_fit(void **state)
{
	struct world w = {.random = 1};

	(void)state;
	assert_null(pfs_fit_from(&w.fit, 0, 0));
	pfs_fit_remove(&w.fit, &w.nodes[0]); /* of an empty tree: nothing happens */
	toggle(&w, 0, 100);
	assert_ptr_equal(pfs_fit_from(&w.fit, 100, 0), &w.nodes[0]);
	assert_ptr_equal(pfs_fit_from(&w.fit, 100, 1), &w.nodes[0]);
	assert_null(pfs_fit_from(&w.fit, 100, 2));
	assert_null(pfs_fit_from(&w.fit, 101, 0));
	toggle(&w, 0, 0);
	assert_null(pfs_fit_from(&w.fit, 0, 0));
}

static unsigned depth(const struct pfs_fit_node *node)
{
	unsigned left, right;

	if (!node)
		return 0;
	left = depth(node->left);
	right = depth(node->right);
	return 1 + (left > right ? left : right);
}

/* Proves: pages made one after the other with ascending, descending or equal room do not become a
 * list: the search stays logarithmic. */
static void the_tree_stays_flat(void **state)
{
	enum { COUNT = 100000 };
	struct pfs_fit_node *nodes = calloc(COUNT, sizeof(*nodes));

	(void)state;
	for (unsigned order = 0; order < 3; order++) {
		struct pfs_fit fit = {NULL};

		for (uint32_t i = 0; i < COUNT; i++) {
			nodes[i].number = i + 1;
			nodes[i].room = order == 0 ? i : order == 1 ? COUNT - i : 7;
			pfs_fit_insert(&fit, &nodes[i]);
		}
		assert_in_range(depth(fit.root), 17, 70);
	}
	free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(best_fit_is_that_of_a_naive_search),
		cmocka_unit_test(nodes_are_listed_in_order),
		cmocka_unit_test(edges_of_the_fit),
		cmocka_unit_test(the_tree_stays_flat),
	};

	return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
