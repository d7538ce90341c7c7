/* storage/store_dict.c: the table of dictionaries by itself: what an opening takes of the files
 * that there are, in whatever order they are listed, what it says of those that can't be read, and
 * what is left where memory lacks. Files are the test's own; unit/store_dict_test has real ones. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/dict.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"

static int some_file(uint32_t number, struct pfs_dict_file *out);
static int written(const struct pfs_dict_file *file, bool *synced);
static int some_super(const struct pfs_super *super);
static void waited(void);

#include "tests/unit/fenced.h"

#define pfs_dict_read(dir, uuid, number, out) some_file(number, out)
#define pfs_dict_write(dir, uuid, file, synced) written(file, synced)
#define pfs_super_write(dir, super) some_super(super)
#define pfs_journal_next(journal) 77
#define pfs_journal_window(journal) 50
#define pfs_epoch_wait() waited()
#include "storage/store_dict.c"
#undef pfs_dict_read
#undef pfs_dict_write
#undef pfs_super_write
#undef pfs_journal_next
#undef pfs_journal_window
#undef pfs_epoch_wait

/* ---- files ---- */

#define FILES 6u

/* As they are listed. */
static struct {
	const char *name;
	int err;
} files[FILES];
static int list_err;

static int some_list(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	int err = 0;

	(void)dir;
	for (unsigned i = 0; i < FILES && !err; i++)
		err = files[i].name ? fn(arg, files[i].name) : 0;
	return err ? err : list_err;
}

/* What was written, and how that went. */
static struct {
	unsigned files, supers, waits;
	struct pfs_dict_file last;
	int file_err, super_err;
	bool unsynced;
	uint32_t highest; /* in the superblock */
	unsigned blocks;  /* of memory, when readers were waited for */
} disk;

static int written(const struct pfs_dict_file *file, bool *synced)
{
	disk.files++;
	disk.last = *file;
	if (synced)
		*synced = !disk.unsynced;
	return disk.file_err;
}

static int some_super(const struct pfs_super *super)
{
	disk.supers++;
	disk.highest = super->dict_highest;
	return disk.super_err;
}

static void waited(void)
{
	disk.waits++;
	disk.blocks = fenced_blocks;
}

static unsigned bad_parts;

static int some_file(uint32_t number, struct pfs_dict_file *out)
{
	static char name[32]; /* on the stack it would be found by who forgets it */

	*out = (struct pfs_dict_file){
		.number = number, .raw = 10 * (uint64_t)number, .packed = number};
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, number);
		if (!files[i].name || strcmp(files[i].name, name) != 0)
			continue;
		if (files[i].err)
			return files[i].err;
		out->bytes = malloc(5);
		if (!out->bytes)
			return -ENOMEM;
		memcpy(out->bytes, "bytes", 5);
		out->len = 5;
		out->bad_parts = bad_parts;
		return 0;
	}
	return -ENOENT;
}

/* ---- a store that has nothing else ---- */

static char said[10][PFS_LOG_LINE_MAX];
static unsigned lines;
static bool is_dropping;

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, bad_parts     ? PFS_LOG_WARNING
				: is_dropping ? PFS_LOG_INFO
					      : PFS_LOG_ERROR);
	assert_true(lines < 10);
	snprintf(said[lines++], PFS_LOG_LINE_MAX, "%s", line);
}

static char unlinked[64];

static int some_unlink(struct pfs_dir *dir, const char *name)
{
	(void)dir;
	snprintf(unlinked, sizeof(unlinked), "%s", name);
	return -ENOENT;
}

static struct pfs_store *bare_store(void)
{
	static const struct pfs_io_ops ops = {.list = some_list, .unlink = some_unlink};
	static struct pfs_dir dir = {.ops = &ops};
	struct pfs_store *store = calloc(1, sizeof(*store));

	store->logger = (struct pfs_logger){.fn = keep_line};
	store->dir = &dir;
	pthread_mutex_init(&store->commit, NULL);
	pthread_mutex_init(&store->checkpoint_lock, NULL);
	memset(&disk, 0, sizeof(disk));
	lines = 0;
	return store;
}

static void bare_free(struct pfs_store *store)
{
	pfs_dicts_close(store);
	pthread_mutex_destroy(&store->commit);
	pthread_mutex_destroy(&store->checkpoint_lock);
	free(store);
}

