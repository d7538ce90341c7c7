#include "storage/pending.h"

#include <stdlib.h>

struct pfs_version *pfs_version_new(const struct pfs_key *key)
{
	uint8_t room[8];
	struct pfs_tail tail = pfs_key_tail(key, room);
	struct pfs_version *version = calloc(1, sizeof(*version) + tail.len);

	if (!version)
		return NULL;
	pfs_list_init(&version->list);
	version->kind = key->kind;
	version->tag = pfs_key_tag(key);
	version->tail_len = (uint8_t)tail.len;
	if (tail.len)
		memcpy(version->tail, tail.bytes, tail.len);
	return version;
}

void pfs_version_key(const struct pfs_version *version, struct pfs_key *key)
{
	pfs_key_from_tail(key, version->kind, version->tag,
			  &(struct pfs_tail){version->tail, version->tail_len});
}

bool pfs_version_has_key(const struct pfs_version *version, const struct pfs_key *key)
{
	uint8_t room[8];
	struct pfs_tail tail = pfs_key_tail(key, room);

	return version->kind == key->kind && version->tail_len == tail.len &&
	       version->tag == pfs_key_tag(key) &&
	       (tail.len == 0 || memcmp(version->tail, tail.bytes, tail.len) == 0);
}

bool pfs_source_same(const struct pfs_source *a, const struct pfs_source *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case PFS_SOURCE_RECORD: return a->segment == b->segment && a->record_off == b->record_off;
	case PFS_SOURCE_CONTAINER:
		return a->page == b->page && a->off == b->off && a->seq == b->seq;
	case PFS_SOURCE_STAGE: return a->stage == b->stage;
	case PFS_SOURCE_EMPTY:
	case PFS_SOURCE_LOST: break;
	}
	return false; /* nothing that could be elsewhere later */
}

/* ---- stages ---- */

struct pfs_stage *pfs_stage_new(const struct pfs_source *base, uint64_t size)
{
	struct pfs_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return NULL;
	pthread_mutex_init(&stage->lock, NULL);
	stage->base = *base;
	stage->base_size = stage->size = size;
	stage->refs = 1;
	stage->dense = base->kind == PFS_SOURCE_EMPTY ? 0 : size;
	return stage;
}

struct pfs_stage *pfs_stage_unref(struct pfs_stage *stage)
{
	if (--stage->refs)
		return NULL;
	for (size_t i = 0; i < stage->pin_count; i++)
		stage->pins[i]->pins--;
	stage->pin_count = 0;
	return stage;
}

void pfs_stage_free(struct pfs_stage *stage)
{
	if (!stage)
		return;
	pthread_mutex_destroy(&stage->lock);
	free(stage->extents);
	free(stage->pins);
	free(stage);
}

int pfs_stage_reserve(struct pfs_stage *stage)
{
	/* A write inside one extent makes three of it. */
	if (stage->count + 2 > stage->cap) {
		size_t cap = stage->cap ? stage->cap * 2 : 16;
		struct pfs_stage_extent *extents = malloc(cap * sizeof(*extents));

		if (!extents)
			return -ENOMEM;
		pthread_mutex_lock(&stage->lock);
		if (stage->count)
			memcpy(extents, stage->extents, stage->count * sizeof(*extents));
		free(stage->extents);
		stage->extents = extents;
		stage->cap = cap;
		pthread_mutex_unlock(&stage->lock);
	}
	if (stage->pin_count == stage->pin_cap) {
		size_t cap = stage->pin_cap ? stage->pin_cap * 2 : 4;
		struct pfs_segment **pins = realloc(stage->pins, cap * sizeof(*pins));

		if (!pins)
			return -ENOMEM;
		stage->pins = pins;
		stage->pin_cap = cap;
	}
	return 0;
}

