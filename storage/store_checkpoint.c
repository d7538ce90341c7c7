/* The checkpoint: moves what is durable in the journal to the pages (FORMAT.md, "Writing", W1 to
 * W7).
 *
 *   taken -> written -> synced -> in slots -> synced -> flipped -> retired -> synced -> declared ->
 * synced -> reused
 *
 * CP1: nothing is written to a page before its record is durable (taken: the journal was synced).
 * CP2: nothing that a reader may still look at is overwritten: an epoch passes between unpublishing
 * and writing. CP3: an old slot becomes a tombstone only after the new one is synced; its space is
 * given to others only after the tombstone and a journal header that calls its records dead are
 * synced. CP4: a slot is written only after its container is synced: what the container stands over
 * may be another document's that is gone, which must not be taken for that of a damaged slot. A
 * checkpoint that fails for lack of space keeps its batch and tries again; any other
 * failure turns the store read-only. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"

#define GATHER_LEN (256 * PFS_KIB)
#define PACK_BLOCKS 16u /* blocks of a large document that are read at a time: a record's worth */
#define FLIP_STEP 256	/* versions a lock hold */

/* Writes that touch one another are gathered into one. */
struct gather {
	struct pfs_store *store;
	struct pfs_page *page;
	uint64_t off;
	size_t len;
	uint8_t *buf; /* GATHER_LEN */
	bool failed;  /* a write to a page */
};

struct checkpoint {
	struct pfs_store *store;
	struct pfs_version **versions; /* the batch, by page and offset of their targets */
	size_t count;
	uint64_t below; /* segments that can be recycled */
	struct gather gather;
};

void pfs_commit_lock_cb(void *arg, bool on)
{
	struct pfs_store *store = arg;

	if (on)
		pthread_mutex_lock(&store->commit);
	else
		pthread_mutex_unlock(&store->commit);
}

/* ---- gathering ---- */

/* Errors of writing are remembered, to be told from those of reading what is to be written. */
static int write_page(struct gather *g, struct pfs_page *page, const void *bytes, size_t len,
		      uint64_t off)
{
	int err = pfs_pager_write(g->store->pager, page, bytes, len, off);

	g->failed = g->failed || err;
	return err;
}

static int gather_flush(struct gather *g)
{
	int err = g->len ? write_page(g, g->page, g->buf, g->len, g->off) : 0;

	g->len = 0;
	return err;
}

/* Room for len bytes at off of page, where the caller puts them. */
static int gather_room(struct gather *g, struct pfs_page *page, uint64_t off, size_t len,
		       uint8_t **out)
{
	int err = 0;

	if (g->len && (g->page != page || g->off + g->len != off || g->len + len > GATHER_LEN))
		err = gather_flush(g);
	if (err)
		return err;
	if (g->len == 0) {
		g->page = page;
		g->off = off;
	}
	*out = g->buf + g->len;
	g->len += len;
	return 0;
}

/* ---- containers ---- */

static struct pfs_container container_of_version(const struct pfs_version *v)
{
	struct pfs_container c;

	(void)pfs_version_need(v, &c);
	return c;
}

/* Writes a container whose body is at hand. */
static int write_small(struct checkpoint *cp, struct pfs_version *v, struct pfs_container *c,
		       const uint8_t *body)
{
	struct pfs_page *page = pfs_pager_find(cp->store->pager, v->target.page);
	struct pfs_container_base base = pfs_page_base(page, v->kind, v->tag);
	uint64_t len = v->target.len;
	uint8_t *out;
	size_t header;
	int err;

	/* What was reserved for a stage may be much more than it takes in the end. */
	len = pfs_min_u64(len, pfs_container_len(c, &base, cp->store->super.min_value_size));
	if (PFS_NEVER(&cp->store->logger, len > GATHER_LEN))
		return -EINVAL;
	err = gather_room(&cp->gather, page, v->target.off, len, &out);
	if (err)
		return err;
	header = pfs_container_header_encode(out, c, &base, len);
	if (PFS_NEVER(&cp->store->logger, header + c->body_len > len))
		return -EINVAL;
	if (c->body_len)
		memcpy(out + header, body, c->body_len);
	memset(out + header + c->body_len, 0, len - header - c->body_len);
	pfs_container_seal(out, header, c->body_len, out[4], c->seq, &base);
	v->applied_len = len;
	return 0;
}

