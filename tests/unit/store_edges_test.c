/* What a store refuses, and what it does at the edges of its bounds. */
#include <pthread.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/store_compact.h"
#include "storage/super.h"
#include "tests/unit/store_helpers.h"

static bool no_random;

/* In place of that of the C library. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
	return no_random ? -1 : syscall(SYS_getrandom, bytes, len, flags);
}

/* ---- records that make no sense ---- */

struct forged {
	const char *name;
	unsigned type, flags;
	size_t len; /* of the body */
	uint8_t body[96];
};

/* The key of document 5, behind `at` bytes of a body. */
#define KEY(at) [at] = PFS_KEY_NUM, [(at) + 1] = 8, [(at) + 2] = 5

static const struct forged forged[] = {
	{"a put that ends within its head", PFS_RECORD_PUT, 0, 20, {0}},
	{"a put without a key", PFS_RECORD_PUT, 0, 56, {0}},
	{"a put with a key of no kind", PFS_RECORD_PUT, 0, 66, {[56] = 77, [57] = 8}},
	{"a put of a short number", PFS_RECORD_PUT, 0, 64, {[56] = PFS_KEY_NUM, [57] = 4}},
	{"a put of a short uuid", PFS_RECORD_PUT, 0, 66, {[56] = PFS_KEY_UUID, [57] = 8}},
	{"a put that is longer than its record",
	 PFS_RECORD_PUT,
	 0,
	 66,
	 {KEY(56), [24] = 9, [44] = 9}},
	{"a put in blocks that is short", PFS_RECORD_PUT, PFS_PUT_BLOCKS, 66, {KEY(56), [24] = 9}},
	{"a put that is packed from nothing", PFS_RECORD_PUT, PFS_PUT_LZ4, 66, {KEY(56)}},
	{"a put that is packed twice", PFS_RECORD_PUT, PFS_PUT_LZ4 | PFS_PUT_BLOCKS, 66, {KEY(56)}},
	{"a put of more than there may be", PFS_RECORD_PUT, 0, 66, {KEY(56), [28] = 1}},
	{"a patch that ends within its head", PFS_RECORD_PATCH, 0, 30, {0}},
	{"a patch behind the end", PFS_RECORD_PATCH, 0, 66, {KEY(56), [32] = 9, [40] = 5}},
	{"a patch over the end", PFS_RECORD_PATCH, 0, 66, {KEY(56), [32] = 3, [40] = 5, [48] = 3}},
	{"a patch that lacks its bytes", PFS_RECORD_PATCH, 0, 66, {KEY(56), [40] = 50, [48] = 40}},
	{"a patch of a document too large", PFS_RECORD_PATCH, 1, 66, {KEY(56), [44] = 1}},
	{"attributes that end within their head", PFS_RECORD_ATTR, 0, 24, {0}},
	{"attributes of nobody", PFS_RECORD_ATTR, 0, 32, {0}},
	{"a removal of nobody", PFS_RECORD_REMOVE, 0, 8, {0}},
	{"a move without names", PFS_RECORD_MOVE, 0, 24, {0}},
	{"a move to nowhere", PFS_RECORD_MOVE, 0, 34, {KEY(24)}},
};

static void append_record(struct pfs_store *store, const struct forged *f)
{
	struct pfs_journal_pos pos;
	struct iovec part = {(void *)(uintptr_t)f->body, f->len};

	pthread_mutex_lock(&store->commit);
	assert_int_equal(
		pfs_journal_append(store->journal, f->type, f->flags, &part, 1, false, &pos), 0);
	pthread_mutex_unlock(&store->commit);
	assert_int_equal(pfs_sync(store), 0);
}

static int try_open(struct pfs_sim *sim, struct pfs_store **store)
{
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	int err = pfs_store_open(store, STORE, &options, &reason);

	assert_true((err != 0) == (reason.text[0] != '\0'));
	return err;
}

/* Proves: a record that verifies and makes no sense all the same, however it came there, is found
 * by the check, and the store does not open over it. */
