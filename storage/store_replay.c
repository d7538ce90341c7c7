/* Opening after a crash: the journal on top of what the pages held before (FORMAT.md, O2 to O7).
 *
 *   names -> journal written again -> slots read -> records replayed in memory -> what was adopted
 *         written again, synced -> untrusted slots retired, synced -> places found -> checkpoint
 *
 * Replay makes versions as the changes themselves did, but finds them a place only when all records
 * are known, so that what the crash left is given back first. */
#include <stdlib.h>

#include "storage/record.h"
#include "storage/replay.h"

#define AGAIN_STEP ((size_t)PFS_MIB)

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
		return pfs_replay_bad_record(state->store, record);
	for (int i = 0; i < count && !err; i++)
		err = pfs_name(state, names[i].kind, pfs_key_tag(&names[i]));
	return err;
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
		err = pfs_replay_drop(store, &key, seq);
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
		err = pfs_replay_base_of(state->store, &u->key, 0, &view, &present);
		if (err)
			return err;
		if (view.seq >= u->seq)
			continue;
		pfs_logf(&state->store->logger, PFS_LOG_WARNING,
			 "page %u slot %u is newer than the end of the journal, which must be "
			 "damaged; it is kept",
			 u->at.page, u->at.slot);
		err = pfs_replay_adopt(state, &u->key, u->seq, &done);
		if (err)
			return err;
	}
	return 0;
}

/* Writes a container and its slot again as they stand. */
static int write_again(struct pfs_store *store, const struct pfs_extent_at *at, uint8_t *buf)
{
	struct pfs_page *page = pfs_pager_find(store->pager, at->page);
	struct pfs_slot_disk slot;
	int err = 0;

	for (uint64_t done = 0; done < at->len && !err;) {
		size_t len = pfs_min_u64(AGAIN_STEP, at->len - done);

		err = pfs_page_copy(page, buf, at->off + done, len);
		if (!err)
			err = pfs_page_write(page, buf, len, at->off + done);
		done += len;
	}
	if (!err)
		err = pfs_page_copy(page, &slot, pfs_slot_offset(at->slot), sizeof(slot));
	return err ? err : pfs_page_write(page, &slot, sizeof(slot), pfs_slot_offset(at->slot));
}

/* Makes durable what was adopted, before anything is retired: a move that the crash cut off leaves
 * two containers of one sequence, and that which was adopted may be the one that is in the page
 * cache only; also when a sync of it has failed, and the kernel takes it for written. */
static int keep_adopted(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	uint8_t *buf = NULL;
	int err = 0;

	for (size_t i = 0; i < state->untrusted_count && !err; i++) {
		if (!state->untrusted[i].adopted)
			continue;
		if (!buf)
			buf = malloc(AGAIN_STEP);
		err = buf ? write_again(store, &state->untrusted[i].at, buf) : -ENOMEM;
	}
	if (buf && !err)
		err = pfs_pager_write_headers(store->pager, pfs_commit_lock_cb, store);
	if (buf && !err)
		err = pfs_sync_pages(store);
	free(buf);
	return err;
}

/* Writes tombstones over what the crash left, and again over those of the window, and clears what
 * lies between slots and containers. Their space is free when that is synced. */
static int retire_untrusted(struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	int err = 0;

	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page && !err;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		err = pfs_page_clear_gap(page);
		if (!err)
			err = pfs_pager_restore_trailer(store->pager, page, pfs_commit_lock_cb,
							store);
	}
	if (!err)
		err = keep_adopted(state);
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
		pfs_give_up_reserve(store);
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
		err = pfs_journal_replay(store->journal, pfs_replay_record, state, &result);
	if (!err)
		err = keep_newer(state);
	if (!err)
		err = drop_temporary(store, state->last_seq);
	if (err)
		return err;
	count_lost(state);
	pfs_journal_start(store->journal, state->last_seq + 1);
	if (result.records)
		pfs_logf(&store->logger, PFS_LOG_INFO, "replayed %llu record%s of the journal",
			 (unsigned long long)result.records, pfs_plural(result.records));
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