/* The payload can't be had any more: the container says so, and every read of it is an error. */
static int write_lost(struct checkpoint *cp, struct pfs_version *v)
{
	struct pfs_container c = container_of_version(v);

	c.flags = (c.flags & PFS_CONTAINER_ATTR) | PFS_CONTAINER_LOST;
	c.body_len = 0;
	c.content = 0;
	pfs_logf(&cp->store->logger, PFS_LOG_ERROR,
		 "a document's content is lost; reading it gives an error");
	return write_small(cp, v, &c, NULL);
}

/* A body that fits one block: as it is stored where that is known (it is verified on its way, so
 * that no damage gets a fresh checksum), or packed from a stage that has shrunk. */
static int apply_small(struct checkpoint *cp, struct pfs_version *v)
{
	struct pfs_container c = container_of_version(v);
	struct pfs_packed packed = {0};
	const uint8_t *body = NULL;
	uint8_t *buf;
	int err;

	if (v->source.kind == PFS_SOURCE_EMPTY)
		return write_small(cp, v, &c, NULL);
	buf = malloc(PFS_PACKED_ROOM);
	if (!buf)
		return -ENOMEM;
	if (v->source.kind == PFS_SOURCE_STAGE) {
		err = pfs_source_read(cp->store, &v->source, 0, buf, v->size);
		if (!err)
			err = pfs_pack(cp->store, &packed, buf, v->size, false);
		c.flags = (c.flags & PFS_CONTAINER_ATTR) | packed.flags;
		c.body_len = packed.body_len;
		c.content = 0;
		body = packed.body;
	} else {
		err = pfs_source_packed(cp->store, &v->source, buf, &body);
	}
	if (!err)
		err = write_small(cp, v, &c, body);
	pfs_packed_free(&packed);
	free(buf);
	return err;
}

/* Table and blocks that stand somewhere in stored form are copied as they are: their checksums are
 * bound to the content number, not to the key. */
static int copy_blocks(struct checkpoint *cp, struct pfs_page *page, uint64_t off,
		       const uint8_t *from, uint64_t len)
{
	uint8_t *buf = cp->gather.buf;
	int err = gather_flush(&cp->gather);

	for (uint64_t done = 0; done < len && !err; done += GATHER_LEN) {
		size_t part = pfs_min_u64(GATHER_LEN, len - done);

		err = pfs_map_copy(buf, from + done, part);
		if (!err)
			err = write_page(&cp->gather, page, buf, part, off + done);
	}
	return err;
}

struct packing {
	struct pfs_page *page;
	uint64_t at; /* where the next stored block goes */
	uint64_t content;
	uint32_t end;
	uint8_t *table;
	bool lost[PACK_BLOCKS]; /* of the blocks at hand, those that could not be read */
	uint8_t raw[PACK_BLOCKS * PFS_BLOCK_LEN], stored[PFS_BLOCK_LEN];
};

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Reads n blocks from the first on; where that fails, one by one, to lose no more than is damaged.
 */
static int read_ahead(struct checkpoint *cp, struct pfs_version *v, struct packing *p,
		      uint64_t first, uint64_t n)
{
	uint64_t off = first * PFS_BLOCK_LEN;
	int err = pfs_source_read(cp->store, &v->source, off, p->raw,
				  pfs_min_u64(n * PFS_BLOCK_LEN, v->size - off));

	memset(p->lost, 0, sizeof(p->lost));
	if (err != -EIO)
		return err;
	for (uint64_t i = 0; i < n; i++) {
		err = pfs_source_read(cp->store, &v->source, off + i * PFS_BLOCK_LEN,
				      p->raw + i * PFS_BLOCK_LEN,
				      pfs_block_raw_len(v->size, first + i));
		if (err && err != -EIO)
			return err;
		p->lost[i] = err == -EIO;
	}
	return 0;
}