static void records_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(forged); i++) {
		struct pfs_sim *sim = pfs_sim_new(), *killed;
		struct pfs_key key = pfs_key_num(5);
		struct pfs_store *store;
		struct found *found;
		bool said = false;

		create_store(sim, PFS_PAGE_SIZE_MIN, 16);
		store = open_store(sim);
		put_document(store, &key, 100, 1);
		append_record(store, &forged[i]);
		killed = pfs_sim_kill(sim);
		(void)pfs_store_close(store);
		pfs_sim_free(sim);
		found = check_store(killed);
		for (size_t f = 0; f < found->count; f++)
			said |= found->at[f].fatal &&
				strncmp(found->at[f].where, "journal", 7) == 0 &&
				strstr(found->at[f].text, "makes no sense");
		if (!said)
			print_found(found);
		if (!said)
			fail_msg("%s: the check does not say so", forged[i].name);
		free(found);
		if (try_open(killed, &store) != -EUCLEAN)
			fail_msg("%s: the store opens", forged[i].name);
		pfs_sim_free(killed);
	}
}

/* Proves: a patch that makes a document small, which no writer makes, is replayed all the same. */
static void patches_that_make_small_are_replayed(void **state)
{
	/* Of nothing: 60 bytes, of which three are written at 5. */
	static const struct forged patch = {
		"",
		PFS_RECORD_PATCH,
		0,
		75,
		{KEY(56), [32] = 5, [40] = 60, [48] = 3, [72] = 'x', [73] = 'y', [74] = 'z'}};
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key key = pfs_key_num(5);
	struct pfs_store *store;
	uint8_t want[60] = {0};
	size_t len;
	void *got;

	(void)state;
	memcpy(want + 5, "xyz", 3);
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	put_document(store, &key, 100, 1);
	append_record(store, &patch);
	killed = pfs_sim_kill(sim);
	(void)pfs_store_close(store);
	pfs_sim_free(sim);
	store = open_store(killed);
	assert_int_equal(pfs_get(store, &key, &got, &len, NULL), 0);
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(got, want, len);
	free(got);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(killed);
	pfs_sim_free(killed);
}

static int try_read_only(struct pfs_sim *sim, struct pfs_store **store);

/* Proves: values that name a dictionary and are not packed are errors, straight from the journal
 * and when they have come to their pages; the others are there. */
static void values_without_need_of_a_dictionary(void **state)
{
	static const struct forged puts[] = {
		{"small", PFS_RECORD_PUT, 0, 77, {KEY(56), [24] = 5, [40] = 9, [44] = 5}},
		{"in blocks",
		 PFS_RECORD_PUT,
		 PFS_PUT_BLOCKS,
		 88,
		 {KEY(56), [26] = 1, [24] = 5, [40] = 9, [44] = 16}},
	};
	struct pfs_key key = pfs_key_num(5), other = pfs_key_num(6);
	struct forged put;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(puts); i++) {
		struct pfs_sim *sim = pfs_sim_new(), *killed;
		struct pfs_store *store;
		size_t len;
		void *got;

		create_store(sim, PFS_PAGE_SIZE_MIN, 16);
		store = open_store(sim);
		put_document(store, &other, 100, 1);
		put = puts[i];
		/* Two blocks of zeros, which take nothing. */
		for (uint32_t b = 0; b < 2 && put.flags; b++)
			pfs_put_le32(put.body + 72 + b * PFS_BLOCK_ENTRY_LEN + 4,
				     pfs_block_crc(0, b, 0, put.body, 0));
		append_record(store, &put);
		killed = pfs_sim_kill(sim);
		(void)pfs_store_close(store);
		pfs_sim_free(sim);
		for (unsigned pass = 0; pass < 2; pass++) {
			if (pass == 0)
				assert_int_equal(try_read_only(killed, &store), 0);
			else
				store = open_store(killed);
			assert_int_equal(pfs_get(store, &key, &got, &len, NULL), -EIO);
			assert_int_equal(pfs_get(store, &other, &got, &len, NULL), 0);
			free(got);
			assert_int_equal(pfs_store_close(store), 0);
		}
		pfs_sim_free(killed);
	}
}

/* ---- making and opening ---- */

