/* What each call says and does, to the byte, for a document in each state that it can be in: in a
 * page or in the journal, small or of several blocks, changed, held, removed, renamed, not there.
 * The result, what can be seen of the document then, and what the disk holds when the store has
 * been closed are compared with what is written down (golden_test.c says why, and what to do when
 * it is meant to change). */
#include "tests/model/tale.h"

#define NAME "50"
#define OTHER "60"
#define UUID "c0ffee00-0000-4000-8000-000000000050"
#define SCRATCH ".50.swp"
#define LARGE 150000u
#define BEGUN INT64_C(1700000100000000000)

/* Of the document that a call is about. */
static const char *subject;
static uint32_t nameless;	    /* it has lost its name, and is held; 0: it has one */
static struct pfs_snapshot *before; /* of what was there before; or NULL */

/* ---- states ---- */

/* Makes a dictionary, and documents that are packed with it. */
static void put_words(struct tale *t)
{
	size_t *lens;
	char *samples = train_on_records(t, 1000, &lens);

	put_one(t, NAME, samples, lens[0], false);
	put_one(t, OTHER, samples + lens[0], lens[1], true);
	put_one(t, "53", samples + lens[0] + lens[1], lens[2], false);
	free(samples);
	free(lens);
}

/* What every store has in its pages. */
static void make_store(struct tale *t, bool with_dictionary)
{
	t->store = open_store(t->sim);
	put_named(t, OTHER, 700);
	put_named(t, NAME, 900);
	put_named(t, "51", LARGE);
	put_named(t, "52", 0);
	put_named(t, "53", 100);
	put_named(t, ".x.swp", 400);
	put_named(t, UUID, 800);
	put_named(t, SCRATCH, 600);
	put_named(t, "54", PFS_BLOCK_LEN);
	put_named(t, "55", PFS_BLOCK_LEN + 1);
	if (with_dictionary)
		put_words(t);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
	assert_int_equal(pfs_store_close(t->store), 0);
	t->store = NULL;
}

static void open_it(struct tale *t, bool hold)
{
	static const struct pfs_defaults defaults = {.mode = 0640, .uid = 3, .gid = 3};
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = hold,
					   .defaults = &defaults,
					   .io = pfs_sim_io(t->sim),
					   .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&t->store, STORE, &options, &reason), 0);
}

static int patch(struct tale *t, uint32_t object, uint64_t off, size_t len)
{
	uint8_t bytes[5000];

	t->seeds += 2;
	fill_document(bytes, len, t->seeds + 1);
	the_time += 1000;
	return pfs_write(t->store, object, off, bytes, len, the_time);
}

static int set(struct tale *t, uint32_t object, unsigned mask, uint64_t size)
{
	struct pfs_attr out, attr = {.size = size,
				     .mode = 0604,
				     .uid = 11,
				     .gid = UINT32_MAX,
				     .mtime_ns = the_time - 5};
	int err = pfs_setattr(t->store, object, mask, &attr, &out);

	if (!err)
		fprintf(t->out, "{%llu %o %u} ", (unsigned long long)out.size, out.mode, out.uid);
	return err;
}

static int move(struct tale *t, const char *from, const char *to, unsigned flags)
{
	struct pfs_key a = key_named(from), b = key_named(to);
	uint32_t replaced = 77;
	int err = pfs_rename(t->store, &a, &b, flags, &replaced);

	fprintf(t->out, "(%u) ", replaced);
	return err;
}

static void drop(struct tale *t, const char *name)
{
	struct pfs_key key = key_named(name);

	assert_int_equal(pfs_remove(t->store, &key, NULL), 0);
}

static void make_large(struct tale *t)
{
	drop(t, NAME);
	assert_int_equal(pfs_rename(t->store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 51},
				    &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 50}, 0, NULL),
			 0);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void is_missing(struct tale *t)
{
	drop(t, NAME);
	pfs_release(t->store, object_named(t, NAME));
}

static void is_in_page(struct tale *t)
{
	(void)t;
}

static void is_large(struct tale *t)
{
	make_large(t);
}

static void is_in_journal(struct tale *t)
{
	put_named(t, NAME, 1500);
}

static void is_large_in_journal(struct tale *t)
{
	put_named(t, NAME, LARGE + 1);
}

static void is_patched(struct tale *t)
{
	assert_int_equal(patch(t, object_named(t, NAME), 100, 20), 0);
}

static void is_large_and_patched(struct tale *t)
{
	make_large(t);
	assert_int_equal(patch(t, object_named(t, NAME), 65000, 2000), 0);
	assert_int_equal(patch(t, object_named(t, NAME), LARGE, 300), 0);
}

static void is_truncated(struct tale *t)
{
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_SIZE, 0), 0);
}

static void is_large_and_truncated(struct tale *t)
{
	is_large_and_patched(t);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_SIZE, 0), 0);
}

static void is_created(struct tale *t)
{
	struct pfs_attr attr = {.mode = 0611, .uid = 4, .gid = 5, .mtime_ns = the_time};
	struct pfs_key key = key_named(NAME);

	drop(t, NAME);
	assert_int_equal(pfs_create(t->store, &key, &attr, NULL), 0);
}