static int pack_block(struct checkpoint *cp, struct pfs_version *v, struct packing *p, uint32_t i)
{
	const uint64_t target_end = v->target.off + v->target.len;
	uint32_t raw_len = pfs_block_raw_len(v->size, i), crc;
	const uint8_t *raw = p->raw + (uint64_t)(i % PACK_BLOCKS) * PFS_BLOCK_LEN;
	const uint8_t *stored = p->stored;
	bool lost = p->lost[i % PACK_BLOCKS];
	size_t len = 0;
	int err;

	if (!lost && !is_zero(raw, raw_len)) {
		len = pfs_codec_pack(p->stored, raw_len, raw, raw_len, NULL);
		if (len == 0) {
			stored = raw;
			len = raw_len;
		}
	}
	if (PFS_NEVER(&cp->store->logger, p->at + len > target_end))
		return -EINVAL;
	err = len ? write_page(&cp->gather, p->page, stored, len, p->at) : 0;
	p->at += len;
	p->end += (uint32_t)len;
	crc = pfs_block_crc(p->content, i, p->end, stored, len);
	pfs_put_le32(p->table + (uint64_t)i * PFS_BLOCK_ENTRY_LEN, p->end);
	/* A block that could not be read must not verify. */
	pfs_put_le32(p->table + (uint64_t)i * PFS_BLOCK_ENTRY_LEN + 4, lost ? ~crc : crc);
	return err;
}

/* Packs the payload block by block into its place; *body_len and *content become known by it. */
static int pack_blocks(struct checkpoint *cp, struct pfs_version *v, struct pfs_page *page,
		       uint64_t off, uint64_t *body_len, uint64_t content)
{
	uint64_t blocks = pfs_block_count(v->size), table_len = blocks * PFS_BLOCK_ENTRY_LEN;
	struct packing *p = malloc(sizeof(*p));
	int err = gather_flush(&cp->gather);

	if (!p)
		return -ENOMEM;
	p->page = page;
	p->at = off + table_len;
	p->content = content;
	p->end = 0;
	p->table = malloc(table_len);
	if (!p->table)
		err = -ENOMEM;
	for (uint64_t i = 0; i < blocks && !err; i++) {
		if (i % PACK_BLOCKS == 0)
			err = read_ahead(cp, v, p, i, pfs_min_u64(PACK_BLOCKS, blocks - i));
		if (!err)
			err = pack_block(cp, v, p, (uint32_t)i);
	}
	if (!err)
		err = write_page(&cp->gather, page, p->table, table_len, off);
	*body_len = table_len + p->end;
	free(p->table);
	free(p);
	return err;
}

/* A stage's blocks are packed on their way to the page; the header is written last, in bytes whose
 * number is known before. */
static int apply_stage(struct checkpoint *cp, struct pfs_version *v, struct pfs_page *page,
		       struct pfs_container *c, const struct pfs_container_base *base)
{
	uint8_t header[PFS_CONTAINER_HEADER_MAX];
	uint64_t min = cp->store->super.min_value_size;
	size_t header_len;
	int err;

	c->content = __atomic_fetch_add(&cp->store->next_content, 1, __ATOMIC_RELAXED);
	c->body_len = pfs_min_u64(pfs_blocks_bound(v->size), v->target.len);
	c->len_width = (unsigned)pfs_put_varint(header, c->body_len);
	header_len = pfs_container_header_encode(header, c, base, v->target.len);
	err = pack_blocks(cp, v, page, v->target.off + header_len, &c->body_len, c->content);
	if (err)
		return err;
	v->applied_len = pfs_slot_len_round(pfs_max_u64(header_len + c->body_len, min));
	if (PFS_NEVER(&cp->store->logger, v->applied_len > v->target.len))
		return -EINVAL;
	pfs_container_header_encode(header, c, base, v->applied_len);
	pfs_container_seal(header, header_len, c->body_len, header[4], c->seq, base);
	return write_page(&cp->gather, page, header, header_len, v->target.off);
}

static int apply_blocks(struct checkpoint *cp, struct pfs_version *v, struct pfs_page *page,
			struct pfs_container *c, const struct pfs_container_base *base)
{
	const uint8_t *blocks = pfs_source_blocks(cp->store, &v->source, &c->body_len, &c->content);
	uint8_t header[PFS_CONTAINER_HEADER_MAX];
	size_t header_len;
	uint64_t len;
	int err;

	if (!blocks)
		return -EIO;
	len = pfs_min_u64(v->target.len,
			  pfs_container_len(c, base, cp->store->super.min_value_size));
	header_len = pfs_container_header_encode(header, c, base, len);
	if (PFS_NEVER(&cp->store->logger, header_len + c->body_len > len))
		return -EINVAL;
	err = copy_blocks(cp, page, v->target.off + header_len, blocks, c->body_len);
	if (err)
		return err;
	pfs_container_seal(header, header_len, c->body_len, header[4], c->seq, base);
	v->applied_len = len;
	return write_page(&cp->gather, page, header, header_len, v->target.off);
}