/* Proves: sizes that no store has are refused with the reason, and nothing is made. */
static void sizes_are_refused(void **state)
{
	static const struct {
		uint64_t page_size;
		uint32_t min_value_size;
	} wrong[] = {{100000, 0},
		     {PFS_PAGE_SIZE_MIN / 2, 0},
		     {2 * PFS_PAGE_SIZE_MAX, 0},
		     {0, PFS_MIN_VALUE_MIN - 1},
		     {0, PFS_MIN_VALUE_MAX + 1}};
	struct pfs_sim *sim = pfs_sim_new();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(wrong); i++) {
		struct pfs_create_options options = {.page_size = wrong[i].page_size,
						     .min_value_size = wrong[i].min_value_size,
						     .io = pfs_sim_io(sim)};
		struct pfs_reason reason;

		assert_int_equal(pfs_store_create(STORE, &options, &reason), -EINVAL);
		assert_non_null(strstr(reason.text, "give a"));
		assert_int_equal(pfs_sim_steps(sim), 0);
	}
	pfs_sim_free(sim);
}

/* Proves: a store that somebody makes or holds is nobody else's, whoever waits and however long. */
static void stores_that_others_hold_are_busy(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_create_options create = {.io = io};
	struct pfs_open_options options = {
		.io = io, .manual = true, .logger = quiet, .lock_wait_ms = 30};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_dir *dir;
	int64_t before;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, true), 0);
	assert_int_equal(pfs_store_create(STORE, &create, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "another process"));
	dir->ops->close_dir(dir);
	create_store(sim, 0, 0);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, true), 0);
	before = pfs_now_monotonic_ms();
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), -EBUSY);
	assert_true(pfs_now_monotonic_ms() - before >= options.lock_wait_ms);
	assert_non_null(strstr(reason.text, "another process"));
	assert_null(store);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(pfs_store_close(NULL), 0);
	pfs_sim_free(sim);
}

/* Proves: no store is made that could not be told from another. */
static void stores_need_names_of_their_own(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_create_options options = {.io = pfs_sim_io(sim)};
	struct pfs_reason reason;

	(void)state;
	no_random = true;
	assert_int_equal(pfs_store_create(STORE, &options, &reason), -EIO);
	assert_non_null(strstr(reason.text, "making a store failed"));
	no_random = false;
	assert_int_equal(pfs_store_create(STORE, &options, &reason), 0);
	pfs_sim_free(sim);
}

/* Proves: a directory that holds something else is left as it is, and what it holds is said. */
static void directories_of_others_are_left_alone(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_create_options options = {.io = io};
	struct pfs_reason reason;
	struct pfs_dir *dir;
	uint64_t steps;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	make_file(sim, "holiday.jpg");
	steps = pfs_sim_steps(sim);
	assert_int_equal(pfs_store_create(STORE, &options, &reason), -ENOTEMPTY);
	assert_non_null(strstr(reason.text, "(holiday.jpg)"));
	assert_int_equal(pfs_store_create(STORE, &options, NULL), -ENOTEMPTY);
	assert_int_equal(pfs_sim_steps(sim), steps);
	remove_file(sim, "holiday.jpg");
	/* What a creation that was cut off has left. */
	make_file(sim, PFS_SUPER_NAME ".tmp");
	assert_int_equal(pfs_store_create(STORE, &options, NULL), 0);
	pfs_sim_free(sim);
}

static void write_super(struct pfs_sim *sim, const struct pfs_super *as)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.open_epoch = super.clean_epoch = as->clean_epoch;
	super.journal_epoch = pfs_min_u64(super.journal_epoch, as->clean_epoch);
	super.ro_compat = as->ro_compat;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

static void change_super(struct pfs_sim *sim, uint64_t epoch)
{
	write_super(sim, &(struct pfs_super){.clean_epoch = epoch});
}

static int try_read_only(struct pfs_sim *sim, struct pfs_store **store)
{
	static const struct pfs_defaults defaults = {.mode = 0604, .uid = 7, .gid = 8};
	struct pfs_open_options options = {
		.read_only = true, .defaults = &defaults, .io = pfs_sim_io(sim), .logger = quiet};

	return pfs_store_open(store, STORE, &options, NULL);
}

static int fail_open(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_OPEN && !step->name[0] ? -EMFILE : 0;
}

/* Proves: a directory that can't be opened for a reason of its own is refused with that. */
static void the_reason_is_the_systems(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	pfs_sim_on_look(sim, fail_open, NULL);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), -EMFILE);
	assert_non_null(strstr(reason.text, strerror(EMFILE)));
	pfs_sim_free(sim);
}