static void is_empty(struct tale *t)
{
	assert_int_equal(move(t, "52", NAME, 0), 0);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void is_renamed(struct tale *t)
{
	assert_int_equal(move(t, "53", NAME, 0), 0);
}

static void is_exchanged(struct tale *t)
{
	assert_int_equal(move(t, "53", NAME, PFS_RENAME_EXCHANGE), 0);
	assert_int_equal(set(t, object_named(t, "53"), PFS_ATTR_MODE, 0), 0);
}

static void is_a_uuid(struct tale *t)
{
	(void)t;
	subject = UUID;
}

static void is_scratch(struct tale *t)
{
	(void)t;
	subject = SCRATCH;
}

static void is_a_block(struct tale *t)
{
	(void)t;
	subject = "54";
}

static void is_more_than_a_block(struct tale *t)
{
	(void)t;
	subject = "55";
}

static void is_nameless(struct tale *t)
{
	nameless = object_named(t, NAME);
	drop(t, NAME);
}

static void is_patched_and_nameless(struct tale *t)
{
	is_large_and_patched(t);
	is_nameless(t);
}

static void is_in_journal_twice(struct tale *t)
{
	put_named(t, NAME, 1500);
	put_named(t, NAME, 1200);
}

/* Into the room of those that were behind it. */
static void has_grown(struct tale *t)
{
	drop(t, "52");
	drop(t, "53");
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
	put_named(t, NAME, 960);
}

static void has_grown_less(struct tale *t)
{
	has_grown(t);
	put_named(t, NAME, 930);
}

static void has_shrunk(struct tale *t)
{
	put_named(t, NAME, 500);
}

static void is_kept(struct tale *t)
{
	assert_int_equal(pfs_snapshot_open(t->store, &before), 0);
}

static void is_kept_and_changed(struct tale *t)
{
	is_kept(t);
	put_named(t, NAME, 880);
	assert_int_equal(patch(t, object_named(t, "51"), 70000, 10), 0);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void is_large_and_kept(struct tale *t)
{
	is_large_and_patched(t);
	is_kept(t);
}

static int fail_pages(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0 ? -ENOSPC : 0;
}

static int fail_syncs(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_SYNC ? -EIO : 0;
}

/* A checkpoint has taken it and could not write it. */
static void take(struct tale *t)
{
	pfs_sim_on_step(t->sim, fail_pages, NULL);
	fprintf(t->out, "checkpoint %d, ", pfs_store_checkpoint(t->store));
	pfs_sim_on_step(t->sim, NULL, NULL);
}

static void is_taken(struct tale *t)
{
	is_in_journal(t);
	take(t);
}

static void is_taken_and_changed(struct tale *t)
{
	is_taken(t);
	is_patched(t);
}

static void is_taken_and_renamed(struct tale *t)
{
	put_named(t, "53", 1400);
	take(t);
	is_renamed(t);
}

static void is_taken_and_truncated(struct tale *t)
{
	is_taken(t);
	is_truncated(t);
}

static void is_large_and_taken(struct tale *t)
{
	is_large_and_patched(t);
	take(t);
}

static void is_large_taken_and_patched(struct tale *t)
{
	is_large_and_taken(t);
	assert_int_equal(patch(t, object_named(t, NAME), 64000, 3000), 0);
}

static void is_taken_changed_and_truncated(struct tale *t)
{
	is_taken(t);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_MODE, 0), 0);
	is_truncated(t);
}

static void is_large_taken_changed_and_truncated(struct tale *t)
{
	is_large_and_taken(t);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_UID, 0), 0);
	is_truncated(t);
}

/* Its name is kept beside it. */
static void is_scratch_taken_and_changed(struct tale *t)
{
	is_scratch(t);
	put_named(t, SCRATCH, 1400);
	take(t);
	assert_int_equal(set(t, object_named(t, SCRATCH), PFS_ATTR_MODE, 0), 0);
}

static void is_taken_and_kept(struct tale *t)
{
	is_taken(t);
	is_kept(t);
	is_patched(t);
}

/* It is being emptied. */
static void is_in_a_closed_page(struct tale *t)
{
	struct pfs_pager *pager = t->store->pager;

	is_in_journal(t);
	pfs_commit_lock_cb(t->store, true);
	for (struct pfs_page *page = pfs_pager_next_page(pager, 0); page;
	     page = pfs_pager_next_page(pager, page->number))
		pfs_pager_close_page(pager, page, true);
	pfs_commit_lock_cb(t->store, false);
}

/* Turns a bit of its container. */
static void damage(struct tale *t, const char *whose, uint64_t at)
{
	struct pfs_key key = key_named(whose);
	struct pfs_place place;

	assert_int_equal(pfs_place(t->store, &key, &place), 0);
	flip_bit(t->sim, page_name(place.page), place.offset + at, 3);
}

static void is_damaged(struct tale *t)
{
	damage(t, NAME, 200);
}

