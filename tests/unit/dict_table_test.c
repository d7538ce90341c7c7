/* storage/store_dict.c: the table of dictionaries by itself: what an opening takes of the files
 * that there are, in whatever order they are listed, what it says of those that can't be read, and
 * what is left where memory lacks. Files are the test's own; unit/store_dict_test has real ones. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/dict.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"

static int some_file(uint32_t number, struct pfs_dict_file *out);

#include "tests/unit/fenced.h"

#define pfs_dict_read(dir, uuid, number, out) some_file(number, out)
#define pfs_journal_next(journal) 77
#include "storage/store_dict.c"
#undef pfs_dict_read
#undef pfs_journal_next

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

static int some_file(uint32_t number, struct pfs_dict_file *out)
{
	*out = (struct pfs_dict_file){
		.number = number, .raw = 10 * (uint64_t)number, .packed = number};
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];

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
		return 0;
	}
	return -ENOENT;
}

/* ---- a store that has nothing else ---- */

static char said[10][PFS_LOG_LINE_MAX];
static unsigned lines;

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	assert_true(lines < 10);
	snprintf(said[lines++], PFS_LOG_LINE_MAX, "%s", line);
}

static struct pfs_store *bare_store(void)
{
	static const struct pfs_io_ops ops = {.list = some_list};
	static struct pfs_dir dir = {.ops = &ops};
	struct pfs_store *store = calloc(1, sizeof(*store));

	store->logger = (struct pfs_logger){.fn = keep_line};
	store->dir = &dir;
	pthread_mutex_init(&store->commit, NULL);
	lines = 0;
	return store;
}

static void bare_free(struct pfs_store *store)
{
	pfs_dicts_close(store);
	pthread_mutex_destroy(&store->commit);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_taken_by_their_numbers),
		cmocka_unit_test(what_can_not_be_read_is_told),
		cmocka_unit_test(an_opening_needs_memory),
		cmocka_unit_test(tables_are_made_of_others),
	};

	return cmocka_run_group_tests_name("the table of dictionaries", tests, NULL, NULL);
}
