/* storage/store_open.c: making, opening and closing a store, whichever part fails: the error, what
 * is said of it, and that nothing is left behind. The file is included. */
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_compact.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static int fails(const char *part);

#define pfs_super_create(dir, super) (fails("create") ? fake.err : pfs_super_create(dir, super))
#define pfs_super_read(...) (fails("super") ? fake.err : pfs_super_read(__VA_ARGS__))
#define pfs_recover(store, clean) (fails("recover") ? fake.err : pfs_recover(store, clean))
#define pfs_store_mark_journal(store) (fails("mark") ? fake.err : pfs_store_mark_journal(store))
#define pfs_threads_start(store) (fails("threads") ? fake.err : pfs_threads_start(store))
#define pfs_index_save(store) (fails("index") ? fake.err : pfs_index_save(store))
#define pfs_checkpoint(store, force) (fails("checkpoint") ? fake.err : pfs_checkpoint(store, force))
#define free(block) poisoned_free(block)

static struct {
	const char *part; /* that fails */
	unsigned at;	  /* the call of this number, from 1 on; 0: all */
	int err;
	unsigned calls;
} fake;

#define open_store open_store_there
#include "storage/store_open.c"
#undef open_store
#undef pfs_super_create
#undef pfs_super_read
#undef pfs_recover
#undef pfs_store_mark_journal
#undef pfs_threads_start
#undef pfs_index_save
#undef pfs_checkpoint
#undef free

#include "tests/unit/store_helpers.h"

static int fails(const char *part)
{
	if (!fake.part || strcmp(fake.part, part) != 0)
		return 0;
	fake.calls++;
	return !fake.at || fake.calls == fake.at;
}

static void let_fail(const char *part, unsigned at, int err)
{
	fake = (typeof(fake)){.part = part, .at = at, .err = err};
}

/* ---- a directory whose lock is not to be had ---- */

static struct pfs_io_ops odd;
static const struct pfs_io_ops *usual;
static int lock_err;

static int lock_odd(struct pfs_dir *dir, const char *name, bool exclusive)
{
	return lock_err ? lock_err : usual->lock(dir, name, exclusive);
}

static int open_dir_odd(const struct pfs_io *io, const char *path, unsigned flags,
			struct pfs_dir **out)
{
	int err = usual->open_dir(io->context, path, flags, out);

	if (!err)
		(*out)->ops = &odd;
	return err;
}

static struct pfs_io odd_io(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);

	usual = io->ops;
	odd = *usual;
	odd.lock = lock_odd;
	odd.open_dir = open_dir_odd;
	return (struct pfs_io){.ops = &odd, .context = (void *)(uintptr_t)io};
}

/* ---- making ---- */