static int apply_large(struct checkpoint *cp, struct pfs_version *v)
{
	struct pfs_page *page = pfs_pager_find(cp->store->pager, v->target.page);
	struct pfs_container_base base = pfs_page_base(page, v->kind, v->tag);
	struct pfs_container c = container_of_version(v);

	c.flags = (c.flags & PFS_CONTAINER_ATTR) | PFS_CONTAINER_BLOCKS;
	if (v->source.kind == PFS_SOURCE_STAGE)
		return apply_stage(cp, v, page, &c, &base);
	return apply_blocks(cp, v, page, &c, &base);
}

/* ---- the batch ---- */

static bool in_place(const struct pfs_version *v)
{
	return v->target.page && v->target.page == v->home.page && v->target.slot == v->home.slot;
}

static int by_target(const void *a, const void *b)
{
	const struct pfs_version *x = *(struct pfs_version *const *)a,
				 *y = *(struct pfs_version *const *)b;

	if (x->target.page != y->target.page)
		return x->target.page < y->target.page ? -1 : 1;
	return x->target.off < y->target.off ? -1 : x->target.off > y->target.off;
}

static int by_slot(const void *a, const void *b)
{
	const struct pfs_version *x = *(struct pfs_version *const *)a,
				 *y = *(struct pfs_version *const *)b;

	if (x->target.page != y->target.page)
		return x->target.page < y->target.page ? -1 : 1;
	return x->target.slot < y->target.slot ? -1 : x->target.slot > y->target.slot;
}

/* Stages that are still being written stay out, unless they must not any longer. */
static void leave_out_hot(struct pfs_store *store)
{
	struct pfs_list *item = store->batch.next, *next;
	bool too_long = pfs_journal_live_bytes(store->journal) > PFS_STAGE_JOURNAL_MAX;
	int64_t now = pfs_now_monotonic();

	for (; item != &store->batch; item = next) {
		struct pfs_version *v = (struct pfs_version *)item;

		next = item->next;
		if (v->source.kind != PFS_SOURCE_STAGE || too_long ||
		    v->source.stage->batch != store->batch_number ||
		    v->source.stage->count > PFS_STAGE_EXTENTS_MAX ||
		    now - v->source.stage->written_ns >= PFS_STAGE_QUIET_NS)
			continue;
		pfs_list_remove(item);
		pfs_list_append(&store->staged, item);
		v->batch = v->source.stage->batch = store->batch_number + 1;
	}
}

/* Takes everything that is logged. *below: segments that hold nothing else. *left: what is taken is
 * a batch that failed for lack of space or memory, which is finished before another is taken. */
static int take(struct pfs_store *store, bool force, uint64_t *below, bool *left)
{
	int err = 0;

	pthread_mutex_lock(&store->commit);
	*left = !pfs_list_empty(&store->batch);
	if (!*left) {
		err = pfs_journal_rotate(store->journal);
		if (err && pfs_journal_has_failed(store->journal))
			err = pfs_store_fail(store, "beginning a journal segment", err);
		if (!err) {
			pfs_list_splice(&store->batch, &store->staged);
			if (!force)
				leave_out_hot(store);
			pfs_list_splice(&store->batch, &store->pending);
			store->applying = store->batch_number++;
			store->batch_below = pfs_journal_active(store->journal);
		}
	}
	*below = store->batch_below;
	pthread_mutex_unlock(&store->commit);
	return err;
}

static int list_batch(struct checkpoint *cp)
{
	struct pfs_list *item;
	size_t n = 0;

	for (item = cp->store->batch.next; item != &cp->store->batch; item = item->next)
		n++;
	cp->versions = malloc((n + 1) * sizeof(struct pfs_version *));
	if (!cp->versions)
		return -ENOMEM;
	for (item = cp->store->batch.next; item != &cp->store->batch; item = item->next)
		cp->versions[cp->count++] = (struct pfs_version *)item;
	return 0;
}

