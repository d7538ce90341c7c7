/* Every call fails that an operation on an open store makes, one way after the other: operations
 * that the workload of memory_fault_test does not have, on a store that has more in it. */
#include "storage/store_internal.h"
#include "storage/train.h"
#include "tests/fault/contents.h"
#include "tests/fault/scenario.h"

#define DOCS 72
#define LARGE 80000
#define MANY 24
#define CHECK_STEP 4 /* of the runs every so many ends with a check */

struct used;

/* What is tried, and what is made ready for it when nothing fails. */
struct operation {
	const char *name;
	void (*ready)(struct used *u);
	int (*run)(struct used *u);
	bool atomic;  /* each document is as it was or as it will be */
	bool in_runs; /* the store has a long run of numbers, and nothing else */
	bool damaged; /* by `ready`: the check finds it */
};

struct used {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_snapshot *snapshot;
	uint64_t shown; /* by the snapshot: a hash */
};

static const struct operation *operation;
static unsigned ends;
static struct pfs_sim *base, *runs;   /* closed stores */
static struct contents before, after; /* the operation, when nothing fails */

/* ---- documents ---- */

static struct pfs_key doc_key(unsigned i)
{
	char name[64];

	if (i % 9 == 4)
		snprintf(name, sizeof(name), "01234567-89ab-cdef-0123-4567890%05u", i);
	else if (i % 9 == 7)
		snprintf(name, sizeof(name), ".%u.swp", i);
	else
		snprintf(name, sizeof(name), "%u", i);
	return key_named(name);
}

/* Phrases, of which a dictionary holds most; some are large, or empty, or noise. */
static size_t make_doc(char **out, unsigned i, unsigned version)
{
	size_t len = i % 30 == 11 ? LARGE : i % 30 == 12 ? 0 : 400 + i % 7 * 100;

	*out = malloc(len + 1);
	assert_non_null(*out);
	for (size_t at = 0; at < len; at++) {
		uint64_t phrase = pfs_mix64(i * 1000 + version * 77 + at / 30) % 60;

		(*out)[at] = i % 10 == 9 ? (char)pfs_mix64(i * 99 + version + at)
					 : (char)('a' + pfs_mix64(phrase * 64 + at % 30) % 26);
	}
	return len;
}

static int put(struct pfs_store *store, unsigned i, unsigned version, unsigned flags)
{
	struct pfs_key key = doc_key(i);
	struct pfs_attr attr = {.mode = 0600 + i % 8, .mtime_ns = (int64_t)i};
	uint32_t replaced;
	char *bytes;
	size_t len;
	int err;

	fault_exempt(true);
	len = make_doc(&bytes, i, version);
	fault_exempt(false);
	err = pfs_put(store, &key, bytes, len, &attr, flags, &replaced);
	if (!err && replaced)
		pfs_release(store, replaced);
	fault_exempt(true);
	free(bytes);
	fault_exempt(false);
	return err;
}

static struct pfs_store *open_with_defaults(struct pfs_sim *sim)
{
	static const struct pfs_defaults defaults = {.mode = 0640};
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = true,
					   .defaults = &defaults,
					   .io = pfs_sim_io(sim),
					   .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, &reason);

	if (err)
		fail_msg("open: %d %s", err, reason.text);
	return store;
}

/* Pages of which some are full of holes. */
static void make_base(void)
{
	struct pfs_store *store;

	base = pfs_sim_new();
	create_store(base, 256 * PFS_KIB, 16);
	store = open_with_defaults(base);
	for (unsigned i = 0; i < 3 * DOCS; i++) {
		struct pfs_key key = doc_key(i);

		assert_int_equal(put(store, i, 0, 0), 0);
		if (i >= DOCS)
			assert_int_equal(
				pfs_store_checkpoint(store) | pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_settle(base);
}

#define IN_RUNS 300u

static struct pfs_sim *make_runs(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, 256 * PFS_KIB, 16);
	store = open_with_defaults(sim);
	for (unsigned i = 0; i < IN_RUNS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 50, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_settle(sim);
	return sim;
}

/* ---- a run ---- */

static void *begin(void)
{
	struct used *u = calloc(1, sizeof(*u));

	assert_non_null(u);
	u->sim = pfs_sim_kill(operation->in_runs ? runs : base);
	u->store = open_with_defaults(u->sim);
	if (operation->ready)
		operation->ready(u);
	fault_watch(u->sim);
	return u;
}

static int run(void *state)
{
	return operation->run(state);
}

static bool has_failed(struct pfs_store *store)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	return stat.read_only;
}

static void expect_each(const struct contents *now)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct content *at = &now->at[i];
		const struct content *was =
			bsearch(at, before.at, before.count, sizeof(*at), by_content_name);
		const struct content *will =
			bsearch(at, after.at, after.count, sizeof(*at), by_content_name);

		if ((!was || memcmp(was, at, sizeof(*at)) != 0) &&
		    (!will || memcmp(will, at, sizeof(*at)) != 0))
			fail_msg("document %s is neither as it was nor as it will be", at->name);
	}
}