/* Numbers 3, 5, 9 and 4294967295 in some order, and what is no dictionary. */
static void list_files(unsigned order)
{
	static const char *const names[] = {"dict-00000003", "dict-00000005", "dict-00000009",
					    "dict-ffffffff"};

	memset(files, 0, sizeof(files));
	for (unsigned i = 0; i < 4; i++)
		files[(i * (1 + order % 3) + order) % 5].name = names[order / 8 ? 3 - i : i];
	files[5].name = "dict-0000000g";
	list_err = 0;
}

static unsigned place_of(const char *name)
{
	for (unsigned i = 0; i < FILES; i++)
		if (files[i].name && strcmp(files[i].name, name) == 0)
			return i;
	return FILES;
}

/* Proves: in whatever order files are listed, the table has them by their numbers, each is found,
 * new values get the last one that can be read, and the highest number is known. */
static void files_are_taken_by_their_numbers(void **state)
{
	static const uint32_t numbers[] = {3, 5, 9, UINT32_MAX};

	(void)state;
	for (unsigned order = 0; order < 16; order++) {
		struct pfs_store *store = bare_store();
		struct pfs_dict *newest = NULL;
		unsigned there = 0;

		list_files(order);
		if (order % 2 && place_of("dict-ffffffff") < FILES)
			files[place_of("dict-ffffffff")].err = -EUCLEAN;
		store->super.dict_highest = 7;
		assert_int_equal(pfs_dicts_open(store), 0);
		assert_true(store->dict_users_known);
		for (unsigned i = 0; i < 4; i++) {
			char name[32];
			struct pfs_dict *dict = pfs_dict_find(store, numbers[i]);

			snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, numbers[i]);
			assert_int_equal(dict != NULL, place_of(name) < FILES);
			if (!dict)
				continue;
			assert_ptr_equal(store->dicts->at[there], dict);
			assert_int_equal(dict->number, numbers[i]);
			there++;
			assert_int_equal(dict->codec != NULL, !files[place_of(name)].err);
			if (dict->codec) {
				newest = dict;
				assert_int_equal(dict->raw, 10 * (uint64_t)numbers[i]);
				assert_int_equal(dict->packed, numbers[i]);
			}
			assert_true(store->super.dict_highest >= numbers[i]);
		}
		assert_ptr_equal(store->dict, newest);
		assert_int_equal(store->dicts->count, there);
		assert_true(there >= 3);
		assert_null(pfs_dict_find(store, 4));
		assert_null(pfs_dict_find(store, 0));
		assert_int_equal(lines, order % 2 && place_of("dict-ffffffff") < FILES);
		bare_free(store);
	}
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: of a dictionary that can't be read it is said why, and that values need it; the store
 * opens without. Without the names, or memory, it does not open. */
static void what_can_not_be_read_is_told(void **state)
{
	static const struct {
		int err;
		const char *why;
	} cases[] = {{-EUCLEAN, "(Structure needs cleaning)"},
		     {-EIO, "(Input/output error)"},
		     {-ENOENT, "(No such file or directory)"}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_store *store = bare_store();

		list_files(0);
		files[place_of("dict-00000005")].err = cases[i].err;
		assert_int_equal(pfs_dicts_open(store), 0);
		assert_int_equal(lines, 1);
		assert_non_null(strstr(said[0], "dict-00000005"));
		assert_non_null(strstr(said[0], "no copy of the dictionary is good "));
		assert_non_null(strstr(said[0], cases[i].why));
		assert_non_null(strstr(said[0], ": values that need it can't be read"));
		bare_free(store);
	}
	for (unsigned way = 0; way < 2; way++) {
		struct pfs_store *store = bare_store();

		list_files(0);
		list_err = way ? -EIO : 0;
		files[place_of("dict-00000005")].err = way ? 0 : -ENOMEM;
		assert_int_equal(pfs_dicts_open(store), way ? -EIO : -ENOMEM);
		assert_int_equal(lines, 0);
		bare_free(store);
	}
}

