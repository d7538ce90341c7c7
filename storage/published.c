#include "storage/published.h"

#include <stdlib.h>

#include "storage/crc.h"
#include "storage/io_http.h"

_Static_assert(PFS_CHUNK_LEN == PFS_CHUNK_SIZE, "the cache knows the manifest's chunks");

/* ---- where ---- */

/* One that can't be opened is there: whoever opens it in earnest says why. No file: a directory, or
 * a link. */
static bool has_file(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;
	int err = dir->ops->open(dir, name, 0, &file);

	if (!err)
		dir->ops->close(file);
	return err != -ENOENT && err != -EUCLEAN && err != -ELOOP;
}

bool pfs_published_is_here(const char *path, const struct pfs_io *io)
{
	struct pfs_dir *dir;
	bool is;

	if (pfs_location_is_url(path))
		return true;
	if (!io)
		io = &pfs_io_file;
	if (io->ops->open_dir(io, path, 0, &dir) != 0)
		return false;
	is = !has_file(dir, PFS_SUPER_NAME) && has_file(dir, PFS_CURRENT_NAME);
	dir->ops->close_dir(dir);
	return is;
}

/* ---- small files ---- */

/* All of it, up to max bytes, malloc'ed. -EFBIG: it is longer. */
static int read_whole(struct pfs_dir *dir, const char *name, size_t max, uint8_t **out, size_t *len)
{
	struct pfs_file *file;
	uint8_t *bytes;
	ssize_t n;
	int err = dir->ops->open(dir, name, 0, &file);

	*out = NULL;
	*len = 0;
	if (err)
		return err;
	bytes = malloc(max + 1);
	n = bytes ? dir->ops->read(file, bytes, max + 1, 0) : -ENOMEM;
	dir->ops->close(file);
	if (n < 0 || (size_t)n > max) {
		free(bytes);
		return n < 0 ? (int)n : -EFBIG;
	}
	*out = bytes;
	*len = (size_t)n;
	return 0;
}

/* What the origin says is current, or, while it can't be reached, what it said last. */
static int read_current(struct pfs_published *p, struct pfs_current_generation *current,
			struct pfs_reason *reason)
{
	char kept_name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;
	int err = read_whole(p->dir, PFS_CURRENT_NAME, PFS_CURRENT_LEN_MAX, &bytes, &len), decoded;
	bool kept = false;

	snprintf(kept_name, sizeof(kept_name), "current-%016llx", (unsigned long long)p->path_hash);
	if (err && !p->newest && err != -ENOENT && err != -ENOTDIR && err != -EFBIG &&
	    err != -ENOMEM) {
		kept = pfs_chunk_cache_kept(p->cache, kept_name, (void **)&bytes, &len) == 0;
		if (kept)
			pfs_logf(&p->logger, PFS_LOG_WARNING,
				 "%s: can't be reached (%s): the generation that was current last "
				 "is read",
				 p->path, strerror(-err));
	}
	if (err && !kept)
		return pfs_refuse(reason, err, "%s: %s", p->path,
				  err == -ENOENT ? "nothing is published there" : strerror(-err));
	decoded = pfs_current_decode(current, (const char *)bytes, len);
	if (!decoded && !kept)
		(void)pfs_chunk_cache_keep(p->cache, kept_name, bytes, len);
	free(bytes);
	if (decoded == -EPROTONOSUPPORT)
		return pfs_refuse(reason, decoded,
				  "%s: published by a newer version of this program", p->path);
	return decoded ? pfs_refuse(reason, decoded, "%s: `%s` is damaged, or something else",
				    p->path, PFS_CURRENT_NAME)
		       : 0;
}

static bool is_manifest(const struct pfs_current_generation *current, const uint8_t *bytes,
			size_t len)
{
	return len == current->len && pfs_crc32c(0, bytes, len) == current->crc;
}