static int write_containers(struct checkpoint *cp)
{
	int err = 0;

	qsort(cp->versions, cp->count, sizeof(struct pfs_version *), by_target);
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];

		if (!v->target.page)
			continue;
		pfs_epoch_enter();
		if (v->source.kind == PFS_SOURCE_LOST)
			err = write_lost(cp, v);
		else
			err = v->size > PFS_BLOCK_LEN ? apply_large(cp, v) : apply_small(cp, v);
		if (err == -EIO && !cp->gather.failed)
			err = write_lost(cp, v);
		pfs_epoch_leave();
		if (in_place(v))
			pfs_count(&cp->store->counters.in_place);
		else if (v->home.page)
			pfs_count(&cp->store->counters.relocations);
	}
	return err ? err : gather_flush(&cp->gather);
}

static int write_slots(struct checkpoint *cp)
{
	int err = 0;

	qsort(cp->versions, cp->count, sizeof(struct pfs_version *), by_slot);
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];
		struct pfs_slot slot = {.kind = v->kind,
					.tag = v->tag,
					.off = v->target.off,
					.len = v->applied_len};
		uint8_t *out;

		if (!v->target.page)
			continue;
		err = gather_room(&cp->gather, pfs_pager_find(cp->store->pager, v->target.page),
				  pfs_slot_offset(v->target.slot), PFS_SLOT_LEN, &out);
		if (!err)
			pfs_slot_encode((struct pfs_slot_disk *)out, &slot);
	}
	return err ? err : gather_flush(&cp->gather);
}

int pfs_write_tombstone(struct pfs_store *store, const struct pfs_extent_at *at, uint64_t tag,
			uint64_t seq)
{
	struct pfs_slot slot = {.kind = PFS_SLOT_TOMBSTONE, .tag = tag, .seq = seq};
	struct pfs_slot_disk disk;

	pfs_slot_encode(&disk, &slot);
	return pfs_pager_write(store->pager, pfs_pager_find(store->pager, at->page), &disk,
			       sizeof(disk), pfs_slot_offset(at->slot));
}

/* The source that the version's bytes have now that they are in its target. */
static struct pfs_source applied_source(struct pfs_store *store, const struct pfs_version *v)
{
	struct pfs_view view = {0};

	if (pfs_view(store, pfs_word_page(v->target.page, v->target.slot), &view) != 0)
		view.source = (struct pfs_source){.kind = PFS_SOURCE_LOST, .size = v->size};
	return view.source;
}

/* copy takes the place of the version `of` as what its object is. */
static void set_current(struct pfs_store *store, struct pfs_version *of, struct pfs_version *copy)
{
	uint64_t word = pfs_index_word(store->index, of->object);

	if (word == pfs_word_version(of))
		pfs_index_set_word(store->index, of->object, pfs_word_version(copy));
	else
		pfs_word_to_version(word)->under = pfs_word_version(copy);
}

/* Whether a held version stands before what has come to this place. */
static bool is_under_held(uint64_t word, uint64_t place)
{
	return pfs_word_is_version(word) && pfs_word_to_version(word)->held &&
	       pfs_word_to_version(word)->under == place;
}

/* What a newer version took from v, which the journal will soon not have any more, is from now on
 * in v's target. */
static void repoint(struct pfs_store *store, struct pfs_version *v, uint64_t word)
{
	struct pfs_version *newer = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;
	struct pfs_version *copy;
	struct pfs_source now, former;

	if (!newer || newer == v || newer->removed)
		return;
	if (newer->held) {
		if (newer->under == pfs_word_version(v))
			newer->under = pfs_word_page(v->target.page, v->target.slot);
		else
			repoint(store, v, newer->under);
		return;
	}
	now = applied_source(store, v);
	if (newer->source.kind == PFS_SOURCE_STAGE &&
	    pfs_source_same(&newer->source.stage->base, &v->source)) {
		former = pfs_stage_rebase(newer->source.stage, &now);
		pfs_source_unref(store, &former);
		return;
	}
	if (!pfs_source_same(&newer->source, &v->source))
		return;
	copy = malloc(sizeof(*copy) + newer->tail_len);
	if (!copy) {
		pfs_store_fail(store, "finishing a checkpoint", -ENOMEM);
		return;
	}
	memcpy(copy, newer, sizeof(*copy) + newer->tail_len);
	copy->source = now;
	former = newer->source;
	pfs_list_replace(&newer->list, &copy->list);
	set_current(store, newer, copy);
	pfs_source_unref(store, &former);
	pfs_limbo(store, newer);
}

/* The version that stands for the object now, without what is held of it; NULL: it is in a page or
 * gone. */