static void look(void *state, int err)
{
	struct used *u = state;
	struct contents now;

	if (err && has_failed(u->store)) {
		/* It is read-only, and shows everything. */
		contents_of(&now, u->store);
		if (operation->atomic)
			expect_each(&now);
		pfs_snapshot_close(u->snapshot);
		u->snapshot = NULL;
		(void)pfs_store_close(u->store);
		u->store = open_with_defaults(u->sim);
	}
	contents_of(&now, u->store);
	if (!after.count)
		after = now;
	if (!err)
		assert_int_equal(contents_missing(&after, &now), 0);
	else if (operation->atomic)
		expect_each(&now);
}

/* A file that could not be removed is still there, which the check remarks. */
static void expect_sound(struct pfs_sim *sim)
{
	struct found *found = check_store(sim);
	size_t wrong = fault_now() && fault_now()->met ? found->fatal : found->count;

	if (wrong)
		print_found(found);
	assert_int_equal(wrong, 0);
	free(found);
}

static void end(void *state)
{
	struct used *u = state;
	bool failed = has_failed(u->store);
	int err;

	pfs_snapshot_close(u->snapshot);
	err = pfs_store_close(u->store);
	if (!failed)
		assert_int_equal(err, 0);
	/* A check reads whole segments, which takes longer than all the rest. */
	if (!failed && !operation->damaged &&
	    (ends++ % CHECK_STEP == 0 || (fault_now() && fault_now()->kind == PFS_SIM_UNLINK)))
		expect_sound(u->sim);
	pfs_sim_free(u->sim);
	free(u);
}

static bool may_fail(const struct fault *fault, int err)
{
	/* -EROFS: a checkpoint that has begun to show what it has written can't go back. */
	if (fault->kind == FAULT_MEMORY)
		return err == -ENOMEM || err == -EROFS;
	return err == fault->err || err == -EROFS || (fault->sync_met && err == -EIO);
}

/* ---- operations ---- */

static int put_many(struct used *u)
{
	struct pfs_put_item items[MANY];
	int err = 0;

	fault_exempt(true);
	for (unsigned i = 0; i < MANY; i++) {
		char *bytes;

		items[i] = (struct pfs_put_item){.key = doc_key(3 * i),
						 .flags = i % 5 == 2 ? PFS_PUT_NEW_OBJECT : 0};
		items[i].len = make_doc(&bytes, 3 * i + (i % 8 == 3 ? 11 : 0), 1);
		items[i].data = bytes;
	}
	fault_exempt(false);
	(void)pfs_put_many(u->store, items, MANY, &err);
	fault_exempt(true);
	for (unsigned i = 0; i < MANY; i++)
		free((void *)(uintptr_t)items[i].data);
	fault_exempt(false);
	for (unsigned i = 0; i < MANY; i++)
		if (items[i].replaced)
			pfs_release(u->store, items[i].replaced);
	return err;
}

/* Everything that looks at a store. */
static int read_all(struct used *u)
{
	struct pfs_key keys[DOCS];
	struct pfs_got got[DOCS];
	struct pfs_page_stat *pages;
	struct pfs_store_stat stat;
	struct pfs_check_result result;
	size_t count;
	int err;

	for (unsigned i = 0; i < DOCS; i++)
		keys[i] = doc_key(i);
	pfs_get_many(u->store, keys, DOCS, got);
	err = 0;
	for (unsigned i = 0; i < DOCS; i++) {
		assert_true((got[i].err == 0) == (got[i].data != NULL));
		err = err ? err : got[i].err;
		free(got[i].data);
	}
	if (!err)
		err = pfs_store_stat(u->store, &stat);
	if (!err) {
		err = pfs_store_pages(u->store, &pages, &count);
		free(pages);
	}
	if (!err)
		err = pfs_store_check(u->store, NULL, NULL, NULL, NULL, &result);
	if (!err)
		assert_int_equal(result.findings, 0);
	return err;
}