/* The bytes of the manifest, verified. */
static int read_manifest(struct pfs_published *p, const struct pfs_current_generation *current,
			 uint8_t **bytes, struct pfs_reason *reason)
{
	char name[PFS_OBJECT_NAME_MAX], kept_name[PFS_OBJECT_NAME_MAX];
	size_t len;
	int err;

	*bytes = NULL;
	if (current->len > PFS_MANIFEST_LEN_MAX)
		return pfs_refuse(reason, -EUCLEAN, "%s: `%s` is damaged", p->path,
				  PFS_CURRENT_NAME);
	snprintf(kept_name, sizeof(kept_name), "manifest-%08x-%016llx", current->crc,
		 (unsigned long long)p->path_hash);
	if (pfs_chunk_cache_kept(p->cache, kept_name, (void **)bytes, &len) == 0) {
		if (is_manifest(current, *bytes, len))
			return 0;
		free(*bytes);
	}
	pfs_generation_name(name, current->generation);
	err = read_whole(p->dir, name, current->len, bytes, &len);
	if (!err && !is_manifest(current, *bytes, len)) {
		free(*bytes);
		*bytes = NULL;
		err = -EUCLEAN;
	}
	if (err == -EUCLEAN || err == -EFBIG)
		return pfs_refuse(reason, -EUCLEAN,
				  "%s: %s is damaged, or not the one that `%s` "
				  "speaks of",
				  p->path, name, PFS_CURRENT_NAME);
	if (err)
		return pfs_refuse(reason, err == -ENOENT ? -EUCLEAN : err, "%s: %s: %s", p->path,
				  name, strerror(-err));
	(void)pfs_chunk_cache_keep(p->cache, kept_name, *bytes, len);
	return 0;
}

/* ---- generations ---- */

static void free_generation(struct pfs_generation *g)
{
	for (uint32_t i = 0; g->files && i < g->m.object_count; i++)
		pfs_cached_close(g->files[i]);
	free(g->files);
	pfs_codec_dict_free(g->dict);
	pfs_manifest_free(&g->m);
	free(g);
}

static int open_objects(struct pfs_published *p, struct pfs_generation *g)
{
	int err = 0;

	g->files = calloc(g->m.object_count + 1u, sizeof(*g->files));
	if (!g->files)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->m.object_count && !err; i++) {
		const struct pfs_manifest_object *o = &g->m.objects[i];
		char name[PFS_OBJECT_NAME_MAX];

		pfs_object_name(name, o->role, o->hash);
		err = pfs_cached_open(p->cache, p->dir, name, o->len, g->m.crcs + o->chunk,
				      &g->files[i]);
	}
	return err;
}

/* Without its dictionary most of a generation can't be read; what can is. -ENOMEM. */
static int load_dict(struct pfs_published *p, struct pfs_generation *g)
{
	const struct pfs_manifest_object *o = g->m.objects;
	uint8_t bytes[PFS_DICT_LEN_MAX];
	ssize_t n;

	if (g->m.object_count == 0 || o->role != PFS_OBJECT_DICT)
		return 0;
	n = pfs_cached_read(g->files[0], bytes, o->len, 0);
	if (n != (ssize_t)o->len) {
		pfs_logf(&p->logger, PFS_LOG_ERROR,
			 "%s: generation %u: its dictionary can't be "
			 "read: %s",
			 p->path, g->m.generation, strerror(n < 0 ? (int)-n : EIO));
		g->damaged_dict = true;
		return n == -ENOMEM ? -ENOMEM : 0;
	}
	return pfs_codec_dict_new(&g->dict, bytes, o->len);
}

static int load_generation(struct pfs_published *p, const struct pfs_current_generation *current,
			   struct pfs_generation **out, struct pfs_reason *reason)
{
	struct pfs_generation *g = calloc(1, sizeof(*g));
	const char *why = "no memory";
	uint8_t *bytes = NULL;
	int err = g ? read_manifest(p, current, &bytes, reason) : -ENOMEM;

