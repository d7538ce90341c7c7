/* The journal's records, each replayed in memory as the change itself was made (FORMAT.md, O4). */
#include <stdlib.h>

#include "storage/record.h"
#include "storage/replay.h"

/* ---- decoding records: those that have their heads and keys, see pfs_replay_record ---- */

static struct pfs_record_walk parse(const struct pfs_record *record)
{
	return (struct pfs_record_walk){.begin = record->body - PFS_RECORD_HEADER_LEN,
					.at = record->body,
					.end = record->body + record->body_len};
}

/* Where the walk stands in the record. */
static uint32_t record_off(const struct pfs_record_walk *walk)
{
	return (uint32_t)(walk->at - walk->begin);
}

int pfs_replay_bad_record(struct pfs_store *store, const struct pfs_record *record)
{
	return pfs_corrupt(&store->logger, "journal", record->pos.off,
			   "segment %llu: record of type %u makes no sense",
			   (unsigned long long)record->pos.segment->number, record->type);
}

/* ---- changing the state ---- */

/* Publishes a version for the key's object, which is made when there is none. home, if not NULL, is
 * where the version was found; *former then says where the object was before. */
static int publish_at(struct pfs_store *store, const struct pfs_key *key, struct pfs_version *v,
		      uint64_t seq, const struct pfs_extent_at *home, struct pfs_extent_at *former)
{
	struct pfs_change change = {.version = v};
	uint64_t word;
	int err = pfs_find(store, key, &change.object, &word);
	bool fresh = err == -ENOENT;

	if (fresh)
		err = pfs_index_alloc(store->index, &change.object);
	if (!err)
		err = pfs_current(store, change.object, &change.current);
	if (!err && fresh)
		err = pfs_index_insert(store->index, change.object,
				       pfs_index_hash(v->kind, v->tag));
	if (err) {
		pfs_source_unref(store, &v->source);
		free(v);
		return err;
	}
	if (home) {
		*former = change.current.home;
		change.current.home = *home;
	}
	pfs_change_publish(store, &change, seq);
	return 0;
}

static int publish(struct pfs_store *store, const struct pfs_key *key, struct pfs_version *v,
		   uint64_t seq)
{
	return publish_at(store, key, v, seq, NULL, NULL);
}

int pfs_replay_drop(struct pfs_store *store, const struct pfs_key *key, uint64_t seq)
{
	struct pfs_change change = {0};
	uint64_t word;
	int err = pfs_find(store, key, &change.object, &word);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = pfs_current(store, change.object, &change.current);
	change.version = err ? NULL : pfs_version_new(key);
	if (!change.version)
		return err ? err : -ENOMEM;
	change.version->removed = true;
	pfs_index_remove(store->index, change.object, pfs_index_hash(key->kind, pfs_key_tag(key)));
	pfs_change_publish(store, &change, seq);
	pfs_index_release(store->index, change.object);
	return 0;
}

static void set_attr(struct pfs_version *v, const struct pfs_attr_disk *attr)
{
	v->mtime_ns = (int64_t)pfs_get_le64(attr->mtime.b);
	v->own_attr = pfs_get_le32(attr->own.b) != 0;
	v->mode = pfs_get_le32(attr->mode.b) & 07777;
	v->uid = pfs_get_le32(attr->uid.b);
	v->gid = pfs_get_le32(attr->gid.b);
}

int pfs_replay_base_of(struct pfs_store *store, const struct pfs_key *key, uint64_t base,
		       struct pfs_view *view, bool *present)
{
	uint32_t object;
	uint64_t word;
	int err = pfs_find(store, key, &object, &word);

	*present = false;
	*view = (struct pfs_view){0};
	if (err)
		return err == -ENOENT ? 0 : err;
	err = pfs_view(store, word, view);
	*present = !err && view->seq == base;
	return err == -EIO ? 0 : err;
}