static void is_large_and_damaged(struct tale *t)
{
	make_large(t);
	damage(t, NAME, 100000);
}

static void is_large_damaged_and_patched(struct tale *t)
{
	is_large_and_patched(t);
	flip_bit(t->sim, page_name(2), 100000, 3);
}

static void has_a_damaged_slot(struct tale *t)
{
	struct pfs_key key = key_named(NAME);
	struct pfs_place place;

	assert_int_equal(pfs_place(t->store, &key, &place), 0);
	flip_bit(t->sim, page_name(place.page), pfs_slot_offset(place.slot) + 1, 3);
}

/* Turns a bit of the newest record that is no shorter than len. */
static void damage_record(struct tale *t, size_t len)
{
	char segment[32];
	uint8_t size[4];
	uint64_t at = PFS_SEGMENT_DATA, found = 0;

	assert_true(find_segment(t->sim, segment));
	for (;;) {
		read_at(t->sim, segment, at, size, sizeof(size));
		if (!pfs_get_le32(size))
			break;
		if (pfs_get_le32(size) >= len)
			found = at;
		at += pfs_get_le32(size);
	}
	assert_true(found > 0);
	flip_bit(t->sim, segment, found + len - 10, 3);
}

static void is_damaged_in_journal(struct tale *t)
{
	is_in_journal(t);
	damage_record(t, 1500);
}

static void is_large_and_damaged_in_journal(struct tale *t)
{
	is_large_in_journal(t);
	damage_record(t, LARGE);
}

static void is_damaged_in_a_patch(struct tale *t)
{
	is_large_and_patched(t);
	damage_record(t, 2000);
}

/* Its end is zeros that nothing says. */
static void is_extended(struct tale *t)
{
	is_large_and_patched(t);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_SIZE, 70000), 0);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_SIZE, 148000), 0);
	assert_int_equal(patch(t, object_named(t, NAME), 140000, 10), 0);
}

