/* What each call says and does, to the byte, for a document in each state that it can be in: in a
 * page or in the journal, small or of several blocks, changed, held, removed, renamed, not there.
 * The result, what can be seen of the document then, and what the disk holds when the store has
 * been closed are compared with what is written down (golden_test.c says why, and what to do when
 * it is meant to change). */
#include "tests/model/tale.h"

#define NAME "50"
#define OTHER "60"
#define LARGE 150000u

/* ---- states ---- */

/* What every store has in its pages. */
static void make_store(struct tale *t)
{
	t->store = open_store(t->sim);
	put_named(t, OTHER, 700);
	put_named(t, NAME, 900);
	put_named(t, "51", LARGE);
	put_named(t, "52", 0);
	put_named(t, "53", 100);
	put_named(t, ".x.swp", 400);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
	assert_int_equal(pfs_store_close(t->store), 0);
	t->store = NULL;
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
};

/* ---- calls ---- */

enum call {
	WRITE_NOTHING,
	WRITE_BEGIN,
	WRITE_WITHIN,
	WRITE_END,
	WRITE_GAP,
	WRITE_WHOLE,
	WRITE_FAR,
	WRITE_LAST,
	ZERO_BEGIN,
	ZERO_ALL,
	ZERO_BEYOND,
	SET_ALL,
	SET_MODE,
	SET_OWNER,
	SET_TIME,
	SET_NOTHING,
	SIZE_NONE,
	SIZE_ONE,
	SIZE_SAME,
	SIZE_MORE,
	SIZE_LARGE,
	SIZE_TOO_LARGE,
	SIZE_TWICE,
	SIZE_AND_MODE,
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
	CHECKPOINT,
	SNAPSHOT,
	CALLS
};