/* Proves: whichever allocation is refused, an opening says so, and nothing stays. */
static void an_opening_needs_memory(void **state)
{
	int err = -ENOMEM;
	unsigned refused = 0;

	(void)state;
	for (unsigned n = 0; err; n++) {
		struct pfs_store *store = bare_store();

		list_files(0);
		fenced_refuse(n);
		err = pfs_dicts_open(store);
		fenced_refuses = false;
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(lines, 0);
		refused += err != 0;
		bare_free(store);
		assert_int_equal(fenced_blocks, 0);
	}
	assert_int_equal(refused, 2 + 4 * 2);
}

/* Proves: a table with one more, or without one, has all the others in their order, and is made of
 * none, too; without memory there is none, and what was there stays. */
static void tables_are_made_of_others(void **state)
{
	struct pfs_dict dicts[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
	struct pfs_store *store = bare_store();
	struct pfs_dicts *old;

	(void)state;
	for (unsigned count = 0; count < 4; count++) {
		old = malloc(sizeof(*old) + count * sizeof(old->at[0]));
		old->count = count;
		for (unsigned i = 0; i < count; i++)
			old->at[i] = &dicts[i];
		for (unsigned removed = 0; removed <= count; removed++) {
			struct pfs_dict *without = removed < count ? &dicts[removed] : NULL;
			struct pfs_dicts *table;
			unsigned n = 0;

			table = table_changed(count ? old : NULL, &dicts[3], without);
			for (unsigned i = 0; i < count; i++)
				if (i != removed)
					assert_ptr_equal(table->at[n++], &dicts[i]);
			assert_ptr_equal(table->at[n++], &dicts[3]);
			assert_int_equal(table->count, n);
			free(table);
			table = table_changed(old, NULL, without);
			assert_int_equal(table->count, count - (removed < count));
			free(table);
			fenced_refuse(0);
			assert_null(table_changed(old, NULL, without));
		}
		store->dicts = old;
		store->dict = NULL;
		fenced_refuse(0);
		assert_int_equal(publish(store, &dicts[3]), -ENOMEM);
		assert_ptr_equal(store->dicts, old);
		assert_null(store->dict);
		assert_int_equal(publish(store, &dicts[3]), 0);
		assert_int_equal(store->dicts->count, count + 1);
		assert_ptr_equal(store->dicts->at[count], &dicts[3]);
		assert_ptr_equal(store->dict, &dicts[3]);
		assert_int_equal(dicts[3].first_seq, 77);
		free(store->dicts);
		store->dicts = NULL;
	}
	bare_free(store);
	assert_int_equal(fenced_blocks, 0);
}

/* ---- one by one ---- */

/* Proves: no more numbers are taken than there is room for, each that is a dictionary's, and it is
 * known that there are more. */
static void so_many_are_taken(void **state)
{
	struct numbers *numbers = calloc(1, sizeof(*numbers));
	char name[32];

	(void)state;
	for (uint32_t i = 1; i <= DICTS_LOAD_MAX + 2; i++) {
		assert_int_equal(found_name(numbers, "superblock"), 0);
		snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, i);
		assert_int_equal(found_name(numbers, name), 0);
		assert_int_equal(numbers->count, i < DICTS_LOAD_MAX ? i : DICTS_LOAD_MAX);
		assert_int_equal(numbers->more, i > DICTS_LOAD_MAX);
		if (i <= DICTS_LOAD_MAX)
			assert_int_equal(numbers->at[i - 1], i);
	}
	free(numbers);
}

/* Proves: of a dictionary that has lost a copy both are written again, which is said, also when it
 * can't be done; one that is whole is left. */
static void lost_copies_are_written_again(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_store *store = bare_store();

		list_files(0);
		for (unsigned i = 0; i < FILES; i++)
			if (i != place_of("dict-00000005"))
				files[i].name = NULL;
		bad_parts = way > 0;
		disk.file_err = way == 2 ? -ENOSPC : 0;
		store->opened_read_only = way == 3;
		assert_int_equal(pfs_dicts_open(store), 0);
		bad_parts = 0;
		assert_int_equal(disk.files, way == 1 || way == 2);
		assert_int_equal(lines, way > 0);
		if (disk.files) {
			assert_int_equal(disk.last.number, 5);
			assert_int_equal(disk.last.len, 5);
		}
		if (way)
			assert_string_equal(
				said[0],
				way == 1   ? "dict-00000005: a copy of the dictionary "
					     "was damaged; both were written again"
				: way == 2 ? "dict-00000005: a copy of the dictionary was damaged; "
					     "writing both again failed: No space left on "
					     "device"
					   : "dict-00000005: a copy of the dictionary was damaged; "
					     "writing both again failed: Read-only file system");
		bare_free(store);
	}
}