/* What it had before it was named so could not be read when it was to be moved. */
static void is_lost(struct tale *t)
{
	struct pfs_key key = key_named("53");
	struct pfs_place place;

	assert_int_equal(pfs_place(t->store, &key, &place), 0);
	is_renamed(t);
	flip_bit(t->sim, page_name(place.page), place.offset + 30, 3);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void is_lost_and_changed(struct tale *t)
{
	is_lost(t);
	assert_int_equal(set(t, object_named(t, NAME), PFS_ATTR_MODE, 0), 0);
}

static void disk_is_full(struct tale *t)
{
	is_in_journal(t);
	pfs_sim_set_capacity(t->sim, pfs_sim_used(t->sim));
}

static void disk_is_full_and_it_is_large(struct tale *t)
{
	make_large(t);
	pfs_sim_set_capacity(t->sim, pfs_sim_used(t->sim));
}

/* Before it was opened: there is no room for a journal. */
static void disk_was_full(struct tale *t)
{
	(void)t;
}

static void store_has_failed(struct tale *t)
{
	is_large_and_patched(t);
	pfs_sim_on_step(t->sim, fail_syncs, NULL);
	assert_int_equal(pfs_sync(t->store), -EROFS);
	pfs_sim_on_step(t->sim, NULL, NULL);
}

static const struct {
	const char *name;
	void (*make)(struct tale *t);
} states[] = {
	{"missing", is_missing},
	{"in a page", is_in_page},
	{"large", is_large},
	{"in the journal", is_in_journal},
	{"large in the journal", is_large_in_journal},
	{"patched", is_patched},
	{"large and patched", is_large_and_patched},
	{"truncated", is_truncated},
	{"large and truncated", is_large_and_truncated},
	{"created", is_created},
	{"empty", is_empty},
	{"renamed", is_renamed},
	{"exchanged", is_exchanged},
#define COMMON_STATES 13u
	{"a UUID", is_a_uuid},
	{"scratch", is_scratch},
	{"a block", is_a_block},
	{"more than a block", is_more_than_a_block},
	{"nameless", is_nameless},
	{"patched and nameless", is_patched_and_nameless},
	{"in the journal twice", is_in_journal_twice},
	{"grown", has_grown},
	{"grown less", has_grown_less},
	{"shrunk", has_shrunk},
	{"kept", is_kept},
	{"kept and changed", is_kept_and_changed},
	{"large and kept", is_large_and_kept},
	{"taken", is_taken},
	{"taken and changed", is_taken_and_changed},
	{"taken and renamed", is_taken_and_renamed},
	{"taken and truncated", is_taken_and_truncated},
	{"large and taken", is_large_and_taken},
	{"large, taken and patched", is_large_taken_and_patched},
	{"taken, changed and truncated", is_taken_changed_and_truncated},
	{"large, taken, changed and truncated", is_large_taken_changed_and_truncated},
	{"scratch, taken and changed", is_scratch_taken_and_changed},
	{"taken and kept", is_taken_and_kept},
	{"in a closed page", is_in_a_closed_page},
	{"damaged", is_damaged},
	{"large and damaged", is_large_and_damaged},
	{"large, damaged and patched", is_large_damaged_and_patched},
	{"damaged in its slot", has_a_damaged_slot},
	{"damaged in the journal", is_damaged_in_journal},
	{"large and damaged in the journal", is_large_and_damaged_in_journal},
	{"damaged in a patch", is_damaged_in_a_patch},
	{"extended", is_extended},
	{"lost", is_lost},
	{"lost and changed", is_lost_and_changed},
	{"on a full disk", disk_is_full},
	{"large on a full disk", disk_is_full_and_it_is_large},
	{"on a disk that was full", disk_was_full},
	{"in a store that has failed", store_has_failed},
};

/* ---- calls ---- */

enum call {
	WRITE_NOTHING,
	WRITE_BEGIN,
	WRITE_WITHIN,
	WRITE_END,
	WRITE_GAP,
	WRITE_SAME,
	WRITE_LESS,
	WRITE_WHOLE,
	WRITE_FAR,
	WRITE_LAST,
	ZERO_BEGIN,
	ZERO_ALL,
	ZERO_LAST,
	ZERO_BEYOND,
	SET_ALL,
	SET_MODE,
	SET_OWNER,
	SET_TIME,
	SET_NOTHING,
	SIZE_NONE,
	SIZE_ONE,
	SIZE_LESS,
	SIZE_SAME,
	SIZE_MORE,
	SIZE_BLOCK,
	SIZE_MORE_THAN_BLOCK,
	SIZE_LARGE,
	SIZE_TOO_LARGE,
	SIZE_TWICE,
	SIZE_AND_MODE,
	SIZE_SAME_AND_TIME,
	SIZE_NONE_AND_ALL,
	CREATE,
	CREATE_SCRATCH,
	PUT,
	PUT_EMPTY,
	PUT_LARGE,
	PUT_NEW,
	PUT_KEEPING,
	PUT_PIECES,
	PUT_MANY,
	REMOVE,
	REMOVE_AND_PUT,
	MOVE_AWAY,
	MOVE_OVER,
	MOVE_OVER_LARGE,
	MOVE_TO_ITSELF,
	MOVE_NOREPLACE,
	MOVE_TO_SCRATCH,
	MOVE_THERE,
	EXCHANGE,
	TIDY,
	RELEASE,
	SYNC,
	TICKS,
	SYNC_ALL,
	CHECKPOINT,
	COMPACT,
	COMPACT_STEPS,
	LOOK,
	LOOK_BACK,
	CHANGES,
	SNAPSHOT,
	MOVE_OVER_AND_TIDY,
	MOVE_OVER_TRUNCATE_AND_TIDY,
	REMOVE_AND_USE,
	CREATE_AND_REMOVE,
	PUT_AND_PUT,
	TRUNCATE_AND_WRITE,
	GROW_AND_SHRINK,
	RESIZE_OFTEN,
	REPLACE_AND_TIDY,
	CALLS
};

static int put_it(struct tale *t, size_t len, unsigned flags)
{
	struct pfs_attr attr = {.mode = 0610, .uid = 1, .gid = 2, .mtime_ns = the_time};
	struct pfs_key key = key_named(subject);
	uint8_t *bytes = malloc(len + 1);
	uint32_t replaced = 77;
	int err;

	fill_document(bytes, len, 12345);
	err = pfs_put(t->store, &key, bytes, len, len % 2 ? &attr : NULL, flags, &replaced);
	free(bytes);
	fprintf(t->out, "(%u) ", replaced);
	return err;
}

static int put_in_pieces(struct tale *t)
{
	struct pfs_key key = key_named(subject);
	uint8_t bytes[5000];
	struct pfs_put *put;
	int err;

	fill_document(bytes, sizeof(bytes), 777);
	err = pfs_put_begin(t->store, &put);
	if (err)
		return err;
	for (unsigned i = 0; i < 20 && !err; i++)
		err = pfs_put_write(put, bytes, sizeof(bytes) - i);
	if (!err)
		return pfs_put_commit(put, &key, NULL, 0, NULL);
	pfs_put_abort(put);
	return err;
}

static int put_many(struct tale *t)
{
	struct pfs_put_item items[3] = {{.key = key_named(subject), .data = "first", .len = 5},
					{.key = key_named(OTHER), .data = "", .len = 0},
					{.key = key_named(subject),
					 .data = "second",
					 .len = 6,
					 .flags = PFS_PUT_NEW_OBJECT}};
	int err = 0;

	fprintf(t->out, "(%zu) ", pfs_put_many(t->store, items, 3, &err));
	return err;
}

static int create(struct tale *t, const char *name)
{
	struct pfs_attr attr = {.mode = 01777, .uid = 4, .gid = 5, .mtime_ns = the_time};
	struct pfs_key key = key_named(name);
	uint32_t object = 77;
	int err = pfs_create(t->store, &key, &attr, &object);

	fprintf(t->out, "(%u) ", object);
	return err;
}

static int remove_it(struct tale *t)
{
	struct pfs_key key = key_named(subject);
	uint32_t object = 77;
	int err = pfs_remove(t->store, &key, &object);

	fprintf(t->out, "(%u) ", object);
	return err;
}

static int compact(struct tale *t)
{
	struct pfs_compact_result r;
	bool stop = false;
	int err = pfs_store_compact(t->store, NULL, NULL, &stop, &r);

	fprintf(t->out, "(%llu values, %llu bytes, %llu and %llu pages, %llu and %llu on disk) ",
		(unsigned long long)r.values, (unsigned long long)r.bytes,
		(unsigned long long)r.pages_before, (unsigned long long)r.pages_after,
		(unsigned long long)r.disk_before, (unsigned long long)r.disk_after);
	return err;
}

/* By every way of reading, at the ends of what is there. */
static int look(struct tale *t, uint32_t object, uint64_t size)
{
	static uint8_t bytes[100];
	const uint64_t offs[] = {0,    1,	 size / 2,	     size - 99, size - 1,
				 size, size + 1, PFS_BLOCK_LEN - 50, UINT64_MAX};
	struct pfs_key key = key_named(subject), is = {0};
	char text[PFS_NAME_MAX + 1];
	struct pfs_place p;
	struct pfs_attr a;
	uint32_t found = 77;
	void *data = NULL;
	size_t len = 0;
	int err;

	for (unsigned i = 0; i < pfs_array_len(offs); i++) {
		ssize_t n = pfs_read(t->store, object, offs[i], bytes, sizeof(bytes));

		fprintf(t->out, "(%zd %016llx) ", n,
			(unsigned long long)hash_bytes(HASH_FIRST, bytes, n > 0 ? (size_t)n : 0));
	}
	err = pfs_object_key(t->store, object, &is);
	pfs_key_format(text, &is);
	fprintf(t->out, "{%d %s} ", err, err ? "" : text);
	fprintf(t->out, "{%d %u} ", pfs_lookup(t->store, &key, &found, &a), found);
	err = pfs_get(t->store, &key, &data, &len, &a);
	fprintf(t->out, "{%d %zu %016llx} ", err, len,
		(unsigned long long)hash_bytes(HASH_FIRST, data, len));
	free(data);
	err = pfs_place(t->store, &key, &p);
	fprintf(t->out, "{%d %u %u %llu %llu %llu %llu %d %llu} ", p.in_journal, p.page, p.slot,
		(unsigned long long)p.offset, (unsigned long long)p.container_len,
		(unsigned long long)p.packed_len, (unsigned long long)p.sequence, p.compressed,
		(unsigned long long)p.blocks);
	return err;
}

/* What the snapshot shows, if there is one. */
static int look_back(struct tale *t)
{
	struct pfs_key key = key_named(subject);
	struct pfs_snapshot *now = before;
	struct pfs_attr a = {0};
	void *data = NULL;
	uint64_t seq = 0;
	size_t len = 0;
	int err = before ? 0 : pfs_snapshot_open(t->store, &now);

	if (err)
		return err;
	(void)patch(t, object_named(t, subject), 3, 4);
	err = pfs_snapshot_lookup_change(now, &key, &a, &seq);
	fprintf(t->out, "{%d %llu %o %lld %llu} ", err, (unsigned long long)a.size, a.mode,
		(long long)a.mtime_ns, (unsigned long long)seq);
	err = pfs_snapshot_get(now, &key, &data, &len, NULL);
	fprintf(t->out, "{%zu %016llx} ", len,
		(unsigned long long)hash_bytes(HASH_FIRST, data, len));
	free(data);
	if (!before)
		pfs_snapshot_close(now);
	return err;
}

/* Changes that follow one another, with checkpoints between. */
static int several(struct tale *t, uint32_t object, uint64_t size)
{
	int err = patch(t, object, size / 3, 700);

	if (!err)
		err = set(t, object, PFS_ATTR_UID, 0);
	if (!err)
		err = pfs_store_checkpoint(t->store);
	if (!err)
		err = patch(t, object, size, 3);
	if (!err)
		err = move(t, subject, "70", 0);
	if (!err)
		err = patch(t, object, 5, 20);
	if (!err)
		err = pfs_store_checkpoint(t->store);
	if (!err)
		err = set(t, object, PFS_ATTR_SIZE, size / 2);
	return err ? err : move(t, "70", OTHER, PFS_RENAME_EXCHANGE);
}

/* What can be seen of the object. */
static void tell_object(struct tale *t, uint32_t object)
{
	static uint8_t bytes[LARGE + 3 * PFS_BLOCK_LEN];
	struct pfs_attr a = {0};
	int err = pfs_getattr(t->store, object, &a);
	ssize_t n = pfs_read(t->store, object, 0, bytes, sizeof(bytes));

	fprintf(t->out, "%u: %d, %llu bytes (%llu), %o %u %u %lld, nlink %u; %zd %016llx\n", object,
		err, (unsigned long long)a.size, (unsigned long long)a.stored, a.mode, a.uid, a.gid,
		(long long)a.mtime_ns, a.nlink, n,
		(unsigned long long)hash_bytes(HASH_FIRST, bytes, n > 0 ? (size_t)n : 0));
}

static void tidy(struct tale *t, uint32_t object)
{
	struct pfs_key key = {0};
	int err = pfs_tidy(t->store, object);

	fprintf(t->out, "tidy %d, ", err);
	fprintf(t->out, "%u is %d, ", object, pfs_object_key(t->store, object, &key));
}

/* It takes another's place in the listing, and the number of that when nobody holds it any more. */
static int move_over_and_tidy(struct tale *t, uint32_t object, bool truncated)
{
	struct pfs_key a = key_named(subject), b = key_named(OTHER);
	uint32_t replaced = 77, now;
	int err = pfs_rename(t->store, &a, &b, 0, &replaced);

	if (err)
		return err;
	tidy(t, object);
	tidy(t, replaced);
	pfs_release(t->store, replaced);
	if (truncated)
		fprintf(t->out, "%d ", set(t, object, PFS_ATTR_SIZE, 0));
	tidy(t, object);
	now = object_named(t, OTHER);
	fprintf(t->out, "%u, %u: ", replaced, now);
	err = truncated ? 0 : patch(t, now, 7, 7);
	tell_object(t, now);
	return err ? err : pfs_store_checkpoint(t->store);
}

static int replace_and_tidy(struct tale *t, uint32_t object)
{
	uint32_t now;
	int err = put_it(t, 250, PFS_PUT_NEW_OBJECT);

	now = object_named(t, subject);
	tidy(t, now);
	pfs_release(t->store, object);
	tidy(t, now);
	tell_object(t, now);
	now = object_named(t, subject);
	tell_object(t, now);
	return err ? err : pfs_store_checkpoint(t->store);
}

/* What can still be done with one that has no name any more. */
static int remove_and_use(struct tale *t, uint32_t object, uint64_t size)
{
	int err = remove_it(t);

	if (err)
		return err;
	tidy(t, object);
	fprintf(t->out, "%d ", patch(t, object, size, 30));
	fprintf(t->out, "%d ", set(t, object, PFS_ATTR_UID, 0));
	fprintf(t->out, "%d ", pfs_zero(t->store, object, 0, 5, the_time));
	tell_object(t, object);
	for (unsigned i = 0; i < PFS_HOLD_TICKS; i++)
		fprintf(t->out, "%d ", pfs_store_tick(t->store));
	fprintf(t->out, "%d ", pfs_store_checkpoint(t->store));
	fprintf(t->out, "%d ", set(t, object, PFS_ATTR_SIZE, 0));
	fprintf(t->out, "%d ", patch(t, object, 0, 40));
	tell_object(t, object);
	pfs_release(t->store, object);
	return pfs_store_checkpoint(t->store);
}

/* Of what was never written no record says anything. */
static int create_and_remove(struct tale *t)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = the_time};
	struct pfs_key key = key_named(".z.swp");
	uint32_t object = 77, gone = 77;
	int err = pfs_create(t->store, &key, &attr, &object);

	if (err)
		return err;
	fprintf(t->out, "%d ", set(t, object, PFS_ATTR_MTIME, 0));
	err = pfs_remove(t->store, &key, &gone);
	fprintf(t->out, "%u %u ", object, gone);
	tell_object(t, object);
	for (unsigned i = 0; i <= PFS_HOLD_TICKS; i++)
		fprintf(t->out, "%d ", pfs_store_tick(t->store));
	tell_object(t, object);
	fprintf(t->out, "%d ", patch(t, object, 3, 3));
	tell_object(t, object);
	return err;
}