	*out = NULL;
	if (!err) {
		g->crc = current->crc;
		err = pfs_manifest_decode(&g->m, bytes, current->len, &why);
	}
	free(bytes);
	if (!err && g->m.generation != current->generation) {
		why = "it is another one's";
		err = -EUCLEAN;
	}
	if (!err) {
		why = "its objects can't be opened";
		err = open_objects(p, g);
	}
	if (!err)
		err = load_dict(p, g);
	if (err) {
		pfs_refuse(reason, err, "%s: manifest of generation %u: %s", p->path,
			   current->generation, why);
		if (g)
			free_generation(g);
		return err;
	}
	*out = g;
	return 0;
}

/* A range of object numbers that no generation has; they are few. Lock. */
static int find_base(const struct pfs_published *p, uint64_t count, uint32_t *base)
{
	uint64_t at =
		p->newest ? (uint64_t)p->newest->base + p->newest->m.points : PFS_OBJECT_FIRST;
	bool again;

	if (at + count > UINT32_MAX)
		at = PFS_OBJECT_FIRST;
	do {
		again = false;
		for (const struct pfs_generation *g = p->newest; g; g = g->older) {
			if (at < (uint64_t)g->base + g->m.points && g->base < at + count) {
				at = (uint64_t)g->base + g->m.points;
				again = true;
			}
		}
	} while (again);
	if (at + count > UINT32_MAX)
		return -EFBIG;
	*base = (uint32_t)at;
	return 0;
}

struct pfs_generation *pfs_published_current(struct pfs_published *p)
{
	struct pfs_generation *g;

	pthread_mutex_lock(&p->lock);
	g = p->newest;
	g->refs++;
	pthread_mutex_unlock(&p->lock);
	return g;
}

struct pfs_generation *pfs_published_of(struct pfs_published *p, uint32_t object)
{
	struct pfs_generation *g;

	pthread_mutex_lock(&p->lock);
	for (g = p->newest; g; g = g->older) {
		if (object >= g->base && object - g->base < g->m.points) {
			g->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&p->lock);
	return g;
}

void pfs_generation_put(struct pfs_published *p, struct pfs_generation *g)
{
	pthread_mutex_lock(&p->lock);
	g->refs--;
	pthread_mutex_unlock(&p->lock);
}

/* Takes the generations out of the list that nobody can ask for any more: but for the current one
 * and the one before, which listings may still be in. Lock. */
static struct pfs_generation *take_dead(struct pfs_published *p)
{
	struct pfs_generation *dead = NULL, **at = &p->newest->older;

