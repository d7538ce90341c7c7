/* storage/store_open.c: making, opening and closing a store, whichever part fails: the error, what
 * is said of it, and that nothing is left behind. The file is included. */
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>

#include "storage/epoch.h"
#include "storage/store_compact.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static int fails(const char *part);
static ssize_t give_random(void *bytes, size_t len, unsigned flags);
static int note_pause(const struct timespec *pause);
static void note_freed(const void *block);

#define pfs_super_create(dir, super) (fails("create") ? fake.err : pfs_super_create(dir, super))
#define pfs_super_read(...) (fails("super") ? fake.err : pfs_super_read(__VA_ARGS__))
#define pfs_recover(store, clean) (fails("recover") ? fake.err : pfs_recover(store, clean))
#define pfs_store_mark_journal(store) (fails("mark") ? fake.err : pfs_store_mark_journal(store))
#define pfs_threads_start(store) (fails("threads") ? fake.err : pfs_threads_start(store))
#define pfs_index_save(store) (fails("index") ? fake.err : pfs_index_save(store))
#define pfs_checkpoint(store, force) (fails("checkpoint") ? fake.err : pfs_checkpoint(store, force))
#define calloc(n, len) (fails("memory") ? NULL : calloc(n, len))
#define getrandom(bytes, len, flags) give_random(bytes, len, flags)
#define nanosleep(pause, left) note_pause(pause)
#define pfs_index_word(index, object) (looks++, pfs_index_word(index, object))
#define pfs_object_word_key(...) (looks++, pfs_object_word_key(__VA_ARGS__))
#define free(block) (note_freed(block), poisoned_free(block))

static struct {
	const char *part; /* that fails */
	unsigned at;	  /* the call of this number, from 1 on; 0: all */
	int err;
	unsigned calls;
} fake;

static unsigned looks; /* at single objects */

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
#undef calloc
#undef getrandom
#undef nanosleep
#undef pfs_index_word
#undef pfs_object_word_key
#undef free

#include "tests/unit/stderr_helpers.h"
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

/* A kernel that has gathered too little yet has no bytes for who does not wait for them. */
static ssize_t give_random(void *bytes, size_t len, unsigned flags)
{
	memset(bytes, 7, len);
	return flags & GRND_NONBLOCK ? -1 : (ssize_t)len - (fails("random") ? 1 : 0);
}

static struct {
	unsigned count;
	uint64_t ms;
} pauses;

static int note_pause(const struct timespec *pause)
{
	pauses.count++;
	pauses.ms += (uint64_t)pause->tv_sec * 1000 + ((uint64_t)pause->tv_nsec + 500000) / 1000000;
	return 0;
}

static struct {
	const void *block[2];
	bool freed[2];
} watched;

static void note_freed(const void *block)
{
	for (size_t i = 0; i < pfs_array_len(watched.block); i++)
		watched.freed[i] |= block && watched.block[i] == block;
}

/* ---- a directory whose lock is not to be had ---- */

static struct pfs_io_ops odd;
static const struct pfs_io_ops *usual;
static int lock_err;
static unsigned dir_flags; /* it was opened with */

static int lock_odd(struct pfs_dir *dir, const char *name, bool exclusive)
{
	return lock_err ? lock_err : usual->lock(dir, name, exclusive);
}

static int open_dir_odd(const struct pfs_io *io, const char *path, unsigned flags,
			struct pfs_dir **out)
{
	int err = usual->open_dir(io->context, path, flags, out);

