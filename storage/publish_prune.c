/* Removing generations, and objects that nobody names. */
#include <stdlib.h>

#include "storage/publish_internal.h"

struct names {
	char (*at)[PFS_OBJECT_NAME_MAX];
	size_t count, cap;
};

struct prune {
	struct pfs_publish *p;
	struct names named;	  /* by generations that stay */
	struct names generations; /* that are there, manifests */
	struct names doomed;
	struct pfs_prune_result *result;
};

static int add_name(struct names *names, const char *name)
{
	if (strlen(name) >= PFS_OBJECT_NAME_MAX)
		return 0; /* none of ours */
	if (names->count == names->cap) {
		size_t cap = names->cap ? 2 * names->cap : 256;
		void *grown = realloc(names->at, cap * sizeof(*names->at));

		if (!grown)
			return -ENOMEM;
		names->at = grown;
		names->cap = cap;
	}
	memcpy(names->at[names->count++], name, strlen(name) + 1);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void sort_names(struct names *names)
{
	if (names->count)
		qsort(names->at, names->count, sizeof(*names->at), by_name);
}

static bool has_name(const struct names *names, const char *name)
{
	return names->count && bsearch(name, names->at, names->count, sizeof(*names->at), by_name);
}

static int found_file(void *arg, const char *name)
{
	struct prune *prune = arg;
	size_t len = strlen(name);
	uint32_t generation;
	unsigned role;

	if (pfs_generation_is_name(name, &generation))
		return add_name(&prune->generations, name);
	if (pfs_object_is_name(name, &role, NULL) ||
	    (len > 4 && strcmp(name + len - 4, ".tmp") == 0))
		return add_name(&prune->doomed, name);
	return 0;
}

/* What this generation names stays. */
static int spare(struct prune *prune, uint32_t generation)
{
	struct pfs_manifest m;
	const char *why;
	int err = publish_read_manifest(prune->p->dir, generation, &m, &why);

	for (uint32_t i = 0; i < m.object_count && !err; i++) {
		char name[PFS_OBJECT_NAME_MAX];

		pfs_object_name(name, m.objects[i].role, m.objects[i].hash);
		err = add_name(&prune->named, name);
	}
	if (err && err != -ENOMEM)
		pfs_logf(&prune->p->options.logger, PFS_LOG_WARNING,
			 "nothing is pruned: generation %u: %s", generation, why);
	pfs_manifest_free(&m);
	return err;
}

/* Their manifests are named by their numbers with leading zeros: the newest are the last. One above
 * the current is of a publication that was cut off. The current one stays also where a list that is
 * not up to date lacks it. */
static int choose(struct prune *prune, uint32_t keep, uint32_t current)
{
	size_t end = prune->generations.count, kept = 1;
	int err = spare(prune, current);

	sort_names(&prune->generations);
	for (size_t i = end; i > 0 && !err; i--) {
		const char *name = prune->generations.at[i - 1];
		uint32_t generation;

		if (!pfs_generation_is_name(name, &generation) || generation == current)
			continue;
		if (generation < current && kept < keep) {
			kept++;
			err = spare(prune, generation);
		} else {
			err = add_name(&prune->doomed, name);
		}
	}
	sort_names(&prune->named);
	return err;
}

static int remove_file(struct prune *prune, const char *name)
{
	struct pfs_dir *dir = prune->p->dir;
	struct pfs_file *file;
	uint64_t size = 0;
	uint32_t generation;
	int err;

	if (dir->ops->open(dir, name, 0, &file) == 0) {
		uint64_t len;

		size = file->ops->size(file, &len) == 0 ? len : 0;
		dir->ops->close(file);
	}
	err = dir->ops->unlink(dir, name);
	if (err == -ENOENT)
		return 0;
	if (err)
		return err;
	if (pfs_generation_is_name(name, &generation)) {
		prune->result->generations++;
	} else {
		prune->result->objects++;
		prune->result->bytes += size;
	}
	return 0;
}

/* Manifests first: none that is there names what is not. */
static int remove_doomed(struct prune *prune)
{
	struct pfs_dir *dir = prune->p->dir;
	uint32_t generation;
	int err = 0;

	for (int manifests = 1; manifests >= 0 && !err; manifests--) {
		for (size_t i = 0; i < prune->doomed.count && !err; i++) {
			const char *name = prune->doomed.at[i];

			if (pfs_generation_is_name(name, &generation) == !!manifests &&
			    !has_name(&prune->named, name))
				err = remove_file(prune, name);
		}
		if (!err && !dir->ops->whole_files)
			err = pfs_dir_sync(dir);
	}
	return err;
}

int pfs_publish_prune(struct pfs_publish *p, uint32_t keep, struct pfs_prune_result *result)
{
	struct prune prune = {.p = p, .result = result};
	uint32_t current = p->result.generation;
	int err;

	*result = (struct pfs_prune_result){0};
	if (keep == 0 || current == 0)
		return -EINVAL;
	err = publish_is_alone(p);
	if (!err)
		err = p->dir->ops->list(p->dir, found_file, &prune);
	if (!err)
		err = choose(&prune, keep, current);
	if (!err)
		err = remove_doomed(&prune);
	free(prune.named.at);
	free(prune.generations.at);
	free(prune.doomed.at);
	return err;
}