/* Proves: a store with features that only a reader may leave out of account is read and not
 * written. */
static void features_that_readers_need_not_know(void **state)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_attr attr;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	assert_int_equal(pfs_put(store, &key, "12345", 5, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	write_super(sim, &(struct pfs_super){.clean_epoch = 1, .ro_compat = 1});
	assert_int_equal(try_open(sim, &store), -EPROTONOSUPPORT);
	assert_int_equal(try_read_only(sim, &store), 0);
	assert_int_equal(pfs_lookup(store, &key, NULL, &attr), 0);
	assert_int_equal(attr.size, 5);
	/* Nobody has recorded any, and nobody can: they are this opening's. */
	assert_true(attr.mode == 0604 && attr.uid == 7 && attr.gid == 8);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a superblock that was put back from before, beside a journal that went on, is refused: it
 * counts other pages. */
static void superblocks_of_the_past_are_refused(void **state)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_open_options options = {.manual = true, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	assert_int_equal(pfs_store_close(open_store(sim)), 0);
	store = open_store(sim);
	put_document(store, &key, 100, 1);
	killed = pfs_sim_kill(sim);
	(void)pfs_store_close(store);
	pfs_sim_free(sim);
	change_super(killed, 1);
	options.io = pfs_sim_io(killed);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "older than the journal"));
	pfs_sim_free(killed);
}

