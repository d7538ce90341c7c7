/* The dictionary of a generation: that of the one before, as long as it serves, since with another
 * every page is another.
 *
 * It serves while a sample packs with it less than DRIFT worse than it promised when it was made;
 * and when it does not, while a new one is not by GAIN better. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/publish_internal.h"
#include "storage/refine.h"
#include "storage/train.h"

#define DRIFT_NUM 5 /* 25 % */
#define DRIFT_DEN 4
#define GAIN_NUM 9 /* 10 % */
#define GAIN_DEN 10
#define HOLD_OUT 8   /* every so-many-th sample is not trained with, but tried */
#define DICT_SHARE 8 /* a dictionary is no longer than this part of its samples */
#define DICT_LEN_MIN 1024
#define SAMPLE_LEN_MIN 16

_Static_assert(PFS_TRAIN_POINTS_MIN / HOLD_OUT * (HOLD_OUT - 1) * SAMPLE_LEN_MIN / DICT_SHARE >=
		       DICT_LEN_MIN,
	       "samples that are enough are enough for a dictionary");

int pfs_publish_sample(struct pfs_publish *p, const void *data, size_t len)
{
	if (p->dict_chosen || p->options.dict_off || len < SAMPLE_LEN_MIN ||
	    len > PFS_PUBLISH_SAMPLE_LEN_MAX || p->sample_count == PFS_PUBLISH_SAMPLE_COUNT ||
	    len > PFS_PUBLISH_SAMPLE_BYTES - p->sample_bytes)
		return 0;
	if (!p->samples) {
		p->samples = malloc(PFS_PUBLISH_SAMPLE_BYTES);
		p->sample_lens = malloc(PFS_PUBLISH_SAMPLE_COUNT * sizeof(*p->sample_lens));
	}
	if (!p->samples || !p->sample_lens)
		return -ENOMEM;
	memcpy(p->samples + p->sample_bytes, data, len);
	p->sample_lens[p->sample_count++] = len;
	p->sample_bytes += len;
	return 0;
}

/* ---- trying ---- */

/* What samples take: raw, and packed with a dictionary. */
struct worth {
	uint64_t raw, packed;
};

static bool is_held_out(size_t i)
{
	return i % HOLD_OUT == HOLD_OUT - 1;
}

/* The samples that are held out. dict NULL: without. */
static int try_dict(struct pfs_publish *p, const struct pfs_codec_dict *dict, struct worth *worth)
{
	uint8_t *out = malloc(PFS_PUBLISH_SAMPLE_LEN_MAX);
	const uint8_t *at = p->samples;

	*worth = (struct worth){0};
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < p->sample_count; at += p->sample_lens[i++]) {
		size_t len = p->sample_lens[i], n;

		if (!is_held_out(i))
			continue;
		n = pfs_codec_pack_hc(p->hc[0], out, len, at, len, dict);
		worth->raw += len;
		worth->packed += n ? n : len;
	}
	free(out);
	return 0;
}

/* ---- making ---- */

/* The samples that are not held out, together. */
static int train_on(struct pfs_publish *p, uint8_t *bytes, size_t *lens, uint8_t *dict,
		    size_t *dict_len)
{
	const uint8_t *at = p->samples;
	size_t used = 0, count = 0, cap;
	ssize_t n;
	int err;

	for (size_t i = 0; i < p->sample_count; at += p->sample_lens[i++]) {
		if (is_held_out(i))
			continue;
		memcpy(bytes + used, at, p->sample_lens[i]);
		used += p->sample_lens[i];
		lens[count++] = p->sample_lens[i];
	}
	cap = pfs_min_u64(PFS_DICT_LEN_MAX, used / DICT_SHARE);
	n = pfs_train_samples(dict, cap, bytes, lens, count);
	if (n < 0)
		return (int)n;
	*dict_len = (size_t)n;
	err = pfs_refine(dict, dict_len, cap, bytes, lens, count, NULL);
	return err == -ENOMEM ? err : 0;
}

/* A new dictionary from the samples. -ENODATA: there is not enough to make one of. */
static int train(struct pfs_publish *p, uint8_t dict[PFS_DICT_LEN_MAX], size_t *len)
{
	uint8_t *bytes;
	size_t *lens;
	int err;

	if (p->sample_count < PFS_TRAIN_POINTS_MIN || p->sample_bytes < PFS_TRAIN_RAW_MIN)
		return -ENODATA;
	bytes = malloc(p->sample_bytes);
	lens = malloc(p->sample_count * sizeof(*lens));
	err = bytes && lens ? train_on(p, bytes, lens, dict, len) : -ENOMEM;
	free(bytes);
	free(lens);
	return err;
}

