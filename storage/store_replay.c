/* Opening after a crash: the journal on top of what the pages held before (FORMAT.md, O2 to O7).
 *
 *   names -> journal written again -> slots read -> records replayed in memory -> untrusted slots
 * retired, synced
 *         -> places found -> checkpoint
 *
 * Replay makes versions as the changes themselves did, but finds them a place only when all records
 * are known, so that what the crash left is given back first. */
#include <stdlib.h>

#include "storage/record.h"
#include "storage/replay.h"

/* ---- decoding records ---- */

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

static int bad_record(struct pfs_store *store, const struct pfs_record *record)
{
	return pfs_corrupt(&store->logger, "journal", record->pos.off,
			   "segment %llu: record of type %u makes no sense",
			   (unsigned long long)record->pos.segment->number, record->type);
}

/* ---- names ---- */

static int collect_names(void *arg, const struct pfs_record *record)
{
	struct pfs_replay_state *state = arg;
	const struct pfs_key *names = record->lost_keys;
	struct pfs_key keys[2];
	int count = (int)record->lost_count, err = 0;

	if (!names) {
		count = pfs_record_keys(record->body - PFS_RECORD_HEADER_LEN,
					record->body_len + PFS_RECORD_HEADER_LEN, keys, NULL);
		names = keys;
	}
	if (count <= 0)
		return bad_record(state->store, record);
	for (int i = 0; i < count && !err; i++)
		err = pfs_name(state, names[i].kind, pfs_key_tag(&names[i]));
	return err;
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

/* The object loses its name and is gone; its home is retired. */
static int drop(struct pfs_store *store, const struct pfs_key *key, uint64_t seq)
{
	struct pfs_change change = {0};
	uint64_t word;
	int err = pfs_find(store, key, &change.object, &word);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = pfs_current(store, change.object, &change.current);
	if (err)
		return err;
	change.version = pfs_version_new(key);
	if (!change.version)
		return -ENOMEM;
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

/* The document that a record was made to. *present: it is there, as the base. Otherwise the version
 * that the pages hold of the record's result, if any, is adopted (O4), or the document is lost
 * until a record replaces it whole. */
static int base_of(struct pfs_store *store, const struct pfs_key *key, uint64_t base,
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

/* Makes key's document the one that the pages hold with exactly this sequence. */
static int adopt(struct pfs_replay_state *state, const struct pfs_key *key, uint64_t seq,
		 bool *done)
{
	struct pfs_store *store = state->store;
	struct pfs_extent_at former;
	struct pfs_version *v;
	struct pfs_view view;
	int err;

	*done = false;
	for (size_t i = 0; i < state->untrusted_count; i++) {
		struct pfs_untrusted *u = &state->untrusted[i];

		if (!u->verified || u->seq != seq || !pfs_key_equal(&u->key, key) ||
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
	int err = adopt(state, key, seq, &done);

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
	if (p.bad)
		return bad_record(state->store, record);
	raw_len = pfs_get_le64(put->raw_len.b);
	body_len = pfs_get_le32(put->body_len.b);
	if (!pfs_record_put_fits(record->flags, raw_len, body_len, pfs_record_left(&p)))
		return bad_record(state->store, record);
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
	if (p.bad)
		return bad_record(state->store, record);
	base = pfs_get_le64(patch->base.b);
	off = pfs_get_le64(patch->off.b);
	size = pfs_get_le64(patch->new_size.b);
	len = pfs_get_le64(patch->len.b);
	if (size > PFS_PAYLOAD_MAX || off > size || len > size - off ||
	    (!zeros && len > pfs_record_left(&p)))
		return bad_record(state->store, record);
	err = base_of(state->store, &key, base, &view, &present);
	if (err)
		return err;
	if (base && (!present || view.source.kind == PFS_SOURCE_LOST))
		return adopt_or_lose(state, &key, record->seq);
	v = pfs_version_new(&key);
	if (!v)
		return -ENOMEM;
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
	if (p.bad)
		return bad_record(state->store, record);
	err = base_of(state->store, &key, pfs_get_le64(setattr->base.b), &view, &present);
	if (err)
		return err;
	if (!present || view.source.kind == PFS_SOURCE_LOST)
		return adopt_or_lose(state, &key, record->seq);
	err = republish(&key, &view, &setattr->attr, &v);
	return err ? err : publish(state->store, &key, v, record->seq);
}

static int replay_remove(struct pfs_replay_state *state, const struct pfs_record *record)
{
	struct pfs_record_walk p = parse(record);
	struct pfs_key key;

	(void)pfs_record_take(&p, sizeof(pfs_le64));
	pfs_record_take_key(&p, &key);
	if (p.bad)
		return bad_record(state->store, record);
	return drop(state->store, &key, record->seq);
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
	int err = base_of(store, side->from, side->base, &view, &present);

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
	return pfs_index_insert(store->index, side->change.object,
				pfs_index_hash(side->to->kind, pfs_key_tag(side->to)));
}

static void side_unname(struct pfs_store *store, const struct side *side)
{
	if (side->change.version)
		pfs_index_remove(store->index, side->change.object,
				 pfs_index_hash(side->from->kind, pfs_key_tag(side->from)));
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
	if (p.bad)
		return bad_record(state->store, record);
	a = (struct side){.from = &from, .to = &to, .base = pfs_get_le64(move->from_base.b)};
	b = (struct side){.from = &to, .to = &from, .base = pfs_get_le64(move->to_base.b)};
	err = side_prepare(state, &a);
	if (!err && exchange)
		err = side_prepare(state, &b);
	if (err)
		return err;
	side_unname(state->store, &a);
	side_unname(state->store, &b);
	/* What still stands under the names is replaced. */
	err = drop(state->store, &to, record->seq);
	if (!err)
		err = drop(state->store, &from, record->seq);
	if (!err)
		err = side_finish(state, &a, record->seq);
	if (!err && exchange)
		err = side_finish(state, &b, record->seq);
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

static int replay_record(void *arg, const struct pfs_record *record)
{
	if (record->lost_keys)
		return replay_lost(arg, record);
	switch (record->type) {
	case PFS_RECORD_PUT: return replay_put(arg, record);
	case PFS_RECORD_PATCH: return replay_patch(arg, record);
	case PFS_RECORD_ATTR: return replay_attr(arg, record);
	case PFS_RECORD_REMOVE: return replay_remove(arg, record);
	case PFS_RECORD_MOVE: return replay_move(arg, record);
	default: return bad_record(((struct pfs_replay_state *)arg)->store, record);
	}
}

/* ---- after the records ---- */

/* Temporary keys named what nobody has any more. */
static int drop_temporary(struct pfs_store *store, uint64_t seq)
{
	for (uint32_t object = PFS_OBJECT_FIRST; object < pfs_index_end(store->index); object++) {
		uint64_t word = pfs_index_word(store->index, object);
		struct pfs_key key;
		int err;

		if (!word || pfs_object_word_key(store, object, word, &key) != 0 ||
		    key.kind != PFS_KEY_TEMP)
			continue;
		err = drop(store, &key, seq);
		if (err)
			return err;
	}
	return 0;
}

/* A version newer than the journal's end proves that the journal is damaged: it is kept (the newest
 * of each key). */
static int keep_newer(struct pfs_replay_state *state)
{
	for (size_t i = 0; i < state->untrusted_count; i++) {
		struct pfs_untrusted *u = &state->untrusted[i];
		struct pfs_view view;
		bool present, done;
		int err;

		if (!u->verified || u->adopted || u->seq <= state->journal_last ||
		    u->key.kind == PFS_KEY_TEMP)
			continue;
		err = base_of(state->store, &u->key, 0, &view, &present);
		if (err)
			return err;
		if (view.seq >= u->seq)
			continue;
		pfs_logf(&state->store->logger, PFS_LOG_WARNING,
			 "page %u slot %u is newer than the end of the journal, which must be "
			 "damaged; it is kept",
			 u->at.page, u->at.slot);
		err = adopt(state, &u->key, u->seq, &done);
		if (err)
			return err;
	}
	return 0;
}

/* Writes tombstones over what the crash left, and again over those of the window, and clears what
 * lies between slots and containers. Their space is free when that is synced. */
static int retire_untrusted(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	int err = 0;

	for (uint32_t n = 1; n <= pfs_pager_last(store->pager) && !err; n++) {
		struct pfs_page *page = pfs_pager_find(store->pager, n);

		if (page)
			err = pfs_pager_clear_gap(store->pager, page);
		if (page && !err)
			err = pfs_pager_restore_trailer(store->pager, page, pfs_commit_lock_cb,
							store);
	}
	for (size_t i = 0; i < state->untrusted_count && !err; i++) {
		if (!state->untrusted[i].adopted)
			err = pfs_write_tombstone(store, &state->untrusted[i].at,
						  state->untrusted[i].tag, state->last_seq);
	}
	for (size_t i = 0; i < state->tombstone_count && !err; i++)
		err = pfs_write_tombstone(store, &state->tombstones[i], state->tombstone_tags[i],
					  state->tombstone_seqs[i]);
	if (!err)
		err = pfs_pager_write_headers(store->pager, pfs_commit_lock_cb, store);
	if (!err)
		err = pfs_sync_pages(store);
	for (size_t i = 0; i < state->untrusted_count && !err; i++) {
		if (!state->untrusted[i].adopted)
			pfs_pager_free(store->pager, &state->untrusted[i].at);
	}
	return err;
}

static int place_list(struct pfs_store *store, struct pfs_list *list)
{
	for (struct pfs_list *item = list->next; item != list; item = item->next) {
		struct pfs_version *v = (struct pfs_version *)item;
		struct pfs_change change = {.version = v, .current = {.home = v->home}};
		int err;

		if (v->removed)
			continue;
		err = pfs_change_place(store, &change);
		if (err)
			return err;
		if (v->kind != PFS_KEY_TEMP)
			store->container_bytes += v->target.len - v->stored;
		v->stored = v->target.len;
	}
	return 0;
}

static int finish(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	int err;

	err = retire_untrusted(state);
	if (!err) {
		/* Replaying comes before any reserve. */
		store->dir->ops->unlink(store->dir, PFS_RESERVE_NAME);
		err = place_list(store, &store->pending);
	}
	if (!err)
		err = place_list(store, &store->staged);
	if (!err)
		err = pfs_checkpoint(store, true);
	/* O6: records that come behind a tail would not be found. */
	if (!err &&
	    PFS_NEVER(&store->logger, pfs_journal_window(store->journal) <= state->journal_last))
		err = -EIO;
	return err;
}

static void count_lost(struct pfs_replay_state *state)
{
	for (struct pfs_list *item = state->store->pending.next; item != &state->store->pending;
	     item = item->next) {
		const struct pfs_version *v = (const struct pfs_version *)item;
		char text[PFS_NAME_MAX + 1];
		struct pfs_key key;

		if (v->removed || v->source.kind != PFS_SOURCE_LOST || v->kind == PFS_KEY_TEMP)
			continue;
		pfs_version_key(v, &key);
		pfs_key_format(text, &key);
		pfs_logf(&state->store->logger, PFS_LOG_ERROR,
			 "%s: what the journal's changes were made to is not there; its content is "
			 "lost",
			 text);
		state->lost++;
	}
}

/* Documents are there whose keys nobody knows: that is remembered before anything is changed,
 * because what shows it may not be there any more after that. */
static int settle_doubt(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	int err = 0;

	if (state->unknown && !store->super.doubt) {
		store->super.doubt = true;
		if (!store->opened_read_only)
			err = pfs_super_write(store->dir, &store->super);
	}
	return err;
}

static int replay(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	struct pfs_replay_result result;
	int err = pfs_journal_replay(store->journal, collect_names, state, &result);

	if (err) {
		snprintf(store->refusal, sizeof(store->refusal), "%s", result.why);
		return err;
	}
	state->window = result.records ? result.first_seq : UINT64_MAX;
	state->journal_last = result.last_seq;
	state->last_seq =
		pfs_max_u64(store->super.sequence, pfs_max_u64(result.last_seq, result.first_seq));
	if (!store->opened_read_only)
		err = pfs_journal_rewrite(store->journal);
	if (!err)
		err = pfs_scan(state);
	if (!err)
		err = settle_doubt(state);
	if (!err)
		err = pfs_journal_replay(store->journal, replay_record, state, &result);
	if (!err)
		err = keep_newer(state);
	if (!err)
		err = drop_temporary(store, state->last_seq);
	if (err)
		return err;
	count_lost(state);
	pfs_journal_start(store->journal, state->last_seq + 1);
	if (result.records)
		pfs_logf(&store->logger, PFS_LOG_INFO, "replayed %llu records of the journal",
			 (unsigned long long)result.records);
	return store->opened_read_only ? 0 : finish(state);
}

int pfs_recover(struct pfs_store *store, bool clean)
{
	struct pfs_replay_state state = {
		.store = store, .window = UINT64_MAX, .last_seq = store->super.sequence};
	int err = clean ? pfs_index_load(store) : -ENOENT;

	if (clean && err && err != -ENOMEM) {
		err = pfs_scan(&state);
		if (!err)
			err = settle_doubt(&state);
		if (!err)
			err = drop_temporary(store, state.last_seq);
	} else if (!clean) {
		err = replay(&state);
	}
	if (!err && clean)
		pfs_journal_start(store->journal,
				  pfs_max_u64(state.last_seq, store->super.sequence) + 1);
	if (!err && store->super.doubt) {
		store->doubt = true;
		pfs_logf(&store->logger, PFS_LOG_ERROR,
			 "damage hides the ids of some documents: an id that is not found gives an "
			 "input/output error, and nothing new can be made, until `payloadctl check "
			 "--repair`");
	}
	free(state.named);
	free(state.untrusted);
	free(state.tombstones);
	free(state.tombstone_tags);
	free(state.tombstone_seqs);
	return err;
}