/* The first extent that ends behind off. */
static size_t first_behind(const struct pfs_stage *stage, uint64_t off)
{
	size_t low = 0, high = stage->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (stage->extents[mid].off + stage->extents[mid].len > off)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Makes room at [off, end): what lies there is cut away. Returns the position where an extent for
 * it belongs. */
static size_t cut(struct pfs_stage *stage, uint64_t off, uint64_t end)
{
	size_t i = first_behind(stage, off), j;
	struct pfs_stage_extent *e = stage->extents;

	if (i < stage->count && e[i].off < off) {
		struct pfs_stage_extent tail = e[i];

		e[i].len = off - e[i].off;
		i++;
		if (tail.off + tail.len > end) {
			uint64_t gone = end - tail.off;

			memmove(&e[i + 1], &e[i], (stage->count - i) * sizeof(*e));
			stage->count++;
			tail.off += gone;
			tail.len -= gone;
			tail.data_off += (uint32_t)gone;
			e[i] = tail;
			return i;
		}
	}
	for (j = i; j < stage->count && e[j].off + e[j].len <= end; j++)
		;
	if (j < stage->count && e[j].off < end) {
		uint64_t gone = end - e[j].off;

		e[j].off += gone;
		e[j].len -= gone;
		e[j].data_off += (uint32_t)gone;
	}
	memmove(&e[i], &e[j], (stage->count - j) * sizeof(*e));
	stage->count -= j - i;
	return i;
}

void pfs_stage_pin(struct pfs_stage *stage, struct pfs_segment *segment)
{
	if (stage->pin_count && stage->pins[stage->pin_count - 1] == segment)
		return;
	stage->pins[stage->pin_count++] = segment;
	segment->pins++;
}

void pfs_stage_change(struct pfs_stage *stage, uint64_t new_size, uint64_t off, uint64_t len,
		      const struct pfs_journal_pos *pos, uint32_t data_off)
{
	pthread_mutex_lock(&stage->lock);
	if (new_size < stage->size)
		cut(stage, new_size, UINT64_MAX);
	stage->base_size = pfs_min_u64(stage->base_size, new_size);
	stage->size = new_size;
	if (len) {
		size_t at = cut(stage, off, off + len);
		struct pfs_stage_extent *e = stage->extents;

		memmove(&e[at + 1], &e[at], (stage->count - at) * sizeof(*e));
		stage->count++;
		e[at] = (struct pfs_stage_extent){.off = off, .len = len};
		if (data_off != PFS_STAGE_ZEROS) {
			e[at].segment = pos->segment;
			e[at].record_off = pos->off;
			e[at].record_len = (uint32_t)pos->len;
			e[at].data_off = data_off;
		}
	}
	pthread_mutex_unlock(&stage->lock);
	if (data_off != PFS_STAGE_ZEROS) {
		stage->dense += len + 2 * PFS_BLOCK_LEN;
		stage->logged += len;
	}
	pfs_stage_pin(stage, pos->segment);
}

int pfs_stage_collect(struct pfs_stage *stage, uint64_t off, uint64_t len,
		      struct pfs_stage_extent **out, size_t *count, struct pfs_source *base,
		      uint64_t *base_size, uint64_t *size)
{
	uint64_t end = off + len;
	size_t i, j;

	*out = NULL;
	*count = 0;
	pthread_mutex_lock(&stage->lock);
	*base = stage->base;
	*base_size = stage->base_size;
	*size = stage->size;
	i = first_behind(stage, off);
	for (j = i; j < stage->count && stage->extents[j].off < end; j++)
		;
	if (j > i) {
		*out = malloc((j - i) * sizeof(**out));
		if (*out)
			memcpy(*out, &stage->extents[i], (j - i) * sizeof(**out));
	}
	pthread_mutex_unlock(&stage->lock);
	if (j > i && !*out)
		return -ENOMEM;
	*count = j - i;
	for (size_t k = 0; k < *count; k++) {
		struct pfs_stage_extent *e = &(*out)[k];

		if (e->off < off) {
			e->data_off += (uint32_t)(off - e->off);
			e->len -= off - e->off;
			e->off = off;
		}
		e->len = pfs_min_u64(e->len, end - e->off);
	}
	return 0;
}

struct pfs_source pfs_stage_rebase(struct pfs_stage *stage, const struct pfs_source *base)
{
	struct pfs_source former;

	pthread_mutex_lock(&stage->lock);
	former = stage->base;
	stage->base = *base;
	pthread_mutex_unlock(&stage->lock);
	return former;
}