static int compact(struct used *u)
{
	struct pfs_compact_result result;

	return pfs_store_compact(u->store, NULL, NULL, NULL, &result);
}

static int compact_in_steps(struct used *u)
{
	int more = 1;

	for (unsigned i = 0; i < 200 && more > 0; i++)
		more = pfs_store_compact_step(u->store, true);
	return more < 0 ? more : pfs_store_checkpoint(u->store);
}

static int train(struct used *u)
{
	struct pfs_train_result result;
	int err = pfs_train(u->store, true, &result);

	return err == -EALREADY ? 0 : err;
}

static int train_before(struct used *u)
{
	static char samples[MANY * 4 * 1100];
	static size_t lens[MANY * 4];
	struct pfs_train_result result;
	size_t at = 0;
	int err;

	fault_exempt(true);
	for (unsigned i = 0; i < pfs_array_len(lens); i++) {
		char *bytes;

		lens[i] = make_doc(&bytes, i * 30, 3);
		memcpy(samples + at, bytes, lens[i]);
		at += lens[i];
		free(bytes);
	}
	fault_exempt(false);
	err = pfs_train_from(u->store, samples, lens, pfs_array_len(lens), &result);
	return err == -EALREADY ? 0 : err;
}

static uint64_t hash_name(uint64_t hash, const struct pfs_snapshot_name *name)
{
	char text[PFS_NAME_MAX + 1];

	pfs_key_format(text, &name->key);
	return pfs_mix64(hash + pfs_crc32c(0, text, strlen(text)));
}

/* All that a snapshot shows. */
static int look_into_snapshot(struct pfs_snapshot *snapshot, uint64_t *hash)
{
	struct pfs_snapshot_name names[16];
	uint64_t cookie = 0, sequence, size;
	ssize_t n;
	bool line;

	*hash = 0;
	while ((n = pfs_snapshot_list(snapshot, cookie, names, pfs_array_len(names))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct pfs_attr attr;
			uint8_t piece[100];
			void *bytes;
			size_t len;
			int err = pfs_snapshot_get(snapshot, &names[i].key, &bytes, &len, &attr);

			if (err)
				return err;
			*hash = pfs_mix64(hash_name(*hash, &names[i]) + pfs_crc32c(0, bytes, len) +
					  attr.mode);
			free(bytes);
			err = pfs_snapshot_lookup_change(snapshot, &names[i].key, &attr, &sequence);
			if (!err)
				err = pfs_snapshot_glance(snapshot, &names[i].key, &size, &line);
			if (err && err != -EOPNOTSUPP)
				return err;
			if (pfs_snapshot_read(snapshot, &names[i].key, attr.size / 2, piece,
					      sizeof(piece)) < 0)
				return -EIO;
		}
		cookie = names[n - 1].cookie;
	}
	return (int)n;
}

/* What is changed goes on being shown as it was. */
static int change_beneath(struct used *u)
{
	struct pfs_key from = doc_key(1), to = doc_key(2), gone = doc_key(3);
	struct pfs_attr attr = {.mode = 0604};
	uint32_t object;
	int err = put(u->store, 0, 1, 0);

	if (!err)
		err = put(u->store, 5, 1, PFS_PUT_NEW_OBJECT);
	if (!err && pfs_lookup(u->store, &from, &object, NULL) == 0) {
		err = pfs_rename(u->store, &from, &to, 0, &object);
		if (!err)
			pfs_release(u->store, object);
	}
	if (!err) {
		err = pfs_remove(u->store, &gone, &object);
		if (!err)
			pfs_release(u->store, object);
		err = err == -ENOENT ? 0 : err;
	}
	gone = doc_key(11);
	if (!err)
		err = pfs_lookup(u->store, &gone, &object, NULL);
	if (!err)
		err = pfs_write(u->store, object, 70000, "changed", 7, 5);
	if (!err)
		err = pfs_setattr(u->store, object, PFS_ATTR_MODE, &attr, NULL);
	return err;
}