/* Proves: a store that can't be made is refused with what is wrong, in the system's words. */
static void what_is_not_made(void **state)
{
	static const struct {
		int lock_err, create_err, err;
		const char *why;
	} cases[] = {
		{-EIO, 0, -EIO, STORE ": can't be locked: Input/output error"},
		{-ENOLCK, 0, -ENOLCK, STORE ": can't be locked: No locks available"},
		{-EWOULDBLOCK, 0, -EBUSY,
		 STORE ": another process is using this store; wait for it or unmount it"},
		{0, -ENOSPC, -ENOSPC, STORE ": making a store failed: No space left on device"},
		{0, 0, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_io io = odd_io(sim);
		struct pfs_create_options options = {.io = &io};
		struct pfs_reason reason;

		lock_err = cases[i].lock_err;
		let_fail(cases[i].create_err ? "create" : NULL, 1, cases[i].create_err);
		assert_int_equal(pfs_store_create(STORE, &options, &reason), cases[i].err);
		assert_string_equal(reason.text, cases[i].why);
		pfs_sim_free(sim);
	}
	lock_err = 0;
}

/* ---- opening ---- */

static int try_to_open(struct pfs_sim *sim, struct pfs_reason *reason, bool threads)
{
	struct pfs_open_options options = {
		.manual = !threads, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_store *store = (void *)sim;
	int err = pfs_store_open(&store, STORE, &options, reason);

	assert_int_equal(!store, err != 0);
	return err ? err : pfs_store_close(store);
}

/* Proves: a store that does not open for whatever part of it is refused with its error, and with
 * what is wrong; another opening finds all of it. */
static void what_is_not_opened(void **state)
{
	static const struct {
		const char *part;
		unsigned at;
		int err, given;
		const char *why;
	} cases[] = {
		{"super", 1, -EIO, -EIO, STORE ": "},
		{"super", 2, -EIO, -EIO, STORE ": "},
		{"recover", 1, -ENOMEM, -ENOMEM, STORE ": opening failed: Cannot allocate memory"},
		{"mark", 1, -EIO, -EIO, STORE ": opening failed: Input/output error"},
		{"mark", 1, -ENOSPC, 0, ""},
		{"threads", 1, -EAGAIN, -EAGAIN,
		 STORE ": threads can't be started: Resource temporarily unavailable"},
		{NULL, 0, 0, 0, ""},
	};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	put_document(store, &key, 300, 1);
	assert_int_equal(pfs_store_close(store), 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason;

		let_fail(cases[i].part, cases[i].at, cases[i].err);
		assert_int_equal(try_to_open(sim, &reason, true), cases[i].given);
		assert_int_equal(fake.calls >= cases[i].at, 1);
		if (cases[i].part && strcmp(cases[i].part, "super") == 0) {
			assert_memory_equal(reason.text, cases[i].why, strlen(cases[i].why));
			assert_non_null(strstr(reason.text, "Input/output error"));
		} else {
			assert_string_equal(reason.text, cases[i].why);
		}
		let_fail(NULL, 0, 0);
		store = open_store(sim);
		assert_int_equal(pfs_lookup(store, &key, &(uint32_t){0}, NULL), 0);
		assert_int_equal(pfs_store_close(store), 0);
	}
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: of a mode that is given as default its permissions are kept, all of them. */
static void defaults_are_permissions(void **state)
{
	static const struct {
		uint32_t given, kept;
	} cases[] = {{0, 0},	   {07777, 07777},  {0777, 0777},
		     {0001, 0001}, {0100644, 0644}, {0107777, 07777}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_store *store = calloc(1, sizeof(*store));
		struct pfs_defaults given = {cases[i].given, 5, 6};

		set_defaults(store, &given);
		assert_int_equal(store->defaults.mode, cases[i].kept);
		assert_int_equal(store->defaults.uid, 5);
		assert_int_equal(store->defaults.gid, 6);
		assert_true(store->super.has_defaults);
		free(store);
	}
}

/* ---- closing ---- */

static char last_line[256];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static bool has_file(struct pfs_sim *sim, const char *name)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	int err;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	err = dir->ops->open(dir, name, 0, &file);
	if (!err)
		file->ops->close(file);
	dir->ops->close_dir(dir);
	return !err;
}

/* Proves: a store is closed also when there is no room for its index, which is said, or for its
 * last checkpoint until the reserve is given up; any other failure is one, and the journal has what
 * was put. Nothing that waited to be written is left in memory, nor used again. */
static void what_is_not_closed(void **state)
{
	static const struct {
		const char *part;
		unsigned at;
		int err, given;
		const char *said;
		unsigned calls;
	} cases[] = {
		{NULL, 0, 0, 0, "", 0},
		{"index", 1, -ENOSPC, 0, "no room for the index: the next opening makes it anew",
		 1},
		{"index", 1, -EIO, -EIO,
		 "closing was not complete (Input/output error): the next opening replays the "
		 "journal",
		 1},
		{"checkpoint", 1, -ENOSPC, 0, "", 2},
		{"checkpoint", 0, -ENOSPC, -ENOSPC,
		 "closing was not complete (No space left on device): the next opening replays the "
		 "journal",
		 2},
		{"checkpoint", 1, -EIO, -EIO,
		 "closing was not complete (Input/output error): the next opening replays the "
		 "journal",
		 1},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_open_options options = {
			.manual = true, .io = pfs_sim_io(sim), .logger = {.fn = keep_line}};
		struct pfs_key large = pfs_key_num(1), small = pfs_key_num(2);
		struct pfs_store *store;
		struct pfs_attr attr;
		uint32_t object;

		let_fail(NULL, 0, 0);
		create_store(sim, PFS_MIB, 16);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		put_document(store, &large, 200000, 1);
		put_document(store, &small, 300, 1);
		assert_int_equal(pfs_lookup(store, &large, &object, NULL), 0);
		assert_int_equal(pfs_write(store, object, 7, "patch", 5, 5), 0);
		last_line[0] = '\0';
		let_fail(cases[i].part, cases[i].at, cases[i].err);
		assert_int_equal(pfs_store_close(store), cases[i].given);
		assert_int_equal(fake.calls, cases[i].calls);
		assert_string_equal(last_line, cases[i].said);
		assert_false(has_file(sim, PFS_INDEX_NAME ".tmp"));
		let_fail(NULL, 0, 0);
		store = open_store(sim);
		assert_int_equal(pfs_lookup(store, &large, &object, &attr), 0);
		assert_int_equal(attr.size, 200000);
		assert_int_equal(pfs_lookup(store, &small, &object, &attr), 0);
		assert_int_equal(attr.size, 300);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
}

static char replayed[64];

static void keep_replayed(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (strncmp(line, "replayed ", 9) == 0) {
		assert_int_equal(level, PFS_LOG_INFO);
		snprintf(replayed, sizeof(replayed), "%s", line);
	}
}

/* Proves: how many records of the journal an opening has replayed is said, if there were any. */
static void replaying_is_said(void **state)
{
	static const char *const said[] = {"", "replayed 1 record of the journal",
					   "replayed 2 records of the journal"};

	(void)state;
	let_fail(NULL, 0, 0);
	for (unsigned n = 0; n < pfs_array_len(said); n++) {
		struct pfs_sim *sim = pfs_sim_new(), *image;
		struct pfs_open_options options = {.manual = true, .logger = {.fn = keep_replayed}};
		struct pfs_store *store;

		create_store(sim, PFS_MIB, 16);
		store = open_store(sim);
		for (unsigned i = 0; i < n; i++) {
			struct pfs_key key = pfs_key_num(i);

			put_document(store, &key, 300, 1);
		}
		assert_int_equal(pfs_sync(store), 0);
		image = pfs_sim_crash_seed(sim, 1);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
		replayed[0] = '\0';
		options.io = pfs_sim_io(image);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		assert_string_equal(replayed, said[n]);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(image);
		pfs_sim_free(image);
	}
}

/* Proves: a store of one's own is no publication: it has nothing newer to be taken up, and can be
 * trained and compacted. */
static void stores_are_not_refreshed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_train_result trained;
	struct pfs_refreshed refreshed;
	struct pfs_store *store;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	memset(&refreshed, 7, sizeof(refreshed));
	assert_int_equal(pfs_store_refresh(store, &refreshed), -EOPNOTSUPP);
	assert_true(pfs_is_zero(&refreshed, sizeof(refreshed)));
	assert_int_equal(pfs_train(store, false, &trained),
			 pfs_store_trainer() ? -ENODATA : -EOPNOTSUPP);
	assert_int_equal(pfs_store_compact_step(store, true), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_made),
		cmocka_unit_test(what_is_not_opened),
		cmocka_unit_test(defaults_are_permissions),
		cmocka_unit_test(what_is_not_closed),
		cmocka_unit_test(replaying_is_said),
		cmocka_unit_test(stores_are_not_refreshed),
	};

	return cmocka_run_group_tests_name("opening and closing", tests, NULL, NULL);
}
