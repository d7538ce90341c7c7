/* The end of a publication: the manifest, and `current`. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/publish_internal.h"

static void take_objects(struct pfs_manifest *m, const struct publish_objects *list)
{
	for (size_t i = 0; i < list->count; i++) {
		uint64_t chunks = pfs_chunks_of(list->at[i].at.len);

		m->objects[m->object_count] = list->at[i].at;
		m->objects[m->object_count++].chunk = m->chunk_count;
		memcpy(m->crcs + m->chunk_count, list->at[i].crcs, chunks * sizeof(*m->crcs));
		m->chunk_count += chunks;
		if (list->at[i].at.role == PFS_OBJECT_PAGE)
			m->container_bytes += pfs_page_containers_len(&list->at[i].at);
	}
}

static uint64_t count_chunks(const struct publish_objects *list)
{
	uint64_t chunks = 0;

	for (size_t i = 0; i < list->count; i++)
		chunks += pfs_chunks_of(list->at[i].at.len);
	return chunks;
}

static int make_manifest(struct pfs_publish *p, struct pfs_manifest *m)
{
	const struct pfs_publish_options *o = &p->options;
	size_t objects = p->dicts.count + p->key_objects.count + p->pages.count;
	uint64_t chunks =
		count_chunks(&p->dicts) + count_chunks(&p->key_objects) + count_chunks(&p->pages);

	*m = (struct pfs_manifest){
		.generation = p->before.generation + 1,
		.published_ns = o->moment_ns,
		.sequence = o->sequence,
		.points = p->result.points,
		.raw_bytes = p->result.raw_bytes,
		.mode = o->defaults.mode & 07777,
		.uid = o->defaults.uid,
		.gid = o->defaults.gid,
		.dict_raw = p->dict_raw,
		.dict_packed = p->dict_packed,
	};
	memcpy(m->uuid, p->uuid, sizeof(m->uuid));
	memcpy(m->source, o->source, sizeof(m->source));
	if (m->generation > PFS_GENERATION_MAX || objects > UINT32_MAX ||
	    p->block_count > UINT32_MAX)
		return -EFBIG;
	m->objects = calloc(objects + 1, sizeof(*m->objects));
	m->crcs = calloc(chunks + 1, sizeof(*m->crcs));
	if (!m->objects || !m->crcs) {
		pfs_manifest_free(m);
		return -ENOMEM;
	}
	take_objects(m, &p->dicts);
	take_objects(m, &p->key_objects);
	take_objects(m, &p->pages);
	m->blocks = p->blocks;
	m->block_count = (uint32_t)p->block_count;
	p->blocks = NULL;
	p->block_count = p->block_cap = 0;
	return 0;
}

/* Whether nothing is to be said anew: the objects have the same bytes in the same order. */
static bool is_unchanged(const struct pfs_publish *p, const struct pfs_manifest *m)
{
	const struct pfs_manifest *b = &p->before;

	if (b->generation == 0 || b->object_count != m->object_count || b->points != m->points ||
	    b->mode != m->mode || b->uid != m->uid || b->gid != m->gid ||
	    memcmp(b->source, m->source, PFS_UUID_LEN) != 0)
		return false;
	for (uint32_t i = 0; i < m->object_count; i++) {
		if (b->objects[i].role != m->objects[i].role ||
		    b->objects[i].len != m->objects[i].len ||
		    memcmp(b->objects[i].hash, m->objects[i].hash, PFS_HASH_LEN) != 0)
			return false;
	}
	return true;
}

static int sync_names(struct pfs_publish *p)
{
	return p->dir->ops->whole_files ? 0 : pfs_dir_sync(p->dir);
}

static int write_manifest(struct pfs_publish *p, const struct pfs_manifest *m,
			  struct pfs_current_generation *current)
{
	char name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;
	int err = pfs_manifest_encode(m, &bytes, &len);

	if (err)
		return err;
	pfs_generation_name(name, m->generation);
	err = publish_file(p, name, bytes, len, true);
	*current = (struct pfs_current_generation){m->generation, len, pfs_crc32c(0, bytes, len)};
	free(bytes);
	return err;
}

/* Objects are durable before the manifest names them, it before `current` names it. Where nothing
 * locks out others who publish, two never write the same manifest: the second takes the next
 * number, as after one that was cut off, and then finds that it is not alone. */
static int write_generation(struct pfs_publish *p, struct pfs_manifest *m)
{
	struct pfs_current_generation current;
	int err = sync_names(p);

	if (!err)
		err = write_manifest(p, m, &current);
	while (err == -EEXIST && m->generation < PFS_GENERATION_MAX) {
		m->generation++;
		err = write_manifest(p, m, &current);
	}
	if (!err)
		err = sync_names(p);
	if (!err)
		err = publish_set_current(p, &current);
	if (!err)
		err = sync_names(p);
	if (!err)
		p->result.generation = current.generation;
	return err;
}

int pfs_publish_commit(struct pfs_publish *p, struct pfs_publish_result *result)
{
	struct pfs_manifest m = {0};
	int err = p->err;

	if (!err)
		err = publish_choose_dict(p);
	if (!err)
		err = publish_flush_page(p);
	if (!err)
		err = publish_flush_keys(p);
	if (!err)
		err = make_manifest(p, &m);
	if (!err) {
		p->result.unchanged = is_unchanged(p, &m);
		p->result.generation = p->before.generation;
		if (!p->result.unchanged)
			err = write_generation(p, &m);
	}
	pfs_manifest_free(&m);
	p->err = err ? err : -EINVAL; /* nothing can be added any more */
	*result = p->result;
	return err;
}