static int snapshot(struct used *u)
{
	uint64_t shown;
	int err = u->snapshot ? 0 : pfs_snapshot_open(u->store, &u->snapshot);

	if (!err)
		err = change_beneath(u);
	if (!err)
		err = pfs_store_checkpoint(u->store);
	if (!err)
		err = put(u->store, 6, 1, 0);
	if (!err)
		err = look_into_snapshot(u->snapshot, &shown);
	if (err)
		return err;
	u->shown = u->shown ? u->shown : shown;
	assert_true(u->shown == shown);
	pfs_snapshot_close(u->snapshot);
	u->snapshot = NULL;
	u->shown = 0;
	return 0;
}

/* Documents that are changed more than once before they come to their pages, and grow and shrink
 * meanwhile. */
static int change_often(struct used *u)
{
	static const size_t sizes[] = {90000, 300, 200000, 66000};
	struct pfs_key key = doc_key(41), other = doc_key(0);
	struct pfs_attr attr = {0};
	uint32_t object;
	int err = pfs_lookup(u->store, &key, &object, NULL);

	for (unsigned i = 0; i < pfs_array_len(sizes) && !err; i++) {
		attr.size = sizes[i];
		err = pfs_setattr(u->store, object, PFS_ATTR_SIZE, &attr, NULL);
		if (!err)
			err = pfs_write(u->store, object, 10 + i, "some bytes", 10, 7);
		if (!err)
			err = pfs_zero(u->store, object, 100, 50, PFS_MTIME_KEEP);
		if (!err && i % 2 == 1)
			err = pfs_store_checkpoint(u->store);
	}
	if (!err)
		err = pfs_lookup(u->store, &other, &object, NULL);
	if (!err)
		err = pfs_write(u->store, object, 20, "more", 4, 7);
	attr.size = 100;
	if (!err)
		err = pfs_setattr(u->store, object, PFS_ATTR_SIZE, &attr, NULL);
	return err ? err : pfs_store_checkpoint(u->store);
}

static int exchange(struct used *u)
{
	struct pfs_key a = doc_key(20), b = doc_key(29), temporary = key_named("7777");
	struct pfs_attr attr = {.mode = 0600};
	uint32_t object = 0;
	int err = pfs_create(u->store, &temporary, &attr, NULL);

	if (err && err != -EEXIST)
		return err;
	err = pfs_lookup(u->store, &b, NULL, &attr);
	if (!err && attr.mode == 0600 + 29 % 8) /* not yet */
		err = pfs_rename(u->store, &a, &b, PFS_RENAME_EXCHANGE, &object);
	if (!err)
		err = pfs_sync(u->store);
	if (!err)
		err = put(u->store, 20, 2, PFS_PUT_NEW_OBJECT);
	if (!err)
		err = pfs_lookup(u->store, &a, &object, NULL);
	if (!err) {
		err = pfs_tidy(u->store, object);
		err = err == -EALREADY || err == -EAGAIN ? 0 : err;
	}
	return err ? err : pfs_store_tick(u->store);
}

static int synced;

static void note_synced(void *arg, int err)
{
	(void)arg;
	synced = err;
}

static int sync_one(struct used *u)
{
	struct pfs_key key = doc_key(8);
	uint32_t object;
	int err = put(u->store, 8, 1, 0);

	if (!err)
		err = pfs_lookup(u->store, &key, &object, NULL);
	if (err)
		return err;
	pfs_sync_object_then(u->store, object, note_synced, NULL);
	return synced;
}

/* More than a record takes. */
static int put_in_pieces(struct used *u)
{
	static char bytes[PFS_WHOLE_WRITE_MAX + 5000];
	struct pfs_key key = key_named("4711");

	memset(bytes, 'p', sizeof(bytes));
	return pfs_put(u->store, &key, bytes, sizeof(bytes), NULL, 0, NULL);
}

/* So many that the index has to grow soon. */
static void fill_index(struct used *u)
{
	for (unsigned i = 0; i < 690; i++) {
		struct pfs_key key = pfs_key_num(10000 + i);

		assert_int_equal(pfs_put(u->store, &key, "", 0, NULL, 0, NULL), 0);
	}
}