/* ---- the one from before ---- */

static const struct pfs_manifest_object *dict_before(const struct pfs_publish *p)
{
	const struct pfs_manifest *m = &p->before;

	return m->object_count && m->objects[0].role == PFS_OBJECT_DICT ? &m->objects[0] : NULL;
}

/* -ENODATA: there is none that can be read. */
static int load_before(struct pfs_publish *p, struct pfs_codec_dict **codec)
{
	const struct pfs_manifest_object *o = dict_before(p);
	char name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;
	int err;

	*codec = NULL;
	if (!o)
		return -ENODATA;
	pfs_object_name(name, o->role, o->hash);
	err = publish_read(p->dir, name, o->len, PFS_DICT_LEN_MAX, &bytes, &len);
	if (err)
		return err == -ENOENT || err == -EUCLEAN ? -ENODATA : err;
	/* It is one chunk. */
	err = pfs_crc32c(0, bytes, len) == p->before.crcs[o->chunk]
		      ? pfs_codec_dict_new(codec, bytes, len)
		      : -ENODATA;
	free(bytes);
	return err;
}

static int keep_before(struct pfs_publish *p, struct pfs_codec_dict *codec)
{
	const struct pfs_manifest_object *o = dict_before(p);

	p->dict = codec;
	p->dict_number = o->count;
	p->dict_raw = p->before.dict_raw;
	p->dict_packed = p->before.dict_packed;
	memcpy(p->dict_hash, o->hash, sizeof(p->dict_hash));
	return publish_reuse(p, &p->dicts, o);
}

static bool has_drifted(const struct pfs_publish *p, const struct worth *now)
{
	return (double)now->packed * (double)p->before.dict_raw * DRIFT_DEN >
	       (double)p->before.dict_packed * (double)now->raw * DRIFT_NUM;
}

/* ---- choosing ---- */

/* Takes a new one if it gains enough over what packing takes without, or with the old one. */
static int try_new(struct pfs_publish *p, const struct worth *old, bool *taken)
{
	const struct pfs_manifest_object *before = dict_before(p);
	struct pfs_manifest_object about = {.role = PFS_OBJECT_DICT,
					    .count = before ? before->count + 1 : 1};
	uint8_t *dict = malloc(PFS_DICT_LEN_MAX);
	struct pfs_codec_dict *codec = NULL;
	struct worth worth;
	size_t len = 0;
	int err = dict ? train(p, dict, &len) : -ENOMEM;

	*taken = false;
	if (!err)
		err = pfs_codec_dict_new(&codec, dict, len);
	if (!err)
		err = try_dict(p, codec, &worth);
	if (!err && worth.packed * GAIN_DEN <= old->packed * GAIN_NUM && about.count) {
		err = publish_object(p, &p->dicts, &about, dict, len);
		*taken = err == 0;
	}
	if (*taken) {
		struct pfs_manifest_object *made = &p->dicts.at[0].at;

		/* The one that could not be read, made again: what was packed with it stays. */
		if (before && memcmp(made->hash, before->hash, sizeof(made->hash)) == 0)
			made->count = before->count;
		p->dict = codec;
		p->dict_number = made->count;
		p->dict_raw = worth.raw;
		p->dict_packed = worth.packed;
		memcpy(p->dict_hash, made->hash, sizeof(p->dict_hash));
		p->result.trained = true;
	} else {
		pfs_codec_dict_free(codec);
	}
	free(dict);
	return err == -ENODATA || err == -EOPNOTSUPP ? 0 : err;
}

int publish_choose_dict(struct pfs_publish *p)
{
	struct pfs_codec_dict *old = NULL;
	struct worth worth;
	bool taken = false;
	int err;

	if (p->dict_chosen)
		return 0;
	p->dict_chosen = true;
	if (p->options.dict_off)
		return 0;
	err = load_before(p, &old);
	if (err && err != -ENODATA)
		return err;
	err = try_dict(p, old, &worth);
	if (!err && (!old || has_drifted(p, &worth)))
		err = try_new(p, &worth, &taken);
	if (!err && old && !taken)
		return keep_before(p, old);
	pfs_codec_dict_free(old);
	return err;
}
