/* What a store that was cut off anywhere is when it is opened again, to the byte: a small one is
 * changed in each way that there is; at each step of that it dies, or loses power; at each step of
 * what comes afterwards a call fails; while a checkpoint is under way documents are changed. What
 * is logged, what is there, how the disk is read and written for it and what it holds in the end
 * are compared with what is written down (golden_test.c says why, and what to do when it is meant
 * to change).
 *
 * tests/crash and tests/fault look at whether what comes of it may be so; this at what it is. */
#include "tests/model/tale.h"

#define SMALL 14u
#define IMAGES_MAX 400u
#define WITHIN_MAX 16u

/* ---- the store ---- */

static void open_it(struct tale *t)
{
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(t->sim), .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&t->store, STORE, &options, &reason), 0);
}

/* Documents of no, some and many bytes, of several blocks, and a scratch file, in pages. */
static void make_store(struct tale *t)
{
	open_it(t);
	for (unsigned i = 0; i < SMALL; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", i);
		put_named(t, name, 40 * i * i);
	}
	put_named(t, "100", 70000);
	put_named(t, "101", 150000);
	put_named(t, "c0ffee00-0000-4000-8000-000000000002", 500);
	put_named(t, ".1.swp", 300);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

/* ---- what is done ---- */

static int op_put(struct tale *t)
{
	put_named(t, "200", 600);
	return 0;
}

static int op_rewrite(struct tale *t)
{
	put_named(t, "5", 900);
	put_named(t, "6", 30);
	put_named(t, ".1.swp", 1300);
	return 0;
}

static int patch(struct tale *t, const char *name, uint64_t off, size_t len)
{
	uint8_t bytes[5000];

	t->seeds += 2;
	fill_document(bytes, len, t->seeds + 1);
	the_time += 1000;
	return pfs_write(t->store, object_named(t, name), off, bytes, len, the_time);
}

static int op_patch(struct tale *t)
{
	int err = patch(t, "100", 65000, 5000);

	if (!err)
		err = patch(t, "7", 100, 50);
	return err ? err : patch(t, "100", 1000, 100);
}

static int op_extend(struct tale *t)
{
	int err = patch(t, "101", 150000, 4000);

	if (!err)
		err = patch(t, "8", 2570, 20);
	return err ? err : patch(t, "101", 160000, 10);
}

static int op_zero(struct tale *t)
{
	int err = pfs_zero(t->store, object_named(t, "101"), 40000, 70000, the_time);

	return err ? err : pfs_zero(t->store, object_named(t, "9"), 0, 10, the_time);
}

static int set(struct tale *t, const char *name, unsigned mask, uint64_t size)
{
	struct pfs_attr attr = {
		.size = size, .mode = 0604, .uid = 11, .gid = 12, .mtime_ns = the_time};

	return pfs_setattr(t->store, object_named(t, name), mask, &attr, NULL);
}

static int op_resize(struct tale *t)
{
	int err = set(t, "100", PFS_ATTR_SIZE, 66000);

	if (!err)
		err = set(t, "10", PFS_ATTR_SIZE, 5000);
	return err ? err : set(t, "11", PFS_ATTR_SIZE, 100);
}

static int op_attributes(struct tale *t)
{
	int err = set(t, "101", PFS_ATTR_MODE | PFS_ATTR_UID, 0);

	if (!err)
		err = set(t, "3", PFS_ATTR_MTIME, 0);
	return err ? err : set(t, ".1.swp", PFS_ATTR_GID, 0);
}

/* Held until the time comes, or something else is done with it. */
static int op_truncate(struct tale *t)
{
	int err = set(t, "12", PFS_ATTR_SIZE, 0);

	if (!err)
		err = set(t, "13", PFS_ATTR_SIZE, 0);
	if (!err)
		err = set(t, "13", PFS_ATTR_MODE, 0);
	if (!err)
		err = patch(t, "13", 0, 77);
	for (unsigned i = 0; i <= PFS_HOLD_TICKS && !err; i++)
		err = pfs_store_tick(t->store);
	return err;
}

static int move(struct tale *t, const char *from, const char *to, unsigned flags)
{
	struct pfs_key a = key_named(from), b = key_named(to);

	return pfs_rename(t->store, &a, &b, flags, NULL);
}

static int op_rename(struct tale *t)
{
	int err = move(t, "1", "201", 0);

	if (!err)
		err = move(t, ".1.swp", "2", 0);
	return err ? err : move(t, "100", "202", PFS_RENAME_NOREPLACE);
}

static int op_exchange(struct tale *t)
{
	int err = move(t, "3", "101", PFS_RENAME_EXCHANGE);

	return err ? err : move(t, "200", "201", PFS_RENAME_EXCHANGE);
}

static int drop(struct tale *t, const char *name)
{
	struct pfs_key key = key_named(name);

	return pfs_remove(t->store, &key, NULL);
}

static int op_remove(struct tale *t)
{
	int err = drop(t, "4");

	return err ? err : drop(t, "c0ffee00-0000-4000-8000-000000000002");
}

static int op_sync(struct tale *t)
{
	return pfs_sync(t->store);
}

static int op_checkpoint(struct tale *t)
{
	return pfs_store_checkpoint(t->store);
}

/* Another page is needed. */
static int op_fill(struct tale *t)
{
	for (unsigned i = 0; i < 20; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", 300 + i);
		put_named(t, name, 3000);
	}
	return pfs_store_checkpoint(t->store);
}

static int op_compact(struct tale *t)
{
	int more = 1;

	for (unsigned i = 0; i < 20; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", 300 + i);
		if (i % 3)
			(void)drop(t, name);
	}
	for (unsigned i = 0; i < 30 && more == 1; i++)
		more = pfs_store_compact_step(t->store, true);
	return more ? more : pfs_store_checkpoint(t->store);
}

static int op_reopen(struct tale *t)
{
	int err = pfs_store_close(t->store);

	open_it(t);
	return err;
}

struct op {
	const char *name;
	int (*fn)(struct tale *t);
};

static const struct op ops[] = {
	{"put", op_put},
	{"rewrite", op_rewrite},
	{"sync", op_sync},
	{"patch", op_patch},
	{"extend", op_extend},
	{"zero", op_zero},
	{"checkpoint", op_checkpoint},
	{"resize", op_resize},
	{"attributes", op_attributes},
	{"truncate", op_truncate},
	{"rename", op_rename},
	{"exchange", op_exchange},
	{"remove", op_remove},
	{"checkpoint", op_checkpoint},
	{"fill", op_fill},
	{"compact", op_compact},
	{"patch again", op_extend},
	{"reopen", op_reopen},
};

/* ---- what is left ---- */

/* Opens it, says what is there, and closes it. */
static void tell_image(struct tale *t)
{
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(t->sim), .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason = {0};
	int err;

	watch(t, true);
	forget_calls(t);
	err = pfs_store_open(&t->store, STORE, &options, &reason);
	if (err)
		fprintf(t->out, "opened: %d %s\n", err, reason.text);
	if (!err) {
		tell_stat(t);
		tell_what_is_there(t);
		fprintf(t->out, "closed: %d\n", pfs_store_close(t->store));
	}
	watch(t, false);
	fprintf(t->out, "disk %016llx, ", (unsigned long long)pfs_sim_hash(t->sim));
	tell_calls_in_short(t);
	t->store = NULL;
}

struct images {
	struct tale *t;
	struct pfs_sim *at[IMAGES_MAX];
	unsigned count, number;
};

static int take_image(void *arg, const struct pfs_sim_step *step)
{
	struct images *images = arg;
	struct pfs_sim *sim = images->t->sim;

	(void)step;
	assert_true(images->count < IMAGES_MAX);
	images->at[images->count++] = images->number % 4 == 0
					      ? pfs_sim_kill(sim)
					      : pfs_sim_crash_seed(sim, images->number);
	images->number++;
	return 0;
}

static void tell_images(struct tale *t, struct images *images)
{
	struct pfs_store *store = t->store;
	struct pfs_sim *sim = t->sim;
	struct each each = {0};

	for (unsigned i = 0; i < images->count; i++) {
		each_begin(t, &each);
		t->sim = images->at[i];
		tell_image(t);
		pfs_sim_free(t->sim);
		each_end(t, &each, i);
	}
	free(each.last);
	images->count = 0;
	t->sim = sim;
	t->store = store;
}

/* Proves: of a store that died, or lost its power, at any step of any change, what the opening
 * afterwards says, finds, does and leaves is what it was. */
static void cut_off(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct images *images = calloc(1, sizeof(*images));

	(void)state;
	images->t = &t;
	begin(&t, "cut-off", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	for (unsigned i = 0; i < pfs_array_len(ops); i++) {
		int err;

		pfs_sim_on_step(t.sim, take_image, images);
		err = ops[i].fn(&t);
		pfs_sim_on_step(t.sim, NULL, NULL);
		fprintf(t.out, "\n== %s: %d, %u steps ==\n", ops[i].name, err, images->count);
		tell_images(&t, images);
	}
	assert_int_equal(pfs_store_close(t.store), 0);
	free(images);
	end(&t);
}

/* ---- calls that fail ---- */

/* Replays what is in the journal, changes something, moves it to the pages. */
static void use_it(struct tale *t)
{
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(t->sim), .logger = {.fn = tell_log, .arg = t}};
	struct pfs_key key = key_named("0"), gone = key_named("8");
	struct pfs_reason reason = {0};
	int err = pfs_store_open(&t->store, STORE, &options, &reason);

	if (err) {
		fprintf(t->out, "opened: %d %s\n", err, reason.text);
		return;
	}
	fprintf(t->out, "put: %d\n", pfs_put(t->store, &key, "changed", 7, NULL, 0, NULL));
	fprintf(t->out, "truncate: %d\n", set(t, "10", PFS_ATTR_SIZE, 0));
	fprintf(t->out, "write: %d\n", patch(t, "10", 0, 50));
	fprintf(t->out, "patch: %d\n", patch(t, "101", 1000, 3000));
	fprintf(t->out, "attributes: %d\n", set(t, "9", PFS_ATTR_UID, 0));
	fprintf(t->out, "exchange: %d\n", move(t, "9", "202", PFS_RENAME_EXCHANGE));
	fprintf(t->out, "remove: %d\n", pfs_remove(t->store, &gone, NULL));
	fprintf(t->out, "tick: %d\n", pfs_store_tick(t->store));
	fprintf(t->out, "checkpoint: %d\n", pfs_store_checkpoint(t->store));
	fprintf(t->out, "compaction: %d\n", pfs_store_compact_step(t->store, true));
	fprintf(t->out, "close: %d\n", pfs_store_close(t->store));
	t->store = NULL;
}

static void fail_each(struct tale *t, struct pfs_sim *store, int err, bool looks)
{
	struct fault fault = {.done = true};
	struct each each = {0};

	fprintf(t->out, "\n== %s fails with %d ==\n", looks ? "a look" : "a step", err);
	for (uint64_t n = 0; fault.done; n++) {
		fault = (struct fault){.left = n, .err = err};
		t->sim = pfs_sim_kill(store);
		if (looks)
			pfs_sim_on_look(t->sim, fail_one, &fault);
		else
			pfs_sim_on_step(t->sim, fail_one, &fault);
		each_begin(t, &each);
		use_it(t);
		watch(t, false);
		tell_image(t);
		pfs_sim_free(t->sim);
		each_end(t, &each, n);
	}
	free(each.last);
}

/* What is said when a store can't be made, and what of it is there then. */
static void fail_making(struct tale *t, int err, bool looks)
{
	struct fault fault = {.done = true};
	struct each each = {0};

	fprintf(t->out, "\n== %s of making fails with %d ==\n", looks ? "a look" : "a step", err);
	for (uint64_t n = 0; fault.done; n++) {
		struct pfs_create_options options = {.page_size = 64 * PFS_KIB};
		struct pfs_reason reason = {0};

		fault = (struct fault){.left = n, .err = err};
		t->sim = pfs_sim_new();
		options.io = pfs_sim_io(t->sim);
		if (looks)
			pfs_sim_on_look(t->sim, fail_one, &fault);
		else
			pfs_sim_on_step(t->sim, fail_one, &fault);
		each_begin(t, &each);
		fprintf(t->out, "made: %d", pfs_store_create(STORE, &options, &reason));
		fprintf(t->out, " %s\n", reason.text);
		pfs_sim_on_look(t->sim, NULL, NULL);
		pfs_sim_on_step(t->sim, NULL, NULL);
		fprintf(t->out, "again: %d", pfs_store_create(STORE, &options, &reason));
		fprintf(t->out, " %s\n", reason.text);
		fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
		each_end(t, &each, n);
		pfs_sim_free(t->sim);
	}
	free(each.last);
}

/* Proves: of a store that died, whichever call fails when it is opened, changed and closed again,
 * and of one that is made, what is said, and what is there afterwards, is what it was. */
static void failing(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct pfs_sim *store;

	(void)state;
	begin(&t, "failing", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	for (unsigned i = 0; i < pfs_array_len(ops); i++)
		if (ops[i].fn != op_checkpoint && ops[i].fn != op_reopen && ops[i].fn != op_fill)
			assert_int_equal(ops[i].fn(&t), 0);
	op_put(&t);
	op_exchange(&t);
	store = pfs_sim_kill(t.sim);
	assert_int_equal(pfs_store_close(t.store), 0);
	pfs_sim_free(t.sim);
	fail_each(&t, store, -EIO, false);
	fail_each(&t, store, -ENOSPC, false);
	fail_each(&t, store, -EIO, true);
	fail_making(&t, -EIO, false);
	fail_making(&t, -ENOSPC, false);
	fail_making(&t, -EACCES, true);
	t.sim = store;
	end(&t);
}

/* ---- changes within a checkpoint ---- */

struct within {
	struct tale *t;
	int (*fn)(struct tale *t);
	unsigned left; /* steps before */
	int err;
	bool done;
};

/* Only where a change need not wait for the checkpoint. */
static int change_within(void *arg, const struct pfs_sim_step *step)
{
	struct within *within = arg;
	struct pfs_store *store = within->t->store;

	(void)step;
	if (within->done || pthread_mutex_trylock(&store->commit) != 0)
		return 0;
	pthread_mutex_unlock(&store->commit);
	if (within->left-- > 0)
		return 0;
	within->done = true;
	within->err = within->fn(within->t);
	return 0;
}

static int within_put(struct tale *t)
{
	put_named(t, "5", 250);
	put_named(t, "101", 100000);
	return 0;
}

static int within_patch(struct tale *t)
{
	int err = patch(t, "100", 100, 3000);

	if (!err)
		err = patch(t, "5", 100, 10);
	return err ? err : patch(t, "101", 120000, 10);
}

static int within_move(struct tale *t)
{
	int err = move(t, "100", "5", 0);

	return err ? err : move(t, "7", "6", PFS_RENAME_EXCHANGE);
}

static int within_set(struct tale *t)
{
	int err = set(t, "5", PFS_ATTR_MODE, 0);

	if (!err)
		err = set(t, "100", PFS_ATTR_MTIME, 0);
	if (!err)
		err = set(t, "7", PFS_ATTR_SIZE, 0);
	return err ? err : set(t, "101", PFS_ATTR_SIZE, 140000);
}

static int within_drop(struct tale *t)
{
	int err = drop(t, "5");

	return err ? err : drop(t, "100");
}

static int within_look_back(struct tale *t)
{
	struct pfs_attr attr;
	void *data;
	size_t len;
	struct pfs_key key = key_named("5");
	int err = pfs_get(t->store, &key, &data, &len, &attr);

	if (!err)
		free(data);
	return err ? err : patch(t, "5", 0, 20);
}

static const struct op within_ops[] = {
	{"put", within_put}, {"patch", within_patch}, {"move", within_move},
	{"set", within_set}, {"remove", within_drop}, {"look", within_look_back},
};

/* One change at one step of a checkpoint of changes. False: it has no such step. */
static bool tell_within(struct tale *t, struct pfs_sim *store, const struct op *op, unsigned step)
{
	struct within within = {.t = t, .fn = op->fn, .left = step};
	struct pfs_sim *died;
	int err;

	t->sim = pfs_sim_kill(store);
	open_it(t);
	assert_int_equal(op_rewrite(t), 0);
	assert_int_equal(op_patch(t), 0);
	assert_int_equal(op_zero(t), 0);
	pfs_sim_on_step(t->sim, change_within, &within);
	err = pfs_store_checkpoint(t->store);
	pfs_sim_on_step(t->sim, NULL, NULL);
	fprintf(t->out, "- %u: %d, checkpoint %d\n", step, within.err, err);
	tell_stat(t);
	tell_what_is_there(t);
	died = pfs_sim_kill(t->sim);
	err = pfs_store_checkpoint(t->store);
	fprintf(t->out, "the next one %d\n", err);
	tell_documents(t);
	assert_int_equal(pfs_store_close(t->store), 0);
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	pfs_sim_free(t->sim);
	t->sim = died;
	tell_image(t);
	pfs_sim_free(t->sim);
	compare_so_far(t);
	return within.done;
}

/* Proves: what becomes of changes while others are moved to the pages is what it was. */
static void within_checkpoints(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct pfs_sim *store;

	(void)state;
	begin(&t, "within-checkpoints", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	assert_int_equal(pfs_store_close(t.store), 0);
	store = t.sim;
	for (unsigned i = 0; i < pfs_array_len(within_ops); i++) {
		fprintf(t.out, "\n== %s ==\n", within_ops[i].name);
		for (unsigned step = 0; step < WITHIN_MAX; step++)
			if (!tell_within(&t, store, &within_ops[i], step))
				break;
	}
	t.sim = store;
	end(&t);
}

/* ---- a journal of several segments ---- */

#define LONG_DOCUMENTS 40u

/* Of some tens of KiB each, with small changes between; synced now and then. */
static struct pfs_sim *with_long_journal(struct tale *t, bool power_fails)
{
	struct pfs_sim *died;

	open_it(t);
	for (unsigned i = 0; i < LONG_DOCUMENTS; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%u", 400 + i);
		put_named(t, name, 30000 + 5000 * (i % 10));
		assert_int_equal(patch(t, "100", 10 * i, 30), 0);
		assert_int_equal(set(t, "3", PFS_ATTR_MODE, 0), 0);
		if (i == 5 || i == 23)
			assert_int_equal(pfs_sync(t->store), 0);
		if (i == 30)
			assert_int_equal(move(t, "400", "2", 0), 0);
	}
	assert_int_equal(drop(t, "401"), 0);
	died = power_fails ? pfs_sim_crash_seed(t->sim, 5) : pfs_sim_kill(t->sim);
	assert_int_equal(pfs_store_close(t->store), 0);
	pfs_sim_free(t->sim);
	return died;
}

enum { TURN_HEAD, TURN_FIRST, TURN_MIDDLE, TURN_LATER, CLEAR, CLEAR_REST, CUT, REMOVE, BREAKS };

static void break_segment(struct pfs_sim *sim, const struct file_told *file, unsigned how)
{
	static uint8_t zeros[2 * PFS_MIB];
	struct pfs_dir *dir;
	struct pfs_file *open;

	switch (how) {
	case TURN_HEAD: flip_bit(sim, file->name, 20, 1); break;
	case TURN_FIRST: flip_bit(sim, file->name, 4100, 2); break;
	case TURN_MIDDLE: flip_bit(sim, file->name, file->size / 3, 3); break;
	case TURN_LATER: flip_bit(sim, file->name, file->size / 8 * 7, 4); break;
	case CLEAR: write_at(sim, file->name, file->size / 4, zeros, 70000); break;
	case CLEAR_REST:
		write_at(sim, file->name, file->size / 2, zeros, file->size - file->size / 2);
		break;
	case CUT:
		open = store_file(sim, file->name, &dir);
		assert_int_equal(open->ops->truncate(open, file->size / 2), 0);
		store_file_done(dir, open);
		break;
	default: remove_file(sim, file->name);
	}
}

static void break_journal(struct tale *t, struct pfs_sim *store)
{
	struct files_told *files;
	struct each each = {0};

	t->sim = store;
	files = files_of(store, STORE);
	for (size_t i = 0; i < files->count * BREAKS; i++) {
		const struct file_told *file = &files->at[i / BREAKS];

		if (strncmp(file->name, "journal-", 8) != 0)
			continue;
		each_begin(t, &each);
		t->sim = pfs_sim_kill(store);
		break_segment(t->sim, file, i % BREAKS);
		tell_image(t);
		pfs_sim_free(t->sim);
		each_end(t, &each, i);
	}
	free(each.last);
	free(files);
	t->sim = store;
}

/* Proves: of a journal of several segments, of which one is damaged in any way or missing, what is
 * taken and what is said to be lost is what it was. */
static void long_journals(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};

	(void)state;
	begin(&t, "long-journals", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	assert_int_equal(pfs_store_close(t.store), 0);
	t.store = NULL;
	for (unsigned power_fails = 0; power_fails < 2; power_fails++) {
		struct pfs_sim *store = t.sim;

		fprintf(t.out, "\n== %s ==\n", power_fails ? "power fails" : "it dies");
		t.sim = pfs_sim_kill(store);
		break_journal(&t, with_long_journal(&t, power_fails));
		pfs_sim_free(t.sim);
		t.sim = store;
	}
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_off),
		cmocka_unit_test(failing),
		cmocka_unit_test(within_checkpoints),
		cmocka_unit_test(long_journals),
	};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