/* Proves: where numbers run out that are never given twice, the store says so. */
static void numbers_that_run_out_are_not_given_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint8_t bytes[2048];

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	fill_document(bytes, sizeof(bytes), 2);
	store->super.dict_highest = UINT32_MAX;
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 100, 50), -EOVERFLOW);
	store->super.dict_highest = 0;
	store->failed = true;
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 100, 50), -EROFS);
	store->failed = false;
	assert_int_equal(pfs_store_close(store), 0);
	change_super(sim, PFS_EPOCH_MAX);
	assert_int_equal(try_open(sim, &store), -EOVERFLOW);
	change_super(sim, PFS_EPOCH_MAX - 1);
	assert_int_equal(try_open(sim, &store), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- an open store ---- */

static struct pfs_sim *filled(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	*store = open_store(sim);
	for (unsigned i = 0; i < 100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(*store, &key, 2000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(*store), 0);
	return sim;
}

static void change_all(struct pfs_store *store)
{
	for (unsigned i = 0; i < 100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 1500, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

/* Proves: what is opened for reading is in sync and can be looked at as of one moment, and nothing
 * changes it. */
static void stores_for_reading_have_snapshots(void **state)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_snapshot_info info;
	struct pfs_snapshot *snapshot;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	struct pfs_attr attr = {.mode = 0600};
	uint64_t steps;
	size_t len;
	void *got;
	int err;

	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(try_read_only(sim, &store), 0);
	steps = pfs_sim_steps(sim);
	assert_int_equal(pfs_sync(store), 0);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	pfs_snapshot_info(snapshot, &info);
	assert_int_equal(info.points, 100);
	assert_int_equal(pfs_snapshot_get(snapshot, &key, &got, &len, NULL), 0);
	assert_int_equal(len, 2000);
	free(got);
	pfs_snapshot_close(snapshot);
	pfs_snapshot_close(NULL);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
	assert_int_equal(pfs_put_many(store, &(struct pfs_put_item){.key = key}, 1, &err), 0);
	assert_int_equal(err, -EROFS);
	key = pfs_key_num(1000);
	assert_int_equal(pfs_create(store, &key, &attr, NULL), -EROFS);
	assert_int_equal(pfs_sim_steps(sim), steps);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: what changes nothing is no change; a put that was not begun can be given up; who only
 * tidies up does not wait for a writer. */
static void nothing_is_changed_by_nothing(void **state)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_attr attr = {.mode = 0600, .size = 1}, out;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	uint64_t sequence = pfs_store_sequence(store);
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, 0, &attr, &out), 0);
	assert_true(out.size == 2000 && out.mode == 0644);
	pfs_put_abort(NULL);
	/* Whose fault it is that it can't be put. */
	assert_true(pfs_put_is_own_fault(-EFBIG) && pfs_put_is_own_fault(-EINVAL) &&
		    pfs_put_is_own_fault(-ENAMETOOLONG) && !pfs_put_is_own_fault(-ENOSPC));
	pthread_mutex_lock(&store->commit);
	assert_int_equal(pfs_tidy(store, object), -EAGAIN);
	pthread_mutex_unlock(&store->commit);
	assert_int_equal(pfs_store_sequence(store), sequence);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a number that is nobody's is no object, whatever is asked of it. */
static void numbers_of_nobody(void **state)
{
	struct pfs_attr attr = {.mode = 0600};
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	struct pfs_key key;

	(void)state;
	for (uint32_t object = 0; object < 100000; object = object * 2 + 2047) {
		uint8_t byte;

		if (pfs_object_key(store, object, &key) == 0)
			continue;
		assert_int_equal(pfs_object_key(store, object, &key), -ENOENT);
		assert_int_equal(pfs_getattr(store, object, &attr), -ENOENT);
		assert_int_equal(pfs_read(store, object, 0, &byte, 1), -ENOENT);
		assert_int_equal(pfs_write(store, object, 0, "x", 1, 5), -ENOENT);
		assert_int_equal(pfs_zero(store, object, 0, 1, 5), -ENOENT);
		assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), -ENOENT);
		assert_int_equal(pfs_sync_object(store, object), -ENOENT);
		assert_int_equal(pfs_tidy(store, object), -EALREADY);
		pfs_release(store, object);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: what is only held is in no snapshot, neither counted nor shown: documents that nobody has
 * written to yet, truncations, what is put in pieces; nor are keys that name nothing. */
static void what_is_held_is_in_no_snapshot(void **state)
{
	const struct pfs_key none = {.kind = PFS_KEY_NONE};
	struct pfs_key point = pfs_key_num(1000), scratch = key_named(".swp"), cut = pfs_key_num(5);
	struct pfs_attr attr = {.mode = 0600, .size = 0};
	struct pfs_snapshot_info info;
	struct pfs_snapshot *snapshot;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	struct pfs_put *put;
	uint32_t object;
	uint8_t byte;
	size_t len;
	void *got;

	(void)state;
	assert_int_equal(pfs_create(store, &point, &attr, NULL), 0);
	assert_int_equal(pfs_create(store, &scratch, &attr, NULL), 0);
	assert_int_equal(pfs_put_begin(store, &put), 0);
	assert_int_equal(pfs_lookup(store, &cut, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	pfs_snapshot_info(snapshot, &info);
	assert_true(info.points == 100 && info.scratch == 0);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &point, NULL), -ENOENT);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &scratch, NULL), -ENOENT);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &none, NULL), -ENOENT);
	assert_int_equal(pfs_snapshot_read(snapshot, &none, 0, &byte, 1), -ENOENT);
	assert_int_equal(pfs_snapshot_get(snapshot, &none, &got, &len, NULL), -ENOENT);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &cut, NULL), 0);
	assert_int_equal(pfs_snapshot_get(snapshot, &cut, &got, &len, NULL), 0);
	assert_int_equal(len, 2000);
	free(got);
	/* What nobody will find needs no record. */
	assert_int_equal(pfs_sync(store), 0);
	pfs_put_abort(put);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &point, NULL), -ENOENT);
	assert_int_equal(pfs_lookup(store, &point, NULL, NULL), 0);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: zeros over the whole of a document take nothing of what it was. */
static void zeros_over_all(void **state)
{
	struct pfs_key key = pfs_key_num(5);
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	uint32_t object;
	uint8_t have[2000];

	(void)state;
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_zero(store, object, 0, 5000, 5), 0);
	assert_int_equal(pfs_read(store, object, 0, have, sizeof(have)), sizeof(have));
	assert_true(pfs_is_zero(have, sizeof(have)));
	assert_int_equal(pfs_read(store, object, 2000, have, 1), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: of each page is said what only a snapshot needs, which together is what the store says,
 * and is not live. */
static void pinned_bytes_are_said_of_each_page(void **state)
{
	struct pfs_snapshot *snapshot;
	struct pfs_store_stat stat;
	struct pfs_page_stat *pages;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	uint64_t pinned = 0;
	size_t count;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	change_all(store);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++) {
		assert_true(pages[i].pinned <= pages[i].used);
		assert_int_equal(pages[i].live + pages[i].pinned,
				 pages[i].used + (pages[i].slots - pages[i].free_slots) *
							 (uint64_t)PFS_SLOT_LEN);
		pinned += pages[i].pinned;
	}
	assert_true(pinned >= 100 * 2000);
	assert_int_equal(pinned, stat.pinned_bytes);
	free(pages);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pages[i].pinned, 0);
	free(pages);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: only one packs at a time, it ends when it is told to, and a store that has failed is not
 * packed, trained or changed. */