/* Proves: what values need is found, and nothing for none; of what is missing or damaged that is
 * said, and is an error. */
static void what_values_need_is_found(void **state)
{
	const struct pfs_codec_dict *codec = (const struct pfs_codec_dict *)&codec;
	struct pfs_store *store = bare_store();

	(void)state;
	assert_null(pfs_dict_find(store, 1)); /* before there is a table */
	list_files(0);
	files[place_of("dict-00000009")].err = -EUCLEAN;
	assert_int_equal(pfs_dicts_open(store), 0);
	lines = 0;
	assert_int_equal(pfs_dict_codec(store, 0, &codec), 0);
	assert_null(codec);
	assert_int_equal(pfs_dict_codec(store, 5, &codec), 0);
	assert_ptr_equal(codec, pfs_dict_find(store, 5)->codec);
	assert_int_equal(lines, 0);
	assert_int_equal(pfs_dict_codec(store, 9, &codec), -EIO);
	assert_null(codec);
	assert_non_null(strstr(said[0], "dict-00000009"));
	assert_non_null(strstr(said[0], "the dictionary is damaged: a value that needs it"));
	assert_int_equal(pfs_dict_codec(store, 77, &codec), -EIO);
	assert_null(codec);
	assert_int_equal(lines, 2);
	assert_non_null(strstr(said[1], "dict-0000004d"));
	assert_non_null(strstr(said[1], "the dictionary is missing: a value that needs it"));
	bare_free(store);
}

/* Proves: users are counted, each dictionary's by itself, with the last change that had to do with
 * it; of those that are not known any more none is counted below zero. */
static void users_are_counted(void **state)
{
	struct pfs_store *store = bare_store();
	struct pfs_dict *three, *five;

	(void)state;
	list_files(0);
	assert_int_equal(pfs_dicts_open(store), 0);
	three = pfs_dict_find(store, 3);
	five = pfs_dict_find(store, 5);
	assert_int_equal(pfs_dict_users(store), 0);
	pfs_dict_count(store, 0, 99, true);
	pfs_dict_count(store, 4, 99, true);
	for (unsigned i = 1; i <= 3; i++) {
		pfs_dict_count(store, 3, 10 * i, true);
		assert_int_equal(three->users, i);
		assert_int_equal(three->last_seq, 10 * i);
	}
	pfs_dict_count(store, 5, 7, true);
	pfs_dict_count(store, 3, 5, false);
	assert_int_equal(three->users, 2);
	assert_int_equal(three->last_seq, 30);
	assert_int_equal(five->users, 1);
	assert_int_equal(five->last_seq, 7);
	assert_int_equal(pfs_dict_users(store), 3);
	assert_true(store->dict_users_known);
	store->dict_users_known = false;
	pfs_dict_count(store, 5, 8, false);
	pfs_dict_count(store, 5, 9, false);
	assert_int_equal(five->users, 0);
	assert_int_equal(five->last_seq, 9);
	assert_int_equal(lines, 0);
	bare_free(store);
}

/* Proves: a dictionary has the next number, which is in the superblock before it is written; with
 * it, and when it was made, it is written and then that of new values, once readers of the table
 * before were waited for. At an error on the way there is none, and a store that does not know what
 * is on disk takes nothing any more. */