	if (*at)
		at = &(*at)->older;
	while (*at) {
		struct pfs_generation *g = *at;

		if (!g->forgotten || g->refs) {
			at = &g->older;
			continue;
		}
		*at = g->older;
		pfs_published_drop_blocks(p, g);
		g->older = dead;
		dead = g;
	}
	return dead;
}

static void free_dead(struct pfs_published *p)
{
	struct pfs_generation *dead;

	pthread_mutex_lock(&p->lock);
	dead = take_dead(p);
	pthread_mutex_unlock(&p->lock);
	while (dead) {
		struct pfs_generation *next = dead->older;

		free_generation(dead);
		dead = next;
	}
}

static int take_over(struct pfs_published *p, struct pfs_generation *g)
{
	int err;

	pthread_mutex_lock(&p->lock);
	err = find_base(p, g->m.points, &g->base);
	if (!err) {
		g->refs = 1;
		g->reading.page = UINT32_MAX;
		g->older = p->newest;
		if (p->newest)
			p->newest->refs--;
		p->newest = g;
	}
	pthread_mutex_unlock(&p->lock);
	return err;
}

static int refresh(struct pfs_published *p, struct pfs_refreshed *out, struct pfs_reason *reason)
{
	const struct pfs_generation *before = p->newest;
	struct pfs_current_generation current;
	struct pfs_generation *g;
	int err = read_current(p, &current, reason);

	/* A collection that was made anew begins with the same numbers. */
	if (err ||
	    (before && before->m.generation == current.generation && before->crc == current.crc))
		return err;
	err = load_generation(p, &current, &g, reason);
	if (err)
		return err;
	err = take_over(p, g);
	if (err) {
		free_generation(g);
		return pfs_refuse(reason, err, "%s: too many documents", p->path);
	}
	out->changed = before != NULL;
	out->first = before ? before->base : 0;
	out->end = before ? before->base + (uint32_t)before->m.points : 0;
	return 0;
}

int pfs_published_refresh(struct pfs_published *p, struct pfs_refreshed *out)
{
	struct pfs_reason reason = {.text = ""};
	int err;

	*out = (struct pfs_refreshed){0};
	pthread_mutex_lock(&p->refresh_lock);
	err = refresh(p, out, &reason);
	out->generation = p->newest->m.generation;
	/* Said once, however often it is tried. */
	if (err && !p->unreachable)
		pfs_logf(&p->logger, PFS_LOG_WARNING, "%s; generation %u is kept", reason.text,
			 out->generation);
	else if (!err && p->unreachable)
		pfs_logf(&p->logger, PFS_LOG_INFO, "%s: can be reached again", p->path);
	p->unreachable = err != 0;
	free_dead(p);
	pthread_mutex_unlock(&p->refresh_lock);
	return err;
}

void pfs_published_forget(struct pfs_published *p, uint32_t first)
{
	pthread_mutex_lock(&p->lock);
	for (struct pfs_generation *g = p->newest->older; g; g = g->older)
		g->forgotten |= g->base == first;
	pthread_mutex_unlock(&p->lock);
}

/* ---- opening and closing ---- */

static uint64_t hash_path(const char *path)
{
	uint64_t hash = 0;

	for (; *path; path++)
		hash = pfs_mix64(hash ^ (uint8_t)*path) + 1;
	return hash;
}

static int open_cache(struct pfs_published *p, const struct pfs_published_options *o)
{
	struct pfs_chunk_cache_options options = {.logger = o->logger};

	if (o->remote) {
		options.dir = o->remote->cache_dir;
		options.size_max = o->remote->cache_size;
	}
	return pfs_chunk_cache_open(&p->cache, &options);
}

int pfs_published_open(struct pfs_published **out, const char *path,
		       const struct pfs_published_options *options, struct pfs_reason *reason)
{
	struct pfs_published *p = calloc(1, sizeof(*p));
	struct pfs_refreshed refreshed;
	int err;

	*out = NULL;
	if (!p)
		return pfs_refuse(reason, -ENOMEM, "%s: no memory", path);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->refresh_lock, NULL);
	p->logger = options->logger;
	p->path_hash = hash_path(path);
	p->path = strdup(path);
	err = p->path ? open_cache(p, options) : -ENOMEM;
	if (err)
		pfs_refuse(reason, err, "%s: %s", path, strerror(-err));
	if (!err)
		err = options->io->ops->open_dir(options->io, path, 0, &p->dir);
	/* What is wrong with a URL was said, and it may hold a password. */
	if (err == -EINVAL && pfs_location_is_url(path))
		pfs_refuse(reason, err, "the URL can't be used");
	if (err)
		pfs_refuse(reason, err, "%s: can't be opened: %s", path, strerror(-err));
	if (!err)
		err = refresh(p, &refreshed, reason);
	if (err) {
		pfs_published_close(p);
		return err;
	}
	*out = p;
	return 0;
}

void pfs_published_close(struct pfs_published *p)
{
	if (!p)
		return;
	while (p->newest) {
		struct pfs_generation *g = p->newest;

		p->newest = g->older;
		pfs_published_drop_blocks(p, g);
		free_generation(g);
	}
	if (p->dir)
		p->dir->ops->close_dir(p->dir);
	pfs_chunk_cache_close(p->cache);
	free(p->path);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->refresh_lock);
	free(p);
}