static int put_and_put(struct tale *t)
{
	static const uint16_t lens[] = {333, 500, 100, 101, 700, 0, 60};
	int err = 0;

	for (unsigned i = 0; i < pfs_array_len(lens) && !err; i++) {
		err = put_it(t, lens[i], 0);
		if (!err && i % 3 == 1)
			err = pfs_store_checkpoint(t->store);
	}
	return err;
}

static int resize_often(struct tale *t, uint32_t object, uint64_t size)
{
	const uint64_t sizes[] = {size + 200000, PFS_BLOCK_LEN, 70000, 10, 0, 66000, size};
	int err = 0;

	for (unsigned i = 0; i < pfs_array_len(sizes) && !err; i++) {
		err = set(t, object, PFS_ATTR_SIZE, sizes[i]);
		if (!err)
			err = patch(t, object, sizes[i] / 3, 50);
		if (!err && i % 2)
			err = pfs_store_checkpoint(t->store);
	}
	return err;
}

static int call(struct tale *t, enum call call, uint32_t object, uint64_t size)
{
	static uint8_t whole[LARGE + 2000];
	struct pfs_snapshot *snapshot;
	int err;

	switch (call) {
	case WRITE_NOTHING: return patch(t, object, size / 2, 0);
	case WRITE_BEGIN: return patch(t, object, 0, 10);
	case WRITE_WITHIN: return patch(t, object, size / 2, 5);
	case WRITE_END: return patch(t, object, size, 50);
	case WRITE_GAP: return patch(t, object, size + 3000, 10);
	case WRITE_SAME: return pfs_write(t->store, object, 0, whole, size, the_time);
	case WRITE_LESS: return pfs_write(t->store, object, 0, whole, size - !!size, the_time);
	case WRITE_WHOLE: return pfs_write(t->store, object, 0, whole, size + 10, PFS_MTIME_KEEP);
	case WRITE_FAR: return patch(t, object, PFS_PAYLOAD_MAX, 1);
	case WRITE_LAST: return patch(t, object, UINT64_MAX - 5, 10);
	case ZERO_BEGIN: return pfs_zero(t->store, object, 0, 10, the_time);
	case ZERO_ALL: return pfs_zero(t->store, object, 0, UINT64_MAX, the_time);
	case ZERO_LAST: return pfs_zero(t->store, object, size - !!size, 10, the_time);
	case ZERO_BEYOND: return pfs_zero(t->store, object, size, 10, the_time);
	case SET_ALL: return set(t, object, 31, size / 2);
	case SET_MODE: return set(t, object, PFS_ATTR_MODE, 0);
	case SET_OWNER: return set(t, object, PFS_ATTR_UID | PFS_ATTR_GID, 0);
	case SET_TIME: return set(t, object, PFS_ATTR_MTIME, 0);
	case SET_NOTHING: return set(t, object, 0, 0);
	case SIZE_NONE: return set(t, object, PFS_ATTR_SIZE, 0);
	case SIZE_ONE: return set(t, object, PFS_ATTR_SIZE, 1);
	case SIZE_LESS: return set(t, object, PFS_ATTR_SIZE, size - !!size);
	case SIZE_SAME: return set(t, object, PFS_ATTR_SIZE, size);
	case SIZE_MORE: return set(t, object, PFS_ATTR_SIZE, size + 100);
	case SIZE_BLOCK: return set(t, object, PFS_ATTR_SIZE, PFS_BLOCK_LEN);
	case SIZE_MORE_THAN_BLOCK: return set(t, object, PFS_ATTR_SIZE, PFS_BLOCK_LEN + 1);
	case SIZE_LARGE: return set(t, object, PFS_ATTR_SIZE, size + 2 * PFS_BLOCK_LEN);
	case SIZE_TOO_LARGE: return set(t, object, PFS_ATTR_SIZE, PFS_PAYLOAD_MAX + 1);
	case SIZE_TWICE:
		err = set(t, object, PFS_ATTR_SIZE, 0);
		if (!err)
			err = set(t, object, PFS_ATTR_MODE, 0);
		return err ? err : set(t, object, PFS_ATTR_SIZE, 400);
	case SIZE_AND_MODE: return set(t, object, PFS_ATTR_SIZE | PFS_ATTR_MODE, 0);
	case SIZE_SAME_AND_TIME: return set(t, object, PFS_ATTR_SIZE | PFS_ATTR_MTIME, size);
	case SIZE_NONE_AND_ALL: return set(t, object, 31, 0);
	case CREATE: return create(t, subject);
	case CREATE_SCRATCH: return create(t, ".y.swp");
	case PUT: return put_it(t, 333, 0);
	case PUT_EMPTY: return put_it(t, 0, 0);
	case PUT_LARGE: return put_it(t, LARGE, 0);
	case PUT_NEW: return put_it(t, 101, PFS_PUT_NEW_OBJECT);
	case PUT_KEEPING: return put_it(t, 103, PFS_PUT_MTIME_ONLY);
	case PUT_PIECES: return put_in_pieces(t);
	case PUT_MANY: return put_many(t);
	case REMOVE: return remove_it(t);
	case REMOVE_AND_PUT: err = remove_it(t); return err ? err : put_it(t, 55, 0);
	case MOVE_AWAY: return move(t, subject, "70", 0);
	case MOVE_OVER: return move(t, subject, OTHER, 0);
	case MOVE_OVER_LARGE: return move(t, subject, "51", 0);
	case MOVE_TO_ITSELF: return move(t, subject, subject, 0);
	case MOVE_NOREPLACE: return move(t, subject, OTHER, PFS_RENAME_NOREPLACE);
	case MOVE_TO_SCRATCH: return move(t, subject, ".x.swp", 0);
	case MOVE_THERE: return move(t, OTHER, subject, 0);
	case EXCHANGE: return move(t, subject, OTHER, PFS_RENAME_EXCHANGE);
	case TIDY: return pfs_tidy(t->store, object);
	case RELEASE: pfs_release(t->store, object); return 0;
	case SYNC: return pfs_sync_object(t->store, object);
	case TICKS:
		err = 0;
		for (unsigned i = 0; i < PFS_HOLD_TICKS && !err; i++) {
			err = pfs_store_tick(t->store);
			the_time += 1000000000;
		}
		return err;
	case SYNC_ALL: return pfs_sync(t->store);
	case CHECKPOINT: return pfs_store_checkpoint(t->store);
	case COMPACT: return compact(t);
	case COMPACT_STEPS:
		for (unsigned i = 0; i < 5; i++)
			fprintf(t->out, "(%d) ", pfs_store_compact_step(t->store, true));
		return pfs_store_checkpoint(t->store);
	case LOOK: return look(t, object, size);
	case LOOK_BACK: return look_back(t);
	case CHANGES: return several(t, object, size);
	case MOVE_OVER_AND_TIDY: return move_over_and_tidy(t, object, false);
	case MOVE_OVER_TRUNCATE_AND_TIDY: return move_over_and_tidy(t, object, true);
	case REMOVE_AND_USE: return remove_and_use(t, object, size);
	case CREATE_AND_REMOVE: return create_and_remove(t);
	case PUT_AND_PUT: return put_and_put(t);
	case TRUNCATE_AND_WRITE:
		err = set(t, object, PFS_ATTR_SIZE, 0);
		return err ? err : pfs_write(t->store, object, 0, whole, LARGE, the_time);
	case GROW_AND_SHRINK:
		err = pfs_write(t->store, object, 0, whole, size + 30, the_time);
		if (!err)
			err = pfs_write(t->store, object, size + 30, whole, 20, the_time);
		return err ? err : set(t, object, PFS_ATTR_SIZE, size / 2 + 3);
	case RESIZE_OFTEN: return resize_often(t, object, size);
	case REPLACE_AND_TIDY: return replace_and_tidy(t, object);
	default:
		err = pfs_snapshot_open(t->store, &snapshot);
		if (!err)
			err = patch(t, object, 0, 100);
		if (!err)
			err = pfs_store_checkpoint(t->store);
		pfs_snapshot_close(snapshot);
		return err;
	}
}