static void packing_is_refused_when_it_can_not_be(void **state)
{
	struct pfs_compact_result result;
	struct pfs_train_result trained;
	struct pfs_check_result checked;
	struct pfs_store *store;
	struct pfs_sim *sim = filled(&store);
	struct pfs_put_item items[2] = {{.key = pfs_key_num(1), .data = "1", .len = 1},
					{.key = pfs_key_num(2), .data = "2", .len = 1}};
	const bool stop = true;
	int err;

	(void)state;
	change_all(store);
	store->packing = true;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), -EBUSY);
	store->packing = false;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, &stop, &result), -ECANCELED);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, &stop, &checked), -ECANCELED);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	store->failed = true;
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), -EROFS);
	assert_int_equal(pfs_store_compact_step(store, true), -EROFS);
	assert_int_equal(pfs_put_many(store, items, 2, &err), 0);
	assert_int_equal(err, -EROFS);
	store->compaction.victim = 1;
	assert_int_equal(pfs_compact_victim_step(store, true), -EROFS);
	assert_int_equal(store->compaction.victim, 0);
	assert_int_equal(pfs_train(store, true, &trained), -EROFS);
	store->failed = false;
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static int fail_sync(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_SYNC && strncmp(step->name, "journal", 7) == 0 ? -EIO : 0;
}

/* Proves: a tick that can't make durable what is logged is an error, the first and each one after
 * it; the store takes nothing more. */
static void ticks_that_fail_end_it(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(5);
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	assert_int_equal(pfs_store_tick(store), 0);
	put_document(store, &key, 100, 1);
	pfs_sim_on_step(sim, fail_sync, NULL);
	assert_int_equal(pfs_store_tick(store), -EROFS);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(pfs_store_tick(store), -EROFS);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
	(void)pfs_store_close(store);
	pfs_sim_free(sim);
}

/* Proves: the use of dictionaries is said with two words, and with no other. */
static void uses_of_dictionaries_are_two_words(void **state)
{
	enum pfs_dict_use use = PFS_DICT_AS_RECORDED;

	(void)state;
	assert_true(pfs_dict_use_parse("off", &use));
	assert_int_equal(use, PFS_DICT_OFF);
	assert_true(pfs_dict_use_parse("auto", &use));
	assert_int_equal(use, PFS_DICT_AUTO);
	assert_false(pfs_dict_use_parse("", &use));
	assert_false(pfs_dict_use_parse("offx", &use));
}

/* Proves: a writer that fills the journal faster than it is moved to the pages waits, and the
 * journal keeps to its bound. */
static void writers_wait_for_room_in_the_journal(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .logger = quiet, .journal_max = 1};
	struct pfs_store_stat stat;
	struct pfs_reason reason;
	struct pfs_store *store;
	uint64_t most = 0;

	(void)state;
	create_store(sim, 0, 16);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < 60; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 500000, 2 * i + 1);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		most = pfs_max_u64(most, stat.journal_bytes);
	}
	assert_true(stat.checkpoints >= 2);
	assert_true(most <= 3 * (uint64_t)PFS_SEGMENT_SIZE);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* ---- few bytes ---- */

enum { FEW = 5 };

/* What a document of few bytes is to be. */
struct few {
	uint8_t bytes[3 * FEW];
	size_t len;
	struct pfs_attr attr;
};

static void expect_few(struct pfs_store *store, uint32_t object, const struct few *few)
{
	struct pfs_attr attr;

	assert_int_equal(pfs_getattr(store, object, &attr), 0);
	assert_int_equal(attr.size, few->len);
	assert_int_equal(attr.mode, few->attr.mode);
	assert_int_equal(attr.uid, few->attr.uid);
	assert_int_equal(attr.gid, few->attr.gid);
	assert_int_equal(attr.mtime_ns, few->attr.mtime_ns);
	for (size_t off = 0; off < few->len + 2; off++) {
		for (size_t len = 0; len < few->len + 2; len++) {
			size_t there = off < few->len ? pfs_min_u64(len, few->len - off) : 0;
			uint8_t got[3 * FEW + 2];

			memset(got, 0xee, sizeof(got));
			assert_int_equal(pfs_read(store, object, off, got, len), there);
			assert_memory_equal(got, few->bytes + off, there);
			assert_int_equal(got[there], 0xee);
		}
	}
}

