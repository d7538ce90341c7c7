/* A published collection as a store: what is asked by key or by object's number is asked of a
 * generation. */
#include "storage/store_published.h"

#include <stdlib.h>

#include "storage/io_http.h"
#include "storage/page.h"
#include "storage/store_internal.h"

/* A snapshot is a generation. */
struct published_snapshot {
	struct pfs_store *store; /* as in every snapshot (store_entry.c) */
	struct pfs_generation *g;
};

static struct published_snapshot *snapshot_of(const struct pfs_snapshot *snapshot)
{
	return (struct published_snapshot *)(uintptr_t)snapshot;
}

int pfs_store_open_published(struct pfs_store *store, const char *path,
			     const struct pfs_open_options *options, struct pfs_reason *reason)
{
	const struct pfs_http_options http = {
		.timeout_ms = options->remote ? options->remote->timeout_ms : 0,
		.logger = store->logger,
	};
	struct pfs_io io;
	const struct pfs_published_options how = {
		.io = options->io ? options->io : pfs_io_for(path, &http, &io),
		.remote = options->remote,
		.logger = store->logger,
	};

	if (!options->read_only)
		return pfs_refuse(reason, -EROFS,
				  "%s: is a published collection, which can only be read", path);
	return pfs_published_open(&store->published, path, &how, reason);
}

/* ---- one generation ---- */

static int find(struct pfs_store *store, struct pfs_generation *g, const struct pfs_key *key,
		struct pfs_published_doc *doc)
{
	return pfs_published_find(store->published, g, key, doc);
}

/* The document with the object's number, in a generation that is to be put. */
static int resolve(struct pfs_store *store, uint32_t object, struct pfs_generation **g,
		   struct pfs_published_doc *doc)
{
	int err;

	*g = pfs_published_of(store->published, object);
	if (!*g)
		return -ENOENT;
	err = pfs_published_at(store->published, *g, object - (*g)->base, doc);
	if (err) {
		pfs_generation_put(store->published, *g);
		*g = NULL;
	}
	return err;
}

static int get(struct pfs_store *store, struct pfs_generation *g, const struct pfs_key *key,
	       void **data, size_t *len, struct pfs_attr *attr)
{
	struct pfs_published_doc doc;
	ssize_t n;
	int err = find(store, g, key, &doc);

	*data = NULL;
	*len = 0;
	if (err)
		return err;
	*data = malloc(doc.entry.raw_len + (size_t)1);
	if (!*data)
		return -ENOMEM;
	n = pfs_published_read(store->published, g, &doc, 0, *data, doc.entry.raw_len);
	if (n != (ssize_t)doc.entry.raw_len) {
		free(*data);
		*data = NULL;
		return n < 0 ? (int)n : -EIO;
	}
	*len = doc.entry.raw_len;
	if (attr)
		pfs_published_attr(g, &doc, attr);
	return 0;
}

/* ---- objects ---- */

int pfs_published_store_lookup(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
			       struct pfs_attr *attr)
{
	struct pfs_generation *g = pfs_published_current(store->published);
	struct pfs_published_doc doc;
	int err = find(store, g, key, &doc);

	if (object)
		*object = err ? 0 : g->base + doc.rank;
	if (!err && attr)
		pfs_published_attr(g, &doc, attr);
	pfs_generation_put(store->published, g);
	return err;
}

int pfs_published_store_getattr(struct pfs_store *store, uint32_t object, struct pfs_attr *attr)
{
	struct pfs_published_doc doc;
	struct pfs_generation *g;
	int err = resolve(store, object, &g, &doc);

	if (err)
		return err;
	pfs_published_attr(g, &doc, attr);
	pfs_generation_put(store->published, g);
	return 0;
}

int pfs_published_store_object_key(struct pfs_store *store, uint32_t object, struct pfs_key *key)
{
	struct pfs_published_doc doc;
	struct pfs_generation *g;
	int err = resolve(store, object, &g, &doc);

	if (err)
		return err;
	pfs_published_key(&doc, key);
	pfs_generation_put(store->published, g);
	return 0;
}

ssize_t pfs_published_store_read(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
				 size_t len)
{
	struct pfs_published_doc doc;
	struct pfs_generation *g;
	ssize_t n = resolve(store, object, &g, &doc);

	if (n)
		return n;
	n = pfs_published_read(store->published, g, &doc, off, buf, len);
	pfs_generation_put(store->published, g);
	return n;
}

/* Numbers are given back with their whole generation (pfs_store_forget). */
void pfs_published_store_release(struct pfs_store *store, uint32_t object)
{
	(void)store;
	(void)object;
}

int pfs_published_store_tidy(struct pfs_store *store, uint32_t object)
{
	(void)store;
	(void)object;
	return -EALREADY;
}

/* ---- whole documents ---- */

int pfs_published_store_get(struct pfs_store *store, const struct pfs_key *key, void **data,
			    size_t *len, struct pfs_attr *attr)
{
	struct pfs_generation *g = pfs_published_current(store->published);
	int err = get(store, g, key, data, len, attr);

	pfs_generation_put(store->published, g);
	return err;
}