/* What the store counts, of its statistics what is another than before the call. */
static void tell_figures(struct tale *t)
{
	FILE *out = t->out;
	char *text;
	size_t len;

	t->out = open_memstream(&text, &len);
	tell_stat(t);
	tell_pages(t);
	fclose(t->out);
	t->out = out;
	fprintf(t->out, "figures %016llx\n", (unsigned long long)hash_bytes(HASH_FIRST, text, len));
	free(text);
}

static void tell_call(struct tale *t, struct pfs_sim *store, unsigned state, enum call what,
		      bool hold)
{
	struct pfs_attr attr = {0};
	struct pfs_store_stat stat;
	uint32_t object;

	/* Each by itself: what one of them does changes nothing of the others' tale. */
	the_time = BEGUN;
	the_chance = t->seeds = 100;
	t->sim = pfs_sim_kill(store);
	if (states[state].make == disk_was_full)
		pfs_sim_set_capacity(t->sim, pfs_sim_used(t->sim));
	open_it(t, hold);
	subject = NAME;
	nameless = 0;
	before = NULL;
	states[state].make(t);
	assert_int_equal(pfs_store_stat(t->store, &stat), 0);
	pfs_store_stat_json(t->stat, sizeof(t->stat), &stat);
	object = nameless ? nameless : object_named(t, subject);
	if (object)
		(void)pfs_getattr(t->store, object, &attr);
	else
		object = 40; /* has never been */
	watch(t, true);
	forget_calls(t);
	fprintf(t->out, "%d\n", call(t, what, object, attr.size));
	watch(t, false);
	tell_calls_in_short(t);
	tell_object(t, object);
	tell_what_is_there(t);
	tell_figures(t);
	pfs_snapshot_close(before);
	fprintf(t->out, "closed: %d, ", pfs_store_close(t->store));
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	t->store = NULL;
	pfs_sim_free(t->sim);
}

