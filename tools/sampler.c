#include "tools/sampler.h"

#include <stdlib.h>

/* A document that is held back. Its key without the room that a name would take. */
struct sampler_doc {
	uint64_t where_line, where_point;
	const char *where_file;
	int64_t mtime_ns; /* and the three more, if has_attr */
	uint32_t mode, uid, gid;
	uint32_t len; /* of a document that fits the buffer */
	uint8_t id[16];
	uint8_t kind;
	bool has_attr;
};

_Static_assert(SAMPLER_BYTES_MAX <= UINT32_MAX, "struct sampler_doc");

void sampler_begin(struct sampler *s, struct target *target, const struct pfs_store_stat *stat)
{
	*s = (struct sampler){
		.target = target,
		.sampling = !stat->dictionary && !stat->dictionary_off &&
			    stat->dictionary_trainer && !stat->read_only,
	};
}

static void drop(struct sampler *s)
{
	free(s->bytes);
	free(s->docs);
	*s = (struct sampler){.target = s->target};
}

/* ---- the sample ---- */

/* Documents from all over what is held back, as many as may be, one after the other. */
static size_t pick(const struct sampler *s, uint8_t *bytes, size_t *lens)
{
	size_t from = 0, used = 0, count = 0;

	for (size_t i = 0; i < s->count; from += s->docs[i++].len) {
		size_t len = s->docs[i].len;
		/* What may have been picked when the buffer is passed up to here. */
		uint64_t share = s->used <= PFS_TRAIN_FROM_BYTES
					 ? from + len
					 : (from + len) * PFS_TRAIN_FROM_BYTES / s->used;

		if (used + len > share || count == PFS_TRAIN_FROM_COUNT)
			continue;
		memcpy(bytes + used, s->bytes + from, len);
		lens[count++] = len;
		used += len;
	}
	return count;
}

static bool is_enough(const struct sampler *s)
{
	return s->count >= PFS_TRAIN_POINTS_MIN && s->used >= PFS_TRAIN_RAW_MIN;
}

/* Without a dictionary everything works, too; what makes it impossible to store anything is told by
 * what is stored next. Only a lost connection says nothing then. */
static int train(struct sampler *s)
{
	uint8_t *bytes = malloc(PFS_TRAIN_FROM_BYTES);
	size_t *lens = malloc(PFS_TRAIN_FROM_COUNT * sizeof(*lens));
	struct pfs_train_result result;
	int err = 0;

	if (bytes && lens)
		err = target_train_from(s->target, bytes, lens, pick(s, bytes, lens), &result);
	free(bytes);
	free(lens);
	return s->target->lost ? err : 0;
}

/* ---- passing on ---- */

static int send_held(struct sampler *s)
{
	size_t from = 0;
	int err = 0;

	for (size_t i = 0; i < s->count && !err; from += s->docs[i++].len) {
		const struct sampler_doc *doc = &s->docs[i];
		struct target_where where = {doc->where_file, doc->where_line, doc->where_point};
		struct pfs_key key = {.kind = doc->kind};
		const struct pfs_attr attr = {.mtime_ns = doc->mtime_ns,
					      .mode = doc->mode,
					      .uid = doc->uid,
					      .gid = doc->gid};

		if (i < s->sent)
			continue;
		memcpy(key.uuid, doc->id, sizeof(doc->id));
		err = target_import_add(s->target, &key, s->bytes + from, doc->len,
					doc->has_attr ? &attr : NULL, &where);
	}
	s->sent = s->count;
	return err;
}

int sampler_end(struct sampler *s)
{
	int err = 0;

	if (s->sampling && is_enough(s))
		err = train(s);
	if (!err)
		err = send_held(s);
	drop(s);
	return err;
}

int sampler_send(struct sampler *s)
{
	if (!s->sampling)
		return 0;
	return is_enough(s) ? sampler_end(s) : send_held(s);
}

/* ---- holding back ---- */

static bool grow(void **buf, size_t *cap, size_t want, size_t first, size_t max, size_t size)
{
	size_t new_cap = *cap ? *cap : first;
	void *grown;

	while (new_cap < want)
		new_cap *= 2;
	new_cap = pfs_min_u64(new_cap, max);
	if (new_cap == *cap)
		return true;
	grown = realloc(*buf, new_cap * size);
	if (!grown)
		return false;
	*buf = grown;
	*cap = new_cap;
	return true;
}

/* False: it does not fit any more, or there is no memory. */
static bool hold(struct sampler *s, const struct pfs_key *key, const void *data, size_t len,
		 const struct pfs_attr *attr, const struct target_where *where)
{
	void *bytes = s->bytes, *docs = s->docs;
	struct sampler_doc *doc;
	bool fits = s->count < SAMPLER_COUNT_MAX && len <= SAMPLER_BYTES_MAX - s->used &&
		    pfs_key_is_point(key);

	if (fits)
		fits = grow(&bytes, &s->bytes_cap, s->used + len, PFS_MIB, SAMPLER_BYTES_MAX, 1);
	s->bytes = bytes;
	if (fits)
		fits = grow(&docs, &s->docs_cap, s->count + 1, 1024, SAMPLER_COUNT_MAX,
			    sizeof(*doc));
	s->docs = docs;
	if (!fits)
		return false;
	doc = &s->docs[s->count++];
	*doc = (struct sampler_doc){
		.where_file = where->file,
		.where_line = where->line,
		.where_point = where->point,
		.kind = key->kind,
		.len = (uint32_t)len,
		.has_attr = attr != NULL,
	};
	if (attr) {
		doc->mtime_ns = attr->mtime_ns;
		doc->mode = attr->mode;
		doc->uid = attr->uid;
		doc->gid = attr->gid;
	}
	memcpy(doc->id, key->uuid, sizeof(doc->id));
	memcpy(s->bytes + s->used, data, len);
	s->used += len;
	return true;
}

int sampler_add(struct sampler *s, const struct pfs_key *key, const void *data, size_t len,
		const struct pfs_attr *attr, const struct target_where *where)
{
	int err;

	if (s->sampling && hold(s, key, data, len, attr, where))
		return 0;
	err = s->sampling ? sampler_end(s) : 0;
	return err ? err : target_import_add(s->target, key, data, len, attr, where);
}