void pfs_published_store_get_many(struct pfs_store *store, const struct pfs_key *keys, size_t count,
				  struct pfs_got *out)
{
	for (size_t i = 0; i < count; i++)
		out[i].err = pfs_published_store_get(store, &keys[i], &out[i].data, &out[i].len,
						     &out[i].attr);
}

int pfs_published_store_place(struct pfs_store *store, const struct pfs_key *key,
			      struct pfs_place *out)
{
	struct pfs_generation *g = pfs_published_current(store->published);
	struct pfs_published_doc doc;
	int err = find(store, g, key, &doc);

	*out = (struct pfs_place){0};
	if (!err)
		err = pfs_published_place(store->published, g, &doc, out);
	pfs_generation_put(store->published, g);
	return err;
}

/* ---- listing ---- */

#define LIST_STEP 256u

/* Cookies are objects' numbers, so that a listing goes on in the generation that it began in. */
ssize_t pfs_published_store_list(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
				 size_t max)
{
	struct pfs_key keys[LIST_STEP];
	struct pfs_generation *g;
	uint32_t rank = 0;
	size_t count = 0;
	ssize_t n = 0;

	if (after < PFS_OBJECT_FIRST) {
		g = pfs_published_current(store->published);
	} else {
		g = after <= UINT32_MAX ? pfs_published_of(store->published, (uint32_t)after)
					: NULL;
		if (!g)
			return -ESTALE; /* that generation is gone */
		rank = (uint32_t)after - g->base + 1;
	}
	while (count < max) {
		n = pfs_published_list(store->published, g, rank, keys,
				       pfs_min_u64(LIST_STEP, max - count));
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, rank++)
			out[count++] = (struct pfs_listed){
				.object = g->base + rank, .cookie = g->base + rank, .key = keys[i]};
	}
	pfs_generation_put(store->published, g);
	return count ? (ssize_t)count : n;
}

/* ---- snapshots ----
 *
 * A sequence tells what is newer: it is the generation's number for all that is in it, since the
 * source's own may go back when another store is published (--adopt). */

int pfs_published_store_snapshot_open(struct pfs_store *store, struct pfs_snapshot **out)
{
	struct published_snapshot *snapshot = malloc(sizeof(*snapshot));

	*out = NULL;
	if (!snapshot)
		return -ENOMEM;
	*snapshot = (struct published_snapshot){store, pfs_published_current(store->published)};
	*out = (struct pfs_snapshot *)snapshot;
	return 0;
}

void pfs_published_store_snapshot_close(struct pfs_snapshot *snapshot)
{
	struct published_snapshot *s = snapshot_of(snapshot);

	pfs_generation_put(s->store->published, s->g);
	free(s);
}

void pfs_published_store_snapshot_info(const struct pfs_snapshot *snapshot,
				       struct pfs_snapshot_info *out)
{
	const struct pfs_manifest *m = &snapshot_of(snapshot)->g->m;

	*out = (struct pfs_snapshot_info){
		.sequence = m->generation,
		.points = m->points,
		.raw_bytes = m->raw_bytes,
		.opened_ns = m->published_ns,
	};
}

int pfs_published_store_snapshot_lookup_change(struct pfs_snapshot *snapshot,
					       const struct pfs_key *key, struct pfs_attr *attr,
					       uint64_t *sequence)
{
	const struct published_snapshot *s = snapshot_of(snapshot);
	struct pfs_published_doc doc;
	int err = find(s->store, s->g, key, &doc);

	*sequence = err ? 0 : s->g->m.generation;
	if (!err && attr)
		pfs_published_attr(s->g, &doc, attr);
	return err;
}

int pfs_published_store_snapshot_glance(struct pfs_snapshot *snapshot, const struct pfs_key *key,
					uint64_t *size, bool *line)
{
	const struct published_snapshot *s = snapshot_of(snapshot);
	struct pfs_published_doc doc;
	int err = find(s->store, s->g, key, &doc);

	*size = err ? 0 : doc.entry.raw_len;
	*line = !err && doc.entry.plain;
	return err;
}

ssize_t pfs_published_store_snapshot_read(struct pfs_snapshot *snapshot, const struct pfs_key *key,
					  uint64_t off, void *buf, size_t len)
{
	const struct published_snapshot *s = snapshot_of(snapshot);
	struct pfs_published_doc doc;
	int err = find(s->store, s->g, key, &doc);

	return err ? err : pfs_published_read(s->store->published, s->g, &doc, off, buf, len);
}

int pfs_published_store_snapshot_get(struct pfs_snapshot *snapshot, const struct pfs_key *key,
				     void **data, size_t *len, struct pfs_attr *attr)
{
	const struct published_snapshot *s = snapshot_of(snapshot);

	return get(s->store, s->g, key, data, len, attr);
}

/* Cookies are ranks, counted from 1. */
ssize_t pfs_published_store_snapshot_list(struct pfs_snapshot *snapshot, uint64_t after,
					  struct pfs_snapshot_name *out, size_t max)
{
	const struct published_snapshot *s = snapshot_of(snapshot);
	struct pfs_key keys[LIST_STEP];
	size_t count = 0;
	ssize_t n = 0;