static struct pfs_version *current_version(struct pfs_store *store, uint32_t object)
{
	uint64_t word = object ? pfs_index_word(store->index, object) : 0;
	struct pfs_version *v = pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

	if (v && v->held)
		v = pfs_word_is_version(v->under) ? pfs_word_to_version(v->under) : NULL;
	return v;
}

static bool is_pinned(const struct pfs_version *v)
{
	return !v->removed && !v->target.page;
}

/* What was reserved behind the container, and not needed, is free again: all beyond the target, and
 * within it what no newer version counts on as its home. */
static void settle_tail(struct pfs_store *store, struct pfs_version *v, bool is_current)
{
	struct pfs_version *newer = is_current ? NULL : current_version(store, v->object);
	uint64_t from = v->applied_len, to = v->target.len;

	if (in_place(v))
		to = pfs_max_u64(to, v->home.len);
	if (!is_current) {
		/* Who has the target as its home gives all of that back in the end. */
		if (newer && newer->home.page == v->target.page &&
		    newer->home.slot == v->target.slot && !in_place(newer))
			newer->home.len = v->applied_len;
		else
			from = v->target.len;
	}
	v->spare_off = v->target.off + from;
	v->spare_len = to - from;
}

/* Makes the pages what readers see. */
static void flip_one(struct pfs_store *store, struct pfs_version *v)
{
	uint64_t word = v->object ? pfs_index_word(store->index, v->object) : 0;
	uint64_t place = pfs_word_page(v->target.page, v->target.slot);
	bool is_current = word == pfs_word_version(v);

	v->applied = true;
	if (v->removed || is_pinned(v))
		return;
	if (is_current) {
		pfs_index_set_word(store->index, v->object, place);
	} else if (v->object) {
		repoint(store, v, word);
		is_current = is_under_held(word, place);
	}
	if (is_current && v->kind != PFS_KEY_TEMP)
		store->container_bytes += v->applied_len - v->stored;
	settle_tail(store, v, is_current);
}

static void flip(struct checkpoint *cp)
{
	for (size_t i = 0; i < cp->count;) {
		pthread_mutex_lock(&cp->store->commit);
		pfs_epoch_enter();
		for (size_t n = 0; n < FLIP_STEP && i < cp->count; n++)
			flip_one(cp->store, cp->versions[i++]);
		pfs_epoch_leave();
		pthread_mutex_unlock(&cp->store->commit);
	}
}

/* ---- retiring ---- */

static bool has_old_home(const struct pfs_version *v)
{
	return v->home.page && !in_place(v);
}

static int write_tombstones(struct checkpoint *cp, bool *any)
{
	int err = 0;

	*any = false;
	for (size_t i = 0; i < cp->count && !err; i++) {
		struct pfs_version *v = cp->versions[i];
		struct pfs_page *page = pfs_pager_find(cp->store->pager, v->home.page);
		struct pfs_slot slot;

		if (!has_old_home(v))
			continue;
		*any = true;
		err = pfs_page_read_slot(page, v->home.slot, &slot);
		if (err == -EUCLEAN) {
			slot.tag = v->tag;
			err = 0;
		}
		if (!err)
			err = pfs_write_tombstone(cp->store, &v->home, slot.tag, v->seq);
	}
	return err;
}

/* Everything is durable: space, segments and versions are free for others. */
static void release(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;

	for (size_t i = 0; i < cp->count;) {
		pthread_mutex_lock(&store->commit);
		for (size_t n = 0; n < FLIP_STEP && i < cp->count; n++, i++) {
			struct pfs_version *v = cp->versions[i];

			pfs_list_remove(&v->list);
			if (is_pinned(v) && current_version(store, v->object) == v)
				continue;
			if (v->spare_len)
				pfs_pager_free_bytes(store->pager, v->target.page, v->spare_off,
						     v->spare_len);
			if (has_old_home(v) && !is_pinned(v))
				pfs_pager_free(store->pager, &v->home);
			pfs_limbo(store, v);
		}
		pthread_mutex_unlock(&store->commit);
	}
}

/* ---- the whole ---- */

int pfs_sync_pages(struct pfs_store *store)
{
	int err = pfs_pager_sync(store->pager);

	return err ? pfs_store_fail(store, "syncing pages", err) : 0;
}

/* New pages are durable, and then the set that counts them, before anything is put into one: a page
 * that is missing later is known to be. */