/* Proves: documents of a few bytes are what was written, at every offset and of every length, from
 * the journal and from their pages; a write that keeps the time keeps all attributes. */
static void few_bytes_are_what_was_written(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	unsigned number = 0;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	for (size_t size = 0; size <= FEW; size++) {
		for (size_t off = 0; off <= FEW; off++) {
			for (size_t len = 0; len <= FEW; len++) {
				struct few few = {
					.len = size,
					.attr = {.mode = 0640, .uid = 3, .gid = 4, .mtime_ns = 77}};
				int64_t mtime = PFS_MTIME_KEEP;
				struct pfs_key key = pfs_key_num(++number);
				uint32_t object;

				memcpy(few.bytes, "abcde", size);
				assert_int_equal(
					pfs_put(store, &key, few.bytes, size, &few.attr, 0, NULL),
					0);
				assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
				if (number % 2)
					assert_int_equal(pfs_store_checkpoint(store), 0);
				expect_few(store, object, &few);
				if (number % 3 == 0)
					mtime = few.attr.mtime_ns = 99;
				assert_int_equal(pfs_write(store, object, off, "VWXYZ", len, mtime),
						 0);
				if (len) {
					memcpy(few.bytes + off, "VWXYZ", len);
					few.len = pfs_max_u64(size, off + len);
				}
				expect_few(store, object, &few);
				if (number % 5 == 0)
					assert_int_equal(pfs_store_checkpoint(store), 0);
				expect_few(store, object, &few);
			}
		}
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: what a process left unfinished goes at the next opening for writing, and only then. */
static void unfinished_files_go(void **state)
{
	struct pfs_open_options options = {.manual = true, .read_only = true, .logger = quiet};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_file *file;
	struct pfs_dir *dir;
	uint8_t byte;

	(void)state;
	options.io = pfs_sim_io(sim);
	create_store(sim, 0, 0);
	make_file(sim, "index.tmp");
	write_at(sim, "index.tmp", 0, "x", 1);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(sim, "index.tmp", 0, &byte, 1);
	store = open_store(sim);
	assert_int_equal(options.io->ops->open_dir(options.io, STORE, 0, &dir), 0);
	assert_int_equal(dir->ops->open(dir, "index.tmp", 0, &file), -ENOENT);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_that_make_no_sense_are_refused),
		cmocka_unit_test(patches_that_make_small_are_replayed),
		cmocka_unit_test(values_without_need_of_a_dictionary),
		cmocka_unit_test(sizes_are_refused),
		cmocka_unit_test(stores_that_others_hold_are_busy),
		cmocka_unit_test(stores_need_names_of_their_own),
		cmocka_unit_test(directories_of_others_are_left_alone),
		cmocka_unit_test(the_reason_is_the_systems),
		cmocka_unit_test(features_that_readers_need_not_know),
		cmocka_unit_test(superblocks_of_the_past_are_refused),
		cmocka_unit_test(numbers_that_run_out_are_not_given_again),
		cmocka_unit_test(stores_for_reading_have_snapshots),
		cmocka_unit_test(nothing_is_changed_by_nothing),
		cmocka_unit_test(numbers_of_nobody),
		cmocka_unit_test(what_is_held_is_in_no_snapshot),
		cmocka_unit_test(zeros_over_all),
		cmocka_unit_test(pinned_bytes_are_said_of_each_page),
		cmocka_unit_test(packing_is_refused_when_it_can_not_be),
		cmocka_unit_test(ticks_that_fail_end_it),
		cmocka_unit_test(uses_of_dictionaries_are_two_words),
		cmocka_unit_test(writers_wait_for_room_in_the_journal),
		cmocka_unit_test(few_bytes_are_what_was_written),
		cmocka_unit_test(unfinished_files_go),
	};

	return cmocka_run_group_tests_name("edges", tests, NULL, NULL);
}