	dir_flags = flags;
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

/* Proves: a store that can't be made is refused with what is wrong, in the system's words. The
 * random bytes of its name are waited for. */
static void what_is_not_made(void **state)
{
	static const struct {
		int lock_err;
		const char *part;
		int part_err, err;
		const char *why;
	} cases[] = {
		{-EIO, NULL, 0, -EIO, STORE ": can't be locked: Input/output error"},
		{-ENOLCK, NULL, 0, -ENOLCK, STORE ": can't be locked: No locks available"},
		{-EWOULDBLOCK, NULL, 0, -EBUSY,
		 STORE ": another process is using this store; wait for it or unmount it"},
		{0, "create", -ENOSPC, -ENOSPC,
		 STORE ": making a store failed: No space left on device"},
		{0, "random", 0, -EIO, STORE ": making a store failed: Input/output error"},
		{0, NULL, 0, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_io io = odd_io(sim);
		struct pfs_create_options options = {.io = &io};
		struct pfs_reason reason;

		lock_err = cases[i].lock_err;
		let_fail(cases[i].part, 1, cases[i].part_err);
		assert_int_equal(pfs_store_create(STORE, &options, &reason), cases[i].err);
		assert_string_equal(reason.text, cases[i].why);
		pfs_sim_free(sim);
	}
	lock_err = 0;
}

/* Proves: a store is made where there is nothing but what an attempt that was cut off may have
 * left; anything else, be its name a single letter, is said and left alone. */
static void where_nothing_is_made(void **state)
{
	static const struct {
		const char *names[3];
		int err;
		const char *why;
	} cases[] = {
		{{PFS_LOCK_NAME, PFS_SUPER_NAME ".tmp"}, 0, ""},
		{{"x"}, -ENOTEMPTY, STORE ": holds other files (x); give an empty directory"},
		{{PFS_LOCK_NAME, "notes", PFS_SUPER_NAME ".tmp"},
		 -ENOTEMPTY,
		 STORE ": holds other files (notes); give an empty directory"},
		{{PFS_SUPER_NAME}, -EEXIST, STORE ": there is a store already"},
		{{"x", PFS_SUPER_NAME, "y"}, -EEXIST, STORE ": there is a store already"},
	};

	(void)state;
	let_fail(NULL, 0, 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_create_options options = {.io = pfs_sim_io(sim)};
		struct pfs_reason reason;
		struct pfs_dir *dir;
		uint64_t hash;

		assert_int_equal(options.io->ops->open_dir(options.io, STORE, PFS_IO_CREATE, &dir),
				 0);
		dir->ops->close_dir(dir);
		for (size_t n = 0; n < pfs_array_len(cases[i].names) && cases[i].names[n]; n++)
			make_file(sim, cases[i].names[n]);
		hash = pfs_sim_hash(sim);
		assert_int_equal(pfs_store_create(STORE, &options, &reason), cases[i].err);
		assert_string_equal(reason.text, cases[i].why);
		assert_int_equal(pfs_sim_hash(sim) == hash, cases[i].err != 0);
		pfs_sim_free(sim);
	}
}

/* Proves: pages and containers have sizes from the least to the largest, these included. */
static void sizes_have_bounds(void **state)
{
	static const struct {
		uint64_t page_size;
		uint32_t min_value_size;
		int err;
	} cases[] = {
		{PFS_PAGE_SIZE_MIN, 16, 0},
		{PFS_PAGE_SIZE_MIN / 2, 16, -EINVAL},
		{PFS_PAGE_SIZE_MIN + 1, 16, -EINVAL},
		{PFS_PAGE_SIZE_MAX, 16, 0},
		{PFS_PAGE_SIZE_MAX * 2, 16, -EINVAL},
		{PFS_MIB, 15, -EINVAL},
		{PFS_MIB, 4096, 0},
		{PFS_MIB, 4097, -EINVAL},
	};

	(void)state;
	let_fail(NULL, 0, 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_create_options options = {.page_size = cases[i].page_size,
						     .min_value_size = cases[i].min_value_size,
						     .io = pfs_sim_io(sim)};

		assert_int_equal(pfs_store_create(STORE, &options, NULL), cases[i].err);
		pfs_sim_free(sim);
	}
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
		{"memory", 1, 0, -ENOMEM, STORE ": no memory"},
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

/* Proves: a store whose lock another has is waited for as long as was asked for, in steps, and the
 * last one is not cut short; any other error of locking is said at once. Only who changes the store
 * opens its directory for that. */
static void a_lock_is_waited_for(void **state)
{
	static const struct {
		int lock_err;
		unsigned wait_ms;
		int err;
		const char *why;
		unsigned pauses;
	} cases[] = {
		{0, 100, 0, "", 0},
		{-EWOULDBLOCK, 0, -EBUSY, NULL, 0},
		{-EWOULDBLOCK, 1, -EBUSY, NULL, 1},
		{-EWOULDBLOCK, 20, -EBUSY, NULL, 1},
		{-EWOULDBLOCK, 21, -EBUSY, NULL, 2},
		{-EWOULDBLOCK, 1000, -EBUSY, NULL, 50},
		{-EIO, 100, -EIO, STORE ": can't be locked: Input/output error", 0},
		{-ENOLCK, 100, -ENOLCK, STORE ": can't be locked: No locks available", 0},
	};

	(void)state;
	let_fail(NULL, 0, 0);
	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		const bool read_only = i % 2;
		const typeof(cases[0]) *c = &cases[i / 2];
		const char *busy = STORE ": another process is using this store; unmount it or use "
					 "its mount point";
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_io io = odd_io(sim);
		struct pfs_open_options options = {.read_only = read_only,
						   .manual = true,
						   .lock_wait_ms = c->wait_ms,
						   .io = &io,
						   .logger = quiet};
		struct pfs_store *store;
		struct pfs_reason reason;

		create_store(sim, PFS_MIB, 16);
		pauses = (typeof(pauses)){0};
		lock_err = c->lock_err;
		assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), c->err);
		assert_string_equal(reason.text, c->why ? c->why : busy);
		assert_int_equal(pauses.count, c->pauses);
		assert_int_equal(pauses.ms, 20 * c->pauses);
		assert_int_equal(dir_flags, read_only ? 0 : PFS_IO_WRITE);
		lock_err = 0;
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: a tick comes every second if nothing else is said; a dictionary is used as the store was
 * made, or as is said; and a store without one trains it when there is enough, not before. */
static void what_is_not_said_is_usual(void **state)
{
	static const struct {
		bool made_off;
		enum pfs_dict_use use;
		bool off;
	} cases[] = {
		{false, PFS_DICT_AS_RECORDED, false}, {true, PFS_DICT_AS_RECORDED, true},
		{false, PFS_DICT_AUTO, false},	      {true, PFS_DICT_AUTO, false},
		{false, PFS_DICT_OFF, true},	      {true, PFS_DICT_OFF, true},
	};

	(void)state;
	let_fail(NULL, 0, 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_create_options create = {.dict_off = cases[i].made_off,
						    .io = pfs_sim_io(sim)};
		struct pfs_open_options options = {.manual = true,
						   .dict = cases[i].use,
						   .commit_ms = i % 2 ? 250 : 0,
						   .io = pfs_sim_io(sim),
						   .logger = quiet};
		struct pfs_store *store;

		assert_int_equal(pfs_store_create(STORE, &create, NULL), 0);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		assert_int_equal(store->dict_off, cases[i].off);
		assert_int_equal(store->commit_ms, i % 2 ? 250 : 1000);
		store->points = PFS_TRAIN_POINTS_MIN;
		store->raw_bytes = PFS_TRAIN_RAW_MIN - 1;
		assert_false(pfs_training_is_due(store));
		store->raw_bytes++;
		assert_int_equal(pfs_training_is_due(store),
				 !cases[i].off && pfs_store_trainer() != NULL);
		store->points = store->raw_bytes = 0;
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

static int keep_page(void *arg, const struct pfs_sim_step *step)
{
	return step->kind == PFS_SIM_UNLINK && strcmp(step->name, arg) == 0 ? -EIO : 0;
}

/* Proves: files that somebody began to write, and a page that was given up and could not be
 * removed, are removed by who opens the store to change it, and by nobody else; a file that is
 * called so and has no name before that is none of these. */
static void what_was_left_is_removed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	char page[32];
	struct pfs_store *store;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 50000, 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	snprintf(page, sizeof(page), PFS_PAGE_NAME_FMT, 2);
	assert_true(has_file(sim, page));
	pfs_sim_on_step(sim, keep_page, page);
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	make_file(sim, "a.tmp");
	make_file(sim, ".tmp");
	for (unsigned read_only = 2; read_only-- > 0;) {
		struct pfs_open_options options = {.read_only = read_only,
						   .manual = true,
						   .io = pfs_sim_io(sim),
						   .logger = quiet};

		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		assert_int_equal(has_file(sim, page), read_only);
		assert_int_equal(has_file(sim, "a.tmp"), read_only);
		assert_true(has_file(sim, ".tmp"));
		assert_int_equal(pfs_store_close(store), 0);
	}
	pfs_sim_free(sim);
}

/* Proves: an opening has an epoch that no other has had, also where the superblock is that of an
 * earlier one. */
static void an_epoch_is_had_once(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *first, *second;
	uint8_t super[PFS_SUPER_STRIDE + sizeof(struct pfs_super_disk)];
	struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	assert_int_equal(store->super.open_epoch, 1);
	first = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(sim);
	assert_int_equal(store->super.open_epoch, 2);
	put_document(store, &key, 300, 1);
	second = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(first, PFS_SUPER_NAME, 0, super, sizeof(super));
	write_at(second, PFS_SUPER_NAME, 0, super, sizeof(super));
	store = open_store(second);
	assert_int_equal(store->super.open_epoch, 3);
	assert_int_equal(pfs_lookup(store, &key, &(uint32_t){0}, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(first);
	pfs_sim_free(second);
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

/* Proves: documents that lie in the order of their numbers are not looked at one by one when the
 * store is closed. */
static void a_run_is_passed_at_once(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint64_t number;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 300; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 20, 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(sim);
	assert_int_equal(pfs_index_in_run(store->index, PFS_OBJECT_FIRST, &number), 300);
	looks = 0;
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(looks, 1);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

#define CHUNK 65536u /* numbers of objects that an index has together */

/* Proves: what is in no list and not written is given back, from the first object behind a run
 * on. */
static void versions_behind_a_run_are_freed(void **state)
{
	struct pfs_open_options options = {.read_only = true, .logger = quiet};
	const uint32_t count = CHUNK - PFS_OBJECT_FIRST;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint64_t number;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
	assert_int_equal(pfs_index_add_run(store->index, pfs_word_page(1, 0), count, 1000), 0);
	assert_int_equal(pfs_index_end_runs(store->index), 0);
	memset(&watched, 0, sizeof(watched));
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_key key = pfs_key_num(i);
		struct pfs_version *v = pfs_version_new(&key);
		uint32_t object;

		assert_int_equal(pfs_index_alloc(store->index, &object), 0);
		assert_int_equal(object, CHUNK + i);
		pfs_index_set_word(store->index, object, pfs_word_version(v));
		watched.block[i] = v;
	}
	assert_int_equal(pfs_index_in_run(store->index, PFS_OBJECT_FIRST, &number), count);
	looks = 0;
	assert_int_equal(pfs_store_close(store), 0);
	assert_true(watched.freed[0] && watched.freed[1]);
	assert_int_equal(looks, 3);
	watched.block[0] = watched.block[1] = NULL;
	pfs_sim_free(sim);
}

/* Proves: a store that is closed gives back those who packed for it (their mutex would be left),
 * and space that was reserved ahead in its pages. */
static void nothing_stays_taken(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	assert_non_null(pfs_store_team(store));
	put_document(store, &key, 300, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_sim_count(sim, PFS_SIM_PUNCH), 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_true(pfs_sim_count(sim, PFS_SIM_PUNCH) > 0);
	pfs_sim_free(sim);
}

/* Proves: on a full disk a store that is closed has what it needs to be opened again there, because
 * its journal is given back before. */
static void the_journal_makes_room(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_file *file;
	struct pfs_dir *dir;
	uint64_t bytes;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 100; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 300, 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_set_capacity(sim, pfs_sim_used(sim));
	for (unsigned i = 0; i < 5; i++) {
		struct pfs_key key = pfs_key_num(i);

		store = open_store(sim);
		assert_int_equal(pfs_remove(store, &key, NULL), 0);
		assert_int_equal(pfs_store_close(store), 0);
		file = store_file(sim, PFS_RESERVE_NAME, &dir);
		assert_int_equal(file->ops->disk_usage(file, &bytes), 0);
		assert_int_equal(bytes, PFS_RESERVE_CLOSED);
		store_file_done(dir, file);
	}
	expect_healthy(sim);
	pfs_sim_free(sim);
}

#ifndef PFS_COVERAGE /* where PFS_NEVER() is nothing */
enum { ABORTED = 41 };

static void end_aborted(int signal)
{
	(void)signal;
	_exit(ABORTED);
}

/* Proves: who closes a store of which a snapshot is open is told. */
static void snapshots_are_closed_before(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_snapshot *snapshot;
	struct pfs_store *store;
	char text[1024];
	int status;
	pid_t pid;

	(void)state;
	let_fail(NULL, 0, 0);
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	store->logger = (struct pfs_logger){0};
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	begin_to_listen();
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, end_aborted);
		_exit(pfs_store_close(store));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	end_to_listen(text, sizeof(text));
	assert_non_null(strstr(text, "snapshots.newest"));
	assert_true(WIFEXITED(status));
#ifdef PFS_DEBUG
	assert_int_equal(WEXITSTATUS(status), ABORTED);
#else
	assert_int_equal(WEXITSTATUS(status), 0);
#endif
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}
#endif

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
		cmocka_unit_test(where_nothing_is_made),
		cmocka_unit_test(sizes_have_bounds),
		cmocka_unit_test(what_is_not_opened),
		cmocka_unit_test(a_lock_is_waited_for),
		cmocka_unit_test(what_is_not_said_is_usual),
		cmocka_unit_test(what_was_left_is_removed),
		cmocka_unit_test(an_epoch_is_had_once),
		cmocka_unit_test(defaults_are_permissions),
		cmocka_unit_test(what_is_not_closed),
		cmocka_unit_test(a_run_is_passed_at_once),
		cmocka_unit_test(versions_behind_a_run_are_freed),
		cmocka_unit_test(nothing_stays_taken),
		cmocka_unit_test(the_journal_makes_room),
#ifndef PFS_COVERAGE
		cmocka_unit_test(snapshots_are_closed_before),
#endif
		cmocka_unit_test(replaying_is_said),
		cmocka_unit_test(stores_are_not_refreshed),
	};

	return cmocka_run_group_tests_name("opening and closing", tests, NULL, NULL);
}