static int give_birth(struct pfs_store *store)
{
	struct pfs_page_set before = store->super.pages;
	int err =
		pfs_pager_give_birth(store->pager, &store->super.pages, pfs_commit_lock_cb, store);

	if (!err && store->super.pages.count != before.count)
		err = pfs_super_write(store->dir, &store->super);
	if (err)
		store->super.pages = before;
	return err;
}

/* Steps up to "synced": when they fail for lack of space, nothing that counts has changed. */
static int write_batch(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	int err = give_birth(store);

	if (!err)
		err = write_containers(cp);
	if (!err && pfs_sync_pages(store) != 0)
		return -EROFS;
	if (!err)
		err = write_slots(cp);
	if (!err)
		err = pfs_pager_write_headers(store->pager, pfs_commit_lock_cb, store);
	if (err && err != -ENOSPC && err != -ENOMEM)
		return pfs_store_fail(store, "writing pages", err);
	return err ? err : pfs_sync_pages(store);
}

int pfs_store_mark_journal(struct pfs_store *store)
{
	uint64_t before = store->super.journal_epoch;
	int err;

	if (before == store->super.open_epoch)
		return 0;
	store->super.journal_epoch = store->super.open_epoch;
	err = pfs_super_write(store->dir, &store->super);
	if (err)
		store->super.journal_epoch = before;
	return err;
}

static int recycle(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	int err;

	pthread_mutex_lock(&store->commit);
	/* Nobody reads the versions any more: an epoch has passed since the flip. Their stages let
	 * go of the journal. */
	for (size_t i = 0; i < cp->count; i++) {
		struct pfs_version *v = cp->versions[i];

		if (is_pinned(v) && current_version(store, v->object) == v)
			continue;
		pfs_source_unref(store, &v->source);
		v->source.kind = PFS_SOURCE_EMPTY;
	}
	err = pfs_journal_declare(store->journal, cp->below);
	pthread_mutex_unlock(&store->commit);
	if (!err)
		err = pfs_journal_sync_declared(store->journal);
	if (!err)
		err = pfs_store_mark_journal(store);
	return err ? pfs_store_fail(store, "recycling the journal", err) : 0;
}

static int run(struct checkpoint *cp)
{
	struct pfs_store *store = cp->store;
	bool any;
	int err = write_batch(cp);

	if (err)
		return err;
	flip(cp);
	pfs_epoch_collect(store);
	err = write_tombstones(cp, &any);
	if (err)
		return pfs_store_fail(store, "writing tombstones", err);
	if (any)
		err = pfs_sync_pages(store);
	if (!err)
		err = recycle(cp);
	if (err)
		return err;
	release(cp);
	pfs_epoch_collect(store);
	pthread_mutex_lock(&store->commit);
	pfs_journal_reuse(store->journal);
	pfs_journal_trim(store->journal, PFS_SPARE_SEGMENTS_MAX);
	store->counters.checkpoints++;
	store->journal_kept = pfs_journal_live_bytes(store->journal);
	pthread_mutex_unlock(&store->commit);
	pfs_dicts_drop(store);
	return pfs_retire_pages(store, true);
}

/* *more: a batch that an earlier checkpoint had to leave was finished, and what came after it is
 * still to be taken. */
static int checkpoint_batch(struct pfs_store *store, bool force, bool *more)
{
	struct checkpoint cp = {.store = store, .gather = {.store = store}};
	int err = take(store, force, &cp.below, more);

	if (!err) {
		err = pfs_journal_sync(store->journal, UINT64_MAX);
		if (err)
			err = pfs_store_fail(store, "syncing the journal", err);
	}
	if (!err) {
		pfs_epoch_collect(store);
		cp.gather.buf = malloc(GATHER_LEN);
		err = cp.gather.buf ? list_batch(&cp) : -ENOMEM;
	}
	if (!err)
		err = run(&cp);
	free(cp.gather.buf);
	free(cp.versions);
	return err;
}

int pfs_checkpoint(struct pfs_store *store, bool force)
{
	bool more;
	int err;

	if (!pfs_store_is_writable(store))
		return -EROFS;
	pthread_mutex_lock(&store->checkpoint_lock);
	do {
		err = checkpoint_batch(store, force, &more);
	} while (!err && more);
	pthread_mutex_unlock(&store->checkpoint_lock);
	return err;
}