	while (count < max && after < s->g->m.points) {
		n = pfs_published_list(s->store->published, s->g, (uint32_t)after, keys,
				       pfs_min_u64(LIST_STEP, max - count));
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			out[count++] =
				(struct pfs_snapshot_name){.cookie = ++after, .key = keys[i]};
	}
	return count ? (ssize_t)count : n;
}

/* ---- looking at it ---- */

uint64_t pfs_published_store_sequence(const struct pfs_store *store)
{
	struct pfs_generation *g = pfs_published_current(store->published);
	uint64_t sequence = g->m.generation;

	pfs_generation_put(store->published, g);
	return sequence;
}

static void stat_generation(const struct pfs_generation *g, struct pfs_store_stat *out)
{
	const struct pfs_manifest *m = &g->m;

	*out = (struct pfs_store_stat){
		.points = m->points,
		.raw_bytes = m->raw_bytes,
		.container_bytes = m->container_bytes,
		.slot_bytes = m->points * PFS_SLOT_LEN,
		.used_bytes = m->container_bytes,
		.min_value_size = PFS_PUBLISHED_VALUE_MIN,
		.sequence = m->sequence,
		.durable_sequence = m->sequence,
		.index_bytes = m->object_count * sizeof(*m->objects) +
			       m->block_count * sizeof(*m->blocks) +
			       m->chunk_count * sizeof(*m->crcs),
		.format_version = PFS_FORMAT_VERSION,
		.dictionary_raw = m->dict_raw,
		.dictionary_packed = m->dict_packed,
		.dictionary_trainer = pfs_store_trainer() != NULL,
		.identity = {pfs_get_le64(m->uuid), pfs_get_le64(m->uuid + 8)},
		.defaults = {m->mode, m->uid, m->gid},
		.defaults_recorded = true,
		.read_only = true,
		.published_generation = m->generation,
		.published_ns = (uint64_t)m->published_ns,
	};
	for (uint32_t i = 0; i < m->object_count; i++) {
		const struct pfs_manifest_object *o = &m->objects[i];

		out->disk_bytes += o->len;
		if (o->role == PFS_OBJECT_DICT) {
			out->dictionaries = 1;
			out->dictionary = o->count;
		}
		if (o->role != PFS_OBJECT_PAGE)
			continue;
		out->pages++;
		out->page_bytes += o->len;
		out->page_size = pfs_max_u64(out->page_size, UINT64_C(1) << o->size_log2);
	}
}

int pfs_store_remote_stat(struct pfs_store *store, struct pfs_remote_stat *out)
{
	struct pfs_chunk_cache_stat stat;

	*out = (struct pfs_remote_stat){0};
	if (!store->published)
		return -EOPNOTSUPP;
	pfs_chunk_cache_stat(store->published->cache, &stat);
	*out = (struct pfs_remote_stat){
		.memory_hits = stat.memory_hits + stat.shared,
		.disk_hits = stat.disk_hits,
		.fetched = stat.fetched,
		.fetches = stat.fetches,
		.fetched_bytes = stat.fetched_bytes,
		.failed = stat.failed,
		.wrong = stat.wrong_fetched + stat.wrong_cached,
		.memory_bytes = stat.memory_bytes,
		.disk_bytes = stat.disk_bytes,
		.evicted = stat.evicted,
	};
	return 0;
}

const char *pfs_store_http(void)
{
	return pfs_http_version();
}

int pfs_published_store_stat(struct pfs_store *store, struct pfs_store_stat *out)
{
	struct pfs_published *p = store->published;
	struct pfs_generation *g = pfs_published_current(p);
	struct pfs_io_space space = {0};

	stat_generation(g, out);
	pfs_generation_put(p, g);
	/* Not every backend has such a thing, and nobody writes there. */
	if (p->dir->ops->space && p->dir->ops->space(p->dir, &space) == 0) {
		out->space_total = space.total;
		out->space_available = space.available;
	}
	return 0;
}

int pfs_published_store_pages(struct pfs_store *store, struct pfs_page_stat **out, size_t *count)
{
	struct pfs_generation *g = pfs_published_current(store->published);

	*count = 0;
	*out = calloc(g->m.object_count + 1u, sizeof(**out));
	for (uint32_t i = 0; *out && i < g->m.object_count; i++) {
		const struct pfs_manifest_object *o = &g->m.objects[i];

		if (o->role != PFS_OBJECT_PAGE)
			continue;
		(*out)[(*count)++] = (struct pfs_page_stat){
			.number = i + 1,
			.slots = o->count,
			.size = o->len,
			.disk = o->len,
			.used = pfs_page_containers_len(o),
			.live = pfs_page_containers_len(o) + o->count * (uint64_t)PFS_SLOT_LEN,
		};
	}
	pfs_generation_put(store->published, g);
	return *out ? 0 : -ENOMEM;
}

int pfs_published_store_check(struct pfs_store *store, pfs_finding_fn *fn,
			      pfs_progress_fn *progress, void *arg, const bool *stop,
			      struct pfs_check_result *result)
{
	return pfs_published_check(store->published, fn, progress, arg, stop, result);
}