#define MORE 60u

static int put_more(struct used *u)
{
	int err = 0;

	for (unsigned i = 0; i < MORE && !err; i++) {
		struct pfs_key key = pfs_key_num(20000 + i);

		err = pfs_put(u->store, &key, "", 0, NULL, 0, NULL);
	}
	return err;
}

static int put_more_at_once(struct used *u)
{
	struct pfs_put_item items[MORE] = {0};
	int err;

	for (unsigned i = 0; i < MORE; i++)
		items[i] = (struct pfs_put_item){.key = pfs_key_num(20000 + i), .data = ""};
	(void)pfs_put_many(u->store, items, MORE, &err);
	return err;
}

static int change_one_of_many(struct used *u)
{
	struct pfs_key key = pfs_key_num(7);

	return pfs_put(u->store, &key, "changed", 7, NULL, 0, NULL);
}

static int truncate_one_of_many(struct used *u)
{
	struct pfs_key key = pfs_key_num(7);
	struct pfs_attr attr = {.size = 0};
	uint32_t object;
	int err = pfs_lookup(u->store, &key, &object, NULL);

	return err ? err : pfs_setattr(u->store, object, PFS_ATTR_SIZE, &attr, NULL);
}

/* In a page that nobody has looked at since the opening. */
static int truncate_first(struct used *u)
{
	struct pfs_key key = doc_key(2);
	struct pfs_attr attr = {.mtime_ns = 5};
	uint32_t object;
	int err = pfs_lookup(u->store, &key, &object, NULL);

	if (!err)
		err = pfs_setattr(u->store, object, PFS_ATTR_SIZE, &attr, NULL);
	if (!err)
		err = pfs_setattr(u->store, object, PFS_ATTR_MTIME, &attr, NULL);
	return err;
}

static int no_room_in_pages(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0 ? -ENOSPC : 0;
}