/* Half of the calls, at random, will do where the state is one that few documents are in. */
static bool is_left_out(unsigned state, unsigned call)
{
	return state >= COMMON_STATES && pfs_mix64(state * 256 + call) % 2;
}

static void each_call(const char *name, bool with_dictionary)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct pfs_sim *store;

	begin(&t, name, 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t, with_dictionary);
	store = t.sim;
	for (unsigned i = 0; i < pfs_array_len(states); i++) {
		struct each each = {0};

		if (with_dictionary && i % 4 != 1)
			continue;
		fprintf(t.out, "\n== %s ==\n", states[i].name);
		for (unsigned n = 0; n < CALLS; n++) {
			if (is_left_out(with_dictionary ? i + COMMON_STATES : i, n))
				continue;
			each_begin(&t, &each);
			tell_call(&t, store, i, (enum call)n, (i + n) % 2);
			each_end(&t, &each, n);
		}
		free(each.last);
	}
	t.sim = store;
	end(&t);
}

/* Proves: what each call does to a document in each state is what it was. */
static void calls(void **state)
{
	(void)state;
	each_call("calls", false);
}

/* Proves: the same for some of the states in a store with a dictionary. */
static void calls_with_a_dictionary(void **state)
{
	(void)state;
	if (!pfs_store_trainer())
		fail_msg("built without libzstd, which makes dictionaries");
	each_call("calls-with-a-dictionary", true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls),
		cmocka_unit_test(calls_with_a_dictionary),
	};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