static void one_is_added(void **state)
{
	static const struct {
		int super_err, file_err, err;
		bool unsynced, failed, fails;
		uint32_t highest;
	} cases[] = {
		{0, 0, 0, false, false, false, 20},
		{-ENOSPC, 0, -ENOSPC, false, false, false, 20},
		{-EIO, 0, -EIO, false, false, true, 20},
		{0, -ENOSPC, -ENOSPC, false, false, false, 20},
		{0, -EIO, -EIO, true, false, true, 20},
		{0, 0, -EROFS, false, true, true, 20},
		{0, 0, -EOVERFLOW, false, false, false, UINT32_MAX},
	};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_store *store = bare_store();
		const int64_t begun = pfs_now_realtime();
		const bool made = !cases[i].err;
		unsigned blocks;

		(void)state;
		list_files(0);
		files[place_of("dict-ffffffff") % FILES].name = NULL;
		store->super.dict_highest = cases[i].highest;
		assert_int_equal(pfs_dicts_open(store), 0);
		store->super.dict_highest = cases[i].highest;
		blocks = fenced_blocks;
		store->failed = cases[i].failed;
		disk.super_err = cases[i].super_err;
		disk.file_err = cases[i].file_err;
		disk.unsynced = cases[i].unsynced;
		lines = 0;
		if (cases[i].err && cases[i].fails)
			assert_true(pfs_dict_add(store, "some bytes", 10, 500, 100) < 0);
		else
			assert_int_equal(pfs_dict_add(store, "some bytes", 10, 500, 100),
					 cases[i].err);
		assert_int_equal(!pfs_store_is_writable(store), cases[i].fails);
		assert_int_equal(store->dict->number, made ? 21 : 9);
		if (made) {
			assert_int_equal(disk.supers, 1);
			assert_int_equal(disk.highest, 21);
			assert_int_equal(disk.last.number, 21);
			assert_int_equal(disk.last.len, 10);
			assert_int_equal(disk.last.raw, 500);
			assert_int_equal(disk.last.packed, 100);
			assert_in_range(disk.last.created_ns, begun, pfs_now_realtime());
			assert_int_equal(store->dict->raw, 500);
			assert_int_equal(store->dict->packed, 100);
			assert_int_equal(store->dict->first_seq, 77);
			/* Both tables were there. */
			assert_int_equal(disk.waits, 1);
			assert_int_equal(disk.blocks, blocks + 2);
			assert_int_equal(fenced_blocks, blocks + 1);
		} else {
			assert_int_equal(disk.waits, 0);
			assert_int_equal(fenced_blocks, blocks);
		}
		bare_free(store);
	}
	assert_int_equal(fenced_blocks, 0);
}

/* Proves DC3: one is dropped that is not that of new values, which nobody uses, holds or may still
 * need, when users are known and nobody looks back; no other. Readers of the table before are
 * waited for; its file goes. */
static void who_is_dropped(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 10; way++) {
		struct pfs_store *store = bare_store();
		struct pfs_dict *dict;
		const bool goes = way == 0 || way == 9;
		unsigned blocks;

		list_files(0);
		assert_int_equal(pfs_dicts_open(store), 0);
		for (size_t i = 0; i < store->dicts->count; i++)
			store->dicts->at[i]->users = 1;
		dict = store->dicts->at[way == 9 ? 0 : 1];
		dict->users = way == 1;
		dict->packing = way == 2;
		dict->last_seq = way == 3 ? 50 : way == 4 ? 51 : 49;
		store->dict_users_known = way != 5;
		store->repairing = way == 6;
		store->snapshots.count = way == 7;
		if (way == 8)
			store->dict = dict;
		unlinked[0] = '\0';
		blocks = fenced_blocks;
		is_dropping = true;
		lines = 0;
		pfs_dicts_drop(store);
		is_dropping = false;
		assert_int_equal(disk.waits, goes);
		assert_int_equal(lines, goes);
		if (goes) {
			char text[64];
			const char *name = way ? "dict-00000003" : "dict-00000005";

			assert_string_equal(unlinked, name);
			snprintf(text, sizeof(text), "%s is not needed any more: removed", name);
			assert_string_equal(said[0], text);
			assert_null(pfs_dict_find(store, way ? 3 : 5));
			assert_int_equal(disk.blocks, blocks + 1);
			assert_int_equal(fenced_blocks, blocks - 1);
		} else {
			assert_string_equal(unlinked, "");
			assert_int_equal(fenced_blocks, blocks);
		}
		bare_free(store);
	}
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_taken_by_their_numbers),
		cmocka_unit_test(what_can_not_be_read_is_told),
		cmocka_unit_test(an_opening_needs_memory),
		cmocka_unit_test(tables_are_made_of_others),
		cmocka_unit_test(so_many_are_taken),
		cmocka_unit_test(lost_copies_are_written_again),
		cmocka_unit_test(what_values_need_is_found),
		cmocka_unit_test(users_are_counted),
		cmocka_unit_test(one_is_added),
		cmocka_unit_test(who_is_dropped),
	};

	return cmocka_run_group_tests_name("the table of dictionaries", tests, NULL, NULL);
}