/* A checkpoint that found no room, and changes since then of what it was going to write. */
static void leave_a_checkpoint(struct used *u)
{
	struct pfs_attr attr = {.mode = 0604};
	struct pfs_key key = doc_key(11);
	uint32_t object;

	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(put(u->store, i, 1, 0), 0);
	pfs_sim_on_step(u->sim, no_room_in_pages, NULL);
	assert_int_equal(pfs_store_checkpoint(u->store), -ENOSPC);
	pfs_sim_on_step(u->sim, NULL, NULL);
	assert_int_equal(pfs_lookup(u->store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(u->store, object, 100, "patched", 7, 5), 0);
	for (unsigned i = 0; i < 3; i++) {
		key = doc_key(i);
		assert_int_equal(pfs_lookup(u->store, &key, &object, NULL), 0);
		assert_int_equal(pfs_setattr(u->store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	}
}

static int finish_checkpoint(struct used *u)
{
	return pfs_store_checkpoint(u->store);
}

/* Also of what is being written to. */
static int move_all(struct used *u)
{
	return pfs_checkpoint(u->store, true);
}

/* While a truncation is held of what has changed since. */
static int hold_and_finish_checkpoint(struct used *u)
{
	struct pfs_key key = doc_key(2);
	struct pfs_attr attr = {.size = 0};
	uint32_t object;
	int err = pfs_lookup(u->store, &key, &object, NULL);

	if (!err)
		err = pfs_setattr(u->store, object, PFS_ATTR_SIZE, &attr, NULL);
	return err ? err : pfs_store_checkpoint(u->store);
}

/* Of a large document one block, and something is written to another. */
static void damage_and_patch(struct used *u)
{
	struct pfs_key key = doc_key(11);
	struct pfs_place place;
	uint32_t object;

	assert_int_equal(pfs_place(u->store, &key, &place), 0);
	flip_bit(u->sim, page_name(place.page), place.offset + place.packed_len - 1, 3);
	assert_int_equal(pfs_lookup(u->store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(u->store, object, 100, "patched", 7, 5), 0);
}

/* Two, of which nobody uses the first. */
static void add_dictionaries(struct used *u)
{
	uint8_t bytes[2000];

	for (unsigned i = 0; i < 2; i++) {
		fill_document(bytes, sizeof(bytes), i);
		assert_int_equal(pfs_dict_add(u->store, bytes, sizeof(bytes), 100, 50), 0);
	}
	assert_int_equal(put(u->store, 1, 1, 0), 0);
}

/* As if the free space of the pages had once not been noted, for lack of memory. */
static void make_inexact(struct used *u)
{
	struct pfs_page *page = pfs_pager_next_page(u->store->pager, 0);

	assert_int_equal(put(u->store, 1, 1, 0), 0);
	assert_int_equal(pfs_store_checkpoint(u->store), 0);
	for (; page; page = pfs_pager_next_page(u->store->pager, page->number))
		page->inexact = true;
}

static int close_and_open(struct used *u)
{
	int err = pfs_store_close(u->store);

	fault_exempt(true);
	u->store = open_with_defaults(u->sim);
	fault_exempt(false);
	return err;
}

/* What some of them are tried upon: documents packed with a dictionary, and some not yet in their
 * pages. */
static void make_dictionary(struct used *u)
{
	struct pfs_train_result result;

	assert_int_equal(pfs_train(u->store, true, &result), 0);
	for (unsigned i = 0; i < DOCS; i++)
		if (i % 3 == 0)
			assert_int_equal(put(u->store, i, 0, 0), 0);
}

static void change_some(struct used *u)
{
	if (pfs_train_version())
		make_dictionary(u);
	assert_int_equal(pfs_store_checkpoint(u->store), 0);
	assert_int_equal(change_often(u), 0);
	for (unsigned i = 30; i < 40; i++)
		assert_int_equal(put(u->store, i, 0, 0), 0);
}

/* Over and over: there is a journal to be moved. */
static const struct operation operations[] = {
	{"put_many", NULL, put_many, true, false, false},
	{"reading", change_some, read_all, true, false, false},
	{"compact", NULL, compact, true, false, false},
	{"compact, with a dictionary", change_some, compact, true, false, false},
	{"compact in steps", change_some, compact_in_steps, true, false, false},
	{"snapshot", NULL, snapshot, false, false, false},
	{"snapshot of what is not in its page", change_some, snapshot, false, false, false},
	{"change often", NULL, change_often, false, false, false},
	{"exchange", NULL, exchange, false, false, false},
	{"sync_object_then", NULL, sync_one, true, false, false},
	{"put in pieces", NULL, put_in_pieces, true, false, false},
	{"put more", fill_index, put_more, true, false, false},
	{"put more at once", fill_index, put_more_at_once, true, false, false},
	{"change one of many", NULL, change_one_of_many, true, true, false},
	{"truncate one of many", NULL, truncate_one_of_many, true, true, false},
	{"truncate first", NULL, truncate_first, true, false, false},
	{"finish a checkpoint", leave_a_checkpoint, hold_and_finish_checkpoint, true, false, false},
	{"write what is damaged", damage_and_patch, move_all, true, false, true},
	{"drop a dictionary", add_dictionaries, finish_checkpoint, true, false, false},
	{"close inexact pages", make_inexact, close_and_open, true, false, false},
	{"close", change_some, close_and_open, true, false, false},
};

static const struct operation training[] = {
	{"train", NULL, train, true, false, false},
	{"train_from", NULL, train_before, true, false, false},
};

static void try_operations(const struct operation *at, size_t count)
{
	struct fault_sites *met = calloc(1, sizeof(*met));

	assert_non_null(met);
	for (size_t i = 0; i < count; i++) {
		struct scenario s = {at[i].name, begin, run, look, end, may_fail};
		struct used *u;

		operation = &at[i];
		memset(&after, 0, sizeof(after));
		fault_begin(NULL);
		u = begin();
		contents_of(&before, u->store);
		end(u);
		scenario_try_new(&s, scenario_disk_faults, SCENARIO_DISK_FAULTS, met);
	}
	free(met);
}

/* Proves: an operation that gets no memory, or beneath which a call on a file fails, says so and
 * has done nothing, or what it says; later it succeeds. Nothing leaks. */
static void operations_that_fail_do_no_harm(void **state)
{
	(void)state;
	make_base();
	runs = make_runs();
	try_operations(operations, pfs_array_len(operations));
	if (pfs_train_version())
		try_operations(training, pfs_array_len(training));
	pfs_sim_free(base);
	pfs_sim_free(runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_that_fail_do_no_harm),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("operations under faults", tests, NULL, NULL);
}
