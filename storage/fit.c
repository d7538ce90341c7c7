#include "storage/fit.h"

static bool is_before(const struct pfs_fit_node *node, uint64_t room, uint32_t number)
{
	return node->room < room || (node->room == room && node->number < number);
}

static void split(struct pfs_fit_node *tree, uint64_t room, uint32_t number,
		  struct pfs_fit_node **left, struct pfs_fit_node **right)
{
	if (!tree) {
		*left = *right = NULL;
	} else if (is_before(tree, room, number)) {
		*left = tree;
		split(tree->right, room, number, &tree->right, right);
	} else {
		*right = tree;
		split(tree->left, room, number, left, &tree->left);
	}
}

static struct pfs_fit_node *merge(struct pfs_fit_node *left, struct pfs_fit_node *right)
{
	if (!left || !right)
		return left ? left : right;
	if (left->priority > right->priority) {
		left->right = merge(left->right, right);
		return left;
	}
	right->left = merge(left, right->left);
	return right;
}

void pfs_fit_insert(struct pfs_fit *fit, struct pfs_fit_node *node)
{
	struct pfs_fit_node *left, *right;

	node->left = node->right = NULL;
	node->priority = (uint32_t)pfs_mix64(node->number);
	split(fit->root, node->room, node->number, &left, &right);
	fit->root = merge(merge(left, node), right);
}

void pfs_fit_remove(struct pfs_fit *fit, struct pfs_fit_node *node)
{
	struct pfs_fit_node **at = &fit->root;

	while (*at && *at != node)
		at = is_before(*at, node->room, node->number) ? &(*at)->right : &(*at)->left;
	if (*at)
		*at = merge(node->left, node->right);
}

struct pfs_fit_node *pfs_fit_from(const struct pfs_fit *fit, uint64_t room, uint32_t number)
{
	struct pfs_fit_node *node = fit->root, *found = NULL;

	while (node) {
		if (is_before(node, room, number)) {
			node = node->right;
		} else {
			found = node;
			node = node->left;
		}
	}
	return found;
}