static bool verifies_whole(struct pfs_store *store, const struct pfs_view *view)
{
	uint8_t block[PFS_BLOCK_LEN];

	for (uint64_t off = 0; off < view->size; off += sizeof(block)) {
		if (pfs_source_read(store, &view->source, off, block,
				    pfs_min_u64(sizeof(block), view->size - off)) != 0)
			return false;
	}
	return true;
}

/* The first of the untrusted versions whose sequence is not lower. */
static size_t first_untrusted(const struct pfs_replay_state *state, uint64_t seq)
{
	size_t low = 0, high = state->untrusted_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (state->untrusted[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int pfs_replay_adopt(struct pfs_replay_state *state, const struct pfs_key *key, uint64_t seq,
		     bool *done)
{
	struct pfs_store *store = state->store;
	struct pfs_extent_at former;
	struct pfs_version *v;
	struct pfs_view view;
	int err;

	*done = false;
	for (size_t i = first_untrusted(state, seq); i < state->untrusted_sorted; i++) {
		struct pfs_untrusted *u = &state->untrusted[i];

		if (u->seq != seq)
			break;
		if (!u->verified || !pfs_key_equal(&u->key, key) ||
		    pfs_view(store, pfs_word_page(u->at.page, u->at.slot), &view) != 0 ||
		    !verifies_whole(store, &view))
			continue;
		v = pfs_version_new(key);
		if (!v)
			return -ENOMEM;
		pfs_version_take(v, &view);
		u->adopted = *done = true;
		err = publish_at(store, key, v, seq, &u->at, &former);
		/* Where it stood before is retired like all that is not trusted. */
		if (!err && former.page)
			err = pfs_distrust_place(state, &former, pfs_key_tag(key));
		return err;
	}
	return 0;
}

static int adopt_or_lose(struct pfs_replay_state *state, const struct pfs_key *key, uint64_t seq)
{
	struct pfs_version *v;
	bool done;
	int err = pfs_replay_adopt(state, key, seq, &done);

	if (err || done)
		return err;
	v = pfs_version_new(key);
	if (!v)
		return -ENOMEM;
	v->source.kind = PFS_SOURCE_LOST;
	return publish(state->store, key, v, seq);
}

/* ---- records ---- */

static int replay_put(struct pfs_replay_state *state, const struct pfs_record *record)
{
	struct pfs_record_walk p = parse(record);
	const struct pfs_put_disk *put = pfs_record_take(&p, sizeof(*put));
	struct pfs_version *v;
	struct pfs_key key;
	uint64_t raw_len;
	uint32_t body_len;

	pfs_record_take_key(&p, &key);
	pfs_record_take_pad(&p);
	raw_len = pfs_get_le64(put->raw_len.b);
	body_len = pfs_get_le32(put->body_len.b);
	if (!pfs_record_put_fits(record->flags, raw_len, body_len, pfs_record_left(&p)))
		return pfs_replay_bad_record(state->store, record);
	v = pfs_version_new(&key);
	if (!v)
		return -ENOMEM;
	set_attr(v, &put->attr);
	v->size = raw_len;
	v->source = (struct pfs_source){
		.kind = raw_len ? PFS_SOURCE_RECORD : PFS_SOURCE_EMPTY,
		.size = raw_len,
		.flags = record->flags & (PFS_PUT_LZ4 | PFS_PUT_BLOCKS),
		.dict = pfs_get_le32(put->dict.b),
		.body_len = body_len,
		.content = pfs_get_le64(put->content.b),
		.segment = record->pos.segment,
		.record_off = record->pos.off,
		.record_len = (uint32_t)record->pos.len,
		.body_off = record_off(&p),
	};
	return publish(state->store, &key, v, record->seq);
}

static int replay_patch(struct pfs_replay_state *state, const struct pfs_record *record)
{
	static const struct pfs_source empty = {.kind = PFS_SOURCE_EMPTY};
	struct pfs_record_walk p = parse(record);
	const struct pfs_patch_disk *patch = pfs_record_take(&p, sizeof(*patch));
	uint64_t base, off, size, len;
	struct pfs_stage *stage;
	struct pfs_version *v;
	struct pfs_view view;
	struct pfs_key key;
	bool present, zeros = record->flags & PFS_PATCH_ZERO;
	int err;

	pfs_record_take_key(&p, &key);
	pfs_record_take_pad(&p);
	base = pfs_get_le64(patch->base.b);
	off = pfs_get_le64(patch->off.b);
	size = pfs_get_le64(patch->new_size.b);
	len = pfs_get_le64(patch->len.b);
	if (size > PFS_PAYLOAD_MAX || off > size || len > size - off ||
	    (!zeros && len > pfs_record_left(&p)))
		return pfs_replay_bad_record(state->store, record);
	err = pfs_replay_base_of(state->store, &key, base, &view, &present);
	if (!err && base && (!present || view.source.kind == PFS_SOURCE_LOST))
		return adopt_or_lose(state, &key, record->seq);
	v = err ? NULL : pfs_version_new(&key);
	if (!v)
		return err ? err : -ENOMEM;
	if (base && view.source.kind == PFS_SOURCE_STAGE) {
		stage = view.source.stage;
		stage->refs++;
	} else {
		stage = pfs_stage_new(base ? &view.source : &empty, base ? view.size : 0);
	}
	if (!stage) {
		free(v);
		return -ENOMEM;
	}
	v->source = (struct pfs_source){.kind = PFS_SOURCE_STAGE, .size = size, .stage = stage};
	err = pfs_stage_reserve(stage);
	if (err) {
		pfs_source_unref(state->store, &v->source);
		free(v);
		return err;
	}
	stage->batch = state->store->batch_number;
	set_attr(v, &patch->attr);
	v->size = size;
	pfs_stage_change(stage, size, off, len, &record->pos,
			 zeros ? PFS_STAGE_ZEROS : record_off(&p));
	return publish(state->store, &key, v, record->seq);
}

/* The document that view shows, under key. */
static int republish(const struct pfs_key *key, const struct pfs_view *view,
		     const struct pfs_attr_disk *attr, struct pfs_version **out)
{
	struct pfs_version *v = pfs_version_new(key);

	*out = v;
	if (!v)
		return -ENOMEM;
	pfs_version_take(v, view);
	if (attr)
		set_attr(v, attr);
	return 0;
}

static int replay_attr(struct pfs_replay_state *state, const struct pfs_record *record)
{
	struct pfs_record_walk p = parse(record);
	const struct pfs_setattr_disk *setattr = pfs_record_take(&p, sizeof(*setattr));
	struct pfs_version *v;
	struct pfs_view view;
	struct pfs_key key;
	bool present;
	int err;

	pfs_record_take_key(&p, &key);
	err = pfs_replay_base_of(state->store, &key, pfs_get_le64(setattr->base.b), &view,
				 &present);
	if (!err && (!present || view.source.kind == PFS_SOURCE_LOST))
		return adopt_or_lose(state, &key, record->seq);
	if (!err)
		err = republish(&key, &view, &setattr->attr, &v);
	return err ? err : publish(state->store, &key, v, record->seq);
}

static int replay_remove(struct pfs_replay_state *state, const struct pfs_record *record)
{
	struct pfs_record_walk p = parse(record);
	struct pfs_key key;

	(void)pfs_record_take(&p, sizeof(pfs_le64));
	pfs_record_take_key(&p, &key);
	return pfs_replay_drop(state->store, &key, record->seq);
}

/* One side of a move: the object that stood under `from` with sequence `base` now stands under
 * `to`, whatever stood there being gone before. The object keeps its home. */
struct side {
	const struct pfs_key *from, *to;
	uint64_t base;
	struct pfs_change change; /* version NULL: the base is missing */
};

static int side_prepare(struct pfs_replay_state *state, struct side *side)
{
	struct pfs_store *store = state->store;
	struct pfs_view view;
	uint64_t word;
	bool present;
	int err = pfs_replay_base_of(store, side->from, side->base, &view, &present);

	side->change = (struct pfs_change){0};
	if (err || !present || view.source.kind == PFS_SOURCE_LOST)
		return err;
	err = pfs_find(store, side->from, &side->change.object, &word);
	if (!err)
		err = pfs_current(store, side->change.object, &side->change.current);
	return err ? err : republish(side->to, &view, NULL, &side->change.version);
}

static int side_finish(struct pfs_replay_state *state, struct side *side, uint64_t seq)
{
	struct pfs_store *store = state->store;

	if (!side->change.version)
		return side->to->kind == PFS_KEY_TEMP ? 0 : adopt_or_lose(state, side->to, seq);
	pfs_change_publish(store, &side->change, seq);
	side->change.version = NULL;
	return pfs_index_insert(store->index, side->change.object,
				pfs_index_hash(side->to->kind, pfs_key_tag(side->to)));
}

static void side_unname(struct pfs_store *store, const struct side *side)
{
	if (side->change.version)
		pfs_index_remove(store->index, side->change.object,
				 pfs_index_hash(side->from->kind, pfs_key_tag(side->from)));
}

/* Of a side that did not come to its end. */
static void side_drop(struct pfs_store *store, struct side *side)
{
	if (!side->change.version)
		return;
	pfs_source_unref(store, &side->change.version->source);
	free(side->change.version);
}

static int move_sides(struct pfs_replay_state *state, struct side *a, struct side *b, bool exchange,
		      uint64_t seq)
{
	int err = side_prepare(state, a);

	if (!err && exchange)
		err = side_prepare(state, b);
	if (err)
		return err;
	side_unname(state->store, a);
	side_unname(state->store, b);
	/* What stands under a name and does not leave it by this record is replaced. */
	if (!b->change.version)
		err = pfs_replay_drop(state->store, a->to, seq);
	if (!err && !a->change.version)
		err = pfs_replay_drop(state->store, a->from, seq);
	if (!err)
		err = side_finish(state, a, seq);
	if (!err && exchange)
		err = side_finish(state, b, seq);
	return err;
}

static int replay_move(struct pfs_replay_state *state, const struct pfs_record *record)
{
	struct pfs_record_walk p = parse(record);
	const struct pfs_move_disk *move = pfs_record_take(&p, sizeof(*move));
	bool exchange = record->flags & PFS_MOVE_EXCHANGE;
	struct pfs_key from, to;
	struct side a, b;
	int err;

	pfs_record_take_key(&p, &from);
	pfs_record_take_key(&p, &to);
	a = (struct side){.from = &from, .to = &to, .base = pfs_get_le64(move->from_base.b)};
	b = (struct side){.from = &to, .to = &from, .base = pfs_get_le64(move->to_base.b)};
	err = move_sides(state, &a, &b, exchange, record->seq);
	if (err) {
		side_drop(state->store, &a);
		side_drop(state->store, &b);
	}
	return err;
}

/* A record that is damaged: its documents are not what they were before it. */
static int replay_lost(struct pfs_replay_state *state, const struct pfs_record *record)
{
	int err = 0;

	for (unsigned i = 0; i < record->lost_count && !err; i++) {
		if (record->lost_keys[i].kind != PFS_KEY_TEMP)
			err = adopt_or_lose(state, &record->lost_keys[i], record->seq);
	}
	return err;
}

int pfs_replay_record(void *arg, const struct pfs_record *record)
{
	struct pfs_key keys[2];
	int count;

	if (record->lost_keys)
		return replay_lost(arg, record);
	count = pfs_record_keys(record->body - PFS_RECORD_HEADER_LEN,
				record->body_len + PFS_RECORD_HEADER_LEN, keys, NULL);
	/* A record without keys was refused when their names were collected. */
	if (PFS_NEVER(&((struct pfs_replay_state *)arg)->store->logger, count <= 0))
		return -EUCLEAN;
	switch (record->type) {
	case PFS_RECORD_PUT: return replay_put(arg, record);
	case PFS_RECORD_PATCH: return replay_patch(arg, record);
	case PFS_RECORD_ATTR: return replay_attr(arg, record);
	case PFS_RECORD_REMOVE: return replay_remove(arg, record);
	default: return replay_move(arg, record);
	}
}