static int put_it(struct tale *t, size_t len, unsigned flags)
{
	struct pfs_attr attr = {.mode = 0610, .uid = 1, .gid = 2, .mtime_ns = the_time};
	struct pfs_key key = key_named(NAME);
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
	struct pfs_key key = key_named(NAME);
	uint8_t bytes[5000];
	struct pfs_put *put;

	fill_document(bytes, sizeof(bytes), 777);
	assert_int_equal(pfs_put_begin(t->store, &put), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(pfs_put_write(put, bytes, sizeof(bytes) - i), 0);
	return pfs_put_commit(put, &key, NULL, 0, NULL);
}

static int put_many(struct tale *t)
{
	struct pfs_put_item items[3] = {
		{.key = key_named(NAME), .data = "first", .len = 5},
		{.key = key_named(OTHER), .data = "", .len = 0},
		{.key = key_named(NAME), .data = "second", .len = 6, .flags = PFS_PUT_NEW_OBJECT}};
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
	struct pfs_key key = key_named(NAME);
	uint32_t object = 77;
	int err = pfs_remove(t->store, &key, &object);

	fprintf(t->out, "(%u) ", object);
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
	case WRITE_WHOLE: return pfs_write(t->store, object, 0, whole, size + 10, PFS_MTIME_KEEP);
	case WRITE_FAR: return patch(t, object, PFS_PAYLOAD_MAX, 1);
	case WRITE_LAST: return patch(t, object, UINT64_MAX - 5, 10);
	case ZERO_BEGIN: return pfs_zero(t->store, object, 0, 10, the_time);
	case ZERO_ALL: return pfs_zero(t->store, object, 0, UINT64_MAX, the_time);
	case ZERO_BEYOND: return pfs_zero(t->store, object, size, 10, the_time);
	case SET_ALL: return set(t, object, 31, size / 2);
	case SET_MODE: return set(t, object, PFS_ATTR_MODE, 0);
	case SET_OWNER: return set(t, object, PFS_ATTR_UID | PFS_ATTR_GID, 0);
	case SET_TIME: return set(t, object, PFS_ATTR_MTIME, 0);
	case SET_NOTHING: return set(t, object, 0, 0);
	case SIZE_NONE: return set(t, object, PFS_ATTR_SIZE, 0);
	case SIZE_ONE: return set(t, object, PFS_ATTR_SIZE, 1);
	case SIZE_SAME: return set(t, object, PFS_ATTR_SIZE, size);
	case SIZE_MORE: return set(t, object, PFS_ATTR_SIZE, size + 100);
	case SIZE_LARGE: return set(t, object, PFS_ATTR_SIZE, size + 2 * PFS_BLOCK_LEN);
	case SIZE_TOO_LARGE: return set(t, object, PFS_ATTR_SIZE, PFS_PAYLOAD_MAX + 1);
	case SIZE_TWICE:
		err = set(t, object, PFS_ATTR_SIZE, 0);
		if (!err)
			err = set(t, object, PFS_ATTR_MODE, 0);
		return err ? err : set(t, object, PFS_ATTR_SIZE, 400);
	case SIZE_AND_MODE: return set(t, object, PFS_ATTR_SIZE | PFS_ATTR_MODE, 0);
	case CREATE: return create(t, NAME);
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
	case MOVE_AWAY: return move(t, NAME, "70", 0);
	case MOVE_OVER: return move(t, NAME, OTHER, 0);
	case MOVE_OVER_LARGE: return move(t, NAME, "51", 0);
	case MOVE_TO_ITSELF: return move(t, NAME, NAME, 0);
	case MOVE_NOREPLACE: return move(t, NAME, OTHER, PFS_RENAME_NOREPLACE);
	case MOVE_TO_SCRATCH: return move(t, NAME, ".x.swp", 0);
	case MOVE_THERE: return move(t, OTHER, NAME, 0);
	case EXCHANGE: return move(t, NAME, OTHER, PFS_RENAME_EXCHANGE);
	case TIDY: return pfs_tidy(t->store, object);
	case RELEASE: pfs_release(t->store, object); return 0;
	case SYNC: return pfs_sync_object(t->store, object);
	case TICKS:
		for (unsigned i = 0; i < PFS_HOLD_TICKS; i++) {
			assert_int_equal(pfs_store_tick(t->store), 0);
			the_time += 1000000000;
		}
		return 0;
	case CHECKPOINT: return pfs_store_checkpoint(t->store);
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

static void tell_call(struct tale *t, struct pfs_sim *store, unsigned state, enum call what,
		      bool hold)
{
	static const struct pfs_defaults defaults = {.mode = 0640, .uid = 3, .gid = 3};
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = hold,
					   .defaults = &defaults,
					   .io = NULL,
					   .logger = {.fn = tell_log, .arg = t}};
	struct pfs_attr attr = {0};
	struct pfs_reason reason;
	uint32_t object;

	t->sim = pfs_sim_kill(store);
	options.io = pfs_sim_io(t->sim);
	assert_int_equal(pfs_store_open(&t->store, STORE, &options, &reason), 0);
	states[state].make(t);
	object = object_named(t, NAME);
	if (object)
		assert_int_equal(pfs_getattr(t->store, object, &attr), 0);
	else
		object = 40; /* has never been */
	watch(t, true);
	forget_calls(t);
	fprintf(t->out, "%d\n", call(t, what, object, attr.size));
	watch(t, false);
	tell_calls_in_short(t);
	tell_object(t, object);
	tell_what_is_there(t);
	fprintf(t->out, "closed: %d, ", pfs_store_close(t->store));
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	t->store = NULL;
	pfs_sim_free(t->sim);
}

/* Proves: what each call does to a document in each state is what it was. */
static void calls(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct pfs_sim *store;

	(void)state;
	begin(&t, "calls", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	store = t.sim;
	for (unsigned i = 0; i < pfs_array_len(states); i++) {
		struct each each = {0};

		fprintf(t.out, "\n== %s ==\n", states[i].name);
		for (unsigned n = 0; n < CALLS; n++) {
			each_begin(&t, &each);
			tell_call(&t, store, i, (enum call)n, (i + n) % 2);
			each_end(&t, &each, n);
		}
		free(each.last);
	}
	t.sim = store;
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(calls)};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
